//! Descriptions of clusters.

use super::ConfigError;
use super::quantity::{Wrong, memory_bytes, walltime_s};
use super::source::{
    Fault, Item, Key, Read, Source, check_name, choice, count, flag, in_order, string, strings,
    table, unknown, wrong_type,
};
use crate::fsx;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// What is known of a cluster. What is empty is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterConfig {
    /// Its name.
    pub name: String,
    /// What it is spoken to with.
    pub scheduler: Option<SchedulerKind>,
    /// Patterns, one of which the whole name of each of its hosts matches.
    pub host: Vec<String>,
    /// Variables of the environment that are so on its hosts.
    pub environment: BTreeMap<String, String>,
    /// Who pays, unless the user says otherwise.
    pub account: Option<String>,
    /// Where batch jobs run, unless the user says otherwise.
    pub partition: Option<String>,
    /// More options of the scheduler, as they stand in its scripts.
    pub options: Vec<String>,
    /// Lines for the shell before all else.
    pub setup: Option<String>,
    /// A template of what starts the processes of an execution that has several.
    pub launcher: Option<String>,
    /// What Grid Engine calls several slots on one machine.
    pub parallel_environment: Option<String>,
    /// Cores of the machine that the queue `local` may use.
    pub cores: Option<u32>,
    /// Memory of the machine that the queue `local` may use.
    pub memory_bytes: Option<u64>,
    /// Its partitions, the preferred one first.
    pub partitions: Vec<PartitionConfig>,
    /// How the scheduler `custom` is spoken to.
    pub custom: Option<CustomConfig>,
}

/// Which batch system a cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulerKind {
    /// Slurm.
    Slurm,
    /// Grid Engine.
    Sge,
    /// OpenPBS and PBS Pro.
    Pbs,
    /// Torque, which speaks a dialect of PBS.
    Torque,
    /// LSF.
    Lsf,
    /// Flux.
    Flux,
    /// Our own queue on this machine.
    Local,
    /// One that is described by commands.
    Custom,
}

impl SchedulerKind {
    /// All, with their names.
    pub const ALL: [(&'static str, Self); 8] = [
        ("slurm", Self::Slurm),
        ("sge", Self::Sge),
        ("pbs", Self::Pbs),
        ("torque", Self::Torque),
        ("lsf", Self::Lsf),
        ("flux", Self::Flux),
        ("local", Self::Local),
        ("custom", Self::Custom),
    ];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, kind)| *kind == self);
        found.map_or("", |(name, _)| name)
    }
}

/// What is known of a partition, or queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartitionConfig {
    /// Its name.
    pub name: String,
    /// Cores of each node.
    pub cores_per_node: Option<u32>,
    /// GPUs of each node; 0 is none.
    pub gpus_per_node: Option<u32>,
    /// Memory of each node.
    pub memory_per_node_bytes: Option<u64>,
    /// The cores that a batch job may use at most.
    pub cores_max: Option<u32>,
    /// The longest time.
    pub walltime_max_s: Option<u64>,
    /// Whether nodes are given as a whole, so that all their cores are paid.
    pub whole_nodes: bool,
    /// Whether it is only taken if the user names it.
    pub only_if_named: bool,
}

/// How a scheduler that we do not know is spoken to: templates of commands, and patterns of what
/// they print.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomConfig {
    /// Submits `{{ script }}`.
    pub submit: String,
    /// A pattern of what that prints when it was taken.
    pub id: String,
    /// Lists batch jobs.
    pub list: String,
    /// Finds them in what that prints: the groups `id`, `name`, `state`, and perhaps `element` and
    /// `reason`.
    pub line: String,
    /// The words for each state: `queued`, `held`, `running`, `completed`, `failed`, `timeout`,
    /// `out_of_memory`, `cancelled`, `node_failed`.
    pub states: BTreeMap<String, Vec<String>>,
    /// Ends `{{ id }}`.
    pub cancel: String,
    /// Holds `{{ id }}`, if it can be done.
    pub hold: Option<String>,
    /// Releases `{{ id }}`, if it can be done.
    pub release: Option<String>,
    /// What an array has at most; 1 is that there are none.
    pub elements_max: u32,
    /// From where on elements are counted in lists.
    pub first_element: u32,
    /// The template of scripts.
    pub template: Option<String>,
}

const CLUSTER_KEYS: [&str; 13] = [
    "scheduler",
    "host",
    "environment",
    "account",
    "partition",
    "options",
    "setup",
    "launcher",
    "parallel_environment",
    "cores",
    "memory",
    "partitions",
    "custom",
];

const PARTITION_KEYS: [&str; 8] = [
    "name",
    "cores_per_node",
    "gpus_per_node",
    "memory_per_node",
    "cores_max",
    "walltime_max",
    "whole_nodes",
    "only_if_named",
];

const CUSTOM_KEYS: [&str; 11] = [
    "submit",
    "id",
    "list",
    "line",
    "states",
    "cancel",
    "hold",
    "release",
    "elements_max",
    "first_element",
    "template",
];

/// The words for states in descriptions of schedulers.
pub const CUSTOM_STATES: [&str; 9] = [
    "queued",
    "held",
    "running",
    "completed",
    "failed",
    "timeout",
    "out_of_memory",
    "cancelled",
    "node_failed",
];

/// The clusters that are described in this program.
const BUILT_IN: &str = include_str!("clusters.toml");

impl ClusterConfig {
    /// Returns the descriptions in this program, by their names.
    ///
    /// # Errors
    ///
    /// Never fails, which a test checks.
    pub fn built_in() -> Result<BTreeMap<String, Self>, ConfigError> {
        Self::parse_all(BUILT_IN, Path::new("the built-in descriptions"))
    }

    /// Reads a file of descriptions, by their names; without one, there are none.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or has a mistake.
    pub fn read_all(path: &Path) -> Result<BTreeMap<String, Self>, ConfigError> {
        let bytes = match fsx::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            bytes => bytes?,
        };
        let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotText(path.to_owned()))?;
        Self::parse_all(&text, path)
    }

    /// Reads the text of a file of descriptions; the path is for messages.
    fn parse_all(text: &str, path: &Path) -> Result<BTreeMap<String, Self>, ConfigError> {
        let source = Source::new(text);
        let read = || {
            let document = source.document()?;
            let mut all = BTreeMap::new();
            for (section, item) in in_order(table("", &document)?) {
                match section.get_ref().as_ref() {
                    "cluster" => all = source.entries(section, item, Source::cluster)?,
                    name => {
                        return Err(unknown(
                            section,
                            "section",
                            name,
                            &["cluster"],
                            &["cluster"],
                        ));
                    }
                }
            }
            Ok(all)
        };
        read().map_err(|fault| source.error(fault, path))
    }

    /// Takes what it says nothing about from another description of the same cluster.
    #[must_use]
    pub fn over(self, base: &Self) -> Self {
        fn or<T: Clone>(own: Vec<T>, base: &[T]) -> Vec<T> {
            if own.is_empty() { base.to_vec() } else { own }
        }
        let environment = match self.environment.is_empty() {
            true => base.environment.clone(),
            false => self.environment,
        };
        Self {
            name: self.name,
            scheduler: self.scheduler.or(base.scheduler),
            host: or(self.host, &base.host),
            environment,
            account: self.account.or_else(|| base.account.clone()),
            partition: self.partition.or_else(|| base.partition.clone()),
            options: or(self.options, &base.options),
            setup: self.setup.or_else(|| base.setup.clone()),
            launcher: self.launcher.or_else(|| base.launcher.clone()),
            parallel_environment: self
                .parallel_environment
                .or_else(|| base.parallel_environment.clone()),
            cores: self.cores.or(base.cores),
            memory_bytes: self.memory_bytes.or(base.memory_bytes),
            partitions: or(self.partitions, &base.partitions),
            custom: self.custom.or_else(|| base.custom.clone()),
        }
    }

    /// Tells whether one of its patterns matches the whole name of a host.
    pub fn has_host(&self, name: &str) -> bool {
        let matches = |pattern: &String| whole(pattern).is_ok_and(|pattern| pattern.is_match(name));
        self.host.iter().any(matches)
    }
}

/// Compiles a pattern of whole texts.
fn whole(pattern: &str) -> Result<regex::Regex, regex::Error> {
    regex::Regex::new(&format!("^(?:{pattern})$"))
}

impl<'a> Source<'a> {
    /// Reads the description of a cluster.
    pub(super) fn cluster(&self, name: &Key<'a>, item: &Item<'a>) -> Read<ClusterConfig> {
        let section = format!("cluster.{}", name.get_ref());
        let mut cluster = ClusterConfig {
            name: name.get_ref().to_string(),
            ..ClusterConfig::default()
        };
        for (key, item) in in_order(table(&section, item)?) {
            let name = key.get_ref().as_ref();
            let text = || string(name, item).map(|text| Some(text.to_owned()));
            match name {
                "scheduler" => {
                    let kind = choice("scheduler", item, &SchedulerKind::ALL)?;
                    cluster.scheduler = Some(kind);
                }
                "host" => cluster.host = patterns(name, item)?,
                "environment" => cluster.environment = variables(item)?,
                "account" => cluster.account = text()?,
                "partition" => cluster.partition = text()?,
                "options" => cluster.options = lines(name, item)?,
                "setup" => cluster.setup = text()?,
                "launcher" => cluster.launcher = text()?,
                "parallel_environment" => cluster.parallel_environment = text()?,
                "cores" => cluster.cores = Some(at_least_1(name, item)?),
                "memory" => cluster.memory_bytes = Some(quantity(name, item, memory_bytes)?),
                "partitions" => cluster.partitions = self.partitions(item)?,
                "custom" => cluster.custom = Some(custom(item)?),
                other => return Err(unknown(key, "key", other, &CLUSTER_KEYS, &CLUSTER_KEYS)),
            }
        }
        if cluster.scheduler == Some(SchedulerKind::Custom) && cluster.custom.is_none() {
            let hint = format!("it begins with a line `[{section}.custom]`");
            let message = "the scheduler `custom` needs a description";
            return Err(Fault::new(item.span(), message).with_hint(hint));
        }
        Ok(cluster)
    }

    fn partitions(&self, item: &Item<'a>) -> Read<Vec<PartitionConfig>> {
        let wrong = || wrong_type("partitions", "be a list of tables", item);
        let items = item.get_ref().as_array().ok_or_else(wrong)?;
        let mut partitions: Vec<PartitionConfig> = Vec::new();
        for item in items {
            let partition = partition(item)?;
            if partitions.iter().any(|other| other.name == partition.name) {
                let message = format!("there are two partitions `{}`", partition.name);
                return Err(Fault::new(item.span(), message));
            }
            partitions.push(partition);
        }
        Ok(partitions)
    }
}

fn partition(item: &Item<'_>) -> Read<PartitionConfig> {
    let mut partition = PartitionConfig::default();
    for (key, item) in in_order(table("[cluster.NAME.partitions]", item)?) {
        let name = key.get_ref().as_ref();
        match name {
            "name" => {
                partition.name = string(name, item)?.to_owned();
                check_name("partition", &partition.name, item.span())?;
            }
            "cores_per_node" => partition.cores_per_node = Some(at_least_1(name, item)?),
            "gpus_per_node" => partition.gpus_per_node = Some(count(name, item)?),
            "memory_per_node" => {
                partition.memory_per_node_bytes = Some(quantity(name, item, memory_bytes)?);
            }
            "cores_max" => partition.cores_max = Some(at_least_1(name, item)?),
            "walltime_max" => partition.walltime_max_s = Some(quantity(name, item, walltime_s)?),
            "whole_nodes" => partition.whole_nodes = flag(name, item)?,
            "only_if_named" => partition.only_if_named = flag(name, item)?,
            other => return Err(unknown(key, "key", other, &PARTITION_KEYS, &PARTITION_KEYS)),
        }
    }
    if partition.name.is_empty() {
        return Err(Fault::new(item.span(), "the partition has no `name`"));
    }
    if partition.whole_nodes && partition.cores_per_node.is_none() {
        let message = "whole nodes are paid by their cores: `cores_per_node` is missing";
        return Err(Fault::new(item.span(), message));
    }
    Ok(partition)
}

fn custom(item: &Item<'_>) -> Read<CustomConfig> {
    let mut custom = CustomConfig {
        elements_max: 1,
        ..CustomConfig::default()
    };
    for (key, item) in in_order(table("cluster.NAME.custom", item)?) {
        let name = key.get_ref().as_ref();
        let text = || string(name, item).map(str::to_owned);
        match name {
            "submit" => custom.submit = text()?,
            "id" => custom.id = pattern(name, item)?,
            "list" => custom.list = text()?,
            "line" => custom.line = pattern(name, item)?,
            "states" => custom.states = states(item)?,
            "cancel" => custom.cancel = text()?,
            "hold" => custom.hold = Some(text()?),
            "release" => custom.release = Some(text()?),
            "elements_max" => custom.elements_max = at_least_1(name, item)?,
            "first_element" => custom.first_element = count(name, item)?,
            "template" => custom.template = Some(text()?),
            other => return Err(unknown(key, "key", other, &CUSTOM_KEYS, &CUSTOM_KEYS)),
        }
    }
    let needed = [
        ("submit", &custom.submit),
        ("id", &custom.id),
        ("list", &custom.list),
        ("line", &custom.line),
        ("cancel", &custom.cancel),
    ];
    let missing = needed.iter().find(|(_, text)| text.trim().is_empty());
    if let Some((key, _)) = missing {
        let message = format!("the description of the scheduler has no `{key}`");
        return Err(Fault::new(item.span(), message));
    }
    Ok(custom)
}

fn states(item: &Item<'_>) -> Read<BTreeMap<String, Vec<String>>> {
    let mut states = BTreeMap::new();
    for (key, item) in in_order(table("cluster.NAME.custom.states", item)?) {
        let name = key.get_ref().as_ref();
        if !CUSTOM_STATES.contains(&name) {
            return Err(unknown(key, "state", name, &CUSTOM_STATES, &CUSTOM_STATES));
        }
        let words = strings(name, item)?.into_iter();
        states.insert(
            name.to_owned(),
            words.map(|(word, _)| word.to_owned()).collect(),
        );
    }
    Ok(states)
}

fn variables(item: &Item<'_>) -> Read<BTreeMap<String, String>> {
    let entries = in_order(table("cluster.NAME.environment", item)?);
    let entry = |(key, item): (&Key<'_>, &Item<'_>)| {
        let value = string(key.get_ref(), item)?;
        Ok((key.get_ref().to_string(), value.to_owned()))
    };
    entries.into_iter().map(entry).collect()
}

/// Reads options, each of which is a line of its own in scripts.
fn lines(name: &str, item: &Item<'_>) -> Read<Vec<String>> {
    let line = |(text, item): (&str, &Item<'_>)| match text.contains(['\n', '\r', '\0']) {
        true => Err(Fault::new(
            item.span(),
            format!("`{name}` must hold single lines"),
        )),
        false => Ok(text.to_owned()),
    };
    strings(name, item)?.into_iter().map(line).collect()
}

fn patterns(name: &str, item: &Item<'_>) -> Read<Vec<String>> {
    let texts = strings(name, item)?.into_iter();
    texts
        .map(|(text, item)| checked(name, text, item))
        .collect()
}

fn pattern(name: &str, item: &Item<'_>) -> Read<String> {
    checked(name, string(name, item)?, item)
}

fn checked(name: &str, pattern: &str, item: &Item<'_>) -> Read<String> {
    match whole(pattern) {
        Ok(_) => Ok(pattern.to_owned()),
        Err(error) => {
            let told = error.to_string();
            let told = told.lines().last().unwrap_or_default().trim();
            let message = format!("`{name}` is no regular expression: {told}");
            Err(Fault::new(item.span(), message))
        }
    }
}

fn at_least_1(name: &str, item: &Item<'_>) -> Read<u32> {
    match count(name, item)? {
        0 => Err(Fault::new(
            item.span(),
            format!("`{name}` must be at least 1"),
        )),
        number => Ok(number),
    }
}

fn quantity(name: &str, item: &Item<'_>, parse: impl Fn(&str) -> Result<u64, Wrong>) -> Read<u64> {
    let text = string(name, item)?;
    parse(text).map_err(|Wrong(what, hint)| {
        let message = format!("`{name}`: `{text}` {what}");
        Fault::new(item.span(), message).with_hint(hint.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_descriptions_are_sound() {
        let all = ClusterConfig::built_in().expect("sound");
        assert!(all.len() >= 11, "{all:?}");
        for (name, cluster) in &all {
            assert!(
                cluster.scheduler.is_some() && !cluster.host.is_empty(),
                "{name}"
            );
            // Something is taken without being named.
            let partitions = &cluster.partitions;
            let is_open = partitions.iter().any(|partition| !partition.only_if_named);
            assert!(partitions.is_empty() || is_open, "{name}");
        }
        let hosts = [
            ("greatlakes", "gl-login1.arc-ts.umich.edu"),
            ("delta", "dt-login02.delta.internal.ncsa.edu"),
            ("andes", "andes-login3.olcf.ornl.gov"),
        ];
        for (name, host) in hosts {
            let found: Vec<_> = all
                .values()
                .filter(|cluster| cluster.has_host(host))
                .collect();
            assert_eq!(found.len(), 1, "{host}");
            assert_eq!(found[0].name, name);
        }
    }

    #[test]
    fn the_weightier_description_counts() {
        let parse = |text: &str| {
            let all = ClusterConfig::parse_all(text, Path::new("x")).expect("sound");
            all.into_values().next().expect("a cluster")
        };
        let base = parse("[cluster.a]\nscheduler = 'slurm'\naccount = 'old'\nhost = ['a', 'b.*']");
        let own = parse("[cluster.a]\naccount = 'new'\nmemory = '2G'");
        let both = own.over(&base);
        assert_eq!(both.account.as_deref(), Some("new"));
        assert_eq!(
            (both.scheduler, both.memory_bytes),
            (Some(SchedulerKind::Slurm), Some(2 << 30))
        );
        // A pattern is that of a whole name.
        assert!(both.has_host("a") && both.has_host("bc") && !both.has_host("ab"));
    }
}
