"""From all that a collection offers to a sequence of the sizes asked for: chosen by seed, and checked for leaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from adamem.bench.adaptation.leakage import near_duplicates, normalised, refuse_leaks
from adamem.bench.adaptation.source import shuffled
from adamem.bench.adaptation.tasks import Document, General, Lesson, Question, Sizes, Task, TaskSequence
from adamem.errors import InvalidInput

T = TypeVar("T")


@dataclass(frozen=True)
class Draft:
    """A task with all that its source offers."""

    name: str
    documents: tuple[Document, ...]
    lessons: tuple[Lesson, ...]
    """In the order of the stream; the first of them are taken."""
    wordings: tuple[Question, ...]
    neighbours: tuple[Question, ...]


def assembled(
    name: str, language: str, drafts: Sequence[Draft], general: General, *, sizes: Sizes, seed: int
) -> TaskSequence:
    """The drafts cut to size, without questions that are nearly a lesson's text, that are asked twice, or that ask at
    level b for nearly a document that was taught.

    The first drafts are taken, in an order that the seed draws: what is told of a stream is then not told of one order
    alone. Drafts that teach nothing are no tasks. Near-duplicates are left out and counted, not refused: each of these
    collections has some by nature.

    Raises
    ------
    InvalidInput
        if lessons and questions of a task need more documents than it may have.
    DataError
        if something leaks all the same.
    """
    drafts = [draft for draft in drafts if draft.lessons and draft.wordings][: sizes.tasks]
    drafts = shuffled(drafts, np.random.default_rng([seed, 10]))
    text_of = {document.id: document.text for draft in drafts for document in draft.documents}
    taken = [draft.lessons[: sizes.lessons] for draft in drafts]
    lessons = [lesson for of_task in taken for lesson in of_task]
    taught, groups = {lesson.document for lesson in lessons}, {lesson.group for lesson in lessons}
    told = [text_of[one] for one in sorted(taught)]
    trained = [lesson.question for lesson in lessons] + told
    rng = np.random.default_rng([seed, 2])
    tasks, dropped = [], 0
    for draft, own in zip(drafts, taken, strict=True):
        answers = {lesson.document for lesson in own}
        untaught = sorted({one for question in draft.neighbours for one in question.relevant} - taught)
        alike_one = near_duplicates([text_of[one] for one in untaught], told)
        twins = {one for one, alike in zip(untaught, alike_one, strict=True) if alike}
        kept = []
        for questions in (
            [one for one in draft.wordings if answers & set(one.relevant)],
            [one for one in draft.neighbours if one.group not in groups and not (taught | twins) & set(one.relevant)],
        ):
            near = near_duplicates([one.text for one in questions], trained)
            dropped += int(near.sum())
            fresh = {normalised(one.text): one for one, alike in zip(questions, near, strict=True) if not alike}
            kept.append(_some(list(fresh.values()), sizes.held_out, rng))
        wordings, neighbours = kept
        needed = answers | {one for question in wordings + neighbours for one in question.relevant}
        if len(needed) > sizes.documents:
            raise InvalidInput(
                f"task {draft.name} of {name} needs {len(needed)} documents, at most {sizes.documents} are allowed; "
                "allow more, or fewer lessons and questions"
            )
        others = [document.id for document in draft.documents if document.id not in needed]
        remembered = needed | set(_some(others, sizes.documents - len(needed), rng))
        tasks.append(
            Task(
                draft.name,
                tuple(document.id for document in draft.documents if document.id in remembered),
                own,
                tuple(wordings),
                tuple(neighbours),
            )
        )
    documents = {one: text_of[one] for task in tasks for one in task.documents}
    return refuse_leaks(
        TaskSequence(
            name,
            language,
            tuple(tasks),
            tuple(Document(one, text) for one, text in documents.items()),
            general,
            near_duplicates=dropped,
        )
    )


def _some(items: list[T], count: int, rng: np.random.Generator) -> list[T]:
    """At most so many of them, in their own order."""
    if len(items) <= count:
        return items
    return [items[place] for place in np.sort(rng.choice(len(items), count, replace=False)).tolist()]
