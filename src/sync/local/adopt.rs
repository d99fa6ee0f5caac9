//! What another program has brought beside the jobs and is now given its place.

use super::super::path::RelPath;
use super::super::side::{FileCopy, FoundText, JobCopy, Outcome, Run};
use super::super::tree::{Content, Entry};
use super::arrive::Fault;
use super::jobs::check;
use super::{LocalSide, entry_of, is_absent, reason};
use crate::fsx::{self, Dir, EntryKind};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is said of a file that is not what was asked for.
const NOT_ARRIVED: &str = "it has not arrived, or has changed meanwhile";

impl LocalSide {
    /// Gives a file that is in a directory of the same file system, under the path that it has in
    /// the workspace, its place.
    pub(in crate::sync) fn adopt_file(&self, run: &Run, from: &Dir, copy: &FileCopy) -> Outcome {
        let adopt = || {
            let path = copy.place.below_workspace();
            let (parent, name) = from.parent_of(path.as_path())?;
            let parent = parent.as_ref().unwrap_or(from);
            if !has_arrived(entry_of(parent, name)?.as_ref(), &copy.source, run) {
                return Err(Fault::Other(NOT_ARRIVED));
            }
            let (place, before) = (&copy.place, copy.before.as_ref());
            self.arrive(run, place, before, |dir, temporary| {
                Ok(parent.rename_new(name, dir, temporary)?)
            })
        };
        adopt().map_err(|fault: Fault| match &fault {
            Fault::Fs(error) if is_absent(error) => NOT_ARRIVED.to_owned(),
            fault => fault.reason(),
        })
    }

    /// Makes what needs no content: a directory, a link, other permissions.
    pub(in crate::sync) fn take_known(&self, run: &Run, copy: &FileCopy) -> Outcome {
        match copy.source.is_dir() {
            true => self.make_dir(copy),
            false => self.take_file(self, run, copy),
        }
    }

    /// Gives a job that is complete in a directory of the same file system its place. Returns its
    /// entries.
    pub(in crate::sync) fn adopt_job(
        &self,
        run: &Run,
        from: &Dir,
        job: &JobCopy,
    ) -> Result<Vec<Entry>, String> {
        let name = OsString::from(job.id.to_string());
        let adopt = || {
            let dir = from.open_dir(Path::new(&name))?;
            let mut known: HashMap<_, _> =
                job.entries.iter().map(|(path, _)| (path, None)).collect();
            keep_only(&dir, None, &mut known)?;
            let mut entries = Vec::with_capacity(job.entries.len());
            for (path, source) in &job.entries {
                let entry = match (known.remove(path).flatten(), &source.content) {
                    // Links are not brought, for what they say is known.
                    (None, Content::Link(text)) => make_link(&dir, path, text)?,
                    (found, _) => found,
                };
                match entry.filter(|entry| has_arrived(Some(entry), source, run)) {
                    Some(entry) => entries.push(entry),
                    None => return Err(Fault::Other(NOT_ARRIVED)),
                }
            }
            check(&dir, job)?;
            dir.set_mode(dir.mode()? | 0o700)?;
            let workspace = Dir::open(self.workspace().dir())?;
            from.rename_new(&name, &workspace, &name)?;
            Ok(entries)
        };
        adopt().map_err(|fault: Fault| match &fault {
            Fault::Fs(error) if is_absent(error) => NOT_ARRIVED.to_owned(),
            fault => fault.reason(),
        })
    }
}

fn make_link(dir: &Dir, path: &RelPath, text: &[u8]) -> Result<Option<Entry>, Fault> {
    let (parent, name) = dir.parent_of(path.as_path())?;
    let parent = parent.as_ref().unwrap_or(dir);
    parent.create_link_new(OsStr::from_bytes(text), name)?;
    Ok(entry_of(parent, name)?)
}

/// Reads a small file below a directory.
pub(in crate::sync) fn read_file(dir: &Dir, path: &Path) -> FoundText {
    let read = || {
        let (parent, name) = dir.parent_of(path)?;
        let parent = parent.as_ref().unwrap_or(dir);
        match entry_of(parent, name)? {
            Some(entry) if entry.is_file() => {
                let (bytes, _) = parent.read_file(Path::new(name), super::TEXT_BYTES_MAX)?;
                Ok(FoundText::Text(bytes, entry))
            }
            _ => Ok(FoundText::Absent),
        }
    };
    match read() {
        Ok(found) => found,
        Err(error) if is_absent(&error) => FoundText::Absent,
        Err(error) => FoundText::Unreadable(reason(&error)),
    }
}

/// Tells whether something is what was listed, as far as both file systems can tell.
pub(in crate::sync) fn has_arrived(found: Option<&Entry>, listed: &Entry, run: &Run) -> bool {
    found.is_some_and(|found| {
        let may_differ = run.takes_growing && found.is_file() && listed.is_file();
        may_differ || found.is_copy_of(listed)
    })
}

/// Notes what is below a directory, and removes what is not known: nobody asked for it, or an
/// earlier sync did, which was killed.
fn keep_only(
    dir: &Dir,
    above: Option<&RelPath>,
    known: &mut HashMap<&RelPath, Option<Entry>>,
) -> fsx::Result<()> {
    let mut names = Vec::new();
    dir.for_each_entry(|entry| names.push((entry.name.to_owned(), entry.kind)))?;
    for (name, kind) in names {
        let path = match above {
            None => RelPath::new(name.as_bytes()),
            Some(above) => above.join(name.as_bytes()),
        };
        let place = path.as_ref().ok().and_then(|path| known.get_mut(path));
        match (place, path.as_ref()) {
            (Some(place), Ok(path)) => {
                *place = entry_of(dir, &name)?;
                if kind == EntryKind::Dir {
                    keep_only(&dir.open_dir(Path::new(&name))?, Some(path), known)?;
                }
            }
            _ if kind == EntryKind::Dir => fsx::remove_dir_all(&dir.path().join(&name))?,
            _ => dir.remove(OsStr::new(&name))?,
        }
    }
    Ok(())
}
