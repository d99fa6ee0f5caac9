//! Other copies of the project, and where they are.

use super::context::Context;
use super::error::CliError;
use crate::config::{RemoteConfig, bandwidth_bytes};
use crate::fsx::{self, Durability, Lock};
use crate::statepoint::JobId;
use crate::sync::{Address, LocalSide, Memory, Peer, RemoteOptions, RemoteSide, SyncError};
use crate::workspace::{Project, ProjectError, Workspace};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What is remembered of remotes, below the project's directory.
const REMOTES: &str = ".sweepfs/remotes";

/// What stands where a remote may stand, and is none.
pub(super) const COMMANDS: [&str; 2] = ["undo", "log"];

/// Of a remote: digests of its files.
const DIGESTS: &str = "digests";

/// Digits of the digest of an address that tell it from another.
const DIGITS: usize = 12;

/// Its time is that of the last sync.
const SYNCED: &str = "synced";

const SECOND_NS: i64 = 1_000_000_000;

/// Another copy of the project.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    /// Its name in messages.
    pub(super) name: String,
    /// Where it is.
    pub(super) address: Address,
    /// How it is synced with.
    pub(super) config: RemoteConfig,
    /// It has a name in the settings.
    is_named: bool,
}

/// A remote that is ready to be synced with.
pub(super) struct Opened {
    pub(super) peer: Box<dyn Peer + Send>,
    /// Held until the end.
    pub(super) _lock: Option<Lock>,
}

impl Remote {
    /// Finds what is meant: a name of the settings, a path, or `host:path`. Without a word, the only
    /// one of the settings.
    pub(super) fn find(
        context: &Context<'_>,
        root: &Path,
        remotes: &BTreeMap<String, RemoteConfig>,
        word: Option<&str>,
    ) -> Result<Self, CliError> {
        let known = || {
            remotes
                .keys()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
        };
        let word = match (word, remotes.len()) {
            (Some(word), _) => word,
            (None, 1) => remotes.keys().next().map_or("", String::as_str),
            (None, 0) => {
                let error = CliError::usage("with what shall the project be synced?");
                return Err(
                    error.with_hint("name a path, or `host:path`: `sweepfs sync hal:project`")
                );
            }
            (None, _) => {
                let error = CliError::usage("there are several remotes");
                let hint = format!("name one of {}, or give `--all`", known().join(", "));
                return Err(error.with_hint(hint));
            }
        };
        if let Some(config) = remotes.get(word) {
            return Ok(Self {
                name: word.to_owned(),
                address: address(&config.url, root)?,
                config: config.clone(),
                is_named: true,
            });
        }
        let address = address(word, &context.dir)?;
        let is_path = word.contains('/') || matches!(word, "." | "..");
        let is_missing = match &address {
            Address::Here(path) => !is_path && !path.exists(),
            Address::There { .. } => false,
        };
        if is_missing {
            let error = CliError::usage(format!("there is no remote or directory `{word}`"));
            return Err(error.with_hint(match remotes.is_empty() {
                _ if COMMANDS.contains(&word) => {
                    format!("options of `sweepfs sync {word}` stand behind it")
                }
                true => format!("`sweepfs remote add {word} host:path` adds it"),
                false => format!("there are {}", known().join(", ")),
            }));
        }
        Ok(Self {
            name: word.trim_end_matches('/').to_owned(),
            address,
            config: RemoteConfig::default(),
            is_named: false,
        })
    }

    /// Opens it; unless nothing is to be changed, no other sync may be at work there.
    pub(super) fn open(
        &self,
        context: &Context<'_>,
        local: &LocalSide,
        changes: bool,
    ) -> Result<Opened, CliError> {
        match &self.address {
            Address::Here(path) => {
                let side = local_side(path, &self.name)?;
                let (here, there) = (local.workspace(), side.workspace());
                if here.project_root() == there.project_root() {
                    return Err(SyncError::Same(self.name.clone()).into());
                }
                if is_below(here, there) || is_below(there, here) {
                    return Err(SyncError::Nested(self.name.clone()).into());
                }
                let lock = if changes { side.lock()? } else { None };
                Ok(Opened {
                    peer: Box::new(side),
                    _lock: lock,
                })
            }
            Address::There { .. } => {
                let mut side = self.connect(context)?;
                side.keep_digests(self.memory(local).dir().join(DIGESTS));
                if changes {
                    side.lock()?;
                }
                Ok(Opened {
                    peer: Box::new(side),
                    _lock: None,
                })
            }
        }
    }

    /// Returns where it is, in the same words whatever the user calls it.
    pub(super) fn place(&self) -> String {
        match &self.address {
            Address::Here(path) => {
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                path.to_string_lossy().into_owned()
            }
            address => address.to_string(),
        }
    }

    /// Returns a word by which it is found, from whatever directory.
    pub(super) fn word(&self) -> String {
        match self.is_named {
            true => self.name.clone(),
            false => self.place(),
        }
    }

    /// Returns what is remembered of it. Of the same name at another place, nothing is.
    pub(super) fn memory(&self, local: &LocalSide) -> Memory {
        let digest = &JobId::of_canonical(&self.place()).to_string()[..DIGITS];
        let key = match self.is_named {
            true => format!("{}-{digest}", self.name),
            false => digest.to_owned(),
        };
        let root = local.workspace().project_root();
        Memory::new(root.join(REMOTES).join(key))
    }

    /// Connects to it; it must be on another machine.
    pub(super) fn connect(&self, context: &Context<'_>) -> Result<RemoteSide, CliError> {
        Ok(RemoteSide::open(self.options(context)?)?)
    }

    /// Returns how it is reached; it must be on another machine.
    pub(super) fn options(&self, context: &Context<'_>) -> Result<RemoteOptions, CliError> {
        let Address::There { host, path } = &self.address else {
            let message = format!("`{}` is not on another machine", self.name);
            return Err(CliError::usage(message));
        };
        Ok(RemoteOptions {
            host: host.clone(),
            path: path.clone(),
            name: self.name.clone(),
            ssh: self.config.ssh.iter().map(Into::into).collect(),
            rsync: self.config.rsync.clone(),
            bandwidth: self.config.bandwidth.clone(),
            compress: self.config.compress,
            runtime_dir: context.connection_dir(),
            can_ask: can_ask(),
        })
    }

    /// Has another bandwidth than that of the settings, if one is given; `0` is any.
    pub(super) fn limited(mut self, bandwidth: Option<&str>) -> Self {
        if let Some(bandwidth) = bandwidth {
            self.config.bandwidth = Some(bandwidth.to_owned());
        }
        self
    }

    /// Returns the bytes that may be moved in a second; `None` is any number.
    pub(super) fn rate_bytes(&self) -> Option<f64> {
        let bandwidth = self.config.bandwidth.as_deref()?;
        bandwidth_bytes(bandwidth).ok().filter(|bytes| *bytes > 0.0)
    }

    /// Returns when the last sync with it was done; `None` if there was none.
    pub(super) fn last_sync(&self, local: &LocalSide) -> Option<Timestamp> {
        let stamp = fsx::stamp(&self.memory(local).dir().join(SYNCED)).ok()?;
        Timestamp::from_second(stamp.modified / SECOND_NS).ok()
    }

    /// Notes that a sync with it was done now.
    pub(super) fn note_sync(&self, local: &LocalSide) -> Result<(), CliError> {
        let dir = self.memory(local).dir().to_owned();
        fsx::create_dir_all(&dir)?;
        Ok(fsx::write_atomic(
            &dir.join(SYNCED),
            b"",
            Durability::Process,
        )?)
    }

    /// Returns its name as a part of the name of a file.
    pub(super) fn file_name(&self) -> String {
        let last = self.name.rsplit('/').next().unwrap_or_default();
        let is_plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        last.chars()
            .map(|c| if is_plain(c) { c } else { '_' })
            .collect()
    }
}

/// Tells whether there is a user who can be asked for a password.
pub(super) fn can_ask() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Reads an address; a path is one from a directory.
pub(super) fn address(text: &str, dir: &Path) -> Result<Address, CliError> {
    let is_here = text.contains(':') && dir.join(text).exists();
    match Address::parse(text).map_err(CliError::usage)? {
        Address::Here(path) => Ok(Address::Here(dir.join(path))),
        Address::There { .. } if is_here => Ok(Address::Here(dir.join(text))),
        there => Ok(there),
    }
}

impl Context<'_> {
    /// Returns the directory for the sockets of connections, whose paths must be short.
    fn connection_dir(&self) -> PathBuf {
        /// A socket's path has 108 bytes at most, and its name and what `ssh` adds need 40.
        const BYTES_MAX: usize = 68;
        let uid = rustix::process::getuid().as_raw();
        let usual = self.runtime_dir().join("ssh");
        match usual.as_os_str().len() > BYTES_MAX {
            true => PathBuf::from(format!("/tmp/sweepfs-{uid}/ssh")),
            false => usual,
        }
    }
}

/// Opens the project of exactly that directory, without links on the way.
pub(super) fn local_side(path: &Path, name: &str) -> Result<LocalSide, CliError> {
    let no_project = || SyncError::NoProject(path.display().to_string());
    let path = path.canonicalize().map_err(|_| no_project())?;
    let project = match Project::discover(&path) {
        Ok(project) if project.root() == path => project,
        Ok(_) | Err(ProjectError::NotFound(_)) => return Err(no_project().into()),
        Err(error) => return Err(error.into()),
    };
    Ok(LocalSide::new(&project, name))
}

/// Tells whether a project lies below the workspace of another one.
fn is_below(inner: &Workspace, outer: &Workspace) -> bool {
    let dir = fsx::physical(outer.dir());
    dir.is_ok_and(|dir| inner.project_root().starts_with(dir))
}
