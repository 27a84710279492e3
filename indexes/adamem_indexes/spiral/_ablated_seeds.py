"""Other ways to begin a search than the spirals, and the controls of those: for the ablation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from adamem.types import AnyArray, FloatArray
from adamem_indexes.spiral._ablated_lattice import Spirals
from adamem_indexes.spiral._ablated_spirals import grow_spirals
from adamem_indexes.spiral._axes import random_axes
from adamem_indexes.spiral._kernels import NIL, Spiral
from adamem_indexes.spiral._tree import grow_spiral

GROWN: dict[str, Callable[..., Spiral | Spirals]] = {
    "recursive": grow_spiral,
    "several": grow_spirals,
    "one": partial(grow_spirals, count=1),
    "recursive-random": partial(grow_spiral, axes_of=random_axes),
    "several-random": partial(grow_spirals, axes_of=random_axes, of_data=False),
}
"""Spirals; with directions that are random in place of the data's main ones, they are the controls."""

OF_NO_DATA = frozenset({"recursive-random", "several-random"})
"""The controls. Their directions are drawn in the space of the coded components. Where these are the leading principal
ones, what is drawn tells more of the data than any direction does; to draw among all dimensions and to project what was
drawn comes to the same."""

_LINKS = 16
"""M of the hierarchy: each level holds a sixteenth of the one below, as in HNSW with M = 16."""
_CANDIDATES = 64
_CLUSTERED = 16_384
_ROUNDS = 10


def random_rows(count: int, components: FloatArray, nodes: AnyArray, seed: int) -> AnyArray:
    """uint32 (count or fewer,): any of the `nodes` (n,), the same for all queries."""
    del components
    return np.random.default_rng([seed, 6]).permutation(nodes)[:count]


def medoid(components: FloatArray, nodes: AnyArray, seed: int) -> AnyArray:
    """uint32 (1,): the node nearest to the mean of `components` (n, parts)."""
    del seed
    gaps = components - components.mean(axis=0)
    return nodes[[int(np.einsum("ij,ij->i", gaps, gaps).argmin())]]


def k_means(count: int, components: FloatArray, nodes: AnyArray, seed: int) -> AnyArray:
    """uint32 (count or fewer,): the nodes nearest to the centroids of a sample (Lloyd's algorithm)."""
    random = np.random.default_rng([seed, 7])
    sample = components[random.permutation(len(components))[:_CLUSTERED]]
    centroids = sample[:count].copy()
    for _ in range(_ROUNDS):
        nearest = _gaps(sample, centroids).argmin(axis=1)
        sizes = np.bincount(nearest, minlength=len(centroids))
        order = np.argsort(nearest, kind="stable")
        used = np.flatnonzero(sizes)
        starts = np.concatenate([[0], np.cumsum(sizes[used])[:-1]])
        centroids[used] = np.add.reduceat(sample[order], starts, axis=0) / sizes[used, None].astype(np.float32)
    best = np.concatenate(
        [_gaps(centroids[i : i + 32], components).argmin(axis=1) for i in range(0, len(centroids), 32)]
    )
    return np.unique(nodes[best])


ROWS: dict[str, Callable[[FloatArray, AnyArray, int], AnyArray]] = {
    "random1": partial(random_rows, 1),
    "random16": partial(random_rows, 16),
    "medoid": medoid,
    "kmeans32": partial(k_means, 32),
    "kmeans256": partial(k_means, 256),
}
"""Seeds that are the same for every query, all of which are compared."""


def hierarchy(components: FloatArray, nodes: AnyArray, rows: int, seed: int) -> tuple[AnyArray, AnyArray]:
    """HNSW's upper levels over `nodes` (n,), of which `components` (n, parts) tell: (entry, links).

    The entry is uint32 (1,), a node of the highest level; links uint32 (levels, rows, M) from the highest on, NIL
    behind the last. Levels and links are drawn and chosen as in Malkov and Yashunin, TPAMI 42(4) (2020), algorithms 1
    and 4, but with the true neighbours of each level as candidates.
    """
    random = np.random.default_rng([seed, 8])
    height = np.floor(-np.log(1.0 - random.random(nodes.size)) / np.log(_LINKS)).astype(np.int64)
    upper = np.full((max(1, int(height.max(initial=0))), rows, _LINKS), NIL, dtype=np.uint32)
    for level in range(1, len(upper) + 1):
        members = np.flatnonzero(height >= level)
        if members.size < 2:
            continue
        for place, others in enumerate(_neighbours(components[members])):
            upper[len(upper) - level, nodes[members[place]], : len(others)] = nodes[members[others]]
    return nodes[[int(height.argmax())]], upper


def _neighbours(points: FloatArray) -> list[list[int]]:
    """Of each of the points (m, parts), at most M others: those that no nearer one of them hides, and back."""
    count = min(_CANDIDATES, len(points) - 1)
    forward = []
    for point in range(len(points)):
        gaps = _gaps(points[point : point + 1], points)[0]
        gaps[point] = np.inf
        near = np.argpartition(gaps, count - 1)[:count]
        forward.append(_unhidden(points, point, near))
    back: list[list[int]] = [[] for _ in forward]
    for point, others in enumerate(forward):
        for other in others:
            back[other].append(point)
    return [
        _unhidden(points, point, np.array(sorted({*others, *back[point]}), dtype=np.int64))
        for point, others in enumerate(forward)
    ]


def _unhidden(points: FloatArray, point: int, candidates: AnyArray) -> list[int]:
    gaps = _gaps(points[point : point + 1], points[candidates])[0]
    order = np.argsort(gaps, kind="stable")
    candidates, gaps = candidates[order], gaps[order]
    between = _gaps(points[candidates], points[candidates])
    kept: list[int] = []
    for i in range(candidates.size):
        if (between[i, kept] > gaps[i]).all():
            kept.append(i)
            if len(kept) == _LINKS:
                break
    return [int(candidates[i]) for i in kept]


def _gaps(points: FloatArray, others: FloatArray) -> FloatArray:
    """float32 (m, n): squared distances of points (m, parts) and others (n, parts)."""
    squares = np.einsum("ij,ij->i", points, points)[:, None] + np.einsum("ij,ij->i", others, others)
    out: FloatArray = squares - np.float32(2) * (points @ others.T)
    return out
