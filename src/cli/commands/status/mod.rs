//! `sweepfs status`

mod details;
mod elsewhere;
mod json;
mod look;
mod overview;

use crate::catalog::{Facts, FactsError, Reader, Snapshot};
use crate::cli::args::StatusArgs;
use crate::cli::context::{Context, now};
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::cli::selection::Selection;
use crate::config::{PROJECT_FILE, ProjectConfig};
use crate::report::Problem;
use crate::term::Grid;
use crate::workflow::{Clusters, Elsewhere, Flow, FlowState, OperationStatus, Status, Units};
use crate::workspace::Workspace;
use details::Details;
use look::Look;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// What commands in conditions have answered is not asked again within this time.
const MEMORY: Duration = Duration::from_secs(1);

/// The view that stands in place of the default hierarchy.
const DEFAULT_VIEW: &str = "default";

/// So many jobs are placed one by one.
const FEW_JOBS: usize = 16;

/// The digits of an id that are shown at least.
const ID_LEN_MIN: usize = 4;

pub(in crate::cli) fn run(context: &Context<'_>, args: &StatusArgs) -> Result<Exit, CliError> {
    let Loaded {
        workspace,
        config,
        flow,
    } = Loaded::remembering(context, MEMORY)?;
    let is_plain = args.operations.operations.is_empty();
    let plan = Plan {
        flow: &flow,
        config: &config,
        workspace: &workspace,
        clusters: context.clusters(&workspace, &config)?,
        places: match config.workflow.operations.is_empty() && is_plain {
            true => Vec::new(),
            false => args.operations.places(&config.workflow)?,
        },
        selection: Selection::new(context, &args.selection, &[], &[])?,
        args,
        look: Look::new(context, args.markdown),
    };
    if let Some(remote) = &args.remote {
        return elsewhere::ask(context, &plan, remote);
    }
    let Some(pause) = args.watch else {
        return plan.show(context);
    };
    loop {
        plan.show(context)?;
        context.term.flush()?;
        std::thread::sleep(Duration::from_secs_f64(pause));
        match context.term.is_terminal() {
            true => context.term.data(|out| out.write_all(CLEAR))?,
            false if args.json => {}
            false => context.term.line("")?,
        }
    }
}

/// Empties the screen of a terminal.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// What is to be shown.
struct Plan<'a> {
    flow: &'a Flow,
    config: &'a ProjectConfig,
    workspace: &'a Workspace,
    clusters: Clusters,
    /// The places of the operations.
    places: Vec<usize>,
    selection: Selection,
    args: &'a StatusArgs,
    look: Look,
}

/// What there is to be shown.
struct Seen {
    status: Status,
    /// What of a failure has to be typed to name it.
    first_failed: Option<String>,
    details: Option<Details>,
    elsewhere: Vec<Elsewhere>,
    syncs: elsewhere::Syncs,
}

impl Plan<'_> {
    fn show(&self, context: &Context<'_>) -> Result<Exit, CliError> {
        context.follow(self.workspace, &self.clusters);
        let (mut seen, exit) = self.see(context)?;
        seen.syncs = elsewhere::syncs(context, self)?;
        let problems = joined(&seen.status.problems);
        if self.args.json {
            context.term.line(json::of(self, &seen))?;
        } else {
            overview::show(context, self, &seen)?;
            elsewhere::show(context, &seen, self)?;
            if let Some(details) = &seen.details {
                details.show(context, self, &seen.status)?;
            }
        }
        let exit = exit.or(context.report_problems(&problems));
        if self.config.workflow.operations.is_empty() && !self.args.json {
            context.term.hint(format_args!(
                "operations in `{PROJECT_FILE}` say what is to be done with the jobs"
            ));
        }
        Ok(exit)
    }

    fn see(&self, context: &Context<'_>) -> Result<(Seen, Exit), CliError> {
        if !self.args.has_details() || self.are_few() {
            let found = context.ask(self.workspace, &self.selection, |facts, jobs| {
                self.seen(facts, jobs, None)
            })?;
            return Ok((found.answer, found.exit));
        }
        let store = context.store(self.workspace);
        let observer = context.term.progress();
        let (mut reader, snapshot) = Reader::in_memory(self.workspace, store, now(), &observer)?;
        let found = context.ask_of(&mut reader, &self.selection, |facts, jobs| {
            self.seen(facts, jobs, Some(&snapshot))
        })?;
        Ok((found.answer, found.exit))
    }

    /// Tells whether so few jobs are named that those alone are looked at.
    fn are_few(&self) -> bool {
        let named = &self.args.selection.job_ids;
        let is_own = self.config.views.contains_key(DEFAULT_VIEW);
        !is_own && (1..=FEW_JOBS).contains(&named.len()) && named.iter().all(|name| name != "-")
    }

    fn seen(
        &self,
        facts: &Facts<'_>,
        jobs: &RoaringBitmap,
        snapshot: Option<&Snapshot>,
    ) -> Result<Seen, FactsError> {
        let status = self.flow.status(facts, jobs, &self.places)?;
        let elsewhere = self.flow.elsewhere(facts, &status)?;
        let details = match self.args.has_details() {
            true => Some(Details::of(self, snapshot, facts, &status)?.with(&elsewhere)),
            false => None,
        };
        Ok(Seen {
            first_failed: first_failed(&status, facts)?,
            elsewhere,
            syncs: Vec::new(),
            details,
            status,
        })
    }

    /// Tells whether a state was asked for.
    fn is_asked(&self, state: FlowState) -> bool {
        self.args.only.is_empty() || self.args.only.contains(&state)
    }

    /// Returns the operations that have something to show.
    fn shown<'s>(&'s self, status: &'s Status) -> impl Iterator<Item = &'s OperationStatus> {
        let is_shown = |operation: &&OperationStatus| {
            let mut states = operation.states.states.keys();
            self.args.only.is_empty() || states.any(|state| self.is_asked(*state))
        };
        status.operations.iter().filter(is_shown)
    }

    fn name(&self, operation: &OperationStatus) -> &str {
        &self.config.workflow.operations[operation.place].name
    }
}

/// Prints a table after an empty line.
fn print(context: &Context<'_>, look: &Look, grid: &Grid) -> io::Result<()> {
    let lines = match look.markdown {
        true => grid.markdown(),
        false => grid.lines(look.coloured),
    };
    context.term.line("")?;
    lines.iter().try_for_each(|line| context.term.line(line))
}

/// Returns the beginning of the id of the first aggregate that failed.
fn first_failed(status: &Status, facts: &Facts<'_>) -> Result<Option<String>, FactsError> {
    let failed = |operation: &OperationStatus| operation.states.of(FlowState::Failed).min();
    let mut operations = status.operations.iter();
    let Some((operation, unit)) = operations.find_map(|o| Some((o, failed(o)?))) else {
        return Ok(None);
    };
    if let Units::Aggregates(aggregates) = &operation.units {
        return Ok(Some(aggregates[unit as usize].id.clone()));
    }
    let ids = facts.ids(&[unit].into_iter().collect())?;
    let Some(id) = ids.first().map(ToString::to_string) else {
        return Ok(None);
    };
    for len in ID_LEN_MIN..id.len() {
        let found = facts.find_prefix(&id[..len])?;
        if found.is_some_and(|found| found.len() == 1) {
            return Ok(Some(id[..len].to_owned()));
        }
    }
    Ok(Some(id))
}

/// Makes one problem of those that have the same reason.
fn joined(problems: &[Problem]) -> Vec<Problem> {
    let mut by_reason: BTreeMap<&str, Vec<&Problem>> = BTreeMap::new();
    for problem in problems {
        by_reason.entry(&problem.reason).or_default().push(problem);
    }
    let join = |problems: Vec<&Problem>| {
        let first = problems[0].clone();
        let subject = match problems.len() {
            1 => first.subject,
            2 => format!("{} and 1 other", first.subject),
            n => format!("{} and {} others", first.subject, n - 1),
        };
        Problem { subject, ..first }
    };
    by_reason.into_values().map(join).collect()
}
