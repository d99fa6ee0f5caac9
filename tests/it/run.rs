//! Executing operations: what is executed, what is recorded, what goes wrong.

use crate::support::env::{Env, Ran, write_job};
use crate::support::mounted::kill;
use crate::support::wait_until;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A project of jobs `{"a": 0}`, `{"a": 1}`, … with a workflow.
struct Workflow {
    env: Env,
    root: PathBuf,
    jobs: Vec<PathBuf>,
}

impl Workflow {
    fn new(n_jobs: usize, config: &str) -> Self {
        let env = Env::new();
        let root = env.project("a b'c");
        fs::write(root.join("sweepfs.toml"), config).unwrap();
        let jobs = (0..n_jobs).map(|i| write_job(&root, &format!("{{\"a\": {i}}}")));
        Self {
            jobs: jobs.collect(),
            root,
            env,
        }
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.env.run(&self.root, &[&["run"], args].concat())
    }

    fn start(&self, args: &[&str]) -> Child {
        let mut command = self.env.command(&self.root, &[&["run"], args].concat());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    fn record(&self, job: usize, operation: &str) -> Value {
        let text = fs::read_to_string(self.jobs[job].join("sweepfs_flow.json")).unwrap();
        let sidecar: Value = serde_json::from_str(&text).unwrap();
        sidecar["operations"][operation].clone()
    }

    fn state(&self, job: usize, operation: &str) -> String {
        self.record(job, operation)["state"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn reason(&self, job: usize, operation: &str) -> String {
        let record = self.record(job, operation);
        record["reason"].as_str().unwrap_or_default().to_owned()
    }

    fn has(&self, job: usize, file: &str) -> bool {
        self.jobs[job].join(file).exists()
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.root.join(file)).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }
}

/// An operation whose command is a literal of TOML.
fn operation(name: &str, command: &str, more: &str) -> String {
    format!("[[operation]]\nname = \"{name}\"\ncommand = '''{command}'''\n{more}\n")
}

#[test]
fn a_chain_runs_to_its_end() {
    let chain = [
        operation(
            "third",
            "touch three",
            "directory = \"job\"\npre = 'after(\"second\")'\npost = 'file(\"three\")'",
        ),
        operation(
            "second",
            "touch {{ job.dir }}/two",
            "pre = ['file(\"one\")', 'after(\"first\")']\npost = 'file(\"two\")'",
        ),
        operation(
            "first",
            "touch \"$SWEEPFS_JOB_DIR/one\"; pwd",
            "post = 'file(\"one\")'",
        ),
    ];
    let flow = Workflow::new(3, &chain.concat());
    let ran = flow.run(&["-p", "2"]);
    assert!(ran.stderr.contains("9 executions: 9 completed"), "{ran:?}");
    ran.success();
    assert!((0..3).all(|job| flow.has(job, "three")));
    let record = flow.record(1, "second");
    assert_eq!(
        (&record["attempt"], &record["exit_code"]),
        (&1.into(), &0.into())
    );
    let log = flow
        .root
        .join(flow.record(0, "first")["log"].as_str().unwrap());
    let log = fs::read_to_string(log).unwrap();
    assert!(
        log.ends_with(&format!("{}\n", flow.root.display())),
        "{log}"
    );
    assert!(flow.run(&[]).stderr.contains("nothing to do"));
    // What is gone is made again, and nothing else.
    fs::remove_file(flow.jobs[2].join("three")).unwrap();
    assert!(flow.run(&[]).stderr.contains("1 execution: 1 completed"));
}

#[test]
fn failures_are_recorded_and_repeated_as_often_as_is_said() {
    let flow = Workflow::new(
        2,
        &[
            operation("sure", "echo said; exit {{ 7 * sp.a }}", ""),
            operation(
                "tried",
                "echo x >> tries; false",
                "retries = 2\nwhere = \"a=0\"",
            ),
            operation("empty", "true", "post = 'file(\"never\")'\nwhere = \"a=0\""),
        ]
        .concat(),
    );
    let ran = flow.run(&[]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("failed: exit 7\n  said\n"), "{ran:?}");
    assert_eq!(flow.state(0, "sure"), "completed");
    assert_eq!(
        (flow.state(1, "sure"), flow.reason(1, "sure")),
        ("failed".into(), "exit 7".into())
    );
    assert_eq!(flow.lines("tries").len(), 3);
    assert_eq!(flow.record(0, "tried")["attempt"], 3);
    assert_eq!(
        flow.reason(0, "empty"),
        "exit 0, but not met: file(\"never\")"
    );
    assert!(flow.run(&[]).stderr.contains("nothing to do"));
    assert_eq!(flow.run(&["--retry", "-o", "sure"]).code, Some(3));
    assert_eq!(flow.record(1, "sure")["attempt"], 2);
    assert_eq!(flow.record(0, "sure")["attempt"], 1);
    let ran = flow.run(&["--retry", "--fail-fast"]);
    assert!(
        ran.stderr.contains("1 execution: 0 completed, 1 failed"),
        "{ran:?}"
    );
}

#[test]
fn what_takes_too_long_is_ended_with_all_it_started() {
    let command = "trap '' TERM; sleep 60 & echo $! > pids; sleep 60 & echo $! >> pids; wait; wait";
    let flow = Workflow::new(1, &operation("slow", command, ""));
    let ran = flow.run(&["--timeout", "1s"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(flow.reason(0, "slow"), "timeout after 1 s");
    for pid in flow.lines("pids") {
        wait_until("its end", || is_gone(&pid));
    }
}

fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z")).eq(&false)
}

#[test]
fn what_is_left_in_the_background_is_ended() {
    let flow = Workflow::new(1, &operation("daemon", "sleep 300 & echo $! > pid", ""));
    flow.run(&[]).success();
    let pid = flow.lines("pid").remove(0);
    wait_until("its end", || is_gone(&pid));
}

#[test]
fn an_interruption_is_no_failure() {
    let flow = Workflow::new(3, &operation("slow", "echo x >> begun; sleep 60", ""));
    let mut run = flow.start(&["-p", "2"]);
    wait_until("two executions", || flow.lines("begun").len() == 2);
    kill(run.id() as i32, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let states: Vec<_> = (0..3)
        .filter(|job| flow.has(*job, "sweepfs_flow.json"))
        .collect();
    assert_eq!(states.len(), 2);
    for job in states {
        assert_eq!(flow.state(job, "slow"), "interrupted");
    }
    // It is eligible again.
    let mut run = flow.start(&["-p", "3"]);
    wait_until("three more", || flow.lines("begun").len() == 5);
    kill(run.id() as i32, "TERM");
    kill(run.id() as i32, "TERM");
    run.wait().unwrap();
}

#[test]
fn one_that_cannot_be_described_stops_no_other() {
    let flow = Workflow::new(2, &operation("picky", "echo {{ doc.x }}", ""));
    fs::write(flow.jobs[0].join("signac_job_document.json"), "{\"x\": 1}").unwrap();
    let ran = flow.run(&[]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("1 completed, 1 failed"), "{ran:?}");
    assert!(ran.stderr.contains("its command cannot be made"), "{ran:?}");
    assert_eq!(flow.state(0, "picky"), "completed");
    assert!(!flow.has(1, "sweepfs_flow.json"));
}

#[test]
fn commands_that_misbehave_stop_no_other() {
    let flow = Workflow::new(
        1,
        &[
            operation("absent", "no-such-program-at-all", ""),
            operation("suicide", "kill -SEGV $$", ""),
            operation("talkative", "head -c 30000000 /dev/zero", ""),
            operation(
                "vandal",
                "echo '{' > sweepfs_flow.json",
                "directory = \"job\"",
            ),
        ]
        .concat(),
    );
    let ran = flow.run(&[]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("exit 127"), "{ran:?}");
    assert!(ran.stderr.contains("signal 11"), "{ran:?}");
    assert!(ran.stderr.contains("its end cannot be recorded"), "{ran:?}");
    assert!(
        ran.stderr.contains("talkative") == ran.stderr.contains("talkative: failed"),
        "{ran:?}"
    );
    let log = flow.root.join(".sweepfs/logs/talkative");
    let log = fs::read_dir(log).unwrap().next().unwrap().unwrap();
    assert!(log.metadata().unwrap().len() > 30_000_000);
    let ran = flow.run(&[]);
    assert!(
        ran.stderr.contains("its flow state is not usable"),
        "{ran:?}"
    );
    assert_eq!(ran.code, Some(3));
}

#[test]
fn a_job_may_vanish_or_change_its_name() {
    let program = env!("CARGO_BIN_EXE_sweepfs");
    let flow = Workflow::new(
        2,
        &[
            operation("gone", "rm -r {{ job.dir }}", "where = \"a=0\""),
            operation(
                "renamed",
                "touch {{ job.dir }}/made; new=$(\"$PROGRAM\" job '{\"a\": 9}'); sed -i s/1/9/ {{ job.dir }}/signac_statepoint.json; mv {{ job.dir }} workspace/$new",
                "where = \"a=1\"\npost = 'file(\"made\")'",
            ),
        ]
        .concat(),
    );
    let mut command = flow.env.command(&flow.root, &["run"]);
    command.env("PROGRAM", program);
    let ran = Ran::of(command);
    ran.success();
    let new = flow.env.run(&flow.root, &["find", "a=9"]);
    let sidecar = flow
        .root
        .join("workspace")
        .join(new.success().trim())
        .join("sweepfs_flow.json");
    let sidecar: Value = serde_json::from_slice(&fs::read(sidecar).unwrap()).unwrap();
    assert_eq!(sidecar["operations"]["renamed"]["state"], "completed");
    assert!(!flow.jobs[0].exists());
}

#[test]
fn values_arrive_as_plain_text() {
    let env = Env::new();
    let root = env.project("p");
    let hostile = "$(touch pwned); `touch pwned`\n'\"\\ * && rm -rf / #é";
    let statepoint = serde_json::json!({"text": hostile, "n": 0.1}).to_string();
    write_job(&root, &statepoint);
    let command = "printf %s {{ sp.text }} > out; echo {{ sp.n }} {{ sp }} > more";
    fs::write(
        root.join("sweepfs.toml"),
        operation("say it's \\\"so\\\"", command, "directory = \"job\""),
    )
    .unwrap();
    env.run(&root, &["run"]).success();
    let job = fs::read_dir(root.join("workspace"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(fs::read_to_string(job.path().join("out")).unwrap(), hostile);
    assert!(!root.join("pwned").exists() && !job.path().join("pwned").exists());
    assert!(root.join(".sweepfs/logs/say it's \"so\"").is_dir());
}

#[test]
fn aggregates_are_executed_as_one() {
    let config = [
        operation("one", "touch {{ job.dir }}/one", "post = 'file(\"one\")'"),
        operation(
            "all",
            "echo {{ jobs | map(attribute='sp.a') | join(' ') }} >> sums; touch {{ jobs | map(attribute='dir') | join('/done ') }}/done",
            "aggregate = { size = 2, sort = \"a\", reverse = true }\npre = 'after(\"one\")'",
        ),
        operation(
            "last",
            "touch {{ job.dir }}/last",
            "pre = 'after(\"all\")'\npost = 'file(\"last\")'",
        ),
    ];
    let flow = Workflow::new(3, &config.concat());
    flow.run(&["-p"]).success();
    let mut sums = flow.lines("sums");
    sums.sort();
    assert_eq!(sums, ["0", "2 1"]);
    assert!((0..3).all(|job| flow.has(job, "last")));
    assert_eq!(
        fs::read_dir(flow.root.join(".sweepfs/aggregates"))
            .unwrap()
            .count(),
        1
    );
    assert_eq!(flow.state(0, "all"), "completed");
    assert!(flow.run(&[]).stderr.contains("nothing to do"));
    let ran = flow.env.run(&flow.root, &["exec", "all", "agg-"]);
    ran.success();
    assert_eq!(flow.lines("sums").len(), 3);
}

#[test]
fn cores_are_not_used_twice() {
    let command = "echo + >> load; sleep 0.2; echo - >> load";
    let flow = Workflow::new(
        6,
        &operation(
            "wide",
            command,
            "[operation.resources]\nprocesses = 2\nthreads = \"{{ 1 + sp.a % 2 }}\"",
        ),
    );
    flow.run(&["-p", "4"]).success();
    let mut now = 0;
    for line in flow.lines("load") {
        now += if line == "+" { 1 } else { -1 };
        assert!(now <= 2, "an execution uses 2 or 4 of 4 cores");
    }
    assert_eq!(flow.lines("load").len(), 12);
}

#[test]
fn hooks_are_run_around_it() {
    let hooks = "[operation.hooks]\non_start = \"echo start {{ job.id }} >> hooks\"\non_failure = \"echo failed {{ exit_code }} {{ reason }} >> hooks\"\n[hooks]\non_success = \"echo success >> hooks\"\non_exit = \"echo exit >> hooks\"";
    let flow = Workflow::new(2, &operation("hooked", "exit {{ 3 * sp.a }}", hooks));
    assert_eq!(flow.run(&[]).code, Some(3));
    let mut lines = flow.lines("hooks");
    lines.iter_mut().for_each(|line| line.truncate(18));
    lines.sort();
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(
        (
            count("start"),
            count("failed 3 exit 3"),
            count("success"),
            count("exit")
        ),
        (2, 1, 1, 2)
    );
}

/// Several at once, which share what there is to do.
#[test]
fn each_is_executed_once_however_many_run() {
    let n_jobs = 60;
    let config = [
        operation("a", "echo \"$SWEEPFS_JOB_ID\" >> done-a", ""),
        operation(
            "b",
            "echo \"$SWEEPFS_JOB_ID\" >> done-b; touch \"$SWEEPFS_JOB_DIR/b\"",
            "pre = 'after(\"a\")'\npost = 'file(\"b\")'",
        ),
    ];
    let flow = Workflow::new(n_jobs, &config.concat());
    let mut runs: Vec<_> = (0..8)
        .map(|_| flow.start(&["-p", "2", "--order", "random"]))
        .collect();
    for run in &mut runs {
        assert!(run.wait().unwrap().success());
    }
    flow.run(&[]).success();
    for file in ["done-a", "done-b"] {
        let mut lines = flow.lines(file);
        assert_eq!(lines.len(), n_jobs, "{file}");
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), n_jobs, "{file}");
    }
}

/// Kills runs, and what they run, at random moments.
#[test]
fn killed_runs_lose_and_repeat_nothing() {
    let command = "mkdir \"$SWEEPFS_JOB_DIR/lock\"; sleep 0.03; rmdir \"$SWEEPFS_JOB_DIR/lock\"; echo \"$SWEEPFS_JOB_ID\" >> done; touch \"$SWEEPFS_JOB_DIR/done\"";
    // One that is killed leaves its lock; the next may not mind, but must not meet a living one.
    let command = format!(
        "exec 9>\"$SWEEPFS_JOB_DIR/alone\"; flock -n 9 || {{ echo twice >> twice; exit 1; }}; {}",
        command
            .replace("mkdir", "mkdir -p")
            .replace("rmdir", "rmdir --ignore-fail-on-non-empty")
    );
    let flow = Workflow::new(
        40,
        &operation("work", &command, "post = 'file(\"done\")'\nretries = 100"),
    );
    let mut kills = 0;
    let begun = Instant::now();
    while kills < 50 && begun.elapsed() < Duration::from_secs(40) {
        let mut run = flow.start(&["-p", "4"]);
        std::thread::sleep(Duration::from_millis(20 + 13 * (kills % 7)));
        if kills % 3 == 2 {
            kill_some_child(run.id());
        }
        kill_quietly(run.id());
        run.wait().unwrap();
        kills += 1;
        if flow.lines("done").len() > 30 {
            for job in &flow.jobs {
                let _ = fs::remove_file(job.join("done"));
            }
            let _ = fs::remove_file(flow.root.join("done"));
        }
    }
    // What was interrupted three times in a row counts as failed.
    let ran = flow.run(&["-p", "4", "--retry"]);
    assert!(matches!(ran.code, Some(0)), "{ran:?}");
    assert!((0..40).all(|job| flow.has(job, "done")));
    assert_eq!(flow.lines("twice"), Vec::<String>::new());
    assert!(flow.run(&[]).stderr.contains("nothing to do"));
}

fn kill_some_child(pid: u32) {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let child = children
        .flat_map(|text| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .next();
    if let Some(child) = child.and_then(|child| child.parse().ok()) {
        kill_quietly(child);
    }
}

fn kill_quietly(pid: u32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

#[test]
fn what_would_run_is_printed() {
    let flow = Workflow::new(
        2,
        &operation(
            "say",
            "echo {{ sp.a }} {{ project.dir }}",
            "directory = \"job\"",
        ),
    );
    let ran = flow.run(&["--dry-run", "-n", "1"]);
    let lines: Vec<_> = ran.success().lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("# say "), "{lines:?}");
    assert!(
        lines[1].ends_with(r#"a b'\''c'"#) || lines[1].contains("a b"),
        "{lines:?}"
    );
    assert!(!flow.root.join(".sweepfs/logs").exists());
    assert_eq!(flow.run(&["-o", "sya"]).code, Some(2));
    let said = flow.run(&["-o", "sya"]);
    assert!(said.stderr.contains("did you mean `say`?"), "{said:?}");
}

#[test]
fn sidecars_of_others_are_kept() {
    let flow = Workflow::new(1, &operation("a", "true", ""));
    let sidecar = flow.jobs[0].join("sweepfs_flow.json");
    let text = r#"{"version": 1, "operations": {"other": {"state": "queued", "x": 1}, "a": {"state": "failed", "attempt": 4, "failures": 1, "mine": [1]}}, "more": {}}"#;
    fs::write(&sidecar, text).unwrap();
    flow.run(&["--retry"]).success();
    let written: Value = serde_json::from_slice(&fs::read(&sidecar).unwrap()).unwrap();
    assert_eq!(written["more"], serde_json::json!({}));
    assert_eq!(written["operations"]["other"]["x"], 1);
    assert_eq!(written["operations"]["a"]["mine"], serde_json::json!([1]));
    assert_eq!(written["operations"]["a"]["attempt"], 5);
    fs::write(&sidecar, r#"{"version": 2}"#).unwrap();
    let ran = flow.run(&[]);
    assert!(ran.stderr.contains("version 2"), "{ran:?}");
    assert_eq!(fs::read_to_string(&sidecar).unwrap(), r#"{"version": 2}"#);
}

#[test]
fn exec_asks_no_condition() {
    let flow = Workflow::new(2, &operation("never", "echo {{ sp.a }}", "pre = \"never\""));
    assert!(flow.run(&[]).stderr.contains("nothing to do"));
    let id = Path::new(&flow.jobs[1])
        .file_name()
        .unwrap()
        .to_str()
        .unwrap();
    let ran = flow.env.run(&flow.root, &["exec", "never", &id[..8]]);
    assert_eq!(ran.success(), "1\n");
    assert_eq!(flow.state(1, "never"), "completed");
    assert_eq!(flow.env.run(&flow.root, &["exec", "nothing"]).code, Some(2));
}

/// What was seen in folders is kept in a file; it is never believed for too long.
#[test]
fn what_was_seen_is_good_as_long_as_nothing_changes() {
    let config = [
        operation("made", "false", "post = 'file(\"out\")'"),
        operation("linked", "false", "post = 'file(\"link\")'"),
    ];
    let flow = Workflow::new(300, &config.concat());
    let count = |name: &str| {
        let ran = flow.run(&["--dry-run", "-o", name]);
        ran.success()
            .lines()
            .filter(|line| line.starts_with("# "))
            .count()
    };
    let counts = || (count("made"), count("linked"));
    let settle = || std::thread::sleep(Duration::from_millis(150));
    let seen = flow.root.join(".sweepfs/folders");
    settle();
    assert_eq!(counts(), (300, 300));
    fs::write(flow.root.join("target"), "").unwrap();
    for job in 0..200 {
        fs::write(flow.jobs[job].join("out"), "").unwrap();
        std::os::unix::fs::symlink("../../target", flow.jobs[job].join("link")).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(counts(), (100, 100));
        settle();
    }
    // Where a link leads can change without its folder.
    fs::remove_file(flow.root.join("target")).unwrap();
    assert_eq!(counts(), (100, 300));
    for job in 0..50 {
        fs::remove_file(flow.jobs[job].join("out")).unwrap();
    }
    assert_eq!(counts(), (150, 300));
    let sidecar = r#"{"version": 1, "operations": {"made": {"state": "failed", "attempt": 1, "failures": 1}}}"#;
    fs::write(flow.jobs[299].join("sweepfs_flow.json"), sidecar).unwrap();
    for _ in 0..2 {
        assert_eq!(count("made"), 149);
        settle();
    }
    // In place, so that its folder does not change.
    fs::write(
        flow.jobs[299].join("sweepfs_flow.json"),
        sidecar.replace("failed", "queued"),
    )
    .unwrap();
    assert_eq!(count("made"), 149);
    fs::write(flow.jobs[299].join("sweepfs_flow.json"), "{\"version\": 1}").unwrap();
    assert_eq!(count("made"), 150);
    fs::remove_dir_all(&flow.jobs[298]).unwrap();
    assert_eq!(count("made"), 149);
    let bytes = fs::read(&seen).unwrap();
    for at in [0, 9, 20, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        fs::write(&seen, &damaged[..bytes.len() - at % 7]).unwrap();
        assert_eq!(count("made"), 149, "{at}");
    }
}

#[test]
fn what_was_executed_can_be_forgotten() {
    let flow = Workflow::new(2, &operation("once", "echo x >> done", ""));
    flow.run(&[]).success();
    let elsewhere = r#"{"version": 1, "operations": {"once": {"state": "running", "attempt": 1, "host": "gone", "pid": 1, "process_start": "x:1"}}}"#;
    fs::write(flow.jobs[1].join("sweepfs_flow.json"), elsewhere).unwrap();
    assert!(flow.run(&[]).stderr.contains("nothing to do"));
    let forget = |args: &[&str]| {
        flow.env.run(
            &flow.root,
            &[&["workflow", "forget", "once"], args].concat(),
        )
    };
    assert!(forget(&["-f", "a=1"]).stderr.contains("forgot 1 of 1"));
    assert!(forget(&[]).stderr.contains("forgot 1 of 2"));
    assert!(flow.run(&[]).stderr.contains("2 executions: 2 completed"));
}

/// A result must not be known from before its record is.
#[test]
fn an_aggregate_is_executed_once_however_late_it_ends() {
    let config = [
        operation(
            "avg",
            "echo x >> ran; sleep 1; touch {{ job.dir }}/avg {{ jobs[1].dir }}/avg",
            "aggregate = { all = true, sort = \"a\" }\npost = 'file(\"avg\")'",
        ),
        operation(
            "slow",
            "true",
            "pre = 'file(\"avg\") or test(\"sleep 2; false\")'",
        ),
    ];
    let flow = Workflow::new(2, &config.concat());
    let mut first = flow.start(&["-o", "avg"]);
    wait_until("it runs", || flow.lines("ran").len() == 1);
    // `slow` is asked first, and sees no result.
    let second = flow.run(&["--order", "operation"]);
    assert!(first.wait().unwrap().success());
    second.success();
    assert_eq!(flow.lines("ran").len(), 1);
}

/// Names of files keep their meaning when the file of what was seen is read late.
#[test]
fn what_was_seen_of_few_is_not_mistaken_for_what_was_seen_of_all() {
    let config = [
        operation("few", "false", "where = \"a<100\"\npost = 'file(\"x\")'"),
        operation("all", "false", "post = 'file(\"y\")'"),
    ];
    let flow = Workflow::new(300, &config.concat());
    for job in 0..100 {
        fs::write(flow.jobs[job].join("x"), "").unwrap();
    }
    std::thread::sleep(Duration::from_millis(150));
    let count = |args: &[&str]| {
        let ran = flow.run(&[&["--dry-run"], args].concat());
        ran.success()
            .lines()
            .filter(|line| line.starts_with("# all"))
            .count()
    };
    for args in [&["-o", "all"][..], &[], &["-o", "all"], &[]] {
        assert_eq!(count(args), 300, "{args:?}");
    }
}

#[test]
fn hooks_are_ended_with_their_execution() {
    let hooks = "[operation.hooks]\non_start = \"echo x >> begun; sleep 60\"";
    let flow = Workflow::new(1, &operation("hooked", "true", hooks));
    let mut run = flow.start(&[]);
    wait_until("the hook", || flow.lines("begun").len() == 1);
    kill(run.id() as i32, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(130));
}

#[test]
fn what_is_too_long_for_linux_is_named() {
    let flow = Workflow::new(
        2,
        &operation("long", &format!("echo {}", "x".repeat(140_000)), ""),
    );
    let ran = flow.run(&[]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("Linux allows"), "{ran:?}");
    let text = r#"{"version": 1, "operations": {"long": {"state": "suspended", "x": 1}}}"#;
    fs::write(flow.jobs[0].join("sweepfs_flow.json"), text).unwrap();
    fs::write(
        flow.root.join("sweepfs.toml"),
        operation("long", "true", ""),
    )
    .unwrap();
    let ran = flow.run(&[]);
    assert!(ran.stderr.contains("not understood"), "{ran:?}");
    assert_eq!(
        fs::read_to_string(flow.jobs[0].join("sweepfs_flow.json")).unwrap(),
        text
    );
    let forgotten = flow.env.run(&flow.root, &["workflow", "forget", "long"]);
    assert!(forgotten.stderr.contains("forgot 2 of 2"), "{forgotten:?}");
    flow.run(&[]).success();
}

#[test]
fn who_insists_need_not_wait_for_conditions() {
    let flow = Workflow::new(
        1,
        &operation(
            "asked",
            "touch ran",
            "pre = 'test(\"touch ../../asked; sleep 5\")'",
        ),
    );
    let mut run = flow.start(&[]);
    wait_until("the question", || flow.root.join("asked").exists());
    for _ in 0..3 {
        kill(run.id() as i32, "INT");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(
        run.wait().unwrap().code(),
        None,
        "it is ended by the signal"
    );
    assert!(!flow.root.join("ran").exists());
}

#[test]
fn a_broken_template_is_in_nobodys_way_but_its_own() {
    let flow = Workflow::new(1, &operation("broken", "echo {{", ""));
    assert_eq!(flow.run(&[]).code, Some(1));
    let forget = flow.env.run(&flow.root, &["workflow", "forget", "broken"]);
    assert!(forget.stderr.contains("forgot 0 of 1"), "{forget:?}");
    flow.env.run(&flow.root, &["queue"]).success();
}
