//! A whole workflow that is sent at once.

use super::LIMIT;
use crate::support::batch::{Nowhere, Project, operation};
use crate::support::slurm::Slurm;
use serde_json::Value;
use std::fs;

/// Three operations, the last of which works on all jobs together.
fn workflow() -> String {
    let average = "[[operation]]\nname = \"average\"\ncommand = \"echo {{ jobs | length }} > all\"\n\
         pre = 'after(\"fly\")'\naggregate = { all = true }\n";
    [
        operation(
            "prepare",
            "test {{ sp.a }} != 3; echo '{\"name\": \"two\"}' > {{ job.dir }}/signac_job_document.json; touch {{ job.dir }}/one",
            "post = 'file(\"one\")'",
        ),
        // It does not name what it waits for, and its command depends on it.
        operation(
            "fly",
            "sleep 0.2; touch {{ job.dir }}/{{ doc.name }}",
            "pre = 'file(\"one\") and a>=0'\npost = 'file(\"two\")'",
        ),
        average.to_owned(),
    ]
    .concat()
}

#[test]
fn operations_that_depend_on_each_other_are_queued_at_once() {
    let Some(mut project) = Project::<Slurm>::with(3, &workflow()) else {
        return;
    };
    let ran = project.run(&["submit", "--yes", "--chain"]);
    for line in [
        "prepare: 3 executions in an array, each",
        "fly: 3 executions in an array, after others, each",
        "average: 1 execution in an array, after others, each",
        "prepare: 3 submitted, array 1\n",
        "fly: 3 submitted, array 2\n",
        "average: 1 submitted, array 3\n",
    ] {
        assert!(ran.stderr.contains(line), "{line}: {ran:?}");
    }
    let again = project.run(&["submit", "--yes", "--chain"]);
    assert!(again.stderr.contains("nothing to submit"), "{again:?}");
    project.wait_for_queue(LIMIT);
    assert_eq!(fs::read_to_string(project.root.join("all")).unwrap(), "3\n");
    assert!((0..3).all(|job| project.state(job, "fly") == "completed"));
    assert!((0..3).all(|job| project.n_begun(job) == 2));
    // Of two more, one fails, and what comes after it is given back.
    project.add_jobs(2);
    let ran = project.run(&["submit", "--yes", "--chain"]);
    assert!(ran.stderr.contains("fly: 2 submitted"), "{ran:?}");
    project.wait_for_queue(LIMIT);
    assert_eq!(project.state(3, "prepare"), "failed");
    assert_eq!(project.state(4, "fly"), "completed");
    assert_eq!((project.n_begun(3), project.n_begun(4)), (1, 2));
    let reason =
        "`file(\"one\") and a>=0` did not hold when its batch job began: there is no such file";
    assert_eq!(
        (project.state(3, "fly"), project.reason(3, "fly")),
        ("interrupted".into(), reason.into())
    );
    assert_eq!(project.record(3, "fly")["interruptions"], Value::Null);
    let id = project.jobs[3].file_name().unwrap().to_str().unwrap();
    let explained = project.run(&["explain", "fly", id]);
    assert!(explained.success().contains(reason), "{explained:?}");
}

#[test]
fn later_arrays_wait_for_those_before() {
    let project = Project::<Nowhere>::new(2, &workflow());
    project.fake("scontrol", "exit 1");
    let dry = project.run(&["submit", "--dry-run", "--chain"]);
    let script = dry.success();
    let after: Vec<_> = script
        .lines()
        .filter(|line| line.contains("--dependency="))
        .collect();
    assert_eq!(after.len(), 2, "{script}");
    assert!(
        after[0].starts_with("#SBATCH --dependency=afterany:prepare-"),
        "{script}"
    );
    assert!(
        after[1].starts_with("#SBATCH --dependency=afterany:fly-"),
        "{script}"
    );
    // Without what comes before, nothing can come after.
    let ran = project.run(&["submit", "--dry-run", "--chain", "-o", "fly", "average"]);
    assert!(
        ran.stderr.contains("nothing to submit") || ran.success().is_empty(),
        "{ran:?}"
    );
    // What was sent before counts.
    project.fake("sbatch", "n=$(cat n 2>/dev/null || echo 5); echo $((n+1)) > n; grep -o 'dependency=.*' \"${@: -1}\" >> deps; echo $n");
    project.fake("squeue", "for f in .sweepfs/batches/*.sh; do [[ -e $f ]] || continue; n=$(basename \"$f\" .sh); \
        [[ $* == *--name=* ]] || echo \"$([[ $n == prepare* ]] && echo 5 || echo 6)_[0-1]|PENDING|Dependency|$n\"; done");
    project.run(&["submit", "--yes", "-o", "prepare"]).success();
    let ran = project.run(&["submit", "--yes", "--chain", "-n", "2"]);
    assert!(
        ran.stderr.contains("fly: 2 submitted, array 6\n"),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("average"), "{ran:?}");
    assert_eq!(
        fs::read_to_string(project.root.join("deps")).unwrap(),
        "dependency=afterany:5\n"
    );
}

#[test]
fn a_chain_that_is_cut_while_it_is_sent_loses_nothing() {
    for signal in ["KILL", "HUP"] {
        let project = Project::<Nowhere>::new(2, &workflow());
        project.fake("scontrol", "exit 1");
        // The second array is taken, but nobody is there to hear it.
        let sbatch = format!(
            "n=$(cat n 2>/dev/null || echo 5); echo $((n+1)) > n; basename \"${{@: -1}}\" .sh > name-$n; \
             [[ $n == 5 ]] || {{ kill -{signal} $PPID; sleep 0.1; }}; echo $n"
        );
        project.fake("sbatch", &sbatch);
        let squeue = "for n in 5 6; do [[ -e name-$n ]] || continue; name=$(cat name-$n); \
             [[ $* != *--name=* || $* == *--name=$name* ]] && echo \"${n}_[0-1]|PENDING|None|$name\"; done; true";
        project.fake("squeue", squeue);
        let ran = project.run(&["submit", "--yes", "--chain"]);
        assert_eq!(ran.code, None, "{signal}: {ran:?}");
        assert_eq!(project.unrecorded().len(), 1);
        project.run(&["status"]).success();
        assert!(project.unrecorded().is_empty());
        for job in 0..2 {
            assert!(
                project.record(job, "prepare")["batch_id"]
                    .as_str()
                    .unwrap()
                    .starts_with("5_")
            );
            assert!(
                project.record(job, "fly")["batch_id"]
                    .as_str()
                    .unwrap()
                    .starts_with("6_")
            );
        }
        // What was not sent is sent by the next one, after what was.
        project.fake(
            "sbatch",
            "grep -o 'dependency=.*' \"${@: -1}\" > deps; echo 7",
        );
        let ran = project.run(&["submit", "--yes", "--chain"]);
        assert!(
            ran.stderr.contains("average: 1 submitted, array 7\n"),
            "{ran:?}"
        );
        assert_eq!(
            fs::read_to_string(project.root.join("deps")).unwrap(),
            "dependency=afterany:6\n"
        );
    }
}

#[test]
fn what_has_ended_meanwhile_is_not_waited_for() {
    let project = Project::<Nowhere>::new(2, &workflow());
    project.fake("scontrol", "exit 1");
    let sbatch = "n=$(cat n 2>/dev/null || echo 5); echo $((n+1)) > n; \
        echo \"$n: $(grep -o 'dependency=.*' \"${@: -1}\")\" >> deps; basename \"${@: -1}\" .sh > name-$n; echo $n";
    project.fake("sbatch", sbatch);
    // The first array has ended before the second is sent, which waits.
    let squeue = "[[ $* == *--name=* ]] || for n in 5 6; do [[ ! -e name-$n ]] || \
        echo \"${n}_[0-1]|$([[ $n == 5 ]] && echo COMPLETED || echo PENDING)|None|$(cat name-$n)\"; done";
    project.fake("squeue", squeue);
    let ran = project.run(&["submit", "--yes", "--chain"]);
    assert!(
        ran.stderr.contains("average: 1 submitted, array 7\n"),
        "{ran:?}"
    );
    let deps = fs::read_to_string(project.root.join("deps")).unwrap();
    assert_eq!(deps, "5: \n6: \n7: dependency=afterany:6\n");
}
