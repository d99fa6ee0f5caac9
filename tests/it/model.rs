//! The reference model of what stands in no tree: `by`, filters, labels, states, files about jobs.
//!
//! Jobs, documents and states change at random; after each refresh everything is walked and compared
//! with what plain sets and maps say.

use crate::reference::{Flat, flat, model, remove, statepoint, value_name};
use crate::support::env::{Env, write_job};
use crate::support::tree::{list, load};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;
use sweepfs::config::ProjectConfig;
use sweepfs::filter::Filter;
use sweepfs::mount::{FsError, Kind, ROOT, Served, ViewFs};
use sweepfs::pyjson::{Object, parse};
use sweepfs::statepoint::StatePoint;
use sweepfs::workspace::Workspace;

const SETTINGS: &str = "[label]\nfar = \"doc.x>=2\"\nbig = \"a>=1 or exists(b)\"\n[view.few]\nwhere = \"doc.x\"\n[view.ids]\npath = \"{job.id}\"\n";

const FILTERS: [&str; 8] = [
    "a=1",
    "a>=1",
    "not b=0 and a!=2",
    "doc.x>=2",
    "doc.x=1 or a=0",
    "type(a)=str",
    "a.x=1",
    "c~x",
];

const STATES: [&str; 4] = ["queued", "running", "failed", "completed"];

/// A job, as the model knows it.
#[derive(Clone, Debug)]
struct Job {
    statepoint: StatePoint,
    document: Object,
    state: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Step {
    Add(StatePoint),
    Remove(prop::sample::Index),
    /// Another state point for a job, which keeps its document.
    Change(prop::sample::Index, StatePoint),
    Edit(prop::sample::Index, u8),
    State(prop::sample::Index, usize),
    Refresh,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => statepoint().prop_map(Step::Add),
        2 => index().prop_map(Step::Remove),
        1 => (index(), statepoint()).prop_map(|(i, to)| Step::Change(i, to)),
        3 => (index(), 0_u8..4).prop_map(|(i, x)| Step::Edit(i, x)),
        1 => (index(), 0_usize..5).prop_map(|(i, state)| Step::State(i, state)),
        3 => Just(Step::Refresh),
    ]
}

/// A walker that gives back what it looked up, and counts what it does.
struct Walker<'a> {
    fs: &'a ViewFs,
    lookups: RefCell<HashMap<u64, u64>>,
    n_steps: &'a Cell<usize>,
}

impl Walker<'_> {
    fn look(&self, dir: u64, name: &str) -> Option<(u64, Kind)> {
        self.n_steps.set(self.n_steps.get() + 1);
        match self.fs.lookup(dir, name.as_bytes()) {
            Ok((found, _)) => {
                *self.lookups.borrow_mut().entry(found.ino).or_default() += 1;
                Some((found.ino, found.kind))
            }
            Err(FsError::NotFound(_)) => None,
            Err(error) => panic!("{name}: {error}"),
        }
    }

    fn follow(&self, path: &[&str]) -> Option<u64> {
        let step = |dir, name: &&str| self.look(dir, name).map(|(ino, _)| ino);
        path.iter().try_fold(ROOT, step)
    }

    /// Returns the leaves below a directory: path to id.
    fn leaves(&self, dir: u64, prefix: &str, found: &mut BTreeMap<String, String>) {
        self.n_steps.set(self.n_steps.get() + 1);
        for (name, listed) in list(self.fs, dir, 3).unwrap() {
            let name = String::from_utf8(name).unwrap();
            let (ino, kind) = self.look(dir, &name).expect("what is listed is found");
            assert_eq!((ino, kind), (listed.ino, listed.kind), "{prefix}{name}");
            let path = format!("{prefix}{name}");
            match kind {
                Kind::Dir => self.leaves(ino, &format!("{path}/"), found),
                _ => {
                    let target = String::from_utf8(self.fs.readlink(ino).unwrap()).unwrap();
                    let id = target.rsplit('/').next().unwrap().to_owned();
                    assert!(found.insert(path, id).is_none());
                }
            }
        }
    }

    fn at(&self, path: &[&str]) -> BTreeMap<String, String> {
        let dir = self.follow(path).unwrap_or_else(|| panic!("no {path:?}"));
        let mut found = BTreeMap::new();
        self.leaves(dir, "", &mut found);
        found
    }

    fn read(&self, path: &[&str]) -> String {
        let file = self.fs.open(self.follow(path).expect("a file")).unwrap();
        String::from_utf8(file.read(0, 1 << 20).unwrap()).unwrap()
    }

    fn forget(self) {
        for (ino, n) in self.lookups.into_inner() {
            self.fs.forget(ino, n);
        }
        assert_eq!(self.fs.n_passing(), 0, "what is forgotten is not kept");
    }
}

/// What `by` shows of some jobs.
fn by_model(
    jobs: &[(Flat, String)],
    all: &[Flat],
    fixed: &BTreeSet<String>,
    prefix: &str,
    found: &mut BTreeMap<String, String>,
) {
    let name = |job: &Flat, key: &String| {
        let value = job.get(key)?.as_ref()?;
        Some(value_name(value, all, key))
    };
    let keys: BTreeSet<_> = jobs
        .iter()
        .flat_map(|(job, _)| job.keys().cloned())
        .collect();
    let telling = keys.into_iter().filter(|key| {
        let names: BTreeSet<_> = jobs.iter().map(|(job, _)| name(job, key)).collect();
        names.len() > 1 && !fixed.contains(key)
    });
    let telling: Vec<_> = telling.collect();
    let has_none = |job: &Flat| telling.iter().all(|key| name(job, key).is_none());
    let alike: Vec<_> = jobs.iter().filter(|(job, _)| has_none(job)).collect();
    for (_, id) in &alike {
        let path = match alike.len() {
            1 => format!("{prefix}job"),
            _ => format!("{prefix}id/{id}/job"),
        };
        found.insert(path, id.clone());
    }
    for key in &telling {
        let shown = match key.as_str() {
            "job" | "id" => format!("sp.{key}"),
            key => key.to_owned(),
        };
        let values: BTreeSet<_> = jobs.iter().filter_map(|(job, _)| name(job, key)).collect();
        let fixed = fixed.iter().chain([key]).cloned().collect();
        for value in values {
            let some = jobs
                .iter()
                .filter(|(job, _)| name(job, key).as_ref() == Some(&value));
            let some: Vec<_> = some.cloned().collect();
            by_model(
                &some,
                all,
                &fixed,
                &format!("{prefix}{shown}/{value}/"),
                found,
            );
        }
    }
}

fn ids_of<'a>(jobs: impl Iterator<Item = &'a Job>) -> BTreeSet<String> {
    jobs.map(|job| job.statepoint.id().to_string()).collect()
}

fn only(paths: &BTreeMap<String, String>, ids: &BTreeSet<String>) -> BTreeMap<String, String> {
    let kept = paths.iter().filter(|(_, id)| ids.contains(*id));
    kept.map(|(path, id)| (path.clone(), id.clone())).collect()
}

fn satisfying(jobs: &BTreeMap<String, Job>, filter: &str) -> BTreeSet<String> {
    let filter = Filter::parse(filter).unwrap();
    let matches = |job: &&Job| {
        filter
            .expr()
            .matches(job.statepoint.object(), &job.document)
    };
    ids_of(jobs.values().filter(matches))
}

/// Compares everything.
fn check(fs: &ViewFs, jobs: &BTreeMap<String, Job>, filters: &[&str], n_steps: &Cell<usize>) {
    let walker = Walker {
        fs,
        lookups: RefCell::default(),
        n_steps,
    };
    let statepoints: Vec<_> = jobs.values().map(|job| job.statepoint.clone()).collect();
    let paths = model(&statepoints);
    assert_eq!(walker.at(&["view"]), paths);
    let flats: Vec<_> = statepoints.iter().map(flat).collect();
    let known: Vec<_> = flats.iter().cloned().zip(jobs.keys().cloned()).collect();
    let by = |ids: &BTreeSet<String>| {
        let some: Vec<_> = known
            .iter()
            .filter(|(_, id)| ids.contains(id))
            .cloned()
            .collect();
        let mut found = BTreeMap::new();
        by_model(&some, &flats, &BTreeSet::new(), "", &mut found);
        found
    };
    let all: BTreeSet<_> = jobs.keys().cloned().collect();
    assert_eq!(walker.at(&["by"]), by(&all));
    for filter in filters {
        let chosen = satisfying(jobs, filter);
        assert_eq!(
            walker.at(&["view", filter]),
            only(&paths, &chosen),
            "{filter}"
        );
        assert_eq!(walker.at(&["by", filter]), by(&chosen), "{filter}");
        let ids: BTreeSet<_> = walker.at(&["ids", filter]).into_values().collect();
        assert_eq!(ids, chosen, "{filter}");
        let text: String = chosen.iter().map(|id| format!("{id}\n")).collect();
        assert_eq!(walker.read(&["view", filter, ".jobs"]), text);
        assert_eq!(
            walker.read(&["by", filter, ".count"]),
            format!("{}\n", chosen.len())
        );
        let both: BTreeSet<_> = chosen
            .intersection(&satisfying(jobs, "doc.x>=2"))
            .cloned()
            .collect();
        assert_eq!(
            walker.at(&["label", filter, "far"]),
            only(&paths, &both),
            "{filter}"
        );
    }
    assert_eq!(
        walker.at(&["label", "big"]),
        only(&paths, &satisfying(jobs, "a>=1 or exists(b)"))
    );
    let few: BTreeSet<_> = walker.at(&["few"]).into_values().collect();
    assert_eq!(few, satisfying(jobs, "doc.x"));
    for state in STATES {
        let chosen = ids_of(jobs.values().filter(|job| job.state == Some(state)));
        match walker.follow(&["status", "fly", state]) {
            Some(_) => assert_eq!(walker.at(&["status", "fly", state]), only(&paths, &chosen)),
            None => assert!(chosen.is_empty(), "{state}"),
        }
    }
    walker.forget();
}

fn document(x: u8) -> String {
    match x {
        0 => "{}".to_owned(),
        x => format!("{{\"x\": {x}}}"),
    }
}

fn write(root: &Path, id: &str, name: &str, text: &str) {
    std::fs::write(root.join("workspace").join(id).join(name), text).unwrap();
}

fn write_all(root: &Path, job: &Job) {
    let id = job.statepoint.id().to_string();
    write_job(root, &job.statepoint.object().dumps());
    write(root, &id, "signac_job_document.json", &job.document.dumps());
}

fn run(steps: &[(Step, prop::sample::Index)], n_steps: &Cell<usize>) {
    let env = Env::new();
    let root = env.project("p");
    let mut jobs: BTreeMap<String, Job> = BTreeMap::new();
    let mut catalog = load(&root);
    let served = Served {
        moment: Duration::ZERO,
        config: ProjectConfig::parse(SETTINGS, Path::new("sweepfs.toml")).unwrap(),
        ..Served::new(&Workspace::of_project(&root))
    };
    let fs = ViewFs::new(catalog.snapshot(), served, 0);
    let pick = |index: &prop::sample::Index, jobs: &BTreeMap<String, Job>| {
        (!jobs.is_empty()).then(|| index.get(&jobs.keys().cloned().collect::<Vec<_>>()).clone())
    };
    for (step, index) in steps {
        n_steps.set(n_steps.get() + 1);
        match step {
            Step::Add(statepoint) if jobs.len() < 7 => {
                let job = Job {
                    statepoint: statepoint.clone(),
                    document: Object::new(),
                    state: None,
                };
                if let Entry::Vacant(free) = jobs.entry(statepoint.id().to_string()) {
                    write_all(&root, free.insert(job));
                }
            }
            Step::Remove(i) | Step::Change(i, _) => {
                let Some(id) = pick(i, &jobs) else { continue };
                let old = jobs.remove(&id).unwrap();
                remove(&root, &id);
                if let Step::Change(_, statepoint) = step {
                    let job = Job {
                        statepoint: statepoint.clone(),
                        state: None,
                        ..old
                    };
                    let to = statepoint.id().to_string();
                    if jobs.contains_key(&to) {
                        remove(&root, &to);
                    }
                    write_all(&root, &job);
                    jobs.insert(to, job);
                }
            }
            Step::Edit(i, x) => {
                let Some(id) = pick(i, &jobs) else { continue };
                write(&root, &id, "signac_job_document.json", &document(*x));
                let document = parse(&document(*x)).unwrap().into_object().unwrap();
                jobs.get_mut(&id).unwrap().document = document;
            }
            Step::State(i, state) => {
                let Some(id) = pick(i, &jobs) else { continue };
                let state = STATES.get(*state).copied();
                let name = state.unwrap_or("none");
                let text = format!(
                    "{{\"version\": 1, \"operations\": {{\"fly\": {{\"state\": \"{name}\"}}}}}}"
                );
                write(&root, &id, "sweepfs_flow.json", &text);
                jobs.get_mut(&id).unwrap().state = state;
            }
            Step::Add(_) => {}
            Step::Refresh => {
                // Timestamps are too coarse for a test's pace: nothing is trusted.
                catalog.refresh(0).unwrap();
                fs.update(catalog.snapshot());
                let first = index.index(FILTERS.len());
                let second = (first + 3) % FILTERS.len();
                check(&fs, &jobs, &[FILTERS[first], FILTERS[second]], n_steps);
            }
        }
    }
}

#[test]
fn everything_follows_the_model() {
    let n_steps = Cell::new(0);
    let config = ProptestConfig {
        cases: 30,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let steps = prop::collection::vec((step(), any::<prop::sample::Index>()), 10..40);
    proptest!(config, |(steps in steps)| run(&steps, &n_steps));
    assert!(n_steps.get() >= 10_000, "{}", n_steps.get());
}
