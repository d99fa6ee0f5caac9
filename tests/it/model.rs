//! The reference model of what stands in no tree: `by`, filters, labels, states, files about jobs.
//!
//! Jobs, documents and states change at random; after each refresh everything is walked and compared
//! with what plain sets and maps say.

use crate::reference::{Flat, flat, model, remove, statepoint, value_name};
use crate::support::env::{Env, write_job};
use crate::support::mounted::{can_mount, mount};
use crate::support::tree::{list, load};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
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

    fn forget(self) {
        for (ino, n) in self.lookups.into_inner() {
            self.fs.forget(ino, n);
        }
        assert_eq!(self.fs.n_passing(), 0, "what is forgotten is not kept");
    }
}

/// What a file system shows, by whatever way one looks at it.
trait Look {
    /// Returns the leaves below a directory, path to id; nothing if there is no such directory.
    fn leaves_at(&self, path: &[&str]) -> Option<BTreeMap<String, String>>;

    /// Returns the content of a file.
    fn text_at(&self, path: &[&str]) -> Option<String>;
}

impl Look for Walker<'_> {
    fn leaves_at(&self, path: &[&str]) -> Option<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        self.leaves(self.follow(path)?, "", &mut found);
        Some(found)
    }

    fn text_at(&self, path: &[&str]) -> Option<String> {
        let file = self.fs.open(self.follow(path)?).unwrap();
        Some(String::from_utf8(file.read(0, 1 << 20).unwrap()).unwrap())
    }
}

/// A real mount, through the kernel.
struct Mounted(PathBuf);

impl Mounted {
    fn path(&self, path: &[&str]) -> PathBuf {
        self.0.join(path.iter().collect::<PathBuf>())
    }
}

impl Look for Mounted {
    fn leaves_at(&self, path: &[&str]) -> Option<BTreeMap<String, String>> {
        let dir = self.path(path);
        let mut find = Command::new("find");
        find.arg(&dir).args(["-type", "l", "-printf", "%P\\0%l\\0"]);
        let ran = find.output().unwrap();
        // In motion, what was listed may be gone when it is looked up.
        if !ran.status.success() {
            return None;
        }
        let text = String::from_utf8(ran.stdout).unwrap();
        let fields: Vec<_> = text.split_terminator('\0').collect();
        let id = |target: &str| target.rsplit('/').next().unwrap().to_owned();
        let pairs = fields.chunks(2);
        Some(
            pairs
                .map(|pair| (pair[0].to_owned(), id(pair[1])))
                .collect(),
        )
    }

    fn text_at(&self, path: &[&str]) -> Option<String> {
        std::fs::read_to_string(self.path(path)).ok()
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

/// What must be seen at a path.
#[derive(Debug, PartialEq)]
enum Sight {
    Leaves(BTreeMap<String, String>),
    Ids(BTreeSet<String>),
    Text(String),
}

/// Says what must be seen where, with some filters.
fn expected(
    jobs: &BTreeMap<String, Job>,
    filters: &[&'static str],
) -> Vec<(Vec<&'static str>, Sight)> {
    let statepoints: Vec<_> = jobs.values().map(|job| job.statepoint.clone()).collect();
    let paths = model(&statepoints);
    let flats: Vec<_> = statepoints.iter().map(flat).collect();
    let known: Vec<_> = flats.iter().cloned().zip(jobs.keys().cloned()).collect();
    let by = |ids: &BTreeSet<String>| {
        let some = known.iter().filter(|(_, id)| ids.contains(id));
        let mut found = BTreeMap::new();
        by_model(
            &some.cloned().collect::<Vec<_>>(),
            &flats,
            &BTreeSet::new(),
            "",
            &mut found,
        );
        Sight::Leaves(found)
    };
    let in_view = |ids: &BTreeSet<String>| Sight::Leaves(only(&paths, ids));
    let far = satisfying(jobs, "doc.x>=2");
    let mut sights = vec![
        (vec!["view"], Sight::Leaves(paths.clone())),
        (vec!["by"], by(&jobs.keys().cloned().collect())),
        (
            vec!["label", "big"],
            in_view(&satisfying(jobs, "a>=1 or exists(b)")),
        ),
        (vec!["few"], Sight::Ids(satisfying(jobs, "doc.x"))),
    ];
    for &filter in filters {
        let chosen = satisfying(jobs, filter);
        let lines = chosen.iter().map(|id| format!("{id}\n")).collect();
        let both = chosen.intersection(&far).cloned().collect();
        sights.extend([
            (vec!["view", filter], in_view(&chosen)),
            (vec!["by", filter], by(&chosen)),
            (vec!["label", filter, "far"], in_view(&both)),
            (vec!["view", filter, ".jobs"], Sight::Text(lines)),
            (
                vec!["by", filter, ".count"],
                Sight::Text(format!("{}\n", chosen.len())),
            ),
            (vec!["ids", filter], Sight::Ids(chosen)),
        ]);
    }
    for state in STATES {
        let chosen = ids_of(jobs.values().filter(|job| job.state == Some(state)));
        sights.push((vec!["status", "fly", state], in_view(&chosen)));
    }
    sights
}

/// Returns the first difference between what must be seen and what is.
fn difference(seen: &impl Look, sights: &[(Vec<&str>, Sight)]) -> Option<String> {
    sights.iter().find_map(|(path, expected)| {
        let leaves = || seen.leaves_at(path);
        let found = match expected {
            // A state without jobs may have no folder.
            Sight::Leaves(none) if none.is_empty() && path[0] == "status" => {
                Some(Sight::Leaves(leaves().unwrap_or_default()))
            }
            Sight::Leaves(_) => leaves().map(Sight::Leaves),
            Sight::Ids(_) => leaves().map(|found| Sight::Ids(found.into_values().collect())),
            Sight::Text(_) => seen.text_at(path).map(Sight::Text),
        };
        let is_same = found.as_ref() == Some(expected);
        (!is_same).then(|| format!("{path:?}: {found:?} instead of {expected:?}"))
    })
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

/// Jobs on disk, and what is known of them.
struct World {
    root: PathBuf,
    jobs: BTreeMap<String, Job>,
}

impl World {
    fn pick(&self, index: &prop::sample::Index) -> Option<String> {
        let ids: Vec<_> = self.jobs.keys().cloned().collect();
        (!ids.is_empty()).then(|| index.get(&ids).clone())
    }

    fn add(&mut self, job: Job) {
        if let Entry::Vacant(free) = self.jobs.entry(job.statepoint.id().to_string()) {
            write_all(&self.root, free.insert(job));
        }
    }

    fn remove(&mut self, id: &str) -> Option<Job> {
        let job = self.jobs.remove(id)?;
        remove(&self.root, id);
        Some(job)
    }

    /// Takes a step, other than to look.
    fn step(&mut self, step: &Step) {
        match step {
            Step::Add(statepoint) if self.jobs.len() < 7 => self.add(Job {
                statepoint: statepoint.clone(),
                document: Object::new(),
                state: None,
            }),
            Step::Remove(i) => {
                self.pick(i).and_then(|id| self.remove(&id));
            }
            Step::Change(i, statepoint) => {
                let Some(old) = self.pick(i).and_then(|id| self.remove(&id)) else {
                    return;
                };
                self.remove(&statepoint.id().to_string());
                self.add(Job {
                    statepoint: statepoint.clone(),
                    state: None,
                    ..old
                });
            }
            Step::Edit(i, x) => {
                let Some(id) = self.pick(i) else { return };
                write(&self.root, &id, "signac_job_document.json", &document(*x));
                let document = parse(&document(*x)).unwrap().into_object().unwrap();
                self.jobs.get_mut(&id).unwrap().document = document;
            }
            Step::State(i, state) => {
                let Some(id) = self.pick(i) else { return };
                let state = STATES.get(*state).copied();
                let name = state.unwrap_or("none");
                let text = format!(
                    "{{\"version\": 1, \"operations\": {{\"fly\": {{\"state\": \"{name}\"}}}}}}"
                );
                write(&self.root, &id, "sweepfs_flow.json", &text);
                self.jobs.get_mut(&id).unwrap().state = state;
            }
            Step::Add(_) | Step::Refresh => {}
        }
    }

    /// Says what must be seen, with two of the filters.
    fn expected(&self, index: &prop::sample::Index) -> Vec<(Vec<&'static str>, Sight)> {
        let first = index.index(FILTERS.len());
        let second = (first + 3) % FILTERS.len();
        expected(&self.jobs, &[FILTERS[first], FILTERS[second]])
    }
}

type Steps = Vec<(Step, prop::sample::Index)>;

fn run(steps: &Steps, n_steps: &Cell<usize>) {
    let env = Env::new();
    let root = env.project("p");
    let mut catalog = load(&root);
    let served = Served {
        moment: Duration::ZERO,
        config: ProjectConfig::parse(SETTINGS, Path::new("sweepfs.toml")).unwrap(),
        ..Served::new(&Workspace::of_project(&root))
    };
    let fs = ViewFs::new(catalog.snapshot(), served, 0);
    let mut world = World {
        root,
        jobs: BTreeMap::new(),
    };
    for (step, index) in steps {
        n_steps.set(n_steps.get() + 1);
        world.step(step);
        if matches!(step, Step::Refresh) {
            // Timestamps are too coarse for a test's pace: nothing is trusted.
            catalog.refresh(0).unwrap();
            fs.update(catalog.snapshot());
            let walker = Walker {
                fs: &fs,
                lookups: RefCell::default(),
                n_steps,
            };
            assert_eq!(difference(&walker, &world.expected(index)), None);
            walker.forget();
        }
    }
}

/// The same through the kernel: what changes must show by itself.
fn run_mounted(steps: &Steps) {
    let env = Env::new();
    let root = env.project("p");
    std::fs::write(root.join("sweepfs.toml"), SETTINGS).unwrap();
    let seen = Mounted(mount(&env, &root));
    let mut world = World {
        root,
        jobs: BTreeMap::new(),
    };
    for (step, index) in steps {
        world.step(step);
        if matches!(step, Step::Refresh) {
            let sights = world.expected(index);
            let mut differs = None;
            for _ in 0..100 {
                differs = difference(&seen, &sights);
                if differs.is_none() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            assert_eq!(differs, None);
        }
    }
}

fn steps(n: std::ops::Range<usize>) -> impl Strategy<Value = Steps> {
    prop::collection::vec((step(), any::<prop::sample::Index>()), n)
}

fn cases(n: u32) -> ProptestConfig {
    ProptestConfig {
        cases: n,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn everything_follows_the_model() {
    let n_steps = Cell::new(0);
    proptest!(cases(30), |(steps in steps(10..40))| run(&steps, &n_steps));
    assert!(n_steps.get() >= 10_000, "{}", n_steps.get());
}

#[test]
fn a_real_mount_follows_the_model() {
    if can_mount() {
        proptest!(cases(3), |(steps in steps(40..60))| run_mounted(&steps));
    }
}
