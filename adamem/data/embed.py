"""Texts to vectors, each text once, in pieces that survive a kill.

A piece is a file named by the texts in it, the encoder's fingerprint and the verb (query or document); so a kill loses
the piece in the making, and a larger `limit` later reuses what a smaller one made. Every piece carries a checksum.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from adamem.data.formats.source import VectorSource
from adamem.data.places import cache_folder
from adamem.data.prepare import Prepared, prepare
from adamem.data.progress import Progress, silent
from adamem.encoders.protocol import Encoder
from adamem.errors import InvalidInput
from adamem.files import atomic_write, content_key
from adamem.types import FloatArray, Metric

PIECE = 512
"""Texts in one piece: a few seconds of work for a small model on two cores."""

_DIGEST = 32

log = logging.getLogger("adamem.data")


def embed(
    texts: Sequence[str],
    encoder: Encoder,
    verb: Literal["query", "document"],
    *,
    part: Literal["base", "queries"],
    metric: Metric,
    progress: Progress | None = None,
) -> Prepared:
    """One row a text; equal texts are encoded once and get equal rows.

    Raises
    ------
    InvalidInput
        if the encoder gives another shape or dtype than it promised.
    """
    tell = progress or silent
    number: dict[str, int] = {}
    row_of = np.array([number.setdefault(text, len(number)) for text in texts], np.int64)
    unique = list(number)
    folder = cache_folder() / "embeddings" / encoder.fingerprint[:40] / verb

    def distinct(_count: int) -> Iterator[FloatArray]:
        for start in range(0, len(unique), PIECE):
            some = unique[start : start + PIECE]
            yield _piece(folder, some, encoder, verb)
            tell(start + len(some), len(unique), f"embedding {part} with {encoder.name}")

    def prepared(source: VectorSource, given: Metric, kind: str, of: Sequence[str]) -> Prepared:
        key = {kind: content_key(list(of)), "encoder": encoder.fingerprint, "verb": verb}
        return prepare({"base": source}, metric=given, key=key)["base"]

    source = VectorSource(folder, len(unique), encoder.dim, distinct)
    if len(unique) == len(texts):
        return prepared(source, metric, "texts", texts)
    # l2 keeps zero rows, so that row_of stays right; those that cosine cannot use are dropped in the second step.
    known = prepared(source, "l2", "distinct texts", unique).map()

    def spread(count: int) -> Iterator[FloatArray]:
        for start in range(0, len(texts), count):
            yield known[row_of[start : start + count]]

    return prepared(VectorSource(folder, len(texts), encoder.dim, spread), metric, "texts", texts)


def _piece(folder: Path, texts: list[str], encoder: Encoder, verb: Literal["query", "document"]) -> FloatArray:
    path = folder / f"{content_key(texts)[:40]}.bin"
    found = _read(path, len(texts), encoder.dim)
    if found is not None:
        return found
    made = encoder.encode_query(texts) if verb == "query" else encoder.encode_document(texts)
    if made.shape != (len(texts), encoder.dim) or made.dtype != np.float32:
        raise InvalidInput(
            f"encoder {encoder.name!r} gave {made.dtype} of shape {made.shape} for {len(texts)} texts; expected "
            f"float32 ({len(texts)}, {encoder.dim}); mend the encoder"
        )
    raw = np.ascontiguousarray(made).tobytes()
    with atomic_write(path) as stream:
        stream.write(hashlib.sha256(raw).digest() + raw)
    return made


def _read(path: Path, rows: int, dim: int) -> FloatArray | None:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    body = raw[_DIGEST:]
    if len(body) != 4 * rows * dim or hashlib.sha256(body).digest() != raw[:_DIGEST]:
        log.warning("the cached embeddings %s are damaged; these %d texts are embedded again", path, rows)
        return None
    return np.frombuffer(body, np.float32).reshape(rows, dim)
