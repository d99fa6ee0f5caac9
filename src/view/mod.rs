//! Views: path spec and selection to a tree, and a tree to symbolic links on disk.
//!
//! Three pure steps lead to the tree: [`default_paths`] gives each job its path, `names` makes every component a
//! file name that is safe, reversible and unique, and [`Tree`] holds the hierarchy as a value.
//! [`LinkPlan`] brings a directory of links in line with it.

mod by;
mod links;
mod names;
mod plan;
mod spec;
mod tree;

pub use by::{ByDir, ByEntry, ByIndex, ByListed};
pub use links::{Action, Change, LinkDir, LinkPlan, Memory, Obstacle, PlaceError};
pub use names::{other_spelling, text_names, unescaped};
pub use plan::{Paths, default_paths, default_paths_of_few};
pub use spec::{PathSpec, PathsError, SpecError, spec_paths};
pub use tree::{HASH_BITS, Node, NodeIdx, Shape, Tree, path_hash};

/// Name of the entry that leads to a job.
pub const LEAF: &str = "job";

/// Hex digits of a job id in a path.
pub const ID_LEN: usize = crate::statepoint::JobId::LEN;

/// The level that keeps apart jobs which would share a path.
const ID_LEVEL: &str = "id";
