"""One index under drift: over old vectors, with new ones put in, as two indexes side by side, and built anew."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adamem.bench.adaptation.asked import DEPTH
from adamem.index import Index, SearchResult, index_class
from adamem.types import AnyArray, FloatArray, IdArray, ParamValue

_WARM = 64


@dataclass(frozen=True)
class Effort:
    """How hard an index is searched."""

    params: dict[str, ParamValue]
    """Empty where an index has no such parameter."""
    found: float
    """The share of the ten nearest that it finds of the tuning queries, in the old vectors."""


@dataclass
class Indexed:
    """An index by its name over one collection, with what it takes.

    Parameters
    ----------
    name
        In the registry.
    old, new
        The documents' vectors before and after the drift, float32 (n, dim) each.
    order
        int (n,): the documents in the order in which they are embedded anew.
    seed
        Of its builds.
    """

    name: str
    old: FloatArray
    new: FloatArray
    order: AnyArray
    seed: int
    effort: Effort = field(default_factory=lambda: Effort({}, 1.0))
    seconds: dict[str, float] = field(default_factory=dict)
    nbytes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        some = np.arange(min(_WARM, len(self.old)))
        self.rows(self._built(self.old[some], some), self.old[:1])  # compiles what is compiled at the first use

    @property
    def in_place(self) -> bool:
        """Whether it takes a new vector for an id that it has; else it is built again for each share."""
        capabilities = index_class(self.name).capabilities
        return capabilities.replace or (capabilities.insert and capabilities.delete)

    def over_old(self) -> Index:
        """Built over all old vectors."""
        return self._timed_build(self.old, "build")

    def tune(self, index: Index, queries: FloatArray, *, enough: float) -> None:
        """Take the least effort with which `index` finds `enough` of what exact search finds, or the largest."""
        parameter = next((one for one in index.search_params if one.effort), None)
        if parameter is None:
            return
        truth = index_class("exact").build(self.old, np.arange(len(self.old)), metric="cosine").search(queries, DEPTH)
        for value in parameter.sweep:
            params = {parameter.name: value}
            self.effort = Effort(params, overlap(index.search(queries, DEPTH, params=params).ids, truth.ids))
            if self.effort.found >= enough:
                return

    def rows(self, index: Index, queries: FloatArray) -> AnyArray:
        """The nearest documents of each query: int32 (q, 10), -1 where there are fewer."""
        return index.search(queries, DEPTH, params=self.effort.params).ids.astype(np.int32)

    def put_in(self, index: Index, queries: FloatArray, shares: Sequence[float]) -> dict[str, AnyArray]:
        """New vectors into the index over old ones, share after share, asked by the new queries each time.

        ``mixed`` int32 (shares, q, 10): one index with vectors of both spaces; ``placed`` (q, 10): all are new, put in
        one by one; ``kept-up`` (q, 10): after its maintenance. The latter two only where the index can be changed.
        """
        mixed, done, taken = [], 0, 0.0
        for share in [*shares, 1.0]:
            stop = round(share * len(self.order))
            block = np.sort(self.order[done:stop])
            begun = time.perf_counter()
            index = self._replaced(index, block, upto=stop)
            taken += time.perf_counter() - begun
            mixed.append(self.rows(index, queries))
            done = stop
        out = {"mixed": np.stack(mixed[:-1])}
        self.seconds["put-in"] = taken
        if self.in_place:
            self.nbytes["placed"] = total(index)
            out["placed"] = mixed[-1]
            begun = time.perf_counter()
            index.maintain()
            self.seconds["maintain"] = time.perf_counter() - begun
            self.nbytes["kept-up"] = total(index)
            out["kept-up"] = self.rows(index, queries)
        return out

    def side_by_side(
        self, queries: FloatArray, shares: Sequence[float], *, former: FloatArray, bridged: list[FloatArray]
    ) -> dict[str, AnyArray]:
        """An index of what is embedded anew beside one of what is not: int32 (shares, q, 10) each.

        ``bridged``: the old one is asked by `bridged`, the queries of each share over a bridge; ``each-own``: by
        `former`, the old encoder's queries; both merged by cosine. ``by-rank``: by the new queries as they are, merged
        by rank, since their cosines mean nothing (merged by cosine it would be one index of both). Both indexes are
        kept up as they ask to be.
        """
        ids = np.arange(len(self.old))
        old = self._built(self.old, ids)
        new: Index | None = None
        out: dict[str, list[AnyArray]] = {"bridged": [], "each-own": [], "by-rank": []}
        done = 0
        for share, over in zip(shares, bridged, strict=True):
            stop = round(share * len(self.order))
            block = np.sort(self.order[done:stop])
            if self.in_place:
                old.delete(block)
                if new is None:
                    new = self._built(self.new[block], block)
                else:
                    new.insert(self.new[block], block)
                for part in (old, new):
                    if part.needs_maintenance():
                        part.maintain()
            else:
                left, done_with = (np.sort(part) for part in (self.order[stop:], self.order[:stop]))
                old, new = self._built(self.old[left], left), self._built(self.new[done_with], done_with)
            there = new.search(queries, DEPTH, params=self.effort.params)
            for name, asked in (("bridged", over), ("each-own", former)):
                out[name].append(merged(old.search(asked, DEPTH, params=self.effort.params), there))
            out["by-rank"].append(interleaved(there, old.search(queries, DEPTH, params=self.effort.params)))
            done = stop
        return {name: np.stack(found) for name, found in out.items()}

    def over_new(self) -> Index:
        """Built over all new vectors."""
        return self._timed_build(self.new, "rebuild")

    def facts(self) -> dict[str, Any]:
        """What it took, for a piece's record."""
        return {
            "effort": dict(self.effort.params),
            "found": self.effort.found,
            "in_place": self.in_place,
            "seconds": self.seconds,
            "bytes": self.nbytes,
        }

    def _timed_build(self, vectors: FloatArray, what: str) -> Index:
        begun = time.perf_counter()
        index = self._built(vectors, np.arange(len(vectors)))
        self.seconds[what] = time.perf_counter() - begun
        self.nbytes[what] = total(index)
        return index

    def _built(self, vectors: FloatArray, ids: AnyArray) -> Index:
        return index_class(self.name).build(
            np.ascontiguousarray(vectors), ids.astype(np.int64), metric="cosine", seed=self.seed
        )

    def _replaced(self, index: Index, ids: AnyArray, *, upto: int) -> Index:
        vectors = np.ascontiguousarray(self.new[ids])
        if index.capabilities.replace:
            index.replace(vectors, ids)
        elif self.in_place:
            index.delete(ids)
            index.insert(vectors, ids)
        else:
            both = self.old.copy()
            both[self.order[:upto]] = self.new[self.order[:upto]]
            return self._built(both, np.arange(len(both)))
        return index


def merged(first: SearchResult, second: SearchResult) -> AnyArray:
    """The nearest of two answers, by distance and then by id: int32 (q, 10)."""
    ids = np.concatenate([first.ids, second.ids], axis=1)
    distances = np.concatenate([first.distances, second.distances], axis=1)
    order = np.lexsort((ids, distances), axis=1)[:, :DEPTH]
    return np.take_along_axis(ids, order, axis=1).astype(np.int32)


def interleaved(first: SearchResult, second: SearchResult) -> AnyArray:
    """The first of each answer, then the second of each, and so on: int32 (q, 10)."""
    both = np.stack([first.ids, second.ids], axis=2).reshape(len(first.ids), -1)  # (q, 2 k), in turns
    order = np.argsort(both < 0, axis=1, kind="stable")[:, :DEPTH]  # empty places last
    return np.take_along_axis(both, order, axis=1).astype(np.int32)


def overlap(found: IdArray, truth: IdArray) -> float:
    """The share of the true ids (q, k) that were found (q, k); places of -1 do not count."""
    hits = (truth[:, :, None] == found[:, None, :]).any(axis=2) & (truth >= 0)
    return float(hits.sum() / (truth >= 0).sum())


def total(index: Index) -> int:
    """Bytes of all its parts."""
    parts: Mapping[str, int] = index.nbytes()
    return sum(parts.values())
