//! `sync` with other machines, over a real ssh.

use super::support::env::{Env, Ran, is_left_by_sync, n_jobs, write_job};
use super::support::random::Random;
use super::support::ssh::Host;
use super::support::wait_until;
use super::sync::killed::{check_whole, edit};
use super::sync::model::{Space, play_over_ssh};
use super::sync::undo::{kill_when_it_has_begun, play, same, snapshot};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use sweepfs::report::Silent;
use sweepfs::sync::{
    Entry, FileCopy, FoundText, JobCopy, LocalSide, NewText, Pace, Peer, Place, RelPath,
    RemoteOptions, RemoteSide, Removal, Run, Side, Stamp, SyncError, Tree, Whose,
};
use sweepfs::workspace::Project;

/// The name of the project there, with all that a shell or `rsync` could stumble over.
const ROOT: &str = "a b'c [1]*\\$x";

pub(crate) struct Setup {
    pub(crate) host: Host,
    pub(crate) env: Env,
    pub(crate) here: PathBuf,
    pub(crate) there: PathBuf,
}

impl Setup {
    /// A project here and one there.
    pub(crate) fn new() -> Option<Self> {
        let env = Env::new();
        let host = Host::up(&env, "alpha")?;
        let here = env.project("here");
        let there = host.home().join(ROOT);
        fs::create_dir_all(there.join(".signac")).unwrap();
        fs::write(there.join(".signac/config"), "schema_version = 2\n").unwrap();
        Some(Self {
            host,
            env,
            here,
            there,
        })
    }

    pub(crate) fn options(&self) -> RemoteOptions {
        RemoteOptions {
            host: "alpha".into(),
            path: ROOT.into(),
            name: "alpha".into(),
            ssh: self.host.ssh().map(Into::into).into(),
            runtime_dir: self.env.path().join("run"),
            ..RemoteOptions::default()
        }
    }

    pub(crate) fn remote(&self) -> RemoteSide {
        RemoteSide::open(self.options()).unwrap()
    }

    pub(crate) fn local(&self) -> LocalSide {
        LocalSide::new(&Project::discover(&self.here).unwrap(), "here")
    }
}

pub(crate) fn a_run() -> Run {
    Run {
        id: "test-1".into(),
        now: 0,
        takes_growing: false,
        pace: Pace::default(),
    }
}

/// What is in a directory: of each file its content, but not what a sync leaves for the next one.
pub(crate) fn contents(dir: &Path) -> BTreeMap<Vec<u8>, String> {
    use std::os::unix::ffi::OsStrExt;
    let (mut found, mut dirs) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(at) = dirs.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if is_left_by_sync(path.file_name().unwrap()) {
                continue;
            }
            let name = path
                .strip_prefix(dir)
                .unwrap()
                .as_os_str()
                .as_bytes()
                .to_vec();
            if path.is_symlink() {
                let text = fs::read_link(&path).unwrap();
                found.insert(name, format!("-> {}", text.display()));
            } else if path.is_dir() {
                found.insert(name, "directory".into());
                dirs.push(path);
            } else {
                found.insert(
                    name,
                    String::from_utf8_lossy(&fs::read(&path).unwrap()).into(),
                );
            }
        }
    }
    found
}

/// Puts files with all kinds of names into a job.
fn fill(job: &Path) {
    for name in ["-rf", "a\nb", "a b'\"", "#x", "*", "..."] {
        fs::write(job.join(name), format!("content of {name}")).unwrap();
    }
    fs::create_dir_all(job.join("d/-e/empty")).unwrap();
    fs::write(job.join("d/-e/f;g"), "deep").unwrap();
    std::os::unix::fs::symlink("../../../etc", job.join("link")).unwrap();
    std::os::unix::fs::symlink("f;g", job.join("d/-e/other\nlink")).unwrap();
}

pub(crate) fn jobs_of(tree: &Tree) -> Vec<JobCopy> {
    let jobs = tree.jobs.iter();
    jobs.map(|job| JobCopy {
        id: job.id,
        entries: job.entries.clone(),
    })
    .collect()
}

/// Calls something that answers for each of some items.
pub(crate) fn collect<T: Clone + Send>(
    n: usize,
    call: impl FnOnce(&(dyn Fn(usize, Result<T, String>) + Sync)) -> Result<(), SyncError>,
) -> Vec<Result<T, String>> {
    let found: Mutex<Vec<Option<Result<T, String>>>> = Mutex::new(vec![None; n]);
    call(&|at, result| found.lock().unwrap()[at] = Some(result)).unwrap();
    let found = found.into_inner().unwrap().into_iter();
    found
        .map(|result| result.expect("an answer for each"))
        .collect()
}

#[test]
fn jobs_arrive_whole_in_both_directions() {
    let Some(setup) = Setup::new() else { return };
    let (remote, local) = (setup.remote(), setup.local());
    let job_here = write_job(&setup.here, r#"{"a": 1}"#);
    fill(&job_here);
    let job_there = write_job(&setup.there, r#"{"a": 2}"#);
    fill(&job_there);
    let (tree_here, tree_there) = (
        local.list(&Silent).unwrap().tree,
        remote.list(&Silent).unwrap().tree,
    );
    assert_eq!(
        tree_here.jobs[0].entries.len(),
        tree_there.jobs[0].entries.len()
    );
    for (to, tree) in [(Whose::Remote, &tree_here), (Whose::Local, &tree_there)] {
        let jobs = jobs_of(tree);
        let done = collect(1, |done| {
            remote.copy_jobs(&local, to, &a_run(), &jobs, done)
        });
        let entries: Vec<Entry> = done[0].clone().unwrap();
        for (arrived, (path, listed)) in entries.iter().zip(&jobs[0].entries) {
            assert_eq!(arrived.agrees(listed), Some(true), "{path}");
        }
        let again = collect::<Vec<Entry>>(1, |done| {
            remote.copy_jobs(&local, to, &a_run(), &jobs, done)
        });
        again[0].as_ref().unwrap_err();
    }
    remote.settle(&a_run());
    assert_eq!(
        contents(&setup.here.join("workspace")),
        contents(&setup.there.join("workspace"))
    );
    assert_eq!(
        local.list(&Silent).unwrap().tree,
        remote.list(&Silent).unwrap().tree
    );
}

#[test]
fn files_are_replaced_if_they_are_as_listed() {
    let Some(setup) = Setup::new() else { return };
    let (remote, local) = (setup.remote(), setup.local());
    for root in [&setup.here, &setup.there] {
        let job = write_job(root, r#"{"a": 1}"#);
        fs::write(job.join("same"), "old").unwrap();
        fs::write(job.join("-changed\n"), "old").unwrap();
    }
    let id = local.list(&Silent).unwrap().tree.jobs[0].id;
    let place = |name: &str| Place::of_job(id, RelPath::new(name.as_bytes()).unwrap());
    for (to, root, other) in [
        (Whose::Remote, &setup.here, &setup.there),
        (Whose::Local, &setup.there, &setup.here),
    ] {
        let (job, target) = (
            root.join("workspace").join(id.to_string()),
            other.join("workspace").join(id.to_string()),
        );
        fs::create_dir_all(job.join("new dir")).unwrap();
        for name in ["same", "-changed\n", "new dir/x", "new"] {
            fs::write(job.join(name), format!("from {to}")).unwrap();
        }
        // Only their contents tell them apart.
        for (dir, text) in [(&job, "source"), (&target, "target")] {
            fs::write(dir.join("twin"), text).unwrap();
            let file = fs::File::options().write(true).open(dir.join("twin"));
            let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            file.unwrap().set_modified(time).unwrap();
        }
        let listed = |side: &dyn Side| side.list(&Silent).unwrap().tree.jobs.remove(0);
        let (source, before) = match to {
            Whose::Remote => (listed(&local), listed(&remote)),
            Whose::Local => (listed(&remote), listed(&local)),
        };
        fs::write(target.join("-changed\n"), format!("meanwhile {to}")).unwrap();
        let names = ["new dir", "new dir/x", "new", "same", "twin", "-changed\n"];
        let copies = names.map(|name| FileCopy {
            place: place(name),
            source: source.get(&place(name).path).unwrap().clone(),
            before: before.get(&place(name).path).cloned(),
        });
        let done = collect(6, |done| {
            remote.copy_files(&local, to, &a_run(), &copies, done)
        });
        assert!(done[..5].iter().all(Result::is_ok), "{done:?}");
        assert!(done[5].as_ref().unwrap_err().contains("changed meanwhile"));
        let found = contents(&target);
        assert_eq!(found[&b"new dir/x"[..]], format!("from {to}"));
        assert_eq!(found[&b"same"[..]], format!("from {to}"));
        assert_eq!(found[&b"twin"[..]], "source");
        assert_eq!(found[&b"-changed\n"[..]], format!("meanwhile {to}"));
        let trash = other
            .join(".sweepfs/trash/test-1/workspace")
            .join(id.to_string());
        assert!(contents(&trash).contains_key(&b"same"[..]));
        for root in [root, other] {
            fs::remove_dir_all(root.join("workspace").join(id.to_string()).join("new dir"))
                .unwrap();
            fs::remove_file(root.join("workspace").join(id.to_string()).join("new")).unwrap();
        }
    }
}

#[test]
fn what_is_changed_during_the_transfer_stays() {
    use std::os::unix::fs::PermissionsExt;
    let Some(setup) = Setup::new() else { return };
    let job = write_job(&setup.here, r#"{"a": 1}"#);
    let target = write_job(&setup.there, r#"{"a": 1}"#);
    fs::write(target.join("edited"), "old").unwrap();
    for name in ["edited", "new", "dir/other"] {
        fs::create_dir_all(job.join("dir")).unwrap();
        fs::write(job.join(name), "from here").unwrap();
    }
    // Somebody there works on two of them when everything is about to arrive.
    let id = job.file_name().unwrap().to_str().unwrap();
    let program = format!(
        "#!/bin/sh\ncd *x/workspace/{id} && echo theirs >edited && echo theirs >new\ncd; exec rsync \"$@\"\n"
    );
    let path = setup.host.home().join("busy");
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let remote = RemoteSide::open(RemoteOptions {
        rsync: Some("./busy".into()),
        ..setup.options()
    });
    let (remote, local) = (remote.unwrap(), setup.local());
    let listed = |side: &dyn Side| side.list(&Silent).unwrap().tree.jobs.remove(0);
    let (source, before) = (listed(&local), listed(&remote));
    let copies = ["dir", "dir/other", "edited", "new"].map(|name| {
        let path = RelPath::new(name.as_bytes()).unwrap();
        FileCopy {
            source: source.get(&path).unwrap().clone(),
            before: before.get(&path).cloned(),
            place: Place::of_job(source.id, path),
        }
    });
    let push = || {
        collect(4, |done| {
            remote.copy_files(&local, Whose::Remote, &a_run(), &copies, done)
        })
    };
    let done = push();
    assert!(done[0].is_ok() && done[1].is_ok(), "{done:?}");
    assert!(done[2..].iter().all(Result::is_err), "{done:?}");
    let found = contents(&target);
    let text = |name: &[u8]| found[name].as_str();
    assert_eq!((text(b"edited"), text(b"new")), ("theirs\n", "theirs\n"));
    assert_eq!(text(b"dir/other"), "from here");
}

#[test]
fn what_grows_here_never_arrives_half_written() {
    let Some(setup) = Setup::new() else { return };
    let job = write_job(&setup.here, r#"{"a": 1}"#);
    let target = write_job(&setup.there, r#"{"a": 1}"#);
    fs::write(target.join("log"), "old").unwrap();
    fs::write(job.join("log"), "one").unwrap();
    let (remote, local) = (setup.remote(), setup.local());
    let listed = |side: &dyn Side| side.list(&Silent).unwrap().tree.jobs.remove(0);
    let path = RelPath::new(b"log").unwrap();
    let copy = FileCopy {
        source: listed(&local).get(&path).unwrap().clone(),
        before: listed(&remote).get(&path).cloned(),
        place: Place::of_job(listed(&local).id, path),
    };
    fs::write(job.join("log"), "one, tw").unwrap();
    let done = collect(1, |done| {
        remote.copy_files(&local, Whose::Remote, &a_run(), &[copy], done)
    });
    assert!(done[0].is_err(), "{done:?}");
    assert_eq!(contents(&target)[&b"log"[..]], "old");
}

#[test]
fn small_files_are_read_written_renamed_and_removed_there() {
    let Some(setup) = Setup::new() else { return };
    let remote = setup.remote();
    let job = write_job(&setup.there, r#"{"a": 1}"#);
    fs::write(job.join("old\n-"), "old").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", job.join("link")).unwrap();
    fs::create_dir_all(job.join("full/empty")).unwrap();
    let tree = remote.list(&Silent).unwrap().tree.jobs.remove(0);
    let place = |name: &str| Place::of_job(tree.id, RelPath::new(name.as_bytes()).unwrap());
    let places = ["old\n-", "link", "none", "signac_statepoint.json"].map(place);
    let found = remote.read_many(&places).unwrap();
    let entry = |name: &str| tree.get(&place(name).path).unwrap().clone();
    assert_eq!(found[0], FoundText::Text(b"old".to_vec(), entry("old\n-")));
    assert_eq!(found[1..3], [FoundText::Absent, FoundText::Absent]);
    assert!(matches!(&found[3], FoundText::Text(bytes, _) if bytes == br#"{"a": 1}"#));
    let digests = remote.digests(&places).unwrap();
    fs::write(
        setup
            .there
            .join("workspace")
            .join(format!("{}/a\\\nb", tree.id)),
        "old",
    )
    .unwrap();
    assert_eq!(remote.digests(&[place("a\\\nb")]).unwrap()[0], digests[0]);
    assert!(digests[0].is_some() && digests[2].is_none() && digests[0] != digests[3]);

    let text = |name: &str, bytes: &[u8], before| NewText {
        place: place(name),
        bytes: bytes.to_vec(),
        modified: Some(1_700_000_000_123_456_789),
        before,
    };
    let other = Entry {
        mode: 0o644,
        content: sweepfs::sync::Content::File {
            size_bytes: 3,
            modified: 1,
        },
    };
    let texts = [
        text("old\n-", b"new\n\0x", Some(entry("old\n-"))),
        text("signac_statepoint.json", b"x", Some(other)),
        text("fresh", b"", None),
        text("link", b"x", None),
        text("link/x", b"x", None),
        text("sweepfs_flow.json", b"{}", None),
    ];
    let done = collect(6, |done| remote.write_many(&a_run(), &texts, done));
    let written = done[0].clone().unwrap().unwrap();
    assert_eq!(
        (written.size_bytes(), written.modified()),
        (6, Some(1_700_000_000_123_456_789))
    );
    assert!(
        done[1].is_err() && done[3].is_err() && done[4].is_err(),
        "{done:?}"
    );
    assert!(done[2].is_ok() && done[5].is_ok(), "{done:?}");
    assert_eq!(fs::read(job.join("old\n-")).unwrap(), b"new\n\0x");

    let removal = |name: &str, before: &Entry| Removal {
        place: place(name),
        before: before.clone(),
    };
    let renames = [
        (
            removal("fresh", done[2].as_ref().unwrap().as_ref().unwrap()),
            place("-y").path,
        ),
        (removal("old\n-", &written), place("link").path),
    ];
    let done = collect(2, |done| remote.rename_many(&a_run(), &renames, done));
    assert!(
        done[0].is_ok() && done[1].is_err() && job.join("-y").exists(),
        "{done:?}"
    );

    let removals = [
        removal("full", &entry("full")),
        removal("full/empty", &entry("full/empty")),
        removal("link", &entry("link")),
        removal("old\n-", &entry("old\n-")),
    ];
    let done = collect(4, |done| remote.remove_many(&a_run(), &removals, done));
    assert!(
        done[..3].iter().all(Result::is_ok) && done[3].is_err(),
        "{done:?}"
    );
    assert!(!job.join("full").exists() && !job.join("link").is_symlink());

    // As it is here, a directory that is not empty stays, and that is told.
    fs::create_dir_all(job.join("full/other")).unwrap();
    let full = entry("full");
    let done = collect(1, |done| {
        remote.remove_many(&a_run(), &[removal("full", &full)], done)
    });
    assert_eq!(done[0], Ok(Some(full)));
    fs::remove_dir_all(job.join("full")).unwrap();

    // More than xargs(1) takes at once, with names so long that it would cut an item in two.
    let names = (0..500).map(|n| format!("{n:0>200}/{n:0>201}"));
    let names: Vec<_> = names.collect();
    for name in &names {
        fs::create_dir(job.join(&name[..200])).unwrap();
        fs::write(job.join(name), "").unwrap();
    }
    let tree_now = remote.list(&Silent).unwrap().tree.jobs.remove(0);
    let entry_now = |name: &str| tree_now.get(&place(name).path).unwrap().clone();
    let removals: Vec<_> = names
        .iter()
        .map(|name| removal(name, &entry_now(name)))
        .collect();
    let done = collect(500, |done| remote.remove_many(&a_run(), &removals, done));
    assert!(done.iter().all(Result::is_ok), "{done:?}");

    let pair = uuid::Uuid::from_bytes([7; 16]);
    assert_eq!(remote.stamp(pair).unwrap(), None);
    for number in [1, 300] {
        remote.set_stamp(Stamp { pair, number }).unwrap();
        assert_eq!(remote.stamp(pair).unwrap(), Some(number));
    }

    let done = collect(1, |done| {
        remote.remove_jobs(&a_run(), std::slice::from_ref(&tree), done)
    });
    assert!(
        done[0].as_ref().unwrap_err().contains("changed meanwhile") && job.exists(),
        "{done:?}"
    );
    let now = remote.list(&Silent).unwrap().tree.jobs.remove(0);
    let done = collect(1, |done| remote.remove_jobs(&a_run(), &[now], done));
    assert!(done[0].is_ok() && !job.exists(), "{done:?}");
    let trash = contents(&setup.there.join(".sweepfs/trash/test-1/workspace"));
    let kept = |name: &str| trash[name.as_bytes()].as_str();
    let id = tree.id;
    assert_eq!(kept(&format!("{id}/old\n-")), "old");
    assert_eq!(kept(&format!("{id}~2/old\n-")), "new\n\0x");
}

#[test]
fn remotes_are_added_checked_and_removed() {
    let Some(setup) = Setup::new() else { return };
    let run = |args: &[&str]| setup.env.run(&setup.here, args);
    let file = setup.here.join("sweepfs.toml");
    let [_, _, config] = setup.host.ssh();
    let before = "# mine\n[label]\ngood = \"a>1\" # good";
    fs::write(&file, before).unwrap();
    run(&["remote", "add", "near", "../near", "--create"]).success();
    run(&[
        "remote",
        "add",
        "a b",
        &format!("alpha:{ROOT}"),
        "--exclude",
        "*.tmp",
    ])
    .success();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(before), "{text}");
    let list = run(&["remote", "list"]);
    let lines: Vec<_> = list.success().lines().collect();
    assert!(
        lines[0].starts_with("a b") && lines[0].contains("alpha:"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("near") && lines[1].ends_with("never synced"),
        "{lines:?}"
    );
    let near = run(&["remote", "check", "near"]);
    assert!(near.success().starts_with("good     near: a project at"));
    run(&["remote", "add", "near", "x"]).failure(4);
    run(&["remote", "add", "c", "-oProxyCommand=x:y"]).failure(2);
    run(&["remote", "add", "c:d", "x"]).failure(1);
    run(&["remote", "remove", "neat"]).failure(2);
    run(&["remote", "remove", "near"]).success();
    assert!(!fs::read_to_string(&file).unwrap().contains("near"));
    // The machine is one that only the test's settings of ssh know.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        format!("{text}ssh = [\"ssh\", \"-F\", \"{config}\"]\n"),
    )
    .unwrap();
    write_job(&setup.there, r#"{"a": 1}"#);
    let found = run(&["remote", "check"]);
    let lines: Vec<_> = found.success().lines().collect();
    assert!(
        lines[0].starts_with("good     a b: 1 job in `/"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("good     a b: rsync 3."), "{lines:?}");
    assert_eq!(
        lines[2],
        "good     a b: no sweepfs there, and none is needed"
    );
    let missing = format!(
        "{text}ssh = [\"ssh\", \"-F\", \"{config}\"]\n[remote.x]\nurl = \"alpha:x\"\nssh = [\"ssh\", \"-F\", \"{config}\"]\n"
    );
    fs::write(&file, missing).unwrap();
    let ran = run(&["remote", "check", "x"]);
    assert!(
        ran.failure(1)
            .contains("there is no directory `x` on `alpha`"),
        "{ran:?}"
    );
}

#[test]
fn what_the_shell_there_prints_is_skipped() {
    let Some(setup) = Setup::new() else { return };
    fs::write(
        setup.host.home().join(".bashrc"),
        "echo Welcome to alpha; printf 'no newline'; echo >&2 quota\n",
    )
    .unwrap();
    let job = write_job(&setup.there, r#"{"a": 1}"#);
    fs::write(job.join("x"), "x").unwrap();
    assert!(setup.host.run("true").success().contains("Welcome"));
    let (remote, local) = (setup.remote(), setup.local());
    let jobs = jobs_of(&remote.list(&Silent).unwrap().tree);
    let done = collect(1, |done| {
        remote.copy_jobs(&local, Whose::Local, &a_run(), &jobs, done)
    });
    assert!(done[0].is_ok(), "{done:?}");
    assert_eq!(
        contents(&setup.here.join("workspace")),
        contents(&setup.there.join("workspace"))
    );
}

#[test]
fn a_machine_that_lets_nobody_in_is_named() {
    let Some(setup) = Setup::new() else { return };
    let mut options = setup.options();
    options
        .ssh
        .extend(["-o".into(), "PubkeyAuthentication=no".into()]);
    let error = RemoteSide::open(options).unwrap_err();
    let SyncError::Failed { message, hint } = error else {
        panic!("{error}")
    };
    assert!(
        message.contains("no connection to `alpha`") && message.contains("Permission denied"),
        "{message}"
    );
    assert!(hint.unwrap().contains("ssh-agent"));
    let mut options = setup.options();
    options.host = "-oProxyCommand=touch x".into();
    RemoteSide::open(options).unwrap_err();
}

#[test]
fn two_syncs_with_one_machine_wait_for_each_other() {
    let Some(setup) = Setup::new() else { return };
    let (mut one, mut other) = (setup.remote(), setup.remote());
    one.lock().unwrap();
    let error = other.lock().unwrap_err();
    assert!(
        matches!(&error, SyncError::Locked { pid: Some(pid), .. } if pid.ends_with(" on alpha")),
        "{error}"
    );
    drop(one);
    other.lock().unwrap();
}

/// An `ssh` that runs what it is given on this machine, with some programs in front of others.
pub(crate) fn pretending(setup: &Setup, programs: &[(&str, &str)]) -> RemoteOptions {
    let bin = setup.env.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let program = |name: &str, text: &str| {
        let script = setup.env.path().join("script");
        fs::write(&script, format!("#!/bin/bash\n{text}\n")).unwrap();
        let mut install = std::process::Command::new("install");
        install.args(["-m", "755"]).arg(script).arg(bin.join(name));
        assert!(install.status().unwrap().success());
    };
    for (name, text) in programs {
        program(name, text);
    }
    let bin = bin.display();
    program(
        "ssh",
        &format!(
            "case \" $* \" in *' -O '*) exit 255;; esac\ncd\nPATH={bin}:$PATH exec bash -c \"${{@: -1}}\""
        ),
    );
    RemoteOptions {
        ssh: vec![format!("{bin}/ssh").into()],
        path: setup.there.to_str().unwrap().into(),
        ..setup.options()
    }
}

/// One with a `find` that lies: what it says of the files is what a command prints.
pub(crate) fn lying(setup: &Setup, command: &str) -> RemoteOptions {
    let find = format!(
        "case \"$*\" in --version) echo GNU;; *-mindepth*) {command};; *) exec /usr/bin/find \"$@\";; esac"
    );
    pretending(setup, &[("find", &find)])
}

#[test]
fn names_that_lead_out_are_not_believed() {
    let Some(setup) = Setup::new() else { return };
    let job = write_job(&setup.there, r#"{"a": 1}"#);
    let id = job.file_name().unwrap().to_str().unwrap();
    for name in [
        format!("{id}/../../x"),
        "../x".to_owned(),
        "/etc/x".to_owned(),
        format!("{id}/"),
    ] {
        let lie = format!("printf 'f\\0001\\0001.0\\000644\\0001\\000{name}\\000\\000'");
        let remote = RemoteSide::open(lying(&setup, &lie)).unwrap();
        let error = remote.list(&Silent).unwrap_err().to_string();
        assert!(
            error.contains("makes no sense") && error.contains(&name),
            "{error}"
        );
    }
    // A connection that ends in the middle is not a shorter list.
    let remote = RemoteSide::open(lying(&setup, &format!("printf 'd\\0001\\000{id}'"))).unwrap();
    remote.list(&Silent).unwrap_err();
}

#[test]
fn a_full_disk_there_loses_nothing() {
    let Some(setup) = Setup::new() else { return };
    let (local, job) = (setup.local(), write_job(&setup.here, r#"{"a": 1}"#));
    let mount = setup.host.run(&format!(
        "cd {} && mkdir workspace && mount -t tmpfs -o size=256k none workspace",
        "'a b'\\''c [1]*\\$x'"
    ));
    mount.success();
    let remote = setup.remote();
    fs::write(job.join("small"), "old").unwrap();
    let copy = |tree: &Tree| {
        let jobs = jobs_of(tree);
        collect(jobs.len(), |done| {
            remote.copy_jobs(&local, Whose::Remote, &a_run(), &jobs, done)
        })
    };
    let tree = local.list(&Silent).unwrap().tree;
    assert!(copy(&tree)[0].is_ok());
    fs::write(job.join("small"), "new").unwrap();
    fs::write(job.join("large"), "x".repeat(1 << 20)).unwrap();
    let large = write_job(&setup.here, r#"{"a": 2}"#);
    fs::write(large.join("large"), "x".repeat(1 << 20)).unwrap();
    let (here, there) = (
        local.list(&Silent).unwrap().tree,
        remote.list(&Silent).unwrap().tree,
    );
    let at = here
        .jobs
        .iter()
        .position(|job| job.id == tree.jobs[0].id)
        .unwrap();
    let arrived = copy(&Tree {
        document: None,
        jobs: vec![here.jobs[1 - at].clone()],
    });
    let told = arrived[0].as_ref().unwrap_err();
    assert!(
        told.contains("No space left") && !told.contains("changed"),
        "{told}"
    );
    let name = |name: &str| RelPath::new(name.as_bytes()).unwrap();
    let copies = ["large", "small"].map(|file| FileCopy {
        place: Place::of_job(here.jobs[at].id, name(file)),
        source: here.jobs[at].get(&name(file)).unwrap().clone(),
        before: there.jobs[0].get(&name(file)).cloned(),
    });
    let done = collect(2, |done| {
        remote.copy_files(&local, Whose::Remote, &a_run(), &copies, done)
    });
    assert!(
        done[0].as_ref().unwrap_err().contains("No space left"),
        "{done:?}"
    );
    let texts = [NewText {
        place: Place::of_job(here.jobs[at].id, name("text")),
        bytes: vec![b'x'; 1 << 20],
        modified: None,
        before: None,
    }];
    let done = collect(1, |done| remote.write_many(&a_run(), &texts, done));
    assert!(
        done[0].as_ref().unwrap_err().contains("No space left"),
        "{done:?}"
    );
    // What is there is old or new, and whole.
    let found = remote.list(&Silent).unwrap().tree;
    assert_eq!(found.jobs.len(), 1);
    let names: Vec<_> = found.jobs[0]
        .entries
        .iter()
        .map(|(path, _)| path.to_string())
        .collect();
    assert_eq!(names, ["signac_statepoint.json", "small"]);
    assert_eq!(found.jobs[0].get(&name("small")).unwrap().size_bytes(), 3);
}

#[test]
fn a_laptop_and_two_machines_end_equal_and_no_edit_is_lost() {
    let env = Env::new();
    let Some(a) = Host::up(&env, "alpha") else {
        return;
    };
    let Some(b) = Host::up(&env, "beta") else {
        return;
    };
    let there = |host: &Host| {
        let options = RemoteOptions {
            host: host.name.clone(),
            path: ROOT.into(),
            name: host.name.clone(),
            ssh: host.ssh().map(Into::into).into(),
            runtime_dir: env.path().join("run"),
            ..RemoteOptions::default()
        };
        Space::there(host.home().join(ROOT), options)
    };
    play_over_ssh(env.path().join("laptop"), [there(&a), there(&b)], 77, 10);
}

impl Setup {
    /// Tells the project how the machine is reached.
    pub(crate) fn configure(&self) {
        let [_, _, config] = self.host.ssh();
        let text = format!(
            "[remote.alpha]\nurl = 'alpha:{}'\nssh = ['ssh', '-F', '{config}']\n",
            "a b c"
        );
        fs::write(self.here.join("sweepfs.toml"), text).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.env.command(&self.here, args);
        command.env("XDG_RUNTIME_DIR", self.env.path().join("x"));
        command
    }

    /// The processes here that have to do with the connection: `ssh` and `rsync`.
    fn helpers(&self) -> Vec<i32> {
        let path = self.env.path();
        let path = path.to_str().unwrap();
        let is_helper = |pid: &i32| {
            let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let program = text.split(['\0', ' ']).next().unwrap_or_default();
            matches!(program, "ssh" | "ssh:" | "rsync") && text.contains(path)
        };
        let names = fs::read_dir("/proc")
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let pids = names.filter_map(|name| name.to_str().and_then(|name| name.parse().ok()));
        pids.filter(is_helper).collect()
    }
}

#[test]
fn a_sync_that_is_cut_off_is_completed_by_the_next() {
    let Some(mut setup) = Setup::new() else {
        return;
    };
    setup.there = setup.host.home().join("a b c");
    fs::rename(setup.host.home().join(ROOT), &setup.there).unwrap();
    setup.configure();
    let mut random = Random(11);
    let mut n_cut = 0;
    let rounds = std::env::var("SWEEPFS_TEST_SYNC_CUTS").ok();
    let rounds = rounds.map_or(12, |n| n.parse().expect("a number"));
    for round in 0..rounds {
        let (from, to) = match random.one_in(2) {
            true => (&setup.here, &setup.there),
            false => (&setup.there, &setup.here),
        };
        edit(from, round, &mut random);
        let mut command = setup.command(&["sync", "alpha"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(100 + random.next() % 900));
        let helpers = setup.helpers();
        match round % 3 {
            // Whatever of it runs there.
            0 => drop(setup.host.run("kill -KILL -1")),
            1 if !helpers.is_empty() => {
                // It may just have ended by itself.
                let pid = helpers[random.below(helpers.len())].to_string();
                let mut kill = Command::new("kill");
                kill.args(["-s", "KILL", &pid]).stderr(Stdio::null());
                kill.status().unwrap();
            }
            _ => child.kill().unwrap(),
        }
        n_cut += usize::from(!child.wait().unwrap().success());
        check_whole(to);
        check_whole(from);
        Ran::of(setup.command(&["sync", "alpha"])).success();
        let (here, there) = (setup.here.join("workspace"), setup.there.join("workspace"));
        let diff = Command::new("diff")
            .args(["-r", "--exclude=.sweepfs-synced-*"])
            .args([here, there])
            .output()
            .unwrap();
        assert!(
            diff.status.success(),
            "round {round}: {}",
            String::from_utf8_lossy(&diff.stdout)
        );
    }
    assert!(n_cut > 0, "none was cut off under way");
    // What `ssh` keeps open for a minute ends with the machine.
    let is_shared = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/cmdline"));
        text.unwrap_or_default().contains("[mux]")
    };
    wait_until("nothing of it runs", || {
        setup.helpers().iter().all(is_shared)
    });
}

const SWEEP: &str = r#"
[[operation]]
name = "simulate"
command = '''echo x >> {{ job.dir }}/ran; until [ -e "$HOME/go" ]; do sleep 0.05; done; echo done > {{ job.dir }}/out'''
post = ['file("out")']
"#;

/// Two machines that work on one sweep, and a laptop that knows both.
struct Sweep {
    hosts: [Host; 2],
    env: Env,
    here: PathBuf,
}

impl Sweep {
    fn new(n_jobs: u32) -> Option<Self> {
        let env = Env::new();
        let hosts = [Host::up(&env, "alpha")?, Host::up(&env, "beta")?];
        let here = env.project("here");
        for a in 0..n_jobs {
            write_job(&here, &format!("{{\"a\": {a}}}"));
        }
        let mut settings = SWEEP.to_owned();
        for host in &hosts {
            let [_, _, config] = host.ssh();
            let remote = format!(
                "[remote.{0}]\nurl = '{0}:sweep'\nssh = ['ssh', '-F', '{config}']\n",
                host.name
            );
            settings.push_str(&remote);
            fs::create_dir_all(host.home().join("sweep/.signac")).unwrap();
            fs::write(
                host.home().join("sweep/.signac/config"),
                "schema_version = 2\n",
            )
            .unwrap();
            fs::write(host.home().join("sweep/sweepfs.toml"), SWEEP).unwrap();
        }
        fs::write(here.join("sweepfs.toml"), settings).unwrap();
        fs::write(env.home().join("go"), "").unwrap();
        Some(Self { hosts, env, here })
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.env.run(&self.here, args)
    }

    /// Runs the program on a machine.
    fn run_on(&self, at: usize, args: &str) -> Ran {
        let program = super::support::env::program();
        self.hosts[at].run(&format!("cd sweep && {program} {args}"))
    }

    /// How often each job was computed, in all of its copies.
    fn n_computed(&self) -> Vec<usize> {
        let roots = self.hosts.iter().map(|host| host.home().join("sweep"));
        let mut counts = BTreeMap::new();
        for root in roots.chain([self.here.clone()]) {
            for job in fs::read_dir(root.join("workspace")).unwrap() {
                let job = job.unwrap();
                if is_left_by_sync(&job.file_name()) {
                    continue;
                }
                let text = fs::read_to_string(job.path().join("ran")).unwrap_or_default();
                let most: &mut usize = counts.entry(job.file_name()).or_default();
                *most = (*most).max(text.lines().count());
            }
        }
        counts.into_values().collect()
    }
}

#[test]
fn two_machines_compute_nothing_twice() {
    let Some(sweep) = Sweep::new(6) else { return };
    for host in &sweep.hosts {
        fs::write(host.home().join("go"), "").unwrap();
    }
    sweep.run(&["sync", "--all"]).success();
    sweep.run_on(0, "run -n 2").success();
    sweep.run(&["sync", "--all"]).success();
    sweep.run_on(1, "run -n 2").success();
    sweep.run(&["sync", "--all"]).success();
    sweep.run(&["run"]).success();
    sweep.run(&["sync", "--all"]).success();
    sweep.run_on(0, "run").success();
    assert_eq!(sweep.n_computed(), [1; 6]);
    for (at, host) in sweep.hosts.iter().enumerate() {
        let here = contents(&sweep.here.join("workspace"));
        assert_eq!(contents(&host.home().join("sweep/workspace")), here);
        let status: serde_json::Value =
            serde_json::from_str(sweep.run_on(at, "status --json").success()).unwrap();
        assert_eq!(status["operations"][0]["states"]["completed"], 6);
    }
}

#[test]
fn what_runs_on_another_machine_is_shown_and_waited_for() {
    let Some(sweep) = Sweep::new(3) else { return };
    sweep.run(&["sync", "--all"]).success();
    let alpha = &sweep.hosts[0];
    let [ssh, words @ ..] = alpha.ssh();
    let program = super::support::env::program();
    let mut running = Command::new(ssh)
        .args(words)
        .args(["alpha", &format!("cd sweep && {program} run -n 1")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ran = || {
        let jobs = fs::read_dir(alpha.home().join("sweep/workspace")).unwrap();
        jobs.filter(|job| job.as_ref().unwrap().path().join("ran").exists())
            .count()
    };
    wait_until("it runs there", || ran() == 1);
    sweep.run(&["sync", "--all"]).success();
    let status = sweep.run(&["status"]);
    let status = status.success();
    assert!(status.contains("on alpha: simulate, 1 running"), "{status}");
    assert!(
        status.contains("as of the last sync: alpha just now, beta just now"),
        "{status}"
    );
    let json: serde_json::Value =
        serde_json::from_str(sweep.run(&["status", "--json"]).success()).unwrap();
    assert_eq!(json["elsewhere"][0]["cluster"], "alpha");
    assert_eq!(json["remotes"][1]["name"], "beta");
    // Without a program of ours there, its records are read.
    let asked = sweep.run(&["status", "--remote", "alpha"]);
    assert_eq!(
        asked.success(),
        "3 jobs\nsimulate, last execution: 1 running\n"
    );
    fs::create_dir(sweep.hosts[1].home().join("bin")).unwrap();
    std::os::unix::fs::symlink(program, sweep.hosts[1].home().join("bin/sweepfs")).unwrap();
    fs::write(sweep.hosts[1].home().join(".bashrc"), "PATH=~/bin:$PATH\n").unwrap();
    let asked = sweep.run(&["status", "--remote", "beta"]);
    assert!(
        asked.success().contains("on alpha: simulate, 1 running"),
        "{asked:?}"
    );
    // The others are executed here, and that one is not.
    sweep.run(&["run"]).success();
    fs::write(alpha.home().join("go"), "").unwrap();
    assert!(running.wait().unwrap().success());
    sweep.run(&["sync", "--all"]).success();
    assert_eq!(sweep.n_computed(), [1; 3]);
    let status = sweep.run(&["status"]);
    assert!(!status.success().contains("elsewhere"), "{status:?}");
    let json: serde_json::Value =
        serde_json::from_str(sweep.run(&["status", "--json"]).success()).unwrap();
    assert_eq!(json["operations"][0]["states"]["completed"], 3);
}

#[test]
fn a_file_that_there_is_no_time_for_goes_on_with_the_next_sync() {
    let Some(mut setup) = Setup::new() else {
        return;
    };
    setup.there = setup.host.home().join("a b c");
    fs::rename(setup.host.home().join(ROOT), &setup.there).unwrap();
    setup.configure();
    let mut random = Random(7);
    let bytes: Vec<u8> = (0..4 << 20).map(|_| random.below(256) as u8).collect();
    let (from, to) = (&setup.there, &setup.here);
    fs::write(write_job(from, r#"{"a": 1}"#).join("large"), &bytes).unwrap();
    let stop = ["sync", "--bwlimit", "1m", "--stop-after", "2s"];
    let stopped = Ran::of(setup.command(&stop));
    let told = stopped.failure(3);
    let left = "stopped after 2 s; left for the next sync: 2 files, 4.2 MB";
    assert!(told.contains(left), "{told}");
    let arriving = contents(&to.join("workspace/.sweepfs-arriving"));
    assert!(
        arriving.keys().any(|name| name.ends_with(b"/large")),
        "{:?}",
        arriving.keys()
    );
    Ran::of(setup.command(&["sync"])).success();
    assert_eq!(n_jobs(to), 1);
    assert_eq!(
        contents(&to.join("workspace")),
        contents(&from.join("workspace"))
    );
    assert!(setup.helpers().is_empty());
}

#[test]
fn an_undone_sync_with_a_machine_has_never_been() {
    let Some(setup) = Setup::new() else { return };
    let root = setup.host.home().join(ROOT);
    fs::remove_dir_all(&root).unwrap();
    let there = Space::there(root, setup.options());
    play(&[Space::here(setup.here.clone()), there], 42, 8);
}

#[test]
fn a_killed_sync_with_a_machine_is_undone() {
    let Some(mut setup) = Setup::new() else {
        return;
    };
    setup.there = setup.host.home().join("a b c");
    fs::rename(setup.host.home().join(ROOT), &setup.there).unwrap();
    setup.configure();
    let mut random = Random(12);
    let mut n_undone = 0;
    for round in 0..5 {
        let from = match random.one_in(2) {
            true => &setup.here,
            false => &setup.there,
        };
        edit(from, round, &mut random);
        fs::create_dir_all(setup.there.join("workspace")).unwrap();
        fs::create_dir_all(setup.here.join("workspace")).unwrap();
        let before = [snapshot(&setup.here), snapshot(&setup.there)];
        let mut command = setup.command(&["sync", "alpha"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The last one comes to its end.
        let longest_ms = [200, 200, 800, 2000, 60_000][round];
        kill_when_it_has_begun(&mut child, &setup.here, longest_ms);
        let undone = Ran::of(setup.command(&["sync", "undo"]));
        n_undone += usize::from(undone.code == Some(0));
        let is_none = undone
            .stderr
            .contains("there is no sync that could be undone");
        assert!(undone.code == Some(0) || is_none, "{undone:?}");
        let after = [snapshot(&setup.here), snapshot(&setup.there)];
        same(&after[0], &before[0], &format!("round {round}, here"));
        same(&after[1], &before[1], &format!("round {round}, there"));
        Ran::of(setup.command(&["sync", "alpha"])).success();
        fs::remove_dir_all(setup.here.join(".sweepfs/syncs")).unwrap();
    }
    assert!(n_undone > 0);
}

#[test]
fn a_plan_for_a_machine_is_done_and_undone() {
    let Some(mut setup) = Setup::new() else {
        return;
    };
    setup.there = setup.host.home().join("a b c");
    fs::rename(setup.host.home().join(ROOT), &setup.there).unwrap();
    setup.configure();
    let kept = write_job(&setup.here, r#"{"a": 1}"#);
    let gone = write_job(&setup.here, r#"{"a": 2}"#);
    fill(&kept);
    fill(&gone);
    let run = |args: &[&str]| Ran::of(setup.command(args)).success().to_owned();
    run(&["sync"]);
    // Everything that can be undone there: a job that goes, one that comes, and all kinds of files.
    fs::remove_dir_all(&gone).unwrap();
    fill(&write_job(&setup.here, r#"{"a": 3}"#));
    fs::write(kept.join("a\nb"), "changed").unwrap();
    fs::remove_dir_all(kept.join("d")).unwrap();
    fs::write(kept.join("d"), "a file now").unwrap();
    fs::remove_file(kept.join("*")).unwrap();
    fs::remove_file(kept.join("link")).unwrap();
    std::os::unix::fs::symlink("elsewhere", kept.join("link")).unwrap();
    fs::create_dir_all(kept.join("new/empty")).unwrap();
    let before = [snapshot(&setup.here), snapshot(&setup.there)];
    let options = ["--delete", "--max-delete", "100", "--prefer", "local"];
    run(&[&["sync", "--plan", "plan"], &options[..]].concat());
    assert_eq!(snapshot(&setup.there), before[1]);
    run(&["sync", "--apply", "plan"]);
    assert_eq!(snapshot(&setup.there), before[0]);
    run(&["sync", "undo"]);
    let after = [snapshot(&setup.here), snapshot(&setup.there)];
    same(&after[0], &before[0], "here");
    same(&after[1], &before[1], "there");
    run(&[&["sync"], &options[..]].concat());
    same(&snapshot(&setup.there), &before[0], "again");
}
