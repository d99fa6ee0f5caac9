//! What is asked of a single value.

use super::expr::Found;
use super::pattern::Pattern;
use super::values::{Kinds, ValueSet};
use crate::pyjson::{PyStr, Value};
use std::cmp::Ordering;

/// A test of what is found at a key.
///
/// Values are compared as Python compares them: `1`, `1.0` and `true` are equal, NaN equals
/// nothing. Objects pass [`Self::Exists`], [`Self::Truthy`], the negative tests, and a
/// [`Self::Type`] that names them.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Anything passes.
    Exists,
    /// What Python's `bool()` calls true. An object passes, be it empty: dictionaries of values do
    /// not tell empty ones apart.
    Truthy,
    /// Compares with a value. What cannot be ordered passes only [`Comparison::Ne`].
    Compare(Comparison, Value),
    /// Equal to one of these.
    OneOf(ValueSet),
    /// Equal to none of these.
    NoneOf(ValueSet),
    /// A string that is part of this one: signac's `$in` with a string.
    Within(PyStr),
    /// Of one of these types.
    Type(Kinds),
    /// A string in which the pattern is found.
    Regex(Pattern),
    /// Anything but a string in which the pattern is found.
    NotRegex(Pattern),
    /// A number near another one.
    Near(Near),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal, of whatever types.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// The arguments of Python's `math.isclose`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// The number that values are compared with.
    pub value: f64,
    /// The difference allowed, relative to the larger of the two.
    pub rel: f64,
    /// The difference allowed in any case.
    pub abs: f64,
}

impl Test {
    /// Tells whether what was found passes.
    pub fn passes(&self, found: Found<'_>) -> bool {
        let value = match found {
            Found::Value(value) => value,
            Found::Object => return self.passes_object(),
        };
        match self {
            Self::Exists => true,
            Self::Truthy => value.is_truthy(),
            Self::Compare(comparison, other) => comparison.holds(value, other),
            Self::OneOf(values) => values.contains(value),
            Self::NoneOf(values) => !values.contains(value),
            Self::Within(text) => is_within(value, text),
            Self::Type(kinds) => kinds.contains(value),
            Self::Regex(pattern) => pattern.is_found_in(value),
            Self::NotRegex(pattern) => !pattern.is_found_in(value),
            Self::Near(near) => near.holds(value),
        }
    }

    fn passes_object(&self) -> bool {
        match self {
            Self::Exists
            | Self::Truthy
            | Self::Compare(Comparison::Ne, _)
            | Self::NoneOf(_)
            | Self::NotRegex(_) => true,
            Self::Type(kinds) => kinds.has_object(),
            Self::Compare(..)
            | Self::OneOf(_)
            | Self::Within(_)
            | Self::Regex(_)
            | Self::Near(_) => false,
        }
    }
}

impl Comparison {
    fn holds(self, value: &Value, other: &Value) -> bool {
        let is_ordered =
            |accept: fn(Ordering) -> bool| value.py_partial_cmp(other).is_some_and(accept);
        match self {
            Self::Eq => value.py_eq(other),
            Self::Ne => !value.py_eq(other),
            Self::Lt => is_ordered(Ordering::is_lt),
            Self::Le => is_ordered(Ordering::is_le),
            Self::Gt => is_ordered(Ordering::is_gt),
            Self::Ge => is_ordered(Ordering::is_ge),
        }
    }
}

impl Near {
    /// `math.isclose` without tolerances.
    pub(super) const REL_DEFAULT: f64 = 1e-9;

    fn holds(&self, value: &Value) -> bool {
        let number = match value {
            Value::Bool(truth) => f64::from(u8::from(*truth)),
            Value::Float(float) => *float,
            // Python raises an `OverflowError` for what is too large.
            Value::Int(int) => match int.to_float() {
                Some(float) => float,
                None => return false,
            },
            Value::Null | Value::Str(_) | Value::List(_) | Value::Object(_) => return false,
        };
        if number == self.value {
            return true;
        }
        if number.is_infinite() || self.value.is_infinite() {
            return false;
        }
        let difference = (self.value - number).abs();
        difference <= (self.rel * self.value).abs()
            || difference <= (self.rel * number).abs()
            || difference <= self.abs
    }
}

fn is_within(value: &Value, text: &PyStr) -> bool {
    let Value::Str(part) = value else {
        return false;
    };
    let (part, text) = (part.as_bytes(), text.as_bytes());
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyjson::parse;

    fn value(json: &str) -> Value {
        parse(json).expect("valid JSON")
    }

    #[track_caller]
    fn check(test: &Test, passing: &[&str], failing: &[&str]) {
        for json in passing {
            assert!(test.passes(Found::Value(&value(json))), "{test:?} {json}");
        }
        for json in failing {
            assert!(!test.passes(Found::Value(&value(json))), "{test:?} {json}");
        }
    }

    #[test]
    fn numbers_and_bools_are_equal_by_value() {
        let one = Test::Compare(Comparison::Eq, value("1"));
        check(
            &one,
            &["1", "1.0", "true"],
            &["2", "\"1\"", "null", "[1]", "NaN"],
        );
        let nan = Test::Compare(Comparison::Eq, value("NaN"));
        check(&nan, &[], &["NaN", "0"]);
        let not_nan = Test::Compare(Comparison::Ne, value("NaN"));
        check(&not_nan, &["NaN", "0", "null"], &[]);
        assert!(not_nan.passes(Found::Object));
        assert!(!one.passes(Found::Object));
    }

    #[test]
    fn what_cannot_be_ordered_does_not_pass() {
        let less = Test::Compare(Comparison::Le, value("5"));
        check(
            &less,
            &["5", "-Infinity", "true"],
            &["6", "\"1\"", "null", "[]", "NaN"],
        );
        let null = Test::Compare(Comparison::Ge, value("null"));
        check(&null, &[], &["null", "0"]);
        assert!(!less.passes(Found::Object));
    }

    #[test]
    fn near_is_isclose() {
        let near = |value, rel, abs| Test::Near(Near { value, rel, abs });
        check(
            &near(1.0, 1e-9, 0.0),
            &["1", "true", "1.0000000001"],
            &["1.1", "\"1\"", "null", "NaN"],
        );
        check(&near(0.0, 1e-9, 0.5), &["0.5", "-0.25", "false"], &["1"]);
        check(
            &near(f64::INFINITY, 1.0, 1.0),
            &["Infinity"],
            &["1", "-Infinity"],
        );
        check(&near(f64::INFINITY, 0.0, 0.0), &[], &[&"9".repeat(400)]);
        // The tolerance is relative to the larger of the two.
        check(&near(1.0, 0.5, 0.0), &["2", "0.5"], &["2.1", "0.4"]);
    }

    #[test]
    fn a_string_is_within_another() {
        let test = Test::Within("foobar".into());
        check(
            &test,
            &["\"\"", "\"foo\"", "\"oba\""],
            &["\"fb\"", "1", "[]"],
        );
    }
}
