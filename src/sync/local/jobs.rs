//! Jobs that arrive whole.

use super::super::path::RelPath;
use super::super::side::{JobCopy, Run};
use super::super::statepoints::verify;
use super::super::tree::{Content, Entry};
use super::arrive::{Fault, copy_file};
use super::{INCOMING, LocalSide, entry_of};
use crate::fsx::{self, Dir};
use crate::workspace::STATEPOINT_FILE;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Builds a copy of a job beside the others and gives it its name. Returns its entries as they are
/// there.
pub(super) fn copy_job(
    from: &LocalSide,
    to: &LocalSide,
    run: &Run,
    job: &JobCopy,
) -> Result<Vec<Entry>, String> {
    let name = OsString::from(job.id.to_string());
    let copy = || {
        let workspace = Dir::open(to.workspace().dir())?;
        if workspace.contains(Path::new(&name)) {
            return Err(Fault::Other("a job of that id is there meanwhile"));
        }
        let source = from.job_dir(&job.id)?;
        workspace.create_dir(Path::new(INCOMING))?;
        let incoming = workspace.open_dir(Path::new(INCOMING))?;
        incoming.create_dir_new(&name)?;
        let target = incoming.open_dir(Path::new(&name))?;
        let entries = fill(&source, &target, run, job)?;
        check(&target, job)?;
        target.set_mode(source.mode()? | 0o700)?;
        incoming.rename_new(&name, &workspace, &name)?;
        Ok(entries)
    };
    let copied = copy();
    if copied.is_err() {
        let _ = fsx::remove_dir_all(&to.workspace().dir().join(INCOMING).join(&name));
    }
    copied.map_err(|fault| fault.reason())
}

/// Copies all entries; returns them as they are there.
fn fill(source: &Dir, target: &Dir, run: &Run, job: &JobCopy) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::with_capacity(job.entries.len());
    let mut open: Option<(RelPath, Dir, Dir)> = None;
    for (path, entry) in &job.entries {
        let parent = path.parent();
        if open.as_ref().map(|(path, ..)| path) != parent.as_ref() {
            open = match parent {
                None => None,
                Some(parent) => {
                    let (from, to) = (
                        source.open_dir(parent.as_path())?,
                        target.open_dir(parent.as_path())?,
                    );
                    Some((parent, from, to))
                }
            };
        }
        let (from, to) = match &open {
            Some((_, from, to)) => (from, to),
            None => (source, target),
        };
        let name = OsStr::from_bytes(path.file_name());
        match &entry.content {
            Content::Dir => to.create_dir_new(name)?,
            Content::Link(text) => to.create_link_new(OsStr::from_bytes(text), name)?,
            Content::File { .. } => {
                let file = from.open_file(Path::new(name))?;
                let copy = copy_file(&file, entry, to, name, run)?;
                let stamp = fsx::stamp_of(&copy)?;
                entries.push(Entry {
                    content: Content::File {
                        size_bytes: stamp.size_bytes,
                        modified: stamp.modified,
                    },
                    mode: entry.mode,
                });
                continue;
            }
        }
        entries.push(entry_of(to, name)?.ok_or(Fault::Other("it has gone meanwhile"))?);
    }
    // Only now, for nothing can be put into a directory that may not be written.
    for ((path, entry), arrived) in job.entries.iter().zip(&mut entries).rev() {
        if entry.is_dir() {
            target
                .open_dir(path.as_path())?
                .set_mode(entry.mode | 0o700)?;
            arrived.mode = entry.mode | 0o700;
        }
    }
    Ok(entries)
}

/// Makes sure that what arrived is the job of its id.
pub(super) fn check(target: &Dir, job: &JobCopy) -> Result<(), Fault> {
    let (bytes, _) = target.read_file(Path::new(STATEPOINT_FILE), super::TEXT_BYTES_MAX)?;
    match verify(&job.id, &bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::Other("its state point is not that of its id")),
    }
}
