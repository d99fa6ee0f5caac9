//! Scripts of batch jobs: a scheduler's template, blocks of which a project may override.

use super::{Order, Scheduler};
use crate::template::{Scope, Template, TemplateError};

/// What a script extends if the project has none of its own.
const EXTENDING: &str = r#"{% extends "base.sh" %}"#;

/// Writes the script of an order. A project's own template extends that of the scheduler, which it
/// calls `base.sh`, and overrides its blocks `header`, `setup` and `body`.
///
/// # Errors
///
/// Fails if the project's template has a mistake, or something in the order cannot stand in the
/// script.
pub fn script(
    scheduler: &dyn Scheduler,
    order: &Order<'_>,
    own: Option<&str>,
) -> Result<String, TemplateError> {
    let template = Template::parse_extending(own.unwrap_or(EXTENDING), scheduler.template())?;
    let scope = scheduler.words(order, common(order));
    Ok(template.render_command(&scope)?.trim_end().to_owned() + "\n")
}

/// The words that templates of all schedulers know.
fn common(order: &Order<'_>) -> Scope {
    let needs = order.needs;
    Scope::new()
        .with("name", order.name)
        .with("n_elements", order.n_elements)
        .with("processes", needs.processes)
        .with("threads", needs.threads)
        .with("cores", needs.cores())
        .with("gpus", needs.gpus)
        .with("account", order.account.unwrap_or_default())
        .with("partition", order.partition.unwrap_or_default())
        .with("nodes", order.nodes.unwrap_or_default())
        .with("options", lines(order.options))
        .with("setup", order.setup)
        .with("program", order.program)
        .with("project", order.project)
}

/// Options are listed as things with a `text`, since templates know no lists of texts.
fn lines(options: &[String]) -> Vec<Scope> {
    let option = |option: &String| Scope::new().with("text", option.as_str());
    options.iter().map(option).collect()
}
