//! Remotes in the settings.

use super::local::{Pair, write};
use std::fs;

#[test]
fn a_remote_is_found_from_everywhere_in_the_project() {
    let pair = Pair::new(1);
    let settings = || fs::read_to_string(pair.here.join("sweepfs.toml")).unwrap();
    let run = |dir, args: &[&str]| pair.env.run(dir, &[&["remote", "add"], args].concat());
    let job = &pair.jobs[0];
    run(job, &["disk", "./../../../there/"]).success();
    let url = format!("url = \"{}\"\n", pair.there.display());
    assert!(settings().contains(&url), "{}", settings());
    write(&job.join("new"), "2");
    pair.env.run(job, &["sync", "disk"]).success();
    pair.check(&job.join("new"), "2", "2");
    // What cannot be synced with yet is told.
    let ran = run(&pair.here, &["later", "../later"]);
    ran.success();
    let later = pair.here.with_file_name("later");
    let said = format!(
        "warning: there is no signac project at `{}`\nhint: ",
        later.display()
    );
    assert!(ran.stderr.contains(&said), "{ran:?}");
    let ran = run(&pair.here, &["--create", "now", "../now"]);
    assert!(
        ran.success().is_empty() && !ran.stderr.contains("warning"),
        "{ran:?}"
    );
    let before = settings();
    assert!(
        run(job, &["self", "../.."])
            .failure(1)
            .contains("are the same")
    );
    // What could be taken for an option, a path or an address is no name.
    for name in ["-x", "--all", ".", "..", "a/b", "a:b", "", "a\nb"] {
        run(&pair.here, &["--", name, "../there"]).failure(1);
    }
    assert_eq!(settings(), before);
}
