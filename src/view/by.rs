//! Any parameter first: a hierarchy in which each level offers what still tells jobs apart.
//!
//! It has a directory for every order of the parameters, so it is never built: a directory is the
//! set of jobs that its path leaves, and its entries are found when it is looked at.

use super::names::{Name, key_names, value_names};
use super::{ID_LEVEL, LEAF};
use crate::catalog::{JobIdx, KeyIndex, Snapshot};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The place of a value that a job does not have.
const MISSING: u32 = u32::MAX;

/// What is needed to find entries, gathered when a key is first looked at.
#[derive(Debug)]
pub struct ByIndex {
    snapshot: Arc<Snapshot>,
    key_names: OnceLock<Vec<Name>>,
    columns: Vec<OnceLock<Column>>,
}

/// The values of one key, job by job.
#[derive(Debug)]
struct Column {
    /// For each job the place of its value in the dictionary.
    places: Vec<u32>,
    names: Vec<Name>,
    by_name: HashMap<Name, u32>,
}

/// A directory: the jobs below it, and what its entries are.
#[derive(Clone, Debug, PartialEq)]
pub struct ByDir {
    jobs: Arc<RoaringBitmap>,
    /// The keys whose value the path names.
    fixed: Vec<u32>,
    level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Level {
    Keys,
    /// The values of a key.
    Values(u32),
    /// Jobs that nothing tells apart.
    Ids,
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum ByEntry {
    /// A directory.
    Dir(ByDir),
    /// A job.
    Leaf(JobIdx),
}

/// An entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByListed {
    /// File name.
    pub name: Box<[u8]>,
    /// Whether it is a job, or else a directory.
    pub is_leaf: bool,
    /// Whether it is a directory, of a value or an id, that leaves one job.
    pub is_single: bool,
    /// The newest job below, or the job itself.
    pub newest: JobIdx,
}

impl ByDir {
    /// Returns the jobs below.
    pub fn jobs(&self) -> &Arc<RoaringBitmap> {
        &self.jobs
    }

    /// Returns the one job, if the directory would hold nothing but it.
    pub fn single(&self) -> Option<JobIdx> {
        let is_single = self.level == Level::Keys && self.jobs.len() == 1;
        self.jobs.min().filter(|_| is_single)
    }

    /// Returns the directory with only those jobs below that are among some.
    pub fn narrowed(&self, jobs: &RoaringBitmap) -> Self {
        Self {
            jobs: Arc::new(&*self.jobs & jobs),
            ..self.clone()
        }
    }
}

impl ByIndex {
    /// The index of a snapshot.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        let columns = snapshot.keys().iter().map(|_| OnceLock::new()).collect();
        Self {
            snapshot,
            key_names: OnceLock::new(),
            columns,
        }
    }

    /// Returns the directory of all jobs.
    pub fn root(&self) -> ByDir {
        ByDir {
            jobs: Arc::new(self.snapshot.all()),
            fixed: Vec::new(),
            level: Level::Keys,
        }
    }

    /// Finds an entry. A key that does not tell jobs apart is found too, though it is not listed:
    /// so a path goes on to work when the last of its fellow jobs is gone.
    pub fn entry(&self, dir: &ByDir, name: &[u8]) -> Option<ByEntry> {
        match dir.level {
            Level::Keys => self.entry_of_keys(dir, name),
            Level::Values(key) => {
                let place = *self.column(key).by_name.get(name)?;
                let value = &self.snapshot.keys()[key as usize].values[place as usize];
                let jobs: RoaringBitmap = match dir.jobs.len() < value.jobs.len() as u64 {
                    true => self.with_place(&dir.jobs, key, place).collect(),
                    false => value
                        .jobs
                        .iter()
                        .filter(|&job| dir.jobs.contains(job))
                        .collect(),
                };
                let fixed = dir.fixed.iter().copied().chain([key]).collect();
                (!jobs.is_empty()).then(|| {
                    ByEntry::Dir(ByDir {
                        jobs: Arc::new(jobs),
                        fixed,
                        level: Level::Keys,
                    })
                })
            }
            Level::Ids => {
                let id = std::str::from_utf8(name).ok()?.parse().ok()?;
                let job = self.snapshot.find(&id)?;
                dir.jobs.contains(job).then(|| {
                    ByEntry::Dir(ByDir {
                        jobs: Arc::new(RoaringBitmap::from_iter([job])),
                        fixed: dir.fixed.clone(),
                        level: Level::Keys,
                    })
                })
            }
        }
    }

    fn entry_of_keys(&self, dir: &ByDir, name: &[u8]) -> Option<ByEntry> {
        if name == LEAF.as_bytes() || name == ID_LEVEL.as_bytes() {
            let alike = self.alike(dir, &self.telling_apart(dir));
            return match (name == LEAF.as_bytes(), alike.len()) {
                (true, 1) => alike.min().map(ByEntry::Leaf),
                (false, 2..) => Some(ByEntry::Dir(ByDir {
                    jobs: Arc::new(alike),
                    level: Level::Ids,
                    ..dir.clone()
                })),
                _ => None,
            };
        }
        let key = self.key_names().iter().position(|other| **other == *name)? as u32;
        let is_found =
            !dir.fixed.contains(&key) && dir.jobs.iter().any(|job| self.place(key, job) != MISSING);
        is_found.then(|| {
            ByEntry::Dir(ByDir {
                level: Level::Values(key),
                jobs: Arc::new(self.having(&dir.jobs, key)),
                ..dir.clone()
            })
        })
    }

    /// Lists a directory.
    pub fn entries(&self, dir: &ByDir) -> Vec<ByListed> {
        match dir.level {
            Level::Keys => self.entries_of_keys(dir),
            Level::Values(key) => {
                let mut found: HashMap<u32, (JobIdx, bool)> = HashMap::new();
                for job in dir.jobs.iter() {
                    let best = found.entry(self.place(key, job));
                    best.and_modify(|best| *best = (self.newer(best.0, job), false))
                        .or_insert((job, true));
                }
                found.remove(&MISSING);
                let mut found: Vec<_> = found.into_iter().collect();
                found.sort_unstable();
                let names = &self.column(key).names;
                let listed = found
                    .into_iter()
                    .map(|(place, (newest, is_single))| ByListed {
                        name: names[place as usize].clone(),
                        is_leaf: false,
                        is_single,
                        newest,
                    });
                listed.collect()
            }
            Level::Ids => {
                let listed = dir.jobs.iter().map(|job| ByListed {
                    name: self.snapshot.jobs()[job as usize]
                        .id
                        .to_string()
                        .into_bytes()
                        .into(),
                    is_leaf: false,
                    is_single: true,
                    newest: job,
                });
                listed.collect()
            }
        }
    }

    fn entries_of_keys(&self, dir: &ByDir) -> Vec<ByListed> {
        let telling = self.telling_apart(dir);
        let alike = self.alike(dir, &telling);
        let (name, is_leaf) = match alike.len() {
            1 => (LEAF, true),
            _ => (ID_LEVEL, false),
        };
        let leaf = self.newest(alike.iter()).map(|newest| ByListed {
            name: name.as_bytes().into(),
            is_leaf,
            is_single: false,
            newest,
        });
        let keys = telling.into_iter().filter_map(|key| {
            let having = dir
                .jobs
                .iter()
                .filter(|&job| self.place(key, job) != MISSING);
            Some(ByListed {
                name: self.key_names()[key as usize].clone(),
                is_leaf: false,
                is_single: false,
                newest: self.newest(having)?,
            })
        });
        leaf.into_iter().chain(keys).collect()
    }

    /// Returns the keys, not yet named by the path, at which the jobs do not all have the same.
    fn telling_apart(&self, dir: &ByDir) -> Vec<u32> {
        let keys = 0..self.columns.len() as u32;
        let varies = |key: &u32| {
            let mut places = dir.jobs.iter().map(|job| self.place(*key, job));
            let first = places.next();
            !dir.fixed.contains(key) && places.any(|place| Some(place) != first)
        };
        keys.filter(varies).collect()
    }

    /// Returns the jobs that have none of some keys.
    fn alike(&self, dir: &ByDir, keys: &[u32]) -> RoaringBitmap {
        let mut alike = (*dir.jobs).clone();
        for &key in keys {
            if !alike.is_empty() {
                alike = self.with_place(&alike, key, MISSING).collect();
            }
        }
        alike
    }

    fn having(&self, jobs: &RoaringBitmap, key: u32) -> RoaringBitmap {
        jobs.iter()
            .filter(|&job| self.place(key, job) != MISSING)
            .collect()
    }

    fn with_place<'a>(
        &'a self,
        jobs: &'a RoaringBitmap,
        key: u32,
        place: u32,
    ) -> impl Iterator<Item = JobIdx> + 'a {
        jobs.iter()
            .filter(move |&job| self.place(key, job) == place)
    }

    fn place(&self, key: u32, job: JobIdx) -> u32 {
        self.column(key).places[job as usize]
    }

    fn newest(&self, jobs: impl Iterator<Item = JobIdx>) -> Option<JobIdx> {
        jobs.reduce(|best, job| self.newer(best, job))
    }

    fn newer(&self, a: JobIdx, b: JobIdx) -> JobIdx {
        let modified = |job: JobIdx| self.snapshot.jobs()[job as usize].modified;
        if modified(b) > modified(a) { b } else { a }
    }

    fn key_names(&self) -> &[Name] {
        self.key_names.get_or_init(|| {
            let keys = self.snapshot.keys().iter().map(|index| &index.key);
            key_names(keys, &[LEAF, ID_LEVEL])
        })
    }

    fn column(&self, key: u32) -> &Column {
        self.columns[key as usize].get_or_init(|| {
            let index = &self.snapshot.keys()[key as usize];
            Column::new(index, self.snapshot.jobs().len())
        })
    }
}

impl Column {
    fn new(index: &KeyIndex, n_jobs: usize) -> Self {
        let mut places = vec![MISSING; n_jobs];
        for (place, entry) in (0..).zip(&index.values) {
            entry
                .jobs
                .iter()
                .for_each(|job| places[job as usize] = place);
        }
        let names = value_names(index.values.iter().map(|entry| &entry.value));
        let by_name = names.iter().cloned().zip(0..).collect();
        Self {
            places,
            names,
            by_name,
        }
    }
}
