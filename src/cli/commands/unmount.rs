//! `sweepfs unmount`

use crate::cli::args::UnmountArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::mount::{self, MountError, MountState, Registry};
use std::path::PathBuf;

pub(in crate::cli) fn run(context: &Context<'_>, args: &UnmountArgs) -> Result<Exit, CliError> {
    let registry = Registry::new(&context.state_dir());
    let mountpoints = match (args.all, args.mountpoints.as_slice()) {
        (true, _) => registry.all_mountpoints()?,
        (false, []) => of_this_project(context, &registry)?,
        (false, named) => {
            let resolve = |path: &PathBuf| {
                let path = mount::resolve_mountpoint(&context.absolute(path)?)?;
                Ok(registry.asked_for(path))
            };
            named.iter().map(resolve).collect::<Result<_, CliError>>()?
        }
    };
    let mut exit = Exit::Done;
    for mountpoint in &mountpoints {
        match registry.unmount(mountpoint) {
            Ok(()) => context
                .term
                .note(format_args!("unmounted {}", mountpoint.display())),
            // Its watchdog, or another command, was faster.
            Err(MountError::NotMounted(_)) if args.all => {}
            Err(error) if mountpoints.len() > 1 => {
                CliError::from(error).report(context.term);
                exit = Exit::Partial;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(exit)
}

/// Returns the registered mounts of the project, or its default mountpoint if there are none.
fn of_this_project(context: &Context<'_>, registry: &Registry) -> Result<Vec<PathBuf>, CliError> {
    let project = context.project()?;
    let records = registry.records()?.into_iter();
    let own = records.filter(|record| {
        record.project == project.root() && record.state() != MountState::Elsewhere
    });
    let mountpoints: Vec<_> = own.map(|record| record.mountpoint).collect();
    if mountpoints.is_empty() {
        return Ok(vec![mount::resolve_mountpoint(
            &mount::default_mountpoint(project.root()),
        )?]);
    }
    Ok(mountpoints)
}
