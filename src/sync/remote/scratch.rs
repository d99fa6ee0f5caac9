//! Directories of our own for as long as we run.

use crate::fsx;
use crate::sync::SyncError;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that only we may enter, removed with all that is in it.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one, and removes those of processes that were killed.
    pub(super) fn new(above: &Path) -> Result<Self, SyncError> {
        static N: AtomicU32 = AtomicU32::new(0);
        fsx::create_private_dir_all(above)?;
        remove_abandoned(above);
        // Short, since paths of sockets must be.
        let pid = rustix::process::getpid().as_raw_nonzero();
        let n = N.fetch_add(1, Ordering::Relaxed);
        let path = above.join(format!("{pid}-{n}"));
        fsx::create_private_dir(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

fn remove_abandoned(above: &Path) {
    let mut abandoned = Vec::new();
    let _ = fsx::for_each_entry(above, |entry| {
        let name = entry.name.to_str();
        let pid = name.and_then(|name| name.split_once('-')?.0.parse().ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw);
        let is_gone = |pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH);
        if pid.is_some_and(is_gone) {
            abandoned.push(above.join(entry.name));
        }
    });
    for path in abandoned {
        let _ = fsx::remove_dir_all(&path);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fsx::remove_dir_all(&self.0);
    }
}
