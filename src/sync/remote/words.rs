//! What scripts are told, and what they answer.

use super::list;
use crate::fsx;
use crate::statepoint::JobId;
use crate::sync::local::TAKEN;
use crate::sync::path::{Place, RelPath};
use crate::sync::side::{FileDigest, NewText, Outcome, Removal};
use crate::sync::tree::{Content, Entry, INCOMING_SUFFIX, JobTree};
use crate::workflow::FLOW_FILE;
use md5::{Digest, Md5};
use uuid::Uuid;

/// What is said of a file that is not as it was listed.
pub(super) const CHANGED: &str = "it has changed meanwhile";

/// Reads what a script answers for an item.
pub(super) fn outcome(text: &str) -> Outcome {
    let mut words = text.splitn(2, ' ');
    match (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    ) {
        ("ok", facts) => match file_entry(facts) {
            Some(entry) => Ok(Some(entry)),
            None => Err("it is gone again".to_owned()),
        },
        // A directory that is not empty.
        ("left", mode) => Ok(Some(Entry {
            content: Content::Dir,
            mode: u16::from_str_radix(mode, 8).unwrap_or_default() & 0o777,
        })),
        ("gone" | "done", _) => Ok(None),
        ("changed", _) => Err(CHANGED.to_owned()),
        ("taken", _) => Err(TAKEN.to_owned()),
        (_, why) if !why.is_empty() => Err(why.to_owned()),
        _ => Err("it failed".to_owned()),
    }
}

/// Reads size, time and permissions of a file.
fn file_entry(text: &str) -> Option<Entry> {
    let mut words = text.split(' ');
    let content = Content::File {
        size_bytes: words.next()?.parse().ok()?,
        modified: list::time_ns(words.next()?.as_bytes()).ok()?,
    };
    let mode = u16::from_str_radix(words.next()?, 8).ok()? & 0o777;
    Some(Entry { content, mode })
}

/// Writes what must be there, as the scripts' `state` does.
pub(super) fn state(entry: Option<&Entry>) -> Vec<u8> {
    match entry.map(|entry| &entry.content) {
        None => b"-".to_vec(),
        Some(Content::Dir) => b"d".to_vec(),
        Some(Content::Link(text)) => [b"l ", &**text, b"x"].concat(),
        Some(Content::File {
            size_bytes,
            modified,
        }) => format!("f {size_bytes} {}", seconds(*modified)).into_bytes(),
    }
}

fn seconds(ns: fsx::TimeNs) -> String {
    let (sign, ns) = (if ns < 0 { "-" } else { "" }, ns.unsigned_abs());
    format!("{sign}{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// Returns a name below the project's directory, which never begins with a dash or a dot.
pub(super) fn name_of(place: &Place) -> Vec<u8> {
    place.below_project().as_bytes().to_vec()
}

/// Reads a line of md5sum(1). One with a backslash before it has others in the name, for the characters
/// that would end a line.
pub(super) fn digest_of(line: &[u8]) -> Option<(Vec<u8>, FileDigest)> {
    let (line, is_escaped) = match line.strip_prefix(b"\\") {
        Some(line) => (line, true),
        None => (line, false),
    };
    // Two spaces, or a space and a star, are between.
    let (digest, name) = (line.get(..32)?, line.get(34..)?);
    let digest = u128::from_str_radix(std::str::from_utf8(digest).ok()?, 16).ok()?;
    let mut bytes = name.iter().copied();
    let mut read = Vec::with_capacity(name.len());
    while let Some(byte) = bytes.next() {
        read.push(match byte {
            b'\\' if is_escaped => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                other => other,
            },
            byte => byte,
        });
    }
    Some((read, digest.to_be_bytes()))
}

/// The MD5 of all that a job's listing says, as the scripts' `all` tells it.
pub(super) fn digest_of_job(job: &JobTree) -> String {
    let record = |(path, entry): &(RelPath, Entry)| {
        let (before, after): (String, &[u8]) = match &entry.content {
            // find(1) writes ten digits, of which the last is always zero.
            Content::File {
                size_bytes,
                modified,
            } => (
                format!("f {size_bytes} {}0 ", list::found_time(*modified)),
                b"",
            ),
            Content::Link(text) => ("l ".into(), text),
            Content::Dir => ("d ".into(), b""),
        };
        let gap: &[u8] = if entry.is_file() || entry.is_dir() {
            b""
        } else {
            b"//"
        };
        [before.as_bytes(), path.as_bytes(), gap, after, b"\0"].concat()
    };
    let mut records: Vec<_> = job.entries.iter().map(record).collect();
    records.sort_unstable();
    let digest: FileDigest = Md5::digest(records.concat()).into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn last_line(complaint: &str, usual: &str) -> String {
    complaint.lines().next_back().unwrap_or(usual).to_owned()
}

/// The texts of an item for the scripts: its number, its name, what must be there.
pub(super) fn item(at: usize, removal: &Removal) -> Vec<Vec<u8>> {
    vec![
        at.to_string().into_bytes(),
        name_of(&removal.place),
        state(Some(&removal.before)),
    ]
}

/// The lock that guards a file, below the project's directory; empty for none.
pub(super) fn lock_of(place: &Place) -> Vec<u8> {
    match place.job {
        Some(id) if place.path.as_bytes() == FLOW_FILE.as_bytes() => lock_of_job(&id),
        _ => Vec::new(),
    }
}

/// The lock that guards what is recorded of a job.
pub(super) fn lock_of_job(id: &JobId) -> Vec<u8> {
    let id = id.to_string();
    format!(".sweepfs/locks/{}", &id[id.len() - 2..]).into_bytes()
}

pub(super) fn words_to_write(at: usize, text: &NewText) -> [Vec<u8>; 7] {
    let name = name_of(&text.place);
    let parent = name.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    let temporary = format!("._{}{INCOMING_SUFFIX}", Uuid::new_v4());
    [
        at.to_string().into_bytes(),
        name.clone(),
        text.bytes.len().to_string().into_bytes(),
        text.modified.map(seconds).unwrap_or_default().into_bytes(),
        state(text.before.as_ref()),
        lock_of(&text.place),
        [&name[..parent], temporary.as_bytes()].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_whatever_the_name() {
        let digest = "d41d8cd98f00b204e9800998ecf8427e";
        let read = |line: String| digest_of(line.as_bytes()).map(|(name, _)| name);
        let name = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(read(format!("{digest}  a b")), name("a b"));
        assert_eq!(read(format!("{digest} *a\\n")), name("a\\n"));
        assert_eq!(read(format!("\\{digest}  a\\nb\\\\n")), name("a\nb\\n"));
        for bad in ["", "x", &digest[1..], "\\"] {
            assert_eq!(read(bad.to_owned()), None);
        }
    }
}
