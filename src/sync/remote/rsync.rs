//! `rsync`, which moves the contents of files.

use super::{RemoteSide, failed};
use crate::exec::{self, ExecError};
use crate::fsx::{self, Durability};
use crate::sync::{SyncError, Whose};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use uuid::Uuid;

/// An `rsync` over which nothing comes for so long gives up.
const TIMEOUT_S: u32 = 300;

/// `rsync` reads a list of names in pieces of so many bytes, and forgets a name of which it has read
/// three: then it refuses the file, and all others. So one that is longer goes alone.
const PIECE_BYTES: usize = 2048;

/// Of its complaints, so many are told.
const COMPLAINTS_MAX: usize = 3;

/// What is moved.
pub(super) struct Transfer<'a> {
    pub(super) to: Whose,
    /// The directories that the names are below.
    pub(super) here: &'a Path,
    pub(super) there: &'a Path,
    pub(super) names: &'a [Vec<u8>],
    pub(super) options: Vec<OsString>,
}

/// What it complained of.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    lines: Vec<String>,
    /// It could not go on.
    pub(super) is_cut: bool,
}

impl Complaints {
    /// Returns what was said about a file, or else the last that was said at all.
    pub(super) fn about(&self, name: &[u8]) -> Option<&str> {
        let name = String::from_utf8_lossy(name);
        let quoted = |line: &&String| line.contains(&format!("{name}\""));
        let found = self.lines.iter().find(quoted).or(self.lines.first());
        found.map(String::as_str)
    }

    /// Returns all that was said of a file by its name.
    pub(super) fn naming(&self, name: &[u8]) -> Option<&str> {
        let name = format!("{}\"", String::from_utf8_lossy(name));
        let found = self.lines.iter().find(|line| line.contains(&name));
        found.map(String::as_str)
    }
}

impl RemoteSide {
    /// Copies files, links and directories, as far as they are there.
    ///
    /// # Errors
    ///
    /// Fails if the connection does, or `rsync` is missing. Single files that cannot be copied are
    /// complaints.
    pub(super) fn transfer(&self, transfer: &Transfer<'_>) -> Result<Complaints, SyncError> {
        let is_long = |name: &&Vec<u8>| name.len() >= PIECE_BYTES;
        if transfer.to == Whose::Remote || !transfer.names.iter().any(|name| is_long(&name)) {
            return self.transfer_at_once(transfer, transfer.names);
        }
        let (long, short): (Vec<_>, Vec<_>) = transfer.names.iter().partition(is_long);
        let short: Vec<_> = short.into_iter().cloned().collect();
        let mut complaints = self.transfer_at_once(transfer, &short)?;
        for name in long {
            let more = self.transfer_at_once(transfer, std::slice::from_ref(name))?;
            complaints.lines.extend(more.lines);
            complaints.is_cut |= more.is_cut;
        }
        Ok(complaints)
    }

    fn transfer_at_once(
        &self,
        transfer: &Transfer<'_>,
        names: &[Vec<u8>],
    ) -> Result<Complaints, SyncError> {
        if names.is_empty() {
            return Ok(Complaints::default());
        }
        let list = self
            .scratch
            .path()
            .join(format!("names-{}", Uuid::new_v4()));
        let mut text = Vec::new();
        for name in names {
            text.extend_from_slice(name);
            text.push(0);
        }
        fsx::write_new(&list, &text, Durability::Process)?;
        let args = self.arguments(transfer, &list);
        let args: Vec<_> = args.iter().map(OsString::as_os_str).collect();
        let ran = exec::stream(Path::new("rsync"), &args, |_| {});
        fsx::remove_file(&list)?;
        match ran {
            Ok((code, complaint)) => self.judge(code, &complaint),
            Err(error @ ExecError::Start { .. }) => Err(SyncError::Failed {
                message: crate::report::with_causes(&error),
                hint: Some("install rsync here".into()),
            }),
            Err(error) => Err(failed(&error.into())),
        }
    }

    fn arguments(&self, transfer: &Transfer<'_>, list: &Path) -> Vec<OsString> {
        let with = |option: &str, value: &OsStr| {
            let mut text = OsString::from(option);
            text.push(value);
            text
        };
        let mut args: Vec<OsString> = [
            "--protect-args",
            "--perms",
            "--times",
            "--omit-dir-times",
            "--omit-link-times",
            "--chmod=Du+rwx",
            "--no-implied-dirs",
            // What is to be copied was decided by more than size and time.
            "--ignore-times",
            "--sparse",
            "--partial",
            "--from0",
            // Our remote shell is one that writes as others do.
            "--blocking-io",
        ]
        .map(OsString::from)
        .into();
        // Nobody there makes a link here, behind which the next file would be written: what links say is
        // known, and they are made by us.
        args.push(match transfer.to {
            Whose::Local => "--no-links".into(),
            Whose::Remote => "--links".into(),
        });
        args.push(format!("--timeout={TIMEOUT_S}").into());
        args.push(with("--files-from=", list.as_os_str()));
        args.push(with("--rsh=", &self.connection.remote_shell()));
        if let Some(program) = &self.options.rsync {
            args.push(with("--rsync-path=", OsStr::new(program)));
        }
        if let Some(bandwidth) = &self.options.bandwidth {
            args.push(with("--bwlimit=", OsStr::new(bandwidth)));
        }
        if self.options.compress {
            args.push("--compress".into());
        }
        args.extend(transfer.options.iter().cloned());
        args.push("--".into());
        let here = with("", &slashed(transfer.here));
        // The machine is in the words of the remote shell.
        match transfer.to {
            Whose::Local => {
                args.push(with("remote:", &without_patterns(&slashed(transfer.there))));
                args.push(here);
            }
            Whose::Remote => {
                args.push(here);
                args.push(with("remote:", &slashed(transfer.there)));
            }
        }
        args
    }

    /// Decides by the exit code of rsync(1) what its end means.
    fn judge(&self, code: Option<i32>, complaint: &str) -> Result<Complaints, SyncError> {
        let is_told = |line: &&str| {
            let is_summary = line.starts_with("rsync error:") || line.starts_with("rsync warning:");
            !line.trim().is_empty() && !is_summary
        };
        let lines = complaint.lines().filter(is_told).map(shortened);
        let complaints = Complaints {
            lines: lines.collect(),
            // An error of the file system: the disk is full, say.
            is_cut: code == Some(11),
        };
        match code {
            // 23 and 24: some files could not be copied, or are gone.
            Some(0 | 11 | 23 | 24 | 25) => Ok(complaints),
            code => {
                let host = &self.options.host;
                let all = complaint.lines().filter(|line| !line.trim().is_empty());
                let told: Vec<_> = all.take(COMPLAINTS_MAX).map(shortened).collect();
                let message = match code {
                    Some(code) => format!("rsync with `{host}` failed with exit code {code}"),
                    None => format!("rsync with `{host}` was ended by a signal"),
                };
                let is_missing = complaint.contains("not found");
                let hint = match is_missing {
                    true => format!(
                        "install rsync on `{host}`, or name it by `rsync = …` in [remote.NAME]"
                    ),
                    false => {
                        "what has arrived is kept; the next sync goes on from there".to_owned()
                    }
                };
                Err(SyncError::Failed {
                    message: [message, told.join("; ")].join(": "),
                    hint: Some(hint),
                })
            }
        }
    }
}

fn shortened(line: &str) -> String {
    let line = line.trim();
    line.strip_prefix("rsync: ").unwrap_or(line).to_owned()
}

/// A directory whose contents are meant.
fn slashed(path: &Path) -> OsString {
    let mut text = path.as_os_str().to_owned();
    text.push("/");
    text
}

/// The `rsync` there takes a name for a pattern if it looks like one.
fn without_patterns(path: &OsStr) -> OsString {
    let bytes = path.as_bytes();
    if !bytes.iter().any(|b| b"*?[".contains(b)) {
        return path.to_owned();
    }
    let mut escaped = Vec::new();
    for byte in bytes {
        if b"*?[\\".contains(byte) {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    OsStr::from_bytes(&escaped).to_owned()
}
