//! Syncs that are killed.

use crate::support::env::{Env, write_job};
use crate::support::random::Random;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const N_JOBS: usize = 40;

/// The content of a file says how long it is, so that a part of it is recognized.
fn content(round: usize, file: usize) -> String {
    let n = 1 + (round * 7919 + file * 104_729) % 60_000;
    let head = format!("{n}:");
    format!("{head}{}", "x".repeat(n))
}

fn is_whole(text: &str) -> bool {
    let Some((n, rest)) = text.split_once(':') else {
        return false;
    };
    n.parse() == Ok(rest.len())
}

/// All that has its final name is whole; all jobs have their state points.
#[track_caller]
pub(crate) fn check_whole(root: &Path) {
    for job in fs::read_dir(root.join("workspace")).unwrap() {
        let job = job.unwrap();
        let name = job.file_name().into_string().unwrap();
        if name.starts_with('.') {
            continue;
        }
        assert!(job.path().join("signac_statepoint.json").exists(), "{name}");
        for file in fs::read_dir(job.path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            match name {
                "signac_job_document.json" => {
                    let text = fs::read(&path).unwrap();
                    assert!(
                        serde_json::from_slice::<serde_json::Value>(&text).is_ok(),
                        "{path:?}"
                    );
                }
                name if name.starts_with("file") => {
                    assert!(is_whole(&fs::read_to_string(&path).unwrap()), "{path:?}");
                }
                _ => {}
            }
        }
    }
}

pub(crate) fn edit(root: &Path, round: usize, random: &mut Random) {
    for i in 0..N_JOBS {
        let job = write_job(root, &format!(r#"{{"a": {}}}"#, i + N_JOBS * (round / 3)));
        for file in 0..6 {
            if random.one_in(2) {
                let temporary = job.join("temporary");
                fs::write(&temporary, content(round, i * 6 + file)).unwrap();
                fs::rename(&temporary, job.join(format!("file{file}"))).unwrap();
            }
        }
        let document = format!(r#"{{"round": {round}}}"#);
        fs::write(job.join("signac_job_document.json"), document).unwrap();
    }
}

#[test]
fn a_killed_sync_is_completed_by_the_next_and_nothing_is_half_written() {
    let env = Env::new();
    let (here, there) = (env.project("here"), env.project("there"));
    let mut random = Random(7);
    let rounds = std::env::var("SWEEPFS_TEST_SYNC_KILLS").ok();
    let n_rounds = rounds.map_or(12, |rounds| rounds.parse().unwrap());
    let mut n_killed = 0;
    for round in 0..n_rounds {
        let (from, to) = if random.one_in(2) {
            (&here, &there)
        } else {
            (&there, &here)
        };
        edit(from, round, &mut random);
        let mut command = env.command(&here, &["sync", "../there"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let longest_ms = [40, 150, 600][random.below(3)];
        std::thread::sleep(Duration::from_millis(5 + random.next() % longest_ms));
        child.kill().unwrap();
        n_killed += usize::from(child.wait().unwrap().code().is_none());
        check_whole(to);
        check_whole(from);
        let ran = env.run(&here, &["sync", "../there"]);
        // Edits of one side only are never conflicts, whenever the sync before them was killed.
        ran.success();
        let diff = std::process::Command::new("diff")
            .args(["-r", "here/workspace", "there/workspace"])
            .current_dir(env.path())
            .output()
            .unwrap();
        assert!(
            diff.status.success(),
            "round {round}: {}",
            String::from_utf8_lossy(&diff.stdout)
        );
    }
    assert!(n_killed > 0, "none was killed under way");
}
