//! Digests of files that were read before, so that `--checksum` reads only what has changed.
//!
//! What is believed: a file whose inode number, size, and times of content and inode are those that it
//! had when it was read has the content that it had then. A file that had just been changed may be
//! changed once more within the same tick of the clock, so its digest is not kept.

use super::codec::{Cursor, push_bytes, push_number};
use super::path::Place;
use super::side::FileDigest;
use crate::fsx::{self, Durability, Stamp, TimeNs};
use std::collections::HashMap;
use std::path::PathBuf;

const MAGIC: &[u8] = b"sweepfs digests 1\n";

/// What was changed so recently is not kept: some file systems know no finer times.
const RACY_NS: TimeNs = 2_000_000_000;

/// What is known of files, by the name below the project's directory.
type Known = HashMap<Box<[u8]>, (Stamp, FileDigest)>;

/// The digests of one data space, in a file.
#[derive(Debug)]
pub(super) struct Digests {
    path: PathBuf,
    known: Known,
}

impl Digests {
    /// Reads them; a file that is missing or damaged is an empty one.
    pub(super) fn load(path: PathBuf) -> Self {
        let bytes = fsx::read(&path).unwrap_or_default();
        let known = parse(&bytes).unwrap_or_default();
        Self { path, known }
    }

    /// Returns the digest of a file that is as it was when it was read.
    pub(super) fn get(&self, place: &Place, stamp: &Stamp) -> Option<FileDigest> {
        let name = place.below_project();
        let (known, digest) = self.known.get(name.as_bytes())?;
        (known == stamp).then_some(*digest)
    }

    /// Keeps what was read of some files, and what each was before; `now` is the present time of their
    /// file system. If most of what is known was asked for, the rest is forgotten. That nothing can be
    /// written costs only time.
    pub(super) fn keep(
        mut self,
        asked: &[Place],
        read: Vec<(&Place, Stamp, FileDigest)>,
        now: TimeNs,
    ) {
        let is_old = |stamp: &Stamp| stamp.changed.saturating_add(RACY_NS) < now;
        let kept: Vec<_> = read.into_iter().filter(|read| is_old(&read.1)).collect();
        let is_outgrown = asked.len() < self.known.len() && asked.len() > self.known.len() / 2;
        if kept.is_empty() && !is_outgrown {
            return;
        }
        if is_outgrown {
            let names = asked.iter().map(Place::below_project);
            let names = names.map(|name| self.known.remove_entry(name.as_bytes()));
            self.known = names.flatten().collect();
        }
        for (place, stamp, digest) in kept {
            let name = place.below_project().as_bytes().into();
            self.known.insert(name, (stamp, digest));
        }
        let above = self.path.parent().map_or(Ok(()), fsx::create_dir_all);
        let written = above.and_then(|()| {
            let bytes = to_bytes(&self.known);
            fsx::write_atomic(&self.path, &bytes, Durability::Process)
        });
        if let Err(error) = written {
            tracing::info!("digests are not kept: {error}");
        }
    }
}

/// Names are sorted, and of each only what differs from the one before is written.
fn to_bytes(known: &Known) -> Vec<u8> {
    let mut sorted: Vec<_> = known.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    let mut bytes = MAGIC.to_vec();
    push_number(&mut bytes, sorted.len() as u64);
    let mut before: &[u8] = &[];
    for (name, (stamp, digest)) in sorted {
        let n_same = name.iter().zip(before).take_while(|(a, b)| a == b).count();
        push_number(&mut bytes, n_same as u64);
        push_bytes(&mut bytes, &name[n_same..]);
        push_number(&mut bytes, stamp.inode);
        push_number(&mut bytes, stamp.size_bytes);
        bytes.extend(stamp.modified.to_le_bytes());
        bytes.extend(stamp.changed.to_le_bytes());
        bytes.extend(digest);
        before = name;
    }
    let sum = crc32fast::hash(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<Known> {
    let (content, sum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*sum) {
        return None;
    }
    let mut cursor = Cursor::new(content.strip_prefix(MAGIC)?);
    let mut known = HashMap::new();
    let mut name = Vec::new();
    for _ in 0..cursor.number()? {
        name.truncate(usize::try_from(cursor.number()?).ok()?);
        name.extend_from_slice(cursor.bytes()?);
        let (inode, size_bytes) = (cursor.number()?, cursor.number()?);
        let mut time = || Some(TimeNs::from_le_bytes(cursor.take(8)?.try_into().ok()?));
        let stamp = Stamp {
            modified: time()?,
            changed: time()?,
            inode,
            size_bytes,
        };
        let digest = cursor.take(16)?.try_into().ok()?;
        known.insert(name.as_slice().into(), (stamp, digest));
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::super::path::RelPath;
    use super::*;
    use crate::statepoint::JobId;

    const NOW: TimeNs = 1_700_000_000_000_000_000;

    fn place(job: u8, path: &str) -> Place {
        Place::of_job(JobId::from_bytes([job; 16]), RelPath::of(path))
    }

    fn stamp(inode: u64, changed: TimeNs) -> Stamp {
        Stamp {
            modified: -1,
            changed,
            inode,
            size_bytes: 1 << 40,
        }
    }

    #[test]
    fn what_is_kept_is_believed_until_anything_changes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("new/digests");
        let load = || Digests::load(path.clone());
        let (a, b, recent) = (place(1, "a"), place(2, "d/b"), place(2, "recent"));
        let asked = [a.clone(), b.clone(), recent.clone()];
        let read = vec![
            (&a, stamp(1, 5), [1; 16]),
            (&b, stamp(2, NOW - RACY_NS - 1), [2; 16]),
            (&recent, stamp(3, NOW - RACY_NS), [3; 16]),
        ];
        load().keep(&asked, read, NOW);
        assert_eq!(load().get(&a, &stamp(1, 5)), Some([1; 16]));
        assert_eq!(load().get(&b, &stamp(2, NOW - RACY_NS - 1)), Some([2; 16]));
        assert_eq!(load().get(&recent, &stamp(3, NOW - RACY_NS)), None);
        let now = stamp(1, 5);
        for other in [
            Stamp { inode: 2, ..now },
            Stamp { changed: 6, ..now },
            Stamp { modified: 0, ..now },
            Stamp {
                size_bytes: 1,
                ..now
            },
        ] {
            assert_eq!(load().get(&a, &other), None);
        }
        // One of two is not most of them, three of five are.
        load().keep(std::slice::from_ref(&a), Vec::new(), NOW);
        assert!(load().get(&b, &stamp(2, NOW - RACY_NS - 1)).is_some());
        let more = [place(3, "x"), place(3, "y"), place(3, "z")];
        let read = more.iter().map(|place| (place, stamp(9, 9), [9; 16]));
        load().keep(&more, read.collect(), NOW);
        load().keep(&more, Vec::new(), NOW);
        assert!(load().get(&a, &stamp(1, 5)).is_none());
        assert_eq!(load().known.len(), 3);
    }

    #[test]
    fn a_damaged_file_is_an_empty_one() {
        let known = [(b"x".as_slice().into(), (stamp(1, 2), [7; 16]))].into();
        let bytes = to_bytes(&known);
        assert_eq!(parse(&bytes), Some(known));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(parse(&damaged).is_none() && parse(&bytes[..at]).is_none());
        }
    }
}
