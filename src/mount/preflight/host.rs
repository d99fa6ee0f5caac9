//! What else on a host bears on a mount: limits, logouts, indexers, dead mounts.

use super::Check;
use super::conf::{FuseConf, LogindConf, container_of, is_pruned};
use crate::exec;
use crate::fsx;
use crate::mount::table::{self, Health, MountEntry};
use crate::mount::watch::Watch;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Our mounts' type, where `fusermount3` makes them.
const FS_TYPE: &str = "fuse.sweepfs";

pub(super) fn checks() -> Vec<Check> {
    let user = user_name();
    let conf = FuseConf::parse(&text_of("/etc/fuse.conf"));
    vec![
        check_container(),
        check_user(user.as_deref()),
        check_other_users(&conf),
        check_number(&conf),
        check_dead_mounts(),
        check_logout(user.as_deref()),
        check_updatedb(),
        check_notices(),
    ]
}

/// Returns the text of a settings file, empty if there is none.
fn text_of(path: impl AsRef<Path>) -> String {
    let bytes = fsx::read(path.as_ref()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks for the user's name; the list of users may be on a server.
fn user_name() -> Option<String> {
    let ran = exec::run(
        Path::new("id"),
        &[OsStr::new("-un")],
        Duration::from_secs(5),
    );
    let ran = ran.ok().filter(|ran| ran.success)?;
    Some(ran.stdout.trim().to_owned())
}

fn check_container() -> Check {
    let name = "container";
    let by_file = || {
        let files = [
            "/.dockerenv",
            "/run/.containerenv",
            "/run/systemd/container",
        ];
        let mut files = files.iter().map(Path::new);
        files.any(Path::exists).then_some("a container")
    };
    let inside = container_of(|variable| std::env::var_os(variable).is_some()).or_else(by_file);
    match inside {
        None => Check::good(name, "this is none".to_owned()),
        Some(what) if super::rights().mount => {
            Check::good(name, format!("in {what} that lets you mount"))
        }
        Some(what) => Check::limited(
            name,
            format!("in {what}; a mount may be refused"),
            "mount on the host and bind the mountpoint, or start it with `--device /dev/fuse --cap-add SYS_ADMIN`; \
             a mount made inside is seen inside only".to_owned(),
        ),
    }
}

fn check_user(user: Option<&str>) -> Check {
    let name = "user";
    match user {
        Some(user) => Check::good(name, user.to_owned()),
        None => Check::limited(
            name,
            format!(
                "the user id {} has no name on this host, and `fusermount3` may refuse it",
                rustix::process::getuid().as_raw()
            ),
            "ask your administrator for an entry in `/etc/passwd`, or use `sweepfs view`"
                .to_owned(),
        ),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn check_other_users(conf: &FuseConf) -> Check {
    let name = "other users";
    if conf.allow_other || is_root() {
        return Check::good(name, "`--allow-other` is permitted".to_owned());
    }
    Check::limited(
        name,
        "`--allow-other` is not permitted; a mount is yours alone".to_owned(),
        "to change that, ask your administrator for `user_allow_other` in /etc/fuse.conf"
            .to_owned(),
    )
}

fn check_number(conf: &FuseConf) -> Check {
    let name = "number of mounts";
    let all = table::mounts().unwrap_or_default();
    let fuse = |entry: &&MountEntry| entry.fs_type == "fuse" || entry.fs_type.starts_with("fuse.");
    let (n, max) = (all.iter().filter(fuse).count(), conf.mount_max);
    if is_root() || n < max {
        let limit = if is_root() {
            "no limit".to_owned()
        } else {
            format!("{max} are allowed")
        };
        return Check::good(name, format!("{n} with FUSE on this host, {limit}"));
    }
    Check::bad(
        name,
        format!("{n} with FUSE on this host, and {max} are allowed"),
        "unmount what you do not need, or ask your administrator to raise `mount_max` in /etc/fuse.conf".to_owned(),
    )
}

fn check_dead_mounts() -> Check {
    let name = "dead mounts";
    let ours = table::mounts().unwrap_or_default().into_iter();
    let ours: Vec<_> = ours
        .filter(MountEntry::is_ours)
        .map(|entry| (entry.health(), entry))
        .collect();
    let bad: Vec<_> = ours.iter().filter_map(|(h, e)| describe(*h, e)).collect();
    if bad.is_empty() {
        return Check::good(name, "none".to_owned());
    }
    let silent = ours.iter().filter(|(health, _)| *health == Health::Silent);
    let aborts: String = silent.map(|(_, entry)| abort_hint(entry)).collect();
    let hint = format!("`sweepfs unmount --all` removes yours{aborts}");
    Check::limited(name, bad.join(", "), hint)
}

fn describe(health: Health, entry: &MountEntry) -> Option<String> {
    let mountpoint = entry.mountpoint.display().to_string();
    match health {
        Health::Alive => None,
        Health::Dead => Some(mountpoint),
        Health::Silent => Some(format!("{mountpoint} (its daemon does not answer)")),
    }
}

/// How to free what hangs on a silent mount.
fn abort_hint(entry: &MountEntry) -> String {
    format!(
        "; `echo 1 > /sys/fs/fuse/connections/{}/abort` frees what hangs on {}",
        entry.device_minor,
        entry.mountpoint.display()
    )
}

fn check_logout(user: Option<&str>) -> Check {
    let name = "logout";
    let user = user.unwrap_or_default();
    if !Path::new("/run/systemd/system").exists() || !logind().kills(user) {
        return Check::good(name, "a mount stays when you log out".to_owned());
    }
    if Path::new("/var/lib/systemd/linger").join(user).exists() {
        let found = "a mount stays when you log out, since you linger";
        return Check::good(name, found.to_owned());
    }
    Check::limited(
        name,
        "systemd ends your processes when you log out, and the mount with them".to_owned(),
        "`loginctl enable-linger` keeps them, if it is permitted; or mount again after login"
            .to_owned(),
    )
}

/// Reads the settings of `logind` in the order in which they count.
fn logind() -> LogindConf {
    let mut conf = LogindConf::default();
    for dir in ["/usr/lib/systemd", "/etc/systemd"] {
        conf.read(&text_of(Path::new(dir).join("logind.conf")));
    }
    for dir in ["/usr/lib/systemd", "/run/systemd", "/etc/systemd"] {
        for path in files_in(&Path::new(dir).join("logind.conf.d")) {
            conf.read(&text_of(path));
        }
    }
    conf
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let _ = fsx::for_each_entry(dir, |entry| files.push(dir.join(entry.name)));
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "conf")
    });
    files.sort();
    files
}

fn check_updatedb() -> Check {
    let name = "updatedb";
    let path = Path::new("/etc/updatedb.conf");
    if !path.exists() {
        return Check::good(name, "not set up on this host".to_owned());
    }
    if is_pruned(&text_of(path), FS_TYPE) {
        return Check::good(name, "leaves mounts out".to_owned());
    }
    Check::limited(
        name,
        "walks mounts that root may enter: its own, and those with `--allow-other`".to_owned(),
        format!("ask your administrator to add `{FS_TYPE}` to PRUNEFS in /etc/updatedb.conf"),
    )
}

fn check_notices() -> Check {
    let name = "change notices";
    let limit = |what: &str| {
        let text = text_of(Path::new("/proc/sys/fs/inotify").join(what));
        text.trim().to_owned()
    };
    let limits = format!(
        "{} watches and {} instances are allowed",
        limit("max_user_watches"),
        limit("max_user_instances")
    );
    match Watch::new(Path::new("/")) {
        Ok(_) => Check::good(name, limits),
        Err(error) => Check::limited(
            name,
            format!("none to be had ({error}); {limits}"),
            "the workspace is checked twice a second instead; close other programs that watch files, \
             or ask your administrator to raise `fs.inotify.max_user_instances`".to_owned(),
        ),
    }
}
