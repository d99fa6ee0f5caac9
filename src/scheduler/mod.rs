//! What a batch system offers, and its backends. They know scripts and batch ids, not jobs.

mod command;
mod custom;
mod flux;
pub mod local;
mod lsf;
mod pbs;
mod script;
mod sge;
mod slurm;

pub use custom::{Custom, CustomCommands};
pub use flux::Flux;
pub use local::Local;
pub use lsf::Lsf;
pub use pbs::{Dialect, Pbs};
pub use script::script;
pub use sge::Sge;
pub use slurm::Slurm;

use crate::template::Scope;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// What each element of an array needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Needs {
    /// Processes.
    pub processes: u32,
    /// Cores of each.
    pub threads: u32,
    /// GPUs of all together.
    pub gpus: u32,
    /// Memory of all together; `None` is what the cluster gives.
    pub memory_bytes: Option<u64>,
    /// Time; `None` is what the cluster gives.
    pub walltime_s: Option<u64>,
}

impl Needs {
    /// Returns the cores of all processes together.
    pub fn cores(&self) -> u32 {
        self.processes.saturating_mul(self.threads)
    }
}

/// An array of batch jobs that is to be submitted.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Its name, which no other has: ASCII letters, digits, `.`, `_` and `-`.
    pub name: &'a str,
    /// The number of its elements, which are counted from 0.
    pub n_elements: u32,
    /// So many of them run at a time.
    pub at_once: Option<u32>,
    /// What each element needs.
    pub needs: Needs,
    /// Who pays.
    pub account: Option<&'a str>,
    /// Where it runs: a partition, or a queue.
    pub partition: Option<&'a str>,
    /// On how many nodes each element runs; `None` is as the scheduler likes.
    pub nodes: Option<u32>,
    /// More options of the scheduler, as they stand in its scripts.
    pub options: &'a [String],
    /// The arrays that must have ended, well or not, before it begins; by their ids.
    pub after: &'a [String],
    /// Whether it waits until it is released.
    pub is_held: bool,
    /// Lines for the shell before all else.
    pub setup: &'a str,
    /// The program that an element runs: with `-C`, the project, `batch`, and three words for the
    /// name, the element's number and the id of the array.
    pub program: &'a str,
    /// The directory of the project.
    pub project: &'a str,
}

/// What a scheduler calls an array, and its elements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayId {
    /// The array.
    pub id: String,
    /// An element is called by this, then by its number counted from `first`, then by `suffix`.
    pub prefix: String,
    /// The number of the first element; `None` if there is but one, which has no number.
    pub first: Option<u32>,
    /// What stands behind the number.
    pub suffix: String,
}

impl ArrayId {
    /// Elements are called `PREFIX` and a number, which counts from `first`.
    pub fn new(id: &str, prefix: impl Into<String>, first: u32) -> Self {
        Self {
            id: id.to_owned(),
            prefix: prefix.into(),
            first: Some(first),
            suffix: String::new(),
        }
    }

    /// Has something behind the number.
    #[must_use]
    pub fn with_suffix(self, suffix: impl Into<String>) -> Self {
        Self {
            suffix: suffix.into(),
            ..self
        }
    }

    /// The only element is called as the array is.
    pub fn single(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            prefix: id.to_owned(),
            first: None,
            suffix: String::new(),
        }
    }

    /// Returns the id of an element, which counts from 0.
    pub fn element(&self, element: u32) -> String {
        match self.first {
            Some(first) => format!("{}{}{}", self.prefix, first + element, self.suffix),
            None => self.prefix.clone(),
        }
    }
}

/// An array of batch jobs that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// What the scheduler calls it.
    pub id: ArrayId,
    /// Its name.
    pub name: String,
    /// The elements that matter.
    pub elements: Vec<u32>,
}

impl Array {
    /// Returns the ids of its elements.
    pub fn element_ids(&self) -> impl Iterator<Item = String> {
        self.elements
            .iter()
            .map(|element| self.id.element(*element))
    }

    /// Tells whether nothing is known of one of its elements.
    fn is_any_missing(&self, states: &States) -> bool {
        self.element_ids().any(|id| !states.contains_key(&id))
    }
}

/// How a batch job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// With status 0.
    Completed,
    /// With another one.
    Failed,
    /// It ran longer than it may.
    TimedOut,
    /// It used more memory than it may.
    OutOfMemory,
    /// Somebody cancelled it.
    Cancelled,
    /// Its machine failed, or was taken from it.
    NodeFailed,
}

/// What a scheduler says of a batch job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// It waits, for this reason, which may be empty.
    Queued(String),
    /// It waits until it is released.
    Held,
    /// It runs, or is coming to an end in this way.
    Active(Option<Verdict>),
    /// It has ended, in the scheduler's words.
    Ended(Verdict, String),
    /// Nothing is known of it any more.
    Gone,
}

/// What a scheduler says, by the ids of elements. Of those that are missing it says nothing, not
/// even that they are gone.
pub type States = HashMap<String, Seen>;

/// Why a scheduler gives no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble(pub String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

/// A batch system.
pub trait Scheduler: fmt::Debug + Send + Sync {
    /// Returns its name.
    fn name(&self) -> &'static str;

    /// Returns how many elements an array may have.
    fn elements_max(&self) -> u32;

    /// Returns the template of its scripts, with the blocks `header`, `setup` and `body`.
    fn template(&self) -> &str;

    /// Adds what only its own template knows of an order to what all templates know.
    fn words(&self, order: &Order<'_>, common: Scope) -> Scope;

    /// Returns the command that submits a script. What it prints goes to a directory, a file per
    /// element.
    fn command(&self, script: &Path, dir: &Path, logs: &Path) -> Vec<OsString>;

    /// Runs that command, and returns the id of the array.
    ///
    /// # Errors
    ///
    /// Fails if it does not say an id; whether the array was submitted then tells [`Self::find`].
    fn submit(&self, command: &[OsString]) -> Result<String, Trouble>;

    /// Returns what the elements of an array are called. It asks nobody.
    fn array_id(&self, id: &str) -> ArrayId;

    /// Returns the id of the array of that name, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if the scheduler gives no answer.
    fn find(&self, name: &str) -> Result<Option<String>, Trouble>;

    /// Says how far the elements of arrays are, at the cost of one question to the queue, and one to
    /// the accounting for those that have left it. With the answers comes what went wrong.
    fn poll(&self, arrays: &[Array]) -> (States, Option<Trouble>);

    /// Tells whether [`Self::poll`] asks nobody who serves others, so that there is no need to wait
    /// between two questions.
    fn is_ours(&self) -> bool {
        false
    }

    /// Returns how long before its walltime is over a batch job may be told so by a signal.
    fn notice(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns how long the accounting may not know yet of a batch job that has left the queue. One
    /// that is gone for a shorter time may still turn out to have ended in some way.
    fn accounting_lag(&self) -> Duration {
        Duration::ZERO
    }

    /// Ends batch jobs, by the ids of elements. Those that have ended are no error.
    ///
    /// # Errors
    ///
    /// Fails if the scheduler does not do it.
    fn cancel(&self, ids: &[String]) -> Result<(), Trouble>;

    /// Lets batch jobs that wait go on waiting until they are released, by the ids of elements.
    /// Those that have begun or ended are no error.
    ///
    /// # Errors
    ///
    /// Fails if the scheduler does not do it.
    fn hold(&self, ids: &[String]) -> Result<(), Trouble>;

    /// Lets those that are held begin.
    ///
    /// # Errors
    ///
    /// Fails if the scheduler does not do it.
    fn release(&self, ids: &[String]) -> Result<(), Trouble>;
}

#[cfg(test)]
pub(in crate::scheduler) mod fixtures {
    use super::*;

    /// Returns an array of the first `n` elements.
    pub(in crate::scheduler) fn array(
        scheduler: &dyn Scheduler,
        id: &str,
        name: &str,
        n: u32,
    ) -> Array {
        Array {
            id: scheduler.array_id(id),
            name: name.to_owned(),
            elements: (0..n).collect(),
        }
    }

    /// Returns an order of much that can be asked for, some of which no shell may take for
    /// its own.
    pub(in crate::scheduler) fn order() -> Order<'static> {
        Order {
            name: "fly-1",
            n_elements: 200,
            at_once: Some(5),
            needs: Needs {
                processes: 4,
                threads: 2,
                gpus: 1,
                memory_bytes: Some((4 << 30) + 1),
                walltime_s: Some(129_601),
            },
            account: Some("o'neill; rm"),
            partition: Some("gpu"),
            nodes: None,
            options: &[],
            after: &[],
            is_held: true,
            setup: "module load gcc",
            program: "/opt/my tools/sweepfs",
            project: "/data/a b'c",
        }
    }
}
