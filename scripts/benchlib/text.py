"""Writes for people."""

import sys


def aligned(rows, alignment):
    """Pads the cells of rows to columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(f"{cell:{align}{width}}" for cell, align, width in zip(row, alignment, widths)).rstrip() for row in rows]


def log(text):
    """Says what is going on."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
