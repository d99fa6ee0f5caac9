//! Times of files that are not divided, and clocks.

use super::local::{Pair, write};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Writes a file at a time in milliseconds.
fn write_at(path: &Path, text: &str, ms: u64) {
    write(path, text);
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_quick_edit_is_seen_also_without_fractions_of_seconds() {
    let pair = Pair::new(1);
    let file = pair.jobs[0].join("out.txt");
    let there = pair.there(&file);
    // A side is compared with what it was itself, to the last digit.
    write_at(&file, "a", 1_000_500);
    pair.sync(&[], 0);
    for (n, (path, ms)) in [
        (&file, 1_001_000),
        (&there, 1_002_000),
        (&there, 1_002_001),
        (&file, 1_003_000),
        (&file, 1_002_000),
    ]
    .into_iter()
    .enumerate()
    {
        let text = n.to_string();
        write_at(path, &text, ms);
        pair.sync(&[], 0);
        pair.check(&file, &text, &text);
    }
    // On a disk that knows whole seconds only, each has its own time.
    write_at(&file, "x", 1_010_700);
    write_at(&there, "x", 1_010_000);
    pair.sync(&[], 0);
    write_at(&there, "y", 1_011_000);
    pair.sync(&[], 0);
    pair.check(&file, "y", "y");
    // Both at once.
    write_at(&file, "p", 1_020_000);
    write_at(&there, "q", 1_020_300);
    pair.sync(&[], 3);
    pair.check(&file, "p", "q");
    write_at(&there, "p", 1_020_300);
    pair.sync(&[], 0);
    // Documents, too.
    let document = pair.jobs[0].join("signac_job_document.json");
    write_at(&document, r#"{"x": 1}"#, 1_000_500);
    write_at(&pair.there(&document), r#"{"x": 1}"#, 1_000_500);
    pair.sync(&[], 0);
    write_at(&document, r#"{"x": 2}"#, 1_001_000);
    pair.sync(&[], 0);
    pair.check(&document, r#"{"x": 2}"#, r#"{"x": 2}"#);
}

#[test]
fn the_first_sync_trusts_no_whole_seconds_that_differ() {
    let pair = Pair::new(1);
    let file = pair.jobs[0].join("new");
    write_at(&file, "p", 1_020_000);
    write_at(&pair.there(&file), "q", 1_021_000);
    pair.sync(&[], 3);
    // One side knows only whole seconds: that is as near as can be told.
    write_at(&pair.there(&file), "q", 1_020_999);
    pair.sync(&[], 0);
    pair.check(&file, "p", "q");
    assert!(pair.sync(&["--checksum"], 3).contains("conflict"));
}
