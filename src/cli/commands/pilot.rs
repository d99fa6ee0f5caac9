//! `sweepfs submit --pilot`

use super::submit::{
    is_wanted, needs, print_script, tell_choice, tell_hours, tell_sent, tell_unclear,
};
use crate::cli::args::SubmitArgs;
use crate::cli::clusters::Choice;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::cli::selection::Selection;
use crate::workflow::{BatchCost, Clusters, Pilot, Pilots, SendError, Submitter, eligible, place};

pub(super) fn submit(
    context: &Context<'_>,
    project: &Loaded,
    args: &SubmitArgs,
    (clusters, choice): (&Clusters, &Choice<'_>),
    submitter: &Submitter<'_>,
) -> Result<Exit, CliError> {
    let (pilot, exit) = pilot(context, project, args, clusters)?;
    let Some(pilot) = pilot else {
        context
            .term
            .note("nothing is eligible, so there is nothing to submit");
        return Ok(exit);
    };
    let mut pilots = Pilots::new(pilot);
    let partition = args.partition.as_deref();
    pilots.place = place(&choice.cluster.config, &pilots.needs(), partition)
        .map_err(|reason| CliError::failed(format!("pilot: {reason}")))?;
    if args.dry_run {
        let script = submitter.pilot_script(&pilots).map_err(CliError::failed)?;
        print_script(context, script)?;
        return Ok(exit);
    }
    tell_choice(context, args, choice);
    let (n, needs) = (pilots.pilot.n, needs(&pilots.needs(), &pilots.place));
    context.term.note(format_args!(
        "pilot: {n} {} in an array, each {needs}",
        if n == 1 { "batch job" } else { "batch jobs" }
    ));
    match pilots.pilot.walltime_s {
        Some(walltime_s) => {
            let cost = BatchCost::of(walltime_s, pilots.pilot.n, &pilots.place);
            tell_hours(context, &cost);
        }
        None => {
            let message = "what they cost is unknown: they have no `--walltime`";
            context.term.note(message);
        }
    }
    if !args.yes && !is_wanted(context)? {
        context.term.note("nothing was submitted");
        return Ok(Exit::Done);
    }
    match submitter.send_pilots(&pilots) {
        Ok(sent) => Ok(exit.or(tell_sent(context, "pilot", &sent))),
        Err(error @ SendError::Unclear(_)) => {
            tell_unclear(context, "pilot", &error);
            Ok(Exit::Partial)
        }
        Err(error) => Err(CliError::failed(format!("pilot: {error}"))),
    }
}

/// Says what pilots are to do; nothing if there is nothing to do now.
fn pilot(
    context: &Context<'_>,
    project: &Loaded,
    args: &SubmitArgs,
    clusters: &Clusters,
) -> Result<(Option<Pilot>, Exit), CliError> {
    let config = project.flow.config();
    let operations = args.operations.places(config)?;
    let selection = Selection::new(context, &args.selection, &[], &[])?;
    context.follow(&project.workspace, clusters);
    let found = context.ask(&project.workspace, &selection, |facts, jobs| {
        let evaluation = project.flow.evaluation(facts)?;
        let found = eligible(&evaluation, &operations, jobs, false)?;
        Ok((found.planned.len(), facts.ids(jobs)?, evaluation.problems()))
    })?;
    let (n_eligible, ids, problems) = found.answer;
    let exit = found.exit.or(context.report_problems(&problems));
    let is_named = !args.selection.job_ids.is_empty();
    let name = |place: &usize| config.operations[*place].name.clone();
    let pilot = Pilot {
        n: args.pilot.pilot.unwrap_or(1),
        operations: operations.iter().map(name).collect(),
        filter: args.selection.filter.clone(),
        jobs: is_named.then(|| ids.iter().map(ToString::to_string).collect()),
        cores: args.pilot.cores,
        gpus: args.pilot.gpus,
        memory_bytes: args.pilot.memory,
        walltime_s: args.pilot.walltime.map(|walltime| walltime.as_secs()),
    };
    Ok(((n_eligible > 0).then_some(pilot), exit))
}
