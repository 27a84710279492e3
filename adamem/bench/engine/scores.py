"""From ranked memories to figures: how much of the evidence is there, and which weights make a hybrid search best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from adamem.bench.quality import TaskQuality, quality_of
from adamem.data.dataset import Qrels
from adamem.memory import Fusion
from adamem.types import AnyArray, DoubleArray, IdArray

DEPTH = 10
"""So many memories are asked for."""
KS = (1, 4, 10)
"""At which evidence is counted; 4 is the engine's default."""
RANKED = 50
"""Of each ranking that is fused."""
_KINDS: tuple[Literal["rrf", "weighted"], ...] = ("rrf", "weighted")
_SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)


def judgements(arrays: Mapping[str, AnyArray], queries: IdArray) -> Qrels:
    """Those of ``S.questions`` that are about `queries`, ascending; ``query`` is the place in it."""
    query = arrays["query"].astype(np.int64)
    place = np.searchsorted(queries, query)
    mine = (place < queries.size) & (queries[np.minimum(place, queries.size - 1)] == query)
    document, grade = (arrays[name].astype(np.int64)[mine] for name in ("document", "grade"))
    return Qrels(place[mine], document, grade, arrays["document_of_row"].astype(np.int64))


def scored(rows: AnyArray, qrels: Qrels, k: int) -> TaskQuality:
    """How well ranked rows (q, places) serve; see `adamem.bench.quality`."""
    return quality_of(rows[:, :k].astype(np.int64), qrels, k)


@dataclass(frozen=True)
class Candidate:
    """A fusion, and how well it does on the development queries."""

    fusion: Fusion
    ndcg: DoubleArray
    """float64 (d,): nDCG@10."""

    @property
    def share(self) -> float:
        """The weight of the vectors; that of the words is the rest of 1."""
        return self.fusion.vector

    @property
    def kind(self) -> str:
        """``rrf``, ``weighted``, or ``alone`` where one ranking has all the weight."""
        return self.fusion.kind if 0 < self.share < 1 else "alone"

    @property
    def mean(self) -> float:
        """Of all development queries."""
        return float(self.ndcg.mean())


ALONE = (Fusion(kind="rrf", vector=1, lexical=0), Fusion(kind="rrf", vector=0, lexical=1))
"""All weight to the vectors, and to the words; what the other one finds, of score 0, only fills the places that are
left. By ranks: by scores the last of a ranking has 0 as well, and is otherwise where it is by ranks."""
TRIED: tuple[Fusion, ...] = (
    *(Fusion(kind=kind, vector=share, lexical=round(1 - share, 6)) for kind in _KINDS for share in _SHARES),
    *ALONE,
)
"""What is tried on the development queries; shares of the vectors and of the words are 1 together."""


def candidates(arrays: Mapping[str, AnyArray], qrels: Qrels, tried: Sequence[Fusion] = TRIED) -> list[Candidate]:
    """Fusions, by default all that are tried, on the two rankings of ``S.development``."""
    return [Candidate(fusion, scored(fused(arrays, fusion), qrels, DEPTH).ndcg) for fusion in tried]


def best(tried: list[Candidate]) -> Candidate:
    """The one of the highest mean; of equal ones, the most even."""
    return max(tried, key=lambda one: (round(one.mean, 9), -abs(one.share - 0.5), one.fusion.kind == "rrf"))


def fused(arrays: Mapping[str, AnyArray], fusion: Fusion) -> IdArray:
    """int64 (q, 10), -1 where there is none: what the engine would give for these two rankings."""
    out = np.full((arrays["vector_rows"].shape[0], DEPTH), -1, np.int64)
    for place in range(out.shape[0]):
        rankings = {name: _ranking(arrays, name, place) for name in ("vector", "lexical")}
        scores = fusion.scores(rankings)
        ranked = sorted(scores, key=lambda row: (-scores[row], arrays["number"][row]))[:DEPTH]
        out[place, : len(ranked)] = ranked
    return out


def _ranking(arrays: Mapping[str, AnyArray], name: str, place: int) -> dict[int, float]:
    rows, scores = arrays[f"{name}_rows"][place], arrays[f"{name}_scores"][place]
    return {int(row): float(score) for row, score in zip(rows, scores, strict=True) if row >= 0}
