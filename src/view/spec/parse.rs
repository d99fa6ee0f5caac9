//! Reading specs, as `str.format` reads them in the two rounds that signac makes.
//!
//! Source: CPython 3.11 `Objects/stringlib/unicode_format.h`, signac 2.4.1 `import_export.py`.

use super::{Conversion, Field, Format, PathSpec, Piece, Source, SpecError, Step};
use crate::filter::Space;
use crate::pyjson::FormatSpec;

/// A format may hold fields, but the format of these may not.
const DEPTH_MAX: u32 = 2;

type Result<T> = std::result::Result<T, SpecError>;

/// A character that the first round leaves, or a field; and its column.
#[derive(Clone, Copy)]
enum Item {
    Char(char),
    Field(usize),
}

pub(super) fn parse(text: &str) -> Result<PathSpec> {
    let chars: Vec<_> = (1..).zip(text.chars()).collect();
    let mut first = FirstRound { fields: Vec::new() };
    let items = first.read(&chars, DEPTH_MAX)?;
    let field_texts = items.iter().filter_map(|(item, _)| match item {
        Item::Field(field) => Some(first.fields[*field].text.clone()),
        Item::Char(_) => None,
    });
    Ok(PathSpec {
        text: text.to_owned(),
        field_texts: field_texts.collect(),
        components: SecondRound::default().read(&items)?,
        fields: first.fields,
    })
}

/// Finds the fields between single braces.
struct FirstRound {
    fields: Vec<Field>,
}

/// Where a field's parts stand, as positions.
struct Extent {
    name_end: usize,
    conversion: Option<char>,
    format: Option<(usize, usize)>,
    /// Behind the closing brace.
    end: usize,
    has_fields: bool,
}

impl FirstRound {
    fn read(&mut self, chars: &[(usize, char)], depth: u32) -> Result<Vec<(Item, usize)>> {
        let mut items = Vec::new();
        let mut at = 0;
        while let Some(&(column, c)) = chars.get(at) {
            let is_double = chars.get(at + 1).is_some_and(|&(_, next)| next == c);
            match c {
                '{' | '}' if is_double => {
                    items.push((Item::Char(c), column));
                    at += 2;
                }
                '{' => {
                    let extent = extent(chars, at)?;
                    let field = self.field(chars, at + 1, &extent, depth)?;
                    items.push((Item::Field(field), column));
                    at = extent.end;
                }
                '}' => return Err(stray(column)),
                _ => {
                    items.push((Item::Char(c), column));
                    at += 1;
                }
            }
        }
        Ok(items)
    }

    fn field(
        &mut self,
        chars: &[(usize, char)],
        start: usize,
        extent: &Extent,
        depth: u32,
    ) -> Result<usize> {
        let column = chars[start - 1].0;
        let text: String = chars[start..extent.name_end]
            .iter()
            .map(|(_, c)| c)
            .collect();
        let (source, steps) = way(&text, column)?;
        let conversion = match extent.conversion {
            None => None,
            Some('s') => Some(Conversion::Str),
            Some('r') => Some(Conversion::Repr),
            Some('a') => Some(Conversion::Ascii),
            Some(other) => {
                let message = format!("there is no conversion `!{}`", other.escape_default());
                return Err(SpecError::new(message, column).with_hint("there are !s, !r and !a"));
            }
        };
        let (start, end) = extent.format.unwrap_or((0, 0));
        let inside = &chars[start..end];
        let format = match extent.has_fields {
            true if depth == 1 => {
                return Err(SpecError::new("fields are nested too deeply", column));
            }
            true => Format::Nested(pieces(&self.read(inside, depth - 1)?)),
            false => {
                let text: String = inside.iter().map(|(_, c)| c).collect();
                let column = inside.first().map_or(column, |(column, _)| *column);
                let error = |error: crate::pyjson::FormatError| {
                    SpecError::new(error.to_string(), column)
                        .with_hint("formats are those of Python, like `03d`, `.2f` or `_>10`")
                };
                Format::Fixed(FormatSpec::parse(&text).map_err(error)?)
            }
        };
        self.fields.push(Field {
            text,
            source,
            steps,
            conversion,
            format,
        });
        Ok(self.fields.len() - 1)
    }
}

fn stray(column: usize) -> SpecError {
    SpecError::new("a `}` closes nothing", column).with_hint("`}}}}` stands for one brace")
}

/// Finds the end of the field that a brace opens, and of its parts.
fn extent(chars: &[(usize, char)], open: usize) -> Result<Extent> {
    let column = chars[open].0;
    let unclosed = || {
        SpecError::new("the field is not closed", column)
            .with_hint("a field is `{key}` or `{key:format}`; `{{{{` stands for one brace")
    };
    let char_at = |at: usize| chars.get(at).map(|(_, c)| *c);
    let mut at = open + 1;
    let name_end = loop {
        match char_at(at).ok_or_else(unclosed)? {
            '{' => return Err(SpecError::new("a field's name has no braces", chars[at].0)),
            '[' => {
                while char_at(at).ok_or_else(unclosed)? != ']' {
                    at += 1;
                }
            }
            '}' | ':' | '!' => break at,
            _ => {}
        }
        at += 1;
    };
    let mut conversion = None;
    if char_at(at) == Some('!') {
        conversion = Some(char_at(at + 1).ok_or_else(unclosed)?);
        at += 2;
        if !matches!(char_at(at).ok_or_else(unclosed)?, ':' | '}') {
            let message = "a conversion is one letter, then `:` or `}`";
            return Err(SpecError::new(message, chars[at].0));
        }
    }
    let mut extent = Extent {
        name_end,
        conversion,
        format: None,
        end: at + 1,
        has_fields: false,
    };
    if char_at(at) == Some('}') {
        return Ok(extent);
    }
    let start = at + 1;
    let mut n_open = 1;
    while n_open > 0 {
        at += 1;
        match char_at(at).ok_or_else(unclosed)? {
            '{' => {
                n_open += 1;
                extent.has_fields = true;
            }
            '}' => n_open -= 1,
            _ => {}
        }
    }
    extent.format = Some((start, at));
    extent.end = at + 1;
    Ok(extent)
}

/// Reads `c.d`, `l[0]` or `job.sp.a`.
fn way(text: &str, column: usize) -> Result<(Source, Vec<Step>)> {
    let first_end = text.find(['.', '[']).unwrap_or(text.len());
    let (first, rest) = text.split_at(first_end);
    let steps = steps(rest, column)?;
    if first.is_empty() || first.bytes().all(|b| b.is_ascii_digit()) {
        let message = format!("`{{{text}}}` names no key");
        return Err(SpecError::new(message, column)
            .with_hint("a field is the key of a state point, like `{velocity}`, or `{job.id}`"));
    }
    if first != "job" {
        let all = std::iter::once(Step::Name(first.to_owned())).chain(steps);
        return Ok((Source::Key, all.collect()));
    }
    let Some((attribute, below)) = steps.split_first() else {
        return Ok((Source::Id, Vec::new()));
    };
    let space = match attribute {
        Step::Name(name) if name == "id" => return Ok((Source::Id, below.to_vec())),
        Step::Name(name) if name == "sp" || name == "statepoint" => Space::StatePoint,
        Step::Name(name) if name == "doc" || name == "document" => Space::Document,
        _ => {
            let message = format!("`{{{text}}}` is nothing that a path can show of a job");
            return Err(SpecError::new(message, column)
                .with_hint("there are `{job.id}`, `{job.sp.KEY}` and `{job.doc.KEY}`"));
        }
    };
    if below.is_empty() {
        let message = format!("`{{{text}}}` is a whole object");
        let hint = format!("name one of its keys: `{{{text}.KEY}}`");
        return Err(SpecError::new(message, column).with_hint(hint));
    }
    Ok((Source::Below(space), below.to_vec()))
}

fn steps(mut rest: &str, column: usize) -> Result<Vec<Step>> {
    let error = |message: &str| Err(SpecError::new(message, column));
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(Step::Name(after[..end].to_owned()));
            rest = &after[end..];
            if end == 0 {
                return error("a key must follow the dot");
            }
        } else if let Some(after) = rest.strip_prefix('[') {
            let Some((inside, after)) = after.split_once(']') else {
                return error("a `[` is not closed");
            };
            let is_number = inside.bytes().all(|b| b.is_ascii_digit());
            match inside.parse() {
                _ if inside.is_empty() => return error("`[]` names nothing"),
                Ok(index) if is_number => steps.push(Step::Index(index)),
                _ if is_number => return error("the index is too large"),
                _ => steps.push(Step::Name(inside.to_owned())),
            }
            rest = after;
        } else {
            return error("only `.` or `[` may follow `]`");
        }
    }
    Ok(steps)
}

/// The pieces of a format.
fn pieces(items: &[(Item, usize)]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (item, _) in items {
        match item {
            Item::Char(c) => push_char(&mut pieces, *c),
            Item::Field(field) => pieces.push(Piece::Field(*field)),
        }
    }
    pieces
}

fn push_char(pieces: &mut Vec<Piece>, c: char) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(c),
        _ => pieces.push(Piece::Text(c.to_string())),
    }
}

/// Finds `{auto}` in what the first round leaves, and splits at slashes.
#[derive(Default)]
struct SecondRound {
    components: Vec<Vec<Piece>>,
    last: Vec<Piece>,
    last_column: usize,
}

impl SecondRound {
    fn read(mut self, items: &[(Item, usize)]) -> Result<Vec<Vec<Piece>>> {
        if let Some((Item::Char('/'), column)) = items.first() {
            return Err(SpecError::new("the path is absolute", *column)
                .with_hint("paths stay inside of the view: leave the first `/` out"));
        }
        self.last_column = 1;
        let mut at = 0;
        while let Some(&(item, column)) = items.get(at) {
            let next = items.get(at + 1).map(|(item, _)| *item);
            let is_double = |brace| matches!(next, Some(Item::Char(next)) if next == brace);
            at += 1;
            match item {
                Item::Field(field) => self.last.push(Piece::Field(field)),
                Item::Char('/') => self.end_component(column + 1)?,
                Item::Char('\0') => return Err(SpecError::new("no name can hold NUL", column)),
                Item::Char(brace @ ('{' | '}')) if is_double(brace) => {
                    push_char(&mut self.last, brace);
                    at += 1;
                }
                Item::Char('}') => return Err(stray(column)),
                Item::Char('{') => {
                    let n_inside = self.auto(&items[at..], column)?;
                    at += n_inside + 1;
                }
                Item::Char(c) => push_char(&mut self.last, c),
            }
        }
        self.end_component(0)?;
        Ok(self.components)
    }

    fn end_component(&mut self, next_column: usize) -> Result<()> {
        let component = std::mem::take(&mut self.last);
        let column = std::mem::replace(&mut self.last_column, next_column);
        match component.as_slice() {
            [] => {}
            [Piece::Text(text)] if text == "." => {}
            [Piece::Text(text)] if text == ".." => return Err(climbing(column)),
            _ => self.components.push(component),
        }
        Ok(())
    }

    /// Reads `auto` or `auto:SEPARATOR` up to the closing brace, and returns how long it is.
    fn auto(&mut self, items: &[(Item, usize)], column: usize) -> Result<usize> {
        let mut inside = String::new();
        for (item, column) in items {
            match item {
                Item::Char('}') => break,
                Item::Char('{') | Item::Field(_) => {
                    let message = "inside of double braces stands no field";
                    return Err(SpecError::new(message, *column)
                        .with_hint("the separator in `{{auto:_}}` is plain text"));
                }
                Item::Char(c) => inside.push(*c),
            }
        }
        let n_inside = inside.chars().count();
        if n_inside == items.len() {
            return Err(SpecError::new("the double brace is not closed", column));
        }
        let separator = match inside.split_once(':') {
            Some(("auto", separator)) => separator,
            None if inside == "auto" => "",
            _ => {
                let message = format!("only `{{{{auto}}}}` has double braces, not `{inside}`");
                let hint = "a field has single braces, and `{{{{` stands for one brace";
                return Err(SpecError::new(message, column).with_hint(hint));
            }
        };
        if separator.contains('\0') {
            return Err(SpecError::new("no name can hold NUL", column));
        }
        if separator.split('/').skip(1).any(|part| part == "..") {
            return Err(climbing(column));
        }
        let separator = if separator.is_empty() { "/" } else { separator };
        self.last.push(Piece::Auto(separator.to_owned()));
        Ok(n_inside)
    }
}

fn climbing(column: usize) -> SpecError {
    SpecError::new("`..` leads out of the view", column)
        .with_hint("paths stay inside of the view: leave it out")
}
