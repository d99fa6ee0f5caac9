//! Numbers in texts, as Python's `int()` and `float()` read them.
//!
//! Source: CPython 3.11 `PyLong_FromString`, `PyFloat_FromString` and
//! `_PyUnicode_TransformDecimalAndSpaceToASCII`.

use super::{Int, Value};
use std::borrow::Cow;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Python refuses to read longer integers since 3.11.
const INT_DIGITS_MAX: usize = 4300;

/// Returns `int(text)`, or else `float(text)`; `None` where both are a `ValueError`.
pub fn cast_number(text: &str) -> Option<Value> {
    let plain = to_ascii(text);
    let literal = without_underscores(trim(&plain))?;
    match cast_int(&literal) {
        Some(int) => Some(Value::Int(int)),
        None => parse_float(&literal).map(Value::Float),
    }
}

/// Returns `float(text)`; `None` where that is a `ValueError`.
pub fn cast_float(text: &str) -> Option<f64> {
    let plain = to_ascii(text);
    parse_float(&without_underscores(trim(&plain))?)
}

fn cast_int(literal: &str) -> Option<Int> {
    let digits = literal.strip_prefix(['-', '+']).unwrap_or(literal);
    let is_int = !digits.is_empty()
        && digits.len() <= INT_DIGITS_MAX
        && digits.bytes().all(|b| b.is_ascii_digit());
    is_int.then(|| Int::from_literal(literal.strip_prefix('+').unwrap_or(literal)))
}

/// Rust reads the same texts as Python, once spaces and underscores are gone.
fn parse_float(literal: &str) -> Option<f64> {
    literal.parse().ok()
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c| matches!(c, ' ' | '\t' | '\n' | '\x0B' | '\x0C' | '\r'))
}

/// Removes underscores between digits; `None` if there is one elsewhere.
fn without_underscores(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('_') {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let is_digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
    let misplaced = |i: usize| i == 0 || !is_digit(i - 1) || !is_digit(i + 1);
    if (0..bytes.len()).any(|i| bytes[i] == b'_' && misplaced(i)) {
        return None;
    }
    Some(Cow::Owned(text.replace('_', "")))
}

/// Replaces the decimal digits and the spaces of other scripts.
fn to_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let plain = |c: char| match c {
        c if c.is_whitespace() || ('\x1C'..='\x1F').contains(&c) => ' ',
        c if c.is_ascii() => c,
        c => decimal_digit(c).unwrap_or(c),
    };
    Cow::Owned(text.chars().map(plain).collect())
}

/// Returns the ASCII digit of the same value. Unicode keeps decimal digits in runs of ten.
fn decimal_digit(c: char) -> Option<char> {
    let is_digit = |code: u32| {
        char::from_u32(code).is_some_and(|c| c.general_category() == GeneralCategory::DecimalNumber)
    };
    let code = c as u32;
    if !is_digit(code) {
        return None;
    }
    let n_before = (1..code).take_while(|back| is_digit(code - back)).count();
    char::from_digit(n_before as u32 % 10, 10)
}

#[cfg(test)]
mod tests {
    use super::super::dumps;
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(
            cast_number(text).map(|value| dumps(&value)).as_deref(),
            Some(expected)
        );
    }

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        check("+5", "5");
        check(" 5 ", "5");
        check("007", "7");
        check("-0", "0");
        check("1_000", "1000");
        check("٣", "3");
        check("1𝟙\u{a0}", "11");
        check("99999999999999999999", "99999999999999999999");
        check("1e3", "1000.0");
        check(".5", "0.5");
        check("5.", "5.0");
        check("1_0.5", "10.5");
        check("٣.٥", "3.5");
        check("-inf", "-Infinity");
        check("InFiNiTy", "Infinity");
        check("nan", "NaN");
        check("1e400", "Infinity");
        check(&"9".repeat(5000), "Infinity");
    }

    #[test]
    fn other_texts_are_no_numbers() {
        for text in [
            "", " ", "0x10", "1j", "1,2", "_1", "1_", "1__0", "1_.5", "--5", "+ 5", "e5", ".", "½",
            "infinite", "5\0",
        ] {
            assert_eq!(cast_number(text), None, "{text}");
        }
        assert_eq!(cast_float(" 0.5 "), Some(0.5));
        assert_eq!(cast_float("abc"), None);
    }
}
