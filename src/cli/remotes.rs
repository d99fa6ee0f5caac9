//! Other copies of the project, and where they are.

use super::context::Context;
use super::error::CliError;
use crate::config::RemoteConfig;
use crate::fsx::Lock;
use crate::statepoint::JobId;
use crate::sync::{LocalSide, Memory, Peer, SyncError};
use crate::workspace::{Project, ProjectError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is remembered of remotes, below the project's directory.
const REMOTES: &str = ".sweepfs/remotes";

/// Digits of the digest of an address that tell it from another.
const DIGITS: usize = 12;

/// Another copy of the project.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    /// Its name in messages.
    pub(super) name: String,
    pub(super) address: Address,
    pub(super) config: RemoteConfig,
    /// Its name in the settings.
    is_named: bool,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// On this machine.
    Path(PathBuf),
    /// On another one.
    Ssh { host: String, path: String },
}

impl Address {
    /// Reads `host:path`, or a path, from a directory.
    fn parse(text: &str, dir: &Path) -> Self {
        match text.split_once(':') {
            Some((host, path))
                if !host.is_empty() && !host.contains('/') && !dir.join(text).exists() =>
            {
                Self::Ssh {
                    host: host.to_owned(),
                    path: path.to_owned(),
                }
            }
            _ => Self::Path(dir.join(text)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Path(path) => path.to_string_lossy().into_owned(),
            Self::Ssh { host, path } => format!("{host}:{path}"),
        }
    }
}

/// A remote that is ready to be synced with.
pub(super) struct Opened {
    pub(super) peer: Box<dyn Peer>,
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
                address: Address::parse(&config.url, root),
                config: config.clone(),
                is_named: true,
            });
        }
        let address = Address::parse(word, &context.dir);
        let is_path = word.contains('/') || matches!(word, "." | "..");
        let is_missing = match &address {
            Address::Path(path) => !is_path && !path.exists(),
            Address::Ssh { .. } => false,
        };
        if is_missing {
            let error = CliError::usage(format!("there is no remote or directory `{word}`"));
            return Err(error.with_hint(match remotes.is_empty() {
                true => "a remote has a section `[remote.NAME]` in `sweepfs.toml`".to_owned(),
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
    pub(super) fn open(&self, local: &LocalSide, changes: bool) -> Result<Opened, CliError> {
        match &self.address {
            Address::Path(path) => {
                let side = local_side(path, &self.name)?;
                let (here, there) = (local.workspace(), side.workspace());
                if here.project_root() == there.project_root() {
                    return Err(SyncError::Same(self.name.clone()).into());
                }
                let lock = if changes { side.lock()? } else { None };
                Ok(Opened {
                    peer: Box::new(side),
                    _lock: lock,
                })
            }
            Address::Ssh { .. } => Err(CliError::failed(format!(
                "`{}` is on another machine",
                self.name
            ))),
        }
    }

    /// Returns what is remembered of it. Of the same name at another place, nothing is.
    pub(super) fn memory(&self, local: &LocalSide) -> Memory {
        let address = match &self.address {
            Address::Path(path) => {
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                Address::Path(path).text()
            }
            address => address.text(),
        };
        let digest = &JobId::of_canonical(&address).to_string()[..DIGITS];
        let key = match self.is_named {
            true => format!("{}-{digest}", self.name),
            false => digest.to_owned(),
        };
        let root = local.workspace().project_root();
        Memory::new(root.join(REMOTES).join(key))
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
