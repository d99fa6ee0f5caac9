//! `sweepfs workflow import`

use crate::cli::args::WorkflowImportArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::config::ProjectConfig;
use crate::fsx::{self, Durability};
use crate::workflow::{FlowImport, ImportError, Imported, from_row};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(super) fn run(context: &Context<'_>, args: &WorkflowImportArgs) -> Result<Exit, CliError> {
    let file = context.absolute(&args.file)?;
    let bytes = fsx::read(&file)?;
    let imported = match file.extension().is_some_and(|extension| extension == "py") {
        true => from_flow(context, args, &file)?,
        false => {
            let text = String::from_utf8(bytes)
                .map_err(|_| ImportError::Row("it is not UTF-8 text".to_owned()));
            text.and_then(|text| from_row(&text)).map_err(failure)?
        }
    };
    let path = args.output.as_deref().unwrap_or(Path::new("the import"));
    if let Err(error) = ProjectConfig::parse(&imported.text, path) {
        context.term.warn(&error);
        context
            .term
            .hint("the workflow holds something that is allowed there and not here");
    }
    match &args.output {
        None => context
            .term
            .data(|out| out.write_all(imported.text.as_bytes()))?,
        Some(output) => write(&context.absolute(output)?, &imported.text)?,
    }
    for note in &imported.notes {
        context.term.warn(note);
    }
    Ok(match imported.notes.is_empty() {
        true => Exit::Done,
        false => Exit::Partial,
    })
}

fn from_flow(
    context: &Context<'_>,
    args: &WorkflowImportArgs,
    file: &Path,
) -> Result<Imported, CliError> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    // Commands are run in the project's directory; without a project that is where the file is.
    let root = context
        .project()
        .map_or(folder.to_owned(), |project| project.root().to_owned());
    let resolved = folder.canonicalize()?;
    let folder = match resolved.strip_prefix(&root) {
        Ok(below) => below.to_owned(),
        Err(_) => resolved,
    };
    let python = match args.python.contains('/') {
        true => context.absolute(Path::new(&args.python))?,
        false => PathBuf::from(&args.python),
    };
    let import = FlowImport {
        file,
        folder: &folder.to_string_lossy(),
        python: &python.to_string_lossy(),
    };
    import.run().map_err(failure)
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    match fsx::write_new(path, text.as_bytes(), Durability::Process) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!("`{}` exists already", path.display());
            Err(CliError::refused(message).with_hint("without `--output` the import is printed"))
        }
        written => Ok(written?),
    }
}

fn failure(error: ImportError) -> CliError {
    let hint = error.hint();
    let error = CliError::failed(error);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}
