//! Inodes that stand in no tree: what lies below a filter, in `by`, `status` and `label`, and files.
//!
//! Such a node is known by what it lies in and by its name. It is remembered as long as the kernel
//! knows its number, which the kernel says by counting what it was told (`lookup`) and taking back
//! (`forget`).

use super::places::Memo;
use crate::view::path_hash;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Marks the inode numbers of these nodes.
pub(super) const PASSING_BIT: u64 = 1 << 61;

/// So many nodes may be known before the kernel is asked to forget the oldest.
const NODES_MAX: usize = 100_000;

/// A node.
#[derive(Debug)]
pub(super) struct PassingNode {
    pub(super) ino: u64,
    pub(super) above: Above,
    pub(super) name: Box<[u8]>,
    /// The inode number of the file it stands for; another one in its place is another node.
    pub(super) real: u64,
    /// What was found there last.
    pub(super) memo: Mutex<Option<Memo>>,
}

/// What a node lies in.
#[derive(Clone, Debug)]
pub(super) enum Above {
    /// Nothing: it is the root.
    Nothing,
    /// A directory of a tree that lasts, or of the directories above those.
    Lasting(u64),
    /// A node.
    Node(Arc<PassingNode>),
}

impl Above {
    pub(super) fn ino(&self) -> u64 {
        match self {
            Self::Nothing => super::ROOT,
            Self::Lasting(ino) => *ino,
            Self::Node(node) => node.ino,
        }
    }
}

#[derive(Debug)]
struct Known {
    node: Arc<PassingNode>,
    lookups: u64,
}

/// All nodes that the kernel knows.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    known: HashMap<u64, Known>,
    /// In the order they became known; some are forgotten.
    oldest: VecDeque<u64>,
}

impl Nodes {
    pub(super) fn get(&self, ino: u64) -> Option<Arc<PassingNode>> {
        self.known.get(&ino).map(|known| Arc::clone(&known.node))
    }

    /// Returns the number of nodes.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns the number that an entry has, or would have.
    pub(super) fn number(&self, above: u64, name: &[u8], real: u64) -> u64 {
        let mut hash = path_hash(above, name);
        if real != 0 {
            hash = path_hash(hash, &real.to_ne_bytes());
        }
        loop {
            let ino = PASSING_BIT | hash;
            let is_other = |known: &Known| {
                (known.node.above.ino(), &*known.node.name, known.node.real) != (above, name, real)
            };
            if !self.known.get(&ino).is_some_and(is_other) {
                return ino;
            }
            hash = path_hash(hash, b"");
        }
    }

    /// Returns the node of an entry, which the kernel will know by one lookup more.
    pub(super) fn enter(&mut self, above: &Above, name: &[u8], real: u64) -> Arc<PassingNode> {
        let ino = self.number(above.ino(), name, real);
        if !self.known.contains_key(&ino) {
            self.oldest.push_back(ino);
        }
        let known = self.known.entry(ino).or_insert_with(|| Known {
            node: Arc::new(PassingNode {
                ino,
                above: above.clone(),
                name: name.into(),
                real,
                memo: Mutex::default(),
            }),
            lookups: 0,
        });
        known.lookups += 1;
        Arc::clone(&known.node)
    }

    /// Lets go of what was found: a node that nobody asks again would keep a whole tree.
    pub(super) fn drop_places(&self) {
        for known in self.known.values() {
            let memo = known.node.memo.lock();
            *memo.unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Takes lookups back.
    pub(super) fn forget(&mut self, ino: u64, lookups: u64) {
        if let Some(known) = self.known.get_mut(&ino) {
            known.lookups = known.lookups.saturating_sub(lookups);
            if known.lookups == 0 {
                self.known.remove(&ino);
            }
        }
    }

    /// Returns the oldest nodes if there are too many: what they lie in, and their names.
    pub(super) fn surplus(&mut self) -> Vec<(u64, Box<[u8]>)> {
        if self.oldest.len() > 2 * NODES_MAX.max(self.known.len()) {
            // A node that was forgotten and became known again stands here twice.
            let mut seen = HashSet::new();
            self.oldest
                .retain(|ino| self.known.contains_key(ino) && seen.insert(*ino));
        }
        if self.known.len() <= NODES_MAX {
            return Vec::new();
        }
        let mut surplus = Vec::new();
        while surplus.len() < NODES_MAX / 4 {
            let Some(ino) = self.oldest.pop_front() else {
                break;
            };
            if let Some(known) = self.known.get(&ino) {
                surplus.push((known.node.above.ino(), known.node.name.clone()));
                // It may be in use, and then stays.
                self.oldest.push_back(ino);
            }
        }
        surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_live_as_long_as_the_kernel_knows_them() {
        let mut nodes = Nodes::default();
        let above = Above::Lasting(1);
        let node = nodes.enter(&above, b"a", 0);
        assert_eq!(nodes.enter(&above, b"a", 0).ino, node.ino);
        assert_eq!(nodes.number(1, b"a", 0), node.ino);
        assert_ne!(nodes.enter(&above, b"a", 7).ino, node.ino);
        nodes.forget(node.ino, 1);
        assert!(nodes.get(node.ino).is_some());
        nodes.forget(node.ino, 1);
        assert!(nodes.get(node.ino).is_none());
        assert_eq!(nodes.len(), 1);
    }

    #[test]
    fn a_node_that_comes_and_goes_leaves_nothing_behind() {
        let mut nodes = Nodes::default();
        for _ in 0..=2 * NODES_MAX {
            let ino = nodes.enter(&Above::Lasting(1), b"a", 0).ino;
            nodes.forget(ino, 1);
        }
        nodes.enter(&Above::Lasting(1), b"a", 0);
        assert!(nodes.surplus().is_empty());
        assert_eq!(nodes.oldest.len(), 1);
    }

    #[test]
    fn too_many_nodes_are_named() {
        let mut nodes = Nodes::default();
        for i in 0..=NODES_MAX {
            nodes.enter(&Above::Lasting(1), i.to_string().as_bytes(), 0);
        }
        let surplus = nodes.surplus();
        assert_eq!(surplus.len(), NODES_MAX / 4);
        assert_eq!(surplus[0], (1, b"0"[..].into()));
    }
}
