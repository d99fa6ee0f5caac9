"""Measures questions about a project against signac, row, and what cannot be faster."""

import dataclasses
import itertools
import json
import os
import platform
import shutil
import sys
import time

from benchlib.measure import drop_caches, medians, timed
from benchlib.peers import WORKFLOW, Peers
from benchlib.project import Grid, job_id, project
from benchlib.text import aligned, log

PEERS_MAX_JOBS = 200_000
CACHES = {"sweepfs": ".sweepfs", "signac": ".signac/statepoint_cache.json.gz", "row": ".row"}
# What a cache is to be before each run; fresh is one that has answered nothing yet.
ABSENT, PRESENT, FRESH = "absent", "present", "fresh"


@dataclasses.dataclass(frozen=True)
class Contender:
    """Commands that are measured as one."""

    name: str
    commands: tuple
    caches: dict
    answers: bool = False  # prints as many lines as there are answers, or their number
    cold: bool = False  # the kernel has forgotten the project


@dataclasses.dataclass(frozen=True)
class Case:
    """A question, and who is measured with it: sweepfs first."""

    name: str
    contenders: tuple
    n_answers: int | None = None  # if known


# What is asked


class Cases:
    """The questions to a project, and how each program is asked."""

    def __init__(self, made, grid, peers):
        self.made, self.grid = made, grid
        self.signac_program, self.row_program = peers.signac, peers.row
        self.n_jobs = grid.n_a * grid.n_b * grid.n_c
        self.middle = grid.middle()

    def sweepfs(self, *args, sweepfs=PRESENT, signac=None, answers=False, cold=False):
        """Asks sweepfs, with its own cache and signac's as told."""
        caches = {"sweepfs": sweepfs} | ({"signac": signac} if signac else {})
        return (Contender("sweepfs", ((self.made.program, *args),), caches, answers or args[0] == "find", cold),)

    def signac(self, *args, cache=PRESENT, answers=True, cold=False):
        """Asks signac, if there is one."""
        if not self.signac_program:
            return ()
        name = "signac, no cache" if cache == ABSENT else "signac"
        return (Contender(name, ((self.signac_program, *args),), {"signac": cache}, answers and args[0] == "find", cold),)

    def row(self, cold=False):
        """Asks row for its first status, if there is one."""
        if not self.row_program:
            return ()
        row = (self.row_program, "--cluster", "none", "--no-progress", "-q")
        return (Contender("row scan, show status", ((*row, "scan"), (*row, "show", "status")), {"row": ABSENT}, cold=cold),)

    def floor(self, *command, answers=False):
        """Runs something that cannot be slower for a good reason."""
        name = " ".join(os.path.basename(part) for part in command)
        return (Contender(name, (command,), {}, answers),)

    def first(self, cold=False):
        """Returns who answers from nothing; only sweepfs and row look at all jobs in the same way."""
        no_cache = self.sweepfs("find", "--count", sweepfs=ABSENT, signac=ABSENT, cold=cold)
        return no_cache + self.row(cold) + self.signac("find", "b", "3", cache=ABSENT, answers=False, cold=cold)

    def all(self):
        """Returns the cases; those that drop the kernel's caches come last."""
        return [
            Case("first index", self.first(), self.n_jobs),
            Case(
                "update-cache, no cache",
                self.sweepfs("update-cache", sweepfs=ABSENT, signac=ABSENT) + self.signac("update-cache", cache=ABSENT),
            ),
            Case(
                "first index, signac's cache there",
                self.sweepfs("find", "--count", sweepfs=ABSENT, signac=PRESENT),
                self.n_jobs,
            ),
            *self.finds(),
            *self.documents(),
            *self.overviews(),
            Case("first index, disk cold", self.first(cold=True), self.n_jobs),
        ]

    def finds(self):
        """Returns the cases that select by the state point."""
        a, b, c = (self.middle[key] for key in "abc")
        half = self.grid.n_a // 2
        started = self.floor(self.made.program, "--version") + self.floor(sys.executable, "-c", "pass")
        n_half = (self.grid.n_a - half) * self.grid.n_b * (self.grid.n_c - 1)
        ours = f"a>={half} and not c=1"
        theirs = json.dumps({"a": {"$gte": half}, "$not": {"c": 1}})
        one = {"a": a, "b": b, "c": c}
        return [
            Case("find b=3", self.sweepfs("find", "b=3") + self.signac("find", "b", "3") + started, self.n_jobs // self.grid.n_b),
            Case(
                "find, one job",
                self.sweepfs("find", *(f"{key}={value}" for key, value in one.items()))
                + self.signac("find", *(str(part) for item in one.items() for part in item)),
                1,
            ),
            Case("find --count, range and not", self.sweepfs("find", "--count", ours) + self.signac("find", theirs), n_half),
            Case(
                "find, all",
                self.sweepfs("find") + self.signac("find") + self.floor("ls", "-U", "workspace", answers=True),
                self.n_jobs,
            ),
        ]

    def documents(self):
        """Returns the cases that look into documents."""
        ours = ("find", "--count", "doc.distance>0.5")
        theirs = self.signac("find", json.dumps({"doc.distance": {"$gt": 0.5}}))
        return [
            Case("find in documents, first time", self.sweepfs(*ours, sweepfs=FRESH) + theirs),
            Case("find in documents", self.sweepfs(*ours) + theirs),
        ]

    def overviews(self):
        """Returns the cases that show what there is."""
        job = job_id(self.middle)
        return [
            Case("schema", self.sweepfs("schema") + self.signac("schema")),
            Case("table --stats", self.sweepfs("table", "a", "b", "c", "--stats", "--by", "c")),
            Case("table -f b=3", self.sweepfs("table", "-f", "b=3")),
            Case("statepoint of one job", self.sweepfs("statepoint", job) + self.signac("statepoint", job)),
        ]


# Measuring


class Bench:
    """Measures the cases of one project."""

    def __init__(self, made, peers, n_runs):
        self.made, self.peers, self.n_runs = made, peers, n_runs
        self.env = made.env | {"ROW_HOME": str(made.dir / "row-home"), "SIGNAC_FLOW_ENVIRONMENT": "StandardEnvironment"}

    def case(self, case):
        """Returns the measurements of a case by contender."""
        log(case.name)
        results, answers = {}, {"expected": case.n_answers} if case.n_answers is not None else {}
        for contender in case.contenders:
            runs, n_answers = self.contender(contender)
            results[contender.name] = medians(runs)
            if contender.answers and runs:
                answers[contender.name] = n_answers
        if len(set(answers.values())) > 1:
            sys.exit(f"bench: {case.name}: the numbers of answers differ: {answers}")
        return results

    def contender(self, contender):
        """Returns the runs of a contender, none if the kernel's caches must be dropped and cannot be, and the answers."""
        if contender.cold and not drop_caches():
            return [], None
        if contender.cold or all(state == PRESENT for state in contender.caches.values()):
            # What is below the kernel may have a cache as well.
            self.run(contender)
        runs = [self.run(contender) for _ in range(self.n_runs)]
        return [run for run, _ in runs], runs[-1][1]

    def run(self, contender):
        """Prepares and runs a contender's commands; returns the sum and the number of answers."""
        self.prepare(contender)
        runs = [timed(command, self.env, cwd=self.made.dir) for command in contender.commands]
        n_answers = None
        if contender.answers:
            n_answers = int(runs[-1]["head"]) if "--count" in contender.commands[-1] else runs[-1]["lines"]
        total = {key: sum(run[key] for run in runs) for key in ("wall_s", "cpu_s", "bytes")}
        return total | {"peak_kb": max(run["peak_kb"] for run in runs)}, n_answers

    def prepare(self, contender):
        """Makes and removes caches, the kernel's last."""
        for name, state in contender.caches.items():
            path = self.made.dir / CACHES[name]
            if state != PRESENT and path.is_dir():
                shutil.rmtree(path)
            elif state != PRESENT:
                path.unlink(missing_ok=True)
            if state != ABSENT and not path.exists():
                self.make_cache(name)
        if contender.cold:
            drop_caches()
            # What the program itself needs of the disk is not to count.
            timed([contender.commands[0][0], "--version"], self.env)

    def make_cache(self, name):
        """Has a program make its cache; sweepfs makes that of signac if there is no signac."""
        program, *args = {
            "sweepfs": (self.made.program, "find", "--count"),
            "signac": (self.peers.signac or self.made.program, "update-cache"),
        }[name]
        timed([program, *args], self.env, cwd=self.made.dir)


def bench_query(args):
    """Measures questions about projects of all sizes."""
    peers = Peers(args.peers, not args.without_peers)
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "runs": args.runs}
    show = (lambda lines: None) if args.json else (lambda lines: print("\n".join(lines), flush=True))
    show([f"{machine['cores']} cores, Linux {machine['kernel']}; median of {machine['runs']}; a ratio is sweepfs / other"])
    sizes = [measure_size(args, n_jobs, peers, show) for n_jobs in args.jobs]
    if args.json:
        print(json.dumps({"machine": machine, "skipped": peers.skipped, "sizes": sizes}, indent=2))
        return
    if len(sizes) > 1:
        show(growth_as_text(sizes))
    if peers.skipped:
        show(["", *(f"skipped: {text}" for text in peers.skipped)])


def measure_size(args, n_jobs, peers, show):
    """Measures a project of so many jobs; shows the result before the project is removed, which takes a while."""
    if n_jobs > PEERS_MAX_JOBS and not args.peers_at_all_sizes and (peers.signac or peers.row):
        peers.skip(f"peers with {n_jobs} jobs: see --peers-at-all-sizes")
        peers = Peers(args.peers, wanted=False)
    grid = Grid.of(n_jobs)
    with project(args.dir) as made:
        log(f"creating {n_jobs} jobs")
        start = time.perf_counter()
        made.create(grid, with_results=True)
        size = {"jobs": n_jobs, "create_s": time.perf_counter() - start}
        (made.dir / "workflow.toml").write_text(WORKFLOW)
        bench = Bench(made, peers, args.runs)
        size["cases"] = {case.name: bench.case(case) for case in Cases(made, grid, peers).all()}
        show(size_as_text(size))
    return size


# The report


def size_as_text(size):
    """Lays the measurements of a size out as lines."""
    head = f"{size['jobs']} jobs, created in {size['create_s']:.1f} s"
    rows = [["", "sweepfs s", "CPU s", "MiB", "other", "s", "CPU s", "MiB", "ratio", "CPU ratio"]]
    for name, results in size["cases"].items():
        (_, ours), *others = results.items()
        for i, (other, theirs) in enumerate(others or [("-", None)]):
            first = [name, *numbers(ours)] if i == 0 else [""] * 4
            rows.append([*first, other, *numbers(theirs), ratio(ours, theirs, "wall_s"), ratio(ours, theirs, "cpu_s")])
    return ["", head, "", *aligned(rows, "<>>><>>>>>")]


def numbers(run):
    """Returns the cells of a measurement."""
    return [f"{run['wall_s']:.3f}", f"{run['cpu_s']:.3f}", f"{run['peak_kb'] / 1024:.1f}"] if run else ["-"] * 3


def ratio(ours, theirs, key):
    """Returns the cell of a ratio, as a fraction if below 1."""
    if not (ours and theirs and ours[key] and theirs[key]):
        return "-"
    quotient = ours[key] / theirs[key]
    return f"1/{1 / quotient:.3g}" if quotient < 1 else f"{quotient:.2f}"


def growth_as_text(sizes):
    """Lays out how sweepfs grows from size to size, as lines."""
    rows = [["sweepfs"]]
    for i, size in enumerate(sizes):
        rows[0] += [f"{size['jobs']} jobs, s", "CPU s"] + (["times", "CPU times"] if i else [])
    for name in sizes[0]["cases"]:
        runs = [next(iter(size["cases"][name].values())) for size in sizes]
        rows.append([name, *numbers(runs[0])[:2]])
        for before, run in itertools.pairwise(runs):
            rows[-1] += [*numbers(run)[:2], times(before, run, "wall_s"), times(before, run, "cpu_s")]
    return ["", "Growth", "", *aligned(rows, "<" + ">" * (len(rows[0]) - 1))]


def times(before, run, key):
    """Returns the cell of a growth factor."""
    return f"{run[key] / before[key]:.1f}" if before and run and before[key] else "-"
