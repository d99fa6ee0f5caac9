//! Answers to the kernel's requests, in `fuser`'s words; nothing here to think about.

use super::deadline::{Reply, Slot};
use super::fs::{Attributes, DirEntry, FsError, Handles, Kind, Lifetime, OpenFile, ViewFs};
use super::shown::MOMENT;
use crate::fsx::TimeNs;
use fuser::{
    BackingId, Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyAttr,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyOpen, ReplyXattr,
};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The kernel keeps what we invalidate ourselves this long, unless it must ask more often.
const LONG: Duration = Duration::from_secs(3600);

/// The kernel keeps what nothing invalidates this long.
const SHORT: Duration = Duration::from_secs(1);

/// Inode numbers are never reused for another path.
const GENERATION: Generation = Generation(0);

macro_rules! fails {
    ($($reply:ty),*) => {
        $(impl Reply for $reply {
            fn fail(self) {
                self.error(Errno::EIO);
            }
        })*
    };
}

fails!(
    ReplyAttr,
    ReplyData,
    ReplyDirectory,
    ReplyDirectoryPlus,
    ReplyEntry,
    ReplyOpen,
    ReplyXattr
);

/// A [`ViewFs`] that answers `fuser`.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) fs: Arc<ViewFs>,
    uid: u32,
    gid: u32,
    /// The kernel keeps what we invalidate ourselves this long.
    long: Duration,
    handles: Handles,
    backings: Mutex<Backings>,
}

/// What the kernel reads by itself: per inode, and per open file, which keeps it alive.
#[derive(Debug, Default)]
struct Backings {
    of_inodes: HashMap<u64, Weak<BackingId>>,
    of_handles: HashMap<u64, Arc<BackingId>>,
}

/// Which extended attributes are asked for.
#[derive(Debug)]
pub(super) enum Wanted {
    Names,
    ValueOf(OsString),
}

impl Answers {
    pub(super) fn new(fs: Arc<ViewFs>) -> Self {
        let (uid, gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        Self {
            fs,
            uid,
            gid,
            long: LONG,
            handles: Handles::default(),
            backings: Mutex::default(),
        }
    }

    /// Has the kernel ask again after `memory`.
    pub(super) fn asked_again_after(mut self, memory: Duration) -> Self {
        self.long = memory.min(LONG);
        self
    }

    fn duration(&self, lifetime: Lifetime) -> Duration {
        match lifetime {
            Lifetime::UntilChanged => self.long,
            Lifetime::Short => SHORT,
            Lifetime::Moment => MOMENT,
            Lifetime::Over => Duration::ZERO,
        }
    }

    /// Lets the kernel read an open file by itself, if it can.
    fn backing(&self, ino: u64, file: &OpenFile, reply: &ReplyOpen) -> Option<Arc<BackingId>> {
        let OpenFile::Real { file, .. } = file else {
            return None;
        };
        // All who have an inode open must share one.
        let mut backings = locked(&self.backings);
        if let Some(backing) = backings.of_inodes.get(&ino).and_then(Weak::upgrade) {
            return Some(backing);
        }
        let backing = Arc::new(reply.open_backing(file).ok()?);
        backings.of_inodes.insert(ino, Arc::downgrade(&backing));
        Some(backing)
    }

    fn file_attr(&self, attributes: Attributes) -> FileAttr {
        let (kind, perm) = match attributes.kind {
            Kind::Dir => (FileType::Directory, 0o555),
            Kind::Link => (FileType::Symlink, 0o777),
            Kind::File => (FileType::RegularFile, 0o444),
            Kind::Pipe => (FileType::NamedPipe, 0o444),
            Kind::Socket => (FileType::Socket, 0o444),
        };
        let owner = attributes.owner;
        let time = system_time(attributes.modified);
        FileAttr {
            ino: INodeNo(attributes.ino),
            size: attributes.size_bytes,
            blocks: attributes.blocks,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: owner.map_or(perm, |owner| owner.permissions),
            // 1 means "unknown" for directories; tools that count subdirectories rely on it.
            nlink: 1,
            uid: owner.map_or(self.uid, |owner| owner.uid),
            gid: owner.map_or(self.gid, |owner| owner.gid),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// Answers a lookup. One that is too late is taken back: the kernel does not count it.
    pub(super) fn lookup(&self, parent: INodeNo, name: &OsStr, slot: Slot<ReplyEntry>) {
        let found = self.fs.lookup(parent.0, name.as_bytes());
        let Some(reply) = slot.take() else {
            if let Ok((attributes, _)) = found {
                self.fs.forget(attributes.ino, 1);
            }
            return;
        };
        match found {
            Ok((attributes, lifetime)) => {
                reply.entry(
                    &self.duration(lifetime),
                    &self.file_attr(attributes),
                    GENERATION,
                );
            }
            Err(FsError::NotFound(lifetime)) => {
                // Inode number 0 is "no such entry" in a form that the kernel may keep.
                let nothing = Attributes {
                    ino: 0,
                    kind: Kind::Dir,
                    modified: 0,
                    size_bytes: 0,
                    blocks: 0,
                    owner: None,
                };
                reply.entry(
                    &self.duration(lifetime),
                    &self.file_attr(nothing),
                    GENERATION,
                );
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    pub(super) fn getattr(&self, ino: INodeNo, slot: Slot<ReplyAttr>) {
        let found = self.fs.attributes(ino.0);
        let Some(reply) = slot.take() else { return };
        match found {
            Ok((attributes, lifetime)) => {
                reply.attr(&self.duration(lifetime), &self.file_attr(attributes));
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    pub(super) fn readlink(&self, ino: INodeNo, slot: Slot<ReplyData>) {
        let target = self.fs.readlink(ino.0);
        reply_data(slot, target);
    }

    pub(super) fn readdir(&self, ino: INodeNo, offset: u64, slot: Slot<ReplyDirectory>) {
        let mut reply = Lazy::Slot(slot);
        let listed = self.fs.list(ino.0, offset, false, |entry| {
            let kind = self.file_attr(entry.attributes).kind;
            // Who is too late has enough, and what it was shown counts as not listed.
            reply.get().is_none_or(|reply| {
                reply.add(
                    INodeNo(entry.attributes.ino),
                    entry.next,
                    kind,
                    OsStr::from_bytes(entry.name),
                )
            })
        });
        match (reply.take(), listed) {
            (Some(reply), Ok(())) => reply.ok(),
            (Some(reply), Err(error)) => reply.error(errno(error)),
            (None, _) => {}
        }
    }

    pub(super) fn readdirplus(&self, ino: INodeNo, offset: u64, slot: Slot<ReplyDirectoryPlus>) {
        let mut reply = Lazy::Slot(slot);
        let listed = self.fs.list(ino.0, offset, true, |entry| {
            let DirEntry {
                name,
                attributes,
                next,
                lifetime,
            } = entry;
            let attr = self.file_attr(attributes);
            reply.get().is_none_or(|reply| {
                reply.add(
                    INodeNo(attributes.ino),
                    next,
                    OsStr::from_bytes(name),
                    &self.duration(lifetime),
                    &attr,
                    GENERATION,
                )
            })
        });
        match (reply.take(), listed) {
            (Some(reply), Ok(())) => reply.ok(),
            (Some(reply), Err(error)) => reply.error(errno(error)),
            (None, _) => {}
        }
    }

    pub(super) fn open(&self, ino: INodeNo, passthrough: bool, slot: Slot<ReplyOpen>) {
        let opened = self.fs.open(ino.0);
        let Some(reply) = slot.take() else { return };
        let file = match opened {
            Ok(file) => Arc::new(file),
            Err(error) => return reply.error(errno(error)),
        };
        let handle = self.handles.add(Arc::clone(&file));
        if passthrough && let Some(backing) = self.backing(ino.0, &file, &reply) {
            reply.opened_passthrough(FileHandle(handle), FopenFlags::empty(), &backing);
            locked(&self.backings).of_handles.insert(handle, backing);
            return;
        }
        let flags = match *file {
            OpenFile::Fact(_) => FopenFlags::FOPEN_DIRECT_IO,
            OpenFile::Real { unchanged, .. } if unchanged => FopenFlags::FOPEN_KEEP_CACHE,
            OpenFile::Real { .. } => FopenFlags::empty(),
        };
        reply.opened(FileHandle(handle), flags);
    }

    pub(super) fn read(&self, fh: FileHandle, offset: u64, size: u32, slot: Slot<ReplyData>) {
        let file = self.handles.get(fh.0).ok_or(FsError::Stale);
        let bytes = file
            .as_ref()
            .map_err(|error| *error)
            .and_then(|file| file.read(offset, size as usize));
        // Nobody but the one who closes the file may be the last to hold it.
        drop(file);
        reply_data(slot, bytes);
    }

    /// Returns what an open file was, to be dropped.
    pub(super) fn release(&self, ino: INodeNo, fh: FileHandle) -> Option<Arc<OpenFile>> {
        let mut backings = locked(&self.backings);
        let closed = backings.of_handles.remove(&fh.0);
        drop(closed);
        let is_dead = |weak: &Weak<BackingId>| weak.strong_count() == 0;
        if backings.of_inodes.get(&ino.0).is_some_and(is_dead) {
            backings.of_inodes.remove(&ino.0);
        }
        self.handles.remove(fh.0)
    }

    pub(super) fn xattr(&self, ino: INodeNo, wanted: &Wanted, size: u32, slot: Slot<ReplyXattr>) {
        let all = self.fs.xattrs(ino.0);
        let Some(reply) = slot.take() else { return };
        let all = match all {
            Ok(all) => all,
            Err(error) => return reply.error(errno(error)),
        };
        match wanted {
            Wanted::Names => {
                let names: String = all.iter().map(|(name, _)| format!("{name}\0")).collect();
                reply_xattr(size, names.as_bytes(), reply);
            }
            Wanted::ValueOf(name) => {
                let is_it = |(other, _): &&(String, _)| other.as_bytes() == name.as_bytes();
                match all.iter().find(is_it) {
                    Some((_, value)) => reply_xattr(size, value, reply),
                    None => reply.error(Errno::NO_XATTR),
                }
            }
        }
    }
}

/// A reply that is taken from its slot when there is something to say.
enum Lazy<R> {
    Slot(Slot<R>),
    Taken(Option<R>),
}

impl<R> Lazy<R> {
    fn get(&mut self) -> Option<&mut R> {
        let reply = std::mem::replace(self, Self::Taken(None)).take();
        *self = Self::Taken(reply);
        match self {
            Self::Taken(reply) => reply.as_mut(),
            Self::Slot(_) => None,
        }
    }

    fn take(self) -> Option<R> {
        match self {
            Self::Slot(slot) => slot.take(),
            Self::Taken(reply) => reply,
        }
    }
}

fn reply_data(slot: Slot<ReplyData>, bytes: Result<Vec<u8>, FsError>) {
    match (slot.take(), bytes) {
        (Some(reply), Ok(bytes)) => reply.data(&bytes),
        (Some(reply), Err(error)) => reply.error(errno(error)),
        (None, _) => {}
    }
}

pub(super) fn reply_xattr(size: u32, bytes: &[u8], reply: ReplyXattr) {
    if size == 0 {
        reply.size(bytes.len() as u32);
    } else if bytes.len() <= size as usize {
        reply.data(bytes);
    } else {
        reply.error(Errno::ERANGE);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn errno(error: FsError) -> Errno {
    match error {
        FsError::NotFound(_) => Errno::ENOENT,
        // The kernel looks the path up again, and the user sees ENOENT if it is really gone.
        FsError::Stale => Errno::ESTALE,
        FsError::NotADirectory => Errno::ENOTDIR,
        FsError::NotALink => Errno::EINVAL,
        FsError::NameTooLong => Errno::ENAMETOOLONG,
        FsError::IsADirectory => Errno::EISDIR,
        FsError::Io(code) => code.map_or(Errno::EIO, Errno::from_i32),
    }
}

fn system_time(time: TimeNs) -> SystemTime {
    let since = Duration::from_nanos(time.unsigned_abs());
    if time < 0 {
        UNIX_EPOCH - since
    } else {
        UNIX_EPOCH + since
    }
}
