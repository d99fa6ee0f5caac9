//! The text of a value in a view path: Python's `str`.

use super::{Object, PyStr, Value, float_repr};
use crate::pyjson::string::push_code_point;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Returns what signac puts into a view path: `str(value)`, where lists are shown as tuples.
///
/// Lists inside an object inside a list stay lists (signac hashes objects but keeps their
/// content as it is).
pub fn view_str(value: &Value) -> PyStr {
    if let Value::Str(string) = value {
        return string.clone();
    }
    let mut bytes = Vec::new();
    push_repr(&mut bytes, value, Sequence::Tuple);
    PyStr::from_encoded(bytes)
}

/// Returns `str(value)`; the keys of objects are sorted.
pub fn py_str(value: &Value) -> PyStr {
    match value {
        Value::Str(string) => string.clone(),
        other => py_repr(other),
    }
}

/// Returns `ascii(value)`; the keys of objects are sorted.
pub fn py_ascii(value: &Value) -> PyStr {
    let mut ascii = Vec::new();
    for code_point in py_repr(value).code_points() {
        match code_point {
            0..0x80 => ascii.push(code_point as u8),
            _ => push_escape(&mut ascii, code_point),
        }
    }
    PyStr::from_encoded(ascii)
}

/// Returns `repr(value)` with the keys of objects sorted, as `pprint` shows it on one line.
pub fn py_repr(value: &Value) -> PyStr {
    let mut bytes = Vec::new();
    push_repr(&mut bytes, &sorted(value), Sequence::List);
    PyStr::from_encoded(bytes)
}

/// Returns the same with the lists of leaves shown as tuples, as `signac diff` does.
pub fn py_repr_of_leaves(object: &Object) -> PyStr {
    let mut bytes = Vec::new();
    push_leaves(&mut bytes, object);
    PyStr::from_encoded(bytes)
}

fn push_leaves(text: &mut Vec<u8>, object: &Object) {
    text.push(b'{');
    for (i, (key, value)) in object.sorted().into_iter().enumerate() {
        push_separator(text, i);
        push_str_repr(text, key);
        text.extend_from_slice(b": ");
        match value {
            Value::Object(inner) => push_leaves(text, inner),
            leaf => push_repr(text, leaf, Sequence::Tuple),
        }
    }
    text.push(b'}');
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.iter().map(sorted).collect()),
        Value::Object(object) => {
            let mut copy = Object::new();
            for (key, value) in object.sorted() {
                copy.insert(key.clone(), sorted(value));
            }
            Value::Object(copy)
        }
        other => other.clone(),
    }
}

/// How a JSON list is shown.
#[derive(Clone, Copy, PartialEq)]
enum Sequence {
    Tuple,
    List,
}

fn push_repr(text: &mut Vec<u8>, value: &Value, sequence: Sequence) {
    match value {
        Value::Null => text.extend_from_slice(b"None"),
        Value::Bool(true) => text.extend_from_slice(b"True"),
        Value::Bool(false) => text.extend_from_slice(b"False"),
        Value::Int(int) => text.extend_from_slice(int.to_string().as_bytes()),
        Value::Float(float) => text.extend_from_slice(float_repr(*float).as_bytes()),
        Value::Str(string) => push_str_repr(text, string),
        Value::List(items) => {
            let (open, close) = if sequence == Sequence::Tuple {
                (b'(', b')')
            } else {
                (b'[', b']')
            };
            text.push(open);
            for (i, item) in items.iter().enumerate() {
                push_separator(text, i);
                push_repr(text, item, sequence);
            }
            if sequence == Sequence::Tuple && items.len() == 1 {
                text.push(b',');
            }
            text.push(close);
        }
        Value::Object(object) => {
            text.push(b'{');
            for (i, (key, value)) in object.iter().enumerate() {
                push_separator(text, i);
                push_str_repr(text, key);
                text.extend_from_slice(b": ");
                push_repr(text, value, Sequence::List);
            }
            text.push(b'}');
        }
    }
}

fn push_separator(text: &mut Vec<u8>, position: usize) {
    if position > 0 {
        text.extend_from_slice(b", ");
    }
}

/// Appends `repr(str)`: single quotes unless the text has one and no double quote.
fn push_str_repr(text: &mut Vec<u8>, string: &PyStr) {
    let has = |c: u8| string.as_bytes().contains(&c);
    let quote = if has(b'\'') && !has(b'"') {
        b'"'
    } else {
        b'\''
    };
    text.push(quote);
    for code_point in string.code_points() {
        match code_point {
            c if c == u32::from(quote) || c == 0x5C => text.extend_from_slice(&[b'\\', c as u8]),
            0x09 => text.extend_from_slice(b"\\t"),
            0x0A => text.extend_from_slice(b"\\n"),
            0x0D => text.extend_from_slice(b"\\r"),
            c if is_printable(c) => push_code_point(text, c),
            c => push_escape(text, c),
        }
    }
    text.push(quote);
}

fn push_escape(text: &mut Vec<u8>, code_point: u32) {
    let escape = match code_point {
        0..0x100 => format!("\\x{code_point:02x}"),
        0x100..0x10000 => format!("\\u{code_point:04x}"),
        _ => format!("\\U{code_point:08x}"),
    };
    text.extend_from_slice(escape.as_bytes());
}

/// `str.isprintable` for one code point: not in the categories "other" and "separator", but for
/// the space. Code points assigned after Unicode 14 are printable here and not in CPython 3.11.
fn is_printable(code_point: u32) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, SpaceSeparator, Surrogate,
        Unassigned,
    };
    if (0x20..0x7F).contains(&code_point) {
        return true;
    }
    char::from_u32(code_point).is_some_and(|c| {
        !matches!(
            c.general_category(),
            Control
                | Format
                | Surrogate
                | PrivateUse
                | Unassigned
                | LineSeparator
                | ParagraphSeparator
                | SpaceSeparator
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        assert_eq!(
            view_str(&parse(json).expect("valid JSON")).to_string(),
            expected
        );
    }

    #[test]
    fn objects_are_shown_as_pprint_shows_them() {
        let value = parse(r#"{"b": [1, "x"], "a": {"d": null, "c": true}}"#).expect("valid JSON");
        let shown = "{'a': {'c': True, 'd': None}, 'b': [1, 'x']}";
        assert_eq!(py_repr(&value).to_string(), shown);
        let object = value.into_object().expect("an object");
        let shown = "{'a': {'c': True, 'd': None}, 'b': (1, 'x')}";
        assert_eq!(py_repr_of_leaves(&object).to_string(), shown);
    }

    #[test]
    fn values_are_named_as_python_names_them() {
        check("true", "True");
        check("null", "None");
        check("1e-5", "1e-05");
        check(r#""raw 'text'""#, "raw 'text'");
        check("[1, 2]", "(1, 2)");
        check("[3]", "(3,)");
        check("[]", "()");
        check(
            r#"["a", "it's", "\"", "'\""]"#,
            r#"('a', "it's", '"', '\'"')"#,
        );
        check("[[1], [2]]", "((1,), (2,))");
        check(r#"[{"k": [1, {"l": [2]}]}]"#, "({'k': [1, {'l': [2]}]},)");
        check(
            r#"["\u0000\t\u00a0\u200b\ud800é☃\ue000"]"#,
            r"('\x00\t\xa0\u200b\ud800é☃\ue000',)",
        );
    }
}
