//! `sweepfs local-queue`, the processes of the queue of this machine

use crate::cli::args::{LocalQueueCommand, LocalShepherdArgs, LocalSubmitArgs};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::scheduler::local::{self, Charge, Limits, Queue, Submission};
use std::io;

pub(in crate::cli) fn run(
    context: &Context<'_>,
    command: &LocalQueueCommand,
) -> Result<Exit, CliError> {
    match command {
        LocalQueueCommand::Submit(args) => submit(context, args),
        LocalQueueCommand::Work(args) => {
            let queue = Queue::at(args.queue.clone());
            local::work(&queue, &context.program()?)?;
            Ok(Exit::Done)
        }
        LocalQueueCommand::Shepherd(args) => shepherd(context, args),
    }
}

fn submit(context: &Context<'_>, args: &LocalSubmitArgs) -> Result<Exit, CliError> {
    let dir = args.chdir.as_ref().unwrap_or(&context.dir);
    let submission = Submission {
        script: args.script.clone(),
        dir: context.absolute(dir)?,
        output: context.absolute(&args.output)?,
        env: std::env::vars_os().collect(),
        limits: Limits {
            cores: args.limit_cores,
            memory_bytes: args.limit_memory,
            gpus: args.limit_gpus,
        },
    };
    let queue = Queue::below(&context.state_dir());
    let id = queue.submit(&submission, &context.program()?);
    context.term.line(id?)?;
    Ok(Exit::Done)
}

fn shepherd(context: &Context<'_>, args: &LocalShepherdArgs) -> Result<Exit, CliError> {
    let charge = Charge {
        array: &args.array,
        element: args.element,
        gpus: &args.gpus,
    };
    let queue = Queue::at(args.queue.clone());
    local::shepherd(&queue, &context.program()?, charge, io::stdin())?;
    Ok(Exit::Done)
}
