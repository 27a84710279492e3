"""Two rankings made into one, and what is known besides of the memories that they hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from adamem.errors import InvalidInput

RRF_K = 60
"""Of reciprocal-rank fusion: how little the first places count over the later ones; the value of its authors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fusion:
    """How a hybrid search makes one score of two.

    ``rrf`` gives a memory weight / (60 + rank) from each ranking that holds it; ``weighted`` gives weight times its
    score, scaled so that the ranking's best has 1 and its last 0. Equal weights of scores found more than equal weights
    of ranks on the development queries of four of five collections, and as much on the fifth
    (reports/reference/engine-retrieval). Where the encoder hardly knows the language words alone are better: weigh both
    on questions of your own, or search by ``mode="lexical"``.

    Source: Cormack, Clarke and Buettcher 2009, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
    Learning Methods", SIGIR.
    """

    kind: Literal["rrf", "weighted"] = "weighted"
    vector: float = 1.0
    lexical: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("rrf", "weighted"):
            raise InvalidInput(f"a fusion is 'rrf' or 'weighted', not {self.kind!r}")
        _check_weights({"vector": self.vector, "lexical": self.lexical})
        if self.vector == self.lexical == 0:
            raise InvalidInput("a fusion needs a weight above 0; for one ranking alone say mode='vector' or 'lexical'")

    def scores(self, rankings: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
        """Of each id in `rankings` (``vector``, ``lexical``): the scores of ids, best first."""
        total: dict[int, float] = {}
        for name, ranking in rankings.items():
            weight = self.vector if name == "vector" else self.lexical
            shares = _by_rank(list(ranking)) if self.kind == "rrf" else _by_score(ranking)
            for number, share in shares.items():
                total[number] = total.get(number, 0.0) + weight * share
        return total


@dataclass(frozen=True, kw_only=True, slots=True)
class Weighting:
    """What is added to a score for what is known of a memory, among the nearest of a search.

    The sum of what is relevant, recent and important is that of Park et al. 2023, "Generative Agents: Interactive
    Simulacra of Human Behavior", section 4.1.
    """

    recency: float = 0.0
    """What a memory gets that holds since this moment; half of it after each `half_life`."""
    half_life: timedelta = timedelta(days=30)
    credibility: float = 0.0
    """What a memory of credibility 1 gets; of credibility 0, nothing."""

    def __post_init__(self) -> None:
        _check_weights({"recency": self.recency, "credibility": self.credibility})
        _check_half_life(self.half_life)

    def parts(self, age: float, credibility: float) -> dict[str, float]:
        """What a memory gets that has held for `age` seconds."""
        found = {}
        if self.recency:
            found["recency"] = self.recency * 0.5 ** (max(0.0, age) / self.half_life.total_seconds())
        if self.credibility:
            found["credibility"] = self.credibility * credibility
        return found


def _by_rank(ranking: Sequence[int]) -> dict[int, float]:
    return {number: 1.0 / (RRF_K + rank) for rank, number in enumerate(ranking, start=1)}


def _by_score(ranking: Mapping[int, float]) -> dict[int, float]:
    if not ranking:
        return {}
    low, high = min(ranking.values()), max(ranking.values())
    return {number: (score - low) / (high - low) if high > low else 1.0 for number, score in ranking.items()}


def _check_half_life(given: object) -> None:
    if not isinstance(given, timedelta) or given <= timedelta(0):
        raise InvalidInput(f"half_life must be a timedelta above zero, not {given!r}; write timedelta(days=30)")


def _check_weights(weights: Mapping[str, object]) -> None:
    for name, weight in weights.items():
        if (
            isinstance(weight, bool)
            or not isinstance(weight, (int, float))
            or not math.isfinite(weight)
            or not 0 <= weight <= 1e6
        ):
            raise InvalidInput(f"the weight {name} must be a number from 0 to a million, not {weight!r}")
