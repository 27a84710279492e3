"""Damaged files of SpiralGraph are refused, or lead to an index that answers as one must: no crash and no nonsense."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).with_name("spiral_mutations.py")


def damage(folder, *, seed, count, timeout=300):
    """How many of so many damaged saves were refused, and how many answered; warnings are errors too."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(_PROGRAM), str(folder), str(seed), str(count)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"at {lines[-1:]}:\n{done.stderr}"
    words = lines[-1].split()
    return int(words[1]), int(words[3])


def test_damaged_saves_are_refused_or_answer(tmp_path):
    """Three hundred kinds of damage, most with checksums that fit again, read and mapped."""
    refused, answered = damage(tmp_path, seed=0, count=300)
    assert refused + answered == 300
    assert refused > 100
    assert answered > 10


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_damaged_saves_are_refused_or_answer(tmp_path, seed):
    """Three thousand at a time."""
    assert sum(damage(tmp_path, seed=seed, count=3_000, timeout=3_600)) == 3_000
