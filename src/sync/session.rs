//! One sync, from listing both data spaces to remembering what was done.

use super::apply::{Applied, Sides, apply, ids};
use super::compare::{Input, compare};
use super::local::LocalSide;
use super::log::LogHeader;
use super::options::{MAX_DELETE_PERCENT, Options};
use super::path::{Place, RelPath};
use super::plan::Plan;
use super::questions::{Answers, Questions, questions};
use super::side::{FoundText, Listing, Peer, Run, Side, SyncError, Whose};
use super::state::{Base, Memory};
use super::statepoints::verify;
use crate::pyjson::{self, Object};
use crate::report::{Observer, Problem};
use crate::statepoint::{JobId, StatePoint};
use crate::workspace::{DOCUMENT_FILE, STATEPOINT_FILE};
use std::collections::HashSet;

/// Which jobs are synced.
#[derive(Clone)]
pub enum Wanted<'a> {
    /// All.
    All,
    /// Some.
    Some {
        /// Those among the jobs that are here.
        here: HashSet<JobId>,
        /// Decides about a job that is not here, by its state point and document.
        matches: &'a dyn Fn(&JobId, &StatePoint, &Object) -> bool,
        /// Documents must be read for that.
        needs_documents: bool,
    },
}

impl std::fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::Some { here, .. } => f.debug_tuple("Some").field(&here.len()).finish(),
        }
    }
}

/// Two data spaces that are to be synced.
#[derive(Clone)]
pub struct Session<'a> {
    /// That from which sync is called.
    pub local: &'a LocalSide,
    /// The other one.
    pub peer: &'a dyn Peer,
    /// What is remembered of the other one; `None` if nothing is.
    pub memory: Option<&'a Memory>,
    /// What to do.
    pub options: &'a Options,
    /// With which jobs.
    pub wanted: Wanted<'a>,
    /// Who listens.
    pub observer: &'a dyn Observer,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("local", &self.local)
            .field("peer", &self.peer.name())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A plan, and what it rests on.
#[derive(Debug)]
pub struct Prepared {
    /// What is to be done.
    pub plan: Plan,
    /// What is remembered cannot be read, so nothing is known of what was the same.
    pub is_memory_damaged: bool,
    /// The last sync was cut off.
    pub was_cut_off: bool,
    /// A side is not what it was after the last sync, but an older copy of it, so nothing is known of
    /// what was the same.
    pub older: Option<Whose>,
    /// How many jobs are here, and there.
    pub n_jobs: (usize, usize),
    /// The state must be written although nothing is to be done.
    needs_saving: bool,
    base: Base,
    leftovers: [Vec<Place>; 2],
}

impl Session<'_> {
    /// Compares both. Nothing is changed.
    ///
    /// # Errors
    ///
    /// Fails if one of them cannot be listed, and refuses to compare with one that seems to be
    /// missing.
    pub fn prepare(&self) -> Result<Prepared, SyncError> {
        let (local, remote) = self.list()?;
        self.compare(local, remote)
    }

    /// Lists what is here, and what is there.
    ///
    /// # Errors
    ///
    /// Fails if one of them cannot be listed.
    pub fn list(&self) -> Result<(Listing, Listing), SyncError> {
        let (local, remote) = rayon::join(
            || self.local.list(self.observer),
            || self.peer.list(self.observer),
        );
        Ok((local?, remote?))
    }

    /// Compares both as they were listed. Nothing is changed.
    ///
    /// # Errors
    ///
    /// Refuses to compare with one that seems to be missing. Fails if one cannot be asked more.
    pub fn compare(&self, local: Listing, remote: Listing) -> Result<Prepared, SyncError> {
        let mut remembered = self
            .memory
            .map(Memory::load)
            .transpose()?
            .unwrap_or_default();
        self.check_presence(&remembered.base, &local, &remote)?;
        let older = self.sides().older(&remembered.base)?;
        if older.is_some() {
            // What it has of old would seem to be new.
            remembered.base = Base::default();
        }
        let chosen = self.chosen(&local, &remote)?;
        let is_wanted = |id: &JobId| chosen.as_ref().is_none_or(|chosen| chosen.contains(id));
        let input = Input {
            local: &local,
            remote: &remote,
            base: &remembered.base,
            options: self.options,
            is_wanted: &is_wanted,
            name: self.peer.name(),
        };
        let differences = input.differences();
        let answers = self.answers(&questions(&input, &differences))?;
        let mut plan = compare(&input, &differences, &answers);
        let n_jobs = (local.tree.jobs.len(), remote.tree.jobs.len());
        let mut problems = named(local.problems, None);
        problems.extend(named(remote.problems, Some(self.peer.name())));
        problems.append(&mut plan.problems);
        plan.problems = problems;
        Ok(Prepared {
            plan,
            n_jobs,
            is_memory_damaged: remembered.is_damaged,
            was_cut_off: remembered.was_cut_off,
            older,
            needs_saving: remembered.was_cut_off || remembered.is_damaged || older.is_some(),
            base: remembered.base,
            leftovers: [local.leftovers, remote.leftovers],
        })
    }

    /// Does what was planned.
    ///
    /// # Errors
    ///
    /// Refuses to remove too much. Fails if a side does as a whole; single files that could not be
    /// synced are no error.
    pub fn apply(&self, prepared: Prepared, run: &Run) -> Result<Applied, SyncError> {
        self.apply_logged(prepared, run, None)
    }

    /// Does what was planned, and logs it so that it can be undone, unless nothing is remembered of
    /// the other side.
    ///
    /// # Errors
    ///
    /// As [`Session::apply`]; and if there can be no log, in which case nothing is done.
    pub fn apply_logged(
        &self,
        prepared: Prepared,
        run: &Run,
        header: Option<&LogHeader>,
    ) -> Result<Applied, SyncError> {
        self.check_removals(&prepared.plan, &prepared.base)?;
        let [local, remote] = &prepared.leftovers;
        if self.options.direction.leads_to(Whose::Local) {
            self.local.clean(local)?;
        }
        if self.options.direction.leads_to(Whose::Remote) {
            self.peer.clean(remote)?;
        }
        if let (Some(memory), true) = (self.memory, prepared.needs_saving) {
            memory.save(&prepared.base)?;
        }
        let Prepared { plan, base, .. } = prepared;
        let header = header.filter(|_| self.memory.is_some());
        apply(self.sides(), plan, run, base, self.memory, header)
    }

    pub(super) fn sides(&self) -> Sides<'_> {
        Sides {
            local: self.local,
            peer: self.peer,
            observer: self.observer,
        }
    }

    /// A side without jobs that had some is more likely not mounted than empty.
    fn check_presence(
        &self,
        base: &Base,
        local: &Listing,
        remote: &Listing,
    ) -> Result<(), SyncError> {
        let is_empty =
            |listing: &Listing| listing.tree.jobs.is_empty() && listing.left_out.is_empty();
        let is_nothing_left = is_empty(local) && is_empty(remote);
        let is_meant = match is_nothing_left {
            true => self.options.deletes && self.options.max_delete_percent >= Some(100.0),
            false => self.options.restores,
        };
        if base.jobs.is_empty() || is_meant {
            return Ok(());
        }
        for (listing, name) in [(local, self.local.name()), (remote, self.peer.name())] {
            if is_empty(listing) {
                let what = match listing.has_workspace {
                    true => "has no jobs",
                    false => "has no workspace",
                };
                let n = match base.jobs.len() {
                    1 => "a job".to_owned(),
                    n => format!("{n} jobs"),
                };
                return Err(SyncError::Refused {
                    message: format!("`{name}` {what}, but had {n} when it was last synced"),
                    hint: match is_nothing_left {
                        true => "is its disk mounted? `--delete --max-delete 100` forgets all jobs",
                        false => "is its disk mounted? `--restore` copies everything back",
                    },
                });
            }
        }
        Ok(())
    }

    fn check_removals(&self, plan: &Plan, base: &Base) -> Result<(), SyncError> {
        let (n_removed, n_files) = (plan.n_files_removed(base), base.n_files());
        let percent_max = self
            .options
            .max_delete_percent
            .unwrap_or(MAX_DELETE_PERCENT);
        let percent = 100.0 * n_removed as f64 / n_files.max(1) as f64;
        match n_removed > 0 && percent > percent_max {
            true => Err(SyncError::Refused {
                message: format!(
                    "{n_removed} of {n_files} files would be deleted, more than {percent_max} %"
                ),
                hint: "look with `--dry-run`; `--max-delete 50%` allows for more",
            }),
            false => Ok(()),
        }
    }

    /// Returns the jobs that are wanted; `None` is all.
    fn chosen(
        &self,
        local: &Listing,
        remote: &Listing,
    ) -> Result<Option<HashSet<JobId>>, SyncError> {
        let Wanted::Some {
            here,
            matches,
            needs_documents,
        } = &self.wanted
        else {
            return Ok(None);
        };
        let mut chosen = here.clone();
        let known: HashSet<_> = ids(&local.tree).collect();
        let unknown: Vec<JobId> = ids(&remote.tree)
            .filter(|id| !known.contains(id))
            .copied()
            .collect();
        let place = |name: &str, id: &JobId| Place::of_job(*id, RelPath::of(name));
        let statepoints: Vec<_> = unknown
            .iter()
            .map(|id| place(STATEPOINT_FILE, id))
            .collect();
        let statepoints = self.peer.read_many(&statepoints)?;
        let documents = match needs_documents {
            true => {
                let places: Vec<_> = unknown.iter().map(|id| place(DOCUMENT_FILE, id)).collect();
                self.peer.read_many(&places)?
            }
            false => unknown.iter().map(|_| FoundText::Absent).collect(),
        };
        for ((id, statepoint), document) in unknown.iter().zip(statepoints).zip(documents) {
            let FoundText::Text(bytes, _) = statepoint else {
                continue;
            };
            // A damaged one is named when it is looked at.
            let Ok(statepoint) = verify(id, &bytes) else {
                continue;
            };
            let document = match document {
                FoundText::Text(bytes, _) => pyjson::parse_bytes(&bytes)
                    .ok()
                    .and_then(|value| value.into_object().ok()),
                _ => None,
            };
            if matches(id, &statepoint, &document.unwrap_or_default()) {
                chosen.insert(*id);
            }
        }
        Ok(Some(chosen))
    }

    fn answers(&self, asked: &Questions) -> Result<Answers, SyncError> {
        let mut answers = Answers::default();
        for whose in [Whose::Local, Whose::Remote] {
            let of_side = |places: &[(Whose, Place)]| -> Vec<Place> {
                let of_side = places.iter().filter(|(side, _)| *side == whose);
                of_side.map(|(_, place)| place.clone()).collect()
            };
            let texts = of_side(&asked.texts);
            if !texts.is_empty() {
                let found = self.sides().at(whose).read_many(&texts)?;
                let keys = texts.into_iter().map(|place| (whose, place));
                answers.texts.extend(keys.zip(found));
            }
            let digests = of_side(&asked.digests);
            if !digests.is_empty() {
                let found = self.sides().at(whose).digests(&digests)?;
                let keys = digests.into_iter().map(|place| (whose, place));
                let found = keys
                    .zip(found)
                    .filter_map(|(key, found)| Some((key, found?)));
                answers.digests.extend(found);
            }
        }
        Ok(answers)
    }
}

/// Says of problems on which side they are.
fn named(problems: Vec<Problem>, side: Option<&str>) -> Vec<Problem> {
    let Some(side) = side else { return problems };
    let name = |problem: Problem| Problem {
        reason: format!("{} (on `{side}`)", problem.reason),
        ..problem
    };
    problems.into_iter().map(name).collect()
}
