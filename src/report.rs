//! The words in which engines say what is going on.
//!
//! An engine never prints. It returns [`Problem`]s as data and tells an [`Observer`] of progress;
//! `term` decides what the eye sees.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;

/// Something that is wrong with one entry and stops nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Problem {
    /// The entry's name for people: a job id, or a file name.
    pub subject: String,
    /// The file or directory that is wrong.
    pub path: PathBuf,
    /// What is wrong, a lower-case fragment.
    pub reason: String,
    /// What the user can do about it.
    pub hint: Option<Cow<'static, str>>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)
    }
}

/// Returns an error's text and that of its causes, which never repeat one another.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Shows a text so that nothing in it can act on a terminal: names of files and keys may contain
/// anything.
pub fn harmless(text: impl fmt::Display) -> String {
    let mut shown = String::new();
    for c in text.to_string().chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// What an engine says while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// `done` of `total` items are finished; `what` is a phrase such as `reading state points`.
    Progress {
        /// What is being done.
        what: &'a str,
        /// Finished items.
        done: usize,
        /// All items.
        total: usize,
    },
    /// The work that progress was reported on has ended.
    Finished,
}

/// Listens to an engine.
pub trait Observer: Sync {
    /// Takes one event; called from any thread, must be cheap.
    fn event(&self, event: Event<'_>);
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event<'_>) {}
}
