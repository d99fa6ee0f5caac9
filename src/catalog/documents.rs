//! What documents hold, read when a question first needs them.

use super::Clock;
use super::JobIdx;
use super::codec::{Decoder, Encoder, Result};
use super::facts::{Facts, FactsError};
use super::file::{Contents, FileKind, StoredEntry};
use super::index::{Entry, Gathered, Index, KeyIndex, Part};
use super::store::Store;
use crate::fsx::{Dir, FsError, Stamp};
use crate::pyjson::Object;
use crate::report::Problem;
use crate::statepoint::{JobId, Key};
use crate::workspace::Workspace;
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::io::ErrorKind;

/// The documents of so few jobs are read without looking at the file of all.
const FEW: u64 = 256;

/// Documents that one task looks at.
const LOOK_CHUNK: usize = 128;

/// Documents that one task indexes before its part is merged with others.
const INDEX_CHUNK: usize = 2048;

/// A document that was read, and how its file looked then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DocumentEntry {
    id: JobId,
    stamp: Stamp,
}

impl Entry for DocumentEntry {
    fn id(&self) -> JobId {
        self.id
    }
}

impl StoredEntry for DocumentEntry {
    const KIND: FileKind = FileKind::Documents;
    const BYTES: usize = 48;

    fn encode(&self, encoder: &mut Encoder) {
        encoder.0.extend_from_slice(self.id.as_bytes());
        encoder.stamp(&self.stamp);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            id: decoder.id()?,
            stamp: decoder.stamp()?,
        })
    }
}

/// The documents of the jobs of one catalog; a job's number is that of the catalog.
#[derive(Debug)]
pub(super) struct Documents {
    workspace: Workspace,
    store: Option<Store>,
    clock: Clock,
    loaded: bool,
    changed: bool,
    /// How often documents were found to be others than before.
    revision: u64,
    /// The jobs whose documents are known to be current.
    checked: RoaringBitmap,
    stamps: BTreeMap<JobIdx, DocumentEntry>,
    index: Index,
    problems: BTreeMap<JobIdx, Problem>,
}

/// What a look at a document found.
enum Seen {
    Unchanged,
    Read(DocumentEntry, Object),
    Missing,
    Damaged(Problem),
}

impl Documents {
    pub(super) fn new(workspace: &Workspace, store: Option<Store>, clock: Clock) -> Self {
        Self {
            workspace: workspace.clone(),
            store,
            clock,
            loaded: false,
            changed: false,
            revision: 0,
            checked: RoaringBitmap::new(),
            stamps: BTreeMap::new(),
            index: Index::default(),
            problems: BTreeMap::new(),
        }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn keys(&self) -> &[KeyIndex] {
        &self.index.keys
    }

    pub(super) fn key(&self, key: &Key) -> Option<&KeyIndex> {
        self.index.key(key)
    }

    /// Returns the documents that could not be read.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values()
    }

    /// Returns the jobs whose documents could not be read, so that nothing is known of them.
    pub(super) fn unreadable(&self) -> RoaringBitmap {
        self.problems.keys().copied().collect()
    }

    /// Forgets which documents are known to be current.
    pub(super) fn look_again(&mut self, clock: Clock) {
        self.clock = clock;
        self.checked.clear();
        self.problems.clear();
    }

    /// Looks at each document again when it is needed next, at the same time.
    pub(super) fn check_again(&mut self) {
        self.checked.clear();
    }

    /// Returns a number that changes when a document is found to be another than before.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Goes on with other jobs, given by their ids in order.
    pub(super) fn follow(&mut self, ids: &[JobId]) {
        let stamps = std::mem::take(&mut self.stamps);
        let mut numbers = BTreeMap::new();
        for (job, entry) in stamps {
            if let Ok(number) = ids.binary_search(&entry.id) {
                numbers.insert(job, number as JobIdx);
                self.stamps.insert(number as JobIdx, entry);
            }
        }
        self.index = self.index.renumbered(|job| numbers.get(&job).copied());
        self.checked.clear();
        self.problems.clear();
        self.revision += 1;
    }

    /// Makes sure that the documents of some jobs are known.
    pub(super) fn read(
        &mut self,
        facts: &Facts<'_>,
        jobs: &RoaringBitmap,
    ) -> std::result::Result<(), FactsError> {
        let unchecked = jobs - &self.checked;
        if unchecked.is_empty() {
            return Ok(());
        }
        if !self.loaded && unchecked.len() > FEW {
            self.load(facts)?;
        }
        let ids = facts.ids(&unchecked)?;
        self.look(&unchecked, &ids)?;
        self.checked |= unchecked;
        Ok(())
    }

    /// Takes what the file holds of jobs that were not looked at yet.
    fn load(&mut self, facts: &Facts<'_>) -> std::result::Result<(), FactsError> {
        self.loaded = true;
        let stored = self
            .store
            .iter()
            .flat_map(|store| store.open::<DocumentEntry>());
        let Some(part) = stored.into_iter().find_map(|file| file.read_all().ok()) else {
            return Ok(());
        };
        let all = facts.all();
        let ids = facts.ids(&all)?;
        let index = part.renumbered(&ids);
        let known = |job: JobIdx| (!self.checked.contains(job)).then_some(job);
        let index = index.renumbered(known);
        for entry in part.entries {
            match ids.binary_search(&entry.id) {
                Ok(job) if !self.checked.contains(job as JobIdx) => {
                    self.stamps.insert(job as JobIdx, entry);
                }
                _ => {}
            }
        }
        self.index = Index::merged(std::mem::take(&mut self.index), index);
        Ok(())
    }

    /// Looks at documents and reads those that changed.
    fn look(&mut self, jobs: &RoaringBitmap, ids: &[JobId]) -> std::result::Result<(), FsError> {
        let dir = match Dir::open(self.workspace.dir()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            dir => dir?,
        };
        let jobs: Vec<_> = jobs.iter().zip(ids).collect();
        let parts: Vec<Vec<(JobIdx, Seen)>> = jobs
            .par_chunks(LOOK_CHUNK)
            .map(|chunk| {
                let seen = chunk
                    .iter()
                    .map(|&(job, id)| (job, self.look_at(&dir, job, id)));
                let is_news = |(job, seen): &(JobIdx, Seen)| {
                    !matches!(seen, Seen::Unchanged) || self.problems.contains_key(job)
                };
                seen.filter(is_news).collect()
            })
            .collect();
        self.take(parts);
        Ok(())
    }

    fn look_at(&self, dir: &Dir, job: JobIdx, id: &JobId) -> Seen {
        let known = self.stamps.get(&job).map(|entry| entry.stamp);
        if known.is_some() && known == self.workspace.document_stamp(dir, id) {
            return Seen::Unchanged;
        }
        match self.workspace.read_document(dir, id) {
            Ok(Some((document, stamp))) => {
                let entry = DocumentEntry {
                    id: *id,
                    stamp: self.clock.trusted(stamp),
                };
                Seen::Read(entry, document)
            }
            Ok(None) if known.is_none() => Seen::Unchanged,
            Ok(None) => Seen::Missing,
            Err(error) => Seen::Damaged(self.workspace.document_problem(id, &error)),
        }
    }

    fn take(&mut self, parts: Vec<Vec<(JobIdx, Seen)>>) {
        let mut outdated = RoaringBitmap::new();
        let mut read = Vec::new();
        for (job, seen) in parts.into_iter().flatten() {
            if self.stamps.remove(&job).is_some() {
                outdated.insert(job);
                self.changed = true;
            }
            match seen {
                Seen::Read(entry, document) => {
                    self.changed = true;
                    self.problems.remove(&job);
                    self.stamps.insert(job, entry);
                    read.push((job, document));
                }
                Seen::Damaged(problem) => drop(self.problems.insert(job, problem)),
                Seen::Missing | Seen::Unchanged => {
                    self.problems.remove(&job);
                }
            }
        }
        let mut index = std::mem::take(&mut self.index);
        if !outdated.is_empty() {
            index = index.renumbered(|job| (!outdated.contains(job)).then_some(job));
        }
        if !(outdated.is_empty() && read.is_empty()) {
            self.revision += 1;
        }
        let chunks = read.into_par_iter().chunks(INDEX_CHUNK);
        let read = Index::of(chunks.map(Gathered::of).collect());
        self.index = Index::merged(index, read);
    }

    /// Writes what is known to the file, if that was read and is out of date.
    pub(super) fn save(&mut self) {
        let Some(store) = &self.store else { return };
        if !self.loaded || !std::mem::take(&mut self.changed) {
            return;
        }
        let positions: Vec<_> = self.stamps.keys().copied().collect();
        let number = |job: JobIdx| positions.binary_search(&job).ok().map(|i| i as JobIdx);
        let part = Part {
            entries: self.stamps.values().copied().collect(),
            index: self.index.renumbered(number),
        };
        store.save(Contents {
            listed_at: None,
            part: &part,
            problems: &[],
        });
    }
}
