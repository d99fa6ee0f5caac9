//! The file system, without a kernel.
//!
//! ```text
//! ROOT
//! ├── view/…/job     the default hierarchy
//! ├── NAME/…/job     named views
//! ├── status/…/job   by operation and state
//! ├── label/…/job    by label
//! ├── id/<id>        every job
//! └── by/…/job       any parameter first
//! ```
//!
//! Trees are served from memory, from one immutable generation at a time. An inode number is a
//! function of the path; so it stays valid when a new generation takes over, and needs no table.
//! Everything else is found when it is asked for ([`super::places`]) and is good for a moment.

use super::cookie::{AT_END, After, Cookie, Position};
use super::facts::{Content, read_at};
use super::generation::{Changes, Generation, ID_BIT, Inode, ROOT};
use super::nodes::{Above, Nodes, PASSING_BIT, PassingNode};
use super::places::{At, Finder, Found, Listed, ListedKind, Place, io_error};
use super::shown::Served;
use super::tops::{Top, TopKind};
use crate::catalog::{JobIdx, Snapshot};
use crate::config::{LeafStyle, ProjectConfig};
use crate::fsx::{Capacity, Details, FileType, Stamp, TimeNs};
use crate::view::{HASH_BITS, ID_LEN, Node, NodeIdx, other_spelling, path_hash};
use crate::workflow::Recorded;
use lru::LruCache;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Marks the inode numbers of other spellings of a name.
const ALIAS_BIT: u64 = 1 << HASH_BITS;

/// Generations that listings under way may keep besides the current one.
const KEPT_GENERATIONS_MAX: NonZeroUsize = NonZeroUsize::new(3).expect("not zero");

/// A listing that was not continued for so long keeps no generation.
const LISTING_IDLE_MAX: Duration = Duration::from_secs(60);

/// Listings under way of what stands in no tree.
const KEPT_LISTINGS_MAX: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");

/// Other spellings that are remembered.
const ALIASES_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Files about jobs that are kept for a moment.
const CONTENTS_MAX: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");

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
    fn dir(ino: u64, modified: TimeNs) -> Self {
        Self {
            ino,
            kind: Kind::Dir,
            modified,
            size_bytes: 0,
            blocks: 0,
            owner: None,
        }
    }

    fn link(ino: u64, modified: TimeNs, size_bytes: u64) -> Self {
        Self {
            kind: Kind::Link,
            size_bytes,
            ..Self::dir(ino, modified)
        }
    }

    fn file(ino: u64, modified: TimeNs, size_bytes: u64) -> Self {
        Self {
            kind: Kind::File,
            size_bytes,
            blocks: size_bytes.div_ceil(512),
            ..Self::dir(ino, modified)
        }
    }

    fn real(ino: u64, details: &Details) -> Self {
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

/// An open file.
#[derive(Debug)]
pub enum OpenFile {
    /// One about jobs, as it was when it was opened.
    Fact(Arc<Opaque>),
    /// One in a job's directory.
    Real {
        /// The file.
        file: File,
        /// Whether it is as it was when it was last opened.
        unchanged: bool,
    },
}

/// The bytes of a file about jobs.
#[derive(Debug)]
pub struct Opaque(Content);

impl OpenFile {
    /// Reads at most `size_bytes` from `offset`; fewer only at the end.
    pub fn read(&self, offset: u64, size_bytes: usize) -> Result<Vec<u8>, FsError> {
        let read = match self {
            Self::Fact(content) => content.0.read(offset, size_bytes),
            Self::Real { file, .. } => read_at(file, offset, size_bytes),
        };
        read.map_err(|error| FsError::Io(error.raw_os_error()))
    }
}

/// What the kernel must forget after a moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Directories whose listing is too old.
    pub listings: Vec<u64>,
    /// Entries of which there are too many.
    pub entries: Vec<(u64, Box<[u8]>)>,
}

/// The file system of one project.
#[derive(Debug)]
pub struct ViewFs {
    served: RwLock<Arc<ServedNow>>,
    /// The workspace directory and a slash.
    target_prefix: Box<[u8]>,
    /// What an empty directory shows as its time.
    started: TimeNs,
    finder: Finder,
    current: RwLock<Arc<Generation>>,
    /// Generations that listings under way show, by tag, and when one was last continued.
    kept: Mutex<LruCache<u8, (Arc<Generation>, Instant)>>,
    /// Inode numbers of other spellings, and the shown names.
    aliases: Mutex<LruCache<u64, Box<[u8]>>>,
    nodes: Mutex<Nodes>,
    root: Arc<PassingNode>,
    listings: Mutex<LruCache<ListingKey, Arc<[Listed]>>>,
    contents: Mutex<LruCache<u64, (Instant, Arc<Opaque>)>>,
    /// The stamps of files in jobs' directories when they were last opened.
    opened: Mutex<LruCache<u64, Stamp>>,
    listed: Mutex<RecentListings>,
    listed_some: Condvar,
    capacity: Mutex<Capacity>,
}

/// A directory and the tag of one listing of it.
type ListingKey = (u64, u8);

/// Directories that were listed and that the kernel must list again after a moment.
#[derive(Debug, Default)]
struct RecentListings {
    queue: VecDeque<(Instant, u64)>,
    queued: HashSet<u64>,
}

/// What is served, and where labels and states come from.
#[derive(Debug)]
struct ServedNow {
    served: Served,
    marks: Recorded,
}

impl ServedNow {
    fn new(served: Served) -> Arc<Self> {
        Arc::new(Self {
            marks: served.marks(),
            served,
        })
    }
}

/// Files in jobs' directories whose stamps are remembered.
const OPENED_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

impl ViewFs {
    /// Makes the file system of a snapshot.
    pub fn new(snapshot: Arc<Snapshot>, served: Served, started: TimeNs) -> Self {
        let mut target_prefix = served.workspace.dir().as_os_str().as_bytes().to_vec();
        target_prefix.push(b'/');
        let finder = Finder::new(&served);
        let serial = finder.next_version();
        let first = Generation::new(serial, snapshot, &served, &finder.live, started);
        Self {
            target_prefix: target_prefix.into(),
            started,
            current: RwLock::new(Arc::new(first)),
            kept: Mutex::new(LruCache::new(KEPT_GENERATIONS_MAX)),
            aliases: Mutex::new(LruCache::new(ALIASES_MAX)),
            nodes: Mutex::default(),
            root: Arc::new(PassingNode {
                ino: ROOT,
                above: Above::Nothing,
                name: Box::default(),
                real: 0,
                memo: Mutex::default(),
            }),
            listings: Mutex::new(LruCache::new(KEPT_LISTINGS_MAX)),
            contents: Mutex::new(LruCache::new(CONTENTS_MAX)),
            opened: Mutex::new(LruCache::new(OPENED_MAX)),
            listed: Mutex::default(),
            listed_some: Condvar::new(),
            capacity: Mutex::default(),
            served: RwLock::new(ServedNow::new(served)),
            finder,
        }
    }

    /// Serves another snapshot from now on; returns what changed.
    pub fn update(&self, snapshot: Arc<Snapshot>) -> Changes {
        let now = self.served_now();
        let serial = self.finder.next_version();
        let live = &self.finder.live;
        let new = Generation::new(serial, snapshot, &now.served, live, self.started);
        let new = Arc::new(new);
        let old = self.current();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
        locked(&self.nodes).drop_places();
        let mut kept = locked(&self.kept);
        let idle = |(_, used): &(_, Instant)| used.elapsed() > LISTING_IDLE_MAX;
        while kept.peek_lru().is_some_and(|(_, listing)| idle(listing)) {
            kept.pop_lru();
        }
        drop(kept);
        old.changes(&new)
    }

    /// Takes other views and labels, which [`Self::update`] shows; tells whether they are others.
    pub fn set_config(&self, config: ProjectConfig) -> bool {
        if self.served_now().served.config == config {
            return false;
        }
        let served = Served {
            config,
            ..self.served_now().served.clone()
        };
        let mut current = self.served.write().unwrap_or_else(PoisonError::into_inner);
        *current = ServedNow::new(served);
        true
    }

    /// Returns the names and reasons of views that cannot be shown.
    pub fn broken_views(&self) -> Vec<(String, String)> {
        let generation = self.current();
        let broken = generation.tops.iter().filter_map(|top| match &top.kind {
            TopKind::Broken(reason) => Some((
                String::from_utf8_lossy(&top.name).into_owned(),
                reason.to_string(),
            )),
            _ => None,
        });
        broken.collect()
    }

    fn served_now(&self) -> Arc<ServedNow> {
        Arc::clone(&self.served.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns what `statfs` shows.
    pub fn capacity(&self) -> Capacity {
        *locked(&self.capacity)
    }

    /// Sets what `statfs` shows.
    pub fn set_capacity(&self, capacity: Capacity) {
        *locked(&self.capacity) = capacity;
    }

    /// Finds an entry of a directory. One that stands in no tree is known until it is forgotten.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<(Attributes, Lifetime), FsError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(FsError::NameTooLong);
        }
        let generation = self.current();
        match self.resolve(&generation, parent)? {
            Inode::Root => match generation.top(name) {
                Some(top) if top.kind.is_lasting() => Ok((
                    self.top_attributes(&generation, top),
                    Lifetime::UntilChanged,
                )),
                _ => self.lookup_passing(&generation, &Above::Lasting(parent), name),
            },
            Inode::Ids => self.lookup_id(&generation, parent, name),
            Inode::InTree(top, node) => self.lookup_in_tree(&generation, top, node, name),
            Inode::Passing(node) => self.lookup_passing(&generation, &Above::Node(node), name),
            Inode::IdLink(_) | Inode::Alias => Err(FsError::NotADirectory),
        }
    }

    /// Takes lookups of an inode back.
    pub fn forget(&self, ino: u64, lookups: u64) {
        if ino & PASSING_BIT != 0 {
            locked(&self.nodes).forget(ino, lookups);
        }
    }

    /// Returns how many inodes the kernel knows that stand in no tree.
    pub fn n_passing(&self) -> usize {
        locked(&self.nodes).len()
    }

    /// Returns what `stat` shows of an inode.
    pub fn attributes(&self, ino: u64) -> Result<(Attributes, Lifetime), FsError> {
        let generation = self.current();
        let inode = self.resolve(&generation, ino)?;
        let lifetime = match inode {
            Inode::Passing(_) => Lifetime::Moment,
            _ => Lifetime::UntilChanged,
        };
        Ok((self.attributes_of(&generation, ino, &inode)?, lifetime))
    }

    /// Returns the target of a link.
    pub fn readlink(&self, ino: u64) -> Result<Vec<u8>, FsError> {
        let generation = self.current();
        let job = match self.resolve(&generation, ino)? {
            Inode::IdLink(job) => job,
            Inode::InTree(top, node) => match self.link_at(&generation, top, node) {
                Some(job) => job,
                None => return Err(FsError::NotALink),
            },
            Inode::Alias => {
                return locked(&self.aliases)
                    .get(&ino)
                    .map(|name| name.to_vec())
                    .ok_or(FsError::Stale);
            }
            Inode::Passing(node) => return self.read_real_link(&generation, &node),
            Inode::Root | Inode::Ids => return Err(FsError::NotALink),
        };
        let id = generation.snapshot.jobs()[job as usize].id.to_string();
        Ok([&*self.target_prefix, id.as_bytes()].concat())
    }

    fn read_real_link(
        &self,
        generation: &Arc<Generation>,
        node: &PassingNode,
    ) -> Result<Vec<u8>, FsError> {
        let now = self.served_now();
        let at = self.at(generation, &now);
        match &*at.place_of(node)?.place {
            Place::InJob(job, path) => {
                let text = at.job_dir(*job)?.read_link(path);
                let text = text.map_err(|error| io_error(&error))?;
                Ok(text.into_os_string().into_encoded_bytes())
            }
            _ => Err(FsError::NotALink),
        }
    }

    /// Returns the job of a node that is a link.
    fn link_at(&self, generation: &Generation, top: usize, node: NodeIdx) -> Option<JobIdx> {
        let tree = generation.tree(top);
        match tree.tree.node(node) {
            Node::Leaf(job) if tree.leaf != LeafStyle::Dir => Some(job),
            _ => None,
        }
    }

    /// Opens a file.
    pub fn open(&self, ino: u64) -> Result<OpenFile, FsError> {
        let generation = self.current();
        let Inode::Passing(node) = self.resolve(&generation, ino)? else {
            return Err(FsError::IsADirectory);
        };
        let now = self.served_now();
        let at = self.at(&generation, &now);
        let place = at.place_of(&node)?.place;
        match &*place {
            Place::Fact(..) | Place::Text(_) => {
                // Not another than `stat` showed a moment before.
                let age_max = now.served.moment * 2;
                Ok(OpenFile::Fact(self.content(&at, ino, &place, age_max)?))
            }
            Place::InJob(job, path) => {
                let dir = at.job_dir(*job)?;
                let file = dir.open_file(path).map_err(|error| io_error(&error))?;
                let stamp = dir.details(path).map(|details| details.stamp).ok();
                let unchanged = match stamp {
                    Some(stamp) => locked(&self.opened).put(ino, stamp) == Some(stamp),
                    None => false,
                };
                Ok(OpenFile::Real { file, unchanged })
            }
            _ => Err(FsError::IsADirectory),
        }
    }

    fn content(
        &self,
        at: &At<'_>,
        ino: u64,
        place: &Place,
        age_max: Duration,
    ) -> Result<Arc<Opaque>, FsError> {
        if let Some((made, content)) = locked(&self.contents).get(&ino)
            && made.elapsed() < age_max
        {
            return Ok(Arc::clone(content));
        }
        let made = Instant::now();
        let content = match place {
            Place::Fact(fact, jobs) => fact.content(at, jobs)?,
            Place::Text(text) => Content::of(format!("{text}\n").into_bytes()),
            _ => return Err(FsError::IsADirectory),
        };
        let content = Arc::new(Opaque(content));
        locked(&self.contents).put(ino, (made, Arc::clone(&content)));
        Ok(content)
    }

    /// Returns the extended attributes of a directory below which there is one job: names and
    /// values.
    pub fn xattrs(&self, ino: u64) -> Result<Vec<(String, Vec<u8>)>, FsError> {
        let generation = self.current();
        let now = self.served_now();
        let at = self.at(&generation, &now);
        let place = match self.resolve(&generation, ino)? {
            Inode::Passing(node) => at.place_of(&node)?.place,
            Inode::InTree(..) => at.lasting(ino)?.place,
            _ => return Ok(Vec::new()),
        };
        match at.jobs(&place)? {
            Some(jobs) if jobs.len() == 1 => super::xattrs::of_job(&at, &jobs),
            _ => Ok(Vec::new()),
        }
    }

    /// Lists a directory from `offset` (0, or the `next` of an entry) until `emit` says that it
    /// has enough; that entry is not counted as listed. With `with_lookups`, an entry that is
    /// listed counts as looked up.
    ///
    /// A listing shows one generation to its end, even if others have taken over meanwhile.
    pub fn list(
        &self,
        ino: u64,
        offset: u64,
        with_lookups: bool,
        mut emit: impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        let cookie = match Cookie::from_offset(offset) {
            Position::End => return Ok(()),
            Position::At(cookie) => cookie,
        };
        let current = self.current();
        let passing = match self.resolve(&current, ino) {
            Ok(Inode::Passing(node)) => Some(Above::Node(node)),
            Ok(Inode::InTree(top, node)) if self.is_job_dir(&current, top, node) => {
                Some(Above::Lasting(ino))
            }
            Ok(_) => None,
            Err(error) if offset == 0 => return Err(error),
            Err(_) => None,
        };
        if let Some(above) = passing {
            let request = ListRequest {
                above: &above,
                cookie,
                with_lookups,
            };
            return self.list_passing(&current, &request, &mut emit);
        }
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
        if self.list_generation(&shown, ino, cookie.after, lifetime, with_lookups, &mut emit)? {
            locked(&self.kept).put(shown.tag(), (shown, Instant::now()));
        }
        Ok(())
    }

    fn is_job_dir(&self, generation: &Generation, top: usize, node: NodeIdx) -> bool {
        let tree = generation.tree(top);
        tree.leaf == LeafStyle::Dir && matches!(tree.tree.node(node), Node::Leaf(_))
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
        generation: &Arc<Generation>,
        ino: u64,
        after: After,
        lifetime: Lifetime,
        with_lookups: bool,
        emit: &mut impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<bool, FsError> {
        let inode = self.resolve(generation, ino)?;
        let is_dir = match &inode {
            Inode::Root | Inode::Ids => true,
            Inode::InTree(top, node) => {
                matches!(generation.tree(*top).tree.node(*node), Node::Dir { .. })
            }
            _ => false,
        };
        if !is_dir {
            return Err(FsError::NotADirectory);
        }
        let (n_dots, first) = generation.position(&inode, after)?;
        let tag = generation.tag();
        let next = |after| Cookie { tag, after }.offset();
        let own = self.attributes_of(generation, ino, &inode)?;
        let above = self.attributes_of_parent(generation, &inode)?;
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
        let n_entries = generation.n_entries(&inode);
        for position in first..n_entries {
            let next = match position + 1 == n_entries {
                true => AT_END,
                false => next(generation.after(&inode, position)),
            };
            let full = match &inode {
                Inode::Root => {
                    let top = &generation.tops[position as usize];
                    self.emit_top(generation, top, (next, lifetime, with_lookups), emit)
                }
                _ => self.with_entry(generation, &inode, position, |name, attributes| {
                    emit(DirEntry {
                        name,
                        attributes,
                        next,
                        lifetime,
                    })
                }),
            };
            if full {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn emit_top(
        &self,
        generation: &Generation,
        top: &Top,
        (next, lifetime, with_lookups): (u64, Lifetime, bool),
        emit: &mut impl FnMut(DirEntry<'_>) -> bool,
    ) -> bool {
        let mut attributes = self.top_attributes(generation, top);
        let mut nodes = locked(&self.nodes);
        if !top.kind.is_lasting() {
            attributes.ino = nodes.number(ROOT, &top.name, 0);
        }
        let full = emit(DirEntry {
            name: &top.name,
            attributes,
            next,
            lifetime: match top.kind.is_lasting() {
                true => lifetime,
                false => Lifetime::Moment,
            },
        });
        if !full && with_lookups && !top.kind.is_lasting() {
            nodes.enter(&Above::Lasting(ROOT), &top.name, 0);
        }
        full
    }

    fn with_entry<T>(
        &self,
        generation: &Generation,
        dir: &Inode,
        position: u32,
        then: impl FnOnce(&[u8], Attributes) -> T,
    ) -> T {
        match dir {
            Inode::InTree(top, dir) => {
                let tree = &generation.tree(*top).tree;
                let entry = tree.entries(*dir).start + position;
                let attributes = self.node_attributes(generation, *top, entry);
                then(tree.name(entry), attributes)
            }
            _ => {
                let id = generation.snapshot.jobs()[position as usize].id.to_string();
                then(id.as_bytes(), self.id_attributes(generation, position))
            }
        }
    }

    /// Lists what stands in no tree.
    fn list_passing(
        &self,
        generation: &Arc<Generation>,
        request: &ListRequest<'_>,
        emit: &mut impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        let ListRequest {
            above,
            cookie,
            with_lookups,
        } = *request;
        let ino = above.ino();
        let now = self.served_now();
        let at = self.at(generation, &now);
        let kept = match cookie.after {
            After::Nothing => None,
            _ => locked(&self.listings)
                .get(&(ino, cookie.tag))
                .map(Arc::clone),
        };
        let (listing, tag) = match kept {
            Some(listing) => (listing, cookie.tag),
            None => {
                let place = match above {
                    Above::Node(node) => at.place_of(node)?.place,
                    Above::Lasting(ino) => at.lasting(*ino)?.place,
                    Above::Nothing => at.place_of(&self.root)?.place,
                };
                let tag = self.finder.next_version() as u8;
                (at.entries(&place)?.into(), tag)
            }
        };
        self.expire_listing(ino);
        let next = |after| Cookie { tag, after }.offset();
        let (n_dots, first) = match cookie.after {
            After::Nothing => (0, 0),
            After::Dot => (1, 0),
            After::DotDot => (2, 0),
            After::Entry(key) => {
                let found = listing
                    .iter()
                    .position(|entry| entry_key(ino, &entry.name) == key);
                (2, found.ok_or(FsError::Stale)? + 1)
            }
        };
        let own = Attributes::dir(ino, self.started);
        let parent = match above {
            Above::Node(node) => node.above.ino(),
            _ => ROOT,
        };
        let dots = [
            (".", own, After::Dot),
            ("..", Attributes::dir(parent, self.started), After::DotDot),
        ];
        for (name, attributes, after) in dots.into_iter().skip(n_dots) {
            if emit(DirEntry {
                name: name.as_bytes(),
                attributes,
                next: next(after),
                lifetime: Lifetime::Over,
            }) {
                locked(&self.listings).put((ino, tag), listing);
                return Ok(());
            }
        }
        for (i, entry) in listing.iter().enumerate().skip(first) {
            let next = match i + 1 == listing.len() {
                true => AT_END,
                false => next(After::Entry(entry_key(ino, &entry.name))),
            };
            if self.emit_listed(&at, above, entry, (next, with_lookups), emit) {
                locked(&self.listings).put((ino, tag), Arc::clone(&listing));
                return Ok(());
            }
        }
        Ok(())
    }

    fn emit_listed(
        &self,
        at: &At<'_>,
        above: &Above,
        entry: &Listed,
        (next, with_lookups): (u64, bool),
        emit: &mut impl FnMut(DirEntry<'_>) -> bool,
    ) -> bool {
        if let ListedKind::Link(job) = entry.is {
            return emit(DirEntry {
                name: &entry.name,
                attributes: self.id_attributes(at.generation, job),
                next,
                lifetime: Lifetime::Moment,
            });
        }
        let real = match &entry.is {
            ListedKind::Real(details) => real_number(details),
            _ => 0,
        };
        let mut nodes = locked(&self.nodes);
        let ino = nodes.number(above.ino(), &entry.name, real);
        let attributes = match &entry.is {
            ListedKind::Dir(modified) => Attributes::dir(ino, *modified),
            ListedKind::File(size_bytes) => Attributes::file(ino, self.started, *size_bytes),
            ListedKind::Real(details) => Attributes::real(ino, details),
            ListedKind::Link(job) => self.id_attributes(at.generation, *job),
        };
        let full = emit(DirEntry {
            name: &entry.name,
            attributes,
            next,
            lifetime: Lifetime::Moment,
        });
        if !full && with_lookups {
            nodes.enter(above, &entry.name, real);
        }
        full
    }

    /// Notes that the kernel must list a directory again after a moment.
    fn expire_listing(&self, ino: u64) {
        let mut listed = locked(&self.listed);
        if listed.queued.insert(ino) {
            listed.queue.push_back((Instant::now(), ino));
            self.listed_some.notify_one();
        }
    }

    /// Waits until the kernel must forget something, and returns it; nothing after `limit`.
    pub fn wait_until_due(&self, limit: Duration) -> Due {
        let moment = self.served_now().served.moment;
        let mut listed = locked(&self.listed);
        if listed.queue.is_empty() {
            listed = self
                .listed_some
                .wait_timeout(listed, limit)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if let Some((at, _)) = listed.queue.front() {
            let left = moment.saturating_sub(at.elapsed());
            drop(listed);
            std::thread::sleep(left);
            listed = locked(&self.listed);
        }
        let mut due = Due::default();
        while listed
            .queue
            .front()
            .is_some_and(|(at, _)| at.elapsed() >= moment)
        {
            let ino = listed.queue.pop_front().map(|(_, ino)| ino);
            due.listings.extend(ino);
        }
        for ino in &due.listings {
            listed.queued.remove(ino);
        }
        drop(listed);
        due.entries = locked(&self.nodes).surplus();
        due
    }

    fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn at<'a>(&'a self, generation: &'a Arc<Generation>, now: &'a ServedNow) -> At<'a> {
        At {
            finder: &self.finder,
            generation,
            served: &now.served,
            marks: &now.marks,
        }
    }

    fn resolve(&self, generation: &Generation, ino: u64) -> Result<Inode, FsError> {
        if ino & ID_BIT != 0 {
            let job = generation.job_of_ino(ino).ok_or(FsError::Stale)?;
            return Ok(Inode::IdLink(job));
        }
        if ino & PASSING_BIT != 0 {
            let node = locked(&self.nodes).get(ino).ok_or(FsError::Stale)?;
            return Ok(Inode::Passing(node));
        }
        if ino & ALIAS_BIT != 0 {
            return match locked(&self.aliases).contains(&ino) {
                true => Ok(Inode::Alias),
                false => Err(FsError::Stale),
            };
        }
        if let Some((top, node)) = generation.find(ino) {
            return Ok(Inode::InTree(top, node));
        }
        if generation.ids().is_some_and(|top| top.ino == ino) {
            return Ok(Inode::Ids);
        }
        match (ino, generation.only) {
            (ROOT, None) => Ok(Inode::Root),
            (ROOT, Some(_)) => Ok(Inode::Passing(Arc::clone(&self.root))),
            _ => Err(FsError::Stale),
        }
    }

    fn top_attributes(&self, generation: &Generation, top: &Top) -> Attributes {
        let modified = match &top.kind {
            TopKind::Tree(tree) => match tree.tree.node(0) {
                Node::Dir { newest: Some(job) } => {
                    generation.snapshot.jobs()[job as usize].modified
                }
                Node::Dir { newest: None } | Node::Leaf(_) => self.started,
            },
            _ => generation.newest,
        };
        Attributes::dir(top.ino, modified)
    }

    fn link_attributes(&self, generation: &Generation, ino: u64, job: JobIdx) -> Attributes {
        let modified = generation.snapshot.jobs()[job as usize].modified;
        Attributes::link(ino, modified, (self.target_prefix.len() + ID_LEN) as u64)
    }

    fn id_attributes(&self, generation: &Generation, job: JobIdx) -> Attributes {
        self.link_attributes(generation, generation.id_ino(job), job)
    }

    fn node_attributes(&self, generation: &Generation, top: usize, node: NodeIdx) -> Attributes {
        let tree = generation.tree(top);
        let ino = tree.tree.hash(node);
        let modified = |job: JobIdx| generation.snapshot.jobs()[job as usize].modified;
        match tree.tree.node(node) {
            Node::Leaf(job) if tree.leaf == LeafStyle::Dir => Attributes::dir(ino, modified(job)),
            Node::Leaf(job) => self.link_attributes(generation, ino, job),
            Node::Dir { newest } => Attributes::dir(ino, newest.map_or(self.started, modified)),
        }
    }

    fn attributes_of(
        &self,
        generation: &Arc<Generation>,
        ino: u64,
        inode: &Inode,
    ) -> Result<Attributes, FsError> {
        Ok(match inode {
            Inode::Root | Inode::Ids => Attributes::dir(ino, generation.newest),
            Inode::IdLink(job) => self.id_attributes(generation, *job),
            Inode::InTree(top, node) => self.node_attributes(generation, *top, *node),
            Inode::Alias => self.alias_attributes(ino),
            Inode::Passing(node) => {
                let now = self.served_now();
                let at = self.at(generation, &now);
                let place = at.place_of(node)?.place;
                self.place_attributes(&at, node.ino, &place)?
            }
        })
    }

    fn alias_attributes(&self, ino: u64) -> Attributes {
        let aliases = locked(&self.aliases);
        let size_bytes = aliases.peek(&ino).map_or(0, |name| name.len() as u64);
        Attributes::link(ino, self.started, size_bytes)
    }

    fn place_attributes(
        &self,
        at: &At<'_>,
        ino: u64,
        place: &Place,
    ) -> Result<Attributes, FsError> {
        Ok(match place {
            Place::Fact(_, jobs) => {
                let content = self.content(at, ino, place, at.served.moment)?;
                Attributes::file(ino, at.newest(jobs.iter()), content.0.size_bytes)
            }
            Place::Text(text) => Attributes::file(ino, self.started, text.len() as u64 + 1),
            Place::InJob(job, path) if path.as_os_str().is_empty() => {
                Attributes::dir(ino, at.modified(*job))
            }
            Place::InJob(job, path) => {
                let details = at.job_dir(*job)?.details(path);
                let details = details.map_err(|error| io_error(&error))?;
                Attributes::real(ino, &details)
            }
            Place::Broken(_) => Attributes::dir(ino, self.started),
            directory => {
                let jobs = at.jobs(directory)?.unwrap_or_default();
                Attributes::dir(ino, at.newest(jobs.iter()))
            }
        })
    }

    fn attributes_of_parent(
        &self,
        generation: &Generation,
        inode: &Inode,
    ) -> Result<Attributes, FsError> {
        Ok(match inode {
            Inode::InTree(top, node) if *node != 0 => {
                let parent = generation.tree(*top).tree.parent(*node);
                self.node_attributes(generation, *top, parent)
            }
            _ => Attributes::dir(ROOT, generation.newest),
        })
    }

    fn lookup_in_tree(
        &self,
        generation: &Arc<Generation>,
        top: usize,
        dir: NodeIdx,
        name: &[u8],
    ) -> Result<(Attributes, Lifetime), FsError> {
        let shown = generation.tree(top);
        let tree = &shown.tree;
        if self.link_at(generation, top, dir).is_some() {
            return Err(FsError::NotADirectory);
        }
        if let Some(entry) = tree.entry(dir, name) {
            let attributes = self.node_attributes(generation, top, entry);
            return Ok((attributes, Lifetime::UntilChanged));
        }
        let found = self.lookup_passing(generation, &Above::Lasting(tree.hash(dir)), name);
        match found {
            // Only another spelling, of an entry that is to come, could be found some time.
            Err(FsError::NotFound(_))
                if !self.is_job_dir(generation, top, dir) && other_spelling(name).is_none() =>
            {
                Err(FsError::NotFound(Lifetime::UntilChanged))
            }
            found => found,
        }
    }

    /// Finds what stands in no tree.
    fn lookup_passing(
        &self,
        generation: &Arc<Generation>,
        above: &Above,
        name: &[u8],
    ) -> Result<(Attributes, Lifetime), FsError> {
        let now = self.served_now();
        let at = self.at(generation, &now);
        let resolved = match above {
            Above::Node(node) => at.place_of(node)?,
            Above::Lasting(ino) => at.lasting(*ino)?,
            Above::Nothing => at.place_of(&self.root)?,
        };
        let place = match at.step(&resolved.place, name)? {
            None => return Err(FsError::NotFound(Lifetime::Moment)),
            Some((Found::Link(job), _)) => {
                return Ok((self.id_attributes(generation, job), Lifetime::Moment));
            }
            Some((Found::Alias(shown), _)) => {
                let ino = ALIAS_BIT | path_hash(above.ino(), name);
                locked(&self.aliases).put(ino, shown);
                return Ok((self.alias_attributes(ino), Lifetime::Short));
            }
            Some((Found::Real(_, details), _)) => {
                let real = real_number(&details);
                let node = locked(&self.nodes).enter(above, name, real);
                return Ok((Attributes::real(node.ino, &details), Lifetime::Moment));
            }
            Some((Found::Node(place), _)) => place,
        };
        let ino = locked(&self.nodes).number(above.ino(), name, 0);
        let attributes = self.place_attributes(&at, ino, &place)?;
        let node = locked(&self.nodes).enter(above, name, 0);
        Ok((
            Attributes {
                ino: node.ino,
                ..attributes
            },
            Lifetime::Moment,
        ))
    }

    /// Finds a job by its id, or by a beginning of it that no other job has.
    fn lookup_id(
        &self,
        generation: &Arc<Generation>,
        dir: u64,
        name: &[u8],
    ) -> Result<(Attributes, Lifetime), FsError> {
        let not_found = |lifetime| Err(FsError::NotFound(lifetime));
        if name.first() == Some(&b'.') {
            return self.lookup_passing(generation, &Above::Lasting(dir), name);
        }
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
        Ok((self.id_attributes(generation, jobs.start), lifetime))
    }
}

/// What is listed of a directory that stands in no tree.
#[derive(Clone, Copy, Debug)]
struct ListRequest<'a> {
    above: &'a Above,
    cookie: Cookie,
    with_lookups: bool,
}

/// The key of an entry in a listing's cookie.
fn entry_key(dir: u64, name: &[u8]) -> u64 {
    path_hash(dir, name)
}

/// What tells a file from another in its place.
fn real_number(details: &Details) -> u64 {
    match details.file_type {
        FileType::RegularFile => details.stamp.inode,
        _ => 0,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Open files by the number that the kernel hands back.
#[derive(Debug, Default)]
pub(super) struct Handles {
    open: Mutex<(u64, HashMap<u64, Arc<OpenFile>>)>,
}

impl Handles {
    pub(super) fn add(&self, file: Arc<OpenFile>) -> u64 {
        let mut open = locked(&self.open);
        open.0 += 1;
        let handle = open.0;
        open.1.insert(handle, file);
        handle
    }

    pub(super) fn get(&self, handle: u64) -> Option<Arc<OpenFile>> {
        locked(&self.open).1.get(&handle).cloned()
    }

    pub(super) fn remove(&self, handle: u64) {
        locked(&self.open).1.remove(&handle);
    }
}
