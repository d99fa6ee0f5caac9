"""Measures syncing two projects on one machine against rsync and signac."""

import contextlib
import dataclasses
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import time

from benchlib.measure import drop_caches, medians
from benchlib.peers import Peers
from benchlib.project import DOCUMENT, STEP, Grid, in_parallel, project, write
from benchlib.query import Bench, Case, Contender, size_as_text
from benchlib.ssh import machine, measure_ssh
from benchlib.text import log

# What the other side is before a run: as ours, without jobs, or as ours but for one document or many files.
SAME, EMPTY, ONE_CHANGED, MANY_CHANGED = "same", "empty", "one changed", "many changed"
N_MANY = 1000
NUMBERS = itertools.count()


def bench_sync(args):
    """Measures a large project against rsync, and a small one against signac."""
    if not shutil.which("rsync"):
        sys.exit("bench: there is no rsync; `scripts/setup` installs it")
    peers = Peers(args.peers, not args.without_peers, with_row=False)
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "runs": args.runs}
    # Nothing is removed before the end: ext4 is slow to make files where many were just removed.
    with contextlib.ExitStack() as made:
        new = lambda: made.enter_context(project(args.dir))
        sizes = [measure(new(), args, args.jobs, peers, with_signac=False)]
        if peers.signac:
            sizes.append(measure(new(), args, min(args.jobs, STEP), peers, with_signac=True))
        over_ssh = measure_over_ssh(new(), args, min(args.jobs, args.ssh_jobs), peers) if args.ssh_jobs else None
    if args.json:
        print(json.dumps({"machine": machine, "skipped": peers.skipped, "sizes": sizes, "ssh": over_ssh}, indent=2))
        return
    head = f"{machine['cores']} cores, Linux {machine['kernel']}; median of {args.runs}; a ratio is sweepfs / other"
    lines = [line for size in sizes for line in size_as_text(size)]
    if over_ssh:
        lines += ["", "over ssh", *size_as_text(over_ssh), "", "bytes over ssh for one changed document, there and back:", ""]
        lines += [f"{name:>20}  {sent:>10}  {received:>10}" for name, (sent, received) in over_ssh["bytes"].items()]
    print("\n".join([head, *lines, "", *(f"skipped: {text}" for text in peers.skipped)]))


def created(made, n_jobs):
    """Makes the jobs, and says how long that took."""
    log(f"creating {n_jobs} jobs with four files each")
    start = time.perf_counter()
    made.create(Grid.of(n_jobs))
    fill(made.workspace)
    return {"jobs": n_jobs, "create_s": time.perf_counter() - start}


def measure_over_ssh(made, args, n_jobs, peers):
    """Measures with a pretend machine."""
    size = created(made, n_jobs)
    with machine(made.dir) as there:
        bench = Syncs(made, peers, args.runs, there.home)
        size["cases"], size["bytes"] = measure_ssh(bench, there, (SAME, EMPTY, ONE_CHANGED, MANY_CHANGED))
    return size


def measure(made, args, n_jobs, peers, with_signac):
    """Measures at one size."""
    size = created(made, n_jobs)
    bench = Syncs(made, peers, args.runs, made.dir.parent)
    size["cases"] = {case.name: bench.case(case) for case in cases(made, peers, with_signac)}
    return size


def fill(workspace):
    """Gives every job a document and two files more."""
    names = sorted(os.listdir(workspace))
    in_parallel(fill_jobs, [(workspace, names[start : start + STEP]) for start in range(0, len(names), STEP)])


def fill_jobs(workspace, names):
    """Gives some jobs their files."""
    at = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY)
    for name in names:
        write(f"{name}/{DOCUMENT}", json.dumps({"distance": int(name[:8], 16) / 2**32}), at)
        write(f"{name}/out.csv", f"{name}\n" * 3, at)
        write(f"{name}/log.txt", f"{name}\n" * 30, at)
    os.close(at)


def cases(made, peers, with_signac):
    """Returns what is synced, and by whom."""
    options = ("-m", "-u", "--all-keys", "-r")
    commands = {
        "sweepfs": (made.program, "-q", "sync", other(made.dir.parent, "sweepfs")),
        "rsync": ("rsync", "-a", "workspace", other(made.dir.parent, "rsync")),
    }
    if with_signac:
        commands["signac"] = (peers.signac, "sync", ".", other(made.dir.parent, "signac"), *options)
    all_with = lambda state: tuple(Contender(name, (command,), {name: state}) for name, command in commands.items())
    return [
        Case("nothing to do", all_with(SAME)),
        Case("one document changed", all_with(ONE_CHANGED)),
        Case("first copy", all_with(EMPTY)),
        Case("nothing to do, disk cold", tuple(dataclasses.replace(one, cold=True) for one in all_with(SAME))),
    ]


def other(where, name):
    """Returns the other project of a contender."""
    return where / f"other-{name}"


class Syncs(Bench):
    """Brings the other side to a state before each run. Contenders take turns, so that all meet the same disk."""

    def __init__(self, made, peers, n_runs, where):
        super().__init__(made, peers, n_runs)
        self.where = where

    def case(self, case):
        """Returns the measurements of a case by contender."""
        log(case.name)
        runs = {contender.name: [] for contender in case.contenders}
        for n in range(self.n_runs):
            for contender in case.contenders[:: 1 if n % 2 == 0 else -1]:
                runs[contender.name].append(self.run(contender)[0])
        return {name: medians(of_one) for name, of_one in runs.items()}

    def jobs(self):
        """Returns the directories of jobs, in any order."""
        return (path for path in self.made.workspace.iterdir() if path.is_dir())

    def prepare(self, contender):
        """Makes the state that a contender is to find."""
        ((name, state),) = contender.caches.items()
        there = other(self.where, name)
        if state == EMPTY and there.exists():
            there.rename(there.with_name(f"old-{next(NUMBERS)}"))
            shutil.rmtree(self.made.dir / ".sweepfs" / "remotes", ignore_errors=True)
        if not there.exists():
            there.mkdir()
            subprocess.run([self.made.program, "-q", "init"], cwd=there, env=self.env, check=True)
        if state == EMPTY:
            os.sync()
            return
        subprocess.run(contender.commands[0], cwd=self.made.dir, env=self.env, check=True, capture_output=True)
        if state == ONE_CHANGED:
            job = next(self.jobs())
            (job / DOCUMENT).write_text(json.dumps({"distance": time.time()}))
        if state == MANY_CHANGED:
            for job in itertools.islice(self.jobs(), N_MANY):
                (job / "out.csv").write_text(f"{time.time()}\n")
        os.sync()
        if contender.cold:
            drop_caches()
