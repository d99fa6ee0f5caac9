//! The kernel's mount table, and taking mounts out of it.

use super::preflight::find_fusermount;
use super::{FS_NAME, MountError};
use crate::exec;
use crate::fsx;
use rustix::mount::UnmountFlags;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// A mount as `/proc/self/mountinfo` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountEntry {
    pub(super) id: u64,
    /// For FUSE, the number of the connection in `/sys/fs/fuse/connections`.
    pub(super) device_minor: u32,
    pub(super) mountpoint: PathBuf,
    pub(super) fs_type: String,
    pub(super) source: OsString,
    /// Who mounted it, for FUSE.
    pub(super) user_id: Option<u32>,
}

impl MountEntry {
    /// Tells whether a sweepfs daemon serves, or served, it.
    pub(super) fn is_ours(&self) -> bool {
        self.fs_type.starts_with("fuse") && self.source == FS_NAME
    }

    /// Tells whether a user other than root may take it away.
    pub(super) fn belongs_to(&self, uid: u32) -> bool {
        self.user_id == Some(uid)
    }

    /// Asks its daemon for a sign of life. `statfs` is the one request that the kernel never
    /// answers from its caches; a live daemon answers it from memory, a stopped one not at all.
    pub(super) fn health(&self) -> Health {
        let (sender, answer) = mpsc::channel();
        let mountpoint = self.mountpoint.clone();
        std::thread::spawn(move || sender.send(fsx::capacity(&mountpoint)));
        match answer.recv_timeout(ANSWER_MAX) {
            Ok(Err(error)) if error.cause.raw_os_error() == Some(ENOTCONN) => Health::Dead,
            Ok(_) => Health::Alive,
            Err(_) => Health::Silent,
        }
    }

    /// Tells whether its daemon is gone.
    pub(super) fn is_dead(&self) -> bool {
        self.health() == Health::Dead
    }
}

/// Whether a mount is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Alive,
    /// The daemon is gone: whatever is asked fails.
    Dead,
    /// The daemon is there and does not answer: whatever is asked hangs.
    Silent,
}

/// A daemon answers within microseconds.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// "Transport endpoint is not connected".
const ENOTCONN: i32 = 107;

/// Returns all mounts in the order they were made.
pub(super) fn mounts() -> Result<Vec<MountEntry>, MountError> {
    let bytes = fsx::read(Path::new("/proc/self/mountinfo"))?;
    Ok(bytes
        .split(|&b| b == b'\n')
        .filter_map(parse_line)
        .collect())
}

/// Returns what is mounted on a directory, the topmost if there are several.
pub(super) fn mounted_at(mountpoint: &Path) -> Result<Option<MountEntry>, MountError> {
    Ok(mounts()?
        .into_iter()
        .rev()
        .find(|entry| entry.mountpoint == mountpoint))
}

/// Parses `ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS [TAGS…] - TYPE SOURCE OPTIONS`.
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&b| b == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = std::str::from_utf8(fields.nth(1)?).ok()?;
    let device_minor = device.split_once(':')?.1.parse().ok()?;
    let mountpoint = PathBuf::from(unescaped(fields.nth(1)?));
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = unescaped(fields.next()?);
    let options = String::from_utf8_lossy(fields.next().unwrap_or_default());
    let user_id = options
        .split(',')
        .find_map(|option| option.strip_prefix("user_id=")?.parse().ok());
    Some(MountEntry {
        id,
        device_minor,
        mountpoint,
        fs_type,
        source,
        user_id,
    })
}

/// Resolves the octal escapes of blanks, newlines and backslashes.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

/// Takes a mount out of the tree at once, even if processes are still inside; those see it until
/// they leave.
pub(super) fn detach(mountpoint: &Path) -> Result<(), MountError> {
    unmount(mountpoint, UnmountFlags::DETACH, &["-u", "-z", "--"])
}

/// Takes a mount away; fails if a process is inside or has a file of it open.
pub(super) fn unmount_unused(mountpoint: &Path) -> Result<(), MountError> {
    unmount(mountpoint, UnmountFlags::empty(), &["-u", "--"])
}

/// Unmounts, with `fusermount3` and its options where we may not.
fn unmount(mountpoint: &Path, flags: UnmountFlags, options: &[&str]) -> Result<(), MountError> {
    let fail = |reason: String| MountError::CannotUnmount {
        mountpoint: mountpoint.to_owned(),
        reason,
    };
    match rustix::mount::unmount(mountpoint, flags | UnmountFlags::NOFOLLOW) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::PERM) => {}
        // Its watchdog, or another command, was faster.
        Err(rustix::io::Errno::INVAL) if mounted_at(mountpoint)?.is_none() => return Ok(()),
        Err(error) => return Err(fail(std::io::Error::from(error).to_string())),
    }
    let helper = find_fusermount().ok_or_else(|| fail("fusermount3 was not found".to_owned()))?;
    let mut args: Vec<_> = options.iter().map(OsStr::new).collect();
    args.push(mountpoint.as_os_str());
    let finished = exec::run(&helper, &args, Duration::from_secs(10))?;
    if finished.success {
        Ok(())
    } else {
        Err(fail(finished.stderr.trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_are_understood() {
        let entry =
            parse_line(br"36 35 98:0 / /mnt/my\040views\134x rw,noatime shared:1 master:2 - fuse sweepfs rw,user_id=0").expect("a mount");
        assert_eq!(
            (entry.id, entry.device_minor, entry.mountpoint.to_str()),
            (36, 0, Some("/mnt/my views\\x"))
        );
        assert!(entry.is_ours() && entry.belongs_to(0) && !entry.belongs_to(1));
        assert!(
            !parse_line(b"1 0 0:1 / / rw - ext4 /dev/vda rw")
                .expect("a mount")
                .is_ours()
        );
        assert_eq!(parse_line(b""), None);
    }
}
