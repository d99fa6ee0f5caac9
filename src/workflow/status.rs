//! How far a project is.

use super::evaluate::OperationStates;
use super::flow::Flow;
use super::units::Units;
use crate::catalog::{Facts, FactsError};
use crate::report::Problem;
use roaring::RoaringBitmap;

/// How far operations are with some jobs, in one moment.
#[derive(Debug, Default)]
pub struct Status {
    /// The jobs.
    pub jobs: RoaringBitmap,
    /// The number of all jobs of the project.
    pub n_all: usize,
    /// The labels, sorted, and those of the jobs that have each, which may be none.
    pub labels: Vec<(String, RoaringBitmap)>,
    /// The operations that were asked about.
    pub operations: Vec<OperationStatus>,
    /// Why states are unknown.
    pub problems: Vec<Problem>,
}

/// How far an operation is.
#[derive(Debug)]
pub struct OperationStatus {
    /// Its place among all operations.
    pub place: usize,
    /// All of its aggregates.
    pub units: Units,
    /// Those that some of the jobs are in, by state.
    pub states: OperationStates,
}

impl OperationStatus {
    /// Returns the number of aggregates that were looked at.
    pub fn len(&self) -> u64 {
        self.states.states.values().map(RoaringBitmap::len).sum()
    }

    /// Tells whether it concerns none of the jobs.
    pub fn is_empty(&self) -> bool {
        self.states.states.is_empty()
    }
}

impl Flow {
    /// Finds out how far some operations, by their places, are with some jobs.
    pub fn status(
        &self,
        facts: &Facts<'_>,
        jobs: &RoaringBitmap,
        operations: &[usize],
    ) -> Result<Status, FactsError> {
        let evaluation = self.evaluation(facts)?;
        let status = |&place: &usize| {
            let units = evaluation.units(place)?;
            let states = evaluation.states(place, &units.with_any(jobs))?;
            Ok(OperationStatus {
                place,
                units: units.clone(),
                states,
            })
        };
        let operations = operations
            .iter()
            .map(status)
            .collect::<Result<_, FactsError>>()?;
        Ok(Status {
            jobs: jobs.clone(),
            n_all: facts.n_jobs(),
            labels: self.labels(facts, jobs)?,
            operations,
            problems: evaluation.problems(),
        })
    }
}
