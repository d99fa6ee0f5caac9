//! Workflows of row.

use super::draft::{self, Aggregate, Draft, Operation, field, file, quoted};
use super::{ImportError, Imported};
use serde::Deserialize;
use toml::Value;

/// What an action's walltime is for each directory if nothing is said.
const WALLTIME_S: u64 = 3600;

#[derive(Debug, Deserialize)]
struct Workflow {
    #[serde(default)]
    workspace: Workspace,
    #[serde(default)]
    default: Defaults,
    action: Vec<Action>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Workspace {
    path: Option<String>,
    value_file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Defaults {
    action: Action,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Action {
    name: Option<String>,
    command: Option<String>,
    launchers: Option<Vec<String>>,
    previous_actions: Option<Vec<String>>,
    products: Option<Vec<String>>,
    from: Option<String>,
    resources: RowResources,
    group: RowGroup,
    submit_options: Option<toml::Table>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RowResources {
    processes: Option<Amount<u64>>,
    threads_per_process: Option<u64>,
    gpus_per_process: Option<u64>,
    walltime: Option<Amount<String>>,
    memory_per_cpu_mb: Option<u64>,
    memory_per_gpu_mb: Option<u64>,
}

/// For all directories of a submission, or for each.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Amount<T> {
    PerSubmission(T),
    PerDirectory(T),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RowGroup {
    include: Option<Vec<Include>>,
    sort_by: Option<Vec<String>>,
    split_by_sort_key: Option<bool>,
    reverse_sort: Option<bool>,
    maximum_size: Option<u32>,
    submit_whole: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Include {
    Condition(Comparison),
    All(Vec<Comparison>),
}

/// A JSON pointer, an operator and a value.
type Comparison = (String, String, Value);

/// Translates row's `workflow.toml`.
///
/// # Errors
///
/// Fails if the text is none.
pub fn from_row(text: &str) -> Result<Imported, ImportError> {
    let workflow: Workflow =
        toml::from_str(text).map_err(|error| ImportError::Row(error.message().to_owned()))?;
    let space = match workflow.workspace.value_file.as_deref() {
        Some("signac_statepoint.json") => Some("sp"),
        Some("signac_job_document.json") => Some("doc"),
        _ => None,
    };
    let mut draft = Draft {
        header: vec!["Imported from row's `workflow.toml`.".to_owned()],
        ..Draft::default()
    };
    if workflow.workspace.path.as_deref().unwrap_or("workspace") != "workspace" {
        draft
            .header
            .push("row's workspace has another name; here it is `workspace`.".to_owned());
    }
    for action in &workflow.action {
        let action = action.resolved(&workflow);
        let mut operation = Reader {
            action: &action,
            space,
        }
        .operation();
        let n_before = draft
            .operations
            .iter()
            .filter(|other| Some(&other.name) == action.name.as_ref())
            .count();
        if n_before > 0 {
            operation.note("Another action has this name; `after` means the first.");
            operation.name = format!("{} {}", operation.name, n_before + 1);
        }
        draft.operations.push(operation);
    }
    Ok(draft.finish())
}

impl Action {
    /// Fills what is left open: from the action that `from` names, then from the default.
    fn resolved(&self, workflow: &Workflow) -> Self {
        let from = self.from.as_ref().and_then(|from| {
            let mut actions = workflow.action.iter();
            actions.find(|other| other.name.as_ref() == Some(from))
        });
        let own = self.clone();
        let filled = from.map_or(own.clone(), |from| own.or(from));
        filled.or(&workflow.default.action)
    }

    fn or(self, other: &Self) -> Self {
        let other = other.clone();
        let (own, its) = (self.resources, other.resources);
        let resources = RowResources {
            processes: own.processes.or(its.processes),
            threads_per_process: own.threads_per_process.or(its.threads_per_process),
            gpus_per_process: own.gpus_per_process.or(its.gpus_per_process),
            walltime: own.walltime.or(its.walltime),
            memory_per_cpu_mb: own.memory_per_cpu_mb.or(its.memory_per_cpu_mb),
            memory_per_gpu_mb: own.memory_per_gpu_mb.or(its.memory_per_gpu_mb),
        };
        let (own, its) = (self.group, other.group);
        let group = RowGroup {
            include: own.include.or(its.include),
            sort_by: own.sort_by.or(its.sort_by),
            split_by_sort_key: own.split_by_sort_key.or(its.split_by_sort_key),
            reverse_sort: own.reverse_sort.or(its.reverse_sort),
            maximum_size: own.maximum_size.or(its.maximum_size),
            submit_whole: own.submit_whole.or(its.submit_whole),
        };
        Self {
            name: self.name.or(other.name),
            command: self.command.or(other.command),
            launchers: self.launchers.or(other.launchers),
            previous_actions: self.previous_actions.or(other.previous_actions),
            products: self.products.or(other.products),
            from: None,
            resources,
            group,
            submit_options: self.submit_options.or(other.submit_options),
        }
    }

    /// Tells whether one command works on several directories.
    fn is_of_several(&self) -> bool {
        self.command
            .as_deref()
            .is_some_and(|command| command.contains("{directories}"))
    }
}

/// Translates one action.
struct Reader<'a> {
    action: &'a Action,
    /// Where the values of directories are, if they are parameters or results.
    space: Option<&'static str>,
}

impl Reader<'_> {
    fn operation(&self) -> Operation {
        let action = self.action;
        let mut operation = Operation {
            name: action.name.clone().unwrap_or_default(),
            ..Operation::default()
        };
        operation.command = self.command(&mut operation);
        for name in action.previous_actions.iter().flatten() {
            Operation::add_condition(&mut operation.pre, &format!("after({})", quoted(name)));
        }
        for product in action.products.iter().flatten() {
            if !Operation::add_condition(&mut operation.post, &file(product)) {
                operation.note(format!("The product `{product}` has no counterpart."));
            }
        }
        if let Some(include) = &action.group.include {
            operation.filter = self.include(include);
            if operation.filter.is_none() {
                operation
                    .note("Its group.include has no counterpart: `never` stands in its place.");
                Operation::add_condition(&mut operation.pre, "never");
            }
        }
        self.add_group(&mut operation);
        self.add_resources(&mut operation);
        if action.submit_options.is_some() {
            operation.note("Its submit_options are settings of a cluster.");
        }
        operation
    }

    /// Translates the braces of a command, and puts its launchers before it.
    fn command(&self, operation: &mut Operation) -> String {
        let text = self.action.command.as_deref().unwrap_or_default();
        let mut command = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let (before, braces) = rest.split_at(start);
            command.push_str(before);
            let end = braces.find('}').map_or(braces.len(), |end| end + 1);
            match self.braces(&braces[..end]) {
                Some(printed) => command.push_str(&printed),
                None => command.push_str(&draft::template_literal(&braces[..end])),
            }
            rest = &braces[end..];
        }
        command.push_str(rest);
        if command.contains("ACTION_") {
            operation.note("It reads variables ACTION_…; here they are called SWEEPFS_…");
        }
        let mut prefix = String::new();
        for launcher in self.action.launchers.iter().flatten() {
            prefix.push_str(match launcher.as_str() {
                "openmp" => "OMP_NUM_THREADS={{ threads }} ",
                "rayon" => "RAYON_NUM_THREADS={{ threads }} ",
                "mpi" => "mpirun -n {{ processes }} ",
                other => {
                    operation.note(format!("The launcher `{other}` has no counterpart."));
                    ""
                }
            });
        }
        prefix + &command
    }

    fn braces(&self, braces: &str) -> Option<String> {
        Some(match braces {
            "{directory}" => "{{ job.id }}".to_owned(),
            "{directories}" => "{{ jobs | map(attribute=\"id\") | join(\" \") }}".to_owned(),
            "{workspace_path}" => "workspace".to_owned(),
            "{}" => format!("{{{{ {} }}}}", self.space?),
            _ => {
                let pointer = braces.strip_prefix('{')?.strip_suffix('}')?;
                let keys = keys(pointer)?;
                let keys = keys.iter().map(|key| format!("[{}]", quoted(key)));
                format!("{{{{ {}{} }}}}", self.space?, keys.collect::<String>())
            }
        })
    }

    /// Returns a key as filters write it.
    fn field(&self, pointer: &str) -> Option<String> {
        let keys = keys(pointer)?;
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        field(self.space?, &keys)
    }

    /// Any of these must hold.
    fn include(&self, include: &[Include]) -> Option<String> {
        let all = |comparisons: &[Comparison]| {
            let parts = comparisons
                .iter()
                .map(|comparison| self.comparison(comparison));
            Some(format!(
                "({})",
                parts.collect::<Option<Vec<_>>>()?.join(" and ")
            ))
        };
        let parts = include.iter().map(|include| match include {
            Include::Condition(comparison) => self.comparison(comparison),
            Include::All(comparisons) => all(comparisons),
        });
        draft::filter(&parts.collect::<Option<Vec<_>>>()?.join(" or "))
    }

    fn comparison(&self, (pointer, operator, value): &Comparison) -> Option<String> {
        let symbol = match operator.as_str() {
            "==" => "=",
            "<" | "<=" | "!=" | ">=" | ">" => operator,
            _ => return None,
        };
        let value = serde_json::to_string(value).ok()?;
        Some(format!("{}{symbol}{value}", self.field(pointer)?))
    }

    /// Directories that one command works on are an aggregate; others are only submitted together.
    fn add_group(&self, operation: &mut Operation) {
        let group = &self.action.group;
        let sort = group
            .sort_by
            .iter()
            .flatten()
            .map(|pointer| self.field(pointer));
        let Some(sort) = sort.collect::<Option<Vec<_>>>() else {
            operation.note("Its group.sort_by has no counterpart.");
            return;
        };
        if !self.action.is_of_several() {
            if let Some(size) = group.maximum_size {
                operation.comment(format!(
                    "row submits {size} of it together, as `sweepfs submit --bundle {size}` does."
                ));
            }
            return;
        }
        let is_split = group.split_by_sort_key.unwrap_or(false);
        operation.aggregate = Some(Aggregate {
            by: if is_split { sort.clone() } else { Vec::new() },
            reverse: group.reverse_sort.unwrap_or(false) && !sort.is_empty(),
            sort,
            size: group.maximum_size,
            filter: None,
        });
        if group.submit_whole == Some(true) {
            operation.note(
                "Its submit_whole has no counterpart; an aggregate is always executed as a whole.",
            );
        }
    }

    fn add_resources(&self, operation: &mut Operation) {
        let resources = &self.action.resources;
        let of_several = self.action.is_of_several();
        let each = |number: u64| match (of_several, number) {
            (false, number) => number.to_string(),
            (true, 1) => "{{ jobs | length }}".to_owned(),
            (true, number) => format!("{{{{ {number} * (jobs | length) }}}}"),
        };
        let processes = match resources.processes {
            Some(Amount::PerSubmission(number)) => number.to_string(),
            Some(Amount::PerDirectory(number)) => each(number),
            None => "1".to_owned(),
        };
        // Of a number that may depend on the jobs.
        let times = |factor: u64, text: &str| match text.parse::<u64>() {
            Ok(number) => (factor * number).to_string(),
            Err(_) => text.replace("{{ ", &format!("{{{{ {factor} * ")),
        };
        let mut add = |key, text: String| operation.resources.push((key, text));
        let threads = resources.threads_per_process.unwrap_or(1);
        let gpus = times(resources.gpus_per_process.unwrap_or(0), &processes);
        let memory = match (resources.memory_per_cpu_mb, resources.memory_per_gpu_mb) {
            (Some(mb), _) => Some(times(mb * threads, &processes)),
            (None, Some(mb)) => Some(times(mb, &gpus)),
            (None, None) => None,
        };
        if processes != "1" {
            add("processes", processes);
        }
        if threads != 1 {
            add("threads", threads.to_string());
        }
        if resources.gpus_per_process.is_some_and(|gpus| gpus > 0) {
            add("gpus", gpus);
        }
        if let Some(memory) = memory {
            add("memory", memory + "M");
        }
        let walltime = match &resources.walltime {
            None => Some(each(WALLTIME_S) + "s"),
            Some(Amount::PerDirectory(text)) if of_several => time_s(text).map(|s| each(s) + "s"),
            Some(Amount::PerSubmission(text) | Amount::PerDirectory(text)) => {
                time_s(text).map(clock)
            }
        };
        match walltime {
            Some(walltime) => add("walltime", walltime),
            None => operation.note("Its walltime is not understood."),
        }
    }
}

/// Reads a JSON pointer.
fn keys(pointer: &str) -> Option<Vec<String>> {
    let parts = pointer.strip_prefix('/')?.split('/');
    Some(
        parts
            .map(|part| part.replace("~1", "/").replace("~0", "~"))
            .collect(),
    )
}

/// Reads `HH:MM:SS`, perhaps after a number of days.
fn time_s(text: &str) -> Option<u64> {
    let (days, clock) = match text.rsplit_once(' ') {
        None => (0, text),
        Some((days, clock)) => {
            let number = days.split_whitespace().next()?.trim_end_matches(['d', ',']);
            (number.parse().ok()?, clock)
        }
    };
    let parts = clock
        .split(':')
        .map(|part| part.parse::<u64>().ok())
        .collect::<Option<Vec<_>>>()?;
    match parts[..] {
        [hours, minutes, seconds] => Some(days * 86400 + hours * 3600 + minutes * 60 + seconds),
        _ => None,
    }
}

fn clock(time_s: u64) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        time_s / 3600,
        time_s / 60 % 60,
        time_s % 60
    )
}
