//! The command line: output, errors, hints, exit codes.

use crate::support::env::{Env, program, write_job};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

#[track_caller]
fn check_error(env: &Env, dir: &Path, args: &[&str], code: i32, error: &str, hint: &str) {
    let ran = env.run(dir, args);
    let said = ran.failure(code);
    assert!(
        said.contains(&format!("error: {error}")),
        "{args:?}: {said}"
    );
    assert!(
        hint.is_empty() || said.contains(&format!("hint: {hint}")),
        "{args:?}: {said}"
    );
    assert_eq!(ran.stdout, "", "{args:?}");
}

#[test]
fn a_project_is_made_and_found_from_below() {
    let env = Env::new();
    let root = env.path().join("rocket");
    std::fs::create_dir_all(root.join("deep/er")).unwrap();
    let made = env.run(&root, &["init"]);
    assert_eq!(
        (made.success(), made.stderr.as_str()),
        ("", "Initialized project.\n")
    );
    assert_eq!(
        std::fs::read_to_string(root.join(".signac/config")).unwrap(),
        "schema_version = 2\n"
    );
    env.run(&root, &["init"]).success();
    assert_eq!(env.run(&root.join("deep/er"), &["find"]).success(), "");
    assert_eq!(
        env.run(&env.path(), &["-C", "rocket/deep", "find", "--count"])
            .success(),
        "0\n"
    );
}

#[test]
fn grids_are_created_once() {
    let env = Env::new();
    let root = env.project("p");
    let first = env.run(&root, &["create", "angle=10:80:10", "velocity=6,8,10"]);
    assert_eq!(
        (first.success().lines().count(), first.stderr.as_str()),
        (24, "created 24 of 24 jobs, 0 existed\n")
    );
    let again = env.run(&root, &["create", "angle=10:80:10", "velocity=6,8,10"]);
    assert_eq!(
        (again.success(), again.stderr.as_str()),
        ("", "created 0 of 24 jobs, 24 existed\n")
    );
    let more = env.run(
        &root,
        &["create", "--dry-run", "angle=80:90:10", "velocity=6"],
    );
    assert_eq!(more.success(), "{\"angle\": 90, \"velocity\": 6}\n");
    assert_eq!(env.run(&root, &["find", "--count"]).success(), "24\n");
    let json = env.run(&root, &["create", "--json", "angle=90", "velocity=6"]);
    assert_eq!(
        json.success(),
        "{\"id\": \"4397f2265b4ef963a9bbdff869b32deb\", \"created\": true, \"statepoint\": {\"angle\": 90, \"velocity\": 6}}\n"
    );
}

#[test]
fn jobs_are_found_by_value() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "a=-1,1,1.0,true,\"1\"", "b.c=x,y"])
        .success();
    let count = |terms: &[&str]| {
        env.run(&root, &[&["find", "--count"], terms].concat())
            .success()
            .trim()
            .to_owned()
    };
    assert_eq!(count(&[]), "10");
    assert_eq!(count(&["a=1"]), "6");
    assert_eq!(count(&["a=\"1\""]), "2");
    assert_eq!(count(&["a=-1", "b.c=x"]), "1");
    assert_eq!(count(&["sp.b.c=y,z"]), "5");
    let unknown = env.run(&root, &["find", "b.x=1"]);
    assert_eq!(
        (unknown.success(), unknown.stderr.as_str()),
        (
            "",
            "warning: no job has the key `b.x`\nhint: did you mean `b.c`?\n"
        )
    );
    let json = env.run(&root, &["find", "--json", "a=-1", "b.c=x"]);
    assert!(
        json.success()
            .ends_with("\"statepoint\": {\"a\": -1, \"b\": {\"c\": \"x\"}}}\n"),
        "{json:?}"
    );
    let sorted = env.run(&root, &["find"]);
    assert!(sorted.success().lines().is_sorted());
}

#[test]
fn documents_are_shown_set_and_deleted() {
    let env = Env::new();
    let root = env.project("p");
    let id = env
        .run(&root, &["job", "-c", "{\"a\": 1}"])
        .success()
        .trim()
        .to_owned();
    let show = || env.run(&root, &["document", &id[..5]]).success().to_owned();
    assert_eq!(show(), "{}\n");
    env.run(
        &root,
        &[
            "document",
            &id,
            "x=1",
            "y=two words",
            "fit.slope=[0.5, null]",
            "z=",
        ],
    )
    .success();
    assert_eq!(
        show(),
        "{\"x\": 1, \"y\": \"two words\", \"fit\": {\"slope\": [0.5, null]}, \"z\": \"\"}\n"
    );
    env.run_with_input(
        &root,
        &[
            "document",
            "-",
            "x=true",
            "--delete",
            "y",
            "--delete",
            "fit.slope",
        ],
        &id,
    )
    .success();
    assert_eq!(show(), "{\"x\": true, \"fit\": {}, \"z\": \"\"}\n");
    check_error(&env, &root, &["document", &id, "--delete", "y"], 1, "`", "");
    check_error(
        &env,
        &root,
        &["document", &id, "x.y=1"],
        1,
        "cannot set `x.y` in",
        "",
    );
    check_error(
        &env,
        &root,
        &["document", &id, "w={\"a.b\": 1}"],
        1,
        "the key `a.b` contains a dot",
        "",
    );
    let dotted = "contains a dot";
    for edit in ["a%2Eb=1", "l=[{\"x.y\": 1}]"] {
        assert!(
            env.run(&root, &["document", &id, edit])
                .failure(1)
                .contains(dotted)
        );
    }
    check_error(
        &env,
        &root,
        &["document", "x=1"],
        2,
        "no job is named",
        "put its id first",
    );
    check_error(
        &env,
        &root,
        &["document", &id, "=1"],
        2,
        "`=1` is not KEY=VALUE",
        "",
    );
    assert_eq!(
        show(),
        "{\"x\": true, \"fit\": {}, \"z\": \"\"}\n",
        "a refused edit changes nothing"
    );
}

#[test]
fn mistakes_are_named_with_a_remedy() {
    let env = Env::new();
    let root = env.project("p");
    check_error(
        &env,
        &env.home(),
        &["find"],
        1,
        "no signac project in",
        "`sweepfs init` makes",
    );
    check_error(
        &env,
        &root,
        &["-C", "gone", "find"],
        2,
        "no directory `gone`",
        "",
    );
    check_error(
        &env,
        &root,
        &["job", "{\"a\""],
        1,
        "expected `:` at line 1, column 5",
        "a state point is JSON",
    );
    check_error(
        &env,
        &root,
        &["job", "5"],
        1,
        "a state point is a JSON object, not an integer",
        "",
    );
    check_error(
        &env,
        &root,
        &["job", "-c", "{\"a\": [{\"b.c\": 1}]}"],
        1,
        "the key `b.c` contains a dot",
        "",
    );
    assert_eq!(
        std::fs::read_dir(root.join("workspace")).unwrap().count(),
        0
    );
    check_error(
        &env,
        &root,
        &["create", "a"],
        2,
        "`a` is not KEY=VALUES",
        "`sweepfs create --help`",
    );
    check_error(
        &env,
        &root,
        &["find", "a=>5"],
        2,
        "unknown operator `=>` at column 2",
        "",
    );
    check_error(
        &env,
        &root,
        &["statepoint", "abc"],
        1,
        "no job has the id `abc`",
        "`sweepfs find` lists",
    );
    env.run(&root, &["create", "a=0:99:1"]).success();
    check_error(
        &env,
        &root,
        &["statepoint", "a"],
        1,
        "`a` is the beginning of",
        "give more digits: a",
    );
    std::fs::write(root.join(".signac/config"), "schema_version = 3\n").unwrap();
    check_error(
        &env,
        &root,
        &["find"],
        1,
        "the project `",
        "a newer sweepfs",
    );
    std::fs::write(root.join(".signac/config"), "").unwrap();
    check_error(
        &env,
        &root,
        &["find"],
        1,
        "the project `",
        "`python -m signac migrate`",
    );
    let usage = env.run(&root, &["fnd"]);
    assert!(
        usage
            .failure(2)
            .contains("a similar subcommand exists: 'find'"),
        "{usage:?}"
    );
}

#[test]
fn a_workspace_link_that_leads_nowhere_is_an_error() {
    let env = Env::new();
    let root = env.project("p");
    std::fs::remove_dir(root.join("workspace")).unwrap();
    assert_eq!(
        env.run(&root, &["find", "--count"]).success(),
        "0\n",
        "a missing workspace is empty"
    );
    std::os::unix::fs::symlink("/nowhere/at/all", root.join("workspace")).unwrap();
    check_error(&env, &root, &["find"], 1, "cannot list `", "");
}

#[test]
fn a_closed_pipe_is_silent_success() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "n=1:20000:1"]).success();
    let mut command = env.command(&root, &["statepoint"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut [0; 10])
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

#[test]
fn create_goes_on_when_nobody_reads() {
    let env = Env::new();
    let root = env.project("p");
    let script = format!("{} create n=1:5000:1 | head -n 1", program());
    let mut command = env.in_env(Command::new("sh"), &root, &["-c", &script]);
    assert!(
        command
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(env.run(&root, &["find", "--count"]).success(), "5000\n");
}

#[test]
fn one_of_several_jobs_may_fail() {
    let env = Env::new();
    let root = env.project("p");
    let ids: Vec<_> = [1, 2, 3]
        .map(|n| write_job(&root, &format!("{{\"n\": {n}}}")))
        .to_vec();
    let names: Vec<_> = ids
        .iter()
        .map(|dir| dir.file_name().unwrap().to_str().unwrap())
        .collect();
    std::fs::write(ids[1].join("signac_statepoint.json"), "{").unwrap();
    std::fs::write(ids[1].join("signac_job_document.json"), "{").unwrap();
    let shown = env.run(&root, &["statepoint", names[0], names[1], names[2]]);
    assert_eq!(
        (shown.code, shown.stdout.as_str()),
        (Some(3), "{\"n\": 1}\n{\"n\": 3}\n")
    );
    assert!(shown.stderr.contains("is not JSON"));
    let edited = env.run(&root, &["document", names[0], names[1], names[2], "x=1"]);
    assert_eq!(edited.code, Some(3), "{edited:?}");
    assert_eq!(
        env.run(&root, &["document", names[0], names[2]]).success(),
        "{\"x\": 1}\n{\"x\": 1}\n"
    );
    let unreadable = env.run(&root, &["find", "--json"]);
    assert_eq!(
        (unreadable.code, unreadable.stdout.lines().count()),
        (Some(3), 2)
    );
}

#[test]
fn keys_and_names_cannot_act_on_the_terminal() {
    let env = Env::new();
    let root = env.project("esc\u{1b}]0;x\u{7}");
    write_job(&root, r#"{"angles\u001b]0;pwn\u0007": 1}"#);
    for args in [
        &["find", "angle=1"][..],
        &["doctor"],
        &["statepoint", "zz"],
        &["mount", "workspace"],
    ] {
        let ran = env.run(&root, args);
        assert!(
            !(ran.stderr.clone() + &ran.stdout).contains(['\u{1b}', '\u{7}']),
            "{ran:?}"
        );
    }
}

#[test]
fn every_command_has_help_and_colours_only_on_demand() {
    let env = Env::new();
    let help = env.run(&env.home(), &["--help"]);
    let commands = help
        .success()
        .lines()
        .filter(|line| line.starts_with("  ") && line.len() > 3);
    let names: Vec<_> = commands
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    for name in [
        "init",
        "job",
        "statepoint",
        "document",
        "find",
        "check",
        "create",
        "mount",
        "unmount",
        "mounts",
        "doctor",
    ] {
        assert!(names.contains(&name), "{name}");
        assert!(
            env.run(&env.home(), &[name, "--help"])
                .success()
                .contains("Usage: sweepfs")
        );
    }
    let coloured = env.run(&env.home(), &["find", "--color", "always"]);
    assert!(coloured.failure(1).starts_with("\u{1b}[1;31merror:"));
}

#[test]
fn jobs_are_created_by_many_at_once() {
    let env = Env::new();
    let root = env.project("p");
    let spawn = |_| {
        env.command(&root, &["create", "n=1:300:1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(spawn).collect();
    let created = children.into_iter().map(|child| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout.iter().filter(|&&b| b == b'\n').count()
    });
    assert_eq!(
        created.sum::<usize>(),
        300,
        "each job is created by one of them"
    );
    env.run(&root, &["check"]).success();
}

#[test]
fn document_edits_of_many_processes_are_all_kept() {
    let env = Env::new();
    let root = env.project("p");
    let dir = write_job(&root, "{}");
    let id = dir.file_name().unwrap().to_str().unwrap();
    let script = format!(
        "for i in $(seq 20); do {} document {id} k$0_$i=1 || exit 1; done",
        program()
    );
    let spawn = |n: u32| {
        env.in_env(Command::new("sh"), &root, &["-c", &script, &n.to_string()])
            .spawn()
            .unwrap()
    };
    for mut child in (0..4).map(spawn).collect::<Vec<_>>() {
        assert!(child.wait().unwrap().success());
    }
    let document = env.run(&root, &["document", id]).success().to_owned();
    assert_eq!(document.matches(": 1").count(), 80);
}
