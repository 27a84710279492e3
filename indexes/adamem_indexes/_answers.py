"""Answers that a library gave narrower than they were asked for."""

from __future__ import annotations

from adamem.index import SearchResult, empty_result
from adamem.types import FloatArray, IdArray


def padded(ids: IdArray, distances: FloatArray, k: int) -> SearchResult:
    """An answer (q, w), w <= k, as (q, k) with -1 and +inf behind; as it is where w = k."""
    width = ids.shape[1]
    if width == k:
        return SearchResult(ids, distances)
    answer = empty_result(ids.shape[0], k)
    answer.ids[:, :width] = ids
    answer.distances[:, :width] = distances
    return answer
