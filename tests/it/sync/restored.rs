//! A side that was put back from a backup, with or without what is remembered.

use super::local::{Pair, name, write};
use crate::support::env::write_job;
use std::fs;
use std::path::Path;
use std::process::Command;

fn copy(from: &Path, to: &Path) {
    let mut cp = Command::new("cp");
    assert!(cp.arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// What of a side is put back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    All,
    /// All but `.sweepfs`.
    WithoutMemory,
    /// The jobs only.
    Jobs,
}

/// Syncs, makes a backup of one side, syncs again, and puts the backup back.
fn restored(is_here: bool, part: Part) -> Pair {
    let pair = Pair::new(4);
    write(&pair.jobs[0].join("out.txt"), "first");
    pair.sync(&[], 0);
    let side = if is_here { &pair.here } else { &pair.there };
    let backup = pair.env.path().join("backup");
    copy(side, &backup);
    write(&pair.jobs[0].join("out.txt"), "second");
    write(&pair.there(&pair.jobs[1]).join("sub/deep"), "second");
    write(
        &pair.there(&pair.jobs[2]).join("signac_job_document.json"),
        r#"{"x": 2}"#,
    );
    write(&write_job(&pair.there, r#"{"new": 1}"#).join("x"), "new");
    fs::remove_dir_all(&pair.jobs[3]).unwrap();
    pair.sync(&["--delete", "--max-delete", "50"], 0);
    assert!(!pair.there(&pair.jobs[3]).exists());
    match part {
        Part::Jobs => {
            fs::remove_dir_all(side.join("workspace")).unwrap();
            copy(&backup.join("workspace"), &side.join("workspace"));
        }
        Part::All | Part::WithoutMemory => {
            fs::remove_dir_all(side).unwrap();
            copy(&backup, side);
        }
    }
    if part == Part::WithoutMemory {
        fs::remove_dir_all(side.join(".sweepfs")).unwrap();
    }
    pair
}

/// What was put back is nowhere taken for new, and can be decided about.
fn is_named(is_here: bool, part: Part) {
    let pair = restored(is_here, part);
    let told = pair.sync(&[], 3);
    // Without a memory it is the first sync, and nothing more is known.
    let is_first = is_here && part == Part::WithoutMemory;
    assert_eq!(
        told.contains("restored from a backup"),
        !is_first,
        "{part:?}: {told}"
    );
    let (a, b) = (pair.jobs[0].join("out.txt"), pair.jobs[1].join("sub/deep"));
    for (file, old) in [(&a, "first"), (&b, "1")] {
        let (here, there) = if is_here {
            (old, "second")
        } else {
            ("second", old)
        };
        pair.check(file, here, there);
        let line = format!(
            "conflict: {}",
            file.strip_prefix(pair.here.join("workspace"))
                .unwrap()
                .display()
        );
        assert!(told.contains(&line), "{told}");
    }
    assert!(told.contains("key `x`"), "{told}");
    // What is only on one side is copied, also what had been deleted.
    let new = write_job(&pair.here, r#"{"new": 1}"#).join("x");
    pair.check(&new, "new", "new");
    pair.check(&pair.jobs[3].join("out.txt"), "1", "1");
    pair.sync(&["--prefer", if is_here { "remote" } else { "local" }], 0);
    pair.check(&a, "second", "second");
    pair.check(&b, "second", "second");
    // From now on both are believed again.
    write(&a, "third");
    write(&pair.there(&b), "third");
    assert!(!pair.sync(&[], 0).contains("backup"));
    pair.check(&a, "third", "third");
    pair.check(&b, "third", "third");
}

#[test]
fn what_was_put_back_there_is_not_newer() {
    for part in [Part::All, Part::WithoutMemory, Part::Jobs] {
        is_named(false, part);
    }
}

#[test]
fn what_was_put_back_here_without_what_is_remembered_is_not_newer() {
    for part in [Part::WithoutMemory, Part::Jobs] {
        is_named(true, part);
    }
}

#[test]
fn what_was_put_back_here_with_what_is_remembered_gets_what_it_missed() {
    let pair = restored(true, Part::All);
    let told = pair.sync(&[], 0);
    assert!(
        !told.contains("backup") && !told.contains("conflict"),
        "{told}"
    );
    pair.check(&pair.jobs[0].join("out.txt"), "second", "second");
    pair.check(&pair.jobs[1].join("sub/deep"), "second", "second");
    let document = pair.jobs[2].join("signac_job_document.json");
    pair.check(&document, r#"{"x": 2}"#, r#"{"x": 2}"#);
    let new = write_job(&pair.here, r#"{"new": 1}"#).join("x");
    pair.check(&new, "new", "new");
    // The job that was deleted on both sides is not sent back.
    let of_deleted = format!("job back {}", name(&pair.jobs[3]));
    assert!(
        !told.contains(&of_deleted) && !pair.there(&pair.jobs[3]).exists(),
        "{told}"
    );
    assert!(
        told.contains("deleted there since the last sync: 1 job"),
        "{told}"
    );
    pair.sync(&["--delete", "--max-delete", "50"], 0);
    assert!(!pair.jobs[3].exists());
}

#[test]
fn both_put_back_at_once_are_as_they_were() {
    let pair = Pair::new(2);
    let backup = pair.env.path().join("backup");
    fs::create_dir(&backup).unwrap();
    for side in [&pair.here, &pair.there] {
        copy(side, &backup);
    }
    write(&pair.jobs[0].join("out.txt"), "second");
    pair.sync(&[], 0);
    for (side, name) in [(&pair.here, "here"), (&pair.there, "there")] {
        fs::remove_dir_all(side).unwrap();
        copy(&backup.join(name), side);
    }
    let told = pair.sync(&[], 0);
    assert_eq!(told, "nothing to do with `../there`\n");
    pair.check(&pair.jobs[0].join("out.txt"), "1", "1");
}
