"""Building the graph: batches of nodes are linked side by side, and the result is the same for any number of threads.

Phase 1 of a batch only reads the graph: each new node searches it, and prunes what it finds to its out-neighbours.
Phase 2 writes: the edges back, sorted by the node they leave, of which each thread takes a range of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from adamem.types import AnyArray
from adamem_indexes.spiral._kernels import CELLS, NIL, Lens, Rows, Scratch, Spiral, link, link_back, mend, reach
from adamem_indexes.spiral._lens import code_width
from adamem_indexes.spiral._memory import aligned

_SINGLY = 1_000
"""The first nodes are linked one by one, so that each finds those before it."""
_BATCH_SHARE = 50
"""A batch is at most the n/50th part of the graph: nodes of one batch do not see each other."""
_COUNTED = 16_384
"""Nodes whose links are counted at a time."""
_CROWD = 256
"""A batch whose nodes are compared with each other is at most so large: a microsecond or two a node."""
_PIECE = 16
"""Nodes that a thread takes at a time."""
_EDGES = 512
"""Fewer edges back are not worth a thread: a third of a microsecond each."""


@dataclass(frozen=True)
class Building:
    """The parameters of the graph."""

    ef_construction: int
    alpha: float
    threads: int


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

    with _Team(how.threads) as together:
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
                    how.alpha,
                    joins,
                    twin_of[piece],
                    out[piece],
                )

            together(forward, list(_pieces(batch.size, how.threads)), scratches)
            _join_twins(rows, batch, twin_of, out)
            rows.links[batch] = out
            targets, sources = _edges_back(batch, out)
            ranges = list(_ranges_by_target(targets, how.threads))

            def back(piece: slice, scratch: Scratch, targets: AnyArray = targets, sources: AnyArray = sources) -> None:
                link_back(rows, scratch, targets[piece], sources[piece], how.alpha)

            together(back, ranges, scratches)
            done += batch.size


def mend_nodes(rows: Rows, nodes: AnyArray, *, how: Building, scratches: list[Scratch]) -> None:
    """Let the live `nodes` uint32 (m,) lead to live ones only."""
    with _Team(how.threads) as together:

        def work(piece: slice, scratch: Scratch) -> None:
            mend(rows, scratch, nodes[piece], how.alpha)

        together(work, list(_pieces(nodes.size, how.threads)), scratches)


def connect(rows: Rows, start: int, nodes: AnyArray) -> None:
    """Let links lead from `start` to every one of `nodes`.

    Each one that is not reached gets an edge from its nearest out-neighbour that is, in an empty place of its row or in
    place of its longest edge that leads to a node with another way in.
    """
    reached = np.zeros(rows.links.shape[0], dtype=np.uint8)
    queue = np.empty(rows.links.shape[0], dtype=np.uint32)
    reach(rows.links, start, reached, queue)
    lost = nodes[reached[nodes] == 0]
    if lost.size == 0:
        return
    ways_in = np.zeros(rows.links.shape[0], dtype=np.int64)
    for some in range(0, nodes.size, _COUNTED):
        links = rows.links[nodes[some : some + _COUNTED]]
        np.add.at(ways_in, links[links != NIL], 1)
    for _ in range(lost.size + 1):
        for node in lost.tolist():
            if reached[node]:
                continue
            for neighbour in rows.links[node].tolist():
                if neighbour == NIL or not reached[neighbour]:
                    continue
                row = rows.links[neighbour]
                free = np.flatnonzero(row == NIL)
                spare = [j for j in range(row.size - 1, -1, -1) if row[j] != NIL and ways_in[row[j]] > 1]
                if free.size:
                    row[free[0]] = node
                elif spare:
                    ways_in[row[spare[0]]] -= 1
                    row[spare[0]] = node
                else:
                    continue
                ways_in[node] += 1
                break
        # An edge that was replaced may have been the only way to somewhere: look anew.
        before = int(reached[nodes].sum())
        reached[:] = 0
        reach(rows.links, start, reached, queue)
        lost = nodes[reached[nodes] == 0]
        if lost.size == 0 or int(reached[nodes].sum()) <= before:
            break


_Work = Callable[[slice, Scratch], None]


class _Team:
    """``with _Team(threads) as together: together(work, pieces, scratches)`` runs the pieces on so many threads."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> Callable[[_Work, list[slice], list[Scratch]], None]:
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

        for one in [self._executor.submit(take, scratch) for scratch in scratches]:
            one.result()


def _pieces(count: int, threads: int) -> Iterator[slice]:
    size = count if threads == 1 else _PIECE
    for start in range(0, count, max(1, size)):
        yield slice(start, min(count, start + size))


def _edges_back(batch: AnyArray, out: AnyArray) -> tuple[AnyArray, AnyArray]:
    """(targets, sources) uint32 of the edges that answer those of the batch, by target, then in the batch's order."""
    flat = out.ravel()
    there = flat != NIL
    targets, sources = flat[there], np.repeat(batch, out.shape[1])[there]
    order = np.argsort(targets, kind="stable")
    return targets[order], sources[order]


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
