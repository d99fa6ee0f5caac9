//! `sweepfs sync`

use crate::cli::duration::parse_duration;
use crate::cli::selection::SelectionArgs;
use crate::config::{bandwidth_bytes, memory_bytes};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use glob::Pattern;
use std::path::PathBuf;
use std::time::Duration;

const CONFLICTS: &str = "Conflicts and deletions";
const FILES: &str = "Selecting files";
const SIGNAC: &str = "As signac has them, from SOURCE to DESTINATION";

/// Bring the project and another copy of it, at a path or over ssh, to the same state.
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  sweepfs sync hal:project --dry-run
  sweepfs sync /mnt/disk/project
  sweepfs sync hal --pull -f 'angle>=45'
  sweepfs sync hal --prefer newer
  sweepfs sync hal --delete
  sweepfs sync --all
  sweepfs sync hal --plan FILE && sweepfs sync --apply FILE
  sweepfs sync undo
  sweepfs sync log
  sweepfs sync ../other . -u --all-keys

What only one side has changed since the last sync is copied to the other. Documents are merged key
by key. What both have changed stays as it is on each side and is named. Deletions are only told.
With two directories, files are copied from the first to the second, as signac does.

Exit codes: 0 the same on both sides, 3 conflicts or problems are left, 4 refused")]
pub(in crate::cli) struct SyncArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<SyncCommand>,
    /// A name of `sweepfs.toml`, a directory, or `host:path` [default: the only remote]; or two
    /// directories, as for signac.
    #[arg(value_name = "REMOTE", num_args = 0..=2)]
    pub(in crate::cli) remotes: Vec<String>,
    /// Sync with all remotes of `sweepfs.toml`.
    #[arg(long, conflicts_with = "remotes")]
    pub(in crate::cli) all: bool,
    /// Change nothing there.
    #[arg(long, conflicts_with = "push")]
    pub(in crate::cli) pull: bool,
    /// Change nothing here.
    #[arg(long)]
    pub(in crate::cli) push: bool,
    /// Print what would be done, a line each, and change nothing.
    #[arg(short = 'n', long, alias = "pretend")]
    pub(in crate::cli) dry_run: bool,
    /// Write what would be done into a file, a line each, and change nothing; `-` prints it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "json", "SignacArgs"])]
    pub(in crate::cli) plan: Option<PathBuf>,
    /// Do what is still in such a file, and still the same; `-` reads it from the standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["remotes", "all", "pull", "push", "checksum", "running", "plan",
        "ConflictArgs", "SelectionArgs", "FileArgs", "SignacArgs"])]
    pub(in crate::cli) apply: Option<PathBuf>,
    /// Print what is done as one JSON object.
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Compare contents, also where size and time are the same.
    #[arg(long)]
    pub(in crate::cli) checksum: bool,
    /// Sync the files of jobs that run, too.
    #[arg(long)]
    pub(in crate::cli) running: bool,
    #[command(flatten)]
    pub(in crate::cli) limits: LimitArgs,
    #[command(flatten)]
    pub(in crate::cli) conflicts: ConflictArgs,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    #[command(flatten)]
    pub(in crate::cli) files: FileArgs,
    #[command(flatten)]
    pub(in crate::cli) signac: SignacArgs,
}

/// How fast, and how long.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct LimitArgs {
    /// Move at most so much a second: `10m` is 10 MiB, `0` lifts the limit of the settings.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(in crate::cli) bwlimit: Option<String>,
    /// Begin nothing new after that time, such as `90s`, `30m` or `2h`; the next sync goes on.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(in crate::cli) stop_after: Option<Duration>,
}

impl SyncArgs {
    /// Tells whether nothing is to be changed.
    pub(in crate::cli) fn is_dry_run(&self) -> bool {
        self.dry_run || self.plan.is_some()
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SyncCommand {
    Undo(SyncUndoArgs),
    Log(SyncLogArgs),
}

/// Undo the last sync on both sides, as far as they are still as it left them.
///
/// What it copied goes to the trash, and what it replaced or deleted comes back. The next sync does
/// the same again.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs sync undo --dry-run
  sweepfs sync undo hal

Once more, it undoes the sync before that. A remote that is called `undo` is synced with by
`sweepfs sync -- undo`.

Exit codes: 0 undone, 3 something has changed since and is left, 4 refused")]
pub(in crate::cli) struct SyncUndoArgs {
    /// The last sync with that remote [default: the last of all].
    #[arg(value_name = "REMOTE")]
    pub(in crate::cli) remote: Option<String>,
    /// Print what would be done, a line each, and change nothing.
    #[arg(short = 'n', long)]
    pub(in crate::cli) dry_run: bool,
    /// Print what is done as one JSON object.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// List the syncs of the last 30 days that changed something, the latest first.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  sweepfs sync log
  sweepfs sync log 20261124T184500123-4711

A remote that is called `log` is synced with by `sweepfs sync -- log`.")]
pub(in crate::cli) struct SyncLogArgs {
    /// All that this sync did, a line each.
    #[arg(value_name = "RUN")]
    pub(in crate::cli) run: Option<String>,
    /// At most so many.
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = 20,
        conflicts_with = "run"
    )]
    pub(in crate::cli) max: usize,
    /// Print one JSON object per sync, or per action.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// What is done with what both sides have changed, and with what one has deleted.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct ConflictArgs {
    /// Which version is taken of what both sides have changed.
    #[arg(long, value_enum, value_name = "VERSION", help_heading = CONFLICTS)]
    pub(in crate::cli) prefer: Option<PreferChoice>,
    /// Keep both versions on both sides, that of the other side as `NAME.conflict-REMOTE-TIME`.
    #[arg(long, conflicts_with = "prefer", help_heading = CONFLICTS)]
    pub(in crate::cli) keep_both: bool,
    /// Take keys of documents that match from the other side.
    #[arg(long, value_name = "REGEX", help_heading = CONFLICTS)]
    pub(in crate::cli) keys: Option<String>,
    /// Delete here what was deleted there, and the other way round; it goes to the trash.
    #[arg(long, conflicts_with = "restore", help_heading = CONFLICTS)]
    pub(in crate::cli) delete: bool,
    /// Copy back what was deleted on one side.
    #[arg(long, help_heading = CONFLICTS)]
    pub(in crate::cli) restore: bool,
    /// Refuse to delete a larger part of the files [default: 10%].
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = CONFLICTS)]
    pub(in crate::cli) max_delete: Option<f64>,
}

/// Which files of jobs.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct FileArgs {
    /// Only files that match, such as `*.csv` or `out/**/*.gsd`; may be repeated.
    #[arg(long, value_name = "GLOB", value_parser = pattern, help_heading = FILES)]
    pub(in crate::cli) only: Vec<Pattern>,
    /// No files or directories that match; may be repeated.
    #[arg(long, value_name = "GLOB", value_parser = pattern, help_heading = FILES)]
    pub(in crate::cli) exclude: Vec<Pattern>,
    /// Only files of at most that size, such as `100M`.
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = FILES)]
    pub(in crate::cli) max_size: Option<u64>,
    /// Only documents and records of executions.
    #[arg(long, help_heading = FILES)]
    pub(in crate::cli) documents_only: bool,
}

/// What `signac sync` takes.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct SignacArgs {
    /// What is done with files that differ.
    #[arg(short, long, value_enum, ignore_case = true, help_heading = SIGNAC)]
    pub(in crate::cli) strategy: Option<StrategyChoice>,
    /// The same as `--strategy update`.
    #[arg(short, long, conflicts_with = "strategy", help_heading = SIGNAC)]
    pub(in crate::cli) update: bool,
    /// Overwrite keys of documents that match, and leave others.
    #[arg(short, long = "key", value_name = "REGEX", help_heading = SIGNAC)]
    pub(in crate::cli) key: Option<String>,
    /// Overwrite all keys of documents.
    #[arg(long, conflicts_with_all = ["key", "no_keys"], help_heading = SIGNAC)]
    pub(in crate::cli) all_keys: bool,
    /// Overwrite no key of documents.
    #[arg(long, conflicts_with = "key", help_heading = SIGNAC)]
    pub(in crate::cli) no_keys: bool,
    /// Sync directories in jobs that both have, too.
    #[arg(short, long, help_heading = SIGNAC)]
    pub(in crate::cli) recursive: bool,
    /// Leave out files of jobs that both have whose names match [default: all].
    #[arg(short = 'x', value_name = "REGEX", num_args = 0..=1, default_missing_value = ".*", help_heading = SIGNAC)]
    pub(in crate::cli) leave_out: Option<String>,
    /// Take files of the same size for the same.
    #[arg(long, help_heading = SIGNAC)]
    pub(in crate::cli) size_only: bool,
    /// Compare contents.
    #[arg(short = 'I', long, help_heading = SIGNAC)]
    pub(in crate::cli) ignore_times: bool,
    /// Print how much was copied.
    #[arg(long, help_heading = SIGNAC)]
    pub(in crate::cli) stats: bool,
    /// Print sizes for people.
    #[arg(short = 'H', long, help_heading = SIGNAC)]
    pub(in crate::cli) human_readable: bool,
    /// What happens anyway: times and permissions are kept, links stay links, schemas may differ.
    #[arg(short = 'a', long, help_heading = SIGNAC)]
    archive: bool,
    #[arg(short, long, hide = true)]
    merge: bool,
    #[arg(short = 'p', long, hide = true)]
    perms: bool,
    #[arg(short = 'o', long, hide = true)]
    owner: bool,
    #[arg(short = 'g', long, hide = true)]
    group: bool,
    #[arg(short = 't', long, hide = true)]
    times: bool,
    #[arg(short = 'l', long, hide = true)]
    links: bool,
    #[arg(long, hide = true)]
    round_times: bool,
    #[arg(long, hide = true)]
    force: bool,
    #[arg(long, hide = true, num_args = 0..=1)]
    parallel: Option<Option<usize>>,
}

impl SignacArgs {
    /// Tells whether there is an option that only makes sense from one directory to another.
    pub(in crate::cli) fn is_given(&self) -> bool {
        let forms = [
            self.strategy.is_some(),
            self.update,
            self.key.is_some(),
            self.all_keys,
            self.no_keys,
            self.recursive,
            self.leave_out.is_some(),
            self.size_only,
            self.ignore_times,
            self.archive,
            self.merge,
        ];
        forms.contains(&true)
    }
}

/// Which version is taken of what both sides have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PreferChoice {
    /// That which was changed later.
    Newer,
    /// That which has more bytes.
    Larger,
    /// That which is here.
    Local,
    /// That which is there.
    Remote,
}

/// What signac does with files that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum StrategyChoice {
    /// Overwrite them.
    Always,
    /// Leave them.
    Never,
    /// Overwrite those that are older.
    Update,
    /// Ask about each.
    Ask,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let percent = number
        .parse()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| format!("`{text}` is no percentage such as `25%`"))
}

fn rate(text: &str) -> Result<String, String> {
    let is_right = bandwidth_bytes(text);
    is_right.map_or_else(
        |wrong| Err(format!("it {}; {}", wrong.0, wrong.1)),
        |_| Ok(text.to_owned()),
    )
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| error.msg.to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    let is_bytes = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match is_bytes {
        true => text.parse().map_err(|_| format!("`{text}` is too large")),
        false => memory_bytes(text).map_err(|wrong| format!("`{text}` {}; {}", wrong.0, wrong.1)),
    }
}

/// What one `sweepfs` does for another one.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct SyncServeArgs {
    pub(in crate::cli) what: SyncServeWhat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum SyncServeWhat {
    /// Says which protocol it speaks.
    Protocol,
    /// Lists the files of the project.
    List,
}
