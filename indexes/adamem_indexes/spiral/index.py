"""SpiralGraph, our own index: a graph walked on 8-bit codes, begun where a spiral says, settled by the vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from adamem.errors import CorruptResult, InvalidInput
from adamem.index import Capabilities, IdFilter, IndexBase, Param, SearchResult, empty_result
from adamem.types import METRICS, AnyArray, FloatArray, IdArray, Metric, ParamValue
from adamem_indexes._filtered import FilterCache, Prepared
from adamem_indexes._kernels import hash_rows, least_square, normalise, warm_up
from adamem_indexes._labels import RowLabels
from adamem_indexes._store import Snapshot, save_snapshot
from adamem_indexes._threads import single_threaded_blas
from adamem_indexes.spiral import _kernels as kernels
from adamem_indexes.spiral._graph import Building, connect, join_twin, link_nodes, new_scratch
from adamem_indexes.spiral._kernels import NIL, Rows, Scratch, Spiral
from adamem_indexes.spiral._lens import Fitted, code_width, components, fit, lens_of
from adamem_indexes.spiral._memory import aligned
from adamem_indexes.spiral._tree import grow_spiral, no_spiral

_VERSION = 1
_METRIC = {"l2": kernels.L2, "cosine": kernels.COSINE, "ip": kernels.IP}
_DEAD_SHARE = 0.2
_GROWTH = 1.5
_BLOCK = 8_192
_ALL = np.empty(0, dtype=np.uint8)
_answer = tuple.__new__  # SearchResult(...) without the frame of its own __new__
# What a row scanned and a row met on the way through the graph cost, relative to each other.
_SCAN_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class _Desk:
    """What one search at a time works at."""

    handle: Any
    rows: Rows
    spiral: Spiral | None
    most: int


class SpiralGraph(IndexBase):
    """A flat graph with 8-bit codes and a recursive Fibonacci spiral for its seeds.

    * **Codes.** Of each vector, centred, the main components as bytes with a scale of their own (`_lens`): what the
      graph is built and walked on. Estimates only rank; the `rerank` best are compared by the vectors themselves.
    * **Seeds.** A tree of small Fibonacci lattices (`_tree`) leads to the rows that a search begins at.
    * **Graph.** One layer, at most `R` links a node, RobustPrune; built in batches that come out the same for any
      number of threads (`_graph`). Rows with the very same vector share one node.
    * Small collections are scanned on their codes, and so are the rows that a narrow filter admits.
    * `delete` leaves a tombstone that searches pass through; `maintain` builds anew once a fifth of the rows are dead.
    """

    name: ClassVar[str] = "spiral"
    summary: ClassVar[str] = "SpiralGraph: graph on 8-bit codes with Fibonacci-spiral seeds, in numba"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS, insert=True, delete=True, replace=True, filter=True, save=True
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param("R", 32, "links a node at most", low=4, high=512, sweep=(24, 32, 48, 64)),
        Param("ef_construction", 160, "candidates held while a node is linked", low=8, high=10_000, sweep=(100, 200)),
        Param("alpha", 1.15, "how much nearer a neighbour must be to hide another (squared)", low=1.0, high=4.0),
        Param(
            "codes",
            "auto",
            "what is walked on: bytes (sq8), the vectors themselves (fp32), or bytes where they tell near from far",
            choices=("auto", "sq8", "fp32"),
        ),
        Param("scan_below", 2_000, "smaller collections are scanned on their codes", low=0, high=1_000_000_000),
        Param(
            "code_bytes", 0, "bytes of a code, a multiple of 64; 0 chooses by the data's spectrum", low=0, high=65_600
        ),
    )
    search_params: ClassVar[tuple[Param, ...]] = (
        Param(
            "ef",
            48,
            "candidates held while searching; raised to k where it is below",
            low=1,
            high=1_000_000,
            sweep=(10, 14, 20, 28, 40, 56, 80, 120, 200, 400, 800),
            effort=True,
        ),
        Param(
            "rerank",
            0,
            "candidates compared by their vectors; 0 takes 2 k + 10 + ef / 6, or ef if that is less",
            low=0,
            high=1_000_000,
        ),
    )

    _least_square = staticmethod(least_square)

    def __init__(
        self,
        *,
        metric: Metric,
        dim: int,
        params: dict[str, Any],
        seed: int,
        threads: int,
        fitted: Fitted,
    ) -> None:
        _warm_up()
        self._code = _METRIC[metric]
        self._building = Building(params["ef_construction"], params["alpha"], threads)
        self._degree: int = params["R"]
        self._scan_below: int = params["scan_below"]
        self._seed = seed
        self._fitted = fitted
        self._lens = lens_of(fitted)
        self._parts = fitted.basis.shape[0] or dim
        self._width = code_width(self._parts)
        self._plain = params["codes"] == "fp32" or (params["codes"] == "auto" and not fitted.faithful)
        self._longest = 0.0
        self._labels = RowLabels(np.empty(0, dtype=np.int64))
        self._filters = FilterCache(self._labels)
        self._dim = dim
        self._rows = self._new_rows(0)
        self._spiral: Spiral | None = None
        self._fitted_on = 0
        self._counters = np.zeros(3, dtype=np.int64)
        self._free: list[_Desk] = []

    @classmethod
    def _build(
        cls,
        vectors: FloatArray,
        ids: IdArray,
        *,
        metric: Metric,
        params: dict[str, ParamValue],
        seed: int,
        threads: int,
    ) -> Self:
        if int(params["code_bytes"]) % kernels.LINE:
            raise InvalidInput(
                f"spiral's parameter code_bytes is {params['code_bytes']}, expected 0 or a multiple of {kernels.LINE}"
            )
        with single_threaded_blas():  # the same sums, and so the same graph, however many threads BLAS would take
            stored = _stored(vectors, metric)
            fitted = fit(stored, width=int(params["code_bytes"]), seed=seed)
            index = cls(metric=metric, dim=vectors.shape[1], params=params, seed=seed, threads=threads, fitted=fitted)
            if metric == "ip":
                index._longest = float(np.sqrt(np.einsum("ij,ij->i", stored, stored).max()))
            index._fitted_on = ids.size
            index._append(stored, ids, exact_room=True)
        return index

    def _search(
        self,
        queries: FloatArray,
        k: int,
        *,
        params: dict[str, Any],
        filter: IdFilter | None,  # noqa: A002 -- the field's own name for it
    ) -> SearchResult:
        labels = self._labels
        ef: int = params["ef"]
        ef = max(ef, k)
        rerank: int = params["rerank"] or 2 * k + 10 + ef // 6
        prepared = None if filter is None else self._filters.prepare(filter)
        among = labels.live if prepared is None else prepared.rows.size
        if among == 0:
            return empty_result(queries.shape[0], k)
        admitted = _ALL if prepared is None else prepared.admitted
        if among != labels.rows:
            # Tombstones and rows that are not admitted take places in the pool: it grows by their share.
            crowd = labels.rows / among
            ef = min(labels.rows, math.ceil(ef * crowd))
            rerank = min(labels.rows, math.ceil(rerank * crowd))
        if not queries.flags.writeable:
            queries = queries.copy()  # a read-only array is a type of its own, for which all would be compiled anew
        ids = np.empty((queries.shape[0], k), dtype=np.int64)
        distances = np.empty((queries.shape[0], k), dtype=np.float32)
        if self._spiral is None or ef * self._degree * _SCAN_SHARE > among:
            self._scan(queries, prepared, admitted, min(among, max(params["ef"], rerank, k)), ids, distances)
            return _answer(SearchResult, (ids, distances))
        desk = self._take(ef)
        enough = k if k <= among else among  # noqa: FURB136 -- a call of min costs a third of a microsecond
        short = kernels.search(queries, self._code, desk.handle, ef, rerank, enough, admitted, ids, distances)
        self._free.append(desk)
        if short:
            poor = np.flatnonzero(ids[:, enough - 1] < 0)
            found = empty_result(poor.size, k)
            self._scan(queries[poor], prepared, admitted, min(among, 4 * k), *found)
            ids[poor], distances[poor] = found
        return _answer(SearchResult, (ids, distances))

    def _scan(
        self,
        queries: FloatArray,
        prepared: Prepared | None,
        admitted: AnyArray,
        most: int,
        ids: IdArray,
        distances: FloatArray,
    ) -> None:
        """Answer from the codes of all live, admitted rows, the best `most` of which are compared by their vectors."""
        wanted = (prepared or self._filters.prepare(None)).rows
        desk = self._take(most)
        kernels.scan(queries, self._code, desk.handle, wanted, most, admitted, ids, distances)
        self._free.append(desk)

    def _contains(self, ids: IdArray) -> npt.NDArray[np.bool_]:
        return self._labels.rows_of(ids) >= 0

    def _insert(self, vectors: FloatArray, ids: IdArray) -> None:
        with single_threaded_blas():
            self._append(_stored(vectors, self.metric), ids)

    def _delete(self, ids: IdArray) -> None:
        self._labels.forget(self._labels.rows_of(ids))

    def needs_maintenance(self) -> bool:
        """Whether a fifth of the rows are tombstones, or the codes were fitted to a quarter of the rows or fewer."""
        labels = self._labels
        many_dead = labels.dead > 0 and labels.dead >= _DEAD_SHARE * labels.rows
        return many_dead or labels.live >= max(self._scan_below, 4 * self._fitted_on)

    def maintain(self) -> None:
        """Build anew over the live rows, with the parameters and threads of the build."""
        if not self.needs_maintenance() and self._labels.dead == 0:
            return
        kept = self._labels.live_rows()
        vectors, ids = self._rows.vectors[kept], self._labels.of_rows[kept]
        params = self.params
        with single_threaded_blas():
            fitted = self._fitted
            if ids.size:
                fitted = fit(vectors, width=int(params["code_bytes"]), seed=self._seed)
            fresh = type(self)(
                metric=self.metric, dim=self.dim, params=params, seed=self._seed, threads=self._building.threads,
                fitted=fitted,
            )  # fmt: skip
            fresh._longest = self._longest
            fresh._fitted_on = ids.size
            if ids.size:
                fresh._append(vectors, ids, exact_room=True)
        for name in (
            "_fitted",
            "_lens",
            "_plain",
            "_parts",
            "_width",
            "_labels",
            "_filters",
            "_rows",
            "_spiral",
            "_fitted_on",
            "_free",
        ):
            setattr(self, name, getattr(fresh, name))

    def counters(self) -> dict[str, int]:
        """Estimates on codes, hops from node to node, vectors compared; several threads at once may miscount."""
        distances, hops, settled = self._counters.tolist()
        return {"distances": distances, "hops": hops, "reranked": settled}

    def nbytes(self) -> dict[str, int]:
        """Bytes held, by part, at the present capacity."""
        rows, spiral = self._rows, self._spiral
        return {
            "vectors": rows.vectors.nbytes,
            "codes": rows.codes.nbytes,
            "graph": rows.links.nbytes + rows.twins.nbytes,
            "spiral": 0 if spiral is None else sum(part.nbytes for part in spiral) - spiral.axis_tails.nbytes,
            "ids": self._labels.nbytes(),
            "filter": self._filters.nbytes(),
        }

    def __len__(self) -> int:
        return self._labels.live

    def _append(self, stored: FloatArray, ids: IdArray, *, exact_room: bool = False) -> None:
        """Write new rows, then link them; a reader meanwhile sees a row only when it is whole."""
        first = self._labels.rows
        total = first + ids.size
        self._reserve(total, exact=exact_room)
        rows = self._rows
        for start in range(0, ids.size, _BLOCK):
            self._write(stored[start : start + _BLOCK], first + start)
        self._labels.append(ids)
        if self._labels.array is not rows.labels:
            rows = self._rows = rows._replace(labels=self._labels.array)
        nodes = np.arange(first, total, dtype=np.uint32)
        if self._spiral is None:
            if total >= self._scan_below:
                self._link_all(total)
            return
        self._link(self._spiral, self._without_twins(nodes), linked=first)

    def _link(self, spiral: Spiral, nodes: AnyArray, *, linked: int) -> None:
        scratches = [self._new_scratch(self._building.ef_construction) for _ in range(self._building.threads)]
        link_nodes(self._rows, self._lens, spiral, nodes, linked=linked, how=self._building, scratches=scratches)

    def _new_scratch(self, most: int) -> Scratch:
        return new_scratch(self._rows, parts=self._parts, width=self._width, most=most)

    def _write(self, stored: FloatArray, first: int) -> None:
        rows, centre = self._rows, self._fitted.centre
        stop = first + stored.shape[0]
        rows.vectors[first:stop] = stored
        squares = np.einsum("ij,ij->i", stored, stored, dtype=np.float64)
        if self._code == kernels.L2:
            offsets = ((stored - centre) ** 2).sum(axis=1)
        else:
            offsets = centre @ centre - stored @ centre
        lifts = np.zeros(stored.shape[0], dtype=np.float32)
        if self._code == kernels.IP:
            lifts = np.sqrt(np.maximum(self._longest**2 - squares, 0.0)).astype(np.float32)
        parts = np.empty((len(stored), 0), np.float32) if self._plain else components(stored, self._fitted)
        kernels.encode(parts, offsets.astype(np.float32), lifts, rows.codes, rows.tails, first)

    def _link_all(self, total: int) -> None:
        """Make the graph of all rows: first the spiral, then its leaves, from one root, then the rest."""
        rows = self._rows
        nodes = self._without_twins(np.arange(total, dtype=np.uint32))
        random = np.random.default_rng([self._seed, 3])
        nodes = nodes[random.permutation(nodes.size)]
        sample = nodes[: 1 << 16]
        spiral = grow_spiral(self._decoded(sample), sample, width=self._width, seed=self._seed)
        leaves = random.permutation(spiral.leaves)
        leaves = np.concatenate([spiral.root, leaves[leaves != spiral.root[0]]])
        first = no_spiral(int(spiral.root[0]), width=self._width)
        self._link(first, leaves, linked=0)
        rest = nodes[~np.isin(nodes, leaves)]
        self._link(spiral, rest, linked=leaves.size)
        connect(rows, int(spiral.root[0]), nodes)
        self._spiral = spiral

    def _decoded(self, nodes: AnyArray) -> FloatArray:
        if self._plain:
            return components(self._rows.vectors[nodes], self._fitted)
        codes = self._rows.codes[nodes, : self._parts].astype(np.float32) - np.float32(128)
        return np.asarray(codes * self._rows.tails[nodes, -kernels.TAIL_FLOATS + kernels.SCALE][:, None])

    def _without_twins(self, nodes: AnyArray) -> AnyArray:
        """The nodes whose vector none before them has; the others join the first one's chain."""
        vectors = self._rows.vectors
        hashes = np.empty(nodes.size, dtype=np.uint64)
        hash_rows(vectors[int(nodes[0]) : int(nodes[-1]) + 1], hashes)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        repeats = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
        single = np.ones(nodes.size, dtype=np.bool_)
        head = 0
        for place in repeats.tolist():
            if place - 1 not in (head, place) or ordered[head] != ordered[place]:
                head = place - 1
                while head > 0 and ordered[head - 1] == ordered[place]:
                    head -= 1
            node, twin = int(nodes[order[head]]), int(nodes[order[place]])
            if np.array_equal(vectors[node], vectors[twin]):
                join_twin(self._rows, node, twin)
                single[order[place]] = False
        return nodes[single]

    def _reserve(self, total: int, *, exact: bool = False) -> None:
        capacity = self._rows.vectors.shape[0]
        if total <= capacity:
            return
        room = total if exact else max(total, int(capacity * _GROWTH), 64)
        grown = self._new_rows(room)
        used = self._labels.rows
        for new, old in ((grown.codes, self._rows.codes), (grown.links, self._rows.links),
                         (grown.vectors, self._rows.vectors), (grown.twins, self._rows.twins)):  # fmt: skip
            new[:used] = old[:used]
        self._rows = grown._replace(labels=self._labels.array)

    def _new_rows(self, capacity: int) -> Rows:
        codes = aligned((capacity, kernels.LINE if self._plain else self._width), np.uint8)
        return Rows(
            codes=codes,
            tails=codes.view(np.float32),
            links=np.full((capacity, self._degree), NIL, dtype=np.uint32),
            vectors=aligned((capacity, self._dim), np.float32),
            labels=np.empty(0, dtype=np.int64),
            twins=np.full(capacity, NIL, dtype=np.uint32),
            plain=self._plain,
        )

    def _take(self, most: int) -> _Desk:
        """A desk for so many candidates, of which each search has one of its own; those of former rows are dropped."""
        rows, spiral = self._rows, self._spiral
        while True:
            try:
                desk = self._free.pop()
            except IndexError:
                break
            if desk.rows is rows and desk.spiral is spiral and desk.most >= most:
                return desk
        begin = no_spiral(0, width=self._width) if spiral is None else spiral
        scratch = self._new_scratch(most)
        handle = kernels.new_handle(rows, self._lens, begin, scratch, self._counters)
        return _Desk(handle, rows, spiral, most)

    def _save(self, path: Path) -> None:
        used = self._labels.rows
        rows, spiral = self._rows, self._spiral
        meta: dict[str, Any] = {
            "metric": self.metric,
            "dim": self.dim,
            "params": self.params,
            "seed": self._seed,
            "longest": self._longest,
            "fitted_on": self._fitted_on,
            "faithful": self._fitted.faithful,
            "linked": spiral is not None,
        }
        parts: dict[str, Any] = {
            "vectors": rows.vectors[:used],
            "codes": np.ascontiguousarray(rows.codes[:used]),
            "links": rows.links[:used],
            "twins": rows.twins[:used],
            "ids": self._labels.of_rows,
            "basis": self._fitted.basis,
            "centre": self._fitted.centre,
        }
        if spiral is not None:
            parts |= {
                "axes": np.ascontiguousarray(spiral.axes),
                "children": spiral.children,
                "leaves": spiral.leaves,
                "root": spiral.root,
            }
        save_snapshot(path, index=self.name, version=_VERSION, meta=meta, parts=parts)

    @classmethod
    def _load(cls, path: Path) -> Self:
        snapshot = Snapshot.read(path, index=cls.name, version=_VERSION)
        meta = snapshot.meta
        fitted = Fitted(snapshot.array("basis"), snapshot.array("centre"), meta["faithful"])
        index = cls(
            metric=meta["metric"], dim=meta["dim"], params=meta["params"], seed=meta["seed"], threads=1, fitted=fitted,
        )  # fmt: skip
        index._longest, index._fitted_on = meta["longest"], meta["fitted_on"]
        ids = snapshot.array("ids")
        index._labels = RowLabels(ids)
        index._filters = FilterCache(index._labels)
        rows = index._new_rows(ids.size)
        for name, target in (
            ("codes", rows.codes),
            ("links", rows.links),
            ("vectors", rows.vectors),
            ("twins", rows.twins),
        ):
            found = snapshot.array(name)
            if found.shape != target.shape or found.dtype != target.dtype:
                raise CorruptResult(
                    f"{path}: its {name} are {found.dtype} of shape {found.shape}, expected {target.dtype} of shape "
                    f"{target.shape}; save the index again"
                )
            target[:] = found
        for name, links in (("links", rows.links), ("twins", rows.twins)):
            if ((links != NIL) & (links >= ids.size)).any():
                raise CorruptResult(f"{path}: its {name} lead to rows that do not exist; save the index again")
        index._rows = rows._replace(labels=index._labels.array)
        if meta["linked"]:
            plain = no_spiral(0, width=index._width)
            axes = aligned(snapshot.array("axes").shape, np.uint8)
            axes[:] = snapshot.array("axes")
            index._spiral = plain._replace(
                axes=axes,
                axis_tails=axes.view(np.float32),
                children=snapshot.array("children"),
                leaves=snapshot.array("leaves"),
                root=snapshot.array("root"),
            )
        index._adopt(metric=meta["metric"], dim=meta["dim"], params=meta["params"])
        return index


def _stored(vectors: FloatArray, metric: Metric) -> FloatArray:
    """The vectors as they are kept: of length 1 under cosine."""
    if metric != "cosine":
        return vectors
    out = np.empty(vectors.shape, dtype=np.float32)
    normalise(vectors, True, out)
    return out


def _warm_up() -> None:
    """Compile the kernels (once in an installation, ten seconds), or read them from numba's cache: no query waits."""
    global _warm  # noqa: PLW0603 -- the state is the process's: compiled or not
    if _warm:
        return
    _warm = True
    warm_up()
    try:
        vectors = np.random.default_rng(0).normal(size=(300, 130)).astype(np.float32)
        ids = np.arange(300)
        index = SpiralGraph.build(
            vectors[:200], ids[:200], metric="l2", params={"scan_below": 0, "code_bytes": 64, "R": 4}
        )
        index.insert(vectors[200:], ids[200:])
        index.search(vectors[:2], 5)
        index.search(vectors[:2], 5, filter=IdFilter(ids[:20]))
    except BaseException:  # Ctrl-C while compiling: the next one tries again
        _warm = False
        raise


_warm = False
