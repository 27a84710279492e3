"""What is learnt on top of a base encoder, as an immutable value that can be kept, sent and applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

from adamem.encoders.protocol import Encoder
from adamem.encoders.sealed import unseal
from adamem.errors import CorruptResult, InvalidInput
from adamem.types import FloatArray

Moves = Literal["queries", "both"]
"""Which vectors an adaptation moves; where it is ``both``, documents have to be embedded anew."""


@runtime_checkable
class Adaptation(Protocol):
    """Something learnt on top of one base encoder; an immutable value."""

    @property
    def kind(self) -> str:
        """``query-map``, ``lora`` or ``bridged-lora``."""
        ...

    @property
    def base(self) -> str:
        """The fingerprint of the encoder that it was learnt on."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 over its content, that of the base's fingerprint included."""
        ...

    @property
    def moves(self) -> Moves:
        """``queries`` if the vectors of documents stay as they are, else ``both``."""
        ...

    @property
    def nbytes(self) -> int:
        """How many bytes its arrays take."""
        ...

    def applied_to(self, base: Encoder) -> Encoder:
        """An encoder that has learnt it; `base` stays as it is. Raises `InvalidInput` if `base` is another encoder."""
        ...

    def to_bytes(self) -> bytes:
        """All that it is, for `open_adaptation`."""
        ...


def open_adaptation(kept: bytes) -> Adaptation:
    """The adaptation that `to_bytes` has written; nothing in the bytes is run.

    Raises
    ------
    CorruptResult
        if the bytes are damaged, or hold no adaptation of a known kind.
    """
    # Here, because all of them build on this module.
    from adamem.encoders.bridged import BridgedLora  # noqa: PLC0415
    from adamem.encoders.lora import LoraWeights  # noqa: PLC0415
    from adamem.encoders.query_map import QueryMap  # noqa: PLC0415

    said, arrays = unseal(kept)
    openers: dict[str, Callable[[dict[str, Any], dict[str, FloatArray]], Adaptation]] = {
        QueryMap.kind: QueryMap.from_parts,
        LoraWeights.kind: LoraWeights.from_parts,
        BridgedLora.kind: BridgedLora.from_parts,
    }
    kind = str(said.get("kind"))
    if kind not in openers:
        raise CorruptResult(
            f"a kept adaptation is of kind {kind!r}, expected one of {', '.join(sorted(openers))}; "
            "open it with the version of AdaMem that wrote it"
        )
    try:
        return openers[kind](said, arrays)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CorruptResult(f"a kept {kind} is incomplete or breaks its own rules ({error}); learn it anew") from error


def require_base(base: Encoder, expected: str, *, kind: str) -> None:
    """Raise `InvalidInput` unless `base` is the encoder whose fingerprint is `expected`."""
    if base.fingerprint != expected:
        raise InvalidInput(
            f"this {kind} was learnt on the encoder {expected[:12]}, and {base.name} is {base.fingerprint[:12]}; "
            "apply it to the encoder that it was learnt on, or learn it anew on this one"
        )
