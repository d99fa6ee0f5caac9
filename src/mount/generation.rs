//! One immutable state of everything that is served, and what differs between two.

use super::cookie::After;
use super::fs::FsError;
use crate::catalog::{JobIdx, Snapshot};
use crate::fsx::TimeNs;
use crate::view::{HASH_BITS, Node, NodeIdx, Shape, Tree, default_paths, path_hash};
use std::collections::BTreeSet;
use std::sync::Arc;

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
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) view: Tree,
    /// When the newest job was created.
    pub(super) newest: TimeNs,
}

/// The directories above the trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Top {
    Root,
    View,
    Id,
}

/// A resolved inode number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Inode {
    Root,
    IdDir,
    IdLink(JobIdx),
    InView(NodeIdx),
    Alias,
}

impl Top {
    /// The entries of the root in the order of listing.
    pub(super) const LISTED: [Self; 2] = [Self::View, Self::Id];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::View => "view",
            Self::Id => "id",
        }
    }

    pub(super) fn named(name: &[u8]) -> Option<Self> {
        Self::LISTED
            .into_iter()
            .find(|top| top.name().as_bytes() == name)
    }

    pub(super) fn ino(self) -> u64 {
        match self {
            Self::Root => ROOT,
            Self::View | Self::Id => path_hash(ROOT, self.name().as_bytes()),
        }
    }
}

impl Generation {
    pub(super) fn new(snapshot: Arc<Snapshot>, started: TimeNs) -> Self {
        let modified = |job: JobIdx| snapshot.jobs()[job as usize].modified;
        let view = Tree::build(
            default_paths(&snapshot, &snapshot.all()),
            Shape::Full,
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
        self.snapshot.generation() as u8
    }

    /// Returns the key of an entry in a listing's cookie.
    pub(super) fn after(&self, dir: Inode, position: u32) -> After {
        After::Entry(match dir {
            Inode::InView(dir) => self.view.hash(self.view.entries(dir).start + position),
            Inode::IdDir => self.id_key(position),
            Inode::Root | Inode::IdLink(_) | Inode::Alias => Top::LISTED[position as usize].ino(),
        })
    }

    /// Returns how many of `.` and `..` were listed, and the position of the next entry.
    pub(super) fn position(&self, dir: Inode, after: After) -> Result<(usize, u32), FsError> {
        let is_link = match dir {
            Inode::IdLink(_) | Inode::Alias => true,
            Inode::InView(node) => matches!(self.view.node(node), Node::Leaf(_)),
            Inode::Root | Inode::IdDir => false,
        };
        if is_link {
            return Err(FsError::NotADirectory);
        }
        let key = match after {
            After::Nothing => return Ok((0, 0)),
            After::Dot => return Ok((1, 0)),
            After::DotDot => return Ok((2, 0)),
            After::Entry(key) => key,
        };
        let last = match dir {
            Inode::InView(dir) => {
                let entry = self
                    .view
                    .find(key)
                    .filter(|&entry| self.view.parent(entry) == dir);
                entry.map(|entry| entry - self.view.entries(dir).start)
            }
            Inode::IdDir => {
                let jobs = self.snapshot.jobs();
                let job = jobs.partition_point(|job| job.id.leading_u64() >> ID_KEY_SHIFT < key);
                Some(job as JobIdx)
                    .filter(|_| job < jobs.len() && self.id_key(job as JobIdx) == key)
            }
            Inode::Root | Inode::IdLink(_) | Inode::Alias => (0..)
                .zip(Top::LISTED)
                .find(|(_, top)| top.ino() == key)
                .map(|(i, _)| i),
        };
        last.map(|last| (2, last + 1)).ok_or(FsError::Stale)
    }

    /// The first bits of a job's id, as many as a cookie holds.
    fn id_key(&self, job: JobIdx) -> u64 {
        self.snapshot.jobs()[job as usize].id.leading_u64() >> ID_KEY_SHIFT
    }

    pub(super) fn n_entries(&self, inode: Inode) -> u32 {
        match inode {
            Inode::Root => Top::LISTED.len() as u32,
            Inode::IdDir => self.snapshot.jobs().len() as u32,
            Inode::InView(node) => self.view.entries(node).len() as u32,
            Inode::IdLink(_) | Inode::Alias => 0,
        }
    }

    pub(super) fn changes(&self, new: &Self) -> Changes {
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
                None => {
                    changes.add_entry(&self.view, node, &new.view);
                    // A process inside keeps the inode, and the path may come back.
                    changes.contents.insert(ino);
                }
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
        let mut add = |from: &Self, to: &Self| {
            for (job, entry) in (0..).zip(from.snapshot.jobs()) {
                let other = to.snapshot.find(&entry.id);
                if other.is_none() {
                    let name = entry.id.to_string().into_bytes();
                    changes.entries.insert((Top::Id.ino(), name.into()));
                    changes.contents.insert(Top::Id.ino());
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
