//! `status` and `label`: the jobs in each state of an operation, and with each label.

use super::{At, Found, Listed, Place, Result, Within, locked, unavailable};
use crate::mount::fs::FsError;
use crate::view::text_names;
use roaring::RoaringBitmap;
use std::sync::Arc;
use std::time::Instant;

/// A directory above hierarchies of jobs that have something in common.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::mount) struct Marked {
    what: Marks,
    /// The jobs to which a filter above narrows what is below.
    within: Within,
}

#[derive(Clone, Debug, PartialEq)]
enum Marks {
    Operations,
    /// The states of one operation.
    States(Box<[u8]>),
    Labels,
}

/// Names, and the jobs that belong to each.
type Sets = Vec<(Box<[u8]>, Arc<RoaringBitmap>)>;

/// Labels and states as they were a moment ago.
#[derive(Debug)]
pub(super) struct SeenMarks {
    serial: u64,
    at: Instant,
    labels: Sets,
    operations: Vec<(Box<[u8]>, Sets)>,
}

impl Marked {
    pub(super) const OPERATIONS: Self = Self {
        what: Marks::Operations,
        within: None,
    };

    pub(super) const LABELS: Self = Self {
        what: Marks::Labels,
        within: None,
    };

    /// Returns the same directory for some jobs.
    pub(super) fn narrowed(&self, jobs: Arc<RoaringBitmap>) -> Self {
        Self {
            what: self.what.clone(),
            within: Some(jobs),
        }
    }
}

impl At<'_> {
    /// Returns the jobs that may come to be below such a directory: they may get a state or label.
    pub(super) fn admitted(&self, dir: &Marked) -> RoaringBitmap {
        match &dir.within {
            Some(within) => (**within).clone(),
            None => self.generation.snapshot.all(),
        }
    }

    pub(super) fn step_in_marks(&self, dir: &Marked, name: &[u8]) -> Result<Option<Found>> {
        let found = self.sets(dir)?.into_iter().find(|(set, _)| **set == *name);
        let place = found.map(|(name, jobs)| match dir.what {
            Marks::Operations => Place::Marked(Marked {
                what: Marks::States(name),
                within: dir.within.clone(),
            }),
            Marks::States(_) | Marks::Labels => self.of_jobs(jobs),
        });
        Ok(place.map(Found::Node))
    }

    pub(super) fn marked_entries(&self, dir: &Marked) -> Result<Vec<Listed>> {
        let sets = self.sets(dir)?.into_iter();
        Ok(sets
            .map(|(name, jobs)| self.listed_dir(name, &jobs))
            .collect())
    }

    pub(super) fn marked_jobs(&self, dir: &Marked) -> Result<RoaringBitmap> {
        let sets = self.sets(dir)?;
        Ok(union(sets.iter().map(|(_, jobs)| &**jobs)))
    }

    /// Returns the names in such a directory, with the jobs below each.
    fn sets(&self, dir: &Marked) -> Result<Sets> {
        let marks = self.seen_marks()?;
        let sets = match &dir.what {
            Marks::Labels => marks.labels.clone(),
            Marks::States(operation) => {
                let mut known = marks.operations.iter();
                let found = known.find(|(name, _)| name == operation);
                found.ok_or(FsError::Stale)?.1.clone()
            }
            Marks::Operations => {
                let operations = marks.operations.iter();
                let all = |states: &Sets| Arc::new(union(states.iter().map(|(_, jobs)| &**jobs)));
                operations
                    .map(|(name, states)| (name.clone(), all(states)))
                    .collect()
            }
        };
        Ok(match &dir.within {
            None => sets,
            Some(within) => {
                let narrowed = |(name, jobs): (_, Arc<_>)| (name, Arc::new(&*jobs & &**within));
                sets.into_iter().map(narrowed).collect()
            }
        })
    }

    /// Returns labels and states as they were at most a moment ago.
    fn seen_marks(&self) -> Result<Arc<SeenMarks>> {
        let mut seen = locked(&self.finder.marks);
        if let Some(marks) = &*seen
            && marks.serial == self.generation.serial
            && marks.at.elapsed() < self.served.moment
        {
            return Ok(Arc::clone(marks));
        }
        let at = Instant::now();
        let (now, age_max) = self.now();
        let snapshot = &self.generation.snapshot;
        let asked = self.finder.live.ask(snapshot, now, age_max, |facts| {
            self.flow.marks(facts, &facts.all())
        });
        let marks = asked.map_err(|error| unavailable(&error))?.0;
        let label_names = text_names(marks.labels.iter().map(|(name, _)| name.as_str()));
        let names = text_names(marks.operations.iter().map(|marks| marks.name.as_str()));
        let labels = marks.labels.into_iter().map(|(_, jobs)| Arc::new(jobs));
        let states = marks.operations.into_iter().map(|marks| {
            let states = marks.states.into_iter();
            let named = states.map(|(state, jobs)| (state.name().as_bytes().into(), jobs.into()));
            named.collect::<Sets>()
        });
        let marks = Arc::new(SeenMarks {
            serial: self.generation.serial,
            at,
            labels: label_names.into_iter().zip(labels).collect(),
            operations: names.into_iter().zip(states).collect(),
        });
        *seen = Some(Arc::clone(&marks));
        Ok(marks)
    }
}

fn union<'a>(sets: impl Iterator<Item = &'a RoaringBitmap>) -> RoaringBitmap {
    sets.fold(RoaringBitmap::new(), |all, jobs| all | jobs)
}
