//! How far each operation is, for many jobs at once.

use super::commands::Commands;
use super::files::Question;
use super::folders::{Folders, Look};
use super::ledger;
use super::record::{INTERRUPTIONS_MAX, Stage};
use super::state::FlowState;
use super::summary::{Says, Summaries, Summary, summaries};
use super::units::{UnitIdx, Units};
use crate::catalog::{Facts, FactsError, JobIdx};
use crate::config::{OperationConfig, WorkflowConfig};
use crate::exec::Machine;
use crate::filter::{Condition, Expr, Filter, Probe, Space};
use crate::report::Problem;
use crate::workspace::Workspace;
use roaring::RoaringBitmap;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};

type Result<T> = std::result::Result<T, FactsError>;

/// For which jobs something holds, and for which that cannot be known; for the others it does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Truth {
    pub(super) yes: RoaringBitmap,
    pub(super) unknown: RoaringBitmap,
}

/// How far an operation is with some of its aggregates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperationStates {
    /// The aggregates in each state; none is in two. Only states that some aggregate is in.
    pub states: BTreeMap<FlowState, RoaringBitmap>,
    /// The last execution of each aggregate that had one.
    pub records: HashMap<UnitIdx, Summary>,
}

impl OperationStates {
    fn put(&mut self, state: FlowState, units: RoaringBitmap) {
        if !units.is_empty() {
            *self.states.entry(state).or_default() |= units;
        }
    }

    /// Returns the aggregates in a state.
    pub fn of(&self, state: FlowState) -> RoaringBitmap {
        self.states.get(&state).cloned().unwrap_or_default()
    }

    /// Returns the state of an aggregate, if it was asked for.
    pub fn state(&self, unit: UnitIdx) -> Option<FlowState> {
        let mut states = self.states.iter();
        states
            .find(|(_, units)| units.contains(unit))
            .map(|(state, _)| *state)
    }

    fn extend(&mut self, other: Self) {
        for (state, units) in other.states {
            self.put(state, units);
        }
        self.records.extend(other.records);
    }
}

/// What is known of an operation so far.
#[derive(Debug, Default)]
struct Known {
    units: RoaringBitmap,
    states: OperationStates,
}

/// Finds out how far operations are, reading no more than that needs. It is good for one moment:
/// what it has found out is not asked again.
#[derive(Debug)]
pub struct Evaluation<'a> {
    workspace: &'a Workspace,
    config: &'a WorkflowConfig,
    facts: &'a Facts<'a>,
    look: RefCell<Look<'a>>,
    commands: &'a Commands,
    machine: Machine,
    /// What is recorded of aggregates of several jobs, by their ids.
    aggregates: HashMap<String, std::result::Result<AggregateSays, Problem>>,
    units: Vec<OnceCell<Units>>,
    known: RefCell<Vec<Known>>,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(
        (workspace, config): (&'a Workspace, &'a WorkflowConfig),
        facts: &'a Facts<'a>,
        folders: &'a Folders,
        commands: &'a Commands,
    ) -> Result<Self> {
        let n_operations = config.operations.len();
        let machine = Machine::this();
        Ok(Self {
            aggregates: aggregates(workspace, config, &machine)?,
            workspace,
            config,
            facts,
            look: RefCell::new(Look::new(folders, facts)?),
            commands,
            machine,
            units: (0..n_operations).map(|_| OnceCell::new()).collect(),
            known: RefCell::new((0..n_operations).map(|_| Known::default()).collect()),
            problems: RefCell::default(),
        })
    }

    pub(super) fn workspace(&self) -> &'a Workspace {
        self.workspace
    }

    pub(super) fn config(&self) -> &'a WorkflowConfig {
        self.config
    }

    /// Returns what is known of the jobs.
    pub fn facts(&self) -> &'a Facts<'a> {
        self.facts
    }

    /// Returns the aggregates of an operation, by its place.
    pub fn units(&self, operation: usize) -> Result<&Units> {
        if let Some(units) = self.units[operation].get() {
            return Ok(units);
        }
        let units = Units::of(&self.config.operations[operation], self.facts)?;
        Ok(self.units[operation].get_or_init(|| units))
    }

    /// Returns how far an operation is with some of its aggregates.
    pub fn states(&self, operation: usize, units: &RoaringBitmap) -> Result<OperationStates> {
        self.find_out(operation, units)?;
        let known = self.known.borrow();
        let states = &known[operation].states;
        let chosen = states
            .states
            .iter()
            .map(|(state, all)| (*state, all & units));
        let records = states
            .records
            .iter()
            .filter(|(unit, _)| units.contains(**unit));
        Ok(OperationStates {
            states: chosen.filter(|(_, some)| !some.is_empty()).collect(),
            records: records
                .map(|(unit, record)| (*unit, record.clone()))
                .collect(),
        })
    }

    /// Returns why states are unknown, so far.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.borrow().clone();
        problems.sort();
        problems.dedup();
        problems
    }

    /// Returns those of some aggregates that failed which could be executed again.
    pub(super) fn ready_again(
        &self,
        operation: usize,
        failed: &RoaringBitmap,
    ) -> Result<RoaringBitmap> {
        let pre = &self.config.operations[operation].pre;
        Ok(self.all_hold(operation, pre, failed)?.yes)
    }

    /// Tells whether a condition holds for all of some jobs.
    pub(super) fn holds(&self, condition: &Condition, jobs: &RoaringBitmap) -> Result<bool> {
        Ok(self.truth(condition.expr(), jobs)?.yes == *jobs)
    }

    fn find_out(&self, operation: usize, units: &RoaringBitmap) -> Result<()> {
        let missing = units - &self.known.borrow()[operation].units;
        if missing.is_empty() {
            return Ok(());
        }
        let found = self.compute(operation, &missing)?;
        let mut known = self.known.borrow_mut();
        known[operation].units |= missing;
        known[operation].states.extend(found);
        Ok(())
    }

    fn compute(&self, operation: usize, units: &RoaringBitmap) -> Result<OperationStates> {
        let config = &self.config.operations[operation];
        // What was executed is read before its results are looked for: an execution that ends
        // meanwhile is then seen as one that has changed since, and not as one that failed.
        let recorded = self.recorded(operation, units)?;
        let mut found = OperationStates::default();
        let mut rest = units - &recorded.unknown - &recorded.running - &recorded.queued;
        found.put(FlowState::Unknown, recorded.unknown);
        found.put(FlowState::Running, recorded.running);
        found.put(FlowState::Queued, recorded.queued);
        let is_divided = matches!(self.units(operation)?, Units::Aggregates(_));
        if is_divided && !self.unclear(operation).is_empty() {
            // A job may be missing in any of them.
            found.put(FlowState::Unknown, rest);
            found.records = recorded.summaries;
            return Ok(found);
        }
        let completed = match config.post.is_empty() {
            true => Truth {
                yes: &recorded.completed & &rest,
                unknown: RoaringBitmap::new(),
            },
            false => self.all_hold(operation, &config.post, &rest)?,
        };
        rest -= &completed.yes;
        rest -= &completed.unknown;
        found.put(FlowState::Completed, completed.yes);
        found.put(FlowState::Unknown, completed.unknown);
        found.put(FlowState::Failed, &recorded.failed & &rest);
        rest -= recorded.failed;
        let ready = self.all_hold(operation, &config.pre, &rest)?;
        found.put(FlowState::Waiting, &rest - &ready.yes - &ready.unknown);
        found.put(FlowState::Eligible, ready.yes);
        found.put(FlowState::Unknown, ready.unknown);
        found.records = recorded.summaries;
        Ok(found)
    }

    /// Finds the aggregates for all of whose jobs all conditions hold.
    pub(super) fn all_hold(
        &self,
        operation: usize,
        conditions: &[Condition],
        units: &RoaringBitmap,
    ) -> Result<Truth> {
        let all = self.units(operation)?;
        let jobs = all.jobs_in(units);
        let exprs: Vec<_> = conditions.iter().map(Condition::expr).collect();
        let truth = self.and(&exprs, &jobs)?;
        let Units::Aggregates(_) = all else {
            return Ok(truth);
        };
        let yes = all.with_all(&truth.yes) & units;
        let maybe = all.with_all(&(truth.yes | truth.unknown)) & units;
        Ok(Truth {
            unknown: maybe - &yes,
            yes,
        })
    }

    pub(super) fn truth(&self, expr: &Expr<Probe>, jobs: &RoaringBitmap) -> Result<Truth> {
        if jobs.is_empty() {
            return Ok(Truth::default());
        }
        // What is unknown of a document may not matter, so each part is asked by itself.
        if let Some(filter) = expr.to_filter()
            && (!filter.needs_documents() || matches!(filter, Expr::Test(..)))
        {
            return self.filter(&Filter::from(filter), jobs);
        }
        match expr {
            Expr::And(parts) => self.and(&parts.iter().collect::<Vec<_>>(), jobs),
            Expr::Or(parts) => self.or(parts, jobs),
            Expr::Not(part) => {
                let truth = self.truth(part, jobs)?;
                Ok(Truth {
                    yes: jobs - truth.yes - &truth.unknown,
                    unknown: truth.unknown,
                })
            }
            Expr::Probe(probe) => self.probe(probe, jobs),
            Expr::Test(..) => Ok(Truth::default()),
        }
    }

    fn filter(&self, filter: &Filter, jobs: &RoaringBitmap) -> Result<Truth> {
        let yes = self.facts.select(filter, jobs)?;
        let unknown = match filter.expr().needs_documents() {
            true => (jobs & self.facts.unreadable_documents()) - &yes,
            false => RoaringBitmap::new(),
        };
        Ok(Truth { yes, unknown })
    }

    /// Asks of each part only where the parts before leave it open, and first what costs least.
    fn and(&self, parts: &[&Expr<Probe>], jobs: &RoaringBitmap) -> Result<Truth> {
        let mut parts = parts.to_vec();
        parts.sort_by_key(|part| cost(part));
        let (mut yes, mut open) = (jobs.clone(), jobs.clone());
        for part in parts {
            let truth = self.truth(part, &open)?;
            yes &= &truth.yes;
            open = truth.yes | truth.unknown;
        }
        Ok(Truth {
            unknown: open - &yes,
            yes,
        })
    }

    fn or(&self, parts: &[Expr<Probe>], jobs: &RoaringBitmap) -> Result<Truth> {
        let mut parts: Vec<_> = parts.iter().collect();
        parts.sort_by_key(|part| cost(part));
        let (mut open, mut unknown) = (jobs.clone(), RoaringBitmap::new());
        for part in parts {
            let truth = self.truth(part, &open)?;
            open -= truth.yes;
            unknown |= truth.unknown;
        }
        unknown &= &open;
        Ok(Truth {
            yes: jobs - open,
            unknown,
        })
    }

    fn probe(&self, probe: &Probe, jobs: &RoaringBitmap) -> Result<Truth> {
        match probe {
            Probe::Never => Ok(Truth::default()),
            Probe::After(name) => self.after(name, jobs),
            Probe::Test { command, batch } => {
                let ids = self.facts.ids(jobs)?;
                let (answers, problems) = self.commands.ask(self.workspace, command, *batch, &ids);
                self.problems.borrow_mut().extend(problems);
                Ok(Truth::of(jobs.iter().zip(answers)))
            }
            Probe::File(_) | Probe::Newer(..) | Probe::Size(..) => self.files(probe, jobs),
        }
    }

    /// Finds the jobs with which another operation is completed, or which it does not concern.
    fn after(&self, name: &str, jobs: &RoaringBitmap) -> Result<Truth> {
        let mut operations = self.config.operations.iter();
        let Some(operation) = operations.position(|operation| operation.name == name) else {
            return Ok(Truth::default());
        };
        let all = self.units(operation)?;
        let units = all.with_any(jobs);
        let states = self.states(operation, &units)?;
        let (completed, unknown) = (
            states.of(FlowState::Completed),
            states.of(FlowState::Unknown),
        );
        let open = &units - &completed;
        let unclear = self.unclear(operation) & jobs;
        Ok(Truth {
            yes: jobs - all.jobs_in(&open) - &unclear,
            unknown: (all.jobs_in(&unknown) & jobs) | unclear,
        })
    }

    /// Returns the jobs which an operation may concern or not: their documents decide about that
    /// and cannot be read.
    fn unclear(&self, operation: usize) -> RoaringBitmap {
        let config = &self.config.operations[operation];
        let aggregate = config.aggregate.as_ref();
        let filters = config
            .filter
            .iter()
            .chain(aggregate.and_then(|a| a.filter.as_ref()));
        let by = aggregate.into_iter().flat_map(|aggregate| &aggregate.by);
        let needs_documents = filters
            .into_iter()
            .any(|filter| filter.expr().needs_documents())
            || by.into_iter().any(|field| field.space == Space::Document);
        match needs_documents {
            true => self.facts.unreadable_documents(),
            false => RoaringBitmap::new(),
        }
    }

    fn files(&self, probe: &Probe, jobs: &RoaringBitmap) -> Result<Truth> {
        let Some(question) = Question::of(probe) else {
            return Ok(Truth::default());
        };
        self.look.borrow_mut().at(jobs)?;
        let ids = self.facts.ids(jobs)?;
        let answers = match question {
            Question::Is(name) => self.look.borrow_mut().has_file(name, jobs),
            question => self.look.borrow().ask(&question, &ids),
        };
        let mut problems = self.problems.borrow_mut();
        let answers = jobs.iter().zip(&ids).zip(answers);
        let known = answers.map(|((job, id), answer)| {
            let answer = answer.map_err(|error| {
                problems.push(Problem {
                    subject: id.to_string(),
                    path: error.path.clone(),
                    reason: format!(
                        "a condition on its files cannot be checked: {}",
                        error.cause
                    ),
                    hint: None,
                });
            });
            (job, answer.ok())
        });
        Ok(Truth::of(known))
    }
}

impl Truth {
    fn of(answers: impl IntoIterator<Item = (JobIdx, Option<bool>)>) -> Self {
        let mut truth = Self::default();
        for (job, answer) in answers {
            match answer {
                Some(true) => drop(truth.yes.insert(job)),
                Some(false) => {}
                None => drop(truth.unknown.insert(job)),
            }
        }
        truth
    }
}

/// Returns in which order parts are asked: filters, files, other operations, commands.
fn cost(expr: &Expr<Probe>) -> u8 {
    match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(cost).max().unwrap_or(0),
        Expr::Not(part) => cost(part),
        Expr::Test(field, _) => u8::from(field.space == Space::Document),
        Expr::Probe(Probe::Never) => 0,
        Expr::Probe(Probe::File(_) | Probe::Newer(..) | Probe::Size(..)) => 2,
        Expr::Probe(Probe::After(_)) => 3,
        Expr::Probe(Probe::Test { .. }) => 4,
    }
}

/// What the last executions say about some aggregates.
#[derive(Default)]
struct Recorded {
    unknown: RoaringBitmap,
    running: RoaringBitmap,
    queued: RoaringBitmap,
    completed: RoaringBitmap,
    failed: RoaringBitmap,
    summaries: HashMap<UnitIdx, Summary>,
}

impl Recorded {
    fn add(&mut self, unit: UnitIdx, summary: &Summary, config: &OperationConfig, runs: bool) {
        let set = match summary.stage {
            Stage::Queued => &mut self.queued,
            Stage::Running if runs => &mut self.running,
            Stage::Completed => &mut self.completed,
            Stage::Failed if summary.failures_beyond(config.timeouts) > config.retries => {
                &mut self.failed
            }
            Stage::Interrupted if summary.interruptions >= INTERRUPTIONS_MAX => &mut self.failed,
            // It was lost.
            Stage::Running if summary.interruptions + 1 >= INTERRUPTIONS_MAX => &mut self.failed,
            _ => return drop(self.summaries.insert(unit, summary.clone())),
        };
        set.insert(unit);
        self.summaries.insert(unit, summary.clone());
    }
}

impl Evaluation<'_> {
    fn recorded(&self, operation: usize, units: &RoaringBitmap) -> Result<Recorded> {
        let mut recorded = Recorded::default();
        match self.units(operation)? {
            Units::Jobs(_) => {
                let of_jobs: Vec<_> = units.iter().map(|job| (job, job)).collect();
                self.add_jobs(&mut recorded, operation, &of_jobs)?;
            }
            Units::Aggregates(aggregates) => {
                let aggregate = |unit: UnitIdx| (unit, &aggregates[unit as usize]);
                let (single, several): (Vec<_>, Vec<_>) = units
                    .iter()
                    .map(aggregate)
                    .partition(|(_, aggregate)| aggregate.jobs.len() == 1);
                let of_jobs = single
                    .iter()
                    .map(|(unit, aggregate)| (*unit, aggregate.jobs[0]));
                self.add_jobs(&mut recorded, operation, &of_jobs.collect::<Vec<_>>())?;
                for (unit, aggregate) in several {
                    self.add_aggregate(&mut recorded, operation, unit, &aggregate.id);
                }
            }
        }
        Ok(recorded)
    }

    /// Returns what of a sidecar is about an operation.
    fn summary<'s>(&self, operation: usize, says: &'s Summaries) -> Option<&'s Summary> {
        let name = &self.config.operations[operation].name;
        let found = says.binary_search_by(|(known, _)| known.cmp(name));
        found.ok().map(|i| &says[i].1)
    }

    /// Adds what is recorded of aggregates of one job, given with their job.
    fn add_jobs(
        &self,
        recorded: &mut Recorded,
        operation: usize,
        units: &[(UnitIdx, JobIdx)],
    ) -> Result<()> {
        let jobs: RoaringBitmap = units.iter().map(|(_, job)| *job).collect();
        self.look.borrow_mut().at(&jobs)?;
        let is_dead = |says: &Says| match says {
            Says::Records(says) => self.summary(operation, says).is_some_and(|summary| {
                summary.stage == Stage::Running && !summary.runs(&self.machine)
            }),
            Says::Nothing(_) => false,
        };
        let seem_dead = self.says(&jobs).filter(|(_, says)| is_dead(says));
        let seem_dead: RoaringBitmap = seem_dead.map(|(job, _)| job).collect();
        // Its end may have been recorded meanwhile.
        self.look.borrow_mut().again(&seem_dead)?;
        let said: HashMap<_, _> = self.says(&jobs).collect();
        for (unit, job) in units {
            match said.get(job) {
                None => {}
                Some(Says::Nothing(problem)) => {
                    recorded.unknown.insert(*unit);
                    self.problems.borrow_mut().push(Problem::clone(problem));
                }
                Some(Says::Records(says)) => {
                    if let Some(summary) = self.summary(operation, says) {
                        let runs = !seem_dead.contains(*job) || summary.runs(&self.machine);
                        recorded.add(*unit, summary, &self.config.operations[operation], runs);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds what was recorded of an aggregate of several jobs when the evaluation began.
    fn add_aggregate(&self, recorded: &mut Recorded, operation: usize, unit: UnitIdx, id: &str) {
        match self.aggregates.get(id) {
            None => {}
            Some(Err(problem)) => {
                recorded.unknown.insert(unit);
                self.problems.borrow_mut().push(problem.clone());
            }
            Some(Ok(known)) => {
                let config = &self.config.operations[operation];
                if let Some(summary) = self.summary(operation, &known.says) {
                    recorded.add(unit, summary, config, !known.dead.contains(&config.name));
                }
            }
        }
    }

    /// Returns what the sidecars of some jobs say.
    pub(super) fn look(&self, jobs: &RoaringBitmap) -> Result<Vec<(JobIdx, Says)>> {
        self.look.borrow_mut().at(jobs)?;
        Ok(self.says(jobs).collect())
    }

    /// Returns what the sidecars of some jobs say that were looked at.
    fn says(&self, jobs: &RoaringBitmap) -> impl Iterator<Item = (JobIdx, Says)> {
        let look = self.look.borrow();
        jobs.iter()
            .filter_map(move |job| Some((job, look.says(job)?)))
    }
}

/// What is recorded of an aggregate of several jobs.
#[derive(Debug)]
struct AggregateSays {
    says: Summaries,
    /// The operations of which an execution is recorded as running that does not.
    dead: BTreeSet<String>,
}

/// Reads what is recorded of all aggregates of several jobs. This comes before any look at files: what
/// an execution has left must not be known from before, and its end from after.
fn aggregates(
    workspace: &Workspace,
    config: &WorkflowConfig,
    machine: &Machine,
) -> Result<HashMap<String, std::result::Result<AggregateSays, Problem>>> {
    if config
        .operations
        .iter()
        .all(|operation| operation.aggregate.is_none())
    {
        return Ok(HashMap::new());
    }
    let read = |id: String| {
        let dead_in = |says: &Summaries| -> BTreeSet<String> {
            let running = says
                .iter()
                .filter(|(_, summary)| summary.stage == Stage::Running);
            let dead = running.filter(|(_, summary)| !summary.runs(machine));
            dead.map(|(name, _)| name.clone()).collect()
        };
        let says = || match ledger::read(workspace, &id) {
            Ok(sidecar) => Ok(sidecar
                .map(|sidecar| summaries(&sidecar))
                .unwrap_or_default()),
            Err((path, error)) => Err(error.problem(&id, path)),
        };
        let known = says().and_then(|first| {
            let dead = dead_in(&first);
            // The end may have been recorded meanwhile.
            let says = if dead.is_empty() { first } else { says()? };
            let still: BTreeSet<_> = dead_in(&says).intersection(&dead).cloned().collect();
            Ok(AggregateSays { says, dead: still })
        });
        (id, known)
    };
    Ok(ledger::aggregate_ids(workspace)?
        .into_iter()
        .map(read)
        .collect())
}
