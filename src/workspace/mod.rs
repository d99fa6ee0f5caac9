//! The data space on disk: find the project; list, read, create and change jobs and documents.
//!
//! The layout is signac's schema version 2, byte for byte; where signac 2.4.1 has a defect we do
//! the safe thing (`docs/signac.md`).

mod cache;
mod create;
mod document;
mod list;
mod project;
mod read;
mod repair;

pub use cache::StatePointCache;
pub use create::Creation;
pub use document::Edit;
pub use list::Listing;
pub use project::{Project, ProjectError};
pub use read::{JobState, StatePointFile};
pub use repair::{Mend, Plan, Quiet};

use crate::fsx::{self, FsError, Stamp};
use crate::pyjson::PyStr;
use crate::report::Problem;
use crate::statepoint::{JobId, StatePointError};
use std::path::{Path, PathBuf};

/// Name of the file that holds a job's state point.
pub const STATEPOINT_FILE: &str = "signac_statepoint.json";

/// Name of the file that holds a job's document.
pub const DOCUMENT_FILE: &str = "signac_job_document.json";

/// Larger state points and documents are refused; the largest known in the wild is 78 MB.
const JSON_SIZE_BYTES_MAX: u64 = 1 << 30;

/// Prefix of the directories in which new jobs are built.
const BUILD_PREFIX: &str = ".sweepfs-";

/// What can go wrong with one job or document.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// An operation on a file failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A state point may not be written.
    #[error(transparent)]
    StatePoint(#[from] StatePointError),
    /// The job is there but damaged.
    #[error("the job {0}")]
    Damaged(Problem),
    /// There is no job of that id.
    #[error("no job has the id `{0}`")]
    NoSuchJob(String),
    /// Several ids start with the text.
    #[error("`{prefix}` is the beginning of {n_matches} ids")]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// How many ids.
        n_matches: usize,
        /// Some of them, sorted.
        examples: Vec<JobId>,
    },
    /// A document is not what signac writes.
    #[error("the document `{}` is not usable: {reason}", path.display())]
    BadDocument {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key to set lies below a value that is no object.
    #[error("cannot set `{key}` in `{}`: `{parent}` is not an object", path.display())]
    NotNested {
        /// The document.
        path: PathBuf,
        /// The key to set.
        key: String,
        /// The part that holds something else.
        parent: PyStr,
    },
    /// A key to delete is not there.
    #[error("`{}` has no key `{key}`", path.display())]
    NoSuchKey {
        /// The document.
        path: PathBuf,
        /// The key.
        key: String,
    },
}

impl WorkspaceError {
    /// Tells whether permission was missing.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Fs(error) if error.kind() == std::io::ErrorKind::PermissionDenied)
    }
}

/// The directory that holds the jobs of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    project_root: PathBuf,
    dir: PathBuf,
}

impl Workspace {
    /// The workspace of a project's directory, whether it exists or not.
    pub fn of_project(root: &Path) -> Self {
        Self {
            project_root: root.to_owned(),
            dir: root.join("workspace"),
        }
    }

    /// Returns `<project>/workspace`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the project's directory.
    pub fn project_root(&self) -> &Path {
        &self.project_root
    }

    /// Returns a job's directory, whether it exists or not.
    pub fn job_dir(&self, id: &JobId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Returns the path of a job's state point, whether it exists or not.
    pub fn statepoint_path(&self, id: &JobId) -> PathBuf {
        self.job_dir(id).join(STATEPOINT_FILE)
    }

    /// Returns the path of a job's document, whether it exists or not.
    pub fn document_path(&self, id: &JobId) -> PathBuf {
        self.job_dir(id).join(DOCUMENT_FILE)
    }

    /// Makes the directory if it is missing, as signac does when it opens a project.
    pub fn ensure(&self) -> fsx::Result<()> {
        fsx::create_dir_all(&self.dir)
    }

    /// Returns what changes when an entry is added or removed, or when another directory takes the
    /// place of this one; `None` if there is no workspace yet.
    pub fn stamp(&self) -> fsx::Result<Option<Stamp>> {
        match fsx::stamp(&self.dir) {
            Ok(stamp) => Ok(Some(stamp)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
