//! Operations with their templates read.

use super::launcher::Launcher;
use super::scope::scope;
use super::{Planned, ScopeError};
use crate::config::{Hooks, OperationConfig, WorkflowConfig};
use crate::template::{Item, Scope, Template, TemplateError};
use crate::workflow::resources::{ResourceError, ResourceTemplates, Resources};
use crate::workspace::Workspace;

/// A template of an operation that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// That of a command.
    #[error("the operation `{operation}` has an unusable `{key}`: {cause}")]
    Command {
        /// The operation.
        operation: String,
        /// What of it.
        key: &'static str,
        /// Why.
        cause: TemplateError,
    },
    /// That of something it needs.
    #[error(transparent)]
    Resources(#[from] ResourceError),
}

/// An operation that can be executed.
#[derive(Clone, Debug)]
pub struct Prepared {
    config: OperationConfig,
    command: Template,
    resources: ResourceTemplates,
    launcher: Launcher,
    /// The hooks of all operations and those of its own, in the order before an execution.
    pub(super) hooks: Vec<PreparedHooks>,
}

/// Hooks with their templates read.
#[derive(Clone, Debug)]
pub(super) struct PreparedHooks {
    pub(super) on_start: Option<Template>,
    pub(super) on_success: Option<Template>,
    pub(super) on_failure: Option<Template>,
    pub(super) on_exit: Option<Template>,
}

/// What an execution needs and runs.
#[derive(Clone, Debug)]
pub(super) struct Rendered {
    pub(super) command: String,
    pub(super) resources: Resources,
}

/// Why an execution has no command.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenderError {
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error("its command cannot be made: {0}")]
    Command(TemplateError),
    #[error("the cluster's launcher cannot be used: {0}")]
    Launcher(TemplateError),
    #[error(transparent)]
    Resources(#[from] ResourceError),
}

impl Prepared {
    /// Reads the templates of all operations, whose processes a launcher starts.
    ///
    /// # Errors
    ///
    /// Fails for the first whose syntax is wrong.
    pub fn all(config: &WorkflowConfig, launcher: &Launcher) -> Result<Vec<Self>, PrepareError> {
        let operations = config.operations.iter();
        operations
            .map(|operation| Self::new(operation, &config.hooks, launcher))
            .collect()
    }

    fn new(
        config: &OperationConfig,
        common: &Hooks,
        launcher: &Launcher,
    ) -> Result<Self, PrepareError> {
        let read = |key: &'static str, text: &str| {
            Template::parse(text).map_err(|cause| PrepareError::Command {
                operation: config.name.clone(),
                key,
                cause,
            })
        };
        let read_if =
            |key, text: &Option<String>| text.as_ref().map(|text| read(key, text)).transpose();
        let hooks = |hooks: &Hooks| {
            Ok::<_, PrepareError>(PreparedHooks {
                on_start: read_if("on_start", &hooks.on_start)?,
                on_success: read_if("on_success", &hooks.on_success)?,
                on_failure: read_if("on_failure", &hooks.on_failure)?,
                on_exit: read_if("on_exit", &hooks.on_exit)?,
            })
        };
        Ok(Self {
            command: read("command", &config.command)?,
            resources: ResourceTemplates::parse(&config.name, &config.resources)?,
            launcher: launcher.clone(),
            hooks: vec![hooks(common)?, hooks(&config.hooks)?],
            config: config.clone(),
        })
    }

    /// Returns what the operation is.
    pub fn config(&self) -> &OperationConfig {
        &self.config
    }

    /// Returns what an execution uses; as little as can be if that cannot be told, which its start
    /// will say.
    pub fn uses(&self, workspace: &Workspace, planned: &Planned) -> Resources {
        let resources = match self.resources.is_constant() {
            true => self
                .resources
                .render(&Scope::new())
                .map_err(RenderError::from),
            false => scope(workspace, &self.config, planned)
                .map_err(RenderError::from)
                .and_then(|scope| Ok(self.resources.render(&scope)?)),
        };
        resources.unwrap_or_default()
    }

    /// Returns what an execution needs, or why it cannot be told.
    pub fn resources(&self, workspace: &Workspace, planned: &Planned) -> Result<Resources, String> {
        let scope = scope(workspace, &self.config, planned).map_err(RenderError::from);
        let resources = scope.and_then(|scope| Ok(self.resources.render(&scope)?));
        resources.map_err(|error| crate::report::with_causes(&error))
    }

    /// Describes an execution, for hooks too, and says what it needs and runs.
    pub(super) fn render(
        &self,
        workspace: &Workspace,
        planned: &Planned,
    ) -> Result<(Scope, Rendered), RenderError> {
        let scope = scope(workspace, &self.config, planned)?;
        let resources = self.resources.render(&scope)?;
        let launcher = self.launcher.text(&resources);
        let launcher = launcher.map_err(RenderError::Launcher)?;
        let scope = scope
            .with("launcher", Item::Raw(launcher))
            .with("processes", resources.processes)
            .with("threads", resources.threads)
            .with("gpus", resources.gpus);
        let command = self.command.render_command(&scope);
        let command = command.map_err(RenderError::Command)?;
        Ok((scope, Rendered { command, resources }))
    }

    /// Returns the command of an execution, or why there is none.
    pub fn command(&self, workspace: &Workspace, planned: &Planned) -> Result<String, String> {
        match self.render(workspace, planned) {
            Ok((_, rendered)) => Ok(rendered.command),
            Err(error) => Err(crate::report::with_causes(&error)),
        }
    }
}
