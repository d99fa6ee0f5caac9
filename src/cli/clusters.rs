//! The clusters that are known, and which one is meant.

use super::context::Context;
use super::error::CliError;
use crate::config::{ClusterConfig, ProjectConfig, SchedulerKind};
use crate::exec;
use crate::fsx;
use crate::report::with_causes;
use crate::scheduler::local::{Limits, Queue};
use crate::scheduler::{
    Custom, CustomCommands, Dialect, Flux, Local, Lsf, Pbs, Scheduler, Sge, Slurm,
};
use crate::workflow::{Cluster, Clusters};
use crate::workspace::Workspace;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names the cluster, unless an option does.
const CLUSTER_VARIABLE: &str = "SWEEPFS_CLUSTER";

/// Descriptions of the user's, in the directory of settings.
const USER_FILE: &str = "clusters.toml";

/// Where a project's own scripts are, below its directory.
const TEMPLATES: &str = "templates";

/// Asking for a name takes no longer.
const NAMING_MAX: Duration = Duration::from_secs(5);

/// A cluster, and why it was chosen.
#[derive(Debug)]
pub(super) struct Choice<'c> {
    pub(super) cluster: &'c Cluster,
    /// Continues "since …".
    pub(super) why: String,
}

impl Context<'_> {
    /// Returns the clusters that a project can be sent to: those that this program, the user and the
    /// project describe, each over the ones before, and for each scheduler one of its name.
    ///
    /// # Errors
    ///
    /// Fails if a description cannot be read, or does not say the scheduler.
    pub(super) fn clusters(
        &self,
        workspace: &Workspace,
        config: &ProjectConfig,
    ) -> Result<Clusters, CliError> {
        let plain = SchedulerKind::ALL
            .into_iter()
            .filter(|(_, kind)| *kind != SchedulerKind::Custom);
        let mut all: BTreeMap<String, (ClusterConfig, Vec<String>)> = plain
            .map(|(name, kind)| {
                let config = ClusterConfig {
                    name: name.to_owned(),
                    scheduler: Some(kind),
                    ..ClusterConfig::default()
                };
                (name.to_owned(), (config, Vec::new()))
            })
            .collect();
        let mut add = |described: BTreeMap<String, ClusterConfig>, origin: &str| {
            for (name, own) in described {
                let (config, origins) = all.entry(name).or_default();
                *config = own.over(config);
                origins.push(origin.to_owned());
            }
        };
        add(ClusterConfig::built_in()?, "built in");
        if let Some(path) = self.config_dir().map(|dir| dir.join(USER_FILE)) {
            add(ClusterConfig::read_all(&path)?, &path.to_string_lossy());
        }
        add(config.clusters.clone(), "sweepfs.toml");
        let templates = workspace.project_root().join(TEMPLATES);
        let templates = Some(templates.as_path()).filter(|dir| dir.is_dir());
        let known = all
            .into_values()
            .map(|(config, origins)| cluster(self, templates, config, origins));
        Ok(Clusters(known.collect::<Result<_, _>>()?))
    }

    /// Chooses the cluster that the user names, or else the one that is here.
    ///
    /// # Errors
    ///
    /// Fails if none has that name.
    pub(super) fn choose<'c>(
        &self,
        clusters: &'c Clusters,
        name: Option<&str>,
    ) -> Result<Choice<'c>, CliError> {
        let set = std::env::var(CLUSTER_VARIABLE)
            .ok()
            .filter(|name| !name.is_empty());
        let named = match (name, &set) {
            (Some(name), _) => Some((name, "you name it".to_owned())),
            (None, Some(name)) => Some((name.as_str(), format!("{CLUSTER_VARIABLE} names it"))),
            (None, None) => None,
        };
        if let Some((name, why)) = named {
            let cluster = clusters.get(name).ok_or_else(|| unknown(clusters, name))?;
            return Ok(Choice { cluster, why });
        }
        if let Some(choice) = described_here(clusters) {
            return Ok(choice);
        }
        let (kind, why) = scheduler_here();
        let name = kind.name();
        let cluster = clusters.get(name).ok_or_else(|| unknown(clusters, name))?;
        Ok(Choice { cluster, why })
    }
}

fn unknown(clusters: &Clusters, name: &str) -> CliError {
    let error = CliError::usage(format!("no cluster is called `{name}`"));
    let names = clusters.0.iter().map(Cluster::name);
    match crate::filter::nearest(name, names) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None => error.with_hint("`sweepfs cluster list` shows what there is"),
    }
}

/// Makes a described cluster usable.
fn cluster(
    context: &Context<'_>,
    templates: Option<&Path>,
    config: ClusterConfig,
    origins: Vec<String>,
) -> Result<Cluster, CliError> {
    let Some(kind) = config.scheduler else {
        let place = origins.last().map_or("", String::as_str);
        let message = format!(
            "`{place}` does not say which `scheduler` the cluster `{}` has",
            config.name
        );
        let names: Vec<_> = SchedulerKind::ALL
            .map(|(name, _)| format!("`{name}`"))
            .into();
        return Err(CliError::failed(message).with_hint(format!("there are {}", names.join(", "))));
    };
    Ok(Cluster {
        template: match templates {
            Some(dir) => template(dir, &config.name)?,
            None => None,
        },
        scheduler: scheduler(context, kind, &config)?,
        config,
        origins,
    })
}

/// Returns what speaks to a cluster.
fn scheduler(
    context: &Context<'_>,
    kind: SchedulerKind,
    config: &ClusterConfig,
) -> Result<Box<dyn Scheduler>, CliError> {
    Ok(match kind {
        SchedulerKind::Slurm => Box::new(Slurm),
        SchedulerKind::Pbs => Box::new(Pbs(Dialect::OpenPbs)),
        SchedulerKind::Torque => Box::new(Pbs(Dialect::Torque)),
        SchedulerKind::Lsf => Box::new(Lsf),
        SchedulerKind::Flux => Box::new(Flux),
        SchedulerKind::Sge => Box::new(Sge {
            parallel_environment: config.parallel_environment.clone(),
        }),
        SchedulerKind::Custom => {
            let custom = Custom::new(&custom(config)).map_err(|error| {
                let name = &config.name;
                CliError::failed(format!("the scheduler of the cluster `{name}`: {error}"))
            })?;
            Box::new(custom)
        }
        SchedulerKind::Local => {
            let partition = config.partitions.first();
            let limits = Limits {
                cores: config.cores,
                memory_bytes: config.memory_bytes,
                gpus: partition.and_then(|partition| partition.gpus_per_node),
            };
            let queue = Queue::below(&context.state_dir());
            Box::new(Local::new(queue, context.program()?, limits))
        }
    })
}

/// Returns how the scheduler `custom` of a cluster is spoken to.
fn custom(config: &ClusterConfig) -> CustomCommands {
    let custom = config.custom.clone().unwrap_or_default();
    CustomCommands {
        submit: custom.submit,
        id: custom.id,
        list: custom.list,
        line: custom.line,
        states: custom.states,
        cancel: custom.cancel,
        hold: custom.hold,
        release: custom.release,
        elements_max: custom.elements_max,
        first_element: custom.first_element,
        template: custom.template,
    }
}

/// Reads a project's template of scripts: the one for a cluster, or else the one for all.
fn template(dir: &Path, name: &str) -> Result<Option<(PathBuf, String)>, CliError> {
    for file in [format!("{name}.sh"), "script.sh".to_owned()] {
        let path = dir.join(file);
        let bytes = match fsx::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            bytes => bytes.map_err(|error| CliError::failed(with_causes(&error)))?,
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| CliError::failed(format!("`{}` is not UTF-8 text", path.display())))?;
        return Ok(Some((path, text)));
    }
    Ok(None)
}

/// Finds the cluster whose description says that this is one of its hosts. What the project
/// describes is asked first, then what the user does.
fn described_here(clusters: &Clusters) -> Option<Choice<'_>> {
    let described = clusters
        .0
        .iter()
        .filter(|cluster| !cluster.origins.is_empty());
    let mut described: Vec<_> = described.collect();
    described.sort_by_key(|cluster| match cluster.origins.last().map(String::as_str) {
        Some("sweepfs.toml") => 0,
        Some("built in") | None => 2,
        Some(_) => 1,
    });
    let by_environment = |cluster: &&Cluster| {
        let mut variables = cluster.config.environment.iter();
        let (name, value) = variables.next()?;
        let is_so =
            |(name, value): (&String, &String)| std::env::var(name).is_ok_and(|set| set == *value);
        let all_are = is_so((name, value)) && variables.all(is_so);
        all_are.then(|| format!("{name} is {value}"))
    };
    let names = host_names();
    let by_host = |cluster: &&Cluster| {
        let name = names.iter().find(|name| cluster.config.has_host(name))?;
        Some(format!("this host is called {name}"))
    };
    described.into_iter().find_map(|cluster| {
        let why = by_environment(&cluster).or_else(|| by_host(&cluster))?;
        Some(Choice { cluster, why })
    })
}

/// Returns the names of this host: its own, and that with its domain.
fn host_names() -> Vec<String> {
    let own = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let whole = match own.contains('.') {
        true => None,
        false => exec::run(Path::new("hostname"), &[OsStr::new("--fqdn")], NAMING_MAX).ok(),
    };
    let whole = whole
        .filter(|said| said.success)
        .map(|said| said.stdout.trim().to_owned());
    let whole = whole.filter(|name| !name.is_empty() && *name != own);
    [own].into_iter().chain(whole).collect()
}

/// Finds the scheduler whose commands are here, and says by which.
fn scheduler_here() -> (SchedulerKind, String) {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let found = |kind, command: &str| (kind, format!("there is `{command}`"));
    if is_set("FLUX_URI") && has_command("flux") {
        return (SchedulerKind::Flux, "FLUX_URI is set".to_owned());
    }
    if has_command("sbatch") {
        return found(SchedulerKind::Slurm, "sbatch");
    }
    if has_command("bsub") {
        return found(SchedulerKind::Lsf, "bsub");
    }
    if has_command("qsub") {
        return found(qsub_of(is_set("SGE_ROOT")), "qsub");
    }
    (SchedulerKind::Local, "no scheduler is here".to_owned())
}

/// Tells whose `qsub` it is.
fn qsub_of(has_sge: bool) -> SchedulerKind {
    if has_sge {
        return SchedulerKind::Sge;
    }
    let said = exec::run(Path::new("qsub"), &[OsStr::new("--version")], NAMING_MAX);
    let said = said
        .map(|said| said.stdout + &said.stderr)
        .unwrap_or_default();
    match said.to_ascii_lowercase() {
        said if said.contains("pbs_version") => SchedulerKind::Pbs,
        said if said.contains("version:") => SchedulerKind::Torque,
        _ => SchedulerKind::Sge,
    }
}

/// Tells whether a command can be found.
fn has_command(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| fsx::is_executable(&dir.join(name)))
}
