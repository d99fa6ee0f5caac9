//! Reading a catalog file, part by part.

use super::{
    BlockPlace, Header, KeyPlace, PAGE_BYTES, PAGE_ENTRY_BYTES, SetPlace, SetRef, StoredEntry,
};
use crate::catalog::codec::{Damage, Decoder, Result};
use crate::catalog::index::{Index, KeyIndex, Part, ValueEntry, disjoint};
use crate::catalog::{JobIdx, JobSet};
use crate::filter::{Found, Span, Test};
use crate::fsx::Stamp;
use crate::pyjson::Value;
use crate::report::Problem;
use crate::statepoint::{JobId, Key};
use rayon::prelude::*;
use roaring::{MultiOps, RoaringBitmap};
use std::ffi::OsStr;
use std::fs::File;
use std::marker::PhantomData;
use std::ops::{Bound, Range};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

/// Pages that are read at once where many are wanted.
const PAGES_AT_ONCE: usize = 64;

/// An open catalog file. What is renamed over it meanwhile does not concern it.
#[derive(Debug)]
pub(in crate::catalog) struct CatalogFile<E> {
    bytes: Bytes,
    header: Header,
    keys: Vec<KeyPlace>,
    problems: Vec<Problem>,
    entries: PhantomData<E>,
}

/// The file, of a length that must not be exceeded.
#[derive(Debug)]
struct Bytes {
    file: File,
    n_bytes: u64,
}

impl Bytes {
    fn read(&self, at: u64, n_bytes: usize) -> Result<Vec<u8>> {
        let end = at.checked_add(n_bytes as u64);
        if end.is_none_or(|end| end > self.n_bytes) {
            return Err(Damage::Content("it ends early"));
        }
        let mut bytes = vec![0; n_bytes];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    fn read_checked(&self, at: u64, n_bytes: usize, crc: u32) -> Result<Vec<u8>> {
        let bytes = self.read(at, n_bytes)?;
        check(&bytes, crc)?;
        Ok(bytes)
    }
}

fn check(bytes: &[u8], crc: u32) -> Result<()> {
    if crc32fast::hash(bytes) == crc {
        Ok(())
    } else {
        Err(Damage::Content("a checksum is wrong"))
    }
}

impl<E: StoredEntry> CatalogFile<E> {
    /// Reads the header and the contents.
    pub(in crate::catalog) fn open(file: File) -> Result<Self> {
        let n_bytes = file.metadata()?.len();
        let bytes = Bytes { file, n_bytes };
        let header = Header::decode(&bytes.read(0, PAGE_BYTES)?)?;
        if header.kind != E::KIND as u32 {
            return Err(Damage::Content("it is of another kind"));
        }
        let contents = bytes.read_checked(
            header.contents_at,
            header.contents_bytes.try_into().unwrap_or(usize::MAX),
            header.contents_crc,
        )?;
        let mut decoder = Decoder(&contents);
        let n_keys = decoder.u32()?;
        let keys: Vec<_> = (0..n_keys)
            .map(|_| decode_key(&mut decoder, header.n_entries))
            .collect::<Result<_>>()?;
        if !keys.is_sorted_by(|a, b| a.key < b.key) {
            return Err(Damage::Content("its keys are not sorted"));
        }
        let problems = decode_problems(&mut decoder)?;
        decoder.end()?;
        Ok(Self {
            bytes,
            header,
            keys,
            problems,
            entries: PhantomData,
        })
    }

    /// Returns the workspace's stamp when it was listed.
    pub(in crate::catalog) fn listed_at(&self) -> Option<Stamp> {
        self.header.listed_at
    }

    /// Returns the entries of the workspace that were no sound jobs; paths are relative to it.
    pub(in crate::catalog) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(in crate::catalog) fn n_entries(&self) -> usize {
        self.header.n_entries as usize
    }

    pub(in crate::catalog) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().map(|place| &place.key)
    }

    /// Reads everything.
    pub(in crate::catalog) fn read_all(&self) -> Result<Part<E>> {
        let mut entries =
            Vec::with_capacity(self.n_entries().min(self.bytes.n_bytes as usize / E::BYTES));
        for start in (0..self.n_pages()).step_by(PAGES_AT_ONCE) {
            entries.extend(self.pages(start..(start + PAGES_AT_ONCE).min(self.n_pages()))?);
        }
        if !entries.is_sorted_by(|a, b| a.id() < b.id()) {
            return Err(Damage::Content("its entries are not sorted"));
        }
        let keys = self.keys.par_iter().map(|place| self.read_key(place));
        let keys = keys.collect::<Result<_>>()?;
        Ok(Part {
            entries,
            index: Index { keys },
        })
    }

    fn n_pages(&self) -> usize {
        self.n_entries().div_ceil(E::PER_PAGE)
    }

    /// Reads the entries of some pages.
    fn pages(&self, pages: Range<usize>) -> Result<Vec<E>> {
        let at = PAGE_BYTES as u64 * (pages.start as u64 + 1);
        let bytes = self.bytes.read(at, pages.len() * PAGE_BYTES)?;
        let n_before = pages.start * E::PER_PAGE;
        let mut entries = Vec::with_capacity(pages.len() * E::PER_PAGE);
        for page in bytes.chunks(PAGE_BYTES) {
            let (page, mut crc) = (
                &page[..PAGE_ENTRY_BYTES],
                Decoder(&page[PAGE_ENTRY_BYTES..]),
            );
            check(page, crc.u32()?)?;
            let n_left = self.n_entries() - n_before - entries.len();
            let mut decoder = Decoder(page);
            for _ in 0..n_left.min(E::PER_PAGE) {
                entries.push(E::decode(&mut decoder)?);
            }
        }
        Ok(entries)
    }

    /// Reads the entries of some jobs.
    pub(in crate::catalog) fn entries(&self, jobs: &RoaringBitmap) -> Result<Vec<E>> {
        let at_once = if jobs.len() as usize > self.n_pages() / 4 {
            PAGES_AT_ONCE
        } else {
            1
        };
        let (mut found, mut held, mut entries) = (Vec::new(), 0..0, Vec::new());
        for job in jobs {
            let job = job as usize;
            if !held.contains(&job) {
                let page = job / E::PER_PAGE;
                entries = self.pages(page..(page + at_once).min(self.n_pages()))?;
                held = page * E::PER_PAGE..page * E::PER_PAGE + entries.len();
            }
            let entry = entries.get(job - held.start);
            found.push(*entry.ok_or(Damage::Content("a job number is too large"))?);
        }
        Ok(found)
    }

    /// Returns the number of entries whose ids are smaller, and whether the id itself follows.
    pub(in crate::catalog) fn position(&self, id: &JobId) -> Result<(JobIdx, bool)> {
        let (mut low, mut high) = (0, self.n_pages());
        // The id belongs into the last page that begins with a smaller or equal one.
        while high - low > 1 {
            let middle = low.midpoint(high);
            match self.pages(middle..middle + 1)?.first() {
                Some(first) if first.id() <= *id => low = middle,
                _ => high = middle,
            }
        }
        let entries = self.pages(low..high)?;
        let within = entries.partition_point(|entry| entry.id() < *id);
        let is_it = entries.get(within).is_some_and(|entry| entry.id() == *id);
        Ok(((low * E::PER_PAGE + within) as JobIdx, is_it))
    }

    fn place(&self, key: &Key) -> Option<&KeyPlace> {
        let found = self.keys.binary_search_by(|place| place.key.cmp(key));
        found.ok().map(|i| &self.keys[i])
    }

    /// Reads what is known of a key.
    pub(in crate::catalog) fn key(&self, key: &Key) -> Result<Option<KeyIndex>> {
        self.place(key)
            .map(|place| self.read_key(place))
            .transpose()
    }

    fn read_key(&self, place: &KeyPlace) -> Result<KeyIndex> {
        let end = place.blocks.first().map_or(place.sets_at, |block| block.at);
        let n_bytes = end
            .checked_sub(place.sets_at)
            .ok_or(Damage::Content("its parts overlap"))?;
        let sets = Sets {
            bytes: self.bytes.read(place.sets_at, n_bytes as usize)?,
            at: place.sets_at,
        };
        let mut values = Vec::new();
        for (value, set) in self.blocks(&place.blocks)? {
            let jobs = match set {
                SetRef::None => return Err(Damage::Content("a value has no job")),
                SetRef::One(job) => JobSet::One(job),
                SetRef::Many(set) => JobSet::Many(self.decode_set(sets.get(&set)?, &set)?),
            };
            values.push(ValueEntry { value, jobs });
        }
        if !values.is_sorted_by(|a, b| a.value < b.value) {
            return Err(Damage::Content("its values are not sorted"));
        }
        Ok(KeyIndex {
            key: place.key.clone(),
            values,
            objects: self.read_objects(place)?,
        })
    }

    fn read_objects(&self, place: &KeyPlace) -> Result<RoaringBitmap> {
        Ok(match &place.objects {
            SetRef::None => RoaringBitmap::new(),
            SetRef::One(job) => RoaringBitmap::from_iter([*job]),
            SetRef::Many(set) => self.read_set(set)?,
        })
    }

    /// Reads blocks that follow one another.
    fn blocks(&self, blocks: &[BlockPlace]) -> Result<Vec<(Value, SetRef)>> {
        let mut values = Vec::new();
        for block in blocks {
            let bytes = self
                .bytes
                .read_checked(block.at, block.n_bytes as usize, block.crc)?;
            let mut decoder = Decoder(&bytes);
            for _ in 0..block.n_values {
                let value = decoder.value()?;
                values.push((value, SetRef::decode(&mut decoder, self.header.n_entries)?));
            }
            decoder.end()?;
        }
        Ok(values)
    }

    fn read_set(&self, set: &SetPlace) -> Result<RoaringBitmap> {
        self.decode_set(&self.bytes.read(set.at, set.n_bytes as usize)?, set)
    }

    fn decode_set(&self, bytes: &[u8], set: &SetPlace) -> Result<RoaringBitmap> {
        check(bytes, set.crc)?;
        let jobs = RoaringBitmap::deserialize_from(bytes)?;
        if jobs.is_empty() || jobs.max() >= Some(self.header.n_entries) {
            return Err(Damage::Content("a set has a job that does not exist"));
        }
        Ok(jobs)
    }

    /// Reads the values of a key with the number of jobs that have each, and how many have an
    /// object there.
    pub(in crate::catalog) fn counts(&self, key: &Key) -> Result<(Vec<(Value, usize)>, usize)> {
        let Some(place) = self.place(key) else {
            return Ok((Vec::new(), 0));
        };
        let blocks = self.blocks(&place.blocks)?;
        let counts = blocks
            .into_iter()
            .map(|(value, set)| (value, set.n_jobs() as usize));
        Ok((counts.collect(), place.objects.n_jobs() as usize))
    }

    /// Returns the jobs of which what they have at a key passes a test.
    pub(in crate::catalog) fn passing(&self, key: &Key, test: &Test) -> Result<RoaringBitmap> {
        let Some(place) = self.place(key) else {
            return Ok(RoaringBitmap::new());
        };
        let (mut ones, mut sets) = (Vec::new(), Vec::new());
        for range in block_ranges(&place.blocks, test.spans().as_deref()) {
            for (value, set) in self.blocks(&place.blocks[range])? {
                match set {
                    SetRef::One(job) if test.passes(Found::Value(&value)) => ones.push(job),
                    SetRef::Many(set) if test.passes(Found::Value(&value)) => {
                        sets.push(self.read_set(&set)?);
                    }
                    _ => {}
                }
            }
        }
        if test.passes(Found::Object) {
            sets.push(self.read_objects(place)?);
        }
        ones.sort_unstable();
        sets.push(ones.into_iter().collect());
        Ok(sets.union())
    }
}

/// The sets of one key.
struct Sets {
    bytes: Vec<u8>,
    at: u64,
}

impl Sets {
    fn get(&self, place: &SetPlace) -> Result<&[u8]> {
        let outside = Damage::Content("a set is not where it should be");
        let Some(start) = place.at.checked_sub(self.at) else {
            return Err(outside);
        };
        let start = start as usize;
        let end = start.saturating_add(place.n_bytes as usize);
        self.bytes.get(start..end).ok_or(outside)
    }
}

/// Returns the blocks in which values of some ranges can be, each once.
fn block_ranges(blocks: &[BlockPlace], spans: Option<&[Span]>) -> Vec<Range<usize>> {
    let Some(spans) = spans else {
        return std::iter::once(0..blocks.len()).collect();
    };
    disjoint(
        spans
            .iter()
            .map(|span| blocks_of_span(blocks, span))
            .collect(),
    )
}

fn blocks_of_span(blocks: &[BlockPlace], (low, high): &Span) -> Range<usize> {
    let start = match low {
        Bound::Unbounded => 0,
        // A block before the first that begins above the bound can hold it.
        Bound::Included(low) | Bound::Excluded(low) => blocks
            .partition_point(|block| block.first <= *low)
            .saturating_sub(1),
    };
    let end = match high {
        Bound::Unbounded => blocks.len(),
        Bound::Included(high) => blocks.partition_point(|block| block.first <= *high),
        Bound::Excluded(high) => blocks.partition_point(|block| block.first < *high),
    };
    start..end.max(start)
}

fn decode_key(decoder: &mut Decoder<'_>, n_jobs: u32) -> Result<KeyPlace> {
    let key = Key::from_dotted(decoder.py_str()?.as_bytes());
    let objects = SetRef::decode(decoder, n_jobs)?;
    let sets_at = decoder.u64()?;
    let n_blocks = decoder.u32()?;
    let block = |_| {
        Ok(BlockPlace {
            first: decoder.value()?,
            at: decoder.u64()?,
            n_bytes: decoder.u32()?,
            n_values: decoder.u32()?,
            crc: decoder.u32()?,
        })
    };
    Ok(KeyPlace {
        key,
        objects,
        sets_at,
        blocks: (0..n_blocks).map(block).collect::<Result<_>>()?,
    })
}

fn decode_problems(decoder: &mut Decoder<'_>) -> Result<Vec<Problem>> {
    let n_problems = decoder.u32()?;
    let problem = |_| {
        Ok(Problem {
            subject: decoder.text()?.to_owned(),
            path: OsStr::from_bytes(decoder.bytes()?).into(),
            reason: decoder.text()?.to_owned(),
            hint: Some(decoder.text()?.to_owned().into())
                .filter(|hint: &std::borrow::Cow<'_, str>| !hint.is_empty()),
        })
    };
    (0..n_problems).map(problem).collect()
}
