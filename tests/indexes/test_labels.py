"""RowLabels: which row bears which id, against a dictionary."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamem_indexes import _labels
from adamem_indexes._labels import RowLabels


@pytest.mark.parametrize("recent", [0, 4096], ids=["always sorted anew", "remembered"])
@given(
    start=st.integers(0, 20),
    steps=st.lists(st.tuples(st.sampled_from(["append", "forget", "move"]), st.integers(0, 2**32 - 1)), max_size=30),
)
def test_any_sequence_of_changes_agrees_with_a_dictionary(recent, start, steps):
    """After appending, forgetting and moving, ids map to rows and rows to ids as in a dictionary."""
    _labels._MOST_RECENT, before = recent, _labels._MOST_RECENT
    try:
        labels = RowLabels(np.arange(start) * 5)
        truth = {i * 5: i for i in range(start)}
        for verb, seed in steps:
            rng = np.random.default_rng(seed)
            labels.rows_of(np.arange(3))  # so that the index is there to go stale
            if verb == "append":
                ids = rng.choice(np.setdiff1d(np.arange(200), list(truth)), rng.integers(1, 6), replace=False)
                first = labels.append(ids)
                truth |= {label: first + i for i, label in enumerate(ids.tolist())}
            elif verb == "forget" and truth:
                ids = rng.permutation(list(truth))[: rng.integers(1, 4)]
                labels.forget(labels.rows_of(ids))
                for label in ids.tolist():
                    del truth[label]
            elif verb == "move":
                last = labels.rows - 1
                holes = np.flatnonzero(labels.of_rows < 0)
                if holes.size and labels.of_rows[last] >= 0:
                    label = int(labels.of_rows[last])
                    labels.move(last, int(holes[0]))
                    labels.truncate(last)
                    truth[label] = int(holes[0])
        every = np.arange(-1, 205)
        assert labels.rows_of(every).tolist() == [truth.get(label, -1) for label in every.tolist()]
        assert labels.live == len(truth)
        assert sorted(labels.live_rows().tolist()) == sorted(truth.values())
    finally:
        _labels._MOST_RECENT = before


def test_every_change_is_a_new_version():
    """What was derived from the rows can tell that it is stale."""
    labels = RowLabels(np.array([4, 8]))
    versions = [labels.version]
    labels.append(np.array([1]))
    versions.append(labels.version)
    labels.forget(np.array([0]))
    versions.append(labels.version)
    labels.move(2, 0)
    versions.append(labels.version)
    assert len(set(versions)) == 4


def test_what_is_appended_while_a_reader_sorts_is_not_lost():
    """The reader has seen the rows and not sorted them yet when the writer appends: both ids are known afterwards."""

    class Slow(RowLabels):
        def live_rows(self):
            seen = super().live_rows()
            writer.start()
            writer.join(timeout=0.2)
            return seen

    labels = Slow(np.arange(5))
    writer = threading.Thread(target=labels.append, args=(np.array([77]),))
    assert labels.rows_of(np.array([3, 6])).tolist() == [3, -1]
    writer.join()
    assert labels.rows_of(np.array([4, 77])).tolist() == [4, 5]
