//! `sync` with a machine on which there is a `sweepfs`, too.

use super::support::env::{Env, write_job};
use super::support::ssh::Host;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use sweepfs::report::Silent;
use sweepfs::sync::{Listing, RemoteOptions, RemoteSide, Side};

struct Setup {
    host: Host,
    env: Env,
    there: PathBuf,
}

impl Setup {
    fn new() -> Option<Self> {
        let env = Env::new();
        let host = Host::up(&env, "alpha")?;
        let there = host.home().join("p [1]");
        fs::create_dir_all(there.join(".signac")).unwrap();
        fs::write(there.join(".signac/config"), "schema_version = 2\n").unwrap();
        fs::create_dir(host.home().join("bin")).unwrap();
        fs::write(host.home().join(".bashrc"), "PATH=~/bin:$PATH\n").unwrap();
        Some(Self { host, env, there })
    }

    /// Puts a script in the place of `sweepfs` there.
    fn install(&self, script: &str) {
        let path = self.host.home().join("bin/sweepfs");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn list(&self) -> (Listing, bool) {
        let remote = RemoteSide::open(RemoteOptions {
            host: "alpha".into(),
            path: "p [1]".into(),
            name: "alpha".into(),
            ssh: self.host.ssh().map(Into::into).into(),
            runtime_dir: self.env.path().join("run"),
            ..RemoteOptions::default()
        });
        let remote = remote.unwrap();
        let listing = remote.list(&Silent).unwrap();
        (listing, remote.facts().unwrap().is_served)
    }
}

/// Makes jobs with all that can be in one, and what is none.
fn fill(root: &Path) {
    let job = write_job(root, r#"{"a": 1}"#);
    for name in ["-rf", "a\nb", "#x", "\u{1}", "._.DS_Store"] {
        fs::write(job.join(name), name).unwrap();
    }
    let uuid = "0b0b7a1e-8a1c-4f5e-9d3e-2b7f3f0e6a11";
    fs::write(job.join(format!("._{uuid}_x_sweepfs-sync")), "").unwrap();
    fs::write(job.join(format!("._{uuid}_document")), "").unwrap();
    fs::create_dir_all(job.join("d/-e/empty")).unwrap();
    fs::write(job.join("d/-e/f"), "deep").unwrap();
    fs::set_permissions(job.join("d/-e/f"), fs::Permissions::from_mode(0o4751)).unwrap();
    symlink("/etc", job.join("link")).unwrap();
    symlink("f\n", job.join("d/-e/other\nlink")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        job.join("d/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let old = fs::File::options()
        .write(true)
        .open(job.join("-rf"))
        .unwrap();
    let before_1970 = std::time::UNIX_EPOCH - std::time::Duration::from_nanos(1_500_000_001);
    old.set_modified(before_1970).unwrap();
    write_job(root, r#"{"a": 2}"#);
    let workspace = root.join("workspace");
    let id = |n: u8| char::from(n).to_string().repeat(32);
    fs::create_dir(workspace.join(id(b'0'))).unwrap();
    fs::write(workspace.join(id(b'1')), "a file").unwrap();
    symlink(&job, workspace.join(id(b'2'))).unwrap();
    fs::create_dir(workspace.join(id(b'A'))).unwrap();
    fs::create_dir(workspace.join("notes")).unwrap();
    fs::write(root.join("signac_project_document.json"), "{}").unwrap();
}

#[test]
fn sweepfs_lists_there_what_find_lists() {
    let Some(setup) = Setup::new() else { return };
    let (none, _) = setup.list();
    assert!(!none.has_workspace);
    setup.install(&format!("exec {} \"$@\"", env!("CARGO_BIN_EXE_sweepfs")));
    let (served, is_served) = setup.list();
    assert!(is_served && !served.has_workspace);
    fill(&setup.there);
    let (served, _) = setup.list();
    assert!(served.tree.jobs.len() == 2 && served.tree.document.is_some());
    assert_eq!((served.left_out.len(), served.leftovers.len()), (3, 1));
    fs::remove_file(setup.host.home().join("bin/sweepfs")).unwrap();
    let (found, is_served) = setup.list();
    assert!(!is_served);
    assert_eq!(format!("{served:?}"), format!("{found:?}"));
}

#[test]
fn who_does_not_serve_well_is_not_asked() {
    let Some(setup) = Setup::new() else { return };
    fill(&setup.there);
    let (expected, _) = setup.list();
    let expected = format!("{expected:?}");
    let list = "sweepfs sync list 1\\n";
    for script in [
        // Another protocol, or an old one that does not know the word.
        "echo 'sweepfs sync 0'",
        "echo 'error: unrecognized subcommand' >&2; exit 2",
    ] {
        setup.install(script);
        let (listing, is_served) = setup.list();
        assert!(!is_served && format!("{listing:?}") == expected, "{script}");
    }
    for lists in [
        // One that fails, is cut off, says nonsense, or leads out of its job.
        "exit 1".to_owned(),
        format!("printf '{list}'"),
        "echo hello".to_owned(),
        format!("printf '{list}\\017\\0\\0\\0W\\0\\0\\007\\000f\\0\\0041/..\\0\\0\\0'"),
        // Without an end there may be more.
        format!("printf '{list}\\0\\0\\0\\0'; exit 3"),
    ] {
        setup.install(&format!(
            "[ \"$2\" = list ] || {{ echo 'sweepfs sync 1'; exit; }}\n{lists}"
        ));
        let (listing, is_served) = setup.list();
        assert!(!is_served && format!("{listing:?}") == expected, "{lists}");
    }
}
