"""HNSW by hnswlib (Malkov & Yashunin 2018, arXiv 1603.09320), the reference that every index is compared with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, Self

import hnswlib
import numpy as np
import numpy.typing as npt

from adamem.errors import StorageError
from adamem.index import Capabilities, IdFilter, IndexBase, Param, SearchResult, empty_result
from adamem.types import METRICS, FloatArray, IdArray, Metric, ParamValue
from adamem_indexes._answers import padded
from adamem_indexes._filtered import FilterCache, Prepared, query_blocks
from adamem_indexes._gate import EffortGate
from adamem_indexes._kernels import admit, finish, least_square, warm_up
from adamem_indexes._labels import RowLabels
from adamem_indexes._scan import row_norms, scan
from adamem_indexes._store import Snapshot, save_snapshot

_VERSION = 1
_answer = tuple.__new__  # SearchResult(...) without the frame of its own __new__
_INT64 = np.dtype(np.int64)
_DEAD_SHARE = 0.2
_GROWTH = 1.5
# What one unit of ef, a row fetched back from hnswlib and a row scanned cost, in µs and µs a dimension: measured, and
# only their ratios matter. hnswlib hands rows back as Python lists, which is what makes fetching dear.
_HOP_COST = (0.4, 0.005)
_FETCH_COST = (1.0, 0.08)
_SCAN_COST = (0.002, 0.0003)
_FILTER_USES = 10  # for how many queries a prepared filter is used, a guess; its rows are fetched once


class HnswIndex(IndexBase):
    """hnswlib behind the protocol.

    * Rows are hnswlib's labels, and a row is never reused: `replace` tombstones the old row and adds a fresh one,
      because hnswlib's own in-place update leaves nodes unreachable (its issues tell). `maintain` rebuilds without the
      dead once they are a fifth.
    * hnswlib raises when it finds fewer than k; such a query is answered by scanning instead.
    * Its `ef` is a field of the index: searches with one `ef` run side by side, a change of it waits (`EffortGate`).
    * A filter is met by fetching more (ef grown by how selective it is) and keeping the admitted, or by a scan of the
      admitted rows where they are few, or where fetching more was not enough.
    * hnswlib's inner-product distance is 1 - q.x, in which small products drown: the stored vectors are scaled by a
      power of two so that they do not, and the scale is taken out of the reported distance.
    * Equal builds need one thread: hnswlib's insertion is not deterministic with several.
    """

    name: ClassVar[str] = "hnsw"
    summary: ClassVar[str] = "hierarchical navigable small world graph, by hnswlib: the reference"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS, insert=True, delete=True, replace=True, filter=True, save=True
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param("M", 16, "links a node and layer (twice that in the lowest)", low=2, high=512, sweep=(8, 16, 32, 48)),
        Param(
            "ef_construction", 200, "candidates held while a node is linked", low=8, high=10_000, sweep=(100, 200, 500)
        ),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "ef",
            64,
            "candidates held while searching; raised to k where it is below",
            low=1,
            high=1_000_000,
            sweep=(10, 20, 40, 64, 80, 120, 200, 400, 800),
            effort=True,
        ),
    )

    _least_square = staticmethod(least_square)

    def __init__(
        self, native: Any, labels: RowLabels, *, metric: Metric, scale: float, seed: int, threads: int
    ) -> None:
        self._labels = labels
        self._scale = scale
        self._seed = seed
        self._threads = threads
        # what `finish` makes of a native distance: times the factor, plus the offset, at least the floor
        self._factor, self._offset, self._floor = {
            "l2": (1.0, 0.0, 0.0),
            "cosine": (1.0, 0.0, 0.0),
            "ip": (1.0 / scale, -1.0 / scale, -math.inf),
        }[metric]
        self._filters = FilterCache(labels)
        self._use(native)
        warm_up()

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
        scale = scale_for(vectors) if metric == "ip" else 1.0
        native = new_native(metric, vectors.shape[1], capacity=ids.size, params=params, seed=seed)
        add_rows(native, vectors, scale, first=0, threads=threads)
        return cls(native, RowLabels(ids), metric=metric, scale=scale, seed=seed, threads=threads)

    def _search(
        self,
        queries: FloatArray,
        k: int,
        *,
        params: dict[str, Any],
        filter: IdFilter | None,  # noqa: A002 -- the field's own name for it
    ) -> SearchResult:
        ef: int = params["ef"]
        if filter is not None:
            return self._search_filtered(queries, k, ef, self._filters.prepare(filter))
        labels = self._labels
        width = k if k <= labels.live else labels.live  # noqa: FURB136 -- a call of min costs a third of a microsecond
        # `_query`, written out: this is where one query's time goes.
        gate = self._gate
        gate.enter(ef)
        try:
            rows, distances = self._native.knn_query(queries, width, 1)
        except RuntimeError:
            rows = None
        finally:
            gate.leave()
        if rows is None:
            return self._search_one_by_one(queries, k, ef)
        rows = rows.view(_INT64)
        finish(rows, distances, labels.array, self._factor, self._offset, self._floor)
        return _answer(SearchResult, (rows, distances)) if width == k else padded(rows, distances, k)

    def _query(self, queries: FloatArray, width: int, ef: int) -> tuple[IdArray, FloatArray] | None:
        """The library's own answer: rows and its distances (q, width), or None where it found fewer for some query."""
        self._gate.enter(ef)
        try:
            rows, distances = self._native.knn_query(queries, width, 1)
        except RuntimeError:
            return None
        finally:
            self._gate.leave()
        return rows.view(_INT64), distances

    def _search_one_by_one(self, queries: FloatArray, k: int, ef: int) -> SearchResult:
        """For a batch in which hnswlib found too few for some query: those are answered by scanning."""
        answer = empty_result(queries.shape[0], k)
        width = min(k, self._labels.live)
        everything: Prepared | None = None
        for i in range(queries.shape[0]):
            found = self._query(queries[i : i + 1], width, ef)
            if found is None:
                if everything is None:
                    everything = Prepared(self._labels.live_rows(), np.empty(0, dtype=np.uint8))
                self._scan(queries, np.array([i]), everything, answer)
            else:
                finish(*found, self._labels.array, self._factor, self._offset, self._floor)
                answer.ids[i, :width], answer.distances[i, :width] = found[0][0], found[1][0]
        return answer

    def _search_filtered(self, queries: FloatArray, k: int, ef: int, prepared: Prepared) -> SearchResult:
        """Fetch more and keep the admitted; scan the admitted rows where that is cheaper, or was not enough."""
        answer = empty_result(queries.shape[0], k)
        admitted = prepared.rows.size
        if admitted == 0:
            return answer
        live = self._labels.live
        effort = min(live, math.ceil(max(ef, k) * live / admitted))
        if self._scan_is_cheaper(effort, admitted):
            self._scan(queries, np.arange(queries.shape[0]), prepared, answer)
            return answer
        enough = min(k, admitted)
        for block in query_blocks(queries.shape[0], effort):
            ids, distances = answer.ids[block], answer.distances[block]
            found = self._query(queries[block], effort, effort)
            if found is None:
                poor = np.arange(block.start, block.stop)
            else:
                admit(*found, prepared.admitted, ids, distances)
                finish(ids, distances, self._labels.array, self._factor, self._offset, self._floor)
                poor = block.start + np.flatnonzero(ids[:, enough - 1] < 0)
            if poor.size:
                self._scan(queries, poor, prepared, answer)
        return answer

    def _scan_is_cheaper(self, effort: int, rows: int) -> bool:
        # Neither the number of queries nor what is fetched already counts: a query must answer alike in any company.
        fetch = rows * (_FETCH_COST[0] + _FETCH_COST[1] * self.dim) / _FILTER_USES
        scanned = rows * (_SCAN_COST[0] + _SCAN_COST[1] * self.dim)
        return fetch + scanned < effort * (_HOP_COST[0] + _HOP_COST[1] * self.dim)

    def _scan(self, queries: FloatArray, chosen: IdArray, prepared: Prepared, answer: SearchResult) -> None:
        """Answer the chosen queries from the prepared rows' vectors, exactly."""
        if prepared.gathered is None:
            vectors = self._fetch(prepared.rows)
            prepared.gathered = (vectors, row_norms(vectors))
        vectors, norms = prepared.gathered
        labels = self._labels.of_rows[prepared.rows]
        ids, distances = scan(vectors, norms, labels, queries[chosen], answer.ids.shape[1], metric=self.metric)
        if self._scale != 1.0:
            distances /= np.float32(self._scale)
        answer.ids[chosen], answer.distances[chosen] = ids, distances

    def _fetch(self, rows: IdArray) -> FloatArray:
        """The vectors (m, d) of live rows as hnswlib holds them: normalised under cosine, scaled under ip."""
        vectors = np.empty((rows.size, self.dim), dtype=np.float32)
        for start in range(0, rows.size, 1024):  # hnswlib hands them over as Python lists: large, so in pieces
            vectors[start : start + 1024] = self._native.get_items(rows[start : start + 1024])
        return vectors

    def _contains(self, ids: IdArray) -> npt.NDArray[np.bool_]:
        return self._labels.rows_of(ids) >= 0

    def _insert(self, vectors: FloatArray, ids: IdArray) -> None:
        needed = self._labels.rows + ids.size
        if needed > self._native.max_elements:
            self._native.resize_index(max(needed, int(self._native.max_elements * _GROWTH)))
        add_rows(self._native, vectors, self._scale, first=self._labels.rows, threads=self._threads)
        self._labels.append(ids)

    def _delete(self, ids: IdArray) -> None:
        rows = self._labels.rows_of(ids)
        for row in rows.tolist():
            self._native.mark_deleted(row)
        self._labels.forget(rows)

    def needs_maintenance(self) -> bool:
        """Whether at least a fifth of the rows are tombstones, which cost memory and hops."""
        return self._labels.dead >= _DEAD_SHARE * self._labels.rows and self._labels.dead > 0

    def maintain(self) -> None:
        """Build again over the live vectors, if there are dead ones; with the parameters and threads of the build."""
        if self._labels.dead == 0:
            return
        rows = self._labels.live_rows()
        capacity = max(1, rows.size)
        native = new_native(self.metric, self.dim, capacity=capacity, params=self.params, seed=self._seed)
        for start in range(0, rows.size, 1024):
            add_rows(native, self._fetch(rows[start : start + 1024]), 1.0, first=start, threads=self._threads)
        self._labels = RowLabels(self._labels.of_rows[rows])
        self._filters = FilterCache(self._labels)
        self._use(native)

    def nbytes(self) -> dict[str, int]:
        """Bytes held, by part, at hnswlib's capacity."""
        capacity, links = self._native.max_elements, self._native.M
        upper = self._native.index_file_size() - capacity_bytes(self._native.element_count, self.dim, links)
        return {
            "vectors": capacity * self.dim * 4,
            "graph": capacity_bytes(capacity, self.dim, links) - capacity * self.dim * 4 + upper,
            "ids": self._labels.nbytes(),
            "filter": self._filters.nbytes(),
        }

    def __len__(self) -> int:
        return self._labels.live

    def _save(self, path: Path) -> None:
        meta = {
            "metric": self.metric,
            "dim": self.dim,
            "params": self.params,
            "seed": self._seed,
            "scale": self._scale,
        }
        save_snapshot(
            path,
            index=self.name,
            version=_VERSION,
            meta=meta,
            parts={"graph": self._save_native, "ids": self._labels.of_rows},
        )

    def _save_native(self, path: Path) -> None:
        try:
            self._native.save_index(str(path))
        except RuntimeError as error:
            raise StorageError(f"cannot write {path}: {error}; check the folder's permissions") from error
        # hnswlib does not look whether its writes succeeded
        size, expected = path.stat().st_size, self._native.index_file_size()
        if size != expected:
            raise StorageError(f"cannot write {path}: {size} of {expected} bytes fitted; free some space on the disk")

    @classmethod
    def _load(cls, path: Path) -> Self:
        snapshot = Snapshot.read(path, index=cls.name, version=_VERSION)
        meta = snapshot.meta
        labels = RowLabels(snapshot.array("ids"))
        native = hnswlib.Index(meta["metric"], meta["dim"])
        native.load_index(str(snapshot.file("graph")), max(1, labels.rows))
        index = cls(native, labels, metric=meta["metric"], scale=meta["scale"], seed=meta["seed"], threads=1)
        index._adopt(metric=meta["metric"], dim=meta["dim"], params=meta["params"])
        return index

    def _use(self, native: Any) -> None:
        self._native = native
        self._gate = EffortGate(native.set_ef)


def new_native(metric: Metric, dim: int, *, capacity: int, params: dict[str, ParamValue], seed: int) -> Any:
    """An empty hnswlib index."""
    native = hnswlib.Index(metric, dim)
    native.init_index(
        max_elements=capacity, M=params["M"], ef_construction=params["ef_construction"], random_seed=seed % 2**31
    )
    return native


def add_rows(native: Any, vectors: FloatArray, scale: float, *, first: int, threads: int) -> None:
    """Add vectors (m, d) as rows `first` and on; in pieces where they must be scaled, so that no whole copy is made."""
    step = vectors.shape[0] if scale == 1.0 else 65_536
    for start in range(0, vectors.shape[0], step):
        piece = vectors[start : start + step]
        rows = np.arange(first + start, first + start + piece.shape[0])
        native.add_items(piece if scale == 1.0 else piece * np.float32(scale), rows, num_threads=threads)


def capacity_bytes(rows: int, dim: int, links: int) -> int:
    """What hnswlib allocates for the lowest layer: vector, 2 M links, their count, the label."""
    return int(rows * (4 * dim + 4 * 2 * links + 4 + 8))


def scale_for(vectors: FloatArray) -> float:
    """The power of two that brings the longest vector's length to about 2^12, where 1 - q.x keeps q.x's digits."""
    longest = float(row_norms(vectors).max())
    if longest == 0.0:
        return 1.0
    return float(2.0 ** min(40, max(0, 12 - math.frexp(longest)[1])))
