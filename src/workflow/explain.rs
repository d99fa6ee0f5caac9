//! Why an operation is as far as it is with one aggregate.

use super::evaluate::{Evaluation, Truth};
use super::ledger;
use super::record::{Record, Stage};
use super::state::FlowState;
use super::summary::Summary;
use super::units::UnitIdx;
use crate::catalog::{Facts, FactsError, JobIdx};
use crate::config::OperationConfig;
use crate::exec::Machine;
use crate::filter::{Condition, Expr, Field, Probe};
use crate::fsx::Dir;
use crate::pyjson::dumps;
use crate::statepoint::JobId;
use roaring::RoaringBitmap;
use std::path::Path;

type Result<T> = std::result::Result<T, FactsError>;

/// Values are shown up to this many characters.
const VALUE_LEN_MAX: usize = 60;

/// How far an operation is with one aggregate, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The aggregate.
    pub id: String,
    /// Its jobs, in their order.
    pub jobs: Vec<JobId>,
    /// How far it is.
    pub state: FlowState,
    /// The preconditions, then the postconditions.
    pub conditions: Vec<ExplainedCondition>,
    /// The last execution, if there was one and it can be read.
    pub record: Option<Record>,
    /// Whether that one goes on.
    pub is_running: bool,
    /// How often it is executed again if it fails.
    pub retries_left: u32,
    /// How often it was ended since its walltime was over, of those that do not count as failures.
    pub timeouts: u32,
}

/// Whether a condition holds, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedCondition {
    /// Whether it is to hold after the operation, not before.
    pub is_post: bool,
    /// The condition.
    pub text: String,
    /// Whether it holds for all jobs; `None` if that cannot be told.
    pub holds: Option<bool>,
    /// The number of jobs for which it does not hold, or of which that cannot be told.
    pub n_missing: u64,
    /// The first of those, or else the first job: what the parts are about.
    pub job: JobId,
    /// What the condition is made of.
    pub parts: Vec<ExplainedPart>,
}

/// Whether one question of a condition is answered with yes, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedPart {
    /// The question.
    pub text: String,
    /// The answer; `None` if there is none.
    pub holds: Option<bool>,
    /// Why, a fragment such as `there is no such file`.
    pub because: String,
}

impl Truth {
    fn of_job(&self, job: JobIdx) -> Option<bool> {
        (!self.unknown.contains(job)).then(|| self.yes.contains(job))
    }
}

impl Evaluation<'_> {
    /// Explains how far an operation is with one of its aggregates.
    pub fn explain(&self, operation: usize, unit: UnitIdx) -> Result<Explanation> {
        let config = &self.config().operations[operation];
        let units = self.units(operation)?;
        let of_unit = RoaringBitmap::from_iter([unit]);
        let state = self.states(operation, &of_unit)?.state(unit);
        let jobs = units.ids(unit, self.facts())?;
        let id = units.id(unit, self.facts())?;
        let in_unit = units.jobs_in(&of_unit);
        let pre = config.pre.iter().map(|condition| (false, condition));
        let post = config.post.iter().map(|condition| (true, condition));
        let conditions = pre
            .chain(post)
            .map(|(is_post, condition)| self.explain_condition(is_post, condition, &in_unit))
            .collect::<Result<_>>()?;
        let record = self.record(config, &id);
        let summary = record.as_ref().map(Summary::of);
        let failures = summary.as_ref();
        let failures = failures.map_or(0, |summary| summary.failures_beyond(config.timeouts));
        let timeouts = summary.map_or(0, |summary| summary.timeouts.min(config.timeouts));
        Ok(Explanation {
            state: state.unwrap_or(FlowState::Unknown),
            conditions,
            is_running: record.as_ref().is_some_and(Record::runs),
            record,
            retries_left: config.retries.saturating_sub(failures.saturating_sub(1)),
            timeouts,
            id,
            jobs,
        })
    }

    fn record(&self, config: &OperationConfig, id: &str) -> Option<Record> {
        // What cannot be read is among the problems already.
        let sidecar = ledger::read(self.workspace(), id).ok().flatten();
        sidecar.and_then(|mut sidecar| sidecar.records.remove(&config.name))
    }

    pub(super) fn explain_condition(
        &self,
        is_post: bool,
        condition: &Condition,
        jobs: &RoaringBitmap,
    ) -> Result<ExplainedCondition> {
        let truth = self.truth(condition.expr(), jobs)?;
        let no = jobs - &truth.yes - &truth.unknown;
        let missing = &no | &truth.unknown;
        let holds = match (no.is_empty(), truth.unknown.is_empty()) {
            (false, _) => Some(false),
            (true, false) => None,
            (true, true) => Some(true),
        };
        let first = no.min().or(truth.unknown.min()).or(jobs.min());
        let job = first.unwrap_or_default();
        let of_job = RoaringBitmap::from_iter([job]);
        let ids = self.facts().ids(&of_job)?;
        let mut leaves = Vec::new();
        push_leaves(condition.expr(), &mut leaves);
        let part = |leaf: &Expr<Probe>| {
            let holds = self.truth(leaf, &of_job)?.of_job(job);
            Ok(ExplainedPart {
                text: leaf.to_string(),
                because: self.because(leaf, job, &ids[0], holds)?,
                holds,
            })
        };
        Ok(ExplainedCondition {
            is_post,
            text: condition.to_string(),
            holds,
            n_missing: missing.len(),
            job: ids[0],
            parts: leaves.into_iter().map(part).collect::<Result<_>>()?,
        })
    }

    fn because(
        &self,
        leaf: &Expr<Probe>,
        job: JobIdx,
        id: &JobId,
        holds: Option<bool>,
    ) -> Result<String> {
        let yes_no = |yes: &str, no: &str| match holds {
            Some(true) => yes.to_owned(),
            Some(false) => no.to_owned(),
            None => self.why_unknown(id),
        };
        Ok(match leaf {
            Expr::Test(field, _) if holds.is_some() => found(self.facts(), field, job)?,
            Expr::Test(..) => "its document cannot be read".to_owned(),
            Expr::Probe(Probe::File(name)) if name.contains(['*', '?', '[']) => {
                yes_no("there is such a file", "no file matches")
            }
            Expr::Probe(Probe::File(_)) => yes_no("there is such a file", "there is no such file"),
            Expr::Probe(Probe::Newer(output, input)) => match holds {
                Some(false) => self.why_not_newer(id, output, input),
                _ => yes_no("it is not older", ""),
            },
            Expr::Probe(Probe::Size(name, ..)) => match self.size_bytes(id, name) {
                Some(size_bytes) => format!("it has {size_bytes} bytes"),
                None => yes_no("", "there is no such file"),
            },
            Expr::Probe(Probe::After(name)) => self.why_after(name, job)?,
            Expr::Probe(Probe::Test { .. }) => {
                yes_no("its command says yes", "its command says no")
            }
            Expr::Probe(Probe::Never) => "it never holds".to_owned(),
            Expr::And(_) | Expr::Or(_) | Expr::Not(_) => String::new(),
        })
    }

    /// Returns what was found to be wrong with a job.
    fn why_unknown(&self, id: &JobId) -> String {
        let problems = self.problems();
        let mut of_job = problems
            .iter()
            .filter(|problem| problem.subject == id.to_string());
        of_job.next().map_or_else(
            || "that cannot be told".to_owned(),
            |problem| problem.reason.clone(),
        )
    }

    fn size_bytes(&self, id: &JobId, name: &str) -> Option<u64> {
        let dir = Dir::open(&self.workspace().job_dir(id)).ok()?;
        let stamp = dir.file_stamp(Path::new(name)).ok()??;
        Some(stamp.size_bytes)
    }

    fn why_not_newer(&self, id: &JobId, output: &str, input: &str) -> String {
        let missing = [output, input]
            .into_iter()
            .find(|name| self.size_bytes(id, name).is_none());
        match missing {
            Some(name) => format!("there is no file `{name}`"),
            None => format!("`{output}` is older"),
        }
    }

    fn why_after(&self, name: &str, job: JobIdx) -> Result<String> {
        let mut operations = self.config().operations.iter();
        let Some(operation) = operations.position(|operation| operation.name == name) else {
            return Ok("there is no such operation".to_owned());
        };
        let units = self
            .units(operation)?
            .with_any(&RoaringBitmap::from_iter([job]));
        let state = match units.min() {
            Some(unit) => self.states(operation, &units)?.state(unit),
            None => return Ok(format!("{name} does not concern the job")),
        };
        Ok(format!("{name} is {}", state.unwrap_or(FlowState::Unknown)))
    }
}

impl Record {
    /// Tells whether the execution goes on, as far as that can be told here.
    pub fn runs(&self) -> bool {
        self.state == Stage::Running && Summary::of(self).runs(&Machine::this())
    }
}

fn push_leaves<'a>(expr: &'a Expr<Probe>, leaves: &mut Vec<&'a Expr<Probe>>) {
    match expr {
        Expr::And(parts) | Expr::Or(parts) => {
            parts.iter().for_each(|part| push_leaves(part, leaves));
        }
        Expr::Not(part) => push_leaves(part, leaves),
        Expr::Test(..) | Expr::Probe(_) => leaves.push(expr),
    }
}

/// Says what a job has at a key.
fn found(facts: &Facts<'_>, field: &Field, job: JobIdx) -> Result<String> {
    let Some(key) = &field.key else {
        return Ok("every job has it".to_owned());
    };
    let of_job = RoaringBitmap::from_iter([job]);
    let column = facts.column(field.space, key, &of_job)?;
    if let Some(value) = column.get(0) {
        let text = dumps(value);
        let cut: String = text.chars().take(VALUE_LEN_MAX).collect();
        let mark = if cut.len() < text.len() { "…" } else { "" };
        return Ok(format!("it is {cut}{mark}"));
    }
    let index = facts.key(field.space, key, &of_job)?;
    Ok(
        match index.is_some_and(|index| index.objects.contains(job)) {
            true => "it is an object".to_owned(),
            false => "the job has no such key".to_owned(),
        },
    )
}
