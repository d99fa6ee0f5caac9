//! The file-system verbs we allow ourselves, with the path in every error.
//!
//! Everything that is written appears whole: under a temporary name first, then renamed.

mod append;
mod dir;
mod exchange;

pub use append::{append, read_from, write_private};
pub use dir::{Details, Dir, DirEntry, EntryKind, EntryType, is_temporary_link};
pub use exchange::{Copied, Part, copy_content, is_taken, set_mode_and_time, stamp_of, usual_mode};
pub use rustix::fs::FileType;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
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

/// Removes the empty files of a directory that nobody has touched for a time, and the directory if
/// nothing else is in it.
pub fn remove_empty_files(dir: &Path, age: Duration) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_old = |at: SystemTime| at.elapsed().is_ok_and(|since| since > age);
        let is_empty = entry.metadata().is_ok_and(|metadata| {
            metadata.is_file() && metadata.len() == 0 && metadata.modified().is_ok_and(is_old)
        });
        if is_empty {
            let _ = fs::remove_file(entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
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

    /// Takes the lock on a file, which is made if absent, and writes into it who has it; or returns the
    /// text of who has the lock.
    pub fn acquire_as(path: &Path, text: &str) -> Result<std::result::Result<Self, String>> {
        if let Some(parent) = path.parent() {
            create_dir_all(parent)?;
        }
        let open = || {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(path)?;
            match file.try_lock() {
                Err(fs::TryLockError::WouldBlock) => {
                    let mut owner = String::new();
                    let _ = (&mut file).take(OWNER_BYTES_MAX).read_to_string(&mut owner);
                    return Ok(Err(owner.trim().to_owned()));
                }
                Err(fs::TryLockError::Error(error))
                    if error.kind() != io::ErrorKind::Unsupported =>
                {
                    return Err(error);
                }
                _ => {}
            }
            file.set_len(0)?;
            file.write_all(text.as_bytes())?;
            Ok(Ok(Self { _file: file }))
        };
        at("lock", path, open())
    }
}

/// Who has a lock is told in so many bytes.
const OWNER_BYTES_MAX: u64 = 256;

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

/// Tells whether a path is that of a program that we may run.
pub fn is_executable(path: &Path) -> bool {
    let may_run = rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    may_run && path.is_file()
}

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
    fn only_empty_files_are_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = dir.path().join("logs");
        fs::create_dir(&logs).expect("a directory");
        for (name, text) in [("0.log", ""), ("1.log", "a word")] {
            fs::write(logs.join(name), text).expect("a file");
        }
        remove_empty_files(&logs, Duration::from_secs(3600));
        assert!(logs.join("0.log").exists());
        remove_empty_files(&logs, Duration::ZERO);
        assert!(!logs.join("0.log").exists() && logs.join("1.log").exists());
        fs::remove_file(logs.join("1.log")).expect("removed");
        remove_empty_files(&logs, Duration::ZERO);
        assert!(!logs.exists());
    }
}
