//! What went wrong, as a message, hints and an exit code.

use crate::catalog::FactsError;
use crate::config::ConfigError;
use crate::filter::FilterError;
use crate::fsx::FsError;
use crate::mount::MountError;
use crate::pyjson::ParseError;
use crate::report::with_causes;
use crate::scheduler::local::QueueError;
use crate::statepoint::{GridError, StatePointError};
use crate::sync::SyncError;
use crate::term::Term;
use crate::view::{PathsError, PlaceError, SpecError};
use crate::workspace::{ProjectError, WorkspaceError};
use std::error::Error;
use std::io;

/// How a command ends; the number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Everything was done.
    Done = 0,
    /// Nothing useful was done.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Some of it was done; the rest was named.
    Partial = 3,
    /// A guard refused, and nothing was changed.
    Refused = 4,
    /// The user interrupted it.
    Interrupted = 130,
}

/// An error that ends a command.
#[derive(Debug)]
pub(super) struct CliError {
    exit: Exit,
    error: Box<dyn Error + Send + Sync>,
    /// What the user wrote, with a mark below the place.
    snippet: Option<String>,
    hint: Option<String>,
}

impl Exit {
    /// Returns the first that is not [`Exit::Done`].
    pub(super) fn or(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }
}

impl Exit {
    /// Returns that which the user must care more about.
    pub(super) fn worst(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Done => 0,
            Self::Partial => 1,
            Self::Refused => 2,
            Self::Usage => 3,
            Self::Failed => 4,
            Self::Interrupted => 5,
        };
        std::cmp::max_by_key(self, other, |exit| rank(*exit))
    }
}

impl CliError {
    pub(super) fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
            snippet: None,
            hint: None,
        }
    }

    pub(super) fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            exit: Exit::Failed,
            error: error.into(),
            snippet: None,
            hint: None,
        }
    }

    pub(super) fn refused(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            exit: Exit::Refused,
            ..Self::failed(error)
        }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Says what the error is about.
    pub(super) fn of(self, name: &str) -> Self {
        let Self { error, .. } = self;
        Self {
            error: format!("{name}: {}", with_causes(&*error)).into(),
            ..self
        }
    }

    /// Tells whether nobody reads our output any more, which is no failure.
    pub(super) fn is_closed_pipe(&self) -> bool {
        let error = self.error.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Prints the error with its causes and hint, and returns the exit code.
    pub(super) fn report(&self, term: &Term) -> Exit {
        if self.is_closed_pipe() {
            return Exit::Done;
        }
        term.error(with_causes(&*self.error));
        if let Some(snippet) = &self.snippet {
            term.quote(snippet);
        }
        if let Some(hint) = &self.hint {
            term.hint(hint);
        }
        self.exit
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}

impl From<FsError> for CliError {
    fn from(error: FsError) -> Self {
        Self::failed(error)
    }
}

impl From<ProjectError> for CliError {
    fn from(error: ProjectError) -> Self {
        let hint = match &error {
            ProjectError::NotFound(_) => Some(
                "`sweepfs init` makes the current directory a project, `-C DIR` names another"
                    .to_owned(),
            ),
            ProjectError::Incompatible { version, .. }
                if *version < crate::config::SCHEMA_VERSION =>
            {
                Some("`python -m signac migrate` brings it up to date".to_owned())
            }
            ProjectError::Incompatible { .. } => {
                Some("a newer sweepfs may understand it".to_owned())
            }
            ProjectError::Config(_) => {
                Some("it should hold the line `schema_version = 2`".to_owned())
            }
            ProjectError::Fs(_) => None,
        };
        Self {
            hint,
            ..Self::failed(error)
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self {
            hint,
            ..Self::failed(error)
        }
    }
}

impl From<WorkspaceError> for CliError {
    fn from(error: WorkspaceError) -> Self {
        let hint = match &error {
            WorkspaceError::Damaged(problem) => problem.hint.as_ref().map(ToString::to_string),
            WorkspaceError::NoSuchJob(_) => Some("`sweepfs find` lists all ids".to_owned()),
            WorkspaceError::Ambiguous {
                n_matches,
                examples,
                ..
            } => {
                let shown: Vec<_> = examples.iter().map(ToString::to_string).collect();
                let more = if *n_matches > shown.len() {
                    ", …"
                } else {
                    ""
                };
                Some(format!("give more digits: {}{more}", shown.join(", ")))
            }
            WorkspaceError::BadDocument { .. } => {
                Some("repair the file, or remove it to start with an empty document".to_owned())
            }
            _ => None,
        };
        Self {
            hint,
            ..Self::failed(error)
        }
    }
}

impl From<MountError> for CliError {
    fn from(error: MountError) -> Self {
        let hint = error.hint();
        let exit = if error.is_refusal() {
            Exit::Refused
        } else {
            Exit::Failed
        };
        Self {
            hint,
            exit,
            ..Self::failed(error)
        }
    }
}

impl From<QueueError> for CliError {
    fn from(error: QueueError) -> Self {
        Self::failed(error)
    }
}

impl From<GridError> for CliError {
    fn from(error: GridError) -> Self {
        Self::usage(error).with_hint("`sweepfs create --help` has examples")
    }
}

impl From<FilterError> for CliError {
    fn from(error: FilterError) -> Self {
        let hint = error
            .hint()
            .unwrap_or("`sweepfs help filters` shows the language");
        Self {
            snippet: error.snippet(),
            hint: Some(hint.to_owned()),
            ..Self::usage(error)
        }
    }
}

impl From<FactsError> for CliError {
    fn from(error: FactsError) -> Self {
        Self::failed(error)
    }
}

impl From<PlaceError> for CliError {
    fn from(error: PlaceError) -> Self {
        Self::refused(error).with_hint("`-p DIR` makes the links in another folder")
    }
}

impl From<SpecError> for CliError {
    fn from(error: SpecError) -> Self {
        Self::usage(error).with_hint("`sweepfs view --help` has examples")
    }
}

impl From<PathsError> for CliError {
    fn from(error: PathsError) -> Self {
        Self::failed(error)
    }
}

impl From<StatePointError> for CliError {
    fn from(error: StatePointError) -> Self {
        Self::failed(error)
    }
}

impl From<SyncError> for CliError {
    fn from(error: SyncError) -> Self {
        let (exit, hint) = match &error {
            SyncError::Refused { hint, .. } => (Exit::Refused, Some((*hint).to_owned())),
            SyncError::Locked { .. } => (Exit::Refused, Some("wait for its end".to_owned())),
            SyncError::NoProject(_) => (
                Exit::Failed,
                Some("`sweepfs init` makes a directory a project; is the disk mounted?".to_owned()),
            ),
            SyncError::Failed { hint, .. } => (Exit::Failed, hint.clone()),
            SyncError::Nested(_) => (
                Exit::Failed,
                Some("move the inner one out of the workspace".to_owned()),
            ),
            SyncError::Same(_) | SyncError::Fs(_) => (Exit::Failed, None),
        };
        Self {
            exit,
            hint,
            ..Self::failed(error)
        }
    }
}

impl From<ParseError> for CliError {
    fn from(error: ParseError) -> Self {
        Self::failed(error)
    }
}
