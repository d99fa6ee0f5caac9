//! What goes on elsewhere, and how old that knowledge is.

use super::{Plan, Seen};
use crate::cli::context::{Context, now};
use crate::cli::error::{CliError, Exit};
use crate::cli::remotes::Remote;
use crate::pyjson::{Object, Value};
use crate::report::harmless;
use crate::sync::{Address, FoundText, JobTree, LocalSide, Peer, Place, RelPath, Whose};
use crate::workflow::{FLOW_FILE, Sidecar};
use jiff::Timestamp;
use std::collections::BTreeMap;

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;
const DAY_S: i64 = 24 * HOUR_S;

/// When the last sync with each remote was done, by its name.
pub(super) type Syncs = Vec<(String, Option<Timestamp>)>;

/// Finds when the last syncs were.
pub(super) fn syncs(context: &Context<'_>, plan: &Plan<'_>) -> Result<Syncs, CliError> {
    let remotes = &plan.config.remotes;
    if remotes.is_empty() {
        return Ok(Vec::new());
    }
    let project = context.project()?;
    let local = LocalSide::new(&project, "");
    let sync = |name: &String| {
        let remote = Remote::find(context, project.root(), remotes, Some(name))?;
        Ok((name.clone(), remote.last_sync(&local)))
    };
    remotes.keys().map(sync).collect()
}

/// Prints what is going on elsewhere.
pub(super) fn show(context: &Context<'_>, seen: &Seen, plan: &Plan<'_>) -> Result<(), CliError> {
    if seen.elsewhere.is_empty() {
        return Ok(());
    }
    context.term.line("")?;
    for elsewhere in &seen.elsewhere {
        let operation = &plan.config.workflow.operations[elsewhere.operation].name;
        let (n, state, cluster) = (elsewhere.units.len(), elsewhere.state, &elsewhere.cluster);
        let line = format!("on {cluster}: {operation}, {n} {state}");
        context.term.line(harmless(line))?;
    }
    let now_s = now() / 1_000_000_000;
    let ages = seen.syncs.iter().map(|(name, at)| match at {
        Some(at) => format!("{name} {}", age(now_s - at.as_second())),
        None => format!("{name} never"),
    });
    let ages: Vec<_> = ages.collect();
    if !ages.is_empty() {
        let line = format!("as of the last sync: {}", ages.join(", "));
        context.term.line(harmless(line))?;
    }
    Ok(())
}

/// Says how long ago something was, in its largest unit.
fn age(seconds: i64) -> String {
    let units = [(DAY_S, "day"), (HOUR_S, "hour"), (MINUTE_S, "minute")];
    match units.into_iter().find(|(size, _)| seconds >= *size) {
        Some((size, unit)) if seconds / size == 1 => format!("1 {unit} ago"),
        Some((size, unit)) => format!("{} {unit}s ago", seconds / size),
        None => "just now".to_owned(),
    }
}

/// The same for programs; nothing if there is nothing to tell.
pub(super) fn json(plan: &Plan<'_>, seen: &Seen) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::from(text);
    let object = |members: Vec<(&str, Value)>| {
        let mut object = Object::new();
        for (name, value) in members {
            object.insert(name.into(), value);
        }
        Value::Object(object)
    };
    let mut members = Vec::new();
    if !seen.elsewhere.is_empty() {
        let all = seen.elsewhere.iter().map(|elsewhere| {
            let operation = &plan.config.workflow.operations[elsewhere.operation].name;
            object(vec![
                ("operation", text(operation)),
                ("cluster", text(&elsewhere.cluster)),
                ("state", text(elsewhere.state.name())),
                ("n", Value::from(elsewhere.units.len() as i64)),
            ])
        });
        members.push(("elsewhere", Value::List(all.collect())));
    }
    if !seen.syncs.is_empty() {
        let all = seen.syncs.iter().map(|(name, at)| {
            let at = at.map_or(Value::Null, |at| text(&at.to_string()));
            object(vec![("name", text(name)), ("synced", at)])
        });
        members.push(("remotes", Value::List(all.collect())));
    }
    members
}

/// Asks a remote how far it is, without syncing. Its own `sweepfs` answers if there is one; or else
/// its records tell what was executed.
pub(super) fn ask(context: &Context<'_>, plan: &Plan<'_>, name: &str) -> Result<Exit, CliError> {
    let project = context.project()?;
    let remotes = &plan.config.remotes;
    let remote = Remote::find(context, project.root(), remotes, Some(name))?;
    match &remote.address {
        Address::Here(_) => {
            let local = LocalSide::new(&project, "");
            let opened = remote.open(context, &local, false)?;
            recorded(context, plan, &*opened.peer)
        }
        Address::There { .. } => {
            let side = remote.connect(context)?;
            let options = [
                ("--json", plan.args.json),
                ("--details", plan.args.details),
                ("--markdown", plan.args.markdown),
            ];
            let given = options.into_iter().filter(|(_, is_given)| *is_given);
            let args: Vec<_> = ["status"]
                .into_iter()
                .chain(given.map(|(option, _)| option))
                .collect();
            if !side.facts()?.sweepfs.is_empty() {
                let answer = side.run("sweepfs", &args)?;
                context.term.data(|out| out.write_all(&answer.output))?;
                for line in answer.complaint.lines() {
                    context.term.warn(harmless(format!("{name}: {line}")));
                }
                return Ok(match answer.code {
                    0 => Exit::Done,
                    3 => Exit::Partial,
                    _ => Exit::Failed,
                });
            }
            recorded(context, plan, &side)
        }
    }
}

/// Returns where the records of a job are, if it has some.
fn sidecar(job: &JobTree) -> Option<Place> {
    let path = RelPath::new(FLOW_FILE.as_bytes()).ok()?;
    job.get(&path)?;
    Some(Place::of_job(job.id, path))
}

/// Counts what the records of a data space say.
fn recorded(context: &Context<'_>, plan: &Plan<'_>, peer: &dyn Peer) -> Result<Exit, CliError> {
    let observer = context.term.progress();
    let listing = peer.list(&observer)?;
    drop(observer);
    let places: Vec<_> = listing.tree.jobs.iter().filter_map(sidecar).collect();
    let texts = peer.read_many(&places)?;
    let mut counts: BTreeMap<(String, &str), u64> = BTreeMap::new();
    let mut exit = context.report_problems(&listing.problems);
    for (place, text) in places.iter().zip(texts) {
        let sidecar = match &text {
            FoundText::Text(bytes, _) => Sidecar::parse(bytes).map_err(|error| error.to_string()),
            FoundText::Absent => continue,
            FoundText::Unreadable(why) => Err(why.clone()),
        };
        match sidecar {
            Ok(sidecar) => {
                for (operation, record) in sidecar.records {
                    let state = record.state.name();
                    *counts.entry((operation, state)).or_default() += 1;
                }
            }
            Err(why) => {
                context
                    .term
                    .warn(harmless(format!("{place} {}: {why}", Whose::Remote)));
                exit = Exit::Partial;
            }
        }
    }
    let n_jobs = listing.tree.jobs.len();
    if plan.args.json {
        let records: Vec<_> = counts.iter().map(|((operation, state), n)| {
            serde_json::json!({"operation": operation, "state": state, "n": n})
        }).collect();
        context
            .term
            .line(serde_json::json!({"jobs": n_jobs, "recorded": records}))?;
        return Ok(exit);
    }
    let plural = if n_jobs == 1 { "" } else { "s" };
    context.term.line(format_args!("{n_jobs} job{plural}"))?;
    for ((operation, state), n) in &counts {
        context.term.line(harmless(format!(
            "{operation}, last execution: {n} {state}"
        )))?;
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_have_one_unit() {
        for (seconds, text) in [
            (-5, "just now"),
            (59, "just now"),
            (61, "1 minute ago"),
            (7300, "2 hours ago"),
            (86_400, "1 day ago"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }
}
