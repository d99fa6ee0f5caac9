//! `sweepfs workflow graph`

use crate::cli::args::WorkflowGraphArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::workflow::Graph;

pub(super) fn run(context: &Context<'_>, args: &WorkflowGraphArgs) -> Result<Exit, CliError> {
    let project = Loaded::new(context)?;
    let graph = Graph::new(project.flow.config());
    let text = match args.dot {
        true => graph.to_dot(),
        false => graph.to_text(),
    };
    context.term.data(|out| out.write_all(text.as_bytes()))?;
    Ok(Exit::Done)
}
