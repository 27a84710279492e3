"""From a run on drift to its report."""

from __future__ import annotations

from adamem.bench.drift.measured import EXACT
from adamem.bench.paired import paired
from adamem.report import wording
from adamem.report.document import Block, Bullets, Document, Paragraph, Section
from adamem.report.drift import tables
from adamem.report.drift.earlier import earlier
from adamem.report.drift.forms import forms
from adamem.report.drift.gathered import AT_REST, VIEW_NAMES, WAYS, DriftResult, Gathered, SetResult
from adamem.report.drift.tables import span, told_apart
from adamem.report.figures import losses, shares
from adamem.report.pieces import machine, recompute, section

_METHOD = (
    "An encoder learns from pairs of a question and its document (LoRA on query, key and value, AdamW at one constant "
    "rate, in-batch softmax). It is asked about other facts, entities and documents than it was taught; no question "
    "and none of its answers is nearly a text of a lesson.",
    "Bridges from the new space to the old: Procrustes and the low-rank affine map (arXiv 2509.23471), the mean drift "
    "(arXiv 2506.00037), all fitted to the same share of the documents and never to questions. The query map needs no "
    "new encoder: it moves the old question's vector and was learnt from the same pairs.",
    "Every way is searched exactly and by each index with its default build. An index's effort is the least that finds "
    "the wanted share of the ten nearest of taught questions in the old vectors, else the largest tried; it is chosen "
    "before the drift and kept.",
    "Loss is split: the encoder's part is what exact search finds less than with all documents embedded anew, the "
    "index's part what the index finds less than exact search over the same vectors.",
    "Documents are embedded anew in an order drawn by seed; larger shares hold the smaller ones. New vectors are put "
    "into the index in the place of the old, by the same id, without upkeep; two indexes side by side are kept up as "
    "they ask to be.",
    "Seeds draw documents, lessons, questions and what learning draws. A question that several seeds ask counts once, "
    "as its mean over them, and intervals resample such questions; the spread of the seeds stands in the CSVs. Two are "
    "told apart where a paired sign-flip test says so at 5 %, "
    "uncorrected: where few questions differ, it may be stricter than the interval.",
)


def compose(gathered: Gathered) -> Document:
    """The whole report. What was not measured has no section."""
    run = gathered.run
    sections = [
        Section("answer", "What is lost, and whose loss is it?", tuple(_first(gathered))),
        section(
            "views",
            "New questions, old documents",
            losses.data(gathered),
            _expected(gathered),
            tables.views(gathered),
            forms(gathered),
        ),
        section("split", "The encoder's loss and the index's", tables.split(gathered)),
        section("shares", "While documents are embedded anew", shares.data(gathered), tables.shares(gathered)),
        section("placed", "New vectors in an old index", tables.placed(gathered)),
        section("earlier", "An earlier trial", earlier(gathered)),
        section("controls", "Controls", tables.controls(gathered)),
        section("drift", "How far the vectors move", tables.alarms(gathered)),
        section("costs", "What it takes", tables.costs(gathered)),
        section("sets", "Data", tables.sets(gathered)),
        machine(run, gathered.pieces),
        Section("method", "Method in short", (Bullets(_METHOD),)),
        recompute(run),
    ]
    seeds = gathered.experiment.chosen.seeds
    return Document(
        title=run.title,
        subtitle=f"{len(gathered.sets)} collection{'s' if len(gathered.sets) != 1 else ''}, "
        f"{wording.listed(gathered.indexes)}, at most {seeds} seed{'s' if seeds > 1 else ''}, embedded by "
        f"{gathered.experiment.encoder}",
        sections=tuple(section for section in sections if section.blocks),
    )


def answer(gathered: Gathered) -> list[str]:
    """The plain sentences of the first screen."""
    said = []
    for one, drift in gathered.leads:
        said += [_lost(gathered, one, drift), _bridges(one, drift), _instead(gathered, one, drift)]
    return [one for one in (*said, _placed(gathered), _controls(gathered), _caveat(gathered)) if one]


def _first(gathered: Gathered) -> list[Block]:
    if not gathered.leads:
        return [Paragraph("Nothing has been measured yet; run it again to go on.", "answer")]
    said = answer(gathered)
    return [Paragraph(said[0], "answer"), *(Paragraph(one) for one in said[1:])]


def _lost(gathered: Gathered, one: SetResult, drift: DriftResult) -> str:
    """What is lost with old documents, and by whom."""
    before, stale, anew = (wording.score(drift.score(EXACT, view).value) for view in ("before", "stale", "anew"))
    loss = drift.against("anew", "stale")
    parts = {name: drift.split(name, "stale").index for name in gathered.experiment.indexes}
    told = wording.listed([f"{name} {wording.points(part.difference)}" for name, part in parts.items()])
    most = max(abs(part.difference) for part in parts.values())
    if not told_apart(loss):
        whose = "so that nothing certain is lost"
    elif most < 0.1 * loss.difference:
        whose = "and nearly all of it is the encoder's"
    elif most < loss.difference:
        whose = "and most of it is the encoder's"
    else:
        whose = "and an index loses as much by itself"
    return (
        f"{one.key}: with the old encoder recall@10 is {before}; with the new one and all documents embedded anew "
        f"{anew}; with new questions and the documents as they were {stale}. By exact search this costs, "
        f"against embedding anew, {span(loss)}, {whose}: on the same vectors the indexes lose {told} points more."
    )


def _bridges(one: SetResult, drift: DriftResult) -> str:
    """Whether a bridge beats doing nothing."""
    tests = {view: drift.against(view, "stale") for view in drift.views if view in AT_REST[2:]}
    told = wording.listed([f"{VIEW_NAMES[view]} {span(test)}" for view, test in tests.items()])
    apart = {view: test.difference for view, test in tests.items() if told_apart(test)}
    better = [VIEW_NAMES[view] for view, change in apart.items() if change > 0]
    worse = [VIEW_NAMES[view] for view, change in apart.items() if change < 0]
    if better:
        verdict = f"better than new questions without a bridge: {wording.listed(better)}"
    elif len(worse) == len(tests):
        verdict = "every bridge is worse than none"
    else:
        verdict = "no bridge is better than none"
    if worse and len(worse) < len(tests):
        verdict += f"; worse than none: {wording.listed(worse)}"
    return f"{one.key}: {verdict}. By exact search, against no bridge: {told}."


def _instead(gathered: Gathered, one: SetResult, drift: DriftResult) -> str:
    """What to do until all is embedded anew."""
    rest = {view: drift.score(EXACT, view).value for view in drift.views if view in AT_REST}
    best = max(rest, key=lambda view: rest[view])
    alike = [VIEW_NAMES[view] for view in rest if view != best and not told_apart(drift.against(best, view))]
    share = len(gathered.experiment.shares) // 2
    half = {way: drift.score(EXACT, way, share=share).value for way in WAYS}
    way = max(half, key=lambda name: half[name])
    ties = [WAYS[other] for other in WAYS if other != way and not told_apart(drift.ways(way, other, share))]
    told = wording.listed([f"{WAYS[name]} {wording.score(value)}" for name, value in half.items()])
    return (
        f"{one.key}: while no document is embedded anew, “{VIEW_NAMES[best]}” finds most "
        f"({wording.score(rest[best])}{_beside(alike, len(rest) - 1)}); embedding all anew: "
        f"{span(drift.against('anew', best))}. With {wording.percent(gathered.experiment.shares[share])} embedded anew "
        f"recall@10 is: {told}; most with {WAYS[way]}{_beside(ties, len(WAYS) - 1)}.{_mixed(gathered, drift, share)}"
    )


def _mixed(gathered: Gathered, drift: DriftResult, share: int) -> str:
    """Whether vectors of both spaces in one index are worse than old ones alone, and whether an index suffers too."""
    said = ""
    test = paired(drift.pooled(EXACT, "stale"), drift.pooled(EXACT, "mixed", share=share))
    if told_apart(test) and test.difference < 0:
        said += f" Old and new vectors in one index are worse than the old ones alone ({span(test)})."
    own = [
        f"{name} at {wording.percent(value)} {span(part)}"
        for number, value in enumerate(gathered.experiment.shares)
        for name in gathered.experiment.indexes
        if (part := drift.split(name, "mixed", share=number).index).difference > 0 and told_apart(part)
    ]
    if own:
        said += f" Such an index loses by itself as well: {wording.listed(own)}."
    return said


def _beside(alike: list[str], others: int) -> str:
    """Of whom, among so many others, the best is not told apart."""
    if len(alike) == others:
        return ", not told apart from any other"
    return f", not told apart from: {'; '.join(alike)}" if alike else ""


def _placed(gathered: Gathered) -> str:
    """Whether an index suffers when new vectors are put into it."""
    tests = [
        (f"{name} on {one.key}", drift.against("placed", "anew", index=name))
        for one, drift in gathered.leads
        for name in gathered.experiment.indexes
        if drift.has(name, "placed")
    ]
    if not tests:
        return ""
    worse = [f"{named} ({span(test)})" for named, test in tests if told_apart(test) and test.difference < 0]
    if worse:
        return (
            f"New vectors put into an index built on old ones, against one built from them, cost recall@10: "
            f"{wording.listed(worse)}; maintain or rebuild it."
        )
    most = min(test.difference for _, test in tests)
    return (
        "Putting new vectors into an index built on old ones costs no recall@10 that can be told from noise, against "
        f"one built from them (at most {wording.points(most)} points)."
        if most < 0
        else "An index built on old vectors, into which the new ones were put, finds as much as one built from them."
    )


def _controls(gathered: Gathered) -> str:
    """Whether the controls hold."""
    found = [
        (f"{one.key}, {drift.title}: {said}", held)
        for one in gathered.sets
        for drift in one.drifts.values()
        for said, _, held in tables.checks(drift)
    ]
    if not found:
        return ""
    failed = [said for said, held in found if held is False]
    if failed:
        return f"A control fails ({'; '.join(failed)}); what is said above is not to be trusted."
    kept = [said for said, held in found if held]
    return f"The controls hold: {'; '.join(kept)}." if kept else ""


def _caveat(gathered: Gathered) -> str:
    said = []
    if gathered.run.status != "complete":
        said.append("This run is not complete; run it again to go on.")
    if min(len(drift.seeds) for _, drift in gathered.leads) < 3:
        said.append("With fewer than three seeds this shows that the machinery works, and no more.")
    return " ".join(said)


def _expected(gathered: Gathered) -> Block | None:
    said = gathered.experiment.expected.strip()
    return Paragraph(f"Expected beforehand: {said}", "note") if said and gathered.pieces else None
