//! Names of files in a data space, which may come from another machine.

use super::tree::PROJECT_DOCUMENT;
use crate::statepoint::JobId;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Linux's `PATH_MAX`, less what stands before it.
const PATH_BYTES_MAX: usize = 3072;

/// Linux's `NAME_MAX`.
const NAME_BYTES_MAX: usize = 255;

/// The directory of the jobs, below that of the project.
const WORKSPACE: &str = "workspace";

/// The name of a file below some directory, of any bytes. It never leads out of the directory: it
/// is not absolute, and has no empty part, no `.`, no `..` and no NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Box<[u8]>);

/// A name leads out of its directory, or is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a file in a job")]
pub struct UnsafePath(String);

impl RelPath {
    /// Checks a name that may come from anywhere.
    ///
    /// # Errors
    ///
    /// Fails if it could lead out of the directory, or is too long for any file system.
    pub fn new(bytes: &[u8]) -> Result<Self, UnsafePath> {
        let is_sound = |part: &[u8]| {
            !part.is_empty() && part != b"." && part != b".." && part.len() <= NAME_BYTES_MAX
        };
        let parts = || bytes.split(|b| *b == b'/');
        match bytes.len() <= PATH_BYTES_MAX && !bytes.contains(&0) && parts().all(is_sound) {
            true => Ok(Self(bytes.into())),
            false => Err(UnsafePath(String::from_utf8_lossy(bytes).into_owned())),
        }
    }

    /// A name of ours, which is sound.
    pub(super) fn of(name: &str) -> Self {
        Self(name.as_bytes().into())
    }

    /// Returns a name for one that is too long: as much of it as can be.
    pub(super) fn beginning_of(bytes: &[u8]) -> Option<Self> {
        let longest = bytes.len().min(PATH_BYTES_MAX);
        let beginnings = (1..=longest).rev().map(|n| &bytes[..n]);
        beginnings.map(Self::new).find_map(Result::ok)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns it as a path.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Returns the directory above, if it is not that of the job itself.
    pub fn parent(&self) -> Option<Self> {
        let at = self.0.iter().rposition(|b| *b == b'/')?;
        Some(Self(self.0[..at].into()))
    }

    /// Returns the last part.
    pub fn file_name(&self) -> &[u8] {
        let at = self.0.iter().rposition(|b| *b == b'/');
        &self.0[at.map_or(0, |at| at + 1)..]
    }

    /// Returns a name below this one, which is checked.
    pub(super) fn join(&self, name: &[u8]) -> Result<Self, UnsafePath> {
        Self::new(&[&self.0[..], b"/", name].concat())
    }

    /// Tells whether it lies below a directory.
    pub fn is_below(&self, dir: &Self) -> bool {
        self.0.len() > dir.0.len() && self.0.starts_with(&dir.0) && self.0[dir.0.len()] == b'/'
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// Where a file is in a data space: in a job, or in the project itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The job; `None` for the project's own document.
    pub job: Option<JobId>,
    /// The name below the job's directory, or the project's.
    pub path: RelPath,
}

impl Place {
    /// A file of a job.
    pub fn of_job(job: JobId, path: RelPath) -> Self {
        Self {
            job: Some(job),
            path,
        }
    }

    /// The project's own document.
    pub fn document() -> Self {
        Self {
            job: None,
            path: RelPath::of(PROJECT_DOCUMENT),
        }
    }

    /// Returns the name below the workspace, if it is of a job's file.
    pub(super) fn below_workspace(&self) -> RelPath {
        match self.job {
            Some(job) => {
                let before = format!("{job}/");
                RelPath([before.as_bytes(), self.path.as_bytes()].concat().into())
            }
            None => self.path.clone(),
        }
    }

    /// Returns the name below the project's directory.
    pub fn below_project(&self) -> RelPath {
        match self.job {
            Some(job) => {
                let before = format!("{WORKSPACE}/{job}/");
                RelPath([before.as_bytes(), self.path.as_bytes()].concat().into())
            }
            None => self.path.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.job {
            Some(job) => write!(f, "{job}/{}", self.path),
            None => write!(f, "{}", self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/..",
            "../a",
            "a/../b",
            ".",
            "a/./b",
            "a//b",
            "a/",
            "a\0b",
        ] {
            assert!(RelPath::new(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(RelPath::new(&[b'a'; 256]).is_err());
        assert!(RelPath::new(&b"a/".repeat(2000)).is_err());
        for good in ["a", "...", "-rf", "a b/\n", ".hidden", "a/b/c"] {
            assert!(RelPath::new(good.as_bytes()).is_ok(), "{good}");
        }
        assert!(RelPath::new(b"\xff\xfe").is_ok());
    }

    #[test]
    fn parts_are_told_apart() {
        let path = RelPath::of("a/b/c");
        assert_eq!(path.parent(), Some(RelPath::of("a/b")));
        assert_eq!(path.file_name(), b"c");
        assert!(path.is_below(&RelPath::of("a")) && path.is_below(&RelPath::of("a/b")));
        assert!(!path.is_below(&path) && !RelPath::of("ab").is_below(&RelPath::of("a")));
        assert_eq!(RelPath::of("a").parent(), None);
    }
}
