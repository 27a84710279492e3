"""What is compared: each arm is given the same tasks, one after the other, and says what it has become after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from adamem.adapt import LoRALearner, Pair, QueryAdapter
from adamem.adapt.pairs import agreeing
from adamem.bench.adaptation import drift
from adamem.bench.adaptation.gate import Gate, Verdict
from adamem.bench.adaptation.learning import Learning
from adamem.bench.adaptation.replay import Reservoir
from adamem.bench.adaptation.tasks import Task, TaskSequence
from adamem.bench.adaptation.variants import Variants
from adamem.bench.adaptation.whole import WholeLearner
from adamem.encoders import Encoder
from adamem.encoders.adaptation import Moves
from adamem.encoders.lora import LoraWeights
from adamem.errors import InvalidInput
from adamem.types import AnyArray, DoubleArray, FloatArray


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
    followed: Mapping[str, AnyArray] | None = None
    """The raw arrays of the arm that this one is measured by; see `FOLLOWS`."""
    variants: Variants = field(default_factory=Variants)

    def pairs(self, task: Task) -> list[Pair]:
        """The task's lessons, in the order of the stream."""
        text_of = {document.id: document.text for document in self.sequence.documents}
        return [Pair(one.question, text_of[one.document], one.group, shared=one.shared) for one in task.lessons]

    def rng(self) -> np.random.Generator:
        """For what an arm draws; the same for every arm."""
        return np.random.default_rng([self.seed, 5])

    def reservoir(self) -> Reservoir:
        """An empty one."""
        return Reservoir(self.learning.reservoir, np.random.default_rng([self.seed, 6]))

    def steps_of(self, task: int) -> int:
        """How many steps the arm that is followed took for a task, from 1."""
        done = self.of_followed("steps")
        return int(done[task] - done[task - 1])

    def of_followed(self, name: str) -> AnyArray:
        """Raw rows of the arm that is followed. Raises `InvalidInput` if there is none."""
        if self.followed is None:
            raise InvalidInput(f"this arm needs the {name} of another one; measure that first")
        return self.followed[name]

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


def lora(setting: Setting, *, rank: int | None = None, gentle: bool = False, sides: Moves = "both") -> LoRALearner:
    """The recipe's LoRA, of another rank, at the gentle rate, or for queries alone, against documents as they are."""
    recipe = replace(setting.learning.recipe(seed=setting.seed, rank=rank), sides=sides)
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
    """It goes on from task to task, each learnt in batches, with or without former pairs among its own.

    With them it takes as many steps as the arm that it follows took without.
    """
    learning, rng, reservoir = setting.learning, setting.rng(), setting.reservoir()
    timed = _Timed(setting, learner(setting))
    for number, task in enumerate(setting.sequence.tasks, start=1):
        pairs = taught(setting.pairs(task), rng)
        share = learning.replay if replay else 0.0
        former = reservoir.some(round(share / (1 - share) * len(pairs)))
        timed.learn([*pairs, *former], steps=setting.steps_of(number) if replay else None)
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
    """A LoRA that is given all tasks' pairs together, for as many steps as the arm that it follows took in sequence."""
    learner, last = _Timed(setting, lora(setting)), len(setting.sequence.tasks)
    steps = sum(setting.steps_of(number) for number in range(1, last + 1))
    learner.learn([pair for task in setting.sequence.tasks for pair in setting.pairs(task)], steps=steps)
    yield learner.state(last)


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
    """A LoRA of random matrices, which moves documents as far as the arm that it follows does after each task.

    As far by the mean cosine of a document's new and old vector, over a sample. Of an update of a learnt one's norm
    little would be seen: most of its directions meet none of the activations.

    Raises
    ------
    InvalidInput
        if the cosines are not known.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 -- slow to import, and reports need only the arms' names

    blank, rng = lora(setting).weights(), setting.rng()
    drawn = _with(blank, {name: _normal(part, rng) for name, part in blank.weights.items()})
    texts = [document.text for document in setting.sequence.documents]
    sample = [texts[place] for place in rng.permutation(len(texts))[:_SAMPLE].tolist()]
    old = setting.known.encode_document(sample)
    # The learnt A is drawn, too, and only B is learnt: so only B is scaled here.
    unit = float(np.linalg.norm(layer_norms(drawn)))

    def random(power: float) -> LoraWeights:
        return _with(blank, _scaled(drawn, 10.0**power / unit))

    def distance(power: float, wanted: float) -> float:
        moved = drift.mean_cosine(random(power).applied_to(setting.base).encode_document(sample), old)
        return float(np.log(max(1 - moved, _LEAST / 2) / max(1 - wanted, _LEAST)))

    for number, alarms in enumerate(setting.of_followed("alarms")[1:], start=1):
        wanted = float(alarms[drift.DOCUMENT_COSINE])
        ends = [distance(power, wanted) for power in _POWERS]
        if ends[0] * ends[1] < 0:
            power = brentq(distance, *_POWERS, args=(wanted,), xtol=0.02)
        else:  # farther than any random one moves them: as far as it can
            power = _POWERS[int(np.argmin(np.abs(ends)))]
        found = random(power)
        yield State(number, found.applied_to(setting.base), True, 0, 0.0, found.nbytes, layer_norms(found))


_SAMPLE = 32
_LEAST = 1e-5
"""Cosines this near to 1 are all the same: what has moved less is rounding."""
_POWERS = (-3.0, 3.0)
"""Of ten, the norms of all updates together among which is searched."""


def shuffled(pairs: Sequence[Pair], rng: np.random.Generator) -> list[Pair]:
    """Each query with the document of a pair that it may be held against; one for which none is found is left out."""
    places = _elsewhere(pairs, rng)
    return [
        replace(pair, document=pairs[other].document)
        for place, (pair, other) in enumerate(zip(pairs, places, strict=True))
        if other != place
    ]


def noisy(pairs: Sequence[Pair], rng: np.random.Generator, *, share: float = 0.2) -> list[Pair]:
    """A share of them, two at least, shuffled among each other."""
    chosen = sorted(rng.permutation(len(pairs))[: max(2, round(share * len(pairs)))].tolist())
    out = list(pairs)
    for place, other in zip(chosen, _elsewhere([pairs[one] for one in chosen], rng), strict=True):
        out[place] = replace(pairs[place], document=pairs[chosen[other]].document)
    return out


def _elsewhere(pairs: Sequence[Pair], rng: np.random.Generator) -> list[int]:
    """Of each pair the place of one that it may be held against, each once; its own where none is found."""
    other = rng.permutation(len(pairs)).tolist()
    for _ in range(_ROUNDS):
        met = [place for place, taken in enumerate(other) if not pairs[place].keys.isdisjoint(pairs[taken].keys)]
        if not met:
            break
        for place, partner in zip(met, rng.integers(len(pairs), size=len(met)).tolist(), strict=True):
            other[place], other[partner] = other[partner], other[place]
    return [taken if pairs[place].keys.isdisjoint(pairs[taken].keys) else place for place, taken in enumerate(other)]


_ROUNDS = 200


ARMS: dict[str, Arm] = {
    "none": untouched,
    "lora": in_batches,
    "lora-replay": partial(in_batches, replay=True),
    "lora-steps": one_by_one,
    "query-only": queries_only,
    "lora-queries": partial(in_batches, learner=partial(lora, sides="queries")),
    "random": by_chance,
    "shuffled": partial(in_batches, taught=shuffled),
    "lora-4": partial(in_batches, learner=partial(lora, rank=4)),
    "lora-64": partial(in_batches, learner=partial(lora, rank=64)),
    "noise": partial(in_batches, taught=noisy),
    "joint": all_at_once,
    "lora-gentle": partial(in_batches, learner=partial(lora, gentle=True)),
    "lora-gated": gated,
    "shuffled-gated": partial(gated, taught=shuffled),
    "own-hits": on_own_hits,
    "full-tuning": partial(in_batches, learner=whole),
}
"""By the names that an experiment gives them."""
FOLLOWS = {"random": "lora", "lora-replay": "lora", "joint": "lora"}
"""Arms that move documents as far, or take as many steps, as another one."""
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


def _normal(like: FloatArray, rng: np.random.Generator) -> FloatArray:
    return rng.standard_normal(like.shape).astype(np.float32)


def _scaled(weights: LoraWeights, factor: float) -> dict[str, FloatArray]:
    return {name: part * np.float32(factor) if _B in name else part for name, part in weights.weights.items()}


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

    def learn(self, pairs: Sequence[Pair], *, steps: int | None = None) -> None:
        """In batches: so many steps if given, else so many epochs as the setting says."""
        begun = time.perf_counter()
        self._learner.learn(pairs, steps=steps, epochs=self._setting.learning.epochs, progress=self._count)
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
        moves = not isinstance(learnt, LoraWeights) or learnt.moves == "both"
        return State(after, encoder, moves, self._steps, self._seconds, learnt.nbytes, norms)

    def _count(self, *_: object) -> None:
        self._steps += 1
