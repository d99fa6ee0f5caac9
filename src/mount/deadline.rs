//! Answers that come in time, or an error in their place.
//!
//! A file system on the network may keep who asks it waiting for as long as its server does not
//! answer. So what could ask it is done by workers, and whoever comes first answers: the worker, or
//! a timer. What a worker finds too late is dropped.
//!
//! Memory is bounded by those who ask: what waits for a worker is thrown away with its deadline.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Something that waits for an answer.
pub(super) trait Reply: Send + 'static {
    /// Answers that there is none.
    fn fail(self);
}

/// Where the answer goes.
#[derive(Debug)]
pub(super) enum Slot<R> {
    /// To one who waits as long as it takes.
    Patient(R),
    /// To one who waits until the deadline.
    Due(Due<R>),
}

/// A reply that a worker and the timer share.
#[derive(Debug)]
pub(super) struct Due<R> {
    id: u64,
    reply: Arc<Mutex<Option<R>>>,
    shared: Arc<Shared>,
}

impl<R> Slot<R> {
    /// Returns what is to be answered; `None` if it is too late.
    pub(super) fn take(self) -> Option<R> {
        match self {
            Self::Patient(reply) => Some(reply),
            Self::Due(due) => {
                let reply = locked(&due.reply).take();
                if reply.is_some() {
                    due.shared.answered(due.id);
                }
                reply
            }
        }
    }
}

/// The workers and the timer; they stay until the process ends.
#[derive(Debug)]
pub(super) struct Deadline(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: Duration,
    state: Mutex<State>,
    /// There is work.
    added: Condvar,
    /// There is something to wait for.
    opened: Condvar,
}

type Work = Box<dyn FnOnce() + Send>;

/// By numbers in the order of the requests, which is that of their deadlines.
#[derive(Default)]
struct State {
    next_id: u64,
    /// What nobody has answered: when it is due, and how to fail it.
    open: BTreeMap<u64, (Instant, Work)>,
    /// What no worker has begun.
    waiting: BTreeMap<u64, Work>,
    timer_rests: bool,
    /// The last answer did not come in time.
    late: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, waiting) = (self.open.len(), self.waiting.len());
        write!(f, "{open} open, {waiting} waiting")
    }
}

impl State {
    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Deadline {
    /// Starts the workers and the timer.
    pub(super) fn new(limit: Duration, n_workers: usize) -> Self {
        let shared = Arc::new(Shared {
            limit,
            state: Mutex::default(),
            added: Condvar::new(),
            opened: Condvar::new(),
        });
        for _ in 0..n_workers {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.work());
        }
        let timed = Arc::clone(&shared);
        std::thread::spawn(move || timed.watch_clock());
        Self(shared)
    }

    /// Has a worker find an answer; `reply` fails if it has not taken it from the slot in time.
    pub(super) fn answer<R: Reply>(&self, reply: R, work: impl FnOnce(Slot<R>) + Send + 'static) {
        let reply = Arc::new(Mutex::new(Some(reply)));
        let failing = Arc::clone(&reply);
        let fail = move || {
            let late = locked(&failing).take();
            late.into_iter().for_each(Reply::fail);
        };
        let shared = Arc::clone(&self.0);
        let mut state = locked(&self.0.state);
        let id = state.new_id();
        let slot = Slot::Due(Due { id, reply, shared });
        let due = Instant::now() + self.0.limit;
        state.open.insert(id, (due, Box::new(fail)));
        state.waiting.insert(id, Box::new(move || work(slot)));
        if std::mem::take(&mut state.timer_rests) {
            self.0.opened.notify_one();
        }
        drop(state);
        self.0.added.notify_one();
    }

    /// Has a worker do what nobody waits for, however late. Nothing bounds how much of it there is.
    pub(super) fn some_time(&self, work: impl FnOnce() + Send + 'static) {
        let mut state = locked(&self.0.state);
        let id = state.new_id();
        state.waiting.insert(id, Box::new(work));
        drop(state);
        self.0.added.notify_one();
    }
}

impl Shared {
    fn answered(&self, id: u64) {
        let mut state = locked(&self.state);
        let answered = state.open.remove(&id);
        let was_late = std::mem::take(&mut state.late);
        drop((state, answered));
        if was_late {
            tracing::warn!("the workspace answers again");
        }
    }

    fn work(&self) -> ! {
        loop {
            let mut state = locked(&self.state);
            let work = loop {
                match state.waiting.pop_first() {
                    Some((_, work)) => break work,
                    None => state = waited(self.added.wait(state)),
                }
            };
            drop(state);
            work();
        }
    }

    fn watch_clock(&self) -> ! {
        let mut state = locked(&self.state);
        loop {
            let Some((&id, &(due, _))) = state.open.first_key_value() else {
                state.timer_rests = true;
                state = waited(self.opened.wait(state));
                continue;
            };
            let left = due.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                state = waited(self.opened.wait_timeout(state, left)).0;
                continue;
            }
            let (open, waiting) = (state.open.remove(&id), state.waiting.remove(&id));
            let is_first = !std::mem::replace(&mut state.late, true);
            drop(state);
            if is_first {
                let limit_s = self.limit.as_secs();
                tracing::warn!("the workspace does not answer within {limit_s} s");
            }
            // What it holds must be let go of before the answer.
            drop(waiting);
            open.into_iter().for_each(|(_, fail)| fail());
            state = locked(&self.state);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    waited(mutex.lock())
}

fn waited<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const LIMIT: Duration = Duration::from_millis(200);

    /// Enough for anything to happen.
    const LONG: Duration = Duration::from_secs(20);

    struct Asked(Sender<Option<u32>>);

    impl Reply for Asked {
        fn fail(self) {
            self.0.send(None).expect("somebody waits");
        }
    }

    /// Asks for a number which is there when the other end of `gate` is dropped.
    fn ask(deadline: &Deadline, number: u32, gate: Receiver<()>) -> Receiver<Option<u32>> {
        let (sender, answer) = channel();
        deadline.answer(Asked(sender), move |slot| {
            let _ = gate.recv();
            if let Some(Asked(sender)) = slot.take() {
                sender.send(Some(number)).expect("somebody waits");
            }
        });
        answer
    }

    fn open_gate() -> Receiver<()> {
        channel().1
    }

    fn n_open(deadline: &Deadline) -> (usize, usize) {
        let state = locked(&deadline.0.state);
        (state.open.len(), state.waiting.len())
    }

    #[test]
    fn an_answer_in_time_is_the_answer() {
        let deadline = Deadline::new(LONG, 2);
        for number in 0..100 {
            let answer = ask(&deadline, number, open_gate());
            assert_eq!(answer.recv_timeout(LONG), Ok(Some(number)));
        }
        assert_eq!(n_open(&deadline), (0, 0));
    }

    #[test]
    fn a_late_answer_is_dropped() {
        let deadline = Deadline::new(LIMIT, 1);
        let (gate, shut) = channel();
        let begun = Instant::now();
        let answer = ask(&deadline, 1, shut);
        assert_eq!(answer.recv_timeout(LONG), Ok(None));
        assert!(begun.elapsed() >= LIMIT);
        drop(gate);
        assert!(answer.recv_timeout(LONG).is_err(), "there is one answer");
        // The timer has rested meanwhile, and goes on.
        std::thread::sleep(LIMIT);
        let (_gate, shut) = channel();
        assert_eq!(ask(&deadline, 2, shut).recv_timeout(LONG), Ok(None));
    }

    #[test]
    fn if_all_workers_hang_the_rest_fails_in_time_and_is_thrown_away() {
        let deadline = Deadline::new(LIMIT, 2);
        let (gates, shut): (Vec<_>, Vec<_>) = (0..2).map(|_| channel()).unzip();
        let hanging: Vec<_> = shut.into_iter().map(|s| ask(&deadline, 0, s)).collect();
        let ask_more = || (0..50).map(|number| ask(&deadline, number, open_gate()));
        for _ in 0..2 {
            let more: Vec<_> = ask_more().collect();
            for answer in hanging.iter().chain(&more) {
                // Those that hang fail once, and are gone then.
                assert!(matches!(answer.recv_timeout(LONG), Ok(None) | Err(_)));
            }
            assert_eq!(n_open(&deadline), (0, 0));
        }
        let (sender, closed) = channel();
        deadline.some_time(move || sender.send(()).expect("somebody waits"));
        std::thread::sleep(LIMIT * 2);
        assert!(closed.try_recv().is_err());
        drop(gates);
        assert_eq!(closed.recv_timeout(LONG), Ok(()), "it has no deadline");
        for (number, answer) in (0..).zip(ask_more().collect::<Vec<_>>()) {
            assert_eq!(answer.recv_timeout(LONG), Ok(Some(number)));
        }
    }
}
