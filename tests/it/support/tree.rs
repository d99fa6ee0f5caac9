//! Walking the file system without a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use sweepfs::catalog::{Catalog, Snapshot};
use sweepfs::mount::{Attributes, FsError, Kind, ROOT, ViewFs};
use sweepfs::report::Silent;
use sweepfs::workspace::Project;

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
    ViewFs::new(snapshot, Path::new("/project/workspace"), 0)
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
        fs.list(ino, offset, |entry| {
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
        assert_eq!(fs.attributes(attributes.ino), Ok(attributes));
        let path = format!("{prefix}{}", String::from_utf8_lossy(&name));
        match attributes.kind {
            Kind::Dir => walk(fs, attributes.ino, &format!("{path}/"), leaves, inodes),
            Kind::Link => {
                assert!(inodes.insert(attributes.ino), "one inode, two links");
                let target = String::from_utf8(fs.readlink(attributes.ino).unwrap()).unwrap();
                assert_eq!(attributes.size_bytes, target.len() as u64);
                let id = target.strip_prefix("/project/workspace/").unwrap();
                assert!(leaves.insert(path, id.to_owned()).is_none());
            }
        }
    }
}
