//! Executing what is eligible.

mod execution;
mod launcher;
mod prepared;
mod room;
mod scope;
mod watch;

pub use execution::{Ended, Outcome};
pub use launcher::Launcher;
pub use prepared::{PrepareError, Prepared};
pub use room::Room;
pub use scope::ScopeError;
pub(super) use scope::scope;

use super::batch::BatchTask;
use super::evaluate::Evaluation;
use super::flow::Flow;
use super::resources::Resources;
use super::state::FlowState;
use super::summary::Summary;
use super::units::Units;
use crate::catalog::{FactsError, Store};
use crate::exec::Machine;
use crate::statepoint::JobId;
use execution::Execution;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use watch::Watch;

/// How often it is looked whether the user interrupts or a time is over.
const TICK: Duration = Duration::from_millis(50);

/// How executions are done.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What executions use at a time.
    pub room: Room,
    /// At most so many executions are begun.
    pub limit: Option<usize>,
    /// Each is ended after this time.
    pub timeout: Option<Duration>,
    /// Each is ended after its walltime, since no scheduler does that.
    pub by_walltime: bool,
    /// None is begun after one has failed.
    pub fail_fast: bool,
    /// Conditions, and what was executed before, are not asked.
    pub force: bool,
}

/// An execution that can be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The operation, by its place.
    pub operation: usize,
    /// The id of the aggregate.
    pub id: String,
    /// Its jobs, in their order.
    pub jobs: Vec<JobId>,
    /// What was known of the last execution when this one was found to be eligible.
    pub before: Option<Summary>,
}

/// What can be executed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The executions, in their order.
    pub planned: Vec<Planned>,
    /// How many others have failed and are left alone.
    pub n_failed: usize,
}

/// Finds what can be executed of some operations: on aggregates all of whose jobs are among some,
/// in the order of jobs, and for each in that of operations. With `retry` also what has failed.
pub fn eligible(
    evaluation: &Evaluation<'_>,
    operations: &[usize],
    jobs: &RoaringBitmap,
    retry: bool,
) -> Result<Found, FactsError> {
    let mut found = Vec::new();
    let mut n_failed = 0;
    for &operation in operations {
        let units = evaluation.units(operation)?;
        let states = evaluation.states(operation, &units.with_all(jobs))?;
        let (mut chosen, failed) = (states.of(FlowState::Eligible), states.of(FlowState::Failed));
        match retry {
            true => chosen |= evaluation.ready_again(operation, &failed)?,
            false => n_failed += failed.len() as usize,
        }
        let mut put = |id: String, jobs: Vec<JobId>, unit: u32| {
            found.push(Planned {
                operation,
                id,
                jobs,
                before: states.records.get(&unit).cloned(),
            });
        };
        match units {
            Units::Jobs(_) => {
                let ids = evaluation.facts().ids(&chosen)?;
                let of_units = chosen.iter().zip(ids);
                of_units.for_each(|(unit, id)| put(id.to_string(), vec![id], unit));
            }
            Units::Aggregates(aggregates) => {
                for unit in chosen {
                    let ids = units.ids(unit, evaluation.facts())?;
                    put(aggregates[unit as usize].id.clone(), ids, unit);
                }
            }
        }
    }
    found.sort_by(|a, b| (&a.id, a.operation).cmp(&(&b.id, b.operation)));
    Ok(Found {
        planned: found,
        n_failed,
    })
}

/// What a run tells while it goes on.
pub trait RunObserver: Sync {
    /// So many executions are to be done in this pass.
    fn planned(&self, n: usize);
    /// An execution begins.
    fn started(&self, planned: &Planned);
    /// An execution has ended, or was not begun.
    fn ended(&self, planned: &Planned, ended: &Ended);
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Executions that ended well.
    pub completed: usize,
    /// Executions that failed, or that could not be begun.
    pub failed: usize,
    /// Executions that were interrupted.
    pub interrupted: usize,
    /// Executions whose end could not be recorded.
    pub unrecorded: usize,
    /// The user interrupted.
    pub was_interrupted: bool,
    /// The limit was reached, and more could be done.
    pub limit_reached: bool,
}

/// Does executions.
#[derive(Debug)]
pub struct Runner<'a> {
    flow: &'a Flow,
    store: &'a Store,
    prepared: &'a [Prepared],
    options: &'a RunOptions,
    machine: Machine,
    interrupts: &'a AtomicUsize,
    watch: Watch,
    batch: Option<BatchTask<'a>>,
}

impl<'a> Runner<'a> {
    /// `interrupts` counts how often the user asked to stop; the second time means at once.
    pub fn new(
        flow: &'a Flow,
        store: &'a Store,
        prepared: &'a [Prepared],
        options: &'a RunOptions,
        interrupts: &'a AtomicUsize,
    ) -> Self {
        Self {
            flow,
            store,
            prepared,
            options,
            machine: Machine::this(),
            interrupts,
            watch: Watch::new(options.timeout),
            batch: None,
        }
    }

    /// Executions are those of a batch job, which must be queued for it.
    #[must_use]
    pub fn as_batch(self, task: BatchTask<'a>) -> Self {
        Self {
            batch: Some(task),
            ..self
        }
    }

    /// Does what `plan` finds, and asks again until it finds nothing new: each execution at most
    /// once, and as often again as the operation says after a failure.
    pub fn run<E>(
        &self,
        mut plan: impl FnMut() -> Result<Vec<Planned>, E>,
        observer: &dyn RunObserver,
    ) -> Result<RunSummary, E> {
        let mut summary = RunSummary::default();
        let mut begun: BTreeMap<(usize, String), u32> = BTreeMap::new();
        // What was known of executions that another process has taken.
        let mut taken: BTreeMap<(usize, String), Option<Summary>> = BTreeMap::new();
        loop {
            let mut planned = plan()?;
            planned.retain(|planned| {
                let key = (planned.operation, planned.id.clone());
                let n_begun = begun.get(&key).copied().unwrap_or(0);
                n_begun <= self.retries_after(planned)
                    && self.is_new(planned, n_begun)
                    && taken.get(&key) != Some(&planned.before)
            });
            summary.was_interrupted |= self.is_interrupted();
            let left = self.options.limit.map(|limit| {
                let n_begun: u32 = begun.values().sum();
                limit.saturating_sub(n_begun as usize)
            });
            if planned.is_empty() || self.is_over(&summary) {
                return Ok(summary);
            }
            if left == Some(0) {
                summary.limit_reached = true;
                return Ok(summary);
            }
            planned.truncate(left.unwrap_or(usize::MAX));
            observer.planned(planned.len());
            let done = self.pass(planned, &mut summary, observer);
            if done.is_empty() {
                return Ok(summary);
            }
            for (planned, outcome) in done {
                let key = (planned.operation, planned.id);
                match outcome {
                    Outcome::Taken => drop(taken.insert(key, planned.before)),
                    _ => *begun.entry(key).or_default() += 1,
                }
            }
        }
    }

    /// An execution is repeated only after it failed.
    fn is_new(&self, planned: &Planned, n_begun: u32) -> bool {
        let failures = planned.before.as_ref().map_or(0, |before| before.failures);
        n_begun == 0 || failures > 0
    }

    fn retries_after(&self, planned: &Planned) -> u32 {
        self.flow.config().operations[planned.operation].retries
    }

    fn is_interrupted(&self) -> bool {
        self.interrupts.load(std::sync::atomic::Ordering::Relaxed) > 0
    }

    fn is_over(&self, summary: &RunSummary) -> bool {
        summary.was_interrupted || (self.options.fail_fast && summary.failed > 0)
    }

    /// Does some executions, as many at a time as the cores allow; returns what came of each.
    fn pass(
        &self,
        planned: Vec<Planned>,
        summary: &mut RunSummary,
        observer: &dyn RunObserver,
    ) -> Vec<(Planned, Outcome)> {
        let (sender, receiver) = mpsc::channel();
        let waiting = planned.into_iter().map(|planned| (planned, None));
        let mut waiting: VecDeque<_> = waiting.collect();
        let (mut n_running, mut free, mut has_room) = (0_usize, self.options.room, true);
        let mut done = Vec::new();
        std::thread::scope(|scope| {
            loop {
                while std::mem::take(&mut has_room)
                    && !self.is_over(summary)
                    && let Some((next, share)) = self.next_fitting(&mut waiting, &mut free)
                {
                    (n_running, has_room) = (n_running + 1, true);
                    let sender = sender.clone();
                    scope.spawn(move || {
                        observer.started(&next);
                        let ended = Execution::new(self, &next).run();
                        // Nobody has left before all have ended.
                        let _ = sender.send((next, share, ended));
                    });
                }
                if n_running == 0 {
                    return;
                }
                let ended = receiver.recv_timeout(TICK);
                self.watch.look(Instant::now(), self.interrupts, summary);
                let Ok((planned, share, ended)) = ended else {
                    continue;
                };
                (n_running, has_room) = (n_running - 1, true);
                free = free.with(&share);
                observer.ended(&planned, &ended);
                summary.unrecorded += usize::from(!ended.is_recorded);
                match ended.outcome {
                    Outcome::Completed => summary.completed += 1,
                    Outcome::Failed => summary.failed += 1,
                    Outcome::Interrupted => summary.interrupted += 1,
                    Outcome::Taken => {}
                }
                done.push((planned, ended.outcome));
            }
        });
        done
    }

    /// Takes the first execution for which there is room, and its share of it.
    fn next_fitting(
        &self,
        waiting: &mut VecDeque<(Planned, Option<Resources>)>,
        free: &mut Room,
    ) -> Option<(Planned, Resources)> {
        if free.cores == 0 {
            return None;
        }
        let (room, now) = (&self.options.room, Instant::now());
        let uses = |planned: &Planned| {
            self.prepared[planned.operation].uses(self.flow.workspace(), planned)
        };
        let mut known = waiting.iter_mut();
        let place = known.position(|(planned, known)| {
            let uses = known.get_or_insert_with(|| uses(planned));
            room.holds(uses, now) && free.without(&room.share(uses)).is_some()
        })?;
        let (next, uses) = waiting.remove(place)?;
        let share = room.share(&uses?);
        *free = free.without(&share)?;
        Some((next, share))
    }
}
