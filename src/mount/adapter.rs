//! Translates between `fuser` and [`ViewFs`]; nothing here to think about.
//!
//! Three capabilities of the kernel make a warm walk as fast as one over a real tree: long
//! lifetimes with explicit invalidation, cached link targets, and directories without `opendir`
//! (so that their listings are cached too).

use super::fs::{Attributes, DirEntry, FsError, Kind, Lifetime, ViewFs};
use crate::fsx::TimeNs;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The kernel keeps what we invalidate ourselves this long.
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
}

impl Adapter {
    pub(super) fn new(fs: Arc<ViewFs>) -> Self {
        let (uid, gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        Self {
            fs,
            uid,
            gid,
            without_opendir: false,
        }
    }

    fn file_attr(&self, attributes: Attributes) -> FileAttr {
        let (kind, perm) = match attributes.kind {
            Kind::Dir => (FileType::Directory, 0o555),
            Kind::Link => (FileType::Symlink, 0o777),
        };
        let time = system_time(attributes.modified);
        FileAttr {
            ino: INodeNo(attributes.ino),
            size: attributes.size_bytes,
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            // 1 means "unknown" for directories; tools that count subdirectories rely on it.
            nlink: 1,
            uid: self.uid,
            gid: self.gid,
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
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT;
        let offered = wanted & config.capabilities();
        self.without_opendir = offered.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        config
            .add_capabilities(offered)
            .map_err(|_| io::Error::other("the kernel withdrew a capability it offered"))
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.fs.lookup(parent.0, name.as_bytes()) {
            Ok((attributes, lifetime)) => {
                reply.entry(&duration(lifetime), &self.file_attr(attributes), GENERATION);
            }
            Err(FsError::NotFound(lifetime)) => {
                // Inode number 0 is "no such entry" in a form that the kernel may keep.
                let nothing = Attributes {
                    ino: 0,
                    kind: Kind::Dir,
                    modified: 0,
                    size_bytes: 0,
                };
                reply.entry(&duration(lifetime), &self.file_attr(nothing), GENERATION);
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.fs.attributes(ino.0) {
            Ok(attributes) => reply.attr(&LONG, &self.file_attr(attributes)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.fs.readlink(ino.0) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
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
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.fs.list(ino.0, offset, |entry| {
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
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.fs.list(
            ino.0,
            offset,
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
                    &duration(lifetime),
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

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        // The kernel never asks again; otherwise `ls -l` would, three times per entry.
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _: &Request, _: INodeNo, size: u32, reply: ReplyXattr) {
        if size == 0 {
            reply.size(0);
        } else {
            reply.data(&[]);
        }
    }

    fn access(&self, _: &Request, _: INodeNo, _: fuser::AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}

fn duration(lifetime: Lifetime) -> Duration {
    match lifetime {
        Lifetime::UntilChanged => LONG,
        Lifetime::Short => SHORT,
        Lifetime::Over => Duration::ZERO,
    }
}

fn errno(error: FsError) -> Errno {
    match error {
        FsError::NotFound(_) => Errno::ENOENT,
        // The kernel looks the path up again, and the user sees ENOENT if it is really gone.
        FsError::Stale => Errno::ESTALE,
        FsError::NotADirectory => Errno::ENOTDIR,
        FsError::NotALink => Errno::EINVAL,
        FsError::NameTooLong => Errno::ENAMETOOLONG,
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
