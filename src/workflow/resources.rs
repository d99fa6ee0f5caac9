//! What an execution needs of a machine, read from the texts of `sweepfs.toml`.

use crate::config::{self, Wrong, memory_bytes, number, walltime_s};
use crate::template::{Scope, Template, TemplateError};

/// What an execution needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Processes, such as ranks of MPI; at least 1.
    pub processes: u32,
    /// Threads of each process; at least 1.
    pub threads: u32,
    /// GPUs of the whole execution.
    pub gpus: u32,
    /// Memory of the whole execution; `None` is what the cluster gives.
    pub memory_bytes: Option<u64>,
    /// Time of the whole execution; `None` is what the cluster gives.
    pub walltime_s: Option<u64>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            processes: 1,
            threads: 1,
            gpus: 0,
            memory_bytes: None,
            walltime_s: None,
        }
    }
}

impl Resources {
    /// Returns the number of processor cores.
    pub fn cores(&self) -> u32 {
        self.processes.saturating_mul(self.threads)
    }

    /// Reads what an operation needs for an execution.
    ///
    /// # Errors
    ///
    /// Fails if a template cannot be rendered, or what it gives is no number, size or time.
    pub fn render(
        operation: &str,
        config: &config::Resources,
        scope: &Scope,
    ) -> Result<Self, ResourceError> {
        ResourceTemplates::parse(operation, config)?.render(scope)
    }
}

/// Why an operation's `resources` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operation `{operation}` has an unusable `{key}`: {reason}")]
pub struct ResourceError {
    /// The operation.
    pub operation: String,
    /// The key below `resources`.
    pub key: &'static str,
    reason: String,
    hint: Option<String>,
}

impl ResourceError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// The templates of an operation's `resources`.
#[derive(Clone, Debug)]
pub struct ResourceTemplates {
    operation: String,
    processes: Option<Template>,
    threads: Option<Template>,
    gpus: Option<Template>,
    memory: Option<Template>,
    walltime: Option<Template>,
    is_constant: bool,
}

impl ResourceTemplates {
    /// Reads the templates.
    ///
    /// # Errors
    ///
    /// Fails if the syntax of one is wrong.
    pub fn parse(operation: &str, config: &config::Resources) -> Result<Self, ResourceError> {
        let parse = |key: &'static str, text: &Option<String>| {
            let template = text.as_deref().map(Template::parse).transpose();
            template.map_err(|error| template_error(operation, key, &error))
        };
        let texts = [
            &config.processes,
            &config.threads,
            &config.gpus,
            &config.memory,
            &config.walltime,
        ];
        Ok(Self {
            operation: operation.to_owned(),
            processes: parse("processes", &config.processes)?,
            threads: parse("threads", &config.threads)?,
            gpus: parse("gpus", &config.gpus)?,
            memory: parse("memory", &config.memory)?,
            walltime: parse("walltime", &config.walltime)?,
            is_constant: !texts.into_iter().flatten().any(|text| text.contains('{')),
        })
    }

    /// Tells whether all executions need the same.
    pub fn is_constant(&self) -> bool {
        self.is_constant
    }

    /// Returns what an execution needs.
    ///
    /// # Errors
    ///
    /// Fails if a template cannot be rendered, or what it gives is no number, size or time.
    pub fn render(&self, scope: &Scope) -> Result<Resources, ResourceError> {
        let usual = Resources::default();
        Ok(Resources {
            processes: self
                .read("processes", &self.processes, scope, |text| count(text, 1))?
                .unwrap_or(usual.processes),
            threads: self
                .read("threads", &self.threads, scope, |text| count(text, 1))?
                .unwrap_or(usual.threads),
            gpus: self
                .read("gpus", &self.gpus, scope, |text| count(text, 0))?
                .unwrap_or(usual.gpus),
            memory_bytes: self.read("memory", &self.memory, scope, memory_bytes)?,
            walltime_s: self.read("walltime", &self.walltime, scope, walltime_s)?,
        })
    }

    fn read<T>(
        &self,
        key: &'static str,
        template: &Option<Template>,
        scope: &Scope,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Result<Option<T>, ResourceError> {
        let Some(template) = template else {
            return Ok(None);
        };
        let text = template
            .render_text(scope)
            .map_err(|error| template_error(&self.operation, key, &error))?;
        let value = parse(text.trim()).map_err(|wrong| ResourceError {
            operation: self.operation.clone(),
            key,
            reason: format!("`{}` {}", text.trim(), wrong.0),
            hint: Some(wrong.1.to_owned()),
        })?;
        Ok(Some(value))
    }
}

fn template_error(operation: &str, key: &'static str, error: &TemplateError) -> ResourceError {
    ResourceError {
        operation: operation.to_owned(),
        key,
        reason: error.to_string(),
        hint: error.hint().map(str::to_owned),
    }
}

/// Reads a number; a fraction counts as a whole.
fn count(text: &str, least: u32) -> Result<u32, Wrong> {
    match number(text).map(f64::ceil) {
        Some(number) if number >= f64::from(least) && number <= f64::from(u32::MAX) => {
            Ok(number as u32)
        }
        _ if least == 0 => Err(Wrong(
            "is no number from 0 on",
            "write a number, such as `1`",
        )),
        _ => Err(Wrong(
            "is no number from 1 on",
            "write a number, such as `4`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyjson::parse;

    #[test]
    fn numbers_are_counts() {
        assert_eq!(
            (count("4", 1), count("2.0", 1), count("0", 0)),
            (Ok(4), Ok(2), Ok(0))
        );
        assert_eq!(count("2.5", 1), Ok(3));
        for text in ["", "0", "-1", "x", "4294967296", "nan", "inf"] {
            count(text, 1).expect_err(text);
        }
    }

    #[test]
    fn resources_are_rendered() {
        let sp = parse(r#"{"n": 3, "text": "many"}"#).expect("JSON");
        let scope = Scope::new().with("sp", sp);
        let text = |text: &str| Some(text.to_owned());
        let config = config::Resources {
            processes: text("{{ 2 * sp.n }}"),
            threads: text("2"),
            walltime: text("{{ 0.5 * sp.n }}h"),
            ..config::Resources::default()
        };
        let resources = Resources::render("simulate", &config, &scope).expect("sound");
        assert_eq!((resources.cores(), resources.gpus), (12, 0));
        assert_eq!(
            (resources.walltime_s, resources.memory_bytes),
            (Some(5400), None)
        );
        let error = |config: &config::Resources| {
            let error = Resources::render("simulate", config, &scope).expect_err("a mistake");
            (error.to_string(), error.hint().map(str::to_owned))
        };
        let wrong = config::Resources {
            processes: text("{{ sp.text }}"),
            ..config.clone()
        };
        let message =
            "the operation `simulate` has an unusable `processes`: `many` is no number from 1 on";
        assert_eq!(error(&wrong).0, message);
        let undefined = config::Resources {
            memory: text("{{ sp.m }}G"),
            ..config
        };
        let message = "the operation `simulate` has an unusable `memory`: `sp.m` is undefined";
        assert_eq!(
            error(&undefined),
            (message.to_owned(), Some("did you mean `sp.n`?".to_owned()))
        );
        assert_eq!(Resources::default().cores(), 1);
    }
}
