//! What is done with a file, link or directory of a job that both sides have.

use super::compare::Comparison;
use super::differ::{Difference, is_as_before};
use super::document::Direction;
use super::options::Prefer;
use super::path::{Place, RelPath};
use super::plan::{Bytes, Conflict, NewFile, Rename};
use super::side::{FileCopy, Removal, Whose};
use super::tree::{Content, Entry, JobTree};
use crate::statepoint::JobId;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What is to be done at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Both have the same.
    Agree,
    /// Neither has it any more.
    Forget,
    /// A side gets what the other has; it may have had it before.
    Copy { to: Whose, is_back: bool },
    /// It was removed on the other side than this one.
    Gone { at: Whose },
    /// Both have changed it.
    Conflict,
    /// Nothing is known that would have to be done.
    Nothing,
}

impl Comparison<'_> {
    /// Decides about files, links and directories.
    pub(super) fn files(
        &mut self,
        id: &JobId,
        trees: (&JobTree, &JobTree),
        differences: &[Difference<'_>],
    ) {
        // Directories that stand against something else, with all below them.
        let mut blocked: Vec<RelPath> = Vec::new();
        let mut gone_dirs = Vec::new();
        let mut optional = Vec::new();
        let first_new = self.plan.files.len();
        for difference in differences {
            let path = difference.path;
            if blocked.iter().any(|above| path.is_below(above)) {
                continue;
            }
            let is_dir = |entry: Option<&Entry>| entry.is_some_and(Entry::is_dir);
            let place = Place::of_job(*id, path.clone());
            match self.decide(&place, difference) {
                Decision::Agree => self.agree(id, difference),
                Decision::Forget => self.plan.updates.push((place, None)),
                Decision::Copy { to, is_back } => {
                    let is_optional =
                        is_dir(difference.at(to.other())) && self.input.options.files.is_narrow();
                    match is_optional {
                        true => optional.push((*difference, to)),
                        false => self.copy(id, difference, to, is_back),
                    }
                }
                Decision::Gone { at } if is_dir(difference.at(at)) => {
                    gone_dirs.push((*difference, at));
                }
                Decision::Gone { at } => self.gone(id, difference, at),
                Decision::Conflict => {
                    if is_dir(difference.local) || is_dir(difference.remote) {
                        blocked.push(path.clone());
                    }
                    self.conflict(id, difference, trees);
                }
                Decision::Nothing => {}
            }
        }
        self.dirs(id, first_new, gone_dirs, optional);
    }

    /// Makes the directories that new files need, and removes others that are gone on one side.
    fn dirs(
        &mut self,
        id: &JobId,
        first_new: usize,
        gone: Vec<(Difference<'_>, Whose)>,
        optional: Vec<(Difference<'_>, Whose)>,
    ) {
        let mut needed = BTreeSet::new();
        for file in &self.plan.files[first_new..] {
            let above = file.copy.place.path.parent();
            let above = std::iter::successors(above, RelPath::parent);
            needed.extend(above.map(|path| (file.to, path)));
        }
        for (difference, to) in optional {
            if needed.contains(&(to, difference.path.clone())) {
                self.copy(id, &difference, to, false);
            }
        }
        for (difference, at) in gone {
            match needed.contains(&(at.other(), difference.path.clone())) {
                true => self.copy(id, &difference, at.other(), false),
                false => self.gone(id, &difference, at),
            }
        }
        // Directories come before what is in them.
        let new = &mut self.plan.files[first_new..];
        new.sort_by(|a, b| a.copy.place.cmp(&b.copy.place));
    }

    pub(super) fn decide(&self, place: &Place, difference: &Difference<'_>) -> Decision {
        match (difference.local, difference.remote, difference.base) {
            (None, None, _) => Decision::Forget,
            (Some(here), Some(there), _) => self.decide_between(place, difference, (here, there)),
            (Some(_), None, None) => Decision::copy(Whose::Remote),
            (None, Some(_), None) => Decision::copy(Whose::Local),
            (here, _, Some(base)) => {
                let at = match here {
                    Some(_) => Whose::Local,
                    None => Whose::Remote,
                };
                let now = difference.at(at);
                match now.is_some_and(|now| !base.is_open && is_as_before(base.at(at), now)) {
                    true => Decision::Gone { at },
                    false => Decision::Copy {
                        to: at.other(),
                        is_back: true,
                    },
                }
            }
        }
    }

    fn decide_between(
        &self,
        place: &Place,
        difference: &Difference<'_>,
        (here, there): (&Entry, &Entry),
    ) -> Decision {
        // What is below a directory is never removed to make room.
        if here.is_dir() != there.is_dir() {
            return Decision::Conflict;
        }
        match (
            difference.is_lost(Whose::Local),
            difference.is_lost(Whose::Remote),
        ) {
            (true, false) => return Decision::copy(Whose::Local),
            (false, true) => return Decision::copy(Whose::Remote),
            _ => {}
        }
        let agrees = self.input.agrees(difference, here, there);
        let is_same = agrees.or_else(|| self.have_same_content(place));
        let is_same = is_same.unwrap_or(false);
        if is_same && here.mode == there.mode {
            return Decision::Agree;
        }
        let has_changed = |whose| difference.has_changed(whose);
        let has_changed = (has_changed(Whose::Local), has_changed(Whose::Remote));
        match (is_same, has_changed, difference.base) {
            // Perhaps only the permissions.
            (_, (true, false), Some(_)) => Decision::copy(Whose::Remote),
            (_, (false, true), Some(_)) => Decision::copy(Whose::Local),
            (true, ..) => Decision::Agree,
            // They differ in their times, as when they last agreed.
            (false, (false, false), Some(_)) if !self.input.options.compares_contents => {
                Decision::Nothing
            }
            _ => Decision::Conflict,
        }
    }

    fn have_same_content(&self, place: &Place) -> Option<bool> {
        let digest = |whose| self.answers.digests.get(&(whose, place.clone()));
        Some(digest(Whose::Local)? == digest(Whose::Remote)?)
    }

    fn copy(&mut self, id: &JobId, difference: &Difference<'_>, to: Whose, is_back: bool) {
        if !self.input.options.direction.leads_to(to) {
            self.plan.n_other_direction += 1;
            return;
        }
        let Some(source) = difference.at(to.other()) else {
            return;
        };
        self.plan.files.push(NewFile {
            to,
            copy: FileCopy {
                place: Place::of_job(*id, difference.path.clone()),
                source: source.clone(),
                before: difference.at(to).cloned(),
            },
            is_back,
        });
    }

    /// Something was removed on the other side, and is as it was on this one.
    pub(super) fn gone(&mut self, id: &JobId, difference: &Difference<'_>, at: Whose) {
        let Some(entry) = difference.at(at) else {
            return;
        };
        let options = &self.input.options;
        if options.restores {
            self.copy(id, difference, at.other(), true);
        } else if options.deletes && options.direction.leads_to(at) {
            self.plan
                .removals
                .push((at, removal(id, difference.path, entry)));
        } else if !entry.is_dir() {
            self.plan.deleted_at(at.other()).files += 1;
        }
    }

    fn conflict(&mut self, id: &JobId, difference: &Difference<'_>, trees: (&JobTree, &JobTree)) {
        let (Some(here), Some(there)) = (difference.local, difference.remote) else {
            return;
        };
        let options = &self.input.options;
        let place = Place::of_job(*id, difference.path.clone());
        let has_dir = here.is_dir() || there.is_dir();
        let preferred = || options.prefer.and_then(|prefer| prefer.winner(here, there));
        if let Some(winner) = options.chosen.get(&place).copied().or_else(preferred) {
            match has_dir {
                true => self.replace_kind(id, difference.path, winner, trees),
                false => self.copy(id, difference, winner.other(), false),
            }
            return;
        }
        if options.ignores_conflicts {
            self.plan.ignored.push(place.to_string());
            return;
        }
        let is_two_way = options.direction == Direction::Both;
        if let (Some(suffix), false, true) = (&options.keep_both, has_dir, is_two_way) {
            self.keep_both(id, difference, (here, there), suffix);
            return;
        }
        self.plan.conflicts.push(Conflict {
            place,
            key: None,
            reason: reason(here, there),
        });
    }

    /// The version of the other side gets another name on both sides, and ours stays.
    fn keep_both(
        &mut self,
        id: &JobId,
        difference: &Difference<'_>,
        (here, there): (&Entry, &Entry),
        suffix: &str,
    ) {
        let name = [difference.path.as_bytes(), suffix.as_bytes()].concat();
        let Ok(kept) = RelPath::new(&name) else {
            self.plan.conflicts.push(Conflict {
                place: Place::of_job(*id, difference.path.clone()),
                key: None,
                reason: "changed on both sides, and its name is too long for a second one".into(),
            });
            return;
        };
        self.plan.renames.push(Rename {
            from: removal(id, difference.path, there),
            to: kept.clone(),
        });
        let copies = [
            (Whose::Local, kept, there),
            (Whose::Remote, difference.path.clone(), here),
        ];
        for (to, path, source) in copies {
            self.plan.files.push(NewFile {
                to,
                copy: FileCopy {
                    place: Place::of_job(*id, path),
                    source: source.clone(),
                    before: None,
                },
                is_back: false,
            });
        }
    }

    /// A directory takes the place of a file, or the other way round.
    fn replace_kind(
        &mut self,
        id: &JobId,
        path: &RelPath,
        winner: Whose,
        (local, remote): (&JobTree, &JobTree),
    ) {
        let (winning, losing) = match winner {
            Whose::Local => (local, remote),
            Whose::Remote => (remote, local),
        };
        if !self.input.options.direction.leads_to(winner.other()) {
            self.plan.n_other_direction += 1;
            return;
        }
        let is_meant = |(known, _): &&(RelPath, Entry)| known == path || known.is_below(path);
        for (path, entry) in losing.entries.iter().filter(is_meant) {
            self.plan
                .clearings
                .push((winner.other(), removal(id, path, entry)));
        }
        for (path, entry) in winning.entries.iter().filter(is_meant) {
            self.plan.files.push(NewFile {
                to: winner.other(),
                copy: FileCopy {
                    place: Place::of_job(*id, path.clone()),
                    source: entry.clone(),
                    before: None,
                },
                is_back: false,
            });
        }
    }
}

impl Decision {
    fn copy(to: Whose) -> Self {
        Self::Copy { to, is_back: false }
    }
}

impl Prefer {
    /// Returns whose version is taken; `None` if that cannot be told.
    pub(super) fn winner(self, here: &Entry, there: &Entry) -> Option<Whose> {
        let (here, there) = match self {
            Self::Of(whose) => return Some(whose),
            Self::Newer => (here.modified()?, there.modified()?),
            Self::Larger if here.is_file() && there.is_file() => {
                (here.size_bytes() as i64, there.size_bytes() as i64)
            }
            Self::Larger => return None,
        };
        match here.cmp(&there) {
            std::cmp::Ordering::Greater => Some(Whose::Local),
            std::cmp::Ordering::Less => Some(Whose::Remote),
            std::cmp::Ordering::Equal => None,
        }
    }
}

fn removal(id: &JobId, path: &RelPath, before: &Entry) -> Removal {
    Removal {
        place: Place::of_job(*id, path.clone()),
        before: before.clone(),
    }
}

fn reason(here: &Entry, there: &Entry) -> String {
    let shown = |entry: &Entry| match &entry.content {
        Content::File { size_bytes, .. } => {
            format!("a file of {}", Bytes(*size_bytes))
        }
        Content::Link(text) => {
            format!("a link to `{}`", OsStr::from_bytes(text).display())
        }
        Content::Dir => "a directory".to_owned(),
    };
    format!("{} here, {} there", shown(here), shown(there))
}
