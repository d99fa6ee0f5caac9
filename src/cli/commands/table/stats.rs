//! Statistics of groups of jobs.

use crate::catalog::{Column, TableColumn};
use crate::pyjson::Value;
use std::collections::BTreeMap;

/// What is known of the numbers of one group; `min` and `max` are places in the dictionary.
#[derive(Clone, Copy)]
struct Stats {
    n: usize,
    sum: f64,
    min: usize,
    max: usize,
}

/// Turns columns of jobs into columns of groups: what they were grouped by, the number of jobs, and
/// minimum, mean and maximum of each other column that has numbers.
pub(super) fn of_groups(columns: &[TableColumn], n_by: usize, n_jobs: usize) -> Vec<TableColumn> {
    let (by, chosen) = columns.split_at(n_by);
    let mut groups: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for row in 0..n_jobs {
        let group = by.iter().map(|named| named.column.rank(row)).collect();
        groups.entry(group).or_default().push(row);
    }
    let of_group = |i: usize, by: &TableColumn| TableColumn {
        name: by.name.clone(),
        column: groups
            .keys()
            .map(|group| by.column.values().get(group[i]).cloned())
            .collect(),
    };
    let mut result: Vec<_> = by
        .iter()
        .enumerate()
        .map(|(i, by)| of_group(i, by))
        .collect();
    result.push(TableColumn {
        name: "jobs".to_owned(),
        column: groups
            .values()
            .map(|rows| Some(Value::from(rows.len() as i64)))
            .collect(),
    });
    for named in chosen {
        result.extend(statistics(named, groups.values()));
    }
    result
}

/// Returns the three columns of one, or none if it has no numbers.
fn statistics<'a>(
    named: &TableColumn,
    groups: impl Iterator<Item = &'a Vec<usize>>,
) -> Vec<TableColumn> {
    let values = named.column.values();
    let numbers: Vec<_> = values.iter().map(Value::as_f64).collect();
    let stats: Vec<_> = groups
        .map(|rows| Stats::of(&named.column, rows, &numbers))
        .collect();
    if stats.iter().all(Option::is_none) {
        return Vec::new();
    }
    let column = |kind, pick: &dyn Fn(Stats) -> Value| TableColumn {
        name: format!("{}.{kind}", named.name),
        column: stats.iter().map(|stats| stats.map(pick)).collect(),
    };
    vec![
        column("min", &|stats| values[stats.min].clone()),
        column("mean", &|stats| Value::Float(stats.sum / stats.n as f64)),
        column("max", &|stats| values[stats.max].clone()),
    ]
}

impl Stats {
    /// Sums up the numbers of some rows; `None` without any. NaN is greater than all others.
    fn of(column: &Column, rows: &[usize], numbers: &[Option<f64>]) -> Option<Self> {
        let mut stats: Option<Self> = None;
        for &row in rows {
            let rank = column.rank(row);
            let Some(number) = numbers.get(rank).copied().flatten() else {
                continue;
            };
            let so_far = stats.unwrap_or(Self {
                n: 0,
                sum: 0.0,
                min: rank,
                max: rank,
            });
            // The dictionary is sorted, numbers by size.
            stats = Some(Self {
                n: so_far.n + 1,
                sum: so_far.sum + number,
                min: so_far.min.min(rank),
                max: so_far.max.max(rank),
            });
        }
        stats
    }
}
