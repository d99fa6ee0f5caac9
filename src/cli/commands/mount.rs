//! `sweepfs mount`, and the daemon and watchdog behind it.

use crate::catalog::{Catalog, Store};
use crate::cli::args::{MountArgs, ServeArgs};
use crate::cli::context::{Context, now, start_threads};
use crate::cli::error::{CliError, Exit};
use crate::mount::{self, MountOptions, Outcome, Registry, Shown, WatchdogOptions};
use crate::workspace::Project;
use std::io;
use std::path::{Path, PathBuf};

pub(in crate::cli) fn run(context: &Context<'_>, args: &MountArgs) -> Result<Exit, CliError> {
    let project = context.project()?;
    let workspace = project.workspace();
    let mountpoint = match &args.mountpoint {
        Some(path) => mount::resolve_mountpoint(&context.absolute(path)?)?,
        None => mount::resolve_mountpoint(&mount::default_mountpoint(project.root()))?,
    };
    if !(0.01..=86400.0).contains(&args.refresh) {
        return Err(CliError::usage(
            "`--refresh` must be between 0.01 and 86400 seconds",
        ));
    }
    let state_dir = context.state_dir();
    let mountpoint = Registry::new(&state_dir).asked_for(mountpoint);
    let log = match &args.log {
        Some(path) => log_file(&context.absolute(path)?, &mountpoint)?,
        None => Registry::new(&state_dir).log_path(&mountpoint),
    };
    let options = MountOptions {
        project: project.root().to_owned(),
        workspace: workspace.dir().to_owned(),
        mountpoint,
        state_dir,
        log,
        program: context.program()?,
        runtime_dir: context.runtime_dir(),
        refresh_ms: (args.refresh * 1000.0) as u64,
        idle_ms: args.idle_unmount.map(|idle| idle.as_millis() as u64),
        allow_other: args.allow_other,
        shown: Shown {
            tree: args.tree.clone(),
            by: !args.no_by,
            leaf: args.leaf.style(),
            xattr: args.xattr,
        },
        io_threads: None,
        ignore_hangup: !args.foreground,
    };
    let observer = context.term.progress();
    if args.foreground {
        let store = Store::new(&workspace, context.cache_dir().as_deref());
        let load = || {
            let catalog = Catalog::load(&workspace, Some(&store), now(), &observer)?;
            Ok((catalog, store.clone()))
        };
        mount::serve(&options, load, |outcome| {
            announce(context, &options, outcome);
        })?;
    } else {
        // Making a catalog takes more memory than to have it, which the daemon would keep; what is
        // wrong here, it tells too.
        let _ = context.reader(&workspace);
        let outcome = mount::start(&options, &observer)?;
        announce(context, &options, outcome);
    }
    Ok(Exit::Done)
}

/// Refuses a log that the mount would hide.
fn log_file(path: &Path, mountpoint: &Path) -> Result<PathBuf, CliError> {
    let path = mount::resolve_mountpoint(path)?;
    if path.starts_with(mountpoint) {
        return Err(CliError::usage("the log cannot be in the mountpoint"));
    }
    Ok(path)
}

fn announce(context: &Context<'_>, options: &MountOptions, outcome: Outcome) {
    let (project, mountpoint) = (options.project.display(), options.mountpoint.display());
    match outcome {
        Outcome::Mounted {
            n_jobs,
            n_problems,
            broken_views,
            elsewhere,
        } => {
            context.term.note(format_args!(
                "mounted {project} at {mountpoint} ({n_jobs} jobs)"
            ));
            if let Some(real) = elsewhere {
                context.term.note(format_args!(
                    "root may not enter there, and is needed to mount: it is in truth at {real}, \
                     and {mountpoint} is a link to it"
                ));
            }
            if n_problems > 0 {
                context.term.warn(format_args!(
                    "{n_problems} entries of the workspace are left out"
                ));
                context.term.hint("`sweepfs check` names them");
            }
            for (name, reason) in broken_views {
                context
                    .term
                    .warn(format_args!("the view `{name}` cannot be shown: {reason}"));
            }
        }
        Outcome::AlreadyMounted { pid } => {
            let pid = pid
                .map(|pid| format!(" by process {pid}"))
                .unwrap_or_default();
            context.term.note(format_args!(
                "{project} is mounted already at {mountpoint}{pid}"
            ));
        }
    }
}

/// The process that `mount` starts.
pub(in crate::cli) fn serve(context: &Context<'_>, args: &ServeArgs) -> Result<Exit, CliError> {
    let options: MountOptions = parse(args)?;
    start_threads(options.io_threads);
    let workspace = Project::discover(&options.project)?.workspace();
    let store = Store::new(&workspace, context.cache_dir().as_deref());
    mount::serve_as_daemon(
        &options,
        |observer| {
            let catalog = Catalog::load(&workspace, Some(&store), now(), observer)?;
            Ok((catalog, store.clone()))
        },
        io::stdout(),
    )?;
    Ok(Exit::Done)
}

/// The process that the daemon starts.
pub(in crate::cli) fn watchdog(args: &ServeArgs) -> Result<Exit, CliError> {
    let options: WatchdogOptions = parse(args)?;
    mount::watch(&options, io::stdin().lock())?;
    Ok(Exit::Done)
}

fn parse<T: for<'de> serde::Deserialize<'de>>(args: &ServeArgs) -> Result<T, CliError> {
    mount::parse_argument(&args.options)
        .ok_or_else(|| CliError::usage("this command is for `sweepfs mount` alone"))
}
