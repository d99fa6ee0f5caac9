//! `sync` with other machines, over a real ssh.

use super::support::env::{Env, write_job};
use super::support::ssh::Host;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use sweepfs::report::Silent;
use sweepfs::sync::{
    Entry, FileCopy, FoundText, JobCopy, LocalSide, NewText, Peer, Place, RelPath, RemoteOptions,
    RemoteSide, Removal, Run, Side, SyncError, Tree, Whose,
};
use sweepfs::workspace::Project;

/// The name of the project there, with all that a shell or `rsync` could stumble over.
const ROOT: &str = "a b'c [1]*\\$x";

struct Setup {
    host: Host,
    env: Env,
    here: PathBuf,
    there: PathBuf,
}

impl Setup {
    /// A project here and one there.
    fn new() -> Option<Self> {
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

    fn options(&self) -> RemoteOptions {
        RemoteOptions {
            host: "alpha".into(),
            path: ROOT.into(),
            name: "alpha".into(),
            ssh: self.host.ssh().map(Into::into).into(),
            runtime_dir: self.env.path().join("run"),
            ..RemoteOptions::default()
        }
    }

    fn remote(&self) -> RemoteSide {
        RemoteSide::open(self.options()).unwrap()
    }

    fn local(&self) -> LocalSide {
        LocalSide::new(&Project::discover(&self.here).unwrap(), "here")
    }
}

fn a_run() -> Run {
    Run {
        id: "test-1".into(),
        now: 0,
        takes_growing: false,
    }
}

/// What is in a directory: of each file its content.
fn contents(dir: &Path) -> BTreeMap<Vec<u8>, String> {
    use std::os::unix::ffi::OsStrExt;
    let (mut found, mut dirs) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(at) = dirs.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
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

fn jobs_of(tree: &Tree) -> Vec<JobCopy> {
    let jobs = tree.jobs.iter();
    jobs.map(|job| JobCopy {
        id: job.id,
        entries: job.entries.clone(),
    })
    .collect()
}

/// Calls something that answers for each of some items.
fn collect<T: Clone + Send>(
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
        let listed = |side: &dyn Side| side.list(&Silent).unwrap().tree.jobs.remove(0);
        let (source, before) = match to {
            Whose::Remote => (listed(&local), listed(&remote)),
            Whose::Local => (listed(&remote), listed(&local)),
        };
        fs::write(target.join("-changed\n"), format!("meanwhile {to}")).unwrap();
        let names = ["new dir", "new dir/x", "new", "same", "-changed\n"];
        let copies = names.map(|name| FileCopy {
            place: place(name),
            source: source.get(&place(name).path).unwrap().clone(),
            before: before.get(&place(name).path).cloned(),
        });
        let done = collect(5, |done| {
            remote.copy_files(&local, to, &a_run(), &copies, done)
        });
        assert!(done[..4].iter().all(Result::is_ok), "{done:?}");
        assert!(done[4].as_ref().unwrap_err().contains("changed meanwhile"));
        let found = contents(&target);
        assert_eq!(found[&b"new dir/x"[..]], format!("from {to}"));
        assert_eq!(found[&b"same"[..]], format!("from {to}"));
        assert_eq!(found[&b"-changed\n"[..]], format!("meanwhile {to}"));
        let trash = other
            .join(".sweepfs/trash/test-1/workspace")
            .join(id.to_string());
        assert_eq!(contents(&trash)[&b"same"[..]].len() > 2, true);
        for root in [root, other] {
            fs::remove_dir_all(root.join("workspace").join(id.to_string()).join("new dir"))
                .unwrap();
            fs::remove_file(root.join("workspace").join(id.to_string()).join("new")).unwrap();
        }
    }
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

    let done = collect(1, |done| remote.remove_jobs(&a_run(), &[tree.id], done));
    assert!(done[0].is_ok() && !job.exists(), "{done:?}");
    let trash = contents(&setup.there.join(".sweepfs/trash/test-1/workspace"));
    let kept = |name: &str| trash[name.as_bytes()].as_str();
    let id = tree.id;
    assert_eq!(kept(&format!("{id}/old\n-")), "old");
    assert_eq!(kept(&format!("{id}~2/old\n-")), "new\n\0x");
}
