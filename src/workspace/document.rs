//! Job documents.

use super::{DOCUMENT_FILE, JSON_SIZE_BYTES_MAX, Workspace, WorkspaceError};
use crate::fsx::{self, Dir, Durability, Lock};
use crate::pyjson::{self, Object, PyStr, Value};
use crate::statepoint::{JobId, Key, StatePointError, check_value_keys};
use std::io::ErrorKind;
use std::path::Path;

/// One change of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Sets a key; objects above it are made.
    Set(Key, Value),
    /// Removes a key.
    Delete(Key),
}

impl Workspace {
    /// Reads a job's document; empty if it has none. The state point is not looked at.
    pub fn document(&self, id: &JobId) -> Result<Object, WorkspaceError> {
        if !self.job_dir(id).is_dir() {
            return Err(WorkspaceError::NoSuchJob(id.to_string()));
        }
        let bad = |reason: String| WorkspaceError::BadDocument {
            path: self.document_path(id),
            reason,
        };
        let dir = Dir::open(&self.job_dir(id))?;
        let bytes = match dir.read_file(Path::new(DOCUMENT_FILE), JSON_SIZE_BYTES_MAX) {
            Ok((bytes, _)) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Object::new()),
            Err(error) => return Err(error.into()),
        };
        match pyjson::parse_bytes(&bytes) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(Value::Null) => Ok(Object::new()),
            Ok(other) => Err(bad(format!(
                "it holds {}, not an object",
                other.type_name()
            ))),
            Err(error) => Err(bad(format!("it is not JSON: {error}"))),
        }
    }

    /// Applies edits to a job's document, all or none.
    ///
    /// Writers of ours wait for each other; signac takes no lock, so an edit that a Python
    /// program makes at the same moment can be lost, as between two Python programs.
    pub fn edit_document(&self, id: &JobId, edits: &[Edit]) -> Result<(), WorkspaceError> {
        let lock = self
            .project_root
            .join(".sweepfs")
            .join("locks")
            .join(id.to_string());
        let _lock = Lock::acquire(&lock)?;
        let mut document = self.document(id)?;
        let path = self.document_path(id);
        for edit in edits {
            apply(&mut document, edit, &path)?;
        }
        fsx::write_atomic(&path, document.dumps().as_bytes(), Durability::Power)?;
        Ok(())
    }
}

fn apply(document: &mut Object, edit: &Edit, path: &Path) -> Result<(), WorkspaceError> {
    match edit {
        Edit::Set(key, value) => {
            let parts = key.parts();
            check_keys(&parts, value).map_err(StatePointError::DottedKey)?;
            set(document, &parts, value).map_err(|parent| WorkspaceError::NotNested {
                path: path.to_owned(),
                key: key.to_string(),
                parent,
            })
        }
        Edit::Delete(key) => match delete(document, &key.parts()) {
            Some(_) => Ok(()),
            None => Err(WorkspaceError::NoSuchKey {
                path: path.to_owned(),
                key: key.to_string(),
            }),
        },
    }
}

/// signac cannot read a document in which a key contains a dot.
fn check_keys(parts: &[PyStr], value: &Value) -> Result<(), PyStr> {
    match parts.iter().find(|part| part.as_bytes().contains(&b'.')) {
        Some(dotted) => Err(dotted.clone()),
        None => check_value_keys(value),
    }
}

/// Sets a nested key, or returns the part that is no object.
fn set(object: &mut Object, parts: &[PyStr], value: &Value) -> Result<(), PyStr> {
    let Some((first, rest)) = parts.split_first() else {
        return Ok(());
    };
    if rest.is_empty() {
        object.insert(first.clone(), value.clone());
        return Ok(());
    }
    if object.get(first).is_none() {
        object.insert(first.clone(), Value::Object(Object::new()));
    }
    match object.get_mut(first) {
        Some(Value::Object(inner)) => set(inner, rest, value),
        _ => Err(first.clone()),
    }
}

fn delete(object: &mut Object, parts: &[PyStr]) -> Option<Value> {
    let (first, rest) = parts.split_first()?;
    if rest.is_empty() {
        return object.remove(first);
    }
    match object.get_mut(first)? {
        Value::Object(inner) => delete(inner, rest),
        _ => None,
    }
}
