//! The directories of the root: which there are, and what each holds.

use super::ROOT;
use super::shown::Served;
use crate::catalog::{Facts, JobIdx, LiveFacts, Snapshot};
use crate::config::{LeafStyle, ViewConfig};
use crate::report::with_causes;
use crate::view::{PathSpec, Paths, Shape, Tree, default_paths, path_hash, spec_paths};
use roaring::RoaringBitmap;
use std::sync::{Arc, OnceLock};

/// A tree of paths, and what its leaves are.
#[derive(Debug)]
pub(super) struct ShownTree {
    pub(super) tree: Tree,
    pub(super) leaf: LeafStyle,
    /// The place of each job in [`Tree::jobs`].
    ranks: OnceLock<Vec<u32>>,
}

/// The place of a job that is not in a tree.
const NOWHERE: u32 = u32::MAX;

impl ShownTree {
    pub(super) fn new(paths: Paths, leaf: LeafStyle, root_hash: u64, snapshot: &Snapshot) -> Self {
        let modified = |job: JobIdx| snapshot.jobs()[job as usize].modified;
        let shape = match leaf {
            LeafStyle::Collapsed => Shape::Collapsed,
            LeafStyle::Link | LeafStyle::Dir => Shape::Full,
        };
        Self {
            tree: Tree::build(paths, shape, root_hash, modified),
            leaf,
            ranks: OnceLock::new(),
        }
    }

    /// Returns the places of some jobs in [`Tree::jobs`].
    pub(super) fn places(&self, jobs: &RoaringBitmap) -> RoaringBitmap {
        let ranks = self.ranks.get_or_init(|| {
            let of_tree = self.tree.jobs();
            let n_ranks = of_tree.iter().max().map_or(0, |&job| job as usize + 1);
            let mut ranks = vec![NOWHERE; n_ranks];
            for (rank, &job) in (0..).zip(of_tree) {
                ranks[job as usize] = rank;
            }
            ranks
        });
        let rank = |job: JobIdx| ranks.get(job as usize).copied();
        let mut places: Vec<_> = jobs.iter().filter_map(rank).collect();
        places.retain(|&place| place != NOWHERE);
        places.sort_unstable();
        places.into_iter().collect()
    }
}

/// A directory of the root.
#[derive(Clone, Debug)]
pub(super) struct Top {
    pub(super) name: Box<[u8]>,
    pub(super) ino: u64,
    pub(super) kind: TopKind,
}

/// What a directory of the root holds.
#[derive(Clone, Debug)]
pub(super) enum TopKind {
    /// A tree that changes only if the jobs do.
    Tree(Arc<ShownTree>),
    /// A named view that depends on documents.
    Live(Arc<LiveView>),
    /// A named view that cannot be shown, and why.
    Broken(Arc<str>),
    Ids,
    Status,
    Label,
    By,
}

impl TopKind {
    /// Tells whether the kernel is told when it changes.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self, Self::Tree(_) | Self::Ids)
    }
}

/// A named view, understood.
#[derive(Debug)]
pub(super) struct LiveView {
    pub(super) name: Box<[u8]>,
    path: Option<PathSpec>,
    config: ViewConfig,
    leaf: LeafStyle,
}

impl LiveView {
    fn new(name: &str, config: &ViewConfig, leaf: LeafStyle) -> Result<Self, String> {
        let path = match &config.path {
            None => None,
            Some(text) => Some(
                PathSpec::parse(text)
                    .map_err(|error| with_hint(with_causes(&error), error.hint()))?,
            ),
        };
        Ok(Self {
            name: name.as_bytes().into(),
            path,
            config: config.clone(),
            leaf: config.leaf.unwrap_or(leaf),
        })
    }

    fn needs_documents(&self) -> bool {
        let by_filter = |filter: &crate::filter::Filter| filter.expr().needs_documents();
        self.config.filter.as_ref().is_some_and(by_filter)
            || self.path.as_ref().is_some_and(PathSpec::needs_documents)
    }

    /// Builds the tree, or says why it cannot be.
    pub(super) fn tree(
        &self,
        facts: &Facts<'_>,
        snapshot: &Snapshot,
        root_hash: u64,
    ) -> Result<ShownTree, String> {
        let paths = || {
            let all = facts.all();
            let jobs = match &self.config.filter {
                None => all,
                Some(filter) => facts
                    .select(filter, &all)
                    .map_err(|error| with_causes(&error))?,
            };
            match &self.path {
                None => Ok(default_paths(snapshot, &jobs)),
                Some(spec) => {
                    let paths = spec_paths(snapshot, facts, &jobs, spec);
                    paths.map_err(|error| with_hint(with_causes(&error), error.hint().as_deref()))
                }
            }
        };
        Ok(ShownTree::new(paths()?, self.leaf, root_hash, snapshot))
    }
}

/// The name of the view that takes the place of the default hierarchy.
const DEFAULT_VIEW: &str = "default";

/// Makes the directories of the root in the order of listing, and tells which of them is the root
/// itself.
pub(super) fn tops(
    snapshot: &Snapshot,
    served: &Served,
    live: &LiveFacts,
) -> (Vec<Top>, Option<usize>) {
    let shown = &served.shown;
    let mut tops = Vec::new();
    let mut add = |name: &str, make: &dyn Fn(u64) -> TopKind| {
        let is_root = shown.tree.as_deref() == Some(name);
        if shown.tree.is_some() && !is_root {
            return;
        }
        let ino = match is_root {
            true => ROOT,
            false => path_hash(ROOT, name.as_bytes()),
        };
        tops.push(Top {
            name: name.as_bytes().into(),
            ino,
            kind: make(ino),
        });
    };
    let named = |name: &str, config: &ViewConfig, ino: u64| {
        let built = LiveView::new(name, config, shown.leaf).and_then(|view| {
            if view.needs_documents() {
                return Ok(TopKind::Live(Arc::new(view)));
            }
            let tree = live.ask_statepoints(snapshot, |facts| Ok(view.tree(facts, snapshot, ino)));
            let tree = tree.map_err(|error| with_causes(&error))??;
            Ok(TopKind::Tree(Arc::new(tree)))
        });
        built.unwrap_or_else(|reason| {
            tracing::warn!("the view `{name}` cannot be shown: {reason}");
            TopKind::Broken(reason.into())
        })
    };
    let views = &served.config.views;
    add("view", &|ino| match views.get(DEFAULT_VIEW) {
        Some(config) => named(DEFAULT_VIEW, config, ino),
        None => TopKind::Tree(Arc::new(auto_tree(snapshot, shown.leaf, ino))),
    });
    for (name, config) in views.iter().filter(|(name, _)| *name != DEFAULT_VIEW) {
        add(name, &|ino| named(name, config, ino));
    }
    add("status", &|_| TopKind::Status);
    add("label", &|_| TopKind::Label);
    add("id", &|_| TopKind::Ids);
    if shown.by || shown.tree.as_deref() == Some("by") {
        add("by", &|_| TopKind::By);
    }
    let only = (shown.tree.is_some() && !tops.is_empty()).then_some(0);
    (tops, only)
}

/// Builds the tree of default paths.
pub(super) fn auto_tree(snapshot: &Snapshot, leaf: LeafStyle, root_hash: u64) -> ShownTree {
    let paths = default_paths(snapshot, &snapshot.all());
    ShownTree::new(paths, leaf, root_hash, snapshot)
}

fn with_hint(error: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error,
    }
}
