//! Where a remote is.

use std::fmt;
use std::path::PathBuf;

/// Where a data space is: on this machine, or on one that `ssh` leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A directory on this machine.
    Here(PathBuf),
    /// A directory on another machine.
    There {
        /// What `ssh` calls the machine, perhaps with a user: `user@host`.
        host: String,
        /// The directory there; relative to the home directory.
        path: String,
    },
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address; write `host:path` or a path")]
pub struct BadAddress(String);

impl Address {
    /// Reads `host:path`, or else a path. A path with a colon is told from a host by a slash before
    /// that, as in `./a:b`.
    ///
    /// # Errors
    ///
    /// Fails if the host is empty or would be taken for an option.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        if text.is_empty() || text.contains(char::is_control) {
            return Err(bad());
        }
        // The colons of an address in brackets are its own.
        let from = match text.rfind("]:") {
            Some(at) if text.contains('[') => at + 1,
            _ => 0,
        };
        let Some(at) = text[from..].find(':').map(|at| from + at) else {
            return Ok(Self::Here(text.into()));
        };
        let (host, path) = (&text[..at], &text[at + 1..]);
        if host.contains('/') {
            return Ok(Self::Here(text.into()));
        }
        // A path such as `//host/dir` is a scheme in front of a slash: `ssh://host/dir`.
        if host.is_empty() || host.starts_with('-') || path.starts_with("//") {
            return Err(bad());
        }
        let host = host.replace(['[', ']'], "");
        let below_home = match path {
            "~" => "",
            path => path.strip_prefix("~/").unwrap_or(path),
        };
        Ok(Self::There {
            host,
            path: below_home.to_owned(),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(path) => write!(f, "{}", path.display()),
            Self::There { host, path } => write!(f, "{host}:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_paths() {
        let there = |host: &str, path: &str| {
            Ok(Address::There {
                host: host.into(),
                path: path.into(),
            })
        };
        let here = |path: &str| Ok(Address::Here(path.into()));
        for (text, expected) in [
            ("gl:sweeps/rocket", there("gl", "sweeps/rocket")),
            ("me@gl.edu:/scratch/me", there("me@gl.edu", "/scratch/me")),
            ("gl:~/a b", there("gl", "a b")),
            ("gl:", there("gl", "")),
            ("gl:~", there("gl", "")),
            ("me@[::1]:x:y", there("me@::1", "x:y")),
            ("../copy", here("../copy")),
            ("/a:b", here("/a:b")),
            ("./a:b", here("./a:b")),
            ("copy", here("copy")),
        ] {
            assert_eq!(Address::parse(text), expected, "{text}");
        }
        for text in ["", ":x", "-oProxyCommand=x:y", "ssh://gl/x", "a\nb:c"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
