//! Questions about one snapshot, whose documents may change.

use super::documents::Documents;
use super::facts::{Facts, FactsError, Source};
use super::snapshot::Snapshot;
use super::store::Store;
use super::{Clock, TimeNs};
use crate::workspace::Workspace;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

/// Answers questions about the jobs of a snapshot, and about their documents as they are.
#[derive(Debug)]
pub struct LiveFacts {
    workspace: Workspace,
    snapshot: Arc<Snapshot>,
    documents: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    documents: RefCell<Documents>,
    /// When documents were begun to be looked at.
    since: TimeNs,
}

impl LiveFacts {
    /// Nothing is read before a question needs it.
    pub fn new(workspace: &Workspace, snapshot: Arc<Snapshot>, store: Option<Store>) -> Self {
        let documents = Documents::new(workspace, store, Clock::new(workspace, TimeNs::MIN));
        Self {
            workspace: workspace.clone(),
            snapshot,
            documents: Mutex::new(Held {
                documents: RefCell::new(documents),
                since: TimeNs::MIN,
            }),
        }
    }

    /// Returns the snapshot.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Asks a question at a time, `now`; documents that were looked at more than `age_max`
    /// nanoseconds ago are looked at again.
    pub fn ask<T>(
        &self,
        now: TimeNs,
        age_max: TimeNs,
        question: impl FnOnce(&Facts<'_>) -> Result<T, FactsError>,
    ) -> Result<T, FactsError> {
        let mut held = self
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(held.since) > age_max {
            let clock = Clock::new(&self.workspace, now);
            held.documents.get_mut().look_again(clock);
            held.since = now;
        }
        let answer = question(&Facts::new(Source::Memory(&self.snapshot), &held.documents));
        held.documents.get_mut().save();
        answer
    }
}
