"""One build's measured points: recall and times by build seed, round and query, and their resamples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

import numpy as np

from adamem.bench.bootstrap import (
    Draws,
    draws,
    identity,
    resampled_log_means,
    resampled_log_percentiles,
    resampled_log_seconds,
    resampled_means,
)
from adamem.errors import InvalidInput, UnknownName
from adamem.types import DoubleArray, IdArray

Quantity = Literal["qps", "qps_one", "p50", "p99", "p99_raw"]
"""What is compared at a recall:

* ``qps``      -- queries a second of one call with all queries;
* ``qps_one``  -- queries a second asked one by one: 1 / mean seconds (ann-benchmarks' figure);
* ``p50``, ``p99`` -- seconds: percentile over queries of the per-query median across rounds;
* ``p99_raw``  -- seconds: percentile over all queries and rounds, with what the machine did meanwhile.
"""

QUANTITIES: Final[tuple[Quantity, ...]] = get_args(Quantity)
LARGER_IS_BETTER: Final[frozenset[Quantity]] = frozenset(("qps", "qps_one"))


@dataclass(frozen=True)
class Curve:
    """One build of one contestant: s build seeds, p points in order of effort, r rounds, q queries.

    The points are those chosen on the calibration queries (`front`); nothing here picks among them by a test figure.
    """

    blocks: tuple[str, ...]
    """(s,): the key of the block that each seed was measured in."""
    recall: DoubleArray
    """float64 (s, p, q)."""
    one: DoubleArray | None
    """float64 (s, p, r, q): seconds of each query asked alone, NaN where it was not asked; None if never."""
    batch: DoubleArray | None
    """float64 (s, p, r): seconds of all q queries in one call; None if there is no such call."""
    _resampled: dict[tuple[int, str, int], tuple[Draws, DoubleArray]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What `logs` has resampled: a report asks for the same point at every target and in every ratio."""
    _recalls: dict[int, tuple[Draws, DoubleArray]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What `recalls` has."""

    def __post_init__(self) -> None:
        """Raises `InvalidInput` where the shapes do not fit."""
        s, p, q = self.recall.shape
        fits = len(self.blocks) == s and s > 0 and p > 0 and q > 0
        if self.one is not None:
            fits = fits and self.one.ndim == 4 and (*self.one.shape[:2], self.one.shape[3]) == (s, p, q)
        if self.batch is not None:
            fits = fits and self.batch.ndim == 3 and self.batch.shape[:2] == (s, p)
        if not fits:
            shapes = [None if array is None else array.shape for array in (self.recall, self.one, self.batch)]
            raise InvalidInput(
                f"a curve's arrays do not fit together: {len(self.blocks)} blocks; recall, one, batch: {shapes}; "
                "expected (s, p, q), (s, p, r, q) and (s, p, r)"
            )

    @property
    def rounds(self) -> int:
        """How many rounds were timed, 0 if none."""
        if self.batch is not None:
            return int(self.batch.shape[2])
        return 0 if self.one is None else int(self.one.shape[2])

    def measured(self, what: Quantity) -> bool:
        """Whether the arrays for that quantity are there."""
        return (self.batch if what == "qps" else self.one) is not None

    def take(self, points: Sequence[int] | IdArray) -> Curve:
        """The same curve with only these points, in this order."""
        chosen = np.asarray(points, dtype=np.int64)
        return replace(
            self,
            recall=self.recall[:, chosen],
            one=None if self.one is None else self.one[:, chosen],
            batch=None if self.batch is None else self.batch[:, chosen],
        )

    def within(self, blocks: Sequence[str]) -> Curve:
        """The same curve with only these blocks, in this order."""
        if tuple(blocks) == self.blocks:
            return self
        chosen = [self.blocks.index(block) for block in blocks]
        return Curve(
            tuple(blocks),
            self.recall[chosen],
            None if self.one is None else self.one[chosen],
            None if self.batch is None else self.batch[chosen],
        )

    def once(self) -> Draws:
        """The draw that takes every seed, round and query once: it gives the estimates themselves."""
        return identity(self.recall.shape[0], self.rounds, self.recall.shape[2])

    def draws(self, resamples: int, seed: int) -> Draws:
        """Resamples of its seeds, rounds and queries: the same for any curve of that shape."""
        return draws(self.recall.shape[0], self.rounds, self.recall.shape[2], resamples=resamples, seed=seed)

    def recalls(self, drawn: Draws) -> DoubleArray:
        """float64 (b, p): mean recall at each point in each draw."""
        if id(drawn) not in self._recalls:
            self._recalls[id(drawn)] = drawn, resampled_means(self.recall, drawn)
        return self._recalls[id(drawn)][1]

    def logs(self, what: Quantity, drawn: Draws, points: Sequence[int] | IdArray | None = None) -> DoubleArray:
        """float64 (b, p): ln of the quantity at each of `points` (all, if None) in each draw.

        Raises `UnknownName` for what is no quantity, `InvalidInput` where it was not measured.
        """
        wanted = range(self.recall.shape[1]) if points is None else [int(point) for point in points]
        missing = [point for point in wanted if (id(drawn), what, point) not in self._resampled]
        if missing:
            for each, fresh in self.take(missing)._resample(what, drawn).items():
                for column, point in enumerate(missing):
                    # The draws are kept beside, so that their id stays theirs.
                    self._resampled[id(drawn), each, point] = (drawn, fresh[:, column])
        return np.stack([self._resampled[id(drawn), what, point][1] for point in wanted], axis=1)

    def _resample(self, what: Quantity, drawn: Draws) -> dict[Quantity, DoubleArray]:
        """The quantity; with one percentile of medians comes the other, for which the sorting is done already."""
        if what not in QUANTITIES:
            raise UnknownName.of("quantity", what, QUANTITIES)
        if what == "qps":
            if self.batch is None:
                raise InvalidInput("qps was not measured: this index has no batch call; ask for qps_one, p50 or p99")
            return {what: np.log(self.recall.shape[2]) - resampled_log_seconds(self.batch, drawn)}
        if self.one is None:
            raise InvalidInput(f"{what} was not measured: no query was asked alone; ask for qps")
        if what == "qps_one":
            return {what: -resampled_log_means(self.one, drawn)}
        if what == "p99_raw":
            return {what: resampled_log_percentiles(self.one, drawn, [99], raw=True)[0]}
        p50, p99 = resampled_log_percentiles(self.one, drawn, [50, 99], raw=False)
        return {"p50": p50, "p99": p99}


def in_shared_blocks(curve: Curve, reference: Curve) -> tuple[Curve, Curve]:
    """Both with only the blocks that both were measured in, in one order.

    Raises
    ------
    InvalidInput
        if they share no block, or not the queries and rounds: timings never cross blocks.
    """
    shared = [block for block in curve.blocks if block in reference.blocks]
    if not shared:
        raise InvalidInput("the two curves share no block; timings of different blocks cannot be compared")
    curve, reference = curve.within(shared), reference.within(shared)
    if (curve.rounds, curve.recall.shape[2]) != (reference.rounds, reference.recall.shape[2]):
        raise InvalidInput("two curves of one block differ in rounds or queries; the raw results are not of one run")
    return curve, reference
