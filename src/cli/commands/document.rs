//! `sweepfs document`

use crate::cli::args::DocumentArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::statepoint::{Key, parse_value};
use crate::workspace::Edit;

pub(in crate::cli) fn run(context: &Context<'_>, args: &DocumentArgs) -> Result<Exit, CliError> {
    let workspace = context.workspace()?;
    let (assignments, names): (Vec<_>, Vec<_>) = args
        .items
        .iter()
        .cloned()
        .partition(|item| item.contains('='));
    let edits = parse_edits(&assignments, &args.delete)?;
    if !edits.is_empty() && names.is_empty() && args.selection.is_empty() {
        let error = CliError::usage("no job is named whose document to change");
        return Err(error.with_hint("put its id first: `sweepfs document JOB_ID KEY=VALUE`"));
    }
    let (ids, exit) = context.job_list(&workspace, &args.selection, &names)?;
    let done = context.for_each_job(&ids, |id| {
        if edits.is_empty() {
            return Ok(Some(workspace.document(id)?.dumps()));
        }
        workspace.edit_document(id, &edits)?;
        Ok(None)
    })?;
    Ok(if done == Exit::Done { exit } else { done })
}

fn parse_edits(assignments: &[String], deleted: &[String]) -> Result<Vec<Edit>, CliError> {
    let mut edits = Vec::new();
    for assignment in assignments {
        match assignment.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                edits.push(Edit::Set(Key::parse(key), parse_value(value)));
            }
            _ => return Err(CliError::usage(format!("`{assignment}` is not KEY=VALUE"))),
        }
    }
    edits.extend(deleted.iter().map(|key| Edit::Delete(Key::parse(key))));
    Ok(edits)
}
