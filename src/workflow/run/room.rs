//! What executions may use at the same time.

use crate::workflow::resources::Resources;
use std::time::{Duration, Instant};

/// What there is for executions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Cores. An execution that needs more than there are has all, and runs alone.
    pub cores: u32,
    /// GPUs; `None` if they are not counted.
    pub gpus: Option<u32>,
    /// Memory; `None` if it is not counted.
    pub memory_bytes: Option<u64>,
    /// Nothing is begun whose walltime ends after this moment.
    pub until: Option<Instant>,
}

impl Room {
    /// Only cores are counted.
    pub fn of_cores(cores: u32) -> Self {
        Self {
            cores,
            gpus: None,
            memory_bytes: None,
            until: None,
        }
    }

    /// Returns what is taken of it for an execution.
    pub(super) fn share(&self, uses: &Resources) -> Resources {
        Resources {
            processes: uses.cores().clamp(1, self.cores.max(1)),
            threads: 1,
            ..*uses
        }
    }

    /// Tells whether an execution can be begun at a moment if all is free.
    pub fn holds(&self, uses: &Resources, now: Instant) -> bool {
        let walltime = uses.walltime_s.map(Duration::from_secs);
        let ends = walltime.and_then(|walltime| now.checked_add(walltime));
        self.gpus.is_none_or(|gpus| uses.gpus <= gpus)
            && self.memory_bytes >= self.memory_bytes.and(uses.memory_bytes)
            && self
                .until
                .is_none_or(|until| ends.unwrap_or(now) <= until && now < until)
    }

    /// Returns what is left of it without a share; `None` if it is not there.
    pub(super) fn without(&self, share: &Resources) -> Option<Self> {
        let memory_bytes = match (self.memory_bytes, share.memory_bytes) {
            (Some(all), Some(share_bytes)) => Some(all.checked_sub(share_bytes)?),
            (all, _) => all,
        };
        let gpus = match self.gpus {
            Some(all) => Some(all.checked_sub(share.gpus)?),
            None => None,
        };
        Some(Self {
            cores: self.cores.checked_sub(share.cores())?,
            gpus,
            memory_bytes,
            until: self.until,
        })
    }

    /// Returns it with a share given back.
    pub(super) fn with(&self, share: &Resources) -> Self {
        let used_bytes = share.memory_bytes.unwrap_or(0);
        Self {
            cores: self.cores + share.cores(),
            gpus: self.gpus.map(|gpus| gpus + share.gpus),
            memory_bytes: self.memory_bytes.map(|bytes| bytes + used_bytes),
            until: self.until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(processes: u32, gpus: u32, memory_bytes: Option<u64>) -> Resources {
        Resources {
            processes,
            threads: 2,
            gpus,
            memory_bytes,
            walltime_s: Some(60),
        }
    }

    #[test]
    fn shares_are_taken_and_given_back() {
        let room = Room {
            gpus: Some(2),
            memory_bytes: Some(100),
            ..Room::of_cores(8)
        };
        let share = room.share(&uses(2, 1, Some(60)));
        let left = room.without(&share).expect("it fits");
        assert_eq!((left.cores, left.gpus), (4, Some(1)));
        assert_eq!(left.memory_bytes, Some(40));
        assert_eq!(left.without(&share), None);
        assert_eq!(left.with(&share), room);
        // More cores than there are: it runs alone.
        let large = room.share(&uses(100, 0, None));
        assert_eq!(room.without(&large).map(|left| left.cores), Some(0));
    }

    #[test]
    fn what_does_not_end_in_time_is_not_begun() {
        let now = Instant::now();
        let until = |time_s| Room {
            until: now.checked_add(Duration::from_secs(time_s)),
            ..Room::of_cores(1)
        };
        let (timed, endless) = (
            uses(1, 0, None),
            Resources {
                walltime_s: None,
                ..uses(1, 0, None)
            },
        );
        assert!(until(60).holds(&timed, now) && !until(59).holds(&timed, now));
        assert!(until(1).holds(&endless, now) && !until(0).holds(&endless, now));
        let room = Room {
            gpus: Some(0),
            memory_bytes: Some(10),
            ..Room::of_cores(1)
        };
        assert!(room.holds(&timed, now) && !room.holds(&uses(1, 1, None), now));
        assert!(!room.holds(&uses(1, 0, Some(11)), now));
        assert!(Room::of_cores(1).holds(&uses(1, 9, Some(11)), now));
    }
}
