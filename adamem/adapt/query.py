"""Learning a map of the query vector from pairs, in numpy: documents and indexes stay as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adamem.adapt.pairs import Pair, agreeing, require_contrast
from adamem.data.progress import Progress, silent
from adamem.encoders.adaptation import Moves, require_base
from adamem.encoders.protocol import Encoder
from adamem.encoders.query_map import QueryMap, operator_norm
from adamem.errors import InvalidInput, LearningFailed
from adamem.types import DoubleArray

_FORGETTING = (0.9, 0.999)
_TINY = 1e-8
"""Adam's constants (Kingma and Ba, 2015, algorithm 1)."""


@dataclass(frozen=True)
class QueryAdapter:
    """A recipe for a `QueryMap`, learnt by in-batch softmax (van den Oord et al., 2018, arXiv 1807.03748) with Adam.

    It sees the base's vectors alone, so a hundred epochs over a thousand pairs take seconds. A begins at 0, so that the
    map begins as the identity. Pairs of one group, or with one text, are never held against each other.

    Parameters
    ----------
    rank
        Of the map.
    rate
        Adam's learning rate; the entries of B begin at 1 / sqrt(dim).
    epochs
        So many times over all pairs; with 0 nothing moves.
    batch
        Pairs a step, at least 2.
    bound
        The operator norm of A Bᵀ is kept at or below it, from 0 to under 1: no query is turned by more than
        arcsin(bound), which is 30 degrees at 0.5.
    scale
        The cosines are multiplied by it before the softmax: the inverse of the temperature.
    seed
        Of the initial B and of the order of the pairs. Equal input and seed give equal bytes on one machine.

    Raises
    ------
    InvalidInput
        if a value is out of its range.
    """

    rank: int = 16
    rate: float = 3e-3
    epochs: int = 100
    batch: int = 256
    bound: float = 0.5
    scale: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("rank", 1), ("epochs", 0), ("batch", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} of a query recipe must be at least {least}, not {getattr(self, name)}")
        for name in ("rate", "scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidInput(f"{name} of a query recipe must be finite and above 0, not {value}")
        if not 0 <= self.bound < 1:
            raise InvalidInput(f"bound of a query recipe must be from 0 to under 1, not {self.bound}")

    @property
    def kind(self) -> str:
        """``query-map``."""
        return QueryMap.kind

    @property
    def moves(self) -> Moves:
        """``queries``: documents keep their vectors."""
        return "queries"

    def learn(
        self,
        base: Encoder,
        pairs: Sequence[Pair],
        *,
        since: QueryMap | None = None,
        replay: Sequence[Pair] = (),
        progress: Progress = silent,
    ) -> QueryMap:
        """The map that brings the pairs' queries nearer to their documents, as `base` embeds both.

        Parameters
        ----------
        base
            Any encoder; it stays as it is.
        pairs, replay
            The new ones, and former ones to mix among them.
        since
            Where to go on from, learnt on the same base with the same rank.
        progress
            Told after each epoch.

        Raises
        ------
        InvalidInput
            if since does not fit, or no two pairs may be held against each other.
        LearningFailed
            if A or B became NaN or infinite.
        """
        pairs = [*pairs, *replay]
        require_contrast(pairs)
        queries = base.encode_query([pair.query for pair in pairs]).astype(np.float64)  # (n, dim)
        documents = base.encode_document([pair.document for pair in pairs]).astype(np.float64)  # (n, dim)
        dim = queries.shape[1]
        hard = [(row, text) for row, pair in enumerate(pairs) for text in pair.against]
        owner = np.array([row for row, _ in hard], dtype=np.int64)  # (m,)
        against = base.encode_document([text for _, text in hard]).astype(np.float64) if hard else np.zeros((0, dim))
        random = np.random.default_rng(self.seed)
        both = np.stack([np.zeros((dim, self.rank)), random.standard_normal((dim, self.rank)) / math.sqrt(dim)])
        if since is not None:
            both[:] = self._parts(since, base)
        adam = _Adam(both, rate=self.rate)
        for epoch in range(self.epochs):
            order = random.permutation(len(pairs))
            for start in range(0, len(order), self.batch):
                rows = order[start : start + self.batch]
                agree = agreeing([pairs[row] for row in rows])
                told = documents[rows]
                if (mine := np.flatnonzero(np.isin(owner, rows))).size:
                    place = np.argsort(rows)[np.searchsorted(np.sort(rows), owner[mine])]  # whose it is, in the batch
                    spared = agree[:, place]
                    spared[place, np.arange(mine.size)] = False
                    agree, told = np.hstack([agree, spared]), np.vstack([told, against[mine]])
                adam.step(loss_and_slopes(both, queries[rows], told, agree, scale=self.scale)[1])
                norm = operator_norm(*both)
                if math.isnan(norm):
                    raise LearningFailed(
                        f"a query map is not finite any more; learn at a rate below {self.rate:g} or a scale below "
                        f"{self.scale:g}"
                    )
                if norm > self.bound:
                    both[0] *= self.bound / norm
            progress(epoch + 1, self.epochs, "learning a query map")
        return QueryMap(base.fingerprint, *both.astype(np.float32))

    def _parts(self, since: QueryMap, base: Encoder) -> DoubleArray:
        require_base(base, since.base, kind=since.kind)
        if since.rank != self.rank:
            raise InvalidInput(
                f"the query map to go on from has rank {since.rank}, and the recipe has {self.rank}; "
                f"give the recipe rank={since.rank}, or begin anew without since"
            )
        return np.stack(since.parts).astype(np.float64)


def loss_and_slopes(
    both: DoubleArray,
    queries: DoubleArray,
    documents: DoubleArray,
    agree: npt.NDArray[np.bool_],
    *,
    scale: float,
) -> tuple[float, DoubleArray]:
    """The mean cross-entropy of each query's own document among the batch's, and its slopes along A and B.

    Parameters
    ----------
    both
        A and B, float64 (2, dim, rank); the slopes have this shape too.
    queries, documents
        Unit vectors, float64 (n, dim) and (m, dim), m at least n; row i of one belongs to row i of the other.
    agree
        bool (n, m): the documents that a query is not held against, its own among them.
    scale
        The cosines are multiplied by it.
    """
    a, b = both
    n = len(queries)
    inner = queries @ b  # (n, rank)
    moved = queries + inner @ a.T  # (n, dim)
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    units = moved / lengths
    logits = scale * (units @ documents.T)  # (n, m)
    logits[agree & ~np.eye(n, len(documents), dtype=bool)] = -np.inf
    logits -= logits.max(axis=1, keepdims=True)
    chances = np.exp(logits)
    chances /= chances.sum(axis=1, keepdims=True)
    own = np.arange(n)
    loss = float(-np.log(chances[own, own]).mean())
    chances[own, own] -= 1
    along_units = (scale / n) * chances @ documents  # (n, dim)
    # A unit vector moves only across itself.
    along_moved = (along_units - (along_units * units).sum(axis=1, keepdims=True) * units) / lengths
    return loss, np.stack([along_moved.T @ inner, queries.T @ (along_moved @ a)])


class _Adam:
    """Adam on an array in place (Kingma and Ba, 2015, algorithm 1)."""

    def __init__(self, array: DoubleArray, *, rate: float) -> None:
        self._array = array
        self._rate = rate
        self._mean = np.zeros_like(array)
        self._square = np.zeros_like(array)
        self._steps = 0

    def step(self, slope: DoubleArray) -> None:
        self._steps += 1
        slow, slower = _FORGETTING
        self._mean += (1 - slow) * (slope - self._mean)
        self._square += (1 - slower) * (slope**2 - self._square)
        mean, square = self._mean / (1 - slow**self._steps), self._square / (1 - slower**self._steps)
        self._array -= self._rate * mean / (np.sqrt(square) + _TINY)
