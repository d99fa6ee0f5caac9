//! The real signac.

use super::env::{Env, Ran};
use super::skip;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns a Python that has signac; `scripts/setup` makes it and `scripts/test` names it.
pub(crate) fn python() -> Option<PathBuf> {
    let named = std::env::var_os("SWEEPFS_TEST_PYTHON").map(PathBuf::from);
    let usual = || {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
        cache.map(|cache| cache.join("sweepfs/test-venv/bin/python"))
    };
    let python = named.or_else(usual).filter(|python| python.exists());
    if python.is_none() {
        skip("no Python with signac; `scripts/setup` installs it");
    }
    python
}

/// A command that runs a Python script with arguments.
pub(crate) fn script(env: &Env, python: &Path, dir: &Path, script: &str, args: &[&str]) -> Command {
    let args: Vec<_> = ["-c", script].iter().chain(args).copied().collect();
    env.in_env(Command::new(python), dir, &args)
}

/// Runs a Python script and returns what it printed.
#[track_caller]
pub(crate) fn run(env: &Env, python: &Path, dir: &Path, text: &str, args: &[&str]) -> String {
    let ran = Ran::of(script(env, python, dir, text, args));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout
}

/// Runs the `signac` command.
pub(crate) fn signac(env: &Env, python: &Path, dir: &Path, args: &[&str]) -> Ran {
    let args: Vec<_> = ["-m", "signac"].iter().chain(args).copied().collect();
    Ran::of(env.in_env(Command::new(python), dir, &args))
}
