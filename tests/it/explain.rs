//! `next`, `explain` and `log`.

use crate::support::env::{Env, Ran, write_job};
use snapbox::{assert_data_eq, str};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A project of the jobs `a` = 0, 1, 2.
struct Swept {
    env: Env,
    root: PathBuf,
    jobs: Vec<PathBuf>,
}

impl Swept {
    fn new(config: &str) -> Self {
        let env = Env::new();
        let root = env.project("p");
        let job = |i| write_job(&root, &format!("{{\"a\": {i}}}"));
        let jobs = (0..3).map(job).collect();
        std::fs::write(root.join("sweepfs.toml"), config).unwrap();
        Self { env, root, jobs }
    }

    fn id(&self, job: usize) -> &str {
        self.jobs[job].file_name().unwrap().to_str().unwrap()
    }

    fn write(&self, job: usize, name: &str, text: &str) {
        std::fs::write(self.jobs[job].join(name), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.env.run(&self.root, args)
    }

    fn explain(&self, operation: &str, job: usize) -> String {
        let ran = self.run(&["explain", operation, self.id(job)]);
        format!("{}{}", ran.success(), ran.stderr)
    }
}

const CONFIG: &str = r#"
[[operation]]
name = "first"
command = "true"
where = "a<2"
post = 'file("1")'

[[operation]]
name = "second"
command = "true"
pre = ['after("first")', 'not file("*.bad")', 'doc.x > 1 or size("1") > 2 or newer("1", "2")', "a in [0, 2]"]
post = ['test("false")', "never"]
retries = 2

[[operation]]
name = "all"
command = "true"
pre = 'after("first")'
aggregate = { all = true, sort = "a" }

[[operation]]
name = "pair"
command = "true"
aggregate = { size = 2, sort = "a", reverse = true }
"#;

#[test]
fn each_question_is_answered_for_the_job() {
    let swept = Swept::new(CONFIG);
    swept.write(0, "1", "");
    swept.write(1, "x.bad", "");
    swept.write(1, "signac_job_document.json", r#"{"x": {"y": 1}}"#);
    swept.write(2, "1", "text");
    swept.write(2, "2", "");
    swept.write(2, "signac_job_document.json", r#"{"x": [1, "two"]}"#);
    assert_data_eq!(
        swept.explain("second", 0),
        str![[r#"
second on 9bfd29df07674bc4aa960cf661b5acd2: waiting

pre   after("first")                             yes  first is completed
pre   not file("*.bad")                          yes
        file("*.bad")                            no   no file matches
pre   doc.x>1 or size("1")>2 or newer("1", "2")  no
        doc.x>1                                  no   the job has no such key
        size("1")>2                              no   it has 0 bytes
        newer("1", "2")                          no   there is no file `2`
pre   a=0,2                                      yes  it is 0
post  test("false")                              no   its command says no
post  never                                      no   it never holds

"#]]
    );
    assert_data_eq!(
        swept.explain("second", 1),
        str![[r#"
second on 42b7b4f2921788ea14dac5566e6f06d0: waiting

pre   after("first")                             no   first is eligible
pre   not file("*.bad")                          no
        file("*.bad")                            yes  there is such a file
pre   doc.x>1 or size("1")>2 or newer("1", "2")  no
        doc.x>1                                  no   it is an object
        size("1")>2                              no   there is no such file
        newer("1", "2")                          no   there is no file `1`
pre   a=0,2                                      no   it is 1
post  test("false")                              no   its command says no
post  never                                      no   it never holds

"#]]
    );
    assert_data_eq!(
        swept.explain("second", 2),
        str![[r#"
second on 9f8a8e5ba8c70c774d410a9107e2a32b: eligible

pre   after("first")                             yes  first does not concern the job
pre   not file("*.bad")                          yes
        file("*.bad")                            no   no file matches
pre   doc.x>1 or size("1")>2 or newer("1", "2")  yes
        doc.x>1                                  no   it is [1, "two"]
        size("1")>2                              yes  it has 4 bytes
        newer("1", "2")                          yes  it is not older
pre   a=0,2                                      yes  it is 2
post  test("false")                              no   its command says no
post  never                                      no   it never holds

"#]]
    );
    assert_data_eq!(
        swept.explain("all", 2),
        str![[r#"
all on agg-76dc61400e574ee56d260912339afee9 (3 jobs): waiting

pre  after("first")  no  for 1 of 3 jobs, 42b7b4f2921788ea14dac5566e6f06d0 first: first is eligible

"#]]
    );
    let ran = swept.run(&["explain", "--json", "second", swept.id(1)]);
    assert_data_eq!(
        ran.success(),
        str![[r#"
{"operation": "second", "id": "42b7b4f2921788ea14dac5566e6f06d0", "jobs": ["42b7b4f2921788ea14dac5566e6f06d0"], "state": "waiting", "conditions": [{"kind": "pre", "condition": "after(/"first/")", "holds": false, "job": "42b7b4f2921788ea14dac5566e6f06d0", "parts": [{"condition": "after(/"first/")", "holds": false, "because": "first is eligible"}]}, {"kind": "pre", "condition": "not file(/"*.bad/")", "holds": false, "job": "42b7b4f2921788ea14dac5566e6f06d0", "parts": [{"condition": "file(/"*.bad/")", "holds": true, "because": "there is such a file"}]}, {"kind": "pre", "condition": "doc.x>1 or size(/"1/")>2 or newer(/"1/", /"2/")", "holds": false, "job": "42b7b4f2921788ea14dac5566e6f06d0", "parts": [{"condition": "doc.x>1", "holds": false, "because": "it is an object"}, {"condition": "size(/"1/")>2", "holds": false, "because": "there is no such file"}, {"condition": "newer(/"1/", /"2/")", "holds": false, "because": "there is no file `1`"}]}, {"kind": "pre", "condition": "a=0,2", "holds": false, "job": "42b7b4f2921788ea14dac5566e6f06d0", "parts": [{"condition": "a=0,2", "holds": false, "because": "it is 1"}]}, {"kind": "post", "condition": "test(/"false/")", "holds": false, "job": "42b7b4f2921788ea14dac5566e6f06d0", "parts": [{"condition": "test(/"false/")", "holds": false, "because": "its command says no"}]}, {"kind": "post", "condition": "never", "holds": false, "job": "42b7b4f2921788ea14dac5566e6f06d0", "parts": [{"condition": "never", "holds": false, "because": "it never holds"}]}], "execution": null, "retries_left": 2}

"#]]
    );
}

#[test]
fn the_last_execution_is_described() {
    let swept = Swept::new(CONFIG);
    let record = |record: &str| {
        let text = format!(r#"{{"version": 1, "operations": {{"second": {record}}}}}"#);
        swept.write(0, "sweepfs_flow.json", &text);
        let shown = swept.explain("second", 0);
        shown
            .split_once("\n\nlast")
            .map_or(String::new(), |(_, last)| format!("last{last}"))
    };
    let ended = r#"{"state": "failed", "attempt": 4, "failures": 3, "host": "node7", "pid": 42,
        "batch_id": "17_3", "cluster": "c", "submitted": "2026-01-02T03:00:00Z",
        "started": "2026-01-02T03:04:05Z", "ended": "2026-01-02T05:05:06.5Z", "exit_code": 1,
        "reason": "exit 1", "log": ".sweepfs/logs/second/x.log"}"#;
    assert_data_eq!(
        record(ended),
        str![[r#"
last execution: attempt 4, failed: exit 1
  queued    2026-01-02 03:00:00 UTC
  batch job 17_3 on c
  started   2026-01-02 03:04:05 UTC
  ended     2026-01-02 05:05:06 UTC, after 2 h 1 min
  on        node7, process 42
  log       .sweepfs/logs/second/x.log
  retries   0 of 2 left
hint: `sweepfs log second 9bfd29df07674bc4aa960cf661b5acd2` shows its output, `sweepfs run --retry -o second -j 9bfd29df07674bc4aa960cf661b5acd2` takes it again

"#]]
    );
    let lost = r#"{"state": "running", "attempt": 1, "failures": 1, "host": "h", "started": "?"}"#;
    assert_data_eq!(
        record(lost),
        str![[r#"
last execution: attempt 1, lost, its process is gone and its end was not recorded
  started   ?
  on        h
  retries   2 of 2 left

"#]]
    );
    let interrupted = r#"{"state": "interrupted", "attempt": 2, "interruptions": 2,
        "started": "2026-01-02T03:04:05Z", "ended": "2026-01-02T03:05:06Z", "reason": "Ctrl-C"}"#;
    assert_data_eq!(
        record(interrupted),
        str![[r#"
last execution: attempt 2, interrupted: Ctrl-C
  started   2026-01-02 03:04:05 UTC
  ended     2026-01-02 03:05:06 UTC, after 1 min 1 s
  in a row  2 without a verdict; 3 count as a failure

"#]]
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let swept = Swept::new(CONFIG);
    swept.write(0, "signac_job_document.json", "{");
    swept.write(0, "1", "");
    swept.write(1, "sweepfs_flow.json", "{");
    let ran = swept.run(&["explain", "second", swept.id(0)]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_data_eq!(
        ran.stdout + &ran.stderr,
        str![[r#"
second on 9bfd29df07674bc4aa960cf661b5acd2: unknown

pre   after("first")                             yes      first is completed
pre   not file("*.bad")                          yes
        file("*.bad")                            no       no file matches
pre   doc.x>1 or size("1")>2 or newer("1", "2")  unknown
        doc.x>1                                  unknown  its document cannot be read
        size("1")>2                              no       it has 0 bytes
        newer("1", "2")                          no       there is no file `2`
pre   a=0,2                                      yes      it is 0
post  test("false")                              no       its command says no
post  never                                      no       it never holds
warning: 9bfd29df07674bc4aa960cf661b5acd2: its document is not usable: it is not JSON: expected a key in double quotes at line 1, column 2

"#]]
    );
    let ran = swept.run(&["explain", "first", swept.id(1)]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_data_eq!(
        ran.stdout + &ran.stderr,
        str![[r#"
first on 42b7b4f2921788ea14dac5566e6f06d0: unknown

post  file("1")  no  there is no such file
warning: 42b7b4f2921788ea14dac5566e6f06d0: its flow state is not usable: it is not JSON: EOF while parsing an object at line 1 column 1

"#]]
    );
    // Nothing is wrong with this one.
    assert_eq!(swept.run(&["explain", "second", swept.id(2)]).code, Some(0));
}

#[test]
fn what_can_be_executed_next_is_listed() {
    let swept = Swept::new(CONFIG);
    swept.write(0, "1", "");
    assert_eq!(
        swept.run(&["next", "first"]).success(),
        format!("{}\n", swept.id(1))
    );
    assert_eq!(swept.run(&["next", "first", "-f", "a=0"]).success(), "");
    assert_eq!(swept.run(&["next", "all"]).success(), "");
    let pairs = swept.run(&["next", "pair"]).success().to_owned();
    let lines: Vec<_> = pairs.lines().collect();
    assert!(
        lines[0].starts_with("agg-") && lines[1] == swept.id(0),
        "{pairs}"
    );
    assert_eq!(
        swept.run(&["next", "pair", "--jobs", "-n", "1"]).success(),
        format!("{} {}\n", swept.id(2), swept.id(1))
    );
    let explained = swept.run(&["explain", "pair", &lines[0][..8]]);
    assert!(
        explained
            .success()
            .starts_with(&format!("pair on {} (2 jobs): eligible", lines[0]))
    );
    let by_job = swept.run(&["explain", "pair", swept.id(1)]);
    assert_eq!(by_job.success(), explained.success());
}

#[test]
fn mistakes_are_told() {
    let swept = Swept::new(CONFIG);
    for (args, code, expected) in [
        (&["next", "secnd"][..], 2, "hint: did you mean `second`?"),
        (
            &["explain", "first", swept.id(2)],
            1,
            "`first` does not concern the job",
        ),
        (&["explain", "first", "zz"], 1, "no job has the id `zz`"),
        (
            &["explain", "all", "agg-zz"],
            1,
            "no aggregate of `all` has the id `agg-zz`",
        ),
        (
            &["log", "first", swept.id(0)],
            1,
            "`first` was never executed on",
        ),
    ] {
        let ran = swept.run(args);
        assert!(ran.failure(code).contains(expected), "{ran:?}");
    }
    let record = r#"{"version": 1, "operations": {"first": {"state": "failed", "log": "LOG"}}}"#;
    for log in ["/etc/passwd", "../x", "a/../../x"] {
        swept.write(0, "sweepfs_flow.json", &record.replace("LOG", log));
        let ran = swept.run(&["log", "first", swept.id(0)]);
        assert!(
            ran.failure(1).contains("which is not in the project"),
            "{ran:?}"
        );
    }
    swept.write(0, "sweepfs_flow.json", &record.replace("LOG", "gone"));
    let ran = swept.run(&["log", "first", swept.id(0)]);
    assert!(
        ran.failure(1).contains("`first` has left no log"),
        "{ran:?}"
    );
}

#[test]
fn logs_are_printed_and_followed() {
    let config = r#"
[[operation]]
name = "count"
command = "seq 3; while [ ! -e go ]; do sleep 0.05; done; echo end"
directory = "job"
"#;
    let swept = Swept::new(config);
    let id = swept.id(0).to_owned();
    swept.write(0, "go", "");
    swept.run(&["run", "-j", &id]).success();
    let all = swept.run(&["log", "count", &id]).success().to_owned();
    assert!(
        all.starts_with("== attempt 1, ") && all.ends_with("\n1\n2\n3\nend\n"),
        "{all}"
    );
    assert_eq!(
        swept.run(&["log", "count", &id, "-n", "2"]).success(),
        "3\nend\n"
    );
    assert_eq!(swept.run(&["log", "count", &id, "-n", "0"]).success(), "");
    assert_eq!(
        swept
            .run(&["log", "count", &id, "-f", "-n", "99"])
            .success(),
        all
    );
    std::fs::remove_file(swept.jobs[0].join("go")).unwrap();
    let spawn = |args: &[&str]| {
        let mut command = swept.env.command(&swept.root, args);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut running = spawn(&["exec", "count", &id]);
    let is_begun = || {
        let shown = swept.run(&["log", "count", &id]).stdout;
        shown.contains("== attempt 2") && shown.ends_with("3\n")
    };
    crate::support::wait_until("the second execution", is_begun);
    let following = spawn(&["log", "count", &id, "-f", "-n", "1"]);
    assert!(
        swept
            .run(&["explain", "count", &id])
            .success()
            .contains("attempt 2, running")
    );
    swept.write(0, "go", "");
    let followed = following.wait_with_output().unwrap();
    assert!(running.wait().unwrap().success());
    let followed = String::from_utf8(followed.stdout).unwrap();
    assert!(
        followed.ends_with("end\n") && !followed.contains("1\n2\n"),
        "{followed}"
    );
    let all = swept.run(&["log", "count", &id]).success().to_owned();
    assert!(all.starts_with("== attempt 2, "), "{all}");
}

#[test]
fn a_log_to_a_closed_pipe_is_no_error() {
    let swept = Swept::new("[[operation]]\nname = \"o\"\ncommand = \"seq 100000\"\n");
    swept.run(&["run", "-j", swept.id(0), "-q"]).success();
    let program = crate::support::env::program();
    let script = format!("{program} log o {} | head -n 1 | wc -l", swept.id(0));
    let shell = Command::new("sh");
    let ran = Ran::of(
        swept
            .env
            .in_env(shell, Path::new(&swept.root), &["-c", &script]),
    );
    assert_eq!((ran.success().trim(), ran.stderr.as_str()), ("1", ""));
}
