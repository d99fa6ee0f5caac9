"""Measures the state of a workflow, and its execution, against row, signac-flow, and plain shells."""

import json
import os
import platform
import shutil
import time

from benchlib.peers import WORKFLOW, Peers
from benchlib.project import Grid, job_id, project
from benchlib.query import PRESENT, Bench, Case, Contender, size_as_text
from benchlib.text import log

N_EXECUTIONS = 1000

# Like row's two actions: half of all jobs have what the first one makes.
OURS = """\
[[operation]]
name = "init"
command = "true {{ job.id }}"
post = 'file("init.out")'

[[operation]]
name = "analyze"
command = "true {{ job.id }}"
pre = 'after("init")'
post = 'file("analyze.out")'
"""

FLOW = """\
import flow


class Project(flow.FlowProject):
    pass


@Project.post.isfile("init.out")
@Project.operation(cmd=True)
def init(job):
    return "true"


@Project.pre.after(init)
@Project.post.isfile("analyze.out")
@Project.operation(cmd=True)
def analyze(job):
    return "true"


if __name__ == "__main__":
    Project().main()
"""

ONCE = '[[operation]]\nname = "once"\ncommand = "true"\n'


def bench_workflow(args):
    """Measures status at one size, and executions."""
    peers = Peers(args.peers, not args.without_peers, with_flow=True)
    with project(args.dir) as made:
        log(f"creating {args.jobs} jobs")
        start = time.perf_counter()
        made.create(Grid.of(args.jobs), with_results=True)
        size = {"jobs": args.jobs, "create_s": time.perf_counter() - start}
        for name, text in (("workflow.toml", WORKFLOW), ("sweepfs.toml", OURS), ("project.py", FLOW)):
            (made.dir / name).write_text(text)
        bench = Bench(made, peers, args.runs)
        size["cases"] = {case.name: bench.case(case) for case in states(made, Grid.of(args.jobs), peers)}
    with project(args.dir) as made:
        made.create(Grid.of(N_EXECUTIONS))
        (made.dir / "sweepfs.toml").write_text(ONCE)
        bench = Executions(made, peers, args.runs)
        size["cases"] |= {case.name: bench.case(case) for case in executions(made)}
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "runs": args.runs}
    if args.json:
        print(json.dumps({"machine": machine, "skipped": peers.skipped, **size}, indent=2))
        return
    head = f"{machine['cores']} cores, Linux {machine['kernel']}; median of {args.runs}; a ratio is sweepfs / other"
    print("\n".join([head, *size_as_text(size), "", *(f"skipped: {text}" for text in peers.skipped)]))


def states(made, grid, peers):
    """Returns the questions about the state of all jobs, and of one."""
    one = job_id(grid.middle())
    ours = lambda *args: (Contender("sweepfs", ((made.program, *args),), {"sweepfs": PRESENT}),)
    quiet = ("--cluster", "none", "--no-progress", "-q")
    row = lambda *args: by(peers.row, "row", *quiet, *args)
    # Row's status looks at no job; its scan does.
    looking = (peers.row, *quiet, "scan"), (peers.row, *quiet, "show", "status")
    row_looking = (Contender("row scan, show status", looking, {}),) if peers.row else ()
    flow = lambda *args: by(peers.flow, "signac-flow", "project.py", *args)
    return [
        Case("status", ours("status") + row_looking + row("show", "status") + flow("status", "--hide-progress")),
        Case("status of one job", ours("status", "-j", one) + row("show", "status", "-a", "init", one) + flow("status", "-j", one)),
        Case("next", ours("next", "init") + flow("next", "init")),
        Case("run, no job selected", ours("run", "-o", "init", "-f", "a<0") + flow("run", "-f", "a", "-1")),
        Case("run, everything looked at", ours("run", "-n", "0")),
    ]


def by(program, name, *args):
    """Returns a peer, if there is one."""
    return (Contender(name, ((program, *args),), {}),) if program else ()


def executions(made):
    """Returns ways to run a command that does nothing for each of many jobs, two at a time."""
    ids = f"ls {made.workspace}"
    shells = {"xargs bash -c true": f"{ids} | xargs -P2 -n1 bash -c true"}
    if shutil.which("parallel"):
        shells["GNU parallel"] = f"{ids} | parallel --will-cite -j2 true {{}}"
    shells = tuple(Contender(name, (("bash", "-c", text),), {}) for name, text in shells.items())
    ours = Contender("sweepfs", ((made.program, "run", "-p", "2"),), {})
    return [Case(f"run of {N_EXECUTIONS} x true", (ours, *shells))]


class Executions(Bench):
    """Forgets before each run what was executed."""

    def prepare(self, contender):
        """Removes the records."""
        for record in self.made.workspace.glob("*/sweepfs_flow.json"):
            record.unlink()
