//! What an execution of an operation works on.

use crate::catalog::{Facts, FactsError, JobIdx};
use crate::config::{Aggregation, OperationConfig};
use crate::filter::Field;
use crate::statepoint::JobId;
use roaring::RoaringBitmap;
use std::collections::HashMap;

/// Number of an aggregate of an operation. If each is one job, it is that of the job.
pub type UnitIdx = u32;

/// The aggregates of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Units {
    /// Each of these jobs by itself.
    Jobs(RoaringBitmap),
    /// Several jobs together.
    Aggregates(Vec<Aggregate>),
}

/// Jobs that one execution works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Its name: that of its one job, or `agg-` and a hash of the ids.
    pub id: String,
    /// The jobs in their order; at least one.
    pub jobs: Vec<JobIdx>,
}

impl Units {
    /// Finds the aggregates of an operation, formed of all jobs that it concerns.
    pub(super) fn of(operation: &OperationConfig, facts: &Facts<'_>) -> Result<Self, FactsError> {
        let mut jobs = facts.all();
        if let Some(filter) = &operation.filter {
            jobs = facts.select(filter, &jobs)?;
        }
        match &operation.aggregate {
            None => Ok(Self::Jobs(jobs)),
            Some(aggregation) => aggregates(aggregation, facts, jobs).map(Self::Aggregates),
        }
    }

    /// Returns the numbers of all aggregates.
    pub fn all(&self) -> RoaringBitmap {
        match self {
            Self::Jobs(jobs) => jobs.clone(),
            Self::Aggregates(aggregates) => (0..aggregates.len() as UnitIdx).collect(),
        }
    }

    /// Returns the aggregates that some of these jobs are in.
    pub fn with_any(&self, jobs: &RoaringBitmap) -> RoaringBitmap {
        self.selected(jobs, |aggregate, jobs| {
            aggregate.jobs.iter().any(|job| jobs.contains(*job))
        })
    }

    /// Returns the aggregates all of whose jobs are among these.
    pub fn with_all(&self, jobs: &RoaringBitmap) -> RoaringBitmap {
        self.selected(jobs, |aggregate, jobs| {
            aggregate.jobs.iter().all(|job| jobs.contains(*job))
        })
    }

    fn selected(
        &self,
        jobs: &RoaringBitmap,
        is_selected: impl Fn(&Aggregate, &RoaringBitmap) -> bool,
    ) -> RoaringBitmap {
        match self {
            Self::Jobs(all) => all & jobs,
            Self::Aggregates(aggregates) => {
                let numbered = (0..).zip(aggregates);
                let selected = numbered.filter(|(_, aggregate)| is_selected(aggregate, jobs));
                selected.map(|(unit, _)| unit).collect()
            }
        }
    }

    /// Returns the jobs in some aggregates.
    pub fn jobs_in(&self, units: &RoaringBitmap) -> RoaringBitmap {
        match self {
            Self::Jobs(_) => units.clone(),
            Self::Aggregates(aggregates) => units
                .iter()
                .flat_map(|unit| aggregates[unit as usize].jobs.iter().copied())
                .collect(),
        }
    }

    /// Returns the id of an aggregate.
    pub fn id(&self, unit: UnitIdx, facts: &Facts<'_>) -> Result<String, FactsError> {
        Ok(match self {
            Self::Jobs(_) => aggregate_id(&self.ids(unit, facts)?),
            Self::Aggregates(aggregates) => aggregates[unit as usize].id.clone(),
        })
    }

    /// Returns the ids of the jobs in an aggregate, in their order.
    pub fn ids(&self, unit: UnitIdx, facts: &Facts<'_>) -> Result<Vec<JobId>, FactsError> {
        let jobs = match self {
            Self::Jobs(_) => return facts.ids(&RoaringBitmap::from_iter([unit])),
            Self::Aggregates(aggregates) => &aggregates[unit as usize].jobs,
        };
        let sorted: RoaringBitmap = jobs.iter().copied().collect();
        let ids: HashMap<_, _> = sorted.iter().zip(facts.ids(&sorted)?).collect();
        Ok(jobs.iter().map(|job| ids[job]).collect())
    }
}

/// Names an aggregate as signac-flow does.
pub fn aggregate_id(jobs: &[JobId]) -> String {
    match jobs {
        [one] => one.to_string(),
        _ => {
            let ids: Vec<_> = jobs.iter().map(ToString::to_string).collect();
            format!("agg-{}", JobId::of_canonical(&ids.join(",")))
        }
    }
}

fn aggregates(
    aggregation: &Aggregation,
    facts: &Facts<'_>,
    mut jobs: RoaringBitmap,
) -> Result<Vec<Aggregate>, FactsError> {
    if let Some(filter) = &aggregation.filter {
        jobs = facts.select(filter, &jobs)?;
    }
    let ids = facts.ids(&jobs)?;
    let numbers: Vec<_> = jobs.iter().collect();
    let mut rows: Vec<usize> = (0..numbers.len()).collect();
    for key in aggregation.sort.iter().rev() {
        let ranks = ranks(&key.field, facts, &jobs)?;
        match key.reverse {
            false => rows.sort_by_key(|&row| ranks[row]),
            true => rows.sort_by_key(|&row| (ranks[row].0, std::cmp::Reverse(ranks[row].1))),
        }
    }
    let by: Vec<_> = aggregation
        .by
        .iter()
        .map(|field| ranks(field, facts, &jobs))
        .collect::<Result<_, _>>()?;
    for ranks in by.iter().rev() {
        rows.sort_by_key(|&row| ranks[row]);
    }
    let together = |a: &usize, b: &usize| by.iter().all(|ranks| ranks[*a] == ranks[*b]);
    let size = aggregation.size.map_or(usize::MAX, |size| size as usize);
    let parts = rows
        .chunk_by(together)
        .flat_map(|part| part.chunks(size.min(part.len())));
    let aggregate = |rows: &[usize]| {
        let of_ids: Vec<_> = rows.iter().map(|&row| ids[row]).collect();
        Aggregate {
            id: aggregate_id(&of_ids),
            jobs: rows.iter().map(|&row| numbers[row]).collect(),
        }
    };
    Ok(parts.map(aggregate).collect())
}

/// Returns what rows are sorted by: whether they lack a value, and the place of their value.
fn ranks(
    field: &Field,
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
) -> Result<Vec<(bool, usize)>, FactsError> {
    let Some(key) = &field.key else {
        return Ok(vec![(false, 0); jobs.len() as usize]);
    };
    let column = facts.column(field.space, key, jobs)?;
    let n_values = column.values().len();
    Ok(column
        .ranks()
        .map(|rank| (rank >= n_values, rank))
        .collect())
}
