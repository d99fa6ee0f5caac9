//! Reading many jobs at once.

use super::index::{Gathered, Index, Part};
use super::snapshot::JobEntry;
use crate::fsx::{Dir, FsError, TimeNs};
use crate::pyjson::Object;
use crate::report::{Event, Observer, Problem};
use crate::statepoint::{JobId, StatePoint};
use crate::workspace::{JobState, Workspace};
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// At most so many jobs are read and indexed by one task before its part is merged with others.
const CHUNK_MAX: usize = 2048;

/// Fewer are not worth a task.
const CHUNK_MIN: usize = 16;

/// Each thread gets at least so many tasks, so that all are busy to the end.
const CHUNKS_PER_THREAD: usize = 4;

/// Fewer jobs are read faster than signac's cache, which is one compressed text.
const CACHE_WORTHWHILE: usize = 512;

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Sound jobs.
    pub(super) part: Part<JobEntry>,
    /// The others that are still there.
    pub(super) damaged: BTreeMap<JobId, Problem>,
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// The jobs, sorted.
    pub(super) ids: &'a [JobId],
    /// The inode numbers of their directories, 0 if not known.
    pub(super) inodes: &'a [u64],
    /// Whether state points that signac's cache holds may be taken from there, if they have the id
    /// that they are filed under; their files are then only looked at.
    pub(super) from_cache: bool,
}

/// Reads jobs in parallel.
pub(super) fn read(
    workspace: &Workspace,
    wanted: Wanted<'_>,
    observer: &dyn Observer,
) -> Result<Scan, FsError> {
    let n = wanted.ids.len();
    if n == 0 {
        return Ok(Scan::default());
    }
    let dir = match Dir::open(workspace.dir()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Scan::default()),
        dir => dir?,
    };
    let n_done = AtomicUsize::new(0);
    let progress = |n_more: usize| {
        let done = n_done.fetch_add(n_more, Ordering::Relaxed) + n_more;
        observer.event(Event::Progress {
            what: "reading state points",
            done,
            total: n,
        });
    };
    let reader = ScanReader {
        workspace,
        dir: &dir,
        wanted,
    };
    let mut found = if wanted.from_cache && n >= CACHE_WORTHWHILE {
        reader.read_cached(&progress)
    } else {
        Vec::new()
    };
    found.extend(reader.read_files(&positions_left(&found, n), &progress));
    observer.event(Event::Finished);
    Ok(joined(found, n))
}

/// Some of the jobs, numbered by their position in the list of those to read.
#[derive(Default)]
struct Found {
    entries: Vec<(u32, JobEntry)>,
    values: Gathered,
    damaged: Vec<(JobId, Problem)>,
}

/// A job with its position and what was found.
enum Seen {
    Sound(u32, JobEntry, Object),
    Damaged(JobId, Problem),
    Gone,
}

impl Found {
    fn of(seen: Vec<Seen>) -> Self {
        let mut found = Self::default();
        let mut objects = Vec::with_capacity(seen.len());
        for seen in seen {
            match seen {
                Seen::Sound(position, entry, object) => {
                    found.entries.push((position, entry));
                    objects.push((position, object));
                }
                Seen::Damaged(id, problem) => found.damaged.push((id, problem)),
                Seen::Gone => {}
            }
        }
        found.values = Gathered::of(objects);
        found
    }
}

struct ScanReader<'a> {
    workspace: &'a Workspace,
    dir: &'a Dir,
    wanted: Wanted<'a>,
}

impl ScanReader<'_> {
    fn entry(&self, position: u32, modified: TimeNs) -> JobEntry {
        JobEntry {
            id: self.wanted.ids[position as usize],
            modified,
            inode: self.wanted.inodes[position as usize],
        }
    }

    fn read_file(&self, position: u32) -> Seen {
        let id = self.wanted.ids[position as usize];
        match self.workspace.read_job(self.dir, &id) {
            JobState::Sound(file) => {
                let entry = self.entry(position, file.modified);
                Seen::Sound(position, entry, file.statepoint.into_object())
            }
            JobState::Damaged(problem) => Seen::Damaged(id, problem),
            JobState::Gone => Seen::Gone,
        }
    }

    fn read_files(&self, positions: &[u32], progress: &(impl Fn(usize) + Sync)) -> Vec<Found> {
        let n_chunks = rayon::current_num_threads() * CHUNKS_PER_THREAD;
        let chunk_len = (positions.len() / n_chunks).clamp(CHUNK_MIN, CHUNK_MAX);
        let chunks = positions.par_chunks(chunk_len).map(|chunk| {
            let seen = chunk.iter().map(|&i| self.read_file(i)).collect();
            progress(chunk.len());
            Found::of(seen)
        });
        chunks.collect()
    }

    /// Takes what signac's cache holds of the jobs.
    fn read_cached(&self, progress: &(impl Fn(usize) + Sync)) -> Vec<Found> {
        let Some(cache) = self.workspace.open_cache(self.wanted.ids.len()) else {
            return Vec::new();
        };
        let mut seen = RoaringBitmap::new();
        let wanted = cache.entries().filter_map(|(id, statepoint)| {
            let position = self.wanted.ids.binary_search(&id).ok()? as u32;
            seen.insert(position).then_some((position, statepoint))
        });
        let chunks = Chunks { items: wanted };
        let found = chunks.par_bridge().map(|chunk| {
            let found = Found::of(
                chunk
                    .into_iter()
                    .map(|(i, sp)| self.verify(i, sp))
                    .collect(),
            );
            progress(found.entries.len());
            found
        });
        found.collect()
    }

    /// Believes a cached state point only if it has the id, and the job has the file.
    fn verify(&self, position: u32, statepoint: StatePoint) -> Seen {
        let id = self.wanted.ids[position as usize];
        let modified = self.workspace.statepoint_modified(self.dir, &id);
        match modified.filter(|_| statepoint.id() == id) {
            Some(modified) => Seen::Sound(
                position,
                self.entry(position, modified),
                statepoint.into_object(),
            ),
            // It is read from its file, which tells what is wrong.
            None => Seen::Gone,
        }
    }
}

/// Hands items out in vectors of [`CHUNK_MAX`].
struct Chunks<I> {
    items: I,
}

impl<I: Iterator> Iterator for Chunks<I> {
    type Item = Vec<I::Item>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk: Vec<_> = self.items.by_ref().take(CHUNK_MAX).collect();
        (!chunk.is_empty()).then_some(chunk)
    }
}

/// Returns the positions that are not found yet.
fn positions_left(found: &[Found], n: usize) -> Vec<u32> {
    let mut left = vec![true; n];
    for (position, _) in found.iter().flat_map(|found| &found.entries) {
        left[*position as usize] = false;
    }
    (0..n as u32).filter(|&i| left[i as usize]).collect()
}

fn joined(found: Vec<Found>, n: usize) -> Scan {
    let mut scan = Scan::default();
    let (mut entries, mut values) = (Vec::with_capacity(n), Vec::with_capacity(found.len()));
    for found in found {
        entries.extend(found.entries);
        scan.damaged.extend(found.damaged);
        values.push(found.values);
    }
    entries.sort_unstable_by_key(|(position, _)| *position);
    let index = Index::of(values);
    scan.part.index = if entries.len() == n {
        index
    } else {
        let mut numbers = vec![None; n];
        for (number, (position, _)) in (0..).zip(&entries) {
            numbers[*position as usize] = Some(number);
        }
        index.renumbered(|position| numbers[position as usize])
    };
    scan.part.entries = entries.into_iter().map(|(_, entry)| entry).collect();
    scan
}
