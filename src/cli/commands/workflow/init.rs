//! `sweepfs workflow init`

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::config::PROJECT_FILE;
use crate::fsx::{self, Durability};
use std::io::ErrorKind;

/// What the file is at first.
const STARTER: &str = include_str!("starter.toml");

pub(super) fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    let path = context.project()?.root().join(PROJECT_FILE);
    match fsx::write_new(&path, STARTER.as_bytes(), Durability::Process) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!("`{}` exists already", path.display());
            Err(CliError::refused(message)
                .with_hint("`sweepfs workflow check` looks for mistakes in it"))
        }
        written => {
            written?;
            context
                .term
                .note(format_args!("wrote `{}`", path.display()));
            Ok(Exit::Done)
        }
    }
}
