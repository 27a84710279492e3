"""A sentence-transformers model of which every weight was trained: what a LoRA is held against."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from adamem.encoders.adaptation import require_base
from adamem.encoders.adapted import AdaptedEncoder
from adamem.encoders.lora import tunable
from adamem.encoders.protocol import Encoder
from adamem.encoders.sealed import fingerprint_of, seal
from adamem.encoders.sentence import SentenceEncoder
from adamem.types import FloatArray

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class WholeWeights:
    """Those weights of a model that differ from its base's.

    Parameters
    ----------
    base
        The fingerprint of the encoder that the model began as.
    weights
        Arrays by the model's own names, those that changed; see `changed_weights`.
    """

    def __init__(self, base: str, weights: Mapping[str, FloatArray]) -> None:
        self._base = base
        self.weights = dict(weights)

    @property
    def nbytes(self) -> int:
        """How many bytes its arrays take."""
        return sum(part.nbytes for part in self.weights.values())

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the base's fingerprint and the arrays."""
        return fingerprint_of(seal({"kind": "whole", "base": self._base}, self.weights))

    def applied_to(self, base: Encoder) -> Encoder:
        """An encoder with a copy of the base's model that bears these weights, made with the first text.

        Raises `InvalidInput` if `base` is not the encoder that the model began as.
        """
        require_base(base, self._base, kind="model")
        trained = _Trained(tunable(base), self.weights)
        return AdaptedEncoder(
            base,
            kind="whole",
            learnt=self.fingerprint,
            queries=trained.encode_query,
            documents=trained.encode_document,
        )


class _Trained(SentenceEncoder):
    """The base with other weights in its own copy of the model."""

    def __init__(self, base: SentenceEncoder, weights: Mapping[str, FloatArray]) -> None:
        super().__init__(
            base.folder, name=base.name, query_prefix=base.query_prefix, document_prefix=base.document_prefix
        )
        self._untrained = base
        self._weights = weights

    @cached_property
    def _model(self) -> SentenceTransformer:
        import torch  # noqa: PLC0415 -- heavy, and only now needed

        model = trainable_copy(self._untrained).requires_grad_(False)
        parts = dict(model.named_parameters())
        with torch.no_grad():
            for name, part in self._weights.items():
                parts[name].copy_(torch.from_numpy(part))
        return model


def trainable_copy(base: SentenceEncoder) -> SentenceTransformer:
    """A copy of the base's model in evaluation mode, of which every weight asks for a gradient."""
    return copy.deepcopy(base._model).requires_grad_(True).eval()


def changed_weights(base: SentenceEncoder, model: SentenceTransformer) -> dict[str, FloatArray]:
    """Copies of the arrays of `model` that are not the base's, by the model's own names."""
    before = dict(base._model.named_parameters())
    return {
        name: part.detach().cpu().numpy().copy()
        for name, part in model.named_parameters()
        if not part.detach().equal(before[name].detach())
    }
