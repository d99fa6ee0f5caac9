//! The other side of a sync as an enemy: nothing is written where it shall not be, and nothing that
//! was not checked gets its final name.

use super::support::env::{Ran, write_job};
use super::sync_guarded::name;
use super::sync_ssh::{Setup, a_run, collect, contents, jobs_of, lying, pretending};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use sweepfs::report::Silent;
use sweepfs::sync::{
    Content, Entry, FileCopy, LocalSide, NewText, Options, Peer, Place, Plan, RelPath, RemoteSide,
    Removal, Run, Session, Side, Wanted, Whose,
};

/// Records as `find` writes them: kind, size, time, name below the workspace, link text.
fn records(device: u64, records: &[(&str, &str, &str, &str, &str)]) -> String {
    let record = |(kind, size, time, path, link): &(&str, &str, &str, &str, &str)| {
        format!("{kind}\\000{size}\\000{time}\\000644\\000{device}\\000{path}\\000{link}\\000")
    };
    format!(
        "printf '{}'",
        records.iter().map(record).collect::<String>()
    )
}

/// Syncs both; returns what was planned, or why it ended.
fn sync(local: &LocalSide, remote: &RemoteSide) -> Result<(Plan, Vec<String>), String> {
    let options = Options::default();
    let session = Session {
        local,
        peer: remote,
        memory: None,
        options: &options,
        wanted: Wanted::All,
        observer: &Silent,
    };
    let prepared = session.prepare().map_err(|error| error.to_string())?;
    let applied = session.apply(prepared, &a_run());
    let applied = applied.map_err(|error| error.to_string())?;
    let failures = applied.failures.iter().map(ToString::to_string);
    Ok((applied.plan.clone(), failures.collect()))
}

#[test]
fn a_list_that_cannot_be_is_refused_whole() {
    use std::os::unix::fs::MetadataExt;
    let Some(setup) = Setup::new() else { return };
    let job = write_job(&setup.there, r#"{"a": 1}"#);
    write_job(&setup.here, r#"{"a": 2}"#);
    let before = contents(&setup.here);
    let id = name(&job);
    let device = fs::metadata(&setup.there).unwrap().dev();
    let [sp, a, below, out] =
        ["signac_statepoint.json", "a", "a/b", "a/../../../x"].map(|path| format!("{id}/{path}"));
    let upper = id.to_uppercase();
    let dir = ("d", "1", "1.0", id, "");
    let statepoint = ("f", "8", "1.0", sp.as_str(), "");
    fn file(path: &str) -> (&str, &str, &str, &str, &str) {
        ("f", "1", "1.0", path, "")
    }
    let printed = |more: &[_]| records(device, &[&[dir, statepoint], more].concat());
    for (lie, said) in [
        (printed(&[file(&out)]), "is no name of a file"),
        (printed(&[file("/etc/passwd")]), "is no file of a job"),
        (
            printed(&[("d", "1", "1.0", &upper, "")]),
            "is no file of a job",
        ),
        (printed(&[file(&a), file(&a)]), "is there twice"),
        (
            printed(&[("l", "1", "1.0", &a, "/tmp"), file(&below)]),
            "below what is no directory",
        ),
        (
            printed(&[("f", "18446744073709551615", "1.0", &a, "")]),
            "no file has",
        ),
        (printed(&[("f", "-1", "1.0", &a, "")]), "is no number"),
        (printed(&[("f", "1", "1e9", &a, "")]), "is no time"),
        (printed(&[("L", "1", "1.0", &a, "")]), "is no kind of file"),
        (printed(&[("E", "0", "", "", "")]), "goes on after its end"),
        (
            format!("{}; printf 'f\\000'", printed(&[])),
            "makes no sense",
        ),
        ("yes | tr -d '\\n'".to_owned(), "a name does not end"),
        (format!("{}; kill -KILL $$", printed(&[])), "exit code 137"),
    ] {
        let remote = RemoteSide::open(lying(&setup, &lie)).unwrap();
        let error = sync(&setup.local(), &remote).unwrap_err();
        assert!(
            error.contains("makes no sense") && error.contains(said),
            "{lie}: {error}"
        );
    }
    assert_eq!(contents(&setup.here), before);
    // Nobody else's answers go on for ever either.
    let remote = RemoteSide::open(pretending(&setup, &[("head", "exec yes")])).unwrap();
    let pair = uuid::Uuid::from_bytes([7; 16]);
    let stamp = format!("workspace/.sweepfs-synced-{}", pair.simple());
    fs::create_dir_all(setup.there.join("workspace")).unwrap();
    fs::write(setup.there.join(stamp), "1").unwrap();
    let error = sweepfs::report::with_causes(&remote.stamp(pair).unwrap_err());
    assert!(error.contains("its answer does not end"), "{error}");
}

#[test]
fn what_is_listed_and_not_there_harms_nobody() {
    use std::os::unix::fs::MetadataExt;
    let Some(setup) = Setup::new() else { return };
    let job = write_job(&setup.there, r#"{"a": 1}"#);
    let common = write_job(&setup.here, r#"{"a": 2}"#);
    let there = write_job(&setup.there, r#"{"a": 2}"#);
    fs::write(there.join("x"), "x").unwrap();
    let device = fs::metadata(&setup.there).unwrap().dev();
    let (new, old) = (name(&job), name(&common));
    let huge = (1_u64 << 62).to_string();
    let mut lies = Vec::new();
    for id in [new, old] {
        lies.push(("d".to_owned(), "1".to_owned(), "1.0", id.to_owned()));
        lies.push((
            "f".into(),
            "8".into(),
            "1.0",
            format!("{id}/signac_statepoint.json"),
        ));
        for (n, time) in ["-9999999999999.5", "9999999999999.0", "-0.5", "1.0"]
            .iter()
            .enumerate()
        {
            lies.push(("f".into(), huge.clone(), time, format!("{id}/{n}")));
        }
    }
    let lies: Vec<_> = lies
        .iter()
        .map(|(kind, size, time, path)| (kind.as_str(), size.as_str(), *time, path.as_str(), ""))
        .collect();
    let remote = RemoteSide::open(lying(&setup, &records(device, &lies))).unwrap();
    let (plan, failures) = sync(&setup.local(), &remote).unwrap();
    assert_eq!(plan.totals(Whose::Local).bytes, u64::MAX);
    // One job, and four files.
    assert_eq!(failures.len(), 5, "{failures:?}");
    assert!(
        failures.iter().all(|line| line.contains("No such file")),
        "{failures:?}"
    );
    assert_eq!(contents(&setup.here.join("workspace")).len(), 2);
}

/// An `rsync` here whose other end sends more than was asked for: what a command does where it puts
/// its files, which is `$dir`.
fn with_sender(setup: &Setup, command: &str) -> String {
    let bin = setup.env.path().join("sender");
    fs::create_dir_all(&bin).unwrap();
    let real = "/usr/bin/rsync";
    let real = if Path::new(real).exists() {
        real
    } else {
        "/usr/local/bin/rsync"
    };
    let text = format!(
        "#!/bin/bash\n{real} \"$@\"\ncode=$?\ndir=${{@: -1}}\ncase $dir in */.sweepfs-arriving/) cd \"$dir\" && {command};; esac\nexit $code\n"
    );
    fs::write(bin.join("rsync"), text).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bin.join("rsync"), executable).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn what_nobody_asked_for_is_not_taken() {
    let Some(setup) = Setup::known() else { return };
    let outside = setup.env.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("deep"), "1").unwrap();
    let jobs: Vec<_> = (0..4)
        .map(|n| {
            let job = write_job(&setup.there, &format!("{{\"a\": {n}}}"));
            fs::create_dir(job.join("sub")).unwrap();
            fs::write(job.join("sub/deep"), "1").unwrap();
            fs::write(job.join("x"), "1").unwrap();
            job
        })
        .collect();
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| name(&jobs[n]));
    let out = outside.display();
    let run = |command: &str| {
        let path = with_sender(&setup, command);
        let mut sync = setup.command(&["sync", "alpha"]);
        Ran::of({
            sync.env("PATH", path);
            sync
        })
    };
    let ran = run(&format!(
        "mkdir -p {a}/more/dir && echo extra | tee {a}/more/dir/x {a}/y .y >/dev/null && ln -s {out} {a}/link && ln -s {out} zzz && \
         touch -r {b}/signac_statepoint.json t && printf '{{\"a\": 7}}' >{b}/signac_statepoint.json && touch -r t {b}/signac_statepoint.json && \
         rm -r {c}/sub && ln -s {out} {c}/sub && \
         rm -r {d} && ln -s {out} {d}"
    ));
    let said = ran.failure(3);
    for (id, why) in [
        (b, "its state point is not that of its id"),
        (c, "not arrived"),
        (d, ""),
    ] {
        let line = said.lines().find(|line| line.contains(id));
        assert!(line.is_some_and(|line| line.contains(why)), "{id}: {said}");
    }
    // Only what was asked for is there, and of the others nothing.
    let names: Vec<_> = fs::read_dir(setup.here.join("workspace"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert_eq!(names, [a]);
    let here = setup.here.join("workspace").join(a);
    assert_eq!(contents(&here), contents(&jobs[0]));
    assert_eq!(contents(&outside).len(), 1);
    setup.sync(&[], 0);
    assert!([b, c, d].iter().all(|id| {
        setup
            .here
            .join("workspace")
            .join(id)
            .join("sub/deep")
            .exists()
    }));
    // Files of jobs that are here already: links in their place, or on the way.
    for job in &jobs {
        fs::write(job.join("sub/deep"), "22").unwrap();
        fs::write(job.join("x"), "22").unwrap();
    }
    let ran = run(&format!(
        "rm -r {a}/sub && ln -s {out} {a}/sub && rm {b}/x && ln -s {out}/deep {b}/x && ln -s {out}/deep {b}/y && echo 333 >{c}/x"
    ));
    let said = ran.failure(3);
    for place in [format!("{a}/sub/deep"), format!("{b}/x"), format!("{c}/x")] {
        let line = said.lines().find(|line| line.contains(&place));
        assert!(
            line.is_some_and(|line| line.contains("not arrived")),
            "{place}: {said}"
        );
    }
    let text = |id: &str, file: &str| {
        fs::read_to_string(setup.here.join("workspace").join(id).join(file)).unwrap()
    };
    assert_eq!(
        (text(a, "sub/deep"), text(b, "x"), text(c, "x")),
        ("1".into(), "1".into(), "1".into())
    );
    assert_eq!(
        (text(a, "x"), text(b, "sub/deep"), text(d, "x")),
        ("22".into(), "22".into(), "22".into())
    );
    assert!(!setup.here.join("workspace").join(b).join("y").is_symlink());
    assert_eq!(fs::read_to_string(outside.join("deep")).unwrap(), "1");
    setup.sync(&[], 0);
    assert_eq!(text(c, "x"), "22");
}

/// Does all that can be done to files of a job below a directory that has become a link.
fn change_all(
    side: &dyn Side,
    copy: impl Fn(&[FileCopy]) -> Vec<Result<Option<Entry>, String>>,
    listed: &sweepfs::sync::JobTree,
) {
    let place = |name: &str| Place::of_job(listed.id, RelPath::new(name.as_bytes()).unwrap());
    let old = listed.get(&place("sub/deep").path).unwrap().clone();
    let run = a_run();
    let texts =
        [("sub/deep", Some(old.clone())), ("sub/new", None)].map(|(name, before)| NewText {
            place: place(name),
            bytes: b"through".to_vec(),
            modified: None,
            before,
        });
    let done = collect(2, |done| side.write_many(&run, &texts, done));
    assert!(done.iter().all(Result::is_err), "{done:?}");
    let removal = Removal {
        place: place("sub/deep"),
        before: old.clone(),
    };
    let done = collect(1, |done| {
        side.rename_many(&run, &[(removal.clone(), place("sub/other").path)], done)
    });
    assert!(done[0].is_err(), "{done:?}");
    let _ = collect(1, |done| side.remove_many(&run, &[removal], done));
    let dir = Entry {
        content: Content::Dir,
        mode: 0o755,
    };
    let link = Entry {
        content: Content::Link(b"x".as_slice().into()),
        mode: 0,
    };
    let new = |name: &str, source: &Entry, before: Option<&Entry>| FileCopy {
        place: place(name),
        source: source.clone(),
        before: before.cloned(),
    };
    let done = copy(&[
        new("sub/dir", &dir, None),
        new("sub/link", &link, None),
        new(
            "sub/deep",
            &Entry {
                mode: 0o600,
                ..old.clone()
            },
            Some(&old),
        ),
        new("sub/deep", &old, Some(&old)),
        new("sub/more", &old, None),
    ]);
    assert!(done.iter().all(Result::is_err), "{done:?}");
}

#[test]
fn nothing_is_written_through_a_link_here_or_there() {
    let Some(setup) = Setup::new() else { return };
    let (local, remote) = (setup.local(), setup.remote());
    let near = LocalSide::new(
        &sweepfs::workspace::Project::discover(&setup.there).unwrap(),
        "near",
    );
    // Out of the machine's own home, so that a link leads to it.
    let outside = setup.host.home().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("deep"), "1").unwrap();
    let before = fs::metadata(outside.join("deep")).unwrap().permissions();
    for root in [&setup.here, &setup.there] {
        let job = write_job(root, r#"{"a": 1}"#);
        fs::create_dir(job.join("sub")).unwrap();
        fs::write(job.join("sub/deep"), "1").unwrap();
        fs::write(job.join("sub/more"), "1").unwrap();
    }
    let id = local.list(&Silent).unwrap().tree.jobs[0].id.to_string();
    for (to, root, peer) in [
        (Whose::Local, &setup.here, &remote as &dyn Peer),
        (Whose::Remote, &setup.there, &remote),
        (Whose::Local, &setup.here, &near),
        (Whose::Remote, &setup.there, &near),
    ] {
        let side: &dyn Side = if to == Whose::Local { &local } else { peer };
        let sub = root.join("workspace").join(&id).join("sub");
        let listed = side.list(&Silent).unwrap().tree.jobs.remove(0);
        let aside = sub.with_file_name("aside");
        fs::rename(&sub, &aside).unwrap();
        symlink(&outside, &sub).unwrap();
        let run = Run {
            takes_growing: true,
            ..a_run()
        };
        let copy = |copies: &[FileCopy]| {
            collect(copies.len(), |done| {
                peer.copy_files(&local, to, &run, copies, done)
            })
        };
        change_all(side, copy, &listed);
        let done = collect(1, |done| side.remove_jobs(&run, &[listed], done));
        assert!(done[0].is_err(), "{done:?}");
        fs::remove_file(&sub).unwrap();
        fs::rename(&aside, &sub).unwrap();
        let found = contents(&outside);
        assert_eq!(
            (found.len(), found[&b"deep"[..]].as_str()),
            (1, "1"),
            "{to}"
        );
        assert_eq!(
            fs::metadata(outside.join("deep")).unwrap().permissions(),
            before
        );
    }
    // A link in the place of the job itself is no job.
    let job = setup.there.join("workspace").join(&id);
    fs::rename(&job, setup.host.home().join("moved")).unwrap();
    symlink("../../moved", &job).unwrap();
    assert_eq!(remote.list(&Silent).unwrap().left_out.len(), 1);
    let jobs = jobs_of(&local.list(&Silent).unwrap().tree);
    let done = collect::<Vec<Entry>>(1, |done| {
        remote.copy_jobs(&local, Whose::Remote, &a_run(), &jobs, done)
    });
    assert!(done[0].is_err() && job.is_symlink(), "{done:?}");
}
