//! `sweepfs submit`

use crate::cli::args::SubmitArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::cli::selection::Selection;
use crate::exec::quoted;
use crate::report::harmless;
use crate::scheduler::Needs;
use crate::workflow::{
    Batch, BatchCost, Cluster, Clusters, Place, SendError, Submitter, batches, eligible, place,
};
use std::io::IsTerminal;
use std::path::Path;

pub(in crate::cli) fn run(context: &Context<'_>, args: &SubmitArgs) -> Result<Exit, CliError> {
    let project = Loaded::new(context)?;
    let clusters = project.clusters(context)?;
    let choice = context.choose(&clusters, args.cluster.as_deref())?;
    let cluster = choice.cluster;
    let (batches, exit) = plan(context, &project, args, (&clusters, cluster))?;
    let program = context.program()?;
    let submitter = Submitter {
        flow: &project.flow,
        cluster,
        account: args.account.as_deref(),
        at_once: args.at_once,
        is_held: args.hold,
        program: text(&program)?,
        project: text(project.workspace.project_root())?,
    };
    if args.dry_run {
        print_scripts(context, &submitter, &batches)?;
        return Ok(exit);
    }
    if batches.is_empty() {
        context.term.note("nothing to submit");
        return Ok(exit);
    }
    if args.cluster.is_none() {
        let (name, why) = (cluster.name(), &choice.why);
        context.term.note(format_args!("to `{name}`, since {why}"));
    }
    tell_cost(context, &project, &batches);
    if !args.yes && !is_wanted(context)? {
        context.term.note("nothing was submitted");
        return Ok(Exit::Done);
    }
    Ok(send(context, &project, &submitter, &batches)?.or(exit))
}

/// Finds what is to be sent.
fn plan(
    context: &Context<'_>,
    project: &Loaded,
    args: &SubmitArgs,
    (clusters, cluster): (&Clusters, &Cluster),
) -> Result<(Vec<Batch>, Exit), CliError> {
    let operations = args.operations.places(project.flow.config())?;
    let selection = Selection::new(context, &args.selection, &[], &[])?;
    let prepared = project.prepared(&cluster.config)?;
    context.follow(&project.workspace, clusters);
    let found = context.ask(&project.workspace, &selection, |facts, jobs| {
        let evaluation = project.flow.evaluation(facts)?;
        let found = eligible(&evaluation, &operations, jobs, args.retry)?;
        Ok((found, evaluation.problems()))
    })?;
    let (found_planned, problems) = found.answer;
    let mut exit = found.exit.or(context.report_problems(&problems));
    let mut planned = found_planned.planned;
    planned.truncate(args.limit.unwrap_or(usize::MAX));
    let elements_max = cluster.scheduler.elements_max();
    let (mut batches, unusable) = batches(&project.flow, &prepared, planned, elements_max);
    for (planned, reason) in unusable {
        let name = &project.flow.config().operations[planned.operation].name;
        context
            .term
            .warn(format_args!("{name} {}: {reason}", planned.id));
        exit = Exit::Partial;
    }
    let partition = args.partition.as_deref();
    exit = exit.or(put(context, project, &mut batches, (cluster, partition)));
    if found_planned.n_failed > 0 {
        let n = found_planned.n_failed;
        context
            .term
            .note(format_args!("what has failed is left alone: {n}"));
        context
            .term
            .hint("`sweepfs submit --retry` takes it again, `sweepfs status` shows it");
    }
    Ok((batches, exit))
}

/// Finds the place of each batch, and names those that have none.
fn put(
    context: &Context<'_>,
    project: &Loaded,
    batches: &mut Vec<Batch>,
    (cluster, partition): (&Cluster, Option<&str>),
) -> Exit {
    let mut exit = Exit::Done;
    batches.retain_mut(|batch| {
        let found = place(&cluster.config, &batch.needs, partition);
        let name = &project.flow.config().operations[batch.operation].name;
        match found {
            Ok(place) => batch.place = place,
            Err(reason) => {
                context.term.warn(format_args!("{name}: {reason}"));
                exit = Exit::Partial;
                return false;
            }
        }
        true
    });
    exit
}

fn text(path: &Path) -> Result<&str, CliError> {
    path.to_str()
        .ok_or_else(|| CliError::failed(format!("the path `{}` is not UTF-8 text", path.display())))
}

fn print_scripts(
    context: &Context<'_>,
    submitter: &Submitter<'_>,
    batches: &[Batch],
) -> Result<(), CliError> {
    for batch in batches {
        let (script, command) = submitter.script(batch).map_err(CliError::failed)?;
        let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
        context.term.line(format_args!("# {}", words.join(" ")))?;
        context.term.line(script.trim_end())?;
    }
    Ok(())
}

/// Says what is to be sent, and what it may cost.
fn tell_cost(context: &Context<'_>, project: &Loaded, batches: &[Batch]) {
    let mut total = BatchCost::default();
    for batch in batches {
        let name = &project.flow.config().operations[batch.operation].name;
        let needs = needs(&batch.needs, &batch.place);
        let n = batch.planned.len();
        context.term.note(format_args!(
            "{name}: {n} executions in an array, each {needs}"
        ));
        total = total + batch.cost();
    }
    let gpus = match total.gpu_hours > 0.0 {
        true => format!(" and {:.1} GPU-hours", total.gpu_hours),
        false => String::new(),
    };
    if total.cpu_hours > 0.0 {
        let hours = total.cpu_hours;
        context
            .term
            .note(format_args!("in all at most {hours:.1} CPU-hours{gpus}"));
    }
    if total.n_unlimited > 0 {
        let n = total.n_unlimited;
        context.term.note(format_args!(
            "what {n} of them cost is unknown: their operation has no `walltime`"
        ));
    }
}

fn needs(needs: &Needs, place: &Place) -> String {
    let mut parts = vec![match needs.cores() {
        1 => "1 core".to_owned(),
        n => format!("{n} cores"),
    }];
    if needs.gpus > 0 {
        parts.push(format!("{} GPUs", needs.gpus));
    }
    if let Some(bytes) = needs.memory_bytes {
        parts.push(format!("{} MiB", bytes.div_ceil(1 << 20)));
    }
    parts.push(match needs.walltime_s {
        Some(time_s) => format!("{:.1} h", time_s as f64 / 3600.0),
        None => "no walltime".to_owned(),
    });
    if let Some(partition) = &place.partition {
        parts.push(format!("in `{partition}`"));
    }
    if place.paid_cores > needs.cores() {
        parts.push(format!(
            "which gives whole nodes: {} cores",
            place.paid_cores
        ));
    }
    parts.join(", ")
}

/// Asks the user.
fn is_wanted(context: &Context<'_>) -> Result<bool, CliError> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(
            CliError::refused("nothing was submitted: nobody can be asked")
                .with_hint("`--yes` submits without a question"),
        );
    }
    context.term.note("submit? [y/N]");
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

fn send(
    context: &Context<'_>,
    project: &Loaded,
    submitter: &Submitter<'_>,
    batches: &[Batch],
) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for batch in batches {
        let name = &project.flow.config().operations[batch.operation].name;
        let sent = match submitter.send(batch) {
            Ok(sent) => sent,
            Err(error @ SendError::Unclear(_)) => {
                context.term.warn(harmless(format_args!("{name}: {error}")));
                context
                    .term
                    .hint("the next command finds out; until then they count as queued");
                exit = Exit::Partial;
                continue;
            }
            Err(error) => return Err(CliError::failed(format!("{name}: {error}"))),
        };
        for warning in &sent.warnings {
            context.term.warn(format_args!("{name}: {warning}"));
            exit = Exit::Partial;
        }
        if let Some(id) = &sent.id {
            let n = sent.n_sent;
            context
                .term
                .note(format_args!("{name}: {n} submitted, array {id}"));
        }
        if sent.n_taken > 0 {
            let n = sent.n_taken;
            context
                .term
                .note(format_args!("{name}: {n} were taken by another process"));
        }
    }
    Ok(exit)
}
