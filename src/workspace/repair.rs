//! Mending damaged jobs: plan first, then apply.
//!
//! Nothing that somebody may have stored is removed: what is replaced is kept beside it.

use super::{JSON_SIZE_BYTES_MAX, JobState, Listing, STATEPOINT_FILE, Workspace};
use crate::fsx::{self, Dir, Durability, EntryKind, FsError, Stamp, TimeNs};
use crate::pyjson;
use crate::statepoint::{JobId, StatePoint};
use std::fmt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The file in which signac keeps a state point while it changes it.
const BACKUP: &str = "signac_statepoint.json~";

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Mend {
    /// Write a job's state point again.
    Restore {
        /// The job.
        id: JobId,
        /// What it was, which has that id.
        statepoint: StatePoint,
        /// Where it was found, for people.
        source: &'static str,
    },
    /// Give a directory the id of the state point in it.
    Rename {
        /// The wrong id.
        from: JobId,
        /// The id of the state point.
        to: JobId,
        /// The state point lies in the file that signac uses during a change.
        from_backup: bool,
    },
    /// Remove a directory that holds no job.
    Remove {
        /// The directory.
        path: PathBuf,
        /// All that is in it: state points that were being written.
        files: Vec<PathBuf>,
    },
}

/// What can be done.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What to do, one after the other.
    pub mends: Vec<Mend>,
    /// Jobs and directories that changed too recently to be touched.
    pub n_recent: usize,
}

/// When something may be touched.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    /// The present time.
    pub now: TimeNs,
    /// For how long nothing must have changed: signac leaves a job without a state point for a
    /// moment while it changes it.
    pub min_age: TimeNs,
}

impl Quiet {
    fn holds(&self, stamp: &Stamp) -> bool {
        self.now.saturating_sub(stamp.modified.max(stamp.changed)) >= self.min_age
    }
}

impl fmt::Display for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restore { id, source, .. } => {
                write!(f, "{id}: restore the state point from {source}")
            }
            Self::Rename { from, to, .. } => write!(f, "{from}: rename the directory to {to}"),
            Self::Remove { path, .. } => {
                let name = path.file_name().unwrap_or_default();
                write!(
                    f,
                    "{}: remove the directory, which holds no job",
                    name.display()
                )
            }
        }
    }
}

impl Workspace {
    /// Finds out what can be done for damaged jobs, sorted by id, and for directories in which jobs
    /// were being built.
    pub fn plan_repair(&self, damaged: &[JobId], listing: &Listing, quiet: Quiet) -> Plan {
        let cached = self.cached_statepoints(damaged);
        let mut plan = Plan::default();
        for id in damaged {
            let Ok(dir) = Dir::open(&self.job_dir(id)) else {
                continue;
            };
            let mend = self.plan_job(&dir, id, cached.get(id));
            plan.add(mend, is_quiet(&dir, quiet));
        }
        for unfinished in &listing.unfinished {
            let Ok(dir) = Dir::open(&unfinished.path) else {
                continue;
            };
            plan.add(removal(&dir), is_quiet(&dir, quiet));
        }
        plan
    }

    fn plan_job(&self, dir: &Dir, id: &JobId, cached: Option<&StatePoint>) -> Option<Mend> {
        let restore = |statepoint: &StatePoint, source| {
            Some(Mend::Restore {
                id: *id,
                statepoint: statepoint.clone(),
                source,
            })
        };
        let found = statepoints_in(dir);
        if let Some((_, leftover)) = found.iter().find(|(_, sp)| sp.id() == *id) {
            return restore(leftover, "what an interrupted write left");
        }
        if let Some(cached) = cached {
            return restore(cached, "signac's cache");
        }
        let named = |name: &str| found.iter().find(|(other, _)| other == name);
        let own = named(STATEPOINT_FILE);
        let has_own = dir.contains(Path::new(STATEPOINT_FILE));
        let backup = named(BACKUP).filter(|_| !has_own);
        if let Some((_, statepoint)) = own.or(backup) {
            let to = statepoint.id();
            let is_free = !self.job_dir(&to).exists();
            return is_free.then_some(Mend::Rename {
                from: *id,
                to,
                from_backup: own.is_none(),
            });
        }
        removal(dir).filter(|mend| matches!(mend, Mend::Remove { files, .. } if files.is_empty()))
    }

    /// Does what was planned, unless the job is not damaged any more; tells whether it did.
    pub fn apply(&self, mend: &Mend) -> Result<bool, FsError> {
        if let Mend::Restore { id, .. } | Mend::Rename { from: id, .. } = mend {
            let state = self.read_job(&Dir::open(self.dir())?, id);
            if !matches!(state, JobState::Damaged(_)) {
                return Ok(false);
            }
        }
        match mend {
            Mend::Restore { id, statepoint, .. } => {
                let path = self.statepoint_path(id);
                keep_beside(&path)?;
                let text = statepoint.object().dumps();
                fsx::write_atomic(&path, text.as_bytes(), Durability::Power)?;
            }
            Mend::Rename {
                from,
                to,
                from_backup,
            } => {
                let dir = self.job_dir(from);
                if *from_backup {
                    fsx::rename_new(&dir.join(BACKUP), &dir.join(STATEPOINT_FILE))?;
                }
                fsx::rename_new(&dir, &self.job_dir(to))?;
            }
            Mend::Remove { path, files } => {
                files.iter().try_for_each(|file| fsx::remove_file(file))?;
                fsx::remove_dir(path)?;
            }
        }
        Ok(true)
    }
}

impl Plan {
    fn add(&mut self, mend: Option<Mend>, is_quiet: bool) {
        match mend {
            Some(mend) if is_quiet => self.mends.push(mend),
            Some(_) => self.n_recent += 1,
            None => {}
        }
    }
}

/// Tells whether nothing was changed lately in a directory: neither its entries nor its name nor a
/// state point in it.
fn is_quiet(dir: &Dir, quiet: Quiet) -> bool {
    let files = statepoint_files(dir)
        .into_iter()
        .map(|name| dir.stamp_of(Path::new(&name)));
    let mut stamps = files.chain([dir.stamp()]);
    stamps.all(|stamp| stamp.is_ok_and(|stamp| quiet.holds(&stamp)))
}

/// Removes a directory with nothing in it but state points that were being written.
fn removal(dir: &Dir) -> Option<Mend> {
    let files = statepoint_files(dir);
    let mut n_entries = 0;
    fsx::for_each_entry(dir.path(), |_| n_entries += 1).ok()?;
    (n_entries == files.len()).then(|| Mend::Remove {
        path: dir.path().to_owned(),
        files: files.iter().map(|name| dir.path().join(name)).collect(),
    })
}

/// Gives a file, if there is one, a second name that nothing uses, so that it can be replaced.
fn keep_beside(path: &Path) -> Result<(), FsError> {
    if !path.exists() {
        return Ok(());
    }
    let name = format!("{STATEPOINT_FILE}.damaged-{}", Uuid::new_v4());
    let kept = path.with_file_name(name);
    // A directory in place of the file, or a file system without hard links.
    fsx::hard_link(path, &kept).or_else(|_| fsx::rename(path, &kept))
}

/// Lists the files that hold a state point, sorted: a job's own, the one that signac keeps during a
/// change, and temporary ones.
fn statepoint_files(dir: &Dir) -> Vec<String> {
    let mut names = Vec::new();
    let temporary = format!("_{STATEPOINT_FILE}");
    let _ = fsx::for_each_entry(dir.path(), |entry| {
        let Some(name) = entry.name.to_str() else {
            return;
        };
        let is_temporary = name.starts_with("._") && name.ends_with(&temporary);
        let is_one = name == STATEPOINT_FILE || name == BACKUP || is_temporary;
        if is_one && entry.kind == EntryKind::Other {
            names.push(name.to_owned());
        }
    });
    names.sort();
    names
}

/// Reads the state points in a job directory, with the names of their files.
fn statepoints_in(dir: &Dir) -> Vec<(String, StatePoint)> {
    let read = |name: String| {
        let (bytes, _) = dir.read_file(Path::new(&name), JSON_SIZE_BYTES_MAX).ok()?;
        let value = pyjson::parse_bytes(&bytes).ok()?;
        Some((name, StatePoint::from_value(value).ok()?))
    };
    statepoint_files(dir).into_iter().filter_map(read).collect()
}
