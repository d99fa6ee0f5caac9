//! The catalog on disk: what it answers, and what it survives.

use crate::support::env::{Env, Ran, program, write_job};
use crate::support::python::{self, python};
use crate::support::{skip, wait_until};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use sweepfs::catalog::{Reader, Store};
use sweepfs::filter::Filter;
use sweepfs::pyjson::{Object, parse};
use sweepfs::report::Silent;
use sweepfs::statepoint::{JobId, StatePoint};
use sweepfs::workspace::Project;

/// Longer than the granularity within which a listing is not trusted.
const SETTLE: Duration = Duration::from_millis(150);

fn catalog(root: &Path) -> PathBuf {
    root.join(".sweepfs/catalog")
}

/// Makes a project of 60 jobs whose catalog is current.
fn indexed(env: &Env) -> PathBuf {
    let root = env.project("p");
    env.run(
        &root,
        &["create", "-q", "a=0:9:1", "b=1,2.5,x", "c=true,null"],
    )
    .success();
    std::thread::sleep(SETTLE);
    assert_eq!(env.run(&root, &["find", "--count"]).success(), "60\n");
    root
}

fn count(env: &Env, root: &Path, filter: &[&str]) -> String {
    let args = [&["find", "--count"], filter].concat();
    env.run(root, &args).success().trim().to_owned()
}

/// The id of the one job that satisfies a filter.
fn the_id(env: &Env, root: &Path, filter: &[&str]) -> String {
    let found = env.run(root, &[&["find"], filter].concat());
    let id = found.success().trim();
    assert_eq!(id.len(), JobId::LEN, "{found:?}");
    id.to_owned()
}

#[test]
fn a_warm_question_reads_no_job() {
    let env = Env::new();
    let root = indexed(&env);
    for entry in fs::read_dir(root.join("workspace")).unwrap() {
        fs::remove_file(entry.unwrap().path().join("signac_statepoint.json")).unwrap();
    }
    assert_eq!(count(&env, &root, &["a=3"]), "6");
    assert_eq!(count(&env, &root, &["a>=5", "b=2.5"]), "10");
    let schema = env.run(&root, &["schema"]);
    assert!(
        schema
            .success()
            .contains(" 'b': 'int([1], 1), float([2.5], 1), str([x], 1)',"),
        "{schema:?}"
    );
    // `check` does read them.
    assert_eq!(env.run(&root, &["check"]).code, Some(3));
}

#[test]
fn added_and_removed_jobs_are_noticed() {
    let env = Env::new();
    let root = indexed(&env);
    let job = write_job(&root, r#"{"a": 3, "new": 1}"#);
    assert_eq!(count(&env, &root, &["a=3"]), "7");
    assert_eq!(count(&env, &root, &["new=1"]), "1");
    fs::remove_dir_all(job).unwrap();
    assert_eq!(count(&env, &root, &["a=3"]), "6");
    std::thread::sleep(SETTLE);
    assert_eq!(count(&env, &root, &["a=3"]), "6");
    assert_eq!(count(&env, &root, &["new"]), "0");
}

#[test]
fn a_damaged_file_is_made_anew() {
    let env = Env::new();
    let root = indexed(&env);
    let sound = fs::read(catalog(&root)).unwrap();
    let n = sound.len();
    let mut damaged: Vec<Vec<u8>> = [0, 1, 100, 4095, 4096, 5000, n - 1]
        .into_iter()
        .map(|n| sound[..n].to_vec())
        .collect();
    // In a set, in a block, in the entries, in the contents.
    for at in [20, 4100, 8200, n / 2, n - 200, n - 3] {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        damaged.push(bytes);
    }
    damaged.push(b"not a catalog".to_vec());
    for bytes in damaged {
        fs::write(catalog(&root), &bytes).unwrap();
        for (filter, expected) in [("a=3", "6"), ("b=x", "20"), ("c=null", "30")] {
            assert_eq!(count(&env, &root, &[filter]), expected);
        }
        assert_eq!(env.run(&root, &["find"]).success().lines().count(), 60);
        assert_eq!(env.run(&root, &["table"]).success().lines().count(), 61);
        assert_eq!(fs::read(catalog(&root)).unwrap(), sound, "written anew");
    }
}

#[test]
fn a_project_that_cannot_be_written_is_indexed_in_the_cache() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "-q", "a=0:9:1"]).success();
    fs::write(root.join(".sweepfs"), "in the way").unwrap();
    std::thread::sleep(SETTLE);
    assert_eq!(count(&env, &root, &["a=3"]), "1");
    let caches = fs::read_dir(env.home().join(".cache/sweepfs")).unwrap();
    let files: Vec<_> = caches
        .map(|dir| dir.unwrap().path().join("catalog"))
        .collect();
    assert!(files.len() == 1 && files[0].exists(), "{files:?}");
    for entry in fs::read_dir(root.join("workspace")).unwrap() {
        fs::remove_file(entry.unwrap().path().join("signac_statepoint.json")).unwrap();
    }
    assert_eq!(count(&env, &root, &["a=3"]), "1");
}

#[test]
fn a_file_of_a_stranger_is_not_believed() {
    let env = Env::new();
    let root = indexed(&env);
    if std::os::unix::fs::chown(catalog(&root), Some(12345), None).is_err() {
        return skip("only root can give files away");
    }
    let stranger = fs::read(catalog(&root)).unwrap();
    for entry in fs::read_dir(root.join("workspace")).unwrap() {
        fs::remove_file(entry.unwrap().path().join("signac_statepoint.json")).unwrap();
    }
    let ran = env.run(&root, &["find", "--count"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), "0\n"));
    assert_ne!(fs::read(catalog(&root)).unwrap(), stranger);
    // Who may change the jobs may also say what they are.
    fs::write(catalog(&root), &stranger).unwrap();
    std::os::unix::fs::chown(catalog(&root), Some(12345), None).unwrap();
    set_mode(&root.join("workspace"), 0o777);
    let ran = env.run(&root, &["find", "--count"]);
    // The mode moved the stamp, so the jobs are listed again, and found in the file.
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "60\n"));
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_full_disk_costs_only_the_file() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "-q", "a=0:99:1"]).success();
    let script = format!(
        "trap '' XFSZ; ulimit -f 4; '{}' find --count 'a<50'",
        program()
    );
    let ran = Ran::of(env.in_env(Command::new("bash"), &root, &["-c", &script]));
    assert_eq!(ran.success(), "50\n");
    let left: Vec<_> = fs::read_dir(root.join(".sweepfs")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(count(&env, &root, &["a<50"]), "50");
    assert!(catalog(&root).exists());
}

#[test]
fn many_at_once_agree() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "-q", "a=0:299:1"]).success();
    for round in 0..5 {
        write_job(&root, &format!("{{\"b\": {round}}}"));
        let running: Vec<_> = (0..8)
            .map(|_| {
                env.command(&root, &["find", "--count"])
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for child in running {
            let output = child.wait_with_output().unwrap();
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                format!("{}\n", 301 + round)
            );
        }
    }
}

#[test]
fn a_kill_at_any_moment_leaves_right_answers() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "-q", "a=0:1999:1", "b=0:2:1"])
        .success();
    for moment in 0..30 {
        let _ = fs::remove_file(catalog(&root));
        let mut child = env
            .command(&root, &["find", "--count"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(2 * moment));
        let _ = child.kill();
        child.wait().unwrap();
        assert_eq!(count(&env, &root, &["b=1", "a<100"]), "100");
    }
}

#[test]
fn a_workspace_that_vanishes_is_no_crash() {
    let env = Env::new();
    for moment in 0..8 {
        let root = env.project(&format!("p{moment}"));
        env.run(&root, &["create", "-q", "a=0:999:1"]).success();
        let mut command = env.command(&root, &["table", "--format", "csv"]);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        fs::rename(root.join("workspace"), root.join("gone")).unwrap();
        let output = child.wait_with_output().unwrap();
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1 | 3)), "{output:?}");
    }
}

#[test]
fn a_clock_that_is_set_back_hides_nothing() {
    let env = Env::new();
    let root = indexed(&env);
    let workspace = fs::File::open(root.join("workspace")).unwrap();
    workspace
        .set_modified(SystemTime::now() + Duration::from_secs(86_400))
        .unwrap();
    assert_eq!(count(&env, &root, &["a=3"]), "6");
    let future = workspace.metadata().unwrap().modified().unwrap();
    write_job(&root, r#"{"a": 3}"#);
    workspace.set_modified(future).unwrap();
    assert_eq!(count(&env, &root, &["a=3"]), "7");
}

#[test]
fn a_job_made_again_under_its_id_is_read_again() {
    let env = Env::new();
    let root = indexed(&env);
    let id = the_id(&env, &root, &["a=3", "b=x", "c=null"]);
    let job = root.join("workspace").join(&id);
    // Another directory keeps the inode from being used again at once.
    fs::rename(&job, root.join("elsewhere")).unwrap();
    fs::create_dir(&job).unwrap();
    let ran = env.run(&root, &["find", "--count"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(3), "59\n"),
        "{ran:?}"
    );
    fs::remove_dir(&job).unwrap();
    fs::rename(root.join("elsewhere"), &job).unwrap();
    assert_eq!(count(&env, &root, &["a=3"]), "6");
}

#[test]
fn a_workspace_that_is_away_is_not_an_empty_one() {
    let env = Env::new();
    let root = env.project("p");
    fs::rename(root.join("workspace"), root.join("scratch")).unwrap();
    std::os::unix::fs::symlink("scratch", root.join("workspace")).unwrap();
    env.run(&root, &["create", "-q", "a=0:4:1"]).success();
    // So that the catalog is in the user's cache.
    fs::write(root.join(".sweepfs"), "in the way").unwrap();
    std::thread::sleep(SETTLE);
    assert_eq!(count(&env, &root, &[]), "5");
    fs::rename(root.join("scratch"), root.join("away")).unwrap();
    env.run(&root, &["find", "--count"]).failure(1);
    fs::rename(root.join("away"), root.join("scratch")).unwrap();
    assert_eq!(count(&env, &root, &[]), "5");
}

#[test]
fn a_check_that_finds_damage_corrects_the_catalog() {
    let env = Env::new();
    let root = indexed(&env);
    let id = the_id(&env, &root, &["a=3", "b=x", "c=null"]);
    let file = root
        .join("workspace")
        .join(&id)
        .join("signac_statepoint.json");
    fs::write(&file, "{").unwrap();
    assert_eq!(
        count(&env, &root, &[]),
        "60",
        "not noticed as long as no entry came or went"
    );
    assert_eq!(env.run(&root, &["check"]).code, Some(3));
    let ran = env.run(&root, &["find", "--count"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(3), "59\n"),
        "{ran:?}"
    );
    let before = fs::metadata(catalog(&root)).unwrap().modified().unwrap();
    env.run(&root, &["check"]).failure(3);
    assert_eq!(
        fs::metadata(catalog(&root)).unwrap().modified().unwrap(),
        before,
        "known already"
    );
}

#[test]
fn after_a_check_no_cache_speaks_for_a_damaged_file() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "-q", "a=0:599:1"]).success();
    env.run(&root, &["update-cache"]).success();
    let id = env.run(&root, &["find", "a=3"]).success().trim().to_owned();
    fs::write(
        root.join("workspace")
            .join(&id)
            .join("signac_statepoint.json"),
        "{",
    )
    .unwrap();
    fs::remove_file(catalog(&root)).unwrap();
    assert_eq!(count(&env, &root, &["a=3"]), "1", "signac's cache knows it");
    assert_eq!(env.run(&root, &["check"]).code, Some(3));
    let ran = env.run(&root, &["find", "a=3"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""), "{ran:?}");
    env.run(&root, &["check", "--repair", "--min-age", "0"])
        .success();
    assert_eq!(count(&env, &root, &["a=3"]), "1");
}

#[test]
fn a_cache_that_unpacks_to_anything_is_no_danger() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "-q", "a=0:599:1"]).success();
    let cache = root.join(".signac/statepoint_cache.json.gz");
    let bomb = format!(
        "(printf '{{\"{:032}\": ['; yes 0, | tr -d '\\n' | head -c 2000000000) | gzip -1 > '{}'",
        0,
        cache.display()
    );
    assert!(
        Command::new("bash")
            .args(["-c", &bomb])
            .status()
            .unwrap()
            .success()
    );
    let limited = format!("ulimit -v 3000000; '{}' find --count", program());
    let ran = Ran::of(env.in_env(Command::new("bash"), &root, &["-c", &limited]));
    assert_eq!(ran.success(), "600\n");
    fs::remove_file(&cache).unwrap();
    fs::remove_file(catalog(&root)).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&cache)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(count(&env, &root, &[]), "600");
}

#[test]
fn documents_are_followed() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "-q", "a=0:299:1"]).success();
    let job = |a: u32| {
        let id = StatePoint::from_value(parse(&format!("{{\"a\": {a}}}")).unwrap())
            .unwrap()
            .id();
        root.join("workspace").join(id.to_string())
    };
    let document = |a: u32| job(a).join("signac_job_document.json");
    (0..300).for_each(|a| {
        fs::write(
            document(a),
            format!("{{\"x\": {}, \"f\": {{\"g\": 1}}}}", a % 2),
        )
        .unwrap();
    });
    assert_eq!(count(&env, &root, &["doc.x=1"]), "150");
    assert_eq!(count(&env, &root, &["doc.x=1", "doc.f.g=1", "a<10"]), "5");
    std::thread::sleep(SETTLE);
    assert_eq!(count(&env, &root, &["doc.x=1"]), "150");
    assert!(root.join(".sweepfs/documents").exists());
    // Another content of the same size, a removed one, another job in place of one.
    fs::write(document(1), "{\"x\": 0, \"f\": {\"g\": 1}}").unwrap();
    fs::remove_file(document(3)).unwrap();
    fs::remove_dir_all(job(5)).unwrap();
    write_job(&root, r#"{"a": 5}"#);
    fs::write(document(5), "{\"x\": 2}").unwrap();
    assert_eq!(count(&env, &root, &["doc.x=1"]), "147");
    assert_eq!(count(&env, &root, &["doc.x=2"]), "1");
    assert_eq!(count(&env, &root, &["not", "exists(doc.x)"]), "1");
    fs::write(document(7), "{\"x\": ").unwrap();
    let ran = env.run(&root, &["find", "--count", "doc.x=1"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), "146\n"));
    assert!(ran.stderr.contains("its document is not usable"), "{ran:?}");
    assert_eq!(count(&env, &root, &["doc.x=1", "a>100"]), "100");
    fs::write(root.join(".sweepfs/documents"), "damaged").unwrap();
    fs::write(document(7), "{\"x\": 1}").unwrap();
    assert_eq!(count(&env, &root, &["doc.x=1"]), "147");
}

#[test]
fn the_cache_of_signac_is_a_hint() {
    let Some(python) = python() else { return };
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "-q", "a=0:599:1"]).success();
    assert!(
        env.run(&root, &["update-cache"])
            .stderr
            .contains("600 jobs")
    );
    let again = env.run(&root, &["update-cache"]);
    assert!(again.stderr.contains("up to date"), "{again:?}");
    // signac reads what we wrote, and a lie in it is not believed by us.
    let script = "
import gzip, json, signac
project = signac.get_project()
path = '.signac/statepoint_cache.json.gz'
assert project.update_cache() is None
assert len(project.find_jobs({'a': 7})) == 1
cache = json.loads(gzip.open(path).read())
assert len(cache) == 600
for id in list(cache)[:100]:
    cache[id] = {'a': 'a lie'}
gzip.open(path, 'w').write(json.dumps(cache).encode())
";
    python::run(&env, &python, &root, script, &[]);
    assert_eq!(count(&env, &root, &["exists(a)"]), "600");
    assert_eq!(count(&env, &root, &["type(a)=str"]), "0");
    fs::remove_file(catalog(&root)).unwrap();
    fs::write(
        root.join(".signac/statepoint_cache.json.gz"),
        b"\x1f\x8b nonsense",
    )
    .unwrap();
    assert_eq!(count(&env, &root, &["exists(a)"]), "600");
    assert!(
        env.run(&root, &["update-cache"])
            .stderr
            .contains("600 jobs")
    );
    python::run(
        &env,
        &python,
        &root,
        "import signac; assert signac.get_project().update_cache() is None",
        &[],
    );
}

/// Objects as one line of JSON.
fn object() -> impl Strategy<Value = String> {
    let scalar = prop::sample::select(vec![
        "0",
        "1",
        "2",
        "1.0",
        "-0.0",
        "2.5",
        "true",
        "false",
        "null",
        "\"x\"",
        "\"xy\"",
        "[1, 2]",
        "NaN",
        "{}",
        "123456789012345678901234567890",
    ]);
    let value = prop_oneof![
        4 => scalar.clone().prop_map(ToOwned::to_owned),
        1 => ("[ab]", scalar).prop_map(|(key, value)| format!("{{\"{key}\": {value}}}")),
    ];
    prop::collection::btree_map("[a-d]", value, 0..4).prop_map(|entries| {
        let entries = entries
            .into_iter()
            .map(|(key, value)| format!("\"{key}\": {value}"));
        format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
    })
}

fn filter() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "a", "b", "c", "a.b", "doc.a", "doc.b", "doc.a.a", "sp.d",
    ]);
    let condition = prop::sample::select(vec![
        "KEY",
        "KEY=1",
        "KEY!=1",
        "KEY<2",
        "KEY>=1",
        "KEY=1,2.5,x",
        "KEY!=0,true",
        "KEY=[1,2]",
        "exists(KEY)",
        "type(KEY)=str",
        "near(KEY, 1)",
        "KEY ~ '^x'",
        "KEY>\"x\"",
        "KEY=null",
        "KEY>1e20",
    ]);
    let leaf = (key, condition).prop_map(|(key, condition)| condition.replace("KEY", key));
    leaf.prop_recursive(3, 8, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            (several.clone(), Just(" and "))
                .prop_map(|(parts, word)| format!("({})", parts.join(word))),
            (several, Just(" or ")).prop_map(|(parts, word)| format!("({})", parts.join(word))),
            inner.prop_map(|part| format!("not {part}")),
        ]
    })
}

/// What is selected by bitmaps, from the workspace and from the file, is what satisfies the filter
/// when each job is asked.
#[test]
fn bitmaps_select_what_satisfies_the_filter() {
    let config = ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let jobs = prop::collection::vec((object(), prop::option::of(object())), 0..30);
    proptest!(config, |(jobs in jobs, filters in prop::collection::vec(filter(), 1..12))| {
        let env = Env::new();
        let root = env.project("p");
        let mut expected: Vec<(JobId, Object, Object)> = Vec::new();
        for (statepoint, document) in jobs {
            let dir = write_job(&root, &statepoint);
            let id = dir.file_name().unwrap().to_str().unwrap().parse().unwrap();
            if let Some(text) = &document {
                fs::write(dir.join("signac_job_document.json"), text).unwrap();
            }
            let object = |text: &str| parse(text).unwrap().into_object().unwrap();
            expected.retain(|(other, ..)| *other != id);
            let kept = fs::read_to_string(dir.join("signac_job_document.json")).ok();
            expected.push((id, object(&statepoint), kept.map_or_else(Object::new, |text| object(&text))));
        }
        expected.sort_by_key(|(id, ..)| *id);
        let workspace = Project::discover(&root).unwrap().workspace();
        let store = Store::new(&workspace, None);
        // The first is answered from memory, the second from the file.
        for _ in 0..2 {
            let mut reader = Reader::open(&workspace, store.clone(), i64::MAX / 2, &Silent).unwrap();
            for text in &filters {
                let filter = Filter::parse(text).unwrap();
                let satisfied = expected.iter().filter(|(_, sp, doc)| filter.expr().matches(sp, doc));
                let found = reader.ask(&Silent, |facts| facts.ids(&facts.select(&filter, &facts.all())?)).unwrap();
                prop_assert_eq!(found, satisfied.map(|(id, ..)| *id).collect::<Vec<_>>(), "{}", text);
            }
        }
    });
}

#[test]
fn a_mount_starts_from_the_catalog_and_brings_it_up_to_date() {
    if !crate::support::mounted::can_mount() {
        return;
    }
    let env = Env::new();
    let root = indexed(&env);
    write_job(&root, r#"{"a": 10, "b": 1, "c": true}"#);
    let before = fs::read(catalog(&root)).unwrap();
    let mountpoint = crate::support::mounted::mount(&env, &root);
    assert_eq!(
        crate::support::mounted::links(&mountpoint.join("view")).len(),
        61
    );
    wait_until("a new catalog", || {
        fs::read(catalog(&root)).unwrap() != before
    });
    assert_eq!(count(&env, &root, &["a=10"]), "1");
}
