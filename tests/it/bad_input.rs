//! A workspace in which everything is wrong that can be.

use crate::support::env::{Env, Ran, copy_program, write_job};
use crate::support::mounted::{can_mount, links, mount, quietly};
use crate::support::wait_until;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const WHOLE: &str = "0123456789abcdef0123456789abcdef";

/// Odd values, every one of a sound job.
fn odd_jobs() -> Vec<String> {
    let long = "x".repeat(300);
    [
        r#"{"s": "a/b"}"#,
        r#"{"s": ".."}"#,
        r#"{"s": "."}"#,
        r#"{"s": ""}"#,
        &format!("{{\"s\": \"{long}\"}}"),
        r#"{"s": "line\nbreak"}"#,
        r#"{"s": "-rf"}"#,
        r#"{"s": 1}"#,
        r#"{"s": "1"}"#,
        r#"{"s": "\u0000"}"#,
        r#"{"s": "\ud800"}"#,
        r#"{"job": 1}"#,
        r#"{"job": {"job": 2}}"#,
        r#"{"": 1}"#,
        r#"{"": {"": 2}}"#,
        r#"{"a.b": 1}"#,
        r#"{"n": {}}"#,
        "{}",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Damages jobs and adds entries that are none; returns the name and reason that each must get.
fn spoil(root: &Path) -> Vec<(String, &'static str)> {
    let workspace = root.join("workspace");
    let mut expected = Vec::new();
    let mut damage = |number: i64, reason: &'static str, how: &dyn Fn(&Path)| {
        let dir = write_job(root, &format!("{{\"n\": {number}}}"));
        how(&dir);
        expected.push((
            dir.file_name().unwrap().to_str().unwrap().to_owned(),
            reason,
        ));
    };
    let file = "signac_statepoint.json";
    let write = |dir: &Path, bytes: &[u8]| std::fs::write(dir.join(file), bytes).unwrap();
    damage(
        1001,
        "is not JSON: unexpected end at line 1, column 6",
        &|dir| write(dir, b"{\"n\":"),
    );
    damage(1002, "is not JSON: not UTF-8 at line 1, column 8", &|dir| {
        write(dir, b"{\"n\": \"\xff\"}");
    });
    damage(1003, "belongs to the id ", &|dir| {
        write(dir, b"{\"n\": -1}");
    });
    damage(1004, "has no state point file", &|dir| {
        std::fs::remove_file(dir.join(file)).unwrap();
    });
    damage(1005, "is a JSON object, not a list", &|dir| {
        write(dir, b"[1]");
    });
    damage(1006, "is not JSON: unexpected end", &|dir| write(dir, b""));
    damage(1007, "cannot be read: not a regular file", &|dir| {
        std::fs::remove_file(dir.join(file)).unwrap();
        std::fs::create_dir(dir.join(file)).unwrap();
    });
    damage(1008, "cannot be read: permission denied", &|dir| {
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o0)).unwrap();
    });
    damage(1009, "is not JSON: nested too deeply", &|dir| {
        write(dir, "[".repeat(100_000).as_bytes());
    });
    std::fs::write(workspace.join(WHOLE), "").unwrap();
    expected.push((WHOLE.to_owned(), "a file, not a job directory"));
    let backup = format!("{WHOLE}.bak");
    std::fs::create_dir(workspace.join(&backup)).unwrap();
    expected.push((backup, "its name starts with an id"));
    for ignored in ["notes.txt", ".hidden", "0123", "tmpabcdefgh"] {
        std::fs::create_dir(workspace.join(ignored)).unwrap();
    }
    expected
}

/// Root reads what it may not; so look with the eyes of an ordinary user.
pub(crate) fn unprivileged(env: &Env, root: &Path, args: &[&str]) -> Ran {
    let copy = env.path().join("sweepfs");
    copy_program(&copy);
    std::fs::set_permissions(env.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let words = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        copy.to_str().unwrap(),
    ];
    let args: Vec<_> = words.iter().chain(args).copied().collect();
    Ran::of(env.in_env(Command::new("setpriv"), root, &args))
}

#[test]
fn every_sound_job_is_shown_and_every_other_entry_named() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "n=1:973:1"]).success();
    let expected = spoil(&root);
    let odd = odd_jobs();
    for statepoint in &odd {
        write_job(&root, statepoint);
    }
    let check = unprivileged(&env, &root, &["check"]);
    assert_eq!(check.code, Some(3), "{check:?}");
    for (name, reason) in &expected {
        let line = check
            .stdout
            .lines()
            .find(|line| line.starts_with(&format!("{name}: ")));
        assert!(
            line.is_some_and(|line| line.contains(reason)),
            "{name} {reason}: {}",
            check.stdout
        );
    }
    assert_eq!(
        check.stdout.lines().count(),
        expected.len(),
        "{}",
        check.stdout
    );
    let json = unprivileged(&env, &root, &["check", "--json"]);
    assert!(
        json.stdout
            .lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );

    let find = unprivileged(&env, &root, &["find"]);
    assert_eq!(find.code, Some(3));
    let found: BTreeSet<_> = find.stdout.lines().map(str::to_owned).collect();
    assert_eq!(found.len(), 973 + odd.len());

    // The daemon runs as root here and can enter the one directory; all else is as above.
    let views = mount(&env, &root);
    let shown = links(&views.join("view"));
    let ids: BTreeSet<_> = shown.values().cloned().collect();
    assert_eq!(ids.len(), shown.len(), "each job once");
    assert_eq!(ids.difference(&found).count(), 1);
    assert!(found.is_subset(&ids));
    for name in [
        "a%2Fb",
        "\"..\"",
        "\".\"",
        "\"\"",
        "line\nbreak",
        "-rf",
        "1",
        "\"1\"",
        "%00",
        "\"\\ud800\"",
    ] {
        let path = format!("s/{name}/job");
        assert!(shown.keys().any(|shown| shown.ends_with(&path)), "{path}");
    }
    let long = shown.keys().find(|path| path.contains("xxxx")).unwrap();
    let name = long.split('/').find(|name| name.starts_with('x')).unwrap();
    assert_eq!((name.len(), name.as_bytes()[246]), (255, b'~'));
    for key in ["sp.job", "job.job", "\"\"", "\".\"", "a%2Eb"] {
        assert!(
            shown
                .keys()
                .any(|path| path.split('/').any(|part| part == key)),
            "{key}"
        );
    }
    let n_links = quietly(
        "sh",
        &["-c", "find view -type l -print0 | tr -cd '\\0' | wc -c"],
        &views,
    );
    assert_eq!(n_links.trim().parse(), Ok(shown.len()));
}

#[test]
fn damage_is_mended_while_mounted() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    let good = r#"{"n": 1}"#;
    let dir = write_job(&root, good);
    write_job(&root, r#"{"n": 2}"#);
    std::fs::write(dir.join("signac_statepoint.json"), "{").unwrap();
    let views = mount(&env, &root);
    assert_eq!(links(&views.join("view")).len(), 1);
    std::fs::write(dir.join("signac_statepoint.json"), good).unwrap();
    wait_until("the mended job", || views.join("view/n/1/job").exists());
}

#[test]
fn creating_over_damage_is_refused_and_over_nothing_works() {
    let env = Env::new();
    let root = env.project("p");
    let dir = write_job(&root, r#"{"n": 1}"#);
    let file = dir.join("signac_statepoint.json");
    std::fs::write(&file, "{").unwrap();
    let refused = env.run(&root, &["job", "-c", r#"{"n": 1}"#]);
    assert!(
        refused.failure(1).contains("is not JSON") && refused.stderr.contains("hint: "),
        "{refused:?}"
    );
    assert_eq!(
        env.run(&root, &["create", "n=1,2"]).code,
        Some(3),
        "the other one is created"
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "{",
        "the damaged file is left for its owner"
    );
    std::fs::remove_file(&file).unwrap();
    std::fs::write(dir.join("result"), "x").unwrap();
    env.run(&root, &["job", "-c", r#"{"n": 1}"#]).success();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), r#"{"n": 1}"#);
    let empty = write_job(&root, r#"{"n": 3}"#);
    std::fs::remove_file(empty.join("signac_statepoint.json")).unwrap();
    env.run(&root, &["create", "n=3"]).success();
    env.run(&root, &["check"]).success();
}

#[test]
fn unusable_documents_are_named_and_never_overwritten() {
    let env = Env::new();
    let root = env.project("p");
    let dir = write_job(&root, r#"{"n": 1}"#);
    let id = dir.file_name().unwrap().to_str().unwrap();
    let file = dir.join("signac_job_document.json");
    for (text, reason) in [
        ("{", "not JSON"),
        ("[1]", "it holds a list"),
        ("", "not JSON"),
    ] {
        std::fs::write(&file, text).unwrap();
        assert!(
            env.run(&root, &["document", id])
                .failure(1)
                .contains(reason)
        );
        assert!(
            env.run(&root, &["document", id, "a=1"])
                .failure(1)
                .contains(reason)
        );
        assert!(
            env.run(&root, &["check"])
                .stdout
                .contains("its document is not usable")
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    std::fs::write(&file, "null").unwrap();
    assert_eq!(env.run(&root, &["document", id]).success(), "{}\n");
}

#[test]
fn a_job_whose_process_died_in_between_is_left_out_and_named() {
    let env = Env::new();
    let root = env.project("p");
    std::fs::create_dir(root.join("workspace/.sweepfs-6c1f9a52-7d57-4c8e-9f0b-2f4f0d5b7a11"))
        .unwrap();
    env.run(&root, &["find"]).success();
    let check = env.run(&root, &["check"]);
    assert_eq!(check.code, Some(3));
    assert!(
        check
            .stdout
            .contains("being created when its process ended"),
        "{check:?}"
    );
}
