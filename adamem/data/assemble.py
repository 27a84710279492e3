"""From prepared matrices to a `Dataset`: the first rows, a sample of the queries, their judgements, the fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adamem.data.dataset import Dataset, Qrels
from adamem.data.formats.source import VectorSource, rows_per_block
from adamem.data.prepare import Prepared, prepare
from adamem.data.progress import Progress
from adamem.errors import DataError, InvalidInput
from adamem.files import content_key
from adamem.types import AnyArray, FloatArray, IdArray, Metric


@dataclass(frozen=True)
class Whole:
    """A data set before it is cut to size. Names, judgements and topics count the rows of the source files."""

    name: str
    metric: Metric
    parts: Mapping[str, Prepared]
    base_ids: tuple[str, ...] | None = None
    query_ids: tuple[str, ...] | None = None
    qrels: Qrels | None = None
    topics: AnyArray | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


def assemble(
    whole: Whole, *, limit: int | None, queries: int | None, seed: int, progress: Progress | None = None
) -> Dataset:
    """Cut to the first `limit` rows and a seeded sample of `queries` distinct queries.

    A set without queries gives some of its own rows: a seeded sample of distinct ones, taken out of the base.

    Raises
    ------
    InvalidInput
        if there is but one row: none can be held out of it.
    DataError
        if names do not match the rows.
    """
    notes = dict(whole.provenance)
    dropped = {part: len(found.dropped) for part, found in whole.parts.items() if found.dropped}
    if dropped:
        notes["zero_rows_dropped"] = dropped
    base_ids = _kept_names(whole.base_ids, whole.parts["base"], "base")
    query_ids, topics, qrels = whole.query_ids, whole.topics, whole.qrels
    if "queries" in whole.parts:
        base, asked = whole.parts["base"], whole.parts["queries"]
        pool = asked.map()
        query_ids = _kept_names(query_ids, asked, "queries")
        topics = None if topics is None else np.delete(topics, asked.dropped)
        qrels = None if qrels is None else _without(qrels, asked.dropped, base.dropped)
        chosen = None if queries is None else pick_distinct([_row_key(row) for row in pool], queries, seed)
        if chosen is not None:
            notes["queries"] = f"{len(chosen)} of {asked.rows}, a sample of the distinct ones with seed {seed}"
    else:
        base, asked, held = _hold_out(whole, queries, seed, progress)
        notes["queries"] = f"{len(held)} rows held out of the base, distinct, drawn with seed {seed}"
        pool, chosen = asked.map(), None
        if base_ids is not None:
            query_ids = tuple(base_ids[row] for row in held)
            base_ids = tuple(np.delete(np.array(base_ids, object), held))
    rows: FloatArray = base.map()
    base_sha = base.sha256
    if limit is not None and limit < base.rows:
        rows, base_sha = rows[:limit], _sha256(rows[:limit])
        notes["base"] = f"the first {limit} of {base.rows} rows"
        base_ids = base_ids[:limit] if base_ids else None
        if qrels is not None:
            qrels = limit_qrels(qrels, limit)
    vectors, query_sha = pool, asked.sha256
    if chosen is not None:
        vectors = np.ascontiguousarray(pool[chosen])
        query_sha = _sha256(vectors)
        query_ids = tuple(query_ids[row] for row in chosen) if query_ids else None
        topics = None if topics is None else topics[chosen]
        qrels = None if qrels is None else pick_qrels(qrels, chosen)
    return Dataset(
        name=whole.name,
        metric=whole.metric,
        base=rows,
        queries=vectors,
        fingerprint=content_key([whole.metric, list(rows.shape), base_sha, list(vectors.shape), query_sha]),
        learn=whole.parts["learn"].map() if "learn" in whole.parts else None,
        base_ids=base_ids,
        query_ids=query_ids,
        qrels=qrels,
        topics=topics,
        provenance=notes,
    )


def pick_distinct(items: Sequence[Hashable], wanted: int, seed: int) -> IdArray:
    """Places of `wanted` distinct items (the first of equal ones) in ascending order; of all where they are fewer."""
    first: dict[Hashable, int] = {}
    for place, item in enumerate(items):
        first.setdefault(item, place)
    distinct = np.array(list(first.values()), np.int64)
    if len(distinct) <= wanted:
        return distinct
    return np.sort(np.random.default_rng(seed).choice(distinct, wanted, replace=False))


def _hold_out(
    whole: Whole, wanted: int | None, seed: int, progress: Progress | None
) -> tuple[Prepared, Prepared, IdArray]:
    """Split the base of a set that has no queries: what remains, the queries, and the rows they were."""
    source = whole.parts["base"]
    vectors = source.map()
    # Never more than a tenth: what is searched in should stay about what it was.
    count = min(1000 if wanted is None else wanted, max(1, source.rows // 10))
    if count >= source.rows:
        raise InvalidInput(
            f"data set {whole.name!r} has no queries of its own and {source.rows} rows: {count} cannot be held out; "
            "ask for fewer"
        )
    seen: set[bytes] = set()
    held: list[int] = []
    for row in np.random.default_rng(seed).permutation(source.rows):
        name = _row_key(vectors[row])
        if name not in seen:
            seen.add(name)
            held.append(int(row))
        if len(held) == count:
            break
    rows = np.sort(np.array(held, np.int64))
    stays = np.ones(source.rows, bool)
    stays[rows] = False

    def rest(count: int) -> Iterator[AnyArray]:
        for start in range(0, source.rows, count):
            yield vectors[start : start + count][stays[start : start + count]]

    def taken(count: int) -> Iterator[AnyArray]:
        for start in range(0, len(rows), count):
            yield vectors[rows[start : start + count]]

    parts = prepare(
        {
            "base": VectorSource(source.path, source.rows - len(rows), source.dim, rest),
            "queries": VectorSource(source.path, len(rows), source.dim, taken),
        },
        metric=whole.metric,
        key={"held_out_of": source.sha256, "count": count, "seed": seed},
        progress=progress,
    )
    return parts["base"], parts["queries"], rows


def _kept_names(names: tuple[str, ...] | None, part: Prepared, label: str) -> tuple[str, ...] | None:
    if names is None:
        return None
    rows = part.rows + len(part.dropped)
    if len(names) != rows:
        raise DataError(f"{part.path}: {rows} {label} rows but {len(names)} names; expected one each; mend the ids")
    if not part.dropped:
        return names
    gone = set(part.dropped)
    return tuple(name for row, name in enumerate(names) if row not in gone)


def _without(qrels: Qrels, queries: Sequence[int], rows: Sequence[int]) -> Qrels:
    """Judgements after some queries and some base rows are gone."""
    stays = ~np.isin(qrels.query, np.array(queries, np.int64))
    shift = np.searchsorted(np.sort(np.array(queries, np.int64)), qrels.query[stays])
    return Qrels(
        query=qrels.query[stays] - shift,
        document=qrels.document[stays],
        grade=qrels.grade[stays],
        document_of_row=np.delete(qrels.document_of_row, np.array(rows, np.int64)),
    )


def limit_qrels(qrels: Qrels, rows: int) -> Qrels:
    """Judgements of the documents that the first rows still have; what cannot be found is not asked for."""
    documents = qrels.document_of_row[:rows]
    stays = np.isin(qrels.document, documents)
    return Qrels(qrels.query[stays], qrels.document[stays], qrels.grade[stays], documents)


def pick_qrels(qrels: Qrels, queries: IdArray) -> Qrels:
    """Judgements of the chosen queries (ascending rows), renumbered."""
    stays = np.isin(qrels.query, queries)
    return Qrels(
        np.searchsorted(queries, qrels.query[stays]), qrels.document[stays], qrels.grade[stays], qrels.document_of_row
    )


def _row_key(row: AnyArray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest()


def _sha256(vectors: FloatArray) -> str:
    digest = hashlib.sha256()
    step = rows_per_block(vectors.shape[1])
    for start in range(0, len(vectors), step):
        digest.update(np.ascontiguousarray(vectors[start : start + step]).tobytes())
    return digest.hexdigest()
