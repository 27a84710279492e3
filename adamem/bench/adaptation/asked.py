"""All that is asked of an encoder, and of which documents, by number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adamem.bench.adaptation.remembered import Remembered
from adamem.bench.adaptation.tasks import Document, Question, TaskSequence
from adamem.encoders import Encoder
from adamem.files import content_key
from adamem.types import AnyArray, FloatArray

DEPTH = 10
"""So many documents are ranked."""
LEVELS = ("wordings", "neighbours", "general")
"""Levels a, b and c by number."""


def stable_key(*texts: str) -> int:
    """A number of 63 bits for these texts, the same everywhere."""
    return int(content_key(list(texts))[:16], 16) >> 1


@dataclass(frozen=True)
class Asked:
    """The held-out questions of a sequence, those of each task first and those of level c last.

    Documents are numbered as the sequence has them, and those of level c after them; questions of levels a and b are
    asked of the former, those of level c of the latter.
    """

    documents: list[str]
    own: int
    """So many documents are the sequence's."""
    questions: list[str]
    level: AnyArray
    """int8 (q,): a number of `LEVELS`."""
    task: AnyArray
    """int16 (q,): from 0; -1 at level c."""
    key: AnyArray
    """int64 (q,): one question has one key in every sequence, whichever seed drew it."""
    group: AnyArray
    """int64 (q,): likewise of what it is about; see `Question.group`."""
    form: AnyArray
    """str (q,): see `Question.form`."""
    query: AnyArray
    document: AnyArray
    """int32 (judgements,): question and document, sorted by question."""

    @classmethod
    def of(cls, sequence: TaskSequence) -> Asked:
        """All questions of all levels."""
        numbers = {one.id: number for number, one in enumerate(sequence.documents)}
        general = {one.id: len(numbers) + number for number, one in enumerate(sequence.general.documents)}
        held = [
            (question, level, place, numbers)
            for place, task in enumerate(sequence.tasks)
            for level, questions in enumerate((task.wordings, task.neighbours))
            for question in questions
        ]
        held += [(question, LEVELS.index("general"), -1, general) for question in sequence.general.questions]
        judged = [
            (row, document)
            for row, (question, _, _, of) in enumerate(held)
            for document in sorted({of[one] for one in question.relevant})
        ]
        documents: tuple[Document, ...] = (*sequence.documents, *sequence.general.documents)
        questions: list[Question] = [question for question, *_ in held]
        query, document = np.array(judged, dtype=np.int32).T
        return cls(
            [one.text for one in documents],
            len(sequence.documents),
            [one.text for one in questions],
            np.array([level for _, level, _, _ in held], dtype=np.int8),
            np.array([task for _, _, task, _ in held], dtype=np.int16),
            np.array([stable_key(one.text) for one in questions], dtype=np.int64),
            np.array([stable_key(one.group) for one in questions], dtype=np.int64),
            np.array([one.form for one in questions], dtype=np.str_),
            query,
            document,
        )

    def arrays(self) -> dict[str, AnyArray]:
        """What scoring needs of it."""
        sizes = np.array([self.own, len(self.documents)], dtype=np.int32)
        return {
            "level": self.level,
            "task": self.task,
            "key": self.key,
            "group": self.group,
            "form": self.form,
            "query": self.query,
            "document": self.document,
            "documents": sizes,
        }

    def ranked(self, questions: FloatArray, documents: FloatArray) -> AnyArray:
        """The nearest documents of each question by exact search: int32 (q, 10), -1 where there are fewer.

        Unit vectors float32 of all questions (q, dim) and all documents (n, dim). Of equal cosines the lower number
        comes first.
        """
        out = np.full((len(questions), DEPTH), -1, dtype=np.int32)
        general = self.level == LEVELS.index("general")
        for rows, first, stop in ((~general, 0, self.own), (general, self.own, len(documents))):
            order = np.argsort(-(questions[rows] @ documents[first:stop].T), axis=1, kind="stable")[:, :DEPTH]
            out[np.ix_(rows, np.arange(order.shape[1]))] = first + order
        return out


class Known(Remembered):
    """An encoder that embeds each text once, and has what is asked at hand.

    Parameters
    ----------
    base
        Embeds what is not known.
    asked
        Whose questions and documents are embedded at once, when they are first needed.
    """

    def __init__(self, base: Encoder, asked: Asked) -> None:
        super().__init__(base)
        self._asked = asked

    @cached_property
    def questions(self) -> FloatArray:
        """float32 (q, dim): all questions of `asked`."""
        return self.encode_query(self._asked.questions)

    @cached_property
    def documents(self) -> FloatArray:
        """float32 (n, dim): all documents of `asked`."""
        return self.encode_document(self._asked.documents)
