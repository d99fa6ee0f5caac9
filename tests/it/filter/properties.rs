//! What holds for any filter.

use super::random::Random;
use std::ops::{Bound, RangeBounds};
use std::time::{Duration, Instant};
use sweepfs::filter::{Comparison, Expr, Filter, FilterError, Found, Test};
use sweepfs::pyjson::{Object, Value, parse};

/// Checks an error as it is shown: it names its place, in one line and without control characters.
fn check_error(error: &FilterError) {
    let (shown, hint) = (error.to_string(), error.hint().unwrap_or_default());
    assert!(!error.message().is_empty());
    assert!(
        !shown.contains(char::is_control) && !hint.contains(char::is_control),
        "{shown:?}"
    );
    if let Some(span) = error.span() {
        assert!(error.text().get(span).is_some(), "{error:?}");
        let snippet = error.snippet().unwrap();
        assert_eq!(snippet.lines().count(), 2, "{snippet:?}");
        assert!(
            snippet.chars().all(|c| c == '\n' || !c.is_control()),
            "{snippet:?}"
        );
    }
}

fn object(json: &str) -> Object {
    parse(json).unwrap().into_object().unwrap()
}

/// Checks that a filter and its printed form select the same jobs.
fn check_print(filter: &Filter, jobs: &[(Object, Object)]) {
    let printed = filter.to_string();
    let again = Filter::parse(&printed).unwrap_or_else(|error| panic!("`{printed}`: {error}"));
    assert_eq!(again.to_string(), printed);
    for (statepoint, document) in jobs {
        assert_eq!(
            filter.expr().matches(statepoint, document),
            again.expr().matches(statepoint, document),
            "`{printed}` {statepoint:?} {document:?}"
        );
    }
}

fn jobs(random: &mut Random) -> Vec<(Object, Object)> {
    let mut job = || (object(&random.parameters()), object(&random.parameters()));
    (0..10).map(|_| job()).collect()
}

/// Pieces of expressions, sound ones and others.
const PIECES: &[&str] = &[
    "a",
    "b",
    "n.x",
    "doc.a",
    "sp",
    "doc",
    "\"my key\"",
    "'q'.x",
    "a%2Eb",
    "n..x",
    ".",
    "=",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "~",
    "!~",
    "=>",
    "!",
    "&&",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "1",
    "-1.5",
    "0.0",
    ".5",
    "nan",
    "-inf",
    "true",
    "null",
    "foo",
    "\"foo\"",
    "'it\\'s'",
    "\"\\ud800\"",
    "\"",
    "'",
    "[1, true]",
    "[NaN]",
    "/o/",
    "^fo",
    "[o",
    "(a|",
    "and",
    "or",
    "not",
    "in",
    "exists(",
    "type(",
    "near(",
    "within(",
    "all()",
    "none()",
    "=int",
    "=float,str",
    "\u{0}",
    "\u{1b}[1m",
    "é",
    "\u{202e}",
    "\n",
    "{\"a\": 1}",
    "{\"a\":",
    "$gt",
    "a.$gt",
    "1e999",
    "99999999999999999999",
];

/// Sound conditions.
const CONDITIONS: &[&str] = &[
    "a",
    "a=1",
    "a!=1,true",
    "a<1",
    "a>=foo",
    "n.x=0.5,foo,[1]",
    "doc.a",
    "not doc.b=1",
    "exists(n)",
    "exists(doc)",
    "type(a)=int",
    "type(n)!=object,str",
    "near(a, 1, 0.5)",
    "within(s, foobar)",
    "s ~ o",
    "s !~ '^f'",
    "a=nan",
    "all()",
    "none()",
    "a in [1, [2]]",
    "a not in []",
    "c=\"\"",
    "a=[1, true]",
    "a<[1]",
    "\"a\".'x'=1",
    "a%2Eb",
];

fn soup(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..1 + random.below(12) {
        text.push_str(random.pick(PIECES));
        if !random.one_in(3) {
            text.push(' ');
        }
    }
    text
}

fn expression(random: &mut Random, depth: usize) -> String {
    match random.below(6) {
        0 if depth > 0 => format!("({})", expression(random, depth - 1)),
        1 if depth > 0 => format!("not ({})", expression(random, depth - 1)),
        2 | 3 if depth > 0 => {
            let joint = random.pick(&["and", "or"]).to_owned();
            format!(
                "{} {joint} {}",
                expression(random, depth - 1),
                expression(random, depth - 1)
            )
        }
        _ => random.pick(CONDITIONS).to_owned(),
    }
}

#[test]
fn any_text_is_a_filter_or_an_error() {
    let mut n_sound = 0;
    for seed in 0..30_000 {
        let mut random = Random(seed);
        let text = soup(&mut random);
        match Filter::parse(&text) {
            Ok(filter) => {
                n_sound += 1;
                check_print(&filter, &jobs(&mut random));
            }
            Err(error) => check_error(&error),
        }
        let args: Vec<_> = (0..random.below(4)).map(|_| soup(&mut random)).collect();
        let args: Vec<_> = args.iter().map(|arg| arg.trim()).collect();
        match Filter::parse_args(&args) {
            Ok(filter) => check_print(&filter, &jobs(&mut random)),
            Err(error) => check_error(&error),
        }
    }
    assert!(n_sound > 1000, "{n_sound}");
}

#[test]
fn damaged_filters_are_filters_or_errors() {
    for seed in 0..10_000 {
        let mut random = Random(seed);
        let text = if random.one_in(2) {
            random.filter(2)
        } else {
            expression(&mut random, 3)
        };
        let mut chars: Vec<_> = text.chars().collect();
        for _ in 0..1 + random.below(3) {
            let at = random.below(chars.len().max(1));
            match random.below(3) {
                0 => chars.truncate(at),
                1 => chars
                    .splice(at..at, random.pick(PIECES).chars())
                    .for_each(drop),
                _ if at < chars.len() => drop(chars.remove(at)),
                _ => {}
            }
        }
        let damaged: String = chars.into_iter().collect();
        match Filter::parse(&damaged) {
            Ok(filter) => check_print(&filter, &jobs(&mut random)),
            Err(error) => check_error(&error),
        }
    }
}

#[test]
fn printed_filters_mean_the_same() {
    for seed in 0..5_000 {
        let mut random = Random(seed);
        let text = expression(&mut random, 4);
        let filter = Filter::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        check_print(&filter, &jobs(&mut random));
        if let Ok(filter) = Filter::parse(&random.filter(2)) {
            check_print(&filter, &jobs(&mut random));
        }
    }
}

fn tests_of(expr: &Expr, tests: &mut Vec<Test>) {
    match expr {
        Expr::Probe(never) => match *never {},
        Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| tests_of(part, tests)),
        Expr::Not(part) => tests_of(part, tests),
        Expr::Test(_, test) => tests.push(test.clone()),
    }
}

/// A sorted dictionary, with the neighbours of many numbers.
fn dictionary() -> Vec<Value> {
    let mut random = Random(1);
    let mut texts: Vec<_> = (0..2000).map(|_| random.scalar()).collect();
    texts.extend((0..2000).map(|_| random.parameters()));
    let numbers = [
        "-2",
        "-1.5000000000000002",
        "0.49999999999999994",
        "1.0000000001",
        "1.05",
        "3.0",
        "4",
        "1e17",
    ];
    let large = [
        "9007199254740994",
        "1.7976931348623157e308",
        "-1e308",
        "5e-324",
        "12345678901234567741440",
    ];
    texts.extend(numbers.iter().chain(&large).map(ToString::to_string));
    texts.push(format!("-1{}", "0".repeat(400)));
    let mut values = Vec::new();
    let mut pending: Vec<_> = texts.iter().map(|text| parse(text).unwrap()).collect();
    while let Some(value) = pending.pop() {
        match value {
            Value::Object(object) => pending.extend(object.into_iter().map(|(_, value)| value)),
            value => values.push(value),
        }
    }
    values.sort();
    values.dedup();
    values
}

fn check_spans(test: &Test, values: &[Value]) {
    let Some(spans) = test.spans() else { return };
    let exact = matches!(test, Test::Compare(_, value) if !matches!(value, Value::List(_)));
    for value in values {
        let n_spans = spans.iter().filter(|span| span.contains(value)).count();
        let passes = test.passes(Found::Value(value));
        assert!(
            n_spans == 1 || !passes && n_spans == 0,
            "{test:?} {value:?} {passes} {spans:?}"
        );
        assert!(
            !exact || passes == (n_spans == 1),
            "{test:?} {value:?} {passes} {spans:?}"
        );
    }
    for pair in spans.windows(2) {
        let (Bound::Included(end) | Bound::Excluded(end)) = &pair[0].1 else {
            panic!("an open end: {spans:?}")
        };
        let (Bound::Included(start) | Bound::Excluded(start)) = &pair[1].0 else {
            panic!("an open start: {spans:?}")
        };
        assert!(end <= start, "{test:?} {spans:?}");
    }
}

#[test]
fn every_value_that_passes_lies_in_a_span() {
    let values = dictionary();
    assert!(values.len() > 100);
    let mut tests = Vec::new();
    for seed in 0..3_000 {
        let mut random = Random(seed);
        for text in [random.filter(2), expression(&mut random, 3)] {
            if let Ok(filter) = Filter::parse(&text) {
                tests_of(filter.expr(), &mut tests);
            }
        }
    }
    use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
    for value in &values {
        tests.extend(
            [Eq, Ne, Lt, Le, Gt, Ge].map(|comparison| Test::Compare(comparison, value.clone())),
        );
    }
    assert!(tests.len() > 3_000);
    for test in &tests {
        check_spans(test, &values);
    }
}

#[test]
fn reading_takes_linear_time() {
    let n = 200_000;
    let texts = [
        vec!["a=1"; n].join(" and "),
        vec!["a=1"; n].join(" or "),
        format!("a={}", vec!["1"; n].join(",")),
        format!("a={}", vec!["\"x\""; n].join(",")),
        vec!["a"; n].join("."),
        vec!["\"a\""; n].join("."),
        vec!["a ~ /x"; n / 100].join(" and "),
        vec!["a=[1]"; n].join(" and "),
        format!("a=[{}", "1,".repeat(n)),
        format!("a='{}", "\\'".repeat(n)),
        "x".repeat(n),
        " ".repeat(n),
        "a=True or ".repeat(n),
        "=".repeat(n),
        "(".repeat(n),
        "a~".repeat(n),
        format!("{{\"a\": [{}1]}}", "1,".repeat(n)),
        format!("{{{}\"a\": 1}}", "\"a\": 1,".repeat(n)),
    ];
    for text in &texts {
        let begun = Instant::now();
        let shown: String = text.chars().take(20).collect();
        if let Err(error) = Filter::parse(text) {
            check_error(&error);
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{shown}: {:?}",
            begun.elapsed()
        );
    }
}
