"""The tables of a run on adaptation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from adamem.bench.adaptation.asked import LEVELS
from adamem.bench.adaptation.drift import ALARMS
from adamem.bench.paired import Paired
from adamem.report import wording
from adamem.report.adaptation.distinct import bounds, has_interval
from adamem.report.adaptation.gathered import MEASURES, TITLES, ArmResult, Gathered, SetResult
from adamem.report.adaptation.timed import is_quiet, notes, timed_in
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.types import DoubleArray

ALPHA = 0.05
VIEW_NAMES = {
    "anew": "documents embedded anew",
    "stale": "documents as they were",
    "bridged": "as they were, over a bridge",
}
Records = list[Mapping[str, CsvValue]]


def levels(gathered: Gathered) -> Table | None:
    """Each arm at each level, before the first task and after the last."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = [
            (
                Cell("untouched"),
                *(_cells_of_base(one, level) for level in range(len(LEVELS))),
            )
        ]
        for arm in (arm for arm in one.arms.values() if arm.name != "none"):
            for view in arm.views:
                cells = [Cell(named(one, arm), VIEW_NAMES[view] if len(arm.views) > 1 else "documents stay")]
                for level, name in enumerate(LEVELS):
                    test, seeds = arm.change(level, view), arm.of_seeds(level, view)
                    told, ndcg = arm.share(level, -1, view), arm.change(level, view, "ndcg@10")
                    low, high = bounds(test)
                    ndcg_low, ndcg_high = bounds(ndcg)
                    cells.append(
                        Cell(
                            wording.score(told.value),
                            "; ".join(filter(None, (change(test), seeds_span(seeds)))),
                            best=test.p_value < ALPHA and test.difference > 0,
                        )
                    )
                    records.append(
                        {
                            "set": one.key,
                            "arm": arm.name,
                            "documents": view,
                            "level": name,
                            "seeds": len(arm.streams),
                            "questions": test.queries,
                            "before": float(arm.pooled(level, 0, view).mean()),
                            "after": told.value,
                            "after_low": told.low,
                            "after_high": told.high,
                            "difference": test.difference,
                            "low": low,
                            "high": high,
                            "p": test.p_value,
                            "effect": test.effect,
                            "least_of_seeds": float(seeds.min()),
                            "most_of_seeds": float(seeds.max()),
                            "ndcg_difference": ndcg.difference,
                            "ndcg_low": ndcg_low,
                            "ndcg_high": ndcg_high,
                            **{
                                f"{measure}_{when}": float(arm.pooled(level, stage, view, measure).mean())
                                for measure in MEASURES
                                for when, stage in (("before", 0), ("after", -1))
                            },
                        }
                    )
                rows.append(tuple(cells))
        groups.append(Group(label(one), tuple(rows)))
    if not groups or not records:
        return None
    return Table(
        "levels",
        "Recall@1 before the first task and after the last",
        (Column("arm", number=False), *(Column(*_headed(title)) for title in TITLES)),
        tuple(groups),
        tuple(records),
        notes=(
            "Recall@1: the share of questions whose answer, or one of them, is found first; each level is searched by "
            "exact search. Level a asks in other words for what was taught, b for other documents of the same tasks; c "
            "is another collection, never trained on and searched among its own documents."
            f"{other_words(gathered)} Small print: the change in points of 0.01 against the untouched encoder, with "
            "its 95 % bootstrap interval over what the questions are about, a question’s value being its mean over the "
            "seeds that ask it; then what the change is in the least and the most of the seeds, each of which learns "
            "anew. Bold: ahead by a paired test at 5 % (uncorrected). Recall@5 and @10 (any answer, the fraction of "
            "them, all of them), MRR@10, nDCG@10 and effect sizes stand in the CSV.",
            *weak_notes(gathered),
        ),
    )


def other_words(gathered: Gathered) -> str:
    """What “other words” are where they are no free paraphrase: a sentence with a space before it, or nothing."""
    if not any(key == "koziev" for key in (*(one.key for one in gathered.sets), *(a.set for a in gathered.acquired))):
        return ""
    return " On koziev, level a asks in the other of two known forms, not in free paraphrase."


def weak_notes(gathered: Gathered) -> tuple[str, ...]:
    """Which sets' level c tells little; nothing where none is."""
    weak = [
        f"{one.key} (untouched {wording.score(float(one.base.pooled(2, 0).mean()))})"
        for one in gathered.sets
        if one.can_hardly_lose
    ]
    return (f"{HARDLY[0].upper()}{HARDLY[1:]}: the general set of {wording.listed(weak)}.",) if weak else ()


HARDLY = "can hardly show a loss"
"""What is said of a general set of which the untouched encoder finds next to nothing."""


def _cells_of_base(one: SetResult, level: int) -> Cell:
    found = one.base.share(level, 0)
    told = [wording.interval(found, "score"), f"{one.base.asked(level):,} questions"]
    if LEVELS[level] == "general" and one.can_hardly_lose:
        told.append(HARDLY)
    return Cell(wording.score(found.value), "; ".join(told))


def continual(gathered: Gathered) -> Table | None:
    """What learning in sequence keeps, loses and lends."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        for arm in (arm for arm in one.arms.values() if arm.name != "none"):
            found = arm.continual
            stage, low = arm.worst(0)
            general_stage, general_low = arm.worst(2)
            start, general_start = arm.along(0)[0], arm.along(2)[0]
            first = arm.first_task(0, "recall@1")
            rows.append(
                (
                    Cell(named(one, arm)),
                    Cell(wording.score(_mean(found["final"])), _span(found["final"], wording.score)),
                    *(
                        Cell(_points(found[name]), _span(found[name], wording.points))
                        for name in ("backward", "forgetting", "forward")
                    ),
                    Cell(wording.NOTHING) if first is None else Cell(wording.score(first.last), change(first.kept)),
                    Cell(wording.score(low), f"{wording.points(low - start)} after task {_task(arm, stage)}"),
                    Cell(
                        wording.score(general_low),
                        f"{wording.points(general_low - general_start)} after task {_task(arm, general_stage)}",
                    ),
                )
            )
            low_kept, high_kept = (None, None) if first is None else bounds(first.kept)
            records.append(
                {
                    "set": one.key,
                    "arm": arm.name,
                    "seeds": len(arm.streams),
                    **{name: _mean(values) for name, values in found.items()},
                    "first_task": None if first is None else first.last,
                    "first_task_questions": None if first is None else first.kept.queries,
                    "first_task_kept": None if first is None else first.kept.difference,
                    "first_task_kept_low": low_kept,
                    "first_task_kept_high": high_kept,
                    "worst_level_a": low,
                    "worst_level_a_after": _task(arm, stage),
                    "worst_level_c": general_low,
                    "worst_level_c_after": _task(arm, general_stage),
                }
            )
        if rows:
            groups.append(Group(label(one), tuple(rows)))
    if not groups:
        return None
    return Table(
        "continual",
        "Learning one task after the other: recall@1 of level a",
        (
            Column("arm", number=False),
            Column("average", "at the end"),
            Column("backward", "transfer"),
            Column("forgetting"),
            Column("forward", "transfer"),
            Column("first task", "at the end"),
            Column("worst point", "level a"),
            Column("worst point", "level c"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "Means over seeds, each of which draws the order of the tasks; small print: the least and the most of a "
            "seed. Backward transfer: R[T][j] − R[j][j]; "
            "forgetting: the best of R[i][j] before the end − R[T][j], the untouched encoder being i = 0; both over "
            "all tasks but the last. Forward transfer: R[j−1][j] − R[0][j], over all but the first. In points of "
            "0.01. First task: its questions after the last task, and what that is against right after it was learnt, "
            "with a 95 % interval over what they are about. Worst points are the lowest means over all distinct "
            "questions of a level after so many tasks.",
        ),
    )


def costs(gathered: Gathered) -> Table | None:
    """What each arm takes."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        for arm in (arm for arm in one.arms.values() if arm.name != "none"):
            timed = [arm.streams[place] for place in arm.timed]
            learning = np.array([stream.arrays["learning_seconds"][-1] for stream in timed])
            worked = sum(int(stream.arrays["steps"][-1]) for stream in timed)
            embedding = float(sum(stream.arrays["embedding_seconds"].sum() for stream in timed))
            texts = sum(
                stream.piece.facts["documents"] * int((stream.arrays["embedding_seconds"] > 0).sum())
                for stream in timed
            )
            rate = texts / embedding if embedding else float("nan")
            nbytes = int(arm.streams[0].arrays["nbytes"][-1])
            rows.append(
                (
                    Cell(named(one, arm)),
                    Cell(wording.duration(float(learning.mean()))),
                    Cell(f"{arm.steps:,.0f}"),
                    Cell(wording.seconds(float(learning.sum()) / worked) if worked else wording.NOTHING),
                    Cell(wording.number(rate)),
                    Cell(wording.megabytes(nbytes)),
                    timed_in(gathered.run, arm.pieces, arm.timed),
                )
            )
            records.append(
                {
                    "set": one.key,
                    "arm": arm.name,
                    "learning_seconds": float(learning.mean()),
                    "steps": arm.steps,
                    "texts_a_second": rate,
                    "bytes": nbytes,
                    "pieces": len(arm.streams),
                    "quiet_pieces": sum(is_quiet(stream.piece) for stream in timed),
                }
            )
        if rows:
            groups.append(Group(label(one), tuple(rows)))
    if not groups:
        return None
    return Table(
        "costs",
        "What learning takes",
        (
            Column("arm", number=False),
            Column("learning", "all tasks"),
            Column("steps"),
            Column("a step"),
            Column("documents", "embedded a second"),
            Column("what is learnt"),
            Column("timed in", number=False),
        ),
        tuple(groups),
        tuple(records),
        notes=notes(
            gathered.run,
            "Means over seeds. Documents are embedded anew after each task where an arm moves them.",
            pieces=[piece for one in gathered.sets for arm in one.arms.values() for piece in arm.pieces],
            busy=any(not r["quiet_pieces"] for r in records),
        ),
    )


def alarms(gathered: Gathered) -> Table | None:
    """How far the encoder has moved in the end, told without questions."""
    groups, records = [], Records()
    names = dict(
        zip(
            ALARMS,
            ("documents’ cosine", "questions’ cosine", "neighbours kept", "anisotropy", "effective rank"),
            strict=True,
        )
    )
    for one in gathered.sets:
        rows = []
        for arm in one.arms.values():
            last = np.mean([stream.arrays["alarms"][-1] for stream in arm.streams], axis=0)
            rows.append((Cell(named(one, arm)), *(Cell(wording.number(float(value))) for value in last)))
            records.append(
                {"set": one.key, "arm": arm.name} | dict(zip(ALARMS, (float(value) for value in last), strict=True))
            )
        groups.append(Group(label(one), tuple(rows)))
    if not groups:
        return None
    return Table(
        "alarms",
        "How far the vectors have moved by the end",
        (Column("arm", number=False), *(Column(name) for name in names.values())),
        tuple(groups),
        tuple(records),
        notes=(
            "Mean cosine of a text's new and old vector; the share of a document's ten nearest that stay; the mean "
            "cosine of two different documents; and exp of the entropy of the documents' singular values. Means over "
            "seeds.",
        ),
    )


def sets(gathered: Gathered) -> Table | None:
    """What was taught and asked."""
    rows, records = [], Records()
    for one in gathered.sets:
        facts = one.facts
        asked = [one.base.asked(level) for level in range(len(LEVELS))]
        times = [int(sum(stream.of_level(level).sum() for stream in one.base.streams)) for level in range(len(LEVELS))]
        rows.append(
            (
                Cell(one.key, facts["language"]),
                Cell(", ".join(facts["tasks"])),
                Cell(f"{facts['documents']:,}"),
                Cell(f"{sum(facts['lessons']):,}"),
                *(Cell(f"{count:,}") for count in asked),
                Cell(facts["general"], f"{facts['general_documents']:,} documents"),
            )
        )
        records.append(
            {
                "set": one.key,
                "tasks": len(facts["tasks"]),
                "seeds": len(one.questions),
                "documents": facts["documents"],
                "lessons": sum(facts["lessons"]),
                **{f"questions_{name}": count for name, count in zip(LEVELS, asked, strict=True)},
                **{f"asked_{name}": count for name, count in zip(LEVELS, times, strict=True)},
                "general": facts["general"],
                "near_duplicates_left_out": facts["near_duplicates"],
            }
        )
    if not rows:
        return None
    return Table(
        "sets",
        "What is taught and asked",
        (
            Column("set", number=False),
            Column("tasks", number=False),
            Column("documents", "first seed"),
            Column("lessons", "first seed"),
            *(Column("questions", f"level {title.split(':')[0]}") for title in TITLES),
            Column("level c", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            "Distinct questions of all seeds together: each seed draws its own lessons, questions and documents where "
            "there are more than it takes, and the order of the tasks, which are named as the first seed learns them. "
            "How often they are asked in all seeds stands in the CSV.",
        ),
    )


def _headed(title: str) -> tuple[str, str]:
    letter, _, name = title.partition(": ")
    return letter, name


def label(one: SetResult) -> str:
    """A set as tables head it."""
    return f"{one.key} ({one.facts['language']})"


def named(one: SetResult, arm: ArmResult) -> str:
    """An arm as tables call it; where fewer seeds of it ran than of another arm, with how many."""
    ran, most = len(arm.streams), len(one.base.streams)
    return arm.title if ran == most else f"{arm.title} ({ran} of {most} seeds)"


def change(test: Paired) -> str:
    """A difference in points, with its interval."""
    return f"{wording.points(test.difference)} {span(test)}" if has_interval(test) else span(test)


def span(test: Paired) -> str:
    """The interval of a difference in points; where all that is compared differs alike, of how many that is."""
    if not has_interval(test):
        return f"none of {test.queries:,} differs" if test.difference == 0 else f"all {test.queries:,} alike"
    return f"[{wording.points(test.low)}, {wording.points(test.high)}]"


def seeds_span(values: DoubleArray) -> str:
    """The least and the most of the seeds in points; nothing where there is one."""
    return f"seeds {_span(values, wording.points)}" if values.size > 1 else ""


def _task(arm: ArmResult, stage: int) -> int:
    return arm.streams[0].after[stage]


def _mean(values: DoubleArray) -> float:
    return float(values.mean())


def _points(values: DoubleArray) -> str:
    return wording.points(_mean(values)) if np.isfinite(values).all() else wording.NOTHING


def _span(values: DoubleArray, told: Callable[[float], str]) -> str:
    if values.size < 2 or not np.isfinite(values).all():
        return ""
    return f"{told(float(values.min()))} to {told(float(values.max()))}"
