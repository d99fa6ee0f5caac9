//! The operations of a workflow, as `sweepfs.toml` describes them.

use super::source::{
    Fault, Item, Key, Read, Source, check_name, choice, count, flag, in_order, listed, string,
    strings, table, unknown, wrong_type,
};
use crate::filter::{Condition, Field, Filter, nearest};
use std::collections::{BTreeMap, HashSet};
use toml::de::DeValue;

/// What is done with jobs: operations, in the order of the file, and what goes with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkflowConfig {
    /// `[[operation]]`; names differ, and what they wait for is there.
    pub operations: Vec<OperationConfig>,
    /// `[group.NAME]`: the names of operations, in the order of the file.
    pub groups: BTreeMap<String, Vec<String>>,
    /// `[hooks]`, for every operation.
    pub hooks: Hooks,
}

/// An operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperationConfig {
    /// Its name, which can be the name of a directory.
    pub name: String,
    /// What is run: a template of a text for `bash`.
    pub command: String,
    /// Where it is run.
    pub directory: RunDirectory,
    /// Which jobs it concerns at all; `None` is all.
    pub filter: Option<Filter>,
    /// What must hold before it is executed.
    pub pre: Vec<Condition>,
    /// What holds when it is completed. Without any, it is completed by its last execution.
    pub post: Vec<Condition>,
    /// How often it is executed again after it failed.
    pub retries: u32,
    /// How often it is executed again, besides, after it was ended since its walltime was over.
    pub timeouts: u32,
    /// Which jobs an execution works on; `None` is one.
    pub aggregate: Option<Aggregation>,
    /// What it needs of a machine.
    pub resources: Resources,
    /// What is run around it.
    pub hooks: Hooks,
    /// The line in the file, from 1.
    pub line: usize,
}

/// Where a command is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunDirectory {
    /// In the project's directory.
    #[default]
    Project,
    /// In the job's directory.
    Job,
}

/// How jobs are joined to aggregates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aggregation {
    /// Which jobs; `None` is all.
    pub filter: Option<Filter>,
    /// In which order; ids decide between equals.
    pub sort: Vec<SortKey>,
    /// Jobs with equal values of these are together.
    pub by: Vec<Field>,
    /// At most so many jobs are together; at least 1.
    pub size: Option<u32>,
}

/// What jobs are sorted by.
#[derive(Clone, Debug, PartialEq)]
pub struct SortKey {
    /// Jobs that lack it come last.
    pub field: Field,
    /// The greatest first.
    pub reverse: bool,
}

/// What an execution needs; each is a template of a text, and `None` if nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Processes, such as ranks of MPI.
    pub processes: Option<String>,
    /// Threads of each process.
    pub threads: Option<String>,
    /// GPUs of the whole execution.
    pub gpus: Option<String>,
    /// Memory of the whole execution, such as `4G`.
    pub memory: Option<String>,
    /// Time of the whole execution, such as `90m` or `12:00:00`.
    pub walltime: Option<String>,
}

/// Commands that are run around an execution, templates of texts for `bash`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before it.
    pub on_start: Option<String>,
    /// After it succeeded.
    pub on_success: Option<String>,
    /// After it failed.
    pub on_failure: Option<String>,
    /// After it, however it ended.
    pub on_exit: Option<String>,
}

const OPERATION_KEYS: [&str; 11] = [
    "name",
    "command",
    "directory",
    "where",
    "pre",
    "post",
    "retries",
    "on_timeout",
    "aggregate",
    "resources",
    "hooks",
];

const AGGREGATE_KEYS: [&str; 6] = ["where", "sort", "reverse", "by", "size", "all"];

const RESOURCE_KEYS: [&str; 5] = ["processes", "threads", "gpus", "memory", "walltime"];

const HOOK_KEYS: [&str; 4] = ["on_start", "on_success", "on_failure", "on_exit"];

const DIRECTORIES: [(&str, RunDirectory); 2] = [
    ("project", RunDirectory::Project),
    ("job", RunDirectory::Job),
];

impl WorkflowConfig {
    /// Returns an operation.
    pub fn operation(&self, name: &str) -> Option<&OperationConfig> {
        self.operations
            .iter()
            .find(|operation| operation.name == name)
    }
}

impl OperationConfig {
    /// Returns the names of the operations that must be completed before it.
    pub fn after(&self) -> impl Iterator<Item = &str> {
        self.pre.iter().flat_map(Condition::after)
    }
}

impl<'a> Source<'a> {
    /// Reads all operations.
    pub(super) fn operations(&self, item: &Item<'a>) -> Read<Vec<OperationConfig>> {
        let hint = "each begins with a line `[[operation]]`";
        let wrong =
            || wrong_type("operation", "be a list of tables", item).with_hint(hint.to_owned());
        let items = item.get_ref().as_array().ok_or_else(wrong)?;
        let mut operations: Vec<OperationConfig> = Vec::new();
        for item in items {
            let operation = self.operation(item)?;
            if let Some(other) = operations.iter().find(|other| other.name == operation.name) {
                let message = format!("there are two operations `{}`", operation.name);
                let hint = format!("the other is in line {}", other.line);
                return Err(Fault::new(item.span(), message).with_hint(hint));
            }
            operations.push(operation);
        }
        Ok(operations)
    }

    fn operation(&self, item: &Item<'a>) -> Read<OperationConfig> {
        let mut operation = OperationConfig {
            line: self.line(item.span().start),
            ..OperationConfig::default()
        };
        for (key, item) in in_order(table("[operation]", item)?) {
            let text = || string(key.get_ref(), item).map(str::to_owned);
            match key.get_ref().as_ref() {
                "name" => {
                    operation.name = text()?;
                    check_name("operation", &operation.name, item.span())?;
                }
                "command" => operation.command = text()?,
                "directory" => operation.directory = choice("directory", item, &DIRECTORIES)?,
                "where" => operation.filter = Some(self.filter("where", item)?),
                "pre" => operation.pre = self.conditions("pre", item)?,
                "post" => operation.post = self.conditions("post", item)?,
                "retries" => operation.retries = count("retries", item)?,
                "on_timeout" => operation.timeouts = timeouts(item)?,
                "aggregate" => operation.aggregate = Some(self.aggregation(item)?),
                "resources" => operation.resources = resources(item)?,
                "hooks" => operation.hooks = self.hooks("operation.hooks", item)?,
                other => return Err(unknown(key, "key", other, &OPERATION_KEYS, &OPERATION_KEYS)),
            }
        }
        for (name, text) in [("name", &operation.name), ("command", &operation.command)] {
            if text.trim().is_empty() {
                return Err(Fault::new(
                    item.span(),
                    format!("the operation has no `{name}`"),
                ));
            }
        }
        Ok(operation)
    }

    fn conditions(&self, name: &str, item: &Item<'a>) -> Read<Vec<Condition>> {
        let texts = strings(name, item)?.into_iter();
        let parse = |(text, item)| self.parsed(text, item, Condition::parse);
        texts.map(parse).collect()
    }

    fn aggregation(&self, item: &Item<'a>) -> Read<Aggregation> {
        let mut aggregation = Aggregation::default();
        let (mut reverse, mut all) = (false, None);
        for (key, item) in in_order(table("operation.aggregate", item)?) {
            match key.get_ref().as_ref() {
                "where" => aggregation.filter = Some(self.filter("where", item)?),
                "sort" => {
                    let key = |field| SortKey { field, reverse };
                    aggregation.sort = self.fields("sort", item)?.into_iter().map(key).collect();
                }
                "reverse" => reverse = flag("reverse", item)?,
                "by" => aggregation.by = self.fields("by", item)?,
                "size" => match count("size", item)? {
                    0 => return Err(Fault::new(item.span(), "`size` must be at least 1")),
                    size => aggregation.size = Some(size),
                },
                "all" => all = Some(flag("all", item)?),
                other => return Err(unknown(key, "key", other, &AGGREGATE_KEYS, &AGGREGATE_KEYS)),
            }
        }
        aggregation
            .sort
            .iter_mut()
            .for_each(|key| key.reverse = reverse);
        let is_divided = !aggregation.by.is_empty() || aggregation.size.is_some();
        match all {
            Some(true) if is_divided => {
                let message = "`all` cannot be with `by` or `size`, which divide the jobs";
                Err(Fault::new(item.span(), message))
            }
            Some(true) => Ok(aggregation),
            _ if is_divided => Ok(aggregation),
            _ => {
                let hint = "there are `all = true`, `by = \"KEY\"` and `size = N`";
                let message = "an aggregate must say which jobs are together";
                Err(Fault::new(item.span(), message).with_hint(hint.to_owned()))
            }
        }
    }

    /// Reads keys of state points or documents.
    fn fields(&self, name: &str, item: &Item<'a>) -> Read<Vec<Field>> {
        let texts = strings(name, item)?.into_iter();
        let parse = |(text, item)| self.parsed(text, item, Field::parse);
        texts.map(parse).collect()
    }

    /// Reads the commands around an execution.
    pub(super) fn hooks(&self, name: &str, item: &Item<'a>) -> Read<Hooks> {
        let mut hooks = Hooks::default();
        for (key, item) in in_order(table(name, item)?) {
            let command = || string(key.get_ref(), item).map(|text| Some(text.to_owned()));
            match key.get_ref().as_ref() {
                "on_start" => hooks.on_start = command()?,
                "on_success" => hooks.on_success = command()?,
                "on_failure" => hooks.on_failure = command()?,
                "on_exit" => hooks.on_exit = command()?,
                other => return Err(unknown(key, "key", other, &HOOK_KEYS, &HOOK_KEYS)),
            }
        }
        Ok(hooks)
    }

    /// Reads the members of a group.
    pub(super) fn group(&self, name: &Key<'a>, item: &Item<'a>) -> Read<Vec<String>> {
        let name = format!("group.{}", name.get_ref());
        let mut members = None;
        for (key, item) in in_order(table(&name, item)?) {
            match key.get_ref().as_ref() {
                "operations" => members = Some(strings("operations", item)?),
                other => return Err(unknown(key, "key", other, &["operations"], &["operations"])),
            }
        }
        let members = members
            .filter(|members| !members.is_empty())
            .ok_or_else(|| Fault::new(item.span(), format!("`{name}` has no `operations`")))?;
        Ok(members
            .into_iter()
            .map(|(text, _)| text.to_owned())
            .collect())
    }

    /// Checks that operations and groups name what there is, and that there is a first one to
    /// execute.
    pub(super) fn check_workflow(
        &self,
        workflow: &WorkflowConfig,
        document: &Item<'a>,
    ) -> Read<()> {
        let top = table("", document)?;
        let at = |section: &str| top.get(section).map_or(document, |item| item);
        let names: Vec<_> = workflow
            .operations
            .iter()
            .map(|o| o.name.as_str())
            .collect();
        let known = |name: &str, what: String, item: &Item<'a>| {
            if names.contains(&name) {
                return Ok(());
            }
            let hint = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "no operation is defined".to_owned(),
                None => format!("the operations are {}", listed(&names)),
            };
            let message = format!("{what} names `{name}`, and there is no such operation");
            Err(Fault::new(item.span(), message).with_hint(hint))
        };
        let items = at("operation").get_ref().as_array();
        for (operation, item) in workflow.operations.iter().zip(items.into_iter().flatten()) {
            let conditions = operation.pre.iter().chain(&operation.post);
            for name in conditions.flat_map(Condition::after) {
                known(name, format!("the operation `{}`", operation.name), item)?;
            }
            if workflow.groups.contains_key(&operation.name) {
                let message = format!("`{}` is an operation and a group", operation.name);
                return Err(Fault::new(item.span(), message));
            }
        }
        for (group, members) in &workflow.groups {
            let section = at("group").get_ref().as_table();
            let item = section.and_then(|groups| groups.get(group.as_str()));
            for name in members {
                known(
                    name,
                    format!("the group `{group}`"),
                    item.unwrap_or(document),
                )?;
            }
        }
        match cycle(workflow) {
            None => Ok(()),
            Some(names) => {
                let place = names.first().and_then(|first| {
                    let i = workflow.operations.iter().position(|o| o.name == *first)?;
                    at("operation").get_ref().as_array()?.get(i)
                });
                let message = format!("operations wait for each other: {}", names.join(" after "));
                Err(Fault::new(place.unwrap_or(document).span(), message))
            }
        }
    }
}

/// Returns names of operations each of which waits for the next, if the last is the first again.
fn cycle(workflow: &WorkflowConfig) -> Option<Vec<&str>> {
    let mut done: HashSet<&str> = HashSet::new();
    let mut path = Vec::new();
    let mut names = workflow
        .operations
        .iter()
        .map(|operation| operation.name.as_str());
    names.find_map(|name| find_cycle(workflow, name, &mut path, &mut done))
}

fn find_cycle<'a>(
    workflow: &'a WorkflowConfig,
    name: &'a str,
    path: &mut Vec<&'a str>,
    done: &mut HashSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if let Some(start) = path.iter().position(|other| *other == name) {
        let mut cycle = path[start..].to_vec();
        cycle.push(name);
        return Some(cycle);
    }
    if !done.insert(name) {
        return None;
    }
    path.push(name);
    let found = workflow.operation(name).and_then(|operation| {
        let conditions = operation.pre.iter().chain(&operation.post);
        let mut before = conditions.flat_map(Condition::after);
        before.find_map(|before| find_cycle(workflow, before, path, done))
    });
    path.pop();
    found
}

/// Reads what happens after a walltime is over: `"fail"`, or `{ resubmit = N }`.
fn timeouts(item: &Item<'_>) -> Read<u32> {
    let hint =
        "there are `\"fail\"` and `{ resubmit = N }`, which executes it again at most N times";
    match item.get_ref() {
        DeValue::String(word) if word == "fail" => return Ok(0),
        DeValue::String(word) if word == "resubmit" => {
            let message = "`on_timeout` must say how often, lest it goes on for ever";
            let hint = "write `on_timeout = { resubmit = 5 }`";
            return Err(Fault::new(item.span(), message).with_hint(hint.to_owned()));
        }
        DeValue::Table(_) => {}
        _ => {
            return Err(wrong_type("on_timeout", "be `\"fail\"` or a table", item)
                .with_hint(hint.to_owned()));
        }
    }
    let mut resubmit = None;
    for (key, item) in in_order(table("operation.on_timeout", item)?) {
        match key.get_ref().as_ref() {
            "resubmit" => resubmit = Some(count("resubmit", item)?),
            other => return Err(unknown(key, "key", other, &["resubmit"], &["resubmit"])),
        }
    }
    resubmit.ok_or_else(|| {
        Fault::new(item.span(), "`on_timeout` does not say what to do").with_hint(hint.to_owned())
    })
}

fn resources(item: &Item<'_>) -> Read<Resources> {
    let mut resources = Resources::default();
    for (key, item) in in_order(table("operation.resources", item)?) {
        let number = || match item.get_ref() {
            DeValue::Integer(_) => {
                count(key.get_ref(), item).map(|number| Some(number.to_string()))
            }
            _ => text(key.get_ref(), "be a number or a text", item),
        };
        match key.get_ref().as_ref() {
            "processes" => resources.processes = number()?,
            "threads" => resources.threads = number()?,
            "gpus" => resources.gpus = number()?,
            "memory" => resources.memory = text("memory", "be a text such as `\"4G\"`", item)?,
            "walltime" => {
                resources.walltime = text("walltime", "be a text such as `\"90m\"`", item)?;
            }
            other => return Err(unknown(key, "key", other, &RESOURCE_KEYS, &RESOURCE_KEYS)),
        }
    }
    Ok(resources)
}

fn text(name: &str, wanted: &str, item: &Item<'_>) -> Read<Option<String>> {
    let text = item.get_ref().as_str().map(|text| Some(text.to_owned()));
    text.ok_or_else(|| wrong_type(name, wanted, item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProjectConfig;
    use std::path::Path;

    fn parse(text: &str) -> Result<WorkflowConfig, String> {
        let config = ProjectConfig::parse(text, Path::new("f"));
        config
            .map(|config| config.workflow)
            .map_err(|error| match error.hint() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            })
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        assert_eq!(parse(text).expect_err("a mistake"), expected);
    }

    #[test]
    fn a_workflow_is_read() {
        let workflow = parse(
            r#"
            [[operation]]
            name = "simulate"
            command = "./simulate"
            directory = "job"
            where = "a>1"
            pre = "not doc.bad"
            post = ['file("x.csv")', "doc.distance"]
            retries = 2
            on_timeout = { resubmit = 5 }
            [operation.resources]
            processes = 4
            walltime = "{{ sp.n }}h"
            [operation.hooks]
            on_failure = "mail"

            [[operation]]
            name = "average over all"
            command = "./average"
            pre = 'after("simulate") and size("x.csv") > 0'
            aggregate = { by = ["velocity", "doc.x"], sort = "angle", reverse = true, size = 10 }

            [group.both]
            operations = ["average over all", "simulate"]

            [hooks]
            on_exit = "sync"
            "#,
        );
        let workflow = workflow.expect("sound");
        let [simulate, average] = &workflow.operations[..] else {
            panic!("two operations");
        };
        assert_eq!((simulate.line, simulate.retries), (2, 2));
        assert_eq!(simulate.directory, RunDirectory::Job);
        assert_eq!(simulate.resources.processes.as_deref(), Some("4"));
        assert_eq!(simulate.hooks.on_failure.as_deref(), Some("mail"));
        assert_eq!((simulate.pre.len(), simulate.post.len()), (1, 2));
        assert_eq!(average.after().collect::<Vec<_>>(), ["simulate"]);
        let aggregate = average.aggregate.as_ref().expect("an aggregate");
        assert_eq!((aggregate.by.len(), aggregate.size), (2, Some(10)));
        assert!(aggregate.sort[0].reverse);
        assert_eq!(workflow.groups["both"], ["average over all", "simulate"]);
        assert_eq!(workflow.hooks.on_exit.as_deref(), Some("sync"));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let operation = |name: &str, rest: &str| {
            format!("[[operation]]\nname = \"{name}\"\ncommand = \"x\"\n{rest}\n")
        };
        check_error(
            "[operation]\nname = \"a\"",
            "`f`, line 1, column 1: `operation` must be a list of tables, not a table; each begins with a line `[[operation]]`",
        );
        check_error(
            "[[operation]]\nname = \"a\"",
            "`f`, line 1, column 1: the operation has no `command`",
        );
        check_error(
            &operation("a", "comand = 3"),
            "`f`, line 4, column 1: unknown key `comand`; did you mean `command`?",
        );
        check_error(
            &[operation("a", ""), operation("a", "")].concat(),
            "`f`, line 5, column 1: there are two operations `a`; the other is in line 1",
        );
        check_error(
            &operation("a", "pre = 'after(\"zebra\")'"),
            "`f`, line 1, column 1: the operation `a` names `zebra`, and there is no such operation; the operations are `a`",
        );
        check_error(
            &operation("a", "post = ['file(\"x\")', 'fiel(\"x\")']"),
            "`f`, line 4, column 23: unknown function `fiel`; did you mean `file`?",
        );
        check_error(
            &[
                operation("a", "pre = \"after(c)\""),
                operation("b", "pre = \"after(a)\""),
                operation("c", "pre = \"after(b)\""),
                operation("d", "pre = \"after(a)\""),
            ]
            .concat(),
            "`f`, line 1, column 1: operations wait for each other: a after c after b after a",
        );
        check_error(
            &operation("a", "post = \"not after(a)\""),
            "`f`, line 1, column 1: operations wait for each other: a after a",
        );
        check_error(
            &operation("a", "aggregate = {}"),
            "`f`, line 4, column 13: an aggregate must say which jobs are together; there are `all = true`, `by = \"KEY\"` and `size = N`",
        );
        check_error(
            &operation("a", "retries = -1"),
            "`f`, line 4, column 11: `retries` must be a whole number from 0 on, not -1",
        );
        check_error(
            &operation("a", "on_timeout = \"resubmit\""),
            "`f`, line 4, column 14: `on_timeout` must say how often, lest it goes on for ever; write `on_timeout = { resubmit = 5 }`",
        );
        check_error(
            &operation("a", "on_timeout = { resumbit = 5 }"),
            "`f`, line 4, column 16: unknown key `resumbit`; did you mean `resubmit`?",
        );
        check_error(
            &operation("a", "on_timeout = {}"),
            "`f`, line 4, column 14: `on_timeout` does not say what to do; there are `\"fail\"` and `{ resubmit = N }`, which executes it again at most N times",
        );
        check_error(
            &operation("a", "on_timeout = 5"),
            "`f`, line 4, column 14: `on_timeout` must be `\"fail\"` or a table, not an integer; there are `\"fail\"` and `{ resubmit = N }`, which executes it again at most N times",
        );
        let fails = parse(&operation("a", "on_timeout = \"fail\"")).expect("sound");
        assert_eq!(fails.operations[0].timeouts, 0);
        for name in ["a/b", "a\\nb", ".a", ""] {
            let error = parse(&operation(name, "")).expect_err(name);
            assert!(error.starts_with("`f`, line "), "{error}");
        }
        let long = parse(&operation(&"x".repeat(300), "")).expect_err("too long");
        assert!(long.contains("longer than 255 bytes"), "{long}");
        check_error(
            "[group.g]\noperations = [\"a\"]",
            "`f`, line 1, column 1: the group `g` names `a`, and there is no such operation; no operation is defined",
        );
    }
}
