//! Bringing files from here to there.

use super::rsync::Transfer;
use super::scratch::Scratch;
use super::transfer::{name_in_workspace, names_of_jobs, ranges, with_complaint};
use super::words::{CHANGED, lock_of, name_of, state};
use super::{RemoteSide, script};
use crate::fsx::{self, Dir};
use crate::sync::LocalSide;
use crate::sync::local::{ARRIVING, TAKEN, has_arrived};
use crate::sync::pace::STOPPED;
use crate::sync::path::RelPath;
use crate::sync::side::{Done, FileCopy, JobCopy, JobDone, NewText, Run, SyncError, Whose};
use crate::sync::tree::{Content, Entry};
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Deeper directories are not looked into.
const DEPTH_MAX: usize = 210;

impl RemoteSide {
    /// Makes the place there where jobs and parts of files arrive.
    fn prepare(&self) -> Result<PathBuf, SyncError> {
        self.ask(script::PREPARE, &[OsStr::new(ARRIVING)])?;
        Ok(self.workspace().join(ARRIVING))
    }

    pub(super) fn push_jobs(
        &self,
        local: &LocalSide,
        run: &Run,
        jobs: &[JobCopy],
        done: &JobDone<'_>,
    ) -> Result<(), SyncError> {
        let arriving = self.prepare()?;
        for range in ranges(jobs, |job| (job.entries.len() + 1, job.size_bytes())) {
            if run.pace.is_over() {
                range.for_each(|at| done(at, Err(STOPPED.to_owned())));
                continue;
            }
            let batch = &jobs[range.clone()];
            let complaints = self.transfer(&Transfer {
                to: Whose::Remote,
                here: local.workspace().dir(),
                there: &arriving,
                names: &names_of_jobs(batch, true),
                options: Vec::new(),
                run: Some(run),
            })?;
            let names: Vec<_> = batch.iter().map(|job| arriving_name(job, None)).collect();
            let mut found = self.examine(&names, DEPTH_MAX)?;
            let arrived: Vec<_> = batch
                .iter()
                .map(|job| taken(&mut found, job, run))
                .collect();
            // What is left nobody asked for, unless an earlier sync did, which was killed.
            for name in &names {
                found.remove(name);
            }
            let extra: Vec<_> = found.into_keys().collect();
            if !extra.is_empty() {
                self.ask_of(script::REMOVE_EXTRA, &[], extra.iter().map(Vec::as_slice))?;
            }
            let installed = self.install(batch, &arrived)?;
            for (at, entries) in range.zip(arrived) {
                let id = jobs[at].id.to_string();
                done(
                    at,
                    match entries {
                        Some(entries) if installed.contains(id.as_bytes()) => Ok(entries),
                        Some(_) => Err("a job of that id is there meanwhile".to_owned()),
                        None => Err(with_complaint(
                            CHANGED.to_owned(),
                            &complaints,
                            id.as_bytes(),
                        )),
                    },
                );
            }
        }
        Ok(())
    }

    /// Gives the jobs that have arrived their names. Returns the ids of those that have them.
    fn install(
        &self,
        jobs: &[JobCopy],
        arrived: &[Option<Vec<Entry>>],
    ) -> Result<BTreeSet<Vec<u8>>, SyncError> {
        let complete = jobs
            .iter()
            .zip(arrived)
            .filter(|(_, arrived)| arrived.is_some());
        let ids: Vec<_> = complete
            .map(|(job, _)| job.id.to_string().into_bytes())
            .collect();
        if ids.is_empty() {
            return Ok(BTreeSet::new());
        }
        let ids = ids.iter().map(Vec::as_slice);
        let answer = self.ask_of(script::INSTALL, &[OsStr::new(ARRIVING)], ids)?;
        Ok(answer
            .output
            .split(|b| *b == 0)
            .map(<[u8]>::to_vec)
            .collect())
    }

    pub(super) fn push_files(
        &self,
        local: &LocalSide,
        run: &Run,
        files: &[FileCopy],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let arriving = self.prepare()?;
        let all = files.iter().enumerate();
        let (contents, others): (Vec<_>, Vec<_>) =
            all.partition(|(_, copy)| copy.source.is_file() && !copy.differs_in_mode_only());
        // Directories come before what is in them.
        for range in ranges(&others, |_| (1, 0)) {
            self.push_known(local, run, &arriving, &others[range], done)?;
        }
        for range in ranges(&contents, |(_, copy)| (1, copy.source.size_bytes())) {
            let from = local.workspace().dir();
            self.push_contents(from, run, &arriving, &contents[range], done)?;
        }
        Ok(())
    }

    /// Pushes directories, links and permissions.
    fn push_known(
        &self,
        local: &LocalSide,
        run: &Run,
        arriving: &Path,
        batch: &[(usize, &FileCopy)],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        if run.pace.is_over() {
            batch
                .iter()
                .for_each(|(at, _)| done(*at, Err(STOPPED.to_owned())));
            return Ok(());
        }
        let faults = self.faults(batch)?;
        let ready = batch.iter().zip(&faults).filter(|(_, why)| why.is_none());
        let names: Vec<_> = ready
            .map(|((_, copy), _)| name_in_workspace(&copy.place))
            .collect();
        let complaints = self.transfer(&Transfer {
            to: Whose::Remote,
            here: local.workspace().dir(),
            there: &self.workspace(),
            names: &names,
            options: self.options_of_push(run, arriving),
            run: Some(run),
        })?;
        let names: Vec<_> = batch.iter().map(|(_, copy)| name_of(&copy.place)).collect();
        let found = self.examine(&names, 0)?;
        for (((at, copy), name), fault) in batch.iter().zip(&names).zip(faults) {
            let entry = found.get(name);
            let arrived = entry.filter(|entry| has_arrived(Some(entry), &copy.source, run));
            done(
                *at,
                match arrived {
                    _ if fault.is_some() => Err(fault.unwrap_or(CHANGED).to_owned()),
                    Some(entry) => Ok(Some(entry.clone())),
                    None => Err(with_complaint(CHANGED.to_owned(), &complaints, name)),
                },
            );
        }
        Ok(())
    }

    /// Writes small files of jobs by way of a directory here.
    pub(super) fn push_texts(
        &self,
        run: &Run,
        texts: &[(usize, &NewText)],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        let arriving = self.prepare()?;
        for range in ranges(texts, |(_, text)| (1, text.bytes.len() as u64)) {
            let scratch = Scratch::new(self.scratch.path())?;
            let copies = texts[range].iter().map(|(at, text)| {
                let source = write_file(scratch.path(), text)?;
                let (place, before) = (text.place.clone(), text.before.clone());
                Ok((
                    *at,
                    FileCopy {
                        place,
                        source,
                        before,
                    },
                ))
            });
            let copies = copies.collect::<Result<Vec<_>, SyncError>>()?;
            let batch: Vec<_> = copies.iter().map(|(at, copy)| (*at, copy)).collect();
            self.push_contents(scratch.path(), run, &arriving, &batch, done)?;
        }
        Ok(())
    }

    /// Pushes files beside the jobs. Those that are whole, and what they were when they were listed,
    /// are given their places then, if there is still in them what there was.
    fn push_contents(
        &self,
        from: &Path,
        run: &Run,
        arriving: &Path,
        batch: &[(usize, &FileCopy)],
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        if run.pace.is_over() {
            batch
                .iter()
                .for_each(|(at, _)| done(*at, Err(STOPPED.to_owned())));
            return Ok(());
        }
        let faults = self.faults(batch)?;
        let (ready, others): (Vec<_>, Vec<_>) =
            batch.iter().zip(faults).partition(|(_, why)| why.is_none());
        for ((at, _), why) in others {
            done(*at, Err(why.unwrap_or(CHANGED).to_owned()));
        }
        let names: Vec<_> = ready
            .iter()
            .map(|((_, copy), _)| name_in_workspace(&copy.place))
            .collect();
        let mut basis = OsString::from("--copy-dest=");
        basis.push(self.workspace());
        let complaints = self.transfer(&Transfer {
            to: Whose::Remote,
            here: from,
            there: arriving,
            names: &names,
            options: vec![basis],
            run: Some(run),
        })?;
        let below = format!("workspace/{ARRIVING}/").into_bytes();
        let names: Vec<_> = names
            .iter()
            .map(|name| [&below, name.as_slice()].concat())
            .collect();
        let found = self.examine(&names, 0)?;
        let mut arrived = Vec::new();
        for (((at, copy), _), name) in ready.into_iter().zip(names) {
            let entry = found.get(&name);
            match entry.filter(|entry| has_arrived(Some(entry), &copy.source, run)) {
                Some(entry) => arrived.push((*at, *copy, name, entry)),
                None => {
                    let name = name_in_workspace(&copy.place);
                    let why = with_complaint(CHANGED.to_owned(), &complaints, &name);
                    done(*at, Err(why));
                }
            }
        }
        self.install_files(run, arrived, done)
    }

    /// Gives files that have arrived their places: those for free places are done together, and so
    /// are those that replace something.
    fn install_files(
        &self,
        run: &Run,
        mut arrived: Vec<(usize, &FileCopy, Vec<u8>, &Entry)>,
        done: &Done<'_>,
    ) -> Result<(), SyncError> {
        // Each lock is taken once.
        let order = |copy: &FileCopy| (copy.before.is_some(), lock_of(&copy.place));
        arrived.sort_by_cached_key(|(_, copy, ..)| order(copy));
        let n_new = arrived.partition_point(|(_, copy, ..)| copy.before.is_none());
        let (new, replacing) = arrived.split_at(n_new);
        for group in [new, replacing] {
            let item = |(n, (_, copy, name, _)): (usize, &(usize, &FileCopy, Vec<u8>, &Entry))| {
                vec![
                    n.to_string().into_bytes(),
                    name_of(&copy.place),
                    state(copy.before.as_ref()),
                    name.clone(),
                    lock_of(&copy.place),
                ]
            };
            let items: Vec<_> = group.iter().enumerate().map(item).collect();
            self.for_items(run, script::INSTALL_FILES, &items, &|n, outcome| {
                let (at, _, _, entry) = group[n];
                done(at, outcome.map(|_| Some(entry.clone())));
            })?;
        }
        Ok(())
    }

    /// Says of each file why it cannot have its place, unless there is still what was listed.
    fn faults(&self, batch: &[(usize, &FileCopy)]) -> Result<Vec<Option<&'static str>>, SyncError> {
        let found = self.examine(&with_parents(batch), 0)?;
        Ok(batch.iter().map(|(_, copy)| fault(copy, &found)).collect())
    }

    /// What is replaced goes to the trash, and what arrives has another name until it is whole.
    fn options_of_push(&self, run: &Run, arriving: &Path) -> Vec<OsString> {
        let with = |option: &str, path: &Path| {
            let mut text = OsString::from(option);
            text.push(path);
            text
        };
        let trash = Path::new(&self.trash).join(&run.id).join("workspace");
        vec![
            "--backup".into(),
            with("--backup-dir=", &trash),
            with("--temp-dir=", &arriving.join("tmp")),
            with("--partial-dir=", &arriving.join("partial")),
        ]
    }
}

/// The name of an entry of a job that arrives there, below the project's directory.
fn arriving_name(job: &JobCopy, path: Option<&RelPath>) -> Vec<u8> {
    let mut name = format!("workspace/{ARRIVING}/{}", job.id).into_bytes();
    if let Some(path) = path {
        name.push(b'/');
        name.extend_from_slice(path.as_bytes());
    }
    name
}

/// Takes the entries of a job out of what was found; `None` if one is not as it should be.
fn taken(found: &mut HashMap<Vec<u8>, Entry>, job: &JobCopy, run: &Run) -> Option<Vec<Entry>> {
    let entries: Vec<_> = job
        .entries
        .iter()
        .map(|(path, _)| found.remove(&arriving_name(job, Some(path))))
        .collect();
    let pairs = entries.into_iter().zip(&job.entries);
    pairs
        .map(|(entry, (_, listed))| entry.filter(|entry| has_arrived(Some(entry), listed, run)))
        .collect()
}

/// The directories that a name is in, below the workspace.
fn parents(name: &[u8]) -> Vec<Vec<u8>> {
    let slashes = name.iter().enumerate().filter(|(_, b)| **b == b'/');
    slashes.skip(1).map(|(at, _)| name[..at].to_vec()).collect()
}

/// The names of files, and of the directories that they are in.
fn with_parents(files: &[(usize, &FileCopy)]) -> Vec<Vec<u8>> {
    let mut names = BTreeSet::new();
    for (_, copy) in files {
        let name = name_of(&copy.place);
        names.extend(parents(&name));
        names.insert(name);
    }
    names.into_iter().collect()
}

/// Says why there is not what was listed, or a link is on the way.
fn fault(copy: &FileCopy, found: &HashMap<Vec<u8>, Entry>) -> Option<&'static str> {
    let name = name_of(&copy.place);
    for (n, dir) in parents(&name).iter().enumerate() {
        match found.get(dir) {
            Some(entry) if entry.is_dir() => {}
            // Other directories than that of the job are made.
            None if n > 0 => {}
            _ => return Some(CHANGED),
        }
    }
    match (found.get(&name), &copy.before) {
        (None, None) => None,
        (Some(found), Some(before)) => (found.content != before.content).then_some(CHANGED),
        // A directory is made for what is in it, too.
        (Some(found), None) => (!found.is_dir() || !copy.source.is_dir()).then_some(TAKEN),
        (None, Some(_)) => Some(CHANGED),
    }
}

/// Writes a file where it is to be copied from; returns what it is there.
fn write_file(dir: &Path, text: &NewText) -> Result<Entry, SyncError> {
    let path = dir.join(text.place.below_workspace().as_path());
    let parent = path.parent().unwrap_or(dir);
    fsx::create_dir_all(parent)?;
    let mut file = Dir::open(parent)?.create_file(path.file_name().unwrap_or_default())?;
    let before = text.before.as_ref().map(|before| before.mode);
    let mode = before.unwrap_or_else(fsx::usual_mode);
    let written = file
        .write_all(&text.bytes)
        .and_then(|()| fsx::set_mode_and_time(&file, mode, text.modified))
        .and_then(|()| fsx::stamp_of(&file));
    let stamp = written.map_err(|error| SyncError::Failed {
        message: format!("cannot write `{}`: {error}", path.display()),
        hint: None,
    })?;
    let content = Content::File {
        size_bytes: stamp.size_bytes,
        modified: stamp.modified,
    };
    Ok(Entry { content, mode })
}
