//! What a mount needs, checked before anything is touched.

use super::MountError;
use super::table::{self, Health};
use rustix::fs::{Access, AtFlags, CWD};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Works, with a limitation.
    Limited,
    /// A mount is impossible.
    Bad,
}

/// One thing that was checked.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub hint: Option<String>,
}

const DEVICE: &str = "/dev/fuse";

const FALLBACK: &str = "without FUSE, `sweepfs find` and `sweepfs statepoint` still work, and `sweepfs view` makes the same folders as links";

/// Runs all checks.
pub fn checks() -> Vec<Check> {
    let mut checks = vec![check_device(), check_helper()];
    checks.push(check_dead_mounts());
    checks
}

/// Returns the first reason why a mount is impossible.
pub(super) fn require() -> Result<(), MountError> {
    let bad = [check_device(), check_helper()]
        .into_iter()
        .find(|check| check.verdict == Verdict::Bad);
    match bad {
        Some(check) => Err(MountError::Missing {
            what: check.found,
            hint: check.hint.unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

fn check_device() -> Check {
    let check = |verdict, found: &str, hint: Option<&str>| Check {
        name: "FUSE device",
        verdict,
        found: found.to_owned(),
        hint: hint.map(|hint| format!("{hint}; {FALLBACK}")),
    };
    if !Path::new(DEVICE).exists() {
        let hint = "load the kernel module (`modprobe fuse`) or, in a container, pass the device (`--device /dev/fuse`)";
        return check(Verdict::Bad, "/dev/fuse does not exist", Some(hint));
    }
    match rustix::fs::accessat(
        CWD,
        DEVICE,
        Access::READ_OK | Access::WRITE_OK,
        AtFlags::EACCESS,
    ) {
        Ok(()) => check(Verdict::Good, "/dev/fuse is there and may be opened", None),
        Err(_) => {
            let hint = "ask your administrator for read and write permission on it (`chmod 666 /dev/fuse`, the default of the fuse3 package)";
            check(
                Verdict::Bad,
                "/dev/fuse may not be opened by you",
                Some(hint),
            )
        }
    }
}

fn check_helper() -> Check {
    let check = |verdict, found: String, hint: Option<&str>| Check {
        name: "mount helper",
        verdict,
        found,
        hint: hint.map(|hint| format!("{hint}; {FALLBACK}")),
    };
    if rustix::process::geteuid().is_root() {
        return check(Verdict::Good, "not needed: you are root".to_owned(), None);
    }
    match find_fusermount() {
        None => {
            let hint = "ask your administrator to install the package fuse3";
            check(
                Verdict::Bad,
                "fusermount3 was not found".to_owned(),
                Some(hint),
            )
        }
        Some(path) if !is_setuid(&path) => {
            let hint =
                "ask your administrator for `chmod u+s` on it, or to reinstall the package fuse3";
            check(
                Verdict::Bad,
                format!("{} is not setuid root", path.display()),
                Some(hint),
            )
        }
        Some(path) => check(
            Verdict::Good,
            format!("{} is there and setuid", path.display()),
            None,
        ),
    }
}

fn check_dead_mounts() -> Check {
    let describe = |entry: table::MountEntry| {
        let mountpoint = entry.mountpoint.display().to_string();
        match entry.health() {
            Health::Alive => None,
            Health::Dead => Some(mountpoint),
            Health::Silent => Some(format!("{mountpoint} (its daemon does not answer)")),
        }
    };
    let ours = table::mounts()
        .unwrap_or_default()
        .into_iter()
        .filter(table::MountEntry::is_ours);
    let bad: Vec<_> = ours.filter_map(describe).collect();
    let (verdict, found, hint) = match bad.as_slice() {
        [] => (Verdict::Good, "none".to_owned(), None),
        _ => (
            Verdict::Limited,
            bad.join(", "),
            Some("`sweepfs unmount --all` removes yours".to_owned()),
        ),
    };
    Check {
        name: "dead mounts",
        verdict,
        found,
        hint,
    }
}

/// Finds the setuid helper of libfuse.
///
/// Its name in `FUSERMOUNT_PATH` is for `fuser`; we look where distributions put it, since what
/// stands in a user's PATH may be of another version or not setuid.
pub(super) fn find_fusermount() -> Option<PathBuf> {
    let names = ["fusermount3", "fusermount"];
    let dirs = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"];
    let candidates = names
        .iter()
        .flat_map(|name| dirs.iter().map(move |dir| Path::new(dir).join(name)));
    candidates.into_iter().find(|path| path.is_file())
}

fn is_setuid(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o4000 != 0)
}
