//! What has to be done on disk to get a tree, as data.

use super::memory::Memory;
use super::place::LinkDir;
use super::scan::Scan;
use crate::catalog::JobEntry;
use crate::fsx::FsError;
use crate::statepoint::JobId;
use crate::view::{Shape, Tree};
use rayon::prelude::*;
use std::cmp::Ordering;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// One change below a directory of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What is changed, below the directory.
    pub path: PathBuf,
    /// How.
    pub change: Change,
}

/// What is done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A link of ours is removed.
    RemoveLink,
    /// A directory that is empty then is removed.
    RemoveDir,
    /// A directory is made.
    MakeDir,
    /// A link of ours gets another text, to lead to this job.
    ReplaceLink(JobId),
    /// A link to a job is made.
    MakeLink(JobId),
}

/// Something that is not ours and stands where a link or a directory should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Where, below the directory.
    pub path: PathBuf,
    /// What it is, a fragment.
    pub what: String,
    /// How many links cannot be made.
    pub n_links: usize,
}

/// What has to be done to get a tree of links.
#[derive(Clone, Debug)]
pub struct LinkPlan {
    /// The changes, in the order in which they can be made.
    pub actions: Vec<Action>,
    /// What is in the way; all else can be done.
    pub obstacles: Vec<Obstacle>,
    /// Entries that are not ours, in directories which nothing else needs any more.
    pub kept: Vec<PathBuf>,
    /// The number of links that are right.
    pub n_right: usize,
    pub(super) shape: Shape,
}

impl LinkPlan {
    /// Compares a tree with what is on disk. `jobs` are those that the tree numbers.
    pub fn new(
        place: &LinkDir,
        memory: &Memory,
        tree: &Tree,
        shape: Shape,
        jobs: &[JobEntry],
    ) -> Result<Self, FsError> {
        let any_name = memory.known.collapsed || shape == Shape::Collapsed;
        let (found, obsolete) = Scan::new(place, tree, jobs, any_name)?.run();
        let mut plan = Self {
            actions: found.actions,
            obstacles: found.obstacles,
            kept: Vec::new(),
            n_right: found.n_right,
            shape,
        };
        plan.add_obsolete(obsolete, memory.known.unfinished);
        plan.sort();
        Ok(plan)
    }

    /// Adds what becomes of directories that the tree does not have. They go if they hold nothing,
    /// and have lost a link of ours or may be left from a run that was interrupted.
    fn add_obsolete(&mut self, mut all: Vec<Obsolete>, may_be_left: bool) {
        for i in (0..all.len()).rev() {
            let dir = &mut all[i];
            dir.lost |= !dir.links.is_empty();
            dir.goes = dir.keeps.is_none() && (dir.lost || may_be_left);
            let (goes, lost, path) = (dir.goes, dir.lost, dir.path.clone());
            if let Some(parent) = dir.parent {
                all[parent].lost |= lost;
                if !goes {
                    all[parent].keeps.get_or_insert(Kept::Below(path));
                }
            }
        }
        for i in 0..all.len() {
            let is_above_spared = all[i].parent.is_some_and(|parent| all[parent].spared);
            let dir = &mut all[i];
            dir.spared = is_above_spared || dir.gives_way_to.is_some() && !dir.goes;
            if !dir.spared {
                self.add_obsolete_dir(dir);
            } else if dir.gives_way_to.is_some() {
                self.obstacles.push(Obstacle {
                    path: dir.path.clone(),
                    what: match &dir.keeps {
                        Some(Kept::Entry(kept) | Kept::Below(kept)) => {
                            let name = kept.file_name().unwrap_or_default();
                            format!("a folder that holds `{}`", name.display())
                        }
                        Some(Kept::Unseen) | None => "a folder".to_owned(),
                    },
                    n_links: 1,
                });
            }
        }
    }

    fn add_obsolete_dir(&mut self, dir: &Obsolete) {
        let mut add = |path, change| self.actions.push(Action { path, change });
        for link in &dir.links {
            add(dir.path.join(link), Change::RemoveLink);
        }
        if dir.goes {
            add(dir.path.clone(), Change::RemoveDir);
            if let Some(job) = dir.gives_way_to {
                add(dir.path.clone(), Change::MakeLink(job));
            }
        } else if let (true, Some(Kept::Entry(kept))) = (dir.lost, &dir.keeps) {
            self.kept.push(kept.clone());
        }
    }

    /// Puts actions in the order in which they can be made.
    fn sort(&mut self) {
        self.actions.par_sort_by(|a, b| {
            let by_path = || match a.change {
                Change::RemoveLink | Change::RemoveDir => a.path.cmp(&b.path),
                // Those are in order as they were found.
                _ => Ordering::Equal,
            };
            a.stage().cmp(&b.stage()).then_with(by_path)
        });
        self.obstacles.sort_by(|a, b| a.path.cmp(&b.path));
        self.kept.sort();
    }
}

impl Action {
    /// Returns when it can be made; all of one stage can be made in any order. Directories wait for
    /// those above them, or for those below when they are removed.
    pub(super) fn stage(&self) -> (u8, isize) {
        let depth = || match self.path.as_os_str().as_bytes() {
            [] => 0,
            path => 1 + path.iter().filter(|&&byte| byte == b'/').count() as isize,
        };
        match self.change {
            Change::RemoveLink => (0, 0),
            Change::RemoveDir => (1, -depth()),
            Change::MakeDir => (2, depth()),
            Change::ReplaceLink(_) | Change::MakeLink(_) => (3, 0),
        }
    }
}

/// A directory that the tree does not have.
#[derive(Debug)]
pub(super) struct Obsolete {
    pub(super) path: PathBuf,
    pub(super) parent: Option<usize>,
    pub(super) gives_way_to: Option<JobId>,
    /// Links of ours in it.
    pub(super) links: Vec<OsString>,
    /// Why it must stay.
    pub(super) keeps: Option<Kept>,
    /// Whether a link of ours is removed from it or below.
    pub(super) lost: bool,
    pub(super) goes: bool,
    /// Whether it stays as it is, because something in it is in the way of a link.
    pub(super) spared: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kept {
    /// An entry of its own.
    Entry(PathBuf),
    /// A directory below that must stay.
    Below(PathBuf),
    /// It cannot be read, or belongs to another file system.
    Unseen,
}
