//! Commands about what a cluster has.

use crate::cli::operations::OperationArgs;
use crate::cli::selection::SelectionArgs;
use clap::{Args as ClapArgs, ValueEnum};

/// Which batch jobs a command is about; all that is given must hold.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct BatchSelectionArgs {
    /// Batch jobs, or whole arrays, by their ids.
    #[arg(value_name = "BATCH_ID")]
    pub(in crate::cli) ids: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) operations: OperationArgs,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    /// Only those in one of these states.
    #[arg(
        long = "state",
        value_enum,
        value_name = "STATE",
        value_delimiter = ','
    )]
    pub(in crate::cli) states: Vec<BatchState>,
}

impl BatchSelectionArgs {
    /// Tells whether nothing is left out.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        let by_option = !self.operations.operations.is_empty() || !self.selection.is_empty();
        self.ids.is_empty() && self.states.is_empty() && !by_option
    }
}

/// How far a batch job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum BatchState {
    /// It waits.
    Queued,
    /// It waits until it is released.
    Held,
    /// It runs.
    Running,
    /// It has no id yet.
    Submitting,
    /// It has ended, but not what it has begun.
    Ended,
    /// The scheduler does not say.
    Unknown,
}

impl BatchState {
    pub(in crate::cli) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Running => "running",
            Self::Submitting => "submitting",
            Self::Ended => "ended",
            Self::Unknown => "unknown",
        }
    }
}

/// List what waits or runs in batch jobs, one execution a line: id and state of the batch job, the
/// cluster if there are several, operation, job or aggregate, and why it waits.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs queue
  sweepfs queue -o simulate -f 'angle>=45'
  sweepfs queue --state held --json")]
pub(in crate::cli) struct QueueArgs {
    #[command(flatten)]
    pub(in crate::cli) which: BatchSelectionArgs,
    /// Print one JSON object per line.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// Cancel what waits or runs in batch jobs.
///
/// What has not begun will not. A batch job is ended if all that it executes is chosen.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs cancel 4411_7
  sweepfs cancel 4411
  sweepfs cancel -o simulate -f 'angle>=45'
  sweepfs cancel --state queued,held
  sweepfs cancel --all")]
pub(in crate::cli) struct CancelArgs {
    #[command(flatten)]
    pub(in crate::cli) which: BatchSelectionArgs,
    /// Cancel all of the project.
    #[arg(long, conflicts_with = "ids")]
    pub(in crate::cli) all: bool,
}

/// Have batch jobs that wait go on waiting until they are released.
#[derive(Debug, ClapArgs)]
#[command(after_help = "What runs already goes on.

Examples:
  sweepfs hold 4411
  sweepfs hold -o simulate -f 'angle>=45'
  sweepfs hold --all")]
pub(in crate::cli) struct HoldArgs {
    #[command(flatten)]
    pub(in crate::cli) which: BatchSelectionArgs,
    /// Hold all of the project.
    #[arg(long, conflicts_with = "ids")]
    pub(in crate::cli) all: bool,
}

/// Let batch jobs begin that are held.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs release 4411_7
  sweepfs release -o simulate
  sweepfs release --all")]
pub(in crate::cli) struct ReleaseArgs {
    #[command(flatten)]
    pub(in crate::cli) which: BatchSelectionArgs,
    /// Release all of the project.
    #[arg(long, conflicts_with = "ids")]
    pub(in crate::cli) all: bool,
}
