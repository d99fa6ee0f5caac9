//! On what a real Grid Engine 8.1.9 has printed, unless said otherwise.

use super::super::fixtures::{self, order};
use super::super::{Needs, script};
use super::*;

fn array(id: &str, name: &str, n: u32) -> Array {
    fixtures::array(&Sge::default(), id, name, n)
}

#[test]
fn the_id_is_found_among_noise() {
    for (said, id) in [
        ("4\n", Some("4")),
        ("6.1-3:1\n", Some("6")),
        ("12.5 hours are left\n6.1-300:2\n\n", Some("6")),
        ("6.1-1:1\nWelcome to 2 clusters\n", Some("6")),
        ("", None),
        ("6.\n", None),
        ("6.1-\n", None),
        ("Your job 4 (\"a.sh\") has been submitted\n", None),
    ] {
        assert_eq!(submitted_id(said).as_deref(), id, "{said:?}");
    }
}

/// Names may hold anything but a few letters, and `<` comes out as it should not.
const QUEUE: &str = r#"<?xml version='1.0'?>
<job_info  xmlns:xsd="http://arc.liv.ac.uk/repos/darcs/sge/source/dist/util/resources/schemas/qstat/qstat.xsd">
  <queue_info>
    <job_list state="running">
      <JB_job_number>1</JB_job_number>
      <JAT_prio>0.50000</JAT_prio>
      <JB_name>fly-1</JB_name>
      <JB_owner>root</JB_owner>
      <state>dr</state>
      <JAT_start_time>2026-11-24T15:55:10</JAT_start_time>
      <queue_name>all.q@localhost</queue_name>
      <slots>1</slots>
      <tasks>1</tasks>
    </job_list>
    <job_list state="running">
      <JB_job_number>1</JB_job_number>
      <JAT_prio>0.50000</JAT_prio>
      <JB_name>fly-1</JB_name>
      <JB_owner>root</JB_owner>
      <state>t</state>
      <JAT_start_time>2026-11-24T15:55:10</JAT_start_time>
      <queue_name>all.q@localhost</queue_name>
      <slots>1</slots>
      <tasks>2</tasks>
    </job_list>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>1</JB_job_number>
      <JAT_prio>0.25000</JAT_prio>
      <JB_name>fly-1</JB_name>
      <JB_owner>root</JB_owner>
      <state>Eqw</state>
      <JB_submission_time>2026-11-24T15:56:12</JB_submission_time>
      <queue_name></queue_name>
      <slots>1</slots>
      <tasks>3</tasks>
    </job_list>
    <job_list state="pending">
      <JB_job_number>9</JB_job_number>
      <JAT_prio>0.25000</JAT_prio>
      <JB_name>single</JB_name>
      <JB_owner>root</JB_owner>
      <state>qw</state>
      <JB_submission_time>2026-11-24T15:56:12</JB_submission_time>
      <queue_name></queue_name>
      <slots>1</slots>
    </job_list>
    <job_list state="pending">
      <JB_job_number>4</JB_job_number>
      <JAT_prio>0.00000</JAT_prio>
      <JB_name>a&quot;b%lt;&amp;</JB_name>
      <JB_owner>root</JB_owner>
      <state>hqw</state>
      <JB_submission_time>2026-11-24T15:56:12</JB_submission_time>
      <queue_name></queue_name>
      <slots>1</slots>
      <tasks>1</tasks>
    </job_list>
    <job_list state="pending">
      <JB_job_number>1</JB_job_number>
      <JAT_prio>0.00000</JAT_prio>
      <JB_name>fly-1</JB_name>
      <JB_owner>root</JB_owner>
      <state>hqw</state>
      <JB_submission_time>2026-11-24T15:56:12</JB_submission_time>
      <queue_name></queue_name>
      <slots>1</slots>
      <tasks>4-6:2,7</tasks>
    </job_list>
    <job_list state="zombie">
      <JB_job_number>1</JB_job_number>
      <JAT_prio>0.00000</JAT_prio>
      <JB_name>fly-1</JB_name>
      <JB_owner>root</JB_owner>
      <state>z</state>
      <JB_submission_time>2026-11-24T15:55:10</JB_submission_time>
      <queue_name></queue_name>
      <slots>1</slots>
      <tasks>8-9:1</tasks>
    </job_list>
  </job_info>
</job_info>
"#;

#[test]
fn what_the_queue_says_is_understood() {
    let lines = answers::queue(QUEUE).expect("all is there");
    assert_eq!(lines.len(), 7);
    let arrays = [array("1", "fly-1", 7), array("4", "another", 3)];
    let states = Asked::new(&arrays).seen(&lines);
    let state = |id: &str| states.get(id).cloned();
    assert_eq!(state("1.1"), Some(Seen::Active(Some(Verdict::Cancelled))));
    assert_eq!(state("1.2"), Some(Seen::Active(None)));
    let why = "in error: `qstat -j ID` says why, `qmod -cj ID` tries again";
    assert_eq!(state("1.3"), Some(Seen::Queued(why.to_owned())));
    let why = "until another array has ended, or an operator releases it";
    for id in ["1.4", "1.6", "1.7"] {
        assert_eq!(state(id), Some(Seen::Queued(why.to_owned())));
    }
    // Neither those that have ended nor those of another cluster.
    assert_eq!(states.len(), 6);
    // What was cut off would look as if the rest were gone.
    let cut = QUEUE.len() / 2;
    assert_eq!(answers::queue(&QUEUE[..cut]), None);
    assert_eq!(answers::queue(""), None);
}

#[test]
fn an_array_is_found_by_its_name() {
    let said = "==============================================================
job_number:                 1
exec_file:                  job_scripts/1
owner:                      nobody
sge_o_path:                 /usr/bin:/bin
job_name:                   fly-0123456789abcdef
shell_list:                 NONE:/bin/bash
env_list:                   PATH=/usr/bin:/bin
job-array tasks:            1-3:1
";
    let found = answers::described(said, "fly-0123456789abcdef");
    assert_eq!(found.as_deref(), Some("1"));
    assert_eq!(answers::described(said, "fly-0123456789abcde"), None);
    let both = format!(
        "{}{said}",
        said.replace("     1\n", "     7\n").replace("fly-", "x-")
    );
    let found = answers::described(&both, "x-0123456789abcdef");
    assert_eq!(found.as_deref(), Some("7"));
    let found = answers::described(&both, "fly-0123456789abcdef");
    assert_eq!(found.as_deref(), Some("1"));
}

#[test]
fn letters_are_understood() {
    let queued = |why: &str| Some(Seen::Queued(why.to_owned()));
    for (letters, seen) in [
        ("qw", queued("")),
        ("Rq", queued("once more")),
        ("dqw", queued("being deleted")),
        ("x", queued("in the state x")),
        ("r", Some(Seen::Active(None))),
        ("Rr", Some(Seen::Active(None))),
        ("s", Some(Seen::Active(None))),
        ("S", Some(Seen::Active(None))),
        ("tT", Some(Seen::Active(None))),
        ("dt", Some(Seen::Active(Some(Verdict::Cancelled)))),
        ("dRr", Some(Seen::Active(Some(Verdict::Cancelled)))),
        ("z", None),
    ] {
        assert_eq!(state_of(letters), seen, "{letters}");
    }
}

#[test]
fn many_elements_are_read() {
    let one = |i: u32| {
        format!(
            "<job_list state=\"pending\">\n<JB_job_number>{}</JB_job_number>\n<JB_name>n</JB_name>\n\
             <state>qw</state>\n<tasks>{}</tasks>\n</job_list>\n",
            i / 1000,
            i % 1000 + 1
        )
    };
    let all: String = (0..20_000).map(one).collect();
    let lines = answers::queue(&format!("<job_info>{all}</job_info>\n")).expect("all is there");
    let arrays: Vec<_> = (0..20)
        .map(|id| array(&id.to_string(), "n", 1000))
        .collect();
    let states = Asked::new(&arrays).seen(&lines);
    assert_eq!(states.len(), 20_000);
}

/// Of one task, some fields are left out.
const RECORD: &str = "==============================================================
qname        all.q               
hostname     localhost           
owner        root                
project      NONE                
jobname      t2                  
jobnumber    2                   
taskid       1                   
account      sge                 
end_time     Tue Nov 24 15:56:15 2026
granted_pe   NONE                
slots        1                   
failed       37  : qmaster enforced h_rt, h_cpu, or h_vmem limit
exit_status  137                  (Killed)
ru_wallclock 65s
maxvmem      26.984MB
arid         undefined
category     -l h_rt=4
";

#[test]
fn what_the_accounting_says_is_understood() {
    let with = |changes: &[(&str, &str)]| {
        let change = |line: &str| {
            let found = changes.iter().find(|(name, _)| line.starts_with(name));
            found.map_or(line.to_owned(), |(name, value)| format!("{name} {value}"))
        };
        let lines: Vec<_> = RECORD.lines().map(change).collect();
        lines.join("\n")
    };
    let check = |changes: &[(&str, &str)], verdict: Verdict, words: &str| {
        let records = answers::accounting(&with(changes));
        let [record] = &records[..] else {
            panic!("{records:?}");
        };
        assert_eq!(end_of(record), Seen::Ended(verdict, words.to_owned()));
    };
    let limit = "failed 37: qmaster enforced h_rt, h_cpu, or h_vmem limit";
    check(&[], Verdict::TimedOut, limit);
    let fine = ("failed", "0    ");
    check(&[fine, ("exit_status", "0")], Verdict::Completed, "exit 0");
    check(&[fine, ("exit_status", "3")], Verdict::Failed, "exit 3");
    let died = ("failed", "100 : assumedly after job");
    let words = "failed 100: assumedly after job";
    check(&[died], Verdict::Cancelled, words);
    let segfault = ("exit_status", "139                  (Segmentation fault)");
    check(&[died, segfault], Verdict::Failed, words);
    let output = ("failed", "26  : opening input/output file");
    let words = "failed 26: opening input/output file";
    check(&[output, ("exit_status", "0")], Verdict::Failed, words);
    let again = ("failed", "25  : rescheduling");
    check(&[again], Verdict::NodeFailed, "failed 25: rescheduling");
    // Memory is asked for per slot.
    let (slots, asked) = (
        ("slots", "2"),
        ("category", "-U u -l h_rt=4,h_vmem=1G -pe smp 2"),
    );
    check(
        &[slots, asked, ("maxvmem", "1.500GB")],
        Verdict::TimedOut,
        limit,
    );
    check(
        &[slots, asked, ("maxvmem", "2.001GB")],
        Verdict::OutOfMemory,
        limit,
    );
}

/// As Univa Grid Engine has it.
#[test]
fn who_deleted_it_is_told_by_some() {
    let deleted = format!("{RECORD}deleted_by   root@localhost\n");
    assert!(answers::accounting(&deleted)[0].was_deleted);
    let not = format!("{RECORD}deleted_by   NONE\n");
    assert!(!answers::accounting(&not)[0].was_deleted);
}

#[test]
fn records_are_read_one_by_one() {
    let second = RECORD.replace("taskid       1", "taskid       2");
    let records = answers::accounting(&format!("{RECORD}{second}"));
    let tasks: Vec<_> = records.iter().map(|record| record.task).collect();
    assert_eq!(tasks, [1, 2]);
    let known = (records[0].array.as_str(), records[1].name.as_str());
    assert_eq!(known, ("2", "t2"));
    // A batch job that is no array has no number.
    let single = RECORD.replace("taskid       1", "taskid       undefined");
    assert_eq!(answers::accounting(&single), []);
    assert_eq!(answers::accounting(""), []);
}

#[test]
fn a_script_asks_for_what_is_needed() {
    let order = Order {
        options: &["-l scratch=10G".into(), "-m a".into()],
        after: &["4".into(), "5".into()],
        ..order()
    };
    let sge = Sge {
        parallel_environment: Some("openmp".to_owned()),
    };
    let written = script(&sge, &order, None).expect("a script");
    let expected = r#"#!/bin/bash
#$ -N fly-1
#$ -t 1-200
#$ -tc 5
#$ -S /bin/bash
#$ -V
#$ -r n
#$ -notify
#$ -pe openmp 8
#$ -l gpu=1
#$ -l h_vmem=513M
#$ -l h_rt=36:00:01
#$ -P 'o'\''neill; rm'
#$ -q gpu
#$ -hold_jid 4,5
#$ -h
#$ -l scratch=10G
#$ -m a

# Grid Engine takes the exit statuses 99 and 100 for orders.
trap 'case $? in 99 | 100) exit 1 ;; esac' EXIT
mkdir -p "$1" && exec >>"$1/$((SGE_TASK_ID - 1)).log" 2>&1
cd '/data/a b'\''c' || exit

module load gcc
exec '/opt/my tools/sweepfs' -C '/data/a b'\''c' batch fly-1 "$((SGE_TASK_ID - 1))" "$JOB_ID"
"#;
    assert_eq!(written.trim_end(), expected.trim_end());
}

#[test]
fn a_script_asks_for_nothing_else() {
    // One core is no environment.
    let single = Needs {
        processes: 1,
        threads: 1,
        gpus: 0,
        memory_bytes: None,
        walltime_s: None,
    };
    let order = Order {
        needs: single,
        ..order()
    };
    let written = script(&Sge::default(), &order, None).expect("a script");
    assert!(!written.contains("#$ -pe") && !written.contains("#$ -l gpu"));
    let two_lines = Order {
        account: Some("two\nlines"),
        ..order
    };
    script(&Sge::default(), &two_lines, None).expect_err("no line of an option");
}

#[test]
fn the_size_of_arrays_is_asked_for() {
    let config = "max_aj_instances             2000\nmax_aj_tasks                 75000\nmax_u_jobs                   0\n";
    assert_eq!(tasks_max(config), Some(75_000));
    assert_eq!(tasks_max("max_aj_tasks 0\n"), None);
    assert_eq!(tasks_max(""), None);
}

#[test]
fn paths_are_arguments() {
    let (script, project) = (Path::new("/p,q/x.sh"), Path::new("/p,q"));
    let command = Sge::default().command(script, project, Path::new("/p,q/$l"));
    let command: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    let expected = "qsub -terse -b n -sync n -wd / -j y -o /dev/null /p,q/x.sh /p,q/$l";
    assert_eq!(command.join(" "), expected);
}
