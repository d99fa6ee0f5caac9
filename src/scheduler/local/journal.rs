//! What has happened to an array: a file to which each process appends what it does.
//!
//! The order in the file decides. Whoever begins an element looks after that whether its line
//! counts: it does not if the element was held, cancelled or begun before.

use crate::scheduler::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Elements, as the first and the last of each range.
pub(super) type Ranges = Vec<(u32, u32)>;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// A shepherd waits for leave to run an element.
    Begun {
        element: u32,
        pid: i32,
        start: String,
        gpus: Vec<u32>,
    },
    /// The shepherd has had it, and runs the element.
    Runs(u32),
    /// The shepherd has not had it and is gone, so the element waits again.
    Back(u32),
    /// The element is being ended.
    Ends(u32, Verdict),
    /// It has ended, in these words.
    Ended(u32, Verdict, String),
    /// What waits is held.
    Hold(Ranges),
    /// What is held waits.
    Release(Ranges),
    /// What waits or is held has ended; what runs is to be ended.
    Cancel(Ranges),
}

impl Event {
    /// Returns it as a line. The empty one before it ends another one of which only a part was
    /// written.
    pub(super) fn line(&self) -> Vec<u8> {
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("\n{text}\n").into_bytes()
    }
}

/// Returns the ranges of some numbers.
pub(super) fn ranges(elements: impl IntoIterator<Item = u32>) -> Ranges {
    let elements: BTreeSet<u32> = elements.into_iter().collect();
    let mut ranges: Ranges = Vec::new();
    for element in elements {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == element => *last = element,
            _ => ranges.push((element, element)),
        }
    }
    ranges
}

/// An element that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    /// Its shepherd, which leads a session.
    pub(super) pid: i32,
    /// When that was started.
    pub(super) start: String,
    /// The GPUs that it has.
    pub(super) gpus: Vec<u32>,
    /// Whether the shepherd has had leave.
    pub(super) runs: bool,
    /// Why it is being ended.
    pub(super) ending: Option<Verdict>,
}

/// How far an element is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It waits.
    Waiting,
    /// It waits until it is released.
    Held,
    /// It runs.
    Begun(Begun),
    /// It has ended, in these words.
    Ended(Verdict, String),
}

/// How far an array is.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    states: Vec<State>,
    begun: BTreeSet<u32>,
    n_waiting: u32,
    n_ended: u32,
    /// No element before this one waits.
    first_waiting: u32,
    /// What has been read of the journal.
    size_bytes: u64,
}

impl Progress {
    /// Nothing has happened yet.
    pub(super) fn new(n_elements: u32, is_held: bool) -> Self {
        let first = match is_held {
            true => State::Held,
            false => State::Waiting,
        };
        Self {
            states: vec![first; n_elements as usize],
            begun: BTreeSet::new(),
            n_waiting: if is_held { 0 } else { n_elements },
            n_ended: 0,
            first_waiting: 0,
            size_bytes: 0,
        }
    }

    /// Returns how many wait.
    pub(super) fn n_waiting(&self) -> u32 {
        self.n_waiting
    }

    /// Returns those that run.
    pub(super) fn begun(&self) -> impl Iterator<Item = (u32, &Begun)> {
        self.begun
            .iter()
            .filter_map(|element| match self.state(*element) {
                Some(State::Begun(begun)) => Some((*element, begun)),
                _ => None,
            })
    }

    /// Returns how many run.
    pub(super) fn n_begun(&self) -> u32 {
        self.begun.len() as u32
    }

    /// Tells whether all have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.n_ended as usize == self.states.len()
    }

    /// Returns how far an element is.
    pub(super) fn state(&self, element: u32) -> Option<&State> {
        self.states.get(element as usize)
    }

    /// Returns the first of those that wait.
    pub(super) fn next_waiting(&mut self) -> Option<u32> {
        let from = self.first_waiting as usize;
        let waits = |state: &State| *state == State::Waiting;
        let found = self.states[from..].iter().position(waits)?;
        self.first_waiting += found as u32;
        Some(self.first_waiting)
    }

    /// Returns how much of the journal was read.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Takes in what stands in the journal from there on. A line that is not whole is left for the
    /// next time; one that is not understood says nothing.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        for line in bytes[..whole].split(|b| *b == b'\n') {
            if let Ok(event) = serde_json::from_slice(line) {
                self.apply(event);
            }
        }
        self.size_bytes += whole as u64;
    }

    /// Takes in an event.
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Begun {
                element,
                pid,
                start,
                gpus,
            } => {
                let begun = Begun {
                    pid,
                    start,
                    gpus,
                    runs: false,
                    ending: None,
                };
                self.change(element, |state| match state {
                    State::Waiting => Some(State::Begun(begun)),
                    _ => None,
                });
            }
            Event::Runs(element) => self.change_begun(element, |begun| Begun {
                runs: true,
                ..begun
            }),
            Event::Ends(element, verdict) => self.change_begun(element, |begun| Begun {
                ending: begun.ending.or(Some(verdict)),
                ..begun
            }),
            Event::Back(element) => self.change(element, |state| match state {
                State::Begun(begun) => Some(match begun.ending {
                    Some(verdict) => ended_as_asked(verdict),
                    None => State::Waiting,
                }),
                _ => None,
            }),
            Event::Ended(element, verdict, words) => self.change(element, |state| match state {
                State::Begun(begun) => Some(match begun.ending {
                    Some(verdict) => ended_as_asked(verdict),
                    None => State::Ended(verdict, words),
                }),
                _ => None,
            }),
            Event::Hold(ranges) => self.change_all(&ranges, |state| match state {
                State::Waiting => Some(State::Held),
                _ => None,
            }),
            Event::Release(ranges) => self.change_all(&ranges, |state| match state {
                State::Held => Some(State::Waiting),
                _ => None,
            }),
            Event::Cancel(ranges) => self.change_all(&ranges, |state| match state {
                State::Waiting | State::Held => Some(ended_as_asked(Verdict::Cancelled)),
                State::Begun(begun) => Some(State::Begun(Begun {
                    ending: begun.ending.or(Some(Verdict::Cancelled)),
                    ..begun.clone()
                })),
                State::Ended(..) => None,
            }),
        }
    }

    fn change_begun(&mut self, element: u32, change: impl FnOnce(Begun) -> Begun) {
        self.change(element, |state| match state {
            State::Begun(begun) => Some(State::Begun(change(begun.clone()))),
            _ => None,
        });
    }

    fn change_all(&mut self, ranges: &[(u32, u32)], change: impl Fn(&State) -> Option<State>) {
        let n = self.states.len() as u32;
        for (first, last) in ranges {
            for element in *first..n.min(last.saturating_add(1)) {
                self.change(element, &change);
            }
        }
    }

    fn change(&mut self, element: u32, change: impl FnOnce(&State) -> Option<State>) {
        let Some(state) = self.states.get_mut(element as usize) else {
            return;
        };
        let Some(new) = change(state) else { return };
        let old = std::mem::replace(state, new);
        self.n_waiting -= u32::from(old == State::Waiting);
        if matches!(old, State::Begun(_)) {
            self.begun.remove(&element);
        }
        match &self.states[element as usize] {
            State::Waiting => {
                self.n_waiting += 1;
                self.first_waiting = self.first_waiting.min(element);
            }
            State::Begun(_) => drop(self.begun.insert(element)),
            State::Ended(..) => self.n_ended += 1,
            State::Held => {}
        }
    }
}

/// What was ended on purpose ended in that way, whatever it did about it.
fn ended_as_asked(verdict: Verdict) -> State {
    let words = match verdict {
        Verdict::TimedOut => "timed out",
        _ => "cancelled",
    };
    State::Ended(verdict, words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(element: u32) -> Event {
        Event::Begun {
            element,
            pid: 7,
            start: "boot:1".into(),
            gpus: vec![],
        }
    }

    fn ended(element: u32, verdict: Verdict, words: &str) -> Event {
        Event::Ended(element, verdict, words.to_owned())
    }

    fn after(n: u32, events: &[Event]) -> Progress {
        let bytes: Vec<_> = events.iter().flat_map(Event::line).collect();
        let mut progress = Progress::new(n, false);
        progress.read(&bytes);
        assert_eq!(progress.size_bytes(), bytes.len() as u64);
        progress
    }

    #[test]
    fn the_first_of_two_counts() {
        let all = vec![(0, 9)];
        let progress = after(3, &[Event::Hold(all.clone()), begun(1)]);
        assert_eq!(progress.state(1), Some(&State::Held));
        let progress = after(3, &[begun(1), Event::Hold(all.clone())]);
        assert_eq!((progress.n_begun(), progress.n_waiting()), (1, 0));
        let progress = after(3, &[Event::Cancel(all.clone()), begun(1)]);
        assert!(progress.has_ended());
        let mut progress = after(
            3,
            &[
                Event::Hold(all.clone()),
                Event::Release(vec![(1, 1)]),
                begun(1),
                begun(1),
            ],
        );
        assert_eq!((progress.n_begun(), progress.n_waiting()), (1, 0));
        assert_eq!(progress.next_waiting(), None);
        progress.apply(Event::Release(all));
        assert_eq!(progress.next_waiting(), Some(0));
    }

    #[test]
    fn what_is_ended_on_purpose_ended_so() {
        let all = vec![(0, 0)];
        let cancelled = State::Ended(Verdict::Cancelled, "cancelled".into());
        let progress = after(
            1,
            &[
                begun(0),
                Event::Runs(0),
                Event::Cancel(all.clone()),
                ended(0, Verdict::Completed, "exit 0"),
            ],
        );
        assert_eq!(progress.state(0), Some(&cancelled));
        // Cancelled before it had leave, and never begun.
        let progress = after(1, &[begun(0), Event::Cancel(all.clone()), Event::Back(0)]);
        assert_eq!(progress.state(0), Some(&cancelled));
        // The limit was reached first.
        let events = [
            begun(0),
            Event::Runs(0),
            Event::Ends(0, Verdict::TimedOut),
            Event::Cancel(all.clone()),
            ended(0, Verdict::Failed, "signal 15"),
            Event::Cancel(all),
            ended(0, Verdict::Completed, "exit 0"),
        ];
        let progress = after(1, &events);
        assert_eq!(
            progress.state(0),
            Some(&State::Ended(Verdict::TimedOut, "timed out".into()))
        );
    }

    #[test]
    fn lines_of_which_only_a_part_was_written_say_nothing() {
        let mut progress = Progress::new(3, false);
        let torn = &begun(2).line()[..20];
        progress.read(torn);
        assert_eq!(progress.size_bytes(), 1);
        let mut rest = torn[1..].to_vec();
        rest.extend(begun(1).line());
        rest.extend(b"\n{\"unknown\":3}\n\xff\n");
        progress.read(&rest);
        assert_eq!(progress.size_bytes(), (1 + rest.len()) as u64);
        assert_eq!(
            progress
                .begun()
                .map(|(element, _)| element)
                .collect::<Vec<_>>(),
            [1]
        );
        progress.apply(begun(99));
    }

    #[test]
    fn numbers_are_told_in_ranges() {
        assert_eq!(ranges([4, 1, 2, 3, 9, 9]), [(1, 4), (9, 9)]);
        assert_eq!(ranges([]), []);
    }

    #[test]
    fn many_elements_are_begun_in_order() {
        let mut progress = Progress::new(10_000, false);
        for element in 0..10_000 {
            assert_eq!(progress.next_waiting(), Some(element));
            progress.apply(begun(element));
            progress.apply(Event::Runs(element));
            progress.apply(ended(element, Verdict::Completed, "exit 0"));
        }
        assert!(progress.has_ended());
    }
}
