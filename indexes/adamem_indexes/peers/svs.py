"""Vamana by Scalable Vector Search (Aguerrebere et al. 2023, PVLDB 16(11)): a flat graph over vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from adamem.index import Capabilities, Param
from adamem.types import METRICS, FloatArray, Metric, ParamValue
from adamem_indexes._gate import EffortGate
from adamem_indexes._labels import RowLabels
from adamem_indexes.peers._base import Asked, PeerIndex
from adamem_indexes.peers._folder import packing, unpacked
from adamem_indexes.peers._library import library

svs = library("svs")

_ALPHA = {"l2": 1.2, "cosine": 1.2, "ip": 0.95}  # what its documentation calls typically sufficient
_INT64 = np.dtype(np.int64)


class SvsIndex(PeerIndex):
    """Vamana, static, over float32 or float16 vectors.

    * Parameters: SVS's documentation of ``VamanaBuildParameters``; ``window_size`` above ``graph_max_degree``, alpha
      1.2 for distances and 0.95 for products.
    * Its LVQ and LeanVec codes, which its authors recommend, end the process on processors that are not Intel's ("not
      supported on non-Intel hardware"): they are left out, so that an index means the same on every machine.
    * ``float16`` halves what is read; its distances are computed again from the float32 vectors.
    * Its search window is a field of the index: searches with one window run side by side, a change of it waits
      (`EffortGate`). What it has not found it reports as row 0 at distance 0.
    * Nothing is drawn: the seed has no effect.
    """

    name: ClassVar[str] = "svs"
    summary: ClassVar[str] = "Vamana, by Scalable Vector Search: a flat graph over float32 or float16 vectors"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS, delete=True, filter=True, save=True, seeded=False
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param("R", 32, "links a node at most (SVS's graph_max_degree)", low=4, high=512, sweep=(16, 32, 64)),
        Param(
            "ef_construction",
            200,
            "candidates held while a node is linked (SVS's window_size)",
            low=8,
            high=10_000,
            sweep=(100, 200),
        ),
        Param(
            "storage",
            "float32",
            "what the graph is walked over",
            choices=("float32", "float16"),
            sweep=("float32", "float16"),
        ),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "ef",
            64,
            "candidates held while searching (SVS's search_window_size); raised to k where it is below",
            low=1,
            high=1_000_000,
            sweep=(10, 20, 40, 64, 80, 120, 200, 400, 800),
            effort=True,
        ),
    )

    _gate: EffortGate

    @classmethod
    def _make(
        cls,
        vectors: FloatArray,
        *,
        metric: Metric,
        params: dict[str, ParamValue],
        seed: int,  # noqa: ARG003 -- SVS draws nothing
        threads: int,
    ) -> Any:
        built = svs.VamanaBuildParameters(
            alpha=_ALPHA[metric], graph_max_degree=params["R"], window_size=params["ef_construction"]
        )
        given = vectors.astype(np.float16) if params["storage"] == "float16" else vectors
        native = svs.Vamana.build(built, given, _distance(metric), num_threads=threads)
        native.num_threads = 1
        return native

    def _ask(self, queries: FloatArray, width: int, params: dict[str, ParamValue]) -> Asked:
        window = cast("int", params["ef"])
        window = window if window >= width else width  # noqa: FURB136 -- a call of max costs more
        self._gate.enter(window)
        try:
            rows, distances = self._native.search(queries, width)
        finally:
            self._gate.leave()
        if self._ip:
            np.negative(distances, out=distances)
        return rows.view(_INT64), distances

    def _native_nbytes(self) -> dict[str, int]:
        # By its layout (svs::graphs::SimpleGraph, a count beside the links); it tells none.
        rows, dim = self._matrix.shape
        wide = 2 if self.params["storage"] == "float16" else 4
        return {"graph": rows * 4 * (cast("int", self.params["R"]) + 1), "vectors": rows * dim * wide}

    def _save_native(self, path: Path) -> None:
        with packing(path) as folder:
            self._native.save(*(str(folder / part) for part in ("config", "graph", "data")))

    @classmethod
    def _load_native(
        cls,
        path: Path,
        vectors: FloatArray,  # noqa: ARG003 -- the hook's signature
        *,
        metric: Metric,
        params: dict[str, ParamValue],  # noqa: ARG003 -- the hook's signature
    ) -> Any:
        with unpacked(path) as folder:
            config, graph, data = (str(folder / part) for part in ("config", "graph", "data"))
            return svs.Vamana(
                config, svs.GraphLoader(graph), svs.VectorDataLoader(data), _distance(metric), num_threads=1
            )

    def _use(self, native: Any, labels: RowLabels) -> None:
        super()._use(native, labels)
        self._gate = EffortGate(self._apply)

    def _tells_distances(self) -> bool:
        return self.params["storage"] == "float32"

    def _apply(self, window: int) -> None:
        self._native.search_window_size = window


def _distance(metric: Metric) -> Any:
    return svs.MIP if metric == "ip" else svs.L2
