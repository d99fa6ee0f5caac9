//! Reading JSON as `json.loads` does.

use super::string::push_code_point;
use super::{Int, Object, PyStr, Value};
use std::collections::HashMap;

/// Deeper nesting is refused; CPython stops near 1,000 levels with a `RecursionError`.
const DEPTH_MAX: usize = 900;

/// Longer integer literals are refused, as by CPython since 3.11.
const INT_DIGITS_MAX: usize = 4300;

/// Objects with more keys than this are built through a hash map.
const LINEAR_KEYS_MAX: usize = 16;

/// Why a text is not JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line}, column {column}")]
pub struct ParseError {
    /// A fragment such as `expected a value`.
    pub what: &'static str,
    /// Counted from 1.
    pub line: usize,
    /// In bytes, counted from 1.
    pub column: usize,
}

impl ParseError {
    /// Returns the place as a byte offset into the text that was parsed.
    pub fn offset_in(&self, text: &str) -> usize {
        let before = text.split_inclusive('\n').take(self.line - 1);
        let start: usize = before.map(str::len).sum();
        let at = (start + self.column - 1).min(text.len());
        (0..=at).rfind(|&i| text.is_char_boundary(i)).unwrap_or(0)
    }
}

/// Parses the bytes of a file, which must be UTF-8.
pub fn parse_bytes(bytes: &[u8]) -> Result<Value, ParseError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(error) => Err(error_at(bytes, error.valid_up_to(), "not UTF-8")),
    }
}

/// Parses one JSON text, with `NaN`, `Infinity` and lone surrogates as Python allows them.
pub fn parse(text: &str) -> Result<Value, ParseError> {
    let mut parser = Parser::new(text);
    let value = parser.document();
    value.map_err(|what| error_at(parser.bytes, parser.at, what))
}

/// Reads a JSON text that is one object, entry by entry, so that a large one need not be in memory
/// whole. A repeated key comes repeatedly.
#[derive(Debug)]
pub struct Entries<'a> {
    parser: Parser<'a>,
    state: EntriesState,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum EntriesState {
    Before,
    Between,
    After,
}

impl<'a> Entries<'a> {
    /// Starts to read.
    pub fn new(text: &'a str) -> Self {
        Self {
            parser: Parser::new(text),
            state: EntriesState::Before,
        }
    }

    fn try_next(&mut self) -> Result2<Option<(PyStr, Value)>> {
        let parser = &mut self.parser;
        parser.skip_space();
        if self.state == EntriesState::Before {
            if !parser.eat(b'{') {
                return Err("expected an object");
            }
            parser.skip_space();
        }
        let ended = parser.eat(b'}');
        if ended {
            self.state = EntriesState::After;
            parser.skip_space();
            return match parser.peek() {
                Some(_) => Err("unexpected text after the value"),
                None => Ok(None),
            };
        }
        if self.state == EntriesState::Between {
            if !parser.eat(b',') {
                return Err("expected `,` or `}`");
            }
            parser.skip_space();
        }
        self.state = EntriesState::Between;
        parser.entry().map(Some)
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(PyStr, Value), ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == EntriesState::After {
            return None;
        }
        let next = self.try_next().map_err(|what| {
            self.state = EntriesState::After;
            error_at(self.parser.bytes, self.parser.at, what)
        });
        next.transpose()
    }
}

fn error_at(bytes: &[u8], at: usize, what: &'static str) -> ParseError {
    let before = &bytes[..at.min(bytes.len())];
    let line_start = before
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |i| i + 1);
    let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
    ParseError {
        what,
        line,
        column: before.len() - line_start + 1,
    }
}

type Result2<T> = Result<T, &'static str>;

#[derive(Debug)]
struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
            depth: 0,
        }
    }

    fn document(&mut self) -> Result2<Value> {
        if self.bytes.starts_with("\u{feff}".as_bytes()) {
            return Err("unexpected byte order mark");
        }
        self.skip_space();
        let value = self.value()?;
        self.skip_space();
        if self.at < self.bytes.len() {
            return Err("unexpected text after the value");
        }
        Ok(value)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result2<Value> {
        match self.peek() {
            Some(b'"') => Ok(Value::Str(self.string()?)),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'-' | b'0'..=b'9') if !self.bytes[self.at..].starts_with(b"-I") => self.number(),
            Some(_) => self.constant(),
            None => Err("unexpected end"),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result2<Value>) -> Result2<Value> {
        if self.depth == DEPTH_MAX {
            return Err("nested too deeply");
        }
        self.at += 1;
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn constant(&mut self) -> Result2<Value> {
        let constants = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ];
        for (word, value) in constants {
            if self.bytes[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err("expected a value")
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result2<Value> {
        let start = self.at;
        self.eat(b'-');
        let n_digits = if self.eat(b'0') { 1 } else { self.digits() };
        if n_digits == 0 {
            return Err("expected a digit");
        }
        let is_float =
            self.optional_part(|p| p.eat(b'.')) | self.optional_part(Self::exponent_mark);
        let literal = std::str::from_utf8(&self.bytes[start..self.at]).expect("digits are ASCII");
        if is_float {
            return Ok(Value::Float(
                literal.parse().expect("a JSON number is a Rust number"),
            ));
        }
        if n_digits > INT_DIGITS_MAX {
            return Err("integer of more than 4300 digits");
        }
        Ok(Value::Int(Int::from_literal(literal)))
    }

    /// Consumes `lead` and digits, or nothing.
    fn optional_part(&mut self, lead: fn(&mut Self) -> bool) -> bool {
        let start = self.at;
        let found = lead(self) && self.digits() > 0;
        if !found {
            self.at = start;
        }
        found
    }

    fn exponent_mark(&mut self) -> bool {
        let found = self.eat(b'e') || self.eat(b'E');
        let _ = found && (self.eat(b'+') || self.eat(b'-'));
        found
    }

    fn list(&mut self) -> Result2<Value> {
        let mut items = Vec::new();
        self.skip_space();
        if self.eat(b']') {
            return Ok(Value::List(items));
        }
        loop {
            self.skip_space();
            items.push(self.value()?);
            self.skip_space();
            if self.eat(b']') {
                return Ok(Value::List(items));
            }
            if !self.eat(b',') {
                return Err("expected `,` or `]`");
            }
        }
    }

    fn object(&mut self) -> Result2<Value> {
        let mut builder = ObjectBuilder::default();
        self.skip_space();
        if self.eat(b'}') {
            return Ok(Value::Object(builder.object));
        }
        loop {
            self.skip_space();
            let (key, value) = self.entry()?;
            builder.insert(key, value);
            self.skip_space();
            if self.eat(b'}') {
                return Ok(Value::Object(builder.object));
            }
            if !self.eat(b',') {
                return Err("expected `,` or `}`");
            }
        }
    }

    fn entry(&mut self) -> Result2<(PyStr, Value)> {
        if self.peek() != Some(b'"') {
            return Err("expected a key in double quotes");
        }
        let key = self.string()?;
        self.skip_space();
        if !self.eat(b':') {
            return Err("expected `:`");
        }
        self.skip_space();
        Ok((key, self.value()?))
    }

    fn string(&mut self) -> Result2<PyStr> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..0x20)) {
                self.at += 1;
            }
            text.extend_from_slice(&self.bytes[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(PyStr::from_encoded(text));
                }
                Some(b'\\') => self.escape(&mut text)?,
                Some(_) => return Err("control character in a string"),
                None => return Err("unterminated string"),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result2<()> {
        self.at += 1;
        let plain = match self.peek() {
            Some(b @ (b'"' | b'\\' | b'/')) => b,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode_escape(text),
            _ => return Err("invalid escape"),
        };
        self.at += 1;
        text.push(plain);
        Ok(())
    }

    fn unicode_escape(&mut self, text: &mut Vec<u8>) -> Result2<()> {
        let mut code_point = self.hex4()?;
        if (0xD800..0xDC00).contains(&code_point) && self.bytes[self.at..].starts_with(b"\\u") {
            let start = self.at;
            self.at += 1;
            let low = self.hex4()?;
            if (0xDC00..0xE000).contains(&low) {
                code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
            } else {
                self.at = start;
            }
        }
        push_code_point(text, code_point);
        Ok(())
    }

    /// Reads `uXXXX`.
    fn hex4(&mut self) -> Result2<u32> {
        let digits = self
            .bytes
            .get(self.at + 1..self.at + 5)
            .ok_or("unterminated escape")?;
        let mut code_point = 0;
        for &digit in digits {
            let digit = char::from(digit).to_digit(16).ok_or("invalid escape")?;
            code_point = code_point << 4 | digit;
        }
        self.at += 5;
        Ok(code_point)
    }
}

/// Collects entries; the last value of a repeated key wins at its first position.
#[derive(Default)]
struct ObjectBuilder {
    object: Object,
    positions: HashMap<PyStr, usize>,
}

impl ObjectBuilder {
    fn insert(&mut self, key: PyStr, value: Value) {
        let entries = &mut self.object.0;
        if entries.len() < LINEAR_KEYS_MAX {
            return self.object.insert(key, value);
        }
        if self.positions.is_empty() {
            self.positions = entries
                .iter()
                .enumerate()
                .map(|(i, (k, _))| (k.clone(), i))
                .collect();
        }
        let position = *self.positions.entry(key.clone()).or_insert(entries.len());
        match entries.get_mut(position) {
            Some((_, slot)) => *slot = value,
            None => entries.push((key, value)),
        }
    }
}

impl FromIterator<(PyStr, Value)> for Object {
    fn from_iter<T: IntoIterator<Item = (PyStr, Value)>>(entries: T) -> Self {
        let mut builder = ObjectBuilder::default();
        for (key, value) in entries {
            builder.insert(key, value);
        }
        builder.object
    }
}

#[cfg(test)]
mod tests {
    use super::super::{canonical, dumps};
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(dumps(&parse(text).expect("valid JSON")), expected);
    }

    #[track_caller]
    fn check_error(bytes: &[u8], expected: &str) {
        assert_eq!(
            parse_bytes(bytes).expect_err("invalid JSON").to_string(),
            expected
        );
    }

    #[test]
    fn reads_what_python_reads() {
        check("{ \"b\" : 2 ,\n \"a\" : 1 }", r#"{"b": 2, "a": 1}"#);
        check(
            "[NaN, Infinity, -Infinity, 1e400, -0, -0.0, 1E5]",
            "[NaN, Infinity, -Infinity, Infinity, 0, -0.0, 100000.0]",
        );
        check(
            r#""\ud83d\ude00 \ud800 \udc80x \ud800\u0041""#,
            r#""\ud83d\ude00 \ud800 \udc80x \ud800A""#,
        );
        check(r#"{"a": 1, "b": 2, "a": 3}"#, r#"{"a": 3, "b": 2}"#);
    }

    #[test]
    fn entries_are_read_one_by_one() {
        let read = |text| Entries::new(text).collect::<Result<Vec<_>, _>>();
        let show = |text| {
            let entries = read(text).expect("an object");
            let texts = entries.iter().map(|(k, v)| format!("{k}={}", dumps(v)));
            texts.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(show(" { } "), "");
        assert_eq!(
            show("{\"a\": 1 , \"b\":[2],\"a\": {\"c\": 3}}\n"),
            "a=1 b=[2] a={\"c\": 3}"
        );
        for bad in [
            "",
            "[]",
            "{",
            "{,}",
            "{\"a\":1,}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1}x",
            "{\"a\"}",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn repeated_keys_of_a_large_object_keep_the_first_position() {
        let entries: Vec<_> = (0..100).map(|i| format!("\"k{}\": {i}", i % 40)).collect();
        let value = parse(&format!("{{{}}}", entries.join(","))).expect("valid JSON");
        let object = value.into_object().expect("an object");
        assert_eq!(object.len(), 40);
        assert_eq!(
            object.iter().next().map(|(k, v)| (k.to_string(), dumps(v))),
            Some(("k0".into(), "80".into()))
        );
    }

    #[test]
    fn errors_say_where() {
        check_error(b"", "unexpected end at line 1, column 1");
        check_error(b"{\"a\": 1,\n \"b\"", "expected `:` at line 2, column 5");
        check_error(b"{\"a\": \xff}", "not UTF-8 at line 1, column 7");
        check_error(b"[1,]", "expected a value at line 1, column 4");
        check_error(b"{\"a\": 01}", "expected `,` or `}` at line 1, column 8");
        check_error(
            b"\"a\nb\"",
            "control character in a string at line 1, column 3",
        );
        check_error(br#""\x""#, "invalid escape at line 1, column 3");
        check_error(
            b"1 2",
            "unexpected text after the value at line 1, column 3",
        );
        check_error(
            b"\xef\xbb\xbf{}",
            "unexpected byte order mark at line 1, column 1",
        );
    }

    #[test]
    fn nesting_is_limited_without_a_stack_overflow() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(&deep(900)).is_ok());
        check_error(
            "[".repeat(1_000_000).as_bytes(),
            "nested too deeply at line 1, column 901",
        );
        check_error(
            "{\"a\":".repeat(1_000_000).as_bytes(),
            "nested too deeply at line 1, column 4501",
        );
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error() {
        use proptest::prelude::*;
        proptest!(|(text in r#"[\[\]{}",:0-9eE+\-.\\utrfalsn DdNaIniy]{0,40}"#)| {
            if let Ok(value) = parse(&text) {
                let again = parse(&dumps(&value)).expect("our output is JSON");
                prop_assert_eq!(canonical(&again), canonical(&value));
            }
        });
        proptest!(|(bytes in prop::collection::vec(any::<u8>(), 0..60))| {
            let _ = parse_bytes(&bytes);
        });
    }
}
