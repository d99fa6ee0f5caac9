//! What `find` tells of another machine's files, which is checked in every respect.

use super::super::local::DEPTH_MAX;
use super::super::path::{Place, RelPath};
use super::super::side::Listing;
use super::super::tree::{Content, Entry, JobTree, is_incoming, is_temporary};
use crate::fsx::{Stamp, TimeNs};
use crate::report::{Problem, harmless};
use crate::statepoint::JobId;
use crate::workspace::STATEPOINT_FILE;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Records have so many fields.
const N_FIELDS: usize = 7;

/// No field is longer.
const FIELD_BYTES_MAX: usize = 1 << 20;

/// No file is larger.
const SIZE_BYTES_MAX: u64 = i64::MAX as u64;

const SECOND_NS: TimeNs = 1_000_000_000;

/// A text that is not what `find` writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its list of files makes no sense: {0}")]
pub(super) struct BadList(String);

pub(super) fn bad(what: impl Into<String>) -> BadList {
    BadList(what.into())
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// What it is, in the words of `find` and of our script.
    pub(super) kind: u8,
    pub(super) device: u64,
    pub(super) path: Vec<u8>,
    /// What it is to us; `None` for what is neither file, link nor directory.
    pub(super) entry: Option<Entry>,
    /// The first number, whatever it means.
    number: u64,
}

/// Takes records apart that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Records {
    field: Vec<u8>,
    fields: Vec<Vec<u8>>,
}

impl Records {
    /// Takes a piece, and hands on the records that it completes.
    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        mut found: impl FnMut(Record) -> Result<(), BadList>,
    ) -> Result<(), BadList> {
        let mut rest = chunk;
        while let Some(at) = rest.iter().position(|b| *b == 0) {
            self.field.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            self.fields.push(std::mem::take(&mut self.field));
            if self.fields.len() == N_FIELDS {
                found(Record::new(&self.fields)?)?;
                self.fields.clear();
            }
        }
        self.field.extend_from_slice(rest);
        match self.field.len() > FIELD_BYTES_MAX {
            true => Err(bad("a name does not end")),
            false => Ok(()),
        }
    }

    /// Tells whether nothing is left over.
    pub(super) fn is_complete(&self) -> bool {
        self.field.is_empty() && self.fields.is_empty()
    }
}

impl Record {
    /// One that is no end.
    pub(super) fn of(kind: u8, device: u64, path: Vec<u8>, entry: Option<Entry>) -> Self {
        Self {
            kind,
            device,
            path,
            entry,
            number: 0,
        }
    }

    fn new(fields: &[Vec<u8>]) -> Result<Self, BadList> {
        let [kind, number, time, mode, device, path, link] = fields else {
            return Err(bad("fields are missing"));
        };
        let &[kind] = kind.as_slice() else {
            return Err(bad(format!("`{}` is no kind of file", shown(kind))));
        };
        let number = whole(number, 10)?;
        if kind == b'E' {
            return Ok(Self {
                kind,
                device: 0,
                path: Vec::new(),
                entry: None,
                number,
            });
        }
        let mode = (whole(mode, 8)? & 0o777) as u16;
        let content = match kind {
            b'f' | b'P' => Some(Content::File {
                size_bytes: number,
                modified: found_time_ns(time)?,
            }),
            b'd' | b'W' | b'!' => Some(Content::Dir),
            b'l' => Some(Content::Link(link.as_slice().into())),
            b'p' | b's' | b'b' | b'c' | b'D' => None,
            _ => return Err(bad(format!("`{}` is no kind of file", shown(&[kind])))),
        };
        let mode = if kind == b'l' { 0 } else { mode };
        Ok(Self {
            kind,
            device: whole(device, 10)?,
            path: path.clone(),
            entry: content.map(|content| Entry { content, mode }),
            number,
        })
    }
}

fn shown(bytes: &[u8]) -> String {
    harmless(String::from_utf8_lossy(bytes))
}

fn whole(text: &[u8], radix: u32) -> Result<u64, BadList> {
    let parsed = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let parsed = parsed.and_then(|text| u64::from_str_radix(text, radix).ok());
    parsed.ok_or_else(|| bad(format!("`{}` is no number", shown(text))))
}

/// Reads the seconds that stat(1) writes.
pub(super) fn time_ns(text: &[u8]) -> Result<TimeNs, BadList> {
    let (is_negative, seconds, fraction) = time_parts(text)?;
    Ok(match is_negative {
        true => -seconds.saturating_add(fraction),
        false => seconds.saturating_add(fraction),
    })
}

/// Reads the seconds that find(1) writes: before 1970, the fraction counts from the second before.
fn found_time_ns(text: &[u8]) -> Result<TimeNs, BadList> {
    let (is_negative, seconds, fraction) = time_parts(text)?;
    Ok(match is_negative {
        true => fraction.saturating_sub(seconds),
        false => seconds.saturating_add(fraction),
    })
}

/// Writes seconds as find(1) does, without its last zero.
pub(super) fn found_time(ns: TimeNs) -> String {
    let (seconds, fraction) = (ns.div_euclid(SECOND_NS), ns.rem_euclid(SECOND_NS));
    format!("{seconds}.{fraction:09}")
}

/// Reads seconds with a fraction: whether there is a minus, the whole ones, and the rest.
fn time_parts(text: &[u8]) -> Result<(bool, TimeNs, TimeNs), BadList> {
    let parse = || {
        let text = std::str::from_utf8(text).ok()?;
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if !seconds
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let fraction: TimeNs = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        // As of all times that are too far away, the last that can be told counts.
        let seconds = seconds.parse::<TimeNs>().ok()?.saturating_mul(SECOND_NS);
        Some((is_negative, seconds, fraction))
    };
    parse().ok_or_else(|| bad(format!("`{}` is no time", shown(text))))
}

/// Reads what time it is there, and what files are, by their names.
pub(super) fn stamps(text: &[u8]) -> Result<(TimeNs, HashMap<Vec<u8>, Stamp>), BadList> {
    let mut fields = text.split(|b| *b == 0);
    let now = time_ns(fields.next().unwrap_or_default())?;
    let fields: Vec<_> = fields.collect();
    let mut found = HashMap::new();
    for fields in fields.chunks_exact(5) {
        let stamp = Stamp {
            inode: whole(fields[0], 10)?,
            size_bytes: whole(fields[1], 10)?,
            modified: found_time_ns(fields[2])?,
            changed: found_time_ns(fields[3])?,
        };
        found.insert(fields[4].to_vec(), stamp);
    }
    Ok((now, found))
}

/// A listing that grows.
#[derive(Debug)]
pub(super) struct Lister<'a> {
    root: &'a Path,
    records: Records,
    jobs: BTreeMap<JobId, Vec<(RelPath, Entry)>>,
    /// Jobs that are left out.
    out: BTreeSet<JobId>,
    listing: Listing,
    device: u64,
    /// The exit code of `find`.
    end: Option<u64>,
}

impl<'a> Lister<'a> {
    /// Lists a project, whose path is for messages.
    pub(super) fn new(root: &'a Path) -> Self {
        Self {
            root,
            records: Records::default(),
            jobs: BTreeMap::new(),
            out: BTreeSet::new(),
            listing: Listing::default(),
            device: 0,
            end: None,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), BadList> {
        let mut records = std::mem::take(&mut self.records);
        let pushed = records.push(chunk, |record| self.add(record));
        self.records = records;
        pushed
    }

    /// Takes a record, whoever read it.
    pub(super) fn add(&mut self, record: Record) -> Result<(), BadList> {
        if self.end.is_some() {
            return Err(bad("it goes on after its end"));
        }
        let size_bytes = record.entry.as_ref().map_or(0, Entry::size_bytes);
        if size_bytes > SIZE_BYTES_MAX {
            return Err(bad(format!("no file has {size_bytes} bytes")));
        }
        match record.kind {
            b'E' => self.end = Some(record.number),
            b'P' => self.listing.tree.document = record.entry,
            b'W' => {
                self.listing.has_workspace = true;
                self.device = record.device;
            }
            _ if !self.listing.has_workspace => return Err(bad("it has files of no workspace")),
            _ => self.add_below(record)?,
        }
        Ok(())
    }

    /// Notes that all has come.
    pub(super) fn end(&mut self) {
        self.end = Some(0);
    }

    fn add_below(&mut self, record: Record) -> Result<(), BadList> {
        let (id, path) = match record.path.iter().position(|b| *b == b'/') {
            Some(at) => (&record.path[..at], Some(&record.path[at + 1..])),
            None => (&record.path[..], None),
        };
        let id = std::str::from_utf8(id)
            .ok()
            .and_then(|id| id.parse::<JobId>().ok());
        let Some(id) = id else {
            return Err(bad(format!(
                "`{}` is no file of a job",
                shown(&record.path)
            )));
        };
        let Some(path) = path else {
            match (record.kind, record.device == self.device) {
                (b'd', true) => drop(self.jobs.entry(id).or_default()),
                (b'd', false) => self.leave_out(id, "another file system is mounted there"),
                (b'!', _) => self.leave_out(id, "its directory cannot be read"),
                _ => self.leave_out(id, "a link or a file, not a directory"),
            }
            return Ok(());
        };
        let depth = path.split(|b| *b == b'/').count();
        let path = match RelPath::new(path) {
            Ok(path) => path,
            Err(_) if is_too_long(path) => {
                if depth <= DEPTH_MAX + 1 {
                    self.hide_long(id, path);
                }
                return Ok(());
            }
            Err(_) => {
                return Err(bad(format!(
                    "`{}` is no name of a file in a job",
                    shown(&record.path)
                )));
            }
        };
        if record.kind == b'!' {
            self.leave_out(id, &format!("`{}` cannot be read", harmless(&path)));
            return Ok(());
        }
        if depth > DEPTH_MAX + 1 {
            // What it is in was named.
            return Ok(());
        }
        if path.as_bytes().split(|b| *b == b'/').any(is_temporary) {
            if is_incoming(path.file_name()) && record.kind == b'f' {
                self.listing.leftovers.push(Place::of_job(id, path));
            }
            return Ok(());
        }
        let is_mount = record.device != self.device;
        let is_deep = depth > DEPTH_MAX && record.kind == b'd';
        let Some(entry) = record.entry.filter(|_| !is_mount && !is_deep) else {
            let why = match (is_mount, is_deep) {
                (true, _) => "another file system is mounted there",
                (_, true) => "it lies too deep",
                _ => "no file, link or directory",
            };
            let what = format!("`{}` is not synced: {why}", harmless(&path));
            self.name(id, &what);
            // Of what cannot be seen nobody can say that it is gone.
            self.listing.hidden.push(Place::of_job(id, path));
            return Ok(());
        };
        self.jobs.entry(id).or_default().push((path, entry));
        Ok(())
    }

    /// Names a file whose path is too long for us, unless what it is in was named.
    fn hide_long(&mut self, id: JobId, path: &[u8]) {
        let at = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        if at > 0 && RelPath::new(&path[..at]).is_err() {
            return;
        }
        let beginning = &path[..path.len().min(SHOWN_BYTES)];
        let what = format!(
            "`{}…` is not synced: its path is too long",
            shown(beginning)
        );
        self.name(id, &what);
        self.listing
            .hidden
            .extend(RelPath::beginning_of(path).map(|path| Place::of_job(id, path)));
    }

    fn leave_out(&mut self, id: JobId, why: &str) {
        self.name(id, &format!("not synced: {why}"));
        self.out.insert(id);
    }

    fn name(&mut self, id: JobId, reason: &str) {
        self.listing.problems.push(Problem {
            subject: id.to_string(),
            path: self.root.join("workspace").join(id.to_string()),
            reason: reason.to_owned(),
            hint: None,
        });
    }

    /// Checks the whole; what `find` complained of is part of that.
    pub(super) fn finish(mut self, complaint: &str) -> Result<Listing, BadList> {
        let Some(code) = self.end.filter(|_| self.records.is_complete()) else {
            return Err(bad("it does not end"));
        };
        // Files that are gone since are no problem, and directories that cannot be read were named.
        let is_fine = |line: &&str| {
            line.ends_with("No such file or directory") || line.ends_with("Permission denied")
        };
        let lines = complaint.lines().filter(|line| line.starts_with("find: "));
        for line in lines.clone().filter(|line| !is_fine(line)) {
            match complaint_about(line) {
                About::Job(id) => self.leave_out(id, &harmless(line)),
                // Something that is mounted there, say.
                About::Other => {}
                About::All => return Err(bad(shown(line.as_bytes()))),
            }
        }
        // A signal ends it with another code than 1, and without a word: then files are missing.
        if code > 1 || (code == 1 && lines.count() == 0) {
            return Err(bad(format!("`find` ended with exit code {code}")));
        }
        let statepoint = RelPath::of(STATEPOINT_FILE);
        for (id, mut entries) in std::mem::take(&mut self.jobs) {
            entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            if entries.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err(bad(format!("a file of {id} is there twice")));
            }
            let job = JobTree { id, entries };
            if self.out.contains(&id) {
                continue;
            }
            if let Some(path) = is_below_none(&job) {
                return Err(bad(format!(
                    "`{id}/{}` is below what is no directory",
                    harmless(path)
                )));
            }
            match job.get(&statepoint).is_some_and(Entry::is_file) {
                true => self.listing.tree.jobs.push(job),
                false => self.leave_out(id, "it has no state point file"),
            }
        }
        self.listing.left_out = std::mem::take(&mut self.out).into_iter().collect();
        self.listing.problems.sort();
        Ok(self.listing)
    }
}

/// Of a path that is too long, so much is shown.
const SHOWN_BYTES: usize = 100;

/// Tells a path that is only too long from one that could lead out of its job.
fn is_too_long(path: &[u8]) -> bool {
    let is_part = |part: &[u8]| !part.is_empty() && part != b"." && part != b"..";
    !path.contains(&0) && path.split(|b| *b == b'/').all(is_part)
}

/// Returns an entry that is below something that is not there, or no directory.
fn is_below_none(job: &JobTree) -> Option<&RelPath> {
    let mut known = None;
    let mut paths = job.entries.iter().map(|(path, _)| path);
    paths.find(|path| {
        let Some(parent) = path.parent() else {
            return false;
        };
        if known.as_ref() == Some(&parent) {
            return false;
        }
        let is_dir = job.get(&parent).is_some_and(Entry::is_dir);
        known = Some(parent);
        !is_dir
    })
}

/// What find(1) complains of.
enum About {
    Job(JobId),
    /// Nothing that is synced.
    Other,
    All,
}

fn complaint_about(line: &str) -> About {
    let path = line
        .strip_prefix("find: '")
        .or(line.strip_prefix("find: `"));
    let Some(below) = path.and_then(|path| path.strip_prefix("workspace/")) else {
        return About::All;
    };
    let name = below.split(['/', '\'']).next().unwrap_or_default();
    name.parse().map_or(About::Other, About::Job)
}

#[cfg(test)]
mod tests;
