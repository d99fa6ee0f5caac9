//! A hermetic place to run the program in.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A temporary directory with a home of its own; mounts below it are removed with it.
pub(crate) struct Env {
    dir: TempDir,
}

impl Env {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("sweepfs-test-")
            .tempdir()
            .unwrap();
        let env = Self { dir };
        std::fs::create_dir(env.home()).unwrap();
        env
    }

    /// The directory, as the kernel names it.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// A new project of that name.
    pub(crate) fn project(&self, name: &str) -> PathBuf {
        let root = self.path().join(name);
        std::fs::create_dir(&root).unwrap();
        self.run(&root, &["init"]).success();
        root
    }

    /// The program, in a directory, with an environment of its own.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, dir: &Path, args: &[S]) -> Command {
        self.in_env(Command::new(program()), dir, args)
    }

    /// Any program, in that environment.
    pub(crate) fn in_env<S: AsRef<OsStr>>(
        &self,
        mut command: Command,
        dir: &Path,
        args: &[S],
    ) -> Command {
        command.args(args).current_dir(dir).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", self.home())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, dir: &Path, args: &[S]) -> Ran {
        Ran::of(self.command(dir, args))
    }

    /// Runs the program with text on its standard input.
    pub(crate) fn run_with_input<S: AsRef<OsStr>>(
        &self,
        dir: &Path,
        args: &[S],
        input: &str,
    ) -> Ran {
        let file = self.path().join("input");
        std::fs::write(&file, input).unwrap();
        let mut command = self.command(dir, args);
        command.stdin(std::fs::File::open(file).unwrap());
        Ran::of(command)
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        // A failing test must not leave daemons behind.
        let _ = self.command(&self.home(), &["unmount", "--all"]).output();
    }
}

/// The program under test.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_sweepfs")
}

/// Copies the program under test. Not in this process: a file that is open for writing, be it in a
/// child that another test is just starting, cannot be run.
pub(crate) fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(program()).arg(to).status();
    assert!(copied.unwrap().success());
}

/// A program that ran to its end.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(mut command: Command) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: status.code(),
            stdout: text(&stdout),
            stderr: text(&stderr),
        }
    }

    /// Asserts success and returns the output.
    #[track_caller]
    pub(crate) fn success(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.stdout
    }

    /// Asserts an exit code and returns what was said.
    #[track_caller]
    pub(crate) fn failure(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        &self.stderr
    }
}

/// Makes a job as signac lays it out, whatever the state point; returns its directory.
pub(crate) fn write_job(root: &Path, statepoint: &str) -> PathBuf {
    let id =
        sweepfs::statepoint::StatePoint::from_value(sweepfs::pyjson::parse(statepoint).unwrap())
            .unwrap()
            .id();
    let dir = root.join("workspace").join(id.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("signac_statepoint.json"), statepoint).unwrap();
    dir
}

/// Tells whether a name in a workspace is that of what a sync leaves for the next one.
pub(crate) fn is_left_by_sync(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".sweepfs-synced-")
}

/// Returns how many jobs a project has.
pub(crate) fn n_jobs(root: &Path) -> usize {
    let entries = fs::read_dir(root.join("workspace")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names.filter(|name| !is_left_by_sync(name)).count()
}
