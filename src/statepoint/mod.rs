//! A state point, its id, dotted keys, and grids of values.
//!
//! Pure: nothing here reads a file. Ids follow signac 2.4.1: the MD5 of the canonical JSON text.

mod grid;
mod id;
mod key;

pub(crate) use grid::parse_value;
pub use grid::{Grid, GridError};
pub use id::{JobId, JobIdError};
pub(crate) use key::push_part;
pub use key::{Key, Leaf, visit};

use crate::pyjson::{Object, PyStr, Value};

/// A job's parameters: a JSON object, in the order its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatePoint(Object);

/// Why a value cannot be the state point of a new job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatePointError {
    /// Only objects are state points.
    #[error("a state point is a JSON object, not {0}")]
    NotAnObject(&'static str),
    /// signac refuses dots in keys, at every depth.
    #[error("the key `{0}` contains a dot; signac uses dots to separate nested keys")]
    DottedKey(PyStr),
}

impl StatePoint {
    /// Wraps an object that was read; its keys are not checked.
    pub fn from_object(object: Object) -> Self {
        Self(object)
    }

    /// Wraps any value that is an object.
    pub fn from_value(value: Value) -> Result<Self, StatePointError> {
        value
            .into_object()
            .map(Self)
            .map_err(|other| StatePointError::NotAnObject(other.type_name()))
    }

    /// Checks what signac checks before it writes: no key contains a dot, also not inside lists.
    pub fn check_keys(&self) -> Result<(), StatePointError> {
        check_keys(&self.0).map_err(StatePointError::DottedKey)
    }

    /// Returns the job id: MD5 of the canonical text.
    pub fn id(&self) -> JobId {
        JobId::of_canonical(&self.0.canonical())
    }

    /// Returns the parameters.
    pub fn object(&self) -> &Object {
        &self.0
    }

    /// Returns the parameters.
    pub fn into_object(self) -> Object {
        self.0
    }
}

fn check_keys(object: &Object) -> Result<(), PyStr> {
    object.iter().try_for_each(|(key, value)| {
        if key.as_bytes().contains(&b'.') {
            return Err(key.clone());
        }
        check_value_keys(value)
    })
}

/// Finds the first key in a value that signac would refuse because it contains a dot.
pub fn check_value_keys(value: &Value) -> Result<(), PyStr> {
    match value {
        Value::Object(object) => check_keys(object),
        Value::List(items) => items.iter().try_for_each(check_value_keys),
        _ => Ok(()),
    }
}
