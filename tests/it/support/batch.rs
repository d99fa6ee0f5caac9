//! A project that is sent to a cluster.

use super::env::{Env, Ran, write_job};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A private cluster, which ends when it is dropped.
pub(crate) trait Cluster: Sized {
    /// Starts one, unless it cannot be had here.
    fn up(env: &Env) -> Option<Self>;

    /// Returns the variables by which programs find it.
    fn vars(&self) -> Vec<(String, String)>;
}

/// No cluster.
pub(crate) enum Nowhere {}

impl Cluster for Nowhere {
    fn up(_: &Env) -> Option<Self> {
        None
    }

    fn vars(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// A project of jobs `{"a": 0}`, `{"a": 1}`, … with a workflow, and where it is submitted to.
pub(crate) struct Project<C: Cluster = Nowhere> {
    // Stopped before its directory is removed.
    pub(crate) cluster: Option<C>,
    pub(crate) env: Env,
    pub(crate) root: PathBuf,
    pub(crate) jobs: Vec<PathBuf>,
    /// Stands before all other programs, if it is there.
    pub(crate) bin: PathBuf,
}

impl<C: Cluster> Project<C> {
    /// A project with a cluster, unless there is none.
    pub(crate) fn with(n_jobs: u32, config: &str) -> Option<Self> {
        let mut project = Self::new(n_jobs, config);
        project.cluster = Some(C::up(&project.env)?);
        Some(project)
    }

    pub(crate) fn new(n_jobs: u32, config: &str) -> Self {
        let env = Env::new();
        let root = env.project("a b'c");
        fs::write(root.join("sweepfs.toml"), config).unwrap();
        let bin = env.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let mut project = Self {
            cluster: None,
            env,
            root,
            jobs: Vec::new(),
            bin,
        };
        project.add_jobs(n_jobs);
        project
    }

    pub(crate) fn add_jobs(&mut self, n: u32) {
        for _ in 0..n {
            let a = self.jobs.len();
            self.jobs
                .push(write_job(&self.root, &format!("{{\"a\": {a}}}")));
        }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.env.command(&self.root, args);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.bin.display()));
        command.env("SWEEPFS_POLL_SECONDS", "0");
        command.envs(self.cluster.iter().flat_map(C::vars));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args))
    }

    /// Puts a program in the place of another one. Not in this process: a file that is open for
    /// writing, be it in a child that another test is just starting, cannot be run.
    pub(crate) fn fake(&self, name: &str, script: &str) {
        let text = self.env.path().join("script");
        fs::write(&text, format!("#!/bin/bash\n{script}\n")).unwrap();
        let mut install = Command::new("install");
        install
            .args(["-m", "755"])
            .arg(text)
            .arg(self.bin.join(name));
        assert!(install.status().unwrap().success());
    }

    pub(crate) fn record(&self, job: usize, operation: &str) -> Value {
        let text = fs::read_to_string(self.jobs[job].join("sweepfs_flow.json"));
        let sidecar: Value = serde_json::from_str(&text.unwrap_or_else(|_| "{}".into())).unwrap();
        sidecar["operations"][operation].clone()
    }

    pub(crate) fn state(&self, job: usize, operation: &str) -> String {
        let record = self.record(job, operation);
        record["state"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn reason(&self, job: usize, operation: &str) -> String {
        let record = self.record(job, operation);
        record["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// How often a job's command was begun, which says so itself.
    pub(crate) fn n_begun(&self, job: usize) -> usize {
        let text = fs::read_to_string(self.jobs[job].join("begun")).unwrap_or_default();
        text.lines().count()
    }

    /// The notes of submissions whose ids are not recorded yet.
    pub(crate) fn unrecorded(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join(".sweepfs/batches"));
        let paths = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path());
        let is_recorded = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.contains("\"is_recorded\":true")
        };
        let is_note = |name: &str| name.ends_with(".json") && !name.starts_with(".");
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let notes = paths.filter(|path| is_note(&name(path)));
        notes.filter(|path| !is_recorded(path)).collect()
    }

    /// Submits the operations of [`steps`] one after the other to a cluster of a name.
    pub(crate) fn go_step_by_step(&self, cluster: &str, limit: Duration) {
        let n = self.jobs.len();
        for (step, n) in [("prepare", n), ("fly", n), ("average", 1)] {
            let ran = self.run(&["submit", "--yes", "--cluster", cluster]);
            ran.success();
            let message = format!("{step}: {n} submitted, array ");
            assert!(ran.stderr.contains(&message), "{ran:?}");
            let again = self.run(&["submit", "--yes", "--cluster", cluster, "-o", step]);
            assert!(again.stderr.contains("nothing to submit"), "{again:?}");
            self.wait_for_queue(limit);
        }
        let all = fs::read_to_string(self.root.join("all")).unwrap();
        assert_eq!(all, format!("{n}\n"));
        for job in 0..n {
            let record = self.record(job, "fly");
            let known = (&record["state"], &record["cluster"]);
            assert_eq!(known, (&"completed".into(), &cluster.into()));
        }
    }

    /// Waits until nothing is in the queue any more.
    #[track_caller]
    pub(crate) fn wait_for_queue(&self, limit: Duration) {
        let begun = Instant::now();
        loop {
            let queue = self.run(&["queue"]);
            if queue.success().is_empty() {
                return;
            }
            assert!(begun.elapsed() < limit, "still not empty: {queue:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// An operation that notes in each job that it was begun.
pub(crate) fn operation(name: &str, command: &str, more: &str) -> String {
    let begun = "echo x >> {{ job.dir }}/begun";
    format!("[[operation]]\nname = \"{name}\"\ncommand = '''{begun}; {command}'''\n{more}\n")
}

/// A workflow of which each operation needs the one before: `prepare`, `fly`, which prints something to
/// `two` and has the given resources, and `average` over all jobs.
pub(crate) fn steps(prints: &str, resources: &str) -> String {
    let fly = format!(
        "pre = 'after(\"prepare\")'\npost = 'file(\"two\")'\nresources = {{ {resources} }}"
    );
    [
        operation(
            "prepare",
            "touch {{ job.dir }}/one",
            "post = 'file(\"one\")'",
        ),
        operation("fly", &format!("{prints} > {{{{ job.dir }}}}/two"), &fly),
        "[[operation]]\nname = \"average\"\ncommand = \"echo {{ jobs | length }} > all\"\n\
         pre = 'after(\"fly\")'\naggregate = { all = true }\n"
            .to_owned(),
    ]
    .concat()
}
