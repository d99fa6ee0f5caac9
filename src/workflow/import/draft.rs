//! A workflow that is being written as TOML.

use super::Imported;
use crate::filter::{Condition, Field, Filter};
use crate::pyjson::{PyStr, dumps_str};
use std::fmt::Write;

/// Comments are wrapped before this column.
const COLUMNS: usize = 100;

/// A `sweepfs.toml` to be.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Comments at the top.
    pub(super) header: Vec<String>,
    pub(super) operations: Vec<Operation>,
    pub(super) groups: Vec<Group>,
    /// Names and filters.
    pub(super) labels: Vec<(String, String)>,
    /// What labels have no counterpart for.
    pub(super) label_notes: Vec<String>,
}

/// An operation to be. Texts are those of the file.
#[derive(Debug, Default)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) command: String,
    pub(super) in_job: bool,
    pub(super) filter: Option<String>,
    pub(super) pre: Vec<String>,
    pub(super) post: Vec<String>,
    pub(super) aggregate: Option<Aggregate>,
    /// Keys and templates, in the order of writing.
    pub(super) resources: Vec<(&'static str, String)>,
    /// What a reader should know.
    pub(super) comments: Vec<String>,
    /// What has no counterpart.
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Aggregate {
    pub(super) filter: Option<String>,
    pub(super) by: Vec<String>,
    pub(super) sort: Vec<String>,
    pub(super) reverse: bool,
    pub(super) size: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) operations: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Operation {
    /// Adds a condition, if it is one.
    pub(super) fn add_condition(list: &mut Vec<String>, text: &str) -> bool {
        let Ok(condition) = Condition::parse(text) else {
            return false;
        };
        let text = condition.to_string();
        if !list.contains(&text) {
            list.push(text);
        }
        true
    }

    /// Names something that is of the original and not in the draft.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Says something to the reader of the file.
    pub(super) fn comment(&mut self, comment: impl Into<String>) {
        let comment = comment.into();
        if !self.comments.contains(&comment) {
            self.comments.push(comment);
        }
    }
}

impl Draft {
    pub(super) fn finish(&self) -> Imported {
        let mut text = String::new();
        self.header
            .iter()
            .for_each(|line| push_comment(&mut text, line));
        for operation in &self.operations {
            text.push('\n');
            operation.push(&mut text);
        }
        for group in &self.groups {
            text.push('\n');
            group
                .notes
                .iter()
                .for_each(|note| push_comment(&mut text, note));
            let _ = writeln!(text, "[group.{}]", key(&group.name));
            let _ = writeln!(text, "operations = {}", strings(&group.operations));
        }
        if !self.labels.is_empty() || !self.label_notes.is_empty() {
            text.push('\n');
            self.label_notes
                .iter()
                .for_each(|note| push_comment(&mut text, note));
            text.push_str(if self.labels.is_empty() {
                ""
            } else {
                "[label]\n"
            });
            for (name, filter) in &self.labels {
                let _ = writeln!(text, "{} = {}", key(name), string(filter));
            }
        }
        Imported {
            text,
            notes: self.notes(),
        }
    }

    fn notes(&self) -> Vec<String> {
        let operations = self.operations.iter().flat_map(|operation| {
            let named = |note| format!("operation `{}`: {note}", operation.name);
            operation.notes.iter().map(named)
        });
        let groups = self.groups.iter().flat_map(|group| {
            let named = |note| format!("group `{}`: {note}", group.name);
            group.notes.iter().map(named)
        });
        let labels = self.label_notes.iter().cloned();
        operations.chain(groups).chain(labels).collect()
    }
}

impl Operation {
    fn push(&self, text: &mut String) {
        let comments = self.comments.iter().chain(&self.notes);
        comments.for_each(|comment| push_comment(text, comment));
        let mut line = |key: &str, value: String| {
            let _ = writeln!(text, "{key} = {value}");
        };
        line("[[operation]]\nname", string(&self.name));
        line("command", string(&self.command));
        if self.in_job {
            line("directory", string("job"));
        }
        if let Some(filter) = &self.filter {
            line("where", string(filter));
        }
        for (key, conditions) in [("pre", &self.pre), ("post", &self.post)] {
            if !conditions.is_empty() {
                line(key, strings(conditions));
            }
        }
        if let Some(aggregate) = &self.aggregate {
            line("aggregate", aggregate.table());
        }
        if !self.resources.is_empty() {
            text.push_str("[operation.resources]\n");
            for (key, value) in &self.resources {
                let is_number = value.bytes().all(|b| b.is_ascii_digit());
                let value = if is_number {
                    value.clone()
                } else {
                    string(value)
                };
                let _ = writeln!(text, "{key} = {value}");
            }
        }
    }
}

impl Aggregate {
    fn table(&self) -> String {
        let mut entries = Vec::new();
        if let Some(filter) = &self.filter {
            entries.push(format!("where = {}", string(filter)));
        }
        if !self.by.is_empty() {
            entries.push(format!("by = {}", strings(&self.by)));
        }
        if !self.sort.is_empty() {
            entries.push(format!("sort = {}", strings(&self.sort)));
        }
        if self.reverse {
            entries.push("reverse = true".to_owned());
        }
        if let Some(size) = self.size {
            entries.push(format!("size = {size}"));
        }
        if self.by.is_empty() && self.size.is_none() {
            entries.push("all = true".to_owned());
        }
        format!("{{ {} }}", entries.join(", "))
    }
}

/// Writes a key of a state point or document as filters do.
pub(super) fn field(space: &str, keys: &[&str]) -> Option<String> {
    let quoted: Vec<_> = keys.iter().map(|key| quoted(key)).collect();
    let field = Field::parse(&format!("{space}.{}", quoted.join("."))).ok()?;
    Some(field.to_string())
}

/// Writes a text for the filter language.
pub(super) fn quoted(text: &str) -> String {
    dumps_str(&PyStr::from(text))
}

/// Writes that a file is there, whose name is no pattern.
pub(super) fn file(name: &str) -> String {
    let escape = |c: char| match c {
        '*' | '?' | '[' => format!("[{c}]"),
        c => c.to_string(),
    };
    format!(
        "file({})",
        quoted(&name.chars().map(escape).collect::<String>())
    )
}

/// Returns a filter as we would write it.
pub(super) fn filter(text: &str) -> Option<String> {
    Some(Filter::parse(text).ok()?.to_string())
}

/// Writes a word of a command.
pub(super) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Writes a text that templates print as it is.
pub(super) fn template_literal(text: &str) -> String {
    let has_marks = ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark));
    match has_marks {
        false => text.to_owned(),
        true => text.replace('{', "{{ \"{\" | raw }}"),
    }
}

fn push_comment(text: &mut String, comment: &str) {
    let mut line = "#".to_owned();
    for word in comment.split_whitespace() {
        if line.chars().count() + word.chars().count() >= COLUMNS && line != "#" {
            let _ = writeln!(text, "{line}");
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

/// Writes a string of TOML, in the kind of quotes that needs no escapes if there is one.
fn string(text: &str) -> String {
    let has_controls = text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t');
    let has_lines = text.contains('\n');
    let is_literal = !has_controls && !text.contains("'''") && !text.ends_with('\'');
    match text {
        _ if !has_controls && !has_lines && !text.contains(['"', '\\']) => format!("\"{text}\""),
        _ if is_literal && !has_lines && !text.contains('\'') => format!("'{text}'"),
        // The first line break after the quotes does not count.
        _ if is_literal => format!("'''{}{text}'''", if has_lines { "\n" } else { "" }),
        _ => {
            let escape = |c: char| match c {
                '"' | '\\' => format!("\\{c}"),
                c if c.is_control() => format!("\\u{:04X}", c as u32),
                c => c.to_string(),
            };
            format!("\"{}\"", text.chars().map(escape).collect::<String>())
        }
    }
}

fn strings(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| string(text)).collect();
    match texts.iter().map(String::len).sum::<usize>() < COLUMNS {
        true => format!("[{}]", texts.join(", ")),
        false => format!("[\n    {},\n]", texts.join(",\n    ")),
    }
}

fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => {
            let text = string(name);
            match text.starts_with("'''") {
                true => format!("\"{}\"", name.replace('\\', r"\\").replace('"', "\\\"")),
                false => text,
            }
        }
    }
}
