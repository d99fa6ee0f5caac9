//! The words of the filter language.

use super::error::{FilterError, quoted};
use super::pattern::Pattern;
use super::test::Comparison;
use crate::pyjson::{PyStr, Value, cast_float, parse};
use std::ops::Range;

/// Integers may have as many digits as Python reads.
const INT_DIGITS_MAX: usize = 4300;

/// The hint wherever a text could be put into quotes.
pub(super) const QUOTE_HINT: &str = "put texts with special characters into quotes";

pub(super) type Result<T> = std::result::Result<T, FilterError>;

/// What stands between a key and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Compare(Comparison),
    Match,
    NoMatch,
}

const OPERATORS: [(&str, Operator); 9] = [
    ("=", Operator::Compare(Comparison::Eq)),
    ("==", Operator::Compare(Comparison::Eq)),
    ("!=", Operator::Compare(Comparison::Ne)),
    ("<", Operator::Compare(Comparison::Lt)),
    ("<=", Operator::Compare(Comparison::Le)),
    (">", Operator::Compare(Comparison::Gt)),
    (">=", Operator::Compare(Comparison::Ge)),
    ("~", Operator::Match),
    ("!~", Operator::NoMatch),
];

/// What other languages write, and the right spelling.
const MISSPELLED: [(&str, &str); 14] = [
    ("=>", ">="),
    ("=<", "<="),
    ("<>", "!="),
    ("=!", "!="),
    ("===", "="),
    ("!==", "!="),
    ("=~", "~"),
    ("~=", "~"),
    ("~~", "~"),
    ("&", "and"),
    ("&&", "and"),
    ("|", "or"),
    ("||", "or"),
    ("!", "not"),
];

/// Characters that end a bare word.
pub(super) fn is_reserved(c: char) -> bool {
    c.is_whitespace()
        || is_operator(c)
        || matches!(c, '(' | ')' | ',' | '[' | ']' | '{' | '}' | '"' | '\'')
}

fn is_operator(c: char) -> bool {
    matches!(c, '=' | '!' | '<' | '>' | '~' | '&' | '|')
}

/// Reads a text from left to right.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    pub(super) at: usize,
    pub(super) notes: Vec<String>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            notes: Vec::new(),
        }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Skips white space and tells what is next.
    pub(super) fn peek_token(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.peek()
    }

    pub(super) fn eat(&mut self, c: char) -> bool {
        let found = self.peek_token() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) -> FilterError {
        FilterError::new(self.text, message).at(span)
    }

    /// The span of the next character, or of the end.
    pub(super) fn here(&self) -> Range<usize> {
        self.at..self.at + self.peek().map_or(0, char::len_utf8)
    }

    /// Says what was expected, and what is there instead.
    pub(super) fn expected(&mut self, what: &str) -> FilterError {
        self.peek_token();
        let start = self.at;
        let operator = self.operator_text();
        if let Some(right) = right_spelling(operator) {
            return self.misspelled(start..start + operator.len(), operator, right);
        }
        let word = self.rest().split(is_reserved).next().unwrap_or_default();
        let end = start + word.len().max(operator.len());
        match self.peek() {
            None => self.error(start..start, format!("expected {what}, found the end")),
            Some(_) if end > start => {
                let found = quoted(&self.text[start..end]);
                self.error(start..end, format!("expected {what}, found {found}"))
            }
            Some(c) => {
                let found = quoted(c.encode_utf8(&mut [0; 4]));
                self.error(self.here(), format!("expected {what}, found {found}"))
            }
        }
    }

    /// The bare word that is next, possibly empty.
    pub(super) fn peek_word(&self) -> &'a str {
        self.rest().split(is_reserved).next().unwrap_or_default()
    }

    /// The name in a key that is next, possibly empty.
    pub(super) fn name(&mut self) -> &'a str {
        let ends = |c: char| c == '.' || is_reserved(c);
        let name = self.rest().split(ends).next().unwrap_or_default();
        self.at += name.len();
        name
    }

    pub(super) fn word(&mut self) -> &'a str {
        let word = self.peek_word();
        self.at += word.len();
        word
    }

    /// Skips white space and a word, if it is this one.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        self.peek_token();
        let found = self.peek_word() == word;
        if found {
            self.at += word.len();
        }
        found
    }

    fn operator_text(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !is_operator(c)).unwrap_or(rest.len());
        &rest[..end]
    }

    /// Tells whether an operator is next.
    pub(super) fn at_operator(&mut self) -> bool {
        self.peek_token().is_some_and(is_operator)
    }

    pub(super) fn operator(&mut self) -> Result<Operator> {
        let text = self.operator_text();
        let span = self.at..self.at + text.len();
        if let Some((_, operator)) = OPERATORS.iter().find(|(known, _)| *known == text) {
            self.at = span.end;
            return Ok(*operator);
        }
        Err(match right_spelling(text) {
            Some(right) => self.misspelled(span, text, right),
            None => self
                .error(span, format!("unknown operator {}", quoted(text)))
                .with_hint("the operators are `= != < <= > >= ~ !~`"),
        })
    }

    fn misspelled(&self, span: Range<usize>, text: &str, right: &str) -> FilterError {
        self.error(span, format!("unknown operator {}", quoted(text)))
            .with_hint(format!("write `{right}`"))
    }

    /// A text in quotes, with the escapes of JSON.
    pub(super) fn quoted(&mut self) -> Result<PyStr> {
        let (start, inside) = self.delimited()?;
        let json = if self.text[start..].starts_with('"') {
            format!("\"{inside}\"")
        } else {
            single_to_double(inside)
        };
        match parse(&json) {
            Ok(Value::Str(string)) => Ok(string),
            _ => Err(self
                .error(
                    start..self.at,
                    "the quoted text has an invalid escape or control character",
                )
                .with_hint("write `\\\\` for a backslash, `\\n` for a new line")),
        }
    }

    /// Skips a text between two equal characters of which none stands inside without a backslash;
    /// returns its start and what is inside.
    fn delimited(&mut self) -> Result<(usize, &'a str)> {
        let start = self.at;
        let mut chars = self.rest().char_indices();
        let delimiter = chars.next().map(|(_, c)| c);
        let mut escaped = false;
        for (i, c) in chars {
            if !escaped && Some(c) == delimiter {
                self.at = start + i + 1;
                return Ok((start, &self.text[start + 1..start + i]));
            }
            escaped = !escaped && c == '\\';
        }
        Err(self
            .error(start..start + 1, "the quote is never closed")
            .with_hint(QUOTE_HINT))
    }

    /// A value: a number, constant, text or list.
    pub(super) fn literal(&mut self) -> Result<Value> {
        match self.peek_token() {
            Some('"' | '\'') => Ok(Value::Str(self.quoted()?)),
            Some('[') => self.list(),
            Some('{') => Err(self
                .error(self.here(), "objects cannot be compared")
                .with_hint("compare the keys below, as in `a.b=1`")),
            Some(c) if !is_reserved(c) => self.bare(),
            Some('=' | '<' | '>' | '~' | '!' | '&' | '|') => Err(self.expected("a value")),
            _ => Err(self
                .expected("a value")
                .with_hint("write `\"\"` for the empty text")),
        }
    }

    fn bare(&mut self) -> Result<Value> {
        let start = self.at;
        let word = self.word();
        let span = start..self.at;
        if matches!(word, "and" | "or" | "not") {
            let message = format!("expected a value, found the keyword `{word}`");
            return Err(self
                .error(span, message)
                .with_hint(format!("write `\"{word}\"` for the text")));
        }
        let digits = word.strip_prefix('-').unwrap_or(word);
        if digits.len() > INT_DIGITS_MAX && digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.error(span, "an integer of more than 4300 digits"));
        }
        if let Some(right) = match word {
            "True" => Some("true"),
            "False" => Some("false"),
            "None" => Some("null"),
            _ => None,
        } {
            self.notes
                .push(format!("`{word}` is a text; did you mean `{right}`?"));
        }
        Ok(constant(word).unwrap_or_else(|| Value::from(word)))
    }

    fn list(&mut self) -> Result<Value> {
        let start = self.at;
        let Some(n_bytes) = list_length(self.rest()) else {
            return Err(self.error(start..start + 1, "`[` is never closed"));
        };
        self.at += n_bytes;
        let json = &self.text[start..self.at];
        parse(json).map_err(|error| {
            let at = start + error.offset_in(json);
            let end = at + self.text[at..].chars().next().map_or(0, char::len_utf8);
            self.error(at..end, format!("in the list: {}", error.what))
                .with_hint("lists are JSON: texts inside need double quotes, as in [1, \"a\"]")
        })
    }

    /// A pattern in quotes, or bare up to white space or a closing parenthesis, with or without
    /// slashes around it. Backslashes are left to the pattern.
    pub(super) fn pattern(&mut self) -> Result<Pattern> {
        let (start, source) = if matches!(self.peek_token(), Some('"' | '\'')) {
            let (start, inside) = self.delimited()?;
            (start + 1, inside)
        } else {
            let start = self.at;
            self.at += bare_pattern_length(self.rest());
            let bare = &self.text[start..self.at];
            match bare
                .strip_prefix('/')
                .and_then(|rest| rest.strip_suffix('/'))
            {
                Some(inside) => (start + 1, inside),
                None => (start, bare),
            }
        };
        if source.is_empty() && self.at == start {
            return Err(self
                .expected("a pattern")
                .with_hint("write `''` for the empty pattern"));
        }
        Pattern::new(source).map_err(|error| {
            let span = start + error.span.start..start + error.span.end;
            let shown = self.error(span, error.message);
            match error.hint {
                Some(hint) => shown.with_hint(hint),
                None => shown,
            }
        })
    }
}

fn right_spelling(text: &str) -> Option<&'static str> {
    let found = MISSPELLED.iter().find(|(wrong, _)| *wrong == text);
    found.map(|(_, right)| *right)
}

/// Returns what a bare word means if it is not a text.
pub(super) fn constant(word: &str) -> Option<Value> {
    match word {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        "null" => Some(Value::Null),
        "inf" | "Infinity" => Some(Value::Float(f64::INFINITY)),
        "-inf" | "-Infinity" => Some(Value::Float(f64::NEG_INFINITY)),
        "nan" | "NaN" => Some(Value::Float(f64::NAN)),
        _ if word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.')) => {
            parse(word).ok().or_else(|| decimal(word))
        }
        _ => None,
    }
}

/// Numbers that JSON does not know: `.5` and `5.`, with a sign and exponent.
fn decimal(word: &str) -> Option<Value> {
    let known = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
    (word.contains('.') && word.chars().all(known))
        .then(|| cast_float(word).map(Value::Float))
        .flatten()
}

/// Turns the inside of `'…'` into JSON.
fn single_to_double(inside: &str) -> String {
    let mut json = String::with_capacity(inside.len() + 2);
    json.push('"');
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => match chars.next() {
                Some('\'') => json.push('\''),
                next => {
                    json.push('\\');
                    json.extend(next);
                }
            },
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// Returns the length of a JSON list up to its closing bracket.
fn list_length(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (i, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' => depth += 1,
            b']' if depth == 1 => return Some(i + 1),
            b']' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Returns the length of a pattern without quotes: parentheses in it are balanced.
fn bare_pattern_length(text: &str) -> usize {
    let (mut depth, mut in_class, mut escaped) = (0_usize, false, false);
    for (i, c) in text.char_indices() {
        match c {
            c if c.is_whitespace() => return i,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class && depth == 0 => return i,
            ')' if !in_class => depth -= 1,
            _ => {}
        }
    }
    text.len()
}
