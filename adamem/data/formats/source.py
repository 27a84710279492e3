"""What every vector format hands over: blocks of rows, so that no file need fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from adamem.types import AnyArray, Metric

BLOCK_BYTES = 8 << 20
"""How much of a file is held in memory at once, counted as float32."""


def rows_per_block(dim: int) -> int:
    """How many float32 rows of this width make a block of about `BLOCK_BYTES`."""
    return max(1, BLOCK_BYTES // (4 * max(dim, 1)))


@dataclass(frozen=True)
class VectorSource:
    """One matrix in a file, readable from its start in blocks of whole rows, as often as wanted."""

    path: Path
    rows: int
    dim: int
    blocks: Callable[[int], Iterator[AnyArray]]
    """``blocks(n)`` yields arrays (<= n, dim) of the stored dtype, in order; raises DataError where the file breaks."""
    mappable: bool = False
    """The file is a .npy of little-endian float32 in C order: it can be mapped as it lies."""


@dataclass(frozen=True)
class VectorParts:
    """What a vector data set consists of, before anything is read."""

    base: VectorSource
    queries: VectorSource | None = None
    learn: VectorSource | None = None
    metric: Metric | None = None
    """As the file itself says, where it does."""
    base_ids: tuple[str, ...] | None = None
    query_ids: tuple[str, ...] | None = None
    files: tuple[Path, ...] = field(default=())
    """Every file that was opened; their bytes name the prepared copy."""
    made: str = ""
    """Where not every vector is a real one: which are, and how the others came about, as a sentence."""

    def sources(self) -> dict[str, VectorSource]:
        """The parts that are there, by name: base, queries, learn."""
        named = {"base": self.base, "queries": self.queries, "learn": self.learn}
        return {name: source for name, source in named.items() if source is not None}
