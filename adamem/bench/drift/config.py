"""An experiment on drift as data: what its TOML file may say."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from adamem.adapt import LoRAAdapter
from adamem.bench.adaptation.sequences import SEQUENCES
from adamem.bench.drift.bridging import BRIDGES
from adamem.bench.drift.drifts import DRIFTS
from adamem.bench.sized import Count, Section, SizedExperiment, require_known
from adamem.index import index_names

_Share = Annotated[float, Field(gt=0, lt=1)]
_Score = Annotated[float, Field(ge=0, le=1)]


class LearningConfig(Section):
    """How the encoder learns; see `LoRAAdapter`."""

    rank: Count = 16
    alpha: Count = 32
    rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    batch: Annotated[int, Field(ge=2, strict=True)] = 32
    threads: Annotated[int, Field(ge=1, le=1024, strict=True)] = 2

    def recipe(self, *, steps: int, seed: int) -> LoRAAdapter:
        """The LoRA, learnt in so many steps."""
        return LoRAAdapter(**self.model_dump(), steps=steps, seed=seed)


class EarlierConfig(Section):
    """What an earlier trial found, to be set beside: recall@1 and recall@10 by exact search."""

    set: str
    documents: Count
    questions: Count
    before: tuple[_Score, _Score]
    """Old questions, old documents."""
    stale: tuple[_Score, _Score]
    """New questions, old documents."""
    anew: tuple[_Score, _Score]
    """New questions, new documents."""
    cosine: Annotated[float, Field(ge=-1, le=1)]
    """Of a document's new vector with its old one, the mean."""


class SetConfig(Section):
    """One collection of texts."""

    name: str
    """Of a sequence of tasks, whose texts it has."""
    documents: Annotated[int, Field(ge=20, strict=True)]
    """At most so many are remembered."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        require_known("set.name", [self.name], SEQUENCES)
        return self


class SizeConfig(Section):
    """One of the sizes that an experiment comes in."""

    sets: Annotated[list[SetConfig], Field(min_length=1)]
    drifts: Annotated[dict[str, Count], Field(min_length=1)]
    """Of each drift, over how many seeds it is measured: 0, 1, ..."""
    questions: Count = 400
    """Held out, about other facts than those taught."""
    lessons: Annotated[int, Field(ge=2, strict=True)] = 1920
    """Questions and their documents that are taught, at most."""
    steps: Count = 60
    """Of learning, a batch each."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        require_known("sets", [one.name for one in self.sets], SEQUENCES)
        require_known("drifts", list(self.drifts), DRIFTS)
        return self

    @property
    def seeds(self) -> int:
        """The most that a drift has."""
        return max(self.drifts.values())

    def of_seed(self, seed: int) -> list[str]:
        """The drifts that are measured with a seed."""
        return [drift for drift, seeds in self.drifts.items() if seed < seeds]


class DriftExperiment(SizedExperiment[SizeConfig]):
    """A whole experiment on drift."""

    study: str = "drift"
    learning: LearningConfig = LearningConfig()
    indexes: Annotated[tuple[str, ...], Field(min_length=1)] = ("spiral", "hnsw", "faiss_pq")
    """Beside exact search, each with its default build."""
    shares: Annotated[tuple[_Share, ...], Field(min_length=1)] = (0.1, 0.5, 0.9)
    """Shares of the documents that are embedded anew while the others are as they were, between none and all."""
    bridge: _Share = 0.2
    """A bridge is fitted to this share of the documents at most, embedded anew."""
    over: str = "low-rank-affine"
    """The bridge by which the old part of two indexes is asked."""
    effort: _Score = 0.99
    """The search effort of each index is the least that finds so much of the ten nearest in the old vectors."""
    earlier: tuple[EarlierConfig, ...] = ()

    @model_validator(mode="after")
    def _fit(self) -> Self:
        require_known("indexes", list(self.indexes), [name for name in index_names() if name != "exact"])
        require_known("over", [self.over], BRIDGES)
        if tuple(sorted(set(self.shares))) != self.shares:
            raise ValueError(f"shares = {list(self.shares)} must rise")
        return self
