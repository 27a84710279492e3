"""One arm along one sequence: what every held-out question finds after each task, and what that has cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from adamem.bench.adaptation import drift
from adamem.bench.adaptation.arms import Arm, Setting, State
from adamem.bench.adaptation.asked import Asked, Known
from adamem.bench.adaptation.gate import Verdict
from adamem.encoders.bridges import mean_drift
from adamem.types import AnyArray, FloatArray

KEPT = ("stale", "bridged")
"""How the new questions meet documents that are not embedded anew: as they are, or moved by the mean drift of a share
of the documents embedded anew, which is what the engine does."""
MIXED = (0.0, 0.1, 0.5, 0.9, 1.0)
"""Shares of the documents that are embedded anew while the others are still the base's, after the last task."""
Arrays = dict[str, AnyArray]


def run_stream(
    setting: Setting, arm: Arm, asked: Asked, known: Known, *, advance: Callable[[int], object]
) -> tuple[Arrays, dict[str, Any]]:
    """What a piece ``SET.N.ARM`` holds (see `adamem.bench.adaptation.records`).

    `advance` is told how many more tasks are done.
    """
    anew = [asked.ranked(known.questions, known.documents)]
    alarms = [_alarms(known.questions, known.documents, asked, known)]
    costs = [(0, 0, 0, 0.0, 0.0)]
    norms: list[AnyArray] = []
    moved: Arrays = {}
    verdicts: list[Verdict] = []
    questions, documents = known.questions, known.documents
    done = 0
    for state in arm(setting):
        seconds = 0.0
        if state.verdict is None or not state.verdict.refused:  # else all is as it was, and nothing is embedded
            questions = state.encoder.encode_query(asked.questions)
            documents, seconds = _documents(state, asked, known)
        anew.append(asked.ranked(questions, documents))
        alarms.append(_alarms(questions, documents, asked, known))
        costs.append((state.after, state.steps, state.nbytes, state.seconds, seconds))
        norms.append(state.norms)
        if state.verdict is not None:
            verdicts.append(state.verdict)
        if state.moves_documents and state.after == len(setting.sequence.tasks):
            moved = _moved(setting, asked, known, questions, documents)
        advance(state.after - done)
        done = state.after
    advance(len(setting.sequence.tasks) - done)  # of an arm that has nothing to do
    # Half the room of int32, where so few documents have numbers.
    number = np.int16 if len(asked.documents) < 2**15 else np.int32
    arrays: Arrays = {name: found.astype(number) for name, found in {"anew": np.stack(anew), **moved}.items()}
    arrays["alarms"] = np.array(alarms)
    after, steps, nbytes, learning, embedding = zip(*costs, strict=True)
    arrays |= {
        "after": np.array(after, dtype=np.int16),
        "steps": np.array(steps, dtype=np.int64),
        "nbytes": np.array(nbytes, dtype=np.int64),
        "learning_seconds": np.array(learning),
        "embedding_seconds": np.array(embedding),
    }
    if norms and norms[0].size:
        arrays["norms"] = np.stack(norms)
    if verdicts:
        arrays["marks"] = np.array([(np.nan, np.nan), *((one.before, one.after) for one in verdicts)])
        arrays["refused"] = np.array([False, *(one.refused for one in verdicts)])
        arrays["examined"] = np.array([0, *(one.questions for one in verdicts)], dtype=np.int32)
        arrays["exam_seconds"] = np.array([0.0, *(one.seconds for one in verdicts)])
    return arrays, {"documents": asked.own, "questions": len(asked.questions)}


def _documents(state: State, asked: Asked, known: Known) -> tuple[FloatArray, float]:
    """All documents as the state embeds them, and the seconds that the sequence's own took; 0 where none moved."""
    if not state.moves_documents:
        return known.documents, 0.0
    begun = time.perf_counter()
    own = state.encoder.encode_document(asked.documents[: asked.own])
    seconds = time.perf_counter() - begun
    return np.concatenate([own, state.encoder.encode_document(asked.documents[asked.own :])]), seconds


def _moved(setting: Setting, asked: Asked, known: Known, questions: FloatArray, documents: FloatArray) -> Arrays:
    """The rows where documents are not embedded anew (see `KEPT`), or only a share of them: what comes first then."""
    fitted = _some(setting, asked, setting.learning.bridge)
    bridge = mean_drift(documents[fitted], known.documents[fitted])
    return {
        "stale": asked.ranked(questions, known.documents),
        "bridged": asked.ranked(bridge(questions), known.documents),
        "mixed": np.stack([_mixed(setting, asked, known, questions, documents, share)[:, 0] for share in MIXED]),
    }


def _mixed(
    setting: Setting, asked: Asked, known: Known, questions: FloatArray, documents: FloatArray, share: float
) -> AnyArray:
    """Rows where a share of the sequence's documents, and all of level c, are embedded anew."""
    both = documents.copy()
    both[: asked.own] = known.documents[: asked.own]
    chosen = _some(setting, asked, share)
    both[chosen] = documents[chosen]
    return asked.ranked(questions, both)


def _some(setting: Setting, asked: Asked, share: float) -> AnyArray:
    """A share of the sequence's documents, drawn by seed: more hold those of less."""
    order = np.random.default_rng([setting.seed, 7]).permutation(asked.own)
    return order[: round(share * asked.own)]


def _alarms(questions: FloatArray, documents: FloatArray, asked: Asked, known: Known) -> list[float]:
    """As `drift.ALARMS` names them, of the sequence's own questions and documents."""
    own = asked.task >= 0
    new, old = documents[: asked.own], known.documents[: asked.own]
    return [
        drift.mean_cosine(new, old),
        drift.mean_cosine(questions[own], known.questions[own]),
        drift.neighbour_overlap(new, old),
        drift.anisotropy(new),
        drift.effective_rank(new),
    ]
