//! `rsync`, which moves the contents of files.

use super::{RemoteSide, failed};
use crate::exec::{self, ExecError};
use crate::fsx::{self, Durability};
use crate::sync::pace::Pace;
use crate::sync::{Run, SyncError, Whose};
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use uuid::Uuid;

/// An `rsync` over which nothing comes for so long gives up.
const TIMEOUT_S: u32 = 300;

/// `rsync` reads a list of names in pieces of so many bytes, and forgets a name of which it has read
/// three: then it refuses the file, and all others. So one that is longer goes alone.
const PIECE_BYTES: usize = 2048;

/// A line about its progress is not longer.
const LINE_BYTES_MAX: usize = 200;

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
    /// What paces it; small files that are only read are not paced.
    pub(super) run: Option<&'a Run>,
}

/// What it complained of.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    lines: Vec<String>,
    /// It could not go on.
    pub(super) is_cut: bool,
    /// Its time was over.
    pub(super) is_stopped: bool,
}

impl Complaints {
    /// Returns what was said about a file, or something below a directory.
    pub(super) fn about(&self, name: &[u8]) -> Option<&str> {
        let name = String::from_utf8_lossy(name);
        let (itself, below) = (format!("{name}\""), format!("{name}/"));
        let is_meant = |line: &&String| line.contains(&itself) || line.contains(&below);
        self.lines.iter().find(is_meant).map(String::as_str)
    }

    /// Returns what kept it from going on.
    pub(super) fn end(&self) -> Option<&str> {
        let first = self.lines.first().filter(|_| self.is_cut);
        first.map(String::as_str)
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
            complaints.is_stopped |= more.is_stopped;
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
        let pace = transfer.run.map(|run| &run.pace);
        let mut progress = Progress::default();
        let is_stopped = Cell::new(false);
        let ran = exec::stream(
            Path::new("rsync"),
            &args,
            |chunk| {
                let bytes = progress.more(chunk);
                pace.into_iter().for_each(|pace| pace.reported(bytes));
            },
            || {
                let is_cut = pace.is_some_and(Pace::is_cut);
                is_stopped.set(is_stopped.get() || is_cut);
                is_cut
            },
        );
        fsx::remove_file(&list)?;
        match ran {
            // Ended by us, and what has arrived of a file is kept.
            Ok((code, _)) if is_stopped.get() && code != Some(0) => Ok(Complaints {
                is_stopped: true,
                ..Complaints::default()
            }),
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
            "--info=progress2",
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
            is_stopped: false,
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

/// Reads what `rsync` says of its progress: lines such as `1,234,567  12%  1.20MB/s`, each of which
/// may end as a terminal's that is written over.
#[derive(Debug, Default)]
struct Progress {
    line: Vec<u8>,
    done_bytes: u64,
}

impl Progress {
    /// Takes more of it, and returns how many bytes were moved meanwhile.
    fn more(&mut self, chunk: &[u8]) -> u64 {
        let before = self.done_bytes;
        for &byte in chunk {
            match byte {
                b'\r' | b'\n' => {
                    self.done_bytes = self.done_bytes.max(self.first_number());
                    self.line.clear();
                }
                _ if self.line.len() < LINE_BYTES_MAX => self.line.push(byte),
                _ => {}
            }
        }
        self.done_bytes - before
    }

    /// Digits are in groups, of which the locale decides what is between.
    fn first_number(&self) -> u64 {
        let words = self.line.split(|byte| *byte == b' ');
        let word = words.into_iter().find(|word| !word.is_empty());
        let digits = word.into_iter().flatten().filter(|b| b.is_ascii_digit());
        digits.fold(0, |number: u64, digit| {
            number
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_wherever_it_is_cut() {
        let text = b"\r         32,768   0%    0.00kB/s    0:00:00\r  5.668.864  27%    5.00MB/s\r\
            \r     20,300,000 100%    5.01MB/s    0:00:03 (xfr#4, to-chk=0/5)\n";
        for cut in 0..text.len() {
            let mut progress = Progress::default();
            let first = progress.more(&text[..cut]);
            assert_eq!(first + progress.more(&text[cut..]), 20_300_000);
        }
        assert_eq!(Progress::default().more(b"\n99\n"), 99);
        assert_eq!(Progress::default().more(&[b'9'; 300]), 0);
    }
}
