"""What the faiss adapters share: metrics, threads, selectors, tombstones, the rescue by scanning, saving."""

from __future__ import annotations

import contextlib
import math
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, cast

import faiss
import numpy as np
import numpy.typing as npt

from adamem.errors import StorageError
from adamem.index import IdFilter, IndexBase, SearchResult, empty_result
from adamem.types import FloatArray, IdArray, Metric, ParamValue
from adamem_indexes._answers import padded
from adamem_indexes._filtered import FilterCache, Prepared, query_blocks
from adamem_indexes._kernels import admit, finish, least_square, normalise, warm_up
from adamem_indexes._labels import RowLabels
from adamem_indexes._scan import row_norms, scan
from adamem_indexes._store import Snapshot, save_snapshot

_answer = tuple.__new__  # SearchResult(...) without the frame of its own __new__
_VERSION = 1
_DEAD_SHARE = 0.2
_REMEMBERED = 64
# A row fetched and scanned exactly, in µs and µs a dimension; only the ratio to a subclass's `_cost` matters.
_SCAN_COST = (0.01, 0.0008)

# Cosine is the squared distance of unit vectors, halved: it keeps the digits that 1 - q.x loses on near-duplicates.
NATIVE_METRIC = {"l2": faiss.METRIC_L2, "cosine": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT}
_FACTOR = {"l2": 1.0, "cosine": 0.5, "ip": -1.0}
_FLOOR = {"l2": 0.0, "cosine": 0.0, "ip": -math.inf}

Asked = tuple[IdArray, FloatArray]


class FaissIndex(IndexBase):
    """A faiss index behind the protocol; a subclass writes `_make`, `_effort`, `_cost`, `_matrix` and what is its own.

    * faiss numbers the vectors that it is given 0, 1, 2 ...: the rows. A deleted row is a tombstone, hidden from the
      search by a selector; `replace` adds a fresh row. `maintain` builds again without the dead.
    * Where rows are hidden, by tombstones or a filter, the effort grows in proportion (`boost`). Where the admitted
      are so few that scanning them is cheaper, or where faiss finds too few, they are scanned instead.
    * One search runs in the caller's thread: OpenMP's count, which is the calling thread's own, is held at 1.
    """

    _least_square = staticmethod(least_square)
    _efforts: dict[Any, Any]
    """Native parameters of searches that nothing restricts."""
    _norms: FloatArray
    """Lengths of the first rows of `_matrix`, as far as a scan has needed them."""

    def __init__(
        self,
        native: Any,
        labels: RowLabels,
        *,
        metric: Metric,
        dim: int,
        params: dict[str, ParamValue],
        seed: int,
        threads: int,
    ) -> None:
        self._adopt(metric=metric, dim=dim, params=params)
        self._wide = self._native_dim(dim, params)
        self._converts = metric == "cosine" or self._wide != dim
        self._seed = seed
        self._threads = threads
        self._factor, self._floor = _FACTOR[metric], _FLOOR[metric]
        self._use(native, labels)
        warm_up()

    # What a subclass writes.

    @classmethod
    @abstractmethod
    def _make(cls, vectors: FloatArray, *, metric: Metric, params: dict[str, ParamValue], seed: int) -> Any:
        """A native index that is trained on vectors (n, native d), still empty."""

    @classmethod
    def _fill(cls, native: Any, vectors: FloatArray) -> None:
        """Add the vectors (n, native d) that the native index was made for."""
        native.add(vectors)

    @classmethod
    def _native_dim(cls, dim: int, params: dict[str, ParamValue]) -> int:  # noqa: ARG003 -- the hook's signature
        """The dimension of the native index; vectors are padded with zeros, which changes no distance."""
        return dim

    @abstractmethod
    def _effort(self, k: int, params: dict[str, ParamValue], boost: float, selector: Any) -> Any:
        """The native search parameters, the effort multiplied by `boost` >= 1; None where faiss takes none."""

    @abstractmethod
    def _cost(self, k: int, params: dict[str, ParamValue], boost: float) -> float:
        """About how many µs a query takes with that effort, to compare with scanning."""

    @abstractmethod
    def _matrix(self) -> FloatArray | None:
        """The stored vectors (rows, native d) as a view of faiss's memory, or None where it keeps codes only."""

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
        converted = convert(vectors, metric, cls._native_dim(vectors.shape[1], params))
        with threads_for_building(threads):
            native = cls._make(converted, metric=metric, params=params, seed=seed)
            cls._fill(native, converted)
        dim = vectors.shape[1]
        return cls(native, RowLabels(ids), metric=metric, dim=dim, params=params, seed=seed, threads=threads)

    def _insert(self, vectors: FloatArray, ids: IdArray) -> None:
        with threads_for_building(self._threads):
            self._native.add(convert(vectors, self.metric, self._wide))
        self._labels.append(ids)

    def _delete(self, ids: IdArray) -> None:
        self._labels.forget(self._labels.rows_of(ids))

    def needs_maintenance(self) -> bool:
        """Whether at least a fifth of the rows are tombstones, which cost memory and effort."""
        return self._labels.dead > 0 and self._labels.dead >= _DEAD_SHARE * self._labels.rows

    def maintain(self) -> None:
        """Drop the tombstones, if there are any, with the parameters, seed and threads of the build."""
        if self._labels.dead == 0 and not self.needs_maintenance():
            return
        rows = self._labels.live_rows()
        with threads_for_building(self._threads):
            native = self._without_dead(rows)
        self._use(native, RowLabels(self._labels.of_rows[rows]))

    def _without_dead(self, rows: IdArray) -> Any:
        """A native index over the live rows only, renumbered in their order."""
        if rows.size == 0:
            self._native.reset()
            return self._native
        vectors = self._fetch(rows)
        native = self._make(vectors, metric=self.metric, params=self.params, seed=self._seed)
        self._fill(native, vectors)
        return native

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
            asked = np.empty((queries.shape[0], self._wide), dtype=np.float32)
            normalise(queries, self.metric == "cosine", asked)
        if filter is not None or labels.live != labels.rows:
            return self._search_some(asked, k, params, self._filters.prepare(filter))
        width = k if k <= labels.live else labels.live  # noqa: FURB136 -- a call of min costs a third of a microsecond
        key = (width, *params.values())
        effort = self._efforts.get(key)
        if effort is None:
            effort = self._remember(self._efforts, key, self._effort(width, params, 1.0, None))
        rows, distances = self._ask(asked, width, effort)
        if finish(rows, distances, labels.array, self._factor, 0.0, self._floor):
            self._rescue(asked, rows, distances, params, self._filters.prepare(None))
        return _answer(SearchResult, (rows, distances)) if width == k else padded(rows, distances, k)

    def _search_some(
        self, asked: FloatArray, k: int, params: dict[str, ParamValue], prepared: Prepared
    ) -> SearchResult:
        """The same among the admitted rows."""
        admitted = prepared.rows.size
        if admitted == 0:
            return empty_result(asked.shape[0], k)
        width = min(k, admitted)
        boost = self._labels.rows / admitted
        if admitted * (_SCAN_COST[0] + _SCAN_COST[1] * self._wide) < self._cost(width, params, boost):
            found = self._scan(asked, width, prepared)
        else:
            found = self._ask_some(asked, width, params, boost, prepared)
            if self._finish(*found):
                self._rescue(asked, *found, params, prepared)
        return padded(*found, k)

    def _finish(self, rows: IdArray, distances: FloatArray) -> int:
        """Rows to ids and native distances to ours, in place; returns how many queries have too few."""
        return finish(rows, distances, self._labels.array, self._factor, 0.0, self._floor)

    def _ask(self, asked: FloatArray, width: int, effort: Any) -> Asked:
        """The native answer, rows int64 (q, width) and native distances, on the caller's thread."""
        rows = np.empty((asked.shape[0], width), dtype=np.int64)
        distances = np.empty((asked.shape[0], width), dtype=np.float32)
        before = faiss.omp_get_max_threads()
        if before != 1:
            faiss.omp_set_num_threads(1)
        try:
            self._native.search_c(
                asked.shape[0],
                faiss.swig_ptr(asked),
                width,
                faiss.swig_ptr(distances),
                faiss.swig_ptr(rows),
                effort,
            )
        finally:
            if before != 1:
                faiss.omp_set_num_threads(before)
        return rows, distances

    def _ask_some(
        self, asked: FloatArray, width: int, params: dict[str, ParamValue], boost: float, prepared: Prepared
    ) -> Asked:
        """The native answer among the admitted rows, by a selector."""
        key = (width, *params.values())
        effort = prepared.native.get(key)
        if effort is None:
            selector = faiss.IDSelectorBitmap(np.packbits(prepared.admitted, bitorder="little"))
            effort = self._remember(prepared.native, key, self._effort(width, params, boost, selector))
        return self._ask(asked, width, effort)

    def _ask_more(self, asked: FloatArray, width: int, wider: int, effort: Any, prepared: Prepared) -> Asked:
        """The native answer among the admitted rows where faiss takes no selector: `wider` are fetched and sifted."""
        rows = np.empty((asked.shape[0], width), dtype=np.int64)
        distances = np.empty((asked.shape[0], width), dtype=np.float32)
        for block in query_blocks(asked.shape[0], wider):
            admit(*self._ask(asked[block], wider, effort), prepared.admitted, rows[block], distances[block])
        return rows, distances

    def _rescue(
        self,
        asked: FloatArray,
        ids: IdArray,
        distances: FloatArray,
        params: dict[str, ParamValue],  # noqa: ARG002 -- the hook's signature
        prepared: Prepared,
    ) -> None:
        """Answer those queries again, in place, for which faiss found too few: by scanning the admitted rows."""
        short = np.flatnonzero(ids[:, -1] < 0)
        ids[short], distances[short] = self._scan(asked[short], ids.shape[1], prepared)

    def _scan(self, asked: FloatArray, width: int, prepared: Prepared) -> Asked:
        """The true nearest among the admitted rows, as ids and our distances (q, width)."""
        matrix, rows, labels = self._matrix(), prepared.rows, self._labels.of_rows
        if matrix is None:
            vectors = self._fetch(rows)
            return scan(vectors, row_norms(vectors), labels[rows], asked, width, metric=self.metric)
        norms = self._norms
        if norms.size < matrix.shape[0]:  # rows never change, so that only the new ones are missing
            norms = self._norms = np.concatenate([norms, row_norms(matrix[norms.size :])])
        return scan(matrix, norms, labels, asked, width, metric=self.metric, rows=rows)

    def _fetch(self, rows: IdArray) -> FloatArray:
        """Vectors (m, native d) of the rows, decoded where only codes are kept."""
        matrix = self._matrix()
        return cast("FloatArray", self._native.reconstruct_batch(rows)) if matrix is None else matrix[rows]

    @staticmethod
    def _remember(store: dict[Any, Any], key: tuple[Any, ...], effort: Any) -> Any:
        # Making a parameter object costs 8 µs; a filter's may be made by two threads at once, and both serve.
        if len(store) >= _REMEMBERED:
            store.clear()
        store[key] = effort
        return effort

    # Knowing, saving, loading.

    def _contains(self, ids: IdArray) -> npt.NDArray[np.bool_]:
        return self._labels.rows_of(ids) >= 0

    def __len__(self) -> int:
        return self._labels.live

    def nbytes(self) -> dict[str, int]:
        """Bytes held, by part."""
        ours = {"ids": self._labels.nbytes(), "filter": self._filters.nbytes(), "norms": self._norms.nbytes}
        return self._native_nbytes() | ours

    @abstractmethod
    def _native_nbytes(self) -> dict[str, int]:
        """Bytes of faiss's own parts."""

    def _save(self, path: Path) -> None:
        meta = {"metric": self.metric, "dim": self.dim, "params": self.params, "seed": self._seed}
        save_snapshot(
            path,
            index=self.name,
            version=_VERSION,
            meta=meta,
            parts={"native": self._save_native, "ids": self._labels.of_rows},
        )

    def _save_native(self, path: Path) -> None:
        try:
            faiss.write_index(self._native, str(path))
        except RuntimeError as error:
            raise StorageError(f"cannot write {path}; check its permissions and the space on the disk") from error

    @classmethod
    def _load(cls, path: Path) -> Self:
        snapshot = Snapshot.read(path, index=cls.name, version=_VERSION)
        meta = snapshot.meta
        native = cls._load_native(snapshot.file("native"))
        return cls(
            native,
            RowLabels(snapshot.array("ids")),
            metric=meta["metric"],
            dim=meta["dim"],
            params=meta["params"],
            seed=meta["seed"],
            threads=1,
        )

    @classmethod
    def _load_native(cls, path: Path) -> Any:
        return faiss.read_index(str(path))

    def _use(self, native: Any, labels: RowLabels) -> None:
        self._native = native
        self._labels = labels
        self._filters = FilterCache(labels)
        self._efforts = {}
        self._norms = np.empty(0, dtype=np.float32)


@contextlib.contextmanager
def threads_for_building(threads: int) -> Iterator[None]:
    """OpenMP's thread count, which belongs to the calling thread, set and then given back."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def convert(vectors: FloatArray, metric: Metric, wide: int) -> FloatArray:
    """Vectors (n, d) as faiss gets them, (n, wide): of unit length under cosine; uncopied where nothing changes."""
    if metric != "cosine" and wide == vectors.shape[1]:
        return vectors
    converted = np.empty((vectors.shape[0], wide), dtype=np.float32)
    normalise(vectors, metric == "cosine", converted)
    return converted


def flat_view(flat: Any) -> FloatArray:
    """The vectors of an IndexFlat (n, d), without a copy; valid until the index changes."""
    return cast("FloatArray", faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d))
