//! What a user meets: options, conflicts, deletions, and bad input.

use crate::support::env::{Env, write_job};
use crate::support::skip;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Two projects that have the same jobs, `here` and `there`, and are synced.
pub(super) struct Pair {
    pub(super) env: Env,
    pub(super) here: PathBuf,
    pub(super) there: PathBuf,
    /// The jobs here, by their parameter from 0 on.
    pub(super) jobs: Vec<PathBuf>,
}

impl Pair {
    pub(super) fn new(n_jobs: usize) -> Self {
        let env = Env::new();
        let (here, there) = (env.project("here"), env.project("there"));
        let jobs = (0..n_jobs).map(|i| {
            let job = write_job(&here, &format!(r#"{{"a": {i}}}"#));
            write(&job.join("out.txt"), "1");
            fs::create_dir(job.join("sub")).unwrap();
            write(&job.join("sub/deep"), "1");
            write(
                &job.join("signac_job_document.json"),
                r#"{"x": 1, "y": {"z": 1}}"#,
            );
            job
        });
        let jobs = jobs.collect();
        let pair = Self {
            env,
            here,
            there,
            jobs,
        };
        pair.sync(&[], 0);
        pair
    }

    /// Syncs with an exit code; returns what is printed, notes first.
    #[track_caller]
    pub(super) fn sync(&self, options: &[&str], code: i32) -> String {
        let args: Vec<_> = ["sync", "../there"]
            .iter()
            .chain(options)
            .copied()
            .collect();
        let ran = self.env.run(&self.here, &args);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        format!("{}{}", ran.stderr, ran.stdout)
    }

    /// The same place there.
    pub(super) fn there(&self, path: &Path) -> PathBuf {
        self.there.join(path.strip_prefix(&self.here).unwrap())
    }

    #[track_caller]
    pub(super) fn check(&self, path: &Path, here: &str, there: &str) {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|_| "-".into());
        assert_eq!(
            (read(path), read(&self.there(path))),
            (here.into(), there.into())
        );
    }
}

/// Writes a file as an editor does, at a time of its own: clocks of file systems are coarse.
pub(super) fn write(path: &Path, text: &str) {
    static N: AtomicU64 = AtomicU64::new(0);
    let temporary = path.with_file_name("temporary");
    fs::write(&temporary, text).unwrap();
    let later = Duration::from_millis(N.fetch_add(1, Ordering::Relaxed));
    let file = fs::File::open(&temporary).unwrap();
    file.set_modified(SystemTime::now() + later).unwrap();
    fs::rename(temporary, path).unwrap();
}

#[test]
fn the_first_sync_copies_whole_jobs_with_times_and_permissions() {
    let env = Env::new();
    let (here, there) = (env.project("here"), env.project("there"));
    let job = write_job(&here, r#"{"a": 1}"#);
    write(&job.join("run.sh"), "true");
    fs::set_permissions(job.join("run.sh"), PermissionsExt::from_mode(0o750)).unwrap();
    symlink("../../elsewhere", job.join("link")).unwrap();
    fs::create_dir_all(job.join("empty/below")).unwrap();
    let other = write_job(&there, r#"{"a": 2}"#);
    let ran = env.run(&here, &["sync", "../there", "--dry-run"]);
    let (id, other_id) = (name(&job), name(&other));
    let lines = format!("-> new job {id} 5 files 12 B\n<- new job {other_id} 1 file 8 B\n");
    let mut sorted: Vec<_> = lines.lines().collect();
    sorted.sort_by_key(|line| line.split(' ').nth(3).map(str::to_owned));
    assert_eq!(ran.success().lines().collect::<Vec<_>>(), sorted);
    assert!(!there.join("workspace").join(&id).exists());
    let ran = env.run(&here, &["sync", "../there"]);
    ran.success();
    assert!(
        ran.stderr.contains("-> ../there: 1 new job, 5 files, 12 B"),
        "{ran:?}"
    );
    let copy = there.join("workspace").join(&id);
    let (a, b) = (
        fs::metadata(job.join("run.sh")).unwrap(),
        fs::metadata(copy.join("run.sh")).unwrap(),
    );
    assert_eq!(
        (a.mode(), a.mtime(), a.mtime_nsec()),
        (b.mode(), b.mtime(), b.mtime_nsec())
    );
    assert_eq!(
        fs::read_link(copy.join("link")).unwrap(),
        Path::new("../../elsewhere")
    );
    assert!(copy.join("empty/below").is_dir());
    assert!(here.join("workspace").join(other_id).is_dir());
    let again = env.run(&here, &["sync", "../there"]);
    assert_eq!(
        (again.success(), again.stderr.as_str()),
        ("", "nothing to do with `../there`\n")
    );
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_conflict_is_left_named_and_decided_by_an_option() {
    let pair = Pair::new(2);
    let file = pair.jobs[0].join("out.txt");
    let set = |here: &str, there: &str| {
        write(&file, here);
        write(&pair.there(&file), there);
    };
    set("here", "there!");
    write(&pair.jobs[1].join("out.txt"), "2");
    let told = pair.sync(&[], 3);
    let id = name(&pair.jobs[0]);
    assert!(
        told.contains(&format!(
            "conflict: {id}/out.txt: a file of 4 B here, a file of 6 B there"
        )),
        "{told}"
    );
    pair.check(&file, "here", "there!");
    pair.check(&pair.jobs[1].join("out.txt"), "2", "2");
    assert!(
        pair.sync(&["-n"], 3)
            .contains(&format!("!! conflict {id}/out.txt"))
    );
    pair.sync(&["--prefer", "larger"], 0);
    pair.check(&file, "there!", "there!");
    set("a", "b");
    pair.sync(&["--prefer", "local"], 0);
    pair.check(&file, "a", "a");
    set("c", "d");
    pair.sync(&["--prefer", "newer"], 0);
    pair.check(&file, "d", "d");
    // What was replaced is in the trash.
    let trash = files_below(&pair.there.join(".sweepfs/trash"));
    assert!(
        trash.iter().any(|path| fs::read(path).unwrap() == b"b"),
        "{trash:?}"
    );
    set("e", "f");
    pair.sync(&["--keep-both"], 0);
    pair.check(&file, "e", "e");
    let kept = fs::read_dir(&pair.jobs[0])
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let kept: Vec<_> = kept
        .filter(|path| name(path).starts_with("out.txt.conflict-there-"))
        .collect();
    pair.check(&kept[0], "f", "f");
    assert_eq!(kept.len(), 1);
    pair.sync(&[], 0);
}

pub(super) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn documents_are_merged_key_by_key() {
    let pair = Pair::new(1);
    let document = pair.jobs[0].join("signac_job_document.json");
    write(&document, r#"{"x": 2, "y": {"z": 1, "here": true}}"#);
    write(
        &pair.there(&document),
        r#"{"y": {"z": 5}, "x": 3, "new": [1]}"#,
    );
    let told = pair.sync(&[], 3);
    assert!(
        told.contains("signac_job_document.json, key `x`: changed on both sides"),
        "{told}"
    );
    pair.check(
        &document,
        r#"{"x": 2, "y": {"z": 5, "here": true}, "new": [1]}"#,
        r#"{"y": {"z": 5, "here": true}, "x": 3, "new": [1]}"#,
    );
    pair.sync(&[], 3);
    pair.sync(&["--keys", "x"], 0);
    // Then ours is as theirs is.
    let merged = r#"{"y": {"z": 5, "here": true}, "x": 3, "new": [1]}"#;
    pair.check(&document, merged, merged);
    write(&document, "{");
    assert!(
        pair.sync(&[], 3)
            .contains("its document is not synced: it is not JSON")
    );
    // That of the project, too.
    write(&document, merged);
    write(
        &pair.here.join("signac_project_document.json"),
        r#"{"p": 1}"#,
    );
    pair.sync(&[], 0);
    pair.check(
        &pair.here.join("signac_project_document.json"),
        r#"{"p": 1}"#,
        r#"{"p": 1}"#,
    );
}

#[test]
fn deletions_are_told_and_done_only_when_asked() {
    let pair = Pair::new(20);
    fs::remove_file(pair.jobs[0].join("out.txt")).unwrap();
    fs::remove_dir_all(&pair.jobs[1]).unwrap();
    fs::remove_dir_all(pair.there(&pair.jobs[2]).join("sub")).unwrap();
    let told = pair.sync(&[], 0);
    assert!(
        told.contains("deleted here since the last sync: 1 job, 1 other file"),
        "{told}"
    );
    assert!(
        told.contains("deleted there since the last sync: 1 file\n"),
        "{told}"
    );
    assert!(pair.there(&pair.jobs[1]).exists() && pair.jobs[2].join("sub/deep").exists());
    // A job of the twenty has a twentieth of the files.
    assert!(
        pair.sync(&["--delete", "--max-delete", "3%"], 4)
            .contains("files would be deleted, more than 3 %")
    );
    assert!(pair.there(&pair.jobs[1]).exists());
    pair.sync(&["--delete"], 0);
    assert!(!pair.there(&pair.jobs[1]).exists() && !pair.jobs[2].join("sub").exists());
    pair.check(&pair.jobs[0].join("out.txt"), "-", "-");
    let trash = files_below(&pair.there.join(".sweepfs/trash"));
    assert_eq!(trash.len(), 5, "{trash:?}");
    // A change wins over a deletion, of files and of jobs.
    fs::remove_file(pair.jobs[3].join("out.txt")).unwrap();
    write(&pair.there(&pair.jobs[3]).join("out.txt"), "edited");
    fs::remove_dir_all(&pair.jobs[4]).unwrap();
    write(&pair.there(&pair.jobs[4]).join("sub/deep"), "edited");
    assert!(pair.sync(&["-n"], 0).contains("<- job back"));
    pair.sync(&["--delete"], 0);
    pair.check(&pair.jobs[3].join("out.txt"), "edited", "edited");
    pair.check(&pair.jobs[4].join("sub/deep"), "edited", "edited");
    pair.check(&pair.jobs[4].join("out.txt"), "1", "1");
    fs::remove_file(pair.jobs[5].join("out.txt")).unwrap();
    pair.sync(&["--restore"], 0);
    pair.check(&pair.jobs[5].join("out.txt"), "1", "1");
}

#[test]
fn a_side_that_is_gone_or_empty_is_not_believed() {
    let pair = Pair::new(3);
    let aside = pair.env.path().join("aside");
    fs::rename(pair.there.join("workspace"), &aside).unwrap();
    assert!(
        pair.sync(&["--delete"], 4)
            .contains("has no workspace, but had 3 jobs")
    );
    fs::create_dir(pair.there.join("workspace")).unwrap();
    assert!(pair.sync(&[], 4).contains("has no jobs, but had 3 jobs"));
    pair.sync(&["--restore"], 0);
    assert!(pair.there(&pair.jobs[0]).join("out.txt").exists());
    fs::rename(&pair.there, pair.env.path().join("moved")).unwrap();
    assert!(pair.sync(&[], 1).contains("is no signac project"));
    fs::create_dir(&pair.there).unwrap();
    assert!(pair.sync(&[], 1).contains("hint: `sweepfs init`"));
    assert!(
        pair.env
            .run(&pair.here, &["sync", "."])
            .failure(1)
            .contains("the same")
    );
    assert!(
        pair.env
            .run(&pair.here, &["sync", "nowhere"])
            .failure(2)
            .contains("no remote or directory")
    );
    assert!(
        pair.env
            .run(&pair.here, &["sync"])
            .failure(2)
            .contains("with what")
    );
    assert_eq!(
        pair.jobs
            .iter()
            .filter(|job| job.join("sub/deep").exists())
            .count(),
        3
    );
    // Half of the jobs.
    fs::remove_dir_all(&pair.there).unwrap();
    fs::rename(pair.env.path().join("moved"), &pair.there).unwrap();
    fs::remove_dir_all(pair.there(&pair.jobs[0])).unwrap();
    pair.sync(&["--delete"], 4);
    pair.sync(&["--delete", "--max-delete", "100"], 0);
    assert!(!pair.jobs[0].exists());
}

#[test]
fn a_project_among_the_jobs_of_the_other_is_refused() {
    let pair = Pair::new(1);
    let inner = pair.jobs[0].join("copy");
    fs::create_dir(&inner).unwrap();
    pair.env.run(&inner, &["init"]).success();
    let outer = pair.here.to_str().unwrap();
    for (dir, other) in [(&pair.here, inner.to_str().unwrap()), (&inner, outer)] {
        let ran = pair.env.run(dir, &["sync", other]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("lie in each other"), "{ran:?}");
    }
    assert_eq!(
        fs::read_dir(inner.join("workspace")).map_or(0, Iterator::count),
        0
    );
    // Beside the workspace it is no matter.
    let beside = pair.here.join("beside");
    fs::create_dir(&beside).unwrap();
    pair.env.run(&beside, &["init"]).success();
    fs::remove_dir_all(&inner).unwrap();
    pair.env.run(&pair.here, &["sync", "beside"]).success();
}

#[test]
fn one_direction_changes_one_side() {
    let pair = Pair::new(2);
    let (a, b) = (pair.jobs[0].join("out.txt"), pair.jobs[1].join("out.txt"));
    write(&a, "here");
    write(&pair.there(&b), "there");
    assert!(
        pair.sync(&["--pull"], 0)
            .contains("changes in the other direction: 1")
    );
    pair.check(&a, "here", "1");
    pair.check(&b, "there", "there");
    write(&pair.there(&b), "more");
    pair.sync(&["--push"], 0);
    pair.check(&a, "here", "here");
    pair.check(&b, "there", "more");
    pair.sync(&[], 0);
    pair.check(&b, "more", "more");
}

#[test]
fn jobs_and_files_are_selected() {
    let pair = Pair::new(3);
    for job in &pair.jobs {
        write(&job.join("out.txt"), "two");
        write(&job.join("sub/big"), &"x".repeat(5000));
        write(&job.join("signac_job_document.json"), r#"{"x": 9}"#);
    }
    let only_there = write_job(&pair.there, r#"{"a": 100}"#);
    pair.sync(&["-f", "a=0", "--only", "*.txt"], 0);
    pair.check(&pair.jobs[0].join("out.txt"), "two", "two");
    pair.check(&pair.jobs[1].join("out.txt"), "two", "1");
    assert!(!pair.there(&pair.jobs[0]).join("sub/big").exists());
    pair.sync(&["-f", "a>=1", "--documents-only"], 0);
    pair.check(
        &pair.jobs[1].join("signac_job_document.json"),
        r#"{"x": 9}"#,
        r#"{"x": 9}"#,
    );
    pair.check(&pair.jobs[1].join("out.txt"), "two", "1");
    // By what the other side says of a job that only it has.
    assert!(pair.here.join("workspace").join(name(&only_there)).exists());
    pair.sync(&["-j", &name(&pair.jobs[1])[..8], "--max-size", "4K"], 0);
    pair.check(&pair.jobs[1].join("out.txt"), "two", "two");
    assert!(!pair.there(&pair.jobs[1]).join("sub/big").exists());
    pair.sync(&["--exclude", "sub"], 0);
    pair.check(&pair.jobs[2].join("out.txt"), "two", "two");
    assert!(!pair.there(&pair.jobs[2]).join("sub/big").exists());
    pair.sync(&[], 0);
    assert!(pair.there(&pair.jobs[0]).join("sub/big").exists());
}

#[test]
fn files_of_a_job_that_runs_wait() {
    let pair = Pair::new(1);
    let (job, there) = (&pair.jobs[0], pair.there(&pair.jobs[0]));
    let record = |state: &str| {
        format!(
            r#"{{"version":1,"operations":{{"sim":{{"state":"{state}","attempt":1,"host":"hal","pid":1,"process_start":"x:1"}}}}}}"#
        )
    };
    write(&there.join("sweepfs_flow.json"), &record("running"));
    write(&there.join("out.txt"), "half");
    write(&there.join("signac_job_document.json"), r#"{"x": 7}"#);
    assert!(
        pair.sync(&[], 0)
            .contains("jobs that run, whose files wait: 1")
    );
    pair.check(&job.join("out.txt"), "1", "half");
    pair.check(
        &job.join("signac_job_document.json"),
        r#"{"x": 7}"#,
        r#"{"x": 7}"#,
    );
    assert!(
        fs::read_to_string(job.join("sweepfs_flow.json"))
            .unwrap()
            .contains("running")
    );
    pair.sync(&["--running"], 0);
    pair.check(&job.join("out.txt"), "half", "half");
    write(&there.join("sweepfs_flow.json"), &record("completed"));
    write(&there.join("out.txt"), "whole");
    pair.sync(&[], 0);
    pair.check(&job.join("out.txt"), "whole", "whole");
}

#[test]
fn what_is_damaged_or_odd_is_named_and_left_out() {
    let pair = Pair::new(3);
    let id = name(&pair.jobs[0]);
    // A state point that is not that of its id, on one side.
    write(
        &pair.there(&pair.jobs[0]).join("signac_statepoint.json"),
        r#"{"a": 77}"#,
    );
    write(&pair.jobs[0].join("out.txt"), "2");
    let told = pair.sync(&["--delete"], 3);
    assert!(
        told.contains(&format!(
            "{id}: not synced: its state point belongs to the id"
        )),
        "{told}"
    );
    pair.check(&pair.jobs[0].join("out.txt"), "2", "1");
    // None at all: the job is there, but nothing is known of it.
    fs::remove_file(pair.there(&pair.jobs[0]).join("signac_statepoint.json")).unwrap();
    let told = pair.sync(&["--delete"], 3);
    assert!(
        told.contains("it has no state point file (on `../there`)"),
        "{told}"
    );
    assert!(pair.jobs[0].join("out.txt").exists());
    fs::copy(
        pair.jobs[0].join("signac_statepoint.json"),
        pair.there(&pair.jobs[0]).join("signac_statepoint.json"),
    )
    .unwrap();
    pair.sync(&[], 0);
    // A pipe, and a job that is a link.
    let pipe = pair.jobs[1].join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert!(
        pair.sync(&[], 3)
            .contains("`pipe` is not synced: no file, link or directory")
    );
    fs::remove_file(pipe).unwrap();
    let moved = pair.env.path().join("moved");
    fs::rename(&pair.jobs[2], &moved).unwrap();
    symlink(&moved, &pair.jobs[2]).unwrap();
    write(&pair.there(&pair.jobs[2]).join("out.txt"), "through?");
    assert!(pair.sync(&["--delete"], 3).contains("not a directory"));
    assert_eq!(fs::read_to_string(moved.join("out.txt")).unwrap(), "1");
}

#[test]
fn no_link_leads_a_write_out_of_the_job() {
    let pair = Pair::new(1);
    let outside = pair.env.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let sub = pair.jobs[0].join("sub");
    fs::remove_dir_all(&sub).unwrap();
    symlink(&outside, &sub).unwrap();
    write(&pair.there(&sub).join("deep"), "in the directory");
    write(&pair.there(&sub).join("new"), "in the directory");
    pair.sync(&[], 3);
    pair.sync(&["--prefer", "remote"], 0);
    pair.check(&sub.join("deep"), "in the directory", "in the directory");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn two_syncs_at_once_do_not_meet() {
    let pair = Pair::new(1);
    let lock = pair.there.join(".sweepfs/locks/sync");
    let held = sweepfs::fsx::Lock::acquire_as(&lock, "4711\n")
        .unwrap()
        .unwrap();
    let told = pair.sync(&[], 4);
    assert!(
        told.contains("another sync is at work on") && told.contains("process 4711"),
        "{told}"
    );
    pair.sync(&["--dry-run"], 0);
    drop(held);
    pair.sync(&[], 0);
}

#[test]
fn clocks_touched_files_and_a_lost_memory_are_no_conflicts() {
    let pair = Pair::new(2);
    let file = pair.jobs[0].join("out.txt");
    // The clock there is an hour behind.
    write(&pair.there(&file), "later");
    let behind = SystemTime::now() - Duration::from_secs(3600);
    fs::File::open(pair.there(&file))
        .unwrap()
        .set_modified(behind)
        .unwrap();
    pair.sync(&[], 0);
    pair.check(&file, "later", "later");
    // Both computed the same.
    write(&file, "same");
    write(&pair.there(&file), "same");
    pair.sync(&[], 0);
    // A crash of the machine left a file without its content, or with a part of it.
    for left in ["", "sa"] {
        let time = fs::metadata(pair.there(&file)).unwrap().modified().unwrap();
        fs::write(pair.there(&file), left).unwrap();
        fs::File::open(pair.there(&file))
            .unwrap()
            .set_modified(time)
            .unwrap();
        pair.sync(&[], 0);
        pair.check(&file, "same", "same");
    }
    // Only permissions.
    fs::set_permissions(&file, PermissionsExt::from_mode(0o700)).unwrap();
    pair.sync(&[], 0);
    assert_eq!(
        fs::metadata(pair.there(&file)).unwrap().mode() & 0o777,
        0o700
    );
    for state in files_below(&pair.here.join(".sweepfs/remotes")) {
        fs::write(state, "garbage").unwrap();
    }
    fs::remove_file(pair.jobs[1].join("out.txt")).unwrap();
    assert!(pair.sync(&[], 0).contains("is damaged"));
    pair.check(&pair.jobs[1].join("out.txt"), "1", "1");
    // The same size and time, but not the same content.
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "SAME").unwrap();
    fs::File::open(&file).unwrap().set_modified(time).unwrap();
    pair.sync(&[], 0);
    assert!(pair.sync(&["--checksum"], 3).contains("conflict"));
}

#[test]
fn a_renamed_job_is_a_new_one_and_a_deleted_one() {
    let pair = Pair::new(12);
    let to = write_job(&pair.here, r#"{"a": 0, "b": 1}"#);
    for file in ["out.txt", "sub/deep"] {
        fs::create_dir_all(to.join("sub")).unwrap();
        fs::copy(pair.jobs[0].join(file), to.join(file)).unwrap();
    }
    fs::remove_dir_all(&pair.jobs[0]).unwrap();
    assert!(
        pair.sync(&[], 0)
            .contains("deleted here since the last sync: 1 job")
    );
    assert!(pair.there(&to).join("sub/deep").exists() && pair.there(&pair.jobs[0]).exists());
    pair.sync(&["--delete"], 0);
    assert!(!pair.there(&pair.jobs[0]).exists());
}

#[test]
fn holes_stay_holes() {
    let pair = Pair::new(1);
    let file = pair.jobs[0].join("sparse");
    let sparse = fs::File::create(&file).unwrap();
    sparse.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (1 << 30) - 3).unwrap();
    pair.sync(&[], 0);
    let there = fs::metadata(pair.there(&file)).unwrap();
    assert_eq!(there.len(), 1 << 30);
    assert!(there.blocks() * 512 < 1 << 24, "{} blocks", there.blocks());
    let mut end = [0; 3];
    let copy = fs::File::open(pair.there(&file)).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&copy, &mut end, (1 << 30) - 3).unwrap();
    assert_eq!(&end, b"end");
}

#[test]
fn remotes_have_names() {
    let pair = Pair::new(1);
    let other = pair.env.project("other");
    let ran = pair.env.run(&pair.here, &["sync", "--all"]);
    assert!(ran.failure(2).contains("with what shall"), "{ran:?}");
    let settings = "[remote.disk]\nurl = '../there'\nexclude = '*.tmp'\n";
    fs::write(pair.here.join("sweepfs.toml"), settings).unwrap();
    write(&pair.jobs[0].join("x.tmp"), "x");
    write(&pair.jobs[0].join("y"), "y");
    let ran = pair.env.run(&pair.here, &["sync"]);
    ran.success();
    assert!(ran.stderr.starts_with("-> disk: 1 file, 1 B\n"), "{ran:?}");
    assert!(!pair.there(&pair.jobs[0]).join("x.tmp").exists());
    let settings = format!("{settings}[remote.other]\nurl = '../other'\n");
    fs::write(pair.here.join("sweepfs.toml"), settings).unwrap();
    assert!(
        pair.env
            .run(&pair.here, &["sync"])
            .failure(2)
            .contains("`disk`, `other`")
    );
    pair.env.run(&pair.here, &["sync", "--all"]).success();
    assert!(
        other
            .join("workspace")
            .join(name(&pair.jobs[0]))
            .join("x.tmp")
            .exists()
    );
    // One that fails does not keep the others waiting.
    fs::remove_dir_all(&pair.there).unwrap();
    write(&pair.jobs[0].join("y"), "yy");
    pair.env.run(&pair.here, &["sync", "--all"]).failure(1);
    let y = other.join("workspace").join(name(&pair.jobs[0])).join("y");
    assert_eq!(fs::read_to_string(y).unwrap(), "yy");
}

#[test]
fn what_would_be_done_is_data() {
    let pair = Pair::new(1);
    write(&pair.jobs[0].join("out.txt"), "22");
    let ran = pair
        .env
        .run(&pair.here, &["sync", "../there", "-n", "--json"]);
    let report: Value = serde_json::from_str(ran.success()).unwrap();
    let action = &report["actions"][0];
    assert_eq!(
        (action["action"].as_str(), action["to"].as_str()),
        (Some("changed"), Some("remote"))
    );
    assert_eq!(
        (&action["path"], &action["bytes"]),
        (&"out.txt".into(), &2.into())
    );
    assert_eq!(report["to_remote"]["files"], 1);
    pair.check(&pair.jobs[0].join("out.txt"), "22", "1");
}

/// A file system of its own, if this user may mount.
pub(super) struct Small(PathBuf);

impl Small {
    pub(super) fn new(dir: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(dir).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir)
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            skip("only root can mount a small file system");
            return None;
        }
        Some(Self(dir.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let env = Env::new();
    let here = env.project("here");
    let jobs: Vec<_> = (0..20)
        .map(|i| {
            let job = write_job(&here, &format!(r#"{{"a": {i}}}"#));
            write(&job.join("data"), &"x".repeat(300_000));
            job
        })
        .collect();
    let there = env.path().join("there");
    let Some(small) = Small::new(&there, "3m") else {
        return;
    };
    env.run(&there, &["init"]).success();
    let ran = env.run(&here, &["sync", "../there"]);
    assert!(
        ran.failure(3).contains("No space left on device"),
        "{ran:?}"
    );
    let arrived = |job: &PathBuf| there.join("workspace").join(name(job));
    let n_arrived = jobs.iter().filter(|job| arrived(job).exists()).count();
    assert!((1..20).contains(&n_arrived), "{n_arrived}");
    for job in jobs.iter().map(arrived).filter(|job| job.exists()) {
        assert_eq!(fs::metadata(job.join("data")).unwrap().len(), 300_000);
    }
    assert!(!there.join("workspace/.sweepfs-incoming").exists());
    // With room, it goes on.
    let remounted = std::process::Command::new("mount")
        .args(["-o", "remount,size=30m"])
        .arg(&small.0)
        .status();
    assert!(remounted.unwrap().success());
    env.run(&here, &["sync", "../there"]).success();
    assert!(jobs.iter().all(|job| arrived(job).join("data").exists()));
    // And the other way: what is here cannot be replaced either.
    drop(small);
}

#[test]
fn another_file_system_inside_a_job_is_not_entered() {
    let pair = Pair::new(1);
    let inside = pair.jobs[0].join("inside");
    write(&pair.jobs[0].join("before"), "1");
    fs::create_dir(&inside).unwrap();
    write(&inside.join("file"), "below");
    pair.sync(&[], 0);
    let Some(_small) = Small::new(&inside, "1m") else {
        return;
    };
    write(&inside.join("other"), "mounted");
    let told = pair.sync(&["--delete", "--max-delete", "100"], 3);
    assert!(
        told.contains("another file system is mounted there"),
        "{told}"
    );
    assert!(
        pair.there(&inside).join("file").exists() && !pair.there(&inside).join("other").exists()
    );
}
