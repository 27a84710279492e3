"""Ground truth, computed once and kept by content."""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path

import numpy as np

from adamem.data.dataset import Dataset
from adamem.data.oracle import ORACLE_VERSION, exact_neighbours
from adamem.data.places import cache_folder
from adamem.data.progress import Progress
from adamem.errors import InvalidInput
from adamem.files import atomic_write, content_key
from adamem.types import DoubleArray, IdArray

_DIGEST = 32

log = logging.getLogger("adamem.data")


def ground_truth(
    dataset: Dataset, rows: IdArray, k: int, progress: Progress | None = None
) -> tuple[IdArray, DoubleArray]:
    """The k nearest base rows of the queries `rows`, from the cache or from the oracle.

    Parameters
    ----------
    dataset
        Its fingerprint stands for its bytes.
    rows
        int64 (q,): which rows of `dataset.queries`, in any order.
    k
        How many, 1 to the number of base rows.
    progress
        As for `exact_neighbours`.

    Returns
    -------
    As `exact_neighbours`: ids (q, k) int64 and distances (q, k) float64. A cache entry that is not what was written is
    computed again, and a warning is logged.

    Raises
    ------
    InvalidInput
        if a row is not one of the queries, or as `exact_neighbours`.
    StorageError
        if the cache cannot be written.
    """
    rows = np.asarray(rows, np.int64)
    if rows.ndim != 1 or (rows.size and not 0 <= rows.min() <= rows.max() < len(dataset.queries)):
        raise InvalidInput(f"rows must be numbers of queries, 0 to {len(dataset.queries) - 1}; got {rows}")
    asked = hashlib.sha256(rows.tobytes()).hexdigest()
    key = content_key([ORACLE_VERSION, dataset.fingerprint, dataset.metric, asked, k])
    path = cache_folder() / "truth" / f"{key[:40]}.bin"
    found = _read(path, (len(rows), k))
    if found is not None:
        return found
    queries = np.ascontiguousarray(dataset.queries[rows])
    ids, distances = exact_neighbours(dataset.base, queries, k, metric=dataset.metric, progress=progress)
    packed = io.BytesIO()
    np.savez(packed, ids=ids, distances=distances)
    raw = packed.getvalue()
    with atomic_write(path) as stream:
        stream.write(hashlib.sha256(raw).digest() + raw)
    return ids, distances


def _read(path: Path, shape: tuple[int, int]) -> tuple[IdArray, DoubleArray] | None:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    body = raw[_DIGEST:]
    if hashlib.sha256(body).digest() == raw[:_DIGEST]:
        with np.load(io.BytesIO(body)) as stored:
            ids, distances = stored["ids"], stored["distances"]
        if ids.shape == shape:
            return ids, distances
    log.warning("the cached ground truth %s is damaged; it is computed again", path)
    return None
