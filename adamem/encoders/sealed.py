"""JSON and float32 arrays in bytes behind their SHA-256; nothing in them is ever run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from adamem.errors import CorruptResult
from adamem.files import canonical_json
from adamem.types import FloatArray

_SEAL = 32
"""Bytes of SHA-256 in front."""


def seal(said: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> bytes:
    """A SHA-256, a line of canonical JSON, then the arrays as little-endian float32 in the order of their names.

    Equal content gives equal bytes, so the SHA-256 in front serves as a fingerprint; see `fingerprint_of`.
    """
    names = sorted(arrays)
    shapes = [[name, list(arrays[name].shape)] for name in names]
    head = canonical_json({"said": said, "arrays": shapes}).encode() + b"\n"
    body = b"".join([head, *(np.ascontiguousarray(arrays[name], dtype="<f4").tobytes() for name in names)])
    return hashlib.sha256(body).digest() + body


def unseal(kept: bytes) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """What `seal` was given. Raises `CorruptResult` if the bytes are not what it has written."""
    body = kept[_SEAL:]
    if hashlib.sha256(body).digest() != kept[:_SEAL]:
        raise CorruptResult(
            f"{len(kept)} bytes of a kept adaptation are not what was written: their SHA-256 differs; "
            "take another copy or learn it anew"
        )
    line, _, flat = body.partition(b"\n")
    try:
        head = json.loads(line)
        arrays, start = {}, 0
        for name, shape in head["arrays"]:
            count = int(np.prod(shape, dtype=np.int64))
            # A copy: the bytes may be a large file's, and a view of them could not be written to.
            arrays[name] = np.frombuffer(flat, dtype="<f4", count=count, offset=start).astype(np.float32).reshape(shape)
            start += 4 * count
        return dict(head["said"]), arrays
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CorruptResult(
            f"{len(kept)} bytes are whole but no kept adaptation: expected a line of JSON and float32 arrays; "
            "pass what to_bytes has written"
        ) from error


def fingerprint_of(sealed: bytes) -> str:
    """Hex SHA-256 over the content of sealed bytes."""
    return sealed[:_SEAL].hex()
