//! Other copies of the project.

use super::quantity::Wrong;
use super::source::{
    Fault, Item, Key, Read, Source, flag, in_order, string, strings, table, unknown,
};

/// A copy of the project somewhere else, `[remote.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteConfig {
    /// Where it is: `host:path`, or a path from the project's directory.
    pub url: String,
    /// The program `ssh` and its first arguments; empty is `ssh`.
    pub ssh: Vec<String>,
    /// The program `rsync` there, as a shell finds it.
    pub rsync: Option<String>,
    /// Patterns of files that are not synced with it.
    pub exclude: Vec<String>,
    /// What may be sent at most, in the words of `rsync`: `10m` is 10 MiB a second.
    pub bandwidth: Option<String>,
    /// Whether what is sent is compressed.
    pub compress: bool,
}

const REMOTE_KEYS: [&str; 6] = ["url", "ssh", "rsync", "exclude", "bandwidth", "compress"];

impl<'a> Source<'a> {
    pub(super) fn remote(&self, name: &Key<'a>, item: &Item<'a>) -> Read<RemoteConfig> {
        let mut remote = RemoteConfig::default();
        let texts = |key: &str, item: &Item<'a>| -> Read<Vec<String>> {
            let texts = strings(key, item)?.into_iter();
            Ok(texts.map(|(text, _)| text.to_owned()).collect())
        };
        for (key, item) in in_order(table(&format!("remote.{}", name.get_ref()), item)?) {
            match key.get_ref().as_ref() {
                "url" => remote.url = string("url", item)?.to_owned(),
                "ssh" => remote.ssh = texts("ssh", item)?,
                "rsync" => remote.rsync = Some(string("rsync", item)?.to_owned()),
                "exclude" => remote.exclude = patterns(item)?,
                "bandwidth" => remote.bandwidth = Some(bandwidth(item)?),
                "compress" => remote.compress = flag("compress", item)?,
                other => return Err(unknown(key, "key", other, &REMOTE_KEYS, &REMOTE_KEYS)),
            }
        }
        match remote.url.is_empty() {
            true => Err(Fault::new(name.span(), "the remote has no `url`")
                .with_hint("`url = \"host:path\"` says where it is".to_owned())),
            false => Ok(remote),
        }
    }
}

fn patterns(item: &Item<'_>) -> Read<Vec<String>> {
    let pattern = |(text, item): (&str, &Item<'_>)| {
        glob::Pattern::new(text).map_err(|error| {
            let message = format!("`{text}` is no pattern: {}", error.msg);
            Fault::new(item.span(), message)
        })?;
        Ok(text.to_owned())
    };
    strings("exclude", item)?.into_iter().map(pattern).collect()
}

/// Reads a number of bytes with a unit of `rsync`'s.
fn bandwidth(item: &Item<'_>) -> Read<String> {
    let text = string("bandwidth", item)?;
    match bandwidth_bytes(text) {
        Ok(bytes) if bytes > 0.0 => Ok(text.to_owned()),
        _ => {
            let message = format!("`{text}` is no bandwidth");
            Err(Fault::new(item.span(), message).with_hint(BANDWIDTH_HINT.to_owned()))
        }
    }
}

const BANDWIDTH_HINT: &str = "`10m` is 10 MiB a second; there are `k`, `m` and `g`";

/// Reads a bandwidth in the words of `rsync`, in bytes a second; without a unit it is in KiB.
///
/// # Errors
///
/// Returns what is wrong, and what would be right.
pub fn bandwidth_bytes(text: &str) -> Result<f64, Wrong> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_bytes = match &text[digits.len()..] {
        "" | "k" | "K" => 1024.0,
        "m" | "M" => 1024.0 * 1024.0,
        "g" | "G" => 1024.0 * 1024.0 * 1024.0,
        _ => f64::NAN,
    };
    let bytes = digits
        .parse::<f64>()
        .map_or(f64::NAN, |number| number * unit_bytes);
    match bytes.is_finite() && bytes >= 0.0 && !digits.starts_with('+') {
        true => Ok(bytes),
        false => Err(Wrong("is no bandwidth", BANDWIDTH_HINT)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ProjectConfig;
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> Result<ProjectConfig, String> {
        let config = ProjectConfig::parse(text, Path::new("sweepfs.toml"));
        config.map_err(|error| match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        })
    }

    #[test]
    fn remotes_are_read() {
        let text = "[remote.gl]\nurl = \"me@gl:sweeps/a b\"\nssh = [\"ssh\", \"-p\", \"22\"]\n\
                    rsync = \"/opt/rsync\"\nexclude = \"*.tmp\"\nbandwidth = \"1.5m\"\ncompress = true\n\
                    [remote.disk]\nurl = \"/mnt/disk/rocket\"";
        let config = parse(text).expect("sound");
        let gl = RemoteConfig {
            url: "me@gl:sweeps/a b".into(),
            ssh: ["ssh", "-p", "22"].map(str::to_owned).into(),
            rsync: Some("/opt/rsync".into()),
            exclude: vec!["*.tmp".into()],
            bandwidth: Some("1.5m".into()),
            compress: true,
        };
        assert_eq!(config.remotes["gl"], gl);
        assert_eq!(config.remotes["disk"].url, "/mnt/disk/rocket");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            (
                "[remote.a]\nulr = \"x\"",
                "line 2, column 1: unknown key `ulr`; did you mean `url`?",
            ),
            (
                "[remote.a]\ncompress = true",
                "line 1, column 9: the remote has no `url`; `url = \"host:path\"` says where it is",
            ),
            (
                "[remote.a]\nbandwidth = \"10x\"",
                "line 2, column 13: `10x` is no bandwidth; `10m` is 10 MiB a second; there are `k`, `m` and `g`",
            ),
            (
                "[remote.a]\nurl = 1",
                "line 2, column 7: `url` must be a string, not an integer",
            ),
            (
                "[remote.a]\nurl = 'x'\nexclude = 'a['",
                "line 3, column 11: `a[` is no pattern: invalid range pattern",
            ),
            (
                "remote = 1",
                "line 1, column 10: `remote` must be a table, not an integer; it begins with a line `[remote.NAME]`",
            ),
            (
                "[remote.\"a:b\"]",
                "line 1, column 9: `a:b` is no name for a remote: it has a `:`",
            ),
        ] {
            let expected = format!("`sweepfs.toml`, {expected}");
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }
}
