//! What lies at a path that stands in no tree, found when it is asked for.
//!
//! A [`Place`] is a directory or file that a path leads to. From one, a name leads to the next.
//! What was found is kept with the node of the path, and found again when what it was found in has
//! changed, or after a moment if it can change without notice.

use super::facts::Fact;
use super::fs::FsError;
use super::generation::Generation;
use super::nodes::{Above, PassingNode};
use super::shown::Served;
use super::tops::{LiveView, ShownTree, TopKind};
use crate::catalog::{FactsError, JobIdx, LiveFacts};
use crate::config::LeafStyle;
use crate::filter::Filter;
use crate::fsx::{Details, Dir, FileType, FsError as FileError, TimeNs, time_ns};
use crate::report::with_causes;
use crate::view::{ByDir, ByEntry, LEAF, Node, NodeIdx, other_spelling, text_names, unescaped};
use crate::workflow::{Flow, OperationMarks};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

/// A directory or file.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// The root above the trees.
    Root,
    /// The directory of all ids.
    Ids,
    /// A directory of a tree, perhaps without some jobs.
    Tree(TreePlace),
    /// A directory in which any parameter may be next.
    By(ByDir),
    /// All operations.
    Operations(Within),
    /// All states of one operation.
    States(Box<[u8]>, Within),
    /// All labels.
    Labels(Within),
    /// A view that cannot be shown, and why.
    Broken(Arc<str>),
    /// The text of a file.
    Text(Arc<str>),
    /// A file about the jobs of a directory.
    Fact(Fact, Arc<RoaringBitmap>),
    /// Something in a job's directory, or the directory itself if the path is empty.
    InJob(JobIdx, PathBuf),
}

/// The jobs to which a filter above narrows what is below.
pub(super) type Within = Option<Arc<RoaringBitmap>>;

/// A directory of a tree.
#[derive(Clone, Debug)]
pub(super) struct TreePlace {
    pub(super) tree: Arc<ShownTree>,
    pub(super) node: NodeIdx,
    pub(super) chosen: Option<Arc<Chosen>>,
}

/// Some jobs of a tree.
#[derive(Debug, PartialEq)]
pub(super) struct Chosen {
    jobs: Arc<RoaringBitmap>,
    /// Their places in the tree.
    places: RoaringBitmap,
}

impl TreePlace {
    fn at(&self, node: NodeIdx) -> Self {
        Self {
            node,
            ..self.clone()
        }
    }

    fn narrowed(&self, jobs: Arc<RoaringBitmap>) -> Self {
        let places = self.tree.places(&jobs);
        Self {
            chosen: Some(Arc::new(Chosen { jobs, places })),
            ..self.clone()
        }
    }

    /// Tells whether any chosen job is below a node.
    fn has(&self, node: NodeIdx) -> bool {
        let span = self.tree.tree.span(node);
        self.chosen
            .as_ref()
            .is_none_or(|chosen| chosen.places.range_cardinality(span) > 0)
    }

    fn jobs_below(&self, node: NodeIdx) -> impl Iterator<Item = JobIdx> + '_ {
        let span = self.tree.tree.span(node);
        let of_tree = self.tree.tree.jobs();
        let chosen = self.chosen.as_ref();
        let some = chosen.map(|chosen| chosen.places.range(span.clone()));
        let all = chosen.is_none().then_some(span);
        let places = some.into_iter().flatten().chain(all.into_iter().flatten());
        places.map(|place| of_tree[place as usize])
    }
}

/// What a name leads to.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Node(Place),
    /// The link to a job.
    Link(JobIdx),
    /// A link to the entry of that name.
    Alias(Box<[u8]>),
    /// A file or directory in a job's directory, and what `stat` shows of it.
    Real(Place, Details),
}

/// An entry of a directory.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) name: Box<[u8]>,
    pub(super) is: ListedKind,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub(super) enum ListedKind {
    /// A directory, with its time.
    Dir(TimeNs),
    Link(JobIdx),
    /// An ordinary file of that many bytes.
    File(u64),
    Real(Details),
}

/// What was found at a node.
#[derive(Clone, Debug)]
pub(super) struct Memo {
    /// What it was found in.
    above: u64,
    version: u64,
    /// When to look again.
    until: Option<Instant>,
    place: Arc<Place>,
}

/// A place, and a number that changes when the place does.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) place: Arc<Place>,
    pub(super) version: u64,
}

/// What is needed to find places in any generation.
#[derive(Debug)]
pub(super) struct Finder {
    pub(super) live: LiveFacts,
    next_version: AtomicU64,
    views: Mutex<HashMap<Box<[u8]>, BuiltView>>,
    marks: Mutex<Option<Arc<SeenMarks>>>,
}

#[derive(Debug)]
struct BuiltView {
    revision: (u64, u64),
    built: std::result::Result<Arc<ShownTree>, Arc<str>>,
}

#[derive(Debug)]
struct SeenMarks {
    serial: u64,
    at: Instant,
    labels: Vec<(Box<[u8]>, Arc<RoaringBitmap>)>,
    operations: Vec<(Box<[u8]>, OperationMarks)>,
}

/// Finds places in one generation.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) finder: &'a Finder,
    pub(super) generation: &'a Arc<Generation>,
    pub(super) served: &'a Served,
    pub(super) flow: &'a Flow,
}

type Result<T> = std::result::Result<T, FsError>;

impl Finder {
    pub(super) fn new(served: &Served) -> Self {
        Self {
            live: LiveFacts::new(&served.workspace, served.store.clone()),
            next_version: AtomicU64::new(1),
            views: Mutex::default(),
            marks: Mutex::default(),
        }
    }

    /// Returns a number that was not returned before.
    pub(super) fn next_version(&self) -> u64 {
        self.next_version.fetch_add(1, Ordering::Relaxed)
    }
}

impl At<'_> {
    /// Finds what is at a node.
    pub(super) fn place_of(&self, node: &PassingNode) -> Result<Resolved> {
        let above = match &node.above {
            Above::Nothing => None,
            Above::Lasting(ino) => Some(self.lasting(*ino)?),
            Above::Node(above) => Some(self.place_of(above)?),
        };
        let above_version = above
            .as_ref()
            .map_or(self.generation.serial, |above| above.version);
        let known = locked(&node.memo).clone();
        if let Some(memo) = &known
            && memo.above == above_version
            && memo.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(Resolved {
                place: Arc::clone(&memo.place),
                version: memo.version,
            });
        }
        let (place, passes) = match &above {
            None => self.top_place(self.generation.only.ok_or(FsError::Stale)?)?,
            Some(above) => match self.step(&above.place, &node.name)? {
                Some((Found::Node(place) | Found::Real(place, _), passes)) => (place, passes),
                _ => return Err(FsError::Stale),
            },
        };
        let same = known.filter(|memo| memo.above == above_version && memo.place.is(&place));
        let (place, version) = match same {
            Some(memo) => (memo.place, memo.version),
            None => (Arc::new(place), self.finder.next_version()),
        };
        *locked(&node.memo) = Some(Memo {
            above: above_version,
            version,
            until: passes.then(|| Instant::now() + self.served.moment),
            place: Arc::clone(&place),
        });
        Ok(Resolved { place, version })
    }

    /// Returns what a directory is that changes only with the generation.
    pub(super) fn lasting(&self, ino: u64) -> Result<Resolved> {
        let generation = self.generation;
        let place = if let Some((top, node)) = generation.find(ino) {
            let tree = Arc::clone(generation.tree(top));
            match tree.tree.node(node) {
                Node::Dir { .. } => Place::Tree(TreePlace {
                    tree,
                    node,
                    chosen: None,
                }),
                Node::Leaf(job) => Place::InJob(job, PathBuf::new()),
            }
        } else if generation.ids().is_some_and(|top| top.ino == ino) {
            Place::Ids
        } else if ino == super::ROOT {
            Place::Root
        } else {
            return Err(FsError::Stale);
        };
        Ok(Resolved {
            place: Arc::new(place),
            version: generation.serial,
        })
    }

    /// Returns a directory of the root, and whether it may change without notice.
    fn top_place(&self, top: usize) -> Result<(Place, bool)> {
        Ok(match &self.generation.tops[top].kind {
            TopKind::Tree(tree) => (self.whole(tree), false),
            TopKind::Live(view) => (self.live_view(view)?, true),
            TopKind::Broken(reason) => (Place::Broken(Arc::clone(reason)), false),
            TopKind::Ids => (Place::Ids, false),
            TopKind::Status => (Place::Operations(None), false),
            TopKind::Label => (Place::Labels(None), false),
            TopKind::By => (Place::By(self.generation.by.root()), false),
        })
    }

    fn whole(&self, tree: &Arc<ShownTree>) -> Place {
        Place::Tree(TreePlace {
            tree: Arc::clone(tree),
            node: 0,
            chosen: None,
        })
    }

    fn live_view(&self, view: &LiveView) -> Result<Place> {
        let snapshot = &self.generation.snapshot;
        let (now, age_max) = self.now();
        let mut views = locked(&self.finder.views);
        let known = views.get(&view.name);
        // The documents are looked at first: if they are as before, the tree is too.
        let all = snapshot.all();
        let looked = self.finder.live.ask(snapshot, now, age_max, |facts| {
            facts.keys(crate::filter::Space::Document, &all).map(drop)
        });
        let revision = (
            self.generation.serial,
            looked.map_err(|error| unavailable(&error))?.1,
        );
        let built = match known.filter(|known| known.revision == revision) {
            Some(known) => known.built.clone(),
            None => {
                let asked = self.finder.live.ask(snapshot, now, i64::MAX, |facts| {
                    Ok(view.tree(facts, snapshot, 0))
                });
                let built = asked.map_err(|error| unavailable(&error))?.0;
                let built = built.map(Arc::new).map_err(Arc::from);
                let name = view.name.clone();
                let kept = built.clone();
                views.insert(name, BuiltView { revision, built });
                kept
            }
        };
        Ok(match built {
            Ok(tree) => self.whole(&tree),
            Err(reason) => Place::Broken(reason),
        })
    }

    /// Follows a name from a directory; also tells whether the answer may change without notice.
    pub(super) fn step(&self, place: &Place, name: &[u8]) -> Result<Option<(Found, bool)>> {
        let entry = match place {
            Place::Root => match self
                .generation
                .tops
                .iter()
                .position(|top| *top.name == *name)
            {
                Some(top) => {
                    let (place, passes) = self.top_place(top)?;
                    Some((Found::Node(place), passes))
                }
                None => None,
            },
            Place::Tree(at) => self.step_in_tree(at, name).map(|found| (found, false)),
            Place::By(dir) => self.step_in_by(dir, name).map(|found| (found, false)),
            Place::Operations(within) => {
                let marks = self.seen_marks()?;
                let known = marks.operations.iter().any(|(known, _)| **known == *name);
                known.then(|| {
                    (
                        Found::Node(Place::States(name.into(), within.clone())),
                        true,
                    )
                })
            }
            Place::States(operation, within) => {
                let jobs = self.jobs_in_state(operation, name)?;
                jobs.map(|jobs| (Found::Node(self.of_jobs(&jobs, within)), true))
            }
            Place::Labels(within) => {
                let marks = self.seen_marks()?;
                let known = marks.labels.iter().find(|(known, _)| **known == *name);
                known.map(|(_, jobs)| (Found::Node(self.of_jobs(jobs, within)), true))
            }
            Place::Broken(reason) if name == BROKEN => {
                Some((Found::Node(Place::Text(Arc::clone(reason))), false))
            }
            Place::InJob(job, path) => self.step_in_job(*job, path, name)?,
            Place::Ids | Place::Broken(_) | Place::Text(_) | Place::Fact(..) => None,
        };
        match entry {
            None => self.step_beside(place, name),
            found => Ok(found),
        }
    }

    /// Follows a name that is no entry.
    pub(super) fn step_beside(&self, place: &Place, name: &[u8]) -> Result<Option<(Found, bool)>> {
        if let Some(fact) = Fact::named(name) {
            let jobs = self.jobs(place)?;
            return Ok(jobs.map(|jobs| (Found::Node(Place::Fact(fact, Arc::new(jobs))), true)));
        }
        if !matches!(
            place,
            Place::Tree(_)
                | Place::By(_)
                | Place::Operations(_)
                | Place::States(..)
                | Place::Labels(_)
        ) {
            return Ok(None);
        }
        if let Some(filter) = filter_named(name) {
            let passes = filter.expr().needs_documents();
            return Ok(Some((Found::Node(self.narrowed(place, &filter)?), passes)));
        }
        let shown = other_spelling(name).filter(|_| matches!(place, Place::Tree(_) | Place::By(_)));
        let Some(shown) = shown else {
            return Ok(None);
        };
        let leads = match place {
            Place::Tree(at) => self.step_in_tree(at, &shown).is_some(),
            Place::By(dir) => self.step_in_by(dir, &shown).is_some(),
            _ => false,
        };
        Ok(leads.then_some((Found::Alias(shown), false)))
    }

    fn step_in_tree(&self, at: &TreePlace, name: &[u8]) -> Option<Found> {
        let tree = &at.tree.tree;
        let entry = tree.entry(at.node, name).filter(|&entry| at.has(entry))?;
        Some(match tree.node(entry) {
            Node::Dir { .. } => Found::Node(Place::Tree(at.at(entry))),
            Node::Leaf(job) => leaf(job, at.tree.leaf),
        })
    }

    fn step_in_by(&self, dir: &ByDir, name: &[u8]) -> Option<Found> {
        let style = self.served.shown.leaf;
        Some(match self.generation.by.entry(dir, name)? {
            ByEntry::Leaf(job) => leaf(job, style),
            ByEntry::Dir(dir) => match dir.single().filter(|_| style == LeafStyle::Collapsed) {
                Some(job) => Found::Link(job),
                None => Found::Node(Place::By(dir)),
            },
        })
    }

    fn step_in_job(
        &self,
        job: JobIdx,
        path: &std::path::Path,
        name: &[u8],
    ) -> Result<Option<(Found, bool)>> {
        let path = path.join(OsStr::from_bytes(name));
        let details = match self.job_dir(job)?.details(&path) {
            Ok(details) => details,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(io_error(&error)),
        };
        let found = is_shown(details.file_type)
            .then(|| (Found::Real(Place::InJob(job, path), details), true));
        Ok(found)
    }

    /// Opens a job's directory.
    pub(super) fn job_dir(&self, job: JobIdx) -> Result<Dir> {
        let id = self.generation.snapshot.jobs()[job as usize].id;
        Dir::open(&self.served.workspace.job_dir(&id)).map_err(|error| io_error(&error))
    }

    /// Returns the directory without jobs that do not satisfy a filter.
    fn narrowed(&self, place: &Place, filter: &Filter) -> Result<Place> {
        let of = match place {
            // Jobs may come to have a state or label after this.
            Place::Operations(within) | Place::States(_, within) | Place::Labels(within) => {
                match within {
                    Some(within) => (**within).clone(),
                    None => self.generation.snapshot.all(),
                }
            }
            _ => self.jobs(place)?.unwrap_or_default(),
        };
        let jobs = Arc::new(self.select(filter, &of)?);
        Ok(match place {
            Place::Tree(at) => Place::Tree(at.narrowed(jobs)),
            Place::By(dir) => Place::By(dir.narrowed(&jobs)),
            Place::Operations(_) => Place::Operations(Some(jobs)),
            Place::States(operation, _) => Place::States(operation.clone(), Some(jobs)),
            Place::Labels(_) => Place::Labels(Some(jobs)),
            other => other.clone(),
        })
    }

    /// Returns those of some jobs that satisfy a filter.
    fn select(&self, filter: &Filter, jobs: &RoaringBitmap) -> Result<RoaringBitmap> {
        let (snapshot, live) = (&self.generation.snapshot, &self.finder.live);
        let (now, age_max) = self.now();
        let selected = match filter.expr().needs_documents() {
            true => live
                .ask(snapshot, now, age_max, |facts| facts.select(filter, jobs))
                .map(|(selected, _)| selected),
            false => live.ask_statepoints(snapshot, |facts| facts.select(filter, jobs)),
        };
        selected.map_err(|error| unavailable(&error))
    }

    /// Returns the time, and how old what is known of documents may be.
    pub(super) fn now(&self) -> (TimeNs, TimeNs) {
        let moment = self.served.moment.as_nanos() as TimeNs;
        (time_ns(SystemTime::now()), moment)
    }

    /// Returns the jobs below a directory; `None` if it has to do with none.
    pub(super) fn jobs(&self, place: &Place) -> Result<Option<RoaringBitmap>> {
        let snapshot = &self.generation.snapshot;
        Ok(Some(match place {
            Place::Root | Place::Ids => snapshot.all(),
            Place::Tree(at) => {
                let mut jobs: Vec<_> = at.jobs_below(at.node).collect();
                jobs.sort_unstable();
                jobs.into_iter().collect()
            }
            Place::By(dir) => (**dir.jobs()).clone(),
            Place::Operations(within) => {
                let marks = self.seen_marks()?;
                let states = marks.operations.iter().flat_map(|(_, marks)| &marks.states);
                within_jobs(states.map(|(_, jobs)| jobs), within)
            }
            Place::States(operation, within) => {
                let marks = self.seen_marks()?;
                let operation = marks
                    .operations
                    .iter()
                    .filter(|(name, _)| name == operation);
                let states = operation.flat_map(|(_, marks)| &marks.states);
                within_jobs(states.map(|(_, jobs)| jobs), within)
            }
            Place::Labels(within) => {
                let marks = self.seen_marks()?;
                within_jobs(marks.labels.iter().map(|(_, jobs)| &**jobs), within)
            }
            Place::InJob(job, path) if path.as_os_str().is_empty() => {
                RoaringBitmap::from_iter([*job])
            }
            Place::Broken(_) | Place::Text(_) | Place::Fact(..) | Place::InJob(..) => {
                return Ok(None);
            }
        }))
    }

    /// Returns when the newest job below a directory was created.
    pub(super) fn newest_below(&self, place: &Place) -> Result<TimeNs> {
        Ok(match place {
            Place::Tree(at) => self.newest(at.jobs_below(at.node)),
            Place::By(dir) => self.newest(dir.jobs().iter()),
            other => self.newest(self.jobs(other)?.unwrap_or_default().iter()),
        })
    }

    /// Returns the default hierarchy of some jobs.
    fn of_jobs(&self, jobs: &Arc<RoaringBitmap>, within: &Within) -> Place {
        let jobs = match within {
            None => Arc::clone(jobs),
            Some(within) => Arc::new(&**jobs & &**within),
        };
        let whole = TreePlace {
            tree: Arc::clone(self.generation.auto()),
            node: 0,
            chosen: None,
        };
        Place::Tree(whole.narrowed(jobs))
    }

    fn jobs_in_state(&self, operation: &[u8], name: &[u8]) -> Result<Option<Arc<RoaringBitmap>>> {
        let marks = self.seen_marks()?;
        let mut states = marks
            .operations
            .iter()
            .filter(|(known, _)| **known == *operation)
            .flat_map(|(_, marks)| &marks.states);
        let found = states.find(|(state, _)| state.name().as_bytes() == name);
        Ok(found.map(|(_, jobs)| Arc::new(jobs.clone())))
    }

    /// Returns labels and states as they were at most a moment ago.
    fn seen_marks(&self) -> Result<Arc<SeenMarks>> {
        let mut seen = locked(&self.finder.marks);
        if let Some(marks) = &*seen
            && marks.serial == self.generation.serial
            && marks.at.elapsed() < self.served.moment
        {
            return Ok(Arc::clone(marks));
        }
        let at = Instant::now();
        let (now, age_max) = self.now();
        let snapshot = &self.generation.snapshot;
        let asked = self.finder.live.ask(snapshot, now, age_max, |facts| {
            self.flow.marks(facts, &facts.all())
        });
        let marks = asked.map_err(|error| unavailable(&error))?.0;
        let (labels, operations) = (marks.labels, marks.operations);
        let label_names = text_names(labels.iter().map(|(name, _)| name.as_str()));
        let names = text_names(operations.iter().map(|marks| marks.name.as_str()));
        let labels = labels.into_iter().map(|(_, jobs)| Arc::new(jobs));
        let marks = Arc::new(SeenMarks {
            serial: self.generation.serial,
            at,
            labels: label_names.into_iter().zip(labels).collect(),
            operations: names.into_iter().zip(operations).collect(),
        });
        *seen = Some(Arc::clone(&marks));
        Ok(marks)
    }

    /// Lists a directory.
    pub(super) fn entries(&self, place: &Place) -> Result<Vec<Listed>> {
        let dir = |name: &[u8], jobs: &RoaringBitmap| Listed {
            name: name.into(),
            is: ListedKind::Dir(self.newest(jobs.iter())),
        };
        Ok(match place {
            Place::Tree(at) => self.tree_entries(at),
            Place::By(dir) => self.by_entries(dir),
            Place::Operations(within) => {
                let marks = self.seen_marks()?;
                let entry = |(name, marks): &(Box<[u8]>, OperationMarks)| {
                    dir(
                        name,
                        &within_jobs(marks.states.iter().map(|(_, jobs)| jobs), within),
                    )
                };
                marks.operations.iter().map(entry).collect()
            }
            Place::States(operation, within) => {
                let marks = self.seen_marks()?;
                let found = marks.operations.iter().find(|(name, _)| name == operation);
                let (_, found) = found.ok_or(FsError::Stale)?;
                let states = found.states.iter();
                let entry = |(state, jobs): &(crate::workflow::FlowState, RoaringBitmap)| {
                    dir(
                        state.name().as_bytes(),
                        &within_jobs([jobs].into_iter(), within),
                    )
                };
                states.map(entry).collect()
            }
            Place::Labels(within) => {
                let marks = self.seen_marks()?;
                let entry = |(name, jobs): &(Box<[u8]>, Arc<RoaringBitmap>)| {
                    dir(name, &within_jobs([&**jobs].into_iter(), within))
                };
                marks.labels.iter().map(entry).collect()
            }
            Place::Broken(reason) => vec![Listed {
                name: BROKEN.into(),
                is: ListedKind::File(reason.len() as u64 + 1),
            }],
            Place::InJob(job, path) => self.real_entries(*job, path)?,
            Place::Root | Place::Ids | Place::Text(_) | Place::Fact(..) => {
                return Err(FsError::NotADirectory);
            }
        })
    }

    fn tree_entries(&self, at: &TreePlace) -> Vec<Listed> {
        let tree = &at.tree.tree;
        let entries = tree.entries(at.node).filter(|&entry| at.has(entry));
        let listed = entries.map(|entry| Listed {
            name: tree.name(entry).into(),
            is: match tree.node(entry) {
                Node::Dir { .. } => ListedKind::Dir(self.newest(at.jobs_below(entry))),
                Node::Leaf(job) => self.listed_leaf(job, at.tree.leaf),
            },
        });
        listed.collect()
    }

    fn by_entries(&self, dir: &ByDir) -> Vec<Listed> {
        let style = self.served.shown.leaf;
        let listed = self.generation.by.entries(dir).into_iter();
        let listed = listed.map(|entry| Listed {
            is: match entry {
                _ if entry.is_leaf => self.listed_leaf(entry.newest, style),
                _ if entry.is_single && style == LeafStyle::Collapsed => {
                    ListedKind::Link(entry.newest)
                }
                _ => ListedKind::Dir(self.modified(entry.newest)),
            },
            name: entry.name,
        });
        listed.collect()
    }

    fn real_entries(&self, job: JobIdx, path: &std::path::Path) -> Result<Vec<Listed>> {
        let dir = self.job_dir(job)?;
        let mut names = Vec::new();
        let list = |dir: &Dir, names: &mut Vec<Box<[u8]>>| {
            dir.for_each_entry(|entry| names.push(entry.name.as_bytes().into()))
        };
        let listed = match path.as_os_str().is_empty() {
            true => list(&dir, &mut names),
            false => dir
                .open_dir(path)
                .and_then(|inner| list(&inner, &mut names)),
        };
        listed.map_err(|error| io_error(&error))?;
        names.sort_unstable();
        let entry = |name: Box<[u8]>| {
            let details = dir.details(&path.join(OsStr::from_bytes(&name))).ok()?;
            is_shown(details.file_type).then_some(Listed {
                name,
                is: ListedKind::Real(details),
            })
        };
        Ok(names.into_iter().filter_map(entry).collect())
    }

    fn listed_leaf(&self, job: JobIdx, style: LeafStyle) -> ListedKind {
        match style {
            LeafStyle::Dir => ListedKind::Dir(self.modified(job)),
            LeafStyle::Link | LeafStyle::Collapsed => ListedKind::Link(job),
        }
    }

    /// Returns when the newest of some jobs was created, or the newest of all.
    pub(super) fn newest(&self, jobs: impl Iterator<Item = JobIdx>) -> TimeNs {
        jobs.map(|job| self.modified(job))
            .max()
            .unwrap_or(self.generation.newest)
    }

    pub(super) fn modified(&self, job: JobIdx) -> TimeNs {
        self.generation.snapshot.jobs()[job as usize].modified
    }
}

impl Place {
    /// Tells whether two places of the same path are the same to whom looks.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tree(a), Self::Tree(b)) => {
                Arc::ptr_eq(&a.tree, &b.tree) && a.node == b.node && a.chosen == b.chosen
            }
            (Self::By(a), Self::By(b)) => a == b,
            (Self::Operations(a), Self::Operations(b)) | (Self::Labels(a), Self::Labels(b)) => {
                a == b
            }
            (Self::States(a, within), Self::States(b, other)) => a == b && within == other,
            (Self::Fact(a, jobs), Self::Fact(b, others)) => a == b && jobs == others,
            (Self::InJob(a, path), Self::InJob(b, other)) => a == b && path == other,
            (Self::Text(a), Self::Text(b)) | (Self::Broken(a), Self::Broken(b)) => a == b,
            _ => false,
        }
    }
}

/// The file in a view that cannot be shown.
const BROKEN: &[u8] = b"ERROR";

fn leaf(job: JobIdx, style: LeafStyle) -> Found {
    match style {
        LeafStyle::Dir => Found::Node(Place::InJob(job, PathBuf::new())),
        LeafStyle::Link | LeafStyle::Collapsed => Found::Link(job),
    }
}

/// Reads a filter that is the name of a directory: one with an operator in it.
fn filter_named(name: &[u8]) -> Option<Filter> {
    if !has_operator(name) || name == LEAF.as_bytes() {
        return None;
    }
    let text = String::from_utf8(unescaped(name)).ok()?;
    Filter::parse_args(&[&text]).ok()
}

fn has_operator(name: &[u8]) -> bool {
    name.iter().any(|byte| b"=<>~!".contains(byte))
}

/// Tells whether a name is certainly neither that of a filter, nor of a file about jobs, nor of a
/// job's directory.
pub(super) fn is_plain(name: &[u8], job_is_dir: bool) -> bool {
    !has_operator(name) && name.first() != Some(&b'.') && !(job_is_dir && name == LEAF.as_bytes())
}

fn within_jobs<'a>(
    sets: impl Iterator<Item = &'a RoaringBitmap>,
    within: &Within,
) -> RoaringBitmap {
    let jobs = sets.fold(RoaringBitmap::new(), |all, jobs| all | jobs);
    match within {
        None => jobs,
        Some(within) => jobs & &**within,
    }
}

/// Devices are left out.
fn is_shown(file_type: FileType) -> bool {
    matches!(
        file_type,
        FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
    )
}

fn is_absence(error: &FileError) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

pub(super) fn io_error(error: &FileError) -> FsError {
    match is_absence(error) {
        true => FsError::Stale,
        false => FsError::Io(error.cause.raw_os_error()),
    }
}

fn unavailable(error: &FactsError) -> FsError {
    tracing::warn!("{}", with_causes(error));
    FsError::Io(None)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
