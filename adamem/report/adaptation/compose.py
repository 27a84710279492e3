"""From a run on adaptation to its report."""

from __future__ import annotations

from collections.abc import Sequence

from adamem.bench.paired import Paired
from adamem.report import wording
from adamem.report.adaptation import acquisition, controls, forms, gains, gates, serving, tables
from adamem.report.adaptation.acquired import Acquired
from adamem.report.adaptation.acquisition import own_span
from adamem.report.adaptation.covered import covered, part
from adamem.report.adaptation.distinct import has_interval
from adamem.report.adaptation.gathered import Gathered, SetResult
from adamem.report.adaptation.instead import headline, instead
from adamem.report.adaptation.kept import kept
from adamem.report.adaptation.retention import retention
from adamem.report.adaptation.served import Served, served
from adamem.report.adaptation.tables import ALPHA, HARDLY, span
from adamem.report.document import Block, Bullets, Details, Document, Paragraph, Section
from adamem.report.figures import acquired, forgetting, price, reembedded, stream
from adamem.report.pieces import are_elsewhere, machine, numbered, recompute, section


def compose(gathered: Gathered) -> Document:
    """The whole report. What was not measured has no section."""
    run, beside = gathered.run, served(gathered)
    sections = [
        Section("answer", "Does an update teach?", tuple(_first(gathered, beside))),
        section(
            "acquisition",
            "One update, one fact",
            acquired.data(gathered),
            _expected(gathered),
            acquisition.acquisition(gathered),
            acquisition.acquisition_forms(gathered),
            acquisition.updates(gathered),
        ),
        section("levels", "Task after task", stream.data(gathered), tables.levels(gathered), forms.forms(gathered)),
        section("gains", "What is gained, and what it costs elsewhere", price.data(gathered), gains.gains(gathered)),
        section(
            "continual",
            "What is forgotten",
            forgetting.data(gathered),
            tables.continual(gathered),
            retention(gathered),
        ),
        section("controls", "Controls", controls.controls(gathered)),
        section("gates", "The gate", gates.gates(gathered)),
        section(
            "reembedded", "Where documents are not embedded anew, or not yet", reembedded.data(gathered), kept(gathered)
        ),
        section("costs", "What it takes", tables.costs(gathered)),
        section("serving", "Searches meanwhile", _where(gathered, beside), *serving.blocks(beside)),
        section("drift", "How far the vectors move", tables.alarms(gathered)),
        section("sets", "Data", tables.sets(gathered)),
        machine(run, gathered.pieces),
        Section("method", "Method in short", (Bullets(_method(gathered)),)),
        recompute(run),
    ]
    seeds, sequences = gathered.experiment.chosen.seeds, len(gathered.sets)
    return Document(
        title=run.title,
        subtitle=f"{sequences} sequence{'' if sequences == 1 else 's'} of tasks, {len(gathered.arms)} arms, "
        f"{seeds} seed{'s' if seeds > 1 else ''}, embedded by {gathered.experiment.encoder}",
        sections=tuple(section for section in sections if section.blocks),
    )


def answer(gathered: Gathered) -> list[str]:
    """The plain sentences of the first screen."""
    return _answer(gathered, served(gathered))


def _answer(gathered: Gathered, beside: Sequence[Served]) -> list[str]:
    said = [headline(gathered), instead(gathered)]
    said += [told for place, one in enumerate(gathered.acquired) for told in _single(one, explain=place == 0)]
    said += [_tasks(one) for one in gathered.sets]
    said += serving.sentences(beside)
    said += [gains.claim(gathered), controls.sentence(gathered), gates.refusals(gathered), _caveat(gathered)]
    return [one for one in said if one]


def _first(gathered: Gathered, beside: Sequence[Served]) -> list[Block]:
    said = _answer(gathered, beside)
    if not (gathered.sets or gathered.acquired or beside):
        return [Paragraph("Nothing has been measured yet; run it again to go on.", "answer")]
    counted = covered(gathered)
    return [
        Paragraph(said[0] if said else "Nothing of this run says whether an update teaches.", "answer"),
        *([Bullets(tuple(said[1:]))] if said[1:] else []),
        *([Details("Which part there is", (counted,))] if counted is not None else []),
    ]


def _where(gathered: Gathered, beside: Sequence[Served]) -> Paragraph | None:
    """Of a run of several machines, on which an engine served."""
    pieces = [piece for one in beside for piece in one.pieces]
    if not are_elsewhere(gathered.run, pieces):
        return None
    numbers = numbered(gathered.run)
    told = sorted({f"machine {numbers.get(piece.machine, '?')}" for piece in pieces})
    return Paragraph(f"Measured on {wording.listed(told)}; times are not to be set beside another machine's.")


def _single(one: Acquired, *, explain: bool) -> list[str]:
    """Whether one update teaches its fact, and for how long: the taught facts against those that never were."""
    before, after = (one.estimate(moment, taught=True) for moment in ("before", "0"))
    own, kept = one.own("0"), one.own(one.last)
    update = "a single update" + (" of one step" if one.steps == 1 else f" of {one.steps} steps")
    if own.low > 0:
        verdict = f"{update} moves its own fact towards the front"
    elif own.high < 0:
        verdict = f"{update} makes its own fact harder to find"
    else:
        verdict = f"it is not shown that {update} teaches its fact"
    apart = ", not told apart from none" if kept.low <= 0 <= kept.high else ""
    by_form = f" ({_by_form(one)})" if len(one.forms) > 1 else ""
    since = "; facts that were never taught change as well, since the encoder learns all the while" if explain else ""
    return [
        f"On {_about(one)} {verdict}: right after it, the share of facts that are found first when asked for in other "
        f"words has changed by {_own(one, '0')} more than that of facts that were never taught, and when "
        f"{one.further[-1]:,} more updates have followed by {_own(one, one.last)}{apart}.",
        f"Of {one.found('0', taught=True).size} facts of {one.key}, each learnt once, {wording.percent(before.value)} "
        f"were found first just before their update and {wording.percent(after.value)} right after it{by_form}{since}.",
    ]


def _about(one: Acquired) -> str:
    language = one.pieces[0].facts.get("language")
    return one.key if language is None else f"{one.key} ({language})"


def _own(one: Acquired, moment: str) -> str:
    return f"{wording.points(one.own(moment).value)} points{_told(own_span(one, moment))}"


def _told(span: str) -> str:
    return f" {span}" if span.startswith("[") else f" ({span})"


def _by_form(one: Acquired) -> str:
    told = []
    for form in one.forms:
        if one.questions(taught=True, form=form):
            found = one.estimate("0", taught=True, form=form)
            told.append(f"“{form}” {wording.percent(found.value)}")
    return wording.listed(told)


def _tasks(one: SetResult) -> str:
    """What learning in batches gains and costs on one set."""
    lead = one.lead
    if lead is None:
        return ""
    told = [
        f"{wording.score(float(lead.pooled(level, 0).mean()))} to "
        f"{wording.score(float(lead.pooled(level, -1).mean()))} for {what}: {_span(lead.change(level))}"
        for level, what in enumerate(_ASKED)
    ]
    weak = f" That collection {HARDLY}." if one.can_hardly_lose else ""
    by_form = f" {split}" if (split := forms.sentence(lead)) else ""
    return (
        f"On {tables.label(one)}, when whole tasks are learnt in batches ({lead.title}), the share of questions whose "
        f"answer is found first (recall@1) goes from {'; from '.join(told)}.{weak}{by_form} Where documents keep their "
        f"old vectors, level a changes by {_span(lead.change(0, 'stale'))}."
    )


_ASKED = (
    "other questions about what was taught, level a",
    "questions about other facts of the same tasks, level b",
    "questions to a collection never trained on, level c",
)
"""What the levels ask."""


def _caveat(gathered: Gathered) -> str:
    said = [told for told in (part(gathered),) if told]
    if gathered.experiment.chosen.seeds < 3:
        said.append("With fewer than three seeds this shows that the machinery works, and no more.")
    return " ".join(said)


def _span(test: Paired) -> str:
    apart = "" if test.p_value < ALPHA or not has_interval(test) else ", not told apart"
    return f"{wording.points(test.difference)} points{_told(span(test))}{apart}"


def _expected(gathered: Gathered) -> Block | None:
    said = gathered.experiment.expected.strip()
    return Paragraph(f"Expected beforehand: {said}", "note") if said and gathered.pieces else None


def _method(gathered: Gathered) -> tuple[str, ...]:
    """How it was measured, in sentences."""
    learning = gathered.experiment.learning
    known = {one.key for one in gathered.sets} | {one.set for one in gathered.acquired}
    koziev = (
        "On koziev, level a asks in the other of two known forms, not in free paraphrase; level b asks in the same two "
        f"forms. {forms.explained(set(forms.EXPLAINED))} The two differ in how hard they are, so they are told apart."
    )
    return (
        "Tasks are learnt one after the other, in an order that the seed draws; after each, every held-out question of "
        "every task is asked again, by exact search over all documents of all tasks.",
        "Three levels are held out and never mixed: a, other wordings of what was taught; b, other documents of the "
        "same tasks; c, another collection, never trained on. No question is nearly a text of a lesson.",
        *([koziev] if "koziev" in known else []),
        "LoRA (Hu et al. 2021) on query, key and value, AdamW at one constant rate, in-batch softmax; pairs that share "
        "a text or a group are never held against each other. The recipe stands in the resolved config. It was fixed "
        "before the first run; a trial of the same rank and batch on koziev and medquad had been seen.",
        f"“LoRA, a step an update” goes once over the pairs, a step for each; in batches of {learning.batch} the "
        f"others go {learning.epochs} times over them.{_steps(gathered)}",
        "Replay draws from a reservoir of former pairs, which share the steps: LoRA with replay, and LoRA of all tasks "
        "at once, take as many as LoRA without. The gentle LoRA has no replay. The query map is learnt anew after each "
        "task, from the task's pairs and the reservoir's; a LoRA of queries alone is learnt against the documents as "
        "they were, without reservoir or replay, and leaves them.",
        "The whole encoder is trained by the same loss and in the same batches, at a rate of its own. A LoRA of its "
        "own hits takes for an answer what the encoder finds first at the beginning of a task.",
        "A bridge moves the new questions by the mean drift of a share of the documents embedded anew, as the engine "
        "does. Other bridges, and indexes that are not exact, stand in the study drift.",
        "Seeds draw the lessons, the questions, the documents, the order of the tasks and what learning draws. A "
        "question that several seeds ask counts once, as its mean over them; so does a fact in single updates, over "
        "its questions. Intervals and tests are over what questions are about (a fact, an intent, an entity, a term; "
        "in the general set each question by itself): neither more seeds of the same questions nor more questions "
        "about one thing narrow them. What training by chance adds is told by the spread of the seeds beside them.",
        "Where all that is compared is equal, resamples are too: then a share has the exact interval of Clopper and "
        "Pearson, and a difference none, but the number of what was compared, or how many at most may differ.",
    )


def _steps(gathered: Gathered) -> str:
    """How many steps either takes on each set; nothing where one of them was not measured."""
    told = []
    for one in gathered.sets:
        both = [one.arms.get(name) for name in ("lora-steps", "lora")]
        if (single := both[0]) is not None and (batches := both[1]) is not None:
            told.append(f"{one.key} {single.steps:,.0f} against {batches.steps:,.0f}")
    return f" In steps over all tasks: {'; '.join(told)}." if told else ""
