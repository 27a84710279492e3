"""HNSW by Voyager (Spotify; https://spotify.github.io/voyager), over float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from adamem.index import Capabilities, Param
from adamem.types import METRICS, FloatArray, Metric, ParamValue
from adamem_indexes.peers._base import Asked, PeerIndex
from adamem_indexes.peers._library import library

voyager = library("voyager")

_INT64 = np.dtype(np.int64)


class VoyagerIndex(PeerIndex):
    """Voyager's HNSW, a descendant of hnswlib.

    * Parameters: Voyager's documentation of ``voyager.Index``; its defaults, M = 12 and ef_construction = 200.
    * Under ip it lengthens the vectors by one dimension that makes all equally long; its distances are computed again.
    * It raises where it finds too few; such a query is answered by scanning.
    * Its two codes, ``Float8`` and ``E4M3``, are left out: the first takes every number to lie within -1 and 1.
    """

    name: ClassVar[str] = "voyager"
    summary: ClassVar[str] = "hierarchical navigable small world graph, by Voyager"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS, insert=True, delete=True, replace=True, filter=True, save=True
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param("M", 12, "links a node and layer (twice that in the lowest)", low=2, high=512, sweep=(8, 12, 16, 32, 48)),
        Param(
            "ef_construction", 200, "candidates held while a node is linked", low=8, high=10_000, sweep=(100, 200, 500)
        ),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "ef",
            64,
            "candidates held while searching (Voyager's query_ef); raised to k where it is below",
            low=1,
            high=1_000_000,
            sweep=(10, 20, 40, 64, 80, 120, 200, 400, 800),
            effort=True,
        ),
    )

    @classmethod
    def _make(
        cls, vectors: FloatArray, *, metric: Metric, params: dict[str, ParamValue], seed: int, threads: int
    ) -> Any:
        native = voyager.Index(
            voyager.Space.InnerProduct if metric == "ip" else voyager.Space.Euclidean,
            vectors.shape[1],
            M=params["M"],
            ef_construction=params["ef_construction"],
            random_seed=seed % 2**31,
            max_elements=vectors.shape[0],
        )
        native.add_items(vectors, np.arange(vectors.shape[0]), num_threads=threads)
        return native

    def _add(self, vectors: FloatArray, first: int) -> None:
        rows = np.arange(first, first + vectors.shape[0])
        self._native.add_items(vectors, rows, num_threads=self._threads)

    def _ask(self, queries: FloatArray, width: int, params: dict[str, ParamValue]) -> Asked:
        if not queries.flags.writeable:  # Voyager refuses it
            queries = queries.copy()
        ef = cast("int", params["ef"])
        ef = ef if ef >= width else width  # noqa: FURB136 -- a call of max costs more
        try:
            rows, distances = self._native.query(queries, width, 1, ef)
        except voyager.RecallError:
            return self._ask_one_by_one(queries, width, ef)
        return rows.view(_INT64), distances

    def _ask_one_by_one(self, queries: FloatArray, width: int, ef: int) -> Asked:
        """For a batch in which too few were found for some query: those are left empty."""
        rows = np.full((queries.shape[0], width), -1, dtype=np.int64)
        distances = np.empty((queries.shape[0], width), dtype=np.float32)
        for i, query in enumerate(queries):
            try:
                rows[i], distances[i] = self._native.query(query, width, 1, ef)
            except voyager.RecallError:
                continue
        return rows, distances

    def _tells_distances(self) -> bool:
        return not self._ip

    def _native_nbytes(self) -> dict[str, int]:
        # By hnswlib's layout, which it kept: it tells none, and `as_bytes` would copy all.
        rows, links = self._labels.rows, cast("int", self.params["M"])
        lowest = rows * (4 * 2 * links + 4 + 8)
        return {"vectors": rows * self.dim * 4, "graph": lowest + rows * 4 * (links + 1) // (links - 1)}

    def _save_native(self, path: Path) -> None:
        self._native.save(str(path))

    @classmethod
    def _load_native(
        cls,
        path: Path,
        vectors: FloatArray,  # noqa: ARG003 -- the hook's signature
        *,
        metric: Metric,  # noqa: ARG003 -- the hook's signature
        params: dict[str, ParamValue],  # noqa: ARG003 -- the hook's signature
    ) -> Any:
        return voyager.Index.load(str(path))
