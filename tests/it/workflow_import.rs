//! Workflows of signac-flow and row, imported.

use crate::support::env::{Env, Ran};
use crate::support::python::python;
use crate::support::skip;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A project with jobs, in which a file of the test data lies.
fn project(env: &Env, file: &str) -> PathBuf {
    let root = env.project("p");
    env.run(&root, &["create", "-q", "angle=10:30:10", "note=a,b"])
        .success();
    std::fs::copy(data(file), root.join(file)).unwrap();
    root
}

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/import")
        .join(file)
}

/// Returns a Python that has signac-flow, by its path.
fn flow_python(env: &Env) -> Option<String> {
    let python = python()?;
    let ran = Ran::of(env.in_env(Command::new(&python), &env.path(), &["-c", "import flow"]));
    if ran.code != Some(0) {
        skip("no signac-flow; `scripts/setup` installs it");
        return None;
    }
    Some(python.to_str().unwrap().to_owned())
}

/// Compares a text with a file, which `SNAPSHOTS=overwrite` writes anew.
#[track_caller]
fn check_text(found: &str, expected: &str) {
    let expected = snapbox::Data::read_from(&data(expected), Some(snapbox::data::DataFormat::Text));
    snapbox::Assert::new()
        .action_env("SNAPSHOTS")
        .normalize_paths(false)
        .eq(found.to_owned(), expected);
}

#[test]
fn a_project_of_signac_flow_is_imported_and_runs() {
    let env = Env::new();
    let Some(python) = flow_python(&env) else {
        return;
    };
    let root = project(&env, "project.py");
    let import = ["workflow", "import", "project.py", "--python", &python];
    let printed = env.run(&root, &import);
    assert_eq!(printed.code, Some(3), "{printed:?}");
    check_text(&printed.stdout.replace(&python, "PYTHON"), "flow.toml");
    check_text(&printed.stderr, "flow.stderr");

    let written = env.run(
        &root,
        &[&import[..], &["--output", "sweepfs.toml"]].concat(),
    );
    assert_eq!((written.code, written.stdout.as_str()), (Some(3), ""));
    assert_eq!(
        std::fs::read_to_string(root.join("sweepfs.toml")).unwrap(),
        printed.stdout
    );
    let again = env.run(
        &root,
        &[&import[..], &["--output", "sweepfs.toml"]].concat(),
    );
    assert!(again.failure(4).contains("exists already"), "{again:?}");
    let checked = env.run(&root, &["workflow", "check"]);
    assert_eq!(
        checked.success(),
        "6 operations, 2 groups, 2 labels: sound\n",
        "{checked:?}"
    );

    // What is executed here is completed for flow, too.
    let ran = env.run(
        &root,
        &["run", "-o", "pipeline", "pairs", "average", "everything"],
    );
    ran.success();
    for operation in ["prepare", "simulate", "pairs"] {
        let next = ["project.py", "next", operation];
        let next = Ran::of(env.in_env(Command::new(&python), &root, &next));
        assert_eq!((next.success(), operation), ("", operation), "{next:?}");
    }
    assert_eq!(
        std::fs::read_to_string(root.join("average.txt")).unwrap(),
        "2"
    );
    let log = "find .sweepfs/logs/everything -name '*.log' | xargs cat";
    let log = Ran::of(env.in_env(Command::new("sh"), &root, &["-c", log]));
    assert!(
        log.success().ends_with("\n{{ not a template }}\n"),
        "{log:?}"
    );
}

#[test]
fn a_project_that_python_cannot_read_is_told() {
    let env = Env::new();
    let Some(python) = flow_python(&env) else {
        return;
    };
    let root = project(&env, "project.py");
    let import = |file: &str, python: &str| {
        let ran = env.run(&root, &["workflow", "import", file, "--python", python]);
        ran.failure(1).to_owned()
    };
    std::fs::write(root.join("empty.py"), "from flow import FlowProject\n").unwrap();
    assert!(import("empty.py", &python).contains("`: it defines no operations\nhint: `--python"));
    std::fs::write(root.join("bad.py"), "import flow\nimport gone_for_good\n").unwrap();
    assert!(import("bad.py", &python).contains("No module named 'gone_for_good'"));
    assert!(import("project.py", "no-such-python").contains("cannot run `no-such-python`"));
    assert!(import("gone.py", &python).contains("error: cannot read `"));
}

#[test]
fn a_project_below_the_projects_folder_is_found() {
    let env = Env::new();
    let Some(python) = flow_python(&env) else {
        return;
    };
    let root = env.project("p");
    std::fs::create_dir(root.join("my code")).unwrap();
    let text = "from flow import FlowProject as P, aggregator as a\nclass Q(P): pass\ndef even(job):\n    n = job.sp.n\n    return n % 2 == 0\n\
        @Q.pre(even)\n@Q.operation\ndef one(job):\n    job.doc.done = True\n\
        @Q.operation(aggregator=a.groupsof(3))\ndef three(*jobs):\n    print(len(jobs))\n\
        if __name__ == '__main__':\n    Q().main()\n";
    std::fs::write(root.join("my code/the-flow.py"), text).unwrap();
    env.run(&root, &["create", "-q", "n=1:4:1"]).success();
    let import = [
        "workflow",
        "import",
        "my code/the-flow.py",
        "--python",
        &python,
        "--output",
        "sweepfs.toml",
    ];
    env.run(&root, &import).success();
    env.run(&root, &["workflow", "check"]).success();
    env.run(&root, &["run"]).success();
    let done = env.run(&root, &["find", "--sp", "n", "-f", "doc.done"]);
    let numbers = done
        .success()
        .lines()
        .filter(|line| line.starts_with('{'))
        .collect::<Vec<_>>();
    assert_eq!(numbers.len(), 2, "{numbers:?}");
}

#[test]
fn functions_of_one_expression_are_translated() {
    let env = Env::new();
    let Some(python) = flow_python(&env) else {
        return;
    };
    let root = env.project("p");
    let text = r#"
from flow import FlowProject, classlabel, label, staticlabel
n = 7

class Base(FlowProject):
    @label()
    def lab(self, job):
        return job.sp.a > 1
    @staticlabel()
    def slab(job):
        return "x" in job.doc
    @classlabel()
    def clab(cls, job):
        return job.doc.get("b", 5)

class Project(Base):
    pass

def beyond(n):
    def condition(job):
        return job.sp.a > n
    return condition

@Base.post(lambda job: job.doc.done == True)
@Base.operation
def base(job):
    pass

@Project.pre(lambda job: job.sp.a > n and job.sp.b["c d"] in (1, "x"))
@Project.pre(lambda job: not job.isfile("q") or job.doc.get("w", 3) != 3)
@Project.pre(lambda job: -1.5 <= job.statepoint()["a"])
@Project.pre.true("odd key")
@Project.pre(beyond(2))
@Project.pre.isfile("/abs")
@Project.post.isfile("../up")
@Project.operation(cmd=True)
def format(job):
    """Python formats it."""
    return f"./go -a {job.sp.a:03d}"

@Project.operation(cmd=True)
def go(job):
    return (f"cd {job.path} && ./go {job} {job.sp.a + 2 * n} {job.sp['k']} '{job.doc.name}' "
            f"{job.fn('a b')} ${{HOME}} {{x}}")
"#;
    std::fs::write(root.join("flow_script.py"), text).unwrap();
    let import = ["workflow", "import", "flow_script.py", "--python", &python];
    let printed = env.run(&root, &import);
    assert_eq!(printed.code, Some(3), "{printed:?}");
    check_text(&printed.stdout.replace(&python, "PYTHON"), "functions.toml");
    check_text(&printed.stderr, "functions.stderr");
    std::fs::write(root.join("sweepfs.toml"), printed.stdout).unwrap();
    env.run(&root, &["workflow", "check"]).success();
}

#[test]
fn a_workflow_of_row_is_imported() {
    let env = Env::new();
    let root = project(&env, "workflow.toml");
    let printed = env.run(&root, &["workflow", "import", "workflow.toml"]);
    assert_eq!(printed.code, Some(3), "{printed:?}");
    check_text(&printed.stdout, "row.toml");
    check_text(&printed.stderr, "row.stderr");
    std::fs::write(root.join("sweepfs.toml"), &printed.stdout).unwrap();
    let checked = env.run(&root, &["workflow", "check"]);
    assert_eq!(
        checked.success(),
        "3 operations, 0 groups, 0 labels: sound\n",
        "{checked:?}"
    );
    std::fs::write(root.join("other.toml"), "[operation]\n").unwrap();
    let other = env.run(&root, &["workflow", "import", "other.toml"]);
    assert!(
        other
            .failure(1)
            .contains("the file is no workflow of row: missing field `action`"),
        "{other:?}"
    );
}
