"""The recursive spiral: where a search should begin.

The data is centred and projected on its three main directions, and a small Fibonacci lattice on the sphere cuts it into
cells by direction; each cell is treated alike, until few points are left, of which the one nearest to their mean stands
for the leaf. A query follows the nearest cells: three products a level, on codes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from adamem.types import AnyArray, FloatArray
from adamem_indexes.spiral._axes import AXES_SAMPLE, AxesOf, main_axes
from adamem_indexes.spiral._kernels import CELLS, Spiral, encode
from adamem_indexes.spiral._lattice import fibonacci_sphere
from adamem_indexes.spiral._memory import aligned

_LEAF = 32
"""A part with fewer points is a leaf."""
_PIECE = 2_048
"""Rows whose components are in memory at once."""


class Components(Protocol):
    """Components float32 (m, parts), of which some rows are asked for at a time."""

    def __getitem__(self, rows: AnyArray, /) -> FloatArray:
        """float32 (rows, parts)."""
        ...


def grow_spiral(
    components: Components, rows: AnyArray, *, width: int, seed: int, axes_of: AxesOf = main_axes
) -> Spiral:
    """The tree over `components` (m, parts) of the `rows` uint32 (m,); the first leaf's row is the root."""
    random = np.random.default_rng([seed, 2])
    lattice = fibonacci_sphere(CELLS)
    axes: list[FloatArray] = []
    centres: list[FloatArray] = []
    children: list[AnyArray] = []
    leaves: list[int] = []

    def leaf(members: AnyArray) -> int:
        points = components[members]
        middle = ((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin()
        leaves.append(int(rows[members[middle]]))
        return -1 - len(leaves)

    # Breadth first: a node's place in the list is its number.
    open_parts = [np.arange(rows.size)]
    while open_parts:
        following = []
        for members in open_parts:
            pieces = np.array_split(members, -(-members.size // _PIECE))
            sums = [components[piece].sum(axis=0, dtype=np.float64) for piece in pieces]
            mean = (np.sum(sums, axis=0) / members.size).astype(np.float32)
            some = members[random.permutation(members.size)[:AXES_SAMPLE]] if len(pieces) > 1 else members
            three = axes_of(components[some] - mean, 3, random)
            axes.append(three)
            centres.append(three @ mean)
            near = [((components[piece] - mean) @ three.T @ lattice.T).argmax(axis=1) for piece in pieces]
            cells = np.concatenate(near)
            children.append(np.full(CELLS, -1, dtype=np.int32))
            used = np.unique(cells)
            for cell in used:
                inside = members[cells == cell]
                if inside.size < _LEAF or used.size == 1:
                    children[-1][cell] = leaf(inside)
                else:
                    following.append((len(children) - 1, cell, inside))
        open_parts = []
        for parent, cell, inside in following:
            children[parent][cell] = len(children) + len(open_parts)
            open_parts.append(inside)
    flat = np.concatenate(axes).astype(np.float32)
    codes = aligned((flat.shape[0], width), np.uint8)
    tails = codes.view(np.float32)
    encode(flat, np.concatenate(centres).astype(np.float32), np.zeros(flat.shape[0], np.float32), codes, tails, 0)
    kept = np.array(leaves, dtype=np.uint32)
    return Spiral(codes, tails, np.stack(children), lattice, kept, kept[:1].copy())


def no_spiral(row: int, *, width: int) -> Spiral:
    """No tree: every search begins at `row`."""
    codes = aligned((0, width), np.uint8)
    return Spiral(
        codes,
        codes.view(np.float32),
        np.empty((0, CELLS), dtype=np.int32),
        fibonacci_sphere(CELLS),
        np.empty(0, dtype=np.uint32),
        np.array([row], dtype=np.uint32),
    )
