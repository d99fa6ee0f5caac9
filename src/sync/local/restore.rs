//! What is brought back from the trash.

use super::super::path::Place;
use super::super::side::{FileCopy, Outcome, Restore, Run};
use super::super::tree::Entry;
use super::arrive::{Fault, copy_file};
use super::{CHANGED, LocalSide, entry_of, is_absent};
use crate::fsx::{self, Dir, Lock};
use crate::statepoint::JobId;
use crate::workflow::sidecar_lock;
use crate::workspace::STATEPOINT_FILE;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is said of what is not there any more.
const NOT_KEPT: &str = "it is no longer in the trash";

impl LocalSide {
    /// Brings a file, link or directory back that an earlier run has replaced or removed.
    pub(super) fn restore(&self, run: &Run, from: &str, restore: &Restore) -> Outcome {
        let place = &restore.place;
        if restore.before.is_dir() {
            return self.make_dir(&FileCopy {
                place: place.clone(),
                source: restore.before.clone(),
                before: None,
            });
        }
        let attempt = || {
            let _lock = self
                .lock_of(place)
                .map(|path| Lock::acquire(&path))
                .transpose()?;
            let (dir, name) = self.parent_of(place)?;
            match &restore.now {
                Some(now) if restore.differs_in_mode_only() => {
                    if entry_of(&dir, name)?.as_ref() != Some(now) {
                        return Err(Fault::Other(CHANGED));
                    }
                    let file = dir.open_file(Path::new(name))?;
                    fsx::set_mode_and_time(&file, restore.before.mode, None)?;
                }
                now => {
                    let (trash, kept) = self.kept(from, place, &restore.before)?;
                    match trash.device()? == dir.device()? {
                        true => {
                            self.put(run, place, (&trash, &kept), (&dir, name), now.as_ref())?;
                        }
                        // The project's document, if the jobs are on another file system.
                        false => {
                            let file = trash.open_file(Path::new(&kept))?;
                            self.arrive(run, place, now.as_ref(), |dir, name| {
                                copy_file(&file, &restore.before, dir, name, run).map(drop)
                            })?;
                            trash.remove(&kept)?;
                        }
                    }
                }
            }
            Ok(entry_of(&dir, name)?)
        };
        attempt().map_err(|fault: Fault| fault.reason())
    }

    /// Finds in the trash of a run what was at a place.
    fn kept(&self, run: &str, place: &Place, before: &Entry) -> Result<(Dir, OsString), Fault> {
        let path = place.below_project();
        let name = OsStr::from_bytes(path.file_name());
        let trash = self.open_kept(run, path.as_path().parent())?;
        let is_meant = |tried: &OsStr| -> Result<_, Fault> {
            Ok(entry_of(&trash, tried)?.map(|entry| entry.content == before.content))
        };
        let kept = first_kept(name, is_meant)?;
        Ok((trash, kept))
    }

    fn open_kept(&self, run: &str, parent: Option<&Path>) -> Result<Dir, Fault> {
        match self.trash.open_of(run, parent) {
            Err(error) if is_absent(&error) => Err(Fault::Other(NOT_KEPT)),
            trash => Ok(trash?),
        }
    }

    /// Brings a job back that an earlier run has removed.
    pub(super) fn restore_job(&self, from: &str, job: &JobId) -> Outcome {
        let restore = || {
            let _lock = Lock::acquire(&sidecar_lock(self.workspace(), &job.to_string()))?;
            let workspace = Dir::open(self.workspace().dir())?;
            let trash = self.open_kept(from, Some(Path::new("workspace")))?;
            let id = OsString::from(job.to_string());
            let is_meant = |tried: &OsStr| -> Result<_, Fault> {
                let is_there = entry_of(&trash, tried)?.is_some_and(|entry| entry.is_dir());
                let statepoint = Path::new(tried).join(STATEPOINT_FILE);
                Ok(is_there.then(|| trash.contains(&statepoint)))
            };
            let kept = first_kept(&id, is_meant)?;
            trash.rename_new(&kept, &workspace, &id)?;
            Ok(None)
        };
        restore().map_err(|fault: Fault| fault.reason())
    }
}

/// Tries the names that something may have got in the trash, until one is what is meant; there may be
/// others of the same run before it.
fn first_kept(
    name: &OsStr,
    is_meant: impl Fn(&OsStr) -> Result<Option<bool>, Fault>,
) -> Result<OsString, Fault> {
    let mut n = 1;
    loop {
        let mut tried = name.to_owned();
        if n > 1 {
            tried.push(format!("~{n}"));
        }
        match is_meant(&tried)? {
            Some(true) => return Ok(tried),
            Some(false) => n += 1,
            None => return Err(Fault::Other(NOT_KEPT)),
        }
    }
}
