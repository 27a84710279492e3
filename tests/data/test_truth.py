import numpy as np
import pytest

from adamem.data import Dataset, exact_neighbours, ground_truth
from adamem.errors import InvalidInput

RNG = np.random.default_rng(0)


@pytest.fixture
def dataset():
    base = RNG.normal(size=(300, 8)).astype(np.float32)
    return Dataset("mine", "l2", base, RNG.normal(size=(30, 8)).astype(np.float32), fingerprint="f" * 64)


def test_truth_is_the_oracles(dataset):
    """The rows asked for, in the order asked, as the oracle has them."""
    rows = np.array([7, 3, 29])
    ids, distances = ground_truth(dataset, rows, 5)
    want, want_distances = exact_neighbours(dataset.base, dataset.queries[rows], 5, metric="l2")
    assert np.array_equal(ids, want)
    assert np.array_equal(distances, want_distances)


def test_truth_is_computed_once(dataset):
    """A second call answers from the cache with equal arrays; another k, row or metric does not."""
    rows, heard = np.arange(10), []
    first = ground_truth(dataset, rows, 5)

    def progress(*told):
        heard.append(told)

    again = ground_truth(dataset, rows, 5, progress)
    assert not heard
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    ground_truth(dataset, rows, 6, progress)
    ground_truth(dataset, rows[::-1], 5, progress)
    assert len(heard) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_cache_is_computed_again(dataset, cache, caplog, damage):
    """A flipped byte, a lost tail or an empty file is noticed by the checksum, said, and mended."""
    rows = np.arange(10)
    ids, distances = ground_truth(dataset, rows, 5)
    (file,) = (cache / "truth").iterdir()
    raw = bytearray(file.read_bytes())
    if damage == "flip":
        raw[-200] ^= 1
    file.write_bytes({"flip": raw, "cut": raw[:-9], "empty": b""}[damage])
    again, again_distances = ground_truth(dataset, rows, 5)
    assert "is damaged; it is computed again" in caplog.text
    assert np.array_equal(again, ids)
    assert np.array_equal(again_distances, distances)
    caplog.clear()
    ground_truth(dataset, rows, 5)
    assert not caplog.text


def test_rows_must_be_queries(dataset):
    """A row that is no query, or more neighbours than rows, is refused."""
    with pytest.raises(InvalidInput, match=r"rows must be numbers of queries, 0 to 29; got \[30\]"):
        ground_truth(dataset, np.array([30]), 5)
    with pytest.raises(InvalidInput, match="k = 301 is out of range"):
        ground_truth(dataset, np.array([0]), 301)
