//! Syncing with several remotes.
//!
//! All are listed at once, for the network is what takes time. What is to be done is decided and done
//! for one after the other, each time with what is here by then. So what one has brought is neither
//! lost nor in the way, and those that came before are synced a second time with it.

use super::{One, Target};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::remotes::{Opened, can_ask};
use crate::report::{Event, Observer, Silent};
use crate::sync::{Conflict, Listing, LocalSide, Side, SyncError};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A remote that can be synced with.
struct Ready<'a> {
    target: Target<'a>,
    opened: Opened,
    /// What is there, unless that could not be found out.
    listed: Option<Listing>,
    /// What was left as it is the first time.
    conflicts: Option<Vec<Conflict>>,
}

/// Syncs with all of them; what fails for one does not keep the others waiting.
pub(super) fn run(
    context: &Context<'_>,
    local: &LocalSide,
    targets: Vec<Result<Target<'_>, CliError>>,
    is_dry: bool,
) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    let mut found = Vec::new();
    for target in targets {
        match target {
            Ok(target) => found.push(target),
            Err(error) => exit = exit.worst(error.report(context.term)),
        }
    }
    let mut all = Vec::new();
    for (target, opened) in open(context, local, found, !is_dry) {
        match opened {
            Ok(opened) => all.push(Ready {
                target,
                opened,
                listed: None,
                conflicts: None,
            }),
            Err(error) => exit = exit.worst(failed(context, &target, error)),
        }
    }
    let mut here = list(context, local, &mut all, &mut exit)?;
    // Of those before that, some may lack what was brought.
    let mut n_behind = 0;
    for (at, ready) in all.iter_mut().enumerate() {
        let has_changed = sync(context, local, ready, &mut here, &mut exit);
        if has_changed && !is_dry {
            (here, n_behind) = (None, at);
        }
    }
    all.truncate(n_behind);
    all.retain(|ready| ready.conflicts.is_some() && ready.target.one.may_go_on());
    if all.is_empty() {
        return Ok(exit);
    }
    here = list(context, local, &mut all, &mut exit)?;
    for ready in &mut all {
        if sync(context, local, ready, &mut here, &mut exit) {
            here = None;
        }
    }
    Ok(exit)
}

/// Opens them one after the other if somebody may be asked for a password, and else at once.
fn open<'a>(
    context: &Context<'_>,
    local: &LocalSide,
    targets: Vec<Target<'a>>,
    changes: bool,
) -> Vec<(Target<'a>, Result<Opened, CliError>)> {
    let open = |target: &Target<'_>| target.remote.open(context, local, changes);
    if can_ask() {
        let with_result = |target| {
            let opened = open(&target);
            (target, opened)
        };
        return targets.into_iter().map(with_result).collect();
    }
    let opened: Vec<_> = thread::scope(|scope| {
        let open = &open;
        let threads = targets
            .iter()
            .map(|target| scope.spawn(move || open(target)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(joined).collect()
    });
    targets.into_iter().zip(opened).collect()
}

/// Lists all sides at once. Returns what is here.
fn list(
    context: &Context<'_>,
    local: &LocalSide,
    all: &mut [Ready<'_>],
    exit: &mut Exit,
) -> Result<Option<Listing>, CliError> {
    let (observer, total) = (context.term.progress(), all.len() + 1);
    let n_done = AtomicUsize::new(0);
    let listed = |side: &dyn Side| -> Result<Listing, SyncError> {
        let listed = side.list(&Silent);
        let done = n_done.fetch_add(1, Ordering::Relaxed) + 1;
        let what = "listing jobs everywhere";
        observer.event(Event::Progress { what, done, total });
        listed
    };
    let (here, there): (_, Vec<_>) = thread::scope(|scope| {
        let listed = &listed;
        let threads = all.iter().map(|ready| {
            let side: &dyn Side = &*ready.opened.peer;
            scope.spawn(move || listed(side))
        });
        let threads: Vec<_> = threads.collect();
        let here = listed(local);
        (here, threads.into_iter().map(joined).collect())
    });
    observer.event(Event::Finished);
    for (ready, listed) in all.iter_mut().zip(there) {
        ready.listed = match listed {
            Ok(listing) => Some(listing),
            Err(error) => {
                *exit = exit.worst(failed(context, &ready.target, error.into()));
                None
            }
        };
    }
    Ok(Some(here?))
}

/// Syncs with one of them, with what is here if that is known. Returns whether that has changed.
fn sync(
    context: &Context<'_>,
    local: &LocalSide,
    ready: &mut Ready<'_>,
    here: &mut Option<Listing>,
    exit: &mut Exit,
) -> bool {
    let Some(there) = ready.listed.take() else {
        return false;
    };
    let target = &ready.target;
    let synced = (|| {
        let listed = match here {
            Some(here) => here.clone(),
            None => here.insert(local.list(&Silent)?).clone(),
        };
        let before = ready.conflicts.as_deref();
        target.sync(local, &ready.opened, Some((listed, there)), before)
    })();
    match synced {
        Ok(done) => {
            *exit = exit.worst(done.exit);
            ready.conflicts = Some(done.conflicts);
            done.has_changed_here
        }
        Err(error) => {
            *exit = exit.worst(failed(context, target, error));
            // Some of it may have been done.
            true
        }
    }
}

fn failed(context: &Context<'_>, target: &Target<'_>, error: CliError) -> Exit {
    let One { name, .. } = &target.one;
    error.of(name).report(context.term)
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
