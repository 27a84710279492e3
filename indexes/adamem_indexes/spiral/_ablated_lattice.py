"""Several spirals side by side, as the ablation's searches see them: the inverse of the lattice, and seeds by it.

These kernels are not cached: numba's cache does not notice a change in the other file that they are made of.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, NamedTuple

import numba
import numpy as np

from adamem.types import AnyArray, FloatArray
from adamem_indexes.spiral._kernels import OFFSET, TAIL_FLOATS, _key, _key_node, dot

SPIRALS = 8
"""Spirals at most."""
NEAREST_POINTS = 4
"""Of each of them, the cells nearest to a point whose representatives are seeds."""
MOST_SEEDS = 1 + SPIRALS * NEAREST_POINTS
KNOTS = 32
"""Quantiles that tell how a component is spread."""

_GOLDEN = 0.5 * (np.sqrt(5.0) + 1.0)
_POLE = 64
"""So many lattice points next to a pole are all looked at: there the sphere is not like a plane."""
_NORMAL_SCORES = np.array([NormalDist().inv_cdf((j + 0.5) / KNOTS) for j in range(KNOTS)], dtype=np.float32)

_kernel = numba.njit(nogil=True, fastmath={"reassoc", "contract"}, error_model="numpy")


class Spirals(NamedTuple):
    """Large lattices side by side, each over three directions of the whole."""

    axes: AnyArray
    """uint8 (3 m, width): coded as the rows are; an axis's OFFSET is the centre's component along it."""
    axis_tails: AnyArray
    """float32: the same memory."""
    lattice: FloatArray
    """float32 (c, 3): the directions of each spiral's cells."""
    warps: FloatArray
    """float32 (3 m, KNOTS + 1): the quantiles (j + 1/2) / KNOTS along each axis, and the spread beyond them."""
    cells: AnyArray
    """uint32 (m, c): the row that stands for each cell of each of m spirals."""
    root: AnyArray
    """uint32 (1,): the row nearest to the mean."""


@_kernel
def nearest_points(lattice: Any, x: Any, y: Any, z: Any, count: Any, keys: Any) -> Any:
    """The points of a Fibonacci lattice (n, 3) that are nearest to the direction (x, y, z), as sorted `_key`s.

    In time that does not depend on n; at most `count`, which is NEAREST_POINTS at most, are written to `keys`; returns
    how many.

    Point i has the height 1 - (2 i + 1) / n and the longitude 2 pi frac(i / golden), so in these two coordinates the
    points, and their images a turn further, are a lattice; any two successive Fibonacci numbers F as steps of i are a
    basis of it. A step of F_k turns by 2 pi golden^-k and sinks by 2 F_k / n; on the sphere at height z its square is
    (1 - z^2) (2 pi)^2 golden^-2k + (2 golden^k / sqrt(5) n)^2 / (1 - z^2), which is least where both terms are equal:
    golden^2k = sqrt(5) pi n (1 - z^2). In that basis the nearest are corners of the direction's cell or next to it.
    Source: Keinert, Innmann, Saenger and Stamminger, "Spherical Fibonacci Mapping", ACM TOG 34(6), 2015, section 4.
    """
    n = lattice.shape[0]
    held = 0
    height = 0.5 * n * (1.0 - np.float64(z)) - 0.5  # i, were it not whole
    if n <= 2 * _POLE or height < 0.5 * _POLE or height > n - 0.5 * _POLE:
        first = 0 if height < 0.5 * n or n <= 2 * _POLE else n - _POLE
        for i in range(first, n if n <= 2 * _POLE else first + _POLE):
            held = _hold_point(lattice, i, x, y, z, count, keys, held)
        return held
    level = np.log(np.sqrt(5.0) * np.pi * n * (1.0 - np.float64(z) * np.float64(z))) / (2.0 * np.log(_GOLDEN))
    power = _GOLDEN ** np.floor(level)
    one, two = np.round(power / np.sqrt(5.0)), np.round(power * _GOLDEN / np.sqrt(5.0))
    turn_one, turn_two = one / _GOLDEN, two / _GOLDEN
    turn_one -= np.round(turn_one)
    turn_two -= np.round(turn_two)
    # a one + b two = height and a turn_one + b turn_two = longitude, in turns
    longitude = np.arctan2(np.float64(y), np.float64(x)) / (2.0 * np.pi)
    determinant = turn_one * two - turn_two * one
    a = np.int64(np.floor((longitude * two - turn_two * height) / determinant))
    b = np.int64(np.floor((turn_one * height - longitude * one) / determinant))
    for i in range(a - 1, a + 3):
        for j in range(b - 1, b + 3):
            point = i * np.int64(one) + j * np.int64(two)
            if 0 <= point < n:
                held = _hold_point(lattice, point, x, y, z, count, keys, held)
    return held


@_kernel
def _hold_point(lattice: Any, point: Any, x: Any, y: Any, z: Any, count: Any, keys: Any, held: Any) -> Any:
    """Put a point among the `held` nearest so far, at most `count`; returns how many there are then."""
    at = np.uint64(point)
    key = _key(np.float32(-(x * lattice[at, 0] + y * lattice[at, 1] + z * lattice[at, 2])), at)
    if held < count:
        held += 1
    elif keys[count - 1] <= key:
        return held
    slot = held - 1
    while slot > 0 and keys[slot - 1] > key:
        keys[slot] = keys[slot - 1]
        slot -= 1
    keys[slot] = key
    return held


@_kernel
def normal_score(value: Any, warp: Any) -> Any:
    """What a normal variable is where as much of the data is below as below `value`; `warp` is a row of `warps`."""
    low, high = 0, KNOTS
    while low < high:
        middle = (low + high) >> 1
        if warp[middle] <= value:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return _NORMAL_SCORES[0] + (value - warp[0]) / warp[KNOTS]
    if low == KNOTS:
        return _NORMAL_SCORES[KNOTS - 1] + (value - warp[KNOTS - 1]) / warp[KNOTS]
    share = (value - warp[low - 1]) / (warp[low] - warp[low - 1])
    return _NORMAL_SCORES[low - 1] + share * (_NORMAL_SCORES[low] - _NORMAL_SCORES[low - 1])


@_kernel
def nearest_cells(values: Any, warps: Any, lattice: Any, out: Any) -> None:
    """The cell of each of `values` float32 (n, 3), components along the axes of `warps` (3, KNOTS + 1): out (n,)."""
    keys = np.empty(1, dtype=np.uint64)
    for i in range(values.shape[0]):
        x, y, z = _direction(values[i, 0], values[i, 1], values[i, 2], warps)
        nearest_points(lattice, x, y, z, 1, keys)
        out[i] = _key_node(keys[0])


@_kernel
def _direction(first: Any, second: Any, third: Any, warps: Any) -> Any:
    """The unit vector of three components, warped so that over the data its directions are about evenly spread."""
    x, y, z = normal_score(first, warps[0]), normal_score(second, warps[1]), normal_score(third, warps[2])
    square = x * x + y * y + z * z
    if not square > np.float32(1e-30):
        return np.float32(1), np.float32(0), np.float32(0)
    inverse = np.float32(1) / np.sqrt(square)
    return x * inverse, y * inverse, z * inverse


@_kernel
def spiral_seeds(spirals: Any, code: Any, factor: Any, correction: Any, keys: Any, out: Any) -> Any:
    """The root and the nearest cells' rows of every spiral go into `out`; returns what `_kernels._seeds` does.

    `keys` uint64 (NEAREST_POINTS or more,) is room to work in.
    """
    out[0] = spirals.root[0]
    count = 1
    width = np.uint64(spirals.axes.shape[1])
    base = np.uint64(spirals.axes.ctypes.data)
    here = np.uint64(code.ctypes.data)
    at = np.uint64(spirals.axis_tails.shape[1] - TAIL_FLOATS)
    values = (np.float32(0), np.float32(0), np.float32(0))
    for one in range(spirals.cells.shape[0]):
        for axis in range(3):
            row = np.uint64(3 * one + axis)
            product = np.float32(dot(base + row * width, here, width) - correction)
            value = factor * spirals.axis_tails[row, at] * product - spirals.axis_tails[row, at + np.uint64(OFFSET)]
            values = (values[1], values[2], value)
        x, y, z = _direction(values[0], values[1], values[2], spirals.warps[3 * one : 3 * one + 3])
        for place in range(nearest_points(spirals.lattice, x, y, z, NEAREST_POINTS, keys)):
            out[count] = spirals.cells[one, _key_node(keys[place])]
            count += 1
    return count, 3 * spirals.cells.shape[0]
