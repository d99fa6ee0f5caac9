//! Asking the user about each file that differs.

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::sync::{
    Bytes, Conflict, Content, Entry, Listing, Options, Place, Prepared, Session, Whose,
};
use jiff::Timestamp;
use std::collections::HashMap;
use std::io::{BufRead, IsTerminal};

/// Fails if there is nobody who can be asked.
pub(super) fn check() -> Result<(), CliError> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    let error = CliError::refused("nobody can be asked about files that differ");
    Err(error.with_hint("`--strategy always`, `never` or `update` asks nothing"))
}

/// Compares both sides, with what the user answers about files that differ.
pub(super) fn prepare(context: &Context<'_>, session: &Session<'_>) -> Result<Prepared, CliError> {
    let (here, there) = session.list()?;
    let with = |options: &Options| {
        let session = Session {
            options,
            ..session.clone()
        };
        session.compare(here.clone(), there.clone())
    };
    let asking = with(&Options {
        ignores_conflicts: false,
        ..session.options.clone()
    })?;
    let chosen = overwritten(context, &asking.plan.conflicts, &here, &there)?;
    Ok(with(&Options {
        chosen,
        ..session.options.clone()
    })?)
}

/// Asks which files of the destination, which is here, are overwritten by those of the source. Those
/// about which nothing is said are not among them.
fn overwritten(
    context: &Context<'_>,
    conflicts: &[Conflict],
    here: &Listing,
    there: &Listing,
) -> Result<HashMap<Place, Whose>, CliError> {
    let mut chosen = HashMap::new();
    let mut answers = std::io::stdin().lock().lines();
    let mut for_all = None;
    // Of documents, single keys are in conflict, about which other options decide.
    for conflict in conflicts.iter().filter(|conflict| conflict.key.is_none()) {
        let place = &conflict.place;
        while for_all.is_none() {
            for (name, side) in [("source", there), ("destination", here)] {
                let shown = described(entry(side, place));
                context
                    .term
                    .note(format_args!("{place}: {shown} in the {name}"));
            }
            context
                .term
                .note("overwrite it in the destination? [y/N/all/none]");
            let answer = answers.next().transpose()?;
            match answer
                .map(|answer| answer.trim().to_ascii_lowercase())
                .as_deref()
            {
                Some("y" | "yes") => {
                    chosen.insert(place.clone(), Whose::Remote);
                    break;
                }
                Some("" | "n" | "no") => break,
                Some("all") => for_all = Some(true),
                Some("none") | None => for_all = Some(false),
                Some(_) => {}
            }
        }
        if for_all == Some(true) {
            chosen.insert(place.clone(), Whose::Remote);
        }
    }
    Ok(chosen)
}

fn entry<'l>(side: &'l Listing, place: &Place) -> Option<&'l Entry> {
    let jobs = &side.tree.jobs;
    let at = jobs.binary_search_by_key(&place.job?, |job| job.id).ok()?;
    jobs[at].get(&place.path)
}

fn described(entry: Option<&Entry>) -> String {
    match entry.map(|entry| &entry.content) {
        Some(Content::File {
            size_bytes,
            modified,
        }) => {
            let time = Timestamp::from_nanosecond((*modified).into());
            let time = time.map(|time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
            format!("{}, {}", Bytes(*size_bytes), time.unwrap_or_default())
        }
        Some(Content::Link(_)) => "a link".to_owned(),
        Some(Content::Dir) => "a directory".to_owned(),
        None => "nothing".to_owned(),
    }
}
