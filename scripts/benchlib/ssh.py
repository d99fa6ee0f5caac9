"""Measures syncing with a pretend machine, over ssh, against rsync."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

from benchlib.query import Case, Contender
from benchlib.text import log

SCRIPTS = Path(__file__).resolve().parents[1]
NAME = "bench"
END_MAX_S = 10


class Machine:
    """A pretend machine, with a home directory that is seen from here."""

    def __init__(self, root):
        self.root, self.home = root, root / "home"
        self.count = root / "bytes"

    def up(self):
        """Starts it, and makes settings of ssh that count bytes."""
        subprocess.run([SCRIPTS / "host", "up", self.root, NAME], check=True, capture_output=True, text=True)
        counter = f"ProxyCommand {sys.executable} -I -S '{SCRIPTS / 'benchlib' / 'count.py'}' '{self.count}' "
        text = (self.root / "config").read_text()
        (self.root / "counting").write_text(text.replace("ProxyCommand ", counter))

    def down(self):
        """Ends it, and all that runs there."""
        subprocess.run([SCRIPTS / "host", "down", self.root], check=True, capture_output=True)

    def serve(self, program):
        """Puts sweepfs there, or takes it away."""
        bin_dir = self.home / "bin"
        bin_dir.mkdir(exist_ok=True)
        (self.home / ".bashrc").write_text("PATH=~/bin:$PATH\n")
        (bin_dir / "sweepfs").unlink(missing_ok=True)
        if program:
            (bin_dir / "sweepfs").symlink_to(program)

    def bytes_of(self, command, cwd, env):
        """Returns the bytes that a command sends there and gets from there."""
        self.count.unlink(missing_ok=True)
        subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True)
        deadline = time.monotonic() + END_MAX_S
        while not self.count.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        counts = [list(map(int, line.split())) for line in self.count.read_text().splitlines()]
        return [sum(of_direction) for of_direction in zip(*counts)]


@contextlib.contextmanager
def machine(parent):
    """Gives a machine, and ends it whatever happens."""
    made = Machine(parent / "machine")
    try:
        made.up()
        yield made
    finally:
        made.down()


def remote_settings(there):
    """Returns the remotes of the project: by ssh as it is, and with its bytes counted."""
    remote = '[remote.{name}]\nurl = "{host}:other-sweepfs"\nssh = ["ssh", "-F", "{config}"]\n'
    names = {"plain": "config", "counted": "counting"}
    return "".join(remote.format(name=name, host=NAME, config=there.root / config) for name, config in names.items())


def commands(made, there, name):
    """Returns the commands of all contenders, by a remote of that name."""
    config = there.root / {"plain": "config", "counted": "counting"}[name]
    return {
        "sweepfs": (made.program, "-q", "sync", name),
        "rsync": ("rsync", "-a", "-e", f"ssh -F '{config}'", "workspace", f"{NAME}:other-rsync/"),
    }


def measure_ssh(bench, there, states):
    """Returns the measurements by case, and the bytes of one changed document; `bench` makes the states."""
    made = bench.made
    (made.dir / "sweepfs.toml").write_text(remote_settings(there))
    same, empty, one_changed, many_changed = states
    plain = commands(made, there, "plain")
    contenders = lambda state: tuple(Contender(name, (command,), {name: state}) for name, command in plain.items())
    found = {}
    for name, state, program in (
        ("first push", empty, None),
        ("nothing to do, by find", same, None),
        ("nothing to do, by sweepfs", same, made.program),
        ("1,000 files changed", many_changed, made.program),
    ):
        there.serve(program)
        found[name] = bench.case(Case(name, contenders(state)))
    sizes = {}
    for label, name, program in (("sweepfs, by find", "sweepfs", None), ("sweepfs there", "sweepfs", made.program), ("rsync", "rsync", None)):
        log(f"bytes: {label}")
        there.serve(program)
        counted = Contender(name, (commands(made, there, "counted")[name],), {name: one_changed})
        # By another name of the remote, nothing is remembered of what was done by this one.
        bench.prepare(Contender(name, (plain[name],), {name: same}))
        bench.prepare(counted)
        # What that has sent is counted when its connection has ended.
        time.sleep(1)
        sizes[label] = there.bytes_of(counted.commands[0], made.dir, bench.env)
    return found, sizes
