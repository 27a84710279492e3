"""The plain sentences of the first screen: which index, by how much, and what to be careful about."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from adamem.report import wording
from adamem.report.comparison import Comparison, Entry, Verdict
from adamem.report.tables.duels import bound

_BOUNDED = {"≤": "at most", "≥": "at least"}


def answer(comparison: Comparison) -> str:
    """Which index is fastest at which recall, and whether that is beyond the noise."""
    loaded = comparison.loaded
    said = []
    for names, targets in _leaders(comparison):
        where = f"recall@{loaded.k} {wording.listed([f'{target:g}' for target in targets])}"
        if names is None:
            ahead = dict.fromkeys(entry.contestant.name for target in targets for entry in comparison.unranked(target))
            if len(ahead) == 1 and len(targets) == 1:
                said.append(f"at {where} {_ahead_from_above(comparison, targets[0])}")
                continue
            who = wording.listed(list(ahead)) if len(ahead) <= 3 else f"{len(ahead)} of the faster contestants"
            said.append(
                f"at {where} nobody can be named: {who} {'have' if len(ahead) > 1 else 'has'} no point near enough"
            )
            continue
        if not names:
            said.append(f"at {where} no contestant has a figure")
            continue
        leaders = [comparison.ranked(target)[0] for target in targets]
        told = [_speed(one) for one in leaders]
        speeds = wording.listed(told if len(set(told)) > 1 else told[:1])
        if len(names) == 1:
            said.append(f"at {where} use {names[0]}: {speeds} queries a second{_lead(comparison, targets)}")
        else:
            said.append(
                f"at {where} {wording.listed(list(names))} are not told apart: {speeds} queries a second for the first"
            )
    if not said and loaded.run.status == "incomplete":
        return "Nothing has been measured on the test queries yet: the run is not finished; run it again to go on."
    if not said:
        return "Nothing could be measured: every contestant failed or was found invalid; the reasons are below."
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in said)


def exact_sentence(comparison: Comparison) -> str:
    """Whether exact search already wins at this size, and roughly below which size it would."""
    loaded = comparison.loaded
    n = loaded.run.dataset.n
    duels = _exact_duels(comparison)
    if not any(contestant.is_exact and contestant.series for contestant in loaded.contestants):
        return "Exact search was not measured, so whether an index is needed at all is not known."
    if not duels:
        beyond = _outrun(comparison)
        if beyond:
            return beyond
        return (
            f"Exact search is the only one with a figure at these recalls, so nothing here beats it at {n:,} vectors."
        )
    lost = [duel for duel in duels if not duel.winner.contestant.is_exact and duel.outcome == "ahead"]
    if not lost:
        level = [duel for duel in duels if duel.outcome == "level"]
        how = "nothing is faster beyond the noise" if level else "nothing is faster"
        return f"Exact search already wins at this size: at {n:,} vectors {how}, it misses nothing and needs no tuning."
    if len(lost) < len(duels):
        won = [f"{duel.winner.target:g}" for duel in duels if duel not in lost]
        text = f"Exact search already wins at this size at recall {wording.listed(won)}, not elsewhere: "
    else:
        text = f"Exact search does not win at this size ({n:,} vectors): "
    pick = next((duel for duel in lost if duel.winner.target == loaded.middle), lost[-1])
    text += (
        f"at recall {pick.winner.target:g} {pick.winner.contestant.name} answers {wording.number(pick.margin.value)} "
        "times as "
        "many queries"
    )
    size = crossover(n, pick.margin.value)
    return (
        f"{text}. Below about {size:,} vectors like these nothing would beat it (exact search's time grows with their "
        "number, the other's taken to stay: a rough figure)."
    )


def _outrun(comparison: Comparison) -> str:
    """Exact search beaten by points that lie past a target, where none is near enough to one; empty if it is not."""
    for target in reversed(comparison.loaded.targets):
        exact = next((entry for entry in comparison.at(target) if entry.contestant.is_exact), None)
        others = comparison.unranked(target)
        if exact is not None and others:
            best = max(others, key=lambda entry: comparison.fastest(entry, below=False))
            ratio = comparison.fastest(best, below=False) / exact.values["qps"].value
            if ratio > 1:
                return (
                    f"Exact search does not win at this size ({comparison.loaded.run.dataset.n:,} vectors): "
                    f"{best.contestant.name} "
                    f"answers {wording.number(ratio)} times as many queries at a recall above {target:g}."
                )
    return ""


def doubt(comparison: Comparison) -> str:
    """Who may be ahead of a named winner, but has no point near enough to tell; empty if nobody."""
    open_: dict[str, list[str]] = {}
    for target in comparison.loaded.targets if comparison.entries else []:
        if comparison.ranked(target) and not comparison.unranked(target):
            for name in _not_ruled_out(comparison, target):
                open_.setdefault(name, []).append(f"{target:g}")
    return " ".join(
        f"Whether {name} is ahead at {wording.listed(targets)} is open: it has no point near enough there."
        for name, targets in open_.items()
    )


def caveat(comparison: Comparison) -> str:
    """What a reader must know before acting on the answer, the gravest first."""
    loaded = comparison.loaded
    said = []
    if loaded.run.status != "complete":
        said.append("This run is not complete: figures rest on what was measured so far; run it again to go on.")
    spoilt = sum(bool(block.fitness.notes) for block in loaded.blocks)
    if spoilt:
        said.append(
            f"The machine was not quiet during {spoilt} of {len(loaded.blocks)} blocks (see Machine): trust ratios "
            "more than absolute speeds, and neither too far."
        )
    if loaded.seeds < 3 or loaded.rounds < 5:
        said.append(
            f"Only {_count(loaded.seeds, 'build seed')} and {_count(loaded.rounds, 'round')} were measured (3 and 5 "
            "are needed for a headline), so the intervals are too narrow."
        )
    if not math.isfinite(comparison.noise["qps"].relative):
        said.append("There was no twin of the reference, so small differences cannot be told from noise.")
    return " ".join(said) or (
        f"One data set on one machine, {loaded.truth.rows.size:,} test queries, searches on one thread: other data "
        "can rank the indexes differently."
    )


def crossover(n: int, margin: float) -> int:
    """Two digits of the size at which exact search, `margin` times slower at `n`, would be level."""
    size = n / margin
    if size < 1:
        return 1
    places = 1 - math.floor(math.log10(size))
    return max(1, int(round(size, places)))


def _leaders(comparison: Comparison) -> list[tuple[tuple[str, ...] | None, list[float]]]:
    """Runs of targets with the same best contestants, those level with the best included; None: it cannot be said."""
    out: list[tuple[tuple[str, ...] | None, list[float]]] = []
    for target in comparison.loaded.targets if comparison.entries else []:
        names: tuple[str, ...] | None = None
        if not comparison.unranked(target):
            ranked = comparison.ranked(target)
            names = tuple(entry.contestant.name for entry in ranked if comparison.level_with_best(entry))
        if out and out[-1][0] == names:
            out[-1][1].append(target)
        else:
            out.append((names, [target]))
    return out


def _ahead_from_above(comparison: Comparison, target: float) -> str:
    """The one contestant that has no figure at the target, but is faster past it than anyone at it."""
    (entry,) = comparison.unranked(target)
    recalls = np.sort(entry.curve.recall.mean(axis=(0, 2)))
    low, high = recalls[recalls < target].max(), recalls[recalls >= target].min()
    ranked = comparison.ranked(target)
    best = (
        f"more than {ranked[0].contestant.name}, the best that has a figure there" if ranked else "the only one there"
    )
    return (
        f"{entry.contestant.name} has no figure, its settings go from {wording.score(float(low))} to "
        f"{wording.score(float(high))}; yet past the target it answers up to "
        f"{wording.number(comparison.fastest(entry, below=False))} queries a second, {best}"
    )


def _speed(entry: Entry) -> str:
    value = entry.values["qps"]
    bound = "at least " if value.mark and not entry.contestant.is_exact else ""
    return f"{bound}{wording.number(value.value)}"


def _lead(comparison: Comparison, targets: Sequence[float]) -> str:
    duels: list[Verdict] = []
    bounds: dict[str, list[str]] = {}
    for target in targets:
        ranked = comparison.ranked(target)
        if len(ranked) > 1:
            duels.append(comparison.duel(ranked[0], ranked[1]))
            bounds.setdefault(bound(ranked[0], ranked[1], "qps"), []).append(f"{target:g}")
    if not duels:
        return ", the only one with a figure there"
    margins = [duel.margin.value for duel in duels]
    low, high = wording.number(min(margins)), wording.number(max(margins))
    span = f"{low} times" if low == high else f"{low} to {high} times"
    seconds = list(dict.fromkeys(duel.loser.contestant.name for duel in duels))
    rivals = wording.listed(seconds)
    for sign, at in bounds.items():
        if sign and len(bounds) == 1:
            span = f"{_BOUNDED[sign]} {span}"
        elif sign:
            rivals += f"; {_BOUNDED[sign]} that at {wording.listed(at)}"
    floor = comparison.noise["qps"].relative
    beyond = f", beyond the noise of {wording.percent(floor)}" if np.isfinite(floor) else ""
    return f", {span} the next best ({rivals}){beyond}"


def _not_ruled_out(comparison: Comparison, target: float) -> list[str]:
    """Those without a value at the target whose point below it is faster than the best: they may be ahead, or not."""
    best = comparison.ranked(target)[0].values["qps"].value
    return [
        entry.contestant.name
        for entry in comparison.at(target)
        if entry.values["qps"].status == "gap" and comparison.fastest(entry, below=True) > best
    ]


def _exact_duels(comparison: Comparison) -> list[Verdict]:
    duels = []
    for target in comparison.loaded.targets:
        ranked = comparison.ranked(target)
        exact: Entry | None = next((entry for entry in ranked if entry.contestant.is_exact), None)
        best = next((entry for entry in ranked if not entry.contestant.is_exact), None)
        if exact is not None and best is not None and not comparison.unranked(target):
            duels.append(comparison.duel(best, exact))
    return duels


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
