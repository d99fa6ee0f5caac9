//! Following batch jobs to their end.

use super::bundle::Bundle;
use crate::exec::Machine;
use crate::fsx::{self, Durability, Lock};
use crate::report::with_causes;
use crate::scheduler::{Array, Scheduler, Seen, States, Verdict};
use crate::workflow::ledger::Ledger;
use crate::workflow::record::{Record, Stage, now};
use crate::workflow::sidecar::SidecarError;
use crate::workflow::summary::Summary;
use crate::workspace::Workspace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// The last answer of a scheduler, below the project's directory.
const ANSWER: &str = ".sweepfs/batches/.answer";

/// The lock of the one who asks.
const LOCK: &str = ".sweepfs/locks/poll";

/// A submission from another machine that says no id for so long was interrupted.
const SUBMITTING_MAX: jiff::SignedDuration = jiff::SignedDuration::from_mins(15);

/// What is known of batch jobs.
#[derive(Debug, Default)]
pub struct Followed {
    /// The submissions of which not all has ended.
    pub bundles: Vec<Bundle>,
    /// What the scheduler says, by the ids of elements.
    pub states: States,
    /// What could not be found out.
    pub troubles: Vec<String>,
}

/// Asks the scheduler about all that it has of us, unless somebody did so less than `pause` ago, and
/// records what has ended. Costs next to nothing if it has nothing.
pub fn follow(workspace: &Workspace, scheduler: &dyn Scheduler, pause: Duration) -> Followed {
    let (bundles, troubles) = Bundle::all(workspace);
    let mut followed = Followed {
        troubles,
        ..Followed::default()
    };
    let of_this = |bundle: &Bundle| bundle.cluster == scheduler.name();
    let bundles: Vec<_> = bundles.into_iter().filter(of_this).collect();
    if bundles.is_empty() {
        return followed;
    }
    for bundle in &bundles {
        if let Err(trouble) = complete(workspace, scheduler, bundle) {
            followed.troubles.push(trouble);
        }
    }
    let (bundles, _) = Bundle::all(workspace);
    let bundles: Vec<_> = bundles.into_iter().filter(of_this).collect();
    let arrays: Vec<_> = bundles.iter().filter_map(Bundle::array).collect();
    match asked(workspace, scheduler, &arrays, pause) {
        Ok(answer) => {
            followed.troubles.extend(answer.trouble.map(|trouble| {
                format!("the scheduler does not say all, so what is queued or running may not be: {trouble}")
            }));
            followed.states = answer.states;
        }
        Err(trouble) => followed.troubles.push(trouble),
    }
    for bundle in bundles {
        match settle(workspace, bundle, &followed.states) {
            Ok(bundle) => followed.bundles.push(bundle),
            Err(trouble) => followed.troubles.push(trouble),
        }
    }
    followed
        .bundles
        .retain(|bundle| bundle.open().next().is_some());
    followed.troubles.sort();
    followed.troubles.dedup();
    followed
}

/// Ends what an interrupted submission has begun: finds out whether it has reached the scheduler.
fn complete(
    workspace: &Workspace,
    scheduler: &dyn Scheduler,
    bundle: &Bundle,
) -> Result<(), String> {
    if bundle.id.is_some() && bundle.is_recorded {
        return Ok(());
    }
    let is_recent = || {
        let submitted: Option<jiff::Timestamp> = bundle.submitted.parse().ok();
        submitted.is_some_and(|at| jiff::Timestamp::now().duration_since(at) < SUBMITTING_MAX)
    };
    match bundle.is_being_submitted(&Machine::this()) {
        Some(true) => return Ok(()),
        None if is_recent() => return Ok(()),
        Some(false) | None => {}
    }
    let id = match &bundle.id {
        Some(id) => Some(id.clone()),
        None => scheduler.find(&bundle.name).map_err(|trouble| {
            format!(
                "it is not known whether the submission `{}` was sent: {trouble}",
                bundle.name
            )
        })?,
    };
    match id {
        Some(id) => record_id(workspace, bundle, &id),
        None => withdraw(workspace, bundle, "not submitted"),
    }
}

/// Notes the id of a submission, first for all, then for each execution.
pub(super) fn record_id(workspace: &Workspace, bundle: &Bundle, id: &str) -> Result<(), String> {
    Bundle::update(workspace, &bundle.name, |note| {
        note.id = Some(id.to_owned());
    })?;
    let known = Bundle {
        id: Some(id.to_owned()),
        ..bundle.clone()
    };
    for element in known.open() {
        change(workspace, &known, element, |record| {
            if record.batch_id.is_none() {
                record.batch_id = known.batch_id(element);
            }
        })?;
    }
    Bundle::update(workspace, &bundle.name, |note| note.is_recorded = true)
}

/// Gives back what a submission has claimed and nobody has begun.
pub(super) fn withdraw(workspace: &Workspace, bundle: &Bundle, reason: &str) -> Result<(), String> {
    for element in bundle.open() {
        change(workspace, bundle, element, |record| {
            if record.is_queued_by(&bundle.name) {
                record.withdraw(reason, &now());
            }
        })?;
    }
    let all: BTreeSet<_> = bundle.open().collect();
    Bundle::update(workspace, &bundle.name, |note| note.closed.extend(all))
}

/// Changes the record of an element, if it is still that of the submission and has not ended.
/// Returns whether it was; a job that is gone has none.
pub(super) fn change(
    workspace: &Workspace,
    bundle: &Bundle,
    element: u32,
    change: impl FnOnce(&mut Record),
) -> Result<bool, String> {
    let Some(execution) = bundle.executions.get(element as usize) else {
        return Ok(false);
    };
    let ledger = match Ledger::open(workspace, &execution.id) {
        Ok(ledger) => ledger,
        Err(SidecarError::Fs(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(false);
        }
        Err(error) => return Err(format!("{}: {}", execution.id, with_causes(&error))),
    };
    let changed = ledger.update(|sidecar| {
        let record = sidecar.records.get_mut(&bundle.operation);
        let goes_on = |record: &&mut Record| {
            let is_open = matches!(record.state, Stage::Queued | Stage::Running);
            is_open && record.submission.as_deref() == Some(bundle.name.as_str())
        };
        let ours = record.filter(goes_on);
        let is_ours = ours.is_some();
        if let Some(record) = ours {
            change(record);
        }
        Ok::<_, SidecarError>(is_ours)
    });
    changed.map_err(|error| format!("{}: {}", execution.id, with_causes(&error)))
}

/// Records the ends of elements that have ended without doing so themselves. Whatever a scheduler
/// says of a batch job, an execution whose processes live on this machine goes on.
fn settle(workspace: &Workspace, mut bundle: Bundle, states: &States) -> Result<Bundle, String> {
    let machine = Machine::this();
    let mut closed = BTreeSet::new();
    for element in bundle.open() {
        let state = bundle.batch_id(element).and_then(|id| states.get(&id));
        let Some(state @ (Seen::Ended(..) | Seen::Gone)) = state else {
            continue;
        };
        let mut lives = false;
        change(workspace, &bundle, element, |record| {
            let processes = Summary::of(record).processes;
            lives = processes
                .iter()
                .any(|process| machine.runs(process) == Some(true));
            if !lives {
                let (stage, reason) = end_of(state, record.state == Stage::Running);
                record.end(stage, Some(reason), &now());
            }
        })?;
        if !lives {
            closed.insert(element);
        }
    }
    if !closed.is_empty() {
        bundle.closed.extend(&closed);
        Bundle::update(workspace, &bundle.name, |note| note.closed.extend(closed))?;
    }
    Ok(bundle)
}

fn end_of(state: &Seen, has_begun: bool) -> (Stage, String) {
    match state {
        Seen::Ended(verdict, words) => verdict_of(*verdict, words, has_begun),
        _ => {
            let reason = "lost: the scheduler no longer has it";
            (Stage::Interrupted, reason.to_owned())
        }
    }
}

/// Returns what the end of a batch job means for an execution that has not recorded its own.
pub(super) fn verdict_of(verdict: Verdict, words: &str, has_begun: bool) -> (Stage, String) {
    match verdict {
        Verdict::TimedOut => (Stage::Failed, "timeout: the walltime is over".to_owned()),
        Verdict::OutOfMemory => (Stage::Failed, "out of memory".to_owned()),
        Verdict::Cancelled => (Stage::Interrupted, "cancelled".to_owned()),
        Verdict::NodeFailed => (Stage::Interrupted, "its node failed".to_owned()),
        Verdict::Failed if !has_begun => (
            Stage::Failed,
            format!("its batch job could not begin it: {words}"),
        ),
        Verdict::Failed | Verdict::Completed => (
            Stage::Interrupted,
            format!("lost: its batch job is {words}"),
        ),
    }
}

/// An answer of a scheduler, for all processes to use.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    at: String,
    states: States,
    trouble: Option<String>,
}

/// Asks a scheduler, or returns what another process has been told a moment ago.
fn asked(
    workspace: &Workspace,
    scheduler: &dyn Scheduler,
    arrays: &[Array],
    pause: Duration,
) -> Result<Answer, String> {
    if arrays.is_empty() {
        return Ok(Answer::default());
    }
    let root = workspace.project_root();
    let _lock = Lock::acquire(&root.join(LOCK)).map_err(|error| with_causes(&error))?;
    if let Some(answer) = recent(&root.join(ANSWER), pause) {
        return Ok(answer);
    }
    let (states, trouble) = scheduler.poll(arrays);
    let answer = Answer {
        at: now(),
        states,
        trouble: trouble.map(|trouble| trouble.to_string()),
    };
    let bytes = serde_json::to_vec(&answer).unwrap_or_default();
    // Failing that, the next process asks itself.
    let _ = fsx::write_atomic(&root.join(ANSWER), &bytes, Durability::Process);
    Ok(answer)
}

fn recent(path: &Path, pause: Duration) -> Option<Answer> {
    let answer: Answer = serde_json::from_slice(&fsx::read(path).ok()?).ok()?;
    let age = jiff::Timestamp::now().duration_since(answer.at.parse().ok()?);
    let age = Duration::try_from(age).ok()?;
    (age < pause).then_some(answer)
}

/// Has the next process ask the scheduler, since something was changed there.
pub(super) fn forget_answer(workspace: &Workspace) {
    let _ = fsx::remove_file(&workspace.project_root().join(ANSWER));
}
