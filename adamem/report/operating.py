"""The one operating point of each contestant that stands for it where only one can be shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adamem.bench.stats import Estimate, mean_estimate
from adamem.report import wording
from adamem.report.loaded import Contestant, Loaded, Params, Series, Spot
from adamem.types import DoubleArray


@dataclass(frozen=True)
class Operating:
    """A contestant's build and point for a target recall, both chosen on the calibration queries."""

    contestant: Contestant
    series: Series
    spot: Spot

    @property
    def setting(self) -> str:
        """Its search parameters in words."""
        return wording.params(self.spot.search)

    def recall(self, k: int) -> DoubleArray:
        """Primary recall at k <= the point's own, float64 (s, q)."""
        return self.series.recall(self.spot, k)

    def recall_estimate(self, k: int) -> Estimate:
        """Its mean with the interval."""
        return mean_estimate(self.recall(k))

    def widened(self, k: int) -> Operating | None:
        """The same search parameters asked for another k, where that was measured."""
        spots = [spot for spot in self.series.spots if spot.k == k and spot.search == self.spot.search]
        return Operating(self.contestant, self.series, spots[0]) if spots else None


def operating(loaded: Loaded, target: float) -> list[Operating]:
    """Every measured contestant's point for `target`, in the config's order."""
    out = []
    for contestant in loaded.contestants:
        series = contestant.for_target(target)
        spot = None if series is None else series.spot_for(target, loaded.k)
        if series is not None and spot is not None:
            out.append(Operating(contestant, series, spot))
    return out


def defaults(loaded: Loaded) -> list[Operating]:
    """Every contestant's default build at its default search parameters, where the run recorded or named it."""
    named = loaded.run.config.get("defaults", {})
    return [
        Operating(contestant, series, spot)
        for contestant in loaded.contestants
        for series in contestant.series
        for spot in series.at(loaded.k)
        if _is_default(series.build, spot, named.get(contestant.name))
    ]


def _is_default(build: Params, spot: Spot, told: dict[str, Params] | None) -> bool:
    if told is None:
        return spot.origin == "default"
    return build == told["build"] and spot.search == told["search"]


def query_medians(series: Series, spot: Spot) -> DoubleArray:
    """float64 (s, q): each query's median seconds over the rounds that asked it, NaN where none did."""
    seconds = np.stack([m.one_seconds(n) for m, n in zip(series.measured, spot.numbers, strict=True)])  # (s, r, q)
    ordered = np.sort(seconds, axis=1)  # NaN last
    count = np.isfinite(seconds).sum(axis=1)
    last = np.maximum(count - 1, 0)
    low = np.take_along_axis(ordered, (last // 2)[:, None], axis=1)
    high = np.take_along_axis(ordered, ((last + 1) // 2)[:, None], axis=1)
    return np.asarray((low + high)[:, 0] / 2)
