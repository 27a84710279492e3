"""What each part of SpiralGraph is worth: its graph, with one part at a time replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from adamem.errors import InvalidInput
from adamem.index import Capabilities, IdFilter, Param, SearchResult, empty_result
from adamem.types import METRICS, AnyArray, FloatArray, IdArray, Metric, ParamValue
from adamem_indexes._threads import single_threaded_blas
from adamem_indexes.spiral import _kernels as kernels
from adamem_indexes.spiral._ablated_kernels import Starts, Walk, search_from
from adamem_indexes.spiral._ablated_lattice import MOST_SEEDS, Spirals
from adamem_indexes.spiral._ablated_order import ORDERS, order_of, reordered
from adamem_indexes.spiral._ablated_seeds import GROWN, OF_NO_DATA, ROWS, hierarchy
from adamem_indexes.spiral._ablated_spirals import no_spirals
from adamem_indexes.spiral._body import Body, Decoded, coded_body, empty_body, with_graph, with_room, write_rows
from adamem_indexes.spiral._kernels import NIL, Scratch
from adamem_indexes.spiral._lens import code_width
from adamem_indexes.spiral._memory import aligned, trim
from adamem_indexes.spiral._tree import no_spiral
from adamem_indexes.spiral.index import SpiralGraph, _plan, _warm_up

_SLACK = 2.0
"""By how many standard deviations fewer signs are taken to differ than do. On 52,176 passages by MiniLM (codes of 192
bytes) 2 spares a quarter of the 8-bit estimates at no loss of recall, 1/2 three fifths of them at equal recall; yet
searches took 20 to 30 % longer with either, so the index itself has no such filter."""
_ALL = np.empty(0, dtype=np.uint8)
_BLOCK = 8_192
_LINKED: dict[str, dict[str, Any]] = {"together": {}, "near": {"samples": ()}, "search": {"together": 0}}
"""What `with_graph` is told."""


class SpiralAblation(SpiralGraph):
    """SpiralGraph's graph as `recursive` seeds build it, the same whatever is chosen for the searches, and then:

    * `linked`: how the graph is built. `near` has none of the links that lead far; `search` compares no more than a
      search meets. `R`, `ef_construction` and `alpha` are the index's own.
    * `seeds`: where searches begin. Their own estimates and products count among the distances, but for `oracle`, the
      true nearest neighbour: it is found by exact search, which is in its times and not in its distances. Random
      directions are drawn among the components that are coded: they know nothing of the data only where these are all,
      not the leading principal ones, and anything else is refused.
    * `order`: which rows lie side by side in memory.
    * `codes`: what is walked on. `sq8+1bit` compares signs before bytes; what a comparison of signs costs is no
      distance, but `sign_tests` in the counters.
    * `prefetch`: whether what is likely to be needed next is fetched ahead.
    """

    name: ClassVar[str] = "spiral_ablation"
    summary: ClassVar[str] = (
        "SpiralGraph with one part replaced, to tell what each is worth; cannot be changed or saved"
    )
    capabilities: ClassVar[Capabilities] = Capabilities(metrics=METRICS)
    build_params: ClassVar[tuple[Param, ...]] = (
        *(param for param in SpiralGraph.build_params if param.name in {"R", "ef_construction", "alpha", "code_bytes"}),
        Param("linked", "together", "how the graph is built", choices=tuple(_LINKED)),
        Param("seeds", "recursive", "where searches begin", choices=(*GROWN, *ROWS, "hnsw", "oracle")),
        Param("order", "insertion", "the order of rows in memory", choices=ORDERS),
        Param("codes", "sq8", "what is walked on", choices=("sq8", "fp32", "sq8+1bit")),
        Param("prefetch", True, "whether rows and links are fetched ahead"),
    )

    _starts: Starts
    _walk: Walk
    _oracle: bool

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
        fixed: dict[str, ParamValue] = {"codes": "sq8", "scan_below": 0, "vectors": "memory"}
        plan = _plan(metric, params | fixed, seed=seed, threads=threads)
        _warm_up()
        with single_threaded_blas():
            body = coded_body(plan, vectors, ids)
            if params["seeds"] in OF_NO_DATA and body.fitted.basis.shape[0]:
                raise InvalidInput(
                    f"spiral_ablation's seeds {params['seeds']!r} are to know nothing of the data, but the codes leave "
                    f"out what varies least; set code_bytes to {code_width(body.dim)}"
                )
            body = with_graph(body, **_LINKED[str(params["linked"])])
            trim()
            index = cls(body)
            index._replace_parts(params)
        return index

    def _replace_parts(self, params: dict[str, Any]) -> None:
        seeds: str = params["seeds"]
        body = reordered(self._body, order_of(self._body, params["order"]))
        seed = body.plan.seed
        nodes = np.setdiff1d(np.arange(body.labels.rows, dtype=np.uint32), body.rows.twins)
        components = Decoded(body, nodes)[:]
        starts = Starts(
            np.empty((1, 0), dtype=np.uint32),
            no_spirals(width=body.width),
            np.empty((0, 0, 0), dtype=np.uint32),
            np.empty((0, 0), dtype=np.float32),
            _cosines(body.parts),
        )
        if seeds in GROWN and seeds != "recursive":
            grown = GROWN[seeds](components, nodes, width=body.width, seed=seed)
            if isinstance(grown, Spirals):
                starts = starts._replace(spirals=grown)
                grown = no_spiral(int(grown.root[0]), width=body.width)
            body = replace(body, spiral=grown)
        elif seeds in ROWS:
            starts = starts._replace(rows=ROWS[seeds](components, nodes, seed)[None])
        elif seeds == "hnsw":
            entry, upper = hierarchy(components, nodes, body.labels.rows, seed)
            starts = starts._replace(rows=entry[None], upper=upper)
        self._oracle = seeds == "oracle"
        bits = np.empty((0, 0), dtype=np.uint64)
        if params["codes"] == "sq8+1bit":
            starts = starts._replace(turn=_turn(body))
            bits = _signs(body, starts.turn)
        elif params["codes"] == "fp32":
            body = _on_vectors(body)
        self._walk = Walk(
            bool(params["prefetch"]),
            bits,
            bits.view(np.float32),
            np.zeros(-(-body.parts // 64), dtype=np.uint64),
            np.zeros(body.parts + 1, dtype=np.float32),
            np.zeros(1, dtype=np.int64),
        )
        self._starts = starts
        self._body = body

    def _search(
        self,
        queries: FloatArray,
        k: int,
        *,
        params: dict[str, Any],
        filter: IdFilter | None,  # noqa: A002 -- the field's own name for it
    ) -> SearchResult:
        del filter  # refused before
        body = self._body
        queries = np.array(queries)  # a read-only array is a type of its own, for which all would be compiled anew
        ef = max(params["ef"], k)
        rerank = params["rerank"] or 2 * k + 10 + ef // 3
        found = empty_result(len(queries), k)
        enough = min(k, body.labels.live)
        starts = self._starts._replace(rows=self._nearest(queries)) if self._oracle else self._starts
        walk = self._walk._replace(signs=self._walk.signs.copy(), shares=self._walk.shares.copy())
        desk = self._take(body, ef)
        short = search_from(queries, self._code, desk.handle, starts, walk, ef, rerank, enough, _ALL, *found)
        self._free.append(desk)
        if short:
            poor = np.flatnonzero(found.ids[:, enough - 1] < 0)
            rest = empty_result(poor.size, k)
            self._scan(body, queries[poor], None, _ALL, min(body.labels.live, 4 * k), *rest)
            found.ids[poor], found.distances[poor] = rest
        return found

    def _nearest(self, queries: FloatArray) -> AnyArray:
        """uint32 (q, 1): the true nearest row of each query. Not kept: a fast oracle would win every comparison."""
        with single_threaded_blas():
            blocks = [self._best_rows(queries[start : start + 64]) for start in range(0, len(queries), 64)]
        return np.concatenate(blocks).astype(np.uint32)[:, None]

    def _best_rows(self, queries: FloatArray) -> AnyArray:
        rows = self._body.rows
        scores = queries @ rows.vectors.T
        if self._body.plan.metric == "l2":
            scores -= np.float32(0.5) * np.einsum("ij,ij->i", rows.vectors, rows.vectors)
        scores[:, rows.twins[rows.twins != NIL]] = -np.inf  # no nodes
        return np.asarray(scores.argmax(axis=1))

    def counters(self) -> dict[str, int]:
        """As the index's own; and `sign_tests` where there is a filter."""
        tested = {"sign_tests": int(self._walk.tested[0])} if self._walk.bits.size else {}
        return super().counters() | tested

    def nbytes(self) -> dict[str, int]:
        """Bytes held, by part."""
        return super().nbytes() | {
            "seeds": self._starts.rows.nbytes + self._starts.upper.nbytes + _nbytes(self._starts.spirals),
            "signs": self._walk.bits.nbytes + self._starts.turn.nbytes,
        }

    def needs_maintenance(self) -> bool:
        """Never: it cannot be changed."""
        return False

    def _new_scratch(self, body: Body, most: int) -> Scratch:
        scratch = super()._new_scratch(body, most)
        room = max(scratch.fresh.size, self._starts.rows.shape[1] + 2, MOST_SEEDS)
        return scratch._replace(fresh=np.zeros(room, dtype=np.uint32), keys=np.zeros(room, dtype=np.uint64))


def _nbytes(spirals: Spirals) -> int:
    return sum(part.nbytes for part in spirals) - spirals.axis_tails.nbytes


def _on_vectors(body: Body) -> Body:
    """The same graph, walked on the vectors themselves."""
    empty = empty_body(replace(body.plan, codes="fp32"), body.fitted, fitted_on=body.fitted_on, longest=body.longest)
    n = body.labels.rows
    out = with_room(empty, n, exact=True)
    write_rows(out, body.rows.vectors[:n], body.labels.of_rows, stored=True)
    out.rows.links[:], out.rows.twins[:] = body.rows.links[:n], body.rows.twins[:n]
    return replace(out, spiral=body.spiral)


def _turn(body: Body) -> FloatArray:
    """A random rotation, without which signs tell little; (0, 0) where the lens has turned the components already."""
    if body.fitted.basis.shape[0]:
        return np.empty((0, 0), dtype=np.float32)
    random = np.random.default_rng([body.plan.seed, 9])
    return np.linalg.qr(random.normal(size=(body.parts, body.parts)))[0].astype(np.float32)


def _cosines(parts: int) -> FloatArray:
    """float32 (parts + 1,): by how many signs differ, the cosine if `_SLACK` standard deviations fewer would.

    A sign differs with the probability angle / pi (Charikar, STOC 2002, section 3).
    """
    share = np.arange(parts + 1) / parts
    likely = np.maximum(0.0, share - _SLACK * np.sqrt(share * (1.0 - share) / parts))
    return np.asarray(np.cos(np.pi * likely), dtype=np.float32)


def _signs(body: Body, turn: FloatArray) -> AnyArray:
    """uint64 (n, words): `Walk.bits`, rows of whole parts of a cache line."""
    n, words = body.labels.rows, -(-body.parts // 64)
    width = 1 << words.bit_length() if words < 7 else -(-(words + 1) // 8) * 8  # words + 1 at least
    out = aligned((n, width), np.uint64)
    floats = out.view(np.float32)
    for start in range(0, n, _BLOCK):
        block = np.arange(start, min(n, start + _BLOCK), dtype=np.uint32)
        components = Decoded(body, block)[:]
        floats[block, 2 * words] = np.sqrt(np.einsum("ij,ij->i", components, components))
        signs = np.zeros((block.size, 64 * words), dtype=np.uint8)
        signs[:, : body.parts] = (components @ turn.T if turn.size else components) > 0
        out[block, :words] = np.packbits(signs, axis=1, bitorder="little").view(np.uint64)
    floats[:, 2 * words + 1] = body.rows.tails[:n, -kernels.TAIL_FLOATS + kernels.OFFSET]
    return out
