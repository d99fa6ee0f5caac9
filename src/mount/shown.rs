//! What a mount shows, and how.

use crate::catalog::Store;
use crate::config::{LeafStyle, ProjectConfig};
use crate::workflow::Flow;
use crate::workspace::Workspace;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a mount shows, as the user asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The one tree that is served at the root; all of them if `None`.
    pub tree: Option<String>,
    /// Whether there is a tree `by`.
    pub by: bool,
    /// What the end of a path is, unless a named view says otherwise.
    pub leaf: LeafStyle,
    /// Whether directories of one job have extended attributes.
    pub xattr: bool,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            tree: None,
            by: true,
            leaf: LeafStyle::Link,
            xattr: false,
        }
    }
}

/// What the trees are made of, besides the jobs.
#[derive(Clone, Debug)]
pub struct Served {
    /// Where the jobs are; links lead into its directory, which must be absolute.
    pub workspace: Workspace,
    /// Where what is known of documents is kept.
    pub store: Option<Store>,
    /// What is shown.
    pub shown: Shown,
    /// Named views and labels.
    pub config: ProjectConfig,
    /// What can change without notice, documents and files say, is looked at again after this time.
    pub moment: Duration,
}

/// How long answers about what can change without notice are good.
pub const MOMENT: Duration = Duration::from_millis(300);

/// How long answers of commands in conditions are good: looking around must not run them all the
/// time.
const TESTS_MEMORY: Duration = Duration::from_secs(10);

impl Served {
    /// What a workspace shows by default.
    pub fn new(workspace: &Workspace) -> Self {
        Self {
            workspace: workspace.clone(),
            store: None,
            shown: Shown::default(),
            config: ProjectConfig::default(),
            moment: MOMENT,
        }
    }

    /// Returns the names of all trees.
    pub(super) fn trees(&self) -> Vec<String> {
        let fixed = ["view", "status", "label", "id", "by"].map(ToOwned::to_owned);
        let views = self.config.views.keys().filter(|name| *name != "default");
        fixed.into_iter().chain(views.cloned()).collect()
    }

    /// Returns the source of labels and flow states.
    pub(super) fn flow(&self) -> Flow {
        Flow::new(
            &self.workspace,
            self.store.clone(),
            &self.config,
            TESTS_MEMORY,
        )
    }
}
