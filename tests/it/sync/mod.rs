//! Syncing data spaces on this machine.

mod killed;
mod local;
pub(crate) mod model;
mod signac;
