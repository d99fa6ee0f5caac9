//! How far a sync is, how fast it may be, and when it must end.

use crate::cli::args::LimitArgs;
use crate::report::{Event, Observer};
use crate::sync::{Bytes, Pacer};
use crate::term::Term;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What has begun when the time is over may go on for this part of the time, but not longer than that.
const GRACE_PART: u32 = 10;
const GRACE_MAX: Duration = Duration::from_secs(30);

/// Nobody waits for less.
const WAIT_MIN: Duration = Duration::from_millis(5);

/// Whether there is still time is asked so often while somebody waits.
const WAIT_STEP: Duration = Duration::from_millis(200);

/// A bar is drawn so often.
const BAR_STEP: Duration = Duration::from_millis(200);

/// Shorter work shows no bar.
const BAR_DELAY: Duration = Duration::from_millis(500);

/// Where there is no terminal, a line is printed so often.
const LINE_STEP: Duration = Duration::from_secs(10);

/// A rate is that of so much time.
const RATE_SPAN: Duration = Duration::from_secs(15);

/// What a file costs, in the bytes that could be moved meanwhile.
const FILE_BYTES: u64 = 50_000;

/// Limits of a command, all of whose syncs share them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    begin: Instant,
    pub(super) stop_after: Option<Duration>,
}

impl Limits {
    pub(super) fn new(args: &LimitArgs) -> Self {
        Self {
            begin: Instant::now(),
            stop_after: args.stop_after,
        }
    }

    /// Tells whether nothing new may begin.
    pub(super) fn is_over(&self) -> bool {
        self.stop_after
            .is_some_and(|time| self.begin.elapsed() >= time)
    }

    fn is_cut(&self) -> bool {
        self.stop_after
            .is_some_and(|time| self.begin.elapsed() >= time + (time / GRACE_PART).min(GRACE_MAX))
    }
}

/// Paces one sync, and counts what it does.
#[derive(Debug)]
pub(super) struct Pacing {
    limits: Limits,
    /// The bytes that may be moved in a second.
    rate_bytes: Option<f64>,
    /// All that has been moved is paid for then.
    paid: Mutex<Instant>,
    bytes: AtomicU64,
    files: AtomicUsize,
    /// All files and bytes.
    files_total: usize,
    bytes_total: u64,
}

impl Pacing {
    /// Paces a sync of so many files and bytes.
    pub(super) fn new(limits: Limits, rate_bytes: Option<f64>, total: (usize, u64)) -> Self {
        Self {
            limits,
            rate_bytes,
            paid: Mutex::new(Instant::now()),
            bytes: AtomicU64::new(0),
            files: AtomicUsize::new(0),
            files_total: total.0,
            bytes_total: total.1,
        }
    }

    /// Does some work, and shows meanwhile how far it is.
    pub(super) fn shown<T>(&self, term: &Term, name: &str, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            let (end, ended) = channel();
            scope.spawn(move || self.show(term, name, &ended));
            let result = work();
            drop(end);
            result
        })
    }

    fn show(&self, term: &Term, name: &str, ended: &Receiver<()>) {
        let (mut rates, begin) = (Rates::default(), Instant::now());
        rates.add(begin, 0, 0);
        let (mut bar, mut next) = (None, begin + LINE_STEP);
        if !term.has_bars() && !term.has_progress_lines() {
            return;
        }
        let mut step = BAR_DELAY;
        while ended.recv_timeout(step) == Err(RecvTimeoutError::Timeout) {
            step = BAR_STEP;
            let now = Instant::now();
            let state = self.state(&mut rates, now);
            if term.has_bars() {
                bar.get_or_insert_with(|| term.transfer_bar(name)).show(
                    state.work,
                    state.work_total,
                    &state,
                );
            } else if now >= next {
                next = now + LINE_STEP;
                term.note(format_args!("{name}: {state}"));
            }
        }
    }

    /// Waits for so long, and for those who came before.
    fn pay(&self, time: Duration) {
        let paid = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            *paid = (*paid).max(Instant::now()) + time;
            *paid
        };
        loop {
            let wait = paid.saturating_duration_since(Instant::now());
            if wait < WAIT_MIN || self.is_cut() {
                return;
            }
            std::thread::sleep(wait.min(WAIT_STEP));
        }
    }

    fn state(&self, rates: &mut Rates, now: Instant) -> State {
        let files = self.files.load(Ordering::Relaxed);
        let files_total = self.files_total.max(files);
        let bytes = self.bytes.load(Ordering::Relaxed).min(self.bytes_total);
        let work = |files: usize, bytes| bytes + files as u64 * FILE_BYTES;
        let (work, work_total) = (work(files, bytes), work(files_total, self.bytes_total));
        rates.add(now, bytes, work);
        let (byte_rate, work_rate) = rates.per_second();
        let left_s = (work_total - work) as f64 / work_rate;
        State {
            files: (files, files_total),
            bytes: (bytes, self.bytes_total),
            rate: byte_rate as u64,
            left: Duration::try_from_secs_f64(left_s).ok(),
            work,
            work_total,
        }
    }
}

impl Pacer for Pacing {
    fn moved(&self, bytes: u64) {
        if let Some(rate) = self.rate_bytes {
            self.pay(Duration::from_secs_f64(bytes as f64 / rate));
        }
        self.reported(bytes);
    }

    fn reported(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.limits.is_over()
    }

    fn is_cut(&self) -> bool {
        self.limits.is_cut()
    }
}

impl Observer for Pacing {
    fn event(&self, event: Event<'_>) {
        if let Event::Progress { done, .. } = event {
            self.files.fetch_max(done, Ordering::Relaxed);
        }
    }
}

/// How far a sync was at some times: bytes that were moved, and work that was done.
#[derive(Default)]
struct Rates(VecDeque<(Instant, u64, u64)>);

impl Rates {
    fn add(&mut self, now: Instant, bytes: u64, work: u64) {
        self.0.push_back((now, bytes, work));
        let is_old = |(at, ..): &(Instant, u64, u64)| now.duration_since(*at) > RATE_SPAN;
        while self.0.len() > 2 && self.0.get(1).is_some_and(is_old) {
            self.0.pop_front();
        }
    }

    fn per_second(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else {
            return (0.0, 0.0);
        };
        let seconds = last.0.duration_since(first.0).as_secs_f64().max(1e-3);
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        (rate(first.1, last.1), rate(first.2, last.2))
    }
}

/// How far a sync is.
struct State {
    files: (usize, usize),
    bytes: (u64, u64),
    /// Bytes in a second.
    rate: u64,
    left: Option<Duration>,
    work: u64,
    work_total: u64,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (files, bytes) = (self.files, self.bytes);
        write!(f, "{} of {} files", files.0, files.1)?;
        if bytes.1 > 0 {
            write!(f, ", {} of {}", Bytes(bytes.0), Bytes(bytes.1))?;
            write!(f, ", {}/s", Bytes(self.rate))?;
        }
        match self.left {
            Some(left) => write!(f, ", {} left", brief(left)),
            None => Ok(()),
        }
    }
}

/// Says how long something takes, in its two largest units.
pub(super) fn brief(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let text = |large: String, n: u64, unit: &str| match n {
        0 => large,
        n => format!("{large} {n} {unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..600 => text(format!("{minutes} min"), seconds % 60, "s"),
        600..3600 => format!("{minutes} min"),
        3600..86_400 => text(format!("{hours} h"), minutes % 60, "min"),
        _ => text(format!("{days} d"), hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told() {
        for (seconds, text) in [
            (0, "0 s"),
            (90, "1 min 30 s"),
            (120, "2 min"),
            (1000, "16 min"),
            (5000, "1 h 23 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(brief(Duration::from_secs(seconds)), text);
        }
        let (mut rates, begin) = (Rates::default(), Instant::now());
        for second in 0..100 {
            // Faster at the end.
            let bytes = if second < 50 { second } else { 10 * second };
            rates.add(
                begin + Duration::from_secs(second),
                bytes * 1000,
                bytes * 2000,
            );
        }
        assert_eq!(rates.per_second(), (10_000.0, 20_000.0));
        let limits = Limits {
            begin,
            stop_after: None,
        };
        let pacing = Pacing::new(limits, None, (10, 1_000_000));
        pacing.event(Event::Progress {
            what: "",
            done: 2,
            total: 10,
        });
        pacing.moved(500_000);
        let mut rates = Rates::default();
        rates.add(begin, 0, 0);
        let state = pacing.state(&mut rates, begin + Duration::from_secs(1));
        let text = "2 of 10 files, 500.0 kB of 1.0 MB, 500.0 kB/s, 2 s left";
        assert_eq!(state.to_string(), text);
        assert!(!pacing.is_over() && !pacing.is_cut());
    }
}
