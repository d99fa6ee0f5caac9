//! Counts per label and operation.

use super::look::{Look, SHOWN, Share, percent, shrink, tone};
use super::{Plan, Seen, print};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::report::harmless;
use crate::term::{Cell, Grid, Tone, cut_middle};
use crate::workflow::{FlowState, OperationStatus, Status, Units};
use std::io;

/// Prints the number of jobs, the labels and the operations.
pub(super) fn show(context: &Context<'_>, plan: &Plan<'_>, seen: &Seen) -> Result<(), CliError> {
    let states = states(plan, &seen.status);
    let overview = Overview {
        context,
        plan,
        status: &seen.status,
        look: plan.look,
        widths: Widths::of(plan, &seen.status, &states),
        states,
    };
    context.term.line(jobs_line(&seen.status))?;
    overview.labels()?;
    overview.operations()?;
    overview.groups()?;
    if let Some(id) = seen
        .first_failed
        .as_ref()
        .filter(|_| plan.is_asked(FlowState::Failed))
    {
        overview.failures(id)?;
    }
    Ok(())
}

struct Overview<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan<'a>,
    status: &'a Status,
    look: Look,
    /// The states that have a column.
    states: Vec<FlowState>,
    widths: Widths,
}

/// How wide columns may be, those of labels like those of operations.
#[derive(Default)]
struct Widths {
    name: usize,
    bar: usize,
    states: Vec<usize>,
}

/// Names and headings are not cut shorter than this before others are.
const NAME_MIN: usize = 20;
const HEADING_MIN: usize = 5;

/// What is shorter says nothing.
const CUT_MIN: usize = 8;

fn jobs_line(status: &Status) -> String {
    let plural = if status.n_all == 1 { "" } else { "s" };
    match status.jobs.len() {
        n if n == status.n_all as u64 => format!("{n} job{plural}"),
        n => format!("{n} of {} job{plural}", status.n_all),
    }
}

/// Returns the states that have a column.
fn states(plan: &Plan<'_>, status: &Status) -> Vec<FlowState> {
    let is_shown = |state: &FlowState| {
        let mut shown = plan.shown(status);
        plan.is_asked(*state) && shown.any(|o| o.states.states.contains_key(state))
    };
    SHOWN.into_iter().filter(is_shown).collect()
}

impl Widths {
    fn of(plan: &Plan<'_>, status: &Status, states: &[FlowState]) -> Self {
        let labels = status.labels.iter().map(|(name, _)| name.as_str());
        let operations = plan.shown(status).map(|operation| plan.name(operation));
        let names = labels.chain(operations).chain(["operation"]);
        let name = names.map(|name| harmless(name).chars().count()).max();
        let mut name = [name.unwrap_or(0)];
        let mut states: Vec<_> = states.iter().map(|state| state.name().len()).collect();
        let of = plan.shown(status).map(|o| of(o).len()).max();
        let others = PERCENT_WIDTH + of.unwrap_or(0).max("jobs".len()) + 3 * Grid::GAP;
        let total = |name: usize, states: &[usize]| {
            others + name + states.iter().map(|width| width + Grid::GAP).sum::<usize>()
        };
        if let Some(width) = plan.look.width {
            let mut over = total(name[0], &states).saturating_sub(width + Grid::GAP);
            shrink(&mut name, NAME_MIN, &mut over);
            shrink(&mut states, HEADING_MIN, &mut over);
            shrink(&mut name, CUT_MIN, &mut over);
        }
        Self {
            bar: plan.look.bar_width(total(name[0], &states)),
            name: name[0],
            states,
        }
    }
}

const PERCENT_WIDTH: usize = "100 %".len();

impl Overview<'_> {
    fn heading(&self, names: &[&str]) -> Vec<Cell> {
        let cells = names.iter().map(|name| Cell::new(name).toned(Tone::Strong));
        cells.collect()
    }

    fn name(&self, name: &str) -> Cell {
        let (name, width) = (harmless(name), self.widths.name);
        match self.look.markdown {
            true => Cell::new(name),
            false => {
                let name = cut_middle(&name, width, self.look.ellipsis());
                Cell::new(format_args!("{name:<width$}"))
            }
        }
    }

    fn percent(&self, part: u64, total: u64) -> Cell {
        let percent = percent(part, total);
        let width = if self.look.markdown { 0 } else { PERCENT_WIDTH };
        Cell::new(format_args!("{percent:>width$}")).right()
    }

    fn labels(&self) -> io::Result<()> {
        if self.status.labels.is_empty() {
            return Ok(());
        }
        let n_jobs = self.status.jobs.len();
        let bar_width = self.widths.bar;
        let mut grid = Grid::default();
        let mut heading = self.heading(&["label", "", "", "jobs"]);
        heading[3] = heading[3].clone().right();
        grid.row(self.with_bar(bar_width, heading));
        for (name, jobs) in &self.status.labels {
            let bar = self
                .look
                .bar(bar_width, n_jobs, &[(Share::Done, jobs.len())]);
            let cells = vec![
                self.name(name),
                bar,
                self.percent(jobs.len(), n_jobs),
                Cell::new(jobs.len()).right(),
            ];
            grid.row(self.with_bar(bar_width, cells));
        }
        print(self.context, &self.look, &grid)
    }

    /// Leaves out the second cell if it has no room.
    fn with_bar(&self, width: usize, mut cells: Vec<Cell>) -> Vec<Cell> {
        if width == 0 {
            cells.remove(1);
        }
        cells
    }

    fn operations(&self) -> io::Result<()> {
        if self.plan.shown(self.status).next().is_none() {
            return Ok(());
        }
        let bar_width = self.widths.bar;
        let mut grid = Grid::default();
        let mut heading = self.heading(&["operation", "", "", "of"]);
        let states = self.states.iter().zip(&self.widths.states);
        heading.extend(states.map(|(state, &width)| {
            let name = match state.name() {
                name if name.len() > width => format!("{}.", &name[..width - 1]),
                name => name.to_owned(),
            };
            Cell::new(name).toned(Tone::Strong).right()
        }));
        grid.row(self.with_bar(bar_width, heading));
        for operation in self.plan.shown(self.status) {
            let n = |state| operation.states.of(state).len();
            let (done, total) = (n(FlowState::Completed), operation.len());
            let shares = [
                (Share::Done, done),
                (Share::Active, n(FlowState::Running) + n(FlowState::Queued)),
                (Share::Failed, n(FlowState::Failed)),
            ];
            let mut cells = vec![
                self.name(self.plan.name(operation)),
                self.look.bar(bar_width, total, &shares),
                self.percent(done, total),
                Cell::new(of(operation)),
            ];
            cells.extend(self.states.iter().map(|&state| {
                let tone = match n(state) {
                    0 => Tone::Faint,
                    _ => tone(state),
                };
                Cell::new(n(state)).toned(tone).right()
            }));
            grid.row(self.with_bar(bar_width, cells));
        }
        print(self.context, &self.look, &grid)
    }

    fn groups(&self) -> io::Result<()> {
        let shown: Vec<_> = self
            .plan
            .shown(self.status)
            .map(|o| self.plan.name(o))
            .collect();
        let groups = self.plan.flow.config().groups.iter();
        let lines: Vec<_> = groups
            .filter(|(_, members)| members.iter().any(|name| shown.contains(&name.as_str())))
            .map(|(group, members)| harmless(format_args!("group {group}: {}", members.join(", "))))
            .collect();
        if !lines.is_empty() {
            self.context.term.line("")?;
        }
        lines
            .iter()
            .try_for_each(|line| self.context.term.line(line))
    }

    /// Says how to see what failed.
    fn failures(&self, first_id: &str) -> io::Result<()> {
        let failed = |o: &OperationStatus| o.states.of(FlowState::Failed).len();
        let n: u64 = self.plan.shown(self.status).map(failed).sum();
        let Some(first) = self.plan.shown(self.status).find(|o| failed(o) > 0) else {
            return Ok(());
        };
        let name = quoted(self.plan.name(first));
        self.context.term.line("")?;
        self.context.term.line(harmless(match n {
            1 => format!("1 failed: `sweepfs explain {name} {first_id}` tells why"),
            _ => format!("{n} failed: `sweepfs status -d --only failed` shows which"),
        }))
    }
}

/// Shows a name as it must be typed.
fn quoted(name: &str) -> String {
    match name.contains(|c: char| c.is_whitespace() || "\"'$`\\*?[(;&|<>".contains(c)) {
        true => format!("'{}'", name.replace('\'', "'\\''")),
        false => name.to_owned(),
    }
}

/// Says how many jobs, or aggregates of them, an operation works on.
fn of(operation: &OperationStatus) -> String {
    match operation.units {
        Units::Jobs(_) => operation.len().to_string(),
        Units::Aggregates(_) => format!("{} agg", operation.len()),
    }
}
