//! Files, and extended attributes.

use super::{FsError, ViewFs, locked};
use crate::mount::facts::{Content, read_at};
use crate::mount::generation::Inode;
use crate::mount::places::{At, Place, io_error};
use crate::mount::xattrs;
use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// An open file.
#[derive(Debug)]
pub enum OpenFile {
    /// One about jobs, as it was when it was opened.
    Fact(Arc<Content>),
    /// One in a job's directory.
    Real {
        /// The file.
        file: File,
        /// Whether it is as it was when it was last opened.
        unchanged: bool,
    },
}

impl OpenFile {
    /// Reads at most `size_bytes` from `offset`; fewer only at the end.
    pub fn read(&self, offset: u64, size_bytes: usize) -> Result<Vec<u8>, FsError> {
        let read = match self {
            Self::Fact(content) => content.read(offset, size_bytes),
            Self::Real { file, .. } => read_at(file, offset, size_bytes),
        };
        read.map_err(|error| FsError::Io(error.raw_os_error()))
    }
}

impl ViewFs {
    /// Opens a file.
    pub fn open(&self, ino: u64) -> Result<OpenFile, FsError> {
        let generation = self.current();
        let Inode::Passing(node) = self.resolve(&generation, ino)? else {
            return Err(FsError::IsADirectory);
        };
        let now = self.served_now();
        let at = self.at(&generation, &now);
        let place = at.place_of(&node)?.place;
        match &*place {
            Place::Fact(..) | Place::Text(_) => {
                // Not another than `stat` showed a moment before.
                let age_max = now.served.moment * 2;
                Ok(OpenFile::Fact(self.content(&at, ino, &place, age_max)?))
            }
            Place::InJob(job, path) => {
                let dir = at.job_dir(*job)?;
                let file = dir.open_file(path).map_err(|error| io_error(&error))?;
                let stamp = dir.details(path).map(|details| details.stamp).ok();
                let unchanged = match stamp {
                    Some(stamp) => locked(&self.opened).put(ino, stamp) == Some(stamp),
                    None => false,
                };
                Ok(OpenFile::Real { file, unchanged })
            }
            _ => Err(FsError::IsADirectory),
        }
    }

    pub(super) fn content(
        &self,
        at: &At<'_>,
        ino: u64,
        place: &Place,
        age_max: Duration,
    ) -> Result<Arc<Content>, FsError> {
        if let Some((made, content)) = locked(&self.contents).get(&ino)
            && made.elapsed() < age_max
        {
            return Ok(Arc::clone(content));
        }
        let made = Instant::now();
        let content = match place {
            Place::Fact(fact, jobs) => fact.content(at, jobs)?,
            Place::Text(text) => Content::of(format!("{text}\n").into_bytes()),
            _ => return Err(FsError::IsADirectory),
        };
        let content = Arc::new(content);
        locked(&self.contents).put(ino, (made, Arc::clone(&content)));
        Ok(content)
    }

    /// Returns the extended attributes of a directory below which there is one job: names and
    /// values.
    pub fn xattrs(&self, ino: u64) -> Result<Vec<(String, Vec<u8>)>, FsError> {
        let generation = self.current();
        let now = self.served_now();
        let at = self.at(&generation, &now);
        let place = match self.resolve(&generation, ino)? {
            Inode::Passing(node) => at.place_of(&node)?.place,
            Inode::InTree(..) => at.lasting(ino)?.place,
            _ => return Ok(Vec::new()),
        };
        match at.jobs(&place)? {
            Some(jobs) if jobs.len() == 1 => xattrs::of_job(&at, &jobs),
            _ => Ok(Vec::new()),
        }
    }
}

/// Open files by the number that the kernel hands back.
#[derive(Debug, Default)]
pub(in crate::mount) struct Handles {
    open: Mutex<(u64, HashMap<u64, Arc<OpenFile>>)>,
}

impl Handles {
    pub(in crate::mount) fn add(&self, file: Arc<OpenFile>) -> u64 {
        let mut open = locked(&self.open);
        open.0 += 1;
        let handle = open.0;
        open.1.insert(handle, file);
        handle
    }

    pub(in crate::mount) fn get(&self, handle: u64) -> Option<Arc<OpenFile>> {
        locked(&self.open).1.get(&handle).cloned()
    }

    pub(in crate::mount) fn remove(&self, handle: u64) -> Option<Arc<OpenFile>> {
        locked(&self.open).1.remove(&handle)
    }
}
