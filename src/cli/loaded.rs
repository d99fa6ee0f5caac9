//! A project with its settings and its workflow.

use super::context::Context;
use super::error::CliError;
use super::selection::{Selection, SelectionArgs};
use crate::config::{ClusterConfig, PROJECT_FILE, ProjectConfig, SchedulerKind};
use crate::workflow::{Clusters, Flow, Launcher, Planned, Prepared, Units, aggregate_id};
use crate::workspace::Workspace;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What commands about a workflow need.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) workspace: Workspace,
    pub(super) config: ProjectConfig,
    pub(super) flow: Flow,
}

impl Loaded {
    pub(super) fn new(context: &Context<'_>) -> Result<Self, CliError> {
        Self::remembering(context, Duration::ZERO)
    }

    /// What commands in conditions have answered is not asked again within a time.
    pub(super) fn remembering(context: &Context<'_>, memory: Duration) -> Result<Self, CliError> {
        let workspace = context.workspace()?;
        let config = ProjectConfig::read(&config_path(&workspace))?;
        let store = context.store(&workspace);
        Ok(Self {
            flow: Flow::new(&workspace, Some(store), &config, memory),
            workspace,
            config,
        })
    }

    /// Returns the clusters that it can be sent to.
    pub(super) fn clusters(&self, context: &Context<'_>) -> Result<Clusters, CliError> {
        context.clusters(&self.workspace, &self.config)
    }

    /// Returns the path of the settings.
    pub(super) fn config_path(&self) -> PathBuf {
        config_path(&self.workspace)
    }

    /// Reads the templates of all operations, as they are executed here without a scheduler.
    pub(super) fn prepared_here(&self, clusters: &Clusters) -> Result<Vec<Prepared>, CliError> {
        match clusters.get(SchedulerKind::Local.name()) {
            Some(cluster) => self.prepared(&cluster.config),
            None => self.prepared(&ClusterConfig::default()),
        }
    }

    /// Reads the templates of all operations, as a cluster executes them.
    pub(super) fn prepared(&self, cluster: &ClusterConfig) -> Result<Vec<Prepared>, CliError> {
        let launcher = Launcher::of(cluster).map_err(|error| {
            let message = format!("the launcher of the cluster `{}`: {error}", cluster.name);
            CliError::failed(message)
        })?;
        Prepared::all(self.flow.config(), &launcher).map_err(CliError::failed)
    }

    /// Returns executions on the jobs or aggregates that are named, or else on all.
    pub(super) fn named(
        &self,
        context: &Context<'_>,
        operation: usize,
        names: &[String],
        selection: &SelectionArgs,
    ) -> Result<Vec<Planned>, CliError> {
        let planned = |id: String, jobs| Planned {
            operation,
            id,
            jobs,
            before: None,
        };
        let of_aggregates = self.flow.config().operations[operation].aggregate.is_some();
        let is_named = !names.is_empty() || !selection.is_empty();
        if is_named && !of_aggregates {
            let (ids, _) = context.job_list(&self.workspace, selection, names)?;
            return Ok(ids
                .into_iter()
                .map(|id| planned(id.to_string(), vec![id]))
                .collect());
        }
        let selection = Selection::new(context, selection, &[], &[])?;
        let found = context.ask(&self.workspace, &selection, |facts, jobs| {
            let evaluation = self.flow.evaluation(facts)?;
            let units: &Units = evaluation.units(operation)?;
            let chosen = units.with_all(jobs).into_iter();
            let ids = chosen.map(|unit| units.ids(unit, facts));
            ids.collect::<Result<Vec<_>, _>>()
        })?;
        let mut by_id: BTreeMap<_, _> = found
            .answer
            .into_iter()
            .map(|ids| (aggregate_id(&ids), ids))
            .collect();
        if !names.is_empty() && of_aggregates {
            let is_named = |id: &str| names.iter().any(|name| id.starts_with(name.as_str()));
            by_id.retain(|id, _| is_named(id));
            if by_id.is_empty() {
                let names = names.join(" ");
                return Err(CliError::usage(format!("no aggregate is called `{names}`"))
                    .with_hint(format!(
                        "`sweepfs next {}` lists them",
                        self.flow.config().operations[operation].name
                    )));
            }
        }
        Ok(by_id
            .into_iter()
            .map(|(id, ids)| planned(id, ids))
            .collect())
    }
}

fn config_path(workspace: &Workspace) -> PathBuf {
    workspace.project_root().join(PROJECT_FILE)
}
