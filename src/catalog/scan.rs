//! Reading many jobs at once.

use super::JobEntry;
use super::index::Index;
use crate::fsx::{Dir, FsError};
use crate::report::{Event, Observer, Problem};
use crate::statepoint::JobId;
use crate::workspace::{JobState, Workspace};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Jobs that one task reads and indexes before its part is merged with others.
const CHUNK: usize = 2048;

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Sound jobs, sorted by id.
    pub(super) jobs: Vec<JobEntry>,
    /// Their index; job numbers are positions in `jobs`.
    pub(super) index: Index,
    /// The others that are still there.
    pub(super) damaged: BTreeMap<JobId, Problem>,
}

/// Reads jobs in parallel; `ids` must be sorted.
pub(super) fn read(
    workspace: &Workspace,
    ids: &[JobId],
    observer: &dyn Observer,
) -> Result<Scan, FsError> {
    if ids.is_empty() {
        return Ok(Scan::default());
    }
    let dir = match Dir::open(workspace.dir()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Scan::default()),
        dir => dir?,
    };
    let n_done = AtomicUsize::new(0);
    let progress = |n: usize| {
        let done = n_done.fetch_add(n, Ordering::Relaxed) + n;
        observer.event(Event::Progress {
            what: "reading state points",
            done,
            total: ids.len(),
        });
    };
    let parts: Vec<Scan> = ids
        .par_chunks(CHUNK)
        .map(|chunk| {
            let scan = read_chunk(workspace, &dir, chunk);
            progress(chunk.len());
            scan
        })
        .collect();
    observer.event(Event::Finished);
    Ok(merge(parts))
}

fn read_chunk(workspace: &Workspace, dir: &Dir, ids: &[JobId]) -> Scan {
    let mut scan = Scan::default();
    let mut objects = Vec::with_capacity(ids.len());
    for id in ids {
        match workspace.read_job(dir, id) {
            JobState::Sound(file) => {
                scan.jobs.push(JobEntry {
                    id: *id,
                    modified: file.modified,
                });
                objects.push(file.statepoint.into_object());
            }
            JobState::Damaged(problem) => {
                scan.damaged.insert(*id, problem);
            }
            JobState::Gone => {}
        }
    }
    scan.index = Index::of(objects);
    scan
}

fn merge(parts: Vec<Scan>) -> Scan {
    let mut merged = Scan::default();
    let mut indexes = Vec::with_capacity(parts.len());
    for part in parts {
        indexes.push((part.index, merged.jobs.len() as u32));
        merged.jobs.extend(part.jobs);
        merged.damaged.extend(part.damaged);
    }
    merged.index = indexes
        .into_par_iter()
        .map(|(index, offset)| index.renumbered(|job| Some(job + offset)))
        .reduce(Index::default, Index::merged);
    merged
}
