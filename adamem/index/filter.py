"""A prepared set of ids to search among."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adamem.errors import InvalidInput
from adamem.types import IdArray


class IdFilter:
    """The ids that a search may return: prepared once, used for many searches.

    Parameters
    ----------
    ids
        int64, any order; repeats are dropped. May be empty: nothing is found then.
    """

    __slots__ = ("_bitmap", "ids")

    def __init__(self, ids: npt.ArrayLike) -> None:
        given = np.asarray(ids)
        if given.size == 0:
            given = given.astype(np.int64)
        if given.ndim != 1 or given.dtype.kind not in "iu":
            raise InvalidInput(
                f"a filter takes a one-dimensional array of integer ids, not {given.dtype} of shape {given.shape}; "
                "pass np.asarray(ids, dtype=np.int64)"
            )
        self.ids: IdArray = np.unique(given.astype(np.int64))
        """The admitted ids, int64, sorted, unique."""
        if self.ids.size and self.ids[0] < 0:
            raise InvalidInput(f"a filter holds the id {self.ids[0]}, but ids are 0 or greater; drop the negative ones")
        self._bitmap: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return int(self.ids.size)

    def __contains__(self, label: int) -> bool:
        position = int(np.searchsorted(self.ids, label))
        return position < self.ids.size and bool(self.ids[position] == label)

    def mask(self, labels: IdArray) -> npt.NDArray[np.bool_]:
        """Which of `labels` (any shape) are admitted, as booleans of the same shape."""
        if self.ids.size == 0:
            return np.zeros(labels.shape, dtype=np.bool_)
        # A bitmap answers in one gather, but only while the ids are not far sparser than it.
        if self.ids[-1] < max(1 << 16, 64 * self.ids.size):
            if self._bitmap is None:
                bitmap = np.zeros(int(self.ids[-1]) + 2, dtype=np.bool_)
                bitmap[self.ids] = True
                self._bitmap = bitmap
            inside = (labels >= 0) & (labels <= self.ids[-1])
            found: npt.NDArray[np.bool_] = self._bitmap[np.where(inside, labels, self.ids[-1] + 1)]
            return found
        position = np.minimum(np.searchsorted(self.ids, labels), self.ids.size - 1)
        same: npt.NDArray[np.bool_] = self.ids[position] == labels
        return same
