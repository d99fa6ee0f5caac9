//! Runs programs; the only module that starts a process.

mod memory;
mod session;
mod ssh;
mod stream;

pub use memory::OomKills;
pub use session::{kill_session, reap, session_members, terminate};
pub use ssh::{Answer, Connection, Kept, SshError, SshOptions};
pub use stream::stream;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
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
    run_with(program, args, &[], limit)
}

/// As [`run`] does, with variables of the environment that are set, or taken away.
pub fn run_with(
    program: &Path,
    args: &[&OsStr],
    env: &[(&str, Option<&str>)],
    limit: Duration,
) -> Result<Finished, ExecError> {
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
    for (name, value) in env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
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

/// Starts a program that waits until it is released by a byte on its standard input, and ends by
/// itself if there is none. What it prints goes to a log.
pub fn start_held(program: &Path, args: &[&OsStr], log: &File) -> Result<Held, ExecError> {
    let start_error = |cause| ExecError::Start {
        program: program.to_owned(),
        cause,
    };
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(log.try_clone().map_err(start_error)?)
        .stderr(log.try_clone().map_err(start_error)?);
    spawn(command, program).map(|child| Held(Some(child)))
}

/// Starts a script of `bash`, without input, in a process group of its own and with no other
/// environment than `env`. What it prints goes to `output`.
pub fn start_script(
    script: &Path,
    dir: &Path,
    env: &[(OsString, OsString)],
    output: &File,
) -> Result<Released, ExecError> {
    let program = Path::new("/bin/bash");
    let start_error = |cause| ExecError::Start {
        program: program.to_owned(),
        cause,
    };
    let mut bash = Command::new(program);
    bash.arg(script)
        .current_dir(dir)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(start_error)?)
        .stderr(output.try_clone().map_err(start_error)?)
        .process_group(0);
    spawn(bash, program).map(Released)
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

/// Returns a word as a shell reads it.
pub fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Returns a word, whatever bytes it has, as a shell reads it.
pub fn quoted_bytes(word: &OsStr) -> Vec<u8> {
    let mut text = b"'".to_vec();
    for byte in word.as_bytes() {
        match byte {
            b'\'' => text.extend_from_slice(br"'\''"),
            byte => text.push(*byte),
        }
    }
    text.push(b'\'');
    text
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

/// A process that was started on some machine, so that it can be found again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// The name of the machine.
    pub host: String,
    /// Its number, which is also that of its process group.
    pub pid: i32,
    /// When it was started: `<boot id>:<ticks since boot>`.
    pub start: String,
}

/// This machine, which knows what runs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    host: String,
    boot: String,
}

impl Machine {
    /// Asks the kernel.
    pub fn this() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Self {
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            boot: boot.unwrap_or_default().trim().to_owned(),
        }
    }

    /// Returns its name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns how a process that runs here can be found again.
    pub fn process(&self, pid: i32) -> Process {
        let ticks = stat_of(pid)
            .map(|stat| stat.start_ticks)
            .unwrap_or_default();
        Process {
            host: self.host.clone(),
            pid,
            start: format!("{}:{ticks}", self.boot),
        }
    }

    /// Tells whether a process itself still runs; `None` if it is on another machine.
    pub fn runs_itself(&self, process: &Process) -> Option<bool> {
        self.is_known(process, || false)
    }

    /// Tells whether a process or one of the group that it leads still runs; `None` if it is on
    /// another machine.
    pub fn runs(&self, process: &Process) -> Option<bool> {
        // The number of a group is not given to another process while one is in it.
        self.is_known(process, || is_group_alive(process.pid))
    }

    fn is_known(&self, process: &Process, without_leader: impl FnOnce() -> bool) -> Option<bool> {
        if process.host != self.host {
            return None;
        }
        let Some((boot, ticks)) = process.start.rsplit_once(':') else {
            return Some(false);
        };
        if boot != self.boot {
            return Some(false);
        }
        Some(match stat_of(process.pid) {
            Some(leader) if leader.start_ticks != ticks => false,
            Some(leader) if !leader.is_dead => true,
            // Others' processes may be hidden.
            None if is_hidden(process.pid) => true,
            _ => without_leader(),
        })
    }
}

/// What `/proc` says of a process.
struct Stat {
    is_dead: bool,
    group: i32,
    session: i32,
    start_ticks: String,
}

fn stat_of(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        is_dead: matches!(*fields.first()?, "Z" | "X"),
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: (*fields.get(19)?).to_owned(),
    })
}

/// Tells whether there is a process that we may not see.
fn is_hidden(pid: i32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid);
    let tested = pid.map(rustix::process::test_kill_process);
    tested == Some(Err(rustix::io::Errno::PERM))
}

fn is_group_alive(group: i32) -> bool {
    let known = rustix::process::Pid::from_raw(group);
    if known.is_none_or(|pid| rustix::process::test_kill_process_group(pid).is_err()) {
        return false;
    }
    // Those that have ended but were not waited for are still found.
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.any(|pid| stat_of(pid).is_some_and(|stat| stat.group == group && !stat.is_dead))
}

/// A command for `bash`.
#[derive(Clone, Copy, Debug)]
pub struct Shell<'a> {
    /// What is run.
    pub command: &'a str,
    /// Where it is run.
    pub dir: &'a Path,
    /// Variables besides those that we have.
    pub env: &'a [(&'a str, String)],
}

impl Shell<'_> {
    fn bash(&self, prefix: &str) -> Command {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c"])
            .arg(format!("{prefix}{}", self.command))
            .current_dir(self.dir)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        bash
    }

    /// Starts the command in a process group of its own. It waits until it is released, and does
    /// nothing if we end before that. What it prints goes to `output`.
    pub fn start_held(&self, output: &File) -> Result<Held, ExecError> {
        let program = Path::new("bash");
        let start_error = |cause| ExecError::Start {
            program: program.to_owned(),
            cause,
        };
        let mut bash = self.bash("read -r _ || exit 125; exec </dev/null; ");
        bash.stdin(Stdio::piped())
            .stdout(output.try_clone().map_err(start_error)?)
            .stderr(output.try_clone().map_err(start_error)?)
            .process_group(0);
        spawn(bash, program).map(|child| Held(Some(child)))
    }

    /// Runs the command to its end, without input; what it prints is ignored, and what it says on
    /// its error output is ours.
    pub fn test(&self) -> Result<End, ExecError> {
        let mut bash = self.bash("");
        bash.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = spawn(bash, Path::new("bash"))?;
        child.wait().map(End::of).map_err(not_awaited)
    }

    /// Runs the command to its end, with a text to read. Returns how it ended, and what it printed,
    /// at most so many bytes; what it says on its error output is ours.
    pub fn ask(&self, input: &str, size_bytes_max: u64) -> Result<(End, String), ExecError> {
        let mut bash = self.bash("");
        bash.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(bash, Path::new("bash"))?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut text = Vec::new();
        let ended = std::thread::scope(|scope| {
            // It need not read all, or anything.
            scope.spawn(move || stdin.write_all(input.as_bytes()));
            let read = stdout.take(size_bytes_max).read_to_end(&mut text);
            read.and_then(|_| child.wait())
        });
        let text = String::from_utf8_lossy(&text).into_owned();
        ended
            .map(|status| (End::of(status), text))
            .map_err(not_awaited)
    }
}

fn not_awaited(cause: io::Error) -> ExecError {
    ExecError::Start {
        program: "bash".into(),
        cause,
    }
}

impl End {
    fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Exit(code),
            None => Self::Signal(status.signal().unwrap_or_default()),
        }
    }
}

/// A command that waits for its release. If it is dropped, the command ends without having begun.
#[derive(Debug)]
pub struct Held(Option<Child>);

impl Held {
    /// Returns its process, which leads a process group.
    pub fn pid(&self) -> i32 {
        self.0.as_ref().map_or(0, |child| child.id() as i32)
    }

    /// Lets it begin.
    pub fn release(mut self) -> Released {
        let mut child = self.0.take().expect("it is released once");
        if let Some(mut gate) = child.stdin.take() {
            let _ = gate.write_all(b"\n");
        }
        Released(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct Released(Child);

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

impl Released {
    /// Returns its process, which leads a process group.
    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// Waits for its end, and ends what it left in its process group.
    pub fn wait(mut self) -> io::Result<End> {
        let status = self.0.wait()?;
        let group = self.0.id() as i32;
        if is_group_alive(group) {
            signal_group(group, GroupSignal::Kill);
        }
        Ok(End::of(status))
    }
}

/// What a process group is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupSignal {
    /// To end.
    Terminate,
    /// To be ended.
    Kill,
}

/// Sends a signal to all processes of a group, if there is any.
pub fn signal_group(group: i32, signal: GroupSignal) {
    let signal = match signal {
        GroupSignal::Terminate => rustix::process::Signal::TERM,
        GroupSignal::Kill => rustix::process::Signal::KILL,
    };
    if let Some(group) = rustix::process::Pid::from_raw(group) {
        let _ = rustix::process::kill_process_group(group, signal);
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
