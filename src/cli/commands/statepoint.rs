//! `sweepfs statepoint`

use crate::cli::args::StatepointArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};

pub(in crate::cli) fn run(context: &Context<'_>, args: &StatepointArgs) -> Result<Exit, CliError> {
    let workspace = context.workspace()?;
    let (ids, exit) = context.job_list(&workspace, &args.selection, &args.jobs)?;
    let printed = context.for_each_job(&ids, |id| {
        Ok(Some(workspace.statepoint(id)?.object().dumps()))
    })?;
    Ok(if printed == Exit::Done { exit } else { printed })
}
