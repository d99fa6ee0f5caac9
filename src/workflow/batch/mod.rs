//! Executions in batch jobs: sent to a scheduler, taken over there, and followed to their end.
//!
//! Each submission has a name that no other has. It stands in the record of every execution before
//! the scheduler hears of it, and a batch job begins an execution only if its record is queued under
//! that name. So whatever is interrupted, repeated or lost on the way, nothing is executed twice; and
//! what nobody has is found by its name, or given back.

mod bundle;
mod cancel;
mod cluster;
mod follow;
mod place;
mod submit;
mod task;

pub use bundle::Bundle;
pub use cancel::{BatchLine, Cancelled, cancel, hold, release};
pub use cluster::{Cluster, Clusters};
pub use follow::{Followed, follow};
pub use place::{Place, place};
pub use submit::{Batch, BatchCost, SendError, Sent, Submitter, batches};
pub use task::BatchTask;
