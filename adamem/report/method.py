"""How the figures came about, in a few sentences with this run's own numbers."""

from __future__ import annotations

import math

from adamem.bench.bootstrap import RESAMPLES
from adamem.bench.metrics import TIE
from adamem.bench.stats import NEAR
from adamem.report import wording
from adamem.report.loaded import Loaded


def method(loaded: Loaded) -> list[str]:
    """The sentences, one a point."""
    run = loaded.run
    queries, seeds, rounds = run.dataset.queries, loaded.seeds, loaded.rounds
    said = [
        f"Recall is the share of the k true neighbours' ids that came back, ties within {TIE:g} (|q|² + |x|²) "
        "credited; the truth "
        "is exact search in float64. Recall, distances and times per query are kept raw; everything here is computed "
        "from them "
        f"(metrics version {run.metrics_version}).",
        f"Queries were split ({queries.split}): {queries.calibration:,} chose builds and efforts, the other "
        f"{queries.test:,} judged "
        "them.",
        f"Each build ran in a fresh process of its own; {seeds} build seed{'s' if seeds != 1 else ''} × {rounds} "
        f"round{'s' if rounds != 1 else ''}. In a round the builds of a block took turns in random order, each "
        "asking all its "
        "points in a new query order, one thread a search, warm-up apart.",
        "A figure at a recall is interpolated in ln(value) between the neighbouring points, and only where one lies "
        f"within {NEAR:g} "
        "on each side. Ratios are formed inside blocks only.",
        f"Intervals are 95 % of {RESAMPLES:,} bootstrap resamples of build seeds, their rounds, and queries"
        + (
            ", but that one seed or round has no spread to resample."
            if min(seeds, rounds) < 2
            else f"; {seeds} seeds are few, so that the spread between builds is rather understated."
        ),
    ]
    if loaded.twin is not None and loaded.reference is not None:
        said.append(
            f"The reference, {loaded.reference.contestant} with {wording.params(loaded.reference.build)}, was built "
            "twice with the same "
            "seed in every block; what the two differ by is the noise floor."
        )
    cohorts = len({block.cohort for block in loaded.blocks})
    if cohorts > 1:
        said.append(
            f"Not all builds fitted into memory together: they ran in {cohorts} cohorts, each with the reference and "
            "its twin; indexes "
            "of different cohorts are compared by way of it."
        )
    if len({block.machine for block in loaded.blocks}) > 1:
        said.append(
            "Blocks come from several machines: absolute times are means over them, ratios are formed on one machine "
            "each."
        )
    for name, told in loaded.runtimes.items():
        libraries = {
            library: version
            for library, version in told["libraries"].items()
            if told["interpreter"] is not None and run.versions.get(library) != version
        }
        versions = f" ({wording.params(libraries)})" if libraries else ""
        said.append(f"The processes of {name} had a setting of their own: {wording.runtime(told)}{versions}.")
    wall = math.fsum(run.wall_seconds.values())
    if wall:
        said.append(f"All of it took {wording.duration(wall)}.")
    return said
