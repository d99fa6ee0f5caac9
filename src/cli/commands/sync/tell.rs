//! What `sync` says of what it does.

use super::One;
use super::pacing::brief;
use super::schema::NewKey;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::report::harmless;
use crate::sync::{
    Applied, Bytes, Conflict, Deleted, Left, Line, Plan, Prepared, Side, Totals, Whose,
};
use serde::Serialize;

/// Of conflicts and problems, at most so many are named.
pub(super) const SHOWN_MAX: usize = 20;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    remote: &'a str,
    dry_run: bool,
    actions: Vec<Line>,
    to_local: Totals,
    to_remote: Totals,
    deleted_here: Deleted,
    deleted_there: Deleted,
    left: Left,
    schema: Vec<NewKey>,
    running: Vec<String>,
    problems: Vec<String>,
}

impl One<'_> {
    pub(super) fn tell_memory(&self, prepared: &Prepared) {
        let term = self.context.term;
        if prepared.is_memory_damaged {
            term.warn("what is remembered of the last sync is damaged: both sides are compared as if it were the first");
        }
        if let Some(older) = prepared.older {
            let name = match older {
                Whose::Local => self.local.name(),
                Whose::Remote => &self.name,
            };
            term.warn(format_args!(
                "`{name}` is not as the last sync left it: it was restored from a backup, or is another copy; \
                 both sides are compared as if it were the first sync"
            ));
        }
        if prepared.was_cut_off {
            term.note("the last sync was cut off; this one goes on");
        }
    }

    fn report(&self, plan: &Plan, schema: Vec<NewKey>) -> Report<'_> {
        Report {
            remote: &self.name,
            dry_run: self.args.is_dry_run(),
            actions: match self.args.json || self.args.is_dry_run() {
                true => plan.lines(),
                false => Vec::new(),
            },
            to_local: plan.totals(Whose::Local),
            to_remote: plan.totals(Whose::Remote),
            deleted_here: plan.deleted_here,
            deleted_there: plan.deleted_there,
            left: Left::default(),
            schema,
            running: plan.running.iter().map(ToString::to_string).collect(),
            problems: plan.problems.iter().map(ToString::to_string).collect(),
        }
    }

    /// Prints what would be done.
    pub(super) fn show(&self, plan: &Plan, new: Vec<NewKey>) -> Result<Exit, CliError> {
        let term = self.context.term;
        let report = self.report(plan, new);
        if self.args.json {
            term.line(json(&report)?)?;
        } else {
            match &self.args.plan {
                Some(path) => self.write_plan(path, plan)?,
                None => report.actions.iter().try_for_each(|line| term.line(line))?,
            }
            self.summarize(plan, &report, "would be");
        }
        self.tell_rest(plan, self.args.json);
        Ok(outcome(plan, true))
    }

    /// Says what was done.
    pub(super) fn tell(&self, applied: &Applied, new: Vec<NewKey>) -> Result<Exit, CliError> {
        let (term, plan) = (self.context.term, &applied.plan);
        let failures = applied.failures.iter();
        let mut report = self.report(plan, new);
        report
            .problems
            .extend(failures.clone().map(ToString::to_string));
        report.left = applied.left;
        [report.to_local, report.to_remote] = applied.totals;
        if self.args.json {
            term.line(json(&report)?)?;
        } else {
            self.summarize(plan, &report, "");
        }
        if self.args.signac.stats {
            let (files, bytes) = (report.to_local.files, report.to_local.bytes);
            let volume = match self.args.signac.human_readable {
                true => Bytes(bytes).to_string(),
                false => bytes.to_string(),
            };
            term.line(format_args!(
                "Number of files transferred: {files}\nTotal transfer volume:       {volume}"
            ))?;
        }
        for failure in failures.take(SHOWN_MAX) {
            term.warn(format_args!("not synced: {failure}"));
        }
        more(
            self.context,
            applied.failures.len(),
            "files that were not synced",
        );
        if !self.args.json {
            for conflict in plan.conflicts.iter().take(SHOWN_MAX) {
                let key = conflict.key.as_ref();
                let key = key.map_or_else(String::new, |key| format!(", key `{key}`"));
                let (place, reason) = (&conflict.place, &conflict.reason);
                let with = match self.args.all {
                    true => format!(" with `{}`", self.name),
                    false => String::new(),
                };
                term.warn(format_args!("conflict{with}: {place}{key}: {reason}"));
            }
            more(self.context, plan.conflicts.len(), "conflicts");
        }
        self.tell_rest(plan, self.args.json);
        self.tell_left(applied.left);
        let is_done = applied.failures.is_empty() && applied.left == Left::default();
        Ok(outcome(plan, is_done))
    }

    /// Says what was done the second time.
    pub(super) fn tell_again(
        &self,
        mut applied: Applied,
        new: Vec<NewKey>,
        before: &[Conflict],
    ) -> Result<Exit, CliError> {
        let plan = &mut applied.plan;
        plan.conflicts.retain(|conflict| !before.contains(conflict));
        plan.problems.clear();
        plan.running.clear();
        plan.ignored.clear();
        plan.deleted_here = Deleted::default();
        plan.deleted_there = Deleted::default();
        plan.n_other_direction = 0;
        self.tell(&applied, new)
    }

    fn summarize(&self, plan: &Plan, report: &Report<'_>, would: &str) {
        let term = self.context.term;
        let would = if would.is_empty() {
            String::new()
        } else {
            format!(" {would}")
        };
        for (arrow, totals) in [("<-", report.to_local), ("->", report.to_remote)] {
            if let Some(counted) = counted(&totals) {
                term.note(format_args!("{arrow} {}:{would} {counted}", self.name));
            }
        }
        if plan.is_empty() && plan.conflicts.is_empty() {
            term.note(format_args!("nothing to do with `{}`", self.name));
        }
    }

    /// Says what is left for the next sync.
    fn tell_left(&self, left: Left) {
        if let (Some(time), true) = (self.limits.stop_after, left != Left::default()) {
            let (time, files, bytes) = (brief(time), count(left.files, "file"), Bytes(left.bytes));
            self.context.term.warn(format_args!(
                "stopped after {time}; left for the next sync: {files}, {bytes}"
            ));
        }
    }

    /// Says what is left as it is.
    fn tell_rest(&self, plan: &Plan, is_brief: bool) {
        let term = self.context.term;
        for problem in plan.problems.iter().take(SHOWN_MAX) {
            term.warn(problem);
        }
        more(self.context, plan.problems.len(), "problems");
        if is_brief {
            return;
        }
        if !plan.conflicts.is_empty() {
            term.note(format_args!(
                "conflicts, left as they are on both sides: {}",
                plan.conflicts.len()
            ));
            term.hint(match plan.conflicts.iter().all(|conflict| conflict.key.is_some()) {
                true => "`--prefer newer`, `local` or `remote` takes one value, `--keys REGEX` that of the other side where the key matches",
                false => "`--prefer newer`, `larger`, `local` or `remote` takes one version, `--keep-both` keeps both",
            });
        }
        for (place, deleted) in [("here", plan.deleted_here), ("there", plan.deleted_there)] {
            if deleted != Deleted::default() {
                let files = if deleted.jobs > 0 {
                    "other file"
                } else {
                    "file"
                };
                let parts = [(deleted.jobs, "job"), (deleted.files, files)];
                let parts = parts.into_iter().filter(|(n, _)| *n > 0);
                let parts: Vec<_> = parts.map(|(n, what)| count(n, what)).collect();
                let parts = parts.join(", ");
                term.note(format_args!("deleted {place} since the last sync: {parts}"));
                term.hint(
                    "`--delete` deletes them on the other side, too, `--restore` copies them back",
                );
            }
        }
        if !plan.running.is_empty() {
            let n = plan.running.len();
            term.note(format_args!(
                "jobs that run, whose files wait: {n}; `--running` takes them"
            ));
        }
        if plan.n_skipped_dirs > 0 {
            term.note(format_args!(
                "directories that were skipped: {}; `-r` takes them",
                plan.n_skipped_dirs
            ));
        }
        if !plan.ignored.is_empty() {
            let shown: Vec<_> = plan.ignored.iter().take(SHOWN_MAX).map(harmless).collect();
            term.note(format_args!("left as they are: {}", shown.join(", ")));
        }
        if plan.n_other_direction > 0 {
            term.note(format_args!(
                "changes in the other direction: {}",
                plan.n_other_direction
            ));
        }
    }
}

/// Says how many there are of something.
fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Says how much is done; `None` if nothing is.
pub(super) fn counted(totals: &Totals) -> Option<String> {
    let mut parts = Vec::new();
    let mut add = |n: usize, what: &str| match n {
        0 => {}
        n => parts.push(count(n, what)),
    };
    add(totals.jobs, "new job");
    add(totals.files, "file");
    add(totals.texts, "document");
    add(totals.removed, "deletion");
    if totals.jobs + totals.files + totals.texts > 0 {
        parts.push(Bytes(totals.bytes).to_string());
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

pub(super) fn more(context: &Context<'_>, n: usize, what: &str) {
    if n > SHOWN_MAX {
        context
            .term
            .note(format_args!("… and {} more {what}", n - SHOWN_MAX));
    }
}

fn json(report: &Report<'_>) -> Result<String, CliError> {
    serde_json::to_string(report).map_err(CliError::failed)
}

fn outcome(plan: &Plan, is_done: bool) -> Exit {
    match is_done && plan.conflicts.is_empty() && plan.problems.is_empty() {
        true => Exit::Done,
        false => Exit::Partial,
    }
}
