//! What a submission has sent, or was about to send.

use super::settle::Shared;
use crate::exec::{Machine, Process};
use crate::fsx::{self, Durability, FsError, Lock};
use crate::report::with_causes;
use crate::scheduler::{Array, ArrayId};
use crate::workspace::Workspace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What batch jobs print is kept that long though it is nothing, since they may still be ending.
const EMPTY_LOGS_KEPT: Duration = Duration::from_secs(3600);

/// Where submissions are noted, below the project's directory.
const BATCHES: &str = ".sweepfs/batches";

/// Where batch jobs print to, below the project's directory.
const LOGS: &str = ".sweepfs/logs/batch";

/// The lock of all notes, below the project's directory.
const LOCK: &str = ".sweepfs/locks/batches";

/// The note of one submission: an array of batch jobs, each of which has one execution or several. It
/// is there before the first record says that an execution is queued, and until the last one has
/// ended. Executions are counted from 0, in the order in which the elements have them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Its name, which the array has too.
    pub name: String,
    /// The cluster it goes to.
    pub cluster: String,
    /// The operation.
    pub operation: String,
    /// What the scheduler calls it, once that is known.
    pub id: Option<ArrayId>,
    /// Whether the records know that id.
    pub is_recorded: bool,
    /// When it was begun.
    pub submitted: String,
    /// The process that submits it: host, number, start.
    pub(super) submitter: (String, i32, String),
    /// What is executed.
    pub executions: Vec<BundleExecution>,
    /// So many executions each element has; the last may have fewer.
    #[serde(default = "one")]
    pub per_element: u32,
    /// Whether an element begins all of its executions at once, not one after the other.
    #[serde(default)]
    pub is_parallel: bool,
    /// Whether other submissions had to end before, so that an element looks whether its executions
    /// can be done at all.
    #[serde(default)]
    pub is_chained: bool,
    /// What it does instead of executing something in particular.
    #[serde(default)]
    pub pilot: Option<Pilot>,
    /// The executions whose end is recorded; of pilots the elements.
    pub closed: BTreeSet<u32>,
}

fn one() -> u32 {
    1
}

/// Batch jobs that execute whatever can be executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pilot {
    /// How many there are.
    pub n: u32,
    /// The operations, by their names.
    pub operations: Vec<String>,
    /// The words of a filter; none is all jobs.
    pub filter: Vec<String>,
    /// Only these jobs; `None` is all.
    pub jobs: Option<Vec<String>>,
    /// The cores of each.
    pub cores: u32,
    /// The GPUs of each.
    pub gpus: u32,
    /// The memory of each; `None` is what the cluster gives.
    pub memory_bytes: Option<u64>,
    /// The time of each; `None` is what the cluster gives.
    pub walltime_s: Option<u64>,
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleExecution {
    /// The id of the aggregate.
    pub id: String,
    /// Its jobs.
    pub jobs: Vec<String>,
}

impl Bundle {
    /// Returns the notes of a project, sorted by the time of their submission. What is not usable is
    /// described.
    pub fn all(workspace: &Workspace) -> (Vec<Self>, Vec<String>) {
        let (mut found, mut troubles) = (Vec::new(), Vec::new());
        let dir = workspace.project_root().join(BATCHES);
        let mut names = Vec::new();
        let listed = fsx::for_each_entry(&dir, |entry| {
            let name = entry.name.to_string_lossy();
            if let Some(name) = name
                .strip_suffix(".json")
                .filter(|name| !name.starts_with('.'))
            {
                names.push(name.to_owned());
            }
        });
        match listed {
            Err(error) if error.kind() != ErrorKind::NotFound => troubles.push(with_causes(&error)),
            _ => {}
        }
        for name in names {
            match Self::read(workspace, &name) {
                Ok(Some(bundle)) => found.push(bundle),
                Ok(None) => {}
                Err(error) => troubles.push(error),
            }
        }
        found.sort_by(|a, b| (&a.submitted, &a.name).cmp(&(&b.submitted, &b.name)));
        (found, troubles)
    }

    /// Reads a note, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read or understood.
    pub fn read(workspace: &Workspace, name: &str) -> Result<Option<Self>, String> {
        let path = place(workspace, name);
        let bytes = match fsx::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(with_causes(&error)),
        };
        let bundle = serde_json::from_slice(&bytes);
        bundle
            .map(Some)
            .map_err(|error| format!("`{}` is no note of a submission: {error}", path.display()))
    }

    /// Writes a new note.
    pub(super) fn create(&self, workspace: &Workspace) -> Result<(), FsError> {
        fsx::create_dir_all(&workspace.project_root().join(BATCHES))?;
        self.write(workspace)
    }

    fn write(&self, workspace: &Workspace) -> Result<(), FsError> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        fsx::write_atomic(&place(workspace, &self.name), &bytes, Durability::Process)
    }

    /// Changes the note, if it is still there, while no other process does; it is removed when all
    /// elements are closed.
    pub(super) fn update(
        workspace: &Workspace,
        name: &str,
        change: impl FnOnce(&mut Self),
    ) -> Result<(), String> {
        let lock = Lock::acquire(&workspace.project_root().join(LOCK));
        let _lock = lock.map_err(|error| with_causes(&error))?;
        let Some(before) = Self::read(workspace, name)? else {
            return Ok(());
        };
        let mut bundle = before.clone();
        change(&mut bundle);
        let written = match bundle.is_over() {
            true => bundle.remove(workspace),
            false if bundle == before => Ok(()),
            false => bundle.write(workspace),
        };
        written.map_err(|error| with_causes(&error))
    }

    fn is_over(&self) -> bool {
        self.closed.len() >= self.n_parts() as usize
    }

    /// Returns how many ends it waits for.
    fn n_parts(&self) -> u32 {
        let pilots = self.pilot.as_ref().map(|pilot| pilot.n);
        pilots.unwrap_or(self.executions.len() as u32)
    }

    /// Returns how its executions share a batch job.
    pub fn shared(&self) -> Shared {
        match (&self.pilot, self.per_element > 1) {
            (None, false) => Shared::No,
            (None, true) if !self.is_parallel => Shared::InTurn,
            _ => Shared::AtOnce,
        }
    }

    /// Removes the note and the script.
    fn remove(&self, workspace: &Workspace) -> Result<(), FsError> {
        // That it had none yet is fine.
        let _ = fsx::remove_file(&self.script(workspace));
        fsx::remove_file(&place(workspace, &self.name))
    }

    /// Returns where its script is.
    pub(super) fn script(&self, workspace: &Workspace) -> PathBuf {
        script_path(workspace, &self.name)
    }

    /// Returns the executions, or elements of pilots, whose end is not recorded.
    pub fn open(&self) -> impl Iterator<Item = u32> {
        (0..self.n_parts()).filter(|execution| !self.closed.contains(execution))
    }

    /// Returns the element that has an execution.
    pub fn element(&self, execution: u32) -> u32 {
        execution / self.per_element.max(1)
    }

    /// Returns the executions of an element, by their numbers.
    pub fn of_element(&self, element: u32) -> Range<u32> {
        let n = self.n_parts();
        let first = element.saturating_mul(self.per_element.max(1)).min(n);
        first..first.saturating_add(self.per_element.max(1)).min(n)
    }

    /// Returns the id of the batch job that has an execution, once it is known.
    pub fn batch_id(&self, execution: u32) -> Option<String> {
        let element = self.element(execution);
        self.id.as_ref().map(|id| id.element(element))
    }

    /// Returns what a scheduler is asked for.
    pub(super) fn array(&self) -> Option<Array> {
        let mut elements: Vec<_> = self.open().map(|open| self.element(open)).collect();
        elements.dedup();
        Some(Array {
            id: self.id.clone()?,
            name: self.name.clone(),
            elements,
        })
    }

    /// Tells whether the process that submits it is still there; `None` if it is on another machine.
    pub(super) fn is_being_submitted(&self, machine: &Machine) -> Option<bool> {
        let (host, pid, start) = self.submitter.clone();
        machine.runs(&Process { host, pid, start })
    }
}

fn place(workspace: &Workspace, name: &str) -> PathBuf {
    below(workspace, Path::new(BATCHES), &format!("{name}.json"))
}

/// Returns where the script of a submission is.
pub(super) fn script_path(workspace: &Workspace, name: &str) -> PathBuf {
    below(workspace, Path::new(BATCHES), &format!("{name}.sh"))
}

/// Returns where the batch jobs of a submission print to.
pub(super) fn logs_path(workspace: &Workspace, name: &str) -> PathBuf {
    below(workspace, Path::new(LOGS), name)
}

/// Removes the empty logs of submissions that are over. Batch jobs print nothing if all goes well, for
/// what their executions print has logs of its own.
pub(super) fn prune_logs(workspace: &Workspace) {
    let logs = workspace.project_root().join(LOGS);
    let mut names = Vec::new();
    // There may be none yet.
    let _ = fsx::for_each_entry(&logs, |entry| names.push(entry.name.to_owned()));
    for name in names {
        if fsx::stamp(&place(workspace, &name.to_string_lossy())).is_err() {
            fsx::remove_empty_files(&logs.join(name), EMPTY_LOGS_KEPT);
        }
    }
}

fn below(workspace: &Workspace, dir: &Path, name: &str) -> PathBuf {
    workspace.project_root().join(dir).join(name)
}
