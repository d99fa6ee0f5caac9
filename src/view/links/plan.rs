//! What has to be done on disk to get a tree, as data.
//!
//! The tree and the disk are walked side by side, level by level, so that no depth is too deep.

use super::memory::Memory;
use super::place::LinkDir;
use crate::catalog::JobEntry;
use crate::fsx::{Dir, DirEntry, EntryKind, FsError, is_temporary_link};
use crate::statepoint::JobId;
use crate::view::{LEAF, Node, NodeIdx, Shape, Tree};
use rayon::prelude::*;
use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories that one task looks at, at least.
const SCAN_CHUNK: usize = 16;

/// One change below a directory of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What is changed, below the directory.
    pub path: PathBuf,
    /// How.
    pub change: Change,
}

/// What is done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A link of ours is removed.
    RemoveLink,
    /// A directory that is empty then is removed.
    RemoveDir,
    /// A directory is made.
    MakeDir,
    /// A link of ours gets another text, to lead to this job.
    ReplaceLink(JobId),
    /// A link to a job is made.
    MakeLink(JobId),
}

/// Something that is not ours and stands where a link or a directory should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Where, below the directory.
    pub path: PathBuf,
    /// What it is, a fragment.
    pub what: String,
    /// How many links cannot be made.
    pub n_links: usize,
}

/// What has to be done to get a tree of links.
#[derive(Clone, Debug)]
pub struct LinkPlan {
    /// The changes, in the order in which they can be made.
    pub actions: Vec<Action>,
    /// What is in the way; all else can be done.
    pub obstacles: Vec<Obstacle>,
    /// Entries that are not ours, in directories which nothing else needs any more.
    pub kept: Vec<PathBuf>,
    /// The number of links that are right.
    pub n_right: usize,
    pub(super) shape: Shape,
}

impl LinkPlan {
    /// Compares a tree with what is on disk. `jobs` are those that the tree numbers.
    pub fn new(
        place: &LinkDir,
        memory: &Memory,
        tree: &Tree,
        shape: Shape,
        jobs: &[JobEntry],
    ) -> Result<Self, FsError> {
        let dir = match Dir::open(place.prefix()) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        let device = dir.as_ref().map(Dir::device).transpose()?.unwrap_or(0);
        let scan = Scan {
            place,
            tree,
            jobs,
            dir,
            device,
            any_name: memory.known.collapsed || shape == Shape::Collapsed,
        };
        let (found, obsolete) = scan.run();
        let mut plan = Self {
            actions: found.actions,
            obstacles: found.obstacles,
            kept: Vec::new(),
            n_right: found.n_right,
            shape,
        };
        plan.add_obsolete(obsolete, memory.known.unfinished);
        plan.sort();
        Ok(plan)
    }

    /// Adds what becomes of directories that the tree does not have. They go if they hold nothing,
    /// and have lost a link of ours or may be left from a run that was interrupted.
    fn add_obsolete(&mut self, mut all: Vec<Obsolete>, may_be_left: bool) {
        for i in (0..all.len()).rev() {
            let dir = &mut all[i];
            dir.lost |= !dir.links.is_empty();
            dir.goes = dir.keeps.is_none() && (dir.lost || may_be_left);
            let (goes, lost, path) = (dir.goes, dir.lost, dir.path.clone());
            if let Some(parent) = dir.parent {
                all[parent].lost |= lost;
                if !goes {
                    all[parent].keeps.get_or_insert(Kept::Below(path));
                }
            }
        }
        for i in 0..all.len() {
            let is_above_spared = all[i].parent.is_some_and(|parent| all[parent].spared);
            let dir = &mut all[i];
            dir.spared = is_above_spared || dir.gives_way_to.is_some() && !dir.goes;
            if !dir.spared {
                self.add_obsolete_dir(dir);
            } else if dir.gives_way_to.is_some() {
                self.obstacles.push(Obstacle {
                    path: dir.path.clone(),
                    what: match &dir.keeps {
                        Some(Kept::Entry(kept) | Kept::Below(kept)) => {
                            let name = kept.file_name().unwrap_or_default();
                            format!("a folder that holds `{}`", name.display())
                        }
                        Some(Kept::Unseen) | None => "a folder".to_owned(),
                    },
                    n_links: 1,
                });
            }
        }
    }

    fn add_obsolete_dir(&mut self, dir: &Obsolete) {
        let mut add = |path, change| self.actions.push(Action { path, change });
        for link in &dir.links {
            add(dir.path.join(link), Change::RemoveLink);
        }
        if dir.goes {
            add(dir.path.clone(), Change::RemoveDir);
            if let Some(job) = dir.gives_way_to {
                add(dir.path.clone(), Change::MakeLink(job));
            }
        } else if let (true, Some(Kept::Entry(kept))) = (dir.lost, &dir.keeps) {
            self.kept.push(kept.clone());
        }
    }

    /// Puts actions in the order in which they can be made.
    fn sort(&mut self) {
        self.actions.par_sort_by(|a, b| {
            let by_path = || match a.change {
                Change::RemoveLink | Change::RemoveDir => a.path.cmp(&b.path),
                // Those are in order as they were found.
                _ => Ordering::Equal,
            };
            a.stage().cmp(&b.stage()).then_with(by_path)
        });
        self.obstacles.sort_by(|a, b| a.path.cmp(&b.path));
        self.kept.sort();
    }
}

impl Action {
    /// Returns when it can be made; all of one stage can be made in any order. Directories wait for
    /// those above them, or for those below when they are removed.
    pub(super) fn stage(&self) -> (u8, isize) {
        let depth = || match self.path.as_os_str().as_bytes() {
            [] => 0,
            path => 1 + path.iter().filter(|&&byte| byte == b'/').count() as isize,
        };
        match self.change {
            Change::RemoveLink => (0, 0),
            Change::RemoveDir => (1, -depth()),
            Change::MakeDir => (2, depth()),
            Change::ReplaceLink(_) | Change::MakeLink(_) => (3, 0),
        }
    }
}

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

/// A directory that the tree does not have.
#[derive(Debug)]
struct Obsolete {
    path: PathBuf,
    parent: Option<usize>,
    gives_way_to: Option<JobId>,
    /// Links of ours in it.
    links: Vec<OsString>,
    /// Why it must stay.
    keeps: Option<Kept>,
    /// Whether a link of ours is removed from it or below.
    lost: bool,
    goes: bool,
    /// Whether it stays as it is, because something in it is in the way of a link.
    spared: bool,
}

#[derive(Clone, Debug)]
enum Kept {
    /// An entry of its own.
    Entry(PathBuf),
    /// A directory below that must stay.
    Below(PathBuf),
    /// It cannot be read, or belongs to another file system.
    Unseen,
}

/// What was found in one directory, or in all.
#[derive(Debug, Default)]
struct Found {
    actions: Vec<Action>,
    obstacles: Vec<Obstacle>,
    n_right: usize,
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

struct Scan<'a> {
    place: &'a LinkDir,
    tree: &'a Tree,
    jobs: &'a [JobEntry],
    /// The directory of links, if there is one.
    dir: Option<Dir>,
    device: u64,
    /// Whether links of any name may be ours.
    any_name: bool,
}

impl Scan<'_> {
    fn run(&self) -> (Found, Vec<Obsolete>) {
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
