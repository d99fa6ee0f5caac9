//! What is in a data space.

use super::path::RelPath;
use crate::fsx::TimeNs;
use crate::statepoint::JobId;

/// Name of the project's document, in the project's directory.
pub const PROJECT_DOCUMENT: &str = "signac_project_document.json";

/// How the names of files begin that are being written by signac, by us, or by `rsync`.
const TEMPORARY_PREFIX: &[u8] = b"._";

/// How the names of files end that a sync is writing. Whatever has such a name may be removed when
/// no sync is running.
pub const INCOMING_SUFFIX: &str = "_sweepfs-sync";

const UUID_LEN: usize = 36;

const SECOND_NS: TimeNs = 1_000_000_000;

/// File systems that know no nanoseconds may know only every second second.
const COARSE_NS: u64 = 2 * SECOND_NS as u64;

/// The steps in which file systems count time: ext3, exFAT, some servers, NTFS.
const STEPS_NS: [u64; 5] = [1_000_000_000, 10_000_000, 1_000_000, 1000, 100];

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// A regular file of that size, last changed at that time.
    File {
        /// Its size.
        size_bytes: u64,
        /// When its content was changed.
        modified: TimeNs,
    },
    /// A symbolic link with that text, which is never followed.
    Link(Box<[u8]>),
    /// A directory.
    Dir,
}

/// An entry of a job's directory, or of one below it, as it was at some moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// What it is.
    pub content: Content,
    /// Its permission bits (`0o777`); 0 for a link.
    pub mode: u16,
}

impl Entry {
    /// Tells whether it is a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self.content, Content::File { .. })
    }

    /// Tells whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.content, Content::Dir)
    }

    /// Returns its size; 0 for all but regular files.
    pub fn size_bytes(&self) -> u64 {
        match self.content {
            Content::File { size_bytes, .. } => size_bytes,
            _ => 0,
        }
    }

    /// Returns when its content was changed, if it is a regular file.
    pub fn modified(&self) -> Option<TimeNs> {
        match self.content {
            Content::File { modified, .. } => Some(modified),
            _ => None,
        }
    }

    /// Tells whether entries of two file systems seem to have the same content: files have the same
    /// size and time, as far as both can tell it. `None` if only reading them can tell.
    pub fn agrees(&self, other: &Self) -> Option<bool> {
        self.agrees_if(other, |a, b| {
            let is_one_whole = (a % SECOND_NS == 0) != (b % SECOND_NS == 0);
            is_one_whole && a.abs_diff(b) < COARSE_NS
        })
    }

    /// Tells whether this is what came of copying another one to this file system, which may keep less
    /// of a time.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        let agrees = self.agrees_if(other, |kept, time| {
            let mut steps = STEPS_NS.into_iter();
            let step = steps.find(|step| kept % *step as TimeNs == 0);
            let tolerance = step.map_or(0, |step| match step == SECOND_NS as u64 {
                true => COARSE_NS,
                false => step,
            });
            kept.abs_diff(time) < tolerance
        });
        agrees == Some(true)
    }

    /// Tells whether entries have the same content, files if their times are the same or near.
    fn agrees_if(&self, other: &Self, are_near: impl Fn(TimeNs, TimeNs) -> bool) -> Option<bool> {
        match (&self.content, &other.content) {
            (
                Content::File {
                    size_bytes: size_a,
                    modified: a,
                },
                Content::File {
                    size_bytes: size_b,
                    modified: b,
                },
            ) if size_a == size_b => (a == b || are_near(*a, *b)).then_some(true),
            (a, b) => Some(a == b),
        }
    }
}

/// A job's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobTree {
    /// The job.
    pub id: JobId,
    /// All below its directory, sorted by the bytes of the name, each once.
    pub entries: Vec<(RelPath, Entry)>,
}

impl JobTree {
    /// Returns an entry.
    pub fn get(&self, path: &RelPath) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|(known, _)| known.cmp(path));
        at.ok().map(|at| &self.entries[at].1)
    }

    /// Returns the number of its files and links.
    pub fn n_files(&self) -> usize {
        let entries = self.entries.iter();
        entries.filter(|(_, entry)| !entry.is_dir()).count()
    }

    /// Tells whether another listing of it shows the same. Permissions are not looked at.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let mut pairs = self.entries.iter().zip(&other.entries);
        self.id == other.id
            && self.entries.len() == other.entries.len()
            && pairs.all(|((path, a), (other, b))| path == other && a.content == b.content)
    }
}

/// A data space, as far as it is synced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The project's document, if there is one.
    pub document: Option<Entry>,
    /// The jobs, sorted by id, each once.
    pub jobs: Vec<JobTree>,
}

/// Tells whether a file is being written, by signac, by us or by `rsync` on our behalf, and will
/// soon have another name: `._<uuid>_<name>`.
pub fn is_temporary(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(TEMPORARY_PREFIX) else {
        return false;
    };
    let is_uuid = |text: &[u8]| {
        text.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
    };
    rest.len() > UUID_LEN && is_uuid(&rest[..UUID_LEN]) && rest[UUID_LEN] == b'_'
}

/// Tells whether a file was being written by a sync.
pub fn is_incoming(name: &[u8]) -> bool {
    is_temporary(name) && name.ends_with(INCOMING_SUFFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size_bytes: u64, modified: TimeNs) -> Entry {
        Entry {
            content: Content::File {
                size_bytes,
                modified,
            },
            mode: 0o644,
        }
    }

    #[test]
    fn times_are_compared_as_far_as_they_are_known() {
        let second = SECOND_NS;
        assert_eq!(file(1, 5).agrees(&file(1, 5)), Some(true));
        assert_eq!(file(1, 5).agrees(&file(2, 5)), Some(false));
        assert_eq!(file(1, 5).agrees(&file(1, 6)), None);
        assert_eq!(
            file(1, 3 * second).agrees(&file(1, 3 * second + 7)),
            Some(true)
        );
        assert_eq!(file(1, 3 * second).agrees(&file(1, 5 * second)), None);
        // Both know the second, and it is not the same.
        assert_eq!(file(1, 3 * second).agrees(&file(1, 4 * second)), None);
        // A copy has what is left of the time, and no more.
        let source = file(1, 3 * second + 7);
        for time in [3 * second + 7, 3 * second, 2 * second] {
            assert!(file(1, time).is_copy_of(&source));
        }
        let with = |rest| file(1, 3 * second + rest);
        assert!(with(120_000_000).is_copy_of(&with(123_456_789)));
        assert!(with(123_456_700).is_copy_of(&with(123_456_789)));
        assert!(!with(123_456_700).is_copy_of(&with(123_457_789)));
        for (size, time) in [(1, 3 * second + 6), (1, second), (2, 3 * second)] {
            assert!(!file(size, time).is_copy_of(&source));
        }
        let dir = Entry {
            content: Content::Dir,
            mode: 0o755,
        };
        assert_eq!(dir.agrees(&file(0, 0)), Some(false));
        assert_eq!(dir.agrees(&dir), Some(true));
    }

    #[test]
    fn files_that_are_being_written_are_known() {
        let uuid = "0b0b7a1e-8a1c-4f5e-9d3e-2b7f3f0e6a11";
        assert!(is_temporary(
            format!("._{uuid}_signac_job_document.json").as_bytes()
        ));
        assert!(is_incoming(format!("._{uuid}{INCOMING_SUFFIX}").as_bytes()));
        assert!(!is_incoming(format!("._{uuid}_a").as_bytes()));
        for name in ["._x", "._.DS_Store", ".hidden", "a"] {
            assert!(!is_temporary(name.as_bytes()), "{name}");
        }
        assert!(!is_temporary(format!("._{uuid}").as_bytes()));
    }
}
