//! Following batch jobs to their end.

use super::bundle::{Bundle, prune_logs};
use super::cluster::{Cluster, Clusters};
use crate::exec::Machine;
use crate::fsx::{self, Durability, Lock};
use crate::report::with_causes;
use crate::scheduler::{Array, ArrayId, Seen, States, Verdict};
use crate::workflow::ledger::Ledger;
use crate::workflow::record::{Record, Stage, now};
use crate::workflow::sidecar::SidecarError;
use crate::workflow::summary::Summary;
use crate::workspace::Workspace;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The last answers of schedulers, below the project's directory, one for each cluster.
const ANSWERS: &str = ".sweepfs/batches/.answers";

/// The lock of the one who asks.
const LOCK: &str = ".sweepfs/locks/poll";

/// A submission from another machine that says no id for so long was interrupted.
const SUBMITTING_MAX: jiff::SignedDuration = jiff::SignedDuration::from_mins(15);

/// What is known of batch jobs.
#[derive(Debug, Default)]
pub struct Followed {
    /// The submissions of which not all has ended.
    pub bundles: Vec<Bundle>,
    /// What the schedulers say, by the names of submissions, and the ids of elements.
    pub states: HashMap<String, States>,
    /// What could not be found out.
    pub troubles: Vec<String>,
}

impl Followed {
    /// Returns what is said of the batch job that has an execution.
    pub fn state(&self, bundle: &Bundle, execution: u32) -> Option<&Seen> {
        self.states
            .get(&bundle.cluster)?
            .get(&bundle.batch_id(execution)?)
    }
}

/// Asks the schedulers about all that they have of us, unless somebody did so less than `pause` ago,
/// and records what has ended. Costs next to nothing if they have nothing.
pub fn follow(workspace: &Workspace, clusters: &Clusters, pause: Duration) -> Followed {
    let (bundles, troubles) = Bundle::all(workspace);
    let mut followed = Followed {
        troubles,
        ..Followed::default()
    };
    if bundles.is_empty() {
        return followed;
    }
    prune_logs(workspace);
    let mut by_cluster: BTreeMap<String, Vec<Bundle>> = BTreeMap::new();
    for bundle in bundles {
        let of_cluster = by_cluster.entry(bundle.cluster.clone()).or_default();
        of_cluster.push(bundle);
    }
    for (name, bundles) in by_cluster {
        match clusters.get(&name) {
            Some(cluster) => followed.follow(workspace, cluster, bundles, pause),
            None => {
                let trouble = format!(
                    "nothing is known of what was sent to `{name}`: no cluster is called so any more"
                );
                followed.troubles.push(trouble);
                followed.bundles.extend(bundles);
            }
        }
    }
    let has_open = |bundle: &Bundle| bundle.open().next().is_some();
    followed.bundles.retain(has_open);
    let key = |bundle: &Bundle| (bundle.submitted.clone(), bundle.name.clone());
    followed.bundles.sort_by_cached_key(key);
    followed.troubles.sort();
    followed.troubles.dedup();
    followed
}

impl Followed {
    /// Follows what was sent to one cluster.
    fn follow(
        &mut self,
        workspace: &Workspace,
        cluster: &Cluster,
        bundles: Vec<Bundle>,
        pause: Duration,
    ) {
        let mut current = Vec::new();
        for bundle in bundles {
            if let Err(trouble) = complete(workspace, cluster, &bundle) {
                self.troubles.push(trouble);
            }
            // What that has changed is in the note.
            match Bundle::read(workspace, &bundle.name) {
                Ok(bundle) => current.extend(bundle),
                Err(trouble) => self.troubles.push(trouble),
            }
        }
        let arrays: Vec<_> = current.iter().filter_map(Bundle::array).collect();
        let states = match asked(workspace, cluster, &arrays, pause) {
            Ok(answer) => {
                self.troubles.extend(answer.trouble.map(|trouble| {
                    format!("the scheduler does not say all, so what is queued or running may not be: {trouble}")
                }));
                answer.states
            }
            Err(trouble) => {
                self.troubles.push(trouble);
                States::new()
            }
        };
        for bundle in current {
            match settle(workspace, bundle, &states) {
                Ok(bundle) => self.bundles.push(bundle),
                Err(trouble) => self.troubles.push(trouble),
            }
        }
        self.states.insert(cluster.name().to_owned(), states);
    }
}

/// Ends what an interrupted submission has begun: finds out whether it has reached the scheduler.
fn complete(workspace: &Workspace, cluster: &Cluster, bundle: &Bundle) -> Result<(), String> {
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
        None => {
            let found = cluster.scheduler.find(&bundle.name).map_err(|trouble| {
                format!(
                    "it is not known whether the submission `{}` was sent: {trouble}",
                    bundle.name
                )
            })?;
            found.map(|id| cluster.scheduler.array_id(&id))
        }
    };
    match id {
        Some(id) => record_id(workspace, bundle, &id),
        None => withdraw(workspace, bundle, "not submitted"),
    }
}

/// Notes the id of a submission, first for all, then for each execution.
pub(super) fn record_id(
    workspace: &Workspace,
    bundle: &Bundle,
    id: &ArrayId,
) -> Result<(), String> {
    Bundle::update(workspace, &bundle.name, |note| {
        note.id = Some(id.clone());
    })?;
    let known = Bundle {
        id: Some(id.clone()),
        ..bundle.clone()
    };
    for execution in known.open() {
        change(workspace, &known, execution, |record| {
            if record.batch_id.is_none() {
                record.batch_id = known.batch_id(execution);
            }
        })?;
    }
    Bundle::update(workspace, &bundle.name, |note| note.is_recorded = true)
}

/// Gives back what a submission has claimed and nobody has begun.
pub(super) fn withdraw(workspace: &Workspace, bundle: &Bundle, reason: &str) -> Result<(), String> {
    for execution in bundle.open() {
        change(workspace, bundle, execution, |record| {
            if record.is_queued_by(&bundle.name) {
                record.withdraw(reason, &now());
            }
        })?;
    }
    let all: BTreeSet<_> = bundle.open().collect();
    Bundle::update(workspace, &bundle.name, |note| note.closed.extend(all))
}

/// Changes the record of an execution, if it is still that of the submission and has not ended.
/// Returns whether it was; a job that is gone has none.
pub(super) fn change(
    workspace: &Workspace,
    bundle: &Bundle,
    execution: u32,
    change: impl FnOnce(&mut Record),
) -> Result<bool, String> {
    let Some(execution) = bundle.executions.get(execution as usize) else {
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
    cluster: &Cluster,
    arrays: &[Array],
    pause: Duration,
) -> Result<Answer, String> {
    if arrays.is_empty() {
        return Ok(Answer::default());
    }
    let root = workspace.project_root();
    let _lock = Lock::acquire(&root.join(LOCK)).map_err(|error| with_causes(&error))?;
    let path = answer_path(workspace, cluster.name());
    if let Some(answer) = recent(&path, pause) {
        return Ok(answer);
    }
    let (states, trouble) = cluster.scheduler.poll(arrays);
    let answer = Answer {
        at: now(),
        states,
        trouble: trouble.map(|trouble| trouble.to_string()),
    };
    let bytes = serde_json::to_vec(&answer).unwrap_or_default();
    // Failing that, the next process asks itself.
    let _ = fsx::create_dir_all(&root.join(ANSWERS))
        .and_then(|()| fsx::write_atomic(&path, &bytes, Durability::Process));
    Ok(answer)
}

fn recent(path: &Path, pause: Duration) -> Option<Answer> {
    let answer: Answer = serde_json::from_slice(&fsx::read(path).ok()?).ok()?;
    let age = jiff::Timestamp::now().duration_since(answer.at.parse().ok()?);
    let age = Duration::try_from(age).ok()?;
    (age < pause).then_some(answer)
}

fn answer_path(workspace: &Workspace, cluster: &str) -> PathBuf {
    let dir = workspace.project_root().join(ANSWERS);
    dir.join(format!("{cluster}.json"))
}

/// Has the next process ask the scheduler, since something was changed there.
pub(super) fn forget_answer(workspace: &Workspace, cluster: &str) {
    let _ = fsx::remove_file(&answer_path(workspace, cluster));
}
