//! `sweepfs.toml`, the project's own settings.

use super::ConfigError;
use super::clusters::ClusterConfig;
use super::operations::WorkflowConfig;
use super::remotes::RemoteConfig;
use super::source::{Item, Key, Read, Source, choice, in_order, string, table, unknown};
use crate::filter::Filter;
use crate::fsx;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// Name of the file, in the project's directory.
pub const PROJECT_FILE: &str = "sweepfs.toml";

/// What a project's `sweepfs.toml` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectConfig {
    /// The named views, `[view.NAME]`; `default` stands in place of the default path.
    pub views: BTreeMap<String, ViewConfig>,
    /// The labels, `[label]`: which jobs have each.
    pub labels: BTreeMap<String, Filter>,
    /// What is done with jobs.
    pub workflow: WorkflowConfig,
    /// The clusters, `[cluster.NAME]`.
    pub clusters: BTreeMap<String, ClusterConfig>,
    /// Other copies of the project, `[remote.NAME]`.
    pub remotes: BTreeMap<String, RemoteConfig>,
}

/// A named view.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ViewConfig {
    /// The path spec; `None` is the default path.
    pub path: Option<String>,
    /// Which jobs it shows; `None` is all.
    pub filter: Option<Filter>,
    /// How its leaves look; `None` is as the mount says.
    pub leaf: Option<LeafStyle>,
}

/// What the end of a path is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeafStyle {
    /// A link `job` to the job's directory.
    #[default]
    Link,
    /// The last directory itself is the link, where it would hold nothing but `job`.
    Collapsed,
    /// A directory `job`, the contents of the job's read-only.
    Dir,
}

/// The sections that are read.
const SECTIONS: [&str; 7] = [
    "view",
    "label",
    "operation",
    "group",
    "hooks",
    "cluster",
    "remote",
];

const VIEW_KEYS: [&str; 3] = ["path", "where", "leaf"];

/// Names of other entries beside the views.
pub(super) const RESERVED_VIEWS: [&str; 5] = ["by", "id", "status", "label", "view"];

impl ProjectConfig {
    /// Reads the file; without one, everything is as by default.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = match fsx::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            bytes => bytes?,
        };
        let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotText(path.to_owned()))?;
        Self::parse(&text, path)
    }

    /// Reads the text of a file; the path is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let source = Source::new(text);
        source.config().map_err(|fault| source.error(fault, path))
    }
}

impl<'a> Source<'a> {
    fn config(&self) -> Read<ProjectConfig> {
        let document = self.document()?;
        let mut config = ProjectConfig::default();
        for (section, item) in in_order(table("", &document)?) {
            match section.get_ref().as_ref() {
                "view" => config.views = self.entries(section, item, Self::view)?,
                "label" => config.labels = self.entries(section, item, Self::label)?,
                "operation" => config.workflow.operations = self.operations(item)?,
                "group" => config.workflow.groups = self.entries(section, item, Self::group)?,
                "cluster" => config.clusters = self.entries(section, item, Self::cluster)?,
                "hooks" => config.workflow.hooks = self.hooks("hooks", item)?,
                "remote" => config.remotes = self.entries(section, item, Self::remote)?,
                name => return Err(unknown(section, "section", name, &SECTIONS, &SECTIONS)),
            }
        }
        self.check_workflow(&config.workflow, &document)?;
        Ok(config)
    }

    fn view(&self, name: &Key<'a>, item: &Item<'a>) -> Read<ViewConfig> {
        let name = name.get_ref();
        let mut view = ViewConfig::default();
        for (key, item) in in_order(table(&format!("view.{name}"), item)?) {
            match key.get_ref().as_ref() {
                "path" => view.path = Some(string("path", item)?.to_owned()),
                "where" => view.filter = Some(self.filter("where", item)?),
                "leaf" => view.leaf = Some(choice("leaf style", item, &LEAF_STYLES)?),
                other => return Err(unknown(key, "key", other, &VIEW_KEYS, &VIEW_KEYS)),
            }
        }
        Ok(view)
    }

    fn label(&self, name: &Key<'a>, item: &Item<'a>) -> Read<Filter> {
        self.filter(name.get_ref(), item)
    }
}

const LEAF_STYLES: [(&str, LeafStyle); 3] = [
    ("link", LeafStyle::Link),
    ("collapsed", LeafStyle::Collapsed),
    ("dir", LeafStyle::Dir),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ProjectConfig, ConfigError> {
        ProjectConfig::parse(text, Path::new("sweepfs.toml"))
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = parse(text).expect_err("a mistake");
        let found = match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    fn filter(text: &str) -> Filter {
        Filter::parse(text).expect("a filter")
    }

    #[test]
    fn views_and_labels_are_read() {
        let text = r#"
            [view.figures]
            path = "v={velocity}/{angle:03d}"
            where = "doc.done"
            leaf = "collapsed"

            [view.default]
            where = ["a>1", "b=2 or c=3"]

            [label]
            good = "doc.error<0.1"
            "not yet" = "not doc.done"

            [cluster]
        "#;
        let config = parse(text).expect("sound");
        let figures = ViewConfig {
            path: Some("v={velocity}/{angle:03d}".into()),
            filter: Some(filter("doc.done")),
            leaf: Some(LeafStyle::Collapsed),
        };
        let default = ViewConfig {
            filter: Some(filter("a>1").and(filter("b=2 or c=3"))),
            ..ViewConfig::default()
        };
        assert_eq!(
            config.views,
            [
                ("default".to_owned(), default),
                ("figures".to_owned(), figures)
            ]
            .into()
        );
        let labels = [("good", "doc.error<0.1"), ("not yet", "not doc.done")];
        let labels = labels.map(|(name, text)| (name.to_owned(), filter(text)));
        assert_eq!(config.labels, labels.into());
        assert_eq!(parse("").expect("empty"), ProjectConfig::default());
    }

    #[test]
    fn a_missing_file_is_an_empty_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sweepfs.toml");
        assert_eq!(
            ProjectConfig::read(&path).expect("missing"),
            ProjectConfig::default()
        );
        assert!(matches!(
            ProjectConfig::read(dir.path()),
            Err(ConfigError::Read(_))
        ));
        std::fs::write(&path, b"# \xff").expect("written");
        assert!(matches!(
            ProjectConfig::read(&path),
            Err(ConfigError::NotText(_))
        ));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        check_error(
            "[veiw.a]\npath = \"x\"",
            "`sweepfs.toml`, line 1, column 2: unknown section `veiw`; did you mean `view`?",
        );
        check_error(
            "x = 1",
            "`sweepfs.toml`, line 1, column 1: unknown section `x`; there are `view`, `label`, `operation`, `group`, `hooks`, `cluster` and `remote`",
        );
        check_error(
            "[views]",
            "`sweepfs.toml`, line 1, column 2: unknown section `views`; did you mean `view`?",
        );
        check_error(
            "view = 1",
            "`sweepfs.toml`, line 1, column 8: `view` must be a table, not an integer; it begins with a line `[view.NAME]`",
        );
        check_error(
            "[view]\na = \"x\"",
            "`sweepfs.toml`, line 2, column 5: `view.a` must be a table, not a string; it begins with a line `[view.a]`",
        );
        check_error(
            "[view.a]\npaht = \"x\"",
            "`sweepfs.toml`, line 2, column 1: unknown key `paht`; did you mean `path`?",
        );
        check_error(
            "[view.a]\n  zzz = 1",
            "`sweepfs.toml`, line 2, column 3: unknown key `zzz`; there are `path`, `where` and `leaf`",
        );
        check_error(
            "[view.a]\npath = 1",
            "`sweepfs.toml`, line 2, column 8: `path` must be a string, not an integer",
        );
        check_error(
            "[view.a]\npath = [\"a\"]",
            "`sweepfs.toml`, line 2, column 8: `path` must be a string, not an array",
        );
        check_error(
            "[view.a]\nwhere = 1.5",
            "`sweepfs.toml`, line 2, column 9: `where` must be a string or a list of strings, not a float",
        );
        check_error(
            "[view.a]\nwhere = [\"a=1\", 2]",
            "`sweepfs.toml`, line 2, column 17: `where` must hold strings, not an integer",
        );
        check_error(
            "[view.a]\nleaf = \"colapsed\"",
            "`sweepfs.toml`, line 2, column 8: there is no leaf style `colapsed`; did you mean `collapsed`?",
        );
        check_error(
            "[view.a]\nleaf = \"x\"",
            "`sweepfs.toml`, line 2, column 8: there is no leaf style `x`; there are `link`, `collapsed` and `dir`",
        );
        check_error(
            "[view.a]\nleaf = true",
            "`sweepfs.toml`, line 2, column 8: `leaf style` must be a string, not a boolean",
        );
        check_error(
            "[view.a]\nwhere = \"angle=>45\"",
            "`sweepfs.toml`, line 2, column 15: unknown operator `=>`; write `>=`",
        );
        check_error(
            "[view.a]\n# ä\nwhere = [\"b\", 'name = \"x']",
            "`sweepfs.toml`, line 3, column 23: the quote is never closed; put texts with special characters into quotes",
        );
        check_error(
            "[view.a]\nwhere = \"name = \\\"x\"",
            "`sweepfs.toml`, line 2, column 9: the quote is never closed at column 8; put texts with special characters into quotes",
        );
        check_error(
            "[view.a]\nwhere = \"\"",
            "`sweepfs.toml`, line 2, column 9: the filter is empty; leave it out to select all jobs",
        );
        check_error(
            "[label]\ngood = \"a<\"",
            "`sweepfs.toml`, line 2, column 11: expected a value, found the end; write `\"\"` for the empty text",
        );
        check_error(
            "[label]\ngood = 1",
            "`sweepfs.toml`, line 2, column 8: `good` must be a string or a list of strings, not an integer",
        );
        check_error(
            "[label]\n\"\" = \"a\"",
            "`sweepfs.toml`, line 2, column 1: the name of a label is empty",
        );
        check_error(
            "[label]\n\"a/b\" = \"a\"",
            "`sweepfs.toml`, line 2, column 1: `a/b` is no name for a label: it has a `/`",
        );
        check_error(
            "[label]\n\".a\" = \"a\"",
            "`sweepfs.toml`, line 2, column 1: `.a` is no name for a label: it begins with a dot",
        );
        check_error(
            "[view.by]",
            "`sweepfs.toml`, line 1, column 7: no view can be called `by`, which the mount has already; the view called `default` takes the place of the default hierarchy",
        );
        check_error(
            "[view.view]",
            "`sweepfs.toml`, line 1, column 7: no view can be called `view`, which the mount has already; the view called `default` takes the place of the default hierarchy",
        );
        check_error(
            "[view.\"a\\u0000b\"]",
            "`sweepfs.toml`, line 1, column 7: the name of a view holds NUL",
        );
        check_error(
            &format!("[view.{}]", "x".repeat(256)),
            "`sweepfs.toml`, line 1, column 7: the name of a view is longer than 255 bytes",
        );
        check_error(
            "[view.a]\npath = \"x",
            "`sweepfs.toml`, line 2, column 10: invalid basic string, expected `\"`",
        );
        check_error(
            "[view.a]\n[view.a]",
            "`sweepfs.toml`, line 2, column 7: duplicate key",
        );
        check_error(
            "view.a.path = 3",
            "`sweepfs.toml`, line 1, column 15: `path` must be a string, not an integer",
        );
        check_error(
            "[view.a]\npath = \"x\"\npath = \"y\"",
            "`sweepfs.toml`, line 3, column 1: duplicate key",
        );
    }
}
