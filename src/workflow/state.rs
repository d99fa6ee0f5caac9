//! What can be known of an operation and a job.

use std::fmt;
use std::str::FromStr;

/// How far an operation is with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowState {
    /// Its preconditions do not hold yet.
    Waiting,
    /// It can be executed.
    Eligible,
    /// A scheduler has it.
    Queued,
    /// It is being executed.
    Running,
    /// The last execution ended badly.
    Failed,
    /// Nothing is left to do.
    Completed,
    /// Something that decides about it cannot be read.
    Unknown,
}

/// A text that names no flow state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not one of the states waiting, eligible, queued, running, failed, completed and unknown"
)]
pub struct UnknownFlowState(pub String);

impl FlowState {
    /// All, in their order.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Eligible,
        Self::Queued,
        Self::Running,
        Self::Failed,
        Self::Completed,
        Self::Unknown,
    ];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Eligible => "eligible",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Completed => "completed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for FlowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FlowState {
    type Err = UnknownFlowState;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.name() == name)
            .ok_or_else(|| UnknownFlowState(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for state in FlowState::ALL {
            assert_eq!(state.name().parse(), Ok(state));
        }
        assert!(FlowState::ALL.is_sorted());
        for name in ["", "Failed", "interrupted"] {
            let error = name.parse::<FlowState>().expect_err(name);
            assert_eq!(error, UnknownFlowState(name.to_owned()));
        }
    }
}
