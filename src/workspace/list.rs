//! Listing the workspace, and ids from their beginnings.

use super::{BUILD_PREFIX, Workspace};
use crate::fsx::{self, DirEntry, EntryKind};
use crate::report::{Problem, harmless};
use crate::statepoint::JobId;
use std::borrow::Cow;
use std::io;
use uuid::Uuid;

/// The entries of a workspace.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The jobs, sorted by id.
    pub ids: Vec<JobId>,
    /// The inode numbers of their directories, in the same order.
    pub inodes: Vec<u64>,
    /// Entries that signac takes for jobs and that are none, sorted.
    pub strays: Vec<Problem>,
    /// Directories in which jobs are being built, or that a killed process left.
    pub unfinished: Vec<Problem>,
}

impl Workspace {
    /// Lists the jobs. A missing workspace has none.
    pub fn list(&self) -> fsx::Result<Listing> {
        let (mut listing, mut jobs) = (Listing::default(), Vec::new());
        let result = fsx::for_each_entry(self.dir(), |entry| match self.classify(entry) {
            Entry::Job(id) => jobs.push((id, entry.inode)),
            Entry::Stray(problem) => listing.strays.push(problem),
            Entry::Unfinished(problem) => listing.unfinished.push(problem),
            Entry::Foreign => {}
        });
        match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.dir().is_symlink() => {}
            result => result?,
        }
        jobs.sort_unstable();
        (listing.ids, listing.inodes) = jobs.into_iter().unzip();
        listing.strays.sort();
        listing.unfinished.sort();
        Ok(listing)
    }

    fn classify(&self, entry: DirEntry<'_>) -> Entry {
        let Some(name) = entry.name.to_str() else {
            return Entry::Foreign;
        };
        let problem = |reason: &str, hint| Problem {
            subject: harmless(name),
            path: self.dir().join(name),
            reason: reason.to_owned(),
            hint: Some(Cow::Borrowed(hint)),
        };
        let is_id = |text: &str| text.parse::<JobId>().is_ok();
        let is_build = |name: &str| {
            let uuid = name.strip_prefix(BUILD_PREFIX);
            uuid.is_some_and(|uuid| Uuid::try_parse(uuid).is_ok())
        };
        match name.parse() {
            Ok(id) if entry.kind != EntryKind::Other => Entry::Job(id),
            Ok(_) => Entry::Stray(problem(
                "a file, not a job directory",
                "move it out of the workspace",
            )),
            Err(_) if name.get(..JobId::LEN).is_some_and(is_id) => Entry::Stray(problem(
                "not a job, though its name starts with an id; signac's queries fail on it",
                "move it out of the workspace, or rename it",
            )),
            Err(_) if is_build(name) && entry.kind == EntryKind::Dir => Entry::Unfinished(problem(
                "a job that was being created when its process ended",
                "remove it if no `sweepfs create` is running",
            )),
            Err(_) => Entry::Foreign,
        }
    }
}

/// What an entry of the workspace is.
enum Entry {
    Job(JobId),
    Stray(Problem),
    Unfinished(Problem),
    /// Nothing that concerns us.
    Foreign,
}
