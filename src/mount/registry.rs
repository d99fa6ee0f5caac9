//! What is mounted where, by which daemon: one JSON file per mount in the state directory.

use super::redirect::{self, Redirect};
use super::table::{self, MountEntry};
use super::{MountError, host, mountpoint};
use crate::fsx::{self, Durability, Lock};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A mount as its daemon registered it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountRecord {
    /// The directory.
    #[serde(with = "super::path_text")]
    pub mountpoint: PathBuf,
    /// The project that is served.
    #[serde(with = "super::path_text")]
    pub project: PathBuf,
    /// The daemon's process id.
    pub pid: u32,
    /// The daemon's start in clock ticks since boot: tells it from a later process of that id.
    pub pid_start: u64,
    /// The host it runs on.
    pub host: String,
    /// Seconds since 1970 when it was mounted.
    pub mounted_s: u64,
    /// It runs in the background and logs to a file.
    pub background: bool,
    /// The file it logs to; empty if it was written by an older version.
    #[serde(default, with = "super::path_text")]
    pub log: PathBuf,
    /// The mountpoint was made for it and is removed with it.
    pub made_mountpoint: bool,
    /// Where it is in truth, if the mountpoint is but a link to it.
    #[serde(default)]
    pub redirect: Option<Redirect>,
}

/// What has become of a registered mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MountState {
    /// It is served.
    Mounted,
    /// Its daemon is gone.
    Dead,
    /// It is on another host, about which nothing is known here.
    Elsewhere,
}

impl MountRecord {
    /// Finds out what has become of the mount.
    pub fn state(&self) -> MountState {
        if self.host != host() {
            return MountState::Elsewhere;
        }
        if process_start(self.pid) == Some(self.pid_start) {
            MountState::Mounted
        } else {
            MountState::Dead
        }
    }
}

/// The registry of one user.
#[derive(Clone, Debug)]
pub struct Registry {
    dir: PathBuf,
}

/// How long a daemon may take to unmount.
const STOP_LIMIT: Duration = Duration::from_secs(10);

impl Registry {
    /// Opens the registry below a state directory, which need not exist.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("mounts"),
        }
    }

    /// Returns all mounts, sorted by mountpoint. Files that are damaged are skipped: they are
    /// rewritten or removed when their mountpoint is used again.
    pub fn records(&self) -> Result<Vec<MountRecord>, MountError> {
        let mut records: Vec<MountRecord> = Vec::new();
        let listed = fsx::for_each_entry(&self.dir, |entry| {
            let path = self.dir.join(entry.name);
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let bytes = fsx::read(&path).unwrap_or_default();
                records.extend(serde_json::from_slice::<MountRecord>(&bytes).ok());
            }
        });
        match listed {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            listed => listed?,
        }
        records.sort_by(|a, b| a.mountpoint.cmp(&b.mountpoint));
        Ok(records)
    }

    /// Returns the record of a mountpoint on this host.
    pub fn record(&self, mountpoint: &Path) -> Option<MountRecord> {
        let bytes = fsx::read(&self.path(mountpoint, "json")).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub(super) fn write(&self, record: &MountRecord) -> Result<(), MountError> {
        self.ensure()?;
        let text = serde_json::to_string_pretty(record).expect("a record has no map with odd keys");
        Ok(fsx::write_atomic(
            &self.path(&record.mountpoint, "json"),
            text.as_bytes(),
            Durability::Process,
        )?)
    }

    /// Keeps other processes from mounting at a mountpoint, and from forgetting a mount there.
    pub(super) fn lock(&self, mountpoint: &Path) -> Result<Lock, MountError> {
        self.ensure()?;
        Ok(Lock::acquire(&self.path(mountpoint, "lock"))?)
    }

    /// Makes the directories, and refuses those that belong to somebody else.
    pub(super) fn ensure(&self) -> Result<(), MountError> {
        if let Some(state_dir) = self.dir.parent() {
            fsx::create_private_dir_all(state_dir)?;
        }
        Ok(fsx::create_private_dir_all(&self.dir)?)
    }

    /// Forgets a mount that has ended, puts its mountpoint back if that became a link, and removes it
    /// if it was made for the mount; unless another daemon has taken over meanwhile.
    pub(super) fn forget(&self, ended: &MountRecord) -> Result<(), MountError> {
        let _lock = self.lock(&ended.mountpoint)?;
        let record = self.record(&ended.mountpoint);
        if record
            .is_some_and(|record| (record.pid, record.pid_start) != (ended.pid, ended.pid_start))
        {
            return Ok(());
        }
        if let Some(redirect) = &ended.redirect {
            redirect.undo();
        }
        if ended.made_mountpoint {
            mountpoint::remove(&ended.mountpoint);
        }
        Ok(fsx::remove_file(&self.path(&ended.mountpoint, "json"))?)
    }

    /// Where the daemon of a mountpoint logs, unless it is told otherwise.
    pub fn log_path(&self, mountpoint: &Path) -> PathBuf {
        self.path(mountpoint, "log")
    }

    fn path(&self, mountpoint: &Path, extension: &str) -> PathBuf {
        let name = redirect::name_of(mountpoint);
        self.dir.join(format!("{name}.{extension}"))
    }

    /// Returns the mountpoint that was asked for, of a path that may be the place where it led.
    pub fn asked_for(&self, path: PathBuf) -> PathBuf {
        let real = redirect::seat(&path);
        let leads_there = |record: &MountRecord| {
            let redirect = record.redirect.as_ref();
            redirect.is_some_and(|redirect| redirect.real == real) && record.host == host()
        };
        let mut records = self.records().unwrap_or_default().into_iter();
        records
            .find(leads_there)
            .map_or(path, |record| record.mountpoint)
    }

    /// Unmounts a mountpoint, whether its daemon lives or not, and forgets it.
    pub fn unmount(&self, mountpoint: &Path) -> Result<(), MountError> {
        let record = self.record(mountpoint);
        let redirect = record.as_ref().and_then(|record| record.redirect.clone());
        let real = redirect.map_or_else(|| redirect::seat(mountpoint), |redirect| redirect.real);
        if let Some(record) = record
            .as_ref()
            .filter(|record| record.state() == MountState::Mounted)
        {
            stop_daemon(record);
        }
        let left = table::mounted_at(&real)?.filter(MountEntry::is_ours);
        if left.is_some() {
            table::detach(&real)?;
        }
        match (record, left) {
            (Some(record), _) => self.forget(&record),
            (None, Some(_)) => Ok(redirect::remove_stale(mountpoint)?),
            (None, None) if real != mountpoint => Ok(redirect::remove_stale(mountpoint)?),
            (None, None) => Err(MountError::NotMounted(mountpoint.to_owned())),
        }
    }

    /// Finds every mountpoint of ours: registered ones on this host, and those of the mount table
    /// that this user could unmount.
    pub fn all_mountpoints(&self) -> Result<Vec<PathBuf>, MountError> {
        let mut all: Vec<_> = self
            .records()?
            .into_iter()
            .filter(|record| record.state() != MountState::Elsewhere)
            .map(|r| r.mountpoint)
            .collect();
        let uid = rustix::process::getuid().as_raw();
        let dead = |entry: &MountEntry| entry.is_ours() && entry.belongs_to(uid) && entry.is_dead();
        all.extend(
            table::mounts()?
                .into_iter()
                .filter(dead)
                .map(|entry| self.asked_for(entry.mountpoint)),
        );
        all.sort();
        all.dedup();
        Ok(all)
    }
}

/// Asks a daemon to unmount and waits until it is gone.
fn stop_daemon(record: &MountRecord) {
    let Some(pid) = i32::try_from(record.pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    let _ = rustix::process::kill_process(pid, Signal::TERM);
    let _ = rustix::process::kill_process(pid, Signal::CONT);
    let pause = Duration::from_millis(10);
    for _ in 0..STOP_LIMIT.as_millis() / pause.as_millis() {
        if process_start(record.pid) != Some(record.pid_start) {
            return;
        }
        std::thread::sleep(pause);
    }
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// Returns when a process started, in clock ticks since boot; `None` if there is none, or only
/// one that has ended and was not yet waited for.
pub(super) fn process_start(pid: u32) -> Option<u64> {
    let fields = process_fields(pid)?;
    let has_ended = matches!(fields.first()?.as_str(), "Z" | "X");
    fields.get(19).filter(|_| !has_ended)?.parse().ok()
}

/// Returns the processor that a process, or thread, ran on last.
pub(super) fn process_processor(pid: u32) -> Option<usize> {
    process_fields(pid)?.get(36)?.parse().ok()
}

/// Returns the fields of `/proc/PID/stat` from the third on, which is the state. The name before
/// them, in parentheses, may contain anything.
fn process_fields(pid: u32) -> Option<Vec<String>> {
    let stat = fsx::read(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    let after_name = stat.iter().rposition(|&b| b == b')')? + 2;
    let fields = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    Some(fields.split(' ').map(ToOwned::to_owned).collect())
}
