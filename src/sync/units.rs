//! What can be chosen of a plan: what is done as a whole or not at all.

use super::codec;
use super::path::{Place, RelPath};
use super::plan::{Line, Plan};
use super::side::{NewText, Whose};
use super::tree::{Content, Entry};
use crate::fsx::TimeNs;
use crate::report::harmless;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

const SECOND_NS: TimeNs = 1_000_000_000;

/// Something that is done as a whole or not at all, or is left because both sides have changed it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Action {
    pub(super) action: String,
    /// The side that is changed: `local`, `remote` or `both`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<usize>,
    #[serde(default)]
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Shown>,
    /// What is in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Shown>,
    /// The MD5 of all that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// An entry, for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
}

/// A part of a plan: its place in one of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Rename(usize),
    Clearing(usize),
    Job(usize),
    File(usize),
    Text(usize),
    Removal(usize),
    JobRemoval(usize),
}

/// What belongs to an action.
pub(super) struct Unit {
    pub(super) action: Action,
    pub(super) parts: Vec<Part>,
}

/// Returns what can be chosen of a plan.
pub(super) fn units(plan: &Plan) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut taken = BTreeSet::new();
    second_versions(plan, &mut units, &mut taken);
    replacements(plan, &mut units, &mut taken);
    for (at, job) in plan.jobs.iter().enumerate() {
        let copy = &job.copy;
        let line = Line {
            files: Some(copy.entries.len()),
            bytes: copy.size_bytes(),
            ..Line::of_job(
                if job.is_back { "job back" } else { "new job" },
                job.to,
                &copy.id,
            )
        };
        let digest = digest(copy.entries.iter().map(|(path, entry)| (path, Some(entry))));
        units.push(Unit::new(
            Action::new(line, None, None, Some(digest)),
            [Part::Job(at)],
        ));
    }
    for (at, file) in plan.files.iter().enumerate() {
        if taken.contains(&Part::File(at)) {
            continue;
        }
        let (source, before) = (&file.copy.source, file.copy.before.as_ref());
        let line = Line {
            bytes: source.size_bytes(),
            ..Line::of(file.action(), Some(file.to), &file.copy.place)
        };
        let path = &file.copy.place.path;
        let digest = digest([(path, Some(source)), (path, before)]);
        let action = Action::new(line, Some(source), before, Some(digest));
        units.push(Unit::new(action, [Part::File(at)]));
    }
    for (at, merge) in plan.texts.iter().enumerate() {
        let texts = [&merge.local, &merge.remote];
        let digest = digest_of_texts(&merge.place, texts);
        let bytes = texts
            .into_iter()
            .flatten()
            .map(|text| text.bytes.len() as u64);
        let (to, action) = match (&merge.local, &merge.remote) {
            (Some(_), Some(_)) => ("both", "merged"),
            (Some(text), None) => ("local", text.action()),
            (_, text) => ("remote", text.as_ref().map_or("merged", NewText::action)),
        };
        let line = Line {
            bytes: bytes.max().unwrap_or_default(),
            ..Line::of(action, None, &merge.place)
        };
        let mut action = Action::new(line, None, None, Some(digest));
        action.to = Some(to.to_owned());
        units.push(Unit::new(action, [Part::Text(at)]));
    }
    for (at, (whose, removal)) in plan.removals.iter().enumerate() {
        let before = Some(&removal.before);
        let digest = digest([(&removal.place.path, before)]);
        let line = Line::of("delete", Some(*whose), &removal.place);
        let action = Action::new(line, None, before, Some(digest));
        units.push(Unit::new(action, [Part::Removal(at)]));
    }
    for (at, (whose, job)) in plan.job_removals.iter().enumerate() {
        let entries = job.entries.iter();
        let digest = digest(entries.map(|(path, entry)| (path, Some(entry))));
        let line = Line {
            files: Some(
                job.entries
                    .iter()
                    .filter(|(_, entry)| !entry.is_dir())
                    .count(),
            ),
            ..Line::of_job("delete job", *whose, &job.id)
        };
        units.push(Unit::new(
            Action::new(line, None, None, Some(digest)),
            [Part::JobRemoval(at)],
        ));
    }
    units
}

/// A second version is kept with its rename and both copies.
fn second_versions(plan: &Plan, units: &mut Vec<Unit>, taken: &mut BTreeSet<Part>) {
    let files = plan.files.iter().enumerate();
    let by_place: HashMap<_, _> = files
        .map(|(at, file)| ((file.to, &file.copy.place), at))
        .collect();
    for (at, rename) in plan.renames.iter().enumerate() {
        let kept = Place {
            job: rename.from.place.job,
            path: rename.to.clone(),
        };
        let copies = [(Whose::Local, &kept), (Whose::Remote, &rename.from.place)];
        let copies: Vec<_> = copies.iter().filter_map(|key| by_place.get(key)).collect();
        let mut entries = vec![(&rename.to, Some(&rename.from.before))];
        for at in &copies {
            let copy = &plan.files[**at].copy;
            entries.push((&copy.place.path, Some(&copy.source)));
        }
        let line = Line {
            bytes: rename.from.before.size_bytes(),
            reason: Some(format!("kept as `{}`", rename.to)),
            ..Line::of("keep", None, &rename.from.place)
        };
        let mut action = Action::new(line, None, Some(&rename.from.before), Some(digest(entries)));
        action.to = Some("both".to_owned());
        let parts: Vec<_> = copies.into_iter().map(|at| Part::File(*at)).collect();
        taken.extend(parts.iter().copied());
        units.push(Unit::new(
            action,
            parts.into_iter().chain([Part::Rename(at)]),
        ));
    }
}

/// What is cleared belongs to what takes its place.
fn replacements(plan: &Plan, units: &mut Vec<Unit>, taken: &mut BTreeSet<Part>) {
    let mut by_job: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (at, (whose, removal)) in plan.clearings.iter().enumerate() {
        by_job
            .entry((*whose, removal.place.job))
            .or_default()
            .push(at);
    }
    for ((whose, job), mut clearings) in by_job {
        clearings.sort_by_key(|at| &plan.clearings[*at].1.place.path);
        // The highest come first.
        let mut tops: Vec<&RelPath> = Vec::new();
        for at in &clearings {
            let path = &plan.clearings[*at].1.place.path;
            if !tops.iter().any(|top| path.is_below(top)) {
                tops.push(path);
            }
        }
        for top in tops {
            let is_meant = |place: &Place| {
                place.job == job && (place.path == *top || place.path.is_below(top))
            };
            let mut parts = Vec::new();
            let mut entries = Vec::new();
            for at in &clearings {
                let removal = &plan.clearings[*at].1;
                if is_meant(&removal.place) {
                    parts.push(Part::Clearing(*at));
                    entries.push((&removal.place.path, Some(&removal.before)));
                }
            }
            let mut bytes = 0;
            for (at, file) in plan.files.iter().enumerate() {
                if file.to == whose && is_meant(&file.copy.place) {
                    parts.push(Part::File(at));
                    entries.push((&file.copy.place.path, Some(&file.copy.source)));
                    bytes += file.copy.source.size_bytes();
                }
            }
            let place = Place {
                job,
                path: top.clone(),
            };
            let line = Line {
                bytes,
                ..Line::of("replace", Some(whose), &place)
            };
            let action = Action::new(line, None, None, Some(digest(entries)));
            taken.extend(parts.iter().copied());
            units.push(Unit::new(action, parts));
        }
    }
}

/// What is copied needs its directories.
pub(super) fn add_dirs(plan: &Plan, parts: &mut BTreeSet<Part>) {
    let files = plan.files.iter().enumerate();
    let dirs = files.filter(|(_, file)| file.copy.source.is_dir());
    let dirs: HashMap<_, _> = dirs
        .map(|(at, file)| ((file.to, file.copy.place.clone()), at))
        .collect();
    let mut needed = Vec::new();
    for part in parts.iter() {
        let Part::File(at) = part else { continue };
        let file = &plan.files[*at];
        let place = &file.copy.place;
        for path in std::iter::successors(place.path.parent(), RelPath::parent) {
            let above = Place {
                job: place.job,
                path,
            };
            needed.extend(dirs.get(&(file.to, above)).map(|at| Part::File(*at)));
        }
    }
    parts.extend(needed);
}

impl Plan {
    /// Leaves only those parts.
    pub(super) fn keep(&mut self, parts: &BTreeSet<Part>) {
        fn keep<T>(items: &mut Vec<T>, parts: &BTreeSet<Part>, part: impl Fn(usize) -> Part) {
            let mut at = 0;
            items.retain(|_| {
                at += 1;
                parts.contains(&part(at - 1))
            });
        }
        keep(&mut self.renames, parts, Part::Rename);
        keep(&mut self.clearings, parts, Part::Clearing);
        keep(&mut self.jobs, parts, Part::Job);
        keep(&mut self.files, parts, Part::File);
        keep(&mut self.texts, parts, Part::Text);
        keep(&mut self.removals, parts, Part::Removal);
        keep(&mut self.job_removals, parts, Part::JobRemoval);
    }
}

impl Unit {
    fn new(action: Action, parts: impl IntoIterator<Item = Part>) -> Self {
        Self {
            action,
            parts: parts.into_iter().collect(),
        }
    }
}

impl Action {
    pub(super) fn new(
        line: Line,
        source: Option<&Entry>,
        before: Option<&Entry>,
        digest: Option<String>,
    ) -> Self {
        let to = line.to.map(|to| match to {
            Whose::Local => "local".to_owned(),
            Whose::Remote => "remote".to_owned(),
        });
        Self {
            action: line.action.to_owned(),
            to,
            job: line.job,
            path: line.path,
            key: line.key,
            files: line.files,
            bytes: line.bytes,
            reason: line.reason,
            source: source.map(Shown::of),
            before: before.map(Shown::of),
            digest,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.job.as_deref(), self.path.as_deref()];
        let place: Vec<_> = parts.into_iter().flatten().collect();
        write!(
            f,
            "{} {}",
            harmless(&self.action),
            harmless(place.join("/"))
        )
    }
}

impl Shown {
    fn of(entry: &Entry) -> Self {
        let kind = match entry.content {
            Content::File { .. } => "file",
            Content::Link(_) => "link",
            Content::Dir => "directory",
        };
        let seconds = |ns: TimeNs| {
            let (s, ns) = (ns.div_euclid(SECOND_NS), ns.rem_euclid(SECOND_NS));
            format!("{s}.{ns:09}")
        };
        Self {
            kind: kind.to_owned(),
            size: entry.is_file().then(|| entry.size_bytes()),
            modified: entry.modified().map(seconds),
            mode: entry.is_file().then(|| format!("{:o}", entry.mode)),
        }
    }
}

/// Returns the MD5 of names and what they stand for.
fn digest<'a>(entries: impl IntoIterator<Item = (&'a RelPath, Option<&'a Entry>)>) -> String {
    let mut bytes = Vec::new();
    for (path, entry) in entries {
        push(&mut bytes, path, entry);
    }
    hex(&bytes)
}

fn push(bytes: &mut Vec<u8>, path: &RelPath, entry: Option<&Entry>) {
    codec::push_bytes(bytes, path.as_bytes());
    bytes.push(u8::from(entry.is_some()));
    if let Some(entry) = entry {
        codec::push_entry(bytes, entry);
    }
}

fn digest_of_texts(place: &Place, texts: [&Option<NewText>; 2]) -> String {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.push(u8::from(text.is_some()));
        if let Some(text) = text {
            push(&mut bytes, &place.path, text.before.as_ref());
            codec::push_bytes(&mut bytes, &text.bytes);
        }
    }
    hex(&bytes)
}

fn hex(bytes: &[u8]) -> String {
    format!("{:032x}", u128::from_be_bytes(Md5::digest(bytes).into()))
}
