//! Sidecars that are changed, one at a time.

use super::sidecar::{FLOW_FILE, Sidecar, SidecarError};
use crate::fsx::{self, Dir, Lock};
use crate::statepoint::JobId;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where sidecars of aggregates of several jobs are, below the project's directory.
const AGGREGATES: &str = ".sweepfs/aggregates";

/// Where locks are, below the project's directory: one for all whose ids end alike, for a file per
/// job would cost as many inodes as the jobs themselves.
const LOCKS: &str = ".sweepfs/locks";

/// The sidecar of an aggregate, wherever its directory is moved to.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    /// Opened at the first change, while the lock is held: a network file system must not answer
    /// from what it has known of the directory before.
    dir: OnceLock<Dir>,
    name: PathBuf,
    lock: PathBuf,
}

impl Ledger {
    /// Opens the place of the sidecar of an aggregate, by its id. That of a job must exist.
    pub(super) fn open(workspace: &Workspace, id: &str) -> Result<Self, SidecarError> {
        let (dir, name) = place(workspace, id);
        if id.parse::<JobId>().is_err() {
            fsx::create_dir_all(&dir)?;
        }
        Ok(Self {
            path: dir,
            dir: OnceLock::new(),
            name,
            lock: sidecar_lock(workspace, id),
        })
    }

    /// Returns the path of the directory that holds it, which may have been renamed since the first
    /// change.
    pub(super) fn current_path(&self) -> Option<PathBuf> {
        self.dir.get().and_then(Dir::current_path)
    }

    /// Changes it while no other process does. What `change` returns an error for is not written.
    pub(super) fn update<T, E: From<SidecarError>>(
        &self,
        change: impl FnOnce(&mut Sidecar) -> Result<T, E>,
    ) -> Result<T, E> {
        let _lock = Lock::acquire(&self.lock).map_err(SidecarError::from)?;
        let dir = match self.dir.get() {
            Some(dir) => dir,
            None => {
                let opened = Dir::open(&self.path).map_err(SidecarError::from)?;
                self.dir.get_or_init(|| opened)
            }
        };
        let read = Sidecar::read(dir, &self.name)?;
        let before = read.map(|(sidecar, _)| sidecar).unwrap_or_default();
        let mut sidecar = before.clone();
        let result = change(&mut sidecar)?;
        if sidecar != before {
            sidecar.write(dir, &self.name)?;
        }
        Ok(result)
    }
}

/// Returns the file whose lock a writer holds while it changes the sidecar of an aggregate.
pub fn sidecar_lock(workspace: &Workspace, id: &str) -> PathBuf {
    // The last digit of both kinds of ids is one of a hash.
    let shard = &id[id.len().saturating_sub(2)..];
    workspace.project_root().join(LOCKS).join(shard)
}

/// Reads the sidecar of an aggregate, if there is one; an error comes with its path.
pub(super) fn read(
    workspace: &Workspace,
    id: &str,
) -> Result<Option<Sidecar>, (PathBuf, SidecarError)> {
    let (dir, name) = place(workspace, id);
    let path = dir.join(&name);
    let read = match Dir::open(&dir) {
        Ok(dir) => Sidecar::read(&dir, &name),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error.into()),
    };
    match read {
        Ok(read) => Ok(read.map(|(sidecar, _)| sidecar)),
        Err(error) => Err((path, error)),
    }
}

/// Returns the ids of the aggregates of several jobs that have a sidecar.
pub(super) fn aggregate_ids(workspace: &Workspace) -> fsx::Result<Vec<String>> {
    let mut ids = Vec::new();
    let listed = fsx::for_each_entry(&workspace.project_root().join(AGGREGATES), |entry| {
        let id = entry
            .name
            .to_str()
            .and_then(|name| name.strip_suffix(".json"));
        ids.extend(id.filter(|id| id.starts_with("agg-")).map(str::to_owned));
    });
    match listed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map(|()| ids),
    }
}

/// Returns the directory that holds the sidecar of an aggregate, and its name there.
fn place(workspace: &Workspace, id: &str) -> (PathBuf, PathBuf) {
    match id.parse::<JobId>() {
        Ok(id) => (workspace.job_dir(&id), FLOW_FILE.into()),
        Err(_) => (
            workspace.project_root().join(AGGREGATES),
            Path::new(&format!("{id}.json")).to_owned(),
        ),
    }
}
