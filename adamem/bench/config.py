"""An experiment as data: what a TOML file may say, checked whole before anything runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from adamem.bench.process import pinned
from adamem.types import Metric, ParamValue

Grid = dict[str, ParamValue | list[ParamValue]]
"""Parameter name -> one value, or the list of values to try; several lists are crossed."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetConfig(_Section):
    """Which data, and how much of it."""

    name: Annotated[str, Field(min_length=1)]
    """A card's name (`adamem data list`), or the path of a file or folder."""
    metric: Metric | None = None
    """l2, cosine or ip; the card's own where left out."""
    encoder: str | None = None
    """For text sets: minilm, lsa, hashing, a hub name or a folder; where left out, what EMBED_MODEL names."""
    limit: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Use only the first so many base vectors."""
    queries: Annotated[int, Field(ge=2, strict=True)] = 2000
    """Distinct queries to draw; half calibrate, half are the test."""


class MeasureConfig(_Section):
    """How often and how long."""

    k: Annotated[list[Annotated[int, Field(ge=1, le=100, strict=True)]], Field(min_length=1)] = [10]
    """The first is the one on which everything is chosen; the others are timed at the points that this one needs."""
    recall_at: list[Annotated[int, Field(ge=1, le=100, strict=True)]] = [1, 4, 10]
    """Recall is reported at these k, cut from the answer of the smallest timed k that covers them."""
    rounds: Annotated[int, Field(ge=1, le=100, strict=True)] = 5
    build_seeds: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    front_builds: Annotated[int, Field(ge=1, le=100, strict=True)] = 2
    """Stage 2 keeps at most so many builds of each contestant: those on its stage-1 front at the targets."""
    build_threads: Annotated[int, Field(ge=1, le=1024, strict=True)] = 2
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    timeout_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """For one build, and for one worker's turn in a round."""
    memory_limit_mb: Annotated[int, Field(ge=1, strict=True)] | None = None
    """For one worker's own memory; where left out, 70 % of what was free when the run began."""
    query_seconds: Annotated[float, Field(gt=0)] = 4.0
    """A slow point asks only as many single queries a round as fit in this time (at least 50): the same ones, drawn
    once, in every round."""

    @field_validator("k", "recall_at")
    @classmethod
    def _differ(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("names a number twice; give each once")
        return value


_LATER = ("build_seeds", "environment", "python")
"""Keys of a contestant that the first records did not have."""


class ContestantConfig(_Section):
    """One index, with the grid of its builds and of its efforts."""

    name: Annotated[str, Field(min_length=1)]
    """Unique in this experiment; the report calls it so."""
    index: str
    """The registry's name (`adamem index list`)."""
    build: Grid = {}
    search: Grid = {}
    reference: Annotated[bool, Field(strict=True)] = False
    """Ratios refer to this one; it is in every cohort, together with its twin. The build is the index's default, with
    what `reference_build` says otherwise; it is swept even where the grid leaves it out."""
    reference_build: dict[str, ParamValue] = {}
    build_seeds: Annotated[int, Field(ge=1, le=100, strict=True)] | None = None
    """Fewer build seeds than `measure.build_seeds`, for an index whose every build takes minutes."""
    environment: dict[Annotated[str, Field(min_length=1)], Annotated[str, Field(strict=True)]] = {}
    """Environment variables of its processes, over those of the run itself."""
    python: Annotated[str, Field(min_length=1)] | None = None
    """Another interpreter for its processes, with an adamem of the same measuring code: for a library that cannot be
    installed beside the others. Relative to the config's folder, or absolute."""

    @field_validator("environment")
    @classmethod
    def _free(cls, value: dict[str, str]) -> dict[str, str]:
        taken = sorted(set(value) & set(pinned(1)))
        if taken:
            raise ValueError(f"the run itself sets {taken[0]}, the same for all; leave it out (measure.build_threads)")
        for name, text in value.items():
            if "=" in name or "\0" in name + text:
                raise ValueError(f"{name!r} with {text!r} is no environment variable; expected a name without '='")
        return value

    @model_serializer(mode="wrap")
    def _said(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the keys that came later, where they say nothing: a record of before reads as it did."""
        told: dict[str, Any] = plain(self)
        return {name: value for name, value in told.items() if value or name not in _LATER}


class Plan(_Section):
    """What an experiment says whatever its data: its words, its targets, how it is measured, and who takes part."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?$")]
    """The report's folder below reports/; a slash parts a suite from one of its data sets."""
    title: str
    study: str = "sweep"
    expected: str = ""
    """What its author expects to see, in words: so that a surprise is seen as one."""
    machine: str = ""
    """Where the committed figures come from."""
    wall_minutes: Annotated[float, Field(gt=0)] | None = None
    """How long it took there."""
    launch: str = ""
    """The line that runs it."""
    targets: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)] = [0.90, 0.95, 0.99]
    """Recalls (at the first k) at which speed is compared."""
    measure: MeasureConfig = MeasureConfig()
    contestant: Annotated[list[ContestantConfig], Field(min_length=1)]

    @field_validator("targets")
    @classmethod
    def _ascending(cls, value: list[float]) -> list[float]:
        if sorted(set(value)) != value:
            raise ValueError("must rise from one to the next")
        return value

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [one.name for one in self.contestant]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two contestants are called {name!r}; give each a name of its own")
        uncovered = [k for k in self.measure.recall_at if k > max(self.measure.k)]
        if uncovered:
            raise ValueError(
                f"measure.recall_at = {self.measure.recall_at!r}: recall at {uncovered[0]} needs answers of that "
                f"length; add {uncovered[0]} to measure.k"
            )
        if sum(one.reference for one in self.contestant) > 1:
            raise ValueError("only one contestant may be the reference")
        for one in self.contestant:
            if one.reference and one.build_seeds is not None:
                raise ValueError(f"{one.name} is the reference, which every block needs; leave its build_seeds out")
        return self

    def resolved(self) -> dict[str, Any]:
        """As plain JSON, every default filled in."""
        return self.model_dump(mode="json")


class Experiment(Plan):
    """A whole experiment on one data set."""

    dataset: DatasetConfig


Stage = Literal["sweep", "measure"]
