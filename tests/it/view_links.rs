//! Trees of links on disk.

use crate::bad_input::unprivileged;
use crate::signac::MAKE_PROJECTS;
use crate::support::env::{Env, Ran, write_job};
use crate::support::mounted::{can_mount, mount};
use crate::support::python::{self, python, signac};
use crate::support::tree::{load, serve, walk_view};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// All entries below a directory: the text of a link, or what else it is.
fn entries(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(at) = dirs.pop() {
        for entry in std::fs::read_dir(&at).into_iter().flatten() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap();
            let what = match (kind.is_symlink(), kind.is_dir()) {
                (true, _) => std::fs::read_link(&path).unwrap().display().to_string(),
                (_, true) => "dir".to_owned(),
                _ => "file".to_owned(),
            };
            if kind.is_dir() {
                dirs.push(path.clone());
            }
            found.insert(path.strip_prefix(dir).unwrap().to_owned(), what);
        }
    }
    found
}

/// The links below a directory: path to id. Each must lead to its job.
#[track_caller]
fn links(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (path, what) in entries(dir) {
        if what != "dir" && what != "file" {
            let target = dir.join(&path).canonicalize();
            let target = target.unwrap_or_else(|error| panic!("{path:?} -> {what}: {error}"));
            assert!(target.join("signac_statepoint.json").exists(), "{path:?}");
            let id = target.file_name().unwrap().to_str().unwrap().to_owned();
            found.insert(path.to_str().unwrap().to_owned(), id);
        }
    }
    found
}

/// What changes when anything is written: inode numbers and times of change.
fn marks(dir: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let below = entries(dir).into_keys().map(|path| dir.join(path));
    let mark = |path: PathBuf| {
        let found = path.symlink_metadata().unwrap();
        (path, (found.ino(), found.ctime(), found.ctime_nsec()))
    };
    below.chain([dir.to_owned()]).map(mark).collect()
}

/// What the mount shows.
fn mounted(root: &Path) -> BTreeMap<String, String> {
    walk_view(&serve(load(root).snapshot()))
}

/// A project with a grid of jobs.
fn grid(env: &Env, axes: &[&str]) -> PathBuf {
    let root = env.project("p");
    env.run(&root, &[&["create", "-q"], axes].concat())
        .success();
    root
}

#[track_caller]
fn said(ran: &Ran) -> (Option<i32>, &str) {
    (ran.code, &ran.stderr)
}

#[test]
fn links_are_those_of_signac_and_each_finds_nothing_to_do_after_the_other() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let made = python::run(&env, &python, &env.path(), MAKE_PROJECTS, &[]);
    let names: Vec<_> = made.lines().collect();
    assert!(names.len() >= 30);
    let mut before = Vec::new();
    for name in &names {
        let root = env.path().join(name);
        env.run(&root, &["view", "-p", "ours"]).success();
        assert_eq!(entries(&root.join("ours")), entries(&root.join("view")));
        let theirs = marks(&root.join("view"));
        env.run(&root, &["view", "--check"]).success();
        env.run(&root, &["view"]).success();
        assert_eq!(marks(&root.join("view")), theirs, "{name}");
        before.push(marks(&root.join("ours")));
    }
    let again = "
import os, sys, signac
for name in sys.argv[1:]:
    os.chdir(name)
    signac.get_project().create_linked_view(prefix='ours', path='{{auto}}')
    os.chdir('..')
";
    python::run(&env, &python, &env.path(), again, &names);
    for (name, before) in names.iter().zip(before) {
        assert_eq!(marks(&env.path().join(name).join("ours")), before, "{name}");
    }
}

#[test]
fn both_update_the_links_of_the_other() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let root = grid(&env, &["a=1,2", "b=1"]);
    for (axes, ours) in [
        (["a=1,2", "b=2"], true),
        (["a=3", "b=1,2"], false),
        (["a=1:3:1", "b=1:4:1"], true),
    ] {
        env.run(&root, &["create", axes[0], axes[1]]).success();
        if ours {
            env.run(&root, &["view"]).success();
        } else {
            signac(&env, &python, &root, &["view"]).success();
        }
        assert_eq!(links(&root.join("view")), mounted(&root));
        env.run(&root, &["view", "--check"]).success();
        let said = signac(&env, &python, &root, &["-v", "view"]);
        assert!(said.stderr.contains("is up to date"), "{said:?}");
    }
}

#[test]
fn link_texts_are_those_that_signac_computed() {
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../data/vectors/view_vectors.json")).unwrap();
    let mut n_compared = 0;
    for vector in vectors {
        let (Some(texts), Some(spec)) = (vector["targets"].as_object(), vector["path"].as_str())
        else {
            continue;
        };
        let env = Env::new();
        let root = env.project("p");
        for job in vector["jobs"].as_array().unwrap() {
            write_job(&root, &job.to_string());
        }
        let ran = env.run(&root, &["view", spec]);
        if ran.code != Some(0) {
            assert_ne!(spec, "{{auto}}", "{ran:?}");
            continue;
        }
        let ours = entries(&root.join("view"));
        for (path, text) in texts {
            if let Some(ours) = ours.get(Path::new(path)) {
                assert_eq!(ours, text.as_str().unwrap(), "{spec}: {path}");
                n_compared += 1;
            }
        }
    }
    assert!(n_compared > 30, "{n_compared}");
}

#[test]
fn what_is_right_is_not_touched() {
    let env = Env::new();
    let root = grid(&env, &["a=1:5:1", "b=x,y"]);
    let view = root.join("view");
    let made = env.run(&root, &["view"]);
    let note = "view has 10 links: 10 made, 0 changed, 0 removed\n";
    assert_eq!(said(&made), (Some(0), note));
    assert_eq!(made.stdout, "");
    let notes = root.join(".sweepfs/views");
    let before = (marks(&view), marks(&notes));
    for args in [
        &["view"][..],
        &["view", "-p"],
        &["view", "--check"],
        &["view", "--dry-run"],
    ] {
        let again = env.run(&root, args);
        assert_eq!(said(&again), (Some(0), "view is up to date (10 links)\n"));
        assert_eq!(again.stdout, "");
    }
    assert_eq!((marks(&view), marks(&notes)), before);
    env.run(&root, &["create", "a=6", "b=x"]).success();
    std::fs::remove_file(view.join("b/x/a/2/job")).unwrap();
    env.run(&root, &["view"]).success();
    let after = marks(&view);
    for (path, mark) in &before.0 {
        if path.is_symlink() && !path.ends_with("b/x/a/2/job") {
            assert_eq!(after.get(path), Some(mark), "{path:?}");
        }
    }
    assert_eq!(links(&view), mounted(&root));
}

#[test]
fn a_key_that_begins_to_vary_changes_every_path() {
    let env = Env::new();
    let root = grid(&env, &["a=1:3:1", "c=0"]);
    let view = root.join("view");
    env.run(&root, &["view"]).success();
    assert!(view.join("a/1/job").is_symlink());
    env.run(&root, &["create", "a=1", "c=1"]).success();
    env.run(&root, &["view"]).success();
    assert_eq!(links(&view), mounted(&root));
    assert!(!view.join("a").exists(), "old folders are gone");
    env.run(&root, &["view", "-f", "c=1"]).success();
    let one: Vec<_> = entries(&view).into_keys().collect();
    assert_eq!(one, [Path::new("job")], "one job needs no parameters");
    let none = env.run(&root, &["view", "-f", "a=99"]);
    let note = "view has 0 links: 0 made, 0 changed, 1 removed\n";
    assert_eq!(said(&none), (Some(0), note));
    assert_eq!(entries(&view).len(), 0);
    let id = env.run(&root, &["find", "a=2"]).success().trim().to_owned();
    env.run(&root, &["view", "-j", &id[..8]]).success();
    assert_eq!(links(&view), [("job".to_owned(), id)].into());
}

#[test]
fn an_empty_project_makes_nothing() {
    let env = Env::new();
    let root = env.project("p");
    let ran = env.run(&root, &["view"]);
    assert_eq!(said(&ran), (Some(0), "view is up to date (0 links)\n"));
    assert!(!root.join("view").exists());
}

#[test]
fn what_is_not_ours_stays() {
    let env = Env::new();
    let root = grid(&env, &["a=1,2", "b=1,2"]);
    let view = root.join("view");
    env.run(&root, &["view"]).success();
    std::fs::write(view.join("a/1/b/1/notes.txt"), "mine").unwrap();
    std::fs::write(view.join("README"), "mine").unwrap();
    std::fs::create_dir_all(view.join("plots/empty")).unwrap();
    symlink("/etc/hostname", view.join("a/1/host")).unwrap();
    let deep = view.join("deep").join("d/".repeat(1000));
    std::fs::create_dir_all(&deep).unwrap();
    symlink("a/1/b/1/job", view.join("best")).unwrap();
    let gone = env
        .run(&root, &["find", "a=1", "b=1"])
        .success()
        .trim()
        .to_owned();
    std::fs::remove_dir_all(root.join("workspace").join(gone)).unwrap();
    let ran = env.run(&root, &["view"]);
    assert_eq!(
        said(&ran),
        (
            Some(0),
            "kept an old folder for what it holds: view/a/1/b/1/notes.txt\n\
             view has 3 links: 0 made, 0 changed, 1 removed\n"
        )
    );
    env.run(&root, &["view", "-f", "b=9"]).success();
    let left: Vec<_> = entries(&view)
        .into_iter()
        .filter(|(_, what)| what != "dir")
        .collect();
    let left: Vec<_> = left
        .iter()
        .map(|(path, _)| path.to_str().unwrap())
        .collect();
    assert_eq!(left, ["README", "a/1/b/1/notes.txt", "a/1/host", "best"]);
    assert!(view.join("plots/empty").is_dir() && deep.is_dir());
    assert!(!view.join("a/2").exists());
}

#[test]
fn what_is_in_the_way_is_named_and_the_rest_is_done() {
    let env = Env::new();
    let root = grid(&env, &["a=1:6:1"]);
    let view = root.join("view");
    std::fs::create_dir_all(view.join("a/1/job")).unwrap();
    std::fs::create_dir_all(view.join("a/2")).unwrap();
    std::fs::write(view.join("a/2/job"), "mine").unwrap();
    std::fs::write(view.join("a/3"), "mine").unwrap();
    std::fs::create_dir(view.join("a/4")).unwrap();
    symlink("../../../workspace", view.join("a/4/job")).unwrap();
    symlink("/tmp", view.join("a/5")).unwrap();
    for _ in 0..2 {
        let ran = env.run(&root, &["view"]);
        let text = ran.failure(3);
        for expected in [
            "warning: `view/a/1/job` is in the way of a link: a folder\n",
            "warning: `view/a/2/job` is in the way of a link: a file\n",
            "warning: `view/a/3` is in the way of a link: a file\n",
            "warning: `view/a/4/job` is in the way of a link: a link to `../../../workspace`, which is no job of this workspace\n",
            "warning: `view/a/5` is in the way of a link: a link to `/tmp`, which is no job of this workspace\n",
            "hint: move it away or remove it, and run `sweepfs view` again\n",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(view.join("a/6/job/signac_statepoint.json").exists());
        assert_eq!(
            std::fs::read_to_string(view.join("a/2/job")).unwrap(),
            "mine"
        );
    }
    let check = env.run(&root, &["view", "--check"]);
    assert!(
        check
            .failure(1)
            .contains("view is not current: 5 differences")
    );
}

#[test]
fn collapsed_leaves_and_back() {
    let env = Env::new();
    let root = grid(&env, &["a=1,2", "b=1,2"]);
    let view = root.join("view");
    let collapsed = |root: &Path| -> BTreeMap<String, String> {
        let shorten = |(path, id): (String, String)| (path.trim_end_matches("/job").to_owned(), id);
        mounted(root).into_iter().map(shorten).collect()
    };
    env.run(&root, &["view"]).success();
    env.run(&root, &["view", "--leaf", "collapsed"]).success();
    assert_eq!(links(&view), collapsed(&root));
    let same = env.run(&root, &["view", "--leaf", "collapsed", "--check"]);
    same.success();
    env.run(&root, &["create", "a=1", "b=3", "c=0"]).success();
    env.run(&root, &["view"]).success();
    assert_eq!(links(&view), mounted(&root), "nothing collapsed is left");
    let dir = links(&view).into_keys().next().unwrap();
    let dir = view.join(dir).parent().unwrap().to_owned();
    std::fs::write(dir.join("notes"), "mine").unwrap();
    let ran = env.run(&root, &["view", "--leaf", "collapsed"]);
    assert!(ran.failure(3).contains("a folder that holds `"), "{ran:?}");
    assert!(
        dir.join("job").is_symlink(),
        "the job can be reached as before"
    );
    let dir = env.run(&root, &["view", "--leaf", "dir"]);
    assert!(dir.failure(2).contains("`--leaf dir` is for mounts"));
}

#[test]
fn links_lead_to_their_jobs_wherever_they_are() {
    let env = Env::new();
    let root = grid(&env, &["a=1,2"]);
    let elsewhere = env.path().join("elsewhere/deep");
    std::fs::create_dir_all(&elsewhere).unwrap();
    symlink(&elsewhere, env.path().join("shortcut")).unwrap();
    symlink(&elsewhere, root.join("in")).unwrap();
    for prefix in [
        elsewhere.join("abs").to_str().unwrap(),
        "../shortcut/one",
        "in/two",
        "in/../three",
        "new/../four",
        "./five/",
    ] {
        for _ in 0..2 {
            let ran = env.run(&root, &["view", "-p", prefix]);
            ran.success();
            assert_eq!(
                links(&root.join(prefix)),
                mounted(&root),
                "{prefix}: {ran:?}"
            );
        }
        env.run(&root, &["view", "-p", prefix, "--check"]).success();
    }
    env.run(&env.path(), &["-C", "p", "view", "-p", "outside"])
        .success();
    assert_eq!(links(&env.path().join("outside")), mounted(&root));
    std::fs::rename(root.join("workspace"), env.path().join("data")).unwrap();
    symlink("../data", root.join("workspace")).unwrap();
    env.run(&root, &["view"]).success();
    assert_eq!(links(&root.join("view")), mounted(&root));
    let texts = entries(&root.join("view"));
    assert!(
        texts[Path::new("a/1/job")].starts_with("../../../workspace/"),
        "as signac's"
    );
    let before = marks(&root.join("view"));
    env.run(&root, &["view"]).success();
    assert_eq!(marks(&root.join("view")), before);
    let refused = env.run(&root, &["view", "-p", "../data/x"]);
    assert!(
        refused
            .failure(4)
            .contains("cannot be made in the workspace")
    );
}

#[test]
fn absolute_links_to_the_right_job_are_right() {
    let env = Env::new();
    let root = grid(&env, &["a=1,2"]);
    let jobs = mounted(&root);
    let target = |path: &str| root.join("workspace").join(&jobs[path]);
    for at in ["a/1", "a/2"] {
        std::fs::create_dir_all(root.join("view").join(at)).unwrap();
        symlink(target("a/1/job"), root.join("view").join(at).join("job")).unwrap();
    }
    // What a process that was killed left.
    let left = root.join("view/a/2/._0191b0cf-6d94-4f2b-9b0e-3c7f6a1d2e55_link");
    symlink(target("a/2/job"), &left).unwrap();
    let ran = env.run(&root, &["view"]);
    assert!(!left.is_symlink());
    let note = "view has 2 links: 0 made, 1 changed, 1 removed\n";
    assert_eq!(said(&ran), (Some(0), note));
    assert_eq!(links(&root.join("view")), jobs);
    assert!(entries(&root.join("view"))[Path::new("a/1/job")].starts_with('/'));
}

#[test]
fn hostile_names_stay_below_the_prefix() {
    let env = Env::new();
    let root = env.project("p");
    let long = "é".repeat(300);
    for value in [
        "..",
        ".",
        "",
        "/etc/passwd",
        "../../x",
        "job",
        "a\\nb",
        "\\u001b[31m",
        "\\u0000",
        "%2F",
        "\\ud800",
        &long,
    ] {
        write_job(&root, &format!(r#"{{"job": "{value}", "id": 1}}"#));
        write_job(&root, &format!(r#"{{"job": "{value}", "id": 2, "/": 3}}"#));
    }
    let plan = env.run(&root, &["view", "--dry-run"]);
    assert!(!plan.success().contains(['\x1b', '\0']));
    assert_eq!(
        plan.stdout
            .lines()
            .filter(|l| l.starts_with("make link "))
            .count(),
        24
    );
    assert!(!root.join("view").exists(), "only printed");
    env.run(&root, &["view"]).success();
    assert_eq!(links(&root.join("view")), mounted(&root));
    env.run(&root, &["view", "--leaf", "collapsed"]).success();
    assert_eq!(links(&root.join("view")).len(), 24);
    // A collapsed leaf with the longest name there can be is replaced, too.
    let link = entries(&root.join("view"))
        .into_iter()
        .max_by_key(|(path, _)| path.as_os_str().len());
    let (path, _) = link.unwrap();
    let link = root.join("view").join(path);
    let right = std::fs::read_link(&link).unwrap();
    let other = links(&root.join("view"))
        .into_values()
        .find(|id| !right.ends_with(id))
        .unwrap();
    std::fs::remove_file(&link).unwrap();
    symlink(right.with_file_name(other), &link).unwrap();
    env.run(&root, &["view", "--leaf", "collapsed"]).success();
    assert_eq!(std::fs::read_link(&link).unwrap(), right);
}

#[test]
fn places_that_cannot_hold_links_are_refused() {
    let env = Env::new();
    let root = grid(&env, &["a=1,2"]);
    for prefix in [".", "..", "/", "workspace", "workspace/view"] {
        let ran = env.run(&root, &["view", "-p", prefix]);
        assert!(
            ran.failure(4).contains("links to jobs cannot be made in"),
            "{ran:?}"
        );
    }
    std::fs::write(root.join("file"), "").unwrap();
    let ran = env.run(&root, &["view", "-p", "file"]);
    assert!(ran.failure(1).contains("file`: Not a directory"), "{ran:?}");
    assert_eq!(entries(&root.join("workspace")).len(), 4);
}

#[test]
fn a_mount_is_not_walked() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = grid(&env, &["a=1,2"]);
    mount(&env, &root);
    for prefix in ["views", "views/view", "views/new"] {
        let ran = env.run(&root, &["view", "-p", prefix]);
        assert!(ran.failure(4).contains("is in a mount"), "{ran:?}");
    }
    env.run(&root, &["unmount"]).success();
    std::fs::create_dir(root.join("out")).unwrap();
    env.run(&root, &["mount", "out/by-mount"]).success();
    for _ in 0..2 {
        env.run(&root, &["view", "-p", "out"]).success();
    }
    assert!(root.join("out/by-mount/view/a/1/job").is_symlink());
    assert!(root.join("out/a/1/job").is_symlink());
}

#[test]
fn a_folder_that_cannot_be_written_is_named_with_a_remedy() {
    let env = Env::new();
    let root = grid(&env, &["a=1:30:1"]);
    let view = root.join("view");
    let ran = unprivileged(&env, &root, &["view"]);
    let text = ran.failure(1);
    assert!(text.contains("view`: Permission denied"), "{ran:?}");
    assert!(text.contains("hint: `-p DIR` makes the links in another folder"));
    let open = env.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    let prefix = open.join("v");
    unprivileged(&env, &root, &["view", "-p", prefix.to_str().unwrap()]).success();
    assert_eq!(links(&prefix).len(), 30, "the project need not be writable");
    env.run(&root, &["view", "-f", "a<=10"]).success();
    let ran = unprivileged(&env, &root, &["view"]);
    assert!(ran.failure(3).contains("and 30 more (`-v`)"), "{ran:?}");
    assert_eq!(links(&view).len(), 10, "what was there is as it was");
    env.run(&root, &["view"]).success();
    unprivileged(&env, &root, &["view"]).success();
}

#[test]
fn check_lists_what_differs_and_changes_nothing() {
    let env = Env::new();
    let root = grid(&env, &["a=1:20:1"]);
    let check = env.run(&root, &["view", "--check"]);
    let text = "view is not current: 42 differences\nhint: `-v` shows all of them\n";
    assert_eq!(said(&check), (Some(1), text));
    assert_eq!(check.stdout.lines().count(), 10);
    let all = env.run(&root, &["view", "--check", "-v"]);
    assert_eq!(all.stdout.lines().count(), 42);
    assert!(!root.join("view").exists() && !root.join(".sweepfs/views").exists());
    let plan = env.run(&root, &["view", "--dry-run"]).stdout;
    assert_eq!(plan, all.stdout);
    env.run(&root, &["view"]).success();
    let jobs = mounted(&root);
    std::fs::remove_dir_all(root.join("workspace").join(&jobs["a/7/job"])).unwrap();
    let link = root.join("view/a/8/job");
    std::fs::remove_file(&link).unwrap();
    symlink(format!("../../../workspace/{}", jobs["a/9/job"]), &link).unwrap();
    let plan = env.run(&root, &["view", "--dry-run"]);
    let expected = format!(
        "remove link view/a/7/job\nremove folder view/a/7\n\
         change link view/a/8/job -> ../../../workspace/{}\n",
        jobs["a/8/job"]
    );
    assert_eq!(plan.success(), expected);
}

#[test]
fn damaged_jobs_are_left_out_and_named() {
    let env = Env::new();
    let root = grid(&env, &["a=1:3:1"]);
    let jobs = mounted(&root);
    let broken = root.join("workspace").join(&jobs["a/2/job"]);
    std::fs::write(broken.join("signac_statepoint.json"), "{").unwrap();
    let _ = std::fs::remove_file(root.join(".sweepfs/catalog"));
    let ran = env.run(&root, &["view"]);
    assert!(ran.failure(3).contains(&jobs["a/2/job"]), "{ran:?}");
    assert_eq!(links(&root.join("view")).len(), 2);
    env.run(&root, &["view", "--check"]).failure(3);
}

/// What a first run makes.
fn fresh(env: &Env, root: &Path, args: &[&str]) -> BTreeMap<PathBuf, String> {
    let args = [&["view", "-p", "fresh"], args].concat();
    env.run(root, &args).success();
    let found = entries(&root.join("fresh"));
    std::fs::remove_dir_all(root.join("fresh")).unwrap();
    found
}

#[test]
fn a_run_that_was_killed_is_completed_by_the_next() {
    let env = Env::new();
    let root = grid(&env, &["a=1:25:1", "b=1:20:1"]);
    let view = root.join("view");
    let rounds: [&[&str]; 4] = [
        &[],
        &["-f", "a<=12"],
        &["--leaf", "collapsed"],
        &["-f", "b=1"],
    ];
    let ends: Vec<_> = rounds.iter().map(|args| fresh(&env, &root, args)).collect();
    let notes = root.join(".sweepfs/views");
    let is_begun = || {
        entries(&notes)
            .into_keys()
            .any(|path| path.extension().unwrap() == "json")
    };
    let begun = Instant::now();
    env.run(&root, &["view"]).success();
    let usual = begun.elapsed();
    let mut n_in_between = 0;
    for round in 0..36 {
        let which = round / 2 % rounds.len();
        let args = [&["view", "-q"], rounds[which]].concat();
        let mut child = env.command(&root, &args).spawn().unwrap();
        std::thread::sleep(usual * (round as u32 * 7 % 24) / 24);
        child.kill().unwrap();
        let was_killed = !child.wait().unwrap().success();
        n_in_between += usize::from(was_killed && is_begun());
        links(&view);
        if round % 5 == 4 {
            env.run(&root, &args).success();
            assert_eq!(entries(&view), ends[which], "after {round} rounds");
        }
    }
    assert!(n_in_between > 4, "{n_in_between}");
    for (args, end) in rounds.iter().zip(&ends) {
        env.run(&root, &[&["view"], *args].concat()).success();
        assert_eq!(entries(&view), *end);
    }
    assert!(!is_begun(), "nothing is remembered of it");
}

#[test]
fn many_at_once_end_right() {
    let env = Env::new();
    let root = grid(&env, &["a=1:20:1", "b=1:20:1"]);
    let view = root.join("view");
    let (all, half) = (
        fresh(&env, &root, &[]),
        fresh(&env, &root, &["-f", "a<=10"]),
    );
    let at_once = |args: [&[&str]; 4]| {
        let children: Vec<_> = args
            .iter()
            .map(|args| {
                env.command(&root, &[&["view", "-q"], *args].concat())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let codes = children
            .into_iter()
            .map(|mut child| child.wait().unwrap().code());
        (codes.collect::<Vec<_>>(), entries(&view))
    };
    for _ in 0..5 {
        let (codes, end) = at_once([&[], &["-f", "a<=10"], &[], &["-f", "a<=10"]]);
        assert_eq!(codes, [Some(0); 4]);
        assert!(end == all || end == half, "one after the other");
    }
    // Where no lock can be had, nothing is damaged, and the next run ends right.
    std::fs::remove_dir_all(root.join(".sweepfs/views")).unwrap();
    std::fs::write(root.join(".sweepfs/views"), "").unwrap();
    std::fs::create_dir_all(env.home().join(".cache/sweepfs")).unwrap();
    std::fs::write(env.home().join(".cache/sweepfs/views"), "").unwrap();
    for args in [
        &["-f", "a<=10"][..],
        &[],
        &["-f", "b<=3"],
        &["--leaf", "collapsed"],
        &[],
    ] {
        let end = fresh(&env, &root, args);
        let (codes, _) = at_once([args; 4]);
        assert!(
            codes.iter().all(|code| [Some(0), Some(3)].contains(code)),
            "{codes:?}"
        );
        env.run(&root, &[&["view"], args].concat()).success();
        assert_eq!(entries(&view), end, "{args:?}");
    }
}

#[test]
fn after_random_changes_the_links_are_those_of_the_mount() {
    let env = Env::new();
    let root = env.project("p");
    let view = root.join("view");
    let mut state = 20_261_124_u64;
    let mut random = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % n
    };
    let mut mine = Vec::new();
    for round in 0..60 {
        for _ in 0..random(6) {
            let (a, b) = (random(4), random(3));
            let statepoint = match random(3) {
                0 => format!(r#"{{"a": {a}}}"#),
                1 => format!(r#"{{"a": {a}, "b": {{"c": {b}}}}}"#),
                _ => format!(r#"{{"a": "{a}", "job": {b}}}"#),
            };
            let dir = write_job(&root, &statepoint);
            if random(3) == 0 {
                std::fs::remove_dir_all(dir).unwrap();
            }
        }
        let is_link = |(_, what): &(PathBuf, String)| what != "dir" && what != "file";
        let mut at = entries(&view).into_iter().filter(is_link);
        if let Some((path, _)) = at.nth(random(5) as usize) {
            let file = view
                .join(path)
                .parent()
                .unwrap()
                .join(format!("mine{round}"));
            std::fs::write(&file, "").unwrap();
            mine.push(file);
        }
        env.run(&root, &["view"]).success();
        assert_eq!(links(&view), mounted(&root), "round {round}");
        env.run(&root, &["view", "--check"]).success();
    }
    assert!(mine.len() > 20 && mine.iter().all(|file| file.is_file()));
    mine.iter()
        .for_each(|file| std::fs::remove_file(file).unwrap());
}
