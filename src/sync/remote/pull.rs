//! Bringing files from there to here.

use super::RemoteSide;
use super::rsync::Transfer;
use super::scratch::Scratch;
use super::transfer::{name_in_workspace, names_of_jobs, ranges, with_complaint};
use super::words::name_of;
use crate::fsx::{self, Dir};
use crate::sync::LocalSide;
use crate::sync::local::{ARRIVING, read_file};
use crate::sync::pace::STOPPED;
use crate::sync::path::Place;
use crate::sync::side::{Done, FileCopy, FoundText, JobCopy, JobDone, Run, SyncError, Whose};
use std::ffi::OsString;

/// So many small files are read at once.
const TEXTS_AT_ONCE: usize = 2000;

impl RemoteSide {
    /// Reads small files by way of a directory here.
    pub(super) fn fetch_texts(&self, places: &[Place]) -> Result<Vec<FoundText>, SyncError> {
        let mut found = Vec::with_capacity(places.len());
        for places in places.chunks(TEXTS_AT_ONCE) {
            let scratch = Scratch::new(self.scratch.path())?;
            let names: Vec<_> = places.iter().map(name_of).collect();
            let complaints = self.transfer(&Transfer {
                to: Whose::Local,
                here: scratch.path(),
                there: self.root(),
                names: &names,
                options: Vec::new(),
                run: None,
            })?;
            let dir = Dir::open(scratch.path())?;
            for (place, name) in places.iter().zip(&names) {
                let complaint = complaints.naming(name);
                let is_gone = complaint.is_none_or(|line| line.contains("No such file"));
                found.push(match read_file(&dir, place.below_project().as_path()) {
                    FoundText::Absent if !is_gone || complaints.is_cut => {
                        FoundText::Unreadable(complaint.unwrap_or("it has not arrived").to_owned())
                    }
                    found => found,
                });
            }
        }
        Ok(found)
    }

    pub(super) fn pull_jobs(
        &self,
        local: &LocalSide,
        run: &Run,
        jobs: &[JobCopy],
        done: &JobDone<'_>,
    ) -> Result<(), SyncError> {
        let arriving = Arriving::open(local)?;
        for range in ranges(jobs, |job| (job.entries.len() + 1, job.size_bytes())) {
            if run.pace.is_over() {
                range.for_each(|at| done(at, Err(STOPPED.to_owned())));
                continue;
            }
            let complaints = self.transfer(&Transfer {
                to: Whose::Local,
                here: arriving.dir.path(),
                there: &self.workspace(),
                names: &names_of_jobs(&jobs[range.clone()], false),
                options: Vec::new(),
                run: Some(run),
            })?;
            for at in range {
                let adopted = local.adopt_job(run, &arriving.dir, &jobs[at]);
                let id = jobs[at].id.to_string();
                done(
                    at,
                    adopted.map_err(|why| with_complaint(why, &complaints, id.as_bytes())),
                );
            }
        }
        arriving.remove(run);
        Ok(())
    }

    pub(super) fn pull_files(
        &self,
        local: &LocalSide,
        run: &Run,
        files: &[FileCopy],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let mut transferred = Vec::new();
        for (at, copy) in files.iter().enumerate() {
            match copy.source.is_file() && !copy.differs_in_mode_only() {
                true => transferred.push((at, copy)),
                // All that must be known of it is.
                false => done(at, local.take_known(run, copy)),
            }
        }
        if transferred.is_empty() {
            return Ok(());
        }
        let arriving = Arriving::open(local)?;
        for range in ranges(&transferred, |(_, copy)| (1, copy.source.size_bytes())) {
            let batch = &transferred[range];
            if run.pace.is_over() {
                batch
                    .iter()
                    .for_each(|(at, _)| done(*at, Err(STOPPED.to_owned())));
                continue;
            }
            let names: Vec<_> = batch
                .iter()
                .map(|(_, copy)| name_in_workspace(&copy.place))
                .collect();
            let mut basis = OsString::from("--copy-dest=");
            basis.push(local.workspace().dir());
            let complaints = self.transfer(&Transfer {
                to: Whose::Local,
                here: arriving.dir.path(),
                there: &self.workspace(),
                names: &names,
                options: vec![basis],
                run: Some(run),
            })?;
            for ((at, copy), name) in batch.iter().zip(&names) {
                let adopted = local.adopt_file(run, &arriving.dir, copy);
                done(
                    *at,
                    adopted.map_err(|why| with_complaint(why, &complaints, name)),
                );
            }
        }
        arriving.remove(run);
        Ok(())
    }
}

/// The place here where jobs and files arrive.
struct Arriving {
    dir: Dir,
}

impl Arriving {
    fn open(local: &LocalSide) -> Result<Self, SyncError> {
        local.workspace().ensure()?;
        let path = local.workspace().dir().join(ARRIVING);
        fsx::create_private_dir(&path)?;
        Ok(Self {
            dir: Dir::open(&path)?,
        })
    }

    /// Removes what nobody will ask for again. After an error, and if the time was over, it stays for
    /// the next sync.
    fn remove(self, run: &Run) {
        if !run.pace.is_over() {
            let _ = fsx::remove_dir_all(self.dir.path());
        }
    }
}
