//! `sweepfs sync`

mod all;
mod ask;
mod history;
mod options;
mod pacing;
mod planfile;
mod schema;
mod tell;

use crate::cli::args::{StrategyChoice, SyncArgs, SyncCommand};
use crate::cli::context::{Context, now};
use crate::cli::error::{CliError, Exit};
use crate::cli::remotes::{Opened, Remote, local_side};
use crate::cli::selection::Selection;
use crate::config::{PROJECT_FILE, ProjectConfig};
use crate::filter::Filter;
use crate::pyjson::Object;
use crate::report::{Event, Observer};
use crate::statepoint::{JobId, StatePoint};
use crate::sync::{
    Conflict, Listing, LocalSide, LogHeader, Logs, Memory, Options, Pace, PlanFile, Run, Session,
    Wanted, Whose,
};
use crate::term::{ProgressObserver, Term};
use options::{options, signac_options};
use pacing::{Limits, Pacing};
use std::sync::{Arc, Mutex, PoisonError};

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
        let is_new = |conflict| again.is_some_and(|before| !before.contains(conflict));
        let has_new = prepared.plan.conflicts.iter().any(is_new);
        if again.is_some() && prepared.plan.is_empty() && !has_new {
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

fn is_named(names: &Option<Vec<String>>, id: &JobId) -> bool {
    let Some(names) = names else { return true };
    let id = id.to_string();
    names.iter().any(|name| id.starts_with(name.as_str()))
}
