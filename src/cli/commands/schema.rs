//! `sweepfs schema`

use crate::catalog::{Facts, FactsError};
use crate::cli::args::SchemaArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::selection::{KeyName, Selection};
use crate::filter::Space;
use crate::pyjson::{Value, dumps, dumps_str, view_str};
use roaring::RoaringBitmap;

/// Values at the end of a range that is shortened.
const N_TAIL: usize = 2;

/// A key and its values, sorted, each with the number of jobs that have it.
struct Summary {
    name: KeyName,
    counts: Vec<(Value, usize)>,
    n_objects: usize,
}

pub(in crate::cli) fn run(context: &Context<'_>, args: &SchemaArgs) -> Result<Exit, CliError> {
    let selection = Selection::new(context, &args.selection, &[], &[])?;
    let workspace = context.workspace()?;
    let found = context.ask(&workspace, &selection, |facts, jobs| {
        Ok((jobs.len() as usize, summaries(facts, jobs, args.doc)?))
    })?;
    let (n_jobs, summaries) = found.answer;
    let shown = summaries
        .iter()
        .filter(|s| !(args.exclude_const && s.is_constant(n_jobs)));
    if args.json {
        for summary in shown {
            context.term.line(summary.to_json(n_jobs))?;
        }
        return Ok(found.exit);
    }
    context.term.line("{")?;
    for summary in shown {
        // signac shows no documents, so it needs nothing to tell `doc.x` from.
        let name = if args.doc {
            summary.name.to_string()
        } else {
            summary.name.key.to_string()
        };
        context
            .term
            .line(format_args!(" '{name}': '{}',", summary.to_text(args)))?;
    }
    context.term.line("}")?;
    Ok(found.exit)
}

fn summaries(
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
    documents: bool,
) -> Result<Vec<Summary>, FactsError> {
    let spaces: &[_] = if documents {
        &[Space::StatePoint, Space::Document]
    } else {
        &[Space::StatePoint]
    };
    let everything = jobs.len() as usize == facts.n_jobs();
    let mut summaries = Vec::new();
    for &space in spaces {
        for key in facts.keys(space, jobs)? {
            let (counts, n_objects) = if everything && space == Space::StatePoint {
                facts.counts(&key)?
            } else {
                let Some(index) = facts.key(space, &key, jobs)? else {
                    continue;
                };
                let counted = index
                    .values
                    .iter()
                    .map(|e| (e.value.clone(), e.jobs.n_common(jobs)));
                let counts = counted.filter(|(_, n)| *n > 0).collect();
                (counts, index.objects.intersection_len(jobs) as usize)
            };
            // Keys of objects are seen in what is below them.
            if !counts.is_empty() {
                let name = KeyName { space, key };
                summaries.push(Summary {
                    name,
                    counts,
                    n_objects,
                });
            }
        }
    }
    Ok(summaries)
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
    fn to_text(&self, args: &SchemaArgs) -> String {
        let max = args.max_values as usize;
        let types = self.by_type().into_iter().map(|(name, values)| {
            let show = |(value, _): &(&Value, usize)| {
                view_str(&rounded(value, args.precision)).to_string()
            };
            let shown: Vec<_> = if values.len() <= max {
                values.iter().map(show).collect()
            } else {
                let head = values[..max - N_TAIL].iter().map(show);
                let tail = values[values.len() - N_TAIL..].iter().map(show);
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
fn type_name(value: &Value) -> &'static str {
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
