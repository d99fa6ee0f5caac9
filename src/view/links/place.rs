//! Where links are made, and what they say.

use crate::statepoint::JobId;
use crate::view::ID_LEN;
use md5::{Digest, Md5};
use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// Why links cannot be made in a directory.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The directory is in the workspace, or is it.
    #[error("links to jobs cannot be made in the workspace, where `{}` is", .0.display())]
    InWorkspace(PathBuf),
    /// The workspace or the project is in the directory.
    #[error("links to jobs cannot be made in `{}`, which holds the project itself", .0.display())]
    HoldsProject(PathBuf),
}

/// A directory that holds links to the jobs of a workspace.
#[derive(Clone, Debug)]
pub struct LinkDir {
    prefix: PathBuf,
    /// The same without symbolic links on the way.
    physical: PathBuf,
    /// The workspace without symbolic links on the way.
    workspace: PathBuf,
    /// How links in the directory itself lead to the workspace.
    base: Vec<u8>,
}

impl LinkDir {
    /// Chooses a directory, which need not exist. All three paths must be absolute.
    pub fn new(prefix: &Path, workspace: &Path, project_root: &Path) -> Result<Self, PlaceError> {
        let physical = physical(prefix);
        let target = self::physical(workspace);
        if physical.starts_with(&target) {
            return Err(PlaceError::InWorkspace(prefix.to_owned()));
        }
        if [&target, &self::physical(project_root)]
            .iter()
            .any(|held| held.starts_with(&physical))
        {
            return Err(PlaceError::HoldsProject(prefix.to_owned()));
        }
        // signac's text, which says the least about where the project is, unless a link on the way
        // would lead it astray.
        let lexical = relative(&normal(workspace), &normal(prefix));
        let base = if self::physical(&normal(&physical.join(&lexical))) == target {
            lexical
        } else {
            relative(&target, &physical)
        };
        Ok(Self {
            prefix: prefix.to_owned(),
            physical,
            workspace: target,
            base: base.into_os_string().into_vec(),
        })
    }

    /// Returns the directory, as it was named.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Returns a file name for what is kept about the directory.
    pub(super) fn key(&self) -> String {
        let digest = Md5::digest(self.physical.as_os_str().as_bytes());
        digest[..8].iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Returns the text of a link to a job at a path below the directory.
    pub fn text(&self, path: &Path, job: &JobId) -> PathBuf {
        let depth = path.components().count().saturating_sub(1);
        let mut text = b"../".repeat(depth);
        text.extend_from_slice(&self.base);
        text.push(b'/');
        text.extend_from_slice(job.to_string().as_bytes());
        OsString::from_vec(text).into()
    }

    /// Returns the job that a link leads to; `None` if it leads to none of this workspace. `dir` is
    /// where the link stands, `depth` levels below the directory.
    pub(super) fn job_behind(&self, dir: &Path, depth: usize, text: &Path) -> Option<JobId> {
        let bytes = text.as_os_str().as_bytes();
        if let Some(start) = bytes.len().checked_sub(ID_LEN + 1)
            && self.is_way(&bytes[..start], depth)
            && bytes[start] == b'/'
        {
            return std::str::from_utf8(&bytes[start + 1..]).ok()?.parse().ok();
        }
        let id = text.file_name()?.to_str()?.parse().ok()?;
        let holder = self.physical.join(dir).join(text.parent()?);
        (holder.canonicalize().ok()? == self.workspace).then_some(id)
    }

    /// Tells whether a text is that which leads to the workspace from some levels below.
    fn is_way(&self, text: &[u8], depth: usize) -> bool {
        let (up, base) = text.split_at(text.len().min(3 * depth));
        base == self.base && up.chunks(3).all(|step| step == b"../")
    }
}

/// Resolves the symbolic links of a path, the end of which need not exist.
fn physical(path: &Path) -> PathBuf {
    let resolved = path.ancestors().find_map(|above| {
        let resolved = above.canonicalize().ok()?;
        Some((resolved, path.strip_prefix(above).ok()?))
    });
    match resolved {
        Some((resolved, rest)) if rest.as_os_str().is_empty() => resolved,
        Some((resolved, rest)) => normal(&resolved.join(rest)),
        None => normal(path),
    }
}

/// Takes `.` and `..` out of an absolute path, by its text alone.
fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(result.pop()),
            Component::CurDir => {}
            other => result.push(other),
        }
    }
    result
}

/// Returns the way from one directory to another, both absolute and without `..`.
fn relative(to: &Path, from: &Path) -> PathBuf {
    let common = to
        .components()
        .zip(from.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "42b7b4f2921788ea14dac5566e6f06d0";

    #[track_caller]
    fn check(prefix: &str, path: &str, expected: &str) {
        let place = LinkDir::new(prefix.as_ref(), "/p/workspace".as_ref(), "/p".as_ref());
        let place = place.expect("a place");
        let id = ID.parse().expect("an id");
        let text = place.text(path.as_ref(), &id);
        assert_eq!(text, Path::new(expected).join(ID));
        let dir = Path::new(path).parent().expect("a directory");
        let depth = dir.components().count();
        assert_eq!(place.job_behind(dir, depth, &text), Some(id));
        assert_eq!(place.job_behind(dir, depth + 1, &text), None);
    }

    #[test]
    fn links_lead_to_the_workspace() {
        check("/p/view", "job", "../workspace");
        check("/p/view", "a/1/job", "../../../workspace");
        check("/p/x/../view/.", "a/1/job", "../../../workspace");
        check("/q/r/view", "a/1", "../../../../p/workspace");
    }

    #[test]
    fn the_project_is_no_place_for_links() {
        let refused = |prefix: &str| {
            LinkDir::new(prefix.as_ref(), "/p/workspace".as_ref(), "/p".as_ref()).is_err()
        };
        assert!(["/", "/p", "/p/workspace", "/p/workspace/x/y"].map(refused) == [true; 4]);
        assert!(["/p/v", "/p/workspaces", "/q"].map(refused) == [false; 3]);
    }
}
