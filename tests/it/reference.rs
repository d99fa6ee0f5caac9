//! The reference model: one definition of what a view is, compared after random changes.
//!
//! The model knows nothing of catalogs and trees. It takes all jobs, computes signac's default
//! path of each by the book, and splits nothing and shares nothing.

use crate::support::env::{Env, write_job};
use crate::support::tree::{LATER, list, load, serve, walk_view};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use sweepfs::mount::{Kind, Lifetime, ROOT, ViewFs};
use sweepfs::pyjson::{Value, dumps, parse, view_str};
use sweepfs::statepoint::{Key, Leaf, StatePoint, visit};

/// What a job has at its dotted keys; `None` for an object.
pub(crate) type Flat = BTreeMap<String, Option<Value>>;

pub(crate) fn flat(statepoint: &StatePoint) -> Flat {
    let mut found = Flat::new();
    visit(statepoint.object().clone(), &mut |key, leaf| {
        let value = match leaf {
            Leaf::Value(value) => Some(value),
            Leaf::EmptyObject | Leaf::Nested => None,
        };
        found.insert(Key::from_dotted(key).to_string(), value);
    });
    found
}

/// signac's slots: floats apart from integers, bools with integers, lists as Python compares them.
fn same_slot(a: &Option<Value>, b: &Option<Value>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            matches!(a, Value::Float(_)) == matches!(b, Value::Float(_)) && a.py_eq(b)
        }
        _ => false,
    }
}

fn n_slots(values: &[&Option<Value>]) -> usize {
    let mut slots: Vec<&Option<Value>> = Vec::new();
    for value in values {
        if !slots.iter().any(|slot| same_slot(slot, value)) {
            slots.push(value);
        }
    }
    slots.len()
}

/// The keys of the default path in order.
fn path_keys(jobs: &[Flat]) -> Vec<String> {
    if jobs.len() < 2 {
        return Vec::new();
    }
    let all: BTreeSet<_> = jobs
        .iter()
        .flat_map(|job| {
            job.iter()
                .filter(|(_, value)| value.is_some())
                .map(|(key, _)| key.clone())
        })
        .collect();
    let mut keys: Vec<(usize, String)> = all
        .into_iter()
        .filter_map(|key| {
            let values: Vec<_> = jobs.iter().filter_map(|job| job.get(&key)).collect();
            let n = n_slots(&values);
            (n > 1 || values.len() < jobs.len()).then_some((n, key))
        })
        .collect();
    keys.sort();
    keys.into_iter().map(|(_, key)| key).collect()
}

pub(crate) fn value_name(value: &Value, all: &[Flat], key: &str) -> String {
    let text = view_str(value).to_string();
    let is_string = |value: &Value| matches!(value, Value::Str(_));
    let taken = all
        .iter()
        .filter_map(|job| job.get(key)?.as_ref())
        .any(|other| !is_string(other) && view_str(other).to_string() == text);
    let text = if is_string(value) && (taken || text.is_empty()) {
        dumps(value)
    } else {
        text
    };
    text.replace('/', "%2F")
}

/// Path to id, as the mount must show it.
pub(crate) fn model(jobs: &[StatePoint]) -> BTreeMap<String, String> {
    let flats: Vec<_> = jobs.iter().map(flat).collect();
    let keys = path_keys(&flats);
    let path = |job: &Flat, reserved: &[&str]| {
        let present = keys
            .iter()
            .filter_map(|key| Some((key, job.get(key)?.as_ref()?)));
        let components = present.map(|(key, value)| {
            let shown = if reserved.contains(&key.as_str()) {
                format!("sp.{key}")
            } else {
                key.clone()
            };
            format!("{shown}/{}/", value_name(value, &flats, key))
        });
        components.collect::<String>()
    };
    let plain: Vec<_> = flats.iter().map(|job| path(job, &["job"])).collect();
    let n_same = |path: &String| plain.iter().filter(|other| *other == path).count();
    let any_same = plain.iter().any(|path| n_same(path) > 1);
    let reserved: &[&str] = if any_same { &["job", "id"] } else { &["job"] };
    let leaf = |(job, (flat, plain)): (&StatePoint, (&Flat, &String))| {
        let id = job.id().to_string();
        let path = path(flat, reserved);
        (
            if n_same(plain) > 1 {
                format!("{path}id/{id}/job")
            } else {
                format!("{path}job")
            },
            id,
        )
    };
    jobs.iter()
        .zip(flats.iter().zip(&plain))
        .map(leaf)
        .collect()
}

/// State points in which everything collides that can: few keys, few values of every type.
pub(crate) fn statepoint() -> impl Strategy<Value = StatePoint> {
    let scalar = prop_oneof![
        (0_i64..3).prop_map(|n| n.to_string()),
        prop::sample::select(vec![
            "0.0", "-0.0", "1.0", "0.5", "true", "false", "null", "\"1\"", "\"True\"", "\"x\"",
            "\"a/b\"", "\"\""
        ])
        .prop_map(str::to_owned),
        prop::sample::select(vec![
            "[]",
            "[1]",
            "[1.0]",
            "[true, \"x\"]",
            "{}",
            "[{\"k\": 1}]"
        ])
        .prop_map(str::to_owned),
    ];
    let nested = (prop::sample::select(vec!["x", "y"]), scalar.clone())
        .prop_map(|(key, value)| format!("{{\"{key}\": {value}}}"));
    let value = prop_oneof![4 => scalar, 1 => nested];
    let key = prop::sample::select(vec!["a", "b", "c", "job", "id", "a.x"]).prop_map(str::to_owned);
    prop::collection::btree_map(key, value, 0..4).prop_map(|entries| {
        let entries: Vec<_> = entries
            .into_iter()
            .filter(|(key, _)| !key.contains('.'))
            .map(|(key, value)| format!("\"{key}\": {value}"))
            .collect();
        StatePoint::from_value(parse(&format!("{{{}}}", entries.join(", "))).unwrap()).unwrap()
    })
}

#[derive(Clone, Debug)]
enum Step {
    Add(StatePoint),
    Remove(prop::sample::Index),
    Refresh,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => statepoint().prop_map(Step::Add),
        2 => any::<prop::sample::Index>().prop_map(Step::Remove),
        2 => Just(Step::Refresh),
    ]
}

/// What a kernel that follows our invalidations would still believe.
#[derive(Default)]
struct KernelCache {
    /// Inode of a directory and a name, to the inode found.
    entries: BTreeMap<(u64, Vec<u8>), u64>,
    targets: BTreeMap<u64, Vec<u8>>,
    times: BTreeMap<u64, i64>,
    listings: BTreeMap<u64, Vec<Vec<u8>>>,
}

impl KernelCache {
    fn fill(&mut self, fs: &ViewFs, dir: u64) {
        let listed = list(fs, dir, 100).unwrap();
        self.listings
            .insert(dir, listed.iter().map(|(name, _)| name.clone()).collect());
        self.times
            .insert(dir, fs.attributes(dir).unwrap().0.modified);
        for (name, attributes) in listed {
            let (_, lifetime) = fs.lookup(dir, &name).unwrap();
            if lifetime != Lifetime::UntilChanged {
                continue;
            }
            self.entries.insert((dir, name), attributes.ino);
            match attributes.kind {
                Kind::Dir => self.fill(fs, attributes.ino),
                _ => {
                    self.times.insert(attributes.ino, attributes.modified);
                    self.targets
                        .insert(attributes.ino, fs.readlink(attributes.ino).unwrap());
                }
            }
        }
    }

    fn forget(&mut self, changes: &sweepfs::mount::Changes) {
        for (dir, name) in &changes.entries {
            self.drop_entry(*dir, name);
        }
        for ino in &changes.contents {
            self.targets.remove(ino);
            self.listings.remove(ino);
            self.times.remove(ino);
        }
        for ino in &changes.attributes {
            self.times.remove(ino);
        }
    }

    /// An entry goes with everything below it; but inodes stay, as if processes were inside.
    fn drop_entry(&mut self, dir: u64, name: &[u8]) {
        let Some(ino) = self.entries.remove(&(dir, name.to_vec())) else {
            return;
        };
        let below = self.entries.keys().filter(|(parent, _)| *parent == ino);
        for (dir, name) in below.cloned().collect::<Vec<_>>() {
            self.drop_entry(dir, &name);
        }
    }

    /// Whatever is still believed must be true.
    fn check(&self, fs: &ViewFs) {
        for ((dir, name), ino) in &self.entries {
            assert_eq!(
                fs.lookup(*dir, name).map(|(found, _)| found.ino),
                Ok(*ino),
                "stale entry {:?}",
                String::from_utf8_lossy(name)
            );
        }
        let exists = |ino: &&u64| fs.attributes(**ino).is_ok();
        for ino in self.targets.keys().filter(exists) {
            assert_eq!(fs.readlink(*ino).as_ref(), Ok(&self.targets[ino]));
        }
        for ino in self.times.keys().filter(exists) {
            assert_eq!(fs.attributes(*ino).unwrap().0.modified, self.times[ino]);
        }
        for ino in self.listings.keys().filter(exists) {
            let now = list(fs, *ino, 100)
                .unwrap()
                .into_iter()
                .map(|(name, _)| name);
            assert_eq!(now.collect::<Vec<_>>(), self.listings[ino], "stale listing");
        }
    }
}

fn run(steps: &[Step]) {
    let env = Env::new();
    let root = env.project("p");
    let mut jobs: BTreeMap<String, StatePoint> = BTreeMap::new();
    let mut catalog = load(&root);
    let fs = serve(catalog.snapshot());
    let mut cache = KernelCache::default();
    cache.fill(&fs, ROOT);
    for step in steps.iter().chain([&Step::Refresh]) {
        match step {
            Step::Add(statepoint) => {
                write_job(&root, &statepoint.object().dumps());
                jobs.insert(statepoint.id().to_string(), statepoint.clone());
            }
            Step::Remove(index) if !jobs.is_empty() => {
                let id = index.get(&jobs.keys().cloned().collect::<Vec<_>>()).clone();
                remove(&root, &id);
                jobs.remove(&id);
            }
            Step::Remove(_) => {}
            Step::Refresh => {
                // Timestamps are too coarse for a test's pace: nothing is trusted.
                catalog.refresh(0).unwrap();
                let changes = fs.update(catalog.snapshot());
                cache.forget(&changes);
                cache.check(&fs);
                let expected: Vec<_> = jobs.values().cloned().collect();
                assert_eq!(walk_view(&fs), model(&expected));
                cache.fill(&fs, ROOT);
            }
        }
    }
    let fresh = serve(load(&root).snapshot());
    assert_eq!(
        walk_view(&fs),
        walk_view(&fresh),
        "following changes and reading anew differ"
    );
    assert!(!catalog.refresh(LATER).unwrap());
}

pub(crate) fn remove(root: &Path, id: &str) {
    std::fs::remove_dir_all(root.join("workspace").join(id)).unwrap();
}

#[test]
fn the_view_follows_the_model() {
    let config = ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..30))| run(&steps));
}

#[test]
fn a_workspace_in_place_of_another_is_noticed() {
    let env = Env::new();
    let root = env.project("p");
    let (workspace, other) = (root.join("workspace"), root.join("other"));
    write_job(&root, r#"{"a": 1}"#);
    std::fs::rename(&workspace, &other).unwrap();
    std::fs::create_dir(&workspace).unwrap();
    write_job(&root, r#"{"a": 2}"#);
    let time = std::fs::metadata(&workspace).unwrap().modified().unwrap();
    std::fs::File::open(&other)
        .unwrap()
        .set_modified(time)
        .unwrap();
    let mut catalog = load(&root);
    assert!(!catalog.refresh(LATER).unwrap(), "one stat suffices");
    std::fs::rename(&workspace, root.join("away")).unwrap();
    std::fs::rename(&other, &workspace).unwrap();
    assert!(catalog.refresh(LATER).unwrap());
    let id = StatePoint::from_value(parse(r#"{"a": 1}"#).unwrap())
        .unwrap()
        .id();
    assert_eq!(catalog.snapshot().jobs()[0].id, id);
}
