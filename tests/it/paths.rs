//! Random path specs over random projects, and random formats, against the signac and the Python
//! that are installed.
//!
//! Where signac gives sound paths, ours are the same. What is not sound, because a file system would
//! read it in another way, is left out: see [`Theirs::is_sound`] and [`Case::has_odd_values`].
//!
//! With `SWEEPFS_TEST_PATHS_S=300` it goes on with fresh seeds for 300 seconds.

use crate::support::env::{Env, write_job};
use crate::support::python::{self, python};
use crate::support::random::Random;
use crate::support::tree::{leaves, load, spec_links, spec_tree};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sweepfs::catalog::LiveFacts;
use sweepfs::pyjson::{FormatSpec, Value, parse, view_str};
use sweepfs::statepoint::{Leaf, visit};
use sweepfs::view::{default_paths, default_paths_of_few};
use sweepfs::workspace::Workspace;

/// Projects that one Python process looks at.
const PROJECTS: usize = 60;

/// Specs for each project.
const SPECS: usize = 24;

/// Values and formats that one Python process looks at.
const FORMATS: usize = 20_000;

const PATHS_SCRIPT: &str = r#"
import json, logging, sys
import signac
from signac.import_export import _make_path_function

for line in open(sys.argv[1], encoding="utf-8"):
    case = json.loads(line)
    project = signac.init_project(case["dir"])
    for statepoint, document in case["jobs"]:
        job = project.open_job(json.loads(statepoint)).init()
        if document is not None:
            job.doc.update(json.loads(document))
    answers = []
    for spec in case["specs"]:
        try:
            jobs = list(project)
            function = _make_path_function(jobs, spec)
            answers.append({job.id: function(job) for job in jobs})
        except Exception as error:
            answers.append(f"{type(error).__name__}: {error}")
    print(json.dumps(answers))
"#;

const FORMAT_SCRIPT: &str = r#"
import json, sys
for line in open(sys.argv[1], encoding="utf-8"):
    value, spec = json.loads(line)
    try:
        print(json.dumps(format(json.loads(value), spec)))
    except (ValueError, TypeError, OverflowError) as error:
        print("null")
"#;

/// How long to go on, and the first seed: fresh ones if a time was given.
fn budget(default_s: u64) -> (Duration, u64) {
    match std::env::var("SWEEPFS_TEST_PATHS_S") {
        Ok(seconds) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            (
                Duration::from_secs(seconds.parse().unwrap()),
                now.unwrap().as_secs() << 32,
            )
        }
        Err(_) => (Duration::from_secs(default_s), 0),
    }
}

/// A project and specs for it.
struct Case {
    /// State points with documents.
    jobs: BTreeMap<String, Option<String>>,
    specs: Vec<String>,
}

const NUMBERS: [&str; 14] = [
    "0", "1", "2", "7", "-3", "10", "65", "1000000", "0.5", "1.5", "-0.25", "1e-05", "123.456",
    "1e+20",
];
const TEXTS: [&str; 10] = [
    "\"x\"",
    "\"yy\"",
    "\"foo bar\"",
    "\"\u{e9}\"",
    "\"\u{2603}\"",
    "\"a.b\"",
    "\"it's\"",
    "\"job\"",
    "\"~\"",
    "\"%\"",
];
const ODD: [&str; 10] = [
    "\"\"",
    "\".\"",
    "\"..\"",
    "\"p/q\"",
    "\"{a}\"",
    "\"%2F\"",
    "\"\\u0000\"",
    "\"1\"",
    "\"None\"",
    "\"}\"",
];
const KEYS: [&str; 8] = ["a", "b", "c", "l", "long name", "\u{e9}", "K_1", "0"];
const INNER: [&str; 4] = ["d", "e", "x y", "0"];

impl Random {
    /// A value of the kind that a key has.
    fn value_of(&mut self, kind: usize, odd: bool) -> String {
        match kind {
            _ if odd && self.one_in(4) => self.pick(&ODD).to_owned(),
            0..4 => self.pick(&NUMBERS).to_owned(),
            4 | 5 => self.pick(&TEXTS).to_owned(),
            6 => self.pick(&["true", "false"]).to_owned(),
            7 => format!(
                "[{}, {}]",
                self.pick(&NUMBERS),
                self.pick(&["1", "\"s\"", "null", "[2, \"t\"]", "true"])
            ),
            8 => {
                let (first, second) = (self.pick(&INNER), self.value_of(self.0 as usize % 5, odd));
                format!("{{\"{first}\": {second}, \"z\": 1}}")
            }
            _ => self
                .pick(&["null", "1", "[]", "\"n\"", "{}", "2.0"])
                .to_owned(),
        }
    }

    /// A key, of those that the jobs have in most cases.
    fn key_of<'k>(&mut self, keys: &[&'k str]) -> &'k str {
        if keys.is_empty() || self.one_in(20) {
            return self.pick(&KEYS);
        }
        self.pick(keys)
    }

    fn field(&mut self, keys: &[&str]) -> String {
        let nested = ["c", "l", "job.sp.c", "job.sp.l"];
        let key = self.key_of(keys);
        match self.below(16) {
            0 => "job.id".to_owned(),
            1 => "job".to_owned(),
            2 => format!("job.sp.{key}"),
            3 => format!("job.statepoint[{key}]"),
            4 => format!("job.doc.{}", self.pick(&["a", "b", "c.d"])),
            5 | 6 if keys.contains(&"c") => format!("c.{}", self.pick(&INNER)),
            7 if keys.contains(&"c") => format!("c[{}]", self.pick(&INNER)),
            8 | 9 if keys.contains(&"l") => format!("l[{}]", self.below(3)),
            10 => format!("{}[{}]", self.pick(&nested), self.pick(&INNER)),
            11 => format!("{}[1][0]", self.pick(&nested)),
            _ => key.to_owned(),
        }
    }

    fn format(&mut self) -> String {
        let formats = [
            "03d", ".2f", ">6", "_<8", "^9", "+", "e", "%", ".3", "x", "#b", "05", ",", "s", ".1s",
            "{b}", "0{a}d", "", "{a}{b}", "n", "g", "c",
        ];
        self.pick(&formats).to_owned()
    }

    fn piece(&mut self, keys: &[&str]) -> String {
        match self.below(14) {
            0 => "{{auto}}".to_owned(),
            1 => format!(
                "{{{{auto:{}}}}}",
                self.pick(&["", "_", "-", "=", "/", "_/", " ", "."])
            ),
            2 => self
                .pick(&["a", "job", "x=", "{{{{", ".", "v", "id"])
                .to_owned(),
            3 | 4 => format!("{{{}:{}}}", self.field(keys), self.format()),
            5 => format!(
                "{{{}!{}}}",
                self.field(keys),
                self.pick(&["r", "s", "a", "s:>12"])
            ),
            6 | 7 => format!("{}={{{0}}}", self.key_of(keys)),
            _ => format!("{{{}}}", self.field(keys)),
        }
    }

    fn spec(&mut self, keys: &[&str]) -> String {
        if self.one_in(12) {
            // Anything that looks like a spec.
            let parts = [
                "{", "}", "{{", "}}", "a", "auto", ":", "!", "r", "[", "]", ".", "/", "0", "job",
                "l",
            ];
            let n = 1 + self.below(9);
            return (0..n).map(|_| self.pick(&parts)).collect();
        }
        let n = 1 + self.below(4);
        let mut spec = self.piece(keys);
        for _ in 1..n {
            if !self.one_in(3) {
                spec += self.pick(&["/", "/", "/", "//", "/./"]);
            }
            spec += &self.piece(keys);
        }
        if !self.one_in(4) {
            spec += "/{job.id}";
        }
        if self.one_in(12) {
            spec += "/";
        }
        spec
    }
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let odd = random.one_in(6);
        let mut keys = Vec::new();
        for key in KEYS {
            let kind = match key {
                "l" => 7,
                "c" => 8,
                _ => random.below(10),
            };
            if random.one_in(2) {
                keys.push((key, kind));
            }
        }
        let sparse = random.one_in(3);
        let with_job = random.one_in(20);
        let n_jobs = 1 + random.below(7);
        let mut jobs = BTreeMap::new();
        for _ in 0..n_jobs {
            let mut entries = Vec::new();
            for (key, kind) in &keys {
                if !sparse || !random.one_in(5) {
                    entries.push(format!("\"{key}\": {}", random.value_of(*kind, odd)));
                }
            }
            if with_job {
                entries.push(format!("\"job\": {}", random.below(3)));
            }
            let document = (!sparse || !random.one_in(4)).then(|| {
                let mut value = || random.value_of(3, false);
                format!(
                    "{{\"a\": {}, \"b\": {}, \"c\": {{\"d\": {}}}}}",
                    value(),
                    value(),
                    value()
                )
            });
            jobs.insert(format!("{{{}}}", entries.join(", ")), document);
        }
        let names: Vec<_> = keys.iter().map(|(key, _)| *key).collect();
        let specs = (0..SPECS).map(|_| random.spec(&names)).collect();
        Self { jobs, specs }
    }

    fn to_json(&self, dir: &Path) -> String {
        let jobs: Vec<_> = self.jobs.iter().collect();
        json!({"dir": dir, "jobs": jobs, "specs": self.specs}).to_string()
    }

    /// Tells whether a value is in no file name as it is, or would be read as a part of the spec.
    fn has_odd_values(&self) -> bool {
        self.jobs.keys().any(|job| {
            let odd = |value: &&str| job.contains(*value);
            ODD.iter().any(odd) || job.contains("[{")
        })
    }

    /// Tells whether signac takes values for the same that are not, or a key for a job; then its
    /// automatic paths are not ours.
    fn has_ambiguous_keys(&self) -> bool {
        let mut values: BTreeMap<Vec<u8>, Vec<Value>> = BTreeMap::new();
        for job in self.jobs.keys() {
            let object = parse(job).unwrap().into_object().unwrap();
            visit(object, &mut |key, leaf| {
                if let Leaf::Value(value) = leaf {
                    values.entry(key.to_vec()).or_default().push(value);
                }
            });
        }
        let is_ambiguous = |values: &Vec<Value>| {
            let pairs = values
                .iter()
                .flat_map(|a| values.iter().map(move |b| (a, b)));
            pairs
                .filter(|(a, b)| a != b)
                .any(|(a, b)| a.py_eq(b) || view_str(a) == view_str(b))
        };
        values.contains_key(b"job".as_slice()) || values.values().any(is_ambiguous)
    }
}

impl Case {
    /// Tells whether signac's refusal is one of those that we have no reason for: braces in a value,
    /// a job without automatic part, a format or `repr` of the job itself, the key `0` in brackets,
    /// and values that it takes for the same.
    fn is_ours_alone(&self, spec: &str, answer: &serde_json::Value) -> bool {
        let has = |text: &&str| spec.contains(*text);
        self.has_odd_values()
            || self.has_ambiguous_keys()
            || answer.to_string().contains("Unable to determine path")
            || ["{job:", "{job!", "[0]"].iter().any(has)
    }
}

/// The paths that signac gives.
struct Theirs(BTreeMap<String, String>);

impl Theirs {
    /// Reads an answer; `None` if signac failed.
    fn of(answer: &serde_json::Value) -> Option<Self> {
        let paths = answer.as_object()?;
        let path = |(id, path): (&String, &serde_json::Value)| {
            (id.clone(), path.as_str().unwrap().to_owned())
        };
        Some(Self(paths.iter().map(path).collect()))
    }

    /// Returns the links as the file system makes them, path to id.
    fn links(&self) -> BTreeMap<String, String> {
        let link = |(id, path): (&String, &String)| {
            let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
            let parts: Vec<_> = parts.chain(["job"]).collect();
            (parts.join("/"), id.clone())
        };
        self.0.iter().map(link).collect()
    }

    /// Tells whether every job has a path of its own that stays inside and that a file system takes.
    fn is_sound(&self) -> bool {
        let links = self.links();
        let runs_through = |path: &String| {
            links
                .keys()
                .any(|other| other.starts_with(&format!("{path}/")))
        };
        let fits = |path: &String| {
            path.split('/')
                .all(|part| part.len() <= 255 && part != "..")
        };
        links.len() == self.0.len()
            && self
                .0
                .values()
                .all(|path| !path.starts_with('/') && !path.contains('\0') && !has_escape(path))
            && links.keys().all(|path| fits(path) && !runs_through(path))
    }
}

/// Tells whether a text holds what we write for another character.
fn has_escape(path: &str) -> bool {
    let mut after = path.split('%').skip(1).map(str::as_bytes);
    after.any(|rest| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit))
}

#[derive(Debug, Default)]
struct Tally {
    equal: usize,
    both_refused: usize,
    ours_alone: usize,
    theirs_unsound: usize,
    odd: usize,
}

/// Compares one answer; an error says how ours is wrong.
fn compare(
    case: &Case,
    root: &Path,
    spec: &str,
    answer: &serde_json::Value,
    tally: &mut Tally,
) -> Result<(), String> {
    let ours = spec_links(root, spec);
    if let Ok(links) = &ours {
        let ids: BTreeSet<_> = links.values().collect();
        if ids.len() != case.jobs.len() || links.len() != case.jobs.len() {
            return Err(format!("not every job has a path: {links:?}"));
        }
    }
    match (&ours, Theirs::of(answer)) {
        (Err(_), None) => tally.both_refused += 1,
        (Ok(_), None) if case.is_ours_alone(spec, answer) => tally.ours_alone += 1,
        (Ok(links), None) => return Err(format!("signac refuses, ours: {links:?}")),
        (_, Some(_))
            if case.has_odd_values() || (spec.contains("auto") && case.has_ambiguous_keys()) =>
        {
            tally.odd += 1;
        }
        (_, Some(theirs)) if !theirs.is_sound() => tally.theirs_unsound += 1,
        (_, Some(theirs)) if ours == Ok(theirs.links()) => tally.equal += 1,
        (_, Some(theirs)) => return Err(format!("ours: {ours:?}\ntheirs: {:?}", theirs.links())),
    }
    Ok(())
}

fn run_round(env: &Env, python: &Path, seed: u64, tally: &mut Tally) {
    let dir = env.path().join(format!("round-{seed}"));
    std::fs::create_dir(&dir).unwrap();
    let cases: Vec<_> = (0..PROJECTS as u64).map(|i| Case::new(seed + i)).collect();
    let roots: Vec<_> = (0..PROJECTS).map(|i| dir.join(i.to_string())).collect();
    let lines: Vec<_> = cases
        .iter()
        .zip(&roots)
        .map(|(case, root)| case.to_json(root))
        .collect();
    let input = dir.join("cases");
    std::fs::write(&input, lines.join("\n")).unwrap();
    let output = python::run(env, python, &dir, PATHS_SCRIPT, &[input.to_str().unwrap()]);
    assert_eq!(output.lines().count(), cases.len());
    for ((case, root), answers) in cases.iter().zip(&roots).zip(output.lines()) {
        let answers: Vec<serde_json::Value> = serde_json::from_str(answers).unwrap();
        for (spec, answer) in case.specs.iter().zip(&answers) {
            if let Err(why) = compare(case, root, spec, answer, tally) {
                panic!("{spec:?}: {why}\nsignac says {answer}\n{:#?}", case.jobs);
            }
        }
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn random_specs_give_the_paths_that_signac_gives() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let begun = Instant::now();
    let (limit, mut seed) = budget(6);
    let mut tally = Tally::default();
    loop {
        run_round(&env, &python, seed, &mut tally);
        seed += PROJECTS as u64;
        if begun.elapsed() >= limit {
            break;
        }
    }
    let n_all =
        tally.equal + tally.both_refused + tally.ours_alone + tally.theirs_unsound + tally.odd;
    assert!(tally.equal * 10 > n_all, "{tally:?}");
    #[expect(
        clippy::print_stderr,
        reason = "how much was compared is worth knowing"
    )]
    {
        eprintln!("{tally:?} up to seed {seed}");
    }
}

/// A value as JSON and a format.
fn format_pair(random: &mut Random) -> (String, String) {
    let value = match random.below(12) {
        0 => f64::from_bits(random.next()).to_string(),
        1 => format!("{}.{}5", random.below(20), random.below(1000)),
        2 => format!("{}e{}", random.below(100_000), random.below(50) as i64 - 25),
        3 => (random.next() as i64 >> random.below(63)).to_string(),
        4 => format!(
            "{}{}",
            random.pick(&["", "-"]),
            format!("1{}", random.next()).repeat(1 + random.below(18))
        ),
        5 => random
            .pick(&[
                "true",
                "false",
                "null",
                "[1, \"a\"]",
                "NaN",
                "Infinity",
                "-Infinity",
            ])
            .to_owned(),
        6 => random
            .pick(&[
                "-0.0", "0.0", "-0.04", "1.0", "100000.0", "1e16", "9.5", "0.5", "2.5",
            ])
            .to_owned(),
        7 => random
            .pick(&["0", "-1", "65", "233", "9731", "1114111", "1114112"])
            .to_owned(),
        8 => random
            .pick(&["\"\"", "\"a\"", "\"h\u{e9}llo\"", "\"\u{1f600}\u{2603}x\""])
            .to_owned(),
        _ => format!("{}.{}", random.below(2000) as i64 - 1000, random.next()),
    };
    let value = match value.as_str() {
        "inf" | "-inf" => "1e999".to_owned(),
        text if parse(text).is_ok() => value,
        _ => "0.1".to_owned(),
    };
    let mut format = String::new();
    let mut maybe = |random: &mut Random, n: usize, items: &[&str]| {
        if random.one_in(n) {
            format += random.pick(items);
        }
    };
    maybe(
        random,
        3,
        &[
            "<", ">", "^", "=", "*<", "0>", "_^", "0=", "\u{e9}=", "<<", "{>",
        ],
    );
    maybe(random, 4, &["+", "-", " "]);
    maybe(random, 12, &["z"]);
    maybe(random, 6, &["#"]);
    maybe(random, 3, &["0"]);
    maybe(random, 2, &["1", "2", "5", "8", "12", "17", "30"]);
    maybe(random, 4, &[",", "_", ",_", ",,"]);
    maybe(
        random,
        2,
        &[".0", ".1", ".2", ".3", ".6", ".17", ".30", "."],
    );
    let kinds = [
        "b", "c", "d", "e", "E", "f", "F", "g", "G", "n", "o", "s", "x", "X", "%", "q", "dd",
    ];
    maybe(random, 1, &kinds);
    if random.one_in(4) {
        format.pop();
    }
    (value, format)
}

#[test]
fn random_formats_are_those_of_python() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let begun = Instant::now();
    let (limit, seed) = budget(1);
    let mut random = Random(seed);
    let input = env.path().join("pairs");
    loop {
        let pairs: Vec<_> = (0..FORMATS).map(|_| format_pair(&mut random)).collect();
        let lines: Vec<_> = pairs.iter().map(|pair| json!(pair).to_string()).collect();
        std::fs::write(&input, lines.join("\n")).unwrap();
        let output = python::run(
            &env,
            &python,
            &env.path(),
            FORMAT_SCRIPT,
            &[input.to_str().unwrap()],
        );
        assert_eq!(output.lines().count(), pairs.len());
        let mut n_written = 0;
        for ((json, spec), theirs) in pairs.iter().zip(output.lines()) {
            let value = parse(json).unwrap();
            let ours = FormatSpec::parse(spec).and_then(|spec| spec.format(&value));
            match (parse(theirs).unwrap(), &ours) {
                (Value::Null, Err(_)) => {}
                (Value::Str(theirs), Ok(ours)) if theirs == *ours => n_written += 1,
                (theirs, _) => panic!("format({json}, {spec:?}): {ours:?}, in Python {theirs:?}"),
            }
        }
        assert!(n_written * 4 > pairs.len(), "{n_written} texts");
        if begun.elapsed() >= limit {
            break;
        }
    }
}

/// A project with these jobs.
fn project_of(jobs: &[&str]) -> (Env, PathBuf) {
    let env = Env::new();
    let root = env.project("p");
    for job in jobs {
        write_job(&root, job);
    }
    (env, root)
}

/// Checks the paths in the order of listing, without the leaves' name.
#[track_caller]
fn check(jobs: &[&str], spec: &str, expected: &[&str]) {
    let (_env, root) = project_of(jobs);
    let tree = spec_tree(&root, spec).unwrap();
    let leaves = leaves(&tree, load(&root).snapshot().as_ref());
    let paths: Vec<_> = leaves
        .iter()
        .map(|(path, _)| path.strip_suffix("job").unwrap().trim_end_matches('/'))
        .collect();
    assert_eq!(paths, expected);
}

#[track_caller]
fn check_error(jobs: &[&str], spec: &str, expected: &str) {
    let (_env, root) = project_of(jobs);
    assert_eq!(spec_links(&root, spec), Err(expected.to_owned()));
}

#[test]
fn directories_are_listed_in_the_order_of_values() {
    let jobs = [
        r#"{"a": 10, "b": "y"}"#,
        r#"{"a": 9, "b": "x"}"#,
        r#"{"a": 9.5, "b": "z"}"#,
        r#"{"a": 100, "b": "x"}"#,
    ];
    check(&jobs, "{a}", &["9", "9.5", "10", "100"]);
    check(&jobs, "a={a}/b", &["a=9/b", "a=9.5/b", "a=10/b", "a=100/b"]);
    check(&jobs, "{b}/{a}", &["x/9", "x/100", "y/10", "z/9.5"]);
    check(&jobs, "{a}{b}", &["100x", "10y", "9.5z", "9x"]);
    check(
        &jobs,
        "{b}/{{auto}}",
        &["x/a/9", "x/a/100", "y/a/10", "z/a/9.5"],
    );
    check(
        &jobs,
        "{a:{b}>6}",
        &["xxxxx9", "zzz9.5", "yyyy10", "xxx100"],
    );
}

#[test]
fn values_are_inserted_once_and_safely() {
    check(
        &[r#"{"f": "{x}"}"#, r#"{"f": "{{auto}}"}"#],
        "f/{f}",
        &["f/{x}", "f/{{auto}}"],
    );
    check(
        &[r#"{"f": "p/q"}"#, r#"{"f": "%2F"}"#],
        "{f}",
        &["%252F", "p%2Fq"],
    );
    check(
        &[r#"{"f": ""}"#, r#"{"f": "."}"#, r#"{"f": ".."}"#],
        "{f}",
        &["\"\"", "\".\"", "\"..\""],
    );
    check(&[r#"{"f": ""}"#, r#"{"f": "."}"#], "x{f}", &["x", "x."]);
    check(
        &[r#"{"f": ""}"#, r#"{"f": "."}"#],
        "{{auto:_}}",
        &["f_", "f_."],
    );
    // Once a format made it: `%` and zeros.
    check(&[r#"{"f": "%"}"#], "{f:05}", &["%250000"]);
    check(&[r#"{"f": "\ud800"}"#], "{f}", &["\"\\ud800\""]);
    let long = format!(r#"{{"f": "{}"}}"#, "x".repeat(300));
    check(&[&long], "{f}", &[&format!("{}~8a4876ea", "x".repeat(246))]);
}

#[test]
fn text_of_a_spec_is_that_of_a_path() {
    let jobs = [r#"{"a": 1}"#];
    check(&jobs, "", &[""]);
    check(&jobs, "./x//y/.", &["x/y"]);
    check(&jobs, "{{{{x}}}}", &["{x}"]);
    check(&jobs, "%2F/{job.id:.4}", &["%2F/42b7"]);
    check(&jobs, "{{auto}}/x", &["x"]);
}

#[test]
fn paths_of_several_jobs_are_told_apart_or_refused() {
    let jobs = [
        r#"{"a": 1, "b": 1}"#,
        r#"{"a": 1, "b": 2}"#,
        r#"{"a": 2, "b": 2}"#,
    ];
    check_error(
        &jobs,
        "x/{a}",
        "the path `x/1` is made for 2 jobs: 386b19932c82f3f9749dd6611e846293 and 8aacdb17187e6acf2b175d4aa08d7213; \
         add a field that tells them apart, or the id: `x/{a}/id/{job.id}`",
    );
    check_error(
        &jobs,
        "",
        "an empty path is made for 3 jobs: 386b19932c82f3f9749dd6611e846293, 8aacdb17187e6acf2b175d4aa08d7213 and \
         d48f81ad571306570e2eb9fe7920cd3c; add a field that tells them apart, or the id: `id/{job.id}`",
    );
    check(&[r#"{"a": "job"}"#, r#"{"a": "x"}"#], "{a}", &["job", "x"]);
    check_error(
        &[r#"{"c": "b"}"#, r#"{"b": "job", "c": "q"}"#],
        "{{auto}}/{c}",
        "the path `b/job/q` of job ea3e7c12b527fdaadf5e450644c7acf8 runs through the entry `job` of job 2f5016ed597f15e831dead1d2fd54d00; put a name before the field: `x={x}` instead of `{x}` can never be `job`",
    );
}

#[test]
fn errors_name_the_job_and_the_remedy() {
    let jobs = [
        r#"{"angle": 1, "o": {"d": 1}}"#,
        r#"{"angle": 2, "o": {"d": 2}, "gas": null}"#,
    ];
    check_error(
        &jobs,
        "{angel}",
        "no job has the key of the field `{angel}`; did you mean `{angle}`?",
    );
    check_error(
        &jobs,
        "{job.sp.o.c}",
        "no job has the key of the field `{job.sp.o.c}`; did you mean `{job.sp.o.d}`?",
    );
    check_error(
        &jobs,
        "{o}",
        "job 34ac82bb5db4307482a942722dc11ddf has no path: `{o}` is an object; name one of its keys: `{o.KEY}`",
    );
    check_error(
        &jobs,
        "{gas}",
        "job 34ac82bb5db4307482a942722dc11ddf has no path: it lacks `{gas}`; `-f 'exists(gas)'` leaves out jobs without it",
    );
    check_error(
        &jobs[1..],
        "{gas:>5}",
        "job 9ce6ca2e05a4000c27c6cb93660c8eaf has no path: in `{gas}`, null cannot be written as `>5`: it takes no format; `!s` before the format makes a text of any value: `{gas!s:>5}`",
    );
    check_error(
        &jobs,
        "{angle:s}",
        "job 34ac82bb5db4307482a942722dc11ddf has no path: in `{angle}`, an integer cannot be written as `s`: `s` is for other types; `!s` before the format makes a text of any value: `{angle!s:s}`",
    );
    check_error(
        &[r#"{"job": 1, "a": 1}"#],
        "{a}",
        "job 1b6e25e1d9cd10a685ed9cadfbc663c2 has no path: its state point has a key `job`, which fields take for the job itself; write `{job.sp.a}` instead of `{a}`",
    );
}

#[test]
fn a_spec_that_is_none_says_where() {
    let check = |spec: &str, expected: &str| check_error(&[], spec, expected);
    check(
        "a/{b",
        "the field is not closed at column 3; a field is `{key}` or `{key:format}`; `{{{{` stands for one brace",
    );
    check(
        "{a}}",
        "a `}` closes nothing at column 4; `}}}}` stands for one brace",
    );
    check(
        "{}",
        "`{}` names no key at column 1; a field is the key of a state point, like `{velocity}`, or `{job.id}`",
    );
    check(
        "{0}",
        "`{0}` names no key at column 1; a field is the key of a state point, like `{velocity}`, or `{job.id}`",
    );
    check(
        "{a!q}",
        "there is no conversion `!q` at column 1; there are !s, !r and !a",
    );
    check(
        "{a!rx}",
        "a conversion is one letter, then `:` or `}` at column 5",
    );
    check(
        "{a:5.}",
        "`5.` is no format: a number must follow the point at column 4; formats are those of Python, like `03d`, `.2f` or `_>10`",
    );
    check("{a:{b:{c}}}", "fields are nested too deeply at column 4");
    check("{a{", "a field's name has no braces at column 3");
    check("{a..b}", "a key must follow the dot at column 1");
    check("{l[0]x}", "only `.` or `[` may follow `]` at column 1");
    check("{l[]}", "`[]` names nothing at column 1");
    check(
        "{job.path}",
        "`{job.path}` is nothing that a path can show of a job at column 1; there are `{job.id}`, `{job.sp.KEY}` and `{job.doc.KEY}`",
    );
    check(
        "{job.sp}",
        "`{job.sp}` is a whole object at column 1; name one of its keys: `{job.sp.KEY}`",
    );
    check(
        "{{a}}",
        "only `{{auto}}` has double braces, not `a` at column 1; a field has single braces, and `{{{{` stands for one brace",
    );
    check(
        "{{auto:{a}}}",
        "inside of double braces stands no field at column 8; the separator in `{{auto:_}}` is plain text",
    );
    check("{{auto", "the double brace is not closed at column 1");
    check(
        "/abs",
        "the path is absolute at column 1; paths stay inside of the view: leave the first `/` out",
    );
    check(
        "x/../y",
        "`..` leads out of the view at column 3; paths stay inside of the view: leave it out",
    );
    check(
        "{{auto:/../}}",
        "`..` leads out of the view at column 1; paths stay inside of the view: leave it out",
    );
    check("x\0", "no name can hold NUL at column 2");
}

/// The rows of the first table of a page: what stands in code marks, by cell.
fn example_rows(page: &str) -> Vec<(Vec<String>, String)> {
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| spec "))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let in_code = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        (in_code(cells[1]), in_code(cells[2]).concat())
    })
    .collect()
}

#[test]
fn the_examples_of_the_documentation_are_true() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/views.md");
    let page = std::fs::read_to_string(page).unwrap();
    let statepoint = page.lines().find(|line| line.starts_with('{')).unwrap();
    let document = page.split("the document `").nth(1).unwrap();
    let document = document.split('`').next().unwrap();
    let (_env, root) = project_of(&[statepoint]);
    let job = std::fs::read_dir(root.join("workspace")).unwrap().next();
    let job = job.unwrap().unwrap().path();
    std::fs::write(job.join("signac_job_document.json"), document).unwrap();
    let rows = example_rows(&page);
    assert!(rows.len() > 10);
    for (specs, path) in rows {
        for spec in specs {
            let links = spec_links(&root, &spec).unwrap();
            let found: Vec<_> = links.into_keys().collect();
            assert_eq!(found, [format!("{path}/job")], "{spec}");
        }
    }
}

/// Jobs that share values, lack keys, or differ in nothing that a path shows.
#[test]
fn few_paths_are_those_of_all() {
    let keys = ["a", "b.c", "b", "id", "job", "d"];
    let values = [
        "0", "1", "true", "1.0", "\"1\"", "{}", "\"x/y\"", "null", "[1]",
    ];
    for seed in 0..60 {
        let mut random = Random(seed);
        let env = Env::new();
        let root = env.project("p");
        let n_values = 2 + random.below(values.len() - 1);
        for _ in 0..1 + random.below(12) {
            let keys = keys.iter().filter(|_| random.one_in(2)).copied();
            let keys: Vec<_> = keys.collect();
            let members = keys.into_iter().map(|key| match key {
                "b.c" => format!("\"b\": {{\"c\": {}}}", random.pick(&values[..n_values])),
                key => format!("\"{key}\": {}", random.pick(&values[..n_values])),
            });
            let members: Vec<_> = members.collect();
            write_job(&root, &format!("{{{}}}", members.join(", ")));
        }
        let snapshot = load(&root).snapshot();
        let all: BTreeMap<_, _> = default_paths(&snapshot, &snapshot.all()).texts().collect();
        let live = LiveFacts::new(&Workspace::of_project(&root), None);
        for n in 1..4 {
            let few = (0..n).map(|_| random.below(all.len()) as u32).collect();
            let paths = live.ask(&snapshot, 0, 0, |facts| default_paths_of_few(facts, &few));
            let (paths, _) = paths.unwrap();
            let found: BTreeMap<_, _> = paths.texts().collect();
            let expected = all.iter().filter(|(job, _)| few.contains(**job));
            let expected = expected.map(|(job, path)| (*job, path.clone())).collect();
            assert_eq!(found, expected, "seed {seed}");
        }
    }
}
