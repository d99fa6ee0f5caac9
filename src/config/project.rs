//! `sweepfs.toml`, the project's own settings.

use super::ConfigError;
use crate::filter::{Filter, nearest};
use crate::fsx;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// Name of the file, in the project's directory.
pub const PROJECT_FILE: &str = "sweepfs.toml";

/// What a project's `sweepfs.toml` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectConfig {
    /// The named views, `[view.NAME]`; `default` stands in place of the default path.
    pub views: BTreeMap<String, ViewConfig>,
    /// The labels, `[label]`: which jobs have each.
    pub labels: BTreeMap<String, Filter>,
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
const SECTIONS: [&str; 2] = ["view", "label"];

/// Sections that are for others to read.
const OTHER_SECTIONS: [&str; 5] = ["operation", "group", "hooks", "remote", "cluster"];

const VIEW_KEYS: [&str; 3] = ["path", "where", "leaf"];

/// Names of other entries beside the views.
const RESERVED_VIEWS: [&str; 5] = ["by", "id", "status", "label", "view"];

/// Linux's `NAME_MAX`.
const NAME_BYTES_MAX: usize = 255;

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
        Source { text }.config().map_err(|fault| {
            let before = &text[..floor_boundary(text, fault.at)];
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            ConfigError::Invalid {
                path: path.to_owned(),
                line: 1 + before.matches('\n').count(),
                column: 1 + before[line_start..].chars().count(),
                message: fault.message,
                hint: fault.hint,
            }
        })
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A mistake, and the byte where it is.
struct Fault {
    at: usize,
    message: String,
    hint: Option<String>,
}

impl Fault {
    fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            at: span.start,
            message: message.into(),
            hint: None,
        }
    }

    fn with_hint(self, hint: impl Into<Option<String>>) -> Self {
        Self {
            hint: hint.into(),
            ..self
        }
    }
}

type Read<T> = Result<T, Fault>;

type Key<'a> = Spanned<DeString<'a>>;

type Item<'a> = Spanned<DeValue<'a>>;

/// The text of a file, which items refer to.
struct Source<'a> {
    text: &'a str,
}

impl<'a> Source<'a> {
    fn config(&self) -> Read<ProjectConfig> {
        let syntax = |error: toml::de::Error| {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            Fault::new(error.span().unwrap_or_default(), message)
        };
        let document = DeTable::parse(self.text).map_err(syntax)?;
        let mut config = ProjectConfig::default();
        for (section, item) in in_order(document.get_ref()) {
            match section.get_ref().as_ref() {
                "view" => config.views = self.entries(section, item, Self::view)?,
                "label" => config.labels = self.entries(section, item, Self::label)?,
                name if OTHER_SECTIONS.contains(&name) => {}
                name => {
                    let known: Vec<_> = SECTIONS.into_iter().chain(OTHER_SECTIONS).collect();
                    return Err(unknown(section, "section", name, &known, &SECTIONS));
                }
            }
        }
        Ok(config)
    }

    /// Reads the entries of a section, each by its name.
    fn entries<T>(
        &self,
        section: &Key<'a>,
        item: &Item<'a>,
        read: impl Fn(&Self, &Key<'a>, &Item<'a>) -> Read<T>,
    ) -> Read<BTreeMap<String, T>> {
        let entries = table(section.get_ref(), item)?;
        let entry = |(name, item): (&Key<'a>, &Item<'a>)| {
            check_name(section.get_ref(), name)?;
            Ok((name.get_ref().to_string(), read(self, name, item)?))
        };
        in_order(entries).into_iter().map(entry).collect()
    }

    fn view(&self, name: &Key<'a>, item: &Item<'a>) -> Read<ViewConfig> {
        let name = name.get_ref();
        let mut view = ViewConfig::default();
        for (key, item) in in_order(table(&format!("view.{name}"), item)?) {
            match key.get_ref().as_ref() {
                "path" => view.path = Some(string("path", item)?.to_owned()),
                "where" => view.filter = Some(self.filter("where", item)?),
                "leaf" => view.leaf = Some(leaf_style(item)?),
                other => return Err(unknown(key, "key", other, &VIEW_KEYS, &VIEW_KEYS)),
            }
        }
        Ok(view)
    }

    fn label(&self, name: &Key<'a>, item: &Item<'a>) -> Read<Filter> {
        self.filter(name.get_ref(), item)
    }

    /// Reads a filter, or a list of filters that must all hold.
    fn filter(&self, name: &str, item: &Item<'a>) -> Read<Filter> {
        let items = match item.get_ref() {
            DeValue::String(text) => return self.one_filter(text, item),
            DeValue::Array(items) => items,
            _ => return Err(wrong_type(name, "be a string or a list of strings", item)),
        };
        items.iter().try_fold(Filter::default(), |filter, item| {
            let text = item.get_ref().as_str();
            let text = text.ok_or_else(|| wrong_type(name, "hold strings", item))?;
            Ok(filter.and(self.one_filter(text, item)?))
        })
    }

    /// The place of an error is that in the file, if the text stands there as it is.
    fn one_filter(&self, text: &str, item: &Item<'a>) -> Read<Filter> {
        Filter::parse(text).map_err(|error| {
            let span = item.span();
            let quoted = &self.text[span.clone()];
            let n_quotes = if quoted.starts_with("\"\"\"") || quoted.starts_with("'''") {
                3
            } else {
                1
            };
            let is_verbatim = quoted
                .get(n_quotes..)
                .is_some_and(|rest| rest.starts_with(text));
            let hint = error.hint().map(str::to_owned);
            match error.span() {
                Some(inside) if is_verbatim => {
                    let at = span.start + n_quotes + inside.start;
                    Fault::new(at..at, error.message())
                }
                _ => Fault::new(span, error.to_string()),
            }
            .with_hint(hint)
        })
    }
}

/// Returns entries as they stand in the file, so that the first mistake is found first.
fn in_order<'t, 'a>(table: &'t DeTable<'a>) -> Vec<(&'t Key<'a>, &'t Item<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn unknown(key: &Key<'_>, what: &str, name: &str, known: &[&str], shown: &[&str]) -> Fault {
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", listed(shown)),
    };
    Fault::new(key.span(), format!("unknown {what} `{name}`")).with_hint(hint)
}

/// Writes ``` `a`, `b` and `c` ```.
fn listed(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => quoted.concat(),
    }
}

fn table<'t, 'a>(name: &str, item: &'t Item<'a>) -> Read<&'t DeTable<'a>> {
    let below = if name == "view" { ".NAME" } else { "" };
    let hint = || format!("it begins with a line `[{name}{below}]`");
    let table = item.get_ref().as_table();
    table.ok_or_else(|| wrong_type(name, "be a table", item).with_hint(hint()))
}

fn string<'t>(name: &str, item: &'t Item<'_>) -> Read<&'t str> {
    let text = item.get_ref().as_str();
    text.ok_or_else(|| wrong_type(name, "be a string", item))
}

fn wrong_type(name: &str, wanted: &str, item: &Item<'_>) -> Fault {
    let found = item.get_ref().type_str();
    let article = if found.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    let message = format!("`{name}` must {wanted}, not {article} {found}");
    Fault::new(item.span(), message)
}

fn leaf_style(item: &Item<'_>) -> Read<LeafStyle> {
    let known = ["link", "collapsed", "dir"];
    match string("leaf", item)? {
        "link" => Ok(LeafStyle::Link),
        "collapsed" => Ok(LeafStyle::Collapsed),
        "dir" => Ok(LeafStyle::Dir),
        other => {
            let hint = match nearest(other, known.into_iter()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", listed(&known)),
            };
            let message = format!("there is no leaf style `{other}`");
            Err(Fault::new(item.span(), message).with_hint(hint))
        }
    }
}

/// Checks that an entry's name is one for a directory that is listed.
fn check_name(section: &str, key: &Key<'_>) -> Read<()> {
    let name = key.get_ref().as_ref();
    let fault = |message: String| Err(Fault::new(key.span(), message));
    match name {
        "" => fault(format!("the name of a {section} is empty")),
        _ if name.contains('/') => {
            fault(format!("`{name}` is no name for a {section}: it has a `/`"))
        }
        _ if name.contains('\0') => fault(format!("the name of a {section} holds NUL")),
        _ if name.starts_with('.') => fault(format!(
            "`{name}` is no name for a {section}: it begins with a dot"
        )),
        _ if name.len() > NAME_BYTES_MAX => fault(format!(
            "the name of a {section} is longer than {NAME_BYTES_MAX} bytes"
        )),
        _ if section == "view" && RESERVED_VIEWS.contains(&name) => {
            let message = format!("no view can be called `{name}`, which the mount has already");
            let hint = "the view called `default` takes the place of the default hierarchy";
            Err(Fault::new(key.span(), message).with_hint(hint.to_owned()))
        }
        _ => Ok(()),
    }
}

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

            [operation.simulate]
            cmd = "x"

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
            "`sweepfs.toml`, line 1, column 1: unknown section `x`; there are `view` and `label`",
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
            "`sweepfs.toml`, line 2, column 8: `leaf` must be a string, not a boolean",
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
