//! One file per command: an interface to an engine, not an implementation.

pub(super) mod check;
pub(super) mod cluster;
pub(super) mod create;
pub(super) mod diff;
pub(super) mod doctor;
pub(super) mod document;
pub(super) mod explain;
pub(super) mod find;
pub(super) mod help;
pub(super) mod init;
pub(super) mod job;
pub(super) mod log;
pub(super) mod mount;
pub(super) mod mounts;
pub(super) mod next;
pub(super) mod queue;
pub(super) mod run;
pub(super) mod schema;
pub(super) mod statepoint;
pub(super) mod status;
pub(super) mod submit;
pub(super) mod table;
pub(super) mod unmount;
pub(super) mod update_cache;
pub(super) mod view;
pub(super) mod workflow;
