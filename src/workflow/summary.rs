//! What of records decides.

use super::record::{Record, Stage};
use super::sidecar::Sidecar;
use crate::catalog::{Damage, Decoder, Encoder};
use crate::exec::{Machine, Process};
use crate::report::Problem;
use std::sync::Arc;

/// What decides about the next execution.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Summary {
    /// How far the last one has come.
    pub stage: Stage,
    /// The how-manieth it was.
    pub attempt: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Ends without a verdict in a row.
    pub interruptions: u32,
    /// Of the failures, those that were ended since their walltime was over.
    pub timeouts: u32,
    /// The processes of an execution that is running: its own, and the one that waits for its end.
    /// It is lost when both are gone.
    pub processes: Vec<Process>,
    /// Whether a scheduler has it.
    pub is_batch: bool,
}

impl Summary {
    /// Writes all but the processes, of which there must be none.
    pub(super) fn encode(&self, name: &str, encoder: &mut Encoder) {
        encoder.bytes(name.as_bytes());
        encoder.u8(self.stage as u8);
        encoder.u32(self.attempt);
        encoder.u32(self.failures);
        encoder.u32(self.interruptions);
        encoder.u32(self.timeouts);
        encoder.u8(u8::from(self.is_batch));
    }

    /// Reads what [`Summary::encode`] writes.
    pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<(String, Self), Damage> {
        let name = decoder.text()?.to_owned();
        let stage = decoder.u8()?;
        let stage = Stage::ALL.into_iter().find(|known| *known as u8 == stage);
        let summary = Self {
            stage: stage.ok_or(Damage::Content("a stage is unknown"))?,
            attempt: decoder.u32()?,
            failures: decoder.u32()?,
            interruptions: decoder.u32()?,
            timeouts: decoder.u32()?,
            processes: Vec::new(),
            is_batch: decoder.u8()? != 0,
        };
        Ok((name, summary))
    }

    /// Returns the failures that count: of those by walltime only what is beyond a limit.
    pub(super) fn failures_beyond(&self, timeouts_max: u32) -> u32 {
        self.failures
            .saturating_sub(self.timeouts.min(timeouts_max))
    }

    /// Tells whether the execution goes on. What runs elsewhere is taken at its word, and of a batch
    /// job its scheduler is asked, not the machine.
    pub(super) fn runs(&self, machine: &Machine) -> bool {
        let goes_on = |answer: Option<bool>| answer != Some(false);
        let is_alive = || match self.processes.split_first() {
            None => false,
            // Who waits may be in the group of a shell that goes on without it.
            Some((own, waiting)) => {
                goes_on(machine.runs(own))
                    || waiting
                        .iter()
                        .any(|process| goes_on(machine.runs_itself(process)))
            }
        };
        self.is_batch || (self.stage == Stage::Running && is_alive())
    }

    /// Returns what of a record decides.
    pub fn of(record: &Record) -> Self {
        let process = |pid: Option<i32>, start: &Option<String>| {
            Some(Process {
                host: record.host.clone()?,
                pid: pid?,
                start: start.clone()?,
            })
        };
        let processes = [
            process(record.pid, &record.process_start),
            process(record.runner_pid, &record.runner_start),
        ];
        let processes = match record.state {
            Stage::Running => processes.into_iter().flatten().collect(),
            _ => Vec::new(),
        };
        Self {
            stage: record.state,
            attempt: record.attempt,
            failures: record.failures,
            interruptions: record.interruptions,
            timeouts: record.timeouts,
            processes,
            is_batch: record.batch_id.is_some(),
        }
    }
}

/// The last execution of each operation that had one, sorted by their names.
pub(super) type Summaries = Vec<(String, Summary)>;

/// What a sidecar says.
#[derive(Clone, Debug)]
pub(super) enum Says {
    Records(Arc<Summaries>),
    Nothing(Arc<Problem>),
}

/// Returns what decides about the operations of a sidecar.
pub(super) fn summaries(sidecar: &Sidecar) -> Summaries {
    let records = sidecar.records.iter();
    let summary = |(name, record): (&String, &Record)| (name.clone(), Summary::of(record));
    records.map(summary).collect()
}
