//! `sweepfs document`

use crate::cli::args::DocumentArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::statepoint::{Key, parse_value};
use crate::workspace::{Edit, WorkspaceError};

pub(in crate::cli) fn run(context: &Context<'_>, args: &DocumentArgs) -> Result<Exit, CliError> {
    let workspace = context.workspace()?;
    let (assignments, names): (Vec<_>, Vec<_>) = args
        .items
        .iter()
        .map(String::as_str)
        .partition(|item| item.contains('='));
    let edits = parse_edits(&assignments, &args.delete)?;
    if edits.is_empty() && names.is_empty() {
        return show_all(context);
    }
    if names.is_empty() {
        let error = CliError::usage("no job is named whose document to change");
        return Err(error.with_hint("put its id first: `sweepfs document JOB_ID KEY=VALUE`"));
    }
    let ids = context.resolve_jobs(&workspace, &names)?;
    context.for_each_job(&ids, |id| {
        if edits.is_empty() {
            context.term.line(workspace.document(id)?.dumps())?;
        } else {
            workspace.edit_document(id, &edits)?;
        }
        Ok(())
    })
}

fn parse_edits(assignments: &[&str], deleted: &[String]) -> Result<Vec<Edit>, CliError> {
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

fn show_all(context: &Context<'_>) -> Result<Exit, CliError> {
    let workspace = context.workspace()?;
    let mut exit = Exit::Done;
    for id in workspace.list()?.ids {
        match workspace.document(&id) {
            Ok(document) => context.term.line(document.dumps())?,
            Err(WorkspaceError::NoSuchJob(_)) => {}
            Err(error) => {
                context.term.warn(error);
                exit = Exit::Partial;
            }
        }
    }
    Ok(exit)
}
