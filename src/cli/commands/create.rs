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
    let mut tally = Tally::default();
    let mut points = grid.points().peekable();
    while points.peek().is_some() {
        let chunk: Vec<_> = points.by_ref().take(CHUNK).collect();
        let results: Vec<_> = chunk
            .par_iter()
            .map(|statepoint| workspace.create(statepoint))
            .collect();
        for (statepoint, result) in chunk.iter().zip(results) {
            tally.add(context, args, statepoint, result)?;
        }
        if let Some(error) = tally.failed {
            return Err(error.into());
        }
        observer.event(Event::Progress {
            what: "creating jobs",
            done: tally.n_done(),
            total: grid.n_points(),
        });
    }
    observer.event(Event::Finished);
    let Tally {
        n_created,
        n_existed,
        n_damaged,
        ..
    } = tally;
    context.term.note(format_args!(
        "created {n_created} of {} jobs, {n_existed} existed",
        grid.n_points()
    ));
    Ok(if n_damaged > 0 {
        Exit::Partial
    } else {
        Exit::Done
    })
}

/// What came of the jobs so far.
#[derive(Default)]
struct Tally {
    n_created: usize,
    n_existed: usize,
    n_damaged: usize,
    /// Nobody reads the ids any more; the jobs are made all the same.
    closed: bool,
    /// Why it cannot go on; others of the same chunk may have been made.
    failed: Option<WorkspaceError>,
}

impl Tally {
    fn n_done(&self) -> usize {
        self.n_created + self.n_existed + self.n_damaged
    }

    fn add(
        &mut self,
        context: &Context<'_>,
        args: &CreateArgs,
        statepoint: &StatePoint,
        result: Result<(JobId, Creation), WorkspaceError>,
    ) -> Result<(), CliError> {
        let (id, creation) = match result {
            Ok(done) => done,
            Err(WorkspaceError::Damaged(problem)) => {
                context.term.warn(format_args!("the job {problem}"));
                self.n_damaged += 1;
                return Ok(());
            }
            Err(error) => {
                self.failed.get_or_insert(error);
                return Ok(());
            }
        };
        match creation {
            Creation::Created => self.n_created += 1,
            Creation::Existed => self.n_existed += 1,
        }
        if self.closed {
            return Ok(());
        }
        match print_job(context, args, statepoint, &id, creation) {
            Err(error) if error.is_closed_pipe() => self.closed = true,
            result => result?,
        }
        Ok(())
    }
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
