//! Settings in files, as typed values that know where they came from.

mod clusters;
mod operations;
mod project;
mod quantity;
mod remotes;
mod signac;
mod source;

pub use clusters::{CUSTOM_STATES, ClusterConfig, CustomConfig, PartitionConfig, SchedulerKind};
pub use operations::{
    Aggregation, Hooks, OperationConfig, Resources, RunDirectory, SortKey, WorkflowConfig,
};
pub use project::{LeafStyle, PROJECT_FILE, ProjectConfig, ViewConfig};
pub use quantity::{Wrong, memory_bytes, number, walltime_s};
pub use remotes::{RemoteConfig, bandwidth_bytes};
pub use signac::{SCHEMA_VERSION, schema_version};

use crate::fsx::FsError;
use std::path::PathBuf;

/// Why a project's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] FsError),
    /// It is no text.
    #[error("`{}` is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// The version is no number.
    #[error("`{}` has the schema version `{text}`, which is not a number", path.display())]
    BadVersion {
        /// The file.
        path: PathBuf,
        /// What it says.
        text: String,
    },
    /// `sweepfs.toml` has a mistake.
    #[error("`{}`, line {line}, column {column}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
}

impl ConfigError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Invalid { hint, .. } => hint.as_deref(),
            Self::Read(_) | Self::NotText(_) | Self::BadVersion { .. } => None,
        }
    }
}
