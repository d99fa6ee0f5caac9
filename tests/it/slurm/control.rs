//! `queue`, `cancel`, `hold` and `release`.

use super::LIMIT;
use crate::support::batch::{Nowhere, Project, operation};
use crate::support::slurm::Slurm;
use crate::support::wait_until;
use serde_json::Value;
use std::fs;

#[test]
fn what_is_held_waits_until_it_is_released() {
    let Some(project) = Project::<Slurm>::with(4, &operation("fly", "true", "")) else {
        return;
    };
    project.run(&["submit", "--yes", "--hold"]).success();
    let n_in = |state: &str| {
        let queue = project.run(&["queue", "--state", state]);
        queue.success().lines().count()
    };
    assert_eq!((n_in("held"), n_in("queued,running")), (4, 0));
    let id = |job: usize| {
        let record = project.record(job, "fly");
        record["batch_id"].as_str().unwrap().to_owned()
    };
    let ran = project.run(&["release", &id(0)]);
    assert!(ran.stderr.contains("batch jobs released: 1\n"), "{ran:?}");
    wait_until("its end", || project.state(0, "fly") == "completed");
    assert_eq!(n_in("held"), 3);
    // Of what is held, one is cancelled, and the rest is released by a filter.
    project
        .run(&["cancel", "--state", "held", "-f", "a=1"])
        .success();
    assert_eq!(project.reason(1, "fly"), "cancelled");
    let ran = project.run(&["release", "-f", "a>1"]);
    assert!(ran.stderr.contains("batch jobs released: 2\n"), "{ran:?}");
    project.wait_for_queue(LIMIT);
    let n_begun: Vec<_> = (0..4).map(|job| project.n_begun(job)).collect();
    assert_eq!(n_begun, [1, 0, 1, 1]);
}

#[test]
fn what_waits_is_held_and_what_runs_goes_on() {
    let project = Project::<Nowhere>::new(3, &operation("fly", "true", ""));
    project.fake("sbatch", "echo 5");
    let squeue = "n=$(sed -n 's/.*job-name=//p' .sweepfs/batches/*.sh)
        echo \"5_0|PENDING|JobHeldUser|$n\"; echo \"5_1|RUNNING|None|$n\"; echo \"5_[2%1]|PENDING|Priority|$n\"";
    project.fake("squeue", squeue);
    project.fake("scontrol", "[[ $1 == show ]] || echo \"$@\" >> control");
    project.run(&["submit", "--yes"]).success();
    for (args, message) in [
        (vec!["hold"], "what is to be held?"),
        (vec!["release"], "what is to be released?"),
        (vec!["hold", "--state", "running"], "nothing to hold"),
        (vec!["hold", "--all"], "batch jobs held: 2\n"),
        (
            vec!["release", "--state", "held"],
            "batch jobs released: 1\n",
        ),
        (vec!["release", "6"], "nothing to release"),
        (vec!["release", "5"], "batch jobs released: 2\n"),
    ] {
        let ran = project.run(&args);
        assert!(ran.stderr.contains(message), "{args:?}: {ran:?}");
    }
    let control = fs::read_to_string(project.root.join("control")).unwrap();
    assert_eq!(control, "hold 5_0,5_2\nrelease 5_0\nrelease 5_0,5_2\n");
    let json = project.run(&["queue", "--json", "--state", "queued"]);
    let line: Value = serde_json::from_str(json.success()).unwrap();
    assert_eq!(
        (&line["batch_id"], &line["array"], &line["state"]),
        (&"5_2".into(), &"5".into(), &"queued".into())
    );
    assert_eq!(
        (&line["reason"], &line["operation"], &line["cluster"]),
        (&"Priority".into(), &"fly".into(), &"slurm".into())
    );
    assert_eq!(line["jobs"].as_array().unwrap().len(), 1);
    project.fake(
        "scontrol",
        "echo 'slurm_update error: Access denied' >&2; exit 1",
    );
    let ran = project.run(&["hold", "--all"]);
    assert!(ran.failure(1).contains("Access denied"), "{ran:?}");
}

#[test]
fn what_waits_is_listed_and_taken_back() {
    let project = Project::<Nowhere>::new(3, &operation("fly", "true", ""));
    project.fake("sbatch", "echo 5");
    let squeue = "n=$(sed -n 's/.*job-name=//p' .sweepfs/batches/*.sh)
        echo \"5_0|PENDING|Priority|$n\"; echo \"5_1|RUNNING|None|$n\"; echo \"5_[2%1]|PENDING|None|$n\"";
    project.fake("squeue", squeue);
    project.fake("scancel", "echo \"$@\" >> cancelled");
    project.fake("scontrol", "exit 1");
    project.run(&["submit", "--yes"]).success();
    let queue = project.run(&["queue"]);
    let id = |job: usize| {
        project.jobs[job]
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let mut ids = [id(0), id(1), id(2)];
    ids.sort();
    let expected = format!(
        "5_0  queued   fly  {}  Priority\n5_1  running  fly  {}\n5_2  queued   fly  {}\n",
        ids[0], ids[1], ids[2]
    );
    assert_eq!(queue.success(), expected);
    assert!(
        project
            .run(&["cancel"])
            .failure(2)
            .contains("what is to be cancelled?")
    );
    assert!(
        project
            .run(&["cancel", "5_7"])
            .stderr
            .contains("nothing to cancel")
    );
    let ran = project.run(&["cancel", "-j", &ids[0]]);
    assert!(ran.stderr.contains("cancelled: 1\n"), "{ran:?}");
    assert_eq!(
        project.run(&["next", "fly"]).success(),
        format!("{}\n", ids[0])
    );
    let cancelled = || fs::read_to_string(project.root.join("cancelled")).unwrap();
    assert_eq!(cancelled(), "5_0\n");
    project.run(&["cancel", "--all"]).success();
    assert_eq!(cancelled(), "5_0\n5_1 5_2\n");
    // Nothing was begun in truth.
    assert!(project.run(&["queue"]).success().is_empty());
}
