//! The index of all jobs: load, refresh with a generation, select by bitmap.
//!
//! A [`Catalog`] follows one workspace and hands out immutable [`Snapshot`]s. In a snapshot every
//! key has a dictionary of its values, and every value the set of jobs that have it, so that a
//! listing, a filter or a count costs what its answer is large, not what the workspace is.
//!
//! The catalog lives in memory; [`Snapshot`] is the part a file would hold.

mod index;
mod scan;

pub use index::{JobSet, KeyIndex, ValueEntry};

use crate::filter::{Expr, Field, Filter, Found, Test};
use crate::fsx::{self, FsError, Stamp, TimeNs};
use crate::report::{Observer, Problem, Silent};
use crate::statepoint::{JobId, Key};
use crate::workspace::{Listing, Workspace};
use index::Index;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// The number of a job in one snapshot: its position in the order of ids.
pub type JobIdx = u32;

/// A listing is trusted to be complete only if the workspace was last changed this long before
/// it: changes within the granularity of timestamps do not move them.
const GRANULARITY_NS: TimeNs = 100_000_000;

/// The same for network file systems, whose servers stamp whole seconds by their own clock.
const NETWORK_GRANULARITY_NS: TimeNs = 3_000_000_000;

/// A job in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobEntry {
    /// Its id.
    pub id: JobId,
    /// When its state point was written.
    pub modified: TimeNs,
}

/// All jobs of a workspace at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    generation: u64,
    jobs: Vec<JobEntry>,
    index: Index,
    problems: Vec<Problem>,
}

impl Snapshot {
    /// Returns a number that differs from that of any other snapshot of the catalog.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the sound jobs, sorted by id.
    pub fn jobs(&self) -> &[JobEntry] {
        &self.jobs
    }

    /// Returns the number of a job.
    pub fn find(&self, id: &JobId) -> Option<JobIdx> {
        self.jobs
            .binary_search_by(|job| job.id.cmp(id))
            .ok()
            .map(|i| i as JobIdx)
    }

    /// Returns the jobs whose ids begin with a text; `None` if no id can.
    pub fn find_prefix(&self, prefix: &str) -> Option<Range<JobIdx>> {
        let (low, high) = JobId::range_of_prefix(prefix)?;
        let start = self.jobs.partition_point(|job| job.id < low);
        let end = self.jobs.partition_point(|job| job.id <= high);
        Some(start as JobIdx..end as JobIdx)
    }

    /// Returns all job numbers.
    pub fn all(&self) -> RoaringBitmap {
        (0..self.jobs.len() as JobIdx).collect()
    }

    /// Returns the keys, sorted by their dotted text.
    pub fn keys(&self) -> &[KeyIndex] {
        &self.index.keys
    }

    /// Returns what is known of one key.
    pub fn key(&self, key: &Key) -> Option<&KeyIndex> {
        let keys = &self.index.keys;
        keys.binary_search_by(|index| index.key.cmp(key))
            .ok()
            .map(|i| &keys[i])
    }

    /// Returns the jobs that satisfy a filter.
    pub fn select(&self, filter: &Filter) -> RoaringBitmap {
        self.select_expr(filter.expr())
    }

    fn select_expr(&self, expr: &Expr) -> RoaringBitmap {
        match expr {
            Expr::And(parts) => parts
                .iter()
                .fold(self.all(), |found, part| found & self.select_expr(part)),
            Expr::Or(parts) => parts.iter().fold(RoaringBitmap::new(), |found, part| {
                found | self.select_expr(part)
            }),
            Expr::Not(part) => self.all() - self.select_expr(part),
            Expr::Test(field, test) => self.select_test(field, test),
        }
    }

    fn select_test(&self, field: &Field, test: &Test) -> RoaringBitmap {
        let mut selected = RoaringBitmap::new();
        if let Some(index) = field.key.as_ref().and_then(|key| self.key(key)) {
            for entry in &index.values {
                if test.passes(Found::Value(&entry.value)) {
                    selected.extend(entry.jobs.iter());
                }
            }
            if test.passes(Found::Object) {
                selected |= &index.objects;
            }
        }
        selected
    }

    /// Returns the damaged jobs and stray entries that are left out.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// Follows a workspace.
#[derive(Debug)]
pub struct Catalog {
    workspace: Workspace,
    snapshot: Arc<Snapshot>,
    damaged: BTreeMap<JobId, Problem>,
    strays: Vec<Problem>,
    /// The workspace's stamp when it was listed, if no later change can share it.
    listed_at: Option<Stamp>,
    granularity: TimeNs,
}

impl Catalog {
    /// Reads all jobs of a workspace.
    ///
    /// `now` is the present time; damaged jobs become problems of the snapshot.
    pub fn load(
        workspace: &Workspace,
        now: TimeNs,
        observer: &dyn Observer,
    ) -> Result<Self, FsError> {
        let network = fsx::network_fs(workspace.dir()).is_some();
        let mut catalog = Self {
            workspace: workspace.clone(),
            snapshot: Arc::default(),
            damaged: BTreeMap::new(),
            strays: Vec::new(),
            listed_at: None,
            granularity: if network {
                NETWORK_GRANULARITY_NS
            } else {
                GRANULARITY_NS
            },
        };
        catalog.relist(now, observer)?;
        Ok(catalog)
    }

    /// Returns the newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
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
        if self.listed_at.is_some() && self.workspace.stamp()? == self.listed_at {
            if self.damaged.is_empty() {
                return Ok(false);
            }
            let again: Vec<_> = self.damaged.keys().copied().collect();
            return self.update(&[], &again, &Silent);
        }
        self.relist(now, &Silent)
    }

    fn relist(&mut self, now: TimeNs, observer: &dyn Observer) -> Result<bool, FsError> {
        let stamp = self.workspace.stamp()?;
        let listing = match self.workspace.list() {
            // A link that leads nowhere is an error at first, and an empty workspace once it led
            // somewhere.
            Err(error) if error.kind() == ErrorKind::NotFound && self.snapshot.generation > 0 => {
                Listing::default()
            }
            listing => listing?,
        };
        let old = &self.snapshot.jobs;
        let listed = |id: &JobId| listing.ids.binary_search(id).is_ok();
        let gone: Vec<_> = old
            .iter()
            .map(|job| job.id)
            .filter(|id| !listed(id))
            .collect();
        let unread: Vec<_> = listing
            .ids
            .iter()
            .copied()
            .filter(|id| self.snapshot.find(id).is_none())
            .collect();
        let strays_changed = self.strays != listing.strays;
        self.strays = listing.strays;
        let changed = self.update(&gone, &unread, observer)?;
        if strays_changed && !changed {
            self.publish(Snapshot::clone(&self.snapshot));
        }
        self.listed_at = stamp.filter(|stamp| is_settled(stamp, now, self.granularity));
        Ok(changed || strays_changed)
    }

    /// Removes jobs and reads others, which must include all damaged ones that are left; publishes
    /// a snapshot if that changed anything.
    fn update(
        &mut self,
        gone: &[JobId],
        unread: &[JobId],
        observer: &dyn Observer,
    ) -> Result<bool, FsError> {
        let scan = scan::read(&self.workspace, unread, observer)?;
        if gone.is_empty() && scan.jobs.is_empty() && scan.damaged == self.damaged {
            return Ok(false);
        }
        self.damaged = scan.damaged;
        let (jobs, index) = index::merge_jobs(
            (&self.snapshot.jobs, &self.snapshot.index),
            gone,
            (scan.jobs, scan.index),
        );
        self.publish(Snapshot {
            generation: 0,
            jobs,
            index,
            problems: Vec::new(),
        });
        Ok(true)
    }

    fn publish(&mut self, snapshot: Snapshot) {
        let mut problems: Vec<_> = self.damaged.values().chain(&self.strays).cloned().collect();
        problems.sort();
        let generation = self.snapshot.generation + 1;
        self.snapshot = Arc::new(Snapshot {
            generation,
            problems,
            ..snapshot
        });
    }
}

/// Tells whether the next change is sure to move the stamp.
fn is_settled(stamp: &Stamp, now: TimeNs, granularity: TimeNs) -> bool {
    now.saturating_sub(stamp.modified.max(stamp.changed)) > granularity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_stamps_are_not_trusted() {
        let stamp = |modified, changed| Stamp {
            modified,
            changed,
            ..Stamp::default()
        };
        let now = 10_000_000_000;
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
            NETWORK_GRANULARITY_NS
        ));
        // A clock that is behind the server's.
        assert!(!is_settled(
            &stamp(now + 5_000_000_000, 0),
            now,
            GRANULARITY_NS
        ));
    }
}
