//! Batch jobs that execute whatever can be executed.

use super::LIMIT;
use super::bundles::{begun, seen, submitted};
use crate::support::batch::{Nowhere, Project, operation};
use crate::support::mounted::kill;
use crate::support::slurm::Slurm;
use crate::support::wait_until;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const N: usize = 500;

#[test]
fn pilots_share_the_work() {
    let after = "pre = 'after(\"fly\")'\nwhere = 'a<10'";
    let config = [
        operation("fly", "true", ""),
        operation("land", "true", after),
    ];
    let Some(project) = Project::<Slurm>::with(N as u32, &config.concat()) else {
        return;
    };
    let ran = project.run(&["submit", "--yes", "--pilot", "2", "--walltime", "5m"]);
    ran.success();
    assert!(
        ran.stderr.contains("pilot: 2 submitted, array 1\n"),
        "{ran:?}"
    );
    let queue = project.run(&["queue", "1"]);
    assert_eq!(queue.success().matches("  pilot").count(), 2, "{queue:?}");
    project.wait_for_queue(2 * LIMIT);
    let mut batch_ids = BTreeSet::new();
    for job in 0..N {
        let record = project.record(job, "fly");
        assert_eq!(
            (&record["state"], &record["cluster"]),
            (&"completed".into(), &"slurm".into())
        );
        batch_ids.insert(record["batch_id"].as_str().unwrap().to_owned());
        assert_eq!(project.n_begun(job), 1 + usize::from(job < 10));
    }
    assert_eq!(
        batch_ids,
        BTreeSet::from(["1_0".to_owned(), "1_1".to_owned()])
    );
    let left = fs::read_dir(project.root.join(".sweepfs/batches")).unwrap();
    assert_eq!(left.count(), 1, "only the last answer is left");
    let ran = project.run(&["submit", "--yes", "--pilot", "2"]);
    assert!(ran.stderr.contains("nothing is eligible"), "{ran:?}");
}

#[test]
fn a_pilot_begins_only_what_it_has_room_for() {
    let needs = |needs: &str| format!("resources = {{ {needs} }}");
    let config = [
        operation("short", "true", &needs("walltime = '30s'")),
        operation("long", "true", &needs("walltime = '59m'")),
        operation("gpu", "true", &needs("gpus = 2")),
        operation("big", "true", &needs("memory = '3G'")),
        operation("wide", "true", &needs("processes = 4")),
        operation("other", "true", ""),
    ];
    let project = Project::<Nowhere>::new(2, &config.concat());
    let args = [
        "--pilot",
        "1",
        "--walltime",
        "1h",
        "--cores",
        "2",
        "--gpus",
        "1",
        "--memory",
        "2G",
        "-f",
        "a=0",
        "-o",
        "[!o]*",
    ];
    let dry = project.run(&[&["submit", "--dry-run"][..], &args].concat());
    for line in [
        "--array=0-0",
        "--ntasks=1",
        "--cpus-per-task=2",
        "--gpus=1",
        "--mem=2048M",
        "--time=0-01:00:00",
    ] {
        assert!(
            dry.success().contains(&format!("#SBATCH {line}\n")),
            "{line}: {dry:?}"
        );
    }
    let name = submitted(&project, &args);
    let json: Value = serde_json::from_str(project.run(&["queue", "--json"]).success()).unwrap();
    assert_eq!((&json["pilot"], &json["id"]), (&true.into(), &Value::Null));
    // A filter selects no pilots, for they have no jobs.
    assert!(project.run(&["queue", "-f", "a=0"]).success().is_empty());
    assert_eq!(begun(&project, &name, "0").wait().unwrap().code(), Some(0));
    let state = |operation| project.state(0, operation);
    // The last minute is no time to begin something; one that needs too many cores has all.
    let states = ["short", "long", "gpu", "big", "wide", "other"].map(state);
    assert_eq!(states, ["completed", "", "", "", "completed", ""]);
    assert_eq!((project.n_begun(0), project.n_begun(1)), (2, 0));
    // It has said itself that it has ended.
    assert!(project.run(&["queue"]).success().is_empty());
    assert_eq!(project.record(0, "short")["batch_id"], "5_0");
}

#[test]
fn a_pilot_waits_for_what_runs_elsewhere() {
    let config = [
        operation(
            "fly",
            "until test -e {{ project.dir }}/go; do sleep 0.05; done",
            "",
        ),
        operation("land", "true", "pre = 'after(\"fly\")'"),
    ];
    let project = Project::<Nowhere>::new(1, &config.concat());
    let name = submitted(&project, &["--pilot", "1"]);
    let mut other = project
        .command(&["run", "-q", "-o", "fly"])
        .spawn()
        .unwrap();
    wait_until("its begin", || project.state(0, "fly") == "running");
    let mut pilot = begun(&project, &name, "0");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(pilot.try_wait().unwrap().is_none());
    fs::write(project.root.join("go"), "").unwrap();
    other.wait().unwrap();
    assert_eq!(pilot.wait().unwrap().code(), Some(0));
    assert_eq!(project.state(0, "land"), "completed");
}

#[test]
fn what_a_pilot_has_begun_is_not_lost_with_it() {
    for (signal, state, reason) in [
        (
            "TERM",
            "COMPLETING|TimeLimit",
            "the time of its batch job was over",
        ),
        (
            "KILL",
            "FAILED|JobLaunchFailure",
            "lost: its batch job is FAILED (JobLaunchFailure)",
        ),
    ] {
        let all =
            "[[operation]]\nname = \"all\"\ncommand = \"sleep 60\"\naggregate = { all = true }\n";
        let config = [
            operation("fly", "sleep 60", "where = 'a=0'"),
            all.to_owned(),
        ];
        let project = Project::<Nowhere>::new(2, &config.concat());
        let name = submitted(&project, &["--pilot", "1", "--cores", "2"]);
        let mut pilot = begun(&project, &name, "0");
        let aggregate = || {
            let dir = fs::read_dir(project.root.join(".sweepfs/aggregates")).ok()?;
            let text = fs::read_to_string(dir.flatten().next()?.path()).ok()?;
            let sidecar: Value = serde_json::from_str(&text).ok()?;
            Some(sidecar["operations"]["all"].clone())
        };
        wait_until("both", || {
            let state = aggregate().map(|record| record["state"] == "running");
            state == Some(true) && project.state(0, "fly") == "running"
        });
        seen(&project, state);
        let pids = [project.record(0, "fly"), aggregate().unwrap()]
            .map(|record| record["pid"].as_i64().unwrap());
        kill(pilot.id() as i32, signal);
        pilot.wait().unwrap();
        if signal == "KILL" {
            // What lives goes on, whatever the scheduler says.
            assert_eq!(
                project.run(&["queue"]).success().matches("  ended").count(),
                1
            );
            assert_eq!(project.state(0, "fly"), "running");
            pids.iter().for_each(|pid| kill(*pid as i32, "KILL"));
        }
        project.wait_for_queue(LIMIT);
        assert_eq!(
            (project.state(0, "fly"), project.reason(0, "fly")),
            ("interrupted".into(), reason.into())
        );
        assert_eq!(aggregate().unwrap()["reason"], reason);
        assert_eq!(project.run(&["next", "fly"]).success().lines().count(), 1);
    }
}

#[test]
fn a_pilot_is_held_and_cancelled() {
    let project = Project::<Nowhere>::new(1, &operation("fly", "true", ""));
    let name = submitted(&project, &["--pilot", "2"]);
    project.fake("scontrol", "echo \"$@\" >> control");
    project.run(&["hold", "5_1"]).success();
    project.run(&["cancel", "--all"]).success();
    let said = |file| fs::read_to_string(project.root.join(file)).unwrap();
    assert_eq!(
        (said("control"), said("cancelled")),
        ("hold 5_1\n".into(), "5_0 5_1\n".into())
    );
    seen(&project, "CANCELLED|None");
    project.wait_for_queue(LIMIT);
    assert_eq!(begun(&project, &name, "0").wait().unwrap().code(), Some(0));
    assert_eq!(project.n_begun(0), 0);
}
