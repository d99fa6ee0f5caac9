//! Workflows of other programs, as a `sweepfs.toml`.

mod draft;
mod flow;
mod row;

pub use flow::FlowImport;
pub use row::from_row;

use crate::exec::ExecError;

/// A `sweepfs.toml` made of another program's workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The text of the file.
    pub text: String,
    /// What has no counterpart, a line each; the text says the same where it belongs.
    pub notes: Vec<String>,
}

/// Why a workflow cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Python did not run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Python could not read the project.
    #[error("`{python}` cannot read `{file}`: {reason}")]
    Python {
        /// The program.
        python: String,
        /// The project.
        file: String,
        /// The last line that it said.
        reason: String,
    },
    /// What Python printed makes no sense.
    #[error("what Python says of the project is not understood: {0}")]
    Answer(#[from] serde_json::Error),
    /// It is no workflow of row.
    #[error("the file is no workflow of row: {0}")]
    Row(String),
}

impl ImportError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Exec(_) | Self::Python { .. } => {
                Some("`--python PROGRAM` names the Python that runs the project, with signac-flow")
            }
            Self::Answer(_) => None,
            Self::Row(_) => {
                Some("a `.py` file of signac-flow and row's `workflow.toml` can be imported")
            }
        }
    }
}
