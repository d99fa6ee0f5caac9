//! What a mount shows, and how.

use crate::config::LeafStyle;
use serde::{Deserialize, Serialize};

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
