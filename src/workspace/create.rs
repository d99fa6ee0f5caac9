//! Creating jobs.

use super::{BUILD_PREFIX, JobState, STATEPOINT_FILE, Workspace, WorkspaceError};
use crate::fsx::{self, Dir, Durability, FsError};
use crate::statepoint::{JobId, StatePoint};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// How often a directory without a state point is looked at again before it is taken for left over.
const PATIENCE: u32 = 20;

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(1);

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
    /// create one job, one makes it. A directory in its place that lacks the state point file is
    /// never replaced, for signac makes it before and removes it after the file; if it stays so,
    /// it gets the file.
    pub fn create(&self, statepoint: &StatePoint) -> Result<(JobId, Creation), WorkspaceError> {
        statepoint.check_keys()?;
        let id = statepoint.id();
        let text = statepoint.object().dumps();
        for _ in 0..PATIENCE {
            if let Some(creation) = self.try_create(&id, text.as_bytes())? {
                return Ok((id, creation));
            }
            std::thread::sleep(PAUSE);
        }
        fsx::write_atomic(
            &self.statepoint_path(&id),
            text.as_bytes(),
            Durability::Process,
        )?;
        Ok((id, Creation::Created))
    }

    /// Makes the job, or finds it; `None` if there is a directory without a state point.
    fn try_create(&self, id: &JobId, text: &[u8]) -> Result<Option<Creation>, WorkspaceError> {
        let path = self.statepoint_path(id);
        if path.exists() {
            return match self.read_job(&Dir::open(self.dir())?, id) {
                JobState::Sound(_) => Ok(Some(Creation::Existed)),
                JobState::Damaged(problem) if path.exists() => {
                    Err(WorkspaceError::Damaged(problem))
                }
                JobState::Damaged(_) | JobState::Gone => Ok(None),
            };
        }
        match self.build(&self.job_dir(id), text) {
            Ok(()) => Ok(Some(Creation::Created)),
            Err(error) => match error.kind() {
                ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => Ok(None),
                _ => Err(error.into()),
            },
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
}
