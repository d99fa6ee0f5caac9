//! What is in the directories of jobs.

use super::{At, Found, Listed, ListedKind, Place, Result};
use crate::catalog::JobIdx;
use crate::fsx::{Dir, FileType, FsError as FileError};
use crate::mount::fs::FsError;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl At<'_> {
    pub(super) fn step_in_job(
        &self,
        job: JobIdx,
        path: &Path,
        name: &[u8],
    ) -> Result<Option<(Found, bool)>> {
        let path = path.join(OsStr::from_bytes(name));
        let details = match self.job_dir(job)?.details(&path) {
            Ok(details) => details,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(io_error(&error)),
        };
        let found = is_shown(details.file_type)
            .then(|| (Found::Real(Place::InJob(job, path), details), true));
        Ok(found)
    }

    /// Opens a job's directory.
    pub(in crate::mount) fn job_dir(&self, job: JobIdx) -> Result<Dir> {
        let id = self.generation.snapshot.jobs()[job as usize].id;
        Dir::open(&self.served.workspace.job_dir(&id)).map_err(|error| io_error(&error))
    }

    pub(super) fn real_entries(&self, job: JobIdx, path: &Path) -> Result<Vec<Listed>> {
        let dir = self.job_dir(job)?;
        let mut names = Vec::new();
        let list = |dir: &Dir, names: &mut Vec<Box<[u8]>>| {
            dir.for_each_entry(|entry| names.push(entry.name.as_bytes().into()))
        };
        let listed = match path.as_os_str().is_empty() {
            true => list(&dir, &mut names),
            false => dir
                .open_dir(path)
                .and_then(|inner| list(&inner, &mut names)),
        };
        listed.map_err(|error| io_error(&error))?;
        names.sort_unstable();
        let entry = |name: Box<[u8]>| {
            let details = dir.details(&path.join(OsStr::from_bytes(&name))).ok()?;
            is_shown(details.file_type).then_some(Listed {
                name,
                is: ListedKind::Real(details),
            })
        };
        Ok(names.into_iter().filter_map(entry).collect())
    }
}

/// Devices are left out.
fn is_shown(file_type: FileType) -> bool {
    matches!(
        file_type,
        FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
    )
}

fn is_absence(error: &FileError) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

pub(in crate::mount) fn io_error(error: &FileError) -> FsError {
    match is_absence(error) {
        true => FsError::Stale,
        false => FsError::Io(error.cause.raw_os_error()),
    }
}
