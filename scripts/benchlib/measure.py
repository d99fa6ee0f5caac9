"""Measures commands."""

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
LAUNCHER = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py"))]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
HEAD_BYTES = 100


def drop_caches():
    """Makes the kernel forget all files, if we may; returns whether it did."""
    if not os.access(DROP_CACHES, os.W_OK):
        return False
    os.sync()
    DROP_CACHES.write_text("3\n")
    return True


def timed(command, env, daemon=None, cwd=None):
    """Runs a command.

    Returns seconds of the wall, of its CPU and of the daemon's, its peak memory, and of what it
    printed the number of bytes and lines and the beginning.
    """
    daemon_before = cpu_s(daemon)
    result, report = os.pipe()
    with open(result, "rb") as result, tempfile.TemporaryFile() as stderr:
        argv = [*LAUNCHER, str(report), *map(str, command)]
        try:
            process = subprocess.Popen(
                argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=stderr, pass_fds=[report], start_new_session=True
            )
        finally:
            os.close(report)
        with stopped_with_us(process):
            printed = consumed(process.stdout)
        fields = result.read().split()
        code = int(fields[3]) if fields else process.returncode
        if code:
            stderr.seek(0)
            raise subprocess.CalledProcessError(code, list(map(str, command)), stderr=stderr.read().decode(errors="replace"))
    numbers = {"wall_s": float(fields[0]), "cpu_s": float(fields[1]), "peak_kb": int(fields[2])}
    return numbers | {"daemon_cpu_s": cpu_s(daemon) - daemon_before} | printed


@contextlib.contextmanager
def stopped_with_us(process):
    """Waits for a process that leads a session; kills all of the session if we are interrupted."""
    try:
        yield
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        process.stdout.close()
        process.wait()


def consumed(pipe):
    """Reads a pipe to its end; returns the numbers of bytes and lines, and the beginning."""
    n_bytes, n_lines, head = 0, 0, b""
    while chunk := pipe.read1(1 << 20):
        n_bytes += len(chunk)
        n_lines += chunk.count(b"\n")
        head += chunk[: HEAD_BYTES - len(head)]
    return {"bytes": n_bytes, "lines": n_lines, "head": head.decode(errors="replace")}


def cpu_s(process):
    """Returns the CPU seconds of a process directory in /proc so far, 0 for none."""
    if process is None:
        return 0.0
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def medians(runs):
    """Returns the median of each number, or nothing for no runs."""
    if not runs:
        return None
    return {key: statistics.median(run[key] for run in runs) for key, value in runs[0].items() if not isinstance(value, str)}
