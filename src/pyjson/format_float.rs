//! Doubles in the styles of `printf`, as Python writes them.
//!
//! Source: CPython 3.11 `Python/pystrtod.c`. Rust rounds digits as CPython does: exactly, ties to
//! even.

use super::float_repr;

/// How many digits there are if nothing is said.
const PRECISION: usize = 6;

/// The smallest exponent of ten that is written without `e`.
const FIXED_MIN: i32 = -4;

/// How a double is written.
pub(super) struct FloatStyle {
    /// One of `e E f F g G`, or `r` for as many digits as tell it from other doubles.
    pub(super) kind: char,
    pub(super) precision: Option<usize>,
    /// Keep a point at the end and zeros.
    pub(super) alternate: bool,
    pub(super) no_negative_zero: bool,
}

/// Writes a double; with a minus sign if it is negative.
pub(super) fn float_text(float: f64, style: &FloatStyle) -> String {
    let text = match style.kind {
        _ if !float.is_finite() => float_repr(float),
        'f' | 'F' => fixed(float, style),
        'e' | 'E' => scientific(float, style),
        'g' | 'G' => general(float, style, 0),
        _ if style.precision.is_some() => general(float, style, 1),
        _ => shortest(float, style.alternate),
    };
    let text = match style.kind {
        'E' | 'F' | 'G' => text.to_ascii_uppercase(),
        _ => text,
    };
    match text.strip_prefix('-') {
        Some(rest) if style.no_negative_zero && is_zero(rest) => rest.to_owned(),
        _ => text,
    }
}

/// Tells whether all digits before an exponent are 0.
fn is_zero(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    mantissa.starts_with('0') && mantissa.bytes().all(|b| matches!(b, b'0' | b'.'))
}

fn fixed(float: f64, style: &FloatStyle) -> String {
    let n_decimals = style.precision.unwrap_or(PRECISION);
    let point = if style.alternate && n_decimals == 0 {
        "."
    } else {
        ""
    };
    format!("{float:.n_decimals$}{point}")
}

fn scientific(float: f64, style: &FloatStyle) -> String {
    let n_decimals = style.precision.unwrap_or(PRECISION);
    let (mantissa, exponent) = rounded(float, n_decimals);
    let point = if style.alternate && n_decimals == 0 {
        "."
    } else {
        ""
    };
    format!("{mantissa}{point}{}", exponent_text(exponent))
}

/// Writes so many significant digits, as `fixed` or `scientific` does. `n_reserved` is 1 if one of
/// the digits stands after the point, as in `1.0`.
fn general(float: f64, style: &FloatStyle, n_reserved: i32) -> String {
    let n_digits = style.precision.unwrap_or(PRECISION).max(1);
    let (mantissa, exponent) = rounded(float, n_digits - 1);
    let is_scientific = exponent < FIXED_MIN || exponent >= n_digits as i32 - n_reserved;
    let tail = if is_scientific {
        exponent_text(exponent)
    } else {
        String::new()
    };
    let mut text = match is_scientific {
        true => mantissa,
        false => {
            let n_decimals = (n_digits as i32 - 1 - exponent).max(0) as usize;
            format!("{float:.n_decimals$}")
        }
    };
    match (style.alternate, text.contains('.')) {
        (true, false) => text.push('.'),
        (false, true) => text.truncate(text.trim_end_matches('0').trim_end_matches('.').len()),
        _ => {}
    }
    if n_reserved == 1 && !is_scientific && !text.contains('.') {
        text.push_str(".0");
    } else if n_reserved == 1 && !is_scientific && text.ends_with('.') {
        text.push('0');
    }
    text + &tail
}

/// Writes `repr`; in the alternate form a point stands before every exponent.
fn shortest(float: f64, alternate: bool) -> String {
    let text = float_repr(float);
    match text.split_once('e') {
        Some((mantissa, exponent)) if alternate && !mantissa.contains('.') => {
            format!("{mantissa}.e{exponent}")
        }
        _ => text,
    }
}

/// Returns the mantissa, rounded, and the exponent of ten.
fn rounded(float: f64, n_decimals: usize) -> (String, i32) {
    let text = format!("{float:.n_decimals$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.to_owned(), exponent.parse().unwrap_or(0))
}

fn exponent_text(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.abs())
}
