//! Keeps a mount current: a file watch wakes it up, the catalog decides what changed, and the
//! kernel is told to forget.

use super::fs::ViewFs;
use super::generation::Changes;
use super::watch::Watch;
use crate::catalog::Catalog;
use crate::config::{PROJECT_FILE, ProjectConfig};
use crate::fsx::{self, Stamp};
use crate::report::with_causes;
use fuser::{INodeNo, Notifier};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How often a local workspace is checked that cannot be watched.
const UNWATCHED: Duration = Duration::from_millis(500);

/// How often directories are looked at that may be about to become jobs.
const UNSETTLED: Duration = Duration::from_millis(100);

/// For how long after a change they are looked at that often.
const SETTLING: Duration = Duration::from_secs(10);

/// Refreshes are at least this far apart, so that a burst of new jobs becomes one.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// However long a refresh takes, the next begins within this time of a change.
const PAUSE_MAX: Duration = Duration::from_millis(300);

/// A request that was in the kernel's hands during an invalidation has been answered by then.
const STRAGGLERS: Duration = Duration::from_millis(20);

/// The thread that follows the workspace.
#[derive(Debug)]
pub(super) struct Refresher {
    catalog: Catalog,
    fs: Arc<ViewFs>,
    notifier: Notifier,
    interval: Duration,
    network: bool,
    watch: Option<Watch>,
    last_change: Instant,
    /// The stamp of the project's settings when they were read.
    config_stamp: Option<Stamp>,
    /// What was logged last, so that a lasting trouble does not fill the disk.
    trouble: String,
}

impl Refresher {
    /// Starts to watch; `interval` is how often to check without being woken.
    pub(super) fn new(
        catalog: Catalog,
        fs: Arc<ViewFs>,
        notifier: Notifier,
        interval: Duration,
    ) -> Self {
        let network = fsx::network_fs(&catalog.workspace_dir()).is_some();
        let mut refresher = Self {
            catalog,
            fs,
            notifier,
            interval,
            network,
            watch: None,
            last_change: Instant::now(),
            config_stamp: None,
            trouble: String::new(),
        };
        refresher.start_watch();
        refresher.update_capacity();
        refresher
    }

    /// Follows the workspace until the process ends.
    pub(super) fn run(mut self) -> ! {
        loop {
            // At first, for what happened between the reading of the workspace and the watch.
            let begun = Instant::now();
            self.refresh();
            std::thread::sleep((begun.elapsed() * 2).clamp(PAUSE_MIN, PAUSE_MAX));
            if self.follow_workspace() {
                continue;
            }
            match &self.watch {
                Some(watch) => watch.wait(self.pause()),
                None => std::thread::sleep(self.pause()),
            }
        }
    }

    fn pause(&self) -> Duration {
        let unsettled = self.catalog.has_damaged() && self.last_change.elapsed() < SETTLING;
        match (unsettled, self.watch.is_some() || self.network) {
            (true, _) => UNSETTLED,
            (false, true) => self.interval,
            (false, false) => UNWATCHED.min(self.interval),
        }
    }

    fn refresh(&mut self) {
        let other_views = self.take_config();
        match self.catalog.refresh(fsx::time_ns(SystemTime::now())) {
            Ok(false) if !other_views => {}
            Ok(changed) => {
                if changed {
                    self.last_change = Instant::now();
                }
                let changes = self.fs.update(self.catalog.snapshot());
                tracing::debug!("{} entries changed", changes.entries.len());
                invalidate(&self.notifier, &changes);
                if !changes.contents.is_empty() {
                    std::thread::sleep(STRAGGLERS);
                    invalidate_contents(&self.notifier, &changes);
                }
            }
            Err(error) => self.warn_once(with_causes(&error)),
        }
        self.update_capacity();
    }

    /// Reads the project's settings if they changed; one that cannot be used leaves those before.
    fn take_config(&mut self) -> bool {
        let path = self.project_file();
        let stamp = fsx::stamp(&path).ok();
        if stamp == self.config_stamp {
            return false;
        }
        self.config_stamp = stamp;
        match ProjectConfig::read(&path) {
            Ok(config) => self.fs.set_config(config),
            Err(error) => {
                self.warn_once(with_causes(&error));
                false
            }
        }
    }

    fn project_file(&self) -> PathBuf {
        let workspace = self.catalog.workspace();
        workspace.project_root().join(PROJECT_FILE)
    }

    /// Watches the directory that is the workspace now, if it was another or none before; tells
    /// whether that was so, since nobody watched meanwhile.
    fn follow_workspace(&mut self) -> bool {
        let watched = self.watch.as_ref().map(Watch::inode);
        if watched == fsx::stamp(&self.workspace()).ok().map(|stamp| stamp.inode) {
            return false;
        }
        self.start_watch();
        self.watch.is_some()
    }

    fn workspace(&self) -> PathBuf {
        self.catalog.workspace_dir()
    }

    fn start_watch(&mut self) {
        self.watch = None;
        if self.network {
            return;
        }
        match Watch::new(&self.workspace()) {
            Ok(watch) => {
                let root = self.catalog.workspace().project_root();
                if let Err(error) = watch.also(root) {
                    tracing::warn!("cannot watch `{}`: {error}", root.display());
                }
                self.watch = Some(watch);
            }
            Err(error) => self.warn_once(format!(
                "cannot watch the workspace, checking it instead: {error}"
            )),
        }
    }

    fn warn_once(&mut self, trouble: String) {
        if self.trouble != trouble {
            tracing::warn!("{trouble}");
            self.trouble = trouble;
        }
    }

    fn update_capacity(&self) {
        if let Ok(capacity) = fsx::capacity(&self.workspace()) {
            self.fs.set_capacity(capacity);
        }
    }
}

/// Makes the kernel forget what is good for a moment only, until the process ends.
pub(super) fn expire(fs: &ViewFs, notifier: &Notifier) -> ! {
    loop {
        let due = fs.wait_until_due(IDLE);
        for ino in &due.listings {
            report(notifier.inval_inode(INodeNo(*ino), 0, 0));
        }
        for (parent, name) in &due.entries {
            report(notifier.inval_entry(INodeNo(*parent), OsStr::from_bytes(name)));
        }
    }
}

/// How often to look whether the kernel knows too much.
const IDLE: Duration = Duration::from_secs(1);

/// Makes the kernel forget what changed. Must not be called while handling a request.
///
/// Entries first: that waits for listings under way in their directory, whose answers would
/// otherwise be cached after the cache was dropped.
fn invalidate(notifier: &Notifier, changes: &Changes) {
    for (parent, name) in &changes.entries {
        report(notifier.inval_entry(INodeNo(*parent), OsStr::from_bytes(name)));
    }
    invalidate_contents(notifier, changes);
    for ino in &changes.attributes {
        report(notifier.inval_inode(INodeNo(*ino), -1, 0));
    }
}

fn invalidate_contents(notifier: &Notifier, changes: &Changes) {
    for ino in &changes.contents {
        report(notifier.inval_inode(INodeNo(*ino), 0, 0));
    }
}

fn report(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!("cannot invalidate: {error}");
    }
}
