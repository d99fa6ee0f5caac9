//! How fast a sync may be, and how long.

use crate::support::env::{Env, Ran, write_job};
use std::fs;
use std::path::Path;

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
