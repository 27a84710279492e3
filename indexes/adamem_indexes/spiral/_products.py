"""Under the inner product: links from every node to those of the largest products with it.

What most queries look for are the longest vectors, above all in their own direction. The coordinate that makes all
vectors equally long (`LIFT`) puts the long ones far from everything: few links lead to them, and the more lengths
differ the fewer are found (20,000 Gaussian vectors of 64 dimensions, lengths lognormal of sigma 0.5: recall@10 0.72 at
ef = 100). So every node asks the graph with its own vector as a query, and leads to what it finds: 0.99. It asks with
what the vector is beyond the centre of all: far from the origin, all would lead to the same few (20,000 round a point
five deviations off it, queries round the origin: 0.48, and 0.97 so).

Source: a graph by the inner product itself is that of Morozov and Babenko 2018, "Non-metric Similarity Graphs for
Maximum Inner Product Search", NeurIPS; here it takes up to half of the places beside the other.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

from adamem.types import AnyArray, FloatArray, IdArray
from adamem_indexes.spiral._kernels import NIL

Asked = Callable[[AnyArray, int], IdArray]
"""The k rows of largest products with each of some rows less the centre: int64 (m, k), padded with -1."""
_FIRST, _SHARE = 2_048, 4
"""The longest nodes, so many, are compared with each other; then ask as many as a fourth of those that are linked
already: they ask in a graph that leads to the longest. If the longest ask as well, in a graph where few links lead to
them, some are never found (at sigma 1.0 recall stayed at 0.94 however great the effort, and is 1.00 now)."""
_AT_ONCE = 256
_LAST = 4
"""Where a row is full, it is the last fourth of its places that a new node may take."""


def lead_to_products(links: AnyArray, vectors: AnyArray, centre: FloatArray, nodes: AnyArray, ask: Asked) -> None:
    """Let `nodes` uint32 (m,), the longest first, lead to the nodes of the largest products with them."""
    most = links.shape[1] // 2
    longest = nodes[:_FIRST]
    _lead(links, longest, _largest_among(vectors[longest], centre, longest, most + 1), most)
    done = longest.size
    while done < nodes.size:
        batch = nodes[done : done + done // _SHARE]
        _lead(links, batch, ask(batch, most + 1), most)
        done += batch.size


def let_products_lead(links: AnyArray, vectors: AnyArray, centre: FloatArray, nodes: AnyArray, ask: Asked) -> None:
    """The same for `nodes` uint32 (m,) that have come to a graph; what they lead to leads to them where that pays."""
    most = links.shape[1] // 2
    found = ask(nodes, most + 1)
    _lead(links, nodes, found, most)
    _answer(links, vectors, centre, nodes, found)


def warm_up() -> None:
    """Compile what is compiled here, or read numba's cache."""
    links, found = np.array([[1], [0]], np.uint32), np.array([[1], [0]])
    vectors, nodes = np.zeros((2, 1), np.float32), np.arange(2, dtype=np.uint32)
    _lead(links, nodes, found, 1)
    _answer(links, vectors, vectors[0], nodes, found)


def _largest_among(vectors: AnyArray, centre: FloatArray, nodes: AnyArray, k: int) -> IdArray:
    """int64 (m, k): of the nodes (m,), those of the largest products with each, by vectors (m, d) of theirs."""
    found = np.full((nodes.size, k), -1, dtype=np.int64)
    k = min(k, nodes.size)
    for start in range(0, nodes.size, _AT_ONCE):
        products = (vectors[start : start + _AT_ONCE] - centre) @ vectors.T
        near = np.argpartition(-products, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(products, near, axis=1), axis=1, kind="stable")
        found[start : start + _AT_ONCE, :k] = nodes[np.take_along_axis(near, order, axis=1)]
    return found


@numba.njit(cache=True, nogil=True)
def _lead(links: AnyArray, nodes: AnyArray, found: IdArray, most: int) -> None:  # pragma: no cover -- compiled
    """Put up to `most` of what was found (m, k) into the rows of the nodes, in place of their last ones if need be."""
    degree = links.shape[1]
    fresh = np.empty(most, np.uint32)
    for i in range(nodes.size):
        row = links[nodes[i]]
        filled = 0
        while filled < degree and row[filled] != NIL:
            filled += 1
        count = 0
        for j in range(found.shape[1]):
            target = found[i, j]
            if count == most or target < 0:
                break
            if target == nodes[i] or links[target, 0] == NIL:  # itself, or found where its twin is
                continue
            known = False
            for place in range(filled):
                known = known or row[place] == target
            if not known:
                fresh[count] = target
                count += 1
        kept = min(filled, degree - count)
        for j in range(count):
            row[kept + j] = fresh[j]


@numba.njit(cache=True, nogil=True)
def _answer(
    links: AnyArray, vectors: AnyArray, centre: FloatArray, nodes: AnyArray, found: IdArray
) -> None:  # pragma: no cover -- compiled
    """Let what was found (m, k) lead to the nodes: in an empty place, or in that of the least product of the last."""
    degree = links.shape[1]
    for i in range(nodes.size):
        node = nodes[i]
        for j in range(found.shape[1]):
            target = found[i, j]
            if target < 0:
                break
            if target == node or links[target, 0] == NIL:
                continue
            row = links[target]
            least, at = np.float32(np.inf), -1
            known = False
            for place in range(degree):
                if row[place] == NIL:
                    least, at = np.float32(-np.inf), place
                    break
                if row[place] == node:
                    known = True
                    break
                if place >= degree - degree // _LAST:
                    product = _product(vectors[target], centre, vectors[row[place]])
                    if product < least:
                        least, at = product, place
            if not known and at >= 0 and _product(vectors[target], centre, vectors[node]) > least:
                row[at] = node


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _product(one: AnyArray, centre: FloatArray, other: AnyArray) -> np.float32:  # pragma: no cover -- compiled
    total = np.float32(0)
    for j in range(one.size):
        total += (one[j] - centre[j]) * other[j]
    return total
