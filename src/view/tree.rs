//! A hierarchy of directories and leaves, as a value.

use super::plan::{LEAF_NAME, NameIdx, NamePool, Paths};
use crate::catalog::JobIdx;
use crate::fsx::TimeNs;
use hashbrown::HashTable;
use std::ops::Range;

/// A node's number in one [`Tree`]; 0 is the root.
pub type NodeIdx = u32;

/// Hashes have this many bits; a mount uses the others to tell kinds of nodes apart.
pub const HASH_BITS: u32 = 54;

/// Smaller hashes are left for nodes that are in no tree.
const HASH_MIN: u64 = 16;

/// Marks a leaf in [`Record::job`].
const LEAF_BIT: u32 = 1 << 31;

/// Directories by path component, with a leaf per job.
///
/// Nodes stand in breadth-first order, so that the entries of a directory are neighbours. Each has
/// a hash that is a function of its path and distinct within the tree; it is found by it, and
/// serves as inode number. A tree of 10^6 jobs takes about 40 bytes per node.
#[derive(Clone, Debug)]
pub struct Tree {
    names: NamePool,
    records: Vec<Record>,
    /// The jobs of the leaves, in the order of listing.
    jobs: Vec<JobIdx>,
    by_hash: HashTable<NodeIdx>,
    hash_mask: u64,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    hash: u64,
    name: NameIdx,
    parent: NodeIdx,
    /// Entries are the nodes from here to the `first_entry` of the next node.
    first_entry: NodeIdx,
    /// A leaf's job, or with [`LEAF_BIT`] unset the newest job below a directory.
    job: u32,
    /// The first of [`Tree::jobs`] below.
    first_job: u32,
    /// The number of jobs below.
    n_jobs: u32,
}

/// Where leaves stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Each in a directory of its own path, under the name [`super::LEAF`].
    Full,
    /// In place of the directory that would hold nothing else.
    Collapsed,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory, and the newest job below it, if any.
    Dir {
        /// The job below whose state point was written last.
        newest: Option<JobIdx>,
    },
    /// The entry that leads to a job.
    Leaf(JobIdx),
}

impl Tree {
    /// Builds the tree of some paths. `root_hash` tells apart trees at different places, and
    /// `modified` gives the time of a job.
    pub fn build(
        paths: Paths,
        shape: Shape,
        root_hash: u64,
        modified: impl Fn(JobIdx) -> TimeNs,
    ) -> Self {
        Self::build_with(paths, shape, root_hash, modified, (1 << HASH_BITS) - 1)
    }

    fn build_with(
        paths: Paths,
        shape: Shape,
        root_hash: u64,
        modified: impl Fn(JobIdx) -> TimeNs,
        hash_mask: u64,
    ) -> Self {
        let mut records = laid_out(&paths, shape);
        set_newest(&mut records, modified);
        let jobs = (0..paths.len()).map(|i| paths.job(i)).collect();
        let by_hash = HashTable::with_capacity(records.len());
        let mut tree = Self {
            names: paths.names,
            records,
            jobs,
            by_hash,
            hash_mask,
        };
        tree.set_hashes(root_hash);
        tree
    }

    fn set_hashes(&mut self, root_hash: u64) {
        for node in 0..self.records.len() {
            let record = self.records[node];
            let mut hash = match node {
                0 => root_hash,
                _ => self.entry_hash(record.parent, self.names.get(record.name)),
            };
            while self.find(hash).is_some() {
                hash = self.next_hash(hash);
            }
            self.records[node].hash = hash;
            let records = &self.records;
            self.by_hash
                .insert_unique(hash, node as NodeIdx, |&node| records[node as usize].hash);
        }
    }

    fn entry_hash(&self, parent: NodeIdx, name: &[u8]) -> u64 {
        path_hash(self.hash(parent), name) & self.hash_mask
    }

    /// Where to look when a hash belongs to another path. Not expected in the life of a project,
    /// but it would make one directory vanish.
    fn next_hash(&self, hash: u64) -> u64 {
        (hash + 1) & self.hash_mask
    }

    /// Returns the number of nodes, the root included.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Always false: there is a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Returns what a node is.
    pub fn node(&self, node: NodeIdx) -> Node {
        let job = self.records[node as usize].job;
        match job & LEAF_BIT {
            0 => Node::Dir {
                newest: Some(job).filter(|&job| job != NO_JOB),
            },
            _ => Node::Leaf(job & !LEAF_BIT),
        }
    }

    /// Returns the jobs of all leaves in the order of listing.
    pub fn jobs(&self) -> &[JobIdx] {
        &self.jobs
    }

    /// Returns which of [`Tree::jobs`] are below a node, or are its own.
    pub fn span(&self, node: NodeIdx) -> Range<u32> {
        let record = self.records[node as usize];
        record.first_job..record.first_job + record.n_jobs
    }

    /// Returns a node's file name; that of the root means nothing.
    pub fn name(&self, node: NodeIdx) -> &[u8] {
        self.names.get(self.records[node as usize].name)
    }

    /// Returns the hash of a node's path.
    pub fn hash(&self, node: NodeIdx) -> u64 {
        self.records[node as usize].hash
    }

    /// Returns the directory a node stands in; the root's is the root.
    pub fn parent(&self, node: NodeIdx) -> NodeIdx {
        self.records[node as usize].parent
    }

    /// Returns the entries of a directory in the order of listing; none for a leaf.
    pub fn entries(&self, node: NodeIdx) -> Range<NodeIdx> {
        let next = self
            .records
            .get(node as usize + 1)
            .map_or(self.records.len() as NodeIdx, |next| next.first_entry);
        self.records[node as usize].first_entry..next
    }

    /// Finds a node by the hash of its path.
    pub fn find(&self, hash: u64) -> Option<NodeIdx> {
        self.by_hash
            .find(hash, |&node| self.records[node as usize].hash == hash)
            .copied()
    }

    /// Finds an entry of a directory by its name.
    pub fn entry(&self, node: NodeIdx, name: &[u8]) -> Option<NodeIdx> {
        let mut hash = self.entry_hash(node, name);
        loop {
            let found = self.find(hash)?;
            if found != 0 && self.parent(found) == node && self.name(found) == name {
                return Some(found);
            }
            hash = self.next_hash(hash);
        }
    }
}

/// In [`Record::job`] of an empty root.
const NO_JOB: u32 = LEAF_BIT - 1;

/// Returns the hash of a path from that of its parent and its last component.
///
/// FNV-1a over the name with the parent's hash as its offset, then the finalizer of SplitMix64.
pub fn path_hash(parent: u64, name: &[u8]) -> u64 {
    let folded = name
        .iter()
        .fold(parent ^ 0xCBF2_9CE4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
    let mixed = (folded ^ folded >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ mixed >> 31) & ((1 << HASH_BITS) - 1)).max(HASH_MIN)
}

/// Lays out the nodes breadth first, with leaves' jobs.
fn laid_out(paths: &Paths, shape: Shape) -> Vec<Record> {
    let record = |name, parent, job, span: &Range<usize>| Record {
        hash: 0,
        name,
        parent,
        first_entry: 0,
        job,
        first_job: span.start as u32,
        n_jobs: span.len() as u32,
    };
    let all = 0..paths.len();
    let mut records = vec![record(LEAF_NAME, 0, NO_JOB, &all)];
    // The paths below each node and the number of components above it.
    let mut spans = vec![(all, 0)];
    let mut node = 0;
    while node < records.len() {
        records[node].first_entry = records.len() as NodeIdx;
        let (mut span, depth) = spans[node].clone();
        while records[node].job & LEAF_BIT == 0 && !span.is_empty() {
            let (name, run, is_leaf) = match paths.components(span.start).get(depth) {
                None => (LEAF_NAME, span.start..span.start + 1, true),
                Some(&name) => {
                    let run = span.start..span.start + run_length(paths, span.clone(), depth, name);
                    let ends_here =
                        run.len() == 1 && paths.components(run.start).len() == depth + 1;
                    (name, run, ends_here && shape == Shape::Collapsed)
                }
            };
            let job = if is_leaf {
                LEAF_BIT | paths.job(run.start)
            } else {
                NO_JOB
            };
            records.push(record(name, node as NodeIdx, job, &run));
            span.start = run.end;
            spans.push((run, depth + 1));
        }
        node += 1;
    }
    records
}

/// Counts the first paths of a span that have `name` at `depth`.
fn run_length(paths: &Paths, span: Range<usize>, depth: usize, name: NameIdx) -> usize {
    let has_name = |i: usize| paths.components(i).get(depth) == Some(&name);
    let (mut low, mut high) = (1, span.len());
    while low < high {
        let middle = (low + high) / 2;
        if has_name(span.start + middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Gives every directory its newest job, from the leaves up.
fn set_newest(records: &mut [Record], modified: impl Fn(JobIdx) -> TimeNs) {
    for node in (1..records.len()).rev() {
        let job = records[node].job & !LEAF_BIT;
        let above = records[node].parent as usize;
        let newest = records[above].job;
        if newest == NO_JOB || modified(job) > modified(newest) {
            records[above].job = job;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree of single-letter components, job `i` at `paths[i]`.
    fn tree(paths: &[&str], hash_mask: u64) -> Tree {
        let names: Vec<_> = std::iter::once("job").chain(["a", "b", "c", "d"]).collect();
        let components = paths
            .iter()
            .map(|path| path.bytes().map(|b| u32::from(b - b'a') + 1).collect());
        Tree::build_with(
            Paths::of_test(&names, components.collect()),
            Shape::Full,
            7,
            TimeNs::from,
            hash_mask,
        )
    }

    fn walk(tree: &Tree, node: NodeIdx, prefix: &str, found: &mut Vec<String>) {
        for entry in tree.entries(node) {
            let path = format!("{prefix}{}", String::from_utf8_lossy(tree.name(entry)));
            assert_eq!(tree.parent(entry), node);
            assert_eq!(tree.find(tree.hash(entry)), Some(entry));
            assert_eq!(tree.entry(node, tree.name(entry)), Some(entry));
            match tree.node(entry) {
                Node::Leaf(job) => found.push(format!("{path}={job}")),
                Node::Dir { .. } => walk(tree, entry, &format!("{path}/"), found),
            }
        }
    }

    #[track_caller]
    fn check(paths: &[&str], hash_mask: u64, expected: &[&str]) {
        let mut found = Vec::new();
        walk(&tree(paths, hash_mask), 0, "", &mut found);
        assert_eq!(found, expected);
    }

    #[test]
    fn every_path_becomes_a_leaf() {
        check(&[], u64::MAX, &[]);
        check(&[""], u64::MAX, &["job=0"]);
        check(
            &["ba", "ab", "a", "abc"],
            u64::MAX,
            &["a/job=2", "a/b/job=1", "a/b/c/job=3", "b/a/job=0"],
        );
    }

    #[test]
    fn paths_whose_hashes_collide_stay_apart() {
        let paths = ["aa", "ab", "ac", "ba", "bb", "bc", "ca"];
        let expected = [
            "a/a/job=0",
            "a/b/job=1",
            "a/c/job=2",
            "b/a/job=3",
            "b/b/job=4",
            "b/c/job=5",
            "c/a/job=6",
        ];
        check(&paths, 0x1F, &expected);
        assert_eq!(tree(&paths, 0x1F).entry(0, b"zz"), None);
    }

    #[test]
    fn a_directory_knows_its_newest_job() {
        let tree = tree(&["aa", "ab", "ba"], u64::MAX);
        let newest = |name: &[u8]| tree.entry(0, name).map(|node| tree.node(node));
        assert_eq!(tree.node(0), Node::Dir { newest: Some(2) });
        assert_eq!(newest(b"a"), Some(Node::Dir { newest: Some(1) }));
    }
}
