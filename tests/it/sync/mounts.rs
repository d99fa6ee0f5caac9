//! File systems that are mounted somewhere in a project.

use super::local::{Pair, Small, name, write};
use crate::support::env::write_job;
use crate::support::mounted::{Bound, can_mount, mount};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

#[test]
fn a_job_on_another_file_system_is_named_and_left_out() {
    let pair = Pair::new(3);
    for job in [pair.jobs[0].clone(), pair.there(&pair.jobs[1])] {
        let aside = pair.env.path().join("aside");
        fs::rename(&job, &aside).unwrap();
        let Some(small) = Small::new(&job, "1m") else {
            return;
        };
        for file in ["signac_statepoint.json", "out.txt"] {
            fs::copy(aside.join(file), job.join(file)).unwrap();
        }
        write(&job.join("new"), "mounted");
        let told = pair.sync(&["--delete", "--max-delete", "100"], 3);
        let id = name(&job);
        assert!(
            told.contains(&format!(
                "{id}: not synced: another file system is mounted there"
            )),
            "{told}"
        );
        assert!(
            job.join("new").exists() && !told.contains("deleted"),
            "{told}"
        );
        drop(small);
        fs::remove_dir(&job).unwrap();
        fs::rename(aside, &job).unwrap();
    }
    pair.sync(&[], 0);
    pair.check(&pair.jobs[0].join("sub/deep"), "1", "1");
}

#[test]
fn the_jobs_may_all_be_on_another_file_system() {
    let pair = Pair::new(2);
    let (file, other) = (pair.jobs[0].join("out.txt"), pair.jobs[1].join("out.txt"));
    let disk = pair.env.path().join("disk");
    let Some(_small) = Small::new(&disk, "1m") else {
        return;
    };
    for is_linked in [true, false] {
        let (workspace, aside) = (pair.there.join("workspace"), pair.env.path().join("aside"));
        fs::rename(&workspace, &aside).unwrap();
        let _mounted = match is_linked {
            true => {
                symlink(&disk, &workspace).unwrap();
                None
            }
            false => Some(Small::new(&workspace, "1m").unwrap()),
        };
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(aside.join(".")).arg(workspace.join("."));
        assert!(copy.status().unwrap().success());
        write(&file, "here");
        write(&pair.there(&other), "there");
        pair.sync(&[], 0);
        pair.check(&file, "here", "here");
        pair.check(&other, "there", "there");
        write(&pair.jobs[0].join("new"), "new");
        fs::remove_file(pair.jobs[0].join("sub/deep")).unwrap();
        pair.sync(&["--delete", "--max-delete", "100"], 0);
        pair.check(&pair.jobs[0].join("new"), "new", "new");
        pair.check(&pair.jobs[0].join("sub/deep"), "-", "-");
        assert!(workspace.join(".sweepfs-trash").is_dir());
        write(&pair.jobs[0].join("sub/deep"), "1");
        pair.sync(&[], 0);
        drop(_mounted);
        match is_linked {
            true => fs::remove_file(&workspace).unwrap(),
            false => fs::remove_dir(&workspace).unwrap(),
        }
        fs::remove_dir_all(&aside).unwrap();
        // What was on that disk is all there is.
        let mut copy = Command::new("cp");
        copy.arg("-a")
            .arg(pair.here.join("workspace"))
            .arg(&workspace);
        assert!(copy.status().unwrap().success());
    }
}

#[test]
fn views_are_not_entered() {
    if !can_mount() {
        return;
    }
    let pair = Pair::new(2);
    let (below, inside) = (
        pair.here.join("workspace/views"),
        pair.jobs[1].join("views"),
    );
    mount(&pair.env, &pair.here);
    // Among its own jobs a project is not mounted, but another one may be.
    let other = pair.env.project("other");
    write_job(&other, r#"{"a": 1}"#);
    for mountpoint in [&below, &inside] {
        fs::create_dir(mountpoint).unwrap();
        let ran = pair
            .env
            .run(&other, &["mount", mountpoint.to_str().unwrap()]);
        ran.success();
    }
    write(&pair.jobs[0].join("out.txt"), "2");
    let told = pair.sync(&[], 3);
    assert!(
        told.contains("`views` is not synced: another file system is mounted there"),
        "{told}"
    );
    pair.check(&pair.jobs[0].join("out.txt"), "2", "2");
    assert!(!pair.there.join("workspace/views").exists());
    assert!(!pair.there(&inside).exists());
    pair.env
        .run(&pair.here, &["unmount", inside.to_str().unwrap()])
        .success();
    fs::remove_dir(&inside).unwrap();
    pair.sync(&[], 0);
}

#[test]
fn a_mount_that_does_not_answer_is_not_asked() {
    if !can_mount() {
        return;
    }
    let pair = Pair::new(2);
    let source = pair.env.path().join("source");
    fs::create_dir(&source).unwrap();
    let (below, inside) = (
        pair.here.join("workspace/views"),
        pair.jobs[1].join("views"),
    );
    let mut bound = Vec::new();
    for mountpoint in [&pair.here.join("views"), &below, &inside] {
        fs::create_dir_all(mountpoint).unwrap();
        let Some(mounted) = Bound::new(&source, mountpoint, &[]) else {
            return;
        };
        bound.push(mounted);
    }
    bound[0].signal("STOP");
    bound[1].signal("STOP");
    bound[2].signal("KILL");
    write(&pair.jobs[0].join("out.txt"), "2");
    let told = pair.sync(&["--delete", "--max-delete", "100"], 3);
    assert!(told.contains("not connected"), "{told}");
    pair.check(&pair.jobs[0].join("out.txt"), "2", "2");
    pair.check(&pair.jobs[1].join("out.txt"), "1", "1");
}
