"""An experiment on drift as data: what its TOML file may say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adamem.adapt import LoRAAdapter
from adamem.bench.adaptation.config import SizeName
from adamem.bench.adaptation.sequences import SEQUENCES
from adamem.bench.drift.bridging import BRIDGES
from adamem.bench.drift.drifts import DRIFTS
from adamem.errors import InvalidInput
from adamem.index import index_names

_Count = Annotated[int, Field(ge=1, strict=True)]
_Share = Annotated[float, Field(gt=0, lt=1)]
_Score = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LearningConfig(_Section):
    """How the encoder learns; see `LoRAAdapter`."""

    rank: _Count = 16
    alpha: _Count = 32
    rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    batch: Annotated[int, Field(ge=2, strict=True)] = 32
    threads: Annotated[int, Field(ge=1, le=1024, strict=True)] = 2

    def recipe(self, *, steps: int, seed: int) -> LoRAAdapter:
        """The LoRA, learnt in so many steps."""
        return LoRAAdapter(**self.model_dump(), steps=steps, seed=seed)


class EarlierConfig(_Section):
    """What an earlier trial found, to be set beside: recall@1 and recall@10 by exact search."""

    set: str
    documents: _Count
    questions: _Count
    before: tuple[_Score, _Score]
    """Old questions, old documents."""
    stale: tuple[_Score, _Score]
    """New questions, old documents."""
    anew: tuple[_Score, _Score]
    """New questions, new documents."""
    cosine: Annotated[float, Field(ge=-1, le=1)]
    """Of a document's new vector with its old one, the mean."""


class SetConfig(_Section):
    """One collection of texts."""

    name: str
    """Of a sequence of tasks, whose texts it has."""
    documents: Annotated[int, Field(ge=20, strict=True)]
    """At most so many are remembered."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        require_known("set.name", [self.name], SEQUENCES)
        return self


class SizeConfig(_Section):
    """One of the sizes that an experiment comes in."""

    sets: Annotated[list[SetConfig], Field(min_length=1)]
    drifts: Annotated[dict[str, _Count], Field(min_length=1)]
    """Of each drift, over how many seeds it is measured: 0, 1, ..."""
    questions: _Count = 400
    """Held out, about other facts than those taught."""
    lessons: Annotated[int, Field(ge=2, strict=True)] = 1920
    """Questions and their documents that are taught, at most."""
    steps: _Count = 60
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


class DriftExperiment(_Section):
    """A whole experiment on drift, in its sizes."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    title: str
    study: str = "drift"
    expected: str = ""
    machine: str = ""
    wall_minutes: Annotated[float, Field(gt=0)] | None = None
    launch: str = ""
    encoder: Annotated[str, Field(min_length=1)] = "minilm"
    device: Literal["auto", "cpu"] = "auto"
    """Where models run: ``auto`` takes a GPU where there is one."""
    size: SizeName = "default"
    """Which of the tables below is run."""
    learning: LearningConfig = LearningConfig()
    indexes: Annotated[list[str], Field(min_length=1)] = ["spiral", "hnsw", "faiss_pq"]
    """Beside exact search, each with its default build."""
    shares: Annotated[list[_Share], Field(min_length=1)] = [0.1, 0.5, 0.9]
    """Shares of the documents that are embedded anew while the others are as they were, between none and all."""
    bridge: _Share = 0.2
    """A bridge is fitted to this share of the documents at most, embedded anew."""
    over: str = "low-rank-affine"
    """The bridge by which the old part of two indexes is asked."""
    effort: _Score = 0.99
    """The search effort of each index is the least that finds so much of the ten nearest in the old vectors."""
    earlier: list[EarlierConfig] = []
    quick: SizeConfig | None = None
    default: SizeConfig | None = None
    full: SizeConfig | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if getattr(self, self.size) is None:
            raise ValueError(f"has no table [{self.size}], which its size asks for; add it")
        require_known("indexes", self.indexes, [name for name in index_names() if name != "exact"])
        require_known("over", [self.over], BRIDGES)
        if sorted(set(self.shares)) != self.shares:
            raise ValueError(f"shares = {self.shares} must rise")
        return self

    @property
    def chosen(self) -> SizeConfig:
        """The size that is run."""
        chosen: SizeConfig = getattr(self, self.size)
        return chosen

    def sized(self, size: SizeName) -> Self:
        """The same in another size, under a name of its own. Raises `InvalidInput` if there is no table for it."""
        if getattr(self, size) is None:
            raise InvalidInput(f"{self.name} has no table [{size}]; add one, or leave out --{size}")
        return self.model_copy(update={"size": size, "name": f"{self.name}-{size}"})

    def resolved(self) -> dict[str, Any]:
        """As plain JSON, every default filled in; of the sizes the one that is run."""
        others = {"quick", "default", "full"} - {self.size}
        return self.model_dump(mode="json", exclude=others)


def require_known(what: str, names: list[str], known: Iterable[str]) -> None:
    """Raise `ValueError` unless all names are known, and none stands twice."""
    listed = list(known)
    for name in names:
        if name not in listed:
            raise ValueError(f"{what} has {name!r}, expected one of {', '.join(listed)}")
        if names.count(name) > 1:
            raise ValueError(f"{what} has {name!r} twice; drop one")
