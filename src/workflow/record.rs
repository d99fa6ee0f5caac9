//! What is recorded of an execution.

use super::state::FlowState;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Ends without a verdict in a row after which an execution counts as failed.
pub const INTERRUPTIONS_MAX: u32 = 3;

/// Why an execution failed that was ended since its walltime was over.
pub(super) const WALLTIME_OVER: &str = "timeout: the walltime is over";

/// How far an execution has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// A scheduler has it.
    Queued,
    /// It was begun, and its end is not recorded.
    Running,
    /// It ended without a verdict: interrupted, killed, lost with its machine.
    Interrupted,
    /// It ended badly by itself.
    Failed,
    /// It ended well.
    Completed,
}

impl Stage {
    /// All, in their order.
    pub(super) const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Interrupted,
        Self::Failed,
        Self::Completed,
    ];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Completed => "completed",
        }
    }

    /// Executions that ended are told apart by their time, not by their stage.
    fn rank(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Running => 1,
            Self::Interrupted | Self::Failed | Self::Completed => 2,
        }
    }

    /// Returns the flow state that a mount shows for it without knowing conditions.
    pub(super) fn state(self) -> Option<FlowState> {
        match self {
            Self::Queued => Some(FlowState::Queued),
            Self::Running => Some(FlowState::Running),
            Self::Interrupted => None,
            Self::Failed => Some(FlowState::Failed),
            Self::Completed => Some(FlowState::Completed),
        }
    }
}

/// The last execution of an operation on an aggregate, as its sidecar has it. What is not known
/// here is kept as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// How far it has come.
    pub state: Stage,
    /// The how-manieth it is, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// Executions that failed since the last one that ended well, this one included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Executions that ended without a verdict since the last one with a verdict, this one
    /// included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interruptions: u32,
    /// Of the failures, those that were ended since their walltime was over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeouts: u32,
    /// The cluster that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The scheduler's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<String>,
    /// The submission that has sent it, or was about to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<String>,
    /// The machine it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its process there, which leads a process group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When that process started, in the words of the machine: `<boot id>:<ticks since boot>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_start: Option<String>,
    /// The process there that waits for its end and records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_pid: Option<i32>,
    /// When that one started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_start: Option<String>,
    /// When it was sent to a scheduler, as RFC 3339 in UTC; so are the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted: Option<String>,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Its exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it ended as it did, a fragment such as `exit 1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where its output is, below the project's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// What others have noted.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Returns the present time, to the millisecond.
pub(super) fn now() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.3}")
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Record {
    /// A new execution after a previous one, of which nothing is known yet.
    pub fn next(previous: Option<&Self>, state: Stage) -> Self {
        Self {
            state,
            attempt: previous.map_or(0, |previous| previous.attempt) + 1,
            failures: previous.map_or(0, |previous| previous.failures),
            interruptions: previous.map_or(0, Self::interruptions_so_far),
            timeouts: previous.map_or(0, |previous| previous.timeouts),
            cluster: None,
            batch_id: None,
            submission: None,
            host: None,
            pid: None,
            process_start: None,
            runner_pid: None,
            runner_start: None,
            submitted: None,
            started: None,
            ended: None,
            exit_code: None,
            signal: None,
            reason: None,
            log: None,
            other: previous.map_or_else(Map::new, |previous| previous.other.clone()),
        }
    }

    /// Reads a record; `None` if it is of no stage that is known.
    pub(super) fn deserialize_from(value: &Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }

    /// A running execution that another one follows was lost.
    fn interruptions_so_far(&self) -> u32 {
        self.interruptions + u32::from(self.state == Stage::Running)
    }

    /// Notes how the execution ended.
    pub fn end(&mut self, stage: Stage, reason: Option<String>, now: &str) {
        match stage {
            Stage::Interrupted => self.interruptions += 1,
            Stage::Failed => (self.failures, self.interruptions) = (self.failures + 1, 0),
            _ => (self.failures, self.interruptions, self.timeouts) = (0, 0, 0),
        }
        self.state = stage;
        self.reason = reason;
        self.ended = Some(now.to_owned());
    }

    /// Notes that the execution was ended since its walltime was over.
    pub fn end_by_walltime(&mut self, now: &str) {
        self.timeouts += 1;
        self.end(Stage::Failed, Some(WALLTIME_OVER.to_owned()), now);
    }

    /// Notes that it will not be begun, which is no end to be counted.
    pub(super) fn withdraw(&mut self, reason: &str, now: &str) {
        self.state = Stage::Interrupted;
        self.reason = Some(reason.to_owned());
        self.ended = Some(now.to_owned());
    }

    /// Tells whether it waits to be begun by a submission.
    pub(super) fn is_queued_by(&self, submission: &str) -> bool {
        self.state == Stage::Queued && self.submission.as_deref() == Some(submission)
    }

    /// Returns what is compared to tell which of two copies is the later one.
    fn order(&self) -> (u32, u8, Option<&str>, Stage, String) {
        let times = [&self.ended, &self.started, &self.submitted];
        let time = times.into_iter().flatten().next().map(String::as_str);
        let text = serde_json::to_string(self).unwrap_or_default();
        (self.attempt, self.state.rank(), time, self.state, text)
    }

    /// Returns the later of two copies: that of the higher attempt, then of the later stage, then
    /// of the later time. In whatever order copies are merged, the same one is left.
    pub fn merge(self, other: Self) -> Self {
        if self.order() >= other.order() {
            self
        } else {
            other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_record() -> impl Strategy<Value = Record> {
        let stages = [
            Stage::Queued,
            Stage::Running,
            Stage::Interrupted,
            Stage::Failed,
            Stage::Completed,
        ];
        let times = [
            None,
            Some("2026-01-01T00:00:00Z"),
            Some("2026-01-02T00:00:00Z"),
        ];
        let time = || prop::sample::select(times.to_vec());
        (
            0_u32..3,
            prop::sample::select(stages.to_vec()),
            time(),
            time(),
            0_u32..2,
        )
            .prop_map(|(attempt, state, started, ended, failures)| Record {
                state,
                attempt,
                failures,
                started: started.map(str::to_owned),
                ended: ended.map(str::to_owned),
                ..Record::next(None, state)
            })
    }

    #[test]
    fn merging_depends_on_no_order() {
        proptest!(|(a in any_record(), b in any_record(), c in any_record())| {
            let merge = |a: &Record, b: &Record| a.clone().merge(b.clone());
            prop_assert_eq!(merge(&a, &b), merge(&b, &a));
            prop_assert_eq!(merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)));
            prop_assert_eq!(merge(&a, &a), a);
        });
    }

    #[test]
    fn what_is_unknown_is_kept() {
        let text = r#"{"state":"running","attempt":2,"pid":7,"note":{"x":[1]}}"#;
        let record: Record = serde_json::from_str(text).expect("a record");
        let again: Value = serde_json::to_value(&record).expect("written");
        assert_eq!(again, serde_json::from_str::<Value>(text).expect("JSON"));
        let next = Record::next(Some(&record), Stage::Running);
        assert_eq!((next.attempt, next.interruptions, next.pid), (3, 1, None));
        assert_eq!(next.other, record.other);
    }

    #[test]
    fn ends_in_a_row_are_counted() {
        let mut record = Record::next(None, Stage::Running);
        record.end(Stage::Interrupted, None, "t");
        record = Record::next(Some(&record), Stage::Running);
        record.end(Stage::Interrupted, None, "t");
        assert_eq!((record.interruptions, record.failures), (2, 0));
        record = Record::next(Some(&record), Stage::Running);
        record.end(Stage::Failed, Some("exit 1".into()), "t");
        assert_eq!((record.interruptions, record.failures), (0, 1));
        record = Record::next(Some(&record), Stage::Running);
        record.end(Stage::Completed, None, "t");
        assert_eq!((record.attempt, record.failures), (4, 0));
        record = Record::next(Some(&record), Stage::Running);
        record.end_by_walltime("t");
        record = Record::next(Some(&record), Stage::Running);
        record.end(Stage::Failed, None, "t");
        assert_eq!((record.failures, record.timeouts), (2, 1));
        record.end(Stage::Completed, None, "t");
        assert_eq!((record.failures, record.timeouts), (0, 0));
    }
}
