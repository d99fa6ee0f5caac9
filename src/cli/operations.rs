//! Which operations a command is about: `-o`.

use super::error::CliError;
use crate::config::WorkflowConfig;
use clap::Args as ClapArgs;
use glob::Pattern;
use std::collections::BTreeSet;

/// The option that selects operations.
#[derive(Debug, ClapArgs)]
pub(super) struct OperationArgs {
    /// Only operations, or those of groups, whose names match one of these patterns of the shell.
    #[arg(short = 'o', long = "operation", value_name = "GLOB", num_args = 1..)]
    pub(super) operations: Vec<String>,
}

impl OperationArgs {
    /// Returns the places of the selected operations, in the order of the file.
    pub(super) fn places(&self, config: &WorkflowConfig) -> Result<Vec<usize>, CliError> {
        if config.operations.is_empty() {
            return Err(no_operations());
        }
        if self.operations.is_empty() {
            return Ok((0..config.operations.len()).collect());
        }
        let mut places = BTreeSet::new();
        for pattern in &self.operations {
            let found = matching(config, pattern)?;
            if found.is_empty() {
                return Err(no_such_operation(config, pattern));
            }
            places.extend(found);
        }
        Ok(places.into_iter().collect())
    }
}

/// Returns the place of an operation.
pub(super) fn operation_named(config: &WorkflowConfig, name: &str) -> Result<usize, CliError> {
    let mut operations = config.operations.iter();
    let place = operations.position(|operation| operation.name == name);
    place.ok_or_else(|| match config.operations.is_empty() {
        true => no_operations(),
        false => no_such_operation(config, name),
    })
}

fn matching(config: &WorkflowConfig, pattern: &str) -> Result<BTreeSet<usize>, CliError> {
    let glob = Pattern::new(pattern)
        .map_err(|error| CliError::usage(format!("`{pattern}` is no pattern: {error}")))?;
    let is_meant = |name: &str| name == pattern || glob.matches(name);
    let members = config.groups.iter().filter(|(group, _)| is_meant(group));
    let members: BTreeSet<_> = members.flat_map(|(_, members)| members).collect();
    let numbered = config.operations.iter().enumerate();
    let chosen = numbered
        .filter(|(_, operation)| is_meant(&operation.name) || members.contains(&operation.name));
    Ok(chosen.map(|(place, _)| place).collect())
}

fn no_operations() -> CliError {
    CliError::failed("the project has no operations").with_hint(
        "define them in `sweepfs.toml`; `sweepfs workflow init` writes one to begin with",
    )
}

fn no_such_operation(config: &WorkflowConfig, name: &str) -> CliError {
    let operations = config
        .operations
        .iter()
        .map(|operation| operation.name.as_str());
    let known: Vec<_> = operations
        .chain(config.groups.keys().map(String::as_str))
        .collect();
    let hint = match crate::filter::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    CliError::usage(format!("no operation or group matches `{name}`")).with_hint(hint)
}
