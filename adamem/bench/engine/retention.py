"""Whether what came first is still found when much has come after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adamem.bench.engine.config import EngineContestant, RetentionConfig
from adamem.bench.engine.scores import DEPTH
from adamem.bench.engine.sets import encoder_for
from adamem.data import Dataset, Progress, load
from adamem.encoders import Encoder
from adamem.errors import ConfigError
from adamem.files import content_key
from adamem.memory import MemoryEngine
from adamem.types import AnyArray, FloatArray, IdArray

_PIECE = 5_000


@dataclass(frozen=True)
class Stream:
    """Vectors in the order in which they come, and queries about the first of them."""

    base: FloatArray
    """float32 (n, d), in the data set's order."""
    order: IdArray
    """int64 (n,): rows as they come."""
    queries: FloatArray
    """float32 (q, d)."""
    first: int
    """So many of the first are asked for."""
    query: IdArray
    row: IdArray
    document: IdArray
    """int64: to the query of that place belongs, as evidence, the row that came as that one, which is below `first`, of
    that document."""

    @property
    def key(self) -> str:
        """The hash of what is asked."""
        return content_key([self.order.tolist(), self.query.tolist(), self.row.tolist(), self.base.shape[1]])


def load_stream(config: RetentionConfig, encoder: Encoder, *, seed: int, progress: Progress) -> Stream:
    """A data set's documents in random order, each with all its rows, and queries whose evidence is among the first.

    Raises
    ------
    ConfigError
        if there are none.
    """
    data: Dataset = load(
        config.dataset, metric="cosine", encoder=encoder_for(config.dataset, encoder), progress=progress
    )
    if data.qrels is None:
        raise ConfigError(f"{config.dataset} has no judgements, so nobody knows what its queries ask for")
    random = np.random.default_rng([seed, 3])
    n = data.base.shape[0]
    of_row = data.qrels.document_of_row
    documents = np.unique(of_row)
    place_of = np.empty(int(documents[-1]) + 1, np.int64)
    place_of[documents] = random.permutation(documents.size)
    order = np.argsort(place_of[of_row], kind="stable")
    # Whole documents only: what of one comes later would stand in the way of what came first.
    ends = np.flatnonzero(np.diff(place_of[of_row[order]], append=-1)) + 1
    first = int(ends[np.searchsorted(ends, max(1, round(config.first * n)))])
    judged: dict[int, set[int]] = {}
    for query, document in zip(data.qrels.query.tolist(), data.qrels.document.tolist(), strict=True):
        judged.setdefault(document, set()).add(query)
    pairs = {(query, number) for number in range(first) for query in judged.get(int(of_row[order[number]]), ())}
    asked = sorted({query for query, _ in pairs})
    asked = sorted(random.permutation(asked)[: config.queries].tolist())
    if not asked:
        raise ConfigError(f"no query of {config.dataset} is about the first {first} of its rows; raise retention.first")
    place = {query: number for number, query in enumerate(asked)}
    kept = sorted((place[query], number) for query, number in pairs if query in place)
    table = np.array(kept, np.int64)
    query, row = table[:, 0].copy(), table[:, 1].copy()
    return Stream(data.base, order, np.asarray(data.queries[asked]), first, query, row, of_row[order[row]].copy())


def measure_retention(
    stream: Stream,
    config: RetentionConfig,
    encoder: Encoder,
    contestant: EngineContestant,
    path: Path,
    *,
    advance: Callable[[], object],
) -> dict[str, AnyArray]:
    """``rows`` int32 (stages, q, 10), numbered as they came; ``added`` int64 (stages,); the evidence."""
    n = stream.order.size
    added, ranked = [], []
    told = 0
    with MemoryEngine(
        path,
        encoder=encoder,
        index=contestant.index,
        index_params=contestant.build,
        search_params=contestant.search,
        threads=2,
    ) as engine:
        for share in sorted(config.stages):
            until = max(stream.first, round(share * n))
            while told < until:
                some = stream.order[told : min(told + _PIECE, until)]
                engine.add_many([f"row {row}" for row in some.tolist()], vectors=np.asarray(stream.base[some]))
                told += some.size
            engine.flush()
            rows = np.full((stream.queries.shape[0], DEPTH), -1, np.int32)
            for place, vector in enumerate(stream.queries):
                hits = engine.search(vector=vector, top_k=DEPTH)
                rows[place, : len(hits)] = [hit.memory.id - 1 for hit in hits]
                advance()
            added.append(told)
            ranked.append(rows)
    return {
        "rows": np.stack(ranked),
        "added": np.array(added, np.int64),
        "query": stream.query,
        "row": stream.row,
        "document": stream.document,
        "first": np.array([stream.first], np.int64),
    }
