"""HNSW by faiss, over full vectors, over 8-bit codes, or over codes with the best re-ranked."""

from __future__ import annotations

import math
from typing import Any, ClassVar, cast

import faiss

from adamem.index import Capabilities, Param
from adamem.types import METRICS, FloatArray, IdArray, Metric, ParamValue
from adamem_indexes._faiss import NATIVE_METRIC, FaissIndex, flat_view

_HOP_COST = (0.4, 0.004)


class FaissHnswIndex(FaissIndex):
    """faiss's HNSW.

    ``storage`` says what the graph is walked over: ``fp32`` the vectors, ``sq8`` 8-bit codes (a quarter of the memory,
    distances of the decoded vectors), ``sq8-refine`` codes with the k_factor * k best re-ranked by the vectors (more
    memory than fp32, and faster where memory bandwidth decides). Equal builds need one thread.
    """

    name: ClassVar[str] = "faiss_hnsw"
    summary: ClassVar[str] = "hierarchical navigable small world graph, by faiss: over vectors or 8-bit codes"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS,
        insert=True,
        delete=True,
        replace=True,
        filter=True,
        save=True,
        exact_distances=False,  # not with storage = sq8
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param("M", 16, "links a node and layer (twice that in the lowest)", low=2, high=512, sweep=(8, 16, 32, 48)),
        Param(
            "ef_construction", 200, "candidates held while a node is linked", low=8, high=10_000, sweep=(100, 200, 500)
        ),
        Param(
            "storage",
            "fp32",
            "what is walked over: vectors, 8-bit codes, or codes and then re-ranked by the vectors",
            choices=("fp32", "sq8", "sq8-refine"),
            sweep=("fp32", "sq8", "sq8-refine"),
        ),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "ef",
            64,
            "candidates held while searching; raised to what is fetched where it is below",
            low=1,
            high=1_000_000,
            sweep=(10, 20, 40, 64, 80, 120, 200, 400, 800),
            effort=True,
        ),
        Param("k_factor", 2, "with sq8-refine: k_factor * k candidates are re-ranked", low=1, high=1000),
    )

    @classmethod
    def _make(cls, vectors: FloatArray, *, metric: Metric, params: dict[str, ParamValue], seed: int) -> Any:
        dim, links, native_metric = vectors.shape[1], params["M"], NATIVE_METRIC[metric]
        if params["storage"] == "fp32":
            graph = faiss.IndexHNSWFlat(dim, links, native_metric)
        else:
            graph = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, links, native_metric)
        graph.hnsw.efConstruction = params["ef_construction"]
        graph.hnsw.rng = faiss.RandomGenerator(seed % 2**31)
        native = faiss.IndexRefineFlat(graph) if params["storage"] == "sq8-refine" else graph
        native.train(vectors)
        return native

    def _effort(self, k: int, params: dict[str, ParamValue], boost: float, selector: Any) -> Any:
        refines = self.params["storage"] == "sq8-refine"
        factor = cast("int", params["k_factor"])
        # Rows that the selector hides take up places among the ef candidates, so ef grows with their share.
        ef = math.ceil(max(cast("int", params["ef"]), k * factor if refines else k) * boost)
        inner = faiss.SearchParametersHNSW(efSearch=min(ef, max(1, self._labels.rows)), sel=selector)
        return faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=inner) if refines else inner

    def _cost(self, k: int, params: dict[str, ParamValue], boost: float) -> float:
        ef = max(cast("int", params["ef"]), k) * boost
        return ef * (_HOP_COST[0] + _HOP_COST[1] * self._wide)

    def counters(self) -> dict[str, int]:
        """Distances from the query and hops; faiss counts them together for all its HNSW graphs of a process."""
        stats = faiss.cvar.hnsw_stats
        return {"distances": int(stats.ndis), "hops": int(stats.nhops)}

    def _graph(self) -> Any:
        return faiss.downcast_index(self._native.base_index) if self._refined() else self._native

    def _refined(self) -> bool:
        return self.params["storage"] == "sq8-refine"

    def _matrix(self) -> FloatArray | None:
        if self.params["storage"] == "sq8":
            return None
        return flat_view(faiss.downcast_index(self._native.refine_index if self._refined() else self._native.storage))

    def _without_dead(self, rows: IdArray) -> Any:
        if self.params["storage"] != "sq8" or rows.size == 0:
            return super()._without_dead(rows)
        # Trained anew, the code ranges would shift and blur the codes at every upkeep; kept, coding is idempotent.
        vectors = self._fetch(rows)
        native = self._make(vectors, metric=self.metric, params=self.params, seed=self._seed)
        faiss.downcast_index(native.storage).sq = faiss.downcast_index(self._native.storage).sq
        native.add(vectors)
        return native

    def _native_nbytes(self) -> dict[str, int]:
        graph = self._graph()
        hnsw, storage = graph.hnsw, faiss.downcast_index(graph.storage)
        parts = {"graph": 4 * hnsw.neighbors.size() + 8 * hnsw.offsets.size() + 4 * hnsw.levels.size()}
        parts["vectors" if self.params["storage"] == "fp32" else "codes"] = storage.codes.size()
        if self._refined():
            parts["vectors"] = faiss.downcast_index(self._native.refine_index).codes.size()
        return parts
