//! Which clusters are known, which one is meant, and what is sent there.

use crate::support::batch::{Cluster, Nowhere, Project, operation};
use crate::support::env::{Env, Ran};
use crate::support::local::LocalQueue;
use crate::support::sge::Sge;
use crate::support::slurm::Slurm;
use std::fs;
use std::time::Duration;

/// A project on a machine that has nothing but what tests put there.
struct Machine(Project);

impl Machine {
    fn new(config: &str) -> Self {
        let project = Project::<Nowhere>::new(2, config);
        project.fake("hostname", "echo n1.example.org");
        Self(project)
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.0.command(args);
        command.env("PATH", format!("{}:/bin-of-nothing", self.0.bin.display()));
        command.envs(variables.iter().copied());
        Ran::of(command)
    }

    /// Writes the user's descriptions.
    fn describe(&self, text: &str) {
        let dir = self.0.env.home().join(".config/sweepfs");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("clusters.toml"), text).unwrap();
    }

    /// Checks which cluster is chosen, and why.
    #[track_caller]
    fn check(&self, variables: &[(&str, &str)], name: &str, why: &str) {
        let shown = self.run(&["cluster", "show"], variables);
        let shown = shown.success();
        assert!(shown.contains(&format!("\n[cluster.{name}]\n")), "{shown}");
        assert_eq!(
            shown.lines().next(),
            Some(format!("# chosen, since {why}").as_str())
        );
    }
}

#[test]
fn the_cluster_is_found() {
    let machine = Machine::new(&operation("fly", "true", ""));
    let great = [("CLUSTER_NAME", "greatlakes")];
    machine.check(&great, "greatlakes", "CLUSTER_NAME is greatlakes");
    machine.0.fake("sbatch", "exit 1");
    machine.check(&[("CLUSTER_NAME", "other")], "slurm", "there is `sbatch`");
    machine.0.fake(
        "hostname",
        "[ \"$*\" = --fqdn ] && echo gl-login2.arc-ts.umich.edu",
    );
    let why = "this host is called gl-login2.arc-ts.umich.edu";
    machine.check(&[], "greatlakes", why);
    // The user's own description of another cluster on the same host goes before.
    machine.describe("[cluster.mine]\nscheduler = 'slurm'\nhost = 'gl-.*[.]edu'\n");
    machine.check(&[], "mine", why);
    let named = [("SWEEPFS_CLUSTER", "slurm")];
    machine.check(&named, "slurm", "SWEEPFS_CLUSTER names it");
    let shown = machine.run(&["cluster", "show", "mine"], &named);
    assert!(shown.success().starts_with("# chosen, since you name it\n"));
    let listed = machine.run(&["cluster", "list"], &[]).success().to_owned();
    let stars: Vec<_> = listed
        .lines()
        .filter(|line| line.starts_with('*'))
        .collect();
    assert_eq!(stars.len(), 1, "{listed}");
    assert!(
        stars[0].starts_with("* mine         slurm    /"),
        "{listed}"
    );
    assert!(
        listed.contains("  greatlakes   slurm    built in\n"),
        "{listed}"
    );
}

#[test]
fn descriptions_are_read_over_each_other() {
    let config = operation("fly", "true", "resources = { walltime = '1h' }");
    let config = config + "\n[cluster.greatlakes]\noptions = '--qos=high'\n";
    let machine = Machine::new(&config);
    machine.describe("[cluster.greatlakes]\naccount = \"physics0\"\noptions = '--qos=low'\n");
    let send = ["submit", "--cluster", "greatlakes", "--dry-run"];
    let sent = machine.run(&send, &[]);
    let sent = sent.success();
    let lines = [
        "--account=physics0",
        "--partition=standard",
        "--qos=high",
        "--nodes=1",
    ];
    for line in lines {
        assert!(
            sent.contains(&format!("\n#SBATCH {line}\n")),
            "{line}: {sent}"
        );
    }
    assert!(!sent.contains("low"), "{sent}");
    // What is shown can be put into a file, and is the same again.
    let shown = machine.run(&["cluster", "show", "greatlakes"], &[]);
    machine.describe(shown.success());
    let again = machine.run(&["cluster", "show", "greatlakes"], &[]);
    assert_eq!(again.success(), shown.success());
    let custom = "[cluster.own]\nscheduler = 'custom'\n[cluster.own.custom]\nsubmit = 's'\nid = 'i'\n\
        list = 'l'\nline = '(?P<id>.)(?P<element>.)(?P<state>.)(?P<name>.)'\ncancel = 'c'\n\
        elements_max = 9\nfirst_element = 1\ntemplate = 't'\n";
    machine.describe(custom);
    let shown = machine.run(&["cluster", "show", "own"], &[]);
    assert!(
        shown.success().contains("\nfirst_element = 1\n"),
        "{shown:?}"
    );
}

#[test]
fn what_does_not_fit_is_not_sent() {
    let large = operation("large", "true", "resources = { threads = 500 }");
    let machine = Machine::new(&(large + &operation("small", "true", "")));
    let sent = machine.run(&["submit", "--cluster", "andes", "--dry-run"], &[]);
    assert_eq!(sent.code, Some(3), "{sent:?}");
    let reason = "large: no partition of `andes` can take it: `batch` has 32 cores on a node, not 500, \
                  `gpu` is for those who need GPUs";
    assert!(sent.stderr.contains(reason), "{sent:?}");
    assert!(sent.stdout.contains("--job-name=small-") && !sent.stdout.contains("large"));
    // The rest may be sent, and whole nodes are paid.
    let sent = machine.run(&["submit", "--cluster", "andes"], &[]);
    let cost = "small: 2 executions in an array, each 1 core, no walltime, in `batch`, \
                which gives whole nodes: 32 cores";
    assert!(sent.stderr.contains(cost), "{sent:?}");
}

#[test]
fn nothing_waits_for_what_is_not_sent() {
    let large = operation("large", "true", "resources = { threads = 500 }");
    let then = operation("then", "true", "pre = 'after(\"large\")'");
    let machine = Machine::new(&(large + &then));
    let send = ["submit", "--cluster", "andes", "--chain", "--dry-run"];
    let sent = machine.run(&send, &[]);
    assert_eq!(sent.code, Some(3), "{sent:?}");
    assert_eq!(sent.stdout, "");
    let told = "then: not submitted, since nothing that it waits for is";
    assert!(sent.stderr.contains(told), "{sent:?}");
}

#[test]
fn mistakes_in_descriptions_are_named() {
    let machine = Machine::new(&operation("fly", "true", ""));
    let file = machine.0.env.home().join(".config/sweepfs/clusters.toml");
    let check = |text: &str, message: &str, hint: &str| {
        machine.describe(text);
        let shown = machine.run(&["cluster", "list"], &[]);
        assert_eq!(shown.code, Some(1), "{shown:?}");
        let expected = format!("error: `{}`{message}\nhint: {hint}\n", file.display());
        assert_eq!(shown.stderr, expected);
    };
    check(
        "[cluster.a]\nschedular = 'slurm'\n",
        ", line 2, column 1: unknown key `schedular`",
        "did you mean `scheduler`?",
    );
    check(
        "[cluster.a]\nhost = 'a'\n",
        " does not say which `scheduler` the cluster `a` has",
        "there are `slurm`, `sge`, `pbs`, `torque`, `lsf`, `flux`, `local`, `custom`",
    );
    check(
        "[cluster.a]\nscheduler = 'slrum'\n",
        ", line 2, column 13: there is no scheduler `slrum`",
        "did you mean `slurm`?",
    );
    check(
        "[view.a]\n",
        ", line 1, column 2: unknown section `view`",
        "there are `cluster`",
    );
    check(
        "[[cluster.a.partitions]]\nname = 'x'\nwalltime_max = '2 weeks'\n",
        ", line 3, column 16: `walltime_max`: `2 weeks` has an unknown unit",
        "write a time such as `90m`, `1.5h`, `01:30:00` or `1-12:00:00`",
    );
    machine.describe("");
    let shown = machine.run(&["submit", "--cluster", "slrum", "--dry-run"], &[]);
    assert_eq!(shown.code, Some(2));
    assert!(
        shown.stderr.contains("hint: did you mean `slurm`?"),
        "{shown:?}"
    );
}

#[test]
fn mistakes_in_templates_are_named() {
    let machine = Machine::new(&operation("fly", "true", ""));
    let dir = machine.0.root.join("templates");
    fs::create_dir(&dir).unwrap();
    let path = dir.join("script.sh");
    let check = |text: &str, message: &str| {
        fs::write(&path, text).unwrap();
        let sent = machine.run(&["submit", "--cluster", "slurm", "--dry-run"], &[]);
        assert_eq!(sent.code, Some(1), "{sent:?}");
        let expected = format!(
            "error: `{}` is no template for scripts: {message}",
            path.display()
        );
        assert!(sent.stderr.starts_with(&expected), "{sent:?}");
    };
    check(
        "{% extends \"base.sh\" %}\n{% block setup %}\n{{ naem }}\n{% endblock %}",
        "`naem` is undefined, in line 3 of the template",
    );
    check("{% extends \"other.sh\" %}", "");
    check("{% block", "");
    // That of a cluster goes before that of all.
    fs::write(
        dir.join("slurm.sh"),
        "{% extends \"base.sh\" %}{% block body %}\necho {{ name }}\n{% endblock %}",
    )
    .unwrap();
    let sent = machine.run(&["submit", "--cluster", "slurm", "--dry-run"], &[]);
    assert!(
        sent.success()
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("echo fly-")),
        "{sent:?}"
    );
}

/// A machine on which two real schedulers and our own queue can be used.
struct Everywhere {
    slurm: Slurm,
    local: LocalQueue,
    sge: Sge,
}

impl Cluster for Everywhere {
    fn up(env: &Env) -> Option<Self> {
        Some(Self {
            slurm: Slurm::up(env)?,
            local: LocalQueue::up(env)?,
            sge: Sge::up(env)?,
        })
    }

    fn vars(&self) -> Vec<(String, String)> {
        [self.slurm.vars(), self.local.vars(), self.sge.vars()].concat()
    }
}

#[test]
fn one_project_goes_to_any_cluster() {
    let chain = [
        operation(
            "prepare",
            "touch {{ job.dir }}/one",
            "post = 'file(\"one\")'",
        ),
        operation(
            "fly",
            "echo \"{{ launcher }}\" > {{ job.dir }}/two",
            "pre = 'after(\"prepare\")'\npost = 'file(\"two\")'\n\
             resources = { threads = 2, memory = \"512M\", walltime = \"10m\" }",
        ),
        operation(
            "land",
            "touch {{ job.dir }}/three",
            "pre = 'after(\"fly\")'\npost = 'file(\"three\")'",
        ),
    ];
    let Some(project) = Project::<Everywhere>::with(3, &chain.concat()) else {
        return;
    };
    for cluster in ["local", "slurm", "sge"] {
        let ran = project.run(&["submit", "--cluster", cluster, "--chain", "--yes"]);
        ran.success();
        for name in ["prepare", "fly", "land"] {
            let message = format!("{name}: 3 submitted, array ");
            assert!(ran.stderr.contains(&message), "{cluster}: {ran:?}");
        }
        project.wait_for_queue(Duration::from_secs(120));
        for job in 0..3 {
            for name in ["prepare", "fly", "land"] {
                let record = project.record(job, name);
                let known = (&record["state"], &record["cluster"]);
                assert_eq!(known, (&"completed".into(), &cluster.into()), "{record}");
            }
            assert_eq!(project.n_begun(job), 3);
            for file in ["one", "two", "three", "begun", "sweepfs_flow.json"] {
                fs::remove_file(project.jobs[job].join(file)).unwrap();
            }
        }
    }
}
