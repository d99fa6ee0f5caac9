//! A batch job, seen from inside.

use super::cluster::Cluster;
use super::settle::{Shared, Why, why};
use crate::scheduler::{Array, Scheduler, Seen};
use crate::workflow::record::{Record, Stage};
use std::time::Duration;

/// A batch job begins before its execution does, so that its walltime is over a little earlier.
const STARTING_MAX: Duration = Duration::from_secs(30);

/// What ends an execution in the last part of a short walltime, as 1 to this, is the walltime.
const LAST_PART: u32 = 10;

/// The batch job in which we run.
#[derive(Clone, Debug)]
pub struct BatchTask<'a> {
    cluster: &'a str,
    scheduler: &'a dyn Scheduler,
    array: Array,
    id: String,
    shared: Shared,
    is_pilot: bool,
}

impl<'a> BatchTask<'a> {
    /// It is an element of the array of a submission; what it executes shares it in some way.
    pub fn new(
        cluster: &'a Cluster,
        submission: &str,
        (array, element): (&str, u32),
        shared: Shared,
    ) -> Self {
        let scheduler = cluster.scheduler.as_ref();
        Self {
            cluster: cluster.name(),
            scheduler,
            id: scheduler.array_id(array).element(element),
            array: Array {
                id: scheduler.array_id(array),
                name: submission.to_owned(),
                elements: vec![element],
            },
            shared,
            is_pilot: false,
        }
    }

    /// It executes whatever can be executed, and nothing is queued for it.
    #[must_use]
    pub fn as_pilot(self) -> Self {
        Self {
            is_pilot: true,
            ..self
        }
    }

    /// Tells whether nothing is queued for it.
    pub(in crate::workflow) fn is_pilot(&self) -> bool {
        self.is_pilot
    }

    /// Tells whether an execution is queued for it.
    pub(in crate::workflow) fn awaits(&self, record: &Record) -> bool {
        let is_for_us = record.batch_id.as_ref().is_none_or(|id| *id == self.id);
        is_for_us && record.is_queued_by(&self.array.name)
    }

    /// Returns the record of an execution that begins here.
    pub(in crate::workflow) fn begun(&self, previous: Option<&Record>) -> Record {
        match previous.filter(|_| !self.is_pilot) {
            Some(queued) => Record {
                state: Stage::Running,
                batch_id: Some(self.id.clone()),
                ..queued.clone()
            },
            None => Record {
                cluster: Some(self.cluster.to_owned()),
                batch_id: Some(self.id.clone()),
                submission: Some(self.array.name.clone()),
                ..Record::next(previous, Stage::Running)
            },
        }
    }

    /// Asks the scheduler why the batch job is being ended, if it is. Some do not say; then the time
    /// tells, if the walltime is over, or nearly so.
    pub(in crate::workflow) fn why_it_ends(
        &self,
        ran: Duration,
        walltime_s: Option<u64>,
    ) -> Option<Why> {
        let (states, _) = self.scheduler.poll(std::slice::from_ref(&self.array));
        match states.get(&self.id) {
            Some(Seen::Active(Some(verdict))) => Some(why(*verdict, "", true, self.shared)),
            Some(Seen::Ended(verdict, words)) => Some(why(*verdict, words, true, self.shared)),
            // What several use together is not the walltime of one.
            _ if self.shared != Shared::No => None,
            _ => {
                let is_over = |limit: Duration| {
                    let early = STARTING_MAX.min(limit / LAST_PART);
                    ran + early.max(self.scheduler.notice()) >= limit
                };
                let limit = walltime_s.map(Duration::from_secs);
                limit.is_some_and(is_over).then_some(Why::Outrun)
            }
        }
    }
}
