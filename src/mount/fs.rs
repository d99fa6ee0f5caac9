//! The file system, without a kernel.
//!
//! ```text
//! ROOT
//! ├── view/…/job   the default hierarchy
//! └── id/<id>      every job
//! ```
//!
//! Everything is served from memory, from one immutable generation at a time, so no request waits
//! for a disk or for a lock that is held longer than a moment. An inode number is a function of
//! the path; so it stays valid when a new generation takes over, and needs no table.

use super::cookie::{AT_END, After, Cookie, Position};
use super::generation::{Changes, Generation, ID_BIT, Inode, ROOT, Top};
use crate::catalog::{JobIdx, Snapshot};
use crate::fsx::{Capacity, TimeNs};
use crate::view::{HASH_BITS, ID_LEN, Node, NodeIdx, other_spelling, path_hash};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Marks the inode numbers of other spellings of a name.
const ALIAS_BIT: u64 = 1 << HASH_BITS;

/// Generations that listings under way may keep besides the current one.
const KEPT_GENERATIONS_MAX: NonZeroUsize = NonZeroUsize::new(3).expect("not zero");

/// A listing that was not continued for so long keeps no generation.
const LISTING_IDLE_MAX: Duration = Duration::from_secs(60);

/// Other spellings that are remembered.
const ALIASES_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Shorter beginnings of ids are not looked up.
const ID_PREFIX_MIN: usize = 4;

/// Linux's `NAME_MAX`.
const NAME_BYTES_MAX: usize = 255;

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
    /// A `readlink` of a directory.
    #[error("not a link")]
    NotALink,
    /// The name is longer than any file name.
    #[error("the name is too long")]
    NameTooLong,
}

/// How long the kernel may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is invalidated.
    UntilChanged,
    /// A moment, since nothing will tell when it changes.
    Short,
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
}

/// What `stat` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Inode number.
    pub ino: u64,
    /// Directory or link.
    pub kind: Kind,
    /// When the job, or the newest job below, was created.
    pub modified: TimeNs,
    /// Bytes of a link's target.
    pub size_bytes: u64,
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

/// The file system of one project.
#[derive(Debug)]
pub struct ViewFs {
    /// The workspace directory and a slash.
    target_prefix: Box<[u8]>,
    /// What an empty directory shows as its time.
    started: TimeNs,
    current: RwLock<Arc<Generation>>,
    /// Generations that listings under way show, by tag, and when one was last continued.
    kept: Mutex<LruCache<u8, (Arc<Generation>, Instant)>>,
    /// Inode numbers of other spellings, and the shown names.
    aliases: Mutex<LruCache<u64, Box<[u8]>>>,
    capacity: Mutex<Capacity>,
}

impl ViewFs {
    /// Makes the file system of a snapshot. Links lead into `workspace_dir`, which must be
    /// absolute.
    pub fn new(snapshot: Arc<Snapshot>, workspace_dir: &Path, started: TimeNs) -> Self {
        let mut target_prefix = workspace_dir.as_os_str().as_bytes().to_vec();
        target_prefix.push(b'/');
        Self {
            target_prefix: target_prefix.into(),
            started,
            current: RwLock::new(Arc::new(Generation::new(snapshot, started))),
            kept: Mutex::new(LruCache::new(KEPT_GENERATIONS_MAX)),
            aliases: Mutex::new(LruCache::new(ALIASES_MAX)),
            capacity: Mutex::default(),
        }
    }

    /// Serves another snapshot from now on; returns what changed.
    pub fn update(&self, snapshot: Arc<Snapshot>) -> Changes {
        let new = Arc::new(Generation::new(snapshot, self.started));
        let old = self.current();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
        let mut kept = locked(&self.kept);
        let idle = |(_, used): &(_, Instant)| used.elapsed() > LISTING_IDLE_MAX;
        while kept.peek_lru().is_some_and(|(_, listing)| idle(listing)) {
            kept.pop_lru();
        }
        drop(kept);
        old.changes(&new)
    }

    /// Returns what `statfs` shows.
    pub fn capacity(&self) -> Capacity {
        *locked(&self.capacity)
    }

    /// Sets what `statfs` shows.
    pub fn set_capacity(&self, capacity: Capacity) {
        *locked(&self.capacity) = capacity;
    }

    /// Finds an entry of a directory.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<(Attributes, Lifetime), FsError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(FsError::NameTooLong);
        }
        let generation = self.current();
        let not_found = FsError::NotFound(Lifetime::UntilChanged);
        let found = match self.resolve(&generation, parent)? {
            Inode::Root => Top::named(name).map(|top| {
                (
                    self.top_attributes(&generation, top),
                    Lifetime::UntilChanged,
                )
            }),
            Inode::IdDir => return self.lookup_id(&generation, name),
            Inode::InView(node) => return self.lookup_in_view(&generation, node, name),
            Inode::IdLink(_) | Inode::Alias => return Err(FsError::NotADirectory),
        };
        found.ok_or(not_found)
    }

    /// Returns what `stat` shows of an inode.
    pub fn attributes(&self, ino: u64) -> Result<Attributes, FsError> {
        let generation = self.current();
        let inode = self.resolve(&generation, ino)?;
        Ok(self.attributes_of(&generation, ino, inode))
    }

    /// Returns the target of a link.
    pub fn readlink(&self, ino: u64) -> Result<Vec<u8>, FsError> {
        let generation = self.current();
        let job = match self.resolve(&generation, ino)? {
            Inode::IdLink(job) => job,
            Inode::InView(node) => match generation.view.node(node) {
                Node::Leaf(job) => job,
                Node::Dir { .. } => return Err(FsError::NotALink),
            },
            Inode::Alias => {
                return locked(&self.aliases)
                    .get(&ino)
                    .map(|name| name.to_vec())
                    .ok_or(FsError::Stale);
            }
            Inode::Root | Inode::IdDir => return Err(FsError::NotALink),
        };
        let id = generation.snapshot.jobs()[job as usize].id.to_string();
        Ok([&*self.target_prefix, id.as_bytes()].concat())
    }

    /// Lists a directory from `offset` (0, or the `next` of an entry) until `emit` says that it
    /// has enough; that entry is not counted as listed.
    ///
    /// A listing shows one generation to its end, even if others have taken over meanwhile.
    pub fn list(
        &self,
        ino: u64,
        offset: u64,
        mut emit: impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        let cookie = match Cookie::from_offset(offset) {
            Position::End => return Ok(()),
            Position::At(cookie) => cookie,
        };
        let current = self.current();
        let shown = match cookie.after {
            After::Nothing => Arc::clone(&current),
            _ => self.kept_generation(cookie.tag, &current),
        };
        // The kernel was told to forget what an older generation had; it must not learn it anew.
        let lifetime = if Arc::ptr_eq(&shown, &current) {
            Lifetime::UntilChanged
        } else {
            Lifetime::Over
        };
        if self.list_generation(&shown, ino, cookie.after, lifetime, &mut emit)? {
            locked(&self.kept).put(shown.tag(), (shown, Instant::now()));
        }
        Ok(())
    }

    /// Returns the generation a listing began with or, if nobody kept it, the current one, in
    /// which the listing goes on after the same entry.
    fn kept_generation(&self, tag: u8, current: &Arc<Generation>) -> Arc<Generation> {
        if tag == current.tag() {
            return Arc::clone(current);
        }
        let mut kept = locked(&self.kept);
        kept.get(&tag).map_or_else(
            || Arc::clone(current),
            |(generation, _)| Arc::clone(generation),
        )
    }

    /// Returns whether `emit` had enough.
    fn list_generation(
        &self,
        generation: &Generation,
        ino: u64,
        after: After,
        lifetime: Lifetime,
        emit: &mut impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<bool, FsError> {
        let inode = self.resolve(generation, ino)?;
        let (n_dots, first) = generation.position(inode, after)?;
        let next = |after| {
            Cookie {
                tag: generation.tag(),
                after,
            }
            .offset()
        };
        let own = self.attributes_of(generation, ino, inode);
        let above = self.attributes_of_parent(generation, inode);
        let dots = [(".", own, After::Dot), ("..", above, After::DotDot)];
        for (name, attributes, after) in dots.into_iter().skip(n_dots) {
            if emit(DirEntry {
                name: name.as_bytes(),
                attributes,
                next: next(after),
                lifetime,
            }) {
                return Ok(true);
            }
        }
        let n_entries = generation.n_entries(inode);
        for position in first..n_entries {
            let is_last = position + 1 == n_entries;
            let full = self.with_entry(generation, inode, position, |name, attributes| {
                let next = if is_last {
                    AT_END
                } else {
                    next(generation.after(inode, position))
                };
                emit(DirEntry {
                    name,
                    attributes,
                    next,
                    lifetime,
                })
            });
            if full {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn with_entry<T>(
        &self,
        generation: &Generation,
        dir: Inode,
        position: u32,
        then: impl FnOnce(&[u8], Attributes) -> T,
    ) -> T {
        match dir {
            Inode::IdDir => {
                let id = generation.snapshot.jobs()[position as usize].id.to_string();
                then(
                    id.as_bytes(),
                    self.attributes_of(
                        generation,
                        generation.id_ino(position),
                        Inode::IdLink(position),
                    ),
                )
            }
            Inode::InView(dir) => {
                let entry = generation.view.entries(dir).start + position;
                let attributes = self.attributes_of(
                    generation,
                    generation.view.hash(entry),
                    Inode::InView(entry),
                );
                then(generation.view.name(entry), attributes)
            }
            Inode::Root | Inode::IdLink(_) | Inode::Alias => {
                let top = Top::LISTED[position as usize];
                then(top.name().as_bytes(), self.top_attributes(generation, top))
            }
        }
    }

    fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn resolve(&self, generation: &Generation, ino: u64) -> Result<Inode, FsError> {
        if ino == ROOT {
            return Ok(Inode::Root);
        }
        if ino & ID_BIT != 0 {
            return generation
                .job_of_ino(ino)
                .map(Inode::IdLink)
                .ok_or(FsError::Stale);
        }
        if ino & ALIAS_BIT != 0 {
            return if locked(&self.aliases).contains(&ino) {
                Ok(Inode::Alias)
            } else {
                Err(FsError::Stale)
            };
        }
        if ino == Top::Id.ino() {
            return Ok(Inode::IdDir);
        }
        generation
            .view
            .find(ino)
            .map(Inode::InView)
            .ok_or(FsError::Stale)
    }

    fn top_attributes(&self, generation: &Generation, top: Top) -> Attributes {
        Attributes {
            ino: top.ino(),
            kind: Kind::Dir,
            modified: generation.newest,
            size_bytes: 0,
        }
    }

    fn attributes_of(&self, generation: &Generation, ino: u64, inode: Inode) -> Attributes {
        let jobs = generation.snapshot.jobs();
        let link = |job: JobIdx| Attributes {
            ino,
            kind: Kind::Link,
            modified: jobs[job as usize].modified,
            size_bytes: (self.target_prefix.len() + ID_LEN) as u64,
        };
        let dir = |modified| Attributes {
            ino,
            kind: Kind::Dir,
            modified,
            size_bytes: 0,
        };
        match inode {
            Inode::Root | Inode::IdDir => dir(generation.newest),
            Inode::IdLink(job) => link(job),
            Inode::InView(node) => match generation.view.node(node) {
                Node::Leaf(job) => link(job),
                Node::Dir { newest: Some(job) } => dir(jobs[job as usize].modified),
                Node::Dir { newest: None } => dir(self.started),
            },
            Inode::Alias => {
                let size_bytes = locked(&self.aliases)
                    .peek(&ino)
                    .map_or(0, |name| name.len() as u64);
                Attributes {
                    ino,
                    kind: Kind::Link,
                    modified: self.started,
                    size_bytes,
                }
            }
        }
    }

    fn attributes_of_parent(&self, generation: &Generation, inode: Inode) -> Attributes {
        match inode {
            Inode::InView(node) if node != 0 => {
                let parent = generation.view.parent(node);
                self.attributes_of(
                    generation,
                    generation.view.hash(parent),
                    Inode::InView(parent),
                )
            }
            _ => self.top_attributes(generation, Top::Root),
        }
    }

    fn lookup_in_view(
        &self,
        generation: &Generation,
        dir: NodeIdx,
        name: &[u8],
    ) -> Result<(Attributes, Lifetime), FsError> {
        let view = &generation.view;
        if matches!(view.node(dir), Node::Leaf(_)) {
            return Err(FsError::NotADirectory);
        }
        if let Some(entry) = view.entry(dir, name) {
            let attributes = self.attributes_of(generation, view.hash(entry), Inode::InView(entry));
            return Ok((attributes, Lifetime::UntilChanged));
        }
        let Some(shown) = other_spelling(name) else {
            return Err(FsError::NotFound(Lifetime::UntilChanged));
        };
        if view.entry(dir, &shown).is_none() {
            return Err(FsError::NotFound(Lifetime::Short));
        }
        let ino = ALIAS_BIT | path_hash(view.hash(dir), name);
        locked(&self.aliases).put(ino, shown);
        Ok((
            self.attributes_of(generation, ino, Inode::Alias),
            Lifetime::Short,
        ))
    }

    /// Finds a job by its id, or by a beginning of it that no other job has.
    fn lookup_id(
        &self,
        generation: &Generation,
        name: &[u8],
    ) -> Result<(Attributes, Lifetime), FsError> {
        let not_found = |lifetime| Err(FsError::NotFound(lifetime));
        let is_prefix = |text: &&str| text.len() >= ID_PREFIX_MIN;
        let Some(text) = std::str::from_utf8(name).ok().filter(is_prefix) else {
            return not_found(Lifetime::UntilChanged);
        };
        let Some(jobs) = generation.snapshot.find_prefix(text) else {
            return not_found(Lifetime::UntilChanged);
        };
        let complete = text.len() == ID_LEN;
        let lifetime = if complete {
            Lifetime::UntilChanged
        } else {
            Lifetime::Short
        };
        if jobs.len() != 1 {
            return not_found(lifetime);
        }
        let ino = generation.id_ino(jobs.start);
        Ok((
            self.attributes_of(generation, ino, Inode::IdLink(jobs.start)),
            lifetime,
        ))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
