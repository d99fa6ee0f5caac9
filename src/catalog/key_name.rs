//! How users name keys.

use crate::filter::Space;
use crate::statepoint::Key;
use std::fmt;

/// A key as a user names it: of the state point, or with `doc.` of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    /// What has the key.
    pub space: Space,
    /// The key.
    pub key: Key,
}

impl KeyName {
    /// Reads the name of a key; any text is one.
    pub fn parse(name: &str) -> Self {
        let (space, key) = match (name.strip_prefix("doc."), name.strip_prefix("sp.")) {
            (Some(key), _) => (Space::Document, key),
            (None, Some(key)) => (Space::StatePoint, key),
            (None, None) => (Space::StatePoint, name),
        };
        Self {
            space,
            key: Key::parse(key),
        }
    }
}

/// Writes what [`KeyName::parse`] reads.
impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.to_string();
        match self.space {
            Space::Document => write!(f, "doc.{key}"),
            Space::StatePoint if key.starts_with("doc.") || key.starts_with("sp.") => {
                write!(f, "sp.{key}")
            }
            Space::StatePoint => f.write_str(&key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["a", "a.b", "doc.a", "doc.doc.a", "sp.doc.a", "sp.sp.a", ""] {
            assert_eq!(KeyName::parse(name).to_string(), name);
        }
        assert_eq!(KeyName::parse("sp.a").to_string(), "a");
    }
}
