"""A LoRA whose queries go over a bridge into the space of its base, where documents keep their vectors."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Self

from adamem.encoders.adaptation import Moves
from adamem.encoders.adapted import AdaptedEncoder
from adamem.encoders.bridges import Bridge
from adamem.encoders.lora import LoraWeights
from adamem.encoders.protocol import Encoder
from adamem.encoders.sealed import fingerprint_of, seal, unseal
from adamem.types import FloatArray


class BridgedLora:
    """What was learnt of queries and documents, used for queries alone.

    A query is embedded by the base with the LoRA, and the bridge brings its vector to where the base has the documents
    that it looks for; documents are embedded by the base (arXiv 2509.23471).

    Parameters
    ----------
    learnt
        A LoRA of both sides.
    bridge
        From the base with that LoRA to the base.
    """

    kind: ClassVar[str] = "bridged-lora"

    def __init__(self, learnt: LoraWeights, bridge: Bridge) -> None:
        self.learnt = learnt
        self.bridge = bridge

    @property
    def base(self) -> str:
        """The fingerprint of the encoder that it was learnt on."""
        return self.learnt.base

    @property
    def moves(self) -> Moves:
        """``queries``: documents keep their vectors."""
        return "queries"

    @property
    def nbytes(self) -> int:
        """How many bytes its matrices take."""
        return self.learnt.nbytes + self.bridge.nbytes

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the LoRA and the bridge."""
        return fingerprint_of(self.to_bytes())

    def applied_to(self, base: Encoder) -> Encoder:
        """`base`, whose queries go by the LoRA and over the bridge, and whose documents are its own.

        Raises
        ------
        InvalidInput
            if `base` is not the encoder that it was learnt on, or the bridge joins others.
        MissingExtra
            if peft is not installed.
        """
        new = self.learnt.applied_to(base)
        self.bridge.require(new, base)
        return AdaptedEncoder(
            base,
            kind=self.kind,
            learnt=self.fingerprint,
            queries=lambda texts: self.bridge(new.encode_query(texts)),
            documents=base.encode_document,
        )

    def to_bytes(self) -> bytes:
        """All that it is, for `open_adaptation`; see `seal`."""
        said: dict[str, Any] = {"kind": self.kind, "version": 1}
        arrays: dict[str, FloatArray] = {}
        for name, sealed in (("learnt", self.learnt.to_bytes()), ("bridge", self.bridge.to_bytes())):
            said[name], parts = unseal(sealed)
            arrays |= {f"{name}.{part}": array for part, array in parts.items()}
        return seal(said, arrays)

    @classmethod
    def from_parts(cls, said: dict[str, Any], arrays: dict[str, FloatArray]) -> Self:
        """What `to_bytes` has sealed."""
        parts: dict[str, dict[str, FloatArray]] = {"learnt": {}, "bridge": {}}
        for name, array in arrays.items():
            side, _, part = name.partition(".")
            parts[side][part] = array
        return cls(
            LoraWeights.from_parts(said["learnt"], parts["learnt"]), Bridge.from_parts(said["bridge"], parts["bridge"])
        )
