"""What a run says of the data it was given."""

import numpy as np
import pytest

from adamem.bench import validate
from adamem.bench.config import Experiment
from adamem.bench.load import load_dataset

ROWS = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)


class Listener:
    """A reporter that remembers the notices alone."""

    def __init__(self):
        self.said = []

    def say(self, sentence):
        self.said.append(sentence)

    def stage(self, what, total):
        """Not of interest here."""

    def advance(self, steps=1.0):
        """Not of interest here."""


@pytest.fixture
def said(tmp_path):
    """What is said when so many queries are asked for."""
    np.save(tmp_path / "v.npy", ROWS)

    def ask(queries):
        listener = Listener()
        tables = {
            "name": "x",
            "title": "x",
            "dataset": {"name": str(tmp_path / "v.npy"), "metric": "l2", "queries": queries},
            "contestant": [{"name": "exact", "index": "exact"}],
        }
        load_dataset(validate(Experiment, tables, source="test"), reporter=listener)
        return listener.said

    return ask


def test_fewer_queries_than_asked_for_are_no_secret(said):
    """The number that is used, the one that was wanted, and why."""
    (notice,) = said(300)
    assert notice.startswith("v gives 40 queries, not 300: ")
    assert "a tenth of its rows" in notice


def test_as_many_queries_as_asked_for_need_no_word(said):
    """Silence where all is as wanted."""
    assert said(40) == []
