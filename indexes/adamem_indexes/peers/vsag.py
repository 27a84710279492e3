"""HGraph by VSAG (Zhong et al. 2025, arXiv 2503.17911): a hierarchical graph walked on codes, re-ranked by vectors."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np

from adamem.index import Capabilities, Param
from adamem.types import METRICS, FloatArray, Metric, ParamValue
from adamem_indexes.peers._base import Asked, PeerIndex
from adamem_indexes.peers._library import library

pyvsag = library("pyvsag")

_CODE_BYTES = {"sq8": 1.0, "sq8_uniform": 1.0, "sq4_uniform": 0.5, "fp32": 0.0}


class VsagIndex(PeerIndex):
    """VSAG's flagship index, as its documentation recommends it: codes to walk on, ``use_reorder`` to re-rank.

    * Parameters: VSAG's documentation, "HGraph" (``max_degree`` 32 and ``ef_construction`` 400 in its quick start).
    * pyvsag builds and asks, one query at a time; it neither adds nor filters. What it has not found it leaves
      unwritten in the arrays it returns.
    * No saving: pyvsag 0.18 writes at least 160 MB, mostly zeros, for a hundred rows.
    * ``memory_io`` keeps all in contiguous memory; the default allocates by blocks of many megabytes.
    * Left out because the process aborts: ``resize_increase_count_bit`` = 1.
    * Nothing that can be set from Python changes what is drawn: the seed has no effect.
    """

    name: ClassVar[str] = "vsag"
    summary: ClassVar[str] = "HGraph, by VSAG: a hierarchical graph on 8-bit codes, re-ranked by the vectors"
    capabilities: ClassVar[Capabilities] = Capabilities(metrics=METRICS, delete=True, filter=True, seeded=False)
    build_params: ClassVar[tuple[Param, ...]] = (
        Param("max_degree", 32, "links a node at most", low=4, high=256, sweep=(16, 32, 48, 64)),
        Param("ef_construction", 400, "candidates held while a node is linked", low=8, high=10_000, sweep=(200, 400)),
        Param(
            "codes",
            "sq8",
            "what the graph is walked on (VSAG's base_quantization_type)",
            choices=("sq8", "sq8_uniform", "sq4_uniform", "fp32"),
            sweep=("sq8", "sq8_uniform", "sq4_uniform"),
        ),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "ef",
            64,
            "candidates held while searching (VSAG's ef_search); raised to k where it is below",
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
        seed: int,  # noqa: ARG003 -- VSAG takes none
        threads: int,
    ) -> Any:
        pyvsag.set_logger_off()
        rows, dim = vectors.shape
        compared = "ip" if metric == "ip" else "l2"
        inner = {
            "base_quantization_type": params["codes"],
            "use_reorder": params["codes"] != "fp32",
            "precise_quantization_type": "fp32",
            "max_degree": params["max_degree"],
            "ef_construction": params["ef_construction"],
            "build_thread_count": threads,
            "base_io_type": "memory_io",
            "precise_io_type": "memory_io",
            "graph_io_type": "memory_io",
        }
        described = {"dtype": "float32", "metric_type": compared, "dim": dim, "index_param": inner}
        native = pyvsag.Index("hgraph", json.dumps(described))
        native.build(vectors.reshape(-1), np.arange(rows), rows, dim)
        return native

    def _ask(self, queries: FloatArray, width: int, params: dict[str, ParamValue]) -> Asked:
        key = (params["ef"], width)
        effort = self._efforts.get(key)
        if effort is None:
            effort = self._efforts[key] = json.dumps({"hgraph": {"ef_search": max(key)}})
        if not queries.flags.writeable:  # pyvsag refuses it
            queries = queries.copy()
        ask = self._native.knn_search
        if queries.shape[0] == 1:
            rows, distances = ask(queries[0], width, effort)
            return rows.reshape(1, width), distances.reshape(1, width)
        answers = [ask(query, width, effort) for query in queries]
        return np.stack([rows for rows, _ in answers]), np.stack([distances for _, distances in answers])

    def _tells_distances(self) -> bool:
        return not self._ip  # its distance is 1 - q.x then, in which small products drown

    def _native_nbytes(self) -> dict[str, int]:
        # pyvsag tells none: the lowest layer (links and their count), codes, vectors, as VSAG lays them out.
        rows, dim = self._matrix.shape
        codes = _CODE_BYTES[str(self.params["codes"])]
        degree = self.params["max_degree"]
        assert isinstance(degree, int)
        return {"graph": rows * 4 * (degree + 1), "codes": int(rows * dim * codes), "vectors": rows * dim * 4}
