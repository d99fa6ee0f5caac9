//! `sweepfs check`

use crate::cli::args::CheckArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::report::Problem;
use crate::statepoint::JobId;
use crate::workspace::{Workspace, WorkspaceError};
use rayon::prelude::*;

pub(in crate::cli) fn run(context: &Context<'_>, args: &CheckArgs) -> Result<Exit, CliError> {
    let workspace = context.workspace()?;
    let snapshot = context.catalog(&workspace)?.snapshot();
    let listing = workspace.list()?;
    let documents: Vec<_> = listing
        .ids
        .par_iter()
        .filter_map(|id| check_document(&workspace, id))
        .collect();
    let mut problems = [snapshot.problems(), &listing.unfinished, &documents].concat();
    problems.sort();
    for problem in &problems {
        context.term.line(if args.json {
            to_json(problem)
        } else {
            to_text(problem)
        })?;
    }
    let n_jobs = snapshot.jobs().len();
    match problems.len() {
        0 => context.term.note(format_args!("{n_jobs} jobs, all sound")),
        n => context
            .term
            .note(format_args!("{n_jobs} sound jobs, {n} problems")),
    }
    Ok(if problems.is_empty() {
        Exit::Done
    } else {
        Exit::Partial
    })
}

fn check_document(workspace: &Workspace, id: &JobId) -> Option<Problem> {
    let reason = match workspace.document(id) {
        Ok(_) | Err(WorkspaceError::NoSuchJob(_)) => return None,
        Err(WorkspaceError::BadDocument { reason, .. }) => {
            format!("its document is not usable: {reason}")
        }
        // A directory that cannot be entered is named already, for its state point.
        Err(WorkspaceError::Fs(error)) if error.action == "open" => return None,
        Err(WorkspaceError::Fs(error)) => format!("its document cannot be read: {}", error.cause),
        Err(error) => error.to_string(),
    };
    let hint = Some("repair the file, or remove it to start with an empty document");
    Some(Problem {
        subject: id.to_string(),
        path: workspace.document_path(id),
        reason,
        hint,
    })
}

fn to_text(problem: &Problem) -> String {
    match problem.hint {
        Some(hint) => format!("{problem} ({hint})"),
        None => problem.to_string(),
    }
}

fn to_json(problem: &Problem) -> String {
    let path = problem.path.to_string_lossy();
    serde_json::json!({"subject": problem.subject, "path": path, "reason": problem.reason, "hint": problem.hint}).to_string()
}
