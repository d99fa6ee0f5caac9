//! Schedulers that cannot be had here, by programs that check what they are asked, keep a queue, and
//! answer as the real ones do.

use crate::support::batch::{Nowhere, Project, operation};
use crate::support::env::Ran;
use crate::support::mounted::kill;
use crate::support::{skip, wait_until};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A scheduler that is played.
#[derive(Clone, Copy)]
struct Play {
    cluster: &'static str,
    /// Its commands, all of which are this text after `queue.sh`.
    commands: &'static [&'static str],
    text: &'static str,
    /// The commands that submit and list batch jobs, with a verb if they have more than one use.
    submit: (&'static str, &'static str),
    list: (&'static str, &'static str),
    cancel: &'static [&'static str],
    /// What it calls the first element of its first batch job, if it is one of several.
    element: &'static str,
}

const PBS: Play = Play {
    cluster: "pbs",
    commands: &["qsub", "qstat", "qselect", "qdel", "qhold", "qrls"],
    text: include_str!("fakes/pbs.sh"),
    submit: ("qsub", ""),
    list: ("qstat", ""),
    cancel: &["qdel"],
    element: "1[0]",
};

const TORQUE: Play = Play {
    cluster: "torque",
    ..PBS
};

const LSF: Play = Play {
    cluster: "lsf",
    commands: &["bsub", "bjobs", "bkill", "bstop", "bresume", "bparams"],
    text: include_str!("fakes/lsf.sh"),
    submit: ("bsub", ""),
    list: ("bjobs", ""),
    cancel: &["bkill"],
    element: "1[1]",
};

const FLUX: Play = Play {
    cluster: "flux",
    commands: &["flux"],
    text: include_str!("fakes/flux.sh"),
    submit: ("flux", "submit"),
    list: ("flux", "jobs"),
    cancel: &["flux", "cancel"],
    element: ".0",
};

/// A project that is sent to it.
struct Stage {
    play: Play,
    project: Project<Nowhere>,
}

impl Stage {
    fn new(play: Play, n_jobs: u32, config: &str) -> Self {
        let own = if play.cluster == "adhoc" { ADHOC } else { "" };
        let project = Project::new(n_jobs, &[config, own].concat());
        let script = [include_str!("fakes/queue.sh"), play.text].concat();
        for command in play.commands.iter().chain(&["fake-open", "fake-over"]) {
            project.fake(command, &script);
        }
        let stage = Self { play, project };
        fs::create_dir(stage.queue("")).unwrap();
        if play.cluster == "torque" {
            fs::write(stage.queue("torque"), "").unwrap();
        }
        stage
    }

    /// A file of the queue.
    fn queue(&self, name: &str) -> std::path::PathBuf {
        self.project.env.path().join("queue").join(name)
    }

    fn submit(&self) -> Ran {
        self.submit_with(&[])
    }

    fn submit_with(&self, options: &[&str]) -> Ran {
        let args = ["submit", "--yes", "--cluster", self.play.cluster];
        self.project.run(&[&args, options].concat())
    }

    /// Runs one of the scheduler's commands.
    fn command(&self, name: &str, args: &[&str]) -> Ran {
        let mut command = Command::new(self.project.bin.join(name));
        command.args(args);
        Ran::of(command)
    }

    /// Where the queue has an element, by its id.
    fn place(&self, id: &str) -> (String, String) {
        if let Some((name, element)) = id.rsplit_once('.') {
            let id = if self.play.cluster == "flux" {
                id
            } else {
                name
            };
            let element = match self.play.cluster {
                "flux" => "0".to_owned(),
                _ => (element.parse::<u32>().unwrap() + 1).to_string(),
            };
            let has_name = |number: &String| {
                let name = fs::read_to_string(self.queue(number).join("name"));
                name.is_ok_and(|name| name.trim() == id)
            };
            let number = (1..100).map(|number| number.to_string()).find(has_name);
            return (number.unwrap(), element);
        }
        let is_digit = |c: char| c.is_ascii_digit();
        let numbers = id.split(|c| !is_digit(c)).filter(|part| !part.is_empty());
        let numbers: Vec<_> = numbers.map(ToOwned::to_owned).collect();
        let element = numbers.get(1).cloned();
        (
            numbers[0].clone(),
            element.unwrap_or_else(|| "0".to_owned()),
        )
    }

    fn states(&self, operation: &str) -> Vec<String> {
        let jobs = 0..self.project.jobs.len();
        jobs.map(|job| self.project.state(job, operation)).collect()
    }

    /// Has a command do something else; the fake one is then called `real-NAME`.
    fn disturb(&self, (name, verb): (&str, &str), script: &str) {
        let real = self.project.bin.join(format!("real-{name}"));
        if !real.exists() {
            fs::rename(self.project.bin.join(name), real).unwrap();
        }
        let real = "real=$(dirname \"$0\")/real-${0##*/}";
        let other = "exec \"$real\" \"$@\"";
        let script = format!("{real}\ncase \"$1\" in '{verb}'*) {script} ;; *) {other} ;; esac");
        self.project.fake(name, &script);
    }

    fn undisturb(&self, (name, _): (&str, &str)) {
        let real = self.project.bin.join(format!("real-{name}"));
        fs::rename(real, self.project.bin.join(name)).unwrap();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let batch_jobs = fs::read_dir(self.queue("")).into_iter().flatten().flatten();
        let elements = batch_jobs.flat_map(|job| fs::read_dir(job.path()).into_iter().flatten());
        for element in elements.flatten() {
            let is_over = fs::read_to_string(element.path().join("state"))
                .is_ok_and(|state| state.trim() == "ended");
            let Ok(pid) = fs::read_to_string(element.path().join("pid")) else {
                continue;
            };
            if !is_over {
                let pids = Command::new("ps")
                    .args(["-o", "pid=", "--sid", pid.trim()])
                    .output();
                let pids = String::from_utf8(pids.unwrap().stdout).unwrap();
                for pid in pids.split_whitespace() {
                    kill(pid.parse().unwrap(), "KILL");
                }
            }
        }
    }
}

fn goes_step_by_step(play: Play) {
    let config = [
        operation(
            "prepare",
            "echo $PWD > {{ job.dir }}/one; env > {{ job.dir }}/env",
            "post = 'file(\"one\")'",
        ),
        operation(
            "fly",
            "true",
            "pre = 'after(\"prepare\")'\nwhere = \"a=0\"\nresources = { processes = 2, threads = 2, memory = \"10M\", walltime = \"5m\" }",
        ),
    ];
    let stage = Stage::new(play, 3, &config.concat());
    for (step, n) in [("prepare", 3), ("fly", 1)] {
        let ran = stage.submit();
        let told = format!("{step}: {n} submitted, array ");
        assert!(ran.stderr.contains(&told), "{ran:?}");
        ran.success();
        stage.project.wait_for_queue(LIMIT);
    }
    let again = stage.submit();
    assert!(again.stderr.contains("nothing to submit"), "{again:?}");
    assert_eq!(stage.states("prepare"), ["completed"; 3]);
    assert_eq!(stage.states("fly"), ["completed", "", ""]);
    let record = stage.project.record(0, "prepare");
    assert_eq!(record["cluster"], play.cluster);
    for job in 0..3 {
        assert_eq!(stage.project.n_begun(job), if job == 0 { 2 } else { 1 });
    }
    let dir = fs::read_to_string(stage.project.jobs[0].join("one")).unwrap();
    assert_eq!(dir.trim(), stage.project.root.to_str().unwrap());
    // Batch jobs have the language of the one who submits.
    let env = fs::read_to_string(stage.project.jobs[0].join("env")).unwrap();
    assert!(
        env.contains("LC_ALL=C.UTF-8\n") && !env.contains("\nTZ="),
        "{env}"
    );
    // What they print is where it can be found.
    let logs = stage.project.root.join(".sweepfs/logs/batch");
    let dirs = fs::read_dir(logs)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let n: usize = dirs.map(|dir| fs::read_dir(dir).unwrap().count()).sum();
    assert_eq!(n, 4);
}

fn tells_ends_apart(play: Play) {
    let config = [
        operation("bad", "exit 3", "where = \"a=0\""),
        operation(
            "slow",
            "exec sleep 300",
            "where = \"a>0\"\nresources = { walltime = \"30m\" }",
        ),
    ];
    let stage = Stage::new(play, 5, &config.concat());
    stage.submit().success();
    let running = || {
        let jobs = 1..5;
        jobs.filter(|job| stage.project.state(*job, "slow") == "running")
            .count()
    };
    wait_until("four that run", || running() == 4);
    wait_until("a failure", || stage.project.state(0, "bad") == "failed");
    assert_eq!(stage.project.reason(0, "bad"), "exit 3");
    let queue = stage.project.run(&["queue", "-o", "slow"]);
    assert_eq!(queue.success().matches(" running ").count(), 4, "{queue:?}");
    let ids: Vec<_> = (1..5)
        .map(|job| {
            stage.project.record(job, "slow")["batch_id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    // By us, by the clock, and behind our back.
    stage.project.run(&["cancel", &ids[0]]).success();
    let (id, element) = stage.place(&ids[1]);
    stage.command("fake-over", &[&id, &element]).success();
    let real_id = match play.cluster {
        "flux" => format!("f{}", stage.place(&ids[2]).0),
        "adhoc" => [stage.place(&ids[2]).0, stage.place(&ids[2]).1].join("/"),
        _ => ids[2].clone(),
    };
    let cancel = [&play.cancel[1..], &[&real_id]].concat();
    stage.command(play.cancel[0], &cancel).success();
    for job in 1..4 {
        wait_until("an end", || {
            stage.project.run(&["status"]).success();
            stage.project.state(job, "slow") != "running"
        });
    }
    let reasons: Vec<_> = (1..4)
        .map(|job| stage.project.reason(job, "slow"))
        .collect();
    assert_eq!(
        stage.states("slow")[1..4],
        ["interrupted", "failed", "interrupted"],
        "{reasons:?}"
    );
    // While it is being ended, most do not tell why.
    assert!(
        ["cancelled", "interrupted"].contains(&reasons[0].as_str()),
        "{reasons:?}"
    );
    assert_eq!(reasons[1], "timeout: the walltime is over");
    // One whose processes are killed with it says nothing.
    for process in ["runner_pid", "pid"] {
        let pid = stage.project.record(4, "slow")[process].as_i64().unwrap();
        kill(pid as i32, "KILL");
    }
    stage.project.wait_for_queue(LIMIT);
    let reason = stage.project.reason(4, "slow");
    assert!(reason.starts_with("lost: its batch job is "), "{reason}");
}

fn what_is_held_waits(play: Play) {
    let stage = Stage::new(play, 3, &operation("fly", "true", ""));
    stage.submit_with(&["--hold"]).success();
    let queue = stage.project.run(&["queue"]);
    assert_eq!(queue.success().matches(" held ").count(), 3, "{queue:?}");
    if play.cluster == "pbs" {
        let ran = stage.project.run(&["release", "-f", "a=1"]);
        let message = "PBS holds and releases an array as a whole: name all of `1[]`";
        assert!(ran.failure(1).contains(message), "{ran:?}");
    }
    fs::write(stage.queue("closed"), "").unwrap();
    stage.project.run(&["release", "--all"]).success();
    let queue = stage.project.run(&["queue"]);
    assert_eq!(queue.success().matches(" queued ").count(), 3, "{queue:?}");
    assert!(
        queue.stdout.contains(&format!("{} ", play.element)),
        "{queue:?}"
    );
    let again = stage.submit();
    assert!(again.stderr.contains("nothing to submit"), "{again:?}");
    stage.project.run(&["cancel", "-f", "a=1"]).success();
    assert_eq!(stage.project.reason(1, "fly"), "cancelled");
    stage.project.run(&["hold", "--all"]).success();
    stage.command("fake-open", &[]).success();
    let queue = stage.project.run(&["queue"]);
    assert_eq!(queue.success().matches(" held ").count(), 2, "{queue:?}");
    stage.project.run(&["release", "--all"]).success();
    stage.project.wait_for_queue(LIMIT);
    let ends = ["completed", "interrupted", "completed"];
    assert_eq!(
        (stage.states("fly"), stage.project.n_begun(1)),
        (ends.map(str::to_owned).to_vec(), 0)
    );
}

/// What comes after waits in the queue for what comes before.
fn a_chain_is_queued_at_once(play: Play) {
    let config = [
        operation(
            "prepare",
            "touch {{ job.dir }}/one",
            "post = 'file(\"one\")'",
        ),
        operation("fly", "cat {{ job.dir }}/one", "pre = 'after(\"prepare\")'"),
    ];
    let stage = Stage::new(play, 2, &config.concat());
    fs::write(stage.queue("closed"), "").unwrap();
    let shown = stage.submit_with(&["--chain", "--dry-run"]);
    let last = shown.success().rsplit("#!/bin/bash").next();
    assert!(
        last.is_some_and(|script| script.contains("prepare-")),
        "{shown:?}"
    );
    let ran = stage.submit_with(&["--chain"]);
    ran.success();
    assert_eq!(
        ran.stderr.matches(": 2 submitted, array ").count(),
        2,
        "{ran:?}"
    );
    let queue = stage.project.run(&["queue"]);
    assert_eq!(queue.success().matches(" queued ").count(), 4, "{queue:?}");
    let waits = |id: &u32| {
        let after = fs::read_to_string(stage.queue(&id.to_string()).join("after"));
        after.is_ok_and(|after| !after.trim().is_empty())
    };
    assert!((1..9).any(|id| waits(&id)));
    stage.command("fake-open", &[]).success();
    stage.project.wait_for_queue(LIMIT);
    assert_eq!(stage.states("fly"), ["completed"; 2]);
    assert!((0..2).all(|job| stage.project.n_begun(job) == 2));
}

/// Answers that are odd, late or missing change nothing, and lead to nothing being done twice.
fn odd_answers_are_survived(play: Play) {
    let stage = Stage::new(play, 2, &operation("fly", "true", ""));
    fs::write(stage.queue("closed"), "").unwrap();
    let (submit, list) = (play.submit, play.list);
    // Refused.
    stage.disturb(submit, "echo 'no such account' >&2; exit 1");
    let ran = stage.submit();
    assert!(ran.failure(1).contains("no such account"), "{ran:?}");
    assert_eq!(stage.states("fly"), ["interrupted"; 2]);
    // It says nothing, but has taken it.
    stage.disturb(submit, "\"$real\" \"$@\" >/dev/null");
    let ran = stage.submit();
    assert!(ran.stderr.contains("fly: 2 submitted, array "), "{ran:?}");
    assert_eq!(stage.states("fly"), ["queued"; 2]);
    stage.project.run(&["cancel", "--all"]).success();
    // It says too much.
    let talk = "echo 'Welcome to 2 clusters'; \"$real\" \"$@\"; echo 'have 1 nice day'; echo";
    stage.disturb(submit, talk);
    let ran = stage.submit();
    assert!(ran.stderr.contains("fly: 2 submitted, array "), "{ran:?}");
    stage.undisturb(submit);
    // No answer to what has become of it.
    let refusal = "echo 'cannot connect to server' >&2; exit 1";
    // The list of one's own scheduler may well be empty.
    let n_silences = if play.cluster == "adhoc" { 1 } else { 3 };
    for silence in &[refusal, "true", "echo oops"][..n_silences] {
        stage.disturb(list, silence);
        let status = stage.project.run(&["status"]);
        status.success();
        assert_eq!(stage.states("fly"), ["queued"; 2], "{silence}: {status:?}");
    }
    stage.undisturb(list);
    // Another cluster, which has begun to count anew, has others of that id.
    for entry in fs::read_dir(stage.queue("")).unwrap() {
        let name = entry.unwrap().path().join("name");
        if name.exists() {
            fs::write(name, "another\n").unwrap();
        }
    }
    stage.project.run(&["status"]).success();
    assert_eq!(stage.states("fly"), ["interrupted"; 2]);
    assert_eq!(
        stage.project.reason(0, "fly"),
        "lost: the scheduler no longer has it"
    );
}

#[test]
fn lsf_goes_step_by_step() {
    goes_step_by_step(LSF);
}

#[test]
fn flux_goes_step_by_step() {
    goes_step_by_step(FLUX);
}

#[test]
fn lsf_tells_ends_apart() {
    tells_ends_apart(LSF);
}

#[test]
fn flux_tells_ends_apart() {
    tells_ends_apart(FLUX);
}

#[test]
fn pbs_queues_a_chain() {
    a_chain_is_queued_at_once(PBS);
}

#[test]
fn torque_queues_a_chain() {
    a_chain_is_queued_at_once(TORQUE);
}

#[test]
fn lsf_queues_a_chain() {
    a_chain_is_queued_at_once(LSF);
}

#[test]
fn flux_queues_a_chain() {
    a_chain_is_queued_at_once(FLUX);
}

#[test]
fn a_scheduler_of_ones_own_queues_a_chain() {
    a_chain_is_queued_at_once(OWN);
}

#[test]
fn what_pbs_holds_waits() {
    what_is_held_waits(PBS);
}

#[test]
fn what_torque_holds_waits() {
    what_is_held_waits(TORQUE);
}

#[test]
fn what_lsf_holds_waits() {
    what_is_held_waits(LSF);
}

#[test]
fn what_flux_holds_waits() {
    what_is_held_waits(FLUX);
}

#[test]
fn odd_answers_of_lsf_are_survived() {
    odd_answers_are_survived(LSF);
}

#[test]
fn odd_answers_of_flux_are_survived() {
    odd_answers_are_survived(FLUX);
}

#[test]
fn pbs_goes_step_by_step() {
    goes_step_by_step(PBS);
}

#[test]
fn torque_goes_step_by_step() {
    goes_step_by_step(TORQUE);
}

#[test]
fn pbs_tells_ends_apart() {
    tells_ends_apart(PBS);
}

#[test]
fn torque_tells_ends_apart() {
    tells_ends_apart(TORQUE);
}

#[test]
fn odd_answers_of_pbs_are_survived() {
    odd_answers_are_survived(PBS);
}

#[test]
fn odd_answers_of_torque_are_survived() {
    odd_answers_are_survived(TORQUE);
}

/// Without a history, and with JSON that is none.
#[test]
fn older_pbs_is_understood() {
    let stage = Stage::new(PBS, 3, &operation("fly", "true", ""));
    fs::write(stage.queue("closed"), "").unwrap();
    fs::write(stage.queue("odd"), "").unwrap();
    stage.submit().success();
    let queue = stage.project.run(&["queue"]);
    assert_eq!(queue.success().matches(" queued ").count(), 3, "{queue:?}");
    let forgetful = "case $1 in -x) echo 'qstat: PBS is not configured to maintain job history' >&2; exit 35;; esac
        exec \"$real\" -x \"$@\"";
    fs::remove_file(stage.queue("odd")).unwrap();
    stage.disturb(("qstat", ""), forgetful);
    stage.disturb(("qselect", ""), forgetful);
    let queue = stage.project.run(&["queue"]);
    assert_eq!(queue.success().matches(" queued ").count(), 3, "{queue:?}");
    stage.command("fake-open", &[]).success();
    stage.project.wait_for_queue(LIMIT);
    assert_eq!(stage.states("fly"), ["completed"; 3]);
}

/// A scheduler of one's own: a command `adhoc` with its verbs, whose arrays count from 1.
const ADHOC: &str = r#"
[cluster.adhoc]
scheduler = "custom"
[cluster.adhoc.custom]
submit = "adhoc put {{ script }} {{ logs }}"
id = '^job (\d+) of \S+$'
list = "adhoc show"
line = '^(?P<id>(?P<number>\d+)/(?P<element>\d+)) (?P<state>\w+) (?P<name>\S+)$'
cancel = "adhoc drop {{ id }}"
hold = "adhoc stop {{ id }}"
release = "adhoc go {{ id }}"
elements_max = 10
first_element = 1
template = """
#!/bin/bash
{% block header %}
#ADHOC name {{ name }}
#ADHOC elements {{ first }} {{ last }}
{% if hold %}
#ADHOC hold
{% endif %}
{% for id in after %}
#ADHOC after {{ id.text }}
{% endfor %}
{% endblock %}
cd {{ project }} || exit
{% block setup %}
{% if setup %}
{{ setup | raw }}
{% endif %}
{% endblock %}
{% block body %}
exec {{ program }} -C {{ project }} batch {{ name }} "$((ADHOC_ELEMENT - 1))" {{ name }}
{% endblock %}
"""
[cluster.adhoc.custom.states]
queued = ["waiting"]
timeout = ["over"]
cancelled = ["deleted"]
failed = ["error"]
"#;

const OWN: Play = Play {
    cluster: "adhoc",
    commands: &["adhoc"],
    text: include_str!("fakes/adhoc.sh"),
    submit: ("adhoc", "put"),
    list: ("adhoc", "show"),
    cancel: &["adhoc", "drop"],
    element: ".0",
};

#[test]
fn a_scheduler_of_ones_own_goes_step_by_step() {
    goes_step_by_step(OWN);
}

#[test]
fn a_scheduler_of_ones_own_tells_ends_apart() {
    tells_ends_apart(OWN);
}

#[test]
fn what_a_scheduler_of_ones_own_holds_waits() {
    what_is_held_waits(OWN);
}

#[test]
fn odd_answers_of_a_scheduler_of_ones_own_are_survived() {
    odd_answers_are_survived(OWN);
}

/// A real one that sweepfs does not know, as the documentation describes it.
#[test]
fn task_spooler_is_a_cluster() {
    let Ok(found) = Command::new("which").arg("tsp").output() else {
        return skip("which");
    };
    if !found.status.success() {
        return skip("task-spooler is not installed");
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schedulers.md");
    let docs = fs::read_to_string(docs).unwrap();
    let described = docs
        .split("```toml\n")
        .find(|block| block.starts_with("[cluster.spooler]"));
    let described = described.unwrap().split("```").next().unwrap();
    let config = [
        operation("fly", "echo $SWEEPFS_JOB_ID", "where = \"a<2\""),
        operation("bad", "exit 3", "where = \"a=2\""),
        operation("slow", "exec sleep 300", "where = \"a>2\""),
        described.to_owned(),
    ];
    let project = Project::<Nowhere>::new(5, &config.concat());
    let dir = project.env.path();
    let real = String::from_utf8(found.stdout).unwrap();
    let tsp = format!(
        "TMPDIR={0} TS_SOCKET={0}/socket exec {1} \"$@\"",
        dir.display(),
        real.trim()
    );
    project.fake("tsp", &tsp);
    let spooler = |args: &[&str]| {
        let mut command = Command::new(project.bin.join("tsp"));
        command.args(args);
        Ran::of(command)
    };
    spooler(&["-S", "2"]).success();
    let submit = ["submit", "--yes", "--cluster", "spooler"];
    let ran = project.run(&submit);
    assert_eq!(
        ran.stderr.matches(": 1 submitted, array ").count(),
        5,
        "{ran:?}"
    );
    wait_until("two that are slow", || {
        (3..5).all(|job| project.state(job, "slow") == "running")
    });
    assert!((0..2).all(|job| project.state(job, "fly") == "completed"));
    assert_eq!(project.reason(2, "bad"), "exit 3");
    let queue = project.run(&["queue"]);
    assert_eq!(queue.success().matches(" running ").count(), 2, "{queue:?}");
    project.run(&["cancel", "--all"]).success();
    project.wait_for_queue(LIMIT);
    assert!((3..5).all(|job| project.state(job, "slow") == "interrupted"));
    spooler(&["-K"]);
}
