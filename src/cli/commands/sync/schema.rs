//! What new jobs bring that no job of the other side has: keys, and types of values.

use crate::catalog::{Facts, FactsError, type_name};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::filter::Space;
use crate::statepoint::{JobId, Leaf, visit};
use crate::sync::{FoundText, LocalSide, Peer, Place, Plan, RelPath, Whose, verify};
use crate::term::Term;
use crate::workspace::STATEPOINT_FILE;
use roaring::RoaringBitmap;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// State points of at most so many jobs are read for it from the other side.
const READ_MAX: usize = 1000;

/// So many keys are named.
const SHOWN_MAX: usize = 10;

/// What is new to one side.
#[derive(Debug, Serialize)]
pub(super) struct NewKey {
    to: Whose,
    key: String,
    /// The names of the types in Python.
    types: BTreeSet<&'static str>,
    /// The side has the key with other types of values.
    is_known: bool,
}

/// Keys, and the types of their values.
type Types = BTreeMap<String, BTreeSet<&'static str>>;

/// Compares the state points of new jobs with those of the jobs of the side that gets them. A side
/// that has no jobs has nothing to compare with.
pub(super) fn new_keys(
    context: &Context<'_>,
    local: &LocalSide,
    peer: &dyn Peer,
    plan: &Plan,
    (n_here, n_there): (usize, usize),
) -> Result<Vec<NewKey>, CliError> {
    let new = |to: Whose| -> Vec<JobId> {
        let jobs = plan.jobs.iter().filter(|job| job.to == to && !job.is_back);
        jobs.map(|job| job.copy.id).collect()
    };
    let (to_here, to_there) = (new(Whose::Local), new(Whose::Remote));
    // What the others there have is known only if they are here, too.
    let is_known = to_here.len() <= READ_MAX && n_there + to_there.len() == n_here + to_here.len();
    let is_asked_here = n_here > 0 && !to_here.is_empty();
    let is_asked_there = n_there > 0 && !to_there.is_empty() && is_known;
    if !is_asked_here && !is_asked_there {
        return Ok(Vec::new());
    }
    let brought = types_there(peer, &to_here[..to_here.len().min(READ_MAX)])?;
    let asked = context
        .reader(local.workspace())?
        .ask(&context.term.progress(), |facts| {
            let positions = facts.positions(&to_there)?;
            let sent: RoaringBitmap = positions.into_iter().flatten().collect();
            let both = facts.all() - &sent;
            Ok((
                types(facts, &facts.all())?,
                types(facts, &sent)?,
                types(facts, &both)?,
            ))
        });
    let (here, sent, mut there) = asked?;
    for (key, types) in &brought {
        there.entry(key.clone()).or_default().extend(types);
    }
    let mut found = Vec::new();
    if is_asked_here {
        found.extend(difference(Whose::Local, brought, &here));
    }
    if is_asked_there {
        found.extend(difference(Whose::Remote, sent, &there));
    }
    Ok(found)
}

/// Says what is new, in a line or two.
pub(super) fn tell(term: &Term, name: &str, found: &[NewKey]) {
    for (to, is_known) in [
        (Whose::Local, false),
        (Whose::Local, true),
        (Whose::Remote, false),
        (Whose::Remote, true),
    ] {
        let keys = found
            .iter()
            .filter(|new| new.to == to && new.is_known == is_known);
        let keys = keys.map(|new| {
            let types: Vec<_> = new.types.iter().copied().collect();
            format!("{} ({})", new.key, types.join(", "))
        });
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() {
            continue;
        }
        let (verb, place) = match to {
            Whose::Local => ("brings", "here"),
            Whose::Remote => ("gets", "there"),
        };
        let what = match is_known {
            false => format!("keys that are new {place}"),
            true => format!("values of types that are new {place}"),
        };
        let n_more = keys.len().saturating_sub(SHOWN_MAX);
        let more = match n_more {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let keys = keys[..keys.len() - n_more].join(", ");
        term.note(format_args!("{name} {verb} {what}: {keys}{more}"));
    }
}

/// What some of the jobs here have.
fn types(facts: &Facts<'_>, jobs: &RoaringBitmap) -> Result<Types, FactsError> {
    let mut found = Types::new();
    for key in facts.keys(Space::StatePoint, jobs)? {
        let Some(index) = facts.key(Space::StatePoint, &key, jobs)? else {
            continue;
        };
        let values = index.values.iter();
        let values = values.filter(|entry| entry.jobs.n_common(jobs) > 0);
        let types: BTreeSet<_> = values.map(|entry| type_name(&entry.value)).collect();
        if !types.is_empty() {
            found.insert(key.to_string(), types);
        }
    }
    Ok(found)
}

/// What some of the jobs there have. Damaged state points are named elsewhere.
fn types_there(peer: &dyn Peer, ids: &[JobId]) -> Result<Types, CliError> {
    let mut found = Types::new();
    let Ok(file) = RelPath::new(STATEPOINT_FILE.as_bytes()) else {
        return Ok(found);
    };
    let places = ids.iter().map(|id| Place::of_job(*id, file.clone()));
    let texts = peer.read_many(&places.collect::<Vec<_>>())?;
    for (id, text) in ids.iter().zip(texts) {
        let FoundText::Text(bytes, _) = text else {
            continue;
        };
        let Ok(statepoint) = verify(id, &bytes) else {
            continue;
        };
        visit(statepoint.into_object(), &mut |key, leaf| {
            if let Leaf::Value(value) = leaf {
                let key = String::from_utf8_lossy(key).into_owned();
                found.entry(key).or_default().insert(type_name(&value));
            }
        });
    }
    Ok(found)
}

fn difference(to: Whose, brought: Types, known: &Types) -> impl Iterator<Item = NewKey> {
    brought.into_iter().filter_map(move |(key, types)| {
        let before = known.get(&key);
        let types = match before {
            Some(before) => types.difference(before).copied().collect(),
            None => types,
        };
        (!types.is_empty()).then(|| NewKey {
            to,
            is_known: before.is_some(),
            key,
            types,
        })
    })
}
