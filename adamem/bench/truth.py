"""The true neighbours, and what an index answered, in a form that is small, lossless and needs no data set to score.

An answer is kept as positions in the query's own list of true neighbours: a good answer is then almost the sequence
0, 1, 2 ..., which compresses to a fraction of the ids' size. The few ids that are not in the list are kept whole, with
the true distance that the harness computed for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adamem.errors import CorruptResult
from adamem.types import AnyArray, DoubleArray, FloatArray, IdArray, Metric

MISSING = 254
"""The rank of a place that the index left empty (id -1)."""
ELSEWHERE = 255
"""The rank of an id that is not in the query's list of true neighbours."""
MAX_DEPTH = 254

_PIECE = 1 << 22  # float64 numbers gathered at once: 32 MiB


@dataclass(frozen=True)
class Truth:
    """The exact neighbours of some queries, nearest first, ties by id."""

    rows: IdArray
    """int64 (q,): which rows of `Dataset.queries` these are."""
    ids: IdArray
    """int64 (q, depth): base rows."""
    distances: DoubleArray
    """float64 (q, depth)."""
    query_norms: DoubleArray
    """float64 (q,): squared norms; 1 under cosine, which compares directions."""
    base_norms: FloatArray
    """float32 (q, depth): squared norms of the listed rows; 1 under cosine."""

    def arrays(self) -> dict[str, AnyArray]:
        """For an .npz file."""
        return {
            "rows": self.rows.astype(np.int32),
            "ids": self.ids.astype(np.int32),
            "distances": self.distances,
            "query_norms": self.query_norms,
            "base_norms": self.base_norms,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, AnyArray]) -> Truth:
        """The inverse of `arrays`. Raises `CorruptResult` if something is missing or of another shape."""
        try:
            truth = cls(
                rows=arrays["rows"].astype(np.int64),
                ids=arrays["ids"].astype(np.int64),
                distances=arrays["distances"].astype(np.float64),
                query_norms=arrays["query_norms"].astype(np.float64),
                base_norms=arrays["base_norms"].astype(np.float32),
            )
        except KeyError as error:
            raise CorruptResult(
                f"a list of true neighbours lacks the array {error}; run the experiment again"
            ) from error
        if truth.ids.shape != truth.distances.shape or truth.ids.shape != truth.base_norms.shape:
            raise CorruptResult("the arrays of a list of true neighbours differ in shape; run the experiment again")
        return truth

    @property
    def depth(self) -> int:
        """How many neighbours are listed a query."""
        return int(self.ids.shape[1])


@dataclass(frozen=True)
class Answers:
    """What an index answered to the queries of a `Truth`, in its order."""

    ranks: npt.NDArray[np.uint8]
    """uint8 (q, k): the place in the query's true list, `MISSING` or `ELSEWHERE`."""
    elsewhere_ids: IdArray
    """int64 (e,): the ids of the `ELSEWHERE` places, in C order."""
    elsewhere_distances: DoubleArray
    """float64 (e,): their true distances."""
    elsewhere_norms: FloatArray
    """float32 (e,): their squared norms; 1 under cosine."""

    def ids(self, truth: Truth) -> IdArray:
        """int64 (q, k): the ids as the index gave them, -1 where it gave none."""
        return self._filled(truth.ids, self.elsewhere_ids, -1)

    def distances(self, truth: Truth) -> DoubleArray:
        """float64 (q, k): the true distances of the answered ids, +inf where there is none."""
        return self._filled(truth.distances, self.elsewhere_distances, np.inf)

    def norms(self, truth: Truth) -> DoubleArray:
        """float64 (q, k): the squared norms of the answered rows, 0 where there is none."""
        return self._filled(truth.base_norms.astype(np.float64), self.elsewhere_norms, 0.0)

    def _filled(self, listed: npt.NDArray[np.generic], elsewhere: AnyArray, missing: float) -> AnyArray:
        out = np.full(self.ranks.shape, missing, dtype=listed.dtype)
        known = self.ranks < MISSING
        query = np.broadcast_to(np.arange(self.ranks.shape[0])[:, None], self.ranks.shape)
        out[known] = listed[query[known], self.ranks[known]]
        out[self.ranks == ELSEWHERE] = elsewhere
        return out

    def arrays(self, prefix: str) -> dict[str, AnyArray]:
        """For an .npz file that holds several answers."""
        return {
            f"{prefix}ranks": self.ranks,
            f"{prefix}elsewhere_ids": self.elsewhere_ids.astype(np.int32),
            f"{prefix}elsewhere_distances": self.elsewhere_distances,
            f"{prefix}elsewhere_norms": self.elsewhere_norms,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, AnyArray], prefix: str) -> Answers:
        """The inverse of `arrays`. Raises `CorruptResult` if something is missing or does not fit together."""
        try:
            answers = cls(
                ranks=arrays[f"{prefix}ranks"],
                elsewhere_ids=arrays[f"{prefix}elsewhere_ids"].astype(np.int64),
                elsewhere_distances=arrays[f"{prefix}elsewhere_distances"],
                elsewhere_norms=arrays[f"{prefix}elsewhere_norms"],
            )
        except KeyError as error:
            raise CorruptResult(f"a raw result lacks the array {error}; run the experiment again") from error
        if int((answers.ranks == ELSEWHERE).sum()) != answers.elsewhere_ids.size:
            raise CorruptResult("a raw result's ranks and ids do not fit together; run the experiment again")
        return answers


def truth_of(
    rows: IdArray, ids: IdArray, distances: DoubleArray, *, base: FloatArray, queries: FloatArray, metric: Metric
) -> Truth:
    """A `Truth` from the oracle's ids and distances (q, depth) for the queries `queries[rows]`."""
    if metric == "cosine":
        return Truth(rows, ids, distances, np.ones(rows.size), np.ones(ids.shape, dtype=np.float32))
    wanted = np.asarray(queries[rows], dtype=np.float64)
    return Truth(
        rows, ids, distances, np.einsum("ij,ij->i", wanted, wanted), _norms(base, ids.ravel()).reshape(ids.shape)
    )


def encode(found: IdArray, truth: Truth, *, base: FloatArray, queries: FloatArray, metric: Metric) -> Answers:
    """An index's ids (q, k) as `Answers`; true distances of unlisted ids are computed here, in float64.

    Raises
    ------
    ValueError
        if an id is neither -1 nor a row of `base`: the index made it up.
    """
    found = np.asarray(found, dtype=np.int64)
    if found.size and (found.max() >= base.shape[0] or found.min() < -1):
        strange = found[(found >= base.shape[0]) | (found < -1)][0]
        raise ValueError(f"the index answered with the id {strange}, which is not in the collection")
    ranks = np.full(found.shape, ELSEWHERE, dtype=np.uint8)
    step = max(1, (1 << 24) // max(1, found.shape[1] * truth.depth))
    for start in range(0, found.shape[0], step):
        part = slice(start, start + step)
        same = found[part, :, None] == truth.ids[part, None, :]  # (q, k, depth)
        hit = same.any(axis=2)
        ranks[part][hit] = same.argmax(axis=2)[hit].astype(np.uint8)
    ranks[found < 0] = MISSING
    place = np.argwhere(ranks == ELSEWHERE)
    ids = found[ranks == ELSEWHERE]
    distances = distances_to(base, ids, np.asarray(queries)[truth.rows], place[:, 0], metric=metric)
    norms = np.ones(ids.size, dtype=np.float32) if metric == "cosine" else _norms(base, ids)
    return Answers(ranks, ids, distances, norms)


def distances_to(
    base: FloatArray, ids: IdArray, queries: FloatArray, query_of: IdArray, *, metric: Metric
) -> DoubleArray:
    """The true distance, float64 (m,), of `base[ids[i]]` to `queries[query_of[i]]`."""
    out = np.empty(ids.size, dtype=np.float64)
    step = max(1, _PIECE // max(1, base.shape[1]))
    for start in range(0, ids.size, step):
        part = slice(start, start + step)
        x = np.asarray(base[ids[part]], dtype=np.float64)
        q = np.asarray(queries[query_of[part]], dtype=np.float64)
        if metric == "l2":
            difference = x - q
            out[part] = np.einsum("ij,ij->i", difference, difference)
        elif metric == "ip":
            out[part] = -np.einsum("ij,ij->i", x, q)
        else:
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            q /= np.linalg.norm(q, axis=1, keepdims=True)
            # Half the squared chord: 1 - cos without the cancellation that 1 - x.q suffers near 0.
            out[part] = 0.5 * np.einsum("ij,ij->i", x - q, x - q)
    return out


def _norms(base: FloatArray, ids: IdArray) -> FloatArray:
    out = np.empty(ids.size, dtype=np.float32)
    step = max(1, _PIECE // max(1, base.shape[1]))
    for start in range(0, ids.size, step):
        x = np.asarray(base[ids[start : start + step]], dtype=np.float64)
        out[start : start + step] = np.einsum("ij,ij->i", x, x)
    return out
