//! The ends of executions that their batch jobs did not record.

use super::bundle::Bundle;
use super::follow::{change, is_gone};
use crate::exec::Machine;
use crate::report::with_causes;
use crate::scheduler::{Seen, States, Verdict};
use crate::workflow::ledger::{self, Ledger};
use crate::workflow::record::{Record, Stage, now};
use crate::workflow::sidecar::SidecarError;
use crate::workflow::summary::Summary;
use crate::workspace::Workspace;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Records the ends of executions whose batch jobs have ended without doing so. Whatever a scheduler
/// says of a batch job, an execution whose processes live on this machine goes on; and of those that
/// are gone, one that has not recorded its end waits as long as that is unsure.
pub(super) fn settle(
    workspace: &Workspace,
    mut bundle: Bundle,
    states: &States,
    unsure: &HashSet<String>,
) -> Result<Bundle, String> {
    let mut ended = BTreeMap::new();
    for part in bundle.open() {
        let Some(id) = bundle.batch_id(part) else {
            continue;
        };
        if let Some(seen @ (Seen::Ended(..) | Seen::Gone)) = states.get(&id) {
            let is_unsure = unsure.contains(&id);
            ended.insert(part, Gone { seen, is_unsure });
        }
    }
    if ended.is_empty() {
        return Ok(bundle);
    }
    let closed = match &bundle.pilot {
        Some(_) => settle_pilots(workspace, &bundle, &ended)?,
        None => settle_executions(workspace, &bundle, &ended)?,
    };
    if !closed.is_empty() {
        bundle.closed.extend(&closed);
        Bundle::update(workspace, &bundle.name, |note| note.closed.extend(closed))?;
    }
    Ok(bundle)
}

/// A batch job that the scheduler no longer has.
#[derive(Clone, Copy)]
struct Gone<'a> {
    seen: &'a Seen,
    is_unsure: bool,
}

/// Records the ends of executions whose batch jobs have ended so; returns those that have none left
/// to record.
fn settle_executions(
    workspace: &Workspace,
    bundle: &Bundle,
    ended: &BTreeMap<u32, Gone<'_>>,
) -> Result<BTreeSet<u32>, String> {
    let machine = Machine::this();
    let shared = bundle.shared();
    // Looked at before anything is changed.
    let mut begun = BTreeSet::new();
    if shared != Shared::No {
        for execution in ended.keys() {
            let mut is_queued = false;
            change(workspace, bundle, *execution, |record| {
                is_queued = record.state == Stage::Queued;
            })?;
            if !is_queued {
                begun.insert(bundle.element(*execution));
            }
        }
    }
    let mut closed = BTreeSet::new();
    for (execution, gone) in ended {
        let has_waited = begun.contains(&bundle.element(*execution));
        let mut lives = false;
        change(workspace, bundle, *execution, |record| {
            lives = gone.is_unsure || is_alive(record, &machine);
            let has_begun = record.state == Stage::Running;
            match lives {
                true => {}
                false if !has_begun && has_waited => record.withdraw(NOT_ITS_TURN, &now()),
                false => end_of(gone.seen, has_begun, shared).record(record),
            }
        })?;
        if !lives {
            closed.insert(*execution);
        }
    }
    Ok(closed)
}

/// Why an execution of several in a batch job was not begun.
const NOT_ITS_TURN: &str = "its batch job ended before its turn";

fn is_alive(record: &Record, machine: &Machine) -> bool {
    let processes = Summary::of(record).processes;
    let mut processes = processes.iter();
    processes.any(|process| machine.runs(process) == Some(true))
}

/// Records the ends of what pilots have begun that have ended so; returns those of which nothing is
/// left. Nobody knows what they have begun, so all records are looked at.
fn settle_pilots(
    workspace: &Workspace,
    bundle: &Bundle,
    ended: &BTreeMap<u32, Gone<'_>>,
) -> Result<BTreeSet<u32>, String> {
    let machine = Machine::this();
    let jobs = workspace.list().map_err(|error| with_causes(&error))?.ids;
    let aggregates = ledger::aggregate_ids(workspace).map_err(|error| with_causes(&error))?;
    let mut by_id: HashMap<String, (u32, Gone<'_>)> = HashMap::new();
    for (pilot, gone) in ended {
        by_id.extend(bundle.batch_id(*pilot).map(|id| (id, (*pilot, *gone))));
    }
    let of_ended = |record: &Record| {
        let is_its = record.state == Stage::Running
            && record.submission.as_deref() == Some(bundle.name.as_str());
        by_id
            .get(record.batch_id.as_ref().filter(|_| is_its)?)
            .copied()
    };
    let mut closed: BTreeSet<_> = ended.keys().copied().collect();
    let jobs = jobs.iter().map(ToString::to_string);
    for id in jobs.chain(aggregates) {
        // What cannot be read is told wherever it is asked for.
        let Ok(Some(sidecar)) = ledger::read(workspace, &id) else {
            continue;
        };
        if !sidecar
            .records
            .values()
            .any(|record| of_ended(record).is_some())
        {
            continue;
        }
        let ledger = Ledger::open(workspace, &id).map_err(|error| with_causes(&error))?;
        let changed = ledger.update(|sidecar| {
            for record in sidecar.records.values_mut() {
                match of_ended(record) {
                    None => {}
                    Some((pilot, gone)) if gone.is_unsure || is_alive(record, &machine) => {
                        closed.remove(&pilot);
                    }
                    Some((_, gone)) => end_of(gone.seen, true, Shared::AtOnce).record(record),
                }
            }
            Ok::<_, SidecarError>(())
        });
        match changed {
            Err(error) if is_gone(workspace, &error) => {}
            changed => changed.map_err(|error| format!("{id}: {}", with_causes(&error)))?,
        }
    }
    Ok(closed)
}

/// How executions share a batch job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// Each has its own.
    No,
    /// One follows the other.
    InTurn,
    /// Several go on at once.
    AtOnce,
}

/// Why an execution ends that does not end by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::workflow) enum Why {
    /// Its walltime is over.
    Outrun,
    /// Something else, which means this.
    Other(Stage, String),
}

impl Why {
    fn record(self, record: &mut Record) {
        match self {
            Self::Outrun => record.end_by_walltime(&now()),
            Self::Other(stage, reason) => record.end(stage, Some(reason), &now()),
        }
    }
}

fn end_of(state: &Seen, has_begun: bool, shared: Shared) -> Why {
    match state {
        Seen::Ended(verdict, words) => why(*verdict, words, has_begun, shared),
        _ => {
            let reason = "lost: the scheduler no longer has it";
            Why::Other(Stage::Interrupted, reason.to_owned())
        }
    }
}

/// Returns what the end of a batch job means for an execution that has not recorded its own. What
/// several have used up together is nobody's verdict.
pub(super) fn why(verdict: Verdict, words: &str, has_begun: bool, shared: Shared) -> Why {
    let failed = |reason: &str| Why::Other(Stage::Failed, reason.to_owned());
    let interrupted = |reason: &str| Why::Other(Stage::Interrupted, reason.to_owned());
    match verdict {
        Verdict::TimedOut if shared != Shared::No => {
            interrupted("the time of its batch job was over")
        }
        Verdict::TimedOut => Why::Outrun,
        Verdict::OutOfMemory if shared == Shared::AtOnce => {
            interrupted("its batch job was out of memory")
        }
        Verdict::OutOfMemory => failed("out of memory"),
        Verdict::Cancelled => interrupted("cancelled"),
        Verdict::NodeFailed => interrupted("its node failed"),
        Verdict::Failed if !has_begun => {
            failed(&format!("its batch job could not begin it: {words}"))
        }
        Verdict::Failed | Verdict::Completed => {
            interrupted(&format!("lost: its batch job is {words}"))
        }
    }
}
