//! What `status` shows.

use crate::support::env::{Env, Ran};
use snapbox::{assert_data_eq, str};
use std::path::{Path, PathBuf};

const CONFIG: &str = r#"
[[operation]]
name = "distance"
command = "true"
post = "doc.distance"

[[operation]]
name = "trajectory"
command = "true"
pre = 'after("distance")'
post = 'file("trajectory.csv")'

[[operation]]
name = "average"
command = "true"
pre = 'after("trajectory")'
aggregate = { by = "velocity", sort = "angle" }

[group.simulate]
operations = ["distance", "trajectory"]

[label]
far = "doc.distance > 50"
flown = "exists(doc.distance)"
"#;

/// The rocket: some jobs are done, one has failed, and one is queued.
struct Rocket {
    env: Env,
    root: PathBuf,
    flown: Vec<String>,
}

impl Rocket {
    fn new() -> Self {
        let env = Env::new();
        let root = env.project("rocket");
        env.run(&root, &["create", "angle=10:80:10", "velocity=6,8,10"])
            .success();
        std::fs::write(root.join("sweepfs.toml"), CONFIG).unwrap();
        let ids = env
            .run(&root, &["find", "velocity=6,8"])
            .success()
            .to_owned();
        let rocket = Self {
            env,
            root,
            flown: ids.lines().map(str::to_owned).collect(),
        };
        for (i, id) in rocket.flown.iter().enumerate() {
            let document = format!("{{\"distance\": {}}}", 7 * (i + 1));
            rocket.write(id, "signac_job_document.json", &document);
            if i < 6 {
                rocket.write(id, "trajectory.csv", "");
            }
        }
        rocket.record(8, r#"{"state": "failed", "failures": 1, "attempt": 1}"#);
        rocket.record(9, r#"{"state": "queued", "attempt": 1}"#);
        rocket
    }

    fn write(&self, id: &str, name: &str, text: &str) {
        std::fs::write(self.root.join("workspace").join(id).join(name), text).unwrap();
    }

    fn record(&self, i: usize, record: &str) {
        let sidecar = format!(r#"{{"version": 1, "operations": {{"trajectory": {record}}}}}"#);
        self.write(&self.flown[i], "sweepfs_flow.json", &sidecar);
    }

    /// Runs the program with so many columns.
    fn run(&self, columns: &str, args: &[&str]) -> Ran {
        let mut command = self.env.command(&self.root, args);
        command.env("COLUMNS", columns);
        Ran::of(command)
    }

    #[track_caller]
    fn shown(&self, columns: &str, args: &[&str]) -> String {
        let ran = self.run(columns, args);
        assert_eq!(ran.stderr, "");
        let text = ran.success();
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(
            columns
                .parse::<usize>()
                .is_ok_and(|columns| widest <= Some(columns))
                || columns == "0",
            "{text}"
        );
        text.to_owned()
    }
}

#[test]
fn the_overview_counts() {
    let rocket = Rocket::new();
    assert_data_eq!(
        rocket.shown("120", &["status"]),
        str![[r#"
24 jobs

label                                        jobs
far         █████████░░░░░░░░░░░░░░░   37 %     9
flown       ████████████████░░░░░░░░   66 %    16

operation                                    of     completed  queued  eligible  failed  waiting
distance    ████████████████░░░░░░░░   66 %  24            16       0         8       0        0
trajectory  ██████▒×░░░░░░░░░░░░░░░░   25 %  24             6       1         8       1        8
average     ░░░░░░░░░░░░░░░░░░░░░░░░    0 %  3 agg          0       0         0       0        3

group simulate: distance, trajectory

1 failed: `sweepfs explain trajectory 8603` tells why

"#]]
    );
    assert_data_eq!(
        rocket.shown("80", &["status"]),
        str![[r#"
24 jobs

label                        jobs
far         ███░░░░░   37 %     9
flown       █████░░░   66 %    16

operation                    of     completed  queued  eligible  failed  waiting
distance    █████░░░   66 %  24            16       0         8       0        0
trajectory  ██░░░░░░   25 %  24             6       1         8       1        8
average     ░░░░░░░░    0 %  3 agg          0       0         0       0        3

group simulate: distance, trajectory

1 failed: `sweepfs explain trajectory 8603` tells why

"#]]
    );
    assert_data_eq!(
        rocket.shown(
            "80",
            &[
                "status",
                "-o",
                "sim*",
                "-f",
                "angle<30",
                "--only",
                "eligible,queued"
            ]
        ),
        str![[r#"
6 of 24 jobs

label                                        jobs
far         ████████████░░░░░░░░░░░░   50 %     3
flown       ████████████████░░░░░░░░   66 %     4

operation                                    of  eligible
distance    ████████████████░░░░░░░░   66 %  6          2
trajectory  ████××××░░░░░░░░░░░░░░░░   16 %  6          2

group simulate: distance, trajectory

"#]]
    );
    assert_data_eq!(
        rocket.shown("80", &["status", "-o", "average", "--only", "failed"]),
        str![[r#"
24 jobs

label                                       jobs
far        █████████░░░░░░░░░░░░░░░   37 %     9
flown      ████████████████░░░░░░░░   66 %    16

"#]]
    );
    let coloured = rocket.run("80", &["status", "--color", "always", "-o", "trajectory"]);
    assert_data_eq!(
        coloured.success().replace('\u{1b}', "^"),
        str![[r#"
24 jobs

^[1mlabel^[0m                         ^[1mjobs^[0m
far         ^[32m███^[0m^[2m░░░░░░^[0m   37 %     9
flown       ^[32m██████^[0m^[2m░░░^[0m   66 %    16

^[1moperation^[0m                     ^[1mof^[0m  ^[1mcompleted^[0m  ^[1mqueued^[0m  ^[1meligible^[0m  ^[1mfailed^[0m  ^[1mwaiting^[0m
trajectory  ^[32m██^[0m^[31m×^[0m^[2m░░░░░░^[0m   25 %  24          ^[32m6^[0m       ^[34m1^[0m         ^[33m8^[0m       ^[31m1^[0m        ^[2m8^[0m

group simulate: distance, trajectory

1 failed: `sweepfs explain trajectory 8603` tells why

"#]]
    );
}

#[test]
fn details_have_a_row_each() {
    let rocket = Rocket::new();
    assert_data_eq!(
        rocket.shown("80", &["status", "-d", "-f", "angle<30"]),
        str![[r#"
6 of 24 jobs

label                                jobs
far         ████████░░░░░░░░   50 %     3
flown       ██████████░░░░░░   66 %     4

operation                            of     completed  eligible  failed  waiting
distance    ██████████░░░░░░   66 %  6              4         2       0        0
trajectory  ██×××░░░░░░░░░░░   16 %  6              1         2       1        2
average     ░░░░░░░░░░░░░░░░    0 %  3 agg          0         0       0        3

group simulate: distance, trajectory

1 failed: `sweepfs explain trajectory 8603` tells why

job   place                 distance  trajectory  labels
9f55  velocity/6/angle/10   ✔         ○           far, flown
10df  velocity/6/angle/20   ✔         ✔           flown
8603  velocity/8/angle/10   ✔         ✘           far, flown
e382  velocity/8/angle/20   ✔         ○           far, flown
25f5  velocity/10/angle/10  ○         ·
e0a7  velocity/10/angle/20  ○         ·

aggregate  of           average  jobs
agg-5020   velocity/6   ·        8
agg-2f42   velocity/8   ·        8
agg-d2d0   velocity/10  ·        8

✔ completed  ▸ running  ● queued  ○ eligible  ✘ failed  · waiting  ? unknown

"#]]
    );
    assert_data_eq!(
        rocket.shown(
            "0",
            &[
                "status",
                "-o",
                "trajectory",
                "-p",
                "angle",
                "doc.distance",
                "--limit",
                "2"
            ]
        ),
        str![[r#"
24 jobs

label                                        jobs
far         █████████░░░░░░░░░░░░░░░   37 %     9
flown       ████████████████░░░░░░░░   66 %    16

operation                                    of  completed  queued  eligible  failed  waiting
trajectory  ██████▒×░░░░░░░░░░░░░░░░   25 %  24          6       1         8       1        8

group simulate: distance, trajectory

1 failed: `sweepfs explain trajectory 8603` tells why

job   angle  doc.distance  trajectory  labels
9f55  10     77            ○           far, flown
10df  20     14            ✔           flown
… 22 more

✔ completed  ▸ running  ● queued  ○ eligible  ✘ failed  · waiting  ? unknown

"#]]
    );
    assert_data_eq!(
        rocket.shown("120", &["status", "-p", "--only", "failed,queued"]),
        str![[r#"
24 jobs

label                                        jobs
far         █████████░░░░░░░░░░░░░░░   37 %     9
flown       ████████████████░░░░░░░░   66 %    16

operation                                    of  queued  failed
trajectory  ██████▒×░░░░░░░░░░░░░░░░   25 %  24       1       1

group simulate: distance, trajectory

1 failed: `sweepfs explain trajectory 8603` tells why

job   angle  velocity  trajectory  labels
8603  10     8         ✘           far, flown
9ba6  30     8         ●           far, flown

✔ completed  ▸ running  ● queued  ○ eligible  ✘ failed  · waiting  ? unknown

"#]]
    );
    assert_data_eq!(
        rocket.shown("0", &["status", "-d", "--markdown", "--limit", "1"]),
        str![[r#"
24 jobs

| label |  | jobs |
|---|---:|---:|
| far | 37 % | 9 |
| flown | 66 % | 16 |

| operation |  | of | completed | queued | eligible | failed | waiting |
|---|---:|---|---:|---:|---:|---:|---:|
| distance | 66 % | 24 | 16 | 0 | 8 | 0 | 0 |
| trajectory | 25 % | 24 | 6 | 1 | 8 | 1 | 8 |
| average | 0 % | 3 agg | 0 | 0 | 0 | 0 | 3 |

group simulate: distance, trajectory

1 failed: `sweepfs explain trajectory 8603` tells why

| job | place | distance | trajectory | labels |
|---|---|---|---|---|
| 9f55 | velocity/6/angle/10 | ✔ | ○ | far, flown |

… 23 more

| aggregate | of | average | jobs |
|---|---|---|---|
| agg-5020 | velocity/6 | · | 8 |

… 2 more

✔ completed  ▸ running  ● queued  ○ eligible  ✘ failed  · waiting  ? unknown

"#]]
    );
}

#[test]
fn names_are_cut_where_there_is_no_room() {
    let rocket = Rocket::new();
    let long = "a-very-long-name-of-an-operation-or-a-label";
    let config = CONFIG
        .replace("trajectory\"", &format!("{long}\""))
        .replace("far", long);
    std::fs::write(rocket.root.join("sweepfs.toml"), config).unwrap();
    let args = [
        "create",
        "velocity=12",
        "angle=10:20:10",
        "a-parameter-with-a-long-name=1:2:1",
    ];
    rocket.run("80", &args).success();
    let args = [
        "status", "-d", "-f", "angle<30", "-o", "distance", "a-very*", "-n", "4",
    ];
    assert_data_eq!(
        rocket.shown("100", &args),
        str![[r#"
10 of 28 jobs

label                                                             jobs
a-very-long-name-of-an-operation-or-a-label  ███░░░░░░░░░   30 %     3
flown                                        ████░░░░░░░░   40 %     4

operation                                                         of  completed  eligible  waiting
distance                                     ████░░░░░░░░   40 %  10          4         6        0
a-very-long-name-of-an-operation-or-a-label  █░░░░░░░░░░░   10 %  10          1         3        6

group simulate: distance, a-very-long-name-of-an-operation-or-a-label

job   place                                                distance  a-very-long…-or-a-label  labels
6a89  a-parameter-with-a-long-name/1/velocity/12/angle/10  ○         ·
1ffb  a-parameter-with-a-long-name/1/velocity/12/angle/20  ○         ·
dcd7  a-parameter-with-a-long-name/2/velocity/12/angle/10  ○         ·
e2ef  a-parameter-with-a-long-name/2/velocity/12/angle/20  ○         ·
… 6 more

✔ completed  ▸ running  ● queued  ○ eligible  ✘ failed  · waiting  ? unknown

"#]]
    );
    let mut command = rocket.env.command(&rocket.root, &args);
    command.env("COLUMNS", "100").env("LC_ALL", "C");
    let ascii = Ran::of(command);
    assert!(ascii.success().is_ascii(), "{ascii:?}");
    assert_data_eq!(
        ascii.success(),
        str![[r#"
10 of 28 jobs

label                                                             jobs
a-very-long-name-of-an-operation-or-a-label  ###.........   30 %     3
flown                                        ####........   40 %     4

operation                                                         of  completed  eligible  waiting
distance                                     ####........   40 %  10          4         6        0
a-very-long-name-of-an-operation-or-a-label  #...........   10 %  10          1         3        6

group simulate: distance, a-very-long-name-of-an-operation-or-a-label

job   place                                                distance  a-very-lon..-or-a-label  labels
6a89  a-parameter-with-a-long-name/1/velocity/12/angle/10  +         -
1ffb  a-parameter-with-a-long-name/1/velocity/12/angle/20  +         -
dcd7  a-parameter-with-a-long-name/2/velocity/12/angle/10  +         -
e2ef  a-parameter-with-a-long-name/2/velocity/12/angle/20  +         -
.. 6 more

X completed  > running  * queued  + eligible  ! failed  - waiting  ? unknown

"#]]
    );
}

#[test]
fn programs_get_json() {
    let rocket = Rocket::new();
    assert_data_eq!(
        rocket.shown("0", &["status", "--json"]),
        str![[r#"
{"jobs": 24, "labels": [{"name": "far", "jobs": 9}, {"name": "flown", "jobs": 16}], "operations": [{"name": "distance", "groups": ["simulate"], "of": "jobs", "total": 24, "states": {"completed": 16, "running": 0, "queued": 0, "eligible": 8, "failed": 0, "waiting": 0, "unknown": 0}}, {"name": "trajectory", "groups": ["simulate"], "of": "jobs", "total": 24, "states": {"completed": 6, "running": 0, "queued": 1, "eligible": 8, "failed": 1, "waiting": 8, "unknown": 0}}, {"name": "average", "groups": [], "of": "aggregates", "total": 3, "states": {"completed": 0, "running": 0, "queued": 0, "eligible": 0, "failed": 0, "waiting": 3, "unknown": 0}}]}

"#]]
    );
    let args = [
        "status",
        "--json",
        "-p",
        "angle",
        "-o",
        "trajectory",
        "average",
        "-f",
        "angle=10",
    ];
    let args = [&args[..], &["--only", "failed,waiting", "--limit", "1"]].concat();
    assert_data_eq!(
        rocket.shown("0", &args),
        str![[r#"
{"jobs": 3, "labels": [{"name": "far", "jobs": 2, "ids": ["8603cccc4f2a15aea34a94540a666249", "9f554cbf1c9c4ac2bc720396c72df1e7"]}, {"name": "flown", "jobs": 2, "ids": ["8603cccc4f2a15aea34a94540a666249", "9f554cbf1c9c4ac2bc720396c72df1e7"]}], "operations": [{"name": "trajectory", "groups": ["simulate"], "of": "jobs", "total": 3, "states": {"completed": 0, "running": 0, "queued": 0, "eligible": 1, "failed": 1, "waiting": 1, "unknown": 0}, "aggregates": [{"id": "8603cccc4f2a15aea34a94540a666249", "state": "failed", "place": "velocity/8/angle/10", "jobs": ["8603cccc4f2a15aea34a94540a666249"], "parameters": {"angle": 10}}]}, {"name": "average", "groups": [], "of": "aggregates", "total": 3, "states": {"completed": 0, "running": 0, "queued": 0, "eligible": 0, "failed": 0, "waiting": 3, "unknown": 0}, "aggregates": [{"id": "agg-5020d2c33d6120b26006f96e72447f07", "state": "waiting", "place": "velocity/6", "jobs": ["9f554cbf1c9c4ac2bc720396c72df1e7", "10df0b7fcef6637a850fa97ce50d2d6e", "847299e8097cd5f6288716900f7b1a28", "818f21d559aaaf95247433985f3e2717", "e958c78ccf589b9ec54276ecdfea50b2", "e27dbf9ff724d557e022bd86d5effc3a", "36ea637aa001dd73e82bace355065be3", "1ccd91278fa2fd2414af0a1f5c3e4b3e"]}]}]}

"#]]
    );
}

#[test]
fn what_is_unknown_is_named_once() {
    let rocket = Rocket::new();
    rocket.write(&rocket.flown[0], "sweepfs_flow.json", "{");
    rocket.write(&rocket.flown[1], "sweepfs_flow.json", "{");
    rocket.write(&rocket.flown[2], "sweepfs_flow.json", r#"{"version": 9}"#);
    rocket.write(&rocket.flown[3], "signac_job_document.json", "{");
    for args in [&["status"][..], &["status", "-d"], &["status", "--json"]] {
        let ran = rocket.run("0", args);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert_data_eq!(
            ran.stderr,
            str![[r#"
warning: 298763ac2a7ce93731ec42c6ad583434: its document is not usable: it is not JSON: expected a key in double quotes at line 1, column 2
warning: 1ccd91278fa2fd2414af0a1f5c3e4b3e: its flow state has version 9; only version 1 is understood
warning: 079bfebde3726bd680bff2a190197a03 and 1 other: its flow state is not usable: it is not JSON: EOF while parsing an object at line 1 column 1

"#]]
        );
        assert!(ran.stdout.contains("unknown"));
    }
    let one = rocket.run("0", &["status", "-o", "sim*", "-j", &rocket.flown[5]]);
    assert_eq!(
        (one.success().lines().next(), one.stderr.as_str()),
        (Some("1 of 24 jobs"), "")
    );
}

#[test]
fn all_states_have_room_in_80_columns() {
    let rocket = Rocket::new();
    rocket.write(&rocket.flown[0], "sweepfs_flow.json", "{");
    let elsewhere = r#"{"state": "running", "attempt": 1, "host": "elsewhere", "pid": 1,
        "process_start": "x:1"}"#;
    rocket.record(10, elsewhere);
    let ran = rocket.run("80", &["status"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let widest = ran.stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{}", ran.stdout);
    assert_data_eq!(
        ran.stdout,
        str![[r#"
24 jobs

label              jobs
far          37 %     9
flown        66 %    16

operation          of     compl.  runni.  queued  eligi.  failed  waiti.  unkno.
distance     62 %  24         15       0       0       8       0       0       1
trajectory   20 %  24          5       1       1       7       1       8       1
average       0 %  3 agg       0       0       0       0       0       3       0

group simulate: distance, trajectory

1 failed: `sweepfs explain trajectory 8603` tells why

on elsewhere: trajectory, 1 running

"#]]
    );
}

#[test]
fn a_project_need_not_have_operations() {
    let env = Env::new();
    let root = env.project("p");
    env.run(&root, &["create", "a=1:2:1"]).success();
    std::fs::write(root.join("sweepfs.toml"), "[label]\nfirst = 'a=1'\n").unwrap();
    let ran = env.run(&root, &["status", "-d"]);
    assert_data_eq!(
        ran.success(),
        str![[r#"
2 jobs

label                                       jobs
first      ████████████░░░░░░░░░░░░   50 %     1

job   place  labels
42b7  a/1    first
9f8a  a/2

"#]]
    );
    assert_data_eq!(
        &ran.stderr[..],
        str![[r#"
hint: operations in `sweepfs.toml` say what is to be done with the jobs

"#]]
    );
    let ran = env.run(&root, &["status", "-o", "x"]);
    assert!(ran.failure(1).contains("the project has no operations"));
}

#[test]
fn mistakes_are_told() {
    let rocket = Rocket::new();
    for (args, expected) in [
        (
            &["-o", "trajectroy"][..],
            "hint: did you mean `trajectory`?",
        ),
        (&["-o", "a["], "`a[` is no pattern"),
        (&["--only", "done"], "`done` is not one of the states"),
        (&["--watch", "0"], "between 0.1 and 86400 seconds"),
    ] {
        let ran = rocket.run("80", &[&["status"], args].concat());
        assert!(ran.failure(2).contains(expected), "{ran:?}");
    }
}

#[test]
fn it_can_be_watched() {
    let rocket = Rocket::new();
    let script = format!(
        "{} status --watch 0.1 | head -n 40 | grep -c '^24 jobs'",
        crate::support::env::program()
    );
    let command = std::process::Command::new("sh");
    let ran = Ran::of(
        rocket
            .env
            .in_env(command, Path::new(&rocket.root), &["-c", &script]),
    );
    assert_eq!((ran.success(), ran.stderr.as_str()), ("3\n", ""));
}
