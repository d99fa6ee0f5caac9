//! Where executions are sent.

use crate::config::ClusterConfig;
use crate::scheduler::Scheduler;
use std::path::PathBuf;

/// A cluster that can be used.
#[derive(Debug)]
pub struct Cluster {
    /// Its description.
    pub config: ClusterConfig,
    /// Where it is described, the weightiest last; nowhere if only its scheduler is known.
    pub origins: Vec<String>,
    /// How it is spoken to.
    pub scheduler: Box<dyn Scheduler>,
    /// The project's own template of scripts for it: the path, and the text.
    pub template: Option<(PathBuf, String)>,
}

impl Cluster {
    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }
}

/// The clusters that are known, by their names.
#[derive(Debug, Default)]
pub struct Clusters(pub Vec<Cluster>);

impl Clusters {
    /// Returns the one of that name.
    pub fn get(&self, name: &str) -> Option<&Cluster> {
        self.0.iter().find(|cluster| cluster.name() == name)
    }
}
