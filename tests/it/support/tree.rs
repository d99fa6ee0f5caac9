//! Walking the file system without a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use sweepfs::catalog::{Catalog, LiveFacts, Snapshot};
use sweepfs::mount::{Attributes, FsError, Kind, ROOT, Served, ViewFs};
use sweepfs::report::Silent;
use sweepfs::view::{Node, NodeIdx, PathSpec, Shape, Tree, spec_paths};
use sweepfs::workspace::{Project, Workspace};

/// A time after everything that happens in a test, so that listings are trusted.
pub(crate) const LATER: i64 = i64::MAX / 2;

pub(crate) fn load(root: &Path) -> Catalog {
    Catalog::load(
        &Project::discover(root).unwrap().workspace(),
        None,
        LATER,
        &Silent,
    )
    .unwrap()
}

pub(crate) fn serve(snapshot: Arc<Snapshot>) -> ViewFs {
    let workspace = Workspace::of_project(Path::new("/project"));
    ViewFs::new(snapshot, Served::new(&workspace), 0)
}

/// Lists a directory, `.` and `..` left out; every page holds at most `page` entries.
pub(crate) fn list(
    fs: &ViewFs,
    ino: u64,
    page: usize,
) -> Result<Vec<(Vec<u8>, Attributes)>, FsError> {
    let (mut entries, mut offset) = (Vec::new(), 0);
    loop {
        let mut n_taken = 0;
        fs.list(ino, offset, false, |entry| {
            if n_taken == page {
                return true;
            }
            n_taken += 1;
            offset = entry.next;
            if entry.name != b"." && entry.name != b".." {
                entries.push((entry.name.to_vec(), entry.attributes));
            }
            false
        })?;
        if n_taken == 0 {
            return Ok(entries);
        }
    }
}

/// Walks `view` and returns the leaves: path to the id that the link leads to. Checks on the way
/// that lookups, attributes and listings agree.
pub(crate) fn walk_view(fs: &ViewFs) -> BTreeMap<String, String> {
    let (view, _) = fs.lookup(ROOT, b"view").unwrap();
    let (mut leaves, mut inodes) = (BTreeMap::new(), BTreeSet::new());
    walk(fs, view.ino, "", &mut leaves, &mut inodes);
    leaves
}

fn walk(
    fs: &ViewFs,
    dir: u64,
    prefix: &str,
    leaves: &mut BTreeMap<String, String>,
    inodes: &mut BTreeSet<u64>,
) {
    assert!(inodes.insert(dir), "one inode, two directories");
    let mut names = BTreeSet::new();
    for (name, attributes) in list(fs, dir, 3).unwrap() {
        assert!(names.insert(name.clone()), "listed twice: {name:?}");
        assert_eq!(
            fs.lookup(dir, &name).map(|(found, _)| found),
            Ok(attributes)
        );
        assert_eq!(
            fs.attributes(attributes.ino).map(|(found, _)| found),
            Ok(attributes)
        );
        let path = format!("{prefix}{}", String::from_utf8_lossy(&name));
        match attributes.kind {
            Kind::Dir => walk(fs, attributes.ino, &format!("{path}/"), leaves, inodes),
            _ => {
                assert!(inodes.insert(attributes.ino), "one inode, two links");
                let target = String::from_utf8(fs.readlink(attributes.ino).unwrap()).unwrap();
                assert_eq!(attributes.size_bytes, target.len() as u64);
                let id = target.strip_prefix("/project/workspace/").unwrap();
                assert!(leaves.insert(path, id.to_owned()).is_none());
            }
        }
    }
}

/// Returns the leaves that a path spec makes of all jobs of a project: path to id; or the error with
/// its hint.
pub(crate) fn spec_links(root: &Path, spec: &str) -> Result<BTreeMap<String, String>, String> {
    let tree = spec_tree(root, spec)?;
    Ok(leaves(&tree, load(root).snapshot().as_ref())
        .into_iter()
        .collect())
}

/// Builds the tree that a path spec makes of all jobs of a project.
pub(crate) fn spec_tree(root: &Path, spec: &str) -> Result<Tree, String> {
    let message = |error: String, hint: Option<String>| match hint {
        Some(hint) => format!("{error}; {hint}"),
        None => error,
    };
    let spec = PathSpec::parse(spec)
        .map_err(|error| message(error.to_string(), error.hint().map(str::to_owned)))?;
    let workspace = Project::discover(root).unwrap().workspace();
    let snapshot = load(root).snapshot();
    let facts = LiveFacts::new(&workspace, None);
    let paths = facts.ask(&snapshot, LATER, 0, |facts| {
        Ok(spec_paths(&snapshot, facts, &snapshot.all(), &spec))
    });
    let paths = paths
        .unwrap()
        .0
        .map_err(|error| message(error.to_string(), error.hint()))?;
    Ok(Tree::build(paths, Shape::Full, 7, |_| 0))
}

/// Returns the path and the id of every leaf, in the order of listing.
pub(crate) fn leaves(tree: &Tree, snapshot: &Snapshot) -> Vec<(String, String)> {
    let mut found = Vec::new();
    push_leaves(tree, 0, "", snapshot, &mut found);
    found
}

fn push_leaves(
    tree: &Tree,
    node: NodeIdx,
    prefix: &str,
    snapshot: &Snapshot,
    found: &mut Vec<(String, String)>,
) {
    for entry in tree.entries(node) {
        let name = tree.name(entry);
        assert_eq!(
            tree.entry(node, name),
            Some(entry),
            "two entries of one name"
        );
        let path = format!("{prefix}{}", String::from_utf8_lossy(name));
        match tree.node(entry) {
            Node::Leaf(job) => found.push((path, snapshot.jobs()[job as usize].id.to_string())),
            Node::Dir { .. } => push_leaves(tree, entry, &format!("{path}/"), snapshot, found),
        }
    }
}
