//! Listing a data space.

use super::super::path::{Place, RelPath};
use super::super::side::Listing;
use super::super::tree::{Content, Entry, JobTree, PROJECT_DOCUMENT, is_incoming, is_temporary};
use super::{entry, entry_of, is_absent};
use crate::fsx::{self, Dir, EntryKind};
use crate::report::{Event, Observer, Problem, harmless};
use crate::statepoint::JobId;
use crate::workspace::{STATEPOINT_FILE, Workspace};
use rayon::prelude::*;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Deeper directories are not entered.
pub(in crate::sync) const DEPTH_MAX: usize = 200;

/// What one job gave.
#[derive(Default)]
struct Found {
    entries: Vec<(RelPath, Entry)>,
    problems: Vec<Problem>,
    hidden: Vec<Place>,
    leftovers: Vec<Place>,
    /// It is no job that can be synced.
    is_out: bool,
}

pub(super) fn list(workspace: &Workspace, observer: &dyn Observer) -> fsx::Result<Listing> {
    let mut listing = Listing::default();
    let root = Dir::open(workspace.project_root())?;
    let document = entry_of(&root, OsStr::new(PROJECT_DOCUMENT))?;
    if document.as_ref().is_some_and(|entry| !entry.is_file()) {
        listing.hidden.push(Place::document());
        listing.problems.push(Problem {
            subject: PROJECT_DOCUMENT.into(),
            path: root.path().join(PROJECT_DOCUMENT),
            reason: "not synced: no regular file".into(),
            hint: None,
        });
    }
    listing.tree.document = document.filter(Entry::is_file);
    let dir = match Dir::open(workspace.dir()) {
        Err(error) if is_absent(&error) => return Ok(listing),
        opened => opened?,
    };
    listing.has_workspace = true;
    let ids = job_ids(&dir, &mut listing)?;
    let (total, n_done) = (ids.len(), AtomicUsize::new(0));
    let what = "listing jobs";
    let device = dir.device()?;
    let look = |id: &JobId| {
        let found = list_job(&dir, id, device);
        let done = n_done.fetch_add(1, Ordering::Relaxed) + 1;
        if done % 256 == 0 {
            observer.event(Event::Progress { what, done, total });
        }
        found
    };
    let found: Vec<_> = ids.par_iter().map(look).collect();
    for (id, found) in ids.into_iter().zip(found) {
        let Some(found) = found else { continue };
        listing.problems.extend(found.problems);
        listing.leftovers.extend(found.leftovers);
        if found.is_out {
            listing.left_out.push(id);
            continue;
        }
        listing.hidden.extend(found.hidden);
        let entries = found.entries;
        listing.tree.jobs.push(JobTree { id, entries });
    }
    listing.left_out.sort_unstable();
    listing.problems.sort();
    observer.event(Event::Finished);
    Ok(listing)
}

/// Returns the ids of the jobs, sorted.
fn job_ids(dir: &Dir, listing: &mut Listing) -> fsx::Result<Vec<JobId>> {
    let mut ids: Vec<JobId> = Vec::new();
    dir.for_each_entry(|entry| {
        let Some(id) = entry.name.to_str().and_then(|name| name.parse().ok()) else {
            return;
        };
        match entry.kind {
            EntryKind::Dir => ids.push(id),
            _ => {
                listing.left_out.push(id);
                listing.problems.push(Problem {
                    subject: id.to_string(),
                    path: dir.path().join(entry.name),
                    reason: "not synced: a link or a file, not a directory".into(),
                    hint: Some("sync follows no link; put a directory in its place".into()),
                });
            }
        }
    })?;
    ids.sort_unstable();
    Ok(ids)
}

/// Tells whether a job that has some name in a directory is as it was listed; `None` if there is
/// nothing of that name.
pub(super) fn is_as_listed(dir: &Dir, name: &OsStr, job: &JobTree) -> fsx::Result<Option<bool>> {
    let device = dir.device()?;
    let Some(found) = list_dir(dir, name, &job.id, device) else {
        return Ok(None);
    };
    let is_all = !found.is_out && found.hidden.is_empty();
    let now = JobTree {
        id: job.id,
        entries: found.entries,
    };
    Ok(Some(is_all && now.is_same_as(job)))
}

/// Lists a job; `None` if it is gone.
fn list_job(workspace: &Dir, id: &JobId, device: u64) -> Option<Found> {
    list_dir(workspace, OsStr::new(&id.to_string()), id, device)
}

/// Lists a job whose directory has some name.
fn list_dir(above: &Dir, name: &OsStr, id: &JobId, device: u64) -> Option<Found> {
    let mut found = Found::default();
    let walk = Walk {
        id,
        device,
        path: above.path().join(name),
    };
    let listed = above.open_dir(Path::new(name)).and_then(|dir| {
        if dir.device()? != device {
            let reason = "not synced: another file system is mounted there";
            found.problems.push(walk.problem(&walk.path, reason));
            found.is_out = true;
            return Ok(());
        }
        walk.dir(&dir, None, 0, &mut found)
    });
    match listed {
        Err(error) if is_absent(&error) && error.path == walk.path => return None,
        Err(error) => {
            // Of what cannot be seen nobody can say that it is gone.
            let reason = format!("not synced: {error}: {}", error.cause);
            found.problems.push(walk.problem(&error.path, &reason));
            found.is_out = true;
        }
        Ok(()) => {}
    }
    found.entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let statepoint = RelPath::of(STATEPOINT_FILE);
    let at = found
        .entries
        .binary_search_by(|(path, _)| path.cmp(&statepoint));
    let has_statepoint = at.is_ok_and(|at| found.entries[at].1.is_file());
    if !found.is_out && !has_statepoint {
        let path = walk.path.join(STATEPOINT_FILE);
        let reason = "not synced: it has no state point file";
        found.problems.push(walk.problem(&path, reason));
        found.is_out = true;
    }
    Some(found)
}

struct Walk<'a> {
    id: &'a JobId,
    device: u64,
    path: PathBuf,
}

impl Walk<'_> {
    fn problem(&self, path: &Path, reason: &str) -> Problem {
        Problem {
            subject: self.id.to_string(),
            path: path.to_owned(),
            reason: reason.to_owned(),
            hint: None,
        }
    }

    /// Lists a directory of the job, and those below it.
    fn dir(
        &self,
        dir: &Dir,
        above: Option<&RelPath>,
        depth: usize,
        found: &mut Found,
    ) -> fsx::Result<()> {
        let mut names: Vec<(OsString, bool)> = Vec::new();
        dir.for_each_entry(|entry| {
            names.push((entry.name.to_owned(), entry.kind == EntryKind::Dir));
        })?;
        for (name, is_dir) in names {
            let bytes = name.as_bytes();
            let path = match above {
                None => RelPath::new(bytes),
                Some(above) => above.join(bytes),
            };
            let path = match path {
                Ok(path) => path,
                Err(_) => {
                    self.hide_long(dir, above, &name, found);
                    continue;
                }
            };
            if is_temporary(bytes) {
                if is_incoming(bytes) {
                    found.leftovers.push(Place::of_job(*self.id, path));
                }
                continue;
            }
            if is_dir {
                self.enter(dir, &name, path, depth, found)?;
                continue;
            }
            self.add(dir, &name, path, found)?;
        }
        Ok(())
    }

    /// Names a file whose path is too long for us.
    fn hide_long(&self, dir: &Dir, above: Option<&RelPath>, name: &OsStr, found: &mut Found) {
        let what = format!(
            "`{}` is not synced: its path is too long",
            harmless(name.display())
        );
        found
            .problems
            .push(self.problem(&dir.path().join(name), &what));
        let path = match above {
            Some(above) => [above.as_bytes(), b"/", name.as_bytes()].concat(),
            None => name.as_bytes().to_vec(),
        };
        let path = RelPath::beginning_of(&path);
        found
            .hidden
            .extend(path.map(|path| Place::of_job(*self.id, path)));
    }

    fn add(&self, dir: &Dir, name: &OsStr, path: RelPath, found: &mut Found) -> fsx::Result<()> {
        let details = match dir.details(Path::new(name)) {
            Err(error) if is_absent(&error) => return Ok(()),
            details => details?,
        };
        match entry(dir, name, &details) {
            Ok(Some(entry)) => found.entries.push((path, entry)),
            Ok(None) => {
                let what = format!(
                    "`{}` is not synced: no file, link or directory",
                    harmless(&path)
                );
                found
                    .problems
                    .push(self.problem(&dir.path().join(name), &what));
                found.hidden.push(Place::of_job(*self.id, path));
            }
            // Somebody has put something else in its place.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn enter(
        &self,
        dir: &Dir,
        name: &OsStr,
        path: RelPath,
        depth: usize,
        found: &mut Found,
    ) -> fsx::Result<()> {
        let below = match dir.open_dir(Path::new(name)) {
            Err(error) if is_absent(&error) => return Ok(()),
            below => below?,
        };
        let refuse = |why: &str| {
            let what = format!("`{}` is not synced: {why}", harmless(&path));
            self.problem(&dir.path().join(name), &what)
        };
        let why = match below.device()? != self.device {
            true => Some("another file system is mounted there"),
            false => (depth >= DEPTH_MAX).then_some("it lies too deep"),
        };
        if let Some(why) = why {
            found.problems.push(refuse(why));
            found.hidden.push(Place::of_job(*self.id, path));
            return Ok(());
        }
        let entry = Entry {
            content: Content::Dir,
            mode: below.mode()?,
        };
        found.entries.push((path.clone(), entry));
        self.dir(&below, Some(&path), depth + 1, found)
    }
}
