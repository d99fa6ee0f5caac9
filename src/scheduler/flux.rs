//! Flux.

use super::command::{Commands, names_nothing, open_elements, succeeded};
use super::{Array, ArrayId, Order, Scheduler, Seen, States, Trouble, Verdict};
use crate::template::Scope;
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

/// `flux submit` takes about 0.1 s for each element.
const ELEMENTS_MAX: u32 = 500;

/// So many batch jobs are named to one command.
const NAMED_AT_ONCE: usize = 500;

/// What the script prints when Flux has taken it.
const SUBMITTED: &str = "submitted ";

/// Only `flux batch`, which knows no copies, reads options from scripts. So the script submits
/// itself.
const TEMPLATE: &str = r#"#!/bin/bash
{% block header %}
if [ "${1-}" = submit ]; then
  options=(
    --cc=0-{{ last }} --job-name={{ name }}.{cc} --cwd="$2" --output="$3/{cc}.log"
    -n1 -c{{ cores }}
{% if gpus > 0 %}
    -g{{ gpus }}
{% endif %}
{% if time %}
    -t {{ time }}
{% endif %}
{% if account %}
    --setattr=system.bank={{ account }}
{% endif %}
{% if partition %}
    --queue={{ partition }}
{% endif %}
{% for id in after %}
    --dependency=afterany:{{ id.text }}
{% endfor %}
{% if hold %}
    --urgency=hold
{% endif %}
{% for option in options %}
    {{ option.text | raw }}
{% endfor %}
  )
  ids=$(flux submit "${options[@]}" bash "$4") || exit
  [ -n "$ids" ] && echo {{ "submitted " ~ name }}
  exit
fi
{% endblock %}

{% block setup %}
{% if setup %}
{{ setup | raw }}
{% endif %}
{% endblock %}
{% block body %}
exec {{ program }} -C {{ project }} batch {{ name }} "$FLUX_JOB_CC" {{ name }}
{% endblock %}
"#;

const COMMANDS: Commands = Commands {
    env: &[("FLUX_F58_FORCE_ASCII", Some("1"))],
};

/// Flux, through its commands. It knows no arrays, so an element is called by the name that it is
/// given: that of the array and its number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flux;

impl Scheduler for Flux {
    fn name(&self) -> &'static str {
        "flux"
    }

    fn elements_max(&self) -> u32 {
        ELEMENTS_MAX
    }

    fn template(&self) -> &str {
        TEMPLATE
    }

    fn words(&self, order: &Order<'_>, common: Scope) -> Scope {
        let time = order.needs.walltime_s.map(|time_s| format!("{time_s}s"));
        let id = |text: &String| Scope::new().with("text", text.as_str());
        let after: Vec<_> = still_open(order.after).iter().map(id).collect();
        common
            .with("last", order.n_elements.saturating_sub(1))
            .with("time", time.unwrap_or_default())
            .with("after", after)
            .with("hold", order.is_held)
    }

    fn command(&self, script: &Path, dir: &Path, logs: &Path) -> Vec<OsString> {
        vec![
            "bash".into(),
            script.into(),
            "submit".into(),
            dir.into(),
            replaceable(logs, dir).into(),
            replaceable(script, dir).into(),
        ]
    }

    fn submit(&self, command: &[OsString]) -> Result<String, Trouble> {
        let finished = COMMANDS.submit(command)?;
        let mut lines = finished.stdout.lines().rev();
        let name = lines.find_map(|line| line.strip_prefix(SUBMITTED));
        name.map(ToOwned::to_owned)
            .ok_or_else(|| names_nothing("flux submit", &finished))
    }

    fn array_id(&self, id: &str) -> ArrayId {
        ArrayId::new(id, format!("{id}."), 0)
    }

    fn find(&self, name: &str) -> Result<Option<String>, Trouble> {
        let prefix = format!("{name}.");
        let jobs = list()?;
        let is_there = jobs.keys().any(|name| name.starts_with(&prefix));
        Ok(is_there.then(|| name.to_owned()))
    }

    fn poll(&self, arrays: &[Array]) -> (States, Option<Trouble>) {
        match list() {
            Ok(jobs) => (seen(arrays, &jobs), None),
            Err(trouble) => (States::new(), Some(trouble)),
        }
    }

    fn cancel(&self, ids: &[String]) -> Result<(), Trouble> {
        let open = |ids: &[String]| -> Result<Vec<String>, Trouble> {
            let jobs = list()?;
            let open = ids.iter().filter_map(|name| jobs.get(name));
            Ok(open
                .filter(|job| !job.has_ended())
                .map(|job| job.id.clone())
                .collect())
        };
        for some in open(ids)?.chunks(NAMED_AT_ONCE) {
            let args: Vec<_> = ["cancel"]
                .into_iter()
                .chain(some.iter().map(String::as_str))
                .collect();
            let cancelled = succeeded("flux cancel", COMMANDS.change("flux", &args));
            // One that ended meanwhile is an error.
            if cancelled.is_err() && !open(ids)?.is_empty() {
                cancelled?;
            }
        }
        Ok(())
    }

    fn hold(&self, ids: &[String]) -> Result<(), Trouble> {
        set_urgency("hold", ids)
    }

    fn release(&self, ids: &[String]) -> Result<(), Trouble> {
        set_urgency("default", ids)
    }
}

/// Returns a path that may stand in an option where `{cc}` is replaced: one with braces stands
/// relative to the directory of the batch job.
fn replaceable<'a>(path: &'a Path, dir: &Path) -> &'a Path {
    match path.to_string_lossy().contains(['{', '}']) {
        true => path.strip_prefix(dir).unwrap_or(path),
        false => path,
    }
}

fn set_urgency(urgency: &str, names: &[String]) -> Result<(), Trouble> {
    let jobs = list()?;
    let waiting = names.iter().filter_map(|name| jobs.get(name));
    let is_other = |job: &&Job| job.is_waiting() && job.is_held() != (urgency == "hold");
    for job in waiting.filter(is_other) {
        let args = ["job", "urgency", &job.id, urgency];
        let changed = succeeded("flux job urgency", COMMANDS.change("flux", &args));
        if changed.is_err() {
            // It may have begun meanwhile.
            let jobs = list()?;
            let goes_on = jobs
                .values()
                .any(|other| other.id == job.id && other.is_waiting());
            if goes_on {
                changed?;
            }
        }
    }
    Ok(())
}

/// Returns the ids of those elements that have not ended: Flux refuses to wait for others. It
/// refuses names, too: better than to begin too early.
fn still_open(after: &[String]) -> Vec<String> {
    if after.is_empty() {
        return Vec::new();
    }
    let jobs = list().unwrap_or_default();
    let listed = jobs
        .iter()
        .map(|(name, job)| (name.as_str(), job.id.as_str(), job.has_ended()));
    open_elements(after, listed)
}

/// What Flux says of a batch job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Job {
    id: String,
    state: String,
    result: String,
    returncode: String,
    urgency: String,
    exception: String,
}

impl Job {
    fn new(job: &Value) -> Self {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            value => value.to_string(),
        };
        Self {
            id: text(&job["id"]),
            state: text(&job["state"]),
            result: text(&job["result"]),
            returncode: text(&job["returncode"]),
            urgency: text(&job["urgency"]),
            exception: text(&job["exception"]["type"]),
        }
    }

    fn has_ended(&self) -> bool {
        self.state == "INACTIVE"
    }

    fn is_waiting(&self) -> bool {
        matches!(self.state.as_str(), "NEW" | "DEPEND" | "PRIORITY" | "SCHED")
    }

    fn is_held(&self) -> bool {
        self.urgency == "0"
    }

    /// Returns how it is; `None` if it is in a state that we do not know.
    fn seen(&self) -> Option<Seen> {
        let verdict = match (self.state.as_str(), self.result.as_str()) {
            _ if self.is_waiting() && self.is_held() => return Some(Seen::Held),
            ("DEPEND", _) => return Some(Seen::Queued("dependency".to_owned())),
            _ if self.is_waiting() => return Some(Seen::Queued(String::new())),
            ("RUN" | "CLEANUP", _) => {
                let why = match self.exception.as_str() {
                    "timeout" => Some(Verdict::TimedOut),
                    "cancel" => Some(Verdict::Cancelled),
                    _ => None,
                };
                return Some(Seen::Active(why));
            }
            ("INACTIVE", "COMPLETED") => Verdict::Completed,
            ("INACTIVE", "FAILED") => Verdict::Failed,
            ("INACTIVE", "CANCELED") => Verdict::Cancelled,
            ("INACTIVE", "TIMEOUT") => Verdict::TimedOut,
            _ => return None,
        };
        let words = match (verdict, self.exception.as_str()) {
            (Verdict::Failed, "") => format!("FAILED ({})", self.returncode),
            (Verdict::Failed, exception) => format!("FAILED ({exception})"),
            _ => self.result.clone(),
        };
        Some(Seen::Ended(verdict, words))
    }
}

/// Asks for all batch jobs of ours, by their names.
fn list() -> Result<HashMap<String, Job>, Trouble> {
    let args = ["jobs", "-a", "--json", "-c", "0"];
    let finished = succeeded("flux jobs", COMMANDS.ask("flux", &args))?;
    jobs(&finished.stdout).ok_or_else(|| names_nothing("flux jobs", &finished))
}

/// Reads JSON; lines before and after it do not matter.
fn jobs(text: &str) -> Option<HashMap<String, Job>> {
    let json = text.get(text.find('{')?..=text.rfind('}')?)?;
    let answer: Value = serde_json::from_str(json).ok()?;
    let jobs = answer.get("jobs")?.as_array()?.iter();
    let named = jobs.filter_map(|job| Some((job.get("name")?.as_str()?.to_owned(), Job::new(job))));
    Some(named.collect())
}

fn seen(arrays: &[Array], jobs: &HashMap<String, Job>) -> States {
    let mut states = States::new();
    for id in arrays.iter().flat_map(Array::element_ids) {
        let state = match jobs.get(&id) {
            Some(job) => job.seen(),
            None => Some(Seen::Gone),
        };
        states.extend(state.map(|state| (id, state)));
    }
    states
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::order;
    use super::super::script;
    use super::*;

    #[test]
    fn what_flux_says_is_understood() {
        let said = r#"{"jobs": [
            {"id": 1, "name": "fly-1.0", "state": "RUN", "result": "", "urgency": 16, "exception": {"occurred": false}},
            {"id": 2, "name": "fly-1.1", "state": "SCHED", "urgency": 16},
            {"id": 3, "name": "fly-1.2", "state": "SCHED", "urgency": 0},
            {"id": 4, "name": "fly-1.3", "state": "DEPEND", "urgency": 16},
            {"id": "fdDmTKd", "name": "fly-1.4", "state": "INACTIVE", "result": "COMPLETED", "returncode": 0},
            {"id": 6, "name": "fly-1.5", "state": "INACTIVE", "result": "FAILED", "returncode": 3, "exception": {"occurred": false}},
            {"id": 7, "name": "fly-1.6", "state": "INACTIVE", "result": "CANCELED", "returncode": 143},
            {"id": 8, "name": "fly-1.7", "state": "INACTIVE", "result": "TIMEOUT", "returncode": 142},
            {"id": 9, "name": "fly-1.8", "state": "CLEANUP", "exception": {"occurred": true, "type": "timeout"}},
            {"id": 10, "name": "fly-1.9", "state": "INACTIVE", "result": "FAILED", "exception": {"occurred": true, "type": "alloc"}},
            {"id": 11, "name": "other", "state": "RUN"}]}"#;
        let array = Array {
            id: Flux.array_id("fly-1"),
            name: "fly-1".to_owned(),
            elements: (0..11).collect(),
        };
        let jobs = jobs(&format!("note\n{said}\n")).expect("JSON");
        assert_eq!(jobs["fly-1.4"].id, "fdDmTKd");
        let states = seen(&[array], &jobs);
        let ended = |verdict, words: &str| Seen::Ended(verdict, words.to_owned());
        let expected = [
            Seen::Active(None),
            Seen::Queued(String::new()),
            Seen::Held,
            Seen::Queued("dependency".into()),
            ended(Verdict::Completed, "COMPLETED"),
            ended(Verdict::Failed, "FAILED (3)"),
            ended(Verdict::Cancelled, "CANCELED"),
            ended(Verdict::TimedOut, "TIMEOUT"),
            Seen::Active(Some(Verdict::TimedOut)),
            ended(Verdict::Failed, "FAILED (alloc)"),
            Seen::Gone,
        ];
        for (element, state) in expected.iter().enumerate() {
            assert_eq!(&states[&format!("fly-1.{element}")], state, "{element}");
        }
        assert!(super::jobs("{\"jobs\": 1}").is_none() && super::jobs("").is_none());
    }

    #[test]
    fn a_script_asks_for_what_is_needed() {
        let order = Order {
            at_once: None,
            options: &["--requires=host:a".into()],
            ..order()
        };
        let expected = r#"#!/bin/bash
if [ "${1-}" = submit ]; then
  options=(
    --cc=0-199 --job-name=fly-1.{cc} --cwd="$2" --output="$3/{cc}.log"
    -n1 -c8
    -g1
    -t 129601s
    --setattr=system.bank='o'\''neill; rm'
    --queue=gpu
    --urgency=hold
    --requires=host:a
  )
  ids=$(flux submit "${options[@]}" bash "$4") || exit
  [ -n "$ids" ] && echo 'submitted fly-1'
  exit
fi

module load gcc
exec '/opt/my tools/sweepfs' -C '/data/a b'\''c' batch fly-1 "$FLUX_JOB_CC" fly-1
"#;
        assert_eq!(script(&Flux, &order, None).expect("a script"), expected);
    }

    #[test]
    fn braces_in_paths_are_no_patterns() {
        let command = |dir: &str| {
            let dir = Path::new(dir);
            let words = Flux.command(&dir.join("b/x.sh"), dir, &dir.join("l"));
            words
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            command("/p"),
            ["bash", "/p/b/x.sh", "submit", "/p", "/p/l", "/p/b/x.sh"]
        );
        assert_eq!(
            command("/{p}"),
            ["bash", "/{p}/b/x.sh", "submit", "/{p}", "l", "b/x.sh"]
        );
    }
}
