"""What single arms have of their own beside the one recipe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variants:
    """The settings that concern some arms alone.

    Parameters
    ----------
    full_rate
        The learning rate where every weight of the encoder is trained; a LoRA's would undo what it has learnt before.
    gentle_rate
        That of the gentle LoRA.
    held_out
        The share of a task's lessons that is never taught where there is a gate, but five at least.
    tolerance
        By how much MRR@10 may fall in the gate's exam; what falls by more is refused.
    among
        The answers are asked for among so many other documents, or all there are.
    """

    full_rate: float = 2e-5
    gentle_rate: float = 5e-5
    held_out: float = 0.1
    tolerance: float = 0.01
    among: int = 500
