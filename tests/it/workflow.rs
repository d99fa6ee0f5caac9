//! `sweepfs workflow`: beginning, checking and drawing one.

use crate::support::env::Env;
use std::path::{Path, PathBuf};

fn project(env: &Env, config: &str) -> PathBuf {
    let root = env.project("p");
    env.run(
        &root,
        &["create", "-q", "angle=10:30:10", "note=it's $(here),b"],
    )
    .success();
    std::fs::write(root.join("sweepfs.toml"), config).unwrap();
    root
}

fn check(env: &Env, root: &Path) -> String {
    let ran = env.run(root, &["workflow", "check"]);
    let text = format!("{}{}exit {}", ran.stdout, ran.stderr, ran.code.unwrap());
    text.replace(&format!("{}/", root.display()), "")
}

#[test]
fn what_init_writes_is_sound_and_runs() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "-q", "a=1,2,3"]).success();
    env.run(&root, &["workflow", "init"]).success();
    assert_eq!(
        check(&env, &root),
        "2 operations, 0 groups, 0 labels: sound\nexit 0"
    );
    let graph = env.run(&root, &["workflow", "graph"]);
    assert_eq!(graph.success(), "hello\n└─ count  (all jobs together)\n");
    env.run(&root, &["run"]).success();
    assert_eq!(
        std::fs::read_to_string(root.join("count.txt"))
            .unwrap()
            .trim(),
        "3"
    );
    let again = env.run(&root, &["workflow", "init"]);
    let said = again.failure(4);
    assert!(
        said.contains("exists already") && said.contains("hint: "),
        "{said}"
    );
    // What is commented out there is sound, too.
    let text = std::fs::read_to_string(root.join("sweepfs.toml")).unwrap();
    let all = text
        .replace("#   where", "    where")
        .replace("#   ", "    ")
        .replace("sp.n", "sp.a");
    let parts: Vec<_> = all.split("\n    where").collect();
    let lines = |text: &str| {
        let keep =
            |line: &&str| !line.trim_start().starts_with('#') && !line.contains("job.id, job.dir");
        text.lines().filter(keep).collect::<Vec<_>>().join("\n")
    };
    let all = format!("{}\n    where{}", lines(parts[0]), lines(parts[1]));
    std::fs::write(root.join("sweepfs.toml"), all.replace("angle>=45", "a>=2")).unwrap();
    assert_eq!(
        check(&env, &root),
        "2 operations, 1 group, 1 label: sound\nexit 0"
    );
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    let env = Env::new();
    let root = project(
        &env,
        r#"
[[operation]]
name = "one"
command = "x {{ sp.angel }}"
[operation.resources]
walltime = "{{ sp.angle }}"

[[operation]]
name = "two"
command = "x {{ doc.later }} $'{{ sp.note }}'"
pre = ['angel>1', 'after("one")']
[operation.hooks]
on_failure = "x {{ exit_code }}"
on_start = "x {{ exit_code }}"
"#,
    );
    let said = check(&env, &root);
    for part in [
        "error: `sweepfs.toml`, line 2: the operation `one` has an unusable `walltime`: `30` has no unit, for ",
        "hint: write a time such as `90m`",
        "error: `sweepfs.toml`, line 2: the operation `one` has an unusable `command`: `sp.angel` is undefined, for ",
        "hint: did you mean `sp.angle`?",
        "error: `sweepfs.toml`, line 8: the operation `two` has an unusable `on_start`: `exit_code` is undefined",
        "warning: no job has the key `angel`\nhint: did you mean `angle`?",
        "exit 1",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert_eq!(said.matches("error:").count(), 3, "{said}");
    std::fs::write(
        root.join("sweepfs.toml"),
        "[[operation]]\nname = \"a\"\ncommand = \"{{ x\"\n[hooks]\non_exit = \"{% if %}\"",
    )
    .unwrap();
    let said = check(&env, &root);
    assert!(
        said.contains("error: `sweepfs.toml`: `hooks.on_exit` is unusable: "),
        "{said}"
    );
    assert!(
        said.contains(
            "error: `sweepfs.toml`, line 1: the operation `a` has an unusable `command`: "
        ),
        "{said}"
    );
    std::fs::write(root.join("sweepfs.toml"), "[[operation]]\nname = 5").unwrap();
    let said = check(&env, &root);
    assert!(
        said.starts_with("error: `sweepfs.toml`, line 2, column 8: `name` must be a string"),
        "{said}"
    );
}

#[test]
fn values_that_cannot_be_quoted_are_found() {
    let env = Env::new();
    let root = project(
        &env,
        "[[operation]]\nname = \"a\"\ncommand = \"x $'{{ sp.note }}'\"\n",
    );
    let said = check(&env, &root);
    assert!(
        said.contains("\"it's $(here)\" cannot be quoted in `$'…'`"),
        "{said}"
    );
    assert!(
        said.contains("hint: assign it to a variable first"),
        "{said}"
    );
}

#[test]
fn graphs_are_for_graphviz_too() {
    let env = Env::new();
    let root = project(&env, "[[operation]]\nname = 'a \"b\"'\ncommand = \"x\"\n");
    let dot = env.run(&root, &["workflow", "graph", "--dot"]);
    assert_eq!(
        dot.success(),
        "digraph workflow {\n  node [shape=box];\n  \"a \\\"b\\\"\" [label=\"a \\\"b\\\"\"];\n}\n"
    );
    assert!(
        env.run(&root, &["workflow"])
            .failure(2)
            .contains("Usage: sweepfs workflow")
    );
}
