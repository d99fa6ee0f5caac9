//! The filter language: parse, check, evaluate.
//!
//! Now: terms `key=value` and `key=value,value`, all of which must hold. Equality is signac's:
//! integers, floats and bools are equal if their values are, and a job without the key never
//! matches.

use crate::pyjson::Value;
use crate::statepoint::{Key, parse_value, split_commas};

/// A condition on a job's state point.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    terms: Vec<Term>,
}

/// One term: the key has one of the values.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Where to look.
    pub key: Key,
    /// What to find there, any of these.
    pub values: Vec<Value>,
}

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It is not `KEY=VALUE`.
    #[error("`{0}` is not KEY=VALUE")]
    NotATerm(String),
    /// Its operator is not `=`.
    #[error("`{0}` uses an operator other than `=`")]
    Operator(String),
}

impl Filter {
    /// Reads terms; none of them selects every job.
    pub fn parse<'a>(terms: impl IntoIterator<Item = &'a str>) -> Result<Self, FilterError> {
        terms
            .into_iter()
            .map(parse_term)
            .collect::<Result<_, _>>()
            .map(|terms| Self { terms })
    }

    /// Returns the terms, all of which must hold.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }
}

impl Term {
    /// Tells whether a value that a job has at the key satisfies the term.
    pub fn matches(&self, value: &Value) -> bool {
        self.values.iter().any(|wanted| wanted.py_eq(value))
    }
}

fn parse_term(text: &str) -> Result<Term, FilterError> {
    let (key, values) = text
        .split_once('=')
        .ok_or_else(|| FilterError::NotATerm(text.to_owned()))?;
    if key.ends_with(['<', '>', '!']) || values.starts_with(['=', '~']) {
        return Err(FilterError::Operator(text.to_owned()));
    }
    let key = key.trim();
    if key.is_empty() {
        return Err(FilterError::NotATerm(text.to_owned()));
    }
    let key = Key::parse(key.strip_prefix("sp.").unwrap_or(key));
    Ok(Term {
        key,
        values: split_commas(values).into_iter().map(parse_value).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyjson::parse;

    #[track_caller]
    fn check(term: &str, value: &str, expected: bool) {
        let filter = Filter::parse([term]).expect("a filter");
        assert_eq!(
            filter.terms()[0].matches(&parse(value).expect("valid JSON")),
            expected,
            "{term} on {value}"
        );
    }

    #[test]
    fn equality_is_that_of_signac() {
        check("a=1", "1.0", true);
        check("a=1", "true", true);
        check("a=1", "\"1\"", false);
        check("a=6,8,10", "8", true);
        check("a=6,8,10", "9", false);
        check("a=argon", "\"argon\"", true);
        check("a=[1,2]", "[1.0, 2]", true);
        check("a=null", "null", true);
        check("a=-0.5", "-0.5", true);
    }

    #[test]
    fn other_texts_are_refused() {
        assert_eq!(
            Filter::parse(["angle"]),
            Err(FilterError::NotATerm("angle".into()))
        );
        assert_eq!(
            Filter::parse(["=1"]),
            Err(FilterError::NotATerm("=1".into()))
        );
        assert_eq!(
            Filter::parse(["a>=1"]),
            Err(FilterError::Operator("a>=1".into()))
        );
        assert_eq!(
            Filter::parse(["a!=1"]),
            Err(FilterError::Operator("a!=1".into()))
        );
    }
}
