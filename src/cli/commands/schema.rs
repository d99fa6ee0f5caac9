//! `sweepfs schema`

use crate::catalog::{Schema, SchemaStyle};
use crate::cli::args::SchemaArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::selection::Selection;

pub(in crate::cli) fn run(context: &Context<'_>, args: &SchemaArgs) -> Result<Exit, CliError> {
    let selection = Selection::new(context, &args.selection, &[], &[])?;
    let workspace = context.workspace()?;
    let found = context.ask(&workspace, &selection, |facts, jobs| {
        Schema::of(facts, jobs, args.doc)
    })?;
    let style = SchemaStyle {
        exclude_const: args.exclude_const,
        precision: args.precision,
        max_values: args.max_values,
    };
    context.term.data(|out| {
        if args.json {
            found.answer.write_json(&style, out)
        } else {
            found.answer.write_text(&style, out)
        }
    })?;
    Ok(found.exit)
}
