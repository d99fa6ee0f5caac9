//! `sweepfs table`

mod stats;

use crate::catalog::{Column, Facts, FactsError};
use crate::cli::args::{TableArgs, TableFormat};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::selection::{KeyName, Selection, UnknownKey, parse_field, unknown_keys};
use crate::filter::Space;
use crate::pyjson::{Value, canonical, dumps, dumps_str};
use crate::term::{Records, Table};
use roaring::RoaringBitmap;

/// Columns that are not those of keys; a key of that name is shown with `sp.`.
const OUR_COLUMNS: [&str; 2] = ["id", "jobs"];

/// A column under its name.
struct Named {
    name: String,
    column: Column,
}

/// What the catalog tells of the jobs.
struct Gathered {
    /// The first are those to group by.
    columns: Vec<Named>,
    sorting: Option<Column>,
    unknown: Vec<UnknownKey>,
    n_jobs: usize,
}

pub(in crate::cli) fn run(context: &Context<'_>, args: &TableArgs) -> Result<Exit, CliError> {
    let selection = Selection::new(context, &args.selection, &[], &[])?;
    let workspace = context.workspace()?;
    let found = context.ask(&workspace, &selection, |facts, jobs| {
        gather(facts, jobs, args)
    })?;
    let mut gathered = found.answer;
    gathered
        .unknown
        .iter()
        .for_each(|unknown| unknown.warn(context));
    if args.stats {
        gathered.columns = stats::of_groups(&gathered.columns, args.by.len(), gathered.n_jobs);
        gathered.sorting = match &args.order.sort {
            Some(name) => Some(column_to_sort_by(&gathered.columns, name)?),
            None => None,
        };
    }
    let n_rows = gathered
        .columns
        .first()
        .map_or(0, |named| named.column.len());
    let rows = args.order.rows(n_rows, gathered.sorting.as_ref());
    print(context, args, &gathered.columns, &rows)?;
    Ok(found.exit)
}

fn gather(
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
    args: &TableArgs,
) -> Result<Gathered, FactsError> {
    let sort = args.order.sort.iter().filter(|_| !args.stats);
    let sort: Option<KeyName> = sort.map(|key| parse_field(key)).next();
    let named = args.keys.iter().chain(&args.by).map(|key| parse_field(key));
    let unknown = unknown_keys(facts, named.chain(sort.clone()), jobs)?;
    let mut columns = Vec::new();
    if !args.stats && !args.no_id {
        let ids = facts.ids(jobs)?.into_iter();
        columns.push(Named {
            name: "id".to_owned(),
            column: ids
                .map(|id| Some(Value::from(id.to_string().as_str())))
                .collect(),
        });
    }
    for key in &args.by {
        columns.push(named_column(facts, jobs, &parse_field(key))?);
    }
    for name in chosen_keys(facts, jobs, args)? {
        let named = named_column(facts, jobs, &name)?;
        let is_asked_for = args.keys.iter().any(|key| parse_field(key) == name);
        let is_wanted = is_asked_for || named.n_distinct() > 0;
        let is_new = columns.iter().all(|other| other.name != named.name);
        if is_wanted && is_new && !(args.exclude_const && named.is_constant()) {
            columns.push(named);
        }
    }
    let sorting = sort
        .map(|name| facts.column(name.space, &name.key, jobs))
        .transpose()?;
    Ok(Gathered {
        columns,
        sorting,
        unknown,
        n_jobs: jobs.len() as usize,
    })
}

fn named_column(
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
    name: &KeyName,
) -> Result<Named, FactsError> {
    Ok(Named {
        name: match name.to_string() {
            own if OUR_COLUMNS.contains(&own.as_str()) => format!("sp.{own}"),
            other => other,
        },
        column: facts.column(name.space, &name.key, jobs)?,
    })
}

/// Returns the keys that are named with those below them, or all.
fn chosen_keys(
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
    args: &TableArgs,
) -> Result<Vec<KeyName>, FactsError> {
    let mut chosen = Vec::new();
    for key in &args.keys {
        chosen.extend(with_keys_below(facts, jobs, parse_field(key))?);
    }
    if args.keys.is_empty() {
        for space in [Space::StatePoint, Space::Document] {
            let keys = facts.keys(space, jobs)?;
            chosen.extend(keys.into_iter().map(|key| KeyName { space, key }));
        }
    }
    Ok(chosen)
}

/// Returns a key, or the keys below it if it is one of objects.
fn with_keys_below(
    facts: &Facts<'_>,
    jobs: &RoaringBitmap,
    name: KeyName,
) -> Result<Vec<KeyName>, FactsError> {
    let index = facts.key(name.space, &name.key, jobs)?;
    let Some(index) = index.filter(|index| !index.objects.is_empty()) else {
        return Ok(vec![name]);
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

impl Named {
    /// Returns the number of different values, at most 2.
    fn n_distinct(&self) -> usize {
        let ranks = self.column.ranks();
        let mut values = ranks.filter(|&rank| rank < self.column.values().len());
        match values.next() {
            None => 0,
            Some(first) => 1 + usize::from(values.any(|rank| rank != first)),
        }
    }

    fn is_constant(&self) -> bool {
        let mut ranks = self.column.ranks();
        let first = ranks.next();
        ranks.all(|rank| Some(rank) == first)
    }
}

fn column_to_sort_by(columns: &[Named], name: &str) -> Result<Column, CliError> {
    match columns.iter().find(|named| named.name == name) {
        Some(named) => Ok(named.column.clone()),
        None => {
            let names: Vec<_> = columns.iter().map(|named| named.name.as_str()).collect();
            let error = CliError::usage(format!("there is no column `{name}` to sort by"));
            Err(error.with_hint(format!("the columns are {}", names.join(", "))))
        }
    }
}

fn print(
    context: &Context<'_>,
    args: &TableArgs,
    columns: &[Named],
    rows: &[usize],
) -> Result<(), CliError> {
    let term = context.term;
    if columns.is_empty() {
        return Ok(());
    }
    let format = if args.json {
        TableFormat::Json
    } else {
        args.format
    };
    match format {
        TableFormat::Json => rows
            .iter()
            .try_for_each(|&row| term.line(json_row(columns, row)))?,
        TableFormat::Csv => print_records(context, b',', columns, rows)?,
        TableFormat::Tsv => print_records(context, b'\t', columns, rows)?,
        TableFormat::Text => {
            let lines = text_table(columns, rows).lines();
            lines.iter().try_for_each(|line| term.line(line))?;
        }
        TableFormat::Markdown => {
            let lines = text_table(columns, rows).markdown();
            lines.iter().try_for_each(|line| term.line(line))?;
        }
    }
    Ok(())
}

fn print_records(
    context: &Context<'_>,
    delimiter: u8,
    columns: &[Named],
    rows: &[usize],
) -> Result<(), CliError> {
    let mut records = Records::new(context.term, delimiter);
    records.record(columns.iter().map(|named| named.name.clone()))?;
    for &row in rows {
        records.record(cells(columns, row))?;
    }
    Ok(())
}

fn text_table(columns: &[Named], rows: &[usize]) -> Table {
    let header: Vec<_> = columns.iter().map(|named| named.name.as_str()).collect();
    let mut table = Table::new(&header);
    for &row in rows {
        table.row(&cells(columns, row).collect::<Vec<_>>());
    }
    table
}

fn cells(columns: &[Named], row: usize) -> impl Iterator<Item = String> {
    columns.iter().map(move |named| cell(named.column.get(row)))
}

/// Shows strings as they are and everything else as JSON.
fn cell(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::Str(text)) => text.to_string(),
        Some(value @ (Value::List(_) | Value::Object(_))) => canonical(value),
        Some(value) => dumps(value),
    }
}

fn json_row(columns: &[Named], row: usize) -> String {
    let member = |named: &Named| {
        let (name, value) = (
            dumps_str(&named.name.as_str().into()),
            named.column.get(row)?,
        );
        Some(format!("{name}: {}", dumps(value)))
    };
    let members: Vec<_> = columns.iter().filter_map(member).collect();
    format!("{{{}}}", members.join(", "))
}
