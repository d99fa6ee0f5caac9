//! A small process that unmounts when the daemon is killed.
//!
//! It reads from a pipe whose other end only the daemon holds. The daemon writes the number of its
//! mount once there is one, and a byte before it ends in order; the end of the pipe without that
//! byte means that it was killed.

use super::redirect::Redirect;
use super::table::{self, MountEntry};
use super::{MountError, daemon::program_argument};
use crate::exec::{self, Running};
use crate::fsx;
use rustix::pipe::PipeFlags;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a watchdog must know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WatchdogOptions {
    /// Where the daemon mounts.
    #[serde(with = "super::path_text")]
    pub mountpoint: PathBuf,
    /// Where that is in truth, and the link to it.
    pub redirect: Option<Redirect>,
}

/// The kernel closes the daemon's files one after the other, so the mount may die a little later
/// than the pipe.
const DEATH_MAX: Duration = Duration::from_secs(5);

/// A watchdog that cannot live is not started more often than this.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// How often to look whether the mount has died.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for the daemon's end, and unmounts if it was killed. The pipe is standard input.
///
/// Only a dead mount is taken away: another daemon may have mounted there meanwhile. It is known by
/// its number, since the project may have been moved, mount and all.
pub fn watch(options: &WatchdogOptions, mut pipe: impl Read) -> Result<(), MountError> {
    // Not to be found by `pkill sweepfs`, which is how daemons die.
    let _ = rustix::thread::set_name(c"mount-watchdog");
    let _ = rustix::process::setsid();
    let mut number = [0; 8];
    let mount_id = pipe
        .read_exact(&mut number)
        .is_ok()
        .then(|| u64::from_be_bytes(number));
    if pipe.read(&mut [0]).is_ok_and(|n| n > 0) {
        return Ok(());
    }
    for _ in 0..DEATH_MAX.as_millis() / PAUSE.as_millis() {
        let mut entries = table::mounts()?.into_iter().filter(MountEntry::is_ours);
        let entry = match mount_id {
            Some(id) => entries.find(|entry| entry.id == id),
            None => entries.find(|entry| entry.mountpoint == *options.place()),
        };
        match entry {
            Some(entry) if entry.is_dead() => {
                tracing::warn!(
                    "a daemon was killed; unmounting {}",
                    entry.mountpoint.display()
                );
                table::detach(&entry.mountpoint)?;
                return options.put_back();
            }
            Some(_) => std::thread::sleep(PAUSE),
            None => return options.put_back(),
        }
    }
    Ok(())
}

impl WatchdogOptions {
    fn place(&self) -> &Path {
        let redirect = self.redirect.as_ref();
        redirect.map_or(&self.mountpoint, |redirect| &redirect.real)
    }

    /// Puts the folder back whose place a link took, unless another daemon has taken over.
    fn put_back(&self) -> Result<(), MountError> {
        if let Some(redirect) = &self.redirect
            && table::mounted_at(&redirect.real)?.is_none()
        {
            redirect.undo();
        }
        Ok(())
    }
}

/// The daemon's side: keeps a watchdog alive until it stands down.
#[derive(Debug)]
pub(super) struct Guard(Arc<Mutex<GuardState>>);

#[derive(Debug, Default)]
struct GuardState {
    /// The write end of the current watchdog's pipe; `None` once it stood down.
    pipe: Option<File>,
    mount_id: Option<u64>,
}

impl GuardState {
    /// Tells the current watchdog what is known of the mount.
    fn tell(&mut self) {
        if let (Some(pipe), Some(id)) = (&mut self.pipe, self.mount_id) {
            let _ = pipe.write_all(&id.to_be_bytes());
        }
    }
}

impl Guard {
    /// Starts a watchdog, and another whenever one is killed.
    pub(super) fn start(
        program: PathBuf,
        log: PathBuf,
        options: WatchdogOptions,
    ) -> Result<Self, MountError> {
        let (mut watchdog, pipe) = start_one(&program, &log, &options)?;
        let state = Arc::new(Mutex::new(GuardState {
            pipe: Some(pipe),
            mount_id: None,
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            loop {
                let _ = watchdog.wait();
                let mut state = locked(&shared);
                if state.pipe.is_none() {
                    return;
                }
                tracing::warn!("the watchdog was killed; starting another");
                match start_one(&program, &log, &options) {
                    Ok((next, pipe)) => {
                        watchdog = next;
                        state.pipe = Some(pipe);
                        state.tell();
                    }
                    Err(error) => {
                        tracing::error!("cannot start a watchdog: {error}");
                        return;
                    }
                }
                drop(state);
                std::thread::sleep(RESTART_PAUSE);
            }
        });
        Ok(Self(state))
    }

    /// Tells the watchdog which mount is the daemon's.
    pub(super) fn protect(&self, mount_id: u64) {
        let mut state = locked(&self.0);
        state.mount_id = Some(mount_id);
        state.tell();
    }

    /// Tells the watchdog that the end is orderly.
    pub(super) fn stand_down(&self) {
        if let Some(mut pipe) = locked(&self.0).pipe.take() {
            let _ = pipe.write_all(&[1]);
        }
    }
}

fn locked(state: &Mutex<GuardState>) -> MutexGuard<'_, GuardState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
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
