"""Questions whose answers are known, by which an update of an encoder is judged before it is taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adamem.encoders.protocol import Encoder
from adamem.errors import InvalidInput
from adamem.types import FloatArray

_DEPTH = 10


@dataclass(frozen=True)
class Exam:
    """Questions, and documents among which each has one that answers it.

    Raises
    ------
    InvalidInput
        if there is no question, or an answer is no place in `documents`.
    """

    questions: tuple[str, ...]
    documents: tuple[str, ...]
    answers: tuple[int, ...]
    """By question: the place of its answer in `documents`."""

    def __post_init__(self) -> None:
        if not self.questions or len(self.questions) != len(self.answers):
            raise InvalidInput(
                f"an exam has {len(self.questions)} questions and {len(self.answers)} answers; "
                "give each question one, and at least one question"
            )
        if not all(0 <= one < len(self.documents) for one in self.answers):
            raise InvalidInput(
                f"an exam of {len(self.documents)} documents has an answer beyond them; number them from 0"
            )

    def embedded(self, encoder: Encoder) -> FloatArray:
        """The documents' vectors, float32 (texts, dim); those that read the same have one."""
        return encoder.encode_document(list(dict.fromkeys(self.documents)))

    def mark(self, encoder: Encoder, *, documents: FloatArray | None = None) -> float:
        """MRR@10: the mean of 1 / rank of each question's answer by cosine, 0 beyond the tenth; ties count against it.

        Documents that read the same stand for one another. `documents` are those that `embedded` gave, where the
        encoder would embed them alike.
        """
        number = {text: at for at, text in enumerate(dict.fromkeys(self.documents))}
        own = np.array([number[self.documents[one]] for one in self.answers])
        told = self.embedded(encoder) if documents is None else documents
        cosines = encoder.encode_query(list(self.questions)) @ told.T  # (questions, texts)
        mine = cosines[np.arange(own.size), own]
        ranks = (cosines >= mine[:, None]).sum(axis=1)
        return float(np.where(ranks <= _DEPTH, 1.0 / ranks, 0.0).mean())
