//! What `qstat -f` says of batch jobs, as JSON and as text.

use super::super::{Seen, Verdict};
use serde_json::Value;
use std::collections::HashMap;

/// What the server calls a batch job, without its own name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct JobId {
    /// Its number, which elements share.
    pub(super) number: String,
    /// What it is.
    pub(super) place: Place,
}

/// What an id is that of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// A batch job on its own: `7.server`.
    Single,
    /// An array: `7[].server`.
    Array,
    /// An element of one: `7[3].server`.
    Element(u32),
}

impl JobId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.split_once('.').map_or(text, |(id, _)| id);
        let (number, place) = match text.split_once('[') {
            None => (text, Place::Single),
            Some((number, "]")) => (number, Place::Array),
            Some((number, element)) => {
                let element = element.strip_suffix(']')?.parse().ok()?;
                (number, Place::Element(element))
            }
        };
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.to_owned();
        is_number.then_some(Self { number, place })
    }

    /// Returns what the array is called that it is or belongs to.
    pub(super) fn array(&self) -> String {
        match self.place {
            Place::Single => self.number.clone(),
            Place::Array | Place::Element(_) => format!("{}[]", self.number),
        }
    }
}

/// What a server says of batch jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// What time it is there, in seconds, if it says so.
    pub(super) at_s: Option<i64>,
    /// The batch jobs.
    pub(super) jobs: HashMap<JobId, Job>,
}

impl Listing {
    /// Reads JSON; lines before and after it do not matter.
    pub(super) fn of_json(text: &str) -> Option<Self> {
        let json = text.get(text.find('{')?..=text.rfind('}')?)?;
        let answer: Value = serde_json::from_str(json).ok()?;
        let jobs = answer.get("Jobs").and_then(Value::as_object);
        let job = |(id, attributes): (&String, &Value)| {
            let mut job = Job::default();
            for (name, value) in attributes.as_object()? {
                job.add(name, value);
            }
            Some((JobId::parse(id)?, job))
        };
        Some(Self {
            at_s: answer.get("timestamp").and_then(Value::as_i64),
            jobs: jobs.into_iter().flatten().filter_map(job).collect(),
        })
    }

    /// Reads `Job Id: ID` and lines `    NAME = VALUE`, which go on in lines that begin with a tab.
    pub(super) fn of_text(text: &str) -> Self {
        let mut listing = Self::default();
        let mut current = None;
        let mut attribute: Option<String> = None;
        for line in text.lines() {
            if let Some(id) = line.strip_prefix("Job Id:") {
                current = JobId::parse(id);
                if let Some(id) = &current {
                    listing.jobs.entry(id.clone()).or_default();
                }
                attribute = None;
                continue;
            }
            let Some(job) = current.as_ref().and_then(|id| listing.jobs.get_mut(id)) else {
                continue;
            };
            if let Some(rest) = line.strip_prefix('\t') {
                if let Some(value) = attribute.as_ref().and_then(|name| job.0.get_mut(name)) {
                    value.push_str(rest);
                }
                continue;
            }
            let pair = line
                .strip_prefix("    ")
                .and_then(|line| line.split_once(" = "));
            attribute = pair.and_then(|(name, value)| {
                // A variable with several lines looks like attributes, but stands behind them.
                let is_new = !job.0.contains_key(name);
                is_new.then(|| {
                    job.0.insert(name.to_owned(), value.to_owned());
                    name.to_owned()
                })
            });
        }
        listing
    }
}

/// The attributes of a batch job; those within others are called `Resource_List.walltime`.
#[derive(Clone, Debug, Default)]
pub(super) struct Job(HashMap<String, String>);

impl Job {
    fn add(&mut self, name: &str, value: &Value) {
        match value {
            Value::Object(inner) => {
                // There may be thousands of variables.
                let inner = inner.iter().filter(|_| name != "Variable_List");
                for (part, value) in inner {
                    self.add(&format!("{name}.{part}"), value);
                }
            }
            Value::String(text) => drop(self.0.insert(name.to_owned(), text.clone())),
            value => drop(self.0.insert(name.to_owned(), value.to_string())),
        }
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    pub(super) fn name(&self) -> &str {
        self.get("Job_Name")
    }

    fn state(&self) -> &str {
        self.get("job_state")
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state(), "Q" | "T" | "W" | "H")
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state(), "F" | "C" | "X" | "M")
    }

    /// Tells whether somebody holds it. What waits for another batch job is held by the system.
    fn is_held(&self) -> bool {
        self.state() == "H" && self.get("Hold_Types") != "s"
    }

    /// Returns how it is; `None` if it is in a state that we do not know. An element of an array
    /// is held with it.
    pub(super) fn seen(&self, parent: Option<&Self>, at_s: Option<i64>) -> Option<Seen> {
        Some(match self.state() {
            "Q" | "T" | "W" | "H" if self.is_held() || parent.is_some_and(Self::is_held) => {
                Seen::Held
            }
            "H" => Seen::Queued("dependency".to_owned()),
            "Q" | "T" | "W" => Seen::Queued(self.get("comment").to_owned()),
            "R" | "S" | "U" | "E" | "B" => {
                let is_over = self.is_overtime(at_s);
                Seen::Active(is_over.then_some(Verdict::TimedOut))
            }
            "F" | "C" | "X" => {
                let (verdict, words) = self.verdict();
                Seen::Ended(verdict, words)
            }
            _ => return None,
        })
    }

    /// Tells how it has ended.
    fn verdict(&self) -> (Verdict, String) {
        let status = match self.get("Exit_status") {
            "" => self.get("exit_status"),
            status => status,
        };
        let words = match status {
            "" => self.state().to_owned(),
            status => format!("{} (Exit_status {status})", self.state()),
        };
        let was_deleted = self.get("substate") == "91";
        let verdict = match status.parse::<i64>() {
            // Older versions do not say how elements ended.
            Err(_) if self.state() == "X" && !was_deleted => Verdict::Completed,
            Err(_) => Verdict::Cancelled,
            Ok(-29) => Verdict::TimedOut,
            Ok(-26 | -27) => Verdict::OutOfMemory,
            // Those of Torque, which ends both kinds of elements with a signal, too.
            Ok(-11) if self.state() == "C" => Verdict::TimedOut,
            Ok(-10) if self.state() == "C" => Verdict::OutOfMemory,
            Ok(265 | 271) if self.is_overtime(None) => Verdict::TimedOut,
            Ok(271) => Verdict::Cancelled,
            Ok(_) if was_deleted => Verdict::Cancelled,
            Ok(0) => Verdict::Completed,
            Ok(_) => Verdict::Failed,
        };
        (verdict, words)
    }

    /// Tells whether it has had all the time that it may have.
    fn is_overtime(&self, at_s: Option<i64>) -> bool {
        let Some(limit_s) = seconds(self.get("Resource_List.walltime")) else {
            return false;
        };
        let since_begin_s = at_s.and_then(|at_s| Some(at_s - moment_s(self.get("stime"))?));
        let used_s = seconds(self.get("resources_used.walltime"));
        [since_begin_s, used_s]
            .into_iter()
            .flatten()
            .any(|time_s| time_s >= limit_s)
    }
}

/// Reads `1:02:03`, or seconds.
fn seconds(text: &str) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    text.split(':').try_fold(0_i64, |sum, part| {
        let part: i64 = part.parse().ok().filter(|part| *part >= 0)?;
        sum.checked_mul(60)?.checked_add(part)
    })
}

/// Reads `Sun Nov 22 08:00:01 2026`, which is UTC.
fn moment_s(text: &str) -> Option<i64> {
    let words: Vec<_> = text.split_whitespace().collect();
    let parsed = jiff::civil::DateTime::strptime("%a %b %d %H:%M:%S %Y", words.join(" ")).ok()?;
    let timestamp = jiff::tz::Offset::UTC.to_timestamp(parsed).ok()?;
    Some(timestamp.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_in_many_ways() {
        let id = |number: &str, place| {
            let number = number.to_owned();
            Some(JobId { number, place })
        };
        for (text, expected) in [
            ("0.pbsh\n", id("0", Place::Single)),
            ("10[].pbsh", id("10", Place::Array)),
            ("10[2].pbs.example.org", id("10", Place::Element(2))),
            ("7", id("7", Place::Single)),
            ("", None),
            ("10[x]", None),
            ("10[2", None),
            ("qsub: waiting", None),
        ] {
            assert_eq!(JobId::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("01:02:03"), Some(3723));
        assert_eq!(seconds("90"), Some(90));
        assert_eq!((seconds(""), seconds("a:b")), (None, None));
        assert_eq!(moment_s("Thu Jan  1 00:01:40 1970"), Some(100));
        assert_eq!(moment_s("yesterday"), None);
    }

    #[test]
    fn an_attribute_may_have_several_lines() {
        let text = "Job Id: 3.srv\n    Job_Name = long\n\tname\n    job_state = R\n    \
            Variable_List = A=1\n    job_state = F\n\n";
        let listing = Listing::of_text(text);
        let job = &listing.jobs[&JobId::parse("3").expect("an id")];
        assert_eq!((job.name(), job.state()), ("longname", "R"));
    }
}
