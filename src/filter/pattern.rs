//! Regular expressions that run in linear time.

use super::dialect;
use crate::pyjson::Value;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Compiled patterns that take more memory than this are refused.
const SIZE_MAX: usize = 4 << 20;

/// Longer patterns are refused.
const LENGTH_MAX: usize = 20_000;

/// Groups may be nested this deeply.
const NESTING_MAX: u32 = 100;

/// A regular expression in Python's dialect, as far as it can be matched in linear time.
#[derive(Clone)]
pub struct Pattern {
    source: Box<str>,
    regex: regex::Regex,
}

/// Why a text is no pattern, and which bytes of it are to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatternError {
    pub(super) message: String,
    pub(super) span: Range<usize>,
    pub(super) hint: Option<String>,
}

impl PatternError {
    pub(super) fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        Self {
            message: message.into(),
            span,
            hint: None,
        }
    }

    pub(super) fn with_hint(self, hint: &str) -> Self {
        Self {
            hint: Some(hint.to_owned()),
            ..self
        }
    }
}

impl Pattern {
    /// Compiles a pattern.
    pub(super) fn new(source: &str) -> Result<Self, PatternError> {
        let whole = 0..source.len();
        if source.len() > LENGTH_MAX {
            let message = format!("a pattern of more than {LENGTH_MAX} bytes");
            return Err(PatternError::new(message, whole));
        }
        let regex = regex::RegexBuilder::new(&dialect::translate(source)?)
            .size_limit(SIZE_MAX)
            .nest_limit(NESTING_MAX)
            .build()
            .map_err(|error| PatternError::new(explain(&error), whole))?;
        Ok(Self {
            source: source.into(),
            regex,
        })
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Tells whether a value is a string in which the pattern is found. A lone surrogate counts as
    /// U+FFFD.
    pub(super) fn is_found_in(&self, value: &Value) -> bool {
        let Value::Str(string) = value else {
            return false;
        };
        let text = string
            .to_str()
            .map_or_else(|| Cow::Owned(string.to_string()), Cow::Borrowed);
        self.regex.is_match(&text)
    }
}

/// Takes the last line of the engine's message, which shows the translated pattern first.
fn explain(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large when compiled".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let what = last.strip_prefix("error: ").unwrap_or(last);
            format!("the pattern does not compile: {what}")
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyjson::parse;

    #[track_caller]
    fn check(pattern: &str, json: &str, expected: bool) {
        let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error:?}"));
        let value = parse(json).expect("valid JSON");
        assert_eq!(
            compiled.is_found_in(&value),
            expected,
            "{pattern} in {json}"
        );
    }

    #[track_caller]
    fn check_error(pattern: &str, expected: &str) {
        let error = Pattern::new(pattern).expect_err("no pattern");
        assert!(error.message.contains(expected), "{pattern}: {error:?}");
        assert!(
            pattern.get(error.span.clone()).is_some(),
            "{pattern}: {error:?}"
        );
    }

    #[test]
    fn patterns_are_searched_as_by_python() {
        check("^ar", r#""argon""#, true);
        check("^ar", r#""neon argon""#, false);
        check("(?i)FOO", r#""a foo""#, true);
        check("foo$", r#""foo\n""#, true);
        check("foo$", r#""foo\n\n""#, false);
        check(r"foo\Z", r#""foo\n""#, false);
        check("(?m)^foo$", r#""a\nfoo\nb""#, true);
        check("(?m:^foo$)|x$", r#""x\n""#, true);
        check(r"^\w\s\d$", r#""ä\u001c٣""#, true);
        check(r"^[\w]+$", r#""½²a_""#, true);
        check(r"^\w+$", r#""e\u0301""#, false);
        check(r"[^\S]", r#"" ""#, true);
        check("[]a]", r#""]""#, true);
        check("[^]a]", r#""]""#, false);
        check("[a[]", r#""[""#, true);
        check("[a&&b]", r#""&""#, true);
        check("[+--]", r#"",""#, true);
        check("[a-]", r#""-""#, true);
        check("[ #]", r##""#""##, true);
        check(r"[\b]", r#""\b""#, true);
        check("x{,2}y", r#""y""#, true);
        check("a{b}", r#""a{b}""#, true);
        check("^a{2}$", r#""aa""#, true);
        check(r"\<a\>", r#""<a>""#, true);
        check(r"\101\x41\u0041\U00000041\0", r#""AAAA\u0000""#, true);
        check("a(?#comment)b", r#""ab""#, true);
        check("(?P<n>a)(?:b)", r#""ab""#, true);
        check("a+?", r#""a""#, true);
        check("^.$", r#""\ud800""#, true);
        check("", r#""""#, true);
        check(".", "5", false);
        check("(a*)*$", r#""b""#, true);
    }

    #[test]
    fn what_needs_backtracking_is_refused_by_name() {
        check_error(r"(a)\1", "backreference");
        check_error(r"(?P<n>a)(?P=n)", "backreference");
        check_error("a(?=b)", "look-ahead");
        check_error("a(?!b)", "look-ahead");
        check_error("(?<=a)b", "look-behind");
        check_error("(?<!a)b", "look-behind");
        check_error("(a)?(?(1)b|c)", "conditional");
        check_error("(?>a)", "atomic");
        check_error("a*+", "possessive");
        check_error("a{2}+", "possessive");
    }

    #[test]
    fn other_errors_are_explained() {
        check_error("(?x)a b", "flag `x`");
        check_error("(?a:b)", "flag `a`");
        check_error("a**", "multiple repeat");
        check_error("[a", "never closed");
        check_error("[b-a]", "range");
        check_error("(a", "unclosed");
        check_error("a)", "unopened");
        check_error(r"\y", "unknown escape");
        check_error(r"a\", "ends in a backslash");
        check_error(r"\xg0", "escape");
        check_error("(?#a", "never closed");
        check_error("*a", "repetition");
    }

    #[test]
    fn bombs_are_refused() {
        check_error("(a{1000}){1000}", "too large");
        check_error("((a{1000}){1000}){1000}", "too large");
        check_error(&"(a{1000})".repeat(1000), "too large");
        check_error(&"(".repeat(10_000), "");
        check_error(&"[".repeat(10_000), "never closed");
        check_error(&"a".repeat(30_000), "more than 20000 bytes");
    }

    #[test]
    fn any_text_gives_a_pattern_or_an_error() {
        use proptest::prelude::*;
        proptest!(|(text in r#"[\[\](){}?*+|^$.\\a-cPZ\-:=!<>#,0-3ä ]{0,30}"#)| {
            match Pattern::new(&text) {
                Ok(pattern) => { pattern.is_found_in(&Value::from("abc ä")); }
                Err(error) => prop_assert!(text.get(error.span.clone()).is_some(), "{error:?}"),
            }
        });
    }
}
