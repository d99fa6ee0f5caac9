//! What a sync over ssh must not do, whatever there is or happens on the other side.

use super::support::env::write_job;
use super::sync_ssh::{Setup, a_run, collect, contents};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use sweepfs::report::Silent;
use sweepfs::sync::Side;

impl Setup {
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

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}
