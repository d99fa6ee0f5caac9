//! `sweepfs help`

use crate::cli::args::{Args, HelpArgs};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use clap::CommandFactory;

/// Pages of the documentation that the program shows.
const TOPICS: [(&str, &str); 1] = [("filters", include_str!("../../../docs/filters.md"))];

pub(in crate::cli) fn run(context: &Context<'_>, args: &HelpArgs) -> Result<Exit, CliError> {
    let mut program = Args::command();
    program.build();
    let Some(name) = &args.topic else {
        context.term.line(program.render_long_help())?;
        return Ok(Exit::Done);
    };
    if let Some((_, page)) = TOPICS.iter().find(|(topic, _)| topic == name) {
        context.term.line(page.trim_end())?;
        return Ok(Exit::Done);
    }
    match program.find_subcommand_mut(name) {
        Some(command) => context.term.line(command.render_long_help())?,
        None => {
            let error = CliError::usage(format!("there is no command or topic `{name}`"));
            return Err(error.with_hint("`sweepfs help` lists the commands; a topic is `filters`"));
        }
    }
    Ok(Exit::Done)
}
