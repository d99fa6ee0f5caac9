//! Choosing, checking and making the directory to mount on.

use super::MountError;
use super::table::{self, MountEntry};
use crate::fsx;
use std::path::{Path, PathBuf};

/// Returns `<project>/views`.
pub fn default_mountpoint(project_root: &Path) -> PathBuf {
    project_root.join("views")
}

/// Makes a mountpoint's path physical without touching what may be a dead mount: the directory
/// above it is resolved, and the mountpoint itself if it can be.
pub fn resolve_mountpoint(absolute: &Path) -> Result<PathBuf, MountError> {
    if let Ok(path) = absolute.canonicalize() {
        return Ok(path);
    }
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Ok(absolute.to_owned());
    };
    let resolved = parent.canonicalize();
    let cause = |cause| crate::fsx::FsError {
        action: "find the directory",
        path: parent.to_owned(),
        cause,
    };
    Ok(resolved.map_err(cause)?.join(name))
}

/// Whether a mountpoint was made for the mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It was there before.
    No,
    /// It is ours to remove.
    Yes,
}

/// Clears a dead mount away; tells what live mount is in the way.
pub(super) fn clear(mountpoint: &Path) -> Result<Option<MountEntry>, MountError> {
    while let Some(entry) = table::mounted_at(mountpoint)? {
        if !(entry.is_ours() && entry.is_dead()) {
            return Ok(Some(entry));
        }
        table::detach(mountpoint)?;
    }
    Ok(None)
}

/// Checks that a directory can be mounted on and makes it if it is missing.
pub(super) fn prepare(mountpoint: &Path, workspace_dir: &Path) -> Result<Made, MountError> {
    let workspace_dir = workspace_dir
        .canonicalize()
        .unwrap_or_else(|_| workspace_dir.to_owned());
    if mountpoint.starts_with(&workspace_dir) || workspace_dir.starts_with(mountpoint) {
        return Err(MountError::Overlap(mountpoint.to_owned()));
    }
    if !mountpoint.exists() {
        fsx::create_dir(mountpoint)?;
        return Ok(Made::Yes);
    }
    if !mountpoint.is_dir() {
        return Err(MountError::NotADirectory(mountpoint.to_owned()));
    }
    let mut n_entries = 0;
    fsx::for_each_entry(mountpoint, |_| n_entries += 1)?;
    if n_entries > 0 {
        return Err(MountError::NotEmpty(mountpoint.to_owned()));
    }
    Ok(Made::No)
}
