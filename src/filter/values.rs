//! Sets of values and of types.

use crate::pyjson::{Int, Object, Value};
use std::fmt;

/// Some values, in the order of [`Value`], among which one that is equal is found fast.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueSet(Vec<Value>);

impl ValueSet {
    /// Returns the values, sorted.
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    /// Tells whether one of them is equal to a value by Python's `==`.
    pub(super) fn contains(&self, value: &Value) -> bool {
        match value {
            Value::Null | Value::Str(_) => self.0.binary_search(value).is_ok(),
            Value::List(_) => self.0.iter().any(|other| other.py_eq(value)),
            Value::Object(_) => false,
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                Equals::of_number(value).is_some_and(|equals| self.has_any(&equals))
            }
        }
    }

    fn has_any(&self, equals: &Equals) -> bool {
        let has_between = |low: &Value, high: &Value| {
            let at = self.0.partition_point(|other| other < low);
            self.0.get(at).is_some_and(|other| other <= high)
        };
        let bool = equals.bool.map(Value::Bool);
        has_between(&equals.low, &equals.high) || bool.is_some_and(|bool| has_between(&bool, &bool))
    }
}

impl FromIterator<Value> for ValueSet {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort();
        values.dedup();
        Self(values)
    }
}

/// The values that are equal to a number or bool by Python's `==`.
pub(super) struct Equals {
    /// The bool, for one and zero.
    pub(super) bool: Option<bool>,
    /// The least number in the order of [`Value`]: the integer, if there is one.
    pub(super) low: Value,
    /// The greatest: the double, if there is one.
    pub(super) high: Value,
}

impl Equals {
    /// Returns `None` for NaN and for what is neither number nor bool.
    pub(super) fn of_number(value: &Value) -> Option<Self> {
        let (int, float) = match value {
            Value::Bool(truth) => (Some(Int::Small(i64::from(*truth))), None),
            Value::Int(int) => (Some(int.clone()), None),
            Value::Float(float) if float.is_nan() => return None,
            Value::Float(float) => (Int::from_float(*float), Some(*float)),
            Value::Null | Value::Str(_) | Value::List(_) | Value::Object(_) => return None,
        };
        let float = float.or_else(|| {
            let int = int.as_ref()?;
            let same = |float: &f64| int.partial_cmp_float(*float).is_some_and(|o| o.is_eq());
            int.to_float().filter(same)
        });
        let bool = match &int {
            Some(Int::Small(number @ 0..=1)) => Some(*number == 1),
            _ => None,
        };
        // `+ 0.0` turns a negative zero into the positive one, which is greater.
        let float = float.map(|float| Value::Float(float + 0.0));
        let int = int.map(Value::Int);
        Some(Self {
            bool,
            low: int.clone().or_else(|| float.clone())?,
            high: float.or(int)?,
        })
    }
}

/// Some of the types that JSON values have in Python.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    const NULL: u8 = 1;
    const BOOL: u8 = 2;
    const INT: u8 = 4;
    const FLOAT: u8 = 8;
    const STR: u8 = 16;
    const LIST: u8 = 32;
    const OBJECT: u8 = 64;
    const ALL: u8 = 127;

    /// The names that users write; `number` stands for two of the others.
    pub(super) const NAMES: [(&'static str, Self); 8] = [
        ("int", Self(Self::INT)),
        ("float", Self(Self::FLOAT)),
        ("number", Self(Self::INT | Self::FLOAT)),
        ("bool", Self(Self::BOOL)),
        ("str", Self(Self::STR)),
        ("list", Self(Self::LIST)),
        ("null", Self(Self::NULL)),
        ("object", Self(Self::OBJECT)),
    ];

    /// Objects alone.
    pub(super) const OBJECTS: Self = Self(Self::OBJECT);

    /// Returns the type of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, kinds)| *kinds)
    }

    /// Returns signac's type of that name: its `int` includes bools, as in Python.
    pub(super) fn named_by_signac(name: &str) -> Option<Self> {
        match name {
            "int" => Some(Self(Self::INT | Self::BOOL)),
            name => Self::named(name),
        }
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn complement(self) -> Self {
        Self(!self.0 & Self::ALL)
    }

    fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    pub(super) fn has_object(self) -> bool {
        self.has(Self::OBJECT)
    }

    /// Tells whether a value is of one of these types.
    pub(super) fn contains(self, value: &Value) -> bool {
        self.has(match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOL,
            Value::Int(_) => Self::INT,
            Value::Float(_) => Self::FLOAT,
            Value::Str(_) => Self::STR,
            Value::List(_) => Self::LIST,
            Value::Object(_) => Self::OBJECT,
        })
    }

    /// Returns the ranges of values, least and greatest or the first beyond, that hold all values
    /// of these types, and whether the second belongs to them.
    pub(super) fn ranges(self) -> Vec<(Value, Value, bool)> {
        let no_list = Value::List(Vec::new());
        let all = [
            (Self::NULL, Value::Null, Value::Null, true),
            (Self::BOOL, Value::Bool(false), Value::Bool(true), true),
            (
                Self::INT | Self::FLOAT,
                Value::Float(f64::NEG_INFINITY),
                Value::Float(f64::NAN),
                true,
            ),
            (Self::STR, Value::from(""), no_list.clone(), false),
            (Self::LIST, no_list, Value::Object(Object::new()), false),
        ];
        let wanted = all.into_iter().filter(|(bits, ..)| self.has(*bits));
        wanted
            .map(|(_, low, high, closed)| (low, high, closed))
            .collect()
    }
}

/// Lists the names, separated by commas.
impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = Self::NAMES.iter().filter(|(name, _)| *name != "number");
        let names: Vec<_> = single
            .filter(|(_, kind)| self.has(kind.0))
            .map(|(name, _)| *name)
            .collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
