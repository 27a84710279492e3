"""What searches notice of an encoder that learns meanwhile, and how soon what it was taught is found first."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil

from adamem.adapt import LoRAAdapter, Pair, QueryAdapter
from adamem.bench.adaptation.config import ServingConfig
from adamem.bench.adaptation.learning import Learning
from adamem.bench.adaptation.tasks import Sizes, TaskSequence
from adamem.encoders import Encoder
from adamem.encoders.adaptation import Adaptation
from adamem.encoders.bridges import mean_drift
from adamem.encoders.query_map import QueryMap
from adamem.errors import InvalidInput
from adamem.memory import LearningPlan, LearningTimings, MemoryEngine
from adamem.types import AnyArray, FloatArray

WINDOWS = ("idle", "one", "batch")
"""What a stretch of serving stands beside: nothing, an update by one pair, an update by a batch."""
PARTS = tuple(part.name for part in fields(LearningTimings))
"""Of an update, in their order; those from ``embedding`` on are its last."""
STANDINGS = ("none", "taken", "refused", "failed")
"""What came of an update; ``none`` where nothing was learnt."""
TOLERANCE = LearningPlan().tolerance
"""So much MRR@10 of the golden questions an update may lose."""
_WHENEVER = 1_000
"""So many lessons never wait: the engine learns when it is told to, and all that waits."""
_DEPTH = 50
"""Beyond this rank a fact counts as not found."""
_SAMPLED = 100_000_000
"""Nanoseconds between two looks at the memory that the processes hold."""
_WARM = 20
_BRIDGED = 200
"""So many texts does a bridge rest on."""
_TAUGHT = 8
"""So many pairs are learnt by what a query's overhead is timed with."""


@dataclass(frozen=True)
class Fact:
    """What is added while the engine serves."""

    text: str
    told: str
    """The question that it is said to answer."""
    asked: str
    """The same in other words, which is never taught."""


@dataclass(frozen=True)
class Material:
    """The texts of one piece."""

    memories: tuple[str, ...]
    """Those that are there from the beginning."""
    lessons: tuple[tuple[str, int], ...]
    """Questions, and the places of their answers."""
    golden: tuple[tuple[str, str], ...]
    """Questions and answers that judge what is learnt, and are never taught."""
    questions: tuple[str, ...]
    """What is asked all the time."""
    facts: tuple[Fact, ...]


def sizes_of(config: ServingConfig) -> Sizes:
    """Of the sequence that the texts come from."""
    # A few more than are needed: not every lesson has another wording.
    lessons = -(-(config.facts + config.batches * config.batch) // config.tasks) + 3
    held_out = max(lessons, -(-config.golden // config.tasks))
    return Sizes(
        tasks=config.tasks, documents=config.memories // config.tasks, lessons=lessons, held_out=held_out, general=1
    )


def material_of(sequence: TaskSequence, config: ServingConfig, *, seed: int) -> Material:
    """The sequence's texts in their parts, drawn by the seed.

    Raises
    ------
    InvalidInput
        if it has too few for the facts, the batches or the golden questions.
    """
    rng = np.random.default_rng([seed, 8])
    text_of = {document.id: document.text for document in sequence.documents}
    reworded = {one.relevant[0]: one.text for task in sequence.tasks for one in task.wordings}
    lessons = [lesson for task in sequence.tasks for lesson in task.lessons]
    lessons = [lessons[place] for place in rng.permutation(len(lessons)).tolist()]
    taught = list({lesson.document: lesson for lesson in lessons if lesson.document in reworded}.values())
    chosen = taught[: config.facts]
    new = {lesson.document for lesson in chosen}
    memories = {document.id: place for place, document in enumerate(d for d in sequence.documents if d.id not in new)}
    others = [lesson for lesson in lessons if lesson.document in memories][: config.batches * config.batch]
    neighbours = [one for task in sequence.tasks for one in task.neighbours if one.relevant[0] in memories]
    golden = [neighbours[place] for place in rng.permutation(len(neighbours))[: config.golden].tolist()]
    if (len(chosen), len(others), len(golden)) != (config.facts, config.batches * config.batch, config.golden):
        raise InvalidInput(
            f"{sequence.name} has {len(chosen)} facts, {len(others)} lessons and {len(golden)} golden questions, "
            f"expected {config.facts}, {config.batches * config.batch} and {config.golden}; allow more memories"
        )
    asked = {one.text for task in sequence.tasks for one in (*task.wordings, *task.neighbours)}
    return Material(
        tuple(text_of[one] for one in memories),
        tuple((lesson.question, memories[lesson.document]) for lesson in others),
        tuple((one.text, text_of[one.relevant[0]]) for one in golden),
        tuple(sorted(asked - {reworded[one] for one in new})),
        tuple(Fact(text_of[one.document], one.question, reworded[one.document]) for one in chosen),
    )


def adapters(learning: Learning, *, seed: int) -> Mapping[str, LoRAAdapter | QueryAdapter]:
    """How the engine learns, by the names of the pieces: on one thread, as it does unless it is told otherwise."""
    return {"lora": replace(learning.recipe(seed=seed), threads=1), "query-map": QueryAdapter(seed=seed)}


def measure_serving(
    encoder: Encoder,
    material: Material,
    config: ServingConfig,
    adapter: LoRAAdapter | QueryAdapter,
    beside: int,
    folder: str,
    seed: int,
) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """One engine on one file, asked all the time, which is taught first in batches and then fact by fact.

    Between two updates it is idle. Each pair is learnt beside `beside` former ones, as far as there are so many. A fact
    is taught by one question, and asked for by another one after each update. To be called in a process of its own,
    whose memory is looked at.
    """
    import torch  # noqa: PLC0415 -- heavy, and only now needed

    torch.set_num_threads(config.threads)
    logging.getLogger("adamem.memory").setLevel(logging.ERROR)  # what the gate refuses is recorded, and told at the end
    path = Path(folder) / "memory.db"
    log = _Log()
    with MemoryEngine(path, encoder=encoder) as engine:
        ids = [one.id for one in engine.add_many(material.memories)]
    plan = LearningPlan(after=_WHENEVER, replay=beside, held_out=0.0, golden=material.golden, nice=config.nice)
    added: list[int] = []
    with _Served(path, encoder, adapter, plan, material, config, log, seed) as served:
        for number in range(config.batches):
            some = material.lessons[number * config.batch : (number + 1) * config.batch]
            served.idle()
            served.update("batch", [(question, ids[place]) for question, place in some])
        for fact in material.facts:
            served.idle()
            log.added.append(log.now())
            added.append(served.engine.add(fact.text).id)
            served.check(len(added) - 1, added[-1])
            served.update("one", [(fact.told, added[-1])])
            for place, number in enumerate(added):
                served.check(place, number)
        served.idle()
    arrays = log.arrays()
    timed, facts = _overheads(encoder, material, adapter, config.timed)
    return arrays | timed, facts | {"memories": len(material.memories), "dim": encoder.dim}


@dataclass
class _Log:
    """What happened and when, in nanoseconds since the beginning."""

    begun: int = field(default_factory=time.perf_counter_ns)
    searches: list[tuple[int, int]] = field(default_factory=list)
    windows: list[tuple[int, ...]] = field(default_factory=list)
    checks: list[tuple[int, int, int]] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    memory: list[tuple[int, int, int]] = field(default_factory=list)

    def now(self) -> int:
        return time.perf_counter_ns() - self.begun

    def arrays(self) -> dict[str, AnyArray]:
        return {
            "searches": np.array(self.searches, np.int64).reshape(-1, 2),
            "windows": np.array(self.windows, np.int64).reshape(-1, 5 + len(PARTS)),
            "checks": np.array(self.checks, np.int64).reshape(-1, 3),
            "added": np.array(self.added, np.int64),
            "memory": np.array(self.memory, np.int64).reshape(-1, 3),
        }


class _Served:
    """An opened engine, and a thread that asks it one question after the other."""

    def __init__(
        self,
        path: Path,
        encoder: Encoder,
        adapter: LoRAAdapter | QueryAdapter,
        plan: LearningPlan,
        material: Material,
        config: ServingConfig,
        log: _Log,
        seed: int,
    ) -> None:
        self.engine = MemoryEngine(path, encoder=encoder, adapter=adapter, plan=plan)
        self._facts = material.facts
        self._config = config
        self._log = log
        rng = np.random.default_rng([seed, 9])
        self._questions = [material.questions[place] for place in rng.permutation(len(material.questions)).tolist()]
        self._over = threading.Event()
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="asks", daemon=True)

    def __enter__(self) -> Self:
        for question in self._questions[:_WARM]:
            self.engine.search(question, top_k=10)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.engine.close()
        if error is None and self._broken is not None:
            raise self._broken

    def idle(self) -> None:
        """Nothing but questions, for a while."""
        begun = self._log.now()
        self._over.wait(self._config.idle_seconds)
        self._window("idle", begun, LearningTimings(), 0, 0)

    def update(self, window: str, lessons: list[tuple[str, int]]) -> None:
        """Have the engine learn these, from what it is told to what is in use."""
        begun, spent = self._log.now(), LearningTimings()
        for question, memory in lessons:
            self.engine.feedback(question, memory)
        learnt = self.engine.learn(timings=spent)
        self._window(window, begun, spent, len(lessons), 0 if learnt is None else STANDINGS.index(learnt.standing))

    def check(self, place: int, memory: int) -> None:
        """At which rank a fact is found that is asked for in other words; 0 where it is not."""
        hits = self.engine.search(self._facts[place].asked, top_k=_DEPTH)
        rank = next((hit.rank for hit in hits if hit.memory.id == memory), 0)
        self._log.checks.append((place, self._log.now(), rank))

    def _window(self, window: str, begun: int, spent: LearningTimings, lessons: int, standing: int) -> None:
        parts = (round(1e9 * getattr(spent, part)) for part in PARTS)
        self._log.windows.append((WINDOWS.index(window), begun, self._log.now(), lessons, standing, *parts))

    def _serve(self) -> None:
        me, looked = psutil.Process(), 0
        try:
            for question in itertools.cycle(self._questions):
                if self._over.wait(self._config.pause_ms / 1e3):
                    return
                begun = self._log.now()
                self.engine.search(question, top_k=10)
                ended = self._log.now()
                self._log.searches.append((begun, ended - begun))
                if ended - looked >= _SAMPLED:
                    looked = ended
                    self._log.memory.append((ended, int(me.memory_info().rss), _resident(me.children())))
        except BaseException as error:  # noqa: BLE001 -- raised by whoever has begun the thread
            self._broken = error
            self._over.set()


def _resident(processes: list[psutil.Process]) -> int:
    total = 0
    for one in processes:
        try:
            total += int(one.memory_info().rss)
        except psutil.Error:  # it has ended meanwhile
            continue
    return total


def _overheads(
    encoder: Encoder, material: Material, adapter: LoRAAdapter | QueryAdapter, count: int
) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """What a query takes: embedded as it was, by what was learnt, and by the map of its vector alone.

    A LoRA's map is the bridge to the vectors as they were, by which the engine leaves documents where it is told to.
    """
    pairs = [Pair(question, material.memories[place]) for question, place in material.lessons[:_TAUGHT]]
    learnt: Adaptation = replace(adapter, epochs=1).learn(encoder, pairs)
    adapted = learnt.applied_to(encoder)
    moved: Callable[[FloatArray], FloatArray]
    facts = {"adapter_bytes": len(learnt.to_bytes())}
    if isinstance(learnt, QueryMap):
        moved = learnt
    else:
        texts = list(material.memories[:_BRIDGED])
        bridge = mean_drift(adapted.encode_document(texts), encoder.encode_document(texts))
        moved, facts["bridge_bytes"] = bridge, len(bridge.to_bytes())
    texts = [material.questions[place % len(material.questions)] for place in range(count)]
    vectors = encoder.encode_query(texts)
    adapted.encode_query(texts[:1])
    moved(vectors[:1])
    out = {name: np.zeros(count, np.int64) for name in ("plain_ns", "adapted_ns", "map_ns")}
    once: dict[str, Callable[[int], object]] = {
        "plain_ns": lambda place: encoder.encode_query([texts[place]]),
        "adapted_ns": lambda place: adapted.encode_query([texts[place]]),
        "map_ns": lambda place: moved(vectors[place : place + 1]),
    }
    for place in range(count):
        for name, work in once.items():  # in turns: whatever else the machine does meets all three
            begun = time.perf_counter_ns()
            work(place)
            out[name][place] = time.perf_counter_ns() - begun
    return out, facts
