//! A private Slurm.

use super::batch::Cluster;
use super::env::{Env, Ran};
use super::skip;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Slurm of one test, which is stopped with it.
pub(crate) struct Slurm {
    dir: PathBuf,
}

impl Cluster for Slurm {
    /// Starts one with two nodes, unless it cannot be had here; in CI it must.
    fn up(env: &Env) -> Option<Self> {
        // Not all users have the directory of daemons in their `PATH`.
        let is_there = |program: String| Command::new(program).arg("-V").output().is_ok();
        let has = |name: &&str| is_there(name.to_string()) || is_there(format!("/usr/sbin/{name}"));
        if !["slurmctld", "slurmd", "sbatch"].iter().all(has) {
            skip("there is no Slurm: `scripts/setup` installs it");
            return None;
        }
        let slurm = Self {
            dir: env.path().join("slurm"),
        };
        let up = slurm.cluster(&["up"], &["--cpus", "32"]);
        assert_eq!(up.code, Some(0), "{up:?}");
        Some(slurm)
    }

    fn vars(&self) -> Vec<(String, String)> {
        let conf = self.conf().to_str().unwrap().to_owned();
        vec![("SLURM_CONF".to_owned(), conf)]
    }
}

impl Slurm {
    /// Returns where clients find it.
    pub(crate) fn conf(&self) -> PathBuf {
        self.dir.join("slurm.conf")
    }

    /// Runs one of Slurm's commands.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Ran {
        let mut command = Command::new(program);
        command.args(args).env("SLURM_CONF", self.conf());
        Ran::of(command)
    }

    /// Kills the daemons of all nodes, but not what runs there.
    pub(crate) fn kill_nodes(&self) {
        let pids = std::fs::read_to_string(self.dir.join("pids")).unwrap();
        for pid in pids.lines().skip(1) {
            super::mounted::kill(pid.parse().unwrap(), "KILL");
        }
    }

    fn cluster(&self, verb: &[&str], more: &[&str]) -> Ran {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster");
        let mut command = Command::new(script);
        command.arg("slurm").args(verb).arg(&self.dir).args(more);
        Ran::of(command)
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = self.cluster(&["down"], &[]);
    }
}
