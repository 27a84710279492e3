"""How far float32 may be off, so that what it leaves out is known not to matter.

With u = 2^-24 a float32 inner product of length d is off by at most gamma(d) |q||x|, gamma(d) = d u / (1 - d u), in
whatever order BLAS sums (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1). Twice that,
with a few roundings more, pays for moving, scaling and casting the vectors too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adamem.errors import InvalidInput
from adamem.types import AnyArray, DoubleArray, FloatArray, Metric

QUERIES = 512
"""Queries in one block."""

_UNIT = 2.0**-24
_UNDERFLOW = 2.0**-148  # absolute error of one operation on numbers too small for float32's normal range
_LONGEST = 1e17  # in units of the usual length: its square is still far from float32's end


@dataclass(frozen=True)
class Rows:
    """A chunk of the base, ready for the matrix product."""

    vectors: FloatArray  # (c, d + 1): moved and scaled, its own length appended
    constant: FloatArray  # (c,): what does not depend on the query


@dataclass(frozen=True)
class Frame:
    """The coordinates in which float32 loses least: moved to the data's middle (l2) or to unit length (cosine), and
    scaled by a power of two, which is exact, so that squares neither overflow nor underflow.
    """

    metric: Metric
    centre: DoubleArray  # (d,)
    scale: float
    slack: float

    @classmethod
    def around(cls, base: FloatArray, queries: FloatArray, metric: Metric) -> Frame:
        dim = base.shape[1]
        slack = 2.0 * (dim + 8) * _UNIT / (1.0 - (dim + 8) * _UNIT)
        if metric == "cosine":
            return cls(metric, np.zeros(dim), 1.0, slack)
        sample = np.asarray(base[:: max(1, base.shape[0] // 2048)], np.float64)
        # Any centre is right; one near the middle makes the bound tight.
        centre = sample.mean(axis=0) if metric == "l2" else np.zeros(dim)
        longest = float(np.sqrt(((sample - centre) ** 2).sum(axis=1)).max(initial=0.0))
        for begin in range(0, len(queries), QUERIES):
            moved = np.asarray(queries[begin : begin + QUERIES], np.float64) - centre
            longest = max(longest, float(np.sqrt((moved**2).sum(axis=1)).max(initial=0.0)))
        scale = 2.0 ** -round(np.log2(longest)) if longest > 0 else 1.0
        return cls(metric, centre, scale, slack)

    def place(self, vectors: AnyArray) -> tuple[DoubleArray, DoubleArray]:
        """Vectors (c, d) in this frame, and their lengths (c,)."""
        moved = (np.asarray(vectors, np.float64) - self.centre) * self.scale
        lengths = np.sqrt((moved**2).sum(axis=1))
        if self.metric == "cosine":
            if not lengths.all():
                raise InvalidInput("a vector of length zero has no cosine; drop it or choose l2")
            moved /= lengths[:, None]
            lengths = np.ones(len(moved))
        return moved, lengths

    def rows(self, vectors: FloatArray, start: int) -> Rows:
        moved, lengths = self.place(vectors)
        if not lengths.max(initial=0.0) < _LONGEST:
            worst = start + int(np.argmax(lengths))
            raise InvalidInput(f"row {worst} is not finite, or 1e17 times longer than others; mend or drop it")
        extended = np.concatenate([moved, lengths[:, None]], axis=1).astype(np.float32)  # (c, d + 1)
        constant = (1.0 - self.slack) * lengths**2 if self.metric == "l2" else np.zeros(len(moved))
        return Rows(extended, constant.astype(np.float32))

    def lower_bounds(self, queries: FloatArray, rows: Rows, start: int = 0) -> FloatArray:
        """(b, c): what each distance is at least, less the query's own constant; `start` is the first query's number.

        l2:  |x|^2 - 2 q.x - slack (|q| + |x|)^2, the |q|^2 terms left out. The rest: -q.x - slack |q||x|.
        """
        moved, lengths = self.place(queries)
        if not np.isfinite(lengths).all():
            raise InvalidInput(f"query {start + int(np.argmin(np.isfinite(lengths)))} is not finite; mend or drop it")
        weight = self.slack * lengths
        extended = np.concatenate([moved, weight[:, None]], axis=1).astype(np.float32)
        product = extended @ rows.vectors.T  # (b, c)
        product *= np.float32(-2.0 if self.metric == "l2" else -1.0)
        if self.metric == "l2":
            product += rows.constant
        return product

    def error(self, query: FloatArray, rows: FloatArray) -> DoubleArray:
        """(c,): half the width between the lower bound above and an upper bound on the same scale, generously."""
        _, length = self.place(query[None])
        _, lengths = self.place(rows)
        reach = (length[0] + lengths) ** 2 if self.metric == "l2" else length[0] * lengths
        width: DoubleArray = 1.5 * self.slack * reach + (len(query) + 8) * _UNDERFLOW
        return width
