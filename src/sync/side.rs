//! What must be possible with a data space, wherever it is.

use super::local::LocalSide;
use super::pace::Pace;
use super::path::{Place, RelPath};
use super::state::Stamp;
use super::tree::{Entry, JobTree, Tree};
use crate::fsx::{FsError, TimeNs};
use crate::report::{Observer, Problem};
use crate::statepoint::JobId;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use uuid::Uuid;

/// One of the two data spaces that are compared: that from which we are called, and the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// The one from which sync is called.
    Local,
    /// The other one, which may be on another machine.
    Remote,
}

impl Whose {
    /// Returns the other one.
    pub fn other(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }
}

/// Why a sync ended, or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// There is no project.
    #[error("`{0}` is no signac project")]
    NoProject(String),
    /// Both are the same.
    #[error("`{0}` and the project are the same")]
    Same(String),
    /// One lies among the jobs of the other, and would be copied into itself.
    #[error("`{0}` and the project lie in each other: one is below the other's workspace")]
    Nested(String),
    /// Another sync is at work.
    #[error("another sync is at work on `{}`{}", root.display(), of_process(pid))]
    Locked {
        /// The project.
        root: PathBuf,
        /// Its process, on whatever machine.
        pid: Option<String>,
    },
    /// Something would go that should perhaps stay; nothing was changed.
    #[error("{message}")]
    Refused {
        /// What it is.
        message: String,
        /// What the user can do about it.
        hint: &'static str,
    },
    /// The other machine, or a program that leads there, failed.
    #[error("{message}")]
    Failed {
        /// What happened.
        message: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
}

fn of_process(pid: &Option<String>) -> String {
    pid.as_ref()
        .map_or_else(String::new, |pid| format!(", process {pid}"))
}

/// What a data space holds.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The files.
    pub tree: Tree,
    /// There is a directory for jobs. Without one, the disk may just not be mounted.
    pub has_workspace: bool,
    /// What is left out, and why: jobs that are not what they should be, devices, other file
    /// systems.
    pub problems: Vec<Problem>,
    /// The jobs among them, sorted: they are there, but nothing is known of them.
    pub left_out: Vec<JobId>,
    /// The entries of jobs among them: nothing is known of them, and of what is below.
    pub hidden: Vec<Place>,
    /// Files that a sync which was killed left behind ([`is_incoming`](super::is_incoming)).
    pub leftovers: Vec<Place>,
}

/// What reading a small file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundText {
    /// Its content, and what the file was just before it was read.
    Text(Vec<u8>, Entry),
    /// There is no regular file.
    Absent,
    /// It cannot be read, and why; a lower-case fragment.
    Unreadable(String),
}

/// What was done with one file: what it is now, `None` if it is no more; or why nothing was done, a
/// lower-case fragment.
pub type Outcome = Result<Option<Entry>, String>;

/// The MD5 of a file's content.
pub type FileDigest = [u8; 16];

/// What belongs to one run of sync.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its name, of ASCII letters, digits and `-`: the directory in the trash.
    pub id: String,
    /// The present time.
    pub now: TimeNs,
    /// Files are taken as they are, though somebody is just writing them.
    pub takes_growing: bool,
    /// How fast it may be, and how long. What is not done for that is [`STOPPED`](super::STOPPED).
    pub pace: Pace,
}

/// A small file to be written.
#[derive(Clone, Debug)]
pub struct NewText {
    /// Where.
    pub place: Place,
    /// The whole content.
    pub bytes: Vec<u8>,
    /// The time that it shall have, if it is that of the other side.
    pub modified: Option<TimeNs>,
    /// What must still be there; `None` is nothing.
    pub before: Option<Entry>,
}

/// A file to be copied to the same place in the other data space. Directories and links are copied
/// as such.
#[derive(Clone, Debug)]
pub struct FileCopy {
    /// Where.
    pub place: Place,
    /// What it was when it was listed.
    pub source: Entry,
    /// What must still be in its place; `None` is nothing.
    pub before: Option<Entry>,
}

/// A job to be copied to a data space that lacks it.
#[derive(Clone, Debug)]
pub struct JobCopy {
    /// The job.
    pub id: JobId,
    /// What is copied: its state point first among them, the directories before what is in them.
    pub entries: Vec<(RelPath, Entry)>,
}

impl JobCopy {
    /// Returns the bytes of all its files.
    pub fn size_bytes(&self) -> u64 {
        let sizes = self.entries.iter().map(|(_, entry)| entry.size_bytes());
        sizes.fold(0, u64::saturating_add)
    }
}

/// Something to be moved to the trash.
#[derive(Clone, Debug)]
pub struct Removal {
    /// What; an empty directory is just removed, another one is left alone without an error.
    pub place: Place,
    /// What must still be there.
    pub before: Entry,
}

/// Something to be brought back from the trash of an earlier run.
#[derive(Clone, Debug)]
pub struct Restore {
    /// Where it was.
    pub place: Place,
    /// What must still be there now; `None` is nothing. It goes to the trash.
    pub now: Option<Entry>,
    /// What it was. A directory is made anew, and permissions are given back.
    pub before: Entry,
}

impl Restore {
    /// The content is still what it was.
    pub(super) fn differs_in_mode_only(&self) -> bool {
        let now = self.now.as_ref();
        now.is_some_and(|now| now.is_file() && now.content == self.before.content)
    }
}

/// A data space. Paths on the way are never followed if they are links, and nothing is replaced
/// without a copy in the trash of the run.
pub trait Side: Sync {
    /// Returns its name in messages.
    fn name(&self) -> &str;

    /// Lists all of it.
    fn list(&self, observer: &dyn Observer) -> Result<Listing, SyncError>;

    /// Reads small files; an answer for each.
    fn read_many(&self, places: &[Place]) -> Result<Vec<FoundText>, SyncError>;

    /// Reads files of any size; an answer for each, `None` if it cannot be read.
    fn digests(&self, places: &[Place]) -> Result<Vec<Option<FileDigest>>, SyncError>;

    /// Writes small files, each whole or not at all, and only if there is still what was listed.
    /// Calls `done` for each, by its position.
    fn write_many(&self, run: &Run, texts: &[NewText], done: &Done<'_>) -> Result<(), SyncError>;

    /// Moves to the trash what is still as it was listed.
    fn remove_many(
        &self,
        run: &Run,
        removals: &[Removal],
        done: &Done<'_>,
    ) -> Result<(), SyncError>;

    /// Moves whole jobs to the trash, each only if all of it is still as it was listed.
    fn remove_jobs(&self, run: &Run, jobs: &[JobTree], done: &Done<'_>) -> Result<(), SyncError>;

    /// Brings back what an earlier run has replaced or removed, given its name.
    fn restore_many(
        &self,
        run: &Run,
        from: &str,
        restores: &[Restore],
        done: &Done<'_>,
    ) -> Result<(), SyncError>;

    /// Brings back whole jobs that an earlier run has removed; what is there now is never replaced.
    fn restore_jobs(
        &self,
        run: &Run,
        from: &str,
        jobs: &[JobId],
        done: &Done<'_>,
    ) -> Result<(), SyncError>;

    /// Gives files another name in the same job, which must be free.
    fn rename_many(
        &self,
        run: &Run,
        renames: &[(Removal, RelPath)],
        done: &Done<'_>,
    ) -> Result<(), SyncError>;

    /// Removes what a sync that was killed has left: files, and jobs that had not arrived.
    fn clean(&self, leftovers: &[Place]) -> Result<(), SyncError>;

    /// Returns the number that a sync of these two data spaces has left; `None` if none has.
    fn stamp(&self, pair: Uuid) -> Result<Option<u64>, SyncError>;

    /// Leaves a number for the next sync of these two data spaces.
    fn set_stamp(&self, stamp: Stamp) -> Result<(), SyncError>;

    /// Is called when all was done: what has been in the trash for long is removed.
    fn settle(&self, run: &Run);
}

/// The other data space: one that can exchange files with that from which we are called.
pub trait Peer: Side {
    /// Copies jobs, each of which appears whole; what is there already is not touched. Calls
    /// `done` for each by its position, with the entries that arrived in the order of those asked for.
    fn copy_jobs(
        &self,
        local: &LocalSide,
        to: Whose,
        run: &Run,
        jobs: &[JobCopy],
        done: &JobDone<'_>,
    ) -> Result<(), SyncError>;

    /// Copies files, each of which appears whole, with its time and permissions, and only if there
    /// is still in its place what was listed.
    fn copy_files(
        &self,
        local: &LocalSide,
        to: Whose,
        run: &Run,
        files: &[FileCopy],
        done: &Done<'_>,
    ) -> Result<(), SyncError>;
}

/// Is told of each item as it is done; called from any thread.
pub type Done<'a> = dyn Fn(usize, Outcome) + Sync + 'a;

/// Is told of each job as it is done.
pub type JobDone<'a> = dyn Fn(usize, Result<Vec<Entry>, String>) + Sync + 'a;

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "here",
            Self::Remote => "there",
        })
    }
}
