//! A batch job, seen from inside.

use super::follow::verdict_of;
use crate::scheduler::{Array, Scheduler, Seen, Verdict};
use crate::workflow::record::{Record, Stage};
use std::time::Duration;

/// So long before its walltime is over a batch job may be told so.
const BEFORE_THE_END: Duration = Duration::from_secs(60);

/// The batch job in which we run.
#[derive(Clone, Debug)]
pub struct BatchTask<'a> {
    scheduler: &'a dyn Scheduler,
    array: Array,
    id: String,
}

impl<'a> BatchTask<'a> {
    /// It is an element of the array of a submission.
    pub fn new(scheduler: &'a dyn Scheduler, submission: &str, array: &str, element: u32) -> Self {
        Self {
            scheduler,
            id: scheduler.array_id(array).element(element),
            array: Array {
                id: scheduler.array_id(array),
                name: submission.to_owned(),
                elements: vec![element],
            },
        }
    }

    /// Tells whether an execution is queued for it.
    pub(in crate::workflow) fn awaits(&self, record: &Record) -> bool {
        let is_for_us = record.batch_id.as_ref().is_none_or(|id| *id == self.id);
        is_for_us && record.is_queued_by(&self.array.name)
    }

    /// Returns the record of an execution that begins here.
    pub(in crate::workflow) fn taken_over(&self, queued: &Record) -> Record {
        Record {
            state: Stage::Running,
            batch_id: Some(self.id.clone()),
            ..queued.clone()
        }
    }

    /// Asks the scheduler why the batch job is being ended, if it is. Some do not say; then the time
    /// tells, if the walltime is over, or nearly so.
    pub(in crate::workflow) fn why_it_ends(
        &self,
        ran: Duration,
        walltime_s: Option<u64>,
    ) -> Option<(Stage, String)> {
        let (states, _) = self.scheduler.poll(std::slice::from_ref(&self.array));
        match states.get(&self.id) {
            Some(Seen::Active(Some(verdict))) => Some(verdict_of(*verdict, "", true)),
            Some(Seen::Ended(verdict, words)) => Some(verdict_of(*verdict, words, true)),
            _ => {
                let limit = walltime_s.map(Duration::from_secs);
                let is_over = limit.is_some_and(|limit| ran + BEFORE_THE_END >= limit);
                is_over.then(|| verdict_of(Verdict::TimedOut, "", true))
            }
        }
    }
}
