"""The checks and the refusals, once: an index that subclasses this writes only what is its own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from adamem.errors import InvalidInput, UnsupportedOperation
from adamem.index.filter import IdFilter
from adamem.index.protocol import Capabilities, Param, SearchResult
from adamem.index.registry import names_that_can
from adamem.index.validate import (
    FLOAT32,
    MAX_K,
    MIN_SQUARE,
    check_count,
    check_ids,
    check_k,
    check_metric,
    check_params,
    check_queries,
    check_seed,
    check_vectors,
)
from adamem.types import FloatArray, IdArray, Metric, ParamValue

_NDARRAY = np.ndarray
_INF = math.inf


class IndexBase(ABC):
    """An `Index` whose public methods validate, then call the underscored ones that a subclass writes.

    A subclass sets the five class variables and writes `_build`, `_search`, `_contains`, `nbytes`, `__len__`, and
    those of `_insert`, `_delete`, `_replace`, `_save`, `_load` that its `capabilities` declare. The hooks receive
    checked, C-contiguous arrays and complete parameters.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    build_params: ClassVar[tuple[Param, ...]] = ()
    search_params: ClassVar[tuple[Param, ...]] = ()

    metric: Metric
    dim: int
    params: dict[str, ParamValue]
    """The build parameters, complete."""

    _default_search_params: dict[str, ParamValue]
    _last: tuple[dict[str, ParamValue], list[type], dict[str, ParamValue]]
    """The search parameters of the last call as given, their types, and completed; no hook may change the latter."""
    _one_query: tuple[int, int]
    _shortest: float

    @staticmethod
    def _least_square(queries: FloatArray) -> float:
        """The smallest sum of squares of a row; NaN if one is not finite. Compiled kernels may bring a faster one."""
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.vecdot(queries, queries)
        return float(squares.min()) if squares.size and np.isfinite(squares).all() else math.nan

    @classmethod
    def build(
        cls,
        vectors: npt.ArrayLike,
        ids: npt.ArrayLike,
        *,
        metric: Metric,
        params: Mapping[str, ParamValue] | None = None,
        seed: int = 0,
        threads: int = 1,
    ) -> Self:
        """Build over `vectors` (n, d) labelled `ids` (n,). Raises `InvalidInput` or `UnknownName` before any work."""
        metric = check_metric(metric, cls.capabilities.metrics, cls.name)
        checked_params = check_params(params, cls.build_params, index=cls.name, stage="build")
        threads = check_count(threads, what="threads")
        checked = check_vectors(vectors, metric=metric)
        labels = check_ids(ids, count=checked.shape[0])
        index = cls._build(
            checked, labels, metric=metric, params=checked_params, seed=check_seed(seed), threads=threads
        )
        index._adopt(metric=metric, dim=checked.shape[1], params=checked_params)
        return index

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        *,
        params: Mapping[str, ParamValue] | None = None,
        filter: IdFilter | None = None,  # noqa: A002 -- the field's own name for it
    ) -> SearchResult:
        """The k nearest of `queries` (q, d) or (d,): ids int64 (q, k), distances float32 (q, k)."""
        # Queries in their usual form pass here, in a few lines: a function call costs as much as all they do.
        checked: FloatArray
        if (
            type(queries) is _NDARRAY
            and queries.dtype is FLOAT32
            and (queries.shape == self._one_query or (queries.ndim == 2 and queries.shape[1] == self.dim))
            and queries.flags.c_contiguous
            and self._shortest < self._least_square(queries) < _INF  # false for NaN too
        ):
            checked = queries
        else:
            checked = check_queries(queries, metric=self.metric, dim=self.dim)
        if type(k) is not int or not 0 < k <= MAX_K:
            k = check_k(k)
        if not params:
            resolved = self._default_search_params
        else:
            given, types, resolved = self._last
            # equal is not enough: True, 1 and 1.0 are, and only one of them is of the right type
            if params != given or [*map(type, params.values())] != types:
                resolved = check_params(params, self.search_params, index=self.name, stage="search")
                self._last = dict(params), [*map(type, params.values())], resolved
        if filter is not None:
            self._check_filter(filter)
            if len(filter) == 0:
                return empty_result(checked.shape[0], k)
        if len(self) == 0 or len(checked) == 0:
            return empty_result(checked.shape[0], k)
        return self._search(checked, k, params=resolved, filter=filter)

    def insert(self, vectors: npt.ArrayLike, ids: npt.ArrayLike) -> None:
        """Add vectors (m, d) under new ids (m,)."""
        if not self.capabilities.insert:
            raise self._unsupported("insert")
        checked = check_vectors(vectors, metric=self.metric, dim=self.dim)
        labels = check_ids(ids, count=checked.shape[0])
        present = labels[self._contains(labels)]
        if present.size:
            raise InvalidInput(f"the id {present[0]} is already in the index; use replace, or another id")
        self._insert(checked, labels)

    def delete(self, ids: npt.ArrayLike) -> None:
        """Forget the ids (m,)."""
        if not self.capabilities.delete:
            raise self._unsupported("delete")
        labels = check_ids(ids, count=np.asarray(ids).size)
        self._require_present(labels)
        if labels.size:
            self._delete(labels)

    def replace(self, vectors: npt.ArrayLike, ids: npt.ArrayLike) -> None:
        """Give the present ids (m,) the vectors (m, d)."""
        if not self.capabilities.replace:
            raise self._unsupported("replace")
        checked = check_vectors(vectors, metric=self.metric, dim=self.dim)
        labels = check_ids(ids, count=checked.shape[0])
        self._require_present(labels)
        self._replace(checked, labels)

    def needs_maintenance(self) -> bool:
        """Whether `maintain` would help; an index without upkeep never needs it."""
        return False

    def maintain(self) -> None:
        """Nothing, for an index without upkeep."""
        return

    def save(self, path: Path) -> None:
        """Write the index into the folder `path`; a kill meanwhile leaves what was there before."""
        if not self.capabilities.save:
            raise self._unsupported("save")
        self._save(Path(path))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises `CorruptResult` for an altered, truncated or foreign file."""
        if not cls.capabilities.save:
            raise cls._unsupported("save")
        return cls._load(Path(path))

    def counters(self) -> dict[str, int]:
        """Empty: most libraries keep none."""
        return {}

    @abstractmethod
    def nbytes(self) -> dict[str, int]:
        """Bytes held, by part."""

    @abstractmethod
    def __len__(self) -> int:
        """How many ids the index holds."""

    @classmethod
    @abstractmethod
    def _build(
        cls,
        vectors: FloatArray,
        ids: IdArray,
        *,
        metric: Metric,
        params: dict[str, ParamValue],
        seed: int,
        threads: int,
    ) -> Self: ...

    @abstractmethod
    def _search(
        self,
        queries: FloatArray,
        k: int,
        *,
        params: dict[str, ParamValue],
        filter: IdFilter | None,  # noqa: A002
    ) -> SearchResult: ...

    @abstractmethod
    def _contains(self, ids: IdArray) -> npt.NDArray[np.bool_]:
        """Which of `ids` (m,) the index holds."""

    def _insert(self, vectors: FloatArray, ids: IdArray) -> None:  # noqa: ARG002 -- the hook's signature
        raise self._unsupported("insert")

    def _delete(self, ids: IdArray) -> None:  # noqa: ARG002 -- the hook's signature
        raise self._unsupported("delete")

    def _replace(self, vectors: FloatArray, ids: IdArray) -> None:
        """Deleting and inserting again is a replacement, where an index has no better way."""
        self._delete(ids)
        self._insert(vectors, ids)

    def _save(self, path: Path) -> None:  # noqa: ARG002 -- the hook's signature
        raise self._unsupported("save")

    @classmethod
    def _load(cls, path: Path) -> Self:  # noqa: ARG003 -- the hook's signature
        raise cls._unsupported("save")

    def _adopt(self, *, metric: Metric, dim: int, params: dict[str, ParamValue]) -> None:
        """Remember what every index remembers; `build` calls it, and so must `_load`."""
        self.metric = metric
        self.dim = dim
        self.params = params
        self._default_search_params = check_params(None, self.search_params, index=self.name, stage="search")
        self._last = {}, [], self._default_search_params
        self._one_query = (1, dim)
        self._shortest = MIN_SQUARE if metric == "cosine" else -1.0

    def _check_filter(self, given: object) -> None:
        if not self.capabilities.filter:
            raise self._unsupported("filter")
        if not isinstance(given, IdFilter):
            raise InvalidInput(f"filter must be an IdFilter, not {type(given).__name__}; wrap the ids: IdFilter(ids)")

    def _require_present(self, ids: IdArray) -> None:
        absent = ids[~self._contains(ids)]
        if absent.size:
            raise InvalidInput(f"the id {absent[0]} is not in the index; it may have been deleted, or never inserted")

    @classmethod
    def _unsupported(cls, operation: str) -> UnsupportedOperation:
        able = ", ".join(names_that_can(operation)) or "none of the installed ones"
        return UnsupportedOperation(f"{cls.name} cannot {operation}; indexes that can: {able}")


def empty_result(queries: int, k: int) -> SearchResult:
    """An answer in which nothing was found."""
    return SearchResult(np.full((queries, k), -1, dtype=np.int64), np.full((queries, k), np.inf, dtype=np.float32))
