"""The exact tail: what was added since the index was last told, scanned whole, so that the next search finds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adamem.types import AnyArray, FloatArray, IdArray

_SCREENED_FROM = 512
"""Fewer vectors are compared as they are; more are screened by 8-bit codes first, a fourth of the bytes to read."""
_SLACK = np.float32(4e-6)
"""What float32's rounding may add to an inner product of vectors of length 1."""
_LEVELS = np.float32(127)
_MIDDLE = 128
_TURN = 64
"""Codes of a vector are a multiple of that: `adamem.simd.TURN`, which brings numba."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The arrays, longer than what is in use; a reader takes them and the count at once."""

    count: int
    ids: IdArray
    """int64 (capacity,), as they came."""
    vectors: FloatArray
    """float32 (capacity, d), of length 1."""
    codes: AnyArray
    """uint8 (capacity, d or more): a vector is its scale times these less 128, nearly."""
    scales: FloatArray
    """float32 (capacity,): 0 for what is gone."""
    errors: FloatArray
    """float32 (capacity,): the length of what the codes miss."""


class Tail:
    """Vectors of length 1 by id, of which any may be dropped; a search meets every one and is exact.

    One thread at a time changes it; searches may run beside that.

    Parameters
    ----------
    dim
        The length of the vectors.
    """

    def __init__(self, dim: int) -> None:
        self._rows = _empty(64, dim)
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        """How many it holds."""
        return len(self._places)

    def __contains__(self, number: int) -> bool:
        return number in self._places

    def append(self, ids: IdArray, vectors: FloatArray) -> None:
        """Take in vectors (m, d) with ids (m,) that it does not hold."""
        rows = self._rows
        start, stop = rows.count, rows.count + len(ids)
        if stop > rows.ids.size:
            stay = np.flatnonzero(rows.scales[: rows.count] > 0)
            rows = _moved(rows, stay, max(2 * (stay.size + len(ids)), 64))
            self._places = {number: place for place, number in enumerate(rows.ids[: rows.count].tolist())}
            start, stop = rows.count, rows.count + len(ids)
        rows.ids[start:stop] = ids
        rows.vectors[start:stop] = vectors
        _encode(vectors, rows.codes[start:stop], rows.scales[start:stop], rows.errors[start:stop])
        self._places |= {number: start + place for place, number in enumerate(ids.tolist())}
        self._rows = _Rows(stop, rows.ids, rows.vectors, rows.codes, rows.scales, rows.errors)

    def drop(self, number: int) -> bool:
        """Forget one; whether it was here."""
        place = self._places.pop(number, None)
        if place is None:
            return False
        self._rows.scales[place] = 0.0
        return True

    def first(self, count: int) -> tuple[IdArray, FloatArray]:
        """Copies of the `count` that came first, or of all: ids int64 (m,), vectors float32 (m, d)."""
        rows = self._rows
        places = np.flatnonzero(rows.scales[: rows.count] > 0)[:count]
        return rows.ids[places], rows.vectors[places]

    def without(self, ids: IdArray) -> Tail:
        """Another one, that holds the rest."""
        rows = self._rows
        stays = (rows.scales[: rows.count] > 0) & ~np.isin(rows.ids[: rows.count], ids)
        rest = Tail(rows.vectors.shape[1])
        rest._rows = _moved(rows, np.flatnonzero(stays), max(64, int(stays.sum())))
        rest._places = {number: place for place, number in enumerate(rest._rows.ids[: rest._rows.count].tolist())}
        return rest

    def search(self, query: FloatArray, k: int, admitted: IdArray | None = None) -> tuple[IdArray, FloatArray]:
        """The k nearest to `query` (d,), of length 1, by (distance, id): ids, distances 1 - cos; fewer if there are.

        `admitted`, int64, sorted, are the ids in question, or None for all.
        """
        rows = self._rows
        if rows.count == 0:
            return rows.ids[:0], rows.scales[:0]
        if rows.count <= _SCREENED_FROM:
            places = np.flatnonzero(rows.scales[: rows.count] > 0)
        else:
            places = _screened(rows, query, min(k, rows.count), admitted)
        if admitted is not None:
            places = places[np.isin(rows.ids[places], admitted)]
        ids = rows.ids[places]
        # Without a copy where that is all of them.
        vectors = rows.vectors[: rows.count] if places.size == rows.count else rows.vectors[places]
        distances = np.float32(1) - vectors @ query
        if ids.size > 4 * k:
            near = np.argpartition(distances, k)
            within = distances <= distances[near[:k]].max()  # all that tie with the last
            ids, distances = ids[within], distances[within]
        order = np.lexsort((ids, distances))[:k]
        return ids[order], distances[order]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        rows = self._rows
        return sum(part.nbytes for part in (rows.ids, rows.vectors, rows.codes, rows.scales, rows.errors))


def _screened(rows: _Rows, query: FloatArray, k: int, admitted: IdArray | None) -> AnyArray:
    from adamem.memory._screen import screen  # noqa: PLC0415 -- brings numba, which small memories do without

    scales = rows.scales
    if admitted is not None:
        scales = np.where(np.isin(rows.ids, admitted), scales, np.float32(0))
    out = np.empty(rows.count, dtype=np.int32)
    estimates = np.empty(rows.count, dtype=np.float32)
    found = screen(rows.codes, scales, rows.errors, rows.count, query, _SLACK, k, estimates, out)
    return out[:found]


def _encode(vectors: FloatArray, codes: AnyArray, scales: FloatArray, errors: FloatArray) -> None:
    """Write the codes of vectors (m, d), their scales, and the lengths of what they miss, rounding included."""
    found = np.maximum(np.abs(vectors).max(axis=1), np.float32(1e-30)) / _LEVELS
    rounded = np.rint(vectors / found[:, None])
    errors[:] = np.linalg.norm(vectors - rounded * found[:, None], axis=1) + _SLACK
    codes[:, : vectors.shape[1]] = rounded + _MIDDLE
    scales[:] = found


def _empty(capacity: int, dim: int) -> _Rows:
    return _Rows(
        0,
        np.empty(capacity, np.int64),
        np.empty((capacity, dim), np.float32),
        np.full((capacity, -(-dim // _TURN) * _TURN), _MIDDLE, np.uint8),
        np.zeros(capacity, np.float32),
        np.empty(capacity, np.float32),
    )


def _moved(rows: _Rows, places: IdArray, capacity: int) -> _Rows:
    """Those rows, in arrays with room for `capacity`."""
    out = _empty(capacity, rows.vectors.shape[1])
    for name in ("ids", "vectors", "codes", "scales", "errors"):
        getattr(out, name)[: places.size] = getattr(rows, name)[places]
    return _Rows(places.size, out.ids, out.vectors, out.codes, out.scales, out.errors)
