//! Operations, conditions, flow state.
//!
//! Every job directory may hold a sidecar, [`FLOW_FILE`], that says what was executed there.

mod batch;
mod check;
mod commands;
mod elsewhere;
mod evaluate;
mod explain;
mod files;
mod flow;
mod folders;
mod graph;
mod import;
mod ledger;
mod marks;
mod record;
mod resources;
mod run;
mod sidecar;
mod state;
mod status;
mod summary;
mod units;

pub use batch::{
    Batch, BatchCost, BatchLine, BatchTask, Bundle, BundleExecution, Cancelled, Chain,
    ChainOptions, Cluster, Clusters, Followed, Link, Packing, Pilot, Pilots, Place, SendError,
    Sent, Shared, Submitter, batches, cancel, chain, close_pilot, follow, give_back, hold, place,
    release, time_text,
};
pub use check::{Finding, check_rendering, check_syntax};
pub use elsewhere::Elsewhere;
pub use evaluate::{Evaluation, OperationStates};
pub use explain::{ExplainedCondition, ExplainedPart, Explanation};
pub use flow::{Flow, Forgotten};
pub use graph::Graph;
pub use import::{FlowImport, ImportError, Imported, from_row};
pub use ledger::sidecar_lock;
pub use marks::{Marks, OperationMarks};
pub use record::{INTERRUPTIONS_MAX, Record, Stage};
pub use resources::{ResourceError, ResourceTemplates, Resources};
pub use run::{
    Ended, Found, Launcher, Outcome, Planned, PrepareError, Prepared, Room, RunObserver,
    RunOptions, RunSummary, Runner, ScopeError, eligible,
};
pub use sidecar::{FLOW_FILE, Sidecar, SidecarError};
pub use state::{FlowState, UnknownFlowState};
pub use status::{OperationStatus, Status};
pub use summary::Summary;
pub use units::{Aggregate, UnitIdx, Units, aggregate_id};
