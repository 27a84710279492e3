"""The claim itself: facts taught by one update each, and asked for in other words before it, right after, and later.

A probe's one update is all that is ever learnt of it: other lessons are learnt again beside new ones, probes are not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adamem.adapt import LoRALearner, Pair
from adamem.bench.adaptation.asked import stable_key
from adamem.bench.adaptation.config import AcquisitionConfig
from adamem.bench.adaptation.learning import Learning
from adamem.bench.adaptation.replay import Reservoir
from adamem.bench.adaptation.tasks import Lesson, TaskSequence
from adamem.encoders import Encoder
from adamem.errors import InvalidInput
from adamem.types import AnyArray, FloatArray


@dataclass(frozen=True)
class Plan:
    """Which fact is taught at which update, and when all are asked for."""

    updates: list[Lesson]
    """Each one step of the learner."""
    taught: list[int]
    """Of each probe the number of its update, from 0."""
    checkpoints: list[int]
    """All are asked for when so many updates are done, rising."""
    wordings: list[str]
    """What is asked: at least one question for each fact."""
    fact: AnyArray
    """int16 (w,): of each question, its fact; first those that are taught, then as many that never are."""
    relevant: list[tuple[str, ...]]
    """Of each question, the ids of the documents that answer it."""
    forms: list[str]
    """Of each question, its form; see `Question.form`."""
    groups: list[str]
    """Of each question, the group of its fact."""


def planned(sequence: TaskSequence, config: AcquisitionConfig, *, seed: int) -> Plan:
    """Facts drawn among all that are taught and asked for, one of a group; no other lesson of their groups is taught.

    Where the other lessons are fewer than the updates, they come again in the same order.

    Raises
    ------
    InvalidInput
        if the sequence has too few facts or lessons.
    """
    rng = np.random.default_rng([seed, 8])
    asked: dict[str, list[str]] = {}
    form_of: dict[str, str] = {}
    answer_of: dict[str, tuple[str, ...]] = {}
    for task in sequence.tasks:
        for question in task.wordings:
            answer_of[question.text], form_of[question.text] = question.relevant, question.form
            for document in question.relevant:
                asked.setdefault(document, []).append(question.text)
    lessons = [lesson for task in sequence.tasks for lesson in task.lessons]
    lessons = [lessons[place] for place in rng.permutation(len(lessons)).tolist()]
    probes: dict[str, Lesson] = {}
    for lesson in lessons:
        if lesson.document in asked and len(probes) < 2 * config.probes:
            probes.setdefault(lesson.group, lesson)
    others = [lesson for lesson in lessons if lesson.group not in probes]
    if len(probes) < 2 * config.probes or len(others) < config.before:
        raise InvalidInput(
            f"{sequence.name} has {len(probes)} facts to be taught and asked for and {len(others)} other lessons; "
            f"expected {2 * config.probes} and at least {config.before}; allow more of it, or fewer probes"
        )
    facts = list(probes.values())
    step = config.further[0]
    taught = [config.before + step * number for number in range(config.probes)]
    total = taught[-1] + 1 + config.further[-1]
    at = dict(zip(taught, facts[: config.probes], strict=True))
    filler = (others[number % len(others)] for number in range(total))
    updates = [at[number] if number in at else next(filler) for number in range(total)]
    own = {number for first in taught for number in (first, first + 1)}
    later = {first + 1 + more for first in taught for more in config.further}
    questions = [(text, place) for place, fact in enumerate(facts) for text in asked[fact.document]]
    return Plan(
        updates,
        taught,
        sorted({0} | own | later),
        [text for text, _ in questions],
        np.array([place for _, place in questions], dtype=np.int16),
        [answer_of[text] for text, _ in questions],
        [form_of[text] for text, _ in questions],
        [facts[place].group for _, place in questions],
    )


@dataclass(frozen=True)
class Pool:
    """The documents among which is searched."""

    texts: list[str]
    old: FloatArray
    """float32 (n, dim): as the untouched encoder embeds them."""
    answers: list[list[int]]
    """Of each question, the places of the documents that answer it."""


def pooled(plan: Plan, sequence: TaskSequence, base: Encoder, *, size: int, seed: int) -> Pool:
    """The answers, and others drawn by seed up to `size`, or as many as there are.

    Drawn, not chosen: those that one encoder mistakes for answers would spare the encoder that it becomes.
    """
    texts = [document.text for document in sequence.documents]
    number_of = {document.id: number for number, document in enumerate(sequence.documents)}
    answers = [[number_of[one] for one in ids] for ids in plan.relevant]
    needed = {one for places in answers for one in places}
    others = [one for one in np.random.default_rng([seed, 11]).permutation(len(texts)).tolist() if one not in needed]
    rows = sorted([*needed, *others[: max(0, size - len(needed))]])
    place_of = {row: place for place, row in enumerate(rows)}
    chosen = [texts[row] for row in rows]
    return Pool(chosen, base.encode_document(chosen), [[place_of[one] for one in of] for of in answers])


def measure_acquisition(
    base: Encoder,
    sequence: TaskSequence,
    config: AcquisitionConfig,
    learning: Learning,
    *,
    steps: int,
    seed: int,
    advance: Callable[[], object],
) -> dict[str, AnyArray]:
    """What a piece ``acquisition.SET.SEED.STEPS`` holds (see `adamem.bench.adaptation.records`).

    The update of a fact that is asked for takes so many `steps`, each with other former pairs beside it; all others
    take one. `advance` is called after each update.
    """
    plan = planned(sequence, config, seed=seed)
    text_of = {document.id: document.text for document in sequence.documents}
    learner = LoRALearner(base, learning.recipe(seed=seed))
    reservoir = Reservoir(learning.reservoir, np.random.default_rng([seed, 6]))
    pool = pooled(plan, sequence, base, size=config.pool, seed=seed)
    probes = set(plan.taught)
    anew, stale = [], []
    nanoseconds = np.zeros(len(plan.updates), dtype=np.int64)
    embedding = 0
    wanted = set(plan.checkpoints)
    for number in range(len(plan.updates) + 1):
        if number in wanted:
            encoder = learner.weights().applied_to(base)
            questions = encoder.encode_query(plan.wordings)
            begun = time.perf_counter_ns()
            documents = encoder.encode_document(pool.texts)
            embedding += time.perf_counter_ns() - begun
            anew.append(_ranks(questions @ documents.T, pool.answers))
            stale.append(_ranks(questions @ pool.old.T, pool.answers))
        if number < len(plan.updates):
            lesson = plan.updates[number]
            pair = Pair(lesson.question, text_of[lesson.document], lesson.group)
            begun = time.perf_counter_ns()
            for _ in range(steps if number in probes else 1):
                if former := reservoir.beside(pair, learning.beside):
                    learner.step([pair, *former])
            nanoseconds[number] = time.perf_counter_ns() - begun
            if number not in probes:
                reservoir.offer(pair)
            advance()
    return {
        "anew": np.stack(anew),
        "stale": np.stack(stale),
        "done": np.array(plan.checkpoints, dtype=np.int32),
        "taught": np.array(plan.taught, dtype=np.int32),
        "fact": plan.fact,
        "key": np.array([stable_key(text) for text in plan.wordings]),
        "group": np.array([stable_key(group) for group in plan.groups]),
        "form": np.array(plan.forms, dtype=np.str_),
        "update_ns": nanoseconds,
        "pool": np.array([len(pool.texts)], dtype=np.int32),
        "embedding_ns": np.array([embedding], dtype=np.int64),
    }


def _ranks(cosines: AnyArray, answers: list[list[int]]) -> AnyArray:
    """The rank of each question's best answer, from 1, int32 (w,); of equal cosines the worst case counts."""
    best = np.array([row[places].max() for row, places in zip(cosines, answers, strict=True)])
    ahead = (cosines >= best[:, None]).sum(axis=1)
    level = np.array([(row[places] >= value).sum() for row, places, value in zip(cosines, answers, best, strict=True)])
    return np.asarray(ahead - level + 1, dtype=np.int32)
