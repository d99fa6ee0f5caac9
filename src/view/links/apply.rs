//! Doing what a plan says.

use super::memory::{Known, Memory};
use super::place::LinkDir;
use super::plan::{Action, Change, LinkPlan};
use crate::fsx::{self, Dir, FsError};
use crate::view::Shape;
use rayon::prelude::*;
use std::io::ErrorKind;
use std::path::Path;

/// Actions between two reports of progress.
const CHUNK: usize = 4096;

impl LinkPlan {
    /// Does what the plan says; `progress` is told how many actions are done. Returns what failed,
    /// which stops nothing else. After an interruption, the next plan completes it.
    pub fn apply(
        &self,
        place: &LinkDir,
        memory: &mut Memory,
        progress: impl Fn(usize),
    ) -> Result<Vec<FsError>, FsError> {
        let before = memory.known;
        let has_collapsed = self.shape == Shape::Collapsed;
        if !self.actions.is_empty() {
            memory.set(Known {
                collapsed: before.collapsed || has_collapsed,
                unfinished: true,
            });
        }
        let failed = self.apply_actions(place, progress)?;
        let is_complete = failed.is_empty() && self.obstacles.is_empty();
        memory.set(Known {
            collapsed: has_collapsed || before.collapsed && !is_complete,
            unfinished: !failed.is_empty(),
        });
        Ok(failed)
    }

    fn apply_actions(
        &self,
        place: &LinkDir,
        progress: impl Fn(usize),
    ) -> Result<Vec<FsError>, FsError> {
        let mut failed = Vec::new();
        if self.actions.is_empty() {
            return Ok(failed);
        }
        fsx::create_dir_all(place.prefix())?;
        let dir = Dir::open(place.prefix())?;
        let mut n_done = 0;
        for stage in self.actions.chunk_by(|a, b| a.stage() == b.stage()) {
            for chunk in stage.chunks(CHUNK) {
                let results = chunk.par_iter().map(|action| apply(place, &dir, action));
                failed.par_extend(results.filter_map(Result::err));
                n_done += chunk.len();
                progress(n_done);
            }
        }
        Ok(failed)
    }
}

fn apply(place: &LinkDir, dir: &Dir, action: &Action) -> Result<(), FsError> {
    let path = &action.path;
    match &action.change {
        Change::RemoveLink => dir.remove_link(path),
        Change::RemoveDir => dir.remove_dir_if_empty(path),
        Change::MakeDir if path.as_os_str().is_empty() => Ok(()),
        Change::MakeDir => with_parents(dir, path, || dir.create_dir(path)),
        Change::ReplaceLink(job) => match dir.replace_link(&place.text(path, job), path) {
            Err(error) if error.kind() == ErrorKind::NotFound => make_link(place, dir, action),
            result => result,
        },
        Change::MakeLink(_) => make_link(place, dir, action),
    }
}

fn make_link(place: &LinkDir, dir: &Dir, action: &Action) -> Result<(), FsError> {
    let (Change::MakeLink(job) | Change::ReplaceLink(job)) = &action.change else {
        return Ok(());
    };
    let text = place.text(&action.path, job);
    with_parents(dir, &action.path, || dir.create_link(&text, &action.path))
}

/// Makes the directories above a path if somebody has removed them meanwhile.
fn with_parents(
    dir: &Dir,
    path: &Path,
    make: impl Fn() -> Result<(), FsError>,
) -> Result<(), FsError> {
    match make() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut above: Vec<_> = path.ancestors().skip(1).collect();
            above.pop();
            above
                .iter()
                .rev()
                .try_for_each(|above| dir.create_dir(above))?;
            make()
        }
        result => result,
    }
}
