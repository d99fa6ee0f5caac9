//! How the remembered state is written, and what a sync has done.

use super::path::RelPath;
use super::state::Known;
use super::tree::{Content, Entry};

const FILE: u8 = 0;
const LINK: u8 = 1;
const DIR: u8 = 2;

/// Both sides are described by one entry.
const SAME: u8 = 1;
const HAS_TEXT: u8 = 2;
const OPEN: u8 = 4;

/// Seven bits a byte, the lowest first.
pub(super) fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

pub(super) fn push_bytes(bytes: &mut Vec<u8>, text: &[u8]) {
    push_number(bytes, text.len() as u64);
    bytes.extend(text);
}

pub(super) fn push_entry(bytes: &mut Vec<u8>, entry: &Entry) {
    match &entry.content {
        Content::File {
            size_bytes,
            modified,
        } => {
            bytes.push(FILE);
            push_number(bytes, *size_bytes);
            bytes.extend(modified.to_le_bytes());
        }
        Content::Link(text) => {
            bytes.push(LINK);
            push_bytes(bytes, text);
        }
        Content::Dir => bytes.push(DIR),
    }
    push_number(bytes, entry.mode.into());
}

pub(super) fn push_known(bytes: &mut Vec<u8>, known: &Known) {
    let is_same = known.local == known.remote;
    let flags = [
        (is_same, SAME),
        (known.text.is_some(), HAS_TEXT),
        (known.is_open, OPEN),
    ];
    let set = flags.iter().filter(|(is_set, _)| *is_set);
    bytes.push(set.map(|(_, flag)| flag).sum());
    push_entry(bytes, &known.local);
    if !is_same {
        push_entry(bytes, &known.remote);
    }
    if let Some(text) = &known.text {
        push_bytes(bytes, text);
    }
}

/// Reads what was written, and never beyond its end.
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let n = self.number()?;
        self.take(usize::try_from(n).ok()?)
    }

    pub(super) fn path(&mut self) -> Option<RelPath> {
        RelPath::new(self.bytes()?).ok()
    }

    pub(super) fn entry(&mut self) -> Option<Entry> {
        let content = match self.byte()? {
            FILE => Content::File {
                size_bytes: self.number()?,
                modified: i64::from_le_bytes(self.take(8)?.try_into().ok()?),
            },
            LINK => Content::Link(self.bytes()?.into()),
            DIR => Content::Dir,
            _ => return None,
        };
        let mode = u16::try_from(self.number()?).ok()?;
        Some(Entry { content, mode })
    }

    pub(super) fn known(&mut self) -> Option<Known> {
        let flags = self.byte()?;
        let local = self.entry()?;
        let remote = match flags & SAME {
            0 => self.entry()?,
            _ => local.clone(),
        };
        let text = match flags & HAS_TEXT {
            0 => None,
            _ => Some(self.bytes()?.into()),
        };
        Some(Known {
            local,
            remote,
            text,
            is_open: flags & OPEN != 0,
        })
    }
}
