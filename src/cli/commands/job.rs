//! `sweepfs job`

use crate::cli::args::JobArgs;
use crate::cli::context::{Context, read_stdin};
use crate::cli::error::{CliError, Exit};
use crate::pyjson::{ParseError, Value, parse};
use crate::statepoint::StatePoint;

pub(in crate::cli) fn run(context: &Context<'_>, args: &JobArgs) -> Result<Exit, CliError> {
    let workspace = context.workspace()?;
    let value = match args.statepoint.as_deref() {
        None | Some("-") => parse_lines(&read_stdin()?),
        Some(text) => parse(text),
    };
    let value = value.map_err(|error| {
        CliError::from(error).with_hint("a state point is JSON such as '{\"angle\": 45}'")
    })?;
    let statepoint = StatePoint::from_value(value)?;
    let id = statepoint.id();
    if args.create {
        workspace.ensure()?;
        workspace.create(&statepoint)?;
    }
    if args.path {
        context.term.line(workspace.job_dir(&id).display())?;
    } else {
        context.term.line(id)?;
    }
    Ok(Exit::Done)
}

/// Parses the whole text or, as signac does, its first line.
fn parse_lines(text: &str) -> Result<Value, ParseError> {
    parse(text).or_else(|error| match text.split_once('\n') {
        Some((first, _)) => parse(first),
        None => Err(error),
    })
}
