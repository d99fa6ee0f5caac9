//! How fast a sync may be, and how long.

use super::local::Pair;
use crate::support::env::{Env, Ran, write_job};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;
use sweepfs::report::Silent;
use sweepfs::sync::{LocalSide, Memory, Options, Pace, Pacer, Run, Session, Wanted};
use sweepfs::workspace::Project;

/// Files of a job, each of 100 KiB.
const N_FILES: usize = 40;

fn n_files(root: &Path) -> usize {
    let jobs = fs::read_dir(root.join("workspace")).unwrap();
    let jobs = jobs.map(|job| job.unwrap().path());
    let n = |job: &Path| fs::read_dir(job).unwrap().count() - 1;
    jobs.filter(|job| job.is_dir()).map(|job| n(&job)).sum()
}

#[test]
fn what_there_was_no_time_for_is_left_for_the_next_sync() {
    let env = Env::new();
    let (here, there) = (env.project("here"), env.project("there"));
    let job = write_job(&here, r#"{"a": 1}"#);
    write_job(&there, r#"{"a": 1}"#);
    for i in 0..N_FILES {
        fs::write(job.join(format!("{i}")), vec![b'x'; 100 << 10]).unwrap();
    }
    let sync = |options: &[&str]| -> Ran {
        let args = [&["sync", "../there"], options].concat();
        env.run(&here, &args)
    };
    // The limit is kept: in a second, a quarter is moved.
    let stopped = sync(&["--bwlimit", "1m", "--stop-after", "1s"]);
    let told = stopped.failure(3).to_owned();
    let done = n_files(&there);
    assert!(done > 0 && done < N_FILES, "{done}");
    let left = format!(
        "stopped after 1 s; left for the next sync: {} files, {:.1} MB",
        N_FILES - done,
        (N_FILES - done) as f64 * 0.1024
    );
    assert!(told.contains(&left), "{told}\n{left}");
    let moved = format!("-> ../there: {done} files, ");
    assert!(told.contains(&moved), "{told}\n{moved}");
    let stopped = sync(&["--bwlimit", "1m", "--stop-after", "1s", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&stopped.stdout).unwrap();
    let left = N_FILES - n_files(&there);
    assert_eq!(report["left"]["files"], left, "{report}");
    // The next one is no sync that was cut off.
    assert_eq!(sync(&["--bwlimit", "0"]).success(), "",);
    assert_eq!(n_files(&there), N_FILES);
    let told = sync(&[]);
    assert!(told.stderr.contains("nothing to do"), "{told:?}");
    for (wrong, hint) in [("10x", "`10m` is 10 MiB a second"), ("-1", "`10m`")] {
        let refused = sync(&["--bwlimit", wrong]);
        assert!(refused.failure(2).contains(hint), "{refused:?}");
    }
}

/// Lets so many things begin.
#[derive(Debug)]
struct Few(AtomicUsize);

impl Pacer for Few {
    fn moved(&self, _: u64) {}

    fn reported(&self, _: u64) {}

    fn is_over(&self) -> bool {
        let left = |left: usize| left.checked_sub(1);
        let (take, read) = (Ordering::Relaxed, Ordering::Relaxed);
        self.0.fetch_update(take, read, left).is_err()
    }

    fn is_cut(&self) -> bool {
        false
    }
}

#[test]
fn a_version_that_was_put_aside_when_the_time_was_over_is_not_taken_for_removed() {
    let pair = Pair::new(1);
    let file = pair.jobs[0].join("out.txt");
    // Another content behind the same size and time, as a restored file may have.
    let set = |path: &Path, text: &str| {
        fs::write(path, text).unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    };
    set(&file, "1");
    set(&pair.there(&file), "1");
    let project = |root| Project::discover(root).unwrap();
    let local = LocalSide::new(&project(&pair.here), "here");
    let there = LocalSide::new(&project(&pair.there), "there");
    let memory = Memory::new(pair.here.join(".sweepfs/remotes/x"));
    let sync = |options: &Options, n: usize| {
        let session = Session {
            local: &local,
            peer: &there,
            memory: Some(&memory),
            options,
            wanted: Wanted::All,
            observer: &Silent,
        };
        let run = Run {
            id: format!("run-{n}"),
            now: 0,
            takes_growing: false,
            pace: Pace::by(Arc::new(Few(AtomicUsize::new(n)))),
        };
        session.apply(session.prepare().unwrap(), &run).unwrap()
    };
    sync(&Options::default(), 1000);
    set(&pair.there(&file), "2");
    let keep_both = Options {
        compares_contents: true,
        keep_both: Some(".conflict-there".into()),
        ..Options::default()
    };
    sync(&keep_both, 1);
    let kept = file.with_file_name("out.txt.conflict-there");
    pair.check(&file, "1", "-");
    pair.check(&kept, "-", "2");
    let deletes = Options {
        deletes: true,
        max_delete_percent: Some(100.0),
        ..Options::default()
    };
    sync(&deletes, 1001);
    pair.check(&file, "1", "1");
    pair.check(&kept, "2", "2");
}
