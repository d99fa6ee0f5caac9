//! What both data spaces were when they last agreed.
//!
//! One file, `state`, is replaced when a sync has ended. Meanwhile a `journal` beside it gets what
//! was done; if the sync is killed, the next one goes on from both.

use super::codec::{self, Cursor};
use super::path::{Place, RelPath};
use super::tree::Entry;
use crate::fsx::{self, Dir, Durability, FsError};
use crate::statepoint::JobId;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

const STATE: &str = "state";

const JOURNAL: &str = "journal";

const MAGIC: &[u8] = b"sweepfs sync state 2\n";

const JOURNAL_MAGIC: &[u8] = b"sweepfs sync journal 1\n";

/// What an entry was on both sides when they agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// As it was here.
    pub local: Entry,
    /// As it was there.
    pub remote: Entry,
    /// Of a document: what of its content was the same.
    pub text: Option<Box<[u8]>>,
    /// Not all of the document is the same; it is compared again each time.
    pub is_open: bool,
}

/// A job as it was on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownJob {
    pub(super) id: JobId,
    /// Sorted by the bytes of the name.
    pub(super) entries: Vec<(RelPath, Known)>,
}

impl KnownJob {
    fn n_files(&self) -> usize {
        let entries = self.entries.iter();
        entries.filter(|(_, known)| !known.local.is_dir()).count()
    }
}

/// Tells the other side from an older copy of it: each sync leaves there a number that is larger than
/// that of the sync before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Names both data spaces.
    pub pair: Uuid,
    /// That of the last sync.
    pub number: u64,
}

/// All that was the same on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// What the other side holds since; `None` if nothing could be left there.
    pub(super) stamp: Option<Stamp>,
    pub(super) document: Option<Known>,
    /// Sorted by id; none is without entries.
    pub(super) jobs: Vec<KnownJob>,
}

/// What is known now of a place; `None` if there is nothing on either side.
pub(super) type Update = (Place, Option<Known>);

impl Base {
    /// Returns the number of files and links.
    pub(super) fn n_files(&self) -> usize {
        self.jobs.iter().map(KnownJob::n_files).sum()
    }

    /// Returns the number of files and links of a job.
    pub(super) fn n_files_of(&self, id: &JobId) -> usize {
        let at = self.jobs.binary_search_by_key(id, |job| job.id);
        at.map_or(0, |at| self.jobs[at].n_files())
    }

    /// Returns what is known of a place.
    pub(super) fn get(&self, place: &Place) -> Option<&Known> {
        let Some(id) = &place.job else {
            return self.document.as_ref();
        };
        let entries = self.job(id);
        let at = entries.binary_search_by(|(path, _)| path.cmp(&place.path));
        at.ok().map(|at| &entries[at].1)
    }

    /// Returns what is known of a job's entries.
    pub(super) fn job(&self, id: &JobId) -> &[(RelPath, Known)] {
        let at = self.jobs.binary_search_by_key(id, |job| job.id);
        at.map_or(&[], |at| &self.jobs[at].entries)
    }

    /// Notes what was done. The last word on a place counts.
    pub(super) fn update(&mut self, updates: Vec<Update>) {
        let mut by_job: BTreeMap<Option<JobId>, BTreeMap<RelPath, Option<Known>>> = BTreeMap::new();
        for (place, known) in updates {
            let of_job = by_job.entry(place.job).or_default();
            of_job.insert(place.path, known);
        }
        if let Some(of_project) = by_job.remove(&None) {
            self.document = of_project.into_values().next_back().flatten();
        }
        let mut old = std::mem::take(&mut self.jobs).into_iter().peekable();
        for (id, changes) in by_job {
            let Some(id) = id else { continue };
            while let Some(job) = old.next_if(|job| job.id < id) {
                self.jobs.push(job);
            }
            let known = old.next_if(|job| job.id == id);
            let before = known.map(|job| job.entries).unwrap_or_default();
            let mut entries: BTreeMap<_, _> = before.into_iter().collect();
            for (path, known) in changes {
                match known {
                    Some(known) => drop(entries.insert(path, known)),
                    None => drop(entries.remove(&path)),
                }
            }
            if !entries.is_empty() {
                let entries = entries.into_iter().collect();
                self.jobs.push(KnownJob { id, entries });
            }
        }
        self.jobs.extend(old);
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(u8::from(self.stamp.is_some()));
        if let Some(stamp) = &self.stamp {
            bytes.extend(stamp.pair.as_bytes());
            codec::push_number(&mut bytes, stamp.number);
        }
        bytes.push(u8::from(self.document.is_some()));
        if let Some(known) = &self.document {
            codec::push_known(&mut bytes, known);
        }
        codec::push_number(&mut bytes, self.jobs.len() as u64);
        for job in &self.jobs {
            bytes.extend(job.id.as_bytes());
            codec::push_number(&mut bytes, job.entries.len() as u64);
            for (path, known) in &job.entries {
                codec::push_bytes(&mut bytes, path.as_bytes());
                codec::push_known(&mut bytes, known);
            }
        }
        let sum = crc32fast::hash(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// Reads what was written; `None` if it was not by us, or is damaged.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (content, sum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(content) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut cursor = Cursor::new(content.strip_prefix(MAGIC)?);
        let stamp = match cursor.byte()? {
            0 => None,
            _ => Some(Stamp {
                pair: Uuid::from_bytes(cursor.take(16)?.try_into().ok()?),
                number: cursor.number()?,
            }),
        };
        let document = match cursor.byte()? {
            0 => None,
            _ => Some(cursor.known()?),
        };
        let n_jobs = cursor.number()?;
        let mut jobs = Vec::new();
        for _ in 0..n_jobs {
            let id = JobId::from_bytes(cursor.take(16)?.try_into().ok()?);
            let n_entries = cursor.number()?;
            let mut entries = Vec::new();
            for _ in 0..n_entries {
                entries.push((cursor.path()?, cursor.known()?));
            }
            jobs.push(KnownJob { id, entries });
        }
        Some(Self {
            stamp,
            document,
            jobs,
        })
    }
}

/// What is remembered of a remote, in a directory of its own.
#[derive(Debug)]
pub struct Memory {
    dir: PathBuf,
}

/// What was remembered, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Remembered {
    /// What both were.
    pub base: Base,
    /// The file is damaged, so nothing is known.
    pub is_damaged: bool,
    /// A sync was cut off.
    pub was_cut_off: bool,
}

impl Memory {
    /// Uses a directory, which need not exist.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads what is remembered.
    ///
    /// # Errors
    ///
    /// Fails if a file is there and cannot be read.
    pub fn load(&self) -> Result<Remembered, FsError> {
        let mut remembered = Remembered::default();
        if let Some(bytes) = self.read(STATE)? {
            match Base::parse(&bytes) {
                Some(base) => remembered.base = base,
                None => remembered.is_damaged = true,
            }
        }
        if let Some(bytes) = self.read(JOURNAL)? {
            remembered.was_cut_off = true;
            // After a crash of the machine, files may be lost that are in the journal.
            if let Some(updates) = parse_journal(&bytes, &boot_id()) {
                remembered.base.update(updates);
            }
        }
        Ok(remembered)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FsError> {
        match fsx::read(&self.dir.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Writes what is known now, and removes the journal.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written; then the old one is still there.
    pub fn save(&self, base: &Base) -> Result<(), FsError> {
        fsx::create_dir_all(&self.dir)?;
        let dir = Dir::open(&self.dir)?;
        dir.write_atomic(Path::new(STATE), &base.to_bytes(), Durability::Power)?;
        fsx::remove_file(&self.dir.join(JOURNAL))
    }

    /// Begins a journal. What was in an old one must be saved before.
    pub(super) fn begin(&self) -> Result<Journal, FsError> {
        fsx::create_dir_all(&self.dir)?;
        let path = self.dir.join(JOURNAL);
        fsx::remove_file(&path)?;
        let mut header = JOURNAL_MAGIC.to_vec();
        codec::push_bytes(&mut header, boot_id().as_bytes());
        let file = BufWriter::new(fsx::open_appending(&path)?);
        let mut journal = Journal { file };
        journal.write(&header);
        Ok(journal)
    }
}

fn boot_id() -> String {
    let id = fsx::read(Path::new("/proc/sys/kernel/random/boot_id"));
    id.map_or_else(
        |_| String::new(),
        |id| String::from_utf8_lossy(&id).trim().to_owned(),
    )
}

/// What a sync that is under way has done.
#[derive(Debug)]
pub(super) struct Journal {
    file: BufWriter<File>,
}

impl Journal {
    /// Adds a note. A journal that cannot be written costs only the next sync some time.
    pub(super) fn note(&mut self, place: &Place, known: Option<&Known>) {
        let mut bytes = Vec::new();
        bytes.push(u8::from(place.job.is_some()));
        bytes.extend(place.job.iter().flat_map(|job| job.as_bytes()));
        codec::push_bytes(&mut bytes, place.path.as_bytes());
        bytes.push(u8::from(known.is_some()));
        if let Some(known) = known {
            codec::push_known(&mut bytes, known);
        }
        let mut record = Vec::new();
        codec::push_bytes(&mut record, &bytes);
        record.extend(crc32fast::hash(&bytes).to_le_bytes());
        self.write(&record);
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Err(error) = self.file.write_all(bytes) {
            tracing::info!("the journal of the sync cannot be written: {error}");
        }
    }

    /// Hands over what was noted, so that it survives us.
    pub(super) fn flush(&mut self) {
        let _ = self.file.flush();
    }
}

/// Reads a journal as far as it was written; `None` if it is none of this boot, as far as that can be
/// told.
fn parse_journal(bytes: &[u8], boot: &str) -> Option<Vec<Update>> {
    let mut cursor = Cursor::new(bytes.strip_prefix(JOURNAL_MAGIC)?);
    if cursor.bytes()? != boot.as_bytes() || boot.is_empty() {
        return None;
    }
    let mut updates = Vec::new();
    while let Some(update) = parse_note(&mut cursor) {
        updates.push(update);
    }
    Some(updates)
}

fn parse_note(cursor: &mut Cursor<'_>) -> Option<Update> {
    let bytes = cursor.bytes()?;
    let sum = u32::from_le_bytes(cursor.take(4)?.try_into().ok()?);
    if crc32fast::hash(bytes) != sum {
        return None;
    }
    let mut note = Cursor::new(bytes);
    let job = match note.byte()? {
        0 => None,
        _ => Some(JobId::from_bytes(note.take(16)?.try_into().ok()?)),
    };
    let path = note.path()?;
    let known = match note.byte()? {
        0 => None,
        _ => Some(note.known()?),
    };
    Some((Place { job, path }, known))
}

#[cfg(test)]
mod tests {
    use super::super::tree::Content;
    use super::*;

    fn known(n: u64) -> Known {
        let entry = |modified| Entry {
            content: Content::File {
                size_bytes: n,
                modified,
            },
            mode: 0o644,
        };
        Known {
            local: entry(-5),
            remote: entry(i64::MAX),
            text: (n == 2).then(|| b"{}".as_slice().into()),
            is_open: n == 3,
        }
    }

    fn place(job: u8, path: &str) -> Place {
        Place::of_job(JobId::from_bytes([job; 16]), RelPath::of(path))
    }

    fn updates() -> Vec<Update> {
        let link = Entry {
            content: Content::Link(b"../x\xff".as_slice().into()),
            mode: 0,
        };
        let of_link = Known {
            local: link.clone(),
            remote: link,
            text: None,
            is_open: false,
        };
        vec![
            (place(2, "b"), Some(known(1))),
            (place(1, "a"), Some(known(2))),
            (place(2, "a/\n"), Some(known(3))),
            (place(3, "x"), None),
            (place(4, "link"), Some(of_link)),
            (Place::document(), Some(known(2))),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let mut base = Base::default();
        base.update(updates());
        base.stamp = Some(Stamp {
            pair: Uuid::from_bytes([7; 16]),
            number: 300,
        });
        assert_eq!(base.jobs.len(), 3);
        let bytes = base.to_bytes();
        assert_eq!(Base::parse(&bytes), Some(base.clone()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(Base::parse(&damaged), None);
            assert_eq!(Base::parse(&bytes[..at]), None);
        }
        base.update(vec![
            (place(2, "b"), None),
            (place(1, "a"), None),
            (Place::document(), None),
        ]);
        let left: Vec<_> = base.jobs.iter().map(|job| job.entries.len()).collect();
        assert_eq!((left, base.document.is_none()), (vec![1, 1], true));
    }

    #[test]
    fn a_journal_is_read_as_far_as_it_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let memory = Memory::new(dir.path().join("remotes/x"));
        let mut journal = memory.begin().expect("begun");
        for (place, known) in updates() {
            journal.note(&place, known.as_ref());
        }
        drop(journal);
        let mut base = Base::default();
        base.update(updates());
        let remembered = memory.load().expect("read");
        assert!(remembered.was_cut_off && remembered.base == base);
        let bytes = fsx::read(&memory.dir.join(JOURNAL)).expect("there");
        let whole = parse_journal(&bytes, &boot_id()).expect("ours").len();
        for at in 0..bytes.len() {
            let read = parse_journal(&bytes[..at], &boot_id());
            assert!(read.is_none_or(|read| read.len() < whole));
        }
        assert!(parse_journal(&bytes, "another boot").is_none());
        let unknown = [JOURNAL_MAGIC, b"\0"].concat();
        assert!(parse_journal(&unknown, "").is_none());
        memory.save(&base).expect("saved");
        let remembered = memory.load().expect("read");
        assert!(!remembered.was_cut_off && remembered.base == base);
    }
}
