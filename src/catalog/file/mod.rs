//! The catalog file: an index on disk, of which a question reads only what it needs.
//!
//! ```text
//! header    4096 bytes: magic, version, kind, stamp of the workspace when it was listed,
//!           number of entries, where the contents are; checksum
//! entries   pages of 4096 bytes: ids with what is known of each, sorted by id; a checksum a page
//! key 1     sets: the jobs of each value that several jobs have, as serialised by `roaring`
//!           blocks: its values in order, each with its one job or the place of its set
//! key 2     …
//! contents  per key: its name, the first value, place and checksum of each block;
//!           the problems
//! ```
//!
//! Every part carries a CRC-32, which is compared when the part is read. A file is written under
//! another name and renamed, and never changed; one that is damaged, or of another version, is
//! ignored and written anew. Numbers are little-endian.

mod read;
mod write;

pub(super) use read::CatalogFile;
pub(super) use write::{Contents, write};

use super::JobIdx;
use super::codec::{Damage, Decoder, Encoder, Result};
use super::index::Entry;
use crate::fsx::Stamp;
use crate::pyjson::Value;
use crate::statepoint::Key;

const MAGIC: &[u8; 8] = b"sweepfs\n";

/// Another version of the format is ignored.
const VERSION: u32 = 1;

/// Size of the header and of a page of entries.
const PAGE_BYTES: usize = 4096;

/// What of a page can hold entries: the checksum follows.
const PAGE_ENTRY_BYTES: usize = PAGE_BYTES - 4;

/// Values in a block.
const BLOCK_VALUES: usize = 256;

/// What a file holds the index of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    StatePoints = 1,
    Documents = 2,
}

/// An entry that a page can hold.
pub(super) trait StoredEntry: Entry {
    const KIND: FileKind;
    /// Size of one entry.
    const BYTES: usize;
    fn encode(&self, encoder: &mut Encoder);
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self>;

    /// Entries in a page.
    const PER_PAGE: usize = PAGE_ENTRY_BYTES / Self::BYTES;
}

/// The first page.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Header {
    kind: u32,
    listed_at: Option<Stamp>,
    n_entries: u32,
    contents_at: u64,
    contents_bytes: u64,
    contents_crc: u32,
}

/// Encoded size of the header without its checksum.
const HEADER_BYTES: usize = 8 + 4 + 4 + 1 + 32 + 4 + 8 + 8 + 4;

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder(MAGIC.to_vec());
        encoder.u32(VERSION);
        encoder.u32(self.kind);
        encoder.u8(u8::from(self.listed_at.is_some()));
        encoder.stamp(&self.listed_at.unwrap_or_default());
        encoder.u32(self.n_entries);
        encoder.u64(self.contents_at);
        encoder.u64(self.contents_bytes);
        encoder.u32(self.contents_crc);
        debug_assert_eq!(encoder.0.len(), HEADER_BYTES);
        encoder.u32(crc32fast::hash(&encoder.0));
        encoder.0.resize(PAGE_BYTES, 0);
        encoder.0
    }

    fn decode(page: &[u8]) -> Result<Self> {
        let mut decoder = Decoder(page);
        if decoder.take(MAGIC.len())? != MAGIC {
            return Err(Damage::Content("it is no catalog"));
        }
        if decoder.u32()? != VERSION {
            return Err(Damage::Content("it is of another version"));
        }
        let kind = decoder.u32()?;
        let listed = decoder.u8()? != 0;
        let stamp = decoder.stamp()?;
        let header = Self {
            kind,
            listed_at: listed.then_some(stamp),
            n_entries: decoder.u32()?,
            contents_at: decoder.u64()?,
            contents_bytes: decoder.u64()?,
            contents_crc: decoder.u32()?,
        };
        if decoder.u32()? != crc32fast::hash(&page[..HEADER_BYTES]) {
            return Err(Damage::Content("its header is damaged"));
        }
        Ok(header)
    }
}

/// Where the jobs of a value are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum SetRef {
    None,
    One(JobIdx),
    Many(SetPlace),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct SetPlace {
    at: u64,
    n_bytes: u32,
    n_jobs: u32,
    crc: u32,
}

impl SetRef {
    fn n_jobs(self) -> u32 {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(place) => place.n_jobs,
        }
    }

    fn encode(self, encoder: &mut Encoder) {
        match self {
            Self::None => encoder.u8(0),
            Self::One(job) => {
                encoder.u8(1);
                encoder.u32(job);
            }
            Self::Many(place) => {
                encoder.u8(2);
                encoder.u64(place.at);
                encoder.u32(place.n_bytes);
                encoder.u32(place.n_jobs);
                encoder.u32(place.crc);
            }
        }
    }

    fn decode(decoder: &mut Decoder<'_>, n_jobs: u32) -> Result<Self> {
        match decoder.u8()? {
            0 => Ok(Self::None),
            1 => match decoder.u32()? {
                job if job < n_jobs => Ok(Self::One(job)),
                _ => Err(Damage::Content("a job number is too large")),
            },
            2 => Ok(Self::Many(SetPlace {
                at: decoder.u64()?,
                n_bytes: decoder.u32()?,
                n_jobs: decoder.u32()?,
                crc: decoder.u32()?,
            })),
            _ => Err(Damage::Content("a set is of an unknown kind")),
        }
    }
}

/// A key in the contents.
#[derive(Clone, Debug, PartialEq)]
struct KeyPlace {
    key: Key,
    /// The jobs that have an object at the key.
    objects: SetRef,
    /// Where its sets begin; they end where the blocks begin.
    sets_at: u64,
    blocks: Vec<BlockPlace>,
}

/// A block of values.
#[derive(Clone, Debug, PartialEq)]
struct BlockPlace {
    first: Value,
    at: u64,
    n_bytes: u32,
    n_values: u32,
    crc: u32,
}

#[cfg(test)]
mod tests;
