//! What signac answered, against what we answer.

use sweepfs::filter::Filter;
use sweepfs::pyjson::{Object, Value, dumps, parse};
use sweepfs::statepoint::StatePoint;

/// A job of a vector.
struct Job {
    id: String,
    statepoint: Object,
    document: Object,
}

fn get(object: &Object, key: &str) -> Option<Value> {
    object.get(&key.into()).cloned()
}

fn text(object: &Object, key: &str) -> String {
    match get(object, key) {
        Some(Value::Str(text)) => text.to_string(),
        other => panic!("{key} is {other:?}"),
    }
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::List(items)) => items,
        other => panic!("{other:?} is no list"),
    }
}

fn vectors(json: &str) -> Vec<Object> {
    let items = list(Some(parse(json).unwrap()));
    items
        .into_iter()
        .map(|item| item.into_object().unwrap())
        .collect()
}

fn jobs(items: Vec<Value>) -> Vec<Job> {
    let job = |item: Value| {
        let item = item.into_object().unwrap();
        let statepoint = get(&item, "sp").unwrap();
        let document = match get(&item, "raw_doc") {
            Some(Value::Str(raw)) => Some(parse(&raw.to_string()).unwrap()),
            _ => get(&item, "doc"),
        };
        Job {
            id: StatePoint::from_value(statepoint.clone())
                .unwrap()
                .id()
                .to_string(),
            statepoint: statepoint.into_object().unwrap(),
            document: document
                .and_then(|document| document.into_object().ok())
                .unwrap_or_default(),
        }
    };
    items.into_iter().map(job).collect()
}

fn matches(filter: &Filter, jobs: &[Job]) -> Vec<String> {
    let matching = jobs
        .iter()
        .filter(|job| filter.expr().matches(&job.statepoint, &job.document));
    let mut ids: Vec<_> = matching.map(|job| job.id.clone()).collect();
    ids.sort();
    ids
}

/// Reads a filter as Python's `find_jobs` takes it; `None` for what only Python can pass.
fn read(filter: &Value) -> Option<Result<Filter, String>> {
    let parsed = match filter {
        Value::Object(_) => Filter::parse_args(&[&dumps(filter)]),
        Value::Str(text) => {
            let text = text.to_string();
            Filter::parse_args(&text.split_whitespace().collect::<Vec<_>>())
        }
        _ => return None,
    };
    Some(parsed.map_err(|error| error.to_string()))
}

/// Where we answer and signac fails: what cannot be compared does not match.
const ANSWERED: [(&str, usize); 13] = [
    (r#"{"b": {"$lt": 0.2}}"#, 2),
    (r#"{"b": {"$gt": 0.2}}"#, 2),
    (r#"{"a": {"$gt": 1}}"#, 4),
    (r#"{"b": {"$near": [0.3]}}"#, 1),
    (r#"{"b": {"$near": [0.29, 0.0, 0.05]}}"#, 1),
    (r#"{"a": {"$gt": 0, "$lt": 3}}"#, 2),
    (r#"{"b": {"$type": "float", "$gt": 0.1}}"#, 2),
    (r#"{"doc": {}}"#, 11),
    (r#"{"a": {"b": {}}}"#, 1),
    (r#"{"x": {"$ne": 1}}"#, 3),
    (r#"{"x": {"$nin": [1]}}"#, 3),
    (r#"{"x": {"$type": "float"}}"#, 3),
    (r#"{"x": {"$gt": 1}}"#, 2),
];

/// Where signac answers and we refuse: mistakes that it does not see, and code.
const REFUSED: [(&str, &str); 4] = [
    (r#"{"zzz": {"$type": "bogus"}}"#, "unknown type `bogus`"),
    (r#"{"zzz": {"$regex": "["}}"#, "`[` is never closed"),
    (r#"{"c": {"$where": "lambda x: x == 7"}}"#, "Python code"),
    (r#"{"l": {"$where": "lambda x: 1 in x"}}"#, "Python code"),
];

/// Where both answer, differently: how many jobs match here. Every job has a document, be it
/// empty; and conditions on documents hold inside of `$not`.
const DIFFERENT: [(&str, usize); 2] = [
    (r#"{"doc": {"$exists": false}}"#, 0),
    (r#"{"$not": {"doc": {"k": 1}}}"#, 10),
];

fn check(filter: &Value, jobs: &[Job], vector: &Object) {
    let shown = dumps(filter);
    let known = |(json, _): &&(&str, usize)| *json == shown;
    let Some(parsed) = read(filter) else { return };
    match (parsed, get(vector, "matches")) {
        (Err(error), Some(Value::List(_))) => {
            let refused = REFUSED.iter().find(|(json, _)| *json == shown);
            let (_, why) = refused.unwrap_or_else(|| panic!("{shown}: {error}"));
            assert!(error.contains(why), "{shown}: {error}");
        }
        (Err(_), _) => {}
        (Ok(filter), Some(Value::List(expected))) => {
            let expected: Vec<_> = expected
                .iter()
                .map(|id| dumps(id).replace('"', ""))
                .collect();
            let ours = matches(&filter, jobs);
            match DIFFERENT.iter().find(known) {
                Some((_, n)) => assert_eq!(ours.len(), *n, "{shown}"),
                None => assert_eq!(ours, expected, "{shown}"),
            }
        }
        (Ok(filter), _) => {
            let answered = ANSWERED.iter().find(known);
            let (_, n) = answered.unwrap_or_else(|| panic!("{shown}: no error"));
            assert_eq!(matches(&filter, jobs).len(), *n, "{shown}");
        }
    }
}

#[test]
fn filters_match_the_jobs_that_signac_finds() {
    let vectors = vectors(include_str!("../../data/vectors/query_vectors.json"));
    assert!(vectors.len() > 100);
    for vector in vectors {
        let order_dependent = get(&vector, "order_dependent").is_some();
        if !order_dependent {
            check(
                &get(&vector, "filter").unwrap(),
                &jobs(list(get(&vector, "jobs"))),
                &vector,
            );
        }
    }
}

#[test]
fn numbers_that_are_not_finite_match_as_in_signac() {
    for vector in vectors(include_str!(
        "../../data/vectors/query_vectors_nonfinite.json"
    )) {
        let parsed = |key| parse(&text(&vector, key)).unwrap();
        check(
            &parsed("filter_json"),
            &jobs(list(Some(parsed("jobs_json")))),
            &vector,
        );
    }
}

/// Arguments that signac understands as tokens and we as expressions or JSON, or not at all.
const OUR_OWN: [(&[&str], Option<&str>); 3] = [
    (&["a=5"], Some("a=5")),
    (&["{bad"], None),
    (&["a", "{\"$where\": \"lambda x: x > 2\"}"], None),
];

#[test]
fn arguments_are_understood_as_by_signac() {
    let vectors = vectors(include_str!("../../data/vectors/cli_filter_vectors.json"));
    assert!(vectors.len() > 40);
    for vector in vectors {
        let args: Vec<_> = list(get(&vector, "args"))
            .into_iter()
            .map(|arg| match arg {
                Value::Str(text) => text.to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        check_args(&args, &vector);
    }
}

fn check_args(args: &[&str], vector: &Object) {
    let ours = Filter::parse_args(args);
    if let Some((_, expected)) = OUR_OWN.iter().find(|(own, _)| *own == args) {
        let printed = ours.ok().map(|filter| filter.to_string());
        return assert_eq!(printed.as_deref(), *expected, "{args:?}");
    }
    let theirs = get(vector, "parsed_json").map(|_| text(vector, "parsed_json"));
    match (ours, theirs.as_deref()) {
        // No filter, and the list that fails only when it is used.
        (Ok(filter), Some("null")) => assert_eq!(filter, Filter::default()),
        (Err(_), Some("[]") | None) => {}
        // An empty argument is the empty text, not a crash.
        (Ok(filter), None) => assert_eq!(
            (args, filter.to_string().as_str()),
            (&["a", ""][..], "a=\"\"")
        ),
        (Err(error), Some(_)) => panic!("{args:?}: {error}"),
        (Ok(filter), Some(json)) => {
            let meant = Filter::parse(json).unwrap();
            assert_eq!(filter.to_string(), meant.to_string(), "{args:?}");
            let said: String = filter
                .notes()
                .iter()
                .map(|note| format!("{note}\n"))
                .collect();
            assert_eq!(said, text(vector, "stderr"), "{args:?}");
        }
    }
}

#[test]
fn the_documentation_shows_filters_and_fits_a_terminal() {
    let text = include_str!("../../../docs/filters.md");
    let long: Vec<_> = text
        .lines()
        .filter(|line| line.chars().count() > 100)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
    let block = text.split("```").nth(1).unwrap();
    let examples: Vec<_> = block.lines().skip(1).collect();
    assert!(examples.len() > 10);
    for line in examples {
        let filter = line.split("  ").next().unwrap_or_default();
        Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    }
}
