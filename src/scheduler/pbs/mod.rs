//! OpenPBS, PBS Pro and Torque.

mod listing;

use super::command::{Commands, names_nothing, succeeded};
use super::{Array, ArrayId, Order, Scheduler, Seen, States, Trouble};
use crate::exec::Finished;
use crate::template::Scope;
use listing::{Job, JobId, Listing, Place};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

/// The largest array where the server does not say.
const ELEMENTS_MAX: u32 = 10_000;

/// Older versions, and Torque, take no longer names.
const NAME_LEN_MAX: usize = 15;

/// So many batch jobs are named to one command.
const NAMED_AT_ONCE: usize = 500;

/// Who has sent more arrays than that asks for all batch jobs.
const ASKED_BY_ID_MAX: usize = 200;

const TEMPLATE: &str = r#"#!/bin/bash
{% block header %}
#PBS -N {{ batch_name }}
#PBS -S /bin/bash
{% if array %}
#PBS {{ array_option }} {{ array }}
{% else %}
#PBS -r n
{% endif %}
#PBS -j oe
#PBS -V
{% for resource in resources %}
#PBS -l {{ resource.text | raw }}
{% endfor %}
{% if account %}
#PBS -A {{ account }}
{% endif %}
{% if partition %}
#PBS -q {{ partition }}
{% endif %}
{% if dependency %}
#PBS -W depend={{ dependency | raw }}
{% endif %}
{% if hold %}
#PBS -h
{% endif %}
{% for option in options %}
#PBS {{ option.text | raw }}
{% endfor %}
{% endblock %}

cd {{ project }} || exit
{% block setup %}
{% if setup %}
{{ setup | raw }}
{% endif %}
{% endblock %}
{% block body %}
exec {{ program }} -C {{ project }} batch {{ name }} {{ element | raw }}
{% endblock %}
"#;

/// What an element of an array may be told by mistake, if it is one that submits.
const COMMANDS: Commands = Commands {
    env: &[
        ("PBS_ARRAY_ID", None),
        ("PBS_ARRAY_INDEX", None),
        ("PBS_ARRAYID", None),
        ("PBS_DPREFIX", None),
    ],
};

/// Times are told as this says.
const ASKING: Commands = Commands {
    env: &[("TZ", Some("UTC0"))],
};

/// Which of its descendants it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenPBS and PBS Pro.
    OpenPbs,
    /// Torque.
    Torque,
}

/// OpenPBS, PBS Pro or Torque, through their commands.
#[derive(Clone, Copy, Debug)]
pub struct Pbs(pub Dialect);

impl Scheduler for Pbs {
    fn name(&self) -> &'static str {
        match self.0 {
            Dialect::OpenPbs => "pbs",
            Dialect::Torque => "torque",
        }
    }

    fn elements_max(&self) -> u32 {
        let server = ASKING.ask("qstat", &["-B", "-f"]);
        let server = server.ok().filter(|server| server.success);
        server
            .and_then(|server| array_size_max(&server.stdout))
            .unwrap_or(ELEMENTS_MAX)
    }

    fn template(&self) -> &str {
        TEMPLATE
    }

    fn words(&self, order: &Order<'_>, common: Scope) -> Scope {
        let resource = |text: &String| Scope::new().with("text", text.as_str());
        let resources: Vec<_> = self.resources(order).iter().map(resource).collect();
        let (option, element) = match self.0 {
            Dialect::OpenPbs => ("-J", r#""$PBS_ARRAY_INDEX" "$PBS_ARRAY_ID""#),
            Dialect::Torque => ("-t", r#""$PBS_ARRAYID" "${PBS_JOBID%%\[*}[]""#),
        };
        let array = self.array(order);
        let element = match array.is_empty() {
            true => r#"0 "$PBS_JOBID""#,
            false => element,
        };
        common
            .with("batch_name", batch_name(order.name))
            .with("array", array)
            .with("array_option", option)
            .with("element", element)
            .with("resources", resources)
            .with("dependency", self.dependency(order.after))
            .with("hold", order.is_held)
    }

    fn command(&self, script: &Path, _: &Path, logs: &Path) -> Vec<OsString> {
        let mut output = logs.as_os_str().to_owned();
        // What ends in `/` is a directory. Torque appends `-` and the element's number to a file.
        output.push(match self.0 {
            Dialect::OpenPbs => "/",
            Dialect::Torque => "/log",
        });
        vec!["qsub".into(), "-o".into(), output, script.into()]
    }

    fn submit(&self, command: &[OsString]) -> Result<String, Trouble> {
        let finished = COMMANDS.submit(command)?;
        let mut lines = finished.stdout.lines().rev();
        let id = lines.find_map(JobId::parse);
        id.map(|id| id.array())
            .ok_or_else(|| names_nothing("qsub", &finished))
    }

    /// The name of the server is no part of an id, since it is written in more than one way.
    fn array_id(&self, id: &str) -> ArrayId {
        match JobId::parse(id) {
            Some(JobId { number, place }) if place != Place::Single => {
                ArrayId::new(&format!("{number}[]"), format!("{number}["), 0).with_suffix("]")
            }
            Some(id) => ArrayId::single(&id.number),
            None => ArrayId::single(id),
        }
    }

    fn find(&self, name: &str) -> Result<Option<String>, Trouble> {
        let name = batch_name(name);
        let finished = self.ask_with_history("qselect", &["-N", &name])?;
        let ids: Vec<_> = finished.stdout.lines().filter_map(JobId::parse).collect();
        Ok(ids.last().map(JobId::array))
    }

    fn poll(&self, arrays: &[Array]) -> (States, Option<Trouble>) {
        let ids: Vec<_> = arrays.iter().map(|array| array.id.id.as_str()).collect();
        match self.list(&ids) {
            Ok(listing) => (seen(arrays, &listing), None),
            Err(trouble) => (States::new(), Some(trouble)),
        }
    }

    fn cancel(&self, ids: &[String]) -> Result<(), Trouble> {
        change("qdel", ids)
    }

    fn hold(&self, ids: &[String]) -> Result<(), Trouble> {
        change("qhold", &self.holdable(ids)?)
    }

    fn release(&self, ids: &[String]) -> Result<(), Trouble> {
        change("qrls", &self.holdable(ids)?)
    }
}

impl Pbs {
    /// Returns the range of elements. PBS knows no array of one, so that is none.
    fn array(self, order: &Order<'_>) -> String {
        if self.0 == Dialect::OpenPbs && order.n_elements < 2 {
            return String::new();
        }
        let at_once = order.at_once.map(|n| format!("%{n}")).unwrap_or_default();
        format!("0-{}{at_once}", order.n_elements.saturating_sub(1))
    }

    fn resources(self, order: &Order<'_>) -> Vec<String> {
        let needs = order.needs;
        let (processes, threads) = (needs.processes, needs.threads);
        let time = needs
            .walltime_s
            .map(|time_s| format!("walltime={}", clock(time_s)));
        let mut resources: Vec<_> = match self.0 {
            Dialect::OpenPbs => {
                // A chunk is on one node. If GPUs cannot be shared out, there is but one chunk.
                let n_chunks = match order.nodes {
                    Some(n) => n.max(1),
                    None if needs.gpus.is_multiple_of(processes.max(1)) => processes.max(1),
                    None => 1,
                };
                let n_processes = processes.div_ceil(n_chunks);
                // As much as its processes need, since the last chunk may have fewer.
                let memory = needs.memory_bytes.map(|bytes| {
                    let bytes = u128::from(bytes) * u128::from(n_processes);
                    let bytes = bytes.div_ceil(u128::from(processes.max(1)));
                    format!(":mem={}mb", bytes.div_ceil(1 << 20))
                });
                let gpus = match needs.gpus {
                    0 => String::new(),
                    n => format!(":ngpus={}", n.div_ceil(n_chunks)),
                };
                let cores = n_processes * threads;
                let memory = memory.unwrap_or_default();
                let chunk =
                    format!("select={n_chunks}:ncpus={cores}:mpiprocs={n_processes}{memory}{gpus}");
                let is_spread = order.nodes.is_some_and(|n| n > 1);
                let place = is_spread.then(|| "place=scatter".to_owned());
                std::iter::once(chunk).chain(place).collect()
            }
            Dialect::Torque => {
                let n_nodes = order.nodes.unwrap_or(1).max(1);
                let gpus = match needs.gpus {
                    0 => String::new(),
                    n => format!(":gpus={}", n.div_ceil(n_nodes)),
                };
                let memory = needs.memory_bytes;
                let memory = memory.map(|bytes| format!("mem={}mb", bytes.div_ceil(1 << 20)));
                let cores = processes.div_ceil(n_nodes) * threads;
                let nodes = format!("nodes={n_nodes}:ppn={cores}{gpus}");
                std::iter::once(nodes).chain(memory).collect()
            }
        };
        resources.extend(time);
        resources
    }

    fn dependency(self, after: &[String]) -> String {
        let word = match self.0 {
            Dialect::OpenPbs => "afterany",
            Dialect::Torque => "afteranyarray",
        };
        match after {
            [] => String::new(),
            ids => format!("{word}:{}", ids.join(":")),
        }
    }

    /// Asks for batch jobs and all elements of arrays: by their ids, or without any for all.
    fn list(self, ids: &[&str]) -> Result<Listing, Trouble> {
        let ids = if ids.len() > ASKED_BY_ID_MAX {
            &[]
        } else {
            ids
        };
        // Of several, JSON shows but the first; and all is what all users have had for weeks.
        if self.0 == Dialect::Torque || ids.len() > 1 {
            return self.list_as_text(ids);
        }
        let args = [&["-t", "-f", "-F", "json"], ids].concat();
        let finished = match self.ask_with_history("qstat", &args) {
            Err(trouble) if trouble.0.to_lowercase().contains("usage") => {
                return self.list_as_text(ids);
            }
            finished => finished?,
        };
        if finished.stdout.trim().is_empty() {
            return match finished.stderr.trim().is_empty() {
                true => Err(says_nothing(&finished)),
                false => Ok(Listing::default()),
            };
        }
        match Listing::of_json(&finished.stdout) {
            Some(listing) => Ok(listing),
            // Some versions write no sound JSON if a variable is odd.
            None => self.list_as_text(ids),
        }
    }

    fn list_as_text(self, ids: &[&str]) -> Result<Listing, Trouble> {
        let args = [&["-t", "-f"], ids].concat();
        let finished = self.ask_with_history("qstat", &args)?;
        let listing = Listing::of_text(&finished.stdout);
        // Only who asks for all may be told of nothing, without a word on what is unknown.
        let is_plausible = ids.is_empty() && finished.stdout.trim().is_empty();
        if listing.jobs.is_empty() && finished.stderr.trim().is_empty() && !is_plausible {
            return Err(says_nothing(&finished));
        }
        Ok(listing)
    }

    /// Asks also for what has ended, where the server remembers that.
    fn ask_with_history(self, program: &str, args: &[&str]) -> Result<Finished, Trouble> {
        if self.0 == Dialect::OpenPbs {
            let finished = ASKING.ask(program, &[&["-x"], args].concat());
            match &finished {
                Ok(finished) if finished.stderr.contains("maintain job history") => {}
                _ => return answered(program, finished),
            }
        }
        answered(program, ASKING.ask(program, args))
    }

    /// Returns what can be held or released. PBS does so with arrays as a whole only.
    fn holdable(self, ids: &[String]) -> Result<Vec<String>, Trouble> {
        if self.0 == Dialect::Torque {
            return Ok(ids.to_vec());
        }
        let mut singles = Vec::new();
        let mut arrays: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for id in ids {
            match JobId::parse(id) {
                Some(parsed) => match parsed.place {
                    Place::Element(element) => {
                        arrays.entry(parsed.array()).or_default().push(element);
                    }
                    Place::Array | Place::Single => singles.push(id.clone()),
                },
                None => singles.push(id.clone()),
            }
        }
        if arrays.is_empty() {
            return Ok(singles);
        }
        let names: Vec<_> = arrays.keys().map(String::as_str).collect();
        let listing = self.list(&names)?;
        for (array, named) in arrays {
            let waiting = |(id, job): (&JobId, &Job)| match id.place {
                Place::Element(element) if id.array() == array && job.is_waiting() => Some(element),
                _ => None,
            };
            let waiting: Vec<_> = listing.jobs.iter().filter_map(waiting).collect();
            if !waiting.iter().all(|element| named.contains(element)) {
                let message =
                    format!("PBS holds and releases an array as a whole: name all of `{array}`");
                return Err(Trouble(message));
            }
            if !waiting.is_empty() {
                singles.push(array);
            }
        }
        Ok(singles)
    }
}

/// What the commands say of batch jobs that have begun or ended, or are forgotten.
const NO_ERRORS: [&str; 4] = [
    "Unknown Job Id",
    "Job has finished",
    "Request invalid for state of job",
    "invalid state for job",
];

fn is_no_error(finished: &Finished) -> bool {
    let mut lines = finished
        .stderr
        .lines()
        .filter(|line| !line.trim().is_empty())
        .peekable();
    lines.peek().is_some() && lines.all(|line| NO_ERRORS.iter().any(|known| line.contains(known)))
}

/// Returns an answer, which may say that some of what was asked for is not known.
fn answered(
    program: &str,
    finished: Result<Finished, crate::exec::ExecError>,
) -> Result<Finished, Trouble> {
    match finished {
        Ok(finished) if is_no_error(&finished) => Ok(finished),
        finished => succeeded(program, finished),
    }
}

fn says_nothing(finished: &Finished) -> Trouble {
    names_nothing("qstat", finished)
}

fn change(program: &str, ids: &[String]) -> Result<(), Trouble> {
    for some in ids.chunks(NAMED_AT_ONCE) {
        answered(program, COMMANDS.change(program, some))?;
    }
    Ok(())
}

/// Puts what is said in the words of all schedulers. An id with another name is that of another
/// server, which has begun to count anew.
fn seen(arrays: &[Array], listing: &Listing) -> States {
    let mut states = States::new();
    for array in arrays {
        let name = batch_name(&array.name);
        let job = |id: &str| {
            let job = JobId::parse(id).and_then(|id| listing.jobs.get(&id));
            job.filter(|job| job.name() == name)
        };
        let parent = job(&array.id.id);
        let is_open = parent.is_some_and(|parent| !parent.has_ended());
        for id in array.element_ids() {
            let state = match job(&id) {
                Some(job) => job.seen(parent, listing.at_s),
                // It is not told of, but may be yet.
                None if is_open => None,
                None => Some(Seen::Gone),
            };
            states.extend(state.map(|state| (id, state)));
        }
    }
    states
}

/// Returns what a submission's batch jobs are called: a letter, and the end of its name, which is
/// random.
fn batch_name(name: &str) -> String {
    if name.len() <= NAME_LEN_MAX && name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return name.to_owned();
    }
    let n_before = name.chars().count().saturating_sub(NAME_LEN_MAX - 1);
    let end: String = name.chars().skip(n_before).collect();
    format!("b{end}")
}

fn array_size_max(server: &str) -> Option<u32> {
    let attribute = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let is_it = matches!(name.trim(), "max_array_size" | "max_job_array_size");
        is_it.then(|| value.trim().parse().ok())?
    };
    let size = server.lines().find_map(attribute)?;
    Some(size).filter(|size| *size > 0)
}

/// Returns a time as `HH:MM:SS`.
fn clock(time_s: u64) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        time_s / 3600,
        time_s % 3600 / 60,
        time_s % 60
    )
}

#[cfg(test)]
mod tests;
