"""How an encoder moves: by what it learns, or by a known map of its space, as a control."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from adamem.adapt import LoRAAdapter, LoRALearner, QueryAdapter
from adamem.bench.adaptation.arms import Taught, as_they_are, shuffled
from adamem.bench.adaptation.remembered import Remembered
from adamem.bench.drift.texts import Texts
from adamem.encoders.query_map import QueryMap, unit
from adamem.types import FloatArray


@dataclass(frozen=True)
class Setting:
    """What a drift begins with."""

    known: Remembered
    """The encoder as it was."""
    texts: Texts
    recipe: LoRAAdapter
    """How it learns."""
    seed: int

    def rng(self) -> np.random.Generator:
        """For what a drift draws."""
        return np.random.default_rng([self.seed, 21])


@dataclass(frozen=True)
class Moved:
    """The vectors after a drift, and what it took."""

    questions: FloatArray
    documents: FloatArray
    map: QueryMap | None = None
    """Of the old question's vector, learnt from the same pairs; the documents stay."""
    seconds: dict[str, float] = field(default_factory=dict)
    """``learning``, ``embedding`` of all documents, ``map``: as far as there were any."""
    nbytes: dict[str, int] = field(default_factory=dict)
    """``adapter``, ``map``."""


Drift = Callable[[Setting], Moved]


def learnt(setting: Setting, *, taught: Taught = as_they_are) -> Moved:
    """A LoRA that has learnt the pairs in batches, and a query map that has learnt them too."""
    texts, recipe = setting.texts, setting.recipe
    pairs = taught(texts.pairs, setting.rng())
    begun = time.perf_counter()
    learner = LoRALearner(setting.known.base, recipe)
    learner.learn(pairs, steps=recipe.steps, epochs=recipe.epochs)
    weights = learner.weights()
    learning = time.perf_counter() - begun
    encoder = weights.applied_to(setting.known.base)
    questions = encoder.encode_query(texts.questions)  # the first texts load the model, which is not to be counted
    begun = time.perf_counter()
    documents = encoder.encode_document(texts.documents)
    embedding = time.perf_counter() - begun
    setting.known.encode_query([pair.query for pair in pairs])  # embedded by now, so that the map's own time counts
    begun = time.perf_counter()
    query_map = QueryAdapter(seed=setting.seed).learn(setting.known, pairs)
    return Moved(
        questions,
        documents,
        query_map,
        {"learning": learning, "embedding": embedding, "map": time.perf_counter() - begun},
        {"adapter": weights.nbytes, "map": query_map.nbytes},
    )


def turned(setting: Setting, *, noise: float = 0.0) -> Moved:
    """All vectors times one random orthogonal matrix, and noise whose norm is `noise` times theirs.

    What is lost without a bridge is all; what Procrustes does not bring back but for the noise is its own fault.
    """
    from scipy.stats import ortho_group  # noqa: PLC0415 -- takes a second to import, and reports need only the names

    rng = setting.rng()
    turn = ortho_group.rvs(setting.known.dim, random_state=rng).astype(np.float32)

    def moved(vectors: FloatArray) -> FloatArray:
        away = rng.standard_normal(vectors.shape).astype(np.float32) * np.float32(noise / np.sqrt(vectors.shape[1]))
        return unit(vectors @ turn + away)

    texts = setting.texts
    return Moved(
        moved(setting.known.encode_query(texts.questions)), moved(setting.known.encode_document(texts.documents))
    )


DRIFTS: dict[str, Drift] = {
    "lora": learnt,
    "shuffled": partial(learnt, taught=shuffled),
    "rotation": turned,
    "rotation-noise": partial(turned, noise=0.5),
}
"""By the names that an experiment gives them."""
LEARNT = ("lora", "shuffled")
"""Drifts for which an encoder is trained."""
