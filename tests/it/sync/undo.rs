//! Syncs that are undone.

use super::killed::{check_whole, edit};
use super::local::{Pair, name, write};
use super::model::{Edits, Space, side};
use crate::support::env::{Env, n_jobs, write_job};
use crate::support::random::Random;
use crate::support::{skip, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};
use sweepfs::report::Silent;
use sweepfs::sync::{
    Direction, LocalSide, LogHeader, Logs, Memory, Options, Pace, Prefer, Run, Session, Side, Undo,
    Wanted, Whose,
};
use sweepfs::workspace::Project;

/// All that is synced of a project: of each place what it is, its permissions and its time.
type Snapshot = BTreeMap<PathBuf, (String, u32, i128)>;

pub(crate) fn snapshot(root: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    let document = root.join("signac_project_document.json");
    if document.exists() {
        add(root, &document, &mut found);
    }
    for job in fs::read_dir(root.join("workspace")).unwrap() {
        let job = job.unwrap();
        if !job.file_name().as_bytes().starts_with(b".") {
            add(root, &job.path(), &mut found);
        }
    }
    found
}

fn add(root: &Path, path: &Path, found: &mut Snapshot) {
    let name = path.strip_prefix(root).unwrap().to_owned();
    let stat = fs::symlink_metadata(path).unwrap();
    let modified = i128::from(stat.mtime()) * 1_000_000_000 + i128::from(stat.mtime_nsec());
    if stat.is_symlink() {
        let text = fs::read_link(path).unwrap();
        found.insert(name, (format!("-> {}", text.display()), 0, 0));
    } else if stat.is_dir() {
        found.insert(name, ("directory".into(), 0, 0));
        for entry in fs::read_dir(path).unwrap() {
            add(root, &entry.unwrap().path(), found);
        }
    } else {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        found.insert(name, (text, stat.mode() & 0o777, modified));
    }
}

/// Times of documents and records are those of their writing.
fn without_times(mut snapshot: Snapshot) -> Snapshot {
    for (path, (_, _, modified)) in &mut snapshot {
        let name = path.file_name().unwrap_or_default();
        if name.as_bytes().ends_with(b".json") {
            *modified = 0;
        }
    }
    snapshot
}

#[track_caller]
pub(crate) fn same(found: &Snapshot, expected: &Snapshot, context: &str) {
    let differs = |path: &&PathBuf| found.get(*path) != expected.get(*path);
    if let Some(path) = found.keys().chain(expected.keys()).find(differs) {
        let shown = |entry: Option<&(String, u32, i128)>| {
            entry.map(|(text, mode, time)| format!("{text:.60} {mode:o} {time}"))
        };
        let (found, expected) = (shown(found.get(path)), shown(expected.get(path)));
        panic!("{context}: {path:?} is {found:?}, not {expected:?}");
    }
}

/// Two data spaces that are synced and of which the syncs are undone.
struct Play<'a> {
    spaces: &'a [Space; 2],
    memory: Memory,
}

impl Play<'_> {
    fn snapshots(&self) -> [Snapshot; 2] {
        [0, 1].map(|at: usize| snapshot(&self.spaces[at].root))
    }

    /// Syncs, and tells whether something was done.
    fn sync(&self, options: &Options, run: &str, context: &str) -> bool {
        let (local, there) = (side(&self.spaces[0]), side(&self.spaces[1]));
        let session = Session {
            local: &local,
            peer: match &self.spaces[1].remote {
                Some(remote) => remote,
                None => &there,
            },
            memory: Some(&self.memory),
            options,
            wanted: Wanted::All,
            observer: &Silent,
        };
        let prepared = session.prepare().unwrap();
        let is_empty = prepared.plan.is_empty();
        let header = LogHeader {
            run: run.into(),
            at: 0,
            remote: "other".into(),
            address: "other".into(),
            command: Vec::new(),
        };
        let applied = session.apply_logged(prepared, &a_run(run), Some(&header));
        assert_eq!(applied.unwrap().failures, [], "{context}");
        !is_empty
    }

    fn undo(&self, run: &str, undo: &str, context: &str) {
        let (local, there) = (side(&self.spaces[0]), side(&self.spaces[1]));
        let log = Logs::of(&local).read(run).unwrap();
        let prepared = Undo::prepare(
            &local,
            match &self.spaces[1].remote {
                Some(remote) => remote,
                None => &there,
            },
            &self.memory,
            &Silent,
            log,
        );
        let left = prepared.unwrap().apply(&a_run(undo)).unwrap();
        assert_eq!(left, [], "{context}");
    }
}

fn a_run(id: &str) -> Run {
    Run {
        id: id.into(),
        now: 0,
        takes_growing: false,
        pace: Pace::default(),
    }
}

fn options(random: &mut Random) -> Options {
    let mut options = Options {
        max_delete_percent: Some(100.0),
        ..Options::default()
    };
    match random.below(6) {
        0 => options.deletes = true,
        1 => options.restores = true,
        2 => options.keep_both = Some(".conflict-other".into()),
        3 => options.prefer = Some(Prefer::Newer),
        4 => options.prefer = Some(Prefer::Of(Whose::Remote)),
        _ => options.direction = *random.pick(&[&Direction::Pull, &Direction::Push]),
    }
    options
}

fn change_mode(random: &mut Random, root: &Path) {
    let snapshot = snapshot(root);
    let files = snapshot.iter().filter(|(_, (.., modified))| *modified != 0);
    let files: Vec<_> = files.map(|(path, _)| path).collect();
    let path = root.join(files[random.below(files.len())]);
    let mode = *random.pick(&[&0o600, &0o640, &0o750]);
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Edits both, syncs, undoes one or two syncs, and does the same again.
pub(crate) fn play(spaces: &[Space; 2], seed: u64, n_steps: usize) {
    let play = Play {
        memory: Memory::new(spaces[0].root.join(".sweepfs/remotes/other")),
        spaces,
    };
    let mut edits = Edits {
        random: Random(seed),
        n: 0,
    };
    for step in 0..n_steps {
        let context = format!("seed {seed}, step {step}");
        for space in spaces {
            for _ in 0..edits.random.below(8) {
                edits.edit(space);
            }
            write_job(&space.root, r#"{"a": "kept"}"#);
            change_mode(&mut edits.random, &space.root);
        }
        let options = options(&mut edits.random);
        let before = play.snapshots();
        let first = format!("{seed}-{step}-a");
        if !play.sync(&options, &first, &context) {
            continue;
        }
        let after = play.snapshots();
        let second = format!("{seed}-{step}-b");
        if edits.random.one_in(3) {
            for _ in 0..4 {
                edits.edit(&spaces[0]);
            }
            let between = play.snapshots();
            if play.sync(&options, &second, &context) {
                play.undo(&second, &format!("{second}u"), &context);
            }
            for (found, expected) in play.snapshots().iter().zip(&between) {
                same(found, expected, &format!("{context}, the second undone"));
            }
            continue;
        }
        play.undo(&first, &format!("{first}u"), &context);
        for (found, expected) in play.snapshots().iter().zip(&before) {
            same(found, expected, &format!("{context}, undone"));
        }
        assert!(play.sync(&options, &second, &context));
        for (found, expected) in play.snapshots().into_iter().zip(after) {
            let (found, expected) = (without_times(found), without_times(expected));
            same(&found, &expected, &format!("{context}, synced again"));
        }
        if edits.random.one_in(2) {
            play.undo(&second, &format!("{second}u"), &context);
            for (found, expected) in play.snapshots().iter().zip(&before) {
                same(found, expected, &format!("{context}, undone again"));
            }
        }
    }
}

#[test]
fn an_undone_sync_has_never_been() {
    let shm = Path::new("/dev/shm");
    let dir = match shm.is_dir() {
        true => tempfile::tempdir_in(shm).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let rounds = std::env::var("SWEEPFS_TEST_SYNC_ROUNDS").ok();
    let n_rounds = rounds.map_or(30, |rounds| rounds.parse().unwrap());
    for round in 0..n_rounds {
        let root = dir.path().join(round.to_string());
        let spaces = ["here", "there"].map(|name| Space::here(root.join(name)));
        play(&spaces, 5000 + round as u64, 6);
        fs::remove_dir_all(root).unwrap();
    }
}

/// Kills a sync some time after it has begun its log, unless it has ended by then; tells whether it
/// was killed.
pub(crate) fn kill_when_it_has_begun(child: &mut Child, root: &Path, after_ms: u64) -> bool {
    let logs = root.join(".sweepfs/syncs");
    wait_until("the sync has begun", || {
        let has_begun = fs::read_dir(&logs).is_ok_and(|mut logs| logs.next().is_some());
        has_begun || child.try_wait().unwrap().is_some()
    });
    for _ in 0..after_ms / 5 {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    child.wait().unwrap().code().is_none()
}

#[test]
fn a_killed_sync_is_undone() {
    let env = Env::new();
    let (here, there) = (env.project("here"), env.project("there"));
    let mut random = Random(11);
    let rounds = std::env::var("SWEEPFS_TEST_SYNC_KILLS").ok();
    let n_rounds = rounds.map_or(8, |rounds| rounds.parse().unwrap());
    let (mut n_killed, mut n_undone) = (0, 0);
    for round in 0..n_rounds {
        let (from, to) = if random.one_in(2) {
            (&here, &there)
        } else {
            (&there, &here)
        };
        edit(from, round, &mut random);
        let before = [snapshot(&here), snapshot(&there)];
        let mut command = env.command(&here, &["sync", "../there"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        n_killed += usize::from(kill_when_it_has_begun(
            &mut child,
            &here,
            random.next() % 60,
        ));
        let undone = env.run(&here, &["sync", "undo"]);
        n_undone += usize::from(undone.code == Some(0));
        if undone.code != Some(0) {
            assert!(
                undone
                    .stderr
                    .contains("there is no sync that could be undone"),
                "{undone:?}"
            );
        }
        check_whole(to);
        // Where nothing was done, the next sync clears away what had only begun to arrive.
        let is_arriving = |path: &Path| path.to_string_lossy().ends_with("_sweepfs-sync");
        let after = [&here, &there].map(|root| {
            let mut found = snapshot(root);
            found.retain(|path, _| undone.code == Some(0) || !is_arriving(path));
            found
        });
        same(&after[0], &before[0], &format!("round {round}, here"));
        same(&after[1], &before[1], &format!("round {round}, there"));
        env.run(&here, &["sync", "../there"]).success();
        let (a, b) = (snapshot(&here), snapshot(&there));
        let (a, b) = (without_times(a), without_times(b));
        same(&a, &b, &format!("round {round}, synced"));
        // It is not to be undone by the next round.
        fs::remove_dir_all(here.join(".sweepfs/syncs")).unwrap();
    }
    assert!(n_killed > 0 && n_undone > 0, "{n_killed} {n_undone}");
}

/// Undoes with an exit code; returns what is printed, notes first.
#[track_caller]
fn undo(pair: &Pair, options: &[&str], code: i32) -> String {
    let args: Vec<_> = ["sync", "undo"].iter().chain(options).copied().collect();
    let ran = pair.env.run(&pair.here, &args);
    assert_eq!(ran.code, Some(code), "{ran:?}");
    format!("{}{}", ran.stderr, ran.stdout)
}

#[test]
fn what_has_changed_since_is_left_and_named() {
    let pair = Pair::new(3);
    let [a, b, c] = [0, 1, 2].map(|n: usize| pair.jobs[n].join("out.txt"));
    for path in [&a, &b] {
        write(path, "new");
    }
    fs::remove_file(pair.there(&c)).unwrap();
    let job = write_job(&pair.here, r#"{"a": 10}"#);
    pair.sync(&["--delete", "--max-delete", "50%"], 0);
    pair.check(&c, "-", "-");
    write(&pair.there(&a), "mine");
    write(&pair.there(&job).join("mine"), "1");
    let planned = undo(&pair, &["-n"], 3);
    let (id_b, id_c) = (name(&pair.jobs[1]), name(&pair.jobs[2]));
    for line in [
        format!("-> back {id_b}/out.txt\n"),
        format!("<- back {id_c}/out.txt\n"),
    ] {
        assert!(planned.contains(&line), "{planned}");
    }
    pair.check(&b, "new", "new");
    let told = undo(&pair, &[], 3);
    for path in [&a, &job] {
        let named = format!(
            "left as it is: {}",
            name(path.parent().unwrap()).replace("workspace", &name(&job))
        );
        assert!(told.contains(&named), "{told}");
    }
    assert!(told.contains("it has changed since (on `"), "{told}");
    pair.check(&a, "new", "mine");
    pair.check(&b, "new", "1");
    pair.check(&c, "1", "-");
    pair.check(&job.join("mine"), "-", "1");
    // What was left is one-sided, and the rest is done again.
    let told = pair.sync(&["--delete", "--max-delete", "50%"], 0);
    assert!(told.contains("<- ../there: 2 files, 1 deletion"), "{told}");
    pair.check(&a, "mine", "mine");
    pair.check(&b, "new", "new");
    pair.check(&c, "-", "-");
}

#[test]
fn one_sync_is_undone_after_the_other() {
    let pair = Pair::new(2);
    let file = pair.jobs[0].join("out.txt");
    for text in ["2", "3"] {
        write(&file, text);
        pair.sync(&[], 0);
    }
    fs::set_permissions(&file, PermissionsExt::from_mode(0o750)).unwrap();
    pair.sync(&[], 0);
    let mode = || fs::metadata(pair.there(&file)).unwrap().mode() & 0o777;
    assert_eq!(mode(), 0o750);
    undo(&pair, &["../there"], 0);
    assert_ne!(mode(), 0o750);
    undo(&pair, &[], 0);
    pair.check(&file, "3", "2");
    undo(&pair, &[], 0);
    pair.check(&file, "3", "1");
    // The first of all brought the jobs.
    undo(&pair, &[], 0);
    assert_eq!(n_jobs(&pair.there), 0);
    let told = undo(&pair, &[], 1);
    assert!(
        told.contains("there is no sync that could be undone"),
        "{told}"
    );
    pair.sync(&[], 0);
    pair.check(&file, "3", "3");
    assert_eq!(mode(), 0o750);
}

#[test]
fn a_job_that_runs_is_left() {
    let pair = Pair::new(2);
    for job in &pair.jobs {
        write(&job.join("out.txt"), "2");
    }
    pair.sync(&[], 0);
    let record = r#"{"version":1,"operations":{"sim":{"state":"running","attempt":1,"host":"hal","pid":1,"process_start":"x:1"}}}"#;
    write(&pair.there(&pair.jobs[0]).join("sweepfs_flow.json"), record);
    let told = undo(&pair, &[], 3);
    assert!(
        told.contains(&format!(
            "{}: something runs in the job",
            name(&pair.jobs[0])
        )),
        "{told}"
    );
    pair.check(&pair.jobs[0].join("out.txt"), "2", "2");
    pair.check(&pair.jobs[1].join("out.txt"), "2", "1");
}

#[test]
fn both_versions_and_merged_documents_are_taken_apart_again() {
    let pair = Pair::new(1);
    let (file, document) = (
        pair.jobs[0].join("out.txt"),
        pair.jobs[0].join("signac_job_document.json"),
    );
    write(&file, "here");
    write(&pair.there(&file), "there");
    write(&document, r#"{"x": 2, "y": {"z": 1}}"#);
    write(&pair.there(&document), r#"{"x": 1, "y": {"z": 2}}"#);
    let before = [snapshot(&pair.here), snapshot(&pair.there)];
    pair.sync(&["--keep-both"], 0);
    undo(&pair, &[], 0);
    same(&snapshot(&pair.here), &before[0], "here");
    same(&snapshot(&pair.there), &before[1], "there");
    let told = pair.sync(&[], 3);
    assert!(told.contains("out.txt: a file of 4 B here"), "{told}");
    pair.check(
        &document,
        r#"{"x": 2, "y": {"z": 2}}"#,
        r#"{"x": 2, "y": {"z": 2}}"#,
    );
}

#[test]
fn what_only_one_side_has_taken_back_removes_nothing_from_the_other() {
    let pair = Pair::new(1);
    let document = pair.jobs[0].join("signac_job_document.json");
    write(&document, r#"{"x": 1, "y": {"z": 1}, "here": 1}"#);
    write(
        &pair.there(&document),
        r#"{"x": 1, "y": {"z": 1}, "there": 1}"#,
    );
    pair.sync(&[], 0);
    write(
        &document,
        r#"{"x": 1, "y": {"z": 1}, "here": 1, "there": 1, "later": 1}"#,
    );
    undo(&pair, &[], 3);
    pair.sync(&[], 0);
    let all = r#"{"x": 1, "y": {"z": 1}, "here": 1, "there": 1, "later": 1}"#;
    pair.check(&document, all, all);
}

#[test]
fn a_project_whose_jobs_are_on_another_file_system_gets_its_document_back() {
    let pair = Pair::new(1);
    let shm = Path::new("/dev/shm");
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if !shm.is_dir() || device(shm) == device(&pair.here) {
        return skip("there is no second file system");
    }
    let jobs = tempfile::tempdir_in(shm).unwrap();
    fs::remove_dir_all(pair.here.join("workspace")).unwrap();
    symlink(jobs.path(), pair.here.join("workspace")).unwrap();
    let document = pair.here.join("signac_project_document.json");
    write(&document, r#"{"x": 1}"#);
    pair.sync(&["--restore"], 0);
    write(&pair.there(&document), r#"{"x": 2}"#);
    pair.sync(&[], 0);
    pair.check(&document, r#"{"x": 2}"#, r#"{"x": 2}"#);
    undo(&pair, &[], 0);
    pair.check(&document, r#"{"x": 1}"#, r#"{"x": 2}"#);
}

#[test]
fn syncs_are_listed_with_what_they_did() {
    let pair = Pair::new(2);
    write(&pair.jobs[0].join("out.txt"), "22");
    pair.sync(&[], 0);
    pair.sync(&[], 0);
    undo(&pair, &[], 0);
    let log = |args: &[&str]| {
        let args: Vec<_> = ["sync", "log"].iter().chain(args).copied().collect();
        pair.env.run(&pair.here, &args).success().to_owned()
    };
    let lines = log(&[]);
    let lines: Vec<_> = lines.lines().collect();
    let there = pair.there.canonicalize().unwrap();
    let ends = ["-> 1 file, 2 B; undone", "-> 2 new jobs, 10 files, 66 B"];
    for (line, end) in lines.iter().zip(ends) {
        assert!(
            line.ends_with(&format!("  {}  {end}", there.display())),
            "{line}"
        );
    }
    assert_eq!(lines.len(), 2);
    let run = lines[0].split(' ').next().unwrap();
    let id = name(&pair.jobs[0]);
    assert_eq!(log(&[run]), format!("-> changed {id}/out.txt 2 B\n"));
    let action: serde_json::Value = serde_json::from_str(&log(&[run, "--json"])).unwrap();
    assert_eq!(action["path"], "out.txt");
    let json: serde_json::Value = serde_json::from_str(&log(&["-n", "1", "--json"])).unwrap();
    assert_eq!(
        (&json["run"], &json["to_remote"]["files"]),
        (&run.into(), &1.into())
    );
    assert!(json["finished"] == true && json["undone"].is_string());
    let ran = pair.env.run(&pair.here, &["sync", "log", "../x"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    // A log that is damaged is named, and keeps nobody from undoing the others.
    fs::write(pair.here.join(".sweepfs/syncs/30000101T000000-1"), "x").unwrap();
    let ran = pair.env.run(&pair.here, &["sync", "log"]);
    assert!(
        ran.code == Some(3) && ran.stderr.contains("is damaged"),
        "{ran:?}"
    );
    let told = undo(&pair, &["--json"], 0);
    assert!(
        told.contains("not looked at: ") && told.contains(r#""action":"trash job""#),
        "{told}"
    );
}

#[test]
fn a_remote_that_is_another_one_now_is_not_undone() {
    let pair = Pair::new(2);
    let settings = |name: &str, url: &str| {
        let text = format!("[remote.{name}]\nurl = \"{url}\"\n");
        fs::write(pair.here.join("sweepfs.toml"), text).unwrap();
    };
    let run = |args: &[&str], code| {
        let ran = pair.env.run(&pair.here, args);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        ran.stderr
    };
    settings("hal", "../there");
    write(&pair.jobs[0].join("out.txt"), "2");
    run(&["sync", "hal", "--prefer", "local"], 0);
    let other = pair.env.project("other");
    settings("hal", "../other");
    assert!(run(&["sync", "undo"], 4).contains("the sync was with"));
    settings("gl", "../there");
    assert!(run(&["sync", "undo"], 2).contains("`sweepfs remote add hal"));
    // A remote may have the name of a command.
    settings("undo", "../there");
    run(&["sync", "--", "undo"], 0);
    let told = run(&["sync", "-n", "log"], 2);
    assert!(
        told.contains("options of `sweepfs sync log` stand behind it"),
        "{told}"
    );
    let told = run(&["remote", "add", "log", "../other"], 2);
    assert!(told.contains("`log` is a command"), "{told}");
    // A side that is not there is not one that has changed.
    settings("hal", "../there");
    fs::rename(pair.there.join("workspace"), other.join("away")).unwrap();
    fs::create_dir(pair.there.join("workspace")).unwrap();
    assert!(run(&["sync", "undo"], 4).contains("has no jobs"));
    fs::remove_dir(pair.there.join("workspace")).unwrap();
    fs::rename(other.join("away"), pair.there.join("workspace")).unwrap();
    run(&["sync", "undo", "hal"], 0);
    pair.check(&pair.jobs[0].join("out.txt"), "2", "1");
}

#[test]
fn what_is_too_old_is_forgotten_with_its_trash() {
    let pair = Pair::new(1);
    write(&pair.jobs[0].join("out.txt"), "2");
    pair.sync(&[], 0);
    undo(&pair, &[], 0);
    let local = LocalSide::new(&Project::discover(&pair.here).unwrap(), "here");
    let days = |days: i64| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap().as_nanos()).unwrap();
        local.settle(&Run {
            now: now + days * 24 * 3600 * 1_000_000_000,
            ..a_run("x")
        });
        fs::read_dir(pair.here.join(".sweepfs/syncs"))
            .unwrap()
            .count()
    };
    assert_eq!((days(29), days(31)), (3, 0));
}
