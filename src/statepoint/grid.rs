//! Grids: the state points that `create angle=10:80:10 velocity=6,8,10` means.

use super::{Key, StatePoint};
use crate::pyjson::{Object, PyStr, Value, parse};

/// No axis of a grid, and no grid, has more points than this.
const POINTS_MAX: usize = 10_000_000;

/// Why a term is not an axis of a grid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// The term has no `=`, or nothing before it.
    #[error("`{0}` is not KEY=VALUES")]
    NoKey(String),
    /// The same key twice, or a key below another one.
    #[error("the key `{0}` is given twice, or once with a value and once with keys below it")]
    RepeatedKey(String),
    /// `START:STOP:STEP` that never arrives.
    #[error("the range `{0}` is empty: STEP must lead from START to STOP")]
    EmptyRange(String),
    /// More points than anyone wants by intention.
    #[error("the grid has more than {POINTS_MAX} points")]
    TooLarge,
}

/// The product of some axes, the first of which varies slowest.
#[derive(Clone, Debug)]
pub struct Grid {
    axes: Vec<(Key, Vec<Value>)>,
}

impl Grid {
    /// Reads terms `KEY=VALUES`, where VALUES are separated by commas and each is a range
    /// `START:STOP:STEP` (STOP included), JSON, or else a string.
    pub fn parse<'a>(terms: impl IntoIterator<Item = &'a str>) -> Result<Self, GridError> {
        let mut axes: Vec<(Key, Vec<Value>)> = Vec::new();
        let mut n_points = 1_usize;
        for term in terms {
            let (key, values) = term
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| GridError::NoKey(term.to_owned()))?;
            if axes
                .iter()
                .any(|(other, _)| overlap(&other.dotted().to_string(), key))
            {
                return Err(GridError::RepeatedKey(key.to_owned()));
            }
            let values = parse_values(values)?;
            n_points = n_points
                .checked_mul(values.len())
                .filter(|&n| n <= POINTS_MAX)
                .ok_or(GridError::TooLarge)?;
            axes.push((Key::parse(key), values));
        }
        Ok(Self { axes })
    }

    /// Returns the number of points: 1 without axes.
    pub fn n_points(&self) -> usize {
        self.axes.iter().map(|(_, values)| values.len()).product()
    }

    /// Iterates over the state points.
    pub fn points(&self) -> impl Iterator<Item = StatePoint> + '_ {
        (0..self.n_points()).map(|i| self.point(i))
    }

    fn point(&self, index: usize) -> StatePoint {
        let mut n_below = self.n_points();
        let mut object = Object::new();
        for (key, values) in &self.axes {
            n_below /= values.len();
            insert(
                &mut object,
                &key.parts(),
                values[index / n_below % values.len()].clone(),
            );
        }
        StatePoint::from_object(object)
    }
}

/// Tells whether one key is the other or lies below it.
fn overlap(a: &str, b: &str) -> bool {
    let below = |a: &str, b: &str| {
        a.strip_prefix(b)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    below(a, b) || below(b, a)
}

fn insert(object: &mut Object, parts: &[PyStr], value: Value) {
    let [first, rest @ ..] = parts else { return };
    if rest.is_empty() {
        return object.insert(first.clone(), value);
    }
    if object.get(first).is_none() {
        object.insert(first.clone(), Value::Object(Object::new()));
    }
    if let Some(Value::Object(inner)) = object.get_mut(first) {
        insert(inner, rest, value);
    }
}

fn parse_values(text: &str) -> Result<Vec<Value>, GridError> {
    let mut values: Vec<Value> = Vec::new();
    for item in split_commas(text) {
        let range = Range::parse(item);
        let room = POINTS_MAX.saturating_sub(values.len());
        match range {
            Some(range) => values.extend(range.values(item, room)?),
            None => values.push(parse_value(item)),
        }
    }
    if values.len() > POINTS_MAX {
        return Err(GridError::TooLarge);
    }
    let mut seen = std::collections::HashSet::new();
    values.retain(|value| seen.insert(value.clone()));
    Ok(values)
}

/// Reads a value as users type it: JSON, or else a string.
pub(crate) fn parse_value(text: &str) -> Value {
    parse(text).unwrap_or_else(|_| Value::from(text))
}

/// Splits at the commas outside brackets and quotes.
fn split_commas(text: &str) -> Vec<&str> {
    let (mut items, mut start, mut depth, mut quoted, mut escaped) =
        (Vec::new(), 0, 0_usize, false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                items.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items
}

/// `START:STOP:STEP` in exact decimal arithmetic, so that `0:1:0.1` contains `0.3` and not
/// `0.30000000000000004`.
struct Range {
    start: i128,
    stop: i128,
    step: i128,
    /// The numbers above are multiples of `10^-n_decimals`.
    n_decimals: u32,
    is_float: bool,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split(':').map(Decimal::parse).collect::<Option<_>>()?;
        let [start, stop, step] = parts.as_slice() else {
            return None;
        };
        let n_decimals = parts.iter().map(|d| d.n_decimals).max()?;
        Some(Self {
            start: start.scaled(n_decimals)?,
            stop: stop.scaled(n_decimals)?,
            step: step.scaled(n_decimals)?,
            n_decimals,
            is_float: parts.iter().any(|d| d.is_float),
        })
    }

    fn values(&self, text: &str, n_max: usize) -> Result<Vec<Value>, GridError> {
        let empty = || GridError::EmptyRange(text.to_owned());
        let last = (self.stop - self.start)
            .checked_div(self.step)
            .ok_or_else(empty)?;
        let direction = (self.stop - self.start).signum() * self.step.signum();
        if direction < 0 {
            return Err(empty());
        }
        let n_values = usize::try_from(last)
            .ok()
            .filter(|&n| n < n_max)
            .ok_or(GridError::TooLarge)?
            + 1;
        Ok((0..n_values)
            .map(|i| self.value(self.start + self.step * i as i128))
            .collect())
    }

    fn value(&self, scaled: i128) -> Value {
        let json = match (self.is_float, self.n_decimals) {
            (false, _) => scaled.to_string(),
            (true, n) => format!("{scaled}e-{n}"),
        };
        parse(&json).expect("a number in JSON")
    }
}

/// A decimal number as typed.
struct Decimal {
    digits: i128,
    n_decimals: u32,
    is_float: bool,
}

impl Decimal {
    /// Reads an optional sign, digits, an optional fraction and exponent.
    fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (
                mantissa,
                exponent
                    .parse::<i32>()
                    .ok()
                    .filter(|e| e.unsigned_abs() <= 30)?,
            ),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(&digits);
        if unsigned.is_empty()
            || unsigned.len() > 18
            || !unsigned.bytes().all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let shift = exponent - fraction.len() as i32;
        let digits: i128 = digits.parse().ok()?;
        let digits = if shift > 0 {
            digits.checked_mul(10_i128.checked_pow(shift as u32)?)?
        } else {
            digits
        };
        Some(Self {
            digits,
            n_decimals: (-shift).max(0) as u32,
            is_float: text.contains(['.', 'e', 'E']),
        })
    }

    fn scaled(&self, n_decimals: u32) -> Option<i128> {
        let factor = 10_i128.checked_pow(n_decimals - self.n_decimals)?;
        self.digits
            .checked_mul(factor)
            .filter(|n| n.unsigned_abs() < 1 << 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(terms: &[&str], expected: &[&str]) {
        let grid = Grid::parse(terms.iter().copied()).expect("a grid");
        let points: Vec<_> = grid.points().map(|sp| sp.object().dumps()).collect();
        assert_eq!(points, expected);
        assert_eq!(grid.n_points(), expected.len());
    }

    #[track_caller]
    fn check_error(terms: &[&str], expected: &str) {
        assert_eq!(
            Grid::parse(terms.iter().copied())
                .expect_err("no grid")
                .to_string(),
            expected
        );
    }

    #[test]
    fn the_first_axis_varies_slowest() {
        check(
            &["b=1,2", "a=x,y"],
            &[
                r#"{"b": 1, "a": "x"}"#,
                r#"{"b": 1, "a": "y"}"#,
                r#"{"b": 2, "a": "x"}"#,
                r#"{"b": 2, "a": "y"}"#,
            ],
        );
        check(&[], &["{}"]);
    }

    #[test]
    fn ranges_include_the_stop_and_keep_integers() {
        check(
            &["a=10:30:10"],
            &[r#"{"a": 10}"#, r#"{"a": 20}"#, r#"{"a": 30}"#],
        );
        check(
            &["a=3:1:-1"],
            &[r#"{"a": 3}"#, r#"{"a": 2}"#, r#"{"a": 1}"#],
        );
        check(
            &["a=0:0.3:0.1"],
            &[
                r#"{"a": 0.0}"#,
                r#"{"a": 0.1}"#,
                r#"{"a": 0.2}"#,
                r#"{"a": 0.3}"#,
            ],
        );
        check(
            &["a=0:5:2,9"],
            &[r#"{"a": 0}"#, r#"{"a": 2}"#, r#"{"a": 4}"#, r#"{"a": 9}"#],
        );
        check(
            &["a=1e-3:2e-3:1e-3"],
            &[r#"{"a": 0.001}"#, r#"{"a": 0.002}"#],
        );
        check(&["a=5:5:1"], &[r#"{"a": 5}"#]);
    }

    #[test]
    fn other_values_are_json_or_strings() {
        check(
            &["a=[1,2],{\"x\":1},\"p,q\",true,12:30,null,"],
            &[
                r#"{"a": [1, 2]}"#,
                r#"{"a": {"x": 1}}"#,
                r#"{"a": "p,q"}"#,
                r#"{"a": true}"#,
                r#"{"a": "12:30"}"#,
                r#"{"a": null}"#,
                r#"{"a": ""}"#,
            ],
        );
        check(&["a=1,1,1.0"], &[r#"{"a": 1}"#, r#"{"a": 1.0}"#]);
        check(
            &["init.seed=1", "init.n=2"],
            &[r#"{"init": {"seed": 1, "n": 2}}"#],
        );
    }

    #[test]
    fn senseless_terms_are_refused() {
        check_error(&["angle"], "`angle` is not KEY=VALUES");
        check_error(&["=1"], "`=1` is not KEY=VALUES");
        check_error(
            &["a=1", "a.b=2"],
            "the key `a.b` is given twice, or once with a value and once with keys below it",
        );
        check_error(
            &["a=1:5:0"],
            "the range `1:5:0` is empty: STEP must lead from START to STOP",
        );
        check_error(
            &["a=1:5:-1"],
            "the range `1:5:-1` is empty: STEP must lead from START to STOP",
        );
        check_error(
            &["a=1:2:-5"],
            "the range `1:2:-5` is empty: STEP must lead from START to STOP",
        );
        check_error(
            &["a=0:1e25:-1e26"],
            "the range `0:1e25:-1e26` is empty: STEP must lead from START to STOP",
        );
        check(&["a=0:1e25:1e26"], &[r#"{"a": 0.0}"#]);
        check(&["a=1e-2147483648:3:1"], &[r#"{"a": "1e-2147483648:3:1"}"#]);
        check_error(&["a=0:1e18:1"], "the grid has more than 10000000 points");
        check_error(
            &["a=0:9999:1", "b=0:9999:1"],
            "the grid has more than 10000000 points",
        );
    }
}
