"""The tables of a run on drift."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adamem.bench.adaptation.drift import ALARMS
from adamem.bench.drift.bridging import BRIDGES
from adamem.bench.drift.measured import EXACT
from adamem.bench.paired import Paired, paired
from adamem.bench.stats import Estimate
from adamem.report import wording
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.report.drift.gathered import MEASURES, VIEW_NAMES, WAYS, DriftResult, Gathered, SetResult, Split, label

ALPHA = 0.05
NEAR = 0.01
"""Procrustes must bring a rotation back to within this much of recall@10."""
COLLAPSED = 0.2
"""With a rotated space and no bridge, less than this share of what the new documents give may be found."""
Records = list[Mapping[str, CsvValue]]
_NOTHING = paired(np.zeros(0), np.zeros(0))
_NO_SPLIT = Split(_NOTHING, _NOTHING, _NOTHING)
"""Of none and of all documents the losses stand in the table of views."""


def views(gathered: Gathered) -> Table | None:
    """What each way to meet the documents finds by exact search."""
    groups, records = [], Records()
    for one in gathered.sets:
        for drift in one.drifts.values():
            rows = []
            for view in (view for view in drift.views if view not in ("placed", "kept-up")):
                first, ten = (drift.score(EXACT, view, measure) for measure in MEASURES)
                stale, anew = drift.against(view, "stale"), drift.against(view, "anew")
                relative = drift.relative(EXACT, view)
                rows.append(
                    (
                        Cell(VIEW_NAMES[view]),
                        Cell(wording.score(first.value), wording.interval(first, "score")),
                        Cell(wording.score(ten.value), wording.interval(ten, "score")),
                        Cell(wording.score(relative.value), wording.interval(relative, "score")),
                        _difference(stale) if view != "stale" else Cell(wording.NOTHING),
                        _difference(anew) if view != "anew" else Cell(wording.NOTHING),
                    )
                )
                for measure, score in zip(MEASURES, (first, ten), strict=True):
                    part = drift.relative(EXACT, view, measure=measure)
                    to_stale, to_anew = (drift.against(view, other, measure) for other in ("stale", "anew"))
                    of_seeds = [float(seed.values(EXACT, view, measure).mean()) for seed in drift.seeds]
                    records.append(
                        {"set": one.key, "drift": drift.name, "view": view, "measure": measure}
                        | {"questions": to_stale.queries, "value": score.value, "low": score.low, "high": score.high}
                        | {"least_of_seeds": min(of_seeds), "most_of_seeds": max(of_seeds)}
                        | {"relative": part.value, "relative_low": part.low, "relative_high": part.high}
                        | _recorded(to_stale, "to_stale")
                        | _recorded(to_anew, "to_anew")
                    )
            if drift is one.lead:
                groups.append(Group(label(one, drift), tuple(rows)))
    if not groups:
        return None
    return Table(
        "views",
        "What new questions find, by exact search",
        (
            Column("how they meet the documents", number=False),
            Column("recall@1"),
            Column("recall@10"),
            Column("relative", "to all anew, @10"),
            Column("against", "no bridge, @10"),
            Column("against", "all embedded anew, @10"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "Recall: the share of questions with an answer among the first 1 or 10. Differences in points of 0.01, "
            "question by question, with 95 % bootstrap intervals over distinct questions; bold: ahead of no "
            f"bridge by a paired test at 5 % (uncorrected). Bridges are fitted to {_share(gathered.experiment.bridge)} "
            "of the documents, embedded anew for this. The other drifts, and the spread of seeds, stand in the CSV.",
        ),
    )


def split(gathered: Gathered) -> Table | None:
    """Whose each loss is: the encoder's or the index's."""
    groups, records = [], Records()
    for one in gathered.sets:
        for drift in one.drifts.values():
            rows = []
            for view in drift.views:
                for name in gathered.experiment.indexes:
                    if not drift.has(name, view):
                        continue
                    found, nearest = drift.split(name, view), drift.nearest(name, view)
                    rows.append(
                        (
                            Cell(VIEW_NAMES[view]),
                            Cell(name),
                            _loss(found.total),
                            _loss(found.encoder),
                            _loss(found.index),
                            Cell(wording.score(nearest)),
                        )
                    )
                    for measure in MEASURES:
                        parts = drift.split(name, view, measure)
                        records.append(
                            {"set": one.key, "drift": drift.name, "view": view, "index": name, "measure": measure}
                            | _recorded(parts.total, "total")
                            | _recorded(parts.encoder, "encoder")
                            | _recorded(parts.index, "index_part")
                            | {"neighbours_found": nearest}
                        )
            if drift is one.lead:
                groups.append(Group(label(one, drift), tuple(rows)))
    if not groups:
        return None
    return Table(
        "split",
        "What is lost of recall@10, and by whom",
        (
            Column("how questions meet the documents", number=False),
            Column("index", number=False),
            Column("total loss", "points"),
            Column("the encoder's", "points"),
            Column("the index's", "points"),
            Column("neighbours", "found"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "Against all documents embedded anew and searched exactly, in points of 0.01, with 95 % bootstrap "
            "intervals over distinct questions. The encoder's part is what exact search loses with the same "
            "vectors, the index's part what the index loses against exact search there; they add up to the total. A "
            "negative part is a gain: a neighbour that an index misses may be a wrong answer. Neighbours found: of "
            "exact search's ten.",
        ),
    )


def shares(gathered: Gathered) -> Table | None:
    """What is found while a share of the documents is embedded anew."""
    groups, records = [], Records()
    for one, drift in gathered.leads:
        rows = []
        for name in gathered.indexes:
            for way in WAYS:
                cells = []
                for place, (share, found) in enumerate(along(gathered, drift, name, way)):
                    cells.append(Cell(wording.score(found.value), wording.interval(found, "score")))
                    between = 0 < place <= len(gathered.experiment.shares)
                    parts = drift.split(name, way, share=place - 1) if between else _NO_SPLIT
                    records.append(
                        {"set": one.key, "index": name, "way": way}
                        | {"share": share}
                        | _estimated(found, "relative")
                        | _recorded(parts.total, "total")
                        | _recorded(parts.encoder, "encoder")
                        | _recorded(parts.index, "index_part")
                    )
                rows.append((Cell(WAYS[way]), Cell(name), *cells))
        groups.append(Group(label(one, drift), tuple(rows)))
    if not groups:
        return None
    return Table(
        "shares",
        "Recall@10 relative to all documents embedded anew, by the share that is",
        (
            Column("documents", number=False),
            Column("index", number=False),
            *(Column(_share(share)) for share in (0.0, *gathered.experiment.shares, 1.0)),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "Over the same index's recall@10 with all documents embedded anew; 95 % bootstrap intervals over "
            "questions. One index of both: new vectors are put in the place of the old ones, and new questions rank "
            "both by cosine. Two indexes: each holds one space. Over the bridge, or with the old encoder kept for the "
            "old one, answers are merged by cosine; without either by rank, as by cosine this would be one index of "
            "both. The bridge is fitted "
            f"to what is embedded anew by then, at most {_share(gathered.experiment.bridge)} of the documents (so many "
            "at 0 % too). The encoder's and the index's part of what is lost at each share stand in the CSV.",
        ),
    )


def along(gathered: Gathered, drift: DriftResult, index: str, way: str) -> list[tuple[float, Estimate]]:
    """Relative recall@10 of a way at each share, from none to all."""
    none = {"bridged": gathered.experiment.over, "each-own": "before"}.get(way, "stale")
    all_of_them = "placed" if way == "mixed" and drift.has(index, "placed") else "anew"
    return [
        (0.0, drift.relative(index, none)),
        *((share, drift.relative(index, way, number)) for number, share in enumerate(gathered.experiment.shares)),
        (1.0, drift.relative(index, all_of_them)),
    ]


def placed(gathered: Gathered) -> Table | None:
    """An index into which new vectors were put, against one built from them."""
    groups, records = [], Records()
    rebuilt: list[str] = []
    for one, drift in gathered.leads:
        rows = []
        for name in gathered.experiment.indexes:
            if not drift.has(name, "placed") and name not in rebuilt:
                rebuilt.append(name)
            effort = drift.facts("indexes", name, "effort")
            spread = sorted({wording.params(found) for found in effort})
            for view, spent in (("stale", "build"), ("placed", "put-in"), ("kept-up", "maintain"), ("anew", "rebuild")):
                if not drift.has(name, view):
                    continue
                change = drift.against(view, "anew", index=name)
                nearest = drift.nearest(name, view)
                taken = drift.mean("indexes", name, "seconds", spent)
                nbytes = drift.mean("indexes", name, "bytes", "build" if view == "stale" else _bytes_of(view))
                rows.append(
                    (
                        Cell(name, "; ".join(spread) or "no effort to choose"),
                        Cell(_HELD[view]),
                        Cell(wording.score(nearest)),
                        Cell(wording.score(drift.score(name, view).value)),
                        _difference(change) if view in ("placed", "kept-up") else Cell(wording.NOTHING),
                        Cell(wording.seconds(taken)),
                        Cell(wording.megabytes(nbytes)),
                    )
                )
                records.append(
                    {"set": one.key, "index": name, "effort": "; ".join(spread), "holds": view}
                    | {"neighbours_found": nearest, "recall@10": drift.score(name, view).value}
                    | _recorded(change, "to_anew")
                    | {"seconds": taken, "bytes": nbytes}
                )
        groups.append(Group(label(one, drift), tuple(rows)))
    if not groups:
        return None
    return Table(
        "placed",
        "Built on old vectors, new vectors put in",
        (
            Column("index", number=False),
            Column("holds", number=False),
            Column("neighbours", "found"),
            Column("recall@10"),
            Column("against", "built anew"),
            Column("took"),
            Column("bytes"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "Asked by the new questions at one effort, small print: the least that finds "
            f"{wording.percent(gathered.experiment.effort)} of the ten nearest of taught questions in the old vectors, "
            "chosen before the drift and kept. Neighbours found: of exact search's ten over the same vectors. Put in: "
            "each document's id is given its new vector, all of them one share after the other; maintained: after the "
            "index's own upkeep, which builds hnsw and faiss_pq anew and mends or rebuilds spiral's graph.",
            *(
                f"{name} takes no new vector for an id that it has: it was built again for each share."
                for name in rebuilt
            ),
        ),
    )


_HELD = {
    "stale": "old vectors",
    "placed": "new ones, put in",
    "kept-up": "the same, maintained",
    "anew": "new ones, built anew",
}


def _bytes_of(view: str) -> str:
    return "rebuild" if view == "anew" else view


def controls(gathered: Gathered) -> Table | None:
    """Whether what must fail fails, and what must hold holds."""
    rows, records = [], Records()
    for one in gathered.sets:
        for drift in one.drifts.values():
            for said, value, held in checks(drift):
                verdict = "not determined" if held is None else "holds" if held else "fails"
                rows.append((Cell(one.key), Cell(drift.title), Cell(said), Cell(value), Cell(verdict)))
                records.append({"set": one.key, "drift": drift.name, "check": said, "value": value, "verdict": verdict})
    if not rows:
        return None
    return Table(
        "controls",
        "Controls, by exact search",
        (
            Column("set", number=False),
            Column("drift", number=False),
            Column("what must be", number=False),
            Column("what is"),
            Column("verdict", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            "A rotation multiplies all old vectors by one random orthogonal matrix: nothing is found without a bridge, "
            "and Procrustes must undo it, where it is fitted to as many texts as there are dimensions. Noise of half a "
            "vector's norm is beyond every bridge; what it costs is shown among the views' figures in the CSV. "
            "Shuffled pairs join each question with another's document.",
        ),
    )


def checks(drift: DriftResult) -> list[tuple[str, str, bool | None]]:
    """What a control has to show: in words, what is, and whether it holds; None where it cannot be told.

    Procrustes is not determined by fewer texts than the space has dimensions.
    """
    if drift.name == "rotation":
        share, back = drift.relative(EXACT, "stale"), drift.against("procrustes", "anew")
        enough = min(drift.facts("fitted_to")) >= max(drift.facts("dim"))
        return [
            (
                f"without a bridge under {wording.percent(COLLAPSED)} of recall@10 is left",
                wording.percent(share.value),
                share.value < COLLAPSED,
            ),
            (
                "Procrustes brings recall@10 back to within a point",
                f"{wording.points(back.difference)} points",
                abs(back.difference) <= NEAR if enough else None,
            ),
        ]
    if drift.name == "shuffled":
        gain = drift.against("anew", "before")
        return [
            (
                "learns nothing: recall@10 is not above the untouched encoder's",
                span(gain),
                not (told_apart(gain) and gain.difference > 0),
            )
        ]
    return []


def alarms(gathered: Gathered) -> Table | None:
    """How far the vectors have moved, told without questions."""
    names = ("documents’ cosine", "questions’ cosine", "neighbours kept", "anisotropy", "effective rank")
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        for drift in one.drifts.values():
            found = [float(value) for value in drift.alarms]
            rows.append((Cell(drift.title), *(Cell(wording.number(value)) for value in found)))
            records.append({"set": one.key, "drift": drift.name} | dict(zip(ALARMS, found, strict=True)))
        groups.append(Group(f"{one.key} ({one.facts['language']})", tuple(rows)))
    if not groups:
        return None
    return Table(
        "alarms",
        "How far the vectors have moved",
        (Column("drift", number=False), *(Column(name) for name in names)),
        tuple(groups),
        tuple(records),
        notes=(
            "Mean cosine of a text's new and old vector; the share of a document's ten nearest that stay; the mean "
            "cosine of two different documents; and exp of the entropy of the documents' singular values. Means over "
            "seeds. A rotation moves every vector and no neighbour: the cosine alone is no measure of harm.",
        ),
    )


def costs(gathered: Gathered) -> Table | None:
    """What learning, embedding anew and each bridge take."""
    groups, records = [], Records()
    for one, drift in gathered.leads:
        learning, embedding = (drift.mean("seconds", what) for what in ("learning", "embedding"))
        adapter, rate = drift.mean("bytes", "adapter"), int(one.facts["documents"]) / embedding
        rows = [
            _cost("learning", learning, None, adapter, ""),
            _cost("embedding all documents", embedding, None, None, f"{wording.number(rate)} texts/s"),
        ]
        records.append(_spent(one, "learning", learning, None, adapter))
        records.append(_spent(one, "embedding", embedding, None, None))
        for name, fact, told in (
            *((bridge, bridge, f"fitting {VIEW_NAMES[bridge].rpartition('over ')[2]}") for bridge in BRIDGES),
            ("query-map", "map", "learning the query map"),
        ):
            if not all(f"ns.{name}" in seed.arrays for seed in drift.seeds):
                continue
            spent = np.concatenate([seed.arrays[f"ns.{name}"] for seed in drift.seeds]) * 1e-9
            p50, p95 = (float(value) for value in np.percentile(spent, (50, 95)))
            seconds, nbytes = drift.mean("seconds", fact), drift.mean("bytes", fact)
            rows.append(_cost(told, seconds, (p50, p95), nbytes, ""))
            records.append(_spent(one, name, seconds, (p50, p95), nbytes))
        groups.append(Group(label(one, drift), tuple(rows)))
    if not groups:
        return None
    return Table(
        "costs",
        "What it takes",
        (
            Column("what", number=False),
            Column("took"),
            Column("a query", "median / 95 %"),
            Column("holds"),
            Column("beside", number=False),
        ),
        tuple(groups),
        tuple(records),
        notes=("Means over seeds; a query's time over a thousand calls a seed, one query each.",),
    )


def _cost(
    what: str, seconds: float, query: tuple[float, float] | None, nbytes: float | None, beside: str
) -> tuple[Cell, ...]:
    return (
        Cell(what),
        Cell(wording.seconds(seconds)),
        Cell(wording.two_seconds(*query) if query is not None else wording.NOTHING),
        Cell(wording.megabytes(nbytes) if nbytes is not None else wording.NOTHING),
        Cell(beside),
    )


def _spent(
    one: SetResult, what: str, seconds: float, query: tuple[float, float] | None, nbytes: float | None
) -> dict[str, CsvValue]:
    p50, p95 = (value * 1e6 for value in query) if query is not None else (None, None)
    return {
        "set": one.key,
        "documents": int(one.facts["documents"]),
        "what": what,
        "seconds": seconds,
        "p50_us": p50,
        "p95_us": p95,
        "bytes": nbytes,
    }


def sets(gathered: Gathered) -> Table | None:
    """What was taught and asked."""
    rows, records = [], Records()
    for one in gathered.sets:
        facts = one.facts
        questions = sum(piece.facts["questions"] for piece in one.questions)
        rows.append(
            (
                Cell(one.key, facts["language"]),
                Cell(f"{facts['documents']:,}"),
                Cell(f"{facts['lessons']:,}"),
                Cell(f"{questions:,}", f"{len(one.questions)} seeds" if len(one.questions) > 1 else "1 seed"),
            )
        )
        records.append(
            {"set": one.key, "language": facts["language"], "documents": facts["documents"]}
            | {"lessons": facts["lessons"], "questions": questions, "seeds": len(one.questions)}
        )
    if not rows:
        return None
    return Table(
        "sets",
        "What is taught and asked",
        (Column("set", number=False), Column("documents"), Column("lessons"), Column("questions", "all seeds")),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=("Each seed draws its own documents, lessons and questions.",),
    )


def told_apart(test: Paired) -> bool:
    """Whether a paired test at 5 % (uncorrected) tells the two apart."""
    return test.p_value < ALPHA


def span(test: Paired) -> str:
    """A difference in points with its interval, and whether it is told apart from none."""
    apart = "" if told_apart(test) else ", not told apart"
    return f"{wording.points(test.difference)} points [{wording.points(test.low)}, {wording.points(test.high)}]{apart}"


def _difference(test: Paired) -> Cell:
    return Cell(
        wording.points(test.difference),
        f"[{wording.points(test.low)}, {wording.points(test.high)}]",
        best=told_apart(test) and test.difference > 0,
    )


def _loss(test: Paired) -> Cell:
    return Cell(wording.points(test.difference), f"[{wording.points(test.low)}, {wording.points(test.high)}]")


def _recorded(test: Paired, name: str) -> dict[str, CsvValue]:
    return {name: test.difference, f"{name}_low": test.low, f"{name}_high": test.high, f"{name}_p": test.p_value}


def _estimated(found: Estimate, name: str) -> dict[str, CsvValue]:
    return {name: found.value, "low": found.low, "high": found.high}


def _share(share: float) -> str:
    return wording.percent(share)
