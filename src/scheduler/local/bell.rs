//! A pipe with a name, through which the worker is told which arrays have changed. A wake-up only,
//! never the truth: what is not heard is found a second later.

use crate::report::with_causes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// The worker's end.
#[derive(Debug)]
pub(super) struct Bell(Option<File>);

impl Bell {
    /// Opens it, and makes it if there is none. Where there can be none, nothing is heard.
    pub(super) fn open(path: &Path) -> Self {
        let open = || {
            match rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(io::Error::from(error)),
            }
            // For writing, too: so it has no end when the last of those who ring has closed it.
            options().read(true).write(true).open(path)
        };
        let opened = open().map_err(|error| {
            let what = with_causes(&error);
            tracing::warn!("without the pipe `{}`: {what}", path.display());
        });
        Self(opened.ok())
    }

    /// Waits until it rings, at most so long. Returns which arrays have changed; `None` if it did
    /// not ring.
    pub(super) fn wait(&mut self, limit: Duration) -> Option<Vec<u64>> {
        let Some(pipe) = &mut self.0 else {
            std::thread::sleep(limit);
            return None;
        };
        let timeout = Timespec::try_from(limit).ok();
        let ready = poll(&mut [PollFd::new(pipe, PollFlags::IN)], timeout.as_ref());
        if !ready.is_ok_and(|n| n > 0) {
            return None;
        }
        let mut bytes = [0; 4096];
        let n = pipe.read(&mut bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..n]);
        Some(text.lines().filter_map(|id| id.parse().ok()).collect())
    }
}

/// Tells the worker, if there is one.
pub(super) fn ring(path: &Path, ids: &[u64]) {
    let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
    // If it is full, the worker has enough to do.
    let _ = options()
        .write(true)
        .open(path)
        .and_then(|mut pipe| pipe.write_all(text.as_bytes()));
}

fn options() -> std::fs::OpenOptions {
    let mut options = File::options();
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    options.custom_flags(flags.bits() as i32);
    options
}
