//! The architecture, checked: which module may name which, and which words belong where.

use std::path::{Path, PathBuf};

/// Modules bottom-up, and what each may name; the table of `docs/architecture.md`.
const MODULES: &[(&str, &[&str])] = &[
    ("pyjson", &[]),
    ("report", &[]),
    ("fsx", &[]),
    ("exec", &[]),
    ("term", &["report"]),
    ("statepoint", &["pyjson"]),
    ("filter", &["pyjson", "statepoint"]),
    ("template", &["pyjson"]),
    ("config", &["fsx", "pyjson", "filter"]),
    (
        "workspace",
        &["config", "fsx", "pyjson", "report", "statepoint"],
    ),
    (
        "catalog",
        &[
            "fsx",
            "pyjson",
            "filter",
            "report",
            "statepoint",
            "workspace",
        ],
    ),
    (
        "view",
        &["catalog", "fsx", "pyjson", "filter", "statepoint"],
    ),
    ("scheduler", &["exec", "fsx", "report", "template"]),
    (
        "workflow",
        &[
            "catalog",
            "config",
            "exec",
            "filter",
            "fsx",
            "pyjson",
            "report",
            "scheduler",
            "statepoint",
            "template",
            "workspace",
        ],
    ),
    (
        "sync",
        &[
            "config",
            "exec",
            "filter",
            "fsx",
            "pyjson",
            "report",
            "statepoint",
            "workflow",
            "workspace",
        ],
    ),
    (
        "mount",
        &[
            "catalog",
            "config",
            "fsx",
            "exec",
            "filter",
            "report",
            "view",
            "workflow",
            "workspace",
        ],
    ),
    (
        "cli",
        &[
            "pyjson",
            "report",
            "fsx",
            "exec",
            "term",
            "statepoint",
            "filter",
            "template",
            "config",
            "workspace",
            "catalog",
            "view",
            "scheduler",
            "workflow",
            "sync",
            "mount",
        ],
    ),
];

/// Modules that touch no file, clock, environment or process.
const PURE: &[&str] = &["pyjson", "report", "statepoint", "filter", "template"];

const IMPURE_WORDS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "rustix::",
    "crate::fsx",
    "std::thread",
];

/// Words that only some modules may use.
const CONFINED: &[(&str, &[&str])] = &[
    ("fuser::", &["mount"]),
    ("clap::", &["cli"]),
    ("process::Command", &["exec"]),
    ("Command::new", &["exec"]),
    ("std::env", &["cli", "mount"]),
    ("SystemTime::now", &["cli", "mount", "workflow"]),
    ("Instant::now", &["cli", "mount", "workflow"]),
    ("println!", &[]),
    ("io::stderr", &["term", "cli"]),
    ("md5::", &["statepoint", "catalog", "view", "sync", "mount"]),
];

/// A source file without its tests.
struct Source {
    path: PathBuf,
    module: String,
    lines: Vec<String>,
}

impl Source {
    fn new(path: &Path, module: &str, text: &str) -> Self {
        let code = text.lines().take_while(|line| {
            *line != "#[cfg(test)]" && !line.trim_start().starts_with("mod tests")
        });
        let lines = code
            .map(|line| line.split("//").next().unwrap_or_default().to_owned())
            .collect();
        Self {
            path: path.to_owned(),
            module: module.to_owned(),
            lines,
        }
    }
}

fn violations(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |number: usize, what: String| {
        found.push(format!("{}:{}: {what}", source.path.display(), number + 1));
    };
    let allowed = MODULES
        .iter()
        .find(|(name, _)| *name == source.module)
        .map(|(_, allowed)| *allowed);
    for (number, line) in source.lines.iter().enumerate() {
        for named in named_modules(line) {
            if named != source.module && !allowed.is_some_and(|allowed| allowed.contains(&named)) {
                add(
                    number,
                    format!("`{}` may not name `{named}`", source.module),
                );
            }
        }
        for (word, modules) in CONFINED {
            if line.contains(word) && !modules.contains(&source.module.as_str()) {
                add(number, format!("`{word}` is confined to {modules:?}"));
            }
        }
        for word in IMPURE_WORDS
            .iter()
            .filter(|_| PURE.contains(&source.module.as_str()))
        {
            if line.contains(word) {
                add(
                    number,
                    format!("`{}` is pure, and `{word}` is not", source.module),
                );
            }
        }
    }
    found
}

/// Returns what stands after each `crate::` that is a module of the table.
fn named_modules(line: &str) -> Vec<&str> {
    let after = line.split("crate::").skip(1);
    let names = after.map(|rest| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or_default()
    });
    names
        .filter(|name| MODULES.iter().any(|(module, _)| module == name))
        .collect()
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut dirs = vec![src.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let relative = path.strip_prefix(&src).unwrap();
            let first = relative
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap();
            let module = first.trim_end_matches(".rs");
            if !matches!(module, "lib" | "main") {
                found.push(Source::new(
                    &path,
                    module,
                    &std::fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }
    found
}

#[test]
fn modules_name_only_what_they_may() {
    let sources = sources();
    assert!(sources.len() > 30);
    for source in &sources {
        assert!(
            MODULES.iter().any(|(name, _)| *name == source.module),
            "{} is in no row of the table",
            source.path.display()
        );
    }
    let found: Vec<_> = sources.iter().flat_map(violations).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_table_points_downward() {
    for (i, (name, allowed)) in MODULES.iter().enumerate() {
        for lower in *allowed {
            assert!(
                MODULES[..i].iter().any(|(above, _)| above == lower),
                "{name} names {lower}, which does not stand before it"
            );
        }
    }
}

#[test]
fn the_table_is_that_of_the_documentation() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md"))
            .unwrap();
    for (name, allowed) in MODULES {
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}`")))
            .unwrap_or_else(|| panic!("no row for {name}"));
        let cell = row.split('|').nth(3).unwrap_or_default();
        let documented: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        match cell.trim() {
            "everything" => assert_eq!(allowed.len(), MODULES.len() - 1),
            _ => assert_eq!(&documented, allowed, "{name}"),
        }
    }
}

#[test]
fn every_fault_is_found() {
    let faulty = "use crate::view::Tree;\nfn f() {\n    println!(\"x\");\n    let _ = std::fs::read(\"x\");\n    let _ = std::env::args();\n    fuser::mount();\n}\n// crate::mount is fine in a comment\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n";
    let found = violations(&Source::new(Path::new("src/filter.rs"), "filter", faulty));
    let expected = [
        "src/filter.rs:1: `filter` may not name `view`",
        "src/filter.rs:3: `println!` is confined to []",
        "src/filter.rs:4: `filter` is pure, and `std::fs` is not",
        "src/filter.rs:5: `std::env` is confined to [\"cli\", \"mount\"]",
        "src/filter.rs:6: `fuser::` is confined to [\"mount\"]",
    ];
    assert_eq!(found, expected);
    assert!(
        violations(&Source::new(
            Path::new("src/mount/x.rs"),
            "mount",
            "use crate::view::Tree;\nuse fuser::Filesystem;\n"
        ))
        .is_empty()
    );
    assert_eq!(
        violations(&Source::new(
            Path::new("src/new.rs"),
            "new",
            "use crate::fsx;\n"
        ))
        .len(),
        1
    );
}

#[test]
fn lines_are_not_too_long() {
    let long: Vec<_> = sources()
        .iter()
        .flat_map(|source| {
            let path = source.path.display().to_string();
            source
                .lines
                .iter()
                .enumerate()
                .filter(|(_, line)| line.chars().count() > 160)
                .map(|(i, _)| format!("{path}:{}", i + 1))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}
