//! Side by side with the real signac.

use crate::support::env::{Env, Ran};
use crate::support::mounted::{can_mount, links, mount};
use crate::support::python::{self, python, signac};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use sweepfs::pyjson::{canonical, float_repr, parse};
use sweepfs::statepoint::JobId;

/// JSON texts as programs and people write them, and as nobody does.
fn json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        "-?[1-9][0-9]{18,60}",
        "-?(0|[1-9][0-9]{0,3})\\.[0-9]{1,20}([eE][+-]?[0-9]{1,3})?",
        "-?[1-9][eE][+-]?[0-9]{1,3}",
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(|f| format!("{f:e}")),
        // Ties between two shortest representations.
        (1_u64 << 49..1 << 53).prop_map(|n| format!("{}.25", n / 8)),
        Just("1113178120592002.25".to_owned()),
        prop::sample::select(vec![
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "-0.0",
            "1e400",
            "5e-324"
        ])
        .prop_map(str::to_owned),
    ];
    let character = prop_oneof![
        "[ -!#-\\[\\]-~]",
        "\\PC",
        prop::sample::select(vec![
            "\\\"",
            "\\\\",
            "\\/",
            "\\b",
            "\\n",
            "\\u0000",
            "\\u007f",
            "\\ud800",
            "\\udc80",
            "\\ud83d\\ude00",
            "\\ude00",
            "\u{7f}",
            "\u{a0}",
            "\u{2028}",
            "\u{feff}",
            "\u{ffff}",
            "\u{1f600}",
        ])
        .prop_map(str::to_owned),
    ];
    let escaped = character.prop_map(|c| {
        if c == "\"" || c == "\\" {
            format!("\\{c}")
        } else {
            c
        }
    });
    let string =
        prop::collection::vec(escaped, 0..6).prop_map(|parts| format!("\"{}\"", parts.concat()));
    let scalar = prop_oneof![
        3 => number,
        3 => string.clone(),
        1 => prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ];
    scalar.prop_recursive(4, 24, 4, move |inner| {
        let entry =
            (string.clone(), inner.clone()).prop_map(|(key, value)| format!("{key} :{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec(entry, 0..4)
                .prop_map(|entries| format!("{{{}}}", entries.join(","))),
        ]
    })
}

fn samples<T>(strategy: &impl Strategy<Value = T>, n: usize) -> Vec<T> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..n)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

#[test]
fn ids_of_random_json_are_those_of_signac() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let texts = samples(&json(), 20_000);
    let input = env.path().join("input");
    std::fs::write(&input, texts.join("\n")).unwrap();
    let script = "
import json, sys
from signac.job import calc_id
for line in open(sys.argv[1], encoding='utf-8', newline='\\n'):
    value = json.loads(line)
    print(calc_id(value), json.dumps(value, sort_keys=True))
";
    let output = python::run(
        &env,
        &python,
        &env.path(),
        script,
        &[input.to_str().unwrap()],
    );
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), texts.len());
    for (text, expected) in texts.iter().zip(lines) {
        let text = canonical(&parse(text).unwrap_or_else(|error| panic!("{text}: {error}")));
        assert_eq!(format!("{} {text}", JobId::of_canonical(&text)), expected);
    }
}

#[test]
fn random_doubles_print_as_in_python() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let bits = samples(&any::<u64>(), 100_000);
    // Every exponent near one, where programs live, and integers with a quarter.
    let near = bits
        .iter()
        .map(|b| (b & !(0x7FF << 52)) | ((1023 + (b >> 57)) << 52));
    let ties = bits.iter().map(|b| ((b >> 14) as f64 + 0.25).to_bits());
    let floats: Vec<_> = bits
        .iter()
        .copied()
        .chain(near)
        .chain(ties)
        .map(f64::from_bits)
        .filter(|f| f.is_finite())
        .collect();
    let input = env.path().join("input");
    std::fs::write(
        &input,
        floats
            .iter()
            .flat_map(|f| f.to_le_bytes())
            .collect::<Vec<_>>(),
    )
    .unwrap();
    let script = "
import array, sys
floats = array.array('d')
floats.frombytes(open(sys.argv[1], 'rb').read())
print('\\n'.join(map(repr, floats)))
";
    let output = python::run(
        &env,
        &python,
        &env.path(),
        script,
        &[input.to_str().unwrap()],
    );
    let differing: Vec<_> = floats
        .iter()
        .zip(output.lines())
        .filter(|(float, text)| float_repr(**float) != *text)
        .collect();
    assert_eq!(output.lines().count(), floats.len());
    assert!(differing.is_empty(), "{differing:?}");
}

/// Makes random projects with signac and has signac make their views; prints the name of each.
pub(crate) const MAKE_PROJECTS: &str = r#"
import os, random, sys, signac
rng = random.Random(20261122)
values = [lambda: rng.randint(-3, 30), lambda: rng.choice([0.1, 1e-5, 1e16, 2.5, -0.5, 1.0]),
          lambda: rng.choice(['argon', 'x y', 'it\'s', 'ü☃', '5%', 'None', 'a=b', '*']), lambda: rng.choice([True, False, None]),
          lambda: [rng.randint(0, 2), rng.choice(['a', 'b'])], lambda: [[rng.randint(0, 1)], {'k': 'é'}]]
def statepoint(keys):
    sp = {}
    for key, value, always in keys:
        if always or rng.random() < 0.7:
            at = sp
            *path, last = key.split('.')
            for part in path:
                at = at.setdefault(part, {})
            at[last] = value()
    return sp
made = n = 0
while made < 40:
    n += 1
    name = f'p{n}'
    os.mkdir(name)
    project = signac.init_project(name)
    names = rng.sample(['angle', 'velocity', 'init.seed', 'init.n', 'b', 'Z', 'm.deep.er', 'x-y'], rng.randint(1, 5))
    keys = [(key, rng.choice(values), i == 0 or rng.random() < 0.6) for i, key in enumerate(names)]
    for _ in range(rng.randint(1, 60)):
        project.open_job(statepoint(keys)).init()
    try:
        project.create_linked_view(prefix=os.path.join(name, 'view'), path='{{auto}}')
    except RuntimeError:
        continue
    made += 1
    print(name)
"#;

#[test]
fn mounted_views_equal_those_of_signac() {
    let Some(python) = python() else { return };
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let made = python::run(&env, &python, &env.path(), MAKE_PROJECTS, &[]);
    let names: Vec<_> = made.lines().collect();
    assert!(names.len() >= 30);
    let mut n_links = 0;
    for name in names {
        let root = env.path().join(name);
        let expected = signac_links(&root.join("view"));
        let mounted = links(&mount(&env, &root).join("view"));
        assert_eq!(mounted, expected, "{name}");
        n_links += mounted.len();
        env.run(&root, &["unmount"]).success();
    }
    assert!(n_links > 300);
}

/// The links of a view on disk: path to id.
fn signac_links(view: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![view.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match std::fs::read_link(&path) {
                Ok(target) => {
                    let name = path
                        .strip_prefix(view)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned();
                    found.insert(
                        name,
                        target.file_name().unwrap().to_str().unwrap().to_owned(),
                    );
                }
                Err(_) => dirs.push(path),
            }
        }
    }
    found
}

#[test]
fn commands_print_what_signac_prints() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let root = env.project("p");
    env.run(
        &root,
        &[
            "create",
            "angle=10:30:10",
            "gas=argon,\"n é\"",
            "init.x=0.5,[1,null]",
        ],
    )
    .success();
    let id = env
        .run(
            &root,
            &[
                "job",
                r#"{"b": 1, "a": 2.0, "c": {"z": [1, 2], "y": null}}"#,
                "-c",
            ],
        )
        .success()
        .trim()
        .to_owned();
    env.run(
        &root,
        &[
            "document",
            &id,
            "distance=5.25",
            "fit.note=a b",
            "é=[1, NaN]",
        ],
    )
    .success();
    let statepoint = r#"{"z": 1e-7, "a": "\u00e9"}"#;
    for args in [
        &["job", statepoint][..],
        &["job", "-p", statepoint],
        &["job", "-c", statepoint],
        &["job", "-cp", statepoint],
        &["statepoint", &id],
        &["statepoint", &id[..6]],
        &["document", &id],
        &["document", &id[..6], &id],
        &["statepoint"],
        &["document"],
        &["find"],
    ] {
        let sorted = |ran: &Ran| {
            // signac lists in the order of the directory; ours is that of the ids.
            let mut lines: Vec<_> = ran.success().lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let (ours, theirs) = (env.run(&root, args), signac(&env, &python, &root, args));
        assert_eq!(sorted(&ours), sorted(&theirs), "{args:?}");
        assert_eq!(ours.stdout.len(), theirs.stdout.len(), "{args:?}");
    }
    let from_stdin = env.run_with_input(&root, &["job", "-"], "{\"a\": 1}\n{\"a\": 2}\n");
    assert_eq!(from_stdin.success(), "42b7b4f2921788ea14dac5566e6f06d0\n");
}

#[test]
fn signac_accepts_what_we_made() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let root = env.project("p");
    env.run(
        &root,
        &[
            "create",
            "angle=10:80:10",
            "velocity=6,8,10",
            "fuel.kind=a,b",
        ],
    )
    .success();
    let id = env
        .run(&root, &["find", "angle=40", "velocity=8", "fuel.kind=a"])
        .success()
        .trim()
        .to_owned();
    env.run(
        &root,
        &["document", &id, "distance=5.2", "fit.slope=[1,2.5]"],
    )
    .success();
    let script = "
import sys, signac
project = signac.get_project()
project.check()
assert len(project) == 48
jobs = list(project.find_jobs({'angle': 40, 'velocity': 8, 'fuel.kind': 'a'}))
assert [job.id for job in jobs] == [sys.argv[1]]
assert jobs[0].doc() == {'distance': 5.2, 'fit': {'slope': [1, 2.5]}}
jobs[0].doc.more = 'from Python'
assert len(project.find_jobs({'doc.distance': 5.2})) == 1
project.open_job({'angle': 45, 'velocity': 8}).init()
project.check()
";
    python::run(&env, &python, &root, script, &[&id]);
    assert_eq!(
        env.run(&root, &["document", &id]).success(),
        "{\"distance\": 5.2, \"fit\": {\"slope\": [1, 2.5]}, \"more\": \"from Python\"}\n"
    );
    assert_eq!(env.run(&root, &["find", "--count"]).success(), "49\n");
    env.run(&root, &["check"]).success();
    assert_eq!(
        std::fs::read_dir(root.join("workspace")).unwrap().count(),
        49,
        "nothing else is left in the workspace"
    );
}

/// Creates jobs and writes documents for a while, half of them jobs that sweepfs makes too.
const WRITE_FOR_A_WHILE: &str = "
import sys, time, signac
project = signac.get_project()
end, n = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    job = project.open_job({'n': n, 'half': n % 2})
    job.init()
    job.doc.python = n
    if n % 5 == 4:
        project.open_job({'n': n - 2, 'half': (n - 2) % 2}).remove()
    n += 1
print(n)
";

#[test]
fn both_write_at_once_without_damage() {
    let Some(python) = python() else { return };
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let root = env.project("p");
    let views = mount(&env, &root);
    let seconds = std::env::var("SWEEPFS_TEST_TOGETHER_S").unwrap_or_else(|_| "30".to_owned());
    let limit = Duration::from_secs_f64(seconds.parse().unwrap());
    let writer = python::script(&env, &python, &root, WRITE_FOR_A_WHILE, &[&seconds]);
    let writer = std::thread::spawn(move || Ran::of(writer));
    let begun = std::time::Instant::now();
    let mut n = 0;
    while begun.elapsed() < limit {
        let grid = [format!("n={}:{}:1", n, n + 40), "half=0,1".to_owned()];
        let created = env.run(&root, &["create", &grid[0], &grid[1]]);
        for id in created.success().lines().step_by(20) {
            // Python may have removed the job meanwhile; nothing else may go wrong.
            let edited = env.run(&root, &["document", id, "rust=1", "both.rust=true"]);
            let gone = edited.stderr.contains("no job has the id")
                || edited.stderr.contains("No such file");
            assert!(edited.code == Some(0) || gone, "{edited:?}");
        }
        let _ = links_now(&views.join("view"));
        n += 20;
    }
    let wrote = writer.join().unwrap();
    assert!(wrote.success().trim().parse::<u32>().unwrap() > 10);
    env.run(&root, &["check"]).success();
    python::run(
        &env,
        &python,
        &root,
        "import signac; p = signac.get_project(); p.check(); [job.doc() for job in p]",
        &[],
    );
    let n_jobs: usize = env
        .run(&root, &["find", "--count"])
        .success()
        .trim()
        .parse()
        .unwrap();
    crate::support::wait_until("the view to catch up", || {
        links_now(&views.join("view")) == n_jobs
    });
    assert_eq!(links(&views.join("view")).len(), n_jobs);
}

/// Counts links while they come and go.
fn links_now(dir: &Path) -> usize {
    let output = std::process::Command::new("find")
        .arg(dir)
        .args(["-type", "l"])
        .output()
        .unwrap();
    output.stdout.iter().filter(|&&b| b == b'\n').count()
}
