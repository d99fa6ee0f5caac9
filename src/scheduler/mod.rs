//! What a batch system offers, and its backends. They know scripts and batch ids, not jobs.

mod slurm;

pub use slurm::Slurm;

use crate::template::TemplateError;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

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
    /// Where it runs.
    pub partition: Option<&'a str>,
    /// The program that an element runs: with `-C`, the project, `batch`, and three words for the
    /// name, the element's number and the id of the array.
    pub program: &'a str,
    /// The directory of the project.
    pub project: &'a str,
}

/// An array of batch jobs that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// What the scheduler calls it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The elements that matter.
    pub elements: Vec<u32>,
}

/// Returns the id of an element.
pub fn element_id(array: &str, element: u32) -> String {
    format!("{array}_{element}")
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
    /// It waits, for this reason.
    Queued(String),
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
pub trait Scheduler: fmt::Debug + Sync {
    /// Returns its name.
    fn name(&self) -> &'static str;

    /// Returns how many elements an array may have.
    fn elements_max(&self) -> u32;

    /// Writes the script of an array.
    ///
    /// # Errors
    ///
    /// Fails if something in the order cannot stand in it.
    fn script(&self, order: &Order<'_>) -> Result<String, TemplateError>;

    /// Returns the command that submits a script. What it prints goes to a directory, a file per
    /// element.
    fn command(&self, script: &Path, dir: &Path, logs: &Path) -> Vec<OsString>;

    /// Runs that command, and returns the id of the array.
    ///
    /// # Errors
    ///
    /// Fails if it does not say an id; whether the array was submitted then tells [`Self::find`].
    fn submit(&self, command: &[OsString]) -> Result<String, Trouble>;

    /// Returns the id of the array of that name, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if the scheduler gives no answer.
    fn find(&self, name: &str) -> Result<Option<String>, Trouble>;

    /// Says how far the elements of arrays are, at the cost of one question to the queue, and one to
    /// the accounting for those that have left it. With the answers comes what went wrong.
    fn poll(&self, arrays: &[Array]) -> (States, Option<Trouble>);

    /// Ends batch jobs, by the ids of elements. Those that have ended are no error.
    ///
    /// # Errors
    ///
    /// Fails if the scheduler does not do it.
    fn cancel(&self, ids: &[String]) -> Result<(), Trouble>;
}
