//! From what a sync has done, and what is on both sides now, to what takes it back. Nothing here
//! touches a file.

use super::deed::{Deed, UNKNOWN_TIME};
use super::log::Log;
use super::path::{Place, RelPath};
use super::plan::Line;
use super::side::{Listing, Removal, Restore, Whose};
use super::state::Known;
use super::tree::{Content, Entry, JobTree};
use crate::report::Problem;
use crate::statepoint::JobId;
use std::collections::{BTreeMap, BTreeSet};

const CHANGED: &str = "it has changed since";

/// What is to be done, of each with the side.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// What has arrived goes to the trash.
    pub(super) removals: Vec<(Whose, Removal)>,
    pub(super) job_removals: Vec<(Whose, JobTree)>,
    /// What was replaced or removed is brought back.
    pub(super) restores: Vec<(Whose, Restore)>,
    pub(super) jobs_back: Vec<(Whose, JobId)>,
    pub(super) renames: Vec<(Whose, Removal, RelPath)>,
    /// What is left as it is, and why.
    pub(super) left: Vec<(Whose, Place, String)>,
    pub(super) jobs_left: Vec<(Whose, JobId, String)>,
    /// What was planned, and is not as if it had been done.
    not_done: BTreeSet<Place>,
    /// What is already as it was before, on one side at least.
    as_before: BTreeSet<Place>,
}

/// What was known of a place before a sync, and after it.
#[derive(Debug)]
pub(super) struct Memo {
    pub(super) place: Place,
    pub(super) old: Option<Known>,
    pub(super) new: Option<Known>,
    /// It is logged what was done. Of what was only planned nothing new is known.
    pub(super) is_sure: bool,
}

/// What a sync has done with a place.
#[derive(Default)]
struct Change {
    before: Option<Entry>,
    /// What it may have left there; the first is known if something is.
    after: Vec<Option<Entry>>,
    is_sure: bool,
    n_done: usize,
}

/// What is at a place now.
enum Seen<'a> {
    Entry(&'a Entry),
    Nothing,
    /// Nothing is known of it.
    Hidden,
}

impl Steps {
    pub(super) fn new(log: &Log, local: &Listing, remote: &Listing) -> Self {
        let comparison = Comparison {
            local,
            remote,
            steps: Self::default(),
        };
        comparison.all(log)
    }

    /// Tells whether nothing is to be done, and nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.jobs().is_empty()
            && self.removals.is_empty()
            && self.restores.is_empty()
            && self.left.is_empty()
            && self.jobs_left.is_empty()
    }

    /// Returns the jobs in which something would be done.
    pub(super) fn jobs(&self) -> BTreeSet<JobId> {
        let removals = self.removals.iter().map(|(_, removal)| removal.place.job);
        let restores = self.restores.iter().map(|(_, restore)| restore.place.job);
        let renames = self.renames.iter().map(|(_, from, _)| from.place.job);
        let gone = self.job_removals.iter().map(|(_, job)| Some(job.id));
        let back = self.jobs_back.iter().map(|(_, id)| Some(*id));
        let all = removals.chain(restores).chain(renames);
        let all = all.chain(gone).chain(back);
        all.flatten().collect()
    }

    /// Leaves all of a job as it is.
    pub(super) fn leave(&mut self, id: &JobId, why: &str) {
        let is_other = |place: &Place| place.job != Some(*id);
        self.removals
            .retain(|(_, removal)| is_other(&removal.place));
        self.restores
            .retain(|(_, restore)| is_other(&restore.place));
        self.renames.retain(|(_, from, _)| is_other(&from.place));
        self.job_removals.retain(|(_, job)| job.id != *id);
        self.jobs_back.retain(|(_, job)| job != id);
        self.jobs_left.retain(|(_, job, _)| job != id);
        self.jobs_left.push((Whose::Local, *id, why.to_owned()));
    }

    /// Returns what is undone, of what was known. If only one side has what it had before, what both
    /// had then is what they are compared with next: else what it lacks again would be taken for removed.
    pub(super) fn undone(&self, memos: Vec<Memo>) -> Vec<Memo> {
        let left: BTreeSet<_> = self
            .left
            .iter()
            .map(|(at, place, _)| (*at, place))
            .collect();
        let removals = self.removals.iter();
        let removals = removals.map(|(at, removal)| (*at, &removal.place));
        let restores = self.restores.iter();
        let restores = restores.map(|(at, restore)| (*at, &restore.place));
        let done = removals.chain(restores).filter(|step| !left.contains(step));
        let done = done.map(|(_, place)| place).chain(&self.as_before);
        let done: BTreeSet<_> = done.collect();
        let left: BTreeSet<_> = left.iter().map(|(_, place)| *place).collect();
        let jobs_left: BTreeSet<_> = self.jobs_left.iter().map(|(_, id, _)| *id).collect();
        let is_undone = |Memo { place, .. }: &Memo| {
            (!left.contains(place) || done.contains(place))
                && !self.not_done.contains(place)
                && place.job.is_none_or(|job| !jobs_left.contains(&job))
        };
        memos.into_iter().filter(is_undone).collect()
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let removals = self.removals.iter();
        lines.extend(removals.map(|(at, removal)| Line::of("trash", Some(*at), &removal.place)));
        let removals = self.job_removals.iter();
        lines.extend(removals.map(|(at, job)| Line::of_job("trash job", *at, &job.id)));
        let restores = self.restores.iter();
        lines.extend(restores.map(|(at, restore)| Line::of("back", Some(*at), &restore.place)));
        let back = self.jobs_back.iter();
        lines.extend(back.map(|(at, id)| Line::of_job("job back", *at, id)));
        for (at, from, to) in &self.renames {
            lines.push(Line {
                reason: Some(format!("its name is `{to}` again")),
                ..Line::of("rename", Some(*at), &from.place)
            });
        }
        lines.sort_by(|a, b| (&a.job, &a.path, a.to).cmp(&(&b.job, &b.path, b.to)));
        lines
    }

    /// Says what is left, and why; the other side by its name.
    pub(super) fn problems(&self, other: &str) -> Vec<Problem> {
        let named = |whose: &Whose, why: &str| match whose {
            Whose::Local => why.to_owned(),
            Whose::Remote => format!("{why} (on `{other}`)"),
        };
        let places = self.left.iter().map(|(whose, place, why)| Problem {
            subject: place.to_string(),
            path: place.below_project().as_path().to_owned(),
            reason: named(whose, why),
            hint: None,
        });
        let jobs = self.jobs_left.iter().map(|(whose, id, why)| Problem {
            subject: id.to_string(),
            path: format!("workspace/{id}").into(),
            reason: named(whose, why),
            hint: None,
        });
        let mut problems: Vec<_> = places.chain(jobs).collect();
        problems.sort();
        problems
    }
}

/// Returns what was known of each place before a sync, and after it.
pub(super) fn memos(log: &Log) -> Vec<Memo> {
    let mut found: BTreeMap<Place, Memo> = BTreeMap::new();
    for (deeds, is_sure) in [(&log.planned, false), (&log.deeds, true)] {
        let mut note = |place: Place, old: Option<&Known>, new: Option<&Known>| {
            let memo = Memo {
                place: place.clone(),
                old: old.cloned(),
                new: new.cloned(),
                is_sure,
            };
            found.insert(place, memo);
        };
        for deed in deeds {
            match deed {
                // If something was known, that follows.
                Deed::JobMade { id, entries, .. } => {
                    for (path, known) in entries {
                        note(Place::of_job(*id, path.clone()), None, Some(known));
                    }
                }
                Deed::JobGone { id, entries, .. } => {
                    for (path, known) in entries {
                        note(Place::of_job(*id, path.clone()), Some(known), None);
                    }
                }
                Deed::Put { place, .. } if !is_sure => note(place.clone(), None, None),
                Deed::Known { place, old, new } => note(place.clone(), old.as_ref(), new.as_ref()),
                _ => {}
            }
        }
    }
    found.into_values().collect()
}

/// Finds a job.
pub(super) fn job<'a>(listing: &'a Listing, id: &JobId) -> Option<&'a JobTree> {
    let jobs = &listing.tree.jobs;
    let at = jobs.binary_search_by_key(id, |job| job.id);
    at.ok().map(|at| &jobs[at])
}

/// Tells whether an entry is what was planned, as far as its file system can tell.
fn is_as_planned(now: &Entry, planned: &Entry) -> bool {
    match (&now.content, &planned.content) {
        (
            Content::File { size_bytes, .. },
            Content::File {
                size_bytes: planned,
                modified: UNKNOWN_TIME,
            },
        ) => size_bytes == planned,
        _ => now.agrees(planned) == Some(true),
    }
}

/// Compares deeds with what is there now.
struct Comparison<'a> {
    local: &'a Listing,
    remote: &'a Listing,
    steps: Steps,
}

impl Comparison<'_> {
    fn all(mut self, log: &Log) -> Steps {
        let mut is_done: BTreeSet<(Whose, Option<JobId>, Option<&RelPath>)> = BTreeSet::new();
        let all = log.deeds.iter().map(|deed| (deed, true));
        let all: Vec<_> = all
            .chain(log.planned.iter().map(|deed| (deed, false)))
            .collect();
        for (deed, is_sure) in &all {
            match deed {
                Deed::JobMade { at, id, entries }
                    if *is_sure || !is_done.contains(&(*at, Some(*id), None)) =>
                {
                    is_done.insert((*at, Some(*id), None));
                    self.job_made(*at, id, entries, *is_sure);
                }
                Deed::JobGone { at, id, entries }
                    if *is_sure || !is_done.contains(&(*at, Some(*id), None)) =>
                {
                    is_done.insert((*at, Some(*id), None));
                    self.job_gone(*at, id, entries);
                }
                _ => {}
            }
        }
        for ((at, place), change) in changes(log) {
            self.put(at, place, change);
        }
        // Only now it is known which names will be free.
        for (deed, is_sure) in &all {
            if let Deed::Moved {
                at,
                place,
                to,
                entry,
            } = deed
                && (*is_sure || !is_done.contains(&(*at, place.job, Some(to))))
            {
                is_done.insert((*at, place.job, Some(to)));
                self.moved(*at, place, to, entry, *is_sure);
            }
        }
        self.steps
    }

    fn listing(&self, whose: Whose) -> &Listing {
        match whose {
            Whose::Local => self.local,
            Whose::Remote => self.remote,
        }
    }

    fn seen(&self, whose: Whose, place: &Place) -> Seen<'_> {
        let listing = self.listing(whose);
        let is_hidden = |hidden: &Place| {
            let is_in = place.path == hidden.path || place.path.is_below(&hidden.path);
            hidden.job == place.job && is_in
        };
        let is_left_out = |id: JobId| listing.left_out.binary_search(&id).is_ok();
        if listing.hidden.iter().any(is_hidden) || place.job.is_some_and(is_left_out) {
            return Seen::Hidden;
        }
        let entry = match &place.job {
            Some(id) => job(listing, id).and_then(|job| job.get(&place.path)),
            None => listing.tree.document.as_ref(),
        };
        entry.map_or(Seen::Nothing, Seen::Entry)
    }

    fn put(&mut self, at: Whose, place: Place, change: Change) {
        let now = match self.seen(at, &place) {
            Seen::Hidden => return self.leave(at, place, "nothing is known of it now"),
            Seen::Entry(entry) => Some(entry.clone()),
            Seen::Nothing => None,
        };
        if change.is_undone(now.as_ref()) {
            self.steps.as_before.insert(place);
            return;
        }
        if !change.has_left(now.as_ref()) {
            // If it was only planned, somebody else may have been there before.
            return match change.n_done > 0 {
                true => self.leave(at, place, CHANGED),
                false => drop(self.steps.not_done.insert(place)),
            };
        }
        let before = change.before;
        let is_same_kind = |now: &Entry| {
            let before = before.as_ref();
            before.is_some_and(|before| before.is_dir() == now.is_dir())
        };
        // Nothing is put in the place of something of another kind.
        let (replaced, removed) = match now {
            Some(now) if !is_same_kind(&now) => (None, Some(now)),
            now => (now, None),
        };
        let removal = removed.map(|before| Removal {
            place: place.clone(),
            before,
        });
        let removals = &mut self.steps.removals;
        removals.extend(removal.map(|removal| (at, removal)));
        let restore = before.map(|before| Restore {
            place,
            now: replaced,
            before,
        });
        let restores = &mut self.steps.restores;
        restores.extend(restore.map(|restore| (at, restore)));
    }

    fn moved(&mut self, at: Whose, place: &Place, to: &RelPath, entry: &Entry, is_sure: bool) {
        let kept = Place {
            job: place.job,
            path: to.clone(),
        };
        let same = |seen| match seen {
            Seen::Entry(now) if now.content == entry.content => Some(now.clone()),
            _ => None,
        };
        let will_be_free = |place: &Place| {
            let mut removals = self.steps.removals.iter();
            matches!(self.seen(at, place), Seen::Nothing)
                || removals.any(|(whose, removal)| *whose == at && removal.place == *place)
        };
        match same(self.seen(at, &kept)) {
            Some(before) if will_be_free(place) => {
                let from = Removal {
                    place: kept,
                    before,
                };
                self.steps.renames.push((at, from, place.path.clone()));
            }
            None if same(self.seen(at, place)).is_some() || !is_sure => {}
            _ => self.leave(at, kept, CHANGED),
        }
    }

    /// Returns a job, and whether it is as it was; `None` if it is not there.
    fn is_as(
        &self,
        at: Whose,
        id: &JobId,
        entries: &[(RelPath, Known)],
        is_sure: bool,
    ) -> Result<Option<(&JobTree, bool)>, ()> {
        let listing = self.listing(at);
        let is_hidden = listing.hidden.iter().any(|hidden| hidden.job == Some(*id));
        if is_hidden || listing.left_out.binary_search(id).is_ok() {
            return Err(());
        }
        let Some(job) = job(listing, id) else {
            return Ok(None);
        };
        let known = entries.iter().map(|(path, known)| (path, known.at(at)));
        let mut known: Vec<_> = known.collect();
        known.sort_by_key(|(path, _)| *path);
        let is_same = |((path, now), known): (&(RelPath, Entry), &(&RelPath, &Entry))| {
            let is_same = match is_sure {
                true => now.content == known.1.content,
                false => is_as_planned(now, known.1),
            };
            path == known.0 && is_same
        };
        let are_same = job.entries.iter().zip(&known).all(is_same);
        Ok(Some((job, are_same && job.entries.len() == known.len())))
    }

    fn job_made(&mut self, at: Whose, id: &JobId, entries: &[(RelPath, Known)], is_sure: bool) {
        match self.is_as(at, id, entries, is_sure) {
            Ok(None) => {}
            Ok(Some((job, true))) => {
                let job = job.clone();
                self.steps.job_removals.push((at, job));
            }
            _ if !is_sure => {
                let places = entries.iter();
                let places = places.map(|(path, _)| Place::of_job(*id, path.clone()));
                self.steps.not_done.extend(places);
            }
            Ok(Some((_, false))) => self.leave_job(at, id, "files of it have changed since"),
            Err(()) => self.leave_job(at, id, "not all of it can be seen now"),
        }
    }

    fn job_gone(&mut self, at: Whose, id: &JobId, entries: &[(RelPath, Known)]) {
        match self.is_as(at, id, entries, true) {
            Ok(None) => self.steps.jobs_back.push((at, *id)),
            Ok(Some((_, true))) => {}
            Ok(Some((_, false))) | Err(()) => {
                self.leave_job(at, id, "a job of that id is there again");
            }
        }
    }

    fn leave(&mut self, at: Whose, place: Place, why: &str) {
        self.steps.left.push((at, place, why.to_owned()));
    }

    fn leave_job(&mut self, at: Whose, id: &JobId, why: &str) {
        self.steps.jobs_left.push((at, *id, why.to_owned()));
    }
}

/// Returns what a sync has done with each place, and may have done if it was cut off.
fn changes(log: &Log) -> BTreeMap<(Whose, Place), Change> {
    let mut changes: BTreeMap<(Whose, Place), Change> = BTreeMap::new();
    for deed in &log.deeds {
        if let Deed::Put {
            at,
            place,
            before,
            after,
        } = deed
        {
            // The first knows what there was before the sync, the last what there is now.
            let change = changes
                .entry((*at, place.clone()))
                .or_insert_with(|| Change {
                    before: before.clone(),
                    ..Change::default()
                });
            change.after = vec![after.clone()];
            change.n_done += 1;
            change.is_sure = true;
        }
    }
    let mut n_planned: BTreeMap<(Whose, &Place), usize> = BTreeMap::new();
    for deed in &log.planned {
        if let Deed::Put {
            at,
            place,
            before,
            after,
        } = deed
        {
            let n_planned = n_planned.entry((*at, place)).or_default();
            *n_planned += 1;
            let change = changes
                .entry((*at, place.clone()))
                .or_insert_with(|| Change {
                    before: before.clone(),
                    ..Change::default()
                });
            if *n_planned > change.n_done {
                change.after.push(after.clone());
                change.is_sure = false;
            }
        }
    }
    changes
}

impl Change {
    /// Tells whether there is what there was before.
    fn is_undone(&self, now: Option<&Entry>) -> bool {
        match (now, &self.before) {
            (Some(now), Some(before)) => {
                now.content == before.content && (now.mode == before.mode || !now.is_file())
            }
            (now, before) => now.is_none() && before.is_none(),
        }
    }

    /// Tells whether there is what the sync has left, or may have left.
    fn has_left(&self, now: Option<&Entry>) -> bool {
        let mut after = self.after.iter();
        after.any(|after| match (now, after) {
            (Some(now), Some(after)) if self.is_sure => now.content == after.content,
            (Some(now), Some(after)) => is_as_planned(now, after),
            (now, after) => now.is_none() && after.is_none(),
        })
    }
}
