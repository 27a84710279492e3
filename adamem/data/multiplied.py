"""A large set out of a smaller real one, to see how indexes grow: real vectors first, then noisy copies of them.

No embeddings of a million texts lie in a package, and uniform noise is nothing like them: it has no clusters, and every
index looks bad on it. Copies displaced by about as much as a vector is away from its nearest neighbour keep the
clusters, and fill the space between as more texts of the same kind would, though more evenly than those. So they are
fit for curves over n, and for no claim about any real collection of that size; the reports say which rows are real.

A random direction leads away from everything: a copy is farther from a query than its original. So of a real query's
ten nearest, 9 % are copies at 100,000 rows and 35 % at 1,000,000, where 50 % and 95 % of all rows are. The other copies
are what an index must not walk into.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from adamem.data.formats.source import VectorParts, VectorSource
from adamem.errors import DataError
from adamem.types import AnyArray, FloatArray, IdArray, Metric

MULTIPLIED_VERSION = 1
"""Part of the cached copy's key: raised when a row could differ."""

_SEED = 384
_BLOCK = 1024
"""Rows that share one stream of noise: what a row is depends on its number alone."""


def multiplied(source: VectorSource, rows: int, *, queries: int, noise: float, metric: Metric | None) -> VectorParts:
    """The first `rows` rows of the set that is made of `source`, and `queries` real vectors kept out of it.

    A fixed permutation of the source gives first the queries, then the m originals. Row r is the original of a
    permutation of its own for each round r // m, as it is in round 0, afterwards with Gaussian noise of expected length
    `noise`, renormalised to unit length and rounded to float16 as the originals are, so that the last bits of one
    processor's sums are in nobody's data. A prefix of the set is the set of that size.

    Raises
    ------
    DataError
        if the source has too few rows to give so many queries.
    """
    if queries >= source.rows:
        raise DataError(
            f"{source.path} has {source.rows} rows, from which {queries} queries cannot be held out; use a larger file"
        )
    order = np.random.default_rng(_SEED).permutation(source.rows)
    asked, originals = np.sort(order[:queries]), order[queries:]
    m = len(originals)
    made = ""
    if rows > m:
        made = (
            f"the first {m:,} of {rows:,} are real embeddings, the other {rows - m:,} are copies of them with Gaussian "
            f"noise of length {noise:g}, renormalised; the queries are real and held out"
        )

    def taken(count: int) -> Iterator[AnyArray]:
        whole = _whole(source)
        for start in range(0, queries, count):
            yield whole[asked[start : start + count]]

    def base(count: int) -> Iterator[AnyArray]:
        whole = _whole(source)
        for start in range(0, rows, _BLOCK):
            block = _block(whole, originals, start, noise)[: rows - start]
            for begin in range(0, len(block), count):
                yield block[begin : begin + count]

    return VectorParts(
        VectorSource(source.path, rows, source.dim, base),
        VectorSource(source.path, queries, source.dim, taken),
        metric=metric,
        files=(source.path,),
        made=made,
    )


def _block(whole: FloatArray, originals: IdArray, start: int, noise: float) -> FloatArray:
    """float32 (_BLOCK, d): the rows from `start` on."""
    number = np.arange(start, start + _BLOCK)
    rounds, places = np.divmod(number, len(originals))
    rows = np.empty_like(number)
    for one in np.unique(rounds):
        here = rounds == one
        rows[here] = originals[np.random.default_rng([_SEED, 1, one]).permutation(len(originals))[places[here]]]
    real = whole[rows]
    if not rounds.any():
        return real
    random = np.random.default_rng([_SEED, 2, start // _BLOCK]).standard_normal(real.shape, dtype=np.float32)
    moved = real.astype(np.float64) + random * (noise / np.sqrt(real.shape[1]))
    moved /= np.sqrt((moved * moved).sum(axis=1))[:, None]
    copies = moved.astype(np.float16).astype(np.float32)
    return np.where((rounds == 0)[:, None], real, copies)


def _whole(source: VectorSource) -> FloatArray:
    """The source in memory: its rows are wanted in no order."""
    return np.concatenate([np.asarray(block, dtype=np.float32) for block in source.blocks(1 << 14)])
