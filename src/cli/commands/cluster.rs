//! `sweepfs cluster`

use crate::cli::args::{ClusterArgs, ClusterCommand};
use crate::cli::clusters::Choice;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::config::{ClusterConfig, CustomConfig, PartitionConfig, SchedulerKind};
use crate::report::harmless;
use crate::workflow::Cluster;

pub(in crate::cli) fn run(context: &Context<'_>, args: &ClusterArgs) -> Result<Exit, CliError> {
    let project = Loaded::new(context)?;
    let clusters = project.clusters(context)?;
    match &args.command {
        ClusterCommand::List => {
            let chosen = context.choose(&clusters, None).ok();
            let chosen = chosen.map_or("", |choice| choice.cluster.name());
            for cluster in &clusters.0 {
                context.term.line(harmless(line(cluster, chosen)))?;
            }
        }
        ClusterCommand::Show(args) => {
            let choice = context.choose(&clusters, args.name.as_deref())?;
            for line in described(&choice) {
                context.term.line(harmless(line))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// Name, scheduler, and where it is described; a star marks the one that is chosen.
fn line(cluster: &Cluster, chosen: &str) -> String {
    let mark = if cluster.name() == chosen { "*" } else { " " };
    let (name, kind) = (cluster.name(), kind(&cluster.config));
    let line = format!("{mark} {name:<12} {kind:<8} {}", cluster.origins.join(", "));
    line.trim_end().to_owned()
}

fn kind(config: &ClusterConfig) -> &'static str {
    config.scheduler.map_or("", SchedulerKind::name)
}

/// Writes a description so that it can be put into a file again.
fn described(choice: &Choice<'_>) -> Vec<String> {
    let Choice { cluster, why } = choice;
    let config = &cluster.config;
    let origins = match cluster.origins.is_empty() {
        true => "nowhere; nothing but its scheduler is known".to_owned(),
        false => cluster.origins.join(", then "),
    };
    let mut lines = vec![
        format!("# chosen, since {why}"),
        format!("# described: {origins}"),
    ];
    if cluster.template.is_some() {
        lines.push("# its scripts: the project has its own template".to_owned());
    }
    let name = key(&config.name);
    lines.push(format!("[cluster.{name}]"));
    let mut put = Lines(&mut lines);
    put.text("scheduler", Some(kind(config)));
    put.texts("host", &config.host);
    put.text("account", config.account.as_deref());
    put.text("partition", config.partition.as_deref());
    put.texts("options", &config.options);
    put.text("setup", config.setup.as_deref());
    put.text("launcher", config.launcher.as_deref());
    put.text(
        "parallel_environment",
        config.parallel_environment.as_deref(),
    );
    put.number("cores", config.cores);
    put.text("memory", config.memory_bytes.map(memory).as_deref());
    if !config.environment.is_empty() {
        begin(&mut lines, format!("[cluster.{name}.environment]"));
        let mut put = Lines(&mut lines);
        for (variable, value) in &config.environment {
            put.text(&key(variable), Some(value));
        }
    }
    for partition in &config.partitions {
        begin(&mut lines, format!("[[cluster.{name}.partitions]]"));
        put_partition(&mut Lines(&mut lines), partition);
    }
    if let Some(custom) = &config.custom {
        put_custom(&mut lines, &name, custom);
    }
    lines
}

/// Begins another table.
fn begin(lines: &mut Vec<String>, header: String) {
    lines.extend([String::new(), header]);
}

fn put_partition(put: &mut Lines<'_>, partition: &PartitionConfig) {
    put.text("name", Some(&partition.name));
    put.number("cores_per_node", partition.cores_per_node);
    put.number("gpus_per_node", partition.gpus_per_node);
    let memory = partition.memory_per_node_bytes.map(memory);
    put.text("memory_per_node", memory.as_deref());
    put.number("cores_max", partition.cores_max);
    let walltime = partition.walltime_max_s.map(|time_s| format!("{time_s}s"));
    put.text("walltime_max", walltime.as_deref());
    put.flag("whole_nodes", partition.whole_nodes);
    put.flag("only_if_named", partition.only_if_named);
}

fn put_custom(lines: &mut Vec<String>, name: &str, custom: &CustomConfig) {
    begin(lines, format!("[cluster.{name}.custom]"));
    let mut put = Lines(lines);
    put.text("submit", Some(&custom.submit));
    put.text("id", Some(&custom.id));
    put.text("list", Some(&custom.list));
    put.text("line", Some(&custom.line));
    put.text("cancel", Some(&custom.cancel));
    put.text("hold", custom.hold.as_deref());
    put.text("release", custom.release.as_deref());
    put.number("elements_max", Some(custom.elements_max));
    put.number("first_element", Some(custom.first_element));
    put.text("template", custom.template.as_deref());
    begin(lines, format!("[cluster.{name}.custom.states]"));
    let mut put = Lines(lines);
    for (state, words) in &custom.states {
        put.texts(state, words);
    }
}

/// Lines of TOML.
struct Lines<'a>(&'a mut Vec<String>);

impl Lines<'_> {
    fn text(&mut self, key: &str, text: Option<&str>) {
        self.0
            .extend(text.map(|text| format!("{key} = {}", quoted(text))));
    }

    fn texts(&mut self, key: &str, texts: &[String]) {
        if !texts.is_empty() {
            let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
            self.0.push(format!("{key} = [{}]", texts.join(", ")));
        }
    }

    fn number(&mut self, key: &str, number: Option<u32>) {
        self.0
            .extend(number.map(|number| format!("{key} = {number}")));
    }

    fn flag(&mut self, key: &str, flag: bool) {
        if flag {
            self.0.push(format!("{key} = true"));
        }
    }
}

/// Writes a text as TOML does: as it is if that can be, or else as JSON does, which TOML reads, too.
pub(super) fn quoted(text: &str) -> String {
    let is_literal =
        text.contains(['\\', '"']) && !text.contains('\'') && !text.contains(char::is_control);
    match is_literal {
        true => format!("'{text}'"),
        false => serde_json::Value::from(text).to_string(),
    }
}

/// Writes a name of a key.
pub(super) fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// Writes a size with the largest unit of which it has whole ones.
fn memory(bytes: u64) -> String {
    let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    let whole = units
        .into_iter()
        .find(|(_, bits)| bytes.is_multiple_of(1 << bits));
    let (unit, bits) = whole.unwrap_or(("K", 10));
    format!("{}{unit}", bytes.div_ceil(1 << bits))
}
