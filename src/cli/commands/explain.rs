//! `sweepfs explain`

use super::log::batch_logs;
use crate::cli::args::ExplainArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::subject::Subject;
use crate::pyjson::{Object, Value, dumps, parse};
use crate::report::harmless;
use crate::term::{Cell, Grid, Tone};
use crate::workflow::{
    ExplainedCondition, Explanation, FlowState, INTERRUPTIONS_MAX, Record, Stage,
};
use jiff::Timestamp;

pub(in crate::cli) fn run(context: &Context<'_>, args: &ExplainArgs) -> Result<Exit, CliError> {
    let subject = Subject::new(context, &args.operation, &args.target)?;
    let (explanation, exit) = subject.ask(context, |evaluation, unit| {
        evaluation.explain(subject.operation, unit)
    })?;
    if args.json {
        let json = json(&subject, &explanation)?;
        context.term.line(dumps(&json))?;
    } else {
        show(context, &subject, &explanation)?;
    }
    Ok(exit)
}

fn show(
    context: &Context<'_>,
    subject: &Subject,
    explanation: &Explanation,
) -> Result<(), CliError> {
    let name = subject.name();
    let of = match explanation.jobs.len() {
        1 => String::new(),
        n => format!(" ({n} jobs)"),
    };
    let (id, state) = (&explanation.id, explanation.state);
    let term = context.term;
    term.line(harmless(format_args!("{name} on {id}{of}: {state}")))?;
    let conditions = conditions(explanation);
    let lines = conditions.lines(term.is_coloured());
    if !lines.is_empty() {
        term.line("")?;
    }
    lines.iter().try_for_each(|line| term.line(line))?;
    if let Some(record) = &explanation.record {
        let lines = execution(record, explanation, context, subject);
        term.line("")?;
        lines
            .iter()
            .try_for_each(|line| term.line(harmless(line)))?;
    }
    if state == FlowState::Failed {
        let only = match id.starts_with("agg-") {
            true => String::new(),
            false => format!(" -j {id}"),
        };
        let output = match explanation.record.as_ref().and_then(batch_logs) {
            Some(logs) => format!("what batch jobs printed is in `{logs}`"),
            None => format!("`sweepfs log {name} {id}` shows its output"),
        };
        term.hint(harmless(format_args!(
            "{output}, `sweepfs run --retry -o {name}{only}` takes it again"
        )));
    }
    Ok(())
}

fn conditions(explanation: &Explanation) -> Grid {
    let mut grid = Grid::default();
    for condition in &explanation.conditions {
        let kind = if condition.is_post { "post" } else { "pre" };
        let because = match &condition.parts[..] {
            [only] if only.text == condition.text => only.because.clone(),
            _ => String::new(),
        };
        grid.row(vec![
            Cell::new(kind),
            Cell::new(&condition.text),
            answer(condition.holds),
            Cell::new(with_jobs(condition, explanation, because)),
        ]);
        if condition.parts.len() > 1 || condition.parts.iter().any(|p| p.text != condition.text) {
            for part in &condition.parts {
                grid.row(vec![
                    Cell::default(),
                    Cell::new(format_args!("  {}", part.text)),
                    answer(part.holds),
                    Cell::new(&part.because),
                ]);
            }
        }
    }
    grid
}

/// Says for which jobs of an aggregate a condition does not hold.
fn with_jobs(condition: &ExplainedCondition, explanation: &Explanation, because: String) -> String {
    let n = explanation.jobs.len();
    if n == 1 || condition.holds == Some(true) {
        return because;
    }
    let first = condition.job;
    let gap = if because.is_empty() { "" } else { ": " };
    format!(
        "for {} of {n} jobs, {first} first{gap}{because}",
        condition.n_missing
    )
}

fn answer(holds: Option<bool>) -> Cell {
    match holds {
        Some(true) => Cell::new("yes").toned(Tone::Good),
        Some(false) => Cell::new("no").toned(Tone::Ready),
        None => Cell::new("unknown").toned(Tone::Odd),
    }
}

/// Describes the last execution.
fn execution(
    record: &Record,
    explanation: &Explanation,
    context: &Context<'_>,
    subject: &Subject,
) -> Vec<String> {
    let reason = record.reason.as_ref().map(|reason| format!(": {reason}"));
    let stage = match record.state {
        Stage::Queued => "queued",
        Stage::Running if explanation.is_running => "running",
        Stage::Running => "lost, its process is gone and its end was not recorded",
        Stage::Interrupted => "interrupted",
        Stage::Failed => "failed",
        Stage::Completed => "completed",
    };
    let mut lines = vec![format!(
        "last execution: attempt {}, {stage}{}",
        record.attempt,
        reason.unwrap_or_default()
    )];
    let member = |name: &str, text: Option<String>| Some(format!("  {name:<10}{}", text?));
    let place = record.host.as_ref().map(|host| match record.pid {
        Some(pid) => format!("{host}, process {pid}"),
        None => host.clone(),
    });
    let batch = record.batch_id.as_ref().map(|id| match &record.cluster {
        Some(cluster) => format!("{id} on {cluster}"),
        None => id.clone(),
    });
    lines.extend(member("queued", record.submitted.as_deref().map(time)));
    lines.extend(member("batch job", batch));
    lines.extend(member("started", record.started.as_deref().map(time)));
    lines.extend(member("ended", ended(record)));
    lines.extend(member("on", place));
    lines.extend(member("log", record.log.clone().or(batch_logs(record))));
    let config = &subject.flow.config().operations[subject.operation];
    if record.failures > 0 || context.verbose > 0 {
        let retries = format!("{} of {} left", explanation.retries_left, config.retries);
        lines.extend(member("retries", Some(retries)));
    }
    if record.timeouts > 0 && config.timeouts > 0 {
        let text = format!(
            "{} of {} are sent again",
            explanation.timeouts, config.timeouts
        );
        lines.extend(member("timeouts", Some(text)));
    }
    if record.interruptions > 0 {
        let n = record.interruptions;
        let text = format!("{n} without a verdict; {INTERRUPTIONS_MAX} count as a failure");
        lines.extend(member("in a row", Some(text)));
    }
    lines
}

/// Shows a time of a record so that people can read it.
fn time(text: &str) -> String {
    let parsed = text.parse::<Timestamp>();
    parsed.map_or_else(
        |_| text.to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

fn ended(record: &Record) -> Option<String> {
    let ended = record.ended.as_deref()?;
    let started = record
        .started
        .as_deref()
        .and_then(|text| text.parse::<Timestamp>().ok());
    let took = match (started, ended.parse::<Timestamp>()) {
        (Some(started), Ok(ended)) => {
            format!(
                ", after {}",
                duration(ended.duration_since(started).as_secs())
            )
        }
        _ => String::new(),
    };
    Some(format!("{}{took}", time(ended)))
}

fn duration(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

fn json(subject: &Subject, explanation: &Explanation) -> Result<Value, CliError> {
    let jobs = explanation.jobs.iter().map(|id| text(&id.to_string()));
    let execution = match &explanation.record {
        None => Value::Null,
        Some(record) => parse(&serde_json::to_string(record).map_err(CliError::failed)?)?,
    };
    let conditions = explanation.conditions.iter().map(|condition| {
        let parts = condition.parts.iter().map(|part| {
            object([
                ("condition", text(&part.text)),
                ("holds", truth(part.holds)),
                ("because", text(&part.because)),
            ])
        });
        object([
            ("kind", text(if condition.is_post { "post" } else { "pre" })),
            ("condition", text(&condition.text)),
            ("holds", truth(condition.holds)),
            ("job", text(&condition.job.to_string())),
            ("parts", Value::List(parts.collect())),
        ])
    });
    Ok(object([
        ("operation", text(subject.name())),
        ("id", text(&explanation.id)),
        ("jobs", Value::List(jobs.collect())),
        ("state", text(explanation.state.name())),
        ("conditions", Value::List(conditions.collect())),
        ("execution", execution),
        (
            "retries_left",
            Value::from(i64::from(explanation.retries_left)),
        ),
    ]))
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn truth(holds: Option<bool>) -> Value {
    holds.map_or(Value::Null, Value::Bool)
}

fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut object = Object::new();
    for (name, value) in members {
        object.insert(name.into(), value);
    }
    Value::Object(object)
}
