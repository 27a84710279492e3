"""NSG by faiss (Fu et al. 2019, PVLDB 12(5)): a flat graph from a nearest-neighbour graph."""

from __future__ import annotations

import math
from typing import Any, ClassVar, cast

import faiss
import numpy as np

from adamem.index import Capabilities, Param
from adamem.types import METRICS, FloatArray, Metric, ParamValue
from adamem_indexes._faiss import NATIVE_METRIC, Asked, FaissIndex, flat_view
from adamem_indexes._filtered import Prepared
from adamem_indexes._gate import EffortGate
from adamem_indexes._kernels import hash_rows
from adamem_indexes._labels import RowLabels

_BRUTE_FORCE_UNTIL = 20_000
_NEIGHBOURS = 64
_HOP_COST = (0.4, 0.004)


class FaissNsgIndex(FaissIndex):
    """faiss's NSG, built once over all vectors: it cannot insert, and so not replace.

    * The neighbour graph is exact up to 20,000 vectors, found by NN-descent above. Up to 128 vectors there is
      no graph: faiss cannot build one, and a scan is faster.
    * Where one vector stands more than R / 2 times there is no graph either: its copies fill each other's links, and
      faiss looks for ever for a place where to attach the rest. All is scanned then, exactly.
    * faiss's NSG takes no selector: tombstones and filters are met by fetching more and dropping the hidden.
    * Its `search_L` is a field of the index: searches with one value run side by side, a change waits (`EffortGate`).
    * Nothing that is drawn changes the graph: the seed has no effect.
    """

    name: ClassVar[str] = "faiss_nsg"
    summary: ClassVar[str] = "navigating spreading-out graph, by faiss: flat, built once"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS, delete=True, filter=True, save=True, seeded=False
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param("R", 32, "links a node at most", low=4, high=256, sweep=(16, 32, 64)),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "search_L",
            64,
            "candidates held while searching; raised to what is fetched where it is below",
            low=1,
            high=1_000_000,
            sweep=(10, 20, 40, 64, 80, 120, 200, 400, 800),
            effort=True,
        ),
    )

    @classmethod
    def _make(
        cls,
        vectors: FloatArray,
        *,
        metric: Metric,
        params: dict[str, ParamValue],
        seed: int,  # noqa: ARG003 -- faiss offers none that has an effect
    ) -> Any:
        if vectors.shape[0] <= 2 * _NEIGHBOURS or _most_copies(vectors) > cast("int", params["R"]) // 2:
            return faiss.IndexFlat(vectors.shape[1], NATIVE_METRIC[metric])
        native = faiss.IndexNSGFlat(vectors.shape[1], params["R"], NATIVE_METRIC[metric])
        native.GK = _NEIGHBOURS
        return native

    @classmethod
    def _fill(cls, native: Any, vectors: FloatArray) -> None:
        if not isinstance(native, faiss.IndexNSG) or vectors.shape[0] > _BRUTE_FORCE_UNTIL:
            native.add(vectors)
            return
        # faiss's own brute force takes the first neighbour for the vector itself, which fails where vectors repeat.
        flat = faiss.IndexFlat(vectors.shape[1], native.metric_type)
        flat.add(vectors)
        neighbours = flat.search(vectors, _NEIGHBOURS + 1)[1]  # (n, GK + 1)
        drop = neighbours == np.arange(vectors.shape[0])[:, None]
        drop[:, -1] |= ~drop.any(axis=1)
        native.build(vectors, neighbours[~drop].reshape(-1, _NEIGHBOURS))

    def _effort(
        self,
        k: int,  # noqa: ARG002 -- faiss raises search_L to k itself
        params: dict[str, ParamValue],
        boost: float,
        selector: Any,  # noqa: ARG002 -- faiss takes none
    ) -> int:
        return math.ceil(cast("int", params["search_L"]) * boost)

    def _cost(self, k: int, params: dict[str, ParamValue], boost: float) -> float:
        return max(cast("int", params["search_L"]), k) * boost * (_HOP_COST[0] + _HOP_COST[1] * self._wide)

    def _ask(self, asked: FloatArray, width: int, effort: int) -> Asked:
        self._gate.enter(effort)
        try:
            return super()._ask(asked, width, None)
        finally:
            self._gate.leave()

    def _ask_some(
        self, asked: FloatArray, width: int, params: dict[str, ParamValue], boost: float, prepared: Prepared
    ) -> Asked:
        effort = max(self._effort(width, params, boost, None), math.ceil(width * boost))
        return self._ask_more(asked, width, min(effort, self._labels.rows), effort, prepared)

    def _matrix(self) -> FloatArray:
        return flat_view(faiss.downcast_index(self._native.storage) if self._has_graph() else self._native)

    def _has_graph(self) -> bool:
        return isinstance(self._native, faiss.IndexNSG)

    def _native_nbytes(self) -> dict[str, int]:
        if not self._has_graph():
            return {"vectors": self._native.codes.size(), "graph": 0}
        graph = self._native.nsg.get_final_graph()
        return {"vectors": faiss.downcast_index(self._native.storage).codes.size(), "graph": 4 * graph.N * graph.K}

    def _use(self, native: Any, labels: RowLabels) -> None:
        super()._use(native, labels)
        self._gate = EffortGate(self._apply)

    def _apply(self, effort: int) -> None:
        if self._has_graph():
            self._native.nsg.search_L = effort


def _most_copies(vectors: FloatArray) -> int:
    """How often the vector that stands most often does."""
    hashes = np.empty(vectors.shape[0], dtype=np.uint64)
    hash_rows(vectors, hashes)
    return int(np.unique(hashes, return_counts=True)[1].max())
