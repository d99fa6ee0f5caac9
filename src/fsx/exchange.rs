//! Moving and copying files between open directories. Names are of entries right in them.

use super::{Dir, FsError, Result, Stamp, TimeNs, at};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, SeekFrom};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::OnceLock;

/// Up to this size, reading and writing is faster than asking the kernel to copy.
const SMALL_BYTES: u64 = 128 << 10;

/// The blocks that `stat` counts.
const STAT_BLOCK_BYTES: u64 = 512;

/// So much of a file is copied before somebody is told.
const PART_BYTES: u64 = 2 << 20;

impl Dir {
    /// Opens the directory that holds a path below this one; links on the way are refused.
    /// Returns it with the last part of the path; `None` is this one.
    pub fn parent_of<'p>(&self, path: &'p Path) -> Result<(Option<Self>, &'p OsStr)> {
        let name = path.file_name().unwrap_or_default();
        match path.parent().filter(|above| !above.as_os_str().is_empty()) {
            Some(parent) => Ok((Some(self.open_dir(parent)?), name)),
            None => Ok((None, name)),
        }
    }

    /// Makes a new file for writing, which only its owner may read so far.
    pub fn create_file(&self, name: &OsStr) -> Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let made = rustix::fs::openat(&self.fd, name, flags, mode);
        at(
            "create",
            &self.path.join(name),
            made.map_err(io::Error::from),
        )
        .map(File::from)
    }

    /// Makes a link, whose name must be free.
    pub fn create_link_new(&self, text: &OsStr, name: &OsStr) -> Result<()> {
        let made = rustix::fs::symlinkat(text, &self.fd, name);
        at(
            "create the link",
            &self.path.join(name),
            made.map_err(io::Error::from),
        )
    }

    /// Makes a directory, whose name must be free, that only its owner may enter so far.
    pub fn create_dir_new(&self, name: &OsStr) -> Result<()> {
        let made = rustix::fs::mkdirat(&self.fd, name, Mode::RWXU);
        at(
            "create the directory",
            &self.path.join(name),
            made.map_err(io::Error::from),
        )
    }

    /// Sets the permissions of the directory itself.
    pub fn set_mode(&self, mode: u16) -> Result<()> {
        let set = rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode.into()));
        at(
            "set the permissions of",
            &self.path,
            set.map_err(io::Error::from),
        )
    }

    /// Returns the permissions of the directory itself.
    pub fn mode(&self) -> Result<u16> {
        let stat = rustix::fs::fstat(&self.fd).map_err(io::Error::from);
        at("examine", &self.path, stat).map(|stat| (stat.st_mode & 0o777) as u16)
    }

    /// Renames an entry, also into another directory, in place of whatever file is there.
    pub fn rename(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> Result<()> {
        let renamed = rustix::fs::renameat(&self.fd, name, &to.fd, to_name);
        at(
            "create",
            &to.path.join(to_name),
            renamed.map_err(io::Error::from),
        )
    }

    /// Renames an entry, also into another directory, to a name that must be free.
    ///
    /// Where the file system cannot promise that for a directory (NFS), an empty directory may be
    /// replaced.
    pub fn rename_new(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> Result<()> {
        let flags = RenameFlags::NOREPLACE;
        let attempt = || match rustix::fs::renameat_with(&self.fd, name, &to.fd, to_name, flags) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                self.rename_if_free(name, to, to_name)
            }
            renamed => Ok(renamed?),
        };
        at("create", &to.path.join(to_name), attempt())
    }

    /// Does without the flag: a second name is never given to what exists.
    fn rename_if_free(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> io::Result<()> {
        match rustix::fs::linkat(&self.fd, name, &to.fd, to_name, AtFlags::empty()) {
            Ok(()) => return Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?),
            Err(Errno::EXIST) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => {}
        }
        match to.contains(Path::new(to_name)) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => Ok(rustix::fs::renameat(&self.fd, name, &to.fd, to_name)?),
        }
    }

    /// Keeps the file or link of a name also under a free name of another directory: as a second
    /// name of the same file, or else as a copy.
    pub fn keep(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> Result<()> {
        let attempt = || {
            match rustix::fs::linkat(&self.fd, name, &to.fd, to_name, AtFlags::empty()) {
                Err(Errno::PERM | Errno::NOTSUP | Errno::MLINK | Errno::NOSYS | Errno::XDEV) => {}
                linked => return Ok(linked?),
            }
            let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                let text = rustix::fs::readlinkat(&self.fd, name, Vec::new())?;
                return Ok(rustix::fs::symlinkat(text, &to.fd, to_name)?);
            }
            let from = self
                .open_file(Path::new(name))
                .map_err(|error| error.cause)?;
            let copy = to.create_file(to_name).map_err(|error| error.cause)?;
            copy_content(&from, &copy, stat.st_size as u64, &mut |_| Ok(()))?;
            let modified = (stat.st_mtime, stat.st_mtime_nsec as i64);
            set_attributes(&copy, (stat.st_mode & 0o777) as u16, modified)
        };
        at("keep", &self.path.join(name), attempt())
    }

    /// Removes a file or link; fine if it is gone.
    pub fn remove(&self, name: &OsStr) -> Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => at("remove", &self.path.join(name), Err(error.into())),
        }
    }
}

/// Copies the content of a regular file to an empty one: by reference where the file system can,
/// and holes as holes. Calls `copied` for each part.
///
/// # Errors
///
/// Fails if reading or writing does, as when the disk is full, or if `copied` does.
pub fn copy_content(
    from: &File,
    to: &File,
    size_bytes: u64,
    copied: &mut Copied<'_>,
) -> io::Result<()> {
    if size_bytes <= SMALL_BYTES {
        let mut bytes = Vec::with_capacity(size_bytes as usize + 1);
        (&mut &*from).read_to_end(&mut bytes)?;
        (&mut &*to).write_all(&bytes)?;
        return copied(Part::Moved(bytes.len() as u64));
    }
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return copied(Part::Shared(size_bytes));
    }
    let stat = rustix::fs::fstat(from)?;
    if (stat.st_blocks as u64).saturating_mul(STAT_BLOCK_BYTES) < size_bytes {
        return copy_parts(from, to, stat.st_size as u64, copied);
    }
    copy_part(from, to, u64::MAX, copied)
}

/// A part of a file that has been copied, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its bytes were read and written.
    Moved(u64),
    /// No bytes were moved: it is a hole, or both files share it.
    Shared(u64),
}

/// Is told of each part of a file that was copied; an error ends the copying.
pub type Copied<'a> = dyn FnMut(Part) -> io::Result<()> + 'a;

/// Copies from where the files are to the end, or at most so many bytes.
fn copy_part(
    from: &File,
    to: &File,
    mut size_bytes: u64,
    copied: &mut Copied<'_>,
) -> io::Result<()> {
    while size_bytes > 0 {
        let n = io::copy(&mut from.take(size_bytes.min(PART_BYTES)), &mut &*to)?;
        if n == 0 {
            return Ok(());
        }
        size_bytes -= n;
        copied(Part::Moved(n))?;
    }
    Ok(())
}

/// Copies what is between the holes.
fn copy_parts(from: &File, to: &File, size_bytes: u64, copied: &mut Copied<'_>) -> io::Result<()> {
    let mut at = 0;
    while at < size_bytes {
        let begin = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            // The rest is a hole.
            Err(Errno::NXIO) => {
                copied(Part::Shared(size_bytes - at))?;
                break;
            }
            found => found?,
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(begin))?;
        rustix::fs::seek(from, SeekFrom::Start(begin))?;
        rustix::fs::seek(to, SeekFrom::Start(begin))?;
        copied(Part::Shared(begin - at))?;
        copy_part(from, to, end - begin, copied)?;
        at = end;
    }
    to.set_len(size_bytes)
}

/// Sets the permissions and the time of the content of a file, in seconds and nanoseconds.
pub(super) fn set_attributes(file: &File, mode: u16, modified: (i64, i64)) -> io::Result<()> {
    use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode.into()))?;
    let omitted = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    let times = Timestamps {
        last_access: omitted,
        last_modification: Timespec {
            tv_sec: modified.0,
            tv_nsec: modified.1,
        },
    };
    Ok(rustix::fs::futimens(file.as_fd(), &times)?)
}

/// Sets the permissions of a file and, if it is given, the time of its content in nanoseconds.
pub fn set_mode_and_time(file: &File, mode: u16, modified: Option<TimeNs>) -> io::Result<()> {
    match modified {
        Some(modified) => {
            let (seconds, rest) = (
                modified.div_euclid(SECOND_NS),
                modified.rem_euclid(SECOND_NS),
            );
            set_attributes(file, mode, (seconds, rest))
        }
        None => Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode.into()))?),
    }
}

const SECOND_NS: i64 = 1_000_000_000;

/// Returns the stamp of an open file.
pub fn stamp_of(file: &File) -> io::Result<Stamp> {
    Ok(Stamp::of(&rustix::fs::fstat(file)?))
}

/// Returns the permissions of a new file, as the process's umask allows.
pub fn usual_mode() -> u16 {
    static UMASK: OnceLock<u16> = OnceLock::new();
    let umask = UMASK.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        line.and_then(|text| u16::from_str_radix(text.trim(), 8).ok())
            .unwrap_or(0o022)
    });
    0o666 & !umask
}

/// Tells whether an error is that of a name which is taken.
pub fn is_taken(error: &FsError) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
    )
}
