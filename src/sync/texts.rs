//! What is done with documents and records of executions, which are merged.

use super::compare::Comparison;
use super::decide::Decision;
use super::differ::Difference;
use super::document::{KeyRule, merge};
use super::options::Prefer;
use super::path::Place;
use super::plan::{Conflict, TextMerge};
use super::side::{FoundText, NewText, Whose};
use super::tree::Entry;
use crate::pyjson::{self, Object, Value};
use crate::statepoint::JobId;
use crate::workflow::Sidecar;

impl<'a> Comparison<'a> {
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
        if self.input.agrees(difference, here, there) == Some(true) {
            let text = match self.text(Whose::Local, place, Some(here)) {
                Found::Text(bytes) => Some(bytes.into()),
                _ => None,
            };
            self.agree_at(place, difference, text);
            return;
        }
        let read = |whose, entry| self.version(whose, place, entry, object);
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
        let (of_local, of_remote) = (&local.content, &remote.content);
        let merged = merge(base.as_ref(), of_local, of_remote, &rule, direction);
        let conflicts = merged.conflicts.into_iter().map(|key| Conflict {
            place: place.clone(),
            key: Some(key),
            reason: "changed on both sides".into(),
        });
        self.plan.conflicts.extend(conflicts);
        let ignored = merged.ignored.iter().map(|key| format!("{place}: {key}"));
        self.plan.ignored.extend(ignored);
        let write = |object: &Object| object.dumps().into_bytes();
        let texts = TextMerge {
            place: place.clone(),
            entries: (Some(here.clone()), Some(there.clone())),
            local: local.becoming(place, &merged.local, &remote, write),
            remote: remote.becoming(place, &merged.remote, &local, write),
            agreed: Some(write(&merged.agreed).into()),
            is_open: merged.local != merged.remote,
        };
        self.push_text(texts, difference);
    }

    /// Returns what a side has, if it can be used.
    fn version<'e, T>(
        &self,
        whose: Whose,
        place: &Place,
        entry: &'e Entry,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<Version<'a, 'e, T>, String> {
        match self.text(whose, place, Some(entry)) {
            Found::Text(bytes) => Ok(Version {
                entry,
                bytes,
                content: read(bytes)?,
            }),
            Found::Bad(reason) => Err(reason),
            Found::None => Err("it is gone".into()),
        }
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
            false => sidecar(&bytes).map(drop),
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
        if self.input.agrees(difference, here, there) == Some(true) {
            return self.agree_at(&place, difference, None);
        }
        let read = |whose, entry| self.version(whose, &place, entry, sidecar);
        let (local, remote) = match (read(Whose::Local, here), read(Whose::Remote, there)) {
            (Ok(local), Ok(remote)) => (local, remote),
            (Err(reason), _) | (_, Err(reason)) => {
                return self.problem(&place, format!("its record is not synced: {reason}"));
            }
        };
        let has_changed = |whose| difference.has_changed(whose);
        let has_changed = (has_changed(Whose::Local), has_changed(Whose::Remote));
        // Who has changed nothing gets what the other has, also if something was forgotten there.
        let merged = match (difference.base, has_changed) {
            (Some(_), (true, false)) => local.content.clone(),
            (Some(_), (false, true)) => remote.content.clone(),
            _ => local.content.clone().merge(remote.content.clone()),
        };
        let Ok(bytes) = merged.to_bytes() else {
            return self.problem(&place, "its record is not synced: it cannot be written");
        };
        let write = |_: &Sidecar| bytes.clone();
        let wanted = |whose| self.input.options.direction.leads_to(whose);
        let for_local = local.becoming(&place, &merged, &remote, write);
        let for_remote = remote.becoming(&place, &merged, &local, write);
        let for_local = for_local.filter(|_| wanted(Whose::Local));
        let for_remote = for_remote.filter(|_| wanted(Whose::Remote));
        let is_left = |new: &Option<NewText>, old: &Sidecar| new.is_none() && *old != merged;
        let is_open = is_left(&for_local, &local.content) || is_left(&for_remote, &remote.content);
        let merge = TextMerge {
            place,
            entries: (Some(here.clone()), Some(there.clone())),
            local: for_local,
            remote: for_remote,
            agreed: None,
            is_open,
        };
        self.push_text(merge, difference);
    }
}

/// What a side has.
struct Version<'b, 'e, T> {
    entry: &'e Entry,
    bytes: &'b [u8],
    content: T,
}

impl<T: PartialEq> Version<'_, '_, T> {
    /// Returns what must be written so that a side has what was merged.
    fn becoming(
        &self,
        place: &Place,
        merged: &T,
        other: &Self,
        write: impl Fn(&T) -> Vec<u8>,
    ) -> Option<NewText> {
        if *merged == self.content {
            return None;
        }
        // What the other side has is taken as it is, with its time.
        let is_others = *merged == other.content;
        Some(NewText {
            place: place.clone(),
            bytes: match is_others {
                true => other.bytes.to_vec(),
                false => write(merged),
            },
            modified: other.entry.modified().filter(|_| is_others),
            before: Some(self.entry.clone()),
        })
    }
}

fn sidecar(bytes: &[u8]) -> Result<Sidecar, String> {
    Sidecar::parse(bytes).map_err(|error| error.to_string())
}

/// What is known of a text.
enum Found<'a> {
    Text(&'a [u8]),
    Bad(String),
    None,
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
