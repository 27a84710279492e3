"""A filter as one index sees it: rows instead of ids, prepared once and kept while the filter and the rows stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from adamem.index import IdFilter
from adamem.types import FloatArray, IdArray
from adamem_indexes._labels import RowLabels

_ENTRIES = 4 << 20


@dataclass(slots=True)
class Prepared:
    """The rows that a filter admits."""

    rows: IdArray
    """int64 (m,), ascending, live."""
    admitted: npt.NDArray[np.uint8]
    """uint8 (rows of the index,): 1 where admitted."""
    gathered: tuple[FloatArray, FloatArray] | None = None
    """The admitted rows' vectors (m, d) and lengths (m,), once a scan has fetched them."""
    native: dict[Any, Any] = field(default_factory=dict)
    """What the library wants instead: selectors, search parameters."""

    def nbytes(self) -> int:
        """Bytes held for it."""
        gathered = sum(part.nbytes for part in self.gathered) if self.gathered else 0
        return self.rows.nbytes + self.admitted.nbytes + gathered


class FilterCache:
    """Remembers the last filter: it is typically used for many searches in a row."""

    def __init__(self, labels: RowLabels) -> None:
        self._labels = labels
        self._last: tuple[IdFilter | None, int, Prepared] | None = None

    def prepare(self, wanted: IdFilter | None) -> Prepared:
        """The filter's rows, or all live ones for None. Two threads may prepare one twice; both get a right one."""
        last, version = self._last, self._labels.version
        if last is not None and last[0] is wanted and last[1] == version:
            return last[2]
        if wanted is None:
            rows = self._labels.live_rows()
        else:
            rows = self._labels.rows_of(wanted.ids)
            rows = np.sort(rows[rows >= 0])
        admitted = np.zeros(self._labels.rows, dtype=np.uint8)
        admitted[rows] = 1
        prepared = Prepared(rows, admitted)
        self._last = (wanted, version, prepared)
        return prepared

    def nbytes(self) -> int:
        """Bytes held for the last filter."""
        return 0 if self._last is None else self._last[2].nbytes()


def query_blocks(queries: int, width: int) -> Iterator[slice]:
    """Slices of the queries whose answers of `width` rows stay below about 50 MB."""
    step = max(1, _ENTRIES // max(1, width))
    for start in range(0, queries, step):
        yield slice(start, min(queries, start + step))
