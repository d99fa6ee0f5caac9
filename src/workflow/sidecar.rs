//! The file that records how far each operation is with a job.

use super::state::FlowState;
use crate::fsx::{Dir, FsError, Stamp};
use crate::report::Problem;
use crate::statepoint::JobId;
use crate::workspace::Workspace;
use serde_json::{Map, Value};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Name of the sidecar in a job directory.
pub const FLOW_FILE: &str = "sweepfs_flow.json";

/// Larger sidecars are refused.
const SIZE_BYTES_MAX: u64 = 1 << 20;

/// The version of the format that is understood.
const VERSION: u64 = 1;

/// The recorded state of each operation that has one, sorted by its name.
pub(super) type States = Vec<(String, FlowState)>;

/// Why a sidecar says nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum SidecarError {
    #[error("its flow state cannot be read: {}", .0.cause)]
    Fs(#[from] FsError),
    #[error("its flow state is not usable: it is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("its flow state is not usable: {0}")]
    Content(&'static str),
    #[error("its flow state has version {0}; only version {VERSION} is understood")]
    Version(u64),
}

impl SidecarError {
    /// Says what is wrong with the job.
    pub(super) fn problem(&self, workspace: &Workspace, id: &JobId) -> Problem {
        Problem {
            subject: id.to_string(),
            path: workspace.job_dir(id).join(FLOW_FILE),
            reason: self.to_string(),
            hint: Some(match self {
                Self::Version(_) => "a newer sweepfs wrote it; use that one".into(),
                _ => "repair the file, or remove it to forget what was executed".into(),
            }),
        }
    }
}

/// A sidecar that was read, and how the file looked then.
pub(super) struct Sidecar {
    pub(super) stamp: Stamp,
    pub(super) states: Result<States, SidecarError>,
}

/// Reads a job's sidecar, if it has one; `dir` is the open workspace.
pub(super) fn read(dir: &Dir, id: &JobId) -> Result<Option<Sidecar>, FsError> {
    match dir.read_file(&name_below(id), SIZE_BYTES_MAX) {
        Ok((bytes, stamp)) => Ok(Some(Sidecar {
            stamp,
            states: parse(&bytes),
        })),
        Err(error) if is_absent(error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the stamp of a job's sidecar, if it has one; `dir` is the open workspace.
pub(super) fn stamp(dir: &Dir, id: &JobId) -> Option<Stamp> {
    dir.stamp_of(&name_below(id)).ok()
}

fn name_below(id: &JobId) -> PathBuf {
    Path::new(&id.to_string()).join(FLOW_FILE)
}

fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Reads what is recorded. A state that is not known is not one, nor is an operation without a name.
fn parse(bytes: &[u8]) -> Result<States, SidecarError> {
    let Value::Object(top) = serde_json::from_slice(bytes)? else {
        return Err(SidecarError::Content("it holds no object"));
    };
    match top.get("version").map(Value::as_u64) {
        Some(Some(VERSION)) => {}
        Some(Some(other)) => return Err(SidecarError::Version(other)),
        Some(None) | None => return Err(SidecarError::Content("it tells no version")),
    }
    match top.get("operations") {
        None => Ok(States::new()),
        Some(Value::Object(operations)) => states(operations),
        Some(_) => Err(SidecarError::Content("its `operations` are no object")),
    }
}

fn states(operations: &Map<String, Value>) -> Result<States, SidecarError> {
    let mut states = States::new();
    for (name, record) in operations {
        let Value::Object(record) = record else {
            return Err(SidecarError::Content("an operation in it is no object"));
        };
        let state = record.get("state").and_then(Value::as_str);
        let state = state.and_then(|state| state.parse().ok());
        if let Some(state) = state.filter(|state: &FlowState| state.is_recorded())
            && !name.is_empty()
        {
            states.push((name.clone(), state));
        }
    }
    states.sort_unstable();
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn states_are_taken_from_records() {
        let text = r#"{"version": 1, "more": [], "operations": {
            "b": {"state": "failed", "attempt": 2, "exit_code": 1, "signal": null},
            "a": {"state": "completed"}, "../x": {"state": "queued"}, "": {"state": "running"},
            "c": {"state": "interrupted"}, "d": {"state": "eligible"}, "e": {}, "f": {"state": 3}}}"#;
        let expected = [
            ("../x", FlowState::Queued),
            ("a", FlowState::Completed),
            ("b", FlowState::Failed),
        ];
        let expected = expected.map(|(name, state)| (name.to_owned(), state));
        assert_eq!(parse(text.as_bytes()).expect("sound"), expected);
        assert!(parse(br#"{"version": 1}"#).expect("sound").is_empty());
    }

    #[test]
    fn what_is_no_sidecar_is_named() {
        for (text, reason) in [
            ("", "not JSON"),
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
            let error = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        proptest!(|(bytes in prop::collection::vec(any::<u8>(), 0..64))| {
            let _ = parse(&bytes);
        });
    }
}
