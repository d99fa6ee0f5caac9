//! What commands ask of clusters.

use super::context::Context;
use super::error::CliError;
use super::operations::OperationArgs;
use super::selection::{Selection, SelectionArgs};
use crate::config::WorkflowConfig;
use crate::workflow::{Bundle, Clusters, Followed, follow};
use crate::workspace::Workspace;
use std::collections::HashSet;
use std::time::Duration;

/// A scheduler is asked at most that often.
const PAUSE: Duration = Duration::from_secs(10);

/// Set to another number of seconds by those who have a cluster for themselves.
const PAUSE_VARIABLE: &str = "SWEEPFS_POLL_SECONDS";

impl Context<'_> {
    /// Returns how often a scheduler may be asked.
    #[expect(clippy::unused_self, reason = "it is a setting")]
    pub(super) fn pause(&self) -> Duration {
        let set = std::env::var(PAUSE_VARIABLE).ok();
        let pause_s = set.and_then(|seconds| seconds.parse().ok());
        pause_s.map_or(PAUSE, Duration::from_secs)
    }

    /// Records what has become of batch jobs; says what cannot be found out.
    pub(super) fn follow(&self, workspace: &Workspace, clusters: &Clusters) -> Followed {
        let followed = follow(workspace, clusters, self.pause());
        for trouble in &followed.troubles {
            self.term.warn(trouble);
        }
        followed
    }
}

/// Which batch jobs a command is about, by what they execute.
#[derive(Debug)]
pub(super) struct Chosen {
    /// `None` is all, also those that are defined no more.
    operations: Option<HashSet<String>>,
    /// `None` is all jobs.
    jobs: Option<HashSet<String>>,
}

impl Chosen {
    pub(super) fn new(
        context: &Context<'_>,
        workspace: &Workspace,
        config: &WorkflowConfig,
        (operations, selection): (&OperationArgs, &SelectionArgs),
    ) -> Result<Self, CliError> {
        let operations = match operations.operations.is_empty() {
            true => None,
            false => {
                let places = operations.places(config)?.into_iter();
                Some(
                    places
                        .map(|place| config.operations[place].name.clone())
                        .collect(),
                )
            }
        };
        let jobs = match selection.is_empty() {
            true => None,
            false => {
                let selection = Selection::new(context, selection, &[], &[])?;
                let found = context.ask(workspace, &selection, |facts, jobs| facts.ids(jobs))?;
                Some(found.answer.iter().map(ToString::to_string).collect())
            }
        };
        Ok(Self { operations, jobs })
    }

    /// Tells whether an execution of a submission is meant: all its jobs must be.
    pub(super) fn has(&self, bundle: &Bundle, execution: u32) -> bool {
        let execution = bundle.executions.get(execution as usize);
        let are_meant = |jobs: &HashSet<String>| {
            execution.is_some_and(|execution| execution.jobs.iter().all(|job| jobs.contains(job)))
        };
        let has_operation = |names: &HashSet<String>| names.contains(&bundle.operation);
        self.operations.as_ref().is_none_or(has_operation)
            && self.jobs.as_ref().is_none_or(are_meant)
    }
}
