//! `sweepfs update-cache`

use crate::cli::args::UpdateCacheArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::fsx::Dir;
use crate::report::{Event, Observer};
use crate::statepoint::{JobId, StatePoint};
use crate::workspace::{JobState, Workspace};
use rayon::prelude::*;

/// Jobs read between two reports of progress.
const CHUNK: usize = 2048;

pub(in crate::cli) fn run(context: &Context<'_>, _: &UpdateCacheArgs) -> Result<Exit, CliError> {
    let workspace = context.workspace()?;
    let ids = workspace.list()?.ids;
    if is_up_to_date(&workspace, &ids) {
        context.term.note(format_args!(
            "the cache of {} jobs is up to date",
            ids.len()
        ));
        return Ok(Exit::Done);
    }
    let (mut jobs, mut problems) = (Vec::with_capacity(ids.len()), Vec::new());
    let observer = context.term.progress();
    for (i, chunk) in ids.chunks(CHUNK).enumerate() {
        for (id, state) in read(&workspace, chunk)? {
            match state {
                JobState::Sound(file) => jobs.push((id, file.statepoint)),
                JobState::Damaged(problem) => problems.push((id, problem)),
                JobState::Gone => {}
            }
        }
        observer.event(Event::Progress {
            what: "reading state points",
            done: i * CHUNK + chunk.len(),
            total: ids.len(),
        });
    }
    observer.event(Event::Finished);
    let (lost, problems): (Vec<_>, Vec<_>) = problems.into_iter().unzip();
    // The only copy of a damaged state point may be that in the cache.
    jobs.extend(workspace.cached_statepoints(&lost));
    workspace.write_cache(&jobs)?;
    context.term.note(format_args!(
        "cached the state points of {} jobs",
        jobs.len()
    ));
    Ok(context.report_problems(&problems))
}

fn read(workspace: &Workspace, ids: &[JobId]) -> Result<Vec<(JobId, JobState)>, CliError> {
    let dir = Dir::open(workspace.dir())?;
    Ok(ids
        .par_iter()
        .map(|id| (*id, workspace.read_job(&dir, id)))
        .collect())
}

/// Tells whether the cache holds the jobs, nothing but them, and each as it is.
fn is_up_to_date(workspace: &Workspace, ids: &[JobId]) -> bool {
    let Some(cache) = workspace.open_cache(ids.len()) else {
        return false;
    };
    let sound = |(id, statepoint): (JobId, StatePoint)| (statepoint.id() == id).then_some(id);
    let cached: Option<Vec<_>> = cache.entries().map(sound).collect();
    cached.is_some_and(|mut cached| {
        cached.sort_unstable();
        cached == ids
    })
}
