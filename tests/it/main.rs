//! All integration tests, in one binary.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

mod bad_input;
mod by;
mod catalog;
mod cli;
mod clusters;
mod docs;
mod explain;
mod filter;
mod flow;
mod local_queue;
mod marks;
mod model;
mod mount;
mod paths;
mod query;
mod redirect;
mod reference;
mod run;
mod schedulers;
mod semantics;
mod sge;
mod signac;
mod slurm;
mod states;
mod status;
mod stress;
mod sync;
mod sync_guarded;
mod sync_hostile;
mod sync_served;
mod sync_ssh;
mod template;
mod tidy;
mod tools;
mod vectors;
mod view_links;
mod workflow;
mod workflow_import;
