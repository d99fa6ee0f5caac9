//! The index of all jobs: load, refresh with a generation, select by bitmap.
//!
//! In an index every key has a dictionary of its values, and every value the set of jobs that have
//! it, so that a listing, a filter or a count costs what its answer is large, not what the workspace
//! is. The index lies in a file of the project, which is current as long as the workspace's stamp is
//! the one it was listed at.
//!
//! A [`Catalog`] holds the index in memory, follows the workspace and hands out immutable
//! [`Snapshot`]s. A [`Reader`] answers questions about one moment through [`Facts`] and reads of the
//! file only what they need.

mod codec;
mod column;
mod documents;
mod facts;
mod file;
mod index;
mod key_name;
mod live;
mod reader;
mod scan;
mod schema;
mod snapshot;
mod store;
mod table;

pub use codec::Damage;
pub(crate) use codec::{Decoder, Encoder};
pub use column::Column;
pub use facts::{Facts, FactsError};
pub use index::{JobSet, KeyIndex, ValueEntry};
pub use key_name::KeyName;
pub use live::LiveFacts;
pub use reader::Reader;
pub use schema::{Schema, SchemaStyle, type_name, write_schema};
pub use snapshot::{JobEntry, Snapshot};
pub use store::Store;
pub use table::{TableColumn, TableSpec, WriteError, cell, write_records, write_table};

use crate::fsx::{self, FsError, Stamp, TimeNs};
use crate::report::{Observer, Problem, Silent};
use crate::statepoint::JobId;
use crate::workspace::{Listing, Workspace};
use file::Contents;
use index::Part;
use scan::Wanted;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// The number of a job in one snapshot: its position in the order of ids.
pub type JobIdx = u32;

/// A listing is trusted to be complete only if the workspace was last changed this long before
/// it: changes within the granularity of timestamps do not move them.
const GRANULARITY_NS: TimeNs = 100_000_000;

/// The same for network file systems, whose servers stamp by their own clock, and for file systems
/// that know whole seconds only.
const COARSE_GRANULARITY_NS: TimeNs = 3_000_000_000;

const SECOND_NS: TimeNs = 1_000_000_000;

/// What is needed to tell whether a stamp can be trusted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    now: TimeNs,
    granularity: TimeNs,
}

impl Clock {
    fn new(workspace: &Workspace, now: TimeNs) -> Self {
        let granularity = match fsx::network_fs(workspace.dir()) {
            Some(_) => COARSE_GRANULARITY_NS,
            None => GRANULARITY_NS,
        };
        Self { now, granularity }
    }

    /// Tells whether the next change is sure to move the stamp.
    fn is_settled(&self, stamp: &Stamp) -> bool {
        let is_coarse = [stamp.modified, stamp.changed]
            .iter()
            .all(|time| time % SECOND_NS == 0);
        let granularity = if is_coarse {
            COARSE_GRANULARITY_NS
        } else {
            self.granularity
        };
        self.now.saturating_sub(stamp.modified.max(stamp.changed)) > granularity
    }

    /// Returns the stamp if it can be trusted, or else one that no file has.
    pub(crate) fn trusted(&self, stamp: Stamp) -> Stamp {
        if self.is_settled(&stamp) {
            stamp
        } else {
            Stamp {
                modified: TimeNs::MIN,
                ..stamp
            }
        }
    }
}

/// Follows a workspace, with its index in memory.
#[derive(Debug)]
pub struct Catalog {
    workspace: Workspace,
    snapshot: Arc<Snapshot>,
    damaged: BTreeMap<JobId, Problem>,
    strays: Vec<Problem>,
    /// The workspace's stamp when it was listed, if no later change can share it.
    listed_at: Option<Stamp>,
    /// Whether this process has seen the workspace.
    seen: bool,
    /// Whether signac's cache may stand for the files of state points.
    from_cache: bool,
}

impl Catalog {
    /// Reads what a store has of a workspace, and of the workspace what is not in the store, which
    /// is then brought up to date.
    ///
    /// `now` is the present time; damaged jobs become problems of the snapshot.
    pub fn load(
        workspace: &Workspace,
        store: Option<&Store>,
        now: TimeNs,
        observer: &dyn Observer,
    ) -> Result<Self, FsError> {
        let mut catalog = Self::new(workspace);
        let stored_at = store.and_then(|store| catalog.take_stored(store));
        let changed = catalog.refresh_with(now, observer)?;
        if changed || catalog.listed_at != stored_at && catalog.listed_at.is_some() {
            catalog.save(store);
        }
        Ok(catalog)
    }

    /// Reads every job of a workspace from its file, whatever a store or signac's cache has; the
    /// store is written anew.
    pub fn rebuild(
        workspace: &Workspace,
        store: &Store,
        now: TimeNs,
        observer: &dyn Observer,
    ) -> Result<Self, FsError> {
        let mut catalog = Self {
            from_cache: false,
            ..Self::new(workspace)
        };
        catalog.refresh_with(now, observer)?;
        catalog.save(Some(store));
        Ok(catalog)
    }

    fn new(workspace: &Workspace) -> Self {
        Self {
            workspace: workspace.clone(),
            snapshot: Arc::default(),
            damaged: BTreeMap::new(),
            strays: Vec::new(),
            listed_at: None,
            seen: false,
            from_cache: true,
        }
    }

    /// Takes what a store has; returns the workspace's stamp at the time.
    fn take_stored(&mut self, store: &Store) -> Option<Stamp> {
        let stamp = self.workspace.stamp().ok().flatten();
        let mut files = store.open();
        // One that is current is better than a newer one that is not.
        files.sort_by_key(|file| file.listed_at().is_none_or(|at| Some(at) != stamp));
        let (file, part) = files.into_iter().find_map(|file| {
            let part = file.read_all();
            part.inspect_err(|damage| tracing::info!("{damage}"))
                .ok()
                .map(|part| (file, part))
        })?;
        for problem in file.problems() {
            let problem = reader::in_workspace(problem, &self.workspace);
            match reader::damaged_job(&problem, &self.workspace) {
                Some(id) => drop(self.damaged.insert(id, problem)),
                None => self.strays.push(problem),
            }
        }
        self.publish(part);
        self.listed_at = file.listed_at();
        self.listed_at
    }

    fn save(&self, store: Option<&Store>) {
        let Some(store) = store else { return };
        let mut problems = self.snapshot.problems.clone();
        for problem in &mut problems {
            if let Ok(below) = problem.path.strip_prefix(self.workspace.dir()) {
                problem.path = below.to_owned();
            }
        }
        store.save(Contents {
            listed_at: self.listed_at,
            part: &self.snapshot.part,
            problems: &problems,
        });
    }

    /// Returns the newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Returns the workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Returns the directory that is followed.
    pub fn workspace_dir(&self) -> PathBuf {
        self.workspace.dir().to_owned()
    }

    /// Tells whether some directory may yet become a job, as one does that signac is creating.
    pub fn has_damaged(&self) -> bool {
        !self.damaged.is_empty()
    }

    /// Looks for changes and takes a new snapshot if there are any.
    ///
    /// Costs one `stat` if nothing was added or removed; otherwise a listing and a read per new
    /// job. Damaged jobs are read again each time.
    pub fn refresh(&mut self, now: TimeNs) -> Result<bool, FsError> {
        self.refresh_with(now, &Silent)
    }

    fn refresh_with(&mut self, now: TimeNs, observer: &dyn Observer) -> Result<bool, FsError> {
        let stamp = self.workspace.stamp()?;
        let changed = if self.listed_at.is_none() || stamp != self.listed_at {
            self.relist(stamp, now, observer)?
        } else if self.damaged.is_empty() {
            false
        } else {
            let again: Vec<_> = self.damaged.keys().copied().collect();
            self.update(&[], &again, &vec![0; again.len()], observer)?
        };
        self.seen = true;
        Ok(changed)
    }

    fn relist(
        &mut self,
        stamp: Option<Stamp>,
        now: TimeNs,
        observer: &dyn Observer,
    ) -> Result<bool, FsError> {
        let listing = match self.workspace.list() {
            // A link that leads nowhere is an error at first, and an empty workspace once it led
            // somewhere.
            Err(error) if error.kind() == ErrorKind::NotFound && self.seen => Listing::default(),
            listing => listing?,
        };
        let (gone, unread) = self.compare(&listing);
        let (unread, inodes): (Vec<_>, Vec<_>) = unread.into_iter().unzip();
        let strays_changed = self.strays != listing.strays;
        self.strays = listing.strays;
        let changed = self.update(&gone, &unread, &inodes, observer)?;
        if strays_changed && !changed {
            self.publish(self.snapshot.part.clone());
        }
        let clock = Clock::new(&self.workspace, now);
        self.listed_at = stamp.filter(|stamp| clock.is_settled(stamp));
        Ok(changed || strays_changed)
    }

    /// Returns the jobs that are gone, and those to read with their inode numbers. A directory that
    /// took the place of another is both.
    fn compare(&self, listing: &Listing) -> (Vec<JobId>, Vec<(JobId, u64)>) {
        let jobs = self.snapshot.jobs();
        let same = |job: &JobEntry, inode: u64| job.inode == inode || job.inode == 0 || inode == 0;
        let is_known = |(id, inode): &(JobId, u64)| {
            let job = self.snapshot.find(id);
            job.is_some_and(|job| same(&jobs[job as usize], *inode))
        };
        let is_listed = |job: &&JobEntry| {
            let listed = listing.ids.binary_search(&job.id);
            listed.is_ok_and(|i| same(job, listing.inodes[i]))
        };
        let gone = jobs.iter().filter(|job| !is_listed(job)).map(|job| job.id);
        let listed = listing
            .ids
            .iter()
            .copied()
            .zip(listing.inodes.iter().copied());
        (
            gone.collect(),
            listed.filter(|job| !is_known(job)).collect(),
        )
    }

    /// Removes jobs and reads others, which must include all damaged ones that are left; publishes
    /// a snapshot if that changed anything.
    fn update(
        &mut self,
        gone: &[JobId],
        unread: &[JobId],
        inodes: &[u64],
        observer: &dyn Observer,
    ) -> Result<bool, FsError> {
        let wanted = Wanted {
            ids: unread,
            inodes,
            from_cache: self.from_cache,
        };
        let scan = scan::read(&self.workspace, wanted, observer)?;
        if gone.is_empty() && scan.part.entries.is_empty() && scan.damaged == self.damaged {
            return Ok(false);
        }
        self.damaged = scan.damaged;
        self.publish(self.snapshot.part.updated(gone, scan.part));
        Ok(true)
    }

    fn publish(&mut self, part: Part<JobEntry>) {
        let mut problems: Vec<_> = self.damaged.values().chain(&self.strays).cloned().collect();
        problems.sort();
        self.snapshot = Arc::new(Snapshot {
            generation: self.snapshot.generation + 1,
            part,
            problems,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_are_not_trusted_for_longer() {
        let clock = Clock {
            now: 10_000_000_000,
            granularity: GRANULARITY_NS,
        };
        let stamp = |modified, changed| Stamp {
            modified,
            changed,
            ..Stamp::default()
        };
        assert!(!clock.is_settled(&stamp(8 * SECOND_NS, 9 * SECOND_NS)));
        assert!(clock.is_settled(&stamp(8 * SECOND_NS, 9 * SECOND_NS + 1)));
        assert!(clock.is_settled(&stamp(6 * SECOND_NS, 6 * SECOND_NS)));
    }

    #[test]
    fn recent_stamps_are_not_trusted() {
        let stamp = |modified, changed| Stamp {
            modified,
            changed,
            ..Stamp::default()
        };
        let now = 10_000_000_000;
        let is_settled =
            |stamp: &Stamp, now, granularity| Clock { now, granularity }.is_settled(stamp);
        assert!(is_settled(
            &stamp(now - GRANULARITY_NS - 1, 0),
            now,
            GRANULARITY_NS
        ));
        assert!(!is_settled(
            &stamp(now - GRANULARITY_NS, 0),
            now,
            GRANULARITY_NS
        ));
        assert!(!is_settled(&stamp(0, now), now, GRANULARITY_NS));
        assert!(!is_settled(
            &stamp(now - 2_000_000_000, 0),
            now,
            COARSE_GRANULARITY_NS
        ));
        // A clock that is behind the server's.
        assert!(!is_settled(
            &stamp(now + 5_000_000_000, 0),
            now,
            GRANULARITY_NS
        ));
    }
}
