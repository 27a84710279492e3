"""Speed at a recall, with intervals; ratios inside a block; the noise floor.

Everything is a function of arrays. Estimates over build seeds and rounds are geometric means, so that a ratio of two
estimates is the mean of the ratios formed inside each block and round. Intervals are 95 % percentile intervals of the
hierarchical bootstrap (`adamem.bench.bootstrap`), whose resamples are first moved, on the scale of logarithms, so that
their median is the estimate: five rounds drawn with repetition have a noisier median than five rounds, which lifts the
99th percentile of medians in every resample and would push the estimate out of its own interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from adamem.bench.bootstrap import RESAMPLES, Draws, draws, resampled_means
from adamem.bench.curve import LARGER_IS_BETTER, Curve, Quantity, in_shared_blocks
from adamem.types import DoubleArray, IdArray

NEAR: Final = 0.02
"""A target counts as bracketed only with a point so near on each side."""

Status = Literal["bracketed", "exceeds", "reference_exceeds", "both_exceed", "gap", "unreached", "unmeasured"]
"""How a value at a target recall came about:

* ``bracketed``  -- a point within `NEAR` on each side: interpolated;
* ``exceeds``    -- every point is above the target (exact search always is): the cheapest point stands in, which is a
  bound: at the target itself it could only be faster;
* ``reference_exceeds``, ``both_exceed`` -- the same, of a ratio's reference or of both;
* ``gap``        -- points on both sides, but one is too far away: no value;
* ``unreached``  -- every point is below the target: no value;
* ``unmeasured`` -- the quantity was not measured: no value.
"""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AtRecall(Estimate):
    """A quantity, or a ratio of two, at a target recall."""

    what: Quantity
    status: Status
    points: tuple[int, ...]
    """The point or the two neighbours that the contestant's value rests on."""

    @property
    def mark(self) -> str:
        """The sign "≥" or "≤" where the value is a bound, "" where it is none, or a ratio of two bounds."""
        up = {"exceeds": True, "reference_exceeds": False}.get(self.status)
        return "" if up is None else "≥" if up == (self.what in LARGER_IS_BETTER) else "≤"


@dataclass(frozen=True)
class Band:
    """A quantity at every point of a curve: float64 (p,) each."""

    value: DoubleArray
    low: DoubleArray
    high: DoubleArray


@dataclass(frozen=True)
class NoiseFloor:
    """What two builds of one and the same thing differ by."""

    relative: float
    """Differences below this share are noise: 0.04 says "below 4 %". NaN if there was nothing to tell it by."""
    log_ratios: DoubleArray
    """float64 (m,): ln(twin / reference), one for each block and point."""


def band(curve: Curve, what: Quantity | Literal["recall"], *, resamples: int = RESAMPLES, seed: int = 0) -> Band:
    """A quantity, or recall, at every point with its interval. Raises `InvalidInput` if it was not measured."""
    once, many = curve.once(), curve.draws(resamples, seed)
    if what == "recall":
        low, high = np.percentile(curve.recalls(many), (2.5, 97.5), axis=0)
        return Band(curve.recalls(once)[0], np.asarray(low), np.asarray(high))
    value = curve.logs(what, once)[0]
    low, high = centred_interval(value, curve.logs(what, many))
    return Band(np.exp(value), np.exp(low), np.exp(high))


def at_recall(curve: Curve, target: float, what: Quantity, *, resamples: int = RESAMPLES, seed: int = 0) -> AtRecall:
    """The quantity where the curve's mean recall is `target`.

    Recall and the quantity are first averaged over seeds at each point, as a user sets one parameter for whatever graph
    he gets; then ln(quantity) is interpolated linearly in recall between the neighbours. Each resample finds its own
    neighbours; where the target lies just outside its points, it goes on along the slope of the estimate's outermost
    points. See `Status` for what has no value.
    """
    once, many = curve.once(), curve.draws(resamples, seed)
    status, points, value = _at(curve, target, what, once)
    if value is None:
        return AtRecall(np.nan, np.nan, np.nan, what, status, points)
    drawn = _at_draws(curve, target, what, cheapest=_stand_in(status, points), drawn=many)
    return AtRecall(*_interval(value, drawn), what, status, points)


def ratio_at_recall(
    curve: Curve, reference: Curve, target: float, what: Quantity, *, resamples: int = RESAMPLES, seed: int = 0
) -> AtRecall:
    """The contestant's quantity at `target` over the reference's, formed inside the blocks that both were measured in.

    Both are resampled with the same seeds, rounds and queries, so the interval is that of the ratio itself.

    Raises
    ------
    InvalidInput
        if they share no block, or not the queries and rounds: ratios never cross blocks.
    """
    curve, reference = in_shared_blocks(curve, reference)
    once, many = curve.once(), curve.draws(resamples, seed)
    mine, my_points, my_value = _at(curve, target, what, once)
    other, other_points, other_value = _at(reference, target, what, once)
    status = _combined(mine, other)
    if my_value is None or other_value is None:
        return AtRecall(np.nan, np.nan, np.nan, what, status, my_points)
    drawn = _at_draws(curve, target, what, cheapest=_stand_in(mine, my_points), drawn=many)
    drawn = drawn - _at_draws(reference, target, what, cheapest=_stand_in(other, other_points), drawn=many)
    return AtRecall(*_interval(my_value - other_value, drawn), what, status, my_points)


@dataclass(frozen=True)
class Relative:
    """The points of a curve as logarithms of ratios to a reference of the same blocks."""

    logs: DoubleArray
    """float64 (p,)."""
    resamples: DoubleArray
    """float64 (b, p)."""


def relative_to(
    curve: Curve, reference: Curve, what: Quantity, *, resamples: int = RESAMPLES, seed: int = 0
) -> Relative:
    """Each point's quantity over the geometric mean of the reference's points, in the blocks that both are in.

    What two runs on one machine can be compared by: their timings are of different blocks, these ratios are not.
    Raises as `ratio_at_recall`, and where the quantity was not measured.
    """
    curve, reference = in_shared_blocks(curve, reference)
    once, many = curve.once(), curve.draws(resamples, seed)
    value, drawn = (
        curve.logs(what, draw) - reference.logs(what, draw).mean(axis=1, keepdims=True) for draw in (once, many)
    )
    return Relative(value[0], drawn)


def noise_floor(pairs: Sequence[tuple[Curve, Curve]], what: Quantity) -> NoiseFloor:
    """What differences are noise, from every cohort's (reference, twin).

    The twin is built as the reference is, with the same seed, in a process of its own; whatever it differs by is noise.
    One sample is the ratio of their values at one point in one block, over all its rounds: as the report's values are,
    but for the pooling over seeds, so the floor errs on the wide side. The floor is the smallest sample that at least
    95 % of |ln ratio| do not exceed.
    """
    samples = []
    for reference, twin in pairs:
        shared = [block for block in reference.blocks if block in twin.blocks]
        if reference.measured(what) and twin.measured(what):
            for block in shared:
                one, two = reference.within([block]), twin.within([block])
                samples.append(two.logs(what, two.once())[0] - one.logs(what, one.once())[0])
    logs = np.concatenate(samples) if samples else np.empty(0)
    logs = logs[np.isfinite(logs)]
    floor = float(np.expm1(np.quantile(np.abs(logs), 0.95, method="higher"))) if logs.size else np.nan
    return NoiseFloor(floor, logs)


def geometric_ratio(values: DoubleArray, reference: DoubleArray) -> Estimate:
    """The geometric mean of `values / reference`, paired (s,), as of build times by seed.

    The interval is Student's t on the logs. A bootstrap of three values has ten outcomes and is
    far too narrow; t is not. One pair has no interval (NaN).
    """
    from scipy import stats as scipy_stats  # noqa: PLC0415  (slow to import, and only this needs it)

    logs = np.log(np.asarray(values, dtype=np.float64)) - np.log(np.asarray(reference, dtype=np.float64))
    centre = float(logs.mean())
    if logs.size < 2:
        return Estimate(float(np.exp(centre)), np.nan, np.nan)
    reach = float(scipy_stats.t.ppf(0.975, logs.size - 1) * logs.std(ddof=1) / np.sqrt(logs.size))
    return Estimate(float(np.exp(centre)), float(np.exp(centre - reach)), float(np.exp(centre + reach)))


def mean_estimate(values: DoubleArray, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """The mean of `values` (s, q) over seeds and queries with its interval.

    Queries that are NaN in any seed are left out; all is NaN where no query is left.
    """
    kept = values[:, np.isfinite(values).all(axis=0)]
    if kept.shape[1] == 0:
        return Estimate(np.nan, np.nan, np.nan)
    drawn = resampled_means(kept[:, None], draws(kept.shape[0], 0, kept.shape[1], resamples=resamples, seed=seed))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(float(kept.mean()), float(low), float(high))


def front(recall: DoubleArray, seconds: DoubleArray) -> IdArray:
    """The points (p,) that none beats in both mean recall and seconds, by rising recall; of equals the first."""
    order = np.lexsort((np.arange(recall.size), seconds, -recall))
    kept: list[int] = []
    best = np.inf
    for point in order:
        if seconds[point] < best:
            kept.append(int(point))
            best = float(seconds[point])
    return np.asarray(kept[::-1], dtype=np.int64)


# -- the workings ------------------------------------------------------------------------------------------------------


def centred_interval(centre: DoubleArray, drawn: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """The 95 % interval of draws (b, p) moved so that their median is `centre` (p,)."""
    low, middle, high = np.nanpercentile(drawn, (2.5, 50, 97.5), axis=0)
    return np.asarray(centre + low - middle), np.asarray(centre + high - middle)


def _recalls(curve: Curve, target: float, drawn: Draws) -> DoubleArray:
    """Mean recalls (b, p); one that is the target but for rounding is the target."""
    recalls = curve.recalls(drawn)
    return np.where(np.abs(recalls - target) < 1e-9, target, recalls)


def _at(curve: Curve, target: float, what: Quantity, once: Draws) -> tuple[Status, tuple[int, ...], float | None]:
    """Status, points, and ln of the quantity at the target (None where it has none)."""
    if not curve.measured(what):
        return "unmeasured", (), None
    recalls = _recalls(curve, target, once)[0]
    if (recalls > target).all():
        status: Status = "exceeds"
        points: tuple[int, ...] = (_cheapest(curve, once),)
    elif (recalls < target).all():
        return "unreached", (), None
    else:
        low = int(np.where(recalls <= target, recalls, -np.inf).argmax())
        high = int(np.where(recalls >= target, recalls, np.inf).argmin())
        points = (low,) if recalls[low] == recalls[high] else (low, high)
        if target - recalls[low] > NEAR + 1e-12 or recalls[high] - target > NEAR + 1e-12:
            return "gap", points, None
        status = "bracketed"
    value = float(_at_draws(curve, target, what, cheapest=_stand_in(status, points), drawn=once)[0])
    return status, points, value


def _at_draws(curve: Curve, target: float, what: Quantity, *, cheapest: int | None, drawn: Draws) -> DoubleArray:
    """float64 (b,): ln of the quantity at the target, or at the point `cheapest` where there is one, in each draw."""
    if cheapest is not None:
        return curve.logs(what, drawn, [cheapest])[:, 0]
    recalls = _recalls(curve, target, drawn)  # (b, p)
    under, over = recalls <= target, recalls >= target
    low = np.where(under, recalls, -np.inf).argmax(axis=1)
    high = np.where(over, recalls, np.inf).argmin(axis=1)
    low = np.where(under.any(axis=1), low, high)
    high = np.where(over.any(axis=1), high, low)
    used, place = np.unique(np.stack([low, high]), return_inverse=True)
    place = place.reshape(2, -1)
    logs = curve.logs(what, drawn, used)  # only the points that some draw needs
    each = np.arange(low.size)
    low_value, high_value = logs[each, place[0]], logs[each, place[1]]
    low_recall, high_recall = recalls[each, low], recalls[each, high]
    width = high_recall - low_recall
    share = np.divide(target - low_recall, width, out=np.zeros_like(width), where=width > 0)
    out = low_value + share * (high_value - low_value)
    outside = ~(under.any(axis=1) & over.any(axis=1))
    if outside.any():
        bottom, top = _end_slopes(curve, what)
        slope = np.where(over.any(axis=1), bottom, top)
        out = np.where(outside, low_value + slope * (target - low_recall), out)
    return np.asarray(out)


def _end_slopes(curve: Curve, what: Quantity) -> tuple[float, float]:
    """The slopes d ln(quantity) / d recall at the lower and the upper end, over a step in recall of at least 0.005.

    0 where there is no such step.
    """
    once = curve.once()
    recalls, logs = curve.recalls(once)[0], curve.logs(what, once)[0]
    slopes = []
    for end in (int(recalls.argmin()), int(recalls.argmax())):
        step = np.abs(recalls - recalls[end])
        far = np.where(step >= 0.005, step, np.inf)
        other = int(far.argmin())
        reached = np.isfinite(far[other])
        slopes.append(float((logs[other] - logs[end]) / (recalls[other] - recalls[end])) if reached else 0.0)
    return slopes[0], slopes[1]


def _stand_in(status: Status, points: tuple[int, ...]) -> int | None:
    return points[0] if status == "exceeds" else None


def _cheapest(curve: Curve, once: Draws) -> int:
    """One point for all quantities, so that a row of a table is about one setting."""
    return int(curve.logs("qps" if curve.batch is not None else "qps_one", once)[0].argmax())


def _combined(mine: Status, other: Status) -> Status:
    for none in ("unmeasured", "unreached", "gap"):
        if none in (mine, other):
            return none
    if mine == other:
        return "both_exceed" if mine == "exceeds" else "bracketed"
    return "exceeds" if mine == "exceeds" else "reference_exceeds"


def _interval(centre: float, drawn: DoubleArray) -> tuple[float, float, float]:
    low, high = centred_interval(np.asarray([centre]), drawn[:, None])
    return float(np.exp(centre)), float(np.exp(low[0])), float(np.exp(high[0]))
