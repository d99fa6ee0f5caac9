"""Measures submission to a private Slurm, and asking how far it is, against signac-flow and row.

No batch job begins, so that only what is asked of the scheduler counts. Calls of its commands are
counted by programs of the same names that stand before them.
"""

import collections
import json
import os
import platform
import shutil
import subprocess

from benchlib.measure import medians, timed
from benchlib.peers import Peers
from benchlib.project import SOURCE, Grid, project
from benchlib.text import aligned, log

COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")

OURS = '[[operation]]\nname = "once"\ncommand = "true"\npost = \'file("out")\'\nresources = { walltime = "10m" }\n'

ROW = """\
[workspace]
path = "workspace"
value_file = "signac_statepoint.json"

[[action]]
name = "once"
command = "true {directory}"
products = ["out"]
[action.group]
maximum_size = 1
[action.resources]
walltime.per_submission = "00:10:00"
"""

ROW_CLUSTERS = """\
[[cluster]]
name = "private"
identify.always = true
scheduler = "slurm"
[[cluster.partition]]
name = "main"
"""

FLOW = """\
import flow


class Project(flow.FlowProject):
    pass


@Project.post.isfile("out")
@Project.operation(cmd=True, directives={"walltime": 0.2})
def once(job):
    return "true"


if __name__ == "__main__":
    Project().main()
"""


def bench_submit(args):
    """Measures submission at one size, and status with more in the queue."""
    peers = Peers(args.peers, not args.without_peers, with_flow=True)
    numbers = {"executions": args.jobs, "queued": args.queued}
    with project(args.dir) as made, Slurm(made.dir.parent / "slurm") as slurm:
        for name, text in (("sweepfs.toml", OURS), ("workflow.toml", ROW), ("project.py", FLOW)):
            (made.dir / name).write_text(text)
        settings = made.dir / "row-home" / ".config" / "row"
        settings.mkdir(parents=True)
        (settings / "clusters.toml").write_text(ROW_CLUSTERS)
        made.create(Grid.of(args.queued))
        contenders = programs(made, peers)
        bench = Bench(made, slurm, args)
        numbers["submit"] = {name: bench.submit(contender, args.jobs) for name, contender in contenders.items()}
        numbers["status"] = {name: bench.status(contender) for name, contender in contenders.items()}
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "runs": args.runs}
    if args.json:
        print(json.dumps({"machine": machine, "skipped": peers.skipped, **numbers}, indent=2))
        return
    head = f"{machine['cores']} cores, Linux {machine['kernel']}; median of {args.runs}; all with the same private Slurm"
    print("\n".join([head, *as_text(numbers), "", *(f"skipped: {text}" for text in peers.skipped)]))


def programs(made, peers):
    """Returns how each program submits at most so many, and how it says how far they are."""
    ours = (str(made.program), "-q")
    found = {
        "sweepfs": (
            lambda n: (*ours, "submit", "--cluster", "slurm", "--yes", "-n", str(n)),
            (*ours, "status"),
        )
    }
    if peers.row:
        row = (peers.row, "--no-progress", "-q")
        found["row"] = (lambda n: (*row, "submit", "--yes", "-n", str(n)), (*row, "show", "status"))
    if peers.flow:
        flow = (peers.flow, "project.py")
        found["signac-flow"] = (lambda n: (*flow, "submit", "-n", str(n)), (*flow, "status", "--hide-progress"))
    return found


class Slurm:
    """A private Slurm in which nothing begins, and programs that count what it is asked."""

    def __init__(self, directory):
        self.dir, self.bin, self.calls = directory, directory / "bin", directory / "calls"
        self.env = {}

    def __enter__(self):
        self.cluster("up", "--nodes", "2", "--cpus", "4")
        self.bin.mkdir()
        for name in COMMANDS:
            program = self.bin / name
            program.write_text(f'#!/bin/sh\necho {name} >>"{self.calls}"\nexec {shutil.which(name)} "$@"\n')
            program.chmod(0o755)
        self.env = {"SLURM_CONF": str(self.dir / "slurm.conf"), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        self.run("scontrol", "update", "PartitionName=main", "State=DOWN")
        return self

    def __exit__(self, *_):
        self.cluster("down")

    def cluster(self, verb, *args):
        """Starts or stops it."""
        subprocess.run([SOURCE / "scripts" / "cluster", "slurm", verb, self.dir, *args], check=True, stdout=subprocess.DEVNULL)

    def run(self, *command):
        """Runs one of its commands; returns what it prints."""
        return subprocess.run(command, env=os.environ | self.env, check=True, text=True, capture_output=True).stdout

    def counted(self):
        """Returns how often each command was called, and begins anew."""
        calls = self.calls.read_text().split() if self.calls.exists() else []
        self.calls.write_text("")
        return collections.Counter(calls)

    def queued(self):
        """Returns how many batch jobs wait."""
        return len(self.run("squeue", "-h", "-r", "-o", "%i").splitlines())


class Bench:
    """Measures one program after the other, each in an empty queue."""

    def __init__(self, made, slurm, args):
        self.made, self.slurm, self.args = made, slurm, args
        own = {"ROW_HOME": str(made.dir / "row-home"), "SIGNAC_FLOW_ENVIRONMENT": "DefaultSlurmEnvironment"}
        self.env = made.env | own | slurm.env

    def submit(self, contender, n):
        """Returns the median of submissions of so many executions."""
        runs = []
        for _ in range(self.args.runs):
            self.forget()
            runs.append(self.measured(contender[0](n), n))
        return medians(runs)

    def status(self, contender):
        """Returns the median of questions with a long queue, each of which must be asked anew."""
        submit, status = contender
        self.forget()
        log(f"queueing {self.args.queued}")
        timed(submit(self.args.queued), self.env, cwd=self.made.dir)
        env = self.env | {"SWEEPFS_POLL_SECONDS": "0"}
        self.slurm.counted()
        runs = [self.measured(status, self.args.queued, env) for _ in range(self.args.runs)]
        return medians(runs)

    def measured(self, command, n_queued, env=None):
        """Runs a command, after which so many batch jobs must be queued."""
        self.slurm.counted()
        run = timed(command, env or self.env, cwd=self.made.dir)
        calls = self.slurm.counted()
        if self.slurm.queued() != n_queued:
            raise SystemExit(f"bench: {command}: {self.slurm.queued()} batch jobs are queued, not {n_queued}")
        return {key: run[key] for key in ("wall_s", "cpu_s", "peak_kb")} | {name: calls[name] for name in COMMANDS}

    def forget(self):
        """Empties the queue, and removes what the programs have noted."""
        self.slurm.run("scancel", "--user", str(os.getuid()))
        for name in (".sweepfs", ".row", ".bundles"):
            shutil.rmtree(self.made.dir / name, ignore_errors=True)
        (self.made.dir / "signac_project_document.json").unlink(missing_ok=True)
        for record in self.made.workspace.glob("*/sweepfs_flow.json"):
            record.unlink()
        self.made.sweepfs("status")


def as_text(numbers):
    """Returns tables of the numbers."""
    lines = []
    for what, n in (("submit", numbers["executions"]), ("status", numbers["queued"])):
        rows = [("", "wall s", "CPU s", "MiB", *COMMANDS[:4])]
        for name, run in numbers[what].items():
            calls = (f"{run[command]:.0f}" for command in COMMANDS[:4])
            rows.append((name, f"{run['wall_s']:.3f}", f"{run['cpu_s']:.3f}", f"{run['peak_kb'] / 1024:.0f}", *calls))
        title = f"submit of {n} executions" if what == "submit" else f"status with {n} in the queue"
        lines += ["", title, *aligned(rows, "<>>>>>>>")]
    return lines
