//! What new jobs bring to a side whose jobs have other parameters.

use crate::support::env::{Env, write_job};

#[test]
fn keys_and_types_that_are_new_are_told() {
    let env = Env::new();
    let (here, there) = (env.project("here"), env.project("there"));
    write_job(&here, r#"{"a": 1, "deep": {"x": 1}}"#);
    // A side without jobs has nothing to compare with.
    let first = env.run(&here, &["sync", "../there"]);
    assert!(first.success().is_empty(), "{first:?}");
    assert!(!first.stderr.contains("new there"), "{first:?}");
    write_job(
        &there,
        r#"{"a": "text", "deep": {"x": 2, "y": null}, "seed": 7}"#,
    );
    write_job(&there, r#"{"a": 2, "seed": 0.5}"#);
    write_job(&here, r#"{"a": 3, "seed": [1], "angle": 0}"#);
    let expected = "../there brings keys that are new here: deep.y (NoneType)\n\
        ../there brings values of types that are new here: a (str), seed (float, int)\n\
        ../there gets keys that are new there: angle (int)\n\
        ../there gets values of types that are new there: seed (tuple)\n";
    let dry = env.run(&here, &["sync", "../there", "-n"]);
    assert!(dry.stderr.starts_with(expected), "{dry:?}");
    let json = env.run(&here, &["sync", "../there", "-n", "--json"]);
    let report: serde_json::Value = serde_json::from_str(json.success()).unwrap();
    assert_eq!(
        report["schema"][0],
        serde_json::json!({"to": "local", "key": "a", "types": ["str"], "is_known": true})
    );
    let some = env.run(&here, &["sync", "../there", "-n", "-f", "a=3"]);
    assert!(!some.stderr.contains("new here"), "{some:?}");
    let pulled = env.run(&here, &["sync", "../there", "--pull"]);
    assert!(
        pulled
            .stderr
            .starts_with(expected.split("../there gets").next().unwrap())
    );
    assert!(!pulled.stderr.contains("new there"), "{pulled:?}");
    let rest = env.run(&here, &["sync", "../there"]);
    assert!(
        rest.stderr
            .starts_with(&expected[expected.find("../there gets").unwrap()..]),
        "{rest:?}"
    );
}
