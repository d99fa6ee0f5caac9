//! What is done below an open directory, without walking its path again.

use super::{Durability, FsError, Result, Stamp, TEMPORARY_PREFIX, at, temporary_beside};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// How the names of temporary links end.
const TEMPORARY_LINK_SUFFIX: &str = "_link";

/// Bytes of entries that one system call fetches.
const LISTING_BYTES: usize = 16 * 1024;

/// An open directory, through which files below it are read without walking its path again.
#[derive(Debug)]
pub struct Dir {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
}

impl Dir {
    /// Opens a directory.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
        at("open", path, fd).map(|fd| Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// Returns the path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a regular file below the directory, of at most `size_bytes_max`.
    ///
    /// A pipe or device of that name is refused, not waited for.
    pub fn read_file(&self, name: &Path, size_bytes_max: u64) -> Result<(Vec<u8>, Stamp)> {
        at(
            "read",
            &self.path.join(name),
            self.try_read_file(name, size_bytes_max),
        )
    }

    fn try_read_file(&self, name: &Path, size_bytes_max: u64) -> io::Result<(Vec<u8>, Stamp)> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a regular file",
            ));
        }
        let size_bytes = stat.st_size as u64;
        if size_bytes > size_bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("more than {size_bytes_max} bytes"),
            ));
        }
        let mut bytes = Vec::with_capacity(size_bytes as usize + 1);
        // One read suffices, for it comes back short, unless the file has grown.
        while rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut bytes))? > 0
            && bytes.len() == bytes.capacity()
        {
            bytes.reserve(bytes.len());
        }
        Ok((bytes, Stamp::of(&stat)))
    }

    /// Returns the stamp of what a path below the directory leads to.
    pub fn stamp_of(&self, name: &Path) -> Result<Stamp> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::empty()).map_err(io::Error::from);
        at("examine", &self.path.join(name), stat).map(|stat| Stamp::of(&stat))
    }

    /// Tells what an entry below the directory is, if there is one; no link is followed at its end.
    pub fn entry_type(&self, name: &Path) -> Result<Option<EntryType>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => EntryType::File,
                FileType::Symlink => EntryType::Link,
                _ => EntryType::Other,
            })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => at("examine", &self.path.join(name), Err(error.into())),
        }
    }

    /// Returns the stamp of a regular file below the directory, links followed; `None` if there is
    /// none.
    pub fn file_stamp(&self, name: &Path) -> Result<Option<Stamp>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::empty()) {
            Ok(stat) => {
                let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                Ok(is_file.then(|| Stamp::of(&stat)))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => at("examine", &self.path.join(name), Err(error.into())),
        }
    }

    /// Tells whether there is an entry of that name, a dangling link included.
    pub fn contains(&self, name: &Path) -> bool {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Opens a directory below this one; links on the way are refused.
    pub fn open_dir(&self, path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = open_without_links(self.fd.as_fd(), path, flags);
        let path = self.path.join(path);
        at("open", &path, opened).map(|fd| Self { fd, path })
    }

    /// Does something with the directory that holds a path below this one, and with the path's last
    /// name. Links on the way are refused: what is done in this directory stays in it.
    fn in_parent<T>(
        &self,
        action: &'static str,
        path: &Path,
        work: impl FnOnce(BorrowedFd<'_>, &Path) -> io::Result<T>,
    ) -> Result<T> {
        let parent = path.parent().filter(|above| !above.as_os_str().is_empty());
        let result = match (parent, path.file_name()) {
            (Some(parent), Some(name)) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                open_without_links(self.fd.as_fd(), parent, flags)
                    .and_then(|parent| work(parent.as_fd(), Path::new(name)))
            }
            _ => work(self.fd.as_fd(), path),
        };
        at(action, &self.path.join(path), result)
    }

    /// Returns the number of the device that holds the directory.
    pub fn device(&self) -> Result<u64> {
        let stat = rustix::fs::fstat(&self.fd).map_err(io::Error::from);
        at("examine", &self.path, stat).map(|stat| stat.st_dev)
    }

    /// Calls `found` with each entry, in the order of the file system.
    pub fn for_each_entry(&self, mut found: impl FnMut(DirEntry<'_>)) -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); LISTING_BYTES];
        let mut entries = rustix::fs::RawDir::new(&self.fd, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = at("list", &self.path, entry.map_err(io::Error::from))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let name = OsStr::from_bytes(name);
            let kind = match entry.file_type() {
                FileType::Unknown => kind_of(self.fd.as_fd(), Path::new(name)),
                known => EntryKind::of(known),
            };
            found(DirEntry {
                name,
                kind,
                inode: entry.ino(),
            });
        }
        Ok(())
    }

    /// Returns the text of a link.
    pub fn read_link(&self, path: &Path) -> Result<PathBuf> {
        self.in_parent("read the link", path, link_text)
    }

    /// Makes one directory; fine if it is there.
    pub fn create_dir(&self, path: &Path) -> Result<()> {
        self.in_parent("create the directory", path, |dir, name| {
            let mode = Mode::RWXU | Mode::RWXG | Mode::RWXO;
            match rustix::fs::mkdirat(dir, name, mode) {
                Err(Errno::EXIST) if kind_of(dir, name) == EntryKind::Dir => Ok(()),
                made => Ok(made?),
            }
        })
    }

    /// Makes a link of that text; fine if it is there.
    pub fn create_link(&self, text: &Path, path: &Path) -> Result<()> {
        self.in_parent(
            "create the link",
            path,
            |dir, name| match rustix::fs::symlinkat(text, dir, name) {
                Err(Errno::EXIST) if link_text(dir, name).is_ok_and(|found| found == text) => {
                    Ok(())
                }
                made => Ok(made?),
            },
        )
    }

    /// Gives a link another text, so that a reader sees the old or the new. What is no link any
    /// more is left alone.
    pub fn replace_link(&self, text: &Path, path: &Path) -> Result<()> {
        self.in_parent("replace the link", path, |dir, name| {
            link_text(dir, name)?;
            let uuid = Uuid::new_v4();
            let temporary =
                PathBuf::from(format!("{TEMPORARY_PREFIX}{uuid}{TEMPORARY_LINK_SUFFIX}"));
            rustix::fs::symlinkat(text, dir, &temporary)?;
            let renamed = rustix::fs::renameat(dir, &temporary, dir, name);
            if renamed.is_err() {
                let _ = rustix::fs::unlinkat(dir, &temporary, AtFlags::empty());
            }
            Ok(renamed?)
        })
    }

    /// Removes a link; fine if it is gone. What is no link any more is left alone.
    pub fn remove_link(&self, path: &Path) -> Result<()> {
        let removed = self.in_parent("remove the link", path, |dir, name| {
            link_text(dir, name)?;
            Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
        });
        fine_if(
            removed,
            &[Errno::NOENT, Errno::INVAL, Errno::NOTDIR, Errno::LOOP],
        )
    }

    /// Removes a directory if it is empty; fine if it is not, or is none any more.
    pub fn remove_dir_if_empty(&self, path: &Path) -> Result<()> {
        let removed = self.in_parent("remove the directory", path, |dir, name| {
            Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
        });
        let fine = [
            Errno::NOENT,
            Errno::NOTEMPTY,
            Errno::EXIST,
            Errno::NOTDIR,
            Errno::LOOP,
        ];
        fine_if(removed, &fine)
    }

    /// Returns what `stat` shows of an entry below the directory; no link is followed.
    pub fn details(&self, path: &Path) -> Result<Details> {
        self.in_parent("examine", path, |parent, name| {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(Details::of(&stat))
        })
    }

    /// Opens a regular file below the directory for reading; no link is followed, and a pipe or
    /// device is refused, not waited for.
    pub fn open_file(&self, path: &Path) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        self.in_parent("read", path, |parent, name| {
            let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&fd)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Ok(File::from(fd)),
                _ => Err(io::ErrorKind::InvalidData.into()),
            }
        })
    }

    /// Writes a file in the directory so that a reader sees the old content or the new, never a
    /// part. The directory may have been renamed since it was opened.
    pub fn write_atomic(&self, name: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
        let temporary = temporary_beside(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let attempt = || {
            let fd = rustix::fs::openat(&self.fd, &temporary, flags, Mode::from_raw_mode(0o666))?;
            let mut file = File::from(fd);
            file.write_all(bytes)?;
            if durability == Durability::Power {
                file.sync_data()?;
            }
            Ok(rustix::fs::renameat(&self.fd, &temporary, &self.fd, name)?)
        };
        let written = attempt();
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.fd, &temporary, AtFlags::empty());
        }
        at("write", &self.path.join(name), written)
    }

    /// Returns the path that leads to the directory now, which may have been renamed since it was
    /// opened; `None` if it was removed.
    pub fn current_path(&self) -> Option<PathBuf> {
        let link = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let path = fs::read_link(link).ok()?;
        let stat = rustix::fs::stat(&path).ok()?;
        let own = rustix::fs::fstat(&self.fd).ok()?;
        ((stat.st_dev, stat.st_ino) == (own.st_dev, own.st_ino)).then_some(path)
    }

    /// Returns the stamp of the directory itself.
    pub fn stamp(&self) -> Result<Stamp> {
        at(
            "examine",
            &self.path,
            rustix::fs::fstat(&self.fd).map_err(io::Error::from),
        )
        .map(|s| Stamp::of(&s))
    }
}

/// Opens a directory; links on the way are refused.
fn open_without_links(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};
    match openat2(dir, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Linux before 5.6, or a container that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {}
        opened => return Ok(opened?),
    }
    open_step_by_step(dir, path, flags)
}

fn open_step_by_step(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let mut at: Option<OwnedFd> = None;
    for name in path.components() {
        let above = at.as_ref().map_or(dir, AsFd::as_fd);
        at = Some(rustix::fs::openat(
            above,
            name.as_os_str(),
            flags,
            Mode::empty(),
        )?);
    }
    at.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Tells whether a link of that name was to replace another, by a process that was killed.
pub fn is_temporary_link(name: &OsStr) -> bool {
    let uuid = name.to_str().and_then(|name| {
        name.strip_prefix(TEMPORARY_PREFIX)?
            .strip_suffix(TEMPORARY_LINK_SUFFIX)
    });
    uuid.is_some_and(|uuid| Uuid::try_parse(uuid).is_ok())
}

/// Returns the kind of an entry; [`EntryKind::Other`] if there is none.
fn kind_of(dir: BorrowedFd<'_>, name: &Path) -> EntryKind {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.map_or(EntryKind::Other, |stat| {
        EntryKind::of(FileType::from_raw_mode(stat.st_mode))
    })
}

fn link_text(dir: BorrowedFd<'_>, name: &Path) -> io::Result<PathBuf> {
    let text = rustix::fs::readlinkat(dir, name, Vec::new())?;
    Ok(OsString::from_vec(text.into_bytes()).into())
}

/// Forgives some errors.
fn fine_if(result: Result<()>, fine: &[Errno]) -> Result<()> {
    let is_fine = |error: &FsError| {
        let errno = error.cause.raw_os_error();
        fine.iter().any(|fine| Some(fine.raw_os_error()) == errno)
    };
    match result {
        Err(error) if is_fine(&error) => Ok(()),
        result => result,
    }
}

/// What `stat` shows of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Details {
    /// What it is.
    pub file_type: FileType,
    /// Permission bits.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// The number of the device that holds it.
    pub device: u64,
    /// Times, inode and size.
    pub stamp: Stamp,
}

impl Details {
    fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            file_type: FileType::from_raw_mode(stat.st_mode),
            permissions: (stat.st_mode & 0o777) as u16,
            uid: stat.st_uid,
            gid: stat.st_gid,
            blocks: stat.st_blocks as u64,
            device: stat.st_dev,
            stamp: Stamp::of(stat),
        }
    }
}

/// What an entry is, when files matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryType {
    /// A regular file.
    File,
    /// A symbolic link, to anything.
    Link,
    /// Anything else.
    Other,
}

/// The kind of a directory entry, links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Dir,
    /// A symbolic link, to anything.
    Link,
    /// Anything else.
    Other,
}

impl EntryKind {
    fn of(file_type: FileType) -> Self {
        match file_type {
            FileType::Directory => Self::Dir,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// Its name.
    pub name: &'a OsStr,
    /// What it is.
    pub kind: EntryKind,
    /// Its inode number.
    pub inode: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_on_the_way_are_refused() {
        let (inside, outside) = (tempfile::tempdir(), tempfile::tempdir());
        let (inside, outside) = (inside.expect("a directory"), outside.expect("a directory"));
        fs::create_dir_all(inside.path().join("a/b")).expect("directories");
        std::os::unix::fs::symlink(outside.path(), inside.path().join("a/away")).expect("a link");
        let dir = Dir::open(inside.path()).expect("open");
        let text = Path::new("text");
        for name in ["x", "a/x", "a/b/x", "a/b/x"] {
            dir.create_link(text, name.as_ref()).expect("a link");
        }
        assert!(dir.create_link(text, "a/away/x".as_ref()).is_err());
        assert!(dir.create_dir("a/away/x".as_ref()).is_err());
        assert!(dir.open_dir("a/away".as_ref()).is_err());
        assert_eq!(fs::read_dir(outside.path()).expect("readable").count(), 0);
        std::os::unix::fs::symlink("text", outside.path().join("x")).expect("a link");
        dir.remove_link("a/away/x".as_ref()).expect("left alone");
        assert!(outside.path().join("x").is_symlink());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let open = |path: &str| open_step_by_step(dir.fd.as_fd(), path.as_ref(), flags);
        assert!(open("a/b").is_ok() && open("a/away").is_err() && open("a/away/y").is_err());
        dir.remove_link("a/b/x".as_ref()).expect("removed");
        dir.remove_link("a/b/x".as_ref()).expect("gone already");
        dir.remove_dir_if_empty("a".as_ref()).expect("kept");
        dir.remove_dir_if_empty("a/b".as_ref()).expect("removed");
        assert!(!dir.contains("a/b".as_ref()) && dir.contains("a".as_ref()));
    }

    #[test]
    fn pipes_and_large_files_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("pipe"),
            FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .expect("a pipe");
        fs::write(dir.path().join("large"), "12345").expect("a file");
        let open = Dir::open(dir.path()).expect("open");
        assert_eq!(
            open.read_file(Path::new("pipe"), 9)
                .expect_err("a pipe")
                .kind(),
            io::ErrorKind::InvalidData
        );
        assert_eq!(
            open.read_file(Path::new("large"), 4)
                .expect_err("large")
                .kind(),
            io::ErrorKind::FileTooLarge
        );
        assert_eq!(
            open.read_file(Path::new("large"), 5).expect("read").0,
            b"12345"
        );
    }
}
