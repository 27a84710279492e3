"""Learning a LoRA from pairs: the recipe, and the learner that carries it out step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from adamem.adapt.contrastive import ContrastiveLearner
from adamem.adapt.pairs import Pair
from adamem.data.progress import Progress, silent
from adamem.encoders.adaptation import Moves, require_base
from adamem.encoders.lora import LoraWeights, load_weights, read_weights, tunable, with_adapter
from adamem.encoders.protocol import Encoder
from adamem.errors import InvalidInput


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
        targets: object = self.targets
        if not (isinstance(targets, (tuple, list)) and targets and all(isinstance(one, str) for one in targets)):
            raise InvalidInput(
                f"targets of a LoRA recipe must be names of layers, as ('query', 'value'), not {targets!r:.60}"
            )
        object.__setattr__(self, "targets", tuple(targets))

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


class LoRALearner(ContrastiveLearner):
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
        tuned = tunable(base)
        self._recipe = recipe
        if since is not None:
            _require_same_form(base, recipe, since)
        import torch  # noqa: PLC0415 -- heavy, and only now needed

        with torch.random.fork_rng(devices=[]):  # peft draws A from torch's own generator
            torch.manual_seed(recipe.seed)
            model = with_adapter(tuned, rank=recipe.rank, alpha=recipe.alpha, targets=recipe.targets)
        if since is not None:
            load_weights(model, since.weights)
        super().__init__(
            tuned,
            model,
            rate=recipe.rate,
            batch=recipe.batch,
            scale=recipe.scale,
            seed=recipe.seed,
            threads=recipe.threads,
            sides=recipe.sides,
        )

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
