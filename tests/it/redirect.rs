//! Mounts where root may not enter.

use crate::support::env::{Env, Ran};
use crate::support::mounted::{
    Bound, as_another_user, can_mount, for_another_user, is_mounted, kill, wait_until_plain,
    watchdog_pid,
};
use crate::support::wait_until;
use std::fs::{create_dir, read_link, set_permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// A user's project in a place that is closed to root.
struct Closed {
    env: Env,
    words: Vec<String>,
    /// The project as its user sees it.
    root: PathBuf,
    /// The same where root may look at it.
    disk: PathBuf,
    runtime: PathBuf,
    _server: Bound,
}

impl Closed {
    fn new() -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let env = Env::new();
        let (dir, words) = for_another_user(&env)?;
        for name in ["disk", "closed", "run", "disk/p"] {
            own_dir(&dir.join(name));
        }
        let as_user: Vec<_> = words[..words.len() - 1]
            .iter()
            .map(String::as_str)
            .collect();
        let server = Bound::new(&dir.join("disk"), &dir.join("closed"), &as_user)?;
        let closed = Self {
            root: dir.join("closed/p"),
            disk: dir.join("disk/p"),
            runtime: dir.join("run"),
            _server: server,
            env,
            words,
        };
        closed.run(&["init"]).success();
        closed.run(&["create", "a=1:3:1"]).success();
        Some(closed)
    }

    fn run(&self, args: &[&str]) -> Ran {
        let runtime = format!("XDG_RUNTIME_DIR={}", self.runtime.display());
        self.run_with(&["env", &runtime], args)
    }

    fn run_with(&self, before: &[&str], args: &[&str]) -> Ran {
        let (program, setpriv) = self.words.split_last().unwrap();
        let before = before.iter().map(ToString::to_string);
        let words: Vec<_> = setpriv.iter().cloned().chain(before).collect();
        // The directory can be entered by the user only.
        let in_root = ["-C", self.root.to_str().unwrap()];
        let args: Vec<_> = in_root.iter().chain(args).copied().collect();
        let words: Vec<_> = words.into_iter().chain([program.clone()]).collect();
        as_another_user(&self.env, self.runtime.parent().unwrap(), &words, &args)
    }

    fn n_links(&self, path: &str) -> usize {
        let path = self.root.join(path).join("view/");
        let setpriv = &self.words[..self.words.len() - 1];
        let find = ["find", path.to_str().unwrap(), "-type", "l"].map(str::to_owned);
        let words: Vec<_> = setpriv.iter().cloned().chain(find).collect();
        let dir = self.runtime.parent().unwrap();
        let ran = as_another_user(&self.env, dir, &words, &[]);
        ran.success().lines().count()
    }

    /// Mounts on a folder of the project; returns where the link leads.
    fn mount(&self, name: &str) -> PathBuf {
        let path = self.root.join(name);
        let ran = self.run(&["mount", path.to_str().unwrap()]);
        ran.success();
        let real = read_link(self.disk.join(name)).unwrap();
        let noted = format!(
            "at {}, and {} is a link to it",
            real.display(),
            path.display()
        );
        assert!(ran.stderr.contains(&noted), "{ran:?}");
        assert!(real.starts_with(self.runtime.join("sweepfs")) && is_mounted(&real));
        assert_eq!(self.n_links(name), 3);
        real
    }

    fn daemon(&self) -> i32 {
        let records = self.run(&["mounts", "--json"]);
        let record: serde_json::Value = serde_json::from_str(records.success()).unwrap();
        record["pid"].as_i64().unwrap() as i32
    }

    fn kill_both(&self) {
        let daemon = self.daemon();
        let watchdog = watchdog_pid(daemon, None);
        kill(daemon, "STOP");
        kill(watchdog, "KILL");
        kill(daemon, "KILL");
        wait_until("the end", || {
            !Path::new(&format!("/proc/{daemon}/exe")).exists()
        });
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let _ = self.run(&["unmount", "--all"]);
    }
}

fn own_dir(path: &Path) {
    create_dir(path).unwrap();
    chown(path, Some(65534), Some(65534)).unwrap();
    set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path)
        .unwrap()
        .permissions()
        .mode()
}

#[test]
fn where_root_may_not_enter_a_link_leads_to_the_mount() {
    let Some(closed) = Closed::new() else {
        return;
    };
    let (views, shown) = (closed.disk.join("views"), closed.root.join("views"));
    let real = closed.mount("views");
    assert_eq!(mode(&closed.runtime.join("sweepfs")) & 0o777, 0o700);
    let again = closed.run(&["mount"]);
    let said = format!("is mounted already at {} by process", shown.display());
    assert!(again.stderr.contains(&said), "{again:?}");
    again.success();
    let by_real = closed.run(&["mount", real.to_str().unwrap()]);
    assert!(by_real.stderr.contains(&said), "{by_real:?}");
    let shown_mounts = closed.run(&["mounts"]);
    assert!(shown_mounts.success().contains(shown.to_str().unwrap()));
    let unmounted = closed.run(&["unmount"]);
    assert_eq!(unmounted.stderr, format!("unmounted {}\n", shown.display()));
    assert!(!views.is_symlink() && !views.exists() && !real.exists());
    // A directory that was there comes back as it was.
    let mine = closed.disk.join("mine");
    own_dir(&mine);
    set_permissions(&mine, PermissionsExt::from_mode(0o2750)).unwrap();
    let real = closed.mount("mine");
    std::fs::remove_file(&mine).unwrap();
    closed
        .run(&["mount", closed.root.join("mine").to_str().unwrap()])
        .success();
    assert_eq!(
        read_link(&mine).unwrap(),
        real,
        "a link that was removed comes back"
    );
    closed.run(&["unmount", real.to_str().unwrap()]).success();
    assert_eq!(mode(&mine), 0o042_750);
    assert!(!is_mounted(&real) && !real.exists());
    assert_eq!(closed.run(&["mounts", "--json"]).success(), "");
}

#[test]
fn mount_and_link_end_together() {
    let Some(closed) = Closed::new() else {
        return;
    };
    let views = closed.disk.join("views");
    let real = closed.mount("views");
    kill(closed.daemon(), "KILL");
    wait_until("an ordinary folder", || {
        views.is_dir() && !views.is_symlink() && !real.exists()
    });
    wait_until_plain(&views);
    let real = closed.mount("views");
    kill(closed.daemon(), "TERM");
    wait_until("the end", || !views.is_symlink() && !views.exists());
    wait_until("the end of the mount", || {
        !is_mounted(&real) && !real.exists()
    });
    closed.run(&["mount", "--idle-unmount", "1s"]).success();
    assert!(views.is_symlink());
    wait_until("the idle end", || !views.is_symlink() && !views.exists());
    closed.mount("views");
    closed.kill_both();
    assert!(closed.run(&["mounts"]).success().contains(" dead "));
    assert!(closed.run(&["doctor"]).success().contains("dead mounts: "));
    let real = closed.mount("views");
    closed.kill_both();
    let unmounted = closed.run(&["unmount", "--all"]);
    let said = format!("unmounted {}\n", closed.root.join("views").display());
    assert_eq!(unmounted.stderr, said);
    assert!(!views.is_symlink() && !views.exists() && !is_mounted(&real) && !real.exists());
}

#[test]
fn what_could_be_others_is_refused() {
    let Some(closed) = Closed::new() else {
        return;
    };
    let views = closed.disk.join("views");
    let target = closed.runtime.join("target");
    own_dir(&target);
    symlink(&target, closed.runtime.join("sweepfs")).unwrap();
    let refused = closed.run(&["mount"]);
    assert!(
        refused.failure(1).contains("only you may enter"),
        "{refused:?}"
    );
    assert!(!views.exists() && !views.is_symlink());
    std::fs::remove_file(closed.runtime.join("sweepfs")).unwrap();
    own_dir(&closed.disk.join("full"));
    std::fs::write(closed.disk.join("full/x"), "").unwrap();
    std::fs::write(closed.disk.join("file"), "").unwrap();
    symlink("/nowhere/sweepfs/elsewhere-0", closed.disk.join("link")).unwrap();
    for name in ["full", "file", "link"] {
        let refused = closed.run(&["mount", closed.root.join(name).to_str().unwrap()]);
        assert!(
            refused.failure(4).contains("cannot mount on"),
            "{refused:?}"
        );
    }
    assert!(closed.disk.join("link").is_symlink() && closed.disk.join("full/x").exists());
}

#[test]
fn without_a_runtime_directory_there_is_one_in_tmp() {
    let Some(closed) = Closed::new() else {
        return;
    };
    closed.run_with(&["env"], &["mount"]).success();
    let real = read_link(closed.disk.join("views")).unwrap();
    assert_eq!(real.parent().unwrap(), Path::new("/tmp/sweepfs-65534"));
    assert_eq!(closed.n_links("views"), 3);
    closed.run(&["unmount"]).success();
    assert!(!real.exists());
    // Another may be using it.
    let _ = std::fs::remove_dir("/tmp/sweepfs-65534");
}
