//! From two data spaces and what is remembered of them to a plan. Nothing here reads a file: what
//! must be read is asked for first ([`questions`](super::questions)), and then answered ([`Answers`]).

use super::differ::{Difference, JobDifference, differences, is_as_before};
use super::options::{Options, is_of_job};
use super::path::{Place, RelPath};
use super::plan::{Deleted, NewJob, Plan};
use super::questions::Answers;
use super::side::{FoundText, JobCopy, Listing, Whose};
use super::state::{Base, Known, KnownJob};
use super::statepoints::verify;
use super::tree::{Entry, JobTree};
use crate::report::Problem;
use crate::statepoint::JobId;
use crate::workflow::{FLOW_FILE, Sidecar};
use crate::workspace::{DOCUMENT_FILE, STATEPOINT_FILE};
use std::collections::{HashMap, HashSet};

/// All that a comparison rests on.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) local: &'a Listing,
    pub(super) remote: &'a Listing,
    pub(super) base: &'a Base,
    pub(super) options: &'a Options,
    /// Whether a job is to be synced.
    pub(super) is_wanted: &'a dyn Fn(&JobId) -> bool,
    /// The name of the other side, in messages.
    pub(super) name: &'a str,
}

impl Input<'_> {
    pub(super) fn at(&self, whose: Whose) -> &Listing {
        match whose {
            Whose::Local => self.local,
            Whose::Remote => self.remote,
        }
    }

    /// Finds what is not the same, as far as it is to be synced.
    pub(super) fn differences(&self) -> Vec<JobDifference<'_>> {
        let all = self.options.compares_contents;
        let mut found = differences(self.local, self.remote, self.base, all);
        found.retain(|difference| {
            let id = match difference {
                JobDifference::Both { id, .. } => id,
                JobDifference::Single { tree, .. } => &tree.id,
                JobDifference::Gone(base) => &base.id,
            };
            (self.is_wanted)(id)
        });
        let hidden = Hidden::of(self.local, self.remote);
        for difference in &mut found {
            if let JobDifference::Both {
                id, differences, ..
            } = difference
            {
                differences.retain(|one| self.takes(one) && !hidden.covers(id, one.path));
            }
        }
        found
    }

    fn takes(&self, difference: &Difference<'_>) -> bool {
        let files = &self.options.files;
        let present = [difference.local, difference.remote];
        let mut present = present.into_iter().flatten();
        present.all(|entry| files.takes(difference.path, entry, true))
    }

    /// Tells whether both sides have the same content; `None` if they must be read. Once a side has
    /// changed since both agreed, times must be the same to the last digit: who works on a file may be
    /// quick.
    pub(super) fn agrees(
        &self,
        difference: &Difference<'_>,
        here: &Entry,
        there: &Entry,
    ) -> Option<bool> {
        let of_files = here.is_file() && there.is_file();
        if of_files && here.size_bytes() == there.size_bytes() {
            if self.options.size_only {
                return Some(true);
            }
            if self.options.compares_contents {
                return None;
            }
        }
        let has_changed = |(whose, now): (Whose, &Entry)| {
            let before = difference.base.map(|base| base.at(whose));
            before.is_some_and(|before| before.content != now.content)
        };
        let sides = [(Whose::Local, here), (Whose::Remote, there)];
        match here.agrees(there) {
            Some(true) if sides.into_iter().any(has_changed) => {
                (here.content == there.content).then_some(true)
            }
            agrees => agrees,
        }
    }
}

/// Places of which nothing is known.
struct Hidden<'a>(HashMap<JobId, Vec<&'a RelPath>>);

impl<'a> Hidden<'a> {
    fn of(local: &'a Listing, remote: &'a Listing) -> Self {
        let mut by_job: HashMap<JobId, Vec<&RelPath>> = HashMap::new();
        for place in local.hidden.iter().chain(&remote.hidden) {
            if let Some(job) = place.job {
                by_job.entry(job).or_default().push(&place.path);
            }
        }
        Self(by_job)
    }

    fn covers(&self, id: &JobId, path: &RelPath) -> bool {
        let hidden = self.0.get(id).into_iter().flatten();
        hidden
            .copied()
            .any(|hidden| path == hidden || path.is_below(hidden))
    }
}

/// What becomes of a job that only one side has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The other side gets it.
    Copy,
    /// It was removed on the other side, and so it is here.
    Remove,
    /// It was removed on the other side, which is told.
    Tell,
    /// It would have to be copied in a direction that is not wanted.
    Stay,
}

impl Input<'_> {
    pub(super) fn fate(&self, at: Whose, tree: &JobTree, base: Option<&KnownJob>) -> Fate {
        let copied = match self.options.direction.leads_to(at.other()) {
            true => Fate::Copy,
            false => Fate::Stay,
        };
        let Some(base) = base else { return copied };
        let is_changed = self.is_changed(at, tree, base);
        let is_hidden = self
            .at(at)
            .hidden
            .iter()
            .any(|place| place.job == Some(tree.id));
        if is_changed || self.options.restores {
            copied
        } else if self.options.deletes && !is_hidden && self.options.direction.leads_to(at) {
            Fate::Remove
        } else {
            Fate::Tell
        }
    }

    /// Tells whether a job that only one side has is not as it was. Files that are left out say
    /// nothing about that, nor do directories that hold some.
    fn is_changed(&self, at: Whose, tree: &JobTree, base: &KnownJob) -> bool {
        let files = &self.options.files;
        let is_as_before = |path: &RelPath, entry: &Entry| {
            let known = base.entries.binary_search_by(|(known, _)| known.cmp(path));
            known.is_ok_and(|found| {
                let known = &base.entries[found].1;
                !known.is_open && is_as_before(known.at(at), entry)
            })
        };
        let holds_others = |dir: &RelPath| {
            let mut entries = tree.entries.iter();
            entries.any(|(path, entry)| path.is_below(dir) && !files.takes(path, entry, false))
        };
        let mut entries = tree.entries.iter();
        entries.any(|(path, entry)| {
            let is_empty_for_us = || entry.is_dir() && (files.is_narrow() || holds_others(path));
            !is_as_before(path, entry) && files.takes(path, entry, false) && !is_empty_for_us()
        })
    }

    pub(super) fn document_differs(&self) -> bool {
        let hidden = |listing: &Listing| listing.hidden.iter().any(|place| place.job.is_none());
        if hidden(self.local) || hidden(self.remote) {
            return false;
        }
        let difference = self.project_document();
        let is_known = difference.base.is_some_and(|known| !known.is_open)
            && !difference.has_changed(Whose::Local)
            && !difference.has_changed(Whose::Remote);
        !is_known && (difference.local.is_some() || difference.remote.is_some())
    }

    fn project_document(&self) -> Difference<'_> {
        static PATH: std::sync::LazyLock<RelPath> =
            std::sync::LazyLock::new(|| Place::document().path);
        Difference {
            path: &PATH,
            local: self.local.tree.document.as_ref(),
            remote: self.remote.tree.document.as_ref(),
            base: self.base.document.as_ref(),
        }
    }
}

/// Decides about everything.
pub(super) fn compare(input: &Input<'_>, jobs: &[JobDifference<'_>], answers: &Answers) -> Plan {
    let mut comparison = Comparison {
        input,
        answers,
        plan: Plan::default(),
    };
    if input.document_differs() {
        comparison.document(None, &input.project_document());
    }
    for job in jobs {
        comparison.job(job);
    }
    comparison.plan
}

pub(super) struct Comparison<'a> {
    pub(super) input: &'a Input<'a>,
    pub(super) answers: &'a Answers,
    pub(super) plan: Plan,
}

impl Comparison<'_> {
    fn job(&mut self, job: &JobDifference<'_>) {
        match job {
            JobDifference::Both {
                id,
                local,
                remote,
                differences,
            } => self.both(id, (local, remote), differences),
            JobDifference::Single { at, tree, base } => self.single(*at, tree, *base),
            JobDifference::Gone(base) => self.forget(base),
        }
    }

    fn forget(&mut self, base: &KnownJob) {
        let places = base.entries.iter();
        let gone = places.map(|(path, _)| (Place::of_job(base.id, path.clone()), None));
        self.plan.updates.extend(gone);
    }

    pub(super) fn problem(&mut self, place: &Place, reason: impl Into<String>) {
        self.plan.problems.push(Problem {
            subject: place
                .job
                .map_or_else(|| place.path.to_string(), |job| job.to_string()),
            path: place.below_project().as_path().to_owned(),
            reason: reason.into(),
            hint: None,
        });
    }

    /// Makes sure that a job's state point is that of its id; else it is named.
    fn has_sound_statepoint(&mut self, id: &JobId, whose: Whose) -> bool {
        let place = Place::of_job(*id, RelPath::of(STATEPOINT_FILE));
        let reason = match self.answers.texts.get(&(whose, place.clone())) {
            None => return true,
            Some(FoundText::Text(bytes, _)) => match verify(id, bytes) {
                Ok(_) => return true,
                Err(reason) => reason,
            },
            Some(FoundText::Absent) => "its state point has gone meanwhile".to_owned(),
            Some(FoundText::Unreadable(reason)) => reason.clone(),
        };
        self.problem(
            &place,
            format!("not synced: {reason} ({})", self.side_name(whose)),
        );
        false
    }

    fn side_name(&self, whose: Whose) -> &str {
        match whose {
            Whose::Local => "here",
            Whose::Remote => self.input.name,
        }
    }

    fn both(&mut self, id: &JobId, trees: (&JobTree, &JobTree), differences: &[Difference<'_>]) {
        let are_sound =
            [Whose::Local, Whose::Remote].map(|whose| self.has_sound_statepoint(id, whose));
        if are_sound.contains(&false) {
            return;
        }
        self.skipped_dirs(trees);
        let runs = !self.input.options.takes_running && self.is_running(id);
        let mut files = Vec::new();
        for difference in differences {
            let name = difference.path.as_path().to_str().unwrap_or_default();
            let are_files = [difference.local, difference.remote]
                .into_iter()
                .flatten()
                .all(Entry::is_file);
            match name {
                STATEPOINT_FILE => self.agree(id, difference),
                DOCUMENT_FILE if are_files => self.document(Some(*id), difference),
                FLOW_FILE if are_files => self.sidecar(id, difference),
                _ => files.push(*difference),
            }
        }
        let mark = self.plan.mark();
        self.files(id, trees, &files);
        if runs && self.plan.has_grown(&mark) {
            self.plan.withdraw(&mark);
            self.plan.running.push(*id);
        }
    }

    /// signac skips directories unless it is told not to.
    fn skipped_dirs(&mut self, (_, remote): (&JobTree, &JobTree)) {
        if self.input.options.files.top_only {
            let dirs = remote.entries.iter();
            self.plan.n_skipped_dirs += dirs
                .filter(|(path, entry)| entry.is_dir() && path.parent().is_none())
                .count();
        }
    }

    /// Tells whether something runs in a job, as far as both sides together know.
    fn is_running(&self, id: &JobId) -> bool {
        let record = |whose| {
            let place = Place::of_job(*id, RelPath::of(FLOW_FILE));
            match self.answers.texts.get(&(whose, place)) {
                Some(FoundText::Text(bytes, _)) => Sidecar::parse(bytes).ok(),
                _ => None,
            }
        };
        let known = match (record(Whose::Local), record(Whose::Remote)) {
            (Some(here), Some(there)) => Some(here.merge(there)),
            (here, there) => here.or(there),
        };
        known.is_some_and(|sidecar| sidecar.records.values().any(|record| record.runs()))
    }

    /// Notes that both sides have the same.
    pub(super) fn agree(&mut self, id: &JobId, difference: &Difference<'_>) {
        let known = match (difference.local, difference.remote) {
            (Some(local), Some(remote)) => Some(Known {
                local: local.clone(),
                remote: remote.clone(),
                text: None,
                is_open: false,
            }),
            _ => None,
        };
        if known.as_ref() != difference.base {
            let place = Place::of_job(*id, difference.path.clone());
            self.plan.updates.push((place, known));
        }
    }

    fn single(&mut self, at: Whose, tree: &JobTree, base: Option<&KnownJob>) {
        match self.input.fate(at, tree, base) {
            Fate::Copy => self.new_job(at, tree, base.is_some()),
            Fate::Stay => self.plan.n_other_direction += 1,
            Fate::Remove if !self.input.options.takes_running && self.is_running(&tree.id) => {
                self.plan.running.push(tree.id);
            }
            Fate::Remove => self.plan.job_removals.push((at, tree.clone())),
            Fate::Tell => self.plan.deleted_at(at.other()).jobs += 1,
        }
    }

    fn new_job(&mut self, at: Whose, tree: &JobTree, is_back: bool) {
        if !self.has_sound_statepoint(&tree.id, at) {
            return;
        }
        let files = &self.input.options.files;
        let runs = !self.input.options.takes_running && self.is_running(&tree.id);
        if runs {
            self.plan.running.push(tree.id);
        }
        let is_taken = |(path, entry): &&(RelPath, Entry)| {
            files.takes(path, entry, false) && (!runs || is_of_job(path))
        };
        let mut entries: Vec<_> = tree.entries.iter().filter(is_taken).cloned().collect();
        if files.is_narrow() || runs {
            let needed: HashSet<_> = entries
                .iter()
                .filter(|(_, entry)| !entry.is_dir())
                .flat_map(|(path, _)| std::iter::successors(path.parent(), RelPath::parent))
                .collect();
            entries.retain(|(path, entry)| !entry.is_dir() || needed.contains(path));
        }
        let document = RelPath::of(DOCUMENT_FILE);
        let listed = tree.get(&document);
        let place = Place::of_job(tree.id, document);
        let document = match self.answers.texts.get(&(at, place)) {
            Some(FoundText::Text(bytes, entry)) if Some(entry) == listed => {
                Some(bytes.as_slice().into())
            }
            _ => None,
        };
        self.plan.jobs.push(NewJob {
            to: at.other(),
            copy: JobCopy {
                id: tree.id,
                entries,
            },
            document,
            is_back,
        });
    }
}

impl Plan {
    pub(super) fn deleted_at(&mut self, whose: Whose) -> &mut Deleted {
        match whose {
            Whose::Local => &mut self.deleted_here,
            Whose::Remote => &mut self.deleted_there,
        }
    }

    /// Notes how much there is so far.
    fn mark(&self) -> Mark {
        Mark {
            actions: [
                self.renames.len(),
                self.clearings.len(),
                self.files.len(),
                self.removals.len(),
                self.conflicts.len(),
            ],
            n_updates: self.updates.len(),
        }
    }

    fn has_grown(&self, since: &Mark) -> bool {
        self.mark().actions != since.actions
    }

    /// Takes back what was added since.
    fn withdraw(&mut self, since: &Mark) {
        let [renames, clearings, files, removals, conflicts] = since.actions;
        self.renames.truncate(renames);
        self.clearings.truncate(clearings);
        self.files.truncate(files);
        self.removals.truncate(removals);
        self.conflicts.truncate(conflicts);
        self.updates.truncate(since.n_updates);
    }
}

/// How much a plan holds at some moment.
struct Mark {
    actions: [usize; 5],
    n_updates: usize,
}
