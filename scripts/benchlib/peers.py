"""Installs the programs that sweepfs is compared with."""

import os
import subprocess
import sys
from pathlib import Path

from benchlib.text import log

SIGNAC_VERSION = "2.4.1"
FLOW_VERSION = "0.29.1"
ROW_VERSION = "1.1.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sweepfs"
TEST_VENV = CACHE / "test-venv"
# Of row's two actions the first is complete in every job that has a product.
WORKFLOW = """\
[workspace]
path = "workspace"
value_file = "signac_statepoint.json"

[[action]]
name = "init"
command = "true {directory}"
products = ["init.out"]

[[action]]
name = "analyze"
command = "true {directory}"
previous_actions = ["init"]
products = ["analyze.out"]
"""


class Peers:
    """The peers' programs, `None` for one that is not to be had; says why in `skipped`."""

    def __init__(self, parent, wanted, with_flow=False, with_row=True):
        self.skipped = []
        self.signac = self.row = self.flow = None
        if wanted and with_flow:
            self.flow = self.had(f"signac-flow {FLOW_VERSION}", install_flow, parent)
        if wanted:
            self.signac = self.had(f"signac {SIGNAC_VERSION}", install_signac, parent)
        if wanted and with_row:
            self.row = self.had(f"row {ROW_VERSION}", install_row, parent)

    def had(self, name, install, parent):
        """Returns a program, installed if needed, or `None`."""
        try:
            return install(parent)
        except (OSError, subprocess.CalledProcessError) as error:
            self.skip(f"{name}: {error}")
            return None

    def skip(self, text):
        """Says what is left out, now and in the report."""
        log(f"skipped: {text}")
        self.skipped.append(text)


def install_signac(parent):
    """Returns signac's program: that of the tests if there is one."""
    for venv in (TEST_VENV, parent / "signac"):
        if says([venv / "bin" / "python", "-c", "import signac; print(signac.__version__)"]) == SIGNAC_VERSION:
            return venv / "bin" / "signac"
    log(f"installing signac {SIGNAC_VERSION}")
    run([sys.executable, "-m", "venv", "--clear", venv])
    run([venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", f"signac=={SIGNAC_VERSION}"])
    return venv / "bin" / "signac"


def install_flow(parent):
    """Returns a Python that knows signac-flow."""
    venv = parent / "flow"
    if says([venv / "bin" / "python", "-c", "import flow; print(flow.__version__)"]) != FLOW_VERSION:
        log(f"installing signac-flow {FLOW_VERSION}")
        run([sys.executable, "-m", "venv", "--clear", venv])
        wanted = [f"signac=={SIGNAC_VERSION}", f"signac-flow=={FLOW_VERSION}"]
        run([venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
    return venv / "bin" / "python"


def install_row(parent):
    """Returns row's program."""
    program = parent / "bin" / "row"
    if says([program, "--version"]) != f"row {ROW_VERSION}":
        log(f"installing row {ROW_VERSION}, which takes a few minutes")
        parent.mkdir(parents=True, exist_ok=True)
        run(["cargo", "install", "--locked", "--quiet", "--force", "--version", ROW_VERSION, "--root", parent, "row"], cwd=parent)
    return program


def says(command):
    """Returns what a command prints, `None` if it cannot be run."""
    try:
        return subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def run(command, cwd=None):
    """Runs a command whose output only matters if it fails."""
    subprocess.run(command, check=True, cwd=cwd, stdout=sys.stderr)
