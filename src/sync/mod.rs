//! Compares two data spaces, resolves what differs into actions, and applies them.
//!
//! A data space is a [`Side`]; the other one, which may be on another machine, is a [`Peer`]. A
//! [`Session`] lists both, compares them with what is remembered of them ([`Memory`]), makes a
//! [`Plan`], and applies it. Comparing is pure.

mod apply;
mod codec;
mod compare;
mod decide;
mod deed;
mod differ;
mod digests;
mod document;
mod local;
mod log;
mod notes;
mod options;
mod pace;
mod path;
mod plan;
mod planfile;
mod questions;
mod remote;
mod session;
mod side;
mod state;
mod statepoints;
mod steps;
mod texts;
mod tree;
mod undo;
mod units;

pub use apply::Applied;
pub use document::{Direction, KeyRule, Merged, key_pattern, merge};
pub use local::LocalSide;
pub use log::{Log, LogError, LogHeader, Logs};
pub use notes::Left;
pub use options::{FileFilter, MAX_DELETE_PERCENT, Options, Prefer};
pub use pace::{Pace, Pacer, STOPPED};
pub use path::{Place, RelPath, UnsafePath};
pub use plan::{Bytes, Conflict, Deleted, Line, NewFile, NewJob, Plan, Rename, TextMerge, Totals};
pub use planfile::{BadPlan, PlanFile, PlanHeader, Reduced, write_plan};
pub use remote::{
    Address, BadAddress, PROTOCOL, RemoteFacts, RemoteOptions, RemoteSide, ServeError, write_list,
};
pub use session::{Prepared, Session, Wanted};
pub use side::{
    Done, FileCopy, FileDigest, FoundText, JobCopy, JobDone, Listing, NewText, Outcome, Peer,
    Removal, Restore, Run, Side, SyncError, Whose,
};
pub use state::{Base, Known, Memory, Remembered, Stamp};
pub use statepoints::verify;
pub use tree::{
    Content, Entry, INCOMING_SUFFIX, JobTree, PROJECT_DOCUMENT, Tree, is_incoming, is_temporary,
};
pub use undo::Undo;
