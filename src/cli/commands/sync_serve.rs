//! `sweepfs sync-serve`, which a `sweepfs` on another machine calls.

use crate::cli::args::{SyncServeArgs, SyncServeWhat};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::sync::{PROTOCOL, write_list};
use std::io::{self, BufWriter};

/// Bytes that are written at once.
const OUTPUT_BYTES: usize = 1 << 18;

pub(in crate::cli) fn run(context: &Context<'_>, args: &SyncServeArgs) -> Result<Exit, CliError> {
    match args.what {
        SyncServeWhat::Protocol => context.term.line(PROTOCOL)?,
        SyncServeWhat::List => {
            let workspace = context.project()?.workspace();
            let mut output = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout());
            write_list(&workspace, &mut output).map_err(CliError::failed)?;
        }
    }
    Ok(Exit::Done)
}
