//! What templates can name.

use super::error::TemplateError;
use super::values::{Raw, shown};
use crate::pyjson::{self, Object, PyStr, dumps};
use minijinja::Value;
use minijinja::value::Enumerator;
use std::fmt;
use std::sync::{Arc, Mutex};

/// At most so many names are shown when one is missing.
const NAMES_SHOWN_MAX: usize = 8;

/// Letters of a name for each edit that a suggestion may need.
const LETTERS_PER_EDIT: usize = 3;

/// Names, and what each stands for in a template. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Scope(Arc<Vec<(String, Item)>>);

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Item {
    /// A value.
    Value(pyjson::Value),
    /// A text that is printed as it is.
    Raw(String),
    /// An object, such as a state point.
    Object(Arc<Object>),
    /// More names.
    Scope(Scope),
    /// A list of things with names, such as jobs.
    List(Arc<Vec<Scope>>),
}

impl Scope {
    /// Returns a scope without names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name, or gives it another meaning.
    #[must_use]
    pub fn with(mut self, name: &str, item: impl Into<Item>) -> Self {
        let entries = Arc::make_mut(&mut self.0);
        entries.retain(|(other, _)| other != name);
        entries.push((name.to_owned(), item.into()));
        self
    }
}

impl From<&str> for Item {
    fn from(text: &str) -> Self {
        Self::Value(text.into())
    }
}

impl From<String> for Item {
    fn from(text: String) -> Self {
        Self::Value(pyjson::Value::Str(text.into()))
    }
}

impl From<i64> for Item {
    fn from(number: i64) -> Self {
        Self::Value(number.into())
    }
}

impl From<bool> for Item {
    fn from(is: bool) -> Self {
        Self::Value(pyjson::Value::Bool(is))
    }
}

impl From<u32> for Item {
    fn from(number: u32) -> Self {
        i64::from(number).into()
    }
}

impl From<pyjson::Value> for Item {
    fn from(value: pyjson::Value) -> Self {
        match value {
            pyjson::Value::Object(object) => object.into(),
            value => Self::Value(value),
        }
    }
}

impl From<Object> for Item {
    fn from(object: Object) -> Self {
        Self::Object(Arc::new(object))
    }
}

impl From<Arc<Object>> for Item {
    fn from(object: Arc<Object>) -> Self {
        Self::Object(object)
    }
}

impl From<Scope> for Item {
    fn from(scope: Scope) -> Self {
        Self::Scope(scope)
    }
}

impl From<Vec<Scope>> for Item {
    fn from(scopes: Vec<Scope>) -> Self {
        Self::List(Arc::new(scopes))
    }
}

impl From<Arc<Vec<Scope>>> for Item {
    fn from(scopes: Arc<Vec<Scope>>) -> Self {
        Self::List(scopes)
    }
}

/// The name that was last looked up in vain.
#[derive(Debug, Default)]
pub(super) struct Missing(Mutex<Option<(String, Vec<String>)>>);

impl Missing {
    fn note(&self, name: String, known: Vec<String>) {
        if let Ok(mut last) = self.0.lock() {
            *last = Some((name, known));
        }
    }

    /// Says what is missing, and what is there.
    pub(super) fn to_error(&self) -> Option<TemplateError> {
        let (name, known) = self.0.lock().ok()?.take()?;
        let error = TemplateError::new(format!("`{name}` is undefined"));
        let n_edits = |other: &&String| strsim::damerau_levenshtein(&name, other);
        let last_part = name.rsplit('.').next().unwrap_or_default();
        let n_edits_max = (last_part.chars().count() / LETTERS_PER_EDIT).max(1);
        let near = known.iter().min_by_key(n_edits);
        let near = near.filter(|near| n_edits(near) <= n_edits_max);
        Some(match near {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None if known.is_empty() => error,
            None => {
                let shown: Vec<_> = known.iter().take(NAMES_SHOWN_MAX).collect();
                let shown: Vec<_> = shown.iter().map(|name| format!("`{name}`")).collect();
                let more = if known.len() > shown.len() {
                    ", …"
                } else {
                    ""
                };
                error.with_hint(format!("there are {}{more}", shown.join(", ")))
            }
        })
    }
}

/// A scope or an object as templates see it.
pub(super) struct Dict {
    node: Node,
    /// What it is called; empty for all there is.
    path: String,
    missing: Arc<Missing>,
}

enum Node {
    Scope(Scope),
    Object(Arc<Object>),
}

impl Dict {
    pub(super) fn root(scope: Scope, missing: Arc<Missing>) -> Self {
        Self {
            node: Node::Scope(scope),
            path: String::new(),
            missing,
        }
    }

    /// Returns the object, if it is one.
    pub(super) fn object(&self) -> Option<&Object> {
        match &self.node {
            Node::Scope(_) => None,
            Node::Object(object) => Some(object),
        }
    }

    /// Says that it cannot be printed.
    pub(super) fn no_value(&self) -> String {
        let names: Vec<_> = self
            .names()
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        format!("`{}` is no value; it has {}", self.path, names.join(", "))
    }

    fn keys(&self) -> Vec<String> {
        match &self.node {
            Node::Scope(scope) => scope.0.iter().map(|(name, _)| name.clone()).collect(),
            Node::Object(object) => object.iter().map(|(key, _)| key.to_string()).collect(),
        }
    }

    /// The names in it as they are written in a template.
    fn names(&self) -> Vec<String> {
        self.keys().iter().map(|key| self.path_of(key)).collect()
    }

    fn path_of(&self, key: &str) -> String {
        let is_word = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match (self.path.as_str(), is_word) {
            ("", _) => key.to_owned(),
            (path, true) => format!("{path}.{key}"),
            (path, false) => format!("{path}[{key:?}]"),
        }
    }

    fn below(&self, key: &str, node: Node) -> Value {
        Value::from_object(Self {
            node,
            path: self.path_of(key),
            missing: Arc::clone(&self.missing),
        })
    }

    fn show(&self, key: &str, value: &pyjson::Value) -> Value {
        let object = |object: &Object| self.below(key, Node::Object(Arc::new(object.clone())));
        shown(value, object)
    }

    fn find(&self, key: &str) -> Option<Value> {
        match &self.node {
            Node::Object(object) => {
                let value = object.get(&PyStr::from(key))?;
                Some(self.show(key, value))
            }
            Node::Scope(scope) => {
                let (_, item) = scope.0.iter().find(|(name, _)| name == key)?;
                Some(match item {
                    Item::Value(value) => self.show(key, value),
                    Item::Raw(text) => Value::from_object(Raw(text.clone())),
                    Item::Object(object) => self.below(key, Node::Object(Arc::clone(object))),
                    Item::Scope(scope) => self.below(key, Node::Scope(scope.clone())),
                    Item::List(scopes) => {
                        let scopes = scopes.iter().enumerate();
                        let name = |i| format!("{key}[{i}]");
                        scopes
                            .map(|(i, scope)| self.below(&name(i), Node::Scope(scope.clone())))
                            .collect()
                    }
                })
            }
        }
    }
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dict({})", self.path)
    }
}

impl minijinja::value::Object for Dict {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let found = self.find(key);
        if found.is_none() {
            self.missing.note(self.path_of(key), self.names());
        }
        found
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.keys().into_iter().map(Value::from).collect())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.object() {
            Some(object) => f.write_str(&dumps(&pyjson::Value::Object(object.clone()))),
            None => f.write_str(&self.path),
        }
    }
}
