"""Finding a text collection: by its card, or in a folder of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from adamem.data.cards import Card, Role, card
from adamem.data.check import verified
from adamem.data.hashes import known_sha256
from adamem.data.texts import TextCollection, cut_passages, make_qrels, read_collection, read_labelled
from adamem.data.vectors import absent, is_path
from adamem.errors import DataError, InvalidInput

_LEAST = 15  # words: a shorter rest is no passage of its own


def load_texts(name_or_path: str | Path) -> TextCollection:
    """The texts of a text or labelled set, before any encoder.

    Raises
    ------
    InvalidInput
        if it is a set of vectors.
    UnknownName, StorageError, DataError
        as `load`.
    """
    path = Path(name_or_path)
    if path.is_dir():
        found = open_texts(path)
        if found is None:
            raise DataError(f"{path} holds no text collection: expected corpus.jsonl, queries.jsonl and qrels.tsv")
        return found
    if is_path(name_or_path) and not path.exists():
        raise absent(name_or_path)
    known = card(str(name_or_path))
    if known.kind == "vectors":
        raise InvalidInput(f"data set {known.name!r} holds vectors, not texts; load it with load({known.name!r})")
    return texts_of_card(known)


def texts_of_card(known: Card) -> TextCollection:
    """The collection that a card of kind text or labelled stands for."""
    provenance: dict[str, object] = {"licence": known.licence, "source": known.source}
    if known.format == "pydocs":
        return _pydocs(known)
    if known.format == "passages":
        if known.cut_from is None or known.passage_words is None:
            raise DataError(f"card {known.name!r} lacks 'cut_from' or 'passage_words'; expected both; mend the card")
        whole = texts_of_card(card(known.cut_from))
        cut = cut_passages(known.name, whole, words=known.passage_words, least=_LEAST)
        rule = f"{known.passage_words} words, rests under {_LEAST} and exact repeats dropped"
        return replace(cut, provenance=whole.provenance | provenance | {"cut_from": known.cut_from, "passages": rule})
    folder = verified(known)
    used = {item.role: folder / item.path for item in known.files if item.role not in ("archive", "extra")}
    provenance["files"] = {path.name: known_sha256(path) for path in used.values()}
    found = _read(known.name, folder, used, known)
    return replace(found, provenance=provenance)


def open_texts(folder: Path) -> TextCollection | None:
    """The collection in a folder of one's own; None if `text_files` finds none.

    Raises
    ------
    DataError
        if part of it is there and part is missing, or a file is not what it should be.
    """
    files = text_files(folder)
    if files is None:
        return None
    provenance = {"source": str(folder), "files": {path.name: known_sha256(path) for path in files.values()}}
    return replace(_read(folder.name, folder, files), provenance=provenance)


def text_files(folder: Path) -> dict[Role, Path] | None:
    """corpus.jsonl, queries.jsonl and qrels.tsv, or BEIR's qrels/test.tsv, or labelled.jsonl, by role.

    Each may end in .gz. None if there is neither a corpus nor a labelled file.

    Raises
    ------
    DataError
        if there is a corpus but no queries or no qrels.
    """
    labels = _first(folder, "labelled.jsonl")
    if labels is not None:
        return {"labelled": labels}
    corpus, queries = _first(folder, "corpus.jsonl"), _first(folder, "queries.jsonl")
    if corpus is None:
        return None
    qrels = _first(folder, "qrels.tsv") or next(
        (path for split in ("test", "dev", "train") if (path := _first(folder / "qrels", f"{split}.tsv"))), None
    )
    if queries is None or qrels is None:
        missing = "queries.jsonl" if queries is None else "qrels.tsv or qrels/test.tsv"
        raise DataError(f"{folder} holds {corpus.name} but no {missing}; expected both; add the file")
    return {"corpus": corpus, "queries": queries, "qrels": qrels}


def _read(name: str, folder: Path, files: Mapping[Role, Path], known: Card | None = None) -> TextCollection:
    if "labelled" in files:
        return read_labelled(name, files["labelled"])
    return read_collection(
        name,
        corpus=files["corpus"],
        queries=files["queries"],
        qrels=files["qrels"],
        topic_field=None if known is None else known.topic_field,
        scope_field=None if known is None else known.scope_field,
        order_field=None if known is None else known.order_field,
        judged_only=files["qrels"].parent != folder,
    )


def _first(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _pydocs(known: Card) -> TextCollection:
    from adamem.data.pydocs import pydocs, pydocs_versions  # noqa: PLC0415  # reads three packages' docstrings: on demand

    found = pydocs()
    row_ids = tuple(name for name, _ in found.documents)
    query_ids = tuple(name for name, _ in found.queries)
    query = {name: number for number, name in enumerate(query_ids)}
    document = {name: number for number, name in enumerate(row_ids)}
    entries = [(query[asked], document[answer], 1) for asked, answer in found.qrels]
    return TextCollection(
        name=known.name,
        rows=tuple(text for _, text in found.documents),
        row_ids=row_ids,
        queries=tuple(text for _, text in found.queries),
        query_ids=query_ids,
        qrels=make_qrels(entries, np.arange(len(row_ids), dtype=np.int64)),
        provenance={"licence": known.licence, "source": known.source, "versions": pydocs_versions()},
    )
