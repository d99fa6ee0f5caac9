//! A notice when entries of a directory come or go; a wake-up only, never the truth.

use crate::fsx;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// What wakes us up. Not the opening of entries, which would cost every reader of a job a switch
/// to the daemon; changes inside jobs do not matter to a tree.
const WATCHED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// A watched directory.
#[derive(Debug)]
pub(super) struct Watch {
    events: OwnedFd,
    inode: u64,
}

impl Watch {
    /// Starts to watch a directory; a link to one is followed.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let inode = fsx::stamp(dir).map_err(|error| error.cause)?.inode;
        inotify::add_watch(&events, dir, WATCHED)?;
        Ok(Self { events, inode })
    }

    /// Watches the entries of another directory as well, and the writing of its files.
    pub(super) fn also(&self, dir: &Path) -> io::Result<()> {
        inotify::add_watch(&self.events, dir, WATCHED | WatchFlags::CLOSE_WRITE)?;
        Ok(())
    }

    /// Returns the inode number of the directory; another one may take its place.
    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    /// Waits for an event, at most for `limit`, and takes all that are there.
    pub(super) fn wait(&self, limit: Duration) {
        let limit = Timespec::try_from(limit).ok();
        let mut fds = [PollFd::new(&self.events, PollFlags::IN)];
        let _ = poll(&mut fds, limit.as_ref());
        while rustix::io::read(&self.events, &mut [0; 4096]).is_ok_and(|n| n > 0) {}
    }
}
