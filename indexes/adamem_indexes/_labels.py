"""Which row of the index holds which of the caller's ids."""

from __future__ import annotations

import threading

import numpy as np

from adamem.types import IdArray

_MOST_RECENT = 4096
COMING = -2
"""What a row bears whose id another row bears still."""


class RowLabels:
    """Rows 0, 1, 2 ... and the ids they bear; a deleted row bears -1 and is never given another id, a coming one -2.

    Ids to rows goes through one sorted array, built at the first question, plus a small dictionary of what came since;
    an entry whose row no longer bears the id is stale, which makes forgetting free. Readers may ask while one writer
    changes: who asks first sorts, and meanwhile nothing is appended that the sorted array would not know of.
    """

    def __init__(self, ids: IdArray) -> None:
        self.array: IdArray = ids.astype(np.int64, copy=True)
        """int64 (at least `rows`,): the id of every row, -1 where it was deleted; rows to come stand behind."""
        self.rows = int(ids.size)
        """Rows in use, the deleted ones among them."""
        self.live = int(np.count_nonzero(self.array >= 0))
        """Ids held."""
        self.version = 0
        """Grows when a change is done, so that what was derived from the rows before can be known to be stale."""
        self._index: tuple[IdArray, IdArray, dict[int, int]] | None = None
        self._changing = threading.Lock()

    @property
    def of_rows(self) -> IdArray:
        """The rows in use, int64 (rows,): a view, not to be written to."""
        return self.array[: self.rows]

    @property
    def dead(self) -> int:
        """Rows whose id was deleted."""
        return self.rows - self.live

    def live_rows(self) -> IdArray:
        """int64 (live,), ascending."""
        return np.flatnonzero(self.of_rows >= 0)

    def rows_of(self, ids: IdArray) -> IdArray:
        """int64, the shape of `ids` (m,): the row of each id, -1 for one that is absent."""
        found = np.full(ids.size, -1, dtype=np.int64)
        if self.rows == 0:
            return found
        sorted_ids, sorted_rows, recent = self._index or self._sort()
        if sorted_ids.size:
            place = np.minimum(np.searchsorted(sorted_ids, ids), sorted_ids.size - 1)
            hit = sorted_ids[place] == ids
            found[hit] = sorted_rows[place[hit]]
        if recent:
            for position, label in enumerate(ids.tolist()):
                row = recent.get(label)
                if row is not None:
                    found[position] = row
        # a row that was dropped, or bears another id by now; -1 looks at the last row, and stays -1 either way
        stale = (found >= self.rows) | (self.of_rows[np.minimum(found, self.rows - 1)] != ids)
        found[stale] = -1
        return found

    def reserve(self, room: int) -> None:
        """Have room for so many rows, no less than now."""
        with self._changing:
            grown = np.full(room, -1, dtype=np.int64)
            grown[: self.rows] = self.of_rows
            self.array = grown

    def append(self, ids: IdArray) -> int:
        """Give the ids (m,), all absent, the next m rows; returns the first of them."""
        first, count = self.rows, int(ids.size)
        self._make_room(count)
        with self._changing:
            self.array[first : first + count] = ids
            self.rows += count
            self.live += count
            self._remember(ids, np.arange(first, first + count))
        self.version += 1
        return first

    def announce(self, count: int) -> int:
        """Take the next `count` rows into use, whose ids others bear until `hand_over`; returns the first of them."""
        first = self.rows
        self._make_room(count)
        with self._changing:
            self.array[first : first + count] = COMING
            self.rows += count
        return first

    def hand_over(self, ids: IdArray, *, source: IdArray, target: IdArray) -> None:
        """Let the coming rows `target` (m,) bear the ids (m,) of the rows `source` (m,), which are deleted by that."""
        with self._changing:
            self.array[source] = -1
            self.array[target] = ids
            self._remember(ids, target)
        self.version += 1

    def forget(self, rows: IdArray) -> None:
        """Mark rows (m,), all live, as deleted."""
        self.array[rows] = -1
        self.live -= int(rows.size)
        self.version += 1

    def take_back(self, first: int, *, instead_of: IdArray, ids: IdArray) -> None:
        """Undo what was begun, however far it came: rows from `first` on are deleted, `instead_of` bear `ids` again."""
        with self._changing:
            self.array[first : self.rows] = -1
            self.array[instead_of] = ids
            self.live = int(np.count_nonzero(self.of_rows >= 0))
            self._index = None
        self.version += 1

    def move(self, source: int, target: int) -> None:
        """Let a deleted row `target` take over the id of the last row, `source`, which is then dropped."""
        with self._changing:
            label = self.array[source]
            self.array[target] = label
            self.array[source] = -1
            self._remember(np.array([label]), np.array([target]))
        self.version += 1

    def truncate(self, rows: int) -> None:
        """Drop the rows from `rows` on, all deleted."""
        self.rows = rows
        self.version += 1

    def nbytes(self) -> int:
        """Bytes of both directions."""
        if self._index is None:
            return self.array.nbytes
        ids, rows, recent = self._index
        return self.array.nbytes + ids.nbytes + rows.nbytes + 120 * len(recent)  # an entry with its two numbers

    def _make_room(self, count: int) -> None:
        if self.rows + count > self.array.size:
            self.reserve(max(self.rows + count, self.array.size * 3 // 2, 16))

    def _remember(self, ids: IdArray, rows: IdArray) -> None:
        if self._index is None:
            return
        recent = self._index[2]
        if ids.size + len(recent) > max(_MOST_RECENT, self.live // 16):
            self._index = None
        else:
            recent.update(zip(ids.tolist(), rows.tolist(), strict=True))

    def _sort(self) -> tuple[IdArray, IdArray, dict[int, int]]:
        with self._changing:
            rows = self.live_rows()
            ids = self.of_rows[rows]
            order = np.argsort(ids, kind="stable")  # linear where the ids ascend already
            found: tuple[IdArray, IdArray, dict[int, int]] = (ids[order], rows[order], {})
            self._index = found
        return found
