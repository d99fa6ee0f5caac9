//! Choosing, checking and making the directory to mount on.

use super::table::{self, MountEntry};
use super::{MountError, host, redirect};
use crate::fsx::{self, Durability};
use crate::report::harmless;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Returns `<project>/views`.
pub fn default_mountpoint(project_root: &Path) -> PathBuf {
    project_root.join("views")
}

/// Makes a mountpoint's path physical without touching what may be a dead mount: the directory
/// above it is resolved, and the mountpoint itself if it can be and is no link of ours.
pub fn resolve_mountpoint(absolute: &Path) -> Result<PathBuf, MountError> {
    let is_redirect = redirect::target(absolute).is_some();
    if !is_redirect && let Ok(path) = absolute.canonicalize() {
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
    // One that leads nowhere, as to a mount on another host.
    let is_link = mountpoint.is_symlink();
    if !is_link && !mountpoint.exists() {
        fsx::create_dir(mountpoint)?;
        return Ok(Made::Yes);
    }
    if !mountpoint.is_dir() {
        return Err(MountError::NotADirectory(mountpoint.to_owned()));
    }
    if !is_vacant(mountpoint)? {
        return Err(MountError::NotEmpty(mountpoint.to_owned()));
    }
    Ok(Made::No)
}

/// Tells whether a directory holds nothing, or nothing but our note.
fn is_vacant(mountpoint: &Path) -> Result<bool, MountError> {
    let mut n_others = 0;
    let mut noted = false;
    fsx::for_each_entry(mountpoint, |entry| match entry.name == OsStr::new(NOTE) {
        true => noted = true,
        false => n_others += 1,
    })?;
    Ok(n_others == 0 && (!noted || has_note(mountpoint)))
}

/// The file that other hosts see in a mountpoint that they share.
const NOTE: &str = "README";

/// How it begins, by which we know it.
const NOTE_BEGIN: &str = "sweepfs: not mounted on this host\n";

const NOTE_BYTES_MAX: u64 = 64 * 1024;

/// Leaves a note for other hosts in a mountpoint that was made for a mount, if they see it. A mount
/// does not depend on it.
pub(super) fn leave_note(mountpoint: &Path, project: &Path) {
    if fsx::network_fs(mountpoint).is_some() {
        let _ = write_note(mountpoint, project);
    }
}

fn write_note(mountpoint: &Path, project: &Path) -> Result<(), fsx::FsError> {
    let text = format!(
        "{NOTE_BEGIN}\nHere are the folders of the project {} where it is mounted. A mount exists on one host\nonly, \
             this one was made on {}. For one on this host, run `sweepfs mount` in the project.\n\
             Batch scripts should use the paths of jobs in the workspace.\n",
        harmless(project.display()),
        host()
    );
    let path = mountpoint.join(NOTE);
    fsx::write_new(&path, text.as_bytes(), Durability::Process)
}

fn has_note(mountpoint: &Path) -> bool {
    let read = |dir: fsx::Dir| dir.read_file(Path::new(NOTE), NOTE_BYTES_MAX);
    let text = fsx::Dir::open(mountpoint).and_then(read);
    text.is_ok_and(|(bytes, _)| bytes.starts_with(NOTE_BEGIN.as_bytes()))
}

/// Removes a mountpoint that was made for a mount, unless something has been put there or is
/// mounted there now.
pub(super) fn remove(mountpoint: &Path) {
    let removed = fsx::remove_dir(mountpoint);
    let kind = removed.err().map(|error| error.kind());
    if kind == Some(ErrorKind::DirectoryNotEmpty) && is_vacant(mountpoint).unwrap_or(false) {
        let _ = fsx::remove_file(&mountpoint.join(NOTE));
        let _ = fsx::remove_dir(mountpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_no_content() {
        let dir = tempfile::tempdir().expect("a directory");
        let mountpoint = dir.path().join("views");
        let prepare = || prepare(&mountpoint, &dir.path().join("workspace"));
        assert_eq!(prepare().ok(), Some(Made::Yes));
        leave_note(&mountpoint, dir.path());
        assert!(
            !mountpoint.join(NOTE).exists() || fsx::network_fs(&mountpoint).is_some(),
            "a local directory needs none"
        );
        write_note(&mountpoint, dir.path()).expect("written");
        assert_eq!(prepare().ok(), Some(Made::No));
        std::fs::write(mountpoint.join("x"), "").expect("a file");
        assert!(matches!(prepare(), Err(MountError::NotEmpty(_))));
        remove(&mountpoint);
        assert!(mountpoint.join(NOTE).exists());
        std::fs::remove_file(mountpoint.join("x")).expect("removed");
        remove(&mountpoint);
        assert!(!mountpoint.exists());
    }

    #[test]
    fn a_readme_of_others_is_content() {
        let dir = tempfile::tempdir().expect("a directory");
        let mountpoint = dir.path().join("views");
        std::fs::create_dir(&mountpoint).expect("a directory");
        std::fs::write(mountpoint.join(NOTE), "precious").expect("a file");
        assert!(write_note(&mountpoint, dir.path()).is_err());
        assert!(!is_vacant(&mountpoint).expect("readable"));
        remove(&mountpoint);
        assert!(mountpoint.join(NOTE).exists());
    }
}
