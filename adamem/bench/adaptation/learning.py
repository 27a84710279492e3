"""How the arms learn: one recipe for all of them, so that they differ in what they are and in nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from adamem.adapt import LoRAAdapter


@dataclass(frozen=True)
class Learning:
    """The settings that all arms share.

    Parameters
    ----------
    rank, alpha, rate, batch
        Of a LoRA; see `LoRAAdapter`.
    epochs
        So many times over a task's pairs, where they are learnt in batches.
    replay
        The share of former pairs among those of a task, where there is replay.
    reservoir
        So many former pairs are kept at most, drawn evenly from all that came.
    beside
        So many of them stand beside a new pair in a step of its own.
    bridge
        The share of the documents that are embedded anew to fit a bridge to the old vectors of the others.
    threads
        Of torch.
    """

    rank: int = 16
    alpha: int = 32
    rate: float = 5e-4
    batch: int = 32
    epochs: int = 3
    replay: float = 0.5
    reservoir: int = 200
    beside: int = 7
    bridge: float = 0.2
    threads: int = 2

    def recipe(self, *, seed: int, rank: int | None = None) -> LoRAAdapter:
        """The LoRA; of another rank with alpha in proportion, so that its update is scaled alike."""
        rank = rank or self.rank
        return LoRAAdapter(
            rank=rank,
            alpha=max(1, self.alpha * rank // self.rank),
            rate=self.rate,
            batch=self.batch,
            epochs=self.epochs,
            seed=seed,
            threads=self.threads,
        )
