//! Submitting to programs that answer like Slurm.

use crate::support::env::{Env, Ran, write_job};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A project of jobs `{"a": 0}`, `{"a": 1}`, … with a workflow, and where it is submitted to.
struct Project {
    env: Env,
    root: PathBuf,
    jobs: Vec<PathBuf>,
    /// Stands before all other programs, if it is there.
    bin: PathBuf,
}

impl Project {
    fn new(n_jobs: u32, config: &str) -> Self {
        let env = Env::new();
        let root = env.project("a b'c");
        fs::write(root.join("sweepfs.toml"), config).unwrap();
        let bin = env.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let mut project = Self {
            env,
            root,
            jobs: Vec::new(),
            bin,
        };
        project.add_jobs(n_jobs);
        project
    }

    fn add_jobs(&mut self, n: u32) {
        for _ in 0..n {
            let a = self.jobs.len();
            self.jobs
                .push(write_job(&self.root, &format!("{{\"a\": {a}}}")));
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.env.command(&self.root, args);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.bin.display()));
        command.env("SWEEPFS_POLL_SECONDS", "0");
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args))
    }

    /// Puts a program in the place of another one. Not in this process: a file that is open for
    /// writing, be it in a child that another test is just starting, cannot be run.
    fn fake(&self, name: &str, script: &str) {
        let text = self.env.path().join("script");
        fs::write(&text, format!("#!/bin/bash\n{script}\n")).unwrap();
        let mut install = Command::new("install");
        install
            .args(["-m", "755"])
            .arg(text)
            .arg(self.bin.join(name));
        assert!(install.status().unwrap().success());
    }

    fn record(&self, job: usize, operation: &str) -> Value {
        let text = fs::read_to_string(self.jobs[job].join("sweepfs_flow.json"));
        let sidecar: Value = serde_json::from_str(&text.unwrap_or_else(|_| "{}".into())).unwrap();
        sidecar["operations"][operation].clone()
    }

    fn state(&self, job: usize, operation: &str) -> String {
        let record = self.record(job, operation);
        record["state"].as_str().unwrap_or_default().to_owned()
    }

    fn reason(&self, job: usize, operation: &str) -> String {
        let record = self.record(job, operation);
        record["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// An operation that notes in each job that it was begun.
fn operation(name: &str, command: &str, more: &str) -> String {
    let begun = "echo x >> {{ job.dir }}/begun";
    format!("[[operation]]\nname = \"{name}\"\ncommand = '''{begun}; {command}'''\n{more}\n")
}

#[test]
fn a_scheduler_that_does_not_answer_changes_nothing() {
    let project = Project::new(2, &operation("fly", "true", ""));
    project.fake(
        "sbatch",
        "echo 'sbatch: 100 hours are left'; echo '77;far'; echo",
    );
    project.fake(
        "squeue",
        "echo 'squeue: error: Socket timed out' >&2; exit 1",
    );
    project.fake(
        "sacct",
        "echo 'Slurm accounting storage is disabled' >&2; exit 1",
    );
    project.fake("scontrol", "exit 1");
    let ran = project.run(&["submit", "--yes"]);
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
    let project = Project::new(2, &operation("fly", "true", ""));
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
fn what_waits_is_listed_and_taken_back() {
    let project = Project::new(3, &operation("fly", "true", ""));
    project.fake("sbatch", "echo 5");
    let squeue = "n=$(sed -n 's/.*job-name=//p' .sweepfs/batches/*.sh)
        echo \"5_0|PENDING|Priority|$n\"; echo \"5_1|RUNNING|None|$n\"; echo \"5_[2%1]|PENDING|None|$n\"";
    project.fake("squeue", squeue);
    project.fake("scancel", "echo \"$@\" >> cancelled");
    project.fake("scontrol", "exit 1");
    project.run(&["submit", "--yes"]).success();
    let queue = project.run(&["queue"]);
    let id = |job: usize| {
        project.jobs[job]
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let mut ids = [id(0), id(1), id(2)];
    ids.sort();
    let expected = format!(
        "5_0          queued   fly {} Priority\n5_1          running  fly {}\n5_2          queued   fly {}\n",
        ids[0], ids[1], ids[2]
    );
    assert_eq!(queue.success(), expected);
    assert!(
        project
            .run(&["cancel"])
            .failure(2)
            .contains("what is to be cancelled?")
    );
    assert!(
        project
            .run(&["cancel", "5_7"])
            .stderr
            .contains("nothing to cancel")
    );
    let ran = project.run(&["cancel", "-j", &ids[0]]);
    assert!(ran.stderr.contains("cancelled: 1\n"), "{ran:?}");
    assert_eq!(
        project.run(&["next", "fly"]).success(),
        format!("{}\n", ids[0])
    );
    let cancelled = || fs::read_to_string(project.root.join("cancelled")).unwrap();
    assert_eq!(cancelled(), "5_0\n");
    project.run(&["cancel", "--all"]).success();
    assert_eq!(cancelled(), "5_0\n5_1 5_2\n");
    // Nothing was begun in truth.
    assert!(project.run(&["queue"]).success().is_empty());
}

#[test]
fn what_is_asked_for_stands_in_the_script() {
    let needs = "resources = { processes = 4, threads = 2, gpus = 1, memory = \"2G\", walltime = \"{{ sp.a + 1 }}h\" }";
    let project = Project::new(2, &operation("fly", "true", needs));
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
