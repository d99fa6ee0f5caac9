//! `sweepfs table`

mod stats;

use crate::catalog::{
    Column, Facts, FactsError, KeyName, TableColumn, TableSpec, cell, write_records,
};
use crate::cli::args::{TableArgs, TableFormat};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::selection::{Selection, UnknownKey, unknown_keys};
use crate::pyjson::{dumps, dumps_str};
use crate::term::Table;
use roaring::RoaringBitmap;
use std::borrow::Cow;

/// What the catalog tells of the jobs.
struct Gathered {
    /// The first are those to group by.
    columns: Vec<TableColumn>,
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
    let sort: Option<KeyName> = sort.map(|key| KeyName::parse(key)).next();
    let names =
        |keys: &[String]| -> Vec<_> { keys.iter().map(|key| KeyName::parse(key)).collect() };
    let named = [names(&args.keys), names(&args.by)].concat();
    let unknown = unknown_keys(facts, named.into_iter().chain(sort.clone()), jobs)?;
    let spec = TableSpec {
        id: !args.stats && !args.no_id,
        by: names(&args.by),
        keys: names(&args.keys),
        exclude_const: args.exclude_const,
    };
    let columns = spec.columns(facts, jobs)?;
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

fn column_to_sort_by(columns: &[TableColumn], name: &str) -> Result<Column, CliError> {
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
    columns: &[TableColumn],
    rows: &[usize],
) -> Result<(), CliError> {
    let term = context.term;
    if columns.is_empty() {
        return Ok(());
    }
    let print_records = |delimiter| {
        let rows = rows.iter().copied();
        term.data(|out| write_records(columns, rows, delimiter, out))
    };
    let format = if args.json {
        TableFormat::Json
    } else {
        args.format
    };
    match format {
        TableFormat::Json => rows
            .iter()
            .try_for_each(|&row| term.line(json_row(columns, row)))?,
        TableFormat::Csv => print_records(b',')?,
        TableFormat::Tsv => print_records(b'\t')?,
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

fn text_table(columns: &[TableColumn], rows: &[usize]) -> Table {
    let header: Vec<_> = columns.iter().map(|named| named.name.as_str()).collect();
    let mut table = Table::new(&header);
    for &row in rows {
        let cells = columns.iter().map(|named| cell(named.column.get(row)));
        table.row(&cells.map(Cow::into_owned).collect::<Vec<_>>());
    }
    table
}

fn json_row(columns: &[TableColumn], row: usize) -> String {
    let member = |named: &TableColumn| {
        let (name, value) = (
            dumps_str(&named.name.as_str().into()),
            named.column.get(row)?,
        );
        Some(format!("{name}: {}", dumps(value)))
    };
    let members: Vec<_> = columns.iter().filter_map(member).collect();
    format!("{{{}}}", members.join(", "))
}
