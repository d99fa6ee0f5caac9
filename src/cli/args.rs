//! The command line as typed: clap types and nothing else.

use crate::term::Colour;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A signac workspace as folders by parameter, always current.
#[derive(Debug, Parser)]
#[command(
    name = "sweepfs",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "Examples:
  sweepfs init
  sweepfs create angle=10:80:10 velocity=6,8,10
  sweepfs mount
  ls views/view/velocity/8/angle/40/job/
  sweepfs unmount

Exit codes: 0 done, 1 failed, 2 usage, 3 partly done, 4 refused, 130 interrupted")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options everywhere")]
pub(super) struct Global {
    /// Work on the project in DIR or above it, instead of the current directory.
    #[arg(short = 'C', long = "project", value_name = "DIR", global = true)]
    pub(super) project: Option<PathBuf>,
    /// Say only what is wrong.
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// When to colour messages.
    #[arg(long, value_enum, default_value_t = ColourChoice::Auto, value_name = "WHEN", global = true)]
    color: ColourChoice,
    /// Draw no progress bars.
    #[arg(long, global = true)]
    pub(super) no_progress: bool,
    /// Threads that read the workspace [default: 2 per core, at most 16].
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) io_threads: Option<u16>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ColourChoice {
    Auto,
    Always,
    Never,
}

impl Global {
    pub(super) fn colour(&self) -> Colour {
        match self.color {
            ColourChoice::Auto => Colour::Auto,
            ColourChoice::Always => Colour::Always,
            ColourChoice::Never => Colour::Never,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Init(InitArgs),
    Job(JobArgs),
    Statepoint(StatepointArgs),
    Document(DocumentArgs),
    Find(FindArgs),
    Check(CheckArgs),
    Create(CreateArgs),
    Mount(MountArgs),
    #[command(visible_alias = "umount")]
    Unmount(UnmountArgs),
    Mounts(MountsArgs),
    Doctor(DoctorArgs),
    #[command(hide = true)]
    Serve(ServeArgs),
    #[command(hide = true)]
    Watchdog(ServeArgs),
}

/// Make the current directory a signac project.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  mkdir rocket && cd rocket && sweepfs init")]
pub(super) struct InitArgs {}

/// Print the id of a state point, and create the job if asked to.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs job '{\"angle\": 45}'
  cd \"$(sweepfs job -cp '{\"angle\": 45}')\"")]
pub(super) struct JobArgs {
    /// The state point as JSON; from standard input if it is `-` or missing.
    pub(super) statepoint: Option<String>,
    /// Create the job unless it exists.
    #[arg(short, long)]
    pub(super) create: bool,
    /// Print the path of the job's directory instead of the id.
    #[arg(short, long)]
    pub(super) path: bool,
    /// Accepted for signac's sake; does nothing there and here.
    #[arg(short, long, hide = true)]
    pub(super) workspace: bool,
}

/// Print state points, one JSON text per line.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs statepoint 42b7
  sweepfs find angle=45 | sweepfs statepoint -")]
pub(super) struct StatepointArgs {
    /// Jobs, by the beginning of their ids; `-` reads ids from standard input [default: all].
    #[arg(value_name = "JOB_ID")]
    pub(super) jobs: Vec<String>,
}

/// Print documents, one JSON text per line; or set and delete keys.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs document 42b7
  sweepfs document 42b7 distance=5.2 fit.slope=0.1
  sweepfs document 42b7 --delete distance

A value is JSON, or else a string.")]
pub(super) struct DocumentArgs {
    /// Jobs, by the beginning of their ids (`-` reads ids from standard input), then keys to set
    /// [default: all jobs].
    #[arg(value_name = "JOB_ID|KEY=VALUE")]
    pub(super) items: Vec<String>,
    /// Delete a key; may be repeated.
    #[arg(long, value_name = "KEY")]
    pub(super) delete: Vec<String>,
}

/// Print the ids of jobs, one per line, sorted.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs find
  sweepfs find angle=45 velocity=6,8
  sweepfs find --count velocity=8

All terms must hold. 8 finds 8 and 8.0; a value is JSON, or else a string.")]
pub(super) struct FindArgs {
    /// What the state point must have; several values mean any of them.
    #[arg(value_name = "KEY=VALUE[,VALUE]", allow_negative_numbers = true)]
    pub(super) terms: Vec<String>,
    /// Print only the number of jobs.
    #[arg(long, conflicts_with = "json")]
    pub(super) count: bool,
    /// Print `{"id": …, "statepoint": …}` per line.
    #[arg(long)]
    pub(super) json: bool,
}

/// Read every job, and name those that are damaged and entries that are no jobs.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Exits with 3 if something is damaged. Nothing is changed.")]
pub(super) struct CheckArgs {
    /// Print one JSON object per finding.
    #[arg(long)]
    pub(super) json: bool,
}

/// Create the jobs of a grid of parameters; print the ids of the new ones.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs create angle=10:80:10 velocity=6,8,10
  sweepfs create 'gas=argon,\"neon, cold\"' init.seed=1:100:1

START:STOP:STEP includes STOP, and integers stay integers. Other values are JSON, or else strings.
Keys with dots make nested objects. Jobs that exist are left alone.")]
pub(super) struct CreateArgs {
    /// One axis of the grid each.
    #[arg(value_name = "KEY=VALUES", required = true)]
    pub(super) axes: Vec<String>,
    /// Only print what would be created, as JSON.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print `{"id": …, "created": …, "statepoint": …}` per job of the grid.
    #[arg(long)]
    pub(super) json: bool,
}

/// Show the project as folders: `MOUNTPOINT/view/KEY/VALUE/…/job` and `MOUNTPOINT/id/ID`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs mount
  ls views/view/velocity/8/angle
  sweepfs mount /tmp/rocket --foreground

Returns when the folders can be listed and goes on in the background. No root is needed.")]
pub(super) struct MountArgs {
    /// Directory to mount on, made if it is missing [default: `views` in the project].
    pub(super) mountpoint: Option<PathBuf>,
    /// Serve in the foreground, until Ctrl-C.
    #[arg(long)]
    pub(super) foreground: bool,
    /// Check for changes that often where no notice of them arrives, as on network file systems.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub(super) refresh: f64,
    /// Let other users look at it too.
    #[arg(long)]
    pub(super) allow_other: bool,
}

/// Take mounts away, also those whose daemon is gone.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  sweepfs unmount\n  sweepfs unmount --all")]
pub(super) struct UnmountArgs {
    /// What to unmount [default: all mounts of this project].
    #[arg(value_name = "MOUNTPOINT")]
    pub(super) mountpoints: Vec<PathBuf>,
    /// Unmount everything of yours on this host.
    #[arg(long, conflicts_with = "mountpoints")]
    pub(super) all: bool,
}

/// List mounts.
#[derive(Debug, ClapArgs)]
pub(super) struct MountsArgs {
    /// Print one JSON object per mount.
    #[arg(long)]
    pub(super) json: bool,
}

/// Check everything a mount needs.
#[derive(Debug, ClapArgs)]
pub(super) struct DoctorArgs {
    /// Print one JSON object per check.
    #[arg(long)]
    pub(super) json: bool,
}

/// Used by `mount`.
#[derive(Debug, ClapArgs)]
pub(super) struct ServeArgs {
    pub(super) options: String,
}
