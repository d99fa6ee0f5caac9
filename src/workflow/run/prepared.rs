//! Operations with their templates read.

use super::scope::scope;
use super::{Planned, ScopeError};
use crate::config::{Hooks, OperationConfig, WorkflowConfig};
use crate::template::{Scope, Template, TemplateError};
use crate::workspace::Workspace;

/// A template of an operation that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the operation `{operation}` has an unusable `{key}`: {cause}")]
pub struct PrepareError {
    operation: String,
    key: &'static str,
    cause: TemplateError,
}

/// An operation that can be executed.
#[derive(Clone, Debug)]
pub struct Prepared {
    config: OperationConfig,
    command: Template,
    processes: Option<Template>,
    threads: Option<Template>,
    /// Whether the resources depend on the job.
    is_constant: bool,
    /// The hooks of the operation and those of all, in the order in which they are run.
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
    pub(super) processes: u32,
    pub(super) threads: u32,
}

/// Why an execution has no command.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenderError {
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error("its command cannot be made: {0}")]
    Command(TemplateError),
    #[error("its `{key}` cannot be made: {cause}")]
    Resource {
        key: &'static str,
        cause: TemplateError,
    },
    #[error("its `{key}` is `{text}`, which is no number from 1 on")]
    Number { key: &'static str, text: String },
}

impl Prepared {
    /// Reads the templates of all operations.
    ///
    /// # Errors
    ///
    /// Fails for the first whose syntax is wrong.
    pub fn all(config: &WorkflowConfig) -> Result<Vec<Self>, PrepareError> {
        let operations = config.operations.iter();
        operations
            .map(|operation| Self::new(operation, &config.hooks))
            .collect()
    }

    fn new(config: &OperationConfig, common: &Hooks) -> Result<Self, PrepareError> {
        let read = |key: &'static str, text: &str| {
            Template::parse(text).map_err(|cause| PrepareError {
                operation: config.name.clone(),
                key,
                cause,
            })
        };
        let read_if =
            |key, text: &Option<String>| text.as_ref().map(|text| read(key, text)).transpose();
        let hooks = |hooks: &Hooks| {
            Ok(PreparedHooks {
                on_start: read_if("on_start", &hooks.on_start)?,
                on_success: read_if("on_success", &hooks.on_success)?,
                on_failure: read_if("on_failure", &hooks.on_failure)?,
                on_exit: read_if("on_exit", &hooks.on_exit)?,
            })
        };
        let (processes, threads) = (&config.resources.processes, &config.resources.threads);
        let is_template =
            |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains('{'));
        Ok(Self {
            command: read("command", &config.command)?,
            processes: read_if("processes", processes)?,
            threads: read_if("threads", threads)?,
            is_constant: !is_template(processes) && !is_template(threads),
            hooks: vec![hooks(common)?, hooks(&config.hooks)?],
            config: config.clone(),
        })
    }

    /// Returns what the operation is.
    pub fn config(&self) -> &OperationConfig {
        &self.config
    }

    /// Returns how many cores an execution uses; 1 if that cannot be told, which its start will say.
    pub(super) fn cores(&self, workspace: &Workspace, planned: &Planned) -> u32 {
        let numbers = match self.is_constant {
            true => self.numbers(&Scope::new()),
            false => scope(workspace, &self.config, planned)
                .map_err(RenderError::from)
                .and_then(|scope| self.numbers(&scope)),
        };
        numbers.map_or(1, |(processes, threads)| processes.saturating_mul(threads))
    }

    fn numbers(&self, scope: &Scope) -> Result<(u32, u32), RenderError> {
        let number = |key: &'static str, template: &Option<Template>| {
            let Some(template) = template else {
                return Ok(1);
            };
            let text = template.render_text(scope);
            let text = text.map_err(|cause| RenderError::Resource { key, cause })?;
            match text.trim().parse::<f64>() {
                Ok(number) if number >= 1.0 && number <= f64::from(u32::MAX) => {
                    Ok(number.ceil() as u32)
                }
                _ => Err(RenderError::Number { key, text }),
            }
        };
        Ok((
            number("processes", &self.processes)?,
            number("threads", &self.threads)?,
        ))
    }

    /// Describes an execution; hooks are told more.
    pub(super) fn scope(
        &self,
        workspace: &Workspace,
        planned: &Planned,
    ) -> Result<Scope, RenderError> {
        let scope = scope(workspace, &self.config, planned)?;
        let (processes, threads) = self.numbers(&scope)?;
        Ok(scope.with("processes", processes).with("threads", threads))
    }

    pub(super) fn render(&self, scope: &Scope) -> Result<Rendered, RenderError> {
        let (processes, threads) = self.numbers(scope)?;
        let command = self.command.render_command(scope);
        Ok(Rendered {
            command: command.map_err(RenderError::Command)?,
            processes,
            threads,
        })
    }

    /// Returns the command of an execution, or why there is none.
    pub fn command(&self, workspace: &Workspace, planned: &Planned) -> Result<String, String> {
        let scope = self.scope(workspace, planned);
        let rendered = scope.and_then(|scope| self.render(&scope));
        match rendered {
            Ok(rendered) => Ok(rendered.command),
            Err(error) => Err(crate::report::with_causes(&error)),
        }
    }
}
