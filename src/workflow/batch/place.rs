//! In which partition of a cluster something fits, and what it pays there.

use crate::config::{ClusterConfig, PartitionConfig};
use crate::scheduler::Needs;

/// Where batch jobs go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The partition; `None` is what the cluster takes.
    pub partition: Option<String>,
    /// On how many nodes each runs, if that is known.
    pub nodes: Option<u32>,
    /// The cores that each pays.
    pub paid_cores: u32,
    /// The GPUs that each pays.
    pub paid_gpus: u32,
}

/// Finds the partition for batch jobs: the one that is named, or else the first of those that the
/// cluster's description has in which they fit. One with GPUs is taken only by who needs some.
///
/// # Errors
///
/// Fails, with the reason for each partition, if they fit in none.
pub fn place(cluster: &ClusterConfig, needs: &Needs, named: Option<&str>) -> Result<Place, String> {
    let all = &cluster.partitions;
    if let Some(name) = named.or(cluster.partition.as_deref()) {
        let Some(partition) = all.iter().find(|partition| partition.name == name) else {
            return Ok(Place {
                partition: Some(name.to_owned()),
                ..anywhere(needs)
            });
        };
        return fit(partition, needs)
            .map_err(|reason| format!("the partition `{name}` cannot take it: {reason}"));
    }
    let mut reasons = Vec::new();
    for partition in all {
        let has_gpus = partition.gpus_per_node.is_some_and(|n| n > 0);
        let fits = match () {
            () if partition.only_if_named => Err("is taken only if it is named".to_owned()),
            () if has_gpus && needs.gpus == 0 => Err("is for those who need GPUs".to_owned()),
            () => fit(partition, needs),
        };
        match fits {
            Ok(place) => return Ok(place),
            Err(reason) => reasons.push(format!("`{}` {reason}", partition.name)),
        }
    }
    match reasons.is_empty() {
        true => Ok(anywhere(needs)),
        false => Err(format!(
            "no partition of `{}` can take it: {}",
            cluster.name,
            reasons.join(", ")
        )),
    }
}

/// What is known without the sizes of partitions.
fn anywhere(needs: &Needs) -> Place {
    Place {
        partition: None,
        nodes: None,
        paid_cores: needs.cores(),
        paid_gpus: needs.gpus,
    }
}

/// Writes a time with the largest unit in which it is exact: `1.5 h`, `5 min`, `90 s`.
pub fn time_text(time_s: u64) -> String {
    match time_s {
        3600.. if time_s.is_multiple_of(360) => format!("{:.1} h", time_s as f64 / 3600.0),
        _ if time_s.is_multiple_of(60) => format!("{} min", time_s / 60),
        _ => format!("{time_s} s"),
    }
}

fn fit(partition: &PartitionConfig, needs: &Needs) -> Result<Place, String> {
    let above =
        |what: &str, needed: u64, limit: u64| Err(format!("has {limit} {what}, not {needed}"));
    if let Some(max) = partition.cores_max.filter(|max| needs.cores() > *max) {
        return above("cores for a batch job", needs.cores().into(), max.into());
    }
    if let (Some(walltime_s), Some(max_s)) = (needs.walltime_s, partition.walltime_max_s)
        && walltime_s > max_s
    {
        let (wanted, max) = (time_text(walltime_s), time_text(max_s));
        return Err(format!("lets a batch job run for {max}, not {wanted}"));
    }
    if needs.gpus > 0 && partition.gpus_per_node == Some(0) {
        return Err("has no GPUs".to_owned());
    }
    let mut nodes = None;
    if let Some(cores) = partition.cores_per_node {
        let processes = cores / needs.threads;
        if processes == 0 {
            return above("cores on a node", needs.threads.into(), cores.into());
        }
        nodes = Some(needs.processes.div_ceil(processes));
    }
    if let Some(gpus) = partition.gpus_per_node.filter(|gpus| *gpus > 0) {
        let for_gpus = needs.gpus.div_ceil(gpus).max(1);
        // A process is on one node.
        if for_gpus > needs.processes {
            let max = u64::from(gpus) * u64::from(needs.processes);
            let what = "GPUs for so few processes";
            return above(what, needs.gpus.into(), max);
        }
        nodes = nodes.max(Some(for_gpus));
    }
    if let (Some(wanted), Some(bytes)) = (needs.memory_bytes, partition.memory_per_node_bytes) {
        let has = bytes.saturating_mul(nodes.unwrap_or(1).into());
        if wanted > has {
            return above("MiB of memory", wanted >> 20, has >> 20);
        }
    }
    let whole = nodes.filter(|_| partition.whole_nodes);
    let paid = |per_node: Option<u32>, used: u32| match (whole, per_node) {
        (Some(nodes), Some(per_node)) => nodes.saturating_mul(per_node),
        _ => used,
    };
    Ok(Place {
        partition: Some(partition.name.clone()),
        nodes,
        paid_cores: paid(partition.cores_per_node, needs.cores()),
        paid_gpus: paid(partition.gpus_per_node, needs.gpus),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterConfig {
        let partition = |name: &str, cores, gpus| PartitionConfig {
            name: name.to_owned(),
            cores_per_node: Some(cores),
            gpus_per_node: Some(gpus),
            walltime_max_s: Some(48 * 3600),
            memory_per_node_bytes: Some(64 << 30),
            ..PartitionConfig::default()
        };
        let shared = PartitionConfig {
            cores_max: Some(16),
            ..partition("shared", 16, 0)
        };
        let whole = PartitionConfig {
            whole_nodes: true,
            ..partition("whole", 16, 0)
        };
        let debug = PartitionConfig {
            only_if_named: true,
            walltime_max_s: Some(1800),
            ..partition("debug", 16, 0)
        };
        ClusterConfig {
            name: "hera".to_owned(),
            partitions: vec![debug, shared, whole, partition("gpu", 8, 4)],
            ..ClusterConfig::default()
        }
    }

    fn needs(processes: u32, threads: u32, gpus: u32) -> Needs {
        Needs {
            processes,
            threads,
            gpus,
            memory_bytes: None,
            walltime_s: Some(3600),
        }
    }

    #[track_caller]
    fn check(needs: Needs, named: Option<&str>, expected: Result<(&str, u32, u32, u32), &str>) {
        let found = place(&cluster(), &needs, named);
        let found = found.as_ref().map_err(String::as_str).map(|place| {
            let partition = place.partition.as_deref().unwrap_or_default();
            let nodes = place.nodes.unwrap_or_default();
            (partition, nodes, place.paid_cores, place.paid_gpus)
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn the_first_partition_is_taken_in_which_it_fits() {
        check(needs(2, 4, 0), None, Ok(("shared", 1, 8, 0)));
        check(needs(17, 1, 0), None, Ok(("whole", 2, 32, 0)));
        // Processes are not divided: two of six cores fit on a node of 16.
        check(needs(3, 6, 0), None, Ok(("whole", 2, 32, 0)));
        check(needs(1, 1, 1), None, Ok(("gpu", 1, 1, 1)));
        check(needs(2, 1, 6), None, Ok(("gpu", 2, 2, 6)));
        // A process uses the GPUs of its node only.
        check(
            needs(1, 1, 6),
            Some("gpu"),
            Err("the partition `gpu` cannot take it: has 4 GPUs for so few processes, not 6"),
        );
        check(
            needs(1, 32, 0),
            None,
            Err(
                "no partition of `hera` can take it: `debug` is taken only if it is named, \
                 `shared` has 16 cores for a batch job, not 32, `whole` has 16 cores on a node, not 32, \
                 `gpu` is for those who need GPUs",
            ),
        );
    }

    #[test]
    fn times_are_told_exactly() {
        let times = [45, 90, 300, 3600, 5400, 86_460, 172_800].map(time_text);
        let expected = [
            "45 s", "90 s", "5 min", "1.0 h", "1.5 h", "1441 min", "48.0 h",
        ];
        assert_eq!(times, expected);
    }

    #[test]
    fn a_named_partition_is_checked() {
        let short = Needs {
            walltime_s: Some(600),
            ..needs(1, 1, 0)
        };
        check(short, Some("debug"), Ok(("debug", 1, 1, 0)));
        check(
            needs(1, 1, 0),
            Some("debug"),
            Err("the partition `debug` cannot take it: lets a batch job run for 30 min, not 1.0 h"),
        );
        check(
            needs(1, 1, 1),
            Some("shared"),
            Err("the partition `shared` cannot take it: has no GPUs"),
        );
        let large = Needs {
            memory_bytes: Some(65 << 30),
            ..needs(1, 1, 0)
        };
        check(
            large,
            Some("whole"),
            Err("the partition `whole` cannot take it: has 65536 MiB of memory, not 66560"),
        );
        // What is not described is left to the scheduler.
        check(needs(1, 64, 9), Some("other"), Ok(("other", 0, 64, 9)));
        let unknown = place(&ClusterConfig::default(), &needs(2, 2, 0), None);
        assert_eq!(unknown.map(|place| place.partition), Ok(None));
    }
}
