//! Commands about the workflow, and about clusters.

use crate::cli::duration::{parse_duration, parse_memory};
use crate::cli::operations::OperationArgs;
use crate::cli::selection::SelectionArgs;
use crate::workflow::FlowState;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Execute what is eligible, until nothing is.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Each operation is executed at most once on each job, and as often again after a failure
as its `retries` say. Several runs at once share the work. The first Ctrl-C ends what runs and
records it, the second kills, the third ends the run itself.

Examples:
  sweepfs run
  sweepfs run -p 8 -o simulate -f 'angle>=45'
  sweepfs run --retry --timeout 2h
  sweepfs run --dry-run -n 1"
)]
pub(in crate::cli) struct RunArgs {
    #[command(flatten)]
    pub(in crate::cli) operations: OperationArgs,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    /// Use N cores at a time, or all of this machine; an execution uses its processes times its
    /// threads [default: 1].
    #[arg(short, long, value_name = "N", num_args = 0..=1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) parallel: Option<Option<u32>>,
    /// Begin at most N executions.
    #[arg(short = 'n', long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
    /// In which order.
    #[arg(long, value_enum, default_value_t = Order::Job, value_name = "ORDER")]
    pub(in crate::cli) order: Order,
    /// End an execution that takes longer, such as `90s` or `2h`; it has failed then.
    #[arg(short, long, value_name = "DURATION", value_parser = parse_duration)]
    pub(in crate::cli) timeout: Option<Duration>,
    /// Take what failed again.
    #[arg(long)]
    pub(in crate::cli) retry: bool,
    /// Begin nothing more after a failure.
    #[arg(long, conflicts_with = "keep_going")]
    pub(in crate::cli) fail_fast: bool,
    /// Go on after a failure, which is what happens anyway.
    #[arg(long)]
    pub(in crate::cli) keep_going: bool,
    /// Print what would be executed, and change nothing.
    #[arg(long, alias = "pretend")]
    pub(in crate::cli) dry_run: bool,
}

/// Begin, check, draw and import the workflow in `sweepfs.toml`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs workflow init
  sweepfs workflow check
  sweepfs workflow graph --dot | dot -T svg > workflow.svg
  sweepfs workflow import project.py --output sweepfs.toml")]
pub(in crate::cli) struct WorkflowArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: WorkflowCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum WorkflowCommand {
    /// Write a `sweepfs.toml` to begin with.
    Init,
    /// Look for mistakes: in the file, and in commands and resources as some jobs would have them.
    Check,
    Graph(WorkflowGraphArgs),
    Import(WorkflowImportArgs),
    Forget(WorkflowForgetArgs),
}

/// Forget the last executions of an operation, as if there had been none.
///
/// For an execution that is recorded as running on a machine that no longer exists, or for one
/// without postconditions that is to be repeated. What runs on this machine is not forgotten.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs workflow forget simulate 42b7b4f2
  sweepfs workflow forget simulate -f 'angle>=45'")]
pub(in crate::cli) struct WorkflowForgetArgs {
    /// The operation.
    #[arg(value_name = "OPERATION")]
    pub(in crate::cli) operation: String,
    /// Jobs, or aggregates, by the beginning of their ids; all if none is given.
    #[arg(value_name = "ID")]
    pub(in crate::cli) jobs: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
}

/// Draw which operation comes after which.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct WorkflowGraphArgs {
    /// Write it in the language of Graphviz.
    #[arg(long)]
    pub(in crate::cli) dot: bool,
}

/// Make a `sweepfs.toml` of a workflow of signac-flow or row.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "What has no counterpart is named in comments, and on standard error.

Examples:
  sweepfs workflow import project.py
  sweepfs workflow import project.py --python ~/venv/bin/python --output sweepfs.toml
  sweepfs workflow import workflow.toml"
)]
pub(in crate::cli) struct WorkflowImportArgs {
    /// The project of signac-flow, a `.py` file, or row's `workflow.toml`.
    pub(in crate::cli) file: PathBuf,
    /// Write to a file, which must not exist [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// The Python that has signac-flow; imported commands call it, too.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    pub(in crate::cli) python: String,
}

/// In which order executions are begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Order {
    /// One job after the other, all its operations together.
    Job,
    /// One operation after the other.
    Operation,
    /// Any.
    Random,
}

/// Execute an operation on jobs, whatever its conditions say, and print its output.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "What is running already is left alone. The execution is recorded like any other.

Examples:
  sweepfs exec simulate 42b7b4f2
  sweepfs exec average"
)]
pub(in crate::cli) struct ExecArgs {
    /// The operation.
    #[arg(value_name = "OPERATION")]
    pub(in crate::cli) operation: String,
    /// Jobs, or aggregates, by the beginning of their ids; all if none is given.
    #[arg(value_name = "ID")]
    pub(in crate::cli) jobs: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    /// End an execution that takes longer, such as `90s` or `2h`; it has failed then.
    #[arg(short, long, value_name = "DURATION", value_parser = parse_duration)]
    pub(in crate::cli) timeout: Option<Duration>,
    /// Print what would be executed, and change nothing.
    #[arg(long, alias = "pretend")]
    pub(in crate::cli) dry_run: bool,
}

/// Send what is eligible to a cluster.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Executions of one operation that need the same go as one array of batch jobs. Each records itself
when it begins and ends; `status`, `queue` and `explain` show how far they are. What is queued or
running is not sent again, whoever asks.

Examples:
  sweepfs submit --dry-run
  sweepfs submit -o simulate -f 'angle>=45' --partition long --account physics
  sweepfs submit --retry --yes
  sweepfs submit --bundle 20 -o prepare
  sweepfs submit --bundle 4 --parallel -o simulate
  sweepfs submit --chain
  sweepfs submit --pilot 2 --walltime 8h --cores 16 -o simulate"
)]
pub(in crate::cli) struct SubmitArgs {
    #[command(flatten)]
    pub(in crate::cli) operations: OperationArgs,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    /// Send at most N executions.
    #[arg(short = 'n', long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
    /// The cluster [default: the one that is here].
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) cluster: Option<String>,
    /// The account that pays.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) account: Option<String>,
    /// The partition in which they run.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) partition: Option<String>,
    /// Let at most N of an array run at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) at_once: Option<u32>,
    /// Have them wait until `sweepfs release`.
    #[arg(long)]
    pub(in crate::cli) hold: bool,
    /// Put up to N executions of an operation into a batch job, one after the other.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(in crate::cli) bundle: Option<u32>,
    /// Begin all executions of a batch job at once.
    #[arg(long, requires = "bundle")]
    pub(in crate::cli) parallel: bool,
    /// Send also what can be executed when all else that is sent has ended.
    #[arg(long)]
    pub(in crate::cli) chain: bool,
    #[command(flatten)]
    pub(in crate::cli) pilot: PilotArgs,
    /// Take what failed again.
    #[arg(long)]
    pub(in crate::cli) retry: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
    /// Print the commands and scripts, and send nothing.
    #[arg(long, alias = "pretend")]
    pub(in crate::cli) dry_run: bool,
}

/// Show the clusters that are known.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Descriptions are in this program, in `~/.config/sweepfs/clusters.toml` and in the project's
`sweepfs.toml`, each read over the ones before. `--cluster` chooses one, or else the variable
SWEEPFS_CLUSTER, the name of this host, the environment, and at last the scheduler that is here.

Examples:
  sweepfs cluster list
  sweepfs cluster show
  sweepfs cluster show greatlakes >> ~/.config/sweepfs/clusters.toml"
)]
pub(in crate::cli) struct ClusterArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ClusterCommand {
    /// List them: a star for the one that is chosen, the name, the scheduler, and where it is
    /// described.
    List,
    Show(ClusterShowArgs),
}

/// Print a description, and why it was chosen.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct ClusterShowArgs {
    /// The cluster [default: the one that is here].
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
}

/// Pilots: batch jobs that execute whatever can be executed.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Pilots")]
pub(in crate::cli) struct PilotArgs {
    /// Send N batch jobs that execute whatever is eligible until nothing is, or their time is over.
    #[arg(long, value_name = "N", conflicts_with_all = ["bundle", "chain", "limit", "retry"],
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) pilot: Option<u32>,
    /// The time of each, such as `90m` or `8h`.
    #[arg(long, requires = "pilot", value_name = "DURATION", value_parser = parse_duration)]
    pub(in crate::cli) walltime: Option<Duration>,
    /// The cores of each.
    #[arg(long, requires = "pilot", value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) cores: u32,
    /// The memory of each, such as `16G`.
    #[arg(long, requires = "pilot", value_name = "SIZE", value_parser = parse_memory)]
    pub(in crate::cli) memory: Option<u64>,
    /// The GPUs of each.
    #[arg(long, requires = "pilot", value_name = "N", default_value_t = 0)]
    pub(in crate::cli) gpus: u32,
}

/// Used by batch jobs.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct BatchArgs {
    /// The submission.
    pub(in crate::cli) submission: String,
    /// The element of its array.
    pub(in crate::cli) element: u32,
    /// What the scheduler calls the array.
    pub(in crate::cli) array: String,
}

/// Show how far the operations are with the jobs.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs status
  sweepfs status --details --only failed,unknown
  sweepfs status -o simulate -p angle doc.distance -f 'velocity>=8'
  sweepfs status --watch 5

States: completed, running, queued, eligible (can be run), failed, waiting (for its preconditions),
unknown (something that decides cannot be read; the exit code is 3 then).")]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    pub(in crate::cli) operations: OperationArgs,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    /// Show a row per job or aggregate, too.
    #[arg(short, long)]
    pub(in crate::cli) details: bool,
    /// Show these parameters of each job in place of its path, or all that vary; with `doc.`
    /// results.
    #[arg(short, long, value_name = "KEY", num_args = 0..)]
    pub(in crate::cli) parameters: Option<Vec<String>>,
    /// Only what is in one of these states.
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub(in crate::cli) only: Vec<FlowState>,
    /// Show at most N rows of a table of details.
    #[arg(short = 'n', long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
    /// Show it again every so many seconds, until Ctrl-C [default: 2].
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = parse_pause)]
    pub(in crate::cli) watch: Option<f64>,
    /// Print one JSON object.
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Print Markdown tables.
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) markdown: bool,
    /// Ask another copy of the project instead, by its name or address, and sync nothing.
    #[arg(long, value_name = "REMOTE", conflicts_with_all = ["watch", "only", "limit", "parameters"])]
    pub(in crate::cli) remote: Option<String>,
}

impl StatusArgs {
    pub(in crate::cli) fn has_details(&self) -> bool {
        self.details || self.parameters.is_some()
    }
}

fn parse_pause(text: &str) -> Result<f64, String> {
    let pause = text.parse::<f64>().ok();
    let pause = pause.filter(|seconds| (0.1..=86_400.0).contains(seconds));
    pause.ok_or_else(|| "it must be between 0.1 and 86400 seconds".to_owned())
}

/// Print what an operation can be executed on: ids, one per line.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs next simulate
  sweepfs next simulate -n 1
  sweepfs next average --jobs")]
pub(in crate::cli) struct NextArgs {
    /// The operation.
    #[arg(value_name = "OPERATION")]
    pub(in crate::cli) operation: String,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    /// Only the first N.
    #[arg(short = 'n', long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
    /// Print the ids of the jobs of an aggregate, on one line, instead of its own.
    #[arg(long)]
    pub(in crate::cli) jobs: bool,
}

/// Say why an operation is as far as it is with a job: its conditions, and the last execution.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs explain simulate 42b7
  sweepfs explain average agg-5020 --json")]
pub(in crate::cli) struct ExplainArgs {
    /// The operation.
    #[arg(value_name = "OPERATION")]
    pub(in crate::cli) operation: String,
    /// The job, or the aggregate that it is in, by the beginning of its id.
    #[arg(value_name = "JOB_ID|AGGREGATE_ID")]
    pub(in crate::cli) target: String,
    /// Print one JSON object.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// Print what the last execution of an operation printed.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs log simulate 42b7
  sweepfs log simulate 42b7 --follow -n 20")]
pub(in crate::cli) struct LogArgs {
    /// The operation.
    #[arg(value_name = "OPERATION")]
    pub(in crate::cli) operation: String,
    /// The job, or the aggregate that it is in, by the beginning of its id.
    #[arg(value_name = "JOB_ID|AGGREGATE_ID")]
    pub(in crate::cli) target: String,
    /// Go on until the execution ends.
    #[arg(short, long)]
    pub(in crate::cli) follow: bool,
    /// Only the last LINES lines.
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(in crate::cli) lines: Option<usize>,
}
