//! `by`, against a model that looks at every job anew at every step.

use crate::reference::{flat, statepoint, value_name};
use crate::support::env::{Env, write_job};
use crate::support::random::Random;
use crate::support::tree::load;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use sweepfs::catalog::Snapshot;
use sweepfs::statepoint::StatePoint;
use sweepfs::view::{ByDir, ByEntry, ByIndex};

/// A job: the names of its keys, and of their values.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) has: BTreeMap<String, String>,
}

/// Names keys and values of all jobs.
pub(crate) fn named(jobs: &[StatePoint]) -> Vec<Named> {
    let flats: Vec<_> = jobs.iter().map(flat).collect();
    let name = |(job, of): (&StatePoint, &crate::reference::Flat)| Named {
        id: job.id().to_string(),
        has: of
            .iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?)))
            .map(|(key, value)| (shown_key(key), value_name(value, &flats, key)))
            .collect(),
    };
    jobs.iter().zip(&flats).map(name).collect()
}

fn shown_key(key: &str) -> String {
    match key {
        "job" | "id" => format!("sp.{key}"),
        other => other.to_owned(),
    }
}

/// A directory: its jobs, and the keys whose value the path names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) jobs: Vec<Named>,
    fixed: BTreeSet<String>,
    level: Level,
}

#[derive(Clone, Debug, Default)]
enum Level {
    #[default]
    Keys,
    Values(String),
    Ids,
}

/// What a name leads to.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Dir(Model),
    Job(String),
}

impl Model {
    pub(crate) fn root(jobs: Vec<Named>) -> Self {
        Self {
            jobs,
            ..Self::default()
        }
    }

    pub(crate) fn narrowed(&self, keep: impl Fn(&str) -> bool) -> Self {
        self.with(|job| keep(&job.id))
    }

    fn with(&self, keep: impl Fn(&Named) -> bool) -> Self {
        Self {
            jobs: self.jobs.iter().filter(|job| keep(job)).cloned().collect(),
            ..self.clone()
        }
    }

    /// The keys, not yet named, that some job has.
    fn keys(&self) -> BTreeSet<&String> {
        let all = self.jobs.iter().flat_map(|job| job.has.keys());
        all.filter(|key| !self.fixed.contains(*key)).collect()
    }

    fn telling(&self) -> BTreeSet<&String> {
        let mut keys = self.keys();
        keys.retain(|key| {
            let values: BTreeSet<_> = self.jobs.iter().map(|job| job.has.get(*key)).collect();
            values.len() > 1
        });
        keys
    }

    /// Everything that is listed.
    pub(crate) fn entries(&self) -> BTreeMap<String, Entry> {
        let mut entries = BTreeMap::new();
        match &self.level {
            Level::Keys => {
                let telling = self.telling();
                for key in &telling {
                    entries.insert((*key).clone(), Entry::Dir(self.of_key(key)));
                }
                let mut alike =
                    self.with(|job| !telling.iter().any(|key| job.has.contains_key(*key)));
                alike.level = Level::Ids;
                match alike.jobs.as_slice() {
                    [] => {}
                    [job] => drop(entries.insert("job".to_owned(), Entry::Job(job.id.clone()))),
                    _ => drop(entries.insert("id".to_owned(), Entry::Dir(alike))),
                }
            }
            Level::Values(key) => {
                for name in self.jobs.iter().map(|job| &job.has[key]) {
                    let mut dir = self.with(|job| job.has[key] == *name);
                    dir.fixed.insert(key.clone());
                    dir.level = Level::Keys;
                    entries.insert(name.clone(), Entry::Dir(dir));
                }
            }
            Level::Ids => {
                for id in self.jobs.iter().map(|job| &job.id) {
                    let mut dir = self.with(|job| job.id == *id);
                    dir.level = Level::Keys;
                    entries.insert(id.clone(), Entry::Dir(dir));
                }
            }
        }
        entries
    }

    fn of_key(&self, key: &str) -> Self {
        Self {
            level: Level::Values(key.to_owned()),
            ..self.with(|job| job.has.contains_key(key))
        }
    }

    /// Everything that is found: also keys that do not tell apart.
    pub(crate) fn found(&self) -> BTreeMap<String, Entry> {
        let mut entries = self.entries();
        if matches!(self.level, Level::Keys) {
            for key in self.keys() {
                let dir = || Entry::Dir(self.of_key(key));
                entries.entry(key.clone()).or_insert_with(dir);
            }
        }
        entries
    }

    /// Whether the directory holds one job and nothing else.
    fn is_single(&self) -> bool {
        matches!(self.level, Level::Keys) && self.jobs.len() == 1
    }
}

/// Walks both and compares.
struct Walk {
    index: ByIndex,
    snapshot: Arc<Snapshot>,
    random: Random,
}

impl Walk {
    fn id(&self, job: u32) -> String {
        self.snapshot.jobs()[job as usize].id.to_string()
    }

    fn modified(&self, id: &str) -> i64 {
        let job = self.snapshot.find(&id.parse().unwrap()).unwrap();
        self.snapshot.jobs()[job as usize].modified
    }

    fn compare(&mut self, dir: &ByDir, model: &Model, path: &str, n_narrowings: u32) {
        let ids: BTreeSet<_> = dir.jobs().iter().map(|job| self.id(job)).collect();
        let expected = model.jobs.iter().map(|job| job.id.clone()).collect();
        assert_eq!(ids, expected, "jobs of {path}");
        self.compare_listing(dir, model, path);
        for name in ["", "job", "id", "nothing", "0", "True", "a", "sp.job"] {
            let is_found = self.index.entry(dir, name.as_bytes()).is_some();
            assert_eq!(is_found, model.found().contains_key(name), "{path}{name}");
        }
        for (name, entry) in model.found() {
            let path = format!("{path}{name}/");
            match (self.index.entry(dir, name.as_bytes()), entry) {
                (Some(ByEntry::Leaf(job)), Entry::Job(id)) => {
                    assert_eq!(self.id(job), id, "{path}");
                }
                (Some(ByEntry::Dir(dir)), Entry::Dir(model)) => {
                    self.compare(&dir, &model, &path, n_narrowings);
                }
                (found, expected) => panic!("{path}: {found:?}, not {expected:?}"),
            }
        }
        if n_narrowings > 0 && self.random.one_in(4) {
            let some = self.random.next();
            let bits = self.snapshot.all().into_iter();
            let kept = bits.filter(|job| some >> (job % 64) & 1 == 1).collect();
            let keep: BTreeSet<_> = (&kept & &self.snapshot.all())
                .iter()
                .map(|job| self.id(job))
                .collect();
            let model = model.narrowed(|id| keep.contains(id));
            self.compare(
                &dir.narrowed(&kept),
                &model,
                &format!("{path}~/"),
                n_narrowings - 1,
            );
        }
    }

    fn compare_listing(&self, dir: &ByDir, model: &Model, path: &str) {
        let listed = self.index.entries(dir);
        let names = listed
            .iter()
            .map(|entry| String::from_utf8(entry.name.to_vec()).unwrap());
        let names: Vec<_> = names.collect();
        let expected = model.entries();
        assert_eq!(
            names.iter().collect::<BTreeSet<_>>(),
            expected.keys().collect(),
            "{path}"
        );
        assert_eq!(names.len(), expected.len(), "listed twice in {path}");
        for (entry, name) in listed.iter().zip(&names) {
            let (jobs, is_leaf, is_single) = match &expected[name] {
                Entry::Job(id) => (vec![id], true, false),
                Entry::Dir(dir) => {
                    let ids = dir.jobs.iter().map(|job| &job.id).collect();
                    (ids, false, dir.is_single())
                }
            };
            assert_eq!(
                (entry.is_leaf, entry.is_single),
                (is_leaf, is_single),
                "{path}{name}"
            );
            if let Some(ByEntry::Dir(dir)) = self.index.entry(dir, name.as_bytes()) {
                assert_eq!(dir.single().is_some(), is_single, "single {path}{name}");
            }
            let newest = jobs.into_iter().map(|id| self.modified(id)).max();
            assert_eq!(
                newest,
                Some(self.modified(&self.id(entry.newest))),
                "{path}{name}"
            );
        }
    }
}

fn compare(jobs: &[StatePoint], seed: u64) {
    let env = Env::new();
    let root = env.path();
    sweepfs::workspace::Project::init(&root).unwrap();
    let jobs: BTreeMap<_, _> = jobs
        .iter()
        .map(|job| (job.id().to_string(), job.clone()))
        .collect();
    let jobs: Vec<_> = jobs.into_values().collect();
    for job in &jobs {
        write_job(&root, &job.object().dumps());
    }
    let snapshot = load(&root).snapshot();
    let mut walk = Walk {
        index: ByIndex::new(Arc::clone(&snapshot)),
        snapshot,
        random: Random(seed),
    };
    let root = walk.index.root();
    walk.compare(&root, &Model::root(named(&jobs)), "", 2);
}

#[test]
fn any_order_of_parameters_follows_the_model() {
    let config = ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(jobs in prop::collection::vec(statepoint(), 0..9), seed in any::<u64>())| {
        compare(&jobs, seed);
    });
}

#[test]
fn jobs_that_nothing_tells_apart_are_single_as_listed() {
    let statepoint = |text| StatePoint::from_value(sweepfs::pyjson::parse(text).unwrap()).unwrap();
    compare(&[statepoint("{}"), statepoint(r#"{"a": {}}"#)], 1);
}
