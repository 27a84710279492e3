"""What a level may not share with what is taught; refused, in sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from adamem.bench.adaptation.tasks import TaskSequence
from adamem.errors import DataError
from adamem.types import AnyArray

NEAR = 0.9
"""Two texts whose sets of words have at least this Jaccard similarity are nearly the same."""
_BLOCK = 1024
_MARKS = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """The text without case, punctuation and spare spaces, ё as е; one without any word stays as it is."""
    folded = text.casefold().replace("ё", "е")
    return _MARKS.sub(" ", folded).strip() or folded


def near_duplicates(texts: Sequence[str], seen: Sequence[str]) -> AnyArray:
    """Which texts are equal to one of `seen` or nearly so, whatever the order of their words: bool (len(texts),)."""
    words = _incidence([*seen, *texts])
    theirs, sizes = words[: len(seen)], np.diff(words.indptr)
    found = np.zeros(len(texts), bool)
    for start in range(0, len(texts), _BLOCK):
        first = len(seen) + start
        common = (words[first : first + _BLOCK] @ theirs.T).tocoo()  # (block, seen)
        mine, other = common.coords
        found[start + mine[common.data >= NEAR * (sizes[first + mine] + sizes[other] - common.data)]] = True
    return found


def leaks(sequence: TaskSequence) -> list[str]:
    """What leaked, a sentence each; empty where nothing did.

    Near-duplicates are searched among what is trained on: the lessons' questions and their documents.
    """
    text_of = {document.id: document.text for document in sequence.documents}
    lessons = [lesson for task in sequence.tasks for lesson in task.lessons]
    taught = {lesson.document for lesson in lessons}
    asked = sorted({one for task in sequence.tasks for question in task.neighbours for one in question.relevant})
    alike_one = near_duplicates([text_of[one] for one in asked], [text_of[one] for one in sorted(taught)])
    twins = {one for one, alike in zip(asked, alike_one, strict=True) if alike}
    groups = {lesson.group for lesson in lessons}
    trained = [lesson.question for lesson in lessons] + [text_of[one] for one in sorted(taught)]
    equal = {normalised(text) for text in trained}
    said: list[str] = []
    for task in sequence.tasks:
        for level, questions in (("a", task.wordings), ("b", task.neighbours)):
            near = near_duplicates([one.text for one in questions], trained)
            for question, alike in zip(questions, near, strict=True):
                if normalised(question.text) in equal:
                    said.append(f"{task.name}, level {level}: {question.text!r} is taught in these very words")
                elif alike:
                    said.append(f"{task.name}, level {level}: {question.text!r} is nearly what is taught")
        for question in task.neighbours:
            about = f"{task.name}, level b: {question.text!r}"
            if shared := taught & set(question.relevant):
                said.append(f"{about} asks for the document {min(shared)!r}, which a lesson teaches")
            elif twins & set(question.relevant):
                said.append(f"{about} asks for a document of nearly the same text as one that a lesson teaches")
            if question.group in groups:
                said.append(f"{about} is about {question.group!r}, as a lesson is")
    own = {normalised(text) for text in text_of.values()} | {normalised(lesson.question) for lesson in lessons}
    general = sequence.general
    said += [
        f"level c: {text!r} of {general.name} is among the documents or lessons"
        for text in [one.text for one in general.questions] + [one.text for one in general.documents]
        if normalised(text) in own
    ]
    return said


def refuse_leaks(sequence: TaskSequence) -> TaskSequence:
    """The sequence itself, once nothing is found to leak.

    Raises
    ------
    DataError
        naming what leaked, the first few of it.
    """
    if said := leaks(sequence):
        rest = f"; and {len(said) - 5} more" if len(said) > 5 else ""
        raise DataError(f"{sequence.name} leaks: {'; '.join(said[:5])}{rest}; take these questions out of a level")
    return sequence


def _incidence(texts: Sequence[str]) -> sp.csr_array:
    """Int32 (texts, words): 1 where a text has a word."""
    number: dict[str, int] = {}
    rows = [sorted({number.setdefault(word, len(number)) for word in normalised(text).split()}) for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    columns = np.array([column for row in rows for column in row], np.int32)
    return sp.csr_array((np.ones(columns.size, np.int32), columns, starts), shape=(len(rows), max(1, len(number))))
