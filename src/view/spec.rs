//! Path specs: format strings as those of `signac view`.

use super::plan::Paths;
use crate::catalog::{Facts, FactsError, Snapshot};
use crate::statepoint::JobId;
use roaring::RoaringBitmap;

/// A format string for the paths of jobs, like `v={velocity}/{angle:03d}`.
#[derive(Clone, Debug, PartialEq)]
pub struct PathSpec {}

/// Why a text is no path spec.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct SpecError {
    message: String,
}

/// Why a spec does not give each job a path of its own.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// A question had no answer.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// A job has no path.
    #[error("job {job}: {message}")]
    Job {
        /// The first such job.
        job: JobId,
        /// Why.
        message: String,
    },
}

impl PathSpec {
    /// Parses a spec.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        Err(SpecError {
            message: format!("no spec: {text}"),
        })
    }

    /// Tells whether paths depend on documents.
    pub fn needs_documents(&self) -> bool {
        false
    }
}

/// Gives each selected job the path that a spec makes of it.
///
/// `facts` are those of the snapshot.
pub fn spec_paths(
    snapshot: &Snapshot,
    facts: &Facts<'_>,
    selection: &RoaringBitmap,
    spec: &PathSpec,
) -> Result<Paths, PathsError> {
    let _ = (snapshot, facts, selection, spec);
    Ok(Paths::default())
}
