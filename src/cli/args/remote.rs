//! Arguments about copies of the project elsewhere.

use clap::{Args as ClapArgs, Subcommand};

/// Manage the copies of the project on other machines.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs remote add gl me@greatlakes.arc-ts.umich.edu:sweeps/rocket
  sweepfs remote add --create gl greatlakes:/scratch/me/rocket
  sweepfs remote check
  sweepfs sync gl

What `ssh` knows of a machine, such as names, keys and jump hosts, is in `~/.ssh/config`.")]
pub(in crate::cli) struct RemoteArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: RemoteCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RemoteCommand {
    Add(RemoteAddArgs),
    List(RemoteListArgs),
    Remove(RemoteRemoveArgs),
    Check(RemoteCheckArgs),
}

/// Add one to `sweepfs.toml`.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct RemoteAddArgs {
    /// What you call it.
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
    /// Where it is: `host:path`, with a path from the home directory there, or a path here.
    #[arg(value_name = "ADDRESS")]
    pub(in crate::cli) address: String,
    /// Make the project there, unless it is one.
    #[arg(long)]
    pub(in crate::cli) create: bool,
    /// The program `rsync` there.
    #[arg(long, value_name = "PROGRAM")]
    pub(in crate::cli) rsync: Option<String>,
    /// Leave out files, by patterns such as `*.tmp`.
    #[arg(long, value_name = "GLOB")]
    pub(in crate::cli) exclude: Vec<String>,
}

/// List them: name, address, and when the last sync was.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct RemoteListArgs {
    /// Print one JSON object per line.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// Remove one from `sweepfs.toml`, and forget what was synced with it. Nothing is removed there.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct RemoteRemoveArgs {
    /// Which.
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
}

/// Connect, and say what is there.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct RemoteCheckArgs {
    /// Names or addresses [default: all].
    #[arg(value_name = "REMOTE")]
    pub(in crate::cli) remotes: Vec<String>,
}
