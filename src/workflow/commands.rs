//! Conditions that a command of the user decides.

use crate::exec::{End, ExecError, Shell};
use crate::report::Problem;
use crate::statepoint::JobId;
use crate::workspace::Workspace;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Exit statuses of `bash` for a command that cannot be run.
const NOT_RUN: [i32; 2] = [126, 127];

/// A command that is asked about all may print this much besides the ids.
const SPARE_BYTES: u64 = 1 << 20;

/// Answers by job; none if there is no answer.
type Answers = HashMap<JobId, Option<bool>>;

/// Runs commands that decide, and remembers their answers for a while.
#[derive(Debug)]
pub(super) struct Commands {
    memory: Duration,
    known: Mutex<HashMap<String, (Instant, Answers)>>,
}

impl Commands {
    pub(super) fn new(memory: Duration) -> Self {
        Self {
            memory,
            known: Mutex::default(),
        }
    }

    /// Asks a command about jobs; returns an answer for each in their order, and what is wrong.
    pub(super) fn ask(
        &self,
        workspace: &Workspace,
        command: &str,
        batch: bool,
        ids: &[JobId],
    ) -> (Vec<Option<bool>>, Vec<Problem>) {
        let mut known = self.remembered(command);
        let missing: Vec<_> = ids
            .iter()
            .filter(|id| !known.contains_key(id))
            .copied()
            .collect();
        let mut problems = Vec::new();
        if !missing.is_empty() {
            let question = Question { workspace, command };
            let answers = match batch {
                true => question.about_all(&missing),
                false => question.about_each(&missing),
            };
            for (id, answer) in missing.iter().zip(answers) {
                let answer = answer.map_err(|reason| problems.push(question.problem(id, &reason)));
                known.insert(*id, answer.ok());
            }
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, remembered) = all
                .entry(command.to_owned())
                .or_insert_with(|| (Instant::now(), Answers::new()));
            remembered.extend(missing.iter().map(|id| (*id, known[id])));
        }
        (ids.iter().map(|id| known[id]).collect(), problems)
    }

    fn remembered(&self, command: &str) -> Answers {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (since, _)| since.elapsed() < self.memory);
        known
            .get(command)
            .map(|(_, answers)| answers.clone())
            .unwrap_or_default()
    }
}

struct Question<'a> {
    workspace: &'a Workspace,
    command: &'a str,
}

impl Question<'_> {
    fn about_each(&self, ids: &[JobId]) -> Vec<Result<bool, String>> {
        let ask = |id: &JobId| {
            let dir = self.workspace.job_dir(id);
            let env = [
                ("SWEEPFS_PROJECT", self.project()),
                ("SWEEPFS_JOB_ID", id.to_string()),
                ("SWEEPFS_JOB_DIR", dir.to_string_lossy().into_owned()),
            ];
            let shell = Shell {
                command: self.command,
                dir: &dir,
                env: &env,
            };
            match shell.test().map_err(|error| with_cause(&error))? {
                End::Exit(0) => Ok(true),
                End::Exit(code) if NOT_RUN.contains(&code) => Err(format!("exit {code}")),
                End::Exit(_) => Ok(false),
                End::Signal(signal) => Err(format!("signal {signal}")),
            }
        };
        ids.par_iter().map(ask).collect()
    }

    fn about_all(&self, ids: &[JobId]) -> Vec<Result<bool, String>> {
        let env = [("SWEEPFS_PROJECT", self.project())];
        let shell = Shell {
            command: self.command,
            dir: self.workspace.project_root(),
            env: &env,
        };
        let input: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let reason = match shell.ask(&input, 2 * input.len() as u64 + SPARE_BYTES) {
            Ok((End::Exit(0), output)) => {
                let yes: HashSet<_> = output.split_whitespace().collect();
                let answer = |id: &JobId| Ok(yes.contains(id.to_string().as_str()));
                return ids.iter().map(answer).collect();
            }
            Ok((End::Exit(code), _)) => format!("exit {code}"),
            Ok((End::Signal(signal), _)) => format!("signal {signal}"),
            Err(error) => with_cause(&error),
        };
        ids.iter().map(|_| Err(reason.clone())).collect()
    }

    fn project(&self) -> String {
        self.workspace.project_root().to_string_lossy().into_owned()
    }

    fn problem(&self, id: &JobId, reason: &str) -> Problem {
        Problem {
            subject: id.to_string(),
            path: self.workspace.job_dir(id),
            reason: format!(
                "the condition `test(…)` has no answer: {reason}: {}",
                self.command
            ),
            hint: Some("its command says yes by exit 0 and no by another status".into()),
        }
    }
}

fn with_cause(error: &ExecError) -> String {
    crate::report::with_causes(error)
}
