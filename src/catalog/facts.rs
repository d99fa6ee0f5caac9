//! Questions about all jobs at one time.

use super::codec::Damage;
use super::column::Column;
use super::documents::Documents;
use super::file::CatalogFile;
use super::index::KeyIndex;
use super::snapshot::{JobEntry, Snapshot};
use super::{Clock, JobIdx, JobSet};
use crate::filter::{Expr, Field, Filter, Found, Space, Test};
use crate::fsx::FsError;
use crate::pyjson::Value;
use crate::statepoint::{JobId, Key};
use roaring::{MultiOps, RoaringBitmap};
use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The catalog file turned out to be damaged; the workspace itself can still answer.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The workspace cannot be read.
    #[error(transparent)]
    Fs(#[from] FsError),
}

type Result<T> = std::result::Result<T, FactsError>;

/// So few ids are looked up one by one.
const FEW_IDS: usize = 64;

/// Where the state points are known from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    File(&'a CatalogFile<JobEntry>),
    Memory(&'a Snapshot),
}

/// Answers questions about all jobs at one time, reading no more than an answer needs. Jobs are
/// numbered in the order of their ids.
#[derive(Debug)]
pub struct Facts<'a> {
    source: Source<'a>,
    documents: &'a RefCell<Documents>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(source: Source<'a>, documents: &'a RefCell<Documents>) -> Self {
        Self { source, documents }
    }

    /// Returns what tells which stamps can be trusted. Its time is that of the question, or of an
    /// earlier one, by which it only trusts less.
    pub(crate) fn clock(&self) -> Clock {
        self.documents.borrow().clock()
    }

    /// Returns the number of jobs.
    pub fn n_jobs(&self) -> usize {
        match self.source {
            Source::File(file) => file.n_entries(),
            Source::Memory(snapshot) => snapshot.jobs().len(),
        }
    }

    /// Returns all jobs.
    pub fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.n_jobs() as JobIdx);
        all
    }

    /// Returns the ids of some jobs, in order.
    pub fn ids(&self, jobs: &RoaringBitmap) -> Result<Vec<JobId>> {
        Ok(match self.source {
            Source::File(file) => file
                .entries(jobs)?
                .into_iter()
                .map(|entry| entry.id)
                .collect(),
            Source::Memory(snapshot) => {
                let entries = snapshot.jobs();
                jobs.iter().map(|job| entries[job as usize].id).collect()
            }
        })
    }

    /// Returns the number of a job.
    pub fn find(&self, id: &JobId) -> Result<Option<JobIdx>> {
        Ok(match self.source {
            Source::File(file) => {
                let (position, is_it) = file.position(id)?;
                is_it.then_some(position)
            }
            Source::Memory(snapshot) => snapshot.find(id),
        })
    }

    /// Returns the numbers of jobs by their ids.
    pub fn positions(&self, ids: &[JobId]) -> Result<Vec<Option<JobIdx>>> {
        if ids.len() <= FEW_IDS {
            return ids.iter().map(|id| self.find(id)).collect();
        }
        let all = self.ids(&self.all())?;
        let position = |id| all.binary_search(id).ok().map(|i| i as JobIdx);
        Ok(ids.iter().map(position).collect())
    }

    /// Returns the jobs whose ids begin with a text; `None` if no id can.
    pub fn find_prefix(&self, prefix: &str) -> Result<Option<Range<JobIdx>>> {
        match self.source {
            Source::Memory(snapshot) => Ok(snapshot.find_prefix(prefix)),
            Source::File(file) => {
                let Some((low, high)) = JobId::range_of_prefix(prefix) else {
                    return Ok(None);
                };
                let ((start, _), (end, is_last)) = (file.position(&low)?, file.position(&high)?);
                Ok(Some(start..end + JobIdx::from(is_last)))
            }
        }
    }

    /// Returns the keys of the state points of all jobs, or of the documents of some, sorted.
    pub fn keys(&self, space: Space, jobs: &RoaringBitmap) -> Result<Vec<Key>> {
        Ok(match (space, self.source) {
            (Space::StatePoint, Source::File(file)) => file.keys().cloned().collect(),
            (Space::StatePoint, Source::Memory(snapshot)) => snapshot
                .keys()
                .iter()
                .map(|index| index.key.clone())
                .collect(),
            (Space::Document, _) => {
                let mut documents = self.documents.borrow_mut();
                documents.read(self, jobs)?;
                documents
                    .keys()
                    .iter()
                    .map(|index| index.key.clone())
                    .collect()
            }
        })
    }

    /// Returns what is known of a key; for a document's key at least of some jobs.
    pub fn key(
        &self,
        space: Space,
        key: &Key,
        jobs: &RoaringBitmap,
    ) -> Result<Option<Cow<'a, KeyIndex>>> {
        Ok(match (space, self.source) {
            (Space::StatePoint, Source::File(file)) => file.key(key)?.map(Cow::Owned),
            (Space::StatePoint, Source::Memory(snapshot)) => snapshot.key(key).map(Cow::Borrowed),
            (Space::Document, _) => {
                let mut documents = self.documents.borrow_mut();
                documents.read(self, jobs)?;
                documents.key(key).cloned().map(Cow::Owned)
            }
        })
    }

    /// Returns the value that each of some jobs has at a key, in their order.
    pub fn column(&self, space: Space, key: &Key, jobs: &RoaringBitmap) -> Result<Column> {
        let n_rows = jobs.len() as usize;
        let Some(index) = self.key(space, key, jobs)? else {
            return Ok(Column::new(Vec::new(), n_rows, []));
        };
        let rows = (n_rows < self.n_jobs()).then(|| {
            let mut rows = vec![None; self.n_jobs()];
            (0..)
                .zip(jobs)
                .for_each(|(row, job)| rows[job as usize] = Some(row));
            rows
        });
        let row = |job: JobIdx| rows.as_ref().map_or(Some(job), |rows| rows[job as usize]);
        let (mut values, mut places) = (Vec::new(), Vec::new());
        for entry in &index.values {
            let (place, n_before) = (values.len() as u32, places.len());
            places.extend(entry.jobs.iter().filter_map(&row).map(|row| (row, place)));
            if places.len() > n_before {
                values.push(entry.value.clone());
            }
        }
        Ok(Column::new(values, n_rows, places))
    }

    /// Returns the values of a state point's key with the number of jobs that have each, and the
    /// number of jobs that have an object there.
    pub fn counts(&self, key: &Key) -> Result<(Vec<(Value, usize)>, usize)> {
        Ok(match self.source {
            Source::File(file) => file.counts(key)?,
            Source::Memory(snapshot) => match snapshot.key(key) {
                None => (Vec::new(), 0),
                Some(index) => {
                    let counts = index.values.iter().map(|e| (e.value.clone(), e.jobs.len()));
                    (counts.collect(), index.objects.len() as usize)
                }
            },
        })
    }

    /// Returns those of some jobs that satisfy a filter; not those of which that cannot be known,
    /// because a document that it needs cannot be read.
    pub fn select(&self, filter: &Filter, jobs: &RoaringBitmap) -> Result<RoaringBitmap> {
        let selected = self.select_expr(filter.expr(), jobs)?;
        if !filter.expr().needs_documents() {
            return Ok(selected);
        }
        Ok(selected - self.documents.borrow().unreadable())
    }

    /// Looks at documents again when they are needed next.
    pub(crate) fn look_again(&self) {
        self.documents.borrow_mut().check_again();
    }

    /// Returns the jobs whose documents were needed so far and could not be read.
    pub fn unreadable_documents(&self) -> RoaringBitmap {
        self.documents.borrow().unreadable()
    }

    fn select_expr(&self, expr: &Expr, jobs: &RoaringBitmap) -> Result<RoaringBitmap> {
        match expr {
            Expr::And(parts) => {
                let mut found = jobs.clone();
                for part in documents_last(parts) {
                    found = self.select_expr(part, &found)?;
                }
                Ok(found)
            }
            Expr::Or(parts) => {
                let mut left = jobs.clone();
                for part in documents_last(parts) {
                    left -= self.select_expr(part, &left)?;
                }
                Ok(jobs - left)
            }
            Expr::Not(part) => Ok(jobs - self.select_expr(part, jobs)?),
            Expr::Test(field, test) => self.select_test(field, test, jobs),
            Expr::Probe(never) => match *never {},
        }
    }

    fn select_test(
        &self,
        field: &Field,
        test: &Test,
        jobs: &RoaringBitmap,
    ) -> Result<RoaringBitmap> {
        if jobs.is_empty() {
            return Ok(RoaringBitmap::new());
        }
        let Some(key) = &field.key else {
            let passes = test.passes(Found::Object);
            return Ok(if passes {
                jobs.clone()
            } else {
                RoaringBitmap::new()
            });
        };
        Ok(match (field.space, self.source) {
            (Space::StatePoint, Source::File(file)) => file.passing(key, test)? & jobs,
            (Space::StatePoint, Source::Memory(snapshot)) => {
                passing(snapshot.key(key), test) & jobs
            }
            (Space::Document, _) => {
                let mut documents = self.documents.borrow_mut();
                documents.read(self, jobs)?;
                passing(documents.key(key), test) & jobs
            }
        })
    }
}

/// Orders conditions so that those which need documents are asked of as few jobs as can be.
fn documents_last(parts: &[Expr]) -> impl Iterator<Item = &Expr> {
    let (documents, statepoints): (Vec<_>, Vec<_>) =
        parts.iter().partition(|part| part.needs_documents());
    statepoints.into_iter().chain(documents)
}

/// Returns the jobs of which what they have at a key passes a test.
fn passing(index: Option<&KeyIndex>, test: &Test) -> RoaringBitmap {
    let Some(index) = index else {
        return RoaringBitmap::new();
    };
    let (mut ones, mut sets) = (Vec::new(), Vec::new());
    for entry in index.values_in(test.spans().as_deref()) {
        if test.passes(Found::Value(&entry.value)) {
            match &entry.jobs {
                JobSet::One(job) => ones.push(*job),
                JobSet::Many(jobs) => sets.push(jobs),
            }
        }
    }
    if test.passes(Found::Object) {
        sets.push(&index.objects);
    }
    ones.sort_unstable();
    let ones: RoaringBitmap = ones.into_iter().collect();
    sets.push(&ones);
    sets.union()
}
