"""An index from another distribution is found and used like our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

_SESSION = """
import json
import numpy as np
from adamem.errors import UnsupportedOperation
from adamem.index import Index, index_class, index_names, names_that_can

cls = index_class("tiny")
index = cls.build(np.eye(4, dtype=np.float32), np.array([10, 20, 30, 40]), metric="l2")
found = index.search(np.array([0, 0.9, 0.2, 0], dtype=np.float32), 2)
try:
    index.insert(np.ones((1, 4), dtype=np.float32), [1])
except UnsupportedOperation as error:
    refusal = str(error)
print(json.dumps({
    "names": index_names(),
    "is_index": isinstance(index, Index),
    "ids": found.ids.tolist(),
    "distances": found.distances.tolist(),
    "refusal": refusal,
    "can_insert": names_that_can("insert"),
}))
"""


def run(code: str, path: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = path
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_an_installed_third_partys_index_is_found_and_searches(tiny_index):
    """With its distribution on the path the registry lists it beside ours, and it answers under our contract."""
    done = run(_SESSION, str(tiny_index))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "tiny" in told["names"]
    assert "exact" in told["names"]
    assert told["is_index"]
    assert told["ids"] == [[20, 30]]
    assert [round(distance, 4) for distance in told["distances"][0]] == [0.05, 1.45]
    assert told["refusal"].startswith("tiny cannot insert; indexes that can: ")
    assert "tiny" not in told["can_insert"]


def test_without_it_the_name_is_unknown(tiny_index):
    """Uninstalled, it is an unknown name like any other."""
    done = run("from adamem.index import index_class; index_class('tiny')", None)
    assert done.returncode != 0
    assert "unknown index 'tiny'" in done.stderr
