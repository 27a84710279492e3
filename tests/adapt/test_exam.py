"""The exam that judges what was learnt."""

from __future__ import annotations

import numpy as np
import pytest

from adamem.adapt import Exam, QueryAdapter
from adamem.adapt.workshop import _Learn
from adamem.encoders import open_encoder
from adamem.errors import InvalidInput


class Counting:
    """An encoder that keeps what documents it is asked for."""

    def __init__(self):
        self.base = open_encoder("hashing:64")
        self.asked = []

    def __getattr__(self, name):
        return getattr(self.base, name)

    def encode_document(self, texts):
        self.asked.append(len(texts))
        return self.base.encode_document(texts)


def test_the_mark_is_the_mean_reciprocal_rank():
    """By hand: first, third, and beyond the tenth; of equal documents either answers, and ties count against it."""
    documents = [f"d{n}" for n in range(14)]
    cosines = {"a": [0.9, *[0.1] * 13], "b": [0.5, 0.6, 0.4, *[0.1] * 11], "c": [*[0.5] * 13, 0.4]}

    class Known:
        def encode_query(self, texts):
            return np.array([cosines[text] for text in texts], np.float32)

        def encode_document(self, texts):
            return np.eye(14, dtype=np.float32)[[documents.index(text) for text in texts]]

    exam = Exam(("a", "b", "c"), tuple(documents), (0, 2, 13))
    assert exam.mark(Known()) == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert exam.mark(Known(), documents=exam.embedded(Known())) == exam.mark(Known())
    assert Exam(("b",), ("d1", "d0", "d1"), (2,)).mark(Known()) == 1
    assert Exam(("c",), ("d0", "d1"), (0,)).mark(Known()) == 0.5
    with pytest.raises(InvalidInput, match="an answer beyond them"):
        Exam(("a",), ("d0",), (1,))


def test_documents_that_stay_are_embedded_once_for_an_exam(facts):
    """Before and after are asked of the same vectors; the marks are those that each encoder has by itself."""
    base = Counting()
    exam = Exam(facts.reworded, tuple(pair.document for pair in facts.pairs), tuple(range(16)))
    learnt = _Learn(QueryAdapter(bound=0.9), tuple(facts.pairs), None, (), exam).done(base)
    assert base.asked == [16, 16]  # of the pairs, of the exam
    assert learnt.before == exam.mark(base)
    assert learnt.after > learnt.before
    assert learnt.exam_seconds > 0
