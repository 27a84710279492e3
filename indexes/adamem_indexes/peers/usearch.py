"""HNSW by USearch (Unum; https://github.com/unum-cloud/usearch): over float32, or over 16-bit numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from adamem.index import Capabilities, Param
from adamem.types import METRICS, FloatArray, Metric, ParamValue
from adamem_indexes._gate import EffortGate
from adamem_indexes._labels import RowLabels
from adamem_indexes.peers._base import Asked, PeerIndex
from adamem_indexes.peers._library import library

usearch = library("usearch.index")

_KIND = {"l2": "l2sq", "cosine": "l2sq", "ip": "ip"}
_BYTES = {"f32": 4, "bf16": 2, "f16": 2}
_INT64 = np.dtype(np.int64)


class UsearchIndex(PeerIndex):
    """USearch's HNSW.

    * Parameters: USearch's names are ``connectivity``, ``expansion_add`` and ``expansion_search``; the defaults are
      its own (16, 128, 64), but for the storage, which it chooses by the machine where it is not told.
    * ``bf16`` and ``f16`` halve what is read; the distances are computed again from the float32 vectors. ``i8`` is
      left out: it takes every number to lie within -1 and 1, and found 0.4 of the ten nearest on a Gaussian.
    * Its ``expansion_search`` is a field of the index: searches with one run side by side, a change of it waits
      (`EffortGate`).
    * Asked past its Python front, which makes an object of every answer.
    * Nothing that can be set from Python changes what is drawn: the seed has no effect.
    """

    name: ClassVar[str] = "usearch"
    summary: ClassVar[str] = "hierarchical navigable small world graph, by USearch: over float32 or 16-bit numbers"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS, insert=True, delete=True, replace=True, filter=True, save=True, seeded=False
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param("M", 16, "links a node and layer (twice that in the lowest)", low=2, high=512, sweep=(8, 16, 32, 48)),
        Param(
            "ef_construction", 128, "candidates held while a node is linked", low=8, high=10_000, sweep=(128, 200, 500)
        ),
        Param("storage", "f32", "what the graph is walked over", choices=("f32", "bf16", "f16"), sweep=("f32", "bf16")),
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

    _gate: EffortGate

    @classmethod
    def _make(
        cls,
        vectors: FloatArray,
        *,
        metric: Metric,
        params: dict[str, ParamValue],
        seed: int,  # noqa: ARG003 -- USearch takes none
        threads: int,
    ) -> Any:
        native = usearch.Index(
            ndim=vectors.shape[1],
            metric=_KIND[metric],
            dtype=params["storage"],
            connectivity=params["M"],
            expansion_add=params["ef_construction"],
        )
        native.add(np.arange(vectors.shape[0]), vectors, threads=threads)
        return native

    def _add(self, vectors: FloatArray, first: int) -> None:
        self._native.add(np.arange(first, first + vectors.shape[0]), vectors, threads=self._threads)

    def _ask(self, queries: FloatArray, width: int, params: dict[str, ParamValue]) -> Asked:
        ef = cast("int", params["ef"])
        ef = ef if ef >= width else width  # noqa: FURB136 -- a call of max costs more
        self._gate.enter(ef)
        try:
            keys, distances, counts, _, _ = self._search_many(queries, width, False, 1)
        finally:
            self._gate.leave()
        rows = keys.view(_INT64)
        for i, count in enumerate(counts.tolist()):
            if count < width:
                rows[i, count:] = -1
        return rows, distances

    def _tells_distances(self) -> bool:
        return self.params["storage"] == "f32" and not self._ip  # under ip 1 - q.x, in which small products drown

    def _native_nbytes(self) -> dict[str, int]:
        # As it would be saved: what it reserves besides is 16 MB and more, whatever it holds.
        vectors = self._labels.rows * self.dim * _BYTES[str(self.params["storage"])]
        return {"vectors": vectors, "graph": self._native.serialized_length - vectors}

    def _save_native(self, path: Path) -> None:
        self._native.save(str(path))

    @classmethod
    def _load_native(
        cls,
        path: Path,
        vectors: FloatArray,  # noqa: ARG003 -- the hook's signature
        *,
        metric: Metric,  # noqa: ARG003 -- the hook's signature
        params: dict[str, ParamValue],
    ) -> Any:
        return usearch.Index.restore(str(path), connectivity=params["M"], expansion_add=params["ef_construction"])

    def _use(self, native: Any, labels: RowLabels) -> None:
        super()._use(native, labels)
        self._gate = EffortGate(self._apply)

    def _apply(self, ef: int) -> None:
        self._native.expansion_search = ef
        self._search_many = self._native._compiled.search_many
