//! Real mounts: what they promise, and how they end.

use crate::support::env::{Env, Ran, program, write_job};
use crate::support::mounted::{
    as_another_user, can_mount, daemon_pid, for_another_user, is_mounted, kill, links, mount,
    quietly, wait_until_plain, watchdog_pid,
};
use crate::support::wait_until;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A project with a small grid, and its mount.
fn mounted(env: &Env) -> (PathBuf, PathBuf) {
    let root = env.project("p");
    env.run(&root, &["create", "angle=10:80:10", "velocity=6,8,10"])
        .success();
    let views = mount(env, &root);
    (root, views)
}

#[test]
fn a_project_is_mounted_walked_and_unmounted() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    assert_eq!(
        quietly("ls", &["-U", "views"], &root),
        "view\nstatus\nlabel\nid\nby\n"
    );
    assert_eq!(
        quietly("ls", &["view/velocity/8/angle"], &views)
            .lines()
            .count(),
        8
    );
    assert_eq!(
        quietly("ls", &["-x", "view/velocity/8/angle/40/job/"], &views),
        "signac_statepoint.json\n"
    );
    assert_eq!(
        quietly(
            "cat",
            &["view/velocity/8/angle/40/job/signac_statepoint.json"],
            &views
        ),
        r#"{"angle": 40, "velocity": 8}"#
    );
    assert_eq!(links(&views.join("view")).len(), 24);
    assert_eq!(links(&views.join("id")).len(), 24);
    // Writing through the link writes to the real workspace; the tree itself is read-only.
    std::fs::write(views.join("view/velocity/8/angle/40/job/result.txt"), "5.2").unwrap();
    let refused = std::fs::create_dir(views.join("view/x")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let unmounted = env.run(&root, &["unmount"]);
    assert_eq!(unmounted.stderr, format!("unmounted {}\n", views.display()));
    assert!(
        !views.exists(),
        "a mountpoint made for the mount goes with it"
    );
    assert_eq!(env.run(&root, &["mounts", "--json"]).success(), "");
}

#[test]
fn standard_tools_walk_it_without_complaint() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (_, views) = mounted(&env);
    let count = |text: String| text.lines().count();
    assert_eq!(count(quietly("find", &["view", "-type", "l"], &views)), 24);
    assert_eq!(
        count(quietly("find", &["view", "-type", "d"], &views)),
        1 + 1 + 3 + 3 + 24
    );
    assert_eq!(
        count(quietly("find", &["-L", "view", "-type", "f"], &views)),
        24
    );
    assert_eq!(
        count(quietly(
            "find",
            &["-L", "id", "-name", "signac_statepoint.json"],
            &views
        )),
        24
    );
    assert_eq!(
        count(quietly(
            "find",
            &["view", "id", "-xdev", "-depth", "-type", "l"],
            &views
        )),
        48
    );
    assert_eq!(
        count(quietly(
            "grep",
            &["-rl", "angle", "view/velocity/6/angle/10/job/"],
            &views
        )),
        1
    );
    assert!(quietly("ls", &["-lR", "view"], &views).contains(" job -> /"));
    assert!(quietly("stat", &["-f", "view"], &views).contains("Namelen: 255"));
    quietly("du", &["-s", "."], &views);
    quietly("df", &["."], &views);
    let tar = quietly("sh", &["-c", "tar c view | tar t | grep -c /job$"], &views);
    assert_eq!(tar, "24\n");
    let inodes = quietly("find", &["view", "id", "-printf", "%i\\n"], &views);
    let distinct: BTreeSet<_> = inodes.lines().collect();
    assert_eq!(
        distinct.len(),
        inodes.lines().count(),
        "every path has an inode number of its own"
    );
}

#[test]
fn changes_appear_without_remounting() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    let path = views.join("view/velocity/9/angle/45/job");
    let by_python = views.join("view/velocity/11/angle/1/job");
    // Look first, so that the kernel has something to forget.
    assert!(!path.exists() && !by_python.exists());
    links(&views.join("view"));
    let id = env
        .run(&root, &["job", "-c", r#"{"angle": 45, "velocity": 9}"#])
        .success()
        .trim()
        .to_owned();
    wait_until("a new job", || path.exists());
    assert_eq!(
        std::fs::read_link(&path).unwrap(),
        root.join("workspace").join(&id)
    );
    assert!(views.join("id").join(&id).exists());
    // signac makes the directory first and the state point later.
    let statepoint = r#"{"angle": 1, "velocity": 11}"#;
    let dir = write_job(&root, statepoint);
    std::fs::remove_file(dir.join("signac_statepoint.json")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!by_python.exists());
    std::fs::write(dir.join("signac_statepoint.json"), statepoint).unwrap();
    wait_until("a job made in two steps", || by_python.exists());
    std::fs::remove_dir_all(root.join("workspace").join(&id)).unwrap();
    wait_until("a removed job to vanish", || {
        std::fs::symlink_metadata(&path).is_err()
    });
    wait_until("its directory to vanish", || {
        !quietly("ls", &["view/velocity"], &views).contains('9')
    });
    assert_eq!(links(&views.join("view")).len(), 25);
}

#[test]
fn a_key_that_begins_to_vary_moves_everything() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    assert_eq!(links(&views.join("view")).len(), 24);
    write_job(&root, r#"{"fuel": "x", "angle": 10, "velocity": 6}"#);
    wait_until("the new key", || {
        views.join("view/fuel/x/velocity/6/angle/10/job").exists()
    });
    assert_eq!(links(&views.join("view")).len(), 25);
    for entry in std::fs::read_dir(root.join("workspace")).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    let view = views.join("view");
    wait_until("an empty view", || {
        std::fs::read_dir(&view).unwrap().count() == 0
    });
    write_job(&root, r#"{"only": 1}"#);
    wait_until("a single job at the top", || {
        views.join("view/job").exists()
    });
}

#[test]
fn a_listing_under_way_stays_consistent() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "n=0:2999:1"]).success();
    let views = mount(&env, &root);
    let mut listing = std::fs::read_dir(views.join("view/n")).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let mut names: Vec<_> = listing.by_ref().take(10).map(name).collect();
    env.run(&root, &["create", "n=-500:-1:1"]).success();
    for id in env
        .run(&root, &["find", "n=2000,2001,2002,1,2"])
        .success()
        .lines()
    {
        std::fs::remove_dir_all(root.join("workspace").join(id)).unwrap();
    }
    wait_until("the change", || {
        views.join("view/n/-1").exists() && !views.join("view/n/2000").exists()
    });
    names.extend(listing.map(name));
    let distinct: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(names.len(), distinct.len(), "nothing is listed twice");
    let stable = (0..3000)
        .filter(|n| ![2000, 2001, 2002, 1, 2].contains(n))
        .map(|n| n.to_string());
    assert!(
        stable.into_iter().all(|name| distinct.contains(&name)),
        "what was there all the time is listed"
    );
    assert_eq!(quietly("ls", &["view/n"], &views).lines().count(), 3495);
}

#[test]
fn other_spellings_and_prefixes_are_found_but_not_listed() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "x=45.0,0.5,true", "name=a/b,1e3"])
        .success();
    let views = mount(&env, &root);
    let below = |path: &str| views.join("view").join(path);
    assert!(below("name/1e3").exists(), "a string is itself");
    assert!(below("name/a%2Fb/x/4.5e1/job").exists() && below("name/a%2Fb/x/45.0/job").exists());
    assert!(below("name/a%2Fb/x/5e-1/job").exists() && below("name/a%2Fb/x/true/job").exists());
    assert!(!below("name/a%2Fb/x/46.0").exists());
    assert_eq!(
        quietly("ls", &["view/name/a%2Fb/x"], &views),
        "0.5\n45.0\nTrue\n"
    );
    let id = env
        .run(&root, &["find", "x=0.5", "name=1e3"])
        .success()
        .trim()
        .to_owned();
    assert_eq!(
        std::fs::read_link(views.join("id").join(&id[..8])).unwrap(),
        root.join("workspace").join(&id)
    );
    assert!(!views.join("id").join(&id[..3]).exists() && !views.join("id/zzzz").exists());
    assert_eq!(quietly("ls", &["id"], &views).lines().count(), 6);
    let long = below(&"x".repeat(256));
    assert_eq!(
        std::fs::metadata(long).unwrap_err().raw_os_error(),
        Some(36),
        "ENAMETOOLONG"
    );
}

#[test]
fn mounting_again_changes_nothing() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    let pid = daemon_pid(&env, &views);
    let again = env.run(&root, &["mount"]);
    assert_eq!(
        again.stderr,
        format!(
            "{} is mounted already at {} by process {pid}\n",
            root.display(),
            views.display()
        )
    );
    again.success();
    let elsewhere = env.path().join("elsewhere");
    env.run(&root, &["mount", elsewhere.to_str().unwrap()])
        .success();
    assert_eq!(links(&elsewhere.join("view")).len(), 24);
    let other = env.project("other");
    let occupied = env.run(&other, &["mount", elsewhere.to_str().unwrap()]);
    assert!(
        occupied.failure(4).contains("is mounted there"),
        "{occupied:?}"
    );
    assert_eq!(env.run(&root, &["mounts"]).success().lines().count(), 3);
    env.run(&root, &["unmount"]).success();
    assert!(
        !is_mounted(&views) && !is_mounted(&elsewhere),
        "without arguments, all mounts of the project go"
    );
}

#[test]
fn a_killed_daemon_leaves_an_ordinary_empty_folder() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    for _ in 0..3 {
        kill(daemon_pid(&env, &views), "KILL");
        wait_until_plain(&views);
        assert_eq!(mount(&env, &root), views);
        assert_eq!(links(&views.join("view")).len(), 24);
    }
    env.run(&root, &["unmount"]).success();
    assert!(!views.exists());
}

#[test]
fn a_killed_watchdog_is_replaced() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (_, views) = mounted(&env);
    let daemon = daemon_pid(&env, &views);
    let mut watchdog = watchdog_pid(daemon, None);
    for _ in 0..3 {
        kill(watchdog, "KILL");
        watchdog = watchdog_pid(daemon, Some(watchdog));
    }
    assert_eq!(links(&views.join("view")).len(), 24);
    kill(daemon, "KILL");
    wait_until_plain(&views);
}

#[test]
fn after_both_are_killed_the_next_command_cleans_up() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    let kill_both = || {
        let daemon = daemon_pid(&env, &views);
        let watchdog = watchdog_pid(daemon, None);
        // The daemon must not get to start another one, nor the watchdog to act.
        kill(daemon, "STOP");
        kill(watchdog, "KILL");
        kill(daemon, "KILL");
        wait_until("a dead mount", || std::fs::metadata(&views).is_err());
    };
    kill_both();
    assert!(env.run(&root, &["mounts"]).success().contains(" dead "));
    assert!(
        env.run(&root, &["doctor"])
            .success()
            .contains(views.to_str().unwrap())
    );
    assert_eq!(mount(&env, &root), views);
    assert_eq!(links(&views.join("view")).len(), 24);
    kill_both();
    env.run(&root, &["unmount"]).success();
    assert!(!is_mounted(&views) && !views.exists());
}

#[test]
fn a_shell_inside_does_not_keep_the_mount() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    let mut command = Command::new("sh");
    command
        .args(["-c", "read line; cd /; pwd"])
        .current_dir(views.join("view/velocity/8"));
    let mut shell = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    env.run(&root, &["unmount"]).success();
    assert!(!is_mounted(&views) && !views.exists());
    assert_eq!(mount(&env, &root), views);
    drop(shell.stdin.take());
    assert_eq!(shell.wait_with_output().unwrap().stdout, b"/\n");
    assert_eq!(links(&views.join("view")).len(), 24);
}

#[test]
fn signals_and_foreign_unmounts_end_the_daemon_in_order() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    for signal in ["TERM", "INT"] {
        kill(daemon_pid(&env, &views), signal);
        wait_until("the end", || !views.exists());
        assert_eq!(env.run(&root, &["mounts", "--json"]).success(), "");
        mount(&env, &root);
    }
    kill(daemon_pid(&env, &views), "HUP");
    assert_eq!(
        links(&views.join("view")).len(),
        24,
        "a closed terminal does not end it"
    );
    let umount = Command::new("umount")
        .arg("-l")
        .arg(&views)
        .status()
        .unwrap();
    if umount.success() {
        wait_until("the daemon to notice", || {
            env.run(&root, &["mounts", "--json"]).success().is_empty()
        });
        assert!(!views.exists());
    }
}

#[test]
fn in_the_foreground_it_serves_until_interrupted() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    write_job(&root, r#"{"a": 1}"#);
    let mut command = env.command(&root, &["mount", "--foreground"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let views = root.join("views");
    wait_until("the mount", || views.join("view/job").exists());
    kill(child.id() as i32, "INT");
    assert!(child.wait().unwrap().success());
    assert!(!views.exists());
}

#[test]
fn unsuitable_mountpoints_are_refused_and_untouched() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    write_job(&root, r#"{"a": 1}"#);
    let check = |mountpoint: &str, expected: &str| {
        let ran = env.run(&root, &["mount", mountpoint]);
        let said = ran.failure(if mountpoint.starts_with("missing") {
            1
        } else {
            4
        });
        assert!(
            said.contains(expected) && said.contains("hint: "),
            "{mountpoint}: {said}"
        );
        assert!(!is_mounted(&root.join(mountpoint)));
    };
    std::fs::write(root.join("file"), "x").unwrap();
    check("file", "it is not a directory");
    std::fs::create_dir(root.join("full")).unwrap();
    std::fs::write(root.join("full/x"), "x").unwrap();
    check("full", "it is not empty");
    check("missing/parent/views", "cannot find the directory");
    check("workspace", "lies in the workspace");
    check("workspace/views", "lies in the workspace");
    check(".", "lies in the workspace, or the workspace in it");
    assert_eq!(
        std::fs::read_dir(root.join("workspace")).unwrap().count(),
        1
    );
    let none = env.run(&root, &["unmount"]);
    assert!(none.failure(1).contains("no sweepfs mount at"), "{none:?}");
}

#[test]
fn odd_paths_are_mounted() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let names = ["it's a \"project\", really\\", "tab\there", "ünïcödé"].map(OsStr::new);
    for name in names.into_iter().chain([OsStr::from_bytes(b"not\xffutf8")]) {
        let root = env.path().join(name);
        std::fs::create_dir(&root).unwrap();
        env.run(&root, &["init"]).success();
        write_job(&root, r#"{"a": 1}"#);
        env.run(&root, &["mount"]).success();
        assert!(
            root.join("views/view/job/signac_statepoint.json").exists(),
            "{name:?}"
        );
        assert_eq!(
            std::fs::read_link(root.join("views/view/job"))
                .unwrap()
                .parent()
                .unwrap(),
            root.join("workspace")
        );
        env.run(&root, &["unmount"]).success();
        assert!(!root.join("views").exists());
    }
}

#[test]
fn a_workspace_may_be_a_link_and_may_come_and_go() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    let real = env.path().join("scratch");
    std::fs::rename(root.join("workspace"), &real).unwrap();
    symlink(&real, root.join("workspace")).unwrap();
    write_job(&root, r#"{"a": 1}"#);
    let views = mount(&env, &root);
    write_job(&root, r#"{"a": 2}"#);
    wait_until("a change behind the link", || {
        views.join("view/a/2/job").exists()
    });
    std::fs::remove_dir_all(&real).unwrap();
    wait_until("an empty view", || {
        std::fs::read_dir(views.join("view")).unwrap().count() == 0
    });
    std::fs::create_dir(&real).unwrap();
    write_job(&root, r#"{"a": 3}"#);
    wait_until("the workspace to be back", || {
        views.join("view/job").exists()
    });
}

#[test]
fn an_ordinary_user_mounts_without_root() {
    let env = Env::new();
    if !can_mount() {
        return;
    }
    let Some((dir, words)) = for_another_user(&env) else {
        return;
    };
    let run = |args: &[&str]| as_another_user(&env, &dir, &words, args);
    run(&["init"]).success();
    run(&["create", "a=1:3:1"]).success();
    run(&["mount"]).success();
    let list = |path: &str| {
        let args = [
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "find",
            path,
            "-type",
            "l",
        ];
        Ran::of(env.in_env(Command::new("setpriv"), &dir, &args))
            .stdout
            .lines()
            .count()
    };
    assert_eq!(list("views/view"), 3);
    let record: serde_json::Value =
        serde_json::from_str(run(&["mounts", "--json"]).success()).unwrap();
    kill(record["pid"].as_i64().unwrap() as i32, "KILL");
    wait_until_plain(&dir.join("views"));
    run(&["mount"]).success();
    assert_eq!(list("views/view"), 3);
    run(&["unmount"]).success();
    assert!(!dir.join("views").exists());
    run(&["mount", "--idle-unmount", "1s"]).success();
    let views = dir.join("views");
    wait_until("the idle end", || !is_mounted(&views) && !views.exists());
}

#[test]
fn a_read_only_project_is_mounted_elsewhere() {
    let env = Env::new();
    if !can_mount() {
        return;
    }
    let Some((dir, words)) = for_another_user(&env) else {
        return;
    };
    let root = env.project("p");
    env.run(&root, &["create", "a=1:3:1"]).success();
    let run = |args: &[&str]| as_another_user(&env, &root, &words, args);
    assert_eq!(run(&["find", "--count"]).success(), "3\n");
    let refused = run(&["mount"]);
    assert!(
        refused.failure(1).contains("Permission denied")
            && refused.stderr.contains("hint: name a directory"),
        "{refused:?}"
    );
    let views = dir.join("v");
    run(&["mount", views.to_str().unwrap()]).success();
    run(&["unmount", views.to_str().unwrap()]).success();
    let refused = run(&["create", "a=4"]);
    assert!(
        refused.failure(1).contains("Permission denied"),
        "{refused:?}"
    );
}

/// Runs a command in a mount namespace of its own, after a preparation in shell.
fn in_namespace(env: &Env, dir: &Path, preparation: &str, args: &[&str]) -> Option<Ran> {
    let works = Command::new("unshare")
        .args(["-m", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        crate::support::skip("cannot make a mount namespace");
        return None;
    }
    let script = format!("set -e\n{preparation}\nexec \"$@\"");
    let args: Vec<_> = ["-m", "sh", "-c", &script, "sh"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    Some(Ran::of(env.in_env(Command::new("unshare"), dir, &args)))
}

#[test]
fn what_is_missing_is_named_before_anything_is_touched() {
    let env = Env::new();
    let root = env.project("p");
    let no_device = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3";
    let Some(ran) = in_namespace(&env, &root, no_device, &[program(), "mount"]) else {
        return;
    };
    let said = ran.failure(1);
    assert!(
        said.contains("cannot mount: /dev/fuse does not exist")
            && said.contains("hint: ")
            && said.contains("modprobe fuse"),
        "{said}"
    );
    assert!(!root.join("views").exists());
    let Some(ran) = in_namespace(&env, &root, no_device, &[program(), "doctor"]) else {
        return;
    };
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout
            .contains("bad      FUSE device: /dev/fuse does not exist"),
        "{ran:?}"
    );

    let Some((dir, words)) = for_another_user(&env) else {
        return;
    };
    as_another_user(&env, &dir, &words, &["init"]).success();
    let no_helper = "mount --bind /dev/null $(readlink -f /usr/bin/fusermount3)";
    let words: Vec<_> = words.iter().map(String::as_str).chain(["mount"]).collect();
    let words: Vec<_> = ["env", "HOME=."].iter().copied().chain(words).collect();
    let Some(ran) = in_namespace(&env, &dir, no_helper, &words) else {
        return;
    };
    let said = ran.failure(1);
    assert!(
        said.contains("fusermount3 was not found") && said.contains("package fuse3"),
        "{said}"
    );
    assert!(!dir.join("views").exists());
}

#[test]
fn another_fusermount_in_the_path_does_not_matter() {
    let env = Env::new();
    if !can_mount() {
        return;
    }
    let Some((dir, words)) = for_another_user(&env) else {
        return;
    };
    let run = |args: &[&str]| as_another_user(&env, &dir, &words, args);
    run(&["init"]).success();
    let bin = env.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy("/bin/false", bin.join("fusermount3")).unwrap();
    let path = format!("PATH={}:{}", bin.display(), std::env::var("PATH").unwrap());
    let words: Vec<_> = ["env".to_owned(), path]
        .into_iter()
        .chain(words.clone())
        .collect();
    as_another_user(&env, &dir, &words, &["mount"]).success();
    assert!(is_mounted(&dir.join("views")));
    as_another_user(&env, &dir, &words, &["unmount"]).success();
    assert!(!is_mounted(&dir.join("views")));
}

#[test]
fn doctor_names_what_limits_a_mount() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let Some((dir, words)) = for_another_user(&env) else {
        return;
    };
    as_another_user(&env, &dir, &words, &["init"]).success();
    let doctor = |preparation: &str, settings: &[&str]| {
        let words = words.iter().map(String::as_str).chain(["doctor"]);
        let words: Vec<_> = ["env"]
            .into_iter()
            .chain(settings.iter().copied())
            .chain(words)
            .collect();
        let ran = in_namespace(&env, &dir, preparation, &words)?;
        Some((ran.code, ran.stdout))
    };
    let etc = "mount -t tmpfs none /mnt; chmod 755 /mnt; cp /etc/passwd /mnt
        echo 'PRUNEFS = \"nfs fuse.sshfs\"' > /mnt/updatedb.conf
        echo 'mount_max = 0' > /mnt/fuse.conf
        mount --bind /mnt /etc";
    let Some((code, said)) = doctor(etc, &["X=1"]) else {
        return;
    };
    assert_eq!(code, Some(1), "{said}");
    for expected in [
        "limited  other users: `--allow-other` is not permitted",
        "bad      number of mounts: ",
        "limited  updatedb: walks mounts",
        "add `fuse.sweepfs` to PRUNEFS",
        "good     workspace: on a local file system",
        "good     mountpoint: ",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let (code, said) = doctor("true", &["FUSERMOUNT_PATH=/nowhere"]).unwrap();
    assert_eq!(code, Some(1));
    assert!(
        said.contains("FUSERMOUNT_PATH names `/nowhere`, which is no program"),
        "{said}"
    );
    let copy = env.path().join("fusermount3");
    std::fs::copy("/bin/true", &copy).unwrap();
    let named = format!("FUSERMOUNT_PATH={}", copy.display());
    let (_, said) = doctor("true", &[&named]).unwrap();
    assert!(said.contains("is not setuid root"), "{said}");
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o4755)).unwrap();
    let (_, said) = doctor("true", &[&named]).unwrap();
    assert!(said.contains("fusermount3 is there and setuid"), "{said}");
    let nosuid = format!(
        "mount --bind {0} {0}; mount -o remount,bind,nosuid {0}",
        copy.display()
    );
    let (_, said) = doctor(&nosuid, &[&named]).unwrap();
    assert!(said.contains("its file system is `nosuid`"), "{said}");
}

/// Returns the daemons that serve a mountpoint or are about to.
fn daemons(mountpoint: &Path) -> Vec<i32> {
    let named = format!("\"mountpoint\":\"{}\"", mountpoint.display());
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        words.contains("\0serve\0") && words.contains(&named)
    })
    .collect()
}

#[test]
fn killed_at_any_moment_of_its_start_it_leaves_no_corpse() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "a=1:500:1"]).success();
    let views = root.join("views");
    for delay_ms in 0..30 {
        let mut command = env
            .command(&root, &["mount", "-q"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        for pid in daemons(&views) {
            let _ = Command::new("kill")
                .args(["-s", "KILL", &pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
        let _ = command.wait();
        let walks = || {
            let found = Command::new("find")
                .arg(views.join("view"))
                .args(["-type", "l"])
                .output()
                .unwrap();
            found.status.success() && found.stdout.iter().filter(|&&b| b == b'\n').count() == 500
        };
        wait_until("mounted or not", || !is_mounted(&views) || walks());
        if is_mounted(&views) {
            env.run(&root, &["unmount", "-q"]).success();
        }
    }
    assert_eq!(links(&mount(&env, &root).join("view")).len(), 500);
}

#[test]
fn what_is_mounted_after_an_outside_unmount_is_left_alone() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    let unmount_outside = || {
        let daemon = daemon_pid(&env, &views);
        assert!(
            Command::new("umount")
                .arg(&views)
                .status()
                .unwrap()
                .success()
        );
        daemon
    };
    // The kernel gives the number of the old mount to the new one.
    let first = unmount_outside();
    mount(&env, &root);
    wait_until("the first daemon to end", || {
        !Path::new(&format!("/proc/{first}/exe")).exists()
    });
    assert_eq!(links(&views.join("view")).len(), 24);
    assert_eq!(
        env.run(&root, &["mounts", "--json"])
            .success()
            .lines()
            .count(),
        1
    );
    let second = unmount_outside();
    let mount_tmpfs = || {
        std::fs::create_dir_all(&views).unwrap();
        let mut command = Command::new("mount");
        let command = command.args(["-t", "tmpfs", "none"]).arg(&views);
        command.status().unwrap().success()
    };
    // The daemon may remove the directory that it made in between, but once only.
    assert!(mount_tmpfs() || mount_tmpfs());
    std::fs::write(views.join("precious"), "x").unwrap();
    wait_until("the second daemon to end", || {
        !Path::new(&format!("/proc/{second}/exe")).exists()
    });
    assert!(views.join("precious").exists());
    assert!(
        Command::new("umount")
            .arg(&views)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_moved_project_leaves_no_corpse() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    let moved = env.path().join("moved");
    for signal in ["TERM", "KILL"] {
        let daemon = daemon_pid(&env, &views);
        watchdog_pid(daemon, None);
        std::fs::rename(&root, &moved).unwrap();
        kill(daemon, signal);
        wait_until_plain(&moved.join("views"));
        std::fs::rename(&moved, &root).unwrap();
        mount(&env, &root);
    }
}

#[test]
fn a_stopped_daemon_hangs_no_command() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    kill(daemon_pid(&env, &views), "STOP");
    let doctor = env.run(&root, &["doctor"]);
    assert!(
        doctor.success().contains("its daemon does not answer")
            && doctor
                .stdout
                .contains("`echo 1 > /sys/fs/fuse/connections/"),
        "{doctor:?}"
    );
    env.run(&root, &["unmount", "--all"]).success();
    assert!(!is_mounted(&views) && !views.exists());
}

#[test]
fn what_nobody_uses_is_unmounted() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "a=1:3:1"]).success();
    let views = root.join("views");
    let log = root.join("mount.log");
    let mount = || {
        let args = ["mount", "--idle-unmount", "2s", "--log", "mount.log"];
        env.run(&root, &args).success();
    };
    mount();
    let shown = env.run(&root, &["mounts"]);
    assert!(shown.success().contains(log.to_str().unwrap()), "{shown:?}");
    // Looked at now and then, for longer than the limit; the kernel alone could answer.
    for _ in 0..12 {
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(links(&views.join("view")).len(), 3);
    }
    // A shell that does nothing is inside.
    let mut shell = Command::new("sh")
        .args(["-c", "read line"])
        .current_dir(views.join("view/a"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(4500));
    assert!(is_mounted(&views));
    drop(shell.stdin.take());
    shell.wait().unwrap();
    wait_until("the end", || !is_mounted(&views) && !views.exists());
    assert_eq!(env.run(&root, &["mounts", "--json"]).success(), "");
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains("nobody used it for 2 s"), "{said}");
    let never = env.run(&root, &["mount", "--idle-unmount", "soon"]);
    assert!(never.failure(2).contains("is no duration"), "{never:?}");
}
