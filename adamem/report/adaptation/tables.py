"""The tables of a run on adaptation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from adamem.bench.adaptation.asked import LEVELS
from adamem.bench.adaptation.drift import ALARMS
from adamem.bench.paired import Paired, paired
from adamem.report import wording
from adamem.report.adaptation.gathered import CONTROLS, TITLES, Acquired, ArmResult, Gathered, SetResult, estimate
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
                    before, after = arm.pooled(level, 0, view), arm.pooled(level, -1, view)
                    test, seeds = arm.change(level, view), arm.of_seeds(level, view)
                    ndcg = arm.change(level, view, "ndcg@10")
                    told = estimate(after)
                    cells.append(
                        Cell(
                            wording.score(told.value),
                            change(test),
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
                            "before": float(before.mean()),
                            "after": told.value,
                            "after_low": told.low,
                            "after_high": told.high,
                            "difference": test.difference,
                            "low": test.low,
                            "high": test.high,
                            "p": test.p_value,
                            "effect": test.effect,
                            "least_of_seeds": float(seeds.min()),
                            "most_of_seeds": float(seeds.max()),
                            "ndcg_difference": ndcg.difference,
                            "ndcg_low": ndcg.low,
                            "ndcg_high": ndcg.high,
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
            "Small print: the change in points of 0.01 against the untouched encoder, question by question, with its "
            "95 % bootstrap interval over the questions of all seeds. Bold: ahead by a paired test at 5 % "
            "(uncorrected). Level a asks in other words for what was taught, b for other documents of the same tasks, "
            "c is never trained on and searched among its own documents. nDCG@10, effect sizes and the spread of "
            "seeds stand in the CSV.",
        ),
    )


def _cells_of_base(one: SetResult, level: int) -> Cell:
    found = estimate(one.base.pooled(level, 0))
    return Cell(wording.score(found.value), wording.interval(found, "score"))


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
            kept = None if first is None else paired(first[1], first[2])
            rows.append(
                (
                    Cell(named(one, arm)),
                    Cell(wording.score(_mean(found["final"])), _span(found["final"], wording.score)),
                    *(
                        Cell(_points(found[name]), _span(found[name], wording.points))
                        for name in ("backward", "forgetting", "forward")
                    ),
                    Cell(wording.NOTHING)
                    if first is None or kept is None
                    else Cell(wording.score(float(first[2].mean())), change(kept)),
                    Cell(wording.score(low), f"{wording.points(low - start)} after task {_task(arm, stage)}"),
                    Cell(
                        wording.score(general_low),
                        f"{wording.points(general_low - general_start)} after task {_task(arm, general_stage)}",
                    ),
                )
            )
            records.append(
                {
                    "set": one.key,
                    "arm": arm.name,
                    "seeds": len(arm.streams),
                    **{name: _mean(values) for name, values in found.items()},
                    "first_task": None if first is None else float(first[2].mean()),
                    "first_task_kept": None if kept is None else kept.difference,
                    "first_task_kept_low": None if kept is None else kept.low,
                    "first_task_kept_high": None if kept is None else kept.high,
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
            "Means over seeds; small print: the least and the most of a seed. Backward transfer: R[T][j] − R[j][j]; "
            "forgetting: the best of R[i][j] before the end − R[T][j], the untouched encoder being i = 0; both over "
            "all tasks but the last. Forward transfer: R[j−1][j] − R[0][j], over all but the first. In points of "
            "0.01. First task: its questions after the last task, and what that is against right after it was learnt, "
            "with a 95 % interval over questions. Worst points are the lowest means over all questions of a level "
            "after some task.",
        ),
    )


def controls(gathered: Gathered) -> Table | None:
    """Whether what must not help does not."""
    rows, records = [], Records()
    for one in gathered.sets:
        for name in CONTROLS:
            if name not in one.arms:
                continue
            arm = one.arms[name]
            test, after = arm.change(0), estimate(arm.pooled(0, -1))
            chance = float(np.mean([1 / piece.facts["documents"] for piece in one.questions]))
            held = test.low <= 0
            rows.append(
                (
                    Cell(one.key),
                    Cell(named(one, arm)),
                    Cell(wording.score(after.value), wording.interval(after, "score")),
                    Cell(wording.score(float(arm.pooled(0, 0).mean()))),
                    Cell(wording.score(chance)),
                    Cell(_verdict(test)),
                )
            )
            records.append(
                {
                    "set": one.key,
                    "arm": name,
                    "after": after.value,
                    "after_low": after.low,
                    "after_high": after.high,
                    "untouched": float(arm.pooled(0, 0).mean()),
                    "chance": chance,
                    "difference": test.difference,
                    "low": test.low,
                    "high": test.high,
                    "passed": held,
                }
            )
    if not rows:
        return None
    return Table(
        "controls",
        "What must not help (recall@1 of level a)",
        (
            Column("set", number=False),
            Column("control", number=False),
            Column("after the last task"),
            Column("untouched"),
            Column("chance"),
            Column("verdict", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            "Shuffled pairs join each question with the document of another, at as many steps and the same rate. The "
            "random adapter has in every layer the Frobenius norm of what LoRA had learnt by the same task. Both may "
            "at best leave the encoder as it was.",
        ),
    )


def _verdict(test: Paired) -> str:
    if test.high < 0:
        return f"holds: below the untouched encoder by {wording.points(-test.difference).lstrip('+')} points"
    return "holds: not told apart from the untouched encoder" if test.low <= 0 else "fails: it helps"


def acquisition(gathered: Gathered) -> Table | None:
    """The claim: what one update teaches, and how long it lasts."""
    groups, records = [], Records()
    for one in gathered.acquired:
        rows = []
        for taught in (True, False):
            for view in ("anew", "stale"):
                cells = [Cell("taught by one update" if taught else "never taught", VIEW_NAMES[view])]
                for moment in one.moments:
                    found = one.estimate(moment, taught=taught, view=view)
                    since = one.change(moment, "before", taught=taught, view=view)
                    cells.append(Cell(wording.score(found.value), wording.interval(found, "score")))
                    records.append(
                        {
                            "set": one.key,
                            "taught": taught,
                            "documents": view,
                            "moment": moment,
                            "questions": since.queries,
                            "recall@1": found.value,
                            "low": found.low,
                            "high": found.high,
                            "since_before": since.difference,
                            "since_before_low": since.low,
                            "since_before_high": since.high,
                            "p": since.p_value,
                        }
                    )
                rows.append(tuple(cells))
        groups.append(Group(one.key, tuple(rows)))
    if not groups:
        return None
    moments = gathered.acquired[0].moments
    return Table(
        "acquisition",
        "Recall@1 of facts asked for in other words",
        (Column("facts", number=False), *(Column(*moment_name(moment)) for moment in moments)),
        tuple(groups),
        tuple(records),
        notes=(
            f"{_counted(gathered.acquired)} Each taught fact is one update of its own in a stream of updates with "
            "other facts, former ones beside it; as many facts that are never taught are asked for at the same "
            "moments and show what the stream does by itself. “Before” is just before the fact's own update. Searched "
            "are the answers and the documents that the untouched encoder ranks highest: its own recall is that among "
            "all documents, that of a changed encoder an upper bound of it. Where there are fewer other lessons than "
            "updates, they are taught again. Intervals: 95 % over questions.",
        ),
    )


def moment_name(moment: str) -> tuple[str, str]:
    """A heading, and what stands under it."""
    named = {"untouched": ("untouched", "encoder"), "before": ("before", "its update"), "0": ("right after", "")}
    return named.get(moment, (f"{moment} more", "updates later"))


def _counted(acquired: list[Acquired]) -> str:
    told = [
        f"{one.key}: {sum(a['taught'].size for a in one.arrays)} facts taught over {len(one.arrays)} seeds, "
        f"{one.found('0', taught=True).size} questions, {int(one.arrays[0]['pool'][0])} documents"
        for one in acquired
    ]
    return f"{'; '.join(told)}."


def costs(gathered: Gathered) -> Table | None:
    """What each arm takes."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        for arm in (arm for arm in one.arms.values() if arm.name != "none"):
            timed = [stream.arrays for stream in arm.timed]
            learning = np.array([arrays["learning_seconds"][-1] for arrays in timed])
            worked = sum(int(arrays["steps"][-1]) for arrays in timed)
            steps = float(np.mean([stream.arrays["steps"][-1] for stream in arm.streams]))
            embedding = float(sum(arrays["embedding_seconds"].sum() for arrays in timed))
            texts = sum(
                stream.piece.facts["documents"] * int((stream.arrays["embedding_seconds"] > 0).sum())
                for stream in arm.timed
            )
            rate = texts / embedding if embedding else float("nan")
            nbytes = int(arm.streams[0].arrays["nbytes"][-1])
            quiet = sum(stream.is_quiet for stream in arm.streams)
            rows.append(
                (
                    Cell(named(one, arm)),
                    Cell(wording.duration(float(learning.mean()))),
                    Cell(f"{steps:,.0f}"),
                    Cell(wording.seconds(float(learning.sum()) / worked) if worked else wording.NOTHING),
                    Cell(wording.number(rate)),
                    Cell(wording.megabytes(nbytes)),
                    Cell(_timed_in(quiet, len(arm.streams))),
                )
            )
            records.append(
                {
                    "set": one.key,
                    "arm": arm.name,
                    "learning_seconds": float(learning.mean()),
                    "steps": steps,
                    "texts_a_second": rate,
                    "bytes": nbytes,
                    "pieces": len(arm.streams),
                    "quiet_pieces": quiet,
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
        notes=(
            "Means over seeds. Documents are embedded anew after each task where an arm moves them. " + _QUIET,
            *_busy(any(not r["quiet_pieces"] for r in records)),
        ),
    )


_QUIET = (
    "Times are those of quiet pieces alone, in which the hypervisor took at most 2 % of the CPU time and other "
    "processes at most 5 %, wherever there is one."
)


def _timed_in(quiet: int, pieces: int) -> str:
    return f"{quiet} of {pieces} pieces" if quiet else f"{pieces}, none quiet*"


def _busy(some: bool) -> tuple[str, ...]:
    said = (
        "* The machine was busy with other things all the while: these times are longer than they would be by itself."
    )
    return (said,) if some else ()


def updates(gathered: Gathered) -> Table | None:
    """How long one update takes."""
    rows, records = [], Records()
    for one in gathered.acquired:
        seconds = one.update_seconds
        p50, p95 = (float(value) for value in np.percentile(seconds, (50, 95)))
        rows.append(
            (
                Cell(one.key),
                Cell(f"{seconds.size:,}"),
                Cell(wording.seconds(p50)),
                Cell(wording.seconds(p95)),
                Cell(_timed_in(one.quiet, len(one.pieces))),
            )
        )
        records.append(
            {
                "set": one.key,
                "updates": int(seconds.size),
                "p50_seconds": p50,
                "p95_seconds": p95,
                "pieces": len(one.pieces),
                "quiet_pieces": one.quiet,
            }
        )
    if not rows:
        return None
    beside = gathered.experiment.learning.beside
    return Table(
        "updates",
        f"One update: a step on a new pair with {beside} former ones",
        (
            Column("set", number=False),
            Column("updates"),
            Column("median"),
            Column("95 %"),
            Column("timed in", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(_QUIET, *_busy(any(not r["quiet_pieces"] for r in records))),
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
        asked = [int(sum(stream.of_level(level).sum() for stream in one.base.streams)) for level in range(len(LEVELS))]
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
            *(Column("questions", title.split(":")[0]) for title in TITLES),
            Column("level c", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=("Questions of all seeds together; each seed draws its own lessons, questions and documents.",),
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
    return f"{wording.points(test.difference)} {span(test)}"


def span(test: Paired) -> str:
    """The interval of a difference in points."""
    return f"[{wording.points(test.low)}, {wording.points(test.high)}]"


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
