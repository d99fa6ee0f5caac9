//! Three data spaces with random edits, against a model of what must come of syncing them.

use crate::support::env::is_left_by_sync;
use crate::support::random::Random;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use sweepfs::report::{Problem, Silent};
use sweepfs::sync::{
    LocalSide, Memory, Options, Pace, Prefer, RemoteOptions, RemoteSide, Run, Session, Wanted,
    Whose,
};
use sweepfs::workspace::Project;

const STATEPOINT: &str = "signac_statepoint.json";
const DOCUMENT: &str = "signac_job_document.json";
const SIDECAR: &str = "sweepfs_flow.json";
const PROJECT_DOCUMENT: &str = "signac_project_document.json";

#[derive(Clone, Debug, PartialEq)]
enum Node {
    File(Vec<u8>),
    Link(Vec<u8>),
    Dir,
}

/// Of a job, or of the project without its jobs: name to what is there.
type Files = BTreeMap<Vec<u8>, Node>;

/// By job; the project's own under the empty name.
type Tree = BTreeMap<String, Files>;

fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut own = Files::new();
    if let Ok(bytes) = fs::read(root.join(PROJECT_DOCUMENT)) {
        own.insert(PROJECT_DOCUMENT.into(), Node::File(bytes));
    }
    tree.insert(String::new(), own);
    for job in fs::read_dir(root.join("workspace")).unwrap() {
        let job = job.unwrap();
        let name = job.file_name().into_string().unwrap();
        if is_left_by_sync(name.as_ref()) {
            continue;
        }
        assert_eq!(name.len(), 32, "not a job: {name}");
        let mut files = Files::new();
        read_files(&job.path(), b"", &mut files);
        tree.insert(name, files);
    }
    tree
}

fn read_files(dir: &Path, above: &[u8], files: &mut Files) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let path = match above {
            b"" => name.as_bytes().to_vec(),
            above => [above, b"/", name.as_bytes()].concat(),
        };
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            let text = fs::read_link(entry.path()).unwrap();
            files.insert(path, Node::Link(text.as_os_str().as_bytes().to_vec()));
        } else if kind.is_dir() {
            files.insert(path.clone(), Node::Dir);
            read_files(&entry.path(), &path, files);
        } else {
            files.insert(path, Node::File(fs::read(entry.path()).unwrap()));
        }
    }
}

/// What the sides had in common; a document may be one that neither has, if not all of it agrees.
#[derive(Clone, Default)]
struct Agreed(BTreeMap<(String, Vec<u8>), Node>);

impl Agreed {
    fn get(&self, job: &str, path: &[u8]) -> Option<&Node> {
        self.0.get(&(job.to_owned(), path.to_vec()))
    }

    fn set(&mut self, job: &str, path: &[u8], node: Option<Node>) {
        let key = (job.to_owned(), path.to_vec());
        match node {
            Some(node) => drop(self.0.insert(key, node)),
            None => drop(self.0.remove(&key)),
        }
    }

    fn of_job(&self, job: &str) -> Vec<Vec<u8>> {
        let of_job = self.0.keys().filter(|(of, _)| of == job);
        of_job.map(|(_, path)| path.clone()).collect()
    }
}

/// A conflict: job, file, key.
type Conflicts = BTreeSet<(String, Vec<u8>, String)>;

fn value(node: &Node) -> Value {
    match node {
        Node::File(bytes) => serde_json::from_slice(bytes).unwrap(),
        _ => Value::Null,
    }
}

/// Merges by key; returns both sides and what is agreed on.
fn merge_values(
    base: Option<&Value>,
    a: Option<&Value>,
    b: Option<&Value>,
    name: &str,
    conflicts: &mut Vec<String>,
) -> [Option<Value>; 3] {
    if a == b {
        return [a.cloned(), b.cloned(), a.cloned()];
    }
    if let (Some(Value::Object(x)), Some(Value::Object(y))) = (a, b) {
        let empty = Map::new();
        let z = base.and_then(Value::as_object).unwrap_or(&empty);
        let mut out = [Map::new(), Map::new(), Map::new()];
        let keys: BTreeSet<_> = x.keys().chain(y.keys()).chain(z.keys()).collect();
        for key in keys {
            let name = if name.is_empty() {
                key.clone()
            } else {
                format!("{name}.{key}")
            };
            let merged = merge_values(z.get(key), x.get(key), y.get(key), &name, conflicts);
            for (map, value) in out.iter_mut().zip(merged) {
                if let Some(value) = value {
                    map.insert(key.clone(), value);
                }
            }
        }
        return out.map(|map| Some(Value::Object(map)));
    }
    let one = |value: Option<&Value>| [value.cloned(), value.cloned(), value.cloned()];
    match (a == base, b == base) {
        (true, _) => one(b),
        (_, true) => one(a),
        _ if a.is_none() => one(b),
        _ if b.is_none() => one(a),
        _ => {
            conflicts.push(name.to_owned());
            [a.cloned(), b.cloned(), base.cloned()]
        }
    }
}

/// What of a sidecar is later: for each operation the higher attempt.
fn merge_sidecars(a: &Value, b: &Value) -> Value {
    let mut merged = a.clone();
    for (name, record) in b["operations"].as_object().unwrap() {
        let known = &merged["operations"][name];
        if known["attempt"].as_u64() < record["attempt"].as_u64() {
            merged["operations"][name] = record.clone();
        }
    }
    merged
}

/// What must come of a sync.
struct Expected {
    local: Tree,
    remote: Tree,
    agreed: Agreed,
    conflicts: Conflicts,
}

fn expected(local: &Tree, remote: &Tree, agreed: &Agreed) -> Expected {
    let mut out = Expected {
        local: local.clone(),
        remote: remote.clone(),
        agreed: agreed.clone(),
        conflicts: Conflicts::new(),
    };
    let known = agreed.0.keys().map(|(job, _)| job.clone());
    let jobs: BTreeSet<_> = local
        .keys()
        .chain(remote.keys())
        .cloned()
        .chain(known)
        .collect();
    for job in jobs {
        match (local.get(&job), remote.get(&job)) {
            (Some(here), Some(there)) => expect_job(&mut out, &job, here, there),
            (Some(files), None) => {
                if expect_single(&mut out, &job, files) {
                    out.remote.insert(job, files.clone());
                }
            }
            (None, Some(files)) => {
                if expect_single(&mut out, &job, files) {
                    out.local.insert(job, files.clone());
                }
            }
            (None, None) => {
                for path in agreed.of_job(&job) {
                    out.agreed.set(&job, &path, None);
                }
            }
        }
    }
    out
}

/// Tells whether the other side gets the job.
fn expect_single(out: &mut Expected, job: &str, files: &Files) -> bool {
    let known = out.agreed.of_job(job);
    let is_same = |(path, node): (&Vec<u8>, &Node)| {
        out.agreed
            .get(job, path)
            .is_some_and(|known| same(path, known, node))
    };
    if !known.is_empty() && files.iter().all(is_same) {
        return false;
    }
    for (path, node) in files {
        out.agreed.set(job, path, Some(node.clone()));
    }
    true
}

fn is_document(path: &[u8]) -> bool {
    [DOCUMENT, PROJECT_DOCUMENT]
        .iter()
        .any(|name| name.as_bytes() == path)
}

fn same(path: &[u8], a: &Node, b: &Node) -> bool {
    match is_document(path) || path == SIDECAR.as_bytes() {
        true => value(a) == value(b),
        false => a == b,
    }
}

fn expect_job(out: &mut Expected, job: &str, here: &Files, there: &Files) {
    let known = out.agreed.of_job(job);
    let paths: BTreeSet<_> = here
        .keys()
        .chain(there.keys())
        .cloned()
        .chain(known)
        .collect();
    let mut blocked: Vec<Vec<u8>> = Vec::new();
    let mut copied: Vec<(bool, Vec<u8>)> = Vec::new();
    for path in paths {
        if blocked
            .iter()
            .any(|above| path.starts_with(&[above, &b"/"[..]].concat()))
        {
            continue;
        }
        let (l, r) = (here.get(&path), there.get(&path));
        let base = out.agreed.get(job, &path).cloned();
        if let (Some(l @ Node::File(_)), Some(r @ Node::File(_))) = (l, r) {
            if is_document(&path) {
                expect_document(out, job, &path, (l, r), base.as_ref());
                continue;
            }
            if path == SIDECAR.as_bytes() {
                expect_sidecar(out, job, (l, r), base.as_ref());
                continue;
            }
        }
        let is_base = |node: Option<&Node>| match (node, &base) {
            (Some(node), Some(base)) => same(&path, node, base),
            (None, None) => true,
            _ => false,
        };
        let result = match (l, r) {
            _ if l == r => (l, r),
            (Some(l), Some(r)) if (*l == Node::Dir) != (*r == Node::Dir) => {
                blocked.push(path.clone());
                out.conflicts
                    .insert((job.to_owned(), path.clone(), String::new()));
                (Some(l), Some(r))
            }
            // Gone on one side, and as before on the other.
            (None, Some(_)) if base.is_some() && is_base(r) => (l, r),
            (Some(_), None) if base.is_some() && is_base(l) => (l, r),
            (None, r) => (r, r),
            (l, None) => (l, l),
            _ if is_base(l) => (r, r),
            _ if is_base(r) => (l, l),
            _ => {
                out.conflicts
                    .insert((job.to_owned(), path.clone(), String::new()));
                (l, r)
            }
        };
        if result.0 != l {
            copied.push((true, path.clone()));
        }
        if result.1 != r {
            copied.push((false, path.clone()));
        }
        put(out, job, &path, (result.0.cloned(), result.1.cloned()));
    }
    // What is copied brings its directories along.
    for (to_local, path) in copied {
        let mut above = Path::new(OsStr::from_bytes(&path)).parent();
        while let Some(dir) = above.filter(|dir| !dir.as_os_str().is_empty()) {
            let tree = if to_local {
                &mut out.local
            } else {
                &mut out.remote
            };
            tree.get_mut(job)
                .unwrap()
                .insert(dir.as_os_str().as_bytes().to_vec(), Node::Dir);
            out.agreed
                .set(job, dir.as_os_str().as_bytes(), Some(Node::Dir));
            above = dir.parent();
        }
    }
}

fn put(out: &mut Expected, job: &str, path: &[u8], (l, r): (Option<Node>, Option<Node>)) {
    if l == r {
        out.agreed.set(job, path, l.clone());
    }
    for (tree, node) in [(&mut out.local, l), (&mut out.remote, r)] {
        let files = tree.get_mut(job).unwrap();
        match node {
            Some(node) => drop(files.insert(path.to_vec(), node)),
            None => drop(files.remove(path)),
        }
    }
}

fn file(value: &Value) -> Node {
    Node::File(value.to_string().into_bytes())
}

fn expect_document(
    out: &mut Expected,
    job: &str,
    path: &[u8],
    (l, r): (&Node, &Node),
    base: Option<&Node>,
) {
    let mut conflicts = Vec::new();
    let base = base.map(value);
    let merged = merge_values(
        base.as_ref(),
        Some(&value(l)),
        Some(&value(r)),
        "",
        &mut conflicts,
    );
    let [l, r, agreed] = merged.map(|value| value.as_ref().map(file));
    put(out, job, path, (l, r));
    out.agreed.set(job, path, agreed);
    let named = conflicts
        .into_iter()
        .map(|key| (job.to_owned(), path.to_vec(), key));
    out.conflicts.extend(named);
}

fn expect_sidecar(out: &mut Expected, job: &str, (l, r): (&Node, &Node), base: Option<&Node>) {
    let (l, r, base) = (value(l), value(r), base.map(value));
    let merged = match base {
        Some(base) if base == l => r,
        Some(base) if base == r => l,
        _ => merge_sidecars(&l, &r),
    };
    put(
        out,
        job,
        SIDECAR.as_bytes(),
        (Some(file(&merged)), Some(file(&merged))),
    );
}

/// One of the data spaces.
pub(crate) struct Space {
    pub(super) root: PathBuf,
    /// How it is reached, if it is on another machine.
    pub(super) remote: Option<RemoteSide>,
}

impl Space {
    /// A new project here.
    pub(crate) fn here(root: PathBuf) -> Self {
        fs::create_dir_all(&root).unwrap();
        Project::init(&root).unwrap();
        Self { root, remote: None }
    }

    /// A new project on a pretend machine.
    pub(crate) fn there(root: PathBuf, options: RemoteOptions) -> Self {
        RemoteSide::create(&options).unwrap();
        let remote = RemoteSide::open(options).unwrap();
        fs::create_dir_all(root.join("workspace")).unwrap();
        Self {
            root,
            remote: Some(remote),
        }
    }
}

/// Makes every content and every time another one.
pub(super) struct Edits {
    pub(super) random: Random,
    pub(super) n: u64,
}

const NAMES: [&[u8]; 10] = [
    b"a",
    b"-rf",
    b"x y",
    b"n\nl",
    "\u{e9}".as_bytes(),
    b"\xff\xfe",
    b".hidden",
    b"d/e/f",
    b"d/g",
    b"._x",
];

impl Edits {
    fn next(&mut self) -> u64 {
        self.n += 1;
        self.n
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) {
        let n = self.next();
        let temporary = path.with_file_name("temporary");
        fs::write(&temporary, bytes).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&temporary).unwrap();
        // Clocks may be off by an hour.
        let time =
            SystemTime::now() - Duration::from_secs(3600 * (n % 3)) + Duration::from_nanos(n);
        file.set_modified(time).unwrap();
        fs::rename(temporary, path).unwrap();
    }

    fn job(&mut self, space: &Space) -> Option<PathBuf> {
        let mut jobs: Vec<_> = fs::read_dir(space.root.join("workspace"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !is_left_by_sync(path.file_name().unwrap()))
            .collect();
        jobs.sort();
        if jobs.is_empty() {
            return None;
        }
        Some(jobs.swap_remove(self.random.below(jobs.len())))
    }

    pub(super) fn edit(&mut self, space: &Space) {
        let job = match self.job(space) {
            Some(job) if !self.random.one_in(8) => job,
            _ => {
                let job = crate::support::env::write_job(
                    &space.root,
                    &format!(r#"{{"a": {}}}"#, self.random.below(12)),
                );
                let n = self.next().to_string();
                self.write(&job.join("first"), n.as_bytes());
                return;
            }
        };
        let path = job.join(OsStr::from_bytes(self.random.pick(&NAMES)));
        match self.random.below(20) {
            0..8 => {
                let text = format!("{:>1$}", self.next(), 1 + self.random.below(9));
                if make_parent(&path) && !path.is_dir() {
                    self.write(&path, text.as_bytes());
                }
            }
            8..10 => drop(fs::remove_file(&path)),
            10 => {
                let text = format!("../{}", self.next());
                if make_parent(&path) && !path.is_dir() {
                    let _ = fs::remove_file(&path);
                    std::os::unix::fs::symlink(text, &path).unwrap();
                }
            }
            11 => drop(fs::create_dir_all(job.join("d/empty"))),
            12 => drop(fs::remove_dir_all(
                job.join(self.random.pick(&["d", "d/e"])),
            )),
            13 if self.random.one_in(4) => {
                // What was a directory becomes a file.
                let _ = fs::remove_dir_all(job.join("d"));
                let text = self.next().to_string();
                self.write(&job.join("d"), text.as_bytes());
            }
            13..16 => self.edit_document(&job.join(DOCUMENT)),
            16 => self.edit_document(&space.root.join(PROJECT_DOCUMENT)),
            17..19 => self.edit_sidecar(&job.join(SIDECAR)),
            _ if self.random.one_in(3) => fs::remove_dir_all(&job).unwrap(),
            _ => {}
        }
    }

    fn edit_document(&mut self, path: &Path) {
        let mut document = read_json(path).unwrap_or_else(|| Value::Object(Map::new()));
        let n = self.next();
        let key = *self.random.pick(&[&"x", &"y", &"z"]);
        match self.random.below(6) {
            0..3 => document[key] = n.into(),
            3 => document["in"] = serde_json::json!({"p": n}),
            4 => {
                if !document["in"].is_object() {
                    document["in"] = serde_json::json!({});
                }
                document["in"][key] = n.into();
            }
            _ => {
                document.as_object_mut().unwrap().remove(key);
                document["n"] = n.into();
            }
        }
        self.write(path, document.to_string().as_bytes());
    }

    fn edit_sidecar(&mut self, path: &Path) {
        let empty = serde_json::json!({"version": 1, "operations": {}});
        let mut sidecar = read_json(path).unwrap_or(empty);
        let operation = *self.random.pick(&[&"run", &"plot"]);
        let n = self.next();
        sidecar["operations"][operation] = serde_json::json!({"state": "completed", "attempt": n});
        self.write(path, sidecar.to_string().as_bytes());
    }
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Makes the directory of a file unless something else is there.
fn make_parent(path: &Path) -> bool {
    fs::create_dir_all(path.parent().unwrap()).is_ok()
}

fn normal(tree: &Tree) -> Tree {
    let normal = |(path, node): (&Vec<u8>, &Node)| {
        let is_json = is_document(path) || path == SIDECAR.as_bytes();
        let node = match node {
            Node::File(_) if is_json => file(&value(node)),
            node => node.clone(),
        };
        (path.clone(), node)
    };
    let files = |files: &Files| files.iter().map(normal).collect();
    tree.iter()
        .map(|(job, of_job)| (job.clone(), files(of_job)))
        .collect()
}

pub(super) fn side(space: &Space) -> LocalSide {
    LocalSide::new(&Project::discover(&space.root).unwrap(), "other")
}

struct Synced {
    conflicts: Conflicts,
    failures: Vec<Problem>,
    is_empty: bool,
}

fn sync(laptop: &Space, other: &Space, memory: &Memory, options: &Options, n: usize) -> Synced {
    let (local, here) = (side(laptop), side(other));
    let session = Session {
        local: &local,
        peer: match &other.remote {
            Some(remote) => remote,
            None => &here,
        },
        memory: Some(memory),
        options,
        wanted: Wanted::All,
        observer: &Silent,
    };
    let prepared = session.prepare().unwrap();
    assert_eq!(prepared.plan.problems, []);
    let conflicts = prepared.plan.conflicts.iter().map(|conflict| {
        let job = conflict
            .place
            .job
            .map(|job| job.to_string())
            .unwrap_or_default();
        let path = conflict.place.path.as_bytes().to_vec();
        (job, path, conflict.key.clone().unwrap_or_default())
    });
    let (conflicts, is_empty) = (conflicts.collect(), prepared.plan.is_empty());
    let run = Run {
        id: format!("run-{n}"),
        now: 0,
        takes_growing: false,
        pace: Pace::default(),
    };
    let applied = session.apply(prepared, &run).unwrap();
    Synced {
        conflicts,
        failures: applied.failures,
        is_empty,
    }
}

fn n_rounds() -> usize {
    let asked = std::env::var("SWEEPFS_TEST_SYNC_ROUNDS").ok();
    asked.map_or(40, |rounds| rounds.parse().unwrap())
}

#[test]
fn three_data_spaces_end_equal_and_no_edit_is_lost() {
    let shm = Path::new("/dev/shm");
    let dir = match shm.is_dir() {
        true => tempfile::tempdir_in(shm).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    for round in 0..n_rounds() {
        let root = dir.path().join(round.to_string());
        let spaces = ["laptop", "a", "b"].map(|name| Space::here(root.join(name)));
        play(&spaces, 1000 + round as u64, 6);
        fs::remove_dir_all(root).unwrap();
    }
}

/// A laptop and two other machines.
pub(crate) fn play_over_ssh(laptop: PathBuf, others: [Space; 2], seed: u64, n_steps: usize) {
    let [a, b] = others;
    play(&[Space::here(laptop), a, b], seed, n_steps);
}

fn play(spaces: &[Space; 3], seed: u64, n_steps: usize) {
    let memories =
        ["a", "b"].map(|name| Memory::new(spaces[0].root.join(".sweepfs/remotes").join(name)));
    let mut agreed = [Agreed::default(), Agreed::default()];
    let mut edits = Edits {
        random: Random(seed),
        n: 0,
    };
    // None is ever without a job, which would be refused.
    for space in spaces {
        let job = crate::support::env::write_job(&space.root, r#"{"a": "kept"}"#);
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let file = fs::File::open(job.join(STATEPOINT)).unwrap();
        file.set_modified(modified).unwrap();
    }
    for step in 0..n_steps {
        for space in spaces {
            for _ in 0..edits.random.below(6) {
                edits.edit(space);
            }
            crate::support::env::write_job(&space.root, r#"{"a": "kept"}"#);
        }
        let at = edits.random.below(2);
        let other = &spaces[1 + at];
        let (before, there) = (read_tree(&spaces[0].root), read_tree(&other.root));
        let expected = expected(&before, &there, &agreed[at]);
        let synced = sync(&spaces[0], other, &memories[at], &Options::default(), step);
        let context = format!("seed {seed}, step {step}");
        assert_eq!(synced.failures, [], "{context}");
        assert_eq!(synced.conflicts, expected.conflicts, "{context}");
        let (after, there_after) = (read_tree(&spaces[0].root), read_tree(&other.root));
        compare(
            &normal(&after),
            &normal(&expected.local),
            &format!("{context}, here"),
        );
        compare(
            &normal(&there_after),
            &normal(&expected.remote),
            &format!("{context}, there"),
        );
        agreed[at] = expected.agreed;
        // Once more: nothing is left to do, and the conflicts are still told.
        let again = sync(&spaces[0], other, &memories[at], &Options::default(), step);
        assert!(again.is_empty, "{context}");
        assert_eq!(again.conflicts, expected.conflicts, "{context}");
    }
    end_equal(spaces, &memories, seed);
}

/// With all conflicts decided, all three are equal.
fn end_equal(spaces: &[Space; 3], memories: &[Memory; 2], seed: u64) {
    let options = Options {
        prefer: Some(Prefer::Of(Whose::Local)),
        restores: true,
        ..Options::default()
    };
    for (n, at) in [0, 1, 0].into_iter().enumerate() {
        let synced = sync(
            &spaces[0],
            &spaces[1 + at],
            &memories[at],
            &options,
            100 + n,
        );
        assert_eq!(synced.failures, [], "seed {seed}");
        assert_eq!(synced.conflicts.len(), 0, "seed {seed}");
    }
    let [laptop, a, b] = spaces
        .each_ref()
        .map(|space| normal(&read_tree(&space.root)));
    compare(&a, &laptop, &format!("seed {seed}, a at the end"));
    compare(&b, &laptop, &format!("seed {seed}, b at the end"));
    for space in spaces {
        let left = fs::read_dir(space.root.join("workspace")).unwrap();
        let names = left.map(|entry| entry.unwrap().file_name());
        let mut hidden = names.filter(|name| name.as_bytes()[0] == b'.');
        assert!(hidden.all(|name| is_left_by_sync(&name)), "seed {seed}");
    }
}

#[track_caller]
fn compare(found: &Tree, expected: &Tree, context: &str) {
    let jobs: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    for job in jobs {
        let empty = Files::new();
        let (found_files, expected_files) = (
            found.get(job).unwrap_or(&empty),
            expected.get(job).unwrap_or(&empty),
        );
        let paths: BTreeSet<_> = found_files.keys().chain(expected_files.keys()).collect();
        for path in paths {
            let shown = String::from_utf8_lossy(path);
            assert_eq!(
                found_files.get(path),
                expected_files.get(path),
                "{context}: {job}/{shown:?}"
            );
        }
        assert_eq!(
            found.contains_key(job),
            expected.contains_key(job),
            "{context}: {job}"
        );
    }
}
