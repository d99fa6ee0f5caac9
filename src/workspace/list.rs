//! Listing the workspace, and ids from their beginnings.

use super::{BUILD_PREFIX, Workspace, WorkspaceError};
use crate::fsx::{self, EntryKind};
use crate::report::{Problem, harmless};
use crate::statepoint::JobId;
use std::cell::OnceCell;
use std::ffi::OsStr;
use std::io;

/// The entries of a workspace.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The jobs, sorted by id.
    pub ids: Vec<JobId>,
    /// Entries that signac takes for jobs and that are none, sorted.
    pub strays: Vec<Problem>,
    /// Directories in which jobs are being built, or that a killed process left.
    pub unfinished: Vec<Problem>,
}

impl Workspace {
    /// Lists the jobs. A missing workspace has none.
    pub fn list(&self) -> fsx::Result<Listing> {
        let mut listing = Listing::default();
        let result = fsx::for_each_entry(self.dir(), |name, kind| {
            self.sort_entry(&mut listing, name, kind);
        });
        match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.dir().is_symlink() => {}
            result => result?,
        }
        listing.ids.sort_unstable();
        listing.strays.sort();
        listing.unfinished.sort();
        Ok(listing)
    }

    fn sort_entry(&self, listing: &mut Listing, name: &OsStr, kind: EntryKind) {
        let Some(text) = name.to_str() else { return };
        let problem = |reason: &str, hint| Problem {
            subject: harmless(name.display()),
            path: self.dir().join(name),
            reason: reason.to_owned(),
            hint: Some(hint),
        };
        match text.parse() {
            Ok(id) if kind != EntryKind::Other => listing.ids.push(id),
            Ok(_) => listing.strays.push(problem(
                "a file, not a job directory",
                "move it out of the workspace",
            )),
            Err(_)
                if text
                    .get(..JobId::LEN)
                    .is_some_and(|start| start.parse::<JobId>().is_ok()) =>
            {
                let reason =
                    "not a job, though its name starts with an id; signac's queries fail on it";
                listing.strays.push(problem(
                    reason,
                    "move it out of the workspace, or rename it",
                ));
            }
            Err(_) if text.starts_with(BUILD_PREFIX) => {
                let reason = "a job that was being created when its process ended";
                listing.unfinished.push(problem(
                    reason,
                    "remove it if no `sweepfs create` is running",
                ));
            }
            Err(_) => {}
        }
    }

    /// Finds the job whose id is given, or whose id alone begins with the text. The workspace is
    /// listed at most once for all calls that share `listed`.
    pub fn resolve(
        &self,
        text: &str,
        listed: &OnceCell<Vec<JobId>>,
    ) -> Result<JobId, WorkspaceError> {
        let unknown = || WorkspaceError::NoSuchJob(text.to_owned());
        if let Ok(id) = text.parse() {
            return if self.job_dir(&id).is_dir() {
                Ok(id)
            } else {
                Err(unknown())
            };
        }
        let (low, high) = JobId::range_of_prefix(text).ok_or_else(unknown)?;
        if listed.get().is_none() {
            let _ = listed.set(self.list()?.ids);
        }
        let ids = listed.get().map(Vec::as_slice).unwrap_or_default();
        let matches =
            &ids[ids.partition_point(|id| *id < low)..ids.partition_point(|id| *id <= high)];
        match matches {
            [] => Err(unknown()),
            [id] => Ok(*id),
            _ => Err(WorkspaceError::Ambiguous {
                prefix: text.to_owned(),
                matches: matches.to_vec(),
            }),
        }
    }
}
