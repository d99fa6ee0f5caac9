//! What is done with a file, a document, a record of a job that both sides have.

use super::compare::Comparison;
use super::differ::{Difference, is_as_before};
use super::document::{Direction, KeyRule, merge};
use super::options::Prefer;
use super::path::{Place, RelPath};
use super::plan::{Bytes, Conflict, NewFile, Rename, TextMerge};
use super::side::{FileCopy, FoundText, NewText, Removal, Whose};
use super::tree::{Content, Entry, JobTree};
use crate::pyjson::{self, Object, Value};
use crate::statepoint::JobId;
use crate::workflow::{Sidecar, SidecarError};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What is to be done at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
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

impl<'a> Comparison<'a> {
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

    fn decide(&self, place: &Place, difference: &Difference<'_>) -> Decision {
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
        let agrees = self.input.agrees(here, there);
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
    fn gone(&mut self, id: &JobId, difference: &Difference<'_>, at: Whose) {
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
        if let Some(winner) = options.prefer.and_then(|prefer| prefer.winner(here, there)) {
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

    fn text(&self, whose: Whose, place: &Place, listed: Option<&Entry>) -> Found<'a> {
        match (self.answers.texts.get(&(whose, place.clone())), listed) {
            (_, None) => Found::None,
            (Some(FoundText::Text(bytes, entry)), Some(listed)) if entry == listed => {
                Found::Text(bytes)
            }
            (Some(FoundText::Unreadable(reason)), _) => Found::Bad(reason.clone()),
            _ => Found::Bad("it has changed meanwhile".into()),
        }
    }

    /// Merges a document; `job` is `None` for that of the project.
    pub(super) fn document(&mut self, job: Option<JobId>, difference: &Difference<'_>) {
        let place = Place {
            job,
            path: difference.path.clone(),
        };
        match (difference.local, difference.remote) {
            (Some(here), Some(there)) => self.merge_document(&place, difference, here, there),
            _ => self.one_sided(&place, difference, true),
        }
    }

    fn merge_document(
        &mut self,
        place: &Place,
        difference: &Difference<'_>,
        here: &Entry,
        there: &Entry,
    ) {
        if self.input.agrees(here, there) == Some(true) {
            let text = match self.text(Whose::Local, place, Some(here)) {
                Found::Text(bytes) => Some(bytes.into()),
                _ => None,
            };
            self.agree_at(place, difference, text);
            return;
        }
        let read = |whose: Whose, entry: &Entry| match self.text(whose, place, Some(entry)) {
            Found::Text(bytes) => object(bytes).map(|object| (bytes, object)),
            Found::Bad(reason) => Err(reason),
            Found::None => Err("it is gone".into()),
        };
        let (local, remote) = match (read(Whose::Local, here), read(Whose::Remote, there)) {
            (Ok(local), Ok(remote)) => (local, remote),
            (Err(reason), _) | (_, Err(reason)) => {
                self.problem(place, format!("its document is not synced: {reason}"));
                return;
            }
        };
        let base = difference.base.and_then(|known| known.text.as_deref());
        let base = base.and_then(|text| object(text).ok());
        let rule = self.key_rule(here, there);
        let direction = self.input.options.direction;
        let merged = merge(base.as_ref(), &local.1, &remote.1, &rule, direction);
        let conflicts = merged.conflicts.into_iter().map(|key| Conflict {
            place: place.clone(),
            key: Some(key),
            reason: "changed on both sides".into(),
        });
        self.plan.conflicts.extend(conflicts);
        let ignored = merged.ignored.into_iter();
        self.plan
            .ignored
            .extend(ignored.map(|key| format!("{place}: {key}")));
        let is_open = merged.local != merged.remote;
        let new = |merged: &Object,
                   side: (&Entry, &(&[u8], Object)),
                   other: (&Entry, &(&[u8], Object))| {
            if *merged == side.1.1 {
                return None;
            }
            // What the other side has is taken as it is, with its time.
            let is_others = *merged == other.1.1;
            Some(NewText {
                place: place.clone(),
                bytes: match is_others {
                    true => other.1.0.to_vec(),
                    false => merged.dumps().into_bytes(),
                },
                modified: other.0.modified().filter(|_| is_others),
                before: Some(side.0.clone()),
            })
        };
        let texts = TextMerge {
            place: place.clone(),
            entries: (Some(here.clone()), Some(there.clone())),
            local: new(&merged.local, (here, &local), (there, &remote)),
            remote: new(&merged.remote, (there, &remote), (here, &local)),
            agreed: Some(merged.agreed.dumps().into_bytes().into()),
            is_open,
        };
        self.push_text(texts, difference);
    }

    fn push_text(&mut self, merge: TextMerge, difference: &Difference<'_>) {
        if merge.local.is_some() || merge.remote.is_some() {
            self.plan.texts.push(merge);
            return;
        }
        let known = merge.known(difference.local.cloned(), difference.remote.cloned());
        if known.is_some() && known.as_ref() != difference.base {
            self.plan.updates.push((merge.place, known));
        }
    }

    fn key_rule(&self, here: &Entry, there: &Entry) -> KeyRule {
        let mut rule = self.input.options.keys.clone();
        let prefer = self.input.options.prefer;
        let by_side = match prefer {
            Some(Prefer::Of(whose)) => Some(whose),
            Some(prefer @ Prefer::Newer) => prefer.winner(here, there),
            _ => None,
        };
        if !rule.is_final {
            rule.prefer = rule.prefer.or(by_side);
        }
        rule
    }

    fn agree_at(&mut self, place: &Place, difference: &Difference<'_>, text: Option<Box<[u8]>>) {
        let known = TextMerge {
            place: place.clone(),
            entries: (None, None),
            local: None,
            remote: None,
            agreed: text,
            is_open: false,
        };
        self.push_text(known, difference);
    }

    /// A document or record that only one side has.
    fn one_sided(&mut self, place: &Place, difference: &Difference<'_>, is_document: bool) {
        let to = match (self.decide(place, difference), place.job) {
            (Decision::Copy { to, .. }, _) => to,
            (Decision::Gone { at }, _) if self.input.options.restores => at.other(),
            (Decision::Gone { at }, Some(id)) => return self.gone(&id, difference, at),
            // The project's own is never removed.
            (Decision::Gone { at }, None) => {
                self.plan.deleted_at(at.other()).files += 1;
                return;
            }
            (Decision::Forget, _) => {
                self.plan.updates.push((place.clone(), None));
                return;
            }
            _ => return,
        };
        if !self.input.options.direction.leads_to(to) {
            self.plan.n_other_direction += 1;
            return;
        }
        let Some(source) = difference.at(to.other()) else {
            return;
        };
        let bytes = match self.text(to.other(), place, Some(source)) {
            Found::Text(bytes) => bytes.to_vec(),
            Found::Bad(reason) => return self.problem(place, format!("not synced: {reason}")),
            Found::None => return,
        };
        let checked = match is_document {
            true => object(&bytes).map(drop),
            false => Sidecar::parse(&bytes)
                .map(drop)
                .map_err(|error| error.to_string()),
        };
        if let Err(reason) = checked {
            return self.problem(place, format!("not synced: {reason}"));
        }
        let text = NewText {
            place: place.clone(),
            modified: source.modified(),
            before: None,
            bytes: bytes.clone(),
        };
        let (local, remote) = match to {
            Whose::Local => (Some(text), None),
            Whose::Remote => (None, Some(text)),
        };
        self.plan.texts.push(TextMerge {
            place: place.clone(),
            entries: (difference.local.cloned(), difference.remote.cloned()),
            local,
            remote,
            agreed: is_document.then(|| bytes.into()),
            is_open: false,
        });
    }

    /// Merges what both sides have recorded of executions.
    pub(super) fn sidecar(&mut self, id: &JobId, difference: &Difference<'_>) {
        let place = Place::of_job(*id, difference.path.clone());
        let (Some(here), Some(there)) = (difference.local, difference.remote) else {
            return self.one_sided(&place, difference, false);
        };
        if self.input.agrees(here, there) == Some(true) {
            return self.agree_at(&place, difference, None);
        }
        let read = |whose, entry| match self.text(whose, &place, Some(entry)) {
            Found::Text(bytes) => Sidecar::parse(bytes)
                .map(|sidecar| (bytes, sidecar))
                .map_err(|error| error.to_string()),
            Found::Bad(reason) => Err(reason),
            Found::None => Err("it is gone".into()),
        };
        let (local, remote) = match (read(Whose::Local, here), read(Whose::Remote, there)) {
            (Ok(local), Ok(remote)) => (local, remote),
            (Err(reason), _) | (_, Err(reason)) => {
                return self.problem(&place, format!("its record is not synced: {reason}"));
            }
        };
        let changed = (
            difference.has_changed(Whose::Local),
            difference.has_changed(Whose::Remote),
        );
        // Who has changed nothing gets what the other has, also if something was forgotten there.
        let merged = match (difference.base, changed) {
            (Some(_), (true, false)) => local.1.clone(),
            (Some(_), (false, true)) => remote.1.clone(),
            _ => local.1.clone().merge(remote.1.clone()),
        };
        let direction = self.input.options.direction;
        let new = |whose, side: (&Entry, &(&[u8], Sidecar)), other: (&Entry, &(&[u8], Sidecar))| {
            if merged == side.1.1 || !direction.leads_to(whose) {
                return Ok(None);
            }
            let is_others = merged == other.1.1;
            let bytes = match is_others {
                true => other.1.0.to_vec(),
                false => merged.to_bytes()?,
            };
            Ok::<_, SidecarError>(Some(NewText {
                place: place.clone(),
                bytes,
                modified: other.0.modified().filter(|_| is_others),
                before: Some(side.0.clone()),
            }))
        };
        let texts = (
            new(Whose::Local, (here, &local), (there, &remote)),
            new(Whose::Remote, (there, &remote), (here, &local)),
        );
        let (Ok(for_local), Ok(for_remote)) = texts else {
            return self.problem(&place, "its record is not synced: it cannot be written");
        };
        let is_same = |new: &Option<NewText>, old: &Sidecar| new.is_some() || *old == merged;
        let is_open = !(is_same(&for_local, &local.1) && is_same(&for_remote, &remote.1));
        let merge = TextMerge {
            place: place.clone(),
            entries: (Some(here.clone()), Some(there.clone())),
            local: for_local,
            remote: for_remote,
            agreed: None,
            is_open,
        };
        self.push_text(merge, difference);
    }
}

/// What is known of a text.
enum Found<'a> {
    Text(&'a [u8]),
    Bad(String),
    None,
}

impl Decision {
    fn copy(to: Whose) -> Self {
        Self::Copy { to, is_back: false }
    }
}

impl Prefer {
    /// Returns whose version is taken; `None` if that cannot be told.
    fn winner(self, here: &Entry, there: &Entry) -> Option<Whose> {
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

/// Reads a document as signac does: an empty one may be `null`.
fn object(bytes: &[u8]) -> Result<Object, String> {
    match pyjson::parse_bytes(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Object::new()),
        Ok(other) => Err(format!("it holds {}, not an object", other.type_name())),
        Err(error) => Err(format!("it is not JSON: {error}")),
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
