//! Labels and flow state of jobs, as their directories tell them.

use crate::support::env::write_job;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use sweepfs::catalog::{Catalog, LiveFacts};
use sweepfs::config::ProjectConfig;
use sweepfs::filter::Filter;
use sweepfs::fsx::time_ns;
use sweepfs::report::{Problem, Silent};
use sweepfs::statepoint::JobId;
use sweepfs::workflow::{FLOW_FILE, Flow, FlowState, Marks};
use sweepfs::workspace::{Project, Workspace};
use tempfile::TempDir;

/// A project of jobs `{"a": 0}`, `{"a": 1}`, …, and what follows it.
struct Marked {
    root: TempDir,
    workspace: Workspace,
    jobs: Vec<PathBuf>,
    catalog: Catalog,
    flow: Flow,
}

impl Marked {
    fn new(n_jobs: usize, labels: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let workspace = Project::init(root.path()).unwrap().workspace();
        let jobs = (0..n_jobs).map(|i| write_job(root.path(), &format!("{{\"a\": {i}}}")));
        let jobs = jobs.collect();
        let filter = |(name, text): &(&str, &str)| {
            let filter = Filter::parse(text).unwrap();
            ((*name).to_owned(), filter)
        };
        let config = ProjectConfig {
            labels: labels.iter().map(filter).collect(),
            ..ProjectConfig::default()
        };
        let flow = Flow::new(&workspace, None, &config, Duration::ZERO);
        let catalog = Catalog::load(&workspace, None, now(), &Silent).unwrap();
        Self {
            root,
            workspace,
            jobs,
            catalog,
            flow,
        }
    }

    fn sidecar(&self, job: usize) -> PathBuf {
        self.jobs[job].join(FLOW_FILE)
    }

    /// Records an operation `run`.
    fn record(&self, job: usize, state: &str) {
        fs::write(self.sidecar(job), sidecar(&[("run", state)])).unwrap();
    }

    fn marks(&mut self) -> Marks {
        self.catalog.refresh(now()).unwrap();
        let live = LiveFacts::new(&self.workspace, None);
        live.ask(&self.catalog.snapshot(), now(), 0, |facts| {
            self.flow.marks(facts, &facts.all())
        })
        .unwrap()
        .0
    }

    /// The jobs in each state, by what `a` is.
    fn states(&mut self) -> Vec<String> {
        let marks = self.marks();
        let mut shown = Vec::new();
        for operation in &marks.operations {
            for (state, jobs) in &operation.states {
                let jobs: Vec<_> = jobs.iter().map(|job| self.name(job)).collect();
                shown.push(format!("{} {state}: {}", operation.name, sorted(jobs)));
            }
        }
        shown
    }

    /// What `a` is in a job of the newest snapshot.
    fn name(&self, job: u32) -> usize {
        let id = self.catalog.snapshot().jobs()[job as usize].id.to_string();
        let mut jobs = self.jobs.iter();
        jobs.position(|dir| dir.ends_with(&id)).unwrap()
    }

    fn labels(&mut self) -> Vec<String> {
        let labels = self.marks().labels;
        let shown = labels.iter().map(|(name, jobs)| {
            let jobs = jobs.iter().map(|job| self.name(job)).collect();
            format!("{name}: {}", sorted(jobs))
        });
        shown.collect()
    }
}

fn now() -> i64 {
    time_ns(SystemTime::now())
}

fn sidecar(states: &[(&str, &str)]) -> String {
    let operations: BTreeMap<_, _> = states
        .iter()
        .map(|(name, state)| (*name, serde_json::json!({"state": state, "attempt": 1})))
        .collect();
    serde_json::json!({"version": 1, "operations": operations, "later": []}).to_string()
}

fn sorted(mut jobs: Vec<usize>) -> String {
    jobs.sort_unstable();
    let jobs: Vec<_> = jobs.iter().map(ToString::to_string).collect();
    jobs.join(" ")
}

/// What is wrong with each job, by what `a` is.
fn reasons(marked: &Marked, problems: &[Problem]) -> BTreeMap<usize, String> {
    let job = |problem: &Problem| {
        let id: JobId = problem.subject.parse().unwrap();
        assert_eq!(
            problem.path,
            marked.workspace.job_dir(&id).join(FLOW_FILE),
            "{problem}"
        );
        let number = marked.catalog.snapshot().find(&id).unwrap();
        (marked.name(number), problem.reason.clone())
    };
    problems.iter().map(job).collect()
}

#[test]
fn sidecars_appear_change_and_vanish() {
    let mut marked = Marked::new(5, &[]);
    assert_eq!(marked.marks(), Marks::default());
    marked.record(1, "queued");
    marked.record(2, "queued");
    fs::write(
        marked.sidecar(3),
        sidecar(&[("b", "completed"), ("run", "failed"), ("c", "interrupted")]),
    )
    .unwrap();
    assert_eq!(
        marked.states(),
        ["b completed: 3", "run queued: 1 2", "run failed: 3"]
    );
    marked.record(2, "running");
    fs::remove_file(marked.sidecar(3)).unwrap();
    assert_eq!(marked.states(), ["run queued: 1", "run running: 2"]);
    // A job is known by its id: the others get new numbers.
    fs::remove_dir_all(&marked.jobs[1]).unwrap();
    marked
        .jobs
        .push(write_job(marked.root.path(), r#"{"a": 5}"#));
    marked.record(5, "completed");
    assert_eq!(marked.states(), ["run running: 2", "run completed: 5"]);
    fs::remove_dir_all(marked.root.path().join("workspace")).unwrap();
    assert!(marked.states().is_empty());
}

#[test]
fn a_change_within_the_granularity_of_timestamps_is_seen() {
    let mut marked = Marked::new(1, &[]);
    // Of equal length, in the same file, as fast as can be.
    for state in ["failed", "queued"].into_iter().cycle().take(300) {
        marked.record(0, state);
        assert_eq!(marked.states(), [format!("run {state}: 0")]);
    }
    std::thread::sleep(Duration::from_millis(150));
    for _ in 0..2 {
        assert_eq!(marked.states(), ["run queued: 0"]);
    }
    marked.record(0, "failed");
    assert_eq!(marked.states(), ["run failed: 0"]);
}

#[test]
fn what_cannot_be_read_is_named_and_stops_nothing() {
    let mut marked = Marked::new(8, &[]);
    marked.record(0, "failed");
    let broken = [
        (1, "{", "is not JSON"),
        (2, "[]", "no object"),
        (3, r#"{"version": 2, "operations": 7}"#, "has version 2"),
    ];
    for (job, text, _) in broken {
        fs::write(marked.sidecar(job), text).unwrap();
    }
    let large = " ".repeat(1 << 20) + &sidecar(&[("run", "failed")]);
    fs::write(marked.sidecar(4), large).unwrap();
    fs::create_dir(marked.sidecar(5)).unwrap();
    pipe(&marked.sidecar(6));
    fs::write(marked.sidecar(7), b"\xff").unwrap();
    for _ in 0..2 {
        assert_eq!(marked.states(), ["run failed: 0"]);
        let problems = marked.marks().problems;
        let reasons = reasons(&marked, &problems);
        for (job, _, reason) in broken {
            assert!(reasons[&job].contains(reason), "{reasons:?}");
        }
        assert!(reasons[&4].contains("more than 1048576 bytes"));
        for job in [5, 6] {
            assert!(reasons[&job].contains("not a regular file"), "{reasons:?}");
        }
        assert_eq!(reasons.len(), 7, "{reasons:?}");
        // From now on the stamps are trusted.
        std::thread::sleep(Duration::from_millis(150));
    }
    for job in [1, 2, 3, 4, 6, 7] {
        fs::remove_file(marked.sidecar(job)).unwrap();
        marked.record(job, "completed");
    }
    fs::remove_dir(marked.sidecar(5)).unwrap();
    assert_eq!(
        marked.states(),
        ["run failed: 0", "run completed: 1 2 3 4 6 7"]
    );
    assert!(marked.marks().problems.is_empty());
}

fn pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

#[test]
fn links_in_the_place_of_sidecars_do_no_harm() {
    let mut marked = Marked::new(6, &[]);
    let outside = marked.root.path().join("outside");
    let fifo = marked.root.path().join("pipe");
    fs::write(&outside, sidecar(&[("run", "queued")])).unwrap();
    pipe(&fifo);
    symlink(&outside, marked.sidecar(0)).unwrap();
    symlink("nowhere", marked.sidecar(1)).unwrap();
    symlink(&fifo, marked.sidecar(2)).unwrap();
    symlink("/dev/zero", marked.sidecar(3)).unwrap();
    symlink(FLOW_FILE, marked.sidecar(4)).unwrap();
    marked.record(5, "failed");
    assert_eq!(marked.states(), ["run queued: 0", "run failed: 5"]);
    let problems = marked.marks().problems;
    let reasons = reasons(&marked, &problems);
    assert_eq!(
        reasons.keys().copied().collect::<Vec<_>>(),
        [2, 3, 4],
        "{reasons:?}"
    );
    fs::write(&outside, sidecar(&[("run", "running")])).unwrap();
    assert_eq!(marked.states(), ["run running: 0", "run failed: 5"]);
}

#[test]
fn names_of_operations_may_be_anything() {
    let mut marked = Marked::new(2, &[]);
    let long = "x".repeat(5000);
    let names = [
        "..",
        "a/b",
        "\u{1b}[31m",
        "line\nbreak",
        "nul\0",
        " ",
        "é",
        &long,
    ];
    let states: Vec<_> = names.iter().map(|name| (*name, "failed")).collect();
    fs::write(marked.sidecar(0), sidecar(&states)).unwrap();
    fs::write(marked.sidecar(1), sidecar(&[("", "failed"), ("run", "")])).unwrap();
    let marks = marked.marks();
    let mut expected = names.map(str::to_owned);
    expected.sort();
    let found: Vec<_> = marks.operations.iter().map(|o| o.name.clone()).collect();
    assert_eq!(found, expected);
    let failed = |states: &[(FlowState, _)]| states.len() == 1 && states[0].0 == FlowState::Failed;
    assert!(marks.operations.iter().all(|o| failed(&o.states)));
    assert!(marks.problems.is_empty());
}

#[test]
fn labels_follow_documents() {
    let mut marked = Marked::new(
        4,
        &[
            ("far", "doc.distance > 100"),
            ("late", "a>=2"),
            ("never", "a=9"),
        ],
    );
    assert_eq!(marked.labels(), ["far: ", "late: 2 3", "never: "]);
    let document = |marked: &Marked, job: usize| marked.jobs[job].join("signac_job_document.json");
    fs::write(document(&marked, 0), r#"{"distance": 101.5}"#).unwrap();
    fs::write(document(&marked, 1), r#"{"distance": 99}"#).unwrap();
    fs::write(document(&marked, 2), r#"{"distance": 1e9}"#).unwrap();
    assert_eq!(marked.labels(), ["far: 0 2", "late: 2 3", "never: "]);
    // What cannot be known is not so.
    fs::write(document(&marked, 0), r#"{"distance": 42}"#).unwrap();
    fs::write(document(&marked, 2), "{").unwrap();
    assert_eq!(marked.labels(), ["far: ", "late: 2 3", "never: "]);
}
