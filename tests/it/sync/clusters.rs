//! Projects that are sent to clusters of their own, and know of each other's by syncing.

use crate::support::batch::{Cluster, Project, operation};
use crate::support::env::{Env, Ran, write_job};
use crate::support::local::LocalQueue;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Another copy of a project, on a cluster of its own.
struct Other {
    // Stopped before its directory is removed.
    queue: LocalQueue,
    env: Env,
}

impl Other {
    fn run(&self, root: &Path, args: &[&str]) -> Ran {
        let mut command = self.env.command(root, args);
        command.env("SWEEPFS_POLL_SECONDS", "0");
        command.envs(self.queue.vars());
        Ran::of(command)
    }
}

/// What both clusters are called. They have a queue each, as two machines do.
const CLUSTERS: &str = "\n[cluster.gl]\nscheduler = 'local'\n[cluster.hal]\nscheduler = 'local'\n";

#[test]
fn what_waits_on_one_cluster_is_not_submitted_on_another() {
    let config = operation("fly", "true", "") + CLUSTERS;
    let gl = Project::<LocalQueue>::with(3, &config).expect("it is always here");
    let env = Env::new();
    let root = env.project("hal");
    fs::write(root.join("sweepfs.toml"), &config).unwrap();
    let queue = LocalQueue::up(&env).unwrap();
    let hal = Other { queue, env };
    let hold = ["submit", "--yes", "--hold", "--cluster"];
    gl.run(&[&hold[..], &["gl"]].concat()).success();
    let sync = ["sync", gl.root.to_str().unwrap()];
    hal.run(&root, &sync).success();
    // All of them wait there.
    let left_alone = "fly: 3 queued on gl as of the last sync, left alone\n";
    let none = hal.run(&root, &["submit", "--yes", "--cluster", "hal"]);
    none.success();
    assert_eq!(none.stderr, format!("{left_alone}nothing to submit\n"));
    // What is new here is sent, and only that; the other cluster hears of it.
    write_job(&root, r#"{"a": 99}"#);
    let one = hal.run(&root, &[&hold[..], &["hal"]].concat());
    one.success();
    assert!(
        one.stderr.starts_with(left_alone) && one.stderr.contains("fly: 1 submitted, array "),
        "{one:?}"
    );
    hal.run(&root, &sync).success();
    let none = gl.run(&["submit", "--yes", "--cluster", "gl"]);
    assert_eq!(
        (none.code, none.stderr.as_str()),
        (
            Some(0),
            "fly: 1 queued on hal as of the last sync, left alone\nnothing to submit\n"
        )
    );
    // Nor is it run, and each row says where it is.
    let ran = gl.run(&["run"]);
    assert!(!ran.stderr.contains("1 done"), "{ran:?}");
    let status = gl.run(&["status", "-d"]);
    let rows: Vec<_> = status
        .success()
        .lines()
        .filter(|row| row.contains("hal"))
        .collect();
    assert_eq!(rows.len(), 2, "{status:?}");
    assert_eq!(rows[0], "on hal: fly, 1 queued");
    assert!(
        rows[1].contains("a/99") && rows[1].contains("  hal  "),
        "{rows:?}"
    );
    let json = gl.run(&["status", "-d", "--json"]);
    let json: serde_json::Value = serde_json::from_str(json.success()).unwrap();
    let clusters = json["operations"][0]["aggregates"]
        .as_array()
        .unwrap()
        .iter();
    let clusters: Vec<_> = clusters.filter_map(|one| one["cluster"].as_str()).collect();
    assert_eq!(clusters, ["hal"]);
    // Each does its own, once.
    gl.run(&["release", "--all"]).success();
    hal.run(&root, &["release", "--all"]).success();
    gl.wait_for_queue(Duration::from_secs(120));
    hal.run(&root, &["cancel", "--all"]).success();
    assert!((0..3).all(|job| gl.state(job, "fly") == "completed"));
}
