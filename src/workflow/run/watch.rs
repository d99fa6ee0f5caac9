//! What goes on at the moment, and its end before its time.

use super::RunSummary;
use crate::exec::{GroupSignal, signal_group};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A process group that was told to end is killed after this time.
const GRACE: Duration = Duration::from_secs(5);

/// Why an execution was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Interrupted,
    TimedOut,
    /// Its walltime was over.
    Outrun,
}

/// The process groups of executions that go on.
#[derive(Debug)]
pub(super) struct Watch {
    timeout: Option<Duration>,
    groups: Mutex<HashMap<i32, Watched>>,
}

#[derive(Debug)]
struct Watched {
    since: Instant,
    walltime: Option<Duration>,
    cut: Option<(Cut, Instant)>,
    was_killed: bool,
}

impl Watch {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self {
            timeout,
            groups: Mutex::default(),
        }
    }

    /// Begins to watch a group, which may have a walltime.
    pub(super) fn begin(&self, group: i32, walltime: Option<Duration>) {
        let watched = Watched {
            since: Instant::now(),
            walltime,
            cut: None,
            was_killed: false,
        };
        self.locked().insert(group, watched);
    }

    /// Ends to watch a group, and tells why it was ended, if it was.
    pub(super) fn end(&self, group: i32) -> Option<Cut> {
        let watched = self.locked().remove(&group)?;
        watched.cut.map(|(cut, _)| cut)
    }

    /// Ends what must end.
    pub(super) fn look(&self, now: Instant, interrupts: &AtomicUsize, summary: &mut RunSummary) {
        let n_interrupts = interrupts.load(Ordering::Relaxed);
        summary.was_interrupted = n_interrupts > 0;
        for (group, watched) in self.locked().iter_mut() {
            let elapsed = now.duration_since(watched.since);
            let is_after = |limit: Option<Duration>| limit.is_some_and(|limit| elapsed > limit);
            let cut = match () {
                () if n_interrupts > 0 => Some(Cut::Interrupted),
                () if is_after(self.timeout) => Some(Cut::TimedOut),
                () if is_after(watched.walltime) => Some(Cut::Outrun),
                () => None,
            };
            match (cut, watched.cut) {
                (Some(cut), None) => {
                    watched.cut = Some((cut, now));
                    signal_group(*group, GroupSignal::Terminate);
                }
                (_, Some((_, since)))
                    if !watched.was_killed
                        && (n_interrupts > 1 || now.duration_since(since) > GRACE) =>
                {
                    watched.was_killed = true;
                    signal_group(*group, GroupSignal::Kill);
                }
                _ => {}
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<i32, Watched>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
