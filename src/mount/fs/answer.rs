//! What the file system answers, in words that know no kernel.

use crate::fsx::{Details, FileType, TimeNs};

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FsError {
    /// There is no such entry; the lifetime of this answer is given.
    #[error("no such entry")]
    NotFound(Lifetime),
    /// The inode was a directory of an earlier generation.
    #[error("the entry is gone")]
    Stale,
    /// A lookup or listing in a link.
    #[error("not a directory")]
    NotADirectory,
    /// A directory was to be read as a file.
    #[error("is a directory")]
    IsADirectory,
    /// A `readlink` of a directory.
    #[error("not a link")]
    NotALink,
    /// The name is longer than any file name.
    #[error("the name is too long")]
    NameTooLong,
    /// The workspace cannot be read, with the number of the error if it has one.
    #[error("cannot be read")]
    Io(Option<i32>),
}

/// How long the kernel may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is invalidated.
    UntilChanged,
    /// A second, since nothing will tell when it changes.
    Short,
    /// [`super::MOMENT`].
    Moment,
    /// Not at all.
    Over,
}

/// What kind of thing an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A regular file.
    File,
    /// A named pipe in a job's directory.
    Pipe,
    /// A socket in a job's directory.
    Socket,
}

/// What `stat` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Inode number.
    pub ino: u64,
    /// What it is.
    pub kind: Kind,
    /// When the job, or the newest job below, was created, or a file last written.
    pub modified: TimeNs,
    /// Bytes of a link's target, or of a file.
    pub size_bytes: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Permissions and owner of what stands for something in a job's directory; by default those of
    /// the daemon.
    pub owner: Option<Owner>,
}

/// Who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Permission bits.
    pub permissions: u16,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Attributes {
    pub(super) fn dir(ino: u64, modified: TimeNs) -> Self {
        Self {
            ino,
            kind: Kind::Dir,
            modified,
            size_bytes: 0,
            blocks: 0,
            owner: None,
        }
    }

    pub(super) fn link(ino: u64, modified: TimeNs, size_bytes: u64) -> Self {
        Self {
            kind: Kind::Link,
            size_bytes,
            ..Self::dir(ino, modified)
        }
    }

    pub(super) fn file(ino: u64, modified: TimeNs, size_bytes: u64) -> Self {
        Self {
            kind: Kind::File,
            size_bytes,
            blocks: size_bytes.div_ceil(512),
            ..Self::dir(ino, modified)
        }
    }

    pub(super) fn real(ino: u64, details: &Details) -> Self {
        let is_dir = details.file_type == FileType::Directory;
        Self {
            ino,
            kind: match details.file_type {
                FileType::Directory => Kind::Dir,
                FileType::Symlink => Kind::Link,
                FileType::Fifo => Kind::Pipe,
                FileType::Socket => Kind::Socket,
                _ => Kind::File,
            },
            modified: details.stamp.modified,
            size_bytes: if is_dir { 0 } else { details.stamp.size_bytes },
            blocks: if is_dir { 0 } else { details.blocks },
            owner: Some(Owner {
                permissions: match details.file_type {
                    FileType::Symlink => details.permissions,
                    _ => details.permissions & !0o222,
                },
                uid: details.uid,
                gid: details.gid,
            }),
        }
    }
}

/// An entry of a listing.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// File name.
    pub name: &'a [u8],
    /// What `stat` shows of it.
    pub attributes: Attributes,
    /// Where to continue after it.
    pub next: u64,
    /// How long the kernel may keep it.
    pub lifetime: Lifetime,
}
