//! LSF.

use super::command::{Commands, names_nothing, succeeded};
use super::{Array, ArrayId, Order, Scheduler, Seen, States, Trouble, Verdict};
use crate::exec::{ExecError, Finished};
use crate::template::Scope;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::Path;

/// The largest array of an LSF whose settings are unknown.
const ELEMENTS_MAX: u32 = 1000;

/// So many batch jobs are named to one command.
const NAMED_AT_ONCE: usize = 500;

/// Who has sent more arrays than that asks for all batch jobs.
const ASKED_BY_ID_MAX: usize = 200;

const FORMAT: &str = "jobid jobindex stat exit_code exit_reason job_name delimiter='|'";

const TEMPLATE: &str = r#"#!/bin/bash
{% block header %}
#BSUB -J "{{ name | raw }}[1-{{ n_elements }}]{{ limit | raw }}"
#BSUB -rn
#BSUB -n {{ cores }}
{% if span %}
#BSUB -R "span[{{ span | raw }}]"
{% endif %}
{% if gpus > 0 %}
#BSUB -gpu "num={{ gpus }}"
{% endif %}
{% if memory %}
#BSUB -M {{ memory }}
{% endif %}
{% if time %}
#BSUB -W {{ time }}
{% endif %}
{% if account %}
#BSUB -P {{ account }}
{% endif %}
{% if partition %}
#BSUB -q {{ partition }}
{% endif %}
{% if dependency %}
#BSUB -w "{{ dependency | raw }}"
{% endif %}
{% if hold %}
#BSUB -H
{% endif %}
{% for option in options %}
#BSUB {{ option.text | raw }}
{% endfor %}
{% endblock %}

{% block setup %}
{% if setup %}
{{ setup | raw }}
{% endif %}
{% endblock %}
{% block body %}
exec {{ program }} -C {{ project }} batch {{ name }} "$((LSB_JOBINDEX - 1))" "$LSB_JOBID"
{% endblock %}
"#;

/// Some variables change what the commands print or do.
const COMMANDS: Commands = Commands {
    env: &[
        ("BSUB_BLOCK", None),
        ("BSUB_QUIET", None),
        ("BSUB_QUIET2", None),
        ("LSB_BJOBS_FORMAT", None),
    ],
};

/// LSF, through its commands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lsf;

impl Scheduler for Lsf {
    fn name(&self) -> &'static str {
        "lsf"
    }

    fn elements_max(&self) -> u32 {
        let params = COMMANDS.ask("bparams", &["-a"]);
        let params = params.ok().filter(|params| params.success);
        params
            .and_then(|params| array_size_max(&params.stdout))
            .unwrap_or(ELEMENTS_MAX)
    }

    fn template(&self) -> &str {
        TEMPLATE
    }

    fn words(&self, order: &Order<'_>, common: Scope) -> Scope {
        let needs = order.needs;
        let span = match (order.nodes, needs.processes, needs.threads) {
            (Some(0 | 1), ..) => "hosts=1".to_owned(),
            (Some(n), processes, threads) => format!("ptile={}", processes.div_ceil(n) * threads),
            (None, _, 1) => String::new(),
            (None, 1, _) => "hosts=1".to_owned(),
            (None, _, threads) => format!("block={threads}"),
        };
        let limit = order.at_once.map(|n| format!("%{n}")).unwrap_or_default();
        let memory = needs.memory_bytes;
        let memory = memory.map(|bytes| format!("{}MB", bytes.div_ceil(1 << 20)));
        common
            .with("limit", limit)
            .with("span", span)
            .with("memory", memory.unwrap_or_default())
            .with("time", needs.walltime_s.map(clock).unwrap_or_default())
            .with("dependency", dependency(order.after))
            .with("hold", order.is_held)
    }

    /// `bsub` reads the script, so that its options count.
    fn command(&self, script: &Path, dir: &Path, logs: &Path) -> Vec<OsString> {
        let mut output = logs.as_os_str().to_owned();
        output.push("/%I.log");
        vec![
            "bash".into(),
            "-c".into(),
            r#"exec bsub "$@" <"$0""#.into(),
            script.into(),
            "-cwd".into(),
            dir.into(),
            "-o".into(),
            output,
        ]
    }

    fn submit(&self, command: &[OsString]) -> Result<String, Trouble> {
        let finished = COMMANDS.submit(command)?;
        submitted_id(&finished.stdout).ok_or_else(|| names_nothing("bsub", &finished))
    }

    fn array_id(&self, id: &str) -> ArrayId {
        ArrayId::new(id, format!("{id}["), 1).with_suffix("]")
    }

    fn find(&self, name: &str) -> Result<Option<String>, Trouble> {
        let lines = list(&[])?;
        let mut of_name = lines.into_iter().rev().filter(|line| line.name == name);
        Ok(of_name.next().map(|line| line.array))
    }

    fn poll(&self, arrays: &[Array]) -> (States, Option<Trouble>) {
        let ids: Vec<_> = arrays.iter().map(|array| array.id.id.as_str()).collect();
        match list(&ids) {
            Ok(lines) => (seen(arrays, &lines), None),
            Err(trouble) => (States::new(), Some(trouble)),
        }
    }

    fn cancel(&self, ids: &[String]) -> Result<(), Trouble> {
        change("bkill", ids)
    }

    fn hold(&self, ids: &[String]) -> Result<(), Trouble> {
        change("bstop", &those_in("PEND", ids)?)
    }

    fn release(&self, ids: &[String]) -> Result<(), Trouble> {
        change("bresume", &those_in("PSUSP", ids)?)
    }
}

/// What is said of batch jobs that have ended or are forgotten.
const NO_ERRORS: [&str; 5] = [
    "is not found",
    "No matching job found",
    "No unfinished job found",
    "No job found",
    "Job has already finished",
];

fn is_no_error(finished: &Finished) -> bool {
    let is_known = |line: &str| NO_ERRORS.iter().any(|known| line.contains(known));
    let mut lines = finished
        .stderr
        .lines()
        .filter(|line| !line.trim().is_empty())
        .peekable();
    lines.peek().is_some() && lines.all(is_known)
}

fn answered(program: &str, finished: Result<Finished, ExecError>) -> Result<Finished, Trouble> {
    match finished {
        Ok(finished) if is_no_error(&finished) => Ok(finished),
        finished => succeeded(program, finished),
    }
}

fn change(program: &str, ids: &[String]) -> Result<(), Trouble> {
    for some in ids.chunks(NAMED_AT_ONCE) {
        answered(program, COMMANDS.change(program, some))?;
    }
    Ok(())
}

/// What `bjobs` says of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    array: String,
    element: u32,
    state: String,
    code: String,
    reason: String,
    name: String,
}

/// Asks for batch jobs, also for those that ended a short time ago: by the ids of arrays, or
/// without any for all of ours.
fn list(ids: &[&str]) -> Result<Vec<Line>, Trouble> {
    let ids = if ids.len() > ASKED_BY_ID_MAX {
        &[]
    } else {
        ids
    };
    let args = [&["-a", "-noheader", "-o", FORMAT], ids].concat();
    let finished = answered("bjobs", COMMANDS.ask("bjobs", &args))?;
    let lines = lines(&finished.stdout);
    // Even that nothing is known is said.
    if lines.is_empty() && finished.stderr.trim().is_empty() {
        return Err(names_nothing("bjobs", &finished));
    }
    Ok(lines)
}

/// Reads lines in our format. A name may hold anything, so a line that is none of ours is no
/// mistake.
fn lines(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let mut fields = line.splitn(5, '|');
        let array = fields.next()?.trim();
        let is_number = !array.is_empty() && array.bytes().all(|b| b.is_ascii_digit());
        let element = fields.next()?.trim().parse().ok()?;
        let (state, code) = (fields.next()?.trim(), fields.next()?.trim());
        let (reason, name) = fields.next()?.rsplit_once('|')?;
        let name = name.trim();
        is_number.then(|| Line {
            array: array.to_owned(),
            element,
            state: state.to_owned(),
            code: code.to_owned(),
            reason: reason.trim().to_owned(),
            // `NAME[3]`
            name: name
                .split_once('[')
                .map_or(name, |(name, _)| name)
                .to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Puts what is said in the words of all schedulers. An id with another name is that of another
/// cluster, which has begun to count anew.
fn seen(arrays: &[Array], lines: &[Line]) -> States {
    let by_id: HashMap<_, _> = lines
        .iter()
        .map(|line| (format!("{}[{}]", line.array, line.element), line))
        .collect();
    let mut states = States::new();
    for array in arrays {
        for id in array.element_ids() {
            let line = by_id.get(&id).filter(|line| line.name == array.name);
            let state = match line {
                Some(line) => state_of(line),
                None => Some(Seen::Gone),
            };
            states.extend(state.map(|state| (id, state)));
        }
    }
    states
}

/// Returns what a state means; `None` if it is one that says nothing: the host of `UNKWN` and
/// `ZOMBI` does not answer.
fn state_of(line: &Line) -> Option<Seen> {
    let reason = line.reason.as_str();
    let verdict = match line.state.as_str() {
        "PEND" | "WAIT" => return Some(Seen::Queued(String::new())),
        "PSUSP" => return Some(Seen::Held),
        "RUN" | "USUSP" | "SSUSP" | "PROV" => return Some(Seen::Active(None)),
        "DONE" => Verdict::Completed,
        "EXIT" if reason.starts_with("TERM_RUNLIMIT") => Verdict::TimedOut,
        "EXIT" if reason.starts_with("TERM_MEMLIMIT") => Verdict::OutOfMemory,
        "EXIT" if is_cancelled(reason) => Verdict::Cancelled,
        "EXIT" if line.code == "140" => Verdict::TimedOut,
        "EXIT" => Verdict::Failed,
        _ => return None,
    };
    let words = match (verdict, line.code.as_str()) {
        (Verdict::Failed, code) if !matches!(code, "" | "-") => format!("EXIT ({code})"),
        _ => line.state.clone(),
    };
    Some(Seen::Ended(verdict, words))
}

fn is_cancelled(reason: &str) -> bool {
    let words = [
        "TERM_OWNER",
        "TERM_ADMIN",
        "TERM_FORCE_OWNER",
        "TERM_FORCE_ADMIN",
    ];
    words.iter().any(|word| reason.starts_with(word))
}

/// Returns the arrays that elements belong to.
fn arrays_of(ids: &[String]) -> BTreeSet<&str> {
    ids.iter()
        .map(|id| id.split_once('[').map_or(id.as_str(), |(array, _)| array))
        .collect()
}

/// Returns those elements that are in a state.
fn those_in(state: &str, ids: &[String]) -> Result<Vec<String>, Trouble> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let arrays: Vec<_> = arrays_of(ids).into_iter().collect();
    let lines = list(&arrays)?;
    let in_state = lines.iter().filter(|line| line.state == state);
    let are: BTreeSet<_> = in_state
        .map(|line| format!("{}[{}]", line.array, line.element))
        .collect();
    Ok(ids.iter().filter(|id| are.contains(*id)).cloned().collect())
}

fn dependency(after: &[String]) -> String {
    let ended: Vec<_> = after.iter().map(|id| format!("ended({id})")).collect();
    ended.join(" && ")
}

/// Finds the id in `Job <7> is submitted to queue <normal>.`
fn submitted_id(text: &str) -> Option<String> {
    let id = |line: &str| {
        let (id, rest) = line.split_once("Job <")?.1.split_once('>')?;
        let is_number = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        (is_number && rest.contains("submitted")).then(|| id.to_owned())
    };
    text.lines().rev().find_map(id)
}

fn array_size_max(params: &str) -> Option<u32> {
    let line = params
        .lines()
        .find(|line| line.trim_start().starts_with("MAX_JOB_ARRAY_SIZE"))?;
    let size = line.split_once('=')?.1.trim().parse().ok()?;
    Some(size).filter(|size| *size > 0)
}

/// Returns a time as `H:MM`, in whole minutes.
fn clock(time_s: u64) -> String {
    let minutes = time_s.div_ceil(60);
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::order;
    use super::super::script;
    use super::*;

    #[test]
    fn the_id_is_found_among_noise() {
        for (said, id) in [
            ("Job <123> is submitted to queue <normal>.\n", Some("123")),
            (
                "Job <123> is submitted to default queue <normal>.\nhave <1> nice day\n",
                Some("123"),
            ),
            ("Job not submitted.\n", None),
            ("Job <x> is submitted\n", None),
            ("", None),
        ] {
            assert_eq!(submitted_id(said).as_deref(), id, "{said:?}");
        }
    }

    #[test]
    fn what_bjobs_says_is_understood() {
        let said = "123|1|RUN|-|-|fly-1[1]\n123|2|PEND|-|-|fly-1[2]\n123|3|PSUSP|-|-|fly-1[3]\n\
            123|4|DONE|-|-|fly-1[4]\n123|5|EXIT|3|-|fly-1[5]\n\
            123|6|EXIT|140|TERM_RUNLIMIT: job killed after reaching LSF run time limit|fly-1[6]\n\
            123|7|EXIT|130|TERM_OWNER: job killed by owner|fly-1[7]\n\
            123|8|EXIT|1|TERM_MEMLIMIT: job killed after reaching LSF memory usage limit|fly-1[8]\n\
            123|9|UNKWN|-|-|fly-1[9]\nWelcome\n124|1|RUN|-|-|another[1]\n";
        let array = |id: &str, name: &str, n| Array {
            id: Lsf.array_id(id),
            name: name.to_owned(),
            elements: (0..n).collect(),
        };
        let states = seen(
            &[array("123", "fly-1", 10), array("124", "fly-2", 1)],
            &lines(said),
        );
        assert_eq!(states["123[1]"], Seen::Active(None));
        assert_eq!(states["123[2]"], Seen::Queued(String::new()));
        assert_eq!(states["123[3]"], Seen::Held);
        let ended = |id: &str| match &states[id] {
            Seen::Ended(verdict, words) => (*verdict, words.clone()),
            other => panic!("{other:?}"),
        };
        assert_eq!(ended("123[4]"), (Verdict::Completed, "DONE".into()));
        assert_eq!(ended("123[5]"), (Verdict::Failed, "EXIT (3)".into()));
        assert_eq!(ended("123[6]").0, Verdict::TimedOut);
        assert_eq!(ended("123[7]").0, Verdict::Cancelled);
        assert_eq!(ended("123[8]").0, Verdict::OutOfMemory);
        assert!(!states.contains_key("123[9]"));
        assert_eq!(
            (&states["123[10]"], &states["124[1]"]),
            (&Seen::Gone, &Seen::Gone)
        );
    }

    #[test]
    fn a_script_asks_for_what_is_needed() {
        let order = Order {
            options: &["-N".into()],
            ..order()
        };
        let expected = r#"#!/bin/bash
#BSUB -J "fly-1[1-200]%5"
#BSUB -rn
#BSUB -n 8
#BSUB -R "span[block=2]"
#BSUB -gpu "num=1"
#BSUB -M 4097MB
#BSUB -W 36:01
#BSUB -P 'o'\''neill; rm'
#BSUB -q gpu
#BSUB -H
#BSUB -N

module load gcc
exec '/opt/my tools/sweepfs' -C '/data/a b'\''c' batch fly-1 "$((LSB_JOBINDEX - 1))" "$LSB_JOBID"
"#;
        assert_eq!(script(&Lsf, &order, None).expect("a script"), expected);
    }

    #[test]
    fn arrays_wait_for_arrays() {
        let ids = ["4".to_owned(), "5".to_owned()];
        assert_eq!(dependency(&ids), "ended(4) && ended(5)");
    }

    #[test]
    fn the_size_of_arrays_is_asked_for() {
        assert_eq!(
            array_size_max("LSB\n    MAX_JOB_ARRAY_SIZE = 5000\n"),
            Some(5000)
        );
        assert_eq!(array_size_max(""), None);
    }
}
