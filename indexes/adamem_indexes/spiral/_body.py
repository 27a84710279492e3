"""All that a search needs, as one value: a writer prepares the next one and puts it in place at once.

Rows are written before they bear a label and are linked after; a row that is linked is never moved, and its label has a
place in every body that it is linked in. Whatever is written to in place and names rows (links, twins, seeds) is shared
only by bodies with the same room. So a reader that holds an older body sees some rows not yet, and never one that is
not whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from adamem.errors import InvalidInput
from adamem.types import AnyArray, FloatArray, IdArray, Metric
from adamem_indexes._filtered import FilterCache
from adamem_indexes._kernels import hash_rows, normalise
from adamem_indexes._labels import RowLabels
from adamem_indexes._threads import in_turn
from adamem_indexes.spiral import _kernels as kernels
from adamem_indexes.spiral._graph import (
    SAMPLES,
    Building,
    Team,
    connect,
    join_twin,
    let_in,
    link_nodes,
    link_together,
    mend_nodes,
    most_together,
    new_scratch,
    pieces,
)
from adamem_indexes.spiral._kernels import NIL, Lens, Rows, Scratch, Spiral
from adamem_indexes.spiral._lens import Fitted, code_width, components, fit, lens_of
from adamem_indexes.spiral._memory import VectorFile, aligned, give_back, trim
from adamem_indexes.spiral._products import lead_to_products, let_products_lead
from adamem_indexes.spiral._tree import grow_spiral, no_spiral

METRIC = {"l2": kernels.L2, "cosine": kernels.COSINE, "ip": kernels.IP}
_GROWTH = 1.5
_BLOCK = 1 << 18
"""Elements of the vectors that are coded at once: what is computed on the way is a multiple of that."""
_SPIRAL_SAMPLE = 65_536
_DETACH_EF, _DETACH_AMONG, _DETACH_TIES = 128, 50, 3
"""When a node is detached: candidates held, how many of them are offered, and how many of these a neighbour gets.
The values are those of IP-DiskANN (arXiv 2502.13826)."""
_CLOSED_AT_ONCE = 1_000
"""Nodes that are taken out of the graph before searches begin anew: that holds them up for a millisecond or two."""
_LONGER = 1.1
"""Where vectors longer than all before are inserted: by so much more than they are all others are lifted."""
_ALIKE = 0.1
"""Lengths are alike where no lift is more than such a share of the longest: the shortest has 0.995 of its length."""
_ALL = np.empty(0, dtype=np.uint8)
_FEW_LINKS = 4
"""A node that was left with fewer is linked anew."""


@dataclass(frozen=True)
class Plan:
    """How the index is built; the same for all its bodies."""

    metric: Metric
    degree: int
    scan_below: int
    codes: str
    code_bytes: int
    in_file: bool
    """Whether the vectors lie in a file."""
    seed: int
    building: Building


@dataclass(frozen=True)
class Body:
    """The rows, how they are coded, the graph, and whose they are."""

    plan: Plan
    fitted: Fitted
    fitted_on: int
    """The first so many rows were there when the codes were fitted."""
    longest: float
    """The length of the longest vector then."""
    lifted: float
    """The length that the lifts refer to: that one, or a larger one where longer vectors came since."""
    plain: bool
    lens: Lens
    rows: Rows
    spiral: Spiral | None
    """None while the rows are few and scanned."""
    labels: RowLabels
    filters: FilterCache
    store: VectorFile | None = None
    """Where the vectors lie; None for memory, and for a map of what was saved."""

    @property
    def dim(self) -> int:
        """Dimensions of the vectors."""
        return int(self.fitted.centre.size)

    @property
    def parts(self) -> int:
        """Components of a query's code."""
        return self.fitted.basis.shape[0] or self.dim

    @property
    def width(self) -> int:
        """Bytes of a query's code."""
        return code_width(self.parts)

    def new_scratch(self, most: int) -> Scratch:
        """Room for one thread's searches with at most `most` candidates."""
        return new_scratch(self.rows, parts=self.parts, width=self.width, most=most)


def empty_body(plan: Plan, fitted: Fitted, *, fitted_on: int, longest: float, lifted: float = 0.0) -> Body:
    """No rows yet."""
    plain = plan.codes == "fp32" or (plan.codes == "auto" and not fitted.faithful)
    labels = RowLabels(np.empty(0, dtype=np.int64))
    dim = fitted.centre.size
    width = kernels.LINE if plain else code_width(fitted.basis.shape[0] or dim)
    rows = new_rows(0, dim=dim, width=width, degree=plan.degree, plain=plain)
    lens = lens_of(fitted, reach=longest if plan.metric == "ip" else 0.0)
    lifted = max(longest, lifted)
    return Body(plan, fitted, fitted_on, longest, lifted, plain, lens, rows, None, labels, FilterCache(labels))


def coded_body(plan: Plan, vectors: Vectors, ids: IdArray, *, stored: bool = False) -> Body:
    """The rows of `ids` (m,), coded as suits them, and not linked yet; `stored` as in `write_rows`."""
    count, dim = vectors.shape
    longest = 0.0
    if plan.metric == "ip":
        squares = [np.vecdot(some, some).max() for some in (vectors[block] for block in in_blocks(count, dim))]
        longest = float(np.sqrt(max(squares)))

    def take(rows: IdArray) -> FloatArray:
        return vectors[rows] if stored else stored_form(vectors[rows], plan.metric)

    fitted = fit(take, (count, dim), width=plan.code_bytes, seed=plan.seed, threads=plan.building.threads)
    trim()  # or the sample's memory would stay the process's
    body = empty_body(plan, fitted, fitted_on=ids.size, longest=longest)
    body = with_room(body, ids.size, exact=True)
    write_rows(body, vectors, ids, stored=stored)
    return body


def new_rows(capacity: int, *, dim: int, width: int, degree: int, plain: bool, store: VectorFile | None = None) -> Rows:
    """Room for so many rows, none of which is linked; their vectors are in the file `store`, if there is one.

    Vectors in half precision would take half the room, and order the neighbours as well; but a distance would be wrong
    by 5e-4 of its size, where every index here answers to 2e-6.
    """
    codes = aligned((capacity, width), np.uint8)
    return Rows(
        codes=codes,
        tails=codes.view(np.float32),
        links=np.full((capacity, degree), NIL, dtype=np.uint32),
        vectors=aligned((capacity, dim), np.float32) if store is None else store.array(capacity, dim),
        labels=np.empty(0, dtype=np.int64),
        twins=np.full(capacity, NIL, dtype=np.uint32),
        plain=plain,
    )


class Picked:
    """Some rows of an array, copied only where they are looked at."""

    def __init__(self, array: FloatArray, rows: IdArray) -> None:
        self._array, self._rows = array, rows
        self.shape = (rows.size, array.shape[1])

    def __getitem__(self, some: slice | AnyArray) -> FloatArray:
        return self._array[self._rows[some]]


Vectors = FloatArray | Picked


def in_blocks(count: int, dim: int) -> Iterator[slice]:
    """Slices of `count` rows that are `_BLOCK` elements each."""
    step = max(1, _BLOCK // dim)
    for start in range(0, count, step):
        yield slice(start, min(count, start + step))


def stored_form(vectors: FloatArray, metric: Metric) -> FloatArray:
    """The vectors as they are kept: of length 1 under cosine."""
    if metric != "cosine":
        return vectors
    out = np.empty(vectors.shape, dtype=np.float32)
    normalise(vectors, True, out)
    return out


def with_labels(body: Body) -> Body:
    """A body whose kernels read the labels that count: an insert that was interrupted may have left them others."""
    if body.rows.labels is body.labels.array:
        return body  # what is prepared for searches in this body stays good
    return replace(body, rows=body.rows._replace(labels=body.labels.array))


def with_room(body: Body, total: int, *, exact: bool = False) -> Body:
    """A body with memory for `total` rows; with `exact`, for not one more.

    Raises
    ------
    StorageError
        if the vectors are in a file that the disk has no room for; the body stays as it is.
    """
    capacity, store = body.rows.vectors.shape[0], body.store
    foreign = body.plan.in_file and (store is None or not store.is_ours())
    if total <= capacity and not foreign:
        return with_labels(body)
    room = total if exact else max(total, int(capacity * _GROWTH), 64)
    if foreign:
        store = VectorFile()
    old, used = body.rows, body.labels.rows
    grown = new_rows(
        room, dim=body.dim, width=old.codes.shape[1], degree=body.plan.degree, plain=body.plain, store=store
    )
    for name in ("codes", "links", "twins"):
        getattr(grown, name)[:used] = getattr(old, name)[:used]
    if store is None:
        grown.vectors[:used] = old.vectors[:used]
    elif foreign:  # a file that grows has them already
        for some in in_blocks(used, body.dim):
            grown.vectors[some] = old.vectors[some]
            give_back(grown.vectors)
    body.labels.reserve(room)  # kernels look up the label of whatever row is linked
    spiral = body.spiral
    if spiral is not None:  # rows that the former arrays have no room for may become seeds
        spiral = spiral._replace(leaves=spiral.leaves.copy(), root=spiral.root.copy())
    return replace(body, rows=grown._replace(labels=body.labels.array), spiral=spiral, store=store)


def lengthened(body: Body, vectors: FloatArray) -> Body:
    """Under the inner product, a body whose lifts refer to a length that none of the vectors (m, d) exceeds.

    Or the longest of them, which answer most queries, would look far from everything. Only the graph's own distances
    have lifts in them: searches may run meanwhile.
    """
    if body.plan.metric != "ip":
        return body
    found = float(np.sqrt(np.vecdot(vectors, vectors).max()))
    if found <= body.lifted:
        return body
    lifted = _LONGER * found
    tails = body.rows.tails[: body.labels.rows, -kernels.TAIL_FLOATS :]
    with np.errstate(over="ignore"):
        more = np.float32(lifted**2 - body.lifted**2)
        both = np.stack([np.sqrt(tails[:, kernels.LIFT] ** 2 + more), tails[:, kernels.SQUARE] + more], axis=1)
        tails[:, [kernels.LIFT, kernels.SQUARE]] = both  # at once: an interrupt comes before or after
    return replace(body, lifted=lifted)


def write_rows(body: Body, vectors: Vectors, ids: IdArray, *, stored: bool = False, coming: bool = False) -> None:
    """Give a body, which has room already, the rows of `ids`; they are not linked yet.

    With `stored`, the vectors are in the form that is kept. With `coming`, other rows bear these ids for now.

    Raises
    ------
    InvalidInput
        if vectors are too long to be coded; nothing has changed then.
    """
    first = body.labels.rows

    def write(some: slice) -> None:
        piece = vectors[some]
        _write(body, piece if stored else stored_form(piece, body.plan.metric), first + some.start)
        if body.store is not None:
            give_back(body.rows.vectors)

    for _ in in_turn(write, in_blocks(ids.size, body.dim), body.plan.building.threads):
        pass
    if coming:
        body.labels.announce(ids.size)
    else:
        body.labels.append(ids)


def link_rows(body: Body, nodes: AnyArray) -> None:
    """Link the last rows, `nodes` uint32 (m,), into a graph that is there."""
    assert body.spiral is not None
    nodes = _without_twins(body, nodes)
    _link(body, body.spiral, nodes, linked=int(nodes[0]), shuffled=False)
    let_in(body.rows, nodes)
    _lead_to_products(body, nodes[body.rows.links[nodes, 0] != NIL], came=True)


def with_graph(body: Body, *, together: int | None = None, samples: tuple[int, ...] = SAMPLES) -> Body:
    """A body with a graph of all its rows: first the spiral, then its leaves and as many as pays, then the rest.

    So many are linked `together` as `most_together` says, where nothing else is said; `samples` as in `link_together`.
    """
    nodes = _without_twins(body, np.arange(body.labels.rows, dtype=np.uint32))
    random = np.random.default_rng([body.plan.seed, 3])
    nodes = nodes[random.permutation(nodes.size)]
    sample = nodes[:_SPIRAL_SAMPLE]
    spiral = grow_spiral(Decoded(body, sample), sample, width=body.width, seed=body.plan.seed)
    root = int(spiral.root[0])
    leaves = random.permutation(spiral.leaves)
    leaves = np.concatenate([spiral.root, leaves[leaves != root]])
    # The leaves come first: whatever is linked by searching begins at them.
    ordered = np.concatenate([leaves, _longest_first(body, nodes[~np.isin(nodes, leaves)])])
    first = ordered[: most_together(body.rows) if together is None else together]
    if first.size > leaves.size:
        link_together(body.rows, spiral, _longest_first(body, random.permutation(first)), parts=body.parts,
                      samples=samples, how=body.plan.building, scratches=_scratches(body))  # fmt: skip
    else:
        # They find each other from the root alone: with the spiral's help they would link to their likes only, and
        # nothing would lead from one region to the next.
        first = leaves
        _link(body, no_spiral(root, width=body.width), leaves, linked=0, shuffled=True)
    _link(body, spiral, ordered[first.size :], linked=first.size, shuffled=True)
    body = replace(body, spiral=spiral)
    _lead_to_products(body, nodes)
    connect(body.rows, body.new_scratch(1), root, nodes, passed_over=nodes[:0])
    return body


def _longest_first(body: Body, nodes: AnyArray) -> AnyArray:
    """Under the inner product, the nodes (m,) in the order of their lengths; as they are under the other metrics.

    The longest are what most queries look for (Morozov and Babenko 2018, section 4): in this order the samples that
    every node is linked into consist of them.
    """
    if body.plan.metric != "ip":
        return nodes
    lifts = body.rows.tails[nodes, kernels.LIFT - kernels.TAIL_FLOATS]
    return nodes[np.argsort(lifts, kind="stable")]


def has_uneven_lengths(body: Body) -> bool:
    """Under the inner product, whether some vectors are longer than others by more than a trifle."""
    if body.plan.metric != "ip":
        return False
    lifts = body.rows.tails[: body.labels.rows, kernels.LIFT - kernels.TAIL_FLOATS]
    return float(lifts.max(initial=0.0)) > _ALIKE * body.lifted


def _lead_to_products(body: Body, nodes: AnyArray, *, came: bool = False) -> None:
    """Under the inner product, link `nodes` uint32 (m,) to those of the largest products with them; see `_products`.

    `came` says that they have come to a graph that was there. Where all vectors are about equally long, the nearest
    are those already.
    """
    if not has_uneven_lengths(body):
        return
    most = max(body.plan.degree, body.plan.building.near)
    scratches = [body.new_scratch(most) for _ in range(body.plan.building.threads)]
    spiral = body.spiral
    assert spiral is not None

    def ask(some: AnyArray, k: int) -> IdArray:
        ids = np.empty((some.size, k), dtype=np.int64)
        distances = np.empty(ids.shape, dtype=np.float32)

        def search(piece: slice, scratch: Scratch) -> None:
            handle = kernels.new_handle(body.rows, body.lens, spiral, scratch, np.zeros(4, dtype=np.int64))
            queries = body.rows.vectors[some[piece]] - body.fitted.centre
            kernels.search(queries, kernels.IP, handle, most, k, 0, _ALL, ids[piece], distances[piece])

        with Team(body.plan.building.threads) as together:
            together(search, list(pieces(some.size, body.plan.building.piece)), scratches)
        return body.labels.rows_of(ids.ravel()).reshape(ids.shape)

    if came:
        let_products_lead(body.rows.links, body.rows.vectors, body.fitted.centre, nodes, ask)
    else:
        lead_to_products(body.rows.links, body.rows.vectors, body.fitted.centre, _longest_first(body, nodes), ask)


def detach_rows(body: Body, gone: AnyArray, close: Callable[[Callable[[], None]], None]) -> int:
    """Take rows (m,) whose ids were deleted just now out of the ways of the living; returns how many were.

    A node that still has a live twin stays. What is given to `close` is to be called, now and then: searches that have
    not begun anew since may have missed the ways around what is closed.
    """
    rows = body.rows
    nodes = np.array([row for row in gone.tolist() if rows.links[row, 0] != NIL and not _lives(rows, row)], np.uint32)
    try:
        rows.labels[nodes] = kernels.GOING
        return sum(_detach(body, nodes[some], close) for some in pieces(nodes.size, _CLOSED_AT_ONCE))
    finally:
        rows.labels[nodes] = -1


def _detach(body: Body, nodes: AnyArray, close: Callable[[Callable[[], None]], None]) -> int:
    """Some of them, closed at once; returns how many were."""
    spiral = body.spiral
    assert spiral is not None
    nearest = np.full(nodes.size, NIL, dtype=np.uint32)
    sources = np.full((nodes.size, _DETACH_EF), NIL, dtype=np.uint32)
    try:
        kernels.detach(
            body.rows, body.lens, spiral, body.new_scratch(_DETACH_EF), nodes, _DETACH_EF, _DETACH_AMONG, _DETACH_TIES,
            body.plan.building.alpha, nearest, sources,
        )  # fmt: skip
    finally:  # what was taken out before an interrupt is closed as well
        done = nearest != NIL
        if done.any():
            _close(body, spiral, nodes[done], nearest[done], sources[done], close)
    return int(np.count_nonzero(done))


def _close(
    body: Body, spiral: Spiral, nodes: AnyArray, heirs: AnyArray, sources: AnyArray,
    close: Callable[[Callable[[], None]], None],
) -> None:  # fmt: skip
    """Let no search go through `nodes` uint32 (m,) any more; those that began at one begin at its heir, the nearest."""
    heir_of = dict(zip(nodes.tolist(), heirs.tolist(), strict=True))
    taken = [(seeds, np.flatnonzero(np.isin(seeds, nodes))) for seeds in (spiral.leaves, spiral.root)]
    given = [(seeds, places, [heir_of[node] for node in seeds[places].tolist()]) for seeds, places in taken]

    def change() -> None:
        for seeds, places, others in given:
            seeds[places] = others
        kernels.close(body.rows, nodes, sources)

    close(change)


def detached_rows(body: Body) -> AnyArray:
    """uint32 (m,): the rows that `detach_rows` has taken out of the ways, and closed."""
    offsets = body.rows.tails[: body.labels.rows, kernels.OFFSET - kernels.TAIL_FLOATS]
    return np.flatnonzero(np.isposinf(offsets)).astype(np.uint32)


def reconnect(body: Body) -> None:
    """Let links lead to every node that is not detached: inserts and deletes may have cut some off."""
    assert body.spiral is not None
    used = body.labels.rows
    linked = body.rows.links[:used, 0] != NIL
    twins = body.rows.twins[:used]
    linked[twins[twins != NIL]] = False  # who is found where another is needs no link of its own
    detached = detached_rows(body)
    linked[detached] = False
    nodes = np.flatnonzero(linked).astype(np.uint32)
    connect(body.rows, body.new_scratch(1), int(body.spiral.root[0]), nodes, passed_over=detached)


def renewed(body: Body) -> Body:
    """A body of the live rows alone, coded as suits them now; the graph is kept, links to dead rows are mended.

    This body's own links are mended first: its readers may go on with it.
    """
    rows, labels, how = body.rows, body.labels, body.plan.building
    kept = labels.live_rows()
    # The row that a node has in the new body, by its row in this one: a dead one with live twins gets its first twin's.
    place = np.full(labels.rows, NIL, dtype=np.uint32)
    place[kept] = np.arange(kept.size, dtype=np.uint32)
    twins = np.full(kept.size, NIL, dtype=np.uint32)
    follows = np.zeros(labels.rows, dtype=np.bool_)
    followers = rows.twins[: labels.rows]
    follows[followers[followers != NIL]] = True
    heads = np.flatnonzero(~follows)
    for head in heads[rows.twins[heads] != NIL].tolist():
        alive = [row for row in _chain(rows, head) if labels.array[row] >= 0]
        if alive:
            place[head] = place[alive[0]]
            twins[place[alive[:-1]]] = place[alive[1:]]
    heads = heads[place[heads] != NIL].astype(np.uint32)
    mend_nodes(rows, heads, how=how, scratches=_scratches(body))

    fresh = coded_body(body.plan, Picked(rows.vectors, kept), labels.of_rows[kept], stored=True)
    links = rows.links[heads]
    there = links != NIL
    links[there] = place[links[there]]
    nodes = place[heads]
    fresh.rows.links[nodes] = links
    fresh.rows.twins[:] = twins
    sample = nodes[np.random.default_rng([body.plan.seed, 3]).permutation(nodes.size)[:_SPIRAL_SAMPLE]]
    spiral = grow_spiral(Decoded(fresh, sample), sample, width=fresh.width, seed=body.plan.seed)
    poor = nodes[there.sum(axis=1) < _FEW_LINKS]
    if poor.size:
        _link(fresh, spiral, poor, linked=nodes.size - poor.size, shuffled=False, joins=False)
    fresh = replace(fresh, spiral=spiral)
    _lead_to_products(fresh, nodes)
    connect(fresh.rows, fresh.new_scratch(1), int(spiral.root[0]), nodes, passed_over=nodes[:0])
    return fresh


def _lives(rows: Rows, node: int) -> bool:
    return any(rows.labels[row] != -1 for row in _chain(rows, node))


def _chain(rows: Rows, node: int) -> Iterator[int]:
    """A node and its twins."""
    while node != NIL:
        yield node
        node = int(rows.twins[node])


def _link(body: Body, spiral: Spiral, nodes: AnyArray, *, linked: int, shuffled: bool, joins: bool = True) -> None:
    link_nodes(body.rows, body.lens, spiral, nodes, linked=linked, shuffled=shuffled, joins=joins,
               how=body.plan.building, scratches=_scratches(body))  # fmt: skip


def _scratches(body: Body) -> list[Scratch]:
    """One for each thread that builds."""
    how = body.plan.building
    return [body.new_scratch(how.ef_construction) for _ in range(how.threads)]


def _write(body: Body, stored: FloatArray, first: int) -> None:
    rows, centre = body.rows, body.fitted.centre
    rows.vectors[first : first + stored.shape[0]] = stored
    centred = stored - centre
    with np.errstate(over="ignore"):
        offsets = (centred**2).sum(axis=1) if body.plan.metric == "l2" else -(centred @ centre)
    if not np.isfinite(offsets).all():  # as long as validation lets them be, but on opposite sides of the centre
        raise InvalidInput("spiral cannot code vectors whose distances overflow float32; scale them down")
    lifts = np.zeros(stored.shape[0], dtype=np.float32)
    if body.plan.metric == "ip":
        # One more coordinate makes all vectors equally long, and the nearest the one with the largest product
        # (Bachrach et al. 2014, "Speeding up the Xbox recommender system", section 3).
        squares = np.einsum("ij,ij->i", stored, stored, dtype=np.float64)
        lifts = np.sqrt(np.maximum(body.lifted**2 - squares, 0.0)).astype(np.float32)
    parts = np.empty((len(stored), 0), np.float32) if body.plain else components(stored, body.fitted)
    kernels.encode(parts, offsets.astype(np.float32), lifts, rows.codes, rows.tails, first)


class Decoded:
    """The components of some `nodes` uint32 (m,), decoded where they are looked at.

    What their codes say, or the vectors where they are walked on.
    """

    def __init__(self, body: Body, nodes: AnyArray) -> None:
        self._body, self._nodes = body, nodes
        self.shape = (nodes.size, body.parts)

    def __getitem__(self, some: slice | AnyArray) -> FloatArray:
        """float32 (some, parts)."""
        nodes, rows = self._nodes[some], self._body.rows
        if self._body.plain:
            return components(rows.vectors[nodes], self._body.fitted)
        codes = rows.codes[nodes, : self._body.parts].astype(np.float32)
        codes -= np.float32(128)
        codes *= rows.tails[nodes, -kernels.TAIL_FLOATS + kernels.SCALE][:, None]
        return codes


def _without_twins(body: Body, nodes: AnyArray) -> AnyArray:
    """Of consecutive `nodes`, those whose vector none before them has; the others join the first one's chain."""
    rows = body.rows
    hashes = np.empty(nodes.size, dtype=np.uint64)
    own = rows.vectors[int(nodes[0]) : int(nodes[-1]) + 1]
    for some in in_blocks(nodes.size, body.dim):
        hash_rows(own[some], hashes[some])
        if body.store is not None:
            give_back(own)
    order = np.argsort(hashes, kind="stable")
    single = np.ones(nodes.size, dtype=np.bool_)
    alike = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]]) + 1
    heads: dict[int, list[int]] = {}  # by hash: almost always one
    for place in alike.tolist():
        twin = int(nodes[order[place]])
        same = heads.setdefault(int(hashes[order[place]]), [int(nodes[order[place - 1]])])
        head = next((node for node in same if np.array_equal(rows.vectors[node], rows.vectors[twin])), None)
        if head is None:
            same.append(twin)
        else:
            join_twin(rows, head, twin)
            single[order[place]] = False
    return nodes[single]
