//! Syncing data spaces on this machine.

mod model;
