//! One immutable state of everything that is served, and what differs between two.

use super::cookie::After;
use super::fs::FsError;
use super::nodes::PassingNode;
use super::shown::Served;
use super::tops::{ShownTree, Top, TopKind, auto_tree, tops};
use crate::catalog::{JobIdx, LiveFacts, Snapshot};
use crate::config::LeafStyle;
use crate::fsx::TimeNs;
use crate::view::{ByIndex, HASH_BITS, Node, NodeIdx, Tree};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// Inode number of the root.
pub const ROOT: u64 = 1;

/// Marks the inode numbers of `id/<id>`; the other 62 bits are the first of the id.
pub(super) const ID_BIT: u64 = 1 << 62;

/// Bits of the first 64 of an id that do not fit a cookie.
const ID_KEY_SHIFT: u32 = u64::BITS - HASH_BITS;

/// What the kernel must forget when a generation replaces another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names that appeared or vanished, each in the directory given by its inode number.
    pub entries: BTreeSet<(u64, Box<[u8]>)>,
    /// Directories whose listing changed and links whose target changed, vanished ones included.
    pub contents: BTreeSet<u64>,
    /// Inodes of which only the attributes changed.
    pub attributes: BTreeSet<u64>,
}

/// One state of everything that is served.
#[derive(Debug)]
pub(super) struct Generation {
    /// Differs from that of every other generation.
    pub(super) serial: u64,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) tops: Vec<Top>,
    /// The one of [`Self::tops`] that is the root itself.
    pub(super) only: Option<usize>,
    pub(super) by: Arc<ByIndex>,
    /// What lies below states and labels.
    auto: OnceLock<Arc<ShownTree>>,
    leaf: LeafStyle,
    /// When the newest job was created.
    pub(super) newest: TimeNs,
}

/// A resolved inode number.
#[derive(Clone, Debug)]
pub(super) enum Inode {
    Root,
    /// The directory of all ids.
    Ids,
    IdLink(JobIdx),
    InTree(usize, NodeIdx),
    Alias,
    Passing(Arc<PassingNode>),
}

impl Generation {
    pub(super) fn new(
        serial: u64,
        snapshot: Arc<Snapshot>,
        served: &Served,
        live: &LiveFacts,
        started: TimeNs,
    ) -> Self {
        let (tops, only) = tops(&snapshot, served, live);
        let modified = snapshot.jobs().iter().map(|job| job.modified);
        let newest = modified.max().unwrap_or(started);
        Self {
            serial,
            tops,
            only,
            by: Arc::new(ByIndex::new(Arc::clone(&snapshot))),
            auto: OnceLock::new(),
            leaf: served.shown.leaf,
            newest,
            snapshot,
        }
    }

    /// Returns the tree of default paths.
    pub(super) fn auto(&self) -> &Arc<ShownTree> {
        self.auto
            .get_or_init(|| Arc::new(auto_tree(&self.snapshot, self.leaf, 0)))
    }

    pub(super) fn top(&self, name: &[u8]) -> Option<&Top> {
        self.tops.iter().find(|top| *top.name == *name)
    }

    /// Returns a tree of the root by its place.
    pub(super) fn tree(&self, top: usize) -> &Arc<ShownTree> {
        match &self.tops[top].kind {
            TopKind::Tree(tree) => tree,
            _ => self.auto(),
        }
    }

    fn trees(&self) -> impl Iterator<Item = (usize, &Top, &Arc<ShownTree>)> {
        self.tops
            .iter()
            .enumerate()
            .filter_map(|(i, top)| match &top.kind {
                TopKind::Tree(tree) => Some((i, top, tree)),
                _ => None,
            })
    }

    /// Finds a node of a tree that lasts.
    pub(super) fn find(&self, ino: u64) -> Option<(usize, NodeIdx)> {
        self.trees()
            .find_map(|(i, _, tree)| Some((i, tree.tree.find(ino)?)))
    }

    /// Returns the directory of all ids.
    pub(super) fn ids(&self) -> Option<&Top> {
        self.tops
            .iter()
            .find(|top| matches!(top.kind, TopKind::Ids))
    }

    pub(super) fn id_ino(&self, job: JobIdx) -> u64 {
        ID_BIT | self.snapshot.jobs()[job as usize].id.leading_u64() >> 2
    }

    pub(super) fn job_of_ino(&self, ino: u64) -> Option<JobIdx> {
        let jobs = self.snapshot.jobs();
        let wanted = ino & !ID_BIT;
        let job = jobs.partition_point(|job| job.id.leading_u64() >> 2 < wanted) as JobIdx;
        ((job as usize) < jobs.len() && self.id_ino(job) == ino).then_some(job)
    }

    /// Tells this generation from those before and after it.
    pub(super) fn tag(&self) -> u8 {
        self.serial as u8
    }

    /// Returns the key of an entry in a listing's cookie.
    pub(super) fn after(&self, dir: &Inode, position: u32) -> After {
        After::Entry(match dir {
            Inode::InTree(top, dir) => {
                let tree = &self.tree(*top).tree;
                tree.hash(tree.entries(*dir).start + position)
            }
            Inode::Ids => self.id_key(position),
            _ => self.tops[position as usize].ino,
        })
    }

    /// Returns how many of `.` and `..` were listed, and the position of the next entry.
    pub(super) fn position(&self, dir: &Inode, after: After) -> Result<(usize, u32), FsError> {
        let key = match after {
            After::Nothing => return Ok((0, 0)),
            After::Dot => return Ok((1, 0)),
            After::DotDot => return Ok((2, 0)),
            After::Entry(key) => key,
        };
        let last = match dir {
            Inode::InTree(top, dir) => {
                let tree = &self.tree(*top).tree;
                let entry = tree.find(key).filter(|&entry| tree.parent(entry) == *dir);
                entry.map(|entry| entry - tree.entries(*dir).start)
            }
            Inode::Ids => {
                let jobs = self.snapshot.jobs();
                let job = jobs.partition_point(|job| job.id.leading_u64() >> ID_KEY_SHIFT < key);
                Some(job as JobIdx)
                    .filter(|_| job < jobs.len() && self.id_key(job as JobIdx) == key)
            }
            _ => (0..)
                .zip(&self.tops)
                .find(|(_, top)| top.ino == key)
                .map(|(i, _)| i),
        };
        last.map(|last| (2, last + 1)).ok_or(FsError::Stale)
    }

    /// The first bits of a job's id, as many as a cookie holds.
    fn id_key(&self, job: JobIdx) -> u64 {
        self.snapshot.jobs()[job as usize].id.leading_u64() >> ID_KEY_SHIFT
    }

    pub(super) fn n_entries(&self, inode: &Inode) -> u32 {
        match inode {
            Inode::Root => self.tops.len() as u32,
            Inode::Ids => self.snapshot.jobs().len() as u32,
            Inode::InTree(top, node) => self.tree(*top).tree.entries(*node).len() as u32,
            Inode::IdLink(_) | Inode::Alias | Inode::Passing(_) => 0,
        }
    }

    pub(super) fn changes(&self, new: &Self) -> Changes {
        let mut changes = Changes::default();
        self.add_top_changes(new, &mut changes);
        new.add_top_changes(self, &mut changes);
        for (_, top, tree) in self.trees() {
            match new.trees().find(|(_, other, _)| other.ino == top.ino) {
                Some((_, _, now)) => {
                    let difference = Difference {
                        old: (self, tree),
                        new: (new, now),
                    };
                    difference.add_to(&mut changes);
                }
                // Processes may be inside of what is gone.
                None => changes
                    .contents
                    .extend((0..tree.tree.len() as NodeIdx).map(|node| tree.tree.hash(node))),
            }
        }
        self.add_id_changes(new, &mut changes);
        if self.newest != new.newest {
            changes.attributes.insert(ROOT);
            changes.attributes.extend(self.ids().map(|top| top.ino));
        }
        changes
    }

    /// Adds the directories of the root that another generation has not, or not of that kind.
    fn add_top_changes(&self, other: &Self, changes: &mut Changes) {
        if self.only.is_some() {
            return;
        }
        for top in &self.tops {
            let same = |kind: &TopKind| kind.is_lasting() == top.kind.is_lasting();
            if !other.top(&top.name).is_some_and(|other| same(&other.kind)) {
                changes.entries.insert((ROOT, top.name.clone()));
                changes.contents.insert(ROOT);
            }
        }
    }

    fn add_id_changes(&self, new: &Self, changes: &mut Changes) {
        let mut add = |from: &Self, to: &Self| {
            for (job, entry) in (0..).zip(from.snapshot.jobs()) {
                let other = to.snapshot.find(&entry.id);
                if let (None, Some(ids)) = (other, from.ids()) {
                    let name = entry.id.to_string().into_bytes();
                    changes.entries.insert((ids.ino, name.into()));
                    changes.contents.insert(ids.ino);
                }
                let same = |other| to.snapshot.jobs()[other as usize].modified == entry.modified;
                if !other.is_some_and(same) {
                    changes.attributes.insert(from.id_ino(job));
                }
            }
        };
        add(self, new);
        add(new, self);
    }
}

/// Two states of a tree.
struct Difference<'a> {
    old: (&'a Generation, &'a ShownTree),
    new: (&'a Generation, &'a ShownTree),
}

impl Difference<'_> {
    fn add_to(&self, changes: &mut Changes) {
        let (old, new) = (&self.old.1.tree, &self.new.1.tree);
        let same_leaves = self.old.1.leaf == self.new.1.leaf;
        for node in 0..old.len() as NodeIdx {
            let ino = old.hash(node);
            match new.find(ino) {
                Some(_) if !same_leaves && matches!(old.node(node), Node::Leaf(_)) => {
                    changes.add_entry(old, node, new);
                    changes.contents.insert(ino);
                }
                Some(now) => self.add_node(node, now, changes),
                None => {
                    changes.add_entry(old, node, new);
                    // A process inside keeps the inode, and the path may come back.
                    changes.contents.insert(ino);
                }
            }
        }
        for node in 1..new.len() as NodeIdx {
            if old.find(new.hash(node)).is_none() {
                changes.add_entry(new, node, old);
            }
        }
    }

    fn add_node(&self, node: NodeIdx, now: NodeIdx, changes: &mut Changes) {
        let (old, new) = (&self.old.1.tree, &self.new.1.tree);
        let ino = old.hash(node);
        let before = |job: JobIdx| self.old.0.snapshot.jobs()[job as usize];
        let after = |job: JobIdx| self.new.0.snapshot.jobs()[job as usize];
        match (old.node(node), new.node(now)) {
            (Node::Leaf(a), Node::Leaf(b)) if before(a) == after(b) => {}
            (Node::Leaf(_), Node::Leaf(_)) => {
                changes.contents.insert(ino);
            }
            (Node::Dir { newest: a }, Node::Dir { newest: b }) => {
                // Also another order: a reader half-way through would skip or repeat entries.
                let entries = old.entries(node).map(|entry| old.hash(entry));
                if !entries.eq(new.entries(now).map(|entry| new.hash(entry))) {
                    changes.contents.insert(ino);
                }
                if a.map(|a| before(a).modified) != b.map(|b| after(b).modified) {
                    changes.attributes.insert(ino);
                }
            }
            _ => changes.add_entry(old, node, new),
        }
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
