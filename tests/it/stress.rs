//! A mount under load: many who walk and look while others add, remove and edit.
//!
//! `SWEEPFS_TEST_STRESS_S` says for how many seconds; and if it is set, that a change shows within a
//! second is asserted, too, which a busy machine may not keep.

#![expect(
    clippy::print_stdout,
    reason = "what was measured is shown with `--nocapture`"
)]

use crate::support::env::{Env, write_job};
use crate::support::mounted::{
    can_mount, daemon_pid, kill, links, mount, quietly, wait_until_plain,
};
use crate::support::tree::{load, serve, walk_view};
use crate::support::wait_until;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const WALKERS: usize = 16;

fn seconds() -> Option<u64> {
    let given = std::env::var("SWEEPFS_TEST_STRESS_S").ok()?;
    Some(given.parse().unwrap())
}

/// A project with jobs that stay, labels, and its mount.
fn mounted(env: &Env) -> (PathBuf, PathBuf) {
    let root = env.project("p");
    env.run(&root, &["create", "a=1:20:1", "b=1:10:1", "k=0"])
        .success();
    // So many that the order of parameters stays when more of these come.
    env.run(&root, &["create", "t=-50:-1:1", "k=1"]).success();
    std::fs::write(root.join("sweepfs.toml"), "[label]\ndone = \"doc.done\"\n").unwrap();
    let views = mount(env, &root);
    (root, views)
}

fn edit(root: &Path, id: &str, text: &str) {
    let dir = root.join("workspace").join(id);
    std::fs::write(dir.join("new"), text).unwrap();
    std::fs::rename(dir.join("new"), dir.join("signac_job_document.json")).unwrap();
}

fn id_of(dir: &Path) -> String {
    dir.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Walks once; what is said must be about jobs that come and go, which have `t`.
fn walk(views: &Path, turn: usize) {
    let commands: [&[&str]; 6] = [
        &["find", "view"],
        &["ls", "-lR", "view/k/0"],
        &["find", "-L", "by/k/0/a/3", "-maxdepth", "4", "-type", "d"],
        &["find", "label", "view/doc.done=true"],
        &["ls", "-R", "view/a<5"],
        &["cat", "view/k/0/.jobs", "by/k/0/.count"],
    ];
    let command = commands[turn % commands.len()];
    // Many walkers on few processors, and yet who changes jobs must keep the pace.
    let mut program = Command::new("nice");
    let ran = program.args(["-n", "19"]).args(command).current_dir(views);
    let ran = ran.env("LC_ALL", "C").output().unwrap();
    for line in String::from_utf8_lossy(&ran.stderr).lines() {
        let vanished = line.contains("No such file") || line.contains("Stale file handle");
        let in_motion = line.contains("/t") || line.contains("label") || line.contains("doc.");
        assert!(vanished && in_motion, "{command:?}: {line}");
    }
    let out = String::from_utf8_lossy(&ran.stdout);
    match turn % commands.len() {
        0 => {
            let stay = out
                .lines()
                .filter(|l| l.starts_with("view/k/0/") && l.ends_with("/job"));
            assert_eq!(stay.count(), 200, "jobs that stay are always there");
        }
        5 => assert!(
            out.lines().count() == 201 && out.ends_with("200\n"),
            "{out}"
        ),
        _ => {}
    }
}

/// Adds and removes 50 jobs a second and edits documents, until it is told to stop.
fn change(root: &Path, ids: &[String], stop: &AtomicBool) -> usize {
    let mut recent = std::collections::VecDeque::new();
    let mut due = Instant::now();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        recent.push_back(write_job(
            root,
            &format!("{{\"t\": {n}, \"k\": {}}}", 1 + n % 3),
        ));
        edit(
            root,
            &ids[n % ids.len()],
            &format!("{{\"done\": {}}}", n % 2 == 0),
        );
        if recent.len() > 20 {
            std::fs::remove_dir_all(recent.pop_front().unwrap()).unwrap();
        }
        n += 1;
        due += Duration::from_millis(20);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    n
}

fn resident_kb(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1));
    kb.unwrap().parse().unwrap()
}

#[test]
fn walkers_and_writers_do_not_disturb_each_other() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    let ids: Vec<_> = links(&views.join("view/k/0")).into_values().collect();
    let daemon = daemon_pid(&env, &views);
    let limit = Duration::from_secs(seconds().unwrap_or(8));
    let (begun, stop, turns) = (Instant::now(), AtomicBool::new(false), AtomicUsize::new(0));
    let mut warm_kb = 0;
    let ids = &ids;
    let (n_changes, ()) = std::thread::scope(|scope| {
        let changes = scope.spawn(|| change(&root, ids, &stop));
        let walkers: Vec<_> = (0..WALKERS)
            .map(|_| {
                scope.spawn(|| {
                    while begun.elapsed() < limit {
                        walk(&views, turns.fetch_add(1, Ordering::Relaxed));
                    }
                })
            })
            .collect();
        std::thread::sleep(limit / 4);
        warm_kb = resident_kb(daemon);
        let walked: Vec<_> = walkers.into_iter().map(|walker| walker.join()).collect();
        stop.store(true, Ordering::Relaxed);
        let n_changes = changes.join().unwrap();
        walked.into_iter().for_each(|walked| walked.unwrap());
        (n_changes, ())
    });
    let expected: BTreeSet<_> = walk_view(&serve(load(&root).snapshot()))
        .into_keys()
        .collect();
    // The last that were removed may still be vanishing.
    let shown = || {
        let mut find = Command::new("find");
        find.args(["view", "-type", "l", "-printf", "%P\\n"]);
        let found = find.current_dir(&views).output().unwrap();
        let text = String::from_utf8(found.stdout).unwrap();
        text.lines().map(ToOwned::to_owned).collect::<BTreeSet<_>>()
    };
    wait_until("the end", || shown() == expected);
    let end_kb = resident_kb(daemon);
    let turns = turns.into_inner();
    println!("{n_changes} changes, {turns} walks, {warm_kb} KiB, at the end {end_kb} KiB");
    assert!(end_kb < 2 * warm_kb + 20_000, "{warm_kb} {end_kb}");
}

#[test]
fn killed_under_load_it_leaves_no_corpse() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    for round in 0..10 {
        let mut walkers: Vec<_> = ["view", "by", "label"]
            .iter()
            .map(|tree| {
                let mut find = Command::new("find");
                find.arg(views.join(tree));
                find.stdout(std::process::Stdio::null());
                find.stderr(std::process::Stdio::null());
                find.spawn().unwrap()
            })
            .collect();
        std::thread::sleep(Duration::from_millis(7 * round));
        kill(daemon_pid(&env, &views), "KILL");
        wait_until_plain(&views);
        for walker in &mut walkers {
            walker.wait().unwrap();
        }
        env.run(&root, &["mount"]).success();
        assert_eq!(links(&views.join("view")).len(), 250);
    }
}

/// Waits for a change to show; returns whether it did within a second.
#[track_caller]
fn shows(what: &str, is_shown: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    wait_until(what, is_shown);
    begun.elapsed() <= Duration::from_secs(1)
}

#[test]
fn changes_show_through_listed_folders() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let (root, views) = mounted(&env);
    let ids: Vec<_> = links(&views.join("id")).into_values().collect();
    let n = if seconds().is_some() { 25 } else { 5 };
    let mut in_time = 0;
    for (i, id) in ids.iter().enumerate().take(n) {
        let names = |dir: &str| quietly("ls", &[dir], &views);
        let label = || {
            links(&views.join("label/done"))
                .values()
                .any(|other| other == id)
        };
        let by_filter = || {
            links(&views.join("view/doc.x=1"))
                .values()
                .any(|other| other == id)
        };
        names("view/k/1/t");
        assert!(!label() && !by_filter());
        let job = write_job(&root, &format!("{{\"t\": {i}, \"k\": 1}}"));
        let name = format!("{i}\n");
        let has = |text: &str| text.lines().any(|line| line == name.trim());
        in_time += usize::from(shows("a new job", || {
            has(&names("view/k/1/t")) && views.join(format!("view/k/1/t/{i}/job")).exists()
        }));
        assert_eq!(
            id_of(&job),
            id_of(&std::fs::read_link(views.join(format!("view/k/1/t/{i}/job"))).unwrap())
        );
        std::fs::remove_dir_all(&job).unwrap();
        in_time += usize::from(shows("its end", || !has(&names("view/k/1/t"))));
        edit(&root, id, r#"{"x": 1, "done": true}"#);
        in_time += usize::from(shows("a document by its label", label));
        in_time += usize::from(shows("a document by a filter", by_filter));
    }
    println!("{in_time} of {} within a second", 4 * n);
    assert!(
        seconds().is_none() || in_time == 4 * n,
        "{in_time} of {}",
        4 * n
    );
}
