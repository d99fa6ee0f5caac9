//! Compares two data spaces, resolves what differs into actions, and applies them.
//!
//! A data space is a [`Side`]; the other one, which may be on another machine, is a [`Peer`].

mod local;
mod path;
mod side;
mod statepoints;
mod tree;

pub use local::LocalSide;
pub use path::{Place, RelPath, UnsafePath};
pub use side::{
    Done, FileCopy, FileDigest, FoundText, JobCopy, JobDone, Listing, NewText, Outcome, Peer,
    Removal, Run, Side, SyncError, Whose,
};
pub use statepoints::verify;
pub use tree::{
    Content, Entry, INCOMING_SUFFIX, JobTree, PROJECT_DOCUMENT, Tree, is_incoming, is_temporary,
};
