//! A tree as symbolic links on disk.
//!
//! A plan is made of the tree and of what is on disk; applying it is dull. What this program did
//! not make is never touched: only links that lead to a job of the workspace, and directories that
//! are empty without them, are.

mod apply;
mod memory;
mod place;
mod plan;
mod scan;

pub use memory::Memory;
pub use place::{LinkDir, PlaceError};
pub use plan::{Action, Change, LinkPlan, Obstacle};
