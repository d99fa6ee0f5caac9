//! What batch jobs run

use super::run::{Work, count_interrupts, execute, exit_of};
use crate::cli::args::BatchArgs;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::cli::operations::operation_named;
use crate::cli::selection::{Selection, SelectionArgs};
use crate::workflow::{
    BatchTask, Bundle, Clusters, FlowState, Pilot, Planned, Prepared, Room, RunOptions, Shared,
    close_pilot, eligible, follow, give_back,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A pilot ends so much before its time, but at most by a part of it.
const MARGIN_MAX: Duration = Duration::from_secs(60);

/// That part.
const MARGIN_PART: u32 = 20;

/// How often a pilot that waits looks whether it is to end.
const TICK: Duration = Duration::from_millis(100);

pub(in crate::cli) fn run(context: &Context<'_>, args: &BatchArgs) -> Result<Exit, CliError> {
    let begun = Instant::now();
    let project = Loaded::new(context)?;
    let bundle = Bundle::read(&project.workspace, &args.submission).map_err(CliError::failed)?;
    let is_there = |bundle: &Bundle| !bundle.of_element(args.element).is_empty();
    let Some(bundle) = bundle.filter(is_there) else {
        context
            .term
            .note("this submission was given back, so there is nothing to do");
        return Ok(Exit::Done);
    };
    let clusters = project.clusters(context)?;
    let cluster = context.choose(&clusters, Some(&bundle.cluster))?.cluster;
    let array = (args.array.as_str(), args.element);
    let interrupts = count_interrupts()?;
    let element = Element {
        project: &project,
        prepared: &project.prepared(&cluster.config)?,
        bundle: &bundle,
        number: args.element,
        interrupts: &interrupts,
    };
    let task = BatchTask::new(cluster, &args.submission, array, bundle.shared());
    match &bundle.pilot {
        Some(pilot) => element.pilot(context, (pilot, begun), &clusters, task.as_pilot()),
        None => element.execute(context, task),
    }
}

/// An element of a submission.
struct Element<'a> {
    project: &'a Loaded,
    prepared: &'a [Prepared],
    bundle: &'a Bundle,
    number: u32,
    /// How often we are asked to stop.
    interrupts: &'a AtomicUsize,
}

impl Element<'_> {
    /// Executes what it is for.
    fn execute(&self, context: &Context<'_>, task: BatchTask<'_>) -> Result<Exit, CliError> {
        let (bundle, config) = (self.bundle, self.project.flow.config());
        let operation = operation_named(config, &bundle.operation)?;
        let mut left = Vec::new();
        for number in bundle.of_element(self.number) {
            let execution = &bundle.executions[number as usize];
            let jobs = execution.jobs.iter().map(|id| id.parse());
            let planned = Planned {
                operation,
                id: execution.id.clone(),
                jobs: jobs.collect::<Result<_, _>>().map_err(CliError::failed)?,
                before: None,
            };
            left.push((number, planned));
        }
        if bundle.is_chained {
            self.give_back_what_cannot_be_done(context, &mut left)?;
        }
        let shared = bundle.shared();
        let options = RunOptions {
            room: Room::of_cores(match shared {
                Shared::AtOnce => u32::MAX,
                Shared::No | Shared::InTurn => 1,
            }),
            limit: None,
            timeout: None,
            by_walltime: shared != Shared::No,
            fail_fast: false,
            force: false,
        };
        let mut planned = Some(left.iter().map(|(_, planned)| planned.clone()).collect());
        let summary = execute(context, self.work(&options, task), || {
            Ok(planned.take().unwrap_or_default())
        })?;
        if shared != Shared::No {
            let was_interrupted = summary.was_interrupted;
            let reason =
                || was_interrupted.then(|| "its batch job ended before its turn".to_owned());
            let left: Vec<_> = left.iter().map(|(number, _)| (*number, reason())).collect();
            give_back(&self.project.workspace, bundle, &left).map_err(CliError::failed)?;
        }
        Ok(exit_of(&summary))
    }

    fn work<'a>(&'a self, options: &'a RunOptions, task: BatchTask<'a>) -> Work<'a> {
        Work {
            project: self.project,
            prepared: self.prepared,
            options,
            with_output: false,
            task: Some(task),
            interrupts: self.interrupts,
        }
    }

    /// Gives back executions that were sent before anybody knew whether they can be done, and cannot.
    fn give_back_what_cannot_be_done(
        &self,
        context: &Context<'_>,
        left: &mut Vec<(u32, Planned)>,
    ) -> Result<(), CliError> {
        let Loaded {
            flow, workspace, ..
        } = self.project;
        let found = context.ask(workspace, &Selection::default(), |facts, _| {
            let evaluation = flow.evaluation(facts)?;
            let asked = left
                .iter()
                .map(|(_, planned)| evaluation.why_not(planned.operation, &planned.id));
            asked.collect::<Result<Vec<_>, _>>()
        })?;
        let mut reasons = found.answer.into_iter();
        let mut back = Vec::new();
        left.retain(|(number, planned)| match reasons.next().flatten() {
            None => true,
            Some(reason) => {
                context
                    .term
                    .note(format_args!("{} is given back: {reason}", planned.id));
                back.push((*number, Some(reason)));
                false
            }
        });
        give_back(workspace, self.bundle, &back).map_err(CliError::failed)
    }

    /// Executes whatever can be executed, until nothing can, or the time is nearly over.
    fn pilot(
        &self,
        context: &Context<'_>,
        (pilot, begun): (&Pilot, Instant),
        clusters: &Clusters,
        task: BatchTask<'_>,
    ) -> Result<Exit, CliError> {
        let options = RunOptions {
            room: room(pilot, begun),
            limit: None,
            timeout: None,
            by_walltime: true,
            fail_fast: false,
            force: false,
        };
        let selection = self.selection(context, pilot)?;
        let config = self.project.flow.config();
        let known = |name: &String| {
            config
                .operations
                .iter()
                .position(|known| known.name == *name)
        };
        let operations: Vec<_> = pilot.operations.iter().filter_map(known).collect();
        let plan = || {
            self.next(
                context,
                &selection,
                &operations,
                (pilot.n, &options.room),
                clusters,
            )
        };
        let summary = execute(context, self.work(&options, task), plan)?;
        if summary.unrecorded == 0 {
            close_pilot(&self.project.workspace, &self.bundle.name, self.number)
                .map_err(CliError::failed)?;
        }
        Ok(exit_of(&summary))
    }

    /// Returns the jobs that a pilot is for, in so far as they are still there.
    fn selection(
        &self,
        context: &Context<'_>,
        pilot: &Pilot,
    ) -> Result<Option<Selection>, CliError> {
        let workspace = &self.project.workspace;
        let is_there = |id: &&String| {
            let id = id.parse();
            id.is_ok_and(|id| workspace.job_dir(&id).is_dir())
        };
        let jobs = pilot.jobs.as_ref();
        let jobs = jobs.map(|jobs| jobs.iter().filter(is_there).cloned().collect::<Vec<_>>());
        if jobs.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let args = SelectionArgs {
            filter: pilot.filter.clone(),
            job_ids: jobs.unwrap_or_default(),
        };
        Selection::new(context, &args, &[], &[]).map(Some)
    }

    /// Finds what a pilot executes next. While nothing can be executed, but something runs elsewhere
    /// and something else waits, it looks again and again.
    fn next(
        &self,
        context: &Context<'_>,
        selection: &Option<Selection>,
        operations: &[usize],
        (n_pilots, room): (u32, &Room),
        clusters: &Clusters,
    ) -> Result<Vec<Planned>, CliError> {
        let Some(selection) = selection else {
            return Ok(Vec::new());
        };
        let Loaded {
            flow, workspace, ..
        } = self.project;
        loop {
            let found = context.ask(workspace, selection, |facts, jobs| {
                let evaluation = flow.evaluation(facts)?;
                let found = eligible(&evaluation, operations, jobs, false)?;
                let (mut runs, mut waits) = (false, false);
                for &operation in operations {
                    let units = evaluation.units(operation)?.with_all(jobs);
                    let states = evaluation.states(operation, &units)?;
                    runs |= !states.of(FlowState::Running).is_empty();
                    waits |= !states.of(FlowState::Waiting).is_empty();
                }
                Ok((found.planned, runs && waits, evaluation.problems()))
            })?;
            let (mut planned, may_come, problems) = found.answer;
            context.report_problems(&problems);
            let now = Instant::now();
            planned.retain(|planned| {
                let uses = self.prepared[planned.operation].uses(workspace, planned);
                room.holds(&uses, now)
            });
            let is_over = room.until.is_some_and(|until| now >= until);
            if !planned.is_empty() || !may_come || is_over || self.is_interrupted() {
                // Pilots begin at different places, so that they seldom meet.
                let n = planned.len() * self.number as usize / n_pilots.max(1) as usize;
                planned.rotate_left(n);
                return Ok(planned);
            }
            self.wait(context.pause());
            // What runs on a node that has failed runs no more. If the scheduler cannot be asked from
            // here, others do it.
            follow(workspace, clusters, context.pause());
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupts.load(Ordering::Relaxed) > 0
    }

    fn wait(&self, pause: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < pause.max(TICK) && !self.is_interrupted() {
            std::thread::sleep(TICK);
        }
    }
}

/// What a pilot has for executions.
fn room(pilot: &Pilot, begun: Instant) -> Room {
    let walltime = pilot.walltime_s.map(Duration::from_secs);
    let until = walltime.and_then(|walltime| {
        let margin = (walltime / MARGIN_PART).min(MARGIN_MAX);
        begun.checked_add(walltime.saturating_sub(margin))
    });
    Room {
        cores: pilot.cores,
        gpus: Some(pilot.gpus),
        memory_bytes: pilot.memory_bytes,
        until,
    }
}
