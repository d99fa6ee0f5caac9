//! What a `sweepfs` on the other machine does for one that calls it: it lists, as `find` would.

use super::compact::{Block, Facts, beginning, end};
use crate::fsx::{self, Details, Dir, FileType, FsError};
use crate::statepoint::JobId;
use crate::sync::tree::PROJECT_DOCUMENT;
use crate::workspace::Workspace;
use rayon::prelude::*;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What both must understand; who does not say the same is asked by scripts.
pub const PROTOCOL: &str = "sweepfs sync 1";

/// So many jobs are in one block.
const JOBS_IN_BLOCK: usize = 256;

/// Nothing is listed if directories are deeper; `find` has no such limit.
const DEPTH_MAX: usize = 200;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Nobody takes it.
    #[error("cannot write the list")]
    Output(#[from] io::Error),
    /// It would go too deep.
    #[error("`{0}` lies too deep")]
    TooDeep(String),
}

/// Writes what is in a project, for a [`RemoteSide`](super::RemoteSide) elsewhere. It is complete
/// only if no error is returned.
///
/// # Errors
///
/// Fails if a directory cannot be listed for another reason than its permissions, or the list
/// cannot be written.
pub fn write_list(
    workspace: &Workspace,
    output: &mut (dyn Write + Send),
) -> Result<(), ServeError> {
    output.write_all(beginning())?;
    let mut first = Block::default();
    let root = Dir::open(workspace.project_root())?;
    match root.details(Path::new(PROJECT_DOCUMENT)) {
        Ok(details) if details.file_type == FileType::RegularFile => {
            first.push(b"", &facts(b'P', &details, b""));
        }
        Err(error) if !is_gone(&error) => return Err(error.into()),
        _ => {}
    }
    let dir = match Dir::open(workspace.dir()) {
        Err(error) if is_gone(&error) => None,
        opened => Some(opened?),
    };
    if let Some(dir) = &dir {
        let own = dir.details(Path::new("."))?;
        first.push(b"", &facts(b'W', &own, b""));
        output.write_all(&first.into_bytes())?;
        write_jobs(dir, own.device, output)?;
    } else if !first.is_empty() {
        output.write_all(&first.into_bytes())?;
    }
    output.write_all(&end())?;
    Ok(output.flush()?)
}

fn write_jobs(dir: &Dir, device: u64, output: &mut (dyn Write + Send)) -> Result<(), ServeError> {
    let mut ids: Vec<JobId> = Vec::new();
    dir.for_each_entry(|entry| {
        let id = entry
            .name
            .to_str()
            .and_then(|name| name.parse::<JobId>().ok());
        ids.extend(id);
    })?;
    ids.sort_unstable();
    let output = Mutex::new(output);
    ids.par_chunks(JOBS_IN_BLOCK).try_for_each(|ids| {
        let mut walk = Walk {
            device,
            block: Block::default(),
        };
        for id in ids {
            walk.block.job(id);
            walk.entry(dir, &id.to_string().into(), &mut Vec::new(), 0)?;
        }
        let bytes = walk.block.into_bytes();
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(output.write_all(&bytes)?)
    })
}

struct Walk {
    /// That of the workspace; others are not entered.
    device: u64,
    block: Block,
}

impl Walk {
    /// Adds an entry and all below it; its path in the job is empty for the job itself.
    fn entry(
        &mut self,
        above: &Dir,
        name: &OsString,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), ServeError> {
        let details = match above.details(Path::new(name)) {
            Err(error) if is_gone(&error) => return Ok(()),
            details => details?,
        };
        match details.file_type {
            FileType::Directory if details.device == self.device => {
                self.dir(above, name, &details, path, depth)
            }
            FileType::Symlink => match above.read_link(Path::new(name)) {
                Ok(text) => {
                    let text = text.into_os_string().into_vec();
                    self.block.push(path, &facts(b'l', &details, &text));
                    Ok(())
                }
                Err(error) if is_gone(&error) => Ok(()),
                Err(error) => Err(error.into()),
            },
            file_type => {
                self.block
                    .push(path, &facts(kind(file_type), &details, b""));
                Ok(())
            }
        }
    }

    fn dir(
        &mut self,
        above: &Dir,
        name: &OsString,
        details: &Details,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), ServeError> {
        if depth > DEPTH_MAX {
            return Err(ServeError::TooDeep(
                String::from_utf8_lossy(path).into_owned(),
            ));
        }
        let listed = above.open_dir(Path::new(name)).and_then(|dir| {
            let mut names = Vec::new();
            dir.for_each_entry(|entry| names.push(entry.name.to_owned()))?;
            // One that may be read but not entered hides what its entries are.
            match names.first() {
                Some(first) => dir.details(Path::new(first)).map(drop).or_else(if_gone)?,
                None => drop(dir.details(Path::new("."))?),
            }
            Ok((dir, names))
        });
        let (dir, names) = match listed {
            Ok(listed) => listed,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                self.block.push(path, &facts(b'!', details, b""));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.block.push(path, &facts(b'd', details, b""));
        let length = path.len();
        for name in names {
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            self.entry(&dir, &name, path, depth + 1)?;
            path.truncate(length);
        }
        Ok(())
    }
}

/// The letter of `find` for it.
fn kind(file_type: FileType) -> u8 {
    match file_type {
        FileType::RegularFile => b'f',
        FileType::Directory => b'd',
        FileType::Symlink => b'l',
        FileType::Fifo => b'p',
        FileType::Socket => b's',
        FileType::BlockDevice => b'b',
        _ => b'c',
    }
}

fn facts<'a>(kind: u8, details: &Details, link: &'a [u8]) -> Facts<'a> {
    Facts {
        kind,
        size_bytes: details.stamp.size_bytes,
        modified: details.stamp.modified,
        mode: details.permissions,
        device: details.device,
        link,
    }
}

fn is_gone(error: &FsError) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn if_gone(error: FsError) -> fsx::Result<()> {
    match is_gone(&error) {
        true => Ok(()),
        false => Err(error),
    }
}
