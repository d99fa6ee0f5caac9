//! The process that runs one batch job, and notes how it ends. It does not need the worker.

use super::journal::Event;
use super::queue::{Place, Queue, QueueError};
use crate::exec::{self, End, GroupSignal, Released, signal_group};
use crate::fsx;
use crate::report::with_causes;
use crate::scheduler::Verdict;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// A note is tried again after these times: a full disk may have room soon.
const RETRIES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// Waiting for ever, in a way that the clock can count.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The array and the element that a shepherd is for.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// The array's directory, by its name.
    pub array: &'a OsStr,
    /// The element.
    pub element: u32,
    /// The GPUs that it has, with commas between them; nothing is as many as it finds.
    pub gpus: &'a str,
}

/// What a shepherd waits for.
#[derive(Debug)]
enum Call {
    Ended(std::io::Result<End>),
    Terminate,
}

/// Waits for leave, runs a batch job, and notes how it ended.
///
/// # Errors
///
/// Fails if that cannot be noted.
pub fn shepherd(
    queue: &Queue,
    program: &Path,
    charge: Charge<'_>,
    leave: impl Read,
) -> Result<(), QueueError> {
    // All that the batch job starts is in our session, unless it leaves it on purpose.
    let _ = rustix::process::setsid();
    let (sender, calls) = mpsc::channel();
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]);
    let signals = signals.map_err(|error| QueueError::Refused(with_causes(&error)))?;
    listen(signals, sender.clone());
    // Nothing: the worker was killed before it had noted us.
    if leave
        .take(1)
        .read_to_end(&mut Vec::new())
        .unwrap_or_default()
        == 0
    {
        return Ok(());
    }
    let Some(place) = queue.live_array(charge.array) else {
        return Ok(());
    };
    place.note(&Event::Runs(charge.element))?;
    let (verdict, words) = match start(queue, &place, charge) {
        Ok((script, patience)) => watch(&place, charge.element, script, patience, sender, &calls)?,
        Err(error) => (Verdict::Failed, with_causes(&error)),
    };
    note(&place, &Event::Ended(charge.element, verdict, words))?;
    // Should the worker have been killed, this starts another one.
    queue.wake(program, &[place.id])
}

/// Calls once for the first of the signals to end. One that says that a terminal is gone does not
/// matter.
fn listen(mut signals: Signals, sender: Sender<Call>) {
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal != SIGHUP {
                let _ = sender.send(Call::Terminate);
                break;
            }
        }
        // From now on, all of them are ignored.
        for _ in signals.forever() {}
    });
}

/// How long a batch job may run, and how long it may take to end.
#[derive(Clone, Copy, Debug)]
struct Patience {
    limit: Duration,
    grace: Duration,
}

fn start(
    queue: &Queue,
    place: &Place,
    charge: Charge<'_>,
) -> Result<(Released, Patience), QueueError> {
    let spec = place.spec()?;
    let mut env = place.env()?;
    let is_set = |name: &str| env.iter().any(|(known, _)| known == name);
    let has_choice = is_set("CUDA_VISIBLE_DEVICES");
    let mut set = |name: &str, value: String| env.push((name.into(), value.into()));
    set("SWEEPFS_ARRAY_ID", queue.name_of(place.id));
    set("SWEEPFS_ARRAY_INDEX", charge.element.to_string());
    if !charge.gpus.is_empty() && !has_choice {
        set("CUDA_VISIBLE_DEVICES", charge.gpus.to_owned());
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(spec.umask));
    let output = output(spec.output.into_os_string(), place.id, charge.element);
    let output = fsx::open_appending(&output)?;
    let script = exec::start_script(&place.script(), &spec.dir, &env, &output)?;
    let patience = Patience {
        limit: spec.request.time_s.map_or(FOR_EVER, Duration::from_secs),
        grace: Duration::from_secs(spec.request.grace_s),
    };
    Ok((script, patience))
}

/// Returns the file that an element prints to.
fn output(pattern: OsString, id: u64, element: u32) -> PathBuf {
    let pattern = pattern.into_vec();
    let mut bytes = pattern.iter();
    let mut path = Vec::new();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.as_slice().first()) {
            (b'%', Some(b'a')) => path.extend(element.to_string().bytes()),
            (b'%', Some(b'A')) => path.extend(id.to_string().bytes()),
            (b'%', Some(b'%')) => path.push(b'%'),
            _ => {
                path.push(*byte);
                continue;
            }
        }
        bytes.next();
    }
    OsStr::from_bytes(&path).into()
}

/// Waits for the end, and brings it about if it takes too long or is asked for.
fn watch(
    place: &Place,
    element: u32,
    script: Released,
    patience: Patience,
    sender: Sender<Call>,
    calls: &Receiver<Call>,
) -> Result<(Verdict, String), QueueError> {
    let group = script.pid();
    std::thread::spawn(move || sender.send(Call::Ended(script.wait())));
    let first = calls.recv_timeout(patience.limit);
    let asked = match &first {
        Ok(Call::Ended(_)) => None,
        Ok(Call::Terminate) => Some("ended by a signal from outside"),
        Err(_) => {
            note(place, &Event::Ends(element, Verdict::TimedOut))?;
            Some("timed out")
        }
    };
    let mut last = first;
    if asked.is_some() {
        signal_group(group, GroupSignal::Terminate);
        last = ended(calls, patience.grace);
        if last.is_err() {
            exec::kill_session(std::process::id() as i32);
            last = ended(calls, FOR_EVER);
        }
    }
    // What it has left behind is not counted any more, so it may not go on.
    exec::kill_session(std::process::id() as i32);
    Ok(match (asked, last) {
        // If it was cancelled, that stands in the journal, and counts.
        (Some(words), _) => (Verdict::NodeFailed, words.to_owned()),
        (None, Ok(Call::Ended(Ok(End::Exit(0))))) => (Verdict::Completed, "exit 0".to_owned()),
        (None, Ok(Call::Ended(Ok(End::Exit(code))))) => (Verdict::Failed, format!("exit {code}")),
        (None, Ok(Call::Ended(Ok(End::Signal(n))))) => (Verdict::Failed, format!("signal {n}")),
        (None, Ok(Call::Ended(Err(error)))) => {
            (Verdict::NodeFailed, format!("its end is unknown: {error}"))
        }
        (None, Ok(Call::Terminate) | Err(_)) => (Verdict::NodeFailed, String::new()),
    })
}

/// Waits for the end alone.
fn ended(calls: &Receiver<Call>, limit: Duration) -> Result<Call, RecvTimeoutError> {
    loop {
        match calls.recv_timeout(limit)? {
            Call::Terminate => {}
            ended @ Call::Ended(_) => return Ok(ended),
        }
    }
}

/// Notes something that may not get lost.
fn note(place: &Place, event: &Event) -> Result<(), QueueError> {
    for pause in RETRIES {
        match place.note(event) {
            Err(error) => tracing::warn!("{}", with_causes(&error)),
            Ok(()) => return Ok(()),
        }
        std::thread::sleep(pause);
    }
    place.note(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_named_by_numbers() {
        for (pattern, path) in [
            ("/p/%a.log", "/p/7.log"),
            ("/p/%A_%a", "/p/12_7"),
            ("/p/100%%/%%a-%a", "/p/100%/%a-7"),
            ("/p/%x%", "/p/%x%"),
        ] {
            assert_eq!(output(pattern.into(), 12, 7), PathBuf::from(path));
        }
    }
}
