//! What is remembered of a directory of links from one run to the next.

use super::LinkDir;
use crate::fsx::{self, Durability, Lock};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the links on disk do not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    /// Links of any name may be ours, not only those named as leaves.
    pub(super) collapsed: bool,
    /// A run was begun and did not reach its end, so empty directories may be ours.
    pub(super) unfinished: bool,
}

/// A note about a directory of links, and the lock that keeps two runs apart.
///
/// Both may be deleted: then an interrupted run may leave empty directories behind, and links of
/// collapsed leaves may outlive a change of style.
#[derive(Debug)]
pub struct Memory {
    /// The note; `None` if there is nowhere to write one.
    path: Option<PathBuf>,
    pub(super) known: Known,
    _lock: Option<Lock>,
}

impl Memory {
    /// Waits until no other run is at the directory. Locks and notes are in the first of some
    /// directories that can be written; if none can, there is no lock.
    pub fn lock(dirs: &[PathBuf], place: &LinkDir) -> Self {
        let key = place.key();
        for dir in dirs {
            match Lock::acquire(&dir.join(format!("{key}.lock"))) {
                Ok(lock) => {
                    let path = note_path(dir, &key);
                    return Self {
                        known: read(&path),
                        path: Some(path),
                        _lock: Some(lock),
                    };
                }
                Err(error) => tracing::debug!("{error}: {}", error.cause),
            }
        }
        Self::look(dirs, place)
    }

    /// Only looks, and changes nothing.
    pub fn look(dirs: &[PathBuf], place: &LinkDir) -> Self {
        let key = place.key();
        let notes = dirs.iter().map(|dir| read(&note_path(dir, &key)));
        Self {
            path: None,
            known: notes
                .into_iter()
                .find(|known| *known != Known::default())
                .unwrap_or_default(),
            _lock: None,
        }
    }

    /// Notes what the next run must know. A note that cannot be written is no failure.
    pub(super) fn set(&mut self, known: Known) {
        if known == self.known {
            return;
        }
        self.known = known;
        let Some(path) = &self.path else { return };
        let written = match serde_json::to_vec(&known) {
            Ok(bytes) if known != Known::default() => {
                fsx::write_atomic(path, &bytes, Durability::Process)
            }
            _ => fsx::remove_file(path),
        };
        // Whoever was writing another was killed, for the lock is ours.
        if let (Some(dir), Some(name)) = (path.parent(), path.file_name()) {
            fsx::remove_abandoned(dir, &name.to_string_lossy(), Duration::ZERO);
        }
        if let Err(error) = written {
            tracing::debug!("{error}: {}", error.cause);
        }
    }
}

fn note_path(dir: &Path, key: &str) -> PathBuf {
    dir.join(format!("{key}.json"))
}

fn read(path: &Path) -> Known {
    let bytes = fsx::read(path).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
