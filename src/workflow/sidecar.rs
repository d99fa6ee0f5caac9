//! The file that records how far each operation is with a job.

use super::record::Record;
use crate::fsx::{Dir, Durability, FsError, Stamp};
use crate::report::{Problem, with_causes};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Name of the sidecar in a job directory.
pub const FLOW_FILE: &str = "sweepfs_flow.json";

/// Larger sidecars are refused.
const SIZE_BYTES_MAX: u64 = 1 << 20;

/// The version of the format that is understood.
const VERSION: u64 = 1;

/// Why a sidecar says nothing.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// It cannot be read or written.
    #[error("its flow state cannot be used")]
    Fs(#[from] FsError),
    /// It is no JSON.
    #[error("its flow state is not usable: it is not JSON")]
    Json(#[from] serde_json::Error),
    /// It holds something else.
    #[error("its flow state is not usable: {0}")]
    Content(&'static str),
    /// It is of another version.
    #[error("its flow state has version {0}; only version {VERSION} is understood")]
    Version(u64),
}

impl SidecarError {
    /// Says what is wrong with the job, or aggregate, and its file.
    pub fn problem(&self, subject: &str, path: PathBuf) -> Problem {
        Problem {
            subject: subject.to_owned(),
            path,
            reason: with_causes(self),
            hint: Some(match self {
                Self::Version(_) => "a newer sweepfs wrote it; use that one".into(),
                _ => "repair the file, or remove it to forget what was executed".into(),
            }),
        }
    }
}

/// What a sidecar records, by operation; what else it holds is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sidecar {
    /// The last execution of each operation.
    pub records: BTreeMap<String, Record>,
    /// Records that are not understood, and the rest of the file.
    other_operations: Map<String, Value>,
    other: Map<String, Value>,
}

impl Sidecar {
    /// Reads a sidecar in an open directory, if there is one, and how the file looked.
    pub fn read(dir: &Dir, name: &Path) -> Result<Option<(Self, Stamp)>, SidecarError> {
        match read_bytes(dir, name)? {
            None => Ok(None),
            Some((bytes, stamp)) => Ok(Some((Self::parse(&bytes)?, stamp))),
        }
    }

    /// Reads the content of a sidecar. A record with a stage that is not known is kept, but says
    /// nothing; so does one of an operation without a name.
    ///
    /// # Errors
    ///
    /// Fails if it is no sidecar, or one of another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, SidecarError> {
        // What a power failure may leave of a file that was just written.
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let Value::Object(mut other) = serde_json::from_slice(bytes)? else {
            return Err(SidecarError::Content("it holds no object"));
        };
        match other.remove("version").map(|version| version.as_u64()) {
            Some(Some(VERSION)) => {}
            Some(Some(version)) => return Err(SidecarError::Version(version)),
            Some(None) | None => return Err(SidecarError::Content("it tells no version")),
        }
        let operations = match other.remove("operations") {
            None => Map::new(),
            Some(Value::Object(operations)) => operations,
            Some(_) => return Err(SidecarError::Content("its `operations` are no object")),
        };
        let mut sidecar = Self {
            other,
            ..Self::default()
        };
        for (name, value) in operations {
            if !value.is_object() {
                return Err(SidecarError::Content("an operation in it is no object"));
            }
            match Record::deserialize_from(&value) {
                Some(record) if !name.is_empty() => drop(sidecar.records.insert(name, record)),
                _ => drop(sidecar.other_operations.insert(name, value)),
            }
        }
        Ok(sidecar)
    }

    /// Tells whether there is a record of an operation that is not understood.
    pub(super) fn is_foreign(&self, operation: &str) -> bool {
        let record = self.other_operations.get(operation);
        record.is_some_and(|record| record.get("state").is_some())
    }

    /// Removes what is recorded of an operation, understood or not.
    pub(super) fn forget(&mut self, operation: &str) {
        self.records.remove(operation);
        self.other_operations.remove(operation);
    }

    /// Writes it, so that readers see the old or the new one.
    pub fn write(&self, dir: &Dir, name: &Path) -> Result<(), SidecarError> {
        Ok(dir.write_atomic(name, &self.to_bytes()?, Durability::Process)?)
    }

    /// Returns the content of its file.
    ///
    /// # Errors
    ///
    /// Fails if a record cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SidecarError> {
        let mut operations = self.other_operations.clone();
        for (name, record) in &self.records {
            operations.insert(name.clone(), serde_json::to_value(record)?);
        }
        let mut top = Map::new();
        top.insert("version".into(), VERSION.into());
        top.insert("operations".into(), operations.into());
        top.extend(self.other.clone());
        let mut bytes = serde_json::to_vec(&top)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Joins two copies, operation by operation; see [`Record::merge`].
    pub fn merge(self, other: Self) -> Self {
        let mut merged = self;
        for (name, record) in other.records {
            let known = merged.records.remove(&name);
            let later = match known {
                Some(known) => known.merge(record),
                None => record,
            };
            merged.records.insert(name, later);
        }
        merged.other_operations = joined(merged.other_operations, other.other_operations);
        merged.other = joined(merged.other, other.other);
        merged
    }
}

/// Of two values at one key, the one with the greater text is kept, in whatever order they come.
fn joined(mut one: Map<String, Value>, other: Map<String, Value>) -> Map<String, Value> {
    for (key, value) in other {
        let text = value.to_string();
        let known = one.get(&key).map(Value::to_string);
        let is_later = known.is_none_or(|known| known < text);
        if is_later {
            one.insert(key, value);
        }
    }
    one
}

/// Reads the bytes of a sidecar in an open directory, if there is one.
pub(super) fn read_bytes(dir: &Dir, name: &Path) -> Result<Option<(Vec<u8>, Stamp)>, FsError> {
    match dir.read_file(name, SIZE_BYTES_MAX) {
        Ok(read) => Ok(Some(read)),
        Err(error) if is_absent(error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::super::record::Stage;
    use super::*;
    use proptest::prelude::*;

    fn stages(text: &str) -> Vec<(String, Stage)> {
        let sidecar = Sidecar::parse(text.as_bytes()).expect("sound");
        let records = sidecar.records.into_iter();
        records.map(|(name, record)| (name, record.state)).collect()
    }

    #[test]
    fn records_are_read() {
        let text = r#"{"version": 1, "more": [], "operations": {
            "b": {"state": "failed", "attempt": 2, "exit_code": 1, "signal": null},
            "a": {"state": "completed"}, "../x": {"state": "queued"}, "": {"state": "running"},
            "c": {"state": "interrupted"}, "d": {"state": "eligible"}, "e": {}, "f": {"state": 3}}}"#;
        let expected = [
            ("../x", Stage::Queued),
            ("a", Stage::Completed),
            ("b", Stage::Failed),
            ("c", Stage::Interrupted),
        ];
        let expected = expected.map(|(name, stage)| (name.to_owned(), stage));
        assert_eq!(stages(text), expected);
        assert!(stages(r#"{"version": 1}"#).is_empty());
    }

    #[test]
    fn what_is_not_understood_is_written_back() {
        let text = r#"{"version": 1, "more": [2], "operations": {
            "a": {"state": "failed", "attempt": 2, "x": "y"}, "d": {"state": "eligible"}, "": {}}}"#;
        let sidecar = Sidecar::parse(text.as_bytes()).expect("sound");
        let dir = tempfile::tempdir().expect("a directory");
        let open = Dir::open(dir.path()).expect("open");
        sidecar.write(&open, Path::new(FLOW_FILE)).expect("written");
        let written = std::fs::read(dir.path().join(FLOW_FILE)).expect("there");
        let written: Value = serde_json::from_slice(&written).expect("JSON");
        assert_eq!(written, serde_json::from_str::<Value>(text).expect("JSON"));
        let (again, _) = Sidecar::read(&open, Path::new(FLOW_FILE))
            .expect("readable")
            .expect("there");
        assert_eq!(again, sidecar);
    }

    #[test]
    fn what_is_no_sidecar_is_named() {
        for (text, reason) in [
            (" ", "not JSON"),
            ("[1, {}]", "no object"),
            ("{}", "no version"),
            (r#"{"version": "1"}"#, "no version"),
            (r#"{"version": -1}"#, "no version"),
            (r#"{"version": 0}"#, "version 0"),
            (r#"{"version": 2, "operations": []}"#, "has version 2"),
            (r#"{"version": 1, "operations": []}"#, "`operations`"),
            (
                r#"{"version": 1, "operations": {"a": "failed"}}"#,
                "an operation",
            ),
            (r#"{"version": 1} x"#, "not JSON"),
        ] {
            let error = Sidecar::parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let deep = "[".repeat(100_000);
        assert!(Sidecar::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        proptest!(|(bytes in prop::collection::vec(any::<u8>(), 0..64))| {
            let _ = Sidecar::parse(&bytes);
        });
    }

    #[test]
    fn copies_are_merged_in_any_order() {
        let parse = |text: &str| Sidecar::parse(text.as_bytes()).expect("sound");
        let copies = [
            r#"{"version":1,"x":1,"operations":{"a":{"state":"running","attempt":2}}}"#,
            r#"{"version":1,"x":2,"operations":{"a":{"state":"failed","attempt":1},"b":{"state":"queued","attempt":1}}}"#,
            r#"{"version":1,"operations":{"b":{"state":"completed","attempt":1},"?":{}}}"#,
        ];
        let [a, b, c] = copies.map(parse);
        let merge = |x: &Sidecar, y: &Sidecar| x.clone().merge(y.clone());
        let all = merge(&merge(&a, &b), &c);
        assert_eq!(all, merge(&c, &merge(&b, &a)));
        assert_eq!(all, merge(&all, &a));
        assert_eq!(all.records["a"].state, Stage::Running);
        assert_eq!(all.records["b"].state, Stage::Completed);
    }
}
