//! A small process that unmounts when the daemon is killed.
//!
//! It reads from a pipe whose other end only the daemon holds. The daemon writes a byte before it
//! ends in order; the end of the pipe without that byte means that it was killed.

use super::table;
use super::{MountError, daemon::program_argument};
use crate::exec::{self, Running};
use crate::fsx;
use rustix::pipe::PipeFlags;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a watchdog must know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WatchdogOptions {
    /// Where the daemon mounts.
    #[serde(with = "super::path_text")]
    pub mountpoint: PathBuf,
}

/// The kernel closes the daemon's files one after the other, so the mount may die a little later
/// than the pipe.
const DEATH_MAX: Duration = Duration::from_secs(5);

/// How often to look whether the mount has died.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for the daemon's end, and unmounts if it was killed. The pipe is standard input.
///
/// Only a dead mount is taken away: another daemon may have mounted there meanwhile.
pub fn watch(options: &WatchdogOptions, mut pipe: impl Read) -> Result<(), MountError> {
    // Not to be found by `pkill sweepfs`, which is how daemons die.
    let _ = rustix::thread::set_name(c"mount-watchdog");
    let _ = rustix::process::setsid();
    if pipe.read(&mut [0]).is_ok_and(|n| n > 0) {
        return Ok(());
    }
    for _ in 0..DEATH_MAX.as_millis() / PAUSE.as_millis() {
        match table::mounted_at(&options.mountpoint)? {
            Some(entry) if entry.is_ours() && entry.is_dead() => {
                tracing::warn!(
                    "a daemon was killed; unmounting {}",
                    options.mountpoint.display()
                );
                return table::detach(&options.mountpoint);
            }
            Some(entry) if entry.is_ours() => std::thread::sleep(PAUSE),
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// The daemon's side: keeps a watchdog alive until it stands down.
#[derive(Debug)]
pub(super) struct Guard {
    /// The write end of the current watchdog's pipe; `None` once it stood down.
    pipe: Arc<Mutex<Option<File>>>,
}

impl Guard {
    /// Starts a watchdog, and another whenever one is killed.
    pub(super) fn start(
        program: PathBuf,
        log: PathBuf,
        options: WatchdogOptions,
    ) -> Result<Self, MountError> {
        let (mut watchdog, pipe) = start_one(&program, &log, &options)?;
        let pipe = Arc::new(Mutex::new(Some(pipe)));
        let shared = Arc::clone(&pipe);
        std::thread::spawn(move || {
            loop {
                let _ = watchdog.wait();
                let mut slot = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if slot.is_none() {
                    return;
                }
                tracing::warn!("the watchdog was killed; starting another");
                match start_one(&program, &log, &options) {
                    Ok((next, next_pipe)) => {
                        watchdog = next;
                        *slot = Some(next_pipe);
                    }
                    Err(error) => {
                        tracing::error!("cannot start a watchdog: {error}");
                        return;
                    }
                }
                drop(slot);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Ok(Self { pipe })
    }

    /// Tells the watchdog that the end is orderly.
    pub(super) fn stand_down(&self) {
        if let Some(mut pipe) = self
            .pipe
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            let _ = pipe.write_all(&[1]);
        }
    }
}

fn start_one(
    program: &Path,
    log: &Path,
    options: &WatchdogOptions,
) -> Result<(Running, File), MountError> {
    let cannot = |cause: rustix::io::Errno| fsx::FsError {
        action: "open a pipe for",
        path: program.to_owned(),
        cause: cause.into(),
    };
    let (read_end, write_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(cannot)?;
    let options = program_argument(options);
    let args = [OsStr::new("watchdog"), OsStr::new(&options)];
    let watchdog = exec::start_reader(program, &args, read_end, fsx::open_log(log)?)?;
    Ok((watchdog, File::from(write_end)))
}
