//! Runs programs; the only module that starts a process.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A program that could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It did not start.
    #[error("cannot run `{}`", program.display())]
    Start {
        /// What was to run.
        program: PathBuf,
        /// Why it did not.
        #[source]
        cause: io::Error,
    },
    /// It was killed because it took too long.
    #[error("`{}` did not end within {} s and was killed", program.display(), limit.as_secs())]
    TimedOut {
        /// What ran.
        program: PathBuf,
        /// The limit it exceeded.
        limit: Duration,
    },
}

/// How a program ended and what it printed.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit status is 0.
    pub success: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a program to its end, without input, and captures what it prints.
pub fn run(program: &Path, args: &[&OsStr], limit: Duration) -> Result<Finished, ExecError> {
    let start_error = |cause| ExecError::Start {
        program: program.to_owned(),
        cause,
    };
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().map_err(start_error)?;
    let pid = rustix::process::Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(limit) {
        Ok(output) => {
            let output = output.map_err(start_error)?;
            Ok(Finished {
                success: output.status.success(),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
        }
        Err(_) => {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            Err(ExecError::TimedOut {
                program: program.to_owned(),
                limit,
            })
        }
    }
}

/// Starts a program that outlives us: its input is empty, its error output goes to a log, and its
/// output is ours to read. It has our environment and the variables of `env`.
pub fn start_daemon(
    program: &Path,
    args: &[&OsStr],
    env: &[(&str, PathBuf)],
    log: File,
) -> Result<impl Read + use<>, ExecError> {
    let mut command = Command::new(program);
    command
        .args(args)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = spawn(command, program)?;
    Ok(child.stdout.take().expect("stdout is piped"))
}

/// Starts a program that reads from `input` and prints to a log.
pub fn start_reader(
    program: &Path,
    args: &[&OsStr],
    input: OwnedFd,
    log: File,
) -> Result<Running, ExecError> {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir("/")
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(log);
    spawn(command, program).map(Running)
}

fn spawn(mut command: Command, program: &Path) -> Result<Child, ExecError> {
    command.spawn().map_err(|cause| ExecError::Start {
        program: program.to_owned(),
        cause,
    })
}

/// A started program.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Waits for its end.
    pub fn wait(&mut self) -> io::Result<()> {
        self.0.wait().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_killed() {
        let args = [OsStr::new("-c"), OsStr::new("exec sleep 60")];
        let error =
            run(Path::new("/bin/sh"), &args, Duration::from_millis(200)).expect_err("it hangs");
        assert!(matches!(error, ExecError::TimedOut { .. }));
    }

    #[test]
    fn output_is_captured() {
        let args = [
            OsStr::new("-c"),
            OsStr::new("echo out; echo err >&2; exit 3"),
        ];
        let finished = run(Path::new("/bin/sh"), &args, Duration::from_secs(10)).expect("it runs");
        assert_eq!(
            (
                finished.success,
                finished.stdout.as_str(),
                finished.stderr.as_str()
            ),
            (false, "out\n", "err\n")
        );
    }
}
