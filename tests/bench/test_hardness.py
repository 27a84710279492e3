"""Hardness is what its papers define, and its deciles are of equal size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from adamem.bench.hardness import SAMPLE, deciles, hardness, lid, mean_distances, relative_contrast
from adamem.bench.truth import truth_of
from adamem.data.dataset import Dataset


@pytest.mark.parametrize(("metric", "name"), [("l2", "euclidean"), ("cosine", "cosine")])
def test_mean_distances_are_those_of_scipy(metric, name):
    """The mean distance to the sample, in the metric's customary unit, is what scipy's cdist gives."""
    rng = np.random.default_rng(0)
    sample, queries = rng.normal(size=(50, 7)).astype(np.float32), rng.normal(size=(9, 7)).astype(np.float32)
    expected = cdist(queries, sample, name).mean(1)
    np.testing.assert_allclose(mean_distances(sample, queries, metric=metric), expected, rtol=1e-9)


@pytest.mark.parametrize("dimension", [2, 5, 10])
def test_lid_recovers_the_dimension_of_a_uniform_ball(dimension):
    """Distances of points uniform in a d-ball follow r^d: over 2,000 queries the mean estimate is d within 5 %."""
    rng = np.random.default_rng(1)
    distances = np.sort(rng.random((2000, 100)) ** (1 / dimension), axis=1)
    assert lid(distances).mean() == pytest.approx(dimension, rel=0.05)


def test_lid_is_the_formula_and_ignores_zero_distances():
    """Worked by hand for 1, 2, 4: -1 / mean(ln 1/4, ln 1/2, 0); a duplicate at 0 changes nothing; all equal is NaN."""
    expected = 3 / (np.log(4) + np.log(2))
    got = lid(np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0], [0.0, 0.0, 0.0]]))
    assert got[0] == pytest.approx(expected)
    assert np.isnan(got[1:]).all()
    assert lid(np.array([[0.0, 1.0, 2.0, 4.0]]))[0] == pytest.approx(expected)


def test_relative_contrast_is_the_mean_over_the_kth():
    """Mean 6 over a second neighbour at 3 is 2; none where the neighbour is at 0; a short list gives its last."""
    distances = np.array([[1.0, 3.0], [0.0, 0.0]])
    got = relative_contrast(np.array([6.0, 6.0]), distances, 2)
    assert got[0] == pytest.approx(2)
    assert np.isnan(got[1])
    assert relative_contrast(np.array([6.0, 6.0]), distances, 10)[0] == pytest.approx(2)


def test_deciles_have_equal_sizes_and_put_the_hardest_last():
    """25 queries in 10 groups: 2 or 3 each; low contrast is hard, high dimension is hard; NaN is in none."""
    values = np.r_[np.random.default_rng(3).permutation(25).astype(float), np.nan]
    for low in (True, False):
        got = deciles(values, hard_is_low=low)
        counts = np.bincount(got[:-1], minlength=10)
        assert set(counts.tolist()) == {2, 3}
        assert got[-1] == -1
        hardest = values[:-1][got[:-1] == 9]
        easier = values[:-1][got[:-1] < 9]
        assert hardest.max() < easier.min() if low else hardest.min() > easier.max()


def test_deciles_of_equal_values_keep_their_sizes():
    """Ties are parted by position instead of falling into one stratum."""
    assert np.bincount(deciles(np.ones(20), hard_is_low=True)).tolist() == [2] * 10
    assert deciles(np.full(3, np.nan), hard_is_low=True).tolist() == [-1, -1, -1]


def test_the_hardness_of_a_data_set_is_stored_in_the_truths_order():
    """Queries amid the cloud are harder by contrast than those beside their own neighbours, in whatever order asked."""
    rng = np.random.default_rng(4)
    base = rng.normal(size=(2 * SAMPLE, 8)).astype(np.float32)
    far = rng.normal(size=(20, 8)).astype(np.float32)
    near = np.repeat(base[:2], 10, axis=0) + 1e-3
    base[2:40] = np.repeat(base[:2], 19, axis=0) + rng.normal(size=(38, 8)).astype(np.float32) * 1e-3
    queries = np.concatenate([near, far]).astype(np.float32)
    rows = rng.permutation(40).astype(np.int64)
    every = cdist(queries[rows], base, "sqeuclidean")
    ids = np.argsort(every, axis=1)[:, :20]
    truth = truth_of(rows, ids, np.take_along_axis(every, ids, 1), base=base, queries=queries, metric="l2")
    data = Dataset("toy", "l2", base, queries, fingerprint="")
    got = hardness(data, truth, seed=3)
    easy = deciles(got["relative_contrast"], hard_is_low=True) < 5
    assert (easy == (rows < 20)).all()
    exact = cdist(queries[rows], base).mean(1) / np.sqrt(np.take_along_axis(every, ids, 1)[:, 9])
    np.testing.assert_allclose(got["relative_contrast"][~easy], exact[~easy], rtol=0.05)
    assert np.array_equal(got["lid"], hardness(data, truth, seed=3)["lid"])
    inner = hardness(replace(data, metric="ip"), truth, seed=3)
    assert np.isnan([inner["lid"], inner["relative_contrast"]]).all()
