//! Takes the kernel's requests: those that need only memory are answered at once, and the others
//! within a time limit where the workspace is on the network.
//!
//! Three capabilities of the kernel make a warm walk as fast as one over a real tree: long
//! lifetimes with explicit invalidation, cached link targets, and directories without `opendir`
//! (so that their listings are cached too).

use super::activity::Activity;
use super::answers::{Answers, Wanted, reply_xattr};
use super::deadline::{Deadline, Reply, Slot};
use super::fs::ViewFs;
use super::placement;
use fuser::{
    Errno, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags, KernelConfig, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

/// Who asks for something on the network is told after this time that there is no answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// So many requests may wait for the network at once before others wait for them.
const WORKERS: usize = 16;

/// A [`ViewFs`] as `fuser` wants it.
#[derive(Debug)]
pub(super) struct Adapter {
    answers: Arc<Answers>,
    /// What is asked for may have to come from a server.
    network: bool,
    /// For that, once it is mounted.
    deadline: Option<Deadline>,
    /// The kernel caches listings if `opendir` is not implemented.
    without_opendir: bool,
    /// The kernel reads files in jobs' directories by itself.
    passthrough: bool,
    xattr: bool,
    activity: Option<Arc<Activity>>,
}

impl Adapter {
    /// `network`: what is asked for may have to come from a server.
    pub(super) fn new(answers: Answers, xattr: bool, network: bool) -> Self {
        Self {
            answers: Arc::new(answers),
            network,
            deadline: None,
            without_opendir: false,
            passthrough: false,
            xattr,
            activity: None,
        }
    }

    /// Notes in `activity` that somebody asks.
    pub(super) fn noting(mut self, activity: Arc<Activity>) -> Self {
        self.activity = Some(activity);
        self
    }

    /// Somebody asks. Not so for `statfs`, which watches over all mounts, and for what the kernel
    /// does in its own time.
    fn used(&self) {
        if let Some(activity) = &self.activity {
            activity.touch();
        }
    }

    /// Answers a request: at once, or within the time limit if there is one and what is asked for
    /// is not in memory.
    fn answer<R: Reply>(
        &self,
        is_in_memory: impl FnOnce(&ViewFs) -> bool,
        reply: R,
        answer: impl FnOnce(&Answers, Slot<R>) + Send + 'static,
    ) {
        self.used();
        match &self.deadline {
            Some(deadline) if !is_in_memory(&self.answers.fs) => {
                let answers = Arc::clone(&self.answers);
                deadline.answer(reply, move |slot| answer(&answers, slot));
            }
            _ => answer(&self.answers, Slot::Patient(reply)),
        }
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.deadline = self.network.then(|| Deadline::new(ANSWER_MAX, WORKERS));
        let wanted = InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT
            | InitFlags::FUSE_AUTO_INVAL_DATA
            | InitFlags::FUSE_PASSTHROUGH;
        let offered = wanted & config.capabilities();
        self.without_opendir = offered.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        // Only root may use it. It knows no time limit.
        self.passthrough = !self.network
            && offered.contains(InitFlags::FUSE_PASSTHROUGH)
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
        let known = |fs: &ViewFs| fs.is_in_memory(parent.0, Some(name.as_bytes()));
        let name = name.to_owned();
        self.answer(known, reply, move |answers, slot| {
            answers.lookup(parent, &name, slot);
        });
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        placement::follow(request.pid());
        let known = |fs: &ViewFs| fs.is_in_memory(ino.0, None);
        self.answer(known, reply, move |answers, slot| {
            answers.getattr(ino, slot);
        });
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        placement::follow(request.pid());
        let known = |fs: &ViewFs| fs.is_in_memory(ino.0, None);
        self.answer(known, reply, move |answers, slot| {
            answers.readlink(ino, slot);
        });
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
        reply: ReplyDirectory,
    ) {
        placement::follow(request.pid());
        let known = |fs: &ViewFs| fs.is_in_memory(ino.0, None);
        self.answer(known, reply, move |answers, slot| {
            answers.readdir(ino, offset, slot);
        });
    }

    fn readdirplus(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        placement::follow(request.pid());
        let known = |fs: &ViewFs| fs.is_in_memory(ino.0, None);
        self.answer(known, reply, move |answers, slot| {
            answers.readdirplus(ino, offset, slot);
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, _: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let c = self.answers.fs.capacity();
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
        self.answers.fs.forget(ino.0, nlookup);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let passthrough = self.passthrough;
        self.answer(
            |_| false,
            reply,
            move |answers, slot| {
                answers.open(ino, passthrough, slot);
            },
        );
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
        self.answer(
            |_| false,
            reply,
            move |answers, slot| {
                answers.read(fh, offset, size, slot);
            },
        );
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
        let closed = self.answers.release(ino, fh);
        // To close a file may ask the server, too.
        match &self.deadline {
            Some(deadline) => deadline.some_time(move || drop(closed)),
            None => drop(closed),
        }
        reply.ok();
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.xattr {
            self.used();
            // The kernel never asks again; otherwise `ls -l` would, three times per entry.
            return reply.error(Errno::ENOSYS);
        }
        if !name.as_bytes().starts_with(b"user.sweepfs.") {
            self.used();
            return reply.error(Errno::NO_XATTR);
        }
        let wanted = Wanted::ValueOf(name.to_owned());
        self.answer(
            |_| false,
            reply,
            move |answers, slot| {
                answers.xattr(ino, &wanted, size, slot);
            },
        );
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.xattr {
            self.used();
            return reply_xattr(size, b"", reply);
        }
        self.answer(
            |_| false,
            reply,
            move |answers, slot| {
                answers.xattr(ino, &Wanted::Names, size, slot);
            },
        );
    }

    fn access(&self, _: &Request, _: INodeNo, _: fuser::AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}
