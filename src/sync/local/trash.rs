//! Where what is replaced or removed is kept for a while.

use super::super::side::Run;
use crate::fsx::{self, Dir, TimeNs};
use crate::workspace::Workspace;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// In the project, if it is on the same file system as the jobs.
const IN_PROJECT: &str = ".sweepfs/trash";

/// Or else among the jobs, so that moving there never copies.
const IN_WORKSPACE: &str = ".sweepfs-trash";

/// What is in the trash is kept for so many days.
const KEPT_DAYS: i64 = 30;

const DAY_NS: TimeNs = 24 * 3600 * 1_000_000_000;

/// The trash of a data space.
#[derive(Debug)]
pub(super) struct Trash {
    root: PathBuf,
    workspace: PathBuf,
}

impl Trash {
    pub(super) fn of(workspace: &Workspace) -> Self {
        Self {
            root: workspace.project_root().to_owned(),
            workspace: workspace.dir().to_owned(),
        }
    }

    fn path(&self) -> PathBuf {
        let device = |path: &Path| Dir::open(path).and_then(|dir| dir.device()).ok();
        match device(&self.root) == device(&self.workspace) {
            true => self.root.join(IN_PROJECT),
            false => self.workspace.join(IN_WORKSPACE),
        }
    }

    /// Opens the place in the trash of a run for files that were in a directory of the project.
    pub(super) fn open(&self, run: &Run, parent: Option<&Path>) -> fsx::Result<Dir> {
        let mut path = self.path().join(&run.id);
        path.extend(parent);
        fsx::create_dir_all(&path)?;
        Dir::open(&path)
    }

    /// Opens the place in the trash where an earlier run has put what was in a directory.
    pub(super) fn open_of(&self, run: &str, parent: Option<&Path>) -> fsx::Result<Dir> {
        let below = Path::new(run).join(parent.unwrap_or(Path::new("")));
        Dir::open(&self.path())?.open_dir(&below)
    }

    /// Removes what was put there long ago.
    pub(super) fn expire(&self, now: TimeNs) {
        let Ok(dir) = Dir::open(&self.path()) else {
            return;
        };
        let mut old = Vec::new();
        let _ = dir.for_each_entry(|entry| old.push(entry.name.to_owned()));
        for name in old {
            let is_old = dir
                .stamp_of(Path::new(&name))
                .is_ok_and(|stamp| is_old(stamp.changed, now));
            if is_old {
                let _ = fsx::remove_dir_all(&dir.path().join(&name));
            }
        }
    }
}

/// Tells whether something was put there, or last changed, so long ago that it need not be kept.
pub(super) fn is_old(changed: TimeNs, now: TimeNs) -> bool {
    now.saturating_sub(changed) > KEPT_DAYS * DAY_NS
}

/// Tries names in the trash until one is free.
pub(super) fn with_free_name(
    name: &OsStr,
    mut put: impl FnMut(&OsStr) -> fsx::Result<()>,
) -> fsx::Result<OsString> {
    let mut n_tried = 1;
    loop {
        let mut tried = name.to_owned();
        if n_tried > 1 {
            tried.push(format!("~{n_tried}"));
        }
        match put(&tried) {
            Err(error) if fsx::is_taken(&error) && n_tried < 1000 => n_tried += 1,
            result => return result.map(|()| tried),
        }
    }
}
