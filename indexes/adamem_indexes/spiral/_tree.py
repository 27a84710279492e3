"""The recursive spiral: where a search should begin.

The data is centred and projected on its three main directions, and a small Fibonacci lattice on the sphere cuts it into
cells by direction; each cell is treated alike, until few points are left, of which the one nearest to their mean stands
for the leaf. A query follows the nearest cells: three products a level, on codes.
"""

from __future__ import annotations

from collections.abc import Iterator
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

    def leaf(members: AnyArray, points: FloatArray) -> int:
        middle = ((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin()
        leaves.append(int(rows[members[middle]]))
        return -1 - len(leaves)

    # Breadth first: a node's place in the list is its number.
    open_parts = [np.arange(rows.size)]
    while open_parts:
        following = []
        for members in open_parts:
            part = _Part(components, members)
            mean = part.mean()
            three = axes_of(part.some(AXES_SAMPLE, random) - mean, 3, random)
            axes.append(three)
            centres.append(three @ mean)
            cells = part.nearest(mean, three, lattice)
            children.append(np.full(CELLS, -1, dtype=np.int32))
            used = np.unique(cells)
            for cell in used:
                here = np.flatnonzero(cells == cell)
                if here.size < _LEAF or used.size == 1:
                    children[-1][cell] = leaf(members[here], part[here])
                else:
                    following.append((len(children) - 1, cell, members[here]))
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


class _Part:
    """The components of some `members` (n,): a large part's are taken piece by piece, a small one's only once."""

    def __init__(self, components: Components, members: AnyArray) -> None:
        self._components, self._members = components, members
        self._whole = components[members] if members.size <= _PIECE else None

    def __getitem__(self, here: AnyArray) -> FloatArray:
        """float32 (here, parts)."""
        return self._components[self._members[here]] if self._whole is None else self._whole[here]

    def mean(self) -> FloatArray:
        """float32 (parts,)."""
        sums = [piece.sum(axis=0, dtype=np.float64) for piece in self._pieces()]
        mean: FloatArray = (np.sum(sums, axis=0) / self._members.size).astype(np.float32)
        return mean

    def some(self, most: int, random: np.random.Generator) -> FloatArray:
        """All of a small part, at most so many of a large one."""
        return self[random.permutation(self._members.size)[:most]] if self._whole is None else self._whole

    def nearest(self, mean: FloatArray, axes: FloatArray, lattice: FloatArray) -> AnyArray:
        """int64 (n,): the direction of the lattice (cells, 3) that each is nearest to, seen from the mean."""
        return np.concatenate([((piece - mean) @ axes.T @ lattice.T).argmax(axis=1) for piece in self._pieces()])

    def _pieces(self) -> Iterator[FloatArray]:
        if self._whole is not None:
            yield self._whole
            return
        for start in range(0, self._members.size, _PIECE):
            yield self._components[self._members[start : start + _PIECE]]


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
