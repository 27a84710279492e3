"""The seam between the memory engine and a way of learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from adamem.adapt.pairs import Pair
from adamem.data.progress import Progress, silent
from adamem.encoders.adaptation import Adaptation, Moves
from adamem.encoders.protocol import Encoder


@runtime_checkable
class Adapter(Protocol):
    """A recipe by which an encoder learns from pairs.

    It is sent to another process, which does not run the caller's script: a frozen dataclass of a module of its own
    does.
    """

    @property
    def kind(self) -> str:
        """That of the adaptations that it makes: ``lora``, ``bridged-lora`` or ``query-map``."""
        ...

    @property
    def moves(self) -> Moves:
        """``queries`` if documents keep their vectors, else ``both``."""
        ...

    def learn(
        self,
        base: Encoder,
        pairs: Sequence[Pair],
        *,
        since: Any = None,
        replay: Sequence[Pair] = (),
        progress: Progress = silent,
    ) -> Adaptation:
        """What `base` learns from the pairs, going on from the adaptation `since`, with former pairs among them.

        Raises
        ------
        InvalidInput
            if base or since do not fit, or no two pairs may be held against each other.
        LearningFailed
            if the weights are not finite any more.
        """
        ...
