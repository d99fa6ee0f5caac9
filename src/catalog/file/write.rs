//! Writing a catalog file.

use super::{
    BLOCK_VALUES, BlockPlace, Header, KeyPlace, PAGE_BYTES, PAGE_ENTRY_BYTES, SetPlace, SetRef,
    StoredEntry,
};
use crate::catalog::JobSet;
use crate::catalog::codec::Encoder;
use crate::catalog::index::{KeyIndex, Part};
use crate::fsx::Stamp;
use crate::report::Problem;
use roaring::RoaringBitmap;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;

/// What a file is to hold.
#[derive(Clone, Copy, Debug)]
pub(in crate::catalog) struct Contents<'a, E> {
    /// The workspace's stamp when it was listed, if no later change can share it.
    pub(in crate::catalog) listed_at: Option<Stamp>,
    /// The jobs.
    pub(in crate::catalog) part: &'a Part<E>,
    /// Entries of the workspace that are no sound jobs.
    pub(in crate::catalog) problems: &'a [Problem],
}

/// Writes a file from its beginning.
pub(in crate::catalog) fn write<E: StoredEntry>(
    file: impl Write + Seek,
    contents: Contents<'_, E>,
) -> io::Result<()> {
    let mut out = Out {
        file: BufWriter::with_capacity(1 << 20, file),
        at: 0,
    };
    out.bytes(&[0; PAGE_BYTES])?;
    write_entries(&mut out, &contents.part.entries)?;
    let mut encoder = Encoder::default();
    encoder.u32(contents.part.index.keys.len() as u32);
    for key in &contents.part.index.keys {
        encode_key(&mut encoder, &write_key(&mut out, key)?);
    }
    encode_problems(&mut encoder, contents.problems);
    let header = Header {
        kind: E::KIND as u32,
        listed_at: contents.listed_at,
        n_entries: contents.part.entries.len() as u32,
        contents_at: out.at,
        contents_bytes: encoder.0.len() as u64,
        contents_crc: crc32fast::hash(&encoder.0),
    };
    out.bytes(&encoder.0)?;
    out.file.seek(SeekFrom::Start(0))?;
    out.file.write_all(&header.encode())?;
    out.file.flush()
}

/// A file and how much of it is written.
struct Out<W: Write> {
    file: BufWriter<W>,
    at: u64,
}

impl<W: Write> Out<W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

fn write_entries<E: StoredEntry>(out: &mut Out<impl Write>, entries: &[E]) -> io::Result<()> {
    for page in entries.chunks(E::PER_PAGE) {
        let mut encoder = Encoder::default();
        page.iter().for_each(|entry| entry.encode(&mut encoder));
        encoder.0.resize(PAGE_ENTRY_BYTES, 0);
        encoder.u32(crc32fast::hash(&encoder.0));
        out.bytes(&encoder.0)?;
    }
    Ok(())
}

fn write_key(out: &mut Out<impl Write>, key: &KeyIndex) -> io::Result<KeyPlace> {
    let sets_at = out.at;
    let objects = if key.objects.is_empty() {
        SetRef::None
    } else {
        write_bitmap(out, &key.objects)?
    };
    let sets: Vec<_> = key
        .values
        .iter()
        .map(|entry| match &entry.jobs {
            JobSet::One(job) => Ok(SetRef::One(*job)),
            JobSet::Many(jobs) => write_bitmap(out, jobs),
        })
        .collect::<io::Result<_>>()?;
    let mut blocks = Vec::new();
    for (values, sets) in key
        .values
        .chunks(BLOCK_VALUES)
        .zip(sets.chunks(BLOCK_VALUES))
    {
        let mut encoder = Encoder::default();
        for (entry, set) in values.iter().zip(sets) {
            encoder.value(&entry.value);
            set.encode(&mut encoder);
        }
        blocks.push(BlockPlace {
            first: values[0].value.clone(),
            at: out.at,
            n_bytes: block_len(&encoder.0)?,
            n_values: values.len() as u32,
            crc: crc32fast::hash(&encoder.0),
        });
        out.bytes(&encoder.0)?;
    }
    Ok(KeyPlace {
        key: key.key.clone(),
        objects,
        sets_at,
        blocks,
    })
}

fn write_bitmap(out: &mut Out<impl Write>, jobs: &RoaringBitmap) -> io::Result<SetRef> {
    let mut bytes = Vec::with_capacity(jobs.serialized_size());
    jobs.serialize_into(&mut bytes)?;
    let place = SetPlace {
        at: out.at,
        n_bytes: block_len(&bytes)?,
        n_jobs: jobs.len() as u32,
        crc: crc32fast::hash(&bytes),
    };
    out.bytes(&bytes)?;
    Ok(SetRef::Many(place))
}

fn block_len(bytes: &[u8]) -> io::Result<u32> {
    bytes
        .len()
        .try_into()
        .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

fn encode_key(encoder: &mut Encoder, place: &KeyPlace) {
    encoder.bytes(place.key.dotted().as_bytes());
    place.objects.encode(encoder);
    encoder.u64(place.sets_at);
    encoder.u32(place.blocks.len() as u32);
    for block in &place.blocks {
        encoder.value(&block.first);
        encoder.u64(block.at);
        encoder.u32(block.n_bytes);
        encoder.u32(block.n_values);
        encoder.u32(block.crc);
    }
}

/// Paths are stored below the workspace, which may move.
fn encode_problems(encoder: &mut Encoder, problems: &[Problem]) {
    encoder.u32(problems.len() as u32);
    for problem in problems {
        encoder.bytes(problem.subject.as_bytes());
        encoder.bytes(problem.path.as_os_str().as_bytes());
        encoder.bytes(problem.reason.as_bytes());
        encoder.bytes(problem.hint.as_deref().unwrap_or_default().as_bytes());
    }
}
