//! Job documents.

use super::{DOCUMENT_FILE, JSON_SIZE_BYTES_MAX, Workspace, WorkspaceError};
use crate::fsx::{self, Dir, Durability, Lock, Stamp};
use crate::pyjson::{self, Object, PyStr, Value};
use crate::report::Problem;
use crate::statepoint::{JobId, Key, StatePointError, check_value_keys};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// One change of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Sets a key; objects above it are made.
    Set(Key, Value),
    /// Removes a key.
    Delete(Key),
}

/// Returns the path of a job's document below the workspace.
fn document_name(id: &JobId) -> PathBuf {
    format!("{id}/{DOCUMENT_FILE}").into()
}

impl Workspace {
    /// Reads a job's document; empty if it has none. The state point is not looked at.
    pub fn document(&self, id: &JobId) -> Result<Object, WorkspaceError> {
        if !self.job_dir(id).is_dir() {
            return Err(WorkspaceError::NoSuchJob(id.to_string()));
        }
        let read = self.read_document(&Dir::open(self.dir())?, id)?;
        Ok(read.map(|(document, _)| document).unwrap_or_default())
    }

    /// Reads a job's document and its file's stamp, if there is one; `dir` is the open workspace.
    pub fn read_document(
        &self,
        dir: &Dir,
        id: &JobId,
    ) -> Result<Option<(Object, Stamp)>, WorkspaceError> {
        let bad = |reason: String| WorkspaceError::BadDocument {
            path: self.document_path(id),
            reason,
        };
        let (bytes, stamp) = match dir.read_file(&document_name(id), JSON_SIZE_BYTES_MAX) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match pyjson::parse_bytes(&bytes) {
            Ok(Value::Object(object)) => Ok(Some((object, stamp))),
            Ok(Value::Null) => Ok(Some((Object::new(), stamp))),
            Ok(other) => Err(bad(format!(
                "it holds {}, not an object",
                other.type_name()
            ))),
            Err(error) => Err(bad(format!("it is not JSON: {error}"))),
        }
    }

    /// Returns the stamp of a job's document, if there is one; `dir` is the open workspace.
    pub fn document_stamp(&self, dir: &Dir, id: &JobId) -> Option<Stamp> {
        dir.stamp_of(&document_name(id)).ok()
    }

    /// Says what is wrong with a job's document.
    pub fn document_problem(&self, id: &JobId, error: &WorkspaceError) -> Problem {
        let reason = match error {
            WorkspaceError::BadDocument { reason, .. } => {
                format!("its document is not usable: {reason}")
            }
            WorkspaceError::Fs(error) => format!("its document cannot be read: {}", error.cause),
            error => error.to_string(),
        };
        Problem {
            subject: id.to_string(),
            path: self.document_path(id),
            reason,
            hint: Some("repair the file, or remove it to start with an empty document".into()),
        }
    }

    /// Returns the file whose lock a writer of ours holds while it changes a job's document: one for
    /// all jobs whose ids end alike, for a file per job would cost as many inodes as the jobs.
    pub fn document_lock(&self, id: &JobId) -> PathBuf {
        let shard = &id.to_string()[JobId::LEN - 2..];
        let locks = self.project_root.join(".sweepfs").join("locks");
        locks.join(format!("document-{shard}"))
    }

    /// Applies edits to a job's document, all or none.
    ///
    /// Writers of ours wait for each other; signac takes no lock, so an edit that a Python
    /// program makes at the same moment can be lost, as between two Python programs.
    pub fn edit_document(&self, id: &JobId, edits: &[Edit]) -> Result<(), WorkspaceError> {
        let _lock = Lock::acquire(&self.document_lock(id))?;
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
