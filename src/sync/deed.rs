//! What a sync does, item by item, as it is logged.

use super::codec::{self, Cursor};
use super::path::{Place, RelPath};
use super::plan::{Line, Plan, TextMerge, Totals};
use super::side::Whose;
use super::state::{Base, Known};
use super::tree::{Content, Entry};
use crate::fsx::TimeNs;
use crate::statepoint::JobId;
use crate::workflow::FLOW_FILE;
use crate::workspace::DOCUMENT_FILE;

const PUT: u8 = 0;
const JOB_MADE: u8 = 1;
const JOB_GONE: u8 = 2;
const MOVED: u8 = 3;
const KNOWN: u8 = 4;
const FINISHED: u8 = 5;
const PLANNED: u8 = 6;

/// The time of a file that will be that of its writing.
pub(super) const UNKNOWN_TIME: TimeNs = TimeNs::MIN;

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// What was at a place, and what is there now; `None` is nothing.
    Put {
        at: Whose,
        place: Place,
        before: Option<Entry>,
        after: Option<Entry>,
    },
    /// A job has arrived whole, of which that is known now.
    JobMade {
        at: Whose,
        id: JobId,
        entries: Vec<(RelPath, Known)>,
    },
    /// A job has gone to the trash, of which that was known.
    JobGone {
        at: Whose,
        id: JobId,
        entries: Vec<(RelPath, Known)>,
    },
    /// A file has another name in its job.
    Moved {
        at: Whose,
        place: Place,
        to: RelPath,
        entry: Entry,
    },
    /// What was known of a place, and what is known now.
    Known {
        place: Place,
        old: Option<Known>,
        new: Option<Known>,
    },
    /// The sync was not cut off.
    Finished,
    /// That is going to be done. Of what will be known of it only the old is told.
    Planned(Box<Self>),
}

impl Deed {
    /// Returns the side that was changed.
    pub(super) fn at(&self) -> Option<Whose> {
        match self {
            Self::Put { at, .. }
            | Self::JobMade { at, .. }
            | Self::JobGone { at, .. }
            | Self::Moved { at, .. } => Some(*at),
            _ => None,
        }
    }

    /// Adds it to how much was done on its side.
    pub(super) fn add_to(&self, totals: &mut Totals) {
        match self {
            Self::Put { after: None, .. } | Self::JobGone { .. } => totals.removed += 1,
            Self::Put {
                place,
                after: Some(after),
                ..
            } => {
                let is_text = [DOCUMENT_FILE, FLOW_FILE].map(str::as_bytes);
                match place.job.is_none() || is_text.contains(&place.path.as_bytes()) {
                    true => totals.texts += 1,
                    false => totals.files += 1,
                }
                totals.bytes += after.size_bytes();
            }
            Self::JobMade { at, entries, .. } => {
                totals.jobs += 1;
                totals.files += entries.len();
                let sizes = entries.iter().map(|(_, known)| known.at(*at).size_bytes());
                totals.bytes += sizes.sum::<u64>();
            }
            Self::Moved { .. } | Self::Known { .. } | Self::Finished | Self::Planned(_) => {}
        }
    }

    /// Returns it for people and programs.
    pub(super) fn line(&self) -> Option<Line> {
        Some(match self {
            Self::Put {
                at,
                place,
                before,
                after,
            } => {
                let action = match (before, after) {
                    (None, _) => "new",
                    (_, Some(_)) => "changed",
                    (_, None) => "delete",
                };
                Line {
                    bytes: after.as_ref().map_or(0, Entry::size_bytes),
                    ..Line::of(action, Some(*at), place)
                }
            }
            Self::JobMade { at, id, entries } => {
                let sizes = entries.iter().map(|(_, known)| known.at(*at).size_bytes());
                Line {
                    files: Some(entries.len()),
                    bytes: sizes.sum(),
                    ..Line::of_job("new job", *at, id)
                }
            }
            Self::JobGone { at, id, entries } => Line {
                files: Some(entries.len()),
                ..Line::of_job("delete job", *at, id)
            },
            Self::Moved { at, place, to, .. } => Line {
                reason: Some(format!("kept as `{to}`")),
                ..Line::of("keep", Some(*at), place)
            },
            _ => return None,
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Put {
                at,
                place,
                before,
                after,
            } => {
                bytes.extend([PUT, side(*at)]);
                push_place(&mut bytes, place);
                push_option(&mut bytes, before.as_ref(), codec::push_entry);
                push_option(&mut bytes, after.as_ref(), codec::push_entry);
            }
            Self::JobMade { at, id, entries } | Self::JobGone { at, id, entries } => {
                let is_made = matches!(self, Self::JobMade { .. });
                bytes.extend([if is_made { JOB_MADE } else { JOB_GONE }, side(*at)]);
                bytes.extend(id.as_bytes());
                codec::push_number(&mut bytes, entries.len() as u64);
                for (path, known) in entries {
                    codec::push_bytes(&mut bytes, path.as_bytes());
                    codec::push_known(&mut bytes, known);
                }
            }
            Self::Moved {
                at,
                place,
                to,
                entry,
            } => {
                bytes.extend([MOVED, side(*at)]);
                push_place(&mut bytes, place);
                codec::push_bytes(&mut bytes, to.as_bytes());
                codec::push_entry(&mut bytes, entry);
            }
            Self::Known { place, old, new } => {
                bytes.push(KNOWN);
                push_place(&mut bytes, place);
                push_option(&mut bytes, old.as_ref(), codec::push_known);
                push_option(&mut bytes, new.as_ref(), codec::push_known);
            }
            Self::Finished => bytes.push(FINISHED),
            Self::Planned(deed) => {
                bytes.push(PLANNED);
                bytes.extend(deed.to_bytes());
            }
        }
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if let Some(planned) = bytes.strip_prefix(&[PLANNED]) {
            let is_nested = planned.first() == Some(&PLANNED);
            return match is_nested {
                true => None,
                false => Some(Self::Planned(Box::new(Self::parse(planned)?))),
            };
        }
        let mut cursor = Cursor::new(bytes);
        let kind = cursor.byte()?;
        let read = &mut cursor;
        Some(match kind {
            PUT => Self::Put {
                at: whose(read)?,
                place: place(read)?,
                before: option(read, Cursor::entry)?,
                after: option(read, Cursor::entry)?,
            },
            JOB_MADE => Self::JobMade {
                at: whose(read)?,
                id: id(read)?,
                entries: entries(read)?,
            },
            JOB_GONE => Self::JobGone {
                at: whose(read)?,
                id: id(read)?,
                entries: entries(read)?,
            },
            MOVED => Self::Moved {
                at: whose(read)?,
                place: place(read)?,
                to: read.path()?,
                entry: read.entry()?,
            },
            KNOWN => Self::Known {
                place: place(read)?,
                old: option(read, Cursor::known)?,
                new: option(read, Cursor::known)?,
            },
            FINISHED => Self::Finished,
            _ => return None,
        })
    }
}

fn side(whose: Whose) -> u8 {
    u8::from(whose == Whose::Remote)
}

fn whose(cursor: &mut Cursor<'_>) -> Option<Whose> {
    match cursor.byte()? {
        0 => Some(Whose::Local),
        1 => Some(Whose::Remote),
        _ => None,
    }
}

fn push_place(bytes: &mut Vec<u8>, place: &Place) {
    push_option(bytes, place.job.as_ref(), |bytes, job| {
        bytes.extend(job.as_bytes());
    });
    codec::push_bytes(bytes, place.path.as_bytes());
}

fn place(cursor: &mut Cursor<'_>) -> Option<Place> {
    let job = option(cursor, id)?;
    let path = cursor.path()?;
    // The only file of a project itself is its document.
    (job.is_some() || path == Place::document().path).then_some(Place { job, path })
}

fn id(cursor: &mut Cursor<'_>) -> Option<JobId> {
    Some(JobId::from_bytes(cursor.take(16)?.try_into().ok()?))
}

fn entries(cursor: &mut Cursor<'_>) -> Option<Vec<(RelPath, Known)>> {
    let n = cursor.number()?;
    let mut found = Vec::new();
    for _ in 0..n {
        found.push((cursor.path()?, cursor.known()?));
    }
    Some(found)
}

fn push_option<T>(bytes: &mut Vec<u8>, value: Option<&T>, push: impl Fn(&mut Vec<u8>, &T)) {
    bytes.push(u8::from(value.is_some()));
    if let Some(value) = value {
        push(bytes, value);
    }
}

fn option<'a, T>(
    cursor: &mut Cursor<'a>,
    read: impl Fn(&mut Cursor<'a>) -> Option<T>,
) -> Option<Option<T>> {
    match cursor.byte()? {
        0 => Some(None),
        _ => read(cursor).map(Some),
    }
}

/// Returns what a plan will do, in its order, with what is known before of each place.
pub(super) fn planned(plan: &Plan, base: &Base) -> Vec<Deed> {
    let mut deeds = Vec::new();
    for rename in &plan.renames {
        deeds.push(Deed::Moved {
            at: Whose::Remote,
            place: rename.from.place.clone(),
            to: rename.to.clone(),
            entry: rename.from.before.clone(),
        });
    }
    let removed = |(at, removal): &(Whose, super::side::Removal)| Deed::Put {
        at: *at,
        place: removal.place.clone(),
        before: Some(removal.before.clone()),
        after: None,
    };
    deeds.extend(plan.clearings.iter().map(removed));
    for job in &plan.jobs {
        let known = |(path, source): &(RelPath, Entry)| {
            let known = Known {
                local: source.clone(),
                remote: source.clone(),
                text: None,
                is_open: false,
            };
            (path.clone(), known)
        };
        deeds.push(Deed::JobMade {
            at: job.to,
            id: job.copy.id,
            entries: job.copy.entries.iter().map(known).collect(),
        });
    }
    deeds.extend(plan.files.iter().map(|file| Deed::Put {
        at: file.to,
        place: file.copy.place.clone(),
        before: file.copy.before.clone(),
        after: Some(file.copy.source.clone()),
    }));
    deeds.extend(plan.texts.iter().flat_map(texts));
    deeds.extend(plan.removals.iter().map(removed));
    deeds.extend(plan.job_removals.iter().map(|(at, job)| Deed::JobGone {
        at: *at,
        id: job.id,
        entries: base.job(&job.id).to_vec(),
    }));
    let known: Vec<_> = deeds
        .iter()
        .flat_map(|deed| deed.known_before(base))
        .collect();
    deeds.extend(known);
    deeds
        .into_iter()
        .map(|deed| Deed::Planned(Box::new(deed)))
        .collect()
}

fn texts(merge: &TextMerge) -> impl Iterator<Item = Deed> {
    let sides = [(Whose::Local, &merge.local), (Whose::Remote, &merge.remote)];
    sides.into_iter().filter_map(|(at, text)| {
        let text = text.as_ref()?;
        Some(Deed::Put {
            at,
            place: text.place.clone(),
            before: text.before.clone(),
            after: Some(Entry {
                content: Content::File {
                    size_bytes: text.bytes.len() as u64,
                    modified: text.modified.unwrap_or(UNKNOWN_TIME),
                },
                mode: 0,
            }),
        })
    })
}

impl Deed {
    fn known_before(&self, base: &Base) -> Vec<Self> {
        let known = |place: Place| {
            let old = base.get(&place)?.clone();
            Some(Self::Known {
                place,
                old: Some(old),
                new: None,
            })
        };
        let places: Vec<_> = match self {
            Self::Put { place, .. } => vec![place.clone()],
            Self::JobMade { id, entries, .. } => {
                let paths = entries.iter().map(|(path, _)| path.clone());
                paths.map(|path| Place::of_job(*id, path)).collect()
            }
            // It is told with the deed, or the places get something new.
            _ => Vec::new(),
        };
        places.into_iter().filter_map(known).collect()
    }
}
