"""ScaNN (Guo et al. 2020, ICML, arXiv 1908.10396): partitions, anisotropic 4-bit codes, exact re-ranking."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from adamem.index import Capabilities, Param
from adamem.types import METRICS, FloatArray, IdArray, Metric, ParamValue
from adamem_indexes.peers._base import Asked, PeerIndex
from adamem_indexes.peers._folder import packing, unpacked
from adamem_indexes.peers._library import library

scann = library("scann")

_ANISOTROPIC = 0.2


class ScannIndex(PeerIndex):
    """ScaNN's tree of partitions over asymmetric hashing, re-ranked by the vectors.

    * Parameters: ScaNN's ``docs/algorithms.md`` (leaves about the root of the number of rows, two dimensions a block,
      anisotropic threshold 0.2, cosine as the product of unit vectors) and its authors' entry in ann-benchmarks.
    * Fewer than 1,024 rows are scanned: so few cannot train it.
    * Its answers' distances are computed again: under cosine they are products.
    * Nothing that can be set from Python changes what is drawn: the seed has no effect.
    """

    name: ClassVar[str] = "scann"
    summary: ClassVar[str] = "ScaNN: partitions, anisotropic 4-bit codes, re-ranked by the vectors"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS, delete=True, filter=True, save=True, seeded=False
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "leaves",
            0,
            "partitions; 0 takes the root of the number of rows",
            low=0,
            high=1_000_000,
            sweep=(0, 512, 2048),
        ),
        Param("dims_per_block", 2, "dimensions coded together in 4 bits", low=1, high=16, sweep=(2, 4)),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "leaves_to_search",
            20,
            "partitions searched",
            low=1,
            high=1_000_000,
            sweep=(1, 2, 4, 8, 12, 20, 32, 64, 128),
            effort=True,
        ),
        Param(
            "reorder", 100, "candidates compared by their vectors; raised to k where it is below", low=1, high=1_000_000
        ),
    )

    _least_rows: ClassVar[int] = 1024

    @classmethod
    def _make(
        cls,
        vectors: FloatArray,
        *,
        metric: Metric,
        params: dict[str, ParamValue],
        seed: int,  # noqa: ARG003 -- ScaNN takes none
        threads: int,
    ) -> Any:
        rows = vectors.shape[0]
        leaves = min(cast("int", params["leaves"]) or round(math.sqrt(rows)), rows // 16)
        builder = scann.scann_ops_pybind.builder(vectors, 10, "squared_l2" if metric == "l2" else "dot_product")
        builder = builder.set_n_training_threads(threads)
        builder = builder.tree(
            num_leaves=leaves, num_leaves_to_search=leaves, training_sample_size=rows, quantize_centroids=True
        )
        builder = builder.score_ah(params["dims_per_block"], anisotropic_quantization_threshold=_ANISOTROPIC)
        return builder.reorder(100).build()

    def _ask(self, queries: FloatArray, width: int, params: dict[str, ParamValue]) -> Asked:
        leaves, reorder = params["leaves_to_search"], max(cast("int", params["reorder"]), width)
        if queries.shape[0] == 1:
            found, distances = self._native.search(queries[0], width, reorder, leaves)
            found, distances = found[None, :], distances[None, :]
        else:
            found, distances = self._native.search_batched(queries, width, reorder, leaves)
        return _whole(found, distances, width), np.empty((queries.shape[0], width), dtype=np.float32)

    def _held(self, params: dict[str, ParamValue]) -> int:
        return cast("int", params["reorder"])

    def _tells_distances(self) -> bool:
        return False

    def _native_nbytes(self) -> dict[str, int]:
        # By its layout; it tells none. The leaves' centres count for little.
        rows, dim = self._matrix.shape
        blocks = -(-dim // cast("int", self.params["dims_per_block"]))
        return {"codes": rows * -(-blocks // 2), "vectors": rows * dim * 4}

    def _save_native(self, path: Path) -> None:
        with packing(path) as folder:
            self._native.serialize(str(folder), relative_path=True)

    @classmethod
    def _load_native(
        cls,
        path: Path,
        vectors: FloatArray,  # noqa: ARG003 -- the hook's signature
        *,
        metric: Metric,  # noqa: ARG003 -- the hook's signature
        params: dict[str, ParamValue],  # noqa: ARG003 -- the hook's signature
    ) -> Any:
        with unpacked(path) as folder:
            return scann.scann_ops_pybind.load_searcher(str(folder))


def _whole(found: Any, distances: Any, width: int) -> IdArray:
    """Its rows as int64 (q, width): -1 where it found fewer, which it marks by NaN, or by a shorter answer."""
    rows = np.full((found.shape[0], width), -1, dtype=np.int64)
    rows[:, : found.shape[1]] = found
    rows[:, : found.shape[1]][np.isnan(distances)] = -1
    return rows
