//! `sweepfs workflow check`

use crate::catalog::KeyName;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::loaded::Loaded;
use crate::cli::selection::{Selection, UnknownKey, unknown_keys};
use crate::config::ProjectConfig;
use crate::filter::{Condition, Field, Filter, Space};
use crate::workflow::{Finding, check_rendering, check_syntax};
use std::path::Path;

pub(super) fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    let project = Loaded::new(context)?;
    let (config, flow) = (&project.config, &project.flow);
    let mut findings = check_syntax(&config.workflow);
    let mut exit = Exit::Done;
    let mut unknown = Vec::new();
    if findings.is_empty() {
        let found = context.ask(&project.workspace, &Selection::default(), |facts, jobs| {
            let rendering = check_rendering(flow, &flow.evaluation(facts)?)?;
            Ok((rendering, unknown_keys(facts, keys(config), jobs)?))
        })?;
        (findings, unknown) = found.answer;
        exit = found.exit;
    }
    for finding in &findings {
        report(context, &project.config_path(), finding);
    }
    unknown
        .iter()
        .for_each(|key: &UnknownKey| key.warn(context));
    if !findings.is_empty() {
        return Ok(Exit::Failed);
    }
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    context.term.line(format_args!(
        "{}, {}, {}: sound",
        count(config.workflow.operations.len(), "operation"),
        count(config.workflow.groups.len(), "group"),
        count(config.labels.len(), "label"),
    ))?;
    Ok(exit)
}

fn report(context: &Context<'_>, path: &Path, finding: &Finding) {
    let line = finding.line.map(|line| format!(", line {line}"));
    let place = format!("`{}`{}", path.display(), line.unwrap_or_default());
    context
        .term
        .error(format_args!("{place}: {}", finding.message));
    if let Some(hint) = &finding.hint {
        context.term.hint(hint);
    }
}

/// Returns the keys of state points that the file names, sorted. Those of documents may appear at
/// any time.
fn keys(config: &ProjectConfig) -> Vec<KeyName> {
    let operations = &config.workflow.operations;
    let conditions = operations.iter().flat_map(|o| o.pre.iter().chain(&o.post));
    let aggregates = operations.iter().filter_map(|o| o.aggregate.as_ref());
    let filters = operations.iter().filter_map(|o| o.filter.as_ref());
    let filters = filters
        .chain(
            aggregates
                .clone()
                .filter_map(|aggregate| aggregate.filter.as_ref()),
        )
        .chain(config.labels.values())
        .chain(
            config
                .views
                .values()
                .filter_map(|view| view.filter.as_ref()),
        );
    let sorts = aggregates.clone().flat_map(|aggregate| &aggregate.sort);
    let mut fields: Vec<Field> = conditions.flat_map(Condition::fields).collect();
    fields.extend(filters.flat_map(Filter::fields));
    fields.extend(aggregates.flat_map(|aggregate| aggregate.by.iter().cloned()));
    fields.extend(sorts.map(|sort| sort.field.clone()));
    fields.sort();
    fields.dedup();
    let in_statepoint = fields
        .into_iter()
        .filter(|field| field.space == Space::StatePoint);
    let name = |field: Field| {
        Some(KeyName {
            space: field.space,
            key: field.key?,
        })
    };
    in_statepoint.filter_map(name).collect()
}
