"""Product quantisation by faiss (Jégou et al. 2011, TPAMI 33(1)), in three forms."""

from __future__ import annotations

import math
from typing import Any, ClassVar, cast

import faiss
import numpy as np

from adamem.errors import InvalidInput
from adamem.index import Capabilities, Param
from adamem.types import METRICS, FloatArray, IdArray, Metric, ParamValue
from adamem_indexes._faiss import NATIVE_METRIC, Asked, FaissIndex, flat_view
from adamem_indexes._filtered import Prepared

_FAST, _IVF, _FLAT = "ivfpqfs-refine", "ivfpq", "pq"


class FaissPqIndex(FaissIndex):
    """faiss's product quantisers.

    ``form`` is one of

    * ``ivfpqfs-refine`` -- an inverted file over 4-bit codes laid out for SIMD (André et al. 2017), the k_factor * k
      best re-ranked by the full vectors: the strong one, and the default;
    * ``ivfpq`` -- an inverted file over PQ codes of the residuals, without vectors;
    * ``pq`` -- codes alone, all of them looked at.

    m = 0 is d / 2 pieces for the first form, d / 4 for the others, rounded up. Whatever m is, vectors are padded with
    zeros to the next multiple of m, which changes no distance, so that every dimension has a fitting m. nlist = 0 is
    4 sqrt(n), but at most n / 39: with fewer training vectors a list faiss's k-means is unreliable. A training set
    smaller than a codebook is repeated until it is not.

    Without full vectors, reported distances are those of the codes, and `maintain` only drops the dead; the first
    form trains anew, also once it holds so much more than at the build that twice as many lists would be chosen.
    """

    name: ClassVar[str] = "faiss_pq"
    summary: ClassVar[str] = "product quantisation, by faiss: inverted file, 4-bit fast scan and re-ranking"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS,
        insert=True,
        delete=True,
        replace=True,
        filter=True,
        save=True,
        exact_distances=False,  # only the form that re-ranks has them
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "form",
            _FAST,
            "fast scan with re-ranking, inverted file of codes, or codes alone",
            choices=(_FAST, _IVF, _FLAT),
            sweep=(_FAST, _IVF, _FLAT),
        ),
        Param("m", 0, "pieces a vector is cut into; 0 chooses d/2 (fast scan) or d/4", low=0, high=4096),
        Param("nbits", 0, "bits a piece; 0 chooses 4 (fast scan, which has no other) or 8", low=0, high=12),
        Param("nlist", 0, "lists of the inverted file; 0 chooses 4 sqrt(n), at most n/39", low=0, high=1_000_000),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "nprobe",
            32,
            "lists looked into (the form pq has one list)",
            low=1,
            high=1_000_000,
            sweep=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            effort=True,
        ),
        Param(
            "k_factor", 32, "k_factor * k candidates are re-ranked (fast scan only)", low=1, high=1000, sweep=(8, 32)
        ),
    )

    @classmethod
    def _native_dim(cls, dim: int, params: dict[str, ParamValue]) -> int:
        m = pieces(dim, params)
        return m * -(-dim // m)

    @classmethod
    def _make(cls, vectors: FloatArray, *, metric: Metric, params: dict[str, ParamValue], seed: int) -> Any:
        n, dim = vectors.shape
        form, native_metric = params["form"], NATIVE_METRIC[metric]
        m, nbits, nlist = pieces(dim, params), bits(params), lists(n, params)
        if form == _FLAT:
            native = faiss.IndexPQ(dim, m, nbits, native_metric)
            native.do_polysemous_training = False
        else:
            kind = faiss.IndexIVFPQFastScan if form == _FAST else faiss.IndexIVFPQ
            coarse = faiss.IndexFlat(dim, native_metric)
            native = kind(coarse, dim, nlist, m, nbits, native_metric)
            native.cp.seed = seed % 2**31
            native.cp.min_points_per_centroid = 1
        native.pq.cp.seed = seed % 2**31
        native.pq.cp.min_points_per_centroid = 1  # or faiss prints a warning to the terminal
        if form == _FAST:
            native = faiss.IndexRefineFlat(native)
        native.train(enough(vectors, max(2**nbits, nlist)))
        return native

    def _effort(self, k: int, params: dict[str, ParamValue], boost: float, selector: Any) -> Any:  # noqa: ARG002
        form = self.params["form"]
        if form == _FLAT:
            return None
        nprobe = min(self._inverted().nlist, math.ceil(cast("int", params["nprobe"]) * boost))
        inner = faiss.SearchParametersIVF(nprobe=nprobe, sel=selector)
        if form == _IVF:
            return inner
        return faiss.IndexRefineSearchParameters(k_factor=params["k_factor"], base_index_params=inner)

    def _cost(self, k: int, params: dict[str, ParamValue], boost: float) -> float:
        if self.params["form"] != _FAST:
            return 0.0  # nothing to scan but the codes, which faiss does itself
        nlist = int(self._inverted().nlist)
        looked_at = self._labels.rows * min(1.0, cast("int", params["nprobe"]) * boost / nlist)
        reranked = k * cast("int", params["k_factor"])
        return 5.0 + 0.0003 * self._wide * (looked_at + nlist) + 0.001 * self._wide * reranked

    def _ask_some(
        self, asked: FloatArray, width: int, params: dict[str, ParamValue], boost: float, prepared: Prepared
    ) -> Asked:
        if self.params["form"] != _FLAT:
            return super()._ask_some(asked, width, params, boost, prepared)
        # IndexPQ takes no selector. All codes are looked at anyway, so that fetching more costs only the larger heap.
        rows = self._labels.rows
        wider = min(rows, math.ceil(1.5 * width * boost) + 16)
        while True:
            found = self._ask_more(asked, width, wider, None, prepared)
            if wider == rows or (found[0][:, -1] >= 0).all():
                return found
            wider = min(rows, 4 * wider)

    def _rescue(
        self,
        asked: FloatArray,
        ids: IdArray,
        distances: FloatArray,
        params: dict[str, ParamValue],
        prepared: Prepared,
    ) -> None:
        if self.params["form"] == _FAST:
            super()._rescue(asked, ids, distances, params, prepared)
            return
        # Looking into every list finds whatever is admitted.
        short = np.flatnonzero(ids[:, -1] < 0)
        everywhere = params | {"nprobe": self._inverted().nlist}
        found = self._ask_some(asked[short], ids.shape[1], everywhere, 1.0, prepared)
        self._finish(*found)
        ids[short], distances[short] = found

    def _without_dead(self, rows: IdArray) -> Any:
        form = self.params["form"]
        if form == _FAST or rows.size == 0:
            return super()._without_dead(rows)
        alive = np.zeros(self._labels.rows, dtype=np.uint8)
        alive[rows] = 1
        self._native.remove_ids(faiss.IDSelectorBitmap(np.packbits(1 - alive, bitorder="little")))
        if form == _IVF:  # the lists hold row numbers, which move down; IndexPQ has moved its codes itself
            moved = np.cumsum(alive, dtype=np.int64) - 1
            inverted = faiss.downcast_InvertedLists(self._native.invlists)
            for number in range(self._native.nlist):
                held = faiss.rev_swig_ptr(inverted.get_ids(number), inverted.list_size(number))
                held[:] = moved[held]
        return self._native

    def needs_maintenance(self) -> bool:
        """Whether a fifth is dead, or (fast scan) so much came in that twice as many lists would be chosen."""
        outgrown = (
            self.params["form"] == _FAST
            and self.params["nlist"] == 0
            and lists(self._labels.live, self.params) >= 2 * self._inverted().nlist
        )
        return super().needs_maintenance() or outgrown

    def counters(self) -> dict[str, int]:
        """Codes looked at; faiss counts them together for all its inverted files, and all its flat PQ, of a process."""
        flat = self.params["form"] == _FLAT
        return {"codes": int(faiss.cvar.indexPQ_stats.ncode if flat else faiss.cvar.indexIVF_stats.ndis)}

    def _inverted(self) -> Any:
        return faiss.downcast_index(self._native.base_index) if self.params["form"] == _FAST else self._native

    def _matrix(self) -> FloatArray | None:
        return flat_view(faiss.downcast_index(self._native.refine_index)) if self.params["form"] == _FAST else None

    def _native_nbytes(self) -> dict[str, int]:
        inverted = self._inverted()
        parts = {"codebook": 4 * inverted.pq.centroids.size()}
        if self.params["form"] == _FLAT:
            return parts | {"codes": inverted.codes.size()}
        sizes = [inverted.invlists.list_size(number) for number in range(inverted.nlist)]
        # fast scan lays codes out in blocks of 32
        rounded = [-(-size // 32) * 32 for size in sizes] if self.params["form"] == _FAST else sizes
        parts |= {
            "codes": sum(rounded) * inverted.code_size,
            "rows": 8 * sum(sizes),
            "coarse": 4 * inverted.nlist * self._wide,
        }
        if self.params["form"] == _FAST:
            return parts | {"vectors": faiss.downcast_index(self._native.refine_index).codes.size()}
        return parts | {"tables": 4 * inverted.precomputed_table.size()}


def pieces(dim: int, params: dict[str, ParamValue]) -> int:
    """How many pieces a vector is cut into."""
    m = cast("int", params["m"])
    if m > dim:
        raise InvalidInput(
            f"faiss_pq's parameter m is {m}, expected at most the {dim} dimensions; 0 chooses a fitting one"
        )
    return m or -(-dim // (2 if params["form"] == _FAST else 4))


def bits(params: dict[str, ParamValue]) -> int:
    """Bits of a piece's code."""
    nbits = cast("int", params["nbits"])
    if params["form"] != _FAST:
        return nbits or 8
    if nbits not in {0, 4}:
        raise InvalidInput(f"faiss_pq's parameter nbits is {nbits}, expected 4 for the form {_FAST}; 0 chooses it")
    return 4


def lists(n: int, params: dict[str, ParamValue]) -> int:
    """How many lists the inverted file has for n vectors."""
    nlist = cast("int", params["nlist"])
    if nlist > n:
        raise InvalidInput(
            f"faiss_pq's parameter nlist is {nlist}, expected at most the {n} vectors; 0 chooses a fitting one"
        )
    return nlist or max(1, min(int(4 * math.sqrt(n)), n // 39))


def enough(vectors: FloatArray, needed: int) -> FloatArray:
    """The vectors, repeated where they are fewer than the centroids that k-means must find."""
    if vectors.shape[0] >= needed:
        return vectors
    return cast("FloatArray", np.resize(vectors, (needed, vectors.shape[1])))
