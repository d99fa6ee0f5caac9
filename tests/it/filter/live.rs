//! Random filters over random projects, against the signac that is installed.
//!
//! The differences on purpose (`docs/filters.md`) are modelled one by one: [`Mirror`] computes what
//! signac must answer from our evaluation, and everything else must be equal.
//!
//! With `SWEEPFS_TEST_FILTERS_S=300` it goes on with fresh seeds for 300 seconds.

use super::random::{REFUSED, Random};
use crate::support::env::Env;
use crate::support::python::{self, python};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use sweepfs::filter::{Expr, Field, Filter, Found, Space, Test, ValueSet};
use sweepfs::pyjson::{Int, Object, PyStr, Value, dumps, parse};
use sweepfs::statepoint::StatePoint;

const SCRIPT: &str = r#"
import contextlib, io, json, os, sys, tempfile
import signac
from signac._search_indexer import _SearchIndexer, _find_with_index_operator
from signac._utility import _nested_dicts_to_dotted_keys
from signac.filterparse import parse_filter_arg

PROBES = {"$regex": "", "$near": 0.5, "$type": 0, "$in": "", "$nin": ""}

def leaf_is_bad(key, value):
    op = key.split(".")[-1]
    if "$" not in key:
        return False
    if op == "$where" or (op in ("$in", "$nin") and value == {}):
        return True
    try:
        _SearchIndexer({})._find_expression(key, value)
        if op in PROBES:
            _find_with_index_operator({PROBES[op]: {"id"}}, op, value)
    except Exception:
        return True
    return False

def is_bad(query):
    "Whether some part of a filter can never be evaluated, be it reached or not."
    if not isinstance(query, dict):
        return True
    for key, value in query.items():
        if key in ("$and", "$or"):
            if not isinstance(value, list) or not value or any(map(is_bad, value)):
                return True
        elif key == "$not":
            if is_bad(value):
                return True
        elif key.startswith("$"):
            return True
        elif any(leaf_is_bad(*leaf) for leaf in _nested_dicts_to_dotted_keys({"sp." + key: value})):
            return True
    return False

def answer(project, args):
    said = io.StringIO()
    out = {"bad": True}
    try:
        with contextlib.redirect_stderr(said):
            query = parse_filter_arg(args)
        out["json"] = json.dumps(query)
        out["said"] = said.getvalue()
        out["bad"] = is_bad(query)
        out["ids"] = sorted(project._find_job_ids(query))
    except Exception as error:
        out["error"] = type(error).__name__
    return out

with tempfile.TemporaryDirectory(dir=sys.argv[2]) as root:
    for i, line in enumerate(open(sys.argv[1], encoding="utf-8")):
        case = json.loads(line)
        project = signac.init_project(os.path.join(root, str(i)))
        for sp, doc in case["jobs"]:
            job = project.open_job(sp)
            job.init()
            if doc is not None:
                with open(os.path.join(job.path, "signac_job_document.json"), "w") as file:
                    file.write(json.dumps(doc))
        order = list(project._job_dirs())
        print(json.dumps({"order": order, "answers": [answer(project, args) for args in case["args"]]}))
"#;

const PROJECTS: usize = 60;
const FILTERS: usize = 60;

/// A random project, and arguments to find jobs in it.
struct Case {
    /// State point, and the document if there is one.
    jobs: Vec<(String, Option<String>)>,
    args: Vec<Vec<String>>,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut jobs = Vec::new();
        for _ in 0..3 + random.below(14) {
            let document = match random.below(4) {
                0 => None,
                _ => Some(random.parameters()),
            };
            jobs.push((random.parameters(), document));
        }
        let mut args = |_| match random.below(4) {
            0 => random.tokens(),
            _ => vec![random.filter(2)],
        };
        let args = (0..FILTERS).map(&mut args).collect();
        Self { jobs, args }
    }

    fn to_json(&self) -> String {
        let job = |(statepoint, document): &(String, Option<String>)| {
            format!("[{statepoint}, {}]", document.as_deref().unwrap_or("null"))
        };
        let jobs: Vec<_> = self.jobs.iter().map(job).collect();
        let args = serde_json::to_string(&self.args).unwrap();
        format!("{{\"jobs\": [{}], \"args\": {args}}}", jobs.join(", "))
    }
}

fn get(object: &Object, key: &str) -> Option<Value> {
    object.get(&key.into()).cloned()
}

fn text(object: &Object, key: &str) -> Option<String> {
    match get(object, key)? {
        Value::Str(text) => Some(text.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

fn texts(value: Option<Value>) -> Vec<String> {
    let Some(Value::List(items)) = value else {
        panic!("a list")
    };
    let text = |item: Value| dumps(&item).trim_matches('"').to_owned();
    items.into_iter().map(text).collect()
}

fn object(json: &str) -> Object {
    parse(json).unwrap().into_object().unwrap()
}

/// What signac knows of a job.
struct Job {
    id: String,
    statepoint: Object,
    document: Option<Object>,
}

/// A project as signac sees it.
struct Mirror {
    jobs: Vec<Job>,
}

impl Mirror {
    /// `order` is that of the directory.
    fn new(case: &Case, order: &[String]) -> Self {
        let mut jobs: HashMap<String, Job> = HashMap::new();
        for (statepoint, document) in &case.jobs {
            let id = StatePoint::from_value(parse(statepoint).unwrap())
                .unwrap()
                .id()
                .to_string();
            let statepoint = object(statepoint);
            let document = document.as_deref().map(object);
            let earlier = jobs.remove(&id).and_then(|job| job.document);
            let document = document.or(earlier);
            jobs.insert(
                id.clone(),
                Job {
                    id,
                    statepoint,
                    document,
                },
            );
        }
        let jobs = order.iter().map(|id| jobs.remove(id).unwrap()).collect();
        Self { jobs }
    }

    /// The jobs that we find.
    fn ours(&self, filter: &Filter) -> Vec<String> {
        let empty = Object::new();
        let found = |job: &&Job| {
            let document = job.document.as_ref().unwrap_or(&empty);
            filter.expr().matches(&job.statepoint, document)
        };
        sorted_ids(self.jobs.iter().filter(found))
    }

    /// The jobs that signac finds.
    fn theirs(&self, json: &str) -> Vec<String> {
        let query = object(json);
        let with_documents = names_document(&query);
        let expr = Filter::parse(&adapted(&query).dumps()).unwrap();
        let mut seen = HashMap::new();
        let mut merge = |job: &Job| Job {
            id: job.id.clone(),
            statepoint: merged(&job.statepoint, "sp", &mut seen),
            document: job
                .document
                .as_ref()
                .filter(|_| with_documents)
                .map(|document| merged(document, "doc", &mut seen)),
        };
        let jobs: Vec<_> = self.jobs.iter().map(&mut merge).collect();
        sorted_ids(jobs.iter().filter(|job| matches(expr.expr(), job)))
    }
}

fn sorted_ids<'a>(jobs: impl Iterator<Item = &'a Job>) -> Vec<String> {
    let mut ids: Vec<_> = jobs.map(|job| job.id.clone()).collect();
    ids.sort();
    ids
}

/// Evaluates as we do, but for jobs without a document: signac's have not even an empty one.
fn matches(expr: &Expr, job: &Job) -> bool {
    let empty = Object::new();
    match expr {
        Expr::Probe(never) => match *never {},
        Expr::And(parts) => parts.iter().all(|part| matches(part, job)),
        Expr::Or(parts) => parts.iter().any(|part| matches(part, job)),
        Expr::Not(part) => !matches(part, job),
        Expr::Test(
            Field {
                space: Space::Document,
                key: None,
            },
            test,
        ) => job.document.is_some() && test.passes(Found::Object),
        Expr::Test(field, Test::OneOf(values)) if has_marker(values) => {
            let object = match field.space {
                Space::StatePoint => &job.statepoint,
                Space::Document => job.document.as_ref().unwrap_or(&empty),
            };
            let found = field.key.as_ref().and_then(|key| key.get(object));
            found.is_some_and(|found| is_looked_up(values, found))
        }
        test @ Expr::Test(..) => {
            test.matches(&job.statepoint, job.document.as_ref().unwrap_or(&empty))
        }
    }
}

/// In a list of values: the integer matches integers and bools, the float floats.
const MARKER: &str = "an integer, and the float that it is rounded to";

fn has_marker(values: &ValueSet) -> bool {
    values.values().contains(&Value::from(MARKER))
}

fn is_looked_up(values: &ValueSet, found: &Value) -> bool {
    let same_kind =
        |value: &&Value| matches!(value, Value::Float(_)) == matches!(found, Value::Float(_));
    let mut looked_up = values.values().iter().filter(same_kind);
    looked_up.any(|value| value.py_eq(found))
}

/// signac reads documents only if a key outside of `$not` names them.
fn names_document(query: &Object) -> bool {
    query
        .iter()
        .any(|(key, value)| match (key.to_string().as_str(), value) {
            ("$and" | "$or", Value::List(items)) => items.iter().any(|item| match item {
                Value::Object(inner) => names_document(inner),
                _ => false,
            }),
            (key, _) => key.split('.').next() == Some("doc"),
        })
}

/// In signac's index of a key `True` and `1` share a place, and so do `False` and `0`: all have
/// the type of the first.
fn merged(object: &Object, path: &str, seen: &mut HashMap<(String, i64), Value>) -> Object {
    let mut out = Object::new();
    for (key, value) in object.iter() {
        let path = format!("{path}.{key}");
        let number = match value {
            Value::Bool(truth) => Some(i64::from(*truth)),
            Value::Int(Int::Small(number @ 0..=1)) => Some(*number),
            _ => None,
        };
        let value = match (value, number) {
            (Value::Object(inner), _) => Value::Object(merged(inner, &path, seen)),
            (value, Some(number)) => seen
                .entry((path, number))
                .or_insert_with(|| value.clone())
                .clone(),
            (value, None) => value.clone(),
        };
        out.insert(key.clone(), value);
    }
    out
}

/// A filter that means for us what the given one means for signac.
fn adapted(query: &Object) -> Object {
    let mut out = Object::new();
    for (key, value) in query.iter() {
        let name = key.to_string();
        match (name.as_str(), value) {
            ("$and" | "$or", Value::List(items)) => {
                let items = items.iter().map(adapted_value).collect();
                out.insert(key.clone(), Value::List(items));
            }
            ("$not", value) => out.insert(key.clone(), adapted_value(value)),
            _ => {
                // `a` and `sp.a` are one key, of which the last value counts.
                let has_prefix = matches!(name.split('.').next(), Some("sp" | "doc"));
                let full: PyStr = if has_prefix {
                    key.clone()
                } else {
                    format!("sp.{name}").into()
                };
                out.insert(full, with_rounded(&name, value));
            }
        }
    }
    out
}

fn adapted_value(value: &Value) -> Value {
    match value {
        Value::Object(inner) => Value::Object(adapted(inner)),
        other => other.clone(),
    }
}

/// A large integer is also looked up as the float that it rounds to.
fn with_rounded(key: &str, value: &Value) -> Value {
    match value {
        Value::Object(inner) => {
            let mut out = Object::new();
            for (part, value) in inner.iter() {
                let below = format!("{key}.{part}");
                out.insert(part.clone(), with_rounded(&below, value));
            }
            Value::Object(out)
        }
        Value::Int(int) if !key.contains('$') => {
            let Some(float) = int.to_float() else {
                return value.clone();
            };
            let values = vec![value.clone(), Value::Float(float), Value::from(MARKER)];
            let mut either = Object::new();
            either.insert("$in".into(), Value::List(values));
            Value::Object(either)
        }
        _ => value.clone(),
    }
}

/// How often what happened.
#[derive(Debug, Default)]
struct Tally {
    compared: usize,
    nonempty: usize,
    differed_on_purpose: usize,
    refused_by_both: usize,
    raised: usize,
}

fn compare(
    mirror: &Mirror,
    args: &[String],
    answer: &Object,
    tally: &mut Tally,
) -> Result<(), String> {
    tally.compared += 1;
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let ours = Filter::parse_args(&args);
    let bad = matches!(get(answer, "bad"), Some(Value::Bool(true)));
    let json = text(answer, "json").unwrap_or_default();
    let has_surrogate = json.contains(r#"$regex": "\ud800"#);
    let refused = has_surrogate
        || REFUSED
            .iter()
            .any(|pattern| json.contains(&format!("\"{pattern}\"")));
    let filter = match ours {
        Err(error) if bad || refused => {
            tally.refused_by_both += 1;
            return if error.message().is_empty() {
                Err("no message".to_owned())
            } else {
                Ok(())
            };
        }
        Err(error) => return Err(format!("we refuse: {error}")),
        Ok(filter) if bad || refused => {
            return Err(format!("we should refuse, and read `{filter}`"));
        }
        Ok(filter) => filter,
    };
    if args.len() > 1 || !args[0].starts_with('{') {
        let said: String = filter
            .notes()
            .iter()
            .map(|note| format!("{note}\n"))
            .collect();
        let expected = text(answer, "said").unwrap_or_default();
        if said != expected {
            return Err(format!("we say {said:?}, signac {expected:?}"));
        }
    }
    check_print(mirror, &filter)?;
    if let Some(error) = text(answer, "error") {
        tally.raised += 1;
        // What cannot be compared, NaN, and integers beyond all floats.
        return match error.as_str() {
            "TypeError" | "RuntimeError" | "OverflowError" => Ok(()),
            _ => Err(format!("signac raises {error}")),
        };
    }
    let (found, expected) = (texts(get(answer, "ids")), mirror.theirs(&json));
    tally.nonempty += usize::from(!found.is_empty());
    tally.differed_on_purpose += usize::from(mirror.ours(&filter) != found);
    if found == expected {
        Ok(())
    } else {
        Err(format!("signac finds {found:?}, we {expected:?}"))
    }
}

/// The filter in our own words finds the same jobs.
fn check_print(mirror: &Mirror, filter: &Filter) -> Result<(), String> {
    let printed = filter.to_string();
    let again = Filter::parse(&printed).map_err(|error| format!("`{printed}`: {error}"))?;
    if mirror.ours(&again) == mirror.ours(filter) {
        Ok(())
    } else {
        Err(format!("`{printed}` means something else"))
    }
}

fn run_round(env: &Env, python: &std::path::Path, first_seed: u64, tally: &mut Tally) {
    let seeds: Vec<_> = (0..PROJECTS as u64).map(|i| first_seed + i).collect();
    let cases: Vec<_> = seeds.iter().map(|seed| Case::new(*seed)).collect();
    let lines: Vec<_> = cases.iter().map(Case::to_json).collect();
    let input = env.path().join("cases");
    std::fs::write(&input, lines.join("\n")).unwrap();
    let scratch = env.path();
    let args = [input.to_str().unwrap(), scratch.to_str().unwrap()];
    let output = python::run(env, python, &env.path(), SCRIPT, &args);
    let answers: Vec<_> = output.lines().map(object).collect();
    assert_eq!(answers.len(), cases.len());
    for ((case, answers), seed) in cases.iter().zip(answers).zip(seeds) {
        let mirror = Mirror::new(case, &texts(get(&answers, "order")));
        let Some(Value::List(answers)) = get(&answers, "answers") else {
            panic!("answers")
        };
        for (args, answer) in case.args.iter().zip(answers) {
            let answer = answer.into_object().unwrap();
            if let Err(why) = compare(&mirror, args, &answer, tally) {
                panic!(
                    "seed {seed}, {args:?}: {why}\n{answer:?}\n{}",
                    case.to_json()
                );
            }
        }
    }
}

#[test]
fn random_filters_find_what_signac_finds() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let seconds = std::env::var("SWEEPFS_TEST_FILTERS_S").ok();
    let limit = seconds.map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    let begun = Instant::now();
    let mut seed = match limit {
        Some(_) => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
        None => 0,
    } << 32;
    let mut tally = Tally::default();
    loop {
        run_round(&env, &python, seed, &mut tally);
        seed += PROJECTS as u64;
        if limit.is_none_or(|limit| begun.elapsed() >= limit) {
            break;
        }
    }
    assert!(tally.nonempty * 10 > tally.compared, "{tally:?}");
    #[expect(
        clippy::print_stderr,
        reason = "how much was compared is worth knowing"
    )]
    {
        eprintln!("{tally:?} up to seed {seed}");
    }
}
