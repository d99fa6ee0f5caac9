//! What lies at a path that stands in no tree, found when it is asked for.
//!
//! A [`Place`] is a directory or file that a path leads to. From one, a name leads to the next.
//! What was found is kept with the node of the path, and found again when what it was found in has
//! changed, or after a moment if it can change without notice.

mod marks;
mod real;
mod tree;

pub(super) use real::io_error;

use super::facts::Fact;
use super::fs::FsError;
use super::generation::Generation;
use super::nodes::{Above, PassingNode};
use super::shown::Served;
use super::tops::TopKind;
use crate::catalog::{FactsError, JobIdx, LiveFacts};
use crate::filter::Filter;
use crate::fsx::{Details, TimeNs, time_ns};
use crate::report::with_causes;
use crate::view::{ByDir, LEAF, Node, other_spelling, unescaped};
use crate::workflow::Flow;
use marks::{Marked, SeenMarks};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use tree::{BuiltView, TreePlace};

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
    /// A directory of operations, states or labels.
    Marked(Marked),
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
            let tree = generation.tree(top);
            match tree.tree.node(node) {
                Node::Dir { .. } => Place::Tree(TreePlace::of(tree, node)),
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
            TopKind::Tree(tree) => (Place::Tree(TreePlace::root(tree)), false),
            TopKind::Live(view) => (self.live_view(view)?, true),
            TopKind::Broken(reason) => (Place::Broken(Arc::clone(reason)), false),
            TopKind::Ids => (Place::Ids, false),
            TopKind::Status => (Place::Marked(Marked::OPERATIONS), false),
            TopKind::Label => (Place::Marked(Marked::LABELS), false),
            TopKind::By => (Place::By(self.generation.by.root()), false),
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
            Place::Marked(dir) => self.step_in_marks(dir, name)?.map(|found| (found, true)),
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
        if !matches!(place, Place::Tree(_) | Place::By(_) | Place::Marked(_)) {
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

    /// Returns the directory without jobs that do not satisfy a filter.
    fn narrowed(&self, place: &Place, filter: &Filter) -> Result<Place> {
        let of = match place {
            // Jobs may come to have a state or label after this.
            Place::Marked(dir) => self.admitted(dir),
            _ => self.jobs(place)?.unwrap_or_default(),
        };
        let jobs = Arc::new(self.select(filter, &of)?);
        Ok(match place {
            Place::Tree(at) => Place::Tree(at.narrowed(jobs)),
            Place::By(dir) => Place::By(dir.narrowed(&jobs)),
            Place::Marked(dir) => Place::Marked(dir.narrowed(jobs)),
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
                let mut jobs: Vec<_> = at.jobs().collect();
                jobs.sort_unstable();
                jobs.into_iter().collect()
            }
            Place::By(dir) => (**dir.jobs()).clone(),
            Place::Marked(dir) => self.marked_jobs(dir)?,
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
            Place::Tree(at) => self.newest(at.jobs()),
            Place::By(dir) => self.newest(dir.jobs().iter()),
            other => self.newest(self.jobs(other)?.unwrap_or_default().iter()),
        })
    }

    /// Lists a directory.
    pub(super) fn entries(&self, place: &Place) -> Result<Vec<Listed>> {
        Ok(match place {
            Place::Tree(at) => self.tree_entries(at),
            Place::By(dir) => self.by_entries(dir),
            Place::Marked(dir) => self.marked_entries(dir)?,
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

    fn listed_dir(&self, name: Box<[u8]>, jobs: &RoaringBitmap) -> Listed {
        Listed {
            name,
            is: ListedKind::Dir(self.newest(jobs.iter())),
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
            (Self::Tree(a), Self::Tree(b)) => a.is(b),
            (Self::By(a), Self::By(b)) => a == b,
            (Self::Marked(a), Self::Marked(b)) => a == b,
            (Self::Fact(a, jobs), Self::Fact(b, others)) => a == b && jobs == others,
            (Self::InJob(a, path), Self::InJob(b, other)) => a == b && path == other,
            (Self::Text(a), Self::Text(b)) | (Self::Broken(a), Self::Broken(b)) => a == b,
            _ => false,
        }
    }
}

/// The file in a view that cannot be shown.
const BROKEN: &[u8] = b"ERROR";

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

fn unavailable(error: &FactsError) -> FsError {
    tracing::warn!("{}", with_causes(error));
    FsError::Io(None)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
