//! `sweepfs workflow forget`

use crate::cli::args::WorkflowForgetArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::cli::operations::operation_named;
use crate::report::with_causes;
use crate::workflow::Forgotten;

pub(super) fn run(context: &Context<'_>, args: &WorkflowForgetArgs) -> Result<Exit, CliError> {
    let project = Loaded::new(context)?;
    let operation = operation_named(project.flow.config(), &args.operation)?;
    let chosen = project.named(context, operation, &args.jobs, &args.selection)?;
    let (mut n_forgotten, mut exit) = (0, Exit::Done);
    for planned in &chosen {
        match project.flow.forget(&args.operation, &planned.id) {
            Ok(Forgotten::Yes) => n_forgotten += 1,
            Ok(Forgotten::NothingRecorded) => {}
            Ok(Forgotten::ItRuns) => {
                let id = &planned.id;
                context
                    .term
                    .warn(format_args!("{id}: it is being executed on this machine"));
                exit = Exit::Partial;
            }
            Err(error) => {
                context
                    .term
                    .warn(format_args!("{}: {}", planned.id, with_causes(&error)));
                exit = Exit::Partial;
            }
        }
    }
    context
        .term
        .note(format_args!("forgot {n_forgotten} of {}", chosen.len()));
    Ok(exit)
}
