//! On what a real Slurm has printed, unless said otherwise.

use super::super::fixtures::{self, order};
use super::super::script;
use super::*;

fn array(id: &str, name: &str, n: u32) -> Array {
    fixtures::array(&Slurm, id, name, n)
}

#[test]
fn the_id_is_found_among_noise() {
    for (said, id) in [
        ("4\n", Some("4")),
        ("4;cluster\n", Some("4")),
        ("sbatch: lua: 200 hours are left\n4411\n\n", Some("4411")),
        ("4411\nWelcome to 2 clusters\n", Some("4411")),
        ("", None),
        ("Submitted batch job 4\n", None),
        (";x\n", None),
    ] {
        assert_eq!(submitted_id(said).as_deref(), id, "{said:?}");
    }
}

#[test]
fn elements_are_written_in_many_ways() {
    for (id, elements) in [
        ("662_4", Some(("662", vec![4]))),
        ("662_[4-7]", Some(("662", vec![4, 5, 6, 7]))),
        ("662_[0,4-5,9%3]", Some(("662", vec![0, 4, 5, 9]))),
        ("662_[1-9:4]", Some(("662", vec![1, 5, 9]))),
        ("662", Some(("662", vec![]))),
        ("662_[1,3,...]", None),
        ("662_[1-2:0]", None),
        ("x_1", None),
        ("", None),
    ] {
        let found = elements_of(id);
        assert_eq!(found, elements, "{id}");
    }
}

#[test]
fn what_the_queue_says_is_understood() {
    let said = "7_0|RUNNING|None|fly-1\n\
        7_1|PENDING|JobHeldUser|fly-1\n\
        7_2|COMPLETING|TimeLimit|fly-1\n\
        7_3|FAILED|NonZeroExitCode|fly-1\n\
        7_4|TIMEOUT|TimeLimit|fly-1\n\
        7_5|SOMETHING_NEW|None|fly-1\n\
        7_[6-7%2]|PENDING|Priority|fly-1\n\
        7_8|RUNNING|None|a|name\nwith|a|new|line\n\
        8_0|COMPLETED|None|another-1\n\
        9_0|COMPLETED|None|fly-1\n\
        \n";
    let arrays = [array("7", "fly-1", 10), array("8", "fly-2", 1)];
    let states = seen(&arrays, &lines(said));
    let state = |element| states.get(&format!("7_{element}")).cloned();
    assert_eq!(state(0), Some(Seen::Active(None)));
    assert_eq!(state(1), Some(Seen::Held));
    assert_eq!(state(2), Some(Seen::Active(Some(Verdict::TimedOut))));
    let failed = Seen::Ended(Verdict::Failed, "FAILED (NonZeroExitCode)".into());
    assert_eq!(state(3), Some(failed));
    assert_eq!(
        state(4),
        Some(Seen::Ended(Verdict::TimedOut, "TIMEOUT".into()))
    );
    assert_eq!(state(6), Some(Seen::Queued("Priority".into())));
    let unknown = Seen::Queued("in the state SOMETHING_NEW".into());
    assert_eq!(state(5), Some(unknown));
    assert_eq!((state(8), state(9)), (None, None));
    assert_eq!(states.len(), 8);
}

#[test]
fn what_the_accounting_says_is_understood() {
    let said = "7_0|COMPLETED|0:0|fly-1\n7_1|CANCELLED by 0|0:0|fly-1\n7_2|OUT_OF_ME+|0:125|fly-1\n\
        7_3|NODE_FAIL|0:0|fly-1\n7_4|FAILED|3:0|fly-1\n7_5|OUT_OF_MEMORY|0:125|fly-1\n";
    let states = seen(&[array("7", "fly-1", 9)], &lines(said));
    let verdict = |element| match states.get(&format!("7_{element}")) {
        Some(Seen::Ended(verdict, words)) => Some((*verdict, words.as_str())),
        _ => None,
    };
    assert_eq!(verdict(0), Some((Verdict::Completed, "COMPLETED")));
    assert_eq!(verdict(1), Some((Verdict::Cancelled, "CANCELLED")));
    assert_eq!(verdict(2), None);
    assert_eq!(verdict(3), Some((Verdict::NodeFailed, "NODE_FAIL")));
    assert_eq!(verdict(4), Some((Verdict::Failed, "FAILED (3:0)")));
    assert_eq!(verdict(5), Some((Verdict::OutOfMemory, "OUT_OF_MEMORY")));
}

#[test]
fn many_elements_are_read() {
    let said: String = (0..20_000)
        .map(|i| format!("{}_{}|PENDING|None|n\n", i / 1000, i % 1000))
        .collect();
    let arrays: Vec<_> = (0..20)
        .map(|id| array(&id.to_string(), "n", 1000))
        .collect();
    assert_eq!(seen(&arrays, &lines(&said)).len(), 20_000);
}

#[test]
fn a_script_asks_for_what_is_needed() {
    let order = Order {
        nodes: Some(2),
        options: &["--constraint=a100".into(), "--mail-type=END".into()],
        after: &["4".into(), "5".into()],
        ..order()
    };
    let script = script(&Slurm, &order, None).expect("a script");
    let expected = r#"#!/bin/bash
#SBATCH --job-name=fly-1
#SBATCH --array=0-199%5
#SBATCH --no-requeue
#SBATCH --ntasks=4
#SBATCH --cpus-per-task=2
#SBATCH --nodes=2
#SBATCH --gpus=1
#SBATCH --mem-per-cpu=513M
#SBATCH --time=1-12:00:01
#SBATCH --account='o'\''neill; rm'
#SBATCH --partition=gpu
#SBATCH --dependency=afterany:4:5
#SBATCH --hold
#SBATCH --constraint=a100
#SBATCH --mail-type=END

module load gcc
exec '/opt/my tools/sweepfs' -C '/data/a b'\''c' batch fly-1 "$SLURM_ARRAY_TASK_ID" "$SLURM_ARRAY_JOB_ID"
"#;
    assert_eq!(script.trim_end(), expected.trim_end());
    let nodes = Some(1);
    let script = super::super::script(&Slurm, &Order { nodes, ..order }, None);
    let script = script.expect("a script");
    assert!(script.contains("\n#SBATCH --nodes=1\n#SBATCH --gpus=1\n#SBATCH --mem=4097M\n"));
    let account = Some("two\nlines");
    super::super::script(&Slurm, &Order { account, ..order }, None)
        .expect_err("no line of an option");
}

#[test]
fn the_size_of_arrays_is_asked_for() {
    let config = "MailProg = /bin/mail\nMaxArraySize            = 1001\nMaxDBDMsgs = 20008\n";
    assert_eq!(array_size_max(config), Some(1001));
    assert_eq!(array_size_max("slurm_load_ctl_conf error"), None);
}

#[test]
fn what_a_script_asks_for_is_not_overruled() {
    let script = "#!/bin/bash\n#SBATCH --account=a\n#SBATCH --time=1\n#SBATCH --mem=4M\n\
        #SBATCH --gpus-per-node 2\n#SBATCH -p main\nexec x\n";
    let expected = [
        "SBATCH_ACCOUNT",
        "SBATCH_TIMELIMIT",
        "SBATCH_MEM_PER_NODE",
        "SBATCH_MEM_PER_CPU",
        "SBATCH_MEM_PER_GPU",
        "SBATCH_GPUS_PER_NODE",
    ];
    assert_eq!(overruling(script), expected);
}

#[test]
fn paths_are_no_patterns() {
    let command = Slurm.command(
        Path::new("/p/x.sh"),
        Path::new("/p"),
        Path::new("/p/100%/l"),
    );
    let command: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    let expected = [
        "sbatch",
        "--parsable",
        "--chdir=/p",
        "--output=/p/100%%/l/%a.log",
        "/p/x.sh",
    ];
    assert_eq!(command, expected);
}
