//! The workflow of a project.

use super::commands::Commands;
use super::evaluate::Evaluation;
use super::folders::Folders;
use super::ledger::{self, Ledger};
use super::marks::{Marks, OperationMarks};
use super::record::Record;
use super::sidecar::SidecarError;
use super::state::FlowState;
use super::summary::{Says, Summary};
use super::units::Units;
use crate::catalog::{Facts, FactsError, Reader, Store};
use crate::config::{ProjectConfig, WorkflowConfig};
use crate::exec::Machine;
use crate::filter::Filter;
use crate::fsx;
use crate::report::{Problem, Silent};
use crate::statepoint::JobId;
use crate::workspace::Workspace;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// What came of forgetting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// It is forgotten.
    Yes,
    /// There was nothing to forget.
    NothingRecorded,
    /// It goes on, so nothing was changed.
    ItRuns,
}

/// Jobs by operation and state.
type States = BTreeMap<String, BTreeMap<FlowState, RoaringBitmap>>;

/// What a project does with its jobs, and what of it is done.
#[derive(Debug)]
pub struct Flow {
    workspace: Workspace,
    config: WorkflowConfig,
    labels: BTreeMap<String, Filter>,
    folders: Folders,
    commands: Commands,
}

impl Flow {
    /// Nothing is read before a question needs it. What commands in conditions answer is remembered
    /// for a time.
    pub fn new(
        workspace: &Workspace,
        store: Option<Store>,
        config: &ProjectConfig,
        memory: Duration,
    ) -> Self {
        Self {
            workspace: workspace.clone(),
            config: config.workflow.clone(),
            labels: config.labels.clone(),
            folders: Folders::new(workspace, store),
            commands: Commands::new(memory),
        }
    }

    /// Returns the operations and groups.
    pub fn config(&self) -> &WorkflowConfig {
        &self.config
    }

    /// Returns where the jobs are.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Begins to find out how far operations are.
    pub fn evaluation<'a>(&'a self, facts: &'a Facts<'a>) -> Result<Evaluation<'a>, FactsError> {
        let project = (&self.workspace, &self.config);
        Evaluation::new(project, facts, &self.folders, &self.commands)
    }

    /// Forgets the last execution of an operation on an aggregate, by its id.
    pub fn forget(&self, operation: &str, id: &str) -> Result<Forgotten, SidecarError> {
        let machine = Machine::this();
        Ledger::open(&self.workspace, id)?.update(|sidecar| {
            let runs_here = |record: &Record| {
                let processes = Summary::of(record).processes;
                processes
                    .iter()
                    .any(|process| machine.runs(process) == Some(true))
            };
            Ok(match sidecar.records.get(operation) {
                None if !sidecar.is_foreign(operation) => Forgotten::NothingRecorded,
                Some(record) if runs_here(record) => Forgotten::ItRuns,
                _ => {
                    sidecar.forget(operation);
                    Forgotten::Yes
                }
            })
        })
    }

    /// Returns the postconditions of an operation that do not hold for all of some jobs now, or of
    /// which that cannot be told.
    pub fn unmet(
        &self,
        store: &Store,
        operation: usize,
        jobs: &[JobId],
    ) -> Result<Vec<String>, FactsError> {
        let now = fsx::time_ns(SystemTime::now());
        let mut reader = Reader::open(&self.workspace, store.clone(), now, &Silent)?;
        reader.ask(&Silent, |facts| {
            let places = facts.positions(jobs)?;
            let found: RoaringBitmap = places.iter().flatten().copied().collect();
            if found.len() < jobs.len() as u64 {
                return Ok(vec!["its job is gone".to_owned()]);
            }
            let evaluation = self.evaluation(facts)?;
            let mut unmet = Vec::new();
            for condition in &self.config.operations[operation].post {
                if !evaluation.holds(condition, &found)? {
                    unmet.push(condition.to_string());
                }
            }
            Ok(unmet)
        })
    }

    /// Returns the last execution of an operation, by its place, on an aggregate.
    ///
    /// # Errors
    ///
    /// Fails if the sidecar cannot be read.
    pub fn record(&self, operation: usize, id: &str) -> Result<Option<Record>, Problem> {
        let sidecar = ledger::read(&self.workspace, id);
        let sidecar = sidecar.map_err(|(path, error)| error.problem(id, path))?;
        let name = &self.config.operations[operation].name;
        Ok(sidecar.and_then(|mut sidecar| sidecar.records.remove(name)))
    }

    /// Returns the labels, sorted, and those of some jobs that have each.
    pub fn labels(
        &self,
        facts: &Facts<'_>,
        jobs: &RoaringBitmap,
    ) -> Result<Vec<(String, RoaringBitmap)>, FactsError> {
        let select = |(name, filter): (&String, &Filter)| {
            let jobs = facts.select(filter, jobs)?;
            Ok((name.clone(), jobs))
        };
        self.labels.iter().map(select).collect()
    }

    /// Returns all that is known of some jobs: labels, and how far operations are, also those that
    /// were executed but are defined no more.
    pub fn marks(&self, facts: &Facts<'_>, jobs: &RoaringBitmap) -> Result<Marks, FactsError> {
        let evaluation = self.evaluation(facts)?;
        let (mut operations, mut problems) = self.recorded(&evaluation, jobs)?;
        for (i, operation) in self.config.operations.iter().enumerate() {
            let units = evaluation.units(i)?;
            let states = evaluation.states(i, &units.with_any(jobs))?;
            let within = |units_in: &RoaringBitmap| match units {
                Units::Jobs(_) => units_in.clone(),
                Units::Aggregates(_) => units.jobs_in(units_in) & jobs,
            };
            let states = states.states.iter();
            let states = states.map(|(state, units)| (*state, within(units)));
            operations.insert(operation.name.clone(), states.collect());
        }
        let marks = operations.into_iter().map(|(name, states)| OperationMarks {
            name,
            states: states.into_iter().collect(),
        });
        Ok(Marks {
            labels: self.labels(facts, jobs)?,
            operations: marks.collect(),
            problems: {
                problems.extend(evaluation.problems());
                problems.sort();
                problems.dedup();
                problems
            },
        })
    }

    /// Returns what is recorded of operations that are not defined, and what cannot be read.
    fn recorded(
        &self,
        evaluation: &Evaluation<'_>,
        jobs: &RoaringBitmap,
    ) -> Result<(States, Vec<Problem>), FactsError> {
        let (mut operations, mut problems) = (States::new(), Vec::new());
        for (job, says) in evaluation.look(jobs)? {
            let records = match &says {
                Says::Records(records) => records,
                Says::Nothing(problem) => {
                    problems.push(Problem::clone(problem));
                    continue;
                }
            };
            for (name, summary) in records.iter() {
                let state = summary.stage.state();
                if let Some(state) = state.filter(|_| self.config.operation(name).is_none()) {
                    let of_operation = operations.entry(name.clone()).or_default();
                    of_operation.entry(state).or_default().insert(job);
                }
            }
        }
        Ok((operations, problems))
    }
}
