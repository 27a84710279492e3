"""An experiment measured piece by piece, on one machine after another."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from adamem.bench import machine
from adamem.bench.adaptation.records import AdaptationFolder
from adamem.bench.piecewise import Piecewise

NAMES = ["a", "b", "c"]


class Quiet:
    """Says nothing."""

    def say(self, line): ...

    def now(self, what): ...


@pytest.fixture
def on(monkeypatch):
    """Have what follows measured on the machine of a name."""

    def switch(name):
        described = {"fingerprint": name, "cpu": f"processor {name}", "cpu_family": "1", "cores": 2}
        monkeypatch.setattr(machine, "describe", lambda: described)

    return switch


def measure(path, *names, rate=1):
    """Measure some pieces of an experiment of three, and give its record."""
    experiment = SimpleNamespace(name="small", title="Small", study="adaptation", resolved=lambda: {"rate": rate})
    folder = AdaptationFolder(path)
    kept = Piecewise(folder, experiment, NAMES, scratch=path, reporter=Quiet())

    def of(part):
        kept.piece(part, {"rate": rate}, lambda _: ({"one": np.ones(2)}, {}))

    kept.parts(names, of, done=lambda _: None, whole=False)
    return folder.run()


def test_the_record_names_every_machine_that_measured_what_counts(tmp_path, on):
    """That of most pieces first, whichever was the last; one whose pieces were measured anew elsewhere is forgotten."""
    on("one")
    run = measure(tmp_path, "a", "b")
    assert (run.machine["fingerprint"], run.others) == ("one", [])
    on("two")
    run = measure(tmp_path, "c")
    assert run.status == "complete"
    assert run.machine["cpu"] == "processor one"
    assert [one["cpu"] for one in run.others] == ["processor two"]
    assert [AdaptationFolder(tmp_path).piece(name).machine for name in NAMES] == ["one", "one", "two"]
    on("three")
    run = measure(tmp_path, "a", "c")
    assert run.machine["fingerprint"] == "three"
    assert [one["fingerprint"] for one in run.others] == ["one"]
    run = measure(tmp_path, "a", rate=2)  # another experiment: what was of the former counts no more
    assert (run.pieces, run.machine["fingerprint"], run.others) == (["a"], "three", [])


def test_nothing_measured_yet_is_of_this_machine(tmp_path, on):
    """So that who looks into a run that was cut off at once sees where it was."""
    on("one")
    run = measure(tmp_path)
    assert (run.pieces, run.machine["fingerprint"], run.others) == ([], "one", [])
