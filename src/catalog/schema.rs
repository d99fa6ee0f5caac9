//! Schemas: which keys some jobs have, and values of which types.

use super::facts::{Facts, FactsError};
use super::key_name::KeyName;
use super::table::WriteError;
use crate::filter::Space;
use crate::pyjson::{Value, dumps, dumps_str, view_str};
use crate::statepoint::Key;
use roaring::RoaringBitmap;
use std::io;

/// Values at the end of a range that is shortened.
const N_TAIL: usize = 2;

/// How a schema is shown.
#[derive(Clone, Debug)]
pub struct SchemaStyle {
    /// Leave out keys that have the same value in all jobs.
    pub exclude_const: bool,
    /// Round numbers to so many decimals.
    pub precision: Option<u8>,
    /// Show at most so many values of a type, at least three.
    pub max_values: u32,
}

impl SchemaStyle {
    /// So many values of a type are shown unless something else is asked for.
    pub const MAX_VALUES: u32 = 5;
}

impl Default for SchemaStyle {
    fn default() -> Self {
        Self {
            exclude_const: false,
            precision: None,
            max_values: Self::MAX_VALUES,
        }
    }
}

/// The keys of some jobs.
#[derive(Clone, Debug)]
pub struct Schema {
    summaries: Vec<Summary>,
    n_jobs: usize,
    documents: bool,
}

/// A key and its values, sorted, each with the number of jobs that have it.
#[derive(Clone, Debug)]
struct Summary {
    name: KeyName,
    counts: Vec<(Value, usize)>,
    n_objects: usize,
}

impl Schema {
    /// Sums up the state points of some jobs, and if asked to their documents.
    pub fn of(
        facts: &Facts<'_>,
        jobs: &RoaringBitmap,
        documents: bool,
    ) -> Result<Self, FactsError> {
        let mut summaries = Vec::new();
        let spaces = [Space::StatePoint, Space::Document];
        for &space in &spaces[..1 + usize::from(documents)] {
            for key in facts.keys(space, jobs)? {
                let (counts, n_objects) = counts(facts, jobs, space, &key)?;
                // Keys of objects are seen in what is below them.
                if !counts.is_empty() {
                    summaries.push(Summary {
                        name: KeyName { space, key },
                        counts,
                        n_objects,
                    });
                }
            }
        }
        Ok(Self {
            summaries,
            n_jobs: jobs.len() as usize,
            documents,
        })
    }

    fn shown(&self, style: &SchemaStyle) -> impl Iterator<Item = &Summary> {
        let exclude_const = style.exclude_const;
        let n_jobs = self.n_jobs;
        self.summaries
            .iter()
            .filter(move |summary| !(exclude_const && summary.is_constant(n_jobs)))
    }

    /// Writes it as `signac schema` does.
    pub fn write_text(&self, style: &SchemaStyle, out: &mut dyn io::Write) -> io::Result<()> {
        writeln!(out, "{{")?;
        for summary in self.shown(style) {
            // signac shows no documents, so it needs nothing to tell `doc.x` from.
            let name = if self.documents {
                summary.name.to_string()
            } else {
                summary.name.key.to_string()
            };
            writeln!(out, " '{name}': '{}',", summary.to_text(style))?;
        }
        writeln!(out, "}}")
    }

    /// Writes a JSON object per key.
    pub fn write_json(&self, style: &SchemaStyle, out: &mut dyn io::Write) -> io::Result<()> {
        self.shown(style)
            .try_for_each(|summary| writeln!(out, "{}", summary.to_json(self.n_jobs)))
    }
}

/// Writes the schema of some jobs as `signac schema` does.
pub fn write_schema(
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
    out: &mut dyn io::Write,
) -> Result<(), WriteError> {
    let schema = Schema::of(facts, jobs, false)?;
    Ok(schema.write_text(&SchemaStyle::default(), out)?)
}

/// Returns the values that some jobs have at a key with the number of jobs that have each, and the
/// number of jobs that have an object there.
fn counts(
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
    space: Space,
    key: &Key,
) -> Result<(Vec<(Value, usize)>, usize), FactsError> {
    if space == Space::StatePoint && jobs.len() as usize == facts.n_jobs() {
        return facts.counts(key);
    }
    let Some(index) = facts.key(space, key, jobs)? else {
        return Ok((Vec::new(), 0));
    };
    let counted = index.values.iter();
    let counted = counted.map(|entry| (&entry.value, entry.jobs.n_common(jobs)));
    let counts = counted.filter(|(_, n)| *n > 0);
    Ok((
        counts.map(|(value, n)| (value.clone(), n)).collect(),
        index.objects.intersection_len(jobs) as usize,
    ))
}

impl Summary {
    fn n_present(&self) -> usize {
        self.n_objects + self.counts.iter().map(|(_, n)| n).sum::<usize>()
    }

    fn is_constant(&self, n_jobs: usize) -> bool {
        self.counts.len() == 1 && self.counts[0].1 == n_jobs
    }

    /// Splits the values, which are sorted by type but for numbers, by Python's types.
    fn by_type(&self) -> Vec<(&'static str, Vec<(&Value, usize)>)> {
        let mut types: Vec<(&'static str, Vec<(&Value, usize)>)> = Vec::new();
        for (value, n) in &self.counts {
            let name = type_name(value);
            match types.iter_mut().find(|(other, _)| *other == name) {
                Some((_, values)) => values.push((value, *n)),
                None => types.push((name, vec![(value, *n)])),
            }
        }
        types
    }

    /// Lays the values out as `signac schema` does.
    fn to_text(&self, style: &SchemaStyle) -> String {
        let max = style.max_values as usize;
        let types = self.by_type().into_iter().map(|(name, values)| {
            let show = |(value, _): &(&Value, usize)| {
                view_str(&rounded(value, style.precision)).to_string()
            };
            let shown: Vec<_> = if values.len() <= max {
                values.iter().map(show).collect()
            } else {
                let head = values[..max.saturating_sub(N_TAIL)].iter().map(show);
                let tail = values[values.len().saturating_sub(N_TAIL)..]
                    .iter()
                    .map(show);
                head.chain(["...".to_owned()]).chain(tail).collect()
            };
            format!("{name}([{}], {})", shown.join(", "), values.len())
        });
        types.collect::<Vec<_>>().join(", ")
    }

    fn to_json(&self, n_jobs: usize) -> String {
        let types = self.by_type().into_iter().map(|(name, values)| {
            let n: usize = values.iter().map(|(_, n)| n).sum();
            let (min, max) = (dumps(values[0].0), dumps(values[values.len() - 1].0));
            format!(
                "\"{name}\": {{\"values\": {}, \"jobs\": {n}, \"min\": {min}, \"max\": {max}}}",
                values.len()
            )
        });
        let types: Vec<_> = types.collect();
        format!(
            "{{\"key\": {}, \"jobs\": {}, \"constant\": {}, \"types\": {{{}}}}}",
            dumps_str(&self.name.to_string().into()),
            self.n_present(),
            self.is_constant(n_jobs),
            types.join(", ")
        )
    }
}

/// Names the type as Python does; signac shows lists as tuples.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Str(_) => "str",
        Value::List(_) => "tuple",
        Value::Object(_) => "dict",
    }
}

/// Rounds a float as Python's `round` does: correctly, from its exact value.
fn rounded(value: &Value, decimals: Option<u8>) -> Value {
    match (value, decimals) {
        (Value::Float(float), Some(decimals)) if float.is_finite() => {
            let text = format!("{float:.*}", usize::from(decimals));
            Value::Float(text.parse().expect("a number"))
        }
        _ => value.clone(),
    }
}
