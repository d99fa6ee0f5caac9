//! `sweepfs doctor`

use crate::cli::args::DoctorArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::fsx;
use crate::mount::{Check, Verdict, checks};
use crate::report::harmless;

pub(in crate::cli) fn run(context: &Context<'_>, args: &DoctorArgs) -> Result<Exit, CliError> {
    let mut all = checks();
    all.extend(check_project(context));
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

fn check_project(context: &Context<'_>) -> Vec<Check> {
    let Ok(project) = context.project() else {
        let hint = "go to a project, or make one with `sweepfs init`";
        let none = "none here".to_owned();
        return vec![Check::limited("project", none, hint.to_owned())];
    };
    vec![
        Check::good("project", project.root().display().to_string()),
        check_workspace(fsx::network_fs(project.workspace().dir())),
        check_mountpoint(fsx::network_fs(project.root())),
    ]
}

fn check_workspace(network: Option<&str>) -> Check {
    let name = "workspace";
    match network {
        None => Check::good(
            name,
            "on a local file system; changes show within 1 s".to_owned(),
        ),
        Some(network) => Check::limited(
            name,
            format!("on {network}; changes made on other hosts show after the refresh interval"),
            "`sweepfs mount --refresh SECONDS` sets it, 5 by default".to_owned(),
        ),
    }
}

/// The default mountpoint is in the project.
fn check_mountpoint(network: Option<&str>) -> Check {
    let name = "mountpoint";
    match network {
        None => Check::good(name, "`views` would be on a local file system".to_owned()),
        Some(network) => Check::limited(
            name,
            format!(
                "`views` would be on {network}; other hosts see a folder without the mount; \
                 where root may not enter, it becomes a link to a mount in `$XDG_RUNTIME_DIR`"
            ),
            "to have it on a local file system, name a directory, as in `sweepfs mount \"$XDG_RUNTIME_DIR/views\"`".to_owned(),
        ),
    }
}
