//! Files that arrive in a data space, and leave it.

use super::super::pace::STOPPED;
use super::super::path::{Place, RelPath};
use super::super::side::{FileCopy, NewText, Outcome, Removal, Run};
use super::super::tree::{Content, Entry, INCOMING_SUFFIX, JobTree};
use super::list::is_as_listed;
use super::trash::with_free_name;
use super::{CHANGED, LocalSide, entry_of, is_absent, reason};
use crate::fsx::{self, Dir, Lock, Part};
use crate::workflow::{FLOW_FILE, sidecar_lock};
use crate::workspace::DOCUMENT_FILE;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use uuid::Uuid;

/// What is said of a file that somebody writes.
const GROWING: &str = "it is being written";

/// What is said of a job that cannot be put back.
const CHANGED_IN_TRASH: &str =
    "it has changed meanwhile, and was made anew; what it was is in the trash";

/// What is said of a place that is no longer free.
pub(in crate::sync) const TAKEN: &str =
    "something of that name, or of one that differs in case, is there";

/// Why something was not done.
pub(super) enum Fault {
    Fs(fsx::FsError),
    Io(io::Error),
    Other(&'static str),
}

impl From<fsx::FsError> for Fault {
    fn from(error: fsx::FsError) -> Self {
        Self::Fs(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Fault {
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Fs(error) if fsx::is_taken(error) => TAKEN.into(),
            Self::Fs(error) => reason(error),
            Self::Io(error) => error.to_string(),
            Self::Other(reason) => (*reason).into(),
        }
    }
}

/// Returns a name under which a file arrives.
fn incoming() -> OsString {
    format!("._{}{INCOMING_SUFFIX}", Uuid::new_v4()).into()
}

impl LocalSide {
    /// Writes a small file; writers of ours that take a lock wait meanwhile.
    pub(super) fn write(&self, run: &Run, text: &NewText) -> Outcome {
        let write = || {
            let _lock = self
                .lock_of(&text.place)
                .map(|path| Lock::acquire(&path))
                .transpose()?;
            self.arrive(run, &text.place, text.before.as_ref(), |dir, name| {
                let mut file = dir.create_file(name)?;
                file.write_all(&text.bytes)?;
                let mode = text.before.as_ref().map(|before| before.mode);
                let mode = mode.unwrap_or_else(fsx::usual_mode);
                // A clock may stand still between two writes, but the time of a file does not.
                let before = text.before.as_ref().and_then(Entry::modified);
                let stamp = fsx::stamp_of(&file)?;
                let not_before = before.filter(|before| *before >= stamp.modified);
                let modified = text
                    .modified
                    .or(not_before.map(|before| before.saturating_add(1)));
                Ok(fsx::set_mode_and_time(&file, mode, modified)?)
            })
        };
        write().map_err(|fault: Fault| fault.reason())
    }

    /// Returns the lock that guards a file.
    pub(super) fn lock_of(&self, place: &Place) -> Option<std::path::PathBuf> {
        let job = place.job?;
        match place.path.as_path().to_str()? {
            FLOW_FILE => Some(sidecar_lock(self.workspace(), &job.to_string())),
            DOCUMENT_FILE => Some(self.workspace().document_lock(&job)),
            _ => None,
        }
    }

    /// Copies a file or link from another data space.
    pub(super) fn take_file(&self, from: &Self, run: &Run, copy: &FileCopy) -> Outcome {
        let take = || match &copy.source.content {
            Content::Link(text) => {
                self.arrive(run, &copy.place, copy.before.as_ref(), |dir, name| {
                    Ok(dir.create_link_new(OsStr::from_bytes(text), name)?)
                })
            }
            _ if copy.differs_in_mode_only() => self.change_mode(copy),
            _ => {
                let (source, name) = from.parent_of(&copy.place)?;
                let file = source.open_file(Path::new(name))?;
                self.arrive(run, &copy.place, copy.before.as_ref(), |dir, name| {
                    copy_file(&file, &copy.source, dir, name, run).map(drop)
                })
            }
        };
        take().map_err(|fault: Fault| fault.reason())
    }

    fn change_mode(&self, copy: &FileCopy) -> Result<Option<Entry>, Fault> {
        let (dir, name) = self.parent_of(&copy.place)?;
        if entry_of(&dir, name)? != copy.before {
            return Err(Fault::Other(CHANGED));
        }
        let file = dir.open_file(Path::new(name))?;
        fsx::set_mode_and_time(&file, copy.source.mode, None)?;
        Ok(entry_of(&dir, name)?)
    }

    pub(super) fn make_dir(&self, copy: &FileCopy) -> Outcome {
        let make = || {
            let (dir, name) = self.parent_of(&copy.place)?;
            match dir.create_dir_new(name) {
                Ok(()) => dir
                    .open_dir(Path::new(name))?
                    .set_mode(copy.source.mode | 0o700)?,
                Err(error) if fsx::is_taken(&error) => {
                    if !entry_of(&dir, name)?.is_some_and(|entry| entry.is_dir()) {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            Ok(entry_of(&dir, name)?)
        };
        make().map_err(|fault: Fault| fault.reason())
    }

    /// Lets a file or link arrive under a temporary name, and gives it its own if there is still
    /// what there was.
    pub(super) fn arrive(
        &self,
        run: &Run,
        place: &Place,
        before: Option<&Entry>,
        fill: impl FnOnce(&Dir, &OsStr) -> Result<(), Fault>,
    ) -> Result<Option<Entry>, Fault> {
        let (dir, name) = self.parent_of(place)?;
        let temporary = incoming();
        let arrived = fill(&dir, &temporary)
            .and_then(|()| self.put(run, place, (&dir, &temporary), (&dir, name), before));
        if arrived.is_err() {
            let _ = dir.remove(&temporary);
        }
        arrived?;
        Ok(entry_of(&dir, name)?)
    }

    /// Gives a file or link its place, if there is still what there was.
    pub(super) fn put(
        &self,
        run: &Run,
        place: &Place,
        (from, temporary): (&Dir, &OsStr),
        (dir, name): (&Dir, &OsStr),
        before: Option<&Entry>,
    ) -> Result<(), Fault> {
        let Some(before) = before else {
            return Ok(from.rename_new(temporary, dir, name)?);
        };
        let is_as_before = || -> Result<bool, Fault> {
            Ok(entry_of(dir, name)?.as_ref() == Some(before) && !before.is_dir())
        };
        if !is_as_before()? {
            return Err(Fault::Other(CHANGED));
        }
        let path = place.below_project();
        let trash = self.trash.open(run, path.as_path().parent())?;
        let kept = with_free_name(name, |free| dir.keep(name, &trash, free))?;
        if !is_as_before()? {
            trash.remove(&kept)?;
            return Err(Fault::Other(CHANGED));
        }
        Ok(from.rename(temporary, dir, name)?)
    }

    /// Moves a file or link to the trash.
    pub(super) fn remove(&self, run: &Run, removal: &Removal) -> Outcome {
        let remove = || {
            let (dir, name) = match self.parent_of(&removal.place) {
                Err(error) if is_absent(&error) => return Ok(None),
                parent => parent?,
            };
            match entry_of(&dir, name)? {
                None => return Ok(None),
                Some(entry) if entry != removal.before => return Err(Fault::Other(CHANGED)),
                Some(_) => {}
            }
            let path = removal.place.below_project();
            let trash = self.trash.open(run, path.as_path().parent())?;
            let kept = with_free_name(name, |free| dir.rename_new(name, &trash, free))?;
            if entry_of(&trash, &kept)?.as_ref() != Some(&removal.before) {
                // Somebody has just put another one in its place.
                trash.rename_new(&kept, &dir, name)?;
                return Err(Fault::Other(CHANGED));
            }
            Ok(None)
        };
        remove().map_err(|fault: Fault| fault.reason())
    }

    /// Removes a directory if it is empty.
    pub(super) fn remove_dir(&self, removal: &Removal) -> Outcome {
        let remove = || {
            let (dir, name) = match self.parent_of(&removal.place) {
                Err(error) if is_absent(&error) => return Ok(None),
                parent => parent?,
            };
            dir.remove_dir_if_empty(Path::new(name))?;
            Ok(entry_of(&dir, name)?)
        };
        remove().map_err(|fault: Fault| fault.reason())
    }

    /// Moves a job to the trash, if all of it is as it was listed. What begins an execution of it
    /// takes the lock before, too.
    pub(super) fn remove_job(&self, run: &Run, job: &JobTree) -> Outcome {
        let remove = || {
            let id = OsString::from(job.id.to_string());
            let _lock = Lock::acquire(&sidecar_lock(self.workspace(), &job.id.to_string()))?;
            let dir = Dir::open(self.workspace().dir())?;
            match is_as_listed(&dir, &id, job)? {
                None if !dir.contains(Path::new(&id)) => return Ok(None),
                Some(true) => {}
                _ => return Err(Fault::Other(CHANGED)),
            }
            let trash = self.trash.open(run, Some(Path::new("workspace")))?;
            let kept = with_free_name(&id, |free| dir.rename_new(&id, &trash, free))?;
            if is_as_listed(&trash, &kept, job)? != Some(true) {
                // Somebody has just written in it.
                let back = trash.rename_new(&kept, &dir, &id);
                return Err(Fault::Other(back.map_or(CHANGED_IN_TRASH, |()| CHANGED)));
            }
            Ok(None)
        };
        remove().map_err(|fault: Fault| fault.reason())
    }

    /// Gives a file another name in its job.
    pub(super) fn rename(&self, from: &Removal, to: &RelPath) -> Outcome {
        let rename = || {
            let (dir, name) = self.parent_of(&from.place)?;
            if entry_of(&dir, name)?.as_ref() != Some(&from.before) {
                return Err(Fault::Other(CHANGED));
            }
            let to_name = OsStr::from_bytes(to.file_name());
            dir.rename_new(name, &dir, to_name)?;
            Ok(entry_of(&dir, to_name)?)
        };
        rename().map_err(|fault: Fault| fault.reason())
    }
}

impl FileCopy {
    /// The content that is there is that which would be copied.
    pub(in crate::sync) fn differs_in_mode_only(&self) -> bool {
        let before = self.before.as_ref();
        before.is_some_and(|before| {
            before.is_file()
                && before.content == self.source.content
                && before.mode != self.source.mode
        })
    }
}

/// Copies an open file to a new one, with its time and permissions. A file that is not as it was
/// listed, or changes meanwhile, is refused, unless the run takes those, too.
pub(super) fn copy_file(
    from: &File,
    source: &Entry,
    dir: &Dir,
    name: &OsStr,
    run: &Run,
) -> Result<File, Fault> {
    let is_as_listed = |stat: &fsx::Stamp| {
        Some(stat.modified) == source.modified() && stat.size_bytes == source.size_bytes()
    };
    let before = fsx::stamp_of(from)?;
    if !run.takes_growing && !is_as_listed(&before) {
        return Err(Fault::Other(GROWING));
    }
    let to = dir.create_file(name)?;
    fsx::copy_content(from, &to, before.size_bytes, &mut |part| {
        match part {
            Part::Moved(bytes) => run.pace.moved(bytes),
            Part::Shared(bytes) => run.pace.reported(bytes),
        }
        match run.pace.is_cut() {
            true => Err(io::Error::other(STOPPED)),
            false => Ok(()),
        }
    })?;
    if !run.takes_growing && !is_as_listed(&fsx::stamp_of(from)?) {
        return Err(Fault::Other(GROWING));
    }
    fsx::set_mode_and_time(&to, source.mode, Some(before.modified))?;
    Ok(to)
}
