//! What a sync is going to do, as data.

use super::path::{Place, RelPath};
use super::side::{FileCopy, JobCopy, NewText, Removal, Whose};
use super::state::{Base, Update};
use super::tree::{Entry, JobTree};
use crate::report::{Problem, harmless};
use crate::statepoint::JobId;
use serde::Serialize;
use std::fmt;

/// A job that one side lacks.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The side that gets it.
    pub to: Whose,
    /// What is copied.
    pub copy: JobCopy,
    /// Its document, if that is among the files.
    pub(super) document: Option<Box<[u8]>>,
    /// The side had it before, and it was removed there.
    pub is_back: bool,
}

/// A file that one side lacks, or has as it was before.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// The side that gets it.
    pub to: Whose,
    /// What is copied.
    pub copy: FileCopy,
    /// The side had it before, and it was removed there.
    pub is_back: bool,
}

/// A small file that is written on one side or both.
#[derive(Clone, Debug)]
pub struct TextMerge {
    /// Where.
    pub place: Place,
    /// What it is here and there, as listed.
    pub(super) entries: (Option<Entry>, Option<Entry>),
    /// What is written here.
    pub local: Option<NewText>,
    /// What is written there.
    pub remote: Option<NewText>,
    /// What both agree on then, of documents.
    pub(super) agreed: Option<Box<[u8]>>,
    /// They do not agree on everything.
    pub(super) is_open: bool,
}

/// A file that both sides have changed, of which both versions are kept.
#[derive(Clone, Debug)]
pub struct Rename {
    /// What gets another name on the other side.
    pub from: Removal,
    /// That name.
    pub to: RelPath,
}

/// Something that both sides have changed, and that is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Where.
    pub place: Place,
    /// Of a document: the key.
    pub key: Option<String>,
    /// What the sides have, a lower-case fragment.
    pub reason: String,
}

/// What was removed on one side and still is on the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// Jobs.
    pub jobs: usize,
    /// Files and links, those of the jobs not counted.
    pub files: usize,
}

/// What a sync is going to do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Versions that are put aside, on the other side.
    pub renames: Vec<Rename>,
    /// What must make room for something of another kind.
    pub clearings: Vec<(Whose, Removal)>,
    /// Jobs to copy.
    pub jobs: Vec<NewJob>,
    /// Files to copy.
    pub files: Vec<NewFile>,
    /// Documents and records.
    pub texts: Vec<TextMerge>,
    /// Files to remove.
    pub removals: Vec<(Whose, Removal)>,
    /// Jobs to remove, as they were listed.
    pub job_removals: Vec<(Whose, JobTree)>,
    /// What is known without doing anything.
    pub(super) updates: Vec<Update>,
    /// What is left as it is because both have changed it.
    pub conflicts: Vec<Conflict>,
    /// What cannot be synced.
    pub problems: Vec<Problem>,
    /// Jobs whose files wait for their end.
    pub running: Vec<JobId>,
    /// What was removed here, and still is there.
    pub deleted_here: Deleted,
    /// What was removed there, and still is here.
    pub deleted_there: Deleted,
    /// Keys and files that were left different because the user wants that.
    pub ignored: Vec<String>,
    /// Directories of jobs that were left out because the user wants that.
    pub n_skipped_dirs: usize,
    /// What would have to be done in the direction that is not wanted.
    pub n_other_direction: usize,
}

/// How much is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// New jobs.
    pub jobs: usize,
    /// Files, links and directories that are copied, those of the jobs included.
    pub files: usize,
    /// Documents and records that are written.
    pub texts: usize,
    /// Bytes that are copied.
    pub bytes: u64,
    /// Files and jobs that are removed.
    pub removed: usize,
}

impl Plan {
    /// Tells whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.renames.is_empty()
            && self.clearings.is_empty()
            && self.jobs.is_empty()
            && self.files.is_empty()
            && self.texts.is_empty()
            && self.removals.is_empty()
            && self.job_removals.is_empty()
    }

    /// Returns how many things are to be done: files, those of jobs included, documents and deletions.
    pub fn n_items(&self) -> usize {
        let of_jobs = self.jobs.iter().map(|job| job.copy.entries.len());
        of_jobs.sum::<usize>()
            + self.files.len()
            + self.texts.len()
            + self.removals.len()
            + self.job_removals.len()
    }

    /// Returns the bytes of all files that are copied, those of jobs included.
    pub fn copied_bytes(&self) -> u64 {
        let jobs = self.jobs.iter().map(|job| job.copy.size_bytes());
        let files = self.files.iter().map(|file| file.copy.source.size_bytes());
        jobs.chain(files).sum()
    }

    /// Tells whether something is to be done on a side.
    pub fn changes(&self, side: Whose) -> bool {
        let renames = side == Whose::Remote && !self.renames.is_empty();
        renames
            || self.totals(side) != Totals::default()
            || self.clearings.iter().any(|(whose, _)| *whose == side)
    }

    /// Returns how much is to be done, on one side.
    pub fn totals(&self, side: Whose) -> Totals {
        let mut totals = Totals::default();
        for job in self.jobs.iter().filter(|job| job.to == side) {
            totals.jobs += 1;
            totals.files += job.copy.entries.len();
            totals.bytes = totals.bytes.saturating_add(job.copy.size_bytes());
        }
        for file in self.files.iter().filter(|file| file.to == side) {
            totals.files += 1;
            totals.bytes = totals.bytes.saturating_add(file.copy.source.size_bytes());
        }
        let texts = self.texts.iter().filter_map(|merge| match side {
            Whose::Local => merge.local.as_ref(),
            Whose::Remote => merge.remote.as_ref(),
        });
        for text in texts {
            totals.texts += 1;
            totals.bytes += text.bytes.len() as u64;
        }
        let removed = self.removals.iter().filter(|(whose, _)| *whose == side);
        let jobs_removed = self
            .job_removals
            .iter()
            .filter(|(whose, ..)| *whose == side);
        totals.removed = removed.count() + jobs_removed.count();
        totals
    }

    /// Returns the number of files that are removed and were the same on both sides before.
    pub(super) fn n_files_removed(&self, base: &Base) -> usize {
        let jobs = self.job_removals.iter();
        let files = self.removals.iter();
        let files = files.filter(|(_, removal)| !removal.before.is_dir());
        jobs.map(|(_, job)| base.n_files_of(&job.id)).sum::<usize>() + files.count()
    }

    /// Returns all of it, a line for each action and conflict.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for rename in &self.renames {
            lines.push(Line {
                bytes: rename.from.before.size_bytes(),
                reason: Some(format!("kept as `{}`", harmless(&rename.to))),
                ..Line::of("keep", Some(Whose::Local), &rename.from.place)
            });
        }
        for (whose, removal) in &self.clearings {
            lines.push(Line::of("replace", Some(*whose), &removal.place));
        }
        for job in &self.jobs {
            lines.push(Line {
                files: Some(job.copy.entries.len()),
                bytes: job.copy.size_bytes(),
                ..Line::of_job(
                    if job.is_back { "job back" } else { "new job" },
                    job.to,
                    &job.copy.id,
                )
            });
        }
        for file in &self.files {
            lines.push(Line {
                bytes: file.copy.source.size_bytes(),
                ..Line::of(file.action(), Some(file.to), &file.copy.place)
            });
        }
        for merge in &self.texts {
            let is_both = merge.local.is_some() && merge.remote.is_some();
            for (to, text) in [(Whose::Local, &merge.local), (Whose::Remote, &merge.remote)] {
                let Some(text) = text else { continue };
                let what = if is_both { "merged" } else { text.action() };
                lines.push(Line {
                    bytes: text.bytes.len() as u64,
                    ..Line::of(what, Some(to), &merge.place)
                });
            }
        }
        for (whose, removal) in &self.removals {
            lines.push(Line::of("delete", Some(*whose), &removal.place));
        }
        for (whose, job) in &self.job_removals {
            lines.push(Line {
                files: Some(job.n_files()),
                ..Line::of_job("delete job", *whose, &job.id)
            });
        }
        for conflict in &self.conflicts {
            lines.push(Line {
                key: conflict.key.clone(),
                reason: Some(conflict.reason.clone()),
                ..Line::of("conflict", None, &conflict.place)
            });
        }
        lines.sort_by(|a, b| (&a.job, &a.path, a.to, &a.key).cmp(&(&b.job, &b.path, b.to, &b.key)));
        lines
    }
}

impl NewFile {
    /// Says what is done.
    pub(super) fn action(&self) -> &'static str {
        match (self.is_back, &self.copy.before) {
            (true, _) => "back",
            (false, None) => "new",
            (false, Some(_)) => "changed",
        }
    }
}

impl NewText {
    /// Says what is done on one side.
    pub(super) fn action(&self) -> &'static str {
        match &self.before {
            None => "new",
            Some(_) => "changed",
        }
    }
}

/// One action or conflict, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What: `new job`, `new`, `changed`, `merged`, `keep`, `replace`, `delete`, `conflict`, …
    pub action: &'static str,
    /// The side that is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Whose>,
    /// The job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The file in it, or in the project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The key of a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many files, of jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<usize>,
    /// How many bytes are copied.
    pub bytes: u64,
    /// What more there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Line {
    pub(super) fn of(action: &'static str, to: Option<Whose>, place: &Place) -> Self {
        Self {
            action,
            to,
            job: place.job.map(|job| job.to_string()),
            path: Some(place.path.to_string()),
            key: None,
            files: None,
            bytes: 0,
            reason: None,
        }
    }

    pub(super) fn of_job(action: &'static str, to: Whose, id: &JobId) -> Self {
        Self {
            action,
            to: Some(to),
            job: Some(id.to_string()),
            path: None,
            key: None,
            files: None,
            bytes: 0,
            reason: None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.to {
            Some(Whose::Local) => "<-",
            Some(Whose::Remote) => "->",
            None => "!!",
        };
        let parts = [self.job.as_deref(), self.path.as_deref()];
        let place: Vec<_> = parts.into_iter().flatten().collect();
        write!(f, "{arrow} {} {}", self.action, harmless(place.join("/")))?;
        if let Some(key) = &self.key {
            write!(f, ": {}", harmless(key))?;
        }
        if let Some(files) = self.files {
            write!(f, " {files} file{}", if files == 1 { "" } else { "s" })?;
        }
        if self.bytes > 0 {
            write!(f, " {}", Bytes(self.bytes))?;
        }
        match &self.reason {
            Some(reason) => write!(f, ": {}", harmless(reason)),
            None => Ok(()),
        }
    }
}

/// A number of bytes, for people: `1.2 MB`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        let mut size = self.0 as f64 / 1000.0;
        let mut unit = 0;
        while size >= 999.95 && unit + 1 < UNITS.len() {
            size /= 1000.0;
            unit += 1;
        }
        write!(f, "{size:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_234_567, "1.2 MB"),
            (999_999, "1.0 MB"),
            (5_000_000_000, "5.0 GB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
