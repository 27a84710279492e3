"""HNSW by Chroma (https://www.trychroma.com): a collection held in memory, asked in the process."""

from __future__ import annotations

import os
import weakref
from typing import Any, ClassVar, cast

import numpy as np

from adamem.index import Capabilities, Param
from adamem.types import METRICS, FloatArray, Metric, ParamValue
from adamem_indexes.peers._base import Asked, PeerIndex
from adamem_indexes.peers._library import library

_api, _collection, _config = (
    library(f"chromadb.{part}", extra="chroma") for part in ("api", "api.models.Collection", "config")
)

_SPACE = {"l2": "l2", "cosine": "l2", "ip": "ip"}
_RECORD_BYTES = 560
"""What a row takes besides its place in the graph (its records in SQLite, its id both ways), measured: memory grew so
much more than the layout from 16,000 rows to 64,000, at 4 dimensions as at 256."""


class ChromaIndex(PeerIndex):
    """Chroma's hnswlib, through a collection as a program of its own would have it, without a server.

    * Parameters: Chroma's documentation of a collection's ``hnsw`` configuration, where ``M`` is ``max_neighbors``; the
      defaults are its own (16, 100, 100).
    * A collection has its ``ef_search`` from its making: a build parameter here. Chroma 1.5 takes no effort with a
      query, and ``Collection.modify`` with another ``ef_search`` is recorded, but never reaches an index in memory:
      measured on 10,000 sentence embeddings, recall@10 stayed at 0.966 when 10 became 200, built with which all are
      found.
    * So ``ef`` asks for that many results, of which the nearest k are kept: hnswlib holds as many candidates as it is
      asked for, where those are more than ``ef_search``. It is the same effort: on 30,000 sentence embeddings recall@10
      was 0.893, 0.979, 0.989 and 0.996 asking one collection for 10, 40, 64 and 200, and 0.894, 0.977, 0.985 and 0.996
      of collections built with those. But each further result is handed over as a string, for some 2 µs: to compare
      speeds at some effort, build with it.
    * Each index is a Chroma of its own (a runtime with its threads, SQLite in memory), gone with the index: an
      ``EphemeralClient`` would share one, settings included, with all others of the process. Nothing is sent anywhere.
    * Chroma holds no more than the rows' vectors and their numbers, as strings; deletes and filters are the adapter's.
    * Under cosine its ``l2`` is given vectors of unit length.
    * No saving: what is in memory has no way to the disk.
    * The order in which a batch's rows are linked is that of a hash table with random keys: no two builds are alike,
      and the seed has no effect.
    * All builds of a process share one pool of threads: as many as the first of them was given, or as
      ``RAYON_NUM_THREADS`` says.
    """

    name: ClassVar[str] = "chroma"
    summary: ClassVar[str] = "hierarchical navigable small world graph, by Chroma: a collection held in memory"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS, insert=True, delete=True, replace=True, filter=True, deterministic=False, seeded=False
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "M",
            16,
            "links a node and layer (twice that in the lowest); Chroma's max_neighbors",
            low=2,
            high=512,
            sweep=(8, 16, 32),
        ),
        Param("ef_construction", 100, "candidates held while a node is linked", low=8, high=10_000, sweep=(100, 200)),
        Param(
            "ef_search",
            100,
            "candidates held by every search of this collection, at least",
            low=1,
            high=1_000_000,
            sweep=(10, 40, 100),
        ),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "ef",
            10,
            "results asked for, of which k are kept; raises the effort where it is above ef_search",
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
        seed: int,  # noqa: ARG003 -- Chroma takes none
        threads: int,
    ) -> Any:
        _start_pool(threads)
        native = _Rows(
            {
                "space": _SPACE[metric],
                "max_neighbors": params["M"],
                "ef_construction": params["ef_construction"],
                "ef_search": params["ef_search"],
            }
        )
        native.put(vectors, 0)
        return native

    def _add(self, vectors: FloatArray, first: int) -> None:
        self._native.put(vectors, first)

    def _ask(self, queries: FloatArray, width: int, params: dict[str, ParamValue]) -> Asked:
        asked_for = min(max(cast("int", params["ef"]), width), self._labels.rows)
        answer = self._native.query(query_embeddings=queries, n_results=asked_for, include=["distances"])
        rows = np.full((queries.shape[0], width), -1, dtype=np.int64)
        distances = np.full((queries.shape[0], width), np.inf, dtype=np.float32)
        for i, (found, measured) in enumerate(zip(answer["ids"], answer["distances"], strict=True)):
            count = min(width, len(found))  # fewer are found where the graph falls apart
            rows[i, :count] = [int(row) for row in found[:count]]
            distances[i, :count] = measured[:count]
        return rows, distances

    def _held(self, params: dict[str, ParamValue]) -> int:
        return max(cast("int", params["ef"]), cast("int", self.params["ef_search"]))

    def _tells_distances(self) -> bool:
        return not self._ip  # 1 - q.x, in which small products drown

    def _native_nbytes(self) -> dict[str, int]:
        # By hnswlib's layout, for the rows in use, and by what was measured: Chroma tells none.
        rows, links = self._labels.rows, cast("int", self.params["M"])
        lowest = rows * (4 * 2 * links + 4 + 8)
        return {
            "vectors": rows * self.dim * 4,
            "graph": lowest + rows * 4 * (links + 1) // (links - 1),
            "records": rows * _RECORD_BYTES,
        }


class _Rows:
    """A collection whose ids are the rows' numbers, in a Chroma of its own; stopped with it."""

    def __init__(self, hnsw: dict[str, Any]) -> None:
        # All that could lead elsewhere is said, so that neither environment variables nor a file .env say otherwise.
        settings = _config.Settings(
            _env_file=None,
            is_persistent=False,
            anonymized_telemetry=False,
            chroma_otel_collection_endpoint="",
            chroma_api_impl="chromadb.api.rust.RustBindingsAPI",
        )
        system = _config.System(settings)
        self._server = system.instance(_api.ServerAPI)
        system.start()
        # At the end of the process all of it goes anyway; waiting for its threads then would only take time.
        weakref.finalize(self, system.stop).atexit = False
        model = self._server.create_collection("rows", configuration={"hnsw": hnsw})
        collection = _collection.Collection(client=self._server, model=model, embedding_function=None)
        self._put, self.query = collection.upsert, collection.query

    def put(self, vectors: FloatArray, first: int) -> None:
        """Give the rows `first` and on the vectors (m, d), in batches as large as Chroma takes.

        Put and not added: `add` passes over the ids it has, and after a call that was broken off would keep the old.
        """
        step = self._server.get_max_batch_size()
        for start in range(0, vectors.shape[0], step):
            piece = vectors[start : start + step]
            numbers = range(first + start, first + start + piece.shape[0])
            self._put(ids=[str(number) for number in numbers], embeddings=piece)


_POOL = "RAYON_NUM_THREADS"
_started = False


def _start_pool(threads: int) -> None:
    """Have so many threads link rows from now on; only the first call of a process has an effect.

    Chroma takes no number of threads; its pool asks the environment when it is first used. A few rows use it here, so
    that the variable stands for milliseconds: libraries with pools of their own (tokenizers) would follow it too.
    """
    global _started  # noqa: PLW0603 -- the state is the process's: one pool, made once
    if _started or _POOL in os.environ:
        return
    _started = True
    os.environ[_POOL] = str(threads)
    try:
        _Rows({"space": "l2"}).put(np.eye(2, dtype=np.float32), 0)
    finally:
        os.environ.pop(_POOL, None)
