"""What is compared: each arm is given the same tasks, one after the other, and says what it has become after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from adamem.adapt import LoRALearner, Pair, QueryAdapter
from adamem.adapt.pairs import agreeing
from adamem.bench.adaptation.gate import Gate, Verdict
from adamem.bench.adaptation.learning import Learning
from adamem.bench.adaptation.replay import Reservoir
from adamem.bench.adaptation.tasks import Task, TaskSequence
from adamem.bench.adaptation.variants import Variants
from adamem.bench.adaptation.whole import WholeLearner
from adamem.encoders import Encoder
from adamem.encoders.lora import LoraWeights
from adamem.errors import InvalidInput
from adamem.types import DoubleArray, FloatArray


@dataclass(frozen=True)
class Setting:
    """What an arm begins with."""

    base: Encoder
    """The encoder as it was."""
    known: Encoder
    """The same, with the vectors of all the sequence's texts at hand."""
    sequence: TaskSequence
    learning: Learning
    seed: int
    norms: DoubleArray | None = None
    """float64 (T, layers): of what another arm has learnt after each task, for an arm of the same norm."""
    variants: Variants = field(default_factory=Variants)

    def pairs(self, task: Task) -> list[Pair]:
        """The task's lessons, in the order of the stream."""
        text_of = {document.id: document.text for document in self.sequence.documents}
        return [Pair(one.question, text_of[one.document], one.group) for one in task.lessons]

    def rng(self) -> np.random.Generator:
        """For what an arm draws; the same for every arm."""
        return np.random.default_rng([self.seed, 5])

    def reservoir(self) -> Reservoir:
        """An empty one."""
        return Reservoir(self.learning.reservoir, np.random.default_rng([self.seed, 6]))

    def gate(self) -> Gate:
        """One that has held nothing out yet."""
        given = self.variants
        return Gate(
            [document.text for document in self.sequence.documents],
            held_out=given.held_out,
            tolerance=given.tolerance,
            among=given.among,
            rng=np.random.default_rng([self.seed, 9]),
        )


@dataclass(frozen=True)
class State:
    """What an arm has become."""

    after: int
    """So many tasks have been learnt."""
    encoder: Encoder
    moves_documents: bool
    """Whether the vectors of documents differ from the base's."""
    steps: int
    """Of the optimiser, up to now."""
    seconds: float
    """That learning took up to now."""
    nbytes: int
    """Of what was learnt."""
    norms: DoubleArray = field(default_factory=lambda: np.zeros(0))
    """float64 (layers,): Frobenius norm of each layer's update, in the order of the layers' names; empty where it is no
    LoRA."""
    verdict: Verdict | None = None
    """Of the gate, if there is one. What it refused is not what the arm has become: that is as it was before."""


Arm = Callable[[Setting], Iterator[State]]
Learner = LoRALearner | WholeLearner
Taught = Callable[[Sequence[Pair], np.random.Generator], list[Pair]]


def lora(setting: Setting, *, rank: int | None = None, gentle: bool = False) -> LoRALearner:
    """The recipe's LoRA, of another rank or at the gentle rate."""
    recipe = setting.learning.recipe(seed=setting.seed, rank=rank)
    return LoRALearner(setting.base, replace(recipe, rate=setting.variants.gentle_rate) if gentle else recipe)


def whole(setting: Setting) -> WholeLearner:
    """Every weight of the encoder, at a rate of its own."""
    return WholeLearner(setting.base, setting.learning, rate=setting.variants.full_rate, seed=setting.seed)


def as_they_are(pairs: Sequence[Pair], rng: np.random.Generator) -> list[Pair]:  # noqa: ARG001 -- as `shuffled`
    """The pairs themselves."""
    return list(pairs)


def untouched(setting: Setting) -> Iterator[State]:  # noqa: ARG001 -- the arms share one signature
    """The encoder as it was: there is nothing after it."""
    return iter(())


def in_batches(
    setting: Setting,
    *,
    learner: Callable[[Setting], Learner] = lora,
    replay: bool = False,
    taught: Taught = as_they_are,
) -> Iterator[State]:
    """It goes on from task to task, each learnt in batches, with or without former pairs among its own."""
    learning, rng, reservoir = setting.learning, setting.rng(), setting.reservoir()
    timed = _Timed(setting, learner(setting))
    for number, task in enumerate(setting.sequence.tasks, start=1):
        pairs = taught(setting.pairs(task), rng)
        share = learning.replay if replay else 0.0
        former = reservoir.some(round(share / (1 - share) * len(pairs)))
        timed.learn([*pairs, *former])
        for pair in pairs:
            reservoir.offer(pair)
        yield timed.state(number)


def one_by_one(setting: Setting) -> Iterator[State]:
    """A LoRA that takes one step for each pair as it comes, with some former ones beside it.

    The very first pair has nothing to be told from and is learnt only as a former one.
    """
    learner, reservoir = _Timed(setting, lora(setting)), setting.reservoir()
    for number, task in enumerate(setting.sequence.tasks, start=1):
        for pair in setting.pairs(task):
            if former := reservoir.beside(pair, setting.learning.beside):
                learner.step([pair, *former])
            reservoir.offer(pair)
        yield learner.state(number)


def all_at_once(setting: Setting) -> Iterator[State]:
    """A LoRA that is given all tasks' pairs together: what learning in sequence could reach at best."""
    learner = _Timed(setting, lora(setting))
    learner.learn([pair for task in setting.sequence.tasks for pair in setting.pairs(task)])
    yield learner.state(len(setting.sequence.tasks))


def gated(setting: Setting, *, taught: Taught = as_they_are) -> Iterator[State]:
    """A LoRA without replay, whose every update passes the gate or is undone; a refusal costs what an update does."""
    gate, rng = setting.gate(), setting.rng()
    learner = lora(setting)
    timed = _Timed(setting, learner)
    state = replace(timed.state(0), encoder=setting.known, moves_documents=False, nbytes=0)
    for number, task in enumerate(setting.sequence.tasks, start=1):
        former = learner.weights()
        timed.learn(taught(gate.withhold(setting.pairs(task)), rng))
        candidate = timed.state(number)
        verdict = gate.examine(state.encoder, candidate.encoder)
        if verdict.refused:
            learner = LoRALearner(setting.base, setting.learning.recipe(seed=setting.seed), since=former)
            timed.go_on_with(learner)
            candidate = replace(state, after=number, steps=candidate.steps, seconds=candidate.seconds)
        state = replace(candidate, verdict=verdict)
        yield state


def on_own_hits(setting: Setting) -> Iterator[State]:
    """A LoRA that never sees an answer: it takes for one what it finds first itself, at the beginning of each task.

    Where it finds one and the same document for all, no two questions are told apart, and nothing is learnt.
    """
    timed = _Timed(setting, lora(setting))
    encoder, texts = setting.known, [document.text for document in setting.sequence.documents]
    for number, task in enumerate(setting.sequence.tasks, start=1):
        asked = [lesson.question for lesson in task.lessons]
        first = (encoder.encode_query(asked) @ encoder.encode_document(texts).T).argmax(axis=1)
        pairs = [Pair(question, texts[place]) for question, place in zip(asked, first.tolist(), strict=True)]
        if not agreeing(pairs).all():
            timed.learn(pairs)
        state = timed.state(number)
        encoder = state.encoder
        yield state


def queries_only(setting: Setting) -> Iterator[State]:
    """A low-rank map of the query vector, learnt anew after each task from its pairs and the former ones kept."""
    recipe = QueryAdapter(seed=setting.seed)
    reservoir, steps, seconds = setting.reservoir(), 0, 0.0
    for number, task in enumerate(setting.sequence.tasks, start=1):
        pairs = setting.pairs(task)
        given = [*pairs, *reservoir.held]
        begun = time.perf_counter()
        learnt = recipe.learn(setting.known, given)
        seconds += time.perf_counter() - begun
        steps += recipe.epochs * -(-len(given) // recipe.batch)
        for pair in pairs:
            reservoir.offer(pair)
        yield State(number, learnt.applied_to(setting.known), False, steps, seconds, learnt.nbytes)


def by_chance(setting: Setting) -> Iterator[State]:
    """A LoRA of random matrices, whose update of each layer has the norm of a learnt one's.

    Raises
    ------
    InvalidInput
        if the norms are not known.
    """
    if setting.norms is None:
        raise InvalidInput("a random adapter needs the norms of a learnt one; measure that first")
    blank = lora(setting).weights()
    rng = setting.rng()
    drawn = {name: rng.standard_normal(part.shape).astype(np.float32) for name, part in blank.weights.items()}
    own = layer_norms(_with(blank, drawn))
    for number, norms in enumerate(setting.norms, start=1):
        factors = dict(zip(_layers(blank.weights), norms / own, strict=True))
        weights = {
            name: part * np.float32(factors[name.replace(_B, _A)]) if _B in name else part
            for name, part in drawn.items()
        }
        random = _with(blank, weights)
        yield State(number, random.applied_to(setting.base), True, 0, 0.0, random.nbytes, layer_norms(random))


def shuffled(pairs: Sequence[Pair], rng: np.random.Generator) -> list[Pair]:
    """Each query with the document of another group, where no group has more than half of the pairs."""
    order = rng.permutation(len(pairs)).tolist()
    groups: dict[str | None, list[int]] = {}
    for place in order:
        groups.setdefault(pairs[place].group or f"{place}", []).append(place)
    # Turned by as many places as the largest group has, none meets its own.
    lined = [place for members in groups.values() for place in members]
    turn = max(len(members) for members in groups.values())
    other = {place: lined[(at + turn) % len(lined)] for at, place in enumerate(lined)}
    return [Pair(pair.query, pairs[other[place]].document) for place, pair in enumerate(pairs)]


def noisy(pairs: Sequence[Pair], rng: np.random.Generator, *, share: float = 0.2) -> list[Pair]:
    """A share of them, two at least, shuffled among each other."""
    chosen = sorted(rng.permutation(len(pairs))[: max(2, round(share * len(pairs)))].tolist())
    out = list(pairs)
    for place, pair in zip(chosen, shuffled([pairs[one] for one in chosen], rng), strict=True):
        out[place] = pair
    return out


ARMS: dict[str, Arm] = {
    "none": untouched,
    "lora": in_batches,
    "lora-replay": partial(in_batches, replay=True),
    "lora-steps": one_by_one,
    "query-only": queries_only,
    "random": by_chance,
    "shuffled": partial(in_batches, taught=shuffled),
    "lora-4": partial(in_batches, learner=partial(lora, rank=4)),
    "lora-64": partial(in_batches, learner=partial(lora, rank=64)),
    "noise": partial(in_batches, taught=noisy),
    "joint": all_at_once,
    "lora-gentle": partial(in_batches, learner=partial(lora, gentle=True), replay=True),
    "lora-gated": gated,
    "shuffled-gated": partial(gated, taught=shuffled),
    "own-hits": on_own_hits,
    "full-tuning": partial(in_batches, learner=whole),
}
"""By the names that an experiment gives them."""
NEEDS_NORMS = {"random": "lora"}
"""Arms that are scaled to what another one has learnt."""
GATED = {"lora-gated": "lora", "shuffled-gated": "shuffled"}
"""Arms with a gate, and what they are without it."""
VARIES: dict[str, tuple[str, ...]] = {
    "lora-gentle": ("gentle_rate",),
    "full-tuning": ("full_rate",),
    **dict.fromkeys(GATED, ("held_out", "tolerance", "among")),
}
"""Which of the `Variants` bear on which arms."""


def layer_norms(learnt: LoraWeights) -> DoubleArray:
    """The Frobenius norm of each layer's update alpha / rank B A: float64 (layers,), in the order of their names."""
    parts = learnt.weights
    scale = learnt.alpha / learnt.rank
    return np.array(
        [
            scale * np.linalg.norm(parts[name.replace(_A, _B)].astype(np.float64) @ parts[name].astype(np.float64))
            for name in _layers(parts)
        ]
    )


_A, _B = "lora_A", "lora_B"


def _layers(parts: Mapping[str, object]) -> list[str]:
    return [name for name in parts if _A in name]


def _with(like: LoraWeights, weights: Mapping[str, FloatArray]) -> LoraWeights:
    return LoraWeights(
        like.base, rank=like.rank, alpha=like.alpha, targets=like.targets, sides=like.moves, weights=weights
    )


class _Timed:
    """A learner with what it has cost."""

    def __init__(self, setting: Setting, learner: Learner) -> None:
        self._setting = setting
        self._learner = learner
        self._steps = 0
        self._seconds = 0.0

    def learn(self, pairs: Sequence[Pair]) -> None:
        """In batches, so many epochs as the setting says."""
        begun = time.perf_counter()
        self._learner.learn(pairs, steps=None, epochs=self._setting.learning.epochs, progress=self._count)
        self._seconds += time.perf_counter() - begun

    def step(self, pairs: Sequence[Pair]) -> None:
        """One step on all of them."""
        begun = time.perf_counter()
        self._learner.step(pairs)
        self._seconds += time.perf_counter() - begun
        self._steps += 1

    def go_on_with(self, learner: Learner) -> None:
        """Another one; what was spent stays spent."""
        self._learner = learner

    def state(self, after: int) -> State:
        """Of now."""
        learnt = self._learner.weights()
        norms = layer_norms(learnt) if isinstance(learnt, LoraWeights) else np.zeros(0)
        encoder = learnt.applied_to(self._setting.base)
        return State(after, encoder, True, self._steps, self._seconds, learnt.nbytes, norms)

    def _count(self, *_: object) -> None:
        self._steps += 1
