//! Grid Engine: SGE 6.2, Son of Grid Engine, Open Grid Scheduler, Univa Grid Engine.

mod answers;

use self::answers::{Accounted, Line};
use super::command::{Commands, names_nothing, refused, succeeded};
use super::{Array, ArrayId, Order, Scheduler, Seen, States, Trouble, Verdict};
use crate::exec::{ExecError, Finished};
use crate::template::Scope;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// The largest array of a Grid Engine whose settings are unknown, and of any as it is installed.
const ELEMENTS_MAX: u32 = 75_000;

/// What several slots on one machine are called at most sites.
const PARALLEL_ENVIRONMENT: &str = "smp";

/// So many batch jobs are named to one command.
const NAMED_AT_ONCE: usize = 1000;

/// What queues are made with for `-notify`.
const NOTICE: Duration = Duration::from_secs(60);

/// The accounting is written every 15 s, and a network file system shows it a minute later.
const ACCOUNTING_LAG: Duration = Duration::from_secs(90);

const TEMPLATE: &str = r#"#!/bin/bash
{% block header %}
#$ -N {{ name }}
#$ -t 1-{{ n_elements }}
{% if at_once %}
#$ -tc {{ at_once }}
{% endif %}
#$ -S /bin/bash
#$ -V
#$ -r n
#$ -notify
{% if slots > 1 %}
#$ -pe {{ parallel_environment }} {{ slots }}
{% endif %}
{% if gpus > 0 %}
#$ -l gpu={{ gpus }}
{% endif %}
{% if memory %}
#$ -l h_vmem={{ memory }}
{% endif %}
{% if time %}
#$ -l h_rt={{ time }}
{% endif %}
{% if account %}
#$ -P {{ account }}
{% endif %}
{% if partition %}
#$ -q {{ partition }}
{% endif %}
{% if dependency %}
#$ -hold_jid {{ dependency }}
{% endif %}
{% if hold %}
#$ -h
{% endif %}
{% for option in options %}
#$ {{ option.text | raw }}
{% endfor %}
{% endblock %}

# Grid Engine takes the exit statuses 99 and 100 for orders.
trap 'case $? in 99 | 100) exit 1 ;; esac' EXIT
mkdir -p "$1" && exec >>"$1/$((SGE_TASK_ID - 1)).log" 2>&1
cd {{ project }} || exit

{% block setup %}
{% if setup %}
{{ setup | raw }}
{% endif %}
{% endblock %}
{% block body %}
exec {{ program }} -C {{ project }} batch {{ name }} "$((SGE_TASK_ID - 1))" "$JOB_ID"
{% endblock %}
"#;

/// This has the commands print more than what is asked for.
const COMMANDS: Commands = Commands {
    env: &[("SGE_DEBUG_LEVEL", None)],
};

/// Grid Engine, through its commands.
#[derive(Clone, Debug, Default)]
pub struct Sge {
    /// What several slots on one machine are called here; `None` is `smp`.
    pub parallel_environment: Option<String>,
}

impl Scheduler for Sge {
    fn name(&self) -> &'static str {
        "sge"
    }

    fn elements_max(&self) -> u32 {
        let config = COMMANDS.ask("qconf", &["-sconf"]);
        let config = config.ok().filter(|config| config.success);
        config
            .and_then(|config| tasks_max(&config.stdout))
            .unwrap_or(ELEMENTS_MAX)
    }

    fn template(&self) -> &str {
        TEMPLATE
    }

    fn words(&self, order: &Order<'_>, common: Scope) -> Scope {
        let needs = order.needs;
        let slots = needs.cores().max(1);
        let environment = self.parallel_environment.as_deref();
        // What is asked for is multiplied by the slots.
        let memory = needs
            .memory_bytes
            .map(|bytes| format!("{}M", bytes.div_ceil(u64::from(slots) << 20)));
        common
            .with("at_once", order.at_once.unwrap_or_default())
            .with("slots", slots)
            .with(
                "parallel_environment",
                environment.unwrap_or(PARALLEL_ENVIRONMENT),
            )
            .with("memory", memory.unwrap_or_default())
            .with("time", needs.walltime_s.map(clock).unwrap_or_default())
            .with("dependency", order.after.join(","))
            .with("hold", order.is_held)
    }

    /// Paths go to the script, which goes to the project itself: `-o` and `-wd` would take `:`, `,`
    /// and `$` in them for something else.
    fn command(&self, script: &Path, _: &Path, logs: &Path) -> Vec<OsString> {
        let options = [
            "-terse", "-b", "n", "-sync", "n", "-wd", "/", "-j", "y", "-o",
        ];
        let mut command = vec![OsString::from("qsub")];
        command.extend(options.map(OsString::from));
        command.extend(["/dev/null".into(), script.into(), logs.into()]);
        command
    }

    fn submit(&self, command: &[OsString]) -> Result<String, Trouble> {
        let finished = COMMANDS.submit(command)?;
        submitted_id(&finished.stdout).ok_or_else(|| names_nothing("qsub", &finished))
    }

    fn array_id(&self, id: &str) -> ArrayId {
        ArrayId::new(id, format!("{id}."), 1)
    }

    fn find(&self, name: &str) -> Result<Option<String>, Trouble> {
        let finished = COMMANDS.ask("qstat", &["-j", name]);
        let is_unknown =
            |finished: &Finished| !finished.success && says(finished, &["do not exist"]);
        if finished.as_ref().is_ok_and(is_unknown) {
            // It may have ended already.
            let ended = queue(&["-u", "$user", "-s", "z"])?;
            let mut of_name = ended.into_iter().filter(|line| line.name == name);
            return Ok(of_name.next().map(|line| line.array));
        }
        let finished = succeeded("qstat", finished)?;
        match answers::described(&finished.stdout, name) {
            Some(id) => Ok(Some(id)),
            None => Err(names_nothing("qstat", &finished)),
        }
    }

    fn poll(&self, arrays: &[Array]) -> (States, Option<Trouble>) {
        let asked = Asked::new(arrays);
        let (mut states, own) = match asked.own_queue() {
            Ok(known) => known,
            Err(trouble) => return (States::new(), Some(trouble)),
        };
        let mut troubles = Vec::new();
        let mut gone = Vec::new();
        for array in arrays.iter().filter(|array| array.is_any_missing(&states)) {
            match accounted(array) {
                Ok(ended) => gone.push((array, ended)),
                Err(trouble) => troubles.push(trouble),
            }
        }
        add(
            &mut states,
            gone.iter().flat_map(|(_, ended)| ended.clone()),
        );
        gone.retain(|(array, _)| array.is_any_missing(&states));
        // What another user has submitted is in the queue of all.
        if gone
            .iter()
            .any(|(array, _)| !own.contains(array.id.id.as_str()))
        {
            match asked.queue_of_all() {
                Ok(others) => add(&mut states, others),
                Err(trouble) => {
                    troubles.push(trouble);
                    gone.retain(|(array, _)| own.contains(array.id.id.as_str()));
                }
            }
        }
        let ids = gone.iter().flat_map(|(array, _)| array.element_ids());
        let ids: Vec<_> = ids.map(|id| (id, Seen::Gone)).collect();
        add(&mut states, ids);
        (states, troubles.into_iter().next())
    }

    fn notice(&self) -> Duration {
        NOTICE
    }

    fn accounting_lag(&self) -> Duration {
        ACCOUNTING_LAG
    }

    fn cancel(&self, ids: &[String]) -> Result<(), Trouble> {
        change("qdel", ids)
    }

    fn hold(&self, ids: &[String]) -> Result<(), Trouble> {
        change("qhold", ids)
    }

    fn release(&self, ids: &[String]) -> Result<(), Trouble> {
        change("qrls", ids)
    }
}

/// The arrays that a question is about.
struct Asked<'a> {
    by_id: HashMap<&'a str, &'a Array>,
    wanted: HashSet<(&'a str, u32)>,
}

impl<'a> Asked<'a> {
    fn new(arrays: &'a [Array]) -> Self {
        let elements = |array: &'a Array| {
            let id = array.id.id.as_str();
            array.elements.iter().map(move |element| (id, *element))
        };
        Self {
            by_id: arrays
                .iter()
                .map(|array| (array.id.id.as_str(), array))
                .collect(),
            wanted: arrays.iter().flat_map(elements).collect(),
        }
    }

    /// Asks the queue of this user; returns also the arrays that are in it, or were lately. What
    /// waits until it is released looks as what waits for another array does, so there is another
    /// question if there is such a thing.
    fn own_queue(&self) -> Result<(States, HashSet<&'a str>), Trouble> {
        let lines = queue(&["-u", "$user", "-s", "prsz", "-g", "d"])?;
        let mut states = self.seen(&lines);
        if self.ours(&lines).any(|(_, _, line)| is_on_hold(line)) {
            let held = queue(&["-u", "$user", "-s", "hu", "-g", "d"])?;
            for (array, element, line) in self.ours(&held) {
                let is_still = |seen: &&mut Seen| matches!(seen, Seen::Queued(_));
                let seen = states.get_mut(&array.id.element(element));
                if let Some(seen) = seen.filter(|seen| is_on_hold(line) && is_still(seen)) {
                    *seen = Seen::Held;
                }
            }
        }
        let own = lines.iter().filter_map(|line| self.array(line));
        Ok((states, own.map(|array| array.id.id.as_str()).collect()))
    }

    /// Asks the queue of all users, in which elements that wait are not listed one by one.
    fn queue_of_all(&self) -> Result<States, Trouble> {
        Ok(self.seen(&queue(&["-u", "*", "-s", "prs"])?))
    }

    /// Returns the array that a line is about. An id with another name is that of another cluster,
    /// which has begun to count anew.
    fn array(&self, line: &Line) -> Option<&'a Array> {
        let array = self.by_id.get(line.array.as_str()).copied();
        array.filter(|array| array.name == line.name)
    }

    /// Puts what is said in the words of all schedulers.
    fn seen(&self, lines: &[Line]) -> States {
        let known = self.ours(lines).filter_map(|(array, element, line)| {
            Some((array.id.element(element), state_of(&line.state)?))
        });
        known.collect()
    }

    /// Returns what is said of elements that are asked for.
    fn ours<'l>(&self, lines: &'l [Line]) -> impl Iterator<Item = (&'a Array, u32, &'l Line)> {
        let of_arrays = lines
            .iter()
            .filter_map(|line| Some((self.array(line)?, line)));
        let of_elements = of_arrays.flat_map(|(array, line)| {
            let elements = line.tasks.iter().filter_map(|task| task.checked_sub(1));
            elements.map(move |element| (array, element, line))
        });
        of_elements
            .filter(|(array, element, _)| self.wanted.contains(&(array.id.id.as_str(), *element)))
    }
}

/// Adds what is not known yet.
fn add(states: &mut States, more: impl IntoIterator<Item = (String, Seen)>) {
    for (id, seen) in more {
        states.entry(id).or_insert(seen);
    }
}

/// Asks for batch jobs in the queue. `-q` goes before what a user has in `~/.sge_qstat`.
fn queue(which: &[&str]) -> Result<Vec<Line>, Trouble> {
    let mut args = vec!["-xml", "-q", "*"];
    args.extend(which);
    let finished = succeeded("qstat", COMMANDS.ask("qstat", &args))?;
    answers::queue(&finished.stdout)
        .ok_or_else(|| Trouble("`qstat` did not say all that it wanted to".to_owned()))
}

/// Returns what the letters of a state mean; `None` if the batch job is no longer in the queue. What
/// we do not know is there, at least.
fn state_of(letters: &str) -> Option<Seen> {
    let has = |letter| letters.contains(letter);
    Some(match () {
        () if letters == "z" => return None,
        () if has('E') => {
            let why = "in error: `qstat -j ID` says why, `qmod -cj ID` tries again";
            Seen::Queued(why.to_owned())
        }
        () if has('q') && has('d') => Seen::Queued("being deleted".to_owned()),
        () if has('q') && has('h') => {
            Seen::Queued("until another array has ended, or an operator releases it".to_owned())
        }
        () if has('q') && has('R') => Seen::Queued("once more".to_owned()),
        () if has('q') => Seen::Queued(String::new()),
        () if has('d') => Seen::Active(Some(Verdict::Cancelled)),
        () if ['r', 't', 's', 'S', 'T'].iter().any(|letter| has(*letter)) => Seen::Active(None),
        () => Seen::Queued(format!("in the state {letters}")),
    })
}

fn is_on_hold(line: &Line) -> bool {
    line.state.contains("hqw") || line.state.contains("hRwq")
}

/// Asks the accounting for the elements of an array that have ended; nothing is known there if
/// there is none.
fn accounted(array: &Array) -> Result<States, Trouble> {
    let unknown = format!("job id {} not found", array.id.id);
    let nothing = [
        unknown.as_str(),
        "no jobs running since startup",
        "/accounting: No such file or directory",
    ];
    let finished = match COMMANDS.ask("qacct", &["-j", &array.id.id]) {
        Err(ExecError::Start { .. }) => return Ok(States::new()),
        Ok(finished) if !finished.success && says(&finished, &nothing) => return Ok(States::new()),
        finished => succeeded("qacct", finished)?,
    };
    // One that was begun several times has a record of each, in this order.
    let mut last = BTreeMap::new();
    for record in answers::accounting(&finished.stdout) {
        let is_ours = record.array == array.id.id && record.name == array.name;
        if let Some(element) = record.task.checked_sub(1).filter(|_| is_ours) {
            last.insert(element, record);
        }
    }
    let wanted: HashSet<_> = array.elements.iter().copied().collect();
    let ended = last
        .into_iter()
        .filter(|(element, _)| wanted.contains(element));
    Ok(ended
        .map(|(element, record)| (array.id.element(element), end_of(&record)))
        .collect())
}

fn says(finished: &Finished, parts: &[&str]) -> bool {
    let has = |part: &&str| finished.stdout.contains(part) || finished.stderr.contains(part);
    parts.iter().any(has)
}

/// Returns what a record of the accounting means; the numbers are those of sge_status(5).
fn end_of(record: &Accounted) -> Seen {
    const KILLED: i32 = 128 + 9;
    const TOLD: [i32; 2] = [128 + 12, 128 + 15];
    let verdict = match (record.failed, record.exit_status) {
        (0, 0) => return Seen::Ended(Verdict::Completed, "exit 0".to_owned()),
        (37 | 100, _) if record.is_over_memory => Verdict::OutOfMemory,
        (_, _) if record.was_deleted => Verdict::Cancelled,
        (37, _) => Verdict::TimedOut,
        (100, status) if status == KILLED || TOLD.contains(&status) => Verdict::Cancelled,
        // The daemon of its machine has lost it, or it was to begin once more.
        (19 | 21..=25, _) => Verdict::NodeFailed,
        _ => Verdict::Failed,
    };
    let words = match record.failed {
        0 => format!("exit {}", record.exit_status),
        failed => format!("failed {failed}: {}", record.why),
    };
    Seen::Ended(verdict, words)
}

/// Changes batch jobs. Those that are unknown or have ended are told as an error, but do not keep
/// the program from the others.
fn change(program: &str, ids: &[String]) -> Result<(), Trouble> {
    const NO_ERRORS: [&str; 6] = [
        "does not exist",
        "is already in deletion",
        "has deleted job",
        "has registered the job",
        "modified hold of job",
        "There is no job registered",
    ];
    for some in ids.chunks(NAMED_AT_ONCE) {
        let finished = COMMANDS
            .change(program, some)
            .map_err(|error| Trouble(crate::report::with_causes(&error)))?;
        let mut lines = finished.stdout.lines().chain(finished.stderr.lines());
        let is_fine =
            |line: &str| line.trim().is_empty() || NO_ERRORS.iter().any(|part| line.contains(part));
        if !finished.success && !lines.all(is_fine) {
            return Err(refused(program, &finished));
        }
    }
    Ok(())
}

/// Finds the id in what `qsub -terse` prints: `7`, or `7.1-3:1`, on the last such line.
fn submitted_id(text: &str) -> Option<String> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let id = |line: &str| {
        let line = line.trim();
        let (id, tasks) = line.split_once('.').unwrap_or((line, "1-1:1"));
        let mut numbers = tasks.split(['-', ':']);
        (is_number(id) && numbers.all(is_number)).then(|| id.to_owned())
    };
    text.lines().rev().find_map(id)
}

/// Reads the largest array from the settings; 0 is that there is no limit.
fn tasks_max(config: &str) -> Option<u32> {
    let value = config
        .lines()
        .find_map(|line| line.trim().strip_prefix("max_aj_tasks"))?;
    let max = value.trim().parse().ok()?;
    Some(max).filter(|max| *max > 0)
}

/// Returns a time as `H:MM:SS`.
fn clock(time_s: u64) -> String {
    let (hours, rest_s) = (time_s / 3600, time_s % 3600);
    format!("{hours}:{:02}:{:02}", rest_s / 60, rest_s % 60)
}

#[cfg(test)]
mod tests;
