//! `sweepfs statepoint`

use crate::cli::args::StatepointArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::fsx::Dir;
use crate::workspace::{JobState, WorkspaceError};

pub(in crate::cli) fn run(context: &Context<'_>, args: &StatepointArgs) -> Result<Exit, CliError> {
    let workspace = context.workspace()?;
    if !args.jobs.is_empty() {
        let names: Vec<_> = args.jobs.iter().map(String::as_str).collect();
        let ids = context.resolve_jobs(&workspace, &names)?;
        return context.for_each_job(&ids, |id| {
            Ok(context
                .term
                .line(workspace.statepoint(id)?.object().dumps())?)
        });
    }
    let ids = workspace.list()?.ids;
    if ids.is_empty() {
        return Ok(Exit::Done);
    }
    let dir = Dir::open(workspace.dir())?;
    let mut exit = Exit::Done;
    for id in ids {
        match workspace.read_job(&dir, &id) {
            JobState::Sound(file) => context.term.line(file.statepoint.object().dumps())?,
            JobState::Damaged(problem) => {
                context.term.warn(WorkspaceError::Damaged(problem));
                exit = Exit::Partial;
            }
            JobState::Gone => {}
        }
    }
    Ok(exit)
}
