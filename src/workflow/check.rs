//! Finding mistakes in a workflow before anything is executed.

use super::evaluate::Evaluation;
use super::flow::Flow;
use super::resources::{ResourceTemplates, Resources};
use super::run::{Planned, ScopeError, scope};
use super::units::{UnitIdx, Units, aggregate_id};
use crate::catalog::FactsError;
use crate::config::{Hooks, OperationConfig, WorkflowConfig};
use crate::template::{Item, Scope, Template, TemplateError};
use crate::workspace::Workspace;
use std::collections::BTreeSet;

/// Templates are tried on so many aggregates of each operation.
const SAMPLES: usize = 3;

/// Something in the workflow that is a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line where the operation begins in the file, from 1; `None` for what is for all.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

/// A template by its key.
type Keyed<'a> = (&'static str, &'a str);

/// Returns all templates whose syntax is wrong.
pub fn check_syntax(config: &WorkflowConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let common = hooks(&config.hooks).filter_map(|(key, text)| {
        let error = Template::parse(text).err()?;
        Some(finding(None, &format!("`hooks.{key}`"), &error))
    });
    findings.extend(common);
    for operation in &config.operations {
        let mut texts = vec![("command", operation.command.as_str())];
        texts.extend(hooks(&operation.hooks));
        texts.extend(resources(operation));
        let wrong = texts.into_iter().filter_map(|(key, text)| {
            let error = Template::parse(text).err()?;
            Some(of_operation(operation, key, &error, ""))
        });
        findings.extend(wrong);
    }
    findings
}

/// Tries the templates of all operations, whose syntax must be right, on some of the jobs. What a
/// document lacks now may be there when it is needed, and is no mistake.
pub fn check_rendering(
    flow: &Flow,
    evaluation: &Evaluation<'_>,
) -> Result<Vec<Finding>, FactsError> {
    let mut findings = Vec::new();
    for (place, operation) in flow.config().operations.iter().enumerate() {
        let units = evaluation.units(place)?;
        let mut known = BTreeSet::new();
        for unit in samples(units) {
            let jobs = units.ids(unit, evaluation.facts())?;
            let planned = Planned {
                operation: place,
                id: aggregate_id(&jobs),
                jobs,
                before: None,
            };
            let trial = Trial {
                operation,
                common: &flow.config().hooks,
                planned: &planned,
            };
            // A damaged job is named by `check`.
            for (key, finding) in trial.render(flow.workspace()).unwrap_or_default() {
                if known.insert(key) {
                    findings.push(finding);
                }
            }
        }
    }
    Ok(findings)
}

/// The first aggregate, one in the middle, and the last.
fn samples(units: &Units) -> BTreeSet<UnitIdx> {
    let all = units.all();
    let n = all.len() as u32;
    let places = (0..SAMPLES as u32).map(|i| i * n.saturating_sub(1) / (SAMPLES as u32 - 1));
    places.filter_map(|place| all.select(place)).collect()
}

/// An execution that is only thought of.
struct Trial<'a> {
    operation: &'a OperationConfig,
    common: &'a Hooks,
    planned: &'a Planned,
}

impl Trial<'_> {
    fn render(&self, workspace: &Workspace) -> Result<Vec<(String, Finding)>, ScopeError> {
        let scope = scope(workspace, self.operation, self.planned)?;
        let mut findings = Vec::new();
        let templates = ResourceTemplates::parse(&self.operation.name, &self.operation.resources);
        let needed = match templates.and_then(|templates| templates.render(&scope)) {
            Ok(needed) => needed,
            Err(error) => {
                let message = format!("{error}, for {}", self.planned.id);
                if !depends_on_document(&message) {
                    let finding = Finding {
                        line: Some(self.operation.line),
                        message,
                        hint: error.hint().map(str::to_owned),
                    };
                    findings.push((error.key.to_owned(), finding));
                }
                Resources::default()
            }
        };
        let scope = scope
            .with("processes", needed.processes)
            .with("threads", needed.threads)
            .with("gpus", needed.gpus)
            .with("launcher", Item::Raw(String::new()));
        self.try_command(("command", &self.operation.command), &scope, &mut findings);
        let ended = scope.clone().with("exit_code", 0_i64).with("reason", "");
        for hook in hooks(&self.operation.hooks).chain(hooks(self.common)) {
            let scope = if hook.0 == "on_start" { &scope } else { &ended };
            self.try_command(hook, scope, &mut findings);
        }
        Ok(findings)
    }

    fn try_command(
        &self,
        (key, text): Keyed<'_>,
        scope: &Scope,
        findings: &mut Vec<(String, Finding)>,
    ) {
        let rendered = Template::parse(text).and_then(|template| template.render_command(scope));
        if let Err(error) = rendered
            && !depends_on_document(&error.to_string())
        {
            let place = format!(", for {}", self.planned.id);
            let finding = of_operation(self.operation, key, &error, &place);
            findings.push((key.to_owned(), finding));
        }
    }
}

/// Tells whether a message is about something that a document lacks.
fn depends_on_document(message: &str) -> bool {
    message.contains("doc.") || message.contains("doc[")
}

fn of_operation(
    operation: &OperationConfig,
    key: &str,
    error: &TemplateError,
    place: &str,
) -> Finding {
    let what = format!("the operation `{}` has an unusable `{key}`", operation.name);
    Finding {
        line: Some(operation.line),
        message: format!("{what}: {error}{place}"),
        hint: error.hint().map(str::to_owned),
    }
}

fn finding(line: Option<usize>, what: &str, error: &TemplateError) -> Finding {
    Finding {
        line,
        message: format!("{what} is unusable: {error}"),
        hint: error.hint().map(str::to_owned),
    }
}

fn hooks(hooks: &Hooks) -> impl Iterator<Item = Keyed<'_>> {
    let texts = [
        ("on_start", &hooks.on_start),
        ("on_success", &hooks.on_success),
        ("on_failure", &hooks.on_failure),
        ("on_exit", &hooks.on_exit),
    ];
    texts
        .into_iter()
        .filter_map(|(key, text)| Some((key, text.as_deref()?)))
}

fn resources(operation: &OperationConfig) -> impl Iterator<Item = Keyed<'_>> {
    let resources = &operation.resources;
    let texts = [
        ("processes", &resources.processes),
        ("threads", &resources.threads),
        ("gpus", &resources.gpus),
        ("memory", &resources.memory),
        ("walltime", &resources.walltime),
    ];
    texts
        .into_iter()
        .filter_map(|(key, text)| Some((key, text.as_deref()?)))
}
