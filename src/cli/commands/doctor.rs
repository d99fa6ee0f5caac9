//! `sweepfs doctor`

use crate::cli::args::DoctorArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::fsx;
use crate::mount::{Check, Verdict, checks};
use crate::report::harmless;

pub(in crate::cli) fn run(context: &Context<'_>, args: &DoctorArgs) -> Result<Exit, CliError> {
    let mut all = checks();
    all.push(check_project(context));
    all.extend(check_workspace(context));
    for check in &all {
        if args.json {
            let verdict = verdict_name(check.verdict);
            let json = serde_json::json!({"check": check.name, "verdict": verdict, "found": check.found, "hint": check.hint});
            context.term.line(json)?;
            continue;
        }
        context.term.line(format_args!(
            "{:<8} {}: {}",
            verdict_name(check.verdict),
            check.name,
            harmless(&check.found)
        ))?;
        if let Some(hint) = &check.hint {
            context.term.line(format_args!("         hint: {hint}"))?;
        }
    }
    let bad = all.iter().any(|check| check.verdict == Verdict::Bad);
    Ok(if bad { Exit::Failed } else { Exit::Done })
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Limited => "limited",
        Verdict::Bad => "bad",
    }
}

fn check_project(context: &Context<'_>) -> Check {
    let name = "project";
    match context.project() {
        Ok(project) => Check {
            name,
            verdict: Verdict::Good,
            found: project.root().display().to_string(),
            hint: None,
        },
        Err(_) => Check {
            name,
            verdict: Verdict::Limited,
            found: "none here".to_owned(),
            hint: Some("go to a project, or make one with `sweepfs init`".to_owned()),
        },
    }
}

fn check_workspace(context: &Context<'_>) -> Option<Check> {
    let workspace = context.workspace().ok()?;
    let name = "workspace";
    Some(match fsx::network_fs(workspace.dir()) {
        None => Check {
            name,
            verdict: Verdict::Good,
            found: "on a local file system; changes show within 1 s".to_owned(),
            hint: None,
        },
        Some(network) => Check {
            name,
            verdict: Verdict::Limited,
            found: format!(
                "on {network}; changes made on other hosts show after the refresh interval"
            ),
            hint: Some("`sweepfs mount --refresh SECONDS` sets it, 5 by default".to_owned()),
        },
    })
}
