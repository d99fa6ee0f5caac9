//! Directories of trees, and those in which any parameter may be next.

use super::{At, Found, Listed, ListedKind, Place, Result, locked, unavailable};
use crate::catalog::JobIdx;
use crate::config::LeafStyle;
use crate::filter::Space;
use crate::mount::tops::{LiveView, ShownTree};
use crate::view::{ByDir, ByEntry, Node, NodeIdx};
use roaring::RoaringBitmap;
use std::path::PathBuf;
use std::sync::Arc;

/// A directory of a tree.
#[derive(Clone, Debug)]
pub(in crate::mount) struct TreePlace {
    tree: Arc<ShownTree>,
    node: NodeIdx,
    chosen: Option<Arc<Chosen>>,
}

/// Some jobs of a tree.
#[derive(Debug, PartialEq)]
struct Chosen {
    jobs: Arc<RoaringBitmap>,
    /// Their places in the tree.
    places: RoaringBitmap,
}

impl TreePlace {
    /// Returns the root of a tree.
    pub(super) fn root(tree: &Arc<ShownTree>) -> Self {
        Self::of(tree, 0)
    }

    pub(super) fn of(tree: &Arc<ShownTree>, node: NodeIdx) -> Self {
        Self {
            tree: Arc::clone(tree),
            node,
            chosen: None,
        }
    }

    /// Tells whether both show the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tree, &other.tree)
            && self.node == other.node
            && self.chosen == other.chosen
    }

    /// Returns the jobs below the directory.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobIdx> + '_ {
        self.jobs_below(self.node)
    }

    fn at(&self, node: NodeIdx) -> Self {
        Self {
            node,
            ..self.clone()
        }
    }

    /// Returns the directory without jobs that are not among some.
    pub(super) fn narrowed(&self, jobs: Arc<RoaringBitmap>) -> Self {
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

/// A view that rests on documents, as it was when they were last looked at.
#[derive(Debug)]
pub(super) struct BuiltView {
    revision: (u64, u64),
    built: std::result::Result<Arc<ShownTree>, Arc<str>>,
}

impl At<'_> {
    pub(super) fn live_view(&self, view: &LiveView) -> Result<Place> {
        let snapshot = &self.generation.snapshot;
        let (now, age_max) = self.now();
        let mut views = locked(&self.finder.views);
        let known = views.get(&view.name);
        // The documents are looked at first: if they are as before, the tree is too.
        let all = snapshot.all();
        let looked = self.finder.live.ask(snapshot, now, age_max, |facts| {
            facts.keys(Space::Document, &all).map(drop)
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
            Ok(tree) => Place::Tree(TreePlace::root(&tree)),
            Err(reason) => Place::Broken(reason),
        })
    }

    /// Returns the default hierarchy of some jobs.
    pub(super) fn of_jobs(&self, jobs: Arc<RoaringBitmap>) -> Place {
        Place::Tree(TreePlace::root(self.generation.auto()).narrowed(jobs))
    }

    pub(super) fn step_in_tree(&self, at: &TreePlace, name: &[u8]) -> Option<Found> {
        let tree = &at.tree.tree;
        let entry = tree.entry(at.node, name).filter(|&entry| at.has(entry))?;
        Some(match tree.node(entry) {
            Node::Dir { .. } => Found::Node(Place::Tree(at.at(entry))),
            Node::Leaf(job) => leaf(job, at.tree.leaf),
        })
    }

    pub(super) fn step_in_by(&self, dir: &ByDir, name: &[u8]) -> Option<Found> {
        let style = self.served.shown.leaf;
        Some(match self.generation.by.entry(dir, name)? {
            ByEntry::Leaf(job) => leaf(job, style),
            ByEntry::Dir(dir) => match dir.single().filter(|_| style == LeafStyle::Collapsed) {
                Some(job) => Found::Link(job),
                None => Found::Node(Place::By(dir)),
            },
        })
    }

    pub(super) fn tree_entries(&self, at: &TreePlace) -> Vec<Listed> {
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

    pub(super) fn by_entries(&self, dir: &ByDir) -> Vec<Listed> {
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

    fn listed_leaf(&self, job: JobIdx, style: LeafStyle) -> ListedKind {
        match style {
            LeafStyle::Dir => ListedKind::Dir(self.modified(job)),
            LeafStyle::Link | LeafStyle::Collapsed => ListedKind::Link(job),
        }
    }
}

fn leaf(job: JobIdx, style: LeafStyle) -> Found {
    match style {
        LeafStyle::Dir => Found::Node(Place::InJob(job, PathBuf::new())),
        LeafStyle::Link | LeafStyle::Collapsed => Found::Link(job),
    }
}
