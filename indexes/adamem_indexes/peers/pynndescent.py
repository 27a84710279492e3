"""NN-descent by PyNNDescent (Dong et al. 2011, WWW; McInnes), a nearest-neighbour graph in numba."""

from __future__ import annotations

import threading
import warnings
from typing import Any, ClassVar

import numpy as np

from adamem.index import Capabilities, Param
from adamem.types import FloatArray, Metric, ParamValue
from adamem_indexes._labels import RowLabels
from adamem_indexes.peers._base import Asked, PeerIndex
from adamem_indexes.peers._library import library, require

require("pynndescent")  # not imported yet: that alone takes seconds

_LEAST_HELD = 10


class PynndescentIndex(PeerIndex):
    """PyNNDescent's search graph, built by NN-descent, pruned and diversified.

    * Parameters: the documentation of ``NNDescent`` and "PyNNDescent for fast Approximate Nearest Neighbors".
    * It compiles itself in every process, for half a minute and more; the first build of a process pays for that.
    * `epsilon` widens the search beyond the k-th distance found so far.
    * A search holds as many candidates as it is asked for, here ten or more: with one it finds little.
    * Its searches share one workspace, and draw from one random state: they take turns here, each from the state after
      the build, so that equal questions get equal answers.
    * No saving: it is saved by pickle only, and reading a pickle runs what stands in it. No inserting: ``update``
      builds most of it anew. Products are left out: its ``dot`` is the cosine.
    """

    name: ClassVar[str] = "pynndescent"
    summary: ClassVar[str] = "NN-descent graph, by PyNNDescent, in numba"
    capabilities: ClassVar[Capabilities] = Capabilities(metrics=("l2", "cosine"), delete=True, filter=True)
    build_params: ClassVar[tuple[Param, ...]] = (
        Param("n_neighbors", 30, "neighbours of each node in the graph built", low=4, high=500, sweep=(15, 30, 60)),
        Param(
            "pruning_degree_multiplier",
            1.5,
            "links of a node at most, as a multiple of n_neighbors",
            low=0.5,
            high=10.0,
            sweep=(1.5, 3.0),
        ),
        Param(
            "search_tree_leaf_budget",
            4,
            "leaves of its tree that a search begins in; 1, its own default, misses clusters that lie apart",
            low=1,
            high=1000,
            sweep=(1, 4),
        ),
        Param("diversify_prob", 1.0, "share of the superfluous links that are removed", low=0.0, high=1.0),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "epsilon",
            0.2,
            "how far beyond the k-th distance the search goes on, as a share of it",
            low=0.0,
            high=10.0,
            sweep=(0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6),
            effort=True,
        ),
    )

    _least_rows: ClassVar[int] = 256  # fewer are scanned: it warns that it cannot find neighbours enough
    _turn: threading.Lock
    _drawn: Any

    @classmethod
    def _make(
        cls,
        vectors: FloatArray,
        *,
        metric: Metric,  # noqa: ARG003 -- the vectors are of unit length under cosine
        params: dict[str, ParamValue],
        seed: int,
        threads: int,
    ) -> Any:
        pynndescent = library("pynndescent")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where vectors repeat, that it found fewer neighbours than asked for
            native = pynndescent.NNDescent(
                vectors,
                metric="euclidean",
                n_neighbors=params["n_neighbors"],
                pruning_degree_multiplier=params["pruning_degree_multiplier"],
                diversify_prob=params["diversify_prob"],
                random_state=seed % 2**31,
                search_tree_leaf_budget=params["search_tree_leaf_budget"],
                n_jobs=threads,
                compressed=True,
            )
            native.prepare()
        native.query(vectors[:1], 1)
        return native

    def _ask(self, queries: FloatArray, width: int, params: dict[str, ParamValue]) -> Asked:
        if not queries.flags.writeable:  # a type of its own, for which all would be compiled anew
            queries = queries.copy()
        held = width if width >= _LEAST_HELD else min(_LEAST_HELD, self._labels.rows)
        epsilon, native = params["epsilon"], self._native
        rows = np.empty((queries.shape[0], width), dtype=np.int64)
        distances = np.empty((queries.shape[0], width), dtype=np.float32)
        with self._turn:
            for i in range(queries.shape[0]):  # one by one: each from the same random state
                native.search_rng_state[:] = self._drawn
                found, lengths = native.query(queries[i : i + 1], held, epsilon)
                rows[i], distances[i] = found[0, :width], lengths[0, :width]
        return rows, np.square(distances, out=distances)

    def _native_nbytes(self) -> dict[str, int]:
        graph = self._native._search_graph
        links = graph.data.nbytes + graph.indices.nbytes + graph.indptr.nbytes
        trees = sum(np.asarray(part).nbytes for tree in self._native._search_forest for part in tree)
        return {"vectors": self._native._raw_data.nbytes, "graph": links, "tree": trees}

    def _use(self, native: Any, labels: RowLabels) -> None:
        super()._use(native, labels)
        self._turn = threading.Lock()
        self._drawn = None if native is None else native.search_rng_state.copy()
