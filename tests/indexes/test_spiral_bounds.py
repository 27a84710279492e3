"""SpiralGraph's kernels, which take addresses and check no index, stay within their arrays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import binding as llvm

_PROGRAM = Path(__file__).with_name("spiral_guarded.py")
_PROCESSORS = {
    "znver4": "+avx512f,+avx512bw,+avx512vl,+avx512vnni,+avx2,+fma",
    "alderlake": "+avx2,+fma,+avxvnni",
    "haswell": "+avx2,+fma",
    "nehalem": "+sse4.2,+ssse3",
}
_PATHS = {"znver4": "avx512vnni", "alderlake": "avxvnni", "haswell": "generic", "nehalem": "generic"}


def run(*arguments, **variables):
    return subprocess.run(
        [sys.executable, str(_PROGRAM), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env={**os.environ, **variables},
    )


def target(processor, folder):
    """The variables that compile for a processor, if this one can run what comes of it."""
    features = _PROCESSORS[processor]
    here = llvm.get_host_cpu_features()
    lacking = [name for name in features.replace("+", "").split(",") if not here.get(name)]
    if lacking:
        pytest.skip(f"this processor has no {', '.join(lacking)}")
    return {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(folder)}


def test_nothing_past_an_array_is_touched():
    """Built either way, searched, inserted into, deleted from and maintained at the edge of memory.

    Under every metric, with codes of several widths and without; queries and answers end there too.
    """
    done = run()
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


def test_every_index_is_within_its_array(tmp_path):
    """The same, and the ablation with each of its parts replaced, compiled anew with numba's bounds checks."""
    done = run("ablation", NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


@pytest.mark.parametrize("processor", _PROCESSORS)
def test_products_read_no_byte_too_many(processor, tmp_path):
    """By the instructions of each processor, from one line to a thousand; and one line more is a crash."""
    variables = target(processor, tmp_path)
    done = run("dots", **variables)
    assert (done.returncode, done.stdout) == (0, f"within by {_PATHS[processor]}\n"), done.stderr
    past = run("past", **variables)
    assert past.stdout.startswith("within")
    assert past.returncode == -signal.SIGSEGV


@pytest.mark.soak
@pytest.mark.parametrize("processor", _PROCESSORS)
def test_nothing_past_an_array_is_touched_by_any_processors_code(processor, tmp_path):
    """The whole life and the ablation, compiled for each."""
    done = run("ablation", **target(processor, tmp_path))
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr
