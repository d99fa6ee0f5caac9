//! What starts the processes of an execution that has several.

use crate::config::{ClusterConfig, SchedulerKind};
use crate::template::{Scope, Template, TemplateError};
use crate::workflow::resources::Resources;

/// Whatever MPI is installed starts its processes by this.
const USUAL: &str = "mpirun -n {{ processes }}";

const SLURM: &str = "srun --ntasks={{ processes }} --cpus-per-task={{ threads }}";

const FLUX: &str = "flux run -n {{ processes }} -c {{ threads }}";

/// What stands for `launcher` in commands.
#[derive(Clone, Debug)]
pub struct Launcher(Template);

impl Launcher {
    /// Returns that of a cluster: as its description says, or as its scheduler has it.
    ///
    /// # Errors
    ///
    /// Fails if the syntax of the description's template is wrong.
    pub fn of(cluster: &ClusterConfig) -> Result<Self, TemplateError> {
        let usual = match cluster.scheduler {
            Some(SchedulerKind::Slurm) => SLURM,
            Some(SchedulerKind::Flux) => FLUX,
            _ => USUAL,
        };
        Template::parse(cluster.launcher.as_deref().unwrap_or(usual)).map(Self)
    }

    /// Returns what starts the processes of an execution; nothing if there is only one.
    pub(in crate::workflow) fn text(&self, resources: &Resources) -> Result<String, TemplateError> {
        if resources.processes == 1 {
            return Ok(String::new());
        }
        let scope = Scope::new()
            .with("processes", resources.processes)
            .with("threads", resources.threads)
            .with("cores", resources.cores())
            .with("gpus", resources.gpus);
        self.0.render_command(&scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_several_processes_are_launched() {
        let text = |scheduler, launcher: Option<&str>, processes| {
            let cluster = ClusterConfig {
                scheduler,
                launcher: launcher.map(str::to_owned),
                ..ClusterConfig::default()
            };
            let resources = Resources {
                processes,
                threads: 2,
                ..Resources::default()
            };
            let launcher = Launcher::of(&cluster).expect("a template");
            launcher.text(&resources).expect("a text")
        };
        let slurm = Some(SchedulerKind::Slurm);
        assert_eq!(text(slurm, None, 1), "");
        assert_eq!(text(slurm, None, 4), "srun --ntasks=4 --cpus-per-task=2");
        assert_eq!(text(None, None, 4), "mpirun -n 4");
        let own = Some("ibrun -n {{ processes }} -d {{ threads }}");
        assert_eq!(text(slurm, own, 3), "ibrun -n 3 -d 2");
    }
}
