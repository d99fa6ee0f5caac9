//! `sweepfs workflow`

mod check;
mod forget;
mod graph;
mod import;
mod init;

use crate::cli::args::{WorkflowArgs, WorkflowCommand};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};

pub(in crate::cli) fn run(context: &Context<'_>, args: &WorkflowArgs) -> Result<Exit, CliError> {
    match &args.command {
        WorkflowCommand::Init => init::run(context),
        WorkflowCommand::Check => check::run(context),
        WorkflowCommand::Graph(args) => graph::run(context, args),
        WorkflowCommand::Import(args) => import::run(context, args),
        WorkflowCommand::Forget(args) => forget::run(context, args),
    }
}
