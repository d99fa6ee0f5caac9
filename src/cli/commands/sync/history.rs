//! `sweepfs sync undo` and `sweepfs sync log`

use super::tell::{SHOWN_MAX, counted, more};
use super::{Steps, new_run};
use crate::cli::args::{SyncLogArgs, SyncUndoArgs};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::remotes::Remote;
use crate::config::{PROJECT_FILE, ProjectConfig, RemoteConfig};
use crate::fsx::TimeNs;
use crate::report::{Problem, harmless};
use crate::sync::{Line, LocalSide, Log, LogError, LogHeader, Logs, Undo, Whose};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;

const SECOND_NS: TimeNs = 1_000_000_000;

/// The project, what it was synced with, and when.
struct History<'a> {
    context: &'a Context<'a>,
    local: LocalSide,
    remotes: BTreeMap<String, RemoteConfig>,
    logs: Logs,
}

impl<'a> History<'a> {
    fn of(context: &'a Context<'a>) -> Result<Self, CliError> {
        let project = context.project()?;
        let config = ProjectConfig::read(&project.root().join(PROJECT_FILE))?;
        let local = LocalSide::new(&project, &project.root().to_string_lossy());
        Ok(Self {
            context,
            logs: Logs::of(&local),
            local,
            remotes: config.remotes,
        })
    }

    fn find(&self, word: &str) -> Result<Remote, CliError> {
        let root = self.local.workspace().project_root();
        Remote::find(self.context, root, &self.remotes, Some(word))
    }

    /// Returns the last sync that changed something and is not undone, with that address if one is
    /// given, and other than those that were passed by.
    fn last(&self, address: Option<&str>, passed: &[String]) -> Result<Log, CliError> {
        let names = self.logs.names()?.into_iter();
        for name in names.filter(|name| !passed.contains(name)) {
            let log = match self.logs.read(&name) {
                Ok(log) => log,
                Err(error) => {
                    self.context
                        .term
                        .warn(format_args!("not looked at: {error}"));
                    continue;
                }
            };
            let is_meant = address.is_none_or(|address| log.header.address == address);
            if is_meant && !log.is_empty() && log.undone.is_none() {
                return Ok(log);
            }
        }
        let error = CliError::failed("there is no sync that could be undone");
        Err(error.with_hint(
            "`sweepfs sync log` lists those of the last 30 days, on the side where `sync` was called",
        ))
    }
}

pub(super) fn undo(context: &Context<'_>, args: &SyncUndoArgs) -> Result<Exit, CliError> {
    let history = History::of(context)?;
    let address = args.remote.as_deref().map(|word| history.find(word));
    let address = address.transpose()?.map(|remote| remote.place());
    let _lock = if args.dry_run {
        None
    } else {
        history.local.lock()?
    };
    let mut passed = Vec::new();
    loop {
        let log = history.last(address.as_deref(), &passed)?;
        let run = log.header.run.clone();
        if let Some(exit) = history.undo(args, log)? {
            return Ok(exit);
        }
        passed.push(run);
    }
}

impl History<'_> {
    /// Undoes a sync; `None` if it has changed nothing.
    fn undo(&self, args: &SyncUndoArgs, log: Log) -> Result<Option<Exit>, CliError> {
        let (context, local) = (self.context, &self.local);
        let (header, is_finished) = (log.header.clone(), log.is_finished);
        let remote = self.remote_of(&header)?;
        let opened = remote.open(context, local, !args.dry_run)?;
        let memory = remote.memory(local);
        let observer = Steps {
            term: context.term,
            current: Mutex::new(context.term.progress()),
        };
        let undo = Undo::prepare(local, &*opened.peer, &memory, &observer, log)?;
        if undo.is_empty() {
            return Ok(None);
        }
        let lines = undo.lines();
        let left = match args.dry_run {
            true => undo.left(),
            false => undo.apply(&new_run(local))?,
        };
        tell(context, args, &header, &lines, &left)?;
        if !is_finished && !args.json {
            context.term.note("that sync was cut off");
        }
        Ok(Some(match left.is_empty() {
            true => Exit::Done,
            false => Exit::Partial,
        }))
    }

    /// Finds what a sync was with.
    fn remote_of(&self, header: &LogHeader) -> Result<Remote, CliError> {
        let (name, then) = (&header.remote, &header.address);
        let remote = self.find(name).map_err(|error| {
            let hint = format!("that sync was with `{then}`: `sweepfs remote add {name} {then}`");
            error.with_hint(hint)
        })?;
        match remote.place() {
            now if now == *then => Ok(remote),
            now => {
                let message = format!("`{name}` is `{now}` now; the sync was with `{then}`");
                let error = CliError::refused(message);
                Err(error.with_hint("set its `url` in `sweepfs.toml` to what it was"))
            }
        }
    }
}

/// Says what was or would be done.
fn tell(
    context: &Context<'_>,
    args: &SyncUndoArgs,
    header: &LogHeader,
    lines: &[Line],
    left: &[Problem],
) -> Result<(), CliError> {
    let term = context.term;
    if args.json {
        let left: Vec<_> = left.iter().map(ToString::to_string).collect();
        let report = json!({
            "run": header.run, "remote": header.remote, "dry_run": args.dry_run,
            "actions": lines, "left": left,
        });
        term.line(report)?;
        return Ok(());
    }
    for line in lines.iter().filter(|_| args.dry_run || context.verbose > 0) {
        match args.dry_run {
            true => term.line(line)?,
            false => term.note(line),
        }
    }
    let (remote, at) = (&header.remote, shown(header.at));
    let would = if args.dry_run {
        "would be undone"
    } else {
        "undone"
    };
    let (n, what) = (
        lines.len(),
        if lines.len() == 1 {
            "action"
        } else {
            "actions"
        },
    );
    term.note(harmless(format!(
        "{would}: the sync with `{remote}` of {at}, {n} {what}"
    )));
    for problem in left.iter().take(SHOWN_MAX) {
        term.warn(format_args!("left as it is: {problem}"));
    }
    more(context, left.len(), "files that were left");
    Ok(())
}

pub(super) fn log(context: &Context<'_>, args: &SyncLogArgs) -> Result<Exit, CliError> {
    let history = History::of(context)?;
    if let Some(run) = &args.run {
        return one(&history, run, args.json);
    }
    let mut exit = Exit::Done;
    for name in history.logs.names()?.iter().take(args.max) {
        let log = match history.logs.read(name) {
            Ok(log) => log,
            Err(error) => {
                context.term.warn(error);
                exit = Exit::Partial;
                continue;
            }
        };
        let line = match args.json {
            true => summary(&log).to_string(),
            false => harmless(row(&log)),
        };
        context.term.line(line)?;
    }
    Ok(exit)
}

/// Prints all that a sync has done.
fn one(history: &History<'_>, run: &str, is_json: bool) -> Result<Exit, CliError> {
    let term = history.context.term;
    let is_known = history.logs.names()?.iter().any(|name| name == run);
    if !is_known {
        let error = CliError::usage(format!("there is no sync `{run}`"));
        return Err(error.with_hint("`sweepfs sync log` lists them"));
    }
    let log = history.logs.read(run)?;
    for line in log.lines() {
        match is_json {
            true => term.line(serde_json::to_string(&line).map_err(CliError::failed)?)?,
            false => term.line(line)?,
        }
    }
    if !is_json {
        term.note(harmless(row(&log)));
    }
    Ok(Exit::Done)
}

fn row(log: &Log) -> String {
    let mut parts = Vec::new();
    for (arrow, side) in [("<-", Whose::Local), ("->", Whose::Remote)] {
        parts.extend(counted(&log.totals(side)).map(|counted| format!("{arrow} {counted}")));
    }
    if parts.is_empty() {
        parts.push("nothing".into());
    }
    if !log.is_finished {
        parts.push("not finished".into());
    }
    if log.undone.is_some() {
        parts.push("undone".into());
    }
    let LogHeader {
        run, at, remote, ..
    } = &log.header;
    format!("{run}  {}  {remote}  {}", shown(*at), parts.join("; "))
}

fn summary(log: &Log) -> serde_json::Value {
    let LogHeader {
        run,
        at,
        remote,
        address,
        command,
    } = &log.header;
    json!({
        "run": run, "at": shown(*at), "remote": remote, "address": address, "command": command,
        "to_local": log.totals(Whose::Local), "to_remote": log.totals(Whose::Remote),
        "finished": log.is_finished, "undone": log.undone.map(shown),
    })
}

fn shown(time: TimeNs) -> String {
    Timestamp::from_second(time.div_euclid(SECOND_NS))
        .map_or_else(|_| "?".into(), |at| at.to_string())
}

impl From<LogError> for CliError {
    fn from(error: LogError) -> Self {
        let hint = match &error {
            LogError::Damaged(_) => {
                Some("what it replaced and deleted is in `.sweepfs/trash/` of each side")
            }
            LogError::Fs(_) => None,
        };
        let error = Self::failed(error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
