//! `sweepfs mounts`

use crate::cli::args::MountsArgs;
use crate::cli::context::{Context, now};
use crate::cli::error::{CliError, Exit};
use crate::mount::{MountRecord, MountState, Registry};
use crate::term::Table;

pub(in crate::cli) fn run(context: &Context<'_>, args: &MountsArgs) -> Result<Exit, CliError> {
    let records = Registry::new(&context.state_dir()).records()?;
    if args.json {
        for record in &records {
            context.term.line(to_json(record))?;
        }
        return Ok(Exit::Done);
    }
    if records.is_empty() {
        context.term.note("nothing is mounted");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        "MOUNTPOINT",
        "PROJECT",
        "STATE",
        "HOST",
        "PID",
        "SINCE",
        "LOG",
    ]);
    for record in &records {
        table.row(&[
            record.mountpoint.display().to_string(),
            record.project.display().to_string(),
            state_name(record.state()).to_owned(),
            record.host.clone(),
            record.pid.to_string(),
            age((now() / 1_000_000_000).saturating_sub_unsigned(record.mounted_s)),
            log_name(record),
        ]);
    }
    for line in table.lines() {
        context.term.line(line)?;
    }
    if records
        .iter()
        .any(|record| record.state() == MountState::Dead)
    {
        context
            .term
            .hint("`sweepfs unmount --all` removes dead mounts, `sweepfs mount` mounts again");
    }
    Ok(Exit::Done)
}

fn to_json(record: &MountRecord) -> String {
    let mut json = serde_json::to_value(record).expect("a record has plain fields");
    json["state"] = state_name(record.state()).into();
    json.to_string()
}

fn state_name(state: MountState) -> &'static str {
    match state {
        MountState::Mounted => "mounted",
        MountState::Dead => "dead",
        MountState::Elsewhere => "elsewhere",
    }
}

/// What is served in the foreground logs to its terminal.
fn log_name(record: &MountRecord) -> String {
    match record.background {
        true => record.log.display().to_string(),
        false => "-".to_owned(),
    }
}

/// Shows seconds in the two largest units.
fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86400, seconds / 3600 % 24),
    }
}
