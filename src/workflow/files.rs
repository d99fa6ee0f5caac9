//! What conditions ask of the files in a job's directory.

use crate::filter::{Comparison, Probe};
use crate::fsx::{Dir, EntryKind, FsError, Stamp};
use glob::{MatchOptions, Pattern};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// `*` and `?` do not match a dot at the beginning of a name, as in a shell.
const MATCH: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A question about files, ready to be asked of many jobs.
#[derive(Debug)]
pub(super) enum Question<'a> {
    Is(&'a str),
    Matches(Vec<Part>),
    Newer(&'a Path, &'a Path),
    Size(&'a Path, Comparison, u64),
}

/// A part of a path with wildcards.
#[derive(Debug)]
pub(super) enum Part {
    Name(PathBuf),
    Pattern(Pattern),
}

impl<'a> Question<'a> {
    /// Returns the question of a probe, if it is one about files.
    pub(super) fn of(probe: &'a Probe) -> Option<Self> {
        Some(match probe {
            Probe::File(name) => match name.contains(['*', '?', '[']) {
                true => Self::Matches(name.split('/').map(Part::of).collect()),
                false => Self::Is(name),
            },
            Probe::Newer(output, input) => Self::Newer(Path::new(output), Path::new(input)),
            Probe::Size(name, comparison, size_bytes) => {
                Self::Size(Path::new(name), *comparison, *size_bytes)
            }
            Probe::After(_) | Probe::Test { .. } | Probe::Never => return None,
        })
    }

    /// Answers it for a job's directory, which is `job` below an open one.
    pub(super) fn ask(&self, dir: &Dir, job: &Path) -> Result<bool, FsError> {
        let stamp = |name: &Path| dir.file_stamp(&job.join(name));
        Ok(match self {
            Self::Is(name) => stamp(Path::new(name))?.is_some(),
            Self::Matches(parts) => matches(dir, job, parts)?,
            Self::Newer(output, input) => match (stamp(output)?, stamp(input)?) {
                (Some(output), Some(input)) => output.modified >= input.modified,
                _ => false,
            },
            Self::Size(name, comparison, size_bytes) => {
                stamp(name)?.is_some_and(|stamp| compares(&stamp, *comparison, *size_bytes))
            }
        })
    }
}

impl Part {
    fn of(text: &str) -> Self {
        match Pattern::new(text) {
            Ok(pattern) if text.contains(['*', '?', '[']) => Self::Pattern(pattern),
            // A bracket that is never closed is one in a name.
            _ => Self::Name(text.into()),
        }
    }
}

fn compares(stamp: &Stamp, comparison: Comparison, size_bytes: u64) -> bool {
    let order = stamp.size_bytes.cmp(&size_bytes);
    match comparison {
        Comparison::Eq => order.is_eq(),
        Comparison::Ne => order.is_ne(),
        Comparison::Lt => order.is_lt(),
        Comparison::Le => order.is_le(),
        Comparison::Gt => order.is_gt(),
        Comparison::Ge => order.is_ge(),
    }
}

/// Tells whether there is a regular file below a directory whose path matches.
fn matches(dir: &Dir, below: &Path, parts: &[Part]) -> Result<bool, FsError> {
    let (pattern, rest) = match parts {
        [] => return Ok(dir.file_stamp(below)?.is_some()),
        [Part::Name(name), rest @ ..] => return matches(dir, &below.join(name), rest),
        [Part::Pattern(pattern), rest @ ..] => (pattern, rest),
    };
    let mut found = Vec::new();
    let listed = Dir::open(&dir.path().join(below)).and_then(|opened| {
        opened.for_each_entry(|entry| {
            let name = entry.name.to_string_lossy();
            let fits = rest.is_empty() || entry.kind != EntryKind::Other;
            if fits && pattern.matches_with(&name, MATCH) {
                found.push(PathBuf::from(entry.name));
            }
        })
    });
    match listed {
        Err(error) if is_absent(error.kind()) => return Ok(false),
        listed => listed?,
    }
    for name in found {
        if matches(dir, &below.join(name), rest)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Condition;

    #[test]
    fn files_are_found() {
        let root = tempfile::tempdir().expect("a directory");
        let job = root.path().join("job");
        std::fs::create_dir_all(job.join("sub/deep")).expect("directories");
        for name in [
            "out.csv",
            "sub/a.dat",
            "sub/deep/b.dat",
            ".hidden",
            "empty",
            "a[b",
        ] {
            let text = if name == "empty" { "" } else { "text" };
            std::fs::write(job.join(name), text).expect("a file");
        }
        std::os::unix::fs::symlink("out.csv", job.join("link")).expect("a link");
        std::os::unix::fs::symlink("nothing", job.join("dangling")).expect("a link");
        let earlier = std::time::SystemTime::UNIX_EPOCH;
        let old = std::fs::File::options().write(true).open(job.join("empty"));
        old.and_then(|file| file.set_modified(earlier))
            .expect("old");
        let dir = Dir::open(root.path()).expect("open");
        for (text, expected) in [
            ("file('out.csv')", true),
            ("file('link')", true),
            ("file('dangling')", false),
            ("file('sub')", false),
            ("file('out.csv/x')", false),
            ("file('sub/*.dat')", true),
            ("file('*/*/?.dat')", true),
            ("file('*.dat')", false),
            ("file('*hidden')", false),
            ("file('.h*')", true),
            ("file('[no]ut.csv')", true),
            ("file('a[b')", true),
            ("file('none/*')", false),
            ("newer('out.csv', 'empty')", true),
            ("newer('empty', 'out.csv')", false),
            ("newer('out.csv', 'none')", false),
            ("size('out.csv')=4", true),
            ("size('out.csv')>4", false),
            ("size('empty')<1", true),
            ("size('none')<1", false),
        ] {
            let condition = Condition::parse(text).expect(text);
            let question = Question::of(condition.probes()[0]).expect("about files");
            let answer = question.ask(&dir, Path::new("job")).expect(text);
            assert_eq!(answer, expected, "{text}");
        }
    }
}
