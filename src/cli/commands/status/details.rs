//! A row per job or aggregate.

use super::look::{Look, shrink, tone};
use super::{DEFAULT_VIEW, ID_LEN_MIN, Plan, print};
use crate::catalog::{
    Column, Facts, FactsError, JobIdx, KeyName, Snapshot, TableColumn, TableSpec, cell,
};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::config::OperationConfig;
use crate::filter::Space;
use crate::report::harmless;
use crate::statepoint::JobId;
use crate::term::{Cell, Grid, Tone, cut_middle};
use crate::view::{PathSpec, Paths, default_paths, default_paths_of_few, spec_paths};
use crate::workflow::{Aggregate, Elsewhere, FlowState, OperationStatus, Status, UnitIdx, Units};
use roaring::{MultiOps, RoaringBitmap};
use std::collections::{BTreeSet, HashMap};

/// What is known of single jobs.
pub(super) struct Details {
    /// The ids of the jobs, of those in aggregates with them, and of their neighbours.
    ids: HashMap<JobIdx, JobId>,
    /// The jobs, in the order of their places.
    pub(super) jobs: Vec<JobIdx>,
    /// Where each of these stands in the default view.
    places: HashMap<JobIdx, String>,
    /// Values of the jobs in the order of their ids.
    pub(super) parameters: Vec<TableColumn>,
    /// What the aggregates of each of the operations have in common.
    common: Vec<Vec<String>>,
    /// The clusters or machines where executions go on that are not here: by the place of the
    /// operation among all, and that of the job or aggregate.
    elsewhere: HashMap<(usize, UnitIdx), String>,
}

/// The heading of where executions go on that are not here.
const ON: &str = "on";

/// A row before it is fitted into the room that there is.
struct Row {
    id: String,
    /// Its place or parameters.
    facts: Vec<String>,
    states: Vec<Option<FlowState>>,
    last: String,
}

impl Details {
    /// Gathers them. Without a snapshot there are few.
    pub(super) fn of(
        plan: &Plan<'_>,
        snapshot: Option<&Snapshot>,
        facts: &Facts<'_>,
        status: &Status,
    ) -> Result<Self, FactsError> {
        let placed = &status.jobs | first_jobs(status);
        let paths = match snapshot {
            Some(snapshot) => paths(plan, snapshot, facts),
            None => default_paths_of_few(facts, &placed)?,
        };
        let (mut jobs, mut places) = (Vec::new(), HashMap::new());
        for (job, place) in paths.texts().filter(|(job, _)| placed.contains(*job)) {
            places.insert(job, place);
            if status.jobs.contains(job) {
                jobs.push(job);
            }
        }
        jobs.extend(status.jobs.iter().filter(|job| !places.contains_key(job)));
        let near = status.jobs.iter();
        let near = near.flat_map(|job| job.saturating_sub(1)..=job + 1);
        let near = (near.collect::<RoaringBitmap>() | with_aggregates(status)) & facts.all();
        let mut details = Self {
            ids: near.iter().zip(facts.ids(&near)?).collect(),
            jobs,
            places,
            parameters: parameters(plan, facts, status)?,
            common: Vec::new(),
            elsewhere: HashMap::new(),
        };
        for operation in &status.operations {
            let config = &plan.config.workflow.operations[operation.place];
            let common = details.common(config, operation, facts)?;
            details.common.push(common);
        }
        Ok(details)
    }

    /// Adds what is known of executions elsewhere.
    pub(super) fn with(mut self, elsewhere: &[Elsewhere]) -> Self {
        for place in elsewhere {
            let units = place.units.iter();
            self.elsewhere
                .extend(units.map(|unit| ((place.operation, *unit), place.cluster.clone())));
        }
        self
    }

    /// Returns where an execution goes on, if that is not here.
    pub(super) fn cluster(&self, operation: &OperationStatus, unit: UnitIdx) -> Option<&str> {
        let place = self.elsewhere.get(&(operation.place, unit));
        place.map(String::as_str)
    }

    /// Names the places where executions of a job or an aggregate go on.
    fn clusters(&self, operations: &[&OperationStatus], unit: UnitIdx) -> String {
        let places = operations.iter().filter_map(|o| self.cluster(o, unit));
        let places: BTreeSet<_> = places.collect();
        places.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Tells whether executions of some operations go on elsewhere.
    fn has_clusters(&self, operations: &[&OperationStatus]) -> bool {
        let mut places = self.elsewhere.keys();
        places.any(|(place, _)| operations.iter().any(|o| o.place == *place))
    }

    pub(super) fn id(&self, job: JobIdx) -> String {
        self.ids
            .get(&job)
            .map_or(String::new(), ToString::to_string)
    }

    pub(super) fn place(&self, job: JobIdx) -> &str {
        self.places.get(&job).map_or("", String::as_str)
    }

    /// Returns what the aggregates of an operation have in common.
    pub(super) fn common_of(&self, i: usize) -> &[String] {
        &self.common[i]
    }

    fn common(
        &self,
        config: &OperationConfig,
        operation: &OperationStatus,
        facts: &Facts<'_>,
    ) -> Result<Vec<String>, FactsError> {
        let (Some(aggregation), Units::Aggregates(aggregates)) =
            (&config.aggregate, &operation.units)
        else {
            return Ok(Vec::new());
        };
        let by = aggregation.by.iter().filter_map(|field| {
            let (space, key) = (field.space, field.key.clone()?);
            Some(KeyName { space, key })
        });
        let column = |name: KeyName| {
            let column = facts.column(name.space, &name.key, &facts.all())?;
            Ok((name.to_string(), column))
        };
        let by = by.map(column).collect::<Result<Vec<_>, FactsError>>()?;
        let text = |aggregate: &Aggregate| {
            let first = aggregate.jobs[0];
            let values = |(name, column): &(String, Column)| {
                format!("{name}/{}", cell(column.get(first as usize)))
            };
            match aggregation.size {
                None => by.iter().map(values).collect::<Vec<_>>().join("/"),
                Some(_) if aggregate.jobs.len() == 1 => self.place(first).to_owned(),
                Some(_) => format!("{} …", self.place(first)),
            }
        };
        Ok(aggregates.iter().map(text).collect())
    }

    pub(super) fn show(
        &self,
        context: &Context<'_>,
        plan: &Plan<'_>,
        status: &Status,
    ) -> Result<(), CliError> {
        let limit = plan.args.limit.unwrap_or(usize::MAX);
        let (of_jobs, of_aggregates): (Vec<_>, Vec<_>) = plan
            .shown(status)
            .partition(|operation| matches!(operation.units, Units::Jobs(_)));
        let mut tables = Vec::new();
        if !of_jobs.is_empty() || of_aggregates.is_empty() {
            tables.push(self.table_of_jobs(plan, status, &of_jobs, limit));
        }
        for operation in of_aggregates {
            tables.push(self.table_of_aggregates(plan, status, operation, limit));
        }
        for table in tables {
            table.print(context, &plan.look)?;
        }
        if !status.operations.is_empty() {
            let mut legend = Grid::default();
            legend.row(vec![plan.look.legend()]);
            context.term.line("")?;
            let lines = legend.lines(plan.look.coloured);
            lines.iter().try_for_each(|line| context.term.line(line))?;
        }
        Ok(())
    }

    fn table_of_jobs(
        &self,
        plan: &Plan<'_>,
        status: &Status,
        operations: &[&OperationStatus],
        limit: usize,
    ) -> Table {
        let id_len = self.id_len();
        let has_clusters = self.has_clusters(operations);
        let mut table = Table {
            header: Row {
                id: "job".to_owned(),
                facts: match plan.args.parameters {
                    None => vec!["place".to_owned()],
                    Some(_) => self
                        .parameters
                        .iter()
                        .map(|named| named.name.clone())
                        .collect(),
                },
                states: Vec::new(),
                last: if status.labels.is_empty() {
                    ""
                } else {
                    "labels"
                }
                .to_owned(),
            },
            operations: operations.iter().map(|o| plan.name(o).to_owned()).collect(),
            rows: Vec::new(),
            n_more: 0,
        };
        if has_clusters {
            table.header.facts.push(ON.to_owned());
        }
        for &job in &self.jobs {
            let states: Vec<_> = operations.iter().map(|o| o.states.state(job)).collect();
            let mut known = states.iter().flatten();
            if !plan.args.only.is_empty() && !known.any(|state| plan.is_asked(*state)) {
                continue;
            }
            if table.rows.len() == limit {
                table.n_more += 1;
                continue;
            }
            let mut facts = match plan.args.parameters {
                None => vec![self.place(job).to_owned()],
                Some(_) => self.values(status, job),
            };
            if has_clusters {
                facts.push(self.clusters(operations, job));
            }
            table.rows.push(Row {
                id: self.id(job)[..id_len].to_owned(),
                facts,
                states,
                last: labels(status, job).join(", "),
            });
        }
        table
    }

    /// Returns the parameters of a job.
    fn values(&self, status: &Status, job: JobIdx) -> Vec<String> {
        let row = status.jobs.rank(job) as usize - 1;
        let values = self.parameters.iter().map(|named| named.column.get(row));
        values.map(|value| cell(value).into_owned()).collect()
    }

    fn table_of_aggregates(
        &self,
        plan: &Plan<'_>,
        status: &Status,
        operation: &OperationStatus,
        limit: usize,
    ) -> Table {
        let mut table = Table {
            header: Row {
                id: "aggregate".to_owned(),
                facts: vec!["of".to_owned()],
                states: Vec::new(),
                last: "jobs".to_owned(),
            },
            operations: vec![plan.name(operation).to_owned()],
            rows: Vec::new(),
            n_more: 0,
        };
        let Units::Aggregates(aggregates) = &operation.units else {
            return table;
        };
        let has_clusters = self.has_clusters(&[operation]);
        if has_clusters {
            table.header.facts.push(ON.to_owned());
        }
        let i = status
            .operations
            .iter()
            .position(|o| o.place == operation.place);
        let common = i.map_or(&[][..], |i| self.common_of(i));
        let ids: Vec<_> = aggregates.iter().map(|a| a.id.as_str()).collect();
        let id_len = unique_len(ids, "agg-".len() + ID_LEN_MIN);
        for (unit, (aggregate, common)) in (0..).zip(aggregates.iter().zip(common)) {
            let Some(state) = operation.states.state(unit).filter(|s| plan.is_asked(*s)) else {
                continue;
            };
            if table.rows.len() == limit {
                table.n_more += 1;
                continue;
            }
            let cluster = has_clusters.then(|| self.clusters(&[operation], unit));
            table.rows.push(Row {
                id: aggregate.id.chars().take(id_len).collect(),
                facts: std::iter::once(common.clone()).chain(cluster).collect(),
                states: vec![Some(state)],
                last: aggregate.jobs.len().to_string(),
            });
        }
        table
    }

    /// Returns how many digits tell the jobs from all others: from those before and after them.
    fn id_len(&self) -> usize {
        let len = |job: &JobIdx| {
            let near = job.saturating_sub(1)..=job + 1;
            let ids: Vec<_> = near.filter_map(|job| self.ids.get(&job)).collect();
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            unique_len(ids.iter().map(String::as_str).collect(), ID_LEN_MIN)
        };
        self.jobs.iter().map(len).max().unwrap_or(ID_LEN_MIN)
    }
}

/// Returns the first jobs of the aggregates that the jobs are in.
fn first_jobs(status: &Status) -> RoaringBitmap {
    let of_operation = |operation: &OperationStatus| match &operation.units {
        Units::Jobs(_) => RoaringBitmap::new(),
        Units::Aggregates(aggregates) => {
            let units = operation.states.states.values().flatten();
            units
                .map(|unit| aggregates[unit as usize].jobs[0])
                .collect()
        }
    };
    status.operations.iter().map(of_operation).union()
}

/// Returns the jobs, and those that are in aggregates with them.
fn with_aggregates(status: &Status) -> RoaringBitmap {
    let mut jobs = status.jobs.clone();
    for operation in &status.operations {
        let units = operation.states.states.values();
        units.for_each(|units| jobs |= operation.units.jobs_in(units));
    }
    jobs
}

/// Returns how long beginnings of texts must be to be different, but for a minimum.
fn unique_len(mut texts: Vec<&str>, min: usize) -> usize {
    texts.sort_unstable();
    let common = |pair: &[&str]| {
        let mut both = pair[0].chars().zip(pair[1].chars());
        both.position(|(a, b)| a != b).unwrap_or(pair[0].len())
    };
    let longest = texts.windows(2).map(common).max().map_or(0, |n| n + 1);
    longest.max(min)
}

/// Returns the labels of a job.
fn labels(status: &Status, job: JobIdx) -> Vec<&str> {
    let of_job = status.labels.iter().filter(|(_, jobs)| jobs.contains(job));
    of_job.map(|(name, _)| name.as_str()).collect()
}

/// Returns where jobs stand in the default view. If that cannot be, it is the default hierarchy.
fn paths(plan: &Plan<'_>, snapshot: &Snapshot, facts: &Facts<'_>) -> Paths {
    let view = plan.config.views.get(DEFAULT_VIEW);
    let all = facts.all();
    let selected = match view.and_then(|view| view.filter.as_ref()) {
        Some(filter) => facts.select(filter, &all).unwrap_or(all),
        None => all,
    };
    let spec = view
        .and_then(|view| view.path.as_ref())
        .filter(|path| *path != "{{auto}}");
    let paths = spec.and_then(|text| {
        let spec = PathSpec::parse(text).ok()?;
        spec_paths(snapshot, facts, &selected, &spec).ok()
    });
    paths.unwrap_or_else(|| default_paths(snapshot, &selected))
}

/// Returns the values of the keys that were named, or of all that vary.
fn parameters(
    plan: &Plan<'_>,
    facts: &Facts<'_>,
    status: &Status,
) -> Result<Vec<TableColumn>, FactsError> {
    let Some(names) = &plan.args.parameters else {
        return Ok(Vec::new());
    };
    let named = names.iter().map(|name| KeyName::parse(name));
    let all = || {
        let keys = facts.keys(Space::StatePoint, &status.jobs)?;
        let space = Space::StatePoint;
        Ok::<_, FactsError>(keys.into_iter().map(|key| KeyName { space, key }).collect())
    };
    let spec = TableSpec {
        keys: if names.is_empty() {
            all()?
        } else {
            named.collect()
        },
        exclude_const: names.is_empty(),
        ..TableSpec::default()
    };
    spec.columns(facts, &status.jobs)
}

/// Rows under a header.
struct Table {
    header: Row,
    operations: Vec<String>,
    rows: Vec<Row>,
    n_more: usize,
}

/// Names and places are not cut shorter than this before others are.
const FACT_MIN: usize = 24;
const LABELS_MIN: usize = 12;
const OPERATION_USUAL: usize = 16;
const OPERATION_MIN: usize = 4;

/// What is shorter says nothing.
const CUT_MIN: usize = 8;

impl Table {
    fn print(&self, context: &Context<'_>, look: &Look) -> Result<(), CliError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let (facts, operations, last) = self.widths(look);
        let cut = |text: &str, width: usize| {
            Cell::new(cut_middle(&harmless(text), width, look.ellipsis()))
        };
        let mut grid = Grid::default();
        let mut heading = vec![Cell::new(&self.header.id)];
        heading.extend(
            self.header
                .facts
                .iter()
                .zip(&facts)
                .map(|(text, w)| cut(text, *w)),
        );
        heading.extend(
            self.operations
                .iter()
                .zip(&operations)
                .map(|(text, w)| cut(text, *w)),
        );
        heading.push(cut(&self.header.last, last));
        grid.row(
            heading
                .into_iter()
                .map(|cell| cell.toned(Tone::Strong))
                .collect(),
        );
        for row in &self.rows {
            let mut cells = vec![Cell::new(&row.id)];
            cells.extend(row.facts.iter().zip(&facts).map(|(text, w)| cut(text, *w)));
            cells.extend(row.states.iter().map(|state| match state {
                Some(state) => Cell::new(look.symbol(*state)).toned(tone(*state)),
                None => Cell::default(),
            }));
            cells.push(cut(&row.last, last));
            grid.row(cells);
        }
        print(context, look, &grid)?;
        if self.n_more > 0 {
            if look.markdown {
                context.term.line("")?;
            }
            context
                .term
                .line(format_args!("{} {} more", look.ellipsis(), self.n_more))?;
        }
        Ok(())
    }

    /// Returns how wide places or parameters, operations, and labels may be.
    fn widths(&self, look: &Look) -> (Vec<usize>, Vec<usize>, usize) {
        let rows = || [&self.header].into_iter().chain(&self.rows);
        let len = |text: &String| harmless(text).chars().count();
        let widest = |text: &dyn Fn(&Row) -> usize| rows().map(text).max().unwrap_or(0);
        let mut facts: Vec<_> = (0..self.header.facts.len())
            .map(|i| widest(&|row| len(&row.facts[i])))
            .collect();
        let mut operations: Vec<_> = self.operations.iter().map(len).collect();
        let mut last = [widest(&|row| len(&row.last))];
        if let Some(width) = look.width {
            let id = widest(&|row| row.id.len());
            let n_gaps = facts.len() + operations.len() + usize::from(last[0] > 0);
            let sum = |widths: &[usize]| widths.iter().sum::<usize>();
            let total = id + sum(&facts) + sum(&operations) + last[0] + n_gaps * Grid::GAP;
            let mut over = total.saturating_sub(width);
            shrink(&mut operations, OPERATION_USUAL, &mut over);
            shrink(&mut facts, FACT_MIN, &mut over);
            shrink(&mut last, LABELS_MIN, &mut over);
            shrink(&mut operations, OPERATION_MIN, &mut over);
            shrink(&mut facts, CUT_MIN, &mut over);
            shrink(&mut last, CUT_MIN, &mut over);
        }
        (facts, operations, last[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_of_ids_are_as_long_as_they_must_be() {
        assert_eq!(unique_len(vec!["abcd", "abd0", "b"], 2), 3);
        assert_eq!(unique_len(vec!["abcd"], 2), 2);
        assert_eq!(unique_len(vec![], 4), 4);
    }
}
