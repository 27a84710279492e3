"""Learning a LoRA together with the bridge that lets documents keep their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adamem.adapt.lora import LoRAAdapter
from adamem.adapt.pairs import Pair
from adamem.data.progress import Progress, silent
from adamem.encoders.adaptation import Moves
from adamem.encoders.bridged import BridgedLora
from adamem.encoders.bridges import mean_drift
from adamem.encoders.protocol import Encoder
from adamem.errors import InvalidInput


@dataclass(frozen=True)
class BridgedAdapter:
    """A recipe for a LoRA of both sides, and for the bridge from its space back to the base's: the mean drift.

    Of the bridges it is the one that finds more than none does (reports/reference/encoder-drift): a map of more freedom
    brings questions back to where they were, and with them what was learnt.

    Parameters
    ----------
    adapter
        How the LoRA is learnt.
    texts
        Documents that the bridge is fitted to, as both encoders embed them; at least one.

    Raises
    ------
    InvalidInput
        if the recipe leaves documents as they are, or there is no text.
    """

    adapter: LoRAAdapter
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.adapter.moves != "both":
            raise InvalidInput(
                "a bridge joins the documents of two encoders, and this recipe moves queries only; learn it without a "
                "bridge, or with sides='both'"
            )
        if not self.texts:
            raise InvalidInput("a bridge is fitted to texts, and none was given; pass some of the documents")

    @property
    def kind(self) -> str:
        """``bridged-lora``."""
        return BridgedLora.kind

    @property
    def moves(self) -> Moves:
        """``queries``: documents keep their vectors."""
        return "queries"

    def learn(
        self,
        base: Encoder,
        pairs: Sequence[Pair],
        *,
        since: BridgedLora | None = None,
        replay: Sequence[Pair] = (),
        progress: Progress = silent,
    ) -> BridgedLora:
        """What `base` learns from the pairs, going on from the LoRA of `since`; the bridge is fitted anew.

        Raises as `LoRAAdapter.learn`.
        """
        former = None if since is None else since.learnt
        learnt = self.adapter.learn(base, pairs, since=former, replay=replay, progress=progress)
        new, texts = learnt.applied_to(base), list(self.texts)
        bridge = mean_drift(new.encode_document(texts), base.encode_document(texts))
        return BridgedLora(learnt, bridge.joining(new, base))
