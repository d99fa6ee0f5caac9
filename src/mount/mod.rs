//! Serves trees through FUSE.
//!
//! [`fs`] is a file system that knows no kernel: inode numbers, names and attributes go in and
//! out, and it is tested that way. [`adapter`] takes requests from `fuser`, and [`answers`] translates.
//! [`daemon`] runs it in the background, [`watchdog`] cleans up behind it, and [`registry`] remembers it.

mod activity;
mod adapter;
mod answers;
mod cookie;
mod daemon;
mod deadline;
mod facts;
mod fs;
mod generation;
mod mountpoint;
mod nodes;
mod path_text;
mod placement;
mod places;
mod preflight;
mod redirect;
mod refresh;
mod registry;
mod shown;
mod table;
mod tops;
mod watch;
mod watchdog;
mod xattrs;

pub use daemon::{Loaded, MountOptions, Outcome, parse_argument, serve, serve_as_daemon, start};
pub use fs::{Attributes, DirEntry, Due, FsError, Kind, Lifetime, OpenFile, Owner, ViewFs};
pub use generation::{Changes, ROOT};
pub use mountpoint::{default_mountpoint, resolve_mountpoint};
pub use preflight::{Check, Verdict, checks};
pub use redirect::Redirect;
pub use registry::{MountRecord, MountState, Registry};
pub use shown::{MOMENT, Served, Shown};
pub use watchdog::{WatchdogOptions, watch};

use crate::exec::ExecError;
use crate::fsx::FsError as FileError;
use crate::report::harmless;
use std::io;
use std::path::PathBuf;

/// Name that our mounts have in the mount table.
const FS_NAME: &str = "sweepfs";

/// Why something could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A helper program failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The project's settings cannot be used.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// There is no tree of that name.
    #[error("there is no tree `{name}`")]
    NoSuchTree {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A part of FUSE is missing.
    #[error("cannot mount: {what}")]
    Missing {
        /// The missing part.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// The mountpoint exists and is no directory.
    #[error("cannot mount on `{}`: it is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The mountpoint has entries, which the mount would hide.
    #[error("cannot mount on `{}`: it is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// The mountpoint lies in the workspace or the other way round.
    #[error("cannot mount on `{}`: it lies in the workspace, or the workspace in it", .0.display())]
    Overlap(PathBuf),
    /// Something else is mounted there.
    #[error("cannot mount on `{}`: {by} is mounted there", mountpoint.display())]
    Occupied {
        /// The directory.
        mountpoint: PathBuf,
        /// What is mounted.
        by: String,
    },
    /// The kernel or `fusermount3` refused.
    #[error("cannot mount on `{}`", mountpoint.display())]
    Refused {
        /// The directory.
        mountpoint: PathBuf,
        /// The refusal.
        #[source]
        cause: io::Error,
    },
    /// The daemon ended before it was ready.
    #[error("the mount daemon ended early; its log is `{}`", .0.display())]
    DaemonDied(PathBuf),
    /// The daemon said why it failed.
    #[error("{message}")]
    DaemonFailed {
        /// Its error with causes.
        message: String,
        /// Its remedy.
        hint: Option<String>,
        /// It refused rather than failed.
        refused: bool,
    },
    /// The daemon was silent for too long.
    #[error("the mount was not ready within {limit_s} s; its log is `{}`", log.display())]
    NotReady {
        /// Seconds without a sign of life.
        limit_s: u64,
        /// Where to look.
        log: PathBuf,
    },
    /// Nothing of ours is mounted there.
    #[error("no sweepfs mount at `{}`", .0.display())]
    NotMounted(PathBuf),
    /// The mount is still there.
    #[error("cannot unmount `{}`: {reason}", mountpoint.display())]
    CannotUnmount {
        /// The directory.
        mountpoint: PathBuf,
        /// What the helper said.
        reason: String,
    },
}

impl MountError {
    /// Tells whether a guard refused what could have been done, but should not be.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NotADirectory(_)
            | Self::NotEmpty(_)
            | Self::Overlap(_)
            | Self::Occupied { .. } => true,
            Self::DaemonFailed { refused, .. } => *refused,
            _ => false,
        }
    }

    /// Returns what the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { hint, .. } => Some(hint.clone()),
            Self::DaemonFailed { hint, .. } => hint.clone(),
            Self::NotADirectory(_) | Self::NotEmpty(_) | Self::Occupied { .. } => {
                Some("name another directory: `sweepfs mount DIR`".to_owned())
            }
            Self::Overlap(_) => Some(
                "mount outside the workspace, for example on `views` in the project".to_owned(),
            ),
            Self::Refused { .. } => {
                Some("`sweepfs doctor` checks everything a mount needs".to_owned())
            }
            Self::NoSuchTree { known, .. } => Some(format!("there are {}", known.join(", "))),
            Self::NotMounted(_) => Some("`sweepfs mounts` lists what is mounted".to_owned()),
            Self::File(error)
                if matches!(error.action, "create the directory" | "find the directory") =>
            {
                Some("name a directory you can write to: `sweepfs mount DIR`".to_owned())
            }
            _ => None,
        }
    }
}

/// Returns the name of this host, which tells apart registries in a shared home directory.
fn host() -> String {
    harmless(rustix::system::uname().nodename().to_string_lossy())
}
