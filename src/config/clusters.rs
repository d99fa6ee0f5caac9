//! Descriptions of clusters.

use std::collections::BTreeMap;

/// What is known of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterConfig {
    /// Its name.
    pub name: String,
    /// What it is spoken to with.
    pub scheduler: SchedulerKind,
    /// A pattern that the names of its hosts match.
    pub host: Option<String>,
    /// Who pays, unless the user says otherwise.
    pub account: Option<String>,
    /// Where batch jobs run, unless the user says otherwise.
    pub partition: Option<String>,
    /// More options of the scheduler, as they stand in its scripts.
    pub options: Vec<String>,
    /// Lines for the shell before all else.
    pub setup: Option<String>,
    /// A template of what starts the processes of an execution that has several.
    pub launcher: Option<String>,
    /// Cores of the machine that the queue `local` may use; `None` is all.
    pub cores: Option<u32>,
    /// Memory of the machine that the queue `local` may use; `None` is all.
    pub memory_bytes: Option<u64>,
    /// Its partitions, if they are known, the preferred one first.
    pub partitions: Vec<PartitionConfig>,
    /// How the scheduler `custom` is spoken to.
    pub custom: Option<CustomConfig>,
}

/// Which batch system a cluster has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchedulerKind {
    /// Slurm.
    #[default]
    Slurm,
}

/// What is known of a partition, or queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartitionConfig {
    /// Its name.
    pub name: String,
    /// Cores of each node.
    pub cores_per_node: Option<u32>,
    /// GPUs of each node; 0 is none.
    pub gpus_per_node: Option<u32>,
    /// Memory of each node.
    pub memory_per_node_bytes: Option<u64>,
    /// The cores that a batch job may use at most.
    pub cores_max: Option<u32>,
    /// The longest time.
    pub walltime_max_s: Option<u64>,
    /// Whether nodes are given as a whole, so that all their cores are paid.
    pub whole_nodes: bool,
    /// Whether it is only taken if the user names it.
    pub only_if_named: bool,
}

/// How a scheduler that we do not know is spoken to: templates of commands, and patterns of what
/// they print.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomConfig {
    /// Submits `{{ script }}`.
    pub submit: String,
    /// Finds the id in what that prints, as its first group.
    pub id: String,
    /// Lists batch jobs.
    pub list: String,
    /// Finds them in what that prints: the groups `id`, `name`, `state`, and perhaps `reason`.
    pub line: String,
    /// The words for each state: `queued`, `held`, `running`, `completed`, `failed`, `timeout`,
    /// `out_of_memory`, `cancelled`, `node_failed`.
    pub states: BTreeMap<String, Vec<String>>,
    /// Ends `{{ ids }}`.
    pub cancel: String,
    /// Holds `{{ ids }}`, if it can be done.
    pub hold: Option<String>,
    /// Releases `{{ ids }}`, if it can be done.
    pub release: Option<String>,
    /// What an array has at most; 1 is that there are none.
    pub elements_max: u32,
    /// The template of scripts.
    pub template: Option<String>,
}
