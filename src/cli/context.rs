//! What commands share: the project, the catalog, the streams, the environment.

use super::args::Global;
use super::error::{CliError, Exit};
use crate::catalog::Catalog;
use crate::fsx::{self, FsError, TimeNs};
use crate::report::{Observer, Problem};
use crate::statepoint::JobId;
use crate::term::Term;
use crate::workspace::{Project, Workspace};
use std::cell::OnceCell;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Threads per core that read state points: they wait more than they compute.
const IO_THREADS_PER_CORE: usize = 2;

/// More threads by default would strain the metadata server of a network file system.
const IO_THREADS_MAX: usize = 16;

/// The settings of one run.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) term: &'a Term,
    /// The current directory, or that of `-C`.
    pub(super) dir: PathBuf,
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
        Ok(Self { term, dir })
    }

    /// Finds the project.
    pub(super) fn project(&self) -> Result<Project, CliError> {
        Ok(Project::discover(&self.dir)?)
    }

    /// Finds the project's workspace.
    pub(super) fn workspace(&self) -> Result<Workspace, CliError> {
        Ok(self.project()?.workspace())
    }

    /// Reads all jobs, with a progress bar.
    pub(super) fn catalog(&self, workspace: &Workspace) -> Result<Catalog, CliError> {
        let observer = self.term.progress();
        Ok(load_catalog(workspace, &observer)?)
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

    /// Resolves ids, beginnings of ids, and `-` for ids on standard input.
    pub(super) fn resolve_jobs(
        &self,
        workspace: &Workspace,
        names: &[&str],
    ) -> Result<Vec<JobId>, CliError> {
        let stdin = if names.contains(&"-") {
            read_stdin()?
        } else {
            String::new()
        };
        let listed = OnceCell::new();
        let given = names.iter().flat_map(|&name| match name {
            "-" => stdin.split_whitespace().collect(),
            name => vec![name],
        });
        given
            .map(|name| Ok(workspace.resolve(name, &listed)?))
            .collect()
    }

    /// Does something with each of some jobs. What fails for one of several is named, and the
    /// others are done.
    pub(super) fn for_each_job(
        &self,
        ids: &[JobId],
        mut work: impl FnMut(&JobId) -> Result<(), CliError>,
    ) -> Result<Exit, CliError> {
        let mut exit = Exit::Done;
        for id in ids {
            match work(id) {
                Err(error) if ids.len() > 1 && !error.is_closed_pipe() => {
                    error.report(self.term);
                    exit = Exit::Partial;
                }
                result => result?,
            }
        }
        Ok(exit)
    }

    /// Makes a path absolute, from the current directory.
    pub(super) fn absolute(&self, path: &Path) -> Result<PathBuf, CliError> {
        Ok(std::path::absolute(path)?)
    }

    /// Returns the directory for registries and logs, which need not exist.
    pub(super) fn state_dir(&self) -> PathBuf {
        let from = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let uid = rustix::process::getuid().as_raw();
        from("XDG_STATE_HOME")
            .or_else(|| from("HOME").map(|home| home.join(".local/state")))
            .map_or_else(
                || PathBuf::from(format!("/tmp/sweepfs-{uid}")),
                |dir| dir.join("sweepfs"),
            )
    }

    /// Returns this program.
    pub(super) fn program(&self) -> Result<PathBuf, CliError> {
        Ok(std::env::current_exe()?)
    }
}

/// Reads all jobs of a workspace.
pub(super) fn load_catalog(
    workspace: &Workspace,
    observer: &dyn Observer,
) -> Result<Catalog, FsError> {
    Catalog::load(workspace, now(), observer)
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
    let n_threads = wanted.unwrap_or_else(|| (n_cores * IO_THREADS_PER_CORE).min(IO_THREADS_MAX));
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build_global();
}
