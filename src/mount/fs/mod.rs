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

mod answer;
mod files;
mod list;
mod lookup;
mod memory;

pub use answer::{Attributes, DirEntry, FsError, Kind, Lifetime, Owner};
pub(super) use files::Handles;
pub use files::OpenFile;
pub use list::Due;

use super::facts::Content;
use super::generation::{Changes, Generation, ID_BIT, Inode, ROOT};
use super::nodes::{Above, Nodes, PASSING_BIT, PassingNode};
use super::places::{At, Finder, Listed, Place, io_error};
use super::shown::Served;
use super::tops::{Top, TopKind};
use crate::catalog::{JobIdx, Snapshot};
use crate::config::{LeafStyle, ProjectConfig};
use crate::fsx::{Capacity, Details, FileType, Stamp, TimeNs};
use crate::view::{HASH_BITS, ID_LEN, Node, NodeIdx};
use crate::workflow::Flow;
use list::RecentListings;
use lru::LruCache;
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

/// Files in jobs' directories whose stamps are remembered.
const OPENED_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

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
    contents: Mutex<LruCache<u64, (Instant, Arc<Content>)>>,
    /// The stamps of files in jobs' directories when they were last opened.
    opened: Mutex<LruCache<u64, Stamp>>,
    listed: Mutex<RecentListings>,
    listed_some: Condvar,
    capacity: Mutex<Capacity>,
}

/// A directory and the tag of one listing of it.
type ListingKey = (u64, u8);

/// What is served, and where labels and states come from.
#[derive(Debug)]
struct ServedNow {
    served: Served,
    flow: Flow,
}

impl ServedNow {
    fn new(served: Served) -> Arc<Self> {
        Arc::new(Self {
            flow: served.flow(),
            served,
        })
    }
}

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

    fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn at<'a>(&'a self, generation: &'a Arc<Generation>, now: &'a ServedNow) -> At<'a> {
        At {
            finder: &self.finder,
            generation,
            served: &now.served,
            flow: &now.flow,
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
                Attributes::file(ino, at.newest(jobs.iter()), content.size_bytes)
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
            directory => Attributes::dir(ino, at.newest_below(directory)?),
        })
    }
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
