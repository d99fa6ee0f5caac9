//! What a filter means.

use super::error::FilterError;
use super::test::Test;
use crate::pyjson::{Object, Value};
use crate::statepoint::Key;
use std::convert::Infallible;

/// A condition on a job, also on what `P` names besides its state point and document.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr<P = Infallible> {
    /// All of these hold; with none of them, every job satisfies it.
    And(Vec<Self>),
    /// Any of these holds; with none of them, no job satisfies it.
    Or(Vec<Self>),
    /// This does not hold, be it only because the job lacks the key.
    Not(Box<Self>),
    /// What the job has at a key passes a test; a job without the key fails every test.
    Test(Field, Test),
    /// This holds, which is neither in the state point nor in the document.
    Probe(P),
}

/// Where a test looks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field {
    /// In the state point or the document.
    pub space: Space,
    /// At which key; `None` is the state point or document as a whole.
    pub key: Option<Key>,
}

/// The two objects that a job has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Its state point.
    StatePoint,
    /// Its document, `{}` if it has none.
    Document,
}

/// What a job has at a key.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A scalar or a list.
    Value(&'a Value),
    /// An object, whatever is in it.
    Object,
}

impl Expr {
    /// Tells whether some test looks into the document.
    pub fn needs_documents(&self) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::needs_documents),
            Self::Not(part) => part.needs_documents(),
            Self::Test(field, _) => field.space == Space::Document,
            Self::Probe(never) => match *never {},
        }
    }

    /// Tells whether a job satisfies the condition.
    pub fn matches(&self, statepoint: &Object, document: &Object) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.matches(statepoint, document)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(statepoint, document)),
            Self::Not(part) => !part.matches(statepoint, document),
            Self::Test(field, test) => {
                let object = match field.space {
                    Space::StatePoint => statepoint,
                    Space::Document => document,
                };
                field.find(object).is_some_and(|found| test.passes(found))
            }
            Self::Probe(never) => match *never {},
        }
    }
}

impl<P> Expr<P> {
    /// Appends the fields that are tested, as often as they are.
    pub(super) fn push_fields(&self, fields: &mut Vec<Field>) {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.push_fields(fields));
            }
            Self::Not(part) => part.push_fields(fields),
            Self::Test(field, _) => fields.push(field.clone()),
            Self::Probe(_) => {}
        }
    }

    /// Makes one condition of several that must all hold.
    pub(super) fn all(mut parts: Vec<Self>) -> Self {
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            Some(last) => {
                parts.push(last);
                Self::And(parts)
            }
            None => Self::And(parts),
        }
    }

    /// Makes one condition of several of which one must hold.
    pub(super) fn any(mut parts: Vec<Self>) -> Self {
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            Some(last) => {
                parts.push(last);
                Self::Or(parts)
            }
            None => Self::Or(parts),
        }
    }

    pub(super) fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl Field {
    /// Reads a key, of the state point or with `doc.` in front of the document.
    ///
    /// # Errors
    ///
    /// Fails if the text is no key.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        super::parse::parse_field(text)
    }

    /// Returns what there is at this field of a state point or document.
    fn find<'a>(&self, object: &'a Object) -> Option<Found<'a>> {
        let Some(key) = &self.key else {
            return Some(Found::Object);
        };
        Some(match key.get(object)? {
            Value::Object(_) => Found::Object,
            value => Found::Value(value),
        })
    }
}
