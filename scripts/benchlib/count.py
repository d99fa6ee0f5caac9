"""Runs a command, and appends to a file how many bytes it was given and has printed."""

import os
import signal
import subprocess
import sys
import threading

CHUNK_BYTES = 1 << 16


def relay(source, target, counts, index):
    """Hands on all that comes, and counts it."""
    while chunk := os.read(source, CHUNK_BYTES):
        counts[index] += len(chunk)
        while chunk:
            chunk = chunk[os.write(target, chunk) :]
    os.close(target)


def main():
    """Relays until the command ends, or `ssh` ends us."""
    log, *command = sys.argv[1:]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    counts = [0, 0]

    def end(*_):
        with open(log, "a") as file:
            file.write(f"{counts[0]} {counts[1]}\n")
        os._exit(process.poll() or 0)

    signal.signal(signal.SIGHUP, end)
    signal.signal(signal.SIGTERM, end)
    given = threading.Thread(target=relay, args=(0, process.stdin.fileno(), counts, 0), daemon=True)
    given.start()
    relay(process.stdout.fileno(), 1, counts, 1)
    process.wait()
    end()


if __name__ == "__main__":
    main()
