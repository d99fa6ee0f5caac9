//! Undoing a sync: each deed of it, on both sides, as far as its work is still as it left it.

use super::apply::{Sides, next_stamp};
use super::deed::Deed;
use super::local::LocalSide;
use super::log::{Log, Logs};
use super::path::{Place, RelPath};
use super::plan::Line;
use super::side::{FoundText, Listing, Outcome, Peer, Run, Side, SyncError, Whose};
use super::state::{Memory, Remembered};
use super::steps::{Memo, Steps, job, memos};
use super::tree::Entry;
use crate::report::{Observer, Problem};
use crate::statepoint::JobId;
use crate::workflow::{FLOW_FILE, Sidecar};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The undoing of a sync, which is prepared.
pub struct Undo<'a> {
    local: &'a LocalSide,
    peer: &'a dyn Peer,
    memory: &'a Memory,
    observer: &'a dyn Observer,
    log: Log,
    remembered: Remembered,
    steps: Steps,
    memos: Vec<Memo>,
    /// What a sync that was killed has left on each side.
    leftovers: [Vec<Place>; 2],
}

impl std::fmt::Debug for Undo<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Undo")
            .field("log", &self.log.header)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl<'a> Undo<'a> {
    /// Compares both sides with what a sync has left there. Nothing is changed.
    ///
    /// # Errors
    ///
    /// Fails if a side cannot be listed, and refuses to believe one that seems to be missing.
    pub fn prepare(
        local: &'a LocalSide,
        peer: &'a dyn Peer,
        memory: &'a Memory,
        observer: &'a dyn Observer,
        log: Log,
    ) -> Result<Self, SyncError> {
        let (here, there) = rayon::join(|| local.list(observer), || peer.list(observer));
        let (here, there) = (here?, there?);
        let mut undo = Self {
            local,
            peer,
            memory,
            observer,
            memos: memos(&log),
            log,
            remembered: memory.load()?,
            steps: Steps::default(),
            leftovers: [here.leftovers.clone(), there.leftovers.clone()],
        };
        undo.check_presence(&here, &there)?;
        undo.steps = Steps::new(&undo.log, &here, &there);
        undo.guard_running([&here, &there])?;
        Ok(undo)
    }

    /// A side without jobs that had some is more likely not mounted than empty.
    fn check_presence(&self, here: &Listing, there: &Listing) -> Result<(), SyncError> {
        let sides = [
            (Whose::Local, here, self.local.name()),
            (Whose::Remote, there, self.peer.name()),
        ];
        for (whose, listing, name) in sides {
            // An undo that was cut off may have removed all that the sync has brought.
            let deeds = self.log.deeds.iter().chain(&self.log.planned);
            let made = deeds.filter_map(|deed| match deed {
                Deed::JobMade { at, id, .. } if *at == whose => Some(*id),
                _ => None,
            });
            let made: BTreeSet<_> = made.collect();
            let mut known = self.remembered.base.jobs.iter();
            let is_missing = listing.tree.jobs.is_empty()
                && listing.left_out.is_empty()
                && known.any(|job| !made.contains(&job.id));
            if is_missing {
                return Err(SyncError::Refused {
                    message: format!("`{name}` has no jobs, but had some when it was last synced"),
                    hint: "is its disk mounted?",
                });
            }
        }
        Ok(())
    }

    /// What is known of executions that go on is never taken back, nor are files changed below them.
    fn guard_running(&mut self, listings: [&Listing; 2]) -> Result<(), SyncError> {
        let path = RelPath::of(FLOW_FILE);
        let jobs = self.steps.jobs();
        for (whose, listing) in [Whose::Local, Whose::Remote].into_iter().zip(listings) {
            let has_record = |id: &&JobId| {
                let tree = job(listing, id);
                tree.is_some_and(|tree| tree.get(&path).is_some_and(Entry::is_file))
            };
            let ids: Vec<_> = jobs.iter().filter(has_record).collect();
            let places = ids.iter().map(|id| Place::of_job(**id, path.clone()));
            let places: Vec<_> = places.collect();
            if places.is_empty() {
                continue;
            }
            let found = self.sides().at(whose).read_many(&places)?;
            for (id, text) in ids.into_iter().zip(found) {
                let FoundText::Text(bytes, _) = text else {
                    self.steps
                        .leave(id, "its record of executions cannot be read");
                    continue;
                };
                match Sidecar::parse(&bytes) {
                    Ok(sidecar) if sidecar.records.values().any(|record| record.runs()) => {
                        self.steps.leave(id, "something runs in the job");
                    }
                    Ok(_) => {}
                    Err(_) => self.steps.leave(id, "its record of executions is damaged"),
                }
            }
        }
        Ok(())
    }

    fn sides(&self) -> Sides<'a> {
        Sides {
            local: self.local,
            peer: self.peer,
            observer: self.observer,
        }
    }

    /// Returns what will be done, a line for each.
    pub fn lines(&self) -> Vec<Line> {
        self.steps.lines()
    }

    /// Tells whether the sync was cut off before it changed anything.
    pub fn is_empty(&self) -> bool {
        !self.log.is_finished && self.steps.is_empty()
    }

    /// Returns what will be left as it is, and why.
    pub fn left(&self) -> Vec<Problem> {
        self.steps.problems(self.peer.name())
    }

    /// Undoes it. What is known of both sides is then what it was before, so that the next sync does
    /// the same again. Returns what was left, and why.
    ///
    /// # Errors
    ///
    /// Fails if a side does as a whole. Then it can be called again.
    pub fn apply(mut self, run: &Run) -> Result<Vec<Problem>, SyncError> {
        let mut steps = std::mem::take(&mut self.steps);
        let [here, there] = &self.leftovers;
        self.local.clean(here)?;
        self.peer.clean(there)?;
        for whose in [Whose::Local, Whose::Remote] {
            self.undo_side(whose, run, &mut steps)?;
        }
        self.forget(&steps)?;
        Logs::of(self.local).note_undone(&self.log.header.run)?;
        self.local.settle(run);
        self.peer.settle(run);
        Ok(steps.problems(self.peer.name()))
    }

    fn undo_side(&self, whose: Whose, run: &Run, steps: &mut Steps) -> Result<(), SyncError> {
        let (sides, from) = (self.sides(), self.log.header.run.as_str());
        let side = sides.at(whose);
        let failed = Failures::default();
        let removals = of_side(&steps.removals, whose);
        side.remove_many(run, &removals, &|at, outcome| {
            // A directory that is not empty stays.
            let outcome = match outcome {
                Ok(Some(_)) => Err("something is in it that was put there since".to_owned()),
                outcome => outcome,
            };
            failed.note(&removals[at].place, outcome);
        })?;
        let jobs = of_side(&steps.job_removals, whose);
        side.remove_jobs(run, &jobs, &|at, outcome| {
            failed.note_job(jobs[at].id, outcome);
        })?;
        let mut restores = of_side(&steps.restores, whose);
        restores.sort_by(|a, b| a.place.cmp(&b.place));
        side.restore_many(run, from, &restores, &|at, outcome| {
            failed.note(&restores[at].place, outcome);
        })?;
        let jobs = of_side(&steps.jobs_back, whose);
        side.restore_jobs(run, from, &jobs, &|at, outcome| {
            failed.note_job(jobs[at], outcome);
        })?;
        let renames = steps.renames.iter().filter(|(at, ..)| *at == whose);
        let renames: Vec<_> = renames
            .map(|(_, from, to)| (from.clone(), to.clone()))
            .collect();
        if !renames.is_empty() {
            side.rename_many(run, &renames, &|at, outcome| {
                failed.note(&renames[at].0.place, outcome);
            })?;
        }
        let places = failed
            .places
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let places = places.into_iter().map(|(place, why)| (whose, place, why));
        steps.left.extend(places);
        let jobs = failed
            .jobs
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let jobs = jobs.into_iter().map(|(id, why)| (whose, id, why));
        steps.jobs_left.extend(jobs);
        Ok(())
    }

    /// Puts back what was known before of all that is undone, unless a later sync knows better.
    fn forget(&mut self, steps: &Steps) -> Result<(), SyncError> {
        let sides = self.sides();
        let Remembered {
            base, is_damaged, ..
        } = &mut self.remembered;
        // The next sync finds out by itself that nothing is known, and says so.
        if *is_damaged || sides.older(base)?.is_some() {
            return Ok(());
        }
        let undone = steps.undone(std::mem::take(&mut self.memos));
        let undone = undone.into_iter().filter(|memo| match memo.is_sure {
            true => base.get(&memo.place) == memo.new.as_ref(),
            // A sync that went on may have found it done.
            false => true,
        });
        let updates = undone.map(|memo| (memo.place, memo.old)).collect();
        base.update(updates);
        base.stamp = next_stamp(sides, base.stamp);
        Ok(self.memory.save(base)?)
    }
}

fn of_side<T: Clone>(items: &[(Whose, T)], whose: Whose) -> Vec<T> {
    let of_side = items.iter().filter(|(at, _)| *at == whose);
    of_side.map(|(_, item)| item.clone()).collect()
}

/// What was not done, noted by any thread.
#[derive(Default)]
struct Failures {
    places: Mutex<Vec<(Place, String)>>,
    jobs: Mutex<Vec<(JobId, String)>>,
}

impl Failures {
    fn note(&self, place: &Place, outcome: Outcome) {
        if let Err(why) = outcome {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.push((place.clone(), why));
        }
    }

    fn note_job(&self, id: JobId, outcome: Outcome) {
        if let Err(why) = outcome {
            let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.push((id, why));
        }
    }
}
