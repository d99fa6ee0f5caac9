//! `sweepfs init`

use crate::cli::args::InitArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::workspace::Project;

pub(in crate::cli) fn run(context: &Context<'_>, _: &InitArgs) -> Result<Exit, CliError> {
    Project::init(&context.dir)?;
    context.term.note("Initialized project.");
    Ok(Exit::Done)
}
