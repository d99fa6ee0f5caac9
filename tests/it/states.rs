//! How far operations are with jobs, by their conditions and by what was executed.

use crate::support::env::write_job;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use sweepfs::catalog::{Catalog, Facts, FactsError, LiveFacts};
use sweepfs::config::ProjectConfig;
use sweepfs::exec::Machine;
use sweepfs::fsx::time_ns;
use sweepfs::report::{Problem, Silent};
use sweepfs::workflow::{Evaluation, FLOW_FILE, Flow, FlowState, Units};
use sweepfs::workspace::{Project, Workspace};
use tempfile::TempDir;

/// A project of jobs `{"a": 0}`, `{"a": 1}`, … and its operations.
struct Swept {
    root: TempDir,
    workspace: Workspace,
    jobs: Vec<PathBuf>,
    config: ProjectConfig,
}

impl Swept {
    fn new(n_jobs: usize, config: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let workspace = Project::init(root.path()).unwrap().workspace();
        let jobs = (0..n_jobs).map(|i| write_job(root.path(), &format!("{{\"a\": {i}}}")));
        Self {
            jobs: jobs.collect(),
            config: ProjectConfig::parse(config, Path::new("sweepfs.toml")).unwrap(),
            root,
            workspace,
        }
    }

    fn write(&self, job: usize, name: &str, text: &str) {
        fs::write(self.jobs[job].join(name), text).unwrap();
    }

    fn document(&self, job: usize, text: &str) {
        self.write(job, "signac_job_document.json", text);
    }

    fn record(&self, job: usize, operation: &str, record: &serde_json::Value) {
        let sidecar = serde_json::json!({"version": 1, "operations": {operation: record}});
        self.write(job, FLOW_FILE, &sidecar.to_string());
    }

    fn ask<T>(&self, ask: impl Fn(&Facts<'_>, &Evaluation<'_>) -> Result<T, FactsError>) -> T {
        let now = time_ns(SystemTime::now());
        let catalog = Catalog::load(&self.workspace, None, now, &Silent).unwrap();
        let flow = Flow::new(&self.workspace, None, &self.config, Duration::ZERO);
        let live = LiveFacts::new(&self.workspace, None);
        let question = |facts: &Facts<'_>| ask(facts, &flow.evaluation(facts).unwrap());
        live.ask(&catalog.snapshot(), now, 0, question).unwrap().0
    }

    /// The aggregates in each state, by what `a` is in their jobs.
    fn states(&self, operation: &str) -> String {
        let operations = &self.config.workflow.operations;
        let place = operations.iter().position(|o| o.name == operation);
        let states = self.ask(|facts, evaluation| {
            let units = evaluation.units(place.unwrap())?;
            let states = evaluation.states(place.unwrap(), &units.all())?;
            let mut named: BTreeMap<FlowState, Vec<String>> = BTreeMap::new();
            for (state, in_state) in &states.states {
                for unit in in_state {
                    let name = self.name(units, unit, facts)?;
                    named.entry(*state).or_default().push(name);
                }
            }
            Ok(named)
        });
        let shown = states.into_iter().map(|(state, mut names)| {
            names.sort();
            format!("{state}: {}", names.join(" "))
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    fn name(&self, units: &Units, unit: u32, facts: &Facts<'_>) -> Result<String, FactsError> {
        let ids = units.ids(unit, facts)?;
        let names = ids.iter().map(|id| {
            let mut jobs = self.jobs.iter();
            let job = jobs.position(|dir| dir.ends_with(id.to_string())).unwrap();
            job.to_string()
        });
        Ok(names.collect::<Vec<_>>().join("+"))
    }

    /// What is wrong after all operations were asked about.
    fn problems(&self) -> Vec<Problem> {
        self.ask(|_, evaluation| {
            for place in 0..self.config.workflow.operations.len() {
                let all = evaluation.units(place)?.all();
                evaluation.states(place, &all)?;
            }
            Ok(evaluation.problems())
        })
    }
}

/// Operations `NAME`, `NAME`, … with a line or more each.
fn operations(list: &[(&str, &str)]) -> String {
    let operation = |(name, more): &(&str, &str)| {
        format!("[[operation]]\nname = \"{name}\"\ncommand = \"true\"\n{more}\n")
    };
    list.iter().map(operation).collect()
}

#[test]
fn conditions_ask_for_values_and_files() {
    let cases = [
        ("a>=2", "waiting: 0 1, eligible: 2 3"),
        ("doc.x", "waiting: 0 1 3, eligible: 2"),
        ("file('out')", "waiting: 2 3, eligible: 0 1"),
        ("file('o*')", "waiting: 2 3, eligible: 0 1"),
        ("size('out')>0", "waiting: 0 2 3, eligible: 1"),
        ("newer('out', 'in')", "waiting: 1 2 3, eligible: 0"),
        ("test('[ -e out ]')", "waiting: 2 3, eligible: 0 1"),
        ("test('head -n 0', batch=true)", "waiting: 0 1 2 3"),
        ("test('cat', batch=true)", "eligible: 0 1 2 3"),
        ("never", "waiting: 0 1 2 3"),
        ("not never", "eligible: 0 1 2 3"),
        ("file('out') and not a=0", "waiting: 0 2 3, eligible: 1"),
        ("doc.x or size('out')>0", "waiting: 0 3, eligible: 1 2"),
        ("not (file('out') or doc.x)", "waiting: 0 1 2, eligible: 3"),
    ];
    for (pre, expected) in cases {
        let swept = Swept::new(4, &operations(&[("o", &format!("pre = {pre:?}"))]));
        swept.write(0, "in", "");
        swept.write(0, "out", "");
        swept.write(1, "out", "text");
        swept.document(2, r#"{"x": 1}"#);
        assert_eq!(swept.states("o"), expected, "{pre}");
        assert!(swept.problems().is_empty(), "{pre}");
    }
}

#[test]
fn what_cannot_be_known_is_unknown_only_where_it_matters() {
    let cases = [
        ("doc.x", "waiting: 0 1, unknown: 2 3"),
        ("not doc.x", "eligible: 0 1, unknown: 2 3"),
        ("a=2 or doc.x", "waiting: 0 1, eligible: 2, unknown: 3"),
        ("a=2 and doc.x", "waiting: 0 1 3, unknown: 2"),
        ("doc.x and never", "waiting: 0 1 2 3"),
        ("doc.x or not file('x')", "eligible: 0 1 2 3"),
        ("test('no-such-program')", "unknown: 0 1 2 3"),
        (
            "test('no-such-program') and a=1",
            "waiting: 0 2 3, unknown: 1",
        ),
        ("test('exit 3', batch=true)", "unknown: 0 1 2 3"),
    ];
    for (pre, expected) in cases {
        // The first one has read all documents before.
        let config = operations(&[("all", "pre = \"doc.y\""), ("o", &format!("pre = {pre:?}"))]);
        let swept = Swept::new(4, &config);
        swept.document(2, "{");
        swept.document(3, "[]");
        let states = swept.ask(|_, evaluation| {
            let all = evaluation.units(0)?.all();
            evaluation.states(0, &all)?;
            evaluation.states(1, &all)
        });
        let n = |state| states.of(state).len();
        let expected_n = |state: FlowState| {
            let part = expected
                .split(", ")
                .find_map(|part| part.strip_prefix(&format!("{state}: ")));
            part.map_or(0, |part| part.split(' ').count() as u64)
        };
        for state in FlowState::ALL {
            assert_eq!(n(state), expected_n(state), "{pre}: {state}");
        }
        assert_eq!(swept.states("o"), expected, "{pre}");
    }
}

#[test]
fn operations_wait_for_others() {
    let config = operations(&[
        ("first", "post = \"file('1')\""),
        (
            "some",
            "where = \"a<2\"\npre = \"after(first)\"\npost = \"file('2')\"",
        ),
        ("last", "pre = [\"after(first)\", \"after(some)\"]"),
    ]);
    let swept = Swept::new(4, &config);
    assert_eq!(swept.states("last"), "waiting: 0 1 2 3");
    for job in [0, 1, 2] {
        swept.write(job, "1", "");
    }
    swept.write(0, "2", "");
    assert_eq!(swept.states("first"), "eligible: 3, completed: 0 1 2");
    assert_eq!(swept.states("some"), "eligible: 1, completed: 0");
    // What `some` does not concern need not wait for it.
    assert_eq!(swept.states("last"), "waiting: 1 3, eligible: 0 2");
    swept.write(1, FLOW_FILE, "{");
    assert_eq!(
        swept.states("last"),
        "waiting: 3, eligible: 0 2, unknown: 1"
    );
    let problems = swept.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].reason.contains("not JSON"), "{problems:?}");
}

#[test]
fn whether_an_operation_concerns_a_job_may_be_unknown() {
    let config = operations(&[
        ("some", "where = \"doc.x\"\npost = \"file('2')\""),
        ("last", "pre = \"after(some)\""),
    ]);
    let swept = Swept::new(3, &config);
    swept.document(1, r#"{"x": 1}"#);
    swept.document(2, "{");
    assert_eq!(swept.states("some"), "eligible: 1");
    assert_eq!(swept.states("last"), "waiting: 1, eligible: 0, unknown: 2");
}

#[test]
fn aggregates_wait_for_all_of_their_jobs() {
    let config = operations(&[
        ("one", "post = \"file('1')\""),
        (
            "pair",
            "aggregate = { size = 2, sort = \"a\", reverse = true }\npre = \"after(one)\"\npost = \"file('2')\"",
        ),
        (
            "all",
            "aggregate = { all = true, sort = \"a\" }\npre = \"after(pair)\"",
        ),
        ("each", "pre = \"after(pair)\""),
    ]);
    let swept = Swept::new(5, &config);
    assert_eq!(swept.states("pair"), "waiting: 0 2+1 4+3");
    for job in [0, 1, 3, 4] {
        swept.write(job, "1", "");
    }
    assert_eq!(swept.states("pair"), "waiting: 2+1, eligible: 0 4+3");
    for job in [3, 4] {
        swept.write(job, "2", "");
    }
    assert_eq!(
        swept.states("pair"),
        "waiting: 2+1, eligible: 0, completed: 4+3"
    );
    assert_eq!(swept.states("each"), "waiting: 0 1 2, eligible: 3 4");
    assert_eq!(swept.states("all"), "waiting: 0+1+2+3+4");
    // One job of which that is unknown, and one that is not ready, which decides.
    swept.write(1, FLOW_FILE, "[]");
    assert_eq!(
        swept.states("pair"),
        "waiting: 2+1, eligible: 0, completed: 4+3"
    );
    swept.write(2, "1", "");
    assert_eq!(
        swept.states("pair"),
        "eligible: 0, completed: 4+3, unknown: 2+1"
    );
    assert_eq!(
        swept.states("each"),
        "waiting: 0, eligible: 3 4, unknown: 1 2"
    );
    // The job `0` is an aggregate by itself, and its record is that of a job.
    swept.record(
        0,
        "pair",
        &serde_json::json!({"state": "queued", "attempt": 1}),
    );
    assert_eq!(
        swept.states("pair"),
        "queued: 0, completed: 4+3, unknown: 2+1"
    );
}

#[test]
fn what_is_recorded_of_aggregates_is_beside_the_workspace() {
    let swept = Swept::new(2, &operations(&[("all", "aggregate = { all = true }")]));
    let id = swept.ask(|_, evaluation| match evaluation.units(0)? {
        Units::Aggregates(aggregates) => Ok(aggregates[0].id.clone()),
        Units::Jobs(_) => panic!("aggregates"),
    });
    let dir = swept.root.path().join(".sweepfs/aggregates");
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join(format!("{id}.json"));
    for (text, expected) in [
        (
            r#"{"version": 1, "operations": {"all": {"state": "completed"}}}"#,
            "completed",
        ),
        (
            r#"{"version": 1, "operations": {"all": {"state": "failed", "failures": 1}}}"#,
            "failed",
        ),
        (r#"{"version": 7}"#, "unknown"),
    ] {
        fs::write(&file, text).unwrap();
        assert!(
            swept.states("all").starts_with(&format!("{expected}: ")),
            "{text}"
        );
    }
    assert_eq!(swept.problems()[0].path, file);
}

#[test]
fn executions_decide_what_conditions_leave_open() {
    let config = operations(&[("run", "retries = 1"), ("made", "post = \"file('out')\"")]);
    let swept = Swept::new(1, &config);
    let machine = Machine::this();
    let this = machine.process(std::process::id() as i32);
    let running = serde_json::json!({"state": "running", "attempt": 1, "interruptions": 0,
        "host": this.host, "pid": this.pid, "process_start": this.start});
    let with = |key: &str, value: serde_json::Value| {
        let mut record = running.clone();
        record[key] = value;
        record
    };
    let state = |state: &str, failures: u32, interruptions: u32| {
        serde_json::json!({"state": state, "attempt": 1,
            "failures": failures, "interruptions": interruptions})
    };
    for (record, run, made) in [
        (state("queued", 0, 0), "queued", "queued"),
        (running.clone(), "running", "running"),
        (with("host", "elsewhere".into()), "running", "running"),
        (with("process_start", "x:1".into()), "eligible", "eligible"),
        (state("running", 0, 0), "eligible", "eligible"),
        (state("running", 0, 2), "failed", "failed"),
        (state("completed", 0, 0), "completed", "eligible"),
        (state("failed", 1, 0), "eligible", "failed"),
        (state("failed", 2, 0), "failed", "failed"),
        (state("interrupted", 0, 2), "eligible", "eligible"),
        (state("interrupted", 0, 3), "failed", "failed"),
        (state("something newer", 0, 3), "eligible", "eligible"),
    ] {
        swept.record(0, "run", &record);
        assert_eq!(swept.states("run"), format!("{run}: 0"), "{record}");
        swept.record(0, "made", &record);
        assert_eq!(swept.states("made"), format!("{made}: 0"), "{record}");
        swept.write(0, "out", "");
        let done = match made {
            "queued" | "running" => made,
            _ => "completed",
        };
        assert_eq!(swept.states("made"), format!("{done}: 0"), "{record}");
        fs::remove_file(swept.jobs[0].join("out")).unwrap();
    }
    for (text, reason) in [("{", "not JSON"), (r#"{"version": 2}"#, "has version 2")] {
        swept.write(0, FLOW_FILE, text);
        assert_eq!(swept.states("made"), "unknown: 0");
        assert!(swept.problems()[0].reason.contains(reason));
    }
}

#[test]
fn aggregates_that_may_lack_a_job_are_unknown() {
    let swept = Swept::new(
        3,
        &operations(&[
            ("by", "aggregate = { by = \"doc.x\" }"),
            ("where", "where = \"doc.x=1\"\naggregate = { all = true }"),
            ("all", "aggregate = { all = true, sort = \"a\" }"),
        ]),
    );
    swept.document(0, "{\"x\": 1}");
    swept.document(1, "{\"x\": 2}");
    assert_eq!(swept.states("by"), "eligible: 0 1 2");
    assert_eq!(swept.states("where"), "eligible: 0");
    swept.document(2, "{");
    assert_eq!(swept.states("by"), "unknown: 0 1 2");
    assert_eq!(swept.states("where"), "unknown: 0");
    assert_eq!(swept.states("all"), "eligible: 0+1+2");
}
