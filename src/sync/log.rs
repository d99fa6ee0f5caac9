//! What each sync has done, so that it can be told and undone.
//!
//! Each sync that changes something has a file in `.sweepfs/syncs` on the side from which it is
//! called. Before the first change it gets all that is planned, and then each deed as it is done. That
//! it was undone says a file beside it: the end of a log may be a part of a record.

use super::codec::{self, Cursor};
use super::deed::{Deed, planned};
use super::local::LocalSide;
use super::plan::{Line, Plan, Totals};
use super::side::Whose;
use super::state::Base;
use crate::fsx::{self, Durability, FsError, TimeNs};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where the logs are, below the project's directory.
pub(super) const SYNCS: &str = ".sweepfs/syncs";

const MAGIC: &[u8] = b"sweepfs sync log 1\n";

/// How the name of the file ends which says that a sync was undone.
const UNDONE: &str = ".undone";

/// What is known of a sync before it changes something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHeader {
    /// Its name, which is that of its directory in the trash.
    pub run: String,
    /// When it began.
    pub at: TimeNs,
    /// What the user calls the other side.
    pub remote: String,
    /// Where that is.
    pub address: String,
    /// The command line.
    pub command: Vec<String>,
}

/// What a sync has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Which it was.
    pub header: LogHeader,
    /// It has come to its end.
    pub is_finished: bool,
    /// When it was undone.
    pub undone: Option<TimeNs>,
    pub(super) deeds: Vec<Deed>,
    /// What was planned, unless it has come to its end.
    pub(super) planned: Vec<Deed>,
}

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// It is none, or one of another version.
    #[error("`{}` is damaged, or was written by another version of sweepfs", .0.display())]
    Damaged(PathBuf),
}

/// The logs of a data space.
#[derive(Debug)]
pub struct Logs {
    dir: PathBuf,
}

impl Logs {
    /// Those of the syncs that were called from a data space.
    pub fn of(local: &LocalSide) -> Self {
        Self {
            dir: local.workspace().project_root().join(SYNCS),
        }
    }

    /// Returns a name for a sync that no other one has, made of one that is nearly so.
    pub fn free_name(&self, name: &str) -> String {
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let is_free = |name: &String| fsx::stamp(&self.dir.join(name)).is_err();
        names.find(is_free).unwrap_or_default()
    }

    /// Returns the names of all syncs, the latest first.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, FsError> {
        let mut names = Vec::new();
        let listed = fsx::for_each_entry(&self.dir, |entry| {
            names.extend(
                entry
                    .name
                    .to_str()
                    .filter(|name| is_name(name))
                    .map(str::to_owned),
            );
        });
        match listed {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // They begin with the time; of the same second and process the longer one, which has a
        // higher number, is later.
        let key = |name: &String| {
            let mut parts = name.splitn(3, '-').map(str::to_owned);
            let mut part = || parts.next().unwrap_or_default();
            let (time, process, number) = (part(), part(), part());
            (time, process, number.parse::<u32>().unwrap_or(1))
        };
        names.sort_by_cached_key(|name| std::cmp::Reverse(key(name)));
        Ok(names)
    }

    /// Reads what a sync has done, as far as it was written.
    ///
    /// # Errors
    ///
    /// Fails if there is no such log, or it is none.
    pub fn read(&self, name: &str) -> Result<Log, LogError> {
        let path = self.dir.join(name);
        let log = Log::parse(&fsx::read(&path)?);
        let log = log.filter(|log| log.header.run == name && is_name(name));
        let mut log = log.ok_or(LogError::Damaged(path))?;
        let undone = fsx::stamp(&self.dir.join(format!("{name}{UNDONE}")));
        log.undone = undone.ok().map(|stamp| stamp.modified);
        Ok(log)
    }

    /// Begins a log with what is planned, before anything is changed.
    pub(super) fn begin(
        &self,
        header: &LogHeader,
        plan: &Plan,
        base: &Base,
    ) -> Result<Writer, FsError> {
        fsx::create_dir_all(&self.dir)?;
        let path = self.dir.join(&header.run);
        let mut bytes = MAGIC.to_vec();
        let text = serde_json::to_vec(header).unwrap_or_default();
        push_record(&mut bytes, &text);
        fsx::write_atomic(&path, &bytes, Durability::Power)?;
        let file = BufWriter::new(fsx::open_appending(&path)?);
        let mut log = Writer { file, failed: None };
        log.add(&planned(plan, base));
        match log.failed {
            Some(cause) => Err(FsError {
                action: "write",
                path,
                cause,
            }),
            None => Ok(log),
        }
    }

    /// Notes that a sync was undone.
    pub(super) fn note_undone(&self, name: &str) -> Result<(), FsError> {
        let path = self.dir.join(format!("{name}{UNDONE}"));
        fsx::write_atomic(&path, b"", Durability::Power)
    }
}

/// Tells whether a sync may be called so: the name is a directory in the trash, on whatever machine.
pub(super) fn is_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !name.is_empty() && name.bytes().all(is_plain) && !name.starts_with('-')
}

/// A log that grows.
#[derive(Debug)]
pub(super) struct Writer {
    file: BufWriter<File>,
    /// Why it does not grow any more.
    failed: Option<io::Error>,
}

impl Writer {
    /// Adds what was done, so that it survives us.
    pub(super) fn add<'a>(&mut self, deeds: impl IntoIterator<Item = &'a Deed>) {
        let mut bytes = Vec::new();
        for deed in deeds {
            push_record(&mut bytes, &deed.to_bytes());
        }
        // After an error the end of the file may be a part of a record, and nothing behind it is read.
        if self.failed.is_none() {
            let written = self.file.write_all(&bytes).and_then(|()| self.file.flush());
            self.failed = written.err();
        }
    }

    /// Ends the log; says why it is not complete, if it is not.
    pub(super) fn finish(mut self) -> Option<io::Error> {
        self.add(&[Deed::Finished]);
        self.failed
    }
}

/// A record has its length before it and its sum behind it.
fn push_record(bytes: &mut Vec<u8>, record: &[u8]) {
    codec::push_bytes(bytes, record);
    bytes.extend(crc32fast::hash(record).to_le_bytes());
}

fn record<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let bytes = cursor.bytes()?;
    let sum = u32::from_le_bytes(cursor.take(4)?.try_into().ok()?);
    (crc32fast::hash(bytes) == sum).then_some(bytes)
}

impl Log {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes.strip_prefix(MAGIC)?);
        let mut log = Self {
            header: serde_json::from_slice(record(&mut cursor)?).ok()?,
            is_finished: false,
            undone: None,
            deeds: Vec::new(),
            planned: Vec::new(),
        };
        while let Some(bytes) = record(&mut cursor) {
            match Deed::parse(bytes)? {
                Deed::Finished => log.is_finished = true,
                Deed::Planned(deed) => log.planned.push(*deed),
                deed => log.deeds.push(deed),
            }
        }
        if log.is_finished {
            log.planned.clear();
        }
        Some(log)
    }

    /// Tells whether it has certainly changed nothing.
    pub fn is_empty(&self) -> bool {
        self.deeds.is_empty() && self.planned.is_empty()
    }

    /// Returns how much was done, on one side.
    pub fn totals(&self, side: Whose) -> Totals {
        let mut totals = Totals::default();
        for deed in self.deeds.iter().filter(|deed| deed.at() == Some(side)) {
            deed.add_to(&mut totals);
        }
        totals
    }

    /// Returns all that was done, a line for each.
    pub fn lines(&self) -> Vec<Line> {
        self.deeds.iter().filter_map(Deed::line).collect()
    }
}

/// Removes the logs of syncs whose trash is gone by now.
pub(super) fn expire(root: &Path, is_old: impl Fn(TimeNs) -> bool) {
    let dir = root.join(SYNCS);
    let mut names = Vec::new();
    let _ = fsx::for_each_entry(&dir, |entry| names.push(entry.name.to_owned()));
    for name in names {
        let path = dir.join(name);
        if fsx::stamp(&path).is_ok_and(|stamp| is_old(stamp.changed)) {
            let _ = fsx::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::{Place, RelPath};
    use super::super::state::Known;
    use super::super::tree::{Content, Entry};
    use super::*;
    use crate::statepoint::JobId;

    fn entry(size_bytes: u64) -> Entry {
        Entry {
            content: Content::File {
                size_bytes,
                modified: -5,
            },
            mode: 0o640,
        }
    }

    fn deeds() -> Vec<Deed> {
        let id = JobId::from_bytes([7; 16]);
        let place = Place::of_job(id, RelPath::of("a/\n"));
        let known = Known {
            local: entry(1),
            remote: entry(2),
            text: Some(b"{}".as_slice().into()),
            is_open: true,
        };
        let entries = vec![(RelPath::of("x"), known.clone())];
        let at = Whose::Remote;
        vec![
            Deed::Put {
                at,
                place: place.clone(),
                before: Some(entry(3)),
                after: None,
            },
            Deed::JobMade {
                at: Whose::Local,
                id,
                entries: entries.clone(),
            },
            Deed::JobGone { at, id, entries },
            Deed::Moved {
                at,
                place,
                to: RelPath::of("b"),
                entry: entry(4),
            },
            Deed::Known {
                place: Place::document(),
                old: None,
                new: Some(known),
            },
        ]
    }

    #[test]
    fn what_is_written_is_read_as_far_as_it_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = Logs {
            dir: dir.path().join("syncs"),
        };
        assert_eq!(logs.names().expect("none yet"), Vec::<String>::new());
        let header = LogHeader {
            run: logs.free_name("20260101T000000-9"),
            at: 5,
            remote: "hal".into(),
            address: "hal:x".into(),
            command: vec!["sweepfs".into()],
        };
        let log = logs.begin(&header, &Plan::default(), &Base::default());
        let mut log = log.expect("begun");
        let planned = deeds()
            .into_iter()
            .map(|deed| Deed::Planned(Box::new(deed)));
        log.add(&planned.collect::<Vec<_>>());
        assert_eq!(logs.read(&header.run).expect("sound").planned, deeds());
        log.add(&deeds());
        assert!(!logs.read(&header.run).expect("sound").is_finished);
        assert!(log.finish().is_none());
        logs.note_undone(&header.run).expect("noted");
        let read = logs.read(&header.run).expect("sound");
        assert!(read.is_finished && read.undone.is_some() && read.planned.is_empty());
        assert_eq!(
            logs.names().expect("listed"),
            std::slice::from_ref(&header.run)
        );
        assert_eq!((read.header, read.deeds), (header.clone(), deeds()));
        assert_eq!(logs.free_name(&header.run), format!("{}-2", header.run));
        let bytes = fsx::read(&logs.dir.join(&header.run)).expect("there");
        for at in 0..bytes.len() {
            let read = Log::parse(&bytes[..at]);
            assert!(read.is_none_or(|log| deeds().starts_with(&log.deeds)));
        }
    }

    #[test]
    fn the_latest_is_the_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = Logs {
            dir: dir.path().to_owned(),
        };
        let names = [
            "20260102T000000-9",
            "20260101T000000-9-10",
            "20260101T000000-9-2",
            "20260101T000000-9",
        ];
        for name in names.iter().rev().chain(&["._x"]) {
            fsx::write_atomic(&logs.dir.join(name), b"", Durability::Process).expect("written");
        }
        assert_eq!(logs.names().expect("listed"), names);
    }
}
