"""A whole index in forty lines: it sorts every distance, one query at a time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from adamem.index import Capabilities, IndexBase, SearchResult, empty_result


class TinyIndex(IndexBase):
    """All squared distances, sorted."""

    name: ClassVar[str] = "tiny"
    summary: ClassVar[str] = "sorts every distance: a third party's example"
    capabilities: ClassVar[Capabilities] = Capabilities(metrics=("l2",), seeded=False, exact=True)

    def __init__(self, vectors, ids):
        self._vectors = vectors.astype(np.float64)
        self._ids = ids.copy()

    @classmethod
    def _build(cls, vectors, ids, *, metric, params, seed, threads):
        return cls(vectors, ids)

    def _search(self, queries, k, *, params, filter):
        answer = empty_result(len(queries), k)
        for i, query in enumerate(queries):
            distances = ((self._vectors - query) ** 2).sum(axis=1).astype(np.float32)
            nearest = np.lexsort((self._ids, distances))[:k]
            answer.ids[i, : nearest.size] = self._ids[nearest]
            answer.distances[i, : nearest.size] = distances[nearest]
        return SearchResult(*answer)

    def _contains(self, ids):
        return np.isin(ids, self._ids)

    def nbytes(self):
        return {"vectors": self._vectors.nbytes, "ids": self._ids.nbytes}

    def __len__(self):
        return self._ids.size
