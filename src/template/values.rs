//! Values of Python's JSON in templates, and back.

use crate::pyjson::{self, Int, Object, PyStr, dumps};
use minijinja::value::{ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, Value};
use std::fmt;
use std::sync::Arc;

use super::scope::Dict;

/// A text that is printed as it is.
#[derive(Debug)]
pub(super) struct Raw(pub(super) String);

/// Texts that are printed as values, and what stands between them.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) items: Vec<String>,
    pub(super) joiner: String,
}

/// An integer of more than 128 bits, with which templates do not compute.
#[derive(Debug)]
struct Digits(Box<str>);

macro_rules! plain_object {
    ($name:ty, |$this:ident| $text:expr) => {
        impl minijinja::value::Object for $name {
            fn repr(self: &Arc<Self>) -> ObjectRepr {
                ObjectRepr::Plain
            }

            fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $this = self;
                f.write_str(&$text)
            }
        }
    };
}

plain_object!(Raw, |this| this.0);
plain_object!(Digits, |this| this.0);
plain_object!(Joined, |this| this.items.join(&this.joiner));

/// Shows a value that is no object to templates.
pub(super) fn shown(value: &pyjson::Value, object: impl Fn(&Object) -> Value + Copy) -> Value {
    match value {
        pyjson::Value::Null => Value::from(()),
        pyjson::Value::Bool(flag) => Value::from(*flag),
        pyjson::Value::Int(Int::Small(int)) => Value::from(*int),
        pyjson::Value::Int(Int::Big(digits)) => match digits.parse::<i128>() {
            Ok(int) => Value::from(int),
            Err(_) => Value::from_object(Digits(digits.clone())),
        },
        pyjson::Value::Float(float) => Value::from(*float),
        pyjson::Value::Str(text) => match text.to_str() {
            Some(text) => Value::from(text),
            // An invalid value: whoever uses it gets the error.
            None => Value::from(invalid("a text has half a surrogate pair in it".to_owned())),
        },
        pyjson::Value::List(items) => items.iter().map(|item| shown(item, object)).collect(),
        pyjson::Value::Object(entries) => object(entries),
    }
}

/// Returns how a value is printed: texts bare, and everything else as Python's JSON.
pub(super) fn text_of(value: &Value) -> Result<String, Error> {
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None => match value.as_object().filter(|o| o.repr() == ObjectRepr::Plain) {
            Some(plain) => plain.to_string(),
            None => dumps(&to_json(value)?),
        },
    };
    if text.contains('\0') {
        return Err(invalid(
            "a value holds NUL, which no command can".to_owned(),
        ));
    }
    Ok(text)
}

fn to_json(value: &Value) -> Result<pyjson::Value, Error> {
    if let Some(dict) = value.downcast_object_ref::<Dict>() {
        return match dict.object() {
            Some(object) => Ok(pyjson::Value::Object(object.clone())),
            None => Err(invalid(dict.no_value())),
        };
    }
    Ok(match value.kind() {
        ValueKind::Undefined => return Err(ErrorKind::UndefinedError.into()),
        ValueKind::None => pyjson::Value::Null,
        ValueKind::Bool => pyjson::Value::Bool(value.is_true()),
        ValueKind::Number if value.is_integer() => {
            pyjson::Value::Int(Int::from_literal(&value.to_string()))
        }
        ValueKind::Number => pyjson::Value::Float(f64::try_from(value.clone())?),
        ValueKind::String => pyjson::Value::from(value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| to_json(&item));
            pyjson::Value::List(items.collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut object = Object::new();
            for key in value.try_iter()? {
                let name = PyStr::from(text_of(&key)?);
                object.insert(name, to_json(&value.get_item(&key)?)?);
            }
            pyjson::Value::Object(object)
        }
        ValueKind::Plain if value.downcast_object_ref::<Digits>().is_some() => {
            pyjson::Value::Int(Int::from_literal(&value.to_string()))
        }
        ValueKind::Plain => pyjson::Value::from(value.to_string().as_str()),
        kind => return Err(invalid(format!("a value of type {kind} cannot be printed"))),
    })
}

pub(super) fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
