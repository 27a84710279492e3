"""Former pairs, kept to be learnt again beside new ones."""

from __future__ import annotations

import numpy as np

from adamem.adapt import Pair


class Reservoir:
    """A sample of all pairs that were offered, each as likely to be in it (Vitter, 1985, algorithm R).

    Parameters
    ----------
    size
        So many at most, at least 1.
    rng
        Draws who stays, and who is taken out.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self._size = size
        self._rng = rng
        self._offered = 0
        self.held: list[Pair] = []

    def offer(self, pair: Pair) -> None:
        """Keep the pair, perhaps in the place of another."""
        self._offered += 1
        if len(self.held) < self._size:
            self.held.append(pair)
        elif (place := int(self._rng.integers(self._offered))) < self._size:
            self.held[place] = pair

    def some(self, count: int) -> list[Pair]:
        """So many of them at most, in random order."""
        return [self.held[place] for place in self._rng.permutation(len(self.held))[:count].tolist()]

    def beside(self, pair: Pair, count: int) -> list[Pair]:
        """So many of them at most that may be held against `pair` and against each other."""
        taken: list[Pair] = []
        keys = set(pair.keys)
        for place in self._rng.permutation(len(self.held)).tolist():
            if len(taken) == count:
                break
            former = self.held[place]
            if keys.isdisjoint(former.keys):
                taken.append(former)
                keys |= former.keys
        return taken
