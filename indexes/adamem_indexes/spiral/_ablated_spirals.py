"""Several spirals side by side: where a search should begin, without a tree.

The main directions of the data are taken three by three, and over each three lies a large Fibonacci lattice on the
sphere. Each component is first replaced by its normal score: whatever its distribution, it becomes a standard normal
one, and three of them, which are uncorrelated, about a round cloud, whose directions share the sphere out evenly; so
the cells hold about equally many rows. The cells nearest to a query's direction are found in constant time
(`_ablated_lattice.nearest_points`), and the row nearest to the mean of a cell's rows stands for it.
"""

from __future__ import annotations

import numpy as np

from adamem.types import AnyArray, FloatArray
from adamem_indexes.spiral._ablated_lattice import KNOTS, SPIRALS, Spirals, nearest_cells
from adamem_indexes.spiral._axes import AxesOf, main_axes
from adamem_indexes.spiral._kernels import encode
from adamem_indexes.spiral._lattice import fibonacci_sphere
from adamem_indexes.spiral._memory import aligned

_CELL = 64
"""Rows a cell on average."""
_MOST_CELLS = 1_024
_FAR = np.float32(1e30)


def grow_spirals(
    components: FloatArray,
    rows: AnyArray,
    *,
    width: int,
    seed: int,
    count: int = SPIRALS,
    axes_of: AxesOf = main_axes,
    of_data: bool = True,
) -> Spirals:
    """At most `count` spirals over `components` (m, parts) of the `rows` uint32 (m,); the medoid's row is the root.

    Without `of_data`, the directions stay as `axes_of` gives them: they are not made uncorrelated and sorted.
    """
    random = np.random.default_rng([seed, 4])
    mean = components.mean(axis=0)
    centred = components - mean
    spirals = min(count, -(-components.shape[1] // 3))
    axes = axes_of(centred, 3 * spirals, random)
    if of_data:
        axes = _uncorrelated(axes, centred)
    lattice = fibonacci_sphere(int(np.clip(rows.size // _CELL, 1, _MOST_CELLS)))
    values = centred @ axes.T  # (m, 3 spirals)
    warps = _warps(values)
    cells = np.empty((spirals, len(lattice)), dtype=np.uint32)
    cell_of = np.empty(rows.size, dtype=np.int64)
    for one in range(spirals):
        three = slice(3 * one, 3 * one + 3)
        nearest_cells(np.ascontiguousarray(values[:, three]), warps[three], lattice, cell_of)
        cells[one] = rows[_representatives(centred, cell_of, lattice)]
    codes = aligned((len(axes), width), np.uint8)
    tails = codes.view(np.float32)
    encode(axes, axes @ mean, np.zeros(len(axes), dtype=np.float32), codes, tails, 0)
    root = rows[[int(np.einsum("ij,ij->i", centred, centred).argmin())]]
    return Spirals(codes, tails, lattice, warps, cells, root)


def no_spirals(*, width: int) -> Spirals:
    """None: their place is taken by the tree."""
    codes = aligned((0, width), np.uint8)
    return Spirals(
        codes,
        codes.view(np.float32),
        np.empty((0, 3), dtype=np.float32),
        np.empty((0, KNOTS + 1), dtype=np.float32),
        np.empty((0, 0), dtype=np.uint32),
        np.empty(1, dtype=np.uint32),
    )


def _uncorrelated(axes: FloatArray, centred: FloatArray) -> FloatArray:
    """The same subspace by directions along which the data is uncorrelated, the widest first."""
    values = (centred @ axes.T).astype(np.float64)
    _, turn = np.linalg.eigh(values.T @ values)
    turned: FloatArray = (turn[:, ::-1].T @ axes).astype(np.float32)
    return turned


def _warps(values: FloatArray) -> FloatArray:
    """float32 (axes, KNOTS + 1): quantiles and spread of each column of `values` (m, axes).

    A column that does not vary gets quantiles so far apart that whatever comes has the score 0.
    """
    shares = (np.arange(KNOTS) + 0.5) / KNOTS
    quantiles = np.quantile(values, shares, axis=0).T
    spread = values.std(axis=0)
    out = np.ascontiguousarray(np.concatenate([quantiles, spread[:, None]], axis=1), dtype=np.float32)
    still = ~(spread > 1e-6 * max(float(spread.max()), 1e-30))
    out[still, :KNOTS] = _FAR * (np.arange(KNOTS) - (KNOTS - 1) / 2).astype(np.float32)
    out[still, KNOTS] = _FAR
    return out


def _representatives(centred: FloatArray, cell_of: AnyArray, lattice: FloatArray) -> AnyArray:
    """int64 (cells,): of each cell of the lattice, which of the points `centred` (m, parts) is nearest to their mean.

    An empty cell takes that of the nearest one that is not.
    """
    order = np.argsort(cell_of, kind="stable")
    used, starts, sizes = np.unique(cell_of[order], return_index=True, return_counts=True)
    inside = centred[order]
    means = np.add.reduceat(inside, starts, axis=0) / sizes[:, None].astype(np.float32)
    inside -= np.repeat(means, sizes, axis=0)
    gaps = np.einsum("ij,ij->i", inside, inside)
    by_gap = np.lexsort((gaps, cell_of[order]))
    best = order[by_gap[starts]]
    nearest_used = (lattice @ lattice[used].T).argmax(axis=1)
    return np.asarray(best[nearest_used])
