//! Arguments, settings, one file per command, errors to message, hint and exit code.

mod args;
mod cluster;
mod clusters;
mod commands;
mod context;
mod duration;
mod error;
mod loaded;
mod operations;
mod remotes;
mod selection;
mod subject;

use crate::term::Term;
use args::{Args, Command};
use clap::Parser;
use context::Context;
use error::{CliError, Exit};
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args = match parse(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            // Help goes to standard output with code 0, a mistake to standard error with code 2.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            } as u8);
        }
    };
    let term = Term::new(
        args.global.colour(),
        args.global.quiet,
        !args.global.no_progress,
    );
    let result = run(args, &term).and_then(|exit| Ok(term.flush().map(|()| exit)?));
    let exit = result.unwrap_or_else(|error| error.report(&term));
    ExitCode::from(exit as u8)
}

/// Reads a command line, the name of the program first.
fn parse(words: impl Iterator<Item = OsString>) -> Result<Args, clap::Error> {
    Args::try_parse_from(words.map(numbers_are_values))
}

/// Marks negative numbers, which clap takes for options unless they are as simple as `-1`, by a space
/// in front of them. Readers of numbers pass over it.
fn numbers_are_values(arg: OsString) -> OsString {
    match arg.to_str() {
        Some(text) if text.starts_with('-') && text.parse::<f64>().is_ok() => {
            format!(" {text}").into()
        }
        _ => arg,
    }
}

fn run(mut args: Args, term: &Term) -> Result<Exit, CliError> {
    if matches!(args.command, Command::Batch(_)) {
        // Each thread takes address space, which Grid Engine counts as the batch job's memory.
        args.global.io_threads = args.global.io_threads.or(Some(1));
    }
    let context = Context::new(&args.global, term)?;
    match args.command {
        Command::Init(args) => commands::init::run(&context, &args),
        Command::Job(args) => commands::job::run(&context, &args),
        Command::Statepoint(args) => commands::statepoint::run(&context, &args),
        Command::Document(args) => commands::document::run(&context, &args),
        Command::Find(args) => commands::find::run(&context, &args),
        Command::Schema(args) => commands::schema::run(&context, &args),
        Command::Diff(args) => commands::diff::run(&context, &args),
        Command::Table(args) => commands::table::run(&context, &args),
        Command::UpdateCache(args) => commands::update_cache::run(&context, &args),
        Command::Help(args) => commands::help::run(&context, &args),
        Command::Check(args) => commands::check::run(&context, &args),
        Command::Create(args) => commands::create::run(&context, &args),
        Command::View(args) => commands::view::run(&context, &args),
        Command::Mount(args) => commands::mount::run(&context, &args),
        Command::Unmount(args) => commands::unmount::run(&context, &args),
        Command::Mounts(args) => commands::mounts::run(&context, &args),
        Command::Doctor(args) => commands::doctor::run(&context, &args),
        Command::Run(args) => commands::run::run(&context, &args),
        Command::Exec(args) => commands::run::exec(&context, &args),
        Command::Submit(args) => commands::submit::run(&context, &args),
        Command::Queue(args) => commands::queue::run(&context, &args),
        Command::Cancel(args) => commands::queue::cancel(&context, &args),
        Command::Hold(args) => commands::queue::hold(&context, &args),
        Command::Release(args) => commands::queue::release(&context, &args),
        Command::Cluster(args) => commands::cluster::run(&context, &args),
        Command::Sync(args) => commands::sync::run(&context, &args),
        Command::Remote(args) => commands::remote::run(&context, &args),
        Command::Workflow(args) => commands::workflow::run(&context, &args),
        Command::Status(args) => commands::status::run(&context, &args),
        Command::Next(args) => commands::next::run(&context, &args),
        Command::Explain(args) => commands::explain::run(&context, &args),
        Command::Log(args) => commands::log::run(&context, &args),
        Command::Serve(args) => commands::mount::serve(&context, &args),
        Command::Watchdog(args) => commands::mount::watchdog(&args),
        Command::Batch(args) => commands::batch::run(&context, &args),
        Command::SyncServe(args) => commands::sync_serve::run(&context, &args),
        Command::LocalQueue(args) => commands::local_queue::run(&context, &args.command),
    }
}
