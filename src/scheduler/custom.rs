//! A scheduler that its user describes: by templates of commands, and patterns of what they print.

use super::command::{Commands, names_nothing, open_elements, succeeded};
use super::{Array, ArrayId, Order, Scheduler, Seen, States, Trouble, Verdict};
use crate::exec::Finished;
use crate::template::{Scope, Template};
use regex::Regex;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::Path;

/// So many batch jobs are changed by one call of `bash`.
const CHANGED_AT_ONCE: usize = 200;

const TEMPLATE: &str = r#"#!/bin/bash
{% block header %}
{% endblock %}
cd {{ project }} || exit
{% block setup %}
{% if setup %}
{{ setup | raw }}
{% endif %}
{% endblock %}
{% block body %}
exec {{ program }} -C {{ project }} batch {{ name }} 0 {{ name }}
{% endblock %}
"#;

/// Commands are run by `bash` with these options, and so fail if any part of a pipe does.
const SHELL: [&str; 4] = ["bash", "-uo", "pipefail", "-c"];

const COMMANDS: Commands = Commands { env: &[] };

/// How a scheduler is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomCommands {
    /// Submits `{{ script }}`; also known are its `name`, the `project` and the directory `logs`.
    pub submit: String,
    /// A pattern of what that prints when it was taken.
    pub id: String,
    /// Lists batch jobs. It must fail if it cannot.
    pub list: String,
    /// A pattern of each line of that, with the groups `id`, `name` and `state`, and perhaps
    /// `element` and `reason`.
    pub line: String,
    /// The words for states, by what we call these; what we call them is understood anyway.
    pub states: BTreeMap<String, Vec<String>>,
    /// Ends the batch job `{{ id }}`.
    pub cancel: String,
    /// Holds the batch job `{{ id }}`, if that can be done.
    pub hold: Option<String>,
    /// Releases the batch job `{{ id }}`, if that can be done.
    pub release: Option<String>,
    /// The elements that an array has at most; 1 is that there are none.
    pub elements_max: u32,
    /// From where on elements are counted in lists.
    pub first_element: u32,
    /// The template of scripts, if it is not the plain one.
    pub template: Option<String>,
}

/// A scheduler that is described. An array is called by its name, and an element by that and its
/// number; under which id the scheduler has it tells its list.
#[derive(Clone, Debug)]
pub struct Custom {
    submit: Template,
    id: Regex,
    list: String,
    line: Regex,
    states: HashMap<String, State>,
    cancel: Template,
    hold: Option<Template>,
    release: Option<Template>,
    elements_max: u32,
    first_element: u32,
    template: String,
}

/// What a word for a state means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    Held,
    Running,
    Ended(Verdict),
}

const STATES: [(&str, State); 9] = [
    ("queued", State::Queued),
    ("held", State::Held),
    ("running", State::Running),
    ("completed", State::Ended(Verdict::Completed)),
    ("failed", State::Ended(Verdict::Failed)),
    ("timeout", State::Ended(Verdict::TimedOut)),
    ("out_of_memory", State::Ended(Verdict::OutOfMemory)),
    ("cancelled", State::Ended(Verdict::Cancelled)),
    ("node_failed", State::Ended(Verdict::NodeFailed)),
];

impl Custom {
    /// Takes a description.
    ///
    /// # Errors
    ///
    /// Fails with a message that names the key if a template or pattern is wrong, or something is
    /// missing.
    pub fn new(commands: &CustomCommands) -> Result<Self, String> {
        let id = Scope::new().with("id", "1");
        let submit = template("submit", &commands.submit, &submitted("/n.sh", "/", "/l"))?;
        let optional = |key, text: &Option<String>| match text {
            Some(text) => template(key, text, &id).map(Some),
            None => Ok(None),
        };
        let list = template("list", &commands.list, &Scope::new())?;
        let list = list.render_command(&Scope::new());
        let line = pattern("line", &commands.line)?;
        let groups: Vec<_> = line.capture_names().flatten().collect();
        let missing = ["id", "name", "state"]
            .into_iter()
            .find(|name| !groups.contains(name));
        if let Some(name) = missing {
            return Err(format!("`line` has no group `(?P<{name}>…)`"));
        }
        if commands.elements_max > 1 {
            if !groups.contains(&"element") {
                return Err("`line` has no group `(?P<element>…)`, as arrays need".to_owned());
            }
            if commands.template.is_none() {
                return Err("arrays need a `template` that tells which element it is".to_owned());
            }
        }
        let text = commands.template.as_deref().unwrap_or(TEMPLATE);
        Template::parse_extending(text, "").map_err(|error| format!("`template`: {error}"))?;
        Ok(Self {
            submit,
            id: pattern("id", &commands.id)?,
            list: list.map_err(|error| format!("`list`: {error}"))?,
            line,
            states: states(&commands.states)?,
            cancel: template("cancel", &commands.cancel, &id)?,
            hold: optional("hold", &commands.hold)?,
            release: optional("release", &commands.release)?,
            elements_max: commands.elements_max.max(1),
            first_element: commands.first_element,
            template: text.to_owned(),
        })
    }

    /// Asks for all batch jobs.
    fn list(&self) -> Result<HashMap<String, Listed>, Trouble> {
        let args = [&SHELL[1..], &[&self.list]].concat();
        let finished = succeeded("list", COMMANDS.ask(SHELL[0], &args))?;
        Ok(self.listed(&finished.stdout))
    }

    /// Reads a list; lines that are none of batch jobs do not matter.
    fn listed(&self, text: &str) -> HashMap<String, Listed> {
        let mut all: HashMap<String, Listed> = HashMap::new();
        for line in text.lines() {
            let Some(groups) = self.line.captures(line) else {
                continue;
            };
            let group = |name| groups.name(name).map(|group| group.as_str().trim());
            let (Some(id), Some(name)) = (group("id"), group("name")) else {
                continue;
            };
            let number = match group("element") {
                None => Some(0),
                Some(text) => text
                    .parse::<u32>()
                    .ok()
                    .and_then(|n| n.checked_sub(self.first_element)),
            };
            let Some(number) = number else {
                continue;
            };
            let listed = Listed {
                id: id.to_owned(),
                state: group("state").and_then(|word| self.states.get(word).copied()),
                word: group("state").unwrap_or_default().to_owned(),
                reason: group("reason").unwrap_or_default().to_owned(),
            };
            let key = self.array_id(name).element(number);
            let is_newer = all.get(&key).is_none_or(|known| known.has_ended());
            if is_newer {
                all.insert(key, listed);
            }
        }
        all
    }

    /// Changes batch jobs by their names, those that are as they must be.
    fn change(
        &self,
        what: &str,
        template: &Template,
        names: &[String],
        is_meant: impl Fn(&Listed) -> bool,
    ) -> Result<(), Trouble> {
        let meant = || -> Result<Vec<String>, Trouble> {
            let listed = self.list()?;
            let meant = names.iter().filter_map(|name| listed.get(name));
            Ok(meant
                .filter(|one| is_meant(one))
                .map(|one| one.id.clone())
                .collect())
        };
        for some in meant()?.chunks(CHANGED_AT_ONCE) {
            let mut commands = String::from("failed=0\n");
            for id in some {
                let command = template.render_command(&Scope::new().with("id", id.as_str()));
                let command = command.map_err(|error| Trouble(format!("`{what}`: {error}")))?;
                commands.push_str(&["{ ", &command, "\n} || failed=1\n"].concat());
            }
            commands.push_str("exit $failed");
            let args = [&SHELL[1..], &[&commands]].concat();
            let changed = succeeded(what, COMMANDS.change(SHELL[0], &args));
            // One that has begun or ended meanwhile is no error.
            if changed.is_err() && !meant()?.is_empty() {
                changed?;
            }
        }
        Ok(())
    }
}

/// What a list says of a batch job.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    id: String,
    /// `None` if we do not know the word.
    state: Option<State>,
    word: String,
    reason: String,
}

impl Listed {
    fn has_ended(&self) -> bool {
        matches!(self.state, Some(State::Ended(_)))
    }

    fn seen(&self) -> Option<Seen> {
        Some(match self.state? {
            State::Queued => Seen::Queued(self.reason.clone()),
            State::Held => Seen::Held,
            State::Running => Seen::Active(None),
            State::Ended(verdict) => {
                let words = match self.reason.as_str() {
                    "" => self.word.clone(),
                    reason => format!("{} ({reason})", self.word),
                };
                Seen::Ended(verdict, words)
            }
        })
    }
}

impl Scheduler for Custom {
    fn name(&self) -> &'static str {
        "custom"
    }

    fn elements_max(&self) -> u32 {
        self.elements_max
    }

    fn template(&self) -> &str {
        &self.template
    }

    fn words(&self, order: &Order<'_>, common: Scope) -> Scope {
        let first = self.first_element;
        let needs = order.needs;
        let memory_mib = needs.memory_bytes.map(|bytes| bytes.div_ceil(1 << 20));
        let number =
            |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        common
            .with("first", first)
            .with("last", first + order.n_elements.saturating_sub(1))
            .with("at_once", number(order.at_once.map(u64::from)))
            .with("memory_mib", number(memory_mib))
            .with("walltime_s", number(needs.walltime_s))
            .with("after", self.still_open(order.after))
            .with("hold", order.is_held)
    }

    fn command(&self, script: &Path, dir: &Path, logs: &Path) -> Vec<OsString> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let scope = submitted(&text(script), &text(dir), &text(logs));
        // What cannot be rendered, which was tried, bash refuses.
        let command = self.submit.render_command(&scope);
        let command = command.unwrap_or_else(|error| format!("echo {error:?} >&2; exit 1"));
        let mut words: Vec<OsString> = SHELL.iter().map(OsString::from).collect();
        words.extend([command.into(), name_of(&text(script)).into()]);
        words
    }

    fn submit(&self, command: &[OsString]) -> Result<String, Trouble> {
        let finished = COMMANDS.submit(command)?;
        let name = command
            .last()
            .map(|name| name.to_string_lossy().into_owned());
        let is_taken = finished.stdout.lines().any(|line| self.id.is_match(line));
        name.filter(|_| is_taken)
            .ok_or_else(|| says_no_id(&finished))
    }

    fn array_id(&self, id: &str) -> ArrayId {
        ArrayId::new(id, format!("{id}."), 0)
    }

    fn find(&self, name: &str) -> Result<Option<String>, Trouble> {
        let prefix = self.array_id(name).prefix;
        let listed = self.list()?;
        let is_there = listed.keys().any(|key| key.starts_with(&prefix));
        Ok(is_there.then(|| name.to_owned()))
    }

    fn poll(&self, arrays: &[Array]) -> (States, Option<Trouble>) {
        let listed = match self.list() {
            Ok(listed) => listed,
            Err(trouble) => return (States::new(), Some(trouble)),
        };
        let mut states = States::new();
        for id in arrays.iter().flat_map(Array::element_ids) {
            let state = match listed.get(&id) {
                Some(one) => one.seen(),
                None => Some(Seen::Gone),
            };
            states.extend(state.map(|state| (id, state)));
        }
        (states, None)
    }

    fn cancel(&self, ids: &[String]) -> Result<(), Trouble> {
        self.change("cancel", &self.cancel, ids, |one| !one.has_ended())
    }

    fn hold(&self, ids: &[String]) -> Result<(), Trouble> {
        let hold = self.hold.as_ref().ok_or_else(|| cannot("hold"))?;
        self.change("hold", hold, ids, |one| one.state == Some(State::Queued))
    }

    fn release(&self, ids: &[String]) -> Result<(), Trouble> {
        let release = self.release.as_ref().ok_or_else(|| cannot("release"))?;
        self.change("release", release, ids, |one| {
            one.state == Some(State::Held)
        })
    }
}

impl Custom {
    /// Returns the ids of those elements that have not ended. An array of which nobody says them has
    /// its name in their place, so that the scheduler refuses to wait for it.
    fn still_open(&self, after: &[String]) -> Vec<Scope> {
        if after.is_empty() {
            return Vec::new();
        }
        let jobs = self.list().unwrap_or_default();
        let listed = jobs
            .iter()
            .map(|(name, one)| (name.as_str(), one.id.as_str(), one.has_ended()));
        let ids = open_elements(after, listed).into_iter();
        ids.map(|id| Scope::new().with("text", id)).collect()
    }
}

/// What the command that submits knows.
fn submitted(script: &str, project: &str, logs: &str) -> Scope {
    Scope::new()
        .with("script", script)
        .with("name", name_of(script))
        .with("project", project)
        .with("logs", logs)
}

/// Returns the name of a submission, which its script bears.
fn name_of(script: &str) -> String {
    let name = Path::new(script).file_stem().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Reads a template, and tries it.
fn template(key: &str, text: &str, scope: &Scope) -> Result<Template, String> {
    let told = |error| format!("`{key}`: {error}");
    let template = Template::parse(text).map_err(told)?;
    template.render_command(scope).map_err(told)?;
    Ok(template)
}

fn pattern(key: &str, text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        let told = error.to_string();
        let told = told.lines().last().unwrap_or_default().trim();
        format!("`{key}` is no regular expression: {told}")
    })
}

/// Returns what each word means.
fn states(words: &BTreeMap<String, Vec<String>>) -> Result<HashMap<String, State>, String> {
    let own = STATES
        .iter()
        .map(|(name, state)| ((*name).to_owned(), *state));
    let mut all: HashMap<_, _> = own.collect();
    for (name, words) in words {
        let known = STATES.iter().find(|(known, _)| known == name);
        let Some((_, state)) = known else {
            return Err(format!("`states`: `{name}` is no state"));
        };
        all.extend(words.iter().map(|word| (word.clone(), *state)));
    }
    Ok(all)
}

fn says_no_id(finished: &Finished) -> Trouble {
    names_nothing("submit", finished)
}

fn cannot(verb: &str) -> Trouble {
    Trouble(format!("its description has no command `{verb}`"))
}

#[cfg(test)]
mod tests {
    use super::super::{Needs, script};
    use super::*;

    fn commands() -> CustomCommands {
        let states = [
            ("queued", vec!["waiting"]),
            ("failed", vec!["error", "lost"]),
        ];
        let own = |words: Vec<&str>| words.into_iter().map(ToOwned::to_owned).collect();
        let states = states.map(|(name, words)| (name.to_owned(), own(words)));
        CustomCommands {
            submit: "put {{ script }} --log {{ logs }}/out".to_owned(),
            id: r"^job (\d+)$".to_owned(),
            list: "show | cat".to_owned(),
            line: r"^(?P<id>\d+) (?P<state>\w+) (?P<name>\S+) ?(?P<reason>.*)$".to_owned(),
            states: states.into(),
            cancel: "drop {{ id }}".to_owned(),
            elements_max: 1,
            ..CustomCommands::default()
        }
    }

    #[test]
    fn a_list_is_understood() {
        let custom = Custom::new(&commands()).expect("a scheduler");
        let said = "ID STATE NAME\n1 waiting fly-1 no room\n2 error fly-2 exit 3\n3 strange fly-3\n\
            4 running fly-4\n5 running fly-5\n6 cancelled fly-5\n";
        let listed = custom.listed(said);
        let seen = |name: &str| listed.get(name).and_then(Listed::seen);
        assert_eq!(seen("fly-1.0"), Some(Seen::Queued("no room".into())));
        let failed = Seen::Ended(Verdict::Failed, "error (exit 3)".into());
        assert_eq!(seen("fly-2.0"), Some(failed));
        assert_eq!((seen("fly-3.0"), seen("fly-9.0")), (None, None));
        assert_eq!(seen("fly-4.0"), Some(Seen::Active(None)));
        assert_eq!(seen("fly-5.0"), Some(Seen::Active(None)));
        assert_eq!(listed.len(), 5);
    }

    #[test]
    fn elements_are_counted_from_where_the_scheduler_does() {
        let custom = Custom::new(&CustomCommands {
            line: r"^(?P<id>(?P<name>\S+)/(?P<element>\d+)) (?P<state>\w+)$".to_owned(),
            elements_max: 10,
            first_element: 1,
            template: Some("#!/bin/sh\n".to_owned()),
            ..commands()
        });
        let listed = custom
            .expect("a scheduler")
            .listed("fly/1 queued\nfly/2 held\nfly/0 held\n");
        assert_eq!(listed["fly.0"].id, "fly/1");
        assert_eq!(listed["fly.1"].seen(), Some(Seen::Held));
        assert_eq!(listed.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |change: fn(&mut CustomCommands)| {
            let mut commands = commands();
            change(&mut commands);
            Custom::new(&commands).expect_err("it is wrong")
        };
        let told = refused(|c| c.submit = "put {{ scirpt }}".into());
        assert!(
            told.starts_with("`submit`: `scirpt` is undefined"),
            "{told}"
        );
        let told = refused(|c| c.line = "(?P<id>.*)".into());
        assert_eq!(told, "`line` has no group `(?P<name>…)`");
        let told = refused(|c| c.id = "(".into());
        assert!(
            told.starts_with("`id` is no regular expression: "),
            "{told}"
        );
        let told = refused(|c| c.elements_max = 2);
        assert!(told.contains("element"), "{told}");
        let told = refused(|c| drop(c.states.insert("dead".into(), Vec::new())));
        assert_eq!(told, "`states`: `dead` is no state");
        let told = refused(|c| c.hold = Some("stop {{ ids }}".into()));
        assert!(told.starts_with("`hold`: "), "{told}");
    }

    #[test]
    fn a_plain_script_runs_the_execution() {
        let custom = Custom::new(&commands()).expect("a scheduler");
        let order = Order {
            name: "fly-1",
            n_elements: 1,
            at_once: None,
            needs: Needs {
                processes: 1,
                threads: 1,
                gpus: 0,
                memory_bytes: None,
                walltime_s: None,
            },
            account: None,
            partition: None,
            nodes: None,
            options: &[],
            after: &[],
            is_held: false,
            setup: "module load gcc",
            program: "/bin/sweepfs",
            project: "/a b",
        };
        let expected = "#!/bin/bash\ncd '/a b' || exit\nmodule load gcc\n\
            exec /bin/sweepfs -C '/a b' batch fly-1 0 fly-1\n";
        assert_eq!(script(&custom, &order, None).expect("a script"), expected);
        let command = custom.command(
            Path::new("/a b/fly-1.sh"),
            Path::new("/a b"),
            Path::new("/a b/l"),
        );
        let command: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
        let expected = [
            "bash",
            "-uo",
            "pipefail",
            "-c",
            "put '/a b/fly-1.sh' --log '/a b/l'/out",
            "fly-1",
        ];
        assert_eq!(command, expected);
    }
}
