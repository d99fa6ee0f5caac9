//! Walking a tree and the disk side by side, level by level, so that no depth is too deep.

use super::place::LinkDir;
use super::plan::{Action, Change, Kept, Obsolete, Obstacle};
use crate::catalog::JobEntry;
use crate::fsx::{Dir, DirEntry, EntryKind, FsError, is_temporary_link};
use crate::statepoint::JobId;
use crate::view::{LEAF, Node, NodeIdx, Tree};
use rayon::prelude::*;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories that one task looks at, at least.
const SCAN_CHUNK: usize = 16;

/// A directory to look at.
#[derive(Debug)]
struct Spot {
    /// Below the directory of links.
    path: PathBuf,
    /// Levels below it.
    depth: usize,
    on_disk: bool,
    role: Role,
}

#[derive(Clone, Copy, Debug)]
enum Role {
    /// The tree has it.
    Wanted(NodeIdx),
    /// The tree does not have it.
    Obsolete {
        /// The obsolete directory that holds it.
        parent: Option<usize>,
        /// The job to which there should be a link in its place.
        gives_way_to: Option<JobId>,
    },
}

/// What was found in one directory, or in all.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) actions: Vec<Action>,
    pub(super) obstacles: Vec<Obstacle>,
    pub(super) n_right: usize,
    below: Vec<Spot>,
    /// Only of an obsolete directory.
    links: Vec<OsString>,
    extra: Option<OsString>,
    is_unseen: bool,
}

/// What a link leads to.
enum Behind {
    Job(JobId),
    /// No job of the workspace; this is the link's text.
    Other(PathBuf),
    /// Somebody has just removed the link.
    Gone,
}

/// A walk.
pub(super) struct Scan<'a> {
    place: &'a LinkDir,
    tree: &'a Tree,
    jobs: &'a [JobEntry],
    /// The directory of links, if there is one.
    dir: Option<Dir>,
    device: u64,
    /// Whether links of any name may be ours.
    any_name: bool,
}

impl<'a> Scan<'a> {
    /// `jobs` are those that the tree numbers; links of `any_name` may be ours, or only leaves.
    pub(super) fn new(
        place: &'a LinkDir,
        tree: &'a Tree,
        jobs: &'a [JobEntry],
        any_name: bool,
    ) -> Result<Self, FsError> {
        let dir = match Dir::open(place.prefix()) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        Ok(Self {
            place,
            tree,
            jobs,
            device: dir.as_ref().map(Dir::device).transpose()?.unwrap_or(0),
            dir,
            any_name,
        })
    }

    /// Returns what is to be done, and the directories that the tree does not have.
    pub(super) fn run(&self) -> (Found, Vec<Obsolete>) {
        let (mut all, mut obsolete) = (Found::default(), Vec::new());
        let mut level = vec![Spot {
            path: PathBuf::new(),
            depth: 0,
            on_disk: self.dir.is_some(),
            role: Role::Wanted(0),
        }];
        while !level.is_empty() {
            let scanned: Vec<_> = level
                .par_iter()
                .with_min_len(SCAN_CHUNK)
                .map(|spot| self.scan(spot))
                .collect();
            let mut next = Vec::new();
            for (spot, mut found) in level.into_iter().zip(scanned) {
                all.actions.append(&mut found.actions);
                all.obstacles.append(&mut found.obstacles);
                all.n_right += found.n_right;
                if let Role::Obsolete {
                    parent,
                    gives_way_to,
                } = spot.role
                {
                    found.set_parent(obsolete.len());
                    let keeps = match found.extra {
                        _ if found.is_unseen => Some(Kept::Unseen),
                        extra => extra.map(|extra| Kept::Entry(spot.path.join(extra))),
                    };
                    obsolete.push(Obsolete {
                        path: spot.path,
                        parent,
                        gives_way_to,
                        links: found.links,
                        keeps,
                        lost: false,
                        goes: false,
                        spared: false,
                    });
                }
                next.append(&mut found.below);
            }
            level = next;
        }
        (all, obsolete)
    }

    fn scan(&self, spot: &Spot) -> Found {
        let mut found = Found::default();
        match spot.role {
            Role::Wanted(node) => self.scan_wanted(spot, node, &mut found),
            Role::Obsolete { .. } => {
                found.is_unseen = !self.scan_obsolete(spot, &mut found).unwrap_or(false);
            }
        }
        found
    }

    fn open(&self, spot: &Spot) -> Result<Option<Dir>, FsError> {
        match &self.dir {
            Some(dir) if spot.on_disk => {
                let path = if spot.depth == 0 {
                    Path::new(".")
                } else {
                    &spot.path
                };
                match dir.open_dir(path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    opened => opened.map(Some),
                }
            }
            _ => Ok(None),
        }
    }

    fn scan_wanted(&self, spot: &Spot, node: NodeIdx, found: &mut Found) {
        let entries = self.tree.entries(node);
        let mut seen = vec![false; entries.len()];
        let opened = self.open(spot);
        let listed = opened.and_then(|dir| {
            let Some(dir) = dir else { return Ok(false) };
            dir.for_each_entry(|entry| match self.tree.entry(node, entry.name.as_bytes()) {
                Some(at) => {
                    seen[(at - entries.start) as usize] = true;
                    self.compare(&dir, spot, at, entry, found);
                }
                None => {
                    if let Some(link) = self.superfluous(&dir, spot, entry, found) {
                        found.act(spot.path.join(link), Change::RemoveLink);
                    }
                }
            })?;
            Ok(true)
        });
        match listed {
            Ok(true) => {}
            Ok(false) if entries.is_empty() => {}
            Ok(false) => found.act(spot.path.clone(), Change::MakeDir),
            Err(error) => {
                let what = format!("a folder that cannot be read ({})", error.cause);
                return self.obstruct(spot.path.clone(), node, what, found);
            }
        }
        let missing = entries.zip(seen).filter(|(_, seen)| !seen);
        missing.for_each(|(at, _)| self.add_missing(spot, at, found));
        // Not in the order of the file system.
        found.actions.sort_by(|a, b| a.path.cmp(&b.path));
        found.below.sort_by_key(|spot| match spot.role {
            Role::Wanted(at) => at,
            Role::Obsolete { .. } => NodeIdx::MAX,
        });
    }

    /// Compares an entry with that of the tree which has its name.
    fn compare(&self, dir: &Dir, spot: &Spot, at: NodeIdx, entry: DirEntry<'_>, found: &mut Found) {
        let path = || spot.path.join(entry.name);
        match (self.tree.node(at), entry.kind) {
            (Node::Dir { .. }, EntryKind::Dir) => found.below.push(Spot {
                role: Role::Wanted(at),
                ..spot.below(entry.name)
            }),
            (Node::Leaf(job), EntryKind::Dir) => found.below.push(Spot {
                role: Role::Obsolete {
                    parent: None,
                    gives_way_to: Some(self.id(job)),
                },
                ..spot.below(entry.name)
            }),
            (node, EntryKind::Link) => match (node, self.behind(dir, spot, entry.name)) {
                (_, Behind::Gone) => self.add_missing(spot, at, found),
                (_, Behind::Other(text)) => {
                    let text = text.display();
                    let what = format!("a link to `{text}`, which is no job of this workspace");
                    self.obstruct(path(), at, what, found);
                }
                (Node::Leaf(job), Behind::Job(id)) if self.id(job) == id => found.n_right += 1,
                (Node::Leaf(job), Behind::Job(_)) => {
                    found.act(path(), Change::ReplaceLink(self.id(job)));
                }
                (Node::Dir { .. }, Behind::Job(_)) => {
                    found.act(path(), Change::RemoveLink);
                    self.add_missing(spot, at, found);
                }
            },
            (_, EntryKind::Other) => self.obstruct(path(), at, "a file".to_owned(), found),
        }
    }

    /// Takes note of an entry that the tree does not have. Returns its name if it is a link of ours.
    fn superfluous<'e>(
        &self,
        dir: &Dir,
        spot: &Spot,
        entry: DirEntry<'e>,
        found: &mut Found,
    ) -> Option<&'e OsStr> {
        if entry.kind == EntryKind::Dir {
            found.below.push(Spot {
                role: Role::Obsolete {
                    parent: None,
                    gives_way_to: None,
                },
                ..spot.below(entry.name)
            });
            return None;
        }
        let may_be_ours = entry.kind == EntryKind::Link
            && (self.any_name || entry.name == LEAF || is_temporary_link(entry.name));
        if may_be_ours && matches!(self.behind(dir, spot, entry.name), Behind::Job(_)) {
            return Some(entry.name);
        }
        found.extra.get_or_insert_with(|| entry.name.to_owned());
        None
    }

    /// Looks at a directory that the tree does not have, but not into another file system.
    fn scan_obsolete(&self, spot: &Spot, found: &mut Found) -> Result<bool, FsError> {
        let Some(dir) = self.open(spot)? else {
            return Ok(true);
        };
        if dir.device()? != self.device {
            return Ok(false);
        }
        dir.for_each_entry(|entry| {
            let ours = self.superfluous(&dir, spot, entry, found);
            found.links.extend(ours.map(ToOwned::to_owned));
        })?;
        Ok(true)
    }

    fn behind(&self, dir: &Dir, spot: &Spot, name: &OsStr) -> Behind {
        let Ok(text) = dir.read_link(Path::new(name)) else {
            return Behind::Gone;
        };
        match self.place.job_behind(&spot.path, spot.depth, &text) {
            Some(job) => Behind::Job(job),
            None => Behind::Other(text),
        }
    }

    fn add_missing(&self, spot: &Spot, at: NodeIdx, found: &mut Found) {
        let name = OsStr::from_bytes(self.tree.name(at));
        match self.tree.node(at) {
            Node::Leaf(job) => found.act(spot.path.join(name), Change::MakeLink(self.id(job))),
            Node::Dir { .. } => found.below.push(Spot {
                on_disk: false,
                role: Role::Wanted(at),
                ..spot.below(name)
            }),
        }
    }

    fn obstruct(&self, path: PathBuf, at: NodeIdx, what: String, found: &mut Found) {
        found.obstacles.push(Obstacle {
            path,
            what,
            n_links: self.tree.span(at).len(),
        });
    }

    fn id(&self, job: u32) -> JobId {
        self.jobs[job as usize].id
    }
}

impl Spot {
    /// A directory in this one.
    fn below(&self, name: &OsStr) -> Self {
        Self {
            path: self.path.join(name),
            depth: self.depth + 1,
            ..*self
        }
    }
}

impl Found {
    fn act(&mut self, path: PathBuf, change: Change) {
        self.actions.push(Action { path, change });
    }

    /// Says in which obsolete directory those below are.
    fn set_parent(&mut self, of: usize) {
        for spot in &mut self.below {
            if let Role::Obsolete { parent, .. } = &mut spot.role {
                *parent = Some(of);
            }
        }
    }
}
