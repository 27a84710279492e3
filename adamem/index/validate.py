"""The one gate in front of native code: hnswlib and faiss crash or corrupt on what is refused here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from adamem.errors import InvalidInput, UnknownName
from adamem.index.protocol import Param
from adamem.types import METRICS, FloatArray, IdArray, Metric, ParamValue

MAX_DIM = 65_536
MAX_K = 1_000_000
_MAX_COUNT = 1024
MIN_SQUARE = 1e-30
"""The squared length under which a float32 vector has lost its digits, so that its direction is noise."""
FLOAT32 = np.dtype(np.float32)
"""numpy has one such object, so that `is` may ask for it; the byte-swapped one is another."""


def check_metric(metric: object, supported: Sequence[Metric], index: str) -> Metric:
    """A metric that `index` supports.

    Raises
    ------
    UnknownName
        for a metric that does not exist.
    InvalidInput
        for one that this index does not support.
    """
    if metric not in METRICS:
        raise UnknownName.of("metric", metric, METRICS)
    if metric not in supported:
        raise InvalidInput(f"{index} does not support the metric {metric!r}; it supports {', '.join(supported)}")
    return metric


def check_vectors(
    vectors: npt.ArrayLike, *, metric: Metric, dim: int | None = None, what: str = "vectors"
) -> FloatArray:
    """Vectors as C-contiguous float32 (n, d), finite, and not zero where the metric is cosine.

    An array that already is so is returned as it is, without a copy.
    """
    given = np.asarray(vectors)
    if given.ndim != 2:
        raise InvalidInput(
            f"{what} must be an array of shape (n, d), not {given.shape}; reshape one vector with x[None, :]"
        )
    if given.dtype.kind not in "fiu" or given.dtype.itemsize > 8:
        raise InvalidInput(f"{what} must be real numbers, not {given.dtype}; convert them with .astype(np.float32)")
    n, d = given.shape
    if n == 0:
        raise InvalidInput(f"{what} are empty (shape {given.shape}); pass at least one row")
    if not 1 <= d <= MAX_DIM:
        raise InvalidInput(f"{what} have {d} dimensions, expected 1 to {MAX_DIM}")
    if dim is not None and d != dim:
        raise InvalidInput(f"{what} have {d} dimensions, but the index has {dim}; embed both with the same encoder")
    with np.errstate(over="ignore"):
        array: FloatArray = np.ascontiguousarray(given, dtype=np.float32)
    _refuse_bad_rows(array, zero_is_bad=metric == "cosine", what=what)
    return array


def check_queries(queries: npt.ArrayLike, *, metric: Metric, dim: int) -> FloatArray:
    """Queries as `check_vectors` gives them; one query of shape (d,) becomes (1, d). May hold zero rows."""
    given = np.asarray(queries)
    if given.ndim == 1:
        given = given[None, :]
    if given.ndim == 2 and given.shape[0] == 0 and given.shape[1] == dim:
        return np.empty((0, dim), dtype=np.float32)
    return check_vectors(given, metric=metric, dim=dim, what="queries")


def check_ids(ids: npt.ArrayLike, *, count: int) -> IdArray:
    """Ids as int64 (count,), unique and not negative."""
    given = np.asarray(ids)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise InvalidInput(
            f"ids must be a one-dimensional array of integers, not {given.dtype} of shape {given.shape}; "
            "number your records and keep the names beside"
        )
    if given.size != count:
        raise InvalidInput(f"{count} vectors came with {given.size} ids; pass one id a vector")
    if given.dtype == np.uint64 and given.size and given.max() > np.iinfo(np.int64).max:
        raise InvalidInput(f"the id {given.max()} does not fit int64; use ids below 2^63")
    array: IdArray = np.ascontiguousarray(given, dtype=np.int64)
    if array.size:
        if array.min() < 0:
            raise InvalidInput(f"the id {array.min()} is negative; -1 marks a missing answer, so ids are 0 or greater")
        ordered = np.sort(array)
        repeats = ordered[1:][ordered[1:] == ordered[:-1]]
        if repeats.size:
            times = int((array == repeats[0]).sum())
            raise InvalidInput(f"the id {repeats[0]} stands {times} times; ids must be unique")
    return array


def check_k(k: object) -> int:
    """A number of neighbours from 1 to `MAX_K`; more than the index holds is allowed and padded."""
    if type(k) is int and 1 <= k <= MAX_K:
        return k
    if isinstance(k, (int, np.integer)) and not isinstance(k, bool) and 1 <= k <= MAX_K:
        return int(k)
    raise InvalidInput(f"k must be a whole number from 1 to {MAX_K}, not {k!r}")


def check_count(value: object, *, what: str) -> int:
    """A whole number from 1 to 1024 (threads, say: a library that is asked for a million of them brings us down)."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 1 <= value <= _MAX_COUNT:
        return int(value)
    raise InvalidInput(f"{what} must be a whole number from 1 to {_MAX_COUNT}, not {value!r}")


def check_seed(value: object) -> int:
    """A whole number from 0 to 2^63 - 1, which every library's generator takes."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 <= value < 1 << 63:
        return int(value)
    raise InvalidInput(f"seed must be a whole number from 0 to 2^63 - 1, not {value!r}")


def check_params(
    given: Mapping[str, ParamValue] | None, known: Sequence[Param], *, index: str, stage: str
) -> dict[str, ParamValue]:
    """Every parameter of `known`, with the given values checked and the rest at their defaults.

    Raises
    ------
    UnknownName
        for a parameter that the index does not have; the nearest name is suggested.
    InvalidInput
        for a value of another type or outside its range.
    """
    resolved: dict[str, ParamValue] = {param.name: param.default for param in known}
    if not given:
        return resolved
    for name, value in given.items():
        if name not in resolved:
            raise UnknownName.of(f"{stage} parameter of {index}", name, resolved)
        resolved[name] = _check_param(value, next(param for param in known if param.name == name), index)
    return resolved


def _check_param(value: ParamValue, param: Param, index: str) -> ParamValue:
    where = f"{index}'s parameter {param.name}"
    if isinstance(value, np.generic):
        value = value.item()
    wanted = type(param.default)
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        raise InvalidInput(f"{where} is {value!r}, expected {_KIND[wanted]}; its default is {param.default!r}")
    if param.choices and value not in param.choices:
        raise InvalidInput(f"{where} is {value!r}, expected one of {', '.join(map(repr, param.choices))}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = param.low, param.high
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            span = f"from {_bound(low, '-inf')} to {_bound(high, 'any size')}"
            raise InvalidInput(f"{where} is {value!r}, expected {_KIND[wanted]} {span}")
    return value


_KIND: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


def _bound(value: float | None, missing: str) -> str:
    return missing if value is None else f"{value:g}"


def _refuse_bad_rows(array: FloatArray, *, zero_is_bad: bool, what: str) -> None:
    # In pieces: a memory-mapped collection may be larger than memory.
    step = max(1, (1 << 22) // max(1, array.shape[1]))
    for start in range(0, array.shape[0], step):
        piece = array[start : start + step]
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.vecdot(piece, piece)
        if not np.isfinite(squares).all():
            finite = np.isfinite(piece).all(axis=1)
            if not finite.all():
                row = start + int(np.flatnonzero(~finite)[0])
                raise InvalidInput(f"{what} row {row} holds NaN or Inf; clean or drop such rows first")
            row = start + int(np.flatnonzero(~np.isfinite(squares))[0])
            raise InvalidInput(
                f"{what} row {row} is so long that its squared norm overflows float32; scale the data down"
            )
        if zero_is_bad and squares.size and squares.min() <= MIN_SQUARE:
            row = start + int(squares.argmin())
            raise InvalidInput(
                f"{what} row {row} is a zero vector, which has no direction under cosine; drop it or use the metric l2"
            )
