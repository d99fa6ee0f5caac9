//! Serving threads stand where their client runs.
//!
//! A client that walks a tree waits for each answer. If its daemon runs on another processor, that
//! one has to be woken up for each request, and the client's for each answer, which takes longer
//! than all the rest: 30 to 250 µs, and 12 to 16 µs on the same one (on virtual machines). So a
//! thread that answers one client many times in a row moves to the client's processor, and is free
//! again once it answers another.
//!
//! The scheduler would then move the client to a processor that is idle, and so on. On machines of
//! few processors, threads of the lowest priority keep the others from being idle while requests
//! follow each other; anything else that wants to run takes precedence.

use super::registry::process_processor;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// So many requests of one client make a thread move, or look whether the client has moved.
const REQUESTS: u32 = 64;

/// Requests follow each other if no more time than this passes between them.
const GAP_MAX: Duration = Duration::from_millis(1);

/// Machines of more processors are left alone: there, clients have room beside the daemon.
const PROCESSORS_MAX: usize = 4;

/// The lowest priority.
const NICE: i32 = 19;

/// Turns of a wait between looks at the clock.
const TURNS: usize = 500;

thread_local! {
    static PLACE: RefCell<Placement> = RefCell::new(Placement::new());
}

/// Where this thread stands, and whom it answers.
struct Placement {
    /// The processors it may use.
    all: Option<CpuSet>,
    client: u32,
    n_requests: u32,
    at: Option<usize>,
}

/// Notes a request of a client, given by its thread id.
pub(super) fn follow(client: u32) {
    PLACE.with_borrow_mut(|place| place.follow(client));
}

impl Placement {
    fn new() -> Self {
        Self {
            all: sched_getaffinity(None::<Pid>).ok(),
            client: 0,
            n_requests: 0,
            at: None,
        }
    }

    fn follow(&mut self, client: u32) {
        if client != self.client {
            self.client = client;
            self.n_requests = 0;
            self.stand(None);
            return;
        }
        self.n_requests = (self.n_requests + 1) % REQUESTS;
        if self.n_requests == 0 {
            self.stand(process_processor(client));
        }
        if let (Some(_), Some(all)) = (self.at, self.all) {
            KEEPERS.get_or_init(|| Keepers::start(all)).note();
        }
    }

    /// Moves to a processor, or to wherever there is room.
    fn stand(&mut self, at: Option<usize>) {
        let Some(all) = self.all.filter(|_| at != self.at) else {
            return;
        };
        let mut set = all;
        if let Some(at) = at.filter(|&at| all.is_set(at)) {
            set = CpuSet::new();
            set.set(at);
        }
        if sched_setaffinity(None::<Pid>, &set).is_ok() {
            self.at = at;
        }
    }
}

static KEEPERS: OnceLock<Keepers> = OnceLock::new();

/// The threads that keep processors from being idle.
struct Keepers {
    started: Instant,
    /// When the last request came, in nanoseconds since the start.
    last: Arc<AtomicU64>,
    keepers: Vec<(Thread, Arc<AtomicBool>)>,
}

impl Keepers {
    fn start(all: CpuSet) -> Self {
        let n = all.count() as usize;
        let n_keepers = if n <= PROCESSORS_MAX { n - 1 } else { 0 };
        let (started, last) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let start = |_| {
            let (last, rests) = (Arc::clone(&last), Arc::new(AtomicBool::new(false)));
            let shared = Arc::clone(&rests);
            let thread = std::thread::spawn(move || keep(&all, started, &last, &shared));
            (thread.thread().clone(), rests)
        };
        Self {
            started,
            keepers: (0..n_keepers).map(start).collect(),
            last,
        }
    }

    /// Notes a request.
    fn note(&self) {
        self.last
            .store(nanoseconds_since(self.started), Ordering::Relaxed);
        for (thread, rests) in &self.keepers {
            if rests.swap(false, Ordering::Relaxed) {
                thread.unpark();
            }
        }
    }
}

/// Keeps a processor busy as long as requests follow each other.
fn keep(all: &CpuSet, started: Instant, last: &AtomicU64, rests: &AtomicBool) {
    // At an ordinary priority it would do harm.
    if rustix::process::setpriority_process(None, NICE).is_err() {
        return;
    }
    // The thread that started this one stands somewhere already.
    let _ = sched_setaffinity(None::<Pid>, all);
    loop {
        let since = nanoseconds_since(started).saturating_sub(last.load(Ordering::Relaxed));
        if Duration::from_nanos(since) < GAP_MAX {
            (0..TURNS).for_each(|_| std::hint::spin_loop());
        } else {
            rests.store(true, Ordering::Relaxed);
            std::thread::park();
        }
    }
}

fn nanoseconds_since(start: Instant) -> u64 {
    start.elapsed().as_nanos() as u64
}
