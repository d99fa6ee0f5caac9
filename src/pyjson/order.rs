//! Identity, order and Python's equality of values.

use super::{Int, Object, Value, canonical};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

impl Value {
    /// Compares as Python's `==`: `1`, `1.0` and `True` are equal, `NaN` equals nothing.
    pub fn py_eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Null, Self::Null) => true,
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.py_eq(b))
            }
            (Self::Object(a), Self::Object(b)) => {
                let mut pairs = a.sorted().into_iter().zip(b.sorted());
                a.len() == b.len() && pairs.all(|((k, v), (l, w))| k == l && v.py_eq(w))
            }
            _ => compare_numbers(self, other) == Some(Ordering::Equal),
        }
    }

    /// Compares as Python's `<` and `>`: numbers and bools by value, strings by code point, lists
    /// by their first items that differ. `None` where Python raises a `TypeError`, and for NaN.
    pub fn py_partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Str(a), Self::Str(b)) => Some(a.cmp(b)),
            (Self::List(a), Self::List(b)) => match a.iter().zip(b).find(|(a, b)| !a.py_eq(b)) {
                Some((a, b)) => a.py_partial_cmp(b),
                None => Some(a.len().cmp(&b.len())),
            },
            _ => compare_numbers(self, other),
        }
    }

    /// Tells whether Python's `bool()` of it is true: not null, `false`, zero, or empty.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(truth) => *truth,
            Self::Int(int) => *int != Int::Small(0),
            Self::Float(float) => *float != 0.0,
            Self::Str(string) => !string.as_bytes().is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Object(object) => !object.is_empty(),
        }
    }

    /// The order of types in a dictionary of values.
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) | Self::Float(_) => 2,
            Self::Str(_) => 3,
            Self::List(_) => 4,
            Self::Object(_) => 5,
        }
    }
}

/// Compares two numbers or bools by value; `None` for NaN and for anything else.
fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), _) => compare_numbers(&Value::from(i64::from(*a)), b),
        (_, Value::Bool(b)) => compare_numbers(a, &Value::from(i64::from(*b))),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Float(b)) => a.partial_cmp_float(*b),
        (Value::Float(a), Value::Int(b)) => b.partial_cmp_float(*a).map(Ordering::reverse),
        _ => None,
    }
}

/// Orders by type, then by value (numbers by size, an integer before the equal float, NaN last);
/// equal only if the canonical texts are equal.
impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => match (a.is_nan(), b.is_nan()) {
                (false, false) => a.total_cmp(b),
                (a_nan, b_nan) => a_nan.cmp(&b_nan),
            },
            (Self::Int(_), Self::Float(_)) => {
                compare_numbers(self, other).map_or(Ordering::Less, |o| o.then(Ordering::Less))
            }
            (Self::Float(_), Self::Int(_)) => other.cmp(self).reverse(),
            (Self::Str(a), Self::Str(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) => a.cmp(b),
            (Self::Object(a), Self::Object(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Str(string) => string.hash(state),
            Self::Int(int) => int.hash(state),
            Self::Float(float) if float.is_nan() => f64::NAN.to_bits().hash(state),
            Self::Float(float) => float.to_bits().hash(state),
            Self::Null | Self::Bool(_) | Self::List(_) | Self::Object(_) => {
                canonical(self).hash(state);
            }
        }
    }
}

impl Ord for Object {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sorted().cmp(&other.sorted())
    }
}

impl PartialOrd for Object {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Object {}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn value(json: &str) -> Value {
        parse(json).expect("valid JSON")
    }

    #[test]
    fn identity_is_that_of_the_canonical_text() {
        assert_ne!(value("1"), value("1.0"));
        assert_ne!(value("1"), value("true"));
        assert_ne!(value("0.0"), value("-0.0"));
        assert_eq!(value("NaN"), value("NaN"));
        assert_eq!(
            value(r#"[{"a": 1, "b": 2}]"#),
            value(r#"[{"b": 2, "a": 1}]"#)
        );
    }

    #[test]
    fn python_equality_ignores_the_type_of_numbers() {
        assert!(value("[1, true]").py_eq(&value("[1.0, 1]")));
        assert!(value(r#"{"a": 0}"#).py_eq(&value(r#"{"a": false}"#)));
        assert!(!value("NaN").py_eq(&value("NaN")));
        assert!(!value("12345678901234567890123").py_eq(&value("1.2345678901234567e22")));
        assert!(!value("\"1\"").py_eq(&value("1")));
        assert!(!value("null").py_eq(&value("false")));
    }

    #[test]
    fn python_orders_what_can_be_ordered() {
        let compare = |a: &str, b: &str| value(a).py_partial_cmp(&value(b));
        assert_eq!(compare("true", "0.5"), Some(Ordering::Greater));
        assert_eq!(
            compare("12345678901234567890123", "1.5"),
            Some(Ordering::Greater)
        );
        assert_eq!(compare(r#""B""#, r#""a""#), Some(Ordering::Less));
        assert_eq!(compare("[1, 2]", "[true, 2.0, 0]"), Some(Ordering::Less));
        assert_eq!(compare("[1, [3]]", "[1, [2, 5]]"), Some(Ordering::Greater));
        assert_eq!(compare(r#"[1, "a"]"#, "[2, 2]"), Some(Ordering::Less));
        assert_eq!(
            compare(r#"[{"q": 1}, 1]"#, r#"[{"q": 1.0}, 2]"#),
            Some(Ordering::Less)
        );
        for (a, b) in [
            ("1", r#""1""#),
            ("null", "null"),
            ("NaN", "1"),
            ("[1]", "1"),
            (r#"[1, "a"]"#, "[1, 2]"),
            ("[NaN]", "[NaN]"),
            ("{}", "{}"),
        ] {
            assert_eq!(compare(a, b), None, "{a} {b}");
        }
    }

    #[test]
    fn truth_is_that_of_python() {
        for json in ["null", "false", "0", "-0.0", r#""""#, "[]", "{}"] {
            assert!(!value(json).is_truthy(), "{json}");
        }
        for json in [
            "true",
            "-1",
            "NaN",
            "1e-300",
            r#""0""#,
            "[0]",
            r#"{"a": 0}"#,
        ] {
            assert!(value(json).is_truthy(), "{json}");
        }
    }

    #[test]
    fn values_sort_by_type_then_size() {
        let sorted = [
            "null", "false", "true", "-1.5", "0", "-0.0", "0.0", "2", "2.0", "10", "1e30", "NaN",
            r#""B""#, r#""a""#, "[]", "[1]", "{}",
        ];
        let mut values: Vec<_> = sorted.iter().rev().map(|json| value(json)).collect();
        values.sort();
        let texts: Vec<_> = values.iter().map(canonical).collect();
        assert_eq!(texts, sorted.map(|json| canonical(&value(json))));
    }
}
