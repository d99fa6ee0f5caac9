"""Measures a mounted view against the same tree of real directories and links."""

import json
import os
import platform
import shutil
import sys
import time
from pathlib import Path

from benchlib.measure import cpu_s, drop_caches, medians, timed
from benchlib.project import Grid, project
from benchlib.text import aligned, log

LIVE_LIMIT_S = 60
READ_MIB = 512

TOOLS = {
    "ls of one level": ["ls", "{level}"],
    "find": ["find", "{tree}"],
    "ls -lR": ["ls", "-lR", "{tree}"],
    "find -L -type d": ["find", "-L", "{tree}", "-type", "d"],
    "du -s": ["du", "-s", "{tree}"],
    "tar cf -": ["tar", "cf", "-", "-C", "{tree}", "."],
}


def measure(project, command, level, n_runs):
    """Runs a command over both trees, or at a level of both, cold and warm."""
    results = {}
    for kind, tree in (("sweepfs", project.view), ("real", project.real)):
        at = filled(command, tree, tree / level)
        # What the tool itself needs of the disk is not to count.
        idle = filled(command, project.dir / ".signac", project.dir / ".signac")
        runs = {"cold": [], "warm": []}
        for _ in range(n_runs):
            # The daemon watches the workspace, which slows down what follows links into it.
            project.unmount()
            daemon = project.mount() if kind == "sweepfs" else None
            is_cold = drop_caches() if kind == "real" or "-L" in command else True
            timed(idle, project.env)
            for state in ("cold", "warm"):
                run = timed(at, project.env, daemon)
                if is_cold or state == "warm":
                    runs[state].append(run)
        results[kind] = {state: medians(of_state) for state, of_state in runs.items()}
    return results


def filled(command, tree, level):
    """Returns a command of `TOOLS` for a tree and a directory in it."""
    return [part.format(tree=tree, level=level) for part in command]


def measure_levels(project, sample, n_runs):
    """Measures listings of what only a mount has; cold is the first question to a new daemon."""
    key, value, second = sample[0], sample[1], sample[2]
    levels = {"by": "by", "a key in by": f"by/{second}", "two levels in by": f"by/{second}/{sample[3]}"}
    levels |= {"a filter": f"view/{key}>={value}", "a level below": f"view/{key}>={value}/{key}/{value}"}
    results = {}
    for name, level in levels.items():
        runs = {"cold": [], "warm": []}
        for _ in range(n_runs):
            project.unmount()
            daemon = project.mount()
            os.listdir(project.view)
            for state in runs:
                runs[state].append(timed(["ls", project.view.parent / level], project.env, daemon))
        results[name] = {state: medians(of_state) for state, of_state in runs.items()}
    return results


def measure_reads(project, sample, n_runs):
    """Measures reading a large warm file in the workspace, through the link, and below `--leaf dir`."""
    job = project.view.joinpath(*sample, "job")
    file = Path(os.readlink(job)) / "large"
    with open(file, "wb") as out:
        for _ in range(READ_MIB):
            out.write(os.urandom(1 << 20))
    results = {}
    for name, options in (("through a link", []), ("below --leaf dir", ["--leaf", "dir"])):
        project.unmount()
        project.sweepfs("mount", *options)
        runs = {"native": [], "sweepfs": []}
        for _ in range(n_runs + 1):
            for kind, path in (("native", file), ("sweepfs", job / "large")):
                runs[kind].append(timed(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"], project.env))
        # The first run fills the cache.
        results[name] = {kind: medians(of_kind[1:]) for kind, of_kind in runs.items()}
    project.unmount()
    file.unlink()
    return results


def measure_start(project, n_runs):
    """Measures from nothing to a first listing; the CPU seconds are the daemon's."""
    runs = {"cold": [], "warm": []}
    for state in runs:
        for _ in range(n_runs):
            project.unmount()
            if state == "cold" and not drop_caches():
                break
            start = time.perf_counter()
            project.sweepfs("mount")
            mount_s = time.perf_counter() - start
            ls_s = timed(["ls", str(project.view)], project.env)["wall_s"]
            runs[state].append({"wall_s": mount_s + ls_s, "daemon_cpu_s": cpu_s(project.daemon())})
    return {state: medians(of_state) for state, of_state in runs.items()}


def memory_kb(process):
    """Returns the memory of a process now and at most."""
    lines = (line.split() for line in (process / "status").read_text().splitlines())
    return {fields[0].rstrip(":"): int(fields[1]) for fields in lines if fields[0] in ("VmRSS:", "VmHWM:")}


def measure_live(project, sample, n_runs):
    """Measures how long after the start of a change the view shows it, with its directory listed before."""
    runs = []
    for i in range(n_runs):
        values = dict(zip(sample[::2], map(int, sample[1::2]))) | {sample[-2]: 10**6 + i}
        link = project.view.joinpath(*sample[:-1], str(10**6 + i), "job")
        os.listdir(link.parent.parent)
        os.path.lexists(link)
        start = time.perf_counter()
        job = project.sweepfs("job", "-cp", json.dumps(values)).strip()
        appeared_s = wait_for(lambda: os.path.lexists(link)) - start
        start = time.perf_counter()
        shutil.rmtree(job)
        vanished_s = wait_for(lambda: not os.path.lexists(link)) - start
        runs.append({"appeared_s": appeared_s, "vanished_s": vanished_s})
    return medians(runs)


def wait_for(condition):
    """Returns the time at which a condition first holds."""
    limit = time.perf_counter() + LIVE_LIMIT_S
    while not condition():
        if time.perf_counter() > limit:
            sys.exit(f"bench: the view does not show a change within {LIVE_LIMIT_S} s")
        time.sleep(0.0005)
    return time.perf_counter()


# The benchmark and its report


def bench_mount(args):
    """Measures a mounted view against the same tree on disk."""
    with project(args.dir) as made:
        log(f"creating {args.jobs} jobs")
        made.create(Grid.of(args.jobs))
        memory = {"after mount": memory_kb(made.mount())}
        log("making the real tree")
        made.make_real_tree()
        link = next(made.view.glob("*/*/*/*/*/*/*/*/job"))
        sample = link.parent.relative_to(made.view).parts
        report = {
            "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "caches_dropped": drop_caches()},
            "tree": {"jobs": args.jobs, "path": "/".join(sample), "target_bytes": len(os.readlink(link)), "runs": args.runs},
            "start": measure_start(made, args.runs),
            "tools": {},
        }
        level = Path(*sample[:-1])
        for name, command in TOOLS.items():
            log(name)
            report["tools"][name] = measure(made, command, level, args.runs)
        log("levels")
        report["levels"] = measure_levels(made, sample, args.runs)
        log("reads")
        report["reads"] = measure_reads(made, sample, args.runs)
        made.unmount()
        daemon = made.mount()
        for command in TOOLS.values():
            timed(filled(command, made.view, made.view / level), made.env)
        memory["after walks"] = memory_kb(daemon)
        log("changes")
        report["live"] = measure_live(made, sample, args.runs)
        memory["after changes"] = memory_kb(daemon)
        report["memory_kb"] = memory
        print(json.dumps(report, indent=2) if args.json else as_text(report), flush=True)


def as_text(report):
    """Lays a report out as text."""
    machine, tree, start, live = report["machine"], report["tree"], report["start"], report["live"]
    cold = "caches dropped" if machine["caches_dropped"] else "caches not dropped, which needs root"
    rows = [["seconds", "", "real", "sweepfs", "ratio", "CPU real", "CPU sweepfs", "CPU daemon"]]
    for name, trees in report["tools"].items():
        rows += [[name if state == "cold" else "", state, *compared(trees, state)] for state in ("cold", "warm")]
    for name, runs in report["levels"].items():
        rows += [[f"ls of {name}" if state == "cold" else "", state, "-", *alone(run)] for state, run in runs.items()]
    for name, runs in report["reads"].items():
        rows.append([f"read {name}", "warm", *compared({"real": {"warm": runs["native"]}, "sweepfs": {"warm": runs["sweepfs"]}}, "warm")])
    more = [[f"index, mount, first ls, {state}", *started(start[state])] for state in start]
    more += [[f"a job {what.removesuffix('_s')}", f"{wall_s:.3f} s"] for what, wall_s in live.items()]
    for when, kb in report["memory_kb"].items():
        more.append([f"daemon's memory {when}", f"{kb['VmRSS'] / 1024:.1f} MiB, at most {kb['VmHWM'] / 1024:.1f} MiB"])
    head = [
        f"{tree['jobs']} jobs like {tree['path']}/job, links of {tree['target_bytes']} bytes; median of {tree['runs']}",
        f"{machine['cores']} cores, Linux {machine['kernel']}, {cold}",
    ]
    return "\n".join([*head, "", *aligned(rows, "<<>>>>>>"), "", *aligned(more, "<<")])


def compared(trees, state):
    """Returns a row's cells for the two trees."""
    real, sweepfs = trees["real"][state], trees["sweepfs"][state]
    seconds = lambda run, key: f"{run[key]:.3f}" if run else "skipped"
    ratio = f"{sweepfs['wall_s'] / real['wall_s']:.2f}" if real else "-"
    walls = [seconds(real, "wall_s"), seconds(sweepfs, "wall_s"), ratio]
    return [*walls, seconds(real, "cpu_s"), seconds(sweepfs, "cpu_s"), seconds(sweepfs, "daemon_cpu_s")]


def alone(run):
    """Returns a row's cells for what no real tree has."""
    return [f"{run['wall_s']:.3f}", "-", "-", f"{run['cpu_s']:.3f}", f"{run['daemon_cpu_s']:.3f}"]


def started(run):
    """Returns a row's cell for a start."""
    return [f"{run['wall_s']:.3f} s, CPU of the daemon {run['daemon_cpu_s']:.3f} s" if run else "skipped: needs root"]
