//! `sweepfs sync --plan` and `--apply`

use super::tell::{SHOWN_MAX, more};
use super::{One, command_line};
use crate::cli::args::{Command, LimitArgs, SyncArgs};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::remotes::Remote;
use crate::fsx::{self, Durability};
use crate::report::harmless;
use crate::sync::{BadPlan, Plan, PlanFile, PlanHeader, write_plan};
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

/// Stands for the standard input or output.
const STANDARD: &str = "-";

/// Does what is in a plan.
pub(super) fn apply(context: &Context<'_>, args: &SyncArgs, path: &Path) -> Result<Exit, CliError> {
    let name = path.display();
    let wrong = |error: String| {
        let error = CliError::usage(format!("cannot use `{name}`: {error}"));
        error.with_hint(
            "delete whole lines only; `sweepfs sync REMOTE --plan FILE` writes a new one",
        )
    };
    let text =
        String::from_utf8(read(context, path)?).map_err(|_| wrong("it is no text".into()))?;
    let file = PlanFile::parse(&text).map_err(|error| match error {
        BadPlan::Version(_) => {
            let error = CliError::usage(format!("cannot use `{name}`: {error}"));
            error.with_hint("`sweepfs sync REMOTE --plan FILE` writes a new one")
        }
        error => wrong(error.to_string()),
    })?;
    let mut planned = parsed(&file.header.command)
        .ok_or_else(|| wrong("its command is none that plans a sync".into()))?;
    planned.plan = None;
    planned.dry_run = args.dry_run;
    planned.json = args.json;
    let LimitArgs {
        bwlimit,
        stop_after,
    } = &args.limits;
    planned.limits = LimitArgs {
        bwlimit: bwlimit.clone(),
        stop_after: *stop_after,
    };
    super::with_remotes(context, &planned, Some(&file))
}

/// Reads the command line that made a plan.
fn parsed(command: &[String]) -> Option<SyncArgs> {
    let words = command.iter().map(OsString::from);
    let Command::Sync(args) = crate::cli::parse(words).ok()?.command else {
        return None;
    };
    let plans = args.plan.is_some() && args.apply.is_none() && args.command.is_none();
    plans.then_some(*args)
}

fn read(context: &Context<'_>, path: &Path) -> Result<Vec<u8>, CliError> {
    if path == Path::new(STANDARD) {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    Ok(fsx::read(&context.dir.join(path))?)
}

impl One<'_> {
    /// Writes a plan.
    pub(super) fn write_plan(&self, path: &Path, plan: &Plan) -> Result<(), CliError> {
        let at = jiff::Timestamp::now().to_string();
        let project = self.local.workspace().project_root();
        let project = project.to_string_lossy().into_owned();
        let mut header = PlanHeader::new(at, project, self.header.clone().unwrap_or_default());
        header.command = command_line();
        header.suffix.clone_from(&self.options.keep_both);
        let text = write_plan(&header, plan);
        match path == Path::new(STANDARD) {
            true => self
                .context
                .term
                .data(|output| output.write_all(text.as_bytes()))?,
            false => {
                let path = self.context.dir.join(path);
                fsx::write_atomic(&path, text.as_bytes(), Durability::Process)?;
            }
        }
        Ok(())
    }

    /// Leaves only what is listed in a file, and names what is listed and has changed.
    pub(super) fn reduce(&self, plan: &mut Plan) -> Exit {
        let Some(file) = &self.listed else {
            return Exit::Done;
        };
        let (reduced, term) = (file.reduce(plan), self.context.term);
        for action in reduced.changed.iter().take(SHOWN_MAX) {
            term.warn(format_args!("left: {action}: changed since it was planned"));
        }
        more(self.context, reduced.changed.len(), "that changed");
        if reduced.n_unlisted > 0 {
            term.note(format_args!(
                "left, for they are not in the plan: {} more to do",
                reduced.n_unlisted
            ));
        }
        match reduced.changed.is_empty() {
            true => Exit::Done,
            false => Exit::Partial,
        }
    }
}

/// Makes sure that a plan is for this project and that remote.
pub(super) fn check(file: &PlanFile, root: &Path, remote: &Remote) -> Result<(), CliError> {
    let header = &file.header;
    let other = |what: &str, planned: &str, now: &str| {
        let error = CliError::refused(harmless(format!(
            "the plan is for {what} `{planned}`, not `{now}`"
        )));
        Err(error.with_hint("`sweepfs sync REMOTE --plan FILE` writes a new one"))
    };
    let root = root.to_string_lossy();
    if header.project != root {
        return other("the project", &header.project, &root);
    }
    match remote.place() {
        place if place != header.address => other("a remote at", &header.address, &place),
        _ => Ok(()),
    }
}
