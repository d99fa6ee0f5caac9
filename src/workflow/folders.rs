//! What was seen in the directories of jobs, good for as long as a directory's stamp is the same.
//!
//! Whether there is a file of a name, and whether there is a sidecar, cannot change without the
//! directory's times; so of a project in which nothing happens, one `stat` per job is all that is
//! asked.

use super::files::Question;
use super::sidecar::{self, FLOW_FILE, Sidecar, SidecarError};
use super::summary::{Says, Summaries, Summary, summaries};
use crate::catalog::{Clock, Damage, Decoder, Encoder, Facts, FactsError, JobIdx, Store};
use crate::fsx::{Dir, EntryType, FsError, Stamp};
use crate::report::Problem;
use crate::statepoint::JobId;
use crate::workspace::Workspace;
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Directories that one task looks at.
const LOOK_CHUNK: usize = 256;

/// The file of all is not opened for so few jobs.
const FEW: usize = 256;

/// So many names are remembered; others are asked for each time.
const NAMES_MAX: usize = 64;

/// Name of the file in the store.
const FILE: &str = "folders";

/// How it begins: its kind and version.
const MAGIC: &[u8; 8] = b"swfldr03";

/// What was seen in a job's directory.
#[derive(Clone, Debug)]
struct Folder {
    id: JobId,
    /// How the directory looked before anything in it was asked for; one that nothing has if it
    /// cannot be trusted.
    stamp: Stamp,
    /// For each name, whether it is known if it is a file, and whether it is.
    known: u64,
    is_file: u64,
    sidecar: Seen,
}

/// What is known of a sidecar.
#[derive(Clone, Debug)]
enum Seen {
    Absent,
    Says(Stamp, Arc<Summaries>),
    Damaged(Arc<Problem>),
}

/// Remembers what was seen.
#[derive(Debug)]
pub(super) struct Folders {
    workspace: Workspace,
    store: Option<Store>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the store was asked.
    is_loaded: bool,
    names: Vec<String>,
    /// Sorted by id.
    folders: Vec<Folder>,
    /// What sidecars say, once for all jobs of which they say the same.
    shared: HashSet<Arc<Summaries>>,
}

impl Folders {
    pub(super) fn new(workspace: &Workspace, store: Option<Store>) -> Self {
        Self {
            workspace: workspace.clone(),
            store,
            state: Mutex::default(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One look at directories, each of which is looked at once.
#[derive(Debug)]
pub(super) struct Look<'a> {
    folders: &'a Folders,
    facts: &'a Facts<'a>,
    dir: Option<Dir>,
    /// Where each job is among those seen.
    places: Vec<Option<NonZeroU32>>,
    seen: Vec<Folder>,
    has_changed: bool,
}

impl<'a> Look<'a> {
    pub(super) fn new(folders: &'a Folders, facts: &'a Facts<'a>) -> Result<Self, FactsError> {
        let dir = match Dir::open(folders.workspace.dir()) {
            Ok(dir) => Some(dir),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            folders,
            facts,
            dir,
            places: vec![None; facts.n_jobs()],
            seen: Vec::new(),
            has_changed: false,
        })
    }

    /// Looks at jobs that were not looked at yet. Documents are looked at after that, too: what an
    /// execution has left must not be known from before, and its end from after.
    pub(super) fn at(&mut self, jobs: &RoaringBitmap) -> Result<(), FactsError> {
        let is_missing = |job: &JobIdx| self.places[*job as usize].is_none();
        let missing: RoaringBitmap = jobs.iter().filter(is_missing).collect();
        if !missing.is_empty() {
            self.read(&missing, false)?;
            self.facts.look_again();
        }
        Ok(())
    }

    /// Looks at the sidecars of jobs anew.
    pub(super) fn again(&mut self, jobs: &RoaringBitmap) -> Result<(), FactsError> {
        if !jobs.is_empty() {
            self.read(jobs, true)?;
            self.facts.look_again();
        }
        Ok(())
    }

    fn read(&mut self, jobs: &RoaringBitmap, anew: bool) -> Result<(), FactsError> {
        let Some(dir) = self.dir.as_ref().filter(|_| !jobs.is_empty()) else {
            return Ok(());
        };
        let ids = self.facts.ids(jobs)?;
        let mut state = self.folders.locked();
        if ids.len() > FEW {
            state.load(self.folders.store.as_ref());
        }
        let reader = Reader {
            workspace: &self.folders.workspace,
            dir,
            clock: self.facts.clock(),
        };
        let mut tasks = tasks(jobs, &ids, &state.folders);
        if anew {
            tasks.iter_mut().for_each(|task| task.before = None);
        }
        let read = |task: &Task<'_>| match task.before.and_then(|before| reader.unchanged(before)) {
            Some(folder) => (task.job, folder, false),
            None => (task.job, reader.folder(task.id), true),
        };
        let chunks = tasks.par_chunks(LOOK_CHUNK);
        let folders: Vec<Vec<_>> = chunks.map(|some| some.iter().map(read).collect()).collect();
        drop(tasks);
        self.seen.reserve(ids.len());
        for (job, mut folder, is_new) in folders.into_iter().flatten() {
            if let (Seen::Says(_, says), true) = (&mut folder.sidecar, is_new) {
                *says = state.share(says);
            }
            self.has_changed |= is_new;
            self.seen.push(folder);
            self.places[job as usize] = NonZeroU32::new(self.seen.len() as u32);
        }
        Ok(())
    }

    fn folder(&self, job: JobIdx) -> Option<&Folder> {
        let place = self.places.get(job as usize).copied().flatten()?;
        self.seen.get(place.get() as usize - 1)
    }

    /// Returns what the sidecar of a job says that was looked at, if it has one.
    pub(super) fn says(&self, job: JobIdx) -> Option<Says> {
        match &self.folder(job)?.sidecar {
            Seen::Absent => None,
            Seen::Says(_, says) => Some(Says::Records(Arc::clone(says))),
            Seen::Damaged(problem) => Some(Says::Nothing(Arc::clone(problem))),
        }
    }

    /// Asks a question about the files of some jobs.
    pub(super) fn ask(&self, question: &Question<'_>, ids: &[JobId]) -> Vec<Result<bool, FsError>> {
        let Some(dir) = &self.dir else {
            return ids.iter().map(|_| Ok(false)).collect();
        };
        let ask = |id: &JobId| question.ask(dir, Path::new(&id.to_string()));
        let chunks = ids.par_chunks(LOOK_CHUNK);
        let answers: Vec<Vec<_>> = chunks.map(|ids| ids.iter().map(ask).collect()).collect();
        answers.into_iter().flatten().collect()
    }

    /// Tells for jobs that were looked at whether they have a regular file of a name.
    pub(super) fn has_file(
        &mut self,
        name: &str,
        jobs: &RoaringBitmap,
    ) -> Vec<Result<bool, FsError>> {
        let Some(dir) = &self.dir else {
            return jobs.iter().map(|_| Ok(false)).collect();
        };
        let bit = self.folders.locked().bit_of(name);
        let places: Vec<_> = jobs
            .iter()
            .filter_map(|job| self.places[job as usize])
            .map(|place| place.get() as usize - 1)
            .collect();
        let seen = &self.seen;
        let ask = |&place: &usize| {
            let folder = &seen[place];
            match bit.filter(|bit| folder.known & bit != 0) {
                Some(bit) => Ok((folder.is_file & bit != 0, false)),
                None => ask_for_file(dir, &folder.id, name),
            }
        };
        let chunks = places.par_chunks(LOOK_CHUNK);
        let answers: Vec<Vec<_>> = chunks.map(|some| some.iter().map(ask).collect()).collect();
        let mut told = Vec::with_capacity(places.len());
        for (place, answer) in places.into_iter().zip(answers.into_iter().flatten()) {
            if let (Some(bit), Ok((is_file, true))) = (bit, &answer) {
                let folder = &mut self.seen[place];
                folder.known |= bit;
                folder.is_file |= if *is_file { bit } else { 0 };
                self.has_changed = true;
            }
            told.push(answer.map(|(is_file, _)| is_file));
        }
        told
    }
}

/// A directory to look at.
struct Task<'a> {
    job: JobIdx,
    id: &'a JobId,
    before: Option<&'a Folder>,
}

/// Returns the directories of jobs, in the order of their inodes as far as these are known: the kernel
/// has them near to each other.
fn tasks<'a>(jobs: &RoaringBitmap, ids: &'a [JobId], known: &'a [Folder]) -> Vec<Task<'a>> {
    let mut rest = known;
    let task = |(job, id): (JobIdx, &'a JobId)| {
        // Both are sorted; if most are asked about, the next is near.
        let at = match rest.iter().take(2).position(|folder| folder.id >= *id) {
            Some(at) => at,
            None => rest.partition_point(|folder| folder.id < *id),
        };
        rest = &rest[at..];
        Task {
            job,
            id,
            before: rest.first().filter(|folder| folder.id == *id),
        }
    };
    let mut tasks: Vec<_> = jobs.iter().zip(ids).map(task).collect();
    tasks.sort_unstable_by_key(|task| task.before.map(|before| before.stamp.inode));
    tasks
}

/// Tells whether there is a regular file, links followed; and whether that is so for as long as the
/// directory does not change.
fn ask_for_file(dir: &Dir, id: &JobId, name: &str) -> Result<(bool, bool), FsError> {
    let path = Path::new(&id.to_string()).join(name);
    Ok(match dir.entry_type(&path)? {
        Some(EntryType::File) => (true, true),
        Some(EntryType::Link) => (dir.file_stamp(&path)?.is_some(), false),
        Some(EntryType::Other) | None => (false, true),
    })
}

impl Drop for Look<'_> {
    /// Keeps what was seen for the next look.
    fn drop(&mut self) {
        if !self.has_changed || self.seen.is_empty() {
            return;
        }
        let is_all = self.seen.len() >= self.facts.n_jobs();
        if !is_all && self.seen.len() <= FEW {
            self.folders
                .locked()
                .replace(std::mem::take(&mut self.seen));
            return;
        }
        let mut places: Vec<_> = self
            .places
            .iter()
            .flatten()
            .map(|place| place.get())
            .collect();
        // A job that was looked at twice has the later place.
        places.sort_unstable();
        let kept = places
            .iter()
            .map(|place| self.seen[*place as usize - 1].clone());
        let mut seen: Vec<_> = kept.collect();
        seen.sort_unstable_by_key(|folder| folder.id);
        let mut state = self.folders.locked();
        let is_all = seen.len() == self.facts.n_jobs();
        let before = std::mem::take(&mut state.folders);
        state.folders = match is_all {
            true => seen,
            false => merged(before, seen),
        };
        state.shared.retain(|says| Arc::strong_count(says) > 1);
        if is_all || state.is_loaded {
            state.save(self.folders.store.as_ref());
        }
    }
}

/// Joins two lists sorted by id; the second has the newer ones.
fn merged(old: Vec<Folder>, new: Vec<Folder>) -> Vec<Folder> {
    let mut all = Vec::with_capacity(old.len() + new.len());
    let mut new = new.into_iter().peekable();
    for folder in old {
        while let Some(earlier) = new.next_if(|other| other.id < folder.id) {
            all.push(earlier);
        }
        match new.next_if(|other| other.id == folder.id) {
            Some(newer) => all.push(newer),
            None => all.push(folder),
        }
    }
    all.extend(new);
    all
}

/// Reads directories of jobs.
struct Reader<'a> {
    workspace: &'a Workspace,
    dir: &'a Dir,
    clock: Clock,
}

impl Reader<'_> {
    /// Returns what is known of a directory, if it is still so. The sidecar is asked first, for what
    /// an execution has left must not be known from before, and its end from after.
    fn unchanged(&self, before: &Folder) -> Option<Folder> {
        let name = before.id.to_string();
        match &before.sidecar {
            Seen::Absent => {}
            Seen::Says(stamp, _) => {
                let sidecar = self.dir.stamp_of(&Path::new(&name).join(FLOW_FILE));
                if sidecar.ok() != Some(*stamp) {
                    return None;
                }
            }
            Seen::Damaged(_) => return None,
        }
        let stamp = self.dir.stamp_of(Path::new(&name)).ok()?;
        (stamp == before.stamp).then(|| before.clone())
    }

    fn folder(&self, id: &JobId) -> Folder {
        let name = id.to_string();
        let stamp = self.dir.stamp_of(Path::new(&name)).unwrap_or_default();
        let path = Path::new(&name).join(FLOW_FILE);
        let sidecar = match sidecar::read_bytes(self.dir, &path) {
            Ok(None) => Seen::Absent,
            Ok(Some((bytes, stamp))) => match Sidecar::parse(&bytes) {
                Ok(sidecar) => {
                    let says = Arc::new(summaries(&sidecar));
                    Seen::Says(self.clock.trusted(stamp), says)
                }
                Err(error) => self.damaged(&name, &error),
            },
            Err(error) => self.damaged(&name, &error.into()),
        };
        Folder {
            id: *id,
            stamp: self.clock.trusted(stamp),
            known: 0,
            is_file: 0,
            sidecar,
        }
    }

    fn damaged(&self, name: &str, error: &SidecarError) -> Seen {
        let path = self.workspace.dir().join(name).join(FLOW_FILE);
        Seen::Damaged(Arc::new(error.problem(name, path)))
    }
}

impl State {
    /// Keeps what was seen of a few folders, if they are known; that is not worth writing a file.
    fn replace(&mut self, seen: Vec<Folder>) {
        for folder in seen {
            let place = self
                .folders
                .binary_search_by(|known| known.id.cmp(&folder.id));
            if let Ok(place) = place {
                self.folders[place] = folder;
            }
        }
    }

    /// Returns the one copy of what a sidecar says.
    fn share(&mut self, says: &Arc<Summaries>) -> Arc<Summaries> {
        if let Some(known) = self.shared.get(says) {
            return Arc::clone(known);
        }
        self.shared.insert(Arc::clone(says));
        Arc::clone(says)
    }

    /// Returns the bit of a name, if it is one that can be remembered.
    fn bit_of(&mut self, name: &str) -> Option<u64> {
        // What is in directories below does not change the stamp of the job's own.
        if name.contains('/') {
            return None;
        }
        let known = self.names.iter().position(|known| known == name);
        let place = known.or_else(|| {
            (self.names.len() < NAMES_MAX).then(|| {
                self.names.push(name.to_owned());
                self.names.len() - 1
            })
        });
        place.map(|place| 1 << place)
    }

    /// Reads what an earlier process has seen, once.
    fn load(&mut self, store: Option<&Store>) {
        if std::mem::replace(&mut self.is_loaded, true) {
            return;
        }
        let Some(bytes) = store.and_then(|store| store.read(FILE)) else {
            return;
        };
        match decode(&bytes) {
            Ok((names, folders)) => self.take(&names, folders),
            Err(damage) => tracing::info!("{FILE}: {damage}; it will be made anew"),
        }
        for i in 0..self.folders.len() {
            if let Seen::Says(stamp, says) = &self.folders[i].sidecar {
                let (stamp, says) = (*stamp, Arc::clone(says));
                self.folders[i].sidecar = Seen::Says(stamp, self.share(&says));
            }
        }
    }

    /// Adds what a file holds; what was seen since is newer. A bit means here what it has meant before.
    fn take(&mut self, names: &[String], mut folders: Vec<Folder>) {
        let bits: Vec<_> = names.iter().map(|name| self.bit_of(name)).collect();
        let translated = |old: u64| {
            let set = bits.iter().enumerate().filter(|(i, _)| old & (1 << i) != 0);
            set.filter_map(|(_, bit)| *bit)
                .fold(0, |all, bit| all | bit)
        };
        for folder in &mut folders {
            folder.known = translated(folder.known);
            folder.is_file = translated(folder.is_file) & folder.known;
        }
        self.folders = merged(folders, std::mem::take(&mut self.folders));
    }

    fn save(&self, store: Option<&Store>) {
        if let Some(store) = store {
            store.write(FILE, &encode(&self.names, &self.folders));
        }
    }
}

/// What a sidecar is in the file.
const ABSENT: u32 = u32::MAX;

fn encode(names: &[String], folders: &[Folder]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.u32(names.len() as u32);
    names.iter().for_each(|name| encoder.bytes(name.as_bytes()));
    // What goes on is asked again, and what is damaged, too.
    let is_lasting =
        |says: &Summaries| says.iter().all(|(_, summary)| summary.processes.is_empty());
    let kept: Vec<_> = folders
        .iter()
        .filter(|folder| match &folder.sidecar {
            Seen::Absent => true,
            Seen::Says(_, says) => is_lasting(says),
            Seen::Damaged(_) => false,
        })
        .collect();
    let mut numbers: HashMap<&Summaries, u32> = HashMap::new();
    let mut distinct = Vec::new();
    for folder in &kept {
        if let Seen::Says(_, says) = &folder.sidecar {
            numbers.entry(says).or_insert_with(|| {
                distinct.push(says);
                distinct.len() as u32 - 1
            });
        }
    }
    encoder.u32(distinct.len() as u32);
    for says in distinct {
        encoder.u32(says.len() as u32);
        says.iter()
            .for_each(|(name, summary)| summary.encode(name, &mut encoder));
    }
    encoder.u32(kept.len() as u32);
    for folder in kept {
        encoder.0.extend_from_slice(folder.id.as_bytes());
        encoder.stamp(&folder.stamp);
        encoder.u64(folder.known);
        encoder.u64(folder.is_file);
        match &folder.sidecar {
            Seen::Says(stamp, says) => {
                encoder.u32(numbers[&**says]);
                encoder.stamp(stamp);
            }
            Seen::Absent | Seen::Damaged(_) => encoder.u32(ABSENT),
        }
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&crc32fast::hash(&encoder.0).to_le_bytes());
    bytes.extend_from_slice(&encoder.0);
    bytes
}

fn decode(bytes: &[u8]) -> Result<(Vec<String>, Vec<Folder>), Damage> {
    let mut decoder = Decoder(bytes);
    if decoder.take(MAGIC.len())? != MAGIC {
        return Err(Damage::Content("it is of another version"));
    }
    if decoder.u32()? != crc32fast::hash(decoder.0) {
        return Err(Damage::Content("its checksum is wrong"));
    }
    let n_names = decoder.u32()?;
    if n_names as usize > NAMES_MAX {
        return Err(Damage::Content("it has too many names"));
    }
    let names = (0..n_names).map(|_| Ok(decoder.text()?.to_owned()));
    let names = names.collect::<Result<Vec<_>, Damage>>()?;
    let n_distinct = decoder.u32()?;
    let mut distinct = Vec::new();
    for _ in 0..n_distinct {
        let n = decoder.u32()?;
        let says = (0..n).map(|_| Summary::decode(&mut decoder));
        distinct.push(Arc::new(says.collect::<Result<Summaries, _>>()?));
    }
    let n_folders = decoder.u32()?;
    let mut folders: Vec<Folder> = Vec::new();
    for _ in 0..n_folders {
        let id = decoder.id()?;
        let (stamp, known, is_file) = (decoder.stamp()?, decoder.u64()?, decoder.u64()?);
        let sidecar = match decoder.u32()? {
            ABSENT => Seen::Absent,
            number => {
                let says = distinct.get(number as usize);
                let says = says.ok_or(Damage::Content("it names what is not there"))?;
                Seen::Says(decoder.stamp()?, Arc::clone(says))
            }
        };
        if folders.last().is_some_and(|last| last.id >= id) {
            return Err(Damage::Content("it is not sorted"));
        }
        folders.push(Folder {
            id,
            stamp,
            known,
            is_file,
            sidecar,
        });
    }
    decoder.end()?;
    Ok((names, folders))
}
