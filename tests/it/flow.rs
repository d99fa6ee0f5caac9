//! Random workflows, executed by signac-flow and by us.
//!
//! What is executed on which job, and how far everything is afterwards, must be the same wherever both
//! define the same thing; `docs/from-signac-flow.md` lists what differs. `SWEEPFS_TEST_FLOW_S` says for
//! how many seconds workflows are tried.

#![expect(
    clippy::print_stdout,
    reason = "what was compared is shown with `--nocapture`"
)]

use crate::support::env::{Env, Ran, write_job};
use crate::support::python::python;
use crate::support::random::Random;
use crate::support::skip;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Prints which operations are complete and eligible, by job.
const STATES: &str = r#"
import json, sys
sys.path.insert(0, ".")
import project
p = project.Project.get_project()
states = {name: {kind: sorted(job.id for job in p if getattr(op, "_" + kind)((job,)))
                 for kind in ("complete", "eligible")} for name, op in p.operations.items()}
print(json.dumps(states))
"#;

/// A condition in both languages.
struct Both {
    toml: String,
    /// The arguments of a decorator, `pre` or `post` being said before.
    python: String,
}

fn both(toml: impl Into<String>, python: impl Into<String>) -> Both {
    Both {
        toml: toml.into(),
        python: python.into(),
    }
}

/// An operation in both languages.
struct Operation {
    name: String,
    /// Text of the shell after which `$1` is the job's directory.
    script: String,
    pre: Vec<Both>,
    post: Vec<Both>,
}

const FILES: [&str; 4] = ["one", "two", "sub/three", "four"];

const KEYS: [&str; 2] = ["x", "y"];

fn condition(random: &mut Random, before: &[Operation]) -> Both {
    let file = random.pick(&FILES);
    let key = random.pick(&KEYS);
    let n = random.below(4);
    match random.below(9) {
        0 | 1 => both(format!("file('{file}')"), format!(".isfile('{file}')")),
        2 => both(format!("doc.{key}"), format!(".true('{key}')")),
        3 => both(format!("not doc.{key}"), format!(".false('{key}')")),
        4 => both(
            format!("not file('{file}')"),
            format!(".not_(lambda job: job.isfile('{file}'))"),
        ),
        5 => both(format!("a>={n}"), format!("(lambda job: job.sp.a >= {n})")),
        6 => both(
            format!("size('{file}')>2"),
            format!("(lambda job: job.isfile('{file}') and os.path.getsize(job.fn('{file}')) > 2)"),
        ),
        7 if random.one_in(4) => both("never", ".never"),
        _ => {
            // One without postconditions means different things to the two.
            let upstream: Vec<_> = before.iter().filter(|o| !o.post.is_empty()).collect();
            match upstream.len() {
                0 => both(format!("file('{file}')"), format!(".isfile('{file}')")),
                n => {
                    let name = &upstream[random.below(n)].name;
                    both(format!("after('{name}')"), format!(".after({name})"))
                }
            }
        }
    }
}

fn script(random: &mut Random, fails: bool) -> String {
    let mut script = String::from("mkdir -p $1/sub");
    for _ in 0..1 + random.below(3) {
        let file = random.pick(&FILES);
        let action = match random.below(5) {
            0 => format!("rm -f $1/{file}"),
            1 => {
                let (key, value) = (
                    random.pick(&KEYS),
                    random.pick(&["true", "0", "\"t\"", "null"]),
                );
                format!("echo '{{\"{key}\": {value}}}' > $1/signac_job_document.json")
            }
            2 => format!("echo > $1/{file}"),
            _ => format!("echo text > $1/{file}"),
        };
        write!(script, "; {action}").unwrap();
    }
    if fails {
        script.push_str("; exit 3");
    }
    script
}

fn operations(random: &mut Random, may_fail: bool) -> Vec<Operation> {
    let mut operations = Vec::new();
    for i in 0..1 + random.below(5) {
        let fails = may_fail && random.one_in(3);
        let conditions = |random: &mut Random, n: usize| -> Vec<_> {
            (0..random.below(n))
                .map(|_| condition(random, &operations))
                .collect()
        };
        let (pre, post) = (conditions(random, 3), conditions(random, 3));
        // `after` in a postcondition is nothing that signac-flow has.
        let post: Vec<_> = post
            .into_iter()
            .filter(|both| !both.toml.starts_with("after"))
            .collect();
        let script = script(random, fails);
        operations.push(Operation {
            name: format!("op{i}"),
            script,
            pre,
            post,
        });
    }
    operations
}

fn write_workflows(root: &Path, operations: &[Operation]) {
    let mut toml = String::new();
    let mut python = String::from(
        "import os\nfrom flow import FlowProject\nclass Project(FlowProject):\n    pass\n",
    );
    for Operation {
        name,
        script,
        pre,
        post,
    } in operations
    {
        let texts = |conditions: &[Both]| {
            let quoted = conditions
                .iter()
                .map(|both| format!("\"\"\"{}\"\"\"", both.toml));
            quoted.collect::<Vec<_>>().join(", ")
        };
        let command =
            |dir: &str, id: &str| format!("set -- {dir}; echo {name} {id} >> executed; {script}");
        let ours = command("{{ job.dir }}", "{{ job.id }}");
        write!(
            toml,
            "[[operation]]\nname = \"{name}\"\ncommand = '''{ours}'''\npre = [{}]\npost = [{}]\n",
            texts(pre),
            texts(post)
        )
        .unwrap();
        for (kind, conditions) in [("pre", pre), ("post", post)] {
            for both in conditions {
                writeln!(python, "@Project.{kind}{}", both.python).unwrap();
            }
        }
        let theirs = command("@DIR@", "@ID@").replace('\\', "\\\\");
        writeln!(
            python,
            "@Project.operation(cmd=True)\ndef {name}(job):\n    return r'''{theirs}'''.replace('@DIR@', job.path).replace('@ID@', job.id)",
        )
        .unwrap();
    }
    python.push_str("if __name__ == '__main__':\n    Project().main()\n");
    fs::write(root.join("sweepfs.toml"), toml).unwrap();
    fs::write(root.join("project.py"), python).unwrap();
}

fn executed(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("executed")).unwrap_or_default();
    let mut lines: Vec<_> = text.lines().map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

/// The ids that our status has in a state.
fn ours_in(env: &Env, root: &Path, operation: &str, state: &str) -> BTreeSet<String> {
    let links = env.run(root, &["status", "--json", "--details", "-o", operation]);
    let status: Value = serde_json::from_str(&links.stdout).unwrap_or_else(|_| panic!("{links:?}"));
    let aggregates = status["operations"][0]["aggregates"].as_array().unwrap();
    let chosen = aggregates
        .iter()
        .filter(|aggregate| aggregate["state"] == state);
    chosen
        .map(|aggregate| aggregate["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Returns how many executions were compared.
fn try_one(seed: u64, python: &Path) -> usize {
    let mut random = Random(seed);
    let may_fail = random.one_in(3);
    let operations = operations(&mut random, may_fail);
    let n_jobs = 1 + random.below(5);
    let documents: Vec<_> = (0..n_jobs)
        .map(|_| {
            random
                .pick(&["", "{}", r#"{"x": 1}"#, r#"{"y": ""}"#])
                .to_owned()
        })
        .collect();
    let sides = [Env::new(), Env::new()].map(|env| {
        let root = env.project("p");
        for (a, document) in documents.iter().enumerate() {
            let job = write_job(&root, &format!("{{\"a\": {a}}}"));
            if !document.is_empty() {
                fs::write(job.join("signac_job_document.json"), document).unwrap();
            }
        }
        write_workflows(&root, &operations);
        (env, root)
    });
    let [(our_env, ours), (their_env, theirs)] = &sides;
    let ran = our_env.run(ours, &["run"]);
    assert!(matches!(ran.code, Some(0 | 3)), "seed {seed}: {ran:?}");
    let text = fs::read_to_string(ours.join("sweepfs.toml")).unwrap();
    let run_flow = |args: &[&str]| {
        let args = [&["project.py"], args].concat();
        Ran::of(their_env.in_env(Command::new(python), theirs, &args))
    };
    if may_fail {
        // A failure ends all of signac-flow's run; so it is asked for each job by itself.
        for job in fs::read_dir(theirs.join("workspace")).unwrap() {
            run_flow(&["run", "-j", job.unwrap().file_name().to_str().unwrap()]);
        }
        let (ours, theirs) = (executed(ours), executed(theirs));
        let n = theirs.len();
        assert!(
            theirs.iter().all(|line| ours.contains(line)),
            "seed {seed}: {theirs:?} {ours:?}\n{text}"
        );
        return n;
    }
    let ran = run_flow(&["run"]);
    assert_eq!(ran.code, Some(0), "seed {seed}: {ran:?}");
    assert_eq!(executed(ours), executed(theirs), "seed {seed}\n{text}");
    let states = Ran::of(their_env.in_env(Command::new(python), theirs, &["-c", STATES]));
    let states: Value = serde_json::from_str(states.success()).unwrap();
    for operation in operations
        .iter()
        .filter(|operation| !operation.post.is_empty())
    {
        let complete = states[&operation.name]["complete"].as_array().unwrap();
        let complete: BTreeSet<_> = complete
            .iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect();
        let completed = ours_in(our_env, ours, &operation.name, "completed");
        assert_eq!(
            completed, complete,
            "seed {seed} {}\n{text}",
            operation.name
        );
    }
    executed(ours).len()
}

#[test]
fn the_same_is_executed_as_by_signac_flow() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let known = Ran::of(env.in_env(Command::new(&python), &env.path(), &["-c", "import flow"]));
    if known.code != Some(0) {
        return skip("no signac-flow; `scripts/setup` installs it");
    }
    let seconds = std::env::var("SWEEPFS_TEST_FLOW_S")
        .ok()
        .map(|text| text.parse().unwrap());
    let (begun, limit) = (Instant::now(), Duration::from_secs(seconds.unwrap_or(10)));
    let mut seed = if seconds.is_some() {
        u64::from(std::process::id()) << 20
    } else {
        0
    };
    let (mut n_workflows, mut n_executions) = (0, 0);
    while begun.elapsed() < limit {
        n_executions += try_one(seed, &python);
        n_workflows += 1;
        seed += 1;
    }
    println!("{n_workflows} workflows, {n_executions} executions");
    assert!(n_executions > n_workflows, "hardly anything was executed");
}
