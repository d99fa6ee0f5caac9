//! Submitting to a real Grid Engine, and to programs that answer like an odd one.

use crate::support::batch::{Nowhere, Project, operation, steps};
use crate::support::mounted::kill;
use crate::support::sge::Sge;
use crate::support::wait_until;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_workflow_goes_step_by_step() {
    let config = steps(
        "echo $SWEEPFS_THREADS $NSLOTS",
        "threads = 2, walltime = \"5m\", memory = \"4G\"",
    );
    let Some(project) = Project::<Sge>::with(4, &config) else {
        return;
    };
    project.go_step_by_step("sge", LIMIT);
    let ran = project.run(&["submit", "--yes"]);
    assert!(ran.stderr.contains("nothing to submit"), "{ran:?}");
    let two = fs::read_to_string(project.jobs[0].join("two")).unwrap();
    assert_eq!(two, "2 2\n");
    // What batch jobs print besides is in files that count from 0, as everywhere.
    let logs = project.root.join(".sweepfs/logs/batch");
    let of_fly = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("fly-");
    let dirs: Vec<_> = fs::read_dir(logs).unwrap().map(Result::unwrap).collect();
    let dir = dirs.iter().find(|entry| of_fly(entry)).unwrap().path();
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["0.log", "1.log", "2.log", "3.log"]);
}

#[test]
fn many_executions_go_as_one_array() {
    let config = operation("fly", "true", "");
    let Some(project) = Project::<Sge>::with(200, &config) else {
        return;
    };
    let ran = project.run(&["submit", "--yes"]);
    let message = "fly: 200 submitted, array 1\n";
    assert!(ran.stderr.contains(message), "{ran:?}");
    project.wait_for_queue(LIMIT);
    for job in 0..200 {
        assert_eq!(project.state(job, "fly"), "completed");
        let id = project.record(job, "fly")["batch_id"].clone();
        assert!(id.as_str().unwrap().starts_with("1."), "{id}");
        assert_eq!(project.n_begun(job), 1);
    }
}

#[test]
fn ends_are_told_apart() {
    let config = [
        operation("bad", "exit 3", "where = \"a=0\""),
        operation(
            "late",
            "exec sleep 300",
            "where = \"a=1\"\nresources = { walltime = \"2s\" }",
        ),
        operation("slow", "exec sleep 300", "where = \"a>1\""),
    ];
    let Some(project) = Project::<Sge>::with(8, &config.concat()) else {
        return;
    };
    let at_once = ["submit", "--yes", "--at-once", "3"];
    project.run(&at_once).success();
    let in_state = |state: &str| {
        let jobs = (2..8).filter(|job| project.state(*job, "slow") == state);
        jobs.collect::<Vec<_>>()
    };
    wait_until("three that run", || in_state("running").len() == 3);
    wait_until("a failure", || project.state(0, "bad") == "failed");
    assert_eq!(project.reason(0, "bad"), "exit 3");
    let id = |job: usize| {
        let record = project.record(job, "slow");
        record["batch_id"].as_str().unwrap().to_owned()
    };
    // One that waits; it is never begun.
    let waits = in_state("queued")[0];
    project.run(&["cancel", &id(waits)]).success();
    assert_eq!(project.reason(waits, "slow"), "cancelled");
    // One that runs; it is told. One more, behind our back.
    let runs = in_state("running");
    project.run(&["cancel", &id(runs[0])]).success();
    let sge = project.cluster.as_ref().unwrap();
    sge.command("qdel", &[&id(runs[1])]).success();
    for job in &runs[..2] {
        wait_until("its end", || project.state(*job, "slow") == "interrupted");
        assert_eq!(project.reason(*job, "slow"), "cancelled");
    }
    // One whose processes are killed, so that only the accounting knows.
    for process in ["runner_pid", "pid"] {
        let pid = project.record(runs[2], "slow")[process].as_i64().unwrap();
        kill(pid as i32, "KILL");
    }
    // Those that wait leave no trace.
    wait_until("the last two", || in_state("running").len() == 3);
    let array = id(waits).split('.').next().unwrap().to_owned();
    wait_until("the time limit", || project.state(1, "late") == "failed");
    assert_eq!(project.reason(1, "late"), "timeout: the walltime is over");
    sge.command("qdel", &[&array]).success();
    project.wait_for_queue(LIMIT);
    assert_eq!(in_state("interrupted"), [2, 3, 4, 5, 6, 7]);
    // The accounting may be late.
    let reasons = ["cancelled", "lost: the scheduler no longer has it"];
    assert!(reasons.contains(&project.reason(runs[2], "slow").as_str()));
    assert!((2..8).all(|job| project.n_begun(job) <= 1));
    assert_eq!(project.run(&["next", "slow"]).success().lines().count(), 6);
}

#[test]
fn what_is_held_or_waits_for_another_array_is_told_apart() {
    let both = [
        operation("first", "true", "where = \"a<3\""),
        operation("then", "true", "where = \"a<2\""),
    ];
    let Some(project) = Project::<Sge>::with(3, &both.concat()) else {
        return;
    };
    let held = ["submit", "--yes", "--hold", "-o", "first"];
    project.run(&held).success();
    let more = "[cluster.sge]\noptions = \"-hold_jid 1\"\n";
    fs::write(project.root.join("sweepfs.toml"), both.concat() + more).unwrap();
    project.run(&["submit", "--yes", "-o", "then"]).success();
    let n_in = |state: &str| {
        let queue = project.run(&["queue", "--state", state]);
        queue.success().lines().count()
    };
    assert_eq!((n_in("held"), n_in("queued")), (3, 2));
    let queue = project.run(&["queue", "-o", "then"]);
    let why = " until another array has ended";
    assert_eq!(queue.success().matches(why).count(), 2, "{queue:?}");
    project.run(&["hold", "2.1"]).success();
    wait_until("the hold", || (n_in("held"), n_in("queued")) == (4, 1));
    project.run(&["release", "1"]).success();
    // What it waited for is over, so that only one of them still waits.
    wait_until("the second array", || n_in("queued,running,ended") == 0);
    let queue = project.run(&["queue"]);
    assert!(queue.success().starts_with("2.1 "), "{queue:?}");
    assert_eq!(n_in("held"), 1);
    // What has ended can be named all the same.
    project.run(&["release", "2.1", "2.2", "1.1"]).success();
    project.wait_for_queue(LIMIT);
    assert!((0..3).all(|job| project.state(job, "first") == "completed"));
    assert!((0..2).all(|job| project.state(job, "then") == "completed"));
}

#[test]
fn a_chain_is_queued_at_once_and_pilots_share_the_work() {
    let config = [
        operation(
            "prepare",
            "touch {{ job.dir }}/one",
            "where = \"a<3\"\npost = 'file(\"one\")'",
        ),
        operation(
            "fly",
            "test -f {{ job.dir }}/one",
            "where = \"a<3\"\npre = 'after(\"prepare\")'",
        ),
        operation("small", "true", "where = \"a>=3\""),
    ];
    let Some(project) = Project::<Sge>::with(15, &config.concat()) else {
        return;
    };
    let chain = ["submit", "--yes", "--chain", "-o", "prepare", "-o", "fly"];
    let ran = project.run(&chain);
    for line in [
        "prepare: 3 submitted, array 1\n",
        "fly: 3 submitted, array 2\n",
    ] {
        assert!(ran.stderr.contains(line), "{line}: {ran:?}");
    }
    let pilots = [
        "submit",
        "--yes",
        "--pilot",
        "2",
        "--walltime",
        "5m",
        "-o",
        "small",
    ];
    let ran = project.run(&pilots);
    assert!(
        ran.stderr.contains("pilot: 2 submitted, array 3\n"),
        "{ran:?}"
    );
    project.wait_for_queue(LIMIT);
    assert!((0..3).all(|job| project.state(job, "fly") == "completed"));
    assert!((0..3).all(|job| project.n_begun(job) == 2));
    for job in 3..15 {
        assert_eq!(project.state(job, "small"), "completed");
        assert_eq!(project.n_begun(job), 1);
        let id = project.record(job, "small")["batch_id"].clone();
        assert!(["3.1", "3.2"].contains(&id.as_str().unwrap()), "{id}");
    }
}

#[test]
fn a_submitter_that_is_killed_loses_and_doubles_nothing() {
    let config = operation("fly", "true", "");
    let Some(mut project) = Project::<Sge>::with(0, &config) else {
        return;
    };
    // Slow before and after what it does, and not killed with its parent.
    let qsub = "sleep 0.01; id=$(PATH=${PATH#*:} qsub \"$@\"); sleep 0.01; echo \"$id\"";
    project.fake("qsub", qsub);
    let mut n_unfinished = 0;
    for round in 0..10_u64 {
        project.add_jobs(3);
        let mut command = project.command(&["submit", "--yes"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut submitter = command.spawn().unwrap();
        wait_until("a note of the submission", || {
            !project.unrecorded().is_empty()
        });
        std::thread::sleep(Duration::from_millis(round * 7 % 20 * 2));
        kill(submitter.id() as i32, "KILL");
        submitter.wait().unwrap();
        n_unfinished += usize::from(!project.unrecorded().is_empty());
        project.run(&["status"]).success();
        assert_eq!(project.unrecorded(), Vec::<PathBuf>::new());
    }
    assert!(n_unfinished > 3, "{n_unfinished}");
    loop {
        project.wait_for_queue(LIMIT);
        let ran = project.run(&["submit", "--yes"]);
        if ran.stderr.contains("nothing to submit") {
            break;
        }
    }
    let n_begun: Vec<_> = (0..30).map(|job| project.n_begun(job)).collect();
    assert_eq!(n_begun, [1; 30]);
    assert!((0..30).all(|job| project.state(job, "fly") == "completed"));
    assert!((0..30).all(|job| project.record(job, "fly")["batch_id"].is_string()));
}

/// A project for programs that answer as they should not; `qstat` shows the lines of a file `queue`, and
/// `qacct` those of a file `accounting`.
fn odd(n_jobs: u32) -> Project {
    let project = Project::<Nowhere>::new(n_jobs, &operation("fly", "true", ""));
    project.fake("qsub", "echo '>> 12.5 hours are left'; echo 7.1-2:1; echo");
    let qstat = r#"if [[ $1 == -j ]]; then printf 'Following jobs do not exist: \n%s\n' "$2" >&2; exit 1; fi
        case "$*" in
            '-xml -q * -u $user -s prsz -g d' | '-xml -q * -u * -s prs' | '-xml -q * -u $user -s z') ;;
            *) exit 9 ;;
        esac
        echo "<?xml version='1.0'?><job_info><queue_info></queue_info><job_info>"
        sed "s/NAME/$(sed -n 's/.*-N //p' .sweepfs/batches/*.sh)/" queue 2>/dev/null
        echo '</job_info></job_info>'"#;
    project.fake("qstat", qstat);
    let qacct = r#"[[ "$*" == "-j 7" ]] || exit 9
        [[ -f accounting ]] || { echo "error: job id 7 not found" >&2; exit 1; }
        sed "s/NAME/$(sed -n 's/.*-N //p' .sweepfs/batches/*.sh)/" accounting"#;
    project.fake("qacct", qacct);
    project.fake("qconf", "exit 1");
    project
}

const SUBMIT: [&str; 4] = ["submit", "--yes", "--cluster", "sge"];

#[test]
fn a_scheduler_that_does_not_answer_changes_nothing() {
    let project = odd(2);
    let no_answer =
        "echo 'error: commlib error: got select error (Connection refused)' >&2; exit 1";
    let run = |args: &[&str]| project.run(args);
    fs::write(project.root.join("queue"), "").unwrap();
    let ran = run(&SUBMIT);
    let message = "fly: 2 submitted, array 7\n";
    assert!(ran.stderr.contains(message), "{ran:?}");
    for answer in [no_answer, "echo '<job_info><queue_info>'"] {
        project.fake("qstat", answer);
        let status = run(&["status"]);
        status.success();
        let warned = status
            .stderr
            .matches("the scheduler does not say all")
            .count();
        assert_eq!(warned, 1, "{status:?}");
        assert!((0..2).all(|job| project.state(job, "fly") == "queued"));
    }
    let ran = run(&["cancel", "--all"]);
    assert!(
        ran.code == Some(1) || ran.stderr.contains("qdel"),
        "{ran:?}"
    );
}

#[test]
fn what_left_the_queue_is_given_back_only_when_the_accounting_had_time() {
    let project = odd(2);
    project.run(&SUBMIT).success();
    let queue = || {
        let mut command = project.command(&["queue"]);
        command.env("SWEEPFS_POLL_SECONDS", "1");
        let ran = crate::support::env::Ran::of(command);
        ran.success().lines().count()
    };
    assert_eq!(queue(), 2);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(queue(), 2);
    assert!((0..2).all(|job| project.state(job, "fly") == "queued"));
    // Now it has one of them, of whose death nothing else is known.
    let record = "==\njobname NAME\njobnumber 7\ntaskid 2\nfailed 26  : opening input/output file\nexit_status 0\n";
    fs::write(project.root.join("accounting"), record).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(queue(), 1);
    let of = |id: &str| {
        let is_it = |job: &usize| project.record(*job, "fly")["batch_id"] == id;
        (0..2).find(is_it).unwrap()
    };
    let reason = "its batch job could not begin it: failed 26: opening input/output file";
    assert_eq!(project.reason(of("7.2"), "fly"), reason);
    assert_eq!(project.state(of("7.1"), "fly"), "queued");
    // Who asks without a pause knows that the accounting is up to date.
    project.run(&["status"]).success();
    let reason = "lost: the scheduler no longer has it";
    assert_eq!(project.reason(of("7.1"), "fly"), reason);
}

#[test]
fn what_another_user_has_submitted_is_there() {
    let project = odd(1);
    project.run(&SUBMIT).success();
    let line = "<job_list state=\"pending\"><JB_job_number>7</JB_job_number><JB_name>NAME</JB_name>\
                <state>qw</state><tasks>1</tasks></job_list>\n";
    fs::write(project.root.join("queue"), line).unwrap();
    let qstat = fs::read_to_string(project.bin.join("qstat")).unwrap();
    let others = qstat.replace("queue 2>", "$([[ $5 == '*' ]] && echo queue) 2>");
    project.fake("qstat", others.trim_start_matches("#!/bin/bash\n"));
    let queue = project.run(&["queue"]);
    assert!(queue.success().contains(" queued "), "{queue:?}");
    assert_eq!(project.record(0, "fly")["state"], Value::from("queued"));
}

#[test]
fn what_is_asked_for_stands_in_the_script() {
    let needs = "resources = { processes = 4, threads = 2, gpus = 1, memory = \"2G\", walltime = \"{{ sp.a + 1 }}h\" }";
    let more = "[cluster.hydra]\nscheduler = \"sge\"\nparallel_environment = \"openmp\"\n";
    let project = Project::<Nowhere>::new(2, &(operation("fly", "true", needs) + more));
    project.fake("qconf", "exit 1");
    let args = [
        "submit",
        "--dry-run",
        "--cluster",
        "hydra",
        "--partition",
        "long.q",
        "--account",
        "lab",
        "--at-once",
        "3",
    ];
    let ran = project.run(&args);
    let script = ran.success();
    for line in [
        "-tc 3",
        "-pe openmp 8",
        "-l gpu=1",
        "-l h_vmem=256M",
        "-l h_rt=1:00:00",
        "-l h_rt=2:00:00",
        "-P lab",
        "-q long.q",
    ] {
        assert!(
            script.contains(&format!("\n#$ {line}\n")),
            "{line}: {script}"
        );
    }
    assert!(script.contains("/a b'\\''c' batch fly-"), "{script}");
    let command = "# qsub -terse -b n -sync n -wd / -j y -o /dev/null '/";
    assert!(script.starts_with(command), "{script}");
}
