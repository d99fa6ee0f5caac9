//! Syncing with several remotes at once.

use crate::support::env::{Env, Ran, n_jobs, write_job};
use std::fs;
use std::path::PathBuf;

/// A project, and others that it knows.
struct Several {
    env: Env,
    here: PathBuf,
    others: Vec<PathBuf>,
}

impl Several {
    fn new(names: &[&str]) -> Self {
        let env = Env::new();
        let here = env.project("here");
        let others = names.iter().map(|name| env.project(name)).collect();
        let table = |name: &&str| format!("[remote.{name}]\nurl = '../{name}'\n");
        let settings: String = names.iter().map(table).collect();
        fs::write(here.join("sweepfs.toml"), settings).unwrap();
        Self { env, here, others }
    }

    fn sync(&self, options: &[&str]) -> Ran {
        self.env
            .run(&self.here, &[&["sync", "--all"], options].concat())
    }

    fn add(&self, settings: &str) {
        let path = self.here.join("sweepfs.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text + settings).unwrap();
    }
}

#[test]
fn one_sync_brings_to_all_what_each_has() {
    let several = Several::new(&["a", "b"]);
    let [a, b] = &several.others[..] else {
        panic!()
    };
    let id = |job: PathBuf| job.file_name().unwrap().to_owned();
    let common = id(write_job(&several.here, r#"{"x": 1}"#));
    for root in [a, b] {
        write_job(root, r#"{"x": 1}"#);
    }
    several.sync(&[]).success();
    let document = |root: &PathBuf| {
        root.join("workspace")
            .join(&common)
            .join("signac_job_document.json")
    };
    fs::write(document(a), r#"{"from": {"a": 1}}"#).unwrap();
    fs::write(document(b), r#"{"from": {"b": 22}}"#).unwrap();
    for (root, name) in [(&several.here, "here"), (a, "a"), (b, "b")] {
        let job = write_job(root, &format!(r#"{{"x": "{name}"}}"#));
        fs::write(job.join("out"), name).unwrap();
    }
    // Nobody is kept waiting by one that is gone.
    several.add("[remote.aa]\nurl = '../nowhere'\n");
    let ran = several.sync(&[]);
    let told = ran.failure(1);
    assert!(told.contains("/nowhere` is no signac project"), "{told}");
    let lines = told.lines().filter(|line| line.contains(" new job"));
    let lines: Vec<_> = lines
        .map(|line| line.rsplit_once(", ").unwrap().0)
        .collect();
    assert_eq!(
        lines,
        [
            "<- a: 1 new job, 2 files, 1 document",
            "-> a: 1 new job, 2 files",
            "<- b: 1 new job, 2 files, 1 document",
            "-> b: 2 new jobs, 4 files, 1 document",
            "-> a: 1 new job, 2 files, 1 document",
        ],
        "{told}"
    );
    for root in [&several.here, a, b] {
        assert_eq!(n_jobs(root), 4);
        let text = fs::read_to_string(document(root)).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document, serde_json::json!({"from": {"a": 1, "b": 22}}));
    }
    let again = several.sync(&[]);
    assert!(
        again.failure(1).contains("nothing to do with `b`"),
        "{again:?}"
    );
}

#[test]
fn a_conflict_with_one_is_told_once_and_the_others_go_on() {
    let several = Several::new(&["a", "b"]);
    let [a, b] = &several.others[..] else {
        panic!()
    };
    for (root, text) in [(&several.here, "1"), (a, "22"), (b, "1")] {
        fs::write(write_job(root, r#"{"x": 1}"#).join("out"), text).unwrap();
    }
    write_job(b, r#"{"x": 2}"#);
    let dry = several.sync(&["-n", "--json"]);
    assert_eq!(dry.code, Some(3));
    assert_eq!(dry.stdout.lines().count(), 2, "{dry:?}");
    let ran = several.sync(&[]);
    let told = ran.failure(3);
    assert_eq!(
        told.matches("warning: conflict with `a`: ").count(),
        1,
        "{told}"
    );
    assert!(told.contains("-> a: 1 new job, 1 file, 8 B"), "{told}");
    assert_eq!(n_jobs(a), 2);
    // What one may not change is not asked a second time.
    write_job(b, r#"{"x": 3}"#);
    several.sync(&["--pull"]).failure(3);
    assert_eq!(n_jobs(&several.here), 3);
    assert_eq!(n_jobs(a), 2);
}
