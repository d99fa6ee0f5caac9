//! One look at all jobs, at the cost of what is asked.

use super::documents::Documents;
use super::facts::{Facts, FactsError, Source};
use super::file::CatalogFile;
use super::snapshot::{JobEntry, Snapshot};
use super::store::Store;
use super::{Catalog, Clock};
use crate::fsx::{Dir, FsError, TimeNs};
use crate::report::{Observer, Problem};
use crate::statepoint::JobId;
use crate::workspace::{JobState, Workspace};
use std::cell::RefCell;
use std::sync::Arc;

/// Answers questions about the jobs of a workspace as they were when it was opened.
#[derive(Debug)]
pub struct Reader {
    workspace: Workspace,
    store: Store,
    clock: Clock,
    held: Held,
    problems: Vec<Problem>,
    documents: RefCell<Documents>,
}

#[derive(Debug)]
enum Held {
    File(Box<CatalogFile<JobEntry>>),
    Memory(Arc<Snapshot>),
}

impl Reader {
    /// Opens the catalog file, and brings it up to date if it is not.
    ///
    /// If nothing was added or removed, this costs a `stat` of the workspace and reading the file's
    /// contents, whatever the number of jobs.
    pub fn open(
        workspace: &Workspace,
        store: Store,
        now: TimeNs,
        observer: &dyn Observer,
    ) -> Result<Self, FsError> {
        let clock = Clock::new(workspace, now);
        let (held, problems) = match current_file(workspace, &store)? {
            Some((file, problems)) => (Held::File(Box::new(file)), problems),
            None => {
                let catalog = Catalog::load(workspace, Some(&store), now, observer)?;
                let snapshot = catalog.snapshot();
                let problems = snapshot.problems().to_vec();
                (Held::Memory(snapshot), problems)
            }
        };
        let documents = Documents::new(workspace, Some(store.clone()), clock);
        Ok(Self {
            workspace: workspace.clone(),
            store,
            clock,
            held,
            problems,
            documents: RefCell::new(documents),
        })
    }

    /// Loads the catalog as a snapshot too, for what needs all of it.
    pub fn in_memory(
        workspace: &Workspace,
        store: Store,
        now: TimeNs,
        observer: &dyn Observer,
    ) -> Result<(Self, Arc<Snapshot>), FsError> {
        let snapshot = Catalog::load(workspace, Some(&store), now, observer)?.snapshot();
        let clock = Clock::new(workspace, now);
        let reader = Self {
            workspace: workspace.clone(),
            documents: RefCell::new(Documents::new(workspace, Some(store.clone()), clock)),
            store,
            clock,
            held: Held::Memory(snapshot.clone()),
            problems: snapshot.problems().to_vec(),
        };
        Ok((reader, snapshot))
    }

    /// Asks a question, and asks it again of the workspace itself if the file is damaged.
    pub fn ask<T>(
        &mut self,
        observer: &dyn Observer,
        question: impl Fn(&Facts<'_>) -> Result<T, FactsError>,
    ) -> Result<T, FactsError> {
        let mut answer = self.answer(&question);
        if let (Held::File(_), Err(FactsError::Damage(damage))) = (&self.held, &answer) {
            tracing::info!("{damage}; the workspace is read instead");
            self.read_again(observer)?;
            answer = self.answer(&question);
        }
        self.documents.get_mut().save();
        answer
    }

    fn answer<T>(
        &self,
        question: impl Fn(&Facts<'_>) -> Result<T, FactsError>,
    ) -> Result<T, FactsError> {
        let source = match &self.held {
            Held::File(file) => Source::File(file),
            Held::Memory(snapshot) => Source::Memory(snapshot),
        };
        question(&Facts::new(source, &self.documents))
    }

    /// Makes the file anew. Jobs are numbered afresh, also for the documents.
    fn read_again(&mut self, observer: &dyn Observer) -> Result<(), FsError> {
        let catalog = Catalog::rebuild(&self.workspace, &self.store, self.clock.now, observer)?;
        self.held = Held::Memory(catalog.snapshot());
        self.problems = catalog.snapshot().problems().to_vec();
        let documents = Documents::new(&self.workspace, Some(self.store.clone()), self.clock);
        self.documents = RefCell::new(documents);
        Ok(())
    }

    /// Returns what is wrong with jobs and entries of the workspace, and with the documents that
    /// were needed so far.
    pub fn problems(&self) -> Vec<Problem> {
        let documents = self.documents.borrow();
        let mut problems: Vec<_> = self
            .problems
            .iter()
            .chain(documents.problems())
            .cloned()
            .collect();
        problems.sort();
        problems
    }
}

type Current = (CatalogFile<JobEntry>, Vec<Problem>);

/// Opens a file that nothing was added to or removed from since, with the problems as they are now.
fn current_file(workspace: &Workspace, store: &Store) -> Result<Option<Current>, FsError> {
    let Some(stamp) = workspace.stamp()? else {
        return Ok(None);
    };
    let is_current = |file: &CatalogFile<_>| file.listed_at() == Some(stamp);
    let Some(file) = store.open::<JobEntry>().into_iter().find(is_current) else {
        return Ok(None);
    };
    let problems = file
        .problems()
        .iter()
        .map(|problem| in_workspace(problem, workspace));
    let still = still_problems(workspace, problems.collect())?;
    Ok(still.map(|problems| (file, problems)))
}

/// Reads damaged jobs again; `None` if one of them is not any more.
fn still_problems(
    workspace: &Workspace,
    problems: Vec<Problem>,
) -> Result<Option<Vec<Problem>>, FsError> {
    if problems.is_empty() {
        return Ok(Some(problems));
    }
    let dir = Dir::open(workspace.dir())?;
    let again = problems
        .into_iter()
        .map(|problem| match damaged_job(&problem, workspace) {
            None => Some(problem),
            Some(id) => match workspace.read_job(&dir, &id) {
                JobState::Damaged(problem) => Some(problem),
                JobState::Sound(_) | JobState::Gone => None,
            },
        });
    Ok(again.collect())
}

/// Makes the path of a stored problem absolute.
pub(super) fn in_workspace(problem: &Problem, workspace: &Workspace) -> Problem {
    Problem {
        path: workspace.dir().join(&problem.path),
        ..problem.clone()
    }
}

/// Returns the job that a problem is about, if it is about its state point.
pub(super) fn damaged_job(problem: &Problem, workspace: &Workspace) -> Option<JobId> {
    let id = problem.subject.parse().ok()?;
    (problem.path == workspace.statepoint_path(&id)).then_some(id)
}
