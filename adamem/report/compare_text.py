"""Where a stored text file departs from the one that the raw files give, cell by cell or line by line."""

from __future__ import annotations

import csv
import io
from itertools import zip_longest

_MOST = 5
"""Findings told of one file; the rest are counted."""
_AROUND = 24
"""Characters shown on each side of a difference."""
_MISSING = "it is missing here, the raw files give it"
_EXTRA = "it stands here, the raw files do not give it"


def differences(name: str, stored: bytes, expected: bytes) -> list[str]:
    """Sentences that say where; empty if the files are equal byte by byte."""
    if stored == expected:
        return []
    try:
        left, right = stored.decode("utf-8"), expected.decode("utf-8")
    except UnicodeDecodeError:
        return [f"{name} is not UTF-8 text"]
    found = _cells(left, right) if name.endswith(".csv") else _lines(left, right)
    if not found:
        found = ["its line ends or quotes are others"]
    told = [f"{name}, {where}" for where in found[:_MOST]]
    return [*told, f"{name} differs in {len(found) - _MOST} more places"] if len(found) > _MOST else told


def _cells(stored: str, expected: str) -> list[str]:
    left, right = (list(csv.reader(io.StringIO(text, newline=""))) for text in (stored, expected))
    head = right[0] if right else []
    out = []
    for number, (mine, true) in enumerate(zip_longest(left, right), start=1):
        if mine is None or true is None:
            out.append(f"line {number}: {_MISSING if mine is None else _EXTRA}")
            continue
        for place, (cell, wanted) in enumerate(zip_longest(mine, true)):
            if cell != wanted:
                column = head[place] if place < len(head) else f"number {place + 1}"
                out.append(f"line {number}, column {column}: it says {cell!r}, the raw files give {wanted!r}")
    return out


def _lines(stored: str, expected: str) -> list[str]:
    out = []
    for number, (mine, true) in enumerate(zip_longest(stored.split("\n"), expected.split("\n")), start=1):
        if mine == true:
            continue
        if mine is None or true is None:
            out.append(f"line {number}: {_MISSING if mine is None else _EXTRA}")
            continue
        shorter = min(len(mine), len(true))
        start = next((i for i in range(shorter) if mine[i] != true[i]), shorter)
        part = slice(max(0, start - _AROUND), start + _AROUND)
        out.append(f"line {number}: it says {mine[part]!r}, the raw files give {true[part]!r}")
    return out
