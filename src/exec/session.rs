//! Sessions, and children that have ended.

use super::stat_of;
use rustix::process::{Pid, Signal, WaitOptions};
use std::time::Duration;

/// So often a session is looked at whose processes were killed.
const KILLING_ROUNDS: usize = 20;

/// In between, this much time passes.
const KILLING_PAUSE: Duration = Duration::from_millis(5);

/// Asks one process to end, if it is there.
pub fn terminate(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}

/// Returns the processes of a session but for the one that leads it.
pub fn session_members(session: i32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_member =
        |pid: &i32| stat_of(*pid).is_some_and(|stat| stat.session == session && !stat.is_dead);
    pids.filter(|pid| *pid != session)
        .filter(is_member)
        .collect()
}

/// Kills all processes of a session but for the one that leads it, until there is none. Returns
/// whether there is none, which may take longer than we wait.
pub fn kill_session(session: i32) -> bool {
    for _ in 0..KILLING_ROUNDS {
        let members = session_members(session);
        if members.is_empty() {
            return true;
        }
        for pid in members.into_iter().filter_map(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(KILLING_PAUSE);
    }
    false
}

/// Has the kernel forget those of our children that have ended. Returns whether there were any.
pub fn reap() -> bool {
    let mut any = false;
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {
        any = true;
    }
    any
}
