//! Real mounts.

use super::env::{Env, Ran, copy_program};
use super::{skip, wait_until};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Tells whether this machine can mount; in CI it must.
pub(crate) fn can_mount() -> bool {
    let usable = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .is_ok();
    if !usable {
        skip("/dev/fuse cannot be opened");
    }
    usable
}

/// Mounts a project on its `views` folder.
#[track_caller]
pub(crate) fn mount(env: &Env, root: &Path) -> PathBuf {
    let ran = env.run(root, &["mount"]);
    assert!(ran.stderr.starts_with("mounted "), "{ran:?}");
    ran.success();
    root.join("views")
}

/// Returns the daemon's process id.
pub(crate) fn daemon_pid(env: &Env, mountpoint: &Path) -> i32 {
    let records = env.run(&env.home(), &["mounts", "--json"]);
    let lines = records
        .success()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut of_this = lines.filter(|record| record["mountpoint"] == mountpoint.to_str().unwrap());
    of_this
        .next_back()
        .and_then(|record| record["pid"].as_i64())
        .unwrap() as i32
}

/// Waits for a daemon's watchdog, another than `not`, and returns its process id.
#[track_caller]
pub(crate) fn watchdog_pid(daemon: i32, not: Option<i32>) -> i32 {
    let other = || find_watchdog(daemon).filter(|&pid| Some(pid) != not);
    wait_until("a watchdog", || other().is_some());
    other().unwrap()
}

fn find_watchdog(daemon: i32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children"))
        .unwrap_or_default();
    let by_any_thread = std::fs::read_dir(format!("/proc/{daemon}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let others =
        by_any_thread.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let all: String = others.chain([children]).collect();
    all.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.trim() == "mount-watchdog")
        })
}

/// Sends a signal.
pub(crate) fn kill(pid: i32, signal: &str) {
    let pid = pid.to_string();
    assert!(
        Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .unwrap()
            .success()
    );
}

/// Tells whether anything is mounted on a directory.
pub(crate) fn is_mounted(mountpoint: &Path) -> bool {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap();
    let mounts = String::from_utf8_lossy(&mounts);
    let name = mountpoint.to_str().unwrap().replace(' ', "\\040");
    mounts
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(&name))
}

/// A directory that another user may use, with a copy of the program.
pub(crate) fn for_another_user(env: &Env) -> Option<(PathBuf, Vec<String>)> {
    let setpriv = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let works = Command::new("setpriv")
        .args(setpriv)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        skip("cannot become another user");
        return None;
    }
    let dir = env.path().join("nobody");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(env.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).unwrap();
    let copy = env.path().join("sweepfs");
    copy_program(&copy);
    let words = ["setpriv"].iter().chain(&setpriv).map(ToString::to_string);
    Some((
        dir,
        words.chain([copy.to_str().unwrap().to_owned()]).collect(),
    ))
}

/// Runs the program as that user.
pub(crate) fn as_another_user(env: &Env, dir: &Path, words: &[String], args: &[&str]) -> Ran {
    let (first, rest) = words.split_first().unwrap();
    let args: Vec<_> = rest
        .iter()
        .map(String::as_str)
        .chain(args.iter().copied())
        .collect();
    let mut command = env.in_env(Command::new(first), dir, &args);
    command.env("HOME", env.path().join("nobody"));
    Ran::of(command)
}

/// A directory shown in another place through FUSE, as if it were on a server.
pub(crate) struct Bound {
    server: Child,
    mountpoint: PathBuf,
}

impl Bound {
    /// Shows `dir` at `mountpoint`, which must be empty; done by `as_user`, a command to put before.
    pub(crate) fn new(dir: &Path, mountpoint: &Path, as_user: &[&str]) -> Option<Self> {
        let words: Vec<_> = as_user
            .iter()
            .chain(&["bindfs", "--no-allow-other", "-f"])
            .copied()
            .collect();
        let mut command = Command::new(words[0]);
        let command = command.args(&words[1..]).arg(dir).arg(mountpoint);
        let Ok(server) = command.spawn() else {
            skip("bindfs is not installed");
            return None;
        };
        let mountpoint = mountpoint.to_owned();
        wait_until("bindfs", || is_mounted(&mountpoint));
        Some(Self { server, mountpoint })
    }

    /// Stops or continues to answer.
    pub(crate) fn signal(&self, signal: &str) {
        kill(self.server.id() as i32, signal);
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.signal("CONT");
        let mut command = Command::new("umount");
        let _ = command.arg("-l").arg(&self.mountpoint).status();
        let _ = self.server.wait();
    }
}

/// Waits until a directory is an ordinary empty one.
#[track_caller]
pub(crate) fn wait_until_plain(mountpoint: &Path) -> std::time::Duration {
    wait_until("an ordinary empty directory", || {
        !is_mounted(mountpoint)
            && std::fs::read_dir(mountpoint).is_ok_and(|entries| entries.count() == 0)
    })
}

/// Runs `find DIR -type l` and reads each link: path below `dir` to the last component of the
/// target, the id.
pub(crate) fn links(dir: &Path) -> BTreeMap<String, String> {
    let mut command = Command::new("find");
    command
        .arg(dir)
        .args(["-type", "l", "-printf", "%P\\0%l\\0"]);
    let ran = command.output().unwrap();
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    let mut fields = ran.stdout.split(|&b| b == 0);
    let mut links = BTreeMap::new();
    while let (Some(path), Some(target)) = (fields.next(), fields.next()) {
        let target = Path::new(std::ffi::OsStr::from_bytes(target));
        assert!(target.is_absolute() && target.is_dir(), "{target:?}");
        let id = target.file_name().unwrap().to_str().unwrap().to_owned();
        links.insert(String::from_utf8_lossy(path).into_owned(), id);
    }
    links
}

/// Runs a program and returns its output; it must say nothing on standard error.
#[track_caller]
pub(crate) fn quietly(program: &str, args: &[&str], dir: &Path) -> String {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env("LC_ALL", "C.UTF-8");
    let ran = Ran::of(command);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(0), ""),
        "{program} {args:?}"
    );
    ran.stdout
}
