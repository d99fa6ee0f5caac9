//! Translates between `fuser` and [`ViewFs`]; nothing here to think about.
//!
//! Three capabilities of the kernel make a warm walk as fast as one over a real tree: long
//! lifetimes with explicit invalidation, cached link targets, and directories without `opendir`
//! (so that their listings are cached too).

use super::activity::Activity;
use super::fs::{Attributes, DirEntry, FsError, Handles, Kind, Lifetime, OpenFile, ViewFs};
use super::placement;
use super::shown::MOMENT;
use crate::fsx::TimeNs;
use fuser::{
    BackingId, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The kernel keeps what we invalidate ourselves this long, unless it must ask more often.
const LONG: Duration = Duration::from_secs(3600);

/// The kernel keeps what nothing invalidates this long.
const SHORT: Duration = Duration::from_secs(1);

/// Inode numbers are never reused for another path.
const GENERATION: Generation = Generation(0);

/// A [`ViewFs`] as `fuser` wants it.
#[derive(Debug)]
pub(super) struct Adapter {
    fs: Arc<ViewFs>,
    uid: u32,
    gid: u32,
    /// The kernel caches listings if `opendir` is not implemented.
    without_opendir: bool,
    /// The kernel reads files in jobs' directories by itself.
    passthrough: bool,
    xattr: bool,
    activity: Option<Arc<Activity>>,
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

impl Adapter {
    pub(super) fn new(fs: Arc<ViewFs>, xattr: bool) -> Self {
        let (uid, gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        Self {
            fs,
            uid,
            gid,
            without_opendir: false,
            passthrough: false,
            xattr,
            activity: None,
            long: LONG,
            handles: Handles::default(),
            backings: Mutex::default(),
        }
    }

    /// Notes in `activity` that somebody asks, and has the kernel ask again after `memory`.
    pub(super) fn noting(mut self, activity: Arc<Activity>, memory: Duration) -> Self {
        self.activity = Some(activity);
        self.long = memory.min(LONG);
        self
    }

    /// Somebody asks. Not so for `statfs`, which watches over all mounts, and for what the kernel
    /// does in its own time.
    fn used(&self) {
        if let Some(activity) = &self.activity {
            activity.touch();
        }
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
        if !self.passthrough {
            return None;
        }
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
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT
            | InitFlags::FUSE_AUTO_INVAL_DATA
            | InitFlags::FUSE_PASSTHROUGH;
        let offered = wanted & config.capabilities();
        self.without_opendir = offered.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        // Only root may use it.
        self.passthrough = offered.contains(InitFlags::FUSE_PASSTHROUGH)
            && rustix::process::geteuid().is_root()
            && config.set_max_stack_depth(1).is_ok();
        let offered = match self.passthrough {
            true => offered,
            false => offered - InitFlags::FUSE_PASSTHROUGH,
        };
        config
            .add_capabilities(offered)
            .map_err(|_| io::Error::other("the kernel withdrew a capability it offered"))
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        placement::follow(request.pid());
        self.used();
        match self.fs.lookup(parent.0, name.as_bytes()) {
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

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        placement::follow(request.pid());
        self.used();
        match self.fs.attributes(ino.0) {
            Ok((attributes, lifetime)) => {
                reply.attr(&self.duration(lifetime), &self.file_attr(attributes));
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        placement::follow(request.pid());
        self.used();
        match self.fs.readlink(ino.0) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.used();
        if self.without_opendir {
            return reply.error(Errno::ENOSYS);
        }
        reply.opened(
            FileHandle(0),
            FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE,
        );
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        placement::follow(request.pid());
        self.used();
        let listed = self.fs.list(ino.0, offset, false, |entry| {
            let kind = self.file_attr(entry.attributes).kind;
            reply.add(
                INodeNo(entry.attributes.ino),
                entry.next,
                kind,
                OsStr::from_bytes(entry.name),
            )
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn readdirplus(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        placement::follow(request.pid());
        self.used();
        let listed = self.fs.list(
            ino.0,
            offset,
            true,
            |DirEntry {
                 name,
                 attributes,
                 next,
                 lifetime,
             }| {
                let attr = self.file_attr(attributes);
                reply.add(
                    INodeNo(attributes.ino),
                    next,
                    OsStr::from_bytes(name),
                    &self.duration(lifetime),
                    &attr,
                    GENERATION,
                )
            },
        );
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, _: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let c = self.fs.capacity();
        reply.statfs(
            c.blocks,
            c.blocks_free,
            c.blocks_available,
            c.files,
            c.files_free,
            c.block_size_bytes,
            255,
            c.block_size_bytes,
        );
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        self.fs.forget(ino.0, nlookup);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.used();
        let file = match self.fs.open(ino.0) {
            Ok(file) => Arc::new(file),
            Err(error) => return reply.error(errno(error)),
        };
        let handle = self.handles.add(Arc::clone(&file));
        if let Some(backing) = self.backing(ino.0, &file, &reply) {
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

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.used();
        let file = self.handles.get(fh.0).ok_or(FsError::Stale);
        match file.and_then(|file| file.read(offset, size as usize)) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.handles.remove(fh.0);
        let mut backings = locked(&self.backings);
        let closed = backings.of_handles.remove(&fh.0);
        drop(closed);
        let is_dead = |weak: &Weak<BackingId>| weak.strong_count() == 0;
        if backings.of_inodes.get(&ino.0).is_some_and(is_dead) {
            backings.of_inodes.remove(&ino.0);
        }
        drop(backings);
        reply.ok();
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.used();
        if !self.xattr {
            // The kernel never asks again; otherwise `ls -l` would, three times per entry.
            return reply.error(Errno::ENOSYS);
        }
        if !name.as_bytes().starts_with(b"user.sweepfs.") {
            return reply.error(Errno::NO_XATTR);
        }
        match self.fs.xattrs(ino.0) {
            Ok(all) => {
                let mut named = all.into_iter();
                match named.find(|(other, _)| other.as_bytes() == name.as_bytes()) {
                    Some((_, value)) => reply_xattr(size, &value, reply),
                    None => reply.error(Errno::NO_XATTR),
                }
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.used();
        let all = match self.xattr {
            true => self.fs.xattrs(ino.0),
            false => Ok(Vec::new()),
        };
        match all {
            Ok(all) => {
                let names: String = all.iter().map(|(name, _)| format!("{name}\0")).collect();
                reply_xattr(size, names.as_bytes(), reply);
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn access(&self, _: &Request, _: INodeNo, _: fuser::AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}

fn reply_xattr(size: u32, bytes: &[u8], reply: ReplyXattr) {
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
