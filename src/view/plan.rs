//! The default path of each job, that of `signac view`.

use super::names::{key_names, value_names};
use super::{ID_LEVEL, LEAF};
use crate::catalog::{Facts, FactsError, JobIdx, KeyIndex, Snapshot, ValueEntry};
use crate::filter::Space;
use crate::pyjson::{Int, Value};
use crate::statepoint::JobId;
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::borrow::Cow;
use std::collections::HashSet;

/// The number of a name in [`Paths`]. Siblings are listed in the order of these numbers.
pub(super) type NameIdx = u32;

/// A path for each selected job; no two are equal.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// Names of components; those of one directory's entries are distinct.
    pub(super) names: NamePool,
    jobs: Vec<JobIdx>,
    /// Positions in `jobs`, sorted by path.
    order: Vec<u32>,
    /// Where the components of each of `jobs` begin; one more for the end.
    starts: Vec<u32>,
    components: Vec<NameIdx>,
}

impl Paths {
    /// Sorts paths of jobs: `starts` says where the components of each begin, and where the last
    /// ones end.
    pub(super) fn new(
        names: NamePool,
        jobs: Vec<JobIdx>,
        starts: Vec<u32>,
        components: Vec<NameIdx>,
    ) -> Self {
        let mut paths = Self {
            names,
            jobs,
            order: Vec::new(),
            starts,
            components,
        };
        paths.sort();
        paths
    }

    /// Returns where the components of each job begin, and the components, before they are sorted.
    pub(super) fn unsorted(&self) -> (&[u32], &[NameIdx]) {
        (&self.starts, &self.components)
    }

    /// Returns the number of jobs.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns the job with the `i`-th path in the order of listing.
    pub(super) fn job(&self, i: usize) -> JobIdx {
        self.jobs[self.order[i] as usize]
    }

    /// Returns the components of the `i`-th path in the order of listing.
    pub(super) fn components(&self, i: usize) -> &[NameIdx] {
        self.components_at(self.order[i])
    }

    /// Returns the jobs with their paths as texts, without the leaf, in the order of listing.
    pub fn texts(&self) -> impl Iterator<Item = (JobIdx, String)> + '_ {
        (0..self.len()).map(|i| {
            let components = self.components(i).iter().filter(|&&name| name != LEAF_NAME);
            let names: Vec<_> = components
                .map(|&name| String::from_utf8_lossy(self.names.get(name)))
                .collect();
            (self.job(i), names.join("/"))
        })
    }

    /// Returns the components of the path of the job at a position in the selection.
    pub(super) fn components_at(&self, position: u32) -> &[NameIdx] {
        let position = position as usize;
        &self.components[self.starts[position] as usize..self.starts[position + 1] as usize]
    }

    /// Job `i` has the components `paths[i]`.
    #[cfg(test)]
    pub(super) fn of_test(names: &[&str], paths: Vec<Vec<NameIdx>>) -> Self {
        let mut result = Self {
            jobs: (0..paths.len() as u32).collect(),
            starts: vec![0],
            ..Self::default()
        };
        for name in names {
            result.names.push(name.as_bytes());
        }
        for path in paths {
            result.components.extend(path);
            result.starts.push(result.components.len() as u32);
        }
        result.sort();
        result
    }

    fn sort(&mut self) {
        let mut order: Vec<u32> = (0..self.jobs.len() as u32).collect();
        order.par_sort_unstable_by(|&a, &b| {
            self.components_at(a)
                .cmp(self.components_at(b))
                .then(a.cmp(&b))
        });
        self.order = order;
    }
}

/// File names, packed.
#[derive(Clone, Debug, Default)]
pub(super) struct NamePool {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl NamePool {
    /// Returns the number of names.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn push(&mut self, name: &[u8]) -> NameIdx {
        self.bytes.extend_from_slice(name);
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("names take less than 4 GiB"));
        self.ends.len() as NameIdx - 1
    }

    pub(super) fn get(&self, name: NameIdx) -> &[u8] {
        let name = name as usize;
        let start = name.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[name] as usize]
    }
}

/// The number of [`LEAF`], so that it is listed before deeper levels.
pub(super) const LEAF_NAME: NameIdx = 0;

/// Gives each selected job the path `key/value/…` over the keys that are not constant, those with
/// the fewest distinct values first, then by the key; a key that a job lacks is skipped. Jobs that
/// would share a path get a further level `id/<id>`.
///
/// This is the default of `signac view` (signac 2.4.1, `import_export.py`), continued to the
/// projects that signac refuses.
pub fn default_paths(snapshot: &Snapshot, selection: &RoaringBitmap) -> Paths {
    let keys = distinguishing_keys(snapshot.keys(), selection);
    let mut paths = numbered_paths(&keys, selection);
    paths.sort();
    let shared = positions_that_share_a_path(&paths);
    paths.names = component_names(&keys, reserved(!shared.is_empty()));
    if !shared.is_empty() {
        let jobs = paths.jobs.clone();
        let id = |position: u32| snapshot.jobs()[jobs[position as usize] as usize].id;
        paths = with_id_level(paths, &shared, id);
        paths.sort();
    }
    paths
}

/// Returns those of the default paths of all jobs that lead to a few, without looking at the
/// others one by one.
pub fn default_paths_of_few(facts: &Facts<'_>, jobs: &RoaringBitmap) -> Result<Paths, FactsError> {
    let all = facts.all();
    let mut keys = Vec::new();
    for key in facts.keys(Space::StatePoint, &all)? {
        let index = facts.key(Space::StatePoint, &key, &all)?;
        keys.extend(index.map(Cow::into_owned));
    }
    let keys = distinguishing_keys(&keys, &all);
    let mut paths = numbered_paths(&keys, jobs);
    let positions = (0..).zip(jobs);
    let shared = positions.filter(|(_, job)| n_with_path_of(&keys, *job, &all) > 1);
    let shared: HashSet<u32> = shared.map(|(position, _)| position).collect();
    let has_id_key = || keys.iter().any(|index| index.key.to_string() == ID_LEVEL);
    // Only then does it matter whether others share theirs.
    let some_share = !shared.is_empty() || (has_id_key() && do_some_share(&keys, &all));
    paths.names = component_names(&keys, reserved(some_share));
    if !shared.is_empty() {
        let ids = facts.ids(jobs)?;
        paths = with_id_level(paths, &shared, |position| ids[position as usize]);
    }
    paths.sort();
    Ok(paths)
}

/// Returns the names that no key may have.
fn reserved(some_share: bool) -> &'static [&'static str] {
    match some_share {
        false => &[LEAF],
        true => &[LEAF, ID_LEVEL],
    }
}

/// Counts the jobs that have the same values as one.
fn n_with_path_of(keys: &[&KeyIndex], job: JobIdx, all: &RoaringBitmap) -> u64 {
    let one = RoaringBitmap::from_iter([job]);
    let mut same = all.clone();
    for key in keys {
        let own = key
            .values
            .iter()
            .find(|entry| entry.jobs.n_common(&one) > 0);
        same = match own {
            Some(entry) => entry
                .jobs
                .iter()
                .filter(|job| same.contains(*job))
                .collect(),
            None => {
                let others = key.values.iter().flat_map(|entry| entry.jobs.iter());
                same - others.collect::<RoaringBitmap>()
            }
        };
        if same.len() <= 1 {
            break;
        }
    }
    same.len()
}

fn do_some_share(keys: &[&KeyIndex], all: &RoaringBitmap) -> bool {
    let mut paths = numbered_paths(keys, all);
    paths.sort();
    !positions_that_share_a_path(&paths).is_empty()
}

/// Chooses and orders the keys of the default path.
pub(super) fn distinguishing_keys<'a>(
    keys: &'a [KeyIndex],
    selection: &RoaringBitmap,
) -> Vec<&'a KeyIndex> {
    if selection.len() <= 1 {
        return Vec::new();
    }
    let mut keys: Vec<_> = keys
        .par_iter()
        .filter_map(|key| {
            let values: Vec<_> = key
                .values
                .iter()
                .filter(|entry| entry.jobs.n_common(selection) > 0)
                .collect();
            let n_objects = key.objects.intersection_len(selection) as usize;
            let n_jobs = values
                .iter()
                .map(|entry| entry.jobs.n_common(selection))
                .sum::<usize>()
                + n_objects;
            let n_distinct = n_distinct(&values, selection) + usize::from(n_objects > 0);
            let constant = n_distinct == 1 && n_jobs == selection.len() as usize;
            (!values.is_empty() && !constant).then_some((n_distinct, key))
        })
        .collect();
    keys.sort_by(|(n, a), (m, b)| n.cmp(m).then_with(|| a.key.cmp(&b.key)));
    keys.into_iter().map(|(_, key)| key).collect()
}

/// Counts values as signac does: bools are the integers 0 and 1, lists are equal if Python says
/// so, and every NaN is a value of its own.
fn n_distinct(values: &[&ValueEntry], selection: &RoaringBitmap) -> usize {
    let mut n_distinct = 0;
    let mut slots = HashSet::new();
    for entry in values {
        match &entry.value {
            Value::Float(float) if float.is_nan() => n_distinct += entry.jobs.n_common(selection),
            value @ (Value::Bool(_) | Value::Int(Int::Small(0 | 1)) | Value::List(_)) => {
                slots.insert(slot(value, false));
            }
            Value::Float(float) if *float == 0.0 => {
                slots.insert(Value::Float(0.0));
            }
            _ => n_distinct += 1,
        }
    }
    n_distinct + slots.len()
}

/// Returns one representative of all values that Python's `==` takes for equal; outside lists,
/// signac keeps floats apart from integers.
fn slot(value: &Value, in_list: bool) -> Value {
    match value {
        Value::Bool(bool) => Value::from(i64::from(*bool)),
        Value::Float(float) if in_list && float.is_finite() && float.fract() == 0.0 => {
            Value::Int(Int::from_literal(&format!("{float:.0}")))
        }
        Value::List(items) => Value::List(items.iter().map(|item| slot(item, true)).collect()),
        Value::Object(object) => Value::Object(object.map_values(|value| slot(value, true))),
        other => other.clone(),
    }
}

/// Lays out the components of all paths as numbers: 0 is the leaf, `k + 1` the `k`-th key, and the
/// values of the keys follow, key by key.
pub(super) fn numbered_paths(keys: &[&KeyIndex], selection: &RoaringBitmap) -> Paths {
    let jobs: Vec<_> = selection.iter().collect();
    let mut positions = vec![u32::MAX; jobs.last().map_or(0, |&job| job as usize + 1)];
    for (position, &job) in jobs.iter().enumerate() {
        positions[job as usize] = position as u32;
    }
    let selected = |entry: &ValueEntry| {
        let found = entry
            .jobs
            .iter()
            .filter_map(|job| positions.get(job as usize).copied());
        found
            .filter(|&position| position != u32::MAX)
            .collect::<Vec<_>>()
    };
    let entries = || keys.iter().flat_map(|key| &key.values);
    let mut starts = vec![0; jobs.len() + 1];
    for position in entries().flat_map(selected) {
        starts[position as usize + 1] += 2;
    }
    for i in 1..starts.len() {
        starts[i] += starts[i - 1];
    }
    let mut components = vec![0; starts[jobs.len()] as usize];
    let mut next = starts.clone();
    let mut value_name = keys.len() as NameIdx;
    for (key_name, key) in (1..).zip(keys) {
        for entry in &key.values {
            value_name += 1;
            for position in selected(entry) {
                let at = &mut next[position as usize];
                components[*at as usize] = key_name;
                components[*at as usize + 1] = value_name;
                *at += 2;
            }
        }
    }
    Paths {
        names: NamePool::default(),
        jobs,
        order: Vec::new(),
        starts,
        components,
    }
}

/// Names what [`numbered_paths`] numbers.
pub(super) fn component_names(keys: &[&KeyIndex], reserved: &[&str]) -> NamePool {
    let mut pool = NamePool::default();
    pool.push(LEAF.as_bytes());
    for name in key_names(keys.iter().map(|key| &key.key), reserved) {
        pool.push(&name);
    }
    let values: Vec<_> = keys
        .par_iter()
        .map(|key| value_names(key.values.iter().map(|entry| &entry.value)))
        .collect();
    for name in values.iter().flatten() {
        pool.push(name);
    }
    pool
}

/// Finds the jobs, as positions, whose path another job has too.
fn positions_that_share_a_path(paths: &Paths) -> HashSet<u32> {
    let neighbours = paths
        .order
        .windows(2)
        .filter(|pair| paths.components_at(pair[0]) == paths.components_at(pair[1]));
    neighbours.flatten().copied().collect()
}

/// Appends `id/<id>` to the paths of some jobs.
fn with_id_level(mut paths: Paths, shared: &HashSet<u32>, id: impl Fn(u32) -> JobId) -> Paths {
    let id_level = paths.names.push(ID_LEVEL.as_bytes());
    let mut starts = vec![0];
    let mut components = Vec::with_capacity(paths.components.len() + 2 * shared.len());
    for position in 0..paths.jobs.len() as u32 {
        components.extend_from_slice(paths.components_at(position));
        if shared.contains(&position) {
            let name = id(position).to_string();
            components.extend([id_level, paths.names.push(name.as_bytes())]);
        }
        starts.push(components.len() as u32);
    }
    Paths {
        starts,
        components,
        ..paths
    }
}
