//! What may be odd about a scheduler, a cluster, or other hosts.

use super::LIMIT;
use super::bundles::{seen, submitted};
use crate::support::batch::{Nowhere, Project, operation};
use crate::support::slurm::Slurm;
use serde_json::json;
use std::fs;

#[test]
fn logs_may_vanish_and_variables_may_hold_anything() {
    let config = [
        operation("fly", "true", "where = 'a=0'"),
        operation(
            "odd",
            "[[ $ODD == $'two\\nlines; $(rm x) \\'' ]]; [[ $(a.function) == x ]]",
            "where = 'a=1'",
        ),
    ];
    let Some(project) = Project::<Slurm>::with(2, &config.concat()) else {
        return;
    };
    project
        .run(&["submit", "--yes", "--hold", "-o", "fly"])
        .success();
    fs::remove_dir_all(project.root.join(".sweepfs/logs")).unwrap();
    project.run(&["release", "--all"]).success();
    project.wait_for_queue(LIMIT);
    let reason = "its batch job could not begin it: FAILED (JobLaunchFailure)";
    assert_eq!(
        (project.state(0, "fly"), project.reason(0, "fly")),
        ("failed".into(), reason.into())
    );
    assert_eq!(project.n_begun(0), 0);
    let mut command = project.command(&["submit", "--yes", "-q", "--partition", "main"]);
    command
        .env("SBATCH_PARTITION", "nowhere")
        .env("ODD", "two\nlines; $(rm x) '")
        .env("BASH_FUNC_a.function%%", "() {  echo x\n}");
    assert!(command.status().unwrap().success());
    project.wait_for_queue(LIMIT);
    assert_eq!(
        (project.state(1, "odd"), project.reason(1, "odd")),
        ("completed".into(), String::new())
    );
    project.run(&["submit", "--yes", "--retry"]).success();
    project.wait_for_queue(LIMIT);
    assert_eq!(project.state(0, "fly"), "completed");
}

/// Notes a submission of another process.
fn note(
    project: &Project<Nowhere>,
    name: &str,
    submitted: &str,
    host: &str,
    id: Option<u32>,
    n: usize,
) {
    let dir = project.root.join(".sweepfs/batches");
    fs::create_dir_all(&dir).unwrap();
    let execution = |i: usize| json!({ "id": format!("{i:032x}"), "jobs": [format!("{i:032x}")] });
    let id = id.map(
        |id| json!({ "id": id.to_string(), "prefix": format!("{id}_"), "first": 0, "suffix": "" }),
    );
    let note = json!({
        "name": name, "cluster": "slurm", "operation": "fly", "id": id, "is_recorded": id.is_some(),
        "submitted": submitted, "submitter": [host, 1, "boot:1"], "closed": [],
        "executions": (0..n).map(execution).collect::<Vec<_>>(),
    });
    fs::write(dir.join(format!("{name}.json")), note.to_string()).unwrap();
}

#[test]
fn many_batch_jobs_are_asked_about_at_once() {
    let project = Project::<Nowhere>::new(1, &operation("fly", "true", ""));
    for id in 0..20 {
        note(
            &project,
            &format!("fly-{id}"),
            "2026-01-01T00:00:00Z",
            "far",
            Some(id),
            1000,
        );
    }
    // All ids are in one call.
    project.fake("squeue", "echo \"$@\" >> asked; for i in {0..19}; do echo \"${i}_[0-999%4]|PENDING|Priority|fly-$i\"; done");
    project.fake("sacct", "exit 1");
    let queue = project.run(&["queue"]);
    assert_eq!(queue.success().lines().count(), 20_000);
    assert_eq!(queue.stdout.matches("  queued  fly  ").count(), 20_000);
    let asked = fs::read_to_string(project.root.join("asked")).unwrap();
    let ids: Vec<_> = (0..20).map(|id| id.to_string()).collect();
    let mut sorted: Vec<_> = asked
        .trim_end()
        .rsplit_once("--jobs=")
        .unwrap()
        .1
        .split(',')
        .collect();
    sorted.sort_by_key(|id| id.parse::<u32>().unwrap());
    sorted.dedup();
    assert_eq!(
        (asked.lines().count(), sorted),
        (1, ids.iter().map(String::as_str).collect())
    );
}

#[test]
fn clocks_of_other_hosts_may_be_wrong() {
    let hour = hours();
    for (name, submitted, is_left) in [
        ("past", &hour[0], false),
        ("now", &hour[1], true),
        ("future", &hour[2], false),
    ] {
        let project = Project::<Nowhere>::new(1, &operation("fly", "true", ""));
        note(&project, name, submitted, "far", None, 1);
        project.fake("squeue", "true");
        let queue = project.run(&["queue"]);
        // Who is just submitting elsewhere is left alone; what is long over, or cannot be, is not.
        assert_eq!(!queue.success().is_empty(), is_left, "{name}: {queue:?}");
        // The age of an answer from the future is not known, so it is asked again.
        assert_eq!(
            project
                .root
                .join(".sweepfs/batches")
                .join(format!("{name}.json"))
                .exists(),
            is_left
        );
    }
}

/// The times an hour ago, now, and in an hour.
fn hours() -> [String; 3] {
    [-3600, 0, 3600].map(|offset| {
        let date = std::process::Command::new("date")
            .args([
                "-u",
                "+%Y-%m-%dT%H:%M:%SZ",
                "-d",
                &format!("{offset} seconds"),
            ])
            .output()
            .unwrap();
        String::from_utf8(date.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    })
}

#[test]
fn a_scheduler_may_be_silent_for_long_and_another_count_anew() {
    let project = Project::<Nowhere>::new(2, &operation("fly", "true", ""));
    submitted(&project, &[]);
    // However often it is asked, and whatever else is said, what is queued stays so.
    for said in [
        "exit 1",
        "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1",
        "echo noise; exit 1",
        "kill -9 $$",
    ] {
        project.fake("squeue", said);
        for _ in 0..2 {
            let queue = project.run(&["queue"]);
            assert_eq!(queue.code, Some(3), "{queue:?}");
            assert_eq!(queue.stdout.matches("  unknown  ").count(), 2, "{queue:?}");
            let again = project.run(&["submit", "--yes"]);
            assert!(again.stderr.contains("nothing to submit"), "{again:?}");
        }
    }
    // A line of noise is none of ours; the states that it leaves out are not known to be gone.
    project.fake(
        "squeue",
        "echo 'Welcome|to|the|cluster'; echo '5_0|RUNNING|None|someone-else'",
    );
    project.fake("sacct", "exit 1");
    assert_eq!(
        project
            .run(&["queue"])
            .stdout
            .matches("  unknown  ")
            .count(),
        2
    );
    seen(&project, "RUNNING|None");
    assert_eq!(
        project
            .run(&["queue"])
            .success()
            .matches("  running  ")
            .count(),
        2
    );
}

#[test]
fn groups_are_sent_as_their_operations() {
    let group = "[group.both]\noperations = ['fly', 'land']\n";
    let config = [
        operation("fly", "true", ""),
        operation("land", "true", ""),
        operation("rest", "true", ""),
        group.to_owned(),
    ];
    let project = Project::<Nowhere>::new(2, &config.concat());
    project.fake("scontrol", "exit 1");
    let dry = project.run(&["submit", "--dry-run", "-o", "both"]);
    let names: Vec<_> = dry
        .success()
        .lines()
        .filter_map(|line| line.strip_prefix("#SBATCH --job-name="))
        .collect();
    assert_eq!(names.len(), 2, "{dry:?}");
    assert!(
        names[0].starts_with("fly-") && names[1].starts_with("land-"),
        "{names:?}"
    );
}
