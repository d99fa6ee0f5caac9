//! Python's `int` and the text of its `float`.

use std::cmp::Ordering;
use std::fmt::{self, Write};

/// Doubles that are in the range of `i64` once their fraction is cut.
const I64_RANGE: std::ops::Range<f64> = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;

/// An integer of any size.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Int {
    /// What fits 64 bits; every such number is held this way.
    Small(i64),
    /// A larger one as decimal digits without leading zeros, with `-` if negative.
    Big(Box<str>),
}

impl Int {
    /// Reads `-?[0-9]+`; leading zeros are dropped.
    pub(crate) fn from_literal(literal: &str) -> Self {
        if let Ok(small) = literal.parse() {
            return Self::Small(small);
        }
        let (sign, digits) = match literal.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", literal),
        };
        let trimmed = format!("{sign}{}", digits.trim_start_matches('0'));
        trimmed
            .parse()
            .map_or_else(|_| Self::Big(trimmed.into()), Self::Small)
    }

    fn sign_and_digits(&self) -> (bool, String) {
        let text = self.to_string();
        match text.strip_prefix('-') {
            Some(digits) => (true, digits.to_owned()),
            None => (false, text),
        }
    }

    /// Returns whether it is negative, and its digits in a base from 2 to 16, in lower case.
    pub(super) fn digits(&self, base: u32) -> (bool, String) {
        let (negative, decimal) = self.sign_and_digits();
        match (self, base) {
            (_, 10) => (negative, decimal),
            (Self::Small(number), _) => {
                let number = number.unsigned_abs();
                let digits = match base {
                    2 => format!("{number:b}"),
                    8 => format!("{number:o}"),
                    _ => format!("{number:x}"),
                };
                (negative, digits)
            }
            (Self::Big(_), _) => (negative, in_base(&decimal, base)),
        }
    }

    /// Returns the integer that a double is equal to; `None` if it has a fraction or is not finite.
    pub fn from_float(float: f64) -> Option<Self> {
        if !float.is_finite() || float.fract() != 0.0 {
            return None;
        }
        if I64_RANGE.contains(&float) {
            return Some(Self::Small(float as i64));
        }
        // `{:.0}` of an integral double prints all its digits, exactly.
        Some(Self::from_literal(&format!("{float:.0}")))
    }

    /// Returns the nearest double, as Python's `float()` does; `None` where that is an
    /// `OverflowError`.
    pub fn to_float(&self) -> Option<f64> {
        match self {
            Self::Small(number) => Some(*number as f64),
            Self::Big(digits) => digits.parse().ok().filter(|float: &f64| float.is_finite()),
        }
    }

    /// Compares exactly with a double; `None` for NaN.
    pub fn partial_cmp_float(&self, float: f64) -> Option<Ordering> {
        if float.is_nan() {
            return None;
        }
        match self {
            // The sign of an integer that does not fit 64 bits decides against all that do.
            Self::Small(number) if I64_RANGE.contains(&float) => Some(
                number
                    .cmp(&(float.trunc() as i64))
                    .then_with(|| 0.0_f64.total_cmp(&(float.fract() + 0.0))),
            ),
            _ if float.is_infinite() || matches!(self, Self::Small(_)) => Some(if float > 0.0 {
                Ordering::Less
            } else {
                Ordering::Greater
            }),
            Self::Small(_) | Self::Big(_) => {
                let whole = Self::from_float(float.trunc())?;
                Some(self.cmp(&whole))
            }
        }
    }
}

/// Writes decimal digits in another base, by dividing until nothing is left.
fn in_base(decimal: &str, base: u32) -> String {
    let mut number: Vec<u32> = decimal.bytes().map(|b| u32::from(b - b'0')).collect();
    let mut digits = Vec::new();
    while !number.is_empty() {
        let mut remainder = 0;
        for digit in &mut number {
            let value = remainder * 10 + *digit;
            *digit = value / base;
            remainder = value % base;
        }
        let n_leading = number.iter().take_while(|&&digit| digit == 0).count();
        number.drain(..n_leading);
        digits.extend(char::from_digit(remainder, base));
    }
    digits.into_iter().rev().collect()
}

impl PartialOrd for Int {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Int {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Self::Small(a), Self::Small(b)) = (self, other) {
            return a.cmp(b);
        }
        let ((a_negative, a), (b_negative, b)) = (self.sign_and_digits(), other.sign_and_digits());
        let magnitude = a.len().cmp(&b.len()).then_with(|| a.cmp(&b));
        match (a_negative, b_negative) {
            (false, false) => magnitude,
            (true, true) => magnitude.reverse(),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small(number) => number.fmt(f),
            Self::Big(digits) => f.write_str(digits),
        }
    }
}

/// Returns Python's `repr` of a double: the shortest digits that read back as the same number,
/// in fixed notation for exponents from -4 to 15.
///
/// The digits come from `zmij`; Rust's own formatting resolves ties differently
/// (`1113178120592002.25` would end in `.3`).
pub fn float_repr(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let mut buffer = zmij::Buffer::new();
    let (negative, digits, exponent) = shortest_digits(buffer.format_finite(float));
    let mut text = String::with_capacity(24);
    if negative {
        text.push('-');
    }
    push_layout(&mut text, &digits, exponent);
    text
}

/// Splits `-12.5e3` into sign, digits without surrounding zeros, and the decimal exponent of the
/// first digit.
fn shortest_digits(text: &str) -> (bool, String, i32) {
    let (negative, text) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().expect("an exponent is a small integer");
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let n_leading = (all.len() - digits.len()) as i32;
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return (negative, "0".to_owned(), 0);
    }
    (
        negative,
        digits.to_owned(),
        exponent + whole.len() as i32 - 1 - n_leading,
    )
}

/// Lays digits out as `float.__repr__` does.
fn push_layout(text: &mut String, digits: &str, exponent: i32) {
    match exponent {
        0..16 => {
            let n_whole = exponent as usize + 1;
            if digits.len() <= n_whole {
                text.push_str(digits);
                text.extend(std::iter::repeat_n('0', n_whole - digits.len()));
                text.push_str(".0");
            } else {
                text.push_str(&digits[..n_whole]);
                text.push('.');
                text.push_str(&digits[n_whole..]);
            }
        }
        -4..0 => {
            text.push_str("0.");
            text.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
            text.push_str(digits);
        }
        _ => {
            text.push_str(&digits[..1]);
            if digits.len() > 1 {
                text.push('.');
                text.push_str(&digits[1..]);
            }
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(text, "e{sign}{:02}", exponent.abs()).expect("a String takes all");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(float: f64, expected: &str) {
        assert_eq!(float_repr(float), expected);
    }

    #[test]
    fn floats_print_as_python_prints_them() {
        check(0.0, "0.0");
        check(-0.0, "-0.0");
        check(1e15, "1000000000000000.0");
        check(1e16, "1e+16");
        check(9_999_999_999_999_998.0, "9999999999999998.0");
        check(1e-4, "0.0001");
        check(1e-5, "1e-05");
        check(1.5e-7, "1.5e-07");
        check(5e-324, "5e-324");
        check(f64::MAX, "1.7976931348623157e+308");
        check(0.1 + 0.2, "0.30000000000000004");
        check(123_456_789.123, "123456789.123");
        check(1e100, "1e+100");
        check(f64::NEG_INFINITY, "-inf");
    }

    #[test]
    #[expect(clippy::excessive_precision, reason = "the digits of the tie")]
    fn ties_round_as_in_python() {
        check(1_113_178_120_592_002.25, "1113178120592002.2");
    }

    #[test]
    fn integers_of_any_size_compare_by_value() {
        let int = Int::from_literal;
        assert_eq!(int("-0"), Int::Small(0));
        assert_eq!(int("-0007"), Int::Small(-7));
        assert!(int("9223372036854775808") > int("9223372036854775807"));
        assert!(int("-9223372036854775809") < int("-5"));
        assert!(int("99999999999999999999") < int("100000000000000000000"));
        assert_eq!(
            int("18446744073709551616").partial_cmp_float(18446744073709551616.0),
            Some(Ordering::Equal)
        );
        assert_eq!(
            int("9007199254740993").partial_cmp_float(9007199254740992.0),
            Some(Ordering::Greater)
        );
        assert_eq!(int("-1").partial_cmp_float(-1.5), Some(Ordering::Greater));
        assert_eq!(int("3").partial_cmp_float(f64::NAN), None);
        assert_eq!(int("0").partial_cmp_float(-0.0), Some(Ordering::Equal));
        assert_eq!(int("0").partial_cmp_float(-0.5), Some(Ordering::Greater));
        assert_eq!(int("5").partial_cmp_float(1e300), Some(Ordering::Less));
        assert_eq!(
            int("9223372036854775807").partial_cmp_float(9223372036854775808.0),
            Some(Ordering::Less)
        );
        assert_eq!(
            int("-9223372036854775808").partial_cmp_float(-9223372036854775808.0),
            Some(Ordering::Equal)
        );
        assert_eq!(
            int("99999999999999999999").partial_cmp_float(0.5),
            Some(Ordering::Greater)
        );
    }

    #[test]
    fn integers_and_doubles_convert_exactly_or_not_at_all() {
        assert_eq!(Int::from_float(-0.0), Some(Int::Small(0)));
        assert_eq!(Int::from_float(0.5), None);
        assert_eq!(Int::from_float(f64::INFINITY), None);
        assert_eq!(
            Int::from_float(1e22).map(|int| int.to_string()),
            Some("10000000000000000000000".to_owned())
        );
        assert_eq!(
            Int::from_literal("9007199254740993").to_float(),
            Some(9007199254740992.0)
        );
        assert_eq!(Int::from_literal(&"9".repeat(400)).to_float(), None);
    }
}
