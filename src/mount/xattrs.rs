//! What is known of a job, as extended attributes of directories that lead to it alone.

use super::fs::FsError;
use super::places::At;
use crate::catalog::{Facts, FactsError, cell};
use crate::filter::Space;
use crate::report::with_causes;
use roaring::RoaringBitmap;

/// Returns `user.sweepfs.id`, `.sp.KEY`, `.doc.KEY` and `.status.OPERATION` of one job.
pub(super) fn of_job(at: &At<'_>, job: &RoaringBitmap) -> Result<Vec<(String, Vec<u8>)>, FsError> {
    let (now, age_max) = at.now();
    let question = |facts: &Facts<'_>| -> Result<Vec<(String, String)>, FactsError> {
        let ids = facts.ids(job)?.into_iter();
        let mut found: Vec<_> = ids.map(|id| ("id".to_owned(), id.to_string())).collect();
        for (space, prefix) in [(Space::StatePoint, "sp"), (Space::Document, "doc")] {
            for key in facts.keys(space, job)? {
                let column = facts.column(space, &key, job)?;
                if let Some(value) = column.get(0) {
                    found.push((format!("{prefix}.{key}"), cell(Some(value)).into_owned()));
                }
            }
        }
        for marks in at.flow.marks(facts, job)?.operations {
            let mut states = marks.states.iter();
            if let Some((state, _)) = states.find(|(_, jobs)| !jobs.is_disjoint(job)) {
                found.push((format!("status.{}", marks.name), state.name().to_owned()));
            }
        }
        Ok(found)
    };
    let asked = at
        .finder
        .live
        .ask(&at.generation.snapshot, now, age_max, question);
    let (found, _) = asked.map_err(|error| {
        tracing::warn!("{}", with_causes(&error));
        FsError::Io(None)
    })?;
    let named = found
        .into_iter()
        .map(|(name, value)| (format!("user.sweepfs.{name}"), value.into_bytes()));
    // Linux allows no longer names.
    Ok(named
        .filter(|(name, _)| name.len() <= XATTR_NAME_BYTES_MAX && !name.contains('\0'))
        .collect())
}

/// Linux's `XATTR_NAME_MAX`.
const XATTR_NAME_BYTES_MAX: usize = 255;
