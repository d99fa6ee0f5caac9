//! Writing JSON as `json.dumps` does with its default arguments.

use super::{Object, PyStr, Value, float_repr};
use std::fmt::Write;

/// Returns `json.dumps(value)`: one line, keys in insertion order.
pub fn dumps(value: &Value) -> String {
    let mut text = String::new();
    push_value(&mut text, value, false);
    text
}

/// Returns `json.dumps(value, sort_keys=True)`, the text whose MD5 is a job's id.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    push_value(&mut text, value, true);
    text
}

/// Returns a string as a JSON literal in double quotes.
pub fn dumps_str(string: &PyStr) -> String {
    let mut text = String::new();
    push_string(&mut text, string);
    text
}

impl Object {
    /// Returns `json.dumps(object)`, the content of a state point or document file.
    pub fn dumps(&self) -> String {
        let mut text = String::new();
        push_object(&mut text, self, false);
        text
    }

    /// Returns `json.dumps(object, sort_keys=True)`.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        push_object(&mut text, self, true);
        text
    }
}

fn push_value(text: &mut String, value: &Value, sort: bool) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Int(int) => write!(text, "{int}").expect("a String takes all"),
        Value::Float(float) if float.is_nan() => text.push_str("NaN"),
        Value::Float(float) if float.is_infinite() => {
            text.push_str(if *float > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            });
        }
        Value::Float(float) => text.push_str(&float_repr(*float)),
        Value::Str(string) => push_string(text, string),
        Value::List(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                push_separator(text, i);
                push_value(text, item, sort);
            }
            text.push(']');
        }
        Value::Object(object) => push_object(text, object, sort),
    }
}

fn push_object(text: &mut String, object: &Object, sort: bool) {
    let mut entries: Vec<_> = object.iter().collect();
    if sort {
        entries.sort_by(|a, b| a.0.cmp(b.0));
    }
    text.push('{');
    for (i, (key, value)) in entries.into_iter().enumerate() {
        push_separator(text, i);
        push_string(text, key);
        text.push_str(": ");
        push_value(text, value, sort);
    }
    text.push('}');
}

fn push_separator(text: &mut String, position: usize) {
    if position > 0 {
        text.push_str(", ");
    }
}

fn push_string(text: &mut String, string: &PyStr) {
    text.push('"');
    for code_point in string.code_points() {
        match code_point {
            0x22 => text.push_str("\\\""),
            0x5C => text.push_str("\\\\"),
            0x08 => text.push_str("\\b"),
            0x09 => text.push_str("\\t"),
            0x0A => text.push_str("\\n"),
            0x0C => text.push_str("\\f"),
            0x0D => text.push_str("\\r"),
            0x20..0x7F => text.push(char::from(code_point as u8)),
            0..0x10000 => push_unit(text, code_point),
            _ => {
                let offset = code_point - 0x10000;
                push_unit(text, 0xD800 + (offset >> 10));
                push_unit(text, 0xDC00 + (offset & 0x3FF));
            }
        }
    }
    text.push('"');
}

fn push_unit(text: &mut String, unit: u32) {
    write!(text, "\\u{unit:04x}").expect("a String takes all");
}
