"""Quality of an answer, query by query: recall against the true neighbours, and how far away the answers are.

A run records `METRICS_VERSION`; whoever scores it later asks `metrics_of` for the functions of that version, so that a
figure can be recomputed after the definitions have moved on. Whoever changes what a function here returns raises the
version and keeps the former function in a `MetricSet` of its own. How well the answers serve the task (nDCG, MRR ...)
is in `adamem.bench.quality`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adamem.bench.quality import TaskQuality, task_quality
from adamem.bench.truth import MISSING, Answers, Truth
from adamem.data.dataset import Qrels
from adamem.errors import InvalidInput, UnknownName
from adamem.types import DoubleArray, Metric

METRICS_VERSION: Final = 1
"""The version that this release scores new runs with."""
TIE: Final = 1e-6
"""Distances that differ by no more than this share of |q|^2 + |x|^2 are equal: float32 cannot tell them apart."""
ANNB_EPSILON: Final = 1e-3
"""The slack that ann-benchmarks grants beyond the k-th true distance."""


def recall(answers: Answers, truth: Truth, k: int) -> DoubleArray:
    """Share of the k true neighbours that the first k answers hold, ties credited: float64 (q,) in [0, 1].

    An answer counts if it is one of the first k of the true list, or is nearer than its k-th, or as near as it:
    ``|d - d_k| <= 1e-6 * (|q|^2 + |x|^2)``. An id that stands twice counts once, an empty place never. The sum is
    divided by k, or by the size of the collection where that holds fewer than k (the true list is then shorter than k;
    nothing else makes it so).

    Raises
    ------
    InvalidInput
        if k < 1, or the answers have fewer than k places.
    """
    wanted = _wanted(answers, truth, k)
    limit = truth.distances[:, wanted - 1, None]  # (q, 1)
    distances = answers.distances(truth)[:, :k]
    slack = TIE * (truth.query_norms[:, None] + answers.norms(truth)[:, :k])
    counts = (answers.ranks[:, :k] < wanted) | (distances <= limit + slack)
    return _share(counts & _first_seen(answers, truth, k), wanted)


def recall_annb(answers: Answers, truth: Truth, k: int, metric: Metric) -> DoubleArray:
    """Recall as ann-benchmarks defines it: float64 (q,); an answer counts if its distance is <= d_k + 1e-3.

    The slack is in their units: the Euclidean distance (not its square), 1 - cosine, and -q.x (which they do not
    measure). It is absolute, so on near-duplicates it can be 1.0 where not one true neighbour came back: a second
    column, for comparison with published figures. Unlike theirs, an id that stands twice counts once. Raises as
    `recall` does.
    """
    wanted = _wanted(answers, truth, k)
    distances = own_units(answers.distances(truth)[:, :k], metric)
    limit = own_units(truth.distances[:, wanted - 1, None], metric) + ANNB_EPSILON
    counts = (distances <= limit) & (answers.ranks[:, :k] != MISSING)
    return _share(counts & _first_seen(answers, truth, k), wanted)


def distance_ratio(answers: Answers, truth: Truth, k: int, metric: Metric) -> DoubleArray:
    """How much farther the answers are than the true neighbours: float64 (q,), >= 1 but for rounding; NaN if undefined.

    The mean distance (Euclidean; 1 - cosine) of the answered ids, each once, over that of as many true neighbours:
    what a missing id costs. Undefined where nothing was answered, where the true ones are at distance 0, and under the
    inner product, whose zero means nothing. Raises as `recall` does.
    """
    wanted = _wanted(answers, truth, k)
    if metric == "ip":
        return np.full(truth.rows.size, np.nan)
    seen = _first_seen(answers, truth, k)
    count = np.minimum(seen.sum(axis=1), wanted)
    true = own_units(truth.distances[:, :wanted], metric).cumsum(axis=1)  # (q, wanted)
    below = np.take_along_axis(true, np.maximum(count, 1)[:, None] - 1, axis=1)[:, 0]
    above = np.where(seen, own_units(np.where(seen, answers.distances(truth)[:, :k], 0.0), metric), 0.0).sum(axis=1)
    out = np.full(truth.rows.size, np.nan)
    np.divide(above, below, out=out, where=(count > 0) & (below > 0))
    return out


def own_units(distances: DoubleArray, metric: Metric) -> DoubleArray:
    """Distances in the metric's customary unit: the square root under l2, as they are otherwise."""
    return np.sqrt(distances) if metric == "l2" else distances


@dataclass(frozen=True)
class MetricSet:
    """The definitions of one version, under the names that they have in this module."""

    version: int
    recall: Callable[[Answers, Truth, int], DoubleArray]
    recall_annb: Callable[[Answers, Truth, int, Metric], DoubleArray]
    distance_ratio: Callable[[Answers, Truth, int, Metric], DoubleArray]
    task_quality: Callable[[Answers, Truth, Qrels, int], TaskQuality]


_VERSIONS: Final = {1: MetricSet(1, recall, recall_annb, distance_ratio, task_quality)}


def metrics_of(version: int) -> MetricSet:
    """The definitions that a run of that version was scored by. Raises `UnknownName` for a version not known here."""
    try:
        return _VERSIONS[version]
    except KeyError:
        known = map(str, _VERSIONS)
        raise UnknownName.of("metrics version", version, known, hint="upgrade adamem to score this run") from None


def _wanted(answers: Answers, truth: Truth, k: int) -> int:
    """How many true neighbours can be found, after the checks."""
    places = answers.ranks.shape[1]
    if not 1 <= k <= places:
        raise InvalidInput(f"recall at k={k} needs as many places, the answers have {places}; ask for 1..{places}")
    return min(k, truth.depth)


def _first_seen(answers: Answers, truth: Truth, k: int) -> npt.NDArray[np.bool_]:
    """For each place, bool (q, k): whether the place holds an id that no earlier place of the row holds."""
    ids = answers.ids(truth)[:, :k]
    order = np.argsort(ids, axis=1, kind="stable")  # stable: of equal ids the first place comes first
    ordered = np.take_along_axis(ids, order, axis=1)
    fresh = np.ones(ids.shape, dtype=bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    out = np.empty(ids.shape, dtype=bool)
    np.put_along_axis(out, order, fresh, axis=1)
    return out & (ids >= 0)


def _share(counted: npt.NDArray[np.bool_], wanted: int) -> DoubleArray:
    return np.asarray(np.minimum(counted.sum(axis=1), wanted) / wanted, dtype=np.float64)
