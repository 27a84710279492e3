"""One drift of one collection: what every question finds by every index and every way to meet the documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adamem.bench.adaptation import drift as alarm
from adamem.bench.drift.bridging import BRIDGES, fitted, nanoseconds
from adamem.bench.drift.drifts import Drift, Moved, Setting
from adamem.bench.drift.indexed import Indexed
from adamem.types import AnyArray, FloatArray

EXACT = "exact"
"""The index without which no loss can be split."""
TUNING = 200
"""So many taught questions set each index's effort, at most."""


@dataclass(frozen=True)
class Plan:
    """What is the same for all drifts."""

    indexes: Sequence[str]
    """Beside exact search."""
    shares: Sequence[float]
    bridge: float
    """The share of the documents to which a bridge is fitted, at most."""
    over: str
    """The bridge of two indexes."""
    effort: float


def measure_drift(
    setting: Setting, drift: Drift, plan: Plan, *, advance: Callable[[], object]
) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """What a piece ``SET.N.DRIFT`` holds (see `adamem.bench.drift.records`); `advance` is told after each index."""
    texts = setting.texts
    old_questions = setting.known.encode_query(texts.questions)
    old = setting.known.encode_document(texts.documents)
    moved = drift(setting)
    order = np.random.default_rng([setting.seed, 7]).permutation(len(old))
    asked, bridged, arrays, facts = _asked(old_questions, old, moved, plan, order)
    advance()
    tuning = setting.known.encode_query([pair.query for pair in texts.pairs[:TUNING]])
    facts["indexes"] = {}
    for name in (EXACT, *plan.indexes):
        one = Indexed(name, old, moved.documents, order, setting.seed)
        index = one.over_old()
        one.tune(index, tuning, enough=plan.effort)
        rows = {view: one.rows(index, queries) for view, queries in asked.items()}
        rows |= one.put_in(index, moved.questions, plan.shares)
        rows |= one.side_by_side(moved.questions, plan.shares, former=old_questions, bridged=bridged)
        rows["anew"] = one.rows(one.over_new(), moved.questions)
        arrays |= {f"{name}.{view}": found for view, found in rows.items()}
        facts["indexes"][name] = one.facts()
        advance()
    arrays["alarms"] = np.array(
        [
            alarm.mean_cosine(moved.documents, old),
            alarm.mean_cosine(moved.questions, old_questions),
            alarm.neighbour_overlap(moved.documents, old),
            alarm.anisotropy(moved.documents),
            alarm.effective_rank(moved.documents),
        ]
    )
    return arrays, facts


def _asked(
    old_questions: FloatArray, old: FloatArray, moved: Moved, plan: Plan, order: AnyArray
) -> tuple[dict[str, FloatArray], list[FloatArray], dict[str, AnyArray], dict[str, Any]]:
    """The queries of each view of an index at rest, those over the bridge at each share, and what all this takes."""
    asked = {"before": old_questions, "stale": moved.questions}
    seconds, nbytes = dict(moved.seconds), dict(moved.nbytes)
    arrays: dict[str, AnyArray] = {}
    some = order[: max(1, round(plan.bridge * len(order)))]
    for name in BRIDGES:
        bridge, seconds[name] = fitted(name, moved.documents[some], old[some])
        nbytes[name] = bridge.nbytes
        asked[name] = bridge(moved.questions)
        arrays[f"ns.{name}"] = nanoseconds(bridge, moved.questions)
    if moved.map is not None:
        asked["query-map"] = moved.map(old_questions)
        arrays["ns.query-map"] = nanoseconds(moved.map, old_questions)
    bridged = []
    for share in plan.shares:
        # No more than what is embedded anew by then.
        there = order[: max(1, round(min(share, plan.bridge) * len(order)))]
        bridge, _ = fitted(plan.over, moved.documents[there], old[there])
        bridged.append(bridge(moved.questions))
    return asked, bridged, arrays, {"seconds": seconds, "bytes": nbytes, "fitted_to": len(some), "dim": old.shape[1]}
