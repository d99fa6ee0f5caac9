//! The queue of this machine.

use crate::support::batch::{Cluster, Project, operation, steps};
use crate::support::env::{Env, Ran};
use crate::support::local::{LocalQueue, kill, session_members};
use crate::support::mounted;
use crate::support::wait_until;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use sweepfs::scheduler::{Array, Scheduler, Seen, Verdict};

const LIMIT: Duration = Duration::from_secs(120);

const SUBMIT: [&str; 4] = ["submit", "--yes", "--cluster", "local"];

fn project(n_jobs: u32, config: &str) -> Project<LocalQueue> {
    Project::with(n_jobs, config).expect("it is always here")
}

fn queue() -> (Env, LocalQueue) {
    let env = Env::new();
    let queue = LocalQueue::up(&env).unwrap();
    (env, queue)
}

fn ended(verdict: Verdict, words: &str) -> Seen {
    Seen::Ended(verdict, words.to_owned())
}

fn cancelled() -> Seen {
    ended(Verdict::Cancelled, "cancelled")
}

fn completed() -> Seen {
    ended(Verdict::Completed, "exit 0")
}

fn waits(why: &str) -> Seen {
    Seen::Queued(why.to_owned())
}

#[track_caller]
fn wait_for_all(queue: &LocalQueue, array: &Array) -> Vec<Seen> {
    let mut seen = Vec::new();
    wait_until("the end of all", || {
        seen = queue.seen(array);
        seen.iter().all(|seen| matches!(seen, Seen::Ended(..)))
    });
    seen
}

/// The number of an array.
fn number(array: &Array) -> &str {
    array.id.id.split('.').next().unwrap()
}

/// How many ran at most at a time, of those that noted `+` and `-`.
fn at_most(notes: &str) -> i32 {
    let (mut now, mut most) = (0, 0);
    for note in notes.lines() {
        now += if note == "+" { 1 } else { -1 };
        most = most.max(now);
    }
    assert_eq!(now, 0, "{notes}");
    most
}

#[test]
fn a_workflow_goes_step_by_step() {
    let bad = operation(
        "bad",
        "echo no; exit 3",
        "where = \"a=0\"\npre = 'after(\"fly\")'",
    );
    let steps = steps(
        "env | grep SWEEPFS_THREADS",
        "threads = 1, walltime = \"5m\", memory = \"10M\"",
    );
    let project = project(3, &(steps + &bad));
    project.go_step_by_step("local", LIMIT);
    let two = fs::read_to_string(project.jobs[0].join("two")).unwrap();
    assert_eq!(two, "SWEEPFS_THREADS=1\n");
    assert_eq!(project.state(0, "bad"), "failed");
    assert_eq!(project.reason(0, "bad"), "exit 3");
    let left = fs::read_dir(project.root.join(".sweepfs/batches")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".answers"]);
}

#[test]
fn chains_and_pilots_go_to_the_queue_and_wait_for_their_release() {
    let chain = [
        operation(
            "prepare",
            "touch {{ job.dir }}/one",
            "post = 'file(\"one\")'",
        ),
        operation("fly", "true", "pre = 'after(\"prepare\")'"),
    ];
    let project = project(4, &chain.concat());
    let host = project.cluster.as_ref().unwrap().dir();
    let host = host.file_name().unwrap().to_str().unwrap();
    let ran = project.run(&[&SUBMIT[..], &["--chain", "--hold"]].concat());
    assert!(
        ran.stderr.contains(&format!(
            "prepare: 4 submitted, array 1.{host}\nfly: 4 submitted, array 2.{host}\n"
        )),
        "{ran:?}"
    );
    let queue = |word: &str| project.run(&["queue"]).success().matches(word).count();
    assert_eq!(queue(" held "), 8);
    project.run(&["release", "-o", "fly"]).success();
    assert_eq!(queue("waits for array 1"), 4);
    project.run(&["hold", &format!("2_0.{host}")]).success();
    // The number alone is no id.
    let ran = project.run(&["cancel", "2"]);
    assert!(
        ran.stderr
            .contains("nothing of this project waits or runs as `2`"),
        "{ran:?}"
    );
    assert_eq!((queue(" held "), queue("waits for array 1")), (5, 3));
    project.run(&["release", "--all"]).success();
    project.wait_for_queue(LIMIT);
    assert!((0..4).all(|job| project.state(job, "fly") == "completed"));
    assert!((0..4).all(|job| project.n_begun(job) == 2));
    project.run(&["workflow", "forget", "fly"]).success();
    let ran = project.run(&[&SUBMIT[..], &["--pilot", "2"]].concat());
    assert!(
        ran.stderr
            .contains(&format!("pilot: 2 submitted, array 3.{host}\n")),
        "{ran:?}"
    );
    project.wait_for_queue(LIMIT);
    assert!((0..4).all(|job| project.n_begun(job) == 3));
}

#[test]
fn what_a_batch_job_printed_that_could_not_begin_is_found() {
    let fly = operation(
        "fly",
        "echo one > {{ job.dir }}/one",
        "post = 'file(\"one\")'",
    );
    let config = "[cluster.local]\nsetup = \"echo no such module; exit 7\"\n";
    let project = project(1, &(fly + config));
    let fails = || {
        project.run(&SUBMIT).success();
        project.wait_for_queue(LIMIT);
        assert_eq!(project.state(0, "fly"), "failed");
    };
    let id = project.jobs[0].file_name().unwrap().to_str().unwrap();
    fails();
    let log = project.run(&["log", "fly", id]).failure(1).to_owned();
    assert!(log.contains("was not begun"), "{log}");
    let explained = project.run(&["explain", "fly", id]);
    let line = explained
        .success()
        .lines()
        .find(|line| line.contains("  log "));
    let logs = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    assert!(log.contains(&format!("is in `{logs}`")), "{log}");
    assert!(explained.stderr.contains(logs), "{explained:?}");
    let printed = fs::read_to_string(project.root.join(logs).join("0.log")).unwrap();
    assert_eq!(printed, "no such module\n");
    // The log of an earlier one is not taken for that of the last.
    project.run(&["run", "--retry"]).success();
    fs::remove_file(project.jobs[0].join("one")).unwrap();
    fails();
    let log = project.run(&["log", "fly", id]);
    assert!(log.success().contains("attempt 2"), "{log:?}");
    assert!(log.stderr.contains("attempt 3 was not begun"), "{log:?}");
}

#[test]
fn what_the_queue_says_is_current() {
    let project = project(1, &operation("fly", "sleep 0.5", ""));
    let queue = || {
        let mut command = project.command(&["queue"]);
        command.env("SWEEPFS_POLL_SECONDS", "1000");
        Ran::of(command).success().to_owned()
    };
    project.run(&[&SUBMIT[..], &["--hold"]].concat()).success();
    assert!(queue().contains(" held "));
    project.run(&["release", "--all"]).success();
    wait_until("the end", || queue().is_empty());
}

#[test]
fn what_is_asked_for_stands_in_the_script() {
    let needs =
        "resources = { processes = 2, threads = 1, gpus = 1, memory = \"2G\", walltime = \"90m\" }";
    let project = project(2, &operation("fly", "true", needs));
    let args = [
        "submit",
        "--dry-run",
        "--cluster",
        "local",
        "--at-once",
        "3",
    ];
    let ran = project.run(&args);
    let script = ran.success();
    let lines = "#SWEEPFS --elements=2\n#SWEEPFS --at-once=3\n#SWEEPFS --cores=2\n#SWEEPFS --memory=2147483648\n\
        #SWEEPFS --gpus=1\n#SWEEPFS --time=5400\n\n";
    assert!(script.contains(lines), "{script}");
    assert!(script.starts_with("# "), "{script}");
    assert!(script.contains(" local-queue submit '--chdir="), "{script}");
    assert!(!project.cluster.as_ref().unwrap().dir().exists());
}

#[test]
fn what_is_larger_than_the_machine_is_refused() {
    let needs = "resources = { processes = 1000, threads = 1000 }";
    let project = project(2, &operation("fly", "true", needs));
    let ran = project.run(&SUBMIT);
    let said = ran.failure(1);
    assert!(said.contains("fly: nothing was submitted: "), "{said}");
    assert!(
        said.contains("a batch job needs 1000000 cores, and on this machine may use "),
        "{said}"
    );
    assert_eq!(project.run(&["next", "fly"]).success().lines().count(), 2);
    let queue = project.cluster.as_ref().unwrap();
    for (line, reason) in [
        (
            "--memory=3M",
            "needs 3 MiB of memory, and on this machine may use 2 MiB of memory",
        ),
        (
            "--gpus=2",
            "needs 2 GPUs, and on this machine may use 1 GPUs",
        ),
        ("--after=7", "there is no array 7 to wait for"),
        (
            "--partition=x",
            "line 2 of the script: `--partition=x` is not understood",
        ),
    ] {
        let script = format!("#!/bin/bash\n#SWEEPFS {line}\n");
        let limits = ["--limit-memory=2097152", "--limit-gpus=1"];
        let ran = queue.submit(&project.env, &script, &limits).unwrap_err();
        assert!(ran.failure(1).contains(reason), "{ran:?}");
    }
}

#[test]
fn the_limits_are_kept() {
    let (env, queue) = queue();
    let script = |needs: &str| {
        format!(
            "#SWEEPFS --elements=8\n#SWEEPFS {needs}\nexec >> notes; echo +; sleep 0.1; echo -\n"
        )
    };
    for (needs, limit, most) in [
        ("--cores=2", "--limit-cores=7", 3),
        ("--memory=30M", "--limit-memory=100000000", 3),
        ("--gpus=1", "--limit-gpus=2", 2),
        ("--at-once=3", "--limit-cores=100", 3),
    ] {
        let limits = [
            "--limit-cores=100",
            "--limit-memory=1000000000",
            "--limit-gpus=9",
        ];
        let kind = limit.split('=').next().unwrap();
        let mut args: Vec<_> = limits
            .into_iter()
            .filter(|l| !l.starts_with(kind))
            .collect();
        args.push(limit);
        let array = queue.submit(&env, &script(needs), &args).unwrap();
        assert_eq!(wait_for_all(&queue, &array), vec![completed(); 8]);
        let notes = env.path().join("notes");
        assert_eq!(
            at_most(&fs::read_to_string(&notes).unwrap()),
            most,
            "{needs}"
        );
        fs::remove_file(notes).unwrap();
    }
}

#[test]
fn the_first_comes_first_and_says_why_it_waits() {
    let (env, queue) = queue();
    let submit = |script: &str| queue.submit(&env, script, &["--limit-cores=4"]).unwrap();
    let gate = "while [ ! -e go ]; do sleep 0.02; done";
    let first = submit(&format!("#SWEEPFS --cores=3\n{gate}\n"));
    wait_until("its begin", || queue.seen(&first) == [Seen::Active(None)]);
    let second = submit(&format!("#SWEEPFS --cores=3\n{gate}\n"));
    let third = submit(&format!("#SWEEPFS --elements=2\n{gate}\n"));
    let id = &second.id.id;
    let fourth = submit(&format!(
        "#SWEEPFS --after={id},{}\necho $SWEEPFS_ARRAY_ID >> order\n",
        first.id.id
    ));
    // One fits beside the first, and beside the second, too.
    let expected = [Seen::Active(None), waits("waits for cores")];
    wait_until("one that passes", || queue.seen(&third) == expected);
    assert_eq!(queue.seen(&second), [waits("waits for cores")]);
    assert_eq!(
        queue.seen(&fourth),
        [waits(&format!("waits for array {}", number(&second)))]
    );
    fs::write(env.path().join("go"), "").unwrap();
    for array in [&first, &second, &fourth] {
        assert_eq!(wait_for_all(&queue, array), [completed()]);
    }
    assert_eq!(wait_for_all(&queue, &third), [completed(), completed()]);
    let order = fs::read_to_string(env.path().join("order")).unwrap();
    assert_eq!(order, format!("{}\n", fourth.id.id));
    wait_until("the end of the worker", || {
        queue.processes("work").is_empty()
    });
    assert_eq!(queue.seen(&fourth), [completed()]);
}

#[test]
fn what_waits_is_held_released_and_cancelled() {
    let (env, queue) = queue();
    let script = "#SWEEPFS --name=held-1\n#SWEEPFS --elements=4\n#SWEEPFS --hold\necho $SWEEPFS_ARRAY_INDEX >> begun\n";
    let array = queue.submit(&env, script, &[]).unwrap();
    let ids: Vec<_> = array.element_ids().collect();
    let scheduler = queue.scheduler();
    assert_eq!(scheduler.find("held-1").unwrap(), Some(array.id.id.clone()));
    assert_eq!(scheduler.find("held").unwrap(), None);
    assert_eq!(queue.seen(&array), vec![Seen::Held; 4]);
    // Nobody works for what is held.
    wait_until("the end of the worker", || {
        queue.processes("work").is_empty()
    });
    scheduler.release(&ids[2..3]).unwrap();
    wait_until("one that ran", || queue.seen(&array)[2] == completed());
    scheduler.hold(&ids).unwrap();
    scheduler.cancel(&ids[..2]).unwrap();
    scheduler.release(&ids[..2]).unwrap();
    assert_eq!(
        queue.seen(&array),
        [cancelled(), cancelled(), completed(), Seen::Held]
    );
    scheduler.release(&ids).unwrap();
    wait_for_all(&queue, &array);
    assert_eq!(
        fs::read_to_string(env.path().join("begun")).unwrap(),
        "2\n3\n"
    );
    assert_eq!(scheduler.find("held-1").unwrap(), Some(array.id.id.clone()));
    // What has ended is no error, nor what never was.
    scheduler.cancel(&ids).unwrap();
    scheduler
        .cancel(&[ids[0].replacen(|c: char| c.is_ascii_digit(), "99", 1)])
        .unwrap();
    scheduler.cancel(&["x".to_owned()]).unwrap_err();
    // The queue of another machine is left alone, and so is what is in it.
    let elsewhere = Array {
        id: scheduler.array_id("1.elsewhere"),
        ..array.clone()
    };
    let ids: Vec<_> = elsewhere.element_ids().collect();
    let refused = scheduler.cancel(&ids).unwrap_err().to_string();
    assert!(
        refused.contains("is in the queue of elsewhere"),
        "{refused}"
    );
    let (states, trouble) = scheduler.poll(std::slice::from_ref(&elsewhere));
    assert_eq!(states.len(), 0);
    assert!(
        trouble
            .unwrap()
            .to_string()
            .contains("the queue of elsewhere would be in")
    );
    std::os::unix::fs::symlink(queue.dir(), queue.dir().with_file_name("elsewhere")).unwrap();
    assert_eq!(queue.seen(&elsewhere), queue.seen(&array));
    let other = Array {
        name: "held-2".to_owned(),
        ..array
    };
    assert_eq!(queue.seen(&other), vec![Seen::Gone; 4]);
}

#[test]
fn what_runs_is_ended() {
    let (env, queue) = queue();
    // One that ends when it is told to, one that does not, with a child in a group of its own.
    let script = |line: &str| {
        format!(
            "#SWEEPFS {line}\n#SWEEPFS --elements=2\n#SWEEPFS --grace=1\nset -m\nsleep 300 &\n\
             [ $SWEEPFS_ARRAY_INDEX = 0 ] || trap '' TERM\ntouch $SWEEPFS_ARRAY_ID-$SWEEPFS_ARRAY_INDEX\n\
             while :; do sleep 0.05; done\n"
        )
    };
    let args = ["--limit-cores=4"];
    let slow = queue.submit(&env, &script("--time=1"), &args).unwrap();
    let array = queue.submit(&env, &script("--cores=1"), &args).unwrap();
    let has_begun = |i: u32| env.path().join(format!("{}-{i}", array.id.id)).exists();
    wait_until("their begin", || has_begun(0) && has_begun(1));
    let shepherds = queue.processes("shepherd");
    let members: Vec<_> = shepherds.iter().flat_map(|s| session_members(*s)).collect();
    assert!(members.len() >= 3 * shepherds.len(), "{members:?}");
    let ids: Vec<_> = array.element_ids().collect();
    queue.scheduler().cancel(&ids).unwrap();
    let seen = queue.seen(&array)[1].clone();
    assert!(
        [Seen::Active(Some(Verdict::Cancelled)), cancelled()].contains(&seen),
        "{seen:?}"
    );
    assert_eq!(wait_for_all(&queue, &array), vec![cancelled(); 2]);
    let timed_out = ended(Verdict::TimedOut, "timed out");
    assert_eq!(wait_for_all(&queue, &slow), vec![timed_out; 2]);
    let is_there = |pid: &i32| PathBuf::from(format!("/proc/{pid}")).exists();
    wait_until("the end of all processes", || !members.iter().any(is_there));
}

#[test]
fn a_walltime_that_is_over_is_a_failure() {
    let config = [
        operation(
            "slow",
            "exec sleep 300",
            "where = \"a=0\"\nresources = { walltime = \"1s\" }",
        ),
        operation("lasting", "exec sleep 300", "where = \"a=1\""),
    ];
    let project = project(2, &config.concat());
    project.run(&SUBMIT).success();
    wait_until("its begin", || project.state(1, "lasting") == "running");
    wait_until("its end", || project.state(0, "slow") == "failed");
    assert_eq!(project.reason(0, "slow"), "timeout: the walltime is over");
    project.run(&["cancel", "--all"]).success();
    wait_until("its end", || project.state(1, "lasting") == "interrupted");
    assert_eq!(project.reason(1, "lasting"), "cancelled");
    project.wait_for_queue(LIMIT);
}

#[test]
fn the_environment_and_the_output_are_those_of_the_submitter() {
    let (env, queue) = queue();
    let script = "#SWEEPFS --elements=2\n#SWEEPFS --gpus=1\nprintf '%s\\n' \"$ODD\" \"$PWD\" \"$CUDA_VISIBLE_DEVICES\"\n\
        umask; env | grep -c -e LC_ALL=C.UTF-8; readlink /proc/self/fd/0\ntouch made-$SWEEPFS_ARRAY_INDEX\n";
    fs::create_dir(env.path().join("a b%'")).unwrap();
    fs::write(env.path().join("own.sh"), script).unwrap();
    let args = [
        "local-queue",
        "submit",
        "--limit-gpus=4",
        "--chdir=a b%'",
        "--output=a b%%'/out-%a",
        "own.sh",
    ];
    let mut command = env.command(&env.path(), &args);
    command.envs(queue.vars()).env("ODD", "a=b\n'\"$HOME\u{1b}");
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let array = Array {
        id: queue.scheduler().array_id(said.trim()),
        name: "batch".to_owned(),
        elements: vec![0, 1],
    };
    assert_eq!(wait_for_all(&queue, &array), vec![completed(); 2]);
    let dir = env.path().join("a b%'");
    let mut gpus = Vec::new();
    for element in 0..2 {
        let said = fs::read_to_string(dir.join(format!("out-{element}"))).unwrap();
        let said: Vec<_> = said.lines().collect();
        assert_eq!(&said[..2], ["a=b", "'\"$HOME\u{1b}"], "{said:?}");
        assert_eq!(said[2], dir.to_str().unwrap());
        gpus.push(said[3].to_owned());
        assert_eq!(&said[5..], ["1", "/dev/null"], "{said:?}");
        assert!(dir.join(format!("made-{element}")).exists());
    }
    assert!(
        gpus.iter().all(|gpu| ["0", "1"].contains(&gpu.as_str())),
        "{gpus:?}"
    );
    use std::os::unix::fs::PermissionsExt;
    let done = queue.dir().join("done/1.batch");
    wait_until("its place among those that have ended", || done.exists());
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(queue.dir()), mode(done.join("env"))), (0o700, 0o600));
    // Where nothing can be printed to, nothing is run.
    let array = queue
        .submit(&env, "touch never\n", &["--output=gone/%a"])
        .unwrap();
    let seen = wait_for_all(&queue, &array);
    assert!(
        matches!(&seen[0], Seen::Ended(Verdict::Failed, words) if words.contains("cannot open `")),
        "{seen:?}"
    );
    assert!(!env.path().join("never").exists());
}

#[test]
fn a_worker_that_is_killed_loses_and_doubles_nothing() {
    let (env, queue) = queue();
    let script = "#SWEEPFS --elements=150\necho + $SWEEPFS_ARRAY_INDEX >> notes; sleep 0.05; echo - >> notes\n";
    let args = ["--limit-cores=4"];
    let array = queue.submit(&env, script, &args).unwrap();
    let mut n_killed = 0;
    for round in 0..40_u64 {
        std::thread::sleep(Duration::from_millis(round * 37 % 60));
        for worker in queue.processes("work") {
            kill(worker);
            n_killed += 1;
        }
        // This starts another one.
        queue.seen(&array);
    }
    assert!(n_killed >= 20, "{n_killed}");
    assert_eq!(wait_for_all(&queue, &array), vec![completed(); 150]);
    let notes = fs::read_to_string(env.path().join("notes")).unwrap();
    let mut begun: Vec<u32> = notes
        .lines()
        .filter_map(|l| l.strip_prefix("+ ")?.parse().ok())
        .collect();
    begun.sort_unstable();
    assert_eq!(begun, (0..150).collect::<Vec<_>>());
    let signs: String = notes
        .lines()
        .map(|line| format!("{}\n", &line[..1]))
        .collect();
    assert!(at_most(&signs) <= 4, "{notes}");
}

#[test]
fn what_nobody_watches_over_is_ended() {
    let (env, queue) = queue();
    let script = "sleep 300 & touch begun; wait\n";
    let array = queue.submit(&env, script, &[]).unwrap();
    wait_until("its begin", || env.path().join("begun").exists());
    let shepherd = queue.processes("shepherd")[0];
    let members = session_members(shepherd);
    for pid in queue.processes("work") {
        kill(pid);
    }
    kill(shepherd);
    let words = "what watched over it was killed";
    assert_eq!(
        wait_for_all(&queue, &array),
        [ended(Verdict::NodeFailed, words)]
    );
    let is_there = |pid: &i32| PathBuf::from(format!("/proc/{pid}")).exists();
    wait_until("the end of all processes", || !members.iter().any(is_there));
    // One that a signal from outside ends, as when the machine is shut down.
    fs::remove_file(env.path().join("begun")).unwrap();
    let array = queue.submit(&env, script, &[]).unwrap();
    wait_until("its begin", || env.path().join("begun").exists());
    mounted::kill(queue.processes("shepherd")[0], "TERM");
    let words = "ended by a signal from outside";
    assert_eq!(
        wait_for_all(&queue, &array),
        [ended(Verdict::NodeFailed, words)]
    );
}

#[test]
fn what_ran_when_the_machine_was_restarted_has_ended() {
    let (env, queue) = queue();
    let script = "#SWEEPFS --elements=3\n#SWEEPFS --hold\necho $SWEEPFS_ARRAY_INDEX >> begun\n";
    let array = queue.submit(&env, script, &[]).unwrap();
    wait_until("the end of the worker", || {
        queue.processes("work").is_empty()
    });
    let journal = queue
        .dir()
        .join("live")
        .join(format!("{}.batch", number(&array)))
        .join("journal");
    let begun = |element: u32| {
        format!(
            "{{\"begun\":{{\"element\":{element},\"pid\":1,\"start\":\"another-boot:77\",\"gpus\":[]}}}}\n"
        )
    };
    let text = format!(
        "{{\"release\":[[0,2]]}}\n{}{{\"runs\":0}}\n{}",
        begun(0),
        begun(1)
    );
    fs::write(journal, text).unwrap();
    assert_eq!(
        queue.seen(&array)[..2],
        [Seen::Active(None), Seen::Active(None)]
    );
    let lost = ended(Verdict::NodeFailed, "the machine was restarted");
    assert_eq!(
        wait_for_all(&queue, &array),
        [lost, completed(), completed()]
    );
    let begun = fs::read_to_string(env.path().join("begun")).unwrap();
    assert_eq!(
        begun.lines().collect::<std::collections::BTreeSet<_>>(),
        ["1", "2"].into()
    );
}

#[test]
fn a_submitter_that_is_killed_loses_and_doubles_nothing() {
    let mut project = project(0, &operation("fly", "true", ""));
    let mut n_unfinished = 0;
    for round in 0..20_u64 {
        project.add_jobs(2);
        let mut command = project.command(&SUBMIT);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut submitter = command.spawn().unwrap();
        if round % 4 > 0 {
            wait_until("a note of the submission", || {
                !project.unrecorded().is_empty()
            });
        }
        std::thread::sleep(Duration::from_millis(round * 7 % 20 * 2));
        kill(submitter.id() as i32);
        submitter.wait().unwrap();
        n_unfinished += usize::from(!project.unrecorded().is_empty());
        project.run(&["status"]).success();
        assert_eq!(project.unrecorded(), Vec::<PathBuf>::new());
    }
    assert!(n_unfinished > 3, "{n_unfinished}");
    loop {
        project.wait_for_queue(LIMIT);
        if project.run(&SUBMIT).stderr.contains("nothing to submit") {
            break;
        }
    }
    let n_begun: Vec<_> = (0..40).map(|job| project.n_begun(job)).collect();
    assert_eq!(n_begun, [1; 40]);
    assert!((0..40).all(|job| project.state(job, "fly") == "completed"));
}

#[test]
fn what_was_submitted_in_part_was_not_submitted() {
    let (env, queue) = queue();
    let mut n_found = 0;
    for round in 0..20_u64 {
        let script = format!("#SWEEPFS --name=kill-{round}\necho {round} >> begun\n");
        fs::write(env.path().join("own.sh"), script).unwrap();
        let mut command = env.command(&env.path(), &["local-queue", "submit", "own.sh"]);
        command.envs(queue.vars()).stdout(Stdio::null());
        let mut submitter = command.spawn().unwrap();
        // At any moment, but mostly while it writes.
        let new = queue.dir().join(format!("live/.new-{}", n_found + 1));
        for _ in 0..(round % 3) * 10_000 {
            if new.exists() {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(round));
        kill(submitter.id() as i32);
        submitter.wait().unwrap();
        let name = format!("kill-{round}");
        n_found += u64::from(queue.scheduler().find(&name).unwrap().is_some());
    }
    let script = "#SWEEPFS --name=last\ntrue\n";
    let array = queue.submit(&env, script, &[]).unwrap();
    wait_for_all(&queue, &array);
    wait_until("the end of the worker", || {
        queue.processes("work").is_empty()
    });
    let n_in = |name: &str| fs::read_dir(queue.dir().join(name)).unwrap().count() as u64;
    assert_eq!((n_in("live"), n_in("done")), (0, n_found + 1));
    let begun = fs::read_to_string(env.path().join("begun")).unwrap_or_default();
    let begun: Vec<_> = begun.lines().collect();
    let different: std::collections::BTreeSet<_> = begun.iter().collect();
    assert_eq!(
        (begun.len() as u64, different.len() as u64),
        (n_found, n_found)
    );
}

#[test]
fn the_end_of_a_session_does_not_matter() {
    let (env, queue) = queue();
    let array = queue.submit(&env, "touch begun; sleep 0.5\n", &[]).unwrap();
    wait_until("its begin", || env.path().join("begun").exists());
    let (worker, shepherd) = (queue.processes("work"), queue.processes("shepherd"));
    for pid in worker.iter().chain(&shepherd) {
        assert!(session_members(*pid).contains(pid), "it leads a session");
        mounted::kill(*pid, "HUP");
    }
    assert_eq!(wait_for_all(&queue, &array), [completed()]);
}

#[test]
fn several_projects_share_the_queue() {
    let config = operation("fly", "sleep 0.1", "");
    let project = project(6, &config);
    let other = project.env.project("other");
    fs::write(other.join("sweepfs.toml"), &config).unwrap();
    project
        .env
        .run(&other, &["create", "-q", "b=0:5:1"])
        .success();
    let in_other = |args: &[&str]| {
        let mut command = project.env.command(&other, args);
        command.envs(project.cluster.as_ref().unwrap().vars());
        command.env("SWEEPFS_POLL_SECONDS", "0");
        crate::support::env::Ran::of(command)
    };
    in_other(&SUBMIT).success();
    project.run(&SUBMIT).success();
    assert!(
        project
            .run(&["queue"])
            .success()
            .lines()
            .all(|line| line.starts_with("2_"))
    );
    project.wait_for_queue(LIMIT);
    wait_until("the other's end", || {
        in_other(&["queue"]).success().is_empty()
    });
    assert!((0..6).all(|job| project.n_begun(job) == 1));
    let status = in_other(&["status", "--json"]);
    assert!(
        status.success().contains("\"completed\": 6") || status.stdout.contains("\"completed\":6"),
        "{status:?}"
    );
}

#[test]
fn a_thousand_are_run() {
    let (env, queue) = queue();
    let script = "#SWEEPFS --elements=1000\ntrue\n";
    let array = queue
        .submit(&env, script, &["--output=/dev/null", "--limit-cores=4"])
        .unwrap();
    while queue
        .seen(&array)
        .iter()
        .any(|seen| !matches!(seen, Seen::Ended(..)))
    {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(queue.seen(&array), vec![completed(); 1000]);
    // Many more can wait, and are ended at a stroke.
    let script = "#SWEEPFS --elements=10000\n#SWEEPFS --hold\ntrue\n";
    let array = queue.submit(&env, script, &[]).unwrap();
    assert_eq!(queue.seen(&array), vec![Seen::Held; 10_000]);
    let ids: Vec<_> = array.element_ids().collect();
    queue.scheduler().cancel(&ids).unwrap();
    assert_eq!(queue.seen(&array), vec![cancelled(); 10_000]);
}
