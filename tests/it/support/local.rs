//! A private queue of this machine.

use super::batch::Cluster;
use super::env::{Env, Ran, program};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use sweepfs::scheduler::local::{Limits, Queue};
use sweepfs::scheduler::{Array, Local, Scheduler, Seen};

/// The queue of one test, whose processes end with it.
pub(crate) struct LocalQueue {
    state: PathBuf,
}

impl Cluster for LocalQueue {
    fn up(env: &Env) -> Option<Self> {
        let state = env.path().join("state");
        fs::create_dir(&state).unwrap();
        Some(Self { state })
    }

    fn vars(&self) -> Vec<(String, String)> {
        let state = self.state.to_str().unwrap().to_owned();
        vec![("XDG_STATE_HOME".to_owned(), state)]
    }
}

impl LocalQueue {
    fn queue(&self) -> Queue {
        Queue::below(&self.state.join("sweepfs"))
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.queue().dir().to_owned()
    }

    /// What speaks to it, as the commands do.
    pub(crate) fn scheduler(&self) -> Local {
        Local::new(self.queue(), program().into(), Limits::default())
    }

    /// Submits a script of our own, and returns the array.
    pub(crate) fn submit(&self, env: &Env, script: &str, args: &[&str]) -> Result<Array, Ran> {
        let path = env.path().join("own.sh");
        fs::write(&path, script).unwrap();
        let all = [&["local-queue", "submit"], args, &["own.sh"]].concat();
        let mut command = env.command(&env.path(), &all);
        command.envs(self.vars());
        let ran = Ran::of(command);
        if ran.code != Some(0) {
            return Err(ran);
        }
        let field = |key: &str| {
            let line = script.lines().find_map(|line| line.strip_prefix(key));
            line.map(|value| value.trim().to_owned())
        };
        let n = field("#SWEEPFS --elements=").map_or(1, |n| n.parse().unwrap());
        Ok(Array {
            id: self.scheduler().array_id(ran.stdout.trim()),
            name: field("#SWEEPFS --name=").unwrap_or_else(|| "batch".to_owned()),
            elements: (0..n).collect(),
        })
    }

    /// How far the elements of an array are.
    #[track_caller]
    pub(crate) fn seen(&self, array: &Array) -> Vec<Seen> {
        let (states, trouble) = self.scheduler().poll(std::slice::from_ref(array));
        assert_eq!(trouble, None);
        array.element_ids().map(|id| states[&id].clone()).collect()
    }

    /// The processes that work for it: workers, or shepherds.
    pub(crate) fn processes(&self, kind: &str) -> Vec<i32> {
        processes_with(&self.state, kind)
    }
}

/// The processes whose command line has both.
fn processes_with(path: &Path, word: &str) -> Vec<i32> {
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // What is about to be started has the command line of the one who starts it, but its session.
    pids.filter(|pid| session(*pid) == Some(*pid))
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            has(&line, path.as_os_str().as_bytes()) && has(&line, format!("\0{word}\0").as_bytes())
        })
        .collect()
}

impl Drop for LocalQueue {
    fn drop(&mut self) {
        // What runs ends with its shepherd, unless a worker is quicker.
        for worker in self.processes("work") {
            kill(worker);
        }
        for shepherd in self.processes("shepherd") {
            for pid in session_members(shepherd) {
                kill(pid);
            }
        }
    }
}

/// Kills a process, if it is there.
pub(crate) fn kill(pid: i32) {
    let mut command = Command::new("kill");
    command.args(["-s", "KILL", &pid.to_string()]);
    let _ = command.stderr(Stdio::null()).status();
}

/// The processes of a session, the one that leads it included.
pub(crate) fn session_members(session: i32) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| self::session(*pid) == Some(session))
        .collect()
}

/// The session of a process.
fn session(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(3)?.parse().ok()
}
