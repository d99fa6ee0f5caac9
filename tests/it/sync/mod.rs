//! Syncing data spaces on this machine.

mod all;
mod clusters;
pub(crate) mod killed;
mod limits;
mod local;
pub(crate) mod model;
mod mounts;
mod plan;
mod remotes;
mod removed;
mod restored;
mod schema;
mod signac;
mod times;
pub(crate) mod undo;
