"""From a run on adaptation to its report."""

from __future__ import annotations

from adamem.bench.paired import Paired
from adamem.report import wording
from adamem.report.adaptation import gains, gates, serving, tables
from adamem.report.adaptation.covered import covered, part
from adamem.report.adaptation.gathered import CONTROLS, Acquired, Gathered, SetResult
from adamem.report.adaptation.retention import retention
from adamem.report.adaptation.tables import ALPHA
from adamem.report.document import Block, Bullets, Details, Document, Paragraph, Section
from adamem.report.figures import acquired, forgetting, price, reembedded, stream
from adamem.report.pieces import machine, recompute, section

_METHOD = (
    "Tasks are learnt one after the other; after each, every held-out question of every task is asked again, by exact "
    "search over all documents of all tasks.",
    "Three levels are held out and never mixed: a, other wordings of what was taught; b, other documents of the same "
    "tasks; c, another collection, never trained on. No question is nearly a text of a lesson.",
    "LoRA (Hu et al. 2021) on query, key and value, AdamW at one constant rate, in-batch softmax; pairs that share a "
    "text or a group are never held against each other. The recipe stands in the resolved config and was not chosen "
    "on these questions.",
    "Replay draws from a reservoir of former pairs. The query map is learnt anew after each task, from the task's "
    "pairs and the reservoir's.",
    "The whole encoder is trained by the same loss and in the same batches, at a rate of its own. A LoRA of its own "
    "hits takes for an answer what the encoder finds first at the beginning of a task.",
    "A bridge is a low-rank affine map from the new space to the old, fitted to a share of the documents embedded "
    "anew (arXiv 2509.23471).",
    "Seeds draw the lessons, the questions, the documents and what learning draws. Intervals resample the questions of "
    "all seeds; the spread of the seeds stands beside them.",
)


def compose(gathered: Gathered) -> Document:
    """The whole report. What was not measured has no section."""
    run = gathered.run
    sections = [
        Section("answer", "Does an update teach?", tuple(_first(gathered))),
        section(
            "acquisition",
            "One update, one fact",
            acquired.data(gathered),
            _expected(gathered),
            tables.acquisition(gathered),
            tables.updates(gathered),
        ),
        section("levels", "Task after task", stream.data(gathered), tables.levels(gathered)),
        section("gains", "What is gained, and what it costs elsewhere", price.data(gathered), gains.gains(gathered)),
        section(
            "continual",
            "What is forgotten",
            forgetting.data(gathered),
            tables.continual(gathered),
            retention(gathered),
        ),
        section("controls", "Controls", tables.controls(gathered)),
        section("gates", "The gate", gates.gates(gathered)),
        section("reembedded", "While documents are embedded anew", reembedded.data(gathered)),
        section("costs", "What it takes", tables.costs(gathered)),
        section("serving", "Searches meanwhile", *serving.blocks(serving.served(gathered))),
        section("drift", "How far the vectors move", tables.alarms(gathered)),
        section("sets", "Data", tables.sets(gathered)),
        machine(run, gathered.pieces),
        Section("method", "Method in short", (Bullets(_METHOD),)),
        recompute(run),
    ]
    seeds = gathered.experiment.chosen.seeds
    return Document(
        title=run.title,
        subtitle=f"{len(gathered.sets)} sequences of tasks, {len(gathered.arms)} arms, "
        f"{seeds} seed{'s' if seeds > 1 else ''}, embedded by {gathered.experiment.encoder}",
        sections=tuple(section for section in sections if section.blocks),
    )


def answer(gathered: Gathered) -> list[str]:
    """The plain sentences of the first screen."""
    said = [_single(one) for one in gathered.acquired]
    said += [_tasks(one) for one in gathered.sets]
    said += serving.sentences(serving.served(gathered))
    said += [gains.claim(gathered), _controls(gathered), gates.refusals(gathered), _caveat(gathered)]
    return [one for one in said if one]


def _first(gathered: Gathered) -> list[Block]:
    said = answer(gathered)
    if not (gathered.sets or gathered.acquired or serving.served(gathered)):
        return [Paragraph("Nothing has been measured yet; run it again to go on.", "answer")]
    counted = covered(gathered)
    return [
        Paragraph(said[0] if said else "Nothing of this run says whether an update teaches.", "answer"),
        *([Paragraph(" ".join(said[1:]))] if said[1:] else []),
        *([Details("Which part there is", (counted,))] if counted is not None else []),
    ]


def _single(one: Acquired) -> str:
    """What one update teaches of one set, and how long."""
    change = one.change("0", "before", taught=True)
    before, after = (one.estimate(moment, taught=True) for moment in ("before", "0"))
    last = str(one.further[-1])
    later, kept = one.estimate(last, taught=True), one.change(last, "before", taught=True)
    never = one.change(last, "before", taught=False)
    return (
        f"{one.key}: asked for in other words, {wording.percent(after.value)} of the facts are found first right after "
        f"their one update, {wording.percent(before.value)} just before it ({_span(change)}); after "
        f"{one.further[-1]:,} more updates it is {wording.percent(later.value)} (against before: {_span(kept)}), while "
        f"over the same time facts that were never taught moved by {_span(never)}."
    )


def _tasks(one: SetResult) -> str:
    """What learning in batches gains and costs on one set."""
    lead = one.lead
    if lead is None:
        return ""
    told = [
        f"level {letter} from {wording.score(float(lead.pooled(level, 0).mean()))} to "
        f"{wording.score(float(lead.pooled(level, -1).mean()))} ({_span(lead.change(level))})"
        for level, letter in enumerate("abc")
    ]
    stale = lead.change(0, "stale")
    return (
        f"{one.key}: {lead.title} moves recall@1 of {wording.listed(told)}; where the documents are not embedded "
        f"anew, level a by {_span(stale)}."
    )


def _controls(gathered: Gathered) -> str:
    """Whether a control helps where it must not."""
    found = [(one.key, arm) for one in gathered.sets for name, arm in one.arms.items() if name in CONTROLS]
    if not found:
        return ""
    failed = [f"{arm.title} on {key} ({_span(arm.change(0))})" for key, arm in found if arm.change(0).low > 0]
    if failed:
        return f"A control helps where it must not: {wording.listed(failed)}; what is said above is not to be trusted."
    return "The controls hold: neither shuffled pairs nor a random adapter find more than the untouched encoder."


def _caveat(gathered: Gathered) -> str:
    said = [told for told in (part(gathered),) if told]
    if gathered.experiment.chosen.seeds < 3:
        said.append("With fewer than three seeds this shows that the machinery works, and no more.")
    return " ".join(said)


def _span(test: Paired) -> str:
    apart = "" if test.p_value < ALPHA else ", not told apart"
    return f"{wording.points(test.difference)} points [{wording.points(test.low)}, {wording.points(test.high)}]{apart}"


def _expected(gathered: Gathered) -> Block | None:
    said = gathered.experiment.expected.strip()
    return Paragraph(f"Expected beforehand: {said}", "note") if said and gathered.pieces else None
