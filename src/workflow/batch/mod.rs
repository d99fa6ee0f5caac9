//! Executions in batch jobs: sent to a scheduler, taken over there, and followed to their end.
//!
//! Each submission has a name that no other has. It stands in the record of every execution before
//! the scheduler hears of it, and a batch job begins an execution only if its record is queued under
//! that name. So whatever is interrupted, repeated or lost on the way, nothing is executed twice; and
//! what nobody has is found by its name, or given back.

mod bundle;
mod cancel;
mod chain;
mod cluster;
mod follow;
mod packing;
mod place;
mod settle;
mod submit;
mod task;

pub use bundle::{Bundle, BundleExecution, Pilot};
pub use cancel::{BatchLine, Cancelled, cancel, hold, release};
pub use chain::{Chain, ChainOptions, Link, chain};
pub use cluster::{Cluster, Clusters};
pub use follow::{Followed, close_pilot, follow, give_back};
pub use packing::{Batch, BatchCost, Packing, Pilots, batches};
pub use place::{Place, place, time_text};
pub use settle::Shared;
pub(super) use settle::Why;
pub use submit::{SendError, Sent, Submitter};
pub use task::BatchTask;
