"""ONNG by NGT (Iwasaki & Miyazaki 2018, arXiv 1810.07355): a nearest-neighbour graph with degrees adjusted."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from adamem.errors import TrialFailed
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
    * **Its short-cuts are dropped for certain.** Left to itself the wheel (2.8.0.post1) drops them by chance, in most
      processes none at all: see `_optimizer`.
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
            optimizer = _optimizer()
            optimizer.set(num_of_outgoings=params["outgoing"], num_of_incomings=params["incoming"])
            folder = _folder()
            try:
                with _without_stderr():
                    optimizer.execute(inserted, str(folder / "onng"))
                return _Opened(folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise

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
        folder = _folder()
        try:
            with unpacked(path) as source:
                (source / "onng").rename(folder / "onng")
            return _Opened(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


class _Opened:
    """An open index and the folder it lives in, which goes with it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "onng"
        self.index = ngtpy.Index(str(self.path), read_only=True, log_disabled=True)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="adamem-ngt-"))


@cache
def _optimizer() -> Any:
    """The process's optimizer, one that is seen to drop short-cuts (the paper's path adjustment, section 4.2).

    In ngt 2.8.0.post1 how far round a path may be that replaces an edge is read from a member that its constructor
    never sets. Where memory held a zero no edge is ever dropped, which leaves three times as many; where it held a
    number from 2 on all are, as published. So bytes of such numbers are left where the next object is made, and the
    object is tried on a triangle whose longest side has a way round 1.98 times as long.
    """
    corners = np.array([[0.0, 0.0], [0.505, 0.86312], [1.01, 0.0]], dtype=np.float32)
    tried = []  # kept until one is sound: another is made elsewhere only while these hold their places
    with tempfile.TemporaryDirectory(prefix="adamem-ngt-") as folder, _without_stderr():
        triangle, out = str(Path(folder) / "triangle"), Path(folder) / "out"
        ngtpy.create(triangle, 2, edge_size_for_creation=10, edge_size_for_search=0)
        index = ngtpy.Index(triangle, log_disabled=True)
        index.batch_insert(corners, num_threads=1)
        index.save()
        index.close()
        for _ in range(50):
            _leave_large_numbers()
            optimizer = ngtpy.Optimizer(num_of_outgoings=10, num_of_incomings=120, log_disabled=True)
            tried.append(optimizer)
            sizes = []
            for drop in (False, True):
                optimizer.set_processing_modes(drop, False, False, False)
                optimizer.execute(triangle, str(out))
                sizes.append((out / "grp").stat().st_size)
                shutil.rmtree(out)
            if sizes[1] < sizes[0]:
                return optimizer
    raise TrialFailed(
        "ngt's optimizer drops no short-cuts in this process, in 50 trials, so that what it builds is not ONNG; "
        "leave the contestant out, or try another release of ngt"
    )


def _leave_large_numbers() -> None:
    """Free memory of many sizes that the next objects are made in, full of bytes that read as 12.08 in float32."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    places = []
    for size in range(24, 1032, 16):
        for _ in range(7):  # as many as glibc keeps of a size for a thread
            place = libc.malloc(size)
            if place:
                ctypes.memset(place, 0x41, size)
                places.append(place)
    for place in places:
        libc.free(place)


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
