//! `sweepfs submit`

use super::pilot;
use crate::cli::args::SubmitArgs;
use crate::cli::clusters::Choice;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::cli::selection::Selection;
use crate::exec::quoted;
use crate::report::harmless;
use crate::scheduler::Needs;
use crate::workflow::{
    Batch, BatchCost, ChainOptions, Cluster, Clusters, Elsewhere, Link, Packing, Place, Planned,
    SendError, Sent, Submitter, batches, chain, eligible, place, time_text,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::Path;

pub(in crate::cli) fn run(context: &Context<'_>, args: &SubmitArgs) -> Result<Exit, CliError> {
    let project = Loaded::new(context)?;
    let clusters = project.clusters(context)?;
    let choice = context.choose(&clusters, args.cluster.as_deref())?;
    let cluster = choice.cluster;
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
    if args.pilot.pilot.is_some() {
        return pilot::submit(context, &project, args, (&clusters, &choice), &submitter);
    }
    let (batches, exit) = plan(context, &project, args, (&clusters, cluster))?;
    if args.dry_run {
        print_scripts(context, &submitter, &batches)?;
        return Ok(exit);
    }
    if batches.is_empty() {
        context.term.note("nothing to submit");
        return Ok(exit);
    }
    tell_choice(context, args, &choice);
    tell_cost(context, &project, &batches);
    if !args.yes && !is_wanted(context)? {
        context.term.note("nothing was submitted");
        return Ok(Exit::Done);
    }
    Ok(send(context, &project, &submitter, &batches)?.or(exit))
}

/// Says which cluster was chosen, if the user has not said it.
pub(super) fn tell_choice(context: &Context<'_>, args: &SubmitArgs, choice: &Choice<'_>) {
    if args.cluster.is_none() {
        let (name, why) = (choice.cluster.name(), &choice.why);
        context.term.note(format_args!("to `{name}`, since {why}"));
    }
}

/// Says what is not submitted because it goes on elsewhere.
fn tell_elsewhere(context: &Context<'_>, project: &Loaded, elsewhere: &[Elsewhere]) {
    for place in elsewhere {
        let name = &project.flow.config().operations[place.operation].name;
        let (n, state, cluster) = (place.units.len(), place.state, &place.cluster);
        context.term.note(format_args!(
            "{name}: {n} {state} on {cluster} as of the last sync, left alone"
        ));
    }
}

/// Executions that are sent alike.
struct Part {
    planned: Vec<Planned>,
    is_chained: bool,
    /// The operations that must have ended before.
    after: BTreeSet<usize>,
    /// The arrays that must have ended before.
    after_ids: Vec<String>,
}

impl Part {
    fn now(planned: Vec<Planned>) -> Self {
        Self {
            planned,
            is_chained: false,
            after: BTreeSet::new(),
            after_ids: Vec::new(),
        }
    }

    /// Those of an operation that can be executed now, and those that may be later.
    fn of_link(link: Link) -> [Self; 2] {
        let chained = Self {
            planned: link.chained,
            is_chained: true,
            after: link.after,
            after_ids: link.after_ids,
        };
        [Self::now(link.planned), chained]
    }
}

/// Finds what is to be sent.
fn plan(
    context: &Context<'_>,
    project: &Loaded,
    args: &SubmitArgs,
    (clusters, cluster): (&Clusters, &Cluster),
) -> Result<(Vec<Batch>, Exit), CliError> {
    let prepared = project.prepared(&cluster.config)?;
    let (parts, n_failed, mut exit) = parts(context, project, args, (clusters, cluster))?;
    let elements_max = cluster.scheduler.elements_max();
    let mut all: Vec<Batch> = Vec::new();
    for part in parts {
        let before = all
            .iter()
            .filter(|batch| part.after.contains(&batch.operation));
        let before: Vec<_> = before.map(|batch| batch.name.clone()).collect();
        let waits_in_vain = part.is_chained && before.is_empty() && part.after_ids.is_empty();
        if let Some(first) = part.planned.first().filter(|_| waits_in_vain) {
            let name = &project.flow.config().operations[first.operation].name;
            context.term.warn(format_args!(
                "{name}: not submitted, since nothing that it waits for is"
            ));
            exit = Exit::Partial;
            continue;
        }
        let planned = part.planned;
        let packing = Packing {
            per_element: args.bundle.unwrap_or(1),
            is_parallel: args.parallel,
            is_chained: part.is_chained,
        };
        let (mut found, unusable) =
            batches(&project.flow, &prepared, planned, elements_max, packing);
        for (planned, reason) in unusable {
            let name = &project.flow.config().operations[planned.operation].name;
            context
                .term
                .warn(format_args!("{name} {}: {reason}", planned.id));
            exit = Exit::Partial;
        }
        let partition = args.partition.as_deref();
        exit = exit.or(put(context, project, &mut found, (cluster, partition)));
        for batch in &mut found {
            batch.after.clone_from(&before);
            batch.after_ids.clone_from(&part.after_ids);
        }
        all.extend(found);
    }
    if n_failed > 0 {
        context
            .term
            .note(format_args!("what has failed is left alone: {n_failed}"));
        context
            .term
            .hint("`sweepfs submit --retry` takes it again, `sweepfs status` shows it");
    }
    Ok((all, exit))
}

/// Finds what can be executed, and how many have failed.
fn parts(
    context: &Context<'_>,
    project: &Loaded,
    args: &SubmitArgs,
    (clusters, cluster): (&Clusters, &Cluster),
) -> Result<(Vec<Part>, usize, Exit), CliError> {
    let operations = args.operations.places(project.flow.config())?;
    let selection = Selection::new(context, &args.selection, &[], &[])?;
    let followed = context.follow(&project.workspace, clusters);
    let of_cluster = followed.bundles.iter();
    let queued: Vec<_> = of_cluster
        .filter(|bundle| bundle.cluster == cluster.name())
        .collect();
    let options = ChainOptions {
        operations: &operations,
        retry: args.retry,
        limit: args.limit,
        queued: &queued,
    };
    let found = context.ask(&project.workspace, &selection, |facts, jobs| {
        let evaluation = project.flow.evaluation(facts)?;
        let (parts, n_failed) = match args.chain {
            true => {
                let found = chain(&evaluation, jobs, &options)?;
                let links = found.links.into_iter();
                let parts = links.flat_map(|(_, link)| Part::of_link(link));
                (parts.collect(), found.n_failed)
            }
            false => {
                let mut found = eligible(&evaluation, &operations, jobs, args.retry)?;
                let limit = args.limit.unwrap_or(usize::MAX);
                found.planned.truncate(limit);
                (vec![Part::now(found.planned)], found.n_failed)
            }
        };
        let status = project.flow.status(facts, jobs, &operations)?;
        let elsewhere = project.flow.elsewhere(facts, &status)?;
        Ok((parts, n_failed, evaluation.problems(), elsewhere))
    })?;
    let (parts, n_failed, problems, elsewhere) = found.answer;
    tell_elsewhere(context, project, &elsewhere);
    let exit = found.exit.or(context.report_problems(&problems));
    Ok((parts, n_failed, exit))
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
        let is_on_one = |place: &Place| place.nodes.is_none_or(|nodes| nodes == 1);
        let found = found.and_then(|place| match batch.is_parallel && !is_on_one(&place) {
            true => Err("so many at once need more than one node".to_owned()),
            false => Ok(place),
        });
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

pub(super) fn text(path: &Path) -> Result<&str, CliError> {
    path.to_str()
        .ok_or_else(|| CliError::failed(format!("the path `{}` is not UTF-8 text", path.display())))
}

fn print_scripts(
    context: &Context<'_>,
    submitter: &Submitter<'_>,
    batches: &[Batch],
) -> Result<(), CliError> {
    for batch in batches {
        // The ids are not known before; their names stand for them.
        let after = [&batch.after[..], &batch.after_ids[..]].concat();
        let script = submitter.script(batch, &after).map_err(CliError::failed)?;
        print_script(context, script)?;
    }
    Ok(())
}

/// Prints a script, and the command that submits it.
pub(super) fn print_script(
    context: &Context<'_>,
    (script, command): (String, Vec<OsString>),
) -> Result<(), CliError> {
    let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
    context.term.line(format_args!("# {}", words.join(" ")))?;
    Ok(context.term.line(script.trim_end())?)
}

/// Says what is to be sent, and what it may cost.
fn tell_cost(context: &Context<'_>, project: &Loaded, batches: &[Batch]) {
    let mut total = BatchCost::default();
    for batch in batches {
        let name = &project.flow.config().operations[batch.operation].name;
        let needs = needs(&batch.needs, &batch.place);
        let n = batch.planned.len();
        let packed = match (batch.per_element, batch.is_parallel) {
            (1, _) => "in an array".to_owned(),
            (n, false) => format!("in an array, {n} in a batch job one after the other"),
            (n, true) => format!("in an array, {n} in a batch job at once"),
        };
        let later = if batch.is_chained {
            ", after others"
        } else {
            ""
        };
        let n = match n {
            1 => "1 execution".to_owned(),
            n => format!("{n} executions"),
        };
        context
            .term
            .note(format_args!("{name}: {n} {packed}{later}, each {needs}"));
        total = total + batch.cost();
    }
    tell_total(context, &total);
}

/// Says what all may cost.
fn tell_total(context: &Context<'_>, total: &BatchCost) {
    tell_hours(context, total);
    if total.n_unlimited > 0 {
        let n = total.n_unlimited;
        context.term.note(format_args!(
            "what {n} of them cost is unknown: their operation has no `walltime`"
        ));
    }
}

/// Says what that which has a walltime may cost.
pub(super) fn tell_hours(context: &Context<'_>, total: &BatchCost) {
    let gpus = match total.gpu_hours > 0.0 {
        true => format!(" and {:.1} GPU-hours", total.gpu_hours),
        false => String::new(),
    };
    if total.cpu_hours > 0.0 {
        let hours = match total.cpu_hours {
            hours if hours < 0.05 => "less than 0.1".to_owned(),
            hours => format!("at most {hours:.1}"),
        };
        context
            .term
            .note(format_args!("in all {hours} CPU-hours{gpus}"));
    }
}

pub(super) fn needs(needs: &Needs, place: &Place) -> String {
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
        Some(time_s) => time_text(time_s),
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
pub(super) fn is_wanted(context: &Context<'_>) -> Result<bool, CliError> {
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

/// Sends all, one after the other: what others wait for comes before them.
fn send(
    context: &Context<'_>,
    project: &Loaded,
    submitter: &Submitter<'_>,
    batches: &[Batch],
) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    let mut ids: BTreeMap<&str, String> = BTreeMap::new();
    let mut unclear: BTreeSet<&str> = BTreeSet::new();
    for batch in batches {
        let name = &project.flow.config().operations[batch.operation].name;
        if batch
            .after
            .iter()
            .any(|before| unclear.contains(before.as_str()))
        {
            context.term.warn(format_args!(
                "{name}: not submitted, since nobody knows whether what it waits for was"
            ));
            unclear.insert(&batch.name);
            continue;
        }
        let sent_now = batch
            .after
            .iter()
            .filter_map(|before| ids.get(before.as_str()));
        let after: Vec<_> = sent_now.chain(&batch.after_ids).cloned().collect();
        let sent = match submitter.send(batch, &after) {
            Ok(sent) => sent,
            Err(error @ SendError::Unclear(_)) => {
                unclear.insert(&batch.name);
                tell_unclear(context, name, &error);
                exit = Exit::Partial;
                continue;
            }
            Err(error) => return Err(CliError::failed(format!("{name}: {error}"))),
        };
        exit = exit.or(tell_sent(context, name, &sent));
        if let Some(id) = sent.id {
            ids.insert(&batch.name, id);
        }
    }
    Ok(exit)
}

/// Says that nobody knows what came of a submission.
pub(super) fn tell_unclear(context: &Context<'_>, name: &str, error: &SendError) {
    context.term.warn(harmless(format_args!("{name}: {error}")));
    context
        .term
        .hint("the next command finds out; until then they count as queued");
}

/// Says what came of a submission.
pub(super) fn tell_sent(context: &Context<'_>, name: &str, sent: &Sent) -> Exit {
    for warning in &sent.warnings {
        context.term.warn(format_args!("{name}: {warning}"));
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
    match sent.warnings.is_empty() {
        true => Exit::Done,
        false => Exit::Partial,
    }
}
