//! Files that several processes of one machine append to, and locks that are tried.

use super::{Lock, Result, at, create_dir_all};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Appends to a file that exists, in one piece: what others append at the same time stands before or
/// behind it.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().append(true).open(path)?;
        match file.write(bytes)? {
            n if n == bytes.len() => Ok(()),
            // A disk that is full takes a part.
            _ => Err(io::Error::from(io::ErrorKind::StorageFull)),
        }
    };
    at("write", path, write())
}

/// Reads what stands in a file from a place on.
pub fn read_from(path: &Path, start: u64) -> Result<Vec<u8>> {
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    at("read", path, read())
}

/// Writes a new file that only its owner may read, and has it on the disk.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path)?;
        file.write_all(bytes)?;
        file.sync_data()
    };
    at("write", path, write())
}

impl Lock {
    /// Takes the lock on a file, which is made if absent, unless another process has it. A file
    /// system without locks is an error.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        if let Some(parent) = path.parent() {
            create_dir_all(parent)?;
        }
        let open = || {
            let mut options = OpenOptions::new();
            let file = options
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)?;
            match file.try_lock() {
                Ok(()) => Ok(Some(Self { _file: file })),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            }
        };
        at("lock", path, open())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_from_any_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        append(&path, b"x").expect_err("it is not made");
        write_private(&path, b"one ").expect("written");
        write_private(&path, b"").expect_err("it is there");
        append(&path, b"two").expect("appended");
        assert_eq!(read_from(&path, 4).expect("read"), b"two");
        assert_eq!(read_from(&path, 9).expect("read"), b"");
        assert_eq!(super::super::permissions(&path).expect("there"), 0o600);
    }

    #[test]
    fn a_lock_is_had_by_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let lock = Lock::try_acquire(&path).expect("lockable").expect("free");
        assert!(Lock::try_acquire(&path).expect("lockable").is_none());
        drop(lock);
        assert!(Lock::try_acquire(&path).expect("lockable").is_some());
    }
}
