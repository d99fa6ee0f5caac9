//! Projects of signac-flow.

use super::draft::{self, Aggregate, Draft, Group, Operation, field, file, quoted, word};
use super::{ImportError, Imported};
use crate::exec;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// What Python is told to run.
const SCRIPT: &str = include_str!("describe_flow.py");

/// Importing a project that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// A project of signac-flow that is to be imported.
#[derive(Clone, Debug)]
pub struct FlowImport<'a> {
    /// Its file.
    pub file: &'a Path,
    /// The directory of the file from that of the project; empty if it is the same.
    pub folder: &'a str,
    /// The Python that has signac-flow.
    pub python: &'a str,
}

#[derive(Debug, Deserialize)]
struct Project {
    module: String,
    class: String,
    operations: Vec<FlowOperation>,
    groups: Vec<FlowGroup>,
    labels: Vec<FlowLabel>,
}

#[derive(Debug, Deserialize)]
struct FlowOperation {
    name: String,
    is_command: bool,
    template: Option<String>,
    with_job: bool,
    directives: BTreeMap<String, Directive>,
    group_directives: Vec<String>,
    aggregator: Option<Aggregator>,
    hooks: BTreeMap<String, Vec<String>>,
    pre: Vec<FlowCondition>,
    post: Vec<FlowCondition>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Directive {
    Value(Value),
    Seconds(f64),
    Template(String),
    Python(serde::de::IgnoredAny),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Aggregator {
    size: Option<u32>,
    by: Vec<String>,
    default: Option<String>,
    sort: Option<String>,
    reverse: bool,
    #[serde(rename = "where")]
    filter: Option<String>,
    opaque: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum FlowCondition {
    File { name: String },
    True { key: String },
    False { key: String },
    Never,
    Not { of: Box<Self> },
    After { operations: Vec<String> },
    All { of: Vec<Self> },
    Filter { text: String },
    Python { name: String, call: String },
}

#[derive(Debug, Deserialize)]
struct FlowGroup {
    name: String,
    operations: Vec<String>,
    options: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct FlowLabel {
    name: String,
    filter: Option<String>,
}

impl FlowImport<'_> {
    /// Has Python import the project, and translates what it defines.
    ///
    /// # Errors
    ///
    /// Fails if Python or the project does.
    pub fn run(&self) -> Result<Imported, ImportError> {
        let args = [OsStr::new("-c"), OsStr::new(SCRIPT), self.file.as_os_str()];
        let finished = exec::run(Path::new(self.python), &args, LIMIT)?;
        if !finished.success {
            let reason = finished
                .stderr
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty());
            return Err(ImportError::Python {
                python: self.python.to_owned(),
                file: self.file.display().to_string(),
                reason: reason.unwrap_or("it said nothing").to_owned(),
            });
        }
        let project: Project = serde_json::from_str(&finished.stdout)?;
        Ok(self.draft(&project).finish())
    }

    fn draft(&self, project: &Project) -> Draft {
        let file_name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let mut draft = Draft {
            header: vec![
                format!("Imported from `{file_name}`, a project of signac-flow."),
                "Commands are run by `bash -euo pipefail`, and values that they print are quoted, as JSON has \
                 them: true, false, null."
                    .to_owned(),
            ],
            ..Draft::default()
        };
        let code = Code {
            python: word(self.python),
            import: self.import(&project.module),
            class: &project.class,
            script: match self.folder {
                "" => word(&file_name),
                folder => word(&format!("{folder}/{file_name}")),
            },
        };
        let operations = project.operations.iter();
        draft.operations = operations
            .map(|flow| code.operation(flow, project))
            .collect();
        draft.groups = project.groups.iter().filter_map(group).collect();
        for label in &project.labels {
            match label.filter.as_deref().and_then(draft::filter) {
                Some(filter) => draft.labels.push((label.name.clone(), filter)),
                None => draft.label_notes.push(format!(
                    "The label `{}` is decided by Python, and has no counterpart: a label is a filter.",
                    label.name
                )),
            }
        }
        draft
    }

    /// Returns the statements that import the project as `m`.
    fn import(&self, module: &str) -> String {
        let path = match self.folder {
            "" => String::new(),
            folder => format!("sys.path.insert(0, {}); ", quoted(folder)),
        };
        let is_word = module
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_');
        match is_word {
            true => format!("import sys; {path}import {module} as m"),
            false => format!(
                "import sys, importlib; {path}m = importlib.import_module({})",
                quoted(module)
            ),
        }
    }
}

fn group(flow: &FlowGroup) -> Option<Group> {
    let note = |(key, value): (&String, &String)| {
        format!(
            "The group `{}` has {key} ({value}), which has no counterpart.",
            flow.name
        )
    };
    (!flow.operations.is_empty()).then(|| Group {
        name: flow.name.clone(),
        operations: flow.operations.clone(),
        notes: flow.options.iter().map(note).collect(),
    })
}

/// How to call the project.
struct Code<'a> {
    python: String,
    import: String,
    class: &'a str,
    script: String,
}

impl Code<'_> {
    fn operation(&self, flow: &FlowOperation, project: &Project) -> Operation {
        let mut operation = Operation {
            name: flow.name.clone(),
            ..Operation::default()
        };
        let python = match flow.directives.get("executable") {
            Some(Directive::Value(Value::String(executable))) => executable.as_str(),
            _ => &self.python,
        };
        operation.command = launcher(flow, &mut operation) + &self.command(flow, python);
        operation.in_job = flow.with_job && flow.template.is_some();
        operation.aggregate = flow
            .aggregator
            .as_ref()
            .map(|aggregator| aggregate(aggregator, &mut operation.notes));
        for (is_pre, conditions) in [(true, &flow.pre), (false, &flow.post)] {
            for condition in conditions {
                self.add(&mut operation, is_pre, condition, project);
            }
        }
        add_resources(&mut operation, &flow.directives);
        for group in &flow.group_directives {
            operation.note(format!(
                "Its directives for the group `{group}` have no counterpart."
            ));
        }
        for (trigger, functions) in &flow.hooks {
            let names = functions.join(", ");
            operation.note(format!(
                "Its hook {trigger} calls Python ({names}); a hook is a command here."
            ));
        }
        operation
    }

    fn command(&self, flow: &FlowOperation, python: &str) -> String {
        if let Some(template) = flow.template.as_ref().filter(|_| flow.aggregator.is_none()) {
            return template.trim_start().to_owned();
        }
        if flow.aggregator.is_none() {
            let Self { script, .. } = self;
            return format!(
                "{python} {script} exec {} {{{{ job.id }}}}",
                word(&flow.name)
            );
        }
        let call = format!(
            "p.operations[{}](*[p.open_job(id=i) for i in sys.argv[1:]])",
            quoted(&flow.name)
        );
        let call = match flow.is_command {
            true => format!("import subprocess; subprocess.run({call}, shell=True, check=True)"),
            false => call,
        };
        let code = format!(
            "{}; p = m.{}.get_project(); {call}",
            self.import, self.class
        );
        let code = draft::template_literal(&word(&code));
        format!("{python} -c {code} {{{{ jobs | map(attribute=\"id\") | join(\" \") }}}}")
    }

    /// Adds a condition. One that has no counterpart holds an operation back, rather than to
    /// let it begin too early.
    fn add(
        &self,
        operation: &mut Operation,
        is_pre: bool,
        condition: &FlowCondition,
        project: &Project,
    ) {
        if let FlowCondition::All { of } = condition {
            return of
                .iter()
                .for_each(|part| self.add(operation, is_pre, part, project));
        }
        if matches!(condition, FlowCondition::Never) && !is_pre {
            operation.note(
                "With post.never, flow executes it in each run; here it is completed by its last success, \
                 and `sweepfs exec` executes it again.",
            );
            return;
        }
        if let FlowCondition::After { operations } = condition {
            self.note_vacuous(operation, operations, project);
        }
        let of_several = operation.aggregate.is_some();
        let text = self.text(condition, of_several);
        let list = if is_pre {
            &mut operation.pre
        } else {
            &mut operation.post
        };
        if text.is_some_and(|text| Operation::add_condition(list, &text)) {
            if let Some(name) = python_in(condition) {
                operation.comment(format!(
                    "Python decides `{name}`; it is asked about many jobs at once."
                ));
            }
            return;
        }
        let name = match condition {
            FlowCondition::File { name } => format!(" `isfile({})`", quoted(name)),
            _ => python_in(condition).map_or(String::new(), |name| format!(" `{name}`")),
        };
        let kind = if is_pre {
            "precondition"
        } else {
            "postcondition"
        };
        let why = if of_several {
            " on several jobs together"
        } else {
            ""
        };
        let instead = if is_pre {
            "`never` stands in its place"
        } else {
            "it is left out"
        };
        operation.note(format!(
            "The {kind}{name}{why} has no counterpart: {instead}."
        ));
        if is_pre {
            Operation::add_condition(&mut operation.pre, "never");
        }
    }

    fn note_vacuous(&self, operation: &mut Operation, before: &[String], project: &Project) {
        let has_no_post = |name: &&String| {
            let flow = project.operations.iter().find(|other| other.name == **name);
            flow.is_some_and(|flow| flow.post.is_empty())
        };
        for name in before.iter().filter(has_no_post) {
            operation.comment(format!(
                "flow takes `{name}`, which has no postconditions, for completed at once; here it is when it has been executed."
            ));
        }
    }

    /// Returns a condition in our language.
    fn text(&self, condition: &FlowCondition, of_several: bool) -> Option<String> {
        Some(match condition {
            FlowCondition::File { name } => file(name),
            FlowCondition::True { key } => field("doc", &[key])?,
            FlowCondition::False { key } => format!("not {}", field("doc", &[key])?),
            FlowCondition::Never => "never".to_owned(),
            // flow asks whether it does not hold for all, we whether it holds for none.
            FlowCondition::Not { .. } if of_several => return None,
            FlowCondition::Not { of } => format!("not ({})", self.text(of, of_several)?),
            FlowCondition::After { operations } => {
                let after = operations
                    .iter()
                    .map(|name| format!("after({})", quoted(name)));
                after.collect::<Vec<_>>().join(" and ")
            }
            FlowCondition::All { of } => {
                let parts = of
                    .iter()
                    .map(|part| Some(format!("({})", self.text(part, of_several)?)));
                parts.collect::<Option<Vec<_>>>()?.join(" and ")
            }
            FlowCondition::Filter { text } => text.clone(),
            FlowCondition::Python { call, .. } if of_several || call.is_empty() => return None,
            FlowCondition::Python { call, .. } => {
                let code = format!(
                    "{}; p = m.{}.get_project(); c = {call}; \
                     print(*[i for i in sys.stdin.read().split() if c(p.open_job(id=i))])",
                    self.import, self.class
                );
                let command = format!("{} -c {}", self.python, word(&code));
                format!("test({}, batch=true)", quoted(&command))
            }
        })
    }
}

/// Returns what flow puts before the command.
fn launcher(flow: &FlowOperation, operation: &mut Operation) -> String {
    let mut launcher = String::new();
    if is_set(&flow.directives, "omp_num_threads") {
        launcher.push_str("export OMP_NUM_THREADS={{ threads }}; ");
    }
    if is_set(&flow.directives, "nranks") {
        launcher.push_str("mpiexec -n {{ processes }} ");
        operation.comment("Clusters may have another launcher than mpiexec, such as srun.");
    }
    launcher
}

/// Returns the name of the function of Python that a condition asks.
fn python_in(condition: &FlowCondition) -> Option<&str> {
    match condition {
        FlowCondition::Python { name, .. } => Some(name),
        FlowCondition::Not { of } => python_in(of),
        FlowCondition::All { of } => of.iter().find_map(python_in),
        _ => None,
    }
}

fn aggregate(flow: &Aggregator, notes: &mut Vec<String>) -> Aggregate {
    let mut fields = |keys: &[String]| {
        let fields = keys.iter().map(|key| field("sp", &[key]));
        let fields = fields.collect::<Option<Vec<_>>>();
        fields.unwrap_or_else(|| {
            notes.push("A key of its aggregator cannot be written.".to_owned());
            Vec::new()
        })
    };
    let by = fields(&flow.by);
    let sort = fields(flow.sort.as_slice());
    if let Some(default) = &flow.default {
        notes.push(format!("Its aggregator takes {default} where the key is missing; here such jobs are together by themselves."));
    }
    let filter = flow.filter.as_deref().and_then(draft::filter);
    for opaque in &flow.opaque {
        notes.push(match opaque.as_str() {
            "aggregator" => "Its aggregator is Python, and has no counterpart: say by `aggregate` which jobs are together.".to_owned(),
            "select" => "Its aggregator selects jobs by Python: say by `where` in `aggregate` which.".to_owned(),
            _ => "Its aggregator sorts jobs by Python: say by `sort` in `aggregate` how.".to_owned(),
        });
    }
    Aggregate {
        filter,
        by,
        sort,
        reverse: flow.reverse && flow.sort.is_some(),
        size: flow.size,
    }
}

/// Tells whether a directive asks for something.
fn is_set(directives: &BTreeMap<String, Directive>, key: &str) -> bool {
    let directive = directives.get(key);
    directive.is_some_and(|directive| !matches!(resource("", directive), Some(None)))
}

/// Translates directives to resources.
fn add_resources(operation: &mut Operation, directives: &BTreeMap<String, Directive>) {
    let has_ranks = is_set(directives, "nranks") || is_set(directives, "omp_num_threads");
    for (key, directive) in directives {
        let target = match key.as_str() {
            "nranks" => "processes",
            "np" if !has_ranks => "processes",
            "omp_num_threads" => "threads",
            "ngpu" => "gpus",
            "memory" => "memory",
            "walltime" => "walltime",
            "executable" | "fork" => continue,
            _ => {
                operation.note(format!("Its directive {key} has no counterpart."));
                continue;
            }
        };
        match resource(target, directive) {
            Some(Some(text)) => operation.resources.push((target, text)),
            Some(None) => {}
            None => operation.note(format!(
                "Its directive {key} is Python: write `{target}` as a template."
            )),
        }
    }
    let order = ["processes", "threads", "gpus", "memory", "walltime"];
    operation
        .resources
        .sort_by_key(|(key, _)| order.iter().position(|other| other == key));
}

/// Returns a template of a resource, nothing if the directive asks for nothing; `None` if it cannot
/// be written.
fn resource(target: &str, directive: &Directive) -> Option<Option<String>> {
    let unit = match target {
        "memory" => "G",
        "walltime" => "h",
        _ => "",
    };
    Some(match directive {
        Directive::Value(Value::Null) => None,
        Directive::Value(Value::Number(number)) if number.as_f64() == Some(0.0) => None,
        Directive::Value(Value::Number(number)) => Some(format!("{number}{unit}")),
        Directive::Value(Value::String(text)) if target == "memory" => {
            let text = text.to_ascii_uppercase();
            let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
            Some(if has_unit { text } else { text + unit })
        }
        Directive::Value(Value::String(text)) => Some(text.clone()),
        Directive::Seconds(seconds) => Some(format!("{seconds}s")),
        Directive::Template(expression) => Some(format!("{{{{ {expression} }}}}{unit}")),
        Directive::Value(_) | Directive::Python(_) => return None,
    })
}
