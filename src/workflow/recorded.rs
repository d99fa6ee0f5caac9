//! What the sidecars of all jobs record.

use super::marks::{MarkSource, OperationMarks};
use super::sidecar::{self, States};
use super::state::FlowState;
use crate::catalog::{Clock, Facts, FactsError, JobIdx};
use crate::filter::Filter;
use crate::fsx::{Dir, Stamp};
use crate::report::Problem;
use crate::statepoint::JobId;
use crate::workspace::Workspace;
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sidecars that one task looks at.
const LOOK_CHUNK: usize = 128;

/// Knows what the sidecar of each job says, and which labels are defined.
///
/// Sidecars are looked at in each call, and read if they have changed.
#[derive(Debug)]
pub struct Recorded {
    workspace: Workspace,
    labels: BTreeMap<String, Filter>,
    /// The jobs that had a sidecar in the last look, sorted by id.
    seen: Mutex<Arc<Vec<Seen>>>,
    /// What sidecars say, once for all jobs of which they say the same.
    shared: Mutex<HashSet<Arc<States>>>,
}

/// A job with a sidecar.
#[derive(Clone, Debug)]
struct Seen {
    job: JobIdx,
    id: JobId,
    /// How the file looked; `None` if it could not be read.
    stamp: Option<Stamp>,
    says: Says,
}

#[derive(Clone, Debug)]
enum Says {
    States(Arc<States>),
    Nothing(Arc<Problem>),
}

impl Recorded {
    /// Nothing is read before a question needs it.
    pub fn new(workspace: &Workspace, labels: BTreeMap<String, Filter>) -> Self {
        Self {
            workspace: workspace.clone(),
            labels,
            seen: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    /// Looks at the sidecars of all jobs. Calls at the same time may read one twice.
    fn look(&self, facts: &Facts<'_>) -> Result<Arc<Vec<Seen>>, FactsError> {
        let ids = facts.ids(&facts.all())?;
        let seen = match Dir::open(self.workspace.dir()) {
            Ok(dir) => {
                let look = Look {
                    recorded: self,
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
        *locked(&self.seen) = Arc::clone(&seen);
        locked(&self.shared).retain(|states| Arc::strong_count(states) > 1);
        Ok(seen)
    }

    /// Returns the one copy of what a sidecar says.
    fn share(&self, states: States) -> Arc<States> {
        let mut shared = locked(&self.shared);
        if let Some(known) = shared.get(&states) {
            return Arc::clone(known);
        }
        let states = Arc::new(states);
        shared.insert(Arc::clone(&states));
        states
    }
}

impl MarkSource for Recorded {
    fn labels(&self, facts: &Facts<'_>) -> Result<Vec<(String, RoaringBitmap)>, FactsError> {
        let all = facts.all();
        let select = |(name, filter): (&String, &Filter)| {
            let jobs = facts.select(filter, &all)?;
            Ok((name.clone(), jobs))
        };
        self.labels.iter().map(select).collect()
    }

    fn operations(&self, facts: &Facts<'_>) -> Result<Vec<OperationMarks>, FactsError> {
        Ok(by_operation(&self.look(facts)?))
    }

    fn problems(&self) -> Vec<Problem> {
        let seen = Arc::clone(&locked(&self.seen));
        let problems = seen.iter().filter_map(|seen| match &seen.says {
            Says::Nothing(problem) => Some(Problem::clone(problem)),
            Says::States(_) => None,
        });
        problems.collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One look at all sidecars.
struct Look<'a> {
    recorded: &'a Recorded,
    dir: Dir,
    clock: Clock,
    before: Arc<Vec<Seen>>,
}

impl Look<'_> {
    /// Returns the jobs that have a sidecar; the number of a job is the place of its id.
    fn all(&self, ids: &[JobId]) -> Vec<Seen> {
        let chunks = ids.par_chunks(LOOK_CHUNK).enumerate();
        let parts: Vec<Vec<Seen>> = chunks
            .map(|(chunk, ids)| {
                let first = chunk * LOOK_CHUNK;
                let jobs = (first as JobIdx..).zip(ids);
                jobs.filter_map(|(job, id)| self.one(job, id)).collect()
            })
            .collect();
        parts.into_iter().flatten().collect()
    }

    fn one(&self, job: JobIdx, id: &JobId) -> Option<Seen> {
        let before = self.before.binary_search_by(|seen| seen.id.cmp(id));
        let before = before.ok().map(|i| &self.before[i]);
        if let Some(before) = before
            && before.stamp.is_some()
            && before.stamp == sidecar::stamp(&self.dir, id)
        {
            return Some(Seen {
                job,
                ..before.clone()
            });
        }
        let problem = |error: &sidecar::SidecarError| {
            Says::Nothing(Arc::new(error.problem(&self.recorded.workspace, id)))
        };
        let (stamp, says) = match sidecar::read(&self.dir, id) {
            Ok(None) => return None,
            Ok(Some(read)) => {
                let says = match read.states {
                    Ok(states) => Says::States(self.recorded.share(states)),
                    Err(error) => problem(&error),
                };
                (Some(self.clock.trusted(read.stamp)), says)
            }
            Err(error) => (None, problem(&error.into())),
        };
        Some(Seen {
            job,
            id: *id,
            stamp,
            says,
        })
    }
}

/// Turns the states of each job into the jobs of each state.
fn by_operation(seen: &[Seen]) -> Vec<OperationMarks> {
    // Most jobs share what their sidecars say with many others.
    let mut alike: HashMap<*const States, (&States, RoaringBitmap)> = HashMap::new();
    for seen in seen {
        if let Says::States(states) = &seen.says {
            let known = alike.entry(Arc::as_ptr(states));
            let (_, jobs) = known.or_insert_with(|| (states, RoaringBitmap::new()));
            jobs.insert(seen.job);
        }
    }
    let mut operations: BTreeMap<&str, BTreeMap<FlowState, RoaringBitmap>> = BTreeMap::new();
    for (states, jobs) in alike.values() {
        for (name, state) in *states {
            let of_operation = operations.entry(name).or_default();
            *of_operation.entry(*state).or_default() |= jobs;
        }
    }
    let marks = operations.into_iter().map(|(name, states)| OperationMarks {
        name: name.to_owned(),
        states: states.into_iter().collect(),
    });
    marks.collect()
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
        let sidecar = workspace.job_dir(&id).join(sidecar::FLOW_FILE);
        let text = r#"{"version": 1, "operations": {"a": {"state": "failed"}}}"#;
        std::fs::write(sidecar, text).expect("written");
        let catalog = Catalog::load(&workspace, None, 0, &Silent).expect("read");
        let recorded = Recorded::new(&workspace, BTreeMap::new());
        let live = LiveFacts::new(&workspace, None);
        let names = |now: TimeNs| {
            let operations = live.ask(&catalog.snapshot(), now, 0, |facts| {
                recorded.operations(facts)
            });
            let operations = operations.expect("read").0.into_iter();
            operations
                .map(|operation| operation.name)
                .collect::<Vec<_>>()
        };
        let plant = || {
            let mut seen = Vec::clone(&locked(&recorded.seen));
            let planted = vec![("planted".to_owned(), FlowState::Failed)];
            seen[0].says = Says::States(Arc::new(planted));
            *locked(&recorded.seen) = Arc::new(seen);
        };
        // Before the file was written, as a clock that is behind may say.
        assert_eq!(names(1), ["a"]);
        plant();
        assert_eq!(names(2), ["a"]);
        assert_eq!(names(TimeNs::MAX), ["a"]);
        plant();
        assert_eq!(names(TimeNs::MAX), ["planted"]);
        assert_eq!(locked(&recorded.shared).len(), 0, "the other is forgotten");
    }
}
