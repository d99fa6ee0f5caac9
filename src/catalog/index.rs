//! Dictionaries of values, and the jobs that have each.

use super::JobIdx;
use crate::filter::Span;
use crate::pyjson::{Object, Value};
use crate::statepoint::{JobId, Key, Leaf, visit};
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::cmp::Ordering;
use std::collections::hash_map::Entry as MapEntry;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, Range};

/// A set of jobs that is never empty. Most values of a key that numbers its jobs belong to one
/// job, so that one costs no allocation.
#[derive(Clone, Debug, PartialEq)]
pub enum JobSet {
    /// One job.
    One(JobIdx),
    /// Several jobs.
    Many(RoaringBitmap),
}

impl JobSet {
    /// Returns the number of jobs.
    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(jobs) => jobs.len() as usize,
        }
    }

    /// Always false; here because of [`JobSet::len`].
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Iterates over the jobs in ascending order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = JobIdx> + '_> {
        match self {
            Self::One(job) => Box::new(std::iter::once(*job)),
            Self::Many(jobs) => Box::new(jobs.iter()),
        }
    }

    /// Tells how many of the jobs are among `selection`.
    pub fn n_common(&self, selection: &RoaringBitmap) -> usize {
        match self {
            Self::One(job) => usize::from(selection.contains(*job)),
            Self::Many(jobs) => jobs.intersection_len(selection) as usize,
        }
    }

    fn from_sorted(mut jobs: impl Iterator<Item = JobIdx>) -> Option<Self> {
        let first = jobs.next()?;
        let Some(second) = jobs.next() else {
            return Some(Self::One(first));
        };
        let mut bitmap = RoaringBitmap::from_iter([first, second]);
        bitmap.extend(jobs);
        Some(Self::Many(bitmap))
    }

    fn insert(&mut self, job: JobIdx) {
        match self {
            Self::One(first) => *self = Self::Many([*first, job].into_iter().collect()),
            Self::Many(jobs) => {
                jobs.insert(job);
            }
        }
    }

    fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Many(a), Self::Many(b)) => Self::Many(a | b),
            (mut many, Self::One(job)) | (Self::One(job), mut many) => {
                many.insert(job);
                many
            }
        }
    }

    /// Renumbers by a monotone map; `None` if no job is left.
    fn renumbered(&self, number: &impl Fn(JobIdx) -> Option<JobIdx>) -> Option<Self> {
        Self::from_sorted(self.iter().filter_map(number))
    }
}

/// A value of a key, and the jobs that have it.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueEntry {
    /// The value; types are told apart, `1` and `1.0` are two entries.
    pub value: Value,
    /// The jobs.
    pub jobs: JobSet,
}

/// What the jobs have at one key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyIndex {
    /// The key.
    pub key: Key,
    /// The scalars and lists at the key, sorted.
    pub values: Vec<ValueEntry>,
    /// The jobs that have an object at the key.
    pub objects: RoaringBitmap,
}

impl KeyIndex {
    /// Iterates over the values in some ranges, or over all.
    pub(super) fn values_in(&self, spans: Option<&[Span]>) -> impl Iterator<Item = &ValueEntry> {
        let ranges = match spans {
            None => std::iter::once(0..self.values.len()).collect(),
            Some(spans) => disjoint(spans.iter().map(|span| self.positions_in(span)).collect()),
        };
        ranges.into_iter().flat_map(|range| &self.values[range])
    }

    fn positions_in(&self, (low, high): &Span) -> Range<usize> {
        let before = |limit: &Value| self.values.partition_point(|entry| entry.value < *limit);
        let through = |limit: &Value| self.values.partition_point(|entry| entry.value <= *limit);
        let start = match low {
            Bound::Unbounded => 0,
            Bound::Included(low) => before(low),
            Bound::Excluded(low) => through(low),
        };
        let end = match high {
            Bound::Unbounded => self.values.len(),
            Bound::Included(high) => through(high),
            Bound::Excluded(high) => before(high),
        };
        start..end.max(start)
    }
}

/// Sorts ranges and takes from each what an earlier one has.
pub(super) fn disjoint(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut next = 0;
    for range in &mut ranges {
        range.start = range.start.max(next);
        next = next.max(range.end);
    }
    ranges.retain(|range| !range.is_empty());
    ranges
}

/// The keys of some jobs, sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    pub(super) keys: Vec<KeyIndex>,
}

impl Index {
    /// Joins what was gathered of jobs that are numbered apart.
    pub(super) fn of(parts: Vec<Gathered>) -> Self {
        let mut keys: BTreeMap<Vec<u8>, Vec<KeyGathered>> = BTreeMap::new();
        for mut part in parts {
            for (dotted, number) in part.numbers {
                let key = std::mem::take(&mut part.keys[number]);
                keys.entry(dotted).or_default().push(key);
            }
        }
        let keys: Vec<_> = keys.into_iter().collect();
        let index = |(dotted, parts): (Vec<u8>, Vec<_>)| {
            KeyGathered::joined(parts).into_index(Key::from_dotted(&dotted))
        };
        Self {
            keys: keys.into_par_iter().map(index).collect(),
        }
    }

    /// Returns what is known of one key.
    pub(super) fn key(&self, key: &Key) -> Option<&KeyIndex> {
        let found = self.keys.binary_search_by(|index| index.key.cmp(key));
        found.ok().map(|i| &self.keys[i])
    }

    /// Renumbers all jobs by a monotone map that may drop some.
    pub(super) fn renumbered(&self, number: impl Fn(JobIdx) -> Option<JobIdx>) -> Self {
        let keys = self.keys.iter().filter_map(|key| {
            let values = key.values.iter().filter_map(|entry| {
                let jobs = entry.jobs.renumbered(&number)?;
                Some(ValueEntry {
                    value: entry.value.clone(),
                    jobs,
                })
            });
            let values: Vec<_> = values.collect();
            let objects: RoaringBitmap = key.objects.iter().filter_map(&number).collect();
            let used = !values.is_empty() || !objects.is_empty();
            used.then(|| KeyIndex {
                key: key.key.clone(),
                values,
                objects,
            })
        });
        Self {
            keys: keys.collect(),
        }
    }

    /// Joins the indexes of two sets of jobs, which are numbered apart.
    pub(super) fn merged(a: Self, b: Self) -> Self {
        let keys = merge_sorted(
            a.keys,
            b.keys,
            |a, b| a.key.cmp(&b.key),
            |a, b| KeyIndex {
                key: a.key,
                values: merge_sorted(
                    a.values,
                    b.values,
                    |a, b| a.value.cmp(&b.value),
                    |a, b| ValueEntry {
                        value: a.value,
                        jobs: a.jobs.union(b.jobs),
                    },
                ),
                objects: a.objects | b.objects,
            },
        );
        Self { keys }
    }
}

/// Something known of one job.
pub(super) trait Entry: Copy + Send + Sync {
    /// The job.
    fn id(&self) -> JobId;
}

impl Entry for JobId {
    fn id(&self) -> JobId {
        *self
    }
}

/// What is known of some jobs: an entry each, sorted by id, and the index of their objects, in
/// which a job's number is its position.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part<E> {
    pub(super) entries: Vec<E>,
    pub(super) index: Index,
}

impl<E> Default for Part<E> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            index: Index::default(),
        }
    }
}

impl<E: Entry> Part<E> {
    /// Returns the part without some jobs, given in order, and with others.
    pub(super) fn updated(&self, gone: &[JobId], new: Self) -> Self {
        if self.entries.is_empty() {
            return new;
        }
        let kept = self
            .entries
            .iter()
            .filter(|entry| gone.binary_search(&entry.id()).is_err());
        let order = |a: &E, b: &E| a.id().cmp(&b.id());
        let entries = merge_sorted(
            kept.copied().collect(),
            new.entries.clone(),
            order,
            |_, new| new,
        );
        let index = Index::merged(self.renumbered(&entries), new.renumbered(&entries));
        Self { entries, index }
    }

    /// Returns the index with jobs numbered by their position in another list, which is sorted by
    /// id; those that it lacks are dropped.
    pub(super) fn renumbered<F: Entry>(&self, to: &[F]) -> Index {
        let mut rest = to.iter().map(Entry::id).enumerate().peekable();
        let mut number = |id: JobId| {
            while rest.next_if(|(_, other)| *other < id).is_some() {}
            rest.peek()
                .filter(|(_, other)| *other == id)
                .map(|(i, _)| *i as JobIdx)
        };
        let table: Vec<_> = self
            .entries
            .iter()
            .map(|entry| number(entry.id()))
            .collect();
        self.index.renumbered(|job| table[job as usize])
    }
}

/// Merges sorted lists; equal items are joined.
fn merge_sorted<T>(
    a: Vec<T>,
    b: Vec<T>,
    order: impl Fn(&T, &T) -> Ordering,
    join: impl Fn(T, T) -> T,
) -> Vec<T> {
    let mut merged = Vec::with_capacity(a.len().max(b.len()));
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let next = match order(x, y) {
            Ordering::Less => a.next(),
            Ordering::Greater => b.next(),
            Ordering::Equal => a.next().zip(b.next()).map(|(x, y)| join(x, y)),
        };
        merged.extend(next);
    }
    merged.extend(a);
    merged.extend(b);
    merged
}

/// The values of some jobs, by key.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    numbers: HashMap<Vec<u8>, usize>,
    keys: Vec<KeyGathered>,
}

/// The values of some jobs at one key.
#[derive(Debug, Default)]
struct KeyGathered {
    values: HashMap<Value, Jobs>,
    objects: Vec<JobIdx>,
}

/// Jobs in any order, each once. Bitmaps are made when all are known: many small ones cost more.
#[derive(Debug)]
enum Jobs {
    One(JobIdx),
    Many(Vec<JobIdx>),
}

impl Gathered {
    /// Gathers the objects of numbered jobs.
    pub(super) fn of(objects: impl IntoIterator<Item = (JobIdx, Object)>) -> Self {
        let mut gathered = Self::default();
        for (job, object) in objects {
            visit(object, &mut |key, leaf| gathered.add(key, leaf, job));
        }
        gathered
    }

    fn add(&mut self, key: &[u8], leaf: Leaf, job: JobIdx) {
        let number = match self.numbers.get(key) {
            Some(&number) => number,
            None => {
                self.keys.push(KeyGathered::default());
                self.numbers.insert(key.to_vec(), self.keys.len() - 1);
                self.keys.len() - 1
            }
        };
        let key = &mut self.keys[number];
        match leaf {
            Leaf::Value(value) => key.add(value, Jobs::One(job)),
            Leaf::EmptyObject | Leaf::Nested => key.objects.push(job),
        }
    }
}

impl KeyGathered {
    fn add(&mut self, value: Value, jobs: Jobs) {
        match self.values.entry(value) {
            MapEntry::Occupied(mut known) => known.get_mut().append(jobs),
            MapEntry::Vacant(new) => drop(new.insert(jobs)),
        }
    }

    fn joined(parts: Vec<Self>) -> Self {
        let mut joined = Self::default();
        for part in parts {
            part.values
                .into_iter()
                .for_each(|(value, jobs)| joined.add(value, jobs));
            joined.objects.extend(part.objects);
        }
        joined
    }

    fn into_index(self, key: Key) -> KeyIndex {
        let entry = |(value, jobs): (Value, Jobs)| ValueEntry {
            value,
            jobs: jobs.into_set(),
        };
        let mut values: Vec<_> = self.values.into_iter().map(entry).collect();
        values.sort_unstable_by(|a, b| a.value.cmp(&b.value));
        KeyIndex {
            key,
            values,
            objects: self.objects.into_iter().collect(),
        }
    }
}

impl Jobs {
    fn append(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Many(jobs), Self::One(job)) => jobs.push(job),
            (Self::Many(jobs), Self::Many(more)) => jobs.extend(more),
            (Self::One(first), Self::One(job)) => *self = Self::Many(vec![*first, job]),
            (Self::One(first), Self::Many(mut jobs)) => {
                jobs.push(*first);
                *self = Self::Many(jobs);
            }
        }
    }

    fn into_set(self) -> JobSet {
        match self {
            Self::One(job) => JobSet::One(job),
            Self::Many(mut jobs) => {
                jobs.sort_unstable();
                JobSet::Many(jobs.into_iter().collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyjson::parse;
    use proptest::prelude::*;

    fn objects(texts: &[String]) -> impl Iterator<Item = Object> {
        let object = |text: &String| parse(text).expect("valid JSON").into_object();
        texts
            .iter()
            .map(move |text| object(text).expect("an object"))
    }

    fn index(texts: &[String]) -> Index {
        Index::of(vec![Gathered::of((0..).zip(objects(texts)))])
    }

    /// Splitting the jobs anywhere, indexing the parts and merging them is indexing them all.
    #[test]
    fn merged_parts_equal_the_whole() {
        let value = prop_oneof![
            "[0-3]",
            "[01]\\.5",
            Just("true".to_owned()),
            Just("{}".to_owned()),
            Just("{\"x\": 1}".to_owned())
        ];
        let job = (value.clone(), prop::option::of(value)).prop_map(|(a, b)| match b {
            Some(b) => format!("{{\"a\": {a}, \"b\": {b}}}"),
            None => format!("{{\"a\": {a}}}"),
        });
        proptest!(|(jobs in prop::collection::vec(job, 0..12), cut in 0_usize..12)| {
            let cut = cut.min(jobs.len());
            let whole = index(&jobs);
            let tail = index(&jobs[cut..]).renumbered(|job| Some(job + cut as u32));
            prop_assert_eq!(Index::merged(index(&jobs[..cut]), tail), whole.clone());
            let n_kept = |job: JobIdx| (job as usize >= cut).then(|| job - cut as u32);
            prop_assert_eq!(whole.renumbered(n_kept), index(&jobs[cut..]));
            let numbered = || (0..).zip(objects(&jobs));
            let parts = vec![Gathered::of(numbered().skip(cut)), Gathered::of(numbered().take(cut))];
            prop_assert_eq!(Index::of(parts), whole);
        });
    }
}
