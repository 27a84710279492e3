"""What is remembered and what is asked: collections with marked evidence, embedded, their queries split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from adamem.bench.context import Reporter
from adamem.bench.engine.config import SetConfig
from adamem.bench.load import progress_of
from adamem.data import Progress, Qrels, TextCollection, card, dataset_names, load, load_texts
from adamem.data.embed import embed
from adamem.encoders import Encoder
from adamem.errors import ConfigError
from adamem.files import content_key
from adamem.memory.stems import stems
from adamem.types import AnyArray, FloatArray, IdArray

_PROBED, _ALIKE = 5, 0.999
"""Of vectors that were made before, so many are made again, and must have at least this cosine with them."""
EVERYBODY = "everybody"
"""The namespace of a collection that knows no scopes."""


@dataclass(frozen=True)
class EvidenceSet:
    """A collection ready to be remembered."""

    config: SetConfig
    texts: TextCollection
    base: FloatArray
    """float32 (n, d), of length 1: the rows as documents."""
    queries: FloatArray
    """float32 (q, d): the queries as queries."""
    development: IdArray
    """int64: numbers of the queries on which a fusion is chosen, ascending."""
    test: IdArray
    """int64: of those that judge it."""

    @property
    def key(self) -> str:
        """The hash of its texts, its judgements and its split."""
        qrels = self.texts.qrels
        lists = [self.texts.rows, self.texts.queries, self.development.tolist(), self.test.tolist()]
        lists += [part.tolist() for part in (qrels.query, qrels.document, qrels.grade)]
        return content_key([list(part) for part in lists])

    def shared(self, queries: IdArray) -> AnyArray:
        """Of each query (q,), bool: whether it has a word, by its stem, in common with a row of its evidence."""
        qrels = self.texts.qrels
        of_document: dict[int, set[str]] = {}
        judged = set(qrels.document[np.isin(qrels.query, queries)].tolist())
        for row, document in enumerate(qrels.document_of_row.tolist()):
            if document in judged:
                of_document.setdefault(document, set()).update(stems(self.texts.rows[row]))
        place = {query: number for number, query in enumerate(queries.tolist())}
        asked = [set(stems(self.texts.queries[query])) for query in queries.tolist()]
        out = np.zeros(queries.size, np.bool_)
        for query, document in zip(qrels.query.tolist(), qrels.document.tolist(), strict=True):
            if query in place and asked[place[query]] & of_document.get(document, set()):
                out[place[query]] = True
        return out

    def script(self, queries: IdArray) -> Iterator[tuple[str, IdArray, IdArray]]:
        """What happens, in order: to a namespace, rows int64 are added, and then queries int64 are asked.

        Where the collection has an order, each query is asked when all of its scope up to its own time was said, and
        nothing more.
        """
        scopes, orders = self.texts.scopes, self.texts.orders
        if scopes is None:
            yield EVERYBODY, np.arange(len(self.texts.rows)), queries
            return
        row_scope, query_scope = np.array(scopes.rows), np.array(scopes.queries)[queries]
        for scope in sorted(set(scopes.rows)):
            rows, asked = np.flatnonzero(row_scope == scope), queries[query_scope == scope]
            if orders is None:
                yield scope, rows, asked
                continue
            moments = np.unique(np.concatenate([orders.rows[rows], orders.queries[asked]]))
            for moment in moments:
                yield scope, rows[orders.rows[rows] == moment], asked[orders.queries[asked] == moment]


def load_set(config: SetConfig, encoder: Encoder, *, seed: int, reporter: Reporter) -> EvidenceSet:
    """A collection with its vectors, which are cached.

    Raises
    ------
    StorageError
        if it is not on this machine.
    ConfigError
        if too few of its queries have evidence.
    """
    texts = load_texts(config.dataset)
    judged = np.unique(texts.qrels.query)
    if config.limit is not None:
        texts, judged = _first(texts, config.limit)
    if judged.size < 10:
        raise ConfigError(f"{config.dataset} has {judged.size} queries with evidence; at least 10 are needed")
    shuffled = np.random.default_rng([seed, 1]).permutation(judged)
    held_out = min(config.development, judged.size // 5)
    with progress_of(reporter) as bar:
        if config.vectors is not None:
            base, queries = _made(config.vectors, texts, encoder, bar)
        else:
            base = embed(texts.rows, encoder, "document", part="base", metric="cosine", progress=bar).map()
            queries = embed(texts.queries, encoder, "query", part="queries", metric="cosine", progress=bar).map()
    return EvidenceSet(
        config,
        texts,
        base,
        queries,
        development=np.sort(shuffled[:held_out]),
        test=np.sort(shuffled[held_out : held_out + config.queries]),
    )


def _first(texts: TextCollection, limit: int) -> tuple[TextCollection, IdArray]:
    """The first rows, and the queries that have all their evidence among them."""
    qrels = texts.qrels
    kept = qrels.document_of_row[:limit]
    # A document that is cut in two by the limit is no evidence that can be found whole.
    whole = np.setdiff1d(kept, qrels.document_of_row[limit:])
    there = np.isin(qrels.document, whole)
    queries = np.setdiff1d(qrels.query, qrels.query[~there])
    stays = np.isin(qrels.query, queries)
    judged = Qrels(qrels.query[stays], qrels.document[stays], qrels.grade[stays], kept)
    scopes, orders = texts.scopes, texts.orders
    return replace(
        texts,
        rows=texts.rows[:limit],
        row_ids=texts.row_ids[:limit],
        qrels=judged,
        scopes=None if scopes is None else replace(scopes, rows=scopes.rows[:limit]),
        orders=None if orders is None else replace(orders, rows=orders.rows[:limit]),
    ), queries


def encoder_for(dataset: str, encoder: Encoder) -> Encoder | None:
    """`encoder` for a data set of texts; None for one of vectors, which takes none."""
    is_texts = Path(dataset).is_dir() or (dataset in dataset_names() and card(dataset).kind != "vectors")
    return encoder if is_texts else None


def _made(name: str, texts: TextCollection, encoder: Encoder, progress: Progress) -> tuple[FloatArray, FloatArray]:
    """Vectors that were made before, once it is seen that they are of these texts and of this encoder."""
    found = load(name, metric="cosine", progress=progress)
    if tuple(found.base_ids or ()) != texts.row_ids or tuple(found.query_ids or ()) != texts.query_ids:
        raise ConfigError(f"the vectors of {name} bear other ids than the texts of {texts.name}; leave out `vectors`")
    some = np.linspace(0, len(texts.rows) - 1, _PROBED).astype(int).tolist()
    asked = np.linspace(0, len(texts.queries) - 1, _PROBED).astype(int).tolist()
    same = [
        (encoder.encode_document([texts.rows[row] for row in some]), np.asarray(found.base[some])),
        (encoder.encode_query([texts.queries[query] for query in asked]), np.asarray(found.queries[asked])),
    ]
    for mine, theirs in same:
        if mine.shape != theirs.shape or (np.einsum("ij,ij->i", mine, theirs) < _ALIKE).any():
            raise ConfigError(f"the vectors of {name} are not those that {encoder.name} makes; leave out `vectors`")
    return found.base, found.queries
