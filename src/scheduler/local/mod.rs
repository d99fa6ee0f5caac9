//! A queue of our own, on this machine: for laptops, tests and demonstrations, and for workstations.
//!
//! Its state is files. Who submits, asks or cancels reads and writes them itself; a [worker] begins
//! batch jobs as long as there are any, and each runs under a [shepherd] that notes its end.

mod bell;
mod journal;
mod plan;
mod queue;
mod request;
mod shepherd;
mod snapshot;
mod worker;

pub use queue::{Limits, Queue, QueueError, Submission};
pub use shepherd::{Charge, shepherd};
pub use worker::work;

use super::command::{CHANGING_MAX, succeeded};
use super::{Array, ArrayId, Order, Scheduler, Seen, States, Trouble};
use crate::exec;
use crate::report::with_causes;
use crate::template::Scope;
use journal::{Event, Ranges, State, ranges};
use plan::Why;
use queue::Place;
use snapshot::Snapshot;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const TEMPLATE: &str = r#"#!/bin/bash
{% block header %}
#SWEEPFS --name={{ name }}
#SWEEPFS --elements={{ n_elements }}
{% if at_once > 0 %}
#SWEEPFS --at-once={{ at_once }}
{% endif %}
#SWEEPFS --cores={{ cores }}
{% if memory %}
#SWEEPFS --memory={{ memory }}
{% endif %}
{% if gpus > 0 %}
#SWEEPFS --gpus={{ gpus }}
{% endif %}
{% if time %}
#SWEEPFS --time={{ time }}
{% endif %}
{% if dependency %}
#SWEEPFS --after={{ dependency }}
{% endif %}
{% if hold %}
#SWEEPFS --hold
{% endif %}
{% for option in options %}
#SWEEPFS {{ option.text | raw }}
{% endfor %}
{% endblock %}

{% block setup %}
{% if setup %}
{{ setup | raw }}
{% endif %}
{% endblock %}
{% block body %}
exec {{ program }} -C {{ project }} batch {{ name }} "$SWEEPFS_ARRAY_INDEX" "$SWEEPFS_ARRAY_ID"
{% endblock %}
"#;

/// The queue of this machine.
#[derive(Debug)]
pub struct Local {
    queue: Queue,
    program: PathBuf,
    limits: Limits,
}

impl Local {
    /// Returns the queue, whose processes are those of this program.
    pub fn new(queue: Queue, program: PathBuf, limits: Limits) -> Self {
        Self {
            queue,
            program,
            limits,
        }
    }

    /// Notes something for each array of which some elements are named.
    fn note(&self, ids: &[String], event: impl Fn(Ranges) -> Event) -> Result<(), Trouble> {
        let mut elements: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for id in ids {
            let parts = id.split_once('_');
            let parts =
                parts.and_then(|(id, element)| Some((id.parse().ok()?, element.parse().ok()?)));
            let (array, element) =
                parts.ok_or_else(|| Trouble(format!("`{id}` is no batch job")))?;
            elements.entry(array).or_default().push(element);
        }
        let mut changed = Vec::new();
        for place in self.queue.live()? {
            let Some(elements) = elements.remove(&place.id) else {
                continue;
            };
            match place.note(&event(ranges(elements))) {
                // It has ended a moment ago.
                Err(QueueError::Fs(error)) if error.kind() == ErrorKind::NotFound => {}
                noted => noted?,
            }
            changed.push(place.id);
        }
        match changed.is_empty() {
            true => Ok(()),
            false => Ok(self.queue.wake(&self.program, &changed)?),
        }
    }
}

impl Scheduler for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn elements_max(&self) -> u32 {
        request::ELEMENTS_MAX
    }

    fn template(&self) -> &str {
        TEMPLATE
    }

    fn words(&self, order: &Order<'_>, common: Scope) -> Scope {
        let memory = order.needs.memory_bytes.map(|bytes| bytes.to_string());
        let time = order.needs.walltime_s.map(|time_s| time_s.to_string());
        common
            .with("at_once", order.at_once.unwrap_or_default())
            .with("memory", memory.unwrap_or_default())
            .with("time", time.unwrap_or_default())
            .with("dependency", order.after.join(","))
            .with("hold", order.is_held)
    }

    fn command(&self, script: &Path, dir: &Path, logs: &Path) -> Vec<OsString> {
        let with = |option: &str, value: &OsStr| {
            let mut argument = OsString::from(option);
            argument.push(value);
            argument
        };
        let logs = logs.to_string_lossy().replace('%', "%%");
        let mut command = vec![
            self.program.clone().into(),
            "local-queue".into(),
            "submit".into(),
            with("--chdir=", dir.as_os_str()),
            format!("--output={logs}/%a.log").into(),
        ];
        let Limits {
            cores,
            memory_bytes,
            gpus,
        } = self.limits;
        command.extend(cores.map(|n| format!("--limit-cores={n}").into()));
        command.extend(memory_bytes.map(|n| format!("--limit-memory={n}").into()));
        command.extend(gpus.map(|n| format!("--limit-gpus={n}").into()));
        command.push(script.into());
        command
    }

    fn submit(&self, command: &[OsString]) -> Result<String, Trouble> {
        let args: Vec<_> = command.iter().skip(1).map(OsString::as_os_str).collect();
        // Our own environment goes with it, so nothing is set in it.
        let finished = exec::run(&self.program, &args, CHANGING_MAX);
        let finished = succeeded("sweepfs local-queue submit", finished)?;
        let id = finished.stdout.trim();
        match id.parse::<u64>() {
            Ok(id) => Ok(id.to_string()),
            Err(_) => Err(Trouble(format!("`{id}` is no id of an array"))),
        }
    }

    fn array_id(&self, id: &str) -> ArrayId {
        ArrayId::new(id, format!("{id}_"), 0)
    }

    fn find(&self, name: &str) -> Result<Option<String>, Trouble> {
        let found = self.queue.find(name)?;
        Ok(found.map(|id| id.to_string()))
    }

    fn poll(&self, arrays: &[Array]) -> (States, Option<Trouble>) {
        let mut snapshot = Snapshot::default();
        let mut troubles = match snapshot.refresh(&self.queue) {
            Ok(problems) => problems,
            Err(error) => return (States::new(), Some(error.into())),
        };
        if snapshot.has_work() {
            troubles.extend(self.queue.wake(&self.program, &[]).err());
        }
        let next = snapshot.plan();
        let mut states = States::new();
        for array in arrays {
            let live = array.id.id.parse().ok().and_then(|id| snapshot.0.get(&id));
            if let Some(live) = live.filter(|live| live.place.name == array.name) {
                let why = next.get(&live.place.id).and_then(|next| next.why);
                add(&mut states, array, why, |element| {
                    live.progress.state(element)
                });
                continue;
            }
            let done = self.queue.done_array(&array.id.id, &array.name);
            match done.as_ref().map(Place::load) {
                Some(Ok((_, progress))) => {
                    add(&mut states, array, None, |element| progress.state(element));
                }
                Some(Err(QueueError::Fs(error))) if error.kind() == ErrorKind::NotFound => {
                    // What is damaged may be alive all the same.
                    let gone = array.element_ids().map(|id| (id, Seen::Gone));
                    states.extend(gone.filter(|_| troubles.is_empty()));
                }
                Some(Err(error)) => troubles.push(error),
                None => {}
            }
        }
        (states, troubles.into_iter().next().map(Trouble::from))
    }

    fn cancel(&self, ids: &[String]) -> Result<(), Trouble> {
        self.note(ids, Event::Cancel)
    }

    fn hold(&self, ids: &[String]) -> Result<(), Trouble> {
        self.note(ids, Event::Hold)
    }

    fn release(&self, ids: &[String]) -> Result<(), Trouble> {
        self.note(ids, Event::Release)
    }
}

impl From<QueueError> for Trouble {
    fn from(error: QueueError) -> Self {
        Self(with_causes(&error))
    }
}

/// Adds what is known of the elements of an array.
fn add<'p>(
    states: &mut States,
    array: &Array,
    why: Option<Why>,
    state: impl Fn(u32) -> Option<&'p State>,
) {
    let why = why.map(Why::text).unwrap_or_default();
    for element in &array.elements {
        let seen = match state(*element) {
            Some(State::Waiting) => Seen::Queued(why.clone()),
            Some(State::Held) => Seen::Held,
            Some(State::Begun(begun)) => Seen::Active(begun.ending),
            Some(State::Ended(verdict, words)) => Seen::Ended(*verdict, words.clone()),
            None => Seen::Gone,
        };
        states.insert(array.id.element(*element), seen);
    }
}
