//! `sweepfs find`

use crate::catalog::Snapshot;
use crate::cli::args::FindArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::filter::Filter;
use crate::statepoint::{JobId, Key};
use crate::workspace::Workspace;

/// Keys less like the unknown one are not suggested.
const SIMILARITY_MIN: f64 = 0.7;

pub(in crate::cli) fn run(context: &Context<'_>, args: &FindArgs) -> Result<Exit, CliError> {
    let filter = Filter::parse_args(&args.terms.iter().map(String::as_str).collect::<Vec<_>>())?;
    let workspace = context.workspace()?;
    let snapshot = context.catalog(&workspace)?.snapshot();
    for key in filter.fields().into_iter().filter_map(|field| field.key) {
        warn_if_unknown(context, &snapshot, &key);
    }
    let selected = snapshot.select(&filter);
    let mut exit = context.report_problems(snapshot.problems());
    if args.count {
        context.term.line(selected.len())?;
        return Ok(exit);
    }
    let ids: Vec<_> = selected
        .iter()
        .map(|job| snapshot.jobs()[job as usize].id)
        .collect();
    let printed = context.for_each_job(&ids, |id| print_job(context, &workspace, id, args.json))?;
    if printed != Exit::Done {
        exit = printed;
    }
    Ok(exit)
}

fn print_job(
    context: &Context<'_>,
    workspace: &Workspace,
    id: &JobId,
    json: bool,
) -> Result<(), CliError> {
    if json {
        let statepoint = workspace.statepoint(id)?.object().dumps();
        let line = format_args!("{{\"id\": \"{id}\", \"statepoint\": {statepoint}}}");
        return Ok(context.term.line(line)?);
    }
    Ok(context.term.line(id)?)
}

fn warn_if_unknown(context: &Context<'_>, snapshot: &Snapshot, key: &Key) {
    if snapshot.key(key).is_some() || snapshot.jobs().is_empty() {
        return;
    }
    context
        .term
        .warn(format_args!("no job has the key `{key}`"));
    let similarity = |other: &str| strsim::jaro_winkler(&key.to_string(), other);
    let known = snapshot.keys().iter().map(|index| index.key.to_string());
    let nearest = known.max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    if let Some(nearest) = nearest.filter(|nearest| similarity(nearest) > SIMILARITY_MIN) {
        context.term.hint(format_args!("did you mean `{nearest}`?"));
    }
}
