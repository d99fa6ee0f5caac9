//! Which operation comes after which, drawn.

use crate::config::{Aggregation, OperationConfig, WorkflowConfig};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The operations of a workflow, each with those that must be completed before it.
#[derive(Debug)]
pub struct Graph<'a> {
    config: &'a WorkflowConfig,
    /// By operation: the places of those before it.
    before: Vec<BTreeSet<usize>>,
    /// By operation: how many come before it at most, one after the other.
    layers: Vec<usize>,
}

impl<'a> Graph<'a> {
    /// Finds the graph of operations that do not wait for each other in a circle.
    pub fn new(config: &'a WorkflowConfig) -> Self {
        let place = |name: &str| {
            config
                .operations
                .iter()
                .position(|other| other.name == name)
        };
        let before: Vec<BTreeSet<_>> = config
            .operations
            .iter()
            .map(|operation| operation.after().filter_map(place).collect())
            .collect();
        let mut layers = vec![0; before.len()];
        // The longest way has fewer steps than there are operations.
        for _ in 0..before.len() {
            for (i, before) in before.iter().enumerate() {
                let layer = before.iter().map(|&other| layers[other] + 1).max();
                layers[i] = layer.unwrap_or(0);
            }
        }
        Self {
            config,
            before,
            layers,
        }
    }

    /// Draws it for a terminal: each operation stands once, below the last of those before it; the
    /// others are named beside it.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for root in self.below(None) {
            self.push_node(&mut text, root, "", "");
        }
        text
    }

    /// The one of those before an operation below which it is drawn.
    fn parent(&self, operation: usize) -> Option<usize> {
        let before = self.before[operation].iter().copied();
        before.max_by_key(|&other| (self.layers[other], other))
    }

    fn below(&self, parent: Option<usize>) -> Vec<usize> {
        let all = 0..self.before.len();
        all.filter(|&i| self.parent(i) == parent).collect()
    }

    fn push_node(&self, text: &mut String, operation: usize, branch: &str, indent: &str) {
        text.push_str(branch);
        text.push_str(&self.config.operations[operation].name);
        let notes = self.notes(operation);
        if !notes.is_empty() {
            let _ = write!(text, "  ({})", notes.join("; "));
        }
        text.push('\n');
        let children = self.below(Some(operation));
        for (i, child) in children.iter().enumerate() {
            let (branch, below) = match i + 1 == children.len() {
                true => ("└─ ", "   "),
                false => ("├─ ", "│  "),
            };
            self.push_node(
                text,
                *child,
                &format!("{indent}{branch}"),
                &format!("{indent}{below}"),
            );
        }
    }

    fn notes(&self, operation: usize) -> Vec<String> {
        let parent = self.parent(operation);
        let others = self.before[operation].iter().copied();
        let others = others.filter(|&other| Some(other) != parent);
        let names: Vec<_> = others
            .map(|other| self.config.operations[other].name.as_str())
            .collect();
        let mut notes = Vec::new();
        if !names.is_empty() {
            notes.push(format!("also after {}", names.join(", ")));
        }
        notes.extend(
            self.config.operations[operation]
                .aggregate
                .as_ref()
                .map(jobs_of),
        );
        notes
    }

    /// Writes it in Graphviz's language. A group is a cluster, unless one of its operations is in
    /// another already, which Graphviz cannot draw.
    pub fn to_dot(&self) -> String {
        let mut text = "digraph workflow {\n  node [shape=box];\n".to_owned();
        for operation in &self.config.operations {
            let _ = writeln!(text, "  {};", node(operation));
        }
        let mut drawn = BTreeSet::new();
        for (i, (group, members)) in self.config.groups.iter().enumerate() {
            if members.iter().any(|member| drawn.contains(member)) {
                continue;
            }
            drawn.extend(members);
            let _ = writeln!(
                text,
                "  subgraph cluster_{i} {{\n    label={};",
                quoted(group)
            );
            for member in members {
                let _ = writeln!(text, "    {};", quoted(member));
            }
            text.push_str("  }\n");
        }
        for (operation, before) in self.config.operations.iter().zip(&self.before) {
            for &other in before {
                let from = quoted(&self.config.operations[other].name);
                let _ = writeln!(text, "  {from} -> {};", quoted(&operation.name));
            }
        }
        text.push_str("}\n");
        text
    }
}

fn node(operation: &OperationConfig) -> String {
    let label = match &operation.aggregate {
        None => quoted(&operation.name),
        Some(aggregation) => quoted(&format!("{}\n({})", operation.name, jobs_of(aggregation))),
    };
    format!("{} [label={label}]", quoted(&operation.name))
}

/// Says which jobs are together.
fn jobs_of(aggregation: &Aggregation) -> String {
    let by: Vec<_> = aggregation.by.iter().map(ToString::to_string).collect();
    match (aggregation.size, by.is_empty()) {
        (None, true) => "all jobs together".to_owned(),
        (None, false) => format!("by {}", by.join(", ")),
        (Some(size), true) => format!("{size} jobs together"),
        (Some(size), false) => format!("by {}, {size} jobs together", by.join(", ")),
    }
}

/// Writes a text as an identifier or label of Graphviz.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', r#"\""#);
    format!("\"{}\"", escaped.replace('\n', r"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProjectConfig;
    use std::path::Path;

    fn config(text: &str) -> WorkflowConfig {
        let config = ProjectConfig::parse(text, Path::new("f"));
        config.unwrap_or_else(|error| panic!("{error}")).workflow
    }

    fn example() -> WorkflowConfig {
        config(
            r#"
            [[operation]]
            name = "average"
            command = "x"
            pre = ['after("simulate")', 'after("prepare")']
            aggregate = { by = ["gas", "doc.x"], size = 3 }
            [[operation]]
            name = "prepare"
            command = "x"
            [[operation]]
            name = "simulate"
            command = "x"
            pre = 'not doc.bad or after("prepare")'
            [[operation]]
            name = 'the "\end"'
            command = "x"
            pre = 'after("simulate")'
            [[operation]]
            name = "alone"
            command = "x"
            aggregate = { all = true }
            [group.both]
            operations = ["prepare", "simulate"]
            [group.other]
            operations = ["simulate"]
            "#,
        )
    }

    #[test]
    fn operations_stand_below_those_they_wait_for() {
        let expected = "\
prepare
└─ simulate
   ├─ average  (also after prepare; by gas, doc.x, 3 jobs together)
   └─ the \"\\end\"
alone  (all jobs together)
";
        assert_eq!(Graph::new(&example()).to_text(), expected);
        assert_eq!(Graph::new(&config("")).to_text(), "");
    }

    #[test]
    fn names_are_quoted_for_graphviz() {
        let expected = r#"digraph workflow {
  node [shape=box];
  "average" [label="average\n(by gas, doc.x, 3 jobs together)"];
  "prepare" [label="prepare"];
  "simulate" [label="simulate"];
  "the \"\\end\"" [label="the \"\\end\""];
  "alone" [label="alone\n(all jobs together)"];
  subgraph cluster_0 {
    label="both";
    "prepare";
    "simulate";
  }
  "prepare" -> "average";
  "simulate" -> "average";
  "prepare" -> "simulate";
  "simulate" -> "the \"\\end\"";
}
"#;
        assert_eq!(Graph::new(&example()).to_dot(), expected);
    }
}
