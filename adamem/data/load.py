"""The one way to a `Dataset`: by the name of a card, or by the path of a file or folder of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from adamem.data.assemble import Whole, assemble, limit_qrels, pick_distinct, pick_qrels
from adamem.data.cards import Card, card, dataset_names
from adamem.data.check import verified
from adamem.data.dataset import Dataset, Qrels
from adamem.data.embed import embed
from adamem.data.formats.source import VectorParts
from adamem.data.hashes import known_sha256
from adamem.data.locate import locate
from adamem.data.multiplied import MULTIPLIED_VERSION
from adamem.data.prepare import Prepared, prepare
from adamem.data.progress import Progress
from adamem.data.text_sets import open_texts, texts_of_card
from adamem.data.texts import TextCollection
from adamem.data.vectors import absent, is_path, open_card, open_file, open_files
from adamem.encoders.protocol import Encoder
from adamem.errors import DataError, InvalidInput, UnknownName
from adamem.types import METRICS, IdArray, Metric


def load(
    name_or_path: str | Path,
    *,
    metric: Metric | None = None,
    encoder: Encoder | Callable[[Sequence[str]], Encoder] | None = None,
    fallback: Callable[[Sequence[str]], Encoder] | None = None,
    limit: int | None = None,
    queries: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Read a data set; convert or embed it on first use, map it from the cache afterwards.

    Parameters
    ----------
    name_or_path
        A name from `dataset_names`, or a file (HDF5, npy, npz, fvecs, fbin, IDX, TSV ...) or folder (base.npy and
        queries.npy; corpus.jsonl, queries.jsonl and qrels.tsv) of one's own. A card's name wins over a path: write
        ``./name`` for the path.
    metric
        How to compare; by default the card's or the file's own.
    encoder
        Turns texts into vectors; sets of texts need one, sets of vectors take none. A function is given the rows'
        texts and returns the encoder: some are fitted to what they are to encode.
    fallback
        Opens the encoder of a set of texts where `encoder` names none; sets of vectors leave it alone.
    limit
        Only the first so many rows. Judgements of documents that are gone are left out.
    queries
        A seeded sample of so many *distinct* queries, in the set's order; all distinct ones if there are fewer.
        A set without queries gives rows of its own, which leave the base: so many (by default 1,000), but at most a
        tenth of them.

    seed
        Of the sample of queries, or of the rows held out.
    progress
        Told of what takes long: converting, embedding.

    Nothing is ever downloaded.

    Raises
    ------
    UnknownName
        if there is neither a card nor a file of that name, or no such metric.
    StorageError
        if the set has a card but its files are not on this machine (the message says how to get them), or the cache
        cannot be written.
    DataError
        if a file is truncated, altered, of another format, or holds what is no finite number.
    InvalidInput
        if nothing says the metric, an encoder is missing or superfluous, or a number is out of range.
    """
    if metric is not None and metric not in METRICS:
        raise UnknownName.of("metric", metric, METRICS)
    for label, value in (("limit", limit), ("queries", queries)):
        if value is not None and value < 1:
            raise InvalidInput(f"{label} = {value}; expected at least 1, or leave it out for all")
    found = _find(name_or_path, limit)
    if isinstance(found, TextCollection):
        encoder = encoder or fallback
        if encoder is None:
            raise InvalidInput(
                f"data set {found.name!r} holds texts, which need an encoder; name one, for instance minilm or hashing"
            )
        cut = _cut(found, limit, queries, seed)
        if not isinstance(encoder, Encoder):
            encoder = encoder(cut.rows)
        whole = _embedded(cut, encoder, metric or "cosine", progress)
        return assemble(whole, limit=None, queries=None, seed=seed, progress=progress)
    known, parts = found
    if encoder is not None:
        raise InvalidInput(f"data set {known.name!r} holds vectors, which take no encoder; leave it out")
    whole = _mapped(known, parts, metric or parts.metric, progress)
    return assemble(whole, limit=limit, queries=queries, seed=seed, progress=progress)


def _find(name_or_path: str | Path, limit: int | None) -> TextCollection | tuple[Card, VectorParts]:
    name, path = str(name_or_path), Path(name_or_path).expanduser()
    if isinstance(name_or_path, str) and name in dataset_names():
        known = card(name)
        if known.kind != "vectors":
            return texts_of_card(known)
        return known, open_card(known, verified(known), limit=limit)
    if path.is_dir():
        texts = open_texts(path)
        if texts is not None:
            return texts
        parts = open_files(path)
        if parts is None:
            raise DataError(
                f"{path} holds no data set: expected base.npy (or another vector format) with queries.npy, or "
                "corpus.jsonl with queries.jsonl and qrels.tsv; rename the files so"
            )
    elif path.is_file():
        parts = open_file(path)
    elif is_path(name_or_path):
        raise absent(name_or_path)
    else:
        card(name)  # says what is known, and what was probably meant
        raise UnknownName.of("dataset", name, dataset_names())
    own = Card.model_construct(
        name=path.stem or path.name,
        kind="vectors",
        format="npy",
        title=path.name,
        licence="not stated",
        source=str(path),
    )
    return own, parts


def _mapped(known: Card, parts: VectorParts, metric: Metric | None, progress: Progress | None) -> Whole:
    if metric is None:
        raise InvalidInput(
            f"data set {known.name!r} does not say how its vectors compare; name the metric: {', '.join(METRICS)}"
        )
    if known.dim not in (None, parts.base.dim):
        raise DataError(
            f"{parts.base.path} has {parts.base.dim} dimensions, but the card {known.name!r} says {known.dim}; fetch "
            "the file again, or mend the card"
        )
    prepared = prepared_parts(known, parts, metric, progress)
    provenance: dict[str, Any] = {"licence": known.licence, "source": known.source}
    if parts.made:
        provenance["made"] = parts.made
    provenance["files"] = {path.name: known_sha256(path) for path in parts.files}
    qrels, topics = None, None
    if known.judged_by is not None and parts.base_ids is not None and parts.query_ids is not None:
        judge = card(known.judged_by)
        if locate(judge) is None:
            provenance["qrels"] = f"absent: {judge.name} is not on this machine"
        else:
            provenance["qrels"] = f"of {judge.name}"
            qrels, topics = _judgements(texts_of_card(judge), parts.base_ids, parts.query_ids)
    return Whole(known.name, metric, prepared, parts.base_ids, parts.query_ids, qrels, topics, provenance)


def prepared_parts(
    known: Card, parts: VectorParts, metric: Metric, progress: Progress | None = None
) -> dict[str, Prepared]:
    """The matrices of a set of vectors, read, checked and converted, or found so in the cache."""
    key: dict[str, Any] = {part: known_sha256(source.path) for part, source in parts.sources().items()}
    if known.format == "multiplied":
        key |= {"multiplied": MULTIPLIED_VERSION, "noise": known.noise}
        key |= {"rows": {part: source.rows for part, source in parts.sources().items()}}
    key |= {"suffix": parts.base.path.name.partition(".")[2], "columns": known.columns}
    return prepare(parts.sources(), metric=metric, key=key, progress=progress)


def _judgements(
    judge: TextCollection, base_ids: tuple[str, ...], query_ids: tuple[str, ...]
) -> tuple[Qrels, IdArray | None]:
    """Qrels and topics for vectors whose rows are named after the documents, or their passages, of a collection."""
    document = {name: number for number, name in enumerate(judge.row_ids)}
    owners = [document.get(name, document.get(name.rpartition("#")[0], -1)) for name in base_ids]
    query = {name: number for number, name in enumerate(judge.query_ids)}
    asked = np.array([query.get(name, -1) for name in query_ids], np.int64)
    if min(owners) < 0 or asked.min() < 0:
        raise DataError(f"the vectors' names do not all belong to {judge.name!r}; use files that belong together")
    if not np.array_equal(asked, np.arange(len(judge.queries))):
        raise DataError(
            f"the queries' names are not those of {judge.name!r} in its order; use files that belong together"
        )
    return replace(judge.qrels, document_of_row=np.array(owners, np.int64)), judge.topics


def _cut(texts: TextCollection, limit: int | None, queries: int | None, seed: int) -> TextCollection:
    """The first `limit` rows and a sample of the distinct queries, cut before anything is embedded."""
    notes = dict(texts.provenance)
    if limit is not None and limit < len(texts.rows):
        notes["base"] = f"the first {limit} of {len(texts.rows)} rows"
        texts = replace(
            texts, rows=texts.rows[:limit], row_ids=texts.row_ids[:limit], qrels=limit_qrels(texts.qrels, limit)
        )
    if queries is not None:
        chosen = pick_distinct(texts.queries, queries, seed)
        notes["queries"] = f"{len(chosen)} of {len(texts.queries)}, a sample of the distinct ones with seed {seed}"
        texts = replace(
            texts,
            queries=tuple(texts.queries[row] for row in chosen),
            query_ids=tuple(texts.query_ids[row] for row in chosen),
            qrels=pick_qrels(texts.qrels, chosen),
            topics=None if texts.topics is None else texts.topics[chosen],
        )
    return replace(texts, provenance=notes)


def _embedded(texts: TextCollection, encoder: Encoder, metric: Metric, progress: Progress | None) -> Whole:
    parts = {
        "base": embed(texts.rows, encoder, "document", part="base", metric=metric, progress=progress),
        "queries": embed(texts.queries, encoder, "query", part="queries", metric=metric, progress=progress),
    }
    notes = texts.provenance | {
        "encoder": {"name": encoder.name, "dim": encoder.dim, "fingerprint": encoder.fingerprint},
        "distinct_texts": {"base": len(set(texts.rows)), "queries": len(set(texts.queries))},
    }
    return Whole(texts.name, metric, parts, texts.row_ids, texts.query_ids, texts.qrels, texts.topics, notes)
