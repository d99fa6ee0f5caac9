//! The filter language: parse, check, evaluate.
//!
//! One meaning, [`Expr`], and two ways to write it: our own expressions, and the JSON objects and
//! tokens of signac. `docs/filters.md` is the description for users.

mod condition;
mod dialect;
mod error;
mod expr;
mod functions;
mod lexer;
mod parse;
mod pattern;
mod print;
mod signac;
mod span;
mod test;
mod values;

pub use condition::{Condition, Probe};
pub use error::FilterError;
pub(crate) use error::nearest;
pub use expr::{Expr, Field, Found, Space};
pub use pattern::Pattern;
pub use span::Span;
pub use test::{Comparison, Near, Test};
pub use values::{Kinds, ValueSet};

use std::fmt;

/// A condition on jobs, as a user wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    expr: Expr,
    notes: Vec<String>,
}

impl Default for Filter {
    /// The filter that selects every job.
    fn default() -> Self {
        Self {
            expr: Expr::And(Vec::new()),
            notes: Vec::new(),
        }
    }
}

impl From<Expr> for Filter {
    fn from(expr: Expr) -> Self {
        Self {
            expr,
            notes: Vec::new(),
        }
    }
}

impl Filter {
    /// Reads one expression, or a JSON filter if it begins with `{`.
    ///
    /// # Errors
    ///
    /// Fails if the text is empty or neither of these.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if is_json(text) {
            let expr = signac::parse_json(text)?;
            return Ok(Self {
                expr,
                notes: Vec::new(),
            });
        }
        let (expr, notes) = parse::parse(text)?;
        Ok(Self { expr, notes })
    }

    /// Reads the arguments of a command line: expressions, or signac's JSON or tokens. No argument
    /// selects every job.
    ///
    /// They are tokens of signac, pairs of a key and a value, if none of them is a JSON object in
    /// the place of a key or has an operator of ours in it. Otherwise each is read by
    /// [`Self::parse`], and all must hold; but if the words of one expression were given as
    /// arguments (`a = 1`, `a=1 or b=2`), they are joined.
    ///
    /// # Errors
    ///
    /// Fails if an argument is no filter, and then gives the text of that argument.
    pub fn parse_args(args: &[&str]) -> Result<Self, FilterError> {
        match args {
            [] => Ok(Self::default()),
            [only] if only.trim().is_empty() => Self::parse(only),
            _ if args.iter().any(|arg| is_lone_word(arg)) => Self::parse(&args.join(" ")),
            _ if are_tokens(args) => {
                let (expr, notes) = signac::parse_tokens(args)?;
                Ok(Self { expr, notes })
            }
            _ => args.iter().try_fold(Self::default(), |filter, arg| {
                Ok(filter.and(Self::parse(arg)?))
            }),
        }
    }

    /// Returns the filter that selects what both select.
    pub fn and(self, other: Self) -> Self {
        let mut parts = match self.expr {
            Expr::And(parts) => parts,
            single => vec![single],
        };
        match other.expr {
            Expr::And(others) => parts.extend(others),
            single => parts.push(single),
        }
        let mut notes = self.notes;
        notes.extend(other.notes);
        Self {
            expr: Expr::all(parts),
            notes,
        }
    }

    /// Returns the condition.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Returns what the user should be told, a line each: how signac's tokens were understood, and
    /// what was probably meant otherwise.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the fields that are tested, sorted, each once.
    pub fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        self.expr.push_fields(&mut fields);
        fields.sort();
        fields.dedup();
        fields
    }
}

/// Writes the condition as an expression that [`Filter::parse`] reads.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Tells whether an argument is a word that only stands inside of an expression.
fn is_lone_word(arg: &str) -> bool {
    matches!(arg, "and" | "or" | "not" | "(" | ")" | "&&" | "||")
        || (!arg.is_empty() && arg != "!" && arg.chars().all(|c| "=!<>~".contains(c)))
}

/// Tells whether arguments are signac's pairs of a key and a value.
fn are_tokens(args: &[&str]) -> bool {
    let is_expression = |(i, arg): (usize, &&str)| {
        let is_key = i % 2 == 0;
        let has_words = |words: [&str; 3]| words.iter().any(|word| arg.contains(word));
        (is_key && (arg.starts_with("not ") || has_words([" and ", " or ", " in ["])))
            || (!is_enclosed(arg) && arg.contains(['=', '<', '>', '~', '(', ')']))
    };
    let is_object = |(i, arg): (usize, &&str)| i % 2 == 0 && is_json(arg);
    !args
        .iter()
        .enumerate()
        .any(|arg| is_object(arg) || is_expression(arg))
}

/// `/…/`, `{…}` and `[…]` may hold anything.
fn is_enclosed(arg: &str) -> bool {
    [('/', '/'), ('{', '}'), ('[', ']')]
        .iter()
        .any(|(open, close)| arg.starts_with(*open) && arg.ends_with(*close))
}
