"""RowLabels: which row bears which id, against a dictionary."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamem.index import IdFilter
from adamem_indexes import _labels
from adamem_indexes._filtered import FilterCache
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


@pytest.mark.parametrize("wanted", [None, IdFilter(np.arange(0, 100, 2))], ids=["all", "a filter"])
@pytest.mark.parametrize(
    "change",
    [
        lambda labels: labels.append(np.array([50, 51, 52])),
        lambda labels: labels.forget(np.array([0, 3])),
        lambda labels: labels.take_back(4, instead_of=np.array([0]), ids=np.array([60])),
        lambda labels: (labels.forget(np.array([1])), labels.move(5, 1), labels.truncate(5)),
    ],
    ids=["append", "forget", "take back", "move"],
)
def test_what_a_reader_prepares_in_the_middle_of_a_change_is_not_kept(change, wanted):
    """It saw some of the rows as they were before: whoever asks after the change gets those of today."""

    class Watched(RowLabels):
        cache = None

        def __setattr__(self, name, value):
            cache = self.cache
            if cache is not None:
                super().__setattr__("cache", None)  # asking sets attributes too
                cache.prepare(wanted)
                super().__setattr__("cache", cache)
            super().__setattr__(name, value)

    labels = Watched(np.arange(6))
    labels.rows_of(np.arange(3))
    cache = FilterCache(labels)
    cache.prepare(wanted)
    labels.cache = cache
    change(labels)
    labels.cache = None
    held = {row: label for row, label in enumerate(labels.of_rows.tolist()) if label >= 0}
    expected = [row for row, label in held.items() if wanted is None or label in wanted]
    assert cache.prepare(wanted).rows.tolist() == expected


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
