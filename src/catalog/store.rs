//! Where catalog files are kept.

use super::file::{CatalogFile, Contents, FileKind, StoredEntry, write};
use crate::fsx::{self, FsError};
use crate::workspace::Workspace;
use md5::{Digest, Md5};
use std::fmt::Write;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A temporary file as old as this was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The directories that may hold the catalog files of a project: its own `.sweepfs`, and one in the
/// user's cache for projects that are read-only.
#[derive(Clone, Debug)]
pub struct Store {
    workspace: PathBuf,
    own: PathBuf,
    cache: Option<PathBuf>,
}

impl Store {
    /// Returns the store of a workspace; `cache_dir` is the user's cache directory for sweepfs.
    pub fn new(workspace: &Workspace, cache_dir: Option<&Path>) -> Self {
        let root = workspace.project_root();
        let cache = cache_dir.map(|dir| dir.join(cache_name(root)));
        Self {
            workspace: workspace.dir().to_owned(),
            own: root.join(".sweepfs"),
            cache,
        }
    }

    /// Reads a file of somebody else's format, the newest.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let own = fsx::open_trusted(&self.own.join(name), &self.workspace);
        let cache = self
            .cache
            .as_ref()
            .map(|dir| fsx::open_trusted(&dir.join(name), dir));
        let opened = [Some(own), cache].into_iter().flatten().flatten();
        let newest = opened.max_by_key(|file| file.metadata().and_then(|m| m.modified()).ok())?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut &newest, &mut bytes).ok()?;
        Some(bytes)
    }

    /// Writes a file of somebody else's format where it is allowed; that it cannot be is no failure.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let write = |dir: &Path| {
            fsx::remove_abandoned(dir, name, ABANDONED);
            fsx::write_atomic(&dir.join(name), bytes, fsx::Durability::Process)
        };
        let own = fsx::create_dir_all(&self.own).and_then(|()| write(&self.own));
        let Err(error) = own else { return };
        tracing::debug!("{error}: {}", error.cause);
        if let Some(dir) = &self.cache {
            let written = fsx::create_private_dir_all(dir).and_then(|()| write(dir));
            if let Err(error) = written {
                tracing::debug!("{error}: {}", error.cause);
            }
        }
    }

    /// Opens the usable files of a kind, the newest first.
    pub(super) fn open<E: StoredEntry>(&self) -> Vec<CatalogFile<E>> {
        let own = fsx::open_trusted(&self.own.join(file_name(E::KIND)), &self.workspace);
        let cache = self.cache.as_ref().map(|dir| {
            let path = dir.join(file_name(E::KIND));
            fsx::open_trusted(&path, dir)
        });
        let opened = [Some(own), cache].into_iter().flatten();
        let mut files: Vec<_> = opened.filter_map(|file| usable(file.ok()?)).collect();
        files.sort_by_key(|(modified, _)| std::cmp::Reverse(*modified));
        files.into_iter().map(|(_, file)| file).collect()
    }

    /// Writes a file where it is allowed. That it cannot be written is no failure: the next
    /// process reads the workspace again.
    pub(super) fn save<E: StoredEntry>(&self, contents: Contents<'_, E>) {
        let own = fsx::create_dir_all(&self.own).and_then(|()| save_in(&self.own, contents));
        let Err(error) = own else { return };
        tracing::debug!("{error}: {}", error.cause);
        if let Some(dir) = &self.cache {
            let saved = fsx::create_private_dir_all(dir).and_then(|()| save_in(dir, contents));
            if let Err(error) = saved {
                tracing::debug!("{error}: {}", error.cause);
            }
        }
    }
}

fn save_in<E: StoredEntry>(dir: &Path, contents: Contents<'_, E>) -> Result<(), FsError> {
    let name = file_name(E::KIND);
    fsx::remove_abandoned(dir, name, ABANDONED);
    fsx::replace_with(&dir.join(name), |file| write(file, contents))
}

/// Opens a catalog file and tells when it was written; `None` if it is damaged.
fn usable<E: StoredEntry>(file: File) -> Option<(SystemTime, CatalogFile<E>)> {
    let modified = file
        .metadata()
        .and_then(|metadata| metadata.modified())
        .ok()?;
    match CatalogFile::open(file) {
        Ok(opened) => Some((modified, opened)),
        Err(damage) => {
            tracing::info!("{damage}; it will be made anew");
            None
        }
    }
}

fn file_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::StatePoints => "catalog",
        FileKind::Documents => "documents",
    }
}

/// Names a project's directory in the cache.
fn cache_name(root: &Path) -> String {
    let digest = Md5::digest(root.as_os_str().as_bytes());
    digest.iter().fold(String::new(), |mut name, byte| {
        write!(name, "{byte:02x}").expect("a String takes all");
        name
    })
}
