"""What the encoder is taught and what is asked of it afterwards: a collection's lessons, and questions about others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adamem.adapt import Pair
from adamem.bench.adaptation.asked import stable_key
from adamem.bench.adaptation.leakage import near_duplicates, normalised
from adamem.bench.adaptation.sequences import sequence_of
from adamem.bench.adaptation.source import shuffled
from adamem.bench.adaptation.tasks import Lesson, Question, Sizes, TaskSequence
from adamem.errors import InvalidInput
from adamem.files import content_key
from adamem.types import AnyArray

_ALL = Sizes(tasks=10**6, documents=10**6, lessons=10**6, held_out=10**6, general=1)
_BY_FACT = ("koziev",)
"""Sequences of which each group is one fact alone, so that facts which are not asked for may be taught as well."""


@dataclass(frozen=True)
class Texts:
    """What is remembered, taught and asked, drawn by a seed."""

    name: str
    language: str
    documents: list[str]
    pairs: list[Pair]
    """What is taught; each of their documents is among those remembered."""
    questions: list[str]
    """Level b: about none of the facts, entities or documents that are taught."""
    question_key: AnyArray
    """int64 (q,): one question has one key, whichever seed drew it."""
    form: AnyArray
    """str (q,): see `Question.form`."""
    query: AnyArray
    document: AnyArray
    """int32 (judgements,): question and document that answers it, sorted by question."""

    def arrays(self) -> dict[str, AnyArray]:
        """What scoring needs of it."""
        return {"key": self.question_key, "form": self.form, "query": self.query, "document": self.document}

    @property
    def key(self) -> str:
        """The hash of all of it."""
        pairs = [[pair.query, pair.document, pair.group] for pair in self.pairs]
        judged = [self.query.tolist(), self.document.tolist()]
        return content_key([self.name, self.documents, pairs, self.questions, judged])


def texts_of(name: str, *, documents: int, lessons: int, questions: int, seed: int) -> Texts:
    """The texts of the sequence `name`, at most so many of each kind, drawn by the seed.

    The lessons are those of all its tasks; a sequence of single facts lends what it would ask at level b and is not
    asked here. No lesson is about the group or the documents of a question, or is nearly the text of a question or of
    what answers it. The documents are those that lessons and questions need, and others.

    Raises
    ------
    InvalidInput
        if nothing can be taught or asked, or more documents are needed than allowed.
    UnknownName, StorageError, DataError
        as the sequences do.
    """
    sequence = sequence_of(name, sizes=_ALL, seed=seed)
    text_of = {document.id: document.text for document in sequence.documents}
    rng = np.random.default_rng([seed, 20])
    once = {normalised(one.text): one for task in sequence.tasks for one in task.neighbours}
    order = shuffled(list(once.values()), rng)
    held, rest = order[:questions], order[questions:]
    offered = [lesson for task in sequence.tasks for lesson in task.lessons]
    if name in _BY_FACT:
        offered += [Lesson(one.text, one.relevant[0], one.group) for one in rest]
    taught = shuffled(_apart(offered, held, text_of), rng)[:lessons]
    if len(taught) < 2 or not held:
        raise InvalidInput(
            f"{name} has {len(taught)} lessons apart from {len(held)} questions; expected two and one at least; ask "
            "for fewer questions"
        )
    needed = {lesson.document for lesson in taught} | {one for question in held for one in question.relevant}
    if len(needed) > documents:
        raise InvalidInput(
            f"{len(taught)} lessons and {len(held)} questions of {name} need {len(needed)} documents, at most "
            f"{documents} are allowed; allow more, or fewer lessons"
        )
    kept = _with_others(sequence, needed, documents, rng)
    number = {one: place for place, one in enumerate(kept)}
    judged = [(row, at) for row, one in enumerate(held) for at in sorted({number[found] for found in one.relevant})]
    query, document = np.array(judged, dtype=np.int32).T
    return Texts(
        name,
        sequence.language,
        [text_of[one] for one in kept],
        [Pair(one.question, text_of[one.document], one.group) for one in taught],
        [one.text for one in held],
        np.array([stable_key(one.text, *sorted(one.relevant)) for one in held], dtype=np.int64),
        np.array([one.form for one in held], dtype=np.str_),
        query,
        document,
    )


def _apart(lessons: Sequence[Lesson], held: Sequence[Question], text_of: dict[str, str]) -> list[Lesson]:
    """The lessons that share nothing with what is asked."""
    groups = {one.group for one in held}
    answers = {found for one in held for found in one.relevant}
    asked = [one.text for one in held] + [text_of[one] for one in sorted(answers)]
    own = [one for one in lessons if one.group not in groups and one.document not in answers]
    alike = near_duplicates([one.question for one in own], asked)
    alike |= near_duplicates([text_of[one.document] for one in own], asked)
    return [one for one, near in zip(own, alike, strict=True) if not near]


def _with_others(sequence: TaskSequence, needed: set[str], count: int, rng: np.random.Generator) -> list[str]:
    """The needed documents and others up to `count`, in the sequence's order."""
    ids = [one.id for one in sequence.documents]
    others = shuffled([one for one in ids if one not in needed], rng)[: count - len(needed)]
    kept = needed | set(others)
    return [one for one in ids if one in kept]
