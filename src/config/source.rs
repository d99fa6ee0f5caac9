//! Reading TOML so that every mistake is named with its place.

use super::ConfigError;
use super::project::RESERVED_VIEWS;
use crate::filter::{Filter, FilterError, nearest};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// Linux's `NAME_MAX`.
const NAME_BYTES_MAX: usize = 255;

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A mistake, and the byte where it is.
pub(super) struct Fault {
    at: usize,
    message: String,
    hint: Option<String>,
}

impl Fault {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            at: span.start,
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn with_hint(self, hint: impl Into<Option<String>>) -> Self {
        Self {
            hint: hint.into(),
            ..self
        }
    }
}

pub(super) type Read<T> = Result<T, Fault>;

pub(super) type Key<'a> = Spanned<DeString<'a>>;

pub(super) type Item<'a> = Spanned<DeValue<'a>>;

/// The text of a file, which items refer to.
pub(super) struct Source<'a> {
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// Reads the top of the file.
    pub(super) fn document(&self) -> Read<Item<'a>> {
        let syntax = |error: toml::de::Error| {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            Fault::new(error.span().unwrap_or_default(), message)
        };
        let document = DeTable::parse(self.text).map_err(syntax)?;
        let span = document.span();
        Ok(Spanned::new(span, DeValue::Table(document.into_inner())))
    }

    /// Says where a mistake is in a file.
    pub(super) fn error(&self, fault: Fault, path: &Path) -> ConfigError {
        let before = &self.text[..floor_boundary(self.text, fault.at)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ConfigError::Invalid {
            path: path.to_owned(),
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
            message: fault.message,
            hint: fault.hint,
        }
    }

    /// Returns the line of a place, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        1 + self.text[..floor_boundary(self.text, at)]
            .matches('\n')
            .count()
    }

    /// Reads the entries of a section, each by its name.
    pub(super) fn entries<T>(
        &self,
        section: &Key<'a>,
        item: &Item<'a>,
        read: impl Fn(&Self, &Key<'a>, &Item<'a>) -> Read<T>,
    ) -> Read<BTreeMap<String, T>> {
        let entries = table(section.get_ref(), item)?;
        let entry = |(name, item): (&Key<'a>, &Item<'a>)| {
            check_name(section.get_ref(), name.get_ref(), name.span())?;
            Ok((name.get_ref().to_string(), read(self, name, item)?))
        };
        in_order(entries).into_iter().map(entry).collect()
    }

    /// Reads a filter, or a list of filters that must all hold.
    pub(super) fn filter(&self, name: &str, item: &Item<'a>) -> Read<Filter> {
        let texts = strings(name, item)?.into_iter();
        let mut filters = texts.map(|(text, item)| self.parsed(text, item, Filter::parse));
        filters.try_fold(Filter::default(), |all, filter| Ok(all.and(filter?)))
    }

    /// Reads something with the language of filters in it. The place of an error is that in the
    /// file, if the text stands there as it is.
    pub(super) fn parsed<T>(
        &self,
        text: &str,
        item: &Item<'a>,
        parse: impl Fn(&str) -> Result<T, FilterError>,
    ) -> Read<T> {
        parse(text).map_err(|error| {
            let span = item.span();
            let quoted = &self.text[span.clone()];
            let n_quotes = match quoted.starts_with("\"\"\"") || quoted.starts_with("'''") {
                true => 3,
                false => 1,
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

/// Reads a string or a list of strings.
pub(super) fn strings<'t, 'a>(
    name: &str,
    item: &'t Item<'a>,
) -> Read<Vec<(&'t str, &'t Item<'a>)>> {
    let items = match item.get_ref() {
        DeValue::String(text) => return Ok(vec![(text, item)]),
        DeValue::Array(items) => items,
        _ => return Err(wrong_type(name, "be a string or a list of strings", item)),
    };
    let text = |item: &'t Item<'a>| match item.get_ref().as_str() {
        Some(text) => Ok((text, item)),
        None => Err(wrong_type(name, "hold strings", item)),
    };
    items.iter().map(text).collect()
}

/// Reads a whole number that is not negative.
pub(super) fn count(name: &str, item: &Item<'_>) -> Read<u32> {
    let integer = item.get_ref().as_integer();
    let integer = integer.ok_or_else(|| wrong_type(name, "be a whole number", item))?;
    let number = u32::from_str_radix(integer.as_str(), integer.radix());
    number.map_err(|_| {
        let message = format!("`{name}` must be a whole number from 0 on, not {integer}");
        Fault::new(item.span(), message)
    })
}

/// Reads `true` or `false`.
pub(super) fn flag(name: &str, item: &Item<'_>) -> Read<bool> {
    let flag = item.get_ref().as_bool();
    flag.ok_or_else(|| wrong_type(name, "be `true` or `false`", item))
}

/// Reads one of some words.
pub(super) fn choice<T: Copy>(name: &str, item: &Item<'_>, words: &[(&str, T)]) -> Read<T> {
    let text = string(name, item)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let hint = match nearest(text, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", listed(&known)),
    };
    let message = format!("there is no {name} `{text}`");
    Err(Fault::new(item.span(), message).with_hint(hint))
}

/// Returns entries as they stand in the file, so that the first mistake is found first.
pub(super) fn in_order<'t, 'a>(table: &'t DeTable<'a>) -> Vec<(&'t Key<'a>, &'t Item<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

pub(super) fn unknown(
    key: &Key<'_>,
    what: &str,
    name: &str,
    known: &[&str],
    shown: &[&str],
) -> Fault {
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", listed(shown)),
    };
    Fault::new(key.span(), format!("unknown {what} `{name}`")).with_hint(hint)
}

/// Writes ``` `a`, `b` and `c` ```.
pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => quoted.concat(),
    }
}

pub(super) fn table<'t, 'a>(name: &str, item: &'t Item<'a>) -> Read<&'t DeTable<'a>> {
    let below = if matches!(name, "view" | "group" | "cluster" | "remote") {
        ".NAME"
    } else {
        ""
    };
    let hint = || format!("it begins with a line `[{name}{below}]`");
    let table = item.get_ref().as_table();
    table.ok_or_else(|| wrong_type(name, "be a table", item).with_hint(hint()))
}

pub(super) fn string<'t>(name: &str, item: &'t Item<'_>) -> Read<&'t str> {
    let text = item.get_ref().as_str();
    text.ok_or_else(|| wrong_type(name, "be a string", item))
}

pub(super) fn wrong_type(name: &str, wanted: &str, item: &Item<'_>) -> Fault {
    let found = item.get_ref().type_str();
    let article = if found.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    let message = format!("`{name}` must {wanted}, not {article} {found}");
    Fault::new(item.span(), message)
}

/// Checks that an entry's name is one for a directory that is listed.
pub(super) fn check_name(section: &str, name: &str, span: Range<usize>) -> Read<()> {
    let fault = |message: String| Err(Fault::new(span.clone(), message));
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
        // The name stands where an address could.
        _ if section == "remote" && name.contains(':') => {
            fault(format!("`{name}` is no name for a {section}: it has a `:`"))
        }
        _ if section == "remote" && name.starts_with('-') => fault(format!(
            "`{name}` is no name for a {section}: it begins with a dash, as options do"
        )),
        _ if matches!(
            section,
            "operation" | "group" | "cluster" | "partition" | "remote"
        ) && name.chars().any(char::is_control) =>
        {
            fault(format!("the name of a {section} holds a control character"))
        }
        _ if section == "view" && RESERVED_VIEWS.contains(&name) => {
            let message = format!("no view can be called `{name}`, which the mount has already");
            let hint = "the view called `default` takes the place of the default hierarchy";
            Err(Fault::new(span, message).with_hint(hint.to_owned()))
        }
        _ => Ok(()),
    }
}
