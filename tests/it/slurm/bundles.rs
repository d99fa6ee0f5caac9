//! Batch jobs that have several executions.

use super::LIMIT;
use crate::support::batch::{Cluster, Nowhere, Project, operation};
use crate::support::mounted::kill;
use crate::support::slurm::Slurm;
use crate::support::wait_until;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Stdio};

#[test]
fn executions_share_batch_jobs() {
    let alone = "d=$SWEEPFS_PROJECT/in-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID; mkdir \"$d\"; sleep 0.1; rmdir \"$d\"";
    let serial = format!("{alone}; test {{{{ sp.a }}}} != 1");
    // Each waits for the others, and says how many cores there are.
    let parallel = "touch {{ project.dir }}/here-{{ job.id }}; until [ $(ls {{ project.dir }}/here-* | wc -l) = 4 ]; do sleep 0.1; done; \
                    echo $SLURM_CPUS_ON_NODE > {{ job.dir }}/cores";
    let ranks = "{{ launcher }} hostname > {{ job.dir }}/ranks";
    let config = [
        operation(
            "serial",
            &serial,
            "where = 'a<5'\nresources = { walltime = '1m', memory = '10M' }",
        ),
        operation(
            "parallel",
            parallel,
            "where = 'a>4 and a<9'\nresources = { threads = 2, walltime = '1m' }",
        ),
        operation(
            "ranks",
            ranks,
            "where = 'a>8'\nresources = { processes = 2 }",
        ),
    ];
    let Some(project) = Project::<Slurm>::with(11, &config.concat()) else {
        return;
    };
    let submit = |args: &[&str]| {
        let ran = project.run(&[&["submit", "--yes", "--bundle"][..], args].concat());
        ran.success();
        ran.stderr
    };
    let said = submit(&["2", "-o", "serial"]);
    assert!(said.contains("serial: 4 submitted, array "), "{said}");
    assert!(said.contains("serial: 1 submitted, array "), "{said}");
    let said = submit(&["4", "--parallel", "-o", "parallel"]);
    assert!(
        said.contains("4 in a batch job at once, each 8 cores"),
        "{said}"
    );
    submit(&["2", "--parallel", "-o", "ranks"]);
    project.wait_for_queue(LIMIT);
    let states: Vec<_> = (0..5).map(|job| project.state(job, "serial")).collect();
    assert_eq!(
        states.iter().filter(|state| *state == "completed").count(),
        4
    );
    assert_eq!(project.reason(1, "serial"), "exit 1");
    let batch_ids = (0..5).map(|job| project.record(job, "serial")["batch_id"].to_string());
    assert_eq!(batch_ids.collect::<BTreeSet<_>>().len(), 3);
    for job in 5..9 {
        assert_eq!(project.state(job, "parallel"), "completed");
        let cores = fs::read_to_string(project.jobs[job].join("cores")).unwrap();
        assert_eq!(cores, "8\n");
    }
    for job in 9..11 {
        assert_eq!(project.reason(job, "ranks"), "");
        let ranks = fs::read_to_string(project.jobs[job].join("ranks")).unwrap();
        assert_eq!(ranks.lines().count(), 2, "{ranks}");
    }
    assert!((0..11).all(|job| project.n_begun(job) == 1));
}

#[test]
fn needs_are_added_up() {
    let needs = "resources = { processes = 1, threads = 2, gpus = 1, memory = '2G', walltime = '{{ sp.a + 1 }}h' }";
    let project = Project::<Nowhere>::new(5, &operation("fly", "true", needs));
    project.fake("scontrol", "exit 1");
    let script = |args: &[&str]| {
        let args = [&["submit", "--dry-run", "--bundle", "2"][..], args].concat();
        project.run(&args).success().to_owned()
    };
    let serial = script(&[]);
    for lines in [
        "--array=0-0\n#SBATCH --no-requeue\n#SBATCH --ntasks=1\n#SBATCH --cpus-per-task=2\n#SBATCH --gpus=1\n#SBATCH --mem=2048M\n#SBATCH --time=0-03:00:00\n",
        "--time=0-07:00:00\n",
        "--time=0-05:00:00\n",
    ] {
        assert!(serial.contains(lines), "{serial}");
    }
    let parallel = script(&["--parallel"]);
    for lines in [
        "--ntasks=1\n#SBATCH --cpus-per-task=4\n#SBATCH --gpus=2\n#SBATCH --mem=4096M\n#SBATCH --time=0-02:00:00\n",
        "--time=0-04:00:00\n",
        "--cpus-per-task=2\n#SBATCH --gpus=1\n#SBATCH --mem=2048M\n#SBATCH --time=0-05:00:00\n",
    ] {
        assert!(parallel.contains(lines), "{parallel}");
    }
    let cost = project.run(&["submit", "--bundle", "5", "--parallel"]);
    let message = "fly: 5 executions in an array, 5 in a batch job at once, each 10 cores, 5 GPUs, 10240 MiB, 5.0 h";
    assert!(cost.failure(4).contains(message), "{cost:?}");
    assert!(
        cost.stderr.contains("50.0 CPU-hours and 25.0 GPU-hours"),
        "{cost:?}"
    );
    assert!(
        project
            .run(&["submit", "--parallel"])
            .failure(2)
            .contains("--bundle")
    );
}

/// Submits to a scheduler that has but one array, which only waits; returns its name.
pub(super) fn submitted(project: &Project<Nowhere>, args: &[&str]) -> String {
    project.fake("sbatch", "echo 5");
    project.fake("scontrol", "exit 1");
    project.fake("scancel", "echo \"$@\" >> cancelled");
    seen(project, "PENDING|None");
    project
        .run(&[&["submit", "--yes"][..], args].concat())
        .success();
    let entries = fs::read_dir(project.root.join(".sweepfs/batches")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut notes = names.filter(|name| name.ends_with(".json"));
    notes.next().unwrap().trim_end_matches(".json").to_owned()
}

/// Has the scheduler say so of all elements.
pub(super) fn seen(project: &Project<Nowhere>, state: &str) {
    let squeue = format!(
        "n=$(sed -n 's/.*job-name=//p' .sweepfs/batches/*.sh); echo \"5_[0-9]|{state}|$n\""
    );
    project.fake("squeue", &squeue);
    project.fake(
        "sacct",
        "echo 'Slurm accounting storage is disabled' >&2; exit 1",
    );
}

/// Begins an element of the array as the scheduler would.
pub(super) fn begun<C: Cluster>(project: &Project<C>, name: &str, element: &str) -> Child {
    let mut command = project.command(&["batch", name, element, "5"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn an_execution_has_its_own_walltime() {
    let needs = "resources = { walltime = '{% if sp.a < 2 %}1s{% else %}1h{% endif %}' }\non_timeout = { resubmit = 1 }";
    let config = operation("fly", "test {{ sp.a }} -gt 1 || sleep 60", needs);
    let project = Project::<Nowhere>::new(3, &config);
    for timeouts in [1, 2] {
        let name = submitted(&project, &["--bundle", "3", "--parallel"]);
        assert_eq!(begun(&project, &name, "0").wait().unwrap().code(), Some(3));
        assert_eq!(project.reason(0, "fly"), "timeout: the walltime is over");
        assert_eq!(project.record(0, "fly")["timeouts"], timeouts);
        let id = project.jobs[0].file_name().unwrap().to_str().unwrap();
        let n_next = project.run(&["next", "fly"]).success().lines().count();
        assert_eq!(n_next, if timeouts == 1 { 2 } else { 0 });
        seen(&project, "COMPLETED|None");
        project.wait_for_queue(LIMIT);
        let explained = project.run(&["explain", "fly", id]);
        let line = "  timeouts  1 of 1 are sent again\n";
        assert!(explained.success().contains(line), "{explained:?}");
    }
    assert_eq!((project.n_begun(0), project.n_begun(2)), (2, 1));
    assert_eq!(project.state(2, "fly"), "completed");
}

#[test]
fn what_had_no_turn_is_given_back() {
    let project = Project::<Nowhere>::new(3, &operation("fly", "sleep 60", ""));
    let name = submitted(&project, &["--bundle", "3"]);
    let mut batch = begun(&project, &name, "0");
    let running = || (0..3).find(|job| project.state(*job, "fly") == "running");
    wait_until("one that runs", || running().is_some());
    let first = running().unwrap();
    seen(&project, "COMPLETING|TimeLimit");
    kill(batch.id() as i32, "TERM");
    assert_eq!(batch.wait().unwrap().code(), Some(130));
    for job in 0..3 {
        let reason = match job == first {
            true => "the time of its batch job was over",
            false => "its batch job ended before its turn",
        };
        assert_eq!(
            (project.state(job, "fly"), project.reason(job, "fly")),
            ("interrupted".into(), reason.into())
        );
    }
    assert_eq!(project.run(&["next", "fly"]).success().lines().count(), 3);
    seen(&project, "TIMEOUT|TimeLimit");
    project.wait_for_queue(LIMIT);
}

#[test]
fn a_batch_job_that_vanishes_blames_only_what_it_had_begun() {
    let project = Project::<Nowhere>::new(3, &operation("fly", "sleep 60", ""));
    let name = submitted(&project, &["--bundle", "3"]);
    let mut batch = begun(&project, &name, "0");
    let running = || (0..3).find(|job| project.state(*job, "fly") == "running");
    wait_until("one that runs", || running().is_some());
    let first = running().unwrap();
    kill(batch.id() as i32, "KILL");
    batch.wait().unwrap();
    kill(
        project.record(first, "fly")["pid"].as_i64().unwrap() as i32,
        "KILL",
    );
    seen(&project, "FAILED|JobLaunchFailure");
    project.wait_for_queue(LIMIT);
    for job in 0..3 {
        let reason = match job == first {
            true => "lost: its batch job is FAILED (JobLaunchFailure)",
            false => "its batch job ended before its turn",
        };
        assert_eq!(
            (project.state(job, "fly"), project.reason(job, "fly")),
            ("interrupted".into(), reason.into())
        );
    }
}

#[test]
fn a_batch_job_is_ended_if_all_of_it_is_cancelled() {
    let project = Project::<Nowhere>::new(4, &operation("fly", "sleep 60", ""));
    let name = submitted(&project, &["--bundle", "2"]);
    let queue = project.run(&["queue"]);
    assert_eq!(
        queue.success().matches("5_0  queued").count(),
        2,
        "{queue:?}"
    );
    let lines: Vec<_> = queue
        .stdout
        .lines()
        .map(|line| line.split_whitespace().last().unwrap())
        .collect();
    let cancel = |id: &str| project.run(&["cancel", "-j", id]);
    let cancelled = || fs::read_to_string(project.root.join("cancelled")).unwrap_or_default();
    // One of two that wait is given back; its batch job has the other one yet.
    assert!(cancel(lines[0]).stderr.contains("cancelled: 1\n"));
    assert_eq!(cancelled(), "");
    assert!(cancel(lines[1]).stderr.contains("cancelled: 1\n"));
    assert_eq!(cancelled(), "5_0\n");
    assert_eq!(begun(&project, &name, "0").wait().unwrap().code(), Some(0));
    assert_eq!((0..4).filter(|job| project.n_begun(*job) > 0).count(), 0);
    // What has begun cannot be ended alone.
    let mut batch = begun(&project, &name, "1");
    wait_until("one that runs", || {
        (0..4).any(|job| project.state(job, "fly") == "running")
    });
    let ran = cancel(lines[2]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(
        ran.stderr
            .contains("what has begun in a batch job with others goes on: 1"),
        "{ran:?}"
    );
    let ran = project.run(&["cancel", "5_1"]);
    assert!(ran.stderr.contains("cancelled: 2\n"), "{ran:?}");
    assert_eq!(cancelled(), "5_0\n5_1\n");
    kill(batch.id() as i32, "TERM");
    batch.wait().unwrap();
}
