"""The order of rows in memory: what neighbours in the graph cost where they lie apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from adamem.types import AnyArray, FloatArray
from adamem_indexes._filtered import FilterCache
from adamem_indexes._labels import RowLabels
from adamem_indexes.spiral._body import Body, Decoded
from adamem_indexes.spiral._kernels import NIL, OFFSET, TAIL_FLOATS, Spiral
from adamem_indexes.spiral._memory import aligned

ORDERS = ("insertion", "random", "rcm", "spiral")


def order_of(body: Body, kind: str) -> AnyArray:
    """int64 (n,): the rows in the order of that kind, one of `ORDERS`."""
    n = body.labels.rows
    if kind == "random":
        return np.random.default_rng([body.plan.seed, 5]).permutation(n)
    if kind == "rcm":
        links = body.rows.links[:n]
        there = links != NIL
        starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        graph = csr_array((np.ones(starts[-1], dtype=np.int8), links[there].astype(np.int32), starts), shape=(n, n))
        return np.asarray(reverse_cuthill_mckee(graph.astype(np.float64).tocsr()), dtype=np.int64)
    if kind == "spiral":
        assert body.spiral is not None
        return _leaf_order(body.spiral, Decoded(body, np.arange(n, dtype=np.uint32))[:])
    return np.arange(n)


def reordered(body: Body, order: AnyArray) -> Body:
    """The same graph with row `order[i]` in place i."""
    n = body.labels.rows
    place = np.empty(n, dtype=np.uint32)
    place[order] = np.arange(n, dtype=np.uint32)

    def led(rows: AnyArray) -> AnyArray:
        return np.where(rows == NIL, NIL, place[np.minimum(rows, n - 1)])

    old = body.rows
    codes, vectors = aligned((n, old.codes.shape[1]), np.uint8), aligned((n, body.dim), np.float32)
    codes[:], vectors[:] = old.codes[order], old.vectors[order]
    labels = RowLabels(body.labels.of_rows[order])
    rows = old._replace(
        codes=codes,
        tails=codes.view(np.float32),
        vectors=vectors,
        links=led(old.links[order]),
        twins=led(old.twins[order]),
        labels=labels.array,
    )
    assert body.spiral is not None
    spiral = body.spiral._replace(leaves=led(body.spiral.leaves), root=led(body.spiral.root))
    return replace(body, rows=rows, spiral=spiral, labels=labels, filters=FilterCache(labels))


def _leaf_order(spiral: Spiral, components: FloatArray) -> AnyArray:
    """The rows of `components` (n, parts) as the leaves of the tree follow each other."""
    parts = components.shape[1]
    axes = (spiral.axes[:, :parts].astype(np.float32) - 128) * spiral.axis_tails[:, -TAIL_FLOATS][:, None]
    centres = spiral.axis_tails[:, -TAIL_FLOATS + OFFSET]
    found: list[AnyArray] = []
    waiting = [(0, np.arange(len(components)))]
    while waiting:
        node, members = waiting.pop()
        three = slice(3 * node, 3 * node + 3)
        scores = (components[members] @ axes[three].T - centres[three]) @ spiral.lattice.T
        children = spiral.children[node]
        scores[:, children == -1] = -np.inf
        cells = scores.argmax(axis=1)
        following = []
        leaves = []
        for cell in np.flatnonzero(children != -1):
            inside = members[cells == cell]
            if children[cell] >= 0:
                following.append((int(children[cell]), inside))
            else:
                leaves.append(inside)
        found.extend(leaves)
        waiting.extend(reversed(following))
    return np.concatenate(found)
