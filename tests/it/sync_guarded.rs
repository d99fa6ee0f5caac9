//! What a sync over ssh must not do, whatever there is or happens on the other side.

use super::support::env::{Ran, program, write_job};
use super::support::mounted::can_mount;
use super::sync_ssh::{Setup, a_run, collect, contents};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use sweepfs::report::Silent;
use sweepfs::sync::{Entry, FileCopy, JobCopy, LocalSide, Peer, Place, RelPath, Side, Whose};
use sweepfs::workspace::Project;

/// The project there, as a shell wants it.
const ROOT: &str = "a b c";

impl Setup {
    /// One of which the program here knows.
    pub(crate) fn known() -> Option<Self> {
        let mut setup = Self::new()?;
        let there = setup.host.home().join(ROOT);
        fs::rename(&setup.there, &there).unwrap();
        setup.there = there;
        setup.configure();
        Some(setup)
    }

    /// Syncs with an exit code; returns what is said and printed.
    #[track_caller]
    pub(crate) fn sync(&self, options: &[&str], code: i32) -> String {
        let ran = Ran::of(self.command(&[&["sync", "alpha"], options].concat()));
        assert_eq!(ran.code, Some(code), "{ran:?}");
        format!("{}{}", ran.stderr, ran.stdout)
    }

    /// The same place there.
    fn at(&self, path: &Path) -> PathBuf {
        self.there.join(path.strip_prefix(&self.here).unwrap())
    }

    /// Runs a command in the project there.
    #[track_caller]
    fn run_there(&self, command: &str) -> String {
        let ran = self.host.run(&format!("cd '{ROOT}' && {command}"));
        ran.success().to_owned()
    }

    /// Puts a program in front of others there.
    fn install(&self, name: &str, text: &str) {
        let bin = self.host.home().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join(name), format!("#!/bin/bash\n{text}\n")).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(self.host.home().join(".bashrc"), "PATH=~/bin:$PATH\n").unwrap();
    }
}

#[test]
fn a_job_in_which_somebody_writes_while_it_is_removed_comes_back() {
    let Some(setup) = Setup::new() else { return };
    let job = write_job(&setup.there, r#"{"a": 1}"#);
    let other = write_job(&setup.there, r#"{"a": 2}"#);
    let odd = other.join("a\nb -l//x");
    fs::create_dir_all(&odd).unwrap();
    fs::write(odd.join("-f"), "").unwrap();
    std::os::unix::fs::symlink("../..//x\ny", odd.join("link")).unwrap();
    let uuid = "0b0b7a1e-8a1c-4f5e-9d3e-2b7f3f0e6a11";
    fs::write(other.join(format!("._{uuid}_x")), "").unwrap();
    // Before 1970.
    for (name, time) in [("old", "@-1.5"), ("older", "@-2"), ("oldest", "@-0.25")] {
        fs::write(other.join(name), "").unwrap();
        let mut touch = std::process::Command::new("touch");
        let touch = touch.args(["-d", time]).arg(other.join(name));
        assert!(touch.status().unwrap().success());
    }
    let remote = setup.remote();
    let listed = remote.list(&Silent).unwrap().tree.jobs;
    setup.install(
        "mv",
        &format!(
            "case $* in *workspace/{0}\\ */trash/*) echo late >workspace/{0}/late;; esac\nexec /bin/mv \"$@\"",
            job.file_name().unwrap().to_str().unwrap()
        ),
    );
    let remove = || collect(2, |done| remote.remove_jobs(&a_run(), &listed, done));
    let is_there = |path: &Path| path.join("signac_statepoint.json").exists();
    let done = remove();
    let at = usize::from(listed[0].id.to_string() != name(&job));
    assert!(
        done[at].as_ref().unwrap_err().contains("changed meanwhile"),
        "{done:?}"
    );
    assert!(done[1 - at].is_ok(), "{done:?}");
    assert!(is_there(&job) && !other.exists());
    assert_eq!(contents(&job)[&b"late"[..]], "late\n");
    assert_eq!(setup.local().list(&Silent).unwrap().tree.jobs, []);
    // It is removed when it is as listed, and then there is nothing to do.
    let listed = remote.list(&Silent).unwrap().tree.jobs;
    fs::remove_file(setup.host.home().join("bin/mv")).unwrap();
    for _ in 0..2 {
        let done = collect(1, |done| remote.remove_jobs(&a_run(), &listed, done));
        assert!(done[0].is_ok() && !job.exists(), "{done:?}");
    }
}

pub(crate) fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|_| "-".into())
}

#[test]
fn mounts_there_are_named_and_not_entered() {
    let Some(setup) = Setup::known() else { return };
    let jobs: Vec<_> = (0..3)
        .map(|n| write_job(&setup.here, &format!("{{\"a\": {n}}}")))
        .collect();
    for job in &jobs {
        fs::create_dir(job.join("dir")).unwrap();
        fs::write(job.join("dir/x"), "1").unwrap();
    }
    setup.sync(&[], 0);
    let [a, b, c] = [0, 1, 2].map(|n| name(&jobs[n]));
    setup.run_there(&format!(
        "mount -t tmpfs none workspace/{a} && mount -t tmpfs none workspace/{b}/dir"
    ));
    setup.run_there(&format!(
        "echo mounted | tee workspace/{a}/new workspace/{b}/dir/new"
    ));
    if can_mount() {
        // A view of another project, and one that died.
        setup.run_there(&format!("mkdir -p ../other/.signac && echo schema_version = 2 >../other/.signac/config; mkdir views workspace/views workspace/{c}/views"));
        let mount = format!("cd ../other && {} mount", program());
        setup.run_there(&format!("({mount} '../{ROOT}/views'; {mount} '../{ROOT}/workspace/views'; {mount} '../{ROOT}/workspace/{c}/views')"));
    }
    fs::write(jobs[2].join("dir/x"), "22").unwrap();
    let told = setup.sync(&["--delete", "--max-delete", "100"], 3);
    for what in [
        format!("{a}: not synced: another file system"),
        format!("{b}: `dir` is not synced: another file system"),
    ] {
        assert!(told.contains(&what), "{told}");
    }
    assert!(
        !can_mount() || told.contains(&format!("{c}: `views` is not synced: another")),
        "{told}"
    );
    assert_eq!(read(&setup.at(&jobs[2]).join("dir/x")), "22");
    assert!(
        jobs.iter()
            .all(|job| job.join("dir/x").exists() && !job.join("new").exists())
    );
    assert!(
        setup
            .run_there(&format!("cat workspace/{a}/new"))
            .contains("mounted")
    );
    // All of it may be on another file system, by a link or as a mount.
    setup.run_there(&format!("umount workspace/{a} workspace/{b}/dir; umount -l views workspace/views workspace/{c}/views; rmdir workspace/{c}/views"));
    setup.run_there("mkdir ../disk && mount -t tmpfs none ../disk && cp -a workspace/. ../disk && mv workspace ../aside && ln -s ../disk workspace");
    fs::write(jobs[0].join("dir/x"), "333").unwrap();
    fs::remove_dir_all(&jobs[1]).unwrap();
    setup.run_there(&format!("echo there >workspace/{c}/y"));
    setup.sync(&["--delete", "--max-delete", "100"], 0);
    let found = setup.run_there(&format!("cat workspace/{a}/dir/x; ls -A workspace workspace/.sweepfs-trash/*/workspace; [ -L workspace ] && echo link"));
    assert!(
        found.starts_with("333") && found.matches(b).count() == 1 && found.ends_with("link\n"),
        "{found}"
    );
    assert_eq!(read(&jobs[2].join("y")), "there\n");
}

#[test]
fn a_directory_there_that_cannot_be_read_stops_nothing_else() {
    if !can_mount() {
        return;
    }
    let Some(setup) = Setup::known() else { return };
    let jobs: Vec<_> = (0..2)
        .map(|n| write_job(&setup.here, &format!("{{\"a\": {n}}}")))
        .collect();
    setup.sync(&[], 0);
    let id = name(&jobs[0]);
    // They are dead when their servers were killed.
    setup.run_there(&format!(
        "mkdir ../source views workspace/views workspace/{id}/views"
    ));
    for place in [
        "views".to_owned(),
        "workspace/views".to_owned(),
        format!("workspace/{id}/views"),
    ] {
        let there = setup.host.run(&format!("cd '{ROOT}' && {{ bindfs -f ../source {place} >/dev/null 2>&1 & sleep 0.3; kill -KILL $!; wait $!; }}"));
        if there.stderr.contains("not found") {
            return;
        }
    }
    assert!(
        setup
            .host
            .run(&format!("ls '{ROOT}/views'"))
            .stderr
            .contains("not connected")
    );
    for job in &jobs {
        fs::write(job.join("x"), "1").unwrap();
    }
    let told = setup.sync(&["--delete", "--max-delete", "100"], 3);
    assert!(
        told.contains(&format!("{id}: not synced: find: ")),
        "{told}"
    );
    assert!(told.contains("not connected"), "{told}");
    assert_eq!(read(&setup.at(&jobs[1]).join("x")), "1");
    assert!(jobs[0].exists() && !setup.at(&jobs[0]).join("x").exists());
}

#[test]
fn a_path_that_is_too_long_stops_nothing_else() {
    let Some(setup) = Setup::known() else { return };
    let job = write_job(&setup.here, r#"{"a": 1}"#);
    setup.sync(&[], 0);
    let id = name(&job);
    // Longer than any we can name, and one that is almost.
    let part = "d".repeat(250);
    let script = format!(
        "cd workspace/{id} && for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do mkdir {part} && cd -P {part} && echo $i >f || exit; done"
    );
    setup.run_there(&script);
    fs::write(job.join("x"), "1").unwrap();
    let told = setup.sync(&["--delete"], 3);
    assert_eq!(told.matches("its path is too long").count(), 1, "{told}");
    assert_eq!(read(&setup.at(&job).join("x")), "1");
    let deep = [part.as_str(); 11].join("/");
    assert_eq!(read(&job.join(deep).join("f")), "11\n");
    // Deeper than anybody wants.
    setup.run_there(&format!("cd workspace/{id} && rm -rf {part} && d=$(printf 'd/%.0s' $(seq 205)) && mkdir -p $d && echo x | tee $d/f ${{d%d/d/d/}}f >/dev/null"));
    fs::remove_dir_all(job.join(&part)).unwrap();
    for _ in 0..2 {
        // The second time it is here, too.
        let told = setup.sync(&["--delete", "--max-delete", "100"], 3);
        assert!(told.contains("it lies too deep"), "{told}");
        let deep = ["d"; 205].join("/");
        assert_eq!(read(&setup.at(&job).join(&deep).join("f")), "x\n");
        fs::create_dir_all(job.join(&deep)).unwrap();
    }
    setup.run_there(&format!("rm -r workspace/{id}/d"));
    fs::remove_dir_all(job.join("d")).unwrap();
    // From here it is no different.
    let mut make = std::process::Command::new("bash");
    make.args(["-c", &script]).current_dir(&setup.here);
    assert!(make.status().unwrap().success());
    fs::write(job.join("x"), "22").unwrap();
    let told = setup.sync(&[], 3);
    assert_eq!(told.matches("its path is too long").count(), 1, "{told}");
    assert_eq!(read(&setup.at(&job).join("x")), "22");
    // A job with such a file is not removed.
    fs::remove_dir_all(setup.at(&job)).unwrap();
    let told = setup.sync(&["--delete", "--max-delete", "100"], 4);
    assert!(told.contains("has no jobs"), "{told}");
    write_job(&setup.there, r#"{"a": 2}"#);
    let told = setup.sync(&["--delete", "--max-delete", "100"], 3);
    assert!(
        told.contains("deleted there since the last sync: 1 job") && job.exists(),
        "{told}"
    );
}

/// What a file system answers that knows no case: the name is taken, although nothing of it was listed.
#[test]
fn names_that_differ_only_in_case_are_told_and_nothing_is_lost() {
    let Some(setup) = Setup::new() else { return };
    let (local, remote) = (setup.local(), setup.remote());
    let near = LocalSide::new(&Project::discover(&setup.there).unwrap(), "near");
    for root in [&setup.here, &setup.there] {
        let job = write_job(root, r#"{"a": 1}"#);
        fs::write(job.join("Data"), root.to_str().unwrap()).unwrap();
        std::os::unix::fs::symlink("x", job.join("Link")).unwrap();
        let other = write_job(root, r#"{"a": 2}"#);
        fs::write(other.join("Data"), "1").unwrap();
    }
    let listed = local.list(&Silent).unwrap().tree.jobs;
    let id = listed.iter().find(|job| job.entries.len() == 3).unwrap();
    let peers: [(&dyn Peer, Whose); 4] = [
        (&remote, Whose::Local),
        (&remote, Whose::Remote),
        (&near, Whose::Local),
        (&near, Whose::Remote),
    ];
    for (peer, to) in peers {
        let from: &dyn Side = if to == Whose::Local { peer } else { &local };
        let source = from.list(&Silent).unwrap().tree.jobs;
        let source = source.into_iter().find(|job| job.id == id.id).unwrap();
        let copies = ["Data", "Link"].map(|name| {
            let path = RelPath::new(name.as_bytes()).unwrap();
            FileCopy {
                source: source.get(&path).unwrap().clone(),
                place: Place::of_job(id.id, path),
                before: None,
            }
        });
        let done = collect(2, |done| {
            peer.copy_files(&local, to, &a_run(), &copies, done)
        });
        for outcome in &done {
            let why = outcome.as_ref().unwrap_err();
            assert!(why.contains("differs in case"), "{to}: {done:?}");
        }
        for root in [&setup.here, &setup.there] {
            let text = read(&root.join("workspace").join(id.id.to_string()).join("Data"));
            assert_eq!(text, root.to_str().unwrap());
        }
    }
    // Two such files of a new job are one there, so the job is not taken.
    let job = listed.iter().find(|job| job.id != id.id).unwrap();
    fs::remove_dir_all(setup.there.join("workspace").join(job.id.to_string())).unwrap();
    let mut entries = job.entries.clone();
    entries.insert(0, entries[0].clone());
    let copy = [JobCopy {
        id: job.id,
        entries,
    }];
    for peer in [&remote as &dyn Peer, &near] {
        let done = collect::<Vec<Entry>>(1, |done| {
            peer.copy_jobs(&local, Whose::Remote, &a_run(), &copy, done)
        });
        assert!(done[0].is_err(), "{done:?}");
        assert_eq!(peer.list(&Silent).unwrap().tree.jobs.len(), 1);
    }
}

#[test]
fn clocks_renamed_jobs_and_growing_files_over_ssh() {
    let Some(setup) = Setup::known() else { return };
    let jobs: Vec<_> = (0..12)
        .map(|n| {
            let job = write_job(&setup.here, &format!("{{\"a\": {n}}}"));
            fs::write(job.join("out"), "1").unwrap();
            job
        })
        .collect();
    setup.sync(&[], 0);
    // The clock there is an hour behind, and then an hour ahead.
    let file = jobs[0].join("out");
    for (text, shift) in [("22", "-1 hour"), ("333", "+1 hour")] {
        let place = format!("workspace/{}/out", name(&jobs[0]));
        setup.run_there(&format!(
            "printf {text} >{place}; touch -d '{shift}' {place}"
        ));
        setup.sync(&[], 0);
        assert_eq!(
            (read(&file), read(&setup.at(&file))),
            (text.into(), text.into())
        );
        assert!(setup.sync(&[], 0).contains("nothing to do"));
    }
    fs::write(&file, "4444").unwrap();
    setup.sync(&[], 0);
    assert_eq!(read(&setup.at(&file)), "4444");
    // A job that got another parameter there.
    let renamed = write_job(&setup.there, r#"{"a": 1, "b": 1}"#);
    fs::rename(setup.at(&jobs[1]).join("out"), renamed.join("out")).unwrap();
    fs::remove_dir_all(setup.at(&jobs[1])).unwrap();
    let told = setup.sync(&[], 0);
    assert!(
        told.contains("deleted there since the last sync: 1 job"),
        "{told}"
    );
    let here = setup.here.join("workspace").join(name(&renamed));
    assert_eq!(
        (read(&here.join("out")), jobs[1].exists()),
        ("1".into(), true)
    );
    setup.sync(&["--delete"], 0);
    assert!(!jobs[1].exists() && here.exists());
    // A file there that grows while it is copied waits for the next sync.
    let place = format!("workspace/{}", name(&jobs[2]));
    fs::write(setup.at(&jobs[2]).join("log"), "begin").unwrap();
    setup.install("rsync", &format!("case $* in *--server*) echo more >>\"$HOME/{ROOT}/{place}/log\";; esac\nexec /usr/bin/env -S PATH=${{PATH#*:}} rsync \"$@\""));
    let told = setup.sync(&[], 3);
    assert!(
        told.contains("log: it has not arrived, or has changed meanwhile"),
        "{told}"
    );
    assert!(!jobs[2].join("log").exists());
    fs::remove_file(setup.host.home().join("bin/rsync")).unwrap();
    setup.sync(&[], 0);
    assert!(read(&jobs[2].join("log")).starts_with("beginmore"));
}
