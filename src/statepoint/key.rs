//! Dotted keys: paths into a nested object.

use crate::pyjson::{Object, PyStr, Value};
use std::fmt;

/// A path into a state point as dotted text, `init.seed`.
///
/// A dot inside a part (only foreign writers make them) is written `%2E`, and a part that holds
/// the text `%2E` has it as `%252E`, and so on; so every path has its own text, and texts sort by code point
/// as signac sorts them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(PyStr);

impl Key {
    /// Reads a key as a user writes it: parts between dots.
    pub fn parse(dotted: &str) -> Self {
        Self(dotted.into())
    }

    /// Wraps dotted text that [`visit`] produced.
    pub fn from_dotted(dotted: &[u8]) -> Self {
        Self(PyStr::from_encoded(dotted.to_vec()))
    }

    /// Returns the dotted text.
    pub fn dotted(&self) -> &PyStr {
        &self.0
    }

    /// Returns the parts, each a key of one nested object.
    pub fn parts(&self) -> Vec<PyStr> {
        self.0
            .split(b'.')
            .map(|part| unescape_part(&part))
            .collect()
    }

    /// Returns the key of the object that holds this one; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        let dotted = self.0.as_bytes();
        let at = dotted.iter().rposition(|&byte| byte == b'.')?;
        Some(Self::from_dotted(&dotted[..at]))
    }

    /// Tells whether this key lies below another.
    pub fn is_below(&self, other: &Self) -> bool {
        let rest = self.0.as_bytes().strip_prefix(other.0.as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b"."))
    }

    /// Returns the value at this key.
    pub fn get<'a>(&self, object: &'a Object) -> Option<&'a Value> {
        let parts = self.parts();
        let (last, nested) = parts.split_last()?;
        let mut object = object;
        for part in nested {
            match object.get(part)? {
                Value::Object(inner) => object = inner,
                _ => return None,
            }
        }
        object.get(last)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What [`visit`] finds at a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaf {
    /// A scalar or a list.
    Value(Value),
    /// An object without keys: a leaf without a value.
    EmptyObject,
    /// An object with keys, which are visited next.
    Nested,
}

/// Calls `found` with the dotted text of every key of a state point, depth first in insertion
/// order. Lists are leaves: signac does not descend into them.
pub fn visit(object: Object, found: &mut impl FnMut(&[u8], Leaf)) {
    visit_below(object, &mut Vec::new(), true, found);
}

fn visit_below(
    object: Object,
    prefix: &mut Vec<u8>,
    at_root: bool,
    found: &mut impl FnMut(&[u8], Leaf),
) {
    let n_prefix = prefix.len();
    for (part, value) in object {
        if !at_root {
            prefix.push(b'.');
        }
        push_part(prefix, &part);
        match value {
            Value::Object(inner) if inner.is_empty() => found(prefix, Leaf::EmptyObject),
            Value::Object(inner) => {
                found(prefix, Leaf::Nested);
                visit_below(inner, prefix, false, found);
            }
            value => found(prefix, Leaf::Value(value)),
        }
        prefix.truncate(n_prefix);
    }
}

/// Appends one part to dotted text, in which it will be read as it is.
pub(crate) fn push_part(dotted: &mut Vec<u8>, part: &PyStr) {
    let bytes = part.as_bytes();
    for (i, &byte) in bytes.iter().enumerate() {
        match byte {
            b'.' => dotted.extend_from_slice(b"%2E"),
            b'%' if looks_escaped(&bytes[i + 1..]) => dotted.extend_from_slice(b"%25"),
            _ => dotted.push(byte),
        }
    }
}

/// Tells whether what follows a `%` would be read as an escape: `2E`, after any number of `25`.
fn looks_escaped(mut rest: &[u8]) -> bool {
    while let Some(after) = rest.strip_prefix(b"25") {
        rest = after;
    }
    rest.starts_with(b"2E")
}

fn unescape_part(part: &PyStr) -> PyStr {
    let mut rest = part.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(after) = rest
            .strip_prefix(b"%25")
            .filter(|after| looks_escaped(after))
        {
            bytes.push(b'%');
            rest = after;
        } else if let Some(after) = rest.strip_prefix(b"%2E") {
            bytes.push(b'.');
            rest = after;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    PyStr::from_encoded(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyjson::{dumps, parse};

    fn object(json: &str) -> Object {
        parse(json)
            .expect("valid JSON")
            .into_object()
            .expect("an object")
    }

    fn leaves(json: &str) -> Vec<String> {
        let mut found = Vec::new();
        visit(object(json), &mut |key, leaf| {
            let leaf = match leaf {
                Leaf::Value(value) => dumps(&value),
                Leaf::EmptyObject => "{}".into(),
                Leaf::Nested => "…".into(),
            };
            found.push(format!("{}={leaf}", Key::from_dotted(key)));
        });
        found
    }

    #[test]
    fn nested_objects_become_dotted_keys() {
        assert_eq!(
            leaves(r#"{"a": 1, "c": {"d": [1, {"x": 2}], "e": {}}, "": {"": 0}}"#),
            ["a=1", "c=…", "c.d=[1, {\"x\": 2}]", "c.e={}", "=…", ".=0"]
        );
    }

    #[test]
    fn dots_inside_keys_stay_apart_from_nesting() {
        let json = r#"{"a.b": 1, "a": {"b": 2}, "a%2Eb": 3, "a%252Eb": 4, "a%25": 5}"#;
        let expected = [
            "a%2Eb=1",
            "a=…",
            "a.b=2",
            "a%252Eb=3",
            "a%25252Eb=4",
            "a%25=5",
        ];
        assert_eq!(leaves(json), expected);
        let spelled = [
            ("a%2Eb", "1"),
            ("a.b", "2"),
            ("a%252Eb", "3"),
            ("a%25252Eb", "4"),
            ("a%25", "5"),
        ];
        for (dotted, expected) in spelled {
            assert_eq!(
                Key::parse(dotted).get(&object(json)).map(dumps),
                Some(expected.to_owned())
            );
        }
        assert_eq!(Key::parse("a.b.c").get(&object(json)), None);
    }
}
