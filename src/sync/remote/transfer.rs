//! Copying between the other machine and this one.

use super::RemoteSide;
use super::rsync::Complaints;
use super::words::CHANGED;
use crate::sync::LocalSide;
use crate::sync::pace::STOPPED;
use crate::sync::path::{Place, RelPath};
use crate::sync::side::{
    Done, FileCopy, FoundText, JobCopy, JobDone, NewText, Outcome, Peer, Run, Side, SyncError,
    Whose,
};
use crate::sync::tree::{Content, Entry};
use std::ops::Range;
use std::path::PathBuf;

/// So many files are moved by one `rsync`, so that they arrive one after the other.
const FILES_AT_ONCE: usize = 20_000;

/// And so many bytes.
const BYTES_AT_ONCE: u64 = 1 << 30;

impl RemoteSide {
    pub(super) fn workspace(&self) -> PathBuf {
        self.root().join("workspace")
    }

    /// Copies what lies beside the workspace: nothing but the project's document.
    fn copy_document(
        &self,
        local: &LocalSide,
        to: Whose,
        run: &Run,
        copy: &FileCopy,
    ) -> Result<Outcome, SyncError> {
        let (from, to): (&dyn Side, &dyn Side) = match to {
            Whose::Local => (self, local),
            Whose::Remote => (local, self),
        };
        let text = from.read_many(std::slice::from_ref(&copy.place))?.pop();
        let Some(FoundText::Text(bytes, source)) = text else {
            return Ok(Err(CHANGED.to_owned()));
        };
        let text = NewText {
            place: copy.place.clone(),
            bytes,
            modified: source.modified(),
            before: copy.before.clone(),
        };
        let result = std::sync::Mutex::new(Err("not written".to_owned()));
        to.write_many(run, &[text], &|_, outcome| {
            if let Ok(mut result) = result.lock() {
                *result = outcome;
            }
        })?;
        Ok(result
            .into_inner()
            .unwrap_or_else(|_| Err("not written".to_owned())))
    }
}

impl Peer for RemoteSide {
    fn copy_jobs(
        &self,
        local: &LocalSide,
        to: Whose,
        run: &Run,
        jobs: &[JobCopy],
        done: &JobDone<'_>,
    ) -> Result<(), SyncError> {
        match to {
            _ if jobs.is_empty() => Ok(()),
            Whose::Local => self.pull_jobs(local, run, jobs, done),
            Whose::Remote => self.push_jobs(local, run, jobs, done),
        }
    }

    fn copy_files(
        &self,
        local: &LocalSide,
        to: Whose,
        run: &Run,
        files: &[FileCopy],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let (documents, others): (Vec<_>, Vec<_>) = files
            .iter()
            .enumerate()
            .partition(|(_, copy)| copy.place.job.is_none());
        for (at, copy) in documents {
            done(at, self.copy_document(local, to, run, copy)?);
        }
        let positions: Vec<_> = others.iter().map(|(at, _)| *at).collect();
        let others: Vec<_> = others.into_iter().map(|(_, copy)| copy.clone()).collect();
        let done: &Done<'_> = &|at, outcome| done(positions[at], outcome);
        match to {
            _ if others.is_empty() => Ok(()),
            Whose::Local => self.pull_files(local, run, &others, done),
            Whose::Remote => self.push_files(local, run, &others, done),
        }
    }
}

/// Cuts a list so that no part is too large.
pub(super) fn ranges<T>(items: &[T], size: impl Fn(&T) -> (usize, u64)) -> Vec<Range<usize>> {
    let (mut found, mut from, mut files, mut bytes) = (Vec::new(), 0, 0, 0);
    for (at, item) in items.iter().enumerate() {
        let (more_files, more_bytes) = size(item);
        let is_full =
            files + more_files > FILES_AT_ONCE || more_bytes > BYTES_AT_ONCE.saturating_sub(bytes);
        if at > from && is_full {
            found.push(from..at);
            (from, files, bytes) = (at, 0, 0);
        }
        files += more_files;
        bytes = bytes.saturating_add(more_bytes);
    }
    if from < items.len() {
        found.push(from..items.len());
    }
    found
}

pub(super) fn name_in_workspace(place: &Place) -> Vec<u8> {
    place.below_workspace().as_bytes().to_vec()
}

/// Links are among them only if `rsync` makes them.
pub(super) fn names_of_jobs(jobs: &[JobCopy], with_links: bool) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let is_meant =
        |(_, entry): &&(RelPath, Entry)| with_links || !matches!(entry.content, Content::Link(_));
    for job in jobs {
        let id = job.id.to_string();
        names.push(id.clone().into_bytes());
        let below = |(path, _): &(RelPath, Entry)| [id.as_bytes(), b"/", path.as_bytes()].concat();
        names.extend(job.entries.iter().filter(is_meant).map(below));
    }
    names
}

/// Says why something has not arrived: what was said of it, or else what can be seen.
pub(super) fn with_complaint(why: String, complaints: &Complaints, name: &[u8]) -> String {
    match (complaints.about(name), complaints.end()) {
        _ if complaints.is_stopped => STOPPED.to_owned(),
        (Some(line), _) => line.to_owned(),
        (None, Some(line)) => format!("rsync ended before: {line}"),
        (None, None) => why,
    }
}
