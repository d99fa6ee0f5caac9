//! `sweepfs run` and `sweepfs exec`

use crate::cli::args::{ExecArgs, Order, RunArgs};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::cli::operations::operation_named;
use crate::cli::selection::Selection;
use crate::report::{Event, Observer};
use crate::term::{ProgressObserver, Term};
use crate::workflow::{
    BatchTask, Ended, Flow, Outcome, Planned, Prepared, Room, RunObserver, RunOptions, RunSummary,
    Runner, eligible,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// So many lines of a log are shown of an execution that failed.
const TAIL_LINES: usize = 10;

/// That is done for so many; the others fail alike, and only their reasons are named.
const TAILS_MAX: usize = 3;

/// No more of a log is read for that.
const TAIL_BYTES_MAX: u64 = 16 * 1024;

pub(in crate::cli) fn run(context: &Context<'_>, args: &RunArgs) -> Result<Exit, CliError> {
    let project = Loaded::new(context)?;
    let operations = args.operations.places(project.flow.config())?;
    let selection = Selection::new(context, &args.selection, &[], &[])?;
    let clusters = project.clusters(context)?;
    let prepared = project.prepared_here(&clusters)?;
    context.follow(&project.workspace, &clusters);
    let (mut exit, mut n_failed) = (Exit::Done, 0);
    let mut plan = || {
        let found = context.ask(&project.workspace, &selection, |facts, jobs| {
            let evaluation = project.flow.evaluation(facts)?;
            let found = eligible(&evaluation, &operations, jobs, args.retry)?;
            Ok((found, evaluation.problems()))
        })?;
        let (eligible, problems) = found.answer;
        exit = found.exit.or(context.report_problems(&problems));
        n_failed = eligible.n_failed;
        Ok(ordered(eligible.planned, args.order))
    };
    if args.dry_run {
        let planned = plan()?;
        let limit = args.limit.unwrap_or(usize::MAX);
        let planned: Vec<_> = planned.into_iter().take(limit).collect();
        return print_commands(context, &project, &prepared, &planned);
    }
    let options = RunOptions {
        room: Room::of_cores(cores(args.parallel)),
        by_walltime: false,
        limit: args.limit,
        timeout: args.timeout,
        fail_fast: args.fail_fast,
        force: false,
    };
    let interrupts = count_interrupts()?;
    let work = Work {
        project: &project,
        prepared: &prepared,
        options: &options,
        with_output: false,
        task: None,
        interrupts: &interrupts,
    };
    let done = exit_of(&execute(context, work, plan)?);
    if n_failed > 0 {
        context
            .term
            .note(format_args!("what has failed is left alone: {n_failed}"));
        context
            .term
            .hint("`sweepfs run --retry` takes it again, `sweepfs status` shows it");
    }
    Ok(done.or(exit))
}

/// Executes an operation whatever its conditions say.
pub(in crate::cli) fn exec(context: &Context<'_>, args: &ExecArgs) -> Result<Exit, CliError> {
    let project = Loaded::new(context)?;
    let operation = operation_named(project.flow.config(), &args.operation)?;
    let prepared = project.prepared_here(&project.clusters(context)?)?;
    let planned = project.named(context, operation, &args.jobs, &args.selection)?;
    if args.dry_run {
        return print_commands(context, &project, &prepared, &planned);
    }
    let options = RunOptions {
        room: Room::of_cores(1),
        by_walltime: false,
        limit: None,
        timeout: args.timeout,
        fail_fast: false,
        force: true,
    };
    let mut planned = Some(planned);
    let plan = || Ok(planned.take().unwrap_or_default());
    let interrupts = count_interrupts()?;
    let work = Work {
        project: &project,
        prepared: &prepared,
        options: &options,
        with_output: true,
        task: None,
        interrupts: &interrupts,
    };
    Ok(exit_of(&execute(context, work, plan)?))
}

/// What is executed, and how.
pub(super) struct Work<'a> {
    pub(super) project: &'a Loaded,
    pub(super) prepared: &'a [Prepared],
    pub(super) options: &'a RunOptions,
    /// Whether what each prints is shown.
    pub(super) with_output: bool,
    /// The batch job in which we are.
    pub(super) task: Option<BatchTask<'a>>,
    /// How often we are asked to stop.
    pub(super) interrupts: &'a AtomicUsize,
}

/// Does executions, and tells what came of them.
pub(super) fn execute(
    context: &Context<'_>,
    work: Work<'_>,
    plan: impl FnMut() -> Result<Vec<Planned>, CliError>,
) -> Result<RunSummary, CliError> {
    let flow = &work.project.flow;
    let store = context.store(&work.project.workspace);
    let runner = Runner::new(flow, &store, work.prepared, work.options, work.interrupts);
    let runner = match work.task {
        Some(task) => runner.as_batch(task),
        None => runner,
    };
    let teller = Teller {
        term: context.term,
        progress: context.term.progress(),
        flow,
        verbose: context.verbose > 0,
        with_output: work.with_output,
        n_failed: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        total: AtomicUsize::new(0),
    };
    let begun = Instant::now();
    let summary = runner.run(plan, &teller);
    teller.progress.event(Event::Finished);
    let summary = summary?;
    teller.summarise(&summary, begun.elapsed());
    Ok(summary)
}

/// Returns the exit code after executions.
pub(super) fn exit_of(summary: &RunSummary) -> Exit {
    match summary {
        _ if summary.was_interrupted => Exit::Interrupted,
        _ if summary.failed + summary.interrupted > 0 => Exit::Partial,
        _ => Exit::Done,
    }
}

fn cores(parallel: Option<Option<u32>>) -> u32 {
    let all = || std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    match parallel {
        None => 1,
        Some(None) => all(),
        Some(Some(cores)) => cores,
    }
}

fn ordered(mut planned: Vec<Planned>, order: Order) -> Vec<Planned> {
    match order {
        Order::Job => {}
        Order::Operation => planned.sort_by_key(|planned| planned.operation),
        Order::Random => planned.sort_by_cached_key(|_| Uuid::new_v4()),
    }
    planned
}

/// Prints what would be run, as lines for a shell.
fn print_commands(
    context: &Context<'_>,
    project: &Loaded,
    prepared: &[Prepared],
    planned: &[Planned],
) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for planned in planned {
        let prepared = &prepared[planned.operation];
        let name = &prepared.config().name;
        match prepared.command(&project.workspace, planned) {
            Ok(command) => {
                context.term.line(format_args!("# {name} {}", planned.id))?;
                context.term.line(command)?;
            }
            Err(reason) => {
                context
                    .term
                    .warn(format_args!("{name} {}: {reason}", planned.id));
                exit = Exit::Partial;
            }
        }
    }
    Ok(exit)
}

/// So many requests to stop are followed by ending what runs; the next one ends us at once.
const PATIENCE: usize = 2;

/// Counts from now on how often the user asks to stop. Grid Engine does so by SIGUSR2 before it kills a
/// batch job; by SIGUSR1 it tells that it stops one for a while, which is nothing to us.
pub(super) fn count_interrupts() -> Result<Arc<AtomicUsize>, CliError> {
    let interrupts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&interrupts);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2])?;
    std::thread::spawn(move || {
        for signal in signals.forever().filter(|signal| *signal != SIGUSR1) {
            // Whoever insists does not want to wait for what a condition asks, or for a lock.
            if counted.fetch_add(1, Ordering::Relaxed) >= PATIENCE {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    });
    Ok(interrupts)
}

/// Tells the user what goes on.
struct Teller<'a> {
    term: &'a Term,
    progress: ProgressObserver,
    flow: &'a Flow,
    verbose: bool,
    /// Whether the output of each execution is printed.
    with_output: bool,
    n_failed: AtomicUsize,
    done: AtomicUsize,
    total: AtomicUsize,
}

impl Teller<'_> {
    fn name(&self, planned: &Planned) -> String {
        let operation = &self.flow.config().operations[planned.operation];
        format!("{} {}", operation.name, planned.id)
    }

    fn advance(&self) {
        self.progress.event(Event::Progress {
            what: "executing",
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
        });
    }

    fn show_end(&self, planned: &Planned, ended: &Ended) {
        let name = self.name(planned);
        let reason = ended.reason.as_deref().unwrap_or_default();
        match ended.outcome {
            Outcome::Completed if self.verbose => self.term.note(format_args!("{name}: completed")),
            Outcome::Taken if self.verbose => {
                self.term
                    .note(format_args!("{name}: done by another process"));
            }
            Outcome::Completed | Outcome::Taken => {}
            Outcome::Interrupted => self
                .term
                .warn(format_args!("{name}: interrupted: {reason}")),
            Outcome::Failed => {
                self.term.warn(format_args!("{name}: failed: {reason}"));
                let n_before = self.n_failed.fetch_add(1, Ordering::Relaxed);
                let is_shown = !self.with_output && n_before < TAILS_MAX;
                if let Some((log, start)) = ended.log.as_ref().filter(|_| is_shown) {
                    self.show_tail(log, *start);
                }
            }
        }
        for warning in &ended.warnings {
            self.term.warn(format_args!("{name}: {warning}"));
        }
    }

    /// Shows the end of what an execution printed.
    fn show_tail(&self, log: &Path, start: u64) {
        let Ok(text) = tail(log, start) else { return };
        // The first line is ours.
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with("== attempt "))
            .collect();
        for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
            self.term
                .quote(&format!("  {}", crate::report::harmless(line)));
        }
        self.term
            .hint(format_args!("all of it is in {}", log.display()));
    }

    fn summarise(&self, summary: &RunSummary, elapsed: Duration) {
        let mut parts = vec![format!("{} completed", summary.completed)];
        if summary.failed > 0 {
            parts.push(format!("{} failed", summary.failed));
        }
        if summary.interrupted > 0 {
            parts.push(format!("{} interrupted", summary.interrupted));
        }
        let n = summary.completed + summary.failed + summary.interrupted;
        let seconds = elapsed.as_secs_f64();
        match n {
            0 => self.term.note("nothing to do"),
            1 => self.term.note(format_args!(
                "1 execution: {} ({seconds:.1} s)",
                parts.join(", ")
            )),
            _ => self.term.note(format_args!(
                "{n} executions: {} ({seconds:.1} s)",
                parts.join(", ")
            )),
        }
        if summary.limit_reached {
            self.term.note("the limit was reached; more can be done");
        }
    }
}

fn tail(log: &Path, start: u64) -> std::io::Result<String> {
    let mut file = std::fs::File::open(log)?;
    let size_bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(
        start.max(size_bytes.saturating_sub(TAIL_BYTES_MAX)),
    ))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl RunObserver for Teller<'_> {
    fn planned(&self, n: usize) {
        self.total.fetch_add(n, Ordering::Relaxed);
        self.advance();
    }

    fn started(&self, planned: &Planned) {
        if self.verbose {
            self.progress.aside(|| {
                let name = self.name(planned);
                self.term.note(format_args!("{name}: started"));
            });
        }
    }

    fn ended(&self, planned: &Planned, ended: &Ended) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.progress.aside(|| {
            if let Some((log, start)) = ended.log.as_ref().filter(|_| self.with_output) {
                let _ = self.print_output(log, *start);
            }
            self.show_end(planned, ended);
        });
        self.advance();
    }
}

impl Teller<'_> {
    /// Prints all that an execution printed.
    fn print_output(&self, log: &Path, start: u64) -> std::io::Result<()> {
        let mut file = std::io::BufReader::new(std::fs::File::open(log)?);
        file.seek(SeekFrom::Start(start))?;
        std::io::BufRead::skip_until(&mut file, b'\n')?;
        self.term
            .data(|out| std::io::copy(&mut file, out).map(drop))?;
        self.term.flush()
    }
}
