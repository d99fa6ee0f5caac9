//! `sweepfs sync`

mod all;
mod ask;
mod history;
mod pacing;
mod planfile;
mod schema;

use crate::cli::args::{PreferChoice, StrategyChoice, SyncArgs, SyncCommand};
use crate::cli::context::{Context, now};
use crate::cli::error::{CliError, Exit};
use crate::cli::remotes::{Opened, Remote, local_side};
use crate::cli::selection::Selection;
use crate::config::{PROJECT_FILE, ProjectConfig};
use crate::filter::Filter;
use crate::pyjson::Object;
use crate::report::{Event, Observer, harmless};
use crate::statepoint::{JobId, StatePoint};
use crate::sync::{
    Applied, Bytes, Conflict, Deleted, Direction, FileFilter, KeyRule, Left, Listing, LocalSide,
    LogHeader, Logs, Memory, Options, Pace, Plan, PlanFile, Prefer, Prepared, Run, Session, Side,
    Totals, Wanted, Whose, key_pattern,
};
use crate::term::{ProgressObserver, Term};
use glob::Pattern;
use pacing::{Limits, Pacing, brief};
use regex::Regex;
use schema::NewKey;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// Of conflicts and problems, at most so many are named.
const SHOWN_MAX: usize = 20;

pub(in crate::cli) fn run(context: &Context<'_>, args: &SyncArgs) -> Result<Exit, CliError> {
    match &args.command {
        Some(SyncCommand::Undo(args)) => return history::undo(context, args),
        Some(SyncCommand::Log(args)) => return history::log(context, args),
        None => {}
    }
    if let Some(file) = &args.apply {
        return planfile::apply(context, args, file);
    }
    if args.remotes.len() == 2 && args.plan.is_some() {
        let error = CliError::usage("a plan is one of the project and another copy of it");
        return Err(error.with_hint("`sweepfs sync REMOTE --plan FILE`"));
    }
    if args.remotes.len() == 2 || (args.remotes.len() == 1 && args.signac.is_given()) {
        return as_signac_does(context, args);
    }
    if args.signac.is_given() {
        let error = CliError::usage("options of signac are for two directories");
        return Err(
            error.with_hint("`sweepfs sync SOURCE DESTINATION`, or `--prefer` and `--keys`")
        );
    }
    with_remotes(context, args, None)
}

/// Syncs with one remote or all of them, with that of a plan only what is listed in it.
fn with_remotes(
    context: &Context<'_>,
    args: &SyncArgs,
    listed: Option<&PlanFile>,
) -> Result<Exit, CliError> {
    let project = context.project()?;
    let local = LocalSide::new(&project, &project.root().to_string_lossy());
    let config = ProjectConfig::read(&project.root().join(PROJECT_FILE))?;
    let words: Vec<_> = match listed {
        Some(file) => vec![Some(file.header.remote.as_str())],
        None if args.all => {
            let names = config.remotes.keys();
            names.map(|name| Some(name.as_str())).collect()
        }
        None => vec![args.remotes.first().map(String::as_str)],
    };
    let _lock = if args.is_dry_run() {
        None
    } else {
        local.lock()?
    };
    let limits = Limits::new(&args.limits);
    let target = |word: Option<&str>| -> Result<Target<'_>, CliError> {
        let remote = Remote::find(context, project.root(), &config.remotes, word)?;
        let remote = remote.limited(args.limits.bwlimit.as_deref());
        let mut options = options(args, &remote)?;
        if let Some(file) = listed {
            planfile::check(file, project.root(), &remote)?;
            // Second versions have the names that were planned.
            options.keep_both = options.keep_both.and(file.header.suffix.clone());
        }
        let one = One {
            context,
            args,
            local: &local,
            options,
            name: remote.name.clone(),
            limits,
            rate_bytes: remote.rate_bytes(),
            header: Some((remote.word(), remote.place())),
            listed: listed.cloned(),
        };
        Ok(Target { remote, one })
    };
    if let [] | [_] = words[..] {
        let target = target(words.first().copied().flatten())?;
        let opened = target.remote.open(context, &local, !args.is_dry_run())?;
        return Ok(target.sync(&local, &opened, None, None)?.exit);
    }
    let targets = words.into_iter().map(target).collect();
    all::run(context, &local, targets, args.is_dry_run())
}

/// A remote, and how it is synced with.
struct Target<'a> {
    remote: Remote,
    one: One<'a>,
}

impl Target<'_> {
    /// Syncs with it, and notes that.
    fn sync(
        &self,
        local: &LocalSide,
        opened: &Opened,
        listed: Option<(Listing, Listing)>,
        again: Option<&[Conflict]>,
    ) -> Result<Synced, CliError> {
        let memory = self.remote.memory(local);
        let done = self.one.sync(opened, Some(&memory), listed, again)?;
        if !self.one.args.is_dry_run() {
            self.remote.note_sync(local)?;
        }
        Ok(done)
    }
}

/// What came of a sync with one remote.
struct Synced {
    exit: Exit,
    /// Something was done on this side.
    has_changed_here: bool,
    /// What was left as it is.
    conflicts: Vec<Conflict>,
}

/// Copies from one directory to another, and remembers nothing.
fn as_signac_does(context: &Context<'_>, args: &SyncArgs) -> Result<Exit, CliError> {
    let conflicts = &args.conflicts;
    if args.push || args.pull || conflicts.delete || conflicts.restore || conflicts.keep_both {
        let error = CliError::usage("from one directory to another, nothing but copying is done");
        return Err(error.with_hint("`sweepfs sync REMOTE` syncs the project with one other"));
    }
    if !args.files.exclude.is_empty() {
        let error = CliError::usage(
            "`--exclude` takes patterns as a shell does, that of signac a regular expression",
        );
        return Err(error.with_hint("`-x REGEX` leaves out files as signac does"));
    }
    if args.signac.strategy == Some(StrategyChoice::Ask) && !args.dry_run {
        ask::check()?;
    }
    let source = &args.remotes[0];
    let destination = match args.remotes.get(1) {
        Some(word) => local_side(&context.dir.join(word), word)?,
        None => {
            let project = context.project()?;
            LocalSide::new(&project, &project.root().to_string_lossy())
        }
    };
    let root = destination.workspace().project_root().to_owned();
    let remote = Remote::find(context, &root, &Default::default(), Some(source))?;
    let remote = remote.limited(args.limits.bwlimit.as_deref());
    let _lock = if args.is_dry_run() {
        None
    } else {
        destination.lock()?
    };
    let opened = remote.open(context, &destination, false)?;
    let one = One {
        context,
        args,
        local: &destination,
        options: signac_options(args)?,
        name: remote.name.clone(),
        limits: Limits::new(&args.limits),
        rate_bytes: remote.rate_bytes(),
        header: None,
        listed: None,
    };
    Ok(one.sync(&opened, None, None, None)?.exit)
}

fn options(args: &SyncArgs, remote: &Remote) -> Result<Options, CliError> {
    let conflicts = &args.conflicts;
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S");
    let suffix = format!(".conflict-{}-{time}", remote.file_name());
    let mut exclude = args.files.exclude.clone();
    let configured = remote.config.exclude.iter();
    exclude.extend(configured.filter_map(|text| Pattern::new(text).ok()));
    Ok(Options {
        direction: match (args.pull, args.push) {
            (true, _) => Direction::Pull,
            (_, true) => Direction::Push,
            _ => Direction::Both,
        },
        prefer: conflicts.prefer.map(|choice| match choice {
            PreferChoice::Newer => Prefer::Newer,
            PreferChoice::Larger => Prefer::Larger,
            PreferChoice::Local => Prefer::Of(Whose::Local),
            PreferChoice::Remote => Prefer::Of(Whose::Remote),
        }),
        ignores_conflicts: false,
        keep_both: conflicts.keep_both.then_some(suffix),
        keys: KeyRule {
            from_remote: conflicts.keys.as_deref().map(pattern).transpose()?,
            ..KeyRule::default()
        },
        deletes: conflicts.delete,
        restores: conflicts.restore,
        max_delete_percent: conflicts.max_delete,
        compares_contents: args.checksum,
        size_only: false,
        takes_running: args.running,
        files: FileFilter {
            only: args.files.only.clone(),
            exclude,
            max_size_bytes: args.files.max_size,
            documents_only: args.files.documents_only,
            ..FileFilter::default()
        },
        ..Options::default()
    })
}

/// The source is the other side, and only the destination is changed.
fn signac_options(args: &SyncArgs) -> Result<Options, CliError> {
    let signac = &args.signac;
    let strategy = match signac.update {
        true => Some(StrategyChoice::Update),
        false => signac.strategy,
    };
    let overwrites = Some(Whose::Remote);
    Ok(Options {
        direction: Direction::Pull,
        prefer: match strategy {
            Some(StrategyChoice::Always) => Some(Prefer::Of(Whose::Remote)),
            Some(StrategyChoice::Update) => Some(Prefer::Newer),
            Some(StrategyChoice::Never | StrategyChoice::Ask) | None => None,
        },
        ignores_conflicts: strategy.is_some(),
        keys: KeyRule {
            from_remote: signac.key.as_deref().map(pattern).transpose()?,
            prefer: overwrites.filter(|_| signac.all_keys),
            ignores: signac.no_keys || signac.key.is_some(),
            is_final: true,
        },
        compares_contents: args.checksum || signac.ignore_times,
        size_only: signac.size_only,
        takes_running: true,
        files: FileFilter {
            only: args.files.only.clone(),
            exclude: args.files.exclude.clone(),
            max_size_bytes: args.files.max_size,
            documents_only: args.files.documents_only,
            names_excluded: signac.leave_out.as_deref().map(pattern).transpose()?,
            top_only: !signac.recursive,
        },
        ..Options::default()
    })
}

fn pattern(text: &str) -> Result<Regex, CliError> {
    key_pattern(text)
        .map_err(|error| CliError::usage(format!("`{text}` is no regular expression: {error}")))
}

/// A sync with one other side.
struct One<'a> {
    context: &'a Context<'a>,
    args: &'a SyncArgs,
    local: &'a LocalSide,
    options: Options,
    name: String,
    limits: Limits,
    rate_bytes: Option<f64>,
    /// How the other side is found again, and where it is, if it is logged what is done.
    header: Option<(String, String)>,
    /// Only that is done which is listed there.
    listed: Option<PlanFile>,
}

/// Draws a bar for each step after the other.
struct Steps<'a> {
    term: &'a Term,
    current: Mutex<ProgressObserver>,
}

impl Observer for Steps<'_> {
    fn event(&self, event: Event<'_>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.event(event);
        if event == Event::Finished {
            *current = self.term.progress();
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    remote: &'a str,
    dry_run: bool,
    actions: Vec<crate::sync::Line>,
    to_local: Totals,
    to_remote: Totals,
    deleted_here: Deleted,
    deleted_there: Deleted,
    left: Left,
    schema: Vec<NewKey>,
    running: Vec<String>,
    problems: Vec<String>,
}

impl One<'_> {
    /// Tells whether there is something to do a second time, when something has changed here.
    fn may_go_on(&self) -> bool {
        self.options.direction.leads_to(Whose::Remote) && !self.limits.is_over()
    }

    /// Tells whether the user is asked about files that differ.
    fn asks(&self) -> bool {
        self.args.signac.strategy == Some(StrategyChoice::Ask) && !self.args.dry_run
    }

    /// Syncs, with what is here and there if that is known. The second time, only what is
    /// done then is told, and conflicts that are new.
    fn sync(
        &self,
        opened: &Opened,
        memory: Option<&Memory>,
        listed: Option<(Listing, Listing)>,
        again: Option<&[Conflict]>,
    ) -> Result<Synced, CliError> {
        let observer = Steps {
            term: self.context.term,
            current: Mutex::new(self.context.term.progress()),
        };
        let (filter, names) = self.args.selection.parts(self.context)?;
        let matches = |id: &JobId, statepoint: &StatePoint, document: &Object| {
            is_named(&names, id) && filter.expr().matches(statepoint.object(), document)
        };
        let mut session = Session {
            local: self.local,
            peer: &*opened.peer,
            memory,
            options: &self.options,
            wanted: match self.args.selection.is_empty() {
                true => Wanted::All,
                false => Wanted::Some {
                    here: self.chosen_here(filter.clone(), &names)?,
                    matches: &matches,
                    needs_documents: filter.expr().needs_documents(),
                },
            },
            observer: &observer,
        };
        let mut prepared = match listed {
            Some((here, there)) => session.compare(here, there)?,
            None if self.asks() => ask::prepare(self.context, &session)?,
            None => session.prepare()?,
        };
        let reduced = self.reduce(&mut prepared.plan);
        let has_changed_here = prepared.plan.changes(Whose::Local);
        let conflicts = prepared.plan.conflicts.clone();
        let exit = |exit: Exit| Synced {
            exit: exit.or(reduced),
            has_changed_here,
            conflicts,
        };
        if again.is_some() && prepared.plan.is_empty() {
            return Ok(exit(Exit::Done));
        }
        self.tell_memory(&prepared);
        let (plan, n_jobs) = (&prepared.plan, prepared.n_jobs);
        let new = schema::new_keys(self.context, self.local, &*opened.peer, plan, n_jobs)?;
        schema::tell(self.context.term, &self.name, &new);
        if self.args.is_dry_run() {
            return self.show(&prepared.plan, new).map(exit);
        }
        if self.context.verbose > 0 {
            let lines = prepared.plan.lines();
            lines.iter().for_each(|line| self.context.term.note(line));
        }
        let total = (prepared.plan.n_items(), prepared.plan.copied_bytes());
        let pacing = Arc::new(Pacing::new(self.limits, self.rate_bytes, total));
        let mut run = new_run(self.local);
        run.takes_growing = self.options.takes_running && memory.is_some();
        run.pace = Pace::by(pacing.clone());
        let header = self.header.clone().map(|(remote, address)| LogHeader {
            run: run.id.clone(),
            at: run.now,
            remote,
            address,
            command: command_line(),
        });
        session.observer = &*pacing;
        let apply = || session.apply_logged(prepared, &run, header.as_ref());
        let applied = pacing.shown(self.context.term, &self.name, apply)?;
        match again {
            Some(before) => self.tell_again(applied, new, before),
            None => self.tell(&applied, new),
        }
        .map(exit)
    }

    /// Returns the jobs that are selected among those that are here.
    fn chosen_here(
        &self,
        filter: Filter,
        names: &Option<Vec<String>>,
    ) -> Result<std::collections::HashSet<JobId>, CliError> {
        let selection = Selection::of_filter(filter);
        let workspace = self.local.workspace();
        let found = self
            .context
            .ask(workspace, &selection, |facts, jobs| facts.ids(jobs))?;
        let ids = found.answer.into_iter();
        Ok(ids.filter(|id| is_named(names, id)).collect())
    }

    fn tell_memory(&self, prepared: &Prepared) {
        let term = self.context.term;
        if prepared.is_memory_damaged {
            term.warn("what is remembered of the last sync is damaged: both sides are compared as if it were the first");
        }
        if let Some(older) = prepared.older {
            let name = match older {
                Whose::Local => self.local.name(),
                Whose::Remote => &self.name,
            };
            term.warn(format_args!(
                "`{name}` is not as the last sync left it: it was restored from a backup, or is another copy; \
                 both sides are compared as if it were the first sync"
            ));
        }
        if prepared.was_cut_off {
            term.note("the last sync was cut off; this one goes on");
        }
    }

    fn report(&self, plan: &Plan, schema: Vec<NewKey>) -> Report<'_> {
        Report {
            remote: &self.name,
            dry_run: self.args.is_dry_run(),
            actions: match self.args.json || self.args.is_dry_run() {
                true => plan.lines(),
                false => Vec::new(),
            },
            to_local: plan.totals(Whose::Local),
            to_remote: plan.totals(Whose::Remote),
            deleted_here: plan.deleted_here,
            deleted_there: plan.deleted_there,
            left: Left::default(),
            schema,
            running: plan.running.iter().map(ToString::to_string).collect(),
            problems: plan.problems.iter().map(ToString::to_string).collect(),
        }
    }

    /// Prints what would be done.
    fn show(&self, plan: &Plan, new: Vec<NewKey>) -> Result<Exit, CliError> {
        let term = self.context.term;
        let report = self.report(plan, new);
        if self.args.json {
            term.line(json(&report)?)?;
        } else {
            match &self.args.plan {
                Some(path) => self.write_plan(path, plan)?,
                None => report.actions.iter().try_for_each(|line| term.line(line))?,
            }
            self.summarize(plan, &report, "would be");
        }
        self.tell_rest(plan, self.args.json);
        Ok(outcome(plan, true))
    }

    /// Says what was done.
    fn tell(&self, applied: &Applied, new: Vec<NewKey>) -> Result<Exit, CliError> {
        let (term, plan) = (self.context.term, &applied.plan);
        let failures = applied.failures.iter();
        let mut report = self.report(plan, new);
        report
            .problems
            .extend(failures.clone().map(ToString::to_string));
        report.left = applied.left;
        if self.args.json {
            term.line(json(&report)?)?;
        } else {
            self.summarize(plan, &report, "");
        }
        if self.args.signac.stats {
            let (files, bytes) = (report.to_local.files, report.to_local.bytes);
            let volume = match self.args.signac.human_readable {
                true => Bytes(bytes).to_string(),
                false => bytes.to_string(),
            };
            term.line(format_args!(
                "Number of files transferred: {files}\nTotal transfer volume:       {volume}"
            ))?;
        }
        for failure in failures.take(SHOWN_MAX) {
            term.warn(format_args!("not synced: {failure}"));
        }
        more(
            self.context,
            applied.failures.len(),
            "files that were not synced",
        );
        if !self.args.json {
            for conflict in plan.conflicts.iter().take(SHOWN_MAX) {
                let key = conflict.key.as_ref();
                let key = key.map_or_else(String::new, |key| format!(", key `{key}`"));
                let (place, reason) = (&conflict.place, &conflict.reason);
                term.warn(format_args!("conflict: {place}{key}: {reason}"));
            }
            more(self.context, plan.conflicts.len(), "conflicts");
        }
        self.tell_rest(plan, self.args.json);
        self.tell_left(applied.left);
        let is_done = applied.failures.is_empty() && applied.left == Left::default();
        Ok(outcome(plan, is_done))
    }

    /// Says what was done the second time.
    fn tell_again(
        &self,
        mut applied: Applied,
        new: Vec<NewKey>,
        before: &[Conflict],
    ) -> Result<Exit, CliError> {
        let plan = &mut applied.plan;
        plan.conflicts.retain(|conflict| !before.contains(conflict));
        plan.problems.clear();
        plan.running.clear();
        plan.ignored.clear();
        plan.deleted_here = Deleted::default();
        plan.deleted_there = Deleted::default();
        plan.n_other_direction = 0;
        self.tell(&applied, new)
    }

    fn summarize(&self, plan: &Plan, report: &Report<'_>, would: &str) {
        let term = self.context.term;
        let would = if would.is_empty() {
            String::new()
        } else {
            format!(" {would}")
        };
        for (arrow, totals) in [("<-", report.to_local), ("->", report.to_remote)] {
            if let Some(counted) = counted(&totals) {
                term.note(format_args!("{arrow} {}:{would} {counted}", self.name));
            }
        }
        if plan.is_empty() && plan.conflicts.is_empty() {
            term.note(format_args!("nothing to do with `{}`", self.name));
        }
    }

    /// Says what is left for the next sync.
    fn tell_left(&self, left: Left) {
        if let (Some(time), true) = (self.limits.stop_after, left != Left::default()) {
            let (time, files, bytes) = (brief(time), count(left.files, "file"), Bytes(left.bytes));
            self.context.term.warn(format_args!(
                "stopped after {time}; left for the next sync: {files}, {bytes}"
            ));
        }
    }

    /// Says what is left as it is.
    fn tell_rest(&self, plan: &Plan, is_brief: bool) {
        let term = self.context.term;
        for problem in plan.problems.iter().take(SHOWN_MAX) {
            term.warn(problem);
        }
        more(self.context, plan.problems.len(), "problems");
        if is_brief {
            return;
        }
        if !plan.conflicts.is_empty() {
            term.note(format_args!(
                "conflicts, left as they are on both sides: {}",
                plan.conflicts.len()
            ));
            term.hint("`--prefer newer`, `larger`, `local` or `remote` takes one version, `--keep-both` keeps both");
        }
        for (place, deleted) in [("here", plan.deleted_here), ("there", plan.deleted_there)] {
            if deleted != Deleted::default() {
                let files = if deleted.jobs > 0 {
                    "other file"
                } else {
                    "file"
                };
                let parts = [(deleted.jobs, "job"), (deleted.files, files)];
                let parts = parts.into_iter().filter(|(n, _)| *n > 0);
                let parts: Vec<_> = parts.map(|(n, what)| count(n, what)).collect();
                let parts = parts.join(", ");
                term.note(format_args!("deleted {place} since the last sync: {parts}"));
                term.hint(
                    "`--delete` deletes them on the other side, too, `--restore` copies them back",
                );
            }
        }
        if !plan.running.is_empty() {
            let n = plan.running.len();
            term.note(format_args!(
                "jobs that run, whose files wait: {n}; `--running` takes them"
            ));
        }
        if plan.n_skipped_dirs > 0 {
            term.note(format_args!(
                "directories that were skipped: {}; `-r` takes them",
                plan.n_skipped_dirs
            ));
        }
        if !plan.ignored.is_empty() {
            let shown: Vec<_> = plan.ignored.iter().take(SHOWN_MAX).map(harmless).collect();
            term.note(format_args!("left as they are: {}", shown.join(", ")));
        }
        if plan.n_other_direction > 0 {
            term.note(format_args!(
                "changes in the other direction: {}",
                plan.n_other_direction
            ));
        }
    }
}

/// Says how many there are of something.
fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Says how much is done; `None` if nothing is.
fn counted(totals: &Totals) -> Option<String> {
    let mut parts = Vec::new();
    let mut add = |n: usize, what: &str| match n {
        0 => {}
        n => parts.push(count(n, what)),
    };
    add(totals.jobs, "new job");
    add(totals.files, "file");
    add(totals.texts, "document");
    add(totals.removed, "deletion");
    let (parts, bytes) = (parts.join(", "), Bytes(totals.bytes));
    (!parts.is_empty()).then(|| format!("{parts}, {bytes}"))
}

fn command_line() -> Vec<String> {
    let args = std::env::args_os();
    args.map(|arg| arg.to_string_lossy().into_owned()).collect()
}

/// Begins a run, under a name that no other one has.
fn new_run(local: &LocalSide) -> Run {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3f");
    Run {
        id: Logs::of(local).free_name(&format!("{time}-{}", std::process::id())),
        now: now(),
        takes_growing: false,
        pace: Pace::default(),
    }
}

fn more(context: &Context<'_>, n: usize, what: &str) {
    if n > SHOWN_MAX {
        context
            .term
            .note(format_args!("… and {} more {what}", n - SHOWN_MAX));
    }
}

fn is_named(names: &Option<Vec<String>>, id: &JobId) -> bool {
    let Some(names) = names else { return true };
    let id = id.to_string();
    names.iter().any(|name| id.starts_with(name.as_str()))
}

fn json(report: &Report<'_>) -> Result<String, CliError> {
    serde_json::to_string(report).map_err(CliError::failed)
}

fn outcome(plan: &Plan, is_done: bool) -> Exit {
    match is_done && plan.conflicts.is_empty() && plan.problems.is_empty() {
        true => Exit::Done,
        false => Exit::Partial,
    }
}
