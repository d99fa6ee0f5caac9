//! Other copies of the project: `[remote.NAME]` in `sweepfs.toml`.

use super::source::{Fault, Item, Key, Read, Source, in_order, string, strings, table, unknown};

/// Another copy of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteConfig {
    /// Where it is: a path, or `host:path`.
    pub url: String,
    /// The `rsync` there; `None` is that of its `PATH`.
    pub rsync: Option<String>,
    /// The `ssh` that leads there, with options; `None` is `ssh`.
    pub ssh: Option<String>,
    /// Files that are not synced with it, as patterns.
    pub exclude: Vec<String>,
}

const KEYS: [&str; 4] = ["url", "rsync", "ssh", "exclude"];

impl<'a> Source<'a> {
    pub(super) fn remote(&self, name: &Key<'a>, item: &Item<'a>) -> Read<RemoteConfig> {
        let section = format!("remote.{}", name.get_ref());
        let mut remote = RemoteConfig::default();
        for (key, item) in in_order(table(&section, item)?) {
            match key.get_ref().as_ref() {
                "url" => remote.url = string("url", item)?.to_owned(),
                "rsync" => remote.rsync = Some(string("rsync", item)?.to_owned()),
                "ssh" => remote.ssh = Some(string("ssh", item)?.to_owned()),
                "exclude" => {
                    for (text, item) in strings("exclude", item)? {
                        glob::Pattern::new(text).map_err(|error| {
                            Fault::new(
                                item.span(),
                                format!("`{text}` is no pattern: {}", error.msg),
                            )
                        })?;
                        remote.exclude.push(text.to_owned());
                    }
                }
                other => return Err(unknown(key, "key", other, &KEYS, &KEYS)),
            }
        }
        match remote.url.is_empty() {
            true => {
                let fault = Fault::new(
                    name.span(),
                    format!("the remote `{}` has no `url`", name.get_ref()),
                );
                Err(fault
                    .with_hint("write `url = \"host:path\"`, or a path on this machine".to_owned()))
            }
            false => Ok(remote),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, ProjectConfig};
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> Result<ProjectConfig, ConfigError> {
        ProjectConfig::parse(text, Path::new("sweepfs.toml"))
    }

    #[test]
    fn remotes_are_read() {
        let text = "[remote.hal]\nurl = 'hal:work'\nexclude = ['*.tmp', 'cache']\n[remote.disk]\nurl = '/mnt'";
        let remotes = parse(text).expect("sound").remotes;
        let hal = RemoteConfig {
            url: "hal:work".into(),
            exclude: vec!["*.tmp".into(), "cache".into()],
            ..RemoteConfig::default()
        };
        assert_eq!(
            (&remotes["hal"], remotes["disk"].url.as_str()),
            (&hal, "/mnt")
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            (
                "[remote.a]",
                "line 1, column 9: the remote `a` has no `url`",
            ),
            ("[remote.a]\nurl = 1", "`url` must be a string"),
            (
                "[remote.a]\nurl = 'x'\nexclude = 'a[' ",
                "line 3, column 11: `a[` is no pattern",
            ),
            ("[remote.a]\nurI = 'x'", "unknown key `urI`"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
