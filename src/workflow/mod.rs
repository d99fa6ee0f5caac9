//! Labels and flow state of jobs.
//!
//! Every job directory may hold a sidecar, [`FLOW_FILE`], that says how far each operation is with
//! the job. [`Recorded`] reads those of all jobs and shows them as sets of jobs, and so do labels.

mod marks;
mod recorded;
mod sidecar;
mod state;

pub use marks::{MarkSource, Marks, OperationMarks};
pub use recorded::Recorded;
pub use sidecar::FLOW_FILE;
pub use state::{FlowState, UnknownFlowState};
