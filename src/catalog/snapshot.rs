//! All jobs at one time, in memory.

use super::index::{Entry, KeyIndex, Part};
use super::{JobIdx, file};
use crate::catalog::codec::{Decoder, Encoder, Result};
use crate::fsx::TimeNs;
use crate::report::Problem;
use crate::statepoint::{JobId, Key};
use file::{FileKind, StoredEntry};
use roaring::RoaringBitmap;
use std::ops::Range;

/// A job in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobEntry {
    /// Its id.
    pub id: JobId,
    /// When its state point was written.
    pub modified: TimeNs,
    /// The inode number of its directory, which another directory in its place does not have; 0 if
    /// it is not known.
    pub inode: u64,
}

impl Entry for JobEntry {
    fn id(&self) -> JobId {
        self.id
    }
}

impl StoredEntry for JobEntry {
    const KIND: FileKind = FileKind::StatePoints;
    const BYTES: usize = 32;

    fn encode(&self, encoder: &mut Encoder) {
        encoder.0.extend_from_slice(self.id.as_bytes());
        encoder.i64(self.modified);
        encoder.u64(self.inode);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            id: decoder.id()?,
            modified: decoder.i64()?,
            inode: decoder.u64()?,
        })
    }
}

/// All jobs of a workspace at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) generation: u64,
    pub(super) part: Part<JobEntry>,
    pub(super) problems: Vec<Problem>,
}

impl Snapshot {
    /// Returns a number that differs from that of any other snapshot of the catalog.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the sound jobs, sorted by id.
    pub fn jobs(&self) -> &[JobEntry] {
        &self.part.entries
    }

    /// Returns the number of a job.
    pub fn find(&self, id: &JobId) -> Option<JobIdx> {
        self.jobs()
            .binary_search_by(|job| job.id.cmp(id))
            .ok()
            .map(|i| i as JobIdx)
    }

    /// Returns the jobs whose ids begin with a text; `None` if no id can.
    pub fn find_prefix(&self, prefix: &str) -> Option<Range<JobIdx>> {
        let (low, high) = JobId::range_of_prefix(prefix)?;
        let start = self.jobs().partition_point(|job| job.id < low);
        let end = self.jobs().partition_point(|job| job.id <= high);
        Some(start as JobIdx..end as JobIdx)
    }

    /// Returns all job numbers.
    pub fn all(&self) -> RoaringBitmap {
        (0..self.jobs().len() as JobIdx).collect()
    }

    /// Returns the keys, sorted by their dotted text.
    pub fn keys(&self) -> &[KeyIndex] {
        &self.part.index.keys
    }

    /// Returns what is known of one key.
    pub fn key(&self, key: &Key) -> Option<&KeyIndex> {
        self.part.index.key(key)
    }

    /// Returns the damaged jobs and stray entries that are left out.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}
