//! Lists of files as a `sweepfs` there writes them: what `find` tells, in fewer bytes.
//!
//! After a first line come blocks, each with its length before it. In a block, a name that occurred
//! before is a number.

use super::list::{BadList, Record, bad};
use crate::fsx::TimeNs;
use crate::statepoint::JobId;
use crate::sync::codec::{Cursor, push_bytes, push_number};
use crate::sync::tree::{Content, Entry};
use std::collections::HashMap;

/// What a list begins with.
const MAGIC: &[u8] = b"sweepfs sync list 1\n";

/// No block is longer.
const BLOCK_BYTES_MAX: usize = 1 << 30;

const LENGTH_BYTES: usize = 4;

/// Stands before the id of the job that the next records are of.
const JOB: u8 = b'J';

/// Kinds of records whose number is that of a file's size, with a time.
fn is_file(kind: u8) -> bool {
    matches!(kind, b'f' | b'P')
}

/// What a record tells but for its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// As `find` and our script say it.
    pub(super) kind: u8,
    pub(super) size_bytes: u64,
    pub(super) modified: TimeNs,
    pub(super) mode: u16,
    pub(super) device: u64,
    /// The text of a link.
    pub(super) link: &'a [u8],
}

/// A block that is written.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    names: HashMap<Vec<u8>, u64>,
}

impl Block {
    /// What follows is of a job.
    pub(super) fn job(&mut self, id: &JobId) {
        self.bytes.push(JOB);
        self.bytes.extend(id.as_bytes());
    }

    /// Adds a record; an empty path is the job itself.
    pub(super) fn push(&mut self, path: &[u8], facts: &Facts<'_>) {
        self.bytes.push(facts.kind);
        let next = self.names.len() as u64 + 1;
        match self.names.get(path) {
            Some(number) => push_number(&mut self.bytes, *number),
            None => {
                push_number(&mut self.bytes, 0);
                push_bytes(&mut self.bytes, path);
                self.names.insert(path.to_vec(), next);
            }
        }
        push_number(&mut self.bytes, facts.device);
        push_number(&mut self.bytes, facts.mode.into());
        if is_file(facts.kind) {
            push_number(&mut self.bytes, facts.size_bytes);
            self.bytes.extend(facts.modified.to_le_bytes());
        }
        if facts.kind == b'l' {
            push_bytes(&mut self.bytes, facts.link);
        }
    }

    /// Tells whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns it as it is sent.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = (self.bytes.len() as u32).to_le_bytes().to_vec();
        bytes.extend(self.bytes);
        bytes
    }
}

/// What is sent before all blocks.
pub(super) fn beginning() -> &'static [u8] {
    MAGIC
}

/// What is sent after all blocks: one that is empty.
pub(super) fn end() -> Vec<u8> {
    Block::default().into_bytes()
}

/// Takes a list apart that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pending: Vec<u8>,
    has_begun: bool,
    /// The empty block has come.
    has_ended: bool,
}

impl Blocks {
    /// Takes a piece, and hands on the records that it completes.
    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        mut found: impl FnMut(Record) -> Result<(), BadList>,
    ) -> Result<(), BadList> {
        self.pending.extend_from_slice(chunk);
        let mut at = 0;
        if !self.has_begun {
            let Some(first) = self.pending.get(..MAGIC.len()) else {
                return Ok(());
            };
            if first != MAGIC {
                return Err(bad("it does not begin as one"));
            }
            (self.has_begun, at) = (true, MAGIC.len());
        }
        while let Some(length) = self.pending[at..].first_chunk::<LENGTH_BYTES>() {
            if self.has_ended {
                return Err(bad("it goes on after its end"));
            }
            let length = u32::from_le_bytes(*length) as usize;
            if length > BLOCK_BYTES_MAX {
                return Err(bad("a part of it is too long"));
            }
            let from = at + LENGTH_BYTES;
            let Some(block) = self.pending.get(from..from + length) else {
                break;
            };
            self.has_ended = length == 0;
            read_block(block, &mut found)?;
            at = from + length;
        }
        self.pending.drain(..at);
        Ok(())
    }

    /// Tells whether all has come.
    pub(super) fn is_complete(&self) -> bool {
        self.has_ended && self.pending.is_empty()
    }
}

fn read_block(
    block: &[u8],
    found: &mut impl FnMut(Record) -> Result<(), BadList>,
) -> Result<(), BadList> {
    let mut reader = Reader {
        cursor: Cursor::new(block),
        names: Vec::new(),
        job: None,
    };
    while !reader.cursor.is_at_end() {
        let record = reader.record();
        if let Some(record) = record.ok_or_else(|| bad("a part of it cannot be read"))? {
            found(record)?;
        }
    }
    Ok(())
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    names: Vec<&'a [u8]>,
    job: Option<String>,
}

impl Reader<'_> {
    /// Reads what comes next; nothing within if that is the id of a job.
    fn record(&mut self) -> Option<Option<Record>> {
        let kind = self.cursor.byte()?;
        if kind == JOB {
            let id = JobId::from_bytes(self.cursor.take(16)?.try_into().ok()?);
            self.job = Some(id.to_string());
            return Some(None);
        }
        let name = match self.cursor.number()? {
            0 => {
                let name = self.cursor.bytes()?;
                self.names.push(name);
                name
            }
            number => self.names.get(usize::try_from(number - 1).ok()?)?,
        };
        let device = self.cursor.number()?;
        let mode = u16::try_from(self.cursor.number()?).ok()? & 0o777;
        let content = match kind {
            kind if is_file(kind) => Some(Content::File {
                size_bytes: self.cursor.number()?,
                modified: TimeNs::from_le_bytes(self.cursor.take(8)?.try_into().ok()?),
            }),
            b'd' | b'W' | b'!' => Some(Content::Dir),
            b'l' => Some(Content::Link(self.cursor.bytes()?.into())),
            b'p' | b's' | b'b' | b'c' => None,
            _ => return None,
        };
        let path = match (&self.job, name) {
            (Some(job), b"") => job.clone().into_bytes(),
            (Some(job), name) => [job.as_bytes(), b"/", name].concat(),
            (None, name) => name.to_vec(),
        };
        let mode = if kind == b'l' { 0 } else { mode };
        let entry = content.map(|content| Entry { content, mode });
        Some(Some(Record::of(kind, device, path, entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Vec<u8> {
        let mut bytes = beginning().to_vec();
        let facts = |kind| Facts {
            kind,
            size_bytes: 300,
            modified: -7,
            mode: 0o640,
            device: 9,
            link: b"to",
        };
        let mut first = Block::default();
        first.push(b"", &facts(b'W'));
        bytes.extend(first.into_bytes());
        let mut block = Block::default();
        for id in [1, 2] {
            block.job(&JobId::from_bytes([id; 16]));
            block.push(b"", &facts(b'd'));
            block.push(b"a/\xff\n", &facts(b'f'));
            block.push(b"l", &facts(b'l'));
        }
        bytes.extend(block.into_bytes());
        bytes.extend(end());
        bytes
    }

    fn read(bytes: &[u8], step: usize) -> Result<(Vec<Record>, bool), BadList> {
        let (mut blocks, mut found) = (Blocks::default(), Vec::new());
        for chunk in bytes.chunks(step) {
            blocks.push(chunk, |record| {
                found.push(record);
                Ok(())
            })?;
        }
        Ok((found, blocks.is_complete()))
    }

    #[test]
    fn what_is_written_is_read_in_pieces() {
        let (records, is_complete) = read(&list(), 1000).expect("sound");
        assert!(is_complete && records.len() == 7);
        assert_eq!(read(&list(), 1).expect("sound").0, records);
        let file = &records[5];
        let name = [
            JobId::from_bytes([2; 16]).to_string().as_bytes(),
            b"/a/\xff\n",
        ]
        .concat();
        assert_eq!((file.kind, file.device, &file.path), (b'f', 9, &name));
        let entry = file.entry.as_ref().expect("a file");
        assert_eq!(
            (entry.size_bytes(), entry.modified(), entry.mode),
            (300, Some(-7), 0o640)
        );
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_no_list() {
        let whole = list();
        for at in 0..whole.len() {
            assert!(read(&whole[..at], 1000).is_ok_and(|(_, is_complete)| !is_complete));
        }
        assert!(read(&[whole.as_slice(), b"\0\0\0\0"].concat(), 1000).is_err());
        assert!(read(b"find: no such option, and more", 1000).is_err());
        let broken = [MAGIC, &[3, 0, 0, 0, b'f', 1, 0]].concat();
        assert!(read(&broken, 1000).is_err());
    }
}
