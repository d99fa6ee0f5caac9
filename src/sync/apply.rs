//! Doing what was planned.

use super::deed::Deed;
use super::local::LocalSide;
use super::log::{LogHeader, Logs};
use super::notes::{Left, Notes, job_problem};
use super::pace::STOPPED;
use super::path::{Place, RelPath};
use super::plan::{NewFile, NewJob, Plan, TextMerge, Totals};
use super::side::{
    FileCopy, JobCopy, NewText, Outcome, Peer, Removal, Run, Side, SyncError, Whose,
};
use super::state::{Base, Known, Memory, Stamp};
use super::tree::{Entry, Tree};
use crate::report::{Event, Observer, Problem};
use crate::statepoint::JobId;
use crate::workspace::DOCUMENT_FILE;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// What came of a sync.
#[derive(Debug, Default)]
pub struct Applied {
    /// What was to be done.
    pub plan: Plan,
    /// What was not done, and why.
    pub failures: Vec<Problem>,
    /// What was not done because the time was over.
    pub left: Left,
    /// How much was done here, and there.
    pub totals: [Totals; 2],
}

/// Both sides, and who listens.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub(super) local: &'a LocalSide,
    pub(super) peer: &'a dyn Peer,
    pub(super) observer: &'a dyn Observer,
}

impl Sides<'_> {
    pub(super) fn at(&self, whose: Whose) -> &dyn Side {
        match whose {
            Whose::Local => self.local,
            Whose::Remote => self.peer,
        }
    }

    /// Tells which side was put back to what it was before the last sync, or is another copy. If what
    /// is remembered was put back with it, it is that of an older sync, and true.
    pub(super) fn older(&self, base: &Base) -> Result<Option<Whose>, SyncError> {
        let Some(stamp) = base.stamp else {
            return Ok(None);
        };
        for whose in [Whose::Local, Whose::Remote] {
            let found = self.at(whose).stamp(stamp.pair)?;
            if found.is_none_or(|found| found < stamp.number) {
                return Ok(Some(whose));
            }
        }
        Ok(None)
    }
}

/// Does all of a plan, and returns what is known then. What could be done before an error is
/// known, too.
pub(super) fn apply(
    sides: Sides<'_>,
    mut plan: Plan,
    run: &Run,
    mut base: Base,
    memory: Option<&Memory>,
    header: Option<&LogHeader>,
) -> Result<Applied, SyncError> {
    let is_empty = plan.is_empty() && plan.updates.is_empty();
    let log = match header {
        Some(header) if !plan.is_empty() => {
            Some(Logs::of(sides.local).begin(header, &plan, &base)?)
        }
        _ => None,
    };
    let journal = match memory {
        Some(memory) if !is_empty => Some(memory.begin()?),
        _ => None,
    };
    let notes = Notes::new(&plan, journal, log, &base, sides.observer);
    let done = Work {
        sides,
        run,
        notes: &notes,
    }
    .all(&plan);
    // What a sync that was cut off has brought so far is for the next one.
    if done.is_ok() && !plan.is_empty() && !run.pace.is_over() {
        sides.local.settle(run);
        sides.peer.settle(run);
    }
    sides.observer.event(Event::Finished);
    let (left, totals) = (notes.left(), notes.totals());
    let (updates, failures) = notes.into_parts(done.is_ok());
    let known = std::mem::take(&mut plan.updates).into_iter();
    base.update(known.chain(updates).collect());
    if let (Some(memory), false) = (memory, is_empty) {
        if done.is_ok() {
            base.stamp = next_stamp(sides, base.stamp);
        }
        memory.save(&base)?;
    }
    done.map(|()| Applied {
        plan,
        failures,
        left,
        totals,
    })
}

/// Leaves a new number on both sides, which must be there before it is remembered. Where nothing may
/// be written, the old one stays.
pub(super) fn next_stamp(
    Sides { local, peer, .. }: Sides<'_>,
    old: Option<Stamp>,
) -> Option<Stamp> {
    let pair = old.map_or_else(Uuid::new_v4, |stamp| stamp.pair);
    let found = [peer.stamp(pair), local.stamp(pair)];
    let found = found.into_iter().filter_map(|found| found.ok().flatten());
    let number = found.fold(old.map_or(0, |stamp| stamp.number), u64::max);
    let new = Stamp {
        pair,
        number: number.saturating_add(1),
    };
    let set = peer.set_stamp(new).and_then(|()| local.set_stamp(new));
    set.map_or(old, |()| Some(new))
}

struct Work<'a> {
    sides: Sides<'a>,
    run: &'a Run,
    notes: &'a Notes<'a>,
}

impl Work<'_> {
    fn all(&self, plan: &Plan) -> Result<(), SyncError> {
        self.renames(plan)?;
        let both = [Whose::Local, Whose::Remote];
        for whose in both {
            self.remove(whose, &plan.clearings)?;
        }
        for to in both {
            self.jobs(to, plan)?;
        }
        for to in both {
            self.files(to, plan)?;
        }
        self.texts(&plan.texts)?;
        for whose in both {
            self.remove(whose, &plan.removals)?;
            self.remove_jobs(whose, plan)?;
        }
        Ok(())
    }

    /// Tells whether nothing new may begin; then so many things are left for the next sync.
    fn is_over(&self, n: usize) -> bool {
        let is_over = self.run.pace.is_over();
        if is_over {
            self.notes.leave(n, 0);
        }
        is_over
    }

    fn renames(&self, plan: &Plan) -> Result<(), SyncError> {
        if plan.renames.is_empty() || self.is_over(0) {
            return Ok(());
        }
        let renames = plan.renames.iter();
        let renames: Vec<_> = renames
            .map(|rename| (rename.from.clone(), rename.to.clone()))
            .collect();
        let done = |at: usize, outcome: Outcome| {
            let (from, to) = &renames[at];
            match outcome {
                Ok(_) => {
                    let deed = Deed::Moved {
                        at: Whose::Remote,
                        place: from.place.clone(),
                        to: to.clone(),
                        entry: from.before.clone(),
                    };
                    // If we are cut off now, it is not one that was removed there.
                    self.notes.done(deed, vec![(from.place.clone(), None)]);
                }
                Err(reason) => self.notes.fail(&from.place, reason),
            }
        };
        self.sides.peer.rename_many(self.run, &renames, &done)
    }

    fn remove(&self, whose: Whose, removals: &[(Whose, Removal)]) -> Result<(), SyncError> {
        let of_side = removals.iter().filter(|(side, _)| *side == whose);
        let removals: Vec<_> = of_side.map(|(_, removal)| removal.clone()).collect();
        if removals.is_empty() || self.is_over(removals.len()) {
            return Ok(());
        }
        let done = |at: usize, outcome: Outcome| {
            let place = &removals[at].place;
            self.notes.advance(1);
            match outcome {
                Ok(None) => {
                    let deed = Deed::Put {
                        at: whose,
                        place: place.clone(),
                        before: Some(removals[at].before.clone()),
                        after: None,
                    };
                    self.notes.done(deed, vec![(place.clone(), None)]);
                }
                // A directory that is not empty stays.
                Ok(Some(_)) => {}
                Err(reason) => self.notes.fail(place, reason),
            }
        };
        self.sides.at(whose).remove_many(self.run, &removals, &done)
    }

    fn remove_jobs(&self, whose: Whose, plan: &Plan) -> Result<(), SyncError> {
        let of_side = plan.job_removals.iter().filter(|(side, _)| *side == whose);
        let jobs: Vec<_> = of_side.map(|(_, job)| job.clone()).collect();
        if jobs.is_empty() || self.is_over(jobs.len()) {
            return Ok(());
        }
        let done = |at: usize, outcome: Outcome| {
            let id = jobs[at].id;
            self.notes.advance(1);
            match outcome {
                Ok(_) => {
                    let entries = self.notes.base.job(&id).to_vec();
                    let place = |(path, _): &(RelPath, Known)| Place::of_job(id, path.clone());
                    let updates = entries.iter().map(|entry| (place(entry), None)).collect();
                    let deed = Deed::JobGone {
                        at: whose,
                        id,
                        entries,
                    };
                    self.notes.done(deed, updates);
                }
                Err(reason) => self.notes.fail_with(job_problem(&id, reason)),
            }
        };
        self.sides.at(whose).remove_jobs(self.run, &jobs, &done)
    }

    fn jobs(&self, to: Whose, plan: &Plan) -> Result<(), SyncError> {
        let jobs: Vec<&NewJob> = plan.jobs.iter().filter(|job| job.to == to).collect();
        if jobs.is_empty() {
            return Ok(());
        }
        let copies: Vec<JobCopy> = jobs.iter().map(|job| job.copy.clone()).collect();
        let done = |at: usize, arrived: Result<Vec<Entry>, String>| {
            let job = jobs[at];
            let n_files = job.copy.entries.len();
            if is_stopped(&arrived) {
                return self.notes.leave(n_files, job.copy.size_bytes());
            }
            self.notes.advance(n_files);
            match arrived {
                Ok(arrived) => {
                    let entries = job.known(arrived);
                    let place = |path| Place::of_job(job.copy.id, path);
                    let updates = entries.iter().cloned();
                    let updates = updates.map(|(path, known)| (place(path), Some(known)));
                    let updates = updates.collect();
                    let deed = Deed::JobMade {
                        at: to,
                        id: job.copy.id,
                        entries,
                    };
                    self.notes.done(deed, updates);
                }
                Err(reason) => self.notes.fail_with(job_problem(&job.copy.id, reason)),
            }
        };
        let Sides { local, peer, .. } = self.sides;
        peer.copy_jobs(local, to, self.run, &copies, &done)
    }

    fn files(&self, to: Whose, plan: &Plan) -> Result<(), SyncError> {
        let files: Vec<&NewFile> = plan.files.iter().filter(|file| file.to == to).collect();
        if files.is_empty() {
            return Ok(());
        }
        let copies: Vec<FileCopy> = files.iter().map(|file| file.copy.clone()).collect();
        let done = |at: usize, outcome: Outcome| {
            let copy = &copies[at];
            if is_stopped(&outcome) {
                return self.notes.leave(1, copy.source.size_bytes());
            }
            self.notes.advance(1);
            match outcome {
                Ok(Some(arrived)) => {
                    let deed = Deed::Put {
                        at: to,
                        place: copy.place.clone(),
                        before: copy.before.clone(),
                        after: Some(arrived.clone()),
                    };
                    let known = known(to, copy.source.clone(), arrived);
                    self.notes
                        .done(deed, vec![(copy.place.clone(), Some(known))]);
                }
                Ok(None) => self.notes.fail(&copy.place, "it has gone meanwhile".into()),
                Err(reason) => self.notes.fail(&copy.place, reason),
            }
        };
        let Sides { local, peer, .. } = self.sides;
        peer.copy_files(local, to, self.run, &copies, &done)
    }

    fn texts(&self, merges: &[TextMerge]) -> Result<(), SyncError> {
        if self.is_over(merges.len()) {
            return Ok(());
        }
        // What each side has then; an error is one of both.
        let outcomes: Vec<Mutex<Result<Sided, ()>>> = merges
            .iter()
            .map(|merge| Mutex::new(Ok(merge.entries.clone())))
            .collect();
        for whose in [Whose::Local, Whose::Remote] {
            let of_side = merges.iter().enumerate().filter_map(|(at, merge)| {
                let text = match whose {
                    Whose::Local => &merge.local,
                    Whose::Remote => &merge.remote,
                };
                text.clone().map(|text| (at, text))
            });
            let (positions, texts): (Vec<usize>, Vec<NewText>) = of_side.unzip();
            if texts.is_empty() {
                continue;
            }
            let done = |at: usize, outcome: Outcome| {
                if let Ok(after) = &outcome {
                    self.notes.log(&[Deed::Put {
                        at: whose,
                        place: texts[at].place.clone(),
                        before: texts[at].before.clone(),
                        after: after.clone(),
                    }]);
                }
                let merge = positions[at];
                let mut known = outcomes[merge]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                match (outcome, &mut *known) {
                    (Ok(now), Ok(sides)) if whose == Whose::Local => sides.0 = now,
                    (Ok(now), Ok(sides)) => sides.1 = now,
                    (Ok(_), Err(())) => {}
                    (Err(reason), known) => {
                        *known = Err(());
                        self.notes.fail(&merges[merge].place, reason);
                    }
                }
            };
            self.sides.at(whose).write_many(self.run, &texts, &done)?;
        }
        for (merge, outcome) in merges.iter().zip(outcomes) {
            self.notes.advance(1);
            let outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = outcome
                .ok()
                .and_then(|(here, there)| merge.known(here, there))
            {
                let place = &merge.place;
                self.notes.log(&[Deed::Known {
                    place: place.clone(),
                    old: self.notes.base.get(place).cloned(),
                    new: Some(known.clone()),
                }]);
                self.notes.note(vec![(place.clone(), Some(known))]);
            }
        }
        Ok(())
    }
}

fn is_stopped<T>(outcome: &Result<T, String>) -> bool {
    outcome.as_ref().is_err_and(|reason| reason == STOPPED)
}

/// What is here and there.
type Sided = (Option<Entry>, Option<Entry>);

impl TextMerge {
    /// Returns what is known when both sides have something.
    pub(super) fn known(&self, local: Option<Entry>, remote: Option<Entry>) -> Option<Known> {
        Some(Known {
            local: local?,
            remote: remote?,
            text: self.agreed.clone(),
            is_open: self.is_open,
        })
    }
}

impl NewJob {
    /// Returns what is known of its files when it has arrived.
    fn known(&self, arrived: Vec<Entry>) -> Vec<(RelPath, Known)> {
        let known = |((path, source), arrived): (&(RelPath, Entry), Entry)| {
            let mut known = known(self.to, source.clone(), arrived);
            if path.as_path().to_str() == Some(DOCUMENT_FILE) {
                known.text = self.document.clone();
            }
            (path.clone(), known)
        };
        self.copy.entries.iter().zip(arrived).map(known).collect()
    }
}

fn known(to: Whose, source: Entry, arrived: Entry) -> Known {
    let (local, remote) = match to {
        Whose::Local => (arrived, source),
        Whose::Remote => (source, arrived),
    };
    Known {
        local,
        remote,
        text: None,
        is_open: false,
    }
}

/// Returns the ids of all jobs of a data space.
pub(super) fn ids(tree: &Tree) -> impl Iterator<Item = &JobId> {
    tree.jobs.iter().map(|job| &job.id)
}
