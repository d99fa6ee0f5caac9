//! Batch jobs that are taken back, held and released.

use super::bundle::Bundle;
use super::cluster::{Cluster, Clusters};
use super::follow::{change, forget_answer};
use crate::scheduler::{Scheduler, Trouble};
use crate::workflow::record::now;
use crate::workspace::Workspace;
use std::collections::{BTreeMap, BTreeSet};

/// One execution of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLine<'a> {
    /// The submission.
    pub bundle: &'a Bundle,
    /// The execution, by its number.
    pub execution: u32,
}

impl<'a> BatchLine<'a> {
    fn element(&self) -> (&'a str, u32) {
        (&self.bundle.name, self.bundle.element(self.execution))
    }
}

/// What came of cancelling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cancelled {
    /// How many executions were given back, or are being ended.
    pub n_cancelled: usize,
    /// How many go on: they have begun in batch jobs that have other executions, too.
    pub n_left: usize,
    /// What could not be recorded.
    pub troubles: Vec<String>,
}

/// Cancels executions: gives back those that have not begun, so that they will not, and has the
/// scheduler end the batch jobs all of whose executions are chosen.
///
/// # Errors
///
/// Fails if the scheduler does not do it; what has not begun is given back all the same.
pub fn cancel(
    workspace: &Workspace,
    clusters: &Clusters,
    chosen: &[BatchLine<'_>],
) -> Result<Cancelled, Trouble> {
    let mut cancelled = Cancelled::default();
    let mut withdrawn: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    let ended = whole(chosen);
    for line in chosen {
        let BatchLine { bundle, execution } = line;
        let mut was_queued = false;
        let changed = change(workspace, bundle, *execution, |record| {
            was_queued = record.is_queued_by(&bundle.name);
            if was_queued {
                record.withdraw("cancelled", &now());
            }
        });
        cancelled.troubles.extend(changed.err());
        if was_queued {
            let of_bundle = withdrawn.entry(&bundle.name).or_default();
            of_bundle.push(*execution);
        }
        match was_queued || ended.contains(&line.element()) {
            true => cancelled.n_cancelled += 1,
            false => cancelled.n_left += 1,
        }
    }
    let is_ended = |line: &&BatchLine<'_>| ended.contains(&line.element());
    let lines: Vec<_> = chosen.iter().filter(is_ended).copied().collect();
    for (cluster, ids) in by_cluster(clusters, &lines)? {
        forget_answer(workspace, cluster.name());
        cluster.scheduler.cancel(&ids)?;
    }
    for (name, executions) in withdrawn {
        let noted = Bundle::update(workspace, name, |note| note.closed.extend(executions));
        cancelled.troubles.extend(noted.err());
    }
    Ok(cancelled)
}

/// Returns the elements all of whose executions that have not ended are chosen.
fn whole<'a>(chosen: &[BatchLine<'a>]) -> BTreeSet<(&'a str, u32)> {
    let mut of_element: BTreeMap<(&str, u32), (&Bundle, BTreeSet<u32>)> = BTreeMap::new();
    for BatchLine { bundle, execution } in chosen {
        let key = (bundle.name.as_str(), bundle.element(*execution));
        let (_, executions) = of_element
            .entry(key)
            .or_insert_with(|| (bundle, BTreeSet::new()));
        executions.insert(*execution);
    }
    let is_whole = |((_, element), (bundle, executions)): &(_, (&Bundle, BTreeSet<u32>))| {
        let mut all = bundle.of_element(*element);
        all.all(|execution| executions.contains(&execution) || bundle.closed.contains(&execution))
    };
    let whole = of_element.into_iter().filter(is_whole);
    whole.map(|(key, _)| key).collect()
}

/// Has batch jobs that have not begun wait until they are released; returns how many.
///
/// # Errors
///
/// Fails if the scheduler does not do it.
pub fn hold(
    workspace: &Workspace,
    clusters: &Clusters,
    chosen: &[BatchLine<'_>],
) -> Result<usize, Trouble> {
    each_cluster(workspace, clusters, chosen, |scheduler, ids| {
        scheduler.hold(ids)
    })
}

/// Lets batch jobs begin that are held; returns how many.
///
/// # Errors
///
/// Fails if the scheduler does not do it.
pub fn release(
    workspace: &Workspace,
    clusters: &Clusters,
    chosen: &[BatchLine<'_>],
) -> Result<usize, Trouble> {
    each_cluster(workspace, clusters, chosen, |scheduler, ids| {
        scheduler.release(ids)
    })
}

fn each_cluster(
    workspace: &Workspace,
    clusters: &Clusters,
    chosen: &[BatchLine<'_>],
    change: impl Fn(&dyn Scheduler, &[String]) -> Result<(), Trouble>,
) -> Result<usize, Trouble> {
    let mut n = 0;
    for (cluster, ids) in by_cluster(clusters, chosen)? {
        forget_answer(workspace, cluster.name());
        change(cluster.scheduler.as_ref(), &ids)?;
        n += ids.len();
    }
    Ok(n)
}

/// Returns the ids of batch jobs that the scheduler of each cluster knows.
fn by_cluster<'c>(
    clusters: &'c Clusters,
    chosen: &[BatchLine<'_>],
) -> Result<Vec<(&'c Cluster, Vec<String>)>, Trouble> {
    let mut ids: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for BatchLine { bundle, execution } in chosen {
        let of_cluster = ids.entry(&bundle.cluster).or_default();
        of_cluster.extend(bundle.batch_id(*execution));
        // Executions of one element follow each other.
        of_cluster.dedup();
    }
    let known = ids
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(name, ids)| {
            let unknown = || Trouble(format!("no cluster is called `{name}`"));
            Ok((clusters.get(name).ok_or_else(unknown)?, ids))
        });
    known.collect()
}
