//! All arrays that have not ended, as they are at a moment.

use super::journal::Progress;
use super::plan::{Entry, Next, plan};
use super::queue::{Place, Queue, QueueError, Spec};
use std::collections::BTreeMap;
use std::io::ErrorKind;

/// An array that has not ended.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) place: Place,
    pub(super) spec: Spec,
    pub(super) progress: Progress,
}

/// All of them, by their ids.
#[derive(Debug, Default)]
pub(super) struct Snapshot(pub(super) BTreeMap<u64, Live>);

impl Snapshot {
    /// Takes in all that has happened since. Returns what is wrong with arrays that are left out.
    pub(super) fn refresh(&mut self, queue: &Queue) -> Result<Vec<QueueError>, QueueError> {
        let mut problems = Vec::new();
        let mut known = std::mem::take(&mut self.0);
        for place in queue.live()? {
            let live = match known.remove(&place.id) {
                Some(mut live) => place.follow(&mut live.progress).map(|()| live),
                None => place.load().map(|(spec, progress)| Live {
                    place,
                    spec,
                    progress,
                }),
            };
            match live {
                Ok(live) => drop(self.0.insert(live.place.id, live)),
                // It was put away a moment ago.
                Err(QueueError::Fs(error)) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => problems.push(error),
            }
        }
        Ok(problems)
    }

    /// Takes in what has happened to one that is known.
    pub(super) fn refresh_one(&mut self, id: u64) -> Result<(), QueueError> {
        match self.0.get_mut(&id) {
            Some(live) => live.place.follow(&mut live.progress),
            None => Ok(()),
        }
    }

    /// Decides what begins.
    pub(super) fn plan(&self) -> BTreeMap<u64, Next> {
        let entry = |live: &Live| {
            let request = &live.spec.request;
            let mut after = request.after.iter().copied();
            Entry {
                needs: request.needs,
                limits: live.spec.limits,
                at_once: request.at_once,
                n_waiting: live.progress.n_waiting(),
                n_begun: live.progress.n_begun(),
                after: after.find(|id| {
                    self.0
                        .get(id)
                        .is_some_and(|live| !live.progress.has_ended())
                }),
            }
        };
        let entries: Vec<_> = self.0.values().map(entry).collect();
        self.0.keys().copied().zip(plan(&entries)).collect()
    }

    /// Tells whether a worker has anything to do, or to wait for.
    pub(super) fn has_work(&self) -> bool {
        let is_active = |live: &Live| live.progress.n_begun() > 0 || live.progress.has_ended();
        self.0.values().any(is_active) || self.plan().values().any(|next| next.n_starts > 0)
    }
}
