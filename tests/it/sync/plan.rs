//! Plans in files.

use super::local::{Pair, name, write};
use super::undo::{same, snapshot};
use crate::support::env::write_job;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

/// Writes a plan; returns its lines.
#[track_caller]
fn plan(pair: &Pair, options: &[&str], code: i32) -> Vec<String> {
    pair.sync(&[options, &["--plan", "plan"]].concat(), code);
    let text = fs::read_to_string(pair.here.join("plan")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Does what is in a plan; returns what is printed, notes first.
#[track_caller]
fn apply(pair: &Pair, lines: &[String], code: i32) -> String {
    fs::write(pair.here.join("plan"), lines.join("\n") + "\n").unwrap();
    let ran = pair.env.run(&pair.here, &["sync", "--apply", "plan"]);
    assert_eq!(ran.code, Some(code), "{ran:?}");
    format!("{}{}", ran.stderr, ran.stdout)
}

fn outs(pair: &Pair) -> Vec<PathBuf> {
    let jobs = pair.jobs.iter();
    jobs.map(|job| job.join("out.txt")).collect()
}

#[test]
fn what_is_deleted_from_a_plan_is_left_alone() {
    let pair = Pair::new(4);
    let out = outs(&pair);
    for path in &out {
        write(path, "2");
    }
    let job = write_job(&pair.here, r#"{"a": 10}"#);
    fs::create_dir_all(out[0].with_file_name("new/dir")).unwrap();
    write(&out[0].with_file_name("new/dir/file"), "1");
    let document = out[3].with_file_name("signac_job_document.json");
    write(&document, r#"{"x": 2, "y": {"z": 1}}"#);
    write(&pair.there(&document), r#"{"x": 1, "y": {"z": 2}}"#);
    let before = snapshot(&pair.there);
    let lines = plan(&pair, &[], 0);
    same(&snapshot(&pair.there), &before, "planned");
    assert_eq!(lines.len(), 1 + 4 + 1 + 3 + 1, "{lines:#?}");
    let is_meant = |line: &String| {
        let of = |n: usize| line.contains(&name(&pair.jobs[n]));
        !of(1) && !line.contains(r#""path":"new""#) && !line.contains(r#""path":"new/dir""#)
    };
    let (meant, left): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_meant);
    // Others have changed since, or are new.
    write(&out[2], "33");
    write(&out[3].with_file_name("later"), "1");
    let told = apply(&pair, &meant, 3);
    let (id_2, ids) = (
        name(&pair.jobs[2]),
        "left, for they are not in the plan: 3 more to do",
    );
    let changed = format!("left: changed {id_2}/out.txt: changed since it was planned");
    assert!(told.contains(&changed) && told.contains(ids), "{told}");
    pair.check(&out[0], "2", "2");
    pair.check(&out[1], "2", "1");
    pair.check(&out[2], "33", "1");
    pair.check(&out[3], "2", "2");
    pair.check(
        &document,
        r#"{"x": 2, "y": {"z": 2}}"#,
        r#"{"x": 2, "y": {"z": 2}}"#,
    );
    // What it needs comes along.
    pair.check(&out[0].with_file_name("new/dir/file"), "1", "1");
    pair.check(&out[3].with_file_name("later"), "1", "-");
    assert!(pair.there(&job).is_dir());
    // The rest can still be done, but for what was done on the way.
    let rest: Vec<_> = meant[..1].iter().chain(&left).cloned().collect();
    let told = apply(&pair, &rest, 3);
    assert!(told.contains("left: new "), "{told}");
    pair.check(&out[1], "2", "2");
    // It was a sync as any other.
    pair.env.run(&pair.here, &["sync", "undo"]).success();
    pair.check(&out[1], "2", "1");
}

#[test]
fn a_plan_keeps_its_options_and_guards() {
    let pair = Pair::new(3);
    let out = outs(&pair);
    write(&out[0], "here");
    write(&pair.there(&out[0]), "there");
    fs::remove_file(&out[1]).unwrap();
    fs::remove_dir_all(&pair.jobs[2]).unwrap();
    let lines = plan(&pair, &["--keep-both", "--delete"], 0);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let told = apply(&pair, &lines, 4);
    assert!(told.contains("would be deleted"), "{told}");
    // Without one of the deletions there are few enough.
    let few = plan(&pair, &["--keep-both", "--delete", "--max-delete", "10"], 0);
    let few: Vec<_> = few
        .into_iter()
        .filter(|line| !line.contains("delete job"))
        .collect();
    let told = apply(&pair, &few, 0);
    assert!(told.contains("1 deletion"), "{told}");
    pair.check(&out[1], "-", "-");
    assert!(pair.there(&pair.jobs[2]).is_dir());
    pair.check(&out[0], "here", "here");
    let kept = fs::read_dir(&pair.jobs[0]).unwrap();
    let kept = kept.map(|entry| entry.unwrap().path());
    let kept = kept
        .into_iter()
        .find(|path| name(path).contains(".conflict-there-"));
    pair.check(&kept.unwrap(), "there", "there");
    // What makes room for something of another kind belongs to it.
    let sub = pair.jobs[0].join("sub");
    fs::remove_dir_all(&sub).unwrap();
    write(&sub, "file");
    let lines = plan(&pair, &["--prefer", "local"], 0);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    apply(&pair, &lines, 0);
    pair.check(&sub, "file", "file");
    // Conflicts are told in the file, too.
    write(&out[0], "x");
    write(&pair.there(&out[0]), "y");
    let lines = plan(&pair, &[], 3);
    assert!(lines[1].contains(r#""action":"conflict""#), "{lines:#?}");
    assert!(apply(&pair, &lines, 3).contains("conflict: "));
}

#[test]
fn plans_go_through_pipes() {
    let pair = Pair::new(1);
    let out = outs(&pair).remove(0);
    write(&out, "2");
    let text = pair
        .env
        .run(&pair.here, &["sync", "../there", "--plan", "-"]);
    let mut command = pair
        .env
        .command(&pair.here, &["sync", "--apply", "-", "-n"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.success().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let line = format!("-> changed {}/out.txt 1 B\n", name(&pair.jobs[0]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), line);
    pair.check(&out, "2", "1");
}

#[test]
fn a_plan_for_something_else_is_refused() {
    let pair = Pair::new(1);
    let out = outs(&pair).remove(0);
    write(&out, "2");
    let lines = plan(&pair, &[], 0);
    let with = |from: &str, to: &str| {
        let mut lines = lines.clone();
        assert!(lines[0].contains(from), "{lines:?}");
        lines[0] = lines[0].replace(from, to);
        lines
    };
    let there = pair.there.to_str().unwrap();
    let here = format!("\"project\":\"{}\"", pair.here.display());
    let other = pair.env.project("other");
    let address = format!("\"address\":\"{there}\"");
    for (lines, code, what) in [
        (
            with(&here, "\"project\":\"/x\""),
            4,
            "the plan is for the project `/x`",
        ),
        (
            with(&address, "\"address\":\"/x\""),
            4,
            "the plan is for a remote at `/x`",
        ),
        (with("_plan\":1", "_plan\":2"), 2, "a plan of version 2"),
        (
            with("\"--plan\"", "\"--json\""),
            2,
            "its command is none that plans a sync",
        ),
        (with("{\"", ""), 2, "it is no plan of a sync"),
        (
            vec![lines[0].clone(), lines[1][..20].into()],
            2,
            "its line 2 is damaged",
        ),
        (vec![], 2, "it is no plan of a sync"),
    ] {
        let told = apply(&pair, &lines, code);
        assert!(told.contains(what) && told.contains("hint: "), "{told}");
    }
    pair.check(&out, "2", "1");
    // Paths are not taken from the file.
    let id = name(&pair.jobs[0]);
    let mut evil = lines.clone();
    evil[1] = evil[1]
        .replace("out.txt", "../../../x")
        .replace(&id, "../..");
    let told = apply(&pair, &evil, 3);
    assert!(told.contains("changed since it was planned"), "{told}");
    pair.check(&out, "2", "1");
    let ran = pair
        .env
        .run(&pair.here, &["sync", "--apply", "plan", "--delete"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let ran = pair.env.run(&pair.here, &["sync", "--apply", "none"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    fs::copy(pair.here.join("plan"), other.join("plan")).unwrap();
    let ran = pair.env.run(&other, &["sync", "--apply", "plan"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
}
