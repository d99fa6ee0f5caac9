//! Labels and flow state as sets of jobs.

use super::state::FlowState;
use crate::catalog::{Facts, FactsError};
use crate::report::Problem;
use roaring::RoaringBitmap;
use std::fmt::Debug;

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

/// Knows labels and flow state.
pub trait MarkSource: Send + Sync + Debug {
    /// Returns the labels, sorted, and the jobs that have each.
    fn labels(&self, facts: &Facts<'_>) -> Result<Vec<(String, RoaringBitmap)>, FactsError>;

    /// Returns the operations, and the jobs in each of their states.
    fn operations(&self, facts: &Facts<'_>) -> Result<Vec<OperationMarks>, FactsError>;

    /// Returns the jobs that [`MarkSource::operations`] left out when it was last called.
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Returns all there is to know.
    fn marks(&self, facts: &Facts<'_>) -> Result<Marks, FactsError> {
        Ok(Marks {
            labels: self.labels(facts)?,
            operations: self.operations(facts)?,
            problems: self.problems(),
        })
    }
}
