//! Python's format mini-language, for the types that JSON has.
//!
//! Source: CPython 3.11 `Python/formatter_unicode.c`.

use super::format_float::{FloatStyle, float_text};
use super::string::push_code_point;
use super::{Int, PyStr, Value, py_str};
use std::fmt;

/// No file name is as long, so no width or precision need be greater.
const SIZE_MAX: usize = 9999;

/// Why a value has no text in a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The format is none for any type.
    #[error("{0}")]
    Syntax(String),
    /// An object has no text.
    #[error("an object cannot be written")]
    Object,
    /// The format is none for the type of this value.
    #[error("{what} cannot be written as `{format}`: {reason}")]
    Type {
        /// The type.
        what: &'static str,
        /// The format.
        format: String,
        /// What in it is to blame.
        reason: String,
    },
}

/// A format specifier, the text after the colon of a field: `03d`, `.2f`, `_>10`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatSpec {
    text: String,
    fill: Option<char>,
    align: Option<Align>,
    sign: Option<char>,
    /// `z`: no minus before a number that rounds to 0.
    no_negative_zero: bool,
    /// `#`.
    alternate: bool,
    /// A `0` before the width.
    zero_padded: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    Left,
    Right,
    Center,
    /// Between the sign and the digits.
    AfterSign,
}

/// A number in pieces, in the order in which they are written.
#[derive(Default)]
struct Pieces {
    sign: String,
    prefix: &'static str,
    /// The digits before the point, which are grouped.
    digits: String,
    rest: PyStr,
}

impl FormatSpec {
    /// Reads a specifier; whether it suits a value depends on the value's type.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let chars: Vec<_> = text.chars().collect();
        let mut reader = Reader {
            chars: &chars,
            text,
        };
        let (fill, align) = reader.fill_and_align();
        let sign = reader.take_any(&[' ', '+', '-']);
        let no_negative_zero = reader.take('z');
        let alternate = reader.take('#');
        let zero_padded = fill.is_none() && reader.take('0');
        let width = reader.number()?.unwrap_or(0);
        let grouping = reader.grouping()?;
        let precision = match reader.take('.') {
            true => Some(
                reader
                    .number()?
                    .ok_or_else(|| reader.error("a number must follow the point"))?,
            ),
            false => None,
        };
        let kind = match *reader.chars {
            [] => None,
            [kind] => Some(kind),
            _ => return Err(reader.error("it has more than one type")),
        };
        let spec = Self {
            text: text.to_owned(),
            fill,
            align,
            sign,
            no_negative_zero,
            alternate,
            zero_padded,
            width,
            grouping,
            precision,
            kind,
        };
        spec.check_grouping()
    }

    fn check_grouping(self) -> Result<Self, FormatError> {
        let is_allowed = match (self.grouping, self.kind) {
            (None, _) | (_, None | Some('d' | 'e' | 'f' | 'g' | 'E' | 'G' | '%' | 'F')) => true,
            (Some(grouping), Some('b' | 'o' | 'x' | 'X')) => grouping == '_',
            _ => false,
        };
        match is_allowed {
            true => Ok(self),
            false => Err(FormatError::Syntax(format!(
                "the format `{}` groups digits that its type has not",
                self.text
            ))),
        }
    }

    /// Returns `format(value, spec)`. Lists and null have a text only in the empty format.
    pub fn format(&self, value: &Value) -> Result<PyStr, FormatError> {
        if self.text.is_empty() {
            return Ok(py_str(value));
        }
        match value {
            Value::Str(string) => self.format_str(string),
            Value::Bool(bool) => self.format_int(value, &Int::Small(i64::from(*bool))),
            Value::Int(int) => self.format_int(value, int),
            Value::Float(float) => match self.kind {
                None | Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'n' | '%') => {
                    Ok(self.format_float(*float))
                }
                Some(kind) => Err(self.unknown_kind(value, kind)),
            },
            Value::Null | Value::List(_) | Value::Object(_) => {
                Err(self.error(value, "it takes no format"))
            }
        }
    }

    fn format_str(&self, string: &PyStr) -> Result<PyStr, FormatError> {
        let value = || Value::Str(string.clone());
        if let Some(kind) = self.kind.filter(|&kind| kind != 's') {
            return Err(self.unknown_kind(&value(), kind));
        }
        let is_numeric = self.sign.is_some()
            || self.no_negative_zero
            || self.alternate
            || self.grouping.is_some()
            || self.align == Some(Align::AfterSign);
        if is_numeric {
            return Err(self.error(&value(), "the format is one for numbers"));
        }
        let n_shown = self.precision.unwrap_or(usize::MAX);
        let shown: Vec<_> = string.code_points().take(n_shown).collect();
        let fill = self
            .fill
            .unwrap_or(if self.zero_padded { '0' } else { ' ' });
        let n_fill = self.width.saturating_sub(shown.len());
        let (n_left, n_right) = split_fill(self.align.unwrap_or(Align::Left), n_fill);
        let mut bytes = Vec::new();
        let push_fill = |bytes: &mut Vec<u8>, n: usize| {
            (0..n).for_each(|_| push_code_point(bytes, u32::from(fill)));
        };
        push_fill(&mut bytes, n_left);
        shown.iter().for_each(|&c| push_code_point(&mut bytes, c));
        push_fill(&mut bytes, n_right);
        Ok(PyStr::from_encoded(bytes))
    }

    fn format_int(&self, value: &Value, int: &Int) -> Result<PyStr, FormatError> {
        let base = match self.kind {
            None | Some('d' | 'n') => 10,
            Some('b') => 2,
            Some('o') => 8,
            Some('x' | 'X') => 16,
            Some('c') => return self.format_char(value, int),
            Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => {
                return match int.to_float() {
                    Some(float) => Ok(self.format_float(float)),
                    None => Err(self.error(value, "it is too large for a float")),
                };
            }
            Some(kind) => return Err(self.unknown_kind(value, kind)),
        };
        self.check_int(value)?;
        let (negative, mut digits) = int.digits(base);
        if self.kind == Some('X') {
            digits.make_ascii_uppercase();
        }
        let prefix = match (self.alternate, self.kind) {
            (true, Some('b')) => "0b",
            (true, Some('o')) => "0o",
            (true, Some('x')) => "0x",
            (true, Some('X')) => "0X",
            _ => "",
        };
        Ok(self.laid_out(Pieces {
            sign: self.sign_of(negative),
            prefix,
            digits,
            rest: PyStr::default(),
        }))
    }

    fn check_int(&self, value: &Value) -> Result<(), FormatError> {
        if self.precision.is_some() {
            return Err(self.error(value, "an integer has no precision"));
        }
        if self.no_negative_zero {
            return Err(self.error(value, "`z` is for floats"));
        }
        Ok(())
    }

    fn format_char(&self, value: &Value, int: &Int) -> Result<PyStr, FormatError> {
        self.check_int(value)?;
        if self.sign.is_some() || self.alternate {
            return Err(self.error(value, "a character has no sign and no other form"));
        }
        let Int::Small(code_point @ 0..=0x10_FFFF) = *int else {
            return Err(self.error(value, "no character has this number"));
        };
        let mut character = Vec::new();
        push_code_point(&mut character, code_point as u32);
        Ok(self.laid_out(Pieces {
            rest: PyStr::from_encoded(character),
            ..Pieces::default()
        }))
    }

    fn format_float(&self, float: f64) -> PyStr {
        let (kind, float) = match self.kind {
            Some('%') => ('f', float * 100.0),
            Some('n') => ('g', float),
            Some(kind) => (kind, float),
            None => ('r', float),
        };
        let text = float_text(
            float,
            &FloatStyle {
                kind,
                precision: self.precision,
                alternate: self.alternate,
                no_negative_zero: self.no_negative_zero,
            },
        );
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let n_digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = text.split_at(n_digits);
        let percent = if self.kind == Some('%') { "%" } else { "" };
        self.laid_out(Pieces {
            sign: self.sign_of(negative),
            prefix: "",
            digits: digits.to_owned(),
            rest: format!("{rest}{percent}").into(),
        })
    }

    fn sign_of(&self, negative: bool) -> String {
        match (negative, self.sign) {
            (true, _) => "-".to_owned(),
            (false, Some(sign @ (' ' | '+'))) => sign.to_string(),
            (false, _) => String::new(),
        }
    }

    /// Groups the digits of a number and pads it.
    fn laid_out(&self, pieces: Pieces) -> PyStr {
        let Pieces {
            sign,
            prefix,
            digits,
            rest,
        } = pieces;
        let fill = self
            .fill
            .unwrap_or(if self.zero_padded { '0' } else { ' ' });
        let usual = if self.zero_padded {
            Align::AfterSign
        } else {
            Align::Right
        };
        let align = self.align.unwrap_or(usual);
        let n_other = sign.len() + prefix.len() + rest.code_points().count();
        let n_digits_min = match fill == '0' && align == Align::AfterSign {
            true => self.width.saturating_sub(n_other),
            false => 0,
        };
        let digits = match digits.is_empty() {
            true => digits,
            false => self.grouped(&digits, n_digits_min),
        };
        let n_fill = self.width.saturating_sub(n_other + digits.len());
        let padding = |n: usize| fill.to_string().repeat(n);
        let (n_left, n_inside, n_right) = match align {
            Align::AfterSign => (0, n_fill, 0),
            _ => {
                let (n_left, n_right) = split_fill(align, n_fill);
                (n_left, 0, n_right)
            }
        };
        let before = format!(
            "{}{sign}{prefix}{}{digits}",
            padding(n_left),
            padding(n_inside)
        );
        let right = padding(n_right);
        let parts = [before.as_bytes(), rest.as_bytes(), right.as_bytes()];
        PyStr::from_encoded(parts.concat())
    }

    /// Puts separators between digits, with zeros before them up to a width; a group that the
    /// width begins is never left empty.
    fn grouped(&self, digits: &str, n_min: usize) -> String {
        let Some(separator) = self.grouping else {
            return format!("{digits:0>n_min$}");
        };
        let group = match self.kind {
            Some('b' | 'o' | 'x' | 'X') => 4,
            _ => 3,
        };
        let mut left = digits.chars().rev().peekable();
        let mut reversed = Vec::new();
        let mut n_in_group = 0;
        while left.peek().is_some() || reversed.len() < n_min {
            if n_in_group == group {
                reversed.push(separator);
                n_in_group = 0;
            }
            reversed.push(left.next().unwrap_or('0'));
            n_in_group += 1;
        }
        reversed.into_iter().rev().collect()
    }

    fn error(&self, value: &Value, reason: impl Into<String>) -> FormatError {
        FormatError::Type {
            what: value.type_name(),
            format: self.text.clone(),
            reason: reason.into(),
        }
    }

    fn unknown_kind(&self, value: &Value, kind: char) -> FormatError {
        self.error(
            value,
            format!("`{}` is for other types", kind.escape_default()),
        )
    }
}

/// Tells how much of the padding stands on the left, and how much on the right.
fn split_fill(align: Align, n_fill: usize) -> (usize, usize) {
    match align {
        Align::Left => (0, n_fill),
        Align::Right | Align::AfterSign => (n_fill, 0),
        Align::Center => (n_fill / 2, n_fill - n_fill / 2),
    }
}

/// Writes the specifier as it was read.
impl fmt::Display for FormatSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

struct Reader<'a> {
    chars: &'a [char],
    text: &'a str,
}

impl Reader<'_> {
    fn error(&self, reason: &str) -> FormatError {
        FormatError::Syntax(format!("`{}` is no format: {reason}", self.text))
    }

    fn take_any(&mut self, wanted: &[char]) -> Option<char> {
        let first = *self.chars.first().filter(|c| wanted.contains(c))?;
        self.chars = &self.chars[1..];
        Some(first)
    }

    fn take(&mut self, wanted: char) -> bool {
        self.take_any(&[wanted]).is_some()
    }

    fn fill_and_align(&mut self) -> (Option<char>, Option<Align>) {
        let align = |c: Option<&char>| match c? {
            '<' => Some(Align::Left),
            '>' => Some(Align::Right),
            '^' => Some(Align::Center),
            '=' => Some(Align::AfterSign),
            _ => None,
        };
        let (first, second) = (align(self.chars.first()), align(self.chars.get(1)));
        let (n_taken, fill, align) = match (first, second) {
            (_, Some(second)) => (2, self.chars.first().copied(), Some(second)),
            (Some(first), None) => (1, None, Some(first)),
            (None, None) => (0, None, None),
        };
        self.chars = &self.chars[n_taken..];
        (fill, align)
    }

    fn number(&mut self) -> Result<Option<usize>, FormatError> {
        let n_digits = self.chars.iter().take_while(|c| c.is_ascii_digit()).count();
        if n_digits == 0 {
            return Ok(None);
        }
        let (digits, rest) = self.chars.split_at(n_digits);
        self.chars = rest;
        let number = digits.iter().collect::<String>().parse();
        match number {
            Ok(number) if number <= SIZE_MAX => Ok(Some(number)),
            _ => Err(self.error("the number is too large")),
        }
    }

    fn grouping(&mut self) -> Result<Option<char>, FormatError> {
        let grouping = self.take_any(&[',', '_']);
        match grouping.is_some() && self.take_any(&[',', '_']).is_some() {
            true => Err(self.error("it has more than one separator of digits")),
            false => Ok(grouping),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[track_caller]
    fn check(json: &str, spec: &str, expected: &str) {
        let value = parse(json).expect("valid JSON");
        let text = FormatSpec::parse(spec).and_then(|spec| spec.format(&value));
        assert_eq!(text.map(|text| text.to_string()), Ok(expected.to_owned()));
    }

    #[track_caller]
    fn check_error(json: &str, spec: &str, expected: &str) {
        let value = parse(json).expect("valid JSON");
        let error = FormatSpec::parse(spec).and_then(|spec| spec.format(&value));
        assert_eq!(
            error.map_err(|error| error.to_string()),
            Err(expected.to_owned())
        );
    }

    #[test]
    fn integers_are_written_as_in_python() {
        check("7", "03d", "007");
        check("-7", "05", "-0007");
        check("255", "#x", "0xff");
        check("255", "#010X", "0X000000FF");
        check("-5", "b", "-101");
        check("1234567", ",", "1,234,567");
        check("1234", "08,", "0,001,234");
        check("65535", "_x", "ffff");
        check("65536", "_x", "1_0000");
        check("3", ".2f", "3.00");
        check("3", "+", "+3");
        check("3", "^5", "  3  ");
        check("-3", "*=5", "-***3");
        check("65", "c", "A");
        check("55905", "05c", "0000\u{fffd}");
        check(
            "123456789012345678901234567890",
            "x",
            "18ee90ff6c373e0ee4e3f0ad2",
        );
        check("true", "d", "1");
        check("true", "", "True");
    }

    #[test]
    fn floats_are_written_as_in_python() {
        check("0.1", ".3f", "0.100");
        check("1.0", ".3", "1.0");
        check("1234.5", ".2e", "1.23e+03");
        check("0.25", "%", "25.000000%");
        check("1e20", "g", "1e+20");
        check("1.0", "#g", "1.00000");
        check("100000.0", ".0f", "100000");
        check("Infinity", "010,", "0000000inf");
        check("-0.01", "z.1f", "0.0");
        check("NaN", "F", "NAN");
        check("1e-05", "", "1e-05");
        check("12345.678", "015,.2f", "0,000,012,345.68");
    }

    #[test]
    fn texts_are_written_as_in_python() {
        check(r#""ab""#, "_>5", "___ab");
        check(r#""ab""#, "05", "ab000");
        check(r#""héllo""#, ".2", "hé");
        check("[1, \"a\"]", "", "[1, 'a']");
    }

    #[test]
    fn what_python_refuses_is_an_error() {
        let error = "a string cannot be written as `d`: `d` is for other types";
        check_error(r#""a""#, "d", error);
        check_error(
            "null",
            ">5",
            "null cannot be written as `>5`: it takes no format",
        );
        check_error(
            "1",
            ".2d",
            "an integer cannot be written as `.2d`: an integer has no precision",
        );
        check_error(
            "1",
            "5.",
            "`5.` is no format: a number must follow the point",
        );
        check_error("1", "dd", "`dd` is no format: it has more than one type");
        check_error(
            "1",
            ",x",
            "the format `,x` groups digits that its type has not",
        );
        check_error(
            "1",
            "99999",
            "`99999` is no format: the number is too large",
        );
        check_error(
            "1.5",
            "x",
            "a float cannot be written as `x`: `x` is for other types",
        );
    }
}
