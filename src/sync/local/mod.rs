//! A data space on this machine.

mod adopt;
mod arrive;
mod jobs;
mod list;
mod restore;
mod trash;

pub(super) use adopt::{has_arrived, read_file};
pub(super) use arrive::TAKEN;
pub(super) use list::DEPTH_MAX;

use super::digests::Digests;
use super::pace::STOPPED;
use super::path::{Place, RelPath};
use super::side::{
    Done, FileCopy, FileDigest, FoundText, JobCopy, JobDone, Listing, NewText, Outcome, Peer,
    Removal, Restore, Run, Side, SyncError, Whose,
};
use super::state::Stamp as SyncStamp;
use super::tree::{Content, Entry, JobTree};
use crate::fsx::{self, Details, Dir, Durability, FileType, Lock, Stamp, TimeNs};
use crate::report::{Observer, with_causes};
use crate::statepoint::JobId;
use crate::workspace::{Project, Workspace};
use md5::{Digest, Md5};
use rayon::prelude::*;
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use trash::Trash;
use uuid::Uuid;

/// Files that are read at once, such as documents, are of at most so many bytes.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// Bytes of a file that are read at once for its digest.
const CHUNK_BYTES: usize = 1 << 18;

/// What is ours in a project.
const OWN: &str = ".sweepfs";

/// Digests of files that were read.
const DIGESTS: &str = ".sweepfs/digests";

/// What a sync has left for the next one begins so. It is among the jobs, so that it is put back with
/// them; and a file, since other programs take any directory there for a job.
const STAMP: &str = ".sweepfs-synced-";

/// Jobs are built here until they are complete; no job has that name.
const INCOMING: &str = ".sweepfs-incoming";

/// What another program brings from another machine is here until it is checked.
pub(super) const ARRIVING: &str = ".sweepfs-arriving";

/// What is said of a file that is not as it was listed.
const CHANGED: &str = "it has changed meanwhile";

/// A data space on this machine.
#[derive(Debug)]
pub struct LocalSide {
    name: String,
    workspace: Workspace,
    trash: Trash,
}

impl LocalSide {
    /// Uses a project, under a name for messages.
    pub fn new(project: &Project, name: &str) -> Self {
        let workspace = project.workspace();
        Self {
            name: name.to_owned(),
            trash: Trash::of(&workspace),
            workspace,
        }
    }

    /// Returns the workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Takes the lock that only one sync of a project has. A project that may only be read needs
    /// none.
    ///
    /// # Errors
    ///
    /// Fails if another sync has it.
    pub fn lock(&self) -> Result<Option<Lock>, SyncError> {
        let path = self.workspace.project_root().join(".sweepfs/locks/sync");
        let pid = format!("{}\n", rustix::process::getpid().as_raw_nonzero());
        match Lock::acquire_as(&path, &pid) {
            Ok(Ok(lock)) => Ok(Some(lock)),
            Ok(Err(owner)) => Err(SyncError::Locked {
                root: self.workspace.project_root().to_owned(),
                pid: Some(owner).filter(|owner| !owner.is_empty()),
            }),
            Err(error) if is_read_only(error.kind()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the directory that a place's name is below: the job's, or the project's. A job's
    /// directory that is a link is refused.
    fn dir_of(&self, place: &Place) -> fsx::Result<Dir> {
        match place.job {
            Some(job) => self.job_dir(&job),
            None => Dir::open(self.workspace.project_root()),
        }
    }

    fn job_dir(&self, job: &JobId) -> fsx::Result<Dir> {
        Dir::open(self.workspace.dir())?.open_dir(Path::new(&job.to_string()))
    }

    /// Opens the directory that holds a file, and returns the file's name in it.
    fn parent_of<'p>(&self, place: &'p Place) -> fsx::Result<(Dir, &'p OsStr)> {
        let dir = self.dir_of(place)?;
        let (parent, name) = dir.parent_of(place.path.as_path())?;
        Ok((parent.unwrap_or(dir), name))
    }

    fn read(&self, place: &Place) -> FoundText {
        let read = || {
            let (dir, name) = self.parent_of(place)?;
            let Some(entry) = entry_of(&dir, name)? else {
                return Ok(FoundText::Absent);
            };
            if !entry.is_file() {
                return Ok(FoundText::Absent);
            }
            let (bytes, _) = dir.read_file(Path::new(name), TEXT_BYTES_MAX)?;
            Ok(FoundText::Text(bytes, entry))
        };
        match read() {
            Ok(found) => found,
            Err(error) if is_absent(&error) => FoundText::Absent,
            Err(error) => FoundText::Unreadable(reason(&error)),
        }
    }

    /// Returns the digest of a file, and what it was if it had to be read and did not change meanwhile.
    fn digest(&self, place: &Place, known: &Digests) -> Option<(FileDigest, Option<Stamp>)> {
        let (dir, name) = self.parent_of(place).ok()?;
        let details = dir.details(Path::new(name)).ok()?;
        if details.file_type == FileType::RegularFile
            && let Some(digest) = known.get(place, &details.stamp)
        {
            return Some((digest, None));
        }
        let mut file = dir.open_file(Path::new(name)).ok()?;
        let before = fsx::stamp_of(&file).ok()?;
        let (mut digest, mut chunk) = (Md5::new(), vec![0; CHUNK_BYTES]);
        loop {
            match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => digest.update(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        let is_same = fsx::stamp_of(&file).is_ok_and(|after| after == before);
        Some((digest.finalize().into(), is_same.then_some(before)))
    }

    /// Returns the present time of the project's file system; `None` if nothing may be written there,
    /// or nothing of ours is there yet: that is not begun by who only reads.
    fn file_time(&self) -> Option<TimeNs> {
        let dir = Dir::open(&self.workspace.project_root().join(OWN)).ok()?;
        let name = OsString::from(format!("clock-{}", Uuid::new_v4()));
        let file = dir.create_file(&name).ok()?;
        let stamp = fsx::stamp_of(&file).ok();
        dir.remove(&name).ok()?;
        stamp.map(|stamp| stamp.changed)
    }
}

impl Side for LocalSide {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(&self, observer: &dyn Observer) -> Result<Listing, SyncError> {
        Ok(list::list(&self.workspace, observer)?)
    }

    fn read_many(&self, places: &[Place]) -> Result<Vec<FoundText>, SyncError> {
        Ok(places.par_iter().map(|place| self.read(place)).collect())
    }

    fn digests(&self, places: &[Place]) -> Result<Vec<Option<FileDigest>>, SyncError> {
        let known = Digests::load(self.workspace.project_root().join(DIGESTS));
        let now = self.file_time();
        let found = places.par_iter().map(|place| self.digest(place, &known));
        let found: Vec<_> = found.collect();
        let read = places.iter().zip(&found).filter_map(|(place, found)| {
            let (digest, stamp) = (*found)?;
            Some((place, stamp?, digest))
        });
        if let Some(now) = now {
            known.keep(places, read.collect(), now);
        }
        let digests = found
            .into_iter()
            .map(|found| found.map(|(digest, _)| digest));
        Ok(digests.collect())
    }

    fn write_many(&self, run: &Run, texts: &[NewText], done: &Done<'_>) -> Result<(), SyncError> {
        each(texts, done, |text| self.write(run, text));
        Ok(())
    }

    fn remove_many(
        &self,
        run: &Run,
        removals: &[Removal],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let (dirs, files): (Vec<_>, Vec<_>) = removals
            .iter()
            .enumerate()
            .partition(|(_, removal)| removal.before.is_dir());
        files
            .par_iter()
            .for_each(|(at, removal)| done(*at, self.remove(run, removal)));
        // What is in a directory goes before it.
        for (at, removal) in dirs.into_iter().rev() {
            done(at, self.remove_dir(removal));
        }
        Ok(())
    }

    fn remove_jobs(&self, run: &Run, jobs: &[JobTree], done: &Done<'_>) -> Result<(), SyncError> {
        each(jobs, done, |job| self.remove_job(run, job));
        Ok(())
    }

    fn restore_many(
        &self,
        run: &Run,
        from: &str,
        restores: &[Restore],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        // A directory comes before what is in it.
        let (dirs, files): (Vec<_>, Vec<_>) = restores
            .iter()
            .enumerate()
            .partition(|(_, restore)| restore.before.is_dir());
        for (at, restore) in dirs {
            done(at, self.restore(run, from, restore));
        }
        let files = files.par_iter().with_max_len(1);
        files.for_each(|(at, restore)| done(*at, self.restore(run, from, restore)));
        Ok(())
    }

    fn restore_jobs(
        &self,
        _: &Run,
        from: &str,
        jobs: &[JobId],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        each(jobs, done, |job| self.restore_job(from, job));
        Ok(())
    }

    fn rename_many(
        &self,
        _: &Run,
        renames: &[(Removal, RelPath)],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        each(renames, done, |(from, to)| self.rename(from, to));
        Ok(())
    }

    fn clean(&self, leftovers: &[Place]) -> Result<(), SyncError> {
        for place in leftovers {
            let (dir, name) = self.parent_of(place)?;
            dir.remove(name)?;
        }
        match fsx::remove_dir_all(&self.workspace.dir().join(INCOMING)) {
            Err(error) if !is_absent(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn stamp(&self, pair: Uuid) -> Result<Option<u64>, SyncError> {
        match fsx::read(&self.stamp_path(pair)) {
            Ok(bytes) => Ok(std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.trim().parse().ok())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn set_stamp(&self, stamp: SyncStamp) -> Result<(), SyncError> {
        let path = self.stamp_path(stamp.pair);
        fsx::create_dir_all(self.workspace.dir())?;
        let text = format!("{}\n", stamp.number);
        Ok(fsx::write_atomic(
            &path,
            text.as_bytes(),
            Durability::Process,
        )?)
    }

    fn settle(&self, run: &Run) {
        let _ = fsx::remove_dir_all(&self.workspace.dir().join(ARRIVING));
        let root = self.workspace.project_root();
        super::log::expire(root, |changed| trash::is_old(changed, run.now));
        self.trash.expire(run.now);
    }
}

impl Peer for LocalSide {
    fn copy_jobs(
        &self,
        local: &LocalSide,
        to: Whose,
        run: &Run,
        jobs: &[JobCopy],
        done: &JobDone<'_>,
    ) -> Result<(), SyncError> {
        let (from, to) = self.direction(local, to);
        to.workspace.ensure()?;
        let at = jobs.par_iter().enumerate().with_max_len(1);
        at.for_each(|(at, job)| {
            done(at, in_time(run, || jobs::copy_job(from, to, run, job)));
        });
        // Empty by now, unless another sync is at work.
        let _ = fsx::remove_dir(&to.workspace.dir().join(INCOMING));
        Ok(())
    }

    fn copy_files(
        &self,
        local: &LocalSide,
        to: Whose,
        run: &Run,
        files: &[FileCopy],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let (from, to) = self.direction(local, to);
        // Directories first, and those above before those below.
        let (dirs, files): (Vec<_>, Vec<_>) = files
            .iter()
            .enumerate()
            .partition(|(_, copy)| copy.source.is_dir());
        for (at, copy) in dirs {
            done(at, to.make_dir(copy));
        }
        files
            .par_iter()
            .with_max_len(1)
            .for_each(|(at, copy)| done(*at, in_time(run, || to.take_file(from, run, copy))));
        Ok(())
    }
}

impl LocalSide {
    fn stamp_path(&self, pair: Uuid) -> PathBuf {
        let name = format!("{STAMP}{}", pair.simple());
        self.workspace.dir().join(name)
    }

    fn direction<'s>(&'s self, local: &'s Self, to: Whose) -> (&'s Self, &'s Self) {
        match to {
            Whose::Remote => (local, self),
            Whose::Local => (self, local),
        }
    }
}

/// Begins something if there is time for it.
fn in_time<T>(run: &Run, begin: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match run.pace.is_over() {
        true => Err(STOPPED.to_owned()),
        false => begin(),
    }
}

fn each<T: Sync>(items: &[T], done: &Done<'_>, work: impl Fn(&T) -> Outcome + Sync) {
    let items = items.par_iter().enumerate().with_max_len(1);
    items.for_each(|(at, item)| done(at, work(item)));
}

/// Returns what an entry of a directory is; `None` if there is none. What is neither file, link nor
/// directory has no place in a data space.
fn entry_of(dir: &Dir, name: &OsStr) -> fsx::Result<Option<Entry>> {
    match dir.details(Path::new(name)) {
        Ok(details) => entry(dir, name, &details),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn entry(dir: &Dir, name: &OsStr, details: &Details) -> fsx::Result<Option<Entry>> {
    use std::os::unix::ffi::OsStrExt;
    let content = match details.file_type {
        FileType::RegularFile => Content::File {
            size_bytes: details.stamp.size_bytes,
            modified: details.stamp.modified,
        },
        FileType::Directory => Content::Dir,
        FileType::Symlink => {
            let text = dir.read_link(Path::new(name))?;
            let link = Content::Link(text.as_os_str().as_bytes().into());
            return Ok(Some(Entry {
                content: link,
                mode: 0,
            }));
        }
        _ => return Ok(None),
    };
    Ok(Some(Entry {
        content,
        mode: details.permissions,
    }))
}

fn is_absent(error: &fsx::FsError) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn is_read_only(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
    )
}

/// Says why nothing was done.
fn reason(error: &fsx::FsError) -> String {
    with_causes(error)
}
