//! Files about the jobs of a directory, which any directory has and none lists.

use super::fs::FsError;
use super::places::At;
use crate::catalog::{Facts, WriteError, write_schema, write_table};
use roaring::RoaringBitmap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use tempfile::{SpooledData, SpooledTempFile};

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// The ids, one a line.
    Jobs,
    /// Their number.
    Count,
    /// A row per job, separated by tabs.
    Tsv,
    /// A row per job, separated by commas.
    Csv,
    /// Keys and values.
    Schema,
}

/// Longer texts go to a temporary file.
const MEMORY_BYTES_MAX: usize = 1 << 20;

impl Fact {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b".jobs" => Self::Jobs,
            b".count" => Self::Count,
            b".table.tsv" => Self::Tsv,
            b".table.csv" => Self::Csv,
            b".schema" => Self::Schema,
            _ => return None,
        })
    }

    /// Writes the file as it is now.
    pub(super) fn content(self, at: &At<'_>, jobs: &RoaringBitmap) -> Result<Content, FsError> {
        let snapshot = &at.generation.snapshot;
        let (now, age_max) = at.now();
        let mut spool = SpooledTempFile::new(MEMORY_BYTES_MAX);
        let write = |facts: &Facts<'_>| Ok(self.write(facts, jobs, &mut spool));
        let written = match self {
            Self::Tsv | Self::Csv => at
                .finder
                .live
                .ask(snapshot, now, age_max, write)
                .map(|(written, _)| written),
            _ => at.finder.live.ask_statepoints(snapshot, write),
        };
        let done = written.map_err(WriteError::from).flatten();
        if let Err(error) = done {
            tracing::warn!("cannot write a table: {error}");
            return Err(FsError::Io(None));
        }
        Content::new(spool).map_err(|error| FsError::Io(error.raw_os_error()))
    }

    fn write(
        self,
        facts: &Facts<'_>,
        jobs: &RoaringBitmap,
        spool: &mut SpooledTempFile,
    ) -> Result<(), WriteError> {
        let mut out = io::BufWriter::new(spool);
        match self {
            Self::Jobs => {
                for id in facts.ids(jobs)? {
                    writeln!(out, "{id}")?;
                }
            }
            Self::Count => writeln!(out, "{}", jobs.len())?,
            Self::Tsv => write_table(facts, jobs, b'\t', &mut out)?,
            Self::Csv => write_table(facts, jobs, b',', &mut out)?,
            Self::Schema => write_schema(facts, jobs, &mut out)?,
        }
        Ok(out.flush()?)
    }
}

/// The bytes of a file about jobs.
#[derive(Debug)]
pub struct Content {
    bytes: Bytes,
    pub(super) size_bytes: u64,
}

#[derive(Debug)]
enum Bytes {
    Memory(Vec<u8>),
    Disk(File),
}

impl Content {
    fn new(spool: SpooledTempFile) -> io::Result<Self> {
        Ok(match spool.into_inner() {
            SpooledData::InMemory(cursor) => Self::of(cursor.into_inner()),
            SpooledData::OnDisk(file) => Self {
                size_bytes: file.metadata()?.len(),
                bytes: Bytes::Disk(file),
            },
        })
    }

    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self {
            size_bytes: bytes.len() as u64,
            bytes: Bytes::Memory(bytes),
        }
    }

    /// Reads at most `size_bytes` from `offset`; fewer only at the end.
    pub(super) fn read(&self, offset: u64, size_bytes: usize) -> io::Result<Vec<u8>> {
        match &self.bytes {
            Bytes::Disk(file) => read_at(file, offset, size_bytes),
            Bytes::Memory(bytes) => {
                let start = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let end = start.saturating_add(size_bytes).min(bytes.len());
                Ok(bytes[start..end].to_vec())
            }
        }
    }
}

/// Reads from a file until there is enough, or no more.
pub(super) fn read_at(file: &File, offset: u64, size_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size_bytes];
    let mut n_read = 0;
    while n_read < size_bytes {
        match file.read_at(&mut bytes[n_read..], offset + n_read as u64) {
            Ok(0) => break,
            Ok(n) => n_read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(n_read);
    Ok(bytes)
}
