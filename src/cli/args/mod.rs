//! The command line as typed: clap types and nothing else.

mod local_queue;
mod queue;
mod remote;
mod sync;
mod workflow;

pub(super) use local_queue::{
    LocalQueueArgs, LocalQueueCommand, LocalShepherdArgs, LocalSubmitArgs,
};
pub(super) use queue::{
    BatchSelectionArgs, BatchState, CancelArgs, HoldArgs, QueueArgs, ReleaseArgs,
};
pub(super) use remote::{RemoteAddArgs, RemoteArgs, RemoteCommand};
pub(super) use sync::{
    LimitArgs, PreferChoice, StrategyChoice, SyncArgs, SyncCommand, SyncLogArgs, SyncServeArgs,
    SyncServeWhat, SyncUndoArgs,
};
pub(super) use workflow::{
    BatchArgs, ClusterArgs, ClusterCommand, ExecArgs, ExplainArgs, LogArgs, NextArgs, Order,
    RunArgs, StatusArgs, SubmitArgs, WorkflowArgs, WorkflowCommand, WorkflowForgetArgs,
    WorkflowGraphArgs, WorkflowImportArgs,
};

use crate::catalog::SchemaStyle;
use crate::cli::duration::parse_duration;
use crate::cli::selection::SelectionArgs;
use crate::config::LeafStyle;
use crate::term::Colour;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// A signac workspace as folders by parameter, always current.
#[derive(Debug, Parser)]
#[command(
    name = "sweepfs",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(disable_help_subcommand = true)]
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
    /// Threads that read the workspace [default: 2 per core, but 8 to 16].
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
    Schema(SchemaArgs),
    Diff(DiffArgs),
    Table(TableArgs),
    Check(CheckArgs),
    UpdateCache(UpdateCacheArgs),
    Create(CreateArgs),
    Mount(MountArgs),
    #[command(visible_alias = "umount")]
    Unmount(UnmountArgs),
    Mounts(MountsArgs),
    View(ViewArgs),
    Doctor(DoctorArgs),
    Run(RunArgs),
    Exec(ExecArgs),
    Submit(SubmitArgs),
    Queue(QueueArgs),
    Cancel(CancelArgs),
    Hold(HoldArgs),
    Release(ReleaseArgs),
    Cluster(ClusterArgs),
    Sync(Box<SyncArgs>),
    Remote(RemoteArgs),
    Workflow(WorkflowArgs),
    Status(StatusArgs),
    Next(NextArgs),
    Explain(ExplainArgs),
    Log(LogArgs),
    Help(HelpArgs),
    #[command(hide = true)]
    Serve(ServeArgs),
    #[command(hide = true)]
    Watchdog(ServeArgs),
    #[command(hide = true)]
    Batch(BatchArgs),
    #[command(hide = true)]
    LocalQueue(LocalQueueArgs),
    #[command(hide = true)]
    SyncServe(SyncServeArgs),
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
  sweepfs find angle=45 | sweepfs statepoint -
  sweepfs statepoint -f 'angle>=45'")]
pub(super) struct StatepointArgs {
    /// Jobs, by the beginning of their ids; `-` reads ids from standard input [default: all].
    #[arg(value_name = "JOB_ID")]
    pub(super) jobs: Vec<String>,
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
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
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
}

/// Print the ids of jobs, one per line, sorted.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs find
  sweepfs find angle=45 velocity=6,8
  sweepfs find 'angle>=45 and not doc.failed' --sp
  sweepfs find angle 45 velocity 8
  sweepfs find '{\"velocity\": {\"$gt\": 6}}'
  sweepfs find --count velocity=8
  sweepfs find --sort doc.distance --reverse --limit 3

All arguments must hold. `sweepfs help filters` shows the language; filters of signac work too.")]
pub(super) struct FindArgs {
    /// What the jobs must satisfy.
    #[arg(value_name = "FILTER")]
    pub(super) terms: Vec<String>,
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    /// Show the state points, or some keys of them.
    #[arg(long, value_name = "KEY", num_args = 0..)]
    pub(super) sp: Option<Vec<String>>,
    /// Show the documents, or some keys of them.
    #[arg(long, value_name = "KEY", num_args = 0..)]
    pub(super) doc: Option<Vec<String>>,
    /// Print only the number of jobs.
    #[arg(long, conflicts_with_all = ["json", "sp", "doc"])]
    pub(super) count: bool,
    /// Print `{"id": …, "statepoint": …}` per line, with `document` if `--doc` is given.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) order: OrderArgs,
}

/// In which order, and how many.
#[derive(Debug, ClapArgs)]
pub(super) struct OrderArgs {
    /// Sort by the value at a key, jobs without it last [default: by id].
    #[arg(long, value_name = "KEY")]
    pub(super) sort: Option<String>,
    /// Sort downwards.
    #[arg(long)]
    pub(super) reverse: bool,
    /// Only the first N.
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) limit: Option<usize>,
}

/// Print every key of the state points with its types, values and their number.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs schema
  sweepfs schema --exclude-const -f velocity=8
  sweepfs schema --doc --json")]
pub(super) struct SchemaArgs {
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    /// Leave out keys that have the same value in all jobs.
    #[arg(short = 'x', long)]
    pub(super) exclude_const: bool,
    /// Show the keys of the documents too, as `doc.KEY`.
    #[arg(long)]
    pub(super) doc: bool,
    /// Round numbers to so many decimals.
    #[arg(short = 'p', long, value_name = "DECIMALS")]
    pub(super) precision: Option<u8>,
    /// Show at most so many values of a type.
    #[arg(short = 'r', long = "max-num-range", value_name = "N", default_value_t = SchemaStyle::MAX_VALUES, value_parser = clap::value_parser!(u32).range(3..))]
    pub(super) max_values: u32,
    /// Print one JSON object per key.
    #[arg(long)]
    pub(super) json: bool,
}

/// Print for each job what is not the same in all of them.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs diff 42b7 9f8a
  sweepfs diff -f velocity=8")]
pub(super) struct DiffArgs {
    /// Jobs, by the beginning of their ids; `-` reads ids from standard input [default: all].
    #[arg(value_name = "JOB_ID")]
    pub(super) jobs: Vec<String>,
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    /// Print `{"id": …, "difference": …}` per line.
    #[arg(long)]
    pub(super) json: bool,
}

/// Print a row per job with the values of keys, or statistics of groups of jobs.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs table
  sweepfs table angle velocity doc.distance --sort doc.distance
  sweepfs table --format csv > jobs.csv
  sweepfs table doc.distance --stats --by velocity -f 'angle>=45'

A key of nested parameters stands for all below it: `init` for `init.seed`. Strings are shown as
they are, everything else as JSON; a job without the key has an empty cell.")]
pub(super) struct TableArgs {
    /// Keys of the state point, or with `doc.` of the document [default: all that have a value].
    #[arg(value_name = "KEY")]
    pub(super) keys: Vec<String>,
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    /// Leave out keys that have the same value in all jobs.
    #[arg(short = 'x', long)]
    pub(super) exclude_const: bool,
    #[arg(long, value_enum, default_value_t = TableFormat::Text)]
    pub(super) format: TableFormat,
    /// The same as `--format json`: one object per row.
    #[arg(long, conflicts_with = "format")]
    pub(super) json: bool,
    /// Leave out the column of ids.
    #[arg(long)]
    pub(super) no_id: bool,
    /// Print minimum, mean and maximum of the numbers at each key, a row per group.
    #[arg(long)]
    pub(super) stats: bool,
    /// Make a group of the jobs that have the same value at a key; may be repeated.
    #[arg(long, value_name = "KEY", requires = "stats")]
    pub(super) by: Vec<String>,
    #[command(flatten)]
    pub(super) order: OrderArgs,
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TableFormat {
    /// Aligned columns.
    Text,
    /// Comma-separated values, with a header.
    Csv,
    /// Tab-separated values, with a header.
    Tsv,
    /// One JSON object per row.
    Json,
    /// A Markdown table.
    Markdown,
}

/// Read every job, and name those that are damaged and entries that are no jobs.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Exits with 3 if something is damaged. Without `--repair`, nothing is changed.

`--repair` restores state points from signac's cache or from what an interrupted change left
behind, gives a directory the id of its state point, and removes what holds nothing. What it
replaces is kept beside it; what cannot be mended is named."
)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    /// Print one JSON object per finding.
    #[arg(long)]
    pub(super) json: bool,
    /// Mend what can be mended.
    #[arg(long)]
    pub(super) repair: bool,
    /// Only print what `--repair` would do.
    #[arg(long, requires = "repair")]
    pub(super) dry_run: bool,
    /// Leave alone what changed less than so long ago: somebody may be writing it.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        requires = "repair"
    )]
    pub(super) min_age: u32,
}

/// Write signac's cache of state points, which spares signac reading every job.
#[derive(Debug, ClapArgs)]
pub(super) struct UpdateCacheArgs {}

/// Show the help of a command, or a topic.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Topics: filters")]
pub(super) struct HelpArgs {
    /// A command, or a topic.
    #[arg(value_name = "COMMAND|TOPIC")]
    pub(super) topic: Option<String>,
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

/// Show the project as folders: by parameter, filter, label, status, and by views of your own.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs mount
  ls views/view/velocity/8/angle
  ls 'views/by/angle>=45/angle'
  cat views/view/velocity/8/.table.tsv
  sweepfs mount /tmp/rocket --foreground
  sweepfs mount /tmp/rocket --tree view --leaf dir
  sweepfs mount --idle-unmount 8h

The folders are view/KEY/VALUE/.../job, by/ with any parameter first, status/OPERATION/STATE/,
label/LABEL/, id/ID, and the named views of sweepfs.toml. In all but id a filter is a folder, too.
Each folder has the files .jobs, .count, .table.tsv, .table.csv and .schema, which are not listed.

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
    /// Unmount when nobody has used it for that long: `90s`, `30m`, `8h`, `2d`.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) idle_unmount: Option<Duration>,
    /// Where the background process logs [default: a file that `sweepfs mounts` shows].
    #[arg(long, value_name = "FILE", conflicts_with = "foreground")]
    pub(super) log: Option<PathBuf>,
    /// Let other users look at it too.
    #[arg(long)]
    pub(super) allow_other: bool,
    /// Show one tree only, in place of the folder of all: `view`, `by`, `status`, `label`, `id`, or
    /// a named view.
    #[arg(long, value_name = "NAME")]
    pub(super) tree: Option<String>,
    /// Leave out the tree `by`, in which every job is found in many ways.
    #[arg(long)]
    pub(super) no_by: bool,
    /// What the end of a path is.
    #[arg(long, value_enum, default_value_t = LeafChoice::Link, value_name = "STYLE")]
    pub(super) leaf: LeafChoice,
    /// Give folders of one job its parameters, results and status as extended attributes.
    #[arg(long)]
    pub(super) xattr: bool,
}

/// What the end of a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LeafChoice {
    /// A link `job` to the job's folder.
    Link,
    /// The last folder itself is the link, where it would hold nothing but `job`.
    Collapsed,
    /// A folder `job` with the contents of the job's, read-only.
    Dir,
}

impl LeafChoice {
    pub(super) fn style(self) -> LeafStyle {
        match self {
            Self::Link => LeafStyle::Link,
            Self::Collapsed => LeafStyle::Collapsed,
            Self::Dir => LeafStyle::Dir,
        }
    }
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

/// Make the same folders as symbolic links on disk, for machines without FUSE; or update them.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs view
  sweepfs view 'v={velocity}/{angle:03d}' -p by-velocity
  sweepfs view -p /tmp/fast -f 'velocity>=8'
  sweepfs view --dry-run
  sweepfs view --check || sweepfs view

Only what has changed is changed. Links that do not lead to jobs of this project and everything
that is no link are left alone.")]
pub(super) struct ViewArgs {
    /// The path of each job, a format string [default: `{{auto}}`, or the named view `default`].
    pub(super) path: Option<String>,
    /// Directory to make the links in.
    #[arg(short, long, value_name = "DIR", num_args = 0..=1, default_value = "view", default_missing_value = "view")]
    pub(super) prefix: PathBuf,
    /// Make a named view: `[view.NAME]` in `sweepfs.toml`.
    #[arg(long, value_name = "NAME", conflicts_with = "path")]
    pub(super) named: Option<String>,
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    /// What the end of a path is [default: as the named view says, or else link].
    #[arg(long, value_enum, value_name = "STYLE")]
    pub(super) leaf: Option<ViewLeaf>,
    /// Only print what would be done, a change a line.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Only tell whether the links are current; exit with 1 if they are not.
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) check: bool,
}

/// What the end of a path is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ViewLeaf {
    /// A link `job` to the job's folder.
    Link,
    /// The last folder itself is the link, where it would hold nothing but `job`.
    Collapsed,
    #[value(hide = true)]
    Dir,
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
