//! A mount in another place than was asked for, and a link from there to it.
//!
//! The setuid helper mounts as root. Where root may not enter (NFS with `root_squash`, another
//! FUSE mount of the user), it cannot; so the mount goes to a directory of the user's that root may
//! enter, and the mountpoint becomes a link to that. Both are one to who mounts and unmounts.

use super::table::MountEntry;
use super::{MountError, host, mountpoint};
use crate::fsx::{self, Dir, FsError};
use crate::report::with_causes;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How the directories are named in which such mounts are; a user id may follow.
const NAME: &str = "sweepfs";

/// A mount and the link that leads to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// Where it was asked for, and where the link is.
    #[serde(with = "super::path_text")]
    pub link: PathBuf,
    /// Where it is mounted.
    #[serde(with = "super::path_text")]
    pub real: PathBuf,
    /// Permissions of the directory that the link replaces.
    permissions: u16,
}

/// Tells whether a mount failed because root may not enter the directory, though its user may.
pub(super) fn is_needed(mountpoint: &Path, error: &io::Error) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    !is_root && is_denial(&error.to_string()) && Dir::open(mountpoint).is_ok()
}

/// Tells whether the helper says that a directory was closed to it.
fn is_denial(said: &str) -> bool {
    said.contains("Permission denied") && !said.contains("user_allow_other")
}

/// Returns where a link of ours leads to; `None` if there is another thing, or nothing.
pub(super) fn target(link: &Path) -> Option<PathBuf> {
    let text = fsx::read_link(link).ok()?;
    let dir = text.parent()?.file_name()?.to_str()?;
    let digest = text
        .file_name()?
        .to_str()?
        .strip_prefix(&format!("{}-", host()))?;
    let is_digest = digest.len() == 16 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    let is_ours = text.is_absolute() && (dir == NAME || dir.starts_with(&format!("{NAME}-")));
    (is_ours && is_digest).then_some(text)
}

/// Returns where a mount for a mountpoint is, or would be: there, or where a link of ours leads.
pub(super) fn seat(mountpoint: &Path) -> PathBuf {
    target(mountpoint).unwrap_or_else(|| mountpoint.to_owned())
}

/// Clears dead mounts and what led to them away; tells what live mount is in the way.
pub(super) fn clear(
    asked: &Path,
    known: Option<&Redirect>,
) -> Result<Option<MountEntry>, MountError> {
    let real = known.map_or_else(|| seat(asked), |known| known.real.clone());
    if real != asked {
        if let Some(live) = mountpoint::clear(&real)? {
            return Ok(Some(live));
        }
        match known {
            Some(known) => known.undo(),
            None => remove_stale(asked)?,
        }
    }
    mountpoint::clear(asked)
}

/// A short name of a path, for files on this host.
pub(super) fn name_of(path: &Path) -> String {
    let digest = Md5::digest(path.as_os_str().as_bytes());
    let digits: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{digits}", host())
}

impl Redirect {
    /// Makes a directory in `runtime_dir` to mount on, in place of an empty one. Both are for their
    /// owner alone; what is not is refused.
    pub(super) fn prepare(runtime_dir: &Path, asked: &Path) -> Result<Self, MountError> {
        fsx::create_private_dir(runtime_dir)?;
        let redirect = Self {
            real: fsx::physical(runtime_dir)?.join(name_of(asked)),
            link: asked.to_owned(),
            permissions: fsx::permissions(asked)?,
        };
        if mountpoint::clear(&redirect.real)?.is_some() {
            return Err(MountError::Occupied {
                mountpoint: redirect.real,
                by: "something else".to_owned(),
            });
        }
        fsx::create_private_dir(&redirect.real)?;
        Ok(redirect)
    }

    /// Puts the link in the place of the directory, or where nothing is.
    pub(super) fn put_link(&self) -> Result<(), MountError> {
        if fsx::read_link(&self.link).is_ok_and(|text| text == self.real) {
            return Ok(());
        }
        mountpoint::remove(&self.link);
        let put = fsx::create_link(&self.real, &self.link);
        if put.is_err() {
            let _ = fsx::create_dir_with(&self.link, self.permissions);
        }
        Ok(put?)
    }

    /// Puts the directory back in the place of the link, if that is there.
    fn take_link(&self) -> Result<(), FsError> {
        if fsx::read_link(&self.link).is_ok_and(|text| text == self.real) {
            fsx::remove_file(&self.link)?;
            fsx::create_dir_with(&self.link, self.permissions)?;
        }
        Ok(())
    }

    /// Undoes it all after the mount's end.
    pub(super) fn undo(&self) {
        if let Err(error) = self.take_link() {
            tracing::warn!("{}", with_causes(&error));
        }
        let _ = fsx::remove_dir(&self.real);
    }
}

/// Removes a link of ours behind which nothing is mounted any more, and its directory.
pub(super) fn remove_stale(link: &Path) -> Result<(), FsError> {
    match target(link) {
        None => Ok(()),
        Some(real) => {
            let _ = fsx::remove_dir(&real);
            fsx::remove_file(link)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_directory_is_a_denial() {
        for said in [
            "/usr/bin/fusermount3: bad mount point /home/x/views: Permission denied\n",
            "fusermount3: mount failed: Permission denied",
        ] {
            assert!(is_denial(said), "{said}");
        }
        for said in [
            "fusermount3: mount failed: Operation not permitted",
            "fusermount3: user has no write access to mountpoint /x",
            "Permission denied: option allow_other only allowed if 'user_allow_other' is set",
        ] {
            assert!(!is_denial(said), "{said}");
        }
    }

    #[test]
    fn a_link_takes_the_place_of_a_directory_and_gives_it_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let (link, runtime) = (dir.path().join("views"), dir.path().join("sweepfs"));
        fsx::create_dir_with(&link, 0o750).expect("a directory");
        let redirect = Redirect::prepare(&runtime, &link).expect("prepared");
        assert_eq!(target(&link), None);
        redirect.put_link().expect("put");
        redirect.put_link().expect("there already");
        assert_eq!(target(&link).as_ref(), Some(&redirect.real));
        redirect.undo();
        assert!(!link.is_symlink() && !redirect.real.exists());
        assert_eq!(fsx::permissions(&link).expect("there"), 0o750);
        std::fs::write(link.join("x"), "").expect("a file");
        assert!(redirect.put_link().is_err());
        redirect.undo();
        assert!(link.join("x").exists());
    }

    #[test]
    fn links_of_others_are_none_of_ours() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = dir.path().join("views");
        let name = name_of(&link);
        let runtime = dir.path().join("sweepfs-1000");
        for (text, is_ours) in [
            (runtime.join(&name), true),
            (runtime.join(format!("x{name}")), false),
            (runtime.join(&name).join("x"), false),
            (dir.path().join(&name), false),
            (Path::new("sweepfs").join(&name), false),
        ] {
            fsx::create_link(&text, &link).expect("a link");
            assert_eq!(target(&link).is_some(), is_ours, "{text:?}");
            remove_stale(&link).expect("removed, or left alone");
            assert_eq!(link.is_symlink(), !is_ours);
            fsx::remove_file(&link).expect("removed");
        }
    }
}
