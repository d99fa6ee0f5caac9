//! Where in a sorted dictionary the values are that can pass a test.

use super::expr::Found;
use super::test::{Comparison, Near, Test};
use super::values::{Equals, Kinds, ValueSet};
use crate::pyjson::{Object, Value};
use std::cmp::Ordering;
use std::ops::Bound;

/// A range in the order of [`Value`].
pub type Span = (Bound<Value>, Bound<Value>);

/// Beyond this relative tolerance the span of `near` is that of all numbers.
const REL_MAX: f64 = 0.5;

/// The span of lists that are nested deeper is that of all lists.
const DEPTH_MAX: usize = 50;

/// By how much more than the tolerances the span of `near` reaches, so that no rounding matters.
const NEAR_SLACK: f64 = 1e-9;

impl Test {
    /// Returns ranges outside which no value passes, so that a sorted dictionary need not be
    /// searched whole; `None` if there is no such bound.
    ///
    /// The ranges are sorted and do not overlap. They say nothing of objects.
    pub fn spans(&self) -> Option<Vec<Span>> {
        let spans = match self {
            Self::Exists | Self::Truthy | Self::NoneOf(_) | Self::NotRegex(_) => return None,
            Self::Compare(Comparison::Ne, _) => return None,
            Self::Compare(Comparison::Eq, value) => equal_spans(value),
            Self::Compare(comparison, value) => ordered_spans(*comparison, value),
            Self::OneOf(values) => set_spans(values),
            Self::Within(_) | Self::Regex(_) => kind_spans("str"),
            Self::Type(kinds) => spans_of(*kinds),
            Self::Near(near) => near_spans(near),
        };
        Some(merged(spans))
    }
}

fn closed(low: Value, high: Value) -> Span {
    (Bound::Included(low), Bound::Included(high))
}

fn kind_spans(name: &str) -> Vec<Span> {
    spans_of(Kinds::named(name).expect("one of the names"))
}

fn spans_of(kinds: Kinds) -> Vec<Span> {
    let bound = |(low, high, is_closed)| match is_closed {
        true => closed(low, high),
        false => (Bound::Included(low), Bound::Excluded(high)),
    };
    kinds.ranges().into_iter().map(bound).collect()
}

fn set_spans(values: &ValueSet) -> Vec<Span> {
    values.values().iter().flat_map(equal_spans).collect()
}

/// The values that are equal to one.
fn equal_spans(value: &Value) -> Vec<Span> {
    match value {
        Value::Null | Value::Str(_) => vec![closed(value.clone(), value.clone())],
        Value::Object(_) => Vec::new(),
        Value::List(_) if is_deeper(value, DEPTH_MAX) => kind_spans("list"),
        Value::List(_) => {
            let extent = extent(value).map(|(low, high)| closed(low, high));
            extent.into_iter().collect()
        }
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            let Some(equals) = Equals::of_number(value) else {
                return Vec::new();
            };
            let bool = equals
                .bool
                .map(|bool| closed(Value::Bool(bool), Value::Bool(bool)));
            bool.into_iter()
                .chain([closed(equals.low, equals.high)])
                .collect()
        }
    }
}

/// Tells whether lists and objects in a value are nested deeper than this.
fn is_deeper(value: &Value, n_levels: usize) -> bool {
    match value {
        Value::List(_) | Value::Object(_) if n_levels == 0 => true,
        Value::List(items) => items.iter().any(|item| is_deeper(item, n_levels - 1)),
        Value::Object(object) => object.iter().any(|(_, item)| is_deeper(item, n_levels - 1)),
        _ => false,
    }
}

/// The least and the greatest value that are equal to one inside a list; `None` for NaN.
///
/// Lists are ordered by their first different items, so a list whose items are each the least is
/// the least.
fn extent(value: &Value) -> Option<(Value, Value)> {
    match value {
        Value::Null | Value::Str(_) => Some((value.clone(), value.clone())),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            let equals = Equals::of_number(value)?;
            Some((equals.bool.map_or(equals.low, Value::Bool), equals.high))
        }
        Value::List(items) => {
            let extents: Option<Vec<_>> = items.iter().map(extent).collect();
            let (low, high) = extents?.into_iter().unzip();
            Some((Value::List(low), Value::List(high)))
        }
        Value::Object(object) => {
            let (mut low, mut high) = (Object::new(), Object::new());
            for (key, item) in object.iter() {
                let (least, greatest) = extent(item)?;
                low.insert(key.clone(), least);
                high.insert(key.clone(), greatest);
            }
            Some((Value::Object(low), Value::Object(high)))
        }
    }
}

/// The values that are less or greater than one.
fn ordered_spans(comparison: Comparison, value: &Value) -> Vec<Span> {
    match value {
        Value::Null | Value::Object(_) => Vec::new(),
        // A bool in a list is among the numbers in Python's order, and before them in ours.
        Value::List(_) => kind_spans("list"),
        Value::Str(_) => {
            let all = (Value::from(""), Bound::Excluded(Value::List(Vec::new())));
            vec![cut(comparison, value.clone(), value.clone(), all)]
        }
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            let Some(equals) = Equals::of_number(value) else {
                return Vec::new();
            };
            let infinity = Bound::Included(Value::Float(f64::INFINITY));
            let all = (Value::Float(f64::NEG_INFINITY), infinity);
            let test = Test::Compare(comparison, value.clone());
            let numbers = cut(comparison, equals.low, equals.high, all);
            passing_bools(&test).into_iter().chain([numbers]).collect()
        }
    }
}

/// The part of a range before or behind the values that are equal to one.
fn cut(comparison: Comparison, low: Value, high: Value, all: (Value, Bound<Value>)) -> Span {
    let (first, last) = (Bound::Included(all.0), all.1);
    match comparison {
        Comparison::Lt => (first, Bound::Excluded(low)),
        Comparison::Le => (first, Bound::Included(high)),
        Comparison::Gt => (Bound::Excluded(high), last),
        Comparison::Ge => (Bound::Included(low), last),
        Comparison::Eq | Comparison::Ne => (first, last),
    }
}

fn passing_bools(test: &Test) -> Vec<Span> {
    let passes = |bool: &bool| test.passes(Found::Value(&Value::Bool(*bool)));
    let passing = [false, true].into_iter().filter(passes);
    passing
        .map(|bool| closed(Value::Bool(bool), Value::Bool(bool)))
        .collect()
}

fn near_spans(near: &Near) -> Vec<Span> {
    let bools = passing_bools(&Test::Near(*near));
    if near.value.is_nan() {
        return Vec::new();
    }
    if near.value.is_infinite() {
        return equal_spans(&Value::Float(near.value));
    }
    if !(near.rel <= REL_MAX && near.abs.is_finite()) {
        return bools.into_iter().chain(kind_spans("number")).collect();
    }
    // |x - v| ≤ rel·max(|x|, |v|) gives |x - v| ≤ rel·|v| / (1 - rel).
    let tolerance = (near.rel * near.value.abs() / (1.0 - near.rel)).max(near.abs);
    let reach = tolerance * (1.0 + NEAR_SLACK) + near.value.abs() * NEAR_SLACK + f64::MIN_POSITIVE;
    let numbers = closed(
        Value::Float(near.value - reach),
        Value::Float(near.value + reach),
    );
    bools.into_iter().chain([numbers]).collect()
}

/// Sorts ranges, joins those that overlap, and drops empty ones.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|(low, high)| !is_empty(low, high));
    spans.sort_by(|a, b| compare_lower(&a.0, &b.0));
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for (low, high) in spans {
        match merged.last_mut() {
            Some((_, last)) if reaches(last, &low) => {
                if compare_upper(last, &high).is_lt() {
                    *last = high;
                }
            }
            _ => merged.push((low, high)),
        }
    }
    merged
}

fn value_of(bound: &Bound<Value>) -> Option<&Value> {
    match bound {
        Bound::Included(value) | Bound::Excluded(value) => Some(value),
        Bound::Unbounded => None,
    }
}

fn is_empty(low: &Bound<Value>, high: &Bound<Value>) -> bool {
    match (low, high) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (low, high) => value_of(low) >= value_of(high),
    }
}

/// Tells whether a range that begins at `low` begins within one that ends at `high`.
fn reaches(high: &Bound<Value>, low: &Bound<Value>) -> bool {
    match (low, high) {
        (Bound::Excluded(low), Bound::Excluded(high)) => low < high,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (low, high) => value_of(low) <= value_of(high),
    }
}

fn compare_lower(a: &Bound<Value>, b: &Bound<Value>) -> Ordering {
    let is_open = |bound: &Bound<Value>| matches!(bound, Bound::Excluded(_));
    value_of(a)
        .cmp(&value_of(b))
        .then(is_open(a).cmp(&is_open(b)))
}

fn compare_upper(a: &Bound<Value>, b: &Bound<Value>) -> Ordering {
    let is_closed = |bound: &Bound<Value>| matches!(bound, Bound::Included(_));
    match (value_of(a), value_of(b)) {
        (Some(x), Some(y)) => x.cmp(y).then(is_closed(a).cmp(&is_closed(b))),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Filter, Found, Test};
    use crate::pyjson::dumps;
    use std::ops::Bound;

    /// Checks the spans of an expression with one test, in the notation of intervals.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let filter = Filter::parse(text).expect("a filter");
        let Expr::Test(_, test) = filter.expr() else {
            panic!("{text} is not a single test")
        };
        let spans = test.spans().expect("spans");
        let shown: Vec<_> = spans
            .iter()
            .map(|span| match span {
                (Bound::Included(low), Bound::Included(high)) if low == high => dumps(low),
                (low, high) => {
                    let (open, low) = edge(low, ["[", "("]);
                    let (close, high) = edge(high, ["]", ")"]);
                    format!("{open}{low}; {high}{close}")
                }
            })
            .collect();
        assert_eq!(shown, expected, "{text}");
    }

    fn edge(
        bound: &Bound<super::Value>,
        [closed, open]: [&'static str; 2],
    ) -> (&'static str, String) {
        match bound {
            Bound::Included(value) => (closed, dumps(value)),
            Bound::Excluded(value) => (open, dumps(value)),
            Bound::Unbounded => ("", String::new()),
        }
    }

    #[test]
    fn spans_are_tight() {
        check("a=5", &["[5; 5.0]"]);
        check("a=1.0", &["true", "[1; 1.0]"]);
        check("a=-0.0", &["false", "[0; 0.0]"]);
        check("a=0.5", &["0.5"]);
        check("a=9007199254740993", &["9007199254740993"]);
        check("a=nan", &[]);
        check("a=x", &["\"x\""]);
        check("a=[1,\"x\"]", &["[[true, \"x\"]; [1.0, \"x\"]]"]);
        check("a=5,x,5.0,null", &["null", "[5; 5.0]", "\"x\""]);
        check("a<1", &["false", "[-Infinity; 1)"]);
        check("a>=1", &["true", "[1; Infinity]"]);
        check("a>inf", &[]);
        check("a<=b", &["[\"\"; \"b\"]"]);
        check("a>b", &["(\"b\"; [])"]);
        check("a<null", &[]);
        check("a<[1]", &["[[]; {})"]);
        check(
            "type(a)=null,bool,list",
            &["null", "[false; true]", "[[]; {})"],
        );
        check("type(a)=object", &[]);
        check("a ~ x", &["[\"\"; [])"]);
        check("near(a, inf)", &["Infinity"]);
        check("near(a, 1, 1)", &["false", "true", "[-Infinity; NaN]"]);
    }

    #[test]
    fn what_most_values_pass_has_no_spans() {
        for text in ["a!=1", "exists(a)", "a", "a!=1,2", "a !~ x"] {
            let filter = Filter::parse(text).expect("a filter");
            assert!(
                matches!(filter.expr(), Expr::Test(_, test) if test.spans().is_none()),
                "{text}"
            );
        }
    }

    #[test]
    fn deep_lists_need_little_stack() {
        let text = format!("a={}{}", "[".repeat(900), "]".repeat(900));
        let filter = Filter::parse(&text).expect("a filter");
        let Expr::Test(_, Test::Compare(_, value)) = filter.expr() else {
            panic!("a comparison")
        };
        let Expr::Test(_, test) = filter.expr() else {
            panic!("a test")
        };
        assert!(test.passes(Found::Value(value)));
        assert_eq!(test.spans().expect("spans").len(), 1);
        assert_eq!(filter.to_string(), text);
    }
}
