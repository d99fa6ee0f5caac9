//! What is wrong with a spec, or with the paths that it makes.

use crate::catalog::FactsError;
use crate::statepoint::JobId;

/// Why a text is no path spec.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} at column {column}")]
pub struct SpecError {
    message: String,
    column: usize,
    hint: Option<String>,
}

impl SpecError {
    pub(super) fn new(message: impl Into<String>, column: usize) -> Self {
        Self {
            message: message.into(),
            column,
            hint: None,
        }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Returns what is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns where it is, in characters counted from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Why a spec does not give each job a path of its own.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// A question had no answer.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// A job has no path.
    #[error("job {job} has no path: {message}")]
    Job {
        /// The first such job.
        job: JobId,
        /// Why.
        message: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
    /// No job has what a field asks for.
    #[error("no job has the key of the field `{{{field}}}`")]
    UnknownKey {
        /// The field.
        field: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
    /// Jobs have the same path.
    #[error("{}", shared_message(path, jobs, *n_jobs))]
    Shared {
        /// The spec.
        spec: String,
        /// The first path that is not one job's own.
        path: String,
        /// The first of the jobs that have it.
        jobs: Vec<JobId>,
        /// The number of jobs that have it.
        n_jobs: usize,
    },
    /// A path goes on where another ends.
    #[error("the path `{path}` of job {other} runs through the entry `job` of job {leaf}")]
    ThroughLeaf {
        /// The longer path.
        path: String,
        /// The job whose path ends.
        leaf: JobId,
        /// The job whose path goes on.
        other: JobId,
    },
}

impl PathsError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Facts(_) => None,
            Self::Job { hint, .. } | Self::UnknownKey { hint, .. } => hint.clone(),
            Self::Shared { spec, .. } => {
                let below = spec.trim_end_matches('/');
                let slash = if below.is_empty() { "" } else { "/" };
                Some(format!(
                    "add a field that tells them apart, or the id: `{below}{slash}id/{{job.id}}`"
                ))
            }
            Self::ThroughLeaf { .. } => Some(
                "put a name before the field: `x={x}` instead of `{x}` can never be `job`".into(),
            ),
        }
    }
}

fn shared_message(path: &str, jobs: &[JobId], n_jobs: usize) -> String {
    let shown: Vec<_> = jobs.iter().map(ToString::to_string).collect();
    let (last, before) = shown
        .split_last()
        .map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let before = before.join(", ");
    let jobs = match n_jobs - shown.len() {
        0 => format!("{before} and {last}"),
        1 => format!("{before}, {last} and another"),
        n => format!("{before}, {last} and {n} others"),
    };
    let what = if path.is_empty() {
        "an empty path".to_owned()
    } else {
        format!("the path `{path}`")
    };
    format!("{what} is made for {n_jobs} jobs: {jobs}")
}
