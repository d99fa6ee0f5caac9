//! What a sync is asked to do.

use super::document::{Direction, KeyRule};
use super::path::{Place, RelPath};
use super::side::Whose;
use super::tree::Entry;
use crate::workflow::FLOW_FILE;
use crate::workspace::{DOCUMENT_FILE, STATEPOINT_FILE};
use glob::{MatchOptions, Pattern};
use regex::Regex;
use std::collections::HashMap;

/// Which version of a file that was changed on both sides is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// That which was changed later.
    Newer,
    /// That which has more bytes.
    Larger,
    /// That of one side.
    Of(Whose),
}

/// What a sync is asked to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// In which direction.
    pub direction: Direction,
    /// Which version is taken of what was changed on both sides; `None` is neither.
    pub prefer: Option<Prefer>,
    /// Whose version is taken of single files, whatever is preferred.
    pub chosen: HashMap<Place, Whose>,
    /// What was changed on both sides is left as it is, and is no conflict.
    pub ignores_conflicts: bool,
    /// Both versions are kept on both sides, that from there with this at the end of its name.
    pub keep_both: Option<String>,
    /// How documents are merged.
    pub keys: KeyRule,
    /// What was removed on one side is removed on the other.
    pub deletes: bool,
    /// What was removed on one side is copied back from the other.
    pub restores: bool,
    /// At most this part of the files may be removed, in percent.
    pub max_delete_percent: Option<f64>,
    /// Contents are compared, also of files that seem to be the same.
    pub compares_contents: bool,
    /// Files of the same size are taken for the same.
    pub size_only: bool,
    /// Jobs that run are synced as others are.
    pub takes_running: bool,
    /// Which files.
    pub files: FileFilter,
}

/// Which files of jobs are synced.
#[derive(Clone, Debug, Default)]
pub struct FileFilter {
    /// Only these; none is all.
    pub only: Vec<Pattern>,
    /// Not these, nor what is below them.
    pub exclude: Vec<Pattern>,
    /// Only files of at most so many bytes.
    pub max_size_bytes: Option<u64>,
    /// Only documents and records of what was executed.
    pub documents_only: bool,
    /// In jobs that both sides have, no files whose name begins like this.
    pub names_excluded: Option<Regex>,
    /// In jobs that both sides have, nothing in directories.
    pub top_only: bool,
}

/// The percentage of files that may be removed unless the user says otherwise.
pub const MAX_DELETE_PERCENT: f64 = 10.0;

const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Tells whether a file is one of signac's or ours.
pub(super) fn is_of_job(path: &RelPath) -> bool {
    let name = path.as_path().to_str();
    name.is_some_and(|name| [STATEPOINT_FILE, DOCUMENT_FILE, FLOW_FILE].contains(&name))
}

impl FileFilter {
    /// Tells whether files are left out by their names, so that directories are only made for
    /// those that are not.
    pub(super) fn is_narrow(&self) -> bool {
        !self.only.is_empty() || self.documents_only
    }

    /// Tells whether an entry is synced, of a job that only one side has, or both.
    pub(super) fn takes(&self, path: &RelPath, entry: &Entry, is_of_both: bool) -> bool {
        if self
            .max_size_bytes
            .is_some_and(|max| entry.size_bytes() > max)
        {
            return false;
        }
        let is_of_job = is_of_job(path);
        if is_of_both && !is_of_job && self.is_left_by_signac(path, entry) {
            return false;
        }
        if self.documents_only {
            return is_of_job;
        }
        if is_of_job {
            return true;
        }
        let mut above = std::iter::successors(Some(path.clone()), RelPath::parent);
        if above.any(|path| self.exclude.iter().any(|pattern| is_match(pattern, &path))) {
            return false;
        }
        self.only.is_empty()
            || entry.is_dir()
            || self.only.iter().any(|pattern| is_match(pattern, path))
    }

    fn is_left_by_signac(&self, path: &RelPath, entry: &Entry) -> bool {
        let is_excluded = |part: &[u8]| {
            let names = self.names_excluded.as_ref();
            names.is_some_and(|names| names.is_match(&String::from_utf8_lossy(part)))
        };
        (self.top_only && (entry.is_dir() || path.parent().is_some()))
            || is_excluded(path.file_name())
    }
}

/// A pattern without `/` is one for the last part of a name.
fn is_match(pattern: &Pattern, path: &RelPath) -> bool {
    let text = match pattern.as_str().contains('/') {
        true => path.as_bytes(),
        false => path.file_name(),
    };
    pattern.matches_with(&String::from_utf8_lossy(text), MATCHING)
}

#[cfg(test)]
mod tests {
    use super::super::tree::Content;
    use super::*;

    fn takes(only: &[&str], exclude: &[&str], path: &str) -> bool {
        let patterns = |texts: &[&str]| {
            let read = |text: &&str| Pattern::new(text).expect("a pattern");
            texts.iter().map(read).collect()
        };
        let filter = FileFilter {
            only: patterns(only),
            exclude: patterns(exclude),
            ..FileFilter::default()
        };
        let entry = Entry {
            content: Content::File {
                size_bytes: 1,
                modified: 0,
            },
            mode: 0,
        };
        filter.takes(&RelPath::of(path), &entry, true)
    }

    #[test]
    fn patterns_are_for_names_or_for_paths() {
        assert!(takes(&["*.gsd"], &[], "a/b/x.gsd"));
        assert!(!takes(&["*.gsd"], &[], "x.gsd.bak"));
        assert!(takes(&["a/*"], &[], "a/x") && !takes(&["a/*"], &[], "a/b/x"));
        assert!(takes(&["a/**/*"], &[], "a/b/x"));
        assert!(!takes(&[], &["cache"], "a/cache/b") && takes(&[], &["cache"], "a/caches"));
        assert!(!takes(&["*.gsd"], &["old*"], "old/x.gsd"));
        // A job is nothing without its state point.
        assert!(takes(&["*.gsd"], &["*.json"], STATEPOINT_FILE));
    }
}
