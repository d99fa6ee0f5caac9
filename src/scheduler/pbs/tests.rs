use super::super::{Needs, Verdict, fixtures, script};
use super::*;

const OPEN_PBS: Pbs = Pbs(Dialect::OpenPbs);
const TORQUE: Pbs = Pbs(Dialect::Torque);

fn array(id: &str, name: &str, n: u32) -> Array {
    fixtures::array(&OPEN_PBS, id, name, n)
}

/// Elements may have another name, and need more GPUs, than others ask for.
fn order() -> Order<'static> {
    let usual = fixtures::order();
    Order {
        name: "fly-0123456789abcdef",
        needs: Needs {
            gpus: 4,
            ..usual.needs
        },
        ..usual
    }
}

#[test]
fn a_script_asks_for_what_is_needed() {
    let options = ["-m e".to_owned()];
    let order = Order {
        options: &options,
        ..order()
    };
    let expected = r#"#!/bin/bash
#PBS -N b23456789abcdef
#PBS -S /bin/bash
#PBS -J 0-199%5
#PBS -j oe
#PBS -V
#PBS -l select=4:ncpus=2:mpiprocs=1:mem=1025mb:ngpus=1
#PBS -l walltime=36:00:01
#PBS -A 'o'\''neill; rm'
#PBS -q gpu
#PBS -h
#PBS -m e

cd '/data/a b'\''c' || exit
module load gcc
exec '/opt/my tools/sweepfs' -C '/data/a b'\''c' batch fly-0123456789abcdef "$PBS_ARRAY_INDEX" "$PBS_ARRAY_ID"
"#;
    let written = script(&OPEN_PBS, &order, None).expect("a script");
    assert_eq!(written, expected);
    let written = script(&TORQUE, &order, None).expect("a script");
    for line in [
        "#PBS -t 0-199%5\n",
        "#PBS -l nodes=1:ppn=8:gpus=4\n#PBS -l mem=4097mb\n#PBS -l walltime=36:00:01\n",
        " batch fly-0123456789abcdef \"$PBS_ARRAYID\" \"${PBS_JOBID%%\\[*}[]\"\n",
    ] {
        assert!(written.contains(line), "{line}: {written}");
    }
}

#[test]
fn one_element_is_no_array_for_pbs() {
    let one = Order {
        n_elements: 1,
        at_once: None,
        ..order()
    };
    let written = script(&OPEN_PBS, &one, None).expect("a script");
    assert!(!written.contains("#PBS -J"), "{written}");
    assert!(written.contains("#PBS -r n\n"), "{written}");
    assert!(
        written.ends_with(" batch fly-0123456789abcdef 0 \"$PBS_JOBID\"\n"),
        "{written}"
    );
    let written = script(&TORQUE, &one, None).expect("a script");
    assert!(written.contains("#PBS -t 0-0\n"), "{written}");
}

#[test]
fn gpus_that_cannot_be_shared_out_are_on_one_node() {
    let needs = Needs {
        gpus: 3,
        ..order().needs
    };
    let resources = OPEN_PBS.resources(&Order { needs, ..order() });
    let chunk = "select=1:ncpus=8:mpiprocs=4:mem=4097mb:ngpus=3";
    assert_eq!(resources[0], chunk);
}

#[test]
fn nodes_are_as_many_as_are_asked_for() {
    let nodes = Some(2);
    let resources = OPEN_PBS.resources(&Order { nodes, ..order() });
    let expected = [
        "select=2:ncpus=4:mpiprocs=2:mem=2049mb:ngpus=2",
        "place=scatter",
    ];
    assert_eq!(resources[..2], expected);
    let resources = TORQUE.resources(&Order { nodes, ..order() });
    assert_eq!(resources[0], "nodes=2:ppn=4:gpus=2");
    // Of three processes, two are on one of the nodes, and need two thirds of the memory.
    let needs = Needs {
        processes: 3,
        gpus: 0,
        memory_bytes: Some(3 << 30),
        ..order().needs
    };
    let order = Order {
        nodes,
        needs,
        ..order()
    };
    let resources = OPEN_PBS.resources(&order);
    assert_eq!(resources[0], "select=2:ncpus=4:mpiprocs=2:mem=2048mb");
}

#[test]
fn names_are_short() {
    assert_eq!(
        batch_name("a_long_operation-0123456789abcdef"),
        "b23456789abcdef"
    );
    assert_eq!(batch_name("short-1"), "short-1");
    assert_eq!(batch_name("1-2"), "b1-2");
}

#[test]
fn elements_have_names() {
    for said in ["10[].pbsh", "10[]", "10[2].pbsh"] {
        let id = OPEN_PBS.array_id(said);
        assert_eq!((id.id.as_str(), id.element(2).as_str()), ("10[]", "10[2]"));
    }
    let id = OPEN_PBS.array_id("6.pbsh");
    assert_eq!((id.id.as_str(), id.element(0).as_str()), ("6", "6"));
}

#[test]
fn arrays_wait_for_arrays() {
    let ids = ["4".to_owned(), "10[]".to_owned()];
    assert_eq!(OPEN_PBS.dependency(&ids), "afterany:4:10[]");
    assert_eq!(TORQUE.dependency(&ids[1..]), "afteranyarray:10[]");
    assert_eq!(OPEN_PBS.dependency(&[]), "");
}

#[test]
fn the_size_of_arrays_is_told() {
    let said = "Server: pbsh\n    server_state = Active\n    max_array_size = 500\n";
    assert_eq!(array_size_max(said), Some(500));
    assert_eq!(array_size_max("    max_job_array_size = 20\n"), Some(20));
    assert_eq!(array_size_max("Server: pbsh\n"), None);
}

fn verdict(states: &States, id: &str) -> Option<Verdict> {
    match states.get(id)? {
        Seen::Ended(verdict, _) => Some(*verdict),
        _ => None,
    }
}

#[test]
fn json_is_understood() {
    let said = r#"{"timestamp": 1795334406, "pbs_version": "23.06.06", "pbs_server": "pbsh", "Jobs": {
        "10[].pbsh": {"Job_Name": "fly-1", "job_state": "B", "array": true},
        "10[0].pbsh": {"Job_Name": "fly-1", "job_state": "X", "substate": 92, "Exit_status": 0},
        "10[1].pbsh": {"Job_Name": "fly-1", "job_state": "F", "substate": 93, "Exit_status": 3},
        "10[2].pbsh": {"Job_Name": "fly-1", "job_state": "F", "Exit_status": -29},
        "10[3].pbsh": {"Job_Name": "fly-1", "job_state": "F", "substate": 91, "Exit_status": 0},
        "10[4].pbsh": {"Job_Name": "fly-1", "job_state": "F"},
        "10[5].pbsh": {"Job_Name": "fly-1", "job_state": "F", "Exit_status": 271},
        "10[6].pbsh": {"Job_Name": "fly-1", "job_state": "R", "stime": "Sun Nov 22 08:00:01 2026",
            "Resource_List": {"walltime": "00:00:05"}, "Variable_List": {"A": "x"}},
        "10[7].pbsh": {"Job_Name": "fly-1", "job_state": "Q", "comment": "Not Running: Host is busy"},
        "10[8].pbsh": {"Job_Name": "fly-1", "job_state": "H", "Hold_Types": "s"},
        "10[9].pbsh": {"Job_Name": "fly-1", "job_state": "H", "Hold_Types": "u"},
        "10[10].pbsh": {"Job_Name": "fly-1", "job_state": "?"},
        "10[11].pbsh": {"Job_Name": "fly-1", "job_state": "F", "Exit_status": -27},
        "6.pbsh": {"Job_Name": "another", "job_state": "R"},
        "7.pbsh": {"Job_Name": "fly-7", "job_state": "R", "Resource_List": {"walltime": "01:00:00"}}}}"#;
    let listing = Listing::of_json(&format!("Welcome\n{said}\n")).expect("JSON");
    let arrays = [
        array("10[].pbsh", "fly-1", 13),
        array("6", "fly-6", 1),
        array("7", "fly-7", 1),
        array("8", "fly-8", 1),
    ];
    let states = seen(&arrays, &listing);
    let verdicts: Vec<_> = (0..6)
        .map(|i| verdict(&states, &format!("10[{i}]")))
        .collect();
    let expected = [
        Verdict::Completed,
        Verdict::Failed,
        Verdict::TimedOut,
        Verdict::Cancelled,
        Verdict::Cancelled,
        Verdict::Cancelled,
    ];
    assert_eq!(verdicts, expected.map(Some));
    assert_eq!(states["10[6]"], Seen::Active(Some(Verdict::TimedOut)));
    assert_eq!(
        states["10[7]"],
        Seen::Queued("Not Running: Host is busy".into())
    );
    assert_eq!(states["10[8]"], Seen::Queued("dependency".into()));
    assert_eq!(states["10[9]"], Seen::Held);
    assert_eq!(verdict(&states, "10[11]"), Some(Verdict::OutOfMemory));
    // One in a state that we do not know, and one that is not told of while the array goes on.
    assert!(!states.contains_key("10[10]") && !states.contains_key("10[12]"));
    // Another server has that number for another one; the last one is unknown.
    assert_eq!(states["6"], Seen::Gone);
    assert_eq!(states["7"], Seen::Active(None));
    assert_eq!(states["8"], Seen::Gone);
    assert!(
        Listing::of_json("{\"timestamp\": 1}")
            .expect("JSON")
            .jobs
            .is_empty()
    );
    assert!(Listing::of_json("{\"Jobs\": {\"6.pbsh\": {\"A\": \"\\x\"}}}").is_none());
}

#[test]
fn elements_of_an_array_that_is_held_are_held() {
    let said = r#"{"Jobs": {"10[].pbsh": {"Job_Name": "fly-1", "job_state": "H", "Hold_Types": "u"},
        "10[0].pbsh": {"Job_Name": "fly-1", "job_state": "Q"}}}"#;
    let states = seen(
        &[array("10[]", "fly-1", 1)],
        &Listing::of_json(said).expect("JSON"),
    );
    assert_eq!(states["10[0]"], Seen::Held);
}

#[test]
fn text_is_understood() {
    let said = "Job Id: 123[0].server\n    Job_Name = fly-1\n    job_state = C\n    exit_status = 271\n    \
        Resource_List.walltime = 00:01:00\n    resources_used.walltime = 00:01:07\n\n\
        Job Id: 123[1].server\n    Job_Name = fly-1\n    job_state = C\n    exit_status = -11\n\n\
        Job Id: 123[2].server\n    Job_Name = fly-1\n    job_state = C\n    exit_status = 0\n\n\
        Job Id: 123[3].server\n    Job_Name = fly-1\n    job_state = C\n    exit_status = 271\n\n\
        Job Id: 123[4].server\n    Job_Name = fly-1\n    job_state = H\n    Hold_Types = u\n\n";
    let states = seen(&[array("123[]", "fly-1", 6)], &Listing::of_text(said));
    let verdicts: Vec<_> = (0..4)
        .map(|i| verdict(&states, &format!("123[{i}]")))
        .collect();
    let expected = [
        Verdict::TimedOut,
        Verdict::TimedOut,
        Verdict::Completed,
        Verdict::Cancelled,
    ];
    assert_eq!(verdicts, expected.map(Some));
    assert_eq!(
        (&states["123[4]"], &states["123[5]"]),
        (&Seen::Held, &Seen::Gone)
    );
}
