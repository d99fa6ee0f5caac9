//! JSON values exactly as Python's `json` reads, compares, formats and writes them.
//!
//! A job's id is the MD5 of `json.dumps(statepoint, sort_keys=True)`, so a value read here and
//! written again must give the same bytes as CPython does: integers of any size stay integers,
//! floats print as `repr` prints them, `NaN` and lone surrogates pass through, and keys sort by
//! code point. `serde_json` promises none of these and serves only our own files.
//!
//! Sources: CPython 3.11 `Lib/json`, `Objects/floatobject.c`, `Objects/unicodeobject.c`, and the
//! behaviour of signac 2.4.1 recorded in `tests/data/vectors`.

mod cast;
mod format;
mod format_float;
mod number;
mod order;
mod parse;
mod repr;
mod string;
mod write;

pub use cast::{cast_float, cast_number};
pub use format::{FormatError, FormatSpec};
pub use number::{Int, float_repr};
pub use parse::{Entries, ParseError, parse, parse_bytes};
pub use repr::{py_ascii, py_repr, py_repr_of_leaves, py_str, view_str};
pub use string::PyStr;
pub use write::{canonical, dumps, dumps_str};

/// A JSON value as Python holds it after `json.loads`.
///
/// `==`, [`Ord`] and [`Hash`](std::hash::Hash) are those of *identity*: two values are equal if
/// they have the same canonical JSON text, so `1`, `1.0` and `true` differ and `NaN` equals
/// itself. Python's own `==` is [`Value::py_eq`].
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, Python's `None`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of any size.
    Int(Int),
    /// A double, non-finite ones included.
    Float(f64),
    /// A string, lone surrogates included.
    Str(PyStr),
    /// An array.
    List(Vec<Self>),
    /// An object in insertion order.
    Object(Object),
}

impl Value {
    /// Returns the object, or gives the value back if it is something else.
    pub fn into_object(self) -> Result<Object, Self> {
        match self {
            Self::Object(object) => Ok(object),
            other => Err(other),
        }
    }

    /// Returns a number as a double; bools are no numbers here.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(int) => int.to_string().parse().ok(),
            Self::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// Names the JSON type in messages: `an object`, `a list`, …
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Int::Small(number))
    }
}

/// A JSON object: keys in the order of their first insertion, each once.
#[derive(Clone, Debug, Default)]
pub struct Object(Vec<(PyStr, Value)>);

impl Object {
    /// Returns an object without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &PyStr) -> Option<&Value> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Returns the value of a key for changing it.
    pub fn get_mut(&mut self, key: &PyStr) -> Option<&mut Value> {
        self.0.iter_mut().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Sets a key as a Python `dict` does: a known key keeps its position.
    pub fn insert(&mut self, key: PyStr, value: Value) {
        match self.get_mut(&key) {
            Some(slot) => *slot = value,
            None => self.0.push((key, value)),
        }
    }

    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: &PyStr) -> Option<Value> {
        let at = self.0.iter().position(|(k, _)| k == key)?;
        Some(self.0.remove(at).1)
    }

    /// Iterates over keys and values in insertion order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&PyStr, &Value)> {
        self.0.iter().map(|(k, v)| (k, v))
    }

    /// Returns the same keys with other values.
    pub fn map_values(&self, mut map: impl FnMut(&Value) -> Value) -> Self {
        Self(
            self.0
                .iter()
                .map(|(key, value)| (key.clone(), map(value)))
                .collect(),
        )
    }

    /// The entries sorted by code point of the key.
    fn sorted(&self) -> Vec<&(PyStr, Value)> {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries
    }
}

impl IntoIterator for Object {
    type Item = (PyStr, Value);
    type IntoIter = std::vec::IntoIter<(PyStr, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
