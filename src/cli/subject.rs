//! What a command is about that takes an operation and a job, or aggregate.

use super::context::Context;
use super::error::{CliError, Exit};
use super::loaded::Loaded;
use super::operations::operation_named;
use super::selection::SelectionArgs;
use crate::catalog::{Facts, FactsError};
use crate::config::PROJECT_FILE;
use crate::statepoint::JobId;
use crate::workflow::{Evaluation, Flow, UnitIdx, Units};
use crate::workspace::Workspace;

/// An operation, and a job or aggregate.
pub(super) struct Subject {
    pub(super) workspace: Workspace,
    pub(super) flow: Flow,
    /// The place of the operation.
    pub(super) operation: usize,
    target: Target,
}

enum Target {
    Job(JobId),
    /// The beginning of the id of an aggregate.
    Aggregate(String),
}

/// Why nothing is found.
enum Nothing {
    /// The job is damaged, or has just been removed.
    NoJob(JobId),
    NotConcerned(JobId),
    NoAggregate(String),
    Ambiguous(String),
}

impl Subject {
    pub(super) fn new(
        context: &Context<'_>,
        operation: &str,
        target: &str,
    ) -> Result<Self, CliError> {
        let project = Loaded::new(context)?;
        let clusters = project.clusters(context)?;
        let Loaded {
            workspace, flow, ..
        } = project;
        let operation = operation_named(flow.config(), operation)?;
        let target = match target.starts_with("agg-") {
            true => Target::Aggregate(target.to_owned()),
            false => {
                let named = [target.to_owned()];
                let (ids, _) = context.job_list(&workspace, &SelectionArgs::default(), &named)?;
                let none = || CliError::usage("no job is named");
                Target::Job(*ids.first().ok_or_else(none)?)
            }
        };
        context.follow(&workspace, &clusters);
        Ok(Self {
            flow,
            workspace,
            operation,
            target,
        })
    }

    /// Returns the name of the operation.
    pub(super) fn name(&self) -> &str {
        &self.flow.config().operations[self.operation].name
    }

    /// Asks about the aggregate. What is wrong with it is named.
    pub(super) fn ask<T>(
        &self,
        context: &Context<'_>,
        question: impl Fn(&Evaluation<'_>, UnitIdx) -> Result<T, FactsError>,
    ) -> Result<(T, Exit), CliError> {
        let mut reader = context.reader(&self.workspace)?;
        let asked = reader.ask(&context.term.progress(), |facts| {
            let evaluation = self.flow.evaluation(facts)?;
            let units = evaluation.units(self.operation)?;
            Ok(match self.target.find(units, facts)? {
                Ok(unit) => {
                    let answer = question(&evaluation, unit)?;
                    let ids = units.ids(unit, facts)?;
                    Ok((answer, ids, evaluation.problems()))
                }
                Err(nothing) => Err(nothing),
            })
        })?;
        let (answer, ids, mut problems) = asked.map_err(|nothing| self.error(nothing))?;
        // Documents that cannot be read; other jobs do not matter.
        problems.extend(reader.problems().into_iter().filter(|problem| {
            let mut ids = ids.iter();
            ids.any(|id| problem.subject == id.to_string())
        }));
        problems.sort();
        problems.dedup();
        Ok((answer, context.report_problems(&problems)))
    }

    fn error(&self, nothing: Nothing) -> CliError {
        let name = self.name();
        match nothing {
            Nothing::NoJob(id) => CliError::failed(format!("the job `{id}` is damaged"))
                .with_hint("`sweepfs check` tells what is wrong"),
            Nothing::NotConcerned(id) => {
                CliError::failed(format!("`{name}` does not concern the job `{id}`")).with_hint(
                    format!("its `where` in `{PROJECT_FILE}` leaves the job out"),
                )
            }
            Nothing::NoAggregate(prefix) => {
                CliError::failed(format!("no aggregate of `{name}` has the id `{prefix}`"))
                    .with_hint(format!("`sweepfs status -d -o {name}` lists them"))
            }
            Nothing::Ambiguous(prefix) => CliError::failed(format!(
                "`{prefix}` is the beginning of the ids of several aggregates"
            ))
            .with_hint("give more digits"),
        }
    }
}

impl Target {
    fn find(
        &self,
        units: &Units,
        facts: &Facts<'_>,
    ) -> Result<Result<UnitIdx, Nothing>, FactsError> {
        match self {
            Self::Job(id) => {
                let Some(job) = facts.find(id)? else {
                    return Ok(Err(Nothing::NoJob(*id)));
                };
                let with_job = units.with_any(&[job].into_iter().collect());
                Ok(with_job.min().ok_or(Nothing::NotConcerned(*id)))
            }
            Self::Aggregate(prefix) => {
                let aggregates = match units {
                    Units::Jobs(_) => &[][..],
                    Units::Aggregates(aggregates) => &aggregates[..],
                };
                let numbered = (0..).zip(aggregates);
                let mut found = numbered.filter(|(_, a)| a.id.starts_with(prefix.as_str()));
                Ok(match (found.next(), found.next()) {
                    (Some((unit, _)), None) => Ok(unit),
                    (None, _) => Err(Nothing::NoAggregate(prefix.clone())),
                    (Some(_), Some(_)) => Err(Nothing::Ambiguous(prefix.clone())),
                })
            }
        }
    }
}
