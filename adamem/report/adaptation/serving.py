"""What a run says of an engine that serves while its encoder learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adamem.bench.adaptation.serving import PARTS, TOLERANCE
from adamem.bench.stats import Estimate
from adamem.report import wording
from adamem.report.adaptation.served import STATES, UPDATES, Pace, Served
from adamem.report.document import Block, Cell, Column, CsvValue, Group, Table
from adamem.types import DoubleArray

MOST = 2.0
"""The requirement: the 99th percentile of searches while something is learnt, over that while nothing is."""
PERCENTS = (50, 95, 99)
_MANY = 20
"""Of so many values the 95 % is told; of fewer the most."""
_CAME = {
    "taken": "taken: until in use",
    "refused": "refused by the gate: until then",
    "failed": "failed: until then",
    "none": "nothing learnt: until then",
}
"""What the report says of an update's standing, and what its time is the time of."""
Records = list[Mapping[str, CsvValue]]


def sentences(found: Sequence[Served]) -> list[str]:
    """Whether searches are slowed down, and how soon a fact is found."""
    return [_said(one) for one in found]


def blocks(found: Sequence[Served]) -> tuple[Block | None, ...]:
    """The tables."""
    return latencies(found), updates(found), facts(found), costs(found)


def latencies(found: Sequence[Served]) -> Table | None:
    """How long searches take, by what happens beside them."""
    groups, records = [], Records()
    for one in found:
        rows = []
        for state, title in STATES.items():
            if not one.stretches[state]:
                continue
            seconds = np.concatenate(one.stretches[state])
            percentiles = [float(value) for value in np.percentile(seconds, PERCENTS)]
            longest = float(seconds.max())
            cells = (Cell(wording.seconds(value)) for value in (*percentiles, longest))
            rows.append((Cell(title), Cell(f"{seconds.size:,}"), *cells))
            named = {f"p{percent}_seconds": value for percent, value in zip(PERCENTS, percentiles, strict=True)}
            records.append(
                {"how": one.how, "beside": state, "searches": int(seconds.size), **named, "longest_seconds": longest}
            )
        if not rows:
            continue
        ratio = one.ratio
        told = f"while it learns, p99 is {wording.times(ratio.value)} that of idle {wording.interval(ratio)}"
        groups.append(Group(f"{one.title}: {told}; {_verdict(ratio)}", tuple(rows)))
        records.append(
            {
                "how": one.how,
                "beside": "ratio",
                "p99_ratio": ratio.value,
                "low": ratio.low,
                "high": ratio.high,
                "median_of_rounds": one.beside,
            }
        )
    if not groups:
        return None
    return Table(
        "serving",
        "Searches beside an encoder that learns",
        (
            Column("beside", number=False),
            Column("searches"),
            *(Column(f"p{percent}") for percent in PERCENTS),
            Column("longest"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "One engine on one file, asked one question after the other; a search counts where it begins, and one that "
            "has to wait is one search, however long: the longest tells it. The ratio "
            "is of whole updates to the idle stretches just before each; its 95 % interval resamples these rounds, and "
            f"the searches of each. Required: at most {MOST:g}×.",
            *(told for one in found for told in _uneven(one)),
        ),
    )


def updates(found: Sequence[Served]) -> Table | None:
    """How long an update takes, from feedback to use, and what of it; apart where it never came into use."""
    groups, records = [], Records()
    for one in found:
        rows = []
        for window, standing in ((window, standing) for window in UPDATES for standing in _CAME):
            whole, parts = one.seconds(window, standing), one.parts(window, standing)
            if not whole.size:
                continue
            p50, p95 = (float(value) for value in np.percentile(whole, (50, 95)))
            medians = [float(value) for value in np.median(parts, axis=0)]
            lessons = int(one.updates(window, standing)[0, 3])
            most, longest = float(whole.max()), one.longest(window, standing)
            late = Cell(wording.seconds(p95)) if whole.size >= _MANY else Cell(wording.seconds(most), "the most")
            rows.append(
                (
                    Cell(f"{lessons} pair{'s' if lessons > 1 else ''}, {_CAME[standing]}"),
                    Cell(f"{whole.size}"),
                    Cell(wording.seconds(p50)),
                    late,
                    *(Cell(wording.seconds(value)) for value in medians),
                    Cell(wording.seconds(float(np.median(longest))), f"most: {wording.seconds(float(longest.max()))}"),
                )
            )
            named = {f"{part}_seconds": value for part, value in zip(PARTS, medians, strict=True)}
            records.append(
                {
                    "how": one.how,
                    "pairs": lessons,
                    "standing": standing,
                    "updates": int(whole.size),
                    "p50_seconds": p50,
                    "p95_seconds": p95,
                    "most_seconds": most,
                    **named,
                    "longest_search_median_seconds": float(np.median(longest)),
                    "longest_search_seconds": float(longest.max()),
                }
            )
        if rows:
            came = ", ".join(f"{one.standing(what)} {what}" for what in _CAME if one.standing(what))
            groups.append(Group(f"{one.title}: {came}", tuple(rows)))
    if not groups:
        return None
    return Table(
        "serving_updates",
        "An update, from what the engine is told to what is in use",
        (
            Column("learnt", number=False),
            Column("updates"),
            Column("median"),
            Column("95 %"),
            *(Column(part, "median") for part in PARTS),
            Column("longest search", "of an update, median"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "Median and 95 % are of whole updates, without deleting the former vectors (clearing); of fewer than "
            f"{_MANY} the most stands for the 95 %. The very first update starts the process that learns, "
            f"{_alone(found[0])}. The exam asks before and after; what it refuses is never in use, so "
            f"that nothing is embedded anew for it. {_exam(found[0])}",
        ),
    )


def _alone(one: Served) -> str:
    config = one.config
    return f"with {config['threads']} thread{'s' if config['threads'] > 1 else ''} at nice {config['nice']}"


def _exam(one: Served) -> str:
    """What a single slip in the exam does."""
    golden = int(one.config["golden"])
    told = (
        f"It has {golden} questions, and refuses what loses more than {TOLERANCE:g} of their MRR@10; one that slips "
        f"from the first place to the second loses {0.5 / golden:.3g}"
    )
    return f"{told}, which is more: that alone refuses." if 0.5 / golden > TOLERANCE else f"{told}."


def facts(found: Sequence[Served]) -> Table | None:
    """How soon a new fact is found first, asked for in words that were not taught."""
    rows, records = [], Records()
    for one in found:
        every = one.facts
        if not every:
            continue
        before, later = sum(fact.before for fact in every), sum(fact.later for fact in every)
        still = sum(fact.before and fact.right_after for fact in every)
        own = sum(fact.right_after and not fact.before for fact in every)
        taken = sum(fact.taken and not fact.before for fact in every)
        never = len(every) - before - own - later
        since = [fact.seconds for fact in every if not fact.before]
        median = float(np.median(since)) if since else float("nan")
        rows.append(
            (
                Cell(one.title),
                Cell(f"{len(every)}"),
                Cell(f"{before}"),
                Cell(f"{still}"),
                Cell(f"{own}", f"own update taken: {taken}"),
                Cell(f"{later}"),
                Cell("never, by the end" if np.isinf(median) else wording.seconds(median)),
                Cell(f"{never}"),
            )
        )
        records.append(
            {
                "how": one.how,
                "facts": len(every),
                "before": before,
                "before_and_right_after": still,
                "not_before_and_taken": taken,
                "right_after": own,
                "after_later_updates": later,
                "median_seconds": None if np.isinf(median) else median,
                "never": never,
            }
        )
    if not rows:
        return None
    return Table(
        "serving_facts",
        "A new fact, asked for in words that were not taught",
        (
            Column("learnt by", number=False),
            Column("facts"),
            Column("first before", "its update"),
            Column("of those", "first right after"),
            Column("first right after", "not before"),
            Column("first after", "later updates"),
            Column("median time", "if not before"),
            Column("never first", "by the end"),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            "Each fact is added, told one question that it answers, learnt alone, and asked for in another question "
            "before that update, right after it and after each later one, whether the gate took it or not. What later "
            "updates bring is not told apart: they teach other facts, and may learn this one again beside them. The "
            "time begins when a fact is added, and its median is over all that were not found first before; one that "
            "is not by the end counts as never, though more updates might find it. Found first once is not for good: a "
            "later update may lose it again. No fact stands beside them that was never taught, so that this tells how "
            "soon, not whether an update teaches.",
        ),
    )


def costs(found: Sequence[Served]) -> Table | None:
    """Bytes, microseconds a query, and memory."""
    rows, records = [], Records()
    for one in found:
        plain, adapted, mapped = (float(np.median(one.pooled(name))) for name in ("plain_ns", "adapted_ns", "map_ns"))
        over = float(np.median(one.pooled("adapted_ns") - one.pooled("plain_ns")))
        bridge = one.fact("bridge_bytes")
        rows.append(
            (
                Cell(one.title),
                Cell(f"{one.fact('adapter_bytes'):,}", "" if bridge is None else f"bridge: {bridge:,}"),
                Cell(wording.seconds(plain)),
                Cell(wording.seconds(adapted)),
                Cell(f"{1e6 * over:+.0f} µs".replace("-", "−")),
                Cell(wording.seconds(mapped), "query map" if bridge is None else "bridge"),
                Cell(wording.megabytes(one.peak(1))),
                Cell(wording.megabytes(one.peak(2))),
            )
        )
        records.append(
            {
                "how": one.how,
                "adapter_bytes": one.fact("adapter_bytes"),
                "bridge_bytes": bridge,
                "plain_seconds": plain,
                "adapted_seconds": adapted,
                "overhead_seconds": over,
                "map_seconds": mapped,
                "serving_peak_bytes": one.peak(1),
                "learning_peak_bytes": one.peak(2),
            }
        )
    if not rows:
        return None
    return Table(
        "serving_costs",
        "What is kept, and what a query pays",
        (
            Column("learnt by", number=False),
            Column("bytes", "as kept"),
            Column("a query", "plain"),
            Column("a query", "adapted"),
            Column("difference"),
            Column("vector mapped", "alone"),
            Column("memory", "serving"),
            Column("memory", "learning"),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            "Medians over queries that the encoder embeds by itself, plain and adapted in turns, when the engine is "
            "closed; adapted by what a few pairs taught. The difference is the median of the pairs'. "
            "Memory is the most that was seen resident in either process, looked at ten times a second.",
        ),
    )


def _said(one: Served) -> str:
    ratio = one.ratio
    told = [
        f"While a {one.title} is learnt beside searches, the slowest hundredth of them (p99) take "
        f"{wording.times(ratio.value)} {wording.interval(ratio)} as long as when nothing is learnt, {_verdict(ratio)}"
    ]
    told += [*_held_up(one), *_came(one), *_facts(one)]
    uneven = (f"{_unsteady(pace)}." for pace in one.paces if not pace.is_steady)
    return " ".join((f"{'; '.join(told)}.", *uneven))


def _held_up(one: Served) -> list[str]:
    """How long the longest search took beside each update: a few that wait are no hundredth of all."""
    taken, others = (
        np.concatenate([one.longest(window, standing) for window in UPDATES for standing in standings])
        for standings in (("taken",), ("refused", "failed", "none"))
    )
    if not taken.size:
        return []
    said = (
        f"the longest search beside an update that was taken took from {wording.seconds(float(taken.min()))} to "
        f"{wording.seconds(float(taken.max()))}, {_median(taken)} at the median"
    )
    return [said + (f", beside the others at most {wording.seconds(float(others.max()))}" if others.size else "")]


def _came(one: Served) -> list[str]:
    """What came of updates by one pair, and after how long; nothing where there are none."""
    taken, refused = (one.seconds("one", standing) for standing in ("taken", "refused"))
    count = sum(one.seconds("one", standing).size for standing in _CAME)
    if not count:
        return []
    said = f"of {count} updates by one pair the gate refused {refused.size}"
    if refused.size:
        said += f", after {_median(refused)} (median)"
    if taken.size:
        said += f", and took {taken.size}, which were in use after {_median(taken)} (median)"
    return [said]


def _facts(one: Served) -> list[str]:
    """What updates did for facts, each asked for before its own update, right after it, and later."""
    every = one.facts
    if not every:
        return []
    before = [fact for fact in every if fact.before]
    others = [fact for fact in every if not fact.before]
    said = f"of {len(every)} new facts {len(before)} are found first in other words before their own update"
    if before:
        kept = sum(fact.right_after for fact in before)
        said += f", and {'the same ' if kept == len(before) else ''}{kept} of them right after it"
    if others:
        own, later = sum(fact.right_after for fact in others), sum(fact.later for fact in others)
        taken = sum(fact.taken for fact in others)
        said += (
            f"; of the other {len(others)}, {own} come first right after their own update (the gate took {taken} of "
            f"these {len(others)}), {later} after later updates, {len(others) - own - later} not by the end"
        )
    return [said]


def _uneven(one: Served) -> list[str]:
    """Of each piece whose idle searches did not keep their pace, that they did not, and what that means."""
    return [
        f"{_unsteady(pace)}, and its states are to be compared by the ratio alone, which is to the idle stretches just "
        f"before each update; each round by itself, the median of its ratios is {wording.times(one.beside)}."
        for pace in one.paces
        if not pace.is_steady
    ]


def _unsteady(pace: Pace) -> str:
    first, last, least, most = (
        wording.seconds(one) for one in (pace.medians[0], pace.medians[-1], min(pace.medians), max(pace.medians))
    )
    return (
        f"Idle searches did not keep their pace in {pace.piece}: from one idle stretch to another their median was "
        f"between {least} and {most} ({first} in the first, {last} in the last), so that its absolute times hold to a "
        f"factor of {wording.number(pace.spread)} at best"
    )


def _median(seconds: DoubleArray) -> str:
    return wording.seconds(float(np.median(seconds)))


def _verdict(ratio: Estimate) -> str:
    if not np.isfinite(ratio.value):
        return "not measured"
    if ratio.high <= MOST:
        return f"within the {MOST:g}× that are required"
    return f"more than the {MOST:g}× that are required" if ratio.low > MOST else f"not told apart from {MOST:g}×"
