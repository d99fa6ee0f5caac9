//! `sweepfs diff`

use crate::catalog::{Facts, FactsError, KeyIndex};
use crate::cli::args::DiffArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::selection::Selection;
use crate::filter::Space;
use crate::pyjson::{Object, PyStr, Value, py_repr_of_leaves};
use crate::statepoint::{JobId, Key};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;

pub(in crate::cli) fn run(context: &Context<'_>, args: &DiffArgs) -> Result<Exit, CliError> {
    let selection = Selection::new(context, &args.selection, &[], &args.jobs)?;
    let workspace = context.workspace()?;
    let found = context.ask(&workspace, &selection, differences)?;
    for (id, difference) in found.answer {
        if args.json {
            let difference = difference.dumps();
            context.term.line(format_args!(
                "{{\"id\": \"{id}\", \"difference\": {difference}}}"
            ))?;
        } else {
            context.term.line(id)?;
            context.term.line(py_repr_of_leaves(&difference))?;
        }
    }
    Ok(found.exit)
}

/// Returns for each job what is not the same in all.
fn differences(
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
) -> Result<Vec<(JobId, Object)>, FactsError> {
    let mut differences = vec![Object::new(); jobs.len() as usize];
    let mut rows = vec![None; facts.n_jobs()];
    (0..)
        .zip(jobs)
        .for_each(|(row, job)| rows[job as usize] = Some(row));
    let mut below = BTreeMap::new();
    // Downwards, so that what lies below a key is known before the key.
    for key in facts.keys(Space::StatePoint, jobs)?.into_iter().rev() {
        let Some(index) = facts.key(Space::StatePoint, &key, jobs)? else {
            continue;
        };
        let parts = key.parts();
        let mut add = |job, value: &Value| {
            let row: Option<usize> = rows[job as usize];
            if let Some(row) = row {
                insert(&mut differences[row], &parts, value.clone());
            }
        };
        for entry in &index.values {
            if entry.jobs.n_common(jobs) < jobs.len() as usize {
                entry.jobs.iter().for_each(|job| add(job, &entry.value));
            }
        }
        let empty = empty_objects(&index, &mut below) & jobs;
        if empty.len() < jobs.len() {
            let value = Value::Object(Object::new());
            empty.iter().for_each(|job| add(job, &value));
        }
    }
    Ok(facts.ids(jobs)?.into_iter().zip(differences).collect())
}

/// Returns the jobs that have an object without keys at a key. `below` collects the jobs that have
/// anything below a key.
fn empty_objects(index: &KeyIndex, below: &mut BTreeMap<Key, RoaringBitmap>) -> RoaringBitmap {
    if let Some(parent) = index.key.parent() {
        let above = below.entry(parent).or_default();
        *above |= &index.objects;
        index
            .values
            .iter()
            .for_each(|entry| above.extend(entry.jobs.iter()));
    }
    &index.objects - below.remove(&index.key).unwrap_or_default()
}

/// Sets a nested key; what is in its way was set for another type of it and cannot be in one job.
fn insert(object: &mut Object, parts: &[PyStr], value: Value) {
    match parts {
        [] => {}
        [last] => object.insert(last.clone(), value),
        [first, rest @ ..] => {
            if !matches!(object.get(first), Some(Value::Object(_))) {
                object.insert(first.clone(), Value::Object(Object::new()));
            }
            if let Some(Value::Object(inner)) = object.get_mut(first) {
                insert(inner, rest, value);
            }
        }
    }
}
