//! sweepfs: a signac workspace, livable from a shell.
//!
//! The modules below stand bottom-up; each names only modules above it in
//! `docs/architecture.md`, which `tests/it/tidy.rs` checks.

pub mod catalog;
pub mod cli;
pub mod config;
pub mod exec;
pub mod filter;
pub mod fsx;
pub mod mount;
pub mod pyjson;
pub mod report;
pub mod scheduler;
pub mod statepoint;
pub mod sync;
pub mod template;
pub mod term;
pub mod view;
pub mod workflow;
pub mod workspace;
