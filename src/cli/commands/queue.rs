//! `sweepfs queue` and `sweepfs cancel`

use crate::cli::args::{CancelArgs, QueueArgs};
use crate::cli::cluster::Chosen;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::report::harmless;
use crate::scheduler::Seen;
use crate::workflow::{BatchLine, Bundle, Followed, cancel as cancel_all};

pub(in crate::cli) fn run(context: &Context<'_>, args: &QueueArgs) -> Result<Exit, CliError> {
    let project = Loaded::new(context)?;
    let clusters = project.clusters(context)?;
    let followed = context.follow(&project.workspace, &clusters);
    let by = (&args.operations, &args.selection);
    let chosen = Chosen::new(context, &project.workspace, project.flow.config(), by)?;
    for bundle in &followed.bundles {
        for element in bundle.open().filter(|element| chosen.has(bundle, *element)) {
            context
                .term
                .line(harmless(line(&followed, bundle, element)))?;
        }
    }
    Ok(match followed.troubles.is_empty() {
        true => Exit::Done,
        false => Exit::Partial,
    })
}

fn line(followed: &Followed, bundle: &Bundle, element: u32) -> String {
    let id = bundle.batch_id(element);
    let (state, why) = match followed.state(bundle, element) {
        Some(Seen::Active(_)) => ("running", ""),
        Some(Seen::Queued(why)) => ("queued", why.as_str()),
        Some(Seen::Held) => ("held", ""),
        Some(Seen::Ended(..) | Seen::Gone) => ("ended", ""),
        None if id.is_none() => ("submitting", ""),
        None => ("unknown", ""),
    };
    let id = id.unwrap_or_else(|| "-".to_owned());
    let execution = &bundle.executions[element as usize].id;
    let line = format!("{id:<12} {state:<8} {} {execution} {why}", bundle.operation);
    line.trim_end().to_owned()
}

pub(in crate::cli) fn cancel(context: &Context<'_>, args: &CancelArgs) -> Result<Exit, CliError> {
    let by_option = !args.operations.operations.is_empty() || !args.selection.is_empty();
    if !args.all && args.ids.is_empty() && !by_option {
        return Err(CliError::usage("what is to be cancelled?")
            .with_hint("name batch jobs, select with `-o`, `-f` or `-j`, or give `--all`"));
    }
    let project = Loaded::new(context)?;
    let clusters = project.clusters(context)?;
    let followed = context.follow(&project.workspace, &clusters);
    let by = (&args.operations, &args.selection);
    let chosen = Chosen::new(context, &project.workspace, project.flow.config(), by)?;
    let mut lines = Vec::new();
    for bundle in &followed.bundles {
        let is_named = |element: &u32| {
            let id = bundle.batch_id(*element);
            let array = bundle.id.as_ref().map(|array| &array.id);
            let is_it = |name: &String| array == Some(name) || id.as_ref() == Some(name);
            args.ids.is_empty() || args.ids.iter().any(is_it)
        };
        let elements = bundle.open().filter(|element| chosen.has(bundle, *element));
        lines.extend(
            elements
                .filter(is_named)
                .map(|element| BatchLine { bundle, element }),
        );
    }
    if lines.is_empty() {
        context.term.note("nothing to cancel");
        return Ok(Exit::Done);
    }
    let troubles = cancel_all(&project.workspace, &clusters, &lines).map_err(CliError::failed)?;
    let n = lines.len();
    context.term.note(format_args!("cancelled: {n}"));
    for trouble in &troubles {
        context.term.warn(trouble);
    }
    Ok(match troubles.is_empty() {
        true => Exit::Done,
        false => Exit::Partial,
    })
}
