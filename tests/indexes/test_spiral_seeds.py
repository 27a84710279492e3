"""Where the ablation's searches can begin: the lattice's inverse, several spirals side by side, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamem.index import index_class
from adamem_indexes.spiral import _ablated_lattice as lattices
from adamem_indexes.spiral import _kernels as kernels
from adamem_indexes.spiral._ablated_spirals import grow_spirals
from adamem_indexes.spiral._axes import random_axes
from adamem_indexes.spiral._lattice import fibonacci_sphere


def clustered(n, dim, *, seed=0, clusters=20, spread=0.3):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, dim))
    return (centres[random.integers(clusters, size=n)] + spread * random.normal(size=(n, dim))).astype(np.float32)


def build(vectors, *, metric="l2", **params):
    params = {"seeds": "several", **params}
    return index_class("spiral_ablation").build(vectors, np.arange(len(vectors)), metric=metric, params=params)


def nearest(lattice, direction):
    keys = np.empty(lattices.NEAREST_POINTS, dtype=np.uint64)
    held = lattices.nearest_points(lattice, *direction.astype(np.float32), lattices.NEAREST_POINTS, keys)
    return [int(key) >> 1 & 0x7FFFFFFF for key in keys[:held]]  # as `_kernels._key_node`, which is not for Python


def assert_nearest(lattice, direction):
    """The four nearest points, in order, are those of brute force, up to the rounding of equal ones."""
    found = nearest(lattice, direction)
    scores = lattice.astype(np.float64) @ direction.astype(np.float32).astype(np.float64)
    best = np.sort(scores)[::-1][: lattices.NEAREST_POINTS]
    assert len(set(found)) == best.size
    np.testing.assert_allclose(scores[found], best, atol=1e-6)


@settings(max_examples=300, deadline=None)
@given(
    n=st.integers(1, 5_000),
    longitude=st.floats(-np.pi, np.pi),
    height=st.floats(-1, 1),
)
def test_the_inverse_of_the_lattice_is_brute_force(n, longitude, height):
    """For any number of points and any direction."""
    radius = np.sqrt(1 - height**2)
    assert_nearest(fibonacci_sphere(n), np.array([radius * np.cos(longitude), radius * np.sin(longitude), height]))


@pytest.mark.parametrize("n", [*range(1, 12), 63, 64, 127, 128, 129, 130, 200, 1_000, 1_024, 50_000])
def test_poles_and_seams_of_the_lattice(n):
    """At the poles, close to them, along the meridian where the longitude jumps, and at points of the lattice."""
    random = np.random.default_rng(n)
    lattice = fibonacci_sphere(n)
    directions = [[0, 0, 1], [0, 0, -1], [-1, 0.0, 0], [-1, -0.0, 0], [-1, 1e-30, 0], [-1, -1e-30, 0]]
    directions += [
        [x, y, z] for z in (1, -1) for x, y in random.normal(size=(100, 2)) * random.uniform(0, 0.6, (100, 1))
    ]
    directions += [[-np.sqrt(1 - z * z), 1e-9 * y, z] for z, y in random.uniform(-1, 1, (100, 2))]
    directions += lattice[random.integers(0, n, 50)].tolist()
    for direction in np.array(directions, dtype=np.float64):
        assert_nearest(lattice, direction / np.linalg.norm(direction))


def test_normal_scores_are_normal():
    """Whatever a component's distribution, its scores are a standard normal variable's, and keep its order."""
    random = np.random.default_rng(0)
    for values in (random.exponential(size=20_000), random.uniform(5, 6, 20_000), random.normal(size=20_000) ** 3):
        warp = np.append(np.quantile(values, (np.arange(32) + 0.5) / 32), values.std()).astype(np.float32)
        scores = np.array([lattices.normal_score(np.float32(value), warp) for value in np.sort(values)])
        assert (np.diff(scores) >= 0).all()
        inner = scores[1_000:-1_000]
        expected = np.sort(random.normal(size=20_000))[1_000:-1_000]
        np.testing.assert_allclose(inner, expected, atol=0.1)


def test_cells_hold_about_equally_many():
    """On components of very different width and skewed distributions, none of the cells is a crowd."""
    random = np.random.default_rng(1)
    components = (random.gamma(2.0, size=(20_000, 12)) * np.geomspace(100, 1, 12)).astype(np.float32)
    spiral = grow_spirals(components, np.arange(20_000, dtype=np.uint32), width=64, seed=0)
    assert spiral.cells.shape == (4, 20_000 // 64)
    axes = (spiral.axes.astype(np.float32) - 128)[:, :12] * spiral.axis_tails[:, -4][:, None]
    values = components @ axes.T - spiral.axis_tails[:, -4 + kernels.OFFSET]
    for one in range(4):
        three = slice(3 * one, 3 * one + 3)
        cells = np.empty(20_000, dtype=np.int64)
        nearest_cells = np.ascontiguousarray(values[:, three], dtype=np.float32)
        lattices.nearest_cells(nearest_cells, spiral.warps[three], spiral.lattice, cells)
        assert np.bincount(cells).max() < 5 * 64


@pytest.mark.parametrize("axes_of", [None, random_axes])
def test_a_cells_row_lies_in_the_data(axes_of):
    """Every cell, empty ones too, has one of the rows that were given; so is the root."""
    components = clustered(3_000, 20)
    rows = np.random.default_rng(0).permutation(10_000)[:3_000].astype(np.uint32)
    given_axes = {} if axes_of is None else {"axes_of": axes_of}
    spiral = grow_spirals(components, rows, width=64, seed=0, **given_axes)
    assert np.isin(spiral.cells, rows).all()
    assert spiral.root[0] in rows


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("codes", ["sq8", "fp32"])
def test_several_spirals_find_the_nearest(oracle, metric, codes):
    """On clusters, where one entry point would be a trap; the tree is gone."""
    vectors, queries = np.split(clustered(4_100, 48, clusters=60, spread=0.1), [4_000])
    index = build(vectors, metric=metric, codes=codes)
    assert index._starts.spirals.cells.size
    assert index._body.spiral.children.size == 0
    found = index.search(queries, 10, params={"ef": 80})
    assert oracle.recall(metric, found, queries, vectors, np.arange(4_000), 10) > 0.95


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("n", [1, 2, 5, 70, 400])
def test_any_shape_has_several_spirals(oracle, n, dim):
    """Few points, few dimensions, columns that are constant or nearly so."""
    vectors = clustered(n, dim, seed=n + dim)
    if dim > 2:
        vectors[:, 0] = 3.0
        vectors[:, 1] *= 1e-6
    index = build(vectors)
    found = index.search(vectors, 1, params={"ef": 100})
    assert oracle.recall("l2", found, vectors, vectors, np.arange(n), 1) == 1


@pytest.mark.parametrize(("seeds", "products"), [("recursive", range(3, 40, 3)), ("several", [24])])
def test_products_with_axes_are_counted(seeds, products):
    """A search that can go nowhere costs its seeds and the products that chose them."""
    vectors = clustered(3_000, 32)
    index = build(vectors, seeds=seeds)
    index._body.rows.links[:] = kernels.NIL
    index.search(vectors[:1], 1, params={"ef": 64})
    spent = index.counters()
    assert spent["distances"] - spent["hops"] in products  # each seed is compared once and expanded once
