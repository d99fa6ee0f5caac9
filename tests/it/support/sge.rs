//! A private Grid Engine.

use super::batch::Cluster;
use super::env::{Env, Ran};
use super::skip;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Grid Engine of one test, which is stopped with it.
pub(crate) struct Sge {
    dir: PathBuf,
    /// What stands before all other programs.
    bin: PathBuf,
    vars: Vec<(String, String)>,
}

impl Cluster for Sge {
    /// Starts one with many slots, unless it cannot be had here; in CI it must.
    fn up(env: &Env) -> Option<Self> {
        if !Path::new("/usr/lib/gridengine/sge_qmaster").exists() {
            skip("there is no Grid Engine: `scripts/setup` installs it");
            return None;
        }
        let mut sge = Self {
            dir: env.path().join("sge"),
            bin: env.path().join("bin"),
            vars: Vec::new(),
        };
        let up = sge.cluster("up", &["--slots", "64"]);
        assert_eq!(up.code, Some(0), "{up:?}");
        let text = std::fs::read_to_string(sge.dir.join("env.sh")).unwrap();
        let words = text.split_whitespace();
        let pairs = words.filter_map(|word| word.split_once('='));
        sge.vars = pairs
            .filter(|(name, _)| name.starts_with("SGE_"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Some(sge)
    }

    fn vars(&self) -> Vec<(String, String)> {
        let clients = self.dir.join("clients");
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{}:{path}", self.bin.display(), clients.display());
        let more = [("PATH", path), ("SWEEPFS_CLUSTER", "sge".to_owned())];
        let more = more.map(|(name, value)| (name.to_owned(), value));
        self.vars.iter().cloned().chain(more).collect()
    }
}

impl Sge {
    /// Runs one of Grid Engine's commands.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Ran {
        let mut command = Command::new(self.dir.join("clients").join(program));
        command.args(args).envs(self.vars());
        Ran::of(command)
    }

    fn cluster(&self, verb: &str, more: &[&str]) -> Ran {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster");
        let mut command = Command::new(script);
        command.args(["sge", verb]).arg(&self.dir).args(more);
        Ran::of(command)
    }
}

impl Drop for Sge {
    fn drop(&mut self) {
        let _ = self.cluster("down", &[]);
    }
}
