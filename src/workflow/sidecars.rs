//! What the sidecars of many jobs record.

use super::record::{Record, Stage};
use super::sidecar::{self, FLOW_FILE, Sidecar, SidecarError};
use crate::catalog::{Clock, Facts, FactsError, JobIdx};
use crate::exec::{Machine, Process};
use crate::fsx::{Dir, Stamp};
use crate::report::Problem;
use crate::statepoint::JobId;
use crate::workspace::Workspace;
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sidecars that one task looks at.
const LOOK_CHUNK: usize = 128;

/// What decides about the next execution.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Summary {
    /// How far the last one has come.
    pub stage: Stage,
    /// The how-manieth it was.
    pub attempt: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Ends without a verdict in a row.
    pub interruptions: u32,
    /// The processes of an execution that is running: its own, and the one that waits for its end.
    /// It is lost when both are gone.
    pub processes: Vec<Process>,
    /// Whether a scheduler has it.
    pub is_batch: bool,
}

impl Summary {
    /// Tells whether the execution goes on. What runs elsewhere is taken at its word.
    pub(super) fn runs(&self, machine: &Machine) -> bool {
        let runs = |process| machine.runs(process) != Some(false);
        match self.processes.is_empty() {
            true => self.is_batch,
            false => self.stage == Stage::Running && self.processes.iter().any(runs),
        }
    }

    /// Returns what of a record decides.
    pub fn of(record: &Record) -> Self {
        let process = |pid: Option<i32>, start: &Option<String>| {
            Some(Process {
                host: record.host.clone()?,
                pid: pid?,
                start: start.clone()?,
            })
        };
        let processes = [
            process(record.pid, &record.process_start),
            process(record.runner_pid, &record.runner_start),
        ];
        let processes = match record.state {
            Stage::Running => processes.into_iter().flatten().collect(),
            _ => Vec::new(),
        };
        Self {
            stage: record.state,
            attempt: record.attempt,
            failures: record.failures,
            interruptions: record.interruptions,
            processes,
            is_batch: record.batch_id.is_some(),
        }
    }
}

/// The last execution of each operation that had one, sorted by their names.
pub(super) type Summaries = Vec<(String, Summary)>;

/// Looks at sidecars, and reads those that have changed since the last look.
#[derive(Debug)]
pub(super) struct Sidecars {
    workspace: Workspace,
    /// The jobs that had a sidecar in the last look at all, sorted by id.
    seen: Mutex<Arc<Vec<Seen>>>,
    /// What sidecars say, once for all jobs of which they say the same.
    shared: Mutex<HashSet<Arc<Summaries>>>,
}

/// A job with a sidecar.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) job: JobIdx,
    id: JobId,
    /// How the file looked; `None` if it could not be read.
    stamp: Option<Stamp>,
    pub(super) says: Says,
}

/// What a sidecar says.
#[derive(Clone, Debug)]
pub(super) enum Says {
    Records(Arc<Summaries>),
    Nothing(Arc<Problem>),
}

impl Sidecars {
    /// Nothing is read before a question needs it.
    pub(super) fn new(workspace: &Workspace) -> Self {
        Self {
            workspace: workspace.clone(),
            seen: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    /// Looks at the sidecars of some jobs, in their order. Calls at the same time may read one
    /// twice.
    pub(super) fn look(
        &self,
        facts: &Facts<'_>,
        jobs: &RoaringBitmap,
    ) -> Result<Arc<Vec<Seen>>, FactsError> {
        let ids: Vec<_> = jobs.iter().zip(facts.ids(jobs)?).collect();
        let seen = match Dir::open(self.workspace.dir()) {
            Ok(dir) => {
                let look = Look {
                    sidecars: self,
                    dir,
                    clock: facts.clock(),
                    before: Arc::clone(&locked(&self.seen)),
                };
                look.all(&ids)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let seen = Arc::new(seen);
        if ids.len() == facts.n_jobs() {
            *locked(&self.seen) = Arc::clone(&seen);
            locked(&self.shared).retain(|states| Arc::strong_count(states) > 1);
        }
        Ok(seen)
    }

    /// Returns the one copy of what a sidecar says.
    fn share(&self, summaries: Summaries) -> Arc<Summaries> {
        let mut shared = locked(&self.shared);
        if let Some(known) = shared.get(&summaries) {
            return Arc::clone(known);
        }
        let summaries = Arc::new(summaries);
        shared.insert(Arc::clone(&summaries));
        summaries
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the path of a job's sidecar below the workspace.
fn name_below(id: &JobId) -> PathBuf {
    Path::new(&id.to_string()).join(FLOW_FILE)
}

/// One look at many sidecars.
struct Look<'a> {
    sidecars: &'a Sidecars,
    dir: Dir,
    clock: Clock,
    before: Arc<Vec<Seen>>,
}

impl Look<'_> {
    /// Returns the jobs that have a sidecar.
    fn all(&self, jobs: &[(JobIdx, JobId)]) -> Vec<Seen> {
        let chunks = jobs.par_chunks(LOOK_CHUNK);
        let parts: Vec<Vec<Seen>> = chunks
            .map(|jobs| {
                let seen = jobs.iter().filter_map(|(job, id)| self.one(*job, id));
                seen.collect()
            })
            .collect();
        parts.into_iter().flatten().collect()
    }

    fn one(&self, job: JobIdx, id: &JobId) -> Option<Seen> {
        let before = self.before.binary_search_by(|seen| seen.id.cmp(id));
        let before = before.ok().map(|i| &self.before[i]);
        if let Some(before) = before
            && before.stamp.is_some()
            && before.stamp == self.dir.stamp_of(&name_below(id)).ok()
        {
            return Some(Seen {
                job,
                ..before.clone()
            });
        }
        let (stamp, says) = match sidecar::read_bytes(&self.dir, &name_below(id)) {
            Ok(None) => return None,
            Ok(Some((bytes, stamp))) => {
                let says = match Sidecar::parse(&bytes) {
                    Ok(sidecar) => Says::Records(self.sidecars.share(summaries(&sidecar))),
                    Err(error) => self.problem(id, &error),
                };
                (Some(self.clock.trusted(stamp)), says)
            }
            Err(error) => (None, self.problem(id, &error.into())),
        };
        Some(Seen {
            job,
            id: *id,
            stamp,
            says,
        })
    }

    fn problem(&self, id: &JobId, error: &SidecarError) -> Says {
        let path = self.sidecars.workspace.dir().join(name_below(id));
        Says::Nothing(Arc::new(error.problem(&id.to_string(), path)))
    }
}

/// Returns what decides about the operations of a sidecar.
pub(super) fn summaries(sidecar: &Sidecar) -> Summaries {
    let records = sidecar.records.iter();
    let summary = |(name, record): (&String, &Record)| (name.clone(), Summary::of(record));
    records.map(summary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, LiveFacts};
    use crate::fsx::TimeNs;
    use crate::pyjson::parse;
    use crate::report::Silent;
    use crate::statepoint::StatePoint;
    use crate::workspace::Project;

    /// Plants an answer in memory, which only a sidecar that is not read leaves there.
    #[test]
    fn a_sidecar_is_read_once_if_its_stamp_can_be_trusted() {
        let root = tempfile::tempdir().expect("a directory");
        let workspace = Project::init(root.path()).expect("a project").workspace();
        let statepoint = StatePoint::from_value(parse(r#"{"a": 1}"#).expect("valid JSON"));
        let (id, _) = workspace
            .create(&statepoint.expect("an object"))
            .expect("created");
        let sidecar = workspace.job_dir(&id).join(FLOW_FILE);
        let text = r#"{"version": 1, "operations": {"a": {"state": "failed"}}}"#;
        std::fs::write(sidecar, text).expect("written");
        let catalog = Catalog::load(&workspace, None, 0, &Silent).expect("read");
        let sidecars = Sidecars::new(&workspace);
        let live = LiveFacts::new(&workspace, None);
        let names = |now: TimeNs| {
            let seen = live.ask(&catalog.snapshot(), now, 0, |facts| {
                sidecars.look(facts, &facts.all())
            });
            let (seen, _) = seen.expect("read");
            let Says::Records(records) = &seen[0].says else {
                panic!("a sound sidecar");
            };
            records[0].0.clone()
        };
        let plant = || {
            let mut seen = Vec::clone(&locked(&sidecars.seen));
            let planted = Says::Records(Arc::new(vec![(
                "planted".to_owned(),
                Summary::of(&Record::next(None, Stage::Failed)),
            )]));
            seen[0].says = planted;
            *locked(&sidecars.seen) = Arc::new(seen);
        };
        // Before the file was written, as a clock that is behind may say.
        assert_eq!(names(1), "a");
        plant();
        assert_eq!(names(2), "a");
        assert_eq!(names(TimeNs::MAX), "a");
        plant();
        assert_eq!(names(TimeNs::MAX), "planted");
        assert_eq!(locked(&sidecars.shared).len(), 0, "the other is forgotten");
    }
}
