//! Sidecars that are changed, one at a time.

use super::sidecar::{FLOW_FILE, Sidecar, SidecarError};
use crate::fsx::{self, Dir, Lock};
use crate::statepoint::JobId;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

/// Where sidecars of aggregates of several jobs are, below the project's directory.
const AGGREGATES: &str = ".sweepfs/aggregates";

/// Where locks are, below the project's directory: one for all whose ids begin alike, for a file per
/// job would cost as many inodes as the jobs themselves.
const LOCKS: &str = ".sweepfs/locks";

/// The sidecar of an aggregate, wherever its directory is moved to.
#[derive(Debug)]
pub(super) struct Ledger {
    dir: Dir,
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
        // The last digit of both kinds of ids is one of a hash.
        let shard = &id[id.len().saturating_sub(2)..];
        Ok(Self {
            dir: Dir::open(&dir)?,
            name,
            lock: workspace.project_root().join(LOCKS).join(shard),
        })
    }

    /// Returns the open directory that holds it.
    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Changes it while no other process does. What `change` returns an error for is not written.
    pub(super) fn update<T, E: From<SidecarError>>(
        &self,
        change: impl FnOnce(&mut Sidecar) -> Result<T, E>,
    ) -> Result<T, E> {
        let _lock = Lock::acquire(&self.lock).map_err(SidecarError::from)?;
        let read = Sidecar::read(&self.dir, &self.name)?;
        let before = read.map(|(sidecar, _)| sidecar).unwrap_or_default();
        let mut sidecar = before.clone();
        let result = change(&mut sidecar)?;
        if sidecar != before {
            sidecar.write(&self.dir, &self.name)?;
        }
        Ok(result)
    }
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
