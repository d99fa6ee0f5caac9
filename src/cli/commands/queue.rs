//! `sweepfs queue`, `sweepfs cancel`, `sweepfs hold` and `sweepfs release`

use crate::cli::args::{
    BatchSelectionArgs, BatchState, CancelArgs, HoldArgs, QueueArgs, ReleaseArgs,
};
use crate::cli::cluster::Chosen;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::report::harmless;
use crate::scheduler::{Seen, Trouble};
use crate::workflow::{
    BatchLine, Bundle, Clusters, Followed, cancel as cancel_all, hold as hold_all,
    release as release_all,
};
use crate::workspace::Workspace;
use std::collections::{BTreeSet, HashSet};

pub(in crate::cli) fn run(context: &Context<'_>, args: &QueueArgs) -> Result<Exit, CliError> {
    let project = Loaded::new(context)?;
    let clusters = project.clusters(context)?;
    let followed = context.follow(&project.workspace, &clusters);
    let lines = chosen(context, &project, &followed, &args.which)?;
    match args.json {
        true => print_json(context, &followed, &lines)?,
        false => print(context, &followed, &lines)?,
    }
    Ok(match followed.troubles.is_empty() {
        true => Exit::Done,
        false => Exit::Partial,
    })
}

/// Finds the executions that are meant, in their order.
fn chosen<'a>(
    context: &Context<'_>,
    project: &Loaded,
    followed: &'a Followed,
    which: &BatchSelectionArgs,
) -> Result<Vec<BatchLine<'a>>, CliError> {
    let by = (&which.operations, &which.selection);
    let chosen = Chosen::new(context, &project.workspace, project.flow.config(), by)?;
    let ids: HashSet<&str> = which.ids.iter().map(String::as_str).collect();
    let is_named = |bundle: &Bundle, execution: u32| {
        let array = bundle.id.as_ref().map(|array| array.id.as_str());
        let id = || bundle.batch_id(execution);
        array.is_some_and(|array| ids.contains(array)) || id().is_some_and(|id| ids.contains(&*id))
    };
    let is_meant = |bundle: &Bundle, execution: u32| {
        let (state, _) = state(followed, bundle, execution);
        (ids.is_empty() || is_named(bundle, execution))
            && (which.states.is_empty() || which.states.contains(&state))
            && chosen.has(bundle, execution)
    };
    let mut lines = Vec::new();
    for bundle in &followed.bundles {
        let executions = bundle
            .open()
            .filter(|execution| is_meant(bundle, *execution));
        lines.extend(executions.map(|execution| BatchLine { bundle, execution }));
    }
    for id in &which.ids {
        if !followed.bundles.iter().any(|bundle| has_id(bundle, id)) {
            context.term.warn(format_args!(
                "nothing of this project waits or runs as `{id}`"
            ));
        }
    }
    Ok(lines)
}

/// Tells whether an array, or a batch job of it that has not ended, is called so.
fn has_id(bundle: &Bundle, id: &str) -> bool {
    let is_its = |execution| bundle.batch_id(execution).as_deref() == Some(id);
    bundle.id.as_ref().is_some_and(|array| array.id == id) || bundle.open().any(is_its)
}

/// Returns how far the batch job of an execution is, and why.
fn state<'a>(followed: &'a Followed, bundle: &Bundle, execution: u32) -> (BatchState, &'a str) {
    match followed.state(bundle, execution) {
        Some(Seen::Active(_)) => (BatchState::Running, ""),
        Some(Seen::Queued(why)) => (BatchState::Queued, why),
        Some(Seen::Held) => (BatchState::Held, ""),
        Some(Seen::Ended(..) | Seen::Gone) => (BatchState::Ended, ""),
        None if bundle.id.is_none() => (BatchState::Submitting, ""),
        None => (BatchState::Unknown, ""),
    }
}

/// Prints aligned columns.
fn print(
    context: &Context<'_>,
    followed: &Followed,
    lines: &[BatchLine<'_>],
) -> Result<(), CliError> {
    let clusters: BTreeSet<_> = lines.iter().map(|line| &line.bundle.cluster).collect();
    let row = |line: &BatchLine<'_>| {
        let BatchLine { bundle, execution } = line;
        let (state, why) = state(followed, bundle, *execution);
        let id = bundle.batch_id(*execution);
        let mut cells = vec![
            id.unwrap_or_else(|| "-".to_owned()),
            state.name().to_owned(),
        ];
        if clusters.len() > 1 {
            cells.push(bundle.cluster.clone());
        }
        cells.push(bundle.operation.clone());
        let of = bundle.executions.get(*execution as usize);
        cells.push(of.map(|of| of.id.clone()).unwrap_or_default());
        cells.push(why.to_owned());
        cells.iter().map(harmless).collect::<Vec<_>>()
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    let n_columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..n_columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, &width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        context.term.line(line.trim_end())?;
    }
    Ok(())
}

/// Prints an object a line.
fn print_json(
    context: &Context<'_>,
    followed: &Followed,
    lines: &[BatchLine<'_>],
) -> Result<(), CliError> {
    for BatchLine { bundle, execution } in lines {
        let (state, why) = state(followed, bundle, *execution);
        let of = bundle.executions.get(*execution as usize);
        context.term.line(serde_json::json!({
            "batch_id": bundle.batch_id(*execution),
            "array": bundle.id.as_ref().map(|array| &array.id),
            "submission": bundle.name,
            "cluster": bundle.cluster,
            "state": state.name(),
            "reason": why,
            "submitted": bundle.submitted,
            "pilot": bundle.pilot.is_some(),
            "operation": bundle.pilot.is_none().then_some(&bundle.operation),
            "id": of.map(|of| &of.id),
            "jobs": of.map_or(&[][..], |of| &of.jobs),
        }))?;
    }
    Ok(())
}

/// What is to be changed, and where.
struct Change<'c> {
    project: &'c Loaded,
    clusters: &'c Clusters,
    followed: &'c Followed,
    lines: Vec<BatchLine<'c>>,
}

/// Finds what a command is to change, and has it done; returns `None` if there is nothing.
fn with_chosen<T>(
    context: &Context<'_>,
    which: &BatchSelectionArgs,
    (all, done): (bool, &str),
    change: impl FnOnce(&Change<'_>) -> Result<T, CliError>,
) -> Result<Option<T>, CliError> {
    if !all && which.is_empty() {
        return Err(CliError::usage(format!("what is to be {done}?")).with_hint(
            "name batch jobs, select with `-o`, `-f`, `-j` or `--state`, or give `--all`",
        ));
    }
    let project = Loaded::new(context)?;
    let clusters = project.clusters(context)?;
    let followed = context.follow(&project.workspace, &clusters);
    let lines = chosen(context, &project, &followed, which)?;
    if lines.is_empty() {
        return Ok(None);
    }
    let found = Change {
        project: &project,
        clusters: &clusters,
        followed: &followed,
        lines,
    };
    change(&found).map(Some)
}

pub(in crate::cli) fn cancel(context: &Context<'_>, args: &CancelArgs) -> Result<Exit, CliError> {
    let cancelled = with_chosen(context, &args.which, (args.all, "cancelled"), |found| {
        let workspace = &found.project.workspace;
        cancel_all(workspace, found.clusters, &found.lines).map_err(CliError::failed)
    })?;
    let Some(cancelled) = cancelled else {
        context.term.note("nothing to cancel");
        return Ok(Exit::Done);
    };
    let n = cancelled.n_cancelled;
    context.term.note(format_args!("cancelled: {n}"));
    if cancelled.n_left > 0 {
        let n = cancelled.n_left;
        context.term.warn(format_args!(
            "what has begun in a batch job with others goes on: {n}"
        ));
        context
            .term
            .hint("a batch job is ended if all that it executes is cancelled");
    }
    for trouble in &cancelled.troubles {
        context.term.warn(trouble);
    }
    Ok(
        match cancelled.troubles.is_empty() && cancelled.n_left == 0 {
            true => Exit::Done,
            false => Exit::Partial,
        },
    )
}

pub(in crate::cli) fn hold(context: &Context<'_>, args: &HoldArgs) -> Result<Exit, CliError> {
    change_waiting(context, &args.which, (args.all, "held", "hold"), hold_all)
}

pub(in crate::cli) fn release(context: &Context<'_>, args: &ReleaseArgs) -> Result<Exit, CliError> {
    let words = (args.all, "released", "release");
    change_waiting(context, &args.which, words, release_all)
}

/// Changes batch jobs that have not begun.
fn change_waiting(
    context: &Context<'_>,
    which: &BatchSelectionArgs,
    (all, done, verb): (bool, &str, &str),
    change: fn(&Workspace, &Clusters, &[BatchLine<'_>]) -> Result<usize, Trouble>,
) -> Result<Exit, CliError> {
    let n = with_chosen(context, which, (all, done), |found| {
        let waits = |line: &&BatchLine<'_>| {
            let (state, _) = state(found.followed, line.bundle, line.execution);
            !matches!(state, BatchState::Running | BatchState::Ended)
        };
        let lines: Vec<_> = found.lines.iter().filter(waits).copied().collect();
        change(&found.project.workspace, found.clusters, &lines).map_err(CliError::failed)
    })?;
    match n.unwrap_or(0) {
        0 => context.term.note(format_args!("nothing to {verb}")),
        n => context.term.note(format_args!("batch jobs {done}: {n}")),
    }
    Ok(Exit::Done)
}
