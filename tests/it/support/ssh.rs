//! Pretend remote machines.

use super::env::{Env, Ran};
use super::skip;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A machine with its own home directory and processes, which `ssh` reaches without a network. It
/// ends when this is dropped.
pub(crate) struct Host {
    dir: PathBuf,
    pub(crate) name: String,
}

impl Host {
    /// Starts one, unless it cannot be had here; in CI it must.
    pub(crate) fn up(env: &Env, name: &str) -> Option<Self> {
        let host = Self {
            dir: env.path().join("hosts").join(name),
            name: name.to_owned(),
        };
        let ran = host.script("up", &[name]);
        if ran.code != Some(0) {
            skip(&format!(
                "no pretend machine; `scripts/host` says: {}",
                ran.stderr.trim()
            ));
            return None;
        }
        Some(host)
    }

    /// Its home directory, as it is seen from here.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// The words of an `ssh` that knows it.
    pub(crate) fn ssh(&self) -> [String; 3] {
        let config = self.dir.join("config");
        ["ssh".into(), "-F".into(), config.to_str().unwrap().into()]
    }

    /// Runs a command of the shell there.
    pub(crate) fn run(&self, command: &str) -> Ran {
        let [ssh, words @ ..] = self.ssh();
        let mut ssh = Command::new(ssh);
        ssh.args(words).args(["--", &self.name, command]);
        ssh.stdin(std::process::Stdio::null());
        Ran::of(ssh)
    }

    fn script(&self, verb: &str, more: &[&str]) -> Ran {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/host");
        let mut command = Command::new(script);
        command.arg(verb).arg(&self.dir).args(more);
        Ran::of(command)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.script("down", &[]);
    }
}
