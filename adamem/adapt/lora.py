"""Learning a LoRA from pairs: the recipe, and the learner that carries it out step by step."""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from adamem.adapt.pairs import Pair, require_contrast
from adamem.data.progress import Progress, silent
from adamem.encoders.adaptation import Moves, require_base
from adamem.encoders.lora import LoraWeights, load_weights, read_weights, tunable, with_adapter
from adamem.encoders.protocol import Encoder
from adamem.errors import InvalidInput, LearningFailed

if TYPE_CHECKING:
    import torch

_LONGEST_GRADIENT = 1.0
"""Longer ones are scaled down to this norm, as sentence-transformers' trainer does."""


@dataclass(frozen=True)
class LoRAAdapter:
    """A recipe for a LoRA (Hu et al., 2021, arXiv 2106.09685), learnt by in-batch softmax.

    The loss is sentence-transformers' MultipleNegativesRankingLoss (van den Oord et al., 2018, arXiv 1807.03748): each
    query is to be nearest to its own document among those of its batch. Batches are composed by its
    NoDuplicatesBatchSampler, so that no two pairs of one group, or with one text, meet. The base's dropout is off: what
    is learnt does not depend on what else draws random numbers in the process.

    Parameters
    ----------
    rank, alpha
        The update of a layer is alpha / rank times the product of two matrices of this rank.
    sides
        ``both``, or ``queries``: then documents are encoded by the base, and stay as they are.
    targets
        The layers, by their names in the model.
    rate
        AdamW's learning rate, at most 1, constant; without weight decay.
    batch
        Pairs a step, at least 2.
    steps, epochs
        How long: so many steps if given, else so many times over all pairs. With steps=0 nothing moves.
    scale
        The cosines are multiplied by it before the softmax: the inverse of the temperature.
    seed
        Of the initial matrices and of the order of the pairs.
    threads
        Of torch, while it learns. Equal input, seed, threads and library versions give equal bytes on one machine.

    Raises
    ------
    InvalidInput
        if a value is out of its range.
    """

    rank: int = 16
    alpha: int = 32
    sides: Moves = "both"
    targets: tuple[str, ...] = ("query", "key", "value")
    rate: float = 5e-4
    batch: int = 32
    steps: int | None = None
    epochs: int = 1
    scale: float = 20.0
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        least: dict[str, int] = {"rank": 1, "alpha": 1, "batch": 2, "steps": 0, "epochs": 0, "seed": 0, "threads": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise InvalidInput(f"{name} of a LoRA recipe must be at least {bound}, not {value}")
        for name in ("rate", "scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidInput(f"{name} of a LoRA recipe must be finite and above 0, not {value}")
        if self.rate > 1:
            raise InvalidInput(f"rate of a LoRA recipe must be at most 1, not {self.rate}; 0.0005 is usual")
        if self.sides not in ("both", "queries"):
            raise InvalidInput(f"sides of a LoRA recipe must be 'both' or 'queries', not {self.sides!r}")

    @property
    def kind(self) -> str:
        """``lora``."""
        return LoraWeights.kind

    @property
    def moves(self) -> Moves:
        """The `sides`."""
        return self.sides

    def learn(
        self,
        base: Encoder,
        pairs: Sequence[Pair],
        *,
        since: LoraWeights | None = None,
        replay: Sequence[Pair] = (),
        progress: Progress = silent,
    ) -> LoraWeights:
        """What `base` learns from the pairs; `base` itself and `since` stay as they are.

        Parameters
        ----------
        base
            A sentence-transformers model.
        pairs, replay
            The new ones, and former ones to mix among them.
        since
            Where to go on from, learnt on the same base with the same rank, alpha, targets and sides.
        progress
            Told after each step.

        Raises
        ------
        InvalidInput
            if base or since do not fit, or no two pairs may be held against each other.
        LearningFailed
            if the loss or its gradient became NaN or infinite.
        MissingExtra
            if peft is not installed.
        """
        learner = LoRALearner(base, self, since=since)
        learner.learn([*pairs, *replay], steps=self.steps, epochs=self.epochs, progress=progress)
        return learner.weights()


class LoRALearner:
    """A model, its adapter and its optimiser between updates: what a step for every new fact needs.

    Parameters
    ----------
    base
        A sentence-transformers model, which stays as it is; its weights are shared.
    recipe
        How it learns; `steps`, `epochs` and `batch` concern `LoRAAdapter.learn` alone.
    since
        Where to go on from, learnt on the same base with the same rank, alpha, targets and sides.

    Raises
    ------
    InvalidInput
        if base or since do not fit.
    MissingExtra
        if peft is not installed.
    """

    def __init__(self, base: Encoder, recipe: LoRAAdapter, *, since: LoraWeights | None = None) -> None:
        self._base = tunable(base)
        self._recipe = recipe
        if since is not None:
            _require_same_form(base, recipe, since)
        import torch  # noqa: PLC0415 -- heavy, and only now needed

        with torch.random.fork_rng(devices=[]):  # peft draws A from torch's own generator
            torch.manual_seed(recipe.seed)
            self._model = with_adapter(self._base, rank=recipe.rank, alpha=recipe.alpha, targets=recipe.targets)
        if since is not None:
            load_weights(self._model, since.weights)
        self._learnt = [part for part in self._model.parameters() if part.requires_grad]
        self._optimiser = torch.optim.AdamW(self._learnt, lr=recipe.rate, weight_decay=0.0)
        self._loss = _library("losses").MultipleNegativesRankingLoss(self._model, scale=recipe.scale)

    def step(self, pairs: Sequence[Pair]) -> float:
        """One step on these pairs, and the loss before it.

        All of them stand in one batch, so they must be such as may be held against each other; a new pair is given
        former ones beside it, because alone it teaches nothing.

        Raises
        ------
        InvalidInput
            if they are fewer than two, or two of them share a text or a group.
        LearningFailed
            if the loss or its gradient is NaN or infinite; the learner is then where it was before the step.
        """
        if len(pairs) < 2 or len(frozenset[str]().union(*(pair.keys for pair in pairs))) < sum(
            len(pair.keys) for pair in pairs
        ):
            raise InvalidInput(
                f"a step was given {len(pairs)} pairs, expected two or more of which no two share a text or a group; "
                "add pairs of other facts, or replay former ones"
            )
        import torch  # noqa: PLC0415 -- heavy, and only now needed

        with _threads(self._recipe.threads):
            loss = self._loss.compute_loss_from_embeddings(self._embedded(pairs), None)
            self._optimiser.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self._learnt, _LONGEST_GRADIENT)
            if not (loss.isfinite() and norm.isfinite()):
                raise LearningFailed(
                    f"a step of a LoRA has a loss of {loss.item():.4g} and a gradient of norm {norm.item():.4g}; learn "
                    f"at a rate below {self._recipe.rate:g} or a scale below {self._recipe.scale:g}"
                )
            # AdamW moves a weight by a few rates at most, so of a finite gradient come finite weights.
            self._optimiser.step()
        return float(loss.item())

    def learn(self, pairs: Sequence[Pair], *, steps: int | None, epochs: int, progress: Progress = silent) -> None:
        """So many steps if given, else so many times over all pairs, in batches of `recipe.batch`; raises as `step`."""
        require_contrast(pairs)
        rounds = range(epochs) if steps is None else itertools.count()
        batches = itertools.chain.from_iterable(self._batches(pairs, epoch) for epoch in rounds)
        plan = list(itertools.islice(batches, steps))
        for done, batch in enumerate(plan, start=1):
            self.step(batch)
            progress(done, len(plan), "learning")

    def weights(self) -> LoraWeights:
        """What has been learnt so far."""
        recipe = self._recipe
        return LoraWeights(
            self._base.fingerprint,
            rank=recipe.rank,
            alpha=recipe.alpha,
            targets=recipe.targets,
            sides=recipe.sides,
            weights=read_weights(self._model),
        )

    def _embedded(self, pairs: Sequence[Pair]) -> list[torch.Tensor]:
        """Queries and documents as the loss takes them, (n, dim) each, and hard negatives (m, dim) if there are any.

        What does not move needs no gradient.
        """
        import torch  # noqa: PLC0415 -- heavy, and only now needed

        documents = [pair.document for pair in pairs]
        # What is another pair's document in this batch is held against the query already, and answers the other's.
        against = [text for pair in pairs for text in pair.against if text not in documents]
        queries = self._forward([self._base.query_prefix + pair.query for pair in pairs])
        told = [texts for texts in (documents, against) if texts]
        if self._recipe.sides == "queries":
            return [queries, *(torch.from_numpy(self._base.encode_document(one)).to(queries.device) for one in told)]
        return [queries, *(self._forward([self._base.document_prefix + text for text in one]) for one in told)]

    def _forward(self, texts: list[str]) -> torch.Tensor:
        preprocess = getattr(self._model, "preprocess", self._model.tokenize)  # its name since version 5.4
        features = _library("util").batch_to_device(preprocess(texts), self._model.device)
        return self._model(features)["sentence_embedding"]  # type: ignore[no-any-return, unused-ignore]

    def _batches(self, pairs: Sequence[Pair], epoch: int) -> Iterator[list[Pair]]:
        """All pairs once, shuffled, in batches of which no two pairs share a text or a group."""
        import torch  # noqa: PLC0415 -- heavy, and only now needed

        sampler = _library("sampler").NoDuplicatesBatchSampler(
            _Keys(pairs),
            batch_size=self._recipe.batch,
            drop_last=False,
            generator=torch.Generator(),
            seed=self._recipe.seed,
        )
        sampler.set_epoch(epoch)
        for rows in sampler:
            if len(rows) > 1:  # a pair that is left alone has nothing to be told from
                yield [pairs[row] for row in rows]


class _Keys:
    """The pairs' keys in the shape of a data set, as far as the sampler looks at one: it keeps equal values apart."""

    column_names = ("keys",)

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, row: int) -> dict[str, str]:
        return {str(number): key for number, key in enumerate(sorted(self._pairs[row].keys))}


def _require_same_form(base: Encoder, recipe: LoRAAdapter, since: LoraWeights) -> None:
    require_base(base, since.base, kind=since.kind)
    for name, value in (
        ("rank", since.rank),
        ("alpha", since.alpha),
        ("targets", since.targets),
        ("sides", since.moves),
    ):
        if value != getattr(recipe, name):
            raise InvalidInput(
                f"the LoRA to go on from has {name} {value!r}, and the recipe has {getattr(recipe, name)!r}; "
                f"give the recipe {name}={value!r}, or begin anew without since"
            )


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Have torch compute on so many threads, and on as many as before afterwards."""
    import torch  # noqa: PLC0415 -- heavy, and only now needed

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _library(module: str) -> Any:
    """A module of sentence-transformers by the name that all its versions know, which the newest deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(f"sentence_transformers.{module}")
