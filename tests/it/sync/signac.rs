//! Projects of the real signac, before and after.

use crate::support::env::{Env, Ran, program, write_job};
use crate::support::python::{python, run, signac};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes two projects that have some jobs in common, with files and documents of all kinds.
const MAKE: &str = r#"
import os, signac, time
for name, ids in [("source", [0, 1, 2, 3]), ("destination", [2, 3, 4])]:
    os.makedirs(name)
    project = signac.init_project(name)
    project.doc["project"] = {"from": name, name: 1}
    project.doc["same"] = [1, 2.5, None]
    for a in ids:
        job = project.open_job({"a": a, "nested": {"b": [a, "x"]}}).init()
        job.doc[name] = a
        job.doc["nested"] = {"both": 1, name: True}
        with open(job.fn("same.txt"), "w") as file:
            file.write("same")
        with open(job.fn(f"only-{name}.txt"), "w") as file:
            file.write(name)
        os.makedirs(job.fn("dir"), exist_ok=True)
        with open(job.fn("dir/" + name), "w") as file:
            file.write(name)
        if name == "source":
            with open(job.fn(".hidden"), "w") as file:
                file.write(name)
"#;

const DIFFER: &str = r#"
import os, signac
for name, age in [("source", 0), ("destination", 1000)]:
    job = signac.get_project(name).open_job({"a": 2, "nested": {"b": [2, "x"]}})
    job.doc["x"] = name
    job.doc["deep"] = {"xx": name}
    for file, extra in [("older.txt", 1), ("newer.txt", -1)]:
        path = job.fn(file)
        with open(path, "w") as out:
            out.write(name + file)
        time = 1_700_000_000 + age * extra
        os.utime(path, (time, time))
"#;

/// File names to contents, of everything in a project but what belongs to programs; documents as
/// they are read.
fn contents(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(root).unwrap().to_owned();
            if relative.starts_with(".sweepfs") || relative.starts_with(".signac") {
                continue;
            }
            if path.is_dir() {
                found.insert(relative, "directory".into());
                dirs.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let text = match path.to_str().unwrap().ends_with("_document.json") {
                true => serde_json::from_str::<serde_json::Value>(&text)
                    .unwrap()
                    .to_string(),
                false => text,
            };
            found.insert(relative, text);
        }
    }
    found
}

fn copy(env: &Env, from: &str, to: &str) {
    let mut command = Command::new("cp");
    command.args(["-a", from, to]).current_dir(env.path());
    Ran::of(command).success();
}

#[test]
fn sync_from_one_directory_to_another_does_what_signac_does() {
    let Some(python) = python() else { return };
    let env = Env::new();
    run(&env, &python, &env.path(), MAKE, &[]);
    let check = |differ: bool, options: &[&str]| {
        for name in ["theirs", "ours"] {
            let _ = fs::remove_dir_all(env.path().join(name));
            copy(&env, "destination", name);
        }
        let theirs: Vec<_> = ["sync", "source", "theirs", "-m"]
            .iter()
            .chain(options)
            .copied()
            .collect();
        signac(&env, &python, &env.path(), &theirs).success();
        let ours: Vec<_> = ["sync", "source", "ours", "-m"]
            .iter()
            .chain(options)
            .copied()
            .collect();
        env.run(&env.path(), &ours).success();
        let (theirs, ours) = (
            contents(&env.path().join("theirs")),
            contents(&env.path().join("ours")),
        );
        for (path, text) in &theirs {
            assert_eq!(
                ours.get(path),
                Some(text),
                "{options:?}, {differ}: {path:?}"
            );
        }
        assert_eq!(ours.len(), theirs.len(), "{options:?}");
    };
    // The projects' documents differ in one key.
    run(
        &env,
        &python,
        &env.path(),
        "import signac\nsignac.get_project('destination').doc['project']['from'] = 'source'",
        &[],
    );
    check(false, &[]);
    check(false, &["-r"]);
    run(&env, &python, &env.path(), DIFFER, &[]);
    check(true, &["-u", "--all-keys", "-r"]);
    check(true, &["--strategy", "update", "--no-keys"]);
    check(true, &["-s", "always", "-k", "x"]);
    check(true, &["-s", "never", "--all-keys"]);
    check(true, &["-x", "newer.*", "-s", "always", "--all-keys"]);
    // Nothing is written to the source.
    assert!(!env.path().join("source/.sweepfs").exists());
    // Conflicts without a strategy: signac stops at the first, we do the rest.
    let ran = env.run(&env.path(), &["sync", "source", "destination"]);
    assert!(ran.failure(3).contains("conflict"), "{ran:?}");
    let ran = env.run(
        &env.path(),
        &[
            "sync",
            "source",
            "destination",
            "-s",
            "always",
            "--all-keys",
            "--stats",
        ],
    );
    assert!(
        ran.success().contains("Number of files transferred: 2\n"),
        "{ran:?}"
    );
}

#[test]
fn signac_reads_both_sides_after_a_sync() {
    let Some(python) = python() else { return };
    let env = Env::new();
    run(&env, &python, &env.path(), MAKE, &[]);
    let ran = env.run(&env.path().join("source"), &["sync", "../destination"]);
    assert!(ran.failure(3).contains("key `project.from`"), "{ran:?}");
    let ran = env.run(
        &env.path().join("source"),
        &["sync", "../destination", "--prefer", "local"],
    );
    ran.success();
    let script = r#"
import json, signac
for name in ["source", "destination"]:
    project = signac.get_project(name)
    jobs = sorted(project, key=lambda job: job.sp.a)
    print(json.dumps([[job.sp(), job.doc(), sorted(job.fn(""))[:0]] for job in jobs], sort_keys=True))
    print(json.dumps(project.doc(), sort_keys=True))
    assert len(project.find_jobs({"nested.b.0": {"$gte": 0}})) in (0, 5)
    project.doc["after"] = name
    jobs[0].doc["after"] = name
    project.check()
"#;
    let printed = run(&env, &python, &env.path(), script, &[]);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[..2], lines[2..], "{printed}");
    assert_eq!(lines[0].matches("\"both\": 1").count(), 5, "{printed}");
    assert!(
        lines[1].contains(r#""destination": 1, "from": "source", "source": 1"#),
        "{printed}"
    );
}

/// Answers on a terminal: each time something is asked, the next of the answers.
const ANSWER: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
answers, told = sys.argv[1].split(","), ""
while True:
    try:
        chunk = os.read(terminal, 4096)
    except OSError:
        break
    if not chunk:
        break
    told += chunk.decode()
    if chunk.decode().rstrip().endswith("none]") and answers:
        os.write(terminal, answers.pop(0).encode() + b"\n")
print(told)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn the_user_is_asked_about_each_file_that_differs() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let (source, destination) = (env.project("source"), env.project("destination"));
    let [there, here] = [&source, &destination].map(|root| {
        let job = write_job(root, r#"{"a": 1}"#);
        for name in ["a", "b", "c", "d"] {
            let text = format!("{name} of {}", root.file_name().unwrap().display());
            fs::write(job.join(name), text).unwrap();
        }
        job
    });
    let overwritten = || -> String {
        let is_same =
            |name: &&str| fs::read(there.join(name)).unwrap() == fs::read(here.join(name)).unwrap();
        ["a", "b", "c", "d"]
            .iter()
            .filter(|name| is_same(name))
            .copied()
            .collect()
    };
    let sync = ["sync", "../source", ".", "-s", "Ask", "--no-keys"];
    let refused = env.run(&destination, &sync);
    assert!(
        refused
            .failure(4)
            .contains("`--strategy always`, `never` or `update`")
    );
    let shown = env.run(&destination, &[&sync[..], &["-n"]].concat());
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let answer = |answers: &str| {
        let args = [&[answers, program()], &sync[..]].concat();
        run(&env, &python, &destination, ANSWER, &args)
    };
    let told = answer("what?,y,n,none");
    assert_eq!(overwritten(), "a", "{told}");
    assert!(
        told.contains("/a: 11 B, 20") && told.contains(" UTC in the source"),
        "{told}"
    );
    assert!(
        told.contains("/a: 16 B, 20") && told.contains("left as they are: "),
        "{told}"
    );
    let told = answer(",all");
    assert_eq!(overwritten(), "acd", "{told}");
}

#[test]
fn every_option_of_signac_is_understood() {
    let env = Env::new();
    let (source, destination) = (env.project("source"), env.project("destination"));
    let job = write_job(&source, r#"{"a": 1}"#);
    let id = job.file_name().unwrap().to_str().unwrap();
    let forms = "-a|-r|-l|-p|-o|-g|-t|-x|-x .*|-I|--size-only|--round-times|-n|-u|-k x|--all-keys|--no-keys\
        |--force|-m|--parallel|--parallel 2|--stats|-H|--json|-f a 1|--archive|--recursive|--links|--perms\
        |--owner|--group|--times|--ignore-times|--dry-run|--update|--strategy never|-s Always|--key x|--merge\
        |--human-readable|--filter a 1";
    for form in forms.split('|') {
        // `-m` tells that the other project is meant as signac does.
        let words: Vec<_> = form.split(' ').collect();
        let args = [&["sync", "../source", ".", "-m"][..], &words].concat();
        let args: Vec<_> = if form == "-m" || form == "--merge" {
            args[..4].to_vec()
        } else {
            args
        };
        env.run(&destination, &args).success();
    }
    env.run(&destination, &["sync", "../source", "-m", "-j", id])
        .success();
    for (wrong, hint) in [
        (&["-u", "-s", "never"][..], "cannot be used with"),
        (&["--all-keys", "-k", "x"], "cannot be used with"),
        (&["-k", "("], "no regular expression"),
        (&["-s", "Sometimes"], "[possible values: "),
        (&["--exclude", "x"], "`-x REGEX`"),
    ] {
        let args = [&["sync", "../source", "."], wrong].concat();
        let refused = env.run(&destination, &args);
        assert!(refused.failure(2).contains(hint), "{wrong:?}: {refused:?}");
    }
}
