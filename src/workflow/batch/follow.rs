//! Following batch jobs to their end.

use super::bundle::{Bundle, prune_logs};
use super::cluster::{Cluster, Clusters};
use super::settle::settle;
use crate::exec::Machine;
use crate::fsx::{self, Durability, FsError, Lock};
use crate::report::with_causes;
use crate::scheduler::{Array, ArrayId, Seen, States};
use crate::workflow::ledger::Ledger;
use crate::workflow::record::{Record, Stage, now};
use crate::workflow::sidecar::SidecarError;
use crate::workspace::Workspace;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The last answers of schedulers, below the project's directory, one for each cluster.
const ANSWERS: &str = ".sweepfs/batches/.answers";

/// The lock of the one who asks.
const LOCK: &str = ".sweepfs/locks/poll";

/// A submission from another machine that says no id for so long was interrupted; so was one from so
/// long ahead, since no clock is that wrong.
const SUBMITTING_MAX: jiff::SignedDuration = jiff::SignedDuration::from_mins(15);

/// The accounting is not given more time than so many pauses between questions: whoever asks without
/// a pause has a cluster for himself, and its accounting is up to date.
const LAG_PAUSES: u32 = 9;

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
                    "nothing is known of what was sent to `{name}`: no cluster is called so any more; \
                     describe it again, or remove its notes from `.sweepfs/batches/`"
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
        let pause = match cluster.scheduler.is_ours() {
            true => Duration::ZERO,
            false => pause,
        };
        let lag = cluster.scheduler.accounting_lag().min(pause * LAG_PAUSES);
        let mut unsure = HashSet::new();
        let states = match asked(workspace, cluster, &arrays, pause) {
            Ok(answer) => {
                unsure = answer.unsure(lag);
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
            match settle(workspace, bundle, &states, &unsure) {
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
        submitted.is_some_and(|at| jiff::Timestamp::now().duration_since(at).abs() < SUBMITTING_MAX)
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

/// Ends what an element of a submission has not begun: gives it back for a reason, or with none
/// records that it could not be begun.
///
/// # Errors
///
/// Fails if something cannot be recorded.
pub fn give_back(
    workspace: &Workspace,
    bundle: &Bundle,
    executions: &[(u32, Option<String>)],
) -> Result<(), String> {
    let mut closed = BTreeSet::new();
    for (execution, reason) in executions {
        change(workspace, bundle, *execution, |record| {
            match reason {
                _ if !record.is_queued_by(&bundle.name) => return,
                Some(reason) => record.withdraw(reason, &now()),
                None => {
                    let reason = "its batch job could not begin it".to_owned();
                    record.end(Stage::Failed, Some(reason), &now());
                }
            }
            closed.insert(*execution);
        })?;
    }
    if closed.is_empty() {
        return Ok(());
    }
    Bundle::update(workspace, &bundle.name, |note| note.closed.extend(closed))
}

/// Notes that an element of pilots has ended, all of whose executions have recorded their ends.
///
/// # Errors
///
/// Fails if it cannot be noted; it is found out then.
pub fn close_pilot(workspace: &Workspace, name: &str, element: u32) -> Result<(), String> {
    Bundle::update(workspace, name, |note| {
        note.closed.insert(element);
    })
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
    let changed = Ledger::open(workspace, &execution.id).and_then(|ledger| {
        ledger.update(|sidecar| {
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
            Ok(is_ours)
        })
    });
    match changed {
        Err(error) if is_gone(workspace, &error) => Ok(false),
        changed => changed.map_err(|error| format!("{}: {}", execution.id, with_causes(&error))),
    }
}

/// Tells whether an error means that a job is gone, and not the whole workspace.
pub(super) fn is_gone(workspace: &Workspace, error: &SidecarError) -> bool {
    let is_missing = |error: &FsError| error.kind() == std::io::ErrorKind::NotFound;
    matches!(error, SidecarError::Fs(error) if is_missing(error)) && workspace.dir().is_dir()
}

/// An answer of a scheduler, for all processes to use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    /// Empty is that something was changed since.
    at: String,
    states: States,
    trouble: Option<String>,
    /// Since when the batch jobs are gone that are.
    #[serde(default)]
    gone_since: HashMap<String, String>,
}

impl Answer {
    /// Notes since when batch jobs are gone, by what was known before. No answer is no news.
    fn with_gone_since(mut self, previous: Option<&Self>, arrays: &[Array]) -> Self {
        for id in arrays.iter().flat_map(Array::element_ids) {
            let before = previous.and_then(|previous| previous.gone_since.get(&id).cloned());
            let since = match self.states.get(&id) {
                Some(Seen::Gone) => Some(before.unwrap_or_else(|| self.at.clone())),
                Some(_) => None,
                None => before,
            };
            self.gone_since.extend(since.map(|since| (id, since)));
        }
        self
    }

    /// Returns the batch jobs that are gone for a shorter time than the accounting may take.
    fn unsure(&self, lag: Duration) -> HashSet<String> {
        let at: Option<jiff::Timestamp> = self.at.parse().ok();
        let is_recent = |since: &String| {
            let gone_for = at?.duration_since(since.parse().ok()?);
            Some(Duration::try_from(gone_for).unwrap_or_default() < lag)
        };
        let recent = self.gone_since.iter();
        recent
            .filter(|(_, since)| is_recent(since) == Some(true))
            .map(|(id, _)| id.clone())
            .collect()
    }
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
    let previous = last_answer(&path);
    if let Some(answer) = previous.as_ref().filter(|answer| is_recent(answer, pause)) {
        return Ok(answer.clone());
    }
    let (states, trouble) = cluster.scheduler.poll(arrays);
    let answer = Answer {
        at: now(),
        states,
        trouble: trouble.map(|trouble| trouble.to_string()),
        gone_since: HashMap::new(),
    };
    let answer = answer.with_gone_since(previous.as_ref(), arrays);
    // Failing that, the next process asks itself.
    let _ = fsx::create_dir_all(&root.join(ANSWERS)).and_then(|()| keep_answer(&path, &answer));
    Ok(answer)
}

fn last_answer(path: &Path) -> Option<Answer> {
    serde_json::from_slice(&fsx::read(path).ok()?).ok()
}

fn keep_answer(path: &Path, answer: &Answer) -> fsx::Result<()> {
    let bytes = serde_json::to_vec(answer).unwrap_or_default();
    fsx::write_atomic(path, &bytes, Durability::Process)
}

fn is_recent(answer: &Answer, pause: Duration) -> bool {
    let age = |at| Duration::try_from(jiff::Timestamp::now().duration_since(at)).ok();
    let age = answer.at.parse().ok().and_then(age);
    age.is_some_and(|age| age < pause)
}

fn answer_path(workspace: &Workspace, cluster: &str) -> PathBuf {
    let dir = workspace.project_root().join(ANSWERS);
    dir.join(format!("{cluster}.json"))
}

/// Has the next process ask the scheduler, since something was changed there.
pub(super) fn forget_answer(workspace: &Workspace, cluster: &str) {
    let path = answer_path(workspace, cluster);
    let Some(answer) = last_answer(&path) else {
        return;
    };
    let old = Answer {
        at: String::new(),
        ..answer
    };
    if keep_answer(&path, &old).is_err() {
        let _ = fsx::remove_file(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_waits_for_the_accounting() {
        let array = Array {
            id: ArrayId::new("7", "7.", 1),
            name: "fly-1".to_owned(),
            elements: vec![0, 1],
        };
        let arrays = [array];
        let lag = Duration::from_secs(90);
        let answer = |at: &str, first: Option<Seen>, previous: Option<&Answer>| {
            let states = first.map(|seen| ("7.1".to_owned(), seen));
            let answer = Answer {
                at: format!("2026-11-24T12:{at}Z"),
                states: states.into_iter().collect(),
                ..Answer::default()
            };
            answer.with_gone_since(previous, &arrays)
        };
        let is_unsure = |answer: &Answer| answer.unsure(lag).contains("7.1");
        let runs = answer("00:00", Some(Seen::Active(None)), None);
        assert!(!is_unsure(&runs));
        let gone = answer("00:10", Some(Seen::Gone), Some(&runs));
        assert!(is_unsure(&gone) && gone.unsure(Duration::ZERO).is_empty());
        // Meanwhile there was no answer, and somebody has changed something.
        let silent = answer("00:50", None, Some(&gone));
        let silent = Answer {
            at: String::new(),
            ..silent
        };
        let still = answer("01:39", Some(Seen::Gone), Some(&silent));
        assert!(is_unsure(&still));
        let long = answer("01:40", Some(Seen::Gone), Some(&still));
        assert!(!is_unsure(&long));
        // It was there, after all.
        let back = answer("01:41", Some(Seen::Active(None)), Some(&long));
        assert!(is_unsure(&answer("01:42", Some(Seen::Gone), Some(&back))));
    }
}
