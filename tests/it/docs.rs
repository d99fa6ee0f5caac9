//! The console blocks of the documentation, run.

use crate::support::env::{Env, Ran, program};
use crate::support::mounted::can_mount;
use std::path::Path;
use std::process::Command;

/// A command of a console block, and what it prints.
#[derive(Debug, Default, PartialEq)]
struct Step {
    command: String,
    expected: String,
}

/// Reads ```` ```console ```` blocks: `$ ` begins a command, `> ` continues it, the rest is output.
fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, _) => match (
                line.strip_prefix("$ "),
                line.strip_prefix("> ").or((line == ">").then_some("")),
                steps.last_mut(),
            ) {
                (Some(command), _, _) => steps.push(Step {
                    command: command.to_owned(),
                    ..Step::default()
                }),
                (_, Some(more), Some(step)) => step.command.extend(["\n", more]),
                (_, _, Some(step)) => step.expected.extend([line, "\n"]),
                _ => panic!("output without a command: {line}"),
            },
            (false, _) => {}
        }
    }
    steps
}

const MARK: &str = "=== end of step ===";

/// Runs all commands of a page in one shell and compares what each prints.
fn check_page(name: &str) {
    if !can_mount() {
        return;
    }
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let steps = steps(&page);
    assert!(!steps.is_empty(), "{name} has no console blocks");
    let env = Env::new();
    let marked = steps
        .iter()
        .map(|step| format!("{}\necho '{MARK}'\n", step.command));
    let script: String = ["exec 2>&1\n".to_owned()]
        .into_iter()
        .chain(marked)
        .collect();
    let mut command = env.in_env(Command::new("bash"), &env.path(), &["-c", &script]);
    let bin = Path::new(program()).parent().unwrap();
    command.env(
        "PATH",
        format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()),
    );
    let ran = Ran::of(command);
    let outputs: Vec<_> = ran.stdout.split(&format!("{MARK}\n")).collect();
    assert_eq!(
        outputs.len(),
        steps.len() + 1,
        "{name}: the shell ended early: {ran:?}"
    );
    for (step, output) in steps.iter().zip(outputs) {
        snapbox::Assert::new().eq(
            output.to_owned(),
            snapbox::Data::text(step.expected.clone()),
        );
    }
}

#[test]
fn the_tutorial_is_true() {
    check_page("docs/tutorial/rocket.md");
}

#[test]
fn the_readme_is_true() {
    check_page("README.md");
}

#[test]
fn the_page_on_mounting_is_true() {
    check_page("docs/mounting.md");
}

#[test]
fn the_command_line_reference_is_true() {
    check_page("docs/cli.md");
}

#[test]
fn the_page_for_users_of_signac_flow_is_true() {
    check_page("docs/from-signac-flow.md");
}

#[test]
fn the_page_on_clusters_is_true() {
    check_page("docs/clusters.md");
}

#[test]
fn the_page_on_schedulers_is_true() {
    check_page("docs/schedulers.md");
}

#[test]
fn the_page_on_workflows_is_true() {
    check_page("docs/workflow.md");
}

#[test]
fn the_page_on_syncing_is_true() {
    check_page("docs/sync.md");
}

/// The demo has a reader of console blocks of its own.
#[test]
fn the_demo_plays_the_tutorial() {
    if !can_mount() {
        return;
    }
    let env = Env::new();
    let bin = Path::new(program()).parent().unwrap().to_str().unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo");
    let mut command = env.in_env(Command::new(demo), &env.path(), &["--bin", bin]);
    command.env("TMPDIR", env.path());
    let ran = Ran::of(command);
    assert!(ran.success().ends_with("demo: done\n"), "{ran:?}");
    assert!(
        ran.stdout.contains("5 executions: 5 completed")
            || ran.stderr.contains("5 executions: 5 completed"),
        "{ran:?}"
    );
}
