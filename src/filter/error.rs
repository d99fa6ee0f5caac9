//! What is wrong with a filter, and where.

use std::fmt;
use std::ops::Range;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// No more of a user's word than this is repeated in a message.
const WORD_CHARS_MAX: usize = 40;

/// Nothing is suggested for longer names: comparing takes time in proportion to both.
const NAME_BYTES_MAX: usize = 255;

/// A snippet shows about this much text before the error, and at most twice as much in all.
const SNIPPET_CHARS: usize = 50;

/// Why a text is no filter.
///
/// Its `Display` is one line, a fragment such as ``unknown operator `=>` at column 6``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    message: String,
    text: String,
    /// Byte offsets into the text.
    span: Option<(usize, usize)>,
    hint: Option<String>,
}

impl FilterError {
    /// An error in a text, at no place in particular.
    pub(super) fn new(text: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            text: text.to_owned(),
            span: None,
            hint: None,
        }
    }

    pub(super) fn at(self, span: Range<usize>) -> Self {
        Self {
            span: Some((span.start, span.end)),
            ..self
        }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Returns what is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the text that was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the bytes of the text that are to blame, if any in particular are.
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.map(|(start, end)| start..end)
    }

    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns where it is, in characters counted from 1.
    pub fn column(&self) -> Option<usize> {
        let (start, _) = self.span?;
        Some(1 + self.text[..start].chars().count())
    }

    /// Returns two lines for a terminal, the text and a mark below the place, both indented:
    ///
    /// ```text
    ///   angle=>45
    ///        ^^
    /// ```
    ///
    /// Of a long text only the surroundings are shown. Control characters are replaced.
    pub fn snippet(&self) -> Option<String> {
        let (start, end) = self.span?;
        let before: Vec<_> = self.text[..start].chars().collect();
        let n_cut = before.len().saturating_sub(SNIPPET_CHARS);
        let n_shown = before.len() - n_cut;
        let mut after = self.text[start..].chars();
        let shown: Vec<_> = after.by_ref().take(2 * SNIPPET_CHARS - n_shown).collect();
        let n_marked = self.text[start..end]
            .chars()
            .count()
            .clamp(1, shown.len().max(1));
        let lead = if n_cut > 0 { "…" } else { "" };
        let tail = if after.next().is_some() { "…" } else { "" };
        let line: String = before[n_cut..]
            .iter()
            .chain(&shown)
            .copied()
            .map(harmless)
            .collect();
        let indent = " ".repeat(lead.chars().count() + n_shown);
        Some(format!(
            "  {lead}{line}{tail}\n  {indent}{}",
            "^".repeat(n_marked)
        ))
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.column() {
            Some(column) => write!(f, " at column {column}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FilterError {}

/// Returns a user's text as it may be repeated in a message: cut, and without control characters.
pub(super) fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let shown: String = chars.by_ref().take(WORD_CHARS_MAX).map(harmless).collect();
    let tail = if chars.next().is_some() { "…" } else { "" };
    format!("`{shown}{tail}`")
}

/// Replaces a character that moves the cursor or reorders text.
fn harmless(c: char) -> char {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    match c.general_category() {
        Control | Format | LineSeparator | ParagraphSeparator => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}

/// Returns the known name that a mistyped one is most like, if it is like any.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let n_edits_max = (name.chars().count() / 3).max(1);
    let edited = known.map(|other| (strsim::damerau_levenshtein(name, other), other));
    let best = edited.min_by_key(|(n_edits, _)| *n_edits);
    best.filter(|(n_edits, _)| *n_edits <= n_edits_max)
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, span: Range<usize>) -> FilterError {
        FilterError::new(text, "wrong").at(span)
    }

    #[test]
    fn the_mark_stands_below_the_place() {
        let error = error("ä=>45", 2..5);
        assert_eq!(error.snippet().as_deref(), Some("  ä=>45\n   ^^^"));
        assert_eq!(error.to_string(), "wrong at column 2");
    }

    #[test]
    fn the_end_can_be_marked() {
        assert_eq!(error("a=", 2..2).snippet().as_deref(), Some("  a=\n    ^"));
        assert_eq!(error("", 0..0).snippet().as_deref(), Some("  \n  ^"));
    }

    #[test]
    fn terminals_are_not_told_what_to_do() {
        let snippet = error("a\x1b[2J\u{202e}\nb", 0..1)
            .snippet()
            .expect("a span");
        assert_eq!(snippet, "  a\u{fffd}[2J\u{fffd}\u{fffd}b\n  ^");
        assert_eq!(quoted("x\x07"), "`x\u{fffd}`");
    }

    #[test]
    fn long_texts_are_cut() {
        let text = "x".repeat(10_000);
        let snippet = error(&text, 5000..9000).snippet().expect("a span");
        let lines: Vec<_> = snippet.lines().map(|line| line.chars().count()).collect();
        assert_eq!(lines, [104, 103]);
        assert_eq!(quoted(&text).chars().count(), 43);
    }

    #[test]
    fn only_like_names_are_suggested() {
        let known = || ["exists", "near", "type"].into_iter();
        assert_eq!(nearest("exist", known()), Some("exists"));
        assert_eq!(nearest("tpye", known()), Some("type"));
        assert_eq!(nearest("zzz", known()), None);
    }
}
