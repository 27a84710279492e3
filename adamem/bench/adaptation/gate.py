"""The gate before an update: what was learnt is examined on lessons that were held out, and refused if it lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adamem.adapt import Exam, Pair
from adamem.encoders import Encoder

FEWEST = 5
"""So many lessons of a task are held out at least, but never more than half of them."""


class Verdict(NamedTuple):
    """What an exam came to."""

    before: float
    """MRR@10 of the encoder that was in use."""
    after: float
    """That of the candidate."""
    refused: bool
    seconds: float
    """That the exam took."""
    questions: int
    """That it asked."""


class Gate:
    """Holds lessons out of every task, and asks those of all tasks so far.

    The engine's own gate does so with the lessons that it is given (`adamem.memory.LearningPlan`). The lessons that are
    held out here are as they are: where others are shuffled before they are taught, the exam still tells the truth.

    Parameters
    ----------
    documents
        Among which the answers are asked for, beside each other.
    held_out, tolerance, among
        See `Variants`.
    rng
        Draws what is held out, and the other documents.
    """

    def __init__(
        self, documents: Sequence[str], *, held_out: float, tolerance: float, among: int, rng: np.random.Generator
    ) -> None:
        self._held_out = held_out
        self._tolerance = tolerance
        self._rng = rng
        self._others = [documents[place] for place in rng.permutation(len(documents))[:among].tolist()]
        self._held: list[Pair] = []

    def withhold(self, pairs: Sequence[Pair]) -> list[Pair]:
        """The pairs that are left to be taught, in their order; the others are asked for in every exam from now on.

        All pairs of a question go together: none is examined that is taught with another of its answers.
        """
        questions = list(dict.fromkeys(pair.query for pair in pairs))
        count = min(max(FEWEST, round(self._held_out * len(questions))), len(questions) // 2)
        held = {questions[place] for place in self._rng.permutation(len(questions))[:count].tolist()}
        self._held += [pair for pair in pairs if pair.query in held]
        return [pair for pair in pairs if pair.query not in held]

    def examine(self, former: Encoder, candidate: Encoder) -> Verdict:
        """Whether the candidate may take the former's place."""
        begun = time.perf_counter()
        answers = [pair.document for pair in self._held]
        exam = Exam(tuple(pair.query for pair in self._held), (*answers, *self._others), tuple(range(len(answers))))
        before, after = exam.mark(former), exam.mark(candidate)
        refused = after < before - self._tolerance
        return Verdict(before, after, refused, time.perf_counter() - begun, len(self._held))
