//! The file-system verbs we allow ourselves, with the path in every error.
//!
//! Everything that is written appears whole: under a temporary name first, then renamed.

pub use rustix::fs::FileType;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// A failed operation on one path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", path.display())]
pub struct FsError {
    /// The verb: `read`, `write`, …
    pub action: &'static str,
    /// What it was done to.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub cause: io::Error,
}

impl FsError {
    /// Returns the kind of the cause.
    /// Tells whether there was no room.
    pub fn is_full(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Returns the kind of the cause.
    pub fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }
}

/// Result of an operation on one path.
pub type Result<T> = std::result::Result<T, FsError>;

/// Adds the path to an error.
fn at<T>(action: &'static str, path: &Path, result: io::Result<T>) -> Result<T> {
    result.map_err(|cause| FsError {
        action,
        path: path.to_owned(),
        cause,
    })
}

/// A point in time of a file system: nanoseconds since 1970, negative before.
pub type TimeNs = i64;

/// Converts a clock's time; what is before 1970 becomes 0.
pub fn time_ns(time: SystemTime) -> TimeNs {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as TimeNs)
}

/// What distinguishes one state of a file from another. Not the device: on network file systems its
/// number depends on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Last change of the content.
    pub modified: TimeNs,
    /// Last change of the inode.
    pub changed: TimeNs,
    /// Inode number.
    pub inode: u64,
    /// Size.
    pub size_bytes: u64,
}

impl Stamp {
    fn of(stat: &rustix::fs::Stat) -> Self {
        let ns = |s: i64, ns: u64| s.saturating_mul(1_000_000_000).saturating_add(ns as i64);
        Self {
            modified: ns(stat.st_mtime, stat.st_mtime_nsec),
            changed: ns(stat.st_ctime, stat.st_ctime_nsec),
            inode: stat.st_ino,
            size_bytes: stat.st_size as u64,
        }
    }
}

/// How the names of temporary files and links begin, as those of signac do.
const TEMPORARY_PREFIX: &str = "._";

/// How the names of temporary links end.
const TEMPORARY_LINK_SUFFIX: &str = "_link";

/// Bytes of entries that one system call fetches.
const LISTING_BYTES: usize = 16 * 1024;

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    at("read", path, fs::read(path))
}

/// Returns the stamp of what a path leads to.
pub fn stamp(path: &Path) -> Result<Stamp> {
    let stat = rustix::fs::stat(path).map_err(io::Error::from);
    at("examine", path, stat).map(|stat| Stamp::of(&stat))
}

/// Makes a directory and those above it; fine if it is there.
pub fn create_dir_all(path: &Path) -> Result<()> {
    at("create the directory", path, fs::create_dir_all(path))
}

/// Makes one directory, readable by others as the umask allows.
pub fn create_dir(path: &Path) -> Result<()> {
    at("create the directory", path, fs::create_dir(path))
}

/// Makes a directory and those above it that only its owner may enter, and refuses one that
/// belongs to somebody else, who could have put anything there.
pub fn create_private_dir_all(path: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let create = || {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
        if fs::metadata(path)?.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it belongs to another user",
            ));
        }
        Ok(())
    };
    at("use the directory", path, create())
}

/// Makes one directory that only its owner may enter; refuses what others could have made.
pub fn create_private_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let create = || {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let found = fs::symlink_metadata(path)?;
        let is_own = found.uid() == rustix::process::geteuid().as_raw();
        if !(found.is_dir() && is_own && found.mode() & 0o077 == 0) {
            let kind = io::ErrorKind::PermissionDenied;
            let what = "it is not a directory that only you may enter";
            return Err(io::Error::new(kind, what));
        }
        Ok(())
    };
    at("use the directory", path, create())
}

/// Makes one directory with these permissions; fine if there is something of that name.
pub fn create_dir_with(path: &Path, permissions: u16) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let create = || match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => fs::set_permissions(path, PermissionsExt::from_mode(permissions.into())),
    };
    at("create the directory", path, create())
}

/// Returns the permission bits of what a path leads to, those for groups and the like included.
pub fn permissions(path: &Path) -> Result<u16> {
    let stat = rustix::fs::stat(path).map_err(io::Error::from);
    at("examine", path, stat).map(|stat| (stat.st_mode & 0o7777) as u16)
}

/// Returns a path without links and dots.
pub fn physical(path: &Path) -> Result<PathBuf> {
    at("find", path, path.canonicalize())
}

/// Returns the text of a link.
pub fn read_link(path: &Path) -> Result<PathBuf> {
    at("read the link", path, fs::read_link(path))
}

/// Makes a link of that text.
pub fn create_link(text: &Path, path: &Path) -> Result<()> {
    let made = std::os::unix::fs::symlink(text, path);
    at("create the link", path, made)
}

/// Removes an empty directory.
pub fn remove_dir(path: &Path) -> Result<()> {
    at("remove the directory", path, fs::remove_dir(path))
}

/// Removes a directory and everything below it.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    at("remove the directory", path, fs::remove_dir_all(path))
}

/// Removes a file; fine if there is none.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => at("remove", path, result),
    }
}

/// Renames a file or directory.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    at("create", to, fs::rename(from, to))
}

/// Gives a file a second name, which must be free.
pub fn hard_link(file: &Path, name: &Path) -> Result<()> {
    at("create", name, fs::hard_link(file, name))
}

/// Renames a file or directory to a name that must be free, also of an empty directory.
///
/// Where the file system cannot promise that (NFS), an empty directory may be replaced.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename(from, to),
        result => at("create", to, result.map_err(io::Error::from)),
    }
}

/// Opens a file for appending, made if absent, for its owner only.
pub fn open_log(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    at(
        "open the log",
        path,
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path),
    )
}

/// Opens a file to append to, which is made if absent.
pub fn open_appending(path: &Path) -> Result<File> {
    at(
        "open",
        path,
        OpenOptions::new().create(true).append(true).open(path),
    )
}

/// Whether a write must be on the disk before it is given its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives the end of the process.
    Process,
    /// Survives a power failure: without it, a crash of the machine may leave an empty file.
    Power,
}

/// Writes a file so that a reader sees the old content or the new, never a part.
///
/// The temporary file is `._<uuid>_<name>` beside it, the name signac uses, so that its leftovers
/// and ours look alike.
pub fn write_atomic(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let temporary = temporary_beside(path);
    let written = write_new(&temporary, bytes, durability).and_then(|()| rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(|error| FsError {
        action: "write",
        path: path.to_owned(),
        cause: error.cause,
    })
}

/// Writes a file piece by piece so that a reader sees the old content or the new, never a part.
pub fn replace_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let temporary = temporary_beside(path);
    let attempt = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)?;
        write(&mut file)?;
        fs::rename(&temporary, path)
    };
    let written = attempt();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    at("write", path, written)
}

/// Opens a regular file; a pipe or device of that name is refused, not waited for.
pub fn open_regular(path: &Path) -> Result<File> {
    at("read", path, try_open_regular(path, OFlags::empty()))
}

fn try_open_regular(path: &Path, flags: OFlags) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = flags | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a regular file",
        ))
    }
}

/// Opens a regular file that somebody entrusted with `guarded` has written: its owner, root,
/// ourselves, or anybody if anybody may change it.
pub fn open_trusted(path: &Path, guarded: &Path) -> Result<File> {
    use std::os::unix::fs::MetadataExt;
    let open = || {
        let file = try_open_regular(path, OFlags::NOFOLLOW)?;
        let (of_file, of_guarded) = (file.metadata()?, fs::metadata(guarded)?);
        let trusted = [0, rustix::process::geteuid().as_raw(), of_guarded.uid()];
        if !trusted.contains(&of_file.uid()) && of_guarded.mode() & 0o022 == 0 {
            let kind = io::ErrorKind::PermissionDenied;
            return Err(io::Error::new(kind, "it belongs to another user"));
        }
        Ok(file)
    };
    at("read", path, open())
}

/// Removes temporary files for a name that a process which was killed long ago left in a directory.
pub fn remove_abandoned(dir: &Path, name: &str, age: Duration) {
    let suffix = format!("_{name}");
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let entry_name = entry.file_name();
        let is_temporary = entry_name
            .to_str()
            .is_some_and(|n| n.starts_with(TEMPORARY_PREFIX) && n.ends_with(&suffix));
        let modified = || entry.metadata().and_then(|metadata| metadata.modified());
        if is_temporary && modified().is_ok_and(|at| at.elapsed().is_ok_and(|since| since > age)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{TEMPORARY_PREFIX}{}_{name}", Uuid::new_v4()))
}

/// Writes a file that must not exist yet.
pub fn write_new(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        match durability {
            Durability::Process => Ok(()),
            Durability::Power => file.sync_data(),
        }
    };
    at("write", path, write())
}

/// An exclusive advisory lock, held until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock on a file, which is made if absent.
    pub fn acquire(path: &Path) -> Result<Self> {
        if let Some(parent) = path.parent() {
            create_dir_all(parent)?;
        }
        let open = || {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)?;
            match file.lock() {
                // Lustre without `-o flock`, say: then we do without, as signac does everywhere.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
                result => result.map(|()| file),
            }
        };
        at("lock", path, open()).map(|file| Self { _file: file })
    }
}

/// An open directory, through which files below it are read without walking its path again.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
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

/// Calls `found` with each entry of a directory, in the order of the file system.
pub fn for_each_entry(path: &Path, mut found: impl FnMut(DirEntry<'_>)) -> Result<()> {
    use std::os::unix::fs::DirEntryExt;
    for entry in at("list", path, fs::read_dir(path))? {
        let entry = at("list", path, entry)?;
        let kind = match entry.file_type() {
            Ok(t) if t.is_dir() => EntryKind::Dir,
            Ok(t) if t.is_symlink() => EntryKind::Link,
            _ => EntryKind::Other,
        };
        found(DirEntry {
            name: &entry.file_name(),
            kind,
            inode: entry.ino(),
        });
    }
    Ok(())
}

/// Capacity of a file system, as `statfs` tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Size of a block in bytes.
    pub block_size_bytes: u32,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Blocks free for ordinary users.
    pub blocks_available: u64,
    /// All inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
}

/// Asks for the capacity of the file system that holds a path.
pub fn capacity(path: &Path) -> Result<Capacity> {
    let s = at(
        "examine",
        path,
        rustix::fs::statfs(path).map_err(io::Error::from),
    )?;
    Ok(Capacity {
        block_size_bytes: s.f_bsize as u32,
        blocks: s.f_blocks,
        blocks_free: s.f_bfree,
        blocks_available: s.f_bavail,
        files: s.f_files,
        files_free: s.f_ffree,
    })
}

/// File systems on which other hosts write and no change notice arrives: their `statfs` magic
/// numbers from the kernel's `magic.h` and the vendors' headers.
const NETWORK_MAGIC: [(u32, &str); 18] = [
    (0x6969, "nfs"),
    (0xFF53_4D42, "cifs"),
    (0xFE53_4D42, "smb2"),
    (0x517B, "smb"),
    (0x0BD0_0BD0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x1983_0326, "beegfs"),
    (0x00C3_6400, "ceph"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x5346_414F, "afs"),
    (0x6B41_4653, "kafs"),
    (0x7375_7245, "coda"),
    (0x2003_0528, "orangefs"),
    (0xAAD7_AAEA, "panfs"),
    (0x0116_1970, "gfs2"),
    (0x7461_636F, "ocfs2"),
    (0x786F_4256, "vboxsf"),
];

/// Tells whether the file system that holds a path can only be read.
pub fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path)
        .is_ok_and(|s| s.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Names the network file system that holds a path, or `None` if it is local.
pub fn network_fs(path: &Path) -> Option<&'static str> {
    let magic = rustix::fs::statfs(path).ok()?.f_type as u32;
    NETWORK_MAGIC
        .iter()
        .find(|(m, _)| *m == magic)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = dir.path().join("occupied");
        fs::create_dir(&target).expect("a directory");
        fs::write(target.join("x"), "").expect("a file");
        let error = write_atomic(&target, b"text", Durability::Process)
            .expect_err("a directory is no file");
        assert!(error.to_string().starts_with("cannot write `"));
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1);
    }

    #[test]
    fn private_directories_are_nobody_elses() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("private");
        create_private_dir(&path).expect("made");
        create_private_dir(&path).expect("there");
        assert_eq!(permissions(&path).expect("readable"), 0o700);
        let link = dir.path().join("link");
        create_link(&path, &link).expect("a link");
        assert!(create_private_dir(&link).is_err());
        fs::set_permissions(&path, PermissionsExt::from_mode(0o750)).expect("set");
        assert!(create_private_dir(&path).is_err());
        let other = dir.path().join("other");
        create_dir_with(&other, 0o700).expect("made");
        if std::os::unix::fs::chown(&other, Some(1), None).is_ok() {
            assert!(create_private_dir(&other).is_err());
        }
    }

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
