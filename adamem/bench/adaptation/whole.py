"""Full tuning: every weight of the encoder learns, by the loss and in the batches of a LoRA."""

from __future__ import annotations

from adamem.adapt.contrastive import ContrastiveLearner
from adamem.bench.adaptation.learning import Learning
from adamem.encoders import Encoder
from adamem.encoders.lora import tunable
from adamem.encoders.whole import WholeWeights, changed_weights, trainable_copy


class WholeLearner(ContrastiveLearner):
    """Trains every weight of a copy of the base's model, as a `LoRALearner` trains its adapter.

    Parameters
    ----------
    base
        A sentence-transformers model.
    learning, rate
        Batches and threads are the former's.
    seed
        Of the order of the pairs.
    """

    def __init__(self, base: Encoder, learning: Learning, *, rate: float, seed: int) -> None:
        recipe = learning.recipe(seed=seed)
        model = tunable(base)
        super().__init__(
            model,
            trainable_copy(model),
            rate=rate,
            batch=recipe.batch,
            scale=recipe.scale,
            seed=seed,
            threads=recipe.threads,
            sides="both",
        )

    def weights(self) -> WholeWeights:
        """What has been learnt so far."""
        return WholeWeights(self._base.fingerprint, changed_weights(self._base, self._model))
