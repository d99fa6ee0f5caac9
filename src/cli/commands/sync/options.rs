//! What the options of `sync` mean.

use crate::cli::args::{PreferChoice, StrategyChoice, SyncArgs};
use crate::cli::error::CliError;
use crate::cli::remotes::Remote;
use crate::sync::{Direction, FileFilter, KeyRule, Options, Prefer, Whose, key_pattern};
use glob::Pattern;
use regex::Regex;

pub(super) fn options(args: &SyncArgs, remote: &Remote) -> Result<Options, CliError> {
    let conflicts = &args.conflicts;
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S");
    let suffix = format!(".conflict-{}-{time}", remote.file_name());
    let mut exclude = args.files.exclude.clone();
    let configured = remote.config.exclude.iter();
    exclude.extend(configured.filter_map(|text| Pattern::new(text).ok()));
    Ok(Options {
        direction: match (args.pull, args.push) {
            (true, _) => Direction::Pull,
            (_, true) => Direction::Push,
            _ => Direction::Both,
        },
        prefer: conflicts.prefer.map(|choice| match choice {
            PreferChoice::Newer => Prefer::Newer,
            PreferChoice::Larger => Prefer::Larger,
            PreferChoice::Local => Prefer::Of(Whose::Local),
            PreferChoice::Remote => Prefer::Of(Whose::Remote),
        }),
        ignores_conflicts: false,
        keep_both: conflicts.keep_both.then_some(suffix),
        keys: KeyRule {
            from_remote: conflicts.keys.as_deref().map(pattern).transpose()?,
            ..KeyRule::default()
        },
        deletes: conflicts.delete,
        restores: conflicts.restore,
        max_delete_percent: conflicts.max_delete,
        compares_contents: args.checksum,
        size_only: false,
        takes_running: args.running,
        files: FileFilter {
            only: args.files.only.clone(),
            exclude,
            max_size_bytes: args.files.max_size,
            documents_only: args.files.documents_only,
            ..FileFilter::default()
        },
        ..Options::default()
    })
}

/// The source is the other side, and only the destination is changed.
pub(super) fn signac_options(args: &SyncArgs) -> Result<Options, CliError> {
    let signac = &args.signac;
    let strategy = match signac.update {
        true => Some(StrategyChoice::Update),
        false => signac.strategy,
    };
    let overwrites = Some(Whose::Remote);
    Ok(Options {
        direction: Direction::Pull,
        prefer: match strategy {
            Some(StrategyChoice::Always) => Some(Prefer::Of(Whose::Remote)),
            Some(StrategyChoice::Update) => Some(Prefer::Newer),
            Some(StrategyChoice::Never | StrategyChoice::Ask) | None => None,
        },
        ignores_conflicts: strategy.is_some(),
        keys: KeyRule {
            from_remote: signac.key.as_deref().map(pattern).transpose()?,
            prefer: overwrites.filter(|_| signac.all_keys),
            ignores: signac.no_keys || signac.key.is_some(),
            is_final: true,
        },
        compares_contents: args.checksum || signac.ignore_times,
        size_only: signac.size_only,
        takes_running: true,
        files: FileFilter {
            only: args.files.only.clone(),
            exclude: args.files.exclude.clone(),
            max_size_bytes: args.files.max_size,
            documents_only: args.files.documents_only,
            names_excluded: signac.leave_out.as_deref().map(pattern).transpose()?,
            top_only: !signac.recursive,
        },
        ..Options::default()
    })
}

fn pattern(text: &str) -> Result<Regex, CliError> {
    key_pattern(text)
        .map_err(|error| CliError::usage(format!("`{text}` is no regular expression: {error}")))
}
