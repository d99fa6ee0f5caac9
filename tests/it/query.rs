//! Asking the data space: find, schema, diff, table, check --repair.

use crate::support::env::{Env, Ran, program, write_job};
use crate::support::python::{self, python, signac};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use sweepfs::catalog::{Catalog, LiveFacts, write_schema, write_table};
use sweepfs::filter::Filter;
use sweepfs::pyjson::parse;
use sweepfs::report::Silent;
use sweepfs::statepoint::StatePoint;
use sweepfs::workspace::Project;

fn id(statepoint: &str) -> String {
    StatePoint::from_value(parse(statepoint).unwrap())
        .unwrap()
        .id()
        .to_string()
}

/// A project of twelve jobs, some with documents.
fn rockets(env: &Env) -> PathBuf {
    let root = env.project("p");
    env.run(
        &root,
        &[
            "create",
            "-q",
            "angle=30,45,60",
            "velocity=6,8.5",
            "gas=argon,neon",
        ],
    )
    .success();
    let ids = env.run(&root, &["find", "gas=argon"]);
    for (i, id) in ids.success().lines().enumerate() {
        let (distance, done) = (
            format!("distance={}.5", i * 10),
            format!("done={}", i % 2 == 0),
        );
        env.run(&root, &["document", id, &distance, &done])
            .success();
    }
    root
}

fn lines(ran: &Ran) -> Vec<String> {
    ran.success().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn find_takes_expressions_and_the_forms_of_signac() {
    let env = Env::new();
    let root = rockets(&env);
    let count = |args: &[&str]| {
        env.run(&root, &[&["find", "--count"], args].concat())
            .success()
            .trim()
            .to_owned()
    };
    assert_eq!(count(&[]), "12");
    assert_eq!(count(&["angle>=45 and not gas=neon"]), "4");
    assert_eq!(count(&["angle>=45", "gas=neon"]), "4");
    assert_eq!(count(&["-f", "angle>=45", "gas=neon"]), "4");
    assert_eq!(count(&["angle=30", "-f", "gas", "neon"]), "2");
    assert_eq!(count(&["angle", "45"]), "4");
    assert_eq!(count(&["{\"velocity\": {\"$gt\": 8}}"]), "6");
    assert_eq!(count(&["velocity.$gt", "8", "gas", "/^a/"]), "3");
    assert_eq!(count(&["angle", "-1"]), "0");
    assert_eq!(count(&["angle>-1.5"]), "12");
    for number in ["-.5", "-1.5E-3", "-1e300", "-inf", "-Infinity", "-nan"] {
        assert_eq!(
            count(&["angle.$gt", number]),
            if number == "-nan" { "0" } else { "12" }
        );
        assert_eq!(
            count(&["-f", "angle.$gt", number, "-n", "99"]),
            count(&["angle.$gt", number])
        );
    }
    assert_eq!(count(&["doc.distance>=20"]), "4");
    assert_eq!(count(&["not doc.done"]), "9");
    assert_eq!(count(&["--limit", "5"]), "5");
    let ran = env.run(&root, &["find", "angle", "45"]);
    assert!(
        ran.stderr
            .contains("Interpreted filter arguments as '{\"angle\": 45}'."),
        "{ran:?}"
    );
}

#[test]
fn find_shows_sorts_and_limits() {
    let env = Env::new();
    let root = rockets(&env);
    let sorted = lines(&env.run(
        &root,
        &[
            "find",
            "--sort",
            "doc.distance",
            "--reverse",
            "-n",
            "2",
            "--doc",
            "distance",
        ],
    ));
    assert_eq!(
        (sorted[1].as_str(), sorted[3].as_str()),
        ("{'distance': 50.5}", "{'distance': 40.5}")
    );
    let all = lines(&env.run(&root, &["find", "--sort", "doc.distance"]));
    assert_eq!(all.len(), 12, "jobs without the key come last");
    let json = env.run(
        &root,
        &[
            "find",
            "--json",
            "angle=30",
            "velocity=6",
            "gas=argon",
            "--doc",
            "done",
        ],
    );
    let value: serde_json::Value = serde_json::from_str(json.success()).unwrap();
    assert_eq!(value["statepoint"]["angle"], 30);
    assert!(value["document"]["done"].is_boolean() && value["document"]["distance"].is_null());
}

#[test]
fn ids_on_standard_input_select() {
    let env = Env::new();
    let root = rockets(&env);
    let ids = env.run(&root, &["find", "angle=30"]).success().to_owned();
    let with_ids = |args: &[&str]| env.run_with_input(&root, args, &ids);
    assert_eq!(with_ids(&["find", "-j", "-"]).success(), ids);
    assert_eq!(
        with_ids(&["find", "-j", "-", "--count", "-f", "gas=neon"]).success(),
        "2\n"
    );
    assert!(
        with_ids(&["schema", "-j", "-"])
            .success()
            .contains(" 'angle': 'int([30], 1)',")
    );
    assert_eq!(lines(&with_ids(&["diff", "-"])).len(), 8);
    assert_eq!(lines(&with_ids(&["table", "gas", "-j", "-"])).len(), 5);
    assert_eq!(lines(&with_ids(&["statepoint", "-"])).len(), 4);
    assert_eq!(
        lines(&with_ids(&["document", "-", "-f", "exists(doc.done)"])).len(),
        2
    );
    assert_eq!(
        with_ids(&["check", "-j", "-"]).stderr,
        "4 jobs, all sound\n"
    );
    let some = env.run(&root, &["check", "-f", "gas=neon"]);
    assert_eq!(some.stderr, "6 jobs, all sound\n");
    let first = &ids[..6];
    assert_eq!(
        env.run(&root, &["find", "-j", first]).success().trim(),
        &ids[..32]
    );
    let ran = env.run(&root, &["find", "-j", "zzzz"]);
    assert!(
        ran.failure(1).contains("no job has the id `zzzz`"),
        "{ran:?}"
    );
    let ran = env.run(&root, &["table", "-j", ""]);
    assert!(
        ran.failure(1).contains("is the beginning of 12 ids"),
        "{ran:?}"
    );
}

/// Runs a command of both programs; jobs may come in another order.
#[track_caller]
fn check_like_signac(env: &Env, python: &Path, root: &Path, args: &[&str]) {
    let (ours, theirs) = (env.run(root, args), signac(env, python, root, args));
    let blocks = |ran: &Ran| {
        let is_id = |line: &&str| line.len() == 32 && !line.contains(['{', ' ']);
        let mut blocks: Vec<Vec<String>> = vec![Vec::new()];
        for line in ran.success().lines() {
            if is_id(&line) {
                blocks.push(Vec::new());
            }
            blocks.last_mut().unwrap().push(line.to_owned());
        }
        blocks.sort();
        blocks
    };
    assert_eq!(blocks(&ours), blocks(&theirs), "{args:?}");
}

#[test]
fn output_reads_like_that_of_signac() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let root = env.project("p");
    let jobs = [
        r#"{"a": 0, "b": {"x": 0.125, "y": "it's"}, "l": [1, 2]}"#,
        r#"{"a": 1, "b": {"x": 1e-7, "y": "b"}, "l": [3]}"#,
        r#"{"a": 2, "b": {"x": 2.5, "y": "b"}, "n": null}"#,
        r#"{"a": 3, "b": {"x": 3.5}, "s": "z"}"#,
        r#"{"a": 4, "b": {"x": 4.0}, "s": "z"}"#,
        r#"{"a": 5, "b": {"x": 5.0}, "s": "z"}"#,
        r#"{"a": 6, "b": {"x": 6.0}, "s": "z"}"#,
    ];
    let ids: Vec<_> = jobs.iter().map(|job| id(job)).collect();
    jobs.iter().for_each(|job| drop(write_job(&root, job)));
    let check = |args: &[&str]| check_like_signac(&env, &python, &root, args);
    for args in [
        &["schema"][..],
        &["schema", "-x"],
        &["schema", "-p", "1"],
        &["schema", "-r", "3"],
        &["schema", "-r", "9"],
    ] {
        check(args);
    }
    check(&["schema", "-f", "a.$gt", "1"]);
    check(&["diff", &ids[0], &ids[1]]);
    check(&["diff", &ids[3], &ids[4], &ids[5]]);
    check(&["diff", &ids[4]]);
    check(&["find", "a", "3", "--sp"]);
    check(&["find", "a", "3", "--sp", "b", "s"]);
    check(&["find", "a", "3", "--doc"]);
}

#[test]
fn schema_counts_and_sees_types_and_documents() {
    let env = Env::new();
    let root = env.project("p");
    for job in [
        r#"{"v": 1}"#,
        r#"{"v": true}"#,
        r#"{"v": 1.0}"#,
        r#"{"v": {"w": 1}}"#,
        r#"{"v": "x"}"#,
    ] {
        write_job(&root, job);
    }
    let text = env.run(&root, &["schema"]);
    assert!(
        text.success()
            .contains(" 'v': 'bool([True], 1), int([1], 1), float([1.0], 1), str([x], 1)',"),
        "{text:?}"
    );
    let json = env.run(&root, &["schema", "--json"]);
    let first: serde_json::Value =
        serde_json::from_str(json.success().lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["key"], &first["jobs"], &first["constant"]),
        (&"v".into(), &5.into(), &false.into())
    );
    assert_eq!(first["types"]["int"]["max"], 1);
    env.run(&root, &["document", &id(r#"{"v": 1}"#), "x=2"])
        .success();
    assert!(
        env.run(&root, &["schema", "--doc"])
            .success()
            .contains(" 'doc.x': 'int([2], 1)',")
    );
    assert_eq!(
        env.run(&root, &["schema", "-f", "v=nothing"]).success(),
        "{\n}\n"
    );
}

#[test]
fn diff_tells_apart_what_signac_confuses() {
    let env = Env::new();
    let root = env.project("p");
    let jobs = [r#"{"a": 1, "e": {}}"#, r#"{"a": 1.0, "e": {"f": {}}}"#];
    jobs.iter().for_each(|job| drop(write_job(&root, job)));
    let ran = env.run(&root, &["diff", "--json"]);
    for job in jobs {
        let line = format!(
            "{{\"id\": \"{}\", \"difference\": {}}}",
            id(job),
            parse(job).map(|v| sweepfs::pyjson::canonical(&v)).unwrap()
        );
        let found = ran.success().lines().any(|other| {
            let canonical = |text: &str| sweepfs::pyjson::canonical(&parse(text).unwrap());
            canonical(other) == canonical(&line)
        });
        assert!(found, "{line}: {ran:?}");
    }
}

#[test]
fn tables_in_every_format() {
    let env = Env::new();
    let root = env.project("p");
    for job in [
        r#"{"a": 1, "n": {"x": [1, "é"], "y": null}}"#,
        r#"{"a": 2.5, "n": {"x": "p|q,\"r\"\n"}}"#,
    ] {
        write_job(&root, job);
    }
    env.run(
        &root,
        &[
            "document",
            &id(r#"{"a": 1, "n": {"x": [1, "é"], "y": null}}"#),
            "d=true",
        ],
    )
    .success();
    let table = |args: &[&str]| {
        env.run(
            &root,
            &[&["table", "--no-id", "--sort", "a"], args].concat(),
        )
        .success()
        .to_owned()
    };
    assert_eq!(
        table(&["--format", "csv"]),
        "a,n.x,n.y,doc.d\n1,\"[1, \"\"\\u00e9\"\"]\",null,true\n2.5,\"p|q,\"\"r\"\"\n\",,\n"
    );
    assert_eq!(
        table(&["n", "--format", "tsv", "-f", "a=1"]),
        "n.x\tn.y\n\"[1, \"\"\\u00e9\"\"]\"\tnull\n"
    );
    assert_eq!(
        table(&["--json"]),
        "{\"a\": 1, \"n.x\": [1, \"\\u00e9\"], \"n.y\": null, \"doc.d\": true}\n{\"a\": 2.5, \"n.x\": \"p|q,\\\"r\\\"\\n\"}\n"
    );
    assert_eq!(
        table(&["a", "n.x", "--format", "markdown"]),
        "| a | n.x |\n|---|---|\n| 1 | [1, \"\\u00e9\"] |\n| 2.5 | p\\|q,\"r\"\\n |\n"
    );
    assert_eq!(
        table(&["a", "doc.d", "--reverse"]),
        "a    doc.d\n2.5\n1    true\n"
    );
    assert_eq!(
        table(&["-x", "-f", "a=1"]),
        "",
        "with one job nothing varies"
    );
    let rows = env.run(&root, &["table", "a"]);
    assert!(rows.success().starts_with("id "), "{rows:?}");
}

/// A program that keeps the documents of all jobs in memory sees no more in a table of some.
#[test]
fn engines_write_what_the_commands_print() {
    let env = Env::new();
    let root = rockets(&env);
    let workspace = Project::discover(&root).unwrap().workspace();
    let catalog = Catalog::load(&workspace, None, 0, &Silent).unwrap();
    let live = LiveFacts::new(&workspace, None);
    let written = |filter: &str, format: &str| {
        let filter = Filter::parse(filter).unwrap();
        let mut out = Vec::new();
        live.ask(&catalog.snapshot(), 0, i64::MAX, |facts| {
            let jobs = facts.select(&filter, &facts.all())?;
            match format {
                "schema" => write_schema(facts, &jobs, &mut out).unwrap(),
                "csv" => write_table(facts, &jobs, b',', &mut out).unwrap(),
                _ => write_table(facts, &jobs, b'\t', &mut out).unwrap(),
            }
            Ok(())
        })
        .unwrap();
        String::from_utf8(out).unwrap()
    };
    for filter in [
        "exists(gas)",
        "gas=neon",
        "doc.done=true",
        "angle=30",
        "angle=31",
    ] {
        for format in ["csv", "tsv"] {
            let printed = env.run(&root, &["table", "--format", format, "-f", filter]);
            assert_eq!(written(filter, format), printed.success(), "{filter}");
        }
        let printed = env.run(&root, &["schema", "-f", filter]);
        assert_eq!(written(filter, "schema"), printed.success(), "{filter}");
    }
    assert!(
        written("doc.done=true", "csv")
            .starts_with("id,angle,gas,velocity,doc.distance,doc.done\n")
    );
    assert!(written("gas=neon", "tsv").starts_with("id\tangle\tgas\tvelocity\n"));
    assert_eq!(written("angle=31", "tsv"), "id\n");
}

#[test]
fn statistics_of_groups() {
    let env = Env::new();
    let root = rockets(&env);
    assert_eq!(
        env.run(
            &root,
            &["table", "angle", "doc.distance", "--stats", "--by", "gas"]
        )
        .success(),
        "gas    jobs  angle.min  angle.mean  angle.max  doc.distance.min  doc.distance.mean  doc.distance.max\n\
         argon  6     30         45.0        60         0.5               25.5               50.5\n\
         neon   6     30         45.0        60\n"
    );
    let all = env.run(&root, &["table", "velocity", "--stats", "--json"]);
    assert_eq!(
        all.success(),
        "{\"jobs\": 12, \"velocity.min\": 6, \"velocity.mean\": 7.25, \"velocity.max\": 8.5}\n"
    );
    let two = env.run(
        &root,
        &[
            "table",
            "angle",
            "--stats",
            "--by",
            "gas",
            "--by",
            "velocity",
            "--sort",
            "angle.mean",
            "-n",
            "3",
        ],
    );
    assert_eq!(two.success().lines().count(), 4);
    let wrong = env.run(&root, &["table", "angle", "--stats", "--sort", "angle"]);
    assert!(
        wrong.failure(2).contains("the columns are jobs, angle.min"),
        "{wrong:?}"
    );
}

#[test]
fn keys_that_no_job_has_are_named() {
    let env = Env::new();
    let root = rockets(&env);
    for args in [
        &["find", "angel=45"][..],
        &["schema", "-f", "angel>3"],
        &["table", "-f", "not", "angel"],
    ] {
        let ran = env.run(&root, args);
        ran.success();
        assert!(
            ran.stderr
                .contains("warning: no job has the key `angel`\nhint: did you mean `angle`?"),
            "{ran:?}"
        );
    }
    let ran = env.run(&root, &["table", "angel"]);
    assert!(ran.stderr.contains("did you mean `angle`?"), "{ran:?}");
}

#[test]
fn the_examples_of_help_work() {
    let env = Env::new();
    let root = rockets(&env);
    let bin = Path::new(program()).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for name in ["find", "schema", "table"] {
        let help = env.run(&root, &[name, "--help"]);
        let examples = help
            .success()
            .lines()
            .skip_while(|line| *line != "Examples:");
        let examples: Vec<_> = examples
            .filter(|line| line.starts_with("  sweepfs "))
            .collect();
        assert!(examples.len() >= 3, "{help:?}");
        for example in examples {
            let mut command = env.in_env(Command::new("bash"), &root, &["-c", example]);
            command.env("PATH", &path);
            let ran = Ran::of(command);
            assert_eq!(ran.code, Some(0), "{example}: {ran:?}");
        }
    }
}

#[test]
fn help_knows_commands_and_topics() {
    let env = Env::new();
    let help = |args: &[&str]| env.run(&env.path(), &[&["help"], args].concat());
    assert!(help(&[]).success().contains("update-cache"));
    assert!(help(&["table"]).success().contains("--stats"));
    let page = help(&["filters"]).success().to_owned();
    assert!(page.contains("near("), "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 100));
    assert!(help(&["filter"]).failure(2).contains("hint: "));
}

#[test]
fn repair_mends_what_can_be_mended() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "-q", "n=0:9:1"]).success();
    env.run(&root, &["update-cache"]).success();
    let dir = |n: u32| root.join("workspace").join(id(&format!("{{\"n\": {n}}}")));
    let file = |n: u32| dir(n).join("signac_statepoint.json");
    let backup = |n: u32| dir(n).join("signac_statepoint.json~");
    // Truncated, missing: in the cache.
    fs::write(file(0), "{\"n\": ").unwrap();
    fs::remove_file(file(1)).unwrap();
    // Jobs that the cache does not know.
    for n in 100..106 {
        write_job(&root, &format!("{{\"n\": {n}}}"));
    }
    // signac was killed while it changed a state point: before and after renaming the directory.
    fs::rename(file(100), backup(100)).unwrap();
    fs::rename(file(101), backup(101)).unwrap();
    fs::rename(dir(101), dir(900)).unwrap();
    // Another state point than the name says; the place of its own is free, or taken.
    fs::rename(dir(102), dir(901)).unwrap();
    fs::write(file(103), "{\"n\": 2}").unwrap();
    // An empty directory, an abandoned build, and one that nothing can be known of.
    fs::create_dir(dir(902)).unwrap();
    let build = root.join("workspace/.sweepfs-6c1f9a52-7d57-4c8e-9f0b-2f4f0d5b7a11");
    fs::create_dir(&build).unwrap();
    fs::write(build.join("signac_statepoint.json"), "{\"n\"").unwrap();
    // Not ours, whatever it looks like.
    let own = root.join("workspace/.sweepfs-backup");
    fs::create_dir(&own).unwrap();
    fs::write(file(104), "nonsense").unwrap();
    // A write of signac's was cut off before the rename.
    fs::rename(file(105), dir(105).join("._0-1_signac_statepoint.json")).unwrap();

    let plan = env.run(&root, &["check", "--repair", "--dry-run", "--min-age", "0"]);
    assert_eq!(
        (plan.code, plan.stdout.lines().count()),
        (Some(3), 8),
        "{plan:?}"
    );
    assert!(!file(1).exists() && build.exists());
    let careful = env.run(&root, &["check", "--repair"]);
    assert_eq!(careful.stdout, "", "a signac process may be at it");
    assert!(
        careful.stderr.contains("8 problems left alone"),
        "{careful:?}"
    );
    let repaired = env.run(&root, &["check", "--repair", "--min-age", "0"]);
    assert_eq!(
        (repaired.code, &repaired.stdout),
        (Some(3), &plan.stdout),
        "{repaired:?}"
    );
    for n in [0, 1, 100, 101, 102, 105] {
        assert_eq!(
            fs::read_to_string(file(n)).unwrap(),
            format!("{{\"n\": {n}}}"),
            "{n}"
        );
    }
    assert!(!dir(900).exists() && !dir(901).exists() && !dir(902).exists() && !build.exists());
    let kept = fs::read_dir(dir(0))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    assert!(
        kept.into_iter()
            .any(|path| fs::read(path).unwrap() == b"{\"n\": "),
        "the damaged file is kept"
    );
    let one = env.run(&root, &["check", "-j", &id("{\"n\": 104}")]);
    assert_eq!((one.code, one.stdout.lines().count()), (Some(3), 1));
    let left = env.run(&root, &["check"]);
    assert_eq!(
        (left.code, left.stdout.lines().count()),
        (Some(3), 2),
        "{left:?}"
    );
    assert_eq!(env.run(&root, &["find", "--count"]).stdout, "14\n");
    let Some(python) = python() else { return };
    let script = "
import shutil, sys, signac
for id in sys.argv[1:]:
    shutil.rmtree('workspace/' + id)
signac.get_project().check()
";
    let ids = [103, 104].map(|n| id(&format!("{{\"n\": {n}}}")));
    python::run(&env, &python, &root, script, &[&ids[0], &ids[1]]);
}

#[test]
fn updating_the_cache_keeps_what_only_the_cache_knows() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "-q", "n=1:3:1"]).success();
    env.run(&root, &["update-cache"]).success();
    let file = root
        .join("workspace")
        .join(id("{\"n\": 2}"))
        .join("signac_statepoint.json");
    fs::write(&file, "").unwrap();
    env.run(&root, &["create", "-q", "n=9"]).success();
    assert_eq!(env.run(&root, &["update-cache"]).code, Some(3));
    env.run(&root, &["check", "--repair", "--min-age", "0"])
        .success();
    assert_eq!(fs::read_to_string(file).unwrap(), "{\"n\": 2}");
}

#[test]
fn columns_have_names_of_their_own() {
    let env = Env::new();
    let root = env.project("p");
    let job = r#"{"id": "x", "doc": {"y": 1}, "jobs": 2, "init": {"seed": 1}}"#;
    let dir = write_job(&root, job);
    fs::write(dir.join("signac_job_document.json"), "{\"y\": 3}").unwrap();
    write_job(&root, r#"{"init": 5}"#);
    let json = env.run(&root, &["table", "--json", "-f", "jobs=2"]);
    let row: serde_json::Value = serde_json::from_str(json.success()).unwrap();
    let expected = serde_json::json!({
        "id": id(job), "sp.id": "x", "sp.doc.y": 1, "doc.y": 3, "sp.jobs": 2, "init.seed": 1
    });
    assert_eq!(row, expected);
    let csv = |args: &[&str]| {
        let args = [&["table", "--format", "csv"], args].concat();
        env.run(&root, &args)
            .success()
            .lines()
            .next()
            .map(ToOwned::to_owned)
    };
    assert_eq!(
        csv(&["init", "init", "-f", "jobs=2"]).as_deref(),
        Some("id,init,init.seed")
    );
    assert_eq!(
        csv(&["sp.doc.y", "-f", "jobs=99"]).as_deref(),
        Some("id,sp.doc.y")
    );
    assert_eq!(csv(&["--no-id", "-f", "jobs=99"]), None);
    assert!(
        env.run(&root, &["schema"])
            .success()
            .contains(" 'doc.y': 'int([1], 1)',")
    );
    assert!(
        env.run(&root, &["schema", "--doc"])
            .success()
            .contains(" 'sp.doc.y': 'int([1], 1)',")
    );
}

#[test]
fn nothing_is_removed_that_may_be_in_use() {
    let env = Env::new();
    let root = env.project("p");
    fs::create_dir(root.join("workspace").join(id("{\"n\": 1}"))).unwrap();
    let build = root.join("workspace/.sweepfs-6c1f9a52-7d57-4c8e-9f0b-2f4f0d5b7a11");
    fs::create_dir(&build).unwrap();
    fs::write(build.join("data"), "precious").unwrap();
    let ran = env.run(&root, &["check", "--repair", "--min-age", "0"]);
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (Some(3), 1),
        "{ran:?}"
    );
    fs::create_dir(root.join("workspace").join(id("{\"n\": 1}"))).unwrap();
    let ran = env.run(&root, &["check", "--repair"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""), "{ran:?}");
    assert_eq!(fs::read_dir(root.join("workspace")).unwrap().count(), 2);
}
