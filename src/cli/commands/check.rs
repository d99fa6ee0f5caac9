//! `sweepfs check`

use crate::catalog::Catalog;
use crate::cli::args::CheckArgs;
use crate::cli::context::{Context, now};
use crate::cli::error::{CliError, Exit};
use crate::fsx::{Dir, TimeNs};
use crate::report::{Problem, with_causes};
use crate::statepoint::JobId;
use crate::workspace::{JobState, Listing, Mend, Quiet, Workspace};
use rayon::prelude::*;

pub(in crate::cli) fn run(context: &Context<'_>, args: &CheckArgs) -> Result<Exit, CliError> {
    let workspace = context.workspace()?;
    let listing = listing(context, args, &workspace)?;
    let findings = check(&workspace, &listing)?;
    update_catalog(context, &workspace, &findings)?;
    if args.repair {
        return repair(context, args, &workspace, &listing, &findings);
    }
    print(context, args, &findings.problems())?;
    let n_sound = listing.ids.len() - findings.damaged.len();
    context.term.note(match findings.problems().len() {
        0 => format!("{n_sound} jobs, all sound"),
        n => format!("{n_sound} sound jobs, {}", n_problems(n)),
    });
    if !(findings.damaged.is_empty() && listing.unfinished.is_empty()) {
        context
            .term
            .hint("`sweepfs check --repair --dry-run` shows what can be mended");
    }
    Ok(exit_of(&findings.problems()))
}

/// Lists what to check: everything, or only the jobs that are selected, which may be damaged if
/// they are named.
fn listing(
    context: &Context<'_>,
    args: &CheckArgs,
    workspace: &Workspace,
) -> Result<Listing, CliError> {
    let listing = workspace.list()?;
    if args.selection.is_empty() {
        return Ok(listing);
    }
    let (mut ids, _) = context.job_list(workspace, &args.selection, &[])?;
    ids.sort_unstable();
    ids.dedup();
    Ok(Listing {
        ids,
        ..Listing::default()
    })
}

/// Makes the catalog anew if it takes jobs for sound that are not: it dates from before the damage.
fn update_catalog(
    context: &Context<'_>,
    workspace: &Workspace,
    findings: &Findings,
) -> Result<(), CliError> {
    if findings.damaged.is_empty() {
        return Ok(());
    }
    let observer = context.term.progress();
    let mut reader = context.reader(workspace)?;
    let damaged = findings.damaged_ids();
    let positions = reader.ask(&observer, |facts| facts.positions(&damaged))?;
    if positions.iter().any(Option::is_some) {
        Catalog::rebuild(workspace, &context.store(workspace), now(), &observer)?;
    }
    Ok(())
}

/// What is wrong.
struct Findings {
    damaged: Vec<(JobId, Problem)>,
    documents: Vec<Problem>,
    others: Vec<Problem>,
}

impl Findings {
    fn damaged_ids(&self) -> Vec<JobId> {
        self.damaged.iter().map(|(id, _)| *id).collect()
    }

    fn problems(&self) -> Vec<Problem> {
        let damaged = self.damaged.iter().map(|(_, problem)| problem);
        let mut all: Vec<_> = damaged
            .chain(&self.documents)
            .chain(&self.others)
            .cloned()
            .collect();
        all.sort();
        all
    }
}

fn check(workspace: &Workspace, listing: &Listing) -> Result<Findings, CliError> {
    let others = [listing.strays.clone(), listing.unfinished.clone()].concat();
    let mut findings = Findings {
        damaged: Vec::new(),
        documents: Vec::new(),
        others,
    };
    if listing.ids.is_empty() {
        return Ok(findings);
    }
    let dir = Dir::open(workspace.dir())?;
    let checked: Vec<_> = listing
        .ids
        .par_iter()
        .map(|id| (*id, check_job(workspace, &dir, id)))
        .collect();
    for (id, (statepoint, document)) in checked {
        findings
            .damaged
            .extend(statepoint.map(|problem| (id, problem)));
        findings.documents.extend(document);
    }
    Ok(findings)
}

/// Reads and verifies a job's two files.
fn check_job(workspace: &Workspace, dir: &Dir, id: &JobId) -> (Option<Problem>, Option<Problem>) {
    let statepoint = match workspace.read_job(dir, id) {
        JobState::Damaged(problem) => Some(problem),
        JobState::Sound(_) => None,
        JobState::Gone => return (None, None),
    };
    let document = match workspace.read_document(dir, id) {
        Ok(_) => None,
        // A directory that cannot be entered is named already.
        Err(error) if error.is_denied() && statepoint.is_some() => None,
        Err(error) => Some(workspace.document_problem(id, &error)),
    };
    (statepoint, document)
}

/// Mends what can be mended; the rest is named.
fn repair(
    context: &Context<'_>,
    args: &CheckArgs,
    workspace: &Workspace,
    listing: &Listing,
    findings: &Findings,
) -> Result<Exit, CliError> {
    let quiet = Quiet {
        now: now(),
        min_age: TimeNs::from(args.min_age).saturating_mul(1_000_000_000),
    };
    let plan = workspace.plan_repair(&findings.damaged_ids(), listing, quiet);
    let mut n_mended = 0;
    for mend in &plan.mends {
        let applied = if args.dry_run {
            Ok(true)
        } else {
            workspace.apply(mend)
        };
        match applied {
            Ok(true) => {
                context.term.line(shown(mend, args.json))?;
                n_mended += 1;
            }
            // Somebody else has mended it.
            Ok(false) => {}
            Err(error) => context.term.warn(with_causes(&error)),
        }
    }
    if plan.n_recent > 0 {
        let (n, age) = (n_problems(plan.n_recent), args.min_age);
        context.term.note(format_args!(
            "{n} left alone: changed less than {age} s ago (`--min-age`)"
        ));
    }
    if args.dry_run {
        return Ok(exit_of(&findings.problems()));
    }
    let left = check(workspace, &self::listing(context, args, workspace)?)?.problems();
    for problem in &left {
        context.term.warn(to_text(problem));
    }
    let n_before = n_problems(findings.problems().len());
    context
        .term
        .note(format_args!("{n_before}, mended {n_mended}"));
    Ok(exit_of(&left))
}

fn shown(mend: &Mend, json: bool) -> String {
    if json {
        serde_json::json!({"repair": mend.to_string()}).to_string()
    } else {
        mend.to_string()
    }
}

fn n_problems(n: usize) -> String {
    format!("{n} problem{}", if n == 1 { "" } else { "s" })
}

fn exit_of(problems: &[Problem]) -> Exit {
    if problems.is_empty() {
        Exit::Done
    } else {
        Exit::Partial
    }
}

fn print(context: &Context<'_>, args: &CheckArgs, problems: &[Problem]) -> Result<(), CliError> {
    for problem in problems {
        let line = if args.json {
            to_json(problem)
        } else {
            to_text(problem)
        };
        context.term.line(line)?;
    }
    Ok(())
}

fn to_text(problem: &Problem) -> String {
    match &problem.hint {
        Some(hint) => format!("{problem} ({hint})"),
        None => problem.to_string(),
    }
}

fn to_json(problem: &Problem) -> String {
    let path = problem.path.to_string_lossy();
    serde_json::json!({"subject": problem.subject, "path": path, "reason": problem.reason, "hint": problem.hint}).to_string()
}
