//! Batch jobs that are taken back.

use super::bundle::Bundle;
use super::cluster::{Cluster, Clusters};
use super::follow::{change, forget_answer};
use crate::scheduler::Trouble;
use crate::workflow::record::now;
use crate::workspace::Workspace;
use std::collections::BTreeMap;

/// One element of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLine<'a> {
    /// The submission.
    pub bundle: &'a Bundle,
    /// The element.
    pub element: u32,
}

/// Cancels batch jobs: gives back those that have not begun, so that they will not, and has the
/// scheduler end them all. Returns what could not be recorded.
///
/// # Errors
///
/// Fails if the scheduler does not do it; what has not begun is given back all the same.
pub fn cancel(
    workspace: &Workspace,
    clusters: &Clusters,
    chosen: &[BatchLine<'_>],
) -> Result<Vec<String>, Trouble> {
    let mut troubles = Vec::new();
    let mut withdrawn: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for BatchLine { bundle, element } in chosen {
        let mut was_queued = false;
        let changed = change(workspace, bundle, *element, |record| {
            was_queued = record.is_queued_by(&bundle.name);
            if was_queued {
                record.withdraw("cancelled", &now());
            }
        });
        troubles.extend(changed.err());
        if was_queued {
            withdrawn.entry(&bundle.name).or_default().push(*element);
        }
    }
    for (cluster, ids) in by_cluster(clusters, chosen)? {
        forget_answer(workspace, cluster.name());
        cluster.scheduler.cancel(&ids)?;
    }
    for (name, elements) in withdrawn {
        troubles.extend(Bundle::update(workspace, name, |note| note.closed.extend(elements)).err());
    }
    Ok(troubles)
}

/// Returns the ids of batch jobs that the scheduler of each cluster knows.
fn by_cluster<'c>(
    clusters: &'c Clusters,
    chosen: &[BatchLine<'_>],
) -> Result<Vec<(&'c Cluster, Vec<String>)>, Trouble> {
    let mut ids: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for BatchLine { bundle, element } in chosen {
        let of_cluster = ids.entry(&bundle.cluster).or_default();
        of_cluster.extend(bundle.batch_id(*element));
    }
    let known = ids.into_iter().map(|(name, ids)| {
        let unknown = || Trouble(format!("no cluster is called `{name}`"));
        Ok((clusters.get(name).ok_or_else(unknown)?, ids))
    });
    known.collect()
}
