//! Writing a filter in our own language.

use super::expr::{Expr, Field, Space};
use super::lexer::{constant, is_reserved};
use super::test::{Comparison, Near, Test};
use super::values::ValueSet;
use crate::pyjson::{PyStr, Value, dumps, dumps_str, float_repr};
use std::fmt::{self, Display, Formatter, Write};

/// How tightly a part must hold together.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Level {
    Any,
    All,
    Single,
}

/// Writes the condition in the language that [`Filter::parse`](super::Filter::parse) reads.
impl<P: Display> Display for Expr<P> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_expr(f, self, Level::Any)
    }
}

fn write_expr<P: Display>(f: &mut Formatter<'_>, expr: &Expr<P>, level: Level) -> fmt::Result {
    match expr {
        Expr::And(parts) => write_joined(f, parts, (Level::All, " and ", "all()"), level),
        Expr::Or(parts) => write_joined(f, parts, (Level::Any, " or ", "none()"), level),
        Expr::Not(part) => {
            f.write_str("not ")?;
            write_expr(f, part, Level::Single)
        }
        Expr::Test(field, test) => write_test(f, field, test),
        Expr::Probe(probe) => probe.fmt(f),
    }
}

fn write_joined<P: Display>(
    f: &mut Formatter<'_>,
    parts: &[Expr<P>],
    (own, separator, empty): (Level, &str, &str),
    level: Level,
) -> fmt::Result {
    match parts {
        [] => return f.write_str(empty),
        [only] => return write_expr(f, only, level),
        _ => {}
    }
    let enclosed = level > own;
    if enclosed {
        f.write_char('(')?;
    }
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        let inner = if own == Level::Any {
            Level::All
        } else {
            Level::Single
        };
        write_expr(f, part, inner)?;
    }
    if enclosed {
        f.write_char(')')?;
    }
    Ok(())
}

fn write_test(f: &mut Formatter<'_>, field: &Field, test: &Test) -> fmt::Result {
    match test {
        Test::Exists => write!(f, "exists({field})"),
        Test::Truthy => write!(f, "{field}"),
        // Nothing is equal to an object, nor ordered against one.
        Test::Compare(Comparison::Ne, Value::Object(_)) => write!(f, "exists({field})"),
        Test::Compare(_, Value::Object(_)) => f.write_str("none()"),
        Test::Compare(comparison, value) => {
            write!(f, "{field}{}{}", symbol(*comparison), Literal(value))
        }
        Test::OneOf(values) => write_set(f, field, values, ("=", "none()")),
        Test::NoneOf(values) => match literals(values).next() {
            Some(_) => write_set(f, field, values, ("!=", "")),
            None => write!(f, "exists({field})"),
        },
        Test::Within(text) => write!(f, "within({field}, {})", dumps_str(text)),
        Test::Type(kinds) => match kinds.to_string().as_str() {
            "" => f.write_str("none()"),
            names => write!(f, "type({field})={names}"),
        },
        Test::Regex(pattern) => write!(f, "{field} ~ {}", PatternText(pattern.as_str())),
        Test::NotRegex(pattern) => write!(f, "{field} !~ {}", PatternText(pattern.as_str())),
        Test::Near(Near { value, rel, abs }) => {
            let [value, rel, abs] = [value, rel, abs].map(|number| float_repr(*number));
            write!(f, "near({field}, {value}, {rel}, {abs})")
        }
    }
}

pub(super) fn symbol(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => "=",
        Comparison::Ne => "!=",
        Comparison::Lt => "<",
        Comparison::Le => "<=",
        Comparison::Gt => ">",
        Comparison::Ge => ">=",
    }
}

/// The values that have a literal; nothing is equal to the others.
fn literals(values: &ValueSet) -> impl Iterator<Item = &Value> {
    values
        .values()
        .iter()
        .filter(|value| !matches!(value, Value::Object(_)))
}

fn write_set(
    f: &mut Formatter<'_>,
    field: &Field,
    values: &ValueSet,
    (symbol, empty): (&str, &str),
) -> fmt::Result {
    let mut separator = "";
    for value in literals(values) {
        match separator {
            "" => write!(f, "{field}{symbol}{}", Literal(value))?,
            _ => write!(f, ",{}", Literal(value))?,
        }
        separator = ",";
    }
    if separator.is_empty() {
        f.write_str(empty)
    } else {
        Ok(())
    }
}

/// Writes the key as it is typed in a filter, with its prefix where it needs one.
impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let prefix = match self.space {
            Space::StatePoint => "sp",
            Space::Document => "doc",
        };
        let Some(key) = &self.key else {
            return f.write_str(prefix);
        };
        let parts = key.parts();
        if self.space == Space::Document {
            f.write_str("doc.")?;
        } else if needs_prefix(&parts) {
            f.write_str("sp.")?;
        }
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                f.write_char('.')?;
            }
            match part.to_str().filter(|text| is_bare_part(text)) {
                Some(text) => f.write_str(text)?,
                None => f.write_str(&dumps_str(part))?,
            }
        }
        Ok(())
    }
}

/// Tells whether the bare key would be taken for something else.
fn needs_prefix(parts: &[PyStr]) -> bool {
    let bare: Vec<_> = parts.iter().map(ToString::to_string).collect();
    matches!(bare[0].as_str(), "sp" | "doc" | "and" | "or" | "not")
        || bare == ["never"]
        || [bare.join("."), bare[0].clone(), format!("{}.", bare[0])]
            .iter()
            .any(|word| constant(word).is_some())
}

fn is_bare_part(part: &str) -> bool {
    let is_plain = |c: char| !is_reserved(c) && !c.is_control() && !matches!(c, '.' | '%' | '$');
    !part.is_empty() && part.chars().all(is_plain)
}

/// A value as it is typed in a filter.
struct Literal<'a>(&'a Value);

impl Display for Literal<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Float(float) => f.write_str(&float_repr(*float)),
            Value::Str(string) => match string.to_str().filter(|text| is_bare_text(text)) {
                Some(text) => f.write_str(text),
                None => f.write_str(&dumps_str(string)),
            },
            other => f.write_str(&dumps(other)),
        }
    }
}

fn is_bare_text(text: &str) -> bool {
    let is_word = matches!(text, "and" | "or" | "not" | "True" | "False" | "None");
    let is_plain = |c: char| !is_reserved(c) && !c.is_control();
    !text.is_empty()
        && !is_word
        && text.chars().all(is_plain)
        && constant(text).is_none()
        && !text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

/// A pattern in single quotes; `\'` means `'` in patterns, too.
struct PatternText<'a>(&'a str);

impl Display for PatternText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('\'')?;
        let mut escaped = false;
        for c in self.0.chars() {
            if c == '\'' && !escaped {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
            escaped = !escaped && c == '\\';
        }
        f.write_char('\'')
    }
}
