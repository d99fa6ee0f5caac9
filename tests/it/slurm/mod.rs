//! Submitting to a real Slurm, and to programs that answer like an odd one.

mod bundles;
mod chain;
mod control;
mod odd;
mod pilot;

use crate::support::batch::{Nowhere, Project, operation, steps};
use crate::support::mounted::kill;
use crate::support::slurm::Slurm;
use crate::support::wait_until;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_workflow_goes_step_by_step() {
    let config = steps(
        "env | grep SWEEPFS_THREADS",
        "threads = 2, walltime = \"5m\", memory = \"10M\"",
    );
    let Some(project) = Project::<Slurm>::with(4, &config) else {
        return;
    };
    project.go_step_by_step("slurm", LIMIT);
    let ran = project.run(&["submit", "--yes"]);
    assert!(ran.stderr.contains("nothing to submit"), "{ran:?}");
    let two = fs::read_to_string(project.jobs[0].join("two")).unwrap();
    assert_eq!(two, "SWEEPFS_THREADS=2\n");
    // Nothing is left of the submissions but logs.
    let left = fs::read_dir(project.root.join(".sweepfs/batches")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".answers"]);
}

#[test]
fn many_executions_go_as_one_array() {
    const N: usize = 1000;
    let config = operation("fly", "true", "");
    let Some(project) = Project::<Slurm>::with(N as u32, &config) else {
        return;
    };
    project.fake(
        "sbatch",
        "echo x >> calls; PATH=${PATH#*:} exec sbatch \"$@\"",
    );
    let ran = project.run(&["submit", "--yes"]);
    assert!(
        ran.stderr.contains("fly: 1000 submitted, array 1\n"),
        "{ran:?}"
    );
    let calls = fs::read_to_string(project.root.join("calls")).unwrap();
    assert_eq!(calls, "x\n");
    let count = |states: &[&str]| {
        let is_in = |job: &usize| states.contains(&project.state(*job, "fly").as_str());
        (0..N).filter(is_in).count()
    };
    assert_eq!(count(&["queued", "running", "completed"]), N);
    project.wait_for_queue(5 * LIMIT);
    assert_eq!(count(&["completed"]), N);
    for job in 0..N {
        let id = project.record(job, "fly")["batch_id"].clone();
        assert!(id.as_str().unwrap().starts_with("1_"), "{id}");
        assert_eq!(project.n_begun(job), 1);
    }
}

#[test]
fn failures_and_cancellations_are_told_apart() {
    let config = [
        operation("bad", "exit 3", "where = \"a=0\""),
        operation("slow", "exec sleep 300", "where = \"a>0\""),
    ];
    let Some(project) = Project::<Slurm>::with(6, &config.concat()) else {
        return;
    };
    project
        .run(&["submit", "--yes", "--at-once", "2"])
        .success();
    let running = || {
        (1..6)
            .filter(|job| project.state(*job, "slow") == "running")
            .collect::<Vec<_>>()
    };
    wait_until("two that run", || running().len() == 2);
    wait_until("a failure", || project.state(0, "bad") == "failed");
    assert_eq!(project.reason(0, "bad"), "exit 3");
    let queue = project.run(&["queue", "-o", "slow"]);
    assert_eq!(queue.success().matches(" running ").count(), 2, "{queue:?}");
    assert_eq!(queue.stdout.matches(" queued ").count(), 3, "{queue:?}");
    assert!(
        project
            .run(&["cancel"])
            .failure(2)
            .contains("what is to be cancelled?")
    );
    // One that waits, by its id; it is never begun.
    let waits = (1..6)
        .find(|job| project.state(*job, "slow") == "queued")
        .unwrap();
    let id = project.record(waits, "slow")["batch_id"]
        .as_str()
        .unwrap()
        .to_owned();
    project.run(&["cancel", &id]).success();
    assert_eq!(project.state(waits, "slow"), "interrupted");
    assert_eq!(project.reason(waits, "slow"), "cancelled");
    assert_eq!(project.record(waits, "slow")["interruptions"], Value::Null);
    // One that runs, by a filter; it is told, and another one begins.
    let runs = running()[0];
    project
        .run(&["cancel", "-f", &format!("a={runs}")])
        .success();
    wait_until("its end", || project.state(runs, "slow") == "interrupted");
    assert_eq!(project.reason(runs, "slow"), "cancelled");
    // The rest behind our back. One that waits may leave no trace, or may just have begun.
    let slurm = project.cluster.as_ref().unwrap();
    assert_eq!(
        slurm.command("scancel", &["--partition", "main"]).code,
        Some(0)
    );
    project.wait_for_queue(LIMIT);
    let reasons: Vec<_> = (1..6).map(|job| project.reason(job, "slow")).collect();
    let known = ["cancelled", "lost: the scheduler no longer has it"];
    assert!(
        reasons
            .iter()
            .all(|reason| known.contains(&reason.as_str())),
        "{reasons:?}"
    );
    assert!((1..6).all(|job| project.state(job, "slow") == "interrupted"));
    assert!((1..6).all(|job| project.n_begun(job) <= 1));
    assert_eq!(project.run(&["next", "slow"]).success().lines().count(), 5);
}

#[test]
fn a_node_that_fails_is_no_verdict() {
    let Some(project) = Project::<Slurm>::with(1, &operation("slow", "exec sleep 300", "")) else {
        return;
    };
    project.run(&["submit", "--yes"]).success();
    wait_until("its begin", || project.state(0, "slow") == "running");
    project.cluster.as_ref().unwrap().kill_nodes();
    let seen = || project.run(&["queue"]).stdout;
    let begun = Instant::now();
    while !seen().contains(" ended ") {
        assert!(begun.elapsed() < 3 * LIMIT, "{}", seen());
        std::thread::sleep(Duration::from_millis(500));
    }
    // It lives here, so it is not begun once more.
    assert_eq!(project.state(0, "slow"), "running");
    for process in ["runner_pid", "pid"] {
        let pid = project.record(0, "slow")[process].as_i64().unwrap();
        kill(pid as i32, "KILL");
    }
    project.wait_for_queue(LIMIT);
    assert_eq!(project.state(0, "slow"), "interrupted");
    assert_eq!(project.reason(0, "slow"), "its node failed");
}

#[test]
fn a_walltime_that_is_over_is_a_failure() {
    let config = operation(
        "slow",
        "exec sleep 300",
        "resources = { walltime = \"1m\" }",
    );
    let Some(project) = Project::<Slurm>::with(1, &config) else {
        return;
    };
    project.run(&["submit", "--yes"]).success();
    project.wait_for_queue(Duration::from_secs(180));
    assert_eq!(project.state(0, "slow"), "failed");
    assert_eq!(project.reason(0, "slow"), "timeout: the walltime is over");
    let ran = project.run(&["submit", "--yes"]);
    assert!(
        ran.stderr.contains("what has failed is left alone: 1"),
        "{ran:?}"
    );
}

#[test]
fn two_submitters_share_the_work() {
    let config = operation("fly", "true", "");
    let Some(project) = Project::<Slurm>::with(60, &config) else {
        return;
    };
    let start = || {
        let mut command = project.command(&["submit", "--yes"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let submitters: Vec<_> = (0..4).map(|_| start()).collect();
    for mut submitter in submitters {
        assert_eq!(submitter.wait().unwrap().code(), Some(0));
    }
    project.wait_for_queue(LIMIT);
    assert!((0..60).all(|job| project.n_begun(job) == 1));
    assert!((0..60).all(|job| project.state(job, "fly") == "completed"));
}

#[test]
fn a_submitter_that_is_killed_loses_and_doubles_nothing() {
    let config = operation("fly", "true", "");
    let Some(mut project) = Project::<Slurm>::with(0, &config) else {
        return;
    };
    // Slow before and after what it does, and not killed with its parent.
    let sbatch = "sleep 0.01; id=$(PATH=${PATH#*:} sbatch \"$@\"); sleep 0.01; echo \"$id\"";
    project.fake("sbatch", sbatch);
    // Set to another number of rounds by those who have the time.
    let set = std::env::var("SWEEPFS_TEST_KILLS").ok();
    let n_rounds = set.map_or(20, |n| n.parse().unwrap());
    let mut n_unfinished = 0;
    for round in 0..n_rounds {
        project.add_jobs(6);
        let mut command = project.command(&["submit", "--yes"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut submitter = command.spawn().unwrap();
        if round % 4 > 0 {
            wait_until("a note of the submission", || {
                !project.unrecorded().is_empty()
            });
        }
        std::thread::sleep(Duration::from_millis(round * 7 % 20 * 2));
        kill(submitter.id() as i32, "KILL");
        submitter.wait().unwrap();
        n_unfinished += u64::from(!project.unrecorded().is_empty());
        project.run(&["status"]).success();
        assert_eq!(project.unrecorded(), Vec::<PathBuf>::new());
    }
    assert!(n_unfinished > n_rounds / 4, "{n_unfinished}");
    loop {
        project.wait_for_queue(LIMIT);
        if project
            .run(&["submit", "--yes"])
            .stderr
            .contains("nothing to submit")
        {
            break;
        }
    }
    let jobs = 0..project.jobs.len();
    assert_eq!(jobs.len() as u64, 6 * n_rounds);
    for job in jobs {
        assert_eq!(project.n_begun(job), 1, "{job}");
        assert_eq!(project.state(job, "fly"), "completed");
        assert!(project.record(job, "fly")["batch_id"].is_string());
    }
}

#[test]
fn a_scheduler_that_does_not_answer_changes_nothing() {
    let project = Project::<Nowhere>::new(2, &operation("fly", "true", ""));
    project.fake(
        "sbatch",
        "echo 'sbatch: 100 hours are left'; echo '77;far'; echo",
    );
    let no_answer = "echo 'squeue: error: Socket timed out' >&2; exit 1";
    project.fake("squeue", no_answer);
    project.fake(
        "sacct",
        "echo 'Slurm accounting storage is disabled' >&2; exit 1",
    );
    project.fake("scontrol", "exit 1");
    let ran = project.run(&["submit", "--yes"]);
    let message = "fly: nothing was submitted: `squeue` failed: squeue: error: Socket timed out";
    assert!(ran.failure(1).contains(message), "{ran:?}");
    assert_eq!(project.record(0, "fly"), Value::Null);
    project.fake("squeue", "true");
    let ran = project.run(&["submit", "--yes"]);
    project.fake("squeue", no_answer);
    assert!(
        ran.stderr.contains("fly: 2 submitted, array 77\n"),
        "{ran:?}"
    );
    assert_eq!(
        project.record(0, "fly")["batch_id"].as_str().unwrap().len(),
        "77_0".len()
    );
    let status = project.run(&["status"]);
    status.success();
    assert_eq!(
        status.stderr.matches("Socket timed out").count(),
        1,
        "{status:?}"
    );
    assert!((0..2).all(|job| project.state(job, "fly") == "queued"));
    assert!(project.run(&["run"]).stderr.contains("nothing to do"));
    // A scheduler that has begun to count anew has others of that id.
    project.fake(
        "squeue",
        "echo '77_0|RUNNING|None|another'; echo '77_1|RUNNING|None|another'",
    );
    project.run(&["status"]).success();
    assert!((0..2).all(|job| project.reason(job, "fly") == "lost: the scheduler no longer has it"));
}

#[test]
fn a_submission_that_is_refused_is_given_back() {
    let project = Project::<Nowhere>::new(2, &operation("fly", "true", ""));
    project.fake(
        "sbatch",
        "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1",
    );
    project.fake("squeue", "true");
    project.fake("scontrol", "exit 1");
    let ran = project.run(&["submit", "--yes", "--partition", "x"]);
    assert!(
        ran.failure(1).contains(
            "fly: nothing was submitted: `sbatch` failed: sbatch: error: invalid partition"
        )
    );
    assert!((0..2).all(|job| project.state(job, "fly") == "interrupted"));
    assert_eq!(project.run(&["next", "fly"]).success().lines().count(), 2);
    // It says nothing, and was taken all the same.
    project.fake("sbatch", "exit 0");
    project.fake("squeue", "name=${6#--name=}; [[ $* != *--name=* ]] || echo \"88_[0-1]|PENDING|None|${@: -1}\" | sed 's/--name=//'");
    let ran = project.run(&["submit", "--yes"]);
    assert!(
        ran.stderr.contains("fly: 2 submitted, array 88\n"),
        "{ran:?}"
    );
}

#[test]
fn what_is_asked_for_stands_in_the_script() {
    let needs = "resources = { processes = 4, threads = 2, gpus = 1, memory = \"2G\", walltime = \"{{ sp.a + 1 }}h\" }";
    let project = Project::<Nowhere>::new(2, &operation("fly", "true", needs));
    project.fake("scontrol", "exit 1");
    let args = [
        "submit",
        "--dry-run",
        "--partition",
        "long",
        "--account",
        "my lab",
        "--at-once",
        "3",
    ];
    let ran = project.run(&args);
    let script = ran.success();
    // Executions that need other times are other arrays.
    assert_eq!(
        script.matches("\n#SBATCH --array=0-0%3\n").count(),
        2,
        "{script}"
    );
    for line in [
        "ntasks=4",
        "cpus-per-task=2",
        "gpus=1",
        "mem=2048M",
        "time=0-01:00:00",
        "time=0-02:00:00",
        "account='my lab'",
        "partition=long",
    ] {
        assert!(
            script.contains(&format!("\n#SBATCH --{line}\n")),
            "{line}: {script}"
        );
    }
    assert!(script.contains("/a b'\\''c' batch fly-"), "{script}");
    assert!(!project.jobs[0].join("sweepfs_flow.json").exists());
    assert!(
        project
            .run(&["submit"])
            .failure(4)
            .contains("in all at most 24.0 CPU-hours and 3.0 GPU-hours")
    );
}
