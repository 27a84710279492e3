"""`adamem data import`: one's own files under a name, with a card like any other set's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tomli_w

from adamem.data.cards import Card, Role, card_folders, dataset_names, read_card
from adamem.data.hashes import known_sha256
from adamem.data.load import prepared_parts
from adamem.data.progress import Progress
from adamem.data.text_sets import open_texts, text_files
from adamem.data.vectors import is_bundle, open_card, open_file, open_files
from adamem.errors import DataError, InvalidInput
from adamem.files import atomic_write
from adamem.types import METRICS, Metric

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def import_dataset(
    name: str,
    path: str | Path,
    *,
    metric: Metric | None = None,
    queries: str | Path | None = None,
    topic_field: str | None = None,
    licence: str = "not stated",
    title: str | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Card:
    """Write a card for one's own file or folder, so that `name` can be used like any other set's.

    The files stay where they are; the card records their checksums, and a later change is noticed.

    Parameters
    ----------
    name
        Small letters, digits, dots, dashes; not the name of a set that ships with AdaMem.
    path
        As for `load`: a vector file, or a folder of vectors or texts.
    metric
        How to compare; needed unless the file says it or it holds texts.
    queries
        A second file, if the queries lie apart from the base.
    topic_field
        The field of a query that names its topic, in a collection of texts.
    licence
        What reports say of it.
    title
        What lists say of it; by default the file's name.
    replace
        Overwrite a card of one's own with that name.
    progress
        Told of the reading of vectors.

    Raises
    ------
    InvalidInput
        if the name is taken or not a name, or no metric is known.
    DataError
        if the files cannot be read as a data set, or hold what is no finite number.
    StorageError
        if the cache cannot be written.
    """
    shipped, own = card_folders()
    target = own / f"{name}.toml"
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name for a data set; use small letters, digits, dots and dashes")
    if (shipped / target.name).is_file() or (name in dataset_names() and not replace):
        way = "" if (shipped / target.name).is_file() else ", or replace the card"
        raise InvalidInput(f"a data set named {name!r} is there already; choose another name{way}")
    if metric is not None and metric not in METRICS:
        raise InvalidInput(f"metric {metric!r} is unknown; choose one of {', '.join(METRICS)}")
    source = Path(path).expanduser().absolute()
    if not source.exists():
        raise DataError(f"there is no file or folder {source}; check the path")
    apart = Path(queries).expanduser().absolute() if queries is not None else None
    found, files = _describe(source, apart)
    found["metric"] = metric or found.get("metric")
    if found["metric"] is None:
        raise InvalidInput(f"{source} does not say how its vectors compare; name the metric: {', '.join(METRICS)}")
    home = source if source.is_dir() else source.parent
    fields: dict[str, Any] = {
        "name": name,
        "title": title or source.name,
        "licence": licence,
        "source": str(source),
        "home": str(home),
    }
    fields |= {key: value for key, value in found.items() if value is not None}
    fields |= {"topic_field": topic_field} if topic_field else {}
    fields["files"] = [
        {
            "path": str(file.relative_to(home) if file.is_relative_to(home) else file),
            "role": role,
            "bytes": file.stat().st_size,
            "sha256": known_sha256(file),
        }
        for role, file in files.items()
    ]
    known = Card.model_validate(fields)
    if known.kind == "vectors" and known.metric is not None:
        # Every row is looked at now, which the first use would otherwise do: a bad one gets no card.
        prepared_parts(known, open_card(known, home), known.metric, progress)
    with atomic_write(target) as stream:
        stream.write(tomli_w.dumps(fields).encode())
    return read_card(target)


def _describe(source: Path, queries: Path | None) -> tuple[dict[str, Any], dict[Role, Path]]:
    """What a card says of the files, and the files by role; each has been opened once."""
    texts = text_files(source) if source.is_dir() else None
    if texts is not None:
        if queries is not None:
            raise InvalidInput(f"{source} holds texts with their own queries; leave out {queries}")
        collection = open_texts(source)
        if collection is None:
            raise DataError(f"{source} changed while it was read; try again")
        kind = "labelled" if "labelled" in texts else "text"
        shape: dict[str, int | None] = {"rows": len(collection.rows), "query_count": len(collection.queries)}
        return {"kind": kind, "format": "texts" if kind == "text" else kind, "metric": "cosine"} | shape, texts
    parts = open_files(source) if source.is_dir() else open_file(source)
    if parts is None:
        raise DataError(f"{source} holds no data set: expected base.npy or corpus.jsonl and the like; rename the files")
    asked = open_file(queries).base if queries is not None else parts.queries
    if asked is not None and asked.dim != parts.base.dim:
        raise DataError(
            f"{asked.path} has {asked.dim} dimensions, but {parts.base.path} has {parts.base.dim}; expected the same; "
            "choose files that belong together"
        )
    whole = len(parts.sources()) > 1 and len(parts.files) == 1
    if whole and queries is not None:
        raise InvalidInput(f"{source} has queries of its own; leave out {queries}")
    files: dict[Role, Path] = {"all": source} if whole or is_bundle(source) else {"base": parts.base.path}
    if not whole:
        files |= {"queries": asked.path} if asked is not None else {}
        files |= {"learn": parts.learn.path} if parts.learn is not None else {}
        files |= {"base_ids": source / "base_ids.json"} if parts.base_ids else {}
        files |= {"query_ids": source / "query_ids.json"} if parts.query_ids else {}
    shape = {"rows": parts.base.rows, "query_count": asked.rows if asked else None, "dim": parts.base.dim}
    return {"kind": "vectors", "format": "files", "metric": parts.metric} | shape, files
