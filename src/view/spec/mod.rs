//! Path specs: format strings as those of `signac view`.
//!
//! `parse` reads a spec, `fields` gives every job the texts of its fields, and `paths` puts them
//! together. Values are inserted once, so braces in them are harmless.

mod error;
mod fields;
mod parse;
mod paths;

pub use error::{PathsError, SpecError};
pub use paths::spec_paths;

use crate::filter::Space;
use crate::pyjson::FormatSpec;
use std::fmt;

/// A format string for the paths of jobs, like `v={velocity}/{angle:03d}`.
#[derive(Clone, Debug, PartialEq)]
pub struct PathSpec {
    text: String,
    /// What stands between slashes; none is empty.
    components: Vec<Vec<Piece>>,
    /// All fields, those inside of a format before the field that they are for.
    fields: Vec<Field>,
    /// The texts of the fields, which `{{auto}}` leaves out if they are keys.
    field_texts: Vec<String>,
}

/// A part of a component.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    /// One of the fields.
    Field(usize),
    /// All keys and values that tell jobs apart, between them a separator.
    Auto(String),
}

/// A place in a spec for a value of the job.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    /// How it is written, without format.
    text: String,
    source: Source,
    /// The way from there to the value.
    steps: Vec<Step>,
    conversion: Option<Conversion>,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Id,
    /// A field of its own name, as `{a}`.
    Key,
    /// Below `job.sp` or `job.doc`.
    Below(Space),
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Name(String),
    Index(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Conversion {
    Str,
    Repr,
    Ascii,
}

#[derive(Clone, Debug, PartialEq)]
enum Format {
    Fixed(FormatSpec),
    /// A format with fields in it.
    Nested(Vec<Piece>),
}

impl PathSpec {
    /// Parses a spec.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        parse::parse(text)
    }

    /// Tells whether paths depend on documents.
    pub fn needs_documents(&self) -> bool {
        let below_document = Source::Below(Space::Document);
        self.fields
            .iter()
            .any(|field| field.source == below_document)
    }
}

/// Writes the spec as it was read.
impl fmt::Display for PathSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Source {
    /// Returns where the value is; `None` for the id.
    fn space(self) -> Option<Space> {
        match self {
            Self::Id => None,
            Self::Key => Some(Space::StatePoint),
            Self::Below(space) => Some(space),
        }
    }
}

impl Step {
    /// Returns the key that it is in an object.
    fn key(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Index(index) => index.to_string(),
        }
    }
}
