//! Reading state points.

use super::{JSON_SIZE_BYTES_MAX, STATEPOINT_FILE, Workspace, WorkspaceError};
use crate::fsx::{Dir, FsError, TimeNs};
use crate::pyjson;
use crate::report::Problem;
use crate::statepoint::{JobId, StatePoint};
use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::Path;

/// A state point as it was found on disk, verified against the id.
#[derive(Clone, Debug)]
pub struct StatePointFile {
    /// The parameters in the order of the file.
    pub statepoint: StatePoint,
    /// When the file was written: the job's age.
    pub modified: TimeNs,
}

/// What a look at one job directory found.
#[derive(Clone, Debug)]
pub enum JobState {
    /// A job whose state point has the id of its directory.
    Sound(StatePointFile),
    /// A directory that is not, or not yet, a job.
    Damaged(Problem),
    /// Removed meanwhile.
    Gone,
}

impl Workspace {
    /// Reads and verifies one job; `dir` is the open workspace.
    pub fn read_job(&self, dir: &Dir, id: &JobId) -> JobState {
        let name = format!("{id}/{STATEPOINT_FILE}");
        let damaged = |reason: String, hint| {
            JobState::Damaged(Problem {
                subject: id.to_string(),
                path: self.dir().join(&name),
                reason,
                hint: Some(Cow::Borrowed(hint)),
            })
        };
        let (bytes, stamp) = match dir.read_file(Path::new(&name), JSON_SIZE_BYTES_MAX) {
            Ok(read) => read,
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && !dir.contains(Path::new(&id.to_string())) =>
            {
                return JobState::Gone;
            }
            Err(error) => {
                let (reason, hint) = explain_unreadable(&error);
                return damaged(reason, hint);
            }
        };
        let value = match pyjson::parse_bytes(&bytes) {
            Ok(value) => value,
            Err(error) => return damaged(format!("its state point is not JSON: {error}"), RESTORE),
        };
        let statepoint = match StatePoint::from_value(value) {
            Ok(statepoint) => statepoint,
            Err(error) => return damaged(error.to_string(), RESTORE),
        };
        match statepoint.id() {
            found if found == *id => JobState::Sound(StatePointFile {
                statepoint,
                modified: stamp.modified,
            }),
            found => damaged(
                format!("its state point belongs to the id {found}"),
                "rename the directory to that id, or restore the file",
            ),
        }
    }

    /// Reads the state point of one job.
    pub fn statepoint(&self, id: &JobId) -> Result<StatePoint, WorkspaceError> {
        match self.read_job(&Dir::open(self.dir())?, id) {
            JobState::Sound(file) => Ok(file.statepoint),
            JobState::Damaged(problem) => Err(WorkspaceError::Damaged(problem)),
            JobState::Gone => Err(WorkspaceError::NoSuchJob(id.to_string())),
        }
    }
}

const RESTORE: &str = "restore the file from a copy, or remove the job directory";

fn explain_unreadable(error: &FsError) -> (String, &'static str) {
    match error.kind() {
        ErrorKind::NotFound => (
            "it has no state point file".to_owned(),
            "remove the directory if it is empty, or restore the file",
        ),
        ErrorKind::PermissionDenied => (
            "its state point cannot be read: permission denied".to_owned(),
            "give yourself read permission",
        ),
        _ => (
            format!("its state point cannot be read: {}", error.cause),
            RESTORE,
        ),
    }
}
