//! Quoting values for the places where they stand in a command.
//!
//! The text of a template is followed as `bash` reads it, as far as needed to know between which
//! quotes a value stands. Where that is not known, or nothing can be quoted, only values without
//! special characters are let through.

use super::MARK;
use super::error::TemplateError;

/// Where in a command a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In `(…)` or `$(…)`, or in no brackets if it is the outermost.
    Words,
    /// In `'…'`.
    Single,
    /// In `"…"`.
    Double,
    /// In a comment.
    Comment,
    /// In `$'…'`.
    Escapes,
    /// In `` `…` ``.
    Backquotes,
    /// In `${…}`.
    Parameter,
    /// In the lines of a here-document.
    Here,
    /// Where we do not know how bash reads it: from there on to the end.
    Unknown(&'static str),
}

/// Tells whether bash takes a character for itself wherever it stands.
pub(super) fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '@' | '%' | '+' | ',')
}

/// Puts quotes around the marked values of a rendered template, and takes the marks away.
pub(super) fn quoted(rendered: &str) -> Result<String, TemplateError> {
    let mut reader = Reader {
        places: vec![Place::Words],
        text: String::with_capacity(rendered.len()),
        is_escaped: false,
        escaped_end: None,
        here: None,
        is_cut: false,
    };
    let mut parts = rendered.split(MARK);
    reader.push_template(parts.next().unwrap_or_default());
    while let Some(value) = parts.next() {
        let Some(after) = parts.next() else {
            return Err(TemplateError::new("a printed value was cut by a filter"));
        };
        reader.push_value(value, after)?;
        reader.push_template(after);
        if reader.is_cut {
            return Err(TemplateError::new("a value is the end of a here-document")
                .with_hint("choose a word for its end that no value can be"));
        }
    }
    Ok(reader.text)
}

/// Follows a command to its end.
struct Reader {
    places: Vec<Place>,
    /// What was read, with values quoted.
    text: String,
    /// A backslash stands before the next character.
    is_escaped: bool,
    /// Where the last character with a backslash before it ends.
    escaped_end: Option<usize>,
    /// The here-document that begins in the next line, or in whose lines we are.
    here: Option<Here>,
    /// A value was the line that ends a here-document.
    is_cut: bool,
}

/// A here-document.
#[derive(Clone, Debug)]
struct Here {
    /// The line that ends it.
    end: String,
    /// bash takes all of it as it is.
    is_verbatim: bool,
    /// Lines may begin with tabs, which do not count.
    has_tabs: bool,
    /// Where a value in its last line ends.
    value_end: Option<usize>,
}

impl Here {
    /// Reads what stands after `<<`; returns it and how many bytes it takes.
    fn read(text: &str) -> Option<(Self, usize)> {
        let after = text.strip_prefix('-').unwrap_or(text);
        let has_tabs = after.len() < text.len();
        let after = after.trim_start_matches([' ', '\t']);
        let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let word = after.strip_prefix(['\'', '"']).unwrap_or(after);
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = &word[..word.find(|c| !is_letter(c))?];
        let rest = &word[end.len()..];
        let rest = match quote {
            Some(quote) => rest.strip_prefix(quote)?,
            None => rest,
        };
        let is_word = !end.is_empty() && rest.starts_with([' ', '\t', '\n', '|', '>', ';', '&']);
        let here = Self {
            end: end.to_owned(),
            is_verbatim: quote.is_some(),
            has_tabs,
            value_end: None,
        };
        is_word.then_some((here, text.len() - rest.len()))
    }
}

impl Reader {
    fn place(&self) -> Place {
        *self.places.last().unwrap_or(&Place::Words)
    }

    fn enter(&mut self, place: Place) {
        // What goes over several lines would hold the here-document that begins in the next.
        match self.here {
            Some(_) => self.places.push(Place::Unknown("after a here-document")),
            None => self.places.push(place),
        }
    }

    fn leave(&mut self) {
        if self.places.len() > 1 {
            self.places.pop();
        }
    }

    fn push_template(&mut self, part: &str) {
        let mut rest = part;
        while let Some(c) = rest.chars().next() {
            let n_bytes = match std::mem::take(&mut self.is_escaped) {
                true if c == '\n' => 1,
                true => {
                    self.escaped_end = Some(self.text.len() + c.len_utf8());
                    c.len_utf8()
                }
                false => self.follow(c, rest),
            };
            self.text.push_str(&rest[..n_bytes]);
            rest = &rest[n_bytes..];
        }
    }

    /// Sees what begins or ends here; returns how many bytes belong together.
    fn follow(&mut self, c: char, rest: &str) -> usize {
        let place = self.place();
        match (place, c) {
            (Place::Unknown(_), _) => {}
            (Place::Here, c) => self.follow_here(c, rest),
            (Place::Words, '\n') if self.here.is_some() => self.places.push(Place::Here),
            (Place::Words, '\\') if self.here.is_some() => {
                self.enter(Place::Unknown("after a here-document"));
            }
            (Place::Single, '\'') | (Place::Escapes, '\'') | (Place::Double, '"') => self.leave(),
            (Place::Backquotes, '`') | (Place::Parameter, '}') | (Place::Comment, '\n') => {
                self.leave();
            }
            (Place::Single | Place::Comment, _) => {}
            // A line that goes on in the next one, which could part what belongs together.
            (Place::Words, '\\')
                if rest.starts_with("\\\n") && !self.text.ends_with([' ', '\t']) =>
            {
                self.enter(Place::Unknown("after a word that goes on in the next line"));
            }
            (Place::Double, '\\') if rest.starts_with("\\\n") && self.text.ends_with('$') => {
                self.enter(Place::Unknown("after a word that goes on in the next line"));
            }
            (_, '\\') => self.is_escaped = true,
            (Place::Escapes | Place::Backquotes, _) => {}
            (Place::Parameter, '\'' | '"' | '`' | '$' | '{') => {
                self.enter(Place::Unknown("after quotes in `${…}`"));
            }
            (Place::Parameter, _) => {}
            (Place::Words | Place::Double, '$') => return self.dollar(rest),
            (Place::Words | Place::Double, '`') => self.enter(Place::Backquotes),
            (Place::Double, _) => {}
            (Place::Words, '\'') => self.enter(Place::Single),
            (Place::Words, '"') => self.enter(Place::Double),
            (Place::Words, '(') => self.enter(Place::Words),
            (Place::Words, ')') => self.leave(),
            // A comment after `(…)`, but not after `$(…)`.
            (Place::Words, '#') if self.text.ends_with(')') => {
                self.enter(Place::Unknown("after `)#`"));
            }
            (Place::Words, '#') if self.is_at_word() => self.enter(Place::Comment),
            (Place::Words, '<') if rest.starts_with("<<<") => return 3,
            (Place::Words, '<') if rest.starts_with("<<") => return self.begin_here(rest),
            // bash expands the word after `>&` twice.
            (Place::Words, '<' | '>') if rest[1..].starts_with('&') && !is_stream(&rest[2..]) => {
                self.enter(Place::Unknown("after `>&`"));
            }
            // Its patterns end in `)`, which then does not end `"$(`.
            (Place::Words, 'c')
                if rest.starts_with("case") && self.is_at_word() && self.is_in_double() =>
            {
                self.enter(Place::Unknown("after `case` in `\"$(…)\"`"));
            }
            (Place::Words, _) => {}
        }
        c.len_utf8()
    }

    /// Sees a here-document begin, where no brackets could make it something else.
    fn begin_here(&mut self, rest: &str) -> usize {
        match Here::read(&rest[2..]) {
            Some((here, n_bytes)) if self.places.len() == 1 && self.here.is_none() => {
                self.here = Some(here);
                2 + n_bytes
            }
            _ => {
                self.enter(Place::Unknown("after the beginning of a here-document"));
                2
            }
        }
    }

    /// Sees whether a here-document ends with a line, or something begins in it.
    fn follow_here(&mut self, c: char, rest: &str) {
        let Some(here) = &self.here else {
            return;
        };
        match c {
            '\n' => {
                let start = self.text.rfind('\n').map_or(0, |at| at + 1);
                let line = &self.text[start..];
                let line = if here.has_tabs {
                    line.trim_start_matches('\t')
                } else {
                    line
                };
                if line == here.end {
                    self.is_cut = here.value_end.is_some_and(|end| end >= start) || self.is_cut;
                    self.here = None;
                    self.leave();
                }
            }
            _ if here.is_verbatim => {}
            '\\' if rest.starts_with("\\\n") => self.enter(Place::Unknown("in a here-document")),
            '\\' => self.is_escaped = true,
            '`' => self.enter(Place::Unknown("in a here-document")),
            '$' if rest[1..].starts_with(['(', '{', '[']) => {
                self.enter(Place::Unknown("in a here-document"));
            }
            _ => {}
        }
    }

    /// Sees what a dollar begins.
    fn dollar(&mut self, rest: &str) -> usize {
        let is_double = self.place() == Place::Double;
        match rest.as_bytes().get(1) {
            Some(b'(') => self.enter(Place::Words),
            Some(b'{') => self.enter(Place::Parameter),
            Some(b'[') => self.enter(Place::Unknown("after `$[`")),
            Some(b'\'') if !is_double => self.enter(Place::Escapes),
            Some(b'"') if !is_double => self.enter(Place::Double),
            // Another parameter than `$$`, of which the next dollar would be part.
            Some(b'$') => {}
            _ => return 1,
        }
        2
    }

    /// Tells whether a word could begin here.
    fn is_at_word(&self) -> bool {
        let last = self.text.chars().next_back();
        let ends_word = |c| {
            matches!(
                c,
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>'
            )
        };
        last.is_none_or(ends_word) && self.escaped_end != Some(self.text.len())
    }

    fn is_in_double(&self) -> bool {
        self.places.contains(&Place::Double)
    }

    /// Adds a value so that it arrives as it is.
    fn push_value(&mut self, value: &str, after: &str) -> Result<(), TemplateError> {
        let is_plain = !value.is_empty() && value.chars().all(is_plain);
        let place = self.place();
        // Without the value, what stands before it would belong to what stands after it.
        let before = match place {
            _ if std::mem::take(&mut self.is_escaped) => Some("after a backslash"),
            Place::Words | Place::Double | Place::Here if self.text.ends_with('$') => {
                Some("after a dollar")
            }
            _ => None,
        };
        if let Some(before) = before.filter(|_| !is_plain) {
            return Err(unquotable(value, Place::Unknown(before)));
        }
        if matches!(place, Place::Unknown(_)) && self.is_whole_line(after) {
            return Err(unquotable(value, place));
        }
        let is_line = !value.contains('\n');
        match place {
            // `2>` would be read as the number of a stream.
            Place::Words if is_plain && !after.starts_with(['<', '>', '\\']) => {
                self.text.push_str(value);
            }
            Place::Words if is_line || self.here.is_none() => self.push_quoted(value),
            Place::Comment if !is_plain && is_line => self.push_quoted(value),
            Place::Single => self.text.push_str(&value.replace('\'', r"'\''")),
            Place::Double => self.push_escaped(value, &['\\', '"', '$', '`']),
            Place::Here if is_line => self.push_here(value),
            _ if is_plain || value.is_empty() => self.text.push_str(value),
            place => return Err(unquotable(value, place)),
        }
        Ok(())
    }

    /// Tells whether the line could be one that ends a here-document we do not know of.
    fn is_whole_line(&self, after: &str) -> bool {
        let Some(start) = self.text.rfind('\n') else {
            return false;
        };
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '\t');
        let rest = after.split('\n').next().unwrap_or_default();
        self.text[start + 1..]
            .chars()
            .chain(rest.chars())
            .all(is_letter)
    }

    fn push_here(&mut self, value: &str) {
        let is_verbatim = self.here.as_ref().is_some_and(|here| here.is_verbatim);
        match is_verbatim {
            true => self.text.push_str(value),
            false => self.push_escaped(value, &['\\', '$', '`']),
        }
        if let Some(here) = &mut self.here {
            here.value_end = Some(self.text.len());
        }
    }

    fn push_escaped(&mut self, value: &str, special: &[char]) {
        for c in value.chars() {
            if special.contains(&c) {
                self.text.push('\\');
            }
            self.text.push(c);
        }
    }

    fn push_quoted(&mut self, value: &str) {
        self.text.push('\'');
        self.text.push_str(&value.replace('\'', r"'\''"));
        self.text.push('\'');
    }
}

/// Tells whether the number of a stream stands here, or a dash.
fn is_stream(text: &str) -> bool {
    let after = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
    after.len() < text.len() && after.starts_with([' ', '\t', '\n', ';', '|', '&', ')'])
}

fn unquotable(value: &str, place: Place) -> TemplateError {
    let place = match place {
        Place::Comment => "in a comment",
        Place::Escapes => "in `$'…'`",
        Place::Backquotes => "in backquotes",
        Place::Parameter => "in `${…}`",
        Place::Here => "in a line of a here-document",
        Place::Unknown(place) => place,
        Place::Words | Place::Single | Place::Double => "here",
    };
    TemplateError::new(format!("{value:?} cannot be quoted {place}")).with_hint(
        "assign it to a variable first, `x={{ … }}`, and use that; or append `| raw` to have bash read it",
    )
}
