//! `sweepfs log`

use crate::cli::args::LogArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::subject::Subject;
use crate::fsx;
use crate::report::harmless;
use crate::workflow::{Record, Stage};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Where logs are unless a record says otherwise, below the project's directory.
const LOGS: &str = ".sweepfs/logs";

/// Where batch jobs print to, below the project's directory, those of a submission in a folder.
const BATCH_LOGS: &str = ".sweepfs/logs/batch";

/// How often a log that grows is looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// The line before the output of each execution begins with this.
const HEADER: &[u8] = b"== attempt ";

pub(in crate::cli) fn run(context: &Context<'_>, args: &LogArgs) -> Result<Exit, CliError> {
    let subject = Subject::new(context, &args.operation, &args.target)?;
    let (id, exit) = subject.ask(context, |evaluation, unit| {
        let units = evaluation.units(subject.operation)?;
        units.id(unit, evaluation.facts())
    })?;
    let log = Log {
        context,
        subject: &subject,
        id,
    };
    log.print(args)?;
    Ok(exit)
}

/// Returns where the batch job has printed to that could not begin an execution, so that this has no
/// log of its own.
pub(super) fn batch_logs(record: &Record) -> Option<String> {
    let is_not_begun = record.state == Stage::Failed && record.log.is_none();
    let name = record.submission.as_ref().filter(|_| is_not_begun)?;
    Some(format!("{BATCH_LOGS}/{name}/"))
}

struct Log<'a> {
    context: &'a Context<'a>,
    subject: &'a Subject,
    id: String,
}

impl Log<'_> {
    fn print(&self, args: &LogArgs) -> Result<(), CliError> {
        let mut goes_on = self.goes_on()?;
        let mut file = loop {
            match fsx::open_regular(&self.path()?) {
                Ok(file) => break file,
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                Err(_) if args.follow && goes_on => std::thread::sleep(PAUSE),
                Err(_) => return Err(self.none()?),
            }
            goes_on = self.goes_on()?;
        };
        self.tell_not_begun()?;
        let start = last_execution(&mut file)?;
        let start = match args.lines {
            Some(n) => last_lines(&mut file, start, n)?,
            None => start,
        };
        file.seek(SeekFrom::Start(start))?;
        loop {
            // Whether it goes on is asked first: what it wrote before its end is then read.
            let goes_on = args.follow && self.goes_on()?;
            let copied = self.copy(&mut file)?;
            if !goes_on {
                return Ok(());
            }
            if copied == 0 {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Says so if the last execution was not begun: the log is that of the one before.
    fn tell_not_begun(&self) -> Result<(), CliError> {
        let record = self.record()?;
        if let Some((record, logs)) = record.as_ref().and_then(|r| Some((r, batch_logs(r)?))) {
            let attempt = record.attempt;
            let reason = record.reason.as_deref().unwrap_or("it failed");
            self.context.term.warn(harmless(format_args!(
                "attempt {attempt} was not begun, this is one before: {reason}"
            )));
            self.context.term.hint(harmless(format_args!(
                "what batch jobs printed is in `{logs}`"
            )));
        }
        Ok(())
    }

    fn copy(&self, file: &mut File) -> std::io::Result<u64> {
        let mut copied = 0;
        self.context.term.data(|out| {
            copied = std::io::copy(file, &mut &mut *out)?;
            out.flush()
        })?;
        Ok(copied)
    }

    fn record(&self) -> Result<Option<Record>, CliError> {
        let record = self.subject.flow.record(self.subject.operation, &self.id);
        record.map_err(|problem| CliError::failed(problem.to_string()))
    }

    fn goes_on(&self) -> Result<bool, CliError> {
        let record = self.record()?;
        Ok(record.is_some_and(|record| record.state == Stage::Queued || record.runs()))
    }

    /// Returns where the log is. A record that names another place than one in the project is not
    /// believed.
    fn path(&self) -> Result<PathBuf, CliError> {
        let root = self.subject.workspace.project_root();
        let named = self.record()?.and_then(|record| record.log);
        let inside = |path: &Path| path.components().all(|c| matches!(c, Component::Normal(_)));
        match named {
            Some(path) if inside(Path::new(&path)) => Ok(root.join(path)),
            Some(path) => Err(CliError::failed(format!(
                "the log is said to be `{path}`, which is not in the project"
            ))),
            None => {
                let below = Path::new(LOGS).join(self.subject.name());
                Ok(root.join(below).join(format!("{}.log", self.id)))
            }
        }
    }

    fn none(&self) -> Result<CliError, CliError> {
        let (name, id) = (self.subject.name(), &self.id);
        let record = self.record()?;
        if let Some(logs) = record.as_ref().and_then(batch_logs) {
            let error = CliError::failed(format!("`{name}` was not begun on `{id}`"));
            return Ok(error.with_hint(format!("what batch jobs printed is in `{logs}`")));
        }
        Ok(match record {
            None => CliError::failed(format!("`{name}` was never executed on `{id}`"))
                .with_hint(format!("`sweepfs explain {name} {id}` tells why")),
            Some(_) => CliError::failed(format!("`{name}` has left no log of `{id}` here"))
                .with_hint(format!("it should be `{}`", self.path()?.display())),
        })
    }
}

/// Finds where the output of the last execution begins: a log has that of all.
fn last_execution(file: &mut File) -> std::io::Result<u64> {
    let (mut start, mut at) = (0, 0);
    for_each_line(file, |line| {
        if line.starts_with(HEADER) {
            start = at;
        }
        at += line.len() as u64;
    })?;
    Ok(start)
}

/// Finds where the last lines begin.
fn last_lines(file: &mut File, start: u64, n: usize) -> std::io::Result<u64> {
    file.seek(SeekFrom::Start(start))?;
    let (mut begins, mut at) = (VecDeque::new(), start);
    for_each_line(file, |line| {
        begins.push_back(at);
        if begins.len() > n {
            begins.pop_front();
        }
        at += line.len() as u64;
    })?;
    Ok(begins.front().copied().unwrap_or(at))
}

/// Does something with each line from where the file is; with its pieces if it is very long.
fn for_each_line(file: &mut File, mut found: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.by_ref().take(1 << 20).read_until(b'\n', &mut line)? > 0 {
        found(&line);
        line.clear();
    }
    Ok(())
}
