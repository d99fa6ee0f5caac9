//! Jobs that are removed on the other side, and what may stand against it.

use super::local::{Pair, files_below, name, write};
use std::fs;
use sweepfs::report::Silent;
use sweepfs::sync::{JobTree, LocalSide, Pace, Run, Side};
use sweepfs::workspace::Project;

/// Moves jobs to the trash as they were listed; returns what is said of the first.
fn remove(side: &LocalSide, jobs: &[JobTree]) -> Result<(), String> {
    let run = Run {
        id: "test-1".into(),
        now: 0,
        takes_growing: false,
        pace: Pace::default(),
    };
    let said = std::sync::Mutex::new(Vec::new());
    let done = |_, outcome: Result<_, String>| said.lock().unwrap().push(outcome.map(drop));
    side.remove_jobs(&run, jobs, &done).unwrap();
    said.into_inner().unwrap().remove(0)
}

#[test]
fn a_job_that_is_not_as_it_was_listed_stays() {
    let pair = Pair::new(1);
    let job = &pair.jobs[0];
    let side = LocalSide::new(&Project::discover(&pair.here).unwrap(), "here");
    let listed = side.list(&Silent).unwrap().tree.jobs;
    let changes: [&dyn Fn(); 4] = [
        &|| write(&job.join("sub/deep"), "2"),
        &|| write(&job.join("sweepfs_flow.json"), "{}"),
        &|| fs::remove_file(job.join("out.txt")).unwrap(),
        &|| fs::create_dir(job.join("sub/new")).unwrap(),
    ];
    let mut before = listed;
    for change in changes {
        change();
        let said = remove(&side, &before).unwrap_err();
        assert!(said.contains("changed meanwhile"), "{said}");
        assert!(job.join("signac_statepoint.json").exists());
        before = side.list(&Silent).unwrap().tree.jobs;
    }
    // What somebody is writing has no name yet.
    let uuid = "0b0b7a1e-8a1c-4f5e-9d3e-2b7f3f0e6a11";
    write(&job.join(format!("._{uuid}_x")), "");
    remove(&side, &before).unwrap();
    assert!(!job.exists());
    remove(&side, &before).unwrap();
    write(job, "a file");
    remove(&side, &before).unwrap_err();
}

#[test]
fn a_removal_waits_for_who_begins_an_execution() {
    let pair = Pair::new(1);
    let job = &pair.jobs[0];
    let side = LocalSide::new(&Project::discover(&pair.here).unwrap(), "here");
    let listed = side.list(&Silent).unwrap().tree.jobs;
    let id = name(job);
    let lock = sweepfs::workflow::sidecar_lock(side.workspace(), &id);
    let held = sweepfs::fsx::Lock::acquire(&lock).unwrap();
    let said = std::thread::scope(|scope| {
        let removing = scope.spawn(|| remove(&side, &listed));
        write(
            &job.join("sweepfs_flow.json"),
            r#"{"version":1,"operations":{}}"#,
        );
        assert!(job.exists());
        drop(held);
        removing.join().unwrap()
    });
    assert!(said.unwrap_err().contains("changed meanwhile"));
    assert!(job.join("sweepfs_flow.json").exists());
}

#[test]
fn what_is_left_out_is_no_change_of_a_job() {
    let pair = Pair::new(12);
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| pair.jobs[n].clone());
    for job in [&a, &b, &c, &d] {
        write(&pair.there(job).join("x.tmp"), "left out");
        fs::create_dir(pair.there(job).join("scratch")).unwrap();
        write(&pair.there(job).join("scratch/y.tmp"), "left out");
    }
    pair.sync(&["--exclude", "*.tmp", "--exclude", "scratch"], 0);
    for job in [&a, &b, &c, &d] {
        fs::remove_dir_all(job).unwrap();
    }
    // Also what was synced once, and is not now.
    write(&pair.there(&a).join("out.txt"), "2");
    for options in [["--only", "*.none"], ["--exclude", "*"]] {
        let told = pair.sync(&[&options[..], &["-j", &name(&a)]].concat(), 0);
        assert!(
            told.contains("deleted here since the last sync: 1 job"),
            "{told}"
        );
    }
    let options = ["--delete", "--max-delete", "50", "--exclude", "*.tmp"];
    let of = |job| ["-j".to_owned(), name(job)];
    let run = |job, more: &[&str]| {
        let of = of(job);
        let words: Vec<_> = of.iter().map(String::as_str).collect();
        pair.sync(&[&options[..], more, &words].concat(), 0)
    };
    let told = run(&b, &[]);
    assert!(!pair.there(&b).exists() && !b.exists(), "{told}");
    // It went as a whole, and nothing is lost.
    let trash = files_below(&pair.there.join(".sweepfs/trash"));
    let kept = |end: &str| {
        trash
            .iter()
            .any(|path| path.ends_with(format!("{}/{end}", name(&b))))
    };
    assert!(
        kept("x.tmp") && kept("scratch/y.tmp") && kept("out.txt"),
        "{trash:?}"
    );
    // Other changes win as before.
    write(&pair.there(&c).join("out.txt"), "2");
    let told = run(&c, &[]);
    assert!(c.exists() && !c.join("x.tmp").exists(), "{told}");
    // What runs is not removed either, though nothing has changed since.
    let record = r#"{"version":1,"operations":{"sim":{"state":"running","attempt":1,"host":"hal","pid":1,"process_start":"x:1"}}}"#;
    let e = &pair.jobs[4];
    write(&pair.there(e).join("sweepfs_flow.json"), record);
    pair.sync(&["--exclude", "*.tmp", "-j", &name(e)], 0);
    fs::remove_dir_all(e).unwrap();
    let told = run(e, &[]);
    assert!(
        told.contains("jobs that run") && pair.there(e).exists(),
        "{told}"
    );
    // Those files do not count for the guard either.
    for n in 0..200 {
        write(&pair.there(&d).join(format!("{n}.tmp")), "");
    }
    run(&d, &[]);
    assert!(!pair.there(&d).exists());
}

#[test]
fn both_sides_without_jobs_are_not_believed_either() {
    let pair = Pair::new(3);
    let aside = pair.env.path().join("aside");
    fs::create_dir(&aside).unwrap();
    for (n, root) in [&pair.here, &pair.there].into_iter().enumerate() {
        fs::rename(root.join("workspace"), aside.join(n.to_string())).unwrap();
    }
    for options in [&[][..], &["--delete"], &["--restore"]] {
        let told = pair.sync(options, 4);
        assert!(told.contains("has no workspace, but had 3"), "{told}");
    }
    for (n, root) in [&pair.here, &pair.there].into_iter().enumerate() {
        fs::rename(aside.join(n.to_string()), root.join("workspace")).unwrap();
    }
    // What was remembered still is.
    fs::remove_file(pair.jobs[0].join("out.txt")).unwrap();
    let told = pair.sync(&[], 0);
    assert!(
        told.contains("deleted here since the last sync: 1 file"),
        "{told}"
    );
    for root in [&pair.here, &pair.there] {
        fs::remove_dir_all(root.join("workspace")).unwrap();
    }
    assert!(pair.sync(&["--delete"], 4).contains("hint: "));
    pair.sync(&["--delete", "--max-delete", "100"], 0);
    pair.sync(&[], 0);
}
