//! Arguments about the queue of this machine.

use clap::{Args as ClapArgs, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// The queue of this machine, to which `sweepfs submit --cluster local` submits.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct LocalQueueArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: LocalQueueCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum LocalQueueCommand {
    Submit(LocalSubmitArgs),
    #[command(hide = true)]
    Work(LocalWorkArgs),
    #[command(hide = true)]
    Shepherd(LocalShepherdArgs),
}

/// Submit a script, and print the id of the array.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct LocalSubmitArgs {
    /// A script for bash; lines at its head that begin with `#SWEEPFS --` say what it needs.
    pub(in crate::cli) script: PathBuf,
    /// Where it runs [default: the current directory].
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) chdir: Option<PathBuf>,
    /// The file that an element prints to; `%a` is its number, `%A` that of the array.
    #[arg(long, value_name = "FILE", default_value = "local-%A_%a.log")]
    pub(in crate::cli) output: PathBuf,
    /// So many cores may be used by all that runs [default: all].
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit_cores: Option<u32>,
    /// So many bytes of memory [default: all].
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit_memory: Option<u64>,
    /// So many GPUs [default: those of NVIDIA's driver].
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit_gpus: Option<u32>,
}

/// Begin batch jobs as long as there are any.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct LocalWorkArgs {
    /// The directory of the queue.
    pub(in crate::cli) queue: PathBuf,
}

/// Run a batch job.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct LocalShepherdArgs {
    /// The directory of the queue.
    pub(in crate::cli) queue: PathBuf,
    /// The directory of the array in it.
    pub(in crate::cli) array: OsString,
    /// The element.
    pub(in crate::cli) element: u32,
    /// The GPUs that it has.
    pub(in crate::cli) gpus: String,
}
