//! What a mount needs, checked before anything is touched.

mod conf;
mod host;

use super::MountError;
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

impl Check {
    /// As it should be.
    pub fn good(name: &'static str, found: String) -> Self {
        Self {
            name,
            verdict: Verdict::Good,
            found,
            hint: None,
        }
    }

    /// Works, with a limitation.
    pub fn limited(name: &'static str, found: String, hint: String) -> Self {
        Self {
            name,
            verdict: Verdict::Limited,
            found,
            hint: Some(hint),
        }
    }

    /// A mount is impossible.
    pub fn bad(name: &'static str, found: String, hint: String) -> Self {
        Self {
            name,
            verdict: Verdict::Bad,
            found,
            hint: Some(hint),
        }
    }
}

const DEVICE: &str = "/dev/fuse";

const FALLBACK: &str = "without FUSE, `sweepfs find` and `sweepfs statepoint` still work, and `sweepfs view` makes the same folders as links";

/// Runs all checks.
pub fn checks() -> Vec<Check> {
    let mut checks = vec![check_device(), check_helper()];
    checks.extend(host::checks());
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
    let name = "mount helper";
    if rustix::process::geteuid().is_root() {
        return Check::good(name, "not needed: you are root".to_owned());
    }
    let helper = find_fusermount();
    match helper_trouble(helper.as_deref()) {
        Some((found, hint)) => Check::bad(name, found, format!("{hint}; {FALLBACK}")),
        None => {
            let path = helper.unwrap_or_default();
            Check::good(name, format!("{} is there and setuid", path.display()))
        }
    }
}

/// What keeps the helper from its work, and what to do about it.
fn helper_trouble(helper: Option<&Path>) -> Option<(String, &'static str)> {
    let Some(path) = helper else {
        return Some(match std::env::var_os(HELPER_VARIABLE) {
            Some(named) => (
                format!(
                    "{HELPER_VARIABLE} names `{}`, which is no program",
                    named.display()
                ),
                "unset that variable",
            ),
            None => (
                "fusermount3 was not found".to_owned(),
                "ask your administrator to install the package fuse3",
            ),
        });
    };
    let shown = path.display();
    if !is_setuid(path) {
        let hint =
            "ask your administrator for `chmod u+s` on it, or to reinstall the package fuse3";
        return Some((format!("{shown} is not setuid root"), hint));
    }
    if is_nosuid(path) {
        let hint =
            "ask your administrator for it on a file system that is mounted without `nosuid`";
        return Some((
            format!("{shown} is setuid, but its file system is `nosuid`"),
            hint,
        ));
    }
    let rights = rights();
    if !rights.gain && !rights.mount {
        let hint = "mount outside the container or sandbox, and bind the mountpoint into it";
        return Some((
            format!("{shown} may not become root here (no_new_privs)"),
            hint,
        ));
    }
    None
}

fn rights() -> conf::Rights {
    let status = crate::fsx::read(Path::new("/proc/self/status")).unwrap_or_default();
    conf::Rights::parse(&String::from_utf8_lossy(&status))
}

/// Names the helper, for us and for `fuser`.
pub(super) const HELPER_VARIABLE: &str = "FUSERMOUNT_PATH";

/// Finds the setuid helper of libfuse.
///
/// Unless it is named in `FUSERMOUNT_PATH`, we look where distributions put it, since what stands
/// in a user's PATH may be of another version or not setuid.
pub(super) fn find_fusermount() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(HELPER_VARIABLE) {
        // `fuser` takes text only.
        let named = named.into_string().ok().map(PathBuf::from);
        return named.filter(|path| path.is_file());
    }
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

fn is_nosuid(path: &Path) -> bool {
    rustix::fs::statvfs(path)
        .is_ok_and(|s| s.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID))
}
