"""Building the graph, which comes out the same for any number of threads.

As many nodes as costs less than searching are compared all with all (`link_together`); the rest is linked in batches by
searching what is there (`link_nodes`). Phase 1 of either writes no row but the nodes' own: what was found is pruned to
their out-neighbours. Phase 2 adds the edges back, sorted by the node they leave, of which each thread takes a range.

Sources: pruning the true neighbours is NSG's way (Fu et al. 2019, "Fast Approximate Nearest Neighbor Search With The
Navigating Spreading-out Graph", PVLDB 12(5)); links into samples of several sizes are HNSW's layers in one (Malkov and
Yashunin 2020, IEEE TPAMI 42(4), arXiv 1603.09320).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from adamem.types import AnyArray
from adamem_indexes.spiral._kernels import (
    ABREAST,
    CELLS,
    COLUMNS,
    NIL,
    Columns,
    Lens,
    Rows,
    Scratch,
    Sieve,
    Spiral,
    cell_of,
    fill_columns,
    link,
    link_among,
    link_back,
    mend,
    reach,
    unanswered,
    way_to,
)
from adamem_indexes.spiral._lens import code_width
from adamem_indexes.spiral._memory import aligned

_SINGLY = 1_000
"""The first nodes are linked one by one, so that each finds those before it."""
_BATCH_SHARE = 50
"""A batch is at most the n/50th part of the graph: nodes of one batch do not see each other."""
_CROWD = 256
"""A batch whose nodes are compared with each other is at most so large: a microsecond or two a node."""
_PIECE = 16
"""Nodes that a thread takes at a time."""
_COMPARED = 16 * ABREAST
"""The same, of nodes that are compared with all others."""
_ANSWERED = 2_048
"""Nodes whose edges are answered at a time: the edges of all would take as much memory as the graph, several times."""
_TOGETHER_BYTES = 16 << 20
"""Nodes whose codes are no more are compared all with all: up to there it costs less than searching a graph. Beyond, it
gains little: of 224,000 sentences it took 1.1 to 1.4 times as long, for at most a tenth more speed at recall 0.99. More
links gained a quarter there (R = 64, ef_construction = 400)."""
_ROOM = 128
"""So many more than are wanted are gathered before the nearest of them are kept."""
SAMPLES = (256, 64, 16, 4)
"""Every node is also compared with the 256th part of all, with the 64th ..., each of which the next contains."""
_SAMPLED = 16
"""So many of the nearest in each sample come into question."""
_SAMPLE_SHARE = 12
"""Such a share of a row's places is for each sample; what pruning does not take stays free for edges back."""
_EDGES = 512
"""Fewer edges back are not worth a thread: a third of a microsecond each."""


@dataclass(frozen=True)
class Building:
    """The parameters of the graph."""

    ef_construction: int
    alpha: float
    threads: int

    @property
    def near(self) -> int:
        """How many of the nearest come into question where they are found well: by comparing all, or in a whole graph.

        More of them make more links, and nothing better. While a graph is half there, those that a search finds
        are not the nearest of all, and all of them are of use.
        """
        return max(1, self.ef_construction // 2)

    @property
    def piece(self) -> int:
        """Nodes that a thread takes at a time: all of them where it is alone."""
        return _PIECE if self.threads > 1 else 1 << 30


def new_scratch(rows: Rows, *, parts: int, width: int, most: int) -> Scratch:
    """Room for one thread's searches with at most `most` candidates; a query's code has `width` bytes."""
    capacity, degree = rows.links.shape
    # One more than the pool holds: an insertion moves its last entry there.
    room = max(most, degree) + degree + CELLS + 2
    return Scratch(
        pool=aligned((room,), np.uint64),
        visited=aligned((capacity // 64 + 1,), np.uint64),
        fresh=aligned((max(degree, CELLS) + 2,), np.uint32),
        keys=aligned((max(degree, CELLS) + 2,), np.uint64),
        projected=aligned((parts,), np.float32),
        code=aligned((width,), np.int8),
        point=aligned((rows.vectors.shape[1],), np.float32),
        centred=aligned((rows.vectors.shape[1],), np.float32),
        wide=aligned((code_width(rows.vectors.shape[1]),), np.int8),
        candidates=aligned((room,), np.uint32),
        gaps=aligned((room,), np.float32),
        chosen=aligned((degree,), np.uint32),
        near=aligned((room,), np.uint32),
        offers=aligned((degree,), np.uint32),
        chosen_codes=aligned((degree, width), np.int8),
        corrections=aligned((degree,), np.int32),
    )


def link_nodes(
    rows: Rows,
    lens: Lens,
    spiral: Spiral,
    nodes: AnyArray,
    *,
    linked: int,
    shuffled: bool,
    joins: bool,
    how: Building,
    scratches: list[Scratch],
) -> None:
    """Give `nodes` uint32 (m,), whose codes are written, their places in a graph of `linked` nodes so far.

    Unless they were `shuffled`, a batch may hold the passages of one text, say, each other's nearest: batches are small
    then, and all of a batch are compared. There are `how.threads` scratches. With `joins`, a node whose vector is there
    already joins it; that is not for nodes which others lead to.
    """
    degree = rows.links.shape[1]
    nobody = nodes[:0]

    with Team(how.threads) as together:
        done = 0
        while done < nodes.size:
            here = linked + done
            size = 1 if here < _SINGLY else max(1, here // _BATCH_SHARE)
            batch = nodes[done : done + (size if shuffled else min(size, _CROWD))]
            out = np.empty((batch.size, degree), dtype=np.uint32)
            twin_of = np.empty(batch.size, dtype=np.uint32)

            def forward(piece: slice, scratch: Scratch, batch: AnyArray = batch, out: AnyArray = out,
                        twin_of: AnyArray = twin_of) -> None:  # fmt: skip
                link(
                    rows,
                    lens,
                    spiral,
                    scratch,
                    batch[piece],
                    nobody if shuffled else batch,
                    how.ef_construction,
                    how.ef_construction if shuffled else how.near,
                    how.alpha,
                    joins,
                    twin_of[piece],
                    out[piece],
                )

            together(forward, list(pieces(batch.size, how.piece)), scratches)
            _join_twins(rows, batch, twin_of, out)
            rows.links[batch] = out
            _link_back(rows, batch, out, together, how, scratches)
            done += batch.size


def most_together(rows: Rows) -> int:
    """How many nodes `link_together` is for; 0 where vectors themselves are walked on, which are too long for it."""
    return 0 if rows.plain else _TOGETHER_BYTES // int(rows.codes.shape[1])


def link_together(
    rows: Rows,
    spiral: Spiral,
    nodes: AnyArray,
    *,
    parts: int,
    samples: tuple[int, ...],
    how: Building,
    scratches: list[Scratch],
) -> None:
    """Link `nodes` uint32 (m,), shuffled, of which no two are equal, by comparing all with all.

    The true neighbours make a better graph than those that a search finds while the graph is half there: at equal
    recall a query meets a seventh to a third fewer distances. They must be the true ones: with those that random
    partitions of the data agree on (0.88 to 0.99 of the ten nearest) the graph is slower than by searching, by two
    thirds or a third at recall 0.99. Alone they lead nowhere from a cluster that is larger than their number, hence the
    samples.
    """
    place = _places(rows, spiral, nodes, scratches[0])
    degree = rows.links.shape[1]
    places = -(-degree // _SAMPLE_SHARE)
    samples = samples[: degree // (2 * places)]  # half of the places at most
    cuts = [0, *(nodes.size // every for every in samples), nodes.size]
    stages = [_sorted_by(place, nodes[start:stop]) for start, stop in itertools.pairwise(cuts)]
    columns = _new_columns(rows, stages, parts)
    order = _sorted_by(place, nodes)
    sieves = {id(scratch): _new_sieve(rows, how.near, len(samples)) for scratch in scratches}
    with Team(how.threads) as together:

        def forward(piece: slice, scratch: Scratch) -> None:
            sieve = sieves[id(scratch)]
            link_among(rows, scratch, columns, order, sieve, piece.start, piece.stop, how.near, places, how.alpha)

        together(forward, list(pieces(order.size, _COMPARED)), scratches)
        for some in pieces(order.size, _ANSWERED):
            _link_back(rows, order[some], rows.links[order[some]], together, how, scratches)


def mend_nodes(rows: Rows, nodes: AnyArray, *, how: Building, scratches: list[Scratch]) -> None:
    """Let the live `nodes` uint32 (m,) lead to live ones only."""
    with Team(how.threads) as together:

        def work(piece: slice, scratch: Scratch) -> None:
            mend(rows, scratch, nodes[piece], how.alpha)

        together(work, list(pieces(nodes.size, how.piece)), scratches)


def connect(rows: Rows, scratch: Scratch, start: int, nodes: AnyArray, *, passed_over: AnyArray) -> None:
    """Let links lead from `start` to every one of `nodes`, none of them through the nodes `passed_over` (m,).

    Each that is not reached gets an edge from its nearest out-neighbour that is, or else from the nearest node of all
    that is: in an empty place of its row, or in place of its longest edge by which nothing was reached first. Those by
    which something was are a tree that only grows.
    """
    came_from = np.full(rows.links.shape[0], NIL, dtype=np.uint32)
    came_from[passed_over] = passed_over
    came_from[start] = start
    queue = np.empty(rows.links.shape[0], dtype=np.uint32)
    reach(rows.links, start, came_from, queue)
    closed = set(passed_over.tolist())
    for node in nodes[came_from[nodes] == NIL].tolist():
        if came_from[node] != NIL:
            continue
        near = [one for one in rows.links[node].tolist() if one != NIL and came_from[one] != NIL and one not in closed]
        if not any(_lead(rows, one, node, came_from) for one in near):
            way = int(way_to(rows, scratch, np.uint64(node), came_from))
            if way == NIL or not _lead(rows, way, node, came_from):
                continue
        reach(rows.links, node, came_from, queue)


def let_in(rows: Rows, nodes: AnyArray) -> None:
    """Let a link lead to each of `nodes` uint32 (m,), linked just now, to which none of its out-neighbours kept one.

    That happens to what lies far from all others: each of its neighbours has nearer ones enough.
    """
    lost = np.empty(nodes.size, dtype=np.uint8)
    unanswered(rows.links, nodes, lost)
    for node in nodes[lost != 0].tolist():
        near = [one for one in rows.links[node].tolist() if one != NIL]
        free = next((one for one in near if rows.links[one, -1] == NIL), None)
        if free is not None:
            rows.links[free, np.flatnonzero(rows.links[free] == NIL)[0]] = node
            continue
        for one in near:
            if _give_way(rows, one, node):
                break


def _give_way(rows: Rows, source: int, node: int) -> bool:
    """Let a link lead from `source` to `node` instead of to what another out-neighbour of `source` leads to as well."""
    row = rows.links[source]
    for place in range(row.size - 1, -1, -1):
        others = np.delete(row, place)
        if (rows.links[others] == row[place]).any():
            row[place] = node
            return True
    return False


def _lead(rows: Rows, source: int, node: int, came_from: AnyArray) -> bool:
    """Let an edge lead from `source` to `node`, if there is room; returns whether it does."""
    row = rows.links[source]
    free = np.flatnonzero(row == NIL)
    spare = free[:1] if free.size else np.flatnonzero(came_from[row] != source)[-1:]
    if spare.size:
        row[spare[0]] = node
        came_from[node] = source
    return bool(spare.size)


_Work = Callable[[slice, Scratch], None]
_Together = Callable[[_Work, list[slice], list[Scratch]], None]


class Team:
    """``with Team(threads) as together: together(work, pieces, scratches)`` runs the pieces on so many threads."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> _Together:
        return self._run

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def _run(self, work: _Work, pieces: list[slice], scratches: list[Scratch]) -> None:
        if self._executor is None or len(pieces) < 2:
            for piece in pieces:
                work(piece, scratches[0])
            return
        waiting = iter(pieces)  # next() on a list's iterator is atomic: no piece is taken twice

        def take(scratch: Scratch) -> None:
            for piece in waiting:
                work(piece, scratch)

        begun = [self._executor.submit(take, scratch) for scratch in scratches]
        try:
            for one in begun:
                one.result()
        finally:
            for _ in waiting:  # after Ctrl-C, the others find nothing left to take
                pass


def pieces(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(count, start + size))


def _link_back(
    rows: Rows, batch: AnyArray, out: AnyArray, together: _Together, how: Building, scratches: list[Scratch]
) -> None:
    """Let the edges `out` uint32 (m, R) of the batch (m,) be answered."""
    targets, sources = _edges_back(batch, out)

    def back(piece: slice, scratch: Scratch) -> None:
        link_back(rows, scratch, targets[piece], sources[piece], how.alpha)

    together(back, list(_ranges_by_target(targets, how.threads)), scratches)


def _places(rows: Rows, spiral: Spiral, nodes: AnyArray, scratch: Scratch) -> AnyArray:
    """uint32 (capacity,): for each of the nodes the rank of its cell; what is near in this order is near, as a rule."""
    cells = np.empty(nodes.size, dtype=np.uint32)
    cell_of(rows, spiral, scratch, nodes, cells)
    rank = np.zeros(rows.links.shape[0], dtype=np.uint32)
    ahead, passed = [0], 0
    while ahead:
        child = ahead.pop()
        if child <= -2:
            rank[spiral.leaves[-2 - child]] = passed
            passed += 1
        else:
            ahead += [int(one) for one in spiral.children[child][::-1] if one != -1]
    out = np.zeros(rows.links.shape[0], dtype=np.uint32)
    out[nodes] = rank[cells]
    return out


def _sorted_by(place: AnyArray, nodes: AnyArray) -> AnyArray:
    return nodes[np.argsort(place[nodes], kind="stable")]


def _new_columns(rows: Rows, stages: list[AnyArray], parts: int) -> Columns:
    """Of nodes uint32 (m,) a stage."""
    blocks = [-(-stage.size // COLUMNS) for stage in stages]
    nodes = np.full((sum(blocks), COLUMNS), NIL, dtype=np.uint32)
    ends = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int64)
    for stage, start, stop in zip(stages, ends[:-1], ends[1:], strict=True):
        nodes[start:stop].ravel()[: stage.size] = stage
    codes = aligned((nodes.shape[0], -(-parts // 4), COLUMNS, 4), np.uint8)
    scales, lifts, squares = (aligned(nodes.shape, np.float32) for _ in range(3))
    columns = Columns(nodes.ravel(), ends, codes, scales, lifts, squares)
    fill_columns(rows, columns)
    return columns


def _new_sieve(rows: Rows, most: int, samples: int) -> Sieve:
    far = (samples, ABREAST, min(_SAMPLED, most))
    room = most + most // 8 + _ROOM + COLUMNS
    return Sieve(
        codes=aligned((ABREAST, rows.codes.shape[1]), np.int8),
        corrections=aligned((ABREAST,), np.int64),
        limits=aligned((ABREAST,), np.float32),
        counts=aligned((ABREAST,), np.int64),
        products=aligned((ABREAST, COLUMNS), np.int32),
        gaps=aligned((COLUMNS,), np.float32),
        near_gaps=aligned((ABREAST, room), np.float32),
        near=aligned((ABREAST, room), np.uint32),
        far=aligned(far, np.uint32),
        far_gaps=aligned(far, np.float32),
    )


def _edges_back(batch: AnyArray, out: AnyArray) -> tuple[AnyArray, AnyArray]:
    """(targets, sources) uint32 of the edges that answer those of the batch, by target, then in the batch's order."""
    flat = out.ravel()
    there = flat != NIL
    targets, sources = flat[there], np.repeat(batch, out.shape[1])[there]
    # A number sorts five times as fast as pairs do.
    keys = np.sort((targets.astype(np.uint64) << np.uint64(32)) | np.arange(targets.size, dtype=np.uint64))
    return (keys >> np.uint64(32)).astype(np.uint32), sources[keys & np.uint64(NIL)]


def _ranges_by_target(targets: AnyArray, threads: int) -> Iterator[slice]:
    """At most 4 ranges a thread, none of which parts the edges of one target."""
    cuts = [0]
    ranges = min(4 * threads, targets.size // _EDGES) if threads > 1 else 1
    if ranges > 1:
        for place in np.linspace(0, targets.size, ranges + 1)[1:-1].astype(np.int64).tolist():
            cut = int(np.searchsorted(targets, targets[place], side="left"))
            if cut > cuts[-1]:
                cuts.append(cut)
    for start, stop in zip(cuts, [*cuts[1:], targets.size], strict=True):
        if stop > start:
            yield slice(start, stop)


def _join_twins(rows: Rows, batch: AnyArray, twin_of: AnyArray, out: AnyArray) -> None:
    """Put each node that is another's twin into that one's chain, and let the batch's links `out` lead there."""
    twins = np.flatnonzero(twin_of != NIL)
    for place in twins.tolist():
        join_twin(rows, int(twin_of[place]), int(batch[place]))
    if twins.size == 0:
        return
    instead = dict(zip(batch[twins].tolist(), twin_of[twins].tolist(), strict=True))
    for row in np.flatnonzero(np.isin(out, batch[twins]).any(axis=1)).tolist():
        leads = dict.fromkeys(instead.get(node, node) for node in out[row].tolist() if node != NIL)
        out[row] = NIL
        out[row, : len(leads)] = list(leads)


def join_twin(rows: Rows, node: int, twin: int) -> None:
    """Let `twin`, and whoever is found where it is, be found where `node` is."""
    last = twin
    while rows.twins[last] != NIL:
        last = int(rows.twins[last])
    rows.twins[last] = rows.twins[node]
    rows.twins[node] = twin
