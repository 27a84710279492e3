"""From a run on the engine to its report."""

from __future__ import annotations

from adamem.bench.engine.scores import DEPTH
from adamem.bench.paired import paired
from adamem.report import wording
from adamem.report.document import Block, Bullets, Document, Paragraph, Section
from adamem.report.engine import tables
from adamem.report.engine.gathered import NAMES, Gathered
from adamem.report.engine.tables import ALPHA, POINT
from adamem.report.figures import evidence, fusions, parts, retained
from adamem.report.pieces import machine, recompute, section

_METHOD = (
    "Every text is one memory, verbatim; a query is asked as it stands. Where a set has people of its own, each is a "
    "namespace; where it has an order, a query is asked when all of its scope up to its own moment was said, and "
    "nothing that came later.",
    f"{DEPTH} memories are asked for. nDCG@{DEPTH} and MRR@{DEPTH} count the graded evidence (Jarvelin and Kekalainen "
    "2002); a query without evidence is not asked.",
    "A fifth of the queries, 500 at most, chose how vectors and words are weighed; the others, drawn at random "
    "where they are many, judge it. No query is in both parts, though two may have the same words.",
    "Words are ranked by BM25 (SQLite's FTS5, English and Russian stems). Fused are the first 50 of each ranking.",
    "Differences are paired by query: 95 % bootstrap intervals, sign-flip tests with 9,999 permutations. Those of both "
    "against the better of the two are corrected after Holm over the sets; intervals and all other tests are not.",
    "Vectors are made beforehand; a part of the queries is embedded by the engine itself, which gives the time that "
    "takes. Modes take turns at each query, so that none always comes first.",
)


def compose(gathered: Gathered) -> Document:
    """The whole report. What was not measured has no section."""
    run = gathered.run
    sections = [
        Section("answer", "What does the engine find?", tuple(_first(gathered))),
        section(
            "evidence",
            "Evidence found",
            evidence.data(gathered),
            _expected(gathered),
            tables.evidence(gathered),
            tables.hybrid(gathered),
        ),
        section("weights", "Weighing vectors and words", fusions.data(gathered), tables.weights(gathered)),
        section("underneath", "The index underneath", tables.underneath(gathered)),
        section("latency", "How long it takes", parts.data(gathered), tables.latency(gathered)),
        section("answers", "Questions remembered with their answers", _answers(gathered), tables.answers(gathered)),
        section("retention", "What came first", retained.data(gathered), tables.retention(gathered)),
        section("scale", "Much of it", tables.scale(gathered), tables.namespaces(gathered)),
        section("sets", "Data", tables.sets(gathered)),
        machine(gathered.run, gathered.pieces),
        Section("method", "Method in short", (Bullets(_METHOD),)),
        recompute(gathered.run),
    ]
    names = ", ".join(name for name, _ in gathered.contestants)
    return Document(
        title=run.title,
        subtitle=f"{len(gathered.sets)} sets of texts, embedded by {gathered.experiment.encoder}; underneath: {names}",
        sections=tuple(section for section in sections if section.blocks),
    )


def answer(gathered: Gathered) -> list[str]:
    """The plain sentences of the first screen."""
    return [said for said in (_both(gathered), _below(gathered), _indexes(gathered), _caveat(gathered)) if said]


def _first(gathered: Gathered) -> list[Block]:
    said = answer(gathered)
    if not said:
        return [Paragraph("No set has been measured yet; run it again to go on.", "answer")]
    return [Paragraph(said[0], "answer"), *([Paragraph(" ".join(said[1:]))] if said[1:] else [])]


def _both(gathered: Gathered) -> str:
    """Where both together are ahead of the better of the two."""
    real = [one for one in gathered.sets if not one.config.control]
    if not real:
        return ""
    tests = gathered.corrected("tuned", None)
    ahead = [one for one in real if tests[one.config.key][1] < ALPHA and tests[one.config.key][0].difference > 0]
    if not ahead:
        return (
            f"Vectors and words together, weighed on other queries, are ahead of the better of the two on none of "
            f"{len(real)} sets."
        )
    told = [
        f"{one.config.key} ({wording.points(tests[one.config.key][0].difference)} points of nDCG@{DEPTH})"
        for one in ahead
    ]
    rest = [one for one in real if one not in ahead]
    text = (
        f"Vectors and words together, weighed on other queries, find more than the better of the two on "
        f"{wording.listed(told)}"
    )
    if rest:
        level = [
            f"{one.config.key} ({NAMES[one.better_part]} are better alone, "
            f"{wording.points(tests[one.config.key][0].difference)})"
            for one in rest
        ]
        text += f"; not told apart from it, or behind, on {wording.listed(level)}"
    control = [one.config.key for one in gathered.sets if one.config.control]
    if control:
        text += f". Not counted: {wording.listed(control)}, the control, where an encoder should find next to nothing"
    return f"{text}."


def _below(gathered: Gathered) -> str:
    """Whether both are anywhere more than a point behind."""
    out = []
    for mode in ("tuned", "hybrid"):
        tests = gathered.corrected(mode, None)
        how = "weighed on development queries" if mode == "tuned" else "with equal weights of scores, as it comes"
        behind = [(key, test) for key, (test, _) in tests.items() if test.difference < -POINT]
        if behind:
            told = wording.listed([f"{key} ({wording.points(test.difference)} points)" for key, test in behind])
            out.append(f"Both, {how}, are more than a point behind the better of the two on {told}.")
        elif tests:
            out.append(f"Both, {how}, are nowhere more than a point behind the better of the two.")
    return " ".join(out)


def _indexes(gathered: Gathered) -> str:
    """What the worst index underneath costs."""
    worst: dict[str, tuple[float, str]] = {}
    for one in gathered.sets:
        for name, over in one.over.items():
            if over is not one.first and not one.config.control:
                change = paired(one.first.quality("vector").ndcg, over.quality("vector").ndcg).difference
                if change < worst.get(name, (1.0, ""))[0]:
                    worst[name] = (change, one.config.key)
    if not worst:
        return ""
    told = [f"{name} {wording.points(change)} points ({key})" for name, (change, key) in worst.items()]
    first = gathered.contestants[0][0]
    return f"The most that an index underneath loses against {first} search: {wording.listed(told)}."


def _caveat(gathered: Gathered) -> str:
    spoilt = sum(bool(piece.fitness.notes) for piece in gathered.pieces)
    said = []
    if gathered.run.status != "complete":
        said.append("This run is not complete; run it again to go on.")
    if spoilt:
        said.append(
            f"The machine was not quiet during {spoilt} of {len(gathered.pieces)} pieces (see Machine), which bears on "
            "times, not on what was found."
        )
    return " ".join(said)


def _expected(gathered: Gathered) -> Block | None:
    said = gathered.experiment.expected.strip()
    return Paragraph(f"Expected beforehand: {said}", "note") if said and gathered.sets else None


def _answers(gathered: Gathered) -> Block | None:
    if "answers" not in gathered.other:
        return None
    ranks = tables.answer_ranks(gathered)

    def told(more: str, less: str) -> str:
        test = paired(ranks[less, "reworded"], ranks[more, "reworded"])
        span = f"[{wording.points(test.low)}, {wording.points(test.high)}]"
        apart = "" if test.p_value < ALPHA else ", not told apart"
        return f"{wording.points(test.difference)} points of MRR@{DEPTH} {span}{apart}"

    return Paragraph(
        f"Asked in other words, question and answer embedded together against the answer alone: "
        f"{told('both', 'answer')}; the question alone against both: {told('question', 'both')}. A rewording by rule "
        "keeps the name that the question is about, which favours the question; where what is asked stands in the "
        "answer only, the question alone would not find it, and long answers are cut by the encoder."
    )
