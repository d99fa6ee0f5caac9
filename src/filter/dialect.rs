//! Python's regular expressions in the words of the crate `regex`.
//!
//! Source: the Python 3.11 documentation of `re`, and `Lib/re/_parser.py`. What means the same
//! passes through; what is written differently is translated; what cannot be matched in linear
//! time is refused by its name.

use super::pattern::PatternError;
use std::fmt::Write;

/// Translates a pattern.
pub(super) fn translate(pattern: &str) -> Result<String> {
    let mut translator = Translator {
        pattern,
        at: 0,
        out: String::with_capacity(pattern.len() + 16),
        multi_line: vec![false],
    };
    while translator.at < pattern.len() {
        translator.item()?;
    }
    Ok(translator.out)
}

type Result<T> = std::result::Result<T, PatternError>;

struct Translator<'a> {
    pattern: &'a str,
    at: usize,
    out: String,
    /// Whether `$` matches at every line end, in the open groups from the outermost.
    multi_line: Vec<bool>,
}

/// What an escape stands for.
enum Escape {
    Char(char),
    /// Several characters or a place, in the words of the crate, outside and inside of `[…]`.
    Class(&'static str, &'static str),
}

impl<'a> Translator<'a> {
    fn rest(&self) -> &'a str {
        &self.pattern[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn error(&self, start: usize, message: impl Into<String>) -> PatternError {
        PatternError::new(message, start..self.at)
    }

    fn item(&mut self) -> Result<()> {
        let start = self.at;
        match self.next() {
            Some('\\') => self.escape_outside(start),
            Some('[') => self.class(start),
            Some('(') => self.group(start),
            Some(')') => {
                if self.multi_line.len() > 1 {
                    self.multi_line.pop();
                }
                self.out.push(')');
                Ok(())
            }
            // Before a line feed at the very end, too.
            Some('$') if self.multi_line.last() == Some(&false) => {
                self.out.push_str(r"(?:\n?\z)");
                Ok(())
            }
            Some('*' | '+' | '?') => {
                self.out.push_str(&self.pattern[start..self.at]);
                self.after_repeat(start)
            }
            Some('{') => self.brace(start),
            Some(c @ ('}' | ']')) => {
                self.push_char(c);
                Ok(())
            }
            Some(c) => {
                self.out.push(c);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Writes a character that stands for itself.
    fn push_char(&mut self, c: char) {
        if c.is_alphanumeric() {
            self.out.push(c);
        } else {
            write!(self.out, "\\x{{{:X}}}", u32::from(c)).expect("a String takes all");
        }
    }

    /// `{2}`, `{2,}`, `{,2}`, `{2,3}`; any other brace stands for itself.
    fn brace(&mut self, start: usize) -> Result<()> {
        let Some((low, high, n_bytes)) = repeat_counts(self.rest()) else {
            self.push_char('{');
            return Ok(());
        };
        self.at += n_bytes;
        match high {
            None => write!(self.out, "{{{low}}}"),
            Some(high) => write!(self.out, "{{{low},{high}}}"),
        }
        .expect("a String takes all");
        self.after_repeat(start)
    }

    fn after_repeat(&mut self, start: usize) -> Result<()> {
        if self.peek() == Some('?') {
            self.at += 1;
            self.out.push('?');
        } else if self.peek() == Some('+') {
            self.at += 1;
            return Err(self.refusal(start, "possessive repetitions"));
        }
        let is_repeated = match self.peek() {
            Some('*' | '+' | '?') => true,
            Some('{') => repeat_counts(&self.rest()[1..]).is_some(),
            _ => false,
        };
        if is_repeated {
            self.at += 1;
            return Err(self.error(start, "multiple repeat in the pattern"));
        }
        Ok(())
    }

    fn refusal(&self, start: usize, what: &str) -> PatternError {
        self.error(start, format!("{what} cannot be used in a pattern"))
            .with_hint("patterns are matched in linear time, without backtracking")
    }

    fn group(&mut self, start: usize) -> Result<()> {
        let refused = [
            ("?P=", "backreferences"),
            ("?=", "look-ahead"),
            ("?!", "look-ahead"),
            ("?<=", "look-behind"),
            ("?<!", "look-behind"),
            ("?>", "atomic groups"),
            ("?(", "conditional groups"),
        ];
        for (lead, what) in refused {
            if self.rest().starts_with(lead) {
                self.at += lead.len();
                return Err(self.refusal(start, what));
            }
        }
        if self.rest().starts_with("?#") {
            return self.comment(start);
        }
        let multi_line = self.multi_line.last() == Some(&true);
        self.out.push('(');
        self.multi_line.push(multi_line);
        if self.rest().starts_with('?') {
            self.at += 1;
            self.out.push('?');
            if !self.rest().starts_with(['P', '<', ':']) {
                return self.flags(start);
            }
        }
        Ok(())
    }

    fn comment(&mut self, start: usize) -> Result<()> {
        match self.rest().find(')') {
            Some(n_bytes) => {
                self.at += n_bytes + 1;
                Ok(())
            }
            None => Err(self.error(start, "the comment in the pattern is never closed")),
        }
    }

    /// `i-s:` or `i)`, after `(?`.
    fn flags(&mut self, start: usize) -> Result<()> {
        let mut enabled = true;
        loop {
            match self.next() {
                Some('-') => {
                    enabled = false;
                    self.out.push('-');
                }
                Some('m') => {
                    self.set_multi_line(enabled);
                    self.out.push('m');
                }
                Some(c @ ('i' | 's' | 'u')) => self.out.push(c),
                Some(':') => {
                    self.out.push(':');
                    return Ok(());
                }
                Some(')') => {
                    // The flags hold for the rest of the group around.
                    let multi_line = self.multi_line.pop() == Some(true);
                    if let Some(outer) = self.multi_line.last_mut() {
                        *outer = multi_line;
                    }
                    self.out.push(')');
                    return Ok(());
                }
                Some(c) if c.is_ascii_alphabetic() => {
                    let message = format!("the flag `{c}` cannot be used in a pattern");
                    let hint = "the flags are `i`, `m` and `s`";
                    return Err(self.error(start, message).with_hint(hint));
                }
                _ => return Err(self.error(start, "expected flags after `(?` in the pattern")),
            }
        }
    }

    fn set_multi_line(&mut self, multi_line: bool) {
        if let Some(last) = self.multi_line.last_mut() {
            *last = multi_line;
        }
    }

    fn escape_outside(&mut self, start: usize) -> Result<()> {
        let place = match self.peek() {
            Some('A') => r"\A",
            Some('Z') => r"\z",
            Some('b') => r"\b",
            Some('B') => r"\B",
            _ => {
                match self.escape(start, false)? {
                    Escape::Char(c) => self.push_char(c),
                    Escape::Class(outside, _) => self.out.push_str(outside),
                }
                return Ok(());
            }
        };
        self.at += 1;
        self.out.push_str(place);
        Ok(())
    }

    /// What stands after a backslash. Python's `\w` is `str.isalnum` and the underscore, its `\s`
    /// is `str.isspace`.
    fn escape(&mut self, start: usize, in_class: bool) -> Result<Escape> {
        let Some(c) = self.next() else {
            return Err(self.error(start, "the pattern ends in a backslash"));
        };
        Ok(match c {
            'd' => Escape::Class(r"\d", r"\d"),
            'D' => Escape::Class(r"\D", r"\D"),
            'w' => Escape::Class(r"[\p{L}\p{N}_]", r"\p{L}\p{N}_"),
            'W' => Escape::Class(r"[^\p{L}\p{N}_]", r"[^\p{L}\p{N}_]"),
            's' => Escape::Class(r"[\s\x1C-\x1F]", r"\s\x1C-\x1F"),
            'S' => Escape::Class(r"[^\s\x1C-\x1F]", r"[^\s\x1C-\x1F]"),
            'a' => Escape::Char('\x07'),
            'f' => Escape::Char('\x0C'),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            't' => Escape::Char('\t'),
            'v' => Escape::Char('\x0B'),
            'b' if in_class => Escape::Char('\x08'),
            'x' => self.hexadecimal(start, 2)?,
            'u' => self.hexadecimal(start, 4)?,
            'U' => self.hexadecimal(start, 8)?,
            '0'..='9' => self.octal(start, in_class)?,
            c if c.is_ascii_alphabetic() => {
                return Err(self.error(start, format!("unknown escape `\\{c}` in the pattern")));
            }
            c => Escape::Char(c),
        })
    }

    fn hexadecimal(&mut self, start: usize, n_digits: usize) -> Result<Escape> {
        let digits = self.rest().get(..n_digits).unwrap_or_default();
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit()) && !digits.is_empty();
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex);
        match code.and_then(char::from_u32) {
            Some(c) => {
                self.at += n_digits;
                Ok(Escape::Char(c))
            }
            None => Err(self.error(
                start,
                format!("the escape needs {n_digits} digits of a character"),
            )),
        }
    }

    /// `\0` and up to two more digits, or three digits; other numbers are backreferences.
    fn octal(&mut self, start: usize, in_class: bool) -> Result<Escape> {
        let digits = &self.pattern[start + 1..];
        let n_octal = digits
            .bytes()
            .take(3)
            .take_while(|b| (b'0'..b'8').contains(b))
            .count();
        if !(digits.starts_with('0') || n_octal == 3 || (in_class && n_octal > 0)) {
            return Err(match in_class {
                true => self.error(start, "unknown escape in the pattern"),
                false => self.refusal(start, "backreferences"),
            });
        }
        self.at = start + 1 + n_octal;
        let code = u32::from_str_radix(&digits[..n_octal], 8)
            .ok()
            .filter(|code| *code <= 0o377);
        match code.and_then(char::from_u32) {
            Some(c) => Ok(Escape::Char(c)),
            None => Err(self.error(start, "the octal escape is above `\\377`")),
        }
    }

    /// `[…]`, in which `[`, `&&`, `--` and `~~` mean nothing to Python.
    fn class(&mut self, start: usize) -> Result<()> {
        self.out.push('[');
        if self.peek() == Some('^') {
            self.at += 1;
            self.out.push('^');
        }
        let first = self.at;
        loop {
            let item = self.at;
            match self.next() {
                None => return Err(self.error(start, "`[` is never closed in the pattern")),
                Some(']') if item > first => {
                    self.out.push(']');
                    return Ok(());
                }
                Some(c) => self.class_item(item, c)?,
            }
        }
    }

    fn class_item(&mut self, start: usize, first: char) -> Result<()> {
        let low = match self.class_char(start, first)? {
            Escape::Char(c) => c,
            Escape::Class(_, inside) => {
                self.out.push_str(inside);
                return Ok(());
            }
        };
        self.push_char(low);
        let mut ahead = self.rest().chars();
        if ahead.next() != Some('-') || matches!(ahead.next(), None | Some(']')) {
            return Ok(());
        }
        self.at += 1;
        let item = self.at;
        let Some(c) = self.next() else {
            return Ok(());
        };
        match self.class_char(item, c)? {
            Escape::Char(high) if low <= high => {
                self.out.push('-');
                self.push_char(high);
                Ok(())
            }
            _ => Err(self.error(start, "bad range in the pattern")),
        }
    }

    fn class_char(&mut self, start: usize, c: char) -> Result<Escape> {
        if c == '\\' {
            self.escape(start, true)
        } else {
            Ok(Escape::Char(c))
        }
    }
}

/// Reads `2}`, `2,}`, `,2}` or `2,3}`: the counts (no second one if there is no comma), and how
/// many bytes they take.
fn repeat_counts(text: &str) -> Option<(&str, Option<&str>, usize)> {
    let (inside, _) = text.split_once('}')?;
    let is_count = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let n_bytes = inside.len() + 1;
    match inside.split_once(',') {
        None => (is_count(inside) && !inside.is_empty()).then_some((inside, None, n_bytes)),
        Some((low, high)) => {
            let low_given = if low.is_empty() { "0" } else { low };
            (is_count(low) && is_count(high)).then_some((low_given, Some(high), n_bytes))
        }
    }
}
