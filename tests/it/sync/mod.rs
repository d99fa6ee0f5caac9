//! Syncing data spaces on this machine.

mod killed;
mod local;
mod model;
mod signac;
