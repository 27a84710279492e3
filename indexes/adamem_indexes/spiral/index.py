"""SpiralGraph, our own index: a graph walked on 8-bit codes, begun where a spiral says, settled by the vectors."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from adamem.errors import CorruptResult, InvalidInput
from adamem.index import Capabilities, IdFilter, IndexBase, Param, SearchResult, empty_result
from adamem.types import METRICS, AnyArray, FloatArray, IdArray, Metric, ParamValue
from adamem_indexes._filtered import Prepared
from adamem_indexes._kernels import least_square, warm_up_rows
from adamem_indexes._store import while_it_stays
from adamem_indexes._threads import single_threaded_blas
from adamem_indexes.spiral import _kernels as kernels
from adamem_indexes.spiral._body import (
    METRIC,
    Body,
    Picked,
    Plan,
    Vectors,
    coded_body,
    detach_rows,
    detached_rows,
    empty_body,
    has_uneven_lengths,
    lengthened,
    link_rows,
    reconnect,
    renewed,
    with_graph,
    with_labels,
    with_room,
    write_rows,
)
from adamem_indexes.spiral._graph import Building
from adamem_indexes.spiral._kernels import Scratch
from adamem_indexes.spiral._memory import trim
from adamem_indexes.spiral._products import warm_up as warm_up_products
from adamem_indexes.spiral._saved import Saved, load, save
from adamem_indexes.spiral._tree import no_spiral

_DEAD_SHARE = 0.2
# Of more rows, deleted in one call, each would be repaired and soon its neighbours too: they become tombstones, and
# `maintain` mends all at once.
_REPAIRED_SHARE = 0.1
# With more tombstones than that, what is mended is a poorer graph than a new one.
_MENDED_SHARE = 0.25
# After so many changed rows all links are followed, to see that they still lead everywhere: about 20 us a changed row.
_UNSURE_SHARE = 0.01
# Up to there the graph finds longer vectors nearly as well as if it were new.
_FAR_LONGER = 1.5
# And up to there others: where half had been inserted, of clusters of lognormal lengths, recall was 0.92 and not 0.99.
_SOME_NEW = 1.1
_ALL = np.empty(0, dtype=np.uint8)
_NO_ROWS = np.empty(0, dtype=np.int64)
_answer = tuple.__new__  # SearchResult(...) without the frame of its own __new__
# What a row scanned and a row met on the way through the graph cost, relative to each other. Measured on sentences and
# images: the two took the same time at 0.5 to 0.7 without a filter, at about 1.3 with one; the scan's recall is 1.
_SCAN_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class _Desk:
    """What one search at a time works at."""

    handle: Any
    body: Body
    most: int


class SpiralGraph(IndexBase):
    """A flat graph with 8-bit codes and a recursive Fibonacci spiral for its seeds.

    * **Codes.** Of each vector, centred, the main components as bytes with a scale of their own (`_lens`): what the
      graph is built and walked on. Estimates only rank; the `rerank` best are compared by the vectors themselves.
    * **Seeds.** A tree of small Fibonacci lattices (`_tree`) leads to the rows that a search begins at.
    * **Graph.** One layer, at most `R` links a node, RobustPrune; built by comparing all with all as far as that pays,
      and by searching beyond (`_graph`), the same for any number of threads. Rows with the very same vector share one
      node.
    * Small collections are scanned on their codes, and so are the rows that a narrow filter admits.
    * `delete` takes a node out of its neighbours' links and ties these to one another; `maintain` drops the dead rows,
      which is due once they are a fifth.
    * Searches may run in other threads beside any of the calls that change the index, and these wait for each other.
      An insert or a replacement that fails, or is interrupted, leaves what was there before, or is done: never a half.
      An id that is replaced is found by its old vector or by its new one, at every moment, as surely as the graph
      finds what lies there; only a search that scans, or has a filter, may miss it if it runs at the very moment of
      the exchange.
    """

    name: ClassVar[str] = "spiral"
    summary: ClassVar[str] = "SpiralGraph: graph on 8-bit codes with Fibonacci-spiral seeds, in numba"
    capabilities: ClassVar[Capabilities] = Capabilities(
        metrics=METRICS,
        insert=True,
        delete=True,
        replace=True,
        filter=True,
        save=True,
        search_beside_updates=True,
    )
    build_params: ClassVar[tuple[Param, ...]] = (
        Param("R", 48, "links a node at most", low=4, high=512, sweep=(24, 32, 48, 64)),
        Param(
            "ef_construction",
            200,
            "candidates held while a node is linked; where all are compared with all, half as many",
            low=8,
            high=10_000,
            sweep=(100, 200),
        ),
        Param("alpha", 1.15, "how much nearer a neighbour must be to hide another (squared)", low=1.0, high=4.0),
        Param(
            "codes",
            "auto",
            "what is walked on: bytes (sq8), the vectors themselves (fp32), or bytes where they tell near from far",
            choices=("auto", "sq8", "fp32"),
        ),
        Param("scan_below", 1_000, "smaller collections are scanned on their codes", low=0, high=1_000_000_000),
        Param(
            "code_bytes", 0, "bytes of a code, a multiple of 64; 0 chooses by the data's spectrum", low=0, high=65_600
        ),
        Param(
            "vectors",
            "memory",
            "where the vectors lie that settle the order: in memory, or in a temporary file that is mapped",
            choices=("memory", "file"),
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
            "candidates compared by their vectors, k at least; 0 takes 2 k + 10 + ef / 3, or all if they are fewer",
            low=0,
            high=1_000_000,
        ),
    )

    _least_square = staticmethod(least_square)

    _body: Body

    def __init__(self, body: Body) -> None:
        self._body = body
        self._code = METRIC[body.plan.metric]
        self._counters = np.zeros(4, dtype=np.int64)
        self._free: list[_Desk] = []
        self._detached = detached_rows(body).size
        self._unsure = 0
        self._changing = threading.Lock()

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
        plan = _plan(metric, params, seed=seed, threads=threads)
        _warm_up()
        with single_threaded_blas():  # the same sums, and so the same graph, however many threads BLAS would take
            return cls(_built(plan, vectors, ids))

    def _search(
        self,
        queries: FloatArray,
        k: int,
        *,
        params: dict[str, Any],
        filter: IdFilter | None,  # noqa: A002 -- the field's own name for it
    ) -> SearchResult:
        body = self._body  # once: a writer may put another in its place meanwhile
        labels = body.labels
        ef: int = params["ef"]
        ef = max(ef, k)
        rerank: int = params["rerank"]
        rerank = max(rerank, k) if rerank else 2 * k + 10 + ef // 3
        prepared = None if filter is None else body.filters.prepare(filter)
        among = labels.live if prepared is None else prepared.rows.size
        if among == 0:
            return empty_result(queries.shape[0], k)
        settled = min(among, rerank)  # of a scan, which meets none but those
        admitted = _ALL if prepared is None else prepared.admitted
        met = labels.rows - self._detached
        if among < met:
            # Tombstones and rows that are not admitted take places in the pool: it grows by their share.
            crowd = met / among
            ef = min(labels.rows, math.ceil(ef * crowd))
            rerank = min(labels.rows, math.ceil(rerank * crowd))
        if not queries.flags.writeable:
            queries = queries.copy()  # a read-only array is a type of its own, for which all would be compiled anew
        ids = np.empty((queries.shape[0], k), dtype=np.int64)
        distances = np.empty((queries.shape[0], k), dtype=np.float32)
        if body.spiral is None or ef * body.plan.degree * _SCAN_SHARE > among:
            self._scan(body, queries, prepared, admitted, settled, ids, distances)
            return _answer(SearchResult, (ids, distances))
        desk = self._take(body, ef)
        enough = k if k <= among else among  # noqa: FURB136 -- a call of min costs a third of a microsecond
        short = kernels.search(queries, self._code, desk.handle, ef, rerank, enough, admitted, ids, distances)
        self._give_back(desk)
        if short:
            poor = np.flatnonzero(ids[:, enough - 1] < 0)
            found = empty_result(poor.size, k)
            self._scan(body, queries[poor], prepared, admitted, min(among, 4 * k), *found)
            ids[poor], distances[poor] = found
        return _answer(SearchResult, (ids, distances))

    def _scan(
        self,
        body: Body,
        queries: FloatArray,
        prepared: Prepared | None,
        admitted: AnyArray,
        most: int,
        ids: IdArray,
        distances: FloatArray,
    ) -> None:
        """Answer from the codes of all live, admitted rows, the best `most` of which are compared by their vectors."""
        wanted = (prepared or body.filters.prepare(None)).rows
        if body.rows.labels is not body.labels.array:  # rows have moved since: the newer ones are not in this body
            wanted = wanted[wanted < body.rows.labels.size]
            wanted = wanted[body.rows.labels[wanted] >= 0]
        desk = self._take(body, most)
        kernels.scan(queries, self._code, desk.handle, wanted, most, admitted, ids, distances)
        self._give_back(desk)

    def _contains(self, ids: IdArray) -> npt.NDArray[np.bool_]:
        return self._body.labels.rows_of(ids) >= 0

    def _insert(self, vectors: FloatArray, ids: IdArray) -> None:
        with self._turn():
            present = ids[self._contains(ids)]  # asked once more: another thread may have been faster
            if present.size:
                raise InvalidInput(f"the id {present[0]} is already in the index; use replace, or another id")
            self._take_in(vectors, ids, instead_of=_NO_ROWS)
            self._keep_whole(ids.size)

    def _delete(self, ids: IdArray) -> None:
        with self._turn():
            self._require_present(ids)
            gone = self._body.labels.rows_of(ids)
            self._body.labels.forget(gone)
            self._detach(gone, close=lambda change: change())
            self._keep_whole(ids.size)

    def _replace(self, vectors: FloatArray, ids: IdArray) -> None:
        """The new rows are there before the old ones are taken out of the graph: what fails leaves the old ones."""
        with self._turn():
            self._require_present(ids)
            old = self._body.labels.rows_of(ids)
            self._take_in(vectors, ids, instead_of=old)
            self._detach(old, close=self._while_none_searches)  # what came instead may be found through them alone
            self._keep_whole(ids.size)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One thread's turn to change the index, whatever interrupted the one before."""
        with self._changing:
            self._adopt_body(with_labels(self._body))
            yield

    def _take_in(self, vectors: FloatArray, ids: IdArray, *, instead_of: IdArray) -> None:
        """Rows for the ids, which the rows `instead_of` bore until now: all of it, or nothing that anyone can see."""
        labels, first = self._body.labels, self._body.labels.rows
        replaces = instead_of.size > 0
        with single_threaded_blas():
            self._adopt_body(lengthened(with_room(self._body, first + ids.size), vectors))
            body = self._body
            try:
                write_rows(body, vectors, ids, coming=replaces)
                if body.spiral is not None:
                    link_rows(body, np.arange(first, first + ids.size, dtype=np.uint32))
                elif labels.live >= body.plan.scan_below and not replaces:
                    body = _built_of(body)
                if replaces:
                    target = np.arange(first, first + ids.size)
                    self._while_none_searches(lambda: labels.hand_over(ids, source=instead_of, target=target))
            except BaseException:  # Ctrl-C, no memory, no room on the disk
                labels.take_back(first, instead_of=instead_of, ids=ids[: instead_of.size])
                raise
            self._adopt_body(body)

    def _while_none_searches(self, change: Callable[[], None]) -> None:
        """Let searches that are walking the graph at this moment begin their query anew, after the change."""
        self._counters[kernels.HANDOVERS] += 1
        try:
            change()
        finally:
            self._counters[kernels.HANDOVERS] += 1

    def _detach(self, gone: IdArray, *, close: Callable[[Callable[[], None]], None]) -> None:
        """Take rows whose ids were deleted just now out of the graph, unless they are so many that `maintain` will.

        Searches are begun anew or not, as `close` says: who only deletes, one by one, would hold up long ones.
        """
        body = self._body
        if body.spiral is None or gone.size > _REPAIRED_SHARE * body.labels.rows:
            return
        try:
            self._detached += detach_rows(body, gone, close)
        except BaseException:  # what was asked for is done all the same; the count must be right
            self._detached = detached_rows(body).size
            raise

    def _keep_whole(self, changed: int) -> None:
        """After so many more rows have changed: see now and then that links still lead to every row."""
        self._unsure += changed
        if self._body.spiral is not None and self._unsure > _UNSURE_SHARE * self._body.labels.rows:
            reconnect(self._body)
            self._unsure = 0

    def _adopt_body(self, body: Body) -> None:
        """What was made for searches in the former body goes with it."""
        if body is not self._body:
            self._body = body
            self._free.clear()

    def needs_maintenance(self) -> bool:
        """Whether a fifth of the rows are dead, or the codes were fitted to half of the live ones or fewer.

        Or, under the inner product, whether far longer vectors than all before have come, or a tenth more, unless all
        are about equally long: the longest answer most queries, and it is when a graph is built that every row is
        linked to the longest from all over the data.
        """
        labels = self._body.labels
        dead = labels.dead > 0 and labels.dead >= _DEAD_SHARE * labels.rows
        return dead or self._has_outgrown() or self._has_other_longest()

    def maintain(self) -> None:
        """Drop the dead rows, mending what led to them, and code the others anew; searches go on meanwhile.

        The graph is kept, unless so many were deleted at once that a new one is better.
        """
        with self._turn():
            self._maintain()

    def _maintain(self) -> None:
        body = self._body
        if not self.needs_maintenance() and body.labels.dead == 0:
            return
        labels = body.labels
        in_the_way = labels.dead - self._detached
        with single_threaded_blas():
            if labels.live == 0:
                self._adopt_body(empty_body(body.plan, body.fitted, fitted_on=body.fitted_on, longest=body.longest))
            elif body.spiral is None or in_the_way > _MENDED_SHARE * labels.rows or self._has_other_longest():
                self._adopt_body(_built_of(body))
            else:
                self._adopt_body(renewed(body))
        self._detached = self._unsure = 0

    def _has_outgrown(self) -> bool:
        body, labels = self._body, self._body.labels
        if labels.live < max(1, body.plan.scan_below):
            return False
        return labels.live >= 2 * self._there_at_first()

    def _has_other_longest(self) -> bool:
        body = self._body
        if body.spiral is None or not has_uneven_lengths(body):
            return False
        is_far_longer = body.lifted > _FAR_LONGER * body.longest
        return is_far_longer or body.labels.live >= _SOME_NEW * self._there_at_first()

    def _there_at_first(self) -> int:
        """How many of the rows that the codes were fitted to are alive."""
        return int(np.count_nonzero(self._body.labels.of_rows[: self._body.fitted_on] >= 0))

    def counters(self) -> dict[str, int]:
        """Estimates on codes and the seeds' products, hops, vectors compared; several threads at once may miscount."""
        distances, hops, settled, _ = self._counters.tolist()
        return {"distances": distances, "hops": hops, "reranked": settled}

    def nbytes(self) -> dict[str, int]:
        """Bytes held, by part, at the present capacity; what is mapped counts, though the system may drop its pages."""
        body = self._body
        rows, spiral = body.rows, body.spiral
        return {
            "vectors": rows.vectors.nbytes,
            "codes": rows.codes.nbytes,
            "graph": rows.links.nbytes + rows.twins.nbytes,
            "lens": body.fitted.basis.nbytes + body.lens.basis.nbytes,
            "spiral": 0 if spiral is None else sum(part.nbytes for part in spiral) - spiral.axis_tails.nbytes,
            "ids": body.labels.nbytes(),
            "filter": body.filters.nbytes(),
        }

    def __len__(self) -> int:
        return self._body.labels.live

    def _take(self, body: Body, most: int) -> _Desk:
        """A desk for so many candidates, of which each search has one of its own; those of former bodies go."""
        while True:
            try:
                desk = self._free.pop()
            except IndexError:
                break
            if desk.body is body and desk.most >= most:
                return desk
        spiral = no_spiral(0, width=body.width) if body.spiral is None else body.spiral
        handle = kernels.new_handle(body.rows, body.lens, spiral, self._new_scratch(body, most), self._counters)
        return _Desk(handle, body, most)

    def _give_back(self, desk: _Desk) -> None:
        if desk.body is self._body:  # a former body's would keep all its rows in memory
            self._free.append(desk)

    def _new_scratch(self, body: Body, most: int) -> Scratch:
        return body.new_scratch(most)

    def _save(self, path: Path) -> None:
        with self._turn():  # or links and ids would be of different moments
            body = self._body
            save(body, path, index=self.name, metric=self.metric, dim=self.dim, params=self.params, seed=body.plan.seed)

    @classmethod
    def load(cls, path: Path, *, mmap: bool = False) -> Self:
        """Read what `save` wrote; with `mmap`, keep the large arrays in their files and map them.

        A map costs no memory of the process's own: pages are read when a search looks at them, shared with other
        processes that map the same folder, and the system's to take back. Checksums and links are checked either way,
        for which every file is read once (about 2 s a GB): kernels do not look where a link leads. What changes
        later stays in memory; the files stay as they are, and the folder may be deleted or saved over meanwhile.

        Raises
        ------
        StorageError
            if the folder or a file cannot be read.
        CorruptResult
            if a file was altered, or the parts do not fit together.
        """
        folder = Path(path)
        return while_it_stays(folder, lambda: cls._read(folder, mapped=mmap))

    @classmethod
    def _load(cls, path: Path) -> Self:
        return cls.load(path)

    @classmethod
    def _read(cls, path: Path, *, mapped: bool) -> Self:
        _warm_up()
        saved = Saved.read(path, index=cls.name, known=cls.build_params)
        try:
            plan = _plan(saved.metric, saved.params, seed=saved.seed, threads=1)
        except InvalidInput as error:
            raise CorruptResult(f"{path}: {error}; save the index again") from error
        index = cls(load(saved, plan, mapped=mapped))
        index._adopt(metric=saved.metric, dim=saved.dim, params=saved.params)
        return index


def _plan(metric: Metric, params: dict[str, Any], *, seed: int, threads: int) -> Plan:
    if params["code_bytes"] % kernels.LINE:
        raise InvalidInput(
            f"spiral's parameter code_bytes is {params['code_bytes']}, expected 0 or a multiple of {kernels.LINE}"
        )
    return Plan(
        metric=metric,
        degree=params["R"],
        scan_below=params["scan_below"],
        codes=params["codes"],
        code_bytes=params["code_bytes"],
        in_file=params["vectors"] == "file",
        seed=seed,
        building=Building(params["ef_construction"], params["alpha"], threads),
    )


def _built(plan: Plan, vectors: Vectors, ids: IdArray, *, stored: bool = False) -> Body:
    """Codes fitted to the vectors, rows, and a graph where they are many."""
    body = coded_body(plan, vectors, ids, stored=stored)
    if ids.size >= plan.scan_below:
        body = with_graph(body)
    trim()
    return body


def _built_of(body: Body) -> Body:
    """Built anew over the live rows."""
    kept = body.labels.live_rows()
    return _built(body.plan, Picked(body.rows.vectors, kept), body.labels.of_rows[kept], stored=True)


def _warm_up() -> None:
    """Compile the kernels (once in an installation, a quarter of a minute), or read numba's cache: no query waits."""
    global _warming  # noqa: PLW0603 -- the state is the process's: compiled or not
    if _warm.is_set():
        return
    with _warming_turn:
        if _warm.is_set() or _warming:  # the index that is built for it comes here as well
            return
        _warming = True
        try:
            warm_up_rows()
            warm_up_products()
            vectors = np.random.default_rng(0).normal(size=(300, 130)).astype(np.float32)
            ids = np.arange(300)
            index = SpiralGraph.build(
                vectors[:200], ids[:200], metric="l2", params={"scan_below": 0, "code_bytes": 64, "R": 4}
            )
            index.insert(vectors[200:], ids[200:])
            index.search(vectors[:2], 5)
            index.delete(ids[:10])
            index.delete(ids[10:50])  # too many to be repaired at once
            index.maintain()
            SpiralGraph.build(vectors[:20], ids[:20], metric="l2").search(vectors[:2], 5)  # a scan
            _warm.set()
        finally:  # after Ctrl-C while compiling, the next one tries again
            _warming = False


_warm = threading.Event()
_warming = False
_warming_turn = threading.RLock()
