"""What the adapters of other libraries share: rows and tombstones, filters, checked answers, the scan, saving."""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import numpy.typing as npt

from adamem.errors import StorageError
from adamem.index import IdFilter, IndexBase, SearchResult, empty_result
from adamem.types import FloatArray, IdArray, Metric, ParamValue
from adamem_indexes import _kernels
from adamem_indexes._answers import padded
from adamem_indexes._filtered import FilterCache, Prepared, query_blocks
from adamem_indexes._kernels import admit, finish, least_square, normalise
from adamem_indexes._labels import RowLabels
from adamem_indexes._scan import row_norms, scan
from adamem_indexes._store import Snapshot, save_snapshot
from adamem_indexes.peers._kernels import settle, verify, warm_up

_answer = tuple.__new__  # SearchResult(...) without the frame of its own __new__
_VERSION = 1
_DEAD_SHARE = 0.2
_GROWTH = 1.5
# What a row scanned and a candidate held cost, in µs and µs a dimension: only the ratio matters (as for faiss).
_SCAN_COST = (0.01, 0.0008)
_HOP_COST = (0.4, 0.004)
_NO_NORMS = np.empty(0, dtype=np.float32)

# Cosine is the squared distance of unit vectors, halved: it keeps the digits that 1 - q.x loses on near-duplicates.
_FACTOR = {"l2": 1.0, "cosine": 0.5, "ip": 1.0}
_FLOOR = {"l2": 0.0, "cosine": 0.0, "ip": -math.inf}

Asked = tuple[IdArray, FloatArray]


class PeerIndex(IndexBase):
    """A library's index behind the protocol; a subclass writes `_make`, `_ask`, `_native_nbytes` and what is its own.

    * The library numbers what it is given 0, 1, 2 ...: the rows. Under cosine it gets vectors of unit length, which
      most compare by the squared distance.
    * The adapter keeps the vectors too. They settle what a library's answer leaves open (`_kernels`), and they are
      what is scanned where a filter admits few rows, where the library finds too few, and where there are fewer than
      `_least_rows`. `nbytes` names them ``adapter``: the library itself does without.
    * A deleted row is a tombstone: more is asked for, and the hidden rows are dropped. `maintain` builds again.
    """

    _least_square = staticmethod(least_square)

    _least_rows: ClassVar[int] = 2
    """Up to so many rows there is no native index: all are scanned, exactly."""
    _native: Any
    """The library's index; None while there are fewer than `_least_rows`."""
    _labels: RowLabels
    _room: FloatArray
    """The rows' vectors as the library sees them, with room for rows to come."""
    _matrix: FloatArray
    """The part of `_room` that is in use."""
    _norms: FloatArray
    """Lengths of the first rows, as far as a scan has needed them."""

    def __init__(
        self,
        native: Any,
        vectors: FloatArray,
        labels: RowLabels,
        *,
        metric: Metric,
        params: dict[str, ParamValue],
        seed: int,
        threads: int,
    ) -> None:
        self._adopt(metric=metric, dim=vectors.shape[1], params=params)
        self._seed = seed
        self._threads = threads
        self._converts = metric == "cosine"
        self._ip = metric == "ip"
        self._factor, self._floor = _FACTOR[metric], _FLOOR[metric]
        self._check = verify if self._tells_distances() else settle
        self._efforts: dict[Any, Any] = {}
        self._room = vectors
        self._use(native, labels)
        _kernels.warm_up()
        warm_up()

    # What a subclass writes.

    @classmethod
    @abstractmethod
    def _make(
        cls, vectors: FloatArray, *, metric: Metric, params: dict[str, ParamValue], seed: int, threads: int
    ) -> Any:
        """A native index over vectors (n, d), which it copies; under cosine they are of unit length."""

    @abstractmethod
    def _ask(self, queries: FloatArray, width: int, params: dict[str, ParamValue]) -> Asked:
        """The native answer: rows int64 and distances float32, both (q, width), C-contiguous, ours to write to.

        Ascending squared distances, or negated products under ip. What was not found may be anything.
        """

    @abstractmethod
    def _native_nbytes(self) -> dict[str, int]:
        """Bytes of the library's own parts."""

    def _add(self, vectors: FloatArray, first: int) -> None:
        """Give the native index the rows `first` and on; for those that declare `insert`."""
        raise NotImplementedError

    def _tells_distances(self) -> bool:
        """Whether `_ask` gives the distances of the vectors, to float32; otherwise they are computed again."""
        return True

    def _held(self, params: dict[str, ParamValue]) -> int:
        """How many candidates a search holds: what a filter is boosted from."""
        return cast("int", params.get("ef", 0))

    # Building and changing.

    @classmethod
    def _build(
        cls,
        vectors: FloatArray,
        ids: IdArray,
        *,
        metric: Metric,
        params: dict[str, ParamValue],
        seed: int,
        threads: int,
    ) -> Self:
        stored = _stored_form(vectors, metric)
        native = cls._native_over(stored, metric=metric, params=params, seed=seed, threads=threads)
        return cls(native, stored, RowLabels(ids), metric=metric, params=params, seed=seed, threads=threads)

    @classmethod
    def _native_over(
        cls, vectors: FloatArray, *, metric: Metric, params: dict[str, ParamValue], seed: int, threads: int
    ) -> Any:
        if vectors.shape[0] < cls._least_rows:
            return None
        return cls._make(vectors, metric=metric, params=params, seed=seed, threads=threads)

    def _insert(self, vectors: FloatArray, ids: IdArray) -> None:
        stored = _stored_form(vectors, self.metric)
        first, total = self._labels.rows, self._labels.rows + ids.size
        if total > self._room.shape[0]:
            room = np.empty((max(total, int(first * _GROWTH)), self.dim), dtype=np.float32)
            room[:first] = self._room[:first]
            self._room = room
        self._room[first:total] = stored
        if self._native is None:
            self._native = self._native_over(
                self._room[:total], metric=self.metric, params=self.params, seed=self._seed, threads=self._threads
            )
        else:
            self._add(stored, first)
        self._labels.append(ids)
        self._matrix = self._room[:total]

    def _delete(self, ids: IdArray) -> None:
        self._labels.forget(self._labels.rows_of(ids))

    def needs_maintenance(self) -> bool:
        """Whether at least a fifth of the rows are tombstones, which cost memory and effort."""
        return self._labels.dead > 0 and self._labels.dead >= _DEAD_SHARE * self._labels.rows

    def maintain(self) -> None:
        """Build again over the live vectors, if there are dead ones; with the parameters and threads of the build."""
        if self._labels.dead == 0:
            return
        rows = self._labels.live_rows()
        vectors = self._matrix[rows]
        native = self._native_over(
            vectors, metric=self.metric, params=self.params, seed=self._seed, threads=self._threads
        )
        self._room = vectors
        self._use(native, RowLabels(self._labels.of_rows[rows]))

    # Searching.

    def _search(
        self,
        queries: FloatArray,
        k: int,
        *,
        params: dict[str, ParamValue],
        filter: IdFilter | None,  # noqa: A002 -- the field's own name for it
    ) -> SearchResult:
        labels = self._labels
        asked = queries
        if self._converts:
            asked = np.empty(queries.shape, dtype=np.float32)
            normalise(queries, True, asked)
        if filter is not None or labels.live != labels.rows or self._native is None:
            return self._search_some(asked, k, params, self._filters.prepare(filter))
        width = k if k <= labels.live else labels.live  # noqa: FURB136 -- a call of min costs a third of a microsecond
        rows, distances = self._ask(asked, width, params)
        self._check(rows, distances, self._matrix, asked, self._ip)
        if finish(rows, distances, labels.array, self._factor, 0.0, self._floor):
            self._rescue(asked, rows, distances, self._filters.prepare(None))
        return _answer(SearchResult, (rows, distances)) if width == k else padded(rows, distances, k)

    def _search_some(
        self, asked: FloatArray, k: int, params: dict[str, ParamValue], prepared: Prepared
    ) -> SearchResult:
        """The same among the admitted rows: more are asked for and sifted, or the admitted ones scanned."""
        admitted = prepared.rows.size
        if admitted == 0:
            return empty_result(asked.shape[0], k)
        width = min(k, admitted)
        total = self._labels.rows
        wider = min(total, math.ceil(max(self._held(params), width) * total / admitted))
        scanned = admitted * (_SCAN_COST[0] + _SCAN_COST[1] * self.dim)
        if self._native is None or scanned < wider * (_HOP_COST[0] + _HOP_COST[1] * self.dim):
            return padded(*self._scan(asked, width, prepared), k)
        ids = np.empty((asked.shape[0], width), dtype=np.int64)
        distances = np.empty((asked.shape[0], width), dtype=np.float32)
        for block in query_blocks(asked.shape[0], wider):
            found = self._ask(asked[block], wider, params)
            self._check(*found, self._matrix, asked[block], self._ip)
            admit(*found, prepared.admitted, ids[block], distances[block])
        if finish(ids, distances, self._labels.array, self._factor, 0.0, self._floor):
            self._rescue(asked, ids, distances, prepared)
        return padded(ids, distances, k)

    def _rescue(self, asked: FloatArray, ids: IdArray, distances: FloatArray, prepared: Prepared) -> None:
        """Answer those queries again, in place, for which the library found too few: by scanning the admitted rows."""
        short = np.flatnonzero(ids[:, -1] < 0)
        ids[short], distances[short] = self._scan(asked[short], ids.shape[1], prepared)

    def _scan(self, asked: FloatArray, width: int, prepared: Prepared) -> Asked:
        """The true nearest among the admitted rows, as ids and our distances (q, width)."""
        norms = self._norms
        if norms.size < self._matrix.shape[0]:  # rows never change, so that only the new ones are missing
            norms = self._norms = np.concatenate([norms, row_norms(self._matrix[norms.size :])])
        labels = self._labels.of_rows
        return scan(self._matrix, norms, labels, asked, width, metric=self.metric, rows=prepared.rows)

    # Knowing, saving, loading.

    def _contains(self, ids: IdArray) -> npt.NDArray[np.bool_]:
        return self._labels.rows_of(ids) >= 0

    def __len__(self) -> int:
        return self._labels.live

    def nbytes(self) -> dict[str, int]:
        """Bytes held, by part; ``adapter`` is what the library would do without."""
        ours = {
            "ids": self._labels.nbytes(),
            "filter": self._filters.nbytes(),
            "adapter": self._room.nbytes + self._norms.nbytes,
        }
        return ours if self._native is None else self._native_nbytes() | ours

    def _save(self, path: Path) -> None:
        meta = {
            "metric": self.metric,
            "params": self.params,
            "seed": self._seed,
            "scanned": self._native is None,
        }
        parts: dict[str, Any] = {"vectors": self._matrix, "ids": self._labels.of_rows}
        if self._native is not None:
            parts["native"] = self._write_native
        save_snapshot(path, index=self.name, version=_VERSION, meta=meta, parts=parts)

    def _write_native(self, path: Path) -> None:
        try:
            self._save_native(path)
        except RuntimeError as error:
            raise StorageError(f"cannot write {path}: {error}; check its permissions and the space there") from error

    def _save_native(self, path: Path) -> None:
        """Write the native index into one file; for those that declare `save`."""
        raise NotImplementedError

    @classmethod
    def _load(cls, path: Path) -> Self:
        snapshot = Snapshot.read(path, index=cls.name, version=_VERSION)
        meta, vectors = snapshot.meta, snapshot.array("vectors")
        metric, params = meta["metric"], meta["params"]
        native = None
        if not meta["scanned"]:
            native = cls._load_native(snapshot.file("native"), vectors, metric=metric, params=params)
        labels = RowLabels(snapshot.array("ids"))
        return cls(native, vectors, labels, metric=metric, params=params, seed=meta["seed"], threads=1)

    @classmethod
    def _load_native(cls, path: Path, vectors: FloatArray, *, metric: Metric, params: dict[str, ParamValue]) -> Any:
        """What `_save_native` wrote, over the rows' vectors (n, d)."""
        raise NotImplementedError

    def _use(self, native: Any, labels: RowLabels) -> None:
        self._native = native
        self._labels = labels
        self._filters = FilterCache(labels)
        self._matrix = self._room[: labels.rows]
        self._norms = _NO_NORMS


def _stored_form(vectors: FloatArray, metric: Metric) -> FloatArray:
    """A copy of vectors (n, d), of unit length under cosine."""
    stored = np.empty(vectors.shape, dtype=np.float32)
    normalise(vectors, metric == "cosine", stored)
    return stored
