//! `sweepfs create`

use crate::cli::args::CreateArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::report::{Event, Observer};
use crate::statepoint::{Grid, JobId, StatePoint};
use crate::workspace::{Creation, Workspace, WorkspaceError};
use rayon::prelude::*;

/// Jobs made between two printings.
const CHUNK: usize = 1024;

pub(in crate::cli) fn run(context: &Context<'_>, args: &CreateArgs) -> Result<Exit, CliError> {
    let grid = Grid::parse(args.axes.iter().map(String::as_str))?;
    let workspace = context.workspace()?;
    if args.dry_run {
        return pretend(context, args, &grid, &workspace);
    }
    workspace.ensure()?;
    let observer = context.term.progress();
    let (mut n_done, mut n_created, mut exit) = (0, 0, Exit::Done);
    let mut points = grid.points().peekable();
    while points.peek().is_some() {
        let chunk: Vec<_> = points.by_ref().take(CHUNK).collect();
        let results: Vec<_> = chunk
            .par_iter()
            .map(|statepoint| workspace.create(statepoint))
            .collect();
        n_done += chunk.len();
        observer.event(Event::Progress {
            what: "creating jobs",
            done: n_done,
            total: grid.n_points(),
        });
        for (statepoint, result) in chunk.iter().zip(results) {
            match result {
                Ok((id, creation)) => {
                    n_created += usize::from(creation == Creation::Created);
                    print_job(context, args, statepoint, &id, creation)?;
                }
                Err(WorkspaceError::Damaged(problem)) => {
                    context.term.warn(format_args!("the job {problem}"));
                    exit = Exit::Partial;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    observer.event(Event::Finished);
    let n_existed = grid.n_points() - n_created;
    context.term.note(format_args!(
        "created {n_created} of {} jobs, {n_existed} existed",
        grid.n_points()
    ));
    Ok(exit)
}

fn pretend(
    context: &Context<'_>,
    args: &CreateArgs,
    grid: &Grid,
    workspace: &Workspace,
) -> Result<Exit, CliError> {
    for statepoint in grid.points() {
        statepoint.check_keys()?;
        let id = statepoint.id();
        let exists = workspace.job_dir(&id).exists();
        if args.json {
            print_job(
                context,
                args,
                &statepoint,
                &id,
                if exists {
                    Creation::Existed
                } else {
                    Creation::Created
                },
            )?;
        } else if !exists {
            context.term.line(statepoint.object().dumps())?;
        }
    }
    Ok(Exit::Done)
}

fn print_job(
    context: &Context<'_>,
    args: &CreateArgs,
    statepoint: &StatePoint,
    id: &JobId,
    creation: Creation,
) -> Result<(), CliError> {
    let created = creation == Creation::Created;
    if args.json {
        let statepoint = statepoint.object().dumps();
        context.term.line(format_args!(
            "{{\"id\": \"{id}\", \"created\": {created}, \"statepoint\": {statepoint}}}"
        ))?;
    } else if created {
        context.term.line(id)?;
    }
    Ok(())
}
