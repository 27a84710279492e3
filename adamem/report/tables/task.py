"""Task quality beside recall: what the vectors are worth to the task, and what approximate search loses of that."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from adamem.bench.paired import Paired, holm, paired
from adamem.bench.stats import mean_estimate
from adamem.report import wording
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.report.loaded import Loaded
from adamem.report.operating import Operating, operating
from adamem.types import DoubleArray

TASK_K = 10
"""The k of nDCG@10, MRR@10 and evidence recall@10."""
_ALPHA = 0.05


def task(loaded: Loaded) -> Table | None:
    """Task quality beside recall, at each target's point, and its difference to exact search's, query by query."""
    if loaded.qrels is None:
        return None
    points = _task_points(loaded)
    if not points:
        return None
    values = [task_values(loaded, one) for _, one in points]
    tests = _against_exact([one for _, one in points], [value["ndcg"] for value in values])
    rows, records = [], []
    for (targets, one), value, (test, corrected) in zip(points, values, tests, strict=True):
        recall = one.recall_estimate(loaded.k)
        record: dict[str, CsvValue] = {
            "contestant": one.contestant.name,
            "target_recall": targets,
            "build": wording.params(one.series.build),
            "search": one.setting,
            "recall": recall.value,
        }
        cells = [Cell(one.contestant.name, one.setting), Cell(targets), Cell(wording.score(recall.value))]
        for name, scores in value.items():
            estimate = mean_estimate(scores)
            record |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            cells.append(Cell(wording.score(estimate.value), wording.interval(estimate, "score")))
        cells.insert(4, _test_cell(test, corrected))
        rows.append(tuple(cells))
        records.append(record | _test_record(test, corrected))
    return Table(
        "task-quality",
        "Task quality beside recall",
        (
            Column("index", number=False),
            Column("for recall"),
            Column(f"recall@{loaded.k}"),
            Column(f"nDCG@{TASK_K}"),
            Column("to exact search", f"nDCG@{TASK_K}"),
            Column(f"MRR@{TASK_K}"),
            Column("evidence: any", f"recall@{TASK_K}"),
            Column("evidence: share", f"recall@{TASK_K}"),
            Column("evidence: all", f"recall@{TASK_K}"),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=tuple(_notes(loaded, points, tests)),
    )


def task_values(loaded: Loaded, one: Operating) -> dict[str, DoubleArray]:
    """The five task measures, float64 (s, q) each, NaN where a query is not judged."""
    assert loaded.qrels is not None
    found = [loaded.metrics.task_quality(a, loaded.truth, loaded.qrels, TASK_K) for a in one.series.answers(one.spot)]
    return {name: np.stack([getattr(quality, name) for quality in found]) for name in found[0]._fields}


def _against_exact(points: Sequence[Operating], scores: Sequence[DoubleArray]) -> list[tuple[Paired | None, float]]:
    """For each point the paired test of its scores (s, q), meant over seeds, against exact search's; Holm's p beside.

    None for exact search itself, and for all where it was not measured.
    """
    exact = next((value for one, value in zip(points, scores, strict=True) if one.contestant.is_exact), None)
    tests = [
        None if exact is None or one.contestant.is_exact else paired(exact.mean(axis=0), value.mean(axis=0))
        for one, value in zip(points, scores, strict=True)
    ]
    corrected = holm(np.array([np.nan if test is None else test.p_value for test in tests]))
    return [(test, float(p)) for test, p in zip(tests, corrected, strict=True)]


def _test_cell(test: Paired | None, corrected: float) -> Cell:
    if test is None:
        return Cell(wording.NOTHING)
    return Cell(
        wording.change(test.difference),
        f"[{wording.change(test.low)}, {wording.change(test.high)}], p {_p(corrected)}",
    )


def _p(value: float) -> str:
    if not math.isfinite(value):
        return wording.NOTHING
    return "< 0.001" if value < 0.001 else f"= {wording.fixed(value, 3)}"


def _test_record(test: Paired | None, corrected: float) -> dict[str, CsvValue]:
    names = ("difference", "low", "high", "effect", "better", "worse")
    record: dict[str, CsvValue] = {
        f"ndcg_to_exact_{name}": None if test is None else getattr(test, name) for name in names
    }
    return record | {"ndcg_to_exact_p_holm": None if test is None else corrected}


def _notes(
    loaded: Loaded, points: Sequence[tuple[str, Operating]], tests: Sequence[tuple[Paired | None, float]]
) -> list[str]:
    assert loaded.qrels is not None
    judged = np.unique(loaded.qrels.query).size
    said = [
        f"Judged by {loaded.qrels.query.size:,} judgements on {judged:,} of the {loaded.truth.rows.size:,} test "
        "queries; the others have no task quality. Exact search shows what the vectors themselves are worth: an index "
        "can only lose from there, or win by luck."
    ]
    count = sum(test is not None for test, _ in tests)
    if count:
        differing = [
            f"{one.contestant.name} for {targets} ({wording.change(test.difference)})"
            for (targets, one), (test, p) in zip(points, tests, strict=True)
            if test is not None and p < _ALPHA
        ]
        found = (
            f"told apart from exact search: {wording.listed(differing)}"
            if differing
            else "none of these points is told apart from exact search"
        )
        said.append(
            f"To exact search: the mean difference over the judged queries, its 95 % interval, and the p-value of a "
            f"paired sign-flip test, corrected (Holm) for being {count}. At 5 % {found}."
        )
    return said


def _task_points(loaded: Loaded) -> list[tuple[str, Operating]]:
    """Each point once, with the targets that it is for; exact search, which answers for all, first."""
    points: dict[tuple[str, int, int], tuple[list[float], Operating]] = {}
    order = sorted(loaded.contestants, key=lambda contestant: not contestant.is_exact)
    for contestant in order:
        for target in loaded.targets:
            for one in operating(loaded, target):
                if one.contestant is contestant:
                    key = (contestant.name, id(one.series), one.spot.numbers[0])
                    points.setdefault(key, ([], one))[0].append(target)
    return [
        ("any" if one.contestant.is_exact else wording.listed([f"{target:g}" for target in targets]), one)
        for targets, one in points.values()
    ]
