"""Runs a command and writes its wall seconds, CPU seconds, peak memory in KiB and exit code to a file descriptor.

Linux counts the memory of a process also before it becomes another program, so what starts the
command must be small. Standard output is that of this process.
"""

import os
import sys
import time


def main():
    """Runs `launch.py FD COMMAND…`."""
    report, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(report, False)
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        execute(command)
    _, status, usage = os.wait4(child, 0)
    wall_s = time.perf_counter() - start
    fields = [wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]
    os.write(report, " ".join(map(repr, fields)).encode())


def execute(command):
    """Becomes the command."""
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


main()
