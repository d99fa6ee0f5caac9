//! Tables: a row per job, a column per key.

use super::column::Column;
use super::facts::{Facts, FactsError};
use super::key_name::KeyName;
use crate::filter::Space;
use crate::pyjson::{Value, canonical, dumps};
use roaring::RoaringBitmap;
use std::borrow::Cow;
use std::io;

/// Columns that are not those of keys; a key of that name is shown with `sp.`.
const OUR_COLUMNS: [&str; 2] = ["id", "jobs"];

/// Why something about jobs was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It is not known.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// There it cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A column under its name.
#[derive(Clone, Debug, PartialEq)]
pub struct TableColumn {
    /// The name that stands above it.
    pub name: String,
    /// What stands below.
    pub column: Column,
}

/// Which columns a table has, in this order.
#[derive(Clone, Debug, Default)]
pub struct TableSpec {
    /// Whether the ids are one.
    pub id: bool,
    /// Keys that each are one, as often as they are named.
    pub by: Vec<KeyName>,
    /// Keys that are one each, with those below them that some job has; all if none is named.
    pub keys: Vec<KeyName>,
    /// Leave out those of `keys` that have the same value in every row.
    pub exclude_const: bool,
}

impl TableSpec {
    /// Returns the columns for some jobs, a row for each in their order.
    pub fn columns(
        &self,
        facts: &Facts<'_>,
        jobs: &RoaringBitmap,
    ) -> Result<Vec<TableColumn>, FactsError> {
        let mut columns = Vec::new();
        if self.id {
            columns.push(TableColumn::of_ids(facts, jobs)?);
        }
        for name in &self.by {
            columns.push(TableColumn::of_key(facts, jobs, name)?);
        }
        for name in self.chosen_keys(facts, jobs)? {
            let column = TableColumn::of_key(facts, jobs, &name)?;
            let is_wanted = self.keys.contains(&name) || column.has_values();
            let is_new = columns.iter().all(|other| other.name != column.name);
            if is_wanted && is_new && !(self.exclude_const && column.is_constant()) {
                columns.push(column);
            }
        }
        Ok(columns)
    }

    /// Returns the keys that are named with those below them, or all.
    fn chosen_keys(
        &self,
        facts: &Facts<'_>,
        jobs: &RoaringBitmap,
    ) -> Result<Vec<KeyName>, FactsError> {
        let mut chosen = Vec::new();
        for name in &self.keys {
            chosen.extend(with_keys_below(facts, jobs, name)?);
        }
        if self.keys.is_empty() {
            for space in [Space::StatePoint, Space::Document] {
                let keys = facts.keys(space, jobs)?;
                chosen.extend(keys.into_iter().map(|key| KeyName { space, key }));
            }
        }
        Ok(chosen)
    }
}

/// Returns a key, or the keys below it if it is one of objects.
fn with_keys_below(
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
    name: &KeyName,
) -> Result<Vec<KeyName>, FactsError> {
    let index = facts.key(name.space, &name.key, jobs)?;
    let Some(index) = index.filter(|index| !index.objects.is_empty()) else {
        return Ok(vec![name.clone()]);
    };
    let own = (!index.values.is_empty()).then(|| name.clone());
    let keys = facts.keys(name.space, jobs)?.into_iter();
    let below = keys
        .filter(|key| key.is_below(&name.key))
        .map(|key| KeyName {
            key,
            space: name.space,
        });
    Ok(own.into_iter().chain(below).collect())
}

impl TableColumn {
    fn of_ids(facts: &Facts<'_>, jobs: &RoaringBitmap) -> Result<Self, FactsError> {
        let ids = facts.ids(jobs)?;
        let texts = ids.iter().map(|id| Value::from(id.to_string().as_str()));
        // Jobs come in the order of their ids, so their numbers are the places.
        let places = (0..ids.len() as u32).map(|row| (row, row));
        Ok(Self {
            name: "id".to_owned(),
            column: Column::new(texts.collect(), ids.len(), places),
        })
    }

    fn of_key(facts: &Facts<'_>, jobs: &RoaringBitmap, name: &KeyName) -> Result<Self, FactsError> {
        Ok(Self {
            name: match name.to_string() {
                own if OUR_COLUMNS.contains(&own.as_str()) => format!("sp.{own}"),
                other => other,
            },
            column: facts.column(name.space, &name.key, jobs)?,
        })
    }

    fn has_values(&self) -> bool {
        let n_values = self.column.values().len();
        self.column.ranks().any(|rank| rank < n_values)
    }

    fn is_constant(&self) -> bool {
        let mut ranks = self.column.ranks();
        let first = ranks.next();
        ranks.all(|rank| Some(rank) == first)
    }
}

/// Shows strings as they are, everything else as JSON, and nothing as nothing.
pub fn cell(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        None => Cow::Borrowed(""),
        Some(Value::Str(text)) => match text.to_str() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(text.to_string()),
        },
        Some(value @ (Value::List(_) | Value::Object(_))) => Cow::Owned(canonical(value)),
        Some(value) => Cow::Owned(dumps(value)),
    }
}

/// Writes rows of columns below a header, with a character between cells, which are quoted where
/// they need it (RFC 4180). Rows end in line feeds.
pub fn write_records(
    columns: &[TableColumn],
    rows: impl IntoIterator<Item = usize>,
    delimiter: u8,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(delimiter)
        .terminator(csv::Terminator::Any(b'\n'))
        .from_writer(out);
    writer.write_record(columns.iter().map(|column| &column.name))?;
    for row in rows {
        for column in columns {
            writer.write_field(cell(column.column.get(row)).as_ref())?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()
}

/// Writes the table of some jobs: their ids, then the keys of state points and of documents that
/// one of them has.
pub fn write_table(
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
    delimiter: u8,
    out: &mut dyn io::Write,
) -> Result<(), WriteError> {
    let spec = TableSpec {
        id: true,
        ..TableSpec::default()
    };
    let columns = spec.columns(facts, jobs)?;
    Ok(write_records(
        &columns,
        0..jobs.len() as usize,
        delimiter,
        out,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyjson::parse;

    #[test]
    fn cells_are_quoted_where_they_need_it() {
        let rows = [r#""a\tb""#, r#""say \"x\"""#, "[1, 2.0]", "1e-05", r#""""#];
        let values = rows.map(|json| Some(parse(json).expect("valid JSON")));
        let columns = [TableColumn {
            name: "k,".to_owned(),
            column: values.into_iter().chain([None]).collect(),
        }];
        let text = |delimiter| {
            let mut out = Vec::new();
            write_records(&columns, 0..6, delimiter, &mut out).expect("written");
            String::from_utf8(out).expect("text")
        };
        assert_eq!(
            text(b'\t'),
            "k,\n\"a\tb\"\n\"say \"\"x\"\"\"\n[1, 2.0]\n1e-05\n\"\"\n\"\"\n"
        );
        assert!(text(b',').starts_with("\"k,\"\na\tb\n"));
    }
}
