//! Labels and flow state as sets of jobs.

use super::state::FlowState;
use crate::report::Problem;
use roaring::RoaringBitmap;

/// What is known of jobs beyond their parameters and results, in one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    /// The labels, and the jobs that have each, which may be none.
    pub labels: Vec<(String, RoaringBitmap)>,
    /// The operations of which something is known.
    pub operations: Vec<OperationMarks>,
    /// The jobs of which nothing can be known.
    pub problems: Vec<Problem>,
}

/// How far an operation is with the jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationMarks {
    /// The operation, by a name that may be any text but an empty one.
    pub name: String,
    /// The states in their order, and the jobs in each; only states that some job is in. No job
    /// is in two.
    pub states: Vec<(FlowState, RoaringBitmap)>,
}
