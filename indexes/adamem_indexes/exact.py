"""The exact index: every vector is looked at, so that every answer is the true one."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from adamem.index import Capabilities, IdFilter, IndexBase, SearchResult
from adamem.types import METRICS, FloatArray, IdArray, Metric, ParamValue
from adamem_indexes._kernels import warm_up
from adamem_indexes._labels import RowLabels
from adamem_indexes._scan import row_norms, scan
from adamem_indexes._store import Snapshot, save_snapshot

_VERSION = 1


class ExactIndex(IndexBase):
    """Brute force: blocks of inner products by BLAS, the nearest candidates settled in float64.

    Memory stays bounded whatever the number of rows and queries: 8 MiB of vectors are worked on at a time. A base that
    is a *read-only memory map* is kept by reference, so that a collection larger than memory can be searched; it
    is copied at the first write. Everything else is copied. Rows stay dense: a deleted one is filled by the last.
    """

    name: ClassVar[str] = "exact"
    summary: ClassVar[str] = "brute force by BLAS, settled in float64: the truth, and the fastest on small collections"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS, insert=True, delete=True, replace=True, filter=True, save=True, seeded=False, exact=True
    )

    def __init__(self, vectors: FloatArray, labels: RowLabels, norms: FloatArray) -> None:
        self._vectors = vectors  # (capacity, d), of which the first `labels.rows` are in use
        self._norms = norms  # (capacity,)
        self._labels = labels
        self._compared = 0
        warm_up()

    @classmethod
    def _build(
        cls,
        vectors: FloatArray,
        ids: IdArray,
        *,
        metric: Metric,  # noqa: ARG003 -- the stored form is the same for all three
        params: dict[str, ParamValue],  # noqa: ARG003 -- it has none
        seed: int,  # noqa: ARG003 -- nothing is random
        threads: int,  # noqa: ARG003 -- copying is all there is to do
    ) -> Self:
        kept = vectors if _is_read_only_map(vectors) else vectors.copy()
        return cls(kept, RowLabels(ids), row_norms(kept))

    def _search(
        self,
        queries: FloatArray,
        k: int,
        *,
        params: dict[str, ParamValue],  # noqa: ARG002 -- it has none
        filter: IdFilter | None,  # noqa: A002 -- the field's own name for it
    ) -> SearchResult:
        labels = self._labels
        rows = None
        if filter is not None:
            rows = labels.rows_of(filter.ids)
            rows = np.sort(rows[rows >= 0])
        used = labels.rows
        self._compared += queries.shape[0] * (used if rows is None else rows.size)
        found = scan(
            self._vectors[:used], self._norms[:used], labels.of_rows, queries, k, metric=self.metric, rows=rows
        )
        return SearchResult(*found)

    def _contains(self, ids: IdArray) -> npt.NDArray[np.bool_]:
        return self._labels.rows_of(ids) >= 0

    def _insert(self, vectors: FloatArray, ids: IdArray) -> None:
        first = self._labels.rows
        self._reserve(first + ids.size)
        self._vectors[first : first + ids.size] = vectors
        self._norms[first : first + ids.size] = row_norms(vectors)
        self._labels.append(ids)

    def _delete(self, ids: IdArray) -> None:
        labels = self._labels
        rows = labels.rows_of(ids)
        self._reserve(labels.rows)
        labels.forget(rows)
        if rows.size > max(64, labels.rows // 8):
            kept = labels.live_rows()
            self._vectors = self._vectors[kept]
            self._norms = self._norms[kept]
            self._labels = RowLabels(labels.of_rows[kept])
            return
        for row in np.sort(rows)[::-1].tolist():  # from the end, so that the last row is always a live one
            last = labels.rows - 1
            if row != last:
                self._vectors[row] = self._vectors[last]
                self._norms[row] = self._norms[last]
                labels.move(last, row)
            self._vectors[last] = 0.0  # what is forgotten is also gone from memory
            labels.truncate(last)

    def _replace(self, vectors: FloatArray, ids: IdArray) -> None:
        self._reserve(self._labels.rows)
        rows = self._labels.rows_of(ids)
        self._vectors[rows] = vectors
        self._norms[rows] = row_norms(vectors)

    def counters(self) -> dict[str, int]:
        """Distances from the query; searches from several threads at once may miscount."""
        return {"distances": self._compared}

    def nbytes(self) -> dict[str, int]:
        """Bytes held, by part; a memory-mapped base counts, though the kernel may drop its pages."""
        return {"vectors": self._vectors.nbytes, "norms": self._norms.nbytes, "ids": self._labels.nbytes()}

    def __len__(self) -> int:
        return self._labels.live

    def _save(self, path: Path) -> None:
        used = self._labels.rows
        save_snapshot(
            path,
            index=self.name,
            version=_VERSION,
            meta={"metric": self.metric, "dim": self.dim},
            parts={"vectors": self._vectors[:used], "ids": self._labels.of_rows},
        )

    @classmethod
    def _load(cls, path: Path) -> Self:
        snapshot = Snapshot.read(path, index=cls.name, version=_VERSION)
        vectors = snapshot.array("vectors")
        index = cls(vectors, RowLabels(snapshot.array("ids")), row_norms(vectors))
        index._adopt(metric=snapshot.meta["metric"], dim=snapshot.meta["dim"], params={})
        return index

    def _reserve(self, rows: int) -> None:
        """Make room for so many rows, in memory of our own."""
        capacity = self._vectors.shape[0]
        if rows <= capacity and self._vectors.flags.writeable:
            return
        used = self._labels.rows
        room = capacity if rows <= capacity else max(rows, capacity * 3 // 2, 16)
        vectors = np.empty((room, self.dim), dtype=np.float32)
        vectors[:used] = self._vectors[:used]
        norms = np.empty(room, dtype=np.float32)
        norms[:used] = self._norms[:used]
        self._vectors, self._norms = vectors, norms


def _is_read_only_map(vectors: FloatArray) -> bool:
    """Whether no one can write to the array through this process: a map opened with mode ``r``."""
    owner: object = vectors
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return isinstance(owner, mmap.mmap)
