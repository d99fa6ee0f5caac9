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
use journal::{Event, Progress, Ranges, State, ranges};
use plan::Why;
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

    /// Reads how far an array is that is not alive here; `None` if this is not known any more.
    fn progress_of(&self, id: u64, host: &str, name: &str) -> Result<Option<Progress>, QueueError> {
        let queue = self.queue.of_host(host);
        if !queue.exists() {
            let dir = queue.dir().display();
            let reason = format!(
                "nothing is known of the array {id}.{host}: the queue of {host} would be in `{dir}`, which is not there"
            );
            return Err(QueueError::Refused(reason));
        }
        // In this order, since arrays go from one to the other.
        let file_name = format!("{id}.{name}");
        let live = queue.live_array(OsStr::new(&file_name));
        for place in live
            .into_iter()
            .chain(queue.done_array(OsStr::new(&file_name)))
        {
            match place.load() {
                Err(QueueError::Fs(error)) if error.kind() == ErrorKind::NotFound => {}
                loaded => return loaded.map(|(_, progress)| Some(progress)),
            }
        }
        Ok(None)
    }

    /// Notes something for each array of which some elements are named.
    fn note(&self, ids: &[String], event: impl Fn(Ranges) -> Event) -> Result<(), Trouble> {
        let mut elements: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for id in ids {
            let (array, element, host) =
                element_of(id).ok_or_else(|| Trouble(format!("`{id}` is no batch job")))?;
            if host != self.queue.host() {
                let trouble =
                    format!("`{id}` is in the queue of {host}, and can be changed only there");
                return Err(Trouble(trouble));
            }
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
        match array_of(id) {
            Some(_) => Ok(id.to_owned()),
            None => Err(Trouble(format!("`{id}` is no id of an array"))),
        }
    }

    fn array_id(&self, id: &str) -> ArrayId {
        let (number, host) = id.split_once('.').unwrap_or((id, ""));
        ArrayId::new(id, format!("{number}_"), 0).with_suffix(format!(".{host}"))
    }

    fn find(&self, name: &str) -> Result<Option<String>, Trouble> {
        let found = self.queue.find(name)?;
        Ok(found.map(|id| self.queue.name_of(id)))
    }

    fn is_ours(&self) -> bool {
        true
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
            let Some((id, host)) = array_of(&array.id.id) else {
                continue;
            };
            let live = snapshot.0.get(&id).filter(|_| host == self.queue.host());
            if let Some(live) = live.filter(|live| live.place.name == array.name) {
                let why = next.get(&id).and_then(|next| next.why);
                add(&mut states, array, why, |element| {
                    live.progress.state(element)
                });
                continue;
            }
            match self.progress_of(id, host, &array.name) {
                Ok(Some(progress)) => {
                    add(&mut states, array, None, |element| progress.state(element));
                }
                // What is damaged may be alive all the same.
                Ok(None) if troubles.is_empty() => {
                    states.extend(array.element_ids().map(|id| (id, Seen::Gone)));
                }
                Ok(None) => {}
                Err(error) => troubles.push(error),
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

/// Reads what an array is called: its number, and the machine in whose queue it is.
fn array_of(id: &str) -> Option<(u64, &str)> {
    let (number, host) = id.split_once('.')?;
    let is_name = !host.contains('/') && host != "." && host != "..";
    Some((number.parse().ok()?, host)).filter(|_| is_name)
}

/// Reads what an element is called.
fn element_of(id: &str) -> Option<(u64, u32, &str)> {
    let (array, rest) = id.split_once('_')?;
    let (element, host) = rest.split_once('.')?;
    Some((array.parse().ok()?, element.parse().ok()?, host))
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
