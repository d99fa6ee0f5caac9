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

use crate::catalog::{JobIdx, Snapshot};
use crate::fsx::{Capacity, TimeNs};
use crate::view::{HASH_BITS, Node, NodeIdx, Tree, default_paths, other_spelling, path_hash};
use lru::LruCache;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Inode number of the root.
pub const ROOT: u64 = 1;

/// Marks the inode numbers of `id/<id>`; the other 62 bits are the first of the id.
const ID_BIT: u64 = 1 << 62;

/// Marks the inode numbers of other spellings of a name.
const ALIAS_BIT: u64 = 1 << HASH_BITS;

/// Where to continue a listing: after `.`, after `..`, at the end; else after the entry whose
/// inode number it is.
const AFTER_DOT: u64 = 1;
const AFTER_DOT_DOT: u64 = 2;
const AT_END: u64 = i64::MAX as u64;

/// Listings under way that keep their generation.
const LISTINGS_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

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
}

/// What the kernel must forget when a generation replaces another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names that appeared or vanished, each in the directory given by its inode number.
    pub entries: BTreeSet<(u64, Box<[u8]>)>,
    /// Directories whose listing changed and links whose target changed.
    pub contents: BTreeSet<u64>,
    /// Inodes of which only the attributes changed.
    pub attributes: BTreeSet<u64>,
}

/// One state of everything that is served.
#[derive(Debug)]
struct Generation {
    snapshot: Arc<Snapshot>,
    view: Tree,
    newest: TimeNs,
}

/// The directories above the trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Top {
    Root,
    View,
    Id,
}

/// A resolved inode number.
#[derive(Clone, Copy, Debug)]
enum Inode {
    Root,
    IdDir,
    IdLink(JobIdx),
    InView(NodeIdx),
    Alias,
}

/// The file system of one project.
#[derive(Debug)]
pub struct ViewFs {
    /// The workspace directory and a slash.
    target_prefix: Box<[u8]>,
    /// What an empty directory shows as its time.
    started: TimeNs,
    current: RwLock<Arc<Generation>>,
    listings: Mutex<LruCache<u64, Arc<Generation>>>,
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
            listings: Mutex::new(LruCache::new(LISTINGS_MAX)),
            aliases: Mutex::new(LruCache::new(ALIASES_MAX)),
            capacity: Mutex::default(),
        }
    }

    /// Serves another snapshot from now on; returns what changed.
    pub fn update(&self, snapshot: Arc<Snapshot>) -> Changes {
        let new = Arc::new(Generation::new(snapshot, self.started));
        let old = self.current();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
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
    /// A listing shows one generation to its end, even if another has taken over meanwhile.
    pub fn list(
        &self,
        ino: u64,
        offset: u64,
        mut emit: impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        if offset == AT_END {
            return Ok(());
        }
        let current = self.current();
        let kept = if offset == 0 {
            None
        } else {
            locked(&self.listings).get(&ino).cloned()
        };
        let from_kept = kept.map(|generation| {
            (
                self.list_generation(&generation, ino, offset, &mut emit),
                generation,
            )
        });
        let (result, generation) = match from_kept {
            Some((Ok(full), generation)) => (Ok(full), generation),
            _ => (
                self.list_generation(&current, ino, offset, &mut emit),
                current,
            ),
        };
        if result? {
            locked(&self.listings).put(ino, generation);
        } else {
            locked(&self.listings).pop(&ino);
        }
        Ok(())
    }

    /// Returns whether `emit` had enough.
    fn list_generation(
        &self,
        generation: &Generation,
        ino: u64,
        offset: u64,
        emit: &mut impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<bool, FsError> {
        let inode = self.resolve(generation, ino)?;
        let first = self.position(generation, inode, offset)?;
        let own = self.attributes_of(generation, ino, inode);
        let above = self.attributes_of_parent(generation, inode);
        let dots = [(".", own, AFTER_DOT), ("..", above, AFTER_DOT_DOT)];
        for (name, attributes, next) in dots.into_iter().skip(offset.min(2) as usize) {
            if emit(DirEntry {
                name: name.as_bytes(),
                attributes,
                next,
            }) {
                return Ok(true);
            }
        }
        let n_entries = generation.n_entries(inode);
        for position in first..n_entries {
            let full = self.with_entry(generation, inode, position, |name, attributes| {
                let next = if position + 1 == n_entries {
                    AT_END
                } else {
                    attributes.ino
                };
                emit(DirEntry {
                    name,
                    attributes,
                    next,
                })
            });
            if full {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Turns an offset into the position of the next entry.
    fn position(&self, generation: &Generation, inode: Inode, offset: u64) -> Result<u32, FsError> {
        let after = match (inode, offset) {
            (Inode::IdLink(_) | Inode::Alias, _) => return Err(FsError::NotADirectory),
            (Inode::InView(node), _) if matches!(generation.view.node(node), Node::Leaf(_)) => {
                return Err(FsError::NotADirectory);
            }
            (_, ..=AFTER_DOT_DOT) => return Ok(0),
            (Inode::Root, _) => Top::LISTED
                .iter()
                .position(|top| top.ino() == offset)
                .map(|i| i as u32),
            (Inode::IdDir, _) => generation.job_of_ino(offset),
            (Inode::InView(dir), _) => {
                let entry = generation
                    .view
                    .find(offset)
                    .filter(|&entry| generation.view.parent(entry) == dir);
                entry.map(|entry| entry - generation.view.entries(dir).start)
            }
        };
        after.map(|position| position + 1).ok_or(FsError::Stale)
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
            size_bytes: (self.target_prefix.len() + crate::view::ID_LEN) as u64,
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
        let complete = text.len() == crate::view::ID_LEN;
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

impl Top {
    /// The entries of the root in the order of listing.
    const LISTED: [Self; 2] = [Self::View, Self::Id];

    fn name(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::View => "view",
            Self::Id => "id",
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        Self::LISTED
            .into_iter()
            .find(|top| top.name().as_bytes() == name)
    }

    fn ino(self) -> u64 {
        match self {
            Self::Root => ROOT,
            Self::View | Self::Id => path_hash(ROOT, self.name().as_bytes()),
        }
    }
}

impl Generation {
    fn new(snapshot: Arc<Snapshot>, started: TimeNs) -> Self {
        let modified = |job: JobIdx| snapshot.jobs()[job as usize].modified;
        let view = Tree::build(
            default_paths(&snapshot, &snapshot.all()),
            Top::View.ino(),
            modified,
        );
        let newest = snapshot
            .jobs()
            .iter()
            .map(|job| job.modified)
            .max()
            .unwrap_or(started);
        Self {
            view,
            newest,
            snapshot,
        }
    }

    fn id_ino(&self, job: JobIdx) -> u64 {
        ID_BIT | self.snapshot.jobs()[job as usize].id.leading_u64() >> 2
    }

    fn job_of_ino(&self, ino: u64) -> Option<JobIdx> {
        let jobs = self.snapshot.jobs();
        let wanted = ino & !ID_BIT;
        let job = jobs.partition_point(|job| job.id.leading_u64() >> 2 < wanted) as JobIdx;
        ((job as usize) < jobs.len() && self.id_ino(job) == ino).then_some(job)
    }

    fn n_entries(&self, inode: Inode) -> u32 {
        match inode {
            Inode::Root => Top::LISTED.len() as u32,
            Inode::IdDir => self.snapshot.jobs().len() as u32,
            Inode::InView(node) => self.view.entries(node).len() as u32,
            Inode::IdLink(_) | Inode::Alias => 0,
        }
    }

    fn changes(&self, new: &Self) -> Changes {
        let mut changes = Changes::default();
        self.add_view_changes(new, &mut changes);
        self.add_id_changes(new, &mut changes);
        if self.newest != new.newest {
            changes.attributes.extend([ROOT, Top::Id.ino()]);
        }
        changes
    }

    fn add_view_changes(&self, new: &Self, changes: &mut Changes) {
        for node in 0..self.view.len() as NodeIdx {
            let ino = self.view.hash(node);
            match new.view.find(ino) {
                Some(now) => self.add_node_change(node, new, now, changes),
                None => changes.add_entry(&self.view, node, &new.view),
            }
        }
        for node in 1..new.view.len() as NodeIdx {
            if self.view.find(new.view.hash(node)).is_none() {
                changes.add_entry(&new.view, node, &self.view);
            }
        }
    }

    fn add_node_change(&self, node: NodeIdx, new: &Self, now: NodeIdx, changes: &mut Changes) {
        let ino = self.view.hash(node);
        let job = |generation: &Self, job: JobIdx| generation.snapshot.jobs()[job as usize];
        match (self.view.node(node), new.view.node(now)) {
            (Node::Leaf(before), Node::Leaf(after)) if job(self, before) == job(new, after) => {}
            (Node::Leaf(_), Node::Leaf(_)) => {
                changes.contents.insert(ino);
            }
            (Node::Dir { newest: before }, Node::Dir { newest: after }) => {
                // Also another order: a reader half-way through would skip or repeat entries.
                if !self
                    .view
                    .entries(node)
                    .map(|entry| self.view.hash(entry))
                    .eq(new.view.entries(now).map(|entry| new.view.hash(entry)))
                {
                    changes.contents.insert(ino);
                }
                if before.map(|b| job(self, b).modified) != after.map(|a| job(new, a).modified) {
                    changes.attributes.insert(ino);
                }
            }
            _ => changes.add_entry(&self.view, node, &new.view),
        }
    }

    fn add_id_changes(&self, new: &Self, changes: &mut Changes) {
        let mut add = |from: &Snapshot, to: &Snapshot| {
            for job in from.jobs().iter().filter(|job| to.find(&job.id).is_none()) {
                changes
                    .entries
                    .insert((Top::Id.ino(), job.id.to_string().into_bytes().into()));
                changes.contents.insert(Top::Id.ino());
            }
        };
        add(&self.snapshot, &new.snapshot);
        add(&new.snapshot, &self.snapshot);
    }
}

impl Changes {
    /// Notes a node of `tree` that `other` lacks, unless its directory is lacking too: an entry
    /// takes with it all below it.
    fn add_entry(&mut self, tree: &Tree, node: NodeIdx, other: &Tree) {
        let parent = tree.hash(tree.parent(node));
        if other.find(parent).is_some() {
            self.entries.insert((parent, tree.name(node).into()));
        }
    }

    /// Tells whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.contents.is_empty() && self.attributes.is_empty()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
