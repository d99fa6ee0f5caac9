//! One execution, from its claim to its record.

use super::prepared::{PreparedHooks, Rendered};
use super::watch::Cut;
use super::{Planned, Runner};
use crate::config::{OperationConfig, RunDirectory};
use crate::exec::{End, Held, OomKills, Shell};
use crate::fsx;
use crate::report::with_causes;
use crate::template::{Scope, Template};
use crate::workflow::batch::Why;
use crate::workflow::ledger::Ledger;
use crate::workflow::record::{Record, Stage, WALLTIME_OVER, now};
use crate::workflow::sidecar::SidecarError;
use crate::workflow::summary::Summary;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;

/// Signals by which a user or a machine ends what runs; it gave no verdict then.
const INTERRUPTING: [(i32, &str); 4] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (SIGKILL, "SIGKILL"),
    (15, "SIGTERM"),
];

/// Added to a signal in the exit status with which `bash` tells of it.
const SIGNALLED: i32 = 128;

/// Longer variables are left out: Linux allows 128 KiB with the name.
const ENV_BYTES_MAX: usize = 120 * 1024;

/// Longer commands are refused, likewise.
const COMMAND_BYTES_MAX: usize = 127 * 1024;

/// Where output goes, below the project's directory.
const LOGS: &str = ".sweepfs/logs";

/// What came of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ended well.
    Completed,
    /// It failed, or could not be begun.
    Failed,
    /// It was interrupted.
    Interrupted,
    /// Another process was first.
    Taken,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What came of it.
    pub outcome: Outcome,
    /// Why, if it did not end well.
    pub reason: Option<String>,
    /// What it printed, and where in that file it begins.
    pub log: Option<(PathBuf, u64)>,
    /// What went wrong besides.
    pub warnings: Vec<String>,
    /// Whether its end is recorded, if it has begun.
    pub is_recorded: bool,
}

impl Ended {
    fn new(outcome: Outcome, reason: Option<String>) -> Self {
        Self {
            outcome,
            reason,
            log: None,
            warnings: Vec::new(),
            is_recorded: true,
        }
    }
}

/// Why an execution was not begun.
enum NotBegun {
    Taken,
    Failed(String),
}

impl From<SidecarError> for NotBegun {
    fn from(error: SidecarError) -> Self {
        Self::Failed(with_causes(&error))
    }
}

/// An execution that is to be done.
pub(super) struct Execution<'a> {
    runner: &'a Runner<'a>,
    planned: &'a Planned,
    config: &'a OperationConfig,
}

/// Where an execution is done, and what it prints to.
struct Site {
    ledger: Ledger,
    dir: PathBuf,
    log: File,
    log_path: PathBuf,
    env: Vec<(&'static str, String)>,
    /// It is ended after this time.
    walltime: Option<Duration>,
}

/// How an execution ended.
struct Verdict {
    stage: Stage,
    reason: Option<String>,
    /// The stage is a failure since the walltime was over.
    is_outrun: bool,
    end: Option<End>,
}

impl Verdict {
    fn new(stage: Stage, reason: Option<String>, end: Option<End>) -> Self {
        Self {
            stage,
            reason,
            is_outrun: false,
            end,
        }
    }

    fn outrun(end: Option<End>) -> Self {
        Self {
            is_outrun: true,
            ..Self::new(Stage::Failed, Some(WALLTIME_OVER.to_owned()), end)
        }
    }
}

impl<'a> Execution<'a> {
    pub(super) fn new(runner: &'a Runner<'a>, planned: &'a Planned) -> Self {
        Self {
            runner,
            planned,
            config: runner.prepared[planned.operation].config(),
        }
    }

    /// Does it.
    pub(super) fn run(&self) -> Ended {
        match self.begin() {
            Ok(begun) => self.finish(begun),
            Err(NotBegun::Taken) => Ended::new(Outcome::Taken, None),
            Err(NotBegun::Failed(reason)) => Ended::new(Outcome::Failed, Some(reason)),
        }
    }

    fn begin(&self) -> Result<Begun, NotBegun> {
        let workspace = self.runner.flow.workspace();
        let prepared = &self.runner.prepared[self.planned.operation];
        let (scope, rendered) = match prepared.render(workspace, self.planned) {
            Ok(rendered) => rendered,
            Err(_) if self.is_gone() => return Err(NotBegun::Taken),
            Err(error) => return Err(NotBegun::Failed(with_causes(&error))),
        };
        if rendered.command.len() > COMMAND_BYTES_MAX {
            let reason = format!(
                "its command has {} bytes, and Linux allows {COMMAND_BYTES_MAX}; `sweepfs find` can tell the \
                 command which jobs there are",
                rendered.command.len()
            );
            return Err(NotBegun::Failed(reason));
        }
        let ledger = Ledger::open(workspace, &self.planned.id)?;
        let (log, log_path) = self
            .open_log()
            .map_err(|error| NotBegun::Failed(with_causes(&error)))?;
        let start = log.metadata().map_or(0, |metadata| metadata.len());
        let site = Site {
            ledger,
            dir: match self.config.directory {
                RunDirectory::Project => workspace.project_root().to_owned(),
                RunDirectory::Job => workspace.job_dir(&self.planned.jobs[0]),
            },
            log,
            env: self.env(&rendered),
            log_path,
            walltime: rendered
                .resources
                .walltime_s
                .filter(|_| self.runner.options.by_walltime)
                .map(Duration::from_secs),
        };
        let (held, record) = self.claim(&site, &rendered.command)?;
        Ok(Begun {
            site,
            scope,
            held,
            record,
            log_start: start,
            walltime_s: rendered.resources.walltime_s,
        })
    }

    fn is_gone(&self) -> bool {
        let workspace = self.runner.flow.workspace();
        self.planned
            .jobs
            .iter()
            .any(|id| !workspace.job_dir(id).exists())
    }

    fn open_log(&self) -> fsx::Result<(File, PathBuf)> {
        let below = Path::new(LOGS).join(&self.config.name);
        let dir = self.runner.flow.workspace().project_root().join(&below);
        fsx::create_dir_all(&dir)?;
        let name = format!("{}.log", self.planned.id);
        Ok((fsx::open_appending(&dir.join(&name))?, below.join(name)))
    }

    fn env(&self, rendered: &Rendered) -> Vec<(&'static str, String)> {
        let workspace = self.runner.flow.workspace();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let ids: Vec<_> = self.planned.jobs.iter().map(ToString::to_string).collect();
        let resources = &rendered.resources;
        let mut env = vec![
            ("SWEEPFS_PROJECT", text(workspace.project_root())),
            ("SWEEPFS_OPERATION", self.config.name.clone()),
            ("SWEEPFS_AGGREGATE_ID", self.planned.id.clone()),
            ("SWEEPFS_JOB_ID", ids[0].clone()),
            (
                "SWEEPFS_JOB_DIR",
                text(&workspace.job_dir(&self.planned.jobs[0])),
            ),
            ("SWEEPFS_PROCESSES", resources.processes.to_string()),
            ("SWEEPFS_THREADS", resources.threads.to_string()),
            ("SWEEPFS_GPUS", resources.gpus.to_string()),
        ];
        let all = ids.join(" ");
        // Linux takes no longer variables.
        if all.len() < ENV_BYTES_MAX {
            env.push(("SWEEPFS_JOB_IDS", all));
        }
        if self.config.resources.threads.is_some() {
            env.push(("OMP_NUM_THREADS", resources.threads.to_string()));
        }
        env
    }

    /// Starts the command and records it, unless another process was first. It begins only when it
    /// is recorded, so whoever finds no record finds no process either.
    fn claim(&self, site: &Site, command: &str) -> Result<(Held, Record), NotBegun> {
        let runner = self.runner;
        site.ledger.update(|sidecar| {
            if sidecar.is_foreign(&self.config.name) {
                let reason = "its flow state has a record that is not understood; a newer sweepfs may \
                              have written it, `sweepfs workflow forget` removes it";
                return Err(NotBegun::Failed(reason.to_owned()));
            }
            let previous = sidecar.records.get(&self.config.name);
            let found = previous.map(Summary::of);
            let runs = |summary: &Summary| {
                summary.stage == Stage::Running && summary.runs(&runner.machine)
            };
            let is_ours = match &runner.batch {
                Some(task) if !task.is_pilot() => previous.is_some_and(|record| task.awaits(record)),
                _ => {
                    let has_changed = !runner.options.force && found != self.planned.before;
                    !has_changed && !found.as_ref().is_some_and(runs)
                }
            };
            if !is_ours {
                return Err(NotBegun::Taken);
            }
            let shell = Shell {
                command,
                dir: &site.dir,
                env: &site.env,
            };
            let now = now();
            let mut record = match &runner.batch {
                Some(task) => task.begun(previous),
                None => Record::next(previous, Stage::Running),
            };
            // For those who read the log; the command does not depend on it.
            let _ = writeln!(&site.log, "== attempt {}, {now}: {command}", record.attempt);
            let held = shell.start_held(&site.log);
            let held = held.map_err(|error| NotBegun::Failed(with_causes(&error)))?;
            let process = runner.machine.process(held.pid());
            record.host = Some(process.host);
            record.pid = Some(process.pid);
            record.process_start = Some(process.start);
            let own = runner.machine.process(std::process::id() as i32);
            record.runner_pid = Some(own.pid);
            record.runner_start = Some(own.start);
            record.started = Some(now);
            record.log = Some(site.log_path.to_string_lossy().into_owned());
            sidecar.records.insert(self.config.name.clone(), record.clone());
            Ok((held, record))
        })
    }

    fn finish(&self, begun: Begun) -> Ended {
        let Begun {
            site,
            scope,
            held,
            record,
            log_start,
            walltime_s,
        } = begun;
        let mut warnings = Vec::new();
        let started = self.hooks(&site, &scope, &mut warnings, false, |hooks| &hooks.on_start);
        let verdict = match started {
            false => {
                drop(held);
                let reason = "the hook `on_start` failed".to_owned();
                Verdict::new(Stage::Failed, Some(reason), None)
            }
            true => self.verdict(held, &site, walltime_s),
        };
        let recorded = self.record_end(&site, &record, &verdict);
        let Verdict {
            stage, reason, end, ..
        } = verdict;
        if let Err(error) = &recorded {
            warnings.push(format!(
                "its end cannot be recorded: {}",
                with_causes(error)
            ));
        }
        let exit_code = end.map_or(-1, |end| match end {
            End::Exit(code) => code,
            End::Signal(signal) => SIGNALLED + signal,
        });
        let scope = scope
            .with("exit_code", i64::from(exit_code))
            .with("reason", reason.as_deref().unwrap_or_default());
        if stage == Stage::Completed {
            self.hooks(&site, &scope, &mut warnings, true, |hooks| {
                &hooks.on_success
            });
        } else {
            self.hooks(&site, &scope, &mut warnings, true, |hooks| {
                &hooks.on_failure
            });
        }
        self.hooks(&site, &scope, &mut warnings, true, |hooks| &hooks.on_exit);
        let outcome = match stage {
            // Without a record it will be executed again, unless its results tell.
            Stage::Completed if recorded.is_ok() => Outcome::Completed,
            Stage::Interrupted => Outcome::Interrupted,
            _ => Outcome::Failed,
        };
        let log = self
            .runner
            .flow
            .workspace()
            .project_root()
            .join(&site.log_path);
        Ended {
            outcome,
            reason,
            log: Some((log, log_start)),
            warnings,
            is_recorded: recorded.is_ok(),
        }
    }

    /// Lets the command run, and judges its end.
    fn verdict(&self, held: Held, site: &Site, walltime_s: Option<u64>) -> Verdict {
        let watch = &self.runner.watch;
        let group = held.pid();
        watch.begin(group, site.walltime);
        let begun = Instant::now();
        let oom_kills = OomKills::since_now();
        let end = held.release().wait();
        let ran = begun.elapsed();
        let cut = watch.end(group);
        let end = match end {
            Ok(end) => end,
            Err(error) => {
                let reason = format!("its end cannot be awaited: {error}");
                return Verdict::new(Stage::Interrupted, Some(reason), None);
            }
        };
        let (stage, reason) = match (cut, end) {
            (Some(Cut::Interrupted), _) => (Stage::Interrupted, Some("interrupted".to_owned())),
            (Some(Cut::TimedOut), _) => {
                let limit = self.runner.options.timeout.unwrap_or_default();
                let reason = format!("timeout after {} s", limit.as_secs_f64());
                (Stage::Failed, Some(reason))
            }
            (Some(Cut::Outrun), end) => return Verdict::outrun(Some(end)),
            (None, End::Exit(0)) => self.results(site),
            // The kernel's choice is no accident: it would be the same next time.
            (None, end) if is_killed(end) && oom_kills.were_any() => {
                let reason = Some("out of memory".to_owned());
                return Verdict::new(Stage::Failed, reason, Some(end));
            }
            (None, end) => ended_badly(end),
        };
        // What ends a batch job sends it a signal first, whatever the cause.
        let told = self.runner.batch.as_ref();
        let told = told.filter(|_| stage == Stage::Interrupted);
        match told.and_then(|task| task.why_it_ends(ran, walltime_s)) {
            Some(Why::Outrun) => Verdict::outrun(Some(end)),
            Some(Why::Other(stage, reason)) => Verdict::new(stage, Some(reason), Some(end)),
            None => Verdict::new(stage, reason, Some(end)),
        }
    }

    /// Looks whether what should be there now is there.
    fn results(&self, site: &Site) -> (Stage, Option<String>) {
        if self.config.post.is_empty() {
            return (Stage::Completed, None);
        }
        // The command may have changed its own state point, and so the name of the job.
        let moved = site.ledger.current_path();
        let moved = moved
            .as_deref()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str());
        let jobs = match (
            &self.planned.jobs[..],
            moved.and_then(|name| name.parse().ok()),
        ) {
            ([_], Some(id)) => vec![id],
            (jobs, _) => jobs.to_vec(),
        };
        let flow = self.runner.flow;
        match flow.unmet(self.runner.store, self.planned.operation, &jobs) {
            Ok(unmet) if unmet.is_empty() => (Stage::Completed, None),
            Ok(unmet) => {
                let reason = format!("exit 0, but not met: {}", unmet.join(", "));
                (Stage::Failed, Some(reason))
            }
            Err(error) => {
                let reason = format!(
                    "exit 0, but what is met is unknown: {}",
                    with_causes(&error)
                );
                (Stage::Failed, Some(reason))
            }
        }
    }

    fn record_end(
        &self,
        site: &Site,
        begun: &Record,
        verdict: &Verdict,
    ) -> Result<(), SidecarError> {
        let mut recorded = Ok(());
        // A full disk may have room again soon.
        for pause in [
            Duration::ZERO,
            Duration::from_millis(200),
            Duration::from_secs(1),
        ] {
            std::thread::sleep(pause);
            recorded = self.try_record_end(site, begun, verdict);
            if !matches!(&recorded, Err(SidecarError::Fs(error)) if error.is_full()) {
                break;
            }
        }
        recorded
    }

    fn try_record_end(
        &self,
        site: &Site,
        begun: &Record,
        verdict: &Verdict,
    ) -> Result<(), SidecarError> {
        site.ledger.update(|sidecar| {
            let record = sidecar.records.get_mut(&self.config.name);
            // If it is not ours, somebody has taken the job for dead; theirs is the later one.
            let is_ours = |record: &&mut Record| {
                let own = |record: &Record| {
                    let start = record.process_start.clone();
                    (record.attempt, record.host.clone(), record.pid, start)
                };
                record.state == Stage::Running && own(record) == own(begun)
            };
            if let Some(record) = record.filter(is_ours) {
                match verdict.is_outrun {
                    true => record.end_by_walltime(&now()),
                    false => record.end(verdict.stage, verdict.reason.clone(), &now()),
                }
                match verdict.end {
                    Some(End::Exit(code)) => record.exit_code = Some(code),
                    Some(End::Signal(signal)) => record.signal = Some(signal),
                    None => {}
                }
            }
            Ok(())
        })
    }

    /// Runs the hooks of one kind; tells whether all succeeded. `reversed` is the order after an
    /// execution: the operation's own hook is nearer to it.
    fn hooks(
        &self,
        site: &Site,
        scope: &Scope,
        warnings: &mut Vec<String>,
        reversed: bool,
        of_kind: fn(&PreparedHooks) -> &Option<Template>,
    ) -> bool {
        let mut hooks: Vec<_> = self.runner.prepared[self.planned.operation]
            .hooks
            .iter()
            .filter_map(|hooks| of_kind(hooks).as_ref())
            .collect();
        if reversed {
            hooks.reverse();
        }
        let mut succeeded = true;
        for hook in hooks {
            if let Err(reason) = self.run_hook(site, scope, hook) {
                warnings.push(format!("a hook failed: {reason}"));
                succeeded = false;
            }
        }
        succeeded
    }

    fn run_hook(&self, site: &Site, scope: &Scope, hook: &Template) -> Result<(), String> {
        let command = hook
            .render_command(scope)
            .map_err(|error| error.to_string())?;
        let shell = Shell {
            command: &command,
            dir: &site.dir,
            env: &site.env,
        };
        let held = shell
            .start_held(&site.log)
            .map_err(|error| with_causes(&error))?;
        let (watch, group) = (&self.runner.watch, held.pid());
        watch.begin(group, None);
        let ended = held.release().wait();
        match (watch.end(group), ended) {
            (Some(_), _) => Err(format!("it was ended: {command}")),
            (None, Ok(End::Exit(0))) => Ok(()),
            (None, Ok(End::Exit(code))) => Err(format!("exit {code}: {command}")),
            (None, Ok(End::Signal(signal))) => Err(format!("signal {signal}: {command}")),
            (None, Err(error)) => Err(error.to_string()),
        }
    }
}

/// An execution that is recorded and may begin.
struct Begun {
    site: Site,
    scope: Scope,
    held: Held,
    record: Record,
    log_start: u64,
    walltime_s: Option<u64>,
}

/// Tells whether a command, or the last that it ran, was ended by SIGKILL.
fn is_killed(end: End) -> bool {
    matches!(end, End::Signal(SIGKILL)) || end == End::Exit(SIGNALLED + SIGKILL)
}

/// Judges an end that is not exit 0 and that we did not bring about.
fn ended_badly(end: End) -> (Stage, Option<String>) {
    let named = |signal: i32| INTERRUPTING.iter().find(|(known, _)| *known == signal);
    match end {
        End::Exit(code) => match named(code - SIGNALLED) {
            Some((_, name)) => (Stage::Interrupted, Some(format!("exit {code} ({name})"))),
            None => (Stage::Failed, Some(format!("exit {code}"))),
        },
        End::Signal(signal) => match named(signal) {
            Some((_, name)) => (
                Stage::Interrupted,
                Some(format!("signal {signal} ({name})")),
            ),
            None => (Stage::Failed, Some(format!("signal {signal}"))),
        },
    }
}
