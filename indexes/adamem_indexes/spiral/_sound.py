"""Whether what was loaded fits together: kernels do not look where a link leads.

Checksums say that files are what a save wrote; these checks, that they are what a save can have written. Rows are
looked at in pieces, and the pages of mapped files given back, so that a check costs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from adamem.types import AnyArray, IdArray, Metric
from adamem_indexes.spiral._kernels import CELLS, NIL, OFFSET, SQUARE, TAIL_FLOATS, Rows
from adamem_indexes.spiral._memory import give_back

_PIECE = 1 << 20
"""Elements looked at at once."""
_UNIT = 1e-3
"""How far the squared length of a vector of length 1 may be from 1."""


def fault_of_rows(rows: Rows, ids: IdArray, metric: Metric) -> str | None:
    """What is wrong with the rows of `ids` (n,), as the end of a sentence; None if nothing is.

    As many rows as ids. Every link leads from the first row of a chain of twins, which have the very same vector, to
    another such row.
    """
    live = np.sort(ids[ids != -1])
    if live.size and (live[0] < 0 or (live[1:] == live[:-1]).any()):
        return "ids are negative, or stand twice"
    if not all(are_vectors(rows.vectors[some], metric) for some in _pieces(rows.vectors)):
        return "vectors hold NaN or Inf, or are not of length 1"
    give_back(rows.vectors)
    if not all(_are_tails(rows.tails[some, -TAIL_FLOATS:], ids[some] == -1) for some in _pieces(rows.tails)):
        return "codes hold NaN or Inf"
    if not _is_chains(rows.twins):
        return "links lead to rows that do not exist"
    followers = np.flatnonzero(rows.twins != NIL)
    if not _are_equal(rows.vectors, followers, rows.twins[followers]):
        return "rows that are said to be equal are not"
    if (rows.links[rows.twins[followers], 0] != NIL).any():
        return "links lead from rows that are found where another is"
    if not all(leads_to_heads(rows.links[some], rows.twins) for some in _pieces(rows.links)):
        return "links lead to rows that do not exist"
    return None


def are_vectors(vectors: AnyArray, metric: Metric) -> bool:
    """Whether `vectors` (m, d) are finite, squared too, and under cosine of length 1."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.vecdot(vectors, vectors)
    good = np.abs(squares - 1) < _UNIT if metric == "cosine" else np.isfinite(squares)
    give_back(vectors)
    return bool(good.all())


def _are_tails(tails: AnyArray, dead: AnyArray) -> bool:
    """Whether all of `tails` (m, TAIL_FLOATS) is finite, but what says that a dead row was detached from the graph.

    An interrupt may have come between taking it out and closing it: then its offset is finite.
    """
    detached = dead & np.isposinf(tails[:, SQUARE])
    finite = np.isfinite(tails)
    finite[:, SQUARE] |= detached
    finite[:, OFFSET] |= detached & np.isposinf(tails[:, OFFSET])
    return bool(finite.all())


def is_tree(children: AnyArray, leaves: int) -> bool:
    """Whether `children` int32 (t, CELLS) leads from node 0 down to leaves, of which there are so many."""
    nodes = children.shape[0]
    # A child comes after its parent: no way down is endless. And each node has at least one.
    later = (children < 0) | (children > np.arange(nodes)[:, None]) & (children < nodes)
    known = children >= -1 - leaves
    return children.shape[1] == CELLS and bool((later & known).all() and (children != -1).any(axis=1).all())


def leads_to_heads(links: AnyArray, twins: AnyArray) -> bool:
    """Whether `links`, NIL aside, lead to rows that exist and are no other's twin: those would be found twice."""
    targets = links[links != NIL]
    if not _within(targets, twins.size):
        return False
    second = np.zeros(twins.size, dtype=np.bool_)
    second[twins[twins != NIL]] = True
    return not second[targets].any()


def _pieces(array: AnyArray) -> Iterator[slice]:
    step = max(1, _PIECE // max(1, array.shape[1]))
    for start in range(0, array.shape[0], step):
        yield slice(start, start + step)


def _are_equal(vectors: AnyArray, some: AnyArray, others: AnyArray) -> bool:
    step = max(1, _PIECE // max(1, vectors.shape[1]))
    for start in range(0, some.size, step):
        here = slice(start, start + step)
        if not np.array_equal(vectors[some[here]], vectors[others[here]]):
            return False
        give_back(vectors)
    return True


def _within(links: AnyArray, n: int) -> bool:
    return bool(((links == NIL) | (links < n)).all())


def _is_chains(twins: AnyArray) -> bool:
    """Whether every row has at most one before it, and every chain an end."""
    if not _within(twins, twins.size):
        return False
    followers = twins[twins != NIL]
    if np.unique(followers).size != followers.size:
        return False
    heads = np.flatnonzero(np.bincount(followers, minlength=twins.size) == 0)
    met = heads.size
    while heads.size:  # as often as the longest chain is long
        heads = twins[heads]
        heads = heads[heads != NIL]
        met += heads.size
    return bool(met == twins.size)
