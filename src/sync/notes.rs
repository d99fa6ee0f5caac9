//! What is noted while a sync is at work.

use super::deed::Deed;
use super::log::{SYNCS, Writer};
use super::path::Place;
use super::plan::{Plan, Totals};
use super::side::Whose;
use super::state::{Base, Journal, Update};
use crate::report::{Event, Observer, Problem};
use crate::statepoint::JobId;
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is left for the next sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Files, documents and deletions.
    pub files: usize,
    /// The bytes of files and jobs.
    pub bytes: u64,
}

/// What is noted while it is done, by any thread.
pub(super) struct Notes<'a> {
    journal: Mutex<Option<Journal>>,
    log: Mutex<Option<Writer>>,
    /// What was known before.
    pub(super) base: &'a Base,
    updates: Mutex<Vec<Update>>,
    failures: Mutex<Vec<Problem>>,
    n_done: AtomicUsize,
    total: usize,
    left: Mutex<Left>,
    /// How much was done here, and there.
    totals: Mutex<[Totals; 2]>,
    observer: &'a dyn Observer,
}

impl<'a> Notes<'a> {
    pub(super) fn new(
        plan: &Plan,
        journal: Option<Journal>,
        log: Option<Writer>,
        base: &'a Base,
        observer: &'a dyn Observer,
    ) -> Self {
        let total = plan.n_items();
        Self {
            journal: Mutex::new(journal),
            log: Mutex::new(log),
            base,
            updates: Mutex::default(),
            failures: Mutex::default(),
            n_done: AtomicUsize::new(0),
            total,
            left: Mutex::default(),
            totals: Mutex::default(),
            observer,
        }
    }

    /// Returns what is known now, and what was not done. A sync that was cut off has no end in its log.
    pub(super) fn into_parts(self, is_finished: bool) -> (Vec<Update>, Vec<Problem>) {
        let failures = self.failures.into_inner();
        let mut failures = failures.unwrap_or_else(PoisonError::into_inner);
        let log = self.log.into_inner();
        let log = log.unwrap_or_else(PoisonError::into_inner);
        let failed = match log {
            Some(log) if is_finished => log.finish(),
            _ => None,
        };
        failures.extend(failed.map(|error| Problem {
            subject: "log".into(),
            path: SYNCS.into(),
            reason: format!(
                "this sync cannot be undone as a whole: its log could not be written: {error}"
            ),
            hint: None,
        }));
        failures.sort();
        let updates = self.updates.into_inner();
        (updates.unwrap_or_else(PoisonError::into_inner), failures)
    }

    pub(super) fn advance(&self, n: usize) {
        let done = self.n_done.fetch_add(n, Ordering::Relaxed) + n;
        let (what, total) = ("syncing files", self.total);
        self.observer.event(Event::Progress { what, done, total });
    }

    /// Something is left for the next sync.
    pub(super) fn leave(&self, files: usize, bytes: u64) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.files += files;
        left.bytes += bytes;
    }

    pub(super) fn left(&self) -> Left {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn totals(&self) -> [Totals; 2] {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs and counts what was done.
    pub(super) fn log(&self, deeds: &[Deed]) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        for deed in deeds {
            match deed.at() {
                Some(Whose::Local) => deed.add_to(&mut totals[0]),
                Some(Whose::Remote) => deed.add_to(&mut totals[1]),
                None => {}
            }
        }
        drop(totals);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = &mut *log {
            log.add(deeds);
        }
    }

    /// Logs a deed, and what is known since.
    pub(super) fn done(&self, deed: Deed, updates: Vec<Update>) {
        let known = |(place, new): &Update| {
            let old = self.base.get(place).cloned();
            // What is known of a new job is in the deed itself.
            let is_told = matches!(deed, Deed::JobMade { .. }) && old.is_none();
            (!is_told).then(|| Deed::Known {
                place: place.clone(),
                old,
                new: new.clone(),
            })
        };
        let known: Vec<_> = match deed {
            // So is it of one that is gone.
            Deed::JobGone { .. } => Vec::new(),
            _ => updates.iter().filter_map(known).collect(),
        };
        self.log(&[vec![deed], known].concat());
        self.note(updates);
    }

    pub(super) fn note(&self, updates: Vec<Update>) {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = &mut *journal {
            for (place, known) in &updates {
                journal.note(place, known.as_ref());
            }
            journal.flush();
        }
        drop(journal);
        let mut all = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(updates);
    }

    pub(super) fn fail(&self, place: &Place, reason: String) {
        self.fail_with(Problem {
            subject: place.to_string(),
            path: place.below_project().as_path().to_owned(),
            reason,
            hint: None,
        });
    }

    pub(super) fn fail_with(&self, problem: Problem) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push(problem);
    }
}

pub(super) fn job_problem(id: &JobId, reason: String) -> Problem {
    Problem {
        subject: id.to_string(),
        path: format!("workspace/{id}").into(),
        reason,
        hint: None,
    }
}
