//! What fields say of each job.

use super::{Conversion, Field, Format, PathSpec, PathsError, Piece, Step};
use crate::catalog::{Facts, JobIdx, Snapshot};
use crate::filter::{Space, nearest};
use crate::pyjson::{FormatError, FormatSpec, PyStr, Value, py_ascii, py_repr, py_str};
use crate::statepoint::{Key, push_part};
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::borrow::Cow;
use std::collections::HashMap;

/// The row of a job that is not selected, and the place of a value that a row has not.
const NONE: u32 = u32::MAX;

/// Values or texts, and for each row the place of its own.
pub(super) struct Cells<T> {
    pub(super) items: Vec<T>,
    pub(super) places: Vec<u32>,
}

/// The selected jobs as rows, and what can be asked of them.
pub(super) struct Rows<'a> {
    snapshot: &'a Snapshot,
    facts: &'a Facts<'a>,
    selection: &'a RoaringBitmap,
    jobs: Vec<JobIdx>,
    row_of: Vec<u32>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        facts: &'a Facts<'a>,
        selection: &'a RoaringBitmap,
    ) -> Self {
        let jobs: Vec<_> = selection.iter().collect();
        let mut row_of = vec![NONE; snapshot.jobs().len()];
        for (row, &job) in (0..).zip(&jobs) {
            row_of[job as usize] = row;
        }
        Self {
            snapshot,
            facts,
            selection,
            jobs,
            row_of,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Returns the texts of all fields of a spec, in the order of the values.
    pub(super) fn texts(&self, spec: &PathSpec) -> Result<Vec<Cells<PyStr>>, PathsError> {
        self.check_names(spec)?;
        let mut texts = Vec::with_capacity(spec.fields.len());
        for field in &spec.fields {
            let values = self.values(field)?;
            let found = match &field.format {
                Format::Fixed(format) => self.written(field, values, format)?,
                Format::Nested(pieces) => self.written_each(field, &values, pieces, &texts)?,
            };
            texts.push(found);
        }
        Ok(texts)
    }

    /// Refuses `{a}` for a job whose state point has a key `job`, as signac does.
    fn check_names(&self, spec: &PathSpec) -> Result<(), PathsError> {
        let mut bare = spec.fields.iter();
        let bare = bare.find(|field| field.source == super::Source::Key);
        let (Some(field), Some(index)) = (bare, self.snapshot.key(&Key::parse("job"))) else {
            return Ok(());
        };
        let values = index.values.iter().flat_map(|entry| entry.jobs.iter());
        let with_key = values.chain(&index.objects);
        let Some(row) = with_key.map(|job| self.row_of[job as usize]).min() else {
            return Ok(());
        };
        if row == NONE {
            return Ok(());
        }
        let message = "its state point has a key `job`, which fields take for the job itself";
        let hint = format!("write `{{job.sp.{0}}}` instead of `{{{0}}}`", field.text);
        Err(self.error(row, message.into(), Some(hint)))
    }

    fn error(&self, row: u32, message: String, hint: Option<String>) -> PathsError {
        PathsError::Job {
            job: self.snapshot.jobs()[self.jobs[row as usize] as usize].id,
            message,
            hint,
        }
    }

    /// Returns the values of a field, sorted; each is some row's.
    fn values(&self, field: &Field) -> Result<Cells<Value>, PathsError> {
        let mut cells = Cells {
            items: Vec::new(),
            places: vec![NONE; self.len()],
        };
        match field.source.space() {
            None => {
                for (row, &job) in self.jobs.iter().enumerate() {
                    let id = self.snapshot.jobs()[job as usize].id.to_string();
                    if let Some(value) = follow(&Value::from(id.as_str()), &field.steps) {
                        cells.places[row] = cells.items.len() as u32;
                        cells.items.push(value.into_owned());
                    }
                }
            }
            Some(space) => self.fill(&mut cells, space, field)?,
        }
        let Some(row) = cells.places.iter().position(|&place| place == NONE) else {
            cells.sort();
            return Ok(cells);
        };
        Err(self.missing(field, &cells, row as u32))
    }

    /// Looks for values at the key that the steps are, and in the values at keys above.
    fn fill(
        &self,
        cells: &mut Cells<Value>,
        space: Space,
        field: &Field,
    ) -> Result<(), PathsError> {
        let mut dotted = Vec::new();
        for (i, step) in field.steps.iter().enumerate() {
            if i > 0 {
                dotted.push(b'.');
            }
            push_part(&mut dotted, &step.key().into());
            let key = Key::from_dotted(&dotted);
            let Some(index) = self.facts.key(space, &key, self.selection)? else {
                continue;
            };
            let below = &field.steps[i + 1..];
            for entry in &index.values {
                let Some(value) = follow(&entry.value, below) else {
                    continue;
                };
                let rows = entry.jobs.iter().map(|job| self.row_of[job as usize]);
                let mut rows = rows.filter(|&row| row != NONE).peekable();
                if rows.peek().is_some() {
                    let place = cells.items.len() as u32;
                    rows.for_each(|row| cells.places[row as usize] = place);
                    cells.items.push(value.into_owned());
                }
            }
            let object = (&index.objects & self.selection).min();
            if let (true, Some(job)) = (below.is_empty(), object) {
                return Err(self.object(field, self.row_of[job as usize]));
            }
        }
        Ok(())
    }

    fn missing(&self, field: &Field, cells: &Cells<Value>, row: u32) -> PathsError {
        let n_missing = cells.places.iter().filter(|&&place| place == NONE).count();
        if n_missing == self.len() {
            return PathsError::UnknownKey {
                field: field.text.clone(),
                hint: self.suggestion(field),
            };
        }
        let message = match n_missing {
            1 => format!("it lacks `{{{}}}`", field.text),
            n => format!("it lacks `{{{}}}`, as do {} others", field.text, n - 1),
        };
        let condition = condition(field);
        let hint = condition.map(|key| format!("`-f 'exists({key})'` leaves out jobs without it"));
        self.error(row, message, hint)
    }

    fn suggestion(&self, field: &Field) -> Option<String> {
        let space = field.source.space()?;
        let keys = self.facts.keys(space, self.selection).ok()?;
        let steps: Vec<_> = field.steps.iter().map(Step::key).collect();
        let names = keys.iter().filter_map(|key| key.dotted().to_str());
        let name = nearest(&steps.join("."), names)?;
        let prefix = match (field.source, space) {
            (super::Source::Key, _) => "",
            (_, Space::StatePoint) => "job.sp.",
            (_, Space::Document) => "job.doc.",
        };
        Some(format!("did you mean `{{{prefix}{name}}}`?"))
    }

    /// Writes each value once.
    fn written(
        &self,
        field: &Field,
        values: Cells<Value>,
        format: &FormatSpec,
    ) -> Result<Cells<PyStr>, PathsError> {
        let texts: Vec<_> = values
            .items
            .par_iter()
            .map(|value| text(field, value, format))
            .collect();
        let first_error = values.places.iter().zip(0..).find_map(|(&place, row)| {
            let error = texts[place as usize].as_ref().err()?;
            Some(self.unwritten(field, row, &values.items[place as usize], format, error))
        });
        match first_error {
            Some(error) => Err(error),
            None => Ok(Cells {
                items: texts.into_iter().flatten().collect(),
                places: values.places,
            }),
        }
    }

    fn unwritten(
        &self,
        field: &Field,
        row: u32,
        value: &Value,
        format: &FormatSpec,
        error: &FormatError,
    ) -> PathsError {
        let name = &field.text;
        if let Value::Object(_) = value {
            return self.object(field, row);
        }
        let as_text = format.format(&Value::Str(py_str(value)));
        let hint = as_text.is_ok().then(|| {
            format!("`!s` before the format makes a text of any value: `{{{name}!s:{format}}}`")
        });
        self.error(row, format!("in `{{{name}}}`, {error}"), hint)
    }

    fn object(&self, field: &Field, row: u32) -> PathsError {
        let message = format!("`{{{}}}` is an object", field.text);
        let hint = format!("name one of its keys: `{{{}.KEY}}`", field.text);
        self.error(row, message, Some(hint))
    }

    /// Writes each value once for every format that it comes with.
    fn written_each(
        &self,
        field: &Field,
        values: &Cells<Value>,
        pieces: &[Piece],
        texts: &[Cells<PyStr>],
    ) -> Result<Cells<PyStr>, PathsError> {
        let inner = pieces.iter().filter_map(|piece| match piece {
            Piece::Field(field) => Some(texts[*field].places.as_slice()),
            _ => None,
        });
        let columns: Vec<_> = std::iter::once(values.places.as_slice())
            .chain(inner)
            .collect();
        let (places, rows) = combined(&columns);
        let written = |row: u32| {
            let mut format = String::new();
            for piece in pieces {
                match piece {
                    Piece::Field(field) => format += &texts[*field].get(row).to_string(),
                    Piece::Text(text) | Piece::Auto(text) => format += text,
                }
            }
            let result =
                FormatSpec::parse(&format).and_then(|format| text(field, values.get(row), &format));
            result.map_err(|error| self.error(row, format!("`{{{}}}`: {error}", field.text), None))
        };
        // A value's texts stay together.
        let mut order: Vec<_> = (0..rows.len()).collect();
        order.sort_by_key(|&i| values.places[rows[i] as usize]);
        let mut place_of = vec![0; rows.len()];
        let mut items = Vec::with_capacity(rows.len());
        for i in order {
            place_of[i] = items.len() as u32;
            items.push(written(rows[i])?);
        }
        Ok(Cells {
            items,
            places: places.iter().map(|&i| place_of[i as usize]).collect(),
        })
    }
}

impl<T> Cells<T> {
    pub(super) fn get(&self, row: u32) -> &T {
        &self.items[self.places[row as usize] as usize]
    }
}

impl Cells<Value> {
    fn sort(&mut self) {
        if self.items.is_sorted() {
            return;
        }
        let mut items: Vec<_> = std::mem::take(&mut self.items)
            .into_iter()
            .zip(0_u32..)
            .collect();
        items.par_sort();
        let mut place_of = vec![0; items.len()];
        for (place, (value, old)) in (0..).zip(items) {
            place_of[old as usize] = place;
            self.items.push(value);
        }
        for place in &mut self.places {
            *place = place_of[*place as usize];
        }
    }
}

/// Numbers the rows by what they have in some columns, and gives a row for each number.
pub(super) fn combined(columns: &[&[u32]]) -> (Vec<u32>, Vec<u32>) {
    let n_rows = columns.first().map_or(0, |column| column.len());
    let mut numbers = vec![0; n_rows];
    let mut rows = Vec::new();
    for column in columns {
        rows.clear();
        let mut known = HashMap::new();
        for (row, number) in (0..).zip(&mut numbers) {
            *number = *known
                .entry((*number, column[row as usize]))
                .or_insert_with(|| {
                    rows.push(row);
                    rows.len() as u32 - 1
                });
        }
    }
    (numbers, rows)
}

/// Goes from a value into lists, texts, and objects in lists.
fn follow<'v>(value: &'v Value, steps: &[Step]) -> Option<Cow<'v, Value>> {
    let Some((step, below)) = steps.split_first() else {
        return Some(Cow::Borrowed(value));
    };
    match (value, step) {
        (Value::List(items), Step::Index(index)) => follow(items.get(*index)?, below),
        (Value::Object(object), _) => follow(object.get(&step.key().into())?, below),
        (Value::Str(string), Step::Index(index)) => {
            let character = char::from_u32(string.code_points().nth(*index)?)?;
            let value = Value::from(character.to_string().as_str());
            follow(&value, below).map(|value| Cow::Owned(value.into_owned()))
        }
        _ => None,
    }
}

fn text(field: &Field, value: &Value, format: &FormatSpec) -> Result<PyStr, FormatError> {
    match field.conversion {
        _ if matches!(value, Value::Object(_)) => Err(FormatError::Object),
        None => format.format(value),
        Some(Conversion::Str) => format.format(&Value::Str(py_str(value))),
        Some(Conversion::Repr) => format.format(&Value::Str(py_repr(value))),
        Some(Conversion::Ascii) => format.format(&Value::Str(py_ascii(value))),
    }
}

/// Returns the key of a field as filters write it, if it is a plain one.
fn condition(field: &Field) -> Option<String> {
    let prefix = match field.source.space()? {
        Space::StatePoint => "",
        Space::Document => "doc.",
    };
    let steps: Vec<_> = field.steps.iter().map(Step::key).collect();
    let is_plain = |step: &String| step.chars().all(|c| c.is_alphanumeric() || c == '_');
    let is_key =
        field.steps.iter().all(|step| matches!(step, Step::Name(_))) && steps.iter().all(is_plain);
    is_key.then(|| format!("{prefix}{}", steps.join(".")))
}
