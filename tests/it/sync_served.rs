//! `sync` with a machine on which there is a `sweepfs`, too.

use super::support::env::{Env, write_job};
use super::support::ssh::Host;
use super::sync_ssh::a_run;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use sweepfs::report::Silent;
use sweepfs::sync::{
    Entry, FileCopy, Listing, LocalSide, Peer, Place, RelPath, RemoteOptions, RemoteSide, Side,
    Whose,
};
use sweepfs::workspace::Project;

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

    fn options(&self) -> RemoteOptions {
        RemoteOptions {
            host: "alpha".into(),
            path: "p [1]".into(),
            name: "alpha".into(),
            ssh: self.host.ssh().map(Into::into).into(),
            runtime_dir: self.env.path().join("run"),
            ..RemoteOptions::default()
        }
    }

    fn list(&self) -> (Listing, bool) {
        let remote = RemoteSide::open(self.options()).unwrap();
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

#[test]
fn kept_digests_are_not_believed_of_what_has_changed() {
    let Some(setup) = Setup::new() else { return };
    let here = setup.env.project("here");
    fs::create_dir(here.join(".sweepfs")).unwrap();
    let local = LocalSide::new(&Project::discover(&here).unwrap(), "here");
    let mut remote = RemoteSide::open(setup.options()).unwrap();
    let kept = [here.join(".sweepfs/digests"), here.join("digests of alpha")];
    remote.keep_digests(kept[1].clone());
    let jobs = [&here, &setup.there].map(|root| write_job(root, r#"{"a": 1}"#));
    for job in &jobs {
        fs::write(job.join("a\nb"), "12345").unwrap();
    }
    let id = jobs[0].file_name().unwrap().to_str().unwrap();
    let names = ["a\nb", "signac_statepoint.json", "none"];
    let place =
        |name: &str| Place::of_job(id.parse().unwrap(), RelPath::new(name.as_bytes()).unwrap());
    let places = names.map(place);
    let digests = || {
        let sides: [&dyn Side; 2] = [&local, &remote];
        sides.map(|side| side.digests(&places).unwrap())
    };
    let fresh = digests();
    assert!(fresh[0] == fresh[1] && fresh[0][0].is_some() && fresh[0][2].is_none());
    // What has just been changed is not kept.
    assert!(kept.iter().all(|path| !path.exists()));
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_eq!(digests(), fresh);
    assert!(kept.iter().all(|path| path.exists()));
    assert_eq!(digests(), fresh);
    // The size and the time are as before.
    for job in &jobs {
        let path = job.join("a\nb");
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "54321").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(modified).unwrap();
    }
    let now = digests();
    assert!(now[0] == now[1] && now[0][0] != fresh[0][0] && now[0][1] == fresh[0][1]);
    for path in &kept {
        fs::write(path, "sweepfs digests 1\nno more").unwrap();
    }
    assert_eq!(digests(), now);
}

#[test]
fn many_files_get_their_places_together() {
    let Some(setup) = Setup::new() else { return };
    let here = setup.env.project("here");
    let local = LocalSide::new(&Project::discover(&here).unwrap(), "here");
    let remote = RemoteSide::open(setup.options()).unwrap();
    let jobs = [&here, &setup.there].map(|root| write_job(root, r#"{"a": 1}"#));
    let entry = |path: &RelPath| -> Entry {
        let tree = remote.list(&Silent).unwrap().tree;
        tree.jobs[0].get(path).unwrap().clone()
    };
    let names: Vec<_> = (0..60).map(|n| format!("d{}/-a b\n{n}", n % 7)).collect();
    for name in &names {
        let dir = name.split('/').next().unwrap();
        jobs.iter()
            .for_each(|job| fs::create_dir_all(job.join(dir)).unwrap());
        fs::write(jobs[0].join(name), format!("new {name}")).unwrap();
    }
    // Every second one replaces something.
    for name in names.iter().skip(1).step_by(2) {
        fs::write(jobs[1].join(name), "old").unwrap();
    }
    let id = jobs[0]
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let (ours, theirs) = (local.list(&Silent).unwrap(), remote.list(&Silent).unwrap());
    let copies: Vec<_> = names
        .iter()
        .map(|name| {
            let path = RelPath::new(name.as_bytes()).unwrap();
            FileCopy {
                source: ours.tree.jobs[0].get(&path).unwrap().clone(),
                before: theirs.tree.jobs[0].get(&path).cloned(),
                place: Place::of_job(id, path),
            }
        })
        .collect();
    let push = |copies: &[FileCopy]| {
        let run = a_run();
        let failed = Mutex::new(Vec::new());
        let done = |at: usize, outcome: Result<Option<Entry>, String>| match outcome {
            Ok(found) => assert_eq!(found.unwrap().content, copies[at].source.content),
            Err(_) => failed.lock().unwrap().push(at),
        };
        remote
            .copy_files(&local, Whose::Remote, &run, copies, &done)
            .unwrap();
        let mut failed = failed.into_inner().unwrap();
        failed.sort_unstable();
        failed
    };
    assert_eq!(push(&copies), [0; 0]);
    let trash = setup
        .there
        .join(".sweepfs/trash/test-1/workspace")
        .join(jobs[1].file_name().unwrap());
    for (n, name) in names.iter().enumerate() {
        assert_eq!(
            fs::read(jobs[1].join(name)).unwrap(),
            format!("new {name}").into_bytes()
        );
        let kept = fs::read(trash.join(name)).ok();
        assert_eq!(kept.as_deref(), (n % 2 == 1).then_some(b"old".as_slice()));
    }
    // They are there by now, and are not what was listed; a new version of each is kept once more.
    assert_eq!(push(&copies).len(), 60);
    let again: Vec<_> = copies
        .iter()
        .map(|copy| FileCopy {
            before: Some(entry(&copy.place.path)),
            ..copy.clone()
        })
        .take(20)
        .collect();
    assert_eq!(push(&again), [0; 0]);
    assert_eq!(
        fs::read(trash.join(format!("{}~2", names[1]))).unwrap(),
        format!("new {}", names[1]).into_bytes()
    );
}
