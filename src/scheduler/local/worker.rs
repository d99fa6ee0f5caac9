//! The process that begins batch jobs, as long as there is anything to do.
//!
//! It holds no state: whatever it knows stands in journals, so it may be killed at any moment, and
//! the next one goes on. Each batch job has a [shepherd](super::shepherd), which does not need it.

use super::bell::Bell;
use super::journal::{Begun, Event, State};
use super::queue::{Queue, QueueError};
use super::snapshot::Snapshot;
use crate::exec::{self, Machine, Process};
use crate::report::with_causes;
use crate::scheduler::Verdict;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What was not heard of is found after this time. A queue without work has a worker that long.
const PAUSE: Duration = Duration::from_secs(1);

/// Also while it rings all the time, everything is looked at as often as this.
const RINGS_MAX: usize = 200;

/// Works until there is nothing to do. Another worker makes it end at once.
///
/// # Errors
///
/// Fails if the queue cannot be read.
pub fn work(queue: &Queue, program: &Path) -> Result<(), QueueError> {
    let _ = rustix::process::setsid();
    // A handler, not the order to ignore it, which what we start would inherit.
    let hangup = Arc::new(AtomicBool::new(false));
    let _ = signal_hook::flag::register(signal_hook::consts::SIGHUP, hangup);
    if !queue.exists() {
        return Ok(());
    }
    let lock = queue.lock()?;
    let Some(work_lock) = queue.try_lock_worker()? else {
        return Ok(());
    };
    let pruned = queue.prune();
    drop(lock);
    let mut worker = Worker {
        queue,
        program,
        machine: Machine::this(),
        log: crate::fsx::open_log(&queue.log())?,
        snapshot: Snapshot::default(),
        terminated: HashSet::new(),
        told: HashSet::new(),
    };
    worker.tell(pruned);
    let mut bell = Bell::open(&queue.bell());
    let (mut all, mut n_rings) = (true, 0_usize);
    loop {
        worker.look(all)?;
        if !worker.start() {
            // A full disk, say.
            std::thread::sleep(PAUSE);
        }
        if let Some(ids) = bell.wait(PAUSE) {
            n_rings += 1;
            all = !worker.hear(&ids) || n_rings.is_multiple_of(RINGS_MAX);
            continue;
        }
        if !queue.exists() {
            // Somebody has removed it, and taking its lock would make it anew.
            return Ok(());
        }
        let _lock = queue.lock()?;
        worker.look(true)?;
        if !worker.snapshot.has_work() {
            let pruned = queue.prune();
            worker.tell(pruned);
            // Who submits now finds this one free.
            drop(work_lock);
            return Ok(());
        }
        all = false;
    }
}

struct Worker<'a> {
    queue: &'a Queue,
    program: &'a Path,
    machine: Machine,
    log: File,
    snapshot: Snapshot,
    /// The shepherds that were told to end their batch job.
    terminated: HashSet<(i32, String)>,
    /// What was said already.
    told: HashSet<String>,
}

impl Worker<'_> {
    /// Says in the log what went wrong, once.
    fn tell<T>(&mut self, result: Result<T, QueueError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let text = with_causes(&error);
                if self.told.insert(text.clone()) {
                    tracing::warn!("{text}");
                }
                None
            }
        }
    }

    /// Takes in what has happened to some arrays; returns whether all are known.
    fn hear(&mut self, ids: &[u64]) -> bool {
        for id in ids {
            let followed = self.snapshot.refresh_one(*id);
            self.tell(followed);
        }
        ids.iter().all(|id| self.snapshot.0.contains_key(id))
    }

    /// Attends to what runs and what has ended; `all` is whether others may have changed anything.
    fn look(&mut self, all: bool) -> Result<(), QueueError> {
        if all {
            for problem in self.snapshot.refresh(self.queue)? {
                self.tell(Err::<(), _>(problem));
            }
        }
        let any_ended = exec::reap();
        let ids: Vec<u64> = self.snapshot.0.keys().copied().collect();
        for id in ids {
            self.terminate_cancelled(id);
            if all || any_ended {
                let looked = self.look_after(id);
                self.tell(looked);
            }
            let live = &self.snapshot.0[&id];
            if live.progress.has_ended() {
                let put_away = self.queue.put_away(&live.place);
                if self.tell(put_away).is_some() {
                    self.snapshot.0.remove(&id);
                }
            }
        }
        Ok(())
    }

    fn process(&self, begun: &Begun) -> Process {
        Process {
            start: begun.start.clone(),
            ..self.machine.process(begun.pid)
        }
    }

    /// Has the shepherds end what is cancelled.
    fn terminate_cancelled(&mut self, id: u64) {
        let live = &self.snapshot.0[&id];
        let cancelled = live.progress.begun().filter(|(_, begun)| {
            begun.ending == Some(Verdict::Cancelled)
                && !self.terminated.contains(&(begun.pid, begun.start.clone()))
        });
        let cancelled: Vec<_> = cancelled.map(|(_, begun)| begun.clone()).collect();
        for begun in cancelled {
            if self.machine.runs_itself(&self.process(&begun)) == Some(true) {
                exec::terminate(begun.pid);
            }
            self.terminated.insert((begun.pid, begun.start));
        }
    }

    /// Finds what runs without a shepherd: that was killed, or has not had leave.
    fn look_after(&mut self, id: u64) -> Result<(), QueueError> {
        let is_dead = |begun: &Begun| self.machine.runs_itself(&self.process(begun)) == Some(false);
        let live = &self.snapshot.0[&id];
        let dead = live.progress.begun().filter(|(_, begun)| is_dead(begun));
        let dead: Vec<_> = dead.map(|(element, _)| element).collect();
        if dead.is_empty() {
            return Ok(());
        }
        // What it wrote last is there now.
        self.snapshot.refresh_one(id)?;
        let live = &self.snapshot.0[&id];
        for element in dead {
            let Some(State::Begun(begun)) = live.progress.state(element) else {
                continue;
            };
            self.terminated.remove(&(begun.pid, begun.start.clone()));
            let event = if begun.runs {
                let words = match self.is_rebooted(begun) {
                    true => "the machine was restarted",
                    false if !self.end_session(begun) => continue,
                    false => "what watched over it was killed",
                };
                Event::Ended(element, Verdict::NodeFailed, words.to_owned())
            } else {
                Event::Back(element)
            };
            live.place.note(&event)?;
        }
        self.snapshot.refresh_one(id)
    }

    fn is_rebooted(&self, begun: &Begun) -> bool {
        let boot = |start: &str| start.split(':').next().map(str::to_owned);
        let own = self.machine.process(std::process::id() as i32);
        boot(&begun.start) != boot(&own.start)
    }

    /// Kills what a shepherd has left that was killed. Returns whether nothing is left.
    fn end_session(&self, begun: &Begun) -> bool {
        // A number that is that of a session is not given to another process.
        let now = self.machine.process(begun.pid).start;
        let is_ours = now == begun.start || now.ends_with(':');
        !is_ours || exec::kill_session(begun.pid)
    }

    /// Begins what can begin. Returns whether all went well.
    fn start(&mut self) -> bool {
        let mut is_well = true;
        for (id, next) in self.snapshot.plan() {
            let begun = self.begin(id, next.n_starts);
            is_well &= self.tell(begun).is_some();
        }
        is_well
    }

    /// Begins so many elements of an array: notes each with the shepherd that waits for leave, and
    /// gives it leave if the note counts.
    fn begin(&mut self, id: u64, n: u32) -> Result<(), QueueError> {
        for _ in 0..n {
            let gpus = self.free_gpus(id);
            let Some(live) = self.snapshot.0.get_mut(&id) else {
                return Ok(());
            };
            let Some(element) = live.progress.next_waiting() else {
                return Ok(());
            };
            let list: Vec<_> = gpus.iter().map(ToString::to_string).collect();
            let (number, list) = (element.to_string(), list.join(","));
            let array = live.place.dir.file_name().unwrap_or_default();
            let head = ["--io-threads", "1", "local-queue", "shepherd"].map(OsStr::new);
            let tail = [
                self.queue.dir().as_os_str(),
                array,
                number.as_ref(),
                list.as_ref(),
            ];
            let args = [&head[..], &tail[..]].concat();
            let held = exec::start_held(self.program, &args, &self.log)?;
            let process = self.machine.process(held.pid());
            live.place.note(&Event::Begun {
                element,
                pid: process.pid,
                start: process.start.clone(),
                gpus,
            })?;
            live.place.follow(&mut live.progress)?;
            match live.progress.state(element) {
                Some(State::Begun(begun))
                    if begun.pid == process.pid && begun.start == process.start =>
                {
                    drop(held.release());
                }
                // It was held or cancelled meanwhile.
                _ => drop(held),
            }
        }
        Ok(())
    }

    /// Returns the GPUs that an element would have: none if their number is not known.
    fn free_gpus(&self, id: u64) -> Vec<u32> {
        let Some(live) = self.snapshot.0.get(&id) else {
            return Vec::new();
        };
        let (wanted, known) = (live.spec.request.needs.0[2], live.spec.limits.0[2]);
        let all = match u32::try_from(known) {
            Ok(n) if wanted > 0 => 0..n,
            _ => return Vec::new(),
        };
        let lives = self.snapshot.0.values();
        let begun = lives.flat_map(|live| live.progress.begun());
        let used: HashSet<u32> = begun.flat_map(|(_, begun)| begun.gpus.clone()).collect();
        let free = all.filter(|gpu| !used.contains(gpu));
        free.take(wanted as usize).collect()
    }
}
