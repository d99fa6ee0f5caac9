"""Makes projects to measure."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from benchlib.text import log

SOURCE = Path(__file__).resolve().parent.parent.parent
STATEPOINT, DOCUMENT, PRODUCT = "signac_statepoint.json", "signac_job_document.json", "init.out"
STEP = 1000  # jobs
SMALL = 4 * STEP


@dataclasses.dataclass(frozen=True)
class Grid:
    """The state points: every combination of `a`, `b` and `c`; `d` is 0 or 1 and follows from `c`."""

    n_a: int
    n_b: int
    n_c: int

    @classmethod
    def of(cls, n_jobs):
        """Returns the grid of so many jobs, a multiple of `STEP`."""
        return cls(100, n_jobs // STEP, 10) if n_jobs >= SMALL else cls(100, 5 * n_jobs // STEP, 2)

    def statepoint(self, a, b, c):
        """Returns a state point."""
        return {"a": a, "b": b, "c": c, "d": 2 * c // self.n_c}

    def middle(self):
        """Returns a state point from the middle."""
        return self.statepoint(self.n_a // 2, self.n_b // 2, self.n_c // 2)


def job_id(statepoint):
    """Returns signac's name for a state point."""
    return hashlib.md5(json.dumps(statepoint, sort_keys=True).encode()).hexdigest()


def create(workspace, grid, with_results):
    """Creates the jobs of a grid; with results, every second one gets a document and a product."""
    workspace.mkdir(exist_ok=True)
    in_parallel(create_slice, [(workspace, grid, with_results, a) for a in range(grid.n_a)])


def in_parallel(function, calls):
    """Calls a function with each tuple of arguments, in a process per core."""
    with multiprocessing.get_context("fork").Pool(initializer=obey_parent) as pool:
        pool.starmap(function, calls, chunksize=1)


def obey_parent():
    """Leaves interruptions to the parent, and lets it end this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def create_slice(workspace, grid, with_results, a):
    """Creates the jobs with a value of `a`, by paths as short as can be."""
    at = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY)
    for b, c in itertools.product(range(grid.n_b), range(grid.n_c)):
        statepoint = grid.statepoint(a, b, c)
        name = job_id(statepoint)
        os.mkdir(name, dir_fd=at)
        write(f"{name}/{STATEPOINT}", json.dumps(statepoint), at)
        if with_results and c % 2 == 0:
            # Looks random, but is the same in every run.
            distance = int(name[:8], 16) / 2**32
            write(f"{name}/{DOCUMENT}", json.dumps({"distance": distance, "done": distance > 0.9}), at)
            write(f"{name}/{PRODUCT}", "", at)
    os.close(at)


def write(path, text, at):
    """Writes a new file, named from an open directory."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=at)
    if text:
        os.write(file, text.encode())
    os.close(file)


def remove(workspace):
    """Removes the jobs of a workspace in the order of the disk, which spares it much seeking."""
    entries = sorted(os.scandir(workspace), key=os.DirEntry.inode)
    names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    in_parallel(remove_jobs, [(workspace, names[start : start + STEP]) for start in range(0, len(names), STEP)])


def remove_jobs(workspace, names):
    """Removes some jobs."""
    at = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY)
    for name in names:
        shutil.rmtree(name, dir_fd=at)
    os.close(at)


class Project:
    """A sweepfs project in a directory of its own, with a state directory of its own."""

    def __init__(self, program, scratch):
        self.program, self.dir = program, scratch / "p"
        self.workspace = self.dir / "workspace"
        self.view, self.real = self.dir / "views" / "view", scratch / "real"
        self.env = os.environ | {"XDG_STATE_HOME": str(scratch / "state"), "LC_ALL": "C"}
        self.dir.mkdir()
        self.sweepfs("init")

    def sweepfs(self, *args):
        """Runs sweepfs in the project; returns what it prints."""
        command = [self.program, "--quiet", *args]
        return subprocess.run(command, cwd=self.dir, env=self.env, check=True, text=True, capture_output=True).stdout

    def create(self, grid, with_results=False):
        """Creates the jobs."""
        create(self.workspace, grid, with_results)

    def mount(self):
        """Mounts; returns the daemon's process directory."""
        self.sweepfs("mount")
        return self.daemon()

    def unmount(self):
        """Unmounts, if mounted."""
        if self.mounts():
            self.sweepfs("unmount")

    def mounts(self):
        """Returns the mounts of this project; its private state directory knows no others."""
        return [json.loads(line) for line in self.sweepfs("mounts", "--json").splitlines()]

    def daemon(self):
        """Returns the daemon's process directory."""
        return Path("/proc") / str(self.mounts()[0]["pid"])

    def make_real_tree(self):
        """Makes the mounted view once more, of real directories and links."""

        def copy(source, target):
            target.mkdir()
            for entry in os.scandir(source):
                if entry.is_symlink():
                    os.symlink(os.readlink(entry.path), target / entry.name)
                else:
                    copy(entry.path, target / entry.name)

        copy(self.view, self.real)
        if listing(self.view) != listing(self.real):
            sys.exit("bench: the trees differ, so no comparison is possible")


def listing(tree):
    """Returns names, types and targets of everything below a directory, sorted."""
    command = ["find", str(tree), "-mindepth", "1", "-printf", "%P %y %l\n"]
    return sorted(subprocess.run(command, check=True, capture_output=True).stdout.splitlines())


def build():
    """Builds sweepfs; returns the program and cargo's target directory."""
    log("building")
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=SOURCE, check=True)
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    target = Path(json.loads(subprocess.run(metadata, cwd=SOURCE, check=True, stdout=subprocess.PIPE).stdout)["target_directory"])
    return target / "release" / "sweepfs", target


@contextlib.contextmanager
def project(parent):
    """Builds sweepfs and gives a new project; removes it in the end, whatever happens."""
    program, target = build()
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=parent or target)).resolve()
    made = None
    try:
        made = Project(program, scratch)
        yield made
    finally:
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        log("cleaning up")
        if made:
            made.unmount()
            if made.workspace.exists():
                remove(made.workspace)
        shutil.rmtree(scratch)
        for number, handler in handlers.items():
            signal.signal(number, handler)
