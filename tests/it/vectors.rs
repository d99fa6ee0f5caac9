//! What signac computed, against what we compute.

use crate::support::env::{Env, write_job};
use crate::support::tree::{load, serve, spec_links, walk_view};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use sweepfs::pyjson::{Object, PyStr, Value as PyValue, canonical, dumps, parse};
use sweepfs::statepoint::{JobId, StatePoint};
use sweepfs::workspace::{Project, WorkspaceError};

#[test]
fn ids_and_canonical_texts_are_those_of_signac() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../data/vectors/jobid_vectors.json")).unwrap();
    assert!(vectors.len() > 60);
    for vector in vectors {
        let json = vector["json"].as_str().unwrap();
        let value = parse(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(
            canonical(&value),
            vector["canonical"].as_str().unwrap(),
            "{json}"
        );
        assert_eq!(
            JobId::of_canonical(&canonical(&value)).to_string(),
            vector["id"].as_str().unwrap(),
            "{json}"
        );
    }
}

#[test]
fn state_point_files_are_those_of_signac() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../data/vectors/jobid_vectors.json")).unwrap();
    let env = Env::new();
    for (i, vector) in vectors.iter().enumerate() {
        let json = vector["json"].as_str().unwrap();
        let root = env.path().join(i.to_string());
        std::fs::create_dir(&root).unwrap();
        let workspace = Project::init(&root).unwrap().workspace();
        let Ok(statepoint) = StatePoint::from_value(parse(json).unwrap()) else {
            assert!(vector["file"].is_null(), "{json}");
            continue;
        };
        match (workspace.create(&statepoint), vector["file"].as_str()) {
            (Ok((id, _)), Some(file)) => {
                let path = workspace.job_dir(&id).join("signac_statepoint.json");
                assert_eq!(std::fs::read_to_string(path).unwrap(), file, "{json}");
            }
            // signac leaves an empty directory behind; we leave nothing.
            (Err(WorkspaceError::StatePoint(_)), None) => {
                assert_eq!(
                    std::fs::read_dir(workspace.dir()).unwrap().count(),
                    0,
                    "{json}"
                );
            }
            (result, file) => panic!("{json}: {result:?}, signac: {file:?}"),
        }
    }
}

/// Where signac's path is unsafe or cannot be kept, ours follows our own rule (`docs/semantics.md`).
const OUR_OWN: [(&str, &str, &str); 6] = [
    (r#"{"a": {"p": "x/y"}}"#, "a.p/x/y/job", "a.p/x%2Fy/job"),
    (r#"{"a": ""}"#, "a/job", "a/\"\"/job"),
    (r#"{"a": ".."}"#, "job", "a/\"..\"/job"),
    (r#"{"a": "."}"#, "a/job", "a/\".\"/job"),
    (r#"{"job": 1}"#, "job/1/job", "sp.job/1/job"),
    (r#"{"job": 2}"#, "job/2/job", "sp.job/2/job"),
];

/// Specs that signac refuses for the sake of a value, and we do not.
const REFUSED_BY_SIGNAC_ALONE: [(&str, &str); 4] = [
    (r#"{"f": true}"#, "{{auto}}"),
    (r#"{"a": 1, "b": 1}"#, "{{auto}}"),
    (r#"{"a": "x/y"}"#, "{{auto}}"),
    (r#"{"f": "{x}"}"#, "f/{f}"),
];

/// Returns the links of a vector with our own paths in place of signac's.
fn expected_links(links: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = |path: &str, id: &str| {
        let is_it = |(json, theirs, _): &&(&str, &str, &str)| {
            let statepoint = StatePoint::from_value(parse(json).unwrap()).unwrap();
            *theirs == path && statepoint.id().to_string() == id
        };
        let own = OUR_OWN.iter().find(is_it);
        own.map_or(path, |(_, _, ours)| ours).to_owned()
    };
    let links = links.iter();
    links
        .map(|(path, id)| (own(path, id), id.clone()))
        .collect()
}

#[test]
fn default_paths_are_those_of_signac() {
    let auto = auto_vectors();
    assert!(auto.len() >= 15);
    for vector in auto {
        let Some(links) = &vector.links else { continue };
        assert_eq!(
            view_of(&vector.jobs),
            expected_links(links),
            "{:?}",
            vector.jobs
        );
    }
}

#[test]
fn paths_of_specs_are_those_of_signac() {
    let vectors = view_vectors();
    assert!(vectors.len() > 40);
    let mut n_alone = 0;
    for vector in vectors {
        let found = links_of(&vector.jobs, &vector.path);
        let what = format!("{:?}, {}", vector.jobs, vector.path);
        let is_alone = REFUSED_BY_SIGNAC_ALONE.iter().any(|(job, path)| {
            *path == vector.path && vector.jobs.iter().any(|other| other == job)
        });
        match &vector.links {
            Some(links) => assert_eq!(found, Ok(expected_links(links)), "{what}"),
            None if is_alone => {
                assert_eq!(found.expect(&what).len(), vector.jobs.len(), "{what}");
                n_alone += 1;
            }
            None => assert!(found.is_err(), "{what}: {found:?}"),
        }
    }
    assert_eq!(n_alone, REFUSED_BY_SIGNAC_ALONE.len());
}

#[test]
fn projects_that_signac_refuses_get_a_path_for_every_job() {
    let refused: Vec<_> = auto_vectors()
        .into_iter()
        .filter(|vector| vector.links.is_none())
        .collect();
    assert!(refused.len() >= 3);
    for vector in refused {
        let mut ids: Vec<_> = view_of(&vector.jobs).into_values().collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), vector.jobs.len(), "{:?}", vector.jobs);
    }
}

/// A project and what `signac view` makes of it.
struct ViewVector {
    jobs: Vec<String>,
    path: String,
    /// Path to id; `None` if signac refuses.
    links: Option<BTreeMap<String, String>>,
}

/// The vectors with the default path.
fn auto_vectors() -> Vec<ViewVector> {
    let mut vectors = view_vectors();
    vectors.retain(|vector| vector.path == "{{auto}}");
    vectors
}

/// All vectors. Read by `pyjson`, which keeps every digit.
fn view_vectors() -> Vec<ViewVector> {
    let get = |object: &Object, key: &str| object.get(&key.into()).cloned();
    let object = |value: PyValue| value.into_object().unwrap();
    let PyValue::List(vectors) = parse(include_str!("../data/vectors/view_vectors.json")).unwrap()
    else {
        panic!("a list")
    };
    let vectors = vectors.into_iter().map(object);
    let read = |vector: Object| {
        let Some(PyValue::List(jobs)) = get(&vector, "jobs") else {
            panic!("jobs")
        };
        let links = get(&vector, "links").and_then(|links| links.into_object().ok());
        let link = |(path, id): (PyStr, PyValue)| {
            (path.to_string(), dumps(&id).trim_matches('"').to_owned())
        };
        ViewVector {
            jobs: jobs.iter().map(dumps).collect(),
            path: match get(&vector, "path") {
                Some(PyValue::Str(path)) => path.to_string(),
                Some(PyValue::Bool(false)) => "{job.id}".to_owned(),
                path => panic!("{path:?}"),
            },
            links: links.map(|links| links.into_iter().map(link).collect()),
        }
    };
    vectors.map(read).collect()
}

fn project_of(jobs: &[String]) -> (Env, PathBuf) {
    let env = Env::new();
    let root = env.project("p");
    for job in jobs {
        write_job(&root, job);
    }
    (env, root)
}

fn links_of(jobs: &[String], spec: &str) -> Result<BTreeMap<String, String>, String> {
    let (_env, root) = project_of(jobs);
    spec_links(&root, spec)
}

fn view_of(jobs: &[String]) -> BTreeMap<String, String> {
    let (_env, root) = project_of(jobs);
    walk_view(&serve(load(&root).snapshot()))
}

#[track_caller]
fn check_view(jobs: &[&str], expected: &[&str]) {
    let jobs: Vec<_> = jobs.iter().map(ToString::to_string).collect();
    let mut paths: Vec<_> = view_of(&jobs).into_keys().collect();
    paths.sort();
    let mut expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
    expected.sort();
    assert_eq!(paths, expected);
}

#[test]
fn what_signac_refuses_is_named_by_our_rules() {
    check_view(&[r#"{"a": 1}"#, r#"{"a": 1, "b": 1}"#], &["job", "b/1/job"]);
    check_view(
        &[r#"{"f": true}"#, r#"{"f": 1}"#, r#"{"f": 2}"#],
        &["f/True/job", "f/1/job", "f/2/job"],
    );
    check_view(
        &[r#"{"f": 1}"#, r#"{"f": "1"}"#],
        &["f/1/job", "f/\"1\"/job"],
    );
    check_view(
        &[r#"{"a": "x/y"}"#, r#"{"a": "z"}"#],
        &["a/x%2Fy/job", "a/z/job"],
    );
    check_view(
        &[r#"{"x/y": 1}"#, r#"{"x/y": 2}"#],
        &["x%2Fy/1/job", "x%2Fy/2/job"],
    );
    check_view(
        &[r#"{"a": {}}"#, r#"{"a": {"b": {}}}"#, r#"{"id": 5}"#],
        &[
            "id/b64d96a034f7bf16cc5658f10c8236b4/job",
            "id/edbc0fcefe8195c071f54590e98378eb/job",
            "sp.id/5/job",
        ],
    );
    check_view(&[], &[]);
}
