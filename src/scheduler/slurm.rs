//! Slurm.

use super::command::{Commands, names_nothing, succeeded};
use super::{Array, ArrayId, Order, Scheduler, Seen, States, Trouble, Verdict};
use crate::exec::ExecError;
use crate::fsx;
use crate::template::Scope;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The largest array of a Slurm whose settings are unknown.
const ELEMENTS_MAX: u32 = 1000;

/// The kernel takes arguments of up to 128 KiB each.
const ARGUMENT_BYTES_MAX: usize = 100_000;

/// So many batch jobs are named to one command.
const NAMED_AT_ONCE: usize = 1000;

const TEMPLATE: &str = r#"#!/bin/bash
{% block header %}
#SBATCH --job-name={{ name }}
#SBATCH --array={{ array }}
#SBATCH --no-requeue
#SBATCH --ntasks={{ processes }}
#SBATCH --cpus-per-task={{ threads }}
{% if nodes %}
#SBATCH --nodes={{ nodes }}
{% endif %}
{% if gpus > 0 %}
#SBATCH --gpus={{ gpus }}
{% endif %}
{% if memory_per_core %}
#SBATCH --mem-per-cpu={{ memory_per_core }}
{% elif memory %}
#SBATCH --mem={{ memory }}
{% endif %}
{% if time %}
#SBATCH --time={{ time }}
{% endif %}
{% if account %}
#SBATCH --account={{ account }}
{% endif %}
{% if partition %}
#SBATCH --partition={{ partition }}
{% endif %}
{% if dependency %}
#SBATCH --dependency={{ dependency }}
{% endif %}
{% if hold %}
#SBATCH --hold
{% endif %}
{% for option in options %}
#SBATCH {{ option.text | raw }}
{% endfor %}
{% endblock %}

{% block setup %}
{% if setup %}
{{ setup | raw }}
{% endif %}
{% endblock %}
{% block body %}
exec {{ program }} -C {{ project }} batch {{ name }} "$SLURM_ARRAY_TASK_ID" "$SLURM_ARRAY_JOB_ID"
{% endblock %}
"#;

/// Some variables change what the commands print or ask for.
const COMMANDS: Commands = Commands {
    env: &[
        ("SLURM_BITSTR_LEN", Some("0")),
        ("SBATCH_ARRAY_INX", None),
        ("SBATCH_DEPENDENCY", None),
        ("SBATCH_HOLD", None),
        ("SBATCH_JOB_NAME", None),
        ("SBATCH_OUTPUT", None),
        ("SBATCH_REQUEUE", None),
        ("SBATCH_WAIT", None),
        ("SQUEUE_ACCOUNT", None),
        ("SQUEUE_ARRAY", None),
        ("SQUEUE_FORMAT", None),
        ("SQUEUE_FORMAT2", None),
        ("SQUEUE_LICENSES", None),
        ("SQUEUE_NAMES", None),
        ("SQUEUE_PARTITION", None),
        ("SQUEUE_PRIORITY", None),
        ("SQUEUE_QOS", None),
        ("SQUEUE_SORT", None),
        ("SQUEUE_STATES", None),
        ("SQUEUE_USERS", None),
        ("SACCT_FEDERATION", None),
        ("SACCT_FORMAT", None),
    ],
};

/// Slurm, through its commands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slurm;

impl Scheduler for Slurm {
    fn name(&self) -> &'static str {
        "slurm"
    }

    fn elements_max(&self) -> u32 {
        let config = COMMANDS.ask("scontrol", &["show", "config"]);
        let config = config.ok().filter(|config| config.success);
        config
            .and_then(|config| array_size_max(&config.stdout))
            .unwrap_or(ELEMENTS_MAX)
    }

    fn template(&self) -> &str {
        TEMPLATE
    }

    fn words(&self, order: &Order<'_>, common: Scope) -> Scope {
        let at_once = order.at_once.map(|n| format!("%{n}")).unwrap_or_default();
        let array = format!("0-{}{at_once}", order.n_elements.saturating_sub(1));
        let needs = order.needs;
        // On several nodes nobody knows how much of it each needs.
        let is_spread = order.nodes.is_some_and(|nodes| nodes > 1);
        let per_core = needs.memory_bytes.filter(|_| is_spread);
        let per_core = per_core.map(|bytes| bytes.div_ceil(needs.cores().max(1).into()));
        let after = match order.after {
            [] => String::new(),
            ids => format!("afterany:{}", ids.join(":")),
        };
        common
            .with("array", array)
            .with("dependency", after)
            .with("hold", order.is_held)
            .with(
                "memory",
                needs.memory_bytes.map(megabytes).unwrap_or_default(),
            )
            .with(
                "memory_per_core",
                per_core.map(megabytes).unwrap_or_default(),
            )
            .with("time", needs.walltime_s.map(clock).unwrap_or_default())
    }

    fn command(&self, script: &Path, dir: &Path, logs: &Path) -> Vec<OsString> {
        let with = |option: &str, value: &OsStr| {
            let mut argument = OsString::from(option);
            argument.push(value);
            argument
        };
        let logs = logs.to_string_lossy().replace('%', "%%");
        vec![
            "sbatch".into(),
            "--parsable".into(),
            with("--chdir=", dir.as_os_str()),
            format!("--output={logs}/%a.log").into(),
            script.into(),
        ]
    }

    fn submit(&self, command: &[OsString]) -> Result<String, Trouble> {
        let script = command.last().map(|script| fsx::read(Path::new(script)));
        let script = script.and_then(Result::ok).unwrap_or_default();
        let variables = overruling(&String::from_utf8_lossy(&script));
        let finished = COMMANDS.submit_without(command, &variables)?;
        submitted_id(&finished.stdout).ok_or_else(|| names_nothing("sbatch", &finished))
    }

    fn array_id(&self, id: &str) -> ArrayId {
        ArrayId::new(id, format!("{id}_"), 0)
    }

    fn find(&self, name: &str) -> Result<Option<String>, Trouble> {
        let lines = queue(&[format!("--name={name}")])?;
        let mut of_name = lines.into_iter().filter(|line| line.name == name);
        Ok(of_name.next().map(|line| line.array))
    }

    fn poll(&self, arrays: &[Array]) -> (States, Option<Trouble>) {
        let ids: Vec<&str> = arrays.iter().map(|array| array.id.id.as_str()).collect();
        let list = ids.join(",");
        // A list of one id that is unknown is an error; of a longer one, what is known is shown.
        let which = match list.len() > ARGUMENT_BYTES_MAX {
            true => Vec::new(),
            false => vec![format!("--jobs={list},{}", ids.first().unwrap_or(&"0"))],
        };
        let lines = match queue(&which) {
            Ok(lines) => lines,
            Err(trouble) => return (States::new(), Some(trouble)),
        };
        let mut states = seen(arrays, &lines);
        let missing: Vec<_> = arrays
            .iter()
            .filter(|array| array.is_any_missing(&states))
            .collect();
        if missing.is_empty() {
            return (states, None);
        }
        match accounted(&missing) {
            Ok(lines) => {
                for (id, ended) in seen(arrays, &lines) {
                    states.entry(id).or_insert(ended);
                }
            }
            Err(trouble) => return (states, Some(trouble)),
        }
        for array in missing {
            for id in array.element_ids() {
                states.entry(id).or_insert(Seen::Gone);
            }
        }
        (states, None)
    }

    fn cancel(&self, ids: &[String]) -> Result<(), Trouble> {
        for some in ids.chunks(NAMED_AT_ONCE) {
            succeeded("scancel", COMMANDS.change("scancel", some))?;
        }
        Ok(())
    }

    fn hold(&self, ids: &[String]) -> Result<(), Trouble> {
        control("hold", ids)
    }

    fn release(&self, ids: &[String]) -> Result<(), Trouble> {
        control("release", ids)
    }
}

/// Returns the variables by which `sbatch` would overrule what a script asks for.
fn overruling(script: &str) -> Vec<String> {
    let options = script
        .lines()
        .filter_map(|line| line.strip_prefix("#SBATCH --"));
    let names = options.map(|option| option.split(['=', ' ']).next().unwrap_or(option));
    let variables = names.flat_map(|name| match name {
        "time" => vec!["SBATCH_TIMELIMIT".to_owned()],
        "mem" | "mem-per-cpu" | "mem-per-gpu" => ["NODE", "CPU", "GPU"]
            .map(|unit| format!("SBATCH_MEM_PER_{unit}"))
            .into(),
        name => vec![format!(
            "SBATCH_{}",
            name.to_ascii_uppercase().replace('-', "_")
        )],
    });
    variables.collect()
}

/// Changes whether batch jobs are held. One that has begun or ended is told as an error, but does
/// not keep `scontrol` from the others.
fn control(verb: &str, ids: &[String]) -> Result<(), Trouble> {
    const NO_ERRORS: [&str; 4] = [
        "Invalid job id specified",
        "Job has already finished",
        "Job/step already completing or completed",
        "Job is no longer pending execution",
    ];
    for some in ids.chunks(NAMED_AT_ONCE) {
        let args = [verb.to_owned(), some.join(",")];
        let finished = COMMANDS.change("scontrol", &args);
        if let Ok(finished) = &finished {
            let mut lines = finished
                .stderr
                .lines()
                .filter(|line| !line.trim().is_empty());
            if lines.all(|line| NO_ERRORS.iter().any(|known| line.contains(known))) {
                continue;
            }
        }
        succeeded("scontrol", finished)?;
    }
    Ok(())
}

/// Asks for batch jobs in the queue, and for those that have left it a short time ago.
fn queue(which: &[String]) -> Result<Vec<Line>, Trouble> {
    let mut args = vec![
        "--noheader",
        "--array",
        "--states=all",
        "--format=%i|%T|%r|%j",
    ];
    args.extend(which.iter().map(String::as_str));
    match COMMANDS.ask("squeue", &args) {
        Ok(finished) if finished.stderr.contains("Invalid job id") => Ok(Vec::new()),
        finished => Ok(lines(&succeeded("squeue", finished)?.stdout)),
    }
}

/// Asks the accounting for arrays; nothing is known there if there is none.
fn accounted(arrays: &[&Array]) -> Result<Vec<Line>, Trouble> {
    let ids: Vec<_> = arrays.iter().map(|array| array.id.id.as_str()).collect();
    let mut found = Vec::new();
    for some in ids.chunks(NAMED_AT_ONCE) {
        let list = format!("--jobs={}", some.join(","));
        let args = [
            "-n",
            "-X",
            "-P",
            "--format=JobID,State,ExitCode,JobName",
            &list,
        ];
        let finished = match COMMANDS.ask("sacct", &args) {
            Ok(finished) if finished.stderr.contains("accounting storage is disabled") => {
                return Ok(Vec::new());
            }
            Err(ExecError::Start { .. }) => return Ok(Vec::new()),
            finished => succeeded("sacct", finished)?,
        };
        found.extend(lines(&finished.stdout));
    }
    Ok(found)
}

/// What the queue or the accounting says of a batch job, or of elements of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    array: String,
    elements: Vec<u32>,
    state: String,
    /// The reason, or the exit status.
    detail: String,
    name: String,
}

/// Reads lines `ID|STATE|DETAIL|NAME`. A name may hold anything, so a line that is none of ours is
/// no mistake.
fn lines(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let mut fields = line.splitn(4, '|');
        let (id, state) = (fields.next()?, fields.next()?);
        let (detail, name) = (fields.next()?, fields.next()?);
        let (array, elements) = elements_of(id.trim())?;
        Some(Line {
            array: array.to_owned(),
            elements,
            // `CANCELLED by 0`, `CANCELLED+`
            state: state.split([' ', '+']).next()?.to_owned(),
            detail: detail.to_owned(),
            name: name.to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Reads `7_4`, or `7_[0-2,5%3]`; a batch job that is no array has no element.
fn elements_of(id: &str) -> Option<(&str, Vec<u32>)> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some((array, elements)) = id.split_once('_') else {
        return is_number(id).then(|| (id, Vec::new()));
    };
    let list = elements
        .strip_prefix('[')
        .and_then(|list| list.strip_suffix(']'));
    let list = list.unwrap_or(elements);
    let list = list.split_once('%').map_or(list, |(list, _)| list);
    let mut all = Vec::new();
    for part in list.split(',') {
        let (range, step) = part.split_once(':').unwrap_or((part, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        all.extend((first..=last).step_by(step.parse().ok().filter(|step| *step > 0)?));
    }
    is_number(array).then_some((array, all))
}

/// Puts what is said in the words of all schedulers. An id with another name is that of another
/// cluster, which has begun to count anew.
fn seen(arrays: &[Array], lines: &[Line]) -> States {
    let by_id: HashMap<_, _> = arrays.iter().map(|array| (&array.id.id, array)).collect();
    let wanted: HashSet<_> = arrays
        .iter()
        .flat_map(|array| {
            array
                .elements
                .iter()
                .map(|element| (&array.id.id, *element))
        })
        .collect();
    let mut states = States::new();
    for line in lines {
        let array = by_id.get(&line.array);
        let Some(array) = array.filter(|array| array.name == line.name) else {
            continue;
        };
        let state = state_of(&line.state, &line.detail);
        let elements = line.elements.iter();
        for element in elements.filter(|element| wanted.contains(&(&line.array, **element))) {
            states.insert(array.id.element(*element), state.clone());
        }
    }
    states
}

/// Returns what a state means. What we do not know is there, at least.
fn state_of(state: &str, detail: &str) -> Seen {
    let verdict = match state {
        "PENDING" if detail.starts_with("JobHeld") => return Seen::Held,
        "REQUEUE_HOLD" | "RESV_DEL_HOLD" | "SPECIAL_EXIT" => return Seen::Held,
        "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_FED" => {
            let why = if detail == "None" { "" } else { detail };
            return Seen::Queued(why.to_owned());
        }
        "RUNNING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT" | "RESIZING" => {
            return Seen::Active(None);
        }
        "COMPLETING" if detail == "TimeLimit" => {
            return Seen::Active(Some(Verdict::TimedOut));
        }
        "COMPLETING" => return Seen::Active(Some(Verdict::Cancelled)),
        "COMPLETED" => Verdict::Completed,
        "FAILED" | "LAUNCH_FAILED" | "RECONFIG_FAIL" => Verdict::Failed,
        "TIMEOUT" | "DEADLINE" => Verdict::TimedOut,
        "OUT_OF_MEMORY" => Verdict::OutOfMemory,
        "CANCELLED" | "REVOKED" => Verdict::Cancelled,
        "NODE_FAIL" | "BOOT_FAIL" | "PREEMPTED" => Verdict::NodeFailed,
        _ => return Seen::Queued(format!("in the state {state}")),
    };
    let words = match (verdict, detail) {
        (Verdict::Failed, detail) if !detail.is_empty() && detail != "None" => {
            format!("{state} ({detail})")
        }
        _ => state.to_owned(),
    };
    Seen::Ended(verdict, words)
}

/// Finds the id in what `sbatch --parsable` prints: `7`, or `7;cluster`, on the last such line.
fn submitted_id(text: &str) -> Option<String> {
    let id = |line: &str| {
        let id = line.trim().split(';').next()?;
        let is_number = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| id.to_owned())
    };
    text.lines().rev().find_map(id)
}

fn array_size_max(config: &str) -> Option<u32> {
    let line = config
        .lines()
        .find(|line| line.trim_start().starts_with("MaxArraySize"))?;
    let size = line.split_once('=')?.1.trim().parse().ok()?;
    Some(size).filter(|size| *size > 0)
}

/// Returns a size in whole MiB.
fn megabytes(bytes: u64) -> String {
    format!("{}M", bytes.div_ceil(1 << 20))
}

/// Returns a time as `D-HH:MM:SS`.
fn clock(time_s: u64) -> String {
    let (days, rest_s) = (time_s / 86400, time_s % 86400);
    format!(
        "{days}-{:02}:{:02}:{:02}",
        rest_s / 3600,
        rest_s % 3600 / 60,
        rest_s % 60
    )
}

#[cfg(test)]
mod tests;
