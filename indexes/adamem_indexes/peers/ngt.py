"""ONNG by NGT (Iwasaki & Miyazaki 2018, arXiv 1810.07355): a nearest-neighbour graph with degrees adjusted."""

from __future__ import annotations

import contextlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from adamem.index import Capabilities, Param
from adamem.types import FloatArray, Metric, ParamValue
from adamem_indexes.peers._base import Asked, PeerIndex
from adamem_indexes.peers._folder import unpacked
from adamem_indexes.peers._library import library

ngtpy = library("ngtpy")


class NgtIndex(PeerIndex):
    """NGT's ONNG: the graph of incremental insertion (ANNG), its edges then redistributed and short-cuts dropped.

    * Parameters: NGT's documentation and its authors' entry in ann-benchmarks: 100 edges at creation, 10 outgoing and
      120 incoming ones kept.
    * `epsilon` widens the search beyond the k-th distance found so far.
    * A search gives rows only; their distances are computed here (its list of pairs costs more to read).
    * An index lives in a folder, here a temporary one, beside what it holds in memory.
    * The optimizer's own tuning of search parameters is off: it times itself, and equal builds would differ. Its
      report goes to standard error however it is asked: that is closed while it works.
    * **QG, NGT's quantised graph, is left out.** Python can search one and not build one. Built by the function that
      the wheel (2.8.0.post1) exports, on 4,700 SIFT vectors it found 0.04 to 0.31 of the ten nearest, and fewer the
      further it searched.
    * Products are left out: ONNG is defined for distances. Nothing is drawn: the seed has no effect.
    """

    name: ClassVar[str] = "ngt"
    summary: ClassVar[str] = "ONNG, by NGT: a nearest-neighbour graph with adjusted degrees"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=("l2", "cosine"), delete=True, filter=True, save=True, seeded=False
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param("edges", 100, "edges made for each inserted node", low=4, high=1000, sweep=(50, 100)),
        Param("outgoing", 10, "outgoing edges kept of each node", low=1, high=1000, sweep=(10, 20)),
        Param("incoming", 120, "incoming edges kept of each node", low=1, high=1000, sweep=(60, 120)),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "epsilon",
            0.1,
            "how far beyond the k-th distance the search goes on, as a share of it",
            low=-0.9,
            high=10.0,
            sweep=(-0.2, -0.1, -0.05, 0.0, 0.02, 0.05, 0.1, 0.2, 0.4),
            effort=True,
        ),
    )

    @classmethod
    def _make(
        cls,
        vectors: FloatArray,
        *,
        metric: Metric,  # noqa: ARG003 -- the vectors are of unit length under cosine
        params: dict[str, ParamValue],
        seed: int,  # noqa: ARG003 -- NGT draws nothing
        threads: int,
    ) -> Any:
        with tempfile.TemporaryDirectory(prefix="adamem-ngt-") as first:
            inserted = str(Path(first) / "anng")
            edges = cast("int", params["edges"])
            ngtpy.create(inserted, vectors.shape[1], edge_size_for_creation=edges, edge_size_for_search=0)
            index = ngtpy.Index(inserted, log_disabled=True)
            index.batch_insert(vectors, num_threads=threads)
            index.save()
            index.close()
            optimizer = ngtpy.Optimizer(
                num_of_outgoings=params["outgoing"], num_of_incomings=params["incoming"], log_disabled=True
            )
            optimizer.set_processing_modes(True, False, False, False)
            folder = tempfile.TemporaryDirectory(prefix="adamem-ngt-")
            with _without_stderr():
                optimizer.execute(inserted, str(Path(folder.name) / "onng"))
        return _Opened(folder)

    def _ask(self, queries: FloatArray, width: int, params: dict[str, ParamValue]) -> Asked:
        epsilon, search = params["epsilon"], self._native.index.search
        rows = np.full((queries.shape[0], width), -1, dtype=np.int64)
        for i, query in enumerate(queries):
            found = search(query, width, epsilon, with_distance=False)
            rows[i, : len(found)] = found
        return rows, np.empty((queries.shape[0], width), dtype=np.float32)

    def _tells_distances(self) -> bool:
        return False

    def _native_nbytes(self) -> dict[str, int]:
        # Its files hold what it holds in memory: objects, graph, and the tree that searches begin in.
        parts = {"obj": "vectors", "grp": "graph", "tre": "tree"}
        return {part: (self._native.path / file).stat().st_size for file, part in parts.items()}

    def _save_native(self, path: Path) -> None:
        with tarfile.open(path, "x") as archive:
            archive.add(self._native.path, arcname="onng")

    @classmethod
    def _load_native(
        cls,
        path: Path,
        vectors: FloatArray,  # noqa: ARG003 -- the hook's signature
        *,
        metric: Metric,  # noqa: ARG003 -- the hook's signature
        params: dict[str, ParamValue],  # noqa: ARG003 -- the hook's signature
    ) -> Any:
        folder = tempfile.TemporaryDirectory(prefix="adamem-ngt-")
        with unpacked(path) as source:
            (source / "onng").rename(Path(folder.name) / "onng")
        return _Opened(folder)


class _Opened:
    """An open index and the folder it lives in, which goes with it."""

    def __init__(self, folder: tempfile.TemporaryDirectory[str]) -> None:
        self._folder = folder
        self.path = Path(folder.name) / "onng"
        self.index = ngtpy.Index(str(self.path), read_only=True, log_disabled=True)

    def __del__(self) -> None:
        self._folder.cleanup()


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Standard error closed for the whole process: C++ writes to it past Python."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
