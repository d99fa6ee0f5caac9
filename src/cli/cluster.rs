//! What commands ask of clusters.

use super::context::Context;
use crate::scheduler::Slurm;
use crate::workflow::{Followed, follow};
use crate::workspace::Workspace;
use std::time::Duration;

/// A scheduler is asked at most that often.
const PAUSE: Duration = Duration::from_secs(10);

/// Set to another number of seconds by those who have a cluster for themselves.
const PAUSE_VARIABLE: &str = "SWEEPFS_POLL_SECONDS";

impl Context<'_> {
    /// Records what has become of batch jobs; says what cannot be found out.
    pub(super) fn follow(&self, workspace: &Workspace) -> Followed {
        let set = std::env::var(PAUSE_VARIABLE).ok();
        let pause_s = set.and_then(|seconds| seconds.parse().ok());
        let pause = pause_s.map_or(PAUSE, Duration::from_secs);
        let followed = follow(workspace, &Slurm, pause);
        for trouble in &followed.troubles {
            self.term.warn(trouble);
        }
        followed
    }
}
