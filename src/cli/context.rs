//! What commands share: the project, the catalog, the streams, the environment.

use super::args::Global;
use super::error::{CliError, Exit};
use crate::fsx::{self, TimeNs};
use crate::report::Problem;
use crate::statepoint::JobId;
use crate::term::Term;
use crate::workspace::{Project, Workspace};
use rayon::prelude::*;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Threads per core that read state points: they wait more than they compute.
const IO_THREADS_PER_CORE: usize = 2;

/// Fewer threads by default would leave a disk waiting, more would strain the metadata server of a
/// network file system.
const IO_THREADS: RangeInclusive<usize> = 8..=16;

/// Jobs that are read before what came of them is printed.
const JOBS_AT_ONCE: usize = 256;

/// The settings of one run.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) term: &'a Term,
    /// The current directory, or that of `-C`.
    pub(super) dir: PathBuf,
    /// How much more the user wants to hear.
    pub(super) verbose: u8,
}

impl<'a> Context<'a> {
    pub(super) fn new(global: &Global, term: &'a Term) -> Result<Self, CliError> {
        start_logging(global.verbose);
        start_threads(global.io_threads.map(usize::from));
        let dir = match &global.project {
            Some(dir) => dir.canonicalize().map_err(|error| {
                CliError::usage(format!("no directory `{}`: {error}", dir.display()))
            })?,
            None => std::env::current_dir().map_err(|error| {
                CliError::failed(format!("the current directory is gone: {error}"))
            })?,
        };
        Ok(Self {
            term,
            dir,
            verbose: global.verbose,
        })
    }

    /// Finds the project.
    pub(super) fn project(&self) -> Result<Project, CliError> {
        Ok(Project::discover(&self.dir)?)
    }

    /// Finds the project's workspace.
    pub(super) fn workspace(&self) -> Result<Workspace, CliError> {
        Ok(self.project()?.workspace())
    }

    /// Names the jobs that a command leaves out; the exit code then says so.
    pub(super) fn report_problems(&self, problems: &[Problem]) -> Exit {
        for problem in problems {
            self.term.warn(problem);
        }
        if problems.is_empty() {
            Exit::Done
        } else {
            Exit::Partial
        }
    }

    /// Does something with each of some jobs, many at a time, and prints what came of it in their
    /// order. What fails for one of several is named, and the others are done.
    pub(super) fn for_each_job(
        &self,
        ids: &[JobId],
        work: impl Fn(&JobId) -> Result<Option<String>, CliError> + Sync,
    ) -> Result<Exit, CliError> {
        let mut exit = Exit::Done;
        for chunk in ids.chunks(JOBS_AT_ONCE) {
            let results: Vec<_> = chunk.par_iter().map(&work).collect();
            for result in results {
                match result {
                    Ok(Some(text)) => self.term.line(text)?,
                    Ok(None) => {}
                    Err(error) if ids.len() == 1 => return Err(error),
                    Err(error) => {
                        error.report(self.term);
                        exit = Exit::Partial;
                    }
                }
            }
        }
        Ok(exit)
    }

    /// Returns how many columns there are for data; `None` if nothing needs to be cut, because it
    /// goes to a file or a program.
    pub(super) fn width(&self) -> Option<usize> {
        let asked = std::env::var("COLUMNS").ok();
        let asked = asked.and_then(|columns| columns.parse().ok());
        asked.filter(|&columns| columns > 0).or_else(|| {
            let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
            Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
        })
    }

    /// Tells whether the locale has more than ASCII.
    pub(super) fn has_unicode(&self) -> bool {
        let value = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
        let decides = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find(value);
        let locale = decides.and_then(|name| std::env::var(name).ok());
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    }

    /// Makes a path absolute, from the current directory.
    pub(super) fn absolute(&self, path: &Path) -> Result<PathBuf, CliError> {
        Ok(std::path::absolute(path)?)
    }

    /// Returns the directory for registries and logs, which need not exist.
    pub(super) fn state_dir(&self) -> PathBuf {
        let uid = rustix::process::getuid().as_raw();
        user_dir("XDG_STATE_HOME", ".local/state")
            .unwrap_or_else(|| PathBuf::from(format!("/tmp/sweepfs-{uid}")))
    }

    /// Returns the directory for mounts in place of those that root may not enter.
    pub(super) fn runtime_dir(&self) -> PathBuf {
        let uid = rustix::process::getuid().as_raw();
        let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        named.filter(|dir| dir.is_absolute()).map_or_else(
            || PathBuf::from(format!("/tmp/sweepfs-{uid}")),
            |dir| dir.join("sweepfs"),
        )
    }

    /// Returns the directory for what can be computed again, which need not exist.
    pub(super) fn cache_dir(&self) -> Option<PathBuf> {
        user_dir("XDG_CACHE_HOME", ".cache")
    }

    /// Returns the directory for settings, which need not exist.
    pub(super) fn config_dir(&self) -> Option<PathBuf> {
        user_dir("XDG_CONFIG_HOME", ".config")
    }

    /// Returns this program.
    pub(super) fn program(&self) -> Result<PathBuf, CliError> {
        Ok(std::env::current_exe()?)
    }
}

/// Returns our part of a directory of the XDG base directory specification.
fn user_dir(variable: &str, below_home: &str) -> Option<PathBuf> {
    let from = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let dir = from(variable).or_else(|| from("HOME").map(|home| home.join(below_home)));
    dir.map(|dir| dir.join("sweepfs"))
}

/// Returns the present time.
pub(super) fn now() -> TimeNs {
    fsx::time_ns(SystemTime::now())
}

/// Reads standard input to its end, as text.
pub(super) fn read_stdin() -> Result<String, CliError> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| CliError::failed(format!("cannot read standard input: {error}")))?;
    Ok(text)
}

fn start_logging(verbose: u8) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(level)
        .try_init();
}

/// Sets up the threads of rayon. Failing that, rayon uses one per core.
pub(super) fn start_threads(wanted: Option<usize>) {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let usual = (n_cores * IO_THREADS_PER_CORE).clamp(*IO_THREADS.start(), *IO_THREADS.end());
    let n_threads = wanted.unwrap_or(usual);
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build_global();
}
