"""What to do, as far as a run tells: who gains most on each set for what price, and who does without new vectors."""

from __future__ import annotations

import numpy as np

from adamem.report import wording
from adamem.report.adaptation.distinct import has_interval
from adamem.report.adaptation.gains import MEETS, OPEN, ahead, elsewhere
from adamem.report.adaptation.gathered import OFFERED, ArmResult, Gathered, SetResult

_MEASURE = "recall@10"
"""By which an arm gains for certain; among those that do, recall@1 tells who gains most."""
_VIEWS = {"anew": "", "stale": "", "bridged": ", over a bridge"}


def headline(gathered: Gathered) -> str:
    """Whether single updates teach; empty where none were measured."""
    if not gathered.acquired:
        return ""
    taught = [f"“{one.key}”" for one in gathered.acquired if one.own("0").low > 0]
    count = len(gathered.acquired)
    claim = "That an encoder which learns online by LoRA knows a new concept at once is"
    streams = "the one stream" if count == 1 else f"{len(taught) or 'none'} of the {count} streams"
    if not taught:
        return (
            f"{claim} {'not ' if count == 1 else ''}shown on {streams} of single updates: right after its own update a "
            "fact does not come first more often than before, beside facts that were never taught, as far as can be "
            "told."
        )
    return (
        f"{claim} shown on {streams} of single updates ({wording.listed(taught)}): there a fact comes first more often "
        "right after its own update than before, beside facts that were never taught."
    )


def instead(gathered: Gathered) -> str:
    """Of each set the arm on offer that gains most for certain, and its price; empty where no set was measured."""
    told = [_on(one) for one in gathered.sets if any(arm in OFFERED for arm in one.arms)]
    return f"What to do instead: {'; '.join(told)}." if told else ""


def _on(one: SetResult) -> str:
    gaining = {arm.name: elsewhere(arm) for arm in ahead(one)}
    sure = [one.arms[name] for name, judged in gaining.items() if judged == MEETS]
    if not sure:
        why = "no arm gains for certain while the general set loses at most a point"
        if OPEN in gaining.values():
            why = "whether the general set loses more than a point by an arm that gains is not decided"
        return f"on {one.key}, leave the encoder as it is: {why}"
    best = max(sure, key=lambda arm: arm.change(1).difference)
    seconds = float(np.mean([best.streams[place].seconds_a_task for place in best.timed]))
    gained = ", ".join(f"{_gain(best, level)} at level {'ab'[level]}" for level in (0, 1))
    said = f"on {one.key}, “{best.title}”: recall@10 {gained}, for {wording.seconds(seconds)} a task"
    if not best.moves_documents:
        return f"{said}; documents keep their vectors"
    kept = _where_documents_stay(one)
    if kept is None:
        return f"{said}, all documents embedded anew"
    arm, view = kept
    other = f"“{arm.title}”{_VIEWS[view]}, {_gain(arm, 1, view)} at level b"
    return f"{said}, all documents embedded anew; where they keep their vectors, {other}"


def _where_documents_stay(one: SetResult) -> tuple[ArmResult, str] | None:
    """The arm and the view that gain most at level b while no document moves; None where none gains."""
    found = [
        (arm, view)
        for name, arm in one.arms.items()
        if name in OFFERED
        for view in (("stale", "bridged") if arm.moves_documents else ("anew",))
        if arm.change(1, view, _MEASURE).low > 0
    ]
    return max(found, key=lambda pair: pair[0].change(1, pair[1], _MEASURE).difference, default=None)


def _gain(arm: ArmResult, level: int, view: str = "anew") -> str:
    change = arm.change(level, view, _MEASURE)
    span = f" [{wording.points(change.low)}, {wording.points(change.high)}]" if has_interval(change) else ""
    return f"{wording.points(change.difference)} points{span}"
