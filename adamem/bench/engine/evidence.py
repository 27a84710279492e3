"""Asking the engine what it remembers: each query once in every mode, when all that came before it has been said."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adamem.bench.engine.config import EngineContestant
from adamem.bench.engine.scores import DEPTH, RANKED
from adamem.bench.engine.sets import EvidenceSet
from adamem.bench.engine.watched import timed
from adamem.encoders import Encoder
from adamem.memory import Fusion, Hit, MemoryEngine, Timings
from adamem.types import AnyArray, FloatArray, IdArray

_PIECE = 10_000
Modes = Mapping[str, Mapping[str, Any]]
"""By the name that the arrays bear: how `MemoryEngine.search` is called."""


def modes(tuned: Fusion, *, all_of_them: bool) -> Modes:
    """Those of a contestant: by vectors, and by both as they were weighed; else by words and as it comes, too."""
    out: dict[str, dict[str, Any]] = {"vector": {"mode": "vector"}, "tuned": {"mode": "hybrid", "fusion": tuned}}
    if all_of_them:
        out |= {"lexical": {"mode": "lexical"}, "hybrid": {"mode": "hybrid"}}
    return out


class Remembering:
    """An engine that is told a set's rows and asked its queries.

    Parameters
    ----------
    path
        Its file.
    encoder
        Whose vectors the set has.
    contestant
        The index.
    """

    def __init__(self, path: Path, encoder: Encoder, contestant: EngineContestant) -> None:
        self.engine = MemoryEngine(
            path,
            encoder=encoder,
            index=contestant.index,
            index_params=contestant.build,
            search_params=contestant.search,
            threads=2,
        )
        self._rows = [-1]  # by id, which is given from 1 on
        self._spent: dict[str, float] = {}

    def row(self, number: int) -> int:
        """Which row a memory is."""
        return self._rows[number]

    def numbers(self, count: int) -> IdArray:
        """int64 (count,): the id of each row's memory."""
        out = np.full(count, -1, np.int64)
        out[np.array(self._rows[1:], np.int64)] = np.arange(1, len(self._rows))
        return out

    def tell(self, namespace: str, texts: list[str], rows: IdArray, vectors: FloatArray) -> None:
        """Add rows (m,) of these texts and vectors (m, d), and let the index have them."""
        for start in range(0, rows.size, _PIECE):
            some = slice(start, start + _PIECE)
            with timed(self._spent, "add_seconds"):
                added = self.engine.add_many(texts[some], namespace=namespace, vectors=vectors[some])
            for one, row in zip(added, rows[some].tolist(), strict=True):
                assert one.id == len(self._rows)
                self._rows.append(row)
        with timed(self._spent, "index_seconds"):
            self.engine.flush()

    def facts(self) -> dict[str, Any]:
        """What it holds and what that took."""
        stats = self.engine.stats()
        return {
            "memories": stats.memories,
            "namespaces": stats.namespaces,
            "file_bytes": stats.file_bytes,
            "index_bytes": stats.index_bytes,
            "open_bytes": stats.open_bytes,
            **self._spent,
        }


def answers(
    data: EvidenceSet,
    remembering: Remembering,
    queries: IdArray,
    how: Modes,
    *,
    depth: int,
    advance: Callable[[], object],
) -> dict[str, AnyArray]:
    """Every query (q,) in every mode: ``M_rows`` int32 (q, depth), ``M_scores`` float32, ``M_ns`` int64 (q, 2).

    ``M_ns`` are the engine's search and fetch, ``M_whole_ns`` int64 (q,) is the call from outside.
    """
    names = list(how)
    out: dict[str, AnyArray] = {}
    for name in names:
        out[f"{name}_rows"] = np.full((queries.size, depth), -1, np.int32)
        out[f"{name}_scores"] = np.full((queries.size, depth), np.nan, np.float32)
        out[f"{name}_ns"] = np.zeros((queries.size, 2), np.int64)
        out[f"{name}_whole_ns"] = np.zeros(queries.size, np.int64)
    place = {query: number for number, query in enumerate(queries.tolist())}
    asked = 0
    for namespace, rows, now in data.script(queries):
        if rows.size:
            texts = [data.texts.rows[row] for row in rows.tolist()]
            remembering.tell(namespace, texts, rows, np.asarray(data.base[rows]))
        for query in now.tolist():
            turn = asked % len(names)  # so that no mode always comes first
            for name in names[turn:] + names[:turn]:
                spent = Timings()
                vector = None if name == "lexical" else data.queries[query]
                begun = time.perf_counter_ns()
                hits = remembering.engine.search(
                    data.texts.queries[query],
                    namespace=namespace,
                    top_k=depth,
                    vector=vector,
                    timings=spent,
                    **how[name],
                )
                out[f"{name}_whole_ns"][place[query]] = time.perf_counter_ns() - begun
                _note(out, name, place[query], hits, spent, remembering)
            asked += 1
            advance()
    return out


def development(data: EvidenceSet, remembering: Remembering, *, advance: Callable[[], object]) -> dict[str, AnyArray]:
    """The two rankings of the development queries, as deep as they are fused; and ``number``, the rows' ids."""
    both: Modes = {"vector": {"mode": "vector"}, "lexical": {"mode": "lexical"}}
    out = answers(data, remembering, data.development, both, depth=RANKED, advance=advance)
    kept = {name: array for name, array in out.items() if not name.endswith("_ns")}
    return kept | {"number": remembering.numbers(len(data.texts.rows))}


def test(
    data: EvidenceSet,
    remembering: Remembering,
    how: Modes,
    *,
    encoded: int,
    advance: Callable[[], object],
) -> dict[str, AnyArray]:
    """The test queries in every mode; and how long the first `encoded` take to embed, one by one."""
    out = answers(data, remembering, data.test, how, depth=DEPTH, advance=advance)
    if encoded:
        namespace = next(iter(data.script(data.test)))[0]
        times = []
        for query in data.test[: encoded + 5].tolist():
            spent = Timings()
            remembering.engine.search(data.texts.queries[query], namespace=namespace, timings=spent)
            times.append(round(1e9 * spent.encode))
        out["encode_ns"] = np.array(times[5:], np.int64)  # the first are slower than any later one
    return out


def _note(
    out: dict[str, AnyArray], name: str, place: int, hits: list[Hit], spent: Timings, remembering: Remembering
) -> None:
    for rank, hit in enumerate(hits):
        out[f"{name}_rows"][place, rank] = remembering.row(hit.memory.id)
        out[f"{name}_scores"][place, rank] = hit.score
    out[f"{name}_ns"][place] = round(1e9 * spent.search), round(1e9 * spent.fetch)
