"""Learning from pairs by in-batch softmax, whatever of a model it is that moves."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from adamem.adapt.pairs import Pair, require_contrast
from adamem.data.progress import Progress, silent
from adamem.encoders.adaptation import Moves
from adamem.encoders.sentence import SentenceEncoder
from adamem.errors import InvalidInput, LearningFailed

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

_LONGEST_GRADIENT = 1.0
"""Longer ones are scaled down to this norm, as sentence-transformers' trainer does."""


class ContrastiveLearner:
    """A model and its optimiser between updates; its weights that ask for a gradient are what learns.

    The loss and the batches are those that `LoRAAdapter` describes.

    Parameters
    ----------
    base
        The encoder that the model is a copy of.
    model
        In evaluation mode.
    rate, batch, scale, seed, threads, sides
        As of a `LoRAAdapter`.
    """

    def __init__(
        self,
        base: SentenceEncoder,
        model: SentenceTransformer,
        *,
        rate: float,
        batch: int,
        scale: float,
        seed: int,
        threads: int,
        sides: Moves,
    ) -> None:
        import torch  # noqa: PLC0415 -- heavy, and only now needed

        self._base = base
        self._model = model
        self._rate = rate
        self._batch = batch
        self._scale = scale
        self._seed = seed
        self._threads = threads
        self._sides = sides
        self._learnt = [part for part in model.parameters() if part.requires_grad]
        self._optimiser = torch.optim.AdamW(self._learnt, lr=rate, weight_decay=0.0)
        self._loss = _library("losses").MultipleNegativesRankingLoss(model, scale=scale)

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

        with _threads(self._threads):
            loss = self._loss.compute_loss_from_embeddings(self._embedded(pairs), None)
            self._optimiser.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self._learnt, _LONGEST_GRADIENT)
            if not (loss.isfinite() and norm.isfinite()):
                raise LearningFailed(
                    f"a step of learning has a loss of {loss.item():.4g} and a gradient of norm {norm.item():.4g}; "
                    f"learn at a rate below {self._rate:g} or a scale below {self._scale:g}"
                )
            # AdamW moves a weight by a few rates at most, so of a finite gradient come finite weights.
            self._optimiser.step()
        return float(loss.item())

    def learn(self, pairs: Sequence[Pair], *, steps: int | None, epochs: int, progress: Progress = silent) -> None:
        """So many steps if given, else so many times over all pairs, in batches; raises as `step`."""
        require_contrast(pairs)
        rounds = range(epochs) if steps is None else itertools.count()
        batches = itertools.chain.from_iterable(self._batches(pairs, epoch) for epoch in rounds)
        plan = list(itertools.islice(batches, steps))
        for done, batch in enumerate(plan, start=1):
            self.step(batch)
            progress(done, len(plan), "learning")

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
        if self._sides == "queries":
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
            batch_size=self._batch,
            drop_last=False,
            generator=torch.Generator(),
            seed=self._seed,
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
