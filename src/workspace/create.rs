//! Creating jobs.

use super::{BUILD_PREFIX, JobState, STATEPOINT_FILE, Workspace, WorkspaceError};
use crate::fsx::{self, Dir, Durability, FsError};
use crate::statepoint::{JobId, StatePoint};
use std::io::ErrorKind;
use std::path::Path;
use uuid::Uuid;

/// Whether a job had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It was made now.
    Created,
    /// It was there.
    Existed,
}

impl Workspace {
    /// Makes sure that the job of a state point exists.
    ///
    /// A new job appears whole: it is built beside the others and renamed. Of two processes that
    /// create one job, one makes it. A directory in its place that lacks the state point file gets
    /// it, and is never replaced: signac makes an empty directory before it writes into it.
    pub fn create(&self, statepoint: &StatePoint) -> Result<(JobId, Creation), WorkspaceError> {
        statepoint.check_keys()?;
        let id = statepoint.id();
        let target = self.job_dir(&id);
        if target.join(STATEPOINT_FILE).exists() {
            return self.verify_existing(&id);
        }
        let text = statepoint.object().dumps();
        match self.build(&target, text.as_bytes()) {
            Ok(()) => Ok((id, Creation::Created)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) =>
            {
                self.complete(&id, text.as_bytes())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn build(&self, target: &Path, statepoint: &[u8]) -> Result<(), FsError> {
        let build = self.dir().join(format!("{BUILD_PREFIX}{}", Uuid::new_v4()));
        fsx::create_dir(&build)?;
        let built = fsx::write_new(
            &build.join(STATEPOINT_FILE),
            statepoint,
            Durability::Process,
        )
        .and_then(|()| fsx::rename_new(&build, target));
        if built.is_err() {
            let _ = fsx::remove_dir_all(&build);
        }
        built
    }

    fn complete(&self, id: &JobId, statepoint: &[u8]) -> Result<(JobId, Creation), WorkspaceError> {
        let path = self.job_dir(id).join(STATEPOINT_FILE);
        if path.exists() {
            return self.verify_existing(id);
        }
        fsx::write_atomic(&path, statepoint, Durability::Process)?;
        Ok((*id, Creation::Created))
    }

    fn verify_existing(&self, id: &JobId) -> Result<(JobId, Creation), WorkspaceError> {
        match self.read_job(&Dir::open(self.dir())?, id) {
            JobState::Sound(_) => Ok((*id, Creation::Existed)),
            JobState::Damaged(problem) => Err(WorkspaceError::Damaged(problem)),
            JobState::Gone => Err(WorkspaceError::NoSuchJob(id.to_string())),
        }
    }
}
