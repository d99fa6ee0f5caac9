//! Executions that can be done when others have ended, which are sent with them.

use super::bundle::Bundle;
use crate::catalog::FactsError;
use crate::config::{OperationConfig, WorkflowConfig};
use crate::filter::{Condition, Expr, Probe, Space};
use crate::statepoint::JobId;
use crate::workflow::evaluate::Evaluation;
use crate::workflow::run::Planned;
use crate::workflow::state::FlowState;
use crate::workflow::units::{UnitIdx, Units};
use roaring::RoaringBitmap;
use std::collections::{BTreeSet, HashMap};

type Result<T> = std::result::Result<T, FactsError>;

/// Executions of one operation that are sent together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// Those that can be done now.
    pub planned: Vec<Planned>,
    /// Those that may be able to be done when others have ended.
    pub chained: Vec<Planned>,
    /// The operations that must have ended, as far as they are sent, too.
    pub after: BTreeSet<usize>,
    /// The ids of arrays that must have ended, which were sent before.
    pub after_ids: Vec<String>,
}

/// What can be sent of a whole workflow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// By operation, in an order in which none comes before what it waits for.
    pub links: Vec<(usize, Link)>,
    /// How many have failed and are left alone.
    pub n_failed: usize,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct ChainOptions<'a> {
    /// The operations that are sent.
    pub operations: &'a [usize],
    /// Also what has failed.
    pub retry: bool,
    /// At most so many executions.
    pub limit: Option<usize>,
    /// What the cluster has already.
    pub queued: &'a [&'a Bundle],
}

/// Finds what can be executed on aggregates of some jobs, now or when what is found before it has
/// ended. Nobody knows what that leaves behind, so what looks at files, documents and commands is
/// taken as possible.
pub fn chain(
    evaluation: &Evaluation<'_>,
    jobs: &RoaringBitmap,
    options: &ChainOptions<'_>,
) -> Result<Chain> {
    let config = evaluation.config();
    let mut chain = Chain::default();
    let mut hope = Hope::new(evaluation, options)?;
    let mut left = options.limit.unwrap_or(usize::MAX);
    for operation in in_order(config) {
        if !options.operations.contains(&operation) {
            continue;
        }
        let units = evaluation.units(operation)?;
        let states = evaluation.states(operation, &units.with_all(jobs))?;
        let failed = states.of(FlowState::Failed);
        let (mut now, mut open) = (
            states.of(FlowState::Eligible),
            states.of(FlowState::Waiting),
        );
        match options.retry {
            true => {
                let ready = evaluation.ready_again(operation, &failed)?;
                open |= &failed - &ready;
                now |= ready;
            }
            false => chain.n_failed += failed.len() as usize,
        }
        let mut later = hope.possible(operation, &open)?;
        now = now.iter().take(left).collect();
        left -= now.len() as usize;
        later = later.iter().take(left).collect();
        left -= later.len() as usize;
        let planned = |chosen: &RoaringBitmap| -> Result<Vec<Planned>> {
            let mut found = Vec::new();
            for unit in chosen {
                found.push(Planned {
                    operation,
                    id: units.id(unit, evaluation.facts())?,
                    jobs: units.ids(unit, evaluation.facts())?,
                    before: states.records.get(&unit).cloned(),
                });
            }
            Ok(found)
        };
        let link = Link {
            planned: planned(&now)?,
            chained: planned(&later)?,
            after: hope.upstream[operation].clone(),
            after_ids: hope.arrays_before(operation, &units.jobs_in(&later)),
        };
        hope.pending[operation] |= now | later;
        if !(link.planned.is_empty() && link.chained.is_empty()) {
            chain.links.push((operation, link));
        }
    }
    Ok(chain)
}

/// What may hold when others have ended.
struct Hope<'h, 'a> {
    evaluation: &'h Evaluation<'a>,
    /// By operation: those that it waits for.
    upstream: Vec<BTreeSet<usize>>,
    /// By operation: the aggregates that are sent.
    pending: Vec<RoaringBitmap>,
    /// Arrays that were sent before: their ids, operations and jobs.
    arrays: Vec<(String, usize, RoaringBitmap)>,
}

/// For which jobs something holds, and for which it may hold later; those are among them.
struct Outlook {
    yes: RoaringBitmap,
    possible: RoaringBitmap,
}

impl<'h, 'a> Hope<'h, 'a> {
    fn new(evaluation: &'h Evaluation<'a>, options: &ChainOptions<'_>) -> Result<Self> {
        let config = evaluation.config();
        let mut hope = Self {
            evaluation,
            upstream: upstream(config),
            pending: vec![RoaringBitmap::new(); config.operations.len()],
            arrays: Vec::new(),
        };
        for bundle in options.queued {
            let mut operations = config.operations.iter();
            let operation = operations.position(|known| known.name == bundle.operation);
            let (Some(operation), Some(array)) = (operation, &bundle.id) else {
                continue;
            };
            let units = hope.units_of(operation, bundle)?;
            let jobs = evaluation.units(operation)?.jobs_in(&units);
            hope.pending[operation] |= units;
            hope.arrays.push((array.id.clone(), operation, jobs));
        }
        Ok(hope)
    }

    /// Returns the aggregates of which a submission has executions that have not ended.
    fn units_of(&self, operation: usize, bundle: &Bundle) -> Result<RoaringBitmap> {
        let open = bundle
            .open()
            .filter_map(|open| bundle.executions.get(open as usize));
        match self.evaluation.units(operation)? {
            Units::Jobs(all) => {
                let ids: Vec<JobId> = open.filter_map(|open| open.id.parse().ok()).collect();
                let found = self.evaluation.facts().positions(&ids)?;
                let found: RoaringBitmap = found.into_iter().flatten().collect();
                Ok(all & found)
            }
            Units::Aggregates(aggregates) => {
                let numbered = (0..).zip(aggregates);
                let by_id: HashMap<&str, UnitIdx> = numbered
                    .map(|(unit, aggregate)| (aggregate.id.as_str(), unit))
                    .collect();
                Ok(open
                    .filter_map(|open| by_id.get(open.id.as_str()).copied())
                    .collect())
            }
        }
    }

    /// Returns the ids of arrays that were sent before and that executions on some jobs wait for.
    fn arrays_before(&self, operation: usize, jobs: &RoaringBitmap) -> Vec<String> {
        let upstream = &self.upstream[operation];
        let arrays = self
            .arrays
            .iter()
            .filter(|(_, sent, of_jobs)| upstream.contains(sent) && !of_jobs.is_disjoint(jobs));
        arrays.map(|(id, ..)| id.clone()).collect()
    }

    /// Returns the aggregates that wait, and that what is sent may make able to be executed.
    fn possible(&self, operation: usize, waiting: &RoaringBitmap) -> Result<RoaringBitmap> {
        let units = self.evaluation.units(operation)?;
        let mut moving = RoaringBitmap::new();
        for &before in &self.upstream[operation] {
            let all = self.evaluation.units(before)?;
            moving |= all.jobs_in(&self.pending[before]);
        }
        let waiting = units.with_any(&moving) & waiting;
        let mut possible = units.jobs_in(&waiting);
        for condition in &self.evaluation.config().operations[operation].pre {
            possible = self.outlook(condition.expr(), &possible, &moving)?.possible;
        }
        Ok(units.with_all(&possible) & waiting)
    }

    /// `moving` are the jobs of which something may change.
    fn outlook(
        &self,
        expr: &Expr<Probe>,
        jobs: &RoaringBitmap,
        moving: &RoaringBitmap,
    ) -> Result<Outlook> {
        let parts = |parts: &[Expr<Probe>]| -> Result<Vec<Outlook>> {
            let parts = parts.iter();
            parts.map(|part| self.outlook(part, jobs, moving)).collect()
        };
        let none = RoaringBitmap::new;
        Ok(match expr {
            Expr::And(all) => parts(all)?.into_iter().fold(
                Outlook {
                    yes: jobs.clone(),
                    possible: jobs.clone(),
                },
                |all, part| Outlook {
                    yes: all.yes & part.yes,
                    possible: all.possible & part.possible,
                },
            ),
            Expr::Or(any) => parts(any)?.into_iter().fold(
                Outlook {
                    yes: none(),
                    possible: none(),
                },
                |any, part| Outlook {
                    yes: any.yes | part.yes,
                    possible: any.possible | part.possible,
                },
            ),
            Expr::Not(part) => {
                let part = self.outlook(part, jobs, moving)?;
                Outlook {
                    yes: jobs - part.possible,
                    possible: jobs - part.yes,
                }
            }
            Expr::Probe(Probe::After(name)) => self.outlook_after(name, jobs)?,
            Expr::Probe(Probe::Never) => Outlook {
                yes: none(),
                possible: none(),
            },
            Expr::Test(field, _) if field.space == Space::StatePoint => {
                let yes = self.evaluation.truth(expr, jobs)?.yes;
                Outlook {
                    possible: yes.clone(),
                    yes,
                }
            }
            Expr::Test(..) | Expr::Probe(_) => {
                let yes = self.evaluation.truth(expr, &(jobs - moving))?.yes;
                Outlook {
                    possible: &yes | (jobs & moving),
                    yes,
                }
            }
        })
    }

    fn outlook_after(&self, name: &str, jobs: &RoaringBitmap) -> Result<Outlook> {
        let mut operations = self.evaluation.config().operations.iter();
        let Some(operation) = operations.position(|operation| operation.name == name) else {
            return Ok(Outlook {
                yes: RoaringBitmap::new(),
                possible: RoaringBitmap::new(),
            });
        };
        let units = self.evaluation.units(operation)?;
        let of_jobs = units.with_any(jobs);
        let states = self.evaluation.states(operation, &of_jobs)?;
        let open = of_jobs - states.of(FlowState::Completed);
        let stuck = &open - &self.pending[operation];
        Ok(Outlook {
            yes: jobs - units.jobs_in(&open),
            possible: jobs - units.jobs_in(&stuck),
        })
    }
}

/// Returns by operation those that it waits for: those it names, and those one of whose postconditions
/// asks what one of its preconditions asks. None waits for one that comes later in the order.
fn upstream(config: &WorkflowConfig) -> Vec<BTreeSet<usize>> {
    let wanted = wanted(config);
    let order = in_order(config);
    let place = |operation: usize| order.iter().position(|other| *other == operation);
    let all = wanted.into_iter().enumerate();
    all.map(|(operation, before)| {
        let mut before = before;
        before.retain(|other| place(*other) < place(operation));
        before
    })
    .collect()
}

fn wanted(config: &WorkflowConfig) -> Vec<BTreeSet<usize>> {
    let operations = &config.operations;
    let before = |operation: &OperationConfig| {
        let asked: BTreeSet<_> = operation.pre.iter().flat_map(questions).collect();
        let is_before = |other: &OperationConfig| {
            let mut left = other.post.iter().flat_map(questions);
            other.name != operation.name
                && (operation.after().any(|name| name == other.name)
                    || left.any(|question| asked.contains(&question)))
        };
        let others = operations.iter().enumerate();
        others
            .filter(|(_, other)| is_before(other))
            .map(|(place, _)| place)
            .collect()
    };
    operations.iter().map(before).collect()
}

/// Returns what a condition asks that an execution may change, as texts.
fn questions(condition: &Condition) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![condition.expr()];
    while let Some(expr) = open.pop() {
        match expr {
            Expr::And(parts) | Expr::Or(parts) => open.extend(parts),
            Expr::Not(part) => open.push(part),
            Expr::Probe(Probe::After(_) | Probe::Never) => {}
            Expr::Test(field, _) if field.space == Space::StatePoint => {}
            Expr::Test(..) | Expr::Probe(_) => found.push(expr.to_string()),
        }
    }
    found
}

/// Returns the operations so that each comes after those that it waits for. Of those that wait for
/// each other, the first in the file comes first.
fn in_order(config: &WorkflowConfig) -> Vec<usize> {
    let wanted = wanted(config);
    let mut left: Vec<usize> = (0..wanted.len()).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let is_ready =
            |operation: &usize| wanted[*operation].iter().all(|other| order.contains(other));
        let next = left.iter().position(is_ready).unwrap_or(0);
        order.push(left.remove(next));
    }
    order
}

impl Evaluation<'_> {
    /// Returns why an operation cannot be executed on an aggregate now, whatever is recorded of it;
    /// `None` if it can.
    pub fn why_not(&self, operation: usize, id: &str) -> Result<Option<String>> {
        let config = &self.config().operations[operation];
        let units = self.units(operation)?;
        let unit = match units {
            Units::Jobs(all) => {
                let found = id
                    .parse()
                    .ok()
                    .map(|id| self.facts().find(&id))
                    .transpose()?;
                found.flatten().filter(|job| all.contains(*job))
            }
            Units::Aggregates(aggregates) => {
                let place = aggregates.iter().position(|aggregate| aggregate.id == id);
                place.map(|place| place as UnitIdx)
            }
        };
        let Some(unit) = unit else {
            return Ok(Some("the operation no longer works on it".to_owned()));
        };
        let unit = RoaringBitmap::from_iter([unit]);
        if !config.post.is_empty() && self.all_hold(operation, &config.post, &unit)?.yes == unit {
            return Ok(Some("it is completed already".to_owned()));
        }
        let jobs = units.jobs_in(&unit);
        for condition in &config.pre {
            let explained = self.explain_condition(false, condition, &jobs)?;
            if explained.holds != Some(true) {
                let mut parts = explained.parts.iter();
                let because = parts
                    .find(|part| part.holds != Some(true))
                    .map(|part| format!(": {}", part.because));
                let because = because.unwrap_or_default();
                return Ok(Some(format!(
                    "`{}` did not hold when its batch job began{because}",
                    explained.text
                )));
            }
        }
        Ok(None)
    }
}
