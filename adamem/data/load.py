"""The one way to a `Dataset`: by the name of a card, or by the path of a file or folder of one's own."""

from __future__ import annotations

from pathlib import Path

from adamem.data.assemble import Whole, assemble
from adamem.data.cards import Card, card
from adamem.data.dataset import Dataset
from adamem.data.hashes import known_sha256
from adamem.data.locate import require
from adamem.data.prepare import prepare
from adamem.data.progress import Progress
from adamem.data.vectors import open_card
from adamem.encoders.protocol import Encoder
from adamem.errors import InvalidInput, UnknownName
from adamem.types import METRICS, Metric


def load(
    name_or_path: str | Path,
    *,
    metric: Metric | None = None,
    encoder: Encoder | None = None,
    limit: int | None = None,
    queries: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Read a data set."""
    if metric is not None and metric not in METRICS:
        raise UnknownName.of("metric", metric, METRICS)
    found = card(str(name_or_path))
    whole = _vectors(found, metric, progress)
    return assemble(whole, limit=limit, queries=queries, seed=seed, progress=progress)


def _vectors(found: Card, metric: Metric | None, progress: Progress | None) -> Whole:
    folder = require(found)
    parts = open_card(found, folder)
    chosen = metric or parts.metric or found.metric
    if chosen is None:
        raise InvalidInput("no metric")
    hashes = {path.name: known_sha256(path) for path in parts.files}
    key = {"files": hashes, "format": found.format, "columns": found.columns}
    prepared = prepare(parts.sources(), metric=chosen, key=key, progress=progress)
    return Whole(found.name, chosen, prepared, parts.base_ids, parts.query_ids, provenance={"licence": found.licence, "source": found.source, "files": hashes})
